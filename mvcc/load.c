/* A store made from a list of changes in the order of their revisions. The index wants them by key,
 * and putting a million keys one by one where they belong takes longer than all the rest: so
 * changes are only collected, sorted at the end, and the index grows at its end alone. */
#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"
#include "mvcc/internal.h"

enum {
    PREFETCH_DISTANCE = 8,
    FEW = 8,    /* sorted at once */
    SHIFT = 48, /* leaves the first two bytes of a head */
};

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
           (kv->create_revision > 0 && kv->create_revision <= kv->mod_revision && kv->version > 0 &&
            kv->version <= RECORD_VERSION_MAX);
}

static struct record *make_record(struct mvcc *mvcc, const struct mvcc_change *change)
{
    const struct mvcc_kv *kv = &change->kv;
    struct record *record;

    if (change->is_tombstone)
        return record__tombstone(&mvcc->heap, kv->mod_revision, change->sub, kv->key);
    record = record__put(&mvcc->heap, kv->mod_revision, change->sub, kv->key, kv->value, kv->lease);
    record->create = kv->create_revision;
    record__set_version(record, kv->version);
    return record;
}

static void collect(struct mvcc_loading *loading, struct record *record)
{
    if (loading->len == loading->cap) {
        loading->cap = loading->cap == 0 ? 1024 : 2 * loading->cap;
        loading->records = xrealloc(loading->records, loading->cap * sizeof(struct record *));
    }
    /* Many a load is in order already: those that nobody wrote to since they were filled. */
    loading->shuffled =
        loading->shuffled ||
        (loading->len > 0 &&
         slice_cmp(record__key(loading->records[loading->len - 1]), record__key(record)) > 0);
    loading->records[loading->len++] = record;
}

int mvcc_load(struct mvcc *mvcc, const struct mvcc_change *change)
{
    struct record *record;

    if (!is_ascending(mvcc, change) || !is_possible(change))
        return KV_ECORRUPT;
    record = make_record(mvcc, change);
    revlog__append(&mvcc->log, record);
    collect(&mvcc->loading, record);
    mvcc->revision = change->kv.mod_revision;
    mvcc->pass_sub = change->sub + 1;
    return 0;
}

/* ---- sorting: by key, changes of one key in the order they came ---- */

/* Comparing keys would fetch two records from memory each time. So they are sorted by eight bytes
 * that stand beside the pointer, behind what all of a run share, and runs that agree in those by
 * the next eight. */
struct sorted {
    uint64_t head;
    size_t order; /* as it came: that of the changes of one key */
    struct record *record;
};

static uint64_t head_of(struct slice key, size_t skip)
{
    uint8_t bytes[8] = {0};

    if (key.len >= skip + sizeof bytes)
        return get_be64(key.data + skip);
    if (key.len > skip)
        memcpy(bytes, key.data + skip, key.len - skip);
    return get_be64(bytes);
}

/* Into runs by the first two bytes of the heads: most of a large sort without a comparison. */
static void spread(struct sorted *run, size_t len)
{
    enum { BUCKETS = 1 << 16 };
    size_t *starts = xcalloc(BUCKETS + 1, sizeof *starts);
    struct sorted *copy = xmemdup(run, len * sizeof *run);

    for (size_t i = 0; i < len; i++)
        starts[(run[i].head >> SHIFT) + 1]++;
    for (size_t i = 0; i < BUCKETS; i++)
        starts[i + 1] += starts[i];
    for (size_t i = 0; i < len; i++)
        run[starts[copy[i].head >> SHIFT]++] = copy[i];
    free(copy);
    free(starts);
}

