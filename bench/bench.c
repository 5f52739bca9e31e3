/* Connections, phases, time. */
#include "bench/bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    TICK_MS = 250,
    STILL_TICKS_MAX = 30 * 1000 / TICK_MS, /* half a minute without an answer is an answer */
};

static const char *const phase_names[] = {"connecting", "logging in", "writing keys", "preparing",
                                          "warming up", "measuring",  "finishing",    ""};

static void enter(struct bench *bench, enum phase phase)
{
    bench->phase = phase;
    bench->done = bench->total = bench->done_seen = bench->still_ticks = 0;
}

static void end_measure(struct bench *bench)
{
    bench->ended_ns = uv_hrtime();
    bench->own_cpu_s = process_own_cpu_s() - bench->own_cpu_s;
    bench->ended = process_sample(bench->side->pids, bench->side->pid_count);
    enter(bench, PHASE_FINISH);
}

/* ---- errors ---- */

void bench_error(struct bench *bench, const char *fmt, ...)
{
    va_list args;

    if (bench->result->errors++ != 0)
        return;
    va_start(args, fmt);
    (void)vsnprintf(bench->result->first_error, sizeof bench->result->first_error, fmt, args);
    va_end(args);
}

/* Ends the run. Before the measure there is no result, in it a partial one. */
static void stop(struct bench *bench, const char *text)
{
    if (bench->phase == PHASE_END)
        return;
    if (bench->phase == PHASE_MEASURE)
        end_measure(bench);
    if (bench->phase == PHASE_FINISH) {
        bench->result->partial = true;
        bench_error(bench, "%s", text);
    } else {
        bench->rc = err_set(bench->err, KV_ECONN, "%s: %s", phase_names[bench->phase], text);
    }
    bench->phase = PHASE_END;
    uv_stop(&bench->loop);
}

void bench_fail(struct bench *bench, const char *fmt, ...)
{
    char text[400];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    stop(bench, text);
}

/* ---- progress ---- */

static bool shows_progress(const struct bench *bench)
{
    return !bench->options->json && isatty(STDERR_FILENO);
}

static void clear_progress(const struct bench *bench)
{
    if (shows_progress(bench))
        fprintf(stderr, "\r\033[K");
}

static void show_progress(const struct bench *bench)
{
    double seconds = (double)(uv_hrtime() - bench->began_ns) / 1e9;

    if (!shows_progress(bench))
        return;
    fprintf(stderr, "\r\033[K%s: %s", bench->workload->name, phase_names[bench->phase]);
    if (bench->phase == PHASE_MEASURE && bench->workload->own_clock)
        fprintf(stderr, ", %.1f s", seconds);
    else if (bench->phase == PHASE_MEASURE)
        fprintf(stderr, ", %.1f of %.1f s", seconds, bench->options->seconds);
    if (bench->phase == PHASE_MEASURE)
        fprintf(stderr, ", %.0f requests/s", (double)bench->result->requests / seconds);
    if (bench->total != 0)
        fprintf(stderr, ", %llu of %llu", (unsigned long long)bench->done,
                (unsigned long long)bench->total);
    (void)fflush(stderr); /* it is only a progress line */
}

static void on_tick(uv_timer_t *timer)
{
    struct bench *bench = timer->data;

    show_progress(bench);
    bench->still_ticks = bench->done == bench->done_seen ? bench->still_ticks + 1 : 0;
    bench->done_seen = bench->done;
    if (bench->still_ticks < STILL_TICKS_MAX || bench->phase == PHASE_WARMUP || bench->waits)
        return;
    if (bench->phase != PHASE_MEASURE || bench->workload->own_clock)
        bench_fail(bench, "nothing has come from the server for %d s",
                   STILL_TICKS_MAX * TICK_MS / 1000);
}

static void on_interrupt(uv_signal_t *handle, int number)
{
    (void)number;
    bench_fail(handle->data, "interrupted");
}

/* ---- phases ---- */

static void on_phase_timer(uv_timer_t *timer)
{
    struct bench *bench = timer->data;

    if (bench->phase == PHASE_WARMUP)
        bench_measure(bench);
    else if (bench->phase == PHASE_MEASURE)
        bench_measured(bench);
}

static void in_seconds(struct bench *bench, double seconds)
{
    (void)uv_timer_start(&bench->phase_timer, on_phase_timer, (uint64_t)(seconds * 1000),
                         0); /* cannot fail */
}

static void on_filled(struct bench *bench)
{
    enter(bench, PHASE_PREPARE);
    if (bench->workload->prepare != NULL)
        bench->workload->prepare(bench);
    else
        bench_prepared(bench);
}

