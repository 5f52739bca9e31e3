/* Memory of records: slots of equal size in slabs. Unlike malloc's, it goes back to the system
 * after a compaction even if what is left lies scattered: since the store knows all pointers to a
 * record it can move it, and so empty the slabs that are mostly holes. Shared inside mvcc/ only. */
#ifndef KVD_MVCC_HEAP_H
#define KVD_MVCC_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HEAP_STEP = 8,
    HEAP_SLOT_MAX = 8192, /* above, malloc's own mapping is good enough */
    HEAP_CLASSES = HEAP_SLOT_MAX / HEAP_STEP + 1,
};

struct slab;

/* All slots of one size. */
struct heap_class {
    void **slabs; /* struct slab * */
    size_t slab_count;
    size_t slab_cap;
    struct slab *partial; /* list of those with a free slot, but for the one being emptied */
    size_t live;          /* slots taken */
    size_t next_victim;   /* where to look for the next slab to empty */
    size_t tries;         /* slabs that may yet be emptied in this evacuation */
};

struct heap {
    struct heap_class classes[HEAP_CLASSES]; /* by slot size in steps; the first few stay unused */
    void **regions;                          /* mappings that slabs are carved from */
    size_t region_count;
    size_t region_cap;
    void **spare; /* carved and not in use; the system has their memory */
    size_t spare_count;
    size_t spare_cap;
    size_t live;         /* allocations */
    size_t taken;        /* what they take: without holes */
    size_t bytes;        /* memory touched */
    size_t class_cursor; /* evacuation: classes below are done */
    struct slab *victim; /* being emptied, or NULL */
    size_t victim_slot;  /* where it goes on */
};

void heap__init(struct heap *heap);
/* All allocations must have been freed. */
void heap__release(struct heap *heap);

/* What an allocation of this size takes. */
size_t heap__slot_size(size_t size);
/* 8-byte aligned at least. */
void *heap__alloc(struct heap *heap, size_t size);
void heap__free(struct heap *heap, void *ptr, size_t size);

/* Evacuation: begin, then move away whatever heap__victim() names (alloc, copy, free) until it
 * names none. One that is not moved is not named again, and its slab stays. */
void heap__evacuation_begin(struct heap *heap);
bool heap__evacuation_pending(const struct heap *heap);
void *heap__victim(struct heap *heap);

#endif
