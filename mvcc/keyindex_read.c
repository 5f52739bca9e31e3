/* Questions to the index: lookups, counts, walks; and its check. */
#include "mvcc/keyindex.h"
#include "mvcc/node.h"

enum { PREFETCH_DISTANCE = 6 }; /* entries: a walk reads records that lie anywhere */

struct record *keyindex__get(const struct keyindex *index, struct slice key)
{
    const struct node *node = index->root;
    unsigned at;
    bool found;

    while (node->level > 0)
        node = node__descend(node, node__child_of(node, key));
    at = node__search_heads(node, key, &found);
    return found ? as_leaf(node)->records[at] : NULL;
}

/* ---- counting ---- */

static size_t leaf_count(const struct leaf *leaf, unsigned from, unsigned to, int64_t revision,
                         bool current)
{
    size_t sum = 0;

    if (from >= to)
        return 0;
    if (current) {
        uint64_t below_to = to == NODE_MAX ? ~(uint64_t)0 : ((uint64_t)1 << to) - 1;
        uint64_t below_from = ((uint64_t)1 << from) - 1;

        return (size_t)__builtin_popcountll(leaf->live & below_to & ~below_from);
    }
    for (unsigned i = from; i < to; i++)
        sum += record__at(leaf->records[i], revision) != NULL;
    return sum;
}

/* Keys of the node in [*from, *to) that live at the revision; NULL: no bound. current: nothing in
 * the node changed after it. */
static size_t node_count(const struct node *node, const struct slice *from, const struct slice *to,
                         int64_t revision, bool current)
{
    const struct inner *inner;
    unsigned first, last;
    size_t sum = 0;
    bool found;

    if (node->level == 0) {
        first = from != NULL ? node__search(node, *from, &found) : 0;
        last = to != NULL ? node__search(node, *to, &found) : node->count;
        return leaf_count(as_leaf(node), first, last, revision, current);
    }
    inner = as_inner(node);
    first = from != NULL ? node__child_of(node, *from) : 0;
    last = to != NULL ? node__child_of(node, *to) : node->count - 1u;
    for (unsigned i = first; i <= last; i++) {
        const struct slice *child_from = i == first ? from : NULL;
        const struct slice *child_to = i == last ? to : NULL;
        bool child_current = current || inner->newest[i] <= revision;

        if (child_current && child_from == NULL && child_to == NULL)
            sum += inner->live[i];
        else
            sum += node_count(inner->children[i], child_from, child_to, revision, child_current);
    }
    return sum;
}

size_t keyindex__count(const struct keyindex *index, struct mvcc_span span, int64_t revision)
{
    bool current = revision == INT64_MAX;

    if (mvcc__span_is_point(span)) {
        const struct record *newest = keyindex__get(index, span.key);

        return record__at(newest, revision) != NULL;
    }
    if (mvcc__span_is_unbounded(span))
        return node_count(index->root, &span.key, NULL, revision, current);
    if (slice_cmp(span.key, span.end) >= 0)
        return 0;
    return node_count(index->root, &span.key, &span.end, revision, current);
}

size_t keyindex__rank(const struct keyindex *index, struct slice key)
{
    return node_count(index->root, NULL, &key, INT64_MAX, true);
}

/* ---- walking ---- */

static bool is_current(const struct keyindex_cursor *cursor, const struct inner *inner, unsigned at)
{
    return cursor->current[inner->node.level] || inner->newest[at] <= cursor->revision;
}

static void cursor_enter(struct keyindex_cursor *cursor, struct node *node, unsigned at,
                         bool current)
{
    cursor->path[node->level] = node;
    cursor->at[node->level] = (uint8_t)at;
    cursor->current[node->level] = current;
}

void keyindex__seek(const struct keyindex *index, struct slice key, int64_t revision,
                    struct keyindex_cursor *cursor)
{
    struct node *node = index->root;
    bool current = revision == INT64_MAX;
    bool found;

    cursor->index = index;
    cursor->revision = revision;
    cursor->end = false;
    while (node->level > 0) {
        struct inner *inner = as_inner(node);
        unsigned at = node__child_of(node, key);

        cursor_enter(cursor, node, at + 1, current);
        current = is_current(cursor, inner, at);
        node = inner->children[at];
    }
    cursor_enter(cursor, node, node__search(node, key, &found), current);
}

/* Place of the bit number n, counted from 0. */
static unsigned bit_place(uint64_t mask, size_t n)
{
    while (n-- > 0)
        mask &= mask - 1;
    return (unsigned)__builtin_ctzll(mask);
}

void keyindex__seek_rank(const struct keyindex *index, size_t rank, struct keyindex_cursor *cursor)
{
    struct node *node = index->root;

    ASSERT(rank < index->live);
    cursor->index = index;
    cursor->revision = INT64_MAX;
    cursor->end = false;
    while (node->level > 0) {
        struct inner *inner = as_inner(node);
        unsigned at = 0;

        while (rank >= inner->live[at])
            rank -= inner->live[at++];
        cursor_enter(cursor, node, at + 1, true);
        node = inner->children[at];
    }
    cursor_enter(cursor, node, bit_place(as_leaf(node)->live, rank), true);
}

/* A walk can step over a child. */
typedef bool (*skip_child)(const struct keyindex_cursor *cursor, const struct inner *inner,
                           unsigned at);

/* A subtree without live keys that has not changed since the revision holds none that lived then.
 */
static bool skip_dead(const struct keyindex_cursor *cursor, const struct inner *inner, unsigned at)
{
    return inner->live[at] == 0 && is_current(cursor, inner, at);
}

