/* user add, get, list, delete, passwd, grant-role, revoke-role. */
#include <string.h>

#include "client/ctl/ctl.h"
#include "client/ctl/password.h"

/* ---- add, passwd ---- */

struct add_options {
    bool interactive, no_password;
    const char *new_password;
};

static const struct flag add_flags[] = {
    {"interactive", 0, FLAG_BOOL, offsetof(struct add_options, interactive), "true",
     "Read password from stdin instead of interactive terminal"},
    {"new-user-password", 0, FLAG_STRING, offsetof(struct add_options, new_password), "",
     "Supply password from the command line flag"},
    {"no-password", 0, FLAG_BOOL, offsetof(struct add_options, no_password), "false",
     "Create a user without password (CN based auth only)"},
    {.name = NULL},
};

/* "name:password", or the password asked for. */
static int take_password(struct ctl *ctl, const struct add_options *options, const char *arg,
                         Etcdserverpb__AuthUserAddRequest *request)
{
    const char *user = arg, *password = options->new_password;
    int code;

    if (password[0] == '\0' && strchr(arg, ':') != NULL)
        code = password_of_flags(ctl, arg, "", &user, &password);
    else if (password[0] == '\0')
        code = password_new(ctl, arg, options->interactive, &password);
    else
        code = 0;
    if (code == 0 && user[0] == '\0')
        code = ctl_fail(ctl, CTL_BAD_ARGS, "empty user name is not allowed");
    request->name = (char *)(uintptr_t)user; /* only read */
    request->password = (char *)(uintptr_t)password;
    return code;
}

static int run_add(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct add_options *options = options_;
    Etcdserverpb__AuthUserAddRequest request = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    Authpb__UserAddOptions add = AUTHPB__USER_ADD_OPTIONS__INIT;
    int code = 0;

    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "user add command requires user name as its argument");
    add.no_password = options->no_password;
    request.options = &add;
    request.name = argv[0];
    if (!options->no_password)
        code = take_password(ctl, options, argv[0], &request);
    ctl->output.user = request.name;
    return code != 0 ? code : ctl_call_and_print(ctl, &kv_method_auth_user_add, &request.base, 0);
}

const struct ctl_command ctl_cmd_user_add = {
    .name = "user add",
    .usage = "user add <user name or user:password> [options]",
    .brief = "Adds a new user",
    .flags = add_flags,
    .options_size = sizeof(struct add_options),
    .run = run_add,
};

struct passwd_options {
    bool interactive;
};

static const struct flag passwd_flags[] = {
    {"interactive", 0, FLAG_BOOL, offsetof(struct passwd_options, interactive), "true",
     "If true, read password from stdin instead of interactive terminal"},
    {.name = NULL},
};

static int run_passwd(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct passwd_options *options = options_;
    Etcdserverpb__AuthUserChangePasswordRequest request =
        ETCDSERVERPB__AUTH_USER_CHANGE_PASSWORD_REQUEST__INIT;
    const char *password;
    int code;

    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "user passwd command requires user name as its argument");
    code = password_new(ctl, argv[0], options->interactive, &password);
    if (code != 0)
        return code;
    request.name = argv[0];
    request.password = (char *)(uintptr_t)password; /* only read */
    ctl->output.user = argv[0];
    return ctl_call_and_print(ctl, &kv_method_auth_user_change_password, &request.base, 0);
}

const struct ctl_command ctl_cmd_user_passwd = {
    .name = "user passwd",
    .usage = "user passwd <user name> [options]",
    .brief = "Changes password of user",
    .flags = passwd_flags,
    .options_size = sizeof(struct passwd_options),
    .run = run_passwd,
};

/* ---- get, list, delete ---- */

struct get_options {
    bool detail;
};

static const struct flag get_flags[] = {
    {"detail", 0, FLAG_BOOL, offsetof(struct get_options, detail), "false",
     "Show permissions of roles granted to the user"},
    {.name = NULL},
};

