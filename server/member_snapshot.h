/* The member's side of checkpoints: when one is taken, what follows from one, and what happens when
 * one arrives. Loop thread only.
 *
 *   every turn ──▶ due? ──▶ server/checkpoint.c writes ──▶ raft drops the log behind it
 *   raft: a peer is behind the log ──▶ server/transfer.c sends ──▶ raft: INSTALL
 *   a peer sends ──▶ server/transfer.c receives, makes the machine ──▶ raft: install ──▶ the new
 *   machine takes over, the hub of watchers with it; the old one goes when nobody reads it any more
 */
#ifndef KVD_SERVER_MEMBER_SNAPSHOT_H
#define KVD_SERVER_MEMBER_SNAPSHOT_H

#include "base/list.h"
#include "raft/replica.h"
#include "server/checkpoint.h"
#include "server/transfer.h"
#include "server/worker.h"

struct member;

/* Of the log between two checkpoints: kept behind one for members that lag a little. */
enum { LOG_RESERVE_SHARE = 8 };

struct snapshots {
    struct worker *worker;
    struct checkpoints *checkpoints;
    struct transfer *transfer;
    uv_timer_t timer;    /* of transfer_tick(), while it is wanted */
    uint64_t log_mark;   /* wal_appended_bytes() when the last checkpoint began ... */
    uint64_t log_before; /* ... and log bytes behind it that were there at start */
    uint64_t begun_ns;
    uint64_t held_bytes;           /* in the keyspace at that time: mvcc_bytes_held() */
    uint64_t spares_mark, calm_ms; /* keep_spares() */
    bool calm;
    uint64_t spare_bytes; /* as the log was told */
    uint64_t retry_ms;    /* after a failure, not before this time */
    struct list retired;  /* machines that somebody may still read */
};

/* Loads member->machine from the newest checkpoint, or makes a new one. The log is open. */
int member__open_snapshots(struct member *member, struct err *err);
/* The replica is open, the peers too. */
void member__start_snapshots(struct member *member);
/* Every turn. True while there is more to do at once. */
bool member__snapshots_turn(struct member *member);
/* No job is running any more. */
void member__free_snapshots(struct member *member);

/* That member wants a checkpoint at that index or above: it gets one, if need be when one is
 * written; asked again until then. */
void member__provide_snapshot(struct member *member, uint64_t to, uint64_t index);
/* A state that was to come from another member is here: it is taken over if it fits the log. */
void member__take_state(struct member *member);

/* Effects of consensus, and what the bulk connections bring. */
void member__send_snapshot(void *ctx, uint64_t to, uint64_t index);
bool member__has_snapshot(void *ctx, uint64_t index, uint64_t term);
void member__install(void *ctx, uint64_t index, uint64_t term);
void member__snapshots_role_changed(struct member *member);
int member__on_bulk(void *ctx, uint64_t from, bool ours, struct slice frame, struct err *err);
void member__on_bulk_up(void *ctx, uint64_t id, bool up);

#endif
