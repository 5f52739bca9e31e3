/* Hostile and broken HTTP/2 clients: the table of faults.md section 6, each attack in a bounded
 * form. After each the server serves others, and what it holds has stayed small. */
#include <time.h>

#include "tests/unit/net/server_fixture.h"

static struct net_conn *only_conn(struct fixture *f)
{
    assert_int_equal(f->server->conn_count, 1);
    return LIST_FIRST(&f->server->conns, struct net_conn, node);
}

static void await_goaway(struct client *c, uint32_t code, const char *text)
{
    while (!c->goaway) {
        assert_false(c->eof);
        turn(c->f);
    }
    assert_int_equal(c->goaway_code, code);
    if (text != NULL)
        assert_string_equal(c->goaway_text, text);
}

/* ---- floods ---- */

static void rapid_reset_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (uint32_t i = 0; i < 1500; i++) {
        send_call(c, 2 * i + 1, "/t.T/Hold", "x");
        send_reset(c, 2 * i + 1, NGHTTP2_CANCEL);
    }
    await_goaway(c, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_resets");
    RUN_UNTIL(f, c->eof);
    assert_true(f->cancels >= 1000 && f->cancels <= 1010);
    assert_int_equal(f->held_count, 0);
    client_free(c);
    assert_int_equal(f->server->held, 0);
    assert_server_serves(f);
}

/* Made you reset: the client breaks a rule on each of its streams, so that we reset them. */
static void made_resets_end_the_connection(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (uint32_t i = 0; i < 1500; i++) {
        send_call(c, 2 * i + 1, "/t.T/Hold", "x");
        send_window(c, 2 * i + 1, INT32_MAX); /* more than a window can be */
    }
    await_goaway(c, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_resets");
    assert_true(f->cancels >= 1000);
    client_free(c);
    RUN_UNTIL(f, f->server->conn_count == 0);
    assert_int_equal(f->held_count, 0);
    assert_server_serves(f);
}

static void continuation_flood_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct buf block;

    fixture_start(f);
    c = client_h2(f);
    request_block(&block, "/t.T/Echo", NULL);
    send_frame(c, NGHTTP2_HEADERS, 0, 1, block.data, block.len);
    for (int i = 0; i < 1000; i++)
        send_frame(c, NGHTTP2_CONTINUATION, 0, 1, "", 0);
    while (!c->goaway && !c->eof)
        turn(f);
    assert_int_equal(f->server->held > CALL_COST * 2, 0);
    client_free(c);
    buf_release(&block);
    assert_server_serves(f);
}

static void settings_flood_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (int i = 0; i < 4000; i++)
        send_frame(c, NGHTTP2_SETTINGS, 0, 0, "", 0);
    await_goaway(c, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_frames");
    client_free(c);
    assert_server_serves(f);
}

static void settings_with_too_many_entries_end_the_connection(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    uint8_t entries[6 * 33] = {0};

    for (size_t i = 0; i < 33; i++)
        entries[6 * i + 1] = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE;
    fixture_start(f);
    c = client_h2(f);
    send_frame(c, NGHTTP2_SETTINGS, 0, 0, entries, sizeof entries);
    while (!c->goaway && !c->eof)
        turn(f);
    client_free(c);
    assert_server_serves(f);
}

