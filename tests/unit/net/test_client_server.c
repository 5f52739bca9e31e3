/* Our client and our server, in one loop: what one end does the other sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/prng.h"
#include "net/client.h"
#include "net/server.h"

enum { WATCHDOG_MS = 20000, CALLS_MAX = 256, MESSAGE_MAX = 8 << 20 };

struct call {
    struct fixture *f;
    struct grpc_stream *stream; /* NULL: none or done */
    struct buf sent, got;
    int messages, dones;
    enum grpc_status status;
    enum grpc_sent sent_status;
    char text[256];
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t watchdog;
    uv_prepare_t turn_end;
    struct net_server *server;
    struct net_addr addr;
    struct grpc_conn *conn;
    int readies, downs;
    char down_text[512];
    struct call calls[CALLS_MAX];
    /* Seen by the server. */
    struct grpc_call *parked; /* of Park: answered by the test */
    int cancels, half_closes;
    uint64_t deadline;
};

/* ---- the services ---- */

static void reply_with(struct grpc_call *call, struct slice message)
{
    uint8_t *out = grpc_call_message(call, message.len);

    if (message.len > 0)
        memcpy(out, message.data, message.len);
}

static void echo(struct grpc_call *call, struct slice message)
{
    reply_with(call, message);
    grpc_call_reply(call);
}

static void refuse(struct grpc_call *call, struct slice message)
{
    char text[64];

    (void)snprintf(text, sizeof text, "%.*s", (int)message.len, (const char *)message.data);
    grpc_call_finish(call, GRPC_FAILED_PRECONDITION, text);
}

static void park(struct grpc_call *call, struct slice message)
{
    struct fixture *f = grpc_call_ctx(call);

    (void)message;
    f->parked = call;
    f->deadline = grpc_call_deadline(call);
}

static void chat(struct grpc_call *call, struct slice message)
{
    reply_with(call, message);
    grpc_call_send(call);
}

static void chat_ends(struct grpc_call *call)
{
    ((struct fixture *)grpc_call_ctx(call))->half_closes++;
    grpc_call_finish(call, GRPC_OK, "");
}

static void on_cancel(struct grpc_call *call)
{
    struct fixture *f = grpc_call_ctx(call);

    f->parked = NULL;
    f->cancels++;
}

static const struct grpc_method methods[] = {
    {.service = "t.T", .name = "Echo", .kind = GRPC_UNARY, .on_message = echo},
    {.service = "t.T", .name = "Refuse", .kind = GRPC_UNARY, .on_message = refuse},
    {.service = "t.T",
     .name = "Park",
     .kind = GRPC_UNARY,
     .on_message = park,
     .on_cancel = on_cancel},
    {.service = "t.T",
     .name = "Chat",
     .kind = GRPC_BIDI_STREAM,
     .on_message = chat,
     .on_half_close = chat_ends,
     .on_cancel = on_cancel},
};

/* ---- the client's events ---- */

static void on_ready(void *ctx)
{
    ((struct fixture *)ctx)->readies++;
}

static void on_down(void *ctx, const struct err *err)
{
    struct fixture *f = ctx;

    f->downs++;
    strcpy(f->down_text, err->text);
}

static const struct grpc_conn_events conn_events = {.on_ready = on_ready, .on_down = on_down};

static void on_message(void *ctx, struct slice message)
{
    struct call *call = ctx;

    call->messages++;
    assert_int_equal(buf_append(&call->got, message.data, message.len), 0);
}

static void on_done(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent)
{
    struct call *call = ctx;

    call->stream = NULL;
    call->dones++;
    call->status = status;
    call->sent_status = sent;
    snprintf(call->text, sizeof call->text, "%s", message);
}

static const struct grpc_stream_events stream_events = {.on_message = on_message,
                                                        .on_done = on_done};

/* ---- the fixture ---- */

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("waited %d ms in vain", WATCHDOG_MS);
}

