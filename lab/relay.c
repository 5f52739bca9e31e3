#include "lab/relay.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/util.h"
#include "lab/command.h"
#include "net/sock.h"
#include "raft/hello.h"

enum {
    HELD_MAX = 4 << 20,    /* bytes of one direction that wait; then the sender is not read */
    PENDING_MAX = 1 << 20, /* bytes the receiver's kernel has not taken yet */
    PIECE_MS = 20,         /* a thin link delivers what fits into so long at a time */
    CONNS_MAX = 1024,      /* members dial again and again while a cut lasts, and give up */
};

/* Bytes that wait until they are due; none at all: the end of the stream. */
struct chunk {
    struct list link;
    uint64_t due_ms;
    size_t len, at; /* delivered until there */
    uint8_t data[];
};

struct conn;

/* One direction of a connection. */
struct pipe {
    struct conn *conn;
    unsigned from, to;       /* 0: not known yet */
    struct net_sock *source; /* NULL: it has gone */
    struct list chunks;
    size_t held;
    bool paused;
    bool ended; /* the end is among the chunks, or was delivered */
    uv_timer_t timer;
};

enum conn_state { CONN_HELLO, CONN_WAITING, CONN_CONNECTING, CONN_OPEN, CONN_CLOSING };

struct conn {
    struct list link;
    struct lab_relays *relays;
    struct door *door;
    enum conn_state state;
    struct pipe in, out; /* from who came to the member behind the door, and back */
    unsigned closing;    /* handles and sockets that are not closed yet */
};

struct door {
    struct lab_relays *relays;
    unsigned n;
    uint16_t target_port;
    struct net_listener *listener; /* NULL: there is no such door */
};

struct link_state {
    bool cut;
    uint64_t delay_ms, heard_at, bytes;
    uint64_t bytes_per_second, free_at; /* thin: when the piece before has got through */
};

struct lab_relays {
    uv_loop_t *loop;
    struct door doors[LAB_MEMBERS_MAX + 1];
    struct link_state links[LAB_MEMBERS_MAX + 1][LAB_MEMBERS_MAX + 1];
    struct list conns;
    size_t conn_count;
    unsigned open; /* doors and connections that are not closed yet */
    bool closing;
    void (*closed)(void *ctx);
    void *ctx;
};

static void pump(struct pipe *pipe);

struct lab_relays *lab_relays_new(uv_loop_t *loop)
{
    struct lab_relays *relays = xcalloc(1, sizeof *relays);

    relays->loop = loop;
    list_init(&relays->conns);
    return relays;
}

static struct link_state *link_of(const struct lab_relays *relays, unsigned from, unsigned to)
{
    ASSERT(from <= LAB_MEMBERS_MAX);
    ASSERT(to <= LAB_MEMBERS_MAX);
    return (struct link_state *)(uintptr_t)&relays->links[from][to];
}

/* ---- the end ---- */

static void finish(struct lab_relays *relays)
{
    void (*closed)(void *ctx) = relays->closed;
    void *ctx = relays->ctx;

    relays->open--;
    if (!relays->closing || relays->open != 0)
        return;
    free(relays);
    if (closed != NULL)
        closed(ctx);
}

static void drop_chunks(struct pipe *pipe)
{
    LIST_EACH_SAFE (node, &pipe->chunks) {
        struct chunk *chunk = LIST_ENTRY(node, struct chunk, link);

        list_remove(&chunk->link);
        free(chunk);
    }
    pipe->held = 0;
}

static void conn_part_closed(struct conn *conn)
{
    struct lab_relays *relays = conn->relays;

    if (--conn->closing != 0)
        return;
    drop_chunks(&conn->in);
    drop_chunks(&conn->out);
    list_remove(&conn->link);
    relays->conn_count--;
    free(conn);
    finish(relays);
}

static void on_sock_closed(void *ctx)
{
    conn_part_closed(ctx);
}

static void on_timer_closed(uv_handle_t *handle)
{
    conn_part_closed(handle->data);
}

