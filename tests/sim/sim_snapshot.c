/* Checkpoints in the simulator: the member's own code (server/checkpoint.c, server/transfer.c) with
 * jobs that run at a later virtual time, on disks that lose and tear, and bulk connections between
 * members that break. A crash comes at any step of a job: the power goes at the nth write of it. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/sim/sim.h"

enum {
    TICK_US = 250000,
    CONNECT_AGAIN_US = 200000,
    JOB_OPS_MAX = 12, /* writes, syncs and renames of a job that a power cut may come at */
};

#define SNAP_DIR "/snap"

/* ---- jobs ---- */

static void on_job(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = data;
    struct job *job;

    if (!m->up || m->life != token || list_empty(&m->jobs))
        return;
    job = LIST_FIRST(&m->jobs, struct job, link);
    list_remove(&job->link);
    sim_trace(sim, sim->now_us);
    job->work(job);
    job->done(job);
    sim_snapshot_turn(m);
    sim_member_settle(m);
}

static void run_job(void *ctx, struct job *job)
{
    struct sim_member *m = ctx;
    struct sim *sim = m->sim;
    uint64_t delay_us = prng_between(&sim->prng, 50, 20000);

    if (!sim->healed && prng_chance(&sim->prng, sim->stall_ppm))
        delay_us += prng_between(&sim->prng, 0, 1500000);
    list_init(&job->link);
    list_push_back(&m->jobs, &job->link);
    sim_at(sim, sim->now_us + delay_us, on_job, m, m->life, NULL);
}

void sim_snapshot_crash(struct sim_member *m)
{
    if (!list_empty(&m->jobs))
        memdisk_cut_power(m->memdisk, prng_between(&m->sim->prng, 1, JOB_OPS_MAX));
    LIST_EACH_SAFE (node, &m->jobs) {
        struct job *job = LIST_ENTRY(node, struct job, link);

        list_remove(node);
        job->work(job); /* as far as it gets; nobody hears of it */
    }
}

/* ---- bulk connections: from who opened them ---- */

struct parcel {
    unsigned opener, acceptor;
    bool to_acceptor;
    uint64_t epoch, life;
    size_t len;
    uint8_t bytes[];
};

static void break_bulk(struct sim *sim, unsigned opener, unsigned acceptor);

static void deliver_parcel(struct sim *sim, void *data, uint64_t token)
{
    struct parcel *p = data;
    struct sim_member *to = &sim->members[p->to_acceptor ? p->acceptor : p->opener];
    unsigned from = p->to_acceptor ? p->opener : p->acceptor;
    struct err err = ERR_INIT;

    (void)token;
    if (to->up && to->life == p->life && sim->bulk[p->opener][p->acceptor].epoch == p->epoch &&
        !sim->links[from][to->n].cut) {
        sim_trace(sim, p->len);
        if (transfer_on_frame(to->transfer, from,
                              p->to_acceptor ? TRANSFER_SENDER : TRANSFER_RECEIVER,
                              slice_of(p->bytes, p->len), &err) != 0)
            sim_violation(sim, "m%u refuses a bulk frame of m%u: %s", to->n, from, err.text);
        sim_member_settle(to);
    }
    free(p);
}

static void env_send(void *ctx, uint64_t peer, enum transfer_side side, struct slice frame)
{
    struct sim_member *m = ctx;
    struct sim *sim = m->sim;
    unsigned opener = side == TRANSFER_SENDER ? m->n : (unsigned)peer;
    unsigned acceptor = side == TRANSFER_SENDER ? (unsigned)peer : m->n;
    uint64_t *last_us = &sim->bulk[opener][acceptor].last_us[side == TRANSFER_SENDER];
    struct parcel *p;

    if (!sim->bulk[opener][acceptor].up || !sim->members[peer].up)
        return;
    if (!sim->healed && prng_chance(&sim->prng, 30000)) {
        break_bulk(sim, opener, acceptor);
        return;
    }
    p = xmalloc(sizeof *p + frame.len);
    *p = (struct parcel){.opener = opener,
                         .acceptor = acceptor,
                         .to_acceptor = side == TRANSFER_SENDER,
                         .epoch = sim->bulk[opener][acceptor].epoch,
                         .life = sim->members[peer].life,
                         .len = frame.len};
    memcpy(p->bytes, frame.data, frame.len);
    *last_us = MAX(*last_us + 1, sim->now_us + prng_between(&sim->prng, 100, 5000));
    sim_at(sim, *last_us, deliver_parcel, p, 0, free);
}

