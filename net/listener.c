/* Listening sockets. Each watches its own descriptor rather than be a uv_tcp_t: libuv's accept
 * loop spins when descriptors run out and its spare one is gone. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/sock_internal.h"

enum {
    ACCEPTS_PER_EVENT = 64, /* a storm of connections lets others have their turn */
    LISTEN_BACKLOG = 4096,
    PAUSE_MS = 100, /* without descriptors */
};

struct net_listener {
    uv_loop_t *loop;
    uv_poll_t poll;
    uv_timer_t pause;
    struct net_tls *tls; /* NULL: none */
    int fd;
    int spare_fd; /* given up to turn connections away when there is no other; -1: lost */
    uint16_t port;
    bool closed;
    char *unix_path; /* removed at the end; NULL for TCP */
    net_accept_cb on_accept;
    void *ctx;
    int closing; /* handles whose close callback is to come */
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* ---- accepting ---- */

static void on_readable(uv_poll_t *poll, int status, int events);

static void watch(struct net_listener *listener)
{
    ASSERT(uv_poll_start(&listener->poll, UV_READABLE, on_readable) == 0);
}

static void on_pause_over(uv_timer_t *timer)
{
    struct net_listener *listener = CONTAINER_OF(timer, struct net_listener, pause);

    if (listener->spare_fd < 0)
        listener->spare_fd = open_spare();
    watch(listener);
}

/* Out of descriptors: who waits is turned away, so that it tries another member instead of hanging
 * in the backlog; then we look away for a moment. */
static void shed(struct net_listener *listener)
{
    if (listener->spare_fd >= 0) {
        (void)close(listener->spare_fd);
        for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
            int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);

            if (fd < 0)
                break;
            (void)close(fd);
        }
        listener->spare_fd = open_spare();
    }
    (void)uv_poll_stop(&listener->poll);                                /* cannot fail */
    (void)uv_timer_start(&listener->pause, on_pause_over, PAUSE_MS, 0); /* cannot fail */
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct net_listener *listener = CONTAINER_OF(poll, struct net_listener, poll);

    (void)events; /* we ask for one kind only */
    for (int i = 0; i < ACCEPTS_PER_EVENT && !listener->closed; i++) {
        struct sockaddr_storage peer = {.ss_family = AF_UNIX};
        socklen_t len = sizeof peer;
        struct net_sock *sock;
        int fd =
            accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && errno == EAGAIN)
            break;
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            shed(listener);
            return;
        }
        if (fd < 0)
            continue; /* that one is gone already (accept(2): as EAGAIN) */
        sock = net__sock_accepted(listener->loop, fd, (struct sockaddr *)&peer, listener->tls);
        if (sock == NULL)
            (void)close(fd);
        else
            listener->on_accept(listener->ctx, sock);
    }
    if (status < 0 && !listener->closed)
        watch(listener); /* libuv stops the watch on an error condition */
}

/* ---- opening ---- */

static int bind_error(struct err *err, const struct net_addr *addr, int failure)
{
    char name[NET__NAME_SIZE];

    net_addr_format(addr, name, sizeof name);
    if (failure == EADDRINUSE && addr->is_unix)
        return err_set(err, KV_EBUSY, "cannot listen on %s: another process listens there", name);
    if (failure == EADDRINUSE)
        return err_set(err, KV_EBUSY, "cannot listen on %s: port %u is in use by another process",
                       name, addr->port);
    if (failure == EADDRNOTAVAIL)
        return err_set(err, KV_EINVAL, "cannot listen on %s: not an address of this machine", name);
    return err_set_errno(err, failure, "cannot listen on %s", name);
}

/* Resolves to one address, IPv4 first as Go does for "localhost". Blocks. */
static int resolve(const struct net_addr *addr, struct sockaddr_storage *out, socklen_t *len,
                   struct err *err)
{
    const int families[] = {AF_INET, AF_INET6};
    char port[8];
    int rc = EAI_NONAME;

    if (net__addr_literal(addr, out, len))
        return 0;
    (void)snprintf(port, sizeof port, "%u", addr->port);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct addrinfo hints = {.ai_family = families[i], .ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;

        rc = getaddrinfo(addr->host, port, &hints, &found);
        if (rc != 0)
            continue;
        memcpy(out, found->ai_addr, found->ai_addrlen);
        *len = found->ai_addrlen;
        freeaddrinfo(found);
        return 0;
    }
    return err_set(err, KV_EINVAL, "cannot listen on %s: %s", addr->host, gai_strerror(rc));
}

