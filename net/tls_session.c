/* One connection. OpenSSL reads from the bytes that were just received and writes into the buffer
 * that is just being filled, through a BIO of our own: nothing is copied twice, and an idle
 * connection keeps no buffers of its own. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/util.h"
#include "net/tls_internal.h"

enum { REASON_SIZE = 256 };

struct tls_session {
    SSL *ssl;
    struct net_tls *tls;
    enum tls_role role;
    struct slice in; /* not yet read */
    struct buf *out; /* during a call */
};

/* ---- the BIO ---- */

static int bio_read(BIO *bio, char *data, int size)
{
    struct tls_session *session = BIO_get_data(bio);
    size_t len = MIN((size_t)size, session->in.len);

    BIO_clear_retry_flags(bio);
    if (len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(data, session->in.data, len);
    session->in = slice_of(session->in.data + len, session->in.len - len);
    return (int)len;
}

static int bio_write(BIO *bio, const char *data, int size)
{
    struct tls_session *session = BIO_get_data(bio);

    return buf_append(session->out, data, (size_t)size) == 0 ? size : -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *data)
{
    (void)bio;
    (void)number;
    (void)data;
    return command == BIO_CTRL_FLUSH; /* the only one that must succeed */
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kvd socket");
    ASSERT(bio_method != NULL); /* out of memory */
    ASSERT(BIO_meth_set_read(bio_method, bio_read) == 1);
    ASSERT(BIO_meth_set_write(bio_method, bio_write) == 1);
    ASSERT(BIO_meth_set_ctrl(bio_method, bio_ctrl) == 1);
}

/* ---- life ---- */

/* Whose certificate we want to see (RFC 6125); an address is looked for among the addresses. */
static void expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1)
        return;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    ASSERT(X509_VERIFY_PARAM_set1_host(param, host, 0) == 1); /* out of memory */
    (void)SSL_set_tlsext_host_name(ssl, host); /* SNI: without it a server shows its first */
    ERR_clear_error();
}

static void set_role(struct tls_session *session, const char *host)
{
    const char *name = tls__server_name(session->tls);

    if (session->role == TLS_ACCEPTS) {
        SSL_set_accept_state(session->ssl);
        if (tls__requires_cert(session->tls))
            SSL_set_verify(session->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        else if (tls__asks_cert(session->tls))
            SSL_set_verify(session->ssl, SSL_VERIFY_PEER, NULL);
        return;
    }
    SSL_set_connect_state(session->ssl);
    if (tls__skips_verify(session->tls))
        return;
    SSL_set_verify(session->ssl, SSL_VERIFY_PEER, NULL);
    if (name != NULL || host != NULL)
        expect_host(session->ssl, name != NULL ? name : host);
}

struct tls_session *tls_session__new(struct net_tls *tls, enum tls_role role, const char *host)
{
    struct tls_session *session = xcalloc(1, sizeof *session);
    BIO *bio;

    ASSERT(pthread_once(&bio_once, make_bio_method) == 0);
    session->tls = net_tls_ref(tls);
    session->role = role;
    session->ssl = SSL_new(tls__ctx(tls));
    ASSERT(session->ssl != NULL); /* out of memory */
    bio = BIO_new(bio_method);
    ASSERT(bio != NULL); /* out of memory */
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    SSL_set_bio(session->ssl, bio, bio);
    set_role(session, host);
    return session;
}

void tls_session__free(struct tls_session *session)
{
    if (session == NULL)
        return;
    SSL_free(session->ssl);
    net_tls_unref(session->tls);
    free(session);
}

void tls_session__feed(struct tls_session *session, struct slice bytes)
{
    ASSERT(session->in.len == 0);
    session->in = bytes;
}

/* ---- handshake ---- */

static enum tls_result fail(const struct tls_session *session, struct err *err)
{
    long verdict = SSL_get_verify_result(session->ssl);
    char reason[REASON_SIZE];

    tls__error(reason, sizeof reason);
    if (verdict != X509_V_OK)
        err_set(err, KV_ECONN, "TLS: the certificate of the other side is refused: %s",
                X509_verify_cert_error_string(verdict));
    else
        err_set(err, KV_ECONN, "TLS: handshake failed: %s", reason);
    return TLS_FAILED;
}

enum tls_result tls_session__handshake(struct tls_session *session, struct buf *out,
                                       struct err *err)
{
    const char *trouble;
    X509 *cert;
    int rc;

    session->out = out;
    ERR_clear_error();
    rc = SSL_do_handshake(session->ssl);
    if (rc != 1)
        return SSL_get_error(session->ssl, rc) == SSL_ERROR_WANT_READ ? TLS_MORE
                                                                      : fail(session, err);
    cert = tls_session__peer_cert(session);
    trouble = tls__check_names(session->tls, cert);
    X509_free(cert);
    if (trouble == NULL)
        return TLS_DONE;
    err_set(err, KV_ECONN, "TLS: %s", trouble);
    return TLS_FAILED;
}

/* ---- data ---- */

enum tls_result tls_session__read(struct tls_session *session, uint8_t *data, size_t size,
                                  size_t *len, struct buf *out, struct err *err)
{
    char reason[REASON_SIZE];
    int rc;

    session->out = out;
    ERR_clear_error();
    rc = SSL_read_ex(session->ssl, data, size, len);
    if (rc == 1)
        return TLS_DONE;
    switch (SSL_get_error(session->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_END;
    default: /* an alert, as for a certificate that was missed, or bytes that are no TLS */
        err_set(err, KV_ECONN, "TLS: %s", tls__error(reason, sizeof reason));
        return TLS_FAILED;
    }
}

enum tls_result tls_session__write(struct tls_session *session, struct slice bytes, struct buf *out)
{
    size_t written = 0;

    session->out = out;
    ERR_clear_error();
    if (bytes.len == 0)
        return TLS_DONE;
    if (SSL_write_ex(session->ssl, bytes.data, bytes.len, &written) != 1) {
        ERR_clear_error();
        return TLS_FAILED;
    }
    ASSERT(written == bytes.len); /* the BIO takes all, so there are no partial writes */
    return TLS_DONE;
}

void tls_session__shutdown(struct tls_session *session, struct buf *out)
{
    session->out = out;
    (void)SSL_shutdown(session->ssl); /* not waited for the other side's */
    ERR_clear_error();
}

X509 *tls_session__peer_cert(const struct tls_session *session)
{
    return SSL_get1_peer_certificate(session->ssl);
}
