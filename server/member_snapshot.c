#include "server/member_snapshot.h"
#include "server/auth_tokens.h"

#include <malloc.h>
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/mem.h"
#include "server/claims.h"
#include "server/identity.h"
#include "server/member_internal.h"
#include "server/watches.h"

enum {
    WRITE_BYTES_PER_SECOND = 64 << 20, /* leaves most of an ordinary disk to the log */
    SEND_BYTES_PER_SECOND = 64 << 20,
    /* With others to get the state from, one checkpoint is enough: should the disk spoil it, they
     * heal this member (server/heal.h). That takes two of them. */
    VOTERS_THAT_HEAL = 3,
    SPARE_BYTES = 16 << 20, /* of the log: the segment being written, and one made ahead */
    CALM_MS = 3000, /* with less than one segment written in so long, what is too much goes */
    TICK_MS = 250,
    RETRY_MS = 30000, /* after a checkpoint that failed: the disk may be full */
};

/* A machine that was replaced. */
struct retired {
    struct list link;
    struct job job;
    struct member *member;
    struct machine *machine;
};

/* ---- start ---- */

static void on_done(void *ctx, const struct checkpoint_done *done);
static void want_ticks(struct member *member);
static void on_damage(void *ctx, const char *text);

int member__open_snapshots(struct member *member, struct err *err)
{
    struct snapshots *s = &member->snapshots;
    char *dir = xasprintf("%s/snap", member->config->data_dir);
    struct checkpoints_options options = {
        .disk = member->disk,
        .dir = dir,
        .cluster_id = member->boot.cluster_id,
        .member_id = member->boot.member_id,
        .runner = worker_runner(s->worker),
        .interval_bytes = member->config->checkpoint_log_bytes,
        .bytes_per_second = WRITE_BYTES_PER_SECOND,
        .ctx = member,
        .on_done = on_done,
        .on_damage = on_damage,
    };
    int rc = checkpoints_open(&options, member__random(), &s->checkpoints, &member->machine, err);

    free(dir);
    if (rc != 0)
        return rc;
    wal_keep_spares(member->wal, UINT64_MAX); /* until it is calm: keep_spares() */
    if (member->machine == NULL) {
        member->machine =
            machine_new(member__random(), member->boot.members, member->boot.member_count);
        s->log_before = wal_bytes_behind(member->wal, 0);
        return 0;
    }
    if (member->distrusted) {
        machine_free(member->machine);
        member->machine =
            machine_new(member__random(), member->boot.members, member->boot.member_count);
        return 0;
    }
    (void)malloc_trim(0); /* what loading took beside the state */
    s->log_before = wal_bytes_behind(member->wal, checkpoints_base(s->checkpoints)->index);
    log_info(member->log, "loaded a checkpoint",
             LOG_UINT("index", checkpoints_base(s->checkpoints)->index),
             LOG_INT("revision", mvcc_revision(member->machine->mvcc)),
             LOG_UINT("keys", mvcc_key_count(member->machine->mvcc)));
    /* One that joins may have begun with a checkpoint from before it was added. */
    if (machine_was_removed(member->machine, member->boot.member_id))
        member->changes.removed = true;
    return 0;
}

static void on_damage(void *ctx, const char *text)
{
    const struct member *member = ctx;

    log_error(member->log, "a checkpoint is damaged; trying the one before it",
              LOG_STR("error", text));
}

/* ---- writing ---- */

static uint64_t log_bytes(const struct member *member)
{
    const struct snapshots *s = &member->snapshots;

    return wal_appended_bytes(member->wal) - s->log_mark + s->log_before;
}

static size_t checkpoints_kept(const struct member *member)
{
    return member->voters >= VOTERS_THAT_HEAL ? 1 : 2;
}

/* Compaction gives memory back by itself; so that the disk follows, without a defragmentation, what
 * it has taken since counts like log. */
static bool has_shrunk(const struct member *member)
{
    const struct snapshots *s = &member->snapshots;
    const struct mvcc *mvcc = member->machine->mvcc;

    /* Until the end of the compaction, which would have to wait for the checkpoint. */
    return !mvcc_compact_pending(mvcc) &&
           checkpoints_shrunk(s->checkpoints, s->held_bytes, mvcc_bytes_held(mvcc), s->calm);
}

