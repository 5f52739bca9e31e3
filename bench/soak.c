/* soak: a mixed load for a long time, with compactions as a cluster has them; what has changed
 * between the first tenth of the time and the last. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/util.h"
#include "bench/bench.h"
#include "bench/wire.h"

enum {
    PARTS = 10,
    PUT_PPM = 200000,
    COMPACT_PARTS = 10,   /* compactions in each part ... */
    KEEP_REVISIONS = 1000 /* ... that leave so many */
};

struct part {
    uint64_t requests;
    struct histogram latency;
    double cpu_s, seconds;
    uint64_t rss_bytes;
};

struct soak_state {
    struct closed_loop loop;
    struct part parts[PARTS];
    unsigned part, ticks;
    uint64_t began_ns;
    double began_cpu_s;
    int64_t revision; /* of the last put */
    int64_t compacted_to;
    struct call compaction;
    bool compacting;
    uv_timer_t timer;
    bool has_timer;
};

static void soak_defaults(struct bench_options *o)
{
    o->clients = 64;
    o->seconds = 3600;
}

static const char *soak_request(struct client *client, struct buf *out)
{
    struct bench *bench = client->call.bench;
    uint8_t space[KEY_SPACE_MAX];
    struct wire_range range = {.limit = 0};

    client->number = bench_random_key(bench);
    range.key = key_at(&bench->options->space, client->number, space);
    client->kind = prng_chance(&bench->prng, PUT_PPM);
    if (client->kind) {
        wire_put(out, range.key, bench_value(bench), 0);
        return "/etcdserverpb.KV/Put";
    }
    wire_range(out, &range);
    return "/etcdserverpb.KV/Range";
}

static const char *check_put(struct soak_state *state, struct slice answer)
{
    int64_t revision = wire_read_revision(answer);

    state->revision = MAX(state->revision, revision);
    if (state->compacted_to == 0)
        state->compacted_to = revision; /* what was there before is nobody's business */
    return revision > 0 ? NULL : "a put's answer has no revision";
}

static const char *check_get(const struct client *client, struct slice answer)
{
    struct wire_range_answer range;

    if (!wire_read_range(answer, &range))
        return "the answer to a Range is no RangeResponse";
    if (range.kvs != 1 ||
        !key_is(&client->call.bench->options->space, range.first.key, client->number))
        return "a get has not found its key";
    return NULL;
}

static const char *soak_answer(struct client *client, struct slice answer)
{
    struct bench *bench = client->call.bench;
    struct soak_state *state = bench->state;

    if (bench->phase == PHASE_MEASURE && state->part < PARTS) {
        state->parts[state->part].requests++;
        histogram_add(&state->parts[state->part].latency, call_us(&client->call));
    }
    if (client->kind)
        bench_count_put(bench);
    return client->kind ? check_put(state, answer) : check_get(client, answer);
}

/* ---- compactions ---- */

static const char *check_compaction(struct call *call, struct slice answer)
{
    (void)call;
    return wire_read_revision(answer) > 0 ? NULL : "a compaction's answer has no revision";
}

static void on_compacted(struct call *call, const char *error)
{
    struct bench *bench = call->bench;
    struct soak_state *state = bench->state;

    state->compacting = false;
    if (error != NULL)
        bench_error(bench, "%s", error);
    if (bench->phase == PHASE_FINISH)
        bench->workload->finish(bench);
}

static void compact(struct bench *bench)
{
    struct soak_state *state = bench->state;

    if (state->compacting || state->revision - KEEP_REVISIONS <= state->compacted_to)
        return;
    state->compacting = true;
    state->compacted_to = state->revision - KEEP_REVISIONS;
    state->compaction = (struct call){.bench = bench,
                                      .conn = bench_conn(bench, 0),
                                      .check = check_compaction,
                                      .done = on_compacted};
    buf_reset(&bench->message);
    wire_number(&bench->message, 1, (uint64_t)state->compacted_to);
    call_send(&state->compaction, "/etcdserverpb.KV/Compact", buf_slice(&bench->message));
}

