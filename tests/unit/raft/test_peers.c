/* Members on real loopback sockets in one loop, and raw sockets that pretend to be members. Events
 * are awaited; a watchdog fails a test that waits in vain. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/mem.h"
#include "base/prng.h"
#include "raft/hello.h"
#include "raft/peers.h"

enum { WATCHDOG_MS = 20000, NODES_MAX = 3, RAWS_MAX = 80, CLUSTER = 0xc1, PEER = 2 };

/* A member with all that its peers reported. */
struct node {
    struct fixture *f;
    uint64_t id;
    uint64_t cluster;
    int reserved_fd; /* keeps the port ours while nobody listens */
    struct net_addr addr;
    struct peers *peers; /* NULL: not running */
    int closes;
    int ups[NODES_MAX + 1], downs[NODES_MAX + 1]; /* by the other's id */
    bool up[NODES_MAX + 1];
    int frames;
    struct buf got; /* all frames joined */
    size_t last_len;
    int troubles;
    uint64_t trouble_id;
    char trouble[600];
    int refuse_frames; /* the next frames are answered with an error */
    bool close_on_frame, close_on_up;
    bool count_only;
    int bulk_ups, bulk_downs;
    struct buf bulk; /* bulk frames that a peer sent, joined; each is answered with its length */
    struct buf bulk_answers;
    bool refuse_bulk;
    uint64_t removed; /* a member that is none any more; 0: nobody was removed */
    int told_removed;
    uint64_t stranger;
    uint64_t lost;
    unsigned lost_count;
    struct net_addr stranger_addr;
};

/* A raw socket: a stranger that connects, or one that a raw listener accepted. */
struct raw {
    struct fixture *f;
    struct net_sock *sock;
    bool connected, ended;
    struct buf got;
    bool answer_hello; /* welcomes whoever says hello */
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t watchdog;
    struct node nodes[NODES_MAX];
    struct raw raws[RAWS_MAX];
    struct net_listener *listener; /* of raw members */
    int accepted;
    bool welcome;
    struct peers_options tuning;
};

/* ---- events ---- */

static void happened(struct fixture *f)
{
    uv_stop(&f->loop); /* end this turn without waiting for more */
}

static void on_peers_closed(void *ctx)
{
    struct node *node = ctx;

    node->closes++;
    happened(node->f);
}

static void stop(struct node *node)
{
    struct peers *peers = node->peers;

    node->peers = NULL;
    if (peers != NULL)
        peers_close(peers, on_peers_closed, node);
}

static int on_frame(void *ctx, uint64_t from, struct slice frame, struct err *err)
{
    struct node *node = ctx;

    (void)from;
    assert_non_null(node->peers);
    node->frames++;
    node->last_len = frame.len;
    if (!node->count_only)
        assert_int_equal(buf_append(&node->got, frame.data, frame.len), 0);
    happened(node->f);
    if (node->close_on_frame)
        stop(node);
    if (node->refuse_frames > 0) {
        node->refuse_frames--;
        return err_set(err, KV_EPROTO, "bad term");
    }
    return 0;
}

static int on_bulk(void *ctx, uint64_t from, bool ours, struct slice frame, struct err *err)
{
    struct node *node = ctx;
    uint8_t len[8];

    happened(node->f);
    if (node->refuse_bulk)
        return err_set(err, KV_EPROTO, "not this");
    assert_int_equal(buf_append(ours ? &node->bulk_answers : &node->bulk, frame.data, frame.len),
                     0);
    put_le64(len, frame.len);
    if (!ours)
        peers_bulk_answer(node->peers, from, slice_of(len, sizeof len));
    return 0;
}

static void on_bulk_up(void *ctx, uint64_t id, bool up)
{
    struct node *node = ctx;

    (void)id;
    node->bulk_ups += up;
    node->bulk_downs += !up;
    happened(node->f);
}

static void on_peer(void *ctx, uint64_t id, bool up)
{
    struct node *node = ctx;

    assert_non_null(node->peers);
    assert_true(node->up[id] != up);
    node->up[id] = up;
    node->ups[id] += up;
    node->downs[id] += !up;
    happened(node->f);
    if (node->close_on_up && up)
        stop(node);
}

static void on_trouble(void *ctx, uint64_t id, const char *text)
{
    struct node *node = ctx;

    assert_non_null(node->peers);
    node->troubles++;
    node->trouble_id = id;
    snprintf(node->trouble, sizeof node->trouble, "%s", text);
    happened(node->f);
}

static bool is_removed(void *ctx, uint64_t id)
{
    return ((struct node *)ctx)->removed == id;
}

static void on_removed(void *ctx)
{
    struct node *node = ctx;

    node->told_removed++;
    happened(node->f);
}

static void on_stranger(void *ctx, uint64_t id, const struct net_addr *addr)
{
    struct node *node = ctx;

    node->stranger = id;
    node->stranger_addr = *addr;
    happened(node->f);
}

static void on_lost(void *ctx, uint64_t id)
{
    struct node *node = ctx;

    node->lost = id;
    node->lost_count++;
}

static void describe(void *ctx, struct buf *out)
{
    (void)ctx;
    assert_int_equal(buf_append(out, "we are two", 10), 0);
}

static void raw_welcome(struct raw *raw)
{
    struct hello hello;
    uint8_t answer[HELLO_SIZE];

    if (!raw->answer_hello || raw->got.len < HELLO_SIZE)
        return;
    raw->answer_hello = false;
    assert_true(hello_decode(raw->got.data, &hello));
    hello_encode(&(struct hello){.version = HELLO_VERSION,
                                 .cluster_id = hello.cluster_id,
                                 .from = hello.to,
                                 .to = hello.from},
                 answer);
    assert_int_equal(net_sock_write(raw->sock, slice_of(answer, sizeof answer)), 0);
}

static void on_raw_connect(void *ctx, int status, const struct err *err)
{
    struct raw *raw = ctx;

    if (status != 0)
        fail_msg("%s", err->text);
    raw->connected = true;
    happened(raw->f);
}

