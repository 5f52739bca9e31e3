#include "bench/writer.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/mem.h"
#include "base/prng.h"
#include "bench/wire.h"
#include "net/client.h"

enum { PUT_TIMEOUT_MS = 30000, VALUE_SIZE = 256, TURNS_MAX = 16 };

/* Which segment counts from when on, told by another thread. */
struct turns {
    uv_mutex_t lock;
    struct {
        uint64_t since_ns;
        enum writer_segment segment;
    } list[TURNS_MAX];
    size_t count; /* before the first: nowhere */
};

struct moment {
    size_t turn; /* 0: before the first */
    enum writer_segment segment;
};

struct writer {
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t pace;
    const char *endpoint;
    struct reach reach;
    struct grpc_conn *conn;
    struct buf message;
    struct prng prng;
    uint64_t interval_ns;
    uint64_t due_ns;     /* of the next put */
    uint64_t began_ns;   /* the put under way: when it was sent, or due if that was before */
    struct moment began; /* of the put under way: when it fell due */
    bool answered, under_way, ended, joined;
    atomic_bool stopping;
    struct turns turns;
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
    uv_close((uv_handle_t *)&writer->pace, NULL);
}

static struct moment moment_at(struct turns *turns, uint64_t ns)
{
    struct moment moment = {0, WRITER_NOWHERE};

    uv_mutex_lock(&turns->lock);
    while (moment.turn < turns->count && turns->list[moment.turn].since_ns <= ns)
        moment.segment = turns->list[moment.turn++].segment;
    uv_mutex_unlock(&turns->lock);
    return moment;
}

/* A put of a quiet time that ends after it, perhaps in the next one, belongs to the load between.
 */
static void count(struct writer *writer)
{
    uint64_t now = uv_hrtime();
    enum writer_segment segment = writer->began.segment;

    if (segment == WRITER_QUIET && moment_at(&writer->turns, now).turn != writer->began.turn)
        segment = WRITER_LOADED;
    if (segment != WRITER_NOWHERE)
        histogram_add(&writer->latency[segment], (now - writer->began_ns) / 1000);
}

static void put_next(struct writer *writer);

static void on_message(void *ctx, struct slice message)
{
    struct writer *writer = ctx;

    writer->answered = wire_read_revision(message) > 0;
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
    count(writer);
    put_next(writer);
}

/* Of a put that fell due at began_ns. What waits behind a put of another time is not quiet. */
static struct moment moment_of(struct writer *writer, uint64_t began_ns, bool waited)
{
    struct moment moment = moment_at(&writer->turns, began_ns);

    if (waited && moment.segment == WRITER_QUIET && writer->began.segment != WRITER_QUIET)
        moment.segment = WRITER_NOWHERE;
    return moment;
}

static void put(struct writer *writer, uint64_t began_ns, bool waited)
{
    static const struct grpc_stream_events events = {.on_message = on_message, .on_done = on_done};
    struct grpc_stream *stream;
    uint8_t value[VALUE_SIZE];

    for (size_t i = 0; i < sizeof value; i += 8)
        put_le64(value + i, prng_next(&writer->prng));
    buf_reset(&writer->message);
    wire_put(&writer->message, slice_str("kvbench/lone"), slice_of(value, sizeof value), 0);
    writer->answered = false;
    writer->began_ns = began_ns;
    writer->began = moment_of(writer, began_ns, waited);
    writer->due_ns += writer->interval_ns;
    if (reach_call(&writer->reach, writer->conn, "/etcdserverpb.KV/Put", PUT_TIMEOUT_MS, &events,
                   writer, &stream) == 0)
        writer->under_way = grpc_stream_send(stream, buf_slice(&writer->message), 1) == 0;
}

static void on_due(uv_timer_t *timer)
{
    /* A late timer is our lateness, not the server's. */
    put(timer->data, uv_hrtime(), false);
}

