/* failover: the leader's process is killed, once, while puts go to every member; how long nobody
 * could write. A put that was sent after the kill and acknowledged ends that time. Puts are sent
 * every few milliseconds whatever becomes of those before: who waits for a put that died with the
 * leader learns nothing of the next one. */
#include <signal.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/util.h"
#include "bench/bench.h"
#include "bench/wire.h"

enum {
    EVERY_MS = 4, /* a put to the next member */
    PUT_TIMEOUT_MS = 10000,
    BEFORE_MS = 1000,   /* measured before the kill */
    PATIENCE_MS = 30000 /* behind it */
};

struct probe {
    struct call call;
    struct list link;
    size_t member; /* place of its endpoint */
    uint64_t sent_ns;
};

struct failover_state {
    uv_timer_t timer;
    bool has_timer;
    struct list probes;
    struct call asks[ENDPOINTS_MAX];
    uint64_t ids[ENDPOINTS_MAX];
    uint64_t leader;
    size_t answered, victim; /* place of the leader's endpoint */
    size_t next;
    uint64_t killed_ns, first_ns, all_ns;
    uint64_t failed; /* puts that were not acknowledged, or by whom nobody knows */
    bool again[ENDPOINTS_MAX];
};

static void failover_defaults(struct bench_options *o)
{
    o->clients = o->connections = ENDPOINTS_MAX; /* one for each member */
    o->keys = 1000;
}

static int failover_check(const struct bench_options *o, struct err *err)
{
    if (o->versus.endpoint_count != 0)
        return err_set(err, KV_EINVAL, "failover kills a leader: one cluster at a time, no --vs");
    if (o->side.endpoint_count < 3)
        return err_set(err, KV_EINVAL,
                       "failover wants all members of a cluster of at least 3: "
                       "--endpoints a,b,c --pids A,B,C");
    if (o->side.pid_count != o->side.endpoint_count)
        return err_set(err, KV_EINVAL,
                       "failover kills the leader: --pids of all members, in the "
                       "order of --endpoints");
    return 0;
}

/* ---- who leads ---- */

static const char *check_status(struct call *call, struct slice answer)
{
    struct failover_state *state = call->bench->state;
    struct wire_status status;

    if (!wire_read_status(answer, &status))
        return "the answer to a Status is no StatusResponse";
    state->ids[call - state->asks] = status.member_id;
    if (status.leader != 0)
        state->leader = status.leader;
    return NULL;
}

static void on_status(struct call *call, const char *error)
{
    struct bench *bench = call->bench;
    struct failover_state *state = bench->state;

    if (error != NULL) {
        bench_fail(bench, "%s", error);
        return;
    }
    if (++state->answered < bench->side->endpoint_count)
        return;
    for (size_t i = 0; i < bench->side->endpoint_count; i++) {
        if (state->ids[i] != state->leader)
            continue;
        state->victim = i;
        bench_prepared(bench);
        return;
    }
    bench_fail(bench, "none of these members leads");
}

static void failover_prepare(struct bench *bench)
{
    struct failover_state *state = bench->state;

    list_init(&state->probes);
    for (size_t i = 0; i < bench->side->endpoint_count; i++) {
        state->asks[i] = (struct call){
            .bench = bench, .conn = bench_conn(bench, i), .check = check_status, .done = on_status};
        call_send(&state->asks[i], "/etcdserverpb.Maintenance/Status", slice_of(NULL, 0));
    }
}

/* ---- puts ---- */

static const char *check_put(struct call *call, struct slice answer)
{
    (void)call;
    return wire_read_revision(answer) > 0 ? NULL : "a put's answer has no revision";
}

static bool all_write_again(const struct bench *bench)
{
    const struct failover_state *state = bench->state;

    for (size_t i = 0; i < bench->side->endpoint_count; i++) {
        if (i != state->victim && !state->again[i])
            return false;
    }
    return true;
}