static void empty_data_frames_are_counted(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Echo", NULL, false);
    for (int i = 0; i < 4000; i++)
        send_frame(c, NGHTTP2_DATA, 0, 1, "", 0);
    await_goaway(c, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_frames");
    client_free(c);
    assert_server_serves(f);
}

static void window_updates_without_data_are_counted(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (int i = 0; i < 4000; i++)
        send_window(c, 0, 1);
    await_goaway(c, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_frames");
    client_free(c);
    assert_server_serves(f);
}

/* A client that credits each of many answers is no attacker. */
static void window_updates_for_answers_are_welcome(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    uint32_t id = 1;

    fixture_start(f);
    c = client_h2(f);
    for (int i = 0; i < 6000 / 2; i++, id += 2) {
        send_call(c, id, "/t.T/Echo", "x");
        send_window(c, 0, 6);
        send_window(c, 0, 1);
        if (i % 50 == 0)
            await_end(c, id);
    }
    assert_int_equal(await_end(c, id - 2)->grpc_status, GRPC_OK);
    assert_false(c->goaway);
    client_free(c);
}

/* However few frames they came in: gRPC clients credit what they read message by message. */
static void window_updates_for_messages_in_one_frame_are_welcome(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Count", "6000");
    assert_int_equal(await_end(c, 1)->grpc_status, GRPC_OK);
    for (int i = 0; i < 6000; i++)
        send_window(c, 0, 9);
    assert_serves(c, 3);
    assert_false(c->goaway);
    client_free(c);
}

/* Calls that wait for something get no answer to earn the window update that libraries send for
 * each. */
static void window_updates_for_waiting_calls_are_welcome(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    uint32_t id = 1;

    fixture_start(f);
    c = client_h2(f);
    for (int i = 0; i < 3000; i++, id += 2) {
        send_call(c, id, "/t.T/Hold", "x");
        send_window(c, id, 5);
    }
    RUN_UNTIL(f, f->starts == 3000 || c->goaway);
    assert_false(c->goaway);
    client_free(c);
}

/* 1 MB of PRIORITY frames leaves no trace in the server. */
static void priority_churn_is_ignored(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (uint32_t i = 0; i < 70000; i++)
        send_frame(c, NGHTTP2_PRIORITY, 0, 2 * i + 10001, "\0\0\0\1\x10", 5);
    RUN_UNTIL(f, c->out.len == 0);
    assert_serves(c, 1);
    client_free(c);
}

static void unknown_frames_are_ignored(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (uint32_t i = 0; i < 1000; i++)
        send_frame(c, 0x42, 0xff, i, "whatever", 8);
    assert_serves(c, 1);
    client_free(c);
}

/* ---- pings ---- */

static void pings_on_an_idle_connection_earn_strikes(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (int i = 0; i < 3; i++)
        send_frame(c, NGHTTP2_PING, 0, 0, "12345678", 8);
    RUN_UNTIL(f, c->ping_acks == 3); /* the first is free, then two strikes */
    assert_false(c->goaway);
    send_frame(c, NGHTTP2_PING, 0, 0, "12345678", 8);
    await_goaway(c, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
    RUN_UNTIL(f, c->eof);
    client_free(c);
}

static void pings_beside_a_call_may_come_at_the_agreed_interval(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    uint64_t begun;

    f->options.ping_min_interval_ms = 20;
    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Hold", "x");
    RUN_UNTIL(f, f->held_count == 1);
    for (int i = 0; i < 8; i++) {
        send_frame(c, NGHTTP2_PING, 0, 0, "12345678", 8);
        RUN_UNTIL(f, c->ping_acks == i + 1);
        begun = uv_now(&f->loop);
        while (uv_now(&f->loop) < begun + 25)
            assert_int_equal(uv_run(&f->loop, UV_RUN_NOWAIT) >= 0, 1);
    }
    assert_false(c->goaway);
    for (int i = 0; i < 6; i++)
        send_frame(c, NGHTTP2_PING, 0, 0, "12345678", 8);
    await_goaway(c, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
    RUN_UNTIL(f, f->cancels == 1);
    client_free(c);
}

/* Clients measure bandwidth with a ping per answer. */
static void pings_between_answers_are_forgiven(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (uint32_t i = 0; i < 20; i++) {
        assert_serves(c, 2 * i + 1);
        send_frame(c, NGHTTP2_PING, 0, 0, "12345678", 8);
    }
    RUN_UNTIL(f, c->ping_acks == 20);
    assert_false(c->goaway);
    client_free(c);
}

static void server_pings_a_silent_client_and_leaves_a_dead_one(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    f->options.ping_interval_ms = 30;
    f->options.ping_timeout_ms = 30;
    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Hold", "x");
    for (int i = 0; i < 3; i++) {
        RUN_UNTIL(f, c->pings == i + 1);
        send_frame(c, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, c->ping, 8);
    }
    assert_int_equal(f->cancels, 0);
    RUN_UNTIL(f, c->eof); /* the fourth gets no answer */
    assert_int_equal(c->pings, 4);
    assert_int_equal(f->cancels, 1);
    client_free(c);
}

/* Acknowledgements for a client that reads nothing are bounded. */
static void ping_flood_without_reading_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    f->options.ping_min_interval_ms = 1;
    fixture_start(f);
    c = client_h2(f);
    client_stop_reading(c);
    for (int i = 0; i < 100000; i++)
        send_frame(c, NGHTTP2_PING, 0, 0, "12345678", 8);
    RUN_UNTIL(f, f->server->conn_count == 1 && only_conn(f)->state == CONN_LINGER);
    assert_true(conn__unsent(only_conn(f)) < 1 << 20);
    client_free(c);
    RUN_UNTIL(f, f->server->conn_count == 0);
    assert_server_serves(f);
}

/* ---- headers ---- */

static void too_many_headers_are_refused(void **state)
{
    struct header extra[201] = {{NULL, NULL}};
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    for (size_t i = 0; i < 200; i++)
        extra[i] = (struct header){"x-many", "v"};
    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Echo", extra, false);
    s = await_end(c, 1);
    assert_int_equal(s->status, 431);
    assert_int_equal(s->grpc_status, GRPC_RESOURCE_EXHAUSTED);
    assert_serves(c, 3);
    client_free(c);
}

static void too_long_headers_are_refused(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    char value[8001];
    const struct header extra[] = {{"x-a", value}, {"x-b", value}, {NULL, NULL}};
    const struct header fits[] = {{"x-a", value}, {"x-b", "v"}, {NULL, NULL}};

    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Header", fits, false);
    send_message(c, 1, slice_str("x-a"), true);
    assert_int_equal(message_of(await_end(c, 1), 0).len, 8000);
    value[5] = 'w';
    {
        struct buf block;

        /* 16 KiB and a bit: HEADERS and CONTINUATION. */
        request_block(&block, "/t.T/Header", extra);
        add_literal(&block, "x-c", value);
        send_frame(c, NGHTTP2_HEADERS, 0, 3, block.data, 16000);
        send_frame(c, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 3, block.data + 16000,
                   block.len - 16000);
        buf_release(&block);
    }
    assert_int_equal(await_end(c, 3)->status, 431);
    assert_serves(c, 5);
    client_free(c);
}

/* HPACK bomb: one long field in the dynamic table, then a byte for each repetition of it. */
static void hpack_bomb_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct buf block;
    char value[3501];

    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    fixture_start(f);
    c = client_h2(f);
    request_block(&block, "/t.T/Echo", NULL);
    (void)buf_append_u8(&block, 0x40); /* literal with incremental indexing */
    (void)buf_append_u8(&block, 3);
    (void)buf_append(&block, "x-b", 3);
    (void)buf_append_u8(&block, 127);
    (void)buf_append_varint(&block, 3500 - 127);
    (void)buf_append(&block, value, 3500);
    while (block.len < 16000)
        (void)buf_append_u8(&block, 0x80 | 62); /* the newest entry */
    send_frame(c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, block.data, block.len);
    assert_int_equal(await_end(c, 1)->status, 431);
    assert_true(f->server->held < 256 * 1024);
    buf_release(&block);
    assert_serves(c, 3);
    client_free(c);
}

/* ---- holding memory ---- */

/* Window 0, and calls without end whose answers are 1 MiB each: the later ones wait unanswered, and
 * none is lost once the windows open. */
static void answers_nobody_reads_are_bounded(void **state)
{
    enum { CALLS = 300 };
    const struct header timeout[] = {{"grpc-timeout", "50m"}, {NULL, NULL}};
    struct fixture *f = *state;
    struct client *c;
    uint32_t last = 2 * CALLS + 1;

    fixture_start(f);
    c = client_h2(f);
    send_setting(c, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    for (uint32_t i = 0; i < CALLS; i++)
        send_call(c, 2 * i + 1, "/t.T/Big", "1048576");
    send_headers(c, last, "/t.T/Hold", timeout, false);
    send_message(c, last, slice_str("x"), true);
    assert_int_equal(await_end(c, last)->grpc_status, GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(f->cancels, 0); /* it never got so far */
    assert_true(f->ends > 60 && f->ends < 80);
    assert_true(f->server->unsent <= CONN_UNSENT_MAX + (2 << 20));
    assert_server_serves(f);
    send_window(c, 0, 1 << 30);
    send_setting(c, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 2 << 20);
    for (uint32_t i = 0; i < CALLS; i++) {
        assert_int_equal(await_end(c, 2 * i + 1)->grpc_status, GRPC_OK);
        assert_int_equal(message_of(stream_of(c, 2 * i + 1), 0).len, 1048576);
        assert_true(f->server->unsent <= CONN_UNSENT_MAX + (2 << 20));
    }
    assert_int_equal(f->server->unsent, 0);
    client_free(c);
}

/* Waiting requests of a connection that goes away are forgotten. */
static void waiting_requests_end_with_their_connection(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    int before;

    fixture_start(f);
    c = client_h2(f);
    send_setting(c, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    for (uint32_t i = 0; i < 10; i++)
        send_call(c, 2 * i + 1, "/t.T/Big", "20000000");
    RUN_UNTIL(f, f->starts == 10);
    assert_true(f->ends < 10);
    send_reset(c, 19, NGHTTP2_CANCEL);
    RUN_UNTIL(f, net_server_calls(f->server) == 9);
    /* Room comes back by resets too. */
    before = f->ends;
    send_reset(c, 1, NGHTTP2_CANCEL);
    RUN_UNTIL(f, f->ends == before + 1);
    client_free(c);
    RUN_UNTIL(f, f->server->conn_count == 0);
    assert_int_equal(f->ends, 10);
    assert_int_equal(f->server->unsent, 0);
    assert_int_equal(f->server->held, 0);
}

static void reader_that_stalls_is_cut(void **state)
{
    struct fixture *f = *state;
    struct client *window, *socket;

    f->options.stall_timeout_ms = 100;
    fixture_start(f);
    window = client_h2(f);
    send_call(window, 1, "/t.T/Big", "1000000"); /* 64 KiB of it fit the window */
    RUN_UNTIL(f, window->eof);
    socket = client_h2(f);
    send_setting(socket, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INT32_MAX);
    send_window(socket, 0, 1 << 30);
    RUN_UNTIL(f, socket->settings_acks == 2);
    client_stop_reading(socket);
    send_call(socket, 1, "/t.T/Big", "50000000");
    RUN_UNTIL(f, f->server->unsent > STALL_BYTES);
    RUN_UNTIL(f, f->server->conn_count == 0);
    assert_int_equal(f->server->unsent, 0);
    client_free(window);
    client_free(socket);
}

/* The same client, but it takes a little now and then. */
static void slow_reader_is_not_cut(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    f->options.stall_timeout_ms = 200;
    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Big", "700000");
    s = stream_of(c, 1);
    send_window(c, 0, 1 << 24);
    RUN_UNTIL(f, s->data.len == 65535);
    for (int i = 0; i < 8; i++) {
        uint64_t begun = uv_now(&f->loop);
        size_t before = s->data.len;

        while (uv_now(&f->loop) < begun + 100)
            assert_int_equal(uv_run(&f->loop, UV_RUN_NOWAIT) >= 0, 1);
        send_window(c, 1, 1000);
        RUN_UNTIL(f, s->data.len == before + 1000);
    }
    assert_false(c->eof);
    client_free(c);
}

/* Streams that are opened and never finished cost a bounded sum, then new ones are refused. */
static void unfinished_requests_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Echo", NULL, false);
    RUN_UNTIL(f, f->server->held > 0);
    /* As if the budget were nearly used by others. */
    f->server->held += SERVER_HELD_MAX - 3 * CALL_COST;
    send_headers(c, 3, "/t.T/Echo", NULL, false);
    s = stream_of(c, 1);
    send_data(c, 1, "\0\0\1\0\0and not all of it", 22, false);
    assert_int_equal(await_end(c, 1)->grpc_status, GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(s->status, 200);
    send_headers(c, 5, "/t.T/Echo", NULL, false);
    send_headers(c, 7, "/t.T/Echo", NULL, false);
    send_headers(c, 9, "/t.T/Echo", NULL, false);
    RUN_UNTIL(f, stream_of(c, 9)->reset >= 0);
    assert_int_equal(stream_of(c, 9)->reset, NGHTTP2_REFUSED_STREAM);
    f->server->held -= SERVER_HELD_MAX - 3 * CALL_COST;
    assert_serves(c, 11);
    client_free(c);
}

/* A length prefix alone buys nothing: memory follows the bytes that came. */
static void announced_messages_cost_nothing_until_they_come(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (uint32_t i = 0; i < 500; i++) {
        send_headers(c, 2 * i + 1, "/t.T/Echo", NULL, false);
        send_data(c, 2 * i + 1,
                  "\0\0\x1f\xff\xff"
                  "x",
                  6, false);
    }
    assert_serves(c, 2001);
    assert_true(f->server->held < 500 * (CALL_COST + 4096 + 1024));
    client_free(c);
}

static void finite_concurrent_streams_are_enforced(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    f->options.concurrent_streams_max = 2;
    fixture_start(f);
    c = client_h2(f);
    RUN_UNTIL(f, c->settings == 1 && c->out.len == 0);
    assert_int_equal(c->setting[NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS], 2);
    send_call(c, 1, "/t.T/Hold", "x");
    send_call(c, 3, "/t.T/Hold", "x");
    send_call(c, 5, "/t.T/Hold", "x");
    RUN_UNTIL(f, c->goaway); /* it knew the limit and broke it */
    assert_int_equal(c->goaway_code, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(f->starts, 2);
    assert_int_equal(f->cancels, 2);
    client_free(c);
}

/* ---- malformed ---- */

static void silence_is_ended_at_every_stage(void **state)
{
    const char *const stages[] = {"", "PRI * HT", NGHTTP2_CLIENT_MAGIC};
    struct fixture *f = *state;

    f->options.preface_timeout_ms = 50;
    fixture_start(f);
    for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
        struct client *c = client_new(f);

        send_text(c, stages[i]);
        RUN_UNTIL(f, c->eof);
        client_free(c);
    }
    /* With SETTINGS the connection may be idle. */
    {
        struct client *idle = client_h2(f), *silent = client_new(f);

        RUN_UNTIL(f, idle->settings_acks == 1);
        RUN_UNTIL(f, silent->eof);
        assert_serves(idle, 1);
        client_free(idle);
        client_free(silent);
    }
}

static void broken_frames_end_the_connection_and_nothing_else(void **state)
{
    static const struct {
        const char *label;
        uint8_t type, flags;
        uint32_t id;
        const char *payload;
        size_t len;
    } rows[] = {
        {"DATA on stream 0", NGHTTP2_DATA, 0, 0, "x", 1},
        {"DATA on an idle stream", NGHTTP2_DATA, 0, 7, "x", 1},
        {"HEADERS on stream 0", NGHTTP2_HEADERS, 4, 0, "\x82", 1},
        {"HEADERS on an even stream", NGHTTP2_HEADERS, 4, 2, "\x82", 1},
        {"HPACK index 0", NGHTTP2_HEADERS, 4, 1, "\x80", 1},
        {"HPACK index too high", NGHTTP2_HEADERS, 4, 1, "\xfe", 1},
        {"HPACK cut", NGHTTP2_HEADERS, 4, 1, "\x40\x05x", 3},
        {"padding longer than the frame", NGHTTP2_HEADERS, 12, 1, "\xff\x82", 2},
        {"CONTINUATION alone", NGHTTP2_CONTINUATION, 4, 1, "\x82", 1},
        {"RST_STREAM of 3 bytes", NGHTTP2_RST_STREAM, 0, 1, "\0\0\0", 3},
        {"RST_STREAM on an idle stream", NGHTTP2_RST_STREAM, 0, 9, "\0\0\0\0", 4},
        {"SETTINGS of 5 bytes", NGHTTP2_SETTINGS, 0, 0, "\0\0\0\0\0", 5},
        {"SETTINGS on a stream", NGHTTP2_SETTINGS, 0, 1, "", 0},
        {"window over 2^31", NGHTTP2_SETTINGS, 0, 0, "\0\4\xff\xff\xff\xff", 6},
        {"frame size below 2^14", NGHTTP2_SETTINGS, 0, 0, "\0\5\0\0\0\1", 6},
        {"PUSH_PROMISE from a client", NGHTTP2_PUSH_PROMISE, 4, 1, "\0\0\0\2\x82", 5},
        {"PING of 7 bytes", NGHTTP2_PING, 0, 0, "1234567", 7},
        {"GOAWAY of 4 bytes", NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0", 4},
        {"WINDOW_UPDATE of 0", NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\0", 4},
    };
    struct fixture *f = *state;
    struct client *good;

    fixture_start(f);
    good = client_h2(f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct client *c = client_h2(f);

        send_frame(c, rows[i].type, rows[i].flags, rows[i].id, rows[i].payload, rows[i].len);
        while (!c->goaway && !c->eof)
            turn(f);
        if (c->goaway && c->goaway_code == NGHTTP2_NO_ERROR)
            fail_msg("%s: no error was told", rows[i].label);
        client_free(c);
        assert_serves(good, (uint32_t)(2 * i + 1));
    }
    client_free(good);
}

static void frame_over_the_size_limit_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    uint8_t *big = xcalloc(1, 16385);

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Echo", NULL, false);
    send_frame(c, NGHTTP2_DATA, 0, 1, big, 16385);
    await_goaway(c, NGHTTP2_FRAME_SIZE_ERROR, NULL);
    free(big);
    client_free(c);
    assert_server_serves(f);
}

static void data_beyond_the_window_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    uint8_t *big = xcalloc(1, 16384);

    fixture_start(f);
    c = client_h2(f);
    c->h2 = false; /* never acknowledges our SETTINGS: the window stays at 64 KiB */
    send_headers(c, 1, "/t.T/Echo", NULL, false);
    send_data(c, 1, "\0\0\x1f\0\0", 5, false);
    for (int i = 0; i < 4; i++)
        send_frame(c, NGHTTP2_DATA, 0, 1, big, 16384);
    RUN_UNTIL(f, c->out.len == 0);
    c->h2 = true;
    client_parse(c);
    RUN_UNTIL(f, stream_of(c, 1)->reset >= 0 || c->goaway);
    free(big);
    client_free(c);
    assert_server_serves(f);
}

/* Random bytes and randomly damaged good sessions; the seed is printed. */
static void random_input_harms_nobody(void **state)
{
    struct fixture *f = *state;
    struct prng prng;
    uint64_t seed = (uint64_t)time(NULL);
    struct client *good;

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    f->options.preface_timeout_ms = 300;
    f->options.http_over_h2 = true;
    fixture_start(f);
    good = client_h2(f);
    for (uint32_t round = 0; round < 300; round++) {
        struct client *c = client_h2(f);
        size_t from = prng_chance(&prng, 800000) ? 24 : 0, hits = prng_between(&prng, 1, 12);

        for (uint32_t i = 0; i < 4; i++)
            send_call(c, 2 * i + 1, i % 2 == 0 ? "/t.T/Echo" : "/t.T/Bidi", "hello");
        for (size_t i = 0; i < hits; i++)
            c->out.data[prng_between(&prng, from, c->out.len - 1)] ^=
                (uint8_t)(1u << prng_between(&prng, 0, 7));
        c->h2 = false; /* what comes back is not of interest */
        RUN_UNTIL(f, c->out.len == 0 || c->eof);
        if (round % 10 == 0)
            assert_serves(good, round / 5 + 1);
        client_free(c);
    }
    client_free(good);
    RUN_UNTIL(f, f->server->conn_count == 0);
    assert_int_equal(f->server->held, 0);
    assert_int_equal(f->server->unsent, 0);
    assert_int_equal(net_server_calls(f->server), 0);
    assert_int_equal(f->starts, f->ends);
    if (f->http_held != NULL)
        fail_msg("a request is left over");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rapid_reset_ends_the_connection),
        TEST(made_resets_end_the_connection),
        TEST(continuation_flood_ends_the_connection),
        TEST(settings_flood_ends_the_connection),
        TEST(settings_with_too_many_entries_end_the_connection),
        TEST(empty_data_frames_are_counted),
        TEST(window_updates_without_data_are_counted),
        TEST(window_updates_for_answers_are_welcome),
        TEST(window_updates_for_messages_in_one_frame_are_welcome),
        TEST(window_updates_for_waiting_calls_are_welcome),
        TEST(priority_churn_is_ignored),
        TEST(unknown_frames_are_ignored),
        TEST(pings_on_an_idle_connection_earn_strikes),
        TEST(pings_beside_a_call_may_come_at_the_agreed_interval),
        TEST(pings_between_answers_are_forgiven),
        TEST(server_pings_a_silent_client_and_leaves_a_dead_one),
        TEST(ping_flood_without_reading_is_bounded),
        TEST(too_many_headers_are_refused),
        TEST(too_long_headers_are_refused),
        TEST(hpack_bomb_is_refused),
        TEST(answers_nobody_reads_are_bounded),
        TEST(waiting_requests_end_with_their_connection),
        TEST(reader_that_stalls_is_cut),
        TEST(slow_reader_is_not_cut),
        TEST(unfinished_requests_are_bounded),
        TEST(announced_messages_cost_nothing_until_they_come),
        TEST(finite_concurrent_streams_are_enforced),
        TEST(silence_is_ended_at_every_stage),
        TEST(broken_frames_end_the_connection_and_nothing_else),
        TEST(frame_over_the_size_limit_ends_the_connection),
        TEST(data_beyond_the_window_is_an_error),
        TEST(random_input_harms_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