static void on_raw_read(void *ctx, struct slice bytes)
{
    struct raw *raw = ctx;

    assert_int_equal(buf_append(&raw->got, bytes.data, bytes.len), 0);
    raw_welcome(raw);
    happened(raw->f);
}

static void on_raw_end(void *ctx, int status)
{
    struct raw *raw = ctx;

    (void)status; /* an end is an end */
    raw->ended = true;
    happened(raw->f);
}

static const struct net_sock_events raw_events = {
    .on_connect = on_raw_connect, .on_read = on_raw_read, .on_end = on_raw_end};

static void on_raw_accept(void *ctx, struct net_sock *sock)
{
    struct fixture *f = ctx;
    struct raw *raw = &f->raws[f->accepted++];

    assert_true(f->accepted <= RAWS_MAX);
    raw->sock = sock;
    raw->connected = true;
    raw->answer_hello = f->welcome;
    net_sock_start(sock, &raw_events, raw);
    happened(f);
}

/* ---- the fixture ---- */

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("waited %d ms in vain", WATCHDOG_MS);
}

static void turn(struct fixture *f)
{
    uv_run(&f->loop, UV_RUN_ONCE);
}

#define AWAIT(f, cond)                                                                             \
    while (!(cond))                                                                                \
    turn(f)

/* Bound with SO_REUSEADDR, as the listener does, so that nobody else is given the port. */
static int reserve_port(uint16_t *port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    *port = ntohs(addr.sin_port);
    return fd;
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    assert_int_equal(uv_loop_init(&f->loop), 0);
    uv_timer_init(&f->loop, &f->watchdog);
    uv_timer_start(&f->watchdog, on_watchdog, WATCHDOG_MS, 0);
    for (int i = 0; i < NODES_MAX; i++) {
        struct node *node = &f->nodes[i];

        node->f = f;
        node->id = (uint64_t)i + 1;
        node->cluster = CLUSTER;
        strcpy(node->addr.host, "127.0.0.1");
        node->reserved_fd = reserve_port(&node->addr.port);
        buf_init(&node->got, 256 << 20);
        buf_init(&node->bulk, 256 << 20);
        buf_init(&node->bulk_answers, 1 << 20);
    }
    for (int i = 0; i < RAWS_MAX; i++) {
        f->raws[i].f = f;
        buf_init(&f->raws[i].got, 64 << 20);
    }
    *state = f;
    return 0;
}

static void raw_close(struct raw *raw)
{
    struct net_sock *sock = raw->sock;

    raw->sock = NULL;
    if (sock != NULL)
        net_sock_close(sock, NULL, NULL);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < NODES_MAX; i++)
        stop(&f->nodes[i]);
    for (int i = 0; i < RAWS_MAX; i++)
        raw_close(&f->raws[i]);
    if (f->listener != NULL)
        net_listener_close(f->listener, NULL, NULL);
    uv_close((uv_handle_t *)&f->watchdog, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0); /* nothing was left behind */
    for (int i = 0; i < NODES_MAX; i++) {
        buf_release(&f->nodes[i].got);
        buf_release(&f->nodes[i].bulk);
        buf_release(&f->nodes[i].bulk_answers);
        close(f->nodes[i].reserved_fd);
    }
    for (int i = 0; i < RAWS_MAX; i++)
        buf_release(&f->raws[i].got);
    free(f);
    return 0;
}

/* Runs member i of a cluster of count. */
static struct node *start(struct fixture *f, int i, int count)
{
    struct node *node = &f->nodes[i];
    struct peers_options options = f->tuning;
    struct peer_config others[NODES_MAX];
    struct err err = ERR_INIT;

    options.loop = &f->loop;
    options.cluster_id = node->cluster;
    options.self = node->id;
    options.listen = &node->addr;
    options.listen_count = 1;
    options.peers = others;
    options.seed = (uint64_t)i;
    options.ctx = node;
    options.on_frame = on_frame;
    options.on_bulk = on_bulk;
    options.on_bulk_up = on_bulk_up;
    options.on_peer = on_peer;
    options.on_trouble = on_trouble;
    options.is_removed = is_removed;
    options.on_removed = on_removed;
    options.on_stranger = on_stranger;
    options.describe = describe;
    options.on_lost = on_lost;
    for (int j = 0; j < count; j++)
        if (j != i)
            others[options.peer_count++] =
                (struct peer_config){.id = f->nodes[j].id, .addr = f->nodes[j].addr};
    memset(node->up, 0, sizeof node->up);
    if (peers_new(&options, &node->peers, &err) != 0)
        fail_msg("%s", err.text);
    return node;
}

static bool sendable(const struct node *node, uint64_t to)
{
    struct peer_stats stats;

    /* Our own connection is measured as soon as it stands. */
    return peers_stats(node->peers, to, &stats) && stats.round_trip_us > 0;
}

/* Two members that can send to each other. */
static void start_two(struct fixture *f, struct node **a, struct node **b)
{
    *a = start(f, 0, 2);
    *b = start(f, 1, 2);
    AWAIT(f, sendable(*a, 2) && sendable(*b, 1));
}

static void send_text(struct node *from, uint64_t to, const char *text)
{
    peers_send(from->peers, to, slice_str(text));
    peers_flush(from->peers);
}

static bool got(const struct buf *buf, const char *text)
{
    return buf->len == strlen(text) && memcmp(buf->data, text, buf->len) == 0;
}

/* ---- strangers ---- */

static struct raw *raw_connect(struct fixture *f, int slot, const struct node *to)
{
    struct raw *raw = &f->raws[slot];

    assert_int_equal(
        net_sock_connect(&f->loop, &to->addr, NULL, &raw_events, raw, &raw->sock, NULL), 0);
    AWAIT(f, raw->connected);
    return raw;
}

static void raw_write(struct raw *raw, const void *data, size_t len)
{
    assert_int_equal(net_sock_write(raw->sock, slice_of(data, len)), 0);
}

