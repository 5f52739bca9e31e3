/* The lone writer beside a server, on a thread of its own, that stalls when told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "bench/wire.h"
#include "bench/writer.h"
#include "net/server.h"

enum { STALL_MS = 300, RATE = 200, OWED = STALL_MS * RATE / 1000 };

static const struct bench_options no_options;
static const struct reach plain = {.options = &no_options};

struct fixture {
    uv_thread_t thread;
    uv_loop_t loop;
    uv_prepare_t flush;
    uv_async_t stop;
    struct net_server *server;
    char endpoint[32];
    uv_sem_t up, put, stalling,
        stalled; /* the server is up; it has answered; a stall began, is over */
    atomic_bool stall, refuse;
    bool stopped;
};

static void on_put(struct grpc_call *call, struct slice message)
{
    static const uint8_t answer[] = {0x0a, 0x02, 0x18, 0x07}; /* header{revision 7} */
    struct fixture *f = grpc_call_ctx(call);

    (void)message;
    if (atomic_load(&f->refuse)) {
        grpc_call_finish(call, GRPC_UNAVAILABLE, "not today");
        return;
    }
    if (atomic_exchange(&f->stall, false)) {
        uv_sem_post(&f->stalling);
        uv_sleep(STALL_MS); /* the fault itself */
        uv_sem_post(&f->stalled);
    }
    memcpy(grpc_call_message(call, sizeof answer), answer, sizeof answer);
    grpc_call_reply(call);
    uv_sem_post(&f->put);
}

static void on_flush(uv_prepare_t *prepare)
{
    net_server_flush(((struct fixture *)prepare->data)->server);
}

static void on_closed(void *ctx)
{
    struct fixture *f = ctx;

    uv_close((uv_handle_t *)&f->flush, NULL);
    uv_close((uv_handle_t *)&f->stop, NULL);
}

static void on_stop(uv_async_t *async)
{
    struct fixture *f = async->data;

    net_server_close(f->server, on_closed, f);
}

static void serve(void *arg)
{
    static const struct grpc_method methods[] = {
        {.service = "etcdserverpb.KV", .name = "Put", .kind = GRPC_UNARY, .on_message = on_put}};
    const struct net_addr addr = {.host = "127.0.0.1"};
    struct fixture *f = arg;
    struct net_server_options options = {
        .loop = &f->loop, .methods = methods, .method_count = 1, .ctx = f};
    struct err err = ERR_INIT;

    if (net_server_new(&options, &f->server, &err) != 0 ||
        net_server_listen(f->server, &addr, NULL, &err) != 0)
        fail_msg("%s", err.text);
    (void)snprintf(f->endpoint, sizeof f->endpoint, "127.0.0.1:%u", net_server_port(f->server, 0));
    uv_sem_post(&f->up);
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    uv_loop_init(&f->loop);
    uv_prepare_init(&f->loop, &f->flush);
    uv_prepare_start(&f->flush, on_flush);
    uv_async_init(&f->loop, &f->stop, on_stop);
    f->flush.data = f->stop.data = f;
    uv_sem_init(&f->up, 0);
    uv_sem_init(&f->put, 0);
    uv_sem_init(&f->stalling, 0);
    uv_sem_init(&f->stalled, 0);
    uv_thread_create(&f->thread, serve, f);
    uv_sem_wait(&f->up);
    *state = f;
    return 0;
}

static void stop_server(struct fixture *f)
{
    if (f->stopped)
        return;
    f->stopped = true;
    uv_async_send(&f->stop);
    uv_thread_join(&f->thread);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    stop_server(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    uv_sem_destroy(&f->up);
    uv_sem_destroy(&f->put);
    uv_sem_destroy(&f->stalling);
    uv_sem_destroy(&f->stalled);
    free(f);
    return 0;
}

static void await_puts(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++)
        uv_sem_wait(&f->put);
}

static double figure(const struct writer *writer, const char *name)
{
    struct bench_result *result = xcalloc(1, sizeof *result);
    double value;

    writer_report(writer, "quiet", "loaded", result);
    value = result_get(result, name);
    free(result);
    return value;
}

/* 300 ms at 200 a second: 60 puts fell due, and half of them waited for longer than half of it. A
 * writer that waits for its own answer alone would have counted one. */