static int by_head(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;

    if (x->head != y->head)
        return x->head < y->head ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void sort_heads(struct sorted *run, size_t len)
{
    enum { SPREAD_MIN = 20000 };

    if (len < SPREAD_MIN) {
        qsort(run, len, sizeof *run, by_head);
        return;
    }
    spread(run, len);
    for (size_t at = 0, end; at < len; at = end) {
        end = at + 1;
        while (end < len && run[end].head >> SHIFT == run[at].head >> SHIFT)
            end++;
        if (end - at > 1)
            qsort(run + at, end - at, sizeof *run, by_head);
    }
}

/* For what eight bytes at a time can not tell apart (zeros at the end of a key), and for a few. */
static int by_key(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;
    int order = slice_cmp(record__key(x->record), record__key(y->record));

    if (order != 0)
        return order;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* What all keys of the run share, at least skip bytes. */
static size_t shared_by_all(const struct sorted *run, size_t len, size_t skip)
{
    struct slice first = record__key(run[0].record);
    size_t shared = first.len;

    for (size_t i = 1; i < len && shared > skip; i++) {
        struct slice key = record__key(run[i].record);

        if (i + PREFETCH_DISTANCE < len)
            __builtin_prefetch(run[i + PREFETCH_DISTANCE].record->bytes);
        shared = MIN(shared, key.len);
        if (memcmp(key.data + skip, first.data + skip, shared - skip) == 0)
            continue;
        for (shared = skip; key.data[shared] == first.data[shared];)
            shared++;
    }
    return shared;
}

static void sort_run(struct sorted *run, size_t len, size_t skip);

static void sort_ties(struct sorted *run, size_t len, size_t skip)
{
    for (size_t at = 0; at < len;) {
        size_t end = at + 1;

        while (end < len && run[end].head == run[at].head)
            end++;
        if (end - at > 1)
            sort_run(run + at, end - at, skip + sizeof run->head);
        at = end;
    }
}

/* All keys of the run agree in their first skip bytes, if what is not there counts as zeros. */
static void sort_run(struct sorted *run, size_t len, size_t skip)
{
    size_t shortest = SIZE_MAX, longest = 0;

    for (size_t i = 0; i < len; i++) {
        shortest = MIN(shortest, (size_t)run[i].record->key_len);
        longest = MAX(longest, (size_t)run[i].record->key_len);
    }
    if (longest <= skip && shortest == longest)
        return; /* all the same key, in the order of time already */
    if (shortest <= skip || len < FEW) {
        qsort(run, len, sizeof *run, by_key);
        return;
    }
    skip = shared_by_all(run, len, skip);
    for (size_t i = 0; i < len; i++) {
        if (i + PREFETCH_DISTANCE < len)
            __builtin_prefetch(run[i + PREFETCH_DISTANCE].record->bytes);
        run[i].head = head_of(record__key(run[i].record), skip);
    }
    sort_heads(run, len);
    sort_ties(run, len, skip);
}

static void sort(struct mvcc_loading *loading)
{
    struct sorted *all;

    if (!loading->shuffled)
        return; /* changes of one key came in the order of time */
    all = xmalloc(loading->len * sizeof *all);
    for (size_t i = 0; i < loading->len; i++)
        all[i] = (struct sorted){.order = i, .record = loading->records[i]};
    sort_run(all, loading->len, 0);
    for (size_t i = 0; i < loading->len; i++)
        loading->records[i] = all[i].record;
    free(all);
}

/* ---- the end ---- */

/* A put carries what follows from the key's change before it, where that is still there. */
static bool follows(const struct record *old, const struct record *record)
{
    if (old == NULL || record__is_tombstone(record))
        return true;
    if (record__is_tombstone(old))
        return record__version(record) == 1 && record->create == record->main;
    return record__version(record) == record__version(old) + 1 && record->create == old->create;
}

/* Chains the changes of each key, and puts the newest into the index. */
static int build(struct mvcc *mvcc)
{
    const struct mvcc_loading *loading = &mvcc->loading;

    for (size_t i = 0; i < loading->len; i++) {
        struct record *record = loading->records[i];
        struct record *next = i + 1 < loading->len ? loading->records[i + 1] : NULL;
        struct record *old = i > 0 ? loading->records[i - 1] : NULL;

        if (i + PREFETCH_DISTANCE < loading->len) {
            __builtin_prefetch(loading->records[i + PREFETCH_DISTANCE]);
            __builtin_prefetch(loading->records[i + PREFETCH_DISTANCE]->bytes + 16);
        }
        if (old != NULL && !slice_eq(record__key(old), record__key(record)))
            old = NULL;
        if (!follows(old, record))
            return KV_ECORRUPT;
        mvcc__link(mvcc, record, old);
        if (next == NULL || !slice_eq(record__key(next), record__key(record)))
            (void)keyindex__put(&mvcc->index, record); /* the first of its key: none was there */
    }
    return 0;
}

void mvcc__loading_release(struct mvcc_loading *loading)
{
    free(loading->records);
    *loading = (struct mvcc_loading){0};
}

int mvcc_load_end(struct mvcc *mvcc, int64_t revision, int64_t compact_revision)
{
    int rc;

    if (revision < mvcc->revision || compact_revision > revision || compact_revision < -1)
        return KV_ECORRUPT;
    sort(&mvcc->loading);
    rc = build(mvcc);
    mvcc__loading_release(&mvcc->loading);
    if (rc != 0)
        return rc;
    mvcc->revision = revision;
    mvcc->compact_revision = compact_revision;
    mvcc->compacted = compact_revision;
    mvcc->pass_target = compact_revision;
    mvcc->pass_sub = 0;
    return 0;
}

void mvcc_raise(struct mvcc *mvcc, int64_t revision)
{
    ASSERT(mvcc->txn == NULL);
    ASSERT(revision >= mvcc->revision);
    mvcc->revision = revision;
}
