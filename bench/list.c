/* big-list: whole ranges of some 54 MB, sixteen at once: what they add to the server's memory, and
 * with --put what they do to a lone writer. A request is a whole list. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/util.h"
#include "bench/bench.h"
#include "bench/list_reader.h"
#include "bench/wire.h"
#include "bench/writer.h"

enum { SAMPLE_MS = 10, SEGMENTS = 4 /* even ones are quiet */ };

struct lister {
    struct bench *bench;
    struct grpc_conn *conn;
    struct grpc_stream *stream;
    struct list_reader reader;
    uint64_t began_ns;
    uint64_t taken; /* bytes of this list */
    bool paused;
};

struct list_state {
    struct lister *listers;
    struct writer *writer; /* with --put */
    uv_timer_t sample, segment_end;
    bool has_timers;
    uint64_t running; /* lists under way */
    unsigned segment; /* with --put */
    uint64_t quiet_since_ns;
    uint64_t bytes;
    uint64_t rss_max, anon_max; /* sampled */
    bool peak_known;
};

static void list_defaults(struct bench_options *o)
{
    o->clients = o->connections = 16;
    o->keys = 50000;
    o->key_size = 32;
    o->value_size = 1024;
    o->rate = WRITER_RATE;
}

static int list_check(const struct bench_options *o, struct err *err)
{
    if (o->slow_mb_s > 0 && o->connections < o->clients)
        return err_set(err, KV_EINVAL,
                       "--slow holds back a connection: each of the %llu clients needs its own",
                       (unsigned long long)o->clients);
    return 0;
}

static void end_of_lists(struct bench *bench);

static bool is_loaded(const struct list_state *state)
{
    return state->segment % 2 == 1;
}

/* ---- one list ---- */

static uint64_t bytes_allowed(const struct lister *lister)
{
    double seconds = (double)(uv_hrtime() - lister->began_ns) / 1e9;

    return (uint64_t)(lister->bench->options->slow_mb_s * 1e6 * seconds);
}

static void on_part(void *ctx, struct slice part, uint64_t left)
{
    struct lister *lister = ctx;
    struct bench *bench = lister->bench;
    struct list_state *state = bench->state;

    list_reader_feed(&lister->reader, part, left == 0);
    lister->taken += part.len;
    state->bytes += part.len;
    bench->done++;
    if (bench->options->slow_mb_s > 0 && !lister->paused && lister->taken > bytes_allowed(lister)) {
        lister->paused = true;
        grpc_conn_pause(lister->conn);
    }
}

static void begin_list(struct lister *lister);

static void on_done(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent)
{
    struct lister *lister = ctx;
    struct bench *bench = lister->bench;
    struct list_state *state = bench->state;
    const char *wrong = list_reader_verdict(&lister->reader);

    (void)sent;
    state->running--;
    bench_count(bench, (uv_hrtime() - lister->began_ns) / 1000);
    if (status != GRPC_OK)
        bench_error(bench, "%s: %s", grpc_status_name(status), message);
    else if (wrong != NULL)
        bench_error(bench, "%s", wrong);
    /* A server that refuses them all would be asked for ever more. */
    if (status != GRPC_OK)
        bench_fail(bench, "%s: %s", grpc_status_name(status), message);
    else if (state->writer != NULL && is_loaded(state))
        begin_list(lister);
    else if (state->running == 0)
        end_of_lists(bench);
}

static void begin_list(struct lister *lister)
{
    static const struct grpc_stream_events events = {.on_part = on_part, .on_done = on_done};
    struct bench *bench = lister->bench;
    struct list_state *state = bench->state;
    const struct bench_options *o = bench->options;
    uint8_t first[KEY_SPACE_MAX], last[KEY_SPACE_MAX];
    const struct wire_range range = {.key = key_at(&o->space, 0, first),
                                     .end = key_at(&o->space, o->keys, last)};

    list_reader_init(&lister->reader, &o->space, o->stream);
    lister->taken = 0;
    lister->began_ns = uv_hrtime();
    buf_reset(&bench->message);
    wire_range(&bench->message, &range);
    if (reach_call(&bench->reach, lister->conn,
                   o->stream ? "/etcdserverpb.KV/RangeStream" : "/etcdserverpb.KV/Range", 0,
                   &events, lister, &lister->stream) != 0 ||
        grpc_stream_send(lister->stream, buf_slice(&bench->message), 1) != 0)
        return; /* the connection is going down: the run ends */
    state->running++;
}

static void begin_all(struct bench *bench)
{
    struct list_state *state = bench->state;

    for (uint64_t i = 0; i < bench->options->clients; i++)
        begin_list(&state->listers[i]);
}

/* ---- time ---- */

static void on_sample(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    struct list_state *state = bench->state;
    struct process_sample now = process_sample(bench->side->pids, bench->side->pid_count);

    state->rss_max = MAX(state->rss_max, now.rss_bytes);
    state->anon_max = MAX(state->anon_max, now.anon_bytes);
    for (uint64_t i = 0; i < bench->options->clients; i++) {
        struct lister *lister = &state->listers[i];

        if (!lister->paused || lister->taken > bytes_allowed(lister))
            continue;
        lister->paused = false;
        grpc_conn_resume(lister->conn);
    }
}

