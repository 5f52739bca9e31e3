/* The gRPC client against a scripted server, which says every odd thing that a server can say, and
 * against a real etcd. Events are awaited; a watchdog fails a test that waits in vain. */
#include <ftw.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/mem.h"
#include "base/prng.h"
#include "base/version.h"
#include "net/client.h"

enum { WATCHDOG_MS = 30000, CALLS_MAX = 128, PREFACE_SIZE = 24, FRAME_HEADER = 9 };

/* HTTP/2 by hand (RFC 9113 section 6). */
enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7 };
enum { ACK = 1, END_STREAM = 1, END_HEADERS = 4 };

/* One call with all that came of it. */
struct call {
    struct fixture *f;
    struct grpc_stream *stream; /* NULL: none or done */
    struct buf messages;        /* joined */
    int message_count;
    int part_ends; /* messages that ended, with on_part */
    int dones;
    enum grpc_status status;
    enum grpc_sent sent;
    char text[512];
    void (*then_message)(struct call *call); /* inside the callback */
    void (*then_done)(struct call *call);
};

/* A server that answers what the test tells it to. */
struct fake {
    struct net_listener *listener;
    struct net_sock *sock; /* the last accepted */
    struct buf in;
    nghttp2_hd_inflater *inflater;
    bool preface_seen, mute, ignore_pings;
    uint32_t streams_max;       /* announced; 0: none */
    uint32_t client_window;     /* that the client announced */
    int requests, ended, pings; /* HEADERS frames, END_STREAM flags */
    int resets;
    uint32_t reset_code;
    size_t data_bytes;
    char headers[2048]; /* of the last request, as lines */
    bool closed;        /* by the client */
    const char *greeting;
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t watchdog;
    struct net_addr addr;
    struct grpc_conn *conn;
    struct grpc_conn_options options;
    int readies, downs, closes;
    char down_text[512];
    struct call calls[CALLS_MAX];
    struct fake fake;
};

/* ---- the client's events ---- */

static void happened(struct fixture *f)
{
    uv_stop(&f->loop); /* end this turn without waiting for more */
}

static void on_closed(void *ctx)
{
    struct fixture *f = ctx;

    f->closes++;
    happened(f);
}

static void close_conn(struct fixture *f)
{
    struct grpc_conn *conn = f->conn;

    f->conn = NULL;
    if (conn != NULL)
        grpc_conn_close(conn, on_closed, f);
}

static void on_ready(void *ctx)
{
    struct fixture *f = ctx;

    assert_non_null(f->conn);
    f->readies++;
    happened(f);
}

static void on_down(void *ctx, const struct err *err)
{
    struct fixture *f = ctx;

    assert_non_null(f->conn);
    f->downs++;
    strcpy(f->down_text, err->text);
    assert_int_equal(err->code, KV_ECONN);
    for (int i = 0; i < CALLS_MAX; i++)
        assert_null(f->calls[i].stream); /* all have had their on_done */
    happened(f);
}

static const struct grpc_conn_events conn_events = {.on_ready = on_ready, .on_down = on_down};

static void on_message(void *ctx, struct slice message)
{
    struct call *call = ctx;

    assert_non_null(call->f->conn);
    assert_non_null(call->stream);
    call->message_count++;
    assert_int_equal(buf_append(&call->messages, message.data, message.len), 0);
    happened(call->f);
    if (call->then_message != NULL)
        call->then_message(call);
}

static void on_part(void *ctx, struct slice part, uint64_t left)
{
    struct call *call = ctx;

    assert_non_null(call->stream);
    call->part_ends += left == 0;
    assert_int_equal(buf_append(&call->messages, part.data, part.len), 0);
    happened(call->f);
}

static void on_done(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent)
{
    struct call *call = ctx;

    assert_non_null(call->f->conn);
    assert_non_null(call->stream);
    call->stream = NULL;
    call->dones++;
    call->status = status;
    call->sent = sent;
    snprintf(call->text, sizeof call->text, "%s", message);
    happened(call->f);
    if (call->then_done != NULL)
        call->then_done(call);
}

static const struct grpc_stream_events stream_events = {.on_message = on_message,
                                                        .on_done = on_done};
static const struct grpc_stream_events part_events = {.on_part = on_part, .on_done = on_done};

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

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    assert_int_equal(uv_loop_init(&f->loop), 0);
    uv_timer_init(&f->loop, &f->watchdog);
    uv_timer_start(&f->watchdog, on_watchdog, WATCHDOG_MS, 0);
    for (int i = 0; i < CALLS_MAX; i++) {
        f->calls[i].f = f;
        buf_init(&f->calls[i].messages, 64 << 20);
    }
    buf_init(&f->fake.in, 64 << 20);
    *state = f;
    return 0;
}

static void fake_drop(struct fixture *f)
{
    struct net_sock *sock = f->fake.sock;

    f->fake.sock = NULL;
    if (sock != NULL)
        net_sock_close(sock, NULL, NULL);
}

static void fake_close(struct fixture *f)
{
    fake_drop(f);
    if (f->fake.listener != NULL)
        net_listener_close(f->fake.listener, NULL, NULL);
    f->fake.listener = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close_conn(f);
    fake_close(f);
    uv_close((uv_handle_t *)&f->watchdog, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0); /* nothing was left behind */
    for (int i = 0; i < CALLS_MAX; i++)
        buf_release(&f->calls[i].messages);
    buf_release(&f->fake.in);
    if (f->fake.inflater != NULL)
        nghttp2_hd_inflate_del(f->fake.inflater);
    free(f);
    return 0;
}

static void open_conn(struct fixture *f)
{
    struct err err = ERR_INIT;

    if (grpc_conn_new(&f->loop, &f->addr, &f->options, &conn_events, f, &f->conn, &err) != 0)
        fail_msg("%s", err.text);
}

static struct call *open_call(struct fixture *f, int n, const char *path, uint64_t timeout_ms)
{
    struct call *call = &f->calls[n];
    struct err err = ERR_INIT;

