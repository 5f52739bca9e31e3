/* Memory of one request: allocated in pieces, freed whole. Not thread safe. */
#ifndef KVD_BASE_ARENA_H
#define KVD_BASE_ARENA_H

#include <stddef.h>

#include "base/slice.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used;                /* bytes handed out since the last reset */
};

#define ARENA_INIT                                                                                 \
    {                                                                                              \
        .blocks = NULL                                                                             \
    }

void arena_init(struct arena *arena);
/* Frees everything. */
void arena_release(struct arena *arena);
/* Forgets all allocations and keeps one ordinary block for the next request. */
void arena_reset(struct arena *arena);

/* 16-byte aligned, never NULL, not zeroed. Valid until reset or release. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_calloc(struct arena *arena, size_t size);
/* Copy of the bytes; the slice of an empty input has NULL data. */
struct slice arena_copy(struct arena *arena, struct slice bytes);

#endif
