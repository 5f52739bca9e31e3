#include "mvcc/node.h"

#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"

static size_t node_size(unsigned level)
{
    return level == 0 ? sizeof(struct leaf) : sizeof(struct inner);
}

struct node *node__new(struct keyindex *index, unsigned level)
{
    struct node *node;

    if (level == 0)
        node = &((struct leaf *)xmalloc(sizeof(struct leaf)))->node;
    else
        node = &((struct inner *)xmalloc(sizeof(struct inner)))->node;
    node->count = 0;
    node->level = (uint16_t)level;
    node->skip = 0;
    if (level == 0)
        as_leaf(node)->live = 0;
    index->bytes += mvcc__heap_size(node_size(level));
    return node;
}

void node__free(struct keyindex *index, struct node *node)
{
    index->bytes -= mvcc__heap_size(node_size(node->level));
    if (node->level == 0)
        free(as_leaf(node));
    else
        free(as_inner(node));
}

struct fence *fence__new(struct keyindex *index, struct slice key)
{
    struct fence *fence = xmalloc(sizeof *fence + key.len);

    fence->len = (uint32_t)key.len;
    memcpy(fence->bytes, key.data, key.len);
    index->bytes += mvcc__heap_size(sizeof *fence + key.len);
    return fence;
}

void fence__free(struct keyindex *index, struct fence *fence)
{
    if (fence == NULL)
        return;
    index->bytes -= mvcc__heap_size(sizeof *fence + fence->len);
    free(fence);
}

size_t mvcc__shared_prefix(struct slice a, struct slice b)
{
    size_t max = MIN(a.len, b.len), len = 0;

    while (len < max && a.data[len] == b.data[len])
        len++;
    return len;
}

uint32_t node__head_of(struct slice key, size_t skip)
{
    uint8_t bytes[4] = {0};

    if (key.len >= skip + sizeof bytes)
        return get_be32(key.data + skip);
    if (key.len > skip)
        memcpy(bytes, key.data + skip, key.len - skip);
    return get_be32(bytes);
}

/* Keys are sorted, so what the first and the last share all share. */
size_t node__shared_prefix(const struct node *node)
{
    unsigned first = first_key(node);

    if (node->count < first + 2)
        return 0;
    return mvcc__shared_prefix(node_key(node, first), node_key(node, node->count - 1u));
}

void node__set_heads(struct node *node)
{
    size_t skip = node__shared_prefix(node);

    node->skip = (uint32_t)skip;
    for (unsigned i = first_key(node); i < node->count; i++)
        node->heads[i] = node__head_of(node_key(node, i), skip);
}

size_t node__live(const struct node *node)
{
    size_t sum = 0;

    if (node->level == 0)
        return (size_t)__builtin_popcountll(as_leaf(node)->live);
    for (unsigned i = 0; i < node->count; i++)
        sum += as_inner(node)->live[i];
    return sum;
}

void leaf__set(struct leaf *leaf, unsigned at, struct record *record)
{
    uint64_t bit = (uint64_t)1 << at;

    leaf->records[at] = record;
    if (record__is_tombstone(record))
        leaf->live &= ~bit;
    else
        leaf->live |= bit;
}

/* ---- searching ---- */

/* The first place whose key is >= key, among those whose head equals the key's. */
static unsigned search_equal_heads(const struct node *node, unsigned low, struct slice key,
                                   uint32_t head, bool *found)
{
    unsigned high = low;

    while (high < node->count && node->heads[high] == head)
        high++;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        int order = slice_cmp(node_key(node, mid), key);

        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

unsigned node__search_heads(const struct node *node, struct slice key, bool *found)
{
    unsigned low = first_key(node), high = node->count;
    uint32_t head = node__head_of(key, node->skip);

    *found = false;
    while (low < high) {
        unsigned mid = (low + high) / 2;

        if (node->heads[mid] < head)
            low = mid + 1;
        else
            high = mid;
    }
    return search_equal_heads(node, low, key, head, found);
}

unsigned node__search(const struct node *node, struct slice key, bool *found)
{
    unsigned first = first_key(node);

    *found = false;
    if (node->skip > 0) {
        struct slice prefix = slice_of(node_key(node, first).data, node->skip);
        size_t len = MIN(key.len, prefix.len);
        int order = slice_cmp(slice_of(key.data, len), prefix);

        if (order != 0)
            return order < 0 ? first : node->count;
    }
    return node__search_heads(node, key, found);
}
