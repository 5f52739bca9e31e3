#include "mvcc/record.h"

static struct record *record_alloc(struct heap *heap, int64_t main, uint32_t sub, struct slice key,
                                   size_t payload)
{
    struct record *record;

    ASSERT(key.len <= UINT32_MAX);
    record = heap__alloc(heap, RECORD_HEAD + key.len + payload);
    record->main = main;
    record->superseded = INT64_MAX;
    record->create = 0;
    record->older_version = 0;
    record->version = 0;
    record->sub = sub;
    record->key_len = (uint32_t)key.len;
    record->value_len = 0;
    record->leased = 0;
    if (key.len > 0)
        memcpy(record->bytes, key.data, key.len);
    return record;
}

struct record *record__put(struct heap *heap, int64_t main, uint32_t sub, struct slice key,
                           struct slice value, int64_t lease)
{
    struct record *record;

    ASSERT(value.len <= RECORD_VALUE_MAX);
    record = record_alloc(heap, main, sub, key, value.len + (lease != 0 ? sizeof lease : 0));
    record->create = main;
    record->version = 1;
    record->value_len = (uint32_t)value.len & RECORD_VALUE_MAX;
    record->leased = lease != 0;
    if (value.len > 0)
        memcpy(record->bytes + key.len, value.data, value.len);
    if (lease != 0)
        memcpy(record->bytes + key.len + value.len, &lease, sizeof lease);
    return record;
}

struct record *record__tombstone(struct heap *heap, int64_t main, uint32_t sub, struct slice key)
{
    return record_alloc(heap, main, sub, key, 0);
}

size_t mvcc__heap_size(size_t n)
{
    size_t rounded = (n + sizeof(size_t) + 15) & ~(size_t)15;

    return MAX(rounded, 32);
}

size_t record__size(const struct record *record)
{
    return RECORD_HEAD + record->key_len + record->value_len +
           (record->leased ? sizeof(int64_t) : 0);
}

size_t record__heap_size(const struct record *record)
{
    return heap__slot_size(record__size(record));
}

void record__free(struct heap *heap, struct record *record)
{
    heap__free(heap, record, record__size(record));
}

struct record *record__clone(struct heap *heap, const struct record *record)
{
    size_t size = record__size(record);

    return memcpy(heap__alloc(heap, size), record, size);
}

const struct record *record__at(const struct record *newest, int64_t revision)
{
    const struct record *record = newest;

    while (record != NULL && record->main > revision)
        record = record__older(record);
    return record != NULL && !record__is_tombstone(record) ? record : NULL;
}

void record__to_kv(const struct record *record, struct mvcc_kv *out)
{
    out->key = record__key(record);
    out->value = record__value(record);
    out->create_revision = record->create;
    out->mod_revision = record->main;
    out->version = record__version(record);
    out->lease = record__lease(record);
}
