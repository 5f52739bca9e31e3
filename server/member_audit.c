/* The member's side of server/audit.h: what becomes of a verdict.
 *
 *   leader: somebody is odd ──▶ COMMAND_CORRUPT (raised, healing) ──▶ applied by all
 *   the odd one: serves nothing, writes down that its state is not to be used, starts again
 *     ──▶ takes part in consensus by its log, applies nothing, wants a checkpoint
 *     ──▶ gets one of the leader, goes on behind it ──▶ agrees in a deep round
 *   leader: it agrees ──▶ COMMAND_CORRUPT (cleared) ──▶ it serves again
 *
 * Why the quorum may count on it meanwhile: what it stores, acknowledges and votes for follows from
 * its log, term and vote, which are on its disk and checked there; only what it made of the log is
 * wrong, and nobody sees that any more. It does not stand for election: a leader has to answer. */
#include "base/mem.h"
#include "server/claims.h"
#include "server/identity.h"
#include "server/machine_internal.h"
#include "server/member_internal.h"
#include "server/watches.h"

enum {
    SETTLE_CHECKED_MS = 1000, /* with --initial-corrupt-check: it waits for that ... */
    CHECK_MS = 30 * 1000,     /* ... so long, once it could serve */
    WANT_MS = 3000,           /* of a leader, for the end of the log to be committed */
    CORRUPT = ETCDSERVERPB__ALARM_TYPE__CORRUPT,
};

/* ---- what the audit needs ---- */

static uint64_t env_now_ms(void *ctx)
{
    return uv_now(((struct member *)ctx)->loop);
}

static struct mvcc *env_mvcc(void *ctx)
{
    return ((struct member *)ctx)->machine->mvcc;
}

static void env_configuration(void *ctx, struct replica_configuration *out)
{
    replica_configuration(((struct member *)ctx)->replica, out);
}

static bool env_is_healing(void *ctx, uint64_t id)
{
    const struct machine_alarm *alarm = machine_alarm(((struct member *)ctx)->machine, id, CORRUPT);

    return alarm != NULL && alarm->healing;
}

static bool env_ask(void *ctx, struct slice frame)
{
    return replica_ask(((struct member *)ctx)->replica, frame);
}

static void env_answer(void *ctx, uint64_t to, uint64_t session, struct slice frame)
{
    replica_answer(((struct member *)ctx)->replica, to, session, frame);
}

static void env_on_want(void *ctx, uint64_t from, uint64_t index)
{
    member__provide_snapshot(ctx, from, index);
}

/* ---- verdicts, at the leader ---- */

static void on_alarm(struct member *member, struct grpc_call *call, const void *request,
                     enum status status, const struct machine_result *result)
{
    (void)call; /* none: nobody asked */
    (void)request;
    (void)status; /* lost: the next round says it again */
    (void)result;
    member->quarantine.proposals--;
}

static void propose(struct member *member, uint64_t id, bool raised, bool healing)
{
    Kvdpb__CorruptAlarm message = KVDPB__CORRUPT_ALARM__INIT;
    uint8_t body[32];
    size_t len;

    message.member_id = id;
    message.raised = raised;
    message.healing = healing;
    len = kvdpb__corrupt_alarm__get_packed_size(&message);
    ASSERT(len <= sizeof body); /* a number and two flags */
    (void)kvdpb__corrupt_alarm__pack(&message, body);
    if (member__write(member, NULL, NULL, COMMAND_CORRUPT, slice_of(body, len), on_alarm) ==
        STATUS_OK)
        member->quarantine.proposals++;
}

static void on_odd(struct member *member, uint64_t id)
{
    log_error(member->log,
              "a member's state differs from what a majority has: it is put out of service and "
              "gets the state of the others",
              LOG_ID("member", id));
    propose(member, id, true, true);
}

