/* What depends on several flags: defaults made of others, and etcd's rules between them, with its
 * texts. URLs and the initial cluster. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "server/auth_hash.h"
#include "server/config_internal.h"
#include "wal/wal.h"

enum {
    ELECTION_MS_MAX = 50000,
    CHECKPOINT_BYTES_MIN = 64 << 10,
    AUTH_TOKEN_TTL_DEFAULT_S = 300,
    REQUEST_BYTES_RECOMMENDED = 10 << 20,
    /* A command travels in one log entry together with a header of its own. */
    REQUEST_BYTES_MAX = WAL_ENTRY_SIZE_MAX - (1 << 20),
};

/* ---- URLs ---- */

void config__urls_release(struct config_urls *urls)
{
    for (size_t i = 0; i < urls->len; i++)
        free(urls->text[i]);
    free(urls->text);
    free(urls->addr);
    *urls = (struct config_urls){.len = 0};
}

/* etcd's checks and texts come first; what is left is the address parser's. */
static int check_url(const char *url, struct net_addr *out, struct err *err)
{
    const char *rest = strstr(url, "://");
    size_t scheme = rest != NULL ? (size_t)(rest - url) : 0;
    bool is_unix = scheme >= 4 && strncmp(url, "unix", 4) == 0;
    const char *colon;

    if (!(scheme == 4 && (strncmp(url, "http", 4) == 0 || is_unix)) &&
        !(scheme == 5 && (strncmp(url, "https", 5) == 0 || strncmp(url, "unixs", 5) == 0)))
        return err_set(err, KV_EINVAL, "URL scheme must be http, https, unix, or unixs: %s", url);
    rest += 3;
    if (is_unix)
        return net_addr_parse(url, out, err);
    if (strpbrk(rest, "/?#") != NULL)
        return err_set(err, KV_EINVAL, "URL must not contain a path: %s", url);
    colon = strrchr(rest, ':');
    if (colon == NULL || colon[1] == '\0' || strchr(colon, ']') != NULL)
        return err_set(err, KV_EINVAL, "URL address does not have the form \"host:port\": %s", url);
    if (colon == rest) {
        /* No host: an address of its own, so that the rules below can name it. */
        *out = (struct net_addr){.port = (uint16_t)strtoul(colon + 1, NULL, 10)};
        return 0;
    }
    return net_addr_parse(url, out, err);
}

/* Keeps the list sorted and free of repetitions, as etcd does. */
static void insert_url(struct config_urls *urls, const char *text, const struct net_addr *addr)
{
    size_t at = 0;

    while (at < urls->len && strcmp(urls->text[at], text) < 0)
        at++;
    if (at < urls->len && strcmp(urls->text[at], text) == 0)
        return;
    urls->text = xrealloc(urls->text, (urls->len + 1) * sizeof *urls->text);
    urls->addr = xrealloc(urls->addr, (urls->len + 1) * sizeof *urls->addr);
    memmove(&urls->text[at + 1], &urls->text[at], (urls->len - at) * sizeof *urls->text);
    memmove(&urls->addr[at + 1], &urls->addr[at], (urls->len - at) * sizeof *urls->addr);
    urls->text[at] = xstrdup(text);
    urls->addr[at] = *addr;
    urls->len++;
}

static char *trim(char *text)
{
    size_t len;

    text += strspn(text, " \t\r\n");
    len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
        text[--len] = '\0';
    return text;
}

int config__parse_urls(const char *text, struct config_urls *out, struct err *err)
{
    struct config_urls urls = {.len = 0};
    char *copy = xstrdup(text);
    char *rest = copy;
    char *url;
    int rc = 0;

    while (rc == 0 && (url = strsep(&rest, ",")) != NULL) {
        struct net_addr addr;

        url = trim(url);
        rc = check_url(url, &addr, err);
        if (rc == 0)
            insert_url(&urls, url, &addr);
    }
    if (rc == 0) {
        config__urls_release(out);
        *out = urls;
    } else {
        config__urls_release(&urls);
    }
    free(copy);
    return rc;
}