static void on_turn_end(uv_prepare_t *handle)
{
    struct fixture *f = CONTAINER_OF(handle, struct fixture, turn_end);

    net_server_flush(f->server);
    uv_stop(&f->loop); /* the test looks before the loop waits */
}

#define AWAIT(f, cond)                                                                             \
    while (!(cond))                                                                                \
    uv_run(&(f)->loop, UV_RUN_ONCE)

static void start_server(struct fixture *f)
{
    const struct net_server_options options = {.loop = &f->loop,
                                               .methods = methods,
                                               .method_count = ARRAY_LEN(methods),
                                               .ctx = f,
                                               .message_size_max = MESSAGE_MAX};
    struct err err = ERR_INIT;

    assert_int_equal(net_addr_parse("http://127.0.0.1:0", &f->addr, &err), 0);
    if (net_server_new(&options, &f->server, &err) != 0 ||
        net_server_listen(f->server, &f->addr, NULL, &err) != 0)
        fail_msg("%s", err.text);
    f->addr.port = net_server_port(f->server, 0);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err = ERR_INIT;

    assert_int_equal(uv_loop_init(&f->loop), 0);
    uv_timer_init(&f->loop, &f->watchdog);
    uv_timer_start(&f->watchdog, on_watchdog, WATCHDOG_MS, 0);
    start_server(f);
    uv_prepare_init(&f->loop, &f->turn_end);
    uv_prepare_start(&f->turn_end, on_turn_end);
    for (int i = 0; i < CALLS_MAX; i++) {
        f->calls[i].f = f;
        buf_init(&f->calls[i].sent, 64 << 20);
        buf_init(&f->calls[i].got, 64 << 20);
    }
    if (grpc_conn_new(&f->loop, &f->addr, NULL, &conn_events, f, &f->conn, &err) != 0)
        fail_msg("%s", err.text);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    grpc_conn_close(f->conn, NULL, NULL);
    net_server_close(f->server, NULL, NULL);
    uv_close((uv_handle_t *)&f->watchdog, NULL);
    uv_close((uv_handle_t *)&f->turn_end, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0); /* nothing was left behind */
    for (int i = 0; i < CALLS_MAX; i++) {
        buf_release(&f->calls[i].sent);
        buf_release(&f->calls[i].got);
    }
    free(f);
    return 0;
}

static struct call *open_call(struct fixture *f, int n, const char *path, uint64_t timeout_ms)
{
    struct call *call = &f->calls[n];
    struct err err = ERR_INIT;

    if (grpc_conn_call(f->conn, path, NULL, 0, timeout_ms, &stream_events, call, &call->stream,
                       &err) != 0)
        fail_msg("%s", err.text);
    return call;
}

static struct call *unary(struct fixture *f, int n, const char *path, struct slice message)
{
    struct call *call = open_call(f, n, path, 0);

    assert_int_equal(grpc_stream_send(call->stream, message, 1), 0);
    return call;
}

/* ---- tests ---- */

/* Sizes around every border of frame, window and buffer, and any in between, many at once. */
static void messages_of_all_sizes_come_back_unchanged(void **state)
{
    static const size_t borders[] = {0,     1,     4,     5,       16378,       16379,  16380,
                                     16384, 65535, 65536, 1 << 20, 4194304 + 1, 8388608};
    struct fixture *f = *state;
    uint64_t seed = (uint64_t)time(NULL);
    struct prng prng;

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (int i = 0; i < CALLS_MAX; i++) {
        struct buf *sent = &f->calls[i].sent;
        size_t size = (size_t)i < ARRAY_LEN(borders) ? borders[i] : prng_between(&prng, 0, 20000);

        assert_int_equal(buf_reserve(sent, size + 8), 0);
        while (sent->len < size)
            buf_append_le64(sent, prng_next(&prng));
        sent->len = size;
        unary(f, i, "/t.T/Echo", buf_slice(sent));
    }
    for (int i = 0; i < CALLS_MAX; i++) {
        struct call *call = &f->calls[i];

        AWAIT(f, call->dones == 1);
        assert_int_equal(call->status, GRPC_OK);
        assert_int_equal(call->messages, 1);
        assert_true(slice_eq(buf_slice(&call->sent), buf_slice(&call->got)));
    }
}

