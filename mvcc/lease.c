#include "mvcc/lease.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "mvcc/lease_keys.h"

#define NOT_QUEUED SIZE_MAX

enum { LEASE_SHARE = 48 }; /* a lease's share of map and queue */

struct lease {
    int64_t id;
    int64_t ttl;
    struct lease_keys keys;
    /* Leading: */
    uint64_t end_ms;   /* its time is over */
    uint64_t queue_ms; /* what it is queued by: end_ms, or later if revoking it has failed */
    size_t place;      /* in the queue, or NOT_QUEUED: handed out */
};

struct leases {
    struct idmap by_id;
    struct prng prng;
    bool leading;
    struct lease **queue; /* binary heap, the earliest first; leading: everything not handed out */
    size_t queue_len, queue_cap;
};

struct leases *leases_new(uint64_t seed)
{
    struct leases *leases = xcalloc(1, sizeof *leases);

    idmap_init(&leases->by_id);
    prng_seed(&leases->prng, seed);
    return leases;
}

static void free_lease(struct lease *lease)
{
    lease_keys__release(&lease->keys);
    free(lease);
}

void leases_free(struct leases *leases)
{
    struct lease *lease;
    size_t cursor = 0;

    if (leases == NULL)
        return;
    while ((lease = idmap_next(&leases->by_id, &cursor)) != NULL)
        free_lease(lease);
    idmap_release(&leases->by_id);
    free(leases->queue);
    free(leases);
}

static struct lease *find(const struct leases *leases, int64_t id)
{
    return idmap_get(&leases->by_id, (uint64_t)id);
}

/* ---- the queue ---- */

static void place(struct leases *leases, struct lease *lease, size_t at)
{
    leases->queue[at] = lease;
    lease->place = at;
}

/* To where it belongs, from a place that is free. */
static void sift(struct leases *leases, struct lease *lease, size_t at)
{
    struct lease **queue = leases->queue;

    while (at > 0 && queue[(at - 1) / 2]->queue_ms > lease->queue_ms) {
        place(leases, queue[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < leases->queue_len && queue[child + 1]->queue_ms < queue[child]->queue_ms)
            child++;
        if (child >= leases->queue_len || queue[child]->queue_ms >= lease->queue_ms)
            break;
        place(leases, queue[child], at);
        at = child;
    }
    place(leases, lease, at);
}

static void enqueue(struct leases *leases, struct lease *lease, uint64_t at_ms)
{
    lease->queue_ms = at_ms;
    if (lease->place != NOT_QUEUED) {
        sift(leases, lease, lease->place);
        return;
    }
    if (leases->queue_len == leases->queue_cap) {
        leases->queue_cap = leases->queue_cap == 0 ? 64 : 2 * leases->queue_cap;
        leases->queue = xrealloc(leases->queue, leases->queue_cap * sizeof(struct lease *));
    }
    leases->queue_len++;
    sift(leases, lease, leases->queue_len - 1);
}

static void dequeue(struct leases *leases, struct lease *lease)
{
    size_t at = lease->place;
    struct lease *last;

    if (at == NOT_QUEUED)
        return;
    lease->place = NOT_QUEUED;
    last = leases->queue[--leases->queue_len];
    if (last != lease)
        sift(leases, last, at);
}

static uint64_t end_of(const struct lease *lease, uint64_t now_ms)
{
    return now_ms + (uint64_t)lease->ttl * 1000; /* ttl <= LEASE_TTL_MAX: fits 43 bits */
}

/* ---- replicated ---- */

int leases_grant(struct leases *leases, int64_t id, int64_t ttl, uint64_t now_ms)
{
    struct lease *lease;

    if (id == LEASE_NONE || ttl < 1 || ttl > LEASE_TTL_MAX)
        return KV_EINVAL;
    if (find(leases, id) != NULL)
        return KV_EEXIST;
    lease = xcalloc(1, sizeof *lease);
    lease->id = id;
    lease->ttl = ttl;
    lease->place = NOT_QUEUED;
    (void)idmap_put(&leases->by_id, (uint64_t)id, lease); /* it was not there */
    if (leases->leading) {
        lease->end_ms = end_of(lease, now_ms);
        enqueue(leases, lease, lease->end_ms);
    }
    return 0;
}

bool leases_revoke(struct leases *leases, int64_t id)
{
    struct lease *lease = idmap_remove(&leases->by_id, (uint64_t)id);

    if (lease == NULL)
        return false;
    dequeue(leases, lease);
    free_lease(lease);
    return true;
}

bool leases_known(const struct leases *leases, int64_t id)
{
    return find(leases, id) != NULL;
}

size_t leases_count(const struct leases *leases)
{
    return leases->by_id.count;
}

size_t leases_bytes(const struct leases *leases)
{
    return leases->by_id.count * (sizeof(struct lease) + LEASE_SHARE);
}

void leases_move(struct leases *leases, struct slice key, int64_t from, int64_t to)
{
    struct lease *lease;
    bool changed;

    if (from == to)
        return;
    if (from != LEASE_NONE) {
        lease = find(leases, from);
        ASSERT(lease != NULL);
        changed = lease_keys__remove(&lease->keys, key);
        ASSERT(changed);
    }
    if (to != LEASE_NONE) {
        lease = find(leases, to);
        ASSERT(lease != NULL);
        changed = lease_keys__add(&lease->keys, &leases->prng, key);
        ASSERT(changed);
    }
}

size_t leases_key_count(const struct leases *leases, int64_t id)
{
    const struct lease *lease = find(leases, id);

    return lease != NULL ? lease->keys.count : 0;
}

void leases_each_key(const struct leases *leases, int64_t id, leases_visit_key visit, void *ctx)
{
    const struct lease *lease = find(leases, id);

    if (lease != NULL)
        lease_keys__each(&lease->keys, visit, ctx);
}

/* The finaliser of splitmix64 over the running value. */
static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value + 0x9e3779b97f4a7c15u;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
    return hash ^ (hash >> 31);
}

