/* etcdserverpb.Auth (etcd-api.md section 10). Changes are commands, with passwords hashed before;
 * lists are read at a read point, where etcd writes a log entry. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "server/auth_calls.h"
#include "server/auth_hash.h"
#include "server/auth_jwt.h"
#include "server/auth_tokens.h"
#include "server/service.h"

/* ---- changes ---- */

static void propose(struct grpc_call *call, const Kvdpb__AuthChange *change)
{
    size_t len = kvdpb__auth_change__get_packed_size(change);
    uint8_t *body = arena_alloc(grpc_call_arena(call), len);
    enum status status;

    (void)kvdpb__auth_change__pack(change, body); /* writes len bytes */
    status = member__write(service_member(call), call, NULL, COMMAND_AUTH, slice_of(body, len),
                           service_on_written);
    if (status != STATUS_OK)
        service_fail(call, status);
}

/* A method whose request goes into the log as it is. */
#define CHANGE(function, request_type, member_name, CASE)                                          \
    void function(struct grpc_call *call, struct slice message)                                    \
    {                                                                                              \
        Kvdpb__AuthChange change = KVDPB__AUTH_CHANGE__INIT;                                       \
                                                                                                   \
        change.change_case = KVDPB__AUTH_CHANGE__CHANGE_##CASE;                                    \
        change.member_name =                                                                       \
            service_begin(call, message, &etcdserverpb__##request_type##__descriptor);             \
        if (change.member_name != NULL)                                                            \
            propose(call, &change);                                                                \
    }

CHANGE(service_auth_enable, auth_enable_request, enable, ENABLE)
CHANGE(service_auth_disable, auth_disable_request, disable, DISABLE)
CHANGE(service_auth_user_delete, auth_user_delete_request, user_delete, USER_DELETE)
CHANGE(service_auth_user_grant_role, auth_user_grant_role_request, user_grant_role, USER_GRANT_ROLE)
CHANGE(service_auth_user_revoke_role, auth_user_revoke_role_request, user_revoke_role,
       USER_REVOKE_ROLE)
CHANGE(service_auth_role_add, auth_role_add_request, role_add, ROLE_ADD)
CHANGE(service_auth_role_delete, auth_role_delete_request, role_delete, ROLE_DELETE)
CHANGE(service_auth_role_grant_permission, auth_role_grant_permission_request,
       role_grant_permission, ROLE_GRANT_PERMISSION)
CHANGE(service_auth_role_revoke_permission, auth_role_revoke_permission_request,
       role_revoke_permission, ROLE_REVOKE_PERMISSION)

/* ---- work on passwords ---- */

/* A call whose password is away at the pool; on the heap, since it outlives a call that is
 * cancelled. */
struct away {
    struct waiter waiter;
    struct auth_job job;
    struct grpc_call *call; /* NULL: gone */
    void *request;          /* of the call's arena */
    uint64_t revision;      /* of the auth store when the password was asked for */
    void (*back)(struct grpc_call *call, void *request, const struct away *away);
};

static void cancel_away(struct waiter *waiter)
{
    CONTAINER_OF(waiter, struct away, waiter)->call = NULL;
}

static void on_back(struct auth_job *job)
{
    struct away *away = CONTAINER_OF(job, struct away, job);

    if (away->call != NULL) {
        grpc_call_set_data(away->call, NULL);
        away->back(away->call, away->request, away);
    }
    free(away);
}

/* hash NULL: make one. */
static void send_away(struct grpc_call *call, void *request, const char *password, const char *hash,
                      void (*back)(struct grpc_call *, void *, const struct away *))
{
    struct member *member = service_member(call);
    struct away *away = xcalloc(1, sizeof *away);

    away->waiter.cancel = cancel_away;
    away->call = call;
    away->request = request;
    away->revision = member->machine->auth->revision;
    away->back = back;
    away->job.done = on_back;
    if (hash == NULL)
        away->job.cost = member->config->bcrypt_cost;
    else
        (void)snprintf(away->job.hash, sizeof away->job.hash, "%s", hash);
    if (auth_pool_run(&member->auth_pool, &away->job, password)) {
        grpc_call_set_data(call, &away->waiter);
    } else {
        free(away);
        service_fail(call, STATUS_TOO_MANY_REQUESTS);
    }
}

/* Nothing keeps the plain password longer than it must. */
static void wipe(char *password)
{
    OPENSSL_cleanse(password, strlen(password));
}

static char *base64(struct arena *arena, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(text), n = 0;
    char *out = arena_alloc(arena, (len + 2) / 3 * 4 + 1);

    for (size_t i = 0; i < len; i += 3) {
        uint32_t bits = (uint32_t)(uint8_t)text[i] << 16;

        bits |= i + 1 < len ? (uint32_t)(uint8_t)text[i + 1] << 8 : 0;
        bits |= i + 2 < len ? (uint32_t)(uint8_t)text[i + 2] : 0;
        out[n++] = digits[bits >> 18 & 63];
        out[n++] = digits[bits >> 12 & 63];
        out[n++] = i + 1 < len ? digits[bits >> 6 & 63] : '=';
        out[n++] = i + 2 < len ? digits[bits & 63] : '=';
    }
    out[n] = '\0';
    return out;
}

static char empty[] = "";

/* ---- UserAdd, UserChangePassword ---- */

static void on_user_hashed(struct grpc_call *call, void *message, const struct away *away)
{
    Etcdserverpb__AuthUserAddRequest *request = message;
    Kvdpb__AuthChange change = KVDPB__AUTH_CHANGE__INIT;

    if (!away->job.ok) {
        service_fail(call, STATUS_INTERNAL);
        return;
    }
    request->hashedpassword = base64(grpc_call_arena(call), away->job.hash);
    change.change_case = KVDPB__AUTH_CHANGE__CHANGE_USER_ADD;
    change.user_add = request;
    propose(call, &change);
}

static void on_password_hashed(struct grpc_call *call, void *message, const struct away *away)
{
    Etcdserverpb__AuthUserChangePasswordRequest *request = message;
    Kvdpb__AuthChange change = KVDPB__AUTH_CHANGE__INIT;

    if (!away->job.ok) {
        service_fail(call, STATUS_INTERNAL);
        return;
    }
    request->hashedpassword = base64(grpc_call_arena(call), away->job.hash);
    change.change_case = KVDPB__AUTH_CHANGE__CHANGE_USER_CHANGE_PASSWORD;
    change.user_change_password = request;
    propose(call, &change);
}

/* Hashing is expensive: only for whoever may change users at all. The command is checked again. */
static bool may_hash(struct grpc_call *call, const char *password)
{
    struct author author;
    int code;

    if (!service_author(call, &author))
        return false;
    code = permit_root(service_member(call)->machine, &author);
    if (code != 0)
        service_fail(call, status_of_error(code));
    else if (strlen(password) > BCRYPT_PASSWORD_MAX)
        service_fail(call, STATUS_PASSWORD_TOO_LONG);
    else
        return true;
    return false;
}

static void run_user_add(struct grpc_call *call, const void *message)
{
    Etcdserverpb__AuthUserAddRequest *request = (void *)(uintptr_t)message; /* the call's own */
    Kvdpb__AuthChange change = KVDPB__AUTH_CHANGE__INIT;
    char *password = request->password;

    if (request->options == NULL || !request->options->no_password) {
        if (may_hash(call, password)) {
            request->password = empty;
            send_away(call, request, password, NULL, on_user_hashed);
            wipe(password);
        }
        return;
    }
    wipe(password);
    request->password = empty;
    request->hashedpassword = empty;
    change.change_case = KVDPB__AUTH_CHANGE__CHANGE_USER_ADD;
    change.user_add = request;
    propose(call, &change);
}

void service_auth_user_add(struct grpc_call *call, struct slice message)
{
    const ProtobufCMessageDescriptor *type = &etcdserverpb__auth_user_add_request__descriptor;
    void *request = service_begin(call, message, type);

    if (request != NULL)
        service_read(call, request, run_user_add);
}

static void run_change_password(struct grpc_call *call, const void *message)
{
    Etcdserverpb__AuthUserChangePasswordRequest *request = (void *)(uintptr_t)message;
    char *password = request->password;

    if (!may_hash(call, password))
        return;
    request->password = empty;
    send_away(call, request, password, NULL, on_password_hashed);
    wipe(password);
}

void service_auth_user_change_password(struct grpc_call *call, struct slice message)
{
    const ProtobufCMessageDescriptor *type =
        &etcdserverpb__auth_user_change_password_request__descriptor;
    void *request = service_begin(call, message, type);

    if (request != NULL)
        service_read(call, request, run_change_password);
}

/* ---- Authenticate ---- */

/* Somebody who is not there costs as much time as somebody who is. */
static const char *dummy_hash(struct grpc_call *call)
{
    char *text = arena_alloc(grpc_call_arena(call), BCRYPT_TEXT_SIZE);

    (void)snprintf(text, BCRYPT_TEXT_SIZE,
                   "$2a$%02u$......................0000000000000000000000000000000",
                   service_member(call)->config->bcrypt_cost);
    return text;
}

struct login {
    Etcdserverpb__AuthenticateRequest *request;
    char letters[AUTH_TOKEN_LETTERS + 1];
};

static void reply_token(struct grpc_call *call, char *token)
{
    const struct machine *machine = service_member(call)->machine;
    Etcdserverpb__AuthenticateResponse response = ETCDSERVERPB__AUTHENTICATE_RESPONSE__INIT;

    response.header = service_header(call, mvcc_revision(machine->mvcc));
    response.token = token;
    service_reply(call, &response.base);
}

static void run_authenticate(struct grpc_call *call, const void *message);

static void on_token(struct member *member, struct grpc_call *call, const void *message,
                     enum status status, const struct machine_result *result)
{
    const struct login *login = message;
    char token[AUTH_TOKEN_LETTERS + 24];

    (void)member;

    if (status == STATUS_AUTH_OLD_REVISION) { /* something changed meanwhile: look again */
        service_read(call, login->request, run_authenticate);
        return;
    }
    if (status != STATUS_OK) {
        service_fail(call, status);
        return;
    }
    (void)snprintf(token, sizeof token, "%s.%llu", login->letters,
                   (unsigned long long)result->index);
    reply_token(call, token);
}

/* ---- JWT: nothing has to be written down; signed at the pool ---- */

struct signing {
    struct waiter waiter;
    struct auth_job job;
    struct grpc_call *call; /* NULL: gone */
    const struct auth_jwt *jwt;
    uint64_t revision;
    char *token; /* NULL: it could not be signed */
    char user[];
};

static void sign(struct auth_job *job)
{
    struct signing *signing = CONTAINER_OF(job, struct signing, job);

    signing->token =
        auth_jwt_sign(signing->jwt, signing->user, signing->revision, (int64_t)time(NULL));
}

static void on_signed(struct auth_job *job)
{
    struct signing *signing = CONTAINER_OF(job, struct signing, job);

    if (signing->call != NULL)
        grpc_call_set_data(signing->call, NULL);
    if (signing->call != NULL && signing->token != NULL)
        reply_token(signing->call, signing->token);
    else if (signing->call != NULL) /* a member that has only the public key */
        service_fail(signing->call, STATUS_VERIFY_ONLY);
    free(signing->token);
    free(signing);
}

static void cancel_signing(struct waiter *waiter)
{
    CONTAINER_OF(waiter, struct signing, waiter)->call = NULL;
}

static void sign_token(struct grpc_call *call, const char *user, uint64_t revision)
{
    struct member *member = service_member(call);
    struct signing *signing = xcalloc(1, sizeof *signing + strlen(user) + 1);

    signing->waiter.cancel = cancel_signing;
    signing->job.work = sign;
    signing->job.done = on_signed;
    signing->call = call;
    signing->jwt = member->jwt;
    signing->revision = revision;
    memcpy(signing->user, user, strlen(user) + 1);
    if (auth_pool_run(&member->auth_pool, &signing->job, "")) {
        grpc_call_set_data(call, &signing->waiter);
    } else {
        free(signing);
        service_fail(call, STATUS_TOO_MANY_REQUESTS);
    }
}

static void on_checked(struct grpc_call *call, void *message, const struct away *away)
{
    struct login *login = arena_calloc(grpc_call_arena(call), sizeof *login);
    Kvdpb__Authenticate command = KVDPB__AUTHENTICATE__INIT;
    uint8_t hash[AUTH_TOKEN_HASH_SIZE], *body;
    enum status status;
    size_t len;

    if (!away->job.ok) {
        service_fail(call, STATUS_AUTH_FAILED);
        return;
    }
    login->request = message;
    if (service_member(call)->jwt != NULL) {
        sign_token(call, login->request->name, away->revision);
        return;
    }
    auth_tokens_make(login->letters);
    auth_tokens_hash(login->letters, hash);
    command.name = login->request->name;
    command.revision = away->revision;
    command.token_hash = (ProtobufCBinaryData){.data = hash, .len = sizeof hash};
    len = kvdpb__authenticate__get_packed_size(&command);
    body = arena_alloc(grpc_call_arena(call), len);
    (void)kvdpb__authenticate__pack(&command, body); /* writes len bytes */
    status = member__write(service_member(call), call, login, COMMAND_AUTHENTICATE,
                           slice_of(body, len), on_token);
    if (status != STATUS_OK)
        service_fail(call, status);
}

static void run_authenticate(struct grpc_call *call, const void *message)
{
    Etcdserverpb__AuthenticateRequest *request = (void *)(uintptr_t)message; /* the call's own */
    const struct auth_store *store = service_member(call)->machine->auth;
    const struct auth_user *user = auth_store_user(store, slice_str(request->name));

    if (!store->enabled)
        service_fail(call, STATUS_AUTH_NOT_ENABLED);
    else if (user != NULL && user->no_password)
        service_fail(call, STATUS_NO_PASSWORD_USER);
    else
        send_away(call, request, request->password,
                  user != NULL && user->password[0] != '\0' ? user->password : dummy_hash(call),
                  on_checked);
}

void service_auth_authenticate(struct grpc_call *call, struct slice message)
{
    const ProtobufCMessageDescriptor *type = &etcdserverpb__authenticate_request__descriptor;
    void *request = service_begin(call, message, type);

    if (request != NULL)
        service_read(call, request, run_authenticate);
}

/* ---- reading ---- */

static void reply_status(struct grpc_call *call)
{
    const struct machine *machine = service_member(call)->machine;
    Etcdserverpb__AuthStatusResponse response = ETCDSERVERPB__AUTH_STATUS_RESPONSE__INIT;

    response.header = service_header(call, mvcc_revision(machine->mvcc));
    response.enabled = machine->auth->enabled;
    response.authrevision = machine->auth->revision;
    service_reply(call, &response.base);
}

static void run_status(struct grpc_call *call, const void *request)
{
    struct author author;

    (void)request;
    if (service_author(call, &author) &&
        service_permit(call, permit_user(service_member(call)->machine, &author)))
        reply_status(call);
}

/* Root may look at all users, and everybody at the own. */
static int permit_user_get(const struct machine *machine, const struct author *author,
                           const char *name)
{
    int code = permit_root(machine, author);

    return author->kind == AUTHOR_USER && slice_eq(author->user, slice_str(name)) ? 0 : code;
}

static void run_user_get(struct grpc_call *call, const void *message)
{
    const Etcdserverpb__AuthUserGetRequest *request = message;
    const struct machine *machine = service_member(call)->machine;
    Etcdserverpb__AuthUserGetResponse response = ETCDSERVERPB__AUTH_USER_GET_RESPONSE__INIT;
    const struct auth_user *user;
    struct author author;

    if (!service_author(call, &author) ||
        !service_permit(call, permit_user_get(machine, &author, request->name)))
        return;
    user = auth_store_user(machine->auth, slice_str(request->name));
    if (user == NULL) {
        service_fail(call, STATUS_USER_NOT_FOUND);
        return;
    }
    response.header = service_header(call, mvcc_revision(machine->mvcc));
    response.roles = user->roles;
    response.n_roles = user->role_count;
    service_reply(call, &response.base);
}

static void run_user_list(struct grpc_call *call, const void *request)
{
    const struct machine *machine = service_member(call)->machine;
    const struct auth_store *store = machine->auth;
    Etcdserverpb__AuthUserListResponse response = ETCDSERVERPB__AUTH_USER_LIST_RESPONSE__INIT;
    struct author author;

    (void)request;
    if (!service_author(call, &author) || !service_permit(call, permit_root(machine, &author)))
        return;
    response.header = service_header(call, mvcc_revision(machine->mvcc));
    response.users =
        arena_alloc(grpc_call_arena(call), (store->user_count + 1) * sizeof *response.users);
    for (size_t i = 0; i < store->user_count; i++)
        response.users[response.n_users++] = store->users[i]->name;
    service_reply(call, &response.base);
}

/* Root may look at all roles, and everybody at those they have. */
static int permit_role_get(const struct machine *machine, const struct author *author,
                           const char *role)
{
    const struct auth_user *user;
    int code = permit_root(machine, author);

    if (code == 0 || author->kind != AUTHOR_USER)
        return code;
    user = auth_store_user(machine->auth, author->user);
    return user != NULL && auth_user_has_role(user, role) ? 0 : code;
}

static Authpb__Permission *permission_message(struct arena *arena, int type, struct slice key,
                                              struct slice range_end)
{
    Authpb__Permission *out = arena_alloc(arena, sizeof *out);

    authpb__permission__init(out);
    out->permtype = (Authpb__Permission__Type)type;
    out->key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)key.data, .len = key.len};
    out->range_end =
        (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)range_end.data, .len = range_end.len};
    return out;
}