static void raw_hello(struct raw *raw, struct hello hello)
{
    uint8_t bytes[HELLO_SIZE];

    hello_encode(&hello, bytes);
    raw_write(raw, bytes, sizeof bytes);
}

static struct hello good_hello(uint64_t incarnation, uint64_t attempt)
{
    return (struct hello){.version = HELLO_VERSION,
                          .cluster_id = CLUSTER,
                          .from = PEER,
                          .to = 1,
                          .incarnation = incarnation,
                          .attempt = attempt};
}

static struct hello raw_answer(struct raw *raw)
{
    struct hello answer;

    AWAIT(raw->f, raw->got.len >= HELLO_SIZE || raw->ended);
    assert_true(raw->got.len >= HELLO_SIZE);
    assert_true(hello_decode(raw->got.data, &answer));
    buf_consume(&raw->got, HELLO_SIZE);
    return answer;
}

static void raw_frame(struct raw *raw, enum frame_kind kind, const char *text)
{
    uint8_t header[FRAME_HEADER_SIZE];

    frame_header_encode(kind, strlen(text), header);
    raw_write(raw, header, sizeof header);
    raw_write(raw, text, strlen(text));
}

/* A stranger that node 1 takes for member 2. */
static struct raw *raw_member(struct fixture *f, int slot, uint64_t incarnation, uint64_t attempt)
{
    struct raw *raw = raw_connect(f, slot, &f->nodes[0]);

    raw_hello(raw, good_hello(incarnation, attempt));
    assert_int_equal(raw_answer(raw).verdict, HELLO_WELCOME);
    return raw;
}

static void raw_listen(struct fixture *f, int i, bool welcome)
{
    struct err err = ERR_INIT;

    f->welcome = welcome;
    if (net_listen(&f->loop, &f->nodes[i].addr, NULL, on_raw_accept, f, &f->listener, &err) != 0)
        fail_msg("%s", err.text);
}

/* ---- frames ---- */

static void frames_arrive_in_order_and_once(void **state)
{
    enum { COUNT = 2000 };
    struct fixture *f = *state;
    struct node *a, *b;
    struct buf expect;
    char text[32];

    start_two(f, &a, &b);
    buf_init(&expect, 1 << 20);
    for (int i = 0; i < COUNT; i++) {
        int len = snprintf(text, sizeof text, "frame %d;", i);

        peers_send(a->peers, 2, slice_of(text, (size_t)len));
        buf_append(&expect, text, (size_t)len);
        if (i % 7 == 0)
            peers_flush(a->peers);
    }
    peers_flush(a->peers);
    AWAIT(f, b->frames == COUNT);
    assert_int_equal(b->got.len, expect.len);
    assert_memory_equal(b->got.data, expect.data, expect.len);
    assert_int_equal(a->frames, 0);
    send_text(b, 1, "back");
    AWAIT(f, a->frames == 1);
    assert_true(got(&a->got, "back"));
    buf_release(&expect);
}

static void the_largest_frame_arrives_whole(void **state)
{
    struct fixture *f = *state;
    uint8_t *data = xmalloc(PEER_FRAME_MAX);
    struct node *a, *b;
    struct peer_stats stats;

    for (size_t i = 0; i < PEER_FRAME_MAX; i++)
        data[i] = (uint8_t)(i * 31 + (i >> 10));
    start_two(f, &a, &b);
    peers_send(a->peers, 2, slice_of(data, PEER_FRAME_MAX));
    assert_int_equal(peers_queued(a->peers, 2), PEER_FRAME_MAX + FRAME_HEADER_SIZE);
    peers_flush(a->peers);
    send_text(a, 2, "after");
    AWAIT(f, b->frames == 2);
    assert_int_equal(b->got.len, PEER_FRAME_MAX + 5);
    assert_memory_equal(b->got.data, data, PEER_FRAME_MAX);
    assert_int_equal(peers_queued(a->peers, 2), 0);
    assert_true(peers_stats(a->peers, 2, &stats));
    assert_int_equal(stats.sent_bytes, PEER_FRAME_MAX + 5 + 2 * FRAME_HEADER_SIZE);
    assert_int_equal(stats.sent_failures, 0);
    free(data);
}

/* Bytes one by one: no boundary of a read matters. */
static void a_frame_may_come_in_any_pieces(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2);
    struct raw *raw = raw_connect(f, 0, a);
    uint8_t bytes[HELLO_SIZE + 2 * FRAME_HEADER_SIZE + 8];
    struct hello hello = good_hello(1, 1);

    hello_encode(&hello, bytes);
    frame_header_encode(FRAME_RAFT, 5, bytes + HELLO_SIZE);
    memcpy(bytes + HELLO_SIZE + 4, "first", 5);
    frame_header_encode(FRAME_RAFT, 3, bytes + HELLO_SIZE + 9);
    memcpy(bytes + HELLO_SIZE + 13, "2nd", 3);
    for (size_t i = 0; i < sizeof bytes; i++) {
        raw_write(raw, &bytes[i], 1);
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    AWAIT(f, a->frames == 2);
    assert_true(got(&a->got, "first2nd"));
}

static void a_frame_without_connection_is_dropped_and_counted(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2);
    struct peer_stats stats;

    peers_send(a->peers, 2, slice_str("lost"));
    peers_send(a->peers, 77, slice_str("to nobody"));
    peers_flush(a->peers);
    assert_int_equal(peers_queued(a->peers, 2), 0);
    assert_true(peers_stats(a->peers, 2, &stats));
    assert_false(stats.connected);
    assert_int_equal(stats.sent_failures, 1);
    assert_false(peers_stats(a->peers, 77, &stats));
}