static bool is_ip(const char *host)
{
    unsigned char bytes[16];
    char plain[sizeof((struct net_addr *)NULL)->host];

    if (inet_pton(AF_INET, host, bytes) == 1)
        return true;
    (void)snprintf(plain, sizeof plain, "%s", host);
    plain[strcspn(plain, "%")] = '\0'; /* fe80::1%eth0 */
    return inet_pton(AF_INET6, plain, bytes) == 1;
}

/* A listener binds to an address of this machine; a name could mean another one tomorrow. */
static int check_bind(const struct config_urls *urls, struct err *err)
{
    for (size_t i = 0; i < urls->len; i++) {
        const struct net_addr *addr = &urls->addr[i];

        if (!addr->is_unix && strcmp(addr->host, "localhost") != 0 && !is_ip(addr->host))
            return err_set(err, KV_EINVAL, "expected IP in URL for binding (%s)", urls->text[i]);
    }
    return 0;
}

static int check_host(const struct config_urls *urls, const char *flag, struct err *err)
{
    for (size_t i = 0; i < urls->len; i++) {
        if (urls->addr[i].host[0] == '\0')
            return err_set(err, KV_EINVAL,
                           "--%s \"%s\" must be \"host:port\" (unexpected empty host (%s))", flag,
                           urls->text[i], urls->text[i]);
    }
    return 0;
}

/* ---- the initial cluster ---- */

static struct config_peer *peer_named(struct config *config, const char *name)
{
    struct config_peer *peer;

    for (size_t i = 0; i < config->initial_cluster_len; i++) {
        if (strcmp(config->initial_cluster[i].name, name) == 0)
            return &config->initial_cluster[i];
    }
    config->initial_cluster = xrealloc(config->initial_cluster, (config->initial_cluster_len + 1) *
                                                                    sizeof(struct config_peer));
    peer = &config->initial_cluster[config->initial_cluster_len++];
    *peer = (struct config_peer){.name = xstrdup(name)};
    return peer;
}

/* "a=http://1.1.1.1:2380,b=http://...": a name may repeat, then it has several URLs. */
static int parse_cluster(struct config *config, char *text, struct err *err)
{
    char *rest = text;
    char *item;

    while ((item = strsep(&rest, ",")) != NULL) {
        char *name = trim(item);
        char *url = strchr(name, '=');
        struct net_addr addr;
        int rc;

        if (url == NULL)
            url = name + strlen(name);
        else
            *url++ = '\0';
        name = trim(name);
        if (name[0] == '\0')
            return err_set(err, KV_EINVAL, "empty member name in --initial-cluster");
        rc = check_url(url, &addr, err);
        if (rc != 0) {
            err_prefix(err, "error setting up initial cluster");
            return rc;
        }
        if (addr.host[0] == '\0')
            return err_set(err, KV_EINVAL,
                           "error setting up initial cluster: unexpected empty "
                           "host (%s)",
                           url);
        insert_url(&peer_named(config, name)->urls, url, &addr);
    }
    return 0;
}

static void join(const struct config_urls *urls, const char *before, struct buf *out)
{
    for (size_t i = 0; i < urls->len; i++)
        (void)buf_printf(out, "%s%s%s", out->len != 0 ? "," : "", before, urls->text[i]);
}

/* Two members cannot share a URL. */
static int check_duplicates(const struct config *config, const char *text, struct err *err)
{
    for (size_t i = 0; i < config->initial_cluster_len; i++) {
        const struct config_urls *a = &config->initial_cluster[i].urls;

        for (size_t j = i + 1; j < config->initial_cluster_len; j++) {
            const struct config_urls *b = &config->initial_cluster[j].urls;

            for (size_t k = 0; k < a->len * b->len; k++) {
                if (strcmp(a->text[k / b->len], b->text[k % b->len]) == 0)
                    return err_set(err, KV_EINVAL, "initial cluster %s has duplicate url", text);
            }
        }
    }
    return 0;
}

