/* keepalive: LeaseKeepAlive streams, one lease and one outstanding request each. */
#include <stdlib.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "bench/wire.h"

struct keeper {
    struct call grant; /* then the revoke */
    struct grpc_stream *stream;
    int64_t id;
    uint64_t sent_ns;
    bool waiting;
};

struct keepalive_state {
    struct keeper *keepers;
    uint64_t granted, waiting;
    bool revoking;
};

static void keepalive_defaults(struct bench_options *o)
{
    o->streams = 64;
    o->ttl_s = 600;
}

static void send_one(struct bench *bench, struct keeper *keeper)
{
    struct keepalive_state *state = bench->state;
    struct buf *out = &bench->message;

    buf_reset(out);
    wire_lease_id(out, keeper->id);
    keeper->sent_ns = uv_hrtime();
    keeper->waiting = true;
    state->waiting++;
    /* Fails only on a broken connection, which ends the run. */
    (void)grpc_stream_send(keeper->stream, buf_slice(out), 0);
}

static void revoke_all(struct bench *bench);

static void on_kept(void *ctx, struct slice message)
{
    struct keeper *keeper = ctx;
    struct bench *bench = keeper->grant.bench;
    struct keepalive_state *state = bench->state;
    struct wire_lease_answer lease;

    bench_count(bench, (uv_hrtime() - keeper->sent_ns) / 1000);
    if (!keeper->waiting) {
        bench_error(bench, "an answer to no keep-alive");
        return;
    }
    keeper->waiting = false;
    state->waiting--;
    if (!wire_read_lease(message, &lease) || lease.id != keeper->id)
        bench_error(bench, "a keep-alive's answer is for another lease");
    else if (lease.ttl_s <= 0)
        bench_error(bench, "a lease is gone while it is kept alive");
    if (bench_sending(bench))
        send_one(bench, keeper);
    else if (state->waiting == 0)
        revoke_all(bench);
}

static void on_stream_done(void *ctx, enum grpc_status status, const char *message,
                           enum grpc_sent sent)
{
    struct keeper *keeper = ctx;

    (void)sent;
    keeper->stream = NULL;
    bench_fail(keeper->grant.bench, "a keep-alive stream has ended: %s %s",
               grpc_status_name(status), message);
}

static void keepalive_start(struct bench *bench)
{
    static const struct grpc_stream_events events = {.on_message = on_kept,
                                                     .on_done = on_stream_done};
    struct keepalive_state *state = bench->state;

    for (uint64_t i = 0; i < bench->options->streams; i++) {
        struct keeper *keeper = &state->keepers[i];

        if (reach_call(&bench->reach, keeper->grant.conn, "/etcdserverpb.Lease/LeaseKeepAlive", 0,
                       &events, keeper, &keeper->stream) != 0)
            return; /* the connection is going down: the run ends */
        send_one(bench, keeper);
    }
}

/* ---- the leases ---- */

static const char *check_grant(struct call *call, struct slice answer)
{
    struct keeper *keeper = CONTAINER_OF(call, struct keeper, grant);
    struct wire_lease_answer lease;

    if (!wire_read_lease(answer, &lease) || lease.id == 0)
        return "a grant's answer has no lease id";
    keeper->id = lease.id;
    return NULL;
}

static void on_granted(struct call *call, const char *error)
{
    struct bench *bench = call->bench;
    struct keepalive_state *state = bench->state;

    bench->done++;
    if (error != NULL)
        bench_fail(bench, "%s", error);
    else if (++state->granted == bench->options->streams)
        bench_prepared(bench);
}

static void keepalive_prepare(struct bench *bench)
{
    struct keepalive_state *state = bench->state;
    struct buf *out = &bench->message;

    state->keepers = xcalloc(bench->options->streams, sizeof *state->keepers);
    bench->total = bench->options->streams;
    for (uint64_t i = 0; i < bench->options->streams; i++) {
        struct keeper *keeper = &state->keepers[i];

        keeper->grant = (struct call){
            .bench = bench, .conn = bench_conn(bench, i), .check = check_grant, .done = on_granted};
        buf_reset(out);
        wire_lease_grant(out, (int64_t)bench->options->ttl_s);
        call_send(&keeper->grant, "/etcdserverpb.Lease/LeaseGrant", buf_slice(out));
    }
}

static const char *check_revoke(struct call *call, struct slice answer)
{
    (void)call;
    return wire_read_revision(answer) > 0 ? NULL : "a revoke's answer has no revision";
}

static void on_revoked(struct call *call, const char *error)
{
    struct bench *bench = call->bench;

    bench->done++;
    if (error != NULL)
        bench_error(bench, "%s", error);
    if (bench->outstanding == 0)
        bench_finished(bench);
}

static void revoke_all(struct bench *bench)
{
    struct keepalive_state *state = bench->state;
    struct buf *out = &bench->message;

    if (state->revoking)
        return;
    state->revoking = true;
    for (uint64_t i = 0; i < bench->options->streams; i++) {
        struct keeper *keeper = &state->keepers[i];

        grpc_stream_cancel(keeper->stream);
        keeper->stream = NULL;
        keeper->grant.check = check_revoke;
        keeper->grant.done = on_revoked;
        buf_reset(out);
        wire_lease_id(out, keeper->id);
        call_send(&keeper->grant, "/etcdserverpb.Lease/LeaseRevoke", buf_slice(out));
    }
}

static void keepalive_finish(struct bench *bench)
{
    const struct keepalive_state *state = bench->state;

    if (state->waiting == 0)
        revoke_all(bench);
}

static void keepalive_release(struct bench *bench)
{
    struct keepalive_state *state = bench->state;

    free(state->keepers);
}

const struct workload workload_keepalive = {
    .name = "keepalive",
    .help = "LeaseKeepAlive, one lease and one outstanding request on each stream",
    .takes = "streams ttl",
    .state_size = sizeof(struct keepalive_state),
    .defaults = keepalive_defaults,
    .prepare = keepalive_prepare,
    .start = keepalive_start,
    .finish = keepalive_finish,
    .release = keepalive_release,
};