void bench_prepared(struct bench *bench)
{
    if (bench->phase != PHASE_PREPARE)
        return;
    enter(bench, PHASE_WARMUP);
    if (!bench->workload->own_clock)
        in_seconds(bench, bench->options->warmup_s);
    bench->workload->start(bench);
}

void bench_measure(struct bench *bench)
{
    if (bench->phase != PHASE_WARMUP)
        return;
    enter(bench, PHASE_MEASURE);
    bench->began = process_sample(bench->side->pids, bench->side->pid_count);
    bench->own_cpu_s = process_own_cpu_s();
    bench->began_ns = uv_hrtime();
    if (!bench->workload->own_clock)
        in_seconds(bench, bench->options->seconds);
}

void bench_measured(struct bench *bench)
{
    if (bench->phase != PHASE_MEASURE)
        return;
    end_measure(bench);
    bench->workload->finish(bench);
}

void bench_finished(struct bench *bench)
{
    if (bench->phase != PHASE_FINISH)
        return;
    bench->phase = PHASE_END;
    uv_stop(&bench->loop);
}

void bench_count(struct bench *bench, uint64_t us)
{
    bench->done++;
    if (bench->phase != PHASE_MEASURE)
        return;
    bench->result->requests++;
    histogram_add(&bench->result->latency, us);
    if (bench->result->requests == bench->options->requests)
        bench_measured(bench);
}

void bench_count_put(struct bench *bench)
{
    if (bench->phase == PHASE_MEASURE)
        bench->put_bytes += bench->options->key_size + bench->options->value_size;
}

bool bench_sending(const struct bench *bench)
{
    return bench->phase == PHASE_WARMUP || bench->phase == PHASE_MEASURE;
}

struct grpc_conn *bench_conn(const struct bench *bench, uint64_t i)
{
    return bench->conns[i % bench->conn_count];
}

uint64_t bench_random_key(struct bench *bench)
{
    return prng_between(&bench->prng, 0, bench->options->keys - 1);
}

/* One random number and steps of the golden ratio from there: as new each time as any, and no
 * tenth of a put's cost. */
struct slice bench_value(struct bench *bench)
{
    size_t size = bench->options->value_size;
    uint64_t word = prng_next(&bench->prng);

    for (size_t i = 0; i < size; i += sizeof word) {
        word += 0x9e3779b97f4a7c15u;
        memcpy(bench->value + i, &word, sizeof word); /* has room for whole words */
    }
    return slice_of(bench->value, size);
}

/* ---- connections ---- */

static void on_logged_in(struct bench *bench)
{
    bench->before = process_sample(bench->side->pids, bench->side->pid_count);
    enter(bench, PHASE_FILL);
    if (bench->workload->fills && !bench->options->no_fill)
        fill_start(bench, on_filled);
    else
        on_filled(bench);
}

static void on_ready(void *ctx)
{
    struct bench *bench = ctx;

    bench->done++;
    if (++bench->conns_ready < bench->conn_count)
        return;
    enter(bench, PHASE_LOGIN);
    if (bench->options->user != NULL)
        login_start(bench, on_logged_in);
    else
        on_logged_in(bench);
}

/* Its clients have nothing to send on: end with what was measured. */
static void on_down(void *ctx, const struct err *err)
{
    struct bench *bench = ctx;

    if (!bench->expects_loss)
        stop(bench, err->text);
}

