/* Checkpoints as consensus sees them: the log behind one may go, and a member that needs what has
 * gone gets one instead (Raft section 7). The files and their way from member to member are for who
 * is above; what passes here is which one, and when.
 *
 *   leader      libraft orders one ──▶ env.send_snapshot ─ ─ ─ file ─ ─ ─▶ the other member
 *               replica_snapshot_held ◀─ ─ ─ ─ ─ ─ "it is here" ─ ─ ─ ─ ─ ─┘
 *               INSTALL frame ──▶ the other: env.has_snapshot, env.install, acknowledgement
 *
 * So the message that changes the other's log goes the way of all others, in their order and with
 * the term of now, and not behind a file that may take minutes. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "raft/guards.h"
#include "raft/internal.h"

int snapshot_configuration(struct slice bytes, struct raft_configuration *out, struct err *err)
{
    struct raft_buffer payload = {.base = (void *)(uintptr_t)bytes.data, .len = bytes.len};
    struct err why = ERR_INIT;

    if (wire_check_configuration(bytes, &why) != 0)
        return err_set(err, KV_ECORRUPT, "%s", why.text);
    if (raft_configuration_decode(&payload, out) != 0)
        return err_set(err, KV_ECORRUPT, "configuration: can not be decoded");
    return 0;
}

/* ---- taken here ---- */

/* libraft has the configuration that is committed, and perhaps one that is not; the newest one that
 * the state machine has seen is the former, unless that was committed and not applied yet. */
bool replica_checkpoint_begin(const struct replica *r, struct replica_snapshot *out)
{
    struct replica *mine = (struct replica *)r; /* its scratch */
    const struct raft *raft = &r->raft;
    struct raft_buffer payload;

    if (r->failed || r->stateless || raft->snapshot.installing || r->applied == 0 ||
        r->applied > r->stored || raft->configuration_committed_index == 0 ||
        raft->configuration_committed_index > r->applied ||
        (raft->configuration_uncommitted_index != 0 &&
         raft->configuration_uncommitted_index <= r->applied))
        return false;
    ASSERT(raft_configuration_encode(&raft->configuration_committed, &payload) == 0);
    buf_reset(&mine->frame);
    ASSERT(buf_append(&mine->frame, payload.base, payload.len) == 0);
    raft_free(payload.base);
    *out = (struct replica_snapshot){.index = r->applied,
                                     .term = log_term(r, r->applied),
                                     .configuration_index = raft->configuration_committed_index,
                                     .configuration = buf_slice(&r->frame)};
    return out->term != 0;
}

/* The first entry that stays: a reserve for members that lag a little, and what is wished for. */
static uint64_t keep_from(const struct replica *r, uint64_t index, uint64_t wish)
{
    uint64_t first = wal_reserve_index(r->wal, index, r->reserve_bytes);

    if (wish != 0)
        first = MIN(first, wish);
    return MAX(MIN(first, index + 1), (uint64_t)1);
}

void replica_checkpoint_done(struct replica *r, const struct replica_snapshot *snapshot,
                             uint64_t wish)
{
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    struct raft_snapshot_metadata *metadata = &event.snapshot.metadata;
    uint64_t first;

    if (r->failed || !guard_snapshot(r, snapshot))
        return;
    first = keep_from(r, snapshot->index, wish);
    metadata->index = snapshot->index;
    metadata->term = snapshot->term;
    metadata->configuration_index = snapshot->configuration_index;
    if (snapshot_configuration(snapshot->configuration, &metadata->configuration, NULL) != 0) {
        replica__fatal(r, KV_ECORRUPT, "the configuration of our own checkpoint is malformed");
        return;
    }
    event.snapshot.trailing = (unsigned)MIN(snapshot->index + 1 - first, (uint64_t)UINT32_MAX);
    r->now = r->env.now_ms(r->env.ctx);
    (void)replica__step(r, &event); /* only fails fatally */
    if (r->failed)
        return;
    log_checkpointed(r, snapshot->index, snapshot->term);
    wal_drop_before(r->wal, r->raft.trail.offset + 1);
    r->env.flush_wal(r->env.ctx);
}