static void connect_bulk(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = data;
    unsigned peer = (unsigned)(token & 15);

    if (!m->up || m->life != token >> 4 || !sim->bulk[m->n][peer].wanted ||
        sim->bulk[m->n][peer].up)
        return;
    if (!sim->members[peer].up || sim->links[m->n][peer].cut || sim->links[peer][m->n].cut) {
        sim_at(sim, sim->now_us + CONNECT_AGAIN_US, connect_bulk, m, token, NULL);
        return;
    }
    sim->bulk[m->n][peer].up = true;
    sim->bulk[m->n][peer].epoch++;
    transfer_on_connection(m->transfer, peer, true);
    sim_member_settle(m);
}

static void env_open(void *ctx, uint64_t peer)
{
    struct sim_member *m = ctx;

    if (m->sim->bulk[m->n][peer].wanted)
        return;
    m->sim->bulk[m->n][peer].wanted = true;
    sim_at(m->sim, m->sim->now_us + prng_between(&m->sim->prng, 100, 5000), connect_bulk, m,
           m->life << 4 | peer, NULL);
}

static void env_close(void *ctx, uint64_t peer)
{
    struct sim_member *m = ctx;

    m->sim->bulk[m->n][peer].wanted = m->sim->bulk[m->n][peer].up = false;
    m->sim->bulk[m->n][peer].epoch++;
}

static void tell_broken(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = data;
    unsigned peer = (unsigned)(token & 15);

    if (!m->up || m->life != token >> 4 || !sim->bulk[m->n][peer].wanted)
        return;
    transfer_on_connection(m->transfer, peer, false);
    sim_at(sim, sim->now_us + CONNECT_AGAIN_US, connect_bulk, m, token, NULL);
    sim_member_settle(m);
}

static void break_bulk(struct sim *sim, unsigned opener, unsigned acceptor)
{
    if (!sim->bulk[opener][acceptor].up)
        return;
    sim->bulk[opener][acceptor].up = false;
    sim->bulk[opener][acceptor].epoch++;
    sim_at(sim, sim->now_us + prng_between(&sim->prng, 100, 100000), tell_broken,
           &sim->members[opener], sim->members[opener].life << 4 | acceptor, NULL);
}

void sim_bulk_broken(struct sim *sim, unsigned a, unsigned b)
{
    break_bulk(sim, a, b);
    break_bulk(sim, b, a);
}

/* ---- what the two of them say ---- */

static uint64_t env_now_ms(void *ctx)
{
    return ((struct sim_member *)ctx)->sim->now_us / 1000;
}

static uint64_t env_applied(void *ctx)
{
    struct sim_member *m = ctx;
    struct replica_status status;

    replica_status(m->replica, &status);
    return status.applied_index - (replica_is_held(m->replica) && status.applied_index > 0);
}

static void on_held(void *ctx, uint64_t peer, const struct replica_snapshot *snapshot,
                    uint64_t bytes, uint64_t duration_ms)
{
    struct sim_member *m = ctx;

    (void)bytes;
    (void)duration_ms;
    sim_say(m->sim, "m%u: m%llu has the checkpoint of %llu", m->n, (unsigned long long)peer,
            (unsigned long long)snapshot->index);
    replica_snapshot_held(m->replica, peer, snapshot);
}

