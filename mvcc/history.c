/* The state as a list of changes. */
#include "base/util.h"
#include "mvcc/internal.h"

/* Superseded at or below the compaction, or a tombstone below it: no read from there on can tell
 * that it was there (etcd-api.md 5.6). */
static bool is_condemned(const struct record *record, int64_t compact_revision)
{
    return record->superseded <= compact_revision ||
           (record__is_tombstone(record) && record->main < compact_revision);
}

void mvcc_history_begin(struct mvcc *mvcc, struct mvcc_history *history)
{
    ASSERT(mvcc->txn == NULL);
    *history = (struct mvcc_history){
        .mvcc = mvcc,
        .revision = mvcc->revision,
        .compact_revision = mvcc->compact_revision,
    };
    mvcc_pin(mvcc);
}

bool mvcc_history_next(struct mvcc_history *history, struct mvcc_change *out)
{
    struct revlog_pos pos = mvcc__pos_of(history->position);
    const struct record *record;

    while ((record = revlog__next(&history->mvcc->log, &pos)) != NULL &&
           is_condemned(record, history->compact_revision))
        pos.slot++;
    if (record == NULL || record->main > history->revision) {
        history->position = mvcc__position_of(pos);
        return false;
    }
    pos.slot++;
    history->position = mvcc__position_of(pos);
    record__to_kv(record, &out->kv);
    out->sub = record->sub;
    out->is_tombstone = record__is_tombstone(record);
    return true;
}

void mvcc_history_rewind(struct mvcc_history *history)
{
    ASSERT(history->mvcc != NULL);
    history->position = 0;
}

void mvcc_history_end(struct mvcc_history *history)
{
    if (history->mvcc == NULL)
        return;
    mvcc_unpin(history->mvcc);
    history->mvcc = NULL;
}
