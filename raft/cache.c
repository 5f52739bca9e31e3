#include "raft/cache.h"

#include <raft.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/util.h"

struct cache_blob {
    void *memory;
    uint32_t refs;
};

/* What an entry costs beside its payload, so that a million empty ones count too. */
enum { ENTRY_OVERHEAD = sizeof(struct cache_entry) + sizeof(struct cache_blob) };

struct cache_blob *cache_blob_new(void *memory)
{
    struct cache_blob *blob = xmalloc(sizeof(*blob));

    blob->memory = memory;
    blob->refs = 1;
    return blob;
}

void cache_blob_unref(struct cache_blob *blob)
{
    if (blob == NULL || --blob->refs > 0)
        return;
    raft_free(blob->memory);
    free(blob);
}

void cache_init(struct cache *cache, size_t bytes_max)
{
    *cache = (struct cache){.bytes_max = bytes_max};
}

static struct cache_entry *slot(const struct cache *cache, size_t n)
{
    return &cache->ring[(cache->head + n) & (cache->cap - 1)];
}

static void drop(struct cache *cache, struct cache_entry *entry)
{
    cache->bytes -= entry->data.len + ENTRY_OVERHEAD;
    cache_blob_unref(entry->blob);
    cache->count--;
}

void cache_release(struct cache *cache)
{
    while (cache->count > 0)
        drop(cache, slot(cache, cache->count - 1));
    free(cache->ring);
    cache->ring = NULL;
    cache->cap = 0;
}

static void grow(struct cache *cache)
{
    size_t cap = cache->cap == 0 ? 64 : cache->cap * 2;
    struct cache_entry *ring = xmalloc(cap * sizeof(*ring));

    for (size_t i = 0; i < cache->count; i++)
        ring[i] = *slot(cache, i);
    free(cache->ring);
    cache->ring = ring;
    cache->cap = cap;
    cache->head = 0;
}

void cache_push(struct cache *cache, uint64_t index, uint64_t term, uint8_t type, struct slice data,
                struct cache_blob *blob)
{
    if (cache->count == 0)
        cache->first = index;
    ASSERT(index == cache->first + cache->count);
    if (cache->count == cache->cap)
        grow(cache);

    if (blob != NULL)
        blob->refs++;
    *slot(cache, cache->count) =
        (struct cache_entry){.term = term, .data = data, .blob = blob, .type = type};
    cache->count++;
    cache->bytes += data.len + ENTRY_OVERHEAD;
}

void cache_cut(struct cache *cache, uint64_t index)
{
    while (cache->count > 0 && cache->first + cache->count > index)
        drop(cache, slot(cache, cache->count - 1));
}

void cache_trim(struct cache *cache, uint64_t index)
{
    while (cache->count > 0 && cache->bytes > cache->bytes_max && cache->first <= index) {
        drop(cache, slot(cache, 0));
        cache->head = (cache->head + 1) & (cache->cap - 1);
        cache->first++;
    }
}

const struct cache_entry *cache_get(const struct cache *cache, uint64_t index)
{
    if (cache->count == 0 || index < cache->first || index - cache->first >= cache->count)
        return NULL;
    return slot(cache, index - cache->first);
}