/* ---- parts ---- */

static void end_part(struct bench *bench)
{
    struct soak_state *state = bench->state;
    struct process_sample now = process_sample(bench->side->pids, bench->side->pid_count);
    struct part *part = &state->parts[state->part++];
    uint64_t now_ns = uv_hrtime();

    part->seconds = (double)(now_ns - state->began_ns) / 1e9;
    part->cpu_s = now.cpu_s - state->began_cpu_s;
    part->rss_bytes = now.rss_bytes;
    state->began_ns = now_ns;
    state->began_cpu_s = now.cpu_s;
}

static void on_tick(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    struct soak_state *state = bench->state;

    if (bench->phase != PHASE_MEASURE || state->part == PARTS)
        return;
    if (state->began_ns == 0) {
        state->began_ns = bench->began_ns;
        state->began_cpu_s = bench->began.cpu_s;
    }
    if (++state->ticks % COMPACT_PARTS == 0)
        end_part(bench);
    if (state->part == PARTS)
        bench_measured(bench);
    else
        compact(bench);
}

static void soak_start(struct bench *bench)
{
    struct soak_state *state = bench->state;
    uint64_t every_ms = MAX((uint64_t)(bench->options->seconds * 1000 / PARTS / COMPACT_PARTS), 1);

    state->has_timer = true;
    (void)uv_timer_init(&bench->loop, &state->timer); /* these cannot fail */
    state->timer.data = bench;
    (void)uv_timer_start(&state->timer, on_tick, every_ms, every_ms);
    calls_start(bench);
    bench_measure(bench);
}

static double per_request_us(const struct part *part)
{
    return part->requests == 0 ? 0 : part->cpu_s * 1e6 / (double)part->requests;
}

static void soak_report(struct bench *bench)
{
    const struct soak_state *state = bench->state;
    const struct part *first = &state->parts[0], *last = &state->parts[PARTS - 1];
    struct bench_result *out = bench->result;
    double slowest = 0;

    if (state->part < PARTS)
        return;
    for (unsigned i = 0; i < PARTS; i++) {
        double rate = (double)state->parts[i].requests / state->parts[i].seconds;

        slowest = i == 0 ? rate : MIN(slowest, rate);
    }
    result_add(out, "slowest_req_s", "requests per second in the slowest tenth", slowest, 0,
               HIGHER);
    result_add(out, "first_p99_us", "p99 us of the first tenth",
               (double)histogram_at(&first->latency, 0.99), 0, LOWER);
    result_add(out, "last_p99_us", "p99 us of the last tenth",
               (double)histogram_at(&last->latency, 0.99), 0, LOWER);
    if (bench->side->pid_count == 0)
        return;
    result_add(out, "first_cpu_us", "server CPU us per request in the first tenth",
               per_request_us(first), 2, LOWER);
    result_add(out, "last_cpu_us", "server CPU us per request in the last tenth",
               per_request_us(last), 2, LOWER);
    result_add(out, "first_rss_mib", "server memory MiB after the first tenth",
               (double)first->rss_bytes / 1048576, 1, LOWER);
    result_add(out, "last_rss_mib", "server memory MiB after the last tenth",
               (double)last->rss_bytes / 1048576, 1, LOWER);
}

static void soak_release(struct bench *bench)
{
    struct soak_state *state = bench->state;

    calls_release(bench);
    if (state->has_timer)
        uv_close((uv_handle_t *)&state->timer, NULL);
}

const struct workload workload_soak = {
    .name = "soak",
    .help = "80 % get, 20 % put and compactions for an hour: the first tenth beside the last",
    .takes = "clients keys key-size value-size no-fill",
    .fills = true,
    .own_clock = true,
    .state_size = sizeof(struct soak_state),
    .defaults = soak_defaults,
    .start = soak_start,
    .finish = calls_finish,
    .report = soak_report,
    .release = soak_release,
    .request = soak_request,
    .answer = soak_answer,
};
