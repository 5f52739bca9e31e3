#include "server/permit.h"

#include "server/machine_internal.h"

/* Whether there is nothing to check: auth is off, or the member itself acts. */
static bool is_free(const struct machine *machine, const struct author *author)
{
    return !machine->auth->enabled || author->kind == AUTHOR_MEMBER;
}

/* etcd's order: no name, then an old revision, then the user. NULL: code is set. */
static struct auth_user *find_user(const struct machine *machine, const struct author *author,
                                   int *code)
{
    struct auth_user *user = NULL;

    *code = 0;
    if (author->kind != AUTHOR_USER || author->user.len == 0)
        *code = KV_EUSEREMPTY;
    else if (author->revision < machine->auth->revision)
        *code = KV_EAUTHOLDREVISION;
    else if ((user = auth_store_user(machine->auth, author->user)) == NULL)
        *code = KV_EPERMISSIONDENIED;
    return user;
}

int permit_user(const struct machine *machine, const struct author *author)
{
    int code = 0;

    if (!is_free(machine, author))
        (void)find_user(machine, author, &code);
    return code;
}

int permit_root(const struct machine *machine, const struct author *author)
{
    const struct auth_user *user;

    if (is_free(machine, author))
        return 0;
    if (author->kind != AUTHOR_USER || author->user.len == 0)
        return KV_EUSEREMPTY;
    user = auth_store_user(machine->auth, author->user);
    return user != NULL && auth_user_has_role(user, AUTH_ROOT) ? 0 : KV_EPERMISSIONDENIED;
}

int permit_keys(const struct machine *machine, const struct author *author, enum auth_access access,
                struct slice key, struct slice range_end)
{
    struct auth_user *user;
    int code;

    if (is_free(machine, author))
        return 0;
    user = find_user(machine, author, &code);
    if (user == NULL)
        return code;
    return auth_user_may(machine->auth, user, access, key, range_end) ? 0 : KV_EPERMISSIONDENIED;
}

int permit_range(const struct machine *machine, const struct author *author,
                 const Etcdserverpb__RangeRequest *request)
{
    return permit_keys(machine, author, AUTH_READ, slice_of_pb(request->key),
                       slice_of_pb(request->range_end));
}

/* ---- leases ---- */

struct lease_check {
    const struct machine *machine;
    const struct author *author;
    enum auth_access access;
    int code;
};

static void check_key(void *ctx, struct slice key)
{
    struct lease_check *check = ctx;

    if (check->code == 0)
        check->code =
            permit_keys(check->machine, check->author, check->access, key, slice_of(NULL, 0));
}

int permit_lease(const struct machine *machine, const struct author *author,
                 enum auth_access access, int64_t lease)
{
    struct lease_check check = {.machine = machine, .author = author, .access = access};

    if (is_free(machine, author))
        return 0;
    check.code = permit_user(machine, author);
    if (check.code == 0 && leases_known(machine->leases, lease))
        leases_each_key(machine->leases, lease, check_key, &check);
    return check.code;
}

/* ---- writes ---- */

/* Who hangs a key on a lease takes part in the fate of its other keys; what was there before is
 * read. */
static int permit_put(const struct machine *machine, const struct author *author,
                      const Etcdserverpb__PutRequest *request)
{
    struct slice key = slice_of_pb(request->key), none = slice_of(NULL, 0);
    int code = permit_keys(machine, author, AUTH_WRITE, key, none);

    if (code == 0 && request->lease != LEASE_NONE)
        code = permit_lease(machine, author, AUTH_WRITE, request->lease);
    if (code == 0 && request->prev_kv)
        code = permit_keys(machine, author, AUTH_READ, key, none);
    return code;
}

static int permit_delete(const struct machine *machine, const struct author *author,
                         const Etcdserverpb__DeleteRangeRequest *request)
{
    struct slice key = slice_of_pb(request->key), end = slice_of_pb(request->range_end);
    int code = permit_keys(machine, author, AUTH_WRITE, key, end);

    if (code == 0 && request->prev_kv)
        code = permit_keys(machine, author, AUTH_READ, key, end);
    return code;
}

static int permit_op(const struct machine *machine, const struct author *author,
                     const Etcdserverpb__RequestOp *op)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return permit_range(machine, author, op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return permit_put(machine, author, op->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return permit_delete(machine, author, op->request_delete_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return permit_txn(machine, author, op->request_txn);
    default:
        return 0; /* does nothing */
    }
}

/* Depth is bounded by what unpacks requests. */
int permit_txn(const struct machine *machine, const struct author *author,
               const Etcdserverpb__TxnRequest *request)
{
    int code = permit_user(machine, author);

    for (size_t i = 0; i < request->n_compare && code == 0; i++)
        code = permit_keys(machine, author, AUTH_READ, slice_of_pb(request->compare[i]->key),
                           slice_of_pb(request->compare[i]->range_end));
    for (size_t i = 0; i < request->n_success && code == 0; i++)
        code = permit_op(machine, author, request->success[i]);
    for (size_t i = 0; i < request->n_failure && code == 0; i++)
        code = permit_op(machine, author, request->failure[i]);
    return code;
}

/* ---- commands ---- */

int permit_command(const struct machine *machine, const struct command *command,
                   const ProtobufCMessage *body)
{
    const struct author *author = &command->author;

    if (is_free(machine, author))
        return 0;
    switch (command->kind) {
    case COMMAND_PUT:
        return permit_put(machine, author, (const Etcdserverpb__PutRequest *)body);
    case COMMAND_DELETE:
        return permit_delete(machine, author, (const Etcdserverpb__DeleteRangeRequest *)body);
    case COMMAND_TXN:
        return permit_txn(machine, author, (const Etcdserverpb__TxnRequest *)body);
    case COMMAND_LEASE_GRANT:
        return permit_user(machine, author);
    case COMMAND_LEASE_REVOKE:
        return permit_lease(machine, author, AUTH_WRITE,
                            ((const Etcdserverpb__LeaseRevokeRequest *)body)->id);
    /* No request of a client becomes one of these: members make them, also those that stand in the
     * log from before authors were written down. */
    case COMMAND_PUBLISH:
    case COMMAND_LEASE_EXPIRE:
    case COMMAND_LEASE_CHECKPOINT:
    case COMMAND_SPACE:
    case COMMAND_AUTHENTICATE: /* checks by itself */
        return 0;
    case COMMAND_COMPACT:
    case COMMAND_ALARM:
    case COMMAND_DOWNGRADE:
    case COMMAND_AUTH:
    default:
        return permit_root(machine, author);
    }
}
