/* The keyspace: a revision-ordered log of immutable records and an ordered index by key with
 * subtree counts. In memory; what makes it durable is the raft log outside.
 *
 * Owns keys and values. Knows nothing of raft, sockets, protobuf or clocks: the same calls in the
 * same order give the same state and the same hash on every member. One thread.
 *
 * Behaviour is etcd's (etcd-api.md sections 4, 5 and 9): an empty store is at revision 1; a write
 * transaction that changes at least one key advances the revision by exactly 1; its changes are
 * numbered by sub-revision in execution order.
 *
 * Slices and mvcc_kv that calls hand out point into the store's records. They stay valid until the
 * next mvcc_compact_step() that finds nothing pinned, or mvcc_free(), whatever is written
 * meanwhile; their bytes may then be read on any thread. */
#ifndef KVD_MVCC_MVCC_H
#define KVD_MVCC_MVCC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

struct mvcc;

/* seed: of the index's internal balancing randomness, if it has any; never visible in any answer.
 */
struct mvcc *mvcc_new(uint64_t seed);
void mvcc_free(struct mvcc *mvcc);

int64_t mvcc_revision(const struct mvcc *mvcc);
/* -1 if never compacted. */
int64_t mvcc_compact_revision(const struct mvcc *mvcc);
/* Live keys now. */
size_t mvcc_key_count(const struct mvcc *mvcc);
/* Memory taken by records and index, holes included that a compaction has left. */
size_t mvcc_bytes(const struct mvcc *mvcc);
/* What the records that are there need, with a fixed share of log and index for each: history that
 * is not compacted included, holes not. What a compaction makes unreadable counts until
 * mvcc_compact_step() has removed it. O(1). Never below mvcc_bytes_in_use(); may be a little above
 * mvcc_bytes(), whose trees can be packed closer than the share. */
size_t mvcc_bytes_held(const struct mvcc *mvcc);
/* The part of that which the newest live records need: what would be left if all history were
 * compacted. */
size_t mvcc_bytes_in_use(const struct mvcc *mvcc);

struct mvcc_kv {
    struct slice key;
    struct slice value;
    int64_t create_revision;
    int64_t mod_revision;
    int64_t version;
    int64_t lease; /* 0: none */
};

/* A range is {key} if end is empty, all keys >= key if end is the single byte 0, else [key, end).
 */
struct mvcc_span {
    struct slice key;
    struct slice end;
};

enum mvcc_order { MVCC_ORDER_NONE, MVCC_ORDER_ASCEND, MVCC_ORDER_DESCEND };
enum mvcc_target { MVCC_BY_KEY, MVCC_BY_VERSION, MVCC_BY_CREATE, MVCC_BY_MOD, MVCC_BY_VALUE };
enum mvcc_range_flags { MVCC_KEYS_ONLY = 1 << 0, MVCC_COUNT_ONLY = 1 << 1 };

struct mvcc_range {
    struct mvcc_span span;
    int64_t limit;    /* <= 0: none */
    int64_t revision; /* <= 0: newest */
    enum mvcc_order order;
    enum mvcc_target target;
    int flags;
    int64_t mod_min, mod_max, create_min, create_max; /* 0: off; bounds included */
    size_t visit_max;                                 /* 0: none; else KV_ETOOBIG rather than to
                                                         look at more records (see scan.h) */
};

struct mvcc_range_result {
    const struct mvcc_kv *kvs; /* in the arena */
    size_t len;
    int64_t count; /* keys in the span at that revision, before limit and filters */
    bool more;
};

/* 0, KV_EFUTURE, KV_ECOMPACTED or KV_ETOOBIG. Limit, filters, sorting and the quirk of sorting by a
 * target with order NONE are etcd's (etcd-api.md 5.1). A default-order range costs O(log n + limit)
 * at the newest revision, count included. */
int mvcc_range(const struct mvcc *mvcc, const struct mvcc_range *range, struct arena *arena,
               struct mvcc_range_result *out);

/* The newest live record of a key: true and *out, or false. */
bool mvcc_get(const struct mvcc *mvcc, struct slice key, struct mvcc_kv *out);

/* Visits the newest live records of a span in key order until visit returns false. Returns whether
 * the walk got to its end. The store must not change meanwhile. */
typedef bool (*mvcc_visit)(void *ctx, const struct mvcc_kv *kv);
bool mvcc_each(const struct mvcc *mvcc, struct mvcc_span span, mvcc_visit visit, void *ctx);

/* A write transaction: begin, any number of changes and reads, end. It cannot fail or be rolled
 * back: check first. One at a time. Reads inside it (mvcc_range with revision 0, mvcc_get,
 * mvcc_each) see its changes. */
struct mvcc_txn {
    struct mvcc *mvcc;
    int64_t revision; /* the one its changes get */
    int64_t changes;  /* so far; the next change's sub-revision */
};

void mvcc_txn_begin(struct mvcc *mvcc, struct mvcc_txn *txn);
/* key is not empty. *had and *prev (both may be NULL): the record that was there before. */
void mvcc_txn_put(struct mvcc_txn *txn, struct slice key, struct slice value, int64_t lease,
                  bool *had, struct mvcc_kv *prev);
/* Deletes in ascending key order, returns how many. prevs (may be NULL): the deleted records, in
 * the arena. */
