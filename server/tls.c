#include "server/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/cert.h"

enum { DAYS_PER_YEAR = 365 };

static void on_reload(void *ctx, const struct err *err)
{
    struct log *log = ctx;

    if (err == NULL)
        log_info(log, "TLS files were read again");
    else
        log_warn(log, "changed TLS files are no good; the ones read before stay in use",
                 LOG_STR("error", err->text));
}

/* Where a certificate and its key are; of the configuration, or made by us. */
struct cert_files {
    char *cert, *key;
};

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static int make_dir(const char *path, struct err *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    return err_set_errno(err, errno, "making %s", path);
}

/* Good for the hosts that the listeners have, as etcd makes them. */
static int make_cert(const struct config *config, const struct config_urls *urls,
                     const struct cert_files *files, struct log *log, struct err *err)
{
    const char **hosts = xcalloc(urls->len + 1, sizeof *hosts);
    struct cert_options options = {.common_name = "kvd",
                                   .organization = "kvd",
                                   .hosts = hosts,
                                   .days = DAYS_PER_YEAR * config->self_signed_years};
    struct cert *cert = NULL;
    int rc;

    for (size_t i = 0; i < urls->len; i++)
        if (!urls->addr[i].is_unix)
            hosts[options.host_count++] = urls->addr[i].host;
    rc = cert_new(&options, &cert, err);
    if (rc == 0)
        rc = cert_write(cert, files->cert, files->key, err);
    if (rc == 0)
        log_info(log, "made a self-signed certificate", LOG_STR("file", files->cert),
                 LOG_UINT("days", options.days));
    cert_free(cert);
    free(hosts);
    return rc;
}

/* In data-dir/fixtures/KIND, as etcd; what is there already is used again. */
static int auto_cert(const struct config *config, const char *kind, const struct config_urls *urls,
                     struct log *log, struct cert_files *out, struct err *err)
{
    char *fixtures = xasprintf("%s/fixtures", config->data_dir);
    char *dir = xasprintf("%s/%s", fixtures, kind);
    int rc = make_dir(fixtures, err);

    if (rc == 0)
        rc = make_dir(dir, err);
    out->cert = xasprintf("%s/cert.pem", dir);
    out->key = xasprintf("%s/key.pem", dir);
    if (rc == 0 && !(exists(out->cert) && exists(out->key)))
        rc = make_cert(config, urls, out, log, err);
    free(fixtures);
    free(dir);
    return rc;
}

static bool makes_cert(const struct config_tls *tls)
{
    return tls->auto_tls && !config_is_given(tls->cert_file) && !config_is_given(tls->key_file);
}

/* What both sides have in common; "" is as good as NULL to net_tls_new(). */
static struct net_tls_options common(const struct config *config, const struct config_tls *tls,
                                     struct log *log)
{
    return (struct net_tls_options){.ca_file = tls->ca_file,
                                    .crl_file = tls->crl_file,
                                    .allowed_cn = tls->allowed_cn,
                                    .allowed_hostnames = tls->allowed_hostname,
                                    .version_min = config->tls_version_min,
                                    .version_max = config->tls_version_max,
                                    .cipher_suites = config->cipher_suites,
                                    .on_reload = on_reload,
                                    .ctx = log};
}

/* As etcd: a CA to check clients by is reason enough to ask for their certificates. */
static bool asks_for_certs(const struct config_tls *tls)
{
    return tls->client_cert_auth || config_is_given(tls->ca_file);
}

static int open_accept(const struct config *config, const struct config_tls *tls,
                       const struct cert_files *files, enum net_tls_alpn alpn, struct log *log,
                       struct net_tls **out, struct err *err)
{
    struct net_tls_options options = common(config, tls, log);

    options.cert_file = files->cert;
    options.key_file = files->key;
    options.alpn = alpn;
    options.flags = asks_for_certs(tls) ? NET_TLS_REQUIRE_CERT : 0;
    return net_tls_new(&options, out, err);
}

static int open_connect(const struct config *config, const struct cert_files *files,
                        struct log *log, struct net_tls **out, struct err *err)
{
    const struct config_tls *tls = &config->peer_tls;
    struct net_tls_options options = common(config, tls, log);
    bool own = config_is_given(tls->client_cert_file);

    options.cert_file = own ? tls->client_cert_file : files->cert;
    options.key_file = own ? tls->client_key_file : files->key;
    options.flags = makes_cert(tls) ? NET_TLS_SKIP_VERIFY : 0;
    return net_tls_new(&options, out, err);
}

static int find_files(const struct config *config, const struct config_tls *tls, const char *kind,
                      const struct config_urls *urls, struct log *log, struct cert_files *out,
                      struct err *err)
{
    *out = (struct cert_files){.cert = NULL};
    if (makes_cert(tls))
        return auto_cert(config, kind, urls, log, out, err);
    if (config_is_given(tls->cert_file))
        out->cert = xstrdup(tls->cert_file);
    if (config_is_given(tls->key_file))
        out->key = xstrdup(tls->key_file);
    return 0;
}

static void release_files(struct cert_files *files)
{
    free(files->cert);
    free(files->key);
}

/* Where clients connect, gRPC and HTTP alike; the caller frees addr only. */
static struct config_urls client_urls(const struct config *config)
{
    const struct config_urls *grpc = &config->listen_client;
    const struct config_urls *http = &config->listen_client_http;
    struct config_urls all = {.len = grpc->len + http->len};

    all.addr = xcalloc(all.len + 1, sizeof *all.addr);
    if (grpc->len != 0)
        memcpy(all.addr, grpc->addr, grpc->len * sizeof *all.addr);
    if (http->len != 0)
        memcpy(all.addr + grpc->len, http->addr, http->len * sizeof *all.addr);
    return all;
}

int tls_set_open(const struct config *config, struct log *log, struct tls_set *out, struct err *err)
{
    struct tls_set set = {.client = NULL};
    struct cert_files client, peer = {.cert = NULL};
    struct config_urls clients = client_urls(config);
    int rc;

    rc = find_files(config, &config->client_tls, "client", &clients, log, &client, err);
    free(clients.addr);
    if (rc == 0)
        rc = find_files(config, &config->peer_tls, "peer", &config->listen_peer, log, &peer, err);
    if (rc == 0 && (client.cert != NULL || client.key != NULL))
        rc = open_accept(config, &config->client_tls, &client, NET_TLS_H2_AND_HTTP1, log,
                         &set.client, err);
    if (rc == 0 && (peer.cert != NULL || peer.key != NULL))
        rc = open_accept(config, &config->peer_tls, &peer, NET_TLS_NO_ALPN, log, &set.peer_accept,
                         err);
    if (rc == 0 && (peer.cert != NULL || config_is_given(config->peer_tls.ca_file)))
        rc = open_connect(config, &peer, log, &set.peer_connect, err);
    release_files(&client);
    release_files(&peer);
    if (rc == 0)
        *out = set;
    else
        tls_set_release(&set);
    return rc;
}

void tls_set_release(struct tls_set *set)
{
    net_tls_unref(set->client);
    net_tls_unref(set->peer_accept);
    net_tls_unref(set->peer_connect);
    *set = (struct tls_set){.client = NULL};
}
