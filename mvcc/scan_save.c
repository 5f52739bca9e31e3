/* What a scan sets aside before compaction removes it. A record that lives at the scan's revision R
 * is taken by removal for a compaction C if the change that superseded it is not newer than C; so
 * only keys that changed in (R, C] matter, and the index steps over stretches without such. */
#include <stdlib.h>

#include "base/mem.h"
#include "mvcc/scan_internal.h"

enum { BYTES_PER_LOOK = 256 };

static size_t copy_size(const struct record *copy)
{
    return mvcc__heap_size(MAX(record__size(copy), sizeof *copy));
}

static const struct record *copy(struct mvcc_scan *scan, const struct record *record)
{
    bool bare = (scan->range.flags & MVCC_KEYS_ONLY) != 0;
    size_t value_len = bare ? 0 : record->value_len;
    int64_t lease = record__lease(record);
    size_t head = RECORD_HEAD + record->key_len;
    size_t size = head + value_len + (record->leased ? sizeof lease : 0);
    struct record *out = xmalloc(MAX(size, sizeof *out));

    memcpy(out, record, head + value_len);
    out->value_len = (uint32_t)value_len & RECORD_VALUE_MAX;
    record__set_older(out, NULL);
    if (record->leased)
        memcpy(out->bytes + out->key_len + value_len, &lease, sizeof lease);
    scan->bytes += copy_size(out);
    return out;
}

/* What copying costs, in records looked at. */
static void pay(size_t *budget, const struct record *copied)
{
    size_t price = copied->value_len / BYTES_PER_LOOK;

    *budget -= MIN(*budget, price);
}

/* ---- lists: every record that is yet to be given ---- */

static bool is_to_come(const struct mvcc_scan *scan, size_t n)
{
    size_t given = mvcc__is_reversed_keys(&scan->range) ? scan->list.len - 1 - n : n;

    return given >= scan->found - scan->left && given < scan->found;
}

static bool save_list(struct mvcc_scan *scan, size_t budget)
{
    struct mvcc_records *list = &scan->list;

    for (; budget > 0 && scan->copies < list->len; budget--, scan->copies++) {
        const struct record *record = list->at[scan->copies];

        list->at[scan->copies] = NULL;
        if (!is_to_come(scan, scan->copies))
            continue;
        list->at[scan->copies] = copy(scan, record);
        pay(&budget, list->at[scan->copies]);
        budget = MAX(budget, 1);
    }
    if (scan->copies < list->len)
        return false;
    mvcc__scan_unpin(scan);
    return true;
}

/* ---- walks ---- */

static void begin(struct mvcc_scan *scan)
{
    for (size_t i = 0; i < scan->fresh.len; i++)
        scan->bytes -= copy_size(scan->fresh.at[i]);
    mvcc__records_free_copies(&scan->fresh);
    mvcc__place_copy(&scan->saver, &scan->taken);
    scan->saving = scan->mvcc->compact_revision;
}

/* A record that was superseded once is in one of the two only. */
static void merge_fresh(struct mvcc_scan *scan)
{
    struct mvcc_records *a = &scan->saved, *b = &scan->fresh;
    struct mvcc_records both = {.at = NULL};
    size_t i = 0, j = 0;

    while (i < a->len || j < b->len) {
        bool first = j == b->len ||
                     (i < a->len && slice_cmp(record__key(a->at[i]), record__key(b->at[j])) < 0);

        mvcc__records_push(&both, first ? a->at[i++] : b->at[j++]);
    }
    mvcc__records_release(a);
    mvcc__records_release(b);
    scan->saved = both;
}

/* What was measured ends where `measured` is. */
static bool is_wanted(const struct mvcc_scan *scan, const struct record *record)
{
    return mvcc__in_span(scan->range.span, record__key(record)) &&
           !mvcc__is_before(&scan->measured, record__key(record));
}

static bool save_walk(struct mvcc_scan *scan, size_t budget)
{
    const struct record *record, *resume;
    struct keyindex_cursor cursor;

    if (scan->saving != scan->mvcc->compact_revision)
        begin(scan);
    keyindex__seek(&scan->mvcc->index, mvcc__place_key(&scan->saver), scan->revision, &cursor);
    while ((record = keyindex__next_changed(&cursor, &budget, &resume)) != NULL) {
        if (!is_wanted(scan, record))
            break;
        if (!mvcc__is_before(&scan->saver, record__key(record)) ||
            record->superseded <= scan->safe || record->superseded > scan->saving)
            continue;
        mvcc__records_push(&scan->fresh, copy(scan, record));
        pay(&budget, record);
    }
    if (record == NULL && resume != NULL && is_wanted(scan, resume)) {
        mvcc__place_set(&scan->saver, record__key(resume), false);
        return false;
    }
    merge_fresh(scan);
    scan->safe = scan->saving;
    scan->saving = 0;
    return true;
}

bool mvcc_scan_is_safe(const struct mvcc_scan *scan)
{
    const struct mvcc *mvcc = scan->mvcc;

    if (scan->is_list)
        return !scan->pinned || !mvcc_compact_pending(mvcc);
    return scan->safe >= mvcc->compact_revision || scan->revision >= mvcc->compact_revision;
}

bool mvcc_scan_save(struct mvcc_scan *scan, size_t budget)
{
    if (mvcc_scan_is_safe(scan))
        return true;
    ASSERT(scan->state == MVCC_SCAN_READY);
    return scan->is_list ? save_list(scan, MAX(budget, 1)) : save_walk(scan, MAX(budget, 1));
}
