/* States that change by themselves, and how members find and heal that: the member's own comparison
 * (server/audit.c), and of server/member_audit.c what the simulator's member needs. A bit flips in
 * the record of a key that no client reads, or applying once does something else; one member's at a
 * time, so that a majority is right. In the end all must be equal. */
#include <stdlib.h>

#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "proto/rpc.pb-c.h"
#include "server/machine_internal.h"
#include "tests/sim/sim.h"

enum {
    CORRUPT = ETCDSERVERPB__ALARM_TYPE__CORRUPT,
    DEEP_MS = 3000,
    PLANT_AGAIN_US = 2000000,
    WANT_US = 3000000,
};

static const struct slice flip_key = {.data = (const uint8_t *)"flip", .len = 4};

/* ---- what the audit needs ---- */

static uint64_t env_now_ms(void *ctx)
{
    return ((struct sim_member *)ctx)->sim->now_us / 1000;
}

static struct mvcc *env_mvcc(void *ctx)
{
    return ((struct sim_member *)ctx)->machine->mvcc;
}

static void env_configuration(void *ctx, struct replica_configuration *out)
{
    replica_configuration(((struct sim_member *)ctx)->replica, out);
}

static bool env_is_healing(void *ctx, uint64_t id)
{
    return machine_alarm(((struct sim_member *)ctx)->machine, id, CORRUPT) != NULL;
}

static bool env_ask(void *ctx, struct slice frame)
{
    return replica_ask(((struct sim_member *)ctx)->replica, frame);
}

static void env_answer(void *ctx, uint64_t to, uint64_t session, struct slice frame)
{
    replica_answer(((struct sim_member *)ctx)->replica, to, session, frame);
}

static void on_written(struct sim_write *write, const struct machine_result *result)
{
    (void)result; /* lost: the next round says it again */
    free(write);
}

static void propose(struct sim_member *m, uint64_t id, bool raised)
{
    Kvdpb__CorruptAlarm message = KVDPB__CORRUPT_ALARM__INIT;
    struct sim_write *write = xcalloc(1, sizeof *write);
    uint8_t body[32];

    message.member_id = id;
    message.raised = raised;
    message.healing = true;
    write->done = on_written;
    sim_write(m, write, COMMAND_CORRUPT,
              slice_of(body, kvdpb__corrupt_alarm__pack(&message, body)));
}

static void env_on_verdict(void *ctx, uint64_t id, enum audit_verdict verdict, uint64_t index)
{
    struct sim_member *m = ctx;
    const struct machine_alarm *alarm = machine_alarm(m->machine, id, CORRUPT);

    if (m->sim->options.bug == SIM_BUG_STATE_FLIP)
        return;
    if (verdict == AUDIT_SPLIT)
        sim_violation(m->sim, "m%u sees no majority, and one member at most is wrong", m->n);
    /* It may have been started since, and be right again. */
    if (verdict == AUDIT_ODD && !m->sim->members[id].ever_flipped)
        sim_violation(m->sim, "m%u takes m%u for odd, and it is not", m->n, (unsigned)id);
    if (verdict == AUDIT_ODD && (alarm == NULL || index > m->raised_index))
        propose(m, id, true);
    if (verdict == AUDIT_AGREES && alarm != NULL)
        propose(m, id, false);
}

void sim_audit_stored(struct sim_member *m, uint64_t index)
{
    if (!m->flipped || m->flip_stored_at != 0)
        return;
    m->flip_stored_at = index;
}

/* Not over a right one of the same index, its own from before or another member's: after a crash
 * nobody would know which of them is there. */
bool sim_audit_may_store(const struct sim_member *m, uint64_t index)
{
    return !m->flipped || (m->written_index != index && m->foreign_index != index);
}

void sim_audit_written(struct sim_member *m, uint64_t index)
{
    m->written_index = index;
}