/* What the role root may is not written down with it; etcd 3.6 shows it. */
static void fill_permissions(struct arena *arena, const struct auth_role *role,
                             Etcdserverpb__AuthRoleGetResponse *out)
{
    out->perm = arena_alloc(arena, (role->permission_count + 1) * sizeof *out->perm);
    if (strcmp(role->name, AUTH_ROOT) == 0) {
        out->perm[out->n_perm++] = permission_message(arena, AUTHPB__PERMISSION__TYPE__READWRITE,
                                                      slice_of(NULL, 0), slice_of("", 1));
        return;
    }
    for (size_t i = 0; i < role->permission_count; i++) {
        const struct auth_permission *from = &role->permissions[i];

        out->perm[out->n_perm++] =
            permission_message(arena, from->type, from->key, from->range_end);
    }
}

static void run_role_get(struct grpc_call *call, const void *message)
{
    const Etcdserverpb__AuthRoleGetRequest *request = message;
    const struct machine *machine = service_member(call)->machine;
    Etcdserverpb__AuthRoleGetResponse response = ETCDSERVERPB__AUTH_ROLE_GET_RESPONSE__INIT;
    const struct auth_role *role;
    struct author author;

    if (!service_author(call, &author) ||
        !service_permit(call, permit_role_get(machine, &author, request->role)))
        return;
    role = auth_store_role(machine->auth, request->role);
    if (role == NULL) {
        service_fail(call, STATUS_ROLE_NOT_FOUND);
        return;
    }
    response.header = service_header(call, mvcc_revision(machine->mvcc));
    fill_permissions(grpc_call_arena(call), role, &response);
    service_reply(call, &response.base);
}

