/* The newest record of every key, in key order: a B+-tree whose inner nodes know of each child how
 * many of its keys are live and when it last changed. So a count or the n-th key costs O(log n),
 * and so does a count at an old revision for every stretch that has not changed since.
 *
 * Keys are not copied: leaves point to records. What makes that fast is that a node keeps four
 * bytes of each key behind the prefix that all its keys share, so that a search reads the node and
 * then, mostly, one record.
 *
 * A deleted key stays, as its tombstone, until compaction takes it out. Shared inside mvcc/ only.
 */
#ifndef KVD_MVCC_KEYINDEX_H
#define KVD_MVCC_KEYINDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mvcc/mvcc.h"
#include "mvcc/record.h"

struct node;

enum { KEYINDEX_LEVELS_MAX = 16 }; /* nodes other than the root hold 16 on average at the worst */

struct keyindex {
    struct node *root; /* never NULL */
    unsigned height;   /* level of the root; leaves are level 0 */
    size_t live;
    size_t bytes;
    int64_t newest; /* no record ever put was newer */
};

void keyindex__init(struct keyindex *index);
void keyindex__release(struct keyindex *index);

/* NULL: no such key. May be a tombstone. */
struct record *keyindex__get(const struct keyindex *index, struct slice key);
/* Makes record the newest of its key; returns the one that was, or NULL. */
struct record *keyindex__put(struct keyindex *index, struct record *record);
/* The newest record of a key that is there has moved. */
void keyindex__move(struct keyindex *index, struct record *record);
/* Takes out a key that is there, and whose newest record is a tombstone. */
void keyindex__remove(struct keyindex *index, struct slice key);

static inline bool mvcc__span_is_point(struct mvcc_span span)
{
    return span.end.len == 0;
}

static inline bool mvcc__span_is_unbounded(struct mvcc_span span)
{
    return span.end.len == 1 && span.end.data[0] == 0;
}

/* Keys of the span that live at a revision; INT64_MAX for now. */
size_t keyindex__count(const struct keyindex *index, struct mvcc_span span, int64_t revision);
/* Live keys below key, now. */
size_t keyindex__rank(const struct keyindex *index, struct slice key);

/* Walks the keys that live at a revision, in key order; INT64_MAX for now. The index must not
 * change meanwhile, but for keyindex__bury(). */
struct keyindex_cursor {
    const struct keyindex *index;
    int64_t revision;
    struct node *path[KEYINDEX_LEVELS_MAX]; /* by level */
    uint8_t at[KEYINDEX_LEVELS_MAX];        /* in each of them, behind what was last entered */
    bool current[KEYINDEX_LEVELS_MAX];      /* nothing in the node changed after revision */
    bool end;
};

/* Before the first key >= key. */
void keyindex__seek(const struct keyindex *index, struct slice key, int64_t revision,
                    struct keyindex_cursor *cursor);
/* Before the live key number `rank`, counted from 0; now. */
void keyindex__seek_rank(const struct keyindex *index, size_t rank, struct keyindex_cursor *cursor);
/* The record of the next key that lives at the cursor's revision; NULL: no more. */
const struct record *keyindex__next(struct keyindex_cursor *cursor);
/* Instead: the record, living at the cursor's revision, of the next key that has changed since.
 * Stretches that have not changed are stepped over. *budget is the keys that may be looked at; once
 * it is 0 the answer is NULL although there may be more: then *resume, which is else NULL, is a
 * record of the key to seek. */
const struct record *keyindex__next_changed(struct keyindex_cursor *cursor, size_t *budget,
                                            const struct record **resume);
/* Replaces the record that keyindex__next() gave last, on a walk of what lives now, by the
 * tombstone of the same key; returns it. */
struct record *keyindex__bury(struct keyindex *index, struct keyindex_cursor *cursor,
                              struct record *tombstone);

/* Walks the whole tree and aborts where an invariant is broken; for tests. */
void keyindex__check(const struct keyindex *index);

#endif