static void a_full_queue_drops_and_keeps_its_bound(void **state)
{
    enum { QUEUE = 1 << 20, SIZE = 64 << 10 };
    struct fixture *f = *state;
    static uint8_t data[SIZE];
    struct peer_stats stats;
    struct node *a;

    f->tuning.queue_max = QUEUE;
    raw_listen(f, 1, true);
    a = start(f, 0, 2);
    AWAIT(f, a->ups[2] == 1);
    net_sock_pause(f->raws[0].sock);
    do {
        peers_send(a->peers, 2, slice_of(data, sizeof data));
        peers_flush(a->peers);
        assert_true(peers_queued(a->peers, 2) <= QUEUE);
        peers_stats(a->peers, 2, &stats);
    } while (stats.sent_failures == 0);
    assert_true(peers_queued(a->peers, 2) > QUEUE - SIZE - 100);
    net_sock_resume(f->raws[0].sock);
    AWAIT(f, peers_queued(a->peers, 2) == 0);
}

static void a_frame_that_is_refused_costs_the_connection_for_a_while(void **state)
{
    struct fixture *f = *state;
    struct node *a, *b;

    start_two(f, &a, &b);
    b->refuse_frames = 1;
    send_text(a, 2, "wrong");
    peers_send(a->peers, 2, slice_str("never delivered"));
    AWAIT(f, b->troubles == 1);
    assert_non_null(strstr(b->trouble, "bad term"));
    assert_int_equal(b->trouble_id, 1);
    b->frames = 0;
    /* The connection comes back by itself. Its end is seen first. */
    while (b->frames == 0) {
        send_text(a, 2, "right");
        turn(f);
    }
    assert_int_equal(b->last_len, 5);
}

/* ---- up and down ---- */

static void a_member_that_stops_is_down_at_once_and_up_again_after_its_restart(void **state)
{
    struct fixture *f = *state;
    struct node *a, *b;
    uint64_t before;

    start_two(f, &a, &b);
    before = uv_hrtime();
    stop(b);
    AWAIT(f, a->downs[2] == 1);
    assert_true(uv_hrtime() - before < 500000000);
    AWAIT(f, a->troubles == 1); /* refused */
    assert_non_null(strstr(a->trouble, "Connection refused"));

    b = start(f, 1, 2);
    AWAIT(f, a->ups[2] == 2 && sendable(b, 1));
    send_text(b, 1, "I am back");
    AWAIT(f, a->frames == 1);
    while (b->frames == 0) {
        send_text(a, 2, "hello");
        turn(f);
    }
    assert_int_equal(a->downs[2], 1);
}

static void trouble_that_lasts_is_told_once(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2);
    struct node *b;

    AWAIT(f, a->troubles == 1);
    raw_listen(f, 1, false); /* an end to the refusals */
    AWAIT(f, f->accepted == 1);
    assert_int_equal(a->troubles, 1);
    net_listener_close(f->listener, NULL, NULL);
    f->listener = NULL;
    raw_close(&f->raws[0]);
    b = start(f, 1, 2);
    AWAIT(f, a->ups[2] == 1 && b->ups[1] == 1);
}

static void three_members_all_meet_and_see_one_leave(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 3), *b = start(f, 1, 3), *c = start(f, 2, 3);

    AWAIT(f, sendable(a, 2) && sendable(a, 3) && sendable(b, 1) && sendable(b, 3) &&
                 sendable(c, 1) && sendable(c, 2));
    peers_send(a->peers, 2, slice_str("to b"));
    peers_send(a->peers, 3, slice_str("to c"));
    peers_flush(a->peers);
    AWAIT(f, b->frames == 1 && c->frames == 1);
    assert_true(got(&b->got, "to b"));
    assert_true(got(&c->got, "to c"));
    stop(a);
    AWAIT(f, b->downs[1] == 1 && c->downs[1] == 1);
    assert_true(b->up[3] && c->up[2]);
}

/* ---- who may talk ---- */

static void another_cluster_is_refused_on_both_sides(void **state)
{
    struct fixture *f = *state;
    struct node *a, *b;

    f->nodes[1].cluster = 0xbad;
    a = start(f, 0, 2);
    b = start(f, 1, 2);
    AWAIT(f, a->troubles > 0 && b->troubles > 0);
    AWAIT(f, strstr(a->trouble, "another cluster") != NULL);
    AWAIT(f, strstr(b->trouble, "another cluster") != NULL);
    assert_int_equal(a->ups[2] + b->ups[1], 0);
}

static void a_hello_is_judged_by_every_field(void **state)
{
    static const struct {
        struct hello hello;
        enum hello_verdict verdict;
        const char *text;
    } cases[] = {
        {{.version = HELLO_VERSION + 1, .cluster_id = CLUSTER, .from = 2, .to = 1},
         HELLO_VERSION_DIFFERS,
         "version"},
        {{.version = HELLO_VERSION - 1, .cluster_id = CLUSTER, .from = 2, .to = 1},
         HELLO_VERSION_DIFFERS,
         "version"},
        {{.version = HELLO_VERSION, .lane = 4, .cluster_id = CLUSTER, .from = 2, .to = 1},
         HELLO_VERSION_DIFFERS,
         "version"},
        {{.version = HELLO_VERSION, .cluster_id = 7, .from = 2, .to = 1},
         HELLO_OTHER_CLUSTER,
         "cluster"},
        {{.version = HELLO_VERSION, .cluster_id = CLUSTER, .from = 2, .to = 2},
         HELLO_OTHER_MEMBER,
         "meant for another"},
        {{.version = HELLO_VERSION, .cluster_id = CLUSTER, .from = 9, .to = 1},
         HELLO_UNKNOWN,
         "no member"},
        {{.version = HELLO_VERSION, .cluster_id = CLUSTER, .from = 1, .to = 1},
         HELLO_UNKNOWN,
         "no member"},
    };
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct raw *raw = raw_connect(f, (int)i, a);

        raw_hello(raw, cases[i].hello);
        assert_int_equal(raw_answer(raw).verdict, cases[i].verdict);
        AWAIT(f, raw->ended && strstr(a->trouble, cases[i].text) != NULL);
    }
    assert_int_equal(a->ups[2], 0);
}

