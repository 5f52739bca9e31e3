/* Auto-compaction at work: the policy (server/autocompact.h) on this member's clock. Every member
 * keeps it going, the leader alone proposes. */
#include "proto/rpc.pb-c.h"
#include "server/member_internal.h"

/* In etcd's words. */
static const struct {
    const char *starting, *completed, *failed;
} msgs[] = {
    [AUTOCOMPACT_PERIODIC] = {"starting auto periodic compaction",
                              "completed auto periodic compaction",
                              "failed auto periodic compaction"},
    [AUTOCOMPACT_REVISION] = {"starting auto revision compaction",
                              "completed auto revision compaction",
                              "failed auto revision compaction"},
};

/* Inside apply. Whoever compacted to there or beyond: it is done. */
static void on_compacted(struct member *member, struct grpc_call *call, const void *request,
                         enum status status, const struct machine_result *result)
{
    struct auto_compactor *compactor = &member->compactor;
    uint64_t now_ms = lessor__now_ms(&member->lessor);

    (void)call; /* none: nobody asked */
    (void)request;
    (void)result;
    compactor->running = false;
    if (status == STATUS_OK || status == STATUS_COMPACTED) {
        autocompact_done(&compactor->policy, now_ms, compactor->target);
        log_info(member->log, msgs[compactor->policy.mode].completed,
                 LOG_INT("revision", compactor->target),
                 LOG_UINT("took-ms", now_ms - compactor->started_ms));
    } else if (status != STATUS_STOPPED) {
        log_warn(member->log, msgs[compactor->policy.mode].failed,
                 LOG_INT("revision", compactor->target),
                 LOG_UINT("retry-interval-ms", compactor->policy.interval_ms),
                 LOG_STR("error", status_line(status)->text));
    }
}

static void compact_to(struct member *member, int64_t revision)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    struct auto_compactor *compactor = &member->compactor;
    uint8_t body[16]; /* one number with its tag */
    enum status status;
    size_t len;

    log_info(member->log, msgs[compactor->policy.mode].starting, LOG_INT("revision", revision),
             LOG_UINT("retention", compactor->policy.retention));
    request.revision = revision;
    compactor->target = revision;
    compactor->started_ms = lessor__now_ms(&member->lessor);
    len = etcdserverpb__compaction_request__pack(&request, body);
    status = member__write(member, NULL, NULL, COMMAND_COMPACT, slice_of(body, len), on_compacted);
    if (status == STATUS_OK)
        compactor->running = true;
    else
        on_compacted(member, NULL, NULL, status, NULL);
}

static void arm(struct member *member, uint64_t now_ms);

static void on_due(uv_timer_t *timer)
{
    struct member *member = CONTAINER_OF(timer, struct member, compactor.timer);
    struct auto_compactor *compactor = &member->compactor;
    bool may = member->role == REPLICA_LEADER && !compactor->running && !member->failed &&
               member->state == MEMBER_RUNNING;
    uint64_t now_ms = lessor__now_ms(&member->lessor);
    int64_t revision;

    revision =
        autocompact_step(&compactor->policy, now_ms, mvcc_revision(member->machine->mvcc), may);
    arm(member, now_ms);
    if (revision != 0)
        compact_to(member, revision);
}

/* The loop's idea of the time may be a little behind: the step is then a little late. */
static void arm(struct member *member, uint64_t now_ms)
{
    uint64_t next_ms = member->compactor.policy.next_ms;
    int rc = uv_timer_start(&member->compactor.timer, on_due,
                            next_ms > now_ms ? next_ms - now_ms : 0, 0);

    ASSERT(rc == 0); /* fails only without a callback or while closing */
}

void member__compactor_init(struct member *member)
{
    (void)uv_timer_init(member->loop, &member->compactor.timer); /* only links it into the loop */
}

void member__compactor_start(struct member *member)
{
    const struct config *config = member->config;
    uint64_t now_ms = lessor__now_ms(&member->lessor);

    if (config->auto_compaction_retention == 0)
        return;
    autocompact_init(&member->compactor.policy, config->auto_compaction_mode,
                     config->auto_compaction_retention, now_ms,
                     mvcc_revision(member->machine->mvcc));
    arm(member, now_ms);
}

void member__compactor_release(struct member *member)
{
    autocompact_release(&member->compactor.policy);
}
