#include "mvcc/heap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/util.h"

#if defined(__SANITIZE_ADDRESS__)
#define HEAP_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HEAP_ASAN 1
#endif
#endif
#ifdef HEAP_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(ptr, size) ((void)(ptr), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(ptr, size) ((void)(ptr), (void)(size))
#endif

enum {
    SLAB_SIZE = 65536, /* and alignment: a slot's slab is its address with the low bits cleared */
    SLABS_PER_REGION = 64,
    SLOT_MIN = 48, /* no record is smaller */
    SLOTS_MAX = SLAB_SIZE / SLOT_MIN,
    WORDS = (SLOTS_MAX + 63) / 64,
    PAGE = 4096,
};

struct slab {
    struct slab *prev, *next; /* in the class's list of partial slabs */
    size_t place;             /* in the class's slabs */
    uint32_t slot_size;
    uint32_t slots;
    uint32_t live;
    uint32_t touched; /* slots ever taken: they are taken lowest first */
    uint64_t taken[WORDS];
};

#define SLAB_HEAD ((sizeof(struct slab) + HEAP_STEP - 1) / HEAP_STEP * HEAP_STEP)

void heap__init(struct heap *heap)
{
    memset(heap, 0, sizeof *heap);
    heap->class_cursor = HEAP_CLASSES;
}

static size_t region_size(void)
{
    return (size_t)(SLABS_PER_REGION + 1) * SLAB_SIZE; /* one more, to align */
}

void heap__release(struct heap *heap)
{
    ASSERT(heap->live == 0);
    for (size_t i = 0; i < heap->region_count; i++) {
        ASAN_UNPOISON_MEMORY_REGION(heap->regions[i], region_size());
        munmap(heap->regions[i], region_size());
    }
    for (size_t i = 0; i < HEAP_CLASSES; i++)
        free(heap->classes[i].slabs);
    free(heap->regions);
    free(heap->spare);
    heap__init(heap);
}

size_t heap__slot_size(size_t size)
{
    size_t slot = (MAX(size, SLOT_MIN) + HEAP_STEP - 1) / HEAP_STEP * HEAP_STEP;

    return slot <= HEAP_SLOT_MAX ? slot : (size + sizeof(size_t) + PAGE - 1) / PAGE * PAGE;
}

/* ---- slabs ---- */

static void push(void ***array, size_t *count, size_t *cap, void *value)
{
    if (*count == *cap) {
        *cap = *cap * 2 + 8;
        *array = xrealloc(*array, *cap * sizeof **array);
    }
    (*array)[(*count)++] = value;
}