static void begin(struct member *member, bool shrunk)
{
    struct snapshots *s = &member->snapshots;
    struct replica_snapshot snapshot;

    if (uv_now(member->loop) < s->retry_ms || !replica_checkpoint_begin(member->replica, &snapshot))
        return;
    /* At the start the log may be long enough, with nothing of it committed yet. */
    if (!shrunk && snapshot.index == checkpoints_newest(s->checkpoints))
        return;
    s->log_mark = wal_appended_bytes(member->wal);
    s->log_before = 0;
    s->begun_ns = uv_hrtime();
    s->held_bytes = mvcc_bytes_held(member->machine->mvcc);
    checkpoints_begin(s->checkpoints, member->machine, &snapshot);
}

/* What failed is tried again after a while; the old files and the log are as they were. */
static void on_failure(struct member *member, const struct checkpoint_done *done)
{
    struct snapshots *s = &member->snapshots;

    if (done->status == KV_ECANCELED)
        return;                     /* overtaken by one that came from another member */
    s->log_before = UINT64_MAX / 2; /* due, whatever is written meanwhile */
    s->retry_ms = uv_now(member->loop) + RETRY_MS;
    log_error(member->log, "writing a checkpoint failed; it is tried again",
              LOG_UINT("index", done->snapshot.index), LOG_STR("error", done->text));
}

static void on_done(void *ctx, const struct checkpoint_done *done)
{
    struct member *member = ctx;
    struct snapshots *s = &member->snapshots;
    double seconds = (double)(uv_hrtime() - s->begun_ns) / 1e9;

    if (done->status != 0) {
        on_failure(member, done);
        return;
    }
    log_info(member->log, "wrote a checkpoint", LOG_UINT("index", done->snapshot.index),
             LOG_UINT("bytes", done->bytes), LOG_UINT("took-ms", (uint64_t)(seconds * 1000)));
    if (member->metrics != NULL) {
        metrics_observe(&member->metrics->snapshot_save, seconds);
        metrics_observe(&member->metrics->snapshot_db_save, seconds);
        member->metrics->snapshot_written_bytes += done->bytes;
    }
    if (member->failed || member->state == MEMBER_CLOSING)
        return;
    FAILPOINT("checkpoint-done");
    replica_checkpoint_done(member->replica, &done->snapshot, checkpoints_oldest(s->checkpoints));
}

/* ---- a machine that was replaced ---- */

static void free_work(struct job *job)
{
    struct retired *retired = CONTAINER_OF(job, struct retired, job);

    machine_free(retired->machine);
    retired->machine = NULL;
}

static void free_done(struct job *job)
{
    struct retired *retired = CONTAINER_OF(job, struct retired, job);

    list_remove(&retired->link);
    free(retired);
}

static void retire(struct member *member, struct machine *machine)
{
    struct retired *retired = xcalloc(1, sizeof *retired);

    retired->member = member;
    retired->machine = machine;
    list_push_back(&member->snapshots.retired, &retired->link);
}

/* Answers under way read on in the keyspace that they began with. */
static void free_retired(struct member *member)
{
    LIST_EACH_SAFE (node, &member->snapshots.retired) {
        struct retired *retired = LIST_ENTRY(node, struct retired, link);

        if (retired->job.work != NULL || mvcc_is_in_use(retired->machine->mvcc))
            continue;
        retired->job = (struct job){.work = free_work, .done = free_done};
        job_run(worker_runner(member->snapshots.worker), &retired->job);
    }
}

/* ---- installing ---- */

bool member__has_snapshot(void *ctx, uint64_t index, uint64_t term)
{
    const struct member *member = ctx;

    return transfer_is_ready(member->snapshots.transfer, index, term);
}

/* What was stored before is not to be used, ever: only when it can not be any more is the new one
 * trusted. */
