#include <stdlib.h>

#include "mvcc/internal.h"

/* A range under evaluation. */
struct query {
    const struct mvcc *mvcc;
    const struct mvcc_range *range;
    int64_t revision; /* INT64_MAX: newest */
    size_t count;     /* keys in the span */
    struct arena *arena;
};

bool mvcc__has_filters(const struct mvcc_range *range)
{
    return range->mod_min != 0 || range->mod_max != 0 || range->create_min != 0 ||
           range->create_max != 0;
}

static bool within(int64_t value, int64_t min, int64_t max)
{
    return (min == 0 || value >= min) && (max == 0 || value <= max);
}

bool mvcc__passes(const struct mvcc_range *range, const struct record *record)
{
    return within(record->main, range->mod_min, range->mod_max) &&
           within(record->create, range->create_min, range->create_max);
}

/* etcd counts order NONE as default whatever the target, and so considers only the first limit+1
 * keys, though it then sorts them by the target (etcd-api.md 5.1; kept in all its versions). */
bool mvcc__is_default_order(const struct mvcc_range *range)
{
    return range->order == MVCC_ORDER_NONE ||
           (range->order == MVCC_ORDER_ASCEND && range->target == MVCC_BY_KEY);
}

bool mvcc__is_reversed_keys(const struct mvcc_range *range)
{
    return range->order == MVCC_ORDER_DESCEND && range->target == MVCC_BY_KEY;
}

size_t mvcc__limited(const struct mvcc_range *range, size_t n)
{
    return range->limit > 0 && (uint64_t)range->limit < n ? (size_t)range->limit : n;
}

size_t mvcc__first_only(const struct mvcc_range *range, size_t count)
{
    size_t limited = mvcc__limited(range, count);

    if (!mvcc__is_default_order(range) || mvcc__has_filters(range) || limited == count)
        return count;
    return limited + 1;
}

void mvcc__emit(const struct mvcc_range *range, const struct record *record, struct mvcc_kv *out)
{
    record__to_kv(record, out);
    if (range->flags & MVCC_KEYS_ONLY)
        out->value = slice_of(NULL, 0);
}

static void result_fill(const struct query *query, struct mvcc_kv *kvs, size_t len, bool more,
                        struct mvcc_range_result *out)
{
    out->kvs = kvs;
    out->len = len;
    out->count = (int64_t)query->count;
    out->more = more;
}

/* One key, the commonest request: straight to the record. */
static void query_point(const struct query *query, struct mvcc_range_result *out)
{
    const struct mvcc_range *range = query->range;
    const struct record *newest = keyindex__get(&query->mvcc->index, range->span.key);
    const struct record *record = record__at(newest, query->revision);
    struct mvcc_kv *kv = NULL;

    if (record == NULL) {
        *out = (struct mvcc_range_result){0};
        return;
    }
    if (!(range->flags & MVCC_COUNT_ONLY) && mvcc__passes(range, record)) {
        kv = arena_alloc(query->arena, sizeof *kv);
        mvcc__emit(range, record, kv);
    }
    *out = (struct mvcc_range_result){.kvs = kv, .len = kv != NULL, .count = 1};
}

/* Key order, no filters: reads only what it returns. */
static void query_in_key_order(const struct query *query, struct mvcc_range_result *out)
{
    size_t len = mvcc__limited(query->range, query->count);
    struct mvcc_kv *kvs = arena_alloc(query->arena, len * sizeof *kvs);
    struct keyindex_cursor cursor;

    keyindex__seek(&query->mvcc->index, query->range->span.key, query->revision, &cursor);
    for (size_t i = 0; i < len; i++)
        mvcc__emit(query->range, keyindex__next(&cursor), &kvs[i]);
    result_fill(query, kvs, len, len < query->count, out);
}

/* The last keys of the span, backwards: the counts say where they begin. */
static void query_in_reverse(const struct query *query, struct mvcc_range_result *out)
{
    const struct keyindex *index = &query->mvcc->index;
    size_t len = mvcc__limited(query->range, query->count);
    struct mvcc_kv *kvs = arena_alloc(query->arena, len * sizeof *kvs);
    size_t below = keyindex__rank(index, query->range->span.key);
    struct keyindex_cursor cursor;

    keyindex__seek_rank(index, below + query->count - len, &cursor);
    for (size_t i = len; i-- > 0;)
        mvcc__emit(query->range, keyindex__next(&cursor), &kvs[i]);
    result_fill(query, kvs, len, len < query->count, out);
}

/* ---- sorting ---- */

