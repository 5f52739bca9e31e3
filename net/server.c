/* Life cycle of the server and its connections, and the one timer behind all deadlines. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "net/server_internal.h"

/* ---- deadlines ---- */

static void on_timer(uv_timer_t *timer);

uint64_t server__now(const struct net_server *server)
{
    return uv_now(server->options.loop);
}

/* Only ever moved forward in a hurry: a timer that fires early finds nothing and sleeps again,
 * which is cheaper than touching it for each call that ends in time. */
static void arm(struct net_server *server, uint64_t at_ms)
{
    uint64_t now = server__now(server);

    if (at_ms >= server->timer_at_ms || server->closing)
        return;
    server->timer_at_ms = at_ms;
    (void)uv_timer_start(&server->timer, on_timer, at_ms > now ? at_ms - now : 0, 0);
}

void server__set_due(struct net_server *server, struct timed *timed, uint64_t at_ms)
{
    due_set(&server->due, &timed->due, at_ms);
    arm(server, at_ms);
}

void server__clear_due(struct net_server *server, struct timed *timed)
{
    due_clear(&server->due, &timed->due);
}

const char *server__date(struct net_server *server)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = time(NULL);
    struct tm tm;

    if (now == server->date_at || gmtime_r(&now, &tm) == NULL)
        return server->date;
    server->date_at = now;
    (void)snprintf(server->date, sizeof server->date, "%s, %02u %s %04u %02u:%02u:%02u GMT",
                   days[tm.tm_wday], (unsigned)tm.tm_mday % 100u, months[tm.tm_mon],
                   ((unsigned)tm.tm_year + 1900u) % 10000u, (unsigned)tm.tm_hour % 100u,
                   (unsigned)tm.tm_min % 100u, (unsigned)tm.tm_sec % 100u);
    return server->date;
}

/* ---- connections ---- */

static void on_sock_closed(void *ctx);

static void close_state(struct net_conn *conn)
{
    if (conn->h2 != NULL)
        h2__close(conn);
    if (conn->h1 != NULL)
        h1__close(conn);
}

/* Top level only: no frame of this connection is on the stack. */
static void conn_close(struct net_conn *conn)
{
    struct net_server *server = conn->server;

    conn->doomed = true;
    close_state(conn);
    ASSERT(conn->promised == 0);
    server__clear_due(server, &conn->timed);
    list_remove(&conn->dirty_node);
    list_remove(&conn->node);
    server->conn_count--;
    server->closing_handles++;
    net_sock_close(conn->sock, on_sock_closed, server);
    free(conn);
}

void conn__doom(struct net_conn *conn)
{
    if (conn->doomed)
        return;
    conn->doomed = true;
    server__set_due(conn->server, &conn->timed, server__now(conn->server));
}

void conn__linger(struct net_conn *conn, bool input_unread)
{
    if (conn->doomed || conn->state == CONN_LINGER)
        return;
    conn->state = CONN_LINGER;
    conn->close_when_sent = !input_unread;
    if (conn->paused) {
        conn->paused = false;
        net_sock_resume(conn->sock);
    }
    conn__mark_dirty(conn);
    server__set_due(conn->server, &conn->timed, server__now(conn->server) + LINGER_MS);
}

void conn__mark_dirty(struct net_conn *conn)
{
    if (list_empty(&conn->dirty_node))
        list_push_back(&conn->server->dirty, &conn->dirty_node);
}

bool conn__write(struct net_conn *conn, struct slice bytes)
{
    if (conn->doomed)
        return false;
    if (bytes.len != 0 && net_sock_write(conn->sock, bytes) != 0) {
        conn__doom(conn);
        return false;
    }
    return true;
}

size_t conn__unsent(const struct net_conn *conn)
{
    size_t held = net_sock_pending(conn->sock);

    if (conn->h2 != NULL)
        held += conn->h2->unsent;
    if (conn->h1 != NULL)
        held += h1__unsent(conn);
    return held;
}

/* Stops reading from a client that does not read its answers: what it sends would only make more
 * of them. Output that waits for an HTTP/2 window is another matter: the WINDOW_UPDATE that frees
 * it has to be read. A client that reads slowly but does read gets one read in between for each
 * time its backlog is gone, or a big answer would lock out all others. */
static void hold_back(struct net_conn *conn)
{
    bool full = net_sock_pending(conn->sock) > SOCK_PENDING_HIGH ||
                (conn->h1 != NULL && h1__input_full(conn));

    if (full == conn->paused || conn->state == CONN_LINGER || (full && !conn->read_since_resume))
        return;
    conn->paused = full;
    if (full) {
        net_sock_pause(conn->sock);
    } else {
        conn->read_since_resume = false;
        net_sock_resume(conn->sock);
    }
}

