/* auth enable, disable, status. */
#include <string.h>

#include "client/ctl/ctl.h"

static int call(struct kv_client *client, const struct kv_method *method,
                const ProtobufCMessage *request, struct kv_result *result)
{
    kv_result_release(result);
    return kv_call(client, method, request, NULL, result);
}

static bool says(const struct kv_result *result, const char *text)
{
    return strcmp(result->err.text, text) == 0;
}

/* Makes the role root and gives it to the user root. */
static int prepare_root(struct kv_client *client, struct kv_result *result)
{
    Etcdserverpb__AuthRoleAddRequest add = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;
    Etcdserverpb__AuthUserGrantRoleRequest grant = ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;
    char root[] = "root";
    int rc;

    add.name = root;
    rc = call(client, &kv_method_auth_role_add, &add.base, result);
    if (rc != 0 && !says(result, "etcdserver: role name already exists"))
        return rc;
    grant.user = root;
    grant.role = root;
    return call(client, &kv_method_auth_user_grant_role, &grant.base, result);
}

static int run_enable(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthEnableRequest request = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;
    struct kv_result result = {.message = NULL};
    struct kv_client *client;
    int code, rc;

    (void)options;
    (void)argv;
    if (argc != 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "auth enable command does not accept any arguments");
    code = ctl_connect(ctl, NULL, &client);
    if (code != 0)
        return code;
    rc = call(client, &kv_method_auth_enable, &request.base, &result);
    if (rc != 0 && says(&result, "etcdserver: root user does not have root role")) {
        rc = prepare_root(client, &result);
        if (rc == 0)
            rc = call(client, &kv_method_auth_enable, &request.base, &result);
    }
    if (rc == 0)
        fputs("Authentication Enabled\n", ctl->out);
    else
        code = ctl_fail_call(ctl, &result);
    kv_result_release(&result);
    kv_client_free(client);
    return code;
}

const struct ctl_command ctl_cmd_auth_enable = {
    .name = "auth enable",
    .usage = "auth enable",
    .brief = "Enables authentication",
    .help = "From then on every call needs a user. The user root has to be there; it is given the\n"
            "role root if it has not got it.\n",
    .run = run_enable,
};

static int run_disable(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthDisableRequest request = ETCDSERVERPB__AUTH_DISABLE_REQUEST__INIT;
    struct kv_result result = {.message = NULL};
    struct kv_client *client;
    int code;

    (void)options;
    (void)argv;
    if (argc != 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "auth disable command does not accept any arguments");
    code = ctl_connect(ctl, NULL, &client);
    if (code != 0)
        return code;
    if (call(client, &kv_method_auth_disable, &request.base, &result) == 0)
        fputs("Authentication Disabled\n", ctl->out);
    else
        code = ctl_fail_call(ctl, &result);
    kv_result_release(&result);
    kv_client_free(client);
    return code;
}

const struct ctl_command ctl_cmd_auth_disable = {
    .name = "auth disable",
    .usage = "auth disable",
    .brief = "Disables authentication",
    .run = run_disable,
};

static int run_status(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AuthStatusRequest request = ETCDSERVERPB__AUTH_STATUS_REQUEST__INIT;

    (void)options;
    (void)argv;
    if (argc != 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "auth status command does not accept any arguments");
    return ctl_call_and_print(ctl, &kv_method_auth_status, &request.base, 0);
}

const struct ctl_command ctl_cmd_auth_status = {
    .name = "auth status",
    .usage = "auth status",
    .brief = "Returns authentication status",
    .run = run_status,
};
