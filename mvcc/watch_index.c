#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "mvcc/keyindex.h"
#include "mvcc/watch_internal.h"

enum { CHAINS_MIN = 64 };

void watch_index__init(struct watch_index *index, uint64_t seed)
{
    *index = (struct watch_index){.chain_count = CHAINS_MIN};
    index->chains = xcalloc(CHAINS_MIN, sizeof(struct watcher *));
    prng_seed(&index->prng, seed);
    index->salt = prng_next(&index->prng) | 1;
}

void watch_index__release(struct watch_index *index)
{
    ASSERT(index->points == 0);
    ASSERT(index->root == NULL);
    free(index->chains);
}

bool watch__span_holds(struct mvcc_span span, struct slice key)
{
    if (mvcc__span_is_point(span))
        return slice_eq(span.key, key);
    return slice_cmp(span.key, key) <= 0 &&
           (mvcc__span_is_unbounded(span) || slice_cmp(key, span.end) < 0);
}

/* ---- single keys ---- */

static uint32_t hash_of(const struct watch_index *index, struct slice key)
{
    return (uint32_t)(hash_bytes(key, index->salt) >> 32);
}

static struct watcher **chain_of(const struct watch_index *index, uint32_t hash)
{
    return &index->chains[hash & (index->chain_count - 1)];
}

static void chain_push(struct watcher **chain, struct watcher *watcher)
{
    watcher->chain.next = *chain;
    watcher->chain.link = chain;
    if (*chain != NULL)
        (*chain)->chain.link = &watcher->chain.next;
    *chain = watcher;
}

static void grow(struct watch_index *index)
{
    struct watcher **old = index->chains;
    size_t old_count = index->chain_count;

    index->chain_count *= 2;
    index->chains = xcalloc(index->chain_count, sizeof(struct watcher *));
    for (size_t i = 0; i < old_count; i++) {
        for (struct watcher *watcher = old[i], *next; watcher != NULL; watcher = next) {
            next = watcher->chain.next;
            chain_push(chain_of(index, watcher->hash), watcher);
        }
    }
    free(old);
}

static void add_point(struct watch_index *index, struct watcher *watcher)
{
    if (++index->points > index->chain_count)
        grow(index);
    watcher->hash = hash_of(index, watcher__key(watcher));
    chain_push(chain_of(index, watcher->hash), watcher);
}

static void remove_point(struct watch_index *index, struct watcher *watcher)
{
    *watcher->chain.link = watcher->chain.next;
    if (watcher->chain.next != NULL)
        watcher->chain.next->chain.link = watcher->chain.link;
    index->points--;
}

static void match_points(const struct watch_index *index, struct slice key, watch_index_visit visit,
                         void *ctx)
{
    uint32_t hash;

    if (index->points == 0)
        return;
    hash = hash_of(index, key);
    for (struct watcher *w = *chain_of(index, hash); w != NULL; w = w->chain.next)
        if (w->hash == hash && slice_eq(watcher__key(w), key))
            visit(ctx, w);
}

/* ---- ranges ---- */

/* Where a range stands among those with the same start. From the seed, so that the order in which
 * watchers are told is the same in every run of a simulation; stirred, for in the order of the heap
 * the tree would be a list. */
static uint32_t place(const struct watcher *watcher)
{
    return watcher->hash * 0x9e3779b1u;
}

/* By start; equal ones by chance, the last time by address, so that each has one place. */
static bool is_before(const struct watcher *a, const struct watcher *b)
{
    int order = slice_cmp(watcher__key(a), watcher__key(b));

    if (order != 0)
        return order < 0;
    if (a->hash != b->hash)
        return place(a) < place(b);
    return (uintptr_t)a < (uintptr_t)b;
}

static bool ends_before(const struct watcher *a, const struct watcher *b)
{
    struct mvcc_span x = watcher__span(a), y = watcher__span(b);

    if (mvcc__span_is_unbounded(x) || mvcc__span_is_unbounded(y))
        return !mvcc__span_is_unbounded(x);
    return slice_cmp(x.end, y.end) < 0;
}

