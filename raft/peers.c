/* A connection of ours to each other member carries frames out, and one of theirs brings frames in.
 * There may be a second pair, the bulk lane: opened when peers_bulk_open() asks for it, and used in
 * both directions, so that what is said about a transfer ends with it.
 *
 *   outgoing   DIALING ──▶ GREETING ──▶ UP        incoming   GREETING ──▶ UP
 *              TCP         hello sent   welcomed             no hello yet  belongs to a peer
 *
 * Every connection ends in conn_drop(); an outgoing one is then tried again after a pause. */
#include "raft/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/prng.h"
#include "raft/hello.h"

enum {
    PING_INTERVAL_MS = 1000,
    DEAD_AFTER_MS = 3000,
    QUEUE_MAX = 64 * 1024 * 1024,
    RETRY_MIN_MS = 50, /* the first retry is quick: most often the peer was restarted */
    RETRY_MAX_MS = 1000,
    NAMELESS_MAX = 64, /* incoming connections that have not said who they are */
    BUFFER_KEEP = 64 * 1024,
    TROUBLE_AGAIN_MS = 10000,
    PING_ALONG_MAX = 1024, /* behind more than that a ping would time the frames */
};

enum conn_state { DIALING, GREETING, UP };
enum lane_kind { LANE_RAFT, LANE_BULK, LANES };

struct conn {
    struct list link; /* in peers->nameless until it belongs to a peer */
    struct peers *peers;
    struct peer *peer;     /* NULL: nameless */
    struct net_sock *sock; /* NULL: dropped; memory goes with the socket */
    bool outgoing;
    enum lane_kind kind; /* incoming: once it belongs to a peer */
    enum conn_state state;
    uint64_t born_ms;
    uint64_t heard_ms;     /* when bytes last came in */
    bool heard;            /* bytes came in since the last tick */
    bool ponged;           /* a ping was answered since the last tick */
    bool pinging;          /* a pong to token is due */
    uint64_t token;        /* of the last ping */
    uint64_t pinged_ms;    /* when token was sent */
    uint64_t ping_sent_ns; /* the same, to measure with */
    struct buf in;         /* an incomplete frame with its header */
};

/* What was told last, so that a peer that is down for hours is told once. */
struct trouble {
    char text[256];
    uint64_t at_ms;
};

struct lane {
    struct peer *peer;
    enum lane_kind kind;
    struct conn *out; /* NULL: waiting for retry, or not wanted */
    struct conn *in;  /* the newest; NULL: none */
    uv_timer_t retry;
    uint64_t retry_ms;             /* pause before the next attempt but jitter */
    struct buf queue;              /* frames for the next flush */
    uint64_t incarnation, attempt; /* of its newest connection to us: older ones are refused */
};

struct peer {
    struct peers *peers;
    struct peer_config config;
    struct lane lanes[LANES];
    bool gone; /* no peer any more; kept for what is still being closed, and should it come back */
    struct net_addr seen; /* where its hello came from, with the port it says that it listens on */
    bool was_seen;
    unsigned failures; /* attempts to dial it since one of ours was welcome */
    bool bulk_wanted;
    bool up;      /* as on_peer was told */
    bool bulk_up; /* as on_bulk_up was told */
    struct peer_stats stats;
    struct trouble trouble;
};

struct peers {
    struct peers_options options;
    struct net_listener **listeners;
    struct peer **peer; /* all that ever were: few */
    size_t peer_count;
    struct list nameless;
    size_t nameless_count;
    uv_timer_t tick;
    uint64_t ticked_ms;
    struct prng prng;
    uint64_t incarnation;
    uint64_t attempts;
    struct trouble trouble; /* of connections without a name */
    bool closed;
    size_t closing; /* parts whose close callback is to come */
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

static void dial(struct lane *lane);
static void conn_drop(struct conn *conn, const char *why);

static uint64_t now_ms(const struct peers *peers)
{
    return uv_now(peers->options.loop);
}

/* ---- telling ---- */

static void tell_trouble(struct peers *peers, struct peer *peer, const char *text)
{
    struct trouble *last = peer != NULL ? &peer->trouble : &peers->trouble;

    if (peers->options.on_trouble == NULL || peers->closed)
        return;
    if (strncmp(last->text, text, sizeof last->text - 1) == 0 &&
        now_ms(peers) - last->at_ms < TROUBLE_AGAIN_MS)
        return;
    (void)snprintf(last->text, sizeof last->text, "%s", text); /* cut to fit */
    last->at_ms = now_ms(peers);
    peers->options.on_trouble(peers->options.ctx, peer != NULL ? peer->config.id : 0, text);
}

/* Tells on_peer if the number of connections has become or ceased to be zero. */
static void peer_changed(struct peer *peer)
{
    const struct peers_options *options = &peer->peers->options;
    const struct lane *raft = &peer->lanes[LANE_RAFT];
    bool up = raft->in != NULL || (raft->out != NULL && raft->out->state == UP);

    if (up == peer->up || peer->peers->closed)
        return;
    peer->up = up;
    if (up)
        peer->trouble.text[0] = '\0';
    if (options->on_peer != NULL)
        options->on_peer(options->ctx, peer->config.id, up);
}

/* The connection of ours, for which alone anybody waits. */
static void bulk_changed(struct peer *peer)
{
    const struct peers_options *options = &peer->peers->options;
    const struct conn *out = peer->lanes[LANE_BULK].out;
    bool up = out != NULL && out->state == UP;

    if (up == peer->bulk_up || peer->peers->closed)
        return;
    peer->bulk_up = up;
    if (peer->bulk_wanted && options->on_bulk_up != NULL)
        options->on_bulk_up(options->ctx, peer->config.id, up);
}

static void lane_changed(struct peer *peer, enum lane_kind kind)
{
    if (kind == LANE_RAFT)
        peer_changed(peer);
    else
        bulk_changed(peer);
}

/* ---- connections ---- */

static void part_closed(struct peers *peers);

static struct conn *conn_new(struct peers *peers, bool outgoing)
{
    struct conn *conn = xcalloc(1, sizeof *conn);

