#include "bench/kubeload/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/util.h"

enum {
    READ_SIZE = 256 << 10,
    /* Answers are never held back. */
    WINDOW = INT32_MAX,
    OUT_MAX = 64 << 20,
    EVENTS = 64
};

struct conn {
    struct loop *loop;
    struct conn *next;
    int fd;
    SSL *ssl;
    nghttp2_session *h2;
    struct buf out;
    size_t out_sent;
    bool waits_to_write;
};

struct loop {
    struct loop_options options;
    SSL_CTX *tls;
    int epoll;
    struct conn *conns;
    uint8_t *space; /* READ_SIZE */
};

uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- setting up ---- */

static const char *tls_error(void)
{
    static char text[256];

    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    return text;
}

static int tls_new(const struct loop_options *o, SSL_CTX **out, struct err *err)
{
    static const unsigned char alpn[] = "\x02h2";
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_alpn_protos(tls, alpn, sizeof(alpn) - 1);
    if (SSL_CTX_load_verify_locations(tls, o->ca, NULL) != 1 ||
        (o->cert != NULL && (SSL_CTX_use_certificate_chain_file(tls, o->cert) != 1 ||
                             SSL_CTX_use_PrivateKey_file(tls, o->key, SSL_FILETYPE_PEM) != 1))) {
        SSL_CTX_free(tls);
        return err_set(err, KV_EINVAL, "certificates: %s", tls_error());
    }
    *out = tls;
    return 0;
}

int loop_new(const struct loop_options *options, struct loop **out, struct err *err)
{
    struct loop *loop = xcalloc(1, sizeof(*loop));

    loop->options = *options;
    loop->space = xmalloc(READ_SIZE);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (options->ca != NULL && tls_new(options, &loop->tls, err) != 0) {
        loop_free(loop);
        return KV_EINVAL;
    }
    *out = loop;
    return 0;
}

static void conn_free(struct conn *conn)
{
    nghttp2_session_del(conn->h2);
    SSL_free(conn->ssl);
    if (conn->fd >= 0)
        (void)close(conn->fd);
    buf_release(&conn->out);
    free(conn);
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    while (loop->conns != NULL) {
        struct conn *conn = loop->conns;

        loop->conns = conn->next;
        conn_free(conn);
    }
    SSL_CTX_free(loop->tls);
    (void)close(loop->epoll);
    free(loop->space);
    free(loop);
}

static int dial(const struct loop_options *o, struct err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int one = 1;
    int fd;

    if (getaddrinfo(o->host, o->port, &hints, &found) != 0)
        return err_set(err, KV_EINVAL, "%s:%s is no address", o->host, o->port);
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        (void)close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    if (fd < 0)
        return err_set(err, KV_ECONN, "%s:%s: %s", o->host, o->port, strerror(errno));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static int shake_hands(struct conn *conn, struct err *err)
{
    if (conn->loop->tls == NULL)
        return 0;
    conn->ssl = SSL_new(conn->loop->tls);
    SSL_set_mode(conn->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_set_fd(conn->ssl, conn->fd);
    (void)SSL_set1_host(conn->ssl, conn->loop->options.host);
    if (SSL_connect(conn->ssl) != 1)
        return err_set(err, KV_ECONN, "TLS handshake: %s", tls_error());
    return 0;
}

/* ---- HTTP/2 ---- */

static struct request *request_of(nghttp2_session *h2, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h2, id);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *ctx)
{
    struct request *request = request_of(h2, frame->hd.stream_id);

    (void)flags;
    (void)ctx;
    if (request != NULL && name_len == 7 && memcmp(name, ":status", 7) == 0 && value_len == 3)
        request->status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
    return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                   void *ctx)
{
    struct request *request = request_of(h2, id);

    (void)flags;
    (void)ctx;
    if (request == NULL)
        return 0;
    request->bytes += len;
    if (request->on_data != NULL)
        request->on_data(request, slice_of(data, len));
    return 0;
}

static int on_close(nghttp2_session *h2, int32_t id, uint32_t error, void *ctx)
{
    struct request *request = request_of(h2, id);

    (void)ctx;
    if (request == NULL)
        return 0;
    if (error != NGHTTP2_NO_ERROR)
        request->status = 0;
    request->done(request);
    return 0;
}

static ssize_t read_body(nghttp2_session *h2, int32_t id, uint8_t *out, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
    struct request *request = source->ptr;
    size_t len = MIN(room, request->body.len - request->body_sent);

    (void)h2;
    (void)id;
    (void)ctx;
    memcpy(out, request->body.data + request->body_sent, len);
    request->body_sent += len;
    if (request->body_sent == request->body.len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)len;
}

static int h2_new(struct conn *conn, struct err *err)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}};
    nghttp2_session_callbacks *callbacks;
    int rc;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return err_set(err, KV_ETOOBIG, "HTTP/2: out of memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    rc = nghttp2_session_client_new(&conn->h2, callbacks, conn);
    nghttp2_session_callbacks_del(callbacks);
    if (rc != 0 ||
        nghttp2_submit_settings(conn->h2, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) != 0 ||
        nghttp2_session_set_local_window_size(conn->h2, NGHTTP2_FLAG_NONE, 0, WINDOW) != 0)
        return err_set(err, KV_EPROTO, "HTTP/2: %s", nghttp2_strerror(rc));
    return 0;
}

