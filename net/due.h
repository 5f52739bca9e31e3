/* Deadlines of one server: a heap of embedded nodes in front of a single timer. Knows no clock and
 * no loop; times are whatever the owner compares them with. Not thread safe. */
#ifndef KVD_NET_DUE_H
#define KVD_NET_DUE_H

#include <stddef.h>
#include <stdint.h>

enum { DUE_UNSET = 0 };

struct due {
    uint64_t at_ms;
    size_t place; /* in the heap, from 1; DUE_UNSET: not in it */
};

struct due_heap {
    struct due **nodes; /* nodes[0] is the earliest */
    size_t count;
    size_t cap;
};

void due_heap_init(struct due_heap *heap);
/* The nodes stay their owners'. */
void due_heap_release(struct due_heap *heap);
/* Puts node in, or moves it. */
void due_set(struct due_heap *heap, struct due *node, uint64_t at_ms);
/* Harmless for a node that is not in. */
void due_clear(struct due_heap *heap, struct due *node);
/* The earliest, or NULL. */
struct due *due_first(const struct due_heap *heap);

#endif
