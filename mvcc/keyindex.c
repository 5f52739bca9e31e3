/* The index as it changes; keyindex_read.c has the rest. */
#include "mvcc/keyindex.h"

#include "mvcc/node.h"

enum {
    /* A node this small looks for a neighbour to merge with; the sum leaves room to grow. */
    MERGE_BELOW = NODE_MAX / 4,
    MERGE_SUM_MAX = NODE_MAX * 3 / 4,
    /* Where a full node splits: at its end if that is where keys arrive (ascending loads then fill
     * nodes nearly whole), else in the middle. */
    SPLIT_AT_END = NODE_MAX - 4,
    SPLIT_MIDDLE = NODE_MAX / 2,
    /* A full leaf first shares its keys with a neighbour that has no more than this: leaves of keys
     * that come in any order are then three quarters full, not five eighths. */
    SHARE_BELOW = NODE_MAX * 7 / 8,
};

static void node_release(struct keyindex *index, struct node *node)
{
    for (unsigned i = 0; node->level > 0 && i < node->count; i++) {
        fence__free(index, as_inner(node)->fences[i]);
        node_release(index, as_inner(node)->children[i]);
    }
    node__free(index, node);
}

void keyindex__init(struct keyindex *index)
{
    *index = (struct keyindex){0};
    index->root = node__new(index, 0);
}

void keyindex__release(struct keyindex *index)
{
    node_release(index, index->root);
    ASSERT(index->bytes == 0);
    index->root = NULL;
}

/* ---- putting ---- */

/* The way from the root to a leaf, by level. */
struct path {
    struct node *nodes[KEYINDEX_LEVELS_MAX];
    unsigned at[KEYINDEX_LEVELS_MAX];
    bool found;
};

static void path_to(const struct keyindex *index, struct slice key, struct path *path)
{
    struct node *node = index->root;

    while (node->level > 0) {
        path->nodes[node->level] = node;
        path->at[node->level] = node__child_of(node, key);
        node = node__descend(node, path->at[node->level]);
    }
    path->nodes[0] = node;
    path->at[0] = node__search_heads(node, key, &path->found); /* enough if it is there */
    if (!path->found)
        path->at[0] = node__search(node, key, &path->found);
}

/* Tells all inner nodes of the way that a key under them changed. */
static void path_changed(struct keyindex *index, const struct path *path, int64_t main, int delta)
{
    index->live += (size_t)(ptrdiff_t)delta;
    for (unsigned level = 1; level <= index->height; level++) {
        struct inner *inner = as_inner(path->nodes[level]);

        inner->live[path->at[level]] += (size_t)(ptrdiff_t)delta;
        inner->newest[path->at[level]] = MAX(inner->newest[path->at[level]], main);
    }
    index->newest = MAX(index->newest, main);
}

static void leaf_insert(struct leaf *leaf, unsigned at, struct record *record)
{
    struct node *node = &leaf->node;
    size_t behind = node->count - at;
    uint64_t below = ((uint64_t)1 << at) - 1;
    bool at_edge;

    memmove(&node->heads[at + 1], &node->heads[at], behind * sizeof node->heads[0]);
    memmove(&leaf->records[at + 1], &leaf->records[at], behind * sizeof leaf->records[0]);
    leaf->records[at] = record;
    leaf->live = (leaf->live & below) | ((leaf->live & ~below) << 1);
    if (!record__is_tombstone(record))
        leaf->live |= (uint64_t)1 << at;
    node->count++;

    /* A key in the middle shares what its neighbours share. */
    at_edge = at == 0 || at + 1u == node->count;
    if (at_edge && node__shared_prefix(node) != node->skip)
        node__set_heads(node);
    else
        node->heads[at] = node__head_of(record__key(record), node->skip);
}

