/* Makes keys and certificates: for --auto-tls and --peer-auto-tls, and for tests. ECDSA on P-256,
 * signed with SHA-256. Blocks for about a millisecond. Any thread. */
#ifndef KVD_NET_CERT_H
#define KVD_NET_CERT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* A certificate and its key. */
struct cert;

struct cert_options {
    const char *common_name;
    const char *organization; /* NULL: none */
    const char *const *hosts; /* names and addresses it is good for */
    size_t host_count;
    unsigned days;             /* it is good for, from an hour ago on: clocks differ; 0: 365 */
    const struct cert *issuer; /* NULL: self-signed */
    bool is_ca;                /* may sign others; else it is for both ends of a connection */
};

/* KV_EIO: OpenSSL refuses; err says why. */
int cert_new(const struct cert_options *options, struct cert **out, struct err *err);
/* Accepts NULL. */
void cert_free(struct cert *cert);
/* PEM files; the key's mode is 0600. Existing ones are replaced, the key first. */
int cert_write(const struct cert *cert, const char *cert_file, const char *key_file,
               struct err *err);
/* A PEM revocation list of the CA with the given certificates on it. */
int cert_write_crl(const struct cert *ca, const struct cert *const *revoked, size_t count,
                   const char *path, struct err *err);

#endif
