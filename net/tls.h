/* TLS for sockets: which certificate is shown, who is trusted, what is asked of the other side.
 * OpenSSL does the work and stays inside net/.
 *
 * A net_tls serves any number of sockets and listeners. Certificate, key, CA and CRL are read again
 * when one of the files has changed, without a restart: looked at when a handshake begins, at most
 * once a second. New files that are no good are refused as a whole, and the old ones go on.
 *
 * Loop thread only. At least TLS 1.2, no compression, no renegotiation. */
#ifndef KVD_NET_TLS_H
#define KVD_NET_TLS_H

#include <stdbool.h>

#include "base/err.h"

struct net_tls;

enum net_tls_alpn {
    NET_TLS_NO_ALPN,
    NET_TLS_H2,          /* a gRPC client */
    NET_TLS_H2_AND_HTTP1 /* a server that takes both; prefers HTTP/2 */
};

enum net_tls_flags {
    /* Listening: a client without a certificate of the CA is turned away. */
    NET_TLS_REQUIRE_CERT = 1 << 0,
    /* Connecting: any certificate will do. For tests, and between members with --peer-auto-tls. */
    NET_TLS_SKIP_VERIFY = 1 << 1,
    /* Listening: a client is asked for a certificate and may have none; one that it shows must be
     * the CA's. */
    NET_TLS_ASK_CERT = 1 << 2,
};

/* Everything is copied. NULL or 0: the default. */
struct net_tls_options {
    /* Shown to the other side: a PEM chain and its key, both or neither. Listening needs them. */
    const char *cert_file, *key_file;
    /* PEM certificates that may sign the other side's; NULL: those of the system. */
    const char *ca_file;
    /* PEM revocation lists; a certificate on them is refused on both sides. */
    const char *crl_file;
    /* Connecting: the name that the server's certificate must have; NULL: the host dialled. */
    const char *server_name;
    /* The other side's certificate must have this common name / one of these names
     * (comma-separated). */
    const char *allowed_cn, *allowed_hostnames;
    /* "TLS1.2", "TLS1.3"; default: 1.2 at least. */
    const char *version_min, *version_max;
    /* Comma-separated IANA names ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), of TLS 1.2. */
    const char *cipher_suites;
    enum net_tls_alpn alpn;
    int flags; /* enum net_tls_flags */
    /* Files were read again; err is NULL, or says why the old ones go on. May be NULL. */
    void (*on_reload)(void *ctx, const struct err *err);
    void *ctx;
};

/* KV_EINVAL, KV_ENOTFOUND, KV_EACCES or KV_EIO: err names the file or option and what is wrong. */
int net_tls_new(const struct net_tls_options *options, struct net_tls **out, struct err *err);
/* Counted: sockets hold their own reference. Both accept NULL. */
struct net_tls *net_tls_ref(struct net_tls *tls);
void net_tls_unref(struct net_tls *tls);

#endif