/* Much waits for the client: what it has not taken, and what is only made once it has. */
static bool much_waits(const struct net_conn *conn)
{
    size_t unsent = conn__unsent(conn);

    return unsent > 0 && unsent + conn->promised > STALL_BYTES;
}

/* When the client is given up if it goes on taking nothing. */
static uint64_t stall_due(struct net_conn *conn)
{
    size_t pending = net_sock_pending(conn->sock);

    if (!much_waits(conn)) {
        conn->progress_ms = 0;
        return UINT64_MAX;
    }
    if (conn->progress_ms == 0 || pending < conn->pending_mark)
        conn->progress_ms = server__now(conn->server);
    conn->pending_mark = pending;
    return conn->progress_ms + conn->server->options.stall_timeout_ms;
}

static uint64_t next_due(struct net_conn *conn)
{
    const struct net_server_options *options = &conn->server->options;
    uint64_t at = stall_due(conn);

    switch (conn->state) {
    case CONN_UNKNOWN:
        return MIN(at, conn->last_read_ms + options->preface_timeout_ms);
    case CONN_HTTP1:
        return MIN(at, h1__next_due(conn));
    case CONN_HTTP2:
        return MIN(at, h2__next_due(conn));
    case CONN_LINGER:
        break;
    }
    return conn->timed.due.at_ms;
}

void conn__rearm(struct net_conn *conn)
{
    if (!conn->doomed && conn->state != CONN_LINGER)
        server__set_due(conn->server, &conn->timed, next_due(conn));
}

static void flush_conn(struct net_conn *conn)
{
    list_remove(&conn->dirty_node);
    if (conn->doomed || net_sock_pending(conn->sock) > SOCK_PENDING_HIGH)
        return; /* on_drain marks it again */
    if (conn->h2 != NULL)
        h2__flush(conn);
    else if (conn->h1 != NULL)
        h1__flush(conn);
    if (conn->doomed)
        return;
    hold_back(conn);
    if (conn->state == CONN_LINGER) {
        if (conn->close_when_sent && conn__unsent(conn) == 0)
            conn__doom(conn);
        return;
    }
    if (much_waits(conn)) {
        uint64_t at = stall_due(conn);

        if (conn->timed.due.place == DUE_UNSET || at < conn->timed.due.at_ms)
            server__set_due(conn->server, &conn->timed, at);
    }
}

/* The protocol's state follows the last byte of the client; conn may be doomed after it. */
static void read_known(struct net_conn *conn, struct slice bytes)
{
    if (conn->state == CONN_HTTP2)
        h2__read(conn, bytes);
    else if (conn->state == CONN_HTTP1)
        h1__read(conn, bytes);
}

static const char preface[] = NGHTTP2_CLIENT_MAGIC;

/* The first bytes tell HTTP/2 from HTTP/1.1. What has matched so far need not be kept: it is a
 * part of the preface. */
static void read_unknown(struct net_conn *conn, struct slice bytes)
{
    size_t i = 0;

    while (i < bytes.len && conn->preface_len < NGHTTP2_CLIENT_MAGIC_LEN &&
           bytes.data[i] == (uint8_t)preface[conn->preface_len]) {
        conn->preface_len++;
        i++;
    }
    if (i == bytes.len && conn->preface_len < NGHTTP2_CLIENT_MAGIC_LEN)
        return;
    if (conn->preface_len == NGHTTP2_CLIENT_MAGIC_LEN) {
        conn->state = CONN_HTTP2;
        h2__open(conn);
    } else {
        conn->state = CONN_HTTP1;
        h1__open(conn);
    }
    if (!conn->doomed)
        read_known(conn, slice_of(preface, conn->preface_len));
    if (!conn->doomed && i < bytes.len)
        read_known(conn, slice_of(bytes.data + i, bytes.len - i));
}

static void on_read(void *ctx, struct slice bytes)
{
    struct net_conn *conn = ctx;
    enum conn_state was = conn->state;

    if (conn->doomed || was == CONN_LINGER)
        return;
    conn->read_since_resume = true;
    if (was == CONN_UNKNOWN) {
        read_unknown(conn, bytes);
        if (conn->state != was)
            conn__rearm(conn);
        return;
    }
    conn->last_read_ms = server__now(conn->server);
    read_known(conn, bytes);
}

static void on_end(void *ctx, int status)
{
    struct net_conn *conn = ctx;
    const struct net_server_options *options = &conn->server->options;
    const char *trouble = net_sock_trouble(conn->sock);

    (void)status; /* closed or broken: the same to its calls */
    if (trouble[0] != '\0' && conn->state == CONN_UNKNOWN && options->on_handshake_failed != NULL)
        options->on_handshake_failed(options->ctx, net_sock_peer(conn->sock), trouble);
    conn_close(conn);
}

