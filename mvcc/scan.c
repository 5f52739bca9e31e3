#include "mvcc/scan.h"

#include <stdlib.h>

#include "base/mem.h"
#include "mvcc/scan_internal.h"

enum { BATCH = 256 }; /* records between two seeks */

/* ---- places and lists ---- */

void mvcc__place_set(struct mvcc_place *place, struct slice key, bool behind)
{
    if (key.len > place->cap) {
        place->cap = key.len * 2;
        place->key = xrealloc(place->key, place->cap);
    }
    if (key.len > 0)
        memcpy(place->key, key.data, key.len);
    place->len = key.len;
    place->behind = behind;
}

struct slice mvcc__place_key(const struct mvcc_place *place)
{
    return slice_of(place->key, place->len);
}

void mvcc__place_copy(struct mvcc_place *to, const struct mvcc_place *from)
{
    mvcc__place_set(to, mvcc__place_key(from), from->behind);
}

bool mvcc__is_before(const struct mvcc_place *place, struct slice key)
{
    int order = slice_cmp(mvcc__place_key(place), key);

    return order < 0 || (order == 0 && !place->behind);
}

void mvcc__records_push(struct mvcc_records *records, const struct record *record)
{
    if (records->len == records->cap) {
        records->cap = MAX(2 * records->cap, (size_t)BATCH);
        records->at = xrealloc(records->at, records->cap * sizeof *records->at);
    }
    records->at[records->len++] = record;
}

void mvcc__records_release(struct mvcc_records *records)
{
    free(records->at);
    *records = (struct mvcc_records){.at = NULL};
}

void mvcc__records_free_copies(struct mvcc_records *records)
{
    for (size_t i = 0; i < records->len; i++)
        free((void *)(uintptr_t)records->at[i]);
    mvcc__records_release(records);
}

/* ---- walking ---- */

bool mvcc__in_span(struct mvcc_span span, struct slice key)
{
    if (mvcc__span_is_point(span))
        return slice_eq(span.key, key);
    return mvcc__span_is_unbounded(span) || slice_cmp(key, span.end) < 0;
}

/* The first of the saved records that lies behind the place. */
static size_t saved_from(const struct mvcc_scan *scan, const struct mvcc_place *place)
{
    size_t low = 0, high = scan->saved.len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (mvcc__is_before(place, record__key(scan->saved.at[middle])))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The index lacks what compaction has taken; the saved records may repeat what it has not yet. */
static const struct record *next_of_both(struct keyindex_cursor *cursor,
                                         const struct record **indexed, const struct record *saved)
{
    const struct record *next;
    int order;

    if (*indexed == NULL)
        *indexed = keyindex__next(cursor);
    if (*indexed == NULL)
        return saved;
    order = saved == NULL ? -1 : slice_cmp(record__key(*indexed), record__key(saved));
    next = order <= 0 ? *indexed : saved;
    if (order <= 0)
        *indexed = NULL;
    return next;
}

/* The next n records behind the place; the caller knows that there are so many. */
static void walk(const struct mvcc_scan *scan, const struct mvcc_place *place,
                 const struct record **out, size_t n)
{
    const struct record *indexed;
    struct keyindex_cursor cursor;
    size_t saved_at = saved_from(scan, place);

    keyindex__seek(&scan->mvcc->index, mvcc__place_key(place), scan->revision, &cursor);
    indexed = keyindex__next(&cursor);
    if (indexed != NULL && !mvcc__is_before(place, record__key(indexed)))
        indexed = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct record *saved = saved_at < scan->saved.len ? scan->saved.at[saved_at] : NULL;

        out[i] = next_of_both(&cursor, &indexed, saved);
        ASSERT(out[i] != NULL);
        if (saved != NULL && slice_eq(record__key(saved), record__key(out[i])))
            saved_at++;
    }
    ASSERT(n == 0 || mvcc__in_span(scan->range.span, record__key(out[n - 1])));
}