static bool ends_above(const struct watcher *watcher, struct slice key)
{
    struct mvcc_span span = watcher__span(watcher);

    return mvcc__span_is_unbounded(span) || slice_cmp(key, span.end) < 0;
}

static void update(struct watcher *top)
{
    const struct watcher *below[] = {top->node.left, top->node.right};

    top->furthest = top;
    for (size_t i = 0; i < ARRAY_LEN(below); i++)
        if (below[i] != NULL && ends_before(top->furthest, below[i]->furthest))
            top->furthest = below[i]->furthest;
}

/* Takes a tree apart into what is before the watcher and what is not. */
static void split(struct watcher *tree, const struct watcher *at, struct watcher **before,
                  struct watcher **after)
{
    if (tree == NULL) {
        *before = *after = NULL;
        return;
    }
    if (is_before(tree, at)) {
        split(tree->node.right, at, &tree->node.right, after);
        *before = tree;
    } else {
        split(tree->node.left, at, before, &tree->node.left);
        *after = tree;
    }
    update(tree);
}

/* All of left is before all of right. */
static struct watcher *merge(struct watcher *left, struct watcher *right)
{
    if (left == NULL || right == NULL)
        return left != NULL ? left : right;
    if (left->hash > right->hash) {
        left->node.right = merge(left->node.right, right);
        update(left);
        return left;
    }
    right->node.left = merge(left, right->node.left);
    update(right);
    return right;
}

static void insert(struct watcher **tree, struct watcher *watcher)
{
    if (*tree == NULL || watcher->hash > (*tree)->hash) {
        split(*tree, watcher, &watcher->node.left, &watcher->node.right);
        *tree = watcher;
    } else if (is_before(watcher, *tree)) {
        insert(&(*tree)->node.left, watcher);
    } else {
        insert(&(*tree)->node.right, watcher);
    }
    update(*tree);
}

static void take_out(struct watcher **tree, struct watcher *watcher)
{
    ASSERT(*tree != NULL);
    if (*tree == watcher) {
        *tree = merge(watcher->node.left, watcher->node.right);
        return;
    }
    take_out(is_before(watcher, *tree) ? &(*tree)->node.left : &(*tree)->node.right, watcher);
    update(*tree);
}

static void match_ranges(struct watcher *tree, struct slice key, watch_index_visit visit, void *ctx)
{
    while (tree != NULL && ends_above(tree->furthest, key)) {
        match_ranges(tree->node.left, key, visit, ctx);
        if (slice_cmp(watcher__key(tree), key) > 0)
            return; /* and so all to the right of it start above the key */
        if (ends_above(tree, key))
            visit(ctx, tree);
        tree = tree->node.right;
    }
}

/* ---- both ---- */

void watch_index__add(struct watch_index *index, struct watcher *watcher)
{
    if (mvcc__span_is_point(watcher__span(watcher))) {
        add_point(index, watcher);
        return;
    }
    watcher->hash = (uint32_t)prng_next(&index->prng);
    insert(&index->root, watcher);
}

void watch_index__remove(struct watch_index *index, struct watcher *watcher)
{
    if (mvcc__span_is_point(watcher__span(watcher)))
        remove_point(index, watcher);
    else
        take_out(&index->root, watcher);
}

void watch_index__match(const struct watch_index *index, struct slice key, watch_index_visit visit,
                        void *ctx)
{
    match_points(index, key, visit, ctx);
    match_ranges(index->root, key, visit, ctx);
}

static void each_range(struct watcher *tree, watch_index_visit visit, void *ctx)
{
    for (; tree != NULL; tree = tree->node.right) {
        each_range(tree->node.left, visit, ctx);
        visit(ctx, tree);
    }
}

void watch_index__each(const struct watch_index *index, watch_index_visit visit, void *ctx)
{
    for (size_t i = 0; i < index->chain_count; i++)
        for (struct watcher *w = index->chains[i]; w != NULL; w = w->chain.next)
            visit(ctx, w);
    each_range(index->root, visit, ctx);
}
