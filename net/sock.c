/* Sockets over uv_poll and plain send/recv, rather than uv_tcp and uv_pipe: MSG_NOSIGNAL spares
 * every program that links libkv a SIGPIPE handler, TCP and Unix sockets need no second code path,
 * and writes that wait are joined into one.
 *
 *    net_sock_connect ──▶ RESOLVING ──▶ CONNECTING ──▶ HANDSHAKING ──▶ OPEN ◀── accepted
 *                             │          │  ▲ next address  │ TLS only  │
 *                             └────┬─────┘  └──┘            │           │ write failed
 *                                  ▼ ◀──────────────────────┘           ▼
 *                               FAILED                               BROKEN
 *
 * and from each of them net_sock_close() leads to CLOSED. Under TLS `pending` holds what is
 * encrypted already; accepted sockets begin with HANDSHAKING then. */
#include "net/sock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/sock_internal.h"
#include "net/tls_internal.h"

enum {
    READ_SIZE = 64 * 1024,
    READS_PER_EVENT = 16, /* one busy connection gets at most 1 MiB before the others */
    PENDING_MAX = 64 * 1024 * 1024,
    PENDING_KEEP = 64 * 1024, /* larger buffers go back once they are empty */
    CIPHER_KEEP = 512 * 1024, /* there is one for all */
};

/* Lent to on_read. Reads never nest, so one per thread is enough, and an idle connection needs
 * none. It carries nothing from one call to the next. */
static _Thread_local uint8_t read_buffer[READ_SIZE];
/* The same under TLS, for what is decrypted: a record holds at most so much. */
static _Thread_local uint8_t plain_buffer[SSL3_RT_MAX_PLAIN_LENGTH];

enum sock_state { RESOLVING, CONNECTING, HANDSHAKING, OPEN, BROKEN, FAILED, CLOSED };

/* What is needed only until the connection stands. */
struct dial {
    struct net_sock *sock; /* NULL: closed while the resolver was at work */
    uv_timer_t failed;     /* tells a failure that was known at once */
    uv_getaddrinfo_t resolve;
    bool resolving;
    struct addrinfo *found; /* of the resolver */
    struct addrinfo *next;  /* not tried yet */
    struct net_addr addr;
    struct err err;
};