static void a_status_and_any_text_come_through(void **state)
{
    struct fixture *f = *state;
    struct call *call = unary(f, 0, "/t.T/Refuse", slice_str("50% of \xe2\x82\xac\n\t!"));

    AWAIT(f, call->dones == 1);
    assert_int_equal(call->status, GRPC_FAILED_PRECONDITION);
    assert_string_equal(call->text, "50% of \xe2\x82\xac\n\t!");
}

static void an_unknown_method_is_unimplemented(void **state)
{
    struct fixture *f = *state;
    struct call *call = unary(f, 0, "/t.T/Nothing", slice_str(""));

    AWAIT(f, call->dones == 1);
    assert_int_equal(call->status, GRPC_UNIMPLEMENTED);
}

static void a_conversation_goes_back_and_forth(void **state)
{
    struct fixture *f = *state;
    struct call *call = open_call(f, 0, "/t.T/Chat", 0);

    for (int i = 0; i < 100; i++) {
        assert_int_equal(grpc_stream_send(call->stream, slice_str("ping"), 0), 0);
        AWAIT(f, call->messages == i + 1);
    }
    assert_int_equal(f->half_closes, 0);
    grpc_stream_half_close(call->stream);
    AWAIT(f, call->dones == 1);
    assert_int_equal(call->status, GRPC_OK);
    assert_int_equal(f->half_closes, 1);
    assert_int_equal(call->got.len, 400);
}

static void the_server_learns_of_a_cancelled_call(void **state)
{
    struct fixture *f = *state;
    struct call *call = unary(f, 0, "/t.T/Park", slice_str(""));

    AWAIT(f, f->parked != NULL);
    assert_true(f->deadline == UINT64_MAX);
    grpc_stream_cancel(call->stream);
    AWAIT(f, f->cancels == 1);
    assert_int_equal(call->dones, 0);
}

static void the_server_learns_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct call *call = open_call(f, 0, "/t.T/Park", 60);
    uint64_t opened = uv_now(&f->loop);

    assert_int_equal(grpc_stream_send(call->stream, slice_str(""), 1), 0);
    AWAIT(f, f->parked != NULL);
    assert_true(f->deadline >= opened + 59 && f->deadline < opened + 5000);
    AWAIT(f, call->dones == 1 && f->cancels == 1);
    assert_int_equal(call->status, GRPC_DEADLINE_EXCEEDED);
}

static void a_draining_server_finishes_what_it_has(void **state)
{
    struct fixture *f = *state;
    struct call *call = unary(f, 0, "/t.T/Park", slice_str(""));

    AWAIT(f, f->parked != NULL);
    net_server_drain(f->server);
    /* Calls are taken until the goodbye is here. */
    while (grpc_conn_call(f->conn, "/t.T/Echo", NULL, 0, 0, &stream_events, &f->calls[1],
                          &f->calls[1].stream, NULL) == 0) {
        grpc_stream_cancel(f->calls[1].stream);
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(f->downs, 0);
    grpc_call_message(f->parked, 0);
    grpc_call_reply(f->parked);
    AWAIT(f, f->downs == 1);
    assert_int_equal(call->dones, 1);
    assert_int_equal(call->status, GRPC_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(messages_of_all_sizes_come_back_unchanged), TEST(a_status_and_any_text_come_through),
        TEST(an_unknown_method_is_unimplemented),        TEST(a_conversation_goes_back_and_forth),
        TEST(the_server_learns_of_a_cancelled_call),     TEST(the_server_learns_the_deadline),
        TEST(a_draining_server_finishes_what_it_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