static void on_put(struct call *call, const char *error)
{
    struct probe *probe = CONTAINER_OF(call, struct probe, call);
    struct bench *bench = call->bench;
    struct failover_state *state = bench->state;
    uint64_t now = uv_hrtime(), sent_ns = probe->sent_ns;
    size_t member = probe->member;

    list_remove(&probe->link);
    free(probe);
    if (error != NULL) {
        state->failed++;
        return;
    }
    bench_count(bench, (now - sent_ns) / 1000);
    if (state->killed_ns == 0 || sent_ns < state->killed_ns || bench->phase != PHASE_MEASURE)
        return;
    if (state->first_ns == 0)
        state->first_ns = now;
    state->again[member] = true;
    if (all_write_again(bench)) {
        state->all_ns = now;
        bench_measured(bench);
    }
}

static void put(struct bench *bench, size_t member)
{
    struct failover_state *state = bench->state;
    struct probe *probe = xcalloc(1, sizeof *probe);
    uint8_t space[KEY_SPACE_MAX];

    probe->member = member;
    probe->sent_ns = uv_hrtime();
    probe->call = (struct call){.bench = bench,
                                .conn = bench_conn(bench, member),
                                .timeout_ms = PUT_TIMEOUT_MS,
                                .check = check_put,
                                .done = on_put};
    list_push_back(&state->probes, &probe->link);
    buf_reset(&bench->message);
    wire_put(&bench->message, key_at(&bench->options->space, bench_random_key(bench), space),
             bench_value(bench), 0);
    call_send(&probe->call, "/etcdserverpb.KV/Put", buf_slice(&bench->message));
}

static void kill_leader(struct bench *bench)
{
    struct failover_state *state = bench->state;
    int pid = bench->side->pids[state->victim];

    bench->expects_loss = true;
    if (kill(pid, SIGKILL) != 0) {
        bench_fail(bench, "process %d can not be killed", pid);
        return;
    }
    state->killed_ns = uv_hrtime();
}

static void on_timer(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    struct failover_state *state = bench->state;
    uint64_t since_ms = (uv_hrtime() - bench->began_ns) / 1000000;

    if (bench->phase != PHASE_MEASURE)
        return;
    if (state->killed_ns == 0 && since_ms >= BEFORE_MS)
        kill_leader(bench);
    if (since_ms > BEFORE_MS + PATIENCE_MS) {
        bench_fail(bench, "%d s after the leader was killed not all others can write",
                   PATIENCE_MS / 1000);
        return;
    }
    state->next = (state->next + 1) % bench->side->endpoint_count;
    if (state->killed_ns == 0 || state->next != state->victim)
        put(bench, state->next);
}

static void failover_start(struct bench *bench)
{
    struct failover_state *state = bench->state;

    bench->waits = true;
    (void)uv_timer_init(&bench->loop, &state->timer); /* these cannot fail */
    state->timer.data = bench;
    state->has_timer = true;
    (void)uv_timer_start(&state->timer, on_timer, 0, EVERY_MS);
    bench_measure(bench);
}

static void failover_finish(struct bench *bench)
{
    bench_finished(bench);
}

static void failover_report(struct bench *bench)
{
    const struct failover_state *state = bench->state;

    if (state->all_ns == 0)
        return;
    result_add(bench->result, "failover_ms", "ms from the leader's death to the next write",
               (double)(state->first_ns - state->killed_ns) / 1e6, 1, LOWER);
    result_add(bench->result, "failover_all_ms", "ms until one through every other member",
               (double)(state->all_ns - state->killed_ns) / 1e6, 1, LOWER);
    result_add(bench->result, "puts_failed", "puts that failed, or nobody knows",
               (double)state->failed, 0, LOWER);
}

static void failover_release(struct bench *bench)
{
    struct failover_state *state = bench->state;

    if (state->has_timer)
        uv_close((uv_handle_t *)&state->timer, NULL);
    if (state->probes.next == NULL)
        return; /* it did not get that far */
    LIST_EACH_SAFE (node, &state->probes) {
        list_remove(node);
        free(LIST_ENTRY(node, struct probe, link));
    }
}

/* clang-format off */
const struct workload workload_failover = {
    .name = "failover",
    .help = "kills the leader (SIGKILL, by its --pids) and says how long nobody could write",
    .takes = "keys key-size value-size",
    .own_clock = true, .state_size = sizeof(struct failover_state),
    .defaults = failover_defaults, .check = failover_check, .prepare = failover_prepare,
    .start = failover_start, .finish = failover_finish, .report = failover_report,
    .release = failover_release};
/* clang-format on */
