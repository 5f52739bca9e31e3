/* Sockets over uv_poll and plain send/recv, rather than uv_tcp and uv_pipe: MSG_NOSIGNAL spares
 * every program that links libkv a SIGPIPE handler, TCP and Unix sockets need no second code path,
 * and writes that wait are joined into one.
 *
 *    net_sock_connect ──▶ RESOLVING ──▶ CONNECTING ──▶ OPEN ◀── accepted
 *                             │          │  ▲ next address  │
 *                             └────┬─────┘  └──┘            │ write failed
 *                                  ▼                        ▼
 *                               FAILED                   BROKEN
 *
 * and from each of them net_sock_close() leads to CLOSED. */
#include "net/sock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/sock_internal.h"

enum {
    READ_SIZE = 64 * 1024,
    READS_PER_EVENT = 16, /* one busy connection gets at most 1 MiB before the others */
    PENDING_MAX = 64 * 1024 * 1024,
    PENDING_KEEP = 64 * 1024, /* larger buffers go back once they are empty */
};

/* Lent to on_read. Reads never nest, so one per thread is enough, and an idle connection needs
 * none. It carries nothing from one call to the next. */
static _Thread_local uint8_t read_buffer[READ_SIZE];

enum sock_state { RESOLVING, CONNECTING, OPEN, BROKEN, FAILED, CLOSED };

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
    return sock;
}

static void sock_free(struct net_sock *sock)
{
    buf_release(&sock->pending);
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

/* Watches for what the state asks for. */
static void rearm(struct net_sock *sock)
{
    int want = 0;

    if (sock->state == CONNECTING)
        want = UV_WRITABLE;
    else if (sock->state == OPEN && sock->pending.len > 0)
        want = UV_WRITABLE;
    /* A broken one is watched even if paused: on_end is still owed. */
    if (!sock->ended && sock->events != NULL &&
        (sock->state == BROKEN || (sock->state == OPEN && !sock->paused)))
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
    sock->state = OPEN;
    sock->dial = NULL;
    uv_close((uv_handle_t *)&dial->failed, on_dial_closed);
    sock->events->on_connect(sock->ctx, 0, NULL);
    rearm(sock);
}

int net_sock_connect(uv_loop_t *loop, const struct net_addr *addr,
                     const struct net_sock_events *events, void *ctx, struct net_sock **out,
                     struct err *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char name[NET__NAME_SIZE], port[8];
    struct sockaddr_storage literal;
    struct net_sock *sock;
    struct dial *dial;
    socklen_t len;

    net_addr_format(addr, name, sizeof name);
    if (addr->tls)
        return err_set(err, KV_EINVAL, "%s: this version has no TLS", name);
    sock = sock_new(loop);
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

struct net_sock *net__sock_accepted(uv_loop_t *loop, int fd, const struct sockaddr *peer)
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
    return sock;
}

/* ---- reading ---- */

static void end(struct net_sock *sock, int status)
{
    sock->ended = true;
    sock->events->on_end(sock->ctx, status);
}

static bool may_read(const struct net_sock *sock)
{
    return (sock->state == OPEN || sock->state == BROKEN) && !sock->paused && !sock->ended;
}

static void read_some(struct net_sock *sock)
{
    if (sock->state == BROKEN && sock->paused && !sock->ended) {
        end(sock, KV_ECONN);
        return;
    }
    for (int i = 0; i < READS_PER_EVENT && may_read(sock); i++) {
        ssize_t n = recv(sock->fd, read_buffer, sizeof read_buffer, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end(sock, n == 0 && sock->state == OPEN ? 0 : KV_ECONN);
            return;
        }
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
    if (sock->events->on_drain != NULL)
        sock->events->on_drain(sock->ctx);
}

int net_sock_write(struct net_sock *sock, struct slice bytes)
{
    size_t waiting = net_sock_pending(sock);
    ssize_t sent = 0;

    ASSERT(sock->events != NULL); /* accepted ones are started first */
    if (sock->state == BROKEN || sock->state == FAILED || sock->state == CLOSED)
        return KV_ECONN;
    if (bytes.len > sock->pending_max || waiting > sock->pending_max - bytes.len)
        return KV_ETOOBIG;
    if (sock->state == OPEN && waiting == 0) {
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

size_t net_sock_pending(const struct net_sock *sock)
{
    return sock->pending.len - sock->pending_sent;
}

void net_sock_set_pending_max(struct net_sock *sock, size_t bytes)
{
    sock->pending_max = bytes;
}

const char *net_sock_peer(const struct net_sock *sock)
{
    return sock->peer;
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
    if ((events & UV_WRITABLE) != 0 && sock->state == OPEN)
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
