#include "server/config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/config_internal.h"

static void release_tls(struct config_tls *tls)
{
    free(tls->cert_file);
    free(tls->key_file);
    free(tls->client_cert_file);
    free(tls->client_key_file);
    free(tls->ca_file);
    free(tls->crl_file);
    free(tls->allowed_cn);
    free(tls->allowed_hostname);
}

void config_release(struct config *config)
{
    free(config->name);
    free(config->data_dir);
    free(config->wal_dir);
    config__urls_release(&config->listen_client);
    config__urls_release(&config->listen_client_http);
    config__urls_release(&config->advertise_client);
    config__urls_release(&config->listen_peer);
    config__urls_release(&config->advertise_peer);
    config__urls_release(&config->listen_metrics);
    for (size_t i = 0; i < config->initial_cluster_len; i++) {
        free(config->initial_cluster[i].name);
        config__urls_release(&config->initial_cluster[i].urls);
    }
    free(config->initial_cluster);
    free(config->initial_cluster_token);
    free(config->auth_token);
    for (size_t i = 0; i < config->log_outputs_len; i++)
        free(config->log_outputs[i]);
    free(config->log_outputs);
    free(config->cors);
    free(config->host_whitelist);
    release_tls(&config->client_tls);
    release_tls(&config->peer_tls);
    free(config->tls_version_min);
    free(config->tls_version_max);
    free(config->cipher_suites);
    *config = (struct config){.name = NULL};
}

/* ---- argv ---- */

static int set_from_flag(struct draft *draft, const struct flag *flag, const char *name,
                         const char *value, struct err *err)
{
    struct err why = ERR_INIT;

    if (config__set(draft, flag, value, &why) == 0)
        return 0;
    if (flag->kind == FLAG_BOOL)
        return err_set(err, KV_EINVAL, "invalid boolean value \"%s\" for -%s: %s", value, name,
                       why.text);
    return err_set(err, KV_EINVAL, "invalid value \"%s\" for flag -%s: %s", value, name, why.text);
}

static int unknown_flag(const char *name, struct err *err)
{
    const char *near = config__nearest(name);

    if (near != NULL)
        return err_set(err, KV_EINVAL, "flag provided but not defined: -%s (did you mean --%s?)",
                       name, near);
    return err_set(err, KV_EINVAL, "flag provided but not defined: -%s", name);
}

/* One flag at argv[*at], moving *at past it and past its value. */
static int take_flag(struct draft *draft, int argc, char **argv, int *at, struct err *err)
{
    const char *arg = argv[(*at)++];
    const char *start = arg + (arg[1] == '-' ? 2 : 1);
    size_t len = strcspn(start, "=");
    const char *value = start[len] == '=' ? start + len + 1 : NULL;
    const struct flag *flag;
    char *name;
    int rc;

    if (len == 0 || start[0] == '-')
        return err_set(err, KV_EINVAL, "bad flag syntax: %s", arg);
    name = xmemdup(start, len + 1);
    name[len] = '\0';
    flag = config__find(strcmp(name, "h") == 0 ? "help" : name);
    if (flag == NULL) {
        rc = unknown_flag(name, err);
        goto out;
    }
    if (value == NULL && flag->kind == FLAG_BOOL)
        value = "true";
    else if (value == NULL && *at < argc)
        value = argv[(*at)++];
    if (value == NULL)
        rc = err_set(err, KV_EINVAL, "flag needs an argument: -%s", name);
    else
        rc = set_from_flag(draft, flag, name, value, err);
out:
    free(name);
    return rc;
}

static enum config_action read_argv(struct draft *draft, int argc, char **argv, struct err *err)
{
    int at = 1;

    while (at < argc && argv[at][0] == '-' && argv[at][1] != '\0' && strcmp(argv[at], "--") != 0) {
        if (take_flag(draft, argc, argv, &at, err) != 0)
            return CONFIG_EXIT_BAD;
        if (draft->help)
            return CONFIG_EXIT_OK;
    }
    if (at < argc && strcmp(argv[at], "--") == 0)
        at++;
    if (at < argc && !draft->version) {
        (void)err_set(err, KV_EINVAL, "'%s' is not a valid flag", argv[at]);
        return CONFIG_EXIT_INVALID;
    }
    return draft->version ? CONFIG_EXIT_OK : CONFIG_RUN;
}

/* ---- environment ---- */

/* "ETCD_DATA_DIR=x" gives the flag "data-dir"; NULL if the variable is not for us. *known says
 * whether there is such a flag. */
