/* A range in slices: the same records as mvcc_range() gives, of one revision, while writes and
 * compactions go on in between. For answers that are long, or whose reader is slow.
 *
 *     begin ─▶ prepare, until done ─▶ measure, until 0 ─▶ peek and take, until 0 ─▶ end
 *
 * In key order a scan holds nothing of the store: it knows the last key and looks for the next. So
 * that compaction can go on, whoever removes first lets each scan set aside what it will need and
 * removal would take: mvcc_scan_save(). That is only what was overwritten since the scan began.
 *
 * Other orders, and filters, need all their records at once: the scan then has pointers to them and
 * a pin, until mvcc_scan_save() replaces them by copies.
 *
 * Loop thread. The store outlives the scan. */
#ifndef KVD_MVCC_SCAN_H
#define KVD_MVCC_SCAN_H

#include "mvcc/mvcc.h"

struct record;

/* Between two keys: before the key, or behind it. */
struct mvcc_place {
    uint8_t *key;
    size_t len, cap;
    bool behind;
};

struct mvcc_records {
    const struct record **at;
    size_t len, cap;
};

struct mvcc_scan {
    struct mvcc *mvcc;
    struct mvcc_range range; /* span borrowed until end */
    int64_t revision;        /* what is read */
    int64_t count;           /* keys in the span at that revision, before limit and filters */
    /* Known once all is measured. */
    size_t len; /* records given */
    bool more;  /* the limit left some out */

    /* Internal. */
    enum { MVCC_SCAN_COLLECT, MVCC_SCAN_RUNS, MVCC_SCAN_MERGE, MVCC_SCAN_READY } state;
    struct mvcc_place taken;    /* what was taken lies before it */
    struct mvcc_place measured; /* as is what was measured, or collected */
    size_t unseen;              /* keys behind `measured` that are to be looked at */
    size_t found;               /* measured so far */
    size_t left;                /* of them to be taken */
    bool is_list;
    bool pinned;
    struct mvcc_records list, spare;
    size_t run, low, i, j; /* of the sorting: length of sorted runs, where in them it is */
    size_t copies;         /* how many of the list's records are copies */

    int64_t safe;              /* removal for a compaction up to here takes nothing of ours */
    struct mvcc_records saved; /* copies, in key order */
    size_t bytes;              /* of copies */
    int64_t saving;            /* for this compaction; 0: not under way */
    struct mvcc_place saver;
    struct mvcc_records fresh;
};

/* It is read in key order, and so without a pin. */
bool mvcc_range_is_walk(const struct mvcc_range *range);

/* KV_EFUTURE or KV_ECOMPACTED: nothing has begun. O(log n), as a count. */
int mvcc_scan_begin(struct mvcc *mvcc, const struct mvcc_range *range, struct mvcc_scan *scan);
/* Always after a begin that returned 0; harmless if repeated. */
void mvcc_scan_end(struct mvcc_scan *scan);

/* Collects and sorts, for about `budget` records; true when done, and at once in key order. */
bool mvcc_scan_prepare(struct mvcc_scan *scan, size_t budget);
/* The next records that will be given, at most max, for whoever must know their sizes before; looks
 * at no more than max records. *done: there will be no more; it may come with the last ones. */
size_t mvcc_scan_measure(struct mvcc_scan *scan, struct mvcc_kv *kvs, size_t max, bool *done);
/* The next records that have not been taken and were measured, at most max; 0: no more. They are
 * valid until the next change of the store or call of scan_save(). */
size_t mvcc_scan_peek(const struct mvcc_scan *scan, struct mvcc_kv *kvs, size_t max);
/* The first n of those that peek gave. */
void mvcc_scan_take(struct mvcc_scan *scan, const struct mvcc_kv *kvs, size_t n);

/* False: mvcc_compact_step() must not be called now, mvcc_scan_save() has to be. Prepare and
 * measure first: before, there is nothing that could be saved. */
bool mvcc_scan_is_safe(const struct mvcc_scan *scan);
/* Sets aside what removal for the compactions made so far would take, looking at about `budget`
 * records; true when the scan is safe. */
bool mvcc_scan_save(struct mvcc_scan *scan, size_t budget);
/* Memory of its own. */
size_t mvcc_scan_bytes(const struct mvcc_scan *scan);

#endif