static void conn_close(struct conn *conn)
{
    struct pipe *pipes[] = {&conn->in, &conn->out};

    if (conn->state == CONN_CLOSING)
        return;
    conn->state = CONN_CLOSING;
    for (size_t i = 0; i < ARRAY_LEN(pipes); i++) {
        conn->closing++;
        pipes[i]->timer.data = conn;
        uv_close((uv_handle_t *)&pipes[i]->timer, on_timer_closed);
        if (pipes[i]->source != NULL) {
            conn->closing++;
            net_sock_close(pipes[i]->source, on_sock_closed, conn);
        }
    }
}

/* ---- bytes ---- */

static struct pipe *other(const struct pipe *pipe)
{
    return pipe == &pipe->conn->in ? &pipe->conn->out : &pipe->conn->in;
}

static void set_paused(struct pipe *pipe, bool paused)
{
    if (pipe->paused == paused || pipe->source == NULL || pipe->ended)
        return;
    pipe->paused = paused;
    if (paused)
        net_sock_pause(pipe->source);
    else
        net_sock_resume(pipe->source);
}

static void hold(struct pipe *pipe, struct slice bytes)
{
    const struct link_state *link = link_of(pipe->conn->relays, pipe->from, pipe->to);
    struct chunk *chunk = xmalloc(sizeof *chunk + bytes.len);

    chunk->due_ms = uv_now(pipe->conn->relays->loop) + link->delay_ms;
    chunk->len = bytes.len;
    chunk->at = 0;
    if (bytes.len != 0)
        memcpy(chunk->data, bytes.data, bytes.len);
    list_push_back(&pipe->chunks, &chunk->link);
    pipe->held += bytes.len;
}

static void on_due(uv_timer_t *timer)
{
    pump(timer->data);
}

static size_t piece_of(const struct link_state *link, const struct chunk *chunk)
{
    size_t rest = chunk->len - chunk->at;

    if (link->bytes_per_second == 0)
        return rest;
    return MIN(rest, (size_t)(link->bytes_per_second * PIECE_MS / 1000 + 1));
}

/* A chunk, or a piece of it. True: the connection goes on. */
static bool deliver(struct pipe *pipe, struct chunk *chunk)
{
    struct link_state *link = link_of(pipe->conn->relays, pipe->from, pipe->to);
    struct net_sock *to = other(pipe)->source;
    size_t len = piece_of(link, chunk);

    if (len == 0 || to == NULL || net_sock_write(to, slice_of(chunk->data + chunk->at, len)) != 0)
        return false;
    link->heard_at = uv_now(pipe->conn->relays->loop);
    link->bytes += len;
    if (link->bytes_per_second != 0)
        link->free_at =
            link->heard_at + (len * 1000 + link->bytes_per_second - 1) / link->bytes_per_second;
    chunk->at += len;
    pipe->held -= len;
    return true;
}

static size_t held_max(const struct link_state *link)
{
    return link->bytes_per_second == 0 ? HELD_MAX : MIN(HELD_MAX, link->bytes_per_second);
}

/* Delivers what is due; may close the connection. */
static void pump(struct pipe *pipe)
{
    struct conn *conn = pipe->conn;
    const struct link_state *link = link_of(conn->relays, pipe->from, pipe->to);
    uint64_t now = uv_now(conn->relays->loop);

    while (conn->state == CONN_OPEN && !link->cut && !list_empty(&pipe->chunks)) {
        struct chunk *chunk = LIST_FIRST(&pipe->chunks, struct chunk, link);
        uint64_t due = link->bytes_per_second == 0 || chunk->due_ms > link->free_at ? chunk->due_ms
                                                                                    : link->free_at;

        if (due > now) {
            (void)uv_timer_start(&pipe->timer, on_due, due - now, 0);
            break;
        }
        if (net_sock_pending(other(pipe)->source) > PENDING_MAX)
            break; /* on_drain goes on */
        if (!deliver(pipe, chunk)) {
            conn_close(conn);
            return;
        }
        if (chunk->at == chunk->len) {
            list_remove(&chunk->link);
            free(chunk);
        }
    }
    set_paused(pipe, link->cut || pipe->held > held_max(link));
}

