/* Hash map from a 64-bit id (any value) to a pointer (never NULL). Open addressing, not thread
 * safe. Iteration order is not defined: code that must be deterministic does not iterate. */
#ifndef KVD_BASE_IDMAP_H
#define KVD_BASE_IDMAP_H

#include <stddef.h>
#include <stdint.h>

struct idmap_slot {
    uint64_t id;
    void *value; /* NULL: free */
};

struct idmap {
    struct idmap_slot *slots;
    size_t cap; /* 0 or a power of two */
    size_t count;
};

void idmap_init(struct idmap *map);
void idmap_release(struct idmap *map);
/* Replaces what was there; returns the old value or NULL. */
void *idmap_put(struct idmap *map, uint64_t id, void *value);
void *idmap_get(const struct idmap *map, uint64_t id);
/* Returns what was removed, or NULL. */
void *idmap_remove(struct idmap *map, uint64_t id);
/* Walks all values: start with *cursor = 0, NULL ends it. The map must not change meanwhile. */
void *idmap_next(const struct idmap *map, size_t *cursor);

#endif