struct net_sock {
    uv_loop_t *loop;
    uv_poll_t *poll; /* NULL without descriptor; on the heap, for it outlives each attempt */
    int fd;
    enum sock_state state;
    bool paused;
    bool ended; /* on_end has fired */
    int armed;  /* events that poll watches */
    const struct net_sock_events *events;
    void *ctx;
    struct dial *dial;  /* NULL once open */
    struct buf pending; /* from pending_sent on not yet taken by the kernel */
    size_t pending_sent;
    struct net_tls *tls_config; /* NULL: without TLS */
    struct tls_session *tls;    /* from HANDSHAKING on */
    struct buf early;           /* written before the handshake is through, not encrypted */
    struct err trouble;         /* that TLS had, if not told by on_connect */
    size_t pending_max;
    int closing; /* handles whose close callback is to come */
    void (*close_cb)(void *ctx);
    void *close_ctx;
    char *peer;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static struct net_sock *sock_new(uv_loop_t *loop)
{
    struct net_sock *sock = xcalloc(1, sizeof *sock);

    sock->loop = loop;
    sock->fd = -1;
    sock->pending_max = PENDING_MAX;
    buf_init(&sock->pending, SIZE_MAX / 2); /* bounded by pending_max */
    buf_init(&sock->early, SIZE_MAX / 2);   /* the same */
    return sock;
}

static void sock_free(struct net_sock *sock)
{
    buf_release(&sock->pending);
    buf_release(&sock->early);
    tls_session__free(sock->tls);
    net_tls_unref(sock->tls_config);
    free(sock->peer);
    free(sock);
}

static void on_handle_closed(uv_handle_t *handle)
{
    free(handle);
}

/* Watches fd, which sock owns if 0 is returned. */
static int attach(struct net_sock *sock, int fd)
{
    uv_poll_t *poll = xmalloc(sizeof *poll);
    int rc = uv_poll_init(sock->loop, poll, fd);

    if (rc != 0) {
        free(poll);
        return rc;
    }
    poll->data = sock;
    sock->poll = poll;
    sock->fd = fd;
    sock->armed = 0;
    return 0;
}

/* Lets go of the descriptor. uv_close() stops the watch at once, so fd may be closed behind it. */
static void detach(struct net_sock *sock, uv_close_cb cb)
{
    if (sock->poll == NULL)
        return;
    uv_close((uv_handle_t *)sock->poll, cb);
    (void)close(sock->fd); /* nothing to do about an error */
    sock->poll = NULL;
    sock->fd = -1;
}

static bool is_up(const struct net_sock *sock)
{
    return sock->state == OPEN || sock->state == HANDSHAKING;
}

/* Watches for what the state asks for. */
static void rearm(struct net_sock *sock)
{
    int want = 0;

    if (sock->state == CONNECTING)
        want = UV_WRITABLE;
    else if (is_up(sock) && sock->pending.len > 0)
        want = UV_WRITABLE;
    /* A broken one is watched even if paused: on_end is still owed. */
    if (!sock->ended && sock->events != NULL &&
        (sock->state == BROKEN || sock->state == HANDSHAKING ||
         (sock->state == OPEN && !sock->paused)))
        want |= UV_READABLE;
    if (sock->poll == NULL || want == sock->armed)
        return;
    /* Both only fail for a closed descriptor or handle: a mistake of ours. */
    if (want != 0)
        ASSERT(uv_poll_start(sock->poll, want, on_poll) == 0);
    else
        ASSERT(uv_poll_stop(sock->poll) == 0);
    sock->armed = want;
}

static void set_nodelay(int fd)
{
    int one = 1;

    /* Refused by Unix sockets, which have no such delay. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* ---- connecting ---- */

static void dial_free(struct dial *dial)
{
    if (dial->found != NULL)
        uv_freeaddrinfo(dial->found);
    free(dial);
}

static void on_dial_closed(uv_handle_t *handle)
{
    struct dial *dial = CONTAINER_OF(handle, struct dial, failed);

    if (!dial->resolving)
        dial_free(dial);
    else
        dial->sock = NULL; /* on_resolved frees it */
}

static int dial_error(struct dial *dial, const char *reason)
{
    char name[NET__NAME_SIZE];

    return err_set(&dial->err, KV_ECONN, "cannot connect to %s: %s",
                   net_addr_format(&dial->addr, name, sizeof name), reason);
}

/* Tells on_connect what became of it. The dial stays until the owner closes the socket. */
static void dial_failed(struct net_sock *sock)
{
    sock->state = FAILED;
    sock->events->on_connect(sock->ctx, KV_ECONN, &sock->dial->err);
}

static void on_failed_timer(uv_timer_t *timer)
{
    dial_failed(CONTAINER_OF(timer, struct dial, failed)->sock);
}

/* One attempt. KV_ECONN if it failed at once, with dial->err filled. */
static int try_address(struct net_sock *sock, const struct sockaddr *addr, socklen_t len)
{
    struct dial *dial = sock->dial;
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return dial_error(dial, strerror(errno));
    set_nodelay(fd);
    if (connect(fd, addr, len) != 0 && errno != EINPROGRESS) {
        int rc = dial_error(dial, strerror(errno));

        (void)close(fd);
        return rc;
    }
    if (attach(sock, fd) != 0) {
        (void)close(fd);
        return dial_error(dial, "the event loop cannot watch the socket");
    }
    sock->state = CONNECTING;
    rearm(sock);
    return 0;
}

/* The next address of the resolver that does not fail at once. */
static int try_next(struct net_sock *sock)
{
    struct dial *dial = sock->dial;
    int rc = KV_ECONN;

    while (rc != 0 && dial->next != NULL) {
        struct addrinfo *info = dial->next;

        dial->next = info->ai_next;
        rc = try_address(sock, info->ai_addr, info->ai_addrlen);
    }
    return rc;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct dial *dial = CONTAINER_OF(req, struct dial, resolve);
    struct net_sock *sock = dial->sock;

    dial->resolving = false;
    dial->found = dial->next = found;
    if (sock == NULL) {
        dial_free(dial);
        return;
    }
    if (sock->state == CLOSED)
        return; /* on_dial_closed frees it */
    if (status != 0) {
        (void)dial_error(dial, uv_strerror(status));
        dial_failed(sock);
    } else if (try_next(sock) != 0) {
        dial_failed(sock);
    }
}

/* What became of the attempt: 0 with the name of the other side, or an errno value. */
static int connect_result(int fd, struct sockaddr_storage *peer)
{
    struct sockaddr_storage self = {.ss_family = AF_UNSPEC};
    socklen_t peer_len = sizeof *peer, self_len = sizeof self;
    int failure = 0;
    socklen_t failure_len = sizeof failure;

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &failure_len) != 0)
        return errno;
    if (failure != 0)
        return failure;
    if (getpeername(fd, (struct sockaddr *)peer, &peer_len) != 0 ||
        getsockname(fd, (struct sockaddr *)&self, &self_len) != 0)
        return errno;
    /* TCP lets a socket connect to itself if the kernel happens to pick the wanted port as its
     * own: nobody listens there. */
    if (self.ss_family != AF_UNIX && self_len == peer_len && memcmp(&self, peer, self_len) == 0)
        return ECONNREFUSED;
    return 0;
}