static void put_next(struct writer *writer)
{
    uint64_t now = uv_hrtime();
    bool late = writer->due_ns <= now;

    /* The puts that a stall has held up are its worst: they are still sent. */
    if (atomic_load(&writer->stopping) &&
        !(late && moment_at(&writer->turns, writer->due_ns).segment == WRITER_LOADED))
        end(writer);
    else if (late)
        put(writer, writer->due_ns, true);
    else
        (void)uv_timer_start(&writer->pace, on_due, (writer->due_ns - now) / 1000000 + 1,
                             0); /* cannot fail */
}

static void on_ready(void *ctx)
{
    struct writer *writer = ctx;

    writer->due_ns = uv_hrtime();
    put_next(writer);
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

/* It stands for a client on another machine: the lists' reader, which takes all of a core, is not
 * what it should wait for. Without the right to it there is a slice of the scheduler in the tail.
 */
static void be_prompt(void)
{
    struct sched_param param = {.sched_priority = 5};

    (void)pthread_setschedparam(pthread_self(), SCHED_RR, &param);
}

static void run(void *arg)
{
    static const struct grpc_conn_events events = {.on_ready = on_ready, .on_down = on_down};
    struct writer *writer = arg;

    be_prompt();
    if (reach_connect(&writer->reach, &writer->loop, writer->endpoint, &events, writer,
                      &writer->conn, &writer->err) != 0)
        end(writer);
    (void)uv_run(&writer->loop, UV_RUN_DEFAULT); /* until everything is closed */
}

struct writer *writer_start(const struct reach *reach, const char *endpoint, uint64_t rate,
                            uint64_t seed)
{
    struct writer *writer = xcalloc(1, sizeof *writer);

    writer->endpoint = endpoint;
    writer->reach = reach_copy(reach);
    writer->interval_ns = 1000000000 / rate;
    buf_init(&writer->message, SIZE_MAX / 2);
    prng_seed(&writer->prng, seed);
    writer->began.segment = WRITER_NOWHERE;
    ASSERT(uv_mutex_init(&writer->turns.lock) == 0);
    (void)uv_loop_init(&writer->loop); /* these fail only without memory or descriptors */
    (void)uv_async_init(&writer->loop, &writer->wake, on_wake);
    (void)uv_timer_init(&writer->loop, &writer->pace);
    writer->wake.data = writer->pace.data = writer;
    ASSERT(uv_thread_create(&writer->thread, run, writer) == 0);
    return writer;
}

void writer_count_into(struct writer *writer, enum writer_segment segment)
{
    struct turns *turns = &writer->turns;

    uv_mutex_lock(&turns->lock);
    ASSERT(turns->count < TURNS_MAX);
    turns->list[turns->count].since_ns = uv_hrtime();
    turns->list[turns->count++].segment = segment;
    uv_mutex_unlock(&turns->lock);
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

static void add_ratio(struct bench_result *out, const char *name, const char *label,
                      uint64_t loaded_us, uint64_t quiet_us)
{
    if (quiet_us != 0)
        result_add(out, name, label, (double)loaded_us / (double)quiet_us, 2, LOWER);
}

void writer_report(const struct writer *writer, const char *quiet, const char *loaded,
                   struct bench_result *out)
{
    const struct histogram *a = &writer->latency[WRITER_QUIET],
                           *b = &writer->latency[WRITER_LOADED];

    result_add_latency(out, "put_quiet", quiet, a);
    result_add_latency(out, "put_loaded", loaded, b);
    add_ratio(out, "put_p50_ratio", "p50 of the second : the first", histogram_at(b, 0.5),
              histogram_at(a, 0.5));
    add_ratio(out, "put_p99_ratio", "p99 of the second : the first", histogram_at(b, 0.99),
              histogram_at(a, 0.99));
}

void writer_free(struct writer *writer)
{
    if (writer == NULL)
        return;
    (void)writer_stop(writer, NULL); /* whoever wanted to know has asked */
    (void)uv_loop_close(&writer->loop);
    uv_mutex_destroy(&writer->turns.lock);
    buf_release(&writer->message);
    reach_release(&writer->reach);
    free(writer);
}