static int compare_numbers(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_by(enum mvcc_target target, const struct record *a, const struct record *b)
{
    switch (target) {
    case MVCC_BY_VERSION:
        return compare_numbers(record__version(a), record__version(b));
    case MVCC_BY_CREATE:
        return compare_numbers(a->create, b->create);
    case MVCC_BY_MOD:
        return compare_numbers(a->main, b->main);
    case MVCC_BY_VALUE:
        return slice_cmp(record__value(a), record__value(b));
    case MVCC_BY_KEY:
        break;
    }
    return slice_cmp(record__key(a), record__key(b));
}

int mvcc__compare_records(const void *a, const void *b, void *arg)
{
    const struct record *left = *(const struct record *const *)a;
    const struct record *right = *(const struct record *const *)b;
    const struct mvcc_range *range = arg;
    int order = compare_by(range->target, left, right);

    if (order == 0)
        return slice_cmp(record__key(left), record__key(right));
    return range->order == MVCC_ORDER_DESCEND ? -order : order;
}

/* Everything else: fetch, filter, sort, cut. */
static void query_sorted(const struct query *query, struct mvcc_range_result *out)
{
    struct mvcc_range range = *query->range;
    size_t fetch = mvcc__first_only(&range, query->count), found = 0, len;
    const struct record **records;
    struct keyindex_cursor cursor;
    struct mvcc_kv *kvs;

    records = arena_alloc(query->arena, fetch * sizeof *records);
    keyindex__seek(&query->mvcc->index, range.span.key, query->revision, &cursor);
    for (size_t i = 0; i < fetch; i++) {
        const struct record *record = keyindex__next(&cursor);

        if (mvcc__passes(&range, record))
            records[found++] = record;
    }
    if (range.target != MVCC_BY_KEY || range.order == MVCC_ORDER_DESCEND)
        qsort_r(records, found, sizeof *records, mvcc__compare_records, &range);

    len = mvcc__limited(&range, found);
    kvs = arena_alloc(query->arena, len * sizeof *kvs);
    for (size_t i = 0; i < len; i++)
        mvcc__emit(&range, records[i], &kvs[i]);
    result_fill(query, kvs, len, len < found, out);
}

/* Records that the query will look at. */
static size_t visits(const struct query *query, bool newest)
{
    const struct mvcc_range *range = query->range;
    bool by_key = range->target == MVCC_BY_KEY;

    if (range->flags & MVCC_COUNT_ONLY)
        return 0;
    if (mvcc__has_filters(range))
        return query->count;
    if (by_key && (mvcc__is_default_order(range) || newest))
        return mvcc__limited(range, query->count);
    return mvcc__first_only(range, query->count);
}

int mvcc_range(const struct mvcc *mvcc, const struct mvcc_range *range, struct arena *arena,
               struct mvcc_range_result *out)
{
    struct query query = {.mvcc = mvcc, .range = range, .arena = arena};
    bool newest;
    int rc;

    rc = mvcc__resolve(mvcc, range->revision, &query.revision);
    if (rc != 0)
        return rc;
    newest = query.revision == mvcc__now(mvcc);
    if (newest)
        query.revision = INT64_MAX;
    if (mvcc__span_is_point(range->span)) {
        query_point(&query, out);
        return 0;
    }

    query.count = keyindex__count(&mvcc->index, range->span, query.revision);
    if (range->visit_max > 0 && visits(&query, newest) > range->visit_max)
        return KV_ETOOBIG;
    if (query.count == 0 || (range->flags & MVCC_COUNT_ONLY))
        result_fill(&query, NULL, 0, false, out);
    else if (mvcc__has_filters(range) || (range->target != MVCC_BY_KEY))
        query_sorted(&query, out);
    else if (mvcc__is_default_order(range))
        query_in_key_order(&query, out);
    else if (mvcc__is_reversed_keys(range) && newest)
        query_in_reverse(&query, out);
    else
        query_sorted(&query, out);
    return 0;
}

bool mvcc_get(const struct mvcc *mvcc, struct slice key, struct mvcc_kv *out)
{
    const struct record *record = keyindex__get(&mvcc->index, key);

    if (record == NULL || record__is_tombstone(record))
        return false;
    record__to_kv(record, out);
    return true;
}

bool mvcc_each(const struct mvcc *mvcc, struct mvcc_span span, mvcc_visit visit, void *ctx)
{
    size_t count = keyindex__count(&mvcc->index, span, INT64_MAX);
    struct keyindex_cursor cursor;

    if (count > 0)
        keyindex__seek(&mvcc->index, span.key, INT64_MAX, &cursor);
    for (size_t i = 0; i < count; i++) {
        struct mvcc_kv kv;

        record__to_kv(keyindex__next(&cursor), &kv);
        if (!visit(ctx, &kv))
            return false;
    }
    return true;
}
