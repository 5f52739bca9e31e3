#include "snapshot/dbfile_items.h"

#include "base/codec.h"
#include "base/err.h"

enum {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5,
};

/* ---- protobuf, proto3: a field of value 0 is left out ---- */

static size_t number_size(uint64_t value)
{
    return value == 0 ? 0 : 1 + varint_size(value); /* field numbers here are below 16 */
}

static size_t bytes_size(struct slice bytes)
{
    return bytes.len == 0 ? 0 : 1 + varint_size(bytes.len) + bytes.len;
}

static uint8_t *put_number(uint8_t *p, unsigned field, uint64_t value)
{
    if (value == 0)
        return p;
    *p++ = (uint8_t)(field << 3 | WIRE_VARINT);
    return p + put_varint(p, value);
}

static uint8_t *put_bytes(uint8_t *p, unsigned field, struct slice bytes)
{
    if (bytes.len == 0)
        return p;
    *p++ = (uint8_t)(field << 3 | WIRE_BYTES);
    p += put_varint(p, bytes.len);
    memcpy(p, bytes.data, bytes.len);
    return p + bytes.len;
}

struct field {
    uint64_t number;
    unsigned wire;
    uint64_t value;     /* of a varint */
    struct slice bytes; /* of a string of bytes */
};

/* False: the end, or the reader is bad. */
static bool next_field(struct reader *r, struct field *out)
{
    uint64_t tag;

    if (r->bad || r->rest.len == 0)
        return false;
    tag = read_varint(r);
    *out = (struct field){.number = tag >> 3, .wire = (unsigned)(tag & 7)};
    switch (out->wire) {
    case WIRE_VARINT:
        out->value = read_varint(r);
        break;
    case WIRE_BYTES:
        out->value = read_varint(r);
        if (out->value > r->rest.len)
            r->bad = true;
        else
            out->bytes = read_bytes(r, (size_t)out->value);
        break;
    case WIRE_FIXED64:
        (void)read_le64(r);
        break;
    case WIRE_FIXED32:
        (void)read_le32(r);
        break;
    default:
        r->bad = true;
    }
    return !r->bad;
}

/* Whether it is that field, in the form that it has; a wrong form makes the reader bad. */
static bool is_field(struct reader *r, const struct field *field, uint64_t number, unsigned wire)
{
    if (field->number != number)
        return false;
    if (field->wire != wire)
        r->bad = true;
    return !r->bad;
}

static void take_number(struct reader *r, const struct field *field, uint64_t number, int64_t *out)
{
    if (is_field(r, field, number, WIRE_VARINT))
        *out = (int64_t)field->value;
}

/* ---- revisions ---- */

void dbfile_revision_put(uint8_t *p, int64_t main, uint64_t sub)
{
    put_be64(p, (uint64_t)main);
    p[8] = '_';
    put_be64(p + 9, sub);
}

bool dbfile_revision_get(struct slice bytes, int64_t *main, uint64_t *sub)
{
    if (bytes.len != DBFILE_REVISION_SIZE || bytes.data[8] != '_')
        return false;
    *main = (int64_t)get_be64(bytes.data);
    *sub = get_be64(bytes.data + 9);
    return *main >= 0;
}

/* ---- records ---- */

size_t dbfile_record_key_size(const struct dbfile_record *record)
{
    return record->is_tombstone ? DBFILE_RECORD_KEY_SIZE : DBFILE_REVISION_SIZE;
}

size_t dbfile_record_key(const struct dbfile_record *record, uint8_t *p)
{
    dbfile_revision_put(p, record->main, record->sub);
    if (record->is_tombstone)
        p[DBFILE_REVISION_SIZE] = 't';
    return dbfile_record_key_size(record);
}

size_t dbfile_record_value_size(const struct dbfile_record *record)
{
    size_t size = bytes_size(record->key);

    if (record->is_tombstone)
        return size;
    return size + number_size((uint64_t)record->create_revision) +
           number_size((uint64_t)record->main) + number_size((uint64_t)record->version) +
           bytes_size(record->value) + number_size((uint64_t)record->lease);
}

void dbfile_record_value(const struct dbfile_record *record, uint8_t *p)
{
    p = put_bytes(p, 1, record->key);
    if (record->is_tombstone)
        return;
    p = put_number(p, 2, (uint64_t)record->create_revision);
    p = put_number(p, 3, (uint64_t)record->main);
    p = put_number(p, 4, (uint64_t)record->version);
    p = put_bytes(p, 5, record->value);
    (void)put_number(p, 6, (uint64_t)record->lease);
}

int dbfile_record_parse(struct slice key, struct slice value, struct dbfile_record *out)
{
    struct reader r = reader_of(value);
    struct dbfile_record record = {.is_tombstone = key.len == DBFILE_RECORD_KEY_SIZE};
    int64_t mod_revision = 0;
    struct field field;

    if (record.is_tombstone && key.data[DBFILE_REVISION_SIZE] != 't')
        return KV_ECORRUPT;
    key.len -= record.is_tombstone;
    if (!dbfile_revision_get(key, &record.main, &record.sub))
        return KV_ECORRUPT;
    while (next_field(&r, &field)) {
        if (is_field(&r, &field, 1, WIRE_BYTES))
            record.key = field.bytes;
        if (is_field(&r, &field, 5, WIRE_BYTES))
            record.value = field.bytes;
        take_number(&r, &field, 2, &record.create_revision);
        take_number(&r, &field, 3, &mod_revision);
        take_number(&r, &field, 4, &record.version);
        take_number(&r, &field, 6, &record.lease);
    }
    if (r.bad || (!record.is_tombstone && value.len > 0 && mod_revision != record.main))
        return KV_ECORRUPT;
    *out = record;
    return 0;
}

/* ---- leases and alarms ---- */

size_t dbfile_lease_value(const struct dbfile_lease *lease, uint8_t *p)
{
    uint8_t *end = p;

    end = put_number(end, 1, (uint64_t)lease->id);
    end = put_number(end, 2, (uint64_t)lease->ttl);
    end = put_number(end, 3, (uint64_t)lease->remaining_ttl);
    return (size_t)(end - p);
}

int dbfile_lease_parse(struct slice key, struct slice value, struct dbfile_lease *out)
{
    struct reader r = reader_of(value);
    struct dbfile_lease lease = {0};
    struct field field;

    while (next_field(&r, &field)) {
        take_number(&r, &field, 1, &lease.id);
        take_number(&r, &field, 2, &lease.ttl);
        take_number(&r, &field, 3, &lease.remaining_ttl);
    }
    if (r.bad || key.len != sizeof(uint64_t) || get_be64(key.data) != (uint64_t)lease.id)
        return KV_ECORRUPT;
    *out = lease;
    return 0;
}

size_t dbfile_alarm_key(const struct dbfile_alarm *alarm, uint8_t *p)
{
    uint8_t *end = p;

    end = put_number(end, 1, alarm->member);
    end = put_number(end, 2, alarm->type);
    return (size_t)(end - p);
}

int dbfile_alarm_parse(struct slice key, struct dbfile_alarm *out)
{
    struct reader r = reader_of(key);
    int64_t member = 0, type = 0;
    struct field field;

    while (next_field(&r, &field)) {
        take_number(&r, &field, 1, &member);
        take_number(&r, &field, 2, &type);
    }
    if (r.bad || type < 0 || type > UINT32_MAX)
        return KV_ECORRUPT;
    *out = (struct dbfile_alarm){.member = (uint64_t)member, .type = (uint32_t)type};
    return 0;
}