static void a_stall_counts_for_every_put_that_fell_due(void **state)
{
    struct fixture *f = *state;
    struct writer *writer = writer_start(&plain, f->endpoint, RATE, 1);
    struct err err = ERR_INIT;

    writer_count_into(writer, WRITER_LOADED);
    await_puts(f, 5);
    atomic_store(&f->stall, true);
    uv_sem_wait(&f->stalled);
    writer_count_into(writer, WRITER_NOWHERE);
    assert_int_equal(writer_stop(writer, &err), 0);
    assert_true(figure(writer, "put_loaded_count") >= OWED - 2);
    assert_true(figure(writer, "put_loaded_max_us") >= STALL_MS * 1000);
    assert_true(figure(writer, "put_loaded_p50_us") >= STALL_MS * 1000 / 4);
    assert_true(figure(writer, "put_quiet_count") == 0);
    assert_true(figure(writer, "put_p99_ratio") == 0); /* to no puts there is none */
    writer_free(writer);
}

/* They fall due in the quiet time but wait behind a put of the time before. */
static void what_a_stall_holds_up_is_not_called_quiet(void **state)
{
    struct fixture *f = *state;
    struct writer *writer = writer_start(&plain, f->endpoint, RATE, 1);
    struct err err = ERR_INIT;

    writer_count_into(writer, WRITER_LOADED);
    await_puts(f, 5);
    atomic_store(&f->stall, true);
    uv_sem_wait(&f->stalling);
    writer_count_into(writer, WRITER_QUIET);
    uv_sem_wait(&f->stalled);
    await_puts(f, OWED + 30); /* fewer of the quiet time than were owed */
    assert_int_equal(writer_stop(writer, &err), 0);
    assert_true(figure(writer, "put_loaded_max_us") >= STALL_MS * 1000);
    assert_true(figure(writer, "put_quiet_count") > 0);
    assert_true(figure(writer, "put_quiet_p50_us") < STALL_MS * 1000 / 5);
    writer_free(writer);
}

/* Quiet, load, quiet again, all while one put waits: it is not a quiet one. */
static void a_put_over_a_whole_load_belongs_to_it(void **state)
{
    struct fixture *f = *state;
    struct writer *writer = writer_start(&plain, f->endpoint, RATE, 1);
    struct err err = ERR_INIT;

    writer_count_into(writer, WRITER_QUIET);
    await_puts(f, 5);
    atomic_store(&f->stall, true);
    uv_sem_wait(&f->stalling);
    writer_count_into(writer, WRITER_LOADED);
    writer_count_into(writer, WRITER_QUIET);
    uv_sem_wait(&f->stalled);
    await_puts(f, 1);
    writer_count_into(writer, WRITER_NOWHERE);
    assert_int_equal(writer_stop(writer, &err), 0);
    assert_true(figure(writer, "put_loaded_count") >= 1);
    assert_true(figure(writer, "put_loaded_max_us") >= STALL_MS * 1000 / 2);
    writer_free(writer);
}

static void a_put_that_fails_is_told_at_the_end(void **state)
{
    struct fixture *f = *state;
    struct writer *writer = writer_start(&plain, f->endpoint, RATE, 1);
    struct err err = ERR_INIT;

    await_puts(f, 5);
    atomic_store(&f->refuse, true);
    while (writer_stop(writer, &err) == 0) {
        /* It was between two puts: begin again with a server that refuses from the first. */
        writer_free(writer);
        writer = writer_start(&plain, f->endpoint, RATE, 1);
    }
    assert_string_equal(err.text, "the lone writer's put: not today");
    writer_free(writer);
}

static void a_server_that_is_not_there_is_told_at_the_end(void **state)
{
    struct fixture *f = *state;
    struct writer *writer;
    struct err err = ERR_INIT;

    stop_server(f);
    writer = writer_start(&plain, f->endpoint, RATE, 1);
    while (writer_stop(writer, &err) == 0) { /* stopped before it had tried */
        writer_free(writer);
        writer = writer_start(&plain, f->endpoint, RATE, 1);
    }
    assert_non_null(strstr(err.text, "cannot connect to"));
    writer_free(writer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_stall_counts_for_every_put_that_fell_due),
        TEST(what_a_stall_holds_up_is_not_called_quiet),
        TEST(a_put_over_a_whole_load_belongs_to_it),
        TEST(a_put_that_fails_is_told_at_the_end),
        TEST(a_server_that_is_not_there_is_told_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