static void inner_insert(struct inner *inner, unsigned at, struct node *child, struct fence *fence,
                         int64_t newest)
{
    size_t behind = inner->node.count - at;

    memmove(&inner->children[at + 1], &inner->children[at], behind * sizeof inner->children[0]);
    memmove(&inner->fences[at + 1], &inner->fences[at], behind * sizeof inner->fences[0]);
    memmove(&inner->live[at + 1], &inner->live[at], behind * sizeof inner->live[0]);
    memmove(&inner->newest[at + 1], &inner->newest[at], behind * sizeof inner->newest[0]);
    inner->children[at] = child;
    inner->fences[at] = fence;
    inner->live[at] = node__live(child);
    inner->newest[at] = newest;
    inner->node.count++;
    node__set_heads(&inner->node);
}

/* Moves what stands at and behind `at` to the end of another leaf. Heads are the caller's. */
static void leaf_move(struct leaf *from, unsigned at, struct leaf *to)
{
    unsigned n = from->node.count - at;

    if (n == 0)
        return;
    memcpy(&to->records[to->node.count], &from->records[at], n * sizeof to->records[0]);
    to->live |= (from->live >> at) << to->node.count;
    to->node.count = (uint16_t)(to->node.count + n);
    from->live &= ((uint64_t)1 << at) - 1;
    from->node.count = (uint16_t)at;
}

static void inner_move(struct inner *from, unsigned at, struct inner *to)
{
    unsigned n = from->node.count - at, end = to->node.count;

    memcpy(&to->children[end], &from->children[at], n * sizeof to->children[0]);
    memcpy(&to->fences[end], &from->fences[at], n * sizeof to->fences[0]);
    memcpy(&to->live[end], &from->live[at], n * sizeof to->live[0]);
    memcpy(&to->newest[end], &from->newest[at], n * sizeof to->newest[0]);
    to->node.count = (uint16_t)(end + n);
    from->node.count = (uint16_t)at;
}

static struct fence *fence_between(struct keyindex *index, const struct leaf *left,
                                   const struct leaf *right)
{
    struct slice last = node_key(&left->node, left->node.count - 1u);
    struct slice first = node_key(&right->node, 0);

    return fence__new(index, slice_of(first.data, mvcc__shared_prefix(last, first) + 1));
}

/* Into one of two leaves that stand side by side, at a place counted through both. */
static void insert_into_pair(struct leaf *left, struct leaf *right, unsigned at,
                             struct record *record)
{
    if (at <= left->node.count)
        leaf_insert(left, at, record);
    else
        leaf_insert(right, at - left->node.count, record);
}

/* Splits a full leaf and inserts; returns the new right half. */
static struct node *leaf_split(struct keyindex *index, struct leaf *left, unsigned at,
                               struct record *record, struct fence **fence)
{
    unsigned cut = at == NODE_MAX ? SPLIT_AT_END : SPLIT_MIDDLE;
    struct leaf *right = as_leaf(node__new(index, 0));

    leaf_move(left, cut, right);
    if (node__shared_prefix(&left->node) != left->node.skip)
        node__set_heads(&left->node);
    node__set_heads(&right->node);
    insert_into_pair(left, right, at, record);
    *fence = fence_between(index, left, right);
    return &right->node;
}

/* Moves n of the first of right behind left, or (n < 0) -n of the last of left before right. */
static void leaf_balance(struct leaf *left, struct leaf *right, int n)
{
    struct leaf rest = {.node = {.count = 0}};

    if (n > 0) {
        leaf_move(right, (unsigned)n, &rest);
        leaf_move(right, 0, left);
    } else {
        leaf_move(left, left->node.count - (unsigned)-n, &rest);
        leaf_move(right, 0, &rest);
    }
    leaf_move(&rest, 0, right);
    node__set_heads(&left->node);
    node__set_heads(&right->node);
}

/* Evens out the full leaf at `full` and its neighbour, and inserts at a place of the full one. */
static void share(struct keyindex *index, struct inner *parent, unsigned full, unsigned neighbour,
                  unsigned at, struct record *record)
{
    unsigned l = MIN(full, neighbour), r = l + 1;
    struct leaf *left = as_leaf(parent->children[l]), *right = as_leaf(parent->children[r]);
    unsigned place = full == l ? at : left->node.count + at;
    int64_t newest = MAX(parent->newest[l], parent->newest[r]);

    leaf_balance(left, right, ((int)right->node.count - (int)left->node.count) / 2);
    insert_into_pair(left, right, place, record);
    fence__free(index, parent->fences[r]);
    parent->fences[r] = fence_between(index, left, right);
    parent->live[l] = node__live(&left->node);
    parent->live[r] = node__live(&right->node);
    parent->newest[l] = parent->newest[r] = newest;
    node__set_heads(&parent->node);
}