int loop_connect(struct loop *loop, struct conn **out, struct err *err)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct conn *conn = xcalloc(1, sizeof(*conn));
    int rc;

    conn->loop = loop;
    buf_init(&conn->out, OUT_MAX);
    conn->fd = dial(&loop->options, err);
    rc = conn->fd < 0 ? conn->fd : shake_hands(conn, err);
    if (rc == 0)
        rc = h2_new(conn, err);
    if (rc != 0) {
        conn_free(conn);
        return rc;
    }
    (void)fcntl(conn->fd, F_SETFL, O_NONBLOCK);
    event.data.ptr = conn;
    (void)epoll_ctl(loop->epoll, EPOLL_CTL_ADD, conn->fd, &event);
    conn->next = loop->conns;
    loop->conns = conn;
    *out = conn;
    return 0;
}

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .namelen = strlen(name),
                        .value = (uint8_t *)(uintptr_t)value,
                        .valuelen = strlen(value)};
}

void conn_send(struct conn *conn, struct request *request)
{
    const struct loop *loop = conn->loop;
    const nghttp2_nv headers[] = {header(":method", request->method),
                                  header(":path", request->path),
                                  header(":scheme", loop->tls != NULL ? "https" : "http"),
                                  header(":authority", loop->options.host),
                                  header("accept", "application/json"),
                                  header("user-agent", "kubeload"),
                                  header("content-type", "application/json")};
    const nghttp2_data_provider body = {.source.ptr = request, .read_callback = read_body};
    bool has_body = request->body.len > 0;

    request->status = 0;
    request->bytes = request->body_sent = 0;
    request->began_ns = now_ns();
    (void)nghttp2_submit_request(conn->h2, NULL, headers, ARRAY_LEN(headers) - !has_body,
                                 has_body ? &body : NULL, request);
}

/* ---- moving bytes ---- */

/* Bytes moved; 0: not now; -1: it is over. */
static ssize_t move(const struct conn *conn, bool out, void *data, size_t len)
{
    ssize_t n;
    int why;

    if (conn->ssl == NULL) {
        n = out ? send(conn->fd, data, len, MSG_NOSIGNAL) : recv(conn->fd, data, len, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        return n == 0 ? -1 : n;
    }
    n = out ? SSL_write(conn->ssl, data, (int)len) : SSL_read(conn->ssl, data, (int)len);
    if (n > 0)
        return n;
    why = SSL_get_error(conn->ssl, (int)n);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static bool receive(struct conn *conn)
{
    for (;;) {
        ssize_t n = move(conn, false, conn->loop->space, READ_SIZE);

        if (n <= 0)
            return n == 0;
        if (nghttp2_session_mem_recv(conn->h2, conn->loop->space, (size_t)n) != n)
            return false;
    }
}

static void want_to_write(struct conn *conn, bool wanted)
{
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = conn};

    if (conn->waits_to_write == wanted)
        return;
    conn->waits_to_write = wanted;
    (void)epoll_ctl(conn->loop->epoll, EPOLL_CTL_MOD, conn->fd, &event);
}

static bool transmit(struct conn *conn)
{
    const uint8_t *data;
    ssize_t len;

    while (conn->out.len < OUT_MAX / 2 && (len = nghttp2_session_mem_send(conn->h2, &data)) > 0)
        (void)buf_append(&conn->out, data, (size_t)len);
    while (conn->out_sent < conn->out.len) {
        ssize_t n = move(conn, true, conn->out.data + conn->out_sent,
                         MIN(conn->out.len - conn->out_sent, READ_SIZE));

        if (n < 0)
            return false;
        if (n == 0)
            break;
        conn->out_sent += (size_t)n;
    }
    want_to_write(conn, conn->out_sent < conn->out.len);
    if (conn->out_sent == conn->out.len) {
        buf_reset(&conn->out);
        conn->out_sent = 0;
    }
    return true;
}

bool loop_turn(struct loop *loop, int timeout_ms, struct err *err)
{
    struct epoll_event events[EVENTS];
    int n;

    for (struct conn *conn = loop->conns; conn != NULL; conn = conn->next) {
        if ((nghttp2_session_want_write(conn->h2) || conn->out.len > 0) && !transmit(conn)) {
            (void)err_set(err, KV_ECONN, "the server has closed a connection");
            return false;
        }
    }
    n = epoll_wait(loop->epoll, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        if (!receive(events[i].data.ptr)) {
            (void)err_set(err, KV_ECONN, "the server has closed a connection");
            return false;
        }
    }
    return true;
}
