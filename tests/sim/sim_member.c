/* A member: the real wal, replica and state machine, driven by events instead of a loop. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "tests/sim/sim.h"

enum { SEGMENT_SIZE = 16 << 10 };

bool sim_member_asleep(struct sim_member *m, sim_action action, void *data, uint64_t token,
                       void (*drop)(void *data))
{
    if (m->asleep_until_us <= m->sim->now_us)
        return false;
    sim_at(m->sim, m->asleep_until_us, action, data, token, drop);
    return true;
}

static uint64_t env_now_ms(void *ctx)
{
    struct sim_member *m = ctx;

    return m->sim->now_us / 1000;
}

static void on_timer(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = data;

    if (!m->up || token != m->timer_token || sim_member_asleep(m, on_timer, data, token, NULL))
        return;
    sim_trace(sim, sim->now_us);
    replica_on_timer(m->replica);
    sim_member_settle(m);
}

static void env_arm_timer(void *ctx, uint64_t at_ms)
{
    struct sim_member *m = ctx;
    uint64_t at_us = MAX(at_ms * 1000, m->sim->now_us + 1);

    m->timer_token++;
    /* A timer may fire late: other work was in the way. */
    sim_at(m->sim, at_us + prng_between(&m->sim->prng, 0, 3000), on_timer, m, m->timer_token, NULL);
}

static void on_turn(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = data;

    (void)sim;
    if (!m->up || m->life != token || sim_member_asleep(m, on_turn, data, token, NULL))
        return;
    m->turn_queued = false;
    lessor__turn(&m->lessor);
    sim_audit_turn(m);
    if (m->wrecked) { /* its state is not what the others have */
        sim_member_settle(m);
        return;
    }
    sim_churn_turn(m);
    replica_turn(m->replica);
    lessor__turn_end(&m->lessor);
    sim_lessor_turned(m);
    sim_snapshot_turn(m);
    sim_member_settle(m);
}

void sim_member_wake(struct sim_member *m)
{
    if (m->turn_queued)
        return;
    m->turn_queued = true;
    sim_at(m->sim, m->sim->now_us + prng_between(&m->sim->prng, 0, 50), on_turn, m, m->life, NULL);
}

static void env_wake(void *ctx)
{
    sim_member_wake(ctx);
}

static void env_flush_wal(void *ctx)
{
    struct sim_member *m = ctx;

    m->flush_wanted = true;
}

static void env_send(void *ctx, uint64_t to, struct slice frame)
{
    struct sim_member *m = ctx;

    sim_send(m->sim, m->n, (unsigned)to, frame);
}

static size_t env_send_queued(void *ctx, uint64_t to)
{
    struct sim_member *m = ctx;

    return to <= m->sim->size ? m->sim->links[m->n][to].queued : 0;
}

static void bend_body(struct sim_member *m, struct command *command, const ProtobufCMessage *body)
{
    size_t len = protobuf_c_message_get_packed_size(body);
    uint8_t *bytes = arena_alloc(&m->arena, len);

    (void)protobuf_c_message_pack(body, bytes); /* writes len bytes */
    command->body = slice_of(bytes, len);
}

static void bend_expire(struct sim_member *m, struct command *command)
{
    Kvdpb__LeaseExpire *expire =
        kvdpb__lease_expire__unpack(NULL, command->body.len, command->body.data);

    if (m->sim->options.bug == SIM_BUG_OLD_TERM)
        command->term = expire->term;
    else
        expire->grant = leases_grant_number(m->machine->leases, expire->id);
    bend_body(m, command, &expire->base);
    kvdpb__lease_expire__free_unpacked(expire, NULL);
}

static void bend_checkpoint(struct sim_member *m, struct command *command)
{
    Kvdpb__LeaseCheckpoint *all =
        kvdpb__lease_checkpoint__unpack(NULL, command->body.len, command->body.data);

    for (size_t i = 0; i < all->n_leases; i++)
        if (all->leases[i]->remaining_ms != 0)
            all->leases[i]->remaining_ms = UINT64_MAX; /* says nothing */
    bend_body(m, command, &all->base);
    kvdpb__lease_checkpoint__free_unpacked(all, NULL);
}

/* The planted bugs of members that do not look where the decision about a lease comes from, or what
 * is left of it: commands are bent before they get there. */
static struct command bend(struct sim_member *m, struct command command)
{
    enum sim_bug bug = m->sim->options.bug;

    if ((bug == SIM_BUG_OLD_TERM || bug == SIM_BUG_OLD_GRANT) &&
        command.kind == COMMAND_LEASE_EXPIRE)
        bend_expire(m, &command);
    if (bug == SIM_BUG_LOST_CHECKPOINT && command.kind == COMMAND_LEASE_CHECKPOINT)
        bend_checkpoint(m, &command);
    return command;
}

