/* Leases: which there are, how long they were granted for, which keys hang on them; and, on the
 * member that leads, when each of them ends.
 *
 * Two halves. What is replicated (id, TTL, keys) follows from the commands alone and is equal on
 * every member. When a lease ends is known to the leader only, as milliseconds of its monotonic
 * clock, which the caller passes in: nothing here reads a clock, so wall-clock jumps can not matter
 * and tests set the time. A member that does not lead holds leases as never ending.
 *
 * A lease that has come due is not gone: leases_due() hands it out to be revoked by a command, and
 * until that is applied it is there, but can not be renewed any more. One thread. */
#ifndef KVD_MVCC_LEASE_H
#define KVD_MVCC_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum { LEASE_NONE = 0 };                  /* no lease has this id */
#define LEASE_TTL_MAX INT64_C(9000000000) /* seconds, as etcd */

struct leases;

/* seed: of internal balancing, never visible. */
struct leases *leases_new(uint64_t seed);
void leases_free(struct leases *leases);

/* ---- replicated ---- */

/* id is not LEASE_NONE, ttl (seconds) is in 1 ... LEASE_TTL_MAX: otherwise KV_EINVAL. KV_EEXIST.
 * Leading: it has its whole TTL from now_ms on, which is not looked at otherwise. */
int leases_grant(struct leases *leases, int64_t id, int64_t ttl, uint64_t now_ms);
/* Forgets it and its attachments, not the keys: the caller has deleted them. False: unknown. */
bool leases_revoke(struct leases *leases, int64_t id);
bool leases_known(const struct leases *leases, int64_t id);
size_t leases_count(const struct leases *leases);
/* About what they take in memory, the keys attached to them not counted. O(1), and the same on
 * every member. */
size_t leases_bytes(const struct leases *leases);

/* A key has got another record: it leaves the lease `from` and hangs on `to` (either may be
 * LEASE_NONE, or both the same). Both must be known, and from must have the key. */
void leases_move(struct leases *leases, struct slice key, int64_t from, int64_t to);

/* Keys on the lease, in ascending order; nothing for an unknown one. The set must not change
 * meanwhile; slices point into it. */
typedef void (*leases_visit_key)(void *ctx, struct slice key);
size_t leases_key_count(const struct leases *leases, int64_t id);
void leases_each_key(const struct leases *leases, int64_t id, leases_visit_key visit, void *ctx);

/* One number for everything replicated: equal on members that applied the same commands. Cost grows
 * with leases and keys: tests and the simulator. */
uint64_t leases_digest(const struct leases *leases);

/* ---- time: leader only ---- */

/* This member leads from now on: every lease lives at least its whole TTL and extra_ms more. */
void leases_lead(struct leases *leases, uint64_t now_ms, uint64_t extra_ms);
/* It does not lead any more: nothing ends here. */
void leases_follow(struct leases *leases);
bool leases_leading(const struct leases *leases);

enum lease_state {
    LEASE_UNKNOWN,
    LEASE_LIVE,
    LEASE_DUE, /* its time is over, the command that ends it is not applied yet */
};

struct lease_time {
    enum lease_state state;
    int64_t ttl;          /* granted, in seconds; 0 if unknown */
    int64_t remaining_ms; /* 0 if due or unknown; not leading: the whole TTL */
};

void leases_time(const struct leases *leases, int64_t id, uint64_t now_ms, struct lease_time *out);
/* Leading: a live one gets its whole TTL again, and *out says so. Others are only told of. */
void leases_renew(struct leases *leases, int64_t id, uint64_t now_ms, struct lease_time *out);

/* When the next one comes due; UINT64_MAX: none, or not leading. */
uint64_t leases_next_due(const struct leases *leases);
/* Takes the one that has been due for longest, if its time is over: it will not be handed out again
 * before leases_put_back(). False: none is due. */
bool leases_take_due(struct leases *leases, uint64_t now_ms, int64_t *id);
/* It could not be revoked; it is due again from at_ms on, and stays unrenewable. */
void leases_put_back(struct leases *leases, int64_t id, uint64_t at_ms);

/* All ids: leading, by remaining time, else (and among equals) ascending. Space for leases_count().
 */
void leases_list(const struct leases *leases, int64_t *ids);

#endif
