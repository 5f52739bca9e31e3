/* lease-expiry: many leases, a key on each, that all end in the same second, while a lone writer
 * puts. A request is a lease that ended; its latency is how late its key went. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/util.h"
#include "bench/bench.h"
#include "bench/wire.h"
#include "bench/writer.h"

enum {
    LEAD_MS = 600,        /* TTLs are whole seconds: half of one early */
    CLOCK_STEP_US = 1000, /* a clock of milliseconds may have rounded the grant down */
};

struct ending {
    uint64_t sent_ns; /* the grant: its time runs from then on, or later */
    uint32_t ttl_s;
    bool gone;
};

struct granter {
    struct call call;
    uint64_t index; /* of the lease */
    int64_t id;     /* once granted: then its key is put */
    bool putting;
};

struct expiry_state {
    struct ending *endings;
    struct granter *granters;
    struct grpc_stream *watch;
    struct key_space keys; /* of this run alone */
    uint64_t next, attached, gone;
    uint64_t deadline_ns;
    struct writer *writer;
    uv_timer_t timer;
    bool has_timer;
    uint64_t first_ns, last_ns; /* keys that went */
};

static void expiry_defaults(struct bench_options *o)
{
    o->clients = 64;
    o->leases = 10000;
    o->ttl_s = 5;
    o->rate = WRITER_RATE;
    o->seconds = 2;
}

/* ---- granting ---- */

static void grant_next(struct granter *granter)
{
    struct bench *bench = granter->call.bench;
    struct expiry_state *state = bench->state;
    uint64_t now = uv_hrtime();
    int64_t left_ms = (int64_t)(state->deadline_ns - now) / 1000000;
    struct ending *ending = &state->endings[state->next];

    if (left_ms < 1500) {
        bench_fail(bench, "granting the leases takes longer than they live: raise --ttl");
        return;
    }
    granter->index = state->next++;
    granter->putting = false;
    ending->sent_ns = now;
    ending->ttl_s = (uint32_t)((left_ms + 500) / 1000);
    buf_reset(&bench->message);
    wire_lease_grant(&bench->message, ending->ttl_s);
    call_send(&granter->call, "/etcdserverpb.Lease/LeaseGrant", buf_slice(&bench->message));
}

static void attach(struct granter *granter)
{
    struct bench *bench = granter->call.bench;
    struct expiry_state *state = bench->state;
    uint8_t space[KEY_SPACE_MAX];

    granter->putting = true;
    buf_reset(&bench->message);
    wire_put(&bench->message, key_at(&state->keys, granter->index, space), slice_str("leased"),
             granter->id);
    call_send(&granter->call, "/etcdserverpb.KV/Put", buf_slice(&bench->message));
}

static const char *check(struct call *call, struct slice answer)
{
    struct granter *granter = CONTAINER_OF(call, struct granter, call);
    struct expiry_state *state = call->bench->state;
    struct wire_lease_answer lease;

    if (granter->putting)
        return wire_read_revision(answer) > 0 ? NULL : "a put's answer has no revision";
    if (!wire_read_lease(answer, &lease) || lease.id == 0)
        return "a grant's answer has no lease id";
    if (lease.ttl_s != state->endings[granter->index].ttl_s)
        return "a lease has another TTL than was asked for";
    granter->id = lease.id;
    return NULL;
}

static void on_answered(struct call *call, const char *error)
{
    struct granter *granter = CONTAINER_OF(call, struct granter, call);
    struct bench *bench = call->bench;
    struct expiry_state *state = bench->state;

    if (error != NULL) {
        bench_fail(bench, "%s", error);
        return;
    }
    if (!granter->putting) {
        attach(granter);
        return;
    }
    bench->done++;
    if (++state->attached == bench->options->leases)
        bench_prepared(bench);
    else if (state->next < bench->options->leases)
        grant_next(granter);
}

/* ---- the watch on the keys ---- */

static void all_gone(struct bench *bench);

static void on_gone(struct bench *bench, const struct wire_event *event)
{
    struct expiry_state *state = bench->state;
    uint64_t now = uv_hrtime(), due_ns, index;
    struct ending *ending;

    if (!event->is_delete)
        return; /* our own put */
    if (!key_number(&state->keys, event->kv.key, &index)) {
        bench_fail(bench, "a watch on a prefix shows a key outside it");
        return;
    }
    ending = &state->endings[index];
    due_ns = ending->sent_ns + ending->ttl_s * 1000000000ull;
    if (ending->gone)
        bench_error(bench, "a lease's key has gone twice");
    if (now + CLOCK_STEP_US * 1000 < due_ns)
        bench_error(bench, "a lease has ended %llu us early",
                    (unsigned long long)(due_ns - now) / 1000);
    ending->gone = true;
    bench_count(bench, now > due_ns ? (now - due_ns) / 1000 : 0);
    state->first_ns = state->gone == 0 ? now : state->first_ns;
    state->last_ns = now;
    if (++state->gone == bench->options->leases)
        all_gone(bench);
}