/* Addresses mixed up: who listens there is another member. */
static void an_answer_of_the_wrong_member_is_not_believed(void **state)
{
    struct fixture *f = *state;
    uint8_t answer[HELLO_SIZE];
    struct node *a;

    raw_listen(f, 1, false);
    a = start(f, 0, 2);
    AWAIT(f, f->accepted == 1 && f->raws[0].got.len == HELLO_SIZE);
    hello_encode(
        &(struct hello){.version = HELLO_VERSION, .cluster_id = CLUSTER, .from = 3, .to = 1},
        answer);
    raw_write(&f->raws[0], answer, sizeof answer);
    AWAIT(f, f->raws[0].ended && a->troubles == 1);
    assert_non_null(strstr(a->trouble, "is member 3 of cluster c1"));
    assert_int_equal(a->ups[2], 0);
}

static void a_newer_connection_replaces_the_older(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2);
    struct raw *older, *newer, *late;

    older = raw_member(f, 0, 5, 10);
    raw_frame(older, FRAME_RAFT, "old");
    AWAIT(f, a->frames == 1);
    newer = raw_member(f, 1, 5, 11);
    AWAIT(f, older->ended);
    raw_frame(newer, FRAME_RAFT, "new");
    AWAIT(f, a->frames == 2);
    assert_true(got(&a->got, "oldnew"));
    assert_int_equal(a->ups[2], 1); /* never down meanwhile */

    late = raw_connect(f, 2, a); /* its hello was held up on the way */
    raw_hello(late, good_hello(5, 9));
    assert_int_equal(raw_answer(late).verdict, HELLO_STALE);
    AWAIT(f, late->ended);
    raw_close(newer);
    AWAIT(f, a->downs[2] == 1);
    late = raw_connect(f, 3, a); /* also once the newer has gone */
    raw_hello(late, good_hello(5, 11));
    assert_int_equal(raw_answer(late).verdict, HELLO_STALE);

    raw_member(f, 4, 6, 1); /* a restarted process counts anew */
    AWAIT(f, a->ups[2] == 2);
}

/* Both hellos and frames are in flight at once: nothing of the older follows the newer. */
static void frames_of_an_older_connection_never_follow_the_newers(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2);
    struct raw *older = raw_member(f, 0, 5, 1), *newer = raw_connect(f, 1, a);
    bool seen_new = false;

    for (int i = 0; i < 100; i++)
        raw_frame(older, FRAME_RAFT, "o");
    raw_hello(newer, good_hello(5, 2));
    for (int i = 0; i < 100; i++)
        raw_frame(newer, FRAME_RAFT, "n");
    AWAIT(f, a->got.len >= 100 && a->got.data[a->got.len - 100] == 'n');
    for (size_t i = 0; i < a->got.len; i++) {
        seen_new = seen_new || a->got.data[i] == 'n';
        assert_int_equal(a->got.data[i], seen_new ? 'n' : 'o');
    }
}

/* ---- malformed ---- */

static void a_malformed_frame_ends_the_connection_with_a_reason(void **state)
{
    static const struct {
        uint32_t word;
        const char *text;
    } cases[] = {
        {0, "empty"},
        {PEER_FRAME_MAX + 1, "larger"},
        {0x3fffffff, "larger"},
        {0x40000007, "malformed ping"},
        {0x40000000, "malformed ping"},
        {0x7fffffff, "malformed ping"},
        {0x80000008, "nobody sent"},
        {0xc0000000, "sign of life"},
        {0xffffffff, "sign of life"},
    };
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct raw *raw = raw_member(f, (int)i, i + 1, 1);
        uint8_t word[4];

        put_le32(word, cases[i].word);
        raw_write(raw, word, sizeof word);
        AWAIT(f, raw->ended && a->downs[2] == (int)i + 1);
        if (strstr(a->trouble, cases[i].text) == NULL)
            fail_msg("%08x: %s", cases[i].word, a->trouble);
    }
    assert_int_equal(a->frames, 0);
}

static void the_other_way_round_a_frame_is_malformed_too(void **state)
{
    struct fixture *f = *state;
    struct node *a;
    uint8_t header[FRAME_HEADER_SIZE];

    raw_listen(f, 1, true);
    a = start(f, 0, 2);
    AWAIT(f, a->ups[2] == 1);
    frame_header_encode(FRAME_RAFT, 1, header);
    raw_write(&f->raws[0], header, sizeof header);
    AWAIT(f, a->downs[2] == 1);
    assert_non_null(strstr(a->trouble, "the connection that is for ours"));
}

static void garbage_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2);
    struct raw *raw = raw_connect(f, 0, a);
    static const char http[] =
        "GET /members HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n....";

    raw_write(raw, http, sizeof http);
    AWAIT(f, raw->ended && strstr(a->trouble, "does not speak our protocol") != NULL);
    assert_int_equal(a->trouble_id, 0);
}