/* A killed process leaves its Unix socket behind. It is in nobody's way if nobody answers. */
static bool remove_stale(const char *path, const struct sockaddr *addr, socklen_t len)
{
    struct stat info;
    bool stale;
    int fd;

    if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    stale = connect(fd, addr, len) != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return stale && unlink(path) == 0;
}

static int open_bound(const struct net_addr *addr, int *out, struct err *err)
{
    struct sockaddr_storage to;
    socklen_t len = 0;
    int one = 1;
    int fd, rc;

    rc = resolve(addr, &to, &len, err);
    if (rc != 0)
        return rc;
    fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return bind_error(err, addr, errno);
    if (!addr->is_unix)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* only a convenience */
    rc = bind(fd, (struct sockaddr *)&to, len);
    if (rc != 0 && errno == EADDRINUSE && addr->is_unix) {
        bool removed = remove_stale(addr->host, (struct sockaddr *)&to, len);

        errno = EADDRINUSE;
        if (removed)
            rc = bind(fd, (struct sockaddr *)&to, len);
    }
    if (rc != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        rc = bind_error(err, addr, errno);
        (void)close(fd);
        return rc;
    }
    *out = fd;
    return 0;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof addr;

    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        return 0;
    if (addr.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&addr)->sin_port);
    if (addr.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&addr)->sin6_port);
    return 0;
}

int net_listen(uv_loop_t *loop, const struct net_addr *addr, struct net_tls *tls,
               net_accept_cb on_accept, void *ctx, struct net_listener **out, struct err *err)
{
    struct net_listener *listener;
    char name[NET__NAME_SIZE];
    int fd = -1;
    int rc;

    rc = net__addr_check_tls(addr, tls, err);
    if (rc == 0)
        rc = open_bound(addr, &fd, err);
    if (rc != 0)
        return rc;
    listener = xcalloc(1, sizeof *listener);
    rc = uv_poll_init(loop, &listener->poll, fd);
    if (rc != 0) {
        (void)close(fd);
        free(listener);
        return err_set(err, KV_EIO, "cannot listen on %s: %s",
                       net_addr_format(addr, name, sizeof name), uv_strerror(rc));
    }
    (void)uv_timer_init(loop, &listener->pause); /* cannot fail */
    listener->loop = loop;
    listener->tls = addr->tls ? net_tls_ref(tls) : NULL;
    listener->fd = fd;
    listener->spare_fd = open_spare();
    listener->port = bound_port(fd);
    listener->unix_path = addr->is_unix ? xstrdup(addr->host) : NULL;
    listener->on_accept = on_accept;
    listener->ctx = ctx;
    watch(listener);
    *out = listener;
    return 0;
}

uint16_t net_listener_port(const struct net_listener *listener)
{
    return listener->port;
}

/* ---- closing ---- */

static void on_part_closed(struct net_listener *listener)
{
    void (*cb)(void *ctx) = listener->close_cb;
    void *ctx = listener->close_ctx;

    if (--listener->closing > 0)
        return;
    net_tls_unref(listener->tls);
    free(listener->unix_path);
    free(listener);
    if (cb != NULL)
        cb(ctx);
}

static void on_poll_closed(uv_handle_t *handle)
{
    on_part_closed(CONTAINER_OF(handle, struct net_listener, poll));
}

static void on_pause_closed(uv_handle_t *handle)
{
    on_part_closed(CONTAINER_OF(handle, struct net_listener, pause));
}

void net_listener_close(struct net_listener *listener, void (*cb)(void *ctx), void *ctx)
{
    ASSERT(!listener->closed);
    listener->closed = true;
    listener->close_cb = cb;
    listener->close_ctx = ctx;
    listener->closing = 2;
    uv_close((uv_handle_t *)&listener->poll, on_poll_closed);
    uv_close((uv_handle_t *)&listener->pause, on_pause_closed);
    (void)close(listener->fd); /* nothing to do about an error */
    if (listener->spare_fd >= 0)
        (void)close(listener->spare_fd);
    if (listener->unix_path != NULL)
        (void)unlink(listener->unix_path); /* gone already is as good */
}
