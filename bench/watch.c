/* watch-fanout: one writer, many watchers of its key. A request is an event delivered; its latency
 * runs from sending the put to reading the event. */
#include <stdlib.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "bench/events.h"
#include "bench/wire.h"

enum { RING = 1024 }; /* puts under way at most: --ahead stays below */

static const char watched_key[] = "kvbench/watched";

struct fan_stream {
    struct bench *bench;
    struct grpc_stream *stream;
    struct event_check *watchers; /* of this stream, by watch id - 1 */
    uint64_t count, created;
};

struct fan_state {
    struct fan_stream *streams;
    struct event_check *watchers;
    uint64_t created;
    struct call put;
    uv_timer_t pace; /* with --rate */
    bool has_pace, putting, due;
    uint64_t run;
    uint64_t puts;     /* sent */
    uint64_t complete; /* seen by every watcher */
    uint64_t measured_puts;
    uint64_t sent_ns[RING];
    uint64_t seen[RING]; /* watchers that have the event */
};

static void fan_defaults(struct bench_options *o)
{
    o->watchers = 1000;
    o->streams = 10;
    o->connections = 10;
    o->ahead = 1;
}

static int fan_check(const struct bench_options *o, struct err *err)
{
    if (o->value_size >= EVENT_MARK_SIZE)
        return 0;
    return err_set(err, KV_EINVAL, "--value-size %llu: the number of each event needs %d bytes",
                   (unsigned long long)o->value_size, EVENT_MARK_SIZE);
}

/* ---- the writer ---- */

/* Sends the next put if none is under way, the watchers keep up, and it is time. */
static void put_next(struct bench *bench)
{
    struct fan_state *state = bench->state;
    struct buf *out = &bench->message;
    struct slice value;

    if (state->putting || !bench_sending(bench) ||
        state->puts - state->complete >= bench->options->ahead)
        return;
    if (bench->options->rate != 0 && !state->due)
        return;
    state->due = false;
    state->putting = true;
    value = bench_value(bench);
    event_mark(bench->value, state->run, state->puts);
    state->sent_ns[state->puts % RING] = uv_hrtime();
    state->seen[state->puts % RING] = 0;
    state->puts++;
    buf_reset(out);
    wire_put(out, slice_str(watched_key), value, 0);
    call_send(&state->put, "/etcdserverpb.KV/Put", buf_slice(out));
}

static const char *check_put(struct call *call, struct slice answer)
{
    (void)call;
    return wire_read_revision(answer) > 0 ? NULL : "a put's answer has no revision";
}

static void finish_if_complete(struct bench *bench)
{
    const struct fan_state *state = bench->state;

    if (bench->phase == PHASE_FINISH && !state->putting && state->complete == state->puts)
        bench_finished(bench);
}

static void on_put(struct call *call, const char *error)
{
    struct bench *bench = call->bench;
    struct fan_state *state = bench->state;

    state->putting = false;
    if (bench->phase == PHASE_MEASURE)
        state->measured_puts++;
    if (error != NULL)
        bench_fail(bench, "put: %s", error); /* what its watchers must see is not known any more */
    put_next(bench);
    finish_if_complete(bench);
}

static void on_pace(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    struct fan_state *state = bench->state;

    state->due = true;
    put_next(bench);
}

/* ---- the watchers ---- */

static void on_event(struct fan_stream *stream, struct event_check *watcher,
                     const struct wire_event *event)
{
    struct bench *bench = stream->bench;
    struct fan_state *state = bench->state;
    uint64_t number = 0;
    const char *wrong =
        event_check_next(watcher, state->run, event->kv.value, event->kv.mod_revision, &number);

    if (wrong == NULL && event->is_delete)
        wrong = "a delete that nobody has made";
    if (wrong == NULL && number >= state->puts)
        wrong = "an event before its put";
    if (wrong != NULL) {
        bench_fail(bench, "%s", wrong); /* the count of complete puts would never be right */
        return;
    }
    bench_count(bench, (uv_hrtime() - state->sent_ns[number % RING]) / 1000);
    if (++state->seen[number % RING] == bench->options->watchers)
        state->complete = number + 1;
}

static void on_created(struct fan_stream *stream, const struct wire_watch_answer *answer)
{
    struct bench *bench = stream->bench;
    struct fan_state *state = bench->state;

    if (answer->canceled || answer->watch_id != (int64_t)++stream->created) {
        bench_fail(bench, "a watcher was not created: %.*s", (int)answer->cancel_reason.len,
                   (const char *)answer->cancel_reason.data);
        return;
    }
    bench->done++;
    if (++state->created == bench->options->watchers)
        bench_prepared(bench);
}