/* The first child from `at` on that is worth looking at; the child count: there is none. */
static inline unsigned next_child(const struct keyindex_cursor *cursor, const struct inner *inner,
                                  unsigned at, skip_child skip)
{
    while (at < inner->node.count && skip(cursor, inner, at))
        at++;
    return at;
}

/* To the next leaf that is worth looking at. */
static inline bool cursor_next_leaf(struct keyindex_cursor *cursor, skip_child skip)
{
    unsigned level = 1;

    while (level > 0) {
        struct inner *inner;
        unsigned at;

        if (level > cursor->index->height)
            return false;
        inner = as_inner(cursor->path[level]);
        at = next_child(cursor, inner, cursor->at[level], skip);
        if (at == inner->node.count) {
            level++;
        } else {
            cursor->at[level] = (uint8_t)(at + 1);
            level--;
            cursor_enter(cursor, inner->children[at], 0, is_current(cursor, inner, at));
        }
    }
    return true;
}

static const struct record *leaf_next(struct keyindex_cursor *cursor)
{
    const struct leaf *leaf = as_leaf(cursor->path[0]);
    unsigned at = cursor->at[0];

    if (cursor->current[0]) {
        uint64_t rest = at < NODE_MAX ? leaf->live >> at : 0;

        if (rest == 0)
            return NULL;
        at += (unsigned)__builtin_ctzll(rest);
        if (at + PREFETCH_DISTANCE < leaf->node.count)
            __builtin_prefetch(leaf->records[at + PREFETCH_DISTANCE]);
        cursor->at[0] = (uint8_t)(at + 1);
        return leaf->records[at];
    }
    for (; at < leaf->node.count; at++) {
        const struct record *record = record__at(leaf->records[at], cursor->revision);

        if (record != NULL) {
            cursor->at[0] = (uint8_t)(at + 1);
            return record;
        }
    }
    return NULL;
}

const struct record *keyindex__next(struct keyindex_cursor *cursor)
{
    while (!cursor->end) {
        const struct record *record = leaf_next(cursor);

        if (record != NULL)
            return record;
        cursor->end = !cursor_next_leaf(cursor, skip_dead);
    }
    return NULL;
}

/* ---- walking what has changed ---- */

static const struct record *leaf_next_changed(struct keyindex_cursor *cursor, size_t *budget)
{
    const struct leaf *leaf = as_leaf(cursor->path[0]);

    while (!cursor->current[0] && cursor->at[0]<leaf->node.count && * budget> 0) {
        const struct record *newest = leaf->records[cursor->at[0]++];
        const struct record *record;

        --*budget;
        if (newest->main <= cursor->revision)
            continue;
        record = record__at(newest, cursor->revision);
        if (record != NULL)
            return record;
    }
    return NULL;
}

const struct record *keyindex__next_changed(struct keyindex_cursor *cursor, size_t *budget,
                                            const struct record **resume)
{
    *resume = NULL;
    while (!cursor->end) {
        const struct record *record = leaf_next_changed(cursor, budget);
        const struct leaf *leaf = as_leaf(cursor->path[0]);

        if (record != NULL)
            return record;
        if (!cursor->current[0] && cursor->at[0] < leaf->node.count) {
            *resume = leaf->records[cursor->at[0]];
            return NULL;
        }
        cursor->end = !cursor_next_leaf(cursor, is_current);
    }
    return NULL;
}

/* ---- checking ---- */

/* Returns the newest main under the node. */
static int64_t check_node(const struct node *node, const struct slice *from, const struct slice *to,
                          bool is_root)
{
    int64_t newest = 0;
    unsigned first = first_key(node);

    ASSERT(is_root || node->count > 0);
    ASSERT(node->skip <= node__shared_prefix(node) || node->count < first + 2);
    for (unsigned i = first; i < node->count; i++) {
        struct slice key = node_key(node, i);

        ASSERT(from == NULL || slice_cmp(*from, key) <= 0);
        ASSERT(to == NULL || slice_cmp(key, *to) < 0);
        ASSERT(i == first || slice_cmp(node_key(node, i - 1), key) < 0);
        ASSERT(key.len >= node->skip);
        ASSERT(node->heads[i] == node__head_of(key, node->skip));
        if (node->level == 0) {
            const struct record *record = as_leaf(node)->records[i];

            ASSERT((as_leaf(node)->live >> i & 1) != record__is_tombstone(record));
            newest = MAX(newest, record->main);
        }
    }
    for (unsigned i = 0; node->level > 0 && i < node->count; i++) {
        const struct inner *inner = as_inner(node);
        bool is_last = i + 1u == node->count;
        struct slice low = i > 0 ? node_key(node, i) : slice_of(NULL, 0);
        struct slice high = is_last ? slice_of(NULL, 0) : node_key(node, i + 1);
        int64_t child_newest;

        ASSERT((inner->fences[i] == NULL) == (i == 0));
        ASSERT(inner->children[i]->level + 1 == node->level);
        ASSERT(inner->live[i] == node__live(inner->children[i]));
        child_newest =
            check_node(inner->children[i], i > 0 ? &low : from, is_last ? to : &high, false);
        ASSERT(child_newest <= inner->newest[i]);
        newest = MAX(newest, child_newest);
    }
    if (node->level == 0)
        ASSERT(node->count == NODE_MAX || as_leaf(node)->live >> node->count == 0);
    return newest;
}

void keyindex__check(const struct keyindex *index)
{
    ASSERT(index->root->level == index->height);
    ASSERT(index->live == node__live(index->root));
    (void)check_node(index->root, NULL, NULL, true); /* only its asserts are wanted */
}
