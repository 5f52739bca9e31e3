/* size: what a store costs in memory and on disk: full, after as many puts more, and compacted and
 * at rest. Nothing is defragmented. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/util.h"
#include "bench/bench.h"
#include "bench/wire.h"

enum {
    LOOK_MS = 500,
    QUIET_LOOKS = 10,      /* so many in a row ... */
    QUIET_BYTES = 1 << 20, /* ... without as much written by the members: at rest */
    LOOKS_MAX = 240,
};

struct size_state {
    struct closed_loop loop;
    struct process_sample full, overwritten, rest;
    int64_t revision; /* of the last put */
    struct call call;
    bool compacting, compacted;
    double compact_s;
    uint64_t looked_written;
    unsigned looks, quiet_looks;
    uv_timer_t timer;
    bool has_timer;
    struct wire_status status;
};

static struct process_sample sample(const struct bench *bench)
{
    return process_sample(bench->side->pids, bench->side->pid_count);
}

/* By the members, or if they are another user's by anybody. */
static uint64_t written(const struct process_sample *sample)
{
    return sample->written_bytes != 0 ? sample->written_bytes : sample->disk_bytes;
}

static void size_defaults(struct bench_options *o)
{
    o->clients = 64;
    o->keys = o->requests = 1000000;
    o->key_size = 32;
    o->seconds = 3600; /* it ends after so many requests */
    o->warmup_s = 0;
}

static int size_check(const struct bench_options *o, struct err *err)
{
    return o->side.pid_count != 0
               ? 0
               : err_set(err, KV_EINVAL, "size is about memory and disk: --pids of the members");
}

static const char *size_request(struct client *client, struct buf *out)
{
    struct bench *bench = client->call.bench;
    uint8_t space[KEY_SPACE_MAX];

    wire_put(out, key_at(&bench->options->space, bench_random_key(bench), space),
             bench_value(bench), 0);
    return "/etcdserverpb.KV/Put";
}

static const char *size_answer(struct client *client, struct slice answer)
{
    struct size_state *state = client->call.bench->state;
    int64_t revision = wire_read_revision(answer);

    if (revision <= 0)
        return "a put's answer has no revision";
    state->revision = MAX(state->revision, revision);
    bench_count_put(client->call.bench);
    return NULL;
}

static void size_start(struct bench *bench)
{
    struct size_state *state = bench->state;

    state->full = sample(bench);
    calls_start(bench);
}

/* ---- afterwards ---- */

static const char *check_status(struct call *call, struct slice answer)
{
    struct size_state *state = call->bench->state;

    return wire_read_status(answer, &state->status) ? NULL
                                                    : "the answer to a Status is no StatusResponse";
}

static void on_status(struct call *call, const char *error)
{
    if (error != NULL)
        bench_error(call->bench, "%s", error);
    bench_finished(call->bench);
}

static void on_look(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    struct size_state *state = bench->state;

    state->rest = sample(bench);
    state->quiet_looks =
        written(&state->rest) - state->looked_written < QUIET_BYTES ? state->quiet_looks + 1 : 0;
    state->looked_written = written(&state->rest);
    if (state->quiet_looks < QUIET_LOOKS && ++state->looks < LOOKS_MAX)
        return;
    (void)uv_timer_stop(timer); /* cannot fail */
    state->call.check = check_status;
    state->call.done = on_status;
    call_send(&state->call, "/etcdserverpb.Maintenance/Status", slice_of(NULL, 0));
}

static const char *check_compaction(struct call *call, struct slice answer)
{
    (void)call;
    return wire_read_revision(answer) > 0 ? NULL : "a compaction's answer has no revision";
}

static void on_compacted(struct call *call, const char *error)
{
    struct bench *bench = call->bench;
    struct size_state *state = bench->state;

    state->compact_s = (double)call_us(call) / 1e6;
    if (error != NULL)
        bench_error(bench, "%s", error);
    state->compacted = error == NULL;
    state->rest = sample(bench);
    state->looked_written = written(&state->rest);
    state->has_timer = true;
    (void)uv_timer_init(&bench->loop, &state->timer); /* these cannot fail */
    state->timer.data = bench;
    (void)uv_timer_start(&state->timer, on_look, LOOK_MS, LOOK_MS);
}

/* Called again until the last put is answered. */
static void size_finish(struct bench *bench)
{
    struct size_state *state = bench->state;

    if (bench->outstanding != 0 || state->compacting)
        return;
    bench->waits = state->compacting = true;
    state->overwritten = sample(bench);
    state->call = (struct call){.bench = bench,
                                .conn = bench_conn(bench, 0),
                                .timeout_ms = 600000,
                                .check = check_compaction,
                                .done = on_compacted};
    buf_reset(&bench->message);
    wire_number(&bench->message, 1, (uint64_t)state->revision);
    wire_number(&bench->message, 2, 1); /* physical */
    call_send(&state->call, "/etcdserverpb.KV/Compact", buf_slice(&bench->message));
}

static double mib(const struct bench *bench, uint64_t bytes)
{
    return (double)bytes / (double)bench->side->pid_count / 1048576;
}

static void size_report(struct bench *bench)
{
    const struct size_state *state = bench->state;
    uint64_t to_disk = state->rest.disk_bytes - bench->began.disk_bytes;
    struct bench_result *out = bench->result;

    if (!state->compacted)
        return;
    result_add(out, "full_rss_mib", "MiB resident per member, full",
               mib(bench, state->full.rss_bytes), 1, LOWER);
    result_add(out, "overwritten_rss_mib", "MiB resident per member, after the puts",
               mib(bench, state->overwritten.rss_bytes), 1, LOWER);
    result_add(out, "rest_rss_mib", "MiB resident per member, compacted and at rest",
               mib(bench, state->rest.rss_bytes), 1, LOWER);
    result_add(out, "compact_s", "seconds of the compaction", state->compact_s, 2, LOWER);
    if (bench->put_bytes != 0)
        result_add(out, "rest_amplification", "bytes to disk per byte put, until at rest",
                   mib(bench, to_disk) * 1048576 / (double)bench->put_bytes, 2, LOWER);
    result_add(out, "db_mib", "MiB that a member says its store takes",
               (double)state->status.db_bytes / 1048576, 1, LOWER);
    result_add(out, "db_in_use_mib", "MiB of it in use",
               (double)state->status.db_bytes_in_use / 1048576, 1, LOWER);
    result_add(out, "data_dir_mib", "MiB that the largest data directory takes",
               (double)process_data_dir_bytes(bench->side->pids, bench->side->pid_count) / 1048576,
               1, LOWER);
}

static void size_release(struct bench *bench)
{
    struct size_state *state = bench->state;

    calls_release(bench);
    if (state->has_timer)
        uv_close((uv_handle_t *)&state->timer, NULL);
}

const struct workload workload_size = {
    .name = "size",
    .help = "memory and disk of 1,000,000 keys: full, after as many puts, compacted and at rest",
    .takes = "clients keys key-size value-size no-fill requests",
    .fills = true,
    .state_size = sizeof(struct size_state),
    .defaults = size_defaults,
    .check = size_check,
    .start = size_start,
    .finish = size_finish,
    .report = size_report,
    .release = size_release,
    .request = size_request,
    .answer = size_answer,
};