/* Each role as "role get" shows it. */
static int print_details(struct ctl *ctl, struct kv_client *client, const char *user,
                         const Etcdserverpb__AuthUserGetResponse *response)
{
    int code = 0;

    fprintf(ctl->out, "User: %s\n", user);
    for (size_t i = 0; i < response->n_roles && code == 0; i++) {
        Etcdserverpb__AuthRoleGetRequest request = ETCDSERVERPB__AUTH_ROLE_GET_REQUEST__INIT;
        struct kv_result result = {.message = NULL};

        fputc('\n', ctl->out);
        request.role = response->roles[i];
        ctl->output.role = response->roles[i];
        if (kv_call(client, &kv_method_auth_role_get, &request.base, NULL, &result) == 0)
            output_message(&ctl->output, result.message);
        else
            code = ctl_fail_call(ctl, &result);
        kv_result_release(&result);
    }
    return code;
}

static int run_get(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct get_options *options = options_;
    Etcdserverpb__AuthUserGetRequest request = ETCDSERVERPB__AUTH_USER_GET_REQUEST__INIT;
    struct kv_result result = {.message = NULL};
    struct kv_client *client;
    int code;

    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "user get command requires user name as its argument");
    request.name = argv[0];
    ctl->output.user = argv[0];
    code = ctl_connect(ctl, &etcdserverpb__auth_user_get_response__descriptor, &client);
    if (code != 0)
        return code;
    if (kv_call(client, &kv_method_auth_user_get, &request.base, NULL, &result) != 0)
        code = ctl_fail_call(ctl, &result);
    else if (options->detail)
        code = print_details(ctl, client, argv[0], (const void *)result.message);
    else
        output_message(&ctl->output, result.message);
    kv_result_release(&result);
    kv_client_free(client);
    return code;
}

const struct ctl_command ctl_cmd_user_get = {
    .name = "user get",
    .usage = "user get <user name> [options]",
    .brief = "Gets detailed information of a user",
    .flags = get_flags,
    .options_size = sizeof(struct get_options),
    .run = run_get,
};

static int run_list(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthUserListRequest request = ETCDSERVERPB__AUTH_USER_LIST_REQUEST__INIT;

    (void)options;
    (void)argv;
    if (argc != 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "user list command requires no arguments");
    return ctl_call_and_print(ctl, &kv_method_auth_user_list, &request.base, 0);
}

const struct ctl_command ctl_cmd_user_list = {
    .name = "user list",
    .usage = "user list",
    .brief = "Lists all users",
    .run = run_list,
};

static int run_delete(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthUserDeleteRequest request = ETCDSERVERPB__AUTH_USER_DELETE_REQUEST__INIT;

    (void)options;
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "user delete command requires user name as its argument");
    request.name = argv[0];
    ctl->output.user = argv[0];
    return ctl_call_and_print(ctl, &kv_method_auth_user_delete, &request.base, 0);
}

const struct ctl_command ctl_cmd_user_delete = {
    .name = "user delete",
    .usage = "user delete <user name>",
    .brief = "Deletes a user",
    .run = run_delete,
};

/* ---- roles ---- */

static int run_grant_role(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthUserGrantRoleRequest request =
        ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;

    (void)options;
    if (argc != 2)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "user grant command requires user name and role name as its argument");
    request.user = argv[0];
    request.role = argv[1];
    ctl->output.user = argv[0];
    ctl->output.role = argv[1];
    return ctl_call_and_print(ctl, &kv_method_auth_user_grant_role, &request.base, 0);
}

const struct ctl_command ctl_cmd_user_grant_role = {
    .name = "user grant-role",
    .usage = "user grant-role <user name> <role name>",
    .brief = "Grants a role to a user",
    .run = run_grant_role,
};

static int run_revoke_role(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthUserRevokeRoleRequest request =
        ETCDSERVERPB__AUTH_USER_REVOKE_ROLE_REQUEST__INIT;

    (void)options;
    if (argc != 2)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "user revoke-role requires user name and role name as its argument");
    request.name = argv[0];
    request.role = argv[1];
    ctl->output.user = argv[0];
    ctl->output.role = argv[1];
    return ctl_call_and_print(ctl, &kv_method_auth_user_revoke_role, &request.base, 0);
}

const struct ctl_command ctl_cmd_user_revoke_role = {
    .name = "user revoke-role",
    .usage = "user revoke-role <user name> <role name>",
    .brief = "Revokes a role from a user",
    .run = run_revoke_role,
};