/* False: no neighbour has room, or keys arrive at the end, where a split fills leaves best. */
static bool insert_shared(struct keyindex *index, const struct path *path, struct record *record)
{
    struct inner *parent;
    unsigned full = path->at[1];

    if (index->height == 0 || path->at[0] == NODE_MAX)
        return false;
    parent = as_inner(path->nodes[1]);
    if (full + 1u < parent->node.count && parent->children[full + 1]->count <= SHARE_BELOW)
        share(index, parent, full, full + 1, path->at[0], record);
    else if (full > 0 && parent->children[full - 1]->count <= SHARE_BELOW)
        share(index, parent, full, full - 1, path->at[0], record);
    else
        return false;
    return true;
}

static struct node *inner_split(struct keyindex *index, struct inner *left, unsigned at,
                                struct node *child, struct fence *child_fence, int64_t newest,
                                struct fence **fence)
{
    unsigned cut = at == NODE_MAX ? SPLIT_AT_END : SPLIT_MIDDLE;
    struct inner *right = as_inner(node__new(index, left->node.level));

    inner_move(left, cut, right);
    *fence = right->fences[0];
    right->fences[0] = NULL;
    if (at <= cut) {
        node__set_heads(&right->node);
        inner_insert(left, at, child, child_fence, newest);
    } else {
        node__set_heads(&left->node);
        inner_insert(right, at - cut, child, child_fence, newest);
    }
    return &right->node;
}

static void grow(struct keyindex *index, struct node *right, struct fence *fence)
{
    struct inner *root = as_inner(node__new(index, index->height + 1));

    ASSERT(index->height + 1 < KEYINDEX_LEVELS_MAX);
    inner_insert(root, 0, index->root, NULL, index->newest);
    inner_insert(root, 1, right, fence, index->newest);
    index->root = &root->node;
    index->height++;
}

static void insert(struct keyindex *index, const struct path *path, struct record *record)
{
    struct fence *fence;
    struct node *right;

    if (path->nodes[0]->count < NODE_MAX) {
        leaf_insert(as_leaf(path->nodes[0]), path->at[0], record);
        return;
    }
    if (insert_shared(index, path, record))
        return;
    right = leaf_split(index, as_leaf(path->nodes[0]), path->at[0], record, &fence);
    for (unsigned level = 1; level <= index->height; level++) {
        struct inner *parent = as_inner(path->nodes[level]);
        unsigned at = path->at[level];
        int64_t newest = parent->newest[at]; /* of both halves at the most */

        parent->live[at] = node__live(parent->children[at]);
        if (parent->node.count < NODE_MAX) {
            inner_insert(parent, at + 1, right, fence, newest);
            return;
        }
        right = inner_split(index, parent, at + 1, right, fence, newest, &fence);
    }
    grow(index, right, fence);
}

struct record *keyindex__put(struct keyindex *index, struct record *record)
{
    struct record *old = NULL;
    struct path path;
    int delta = record__is_tombstone(record) ? 0 : 1;

    path_to(index, record__key(record), &path);
    if (path.found) {
        old = as_leaf(path.nodes[0])->records[path.at[0]];
        delta -= record__is_tombstone(old) ? 0 : 1;
    }
    path_changed(index, &path, record->main, delta);
    if (path.found)
        leaf__set(as_leaf(path.nodes[0]), path.at[0], record);
    else
        insert(index, &path, record);
    return old;
}

void keyindex__move(struct keyindex *index, struct record *record)
{
    struct path path;

    path_to(index, record__key(record), &path);
    ASSERT(path.found);
    as_leaf(path.nodes[0])->records[path.at[0]] = record;
}

/* ---- removing ---- */

