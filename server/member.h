/* A cluster member: ties log, consensus, keyspace, peers and client listeners together on one loop.
 * Only here and in machine.h do raft and mvcc meet. */
#ifndef KVD_SERVER_MEMBER_H
#define KVD_SERVER_MEMBER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "raft/peers.h"
#include "raft/replica.h"
#include "server/config.h"
#include "server/log.h"
#include "server/machine.h"

struct member;
struct metrics;

struct member_options {
    uv_loop_t *loop;
    const struct config *config; /* borrowed for the member's life */
    struct log *log;             /* may be NULL */
    struct metrics *metrics;     /* may be NULL */
    /* The member must end: a failed disk, an inconsistent state, another member's data dir. Called
     * once from the loop; the process should exit with code 1. */
    void (*on_fatal)(void *ctx, const struct err *err);
    /* Leader known and own log applied up to the commit index seen then: ready to serve. Once. */
    void (*on_ready)(void *ctx);
    /* The member was removed from the cluster: it should be stopped, and the process end with code
     * 0. Once, from the loop. May be NULL. */
    void (*on_removed)(void *ctx);
    /* This member's state is not what a majority of the members has. That is written down; it
     * serves nothing any more and should be stopped and started again in the same data dir: then it
     * gets the others' state. Once, from the loop. May be NULL: it only serves nothing. */
    void (*on_quarantine)(void *ctx);
    void *ctx;
};

/* Locks the data dir, checks whose it is, opens the log, starts consensus and listens. Blocks for
 * the time the log takes to read. On failure *out is untouched, and what was begun is closed by the
 * next turns of the loop, which the caller lets run until it has nothing left. */
int member_start(const struct member_options *options, struct member **out, struct err *err);
/* Orderly stop: hands leadership over (at most two election timeouts), finishes calls, closes; then
 * cb. The memory is gone after cb. */
void member_stop(struct member *member, void (*cb)(void *ctx), void *ctx);

struct member_info {
    uint64_t cluster_id, member_id;
    struct replica_status raft;
    int64_t revision, compact_revision;
    uint64_t keys;
    /* As etcd's file: memory with holes, and without. In use is what the quota counts: history that
     * is not compacted included. Size is never below it. */
    uint64_t db_size, db_size_in_use;
    int64_t quota;         /* in force, bytes; negative: none */
    unsigned quota_warned; /* percent of the quota whose crossing was last warned of; 0: below */
    uint64_t wal_bytes;
    uint64_t watchers, watch_streams, slow_watchers; /* slow: not synced with the keyspace */
    uint64_t watch_events;                           /* sent so far */
    uint64_t lock_waiters;                           /* calls that wait for a lock or the lead */
    uint64_t leases_renewed, leases_expired;         /* by this member while it led */
    uint64_t pending_revisions;                      /* not told yet to watchers that keep up */
    bool alarm_nospace, alarm_corrupt;
    bool is_learner;
};

void member_info(const struct member *member, struct member_info *out);
/* Traffic with another member; false for an unknown id. n counts other members from 0. */
bool member_peer(const struct member *member, size_t n, uint64_t *id, struct peer_stats *out);

/* The cluster's members as this member knows them; valid until the loop goes on. */
const struct machine_member *member_table(const struct member *member, size_t *len);
/* All alarms that are set, ascending by type; valid as above. */
const struct machine_alarm *member_alarms(const struct member *member, size_t *len);
/* This member's own name. */
const char *member_name(const struct member *member);

/* A linearizable read point for health checks: as replica_read(), with etcd's own timeout (5 s + 2
 * election timeouts): cb gets 0, KV_ELEADERCHANGED, KV_ETIMEDOUT or, when the member ends,
 * KV_ESTOPPED; never from inside the call. */
struct member_read {
    struct replica_read read;
    uint64_t deadline_ms;
    struct list link;
    void (*cb)(struct member_read *read, int status);
};

void member_read_start(struct member *member, struct member_read *read);
void member_read_cancel(struct member *member, struct member_read *read);

#endif
