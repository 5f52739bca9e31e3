/* The watch checker: holds what one watcher was sent, over any number of streams, against what the
 * API promises (faults.md I5 and section 4 "Watch"). The simulator feeds it from inside, tests on
 * real processes through a file (tests/cluster/watchcheck.c).
 *
 *   ordered      revisions never fall, and nothing comes below what was wanted
 *   unique       no (revision, key) twice, over reconnects too
 *   reliable     from the first revision wanted to the last one spoken for, all that the history
 * holds for this span and these filters, and nothing else atomic       a revision comes whole; cut
 * up only into fragments, where they were asked for resumable    whoever asks again from
 * watch_check_next() on has no gap and no repetition bookmarkable after progress at r nothing at or
 * below r; r is never below what was seen
 *
 * The history comes from elsewhere than the watch: from reads at each revision. */
#ifndef KVD_TESTS_LIB_WATCH_CHECK_H
#define KVD_TESTS_LIB_WATCH_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "mvcc/watch.h"

/* One change of a key. Values are kept as a number, see watch_value(). */
struct watch_change {
    int64_t revision;
    struct slice key;
    bool is_delete;
    int64_t create, version; /* 0 of deletes */
    uint64_t value;
    int64_t prev; /* mod revision of what was there before; 0: nothing, or not told */
    uint64_t prev_value;
};

uint64_t watch_value(struct slice bytes);

/* All changes, in order. */
struct watch_history {
    struct watch_change *rows;
    size_t len, cap;
    struct arena keys;
};

void watch_history_init(struct watch_history *history);
void watch_history_release(struct watch_history *history);
/* Copies the key. Revisions must not fall. */
void watch_history_add(struct watch_history *history, const struct watch_change *change);
/* Revision of the last change; 1 if there is none: an empty store's. */
int64_t watch_history_last(const struct watch_history *history);
/* The last change of the key at or below the revision, or NULL. */
const struct watch_change *watch_history_at(const struct watch_history *history, struct slice key,
                                            int64_t revision);

struct watch_check;

struct watch_check_options {
    struct mvcc_span span; /* copied */
    int64_t start;         /* as in the first create request */
    int flags;             /* enum watch_flags */
    const char *name;      /* for reports; copied */
};

struct watch_check *watch_check_new(const struct watch_check_options *options);
void watch_check_free(struct watch_check *check);

/* What is sent, in the order of the stream. */
void watch_check_created(struct watch_check *check, int64_t header_revision);
void watch_check_events(struct watch_check *check, int64_t header_revision, bool fragment,
                        const struct watch_change *changes, size_t count);
void watch_check_progress(struct watch_check *check, int64_t header_revision);
/* Canceled with a compact revision. */
void watch_check_compacted(struct watch_check *check, int64_t compact_revision);
/* The stream is gone, or the watcher was canceled; another may follow. */
void watch_check_lost(struct watch_check *check);

/* Created has been read on this stream: progress of the whole stream speaks for it too. */
bool watch_check_is_created(const struct watch_check *check);
/* The start revision to go on with; 0: the first stream never got as far as to say created. */
int64_t watch_check_next(const struct watch_check *check);
/* Every promise up to watch_check_next() - 1. compacted: the highest compaction there was. */
void watch_check_whole(struct watch_check *check, const struct watch_history *history,
                       int64_t compacted);
/* The first broken promise, or "". */
const char *watch_check_problem(const struct watch_check *check);
size_t watch_check_seen(const struct watch_check *check);

#endif
