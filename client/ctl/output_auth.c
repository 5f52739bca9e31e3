/* How answers of user and role commands look, in the formats simple and fields. */
#include <inttypes.h>

#include "client/ctl/gotext.h"
#include "client/ctl/output.h"
#include "client/ctl/output_watch.h"
#include "client/kv.h"

/* ---- simple ---- */

void output__simple_auth_status(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__AuthStatusResponse *response = (const void *)message;

    fprintf(output->out, "Authentication Status: %s\nAuthRevision: %" PRIu64 "\n",
            response->enabled ? "true" : "false", response->authrevision);
}

#define SENTENCE(name, ...)                                                                        \
    void output__simple_##name(struct output *output, const ProtobufCMessage *message)             \
    {                                                                                              \
        (void)message;                                                                             \
        fprintf(output->out, __VA_ARGS__);                                                         \
    }

SENTENCE(auth_user_add, "User %s created\n", output->user)
SENTENCE(auth_user_delete, "User %s deleted\n", output->user)
SENTENCE(auth_user_change_password, "Password updated\n")
SENTENCE(auth_user_grant_role, "Role %s is granted to user %s\n", output->role, output->user)
SENTENCE(auth_user_revoke_role, "Role %s is revoked from user %s\n", output->role, output->user)
SENTENCE(auth_role_add, "Role %s created\n", output->role)
SENTENCE(auth_role_delete, "Role %s deleted\n", output->role)
SENTENCE(auth_role_grant_permission, "Role %s updated\n", output->role)

static void print_names(struct output *output, char **names, size_t len)
{
    for (size_t i = 0; i < len; i++)
        fprintf(output->out, "%s\n", names[i]);
}

void output__simple_auth_user_list(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__AuthUserListResponse *response = (const void *)message;

    print_names(output, response->users, response->n_users);
}

void output__simple_auth_role_list(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__AuthRoleListResponse *response = (const void *)message;

    print_names(output, response->roles, response->n_roles);
}

void output__simple_auth_user_get(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__AuthUserGetResponse *response = (const void *)message;

    fprintf(output->out, "User: %s\nRoles:", output->user);
    for (size_t i = 0; i < response->n_roles; i++)
        fprintf(output->out, " %s", response->roles[i]);
    fputc('\n', output->out);
}

static void print_bytes(struct output *output, struct slice bytes)
{
    if (bytes.len > 0)
        fwrite(bytes.data, 1, bytes.len, output->out); /* ctl_run() looks for errors at the end */
}

static bool is_open(struct slice range_end)
{
    return range_end.len == 1 && range_end.data[0] == 0;
}

/* "[a, b)" or "[a, <open ended>". */
static void print_range(struct output *output, struct slice key, struct slice range_end)
{
    fputc('[', output->out);
    print_bytes(output, key);
    fputs(", ", output->out);
    if (is_open(range_end)) {
        fputs("<open ended>", output->out);
    } else {
        print_bytes(output, range_end);
        fputc(')', output->out);
    }
}

void output__simple_auth_role_revoke_permission(struct output *output,
                                                const ProtobufCMessage *message)
{
    (void)message;
    fputs("Permission of ", output->out);
    if (output->range_end.len == 0) {
        fputs("key ", output->out);
        print_bytes(output, output->key);
    } else {
        fputs("range ", output->out);
        print_range(output, output->key, output->range_end);
    }
    fprintf(output->out, " is revoked from role %s\n", output->role);
}

static void print_permission(struct output *output, const Authpb__Permission *permission)
{
    struct slice key = slice_of(permission->key.data, permission->key.len);
    struct slice range_end = slice_of(permission->range_end.data, permission->range_end.len);
    uint8_t *end = arena_alloc(output->arena, key.len + 1);

    fputc('\t', output->out);
    if (range_end.len == 0) {
        print_bytes(output, key);
    } else {
        print_range(output, key, range_end);
        if (key.len > 0 && slice_eq(slice_of(end, kv_prefix_end(key, end)), range_end)) {
            fputs(" (prefix ", output->out);
            print_bytes(output, key);
            fputc(')', output->out);
        }
    }
    fputc('\n', output->out);
}

void output__simple_auth_role_get(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__AuthRoleGetResponse *response = (const void *)message;

    fprintf(output->out, "Role %s\nKV Read:\n", output->role);
    for (size_t i = 0; i < response->n_perm; i++)
        if (response->perm[i]->permtype != AUTHPB__PERMISSION__TYPE__WRITE)
            print_permission(output, response->perm[i]);
    fputs("KV Write:\n", output->out);
    for (size_t i = 0; i < response->n_perm; i++)
        if (response->perm[i]->permtype != AUTHPB__PERMISSION__TYPE__READ)
            print_permission(output, response->perm[i]);
}

/* ---- fields ---- */

/* All these answers have it first. */
struct answer {
    ProtobufCMessage base;
    Etcdserverpb__ResponseHeader *header;
};

static void print_header(struct output *output, const ProtobufCMessage *message)
{
    output__fields_header(output, ((const struct answer *)(const void *)message)->header);
}

#define HEADER_ONLY(name)                                                                          \
    void output__fields_##name(struct output *output, const ProtobufCMessage *message)             \
    {                                                                                              \
        print_header(output, message);                                                             \
    }

HEADER_ONLY(auth_user_add)
HEADER_ONLY(auth_user_delete)
HEADER_ONLY(auth_user_change_password)
HEADER_ONLY(auth_user_grant_role)
HEADER_ONLY(auth_user_revoke_role)
HEADER_ONLY(auth_role_add)
HEADER_ONLY(auth_role_delete)
HEADER_ONLY(auth_role_grant_permission)
HEADER_ONLY(auth_role_revoke_permission)

void output__fields_auth_status(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__AuthStatusResponse *response = (const void *)message;

    print_header(output, message);
    fprintf(output->out, "\"Enabled\" : %s\n\"AuthRevision\" : %" PRIu64 "\n",
            response->enabled ? "true" : "false", response->authrevision);
}

static void print_quoted(struct output *output, const char *name, char **items, size_t len)
{
    fprintf(output->out, "\"%s\" :", name);
    for (size_t i = 0; i < len; i++) {
        fputc(' ', output->out);
        go_quote(output->out, slice_str(items[i]));
    }
    fputc('\n', output->out);
}

void output__fields_auth_user_list(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__AuthUserListResponse *response = (const void *)message;

    print_header(output, message);
    print_quoted(output, "Users", response->users, response->n_users);
}

void output__fields_auth_user_get(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__AuthUserGetResponse *response = (const void *)message;

    print_header(output, message);
    print_quoted(output, "Roles", response->roles, response->n_roles);
}

void output__fields_auth_role_list(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__AuthRoleListResponse *response = (const void *)message;

    print_header(output, message);
    print_quoted(output, "Roles", response->roles, response->n_roles);
}

void output__fields_auth_role_get(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__AuthRoleGetResponse *response = (const void *)message;

    print_header(output, message);
    for (size_t i = 0; i < response->n_perm; i++) {
        const Authpb__Permission *permission = response->perm[i];
        const ProtobufCEnumValue *type = protobuf_c_enum_descriptor_get_value(
            &authpb__permission__type__descriptor, permission->permtype);

        /* etcdctl's two blanks */
        fprintf(output->out, "\"PermType\" :  %s\n\"Key\" : ", type != NULL ? type->name : "?");
        go_quote(output->out, slice_of(permission->key.data, permission->key.len));
        fputs("\n\"RangeEnd\" : ", output->out);
        go_quote(output->out, slice_of(permission->range_end.data, permission->range_end.len));
        fputc('\n', output->out);
    }
}