static void apply_command(struct sim_member *m, const struct command *command, uint64_t index)
{
    bool own = command->origin == m->n;
    bool waited = own && idmap_get(&m->waiting, command->ticket) != NULL;
    struct machine_result result;
    struct sim_lease_watch watch;
    struct command bent;

    sim_check_command(m, command, index);
    arena_reset(&m->arena);
    bent = bend(m, *command);
    sim_lease_before(m, command, &watch);
    machine_apply(m->machine, &bent, own, &m->arena, &result);
    sim_audit_command(m, &result);
    sim_lease_after(m, command, index, &watch, &result);
    m->digest = (m->digest ^ (uint64_t)result.revision ^ command->ticket) * 0x100000001b3u;
    sim_watch_applied(m);
    if (waited)
        sim_client_applied(m, command->ticket, &result);
    else if (own && !sim_write_applied(m, command->ticket, &result))
        sim_writer_applied(m, command->ticket); /* or nobody waits for it any more */
}

static void env_apply(void *ctx, const struct replica_entry *entry)
{
    struct sim_member *m = ctx;
    struct slice rest = entry->commands;
    struct command command;
    bool twice = m->sim->options.bug == SIM_BUG_DOUBLE_APPLY && m->n == 1 && entry->index % 50 == 0;

    if (entry->index != m->applied + 1)
        sim_violation(m->sim, "I7: m%u applies %llu after %llu", m->n,
                      (unsigned long long)entry->index, (unsigned long long)m->applied);
    m->machine->lease_now_ms = sim_lessor_now_ms(m);
    while (rest.len != 0) {
        if (command_decode(&rest, &command) != 0) {
            sim_violation(m->sim, "m%u: entry %llu holds no commands", m->n,
                          (unsigned long long)entry->index);
            break;
        }
        command.term = entry->term;
        command.index = entry->index;
        apply_command(m, &command, entry->index);
        if (twice)
            apply_command(m, &command, entry->index);
    }
    if (entry->members != NULL)
        sim_churn_configured(m, entry);
    m->applied = entry->index;
    sim_audit_applied(m, entry->index);
    m->sim->result->applied++;
    sim_check_entry(m, entry);
}

/* Disks that do not lie lose nothing, whatever is late, lost or restarted. */
static void env_on_lost(void *ctx, uint64_t id, uint64_t last, uint64_t match)
{
    struct sim_member *m = ctx;

    if (m->sim->options.bug != SIM_BUG_SKIP_SYNC)
        sim_violation(m->sim, "m%u says that m%u has lost entries %llu to %llu", m->n, (unsigned)id,
                      (unsigned long long)last + 1, (unsigned long long)match);
}

static void env_on_role(void *ctx, enum replica_role role, uint64_t term, uint64_t leader)
{
    struct sim_member *m = ctx;

    if (role != REPLICA_LEADER)
        transfer_stop_sending(m->transfer);
    sim_say(m->sim, "m%u is %s, term %llu, leader m%llu", m->n,
            role == REPLICA_LEADER      ? "leader"
            : role == REPLICA_CANDIDATE ? "candidate"
                                        : "follower",
            (unsigned long long)term, (unsigned long long)leader);
    if (role == REPLICA_LEADER)
        sim_check_leader(m, term);
    lessor__role_changed(&m->lessor, role, term, leader);
    audit_role_changed(m->audit, role == REPLICA_LEADER);
    sim_member_wake(m); /* a loop turn follows whatever happens */
}

static void env_on_configuration(void *ctx)
{
    ((struct sim_member *)ctx)->new_configuration = true;
}

static void env_on_ask(void *ctx, uint64_t from, uint64_t session, struct slice questions)
{
    struct sim_member *m = ctx;

    sim_member_wake(m);
    if (audit_is_frame(questions)) {
        audit_on_report(m->audit, from, session, questions);
        return;
    }
    lessor__on_ask(&m->lessor, from, session, questions);
}

static void env_on_answer(void *ctx, struct slice answers)
{
    struct sim_member *m = ctx;

    sim_member_wake(m);
    if (audit_is_frame(answers)) {
        audit_on_round(m->audit, answers);
        return;
    }
    lessor__on_answer(&m->lessor, answers);
}

static void env_fatal(void *ctx, const struct err *err)
{
    struct sim_member *m = ctx;

    sim_violation(m->sim, "m%u stops itself: %s", m->n, err->text);
    m->wrecked = true;
}

static int open_wal(struct sim_member *m, struct err *err)
{
    struct wal_options options = {.disk = memdisk_disk(m->memdisk),
                                  .dir = "/wal",
                                  .cluster_id = 1,
                                  .member_id = m->n,
                                  .segment_size = SEGMENT_SIZE};

    return wal_open(&options, &m->wal, err);
}

