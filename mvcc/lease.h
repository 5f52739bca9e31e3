/* Leases: which there are, how long they were granted for, which keys hang on them, what is known
 * to be left of them; and, on the member that leads, when each of them ends.
 *
 * Two halves. What is replicated (id, TTL, number of the grant, checkpoint, keys; lease.c) follows
 * from the commands alone and is equal on every member. When a lease ends is known to the leader
 * only, as milliseconds of its monotonic clock, which the caller passes in (lease_clock.c): nothing
 * here reads a clock, so wall-clock jumps can not matter and tests set the time. A member that does
 * not lead holds leases as never ending.
 *
 * A lease that has come due is not gone: leases_take_due() hands it out to be revoked by a command,
 * and until that is applied it is there, but can not be renewed any more.
 *
 * Checkpoints. What is left of a lease that was not renewed for a while goes into the log, so that
 * the next leader, or the same cluster after a restart, goes on from there. Why no lease ends early
 * for that is argued in server/lessor.h. One thread. */
#ifndef KVD_MVCC_LEASE_H
#define KVD_MVCC_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum { LEASE_NONE = 0 };                  /* no lease has this id */
#define LEASE_TTL_MAX INT64_C(9000000000) /* seconds, as etcd */

struct leases;

/* One grant of a lease, and what is left of it. The same id may be granted again once it is gone;
 * its grant number never comes back, so what was decided about the one can not hit the other. */
struct lease_checkpoint {
    int64_t id;
    uint64_t grant;
    uint64_t remaining_ms; /* 0: nothing is known, that is the whole TTL */
};

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
/* Grants are numbered from 1 on in the order of the log. 0: there is no such lease. */
uint64_t leases_grant_number(const struct leases *leases, int64_t id);
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

/* The checkpoint of a lease. False: that grant is not there, nothing happened. One that says more
 * than the TTL is none. */
bool leases_checkpoint(struct leases *leases, const struct lease_checkpoint *checkpoint);

/* The replicated half but its keys (which follow from the keyspace by leases_move()), for whoever
 * stores all state and loads it into new leases. Loading: each id and grant once, in any order,
 * then the number of grants ever made. KV_EINVAL: that can not be; KV_EEXIST: the id is there. */
struct lease_record {
    int64_t id, ttl;
    uint64_t grant;
    uint64_t remaining_ms; /* checkpoint; 0: none */
};

bool leases_get(const struct leases *leases, int64_t id, struct lease_record *out);
uint64_t leases_grants(const struct leases *leases);
int leases_load(struct leases *leases, const struct lease_record *record);
int leases_load_grants(struct leases *leases, uint64_t grants);

/* One number for everything replicated: equal on members that applied the same commands. Cost grows
 * with leases and keys: tests and the simulator. */
uint64_t leases_digest(const struct leases *leases);

/* ---- time: leader only ---- */

/* This member leads from now on: every lease lives at least what its checkpoint says (without one:
 * its whole TTL) and extra_ms more. */
void leases_lead(struct leases *leases, uint64_t now_ms, uint64_t extra_ms);
/* It does not lead any more: nothing ends here. */
void leases_follow(struct leases *leases);
bool leases_leading(const struct leases *leases);

enum lease_state {
    LEASE_UNKNOWN,
    LEASE_LIVE,
    LEASE_HELD, /* renewed here, but the log may hold a checkpoint that says less */
    LEASE_DUE,  /* its time is over, the command that ends it is not applied yet */
};

struct lease_time {
    enum lease_state state;
    int64_t ttl;          /* granted, in seconds; 0 if unknown */
    int64_t remaining_ms; /* 0 if due or unknown; not leading: the whole TTL */
};

/* Never LEASE_HELD. */
void leases_time(const struct leases *leases, int64_t id, uint64_t now_ms, struct lease_time *out);
/* Leading: a live one gets its whole TTL again, and *out says so. Others are only told of.
 * LEASE_HELD: nobody may be told of the renewal yet. The lease is queued for leases_take_clear();
 * once that clear is applied, renewing again gives LEASE_LIVE. */
void leases_renew(struct leases *leases, int64_t id, uint64_t now_ms, struct lease_time *out);

/* When the next one comes due; UINT64_MAX: none, or not leading. */
uint64_t leases_next_due(const struct leases *leases);
/* Takes the one that has been due for longest, if its time is over: it will not be handed out again
 * before leases_put_back(). False: none is due. */
bool leases_take_due(struct leases *leases, uint64_t now_ms, struct lease_checkpoint *out);
/* It could not be revoked; it is due again from at_ms on, and stays unrenewable. */
void leases_put_back(struct leases *leases, int64_t id, uint64_t at_ms);

/* When the next checkpoint is to be written; UINT64_MAX: none, or not leading. A lease gets its
 * first one when 7/16 of its TTL are left: a client that renews at half of the TTL or before, a
 * little late at times, never has one. The next ones come an eighth of the TTL apart, so there are
 * at most four however long the TTL is; none within 2 s of another, and none for the last second.
 */
uint64_t leases_next_checkpoint(const struct leases *leases);
/* Hands one out to be written to the log. From then on the log may hold it, whatever the caller
 * hears. False: none is due. */
bool leases_take_checkpoint(struct leases *leases, uint64_t now_ms, struct lease_checkpoint *out);

/* Hands out a lease whose checkpoint a renewal wants cleared: to be written to the log behind
 * everything that leases_take_checkpoint() gave. False: none. */
bool leases_take_clear(struct leases *leases, struct lease_checkpoint *out);
/* Whether renewing it would still give LEASE_HELD. */
bool leases_awaits_clear(const struct leases *leases, int64_t id);
/* That may not have come about: it will be handed out again. Harmless if it has. */
void leases_put_back_clear(struct leases *leases, const struct lease_checkpoint *clear);

/* All ids: leading, by remaining time, else (and among equals) ascending. Space for leases_count().
 */
void leases_list(const struct leases *leases, int64_t *ids);

#endif