static void dial_succeeded(struct net_sock *sock)
{
    struct dial *dial = sock->dial;

    sock->state = OPEN;
    sock->dial = NULL;
    uv_close((uv_handle_t *)&dial->failed, on_dial_closed);
    sock->events->on_connect(sock->ctx, 0, NULL);
}

static void begin_handshake(struct net_sock *sock, enum tls_role role);

static void on_writable_after_connect(struct net_sock *sock)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
    struct dial *dial = sock->dial;
    char name[NET__NAME_SIZE];
    int failure = connect_result(sock->fd, &addr);

    if (failure != 0) {
        (void)dial_error(dial, strerror(failure));
        detach(sock, on_handle_closed);
        if (try_next(sock) != 0)
            dial_failed(sock);
        return;
    }
    free(sock->peer);
    sock->peer = xstrdup(net__sockaddr_format((struct sockaddr *)&addr, name, sizeof name));
    if (sock->tls_config != NULL)
        begin_handshake(sock, TLS_CONNECTS);
    else
        dial_succeeded(sock);
    if (sock->state != CLOSED)
        rearm(sock);
}

int net_sock_connect(uv_loop_t *loop, const struct net_addr *addr, struct net_tls *tls,
                     const struct net_sock_events *events, void *ctx, struct net_sock **out,
                     struct err *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char name[NET__NAME_SIZE], port[8];
    struct sockaddr_storage literal;
    struct net_sock *sock;
    struct dial *dial;
    socklen_t len;

    if (net__addr_check_tls(addr, tls, err) != 0)
        return KV_EINVAL;
    net_addr_format(addr, name, sizeof name);
    sock = sock_new(loop);
    sock->tls_config = addr->tls ? net_tls_ref(tls) : NULL;
    sock->events = events;
    sock->ctx = ctx;
    sock->peer = xstrdup(name);
    dial = sock->dial = xcalloc(1, sizeof *dial);
    dial->sock = sock;
    dial->addr = *addr;
    (void)uv_timer_init(loop, &dial->failed); /* cannot fail */

    if (net__addr_literal(addr, &literal, &len)) {
        sock->state = CONNECTING;
        if (try_address(sock, (struct sockaddr *)&literal, len) != 0)
            (void)uv_timer_start(&dial->failed, on_failed_timer, 0, 0); /* cannot fail */
    } else {
        int rc;

        sock->state = RESOLVING;
        (void)snprintf(port, sizeof port, "%u", addr->port);
        rc = uv_getaddrinfo(loop, &dial->resolve, on_resolved, addr->host, port, &hints);
        dial->resolving = rc == 0;
        if (rc != 0) {
            (void)dial_error(dial, uv_strerror(rc));
            (void)uv_timer_start(&dial->failed, on_failed_timer, 0, 0); /* cannot fail */
        }
    }
    *out = sock;
    return 0;
}

struct net_sock *net__sock_accepted(uv_loop_t *loop, int fd, const struct sockaddr *peer,
                                    struct net_tls *tls)
{
    struct net_sock *sock = sock_new(loop);
    char name[NET__NAME_SIZE];

    if (attach(sock, fd) != 0) {
        sock_free(sock);
        return NULL;
    }
    set_nodelay(fd);
    sock->peer = xstrdup(net__sockaddr_format(peer, name, sizeof name));
    sock->state = OPEN;
    if (tls != NULL) {
        sock->tls_config = net_tls_ref(tls);
        begin_handshake(sock, TLS_ACCEPTS);
    }
    return sock;
}