static void on_segment_end(uv_timer_t *timer);

static void begin_segment(struct bench *bench)
{
    struct list_state *state = bench->state;
    uint64_t ms = (uint64_t)(bench->options->seconds * 1000 / SEGMENTS);

    writer_count_into(state->writer, is_loaded(state) ? WRITER_LOADED : WRITER_QUIET);
    (void)uv_timer_start(&state->segment_end, on_segment_end, MAX(ms, 1), 0); /* cannot fail */
    bench->waits = !is_loaded(state);
    if (bench->waits)
        state->quiet_since_ns = uv_hrtime();
    else
        begin_all(bench);
}

/* No list is under way any more. */
static void end_of_lists(struct bench *bench)
{
    struct list_state *state = bench->state;

    if (state->writer == NULL) {
        if ((double)(uv_hrtime() - bench->began_ns) / 1e9 < bench->options->seconds)
            begin_all(bench);
        else
            bench_measured(bench);
    } else if (state->segment == SEGMENTS) {
        bench_measured(bench);
    } else {
        begin_segment(bench);
    }
}

static void on_segment_end(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    struct list_state *state = bench->state;

    if (bench->phase == PHASE_WARMUP) {
        bench_measure(bench);
        begin_segment(bench);
        return;
    }
    state->segment++;
    if (!is_loaded(state)) {
        writer_count_into(state->writer, WRITER_NOWHERE); /* until the last list has ended */
        return;
    }
    bench->pause_ns += uv_hrtime() - state->quiet_since_ns;
    begin_segment(bench);
}

static void list_start(struct bench *bench)
{
    struct list_state *state = bench->state;

    state->listers = xcalloc(bench->options->clients, sizeof *state->listers);
    for (uint64_t i = 0; i < bench->options->clients; i++)
        state->listers[i] = (struct lister){.bench = bench, .conn = bench_conn(bench, i)};
    state->has_timers = true;
    state->sample.data = state->segment_end.data = bench;
    (void)uv_timer_init(&bench->loop, &state->sample); /* these cannot fail */
    (void)uv_timer_init(&bench->loop, &state->segment_end);
    (void)uv_timer_start(&state->sample, on_sample, SAMPLE_MS, SAMPLE_MS);
    state->peak_known = process_reset_peak(bench->side->pids, bench->side->pid_count);
    if (!bench->options->put) {
        bench_measure(bench);
        begin_all(bench);
        return;
    }
    bench->no_cpu_per_request = true;
    bench->waits = true;
    state->writer = writer_start(&bench->reach, bench->side->endpoints[0], bench->options->rate,
                                 bench->options->seed);
    (void)uv_timer_start(&state->segment_end, on_segment_end,
                         (uint64_t)(bench->options->warmup_s * 1000), 0);
}

static void list_finish(struct bench *bench)
{
    struct list_state *state = bench->state;
    struct err err = ERR_INIT;

    if (state->writer != NULL && writer_stop(state->writer, &err) != 0)
        bench_error(bench, "%s", err.text);
    bench_finished(bench);
}

/* ---- figures ---- */

static double mib_above(uint64_t bytes, uint64_t base)
{
    return ((double)bytes - (double)base) / 1048576;
}

static void list_report(struct bench *bench)
{
    struct list_state *state = bench->state;
    struct bench_result *r = bench->result;
    double seconds = result_get(r, "seconds");

    result_add(r, "mb_s", "MB per second", (double)state->bytes / 1e6 / seconds, 1, HIGHER);
    if (r->requests != 0)
        result_add(r, "list_mb", "MB per list", (double)state->bytes / 1e6 / (double)r->requests, 1,
                   NEITHER);
    if (bench->side->pid_count != 0) {
        result_add(r, "added_peak_mib", "added peak of resident memory, MiB",
                   mib_above(state->peak_known ? bench->ended.peak_bytes : state->rss_max,
                             bench->began.rss_bytes),
                   1, LOWER);
        result_add(r, "added_anon_mib", "added peak of anonymous memory, sampled, MiB",
                   mib_above(state->anon_max, bench->began.anon_bytes), 1, LOWER);
    }
    if (state->writer == NULL)
        return;
    (void)writer_stop(state->writer, NULL); /* its errors are counted already */
    writer_report(state->writer, "lone put without lists", "lone put beside lists", r);
}

static void list_release(struct bench *bench)
{
    struct list_state *state = bench->state;

    writer_free(state->writer);
    if (state->has_timers) {
        uv_close((uv_handle_t *)&state->sample, NULL);
        uv_close((uv_handle_t *)&state->segment_end, NULL);
    }
    free(state->listers);
}

const struct workload workload_big_list = {
    .name = "big-list",
    .help = "16 whole lists of 54 MB at once, again and again: added memory, bytes per second",
    .takes = "clients keys key-size value-size no-fill slow window put rate stream",
    .key_prefix = "/registry/big/",
    .fills = true,
    .own_clock = true,
    .state_size = sizeof(struct list_state),
    .defaults = list_defaults,
    .check = list_check,
    .start = list_start,
    .finish = list_finish,
    .report = list_report,
    .release = list_release,
};