/* Good beginnings with a few wrong bytes, in any pieces. Whatever they say, the member goes on. */
static void random_bytes_never_break_a_member(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = (uint64_t)time(NULL);
    struct node *a = start(f, 0, 2);
    struct raw *raw = &f->raws[0];
    struct prng prng;

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (uint64_t round = 0; round < 500; round++) {
        uint8_t bytes[HELLO_SIZE + 64];
        struct hello hello = good_hello(round + 1, 1);
        size_t cut = prng_between(&prng, 1, sizeof bytes);

        raw->connected = raw->ended = false;
        buf_reset(&raw->got);
        raw_connect(f, 0, a);
        hello_encode(&hello, bytes);
        for (size_t i = HELLO_SIZE; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(prng_chance(&prng, 500000) ? 0 : prng_next(&prng));
        if (prng_chance(&prng, 300000))
            bytes[prng_between(&prng, 0, HELLO_SIZE - 1)] ^=
                (uint8_t)(1 << prng_between(&prng, 0, 7));
        raw_write(raw, bytes, cut);
        uv_run(&f->loop, UV_RUN_NOWAIT);
        if (cut < sizeof bytes && !raw->ended)
            (void)net_sock_write(raw->sock, slice_of(bytes + cut, sizeof bytes - cut));
        uv_run(&f->loop, UV_RUN_NOWAIT);
        raw_close(raw);
    }
    a->frames = 0;
    raw->connected = raw->ended = false;
    buf_reset(&raw->got);
    raw_member(f, 0, 1000, 1);
    raw_frame(raw, FRAME_RAFT, "fine");
    buf_reset(&a->got);
    AWAIT(f, got(&a->got, "fine"));
}

/* ---- silence ---- */

static void a_peer_that_does_not_pong_is_dropped_in_bounded_time(void **state)
{
    struct fixture *f = *state;
    uint64_t before;
    struct node *a;

    f->tuning.ping_interval_ms = 20;
    f->tuning.dead_after_ms = 100;
    raw_listen(f, 1, true);
    a = start(f, 0, 2);
    AWAIT(f, a->ups[2] == 1);
    before = uv_hrtime();
    AWAIT(f, a->downs[2] == 1);
    assert_true(uv_hrtime() - before >= 80000000);
    assert_true(uv_hrtime() - before < 2000000000);
    assert_non_null(strstr(a->trouble, "does not answer any more"));
}

/* As a member does with pings that end in got; when the last one came is the answer. */
static uint64_t answer_pings(struct raw *raw, int *count)
{
    while (raw->got.len >= FRAME_HEADER_SIZE) {
        enum frame_kind kind;
        uint8_t pong[FRAME_HEADER_SIZE];
        size_t len;

        frame_header_decode(raw->got.data, &kind, &len);
        if (raw->got.len < FRAME_HEADER_SIZE + len)
            break;
        if (kind == FRAME_PING) {
            frame_header_encode(FRAME_PONG, len, pong);
            raw_write(raw, pong, sizeof pong);
            raw_write(raw, raw->got.data + FRAME_HEADER_SIZE, len);
            ++*count;
        }
        buf_consume(&raw->got, FRAME_HEADER_SIZE + len);
    }
    return uv_hrtime() / 1000000;
}

/* With nothing to go along they come at full intervals, here every 400 ms. The first may follow on
 * the hello at any time, so it does not count. */
static void a_ping_that_is_nearly_due_goes_along_with_a_frame(void **state)
{
    struct fixture *f = *state;
    struct raw *raw = &f->raws[0];
    uint64_t before = 0, gap = UINT64_MAX;
    struct node *a;
    int pings = 0;

    f->tuning.ping_interval_ms = 400;
    raw_listen(f, 1, true);
    a = start(f, 0, 2);
    AWAIT(f, a->ups[2] == 1);
    AWAIT(f, raw->got.len > HELLO_SIZE);
    buf_consume(&raw->got, HELLO_SIZE);
    while (gap > 350) {
        int seen = pings;
        uint64_t now;

        send_text(a, 2, "a heartbeat");
        turn(f);
        now = answer_pings(raw, &pings);
        if (pings == seen)
            continue;
        if (pings > 2)
            gap = now - before;
        before = now;
    }
    assert_true(gap >= 250);
}

static void a_peer_that_never_answers_hello_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct node *a;

    f->tuning.ping_interval_ms = 20;
    f->tuning.dead_after_ms = 60;
    raw_listen(f, 1, false);
    a = start(f, 0, 2);
    AWAIT(f, f->accepted == 2 && f->raws[0].ended); /* and it tries again */
    assert_int_equal(a->ups[2], 0);
    assert_non_null(strstr(a->trouble, "does not answer"));
}

static void an_incoming_connection_that_falls_silent_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct raw *member, *stranger;
    struct node *a;

    f->tuning.ping_interval_ms = 20;
    f->tuning.dead_after_ms = 100;
    a = start(f, 0, 2);
    member = raw_member(f, 0, 1, 1);
    stranger = raw_connect(f, 1, a);
    AWAIT(f, member->ended && stranger->ended);
    assert_int_equal(a->downs[2], 1);
}

static void members_that_have_nothing_to_say_stay_connected(void **state)
{
    struct fixture *f = *state;
    struct node *a, *b;
    struct peer_stats before, after;

    f->tuning.ping_interval_ms = 10;
    f->tuning.dead_after_ms = 200;
    start_two(f, &a, &b);
    peers_stats(a->peers, 2, &before);
    do { /* 50 pings of theirs and 50 pongs to ours: 2.5 times the allowed silence */
        turn(f);
        peers_stats(a->peers, 2, &after);
    } while (after.received_bytes - before.received_bytes <
             2 * 50 * (FRAME_HEADER_SIZE + FRAME_TOKEN_SIZE));
    assert_int_equal(a->downs[2] + b->downs[1], 0);
    assert_true(after.round_trip_us > 0);
    assert_true(after.connected);
}

/* A frame that takes longer than the allowed silence holds up the pings behind it: signs of life
 * come back meanwhile, and the drip counts as one. */
static void a_slow_link_is_no_dead_link(void **state)
{
    struct fixture *f = *state;
    struct raw *raw;
    struct node *a;
    uint8_t header[FRAME_HEADER_SIZE];

    f->tuning.ping_interval_ms = 20;
    f->tuning.dead_after_ms = 100;
    a = start(f, 0, 2);
    raw = raw_member(f, 0, 1, 1);
    frame_header_encode(FRAME_RAFT, 20, header);
    raw_write(raw, header, sizeof header);
    for (size_t i = 0; i < 20; i++) {
        AWAIT(f, raw->got.len >= (i + 1) * FRAME_HEADER_SIZE || raw->ended);
        assert_false(raw->ended);
        raw_write(raw, "x", 1);
    }
    AWAIT(f, a->frames == 1);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(get_le32(raw->got.data + 4 * i), 0xc0000000);
}

static void strangers_are_limited_in_number(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2);
    int ended = 0;

    for (int i = 0; i < RAWS_MAX; i++)
        raw_connect(f, i, a);
    while (ended < RAWS_MAX - 64) {
        turn(f);
        ended = 0;
        for (int i = 0; i < RAWS_MAX; i++)
            ended += f->raws[i].ended;
    }
    assert_int_equal(ended, RAWS_MAX - 64);
    assert_non_null(strstr(a->trouble, "too many"));
}