    assert_null(call->stream);
    if (grpc_conn_call(f->conn, path, NULL, 0, timeout_ms, &stream_events, call, &call->stream,
                       &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(call->dones, 0); /* never from inside */
    return call;
}

static struct call *unary(struct fixture *f, int n, const char *path, struct slice message)
{
    struct call *call = open_call(f, n, path, 0);

    assert_int_equal(grpc_stream_send(call->stream, message, 1), 0);
    return call;
}

/* ---- the scripted server ---- */

static void frame(struct buf *out, int type, int flags, int32_t stream, const void *payload,
                  size_t len)
{
    uint8_t head[FRAME_HEADER] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,
                                  (uint8_t)type, (uint8_t)flags};

    put_be32(head + 5, (uint32_t)stream);
    assert_int_equal(buf_append(out, head, sizeof head), 0);
    assert_int_equal(buf_append(out, payload, len), 0);
}

/* HPACK: literal without indexing, new name, no Huffman (RFC 7541 section 6.2.2). */
static void field(struct buf *out, const char *name, const char *value)
{
    assert_true(strlen(name) < 127 && strlen(value) < 127);
    buf_append_u8(out, 0);
    buf_append_u8(out, (uint8_t)strlen(name));
    buf_append(out, name, strlen(name));
    buf_append_u8(out, (uint8_t)strlen(value));
    buf_append(out, value, strlen(value));
}

static void headers_frame(struct buf *out, int32_t stream, bool end, const char *const *fields)
{
    struct buf block;

    buf_init(&block, 4096);
    for (; fields[0] != NULL; fields += 2)
        field(&block, fields[0], fields[1]);
    frame(out, HEADERS, END_HEADERS | (end ? END_STREAM : 0), stream, block.data, block.len);
    buf_release(&block);
}

static void message_frame(struct buf *out, int32_t stream, bool end, const char *text)
{
    uint8_t data[256] = {0};
    size_t len = strlen(text);

    put_be32(data + 1, (uint32_t)len);
    memcpy(data + 5, text, len);
    frame(out, DATA, end ? END_STREAM : 0, stream, data, 5 + len);
}

static void say(struct fixture *f, struct buf *bytes)
{
    assert_int_equal(net_sock_write(f->fake.sock, buf_slice(bytes)), 0);
    buf_release(bytes);
}

static const char *const grpc_head[] = {":status", "200", "content-type", "application/grpc", NULL};
static const char *const ok_trailers[] = {"grpc-status", "0", NULL};

static struct buf whole_answer(int32_t stream, const char *text)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    headers_frame(&out, stream, false, grpc_head);
    message_frame(&out, stream, false, text);
    headers_frame(&out, stream, true, ok_trailers);
    return out;
}

static void fake_answer(struct fixture *f, int32_t stream, const char *text)
{
    struct buf out = whole_answer(stream, text);

    say(f, &out);
}

static void fake_settings(struct fixture *f)
{
    uint8_t entries[12] = {0, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,   0x7f, 0xff, 0xff, 0xff,
                           0, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS};
    uint8_t window[4] = {0x7f, 0xff, 0, 0};
    struct buf out;

    put_be32(entries + 8, f->fake.streams_max);
    buf_init(&out, 4096);
    frame(&out, SETTINGS, 0, 0, entries, f->fake.streams_max != 0 ? 12 : 6);
    frame(&out, NGHTTP2_WINDOW_UPDATE, 0, 0, window, sizeof window);
    say(f, &out);
}

static void fake_request(struct fake *fake, const uint8_t *block, size_t len)
{
    size_t at = 0;

    fake->requests++;
    while (true) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(fake->inflater, &nv, &flags, block, len, 1);

        assert_true(n >= 0);
        block += n;
        len -= (size_t)n;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            at += (size_t)snprintf(fake->headers + at, sizeof fake->headers - at, "%s: %s\n",
                                   nv.name, nv.value);
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    nghttp2_hd_inflate_end_headers(fake->inflater);
}

static void fake_frame(struct fixture *f, const uint8_t *head, const uint8_t *payload, size_t len)
{
    struct fake *fake = &f->fake;
    struct buf out;

    if (head[3] == HEADERS)
        fake_request(fake, payload, len);
    if (head[3] == DATA)
        fake->data_bytes += len;
    if ((head[3] == HEADERS || head[3] == DATA) && (head[4] & END_STREAM) != 0)
        fake->ended++;
    for (size_t i = 0; head[3] == SETTINGS && i + 6 <= len; i += 6) {
        if (payload[i + 1] == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE)
            fake->client_window = get_be32(payload + i + 2);
    }
    if (head[3] == RST_STREAM) {
        fake->resets++;
        fake->reset_code = get_be32(payload);
    }
    if (head[3] == PING && (head[4] & ACK) == 0) {
        fake->pings++;
        if (fake->ignore_pings)
            return;
        buf_init(&out, 64);
        frame(&out, PING, ACK, 0, payload, len);
        say(f, &out);
    }
}