    list_init(&conn->link);
    conn->peers = peers;
    conn->outgoing = outgoing;
    conn->state = outgoing ? DIALING : GREETING;
    conn->born_ms = conn->heard_ms = now_ms(peers);
    buf_init(&conn->in, FRAME_HEADER_SIZE + PEER_FRAME_MAX);
    peers->closing++; /* counted down by on_sock_closed */
    return conn;
}

static void on_sock_closed(void *ctx)
{
    struct conn *conn = ctx;
    struct peers *peers = conn->peers;

    buf_release(&conn->in);
    free(conn);
    part_closed(peers);
}

static void nameless_remove(struct conn *conn)
{
    if (conn->outgoing || conn->peer != NULL)
        return;
    list_remove(&conn->link);
    conn->peers->nameless_count--;
}

static void on_retry(uv_timer_t *timer)
{
    dial(CONTAINER_OF(timer, struct lane, retry));
}

/* Pause, doubled up to the maximum, half of it at random; from the start again after a connection
 * that has held for a while. */
static void retry_later(struct lane *lane, uint64_t lived_ms)
{
    uint64_t pause;

    if (lane->peer->gone || (lane->kind == LANE_BULK && !lane->peer->bulk_wanted))
        return;
    if (lived_ms >= RETRY_MAX_MS || lane->retry_ms == 0)
        lane->retry_ms = RETRY_MIN_MS;
    pause = prng_between(&lane->peer->peers->prng, lane->retry_ms / 2, lane->retry_ms);
    lane->retry_ms = MIN(lane->retry_ms * 2, (uint64_t)RETRY_MAX_MS);
    (void)uv_timer_start(&lane->retry, on_retry, pause, 0); /* cannot fail */
}

/* The end of a connection, whatever brought it. why NULL: nothing to tell. */
static void conn_drop(struct conn *conn, const char *why)
{
    struct peers *peers = conn->peers;
    struct peer *peer = conn->peer;
    struct lane *lane = peer != NULL ? &peer->lanes[conn->kind] : NULL;
    struct net_sock *sock = conn->sock;

    if (sock == NULL)
        return;
    conn->sock = NULL;
    nameless_remove(conn);
    net_sock_close(sock, on_sock_closed, conn);
    if (lane != NULL && lane->out == conn) {
        lane->out = NULL;
        peer->failures += conn->state != UP;
        buf_release(&lane->queue);
        if (!peers->closed)
            retry_later(lane, conn->state == UP ? now_ms(peers) - conn->born_ms : 0);
    }
    if (lane != NULL && lane->in == conn) {
        lane->in = NULL;
        peer->stats.received_failures += !peers->closed;
    }
    if (why != NULL)
        tell_trouble(peers, peer, why);
    if (peer != NULL)
        lane_changed(peer, conn->kind);
}

static int write_hello(struct conn *conn, const struct hello *hello)
{
    uint8_t bytes[HELLO_SIZE];

    hello_encode(hello, bytes);
    return net_sock_write(conn->sock, slice_of(bytes, sizeof bytes));
}

/* Small frames of our own, ahead of what waits for the next flush. */
static void write_control(struct conn *conn, enum frame_kind kind, struct slice payload)
{
    uint8_t frame[FRAME_HEADER_SIZE + FRAME_TOKEN_SIZE];

    ASSERT(payload.len <= FRAME_TOKEN_SIZE);
    frame_header_encode(kind, payload.len, frame);
    if (payload.len > 0)
        memcpy(frame + FRAME_HEADER_SIZE, payload.data, payload.len);
    /* Broken: on_end follows. Full: then the other side is silent for other reasons too. */
    (void)net_sock_write(conn->sock, slice_of(frame, FRAME_HEADER_SIZE + payload.len));
}

static void ping_begin(struct conn *conn, uint8_t token[FRAME_TOKEN_SIZE])
{
    conn->pinging = true;
    conn->pinged_ms = now_ms(conn->peers);
    conn->ping_sent_ns = uv_hrtime();
    put_le64(token, ++conn->token);
}

static void ping(struct conn *conn)
{
    uint8_t token[FRAME_TOKEN_SIZE];

    if (conn->pinging)
        return;
    ping_begin(conn, token);
    write_control(conn, FRAME_PING, slice_of(token, sizeof token));
}

/* ---- hello ---- */

static struct peer *peer_find(const struct peers *peers, uint64_t id)
{
    for (size_t i = 0; i < peers->peer_count; i++)
        if (peers->peer[i]->config.id == id && !peers->peer[i]->gone)
            return peers->peer[i];
    return NULL;
}

/* Of two connections from one life of a process the later one counts, in whatever order their
 * hellos come through (guard G16). A life that we do not know is a newer one. */
static bool is_stale(const struct peer *peer, const struct hello *hello)
{
    const struct lane *lane = &peer->lanes[hello->lane];

    return hello->incarnation == lane->incarnation && hello->attempt <= lane->attempt;
}

static bool comes_from_its_host(const struct conn *conn, const struct peer *peer)
{
    struct net_addr from;

    if (!conn->peers->options.check_peer_host || !net_sock_peer_names_hosts(conn->sock))
        return true;
    return net_sock_peer_is_host(conn->sock, peer->config.addr.host) ||
           (net_addr_parse(net_sock_peer(conn->sock), &from, NULL) == 0 &&
            net_sock_peer_is_host(conn->sock, from.host));
}

static bool is_removed(const struct peers *peers, uint64_t id)
{
    return peers->options.is_removed != NULL && peers->options.is_removed(peers->options.ctx, id);
}

static enum hello_verdict judge(const struct conn *conn, const struct hello *hello,
                                const struct peer *peer)
{
    const struct peers *peers = conn->peers;

    if (hello->version != HELLO_VERSION || hello->lane >= LANES)
        return HELLO_VERSION_DIFFERS;
    if (hello->cluster_id != peers->options.cluster_id)
        return HELLO_OTHER_CLUSTER;
    if (hello->to != peers->options.self)
        return HELLO_OTHER_MEMBER;
    if (peer == NULL)
        return is_removed(peers, hello->from) ? HELLO_REMOVED : HELLO_UNKNOWN;
    if (!comes_from_its_host(conn, peer))
        return HELLO_OTHER_HOST;
    return is_stale(peer, hello) ? HELLO_STALE : HELLO_WELCOME;
}

/* To one that wants to join: it hangs up when it has heard. */
static void answer_who(struct conn *conn)
{
    const struct peers_options *options = &conn->peers->options;
    struct hello answer = {
        .version = HELLO_VERSION, .cluster_id = options->cluster_id, .from = options->self};
    uint8_t header[FRAME_HEADER_SIZE];
    struct buf text;

    buf_init(&text, PEER_FRAME_MAX);
    options->describe(options->ctx, &text);
    frame_header_encode(FRAME_RAFT, text.len, header);
    (void)write_hello(conn, &answer); /* broken: on_end follows; so below */
    (void)net_sock_write(conn->sock, slice_of(header, sizeof header));
    (void)net_sock_write(conn->sock, buf_slice(&text));
    buf_release(&text);
}

/* Where who says hello listens, as far as can be told from here. */
static bool seen_at(const struct conn *conn, const struct hello *hello, struct net_addr *out)
{
    if (hello->port == 0 || net_addr_parse(net_sock_peer(conn->sock), out, NULL) != 0)
        return false;
    out->port = hello->port;
    out->tls = net_sock_is_tls(conn->sock);
    return true;
}

static void tell_stranger(const struct conn *conn, const struct hello *hello)
{
    const struct peers_options *options = &conn->peers->options;
    struct net_addr addr;

    if (options->on_stranger != NULL && hello->from != 0 && hello->from != options->self &&
        seen_at(conn, hello, &addr))
        options->on_stranger(options->ctx, hello->from, &addr);
}

static void welcome(struct conn *conn, const struct hello *hello)
{
    struct peers *peers = conn->peers;
    struct peer *peer = peer_find(peers, hello->from);
    enum hello_verdict verdict = judge(conn, hello, peer);
    struct hello answer = {.version = HELLO_VERSION,
                           .verdict = verdict,
                           .cluster_id = peers->options.cluster_id,
                           .from = peers->options.self,
                           .to = hello->from};
    struct lane *lane;
    struct conn *older;
    char text[200];

    (void)write_hello(conn, &answer); /* broken: on_end follows */
    if (verdict == HELLO_UNKNOWN)
        tell_stranger(conn, hello);
    if (verdict != HELLO_WELCOME) {
        (void)snprintf(text, sizeof text, "connection of member %llx from %.80s refused: %s",
                       (unsigned long long)hello->from, net_sock_peer(conn->sock),
                       hello_verdict_text(verdict));
        conn_drop(conn, text);
        return;
    }
    nameless_remove(conn);
    conn->peer = peer;
    conn->kind = (enum lane_kind)hello->lane;
    conn->state = UP;
    peer->was_seen = seen_at(conn, hello, &peer->seen);
    lane = &peer->lanes[conn->kind];
    lane->incarnation = hello->incarnation;
    lane->attempt = hello->attempt;
    older = lane->in;
    lane->in = conn;
    if (older != NULL)
        conn_drop(older, NULL);
    lane_changed(peer, conn->kind);
    /* It has just come up: no need to wait with ours. */
    if (!peers->closed && conn->kind == LANE_RAFT && lane->out == NULL)
        dial(lane);
}

/* Whoever is still connected as that member has lost nothing. */
static void tell_lost(struct conn *conn, const struct hello *hello)
{
    const struct peers_options *options = &conn->peers->options;
    struct peer *peer = peer_find(conn->peers, hello->from);

    if (options->on_lost != NULL && peer != NULL && hello->cluster_id == options->cluster_id &&
        peer->lanes[LANE_RAFT].in == NULL && comes_from_its_host(conn, peer))
        options->on_lost(options->ctx, hello->from);
}

/* The other side connected and says who it is. */
static void on_hello(struct conn *conn, const struct hello *hello)
{
    bool asks = hello->lane == HELLO_LANE_ASKS || hello->lane == HELLO_LANE_LOST;

    if (hello->version != HELLO_VERSION || !asks || conn->peers->options.describe == NULL) {
        welcome(conn, hello);
        return;
    }
    if (hello->lane == HELLO_LANE_LOST)
        tell_lost(conn, hello);
    answer_who(conn);
}

/* The answer to our hello. */
static void on_answer(struct conn *conn, const struct hello *answer)
{
    const struct peers *peers = conn->peers;
    const struct peers_options *options = &peers->options;
    struct peer *peer = conn->peer;
    char text[200], name[300];

    net_addr_format(&peer->config.addr, name, sizeof name);
    if (answer->verdict != HELLO_WELCOME) {
        (void)snprintf(text, sizeof text, "%.80s refuses our connection: about us, %s", name,
                       hello_verdict_text(answer->verdict));
    } else if (answer->version != HELLO_VERSION || answer->cluster_id != options->cluster_id ||
               answer->from != peer->config.id || answer->to != options->self) {
        (void)snprintf(text, sizeof text, "%.80s is member %llx of cluster %llx", name,
                       (unsigned long long)answer->from, (unsigned long long)answer->cluster_id);
    } else {
        conn->state = UP;
        peer->failures = 0;
        if (conn->kind == LANE_RAFT)
            peer->stats.round_trip_us = 0;
        ping(conn);
        lane_changed(peer, conn->kind);
        return;
    }
    conn_drop(conn, text);
    if (answer->verdict == HELLO_REMOVED && answer->cluster_id == options->cluster_id &&
        options->on_removed != NULL && !peers->closed)
        options->on_removed(options->ctx);
}

static void greet(struct conn *conn, const uint8_t *bytes)
{
    struct hello hello;
    char text[200];

    if (!hello_decode(bytes, &hello)) {
        (void)snprintf(text, sizeof text, "%.80s does not speak our protocol",
                       net_sock_peer(conn->sock));
        conn_drop(conn, text);
    } else if (conn->outgoing) {
        on_answer(conn, &hello);
    } else {
        on_hello(conn, &hello);
    }
}

/* ---- frames ---- */

/* NULL, or what is wrong with a frame of this kind and length on this connection. */
static const char *frame_trouble(const struct conn *conn, enum frame_kind kind, size_t len)
{
    switch (kind) {
    case FRAME_RAFT:
        if (conn->outgoing && conn->kind == LANE_RAFT)
            return "sent a frame on the connection that is for ours";
        if (len == 0)
            return "sent an empty frame";
        return len > PEER_FRAME_MAX ? "sent a frame larger than the limit" : NULL;
    case FRAME_PING:
        if (conn->outgoing)
            return "pinged the wrong way";
        return len != FRAME_TOKEN_SIZE ? "sent a malformed ping" : NULL;
    case FRAME_PONG:
        if (!conn->outgoing)
            return "answered a ping that nobody sent";
        return len != FRAME_TOKEN_SIZE ? "sent a malformed pong" : NULL;
    case FRAME_ALIVE:
        return !conn->outgoing || len != 0 ? "sent a malformed sign of life" : NULL;
    }
    return "sent a frame of no known kind";
}

static void on_raft_frame(struct conn *conn, struct slice frame)
{
    const struct peers_options *options = &conn->peers->options;
    struct err err = ERR_INIT;
    int rc;

    if (conn->kind == LANE_RAFT)
        rc = options->on_frame(options->ctx, conn->peer->config.id, frame, &err);
    else if (options->on_bulk == NULL)
        rc = err_set(&err, KV_EPROTO, "bulk transfers are not spoken here");
    else
        rc = options->on_bulk(options->ctx, conn->peer->config.id, conn->outgoing, frame, &err);
    if (rc == 0)
        return;
    if (err.code == 0)
        err_set(&err, rc, "%s", err_text(rc));
    err_prefix(&err, "frame of member %llx", (unsigned long long)conn->peer->config.id);
    conn_drop(conn, err.text);
}

static void count_round_trip(struct peer_stats *stats, uint64_t us)
{
    size_t n = 0;

    while (n < PEER_ROUND_TRIP_BUCKETS && us > (uint64_t)PEER_ROUND_TRIP_FIRST_US << n)
        n++;
    stats->round_trips[n]++;
    stats->round_trip_sum_us += us;
    stats->round_trip_us = us + 1; /* never 0, which means not measured */
}

static void on_frame(struct conn *conn, enum frame_kind kind, struct slice payload)
{
    switch (kind) {
    case FRAME_RAFT:
        on_raft_frame(conn, payload);
        break;
    case FRAME_PING:
        conn->ponged = true;
        write_control(conn, FRAME_PONG, payload);
        break;
    case FRAME_PONG:
        if (!conn->pinging || get_le64(payload.data) != conn->token)
            break; /* nothing that we wait for, and no harm */
        conn->pinging = false;
        if (conn->kind == LANE_BULK)
            break; /* waits behind what is being sent */
        count_round_trip(&conn->peer->stats, (uv_hrtime() - conn->ping_sent_ns) / 1000);
        break;
    case FRAME_ALIVE:
        break;
    }
}

/* Size of the unit at p (hello or frame) of which have bytes are here: 0 if that cannot be told
 * yet, or if it is malformed and the connection was dropped. */
static size_t unit_size(struct conn *conn, const uint8_t *p, size_t have)
{
    enum frame_kind kind;
    const char *trouble;
    char text[200];
    size_t len;

    if (conn->state != UP)
        return HELLO_SIZE;
    if (have < FRAME_HEADER_SIZE)
        return 0;
    frame_header_decode(p, &kind, &len);
    trouble = frame_trouble(conn, kind, len);
    if (trouble == NULL)
        return FRAME_HEADER_SIZE + len;
    (void)snprintf(text, sizeof text, "%.80s %s", net_sock_peer(conn->sock), trouble);
    conn_drop(conn, text);
    return 0;
}

static void on_unit(struct conn *conn, const uint8_t *p, size_t size)
{
    enum frame_kind kind;
    size_t len;

    if (conn->state != UP) {
        greet(conn, p);
        return;
    }
    frame_header_decode(p, &kind, &len);
    on_frame(conn, kind, slice_of(p + FRAME_HEADER_SIZE, size - FRAME_HEADER_SIZE));
}

/* Takes from bytes what the unit in conn->in lacks: first its header, then the rest. */
static void complete_unit(struct conn *conn, struct slice *bytes)
{
    size_t size = unit_size(conn, conn->in.data, conn->in.len);
    size_t want, take;

    if (conn->sock == NULL)
        return;
    want = size != 0 ? size : FRAME_HEADER_SIZE;
    take = MIN(want - conn->in.len, bytes->len);
    ASSERT(buf_append(&conn->in, bytes->data, take) == 0); /* checked against its bound */
    *bytes = slice_of(bytes->data + take, bytes->len - take);
    if (size == 0)
        size = unit_size(conn, conn->in.data, conn->in.len);
    if (conn->sock == NULL || size == 0 || conn->in.len < size)
        return;
    on_unit(conn, conn->in.data, size);
    if (conn->in.cap > BUFFER_KEEP)
        buf_release(&conn->in);
    buf_reset(&conn->in);
}

static void on_read(void *ctx, struct slice bytes)
{
    struct conn *conn = ctx;

    conn->heard = true;
    conn->heard_ms = now_ms(conn->peers);
    if (conn->peer != NULL)
        conn->peer->stats.received_bytes += bytes.len;
    /* Callbacks may drop the connection at any point. */
    while (conn->sock != NULL && bytes.len > 0) {
        size_t size = conn->in.len == 0 ? unit_size(conn, bytes.data, bytes.len) : 0;

        if (conn->sock == NULL)
            break;
        if (size != 0 && size <= bytes.len) {
            on_unit(conn, bytes.data, size); /* whole: no copy */
            bytes = slice_of(bytes.data + size, bytes.len - size);
        } else {
            complete_unit(conn, &bytes);
        }
    }
}

static void on_end(void *ctx, int status)
{
    struct conn *conn = ctx;
    const char *why = NULL;

    (void)status; /* an end is an end */
    if (net_sock_trouble(conn->sock)[0] != '\0')
        why = net_sock_trouble(conn->sock);
    else if (conn->outgoing && conn->state != UP)
        why = "the connection was closed before it was welcome";
    conn_drop(conn, why);
}

/* ---- connecting ---- */

static void on_connect(void *ctx, int status, const struct err *err)
{
    struct conn *conn = ctx;
    struct peers *peers = conn->peers;
    struct hello hello = {.version = HELLO_VERSION,
                          .cluster_id = peers->options.cluster_id,
                          .from = peers->options.self,
                          .to = conn->peer->config.id,
                          .lane = conn->kind,
                          .port = peers->options.listen_count > 0 ? peers_port(peers, 0) : 0,
                          .incarnation = peers->incarnation,
                          .attempt = ++peers->attempts};

    if (status != 0) {
        conn_drop(conn, err->text);
        return;
    }
    conn->state = GREETING;
    (void)write_hello(conn, &hello); /* broken: on_end follows */
}

static const struct net_sock_events sock_events = {
    .on_connect = on_connect, .on_read = on_read, .on_end = on_end};

/* In turn where it should be, and where it says that it is: it may have moved, and who is behind
 * can only hear so from it, and only if it can answer. */
static const struct net_addr *address_of(const struct peer *peer)
{
    return peer->was_seen && peer->failures % 2 == 1 ? &peer->seen : &peer->config.addr;
}

static void dial(struct lane *lane)
{
    struct peer *peer = lane->peer;
    struct peers *peers = peer->peers;
    struct err err = ERR_INIT;
    struct conn *conn;

    ASSERT(lane->out == NULL);
    (void)uv_timer_stop(&lane->retry); /* cannot fail */
    conn = conn_new(peers, true);
    conn->peer = peer;
    conn->kind = lane->kind;
    if (net_sock_connect(peers->options.loop, address_of(peer), peers->options.tls_connect,
                         &sock_events, conn, &conn->sock, &err) != 0) {
        free(conn);
        peers->closing--;
        tell_trouble(peers, peer, err.text);
        if (!peers->closed)
            retry_later(lane, 0);
        return;
    }
    net_sock_set_pending_max(conn->sock, 2 * peers->options.queue_max); /* we bound it below that */
    lane->out = conn;
}

static void on_accept(void *ctx, struct net_sock *sock)
{
    struct peers *peers = ctx;
    struct conn *conn;

    if (peers->nameless_count >= NAMELESS_MAX) {
        net_sock_close(sock, NULL, NULL);
        tell_trouble(peers, NULL, "too many connections that do not say who they are");
        return;
    }
    conn = conn_new(peers, false);
    conn->sock = sock;
    list_push_back(&peers->nameless, &conn->link);
    peers->nameless_count++;
    net_sock_start(sock, &sock_events, conn);
}

/* ---- time ---- */

static uint64_t unpinged_ms(const struct conn *conn)
{
    return now_ms(conn->peers) - conn->pinged_ms;
}

static void check_outgoing(struct conn *conn, uint64_t silent_ms)
{
    if (silent_ms >= conn->peers->options.dead_after_ms)
        conn_drop(conn, conn->state == UP ? "does not answer any more" : "does not answer");
    else if (conn->state == UP && unpinged_ms(conn) >= conn->peers->options.ping_interval_ms)
        ping(conn);
}

static void check_incoming(struct conn *conn, uint64_t silent_ms)
{
    if (silent_ms >= conn->peers->options.dead_after_ms) {
        conn_drop(conn, conn->peer != NULL ? "its connection to us has fallen silent"
                                           : "a connection that does not say who it is");
        return;
    }
    /* A slow link may hold up pings for longer than a silence may last. */
    if (conn->state == UP && conn->heard && !conn->ponged)
        write_control(conn, FRAME_ALIVE, slice_of(NULL, 0));
    conn->heard = conn->ponged = false;
}

static void check_lane(struct lane *lane, uint64_t now, bool overslept)
{
    const struct peers *peers = lane->peer->peers;

    if (overslept && lane->out != NULL)
        lane->out->heard_ms = now;
    if (overslept && lane->in != NULL)
        lane->in->heard_ms = now;
    if (lane->out != NULL)
        check_outgoing(lane->out, now - lane->out->heard_ms);
    if (lane->in != NULL && !peers->closed)
        check_incoming(lane->in, now - lane->in->heard_ms);
}

static void on_tick(uv_timer_t *timer)
{
    struct peers *peers = CONTAINER_OF(timer, struct peers, tick);
    uint64_t now = now_ms(peers);
    /* If we were asleep ourselves (stopped, no CPU), it is not the others' silence. */
    bool overslept = now - peers->ticked_ms > peers->options.dead_after_ms / 2;

    peers->ticked_ms = now;
    for (size_t i = 0; i < peers->peer_count; i++)
        for (int kind = 0; kind < LANES && !peers->closed; kind++)
            check_lane(&peers->peer[i]->lanes[kind], now, overslept);
    /* Dropping one tells nobody but on_trouble, which may close everything; then the list is
     * empty. Oldest first. */
    while (!list_empty(&peers->nameless)) {
        struct conn *conn = LIST_FIRST(&peers->nameless, struct conn, link);

        if (now - conn->born_ms < peers->options.dead_after_ms)
            break;
        check_incoming(conn, now - conn->born_ms);
    }
}

/* ---- sending ---- */

static size_t lane_queued(const struct lane *lane)
{
    return lane->out == NULL ? 0 : lane->queue.len + net_sock_pending(lane->out->sock);
}

static void lane_send(struct lane *lane, struct slice frame)
{
    struct peer *peer = lane->peer;
    uint8_t header[FRAME_HEADER_SIZE];
    size_t size = FRAME_HEADER_SIZE + frame.len;

    ASSERT(frame.len > 0);
    ASSERT(frame.len <= PEER_FRAME_MAX);
    if (lane->out == NULL || lane->out->state != UP ||
        lane_queued(lane) + size > peer->peers->options.queue_max) {
        peer->stats.sent_failures++;
        return;
    }
    frame_header_encode(FRAME_RAFT, frame.len, header);
    (void)buf_append(&lane->queue, header, sizeof header); /* within its bound, see above */
    (void)buf_append(&lane->queue, frame.data, frame.len);
}

void peers_send(struct peers *peers, uint64_t to, struct slice frame)
{
    struct peer *peer = peer_find(peers, to);

    if (peer != NULL) /* else: not one of us any more */
        lane_send(&peer->lanes[LANE_RAFT], frame);
}

void peers_bulk_open(struct peers *peers, uint64_t to)
{
    struct peer *peer = peer_find(peers, to);

    if (peer == NULL || peer->bulk_wanted || peers->closed)
        return;
    peer->bulk_wanted = true;
    if (peer->lanes[LANE_BULK].out == NULL)
        dial(&peer->lanes[LANE_BULK]);
}

void peers_bulk_close(struct peers *peers, uint64_t to)
{
    struct peer *peer = peer_find(peers, to);

    if (peer == NULL || !peer->bulk_wanted)
        return;
    peer->bulk_wanted = false;
    (void)uv_timer_stop(&peer->lanes[LANE_BULK].retry); /* cannot fail */
    if (peer->lanes[LANE_BULK].out != NULL)
        conn_drop(peer->lanes[LANE_BULK].out, NULL);
}

void peers_bulk_send(struct peers *peers, uint64_t to, struct slice frame)
{
    struct peer *peer = peer_find(peers, to);

    if (peer != NULL)
        lane_send(&peer->lanes[LANE_BULK], frame);
}

/* Answers are small and few: they need no queue. */
void peers_bulk_answer(struct peers *peers, uint64_t to, struct slice frame)
{
    struct peer *peer = peer_find(peers, to);
    struct conn *in = peer != NULL ? peer->lanes[LANE_BULK].in : NULL;
    uint8_t bytes[FRAME_HEADER_SIZE + PEER_ANSWER_MAX];

    ASSERT(frame.len > 0 && frame.len <= PEER_ANSWER_MAX);
    if (in == NULL)
        return;
    frame_header_encode(FRAME_RAFT, frame.len, bytes);
    memcpy(bytes + FRAME_HEADER_SIZE, frame.data, frame.len);
    (void)net_sock_write(in->sock, slice_of(bytes, FRAME_HEADER_SIZE + frame.len)); /* as control */
}

/* A ping that is nearly due goes with frames that leave anyway, heartbeats most of all: by itself
 * it would wake both sides once more. */
static void ping_along(struct lane *lane)
{
    struct conn *conn = lane->out;
    uint8_t frame[FRAME_HEADER_SIZE + FRAME_TOKEN_SIZE];

    if (conn->pinging || lane->queue.len > PING_ALONG_MAX ||
        unpinged_ms(conn) < conn->peers->options.ping_interval_ms * 3ULL / 4)
        return;
    frame_header_encode(FRAME_PING, FRAME_TOKEN_SIZE, frame);
    ping_begin(conn, frame + FRAME_HEADER_SIZE);
    ASSERT(buf_append(&lane->queue, frame, sizeof frame) == 0); /* far from its bound */
}

static void lane_flush(struct lane *lane)
{
    struct peer_stats *stats = &lane->peer->stats;

    if (lane->queue.len == 0)
        return;
    ASSERT(lane->out != NULL);
    ping_along(lane);
    if (net_sock_write(lane->out->sock, buf_slice(&lane->queue)) == 0)
        stats->sent_bytes += lane->queue.len;
    else
        stats->sent_failures++; /* broken: on_end follows */
    if (lane->queue.cap > BUFFER_KEEP)
        buf_release(&lane->queue);
    buf_reset(&lane->queue);
}

void peers_flush(struct peers *peers)
{
    for (size_t i = 0; i < peers->peer_count; i++)
        for (int kind = 0; kind < LANES; kind++)
            lane_flush(&peers->peer[i]->lanes[kind]);
}

size_t peers_queued(const struct peers *peers, uint64_t to)
{
    const struct peer *peer = peer_find(peers, to);

    return peer == NULL ? 0 : lane_queued(&peer->lanes[LANE_RAFT]);
}

bool peers_stats(const struct peers *peers, uint64_t id, struct peer_stats *out)
{
    const struct peer *peer = peer_find(peers, id);

    if (peer == NULL)
        return false;
    *out = peer->stats;
    out->connected = peer->up;
    return true;
}

uint16_t peers_port(const struct peers *peers, size_t n)
{
    ASSERT(n < peers->options.listen_count);
    return net_listener_port(peers->listeners[n]);
}

/* ---- open and close ---- */

static void peers_free(struct peers *peers)
{
    for (size_t i = 0; i < peers->peer_count; i++) {
        for (int kind = 0; kind < LANES; kind++)
            buf_release(&peers->peer[i]->lanes[kind].queue);
        free(peers->peer[i]);
    }
    free(peers->peer);
    free(peers->listeners);
    net_tls_unref(peers->options.tls_accept);
    net_tls_unref(peers->options.tls_connect);
    free(peers);
}

static void part_closed(struct peers *peers)
{
    void (*cb)(void *ctx) = peers->close_cb;
    void *ctx = peers->close_ctx;

    if (--peers->closing > 0 || !peers->closed)
        return;
    peers_free(peers);
    if (cb != NULL)
        cb(ctx);
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

static void on_listener_closed(void *ctx)
{
    part_closed(ctx);
}

static void init_timer(struct peers *peers, uv_timer_t *timer)
{
    (void)uv_timer_init(peers->options.loop, timer); /* cannot fail */
    timer->data = peers;
    peers->closing++;
}

static int listen_all(struct peers *peers, const struct net_addr *addrs, size_t count,
                      struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        int rc = net_listen(peers->options.loop, &addrs[i], peers->options.tls_accept, on_accept,
                            peers, &peers->listeners[i], err);

        if (rc != 0)
            return rc;
        peers->closing++;
        peers->options.listen_count = i + 1;
    }
    return 0;
}

static struct peer *peer_add(struct peers *peers, const struct peer_config *config)
{
    struct peer *peer = xcalloc(1, sizeof *peer);

