/* Sorting in slices: short runs by qsort, then merged pairwise, from one array into the other. */
#include <stdlib.h>

#include "base/mem.h"
#include "mvcc/scan_internal.h"

enum { RUN = 64 }; /* records sorted in one go */

static void sort_runs(struct mvcc_scan *scan, size_t budget)
{
    struct mvcc_records *list = &scan->list;

    for (size_t done = 0; done < budget && scan->low < list->len; done += RUN) {
        qsort_r(list->at + scan->low, MIN((size_t)RUN, list->len - scan->low), sizeof *list->at,
                mvcc__compare_records, &scan->range);
        scan->low += RUN;
    }
    if (scan->low < list->len)
        return;
    scan->spare.at = xmalloc(MAX(list->len, 1) * sizeof *list->at);
    scan->spare.cap = list->len;
    scan->run = RUN;
    scan->low = 0;
    scan->i = scan->j = 0;
    scan->state = MVCC_SCAN_MERGE;
}

/* The next record of the two runs at low. */
static const struct record *merge_next(struct mvcc_scan *scan)
{
    const struct mvcc_records *list = &scan->list;
    size_t left = scan->low + scan->i, middle = MIN(scan->low + scan->run, list->len);
    size_t right = middle + scan->j, end = MIN(scan->low + 2 * scan->run, list->len);
    bool take_left;

    if (left == middle || right == end)
        take_left = left < middle;
    else
        take_left = mvcc__compare_records(&list->at[left], &list->at[right], &scan->range) <= 0;
    if (take_left)
        scan->i++;
    else
        scan->j++;
    return list->at[take_left ? left : right];
}

static void swap_lists(struct mvcc_scan *scan)
{
    struct mvcc_records merged = scan->spare;

    scan->spare = scan->list;
    scan->list = merged;
    scan->spare.len = 0;
    scan->run *= 2;
    scan->low = 0;
}

static void merge(struct mvcc_scan *scan, size_t budget)
{
    for (; budget > 0 && scan->run < scan->list.len; budget--) {
        scan->spare.at[scan->spare.len++] = merge_next(scan);
        if (scan->i + scan->j == MIN(2 * scan->run, scan->list.len - scan->low)) {
            scan->low += 2 * scan->run;
            scan->i = scan->j = 0;
        }
        if (scan->spare.len == scan->list.len)
            swap_lists(scan);
    }
    if (scan->run < scan->list.len)
        return;
    mvcc__records_release(&scan->spare);
    scan->state = MVCC_SCAN_READY;
}

bool mvcc_scan_prepare(struct mvcc_scan *scan, size_t budget)
{
    switch (scan->state) {
    case MVCC_SCAN_COLLECT:
        if (mvcc__scan_collect(scan, budget))
            scan->state = scan->range.target == MVCC_BY_KEY ? MVCC_SCAN_READY : MVCC_SCAN_RUNS;
        break;
    case MVCC_SCAN_RUNS:
        sort_runs(scan, budget);
        break;
    case MVCC_SCAN_MERGE:
        merge(scan, budget);
        break;
    case MVCC_SCAN_READY:
        break;
    }
    return scan->state == MVCC_SCAN_READY;
}