static void add_region(struct heap *heap)
{
    void *region =
        mmap(NULL, region_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uintptr_t first;

    if (region == MAP_FAILED)
        out_of_memory();
    push(&heap->regions, &heap->region_count, &heap->region_cap, region);
    first = ((uintptr_t)region + SLAB_SIZE - 1) / SLAB_SIZE * SLAB_SIZE;
    for (size_t i = SLABS_PER_REGION; i-- > 0;)
        push(&heap->spare, &heap->spare_count, &heap->spare_cap, (void *)(first + i * SLAB_SIZE));
}

static void partial_add(struct heap_class *class, struct slab *slab)
{
    slab->prev = NULL;
    slab->next = class->partial;
    if (slab->next != NULL)
        slab->next->prev = slab;
    class->partial = slab;
}

static void partial_remove(struct heap_class *class, struct slab *slab)
{
    if (slab->prev != NULL)
        slab->prev->next = slab->next;
    else
        class->partial = slab->next;
    if (slab->next != NULL)
        slab->next->prev = slab->prev;
}

static size_t slab_bytes(const struct slab *slab)
{
    size_t used = SLAB_HEAD + (size_t)slab->touched * slab->slot_size;

    return (used + PAGE - 1) / PAGE * PAGE;
}

static struct slab *slab_add(struct heap *heap, struct heap_class *class, size_t slot_size)
{
    struct slab *slab;

    if (heap->spare_count == 0)
        add_region(heap);
    slab = heap->spare[--heap->spare_count];
    *slab = (struct slab){
        .place = class->slab_count,
        .slot_size = (uint32_t)slot_size,
        .slots = (uint32_t)((SLAB_SIZE - SLAB_HEAD) / slot_size),
    };
    ASAN_POISON_MEMORY_REGION((char *)slab + SLAB_HEAD, SLAB_SIZE - SLAB_HEAD);
    push(&class->slabs, &class->slab_count, &class->slab_cap, slab);
    partial_add(class, slab);
    heap->bytes += slab_bytes(slab);
    return slab;
}

/* The memory goes to the system, the addresses stay ours: unmapping would leave the process with
 * more mappings than it may have. */
static void slab_drop(struct heap *heap, struct heap_class *class, struct slab *slab)
{
    struct slab *last = class->slabs[--class->slab_count];

    last->place = slab->place;
    class->slabs[last->place] = last;
    heap->bytes -= slab_bytes(slab);
    ASAN_UNPOISON_MEMORY_REGION(slab, SLAB_SIZE);
    (void)madvise(slab, SLAB_SIZE, MADV_DONTNEED); /* advice: failing, it costs memory */
    push(&heap->spare, &heap->spare_count, &heap->spare_cap, slab);
}

static struct slab *slab_of(void *ptr)
{
    return (struct slab *)((uintptr_t)ptr / SLAB_SIZE * SLAB_SIZE);
}

static char *slot_at(struct slab *slab, size_t slot)
{
    return (char *)slab + SLAB_HEAD + slot * slab->slot_size;
}

/* ---- allocating ---- */

static size_t slab_take(struct slab *slab)
{
    size_t word = 0, slot;

    while (slab->taken[word] == ~(uint64_t)0)
        word++;
    slot = word * 64 + (size_t)__builtin_ctzll(~slab->taken[word]);
    ASSERT(slot < slab->slots);
    slab->taken[word] |= (uint64_t)1 << (slot % 64);
    slab->live++;
    return slot;
}

void *heap__alloc(struct heap *heap, size_t size)
{
    size_t slot_size = heap__slot_size(size), slot;
    struct heap_class *class;
    struct slab *slab;

    heap->live++;
    heap->taken += slot_size;
    if (slot_size > HEAP_SLOT_MAX) {
        heap->bytes += slot_size;
        return xmalloc(size);
    }
    class = &heap->classes[slot_size / HEAP_STEP];
    slab = class->partial != NULL ? class->partial : slab_add(heap, class, slot_size);
    class->live++;
    slot = slab_take(slab);
    if (slab->live == slab->slots)
        partial_remove(class, slab);
    if (slot >= slab->touched) {
        heap->bytes -= slab_bytes(slab);
        slab->touched = (uint32_t)slot + 1;
        heap->bytes += slab_bytes(slab);
    }
    ASAN_UNPOISON_MEMORY_REGION(slot_at(slab, slot), slot_size);
    return slot_at(slab, slot);
}

void heap__free(struct heap *heap, void *ptr, size_t size)
{
    size_t slot_size = heap__slot_size(size), slot;
    struct heap_class *class;
    struct slab *slab;

    heap->live--;
    heap->taken -= slot_size;
    if (slot_size > HEAP_SLOT_MAX) {
        heap->bytes -= slot_size;
        free(ptr);
        return;
    }
    class = &heap->classes[slot_size / HEAP_STEP];
    slab = slab_of(ptr);
    slot = (size_t)((char *)ptr - slot_at(slab, 0)) / slot_size;
    ASSERT(slab->slot_size == slot_size);
    ASSERT(slab->taken[slot / 64] >> (slot % 64) & 1);
    slab->taken[slot / 64] &= ~((uint64_t)1 << (slot % 64));
    ASAN_POISON_MEMORY_REGION(ptr, slot_size);
    class->live--;
    if (slab->live == slab->slots) /* so it is not being emptied: that one never fills */
        partial_add(class, slab);
    slab->live--;
    if (slab->live > 0)
        return;
    if (slab == heap->victim)
        heap->victim = NULL;
    else
        partial_remove(class, slab);
    slab_drop(heap, class, slab);
}

/* ---- evacuation ---- */

/* Moving is worth it where holes make more than a thirty-sixth of a class, and more than a slab.
 * Holes below that serve the next puts; what is above costs, even with holes spread evenly, less
 * than a move per record that the compaction freed. */
static bool is_sparse(const struct heap_class *class)
{
    const struct slab *any;
    size_t slots;

    if (class->slab_count < 2)
        return false;
    any = class->slabs[0];
    slots = class->slab_count * any->slots;
    return (slots - class->live) * 36 > slots && slots - class->live > any->slots;
}

void heap__evacuation_begin(struct heap *heap)
{
    heap->class_cursor = 0;
    for (size_t i = 0; i < HEAP_CLASSES; i++)
        heap->classes[i].tries = heap->classes[i].slab_count;
}

/* On to the next class with something to do. */
static struct heap_class *class_to_empty(struct heap *heap)
{
    for (; heap->class_cursor < HEAP_CLASSES; heap->class_cursor++) {
        struct heap_class *class = &heap->classes[heap->class_cursor];

        if (class->tries > 0 && is_sparse(class))
            return class;
    }
    return NULL;
}

/* A slab that is no fuller than the average: there always is one. */
static void choose_victim(struct heap *heap, struct heap_class *class)
{
    struct slab *slab;

    class->tries--;
    do {
        class->next_victim = (class->next_victim + 1) % class->slab_count;
        slab = class->slabs[class->next_victim];
    } while (slab->live * class->slab_count > class->live);
    partial_remove(class, slab); /* no fuller than the average of a sparse class: not full */
    heap->victim = slab;
    heap->victim_slot = 0;
}

bool heap__evacuation_pending(const struct heap *heap)
{
    return heap->victim != NULL || heap->class_cursor < HEAP_CLASSES;
}

static size_t next_taken(const struct slab *slab, size_t slot)
{
    while (slot < slab->slots && !(slab->taken[slot / 64] >> (slot % 64) & 1))
        slot++;
    return slot;
}

void *heap__victim(struct heap *heap)
{
    for (;;) {
        struct slab *slab = heap->victim;
        struct heap_class *class;

        if (slab == NULL) {
            class = class_to_empty(heap);
            if (class == NULL)
                return NULL;
            choose_victim(heap, class);
            continue;
        }
        heap->victim_slot = next_taken(slab, heap->victim_slot);
        if (heap->victim_slot < slab->slots)
            return slot_at(slab, heap->victim_slot++);
        /* Something was left in it. */
        partial_add(&heap->classes[slab->slot_size / HEAP_STEP], slab);
        heap->victim = NULL;
    }
}