static void on_fake_read(void *ctx, struct slice bytes)
{
    struct fixture *f = ctx;
    struct fake *fake = &f->fake;
    size_t len;

    happened(f);
    assert_int_equal(buf_append(&fake->in, bytes.data, bytes.len), 0);
    if (!fake->preface_seen && fake->in.len >= PREFACE_SIZE) {
        assert_memory_equal(fake->in.data, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", PREFACE_SIZE);
        buf_consume(&fake->in, PREFACE_SIZE);
        fake->preface_seen = true;
    }
    while (fake->preface_seen && fake->in.len >= FRAME_HEADER) {
        const uint8_t *p = fake->in.data;

        len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        if (fake->in.len < FRAME_HEADER + len)
            break;
        fake_frame(f, p, p + FRAME_HEADER, len);
        buf_consume(&fake->in, FRAME_HEADER + len);
    }
}

static void on_fake_end(void *ctx, int status)
{
    struct fixture *f = ctx;

    (void)status; /* an end is an end */
    f->fake.closed = true;
    happened(f);
}

static const struct net_sock_events fake_events = {.on_read = on_fake_read, .on_end = on_fake_end};

static void on_fake_accept(void *ctx, struct net_sock *sock)
{
    struct fixture *f = ctx;

    assert_null(f->fake.sock);
    f->fake.sock = sock;
    net_sock_start(sock, &fake_events, f);
    if (f->fake.greeting != NULL)
        assert_int_equal(net_sock_write(sock, slice_str(f->fake.greeting)), 0);
    else if (!f->fake.mute)
        fake_settings(f);
    happened(f);
}

static void fake_start(struct fixture *f)
{
    struct err err = ERR_INIT;

    assert_int_equal(net_addr_parse("http://127.0.0.1:0", &f->addr, &err), 0);
    assert_int_equal(nghttp2_hd_inflate_new(&f->fake.inflater), 0);
    if (net_listen(&f->loop, &f->addr, NULL, on_fake_accept, f, &f->fake.listener, &err) != 0)
        fail_msg("%s", err.text);
    f->addr.port = net_listener_port(f->fake.listener);
}

/* A call that the scripted server has seen whole. */
static struct call *call_seen_by_fake(struct fixture *f)
{
    struct call *call;

    fake_start(f);
    open_conn(f);
    call = unary(f, 0, "/p.S/M", slice_str("question"));
    AWAIT(f, f->fake.ended == 1);
    return call;
}

/* ---- requests ---- */

static void a_request_has_the_headers_of_grpc(void **state)
{
    const struct grpc_metadata metadata[] = {{"token", "secret.1"}, {"hasleader", "true"}};
    struct fixture *f = *state;
    struct call *call = &f->calls[0];
    char expect[512];

    fake_start(f);
    open_conn(f);
    AWAIT(f, f->readies == 1);
    assert_int_equal(grpc_conn_call(f->conn, "/etcdserverpb.KV/Range", metadata, 2, 5000,
                                    &stream_events, call, &call->stream, NULL),
                     0);
    assert_int_equal(grpc_stream_send(call->stream, slice_str("12345"), 1), 0);
    AWAIT(f, f->fake.ended == 1);
    snprintf(expect, sizeof expect,
             ":method: POST\n:scheme: http\n:path: /etcdserverpb.KV/Range\n"
             ":authority: 127.0.0.1:%u\ncontent-type: application/grpc\nte: trailers\n"
             "user-agent: grpc-c-kvd/" KVD_VERSION "\ngrpc-timeout: 5000m\ntoken: secret.1\n"
             "hasleader: true\n",
             f->addr.port);
    assert_string_equal(f->fake.headers, expect);
    assert_int_equal(f->fake.data_bytes, 5 + 5);
}

static void a_call_before_the_connection_stands_keeps_its_metadata(void **state)
{
    struct fixture *f = *state;
    struct call *call = &f->calls[0];
    char path[] = "/p.S/Early", name[] = "token", value[] = "t1";
    struct grpc_metadata metadata = {name, value};

    fake_start(f);
    open_conn(f);
    assert_int_equal(
        grpc_conn_call(f->conn, path, &metadata, 1, 0, &stream_events, call, &call->stream, NULL),
        0);
    assert_int_equal(grpc_stream_send(call->stream, slice_str("x"), 1), 0);
    memset(path, '#', sizeof path - 1);
    memset(name, '#', sizeof name - 1);
    memset(value, '#', sizeof value - 1);
    AWAIT(f, f->fake.ended == 1);
    assert_non_null(strstr(f->fake.headers, ":path: /p.S/Early\n"));
    assert_non_null(strstr(f->fake.headers, "token: t1\n"));
    assert_null(strstr(f->fake.headers, "grpc-timeout"));
}

static void a_flush_sends_before_the_end_of_the_turn(void **state)
{
    struct fixture *f = *state;

    fake_start(f);
    open_conn(f);
    AWAIT(f, f->readies == 1);
    unary(f, 0, "/p.S/M", slice_str("x"));
    grpc_conn_flush(f->conn);
    AWAIT(f, f->fake.ended == 1);
}

static void a_big_request_arrives_whole(void **state)
{
    const size_t size = 12 << 20;
    struct fixture *f = *state;
    uint8_t *data = xcalloc(1, size);

    fake_start(f);
    open_conn(f);
    unary(f, 0, "/p.S/M", slice_of(data, size));
    AWAIT(f, f->fake.ended == 1);
    assert_int_equal(f->fake.data_bytes, size + 5);
    free(data);
}

static void messages_can_follow_one_another_and_a_half_close(void **state)
{
    struct fixture *f = *state;
    struct call *call;

    fake_start(f);
    open_conn(f);
    call = open_call(f, 0, "/p.S/M", 0);
    AWAIT(f, f->fake.requests == 1); /* headers alone: nghttp2 waits for data */
    assert_int_equal(grpc_stream_send(call->stream, slice_str("one"), 0), 0);
    AWAIT(f, f->fake.data_bytes == 8);
    assert_int_equal(grpc_stream_send(call->stream, slice_str(""), 0), 0);
    assert_int_equal(grpc_stream_send(call->stream, slice_str("three"), 0), 0);
    AWAIT(f, f->fake.data_bytes == 8 + 5 + 10);
    assert_int_equal(f->fake.ended, 0);
    grpc_stream_half_close(call->stream);
    AWAIT(f, f->fake.ended == 1);
}

static void calls_over_the_servers_limit_wait_their_turn(void **state)
{
    struct fixture *f = *state;
    struct call *first, *second, *third;

    fake_start(f);
    f->fake.streams_max = 1;
    open_conn(f);
    first = unary(f, 0, "/p.S/M", slice_str("1"));
    second = unary(f, 1, "/p.S/M", slice_str("2"));
    third = unary(f, 2, "/p.S/M", slice_str("3"));
    AWAIT(f, f->fake.ended == 1);
    grpc_stream_cancel(second->stream); /* never sent */
    second->stream = NULL;
    fake_answer(f, 1, "a");
    AWAIT(f, first->dones == 1 && f->fake.ended == 2);
    assert_int_equal(f->fake.requests, 2);
    fake_answer(f, 5, "c");
    AWAIT(f, third->dones == 1);
    assert_int_equal(third->status, GRPC_OK);
    assert_int_equal(second->dones, 0);
}

/* ---- answers ---- */

static void an_answer_is_a_message_and_a_status(void **state)
{
    struct fixture *f = *state;
    struct call *call = call_seen_by_fake(f);

    fake_answer(f, 1, "answer");
    AWAIT(f, call->dones == 1);
    assert_int_equal(call->status, GRPC_OK);
    assert_string_equal(call->text, "");
    assert_int_equal(call->message_count, 1);
    assert_int_equal(call->messages.len, 6);
    assert_memory_equal(call->messages.data, "answer", 6);
    assert_int_equal(f->downs, 0);
}

/* One byte per read: no boundary of a frame, a header or a message matters. */
static void an_answer_may_come_in_any_pieces(void **state)
{
    struct fixture *f = *state;
    struct call *call = call_seen_by_fake(f);
    struct buf out;

    buf_init(&out, 4096);
    headers_frame(&out, 1, false, grpc_head);
    message_frame(&out, 1, false, "one");
    frame(&out, DATA, 0, 1, "\0\0\0\0", 4); /* a message split over DATA frames */
    frame(&out, DATA, 0, 1, "\6tw", 3);
    frame(&out, DATA, 0, 1, "o tw\0\0\0\0\0", 9); /* its end and an empty one */
    message_frame(&out, 1, false, "three");
    headers_frame(&out, 1, true, ok_trailers);
    for (size_t i = 0; i < out.len; i++) {
        assert_int_equal(net_sock_write(f->fake.sock, slice_of(out.data + i, 1)), 0);
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    AWAIT(f, call->dones == 1);
    assert_int_equal(call->status, GRPC_OK);
    assert_int_equal(call->message_count, 4);
    assert_int_equal(call->messages.len, 14);
    assert_memory_equal(call->messages.data, "onetwo twthree", 14);
    buf_release(&out);
}

static struct call *parts_call_seen_by_fake(struct fixture *f)
{
    struct call *call = &f->calls[0];

    fake_start(f);
    open_conn(f);
    assert_int_equal(
        grpc_conn_call(f->conn, "/p.S/M", NULL, 0, 0, &part_events, call, &call->stream, NULL), 0);
    assert_int_equal(grpc_stream_send(call->stream, slice_str("x"), 1), 0);
    AWAIT(f, f->fake.ended == 1);
    return call;
}

/* Once in single bytes, once at one go: the same bytes and the same ends. */
static void messages_can_be_taken_in_parts(void **state)
{
    for (size_t step = 1; step < 1000; step += 998) {
        struct fixture *f = *state;
        struct call *call = parts_call_seen_by_fake(f);
        struct buf out;

        buf_init(&out, 4096);
        headers_frame(&out, 1, false, grpc_head);
        message_frame(&out, 1, false, "one");
        frame(&out, DATA, 0, 1, "\0\0\0\0\6two t", 10); /* split over DATA frames */
        frame(&out, DATA, 0, 1, "w\0\0\0\0\0", 6);      /* its end and an empty one */
        message_frame(&out, 1, false, "three");
        headers_frame(&out, 1, true, ok_trailers);
        for (size_t i = 0; i < out.len; i += step) {
            struct slice piece = slice_of(out.data + i, MIN(step, out.len - i));

            assert_int_equal(net_sock_write(f->fake.sock, piece), 0);
            uv_run(&f->loop, UV_RUN_NOWAIT);
        }
        AWAIT(f, call->dones == 1);
        assert_int_equal(call->status, GRPC_OK);
        assert_int_equal(call->message_count, 0);
        assert_int_equal(call->part_ends, 4);
        assert_int_equal(call->messages.len, 14);
        assert_memory_equal(call->messages.data, "onetwo twthree", 14);
        buf_release(&out);
        teardown(state);
        setup(state);
    }
}

static void a_part_without_the_rest_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct call *call = parts_call_seen_by_fake(f);
    struct buf out;

    buf_init(&out, 4096);
    headers_frame(&out, 1, false, grpc_head);
    frame(&out, DATA, 0, 1, "\0\0\0\0\6tw", 7);
    headers_frame(&out, 1, true, ok_trailers);
    say(f, &out);
    AWAIT(f, call->dones == 1);
    assert_int_equal(call->status, GRPC_INTERNAL);
    assert_string_equal(call->text, "the server ended the call in the middle of a message");
}

/* The answer lies in the socket: without the pause the turns below would deliver it. */
static void a_paused_connection_delivers_nothing_until_resumed(void **state)
{
    struct fixture *f = *state;
    struct call *call = call_seen_by_fake(f);

    grpc_conn_pause(f->conn);
    fake_answer(f, 1, "answer");
    for (int i = 0; i < 100; i++)
        uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(call->message_count, 0);
    grpc_conn_resume(f->conn);
    AWAIT(f, call->dones == 1);
    assert_int_equal(call->status, GRPC_OK);
    assert_int_equal(call->message_count, 1);
}

static void the_window_of_a_call_is_what_was_asked_for(void **state)
{
    struct fixture *f = *state;

    f->options.stream_window = 100000;
    (void)call_seen_by_fake(f);
    assert_int_equal(f->fake.client_window, 100000);
}

static void an_odd_answer_gets_the_status_of_the_grpc_documents(void **state)
{
    enum { NONE = -1 };
    static const struct {
        const char *fields[10]; /* of the first HEADERS */
        const char *body;       /* raw */
        size_t body_len;
        const char *trailers[6]; /* empty: the first HEADERS end the stream, unless body or reset */
        int reset;
        enum grpc_status status;
        const char *text; /* part of it */
        enum grpc_sent sent;
    } cases[] = {
        /* trailers only */
        {.fields = {":status", "200", "content-type", "application/grpc", "grpc-status", "5",
                    "grpc-message", "key%20not%20found%21 100%25"},
         .reset = NONE,
         .status = GRPC_NOT_FOUND,
         .text = "key not found! 100%"},
        {.fields = {":status", "200", "content-type", "application/grpc+proto", "grpc-status", "14",
                    "grpc-message", "%e2%82%ac %zz %4"},
         .reset = NONE,
         .status = GRPC_UNAVAILABLE,
         .text = "\xe2\x82\xac %zz %4"},
        {.fields = {":status", "200", "content-type", "application/grpc", "grpc-status", "17"},
         .reset = NONE,
         .status = GRPC_UNKNOWN,
         .text = ""},
        {.fields = {":status", "200", "content-type", "application/grpc", "grpc-status", "x"},
         .reset = NONE,
         .status = GRPC_UNKNOWN,
         .text = ""},
        {.fields = {":status", "200", "content-type", "application/grpc", "grpc-status",
                    "4294967296"},
         .reset = NONE,
         .status = GRPC_UNKNOWN,
         .text = ""},
        /* not gRPC */
        {.fields = {":status", "404", "content-type", "text/plain"},
         .body = "no such page",
         .body_len = 12,
         .reset = NONE,
         .status = GRPC_UNIMPLEMENTED,
         .text = "HTTP status"},
        {.fields = {":status", "400"}, .reset = NONE, .status = GRPC_INTERNAL, .text = "HTTP"},
        {.fields = {":status", "401"}, .reset = NONE, .status = GRPC_UNAUTHENTICATED, .text = ""},
        {.fields = {":status", "403"}, .reset = NONE, .status = GRPC_PERMISSION_DENIED, .text = ""},
        {.fields = {":status", "429"}, .reset = NONE, .status = GRPC_UNAVAILABLE, .text = ""},
        {.fields = {":status", "502"}, .reset = NONE, .status = GRPC_UNAVAILABLE, .text = ""},
        {.fields = {":status", "503"}, .reset = NONE, .status = GRPC_UNAVAILABLE, .text = ""},
        {.fields = {":status", "504"}, .reset = NONE, .status = GRPC_UNAVAILABLE, .text = ""},
        {.fields = {":status", "500"}, .reset = NONE, .status = GRPC_UNKNOWN, .text = ""},
        {.fields = {":status", "503", "grpc-status", "7"},
         .reset = NONE,
         .status = GRPC_PERMISSION_DENIED,
         .text = ""},
        {.fields = {":status", "200", "content-type", "text/html"},
         .body = "<html>",
         .body_len = 6,
         .reset = NONE,
         .status = GRPC_UNKNOWN,
         .text = "content-type"},
        /* without an end that one can trust */
        {.fields = {":status", "200", "content-type", "application/grpc"},
         .body = "\0\0\0\0\1x",
         .body_len = 6,
         .reset = NONE,
         .status = GRPC_UNKNOWN,
         .text = "without a status"},
        {.fields = {":status", "200", "content-type", "application/grpc"},
         .body = "\0\0\0\0\2x",
         .body_len = 6,
         .trailers = {"grpc-status", "0"},
         .reset = NONE,
         .status = GRPC_INTERNAL,
         .text = "middle of a message"},
        {.fields = {":status", "200", "content-type", "application/grpc"},
         .body = "\1\0\0\0\1x",
         .body_len = 6,
         .trailers = {"grpc-status", "0"},
         .reset = NONE,
         .status = GRPC_INTERNAL,
         .text = "compressed"},
        {.fields = {":status", "200", "content-type", "application/grpc"},
         .body = "\0\xff\xff\xff\xffx",
         .body_len = 6,
         .trailers = {"grpc-status", "0"},
         .reset = NONE,
         .status = GRPC_RESOURCE_EXHAUSTED,
         .text = "larger than the limit"},
        {.fields = {":status", "200", "content-type", "application/grpc"},
         .trailers = {"grpc-status", "13", "grpc-message", "broken"},
         .reset = NONE,
         .status = GRPC_INTERNAL,
         .text = "broken"},
        /* resets */
        {.reset = NGHTTP2_REFUSED_STREAM,
         .status = GRPC_UNAVAILABLE,
         .text = "refused",
         .sent = GRPC_NOT_SENT},
        {.reset = NGHTTP2_CANCEL, .status = GRPC_CANCELLED, .text = "cancel"},
        {.reset = NGHTTP2_ENHANCE_YOUR_CALM, .status = GRPC_RESOURCE_EXHAUSTED, .text = "fewer"},
        {.reset = NGHTTP2_INADEQUATE_SECURITY, .status = GRPC_PERMISSION_DENIED, .text = ""},
        {.reset = NGHTTP2_INTERNAL_ERROR, .status = GRPC_INTERNAL, .text = "HTTP/2"},
        {.reset = NGHTTP2_PROTOCOL_ERROR, .status = GRPC_INTERNAL, .text = ""},
        {.reset = NGHTTP2_STREAM_CLOSED, .status = GRPC_UNKNOWN, .text = ""},
    };
    struct fixture *f = *state;

    fake_start(f);
    f->options.message_size_max = 1000;
    open_conn(f);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct call *call = unary(f, (int)i, "/p.S/M", slice_str("q"));
        int32_t id = (int32_t)(2 * i + 1);
        bool body = cases[i].body != NULL, trailers = cases[i].trailers[0] != NULL;
        uint8_t code[4];
        struct buf out;

        AWAIT(f, f->fake.ended == (int)i + 1);
        buf_init(&out, 4096);
        if (cases[i].reset != NONE) {
            put_be32(code, (uint32_t)cases[i].reset);
            frame(&out, RST_STREAM, 0, id, code, sizeof code);
        } else {
            headers_frame(&out, id, !body && !trailers, cases[i].fields);
        }
        if (body)
            frame(&out, DATA, trailers ? 0 : END_STREAM, id, cases[i].body, cases[i].body_len);
        if (trailers)
            headers_frame(&out, id, true, cases[i].trailers);
        say(f, &out);
        AWAIT(f, call->dones == 1);
        if (call->status != cases[i].status || strstr(call->text, cases[i].text) == NULL)
            fail_msg("case %zu: status %d \"%s\"", i, call->status, call->text);
        assert_int_equal(call->sent, cases[i].reset == NGHTTP2_REFUSED_STREAM ? GRPC_NOT_SENT
                                                                              : GRPC_MAYBE_SENT);
    }
    assert_int_equal(f->downs, 0); /* none of it costs the connection */
}