    peer->peers = peers;
    peer->config = *config;
    for (int kind = 0; kind < LANES; kind++) {
        struct lane *lane = &peer->lanes[kind];

        lane->peer = peer;
        lane->kind = (enum lane_kind)kind;
        buf_init(&lane->queue, peers->options.queue_max);
        init_timer(peers, &lane->retry);
    }
    peers->peer = xrealloc(peers->peer, (peers->peer_count + 1) * sizeof(struct peer *));
    peers->peer[peers->peer_count++] = peer;
    return peer;
}

static void lane_end(struct lane *lane)
{
    if (lane->out != NULL)
        conn_drop(lane->out, NULL);
    if (lane->in != NULL)
        conn_drop(lane->in, NULL);
}

/* ---- other peers ---- */

static void peer_remove(struct peer *peer)
{
    peer->gone = true;
    peer->bulk_wanted = false;
    for (int kind = 0; kind < LANES; kind++) {
        (void)uv_timer_stop(&peer->lanes[kind].retry); /* cannot fail */
        lane_end(&peer->lanes[kind]);
    }
}

static bool same_addr(const struct net_addr *a, const struct net_addr *b)
{
    return a->tls == b->tls && a->is_unix == b->is_unix && a->port == b->port &&
           strcmp(a->host, b->host) == 0;
}

/* What it has opened to us stays. */
static void peer_move(struct peer *peer, const struct net_addr *addr)
{
    peer->config.addr = *addr;
    for (int kind = 0; kind < LANES; kind++)
        if (peer->lanes[kind].out != NULL)
            conn_drop(peer->lanes[kind].out, NULL); /* and is dialed again after a pause */
}

static struct peer *find_gone(const struct peers *peers, uint64_t id)
{
    for (size_t i = 0; i < peers->peer_count; i++)
        if (peers->peer[i]->config.id == id)
            return peers->peer[i];
    return NULL;
}

static void peer_want(struct peers *peers, const struct peer_config *config)
{
    struct peer *peer = peer_find(peers, config->id);

    if (peer != NULL) {
        if (!same_addr(&peer->config.addr, &config->addr))
            peer_move(peer, &config->addr);
        return;
    }
    peer = find_gone(peers, config->id);
    if (peer == NULL)
        peer = peer_add(peers, config);
    peer->gone = false;
    peer->config = *config;
    dial(&peer->lanes[LANE_RAFT]);
}

static bool is_among(const struct peer_config *configs, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (configs[i].id == id)
            return true;
    return false;
}

void peers_set(struct peers *peers, const struct peer_config *others, size_t count)
{
    for (size_t i = 0; i < peers->peer_count && !peers->closed; i++)
        if (!peers->peer[i]->gone && !is_among(others, count, peers->peer[i]->config.id))
            peer_remove(peers->peer[i]);
    for (size_t i = 0; i < count && !peers->closed; i++)
        peer_want(peers, &others[i]);
}

/* ---- open and close ---- */

static void set_defaults(struct peers_options *options)
{
    if (options->ping_interval_ms == 0)
        options->ping_interval_ms = PING_INTERVAL_MS;
    if (options->dead_after_ms == 0)
        options->dead_after_ms = DEAD_AFTER_MS;
    if (options->queue_max == 0)
        options->queue_max = QUEUE_MAX;
}

static int check_options(const struct peers_options *options, struct err *err)
{
    for (size_t i = 0; i < options->peer_count; i++) {
        uint64_t id = options->peers[i].id;

        if (id == 0 || id == options->self)
            return err_set(err, KV_EINVAL, "member id %llx cannot be another member's",
                           (unsigned long long)id);
        for (size_t j = 0; j < i; j++)
            if (options->peers[j].id == id)
                return err_set(err, KV_EINVAL, "member id %llx is given twice",
                               (unsigned long long)id);
    }
    return 0;
}

int peers_new(const struct peers_options *options, struct peers **out, struct err *err)
{
    struct peers *peers;
    int rc;

    rc = check_options(options, err);
    if (rc != 0)
        return rc;
    peers = xcalloc(1, sizeof *peers);
    peers->options = *options;
    (void)net_tls_ref(options->tls_accept);
    (void)net_tls_ref(options->tls_connect);
    set_defaults(&peers->options);
    peers->options.listen_count = 0; /* counted as they open */
    peers->options.listen = NULL;    /* the caller's */
    peers->options.peers = NULL;
    peers->listeners = xcalloc(MAX(options->listen_count, (size_t)1), sizeof(void *));
    list_init(&peers->nameless);
    prng_seed(&peers->prng, options->seed);
    for (size_t i = 0; i < options->peer_count; i++)
        peer_add(peers, &options->peers[i]);
    init_timer(peers, &peers->tick);

    rc = uv_random(NULL, NULL, &peers->incarnation, sizeof peers->incarnation, 0, NULL);
    if (rc != 0)
        rc = err_set(err, KV_EIO, "no random numbers: %s", uv_strerror(rc));
    if (rc == 0)
        rc = listen_all(peers, options->listen, options->listen_count, err);
    if (rc != 0) {
        peers_close(peers, NULL, NULL);
        return rc;
    }
    uv_update_time(options->loop);
    peers->ticked_ms = now_ms(peers);
    (void)uv_timer_start(&peers->tick, on_tick, peers->options.ping_interval_ms,
                         peers->options.ping_interval_ms); /* cannot fail */
    for (size_t i = 0; i < options->peer_count; i++)
        dial(&peers->peer[i]->lanes[LANE_RAFT]);
    *out = peers;
    return 0;
}

void peers_close(struct peers *peers, void (*cb)(void *ctx), void *ctx)
{
    ASSERT(!peers->closed);
    peers->closed = true;
    peers->close_cb = cb;
    peers->close_ctx = ctx;
    for (size_t i = 0; i < peers->peer_count; i++) {
        struct peer *peer = peers->peer[i];

        for (int kind = 0; kind < LANES; kind++) {
            lane_end(&peer->lanes[kind]);
            uv_close((uv_handle_t *)&peer->lanes[kind].retry, on_timer_closed);
        }
    }
    while (!list_empty(&peers->nameless))
        conn_drop(LIST_FIRST(&peers->nameless, struct conn, link), NULL);
    for (size_t i = 0; i < peers->options.listen_count; i++)
        net_listener_close(peers->listeners[i], on_listener_closed, peers);
    uv_close((uv_handle_t *)&peers->tick, on_timer_closed);
}
