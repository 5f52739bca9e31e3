/* What connections share: an SSL_CTX made from files, and made again when they change. */
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <uv.h>

#include "base/mem.h"
#include "net/tls_internal.h"

enum { LOOK_AGAIN_NS = 1000000000, REASON_SIZE = 256, NAME_SIZE = 256 };

/* What tells that a file is another one. */
struct stamp {
    struct timespec changed;
    ino_t inode;
    off_t size;
};

enum { FILE_CERT, FILE_KEY, FILE_CA, FILE_CRL, FILE_COUNT };

struct net_tls {
    unsigned refs;
    struct net_tls_options options; /* strings are owned */
    SSL_CTX *ctx;
    struct stamp stamps[FILE_COUNT]; /* of what ctx was made from */
    uint64_t looked_ns;
    int version_min, version_max;
    char *ciphers; /* in OpenSSL's names; NULL: its default */
    struct buf scratch;
};

const char *tls__error(char *out, size_t size)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

    (void)snprintf(out, size, "%s", reason != NULL ? reason : "unknown error");
    ERR_clear_error();
    return out;
}

/* ---- files ---- */

static const char *file_of(const struct net_tls *tls, int file)
{
    const struct net_tls_options *options = &tls->options;
    const char *const files[FILE_COUNT] = {options->cert_file, options->key_file, options->ca_file,
                                           options->crl_file};

    return files[file];
}

/* A file that is not there has the stamp zero. */
static void take_stamps(const struct net_tls *tls, struct stamp *out)
{
    memset(out, 0, FILE_COUNT * sizeof *out);
    for (int i = 0; i < FILE_COUNT; i++) {
        struct stat info;

        if (file_of(tls, i) != NULL && stat(file_of(tls, i), &info) == 0) {
            out[i].changed = info.st_mtim;
            out[i].inode = info.st_ino;
            out[i].size = info.st_size;
        }
    }
}

/* OpenSSL says "system lib" for a file that cannot be opened; people want to know more. */
static int check_readable(const char *path, const char *what, struct err *err)
{
    FILE *file = fopen(path, "re");

    if (file == NULL && errno == ENOENT)
        return err_set(err, KV_ENOTFOUND, "TLS: %s %s: no such file", what, path);
    if (file == NULL)
        return err_set_errno(err, errno, "TLS: %s %s", what, path);
    (void)fclose(file); /* was only read */
    return 0;
}

static int refuse_file(struct err *err, const char *what, const char *path)
{
    char reason[REASON_SIZE];

    return err_set(err, KV_EINVAL, "TLS: %s %s: %s", what, path, tls__error(reason, sizeof reason));
}

static int load_cert(SSL_CTX *ctx, const struct net_tls_options *options, struct err *err)
{
    int rc;

    if (options->cert_file == NULL)
        return 0;
    rc = check_readable(options->cert_file, "certificate", err);
    if (rc == 0)
        rc = check_readable(options->key_file, "key", err);
    if (rc != 0)
        return rc;
    if (SSL_CTX_use_certificate_chain_file(ctx, options->cert_file) != 1)
        return refuse_file(err, "certificate", options->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, options->key_file, SSL_FILETYPE_PEM) != 1)
        return refuse_file(err, "key", options->key_file);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return err_set(err, KV_EINVAL, "TLS: key %s does not belong to certificate %s",
                       options->key_file, options->cert_file);
    return 0;
}

/* Who may have signed the other side's certificate, and the names of the CAs that a client is told
 * to choose its certificate by. */
static int load_ca(SSL_CTX *ctx, const struct net_tls_options *options, struct err *err)
{
    STACK_OF(X509_NAME) * names;
    int rc;

    if (options->ca_file == NULL) {
        /* None on the system: then nobody is trusted, and the handshake says so. */
        (void)SSL_CTX_set_default_verify_paths(ctx);
        ERR_clear_error();
        return 0;
    }
    rc = check_readable(options->ca_file, "CA certificates", err);
    if (rc != 0)
        return rc;
    if (SSL_CTX_load_verify_file(ctx, options->ca_file) != 1)
        return refuse_file(err, "CA certificates", options->ca_file);
    names = SSL_load_client_CA_file(options->ca_file);
    if (names == NULL)
        return refuse_file(err, "CA certificates", options->ca_file);
    SSL_CTX_set_client_CA_list(ctx, names);
    return 0;
}

