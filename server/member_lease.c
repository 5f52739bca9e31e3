/* The member as its lessor sees it: the clock, a timer, the way into the log. */
#include "base/mem.h"
#include "server/member_internal.h"

static uint64_t env_now_ms(void *ctx)
{
    (void)ctx; /* one clock for all */
    return uv_hrtime() / 1000000;
}

static void on_lease_timer(uv_timer_t *timer)
{
    struct member *member = CONTAINER_OF(timer, struct member, lease_timer);

    lessor__on_timer(&member->lessor);
}

static void env_arm_timer(void *ctx, uint64_t at_ms)
{
    struct member *member = ctx;
    uint64_t now_ms = env_now_ms(ctx);
    int rc;

    rc = uv_timer_start(&member->lease_timer, on_lease_timer, at_ms > now_ms ? at_ms - now_ms : 1,
                        0);
    ASSERT(rc == 0); /* fails only without a callback or while closing */
}

static void on_written(struct member *member, struct grpc_call *call, const void *request,
                       enum status status, const struct machine_result *result)
{
    (void)call; /* none: the member's own */
    (void)result;
    lessor__command_done(&member->lessor, (struct lessor_command *)(uintptr_t)request,
                         status == STATUS_OK);
}

static bool env_propose(void *ctx, enum command_kind kind, struct slice body,
                        struct lessor_command *handle)
{
    return member__write(ctx, NULL, handle, kind, body, on_written) == STATUS_OK;
}

static bool env_read(void *ctx, struct replica_read *read)
{
    struct member *member = ctx;

    return replica_read(member->replica, read);
}

static void env_ask(void *ctx, struct slice questions)
{
    struct member *member = ctx;

    (void)replica_ask(member->replica, questions); /* lost ones are asked again */
}

static void env_answer(void *ctx, uint64_t to, uint64_t session, struct slice answers)
{
    struct member *member = ctx;

    replica_answer(member->replica, to, session, answers);
}

static void env_on_leaderless(void *ctx)
{
    member__end_keep_alives(ctx, KEEP_ALIVE_WITH_LEADER, STATUS_NO_LEADER);
}

void member__init_lessor(struct member *member, uint64_t seed)
{
    struct lessor_options options = {
        .env = {.ctx = member,
                .now_ms = env_now_ms,
                .arm_timer = env_arm_timer,
                .propose = env_propose,
                .read = env_read,
                .ask = env_ask,
                .answer = env_answer,
                .on_leaderless = env_on_leaderless},
        .seed = seed,
        .heartbeat_ms = member->config->heartbeat_ms,
        .election_ms = member->config->election_ms,
        .timeout_ms = member->timeout_ms,
        .command_size_max = member->config->max_request_bytes,
    };

    lessor__init(&member->lessor, &options);
}