/* The first numeric address of host, as etcd compares names with addresses. */
static bool resolve(const char *host, char out[NI_MAXHOST])
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    bool ok =
        getaddrinfo(host, NULL, &hints, &list) == 0 &&
        getnameinfo(list->ai_addr, list->ai_addrlen, out, NI_MAXHOST, NULL, 0, NI_NUMERICHOST) == 0;

    if (list != NULL)
        freeaddrinfo(list);
    return ok;
}

static bool same_place(const struct net_addr *a, const struct net_addr *b)
{
    char ip_a[NI_MAXHOST], ip_b[NI_MAXHOST];

    if (a->is_unix != b->is_unix || a->tls != b->tls || a->port != b->port)
        return false;
    if (strcmp(a->host, b->host) == 0)
        return true;
    return !a->is_unix && resolve(a->host, ip_a) && resolve(b->host, ip_b) &&
           strcmp(ip_a, ip_b) == 0;
}

static bool contains(const struct config_urls *urls, const char *text, const struct net_addr *addr)
{
    for (size_t i = 0; i < urls->len; i++) {
        if (strcmp(urls->text[i], text) == 0)
            return true;
    }
    for (size_t i = 0; i < urls->len; i++) {
        if (same_place(&urls->addr[i], addr))
            return true;
    }
    return false;
}

/* The first URL of a that b lacks, or NULL. */
static const char *first_missing(const struct config_urls *a, const struct config_urls *b)
{
    for (size_t i = 0; i < a->len; i++) {
        if (!contains(b, a->text[i], &a->addr[i]))
            return a->text[i];
    }
    return NULL;
}

/* Others find this member by its entry in --initial-cluster, so it must be what it advertises. */
static int check_own_entry(const struct config *config, const struct config_peer *own,
                           struct err *err)
{
    const char *missing = first_missing(&own->urls, &config->advertise_peer);
    struct buf list;
    int rc = 0;

    buf_init(&list, 1 << 20);
    if (missing != NULL) {
        join(&config->advertise_peer, "", &list);
        rc = err_set(err, KV_EINVAL,
                     "--initial-cluster has %s=%s but missing from "
                     "--initial-advertise-peer-urls=%.*s",
                     own->name, missing, (int)list.len, (char *)list.data);
        goto out;
    }
    missing = first_missing(&config->advertise_peer, &own->urls);
    if (missing != NULL) {
        char *before = xasprintf("%s=", own->name);

        join(&own->urls, before, &list);
        free(before);
        rc = err_set(err, KV_EINVAL,
                     "--initial-advertise-peer-urls has %s but missing from "
                     "--initial-cluster=%.*s",
                     missing, (int)list.len, (char *)list.data);
    }
out:
    buf_release(&list);
    return rc;
}

static bool has_data(const struct config *config)
{
    char *path = xasprintf("%s/identity", config->data_dir);
    bool has = access(path, F_OK) == 0;

    free(path);
    return has;
}

static char *default_cluster(const struct config *config)
{
    char *before = xasprintf("%s=", config->name);
    struct buf text;

    buf_init(&text, 1 << 20);
    join(&config->advertise_peer, before, &text);
    (void)buf_append_u8(&text, '\0'); /* far below the bound */
    free(before);
    return (char *)text.data;
}

static int finish_cluster(struct draft *draft, struct err *err)
{
    struct config *config = &draft->config;
    char *text =
        draft->initial_cluster != NULL ? xstrdup(draft->initial_cluster) : default_cluster(config);
    char *copy = xstrdup(text);
    int rc = parse_cluster(config, copy, err);

    if (rc == 0)
        rc = check_duplicates(config, text, err);
    if (rc == 0) {
        size_t known = config->initial_cluster_len;
        const struct config_peer *own = peer_named(config, config->name);

        if (has_data(config))
            rc = 0; /* what the cluster is stands there, whatever was changed since, as in etcd */
        else if (config->initial_cluster_len != known)
            rc = err_set(err, KV_EINVAL,
                         "couldn't find local name \"%s\" in the initial cluster configuration",
                         config->name);
        else
            rc = check_own_entry(config, own, err);
    }
    free(copy);
    free(text);
    return rc;
}

/* ---- rules ---- */