/* ---- begin and end ---- */

/* The last keys of the span, when only they are wanted and the newest revision is. */
static void collect_from_the_end(struct mvcc_scan *scan)
{
    const struct keyindex *index = &scan->mvcc->index;
    size_t len = mvcc__limited(&scan->range, (size_t)scan->count);
    struct keyindex_cursor cursor;

    keyindex__seek_rank(
        index, keyindex__rank(index, scan->range.span.key) + (size_t)scan->count - len, &cursor);
    mvcc__place_set(&scan->measured, record__key(keyindex__next(&cursor)), false);
    scan->unseen = len;
}

bool mvcc_range_is_walk(const struct mvcc_range *range)
{
    return range->target == MVCC_BY_KEY && range->order != MVCC_ORDER_DESCEND &&
           !mvcc__has_filters(range);
}

static void plan(struct mvcc_scan *scan, bool newest)
{
    const struct mvcc_range *range = &scan->range;
    bool by_key = range->target == MVCC_BY_KEY;

    mvcc__place_set(&scan->taken, range->span.key, false);
    mvcc__place_set(&scan->measured, range->span.key, false);
    scan->is_list = !mvcc_range_is_walk(range);
    scan->state = scan->is_list ? MVCC_SCAN_COLLECT : MVCC_SCAN_READY;
    if (scan->count == 0 || (range->flags & MVCC_COUNT_ONLY))
        return;
    if (mvcc__has_filters(range))
        scan->unseen = (size_t)scan->count;
    else if (!scan->is_list)
        scan->unseen = mvcc__limited(range, (size_t)scan->count);
    else if (by_key && newest)
        collect_from_the_end(scan);
    else
        scan->unseen = mvcc__first_only(range, (size_t)scan->count);
}

int mvcc_scan_begin(struct mvcc *mvcc, const struct mvcc_range *range, struct mvcc_scan *scan)
{
    int64_t revision;
    bool newest;
    int rc;

    ASSERT(mvcc->txn == NULL);
    rc = mvcc__resolve(mvcc, range->revision, &revision);
    if (rc != 0)
        return rc;
    newest = revision == mvcc->revision;
    *scan = (struct mvcc_scan){
        .mvcc = mvcc, .range = *range, .revision = revision, .safe = mvcc->compact_revision};
    scan->count =
        (int64_t)keyindex__count(&mvcc->index, range->span, newest ? INT64_MAX : revision);
    plan(scan, newest);
    mvcc->scans++;
    if (scan->is_list) {
        mvcc_pin(mvcc);
        scan->pinned = true;
    }
    return 0;
}

void mvcc__scan_unpin(struct mvcc_scan *scan)
{
    if (scan->pinned)
        mvcc_unpin(scan->mvcc);
    scan->pinned = false;
}

void mvcc_scan_end(struct mvcc_scan *scan)
{
    if (scan->mvcc == NULL)
        return;
    mvcc__scan_unpin(scan);
    scan->mvcc->scans--;
    scan->list.len = scan->copies; /* the others are the store's */
    mvcc__records_free_copies(&scan->list);
    mvcc__records_release(&scan->spare);
    mvcc__records_free_copies(&scan->saved);
    mvcc__records_free_copies(&scan->fresh);
    free(scan->taken.key);
    free(scan->measured.key);
    free(scan->saver.key);
    *scan = (struct mvcc_scan){.mvcc = NULL};
}

size_t mvcc_scan_bytes(const struct mvcc_scan *scan)
{
    size_t pointers = scan->list.cap + scan->spare.cap + scan->saved.cap + scan->fresh.cap;

    return scan->bytes + pointers * sizeof(struct record *);
}

/* ---- giving ---- */

/* At most a batch of the next n. */
static size_t walk_to_kvs(const struct mvcc_scan *scan, const struct mvcc_place *place,
                          struct mvcc_kv *kvs, size_t n)
{
    const struct record *batch[BATCH];