static void leaf_erase(struct leaf *leaf, unsigned at)
{
    struct node *node = &leaf->node;
    size_t behind = node->count - at - 1u;
    uint64_t below = ((uint64_t)1 << at) - 1;

    memmove(&node->heads[at], &node->heads[at + 1], behind * sizeof node->heads[0]);
    memmove(&leaf->records[at], &leaf->records[at + 1], behind * sizeof leaf->records[0]);
    leaf->live = (leaf->live & below) | ((leaf->live >> 1) & ~below);
    node->count--;
    if (node->count == 0)
        node->skip = 0; /* else it stays right, if perhaps not the best */
}

/* Forgets the child, which the caller frees. */
static void inner_erase(struct keyindex *index, struct inner *inner, unsigned at)
{
    size_t behind = inner->node.count - at - 1u;

    fence__free(index, inner->fences[at]);
    memmove(&inner->children[at], &inner->children[at + 1], behind * sizeof inner->children[0]);
    memmove(&inner->fences[at], &inner->fences[at + 1], behind * sizeof inner->fences[0]);
    memmove(&inner->live[at], &inner->live[at + 1], behind * sizeof inner->live[0]);
    memmove(&inner->newest[at], &inner->newest[at + 1], behind * sizeof inner->newest[0]);
    inner->node.count--;
    if (at == 0 && inner->node.count > 0) {
        fence__free(index, inner->fences[0]);
        inner->fences[0] = NULL;
    }
    node__set_heads(&inner->node);
}

/* Merges the child with the one to its right, if they fit. */
static bool merge(struct keyindex *index, struct inner *parent, unsigned at)
{
    struct node *left, *right;

    if (at + 1 >= parent->node.count)
        return false;
    left = parent->children[at];
    right = parent->children[at + 1];
    if (left->count + right->count > MERGE_SUM_MAX)
        return false;
    if (left->level == 0) {
        leaf_move(as_leaf(right), 0, as_leaf(left));
    } else {
        as_inner(right)->fences[0] = parent->fences[at + 1];
        parent->fences[at + 1] = NULL;
        inner_move(as_inner(right), 0, as_inner(left));
    }
    node__set_heads(left);
    node__free(index, right);
    parent->live[at] += parent->live[at + 1];
    parent->newest[at] = MAX(parent->newest[at], parent->newest[at + 1]);
    inner_erase(index, parent, at + 1);
    return true;
}

/* Whether the parent lost a child by it. */
static bool shrink(struct keyindex *index, struct inner *parent, unsigned at)
{
    struct node *child = parent->children[at];

    if (child->count == 0) {
        node__free(index, child);
        inner_erase(index, parent, at);
        return true;
    }
    if (child->count >= MERGE_BELOW)
        return false;
    return (at > 0 && merge(index, parent, at - 1)) || merge(index, parent, at);
}

void keyindex__remove(struct keyindex *index, struct slice key)
{
    struct path path;

    path_to(index, key, &path);
    ASSERT(path.found);
    ASSERT(record__is_tombstone(as_leaf(path.nodes[0])->records[path.at[0]]));
    leaf_erase(as_leaf(path.nodes[0]), path.at[0]);

    for (unsigned level = 1; level <= index->height; level++)
        if (!shrink(index, as_inner(path.nodes[level]), path.at[level]))
            break;
    while (index->height > 0 && index->root->count <= 1) {
        struct node *root = index->root;

        if (root->count == 1)
            index->root = as_inner(root)->children[0];
        else
            index->root = node__new(index, 0);
        index->height = index->root->level;
        node__free(index, root);
    }
}

struct record *keyindex__bury(struct keyindex *index, struct keyindex_cursor *cursor,
                              struct record *tombstone)
{
    unsigned at = cursor->at[0] - 1u; /* the cursor stands behind what it gave */
    struct leaf *leaf = as_leaf(cursor->path[0]);
    struct record *old = leaf->records[at];

    ASSERT(cursor->revision == INT64_MAX);
    leaf__set(leaf, at, tombstone);
    index->live--;
    for (unsigned level = 1; level <= index->height; level++) {
        struct inner *inner = as_inner(cursor->path[level]);

        inner->live[cursor->at[level] - 1u]--;
        inner->newest[cursor->at[level] - 1u] = tombstone->main;
    }
    return old;
}