static void a_server_may_end_before_the_client_has(void **state)
{
    struct fixture *f = *state;
    struct call *call;

    fake_start(f);
    open_conn(f);
    call = open_call(f, 0, "/p.S/M", 0);
    AWAIT(f, f->fake.requests == 1);
    fake_answer(f, 1, "enough");
    AWAIT(f, call->dones == 1 && f->fake.resets == 1);
    assert_int_equal(call->status, GRPC_OK);
    assert_int_equal(f->fake.reset_code, NGHTTP2_CANCEL);
}

/* ---- the end of connections ---- */

static void nobody_listening_is_told_by_on_down(void **state)
{
    struct fixture *f = *state;
    struct call *call;

    fake_start(f);
    fake_close(f);
    open_conn(f);
    call = unary(f, 0, "/p.S/M", slice_str("x"));
    AWAIT(f, f->downs == 1);
    assert_int_equal(call->status, GRPC_UNAVAILABLE);
    assert_int_equal(call->sent, GRPC_NOT_SENT);
    assert_non_null(strstr(f->down_text, "Connection refused"));
    assert_int_equal(
        grpc_conn_call(f->conn, "/p.S/M", NULL, 0, 0, &stream_events, call, &call->stream, NULL),
        KV_ECONN);
}

static void a_server_that_says_nothing_is_given_up_in_time(void **state)
{
    struct fixture *f = *state;
    struct call *call;
    uint64_t start;

    fake_start(f);
    f->fake.mute = true;
    f->options.connect_timeout_ms = 50;
    open_conn(f);
    start = uv_now(&f->loop);
    call = unary(f, 0, "/p.S/M", slice_str("x"));
    AWAIT(f, f->downs == 1);
    assert_true(uv_now(&f->loop) - start >= 50);
    assert_int_equal(call->sent, GRPC_NOT_SENT);
    assert_int_equal(f->fake.requests, 0);
    assert_non_null(strstr(f->down_text, "no answer in time"));
}