/* The planted bug of a member that does not keep its vote: a newer, empty hard state in its log. */
static void forget_vote(struct sim_member *m)
{
    struct wal_hard_state state = wal_hard_state(m->wal);

    if (wal_is_new(m->wal))
        return;
    state.voted_for = 0;
    (void)wal_append_hard_state(m->wal, state);
    (void)wal_flush_sync(m->wal, NULL); /* a memdisk without planted faults takes it */
}

/* One that joins begins with nothing, and gets it all from the log or a checkpoint. */
static struct machine *new_machine(const struct sim_member *m)
{
    struct machine_member members[SIM_MEMBERS_MAX] = {{0}};
    char *urls[SIM_MEMBERS_MAX];
    char name[] = "";

    if (m->n > m->sim->founders)
        return machine_new(1, NULL, 0);
    for (unsigned n = 1; n <= m->sim->founders; n++) {
        urls[n - 1] = (char *)(uintptr_t)sim_churn_address(m->sim, n); /* copied */
        members[n - 1] = (struct machine_member){
            .id = n, .name = name, .peer_urls = &urls[n - 1], .peer_url_count = 1};
    }
    return machine_new(1, members, m->sim->founders);
}

/* The planted bug of a member that looks for its configuration in the wrong place. */
static void take_first_configuration(struct sim_member *m, struct replica_snapshot *snapshot,
                                     const uint64_t *ids, const char *const *addresses,
                                     struct buf *space)
{
    if (replica_encode_voters(ids, addresses, m->sim->founders, space, NULL) == 0)
        snapshot->configuration = buf_slice(space);
}

void sim_member_start(struct sim_member *m)
{
    static const uint64_t ids[] = {1, 2, 3, 4, 5};
    struct sim *sim = m->sim;
    const char *addresses[ARRAY_LEN(ids)];
    struct replica_snapshot snapshot;
    struct buf space;
    int rc;
    struct replica_options options = {
        .id = m->n,
        .voters = ids,
        .voter_count = m->n <= sim->founders ? sim->founders : 0,
        .addresses = addresses,
        .env = {.ctx = m,
                .now_ms = env_now_ms,
                .arm_timer = env_arm_timer,
                .wake = env_wake,
                .flush_wal = env_flush_wal,
                .send = env_send,
                .send_queued = env_send_queued,
                .apply = env_apply,
                .on_role = env_on_role,
                .on_configuration = env_on_configuration,
                .on_lost = env_on_lost,
                .send_snapshot = sim_snapshot_send,
                .has_snapshot = sim_snapshot_has,
                .install = sim_snapshot_install,
                .on_ask = env_on_ask,
                .on_answer = env_on_answer,
                .fatal = env_fatal},
        .seed = prng_next(&sim->prng),
        .cache_bytes = 16 << 10, /* small, so that old entries come from the log */
        .guards_off = sim->options.guards_off,
        .reserve_bytes = sim->reserve_bytes,
    };
    struct err err = ERR_INIT;

    for (unsigned n = 0; n < ARRAY_LEN(ids); n++)
        addresses[n] = sim_churn_address(sim, n + 1);
    m->life++;
    m->up = true;
    m->wrecked = m->turn_queued = m->flush_wanted = false;
    m->applied = m->digest = 0;
    m->ticket_next = m->life << 32;
    m->hub = NULL;
    idmap_init(&m->waiting);
    arena_init(&m->arena);
    m->asleep_until_us = 0;
    sim_lessor_start(m);
    memdisk_lie(m->memdisk, sim->options.bug == SIM_BUG_SKIP_SYNC);
    if (sim_snapshot_open(m, &err) != 0) {
        sim_violation(sim, "m%u can not load its checkpoint: %s", m->n, err.text);
        return;
    }
    options.snapshot = checkpoints_base(m->checkpoints);
    if (m->machine == NULL)
        m->machine = new_machine(m);
    options.hold = m->distrusted;
    sim_audit_start(m);
    sim_watch_up(m);
    m->lessor.leases = m->machine->leases;
    if (open_wal(m, &err) != 0) {
        sim_violation(sim, "m%u can not open its log: %s", m->n, err.text);
        return;
    }
    if (sim->options.bug == SIM_BUG_FORGET_VOTE)
        forget_vote(m);
    options.wal = m->wal;
    if (sim->options.bug == SIM_BUG_EARLY_VOTE)
        options.guards_off |= 1u << 9; /* which would not let it (raft/guards.h) */
    buf_init(&space, WAL_ENTRY_SIZE_MAX);
    if (sim->options.bug == SIM_BUG_OLD_CONFIGURATION && options.snapshot != NULL) {
        snapshot = *options.snapshot;
        options.snapshot = &snapshot;
        take_first_configuration(m, &snapshot, ids, addresses, &space);
    }
    sim_churn_start(m);
    rc = replica_open(&options, &m->replica, &err);
    buf_release(&space);
    if (rc != 0) {
        sim_violation(sim, "m%u can not start: %s", m->n, err.text);
        return;
    }
    sim_say(sim, "m%u starts, log ends at %llu", m->n, (unsigned long long)wal_last_index(m->wal));
    for (unsigned other = 1; other <= sim->size; other++) {
        if (other == m->n || !sim->members[other].up)
            continue;
        sim->links[m->n][other].epoch++;
        sim->links[other][m->n].epoch++;
        sim_peer_changed(sim, m->n, other, true, prng_between(&sim->prng, 100, 50000));
        sim_peer_changed(sim, other, m->n, true, prng_between(&sim->prng, 100, 50000));
    }
    sim_member_settle(m);
}