static void begin_granting(struct bench *bench)
{
    struct expiry_state *state = bench->state;
    const struct bench_options *o = bench->options;

    state->deadline_ns = uv_hrtime() + o->ttl_s * 1000000000ull;
    state->granters = xcalloc(o->clients, sizeof *state->granters);
    bench->total = o->leases;
    for (uint64_t i = 0; i < o->clients && state->next < o->leases; i++) {
        state->granters[i].call = (struct call){
            .bench = bench, .conn = bench_conn(bench, i), .check = check, .done = on_answered};
        grant_next(&state->granters[i]);
    }
}

static void on_message(void *ctx, struct slice message)
{
    struct bench *bench = ctx;
    struct wire_watch_answer answer;
    struct wire_event event;

    if (!wire_read_watch(message, &answer) || answer.canceled) {
        bench_fail(bench, "the watch on the leased keys has ended");
        return;
    }
    if (answer.created)
        begin_granting(bench);
    while (bench->phase < PHASE_END && wire_next_event(&answer, &event))
        on_gone(bench, &event);
}

static void on_done(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent)
{
    (void)sent;
    bench_fail(ctx, "the watch on the leased keys has ended: %s %s", grpc_status_name(status),
               message);
}

static void expiry_prepare(struct bench *bench)
{
    static const struct grpc_stream_events events = {.on_message = on_message, .on_done = on_done};
    struct expiry_state *state = bench->state;
    uint8_t first[KEY_SPACE_MAX], last[KEY_SPACE_MAX];
    char prefix[48];

    (void)snprintf(prefix, sizeof prefix, "kvbench/lease/%llx/", (unsigned long long)uv_hrtime());
    /* 12 digits: more leases than anybody can ask for */
    ASSERT(key_space_init(&state->keys, prefix, strlen(prefix) + 12, bench->options->leases,
                          NULL) == 0);
    state->endings = xcalloc(bench->options->leases, sizeof *state->endings);
    buf_reset(&bench->message);
    wire_watch_create(&bench->message, key_at(&state->keys, 0, first),
                      key_at(&state->keys, state->keys.count, last), 0);
    if (reach_call(&bench->reach, bench_conn(bench, 0), "/etcdserverpb.Watch/Watch", 0, &events,
                   bench, &state->watch) == 0) /* else the run ends */
        (void)grpc_stream_send(state->watch, buf_slice(&bench->message), 0);
}

/* ---- time ---- */

static void on_due(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    struct expiry_state *state = bench->state;

    bench->waits = false;
    bench_measure(bench);
    bench->total = bench->options->leases;
    writer_count_into(state->writer, WRITER_LOADED);
}

static void expiry_start(struct bench *bench)
{
    struct expiry_state *state = bench->state;
    uint64_t begin_ns = state->deadline_ns - LEAD_MS * 1000000ull, now = uv_hrtime();

    bench->no_cpu_per_request = true;
    bench->waits = true;
    state->writer = writer_start(&bench->reach, bench->side->endpoints[0], bench->options->rate,
                                 bench->options->seed);
    state->has_timer = true;
    state->timer.data = bench;
    (void)uv_timer_init(&bench->loop, &state->timer); /* these two cannot fail */
    (void)uv_timer_start(&state->timer, on_due, begin_ns > now ? (begin_ns - now) / 1000000 : 0, 0);
}

static void on_quiet_end(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    struct expiry_state *state = bench->state;
    struct err err = ERR_INIT;

    if (writer_stop(state->writer, &err) != 0)
        bench_error(bench, "%s", err.text);
    bench_finished(bench);
}

static void all_gone(struct bench *bench)
{
    if (bench->phase == PHASE_MEASURE)
        bench_measured(bench);
    else
        bench_fail(bench, "the leases have ended before their time");
}

/* The same writer with nothing beside it, to compare with. */
static void expiry_finish(struct bench *bench)
{
    struct expiry_state *state = bench->state;

    bench->waits = true;
    writer_count_into(state->writer, WRITER_QUIET);
    (void)uv_timer_start(&state->timer, on_quiet_end, (uint64_t)(bench->options->seconds * 1000),
                         0); /* cannot fail */
}

static void expiry_report(struct bench *bench)
{
    struct expiry_state *state = bench->state;

    if (state->gone != 0)
        result_add(bench->result, "expiry_s", "seconds from the first ending to the last",
                   (double)(state->last_ns - state->first_ns) / 1e9, 3, LOWER);
    (void)writer_stop(state->writer, NULL); /* its errors are counted already */
    writer_report(state->writer, "lone put afterwards", "lone put beside ending leases",
                  bench->result);
}

static void expiry_release(struct bench *bench)
{
    struct expiry_state *state = bench->state;

    writer_free(state->writer);
    if (state->has_timer)
        uv_close((uv_handle_t *)&state->timer, NULL);
    free(state->endings);
    free(state->granters);
}

const struct workload workload_lease_expiry = {
    .name = "lease-expiry",
    .help = "10,000 leases end in one second while a lone writer puts; a request is one ending",
    .takes = "clients leases ttl rate",
    .own_clock = true,
    .state_size = sizeof(struct expiry_state),
    .defaults = expiry_defaults,
    .prepare = expiry_prepare,
    .start = expiry_start,
    .finish = expiry_finish,
    .report = expiry_report,
    .release = expiry_release,
};
