/* Users, roles and logins as commands (etcd-api.md section 10). They change no revision of the
 * keyspace. */
#include "server/auth_store.h"
#include "server/auth_tokens.h"
#include "server/machine_internal.h"

/* All answers to changes are alike: nothing but a header. */
struct auth_answer {
    ProtobufCMessage base;
    Etcdserverpb__ResponseHeader *header;
};

static const ProtobufCMessageDescriptor *answer_type(Kvdpb__AuthChange__ChangeCase change)
{
    switch (change) {
    case KVDPB__AUTH_CHANGE__CHANGE_ENABLE:
        return &etcdserverpb__auth_enable_response__descriptor;
    case KVDPB__AUTH_CHANGE__CHANGE_DISABLE:
        return &etcdserverpb__auth_disable_response__descriptor;
    case KVDPB__AUTH_CHANGE__CHANGE_USER_ADD:
        return &etcdserverpb__auth_user_add_response__descriptor;
    case KVDPB__AUTH_CHANGE__CHANGE_USER_DELETE:
        return &etcdserverpb__auth_user_delete_response__descriptor;
    case KVDPB__AUTH_CHANGE__CHANGE_USER_CHANGE_PASSWORD:
        return &etcdserverpb__auth_user_change_password_response__descriptor;
    case KVDPB__AUTH_CHANGE__CHANGE_USER_GRANT_ROLE:
        return &etcdserverpb__auth_user_grant_role_response__descriptor;
    case KVDPB__AUTH_CHANGE__CHANGE_USER_REVOKE_ROLE:
        return &etcdserverpb__auth_user_revoke_role_response__descriptor;
    case KVDPB__AUTH_CHANGE__CHANGE_ROLE_ADD:
        return &etcdserverpb__auth_role_add_response__descriptor;
    case KVDPB__AUTH_CHANGE__CHANGE_ROLE_DELETE:
        return &etcdserverpb__auth_role_delete_response__descriptor;
    case KVDPB__AUTH_CHANGE__CHANGE_ROLE_GRANT_PERMISSION:
        return &etcdserverpb__auth_role_grant_permission_response__descriptor;
    case KVDPB__AUTH_CHANGE__CHANGE_ROLE_REVOKE_PERMISSION:
        return &etcdserverpb__auth_role_revoke_permission_response__descriptor;
    default:
        return NULL;
    }
}

/* Whoever has logged in with a password that counts no more has to do it again. */
static void forget_tokens(struct auth_tokens *tokens, const Kvdpb__AuthChange *change)
{
    if (tokens == NULL)
        return;
    if (change->change_case == KVDPB__AUTH_CHANGE__CHANGE_DISABLE)
        auth_tokens_forget_all(tokens);
    if (change->change_case == KVDPB__AUTH_CHANGE__CHANGE_USER_DELETE)
        auth_tokens_forget_user(tokens, change->user_delete->name);
    if (change->change_case == KVDPB__AUTH_CHANGE__CHANGE_USER_CHANGE_PASSWORD)
        auth_tokens_forget_user(tokens, change->user_change_password->name);
}

void machine__apply_auth(struct machine *machine, const Kvdpb__AuthChange *change, bool want,
                         struct arena *arena, struct machine_result *out)
{
    const ProtobufCMessageDescriptor *type = answer_type(change->change_case);
    struct auth_answer *response;

    out->code = auth_store_change(machine->auth, change);
    if (out->code != 0)
        return;
    forget_tokens(machine->tokens, change);
    if (!want)
        return;
    ASSERT(type != NULL); /* of a change that was carried out */
    response = arena_alloc(arena, type->sizeof_message);
    type->message_init(&response->base);
    response->header = machine__header(arena, mvcc_revision(machine->mvcc));
    out->response = response;
}

void machine__apply_authenticate(struct machine *machine, const Kvdpb__Authenticate *request,
                                 uint64_t index, struct machine_result *out)
{
    const struct auth_user *user = auth_store_user(machine->auth, slice_str(request->name));

    if (!machine->auth->enabled)
        out->code = KV_EAUTHNOTENABLED;
    else if (user == NULL)
        out->code = KV_EAUTHFAILED;
    else if (request->revision != machine->auth->revision)
        out->code = KV_EAUTHOLDREVISION;
    else if (request->token_hash.len != AUTH_TOKEN_HASH_SIZE)
        out->code = KV_EPROTO;
    else if (machine->tokens != NULL)
        auth_tokens_assign(machine->tokens, request->token_hash.data, index, request->name);
}