static void on_failed(void *ctx, uint64_t peer, const char *why)
{
    struct sim_member *m = ctx;

    sim_say(m->sim, "m%u: sending a checkpoint to m%llu failed: %s", m->n, (unsigned long long)peer,
            why);
    replica_snapshot_failed(m->replica, peer);
}

static void on_receiving(void *ctx, uint64_t peer)
{
    struct sim_member *m = ctx;

    sim_say(m->sim, "m%u receives a checkpoint of m%llu", m->n, (unsigned long long)peer);
}

static void on_received(void *ctx, uint64_t peer, int code, const char *text, uint64_t bytes,
                        uint64_t duration_ms)
{
    struct sim_member *m = ctx;
    uint64_t index, term;

    (void)bytes;
    (void)duration_ms;
    if (code == 0 && transfer_ready(m->transfer, &index, &term))
        m->foreign_index = index;
    sim_say(m->sim, "m%u: the checkpoint of m%llu %s%s", m->n, (unsigned long long)peer,
            code == 0 ? "is here" : "did not come: ", text);
    if (code == KV_ECORRUPT || code == KV_EMISMATCH)
        sim_violation(m->sim, "m%u received a bad checkpoint: %s", m->n, text);
}

static void on_done(void *ctx, const struct checkpoint_done *done)
{
    struct sim_member *m = ctx;

    sim_say(m->sim, "m%u: checkpoint of %llu: %s", m->n, (unsigned long long)done->snapshot.index,
            done->status == 0 ? "written" : done->text);
    if (done->status != 0)
        return;
    sim_audit_written(m, done->snapshot.index);
    m->sim->result->checkpoints++;
    if (m->sim->options.bug != SIM_BUG_EARLY_DROP)
        replica_checkpoint_done(m->replica, &done->snapshot, checkpoints_oldest(m->checkpoints));
}

static void on_damage(void *ctx, const char *text)
{
    struct sim_member *m = ctx;

    sim_violation(m->sim, "m%u: a checkpoint is damaged: %s", m->n, text);
}

/* ---- the member's side ---- */

static int skip_sync_dir(void *ctx, const char *path, struct err *err)
{
    (void)ctx;
    (void)path;
    (void)err;
    return 0;
}

static struct disk snapshot_disk(struct sim_member *m)
{
    struct disk disk = memdisk_disk(m->memdisk);

    if (m->sim->options.bug != SIM_BUG_UNNAMED_FILE)
        return disk;
    m->hasty_ops = *disk.ops;
    m->hasty_ops.sync_dir = skip_sync_dir;
    disk.ops = &m->hasty_ops;
    return disk;
}

static void on_tick(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = data;

    if (!m->up || m->life != token)
        return;
    transfer_tick(m->transfer);
    sim_at(sim, sim->now_us + TICK_US, on_tick, m, m->life, NULL);
    sim_member_settle(m);
}

int sim_snapshot_open(struct sim_member *m, struct err *err)
{
    struct disk disk = snapshot_disk(m);
    struct checkpoints_options options = {.disk = disk,
                                          .dir = SNAP_DIR,
                                          .cluster_id = 1,
                                          .member_id = m->n,
                                          .runner = {.ctx = m, .run = run_job},
                                          .keep = m->sim->checkpoints_kept,
                                          .interval_bytes = m->sim->checkpoint_bytes,
                                          .ctx = m,
                                          .on_done = on_done,
                                          .on_damage = on_damage};
    struct transfer_options moving = {.ctx = m,
                                      .disk = disk,
                                      .dir = SNAP_DIR,
                                      .cluster_id = 1,
                                      .seed = 1,
                                      .runner = options.runner,
                                      .now_ms = env_now_ms,
                                      .open = env_open,
                                      .close = env_close,
                                      .send = env_send,
                                      .on_held = on_held,
                                      .on_failed = on_failed,
                                      .on_receiving = on_receiving,
                                      .on_received = on_received,
                                      .applied = env_applied};
    int rc;

    list_init(&m->jobs);
    for (unsigned other = 1; other <= m->sim->size; other++)
        m->sim->bulk[m->n][other].wanted = m->sim->bulk[m->n][other].up = false;
    rc = checkpoints_open(&options, 1, &m->checkpoints, &m->machine, err);
    if (rc != 0)
        return rc;
    moving.checkpoints = m->checkpoints;
    m->transfer = transfer_new(&moving);
    m->log_begun = 0;
    if (m->distrusted) { /* of what is stored only its place is used */
        machine_free(m->machine);
        m->machine = NULL;
    } else if (checkpoints_base(m->checkpoints) != NULL)
        sim_check_resumed(m, checkpoints_base(m->checkpoints)->index);
    sim_at(m->sim, m->sim->now_us + TICK_US, on_tick, m, m->life, NULL);
    return 0;
}

