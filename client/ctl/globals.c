/* The flags of every command, their environment variables, and what follows from them. */
#include <string.h>

#include "base/version.h"
#include "client/ctl/ctl.h"
#include "client/ctl/password.h"

#define AT(member) offsetof(struct ctl_globals, member)

const struct flag ctl_global_flags[] = {
    {"auth-jwt-token", 0, FLAG_STRING, AT(auth_jwt_token), "",
     "JWT token used for authentication (if this option is used, --user and --password should not "
     "be set)"},
    {"cacert", 0, FLAG_STRING, AT(cacert), "", "verify servers with this CA bundle"},
    {"cert", 0, FLAG_STRING, AT(cert), "", "identify to servers with this certificate file"},
    {"command-timeout", 0, FLAG_DURATION, AT(command_timeout_ns), "5s",
     "longest time a command may take"},
    {"debug", 0, FLAG_BOOL, AT(debug), "false", "print the settings in use on stderr"},
    {"dial-timeout", 0, FLAG_DURATION, AT(dial_timeout_ns), "2s",
     "longest wait for a connection to any endpoint"},
    {"discovery-srv", 'd', FLAG_STRING, AT(discovery_srv), "",
     "domain with SRV records of the cluster (not supported yet)"},
    {"discovery-srv-name", 0, FLAG_STRING, AT(discovery_srv_name), "",
     "service name for --discovery-srv (not supported yet)"},
    {"endpoints", 0, FLAG_LIST, AT(endpoints), "127.0.0.1:2379",
     "servers to talk to, separated by commas"},
    {"hex", 0, FLAG_BOOL, AT(hex), "false",
     "print byte strings as hex, and ids in fields and json"},
    {"insecure-discovery", 0, FLAG_BOOL, AT(insecure_discovery), "true",
     "accept insecure SRV records"},
    {"insecure-skip-tls-verify", 0, FLAG_BOOL, AT(insecure_skip_tls_verify), "false",
     "do not verify the server's certificate (CAUTION: for tests only)"},
    {"insecure-transport", 0, FLAG_BOOL, AT(insecure_transport), "true",
     "connect without transport security"},
    {"keepalive-time", 0, FLAG_DURATION, AT(keepalive_time_ns), "2s",
     "ping the server this often while it owes an answer"},
    {"keepalive-timeout", 0, FLAG_DURATION, AT(keepalive_timeout_ns), "6s",
     "give a connection up when a ping is not answered for this long"},
    {"key", 0, FLAG_STRING, AT(key), "", "identify to servers with this key file"},
    {"max-recv-bytes", 0, FLAG_INT, AT(max_recv_bytes), "0",
     "largest answer taken, in bytes (0: 2 GiB)"},
    {"max-request-bytes", 0, FLAG_INT, AT(max_request_bytes), "0",
     "largest request sent, in bytes (0: 2 MiB)"},
    {"password", 0, FLAG_STRING, AT(password), "",
     "password for authentication (if this option is used, --user option shouldn't include "
     "password)"},
    {"user", 0, FLAG_STRING, AT(user), "",
     "username[:password] for authentication (prompt if password is not supplied)"},
    {"write-out", 'w', FLAG_STRING, AT(write_out), "simple",
     "output format: fields, json, protobuf, simple or table"},
    {.name = NULL},
};
enum { GLOBAL_COUNT = ARRAY_LEN(ctl_global_flags) - 1 };

enum { ENV_NAME_MAX = 64 };

/* "dial-timeout" is ETCDCTL_DIAL_TIMEOUT. */
static void env_name(const char *prefix, const char *flag, char out[ENV_NAME_MAX])
{
    char *at = out;

    (void)snprintf(out, ENV_NAME_MAX, "%s_%s", prefix, flag);
    for (; *at != '\0'; at++) {
        if (*at == '-')
            *at = '_';
        else if (*at >= 'a' && *at <= 'z')
            *at = (char)(*at - 'a' + 'A');
    }
}

static const char *env_value(char **env, const char *name)
{
    size_t len = strlen(name);

    for (; *env != NULL; env++) {
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    }
    return NULL;
}