static int check_timing(const struct config *config, struct err *err)
{
    if (config->heartbeat_ms == 0)
        return err_set(err, KV_EINVAL, "--heartbeat-interval must be >0 (set to 0ms)");
    if (config->election_ms == 0)
        return err_set(err, KV_EINVAL, "--election-timeout must be >0 (set to 0ms)");
    if ((uint64_t)config->heartbeat_ms * 5 > config->election_ms)
        return err_set(err, KV_EINVAL,
                       "--election-timeout[%ums] should be at least as 5 times as "
                       "--heartbeat-interval[%ums]",
                       config->election_ms, config->heartbeat_ms);
    if (config->election_ms > ELECTION_MS_MAX)
        return err_set(err, KV_EINVAL,
                       "--election-timeout[%ums] is too long, and should be set less than %dms",
                       config->election_ms, ELECTION_MS_MAX);
    return 0;
}

static int check_limits(const struct draft *draft, struct err *err)
{
    uint64_t bytes = draft->config.max_request_bytes;

    if (bytes == 0 || bytes > REQUEST_BYTES_MAX)
        return err_set(err, KV_EINVAL, "--max-request-bytes=%llu must be between 1 and %d",
                       (unsigned long long)bytes, REQUEST_BYTES_MAX);
    if (bytes > REQUEST_BYTES_RECOMMENDED)
        config__warn(draft, "--max-request-bytes=%llu exceeds the maximum recommended size of %d",
                     (unsigned long long)bytes, REQUEST_BYTES_RECOMMENDED);
    if (draft->config.checkpoint_log_bytes < CHECKPOINT_BYTES_MIN ||
        draft->config.checkpoint_log_bytes > INT64_MAX)
        return err_set(err, KV_EINVAL, "--checkpoint-log-bytes=%llu must be at least %d",
                       (unsigned long long)draft->config.checkpoint_log_bytes,
                       CHECKPOINT_BYTES_MIN);
    if (draft->config.max_txn_ops == 0)
        return err_set(err, KV_EINVAL, "--max-txn-ops must be >0");
    if (draft->config.max_concurrent_streams == 0)
        return err_set(err, KV_EINVAL, "--max-concurrent-streams must be >0");
    if (draft->config.quota_backend_bytes > (int64_t)8 << 30)
        config__warn(draft,
                     "--quota-backend-bytes=%lld exceeds 8 GiB: kvd keeps all keys in memory",
                     (long long)draft->config.quota_backend_bytes);
    if (draft->config.unsafe_no_fsync)
        config__warn(draft, "--unsafe-no-fsync: a power cut or kernel crash will lose writes that "
                            "clients were told are safe");
    return 0;
}

/* As etcd: an address serves gRPC or HTTP if they are told apart. */
static int check_apart(const struct config *config, struct err *err)
{
    const struct config_urls *http = &config->listen_client_http;
    const struct config_urls *grpc = &config->listen_client;

    for (size_t i = 0; i < http->len; i++) {
        for (size_t k = 0; k < grpc->len; k++) {
            if (strcmp(http->addr[i].host, grpc->addr[k].host) == 0 &&
                http->addr[i].port == grpc->addr[k].port)
                return err_set(err, KV_EINVAL,
                               "cannot bind both --listen-client-urls and "
                               "--listen-client-http-urls on the same url %s",
                               http->text[i]);
        }
    }
    return 0;
}

/* A listener that wants TLS has to have a certificate; one that does not leaves it unused. */
static int check_certs(const struct draft *draft, const struct config_urls *urls,
                       const struct config_tls *tls, const char *before, struct err *err)
{
    bool has = config_is_given(tls->cert_file) && config_is_given(tls->key_file);

    for (size_t i = 0; i < urls->len; i++) {
        if (urls->addr[i].tls && !has && !tls->auto_tls)
            return err_set(err, KV_EINVAL,
                           "cannot listen on TLS for %s: --%scert-file and --%skey-file are not "
                           "presented",
                           urls->text[i], before, before);
        if (!urls->addr[i].tls && (has || tls->auto_tls))
            config__warn(draft,
                         "the scheme of %s is not https while --%scert-file and --%skey-file are "
                         "presented: they are not used for it",
                         urls->text[i], before, before);
        if (!urls->addr[i].tls && tls->client_cert_auth)
            config__warn(draft,
                         "the scheme of %s is not https while --%sclient-cert-auth is on: clients "
                         "there are not asked for certificates",
                         urls->text[i], before);
    }
    if (config_is_given(tls->allowed_cn) && config_is_given(tls->allowed_hostname))
        return err_set(err, KV_EINVAL,
                       "--%scert-allowed-cn and --%scert-allowed-hostname are mutually exclusive "
                       "(cn=%s, hostname=%s)",
                       before, before, tls->allowed_cn, tls->allowed_hostname);
    return 0;
}

