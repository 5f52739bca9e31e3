/* What scan.c, scan_sort.c and scan_save.c share. */
#ifndef KVD_MVCC_SCAN_INTERNAL_H
#define KVD_MVCC_SCAN_INTERNAL_H

#include "mvcc/internal.h"
#include "mvcc/scan.h"

void mvcc__place_set(struct mvcc_place *place, struct slice key, bool behind);
void mvcc__place_copy(struct mvcc_place *to, const struct mvcc_place *from);
struct slice mvcc__place_key(const struct mvcc_place *place);
/* The key lies behind the place. */
bool mvcc__is_before(const struct mvcc_place *place, struct slice key);
/* A key that is not before the span lies in it. */
bool mvcc__in_span(struct mvcc_span span, struct slice key);

void mvcc__records_push(struct mvcc_records *records, const struct record *record);
void mvcc__records_release(struct mvcc_records *records);
/* With what they point to. */
void mvcc__records_free_copies(struct mvcc_records *records);

/* One batch of what mvcc_scan_prepare() collects; true when done. */
bool mvcc__scan_collect(struct mvcc_scan *scan, size_t budget);
void mvcc__scan_unpin(struct mvcc_scan *scan);

#endif