const char *ctl_env(const struct ctl *ctl, const char *name)
{
    char full[ENV_NAME_MAX];
    const char *value;

    (void)snprintf(full, sizeof full, "KVCTL_%s", name);
    value = env_value(ctl->env, full);
    if (value != NULL)
        return value;
    (void)snprintf(full, sizeof full, "ETCDCTL_%s", name);
    return env_value(ctl->env, full);
}

static int apply_env(struct ctl *ctl, const char *prefix, size_t at)
{
    const char *flag = ctl_global_flags[at].name;
    char name[ENV_NAME_MAX];
    struct err err = ERR_INIT;
    const char *value;

    env_name(prefix, flag, name);
    value = env_value(ctl->env, name);
    if (value == NULL)
        return 0;
    /* etcdctl refuses to guess which of the two is meant, and scripts rely on it */
    if ((ctl->global_set.changed & 1ull << at) != 0)
        return ctl_fail(ctl, CTL_ERROR,
                        "conflicting environment variable %s is shadowed by corresponding "
                        "command-line flag --%s (either unset environment variable or disable "
                        "flag)",
                        name, flag);
    if (value[0] == '\0')
        return 0;
    if (flag_set_value(&ctl->global_set, at, value, &ctl->arena, &err) != 0)
        return ctl_fail(ctl, CTL_ERROR, "%s: %s", name, err.text);
    return 0;
}

/* ETCDCTL_API once chose between v2 and v3; the others are read by watch. */
static bool is_known_variable(const char *variable, size_t len)
{
    static const char *const others[] = {"API", "WATCH_KEY", "WATCH_RANGE_END"};
    char name[ENV_NAME_MAX];
    size_t i;

    for (i = 0; i < ARRAY_LEN(others); i++) {
        if (strlen(others[i]) == len && memcmp(others[i], variable, len) == 0)
            return true;
    }
    for (i = 0; i < GLOBAL_COUNT; i++) {
        env_name("", ctl_global_flags[i].name, name);
        if (strlen(name + 1) == len && memcmp(name + 1, variable, len) == 0)
            return true;
    }
    return false;
}

static void warn_unknown(struct ctl *ctl, const char *prefix)
{
    size_t prefix_len = strlen(prefix), len;
    char **env;

    for (env = ctl->env; *env != NULL; env++) {
        if (strncmp(*env, prefix, prefix_len) != 0 || (*env)[prefix_len] != '_')
            continue;
        len = strcspn(*env, "=");
        if (!is_known_variable(*env + prefix_len + 1, len - prefix_len - 1))
            fprintf(ctl->err, "Warning: unrecognized environment variable %.*s\n", (int)len, *env);
    }
}

/* KVCTL_ENDPOINTS counts before ETCDCTL_ENDPOINTS. */
static int read_env(struct ctl *ctl)
{
    size_t at;
    int code;

    for (at = 0; at < GLOBAL_COUNT; at++) {
        code = apply_env(ctl, "ETCDCTL", at);
        if (code == 0)
            code = apply_env(ctl, "KVCTL", at);
        if (code != 0)
            return code;
    }
    warn_unknown(ctl, "ETCDCTL");
    warn_unknown(ctl, "KVCTL");
    return 0;
}

/* What would let others in is not printed. */
static void print_setting(struct ctl *ctl, size_t at)
{
    const char *name = ctl_global_flags[at].name, *user = ctl->globals.user;

    if (strcmp(name, "user") == 0)
        fprintf(ctl->err, "%.*s", (int)strcspn(user, ":"), user);
    else if (strcmp(name, "password") != 0 && strcmp(name, "auth-jwt-token") != 0)
        flag_print_value(ctl->err, &ctl->global_set, at);
}

static void print_settings(struct ctl *ctl)
{
    char name[ENV_NAME_MAX];
    size_t at;

    for (at = 0; at < GLOBAL_COUNT; at++) {
        env_name("KVCTL", ctl_global_flags[at].name, name);
        fprintf(ctl->err, "%s=", name);
        print_setting(ctl, at);
        fputc('\n', ctl->err);
    }
}

/* What this version cannot do is said, not ignored. */
static int refuse_unsupported(struct ctl *ctl)
{
    const struct ctl_globals *globals = &ctl->globals;

    if (globals->discovery_srv[0] != '\0')
        return ctl_fail(ctl, CTL_BAD_FEATURE,
                        "--discovery-srv is not supported yet: name the servers with --endpoints");
    return 0;
}