static int connect_all(struct bench *bench)
{
    static const struct grpc_conn_events events = {.on_ready = on_ready, .on_down = on_down};
    bench->total = bench->conn_count;
    for (size_t i = 0; i < bench->conn_count; i++) {
        const char *endpoint = bench->side->endpoints[i % bench->side->endpoint_count];
        int rc = reach_connect(&bench->reach, &bench->loop, endpoint, &events, bench,
                               &bench->conns[i], bench->err);

        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Many connections need many descriptors; without them connecting says so. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* else what there is */
}

/* ---- the run ---- */

static void init(struct bench *bench)
{
    const struct bench_options *options = bench->options;

    (void)uv_loop_init(&bench->loop); /* these fail only without memory or descriptors */
    (void)uv_timer_init(&bench->loop, &bench->phase_timer);
    (void)uv_timer_init(&bench->loop, &bench->tick);
    (void)uv_signal_init(&bench->loop, &bench->interrupt);
    bench->phase_timer.data = bench->tick.data = bench->interrupt.data = bench;
    (void)uv_timer_start(&bench->tick, on_tick, TICK_MS, TICK_MS);
    (void)uv_signal_start(&bench->interrupt, on_interrupt, SIGINT);
    bench->conn_count = options->connections;
    bench->conns = xcalloc(bench->conn_count, sizeof(struct grpc_conn *));
    buf_init(&bench->message, SIZE_MAX / 2);
    bench->value = xmalloc(options->value_size + 8);
    if (bench->workload->state_size != 0)
        bench->state = xcalloc(1, bench->workload->state_size);
    prng_seed(&bench->prng, options->seed);
}

static void release(struct bench *bench)
{
    for (size_t i = 0; i < bench->conn_count; i++) {
        if (bench->conns[i] != NULL)
            grpc_conn_close(bench->conns[i], NULL, NULL);
    }
    if (bench->workload->release != NULL)
        bench->workload->release(bench);
    uv_close((uv_handle_t *)&bench->phase_timer, NULL);
    uv_close((uv_handle_t *)&bench->tick, NULL);
    uv_close((uv_handle_t *)&bench->interrupt, NULL);
    (void)uv_run(&bench->loop, UV_RUN_DEFAULT); /* lets the close callbacks run */
    free(bench->fill);
    free(bench->login);
    reach_release(&bench->reach);
    (void)uv_loop_close(&bench->loop); /* nothing is open any more */
    free(bench->conns);
    free(bench->state);
    free(bench->value);
    buf_release(&bench->message);
}

static void add_disk(struct bench *bench)
{
    uint64_t bytes = bench->ended.disk_bytes - bench->began.disk_bytes;

    if (bench->side->pid_count == 0)
        return;
    result_add(bench->result, "disk_mib", "MiB written to this machine's disks",
               (double)bytes / 1048576, 1, LOWER);
    if (bench->put_bytes != 0)
        result_add(
            bench->result, "write_amplification", "bytes to disk, for each server, per byte put",
            (double)bytes / (double)bench->side->pid_count / (double)bench->put_bytes, 2, LOWER);
}

static void add_figures(struct bench *bench)
{
    struct bench_result *r = bench->result;
    const struct histogram *h = &r->latency;
    uint64_t ns = bench->ended_ns - bench->began_ns - bench->pause_ns;
    double seconds = (double)MAX(ns, 1) / 1e9; /* a run can end the moment it begins */
    double requests = r->requests != 0 ? (double)r->requests : 1;
    double server_cpu = bench->ended.cpu_s - bench->began.cpu_s;

    result_add(r, "seconds", NULL, seconds, 2, NEITHER);
    result_add(r, "req_s", NULL, (double)r->requests / seconds, 1, HIGHER);
    result_add(r, "p50_us", NULL, (double)histogram_at(h, 0.5), 0, LOWER);
    result_add(r, "p90_us", NULL, (double)histogram_at(h, 0.9), 0, LOWER);
    result_add(r, "p99_us", NULL, (double)histogram_at(h, 0.99), 0, LOWER);
    result_add(r, "p999_us", NULL, (double)histogram_at(h, 0.999), 0, LOWER);
    result_add(r, "max_us", NULL, (double)h->max_us, 0, LOWER);
    if (bench->side->pid_count != 0 && !bench->no_cpu_per_request)
        result_add(r, "server_cpu_us", NULL, server_cpu * 1e6 / requests, 2, LOWER);
    if (bench->side->pid_count != 0)
        result_add(r, "server_cpu_percent", NULL, 100 * server_cpu / seconds, 1, NEITHER);
    if (!bench->no_cpu_per_request)
        result_add(r, "own_cpu_us", NULL, bench->own_cpu_s * 1e6 / requests, 2, NEITHER);
    if (bench->side->pid_count != 0) {
        result_add(r, "server_rss_mib", NULL, (double)bench->ended.rss_bytes / 1048576, 1, LOWER);
        result_add(r, "server_anon_mib", NULL, (double)bench->ended.anon_bytes / 1048576, 1, LOWER);
    }
    add_disk(bench);
    result_add(r, "load", NULL, process_load_average(), 2, NEITHER);
    if (bench->workload->report != NULL)
        bench->workload->report(bench);
}

int bench_run(const struct bench_options *options, const struct bench_side *side, bool fill,
              struct bench_result *out, struct err *err)
{
    struct bench_options copy = *options;
    struct bench bench = {
        .options = &copy, .workload = options->workload, .side = side, .result = out, .err = err};
    int rc;

    bench.reach.options = &copy;
    copy.no_fill = options->no_fill || !fill;
    *out = (struct bench_result){0};
    raise_file_limit();
    init(&bench);
    rc = connect_all(&bench);
    if (rc == 0) {
        (void)uv_run(&bench.loop, UV_RUN_DEFAULT); /* ends by uv_stop() */
        rc = bench.rc;
    }
    bench.phase = PHASE_END;
    clear_progress(&bench);
    if (rc == 0)
        add_figures(&bench);
    release(&bench);
    return rc;
}