static void run_role_list(struct grpc_call *call, const void *request)
{
    const struct machine *machine = service_member(call)->machine;
    const struct auth_store *store = machine->auth;
    Etcdserverpb__AuthRoleListResponse response = ETCDSERVERPB__AUTH_ROLE_LIST_RESPONSE__INIT;
    struct author author;

    (void)request;
    if (!service_author(call, &author) || !service_permit(call, permit_root(machine, &author)))
        return;
    response.header = service_header(call, mvcc_revision(machine->mvcc));
    response.roles =
        arena_alloc(grpc_call_arena(call), (store->role_count + 1) * sizeof *response.roles);
    for (size_t i = 0; i < store->role_count; i++)
        response.roles[response.n_roles++] = store->roles[i]->name;
    service_reply(call, &response.base);
}

#define READ(function, request_type, run)                                                          \
    void function(struct grpc_call *call, struct slice message)                                    \
    {                                                                                              \
        const void *request =                                                                      \
            service_begin(call, message, &etcdserverpb__##request_type##__descriptor);             \
                                                                                                   \
        if (request != NULL)                                                                       \
            service_read(call, request, run);                                                      \
    }

READ(service_auth_status, auth_status_request, run_status)
READ(service_auth_user_get, auth_user_get_request, run_user_get)
READ(service_auth_user_list, auth_user_list_request, run_user_list)
READ(service_auth_role_get, auth_role_get_request, run_role_get)
READ(service_auth_role_list, auth_role_list_request, run_role_list)