int net__addr_check_tls(const struct net_addr *addr, const struct net_tls *tls, struct err *err)
{
    char name[NET__NAME_SIZE];

    if (!addr->tls || tls != NULL)
        return 0;
    return err_set(err, KV_EINVAL, "%s wants TLS, and no certificates are configured",
                   net_addr_format(addr, name, sizeof name));
}

/* ---- reading ---- */

static void end(struct net_sock *sock, int status)
{
    sock->ended = true;
    sock->events->on_end(sock->ctx, status);
}

static bool may_read(const struct net_sock *sock)
{
    return sock->state == HANDSHAKING ||
           ((sock->state == OPEN || sock->state == BROKEN) && !sock->paused && !sock->ended);
}

static void read_tls(struct net_sock *sock, struct slice bytes);
static void handshake_failed(struct net_sock *sock, const struct err *err);

/* The stream has come to its end. */
static void read_end(struct net_sock *sock, bool in_order)
{
    struct err err = ERR_INIT;

    if (sock->state == HANDSHAKING || sock->dial != NULL) {
        err_set(&err, KV_ECONN, "TLS: the other side closed the connection during the handshake");
        handshake_failed(sock, &err);
    } else {
        end(sock, in_order && sock->state == OPEN && sock->tls == NULL ? 0 : KV_ECONN);
    }
}

static void read_some(struct net_sock *sock)
{
    if (sock->state == BROKEN && sock->paused && !sock->ended) {
        read_end(sock, false);
        return;
    }
    for (int i = 0; i < READS_PER_EVENT && may_read(sock); i++) {
        ssize_t n = recv(sock->fd, read_buffer, sizeof read_buffer, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            read_end(sock, n == 0);
            return;
        }
        if (sock->tls != NULL)
            read_tls(sock, slice_of(read_buffer, (size_t)n));
        else
            sock->events->on_read(sock->ctx, slice_of(read_buffer, (size_t)n));
        if ((size_t)n < sizeof read_buffer)
            return; /* most likely all there is; the watch tells if not */
    }
}

void net_sock_start(struct net_sock *sock, const struct net_sock_events *events, void *ctx)
{
    sock->events = events;
    sock->ctx = ctx;
    rearm(sock);
}

void net_sock_pause(struct net_sock *sock)
{
    sock->paused = true;
    rearm(sock);
}

void net_sock_resume(struct net_sock *sock)
{
    sock->paused = false;
    rearm(sock);
}

/* ---- writing ---- */

/* Gives the kernel what it takes. Bytes taken, or -1 when the connection is broken; the reading
 * side then tells on_end, after what the other side had still sent. */
static ssize_t send_some(struct net_sock *sock, struct slice bytes)
{
    size_t sent = 0;

    while (sent < bytes.len) {
        ssize_t n = send(sock->fd, bytes.data + sent, bytes.len - sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            sock->state = BROKEN;
            sock->pending_sent = 0;
            buf_release(&sock->pending);
            return -1;
        }
        sent += (size_t)n;
    }
    return (ssize_t)sent;
}

static void flush_pending(struct net_sock *sock)
{
    struct slice rest = slice_of(sock->pending.data + sock->pending_sent, net_sock_pending(sock));
    ssize_t sent;

    if (rest.len == 0)
        return;
    sent = send_some(sock, rest);
    if (sent < 0) {
        /* on_end tells, unless it has fired already. */
        if (sock->ended && sock->events->on_drain != NULL)
            sock->events->on_drain(sock->ctx);
        return;
    }
    sock->pending_sent += (size_t)sent;
    if (sock->pending_sent < sock->pending.len)
        return;
    sock->pending_sent = 0;
    if (sock->pending.cap > PENDING_KEEP)
        buf_release(&sock->pending);
    else
        buf_reset(&sock->pending);
    if (sock->state == OPEN && sock->events->on_drain != NULL)
        sock->events->on_drain(sock->ctx);
}

/* Bytes as they go over the wire. KV_ECONN if the connection turns out to be broken. */
static int write_raw(struct net_sock *sock, struct slice bytes)
{
    size_t waiting = sock->pending.len - sock->pending_sent;
    ssize_t sent = 0;

    if (is_up(sock) && waiting == 0) {
        sent = send_some(sock, bytes);
        if (sent < 0) {
            rearm(sock);
            return KV_ECONN;
        }
    }
    if ((size_t)sent == bytes.len)
        return 0;
    /* Drop the sent half now and then, so that a queue that never empties does not grow. */
    if (sock->pending_sent > waiting) {
        buf_consume(&sock->pending, sock->pending_sent);
        sock->pending_sent = 0;
    }
    ASSERT(buf_append(&sock->pending, bytes.data + sent, bytes.len - (size_t)sent) == 0);
    rearm(sock);
    return 0;
}

