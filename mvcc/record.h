/* One change of one key: immutable but for the marks that chain it to its neighbours in the key's
 * history, and for compaction moving it about. One allocation each, key and value inside, so that a
 * key with a single version costs nothing else. Shared inside mvcc/ only. */
#ifndef KVD_MVCC_RECORD_H
#define KVD_MVCC_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"
#include "base/util.h"
#include "mvcc/heap.h"
#include "mvcc/mvcc.h"

struct record {
    int64_t main;
    int64_t superseded;     /* main of the next change of this key; INT64_MAX: none yet */
    int64_t create;         /* 0: a tombstone */
    uint64_t older_version; /* an address of 48 bits, and behind it the version's upper 16 */
    uint32_t version;       /* its lower 32 */
    uint32_t sub;
    uint32_t key_len;
    uint32_t value_len : 31;
    uint32_t leased : 1; /* the lease stands behind the value: most keys have none */
    uint8_t bytes[];     /* key, value, lease if there is one (8 bytes, host order) */
};

/* Bytes start right behind the last field, inside what would be padding. */
#define RECORD_HEAD offsetof(struct record, bytes)
_Static_assert(RECORD_HEAD == 48, "every key pays for this");

enum { RECORD_VALUE_MAX = INT32_MAX, RECORD_ADDRESS_BITS = 48 };

/* A million changes of one key a second reach it after nine years. */
#define RECORD_VERSION_MAX (((int64_t)1 << 48) - 1)

struct record *record__put(struct heap *heap, int64_t main, uint32_t sub, struct slice key,
                           struct slice value, int64_t lease);
struct record *record__tombstone(struct heap *heap, int64_t main, uint32_t sub, struct slice key);

/* What the allocator takes for n bytes (glibc: a word before, 16-byte steps). */
size_t mvcc__heap_size(size_t n);
size_t record__size(const struct record *record);
/* What a record takes of its own heap. */
size_t record__heap_size(const struct record *record);
void record__free(struct heap *heap, struct record *record);
/* A copy that takes over from the record, once all pointers to it are bent. */
struct record *record__clone(struct heap *heap, const struct record *record);

/* The change before; NULL: none, or compacted away. */
static inline struct record *record__older(const struct record *record)
{
    uint64_t address = record->older_version & (((uint64_t)1 << RECORD_ADDRESS_BITS) - 1);

    return (struct record *)(uintptr_t)address;
}

static inline void record__set_older(struct record *record, const struct record *older)
{
    uint64_t upper = record->older_version >> RECORD_ADDRESS_BITS << RECORD_ADDRESS_BITS;

    ASSERT((uintptr_t)older >> RECORD_ADDRESS_BITS == 0);
    record->older_version = upper | (uintptr_t)older;
}

/* 0: a tombstone. */
static inline int64_t record__version(const struct record *record)
{
    return (int64_t)(record->older_version >> RECORD_ADDRESS_BITS << 32 | record->version);
}

static inline void record__set_version(struct record *record, int64_t version)
{
    ASSERT(version >= 0);
    ASSERT(version <= RECORD_VERSION_MAX);
    record->older_version =
        (uint64_t)version >> 32 << RECORD_ADDRESS_BITS | (uintptr_t)record__older(record);
    record->version = (uint32_t)version;
}

static inline bool record__is_tombstone(const struct record *record)
{
    return record->create == 0;
}

static inline struct slice record__key(const struct record *record)
{
    return slice_of(record->bytes, record->key_len);
}

static inline struct slice record__value(const struct record *record)
{
    return slice_of(record->bytes + record->key_len, record->value_len);
}

static inline int64_t record__lease(const struct record *record)
{
    int64_t lease = 0;

    if (record->leased)
        memcpy(&lease, record->bytes + record->key_len + record->value_len, sizeof lease);
    return lease;
}

/* The key's state after this revision is what this record says. */
static inline bool record__is_newest_at(const struct record *record, int64_t revision)
{
    return record->main <= revision && record->superseded > revision;
}

/* From the newest record of a key to the one that holds at a revision; NULL if the key was not
 * there. Walks the history. */
const struct record *record__at(const struct record *newest, int64_t revision);

void record__to_kv(const struct record *record, struct mvcc_kv *out);

#endif
