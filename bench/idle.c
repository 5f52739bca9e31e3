/* watch-idle: what a watcher that waits for nothing costs. A request is a creation. */
#include <stdlib.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "bench/wire.h"

enum { WINDOW = 128 /* creations on their way on each stream */, PROBES = 16, SETTLE_MS = 500 };

struct idle_stream {
    struct bench *bench;
    struct grpc_stream *stream;
    uint64_t first, count; /* of its watchers: one key each */
    uint64_t sent, created;
    uint64_t sent_ns[WINDOW];
};

struct idle_state {
    struct idle_stream *streams;
    uint64_t created;
    struct call put;
    uv_timer_t settle;
    bool has_settle;
    uint64_t probe;       /* key that was put */
    unsigned probes_done; /* of which the event has come */
    bool put_done, event_seen;
    struct process_sample after;
};

static void idle_defaults(struct bench_options *o)
{
    o->watchers = 100000;
    o->streams = 10;
    o->connections = 10;
    o->key_size = 32;
    o->keys = 0;
}

static int idle_check(const struct bench_options *o, struct err *err)
{
    struct key_space space; /* a key for each watcher must exist */

    return key_space_init(&space, o->workload->key_prefix, o->key_size, o->watchers, err);
}

static void send_creates(struct idle_stream *stream)
{
    struct bench *bench = stream->bench;
    struct buf *out = &bench->message;
    uint8_t space[KEY_SPACE_MAX];

    while (stream->sent < stream->count && stream->sent - stream->created < WINDOW) {
        uint64_t i = stream->sent++;

        stream->sent_ns[i % WINDOW] = uv_hrtime();
        buf_reset(out);
        wire_watch_create(out, key_at(&bench->options->space, stream->first + i, space),
                          slice_of(NULL, 0), (int64_t)i + 1);
        (void)grpc_stream_send(stream->stream, buf_slice(out), 0); /* broken: the run ends */
    }
}

/* ---- afterwards: do they still see what happens? ---- */

static void put_probe(struct bench *bench)
{
    struct idle_state *state = bench->state;
    struct buf *out = &bench->message;
    uint8_t space[KEY_SPACE_MAX];

    state->probe = prng_between(&bench->prng, 0, bench->options->watchers - 1);
    state->put_done = state->event_seen = false;
    buf_reset(out);
    wire_put(out, key_at(&bench->options->space, state->probe, space), bench_value(bench), 0);
    call_send(&state->put, "/etcdserverpb.KV/Put", buf_slice(out));
}

static const char *check_put(struct call *call, struct slice answer)
{
    (void)call;
    return wire_read_revision(answer) > 0 ? NULL : "a put's answer has no revision";
}

static void on_settled(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    struct idle_state *state = bench->state;

    state->after = process_sample(bench->side->pids, bench->side->pid_count);
    bench_finished(bench);
}

static void next_probe(struct bench *bench)
{
    struct idle_state *state = bench->state;

    if (!state->put_done || !state->event_seen)
        return;
    bench->done++;
    if (++state->probes_done < PROBES)
        put_probe(bench);
    else
        (void)uv_timer_start(&state->settle, on_settled, SETTLE_MS, 0); /* cannot fail */
}

static void on_put(struct call *call, const char *error)
{
    struct bench *bench = call->bench;
    struct idle_state *state = bench->state;

    if (error != NULL) {
        bench_fail(bench, "put: %s", error);
        return;
    }
    state->put_done = true;
    next_probe(bench);
}

static void on_event(struct idle_stream *stream, struct wire_watch_answer *answer)
{
    struct bench *bench = stream->bench;
    struct idle_state *state = bench->state;
    struct wire_event event;

    while (wire_next_event(answer, &event)) {
        if (stream->first + (uint64_t)answer->watch_id - 1 != state->probe || state->event_seen ||
            !key_is(&bench->options->space, event.kv.key, state->probe)) {
            bench_fail(bench, "a watcher has an event of another key, or one event twice");
            return;
        }
        state->event_seen = true;
        next_probe(bench);
    }
}