static void a_server_of_another_protocol_is_left(void **state)
{
    struct fixture *f = *state;
    struct call *call;

    fake_start(f);
    f->fake.greeting = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    open_conn(f);
    call = unary(f, 0, "/p.S/M", slice_str("x"));
    AWAIT(f, f->downs == 1);
    assert_int_equal(call->status, GRPC_UNAVAILABLE);
    assert_int_equal(call->sent, GRPC_NOT_SENT);
}

static void a_lost_connection_leaves_the_outcome_of_calls_unknown(void **state)
{
    struct fixture *f = *state;
    struct call *call = call_seen_by_fake(f);

    fake_drop(f);
    AWAIT(f, f->downs == 1);
    assert_int_equal(call->status, GRPC_UNAVAILABLE);
    assert_int_equal(call->sent, GRPC_MAYBE_SENT);
    assert_int_equal(f->downs, 1);
}

static void goodbye_ends_the_younger_calls_and_lets_the_older_finish(void **state)
{
    struct fixture *f = *state;
    struct call *old, *young;
    uint8_t payload[] = {0, 0, 0, 1, 0, 0, 0, 0, 'b', 'y', 'e'};
    struct buf out;

    old = call_seen_by_fake(f);
    young = unary(f, 1, "/p.S/M", slice_str("x"));
    AWAIT(f, f->fake.ended == 2);
    buf_init(&out, 64);
    frame(&out, GOAWAY, 0, 0, payload, sizeof payload);
    say(f, &out);
    AWAIT(f, young->dones == 1);
    assert_int_equal(young->status, GRPC_UNAVAILABLE);
    assert_int_equal(young->sent, GRPC_NOT_SENT);
    assert_int_equal(f->downs + old->dones, 0);
    assert_int_equal(
        grpc_conn_call(f->conn, "/p.S/M", NULL, 0, 0, &stream_events, young, &young->stream, NULL),
        KV_ECONN);
    fake_answer(f, 1, "still");
    AWAIT(f, f->downs == 1);
    assert_int_equal(old->status, GRPC_OK);
    assert_non_null(strstr(f->down_text, "bye"));
}