static void on_message(void *ctx, struct slice message)
{
    struct fan_stream *stream = ctx;
    struct bench *bench = stream->bench;
    struct wire_watch_answer answer;
    struct wire_event event;

    if (!wire_read_watch(message, &answer)) {
        bench_fail(bench, "bytes on a watch stream that are no WatchResponse");
    } else if (answer.created) {
        on_created(stream, &answer);
    } else if (answer.canceled) {
        bench_fail(bench, "a watcher was cancelled (compacted at %lld): %.*s",
                   (long long)answer.compact_revision, (int)answer.cancel_reason.len,
                   (const char *)answer.cancel_reason.data);
    } else if (answer.watch_id < 1 || answer.watch_id > (int64_t)stream->count) {
        bench_fail(bench, "an event for a watcher that does not exist");
    } else {
        while (bench->phase < PHASE_END && wire_next_event(&answer, &event))
            on_event(stream, &stream->watchers[answer.watch_id - 1], &event);
        if (answer.events.bad)
            bench_fail(bench, "an event that is no Event");
        put_next(bench);
        finish_if_complete(bench);
    }
}

static void on_done(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent)
{
    struct fan_stream *stream = ctx;

    (void)sent;
    bench_fail(stream->bench, "a watch stream has ended: %s %s", grpc_status_name(status), message);
}

static void open_stream(struct bench *bench, struct fan_stream *stream, struct grpc_conn *conn)
{
    static const struct grpc_stream_events events = {.on_message = on_message, .on_done = on_done};
    struct buf *out = &bench->message;

    if (reach_call(&bench->reach, conn, "/etcdserverpb.Watch/Watch", 0, &events, stream,
                   &stream->stream) != 0)
        return; /* the connection is going down: the run ends */
    for (uint64_t i = 0; i < stream->count; i++) {
        buf_reset(out);
        wire_watch_create(out, slice_str(watched_key), slice_of(NULL, 0), (int64_t)i + 1);
        (void)grpc_stream_send(stream->stream, buf_slice(out), 0); /* as above */
    }
}

static void fan_prepare(struct bench *bench)
{
    struct fan_state *state = bench->state;
    const struct bench_options *o = bench->options;
    uint64_t first = 0;

    state->run = uv_hrtime();
    state->put = (struct call){
        .bench = bench, .conn = bench_conn(bench, 0), .check = check_put, .done = on_put};
    state->watchers = xcalloc(o->watchers, sizeof *state->watchers);
    state->streams = xcalloc(o->streams, sizeof *state->streams);
    bench->total = o->watchers;
    for (uint64_t i = 0; i < o->streams; i++) {
        struct fan_stream *stream = &state->streams[i];

        stream->bench = bench;
        stream->watchers = &state->watchers[first];
        stream->count = o->watchers / o->streams + (i < o->watchers % o->streams);
        first += stream->count;
        open_stream(bench, stream, bench_conn(bench, i));
    }
}

static void fan_start(struct bench *bench)
{
    struct fan_state *state = bench->state;

    if (bench->options->rate != 0) {
        state->has_pace = true;
        state->pace.data = bench;
        (void)uv_timer_init(&bench->loop, &state->pace); /* these two cannot fail */
        (void)uv_timer_start(&state->pace, on_pace, 0, 1000 / bench->options->rate);
    }
    put_next(bench);
}

static void fan_report(struct bench *bench)
{
    const struct fan_state *state = bench->state;

    result_add(bench->result, "puts_s", "puts per second",
               (double)state->measured_puts / result_get(bench->result, "seconds"), 1, HIGHER);
}

static void fan_release(struct bench *bench)
{
    struct fan_state *state = bench->state;

    if (state->has_pace)
        uv_close((uv_handle_t *)&state->pace, NULL);
    free(state->streams);
    free(state->watchers);
}

const struct workload workload_watch_fanout = {
    .name = "watch-fanout",
    .help = "one writer, 1000 watchers of its key on 10 streams; a request is an event delivered",
    .takes = "watchers streams ahead rate value-size",
    .state_size = sizeof(struct fan_state),
    .defaults = fan_defaults,
    .check = fan_check,
    .prepare = fan_prepare,
    .start = fan_start,
    .finish = finish_if_complete,
    .report = fan_report,
    .release = fan_release,
};