/* ---- open and close ---- */

static void a_port_in_use_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2);
    struct peers *second = NULL;
    struct peers_options options = {.loop = &f->loop,
                                    .cluster_id = CLUSTER,
                                    .self = 9,
                                    .listen = &a->addr,
                                    .listen_count = 1,
                                    .on_frame = on_frame};
    struct peer_config self = {.id = 9};
    struct err err = ERR_INIT;

    assert_int_equal(peers_new(&options, &second, &err), KV_EBUSY);
    options.listen_count = 0;
    options.peers = &self;
    options.peer_count = 1;
    assert_int_equal(peers_new(&options, &second, &err), KV_EINVAL);
    assert_null(second);
}

static void closing_inside_callbacks_is_allowed(void **state)
{
    struct fixture *f = *state;
    struct node *a = &f->nodes[0], *b;

    a->close_on_up = true;
    start(f, 0, 2);
    b = start(f, 1, 2);
    AWAIT(f, a->closes == 1);
    AWAIT(f, !b->up[1]);
    a->close_on_up = false;
    a->close_on_frame = true;
    start(f, 0, 2);
    AWAIT(f, sendable(b, 1));
    AWAIT(f, b->up[1]);
    while (a->frames == 0) {
        peers_send(b->peers, 1, slice_str("one"));
        peers_send(b->peers, 1, slice_str("two"));
        peers_flush(b->peers);
        turn(f);
    }
    AWAIT(f, a->closes == 2);
    assert_int_equal(a->frames, 1); /* the second came in the same read */
}

static void a_listener_tells_its_port(void **state)
{
    struct fixture *f = *state;

    start(f, 0, 2);
    assert_int_equal(peers_port(f->nodes[0].peers, 0), f->nodes[0].addr.port);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- bulk ---- */

static void send_bulk(struct node *from, struct node *to, size_t len)
{
    uint8_t *bytes = xcalloc(1, len);

    peers_bulk_send(from->peers, to->id, slice_of(bytes, len));
    peers_flush(from->peers);
    free(bytes);
}

static void bulk_goes_its_own_way_and_is_answered_there(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2), *b = start(f, 1, 2);

    AWAIT(f, a->up[2] && b->up[1]);
    send_bulk(a, b, 10); /* not open: lost */
    peers_bulk_open(a->peers, 2);
    AWAIT(f, a->bulk_ups == 1);
    send_bulk(a, b, 300000);
    AWAIT(f, b->bulk.len == 300000 && a->bulk_answers.len == 8);
    assert_int_equal(get_le64(a->bulk_answers.data), 300000);
    assert_int_equal(b->got.len, 0);
    assert_int_equal(b->bulk_ups, 0);

    /* Both at once, each on its own connection. */
    peers_bulk_open(b->peers, 1);
    AWAIT(f, b->bulk_ups == 1);
    send_bulk(b, a, 7);
    AWAIT(f, a->bulk.len == 7 && b->bulk_answers.len == 8);

    peers_bulk_close(a->peers, 2);
    peers_bulk_close(b->peers, 1);
    peers_bulk_open(a->peers, 2);
    AWAIT(f, a->bulk_ups == 2);
    assert_int_equal(a->bulk_downs, 0); /* who closes is not told */
    assert_int_equal(a->downs[2], 0);
    assert_int_equal(b->downs[1], 0);
}

/* The receiver drops it; raft's connections do not notice, and it comes up again. */
static void a_broken_bulk_connection_comes_back_alone(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2), *b = start(f, 1, 2);

    AWAIT(f, a->up[2] && b->up[1]);
    peers_bulk_open(a->peers, 2);
    AWAIT(f, a->bulk_ups == 1);
    b->refuse_bulk = true;
    send_bulk(a, b, 100);
    AWAIT(f, a->bulk_downs == 1);
    b->refuse_bulk = false;
    AWAIT(f, a->bulk_ups == 2);
    send_bulk(a, b, 100);
    AWAIT(f, b->bulk.len == 100);
    assert_int_equal(a->downs[2], 0);
    assert_non_null(strstr(b->trouble, "not this"));

    stop(b);
    AWAIT(f, a->bulk_downs == 2);
    b = start(f, 1, 2);
    AWAIT(f, a->bulk_ups == 3);
}

/* ---- others that change ---- */

static struct peer_config config_of(const struct node *node)
{
    return (struct peer_config){.id = node->id, .addr = node->addr};
}

static void a_peer_that_is_added_is_met_and_one_that_is_dropped_is_not_heard(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 1), *b = start(f, 1, 2);
    struct peer_config other = config_of(b);
    struct peer_stats stats;

    AWAIT(f, b->troubles == 1); /* a does not know it */
    assert_non_null(strstr(b->trouble, "no member"));
    peers_set(a->peers, &other, 1);
    AWAIT(f, sendable(a, 2) && sendable(b, 1));
    send_text(a, 2, "welcome");
    AWAIT(f, b->frames == 1);

    peers_set(a->peers, NULL, 0);
    assert_int_equal(a->downs[2], 1);
    assert_false(peers_stats(a->peers, 2, &stats));
    send_text(a, 2, "to nobody");
    AWAIT(f, b->downs[1] == 1 && b->troubles >= 2);
    peers_set(a->peers, &other, 1);
    AWAIT(f, sendable(a, 2) && sendable(b, 1));
    assert_int_equal(b->frames, 1);
}

/* A member that is behind knows neither who leads by now nor where that is. */
static void a_stranger_of_our_cluster_says_where_it_is(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 1), *b = start(f, 1, 2);
    struct peer_config other = {.id = 2};

    AWAIT(f, a->stranger == 2);
    assert_int_equal(a->ups[2], 0);
    other.addr = a->stranger_addr;
    peers_set(a->peers, &other, 1);
    AWAIT(f, sendable(a, 2) && sendable(b, 1));
}