static void trust_again(struct member *member, uint64_t index)
{
    struct err err = ERR_INIT;

    if (!member->distrusted)
        return;
    checkpoints_forget_below(member->snapshots.checkpoints, index);
    if (identity_distrust(member->disk, member->config->data_dir, false, &err) == 0) {
        member->distrusted = false;
        return;
    }
    err_prefix(&err, "writing down that this member's state is good again");
    member__fatal(member, &err);
}

void member__take_state(struct member *member)
{
    uint64_t index, term;

    if (transfer_ready(member->snapshots.transfer, &index, &term) &&
        replica_restate(member->replica, index, term))
        member__install(member, index, term);
}

void member__provide_snapshot(struct member *member, uint64_t to, uint64_t index)
{
    struct snapshots *s = &member->snapshots;
    struct checkpoint_file *file = checkpoints_hold(s->checkpoints, index);
    struct replica_status status;

    replica_status(member->replica, &status);
    if (file == NULL && status.applied_index < index)
        return;
    if (file == NULL) {
        s->log_before = UINT64_MAX / 2; /* one is due, whatever is written meanwhile */
        return;
    }
    checkpoints_release(s->checkpoints, file);
    transfer_send(s->transfer, to, index);
    want_ticks(member);
}

/* Everything that holds the keyspace or the leases takes the new ones; what was begun on the old
 * keyspace has pinned it. */
void member__install(void *ctx, uint64_t index, uint64_t term)
{
    struct member *member = ctx;
    struct snapshots *s = &member->snapshots;
    struct machine *old = member->machine;

    FAILPOINT("install");
    member->machine = transfer_take(s->transfer);
    ASSERT(member->machine != NULL);
    ASSERT(mvcc_revision(member->machine->mvcc) >= mvcc_revision(old->mvcc));
    trust_again(member, index);
    member__audit_restated(member, index);
    watch_hub_switch(member->watches->hub, member->machine->mvcc);
    claims_switch(member->claims);
    member->lessor.leases = member->machine->leases;
    /* Whose password has changed in between is not known. */
    auth_tokens_forget_all(member->tokens);
    member->machine->tokens = member->tokens;
    old->tokens = NULL;
    checkpoints_abandon(s->checkpoints);
    s->log_mark = wal_appended_bytes(member->wal);
    s->log_before = 0;
    retire(member, old);
    member->publish_due = true;
    if (machine_was_removed(member->machine, member->boot.member_id))
        member->changes.removed = true;
    FAILPOINT("installed");
    log_info(member->log, "went over to a checkpoint of another member", LOG_UINT("index", index),
             LOG_UINT("term", term), LOG_INT("revision", mvcc_revision(member->machine->mvcc)));
}

/* ---- to and from other members ---- */

static uint64_t env_now_ms(void *ctx)
{
    return uv_now(((struct member *)ctx)->loop);
}

static uint64_t env_applied(void *ctx)
{
    const struct member *member = ctx;
    struct replica_status status;

    replica_status(member->replica, &status);
    /* Without a state, one of the very index that the log begins behind is welcome. */
    return status.applied_index -
           (replica_is_held(member->replica) && status.applied_index > 0 ? 1 : 0);
}

static void env_open(void *ctx, uint64_t peer)
{
    peers_bulk_open(((struct member *)ctx)->peers, peer);
}

static void env_close(void *ctx, uint64_t peer)
{
    struct member *member = ctx;

    if (member->peers != NULL && member->state != MEMBER_CLOSING)
        peers_bulk_close(member->peers, peer);
}

static void env_send(void *ctx, uint64_t peer, enum transfer_side from, struct slice frame)
{
    struct member *member = ctx;

    if (member->peers == NULL || member->state == MEMBER_CLOSING)
        return;
    if (from == TRANSFER_SENDER)
        peers_bulk_send(member->peers, peer, frame);
    else
        peers_bulk_answer(member->peers, peer, frame);
}

static struct metrics_snapshots *peer_metrics(const struct member *member, uint64_t peer)
{
    for (size_t i = 0; member->metrics != NULL && i < member->boot.peer_count; i++)
        if (member->boot.peers[i].id == peer && i < METRICS_PEERS_MAX)
            return &member->metrics->snapshots[i];
    return NULL;
}

