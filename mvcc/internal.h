/* The store itself, for the files of mvcc/. */
#ifndef KVD_MVCC_INTERNAL_H
#define KVD_MVCC_INTERNAL_H

#include "mvcc/keyindex.h"
#include "mvcc/mvcc.h"
#include "mvcc/record.h"
#include "mvcc/revlog.h"

/* Changes that mvcc_load() has taken and mvcc_load_end() will put in their places. */
struct mvcc_loading {
    struct record **records;
    size_t len, cap;
    bool shuffled; /* not ascending by key */
};

struct mvcc {
    int64_t revision;
    int64_t compact_revision;   /* what readers see; -1: never */
    const struct mvcc_txn *txn; /* the one under way, or NULL */
    struct keyindex index;      /* the newest record of each key */
    struct revlog log;          /* all records */
    struct heap heap;           /* their memory */
    size_t live_bytes;          /* what the newest live records need, see mvcc_bytes_in_use() */
    uint64_t effects;           /* see mvcc_take_effects() */

    int64_t compacted;   /* what compaction's removal has finished; -1: none */
    int64_t pass_target; /* what it is busy with, or `compacted` */
    int64_t pass_main;   /* where it goes on */
    uint32_t pass_sub;
    unsigned pins;  /* nothing may be removed or moved */
    unsigned scans; /* under way, with or without a pin */
    struct mvcc_loading loading;
};

/* The revision that reads see as the newest: inside a transaction, its own once it changed
 * something. */
int64_t mvcc__now(const struct mvcc *mvcc);
/* Turns the revision of a request into the one to read at; 0, KV_EFUTURE or KV_ECOMPACTED. */
int mvcc__resolve(const struct mvcc *mvcc, int64_t requested, int64_t *out);
/* Puts a record that the index already has behind the one it replaces, and into the log. */
void mvcc__chain(struct mvcc *mvcc, struct record *record, struct record *old);
/* The first half of that. */
void mvcc__link(struct mvcc *mvcc, struct record *record, struct record *old);
void mvcc__loading_release(struct mvcc_loading *loading);

/* ---- what is in a range (range.c) ---- */

bool mvcc__has_filters(const struct mvcc_range *range);
bool mvcc__passes(const struct mvcc_range *range, const struct record *record);
bool mvcc__is_default_order(const struct mvcc_range *range);
bool mvcc__is_reversed_keys(const struct mvcc_range *range);
/* How many of n the limit lets through. */
size_t mvcc__limited(const struct mvcc_range *range, size_t n);
/* How many of the count keys of the span are looked at, if it is not known otherwise. */
size_t mvcc__first_only(const struct mvcc_range *range, size_t count);
void mvcc__emit(const struct mvcc_range *range, const struct record *record, struct mvcc_kv *out);
/* For qsort_r() of pointers to records; arg is the range. Ties in key order in both directions. */
int mvcc__compare_records(const void *a, const void *b, void *arg);

/* A place in the revision log as a number, for walks in slices. Places stay while pinned. */
static inline struct revlog_pos mvcc__pos_of(size_t position)
{
    return (struct revlog_pos){position / (REVLOG_PART_SLOTS + 1),
                               position % (REVLOG_PART_SLOTS + 1)};
}

static inline size_t mvcc__position_of(struct revlog_pos pos)
{
    return pos.part * (REVLOG_PART_SLOTS + 1) + pos.slot;
}

#endif
