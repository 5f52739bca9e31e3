/* lease: LeaseGrant without end, then every lease is revoked again; both are measured. */
#include <stdlib.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "bench/wire.h"

struct lease_state {
    struct closed_loop loop;
    int64_t *ids;
    size_t count, cap;
    size_t revoked; /* asked for */
    bool revoking;
    uint64_t began_ns;
    struct process_sample began;
    double seconds, cpu_s;
};

static void lease_defaults(struct bench_options *o)
{
    o->clients = 64;
    o->ttl_s = 300;
}

static const char *lease_request(struct client *client, struct buf *out)
{
    struct bench *bench = client->call.bench;
    struct lease_state *state = bench->state;

    if (state->revoking) {
        wire_lease_id(out, state->ids[state->revoked++]);
        return "/etcdserverpb.Lease/LeaseRevoke";
    }
    wire_lease_grant(out, (int64_t)bench->options->ttl_s);
    return "/etcdserverpb.Lease/LeaseGrant";
}

static void keep(struct lease_state *state, int64_t id)
{
    if (state->count == state->cap) {
        state->cap = state->cap == 0 ? 1024 : 2 * state->cap;
        state->ids = xrealloc(state->ids, state->cap * sizeof *state->ids);
    }
    state->ids[state->count++] = id;
}

static const char *lease_answer(struct client *client, struct slice answer)
{
    struct bench *bench = client->call.bench;
    struct lease_state *state = bench->state;
    struct wire_lease_answer lease;

    if (state->revoking)
        return wire_read_revision(answer) > 0 ? NULL : "a revoke's answer has no revision";
    if (!wire_read_lease(answer, &lease) || lease.id == 0)
        return "a grant's answer has no lease id";
    keep(state, lease.id);
    return lease.ttl_s == (int64_t)bench->options->ttl_s ? NULL : "a lease has another TTL";
}

static void send_revoke(struct client *client)
{
    struct bench *bench = client->call.bench;
    const char *path;

    buf_reset(&bench->message);
    path = lease_request(client, &bench->message);
    call_send(&client->call, path, buf_slice(&bench->message));
}

static void on_revoked(struct call *call, const char *error)
{
    struct bench *bench = call->bench;
    struct lease_state *state = bench->state;

    bench->done++;
    if (error != NULL)
        bench_error(bench, "%s", error);
    if (state->revoked < state->count) {
        send_revoke(CONTAINER_OF(call, struct client, call));
    } else if (bench->outstanding == 0) {
        state->seconds = (double)(uv_hrtime() - state->began_ns) / 1e9;
        state->cpu_s =
            process_sample(bench->side->pids, bench->side->pid_count).cpu_s - state->began.cpu_s;
        bench_finished(bench);
    }
}

/* Called again until the last grant is answered. */
static void lease_finish(struct bench *bench)
{
    struct lease_state *state = bench->state;

    if (bench->outstanding != 0)
        return;
    if (state->count == 0) {
        bench_finished(bench);
        return;
    }
    state->revoking = true;
    bench->total = state->count;
    state->began_ns = uv_hrtime();
    state->began = process_sample(bench->side->pids, bench->side->pid_count);
    for (uint64_t i = 0; i < bench->options->clients && state->revoked < state->count; i++) {
        state->loop.clients[i].call.done = on_revoked;
        send_revoke(&state->loop.clients[i]);
    }
}

static void lease_report(struct bench *bench)
{
    const struct lease_state *state = bench->state;

    if (state->seconds <= 0)
        return;
    result_add(bench->result, "revoke_s", "revokes per second",
               (double)state->count / state->seconds, 0, HIGHER);
    if (bench->side->pid_count != 0)
        result_add(bench->result, "revoke_cpu_us", "server CPU us per revoke",
                   state->cpu_s * 1e6 / (double)state->count, 2, LOWER);
}

static void lease_release(struct bench *bench)
{
    struct lease_state *state = bench->state;

    calls_release(bench);
    free(state->ids);
}

const struct workload workload_lease = {
    .name = "lease",
    .help = "LeaseGrant; afterwards all of them are revoked",
    .takes = "clients ttl",
    .state_size = sizeof(struct lease_state),
    .defaults = lease_defaults,
    .start = calls_start,
    .finish = lease_finish,
    .report = lease_report,
    .release = lease_release,
    .request = lease_request,
    .answer = lease_answer,
};