static void on_held(void *ctx, uint64_t peer, const struct replica_snapshot *snapshot,
                    uint64_t bytes, uint64_t duration_ms)
{
    struct member *member = ctx;
    struct metrics_snapshots *metrics = peer_metrics(member, peer);

    log_info(member->log, "a member has got a checkpoint", LOG_ID("peer", peer),
             LOG_UINT("index", snapshot->index), LOG_UINT("bytes", bytes),
             LOG_UINT("took-ms", duration_ms));
    if (metrics != NULL) {
        metrics->sending = 0;
        metrics->send_success++;
        metrics_observe(&metrics->send, (double)duration_ms / 1000);
    }
    if (!member->failed && member->state != MEMBER_CLOSING)
        replica_snapshot_held(member->replica, peer, snapshot);
}

/* The files that libraft's last checkpoint stands for can not be read any more. */
static bool has_nothing_to_send(const struct member *member)
{
    struct checkpoints *checkpoints = member->snapshots.checkpoints;
    struct replica_status status;
    struct checkpoint_file *file;

    replica_status(member->replica, &status);
    file = checkpoints_hold(checkpoints, status.snapshot_index);
    if (file != NULL)
        checkpoints_release(checkpoints, file);
    return file == NULL;
}

static void on_failed(void *ctx, uint64_t peer, const char *why)
{
    struct member *member = ctx;
    struct metrics_snapshots *metrics = peer_metrics(member, peer);

    log_warn(member->log, "sending a checkpoint failed", LOG_ID("peer", peer),
             LOG_STR("error", why));
    if (metrics != NULL) {
        metrics->sending = 0;
        metrics->send_failures++;
    }
    if (has_nothing_to_send(member))
        member->snapshots.log_before = UINT64_MAX / 2; /* a new one is due */
    if (!member->failed && member->state != MEMBER_CLOSING)
        replica_snapshot_failed(member->replica, peer);
}

static void on_receiving(void *ctx, uint64_t peer)
{
    struct member *member = ctx;
    struct metrics_snapshots *metrics = peer_metrics(member, peer);

    log_info(member->log, "receiving a checkpoint: this member is behind the others' logs",
             LOG_ID("peer", peer));
    if (metrics != NULL)
        metrics->receiving = 1;
}

static void on_received(void *ctx, uint64_t peer, int code, const char *text, uint64_t bytes,
                        uint64_t duration_ms)
{
    struct member *member = ctx;
    struct metrics_snapshots *metrics = peer_metrics(member, peer);

    if (metrics != NULL) {
        metrics->receiving = 0;
        metrics->receive_success += code == 0;
        metrics->receive_failures += code != 0;
        if (code == 0)
            metrics_observe(&metrics->receive, (double)duration_ms / 1000);
    }
    if (code == 0)
        log_info(member->log, "received a checkpoint", LOG_ID("peer", peer),
                 LOG_UINT("bytes", bytes), LOG_UINT("took-ms", duration_ms));
    else
        log_warn(member->log, "receiving a checkpoint failed", LOG_ID("peer", peer),
                 LOG_STR("error", text));
}

static void on_timer(uv_timer_t *timer)
{
    struct member *member = CONTAINER_OF(timer, struct member, snapshots.timer);

    transfer_tick(member->snapshots.transfer);
    if (!transfer_busy(member->snapshots.transfer))
        (void)uv_timer_stop(timer); /* cannot fail */
}

/* Runs while something is under way. */
static void want_ticks(struct member *member)
{
    uv_timer_t *timer = &member->snapshots.timer;

    if (!uv_is_active((uv_handle_t *)timer) && member->state != MEMBER_CLOSING)
        (void)uv_timer_start(timer, on_timer, TICK_MS, TICK_MS); /* fails only while closing */
}