static int check_numbers(struct ctl *ctl)
{
    const struct ctl_globals *globals = &ctl->globals;

    if (globals->dial_timeout_ns <= 0 || globals->command_timeout_ns <= 0)
        return ctl_fail(ctl, CTL_ERROR, "--dial-timeout and --command-timeout must be above zero");
    if (globals->max_request_bytes < 0 || globals->max_recv_bytes < 0)
        return ctl_fail(ctl, CTL_ERROR,
                        "--max-request-bytes and --max-recv-bytes must not be negative");
    return 0;
}

/* The password is asked for here, before anything is done. */
static int read_user(struct ctl *ctl)
{
    const struct ctl_globals *globals = &ctl->globals;

    if (globals->auth_jwt_token[0] != '\0' &&
        (globals->user[0] != '\0' || globals->password[0] != '\0'))
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "--auth-jwt-token says who you are already: leave out --user and "
                        "--password");
    return password_of_flags(ctl, globals->user, globals->password, &ctl->user, &ctl->password);
}

/* etcdctl accepts blanks around the commas. */
static void trim_endpoints(struct ctl *ctl)
{
    struct flag_list *endpoints = &ctl->globals.endpoints;
    size_t i, len;

    for (i = 0; i < endpoints->len; i++) {
        const char *text = endpoints->items[i] + strspn(endpoints->items[i], " \t");
        char *copy;

        len = strcspn(text, " \t");
        copy = arena_alloc(&ctl->arena, len + 1);
        memcpy(copy, text, len);
        copy[len] = '\0';
        endpoints->items[i] = copy;
    }
}

int ctl_prepare(struct ctl *ctl)
{
    int code;

    code = read_env(ctl);
    if (code != 0)
        return code;
    if (ctl->globals.debug)
        print_settings(ctl);
    code = check_numbers(ctl);
    if (code == 0)
        code = refuse_unsupported(ctl);
    if (code != 0)
        return code;
    trim_endpoints(ctl);
    code = read_user(ctl);
    if (code != 0)
        return code;

    ctl->tls = ctl_tls_options(ctl->globals.cacert, ctl->globals.cert, ctl->globals.key,
                               ctl->globals.insecure_transport,
                               ctl->globals.insecure_skip_tls_verify, &ctl->tls_options);
    ctl->output = (struct output){
        .format = output_format_named(ctl->globals.write_out),
        .out = ctl->out,
        .err = ctl->err,
        .arena = &ctl->arena,
        .hex = ctl->globals.hex,
    };
    if (ctl->output.format == NULL)
        return ctl_fail(ctl, CTL_BAD_FEATURE, "unsupported output format");
    return 0;
}

static uint64_t ms_of(int64_t ns)
{
    return ns <= 0 ? 0 : (uint64_t)(ns + 999999) / 1000000;
}

const struct net_tls_options *ctl_tls_options(const char *cacert, const char *cert, const char *key,
                                              bool insecure, bool skip_verify,
                                              struct net_tls_options *out)
{
    *out = (struct net_tls_options){
        .ca_file = cacert,
        .cert_file = cert,
        .key_file = key,
        .flags = skip_verify ? NET_TLS_SKIP_VERIFY : 0,
    };
    /* Without any of these only endpoints that say https:// are meant. */
    return cacert[0] != '\0' || cert[0] != '\0' || key[0] != '\0' || !insecure || skip_verify
               ? out
               : NULL;
}

struct kv_options ctl_kv_options(const struct ctl *ctl)
{
    const struct ctl_globals *globals = &ctl->globals;

    return (struct kv_options){
        .dial_timeout_ms = ms_of(globals->dial_timeout_ns),
        .call_timeout_ms = ms_of(globals->command_timeout_ns),
        .keepalive_interval_ms = ms_of(globals->keepalive_time_ns),
        .keepalive_timeout_ms = ms_of(globals->keepalive_timeout_ns),
        .request_size_max = (size_t)globals->max_request_bytes,
        .response_size_max = (size_t)globals->max_recv_bytes,
        .tls = ctl->tls,
        .user = ctl->user,
        .password = ctl->password,
        .token = globals->auth_jwt_token,
    };
}
