#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/util.h"

enum {
    ARENA_ALIGN = 16,
    ARENA_BLOCK_SIZE = 4096 - 32, /* ordinary block with header and malloc's own word in one page */
};

struct arena_block {
    struct arena_block *next;
    size_t size; /* of bytes */
    size_t used;
    size_t unused_pad; /* keeps bytes 16-byte aligned */
    uint8_t bytes[];
};

_Static_assert(sizeof(struct arena_block) % ARENA_ALIGN == 0, "bytes must be aligned");

void arena_init(struct arena *arena)
{
    *arena = (struct arena)ARENA_INIT;
}

static void free_blocks(struct arena_block *block)
{
    while (block != NULL) {
        struct arena_block *next = block->next;

        free(block);
        block = next;
    }
}

void arena_release(struct arena *arena)
{
    free_blocks(arena->blocks);
    arena_init(arena);
}

void arena_reset(struct arena *arena)
{
    struct arena_block *keep = arena->blocks;

    if (keep != NULL && keep->size == ARENA_BLOCK_SIZE) {
        free_blocks(keep->next);
        keep->next = NULL;
        keep->used = 0;
    } else {
        free_blocks(keep);
        keep = NULL;
    }
    arena->blocks = keep;
    arena->used = 0;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t need = (MAX(size, (size_t)1) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct arena_block *block = arena->blocks;
    void *out;

    ASSERT(need >= size);
    if (block == NULL || block->size - block->used < need) {
        size_t space = MAX(need, (size_t)ARENA_BLOCK_SIZE);
        struct arena_block *fresh = xmalloc(sizeof *fresh + space);

        fresh->size = space;
        fresh->used = 0;
        /* A big piece goes behind the current block, whose rest stays in use. */
        if (block != NULL && space > ARENA_BLOCK_SIZE) {
            fresh->next = block->next;
            block->next = fresh;
        } else {
            fresh->next = block;
            arena->blocks = fresh;
        }
        block = fresh;
    }
    out = block->bytes + block->used;
    block->used += need;
    arena->used += need;
    return out;
}

void *arena_calloc(struct arena *arena, size_t size)
{
    return memset(arena_alloc(arena, size), 0, size);
}

struct slice arena_copy(struct arena *arena, struct slice bytes)
{
    if (bytes.len == 0)
        return slice_of(NULL, 0);
    return slice_of(memcpy(arena_alloc(arena, bytes.len), bytes.data, bytes.len), bytes.len);
}
