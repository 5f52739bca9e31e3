#include "net/due.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/util.h"

void due_heap_init(struct due_heap *heap)
{
    *heap = (struct due_heap){.nodes = NULL};
}

void due_heap_release(struct due_heap *heap)
{
    free(heap->nodes);
    due_heap_init(heap);
}

static void put(struct due_heap *heap, size_t i, struct due *node)
{
    heap->nodes[i] = node;
    node->place = i + 1;
}

static void move_up(struct due_heap *heap, size_t i, struct due *node)
{
    while (i > 0 && heap->nodes[(i - 1) / 2]->at_ms > node->at_ms) {
        put(heap, i, heap->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(heap, i, node);
}

static void move_down(struct due_heap *heap, size_t i, struct due *node)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->nodes[child + 1]->at_ms < heap->nodes[child]->at_ms)
            child++;
        if (heap->nodes[child]->at_ms >= node->at_ms)
            break;
        put(heap, i, heap->nodes[child]);
        i = child;
    }
    put(heap, i, node);
}

void due_set(struct due_heap *heap, struct due *node, uint64_t at_ms)
{
    if (node->place != DUE_UNSET) {
        uint64_t old_ms = node->at_ms;

        node->at_ms = at_ms;
        if (at_ms < old_ms)
            move_up(heap, node->place - 1, node);
        else if (at_ms > old_ms)
            move_down(heap, node->place - 1, node);
        return;
    }
    if (heap->count == heap->cap) {
        heap->cap = MAX(heap->cap * 2, (size_t)64);
        heap->nodes = xrealloc(heap->nodes, heap->cap * sizeof(*heap->nodes));
    }
    node->at_ms = at_ms;
    move_up(heap, heap->count++, node);
}

void due_clear(struct due_heap *heap, struct due *node)
{
    size_t i = node->place - 1;
    struct due *last;

    if (node->place == DUE_UNSET)
        return;
    node->place = DUE_UNSET;
    last = heap->nodes[--heap->count];
    if (last == node)
        return;
    if (last->at_ms < node->at_ms)
        move_up(heap, i, last);
    else
        move_down(heap, i, last);
}

struct due *due_first(const struct due_heap *heap)
{
    return heap->count != 0 ? heap->nodes[0] : NULL;
}