static void on_sock_drain(void *ctx)
{
    struct net_conn *conn = ctx;

    if (conn->progress_ms != 0)
        conn->progress_ms = server__now(conn->server);
    conn__mark_dirty(conn);
    hold_back(conn);
    /* The owner flushes once per turn, but its turn may be over. */
    flush_conn(conn);
}

static void conn_on_due(struct net_conn *conn)
{
    uint64_t now = server__now(conn->server);

    if (conn->doomed || conn->state == CONN_LINGER || now >= stall_due(conn)) {
        conn_close(conn);
        return;
    }
    if (conn->state == CONN_UNKNOWN) {
        if (now >= next_due(conn)) {
            conn_close(conn);
            return;
        }
    } else if (conn->state == CONN_HTTP1) {
        h1__on_due(conn);
    } else {
        h2__on_due(conn);
    }
    if (conn->doomed || conn->state == CONN_LINGER)
        return; /* both have set when they come back */
    server__set_due(conn->server, &conn->timed, MAX(next_due(conn), now + 1));
}

static void on_timer(uv_timer_t *timer)
{
    struct net_server *server = CONTAINER_OF(timer, struct net_server, timer);
    uint64_t now = server__now(server);
    struct due *first;

    server->timer_at_ms = 0; /* no arming in between; done once below */
    while (!server->closing && (first = due_first(&server->due)) != NULL && first->at_ms <= now) {
        struct timed *timed = CONTAINER_OF(first, struct timed, due);

        server__clear_due(server, timed);
        if (timed->kind == DUE_CONN)
            conn_on_due(CONTAINER_OF(timed, struct net_conn, timed));
        else
            call__on_due(CONTAINER_OF(timed, struct grpc_call, timed));
    }
    server->timer_at_ms = UINT64_MAX;
    first = due_first(&server->due);
    if (first != NULL)
        arm(server, first->at_ms);
    net_server_flush(server);
}

static void on_accept(void *ctx, struct net_sock *sock)
{
    static const struct net_sock_events events = {
        .on_read = on_read, .on_end = on_end, .on_drain = on_sock_drain};
    struct listen_ctx *listen = ctx;
    struct net_server *server = listen->server;
    struct net_conn *conn;

    if (server->closing || server->draining ||
        server->conn_count >= server->options.connections_max) {
        server->closing_handles++;
        net_sock_close(sock, on_sock_closed, server);
        return;
    }
    conn = xcalloc(1, sizeof *conn);
    conn->server = server;
    conn->sock = sock;
    conn->tls = listen->tls;
    conn->timed.kind = DUE_CONN;
    conn->last_read_ms = server__now(server);
    list_init(&conn->dirty_node);
    list_push_back(&server->conns, &conn->node);
    server->conn_count++;
    server__set_due(server, &conn->timed, conn->last_read_ms + server->options.preface_timeout_ms);
    net_sock_start(sock, &events, conn);
}

/* ---- server ---- */

#define DEFAULT(field, value)                                                                      \
    do {                                                                                           \
        if ((field) == 0)                                                                          \
            (field) = (value);                                                                     \
    } while (0)

static void fill_defaults(struct net_server_options *options)
{
    DEFAULT(options->message_size_max, MESSAGE_SIZE_MAX);
    DEFAULT(options->http_body_size_max, options->message_size_max);
    DEFAULT(options->concurrent_streams_max, UINT32_MAX);
    DEFAULT(options->connections_max, NET_SERVER_CONNECTIONS_MAX);
    DEFAULT(options->ping_min_interval_ms, 5000);
    DEFAULT(options->ping_interval_ms, 7200000);
    DEFAULT(options->ping_timeout_ms, 20000);
    DEFAULT(options->preface_timeout_ms, 10000);
    DEFAULT(options->stall_timeout_ms, 60000);
}

static void free_pools(struct net_server *server)
{
    while (!list_empty(&server->call_pool)) {
        struct grpc_call *call = LIST_FIRST(&server->call_pool, struct grpc_call, node);

        list_remove(&call->node);
        arena_release(&call->arena);
        free(call);
    }
    while (server->chunk_pool != NULL) {
        struct out_chunk *chunk = server->chunk_pool;

        server->chunk_pool = chunk->next;
        free(chunk);
    }
}

static void server_free(struct net_server *server)
{
    inner__free_ended(server);
    free_pools(server);
    h2_pool__release(&server->h2_pool);
    method_table__release(&server->methods);
    due_heap_release(&server->due);
    nghttp2_session_callbacks_del(server->h2_callbacks);
    nghttp2_option_del(server->h2_option);
    free(server->scratch);
    free(server);
}

int net_server_new(const struct net_server_options *options, struct net_server **out,
                   struct err *err)
{
    struct net_server *server;

