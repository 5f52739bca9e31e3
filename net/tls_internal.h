/* One connection's TLS as a filter between the socket's bytes and the owner's, for sock.c. No I/O
 * of its own: bytes in, bytes out. */
#ifndef KVD_NET_TLS_INTERNAL_H
#define KVD_NET_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"
#include "net/tls.h"

/* ---- tls.c ---- */

/* The context in use now, after a look at the files. */
SSL_CTX *tls__ctx(struct net_tls *tls);
/* What is asked of the certificate of the other side beyond a good signature; NULL: met. */
const char *tls__check_names(const struct net_tls *tls, X509 *cert);
/* For a host name or an address. */
bool tls__cert_is_for(X509 *cert, const char *host);
/* False: there is none, or it does not fit. */
bool tls__common_name(X509 *cert, char *out, size_t size);
/* The nth value of a field of the subject (NID_organizationName, ...) as UTF-8; data NULL: there is
 * none, or it has a zero inside. */
struct slice tls__subject(X509 *cert, int nid, size_t n, struct arena *arena);
/* What is sent next, between two calls empty: one for all sockets, since their calls never nest. */
struct buf *tls__scratch(struct net_tls *tls);
bool tls__skips_verify(const struct net_tls *tls);
bool tls__requires_cert(const struct net_tls *tls);
bool tls__asks_cert(const struct net_tls *tls);
const char *tls__server_name(const struct net_tls *tls);
/* Takes OpenSSL's newest error as text; returns out. */
const char *tls__error(char *out, size_t size);

/* ---- tls_session.c ---- */

struct tls_session;

enum tls_role { TLS_ACCEPTS, TLS_CONNECTS };
enum tls_result {
    TLS_DONE,
    TLS_MORE,   /* more bytes are needed from the other side */
    TLS_END,    /* it has ended in order */
    TLS_FAILED, /* the connection is of no use any more */
};

/* host: what was dialled, for its certificate; NULL when accepting. Holds a reference to tls. */
struct tls_session *tls_session__new(struct net_tls *tls, enum tls_role role, const char *host);
/* Accepts NULL. */
void tls_session__free(struct tls_session *session);

/* Bytes that came in: borrowed until a call has returned something else than TLS_DONE. */
void tls_session__feed(struct tls_session *session, struct slice bytes);

/* These append to out what is to be sent, also when they fail (an alert). */

/* TLS_DONE, TLS_MORE or TLS_FAILED; then err says why. */
enum tls_result tls_session__handshake(struct tls_session *session, struct buf *out,
                                       struct err *err);
/* Decrypts up to size bytes; for TLS_FAILED err says why. */
enum tls_result tls_session__read(struct tls_session *session, uint8_t *data, size_t size,
                                  size_t *len, struct buf *out, struct err *err);
/* Encrypts all of bytes; TLS_DONE or TLS_FAILED. After the handshake. */
enum tls_result tls_session__write(struct tls_session *session, struct slice bytes,
                                   struct buf *out);
/* Says that nothing more will be sent. */
void tls_session__shutdown(struct tls_session *session, struct buf *out);
/* Certificate of the other side, or NULL; a new reference. */
X509 *tls_session__peer_cert(const struct tls_session *session);

#endif