void sim_snapshot_close(struct sim_member *m)
{
    transfer_free(m->transfer);
    checkpoints_free(m->checkpoints);
    m->transfer = NULL;
    m->checkpoints = NULL;
}

static void begin(struct sim_member *m)
{
    struct replica_snapshot snapshot;

    if (!replica_checkpoint_begin(m->replica, &snapshot) || !sim_audit_may_store(m, snapshot.index))
        return;
    if (m->sim->options.bug == SIM_BUG_AHEAD)
        snapshot.index++;
    else
        sim_check_state(m, snapshot.index);
    sim_say(m->sim, "m%u begins a checkpoint of %llu", m->n, (unsigned long long)snapshot.index);
    m->log_begun = wal_appended_bytes(m->wal);
    sim_audit_stored(m, snapshot.index);
    checkpoints_begin(m->checkpoints, m->machine, &snapshot);
    if (m->sim->options.bug == SIM_BUG_EARLY_DROP)
        replica_checkpoint_done(m->replica, &snapshot, 0);
}

void sim_snapshot_turn(struct sim_member *m)
{
    if (m->sim->checkpoint_bytes != 0 && !m->quarantined &&
        checkpoints_due(m->checkpoints, wal_appended_bytes(m->wal) - m->log_begun, m->n % 2 == 0))
        begin(m);
    (void)checkpoints_step(m->checkpoints);
}

/* ---- effects of consensus ---- */

void sim_snapshot_send(void *ctx, uint64_t to, uint64_t index)
{
    struct sim_member *m = ctx;

    if (m->flipped) { /* spread, it would not be one member's any more */
        replica_snapshot_failed(m->replica, to);
        return;
    }
    sim_say(m->sim, "m%u is to send m%llu a checkpoint from %llu on", m->n, (unsigned long long)to,
            (unsigned long long)index);
    transfer_send(m->transfer, to, index);
}

bool sim_snapshot_has(void *ctx, uint64_t index, uint64_t term)
{
    return transfer_is_ready(((struct sim_member *)ctx)->transfer, index, term);
}

void sim_snapshot_install(void *ctx, uint64_t index, uint64_t term)
{
    struct sim_member *m = ctx;
    int64_t revision = mvcc_revision(m->machine->mvcc);

    sim_say(m->sim, "m%u installs %llu", m->n, (unsigned long long)index);
    if (!transfer_is_ready(m->transfer, index, term) || (index <= m->applied && !m->distrusted))
        sim_violation(m->sim, "m%u is to install %llu", m->n, (unsigned long long)index);
    /* What is being written reads the old keyspace: in a member that one stays until it is done. */
    m->old_machine = m->machine;
    m->machine = transfer_take(m->transfer);
    sim_watch_switched(m);
    m->lessor.leases = m->machine->leases;
    checkpoints_abandon(m->checkpoints);
    if (mvcc_revision(m->machine->mvcc) < revision)
        sim_violation(m->sim, "I4: m%u goes back from revision %lld", m->n, (long long)revision);
    m->sim->result->installs++;
    sim_churn_restated(m);
    sim_audit_restated(m, index);
    sim_check_resumed(m, index);
}