static const struct flag *flag_of_variable(const char *variable, bool *ours)
{
    static const char *const prefixes[] = {"ETCD_", "KVD_"};
    char name[128];
    size_t len;

    *ours = false;
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0) {
            variable += strlen(prefixes[i]);
            *ours = true;
            break;
        }
    }
    len = strcspn(variable, "=");
    if (!*ours || len >= sizeof name)
        return NULL;
    for (size_t i = 0; i < len; i++)
        name[i] = variable[i] == '_' ? '-' : (char)tolower((unsigned char)variable[i]);
    name[len] = '\0';
    return config__find(name);
}

/* --version and --help are for the command line; images often set ETCD_VERSION for themselves. */
static bool is_for_people(const struct flag *flag)
{
    return flag->field == offsetof(struct draft, version) ||
           flag->field == offsetof(struct draft, help);
}

static int read_variable(struct draft *draft, const struct flag *flag, const char *variable,
                         struct err *err)
{
    int len = (int)strcspn(variable, "=");
    const char *value = variable + len + 1;
    struct err why = ERR_INIT;

    if (value[0] == '\0')
        return 0; /* as unset, as in etcd */
    if (draft->given[flag - config__flags] != NULL)
        return err_set(err, KV_EINVAL,
                       "conflicting environment variable is shadowed by corresponding command-line "
                       "flag (either unset environment variable or disable flag): %.*s",
                       len, variable);
    if (config__set(draft, flag, value, &why) != 0)
        return err_set(err, KV_EINVAL, "invalid value \"%s\" for %.*s: %s", value, len, variable,
                       why.text);
    return 0;
}

static int read_env(struct draft *draft, char **env, struct err *err)
{
    for (; env != NULL && *env != NULL; env++) {
        bool ours;
        const struct flag *flag = flag_of_variable(*env, &ours);
        int rc;

        if (!ours || (flag != NULL && flag->use == FLAG_SET && is_for_people(flag)) ||
            strchr(*env, '=') == NULL)
            continue;
        if (flag == NULL) {
            /* Only the name: the value may be a secret of somebody else's. */
            config__warn(draft, "unrecognized environment variable: %.*s", (int)strcspn(*env, "="),
                         *env);
            continue;
        }
        rc = read_variable(draft, flag, *env, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The file named by --config-file, else by the environment; NULL if none is. */
static char *config_file_of(const struct draft *draft, char **env)
{
    if (draft->config_file[0] != '\0')
        return xstrdup(draft->config_file);
    for (; env != NULL && *env != NULL; env++) {
        bool ours;
        const struct flag *flag = flag_of_variable(*env, &ours);
        size_t len = strcspn(*env, "=");

        if (flag != NULL && flag->use == FLAG_SET &&
            flag->field == offsetof(struct draft, config_file) && (*env)[len] == '=' &&
            (*env)[len + 1] != '\0')
            return xstrdup(*env + len + 1);
    }
    return NULL;
}

/* ---- all together ---- */

static bool anything_else_given(const struct draft *draft)
{
    for (size_t i = 0; i < config__flag_count; i++) {
        if (draft->given[i] != NULL && strcmp(config__flags[i].name, "config-file") != 0)
            return true;
    }
    return false;
}

/* etcd's rule: a file replaces flags and variables altogether. */
static int read_file(struct draft *draft, const char *path, struct err *err)
{
    struct draft fresh;
    int rc;

    if (anything_else_given(draft))
        config__warn(draft,
                     "loaded the configuration from \"%s\": other flags and environment variables "
                     "are ignored",
                     path);
    config__draft_init(&fresh);
    fresh.warn = draft->warn;
    fresh.warn_ctx = draft->warn_ctx;
    config__draft_release(draft);
    *draft = fresh;
    rc = config__load_file(draft, path, err);
    return rc;
}

enum config_action config_parse(int argc, char **argv, char **env, struct config *out,
                                void (*warn)(void *ctx, const char *text), void *warn_ctx,
                                struct err *err)
{
    struct draft draft;
    enum config_action action;
    char *path = NULL;
    int rc;

    config__draft_init(&draft);
    draft.warn = warn;
    draft.warn_ctx = warn_ctx;
    action = read_argv(&draft, argc, argv, err);
    if (action == CONFIG_EXIT_OK && draft.help)
        config__print_help();
    else if (action == CONFIG_EXIT_OK)
        config__print_version();
    if (action != CONFIG_RUN)
        goto out;

    path = config_file_of(&draft, env);
    rc = path != NULL ? read_file(&draft, path, err) : read_env(&draft, env, err);
    if (rc == 0)
        rc = config__check_unsupported(&draft, err);
    if (rc == 0)
        rc = config__finish(&draft, err);
    if (rc != 0) {
        action = CONFIG_EXIT_INVALID;
        goto out;
    }
    *out = draft.config;
    draft.config = (struct config){.name = NULL}; /* moved to the caller */
out:
    free(path);
    config__draft_release(&draft);
    return action;
}
