#include "mvcc/lease.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/lease_internal.h"

enum { LEASE_SHARE = 48 }; /* a lease's share of map and queues */

struct leases *leases_new(uint64_t seed)
{
    struct leases *leases = xcalloc(1, sizeof *leases);

    idmap_init(&leases->by_id);
    prng_seed(&leases->prng, seed);
    list_init(&leases->unwanted);
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
    leases__clock_release(leases);
    free(leases);
}

struct lease *leases__find(const struct leases *leases, int64_t id)
{
    return idmap_get(&leases->by_id, (uint64_t)id);
}

static uint64_t ttl_ms(const struct lease *lease)
{
    return (uint64_t)lease->ttl * 1000; /* ttl <= LEASE_TTL_MAX: fits 43 bits */
}

/* 0 and *out is a new lease without a number, which the caller gives it. */
static int add_lease(struct leases *leases, int64_t id, int64_t ttl, struct lease **out)
{
    struct lease *lease;

    if (id == LEASE_NONE || ttl < 1 || ttl > LEASE_TTL_MAX)
        return KV_EINVAL;
    if (leases__find(leases, id) != NULL)
        return KV_EEXIST;
    lease = xcalloc(1, sizeof *lease);
    lease->id = id;
    lease->ttl = ttl;
    (void)idmap_put(&leases->by_id, (uint64_t)id, lease); /* it was not there */
    *out = lease;
    return 0;
}

int leases_grant(struct leases *leases, int64_t id, int64_t ttl, uint64_t now_ms)
{
    struct lease *lease;
    int rc = add_lease(leases, id, ttl, &lease);

    if (rc != 0)
        return rc;
    lease->grant = ++leases->grants;
    leases__clock_granted(leases, lease, now_ms);
    return 0;
}

bool leases_revoke(struct leases *leases, int64_t id)
{
    struct lease *lease = idmap_remove(&leases->by_id, (uint64_t)id);

    if (lease == NULL)
        return false;
    leases__clock_gone(leases, lease);
    free_lease(lease);
    return true;
}

bool leases_known(const struct leases *leases, int64_t id)
{
    return leases__find(leases, id) != NULL;
}

uint64_t leases_grant_number(const struct leases *leases, int64_t id)
{
    const struct lease *lease = leases__find(leases, id);

    return lease != NULL ? lease->grant : 0;
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
        lease = leases__find(leases, from);
        ASSERT(lease != NULL);
        changed = lease_keys__remove(&lease->keys, key);
        ASSERT(changed);
    }
    if (to != LEASE_NONE) {
        lease = leases__find(leases, to);
        ASSERT(lease != NULL);
        changed = lease_keys__add(&lease->keys, &leases->prng, key);
        ASSERT(changed);
    }
}

size_t leases_key_count(const struct leases *leases, int64_t id)
{
    const struct lease *lease = leases__find(leases, id);

    return lease != NULL ? lease->keys.count : 0;
}

void leases_each_key(const struct leases *leases, int64_t id, leases_visit_key visit, void *ctx)
{
    const struct lease *lease = leases__find(leases, id);

    if (lease != NULL)
        lease_keys__each(&lease->keys, visit, ctx);
}

bool leases_checkpoint(struct leases *leases, const struct lease_checkpoint *checkpoint)
{
    struct lease *lease = leases__find(leases, checkpoint->id);

    if (lease == NULL || lease->grant != checkpoint->grant)
        return false;
    lease->remaining_ms = checkpoint->remaining_ms < ttl_ms(lease) ? checkpoint->remaining_ms : 0;
    leases__clock_checkpoint(leases, lease);
    return true;
}

bool leases_get(const struct leases *leases, int64_t id, struct lease_record *out)
{
    const struct lease *lease = leases__find(leases, id);

    if (lease == NULL)
        return false;
    *out = (struct lease_record){.id = lease->id,
                                 .ttl = lease->ttl,
                                 .grant = lease->grant,
                                 .remaining_ms = lease->remaining_ms};
    return true;
}

uint64_t leases_grants(const struct leases *leases)
{
    return leases->grants;
}

int leases_load(struct leases *leases, const struct lease_record *record)
{
    struct lease *lease;
    int rc;

    ASSERT(!leases->leading);
    if (record->grant == 0)
        return KV_EINVAL;
    rc = add_lease(leases, record->id, record->ttl, &lease);
    if (rc != 0)
        return rc;
    lease->grant = record->grant;
    lease->remaining_ms = record->remaining_ms < ttl_ms(lease) ? record->remaining_ms : 0;
    leases->grants = MAX(leases->grants, record->grant);
    leases__clock_granted(leases, lease, 0);
    return 0;
}

int leases_load_grants(struct leases *leases, uint64_t grants)
{
    if (grants < leases->grants)
        return KV_EINVAL;
    leases->grants = grants;
    return 0;
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
    uint64_t sum = mix(leases->by_id.count, leases->grants);

    while ((lease = idmap_next(&leases->by_id, &cursor)) != NULL) {
        uint64_t hash = mix(mix(0, (uint64_t)lease->id), (uint64_t)lease->ttl);

        hash = mix(mix(hash, lease->grant), lease->remaining_ms);
        lease_keys__each(&lease->keys, mix_key, &hash);
        sum += hash; /* the map has no order, so neither has the sum */
    }
    return sum;
}

/* ---- the list ---- */

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