void member__start_snapshots(struct member *member)
{
    struct snapshots *s = &member->snapshots;
    char *dir = xasprintf("%s/snap", member->config->data_dir);
    struct transfer_options options = {
        .ctx = member,
        .disk = member->disk,
        .dir = dir,
        .cluster_id = member->boot.cluster_id,
        .seed = member__random(),
        .runner = worker_runner(s->worker),
        .checkpoints = s->checkpoints,
        .bytes_per_second = SEND_BYTES_PER_SECOND,
        .now_ms = env_now_ms,
        .open = env_open,
        .close = env_close,
        .send = env_send,
        .on_held = on_held,
        .on_failed = on_failed,
        .on_receiving = on_receiving,
        .on_received = on_received,
        .applied = env_applied,
    };

    s->transfer = transfer_new(&options);
    free(dir);
}

void member__send_snapshot(void *ctx, uint64_t to, uint64_t index)
{
    struct member *member = ctx;
    struct metrics_snapshots *metrics = peer_metrics(member, to);

    log_info(member->log, "a member is behind our log and gets a checkpoint", LOG_ID("peer", to));
    if (metrics != NULL)
        metrics->sending = 1;
    transfer_send(member->snapshots.transfer, to, index);
    want_ticks(member);
}

void member__snapshots_role_changed(struct member *member)
{
    if (member->role == REPLICA_LEADER || member->snapshots.transfer == NULL)
        return;
    transfer_stop_sending(member->snapshots.transfer);
    for (size_t i = 0; member->metrics != NULL && i < METRICS_PEERS_MAX; i++)
        member->metrics->snapshots[i].sending = 0;
}

int member__on_bulk(void *ctx, uint64_t from, bool ours, struct slice frame, struct err *err)
{
    struct member *member = ctx;

    if (member->failed)
        return 0;
    want_ticks(member);
    return transfer_on_frame(member->snapshots.transfer, from,
                             ours ? TRANSFER_RECEIVER : TRANSFER_SENDER, frame, err);
}

void member__on_bulk_up(void *ctx, uint64_t id, bool up)
{
    struct member *member = ctx;

    if (!member->failed)
        transfer_on_connection(member->snapshots.transfer, id, up);
}

/* ---- every turn ---- */

/* Segments are used again, not filled with zeros anew, while much is written; and the log grows
 * beyond the interval while a checkpoint is being written. In calm times it takes what it needs. */
static void keep_spares(struct member *member)
{
    struct snapshots *s = &member->snapshots;
    uint64_t appended = wal_appended_bytes(member->wal), now_ms = uv_now(member->loop);
    uint64_t bytes = UINT64_MAX;

    if (appended - s->spares_mark >= SPARE_BYTES / 2) {
        s->spares_mark = appended;
        s->calm_ms = now_ms + CALM_MS;
    }
    s->calm = now_ms >= s->calm_ms;
    if (s->calm && !checkpoints_idle(s->checkpoints))
        return;
    if (s->calm)
        bytes = checkpoints_kept(member) * checkpoints_interval(s->checkpoints, true) +
                member->config->checkpoint_log_bytes / LOG_RESERVE_SHARE + SPARE_BYTES;
    if (bytes == s->spare_bytes)
        return;
    s->spare_bytes = bytes;
    wal_keep_spares(member->wal, bytes);
    if (!s->calm)
        return;
    (void)malloc_trim(0);               /* what so much traffic took */
    (void)wal_append_mark(member->wal); /* a flush hears of it */
}

bool member__snapshots_turn(struct member *member)
{
    struct snapshots *s = &member->snapshots;
    bool shrunk;

    free_retired(member);
    if (member->failed)
        return false;
    keep_spares(member);
    checkpoints_keep(s->checkpoints, checkpoints_kept(member));
    shrunk = has_shrunk(member);
    if (!member->quarantine.on &&
        (shrunk || checkpoints_due(s->checkpoints, log_bytes(member), s->calm)))
        begin(member, shrunk);
    return checkpoints_step(s->checkpoints);
}

void member__free_snapshots(struct member *member)
{
    struct snapshots *s = &member->snapshots;

    transfer_free(s->transfer);
    checkpoints_free(s->checkpoints);
    LIST_EACH_SAFE (node, &s->retired) {
        struct retired *retired = LIST_ENTRY(node, struct retired, link);

        machine_free(retired->machine);
        free(retired);
    }
}
