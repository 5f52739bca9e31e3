/* Recent log entries in memory: one run without holes, newest last, bounded by bytes. Owns the
 * payloads; entries that came in one allocation share it by count. Older entries are in the wal. */
#ifndef KVD_RAFT_CACHE_H
#define KVD_RAFT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct cache_blob;

struct cache_entry {
    uint64_t term;
    struct slice data;
    struct cache_blob *blob; /* holds data; NULL if empty */
    uint8_t type;
};

struct cache {
    struct cache_entry *ring;
    size_t head, count, cap; /* cap: 0 or a power of two */
    uint64_t first;          /* index of the oldest; meaningless when empty */
    size_t bytes;            /* payloads and book-keeping */
    size_t bytes_max;
};

void cache_init(struct cache *cache, size_t bytes_max);
void cache_release(struct cache *cache);

/* Takes memory from raft_malloc() with count entries in it. The caller holds one reference until
 * cache_blob_unref(). */
struct cache_blob *cache_blob_new(void *memory);
void cache_blob_unref(struct cache_blob *blob);

/* Adds index, which follows the newest (any index when empty). data lies in blob. */
void cache_push(struct cache *cache, uint64_t index, uint64_t term, uint8_t type, struct slice data,
                struct cache_blob *blob);
/* Drops index and everything after it. */
void cache_cut(struct cache *cache, uint64_t index);
/* Drops the oldest while over the limit, but nothing above index. */
void cache_trim(struct cache *cache, uint64_t index);
/* NULL: not here. Valid until the next call that changes the cache. */
const struct cache_entry *cache_get(const struct cache *cache, uint64_t index);

#endif