size_t mvcc_txn_delete(struct mvcc_txn *txn, struct mvcc_span span, struct arena *arena,
                       const struct mvcc_kv **prevs);
/* The store's revision from now on: txn->revision if anything changed, else unchanged. */
int64_t mvcc_txn_end(struct mvcc_txn *txn);
/* For a range inside a txn: the revision it is evaluated at, for its header (etcd-api.md 5.5, test
 * vector 4): txn->revision once something changed, else the one before. */
int64_t mvcc_txn_revision(const struct mvcc_txn *txn);

/* A number for all changes made since the last call, in their order, with what they have made of
 * keys, values and versions; 0: none were. What is changed behind the back of these calls is not in
 * it: for that there is HashKV. */
uint64_t mvcc_take_effects(struct mvcc *mvcc);
/* Tests only: flips that bit of a key's version, behind the back of these calls, as it may happen
 * in memory. The key is there. */
enum { MVCC_PLANTED_FLIP = 1 << 20 };
void mvcc_plant_flip(struct mvcc *mvcc, struct slice key);

/* Takes effect at once for all reads; memory is given back by mvcc_compact_step(). Keeps what
 * etcd-api.md 5.6 says (3.5.16+ rule: a tombstone at exactly the revision stays).
 * KV_ECOMPACTED: not above the last compaction. KV_EFUTURE. */
int mvcc_compact(struct mvcc *mvcc, int64_t revision);
/* Does at most about `records` records worth of pending compaction work; true while more is left.
 * Deterministic outcome however it is sliced. Does nothing while the store is pinned. */
bool mvcc_compact_step(struct mvcc *mvcc, size_t records);
bool mvcc_compact_pending(const struct mvcc *mvcc);

/* While pinned (it counts), compaction takes effect for reads as ever but removes and moves
 * nothing: what was handed out stays. Memory grows meanwhile; so a pin is short, or its holder
 * looks after mvcc_compact_pending() and copies what it still needs. */
void mvcc_pin(struct mvcc *mvcc);
void mvcc_unpin(struct mvcc *mvcc);
bool mvcc_is_pinned(const struct mvcc *mvcc);
/* It is, or a scan reads it (mvcc/scan.h): then it must not be freed yet. */
bool mvcc_is_in_use(const struct mvcc *mvcc);

/* HashKV exactly as etcd computes it (etcd-api.md section 9), in slices: begin, step until it says
 * done, end (always, also to give up). Writes may go on meanwhile; compaction's removal waits. */
struct mvcc_hash {
    struct mvcc *mvcc;
    int64_t revision;         /* hash_revision */
    int64_t compact_revision; /* as of begin */
    uint32_t hash;            /* valid once done */
    /* internal */
    size_t position;
    bool probing;
    bool keeps;
};

/* revision 0: newest; below 0: older than anything, the hash of an empty store, as etcd answers.
 * KV_EFUTURE, KV_ECOMPACTED. */
int mvcc_hash_begin(struct mvcc *mvcc, int64_t revision, struct mvcc_hash *hash);
/* True when done. */
bool mvcc_hash_step(struct mvcc_hash *hash, size_t records);
void mvcc_hash_end(struct mvcc_hash *hash);
/* All three in place, for tests and small stores. */
int mvcc_hash_kv(struct mvcc *mvcc, int64_t revision, uint32_t *hash, int64_t *compact_revision);

/* ---- the whole state, to and fro: what a checkpoint or a snapshot file holds ---- */

/* One change as the log of revisions has it. */
struct mvcc_change {
    struct mvcc_kv kv; /* of a tombstone only key and mod_revision */
    uint32_t sub;      /* its number within the revision */
    bool is_tombstone;
};

/* Walks all changes that the state at begin consists of, in the order of (revision, sub): what
 * compaction has condemned is left out whether it is still there or not, so the walk depends on the
 * calls made so far and on nothing else. Writes may go on meanwhile. The walk holds a pin. */
struct mvcc_history {
    struct mvcc *mvcc;
    int64_t revision;         /* of the store, at begin */
    int64_t compact_revision; /* at begin; -1: never compacted */
    /* internal */
    size_t position;
};

void mvcc_history_begin(struct mvcc *mvcc, struct mvcc_history *history);
/* False: no more. The change's slices are valid until end. */
bool mvcc_history_next(struct mvcc_history *history, struct mvcc_change *out);
/* The same walk again from its start: the state at begin, whatever has been written since. */
void mvcc_history_rewind(struct mvcc_history *history);
/* Always, also to give up; harmless if repeated. */
void mvcc_history_end(struct mvcc_history *history);

/* Puts a change into a store that is being made from a walk: in the walk's order, before anything
 * else is done with the store. Bytes are copied; those of a snapshot file are untrusted.
 * KV_ECORRUPT: out of order, an empty key, impossible numbers; nothing was done. */
int mvcc_load(struct mvcc *mvcc, const struct mvcc_change *change);
/* All changes are there, and the store is one. Fields that the file format carries redundantly must
 * agree. KV_ECORRUPT: revisions that contradict the changes (nothing was done), or changes that
 * contradict each other (then the store can only be freed). */
int mvcc_load_end(struct mvcc *mvcc, int64_t revision, int64_t compact_revision);
/* Offline: the store is now at a later revision (never an earlier one), without changes between. */
void mvcc_raise(struct mvcc *mvcc, int64_t revision);

#endif