/* Only the leaf is looked for, as in etcd: lists of the CAs above it are rarely at hand. */
static int load_crl(SSL_CTX *ctx, const struct net_tls_options *options, struct err *err)
{
    X509_LOOKUP *lookup;
    int rc;

    if (options->crl_file == NULL)
        return 0;
    rc = check_readable(options->crl_file, "revocation list", err);
    if (rc != 0)
        return rc;
    lookup = X509_STORE_add_lookup(SSL_CTX_get_cert_store(ctx), X509_LOOKUP_file());
    if (lookup == NULL || X509_load_crl_file(lookup, options->crl_file, X509_FILETYPE_PEM) < 1)
        return refuse_file(err, "revocation list", options->crl_file);
    (void)X509_STORE_set_flags(SSL_CTX_get_cert_store(ctx),
                               X509_V_FLAG_CRL_CHECK); /* cannot fail */
    return 0;
}

/* ---- ALPN (RFC 7301) ---- */

static const uint8_t alpn_h2[] = "\x02h2";
static const uint8_t alpn_both[] = "\x02h2\x08http/1.1";

/* A client that offers nothing we speak gets an alert; one that offers nothing is told nothing. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, alpn_both, sizeof alpn_both - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static void set_alpn(SSL_CTX *ctx, enum net_tls_alpn alpn)
{
    if (alpn == NET_TLS_H2_AND_HTTP1)
        SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    else if (alpn == NET_TLS_H2)
        (void)SSL_CTX_set_alpn_protos(ctx, alpn_h2, sizeof alpn_h2 - 1); /* out of memory only */
}

/* ---- versions and ciphers ---- */

static int parse_version(const char *text, int standard, int *out, struct err *err)
{
    *out = standard;
    if (text == NULL || text[0] == '\0')
        return 0;
    if (strcmp(text, "TLS1.2") == 0)
        *out = TLS1_2_VERSION;
    else if (strcmp(text, "TLS1.3") == 0)
        *out = TLS1_3_VERSION;
    else
        return err_set(err, KV_EINVAL, "TLS: version \"%s\" is not one of TLS1.2, TLS1.3", text);
    return 0;
}

/* IANA's names to OpenSSL's, joined by colons. Those of TLS 1.3 cannot be chosen, as in Go. */
static int parse_ciphers(const char *text, char **out, struct err *err)
{
    char *copy, *rest = NULL, *list = NULL;
    int rc = 0;

    if (text == NULL || text[0] == '\0')
        return 0;
    copy = xstrdup(text);
    for (char *name = strtok_r(copy, ", ", &rest); name != NULL && rc == 0;
         name = strtok_r(NULL, ", ", &rest)) {
        const char *ours = OPENSSL_cipher_name(name);
        char *longer;

        if (strcmp(ours, "(NONE)") == 0) {
            rc = err_set(err, KV_EINVAL, "TLS: cipher suite \"%s\" is not known", name);
            break;
        }
        longer = xasprintf("%s%s%s", list != NULL ? list : "", list != NULL ? ":" : "", ours);
        free(list);
        list = longer;
    }
    free(copy);
    if (rc != 0)
        free(list);
    else
        *out = list;
    return rc;
}

/* ---- the context ---- */

