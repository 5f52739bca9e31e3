/* HashKV, bit for bit as etcd computes it (etcd-api.md section 9): a CRC over the bytes that etcd
 * stores, which for us means encoding them again.
 *
 * What it covers depends on the calls made so far and not on how far compaction's removal has got:
 * records that a compaction has condemned are left out whether they are still there or not.
 *
 * One quirk is not copied: etcd keeps the hashes that its last ten compactions computed on the way
 * and answers with them, and with the compact revision before, when asked for exactly such a
 * revision. */
#include "base/codec.h"
#include "base/crc32c.h"
#include "mvcc/internal.h"

enum {
    REVISION_SIZE = 18, /* main, '_', sub, 't' for a tombstone */
    FIELD_SIZE_MAX = 1 + VARINT_SIZE_MAX,
    TAG_KEY = 1 << 3 | 2,
    TAG_CREATE = 2 << 3,
    TAG_MOD = 3 << 3,
    TAG_VERSION = 4 << 3,
    TAG_VALUE = 5 << 3 | 2,
    TAG_LEASE = 6 << 3,
};

static uint32_t feed_revision(uint32_t crc, const struct record *record)
{
    uint8_t bytes[REVISION_SIZE];
    bool dead = record__is_tombstone(record);

    put_be64(bytes, (uint64_t)record->main);
    bytes[8] = '_';
    put_be64(bytes + 9, record->sub);
    bytes[17] = 't';
    return crc32c_extend(crc, bytes, dead ? REVISION_SIZE : REVISION_SIZE - 1);
}

/* As in proto3: a field of value 0 is left out. */
static size_t put_number(uint8_t *p, uint8_t tag, uint64_t value)
{
    if (value == 0)
        return 0;
    *p = tag;
    return 1 + put_varint(p + 1, value);
}

static uint32_t feed_bytes(uint32_t crc, uint8_t tag, struct slice bytes)
{
    uint8_t head[FIELD_SIZE_MAX];

    if (bytes.len == 0)
        return crc;
    crc = crc32c_extend(crc, head, put_number(head, tag, bytes.len));
    return crc32c_extend(crc, bytes.data, bytes.len);
}

/* mvccpb.KeyValue; a tombstone has only the key. */
static uint32_t feed_record(uint32_t crc, const struct record *record)
{
    uint8_t numbers[3 * FIELD_SIZE_MAX];
    size_t len = 0;

    crc = feed_revision(crc, record);
    crc = feed_bytes(crc, TAG_KEY, record__key(record));
    if (record__is_tombstone(record))
        return crc;
    len += put_number(numbers + len, TAG_CREATE, (uint64_t)record->create);
    len += put_number(numbers + len, TAG_MOD, (uint64_t)record->main);
    len += put_number(numbers + len, TAG_VERSION, (uint64_t)record__version(record));
    crc = crc32c_extend(crc, numbers, len);
    crc = feed_bytes(crc, TAG_VALUE, record__value(record));
    len = put_number(numbers, TAG_LEASE, (uint64_t)record__lease(record));
    return crc32c_extend(crc, numbers, len);
}

/* A live key at the hash's revision is what this record makes. */
static bool is_kept(const struct mvcc_hash *hash, const struct record *record)
{
    return record__is_newest_at(record, hash->revision) && !record__is_tombstone(record);
}

static bool is_covered(const struct mvcc_hash *hash, const struct record *record)
{
    if (record->main > hash->compact_revision)
        return true;
    /* etcd skips what it does not keep only where it keeps anything at all. If no key lives at the
     * revision, what compaction left counts: keys that lived then and were deleted since. */
    if (hash->keeps)
        return is_kept(hash, record);
    return record__is_newest_at(record, hash->compact_revision) && !record__is_tombstone(record);
}

int mvcc_hash_begin(struct mvcc *mvcc, int64_t revision, struct mvcc_hash *hash)
{
    int rc;

    ASSERT(mvcc->txn == NULL);
    *hash = (struct mvcc_hash){.mvcc = mvcc};
    rc = mvcc__resolve(mvcc, revision, &hash->revision);
    if (rc != 0) {
        hash->mvcc = NULL;
        return rc;
    }
    if (revision < 0)
        hash->revision = revision; /* no record is that old: the hash of an empty store */
    hash->compact_revision = mvcc->compact_revision;
    hash->hash = crc32c_extend(0, "key", 3);
    /* If nothing was compacted nothing can be skipped, and whether anything is kept is moot. */
    hash->probing = hash->compact_revision >= 0;
    mvcc_pin(mvcc);
    return 0;
}

/* Whether any key lives at the revision: mostly the first record tells. Then back to the start. */
static void probe(struct mvcc_hash *hash, const struct record *record, struct revlog_pos *pos)
{
    hash->keeps = record != NULL && is_kept(hash, record);
    hash->probing = record != NULL && !hash->keeps;
    if (hash->probing)
        pos->slot++;
    else
        *pos = (struct revlog_pos){0, 0};
}

bool mvcc_hash_step(struct mvcc_hash *hash, size_t records)
{
    struct revlog_pos pos = mvcc__pos_of(hash->position);
    bool done = false;

    for (size_t left = MAX(records, 1); left > 0 && !done; left--) {
        const struct record *record = revlog__next(&hash->mvcc->log, &pos);

        if (record != NULL && record->main > hash->revision)
            record = NULL;
        if (hash->probing) {
            probe(hash, record, &pos);
        } else if (record == NULL) {
            done = true;
        } else {
            if (is_covered(hash, record))
                hash->hash = feed_record(hash->hash, record);
            pos.slot++;
        }
    }
    hash->position = mvcc__position_of(pos);
    return done;
}

void mvcc_hash_end(struct mvcc_hash *hash)
{
    if (hash->mvcc == NULL)
        return;
    mvcc_unpin(hash->mvcc);
    hash->mvcc = NULL;
}

int mvcc_hash_kv(struct mvcc *mvcc, int64_t revision, uint32_t *hash, int64_t *compact_revision)
{
    struct mvcc_hash run;
    int rc;

    rc = mvcc_hash_begin(mvcc, revision, &run);
    if (rc != 0)
        return rc;
    while (!mvcc_hash_step(&run, SIZE_MAX))
        continue;
    *hash = run.hash;
    *compact_revision = run.compact_revision;
    mvcc_hash_end(&run);
    return 0;
}
