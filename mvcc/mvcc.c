#include <stdlib.h>

#include "base/crc32c.h"
#include "base/hash.h"
#include "base/mem.h"
#include "mvcc/internal.h"

enum {
    FIRST_REVISION = 1,
    /* A record's share of the log, and a live key's of the index, for what is held and in use:
     * fixed figures, so that these do not depend on what the trees look like. */
    LOG_SHARE = 8,
    INDEX_SHARE = 20,
};

struct mvcc *mvcc_new(uint64_t seed)
{
    struct mvcc *mvcc = xcalloc(1, sizeof *mvcc);

    (void)seed; /* the tree balances itself without randomness */
    mvcc->revision = FIRST_REVISION;
    mvcc->compact_revision = -1;
    mvcc->compacted = -1;
    mvcc->pass_target = -1;
    heap__init(&mvcc->heap);
    keyindex__init(&mvcc->index);
    revlog__init(&mvcc->log);
    return mvcc;
}

void mvcc_free(struct mvcc *mvcc)
{
    struct revlog_pos pos = {0, 0};
    struct record *record;

    if (mvcc == NULL)
        return;
    mvcc__loading_release(&mvcc->loading);
    keyindex__release(&mvcc->index);
    for (; (record = revlog__next(&mvcc->log, &pos)) != NULL; pos.slot++)
        record__free(&mvcc->heap, record);
    revlog__release(&mvcc->log);
    heap__release(&mvcc->heap);
    free(mvcc);
}

int64_t mvcc_revision(const struct mvcc *mvcc)
{
    return mvcc->revision;
}

int64_t mvcc_compact_revision(const struct mvcc *mvcc)
{
    return mvcc->compact_revision;
}

size_t mvcc_key_count(const struct mvcc *mvcc)
{
    return mvcc->index.live;
}

size_t mvcc_bytes(const struct mvcc *mvcc)
{
    return mvcc__heap_size(sizeof *mvcc) + mvcc->heap.bytes + mvcc->index.bytes +
           revlog__bytes(&mvcc->log);
}

size_t mvcc_bytes_held(const struct mvcc *mvcc)
{
    return mvcc->heap.taken + mvcc->heap.live * LOG_SHARE + mvcc->index.live * INDEX_SHARE;
}

size_t mvcc_bytes_in_use(const struct mvcc *mvcc)
{
    return mvcc->live_bytes;
}

int64_t mvcc__now(const struct mvcc *mvcc)
{
    return mvcc->txn != NULL ? mvcc_txn_revision(mvcc->txn) : mvcc->revision;
}

int mvcc__resolve(const struct mvcc *mvcc, int64_t requested, int64_t *out)
{
    int64_t now = mvcc__now(mvcc);

    if (requested > now)
        return KV_EFUTURE;
    if (requested > 0 && requested < mvcc->compact_revision)
        return KV_ECOMPACTED;
    *out = requested > 0 ? requested : now;
    return 0;
}

/* ---- transactions ---- */

void mvcc_txn_begin(struct mvcc *mvcc, struct mvcc_txn *txn)
{
    ASSERT(mvcc->txn == NULL);
    txn->mvcc = mvcc;
    txn->revision = mvcc->revision + 1;
    txn->changes = 0;
    mvcc->txn = txn;
}

int64_t mvcc_txn_revision(const struct mvcc_txn *txn)
{
    return txn->changes > 0 ? txn->revision : txn->revision - 1;
}

int64_t mvcc_txn_end(struct mvcc_txn *txn)
{
    struct mvcc *mvcc = txn->mvcc;

    ASSERT(mvcc->txn == txn);
    mvcc->revision = mvcc_txn_revision(txn);
    mvcc->txn = NULL;
    return mvcc->revision;
}

static uint32_t next_sub(struct mvcc_txn *txn)
{
    ASSERT(txn->changes < UINT32_MAX);
    return (uint32_t)txn->changes++;
}

