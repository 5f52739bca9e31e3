/* Nodes of the key index, leaves and inner ones, and the search in one of them. For keyindex*.c
 * only. */
#ifndef KVD_MVCC_NODE_H
#define KVD_MVCC_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/util.h"
#include "mvcc/keyindex.h"
#include "mvcc/record.h"

enum {
    NODE_MAX = 64, /* the live mask is one word */
    NODE_CACHE_LINE = 64,
};

/* What a search needs, in leaves and inner nodes alike. */
struct node {
    uint16_t count;
    uint16_t level;
    uint32_t skip;            /* all keys of the node agree in at least their first skip bytes */
    uint32_t heads[NODE_MAX]; /* the 4 bytes behind, big-endian, as if followed by zeros */
};

struct leaf {
    struct node node;
    uint64_t live; /* bit i: records[i] is not a tombstone */
    struct record *records[NODE_MAX];
};

/* The least bytes that tell a child's keys from those of the child before. */
struct fence {
    uint32_t len;
    uint8_t bytes[];
};

struct inner {
    struct node node;
    struct node *children[NODE_MAX];
    struct fence *fences[NODE_MAX]; /* <= all keys of the child, > all before; [0] is NULL */
    size_t live[NODE_MAX];          /* live keys under the child */
    int64_t newest[NODE_MAX];       /* no record under the child is newer; may be too high */
};

static inline struct leaf *as_leaf(const struct node *node)
{
    ASSERT(node->level == 0);
    return CONTAINER_OF(node, struct leaf, node);
}

static inline struct inner *as_inner(const struct node *node)
{
    ASSERT(node->level > 0);
    return CONTAINER_OF(node, struct inner, node);
}

/* Inner nodes have no key at 0. */
static inline unsigned first_key(const struct node *node)
{
    return node->level == 0 ? 0 : 1;
}

static inline struct slice node_key(const struct node *node, unsigned at)
{
    if (node->level == 0)
        return record__key(as_leaf(node)->records[at]);
    return slice_of(as_inner(node)->fences[at]->bytes, as_inner(node)->fences[at]->len);
}

/* Bytes are counted in index. */
struct node *node__new(struct keyindex *index, unsigned level);
void node__free(struct keyindex *index, struct node *node);
struct fence *fence__new(struct keyindex *index, struct slice key);
void fence__free(struct keyindex *index, struct fence *fence); /* NULL is fine */

size_t mvcc__shared_prefix(struct slice a, struct slice b);
/* Length of what all keys of the node share; 0 if there are fewer than two. */
size_t node__shared_prefix(const struct node *node);
uint32_t node__head_of(struct slice key, size_t skip);
/* Makes skip and heads fit the keys. */
void node__set_heads(struct node *node);
size_t node__live(const struct node *node);
void leaf__set(struct leaf *leaf, unsigned at, struct record *record);

/* The first place whose key is >= key; *found: it is equal. */
unsigned node__search(const struct node *node, struct slice key, bool *found);
/* Right only if the key is there, and cheaper by reading one record: a key that begins otherwise
 * than the node's keys is equal to none, so its beginning need not be checked. */
unsigned node__search_heads(const struct node *node, struct slice key, bool *found);

/* The child that holds the key, if any does. */
static inline unsigned node__child_of(const struct node *node, struct slice key)
{
    bool found;
    unsigned at = node__search(node, key, &found);

    return found ? at : at - 1;
}

/* To the child; a leaf, which likely is in no cache, is asked for whole, so that the search in it
 * waits for memory once and not at every step. */
static inline struct node *node__descend(const struct node *node, unsigned at)
{
    struct node *child = as_inner(node)->children[at];

    if (node->level == 1)
        for (size_t line = 0; line < sizeof(struct leaf); line += NODE_CACHE_LINE)
            __builtin_prefetch((const char *)child + line);
    return child;
}

#endif
