#include "bench/writer.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/mem.h"
#include "base/prng.h"
#include "bench/wire.h"
#include "net/client.h"

enum { PUT_TIMEOUT_MS = 30000 };

struct writer {
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t wake;
    const char *endpoint;
    struct grpc_conn *conn;
    struct buf message;
    uint8_t *value;
    uint64_t value_size;
    struct prng prng;
    uint64_t began_ns;
    bool answered, under_way, ended, joined;
    atomic_bool stopping;
    atomic_int segment; /* enum writer_segment */
    int began_segment;  /* of the put under way */
    struct histogram latency[WRITER_NOWHERE];
    struct err err;
};

static void end(struct writer *writer)
{
    if (writer->ended)
        return;
    writer->ended = true;
    if (writer->conn != NULL)
        grpc_conn_close(writer->conn, NULL, NULL);
    uv_close((uv_handle_t *)&writer->wake, NULL);
}

static void put_next(struct writer *writer);

static void on_message(void *ctx, struct slice message)
{
    struct writer *writer = ctx;

    writer->answered = wire_read_revision(message) > 0;
}

/* A put that was partly in the loaded segment belongs to it: dropping those that cross a border
 * would drop the longest. */
static void count(struct writer *writer, uint64_t us)
{
    int ended = atomic_load(&writer->segment), began = writer->began_segment;

    if (began != WRITER_NOWHERE)
        histogram_add(
            &writer->latency[began == WRITER_LOADED || ended == WRITER_LOADED ? WRITER_LOADED
                                                                              : WRITER_QUIET],
            us);
}

static void on_done(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent)
{
    struct writer *writer = ctx;

    (void)sent;
    writer->under_way = false;
    if (status != GRPC_OK || !writer->answered) {
        err_set(&writer->err, KV_ECONN, "the lone writer's put: %s",
                status != GRPC_OK ? message : "no revision in the answer");
        end(writer);
        return;
    }
    count(writer, (uv_hrtime() - writer->began_ns) / 1000);
    put_next(writer);
}

static void put_next(struct writer *writer)
{
    static const struct grpc_stream_events events = {.on_message = on_message, .on_done = on_done};
    struct grpc_stream *stream;

    if (atomic_load(&writer->stopping)) {
        end(writer);
        return;
    }
    for (uint64_t i = 0; i < writer->value_size; i += 8)
        put_le64(writer->value + i, prng_next(&writer->prng));
    buf_reset(&writer->message);
    wire_put(&writer->message, slice_str("kvbench/lone"),
             slice_of(writer->value, writer->value_size), 0);
    writer->answered = false;
    writer->began_segment = atomic_load(&writer->segment);
    writer->began_ns = uv_hrtime();
    if (grpc_conn_call(writer->conn, "/etcdserverpb.KV/Put", NULL, 0, PUT_TIMEOUT_MS, &events,
                       writer, &stream, NULL) == 0)
        writer->under_way = grpc_stream_send(stream, buf_slice(&writer->message), 1) == 0;
}

static void on_ready(void *ctx)
{
    put_next(ctx);
}

static void on_down(void *ctx, const struct err *err)
{
    struct writer *writer = ctx;

    if (writer->err.code == 0)
        writer->err = *err;
    end(writer);
}

static void on_wake(uv_async_t *wake)
{
    struct writer *writer = wake->data;

    if (!writer->under_way)
        end(writer);
}

static void run(void *arg)
{
    static const struct grpc_conn_events events = {.on_ready = on_ready, .on_down = on_down};
    struct writer *writer = arg;
    struct net_addr addr;

    if (net_addr_parse(writer->endpoint, &addr, &writer->err) != 0 ||
        grpc_conn_new(&writer->loop, &addr, NULL, &events, writer, &writer->conn, &writer->err) !=
            0)
        end(writer);
    (void)uv_run(&writer->loop, UV_RUN_DEFAULT); /* until everything is closed */
}

struct writer *writer_start(const char *endpoint, uint64_t value_size, uint64_t seed)
{
    struct writer *writer = xcalloc(1, sizeof *writer);

    writer->endpoint = endpoint;
    writer->value_size = value_size;
    writer->value = xmalloc(value_size + 8);
    buf_init(&writer->message, SIZE_MAX / 2);
    prng_seed(&writer->prng, seed);
    atomic_store(&writer->segment, WRITER_NOWHERE);
    (void)uv_loop_init(&writer->loop); /* these fail only without memory or descriptors */
    (void)uv_async_init(&writer->loop, &writer->wake, on_wake);
    writer->wake.data = writer;
    ASSERT(uv_thread_create(&writer->thread, run, writer) == 0);
    return writer;
}

void writer_count_into(struct writer *writer, enum writer_segment segment)
{
    atomic_store(&writer->segment, (int)segment);
}

int writer_stop(struct writer *writer, struct err *err)
{
    if (!writer->joined) {
        atomic_store(&writer->stopping, true);
        (void)uv_async_send(&writer->wake); /* closed by now: it has ended by itself */
        (void)uv_thread_join(&writer->thread);
        writer->joined = true;
    }
    return writer->err.code == 0 ? 0 : err_set(err, writer->err.code, "%s", writer->err.text);
}

const struct histogram *writer_latency(const struct writer *writer, enum writer_segment segment)
{
    return &writer->latency[segment];
}

void writer_free(struct writer *writer)
{
    if (writer == NULL)
        return;
    (void)writer_stop(writer, NULL); /* whoever wanted to know has asked */
    (void)uv_loop_close(&writer->loop);
    buf_release(&writer->message);
    free(writer->value);
    free(writer);
}