static void connect_on(struct conn *conn);

/* A connection needs both directions to come about. */
static void go_on(struct conn *conn)
{
    const struct lab_relays *relays = conn->relays;

    if (conn->state == CONN_WAITING && !link_of(relays, conn->in.from, conn->in.to)->cut &&
        !link_of(relays, conn->in.to, conn->in.from)->cut)
        connect_on(conn);
    if (conn->state == CONN_OPEN)
        pump(&conn->in);
    if (conn->state == CONN_OPEN)
        pump(&conn->out);
}

static void take_bytes(struct pipe *pipe, struct slice bytes)
{
    hold(pipe, bytes);
    pump(pipe);
}

static void take_end(struct pipe *pipe)
{
    if (pipe->ended)
        return;
    pipe->ended = true;
    if (pipe->conn->state == CONN_OPEN)
        take_bytes(pipe, slice_of(NULL, 0));
    else
        conn_close(pipe->conn);
}

/* ---- the member behind the door ---- */

static void on_back_connect(void *ctx, int status, const struct err *err)
{
    struct conn *conn = ctx;

    (void)err; /* it does not run: who came sees its connection end */
    if (status != 0) {
        conn_close(conn);
        return;
    }
    conn->state = CONN_OPEN;
    go_on(conn);
}

static void on_back_read(void *ctx, struct slice bytes)
{
    take_bytes(&((struct conn *)ctx)->out, bytes);
}

static void on_back_end(void *ctx, int status)
{
    (void)status;
    take_end(&((struct conn *)ctx)->out);
}

static void on_back_drain(void *ctx)
{
    pump(&((struct conn *)ctx)->in);
}

static void connect_on(struct conn *conn)
{
    static const struct net_sock_events events = {.on_connect = on_back_connect,
                                                  .on_read = on_back_read,
                                                  .on_end = on_back_end,
                                                  .on_drain = on_back_drain};
    struct net_addr addr = {.host = "127.0.0.1", .port = conn->door->target_port};

    conn->state = CONN_CONNECTING;
    if (net_sock_connect(conn->relays->loop, &addr, NULL, &events, conn, &conn->out.source, NULL) !=
        0)
        conn_close(conn);
}

/* ---- who comes ---- */

static unsigned member_on_port(const struct lab_relays *relays, uint16_t port)
{
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if (relays->doors[n].listener != NULL && relays->doors[n].target_port == port)
            return n;
    }
    return 0;
}

static void copy_held(const struct pipe *pipe, uint8_t *out, size_t len)
{
    LIST_EACH (node, &pipe->chunks) {
        const struct chunk *chunk = LIST_ENTRY(node, struct chunk, link);
        size_t part = MIN(len, chunk->len);

        memcpy(out, chunk->data, part);
        out += part;
        len -= part;
    }
}

/* Once the hello is whole: whose connection it is. */
static void identify(struct conn *conn)
{
    uint8_t bytes[HELLO_SIZE];
    struct hello hello;

    if (conn->in.held < sizeof bytes)
        return;
    copy_held(&conn->in, bytes, sizeof bytes);
    if (hello_decode(bytes, &hello) && hello.port != 0)
        conn->in.from = conn->out.to = member_on_port(conn->relays, hello.port);
    conn->state = CONN_WAITING;
    go_on(conn);
}

static void on_front_read(void *ctx, struct slice bytes)
{
    struct conn *conn = ctx;

    hold(&conn->in, bytes);
    if (conn->state == CONN_HELLO)
        identify(conn);
    else
        pump(&conn->in);
    if (conn->state != CONN_CLOSING && conn->in.held > HELD_MAX)
        set_paused(&conn->in, true);
}

static void on_front_end(void *ctx, int status)
{
    (void)status;
    take_end(&((struct conn *)ctx)->in);
}

static void on_front_drain(void *ctx)
{
    pump(&((struct conn *)ctx)->out);
}

static void pipe_init(struct pipe *pipe, struct conn *conn)
{
    pipe->conn = conn;
    list_init(&pipe->chunks);
    (void)uv_timer_init(conn->relays->loop, &pipe->timer); /* cannot fail */
    pipe->timer.data = pipe;
}