static void a_peer_that_moved_is_found_where_it_is_now(void **state)
{
    struct fixture *f = *state;
    struct node *a, *b;
    struct peer_config moved;

    start_two(f, &a, &b);
    stop(b);
    AWAIT(f, a->downs[2] == 1);
    b->addr = f->nodes[2].addr; /* nobody listens there: it is not started */
    b = start(f, 1, 2);
    moved = config_of(b);
    peers_set(a->peers, &moved, 1);
    while (b->frames == 0) {
        send_text(a, 2, "there you are");
        turn(f);
    }
}

/* It has moved, and who is behind has not heard of it. */
static void a_peer_that_comes_is_dialed_where_it_says_that_it_is(void **state)
{
    struct fixture *f = *state;
    struct node *a, *b;

    start_two(f, &a, &b);
    stop(b);
    AWAIT(f, a->downs[2] == 1);
    b->addr = f->nodes[2].addr;
    b = start(f, 1, 2);
    while (b->frames == 0) {
        send_text(a, 2, "there you are");
        turn(f);
    }
}

static void a_member_that_was_removed_is_told_so(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 1), *b;

    a->removed = 2;
    b = start(f, 1, 2);
    AWAIT(f, b->told_removed > 0);
    assert_non_null(strstr(b->trouble, "removed from the cluster"));
    assert_int_equal(a->ups[2], 0);
}

static void who_asks_who_the_members_are_hears_it_and_needs_be_none(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2);
    struct raw *raw = raw_connect(f, 0, a);
    struct hello answer;

    raw_hello(raw, (struct hello){.version = HELLO_VERSION, .lane = HELLO_LANE_ASKS});
    answer = raw_answer(raw);
    assert_int_equal(answer.verdict, HELLO_WELCOME);
    assert_int_equal(answer.cluster_id, CLUSTER);
    assert_int_equal(answer.from, 1);
    AWAIT(f, raw->got.len >= FRAME_HEADER_SIZE + 10);
    assert_memory_equal(raw->got.data + FRAME_HEADER_SIZE, "we are two", 10);
    assert_int_equal(a->ups[2], 0);
}

/* It is believed of a peer that is not there, and of nobody else; who asks is told who the members
 * are in any case. */
static void a_peer_that_is_not_there_may_say_that_it_lost_all(void **state)
{
    struct fixture *f = *state;
    struct node *a = start(f, 0, 2), *b;
    const struct {
        uint64_t cluster, from;
        unsigned told;
    } rows[] = {{CLUSTER, 2, 1}, {CLUSTER, 9, 1}, {CLUSTER, 1, 1}, {7, 2, 1}, {CLUSTER, 2, 2}};
    int n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct raw *raw = raw_connect(f, n++, a);

        raw_hello(raw, (struct hello){.version = HELLO_VERSION,
                                      .lane = HELLO_LANE_LOST,
                                      .cluster_id = rows[i].cluster,
                                      .from = rows[i].from});
        assert_int_equal(raw_answer(raw).verdict, HELLO_WELCOME);
        AWAIT(f, raw->got.len >= FRAME_HEADER_SIZE + 10);
        assert_int_equal(a->lost_count, rows[i].told);
        assert_int_equal(a->lost, 2);
    }
    b = start(f, 1, 2);
    AWAIT(f, a->ups[2] > 0 && b->ups[1] > 0);
    raw_hello(raw_connect(f, n, a), (struct hello){.version = HELLO_VERSION,
                                                   .lane = HELLO_LANE_LOST,
                                                   .cluster_id = CLUSTER,
                                                   .from = 2});
    assert_int_equal(raw_answer(&f->raws[n]).verdict, HELLO_WELCOME);
    assert_int_equal(a->lost_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_peer_that_is_not_there_may_say_that_it_lost_all),
        TEST(frames_arrive_in_order_and_once),
        TEST(the_largest_frame_arrives_whole),
        TEST(a_frame_may_come_in_any_pieces),
        TEST(a_frame_without_connection_is_dropped_and_counted),
        TEST(a_full_queue_drops_and_keeps_its_bound),
        TEST(a_frame_that_is_refused_costs_the_connection_for_a_while),
        TEST(a_member_that_stops_is_down_at_once_and_up_again_after_its_restart),
        TEST(trouble_that_lasts_is_told_once),
        TEST(three_members_all_meet_and_see_one_leave),
        TEST(another_cluster_is_refused_on_both_sides),
        TEST(a_hello_is_judged_by_every_field),
        TEST(an_answer_of_the_wrong_member_is_not_believed),
        TEST(a_newer_connection_replaces_the_older),
        TEST(frames_of_an_older_connection_never_follow_the_newers),
        TEST(a_malformed_frame_ends_the_connection_with_a_reason),
        TEST(the_other_way_round_a_frame_is_malformed_too),
        TEST(garbage_is_refused_by_name),
        TEST(random_bytes_never_break_a_member),
        TEST(a_peer_that_does_not_pong_is_dropped_in_bounded_time),
        TEST(a_ping_that_is_nearly_due_goes_along_with_a_frame),
        TEST(a_peer_that_never_answers_hello_is_dropped),
        TEST(an_incoming_connection_that_falls_silent_is_dropped),
        TEST(members_that_have_nothing_to_say_stay_connected),
        TEST(a_slow_link_is_no_dead_link),
        TEST(strangers_are_limited_in_number),
        TEST(a_port_in_use_is_an_error),
        TEST(closing_inside_callbacks_is_allowed),
        TEST(a_listener_tells_its_port),
        TEST(bulk_goes_its_own_way_and_is_answered_there),
        TEST(a_broken_bulk_connection_comes_back_alone),
        TEST(a_peer_that_is_added_is_met_and_one_that_is_dropped_is_not_heard),
        TEST(a_stranger_of_our_cluster_says_where_it_is),
        TEST(a_peer_that_moved_is_found_where_it_is_now),
        TEST(a_peer_that_comes_is_dialed_where_it_says_that_it_is),
        TEST(a_member_that_was_removed_is_told_so),
        TEST(who_asks_who_the_members_are_hears_it_and_needs_be_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