static int make_ctx(const struct net_tls *tls, SSL_CTX **out, struct err *err)
{
    const struct net_tls_options *options = &tls->options;
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    char reason[REASON_SIZE];
    int rc;

    if (ctx == NULL)
        return err_set(err, KV_EIO, "TLS: %s", tls__error(reason, sizeof reason));
    (void)SSL_CTX_set_min_proto_version(ctx, tls->version_min); /* known versions */
    (void)SSL_CTX_set_max_proto_version(ctx, tls->version_max);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* Idle connections keep no buffers. */
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* No state per client: sessions are resumed by tickets. A context that asks for certificates
     * must be named for that. */
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"kvd", 3);
    set_alpn(ctx, options->alpn);
    rc = load_cert(ctx, options, err);
    if (rc == 0)
        rc = load_ca(ctx, options, err);
    if (rc == 0)
        rc = load_crl(ctx, options, err);
    if (rc == 0 && tls->ciphers != NULL && SSL_CTX_set_cipher_list(ctx, tls->ciphers) != 1)
        rc = err_set(err, KV_EINVAL, "TLS: cipher suites %s: %s", options->cipher_suites,
                     tls__error(reason, sizeof reason));
    if (rc != 0) {
        SSL_CTX_free(ctx);
        return rc;
    }
    *out = ctx;
    return 0;
}

static char *copy(const char *text)
{
    return text != NULL && text[0] != '\0' ? xstrdup(text) : NULL;
}

static int check_options(const struct net_tls_options *options, struct err *err)
{
    if (options->cert_file != NULL && options->key_file == NULL)
        return err_set(err, KV_EINVAL, "TLS: certificate %s is given without a key",
                       options->cert_file);
    if (options->key_file != NULL && options->cert_file == NULL)
        return err_set(err, KV_EINVAL, "TLS: key %s is given without a certificate",
                       options->key_file);
    if (options->allowed_cn != NULL && options->allowed_hostnames != NULL)
        return err_set(err, KV_EINVAL,
                       "TLS: an allowed common name and an allowed host name "
                       "exclude each other");
    return 0;
}

int net_tls_new(const struct net_tls_options *options, struct net_tls **out, struct err *err)
{
    struct net_tls *tls = xcalloc(1, sizeof *tls);
    int rc;

    tls->refs = 1;
    buf_init(&tls->scratch, SIZE_MAX / 2); /* emptied by each call that fills it */
    tls->options = *options;
    tls->options.cert_file = copy(options->cert_file);
    tls->options.key_file = copy(options->key_file);
    tls->options.ca_file = copy(options->ca_file);
    tls->options.crl_file = copy(options->crl_file);
    tls->options.server_name = copy(options->server_name);
    tls->options.allowed_cn = copy(options->allowed_cn);
    tls->options.allowed_hostnames = copy(options->allowed_hostnames);
    tls->options.version_min = tls->options.version_max = NULL; /* parsed below */
    tls->options.cipher_suites = copy(options->cipher_suites);
    rc = check_options(&tls->options, err);
    if (rc == 0)
        rc = parse_version(options->version_min, TLS1_2_VERSION, &tls->version_min, err);
    if (rc == 0)
        rc = parse_version(options->version_max, 0, &tls->version_max, err);
    if (rc == 0 && tls->version_max != 0 && tls->version_max < tls->version_min)
        rc = err_set(err, KV_EINVAL, "TLS: the lowest version is above the highest");
    if (rc == 0)
        rc = parse_ciphers(tls->options.cipher_suites, &tls->ciphers, err);
    if (rc == 0) {
        take_stamps(tls, tls->stamps);
        rc = make_ctx(tls, &tls->ctx, err);
    }
    if (rc != 0) {
        net_tls_unref(tls);
        return rc;
    }
    tls->looked_ns = uv_hrtime();
    *out = tls;
    return 0;
}

struct net_tls *net_tls_ref(struct net_tls *tls)
{
    if (tls != NULL)
        tls->refs++;
    return tls;
}

static void free_text(const char *text)
{
    free((char *)(uintptr_t)text);
}

void net_tls_unref(struct net_tls *tls)
{
    if (tls == NULL || --tls->refs > 0)
        return;
    SSL_CTX_free(tls->ctx);
    for (int i = 0; i < FILE_COUNT; i++)
        free_text(file_of(tls, i));
    free_text(tls->options.server_name);
    free_text(tls->options.allowed_cn);
    free_text(tls->options.allowed_hostnames);
    free_text(tls->options.cipher_suites);
    free(tls->ciphers);
    buf_release(&tls->scratch);
    free(tls);
}