/* ---- flushing ---- */

static void on_flushed(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = data;
    struct wal_flush *flush = m->flush;
    struct err err = ERR_INIT;
    uint64_t seq;

    if (!m->up || m->life != token || sim_member_asleep(m, on_flushed, data, token, NULL))
        return;
    m->flush = NULL;
    if (wal_flush_run(flush, &err) != 0) {
        sim_violation(sim, "m%u: flush failed: %s", m->n, err.text);
        return;
    }
    seq = wal_flush_end(m->wal, flush);
    sim_trace(sim, seq);
    if (prng_chance(&sim->prng, 200000) && wal_upkeep(m->wal, &err) < 0)
        sim_violation(sim, "m%u: upkeep of the log failed: %s", m->n, err.text);
    replica_on_durable(m->replica, seq);
    sim_member_settle(m);
}

static void begin_flush(struct sim_member *m)
{
    struct sim *sim = m->sim;
    uint64_t duration_us = prng_between(&sim->prng, 80, 3000);

    m->flush_wanted = false;
    m->flush = wal_flush_begin(m->wal);
    if (m->flush == NULL)
        return;
    if (!sim->healed && prng_chance(&sim->prng, sim->stall_ppm))
        duration_us += prng_between(&sim->prng, 0, 1500000);
    sim_at(sim, sim->now_us + duration_us, on_flushed, m, m->life, NULL);
}

void sim_member_settle(struct sim_member *m)
{
    if (!m->up)
        return;
    if (m->flush_wanted && m->flush == NULL)
        begin_flush(m);
    if (m->wrecked)
        sim_member_crash(m, "stopped itself");
    else if (m->removed)
        sim_member_crash(m, "was removed from the cluster, and stops");
}

void sim_member_crash(struct sim_member *m, const char *why)
{
    struct sim *sim = m->sim;

    sim_say(sim, "m%u: %s", m->n, why);
    sim->result->crashes += !m->removed;
    sim->result->retired += m->removed;
    if (m->removed)
        m->state = SIM_RETIRED;
    sim_client_lost(m);
    sim_lessor_stop(m);
    sim_writer_lost(m);
    sim_watch_down(m);
    sim_audit_stop(m);
    m->up = false;
    m->life++;
    if (m->flush != NULL) {
        /* The power goes while it writes: what it had synced counts, of the rest any part may be
         * there. Its outcome is lost with the power. */
        memdisk_cut_power(m->memdisk, prng_between(&sim->prng, 1, 4));
        (void)wal_flush_run(m->flush, NULL);
        m->flush = NULL;
    }
    sim_snapshot_crash(m);
    replica_close(m->replica);
    m->replica = NULL;
    wal_close(m->wal);
    m->wal = NULL;
    sim_snapshot_close(m);
    memdisk_crash(m->memdisk);
    machine_free(m->machine);
    machine_free(m->old_machine);
    m->machine = m->old_machine = NULL;
    idmap_release(&m->waiting);
    arena_release(&m->arena);
    for (unsigned other = 1; other <= sim->size; other++) {
        if (other == m->n)
            continue;
        sim->links[other][m->n].epoch++;
        sim->links[m->n][other].epoch++;
        sim_bulk_broken(sim, m->n, other);
        /* Its kernel closes the sockets, unless the link is cut: then nobody hears of it. */
        if (!sim->links[m->n][other].cut)
            sim_peer_changed(sim, other, m->n, false, prng_between(&sim->prng, 100, 3000));
    }
}

void sim_member_free(struct sim_member *m)
{
    if (m->up) {
        sim_client_lost(m);
        sim_lessor_stop(m);
        sim_writer_lost(m);
        sim_watch_down(m);
        sim_audit_stop(m);
        replica_close(m->replica);
        wal_close(m->wal);
        sim_snapshot_close(m);
        machine_free(m->machine);
        machine_free(m->old_machine);
        idmap_release(&m->waiting);
        arena_release(&m->arena);
    }
    memdisk_free(m->memdisk);
}
