/* What lease.c (the replicated half) and lease_clock.c (the leader's) share. */
#ifndef KVD_MVCC_LEASE_INTERNAL_H
#define KVD_MVCC_LEASE_INTERNAL_H

#include "base/idmap.h"
#include "base/list.h"
#include "mvcc/lease.h"
#include "mvcc/lease_keys.h"

/* What the leader looks after, each in a queue by time. */
enum lease_event { LEASE_END, LEASE_CHECKPOINT, LEASE_EVENTS };

#define LEASE_NOT_QUEUED SIZE_MAX

/* Leading: what the log may hold about the lease. */
enum lease_mark {
    LEASE_CLEAN,    /* no checkpoint, here or anywhere */
    LEASE_MARKED,   /* one, or one under way */
    LEASE_UNWANTED, /* one, and a renewal waits until it is gone: in leases->unwanted */
    LEASE_CLEARING, /* the command that takes it away is under way */
};

struct lease {
    int64_t id;
    int64_t ttl;
    uint64_t grant;
    uint64_t remaining_ms; /* checkpoint; 0: none; at most the TTL */
    struct lease_keys keys;
    /* Leading: */
    uint64_t end_ms;    /* its time is over */
    uint64_t marked_ms; /* what the last checkpoint says; CLEAN: the TTL */
    enum lease_mark mark;
    struct list link;                /* in leases->unwanted */
    uint64_t queue_ms[LEASE_EVENTS]; /* LEASE_END: end_ms, or later if revoking it has failed */
    size_t place[LEASE_EVENTS];      /* in that queue, or LEASE_NOT_QUEUED */
};

/* A binary heap, the earliest first. */
struct lease_queue {
    struct lease **at;
    size_t len, cap;
};

struct leases {
    struct idmap by_id;
    struct prng prng;
    uint64_t grants; /* ever made */
    bool leading;
    struct lease_queue queues[LEASE_EVENTS]; /* leading: everything not handed out */
    struct list unwanted;
};

struct lease *leases__find(const struct leases *leases, int64_t id);

/* lease_clock.c, told by lease.c: */
void leases__clock_granted(struct leases *leases, struct lease *lease, uint64_t now_ms);
void leases__clock_gone(struct leases *leases, struct lease *lease);
void leases__clock_checkpoint(struct leases *leases, struct lease *lease);
void leases__clock_release(struct leases *leases);

#endif