static void default_folder(struct draft *draft)
{
    struct config *config = &draft->config;

    if (config->data_dir != NULL)
        return;
    config->data_dir = xasprintf("%s.etcd", config->name);
    config__warn(draft, "'data-dir' was empty; using default: %s", config->data_dir);
}

/* Colours and columns for people, JSON for programs; only if nobody chose. */
static void default_format(struct draft *draft)
{
    struct config *config = &draft->config;

    if (config__given(draft, "log-format"))
        return;
    config->log_console = config->log_outputs_len == 1 &&
                          ((strcmp(config->log_outputs[0], "stderr") == 0 && isatty(2)) ||
                           (strcmp(config->log_outputs[0], "stdout") == 0 && isatty(1)));
}

/* As etcd: it says so and goes on. */
static void check_auth(struct draft *draft)
{
    struct config *config = &draft->config;

    if (config->bcrypt_cost < BCRYPT_COST_MIN || config->bcrypt_cost > BCRYPT_COST_MAX) {
        config__warn(draft, "--bcrypt-cost=%u is not between %d and %d; using %d",
                     (unsigned)config->bcrypt_cost, BCRYPT_COST_MIN, BCRYPT_COST_MAX,
                     BCRYPT_COST_DEFAULT);
        config->bcrypt_cost = BCRYPT_COST_DEFAULT;
    }
    if (config->auth_token_ttl_s == 0)
        config->auth_token_ttl_s = AUTH_TOKEN_TTL_DEFAULT_S;
}

int config__finish(struct draft *draft, struct err *err)
{
    struct config *config = &draft->config;
    int rc = 0;

    if (config->name[0] == '\0')
        return err_set(err, KV_EINVAL, "--name must not be empty");
    if (strpbrk(config->name, "=,") != NULL)
        return err_set(err, KV_EINVAL, "--name=%s must not contain '=' or ','", config->name);

    rc = check_bind(&config->listen_peer, err);
    if (rc == 0)
        rc = check_bind(&config->listen_client, err);
    if (rc == 0)
        rc = check_bind(&config->listen_client_http, err);
    if (rc == 0)
        rc = check_apart(config, err);
    if (rc == 0)
        rc = check_bind(&config->listen_metrics, err);
    if (rc == 0)
        rc = check_host(&config->advertise_peer, "initial-advertise-peer-urls", err);
    if (rc == 0)
        rc = check_host(&config->advertise_client, "advertise-client-urls", err);
    if (rc == 0)
        rc = check_timing(config, err);
    if (rc == 0 && config__given(draft, "listen-client-urls") &&
        !config__given(draft, "advertise-client-urls"))
        rc = err_set(err, KV_EINVAL,
                     "--advertise-client-urls is required when --listen-client-urls is set "
                     "explicitly");
    if (rc == 0)
        rc = check_limits(draft, err);
    if (rc == 0)
        rc = check_certs(draft, &config->listen_client, &config->client_tls, "", err);
    if (rc == 0)
        rc = check_certs(draft, &config->listen_client_http, &config->client_tls, "", err);
    if (rc == 0)
        rc = check_certs(draft, &config->listen_peer, &config->peer_tls, "peer-", err);
    if (rc == 0)
        rc = config__check_compaction(draft, err);
    if (rc != 0)
        return rc;
    check_auth(draft);
    default_folder(draft);
    rc = finish_cluster(draft, err);
    if (rc != 0)
        return rc;
    default_format(draft);
    return 0;
}