static int write_tls(struct net_sock *sock, struct slice bytes);

int net_sock_write(struct net_sock *sock, struct slice bytes)
{
    ASSERT(sock->events != NULL); /* accepted ones are started first */
    if (sock->state == BROKEN || sock->state == FAILED || sock->state == CLOSED)
        return KV_ECONN;
    if (bytes.len > sock->pending_max || net_sock_pending(sock) > sock->pending_max - bytes.len)
        return KV_ETOOBIG;
    return sock->tls_config != NULL ? write_tls(sock, bytes) : write_raw(sock, bytes);
}

size_t net_sock_pending(const struct net_sock *sock)
{
    return sock->pending.len - sock->pending_sent + sock->early.len;
}

void net_sock_set_pending_max(struct net_sock *sock, size_t bytes)
{
    sock->pending_max = bytes;
}

const char *net_sock_peer(const struct net_sock *sock)
{
    return sock->peer;
}

/* ---- TLS ---- */

/* Hands over what a session wanted to send. */
static int send_cipher(struct net_sock *sock)
{
    struct buf *cipher = tls__scratch(sock->tls_config);
    int rc = cipher->len > 0 ? write_raw(sock, buf_slice(cipher)) : 0;

    if (cipher->cap > CIPHER_KEEP)
        buf_release(cipher);
    else
        buf_reset(cipher);
    return rc;
}

static int write_tls(struct net_sock *sock, struct slice bytes)
{
    if (sock->state != OPEN) {
        ASSERT(buf_append(&sock->early, bytes.data, bytes.len) == 0); /* checked by the caller */
        return 0;
    }
    /* Fails out of memory only. */
    ASSERT(tls_session__write(sock->tls, bytes, tls__scratch(sock->tls_config)) == TLS_DONE);
    return send_cipher(sock);
}

static void handshake_failed(struct net_sock *sock, const struct err *err)
{
    if (sock->dial != NULL) {
        (void)dial_error(sock->dial, err->text);
        dial_failed(sock);
        return;
    }
    sock->trouble = *err;
    sock->state = BROKEN;
    end(sock, KV_ECONN);
}

static void handshake_done(struct net_sock *sock)
{
    struct buf early = sock->early;

    buf_init(&sock->early, SIZE_MAX / 2); /* moved */
    sock->state = OPEN;
    if (early.len > 0) /* broken: on_end follows */
        (void)write_tls(sock, buf_slice(&early));
    buf_release(&early);
    if (sock->dial != NULL)
        dial_succeeded(sock);
}

/* As far as the bytes at hand allow. */
static void go_on_with_handshake(struct net_sock *sock)
{
    struct err err = ERR_INIT;
    enum tls_result result =
        tls_session__handshake(sock->tls, tls__scratch(sock->tls_config), &err);

    (void)send_cipher(sock); /* broken: reading tells */
    if (result == TLS_FAILED)
        handshake_failed(sock, &err);
    else if (result == TLS_DONE && sock->state == HANDSHAKING)
        handshake_done(sock);
}

static void begin_handshake(struct net_sock *sock, enum tls_role role)
{
    sock->state = HANDSHAKING;
    sock->tls = tls_session__new(
        sock->tls_config, role,
        role == TLS_CONNECTS && !sock->dial->addr.is_unix ? sock->dial->addr.host : NULL);
    if (role == TLS_CONNECTS)
        go_on_with_handshake(sock);
}

static void read_tls(struct net_sock *sock, struct slice bytes)
{
    enum tls_result result = TLS_DONE;
    size_t len;

    tls_session__feed(sock->tls, bytes);
    if (sock->state == HANDSHAKING)
        go_on_with_handshake(sock);
    /* All of it, also if the owner pauses in between: nobody would wake us for the rest. */
    while ((sock->state == OPEN || sock->state == BROKEN) && !sock->ended && result == TLS_DONE) {
        result = tls_session__read(sock->tls, plain_buffer, sizeof plain_buffer, &len,
                                   tls__scratch(sock->tls_config), &sock->trouble);
        (void)send_cipher(sock); /* broken: on_end follows */
        if (result == TLS_DONE)
            sock->events->on_read(sock->ctx, slice_of(plain_buffer, len));
        else if (result != TLS_MORE)
            end(sock, result == TLS_END ? 0 : KV_ECONN);
    }
}