static void env_on_want(void *ctx, uint64_t from, uint64_t index)
{
    struct sim_member *m = ctx;
    struct checkpoint_file *file = checkpoints_hold(m->checkpoints, index);
    struct replica_snapshot snapshot;

    if (m->flipped && file != NULL) /* spread, it would not be one member's any more */
        checkpoints_release(m->checkpoints, file);
    if (m->flipped)
        return; /* it is asked for again */
    if (file != NULL) {
        checkpoints_release(m->checkpoints, file);
        transfer_send(m->transfer, from, index);
    } else if (checkpoints_idle(m->checkpoints) &&
               replica_checkpoint_begin(m->replica, &snapshot) && snapshot.index >= index) {
        m->log_begun = wal_appended_bytes(m->wal);
        sim_check_state(m, snapshot.index);
        sim_audit_stored(m, snapshot.index);
        checkpoints_begin(m->checkpoints, m->machine, &snapshot);
    }
}

/* ---- life ---- */

void sim_audit_start(struct sim_member *m)
{
    struct audit_options options = {
        .ctx = m,
        .self = m->n,
        .deep_ms = DEEP_MS,
        .settle_ms = 1000,
        .now_ms = env_now_ms,
        .mvcc = env_mvcc,
        .configuration = env_configuration,
        .is_healing = env_is_healing,
        .ask = env_ask,
        .answer = env_answer,
        .on_verdict = env_on_verdict,
        .on_want = env_on_want,
    };
    const struct replica_snapshot *base = checkpoints_base(m->checkpoints);
    uint64_t index = base != NULL ? base->index : 0;

    m->audit = audit_new(&options);
    m->audit_at_us = 0;
    m->wants = m->ordered = false;
    m->raised_index = 0;
    m->quarantined = m->distrusted || machine_alarm(m->machine, m->n, CORRUPT) != NULL;
    m->log_end = UINT64_MAX; /* known when the log is open */
    m->log_end_us = m->sim->now_us + WANT_US;
    if (m->distrusted)
        audit_want(m->audit, UINT64_MAX);
    else
        sim_audit_applied(m, index);
    /* What flipped in memory alone is right again; what a checkpoint has taken is not. */
    if (m->flip_stored_at == 0 || index < m->flip_stored_at || sim_check_is_right(m, index)) {
        m->flip_forgotten = m->flip_forgotten || m->flipped;
        m->flipped = false;
    }
}

void sim_audit_stop(struct sim_member *m)
{
    audit_free(m->audit);
    m->audit = NULL;
}

void sim_audit_command(struct sim_member *m, const struct machine_result *result)
{
    if (result->odd == 0)
        return;
    m->raised_index = result->index;
    m->ordered = m->ordered || result->odd == m->n;
}

void sim_audit_applied(struct sim_member *m, uint64_t index)
{
    audit_applied(m->audit, index, machine_history(m->machine), mvcc_revision(m->machine->mvcc));
}

void sim_audit_restated(struct sim_member *m, uint64_t index)
{
    audit_switch(m->audit);
    audit_want(m->audit, 0);
    sim_audit_applied(m, index);
    m->flipped = false;
    m->flip_stored_at = 0;
    if (!m->distrusted)
        return;
    m->flip_forgotten = false;
    checkpoints_forget_below(m->checkpoints, index);
    m->distrusted = false;
    m->sim->result->restates++;
}

/* ---- the turn ---- */

static void want_state(struct sim_member *m)
{
    struct replica_status status;
    uint64_t index, term;

    replica_status(m->replica, &status);
    if (m->log_end == UINT64_MAX)
        m->log_end = wal_last_index(m->wal);
    if (!m->wants && status.role == REPLICA_FOLLOWER && status.leader != 0 &&
        status.commit_index != 0 &&
        (status.commit_index >= m->log_end || m->sim->now_us >= m->log_end_us)) {
        m->wants = true;
        audit_want(m->audit, status.commit_index);
    }
    if (transfer_ready(m->transfer, &index, &term) && replica_restate(m->replica, index, term))
        sim_snapshot_install(m, index, term);
}

static void on_audit(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = data;

    if (!m->up || m->life != token >> 40 || m->audit_at_us != sim->now_us)
        return;
    m->audit_at_us = 0;
    sim_member_wake(m);
}