    if (options->message_size_max > INT32_MAX / 2)
        return err_set(err, KV_EINVAL, "message size limit of %zu bytes is more than 1 GiB",
                       options->message_size_max);
    server = xcalloc(1, sizeof *server);
    server->options = *options;
    fill_defaults(&server->options);
    list_init(&server->conns);
    list_init(&server->dirty);
    list_init(&server->call_pool);
    list_init(&server->inner_ended);
    due_heap_init(&server->due);
    h2_pool__init(&server->h2_pool);
    method_table__init(&server->methods, options->methods, options->method_count);
    server->scratch = xmalloc(SCRATCH_SIZE + 2 * FRAME_SIZE_MAX);
    server->timer_at_ms = UINT64_MAX;
    if (h2__init_server(server) != 0) {
        server_free(server);
        return err_set(err, KV_EINVAL, "nghttp2 refuses its options");
    }
    (void)uv_timer_init(options->loop, &server->timer); /* cannot fail */
    *out = server;
    return 0;
}

int net_server_listen(struct net_server *server, const struct net_addr *addr, struct net_tls *tls,
                      struct err *err)
{
    size_t n = server->listener_count;
    int rc;

    if (n == LISTENERS_MAX)
        return err_set(err, KV_ETOOBIG, "more than %d listen addresses", LISTENERS_MAX);
    server->listen_ctx[n] = (struct listen_ctx){.server = server, .tls = addr->tls};
    rc = net_listen(server->options.loop, addr, tls, on_accept, &server->listen_ctx[n],
                    &server->listeners[n], err);
    if (rc != 0)
        return rc;
    server->ports[n] = net_listener_port(server->listeners[n]);
    server->listener_count++;
    return 0;
}

uint16_t net_server_port(const struct net_server *server, size_t n)
{
    ASSERT(n < server->listener_count);
    return server->ports[n];
}

void net_server_flush(struct net_server *server)
{
    const struct net_server_options *options = &server->options;
    struct list dirty;

    list_init(&dirty);
    list_splice(&dirty, &server->dirty);
    while (!list_empty(&dirty))
        flush_conn(LIST_FIRST(&dirty, struct net_conn, dirty_node));
    inner__free_ended(server);
    if (options->on_bytes != NULL && (server->bytes_received | server->bytes_sent) != 0) {
        options->on_bytes(options->ctx, server->bytes_received, server->bytes_sent);
        server->bytes_received = server->bytes_sent = 0;
    }
}

size_t net_server_calls(const struct net_server *server)
{
    return server->calls;
}

static void on_listener_closed(void *ctx)
{
    on_sock_closed(ctx);
}

static void close_listeners(struct net_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        if (server->listeners[i] == NULL)
            continue;
        server->closing_handles++;
        net_listener_close(server->listeners[i], on_listener_closed, server);
        server->listeners[i] = NULL;
    }
}

void net_server_drain(struct net_server *server)
{
    if (server->draining || server->closing)
        return;
    server->draining = true;
    close_listeners(server);
    LIST_EACH (node, &server->conns) {
        struct net_conn *conn = LIST_ENTRY(node, struct net_conn, node);

        if (conn->doomed || conn->state == CONN_LINGER)
            continue;
        if (conn->state == CONN_HTTP2)
            h2__drain(conn);
        else if (conn->state == CONN_HTTP1)
            h1__drain(conn);
        else
            conn__doom(conn);
    }
}

static void on_sock_closed(void *ctx)
{
    struct net_server *server = ctx;
    void (*cb)(void *) = server->on_closed;
    void *cb_ctx = server->on_closed_ctx;

    ASSERT(server->closing_handles > 0);
    server->closing_handles--;
    if (!server->closing || server->closing_handles > 0)
        return;
    server_free(server);
    if (cb != NULL)
        cb(cb_ctx);
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_sock_closed(CONTAINER_OF(handle, struct net_server, timer));
}

/* In a turn of its own, because the caller may stand inside a callback of a connection. */
static void on_close_turn(uv_timer_t *timer)
{
    struct net_server *server = CONTAINER_OF(timer, struct net_server, timer);

    close_listeners(server);
    while (!list_empty(&server->conns))
        conn_close(LIST_FIRST(&server->conns, struct net_conn, node));
    ASSERT(server->calls == 0 && server->held == 0 && server->unsent == 0);
    uv_close((uv_handle_t *)timer, on_timer_closed);
}

void net_server_close(struct net_server *server, void (*cb)(void *ctx), void *ctx)
{
    ASSERT(!server->closing);
    server->closing = true;
    server->on_closed = cb;
    server->on_closed_ctx = ctx;
    server->closing_handles++; /* the timer's */
    (void)uv_timer_start(&server->timer, on_close_turn, 0, 0);
}