static size_t live_size(const struct record *record)
{
    return record__heap_size(record) + LOG_SHARE + INDEX_SHARE;
}

void mvcc__link(struct mvcc *mvcc, struct record *record, struct record *old)
{
    record__set_older(record, old);
    if (old != NULL) {
        old->superseded = record->main;
        if (!record__is_tombstone(old))
            mvcc->live_bytes -= live_size(old);
    }
    if (!record__is_tombstone(record))
        mvcc->live_bytes += live_size(record);
}

/* Numbers through the finaliser of splitmix64, bytes through the CPU's CRC: some 60 ns for a key
 * and a value of 300 bytes. */
static void note_effect(struct mvcc *mvcc, const struct record *record)
{
    size_t len = (size_t)record->key_len + record->value_len;
    uint64_t bytes = crc32c_extend(record->key_len, record->bytes, len);
    uint64_t hash = mvcc->effects;

    hash = hash_mix(hash, (uint64_t)record->main ^ (uint64_t)record->sub << 40);
    hash = hash_mix(hash, (uint64_t)record->create ^ (uint64_t)record__version(record) << 32);
    hash = hash_mix(hash, (uint64_t)record__lease(record) ^ bytes << 32 ^ len);
    mvcc->effects = hash == 0 ? 1 : hash;
}

uint64_t mvcc_take_effects(struct mvcc *mvcc)
{
    uint64_t effects = mvcc->effects;

    mvcc->effects = 0;
    return effects;
}

void mvcc_plant_flip(struct mvcc *mvcc, struct slice key)
{
    struct record *record = keyindex__get(&mvcc->index, key);

    record__set_version(record, record__version(record) ^ MVCC_PLANTED_FLIP);
}

void mvcc__chain(struct mvcc *mvcc, struct record *record, struct record *old)
{
    note_effect(mvcc, record);
    mvcc__link(mvcc, record, old);
    revlog__append(&mvcc->log, record);
}

void mvcc_txn_put(struct mvcc_txn *txn, struct slice key, struct slice value, int64_t lease,
                  bool *had, struct mvcc_kv *prev)
{
    struct mvcc *mvcc = txn->mvcc;
    struct record *record, *old;
    bool was_live;

    ASSERT(mvcc->txn == txn);
    ASSERT(key.len > 0);
    record = record__put(&mvcc->heap, txn->revision, next_sub(txn), key, value, lease);
    old = keyindex__put(&mvcc->index, record);
    was_live = old != NULL && !record__is_tombstone(old);
    if (was_live) {
        record->create = old->create;
        record__set_version(record, record__version(old) + 1);
        if (prev != NULL)
            record__to_kv(old, prev);
    }
    if (had != NULL)
        *had = was_live;
    mvcc__chain(mvcc, record, old);
}

size_t mvcc_txn_delete(struct mvcc_txn *txn, struct mvcc_span span, struct arena *arena,
                       const struct mvcc_kv **prevs)
{
    struct mvcc *mvcc = txn->mvcc;
    size_t count = keyindex__count(&mvcc->index, span, INT64_MAX);
    struct mvcc_kv *kvs = NULL;
    struct keyindex_cursor cursor;

    ASSERT(mvcc->txn == txn);
    if (prevs != NULL)
        *prevs = kvs = count > 0 ? arena_alloc(arena, count * sizeof *kvs) : NULL;
    if (count > 0)
        keyindex__seek(&mvcc->index, span.key, INT64_MAX, &cursor);
    for (size_t i = 0; i < count; i++) {
        const struct record *victim = keyindex__next(&cursor);
        struct record *tombstone =
            record__tombstone(&mvcc->heap, txn->revision, next_sub(txn), record__key(victim));

        if (kvs != NULL)
            record__to_kv(victim, &kvs[i]);
        mvcc__chain(mvcc, tombstone, keyindex__bury(&mvcc->index, &cursor, tombstone));
    }
    return count;
}