static void on_split(struct member *member, uint64_t id)
{
    log_error(member->log,
              "the members' states differ and no majority agrees, so nobody can tell which is "
              "right: everything is refused from now on and nothing is healed. Compare the members "
              "('kvctl endpoint hashkv'), stop them all, and make a new cluster of the one you "
              "trust ('kvctl recover') or of a snapshot ('kvctl snapshot restore'); 'kvctl alarm "
              "disarm' goes on regardless",
              LOG_ID("member", id));
    propose(member, id, true, false);
}

/* One raised by a client, or for want of a majority, is for people. One that has got a state since
 * and still is odd is told so again. */
static void env_on_verdict(void *ctx, uint64_t id, enum audit_verdict verdict, uint64_t index)
{
    struct member *member = ctx;
    const struct machine_alarm *alarm = machine_alarm(member->machine, id, CORRUPT);

    if (member->state != MEMBER_RUNNING)
        return;
    if (verdict == AUDIT_ODD &&
        (alarm == NULL || (alarm->healing && index > member->quarantine.raised_index)))
        on_odd(member, id);
    else if (verdict == AUDIT_SPLIT && alarm == NULL)
        on_split(member, id);
    else if (verdict == AUDIT_AGREES && alarm != NULL && alarm->healing)
        propose(member, id, false, true);
}

/* ---- life ---- */

void member__init_audit(struct member *member)
{
    const struct config *config = member->config;
    struct audit_options options = {
        .ctx = member,
        .deep_ms = config->corrupt_check_ms,
        .settle_ms = config->initial_corrupt_check ? SETTLE_CHECKED_MS : 0,
        .now_ms = env_now_ms,
        .mvcc = env_mvcc,
        .configuration = env_configuration,
        .is_healing = env_is_healing,
        .ask = env_ask,
        .answer = env_answer,
        .on_verdict = env_on_verdict,
        .on_want = env_on_want,
    };

    options.self = member->boot.member_id;
    member->quarantine.audit = audit_new(&options);
    member->quarantine.unchecked = config->initial_corrupt_check;
}

static const struct machine_alarm *own_alarm(const struct member *member)
{
    const struct machine_alarm *alarm =
        machine_alarm(member->machine, member->boot.member_id, CORRUPT);

    return alarm != NULL && alarm->healing ? alarm : NULL;
}

/* With an alarm that stands in the loaded state it has the others' already, and waits for the
 * verdict. One without a state has only the alarm, until it comes. */
void member__start_audit(struct member *member)
{
    struct quarantine *q = &member->quarantine;
    const struct replica_snapshot *base = checkpoints_base(member->snapshots.checkpoints);

    if (!member->distrusted) {
        q->on = own_alarm(member) != NULL;
        member__audit_restated(member, base != NULL ? base->index : 0);
        return;
    }
    audit_want(q->audit, UINT64_MAX);
    q->log_end = wal_last_index(member->wal);
    log_warn(member->log,
             "this member's stored state is not to be used: it votes and stores as ever, and "
             "serves nothing until it has the state of the others");
    machine__raise_alarm(
        member->machine,
        (struct machine_alarm){.member = member->boot.member_id, .type = CORRUPT, .healing = true});
    q->on = true;
}

void member__release_audit(struct member *member)
{
    audit_free(member->quarantine.audit);
}

void member__audit_command(struct member *member, const struct machine_result *result)
{
    member->quarantine.raised_index = result->index;
    if (result->odd == member->boot.member_id)
        member->quarantine.ordered = true;
}

void member__audit_applied(struct member *member, uint64_t index)
{
    audit_applied(member->quarantine.audit, index, machine_history(member->machine),
                  mvcc_revision(member->machine->mvcc));
}

void member__audit_restated(struct member *member, uint64_t index)
{
    audit_switch(member->quarantine.audit);
    audit_want(member->quarantine.audit, 0);
    member__audit_applied(member, index);
}

void member__audit_role_changed(struct member *member)
{
    audit_role_changed(member->quarantine.audit, member->role == REPLICA_LEADER);
}

/* ---- the turn ---- */

/* One behind all that was in the log when it was found odd: replaying that alarm would have it
 * found odd once more. */