/* ---- for another member ---- */

void snapshot_order(struct replica *r, struct peer *peer, uint64_t index)
{
    if (!peer->connected || r->env.send_snapshot == NULL)
        return;
    /* G11: while the other has not got it, it rejects heartbeats, and libraft orders one for each.
     */
    if (guard_on(r, 11) && peer->snapshot_ordered)
        return;
    peer->snapshot_ordered = true;
    r->env.send_snapshot(r->env.ctx, peer->id, index);
}

void replica_snapshot_held(struct replica *r, uint64_t id, const struct replica_snapshot *snapshot)
{
    struct wire_message message = {.type = WIRE_INSTALL,
                                   .install = {.term = raft_current_term(&r->raft),
                                               .index = snapshot->index,
                                               .index_term = snapshot->term,
                                               .configuration_index = snapshot->configuration_index,
                                               .configuration = snapshot->configuration}};
    struct peer *peer = replica__peer(r, id);

    if (r->failed || peer == NULL)
        return;
    peer->snapshot_ordered = false; /* if this gets lost it is ordered, and found there, again */
    if (!replica__leads(r) || snapshot->index > raft_commit_index(&r->raft))
        return;
    peer->sent_high = MAX(peer->sent_high, snapshot->index);
    peer->install_ms = r->env.now_ms(r->env.ctx);
    send_frame(r, id, &message);
}

void replica_snapshot_failed(struct replica *r, uint64_t id)
{
    struct peer *peer = replica__peer(r, id);

    if (peer != NULL)
        peer->snapshot_ordered = false;
}

/* ---- from the leader ---- */

void snapshot_receive(struct replica *r, struct peer *from, const struct wire_install *install)
{
    struct raft_message message = {
        .type = RAFT_INSTALL_SNAPSHOT,
        .server_id = from->id,
        .server_address = "peer", /* not used for anything */
        .install_snapshot = {.term = install->term,
                             .last_index = install->index,
                             .last_term = install->index_term,
                             .conf_index = install->configuration_index},
    };
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {.message = &message}};
    bool current = install->term >= raft_current_term(&r->raft);

    if (!guard_install(r, install))
        return;
    /* The frame was checked when it was decoded; the memory passes to libraft. */
    if (snapshot_configuration(install->configuration, &message.install_snapshot.conf, NULL) != 0)
        return;
    (void)replica__step(r, &event); /* only fails fatally */
    if (!r->failed && current && r->leader == from->id)
        r->heard_ms = r->now;
}

/* The state is durable and loaded, so this is a matter of changing over, and never waits. */
void snapshot_install(struct replica *r, const struct raft_update *update)
{
    r->installing = update->snapshot.metadata; /* its configuration's memory too */
    log_restart(r, r->installing.index, r->installing.term);
    propose_skipped(r);
    r->stateless = false;
    r->env.install(r->env.ctx, r->installing.index, r->installing.term);
}

bool replica_is_held(const struct replica *r)
{
    return r->stateless;
}

/* Behind the snapshot that the log begins with, log_term() knows every entry. */
bool replica_restate(struct replica *r, uint64_t index, uint64_t term)
{
    if (r->failed || !r->stateless || index < r->applied || index > raft_commit_index(&r->raft) ||
        log_term(r, index) != term)
        return false;
    r->stateless = false;
    r->applied = index;
    propose_skipped(r);
    r->env.wake(r->env.ctx);
    return true;
}

void snapshot_installed_event(struct replica *r, struct raft_event *event)
{
    *event = (struct raft_event){.type = RAFT_PERSISTED_SNAPSHOT};
    event->persisted_snapshot.metadata = r->installing;
    event->persisted_snapshot.last = true;
    r->installing = (struct raft_snapshot_metadata){0};
}
