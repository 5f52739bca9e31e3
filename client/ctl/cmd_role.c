/* role add, get, list, delete, grant-permission, revoke-permission. */
#include <string.h>
#include <strings.h>

#include "client/ctl/ctl.h"

/* ---- add, get, list, delete ---- */

static int run_add(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthRoleAddRequest request = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;

    (void)options;
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "role add command requires role name as its argument");
    request.name = argv[0];
    ctl->output.role = argv[0];
    return ctl_call_and_print(ctl, &kv_method_auth_role_add, &request.base, 0);
}

const struct ctl_command ctl_cmd_role_add = {
    .name = "role add",
    .usage = "role add <role name>",
    .brief = "Adds a new role",
    .run = run_add,
};

static int run_get(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthRoleGetRequest request = ETCDSERVERPB__AUTH_ROLE_GET_REQUEST__INIT;

    (void)options;
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "role get command requires role name as its argument");
    request.role = argv[0];
    ctl->output.role = argv[0];
    return ctl_call_and_print(ctl, &kv_method_auth_role_get, &request.base, 0);
}

const struct ctl_command ctl_cmd_role_get = {
    .name = "role get",
    .usage = "role get <role name>",
    .brief = "Gets detailed information of a role",
    .run = run_get,
};

static int run_list(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthRoleListRequest request = ETCDSERVERPB__AUTH_ROLE_LIST_REQUEST__INIT;

    (void)options;
    (void)argv;
    if (argc != 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "role list command requires no arguments");
    return ctl_call_and_print(ctl, &kv_method_auth_role_list, &request.base, 0);
}

const struct ctl_command ctl_cmd_role_list = {
    .name = "role list",
    .usage = "role list",
    .brief = "Lists all roles",
    .run = run_list,
};

static int run_delete(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthRoleDeleteRequest request = ETCDSERVERPB__AUTH_ROLE_DELETE_REQUEST__INIT;

    (void)options;
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "role delete command requires role name as its argument");
    request.role = argv[0];
    ctl->output.role = argv[0];
    return ctl_call_and_print(ctl, &kv_method_auth_role_delete, &request.base, 0);
}

const struct ctl_command ctl_cmd_role_delete = {
    .name = "role delete",
    .usage = "role delete <role name>",
    .brief = "Deletes a role",
    .run = run_delete,
};

/* ---- permissions ---- */

struct permission_options {
    bool prefix, from_key;
};

static const struct flag grant_flags[] = {
    {"from-key", 0, FLAG_BOOL, offsetof(struct permission_options, from_key), "false",
     "grant a permission of keys that are greater than or equal to the given key using byte "
     "compare"},
    {"prefix", 0, FLAG_BOOL, offsetof(struct permission_options, prefix), "false",
     "grant a prefix permission"},
    {.name = NULL},
};
static const struct flag revoke_flags[] = {
    {"from-key", 0, FLAG_BOOL, offsetof(struct permission_options, from_key), "false",
     "revoke a permission of keys that are greater than or equal to the given key using byte "
     "compare"},
    {"prefix", 0, FLAG_BOOL, offsetof(struct permission_options, prefix), "false",
     "revoke a prefix permission"},
    {.name = NULL},
};

static const struct slice everything_behind = {.data = (const uint8_t *)"", .len = 1};

/* What key, perhaps an end, and the flags mean; into output.key and range_end. An empty key stands
 * for the smallest. */
static int take_range(struct ctl *ctl, const struct permission_options *options, int argc,
                      char **argv)
{
    struct slice key = slice_str(argv[0]), *end = &ctl->output.range_end;
    uint8_t *bytes = arena_alloc(&ctl->arena, key.len + 1);

    if (options->prefix && options->from_key && (argc == 1 || key.len == 0))
        return ctl_fail(ctl, CTL_BAD_ARGS, "--from-key and --prefix flags are mutually exclusive");
    ctl->output.key = key.len > 0 ? key : everything_behind;
    *end = slice_of(NULL, 0);
    if (key.len == 0) {
        if (options->prefix || options->from_key)
            *end = everything_behind;
    } else if (argc > 1) {
        if (options->prefix)
            return ctl_fail(ctl, CTL_BAD_ARGS, "unexpected endkey argument with --prefix flag");
        if (options->from_key)
            return ctl_fail(ctl, CTL_BAD_ARGS, "unexpected endkey argument with --from-key flag");
        *end = slice_str(argv[1]);
    } else if (options->prefix) {
        *end = slice_of(bytes, kv_prefix_end(key, bytes));
    } else if (options->from_key) {
        *end = everything_behind;
    }
    return 0;
}

/* protobuf-c's type has no const; nobody writes through it. */
static ProtobufCBinaryData bytes_of(struct slice bytes)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)bytes.data, .len = bytes.len};
}

static int take_type(struct ctl *ctl, const char *text, Authpb__Permission__Type *out)
{
    const ProtobufCEnumDescriptor *types = &authpb__permission__type__descriptor;

    for (unsigned i = 0; i < types->n_values; i++)
        if (strcasecmp(types->values[i].name, text) == 0) {
            *out = (Authpb__Permission__Type)types->values[i].value;
            return 0;
        }
    return ctl_fail(ctl, CTL_BAD_ARGS, "invalid permission type: %s", text);
}

static int run_grant(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthRoleGrantPermissionRequest request =
        ETCDSERVERPB__AUTH_ROLE_GRANT_PERMISSION_REQUEST__INIT;
    Authpb__Permission permission = AUTHPB__PERMISSION__INIT;
    int code;

    if (argc < 3)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "role grant-permission command requires role name, permission type, and "
                        "key [endkey] as its argument");
    code = take_type(ctl, argv[1], &permission.permtype);
    if (code == 0)
        code = take_range(ctl, options, argc - 2, argv + 2);
    if (code != 0)
        return code;
    permission.key = bytes_of(ctl->output.key);
    permission.range_end = bytes_of(ctl->output.range_end);
    request.name = argv[0];
    request.perm = &permission;
    ctl->output.role = argv[0];
    return ctl_call_and_print(ctl, &kv_method_auth_role_grant_permission, &request.base, 0);
}

const struct ctl_command ctl_cmd_role_grant_permission = {
    .name = "role grant-permission",
    .usage = "role grant-permission [options] <role name> <permission type> <key> [endkey]",
    .brief = "Grants a key to a role",
    .help = "The permission type is read, write or readwrite.\n",
    .flags = grant_flags,
    .options_size = sizeof(struct permission_options),
    .run = run_grant,
};

static int run_revoke(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthRoleRevokePermissionRequest request =
        ETCDSERVERPB__AUTH_ROLE_REVOKE_PERMISSION_REQUEST__INIT;
    int code;

    if (argc < 2)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "role revoke-permission command requires role name and key [endkey] as its "
                        "argument");
    code = take_range(ctl, options, argc - 1, argv + 1);
    if (code != 0)
        return code;
    request.role = argv[0];
    request.key = bytes_of(ctl->output.key);
    request.range_end = bytes_of(ctl->output.range_end);
    ctl->output.role = argv[0];
    return ctl_call_and_print(ctl, &kv_method_auth_role_revoke_permission, &request.base, 0);
}

const struct ctl_command ctl_cmd_role_revoke_permission = {
    .name = "role revoke-permission",
    .usage = "role revoke-permission [options] <role name> <key> [endkey]",
    .brief = "Revokes a key from a role",
    .flags = revoke_flags,
    .options_size = sizeof(struct permission_options),
    .run = run_revoke,
};
