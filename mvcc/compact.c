/* Compaction's physical side. Its cost follows what changed since the last one, not the size of
 * the store: whatever a compaction to C makes superfluous is either the predecessor of a record in
 * (last, C] or a tombstone in [last, C). So a pass walks just that stretch of the log, ascending,
 * and so every predecessor it meets has lost its own predecessor already.
 *
 * One thing is left lying: a tombstone below C that was replaced above C. No read at C or later
 * can tell, and the pass that covers its successor takes it.
 *
 * After a pass, records move out of memory that has become mostly holes (see heap.h). */
#include "mvcc/internal.h"

enum { HISTORY_WALK_MAX = 1000 };

int mvcc_compact(struct mvcc *mvcc, int64_t revision)
{
    ASSERT(mvcc->txn == NULL);
    if (revision <= mvcc->compact_revision)
        return KV_ECOMPACTED;
    if (revision > mvcc->revision)
        return KV_EFUTURE;
    mvcc->compact_revision = revision;
    return 0;
}

void mvcc_pin(struct mvcc *mvcc)
{
    mvcc->pins++;
}

void mvcc_unpin(struct mvcc *mvcc)
{
    ASSERT(mvcc->pins > 0);
    mvcc->pins--;
}

bool mvcc_is_in_use(const struct mvcc *mvcc)
{
    return mvcc->pins > 0 || mvcc->scans > 0;
}

bool mvcc_is_pinned(const struct mvcc *mvcc)
{
    return mvcc->pins > 0;
}

bool mvcc_compact_pending(const struct mvcc *mvcc)
{
    return mvcc->compacted < mvcc->compact_revision || heap__evacuation_pending(&mvcc->heap);
}

/* Begins a pass if none is under way. A compaction requested during a pass gets one of its own, for
 * it drops the tombstones that the running one keeps at exactly its target. */
static void pass_begin(struct mvcc *mvcc)
{
    if (mvcc->pass_target > mvcc->compacted)
        return;
    mvcc->pass_target = mvcc->compact_revision;
    mvcc->pass_main = mvcc->compacted;
    mvcc->pass_sub = 0;
}

static void remove_older(struct mvcc *mvcc, struct record *record, struct revlog_pos *pos)
{
    struct record *older = record__older(record);

    ASSERT(record__older(older) == NULL);
    record__set_older(record, NULL);
    revlog__remove(&mvcc->log, older, pos);
    record__free(&mvcc->heap, older);
}

/* The tombstone of a key that has not come back since: the key goes altogether. */
static bool is_spent(const struct mvcc *mvcc, const struct record *record)
{
    return record__is_tombstone(record) && record->main < mvcc->pass_target &&
           record->superseded == INT64_MAX;
}

/* Goes on with the pass as far as the budget allows; false: it is through. */
static bool pass_step(struct mvcc *mvcc, size_t *budget)
{
    struct revlog_pos pos = revlog__seek(&mvcc->log, mvcc->pass_main, mvcc->pass_sub);
    struct record *record;
    size_t part;

    revlog__settle(&mvcc->log, &pos);
    part = pos.part;
    while (*budget > 0 && (record = revlog__next(&mvcc->log, &pos)) != NULL) {
        if (record->main > mvcc->pass_target)
            return false;
        if (pos.part != part)
            revlog__settle(&mvcc->log, &pos);
        mvcc->pass_main = record->main;
        mvcc->pass_sub = record->sub + 1;
        --*budget;
        if (record__older(record) != NULL)
            remove_older(mvcc, record, &pos);
        part = pos.part;
        if (is_spent(mvcc, record)) {
            keyindex__remove(&mvcc->index, record__key(record));
            revlog__remove(&mvcc->log, record, &pos);
            record__free(&mvcc->heap, record);
        }
        pos.slot++;
    }
    return *budget == 0;
}

/* Moves a record, unless the pointer to it is too far to look for: at the end of a long history. */
static void move(struct mvcc *mvcc, struct record *record)
{
    struct record *newer = keyindex__get(&mvcc->index, record__key(record));
    struct record *clone;

    if (newer != record) {
        for (int i = 0; i < HISTORY_WALK_MAX && record__older(newer) != record; i++)
            newer = record__older(newer);
        if (record__older(newer) != record)
            return;
    }
    clone = record__clone(&mvcc->heap, record);
    if (newer == record)
        keyindex__move(&mvcc->index, clone);
    else
        record__set_older(newer, clone);
    revlog__move(&mvcc->log, record, clone);
    record__free(&mvcc->heap, record);
}

static void evacuate(struct mvcc *mvcc, size_t *budget)
{
    struct record *record;

    for (; *budget > 0 && (record = heap__victim(&mvcc->heap)) != NULL; --*budget)
        move(mvcc, record);
}

bool mvcc_compact_step(struct mvcc *mvcc, size_t records)
{
    size_t budget = MAX(records, 1);

    ASSERT(mvcc->txn == NULL);
    while (mvcc->pins == 0 && budget > 0 && mvcc_compact_pending(mvcc)) {
        if (mvcc->compacted == mvcc->compact_revision) {
            evacuate(mvcc, &budget);
            continue;
        }
        pass_begin(mvcc);
        if (!pass_step(mvcc, &budget)) {
            mvcc->compacted = mvcc->pass_target;
            heap__evacuation_begin(&mvcc->heap);
        }
    }
    return mvcc_compact_pending(mvcc);
}