    n = MIN(n, (size_t)BATCH);
    walk(scan, place, batch, n);
    for (size_t i = 0; i < n; i++)
        mvcc__emit(&scan->range, batch[i], &kvs[i]);
    return n;
}

/* As it is given, the limit not yet applied. */
static const struct record *list_at(const struct mvcc_scan *scan, size_t n)
{
    bool reversed = mvcc__is_reversed_keys(&scan->range);

    return scan->list.at[reversed ? scan->list.len - 1 - n : n];
}

bool mvcc__scan_collect(struct mvcc_scan *scan, size_t budget)
{
    const struct record *batch[BATCH];
    size_t n = MIN(MIN(budget, (size_t)BATCH), scan->unseen);

    walk(scan, &scan->measured, batch, n);
    for (size_t i = 0; i < n; i++)
        if (mvcc__passes(&scan->range, batch[i]))
            mvcc__records_push(&scan->list, batch[i]);
    if (n > 0)
        mvcc__place_set(&scan->measured, record__key(batch[n - 1]), true);
    scan->unseen -= n;
    return scan->unseen == 0;
}

static size_t measure_list(struct mvcc_scan *scan, struct mvcc_kv *kvs, size_t max, bool *done)
{
    size_t len = mvcc__limited(&scan->range, scan->list.len);
    size_t n = MIN(max, len - scan->found);

    for (size_t i = 0; i < n; i++)
        mvcc__emit(&scan->range, list_at(scan, scan->found + i), &kvs[i]);
    scan->found += n;
    *done = scan->found == len;
    return n;
}

static size_t measure_walk(struct mvcc_scan *scan, struct mvcc_kv *kvs, size_t max, bool *done)
{
    size_t n = MIN(max, scan->unseen);

    n = walk_to_kvs(scan, &scan->measured, kvs, n);
    if (n > 0)
        mvcc__place_set(&scan->measured, kvs[n - 1].key, true);
    scan->unseen -= n;
    scan->found += n;
    *done = scan->unseen == 0;
    return n;
}

static bool left_out(const struct mvcc_scan *scan)
{
    if (scan->range.flags & MVCC_COUNT_ONLY)
        return false;
    if (mvcc__has_filters(&scan->range))
        return scan->found < scan->list.len;
    return (int64_t)scan->found < scan->count;
}

size_t mvcc_scan_measure(struct mvcc_scan *scan, struct mvcc_kv *kvs, size_t max, bool *done)
{
    size_t n;

    ASSERT(scan->state == MVCC_SCAN_READY);
    ASSERT(max > 0);
    n = scan->is_list ? measure_list(scan, kvs, max, done) : measure_walk(scan, kvs, max, done);
    scan->left += n;
    if (*done) {
        scan->len = scan->found;
        scan->more = left_out(scan);
    }
    return n;
}

static size_t peek_list(const struct mvcc_scan *scan, struct mvcc_kv *kvs, size_t max)
{
    size_t taken = scan->found - scan->left;

    for (size_t i = 0; i < max; i++)
        mvcc__emit(&scan->range, list_at(scan, taken + i), &kvs[i]);
    return max;
}

size_t mvcc_scan_peek(const struct mvcc_scan *scan, struct mvcc_kv *kvs, size_t max)
{
    size_t n = MIN(max, scan->left);

    if (n == 0)
        return 0;
    return scan->is_list ? peek_list(scan, kvs, n) : walk_to_kvs(scan, &scan->taken, kvs, n);
}

void mvcc_scan_take(struct mvcc_scan *scan, const struct mvcc_kv *kvs, size_t n)
{
    ASSERT(n <= scan->left);
    if (n == 0)
        return;
    if (!scan->is_list)
        mvcc__place_set(&scan->taken, kvs[n - 1].key, true);
    scan->left -= n;
}