static void call_again(struct sim_member *m, uint64_t at_us)
{
    at_us = MAX(at_us, m->sim->now_us + 1000);
    if (m->audit_at_us > m->sim->now_us && m->audit_at_us <= at_us)
        return;
    m->audit_at_us = at_us;
    sim_at(m->sim, at_us, on_audit, m, m->life << 40, NULL);
}

static void start_again(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = data;

    (void)sim;
    if (!m->up && m->life == token)
        sim_member_start(m);
}

void sim_audit_turn(struct sim_member *m)
{
    if (replica_is_held(m->replica))
        want_state(m);
    if (m->ordered) {
        sim_say(m->sim, "m%u is odd and starts again without a state", m->n);
        m->distrusted = true;
        m->wrecked = true; /* in a member an orderly stop */
        sim_at(m->sim, m->sim->now_us + 100000, start_again, m, m->life + 1, NULL);
        return;
    }
    m->quarantined = machine_alarm(m->machine, m->n, CORRUPT) != NULL || m->distrusted;
    call_again(m, audit_turn(m->audit) * 1000);
}

/* ---- flips ---- */

/* No second state may go wrong while one is, or while a member may yet be made to take over the
 * state of another: that could be the wrong one, before the others have noticed. One that was found
 * odd can be that until its alarm is gone: a checkpoint from before the alarm has it replayed. */
static bool is_lone(const struct sim *sim)
{
    for (unsigned n = 1; n <= sim->size; n++) {
        const struct sim_member *m = &sim->members[n];

        if (m->flipped || m->distrusted || m->flip_forgotten ||
            (m->up && m->machine->alarm_count > 0))
            return false;
    }
    return true;
}

static void flip(struct sim_member *m)
{
    bool bit = prng_chance(&m->sim->prng, 500000);

    sim_say(m->sim, "%s m%u", bit ? "a bit flips in" : "applying goes otherwise in", m->n);
    m->sim->result->flips++;
    m->flipped = m->ever_flipped = true;
    m->flip_stored_at = 0;
    if (bit)
        mvcc_plant_flip(m->machine->mvcc, flip_key);
    else
        m->machine->history ^= 4096;
}

static void plant(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = &sim->members[prng_between(&sim->prng, 1, sim->size)];
    struct replica_status status;
    struct mvcc_kv kv;

    (void)data;
    (void)token;
    if (sim->healed)
        return;
    sim_at(sim, sim->now_us + prng_between(&sim->prng, 0, 2 * PLANT_AGAIN_US), plant, NULL, 0,
           NULL);
    if (!m->up || m->asleep_until_us > sim->now_us || !is_lone(sim) ||
        !mvcc_get(m->machine->mvcc, flip_key, &kv))
        return;
    /* A leader that sends its checkpoint about would make others wrong too. */
    replica_status(m->replica, &status);
    if (status.role != REPLICA_LEADER || !transfer_busy(m->transfer))
        flip(m);
}

static void put_key(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = &sim->members[1];
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct sim_write *write;
    uint8_t body[32];

    (void)data;
    (void)token;
    if (!m->up || m->asleep_until_us > sim->now_us) {
        sim_at(sim, sim->now_us + PLANT_AGAIN_US, put_key, NULL, 0, NULL);
        return;
    }
    put.key = pb_of_slice(flip_key);
    write = xcalloc(1, sizeof *write);
    write->done = on_written;
    sim_write(m, write, COMMAND_PUT, slice_of(body, etcdserverpb__put_request__pack(&put, body)));
    sim_member_settle(m);
}

void sim_audit_plant(struct sim *sim)
{
    if (!sim->flips)
        return;
    sim_at(sim, sim->now_us, put_key, NULL, 0, NULL);
    sim_at(sim, sim->now_us + PLANT_AGAIN_US, plant, NULL, 0, NULL);
}

bool sim_audit_quiet(const struct sim *sim)
{
    if (sim->options.bug == SIM_BUG_STATE_FLIP)
        return true;
    for (unsigned n = 1; n <= sim->size; n++)
        if (sim_churn_is_member(sim, n) &&
            (!sim->members[n].up || sim->members[n].machine->alarm_count > 0 ||
             sim->members[n].flipped || sim->members[n].distrusted))
            return false;
    return true;
}