static void want_state(struct member *member)
{
    struct quarantine *q = &member->quarantine;
    struct replica_status status;

    replica_status(member->replica, &status);
    if (!q->wants && status.role == REPLICA_LEADER) {
        q->wants = true;
        log_error(member->log, "this member has no state, and there is no other member to get it "
                               "from: make a new one of a snapshot ('kvctl snapshot restore')");
    }
    if (q->wants || status.role != REPLICA_FOLLOWER || status.leader == 0)
        return;
    if (q->led_ms == 0)
        q->led_ms = uv_now(member->loop);
    /* What its log ends with is committed, or is not going to be. */
    if (status.commit_index == 0 ||
        (status.commit_index < q->log_end && uv_now(member->loop) - q->led_ms < WANT_MS))
        return;
    q->wants = true;
    audit_want(q->audit, status.commit_index);
}

static void begin_quarantine(struct member *member)
{
    struct err err = ERR_INIT;

    log_error(member->log,
              "THIS MEMBER'S STATE IS NOT WHAT THE OTHERS HAVE: it serves nothing any more, and "
              "starts again to get theirs",
              LOG_ID("member-id", member->boot.member_id));
    member->quarantine.on = true;
    audit_want(member->quarantine.audit, UINT64_MAX); /* nothing to compare any more */
    checkpoints_abandon(member->snapshots.checkpoints);
    /* A moment without the loop; what was answered from here on might be wrong. */
    if (identity_distrust(member->disk, member->config->data_dir, true, &err) != 0) {
        err_prefix(&err, "writing down that this member's state is not to be used");
        member__fatal(member, &err);
        return;
    }
    member__fail_writes(member, STATUS_STOPPED);
    member__fail_reads(member, KV_ESTOPPED);
    member__end_keep_alives(member, KEEP_ALIVE_ALL, STATUS_STOPPED);
    watches_end(member->watches, STATUS_STOPPED);
    claims_end(member->claims, STATUS_STOPPED);
}

static void watch_alarm(struct member *member)
{
    struct quarantine *q = &member->quarantine;
    bool on = own_alarm(member) != NULL || member->distrusted;

    if (q->ordered && !q->told) {
        q->ordered = false;
        q->told = true;
        begin_quarantine(member);
        if (!member->failed && member->options.on_quarantine != NULL)
            member->options.on_quarantine(member->options.ctx);
    }
    if (q->on && !on && !q->told)
        log_info(member->log, "this member's state is what the others have again: it serves",
                 LOG_ID("member-id", member->boot.member_id));
    q->on = on || q->told;
}

/* As in etcd, only what differs keeps a member from serving, and not that nobody can be asked. */
static void await_check(struct member *member)
{
    struct quarantine *q = &member->quarantine;
    uint64_t now_ms = uv_now(member->loop);

    if (member->ready && q->ready_ms == 0)
        q->ready_ms = now_ms;
    q->unchecked = !audit_has_agreed(q->audit) && !(member->voters == 1 && member->ready);
    if (!q->unchecked || q->ready_ms == 0 || now_ms - q->ready_ms < CHECK_MS)
        return;
    q->unchecked = false;
    log_warn(member->log,
             "--initial-corrupt-check: a majority of the members could not be compared "
             "in time; this one serves all the same");
}

static void on_timer(uv_timer_t *timer)
{
    (void)timer; /* the turn follows */
}

void member__audit_turn(struct member *member)
{
    struct quarantine *q = &member->quarantine;
    uint64_t now_ms = uv_now(member->loop), next_ms;
    int rc;

    if (replica_is_held(member->replica)) {
        want_state(member);
        member__take_state(member);
    }
    watch_alarm(member);
    if (member->failed || member->state >= MEMBER_DRAINING)
        return;
    if (q->unchecked)
        await_check(member);
    if (q->proposals > 0)
        return; /* its end brings a turn */
    next_ms = audit_turn(q->audit);
    rc = uv_timer_start(&q->timer, on_timer, next_ms > now_ms ? next_ms - now_ms : 0, 0);
    ASSERT(rc == 0); /* fails only without a callback or while closing */
}