/* Queued behind the server's limit when it says goodbye: provably not sent. */
static void goodbye_gives_back_what_was_never_sent(void **state)
{
    struct fixture *f = *state;
    struct call *first, *queued;
    uint8_t payload[] = {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    struct buf out;

    fake_start(f);
    f->fake.streams_max = 1;
    open_conn(f);
    first = unary(f, 0, "/p.S/M", slice_str("1"));
    queued = unary(f, 1, "/p.S/M", slice_str("2"));
    AWAIT(f, f->fake.ended == 1);
    buf_init(&out, 64);
    frame(&out, GOAWAY, 0, 0, payload, sizeof payload);
    say(f, &out);
    fake_answer(f, 1, "done");
    AWAIT(f, f->downs == 1);
    assert_int_equal(first->status, GRPC_OK);
    assert_int_equal(queued->status, GRPC_UNAVAILABLE);
    assert_int_equal(queued->sent, GRPC_NOT_SENT);
    assert_int_equal(f->fake.requests, 1);
}

static void a_silent_server_is_noticed_by_pings(void **state)
{
    struct fixture *f = *state;
    struct call *call;

    f->options.ping_interval_ms = 30;
    f->options.ping_timeout_ms = 60;
    call = call_seen_by_fake(f);
    AWAIT(f, f->fake.pings == 3); /* answered: goes on */
    assert_int_equal(f->downs, 0);
    f->fake.ignore_pings = true;
    AWAIT(f, f->downs == 1);
    assert_int_equal(call->status, GRPC_UNAVAILABLE);
    assert_non_null(strstr(f->down_text, "does not answer"));
}

static void without_calls_there_are_no_pings(void **state)
{
    struct fixture *f = *state;
    struct call *call;
    int pings;

    f->options.ping_interval_ms = 20;
    f->options.ping_timeout_ms = 40;
    call = call_seen_by_fake(f);
    AWAIT(f, f->fake.pings == 1);
    fake_answer(f, 1, "a");
    AWAIT(f, call->dones == 1);
    pings = f->fake.pings;
    f->fake.ignore_pings = true;
    for (int i = 1; i <= 8; i++) { /* each shorter than the interval: a bounded wait */
        call = open_call(f, i, "/p.S/M", 15);
        AWAIT(f, call->dones == 1);
    }
    assert_int_equal(f->fake.pings, pings);
    assert_int_equal(f->downs, 0);
}

/* ---- deadlines and cancelling ---- */

static void a_deadline_ends_the_call_here_and_there(void **state)
{
    struct fixture *f = *state;
    struct call *call, *other;

    fake_start(f);
    open_conn(f);
    AWAIT(f, f->readies == 1);
    other = open_call(f, 1, "/p.S/M", 100000);
    call = open_call(f, 0, "/p.S/M", 20);
    AWAIT(f, call->dones == 1);
    assert_int_equal(call->status, GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(call->sent, GRPC_MAYBE_SENT);
    AWAIT(f, f->fake.resets == 1);
    assert_int_equal(f->fake.reset_code, NGHTTP2_CANCEL);
    assert_int_equal(other->dones, 0);
}

static void a_deadline_holds_while_the_connection_is_made(void **state)
{
    struct fixture *f = *state;
    struct call *call;

    fake_start(f);
    f->fake.mute = true;
    open_conn(f);
    call = open_call(f, 0, "/p.S/M", 20);
    AWAIT(f, call->dones == 1);
    assert_int_equal(call->status, GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(call->sent, GRPC_NOT_SENT);
    assert_int_equal(f->downs, 0);
}

static void a_cancelled_call_calls_nothing_back(void **state)
{
    struct fixture *f = *state;
    struct call *call = call_seen_by_fake(f);

    grpc_stream_cancel(call->stream);
    call->stream = NULL;
    AWAIT(f, f->fake.resets == 1);
    fake_answer(f, 1, "late");
    unary(f, 1, "/p.S/M", slice_str("x"));
    AWAIT(f, f->fake.ended == 2);
    fake_answer(f, 3, "fine");
    AWAIT(f, f->calls[1].dones == 1);
    assert_int_equal(call->dones + call->message_count, 0);
    assert_int_equal(f->calls[1].status, GRPC_OK);
}

static void cancel_in_callback(struct call *call)
{
    grpc_stream_cancel(call->stream);
    call->stream = NULL;
}

static void cancelling_inside_on_message_stops_the_rest(void **state)
{
    struct fixture *f = *state;
    struct call *call = call_seen_by_fake(f);
    struct buf out;

    call->then_message = cancel_in_callback;
    buf_init(&out, 4096);
    headers_frame(&out, 1, false, grpc_head);
    frame(&out, DATA, 0, 1, "\0\0\0\0\1a\0\0\0\0\1b", 12); /* two in one frame */
    message_frame(&out, 1, false, "c");
    headers_frame(&out, 1, true, ok_trailers);
    say(f, &out);
    AWAIT(f, f->fake.resets == 1);
    assert_int_equal(call->message_count, 1);
    assert_int_equal(call->dones, 0);
}

static void close_in_callback(struct call *call)
{
    call->stream = NULL;
    close_conn(call->f);
}

static void closing_inside_callbacks_ends_everything(void **state)
{
    struct fixture *f = *state;
    struct call *call = call_seen_by_fake(f), *other;
    struct buf out;

    other = unary(f, 1, "/p.S/M", slice_str("x"));
    AWAIT(f, f->fake.ended == 2);
    call->then_message = close_in_callback;
    out = whole_answer(1, "a");
    headers_frame(&out, 3, false, grpc_head);
    headers_frame(&out, 3, true, ok_trailers);
    say(f, &out);
    AWAIT(f, f->closes == 1);
    assert_int_equal(call->message_count, 1);
    assert_int_equal(call->dones + other->dones + f->downs, 0);
    other->stream = NULL;
}

static void closing_inside_on_done_while_going_down_is_allowed(void **state)
{
    struct fixture *f = *state;
    struct call *call = call_seen_by_fake(f);

    unary(f, 1, "/p.S/M", slice_str("x"));
    AWAIT(f, f->fake.ended == 2);
    call->then_done = close_in_callback;
    fake_drop(f);
    AWAIT(f, f->closes == 1);
    assert_int_equal(call->dones, 1);
    assert_int_equal(f->calls[1].dones + f->downs, 0);
    f->calls[1].stream = NULL;
}

static void call_again(struct call *call)
{
    struct fixture *f = call->f;

    if (f->fake.ended < 300 && f->conn != NULL) {
        call->dones = 0;
        unary(f, 0, "/p.S/M", slice_str("again"));
    }
}

static void a_call_may_start_the_next_from_its_end(void **state)
{
    struct fixture *f = *state;
    struct call *call = call_seen_by_fake(f);

    call->then_done = call_again;
    for (int i = 0; i < 300; i++) {
        AWAIT(f, f->fake.ended == i + 1);
        fake_answer(f, 2 * i + 1, "a");
    }
    AWAIT(f, call->dones == 1);
    assert_int_equal(call->message_count, 300);
}

/* Bytes that no server would send, after a proper greeting and an open call: whatever they say, the
 * client neither crashes nor hangs. */
static void garbage_never_breaks_the_client(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = (uint64_t)time(NULL);
    struct prng prng;

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    fake_start(f);
    for (int round = 0; round < 300; round++) {
        struct call *call = &f->calls[0];
        struct buf out;

        f->fake.preface_seen = false;
        buf_reset(&f->fake.in);
        nghttp2_hd_inflate_del(f->fake.inflater);
        assert_int_equal(nghttp2_hd_inflate_new(&f->fake.inflater), 0);
        f->downs = f->readies = f->closes = f->fake.ended = 0;
        call->dones = 0;
        open_conn(f);
        unary(f, 0, "/p.S/M", slice_str("x"));
        AWAIT(f, f->fake.ended == 1);

        buf_init(&out, 1 << 20);
        headers_frame(&out, 1, false, grpc_head);
        message_frame(&out, 1, false, "abc");
        headers_frame(&out, 1, true, ok_trailers);
        for (uint64_t i = prng_between(&prng, 1, 6); i > 0; i--)
            out.data[prng_between(&prng, 0, out.len - 1)] = (uint8_t)prng_next(&prng);
        say(f, &out);
        while (uv_run(&f->loop, UV_RUN_NOWAIT) != 0 && net_sock_pending(f->fake.sock) > 0)
            continue;
        fake_drop(f);
        AWAIT(f, f->downs == 1);
        assert_int_equal(call->dones, 1);
        close_conn(f);
        AWAIT(f, f->closes == 1);
    }
}

/* ---- a real etcd ---- */

static struct {
    pid_t pid;
    char dir[64];
    uint16_t port;
} etcd;

static uint16_t free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

static int start_etcd(void **state)
{
    char client[64], peer[64], cluster[80];

    (void)state;
    strcpy(etcd.dir, "/tmp/test_client.XXXXXX");
    assert_non_null(mkdtemp(etcd.dir));
    etcd.port = free_port();
    snprintf(client, sizeof client, "http://127.0.0.1:%u", etcd.port);
    snprintf(peer, sizeof peer, "http://127.0.0.1:%u", free_port());
    snprintf(cluster, sizeof cluster, "default=%s", peer);
    etcd.pid = fork();
    assert_true(etcd.pid >= 0);
    if (etcd.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL)
            _exit(126);
        execlp("etcd", "etcd", "--data-dir", etcd.dir, "--log-level", "error",
               "--listen-client-urls", client, "--advertise-client-urls", client,
               "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
               "--initial-cluster", cluster, (char *)NULL);
        _exit(127);
    }
    return 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int stop_etcd(void **state)
{
    (void)state;
    kill(etcd.pid, SIGKILL);
    waitpid(etcd.pid, NULL, 0);
    return nftw(etcd.dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void on_retry(uv_timer_t *timer)
{
    happened(timer->data);
}

/* Connects, again and again while etcd starts. */
static void connect_to_etcd(struct fixture *f)
{
    uv_timer_t retry;

    assert_int_equal(net_addr_parse("http://localhost:1", &f->addr, NULL), 0);
    f->addr.port = etcd.port;
    uv_timer_init(&f->loop, &retry);
    retry.data = f;
    open_conn(f);
    AWAIT(f, f->readies + f->downs > 0);
    while (f->readies == 0) {
        f->closes = f->downs = 0;
        close_conn(f);
        uv_timer_start(&retry, on_retry, 20, 0);
        AWAIT(f, f->closes == 1 && !uv_is_active((uv_handle_t *)&retry));
        open_conn(f);
        AWAIT(f, f->readies + f->downs > 0);
    }
    uv_close((uv_handle_t *)&retry, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT); /* retry is on the stack */
}

static bool holds(const struct buf *buf, const char *text)
{
    return memmem(buf->data, buf->len, text, strlen(text)) != NULL;
}

static void etcd_answers_put_and_range(void **state)
{
    struct fixture *f = *state;
    struct call *put, *range;

    connect_to_etcd(f);
    put = unary(f, 0, "/etcdserverpb.KV/Put",
                slice_str("\x0a\x03"
                          "foo"
                          "\x12\x05"
                          "value"));
    AWAIT(f, put->dones == 1);
    assert_int_equal(put->status, GRPC_OK);
    assert_int_equal(put->message_count, 1);
    range = unary(f, 1, "/etcdserverpb.KV/Range",
                  slice_str("\x0a\x03"
                            "foo"));
    AWAIT(f, range->dones == 1);
    assert_int_equal(range->status, GRPC_OK);
    assert_true(holds(&range->messages, "value"));
}

static void etcd_refuses_with_its_own_words(void **state)
{
    struct fixture *f = *state;
    struct call *empty, *nothing;

    connect_to_etcd(f);
    empty = unary(f, 0, "/etcdserverpb.KV/Put", slice_str(""));
    nothing = unary(f, 1, "/etcdserverpb.KV/Nothing", slice_str(""));
    AWAIT(f, empty->dones == 1 && nothing->dones == 1);
    assert_int_equal(empty->status, GRPC_INVALID_ARGUMENT);
    assert_string_equal(empty->text, "etcdserver: key is not provided");
    assert_int_equal(nothing->status, GRPC_UNIMPLEMENTED);
    assert_non_null(strstr(nothing->text, "Nothing"));
}

static void etcd_takes_a_hundred_calls_at_once(void **state)
{
    struct fixture *f = *state;

    connect_to_etcd(f);
    for (int i = 0; i < 100; i++)
        unary(f, i, "/etcdserverpb.KV/Put",
              slice_str("\x0a\x03"
                        "bar"
                        "\x12\x01"
                        "x"));
    for (int i = 0; i < 100; i++) {
        AWAIT(f, f->calls[i].dones == 1);
        assert_int_equal(f->calls[i].status, GRPC_OK);
    }
}

/* A message of 1 MiB in both directions crosses many frames and etcd's small windows. */
static void etcd_gives_back_a_big_value(void **state)
{
    const size_t size = 1 << 20;
    struct fixture *f = *state;
    struct buf request;
    struct call *put, *range;

    buf_init(&request, size + 100);
    buf_append(&request,
               "\x0a\x03"
               "big"
               "\x12",
               6);
    buf_append_varint(&request, size);
    for (size_t i = 0; i < size; i++)
        buf_append_u8(&request, (uint8_t)(i * 7));
    connect_to_etcd(f);
    put = unary(f, 0, "/etcdserverpb.KV/Put", buf_slice(&request));
    AWAIT(f, put->dones == 1);
    assert_int_equal(put->status, GRPC_OK);
    range = unary(f, 1, "/etcdserverpb.KV/Range",
                  slice_str("\x0a\x03"
                            "big"));
    AWAIT(f, range->dones == 1);
    assert_int_equal(range->status, GRPC_OK);
    assert_non_null(
        memmem(range->messages.data, range->messages.len, request.data + request.len - size, size));
    buf_release(&request);
}

static void etcd_streams_a_watch(void **state)
{
    struct fixture *f = *state;
    struct call *watch, *put;

    connect_to_etcd(f);
    watch = open_call(f, 0, "/etcdserverpb.Watch/Watch", 0);
    /* WatchRequest{create_request: {key: "w"}} */
    assert_int_equal(grpc_stream_send(watch->stream,
                                      slice_str("\x0a\x03\x0a\x01"
                                                "w"),
                                      0),
                     0);
    AWAIT(f, watch->message_count == 1);
    put = unary(f, 1, "/etcdserverpb.KV/Put",
                slice_str("\x0a\x01"
                          "w"
                          "\x12\x05"
                          "event"));
    AWAIT(f, put->dones == 1 && watch->message_count == 2);
    assert_true(holds(&watch->messages, "event"));
    grpc_stream_cancel(watch->stream); /* etcd keeps a watch that is only half closed */
    watch->stream = NULL;
    put = unary(f, 2, "/etcdserverpb.KV/Put",
                slice_str("\x0a\x01"
                          "w"
                          "\x12\x01"
                          "2"));
    AWAIT(f, put->dones == 1);
    assert_int_equal(watch->message_count, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest scripted[] = {
        TEST(a_request_has_the_headers_of_grpc),
        TEST(a_call_before_the_connection_stands_keeps_its_metadata),
        TEST(a_flush_sends_before_the_end_of_the_turn),
        TEST(a_big_request_arrives_whole),
        TEST(messages_can_follow_one_another_and_a_half_close),
        TEST(calls_over_the_servers_limit_wait_their_turn),
        TEST(an_answer_is_a_message_and_a_status),
        TEST(an_answer_may_come_in_any_pieces),
        TEST(messages_can_be_taken_in_parts),
        TEST(a_part_without_the_rest_is_an_error),
        TEST(a_paused_connection_delivers_nothing_until_resumed),
        TEST(the_window_of_a_call_is_what_was_asked_for),
        TEST(an_odd_answer_gets_the_status_of_the_grpc_documents),
        TEST(a_server_may_end_before_the_client_has),
        TEST(nobody_listening_is_told_by_on_down),
        TEST(a_server_that_says_nothing_is_given_up_in_time),
        TEST(a_server_of_another_protocol_is_left),
        TEST(a_lost_connection_leaves_the_outcome_of_calls_unknown),
        TEST(goodbye_ends_the_younger_calls_and_lets_the_older_finish),
        TEST(goodbye_gives_back_what_was_never_sent),
        TEST(a_silent_server_is_noticed_by_pings),
        TEST(without_calls_there_are_no_pings),
        TEST(a_deadline_ends_the_call_here_and_there),
        TEST(a_deadline_holds_while_the_connection_is_made),
        TEST(a_cancelled_call_calls_nothing_back),
        TEST(cancelling_inside_on_message_stops_the_rest),
        TEST(closing_inside_callbacks_ends_everything),
        TEST(closing_inside_on_done_while_going_down_is_allowed),
        TEST(a_call_may_start_the_next_from_its_end),
        TEST(garbage_never_breaks_the_client),
    };
    const struct CMUnitTest real[] = {
        TEST(etcd_answers_put_and_range),
        TEST(etcd_refuses_with_its_own_words),
        TEST(etcd_takes_a_hundred_calls_at_once),
        TEST(etcd_gives_back_a_big_value),
        TEST(etcd_streams_a_watch),
    };

    return cmocka_run_group_tests(scripted, NULL, NULL) |
           cmocka_run_group_tests(real, start_etcd, stop_etcd);
}
