/* The state as a list of changes, and a store made from such a list. */
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

void mvcc_history_end(struct mvcc_history *history)
{
    if (history->mvcc == NULL)
        return;
    mvcc_unpin(history->mvcc);
    history->mvcc = NULL;
}

/* ---- loading ---- */

static bool is_ascending(const struct mvcc *mvcc, const struct mvcc_change *change)
{
    /* While loading, the revision is that of the last change and pass_sub its number. */
    int64_t last = mvcc->revision;

    return change->kv.mod_revision > last ||
           (change->kv.mod_revision == last && mvcc->pass_sub > 0 && change->sub >= mvcc->pass_sub);
}

static bool is_possible(const struct mvcc_change *change)
{
    const struct mvcc_kv *kv = &change->kv;

    if (kv->key.len == 0 || kv->key.len > UINT32_MAX || kv->value.len > RECORD_VALUE_MAX)
        return false;
    return change->is_tombstone ||
           (kv->create_revision > 0 && kv->create_revision <= kv->mod_revision && kv->version > 0);
}

/* A put carries what follows from the key's change before it, where that is still there. */
static bool follows(const struct record *old, const struct mvcc_change *change)
{
    const struct mvcc_kv *kv = &change->kv;

    if (old == NULL || change->is_tombstone)
        return true;
    if (record__is_tombstone(old))
        return kv->version == 1 && kv->create_revision == kv->mod_revision;
    return kv->version == old->version + 1 && kv->create_revision == old->create;
}

static struct record *make_record(struct mvcc *mvcc, const struct mvcc_change *change)
{
    const struct mvcc_kv *kv = &change->kv;
    struct record *record;

    if (change->is_tombstone)
        return record__tombstone(&mvcc->heap, kv->mod_revision, change->sub, kv->key);
    record = record__put(&mvcc->heap, kv->mod_revision, change->sub, kv->key, kv->value, kv->lease);
    record->create = kv->create_revision;
    record->version = kv->version;
    return record;
}

int mvcc_load(struct mvcc *mvcc, const struct mvcc_change *change)
{
    struct record *record, *old;

    if (!is_ascending(mvcc, change) || !is_possible(change))
        return KV_ECORRUPT;
    record = make_record(mvcc, change);
    old = keyindex__put(&mvcc->index, record); /* a search costs more than all the rest */
    if (!follows(old, change)) {
        (void)keyindex__put(&mvcc->index, old); /* as it was */
        record__free(&mvcc->heap, record);
        return KV_ECORRUPT;
    }
    mvcc__chain(mvcc, record, old);
    mvcc->revision = change->kv.mod_revision;
    mvcc->pass_sub = change->sub + 1;
    return 0;
}

int mvcc_load_end(struct mvcc *mvcc, int64_t revision, int64_t compact_revision)
{
    if (revision < mvcc->revision || compact_revision > revision || compact_revision < -1)
        return KV_ECORRUPT;
    mvcc->revision = revision;
    mvcc->compact_revision = compact_revision;
    mvcc->compacted = compact_revision;
    mvcc->pass_target = compact_revision;
    mvcc->pass_sub = 0;
    return 0;
}