/* So that the other side can tell an end from a cut. */
static void say_goodbye(struct net_sock *sock)
{
    if (sock->tls == NULL || sock->state != OPEN || net_sock_pending(sock) > 0)
        return;
    tls_session__shutdown(sock->tls, tls__scratch(sock->tls_config));
    (void)send_cipher(sock); /* as much as can be done */
}

const char *net_sock_trouble(const struct net_sock *sock)
{
    return sock->trouble.text;
}

static X509 *peer_cert(const struct net_sock *sock)
{
    return sock->tls != NULL ? tls_session__peer_cert(sock->tls) : NULL;
}

bool net_sock_is_tls(const struct net_sock *sock)
{
    return sock->tls_config != NULL;
}

bool net_sock_peer_is_host(const struct net_sock *sock, const char *host)
{
    X509 *cert = peer_cert(sock);
    bool is = cert != NULL && tls__cert_is_for(cert, host);

    X509_free(cert);
    return is;
}

bool net_sock_peer_names_hosts(const struct net_sock *sock)
{
    X509 *cert = peer_cert(sock);
    bool names = cert != NULL && X509_get_ext_by_NID(cert, NID_subject_alt_name, -1) >= 0;

    X509_free(cert);
    return names;
}

bool net_sock_peer_common_name(const struct net_sock *sock, char *out, size_t size)
{
    X509 *cert = peer_cert(sock);
    bool has = cert != NULL && tls__common_name(cert, out, size);

    X509_free(cert);
    return has;
}

static struct slice peer_subject(const struct net_sock *sock, int nid, size_t n,
                                 struct arena *arena)
{
    X509 *cert = peer_cert(sock);
    struct slice text = {NULL, 0};

    if (cert != NULL)
        text = tls__subject(cert, nid, n, arena);
    X509_free(cert);
    return text;
}

struct slice net_sock_peer_name(const struct net_sock *sock, struct arena *arena)
{
    return peer_subject(sock, NID_commonName, 0, arena);
}

struct slice net_sock_peer_organization(const struct net_sock *sock, size_t n, struct arena *arena)
{
    return peer_subject(sock, NID_organizationName, n, arena);
}

/* libuv reports an error condition as UV_EBADF and stops the watch; send and recv know more. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct net_sock *sock = poll->data;

    if (status < 0) {
        events = sock->armed;
        sock->armed = 0;
    }
    if (sock->state == CONNECTING) {
        on_writable_after_connect(sock);
        return;
    }
    if ((events & UV_WRITABLE) != 0 && is_up(sock))
        flush_pending(sock);
    if ((events & UV_READABLE) != 0)
        read_some(sock);
    if (sock->state != CLOSED)
        rearm(sock);
}

/* ---- closing ---- */

static void on_part_closed(struct net_sock *sock)
{
    void (*cb)(void *ctx) = sock->close_cb;
    void *ctx = sock->close_ctx;

    if (--sock->closing > 0)
        return;
    sock_free(sock);
    if (cb != NULL)
        cb(ctx);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct net_sock *sock = handle->data;

    free(handle);
    on_part_closed(sock);
}

static void on_dial_closed_with_sock(uv_handle_t *handle)
{
    struct net_sock *sock = CONTAINER_OF(handle, struct dial, failed)->sock;

    on_dial_closed(handle);
    on_part_closed(sock);
}

void net_sock_close(struct net_sock *sock, void (*cb)(void *ctx), void *ctx)
{
    ASSERT(sock->state != CLOSED);
    say_goodbye(sock);
    sock->state = CLOSED;
    sock->close_cb = cb;
    sock->close_ctx = ctx;
    if (sock->poll != NULL) {
        sock->closing++;
        detach(sock, on_poll_closed);
    }
    if (sock->dial != NULL) {
        sock->closing++;
        if (sock->dial->resolving)
            (void)uv_cancel((uv_req_t *)&sock->dial->resolve); /* else it ends by itself */
        uv_close((uv_handle_t *)&sock->dial->failed, on_dial_closed_with_sock);
    }
    ASSERT(sock->closing > 0); /* before the connection there is a dial, then a watch */
}
