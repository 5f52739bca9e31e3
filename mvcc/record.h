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
    int64_t superseded;   /* main of the next change of this key; INT64_MAX: none yet */
    int64_t create;       /* 0: a tombstone */
    int64_t version;      /* 0: a tombstone */
    struct record *older; /* the change before; NULL: none, or compacted away */
    uint32_t sub;
    uint32_t key_len;
    uint32_t value_len : 31;
    uint32_t leased : 1; /* the lease stands behind the value: most keys have none */
    uint8_t bytes[];     /* key, value, lease if there is one (8 bytes, host order) */
};

/* Bytes start right behind the last field, inside what would be padding. */
#define RECORD_HEAD offsetof(struct record, bytes)
_Static_assert(RECORD_HEAD == 52, "every key pays for this");

enum { RECORD_VALUE_MAX = INT32_MAX };

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

static inline bool record__is_tombstone(const struct record *record)
{
    return record->version == 0;
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