static void mix_key(void *ctx, struct slice key)
{
    uint64_t *hash = ctx;

    *hash = mix(mix(*hash, key.len), crc32c_extend(0, key.data, key.len));
}

uint64_t leases_digest(const struct leases *leases)
{
    const struct lease *lease;
    size_t cursor = 0;
    uint64_t sum = leases->by_id.count;

    while ((lease = idmap_next(&leases->by_id, &cursor)) != NULL) {
        uint64_t hash = mix(mix(0, (uint64_t)lease->id), (uint64_t)lease->ttl);

        lease_keys__each(&lease->keys, mix_key, &hash);
        sum += hash; /* the map has no order, so neither has the sum */
    }
    return sum;
}

/* ---- time ---- */

void leases_lead(struct leases *leases, uint64_t now_ms, uint64_t extra_ms)
{
    struct lease *lease;
    size_t cursor = 0;

    leases_follow(leases);
    leases->leading = true;
    while ((lease = idmap_next(&leases->by_id, &cursor)) != NULL) {
        lease->end_ms = end_of(lease, now_ms) + extra_ms;
        enqueue(leases, lease, lease->end_ms);
    }
}

void leases_follow(struct leases *leases)
{
    struct lease *lease;
    size_t cursor = 0;

    leases->leading = false;
    leases->queue_len = 0;
    while ((lease = idmap_next(&leases->by_id, &cursor)) != NULL)
        lease->place = NOT_QUEUED;
}

bool leases_leading(const struct leases *leases)
{
    return leases->leading;
}

static void tell_time(const struct leases *leases, const struct lease *lease, uint64_t now_ms,
                      struct lease_time *out)
{
    *out = (struct lease_time){.state = LEASE_UNKNOWN};
    if (lease == NULL)
        return;
    out->ttl = lease->ttl;
    out->state = leases->leading && lease->end_ms <= now_ms ? LEASE_DUE : LEASE_LIVE;
    if (!leases->leading)
        out->remaining_ms = lease->ttl * 1000;
    else if (out->state == LEASE_LIVE)
        out->remaining_ms = (int64_t)(lease->end_ms - now_ms);
}

void leases_time(const struct leases *leases, int64_t id, uint64_t now_ms, struct lease_time *out)
{
    tell_time(leases, find(leases, id), now_ms, out);
}

void leases_renew(struct leases *leases, int64_t id, uint64_t now_ms, struct lease_time *out)
{
    struct lease *lease = find(leases, id);

    tell_time(leases, lease, now_ms, out);
    if (out->state != LEASE_LIVE || !leases->leading)
        return;
    lease->end_ms = end_of(lease, now_ms);
    enqueue(leases, lease, lease->end_ms);
    out->remaining_ms = lease->ttl * 1000;
}

uint64_t leases_next_due(const struct leases *leases)
{
    return leases->queue_len > 0 ? leases->queue[0]->queue_ms : UINT64_MAX;
}

bool leases_take_due(struct leases *leases, uint64_t now_ms, int64_t *id)
{
    if (leases->queue_len == 0 || leases->queue[0]->queue_ms > now_ms)
        return false;
    *id = leases->queue[0]->id;
    dequeue(leases, leases->queue[0]);
    return true;
}

void leases_put_back(struct leases *leases, int64_t id, uint64_t at_ms)
{
    struct lease *lease = find(leases, id);

    if (leases->leading && lease != NULL && lease->place == NOT_QUEUED)
        enqueue(leases, lease, at_ms);
}

struct listed {
    uint64_t end_ms;
    int64_t id;
};

static int by_end(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;

    if (x->end_ms != y->end_ms)
        return x->end_ms < y->end_ms ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

void leases_list(const struct leases *leases, int64_t *ids)
{
    size_t count = leases->by_id.count;
    struct listed *all = xcalloc(count + 1, sizeof *all);
    const struct lease *lease;
    size_t cursor = 0, len = 0;

    while ((lease = idmap_next(&leases->by_id, &cursor)) != NULL)
        all[len++] =
            (struct listed){.end_ms = leases->leading ? lease->end_ms : 0, .id = lease->id};
    qsort(all, count, sizeof *all, by_end);
    for (size_t i = 0; i < count; i++)
        ids[i] = all[i].id;
    free(all);
}