/* Files are replaced one after the other: a key that does not fit its certificate yet is looked at
 * again with the next change, and not told more than once. */
static void reload(struct net_tls *tls, const struct stamp *stamps)
{
    struct err err = ERR_INIT;
    SSL_CTX *ctx;
    int rc = make_ctx(tls, &ctx, &err);

    memcpy(tls->stamps, stamps, sizeof tls->stamps);
    if (rc == 0) {
        SSL_CTX_free(tls->ctx);
        tls->ctx = ctx;
    }
    if (tls->options.on_reload != NULL)
        tls->options.on_reload(tls->options.ctx, rc == 0 ? NULL : &err);
}

SSL_CTX *tls__ctx(struct net_tls *tls)
{
    uint64_t now = uv_hrtime();
    struct stamp stamps[FILE_COUNT];

    if (now - tls->looked_ns >= LOOK_AGAIN_NS) {
        tls->looked_ns = now;
        take_stamps(tls, stamps);
        if (memcmp(stamps, tls->stamps, sizeof stamps) != 0)
            reload(tls, stamps);
    }
    return tls->ctx;
}

/* ---- names ---- */

bool tls__common_name(X509 *cert, char *out, size_t size)
{
    int len =
        X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, out, (int)size);

    /* A name with a zero inside would be read as another one. */
    return len > 0 && (size_t)len == strlen(out) && (size_t)len + 1 < size;
}

struct slice tls__subject(X509 *cert, int nid, size_t n, struct arena *arena)
{
    X509_NAME *name = X509_get_subject_name(cert);
    struct slice text = {NULL, 0};
    unsigned char *utf8 = NULL;
    int at = -1, len;

    do {
        at = X509_NAME_get_index_by_NID(name, nid, at);
    } while (at >= 0 && n-- > 0);
    if (at < 0)
        return text;
    len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (len > 0 && memchr(utf8, 0, (size_t)len) == NULL)
        text = arena_copy(arena, slice_of(utf8, (size_t)len));
    OPENSSL_free(utf8);
    return text;
}

bool tls__cert_is_for(X509 *cert, const char *host)
{
    return X509_check_host(cert, host, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1 ||
           X509_check_ip_asc(cert, host, 0) == 1;
}

const char *tls__check_names(const struct net_tls *tls, X509 *cert)
{
    const char *hosts = tls->options.allowed_hostnames;
    char name[NAME_SIZE], *copy, *rest = NULL;
    bool found = false;

    if (tls->options.allowed_cn != NULL)
        return cert != NULL && tls__common_name(cert, name, sizeof name) &&
                       strcmp(name, tls->options.allowed_cn) == 0
                   ? NULL
                   : "the common name of the other side's certificate is not the allowed one";
    if (hosts == NULL)
        return NULL;
    copy = xstrdup(hosts);
    for (char *host = strtok_r(copy, ", ", &rest); cert != NULL && host != NULL && !found;
         host = strtok_r(NULL, ", ", &rest))
        found = tls__cert_is_for(cert, host);
    free(copy);
    return found ? NULL : "the other side's certificate has none of the allowed host names";
}

struct buf *tls__scratch(struct net_tls *tls)
{
    return &tls->scratch;
}

bool tls__skips_verify(const struct net_tls *tls)
{
    return (tls->options.flags & NET_TLS_SKIP_VERIFY) != 0;
}

bool tls__requires_cert(const struct net_tls *tls)
{
    return (tls->options.flags & NET_TLS_REQUIRE_CERT) != 0;
}

bool tls__asks_cert(const struct net_tls *tls)
{
    return (tls->options.flags & NET_TLS_ASK_CERT) != 0;
}

const char *tls__server_name(const struct net_tls *tls)
{
    return tls->options.server_name;
}