/* ---- creation ---- */

static void on_created(struct idle_stream *stream, const struct wire_watch_answer *answer)
{
    struct bench *bench = stream->bench;
    struct idle_state *state = bench->state;
    uint64_t i = stream->created++;

    if (answer->canceled || answer->watch_id != (int64_t)i + 1) {
        bench_fail(bench, "a watcher was not created: %.*s", (int)answer->cancel_reason.len,
                   (const char *)answer->cancel_reason.data);
        return;
    }
    bench_count(bench, (uv_hrtime() - stream->sent_ns[i % WINDOW]) / 1000);
    send_creates(stream);
    if (++state->created == bench->options->watchers)
        bench_measured(bench);
}

static void on_message(void *ctx, struct slice message)
{
    struct idle_stream *stream = ctx;
    struct wire_watch_answer answer;

    if (!wire_read_watch(message, &answer))
        bench_fail(stream->bench, "bytes on a watch stream that are no WatchResponse");
    else if (answer.created)
        on_created(stream, &answer);
    else if (answer.canceled)
        bench_fail(stream->bench, "a watcher was cancelled: %.*s", (int)answer.cancel_reason.len,
                   (const char *)answer.cancel_reason.data);
    else
        on_event(stream, &answer);
}

static void on_done(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent)
{
    struct idle_stream *stream = ctx;

    (void)sent;
    bench_fail(stream->bench, "a watch stream has ended: %s %s", grpc_status_name(status), message);
}

static void idle_start(struct bench *bench)
{
    static const struct grpc_stream_events events = {.on_message = on_message, .on_done = on_done};
    struct idle_state *state = bench->state;
    const struct bench_options *o = bench->options;
    uint64_t first = 0;

    state->put = (struct call){
        .bench = bench, .conn = bench_conn(bench, 0), .check = check_put, .done = on_put};
    state->streams = xcalloc(o->streams, sizeof *state->streams);
    state->has_settle = true;
    state->settle.data = bench;
    (void)uv_timer_init(&bench->loop, &state->settle); /* cannot fail */
    bench_measure(bench);
    bench->total = o->watchers;
    for (uint64_t i = 0; i < o->streams; i++) {
        struct idle_stream *stream = &state->streams[i];

        stream->bench = bench;
        stream->first = first;
        stream->count = o->watchers / o->streams + (i < o->watchers % o->streams);
        first += stream->count;
        if (reach_call(&bench->reach, bench_conn(bench, i), "/etcdserverpb.Watch/Watch", 0, &events,
                       stream, &stream->stream) != 0)
            return; /* the connection is going down: the run ends */
        send_creates(stream);
    }
}

static void idle_report(struct bench *bench)
{
    const struct idle_state *state = bench->state;
    double watchers = (double)bench->options->watchers;

    if (bench->side->pid_count == 0 || bench->result->partial)
        return;
    result_add(bench->result, "watcher_rss_bytes", "resident bytes per watcher",
               ((double)state->after.rss_bytes - (double)bench->before.rss_bytes) / watchers, 0,
               LOWER);
    result_add(bench->result, "watcher_anon_bytes", "of that, anonymous",
               ((double)state->after.anon_bytes - (double)bench->before.anon_bytes) / watchers, 0,
               LOWER);
}

static void idle_release(struct bench *bench)
{
    struct idle_state *state = bench->state;

    if (state->has_settle)
        uv_close((uv_handle_t *)&state->settle, NULL);
    free(state->streams);
}

const struct workload workload_watch_idle = {
    .name = "watch-idle",
    .help = "creates 100,000 watchers of a key each; memory of each, on a server just started",
    .takes = "watchers streams key-size value-size",
    .key_prefix = "kvbench/idle/",
    .own_clock = true,
    .state_size = sizeof(struct idle_state),
    .defaults = idle_defaults,
    .check = idle_check,
    .start = idle_start,
    .finish = put_probe,
    .report = idle_report,
    .release = idle_release,
};