static void on_accept(void *ctx, struct net_sock *sock)
{
    static const struct net_sock_events events = {
        .on_read = on_front_read, .on_end = on_front_end, .on_drain = on_front_drain};
    struct door *door = ctx;
    struct conn *conn;

    if (door->relays->conn_count == CONNS_MAX) {
        net_sock_close(sock, NULL, NULL);
        return;
    }
    conn = xcalloc(1, sizeof *conn);
    conn->relays = door->relays;
    conn->door = door;
    pipe_init(&conn->in, conn);
    pipe_init(&conn->out, conn);
    conn->in.source = sock;
    conn->in.to = conn->out.from = door->n;
    list_push_back(&door->relays->conns, &conn->link);
    door->relays->conn_count++;
    door->relays->open++;
    net_sock_start(sock, &events, conn);
}

int lab_relays_add(struct lab_relays *relays, unsigned n, uint16_t target_port, uint16_t *out_port,
                   struct err *err)
{
    struct door *door = &relays->doors[n];
    struct net_addr addr = {.host = "127.0.0.1"};
    int rc;

    ASSERT(n >= 1);
    ASSERT(n <= LAB_MEMBERS_MAX);
    ASSERT(door->listener == NULL);
    *door = (struct door){.relays = relays, .n = n, .target_port = target_port};
    rc = net_listen(relays->loop, &addr, NULL, on_accept, door, &door->listener, err);
    if (rc == 0) {
        relays->open++;
        *out_port = net_listener_port(door->listener);
    }
    return rc;
}

/* ---- faults ---- */

/* What goes on may close connections: the one after it stays. */
static void wake_all(struct lab_relays *relays)
{
    LIST_EACH_SAFE (node, &relays->conns) {
        go_on(LIST_ENTRY(node, struct conn, link));
    }
}

void lab_relays_cut(struct lab_relays *relays, unsigned from, unsigned to, bool cut)
{
    link_of(relays, from, to)->cut = cut;
    wake_all(relays);
}

bool lab_relays_is_cut(const struct lab_relays *relays, unsigned from, unsigned to)
{
    return link_of(relays, from, to)->cut;
}

void lab_relays_delay(struct lab_relays *relays, unsigned from, unsigned to, uint64_t delay_ms)
{
    link_of(relays, from, to)->delay_ms = delay_ms;
}

uint64_t lab_relays_delay_of(const struct lab_relays *relays, unsigned from, unsigned to)
{
    return link_of(relays, from, to)->delay_ms;
}

void lab_relays_thin(struct lab_relays *relays, unsigned from, unsigned to,
                     uint64_t bytes_per_second)
{
    link_of(relays, from, to)->bytes_per_second = bytes_per_second;
    wake_all(relays);
}

uint64_t lab_relays_thin_of(const struct lab_relays *relays, unsigned from, unsigned to)
{
    return link_of(relays, from, to)->bytes_per_second;
}

bool lab_relays_is_slow(const struct lab_relays *relays, unsigned from, unsigned to)
{
    const struct link_state *link = link_of(relays, from, to);

    return link->delay_ms != 0 || link->bytes_per_second != 0;
}

uint64_t lab_relays_heard_at(const struct lab_relays *relays, unsigned from, unsigned to)
{
    return link_of(relays, from, to)->heard_at;
}

uint64_t lab_relays_bytes(const struct lab_relays *relays, unsigned from, unsigned to)
{
    return link_of(relays, from, to)->bytes;
}

static void on_door_closed(void *ctx)
{
    finish(ctx);
}

void lab_relays_close(struct lab_relays *relays, void (*cb)(void *ctx), void *ctx)
{
    relays->closing = true;
    relays->closed = cb;
    relays->ctx = ctx;
    relays->open++; /* until all closing has begun */
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if (relays->doors[n].listener != NULL)
            net_listener_close(relays->doors[n].listener, on_door_closed, relays);
    }
    LIST_EACH (node, &relays->conns) {
        conn_close(LIST_ENTRY(node, struct conn, link));
    }
    finish(relays);
}
