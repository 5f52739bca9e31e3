#include "bench/wire.h"

#include <string.h>

#include "base/util.h"

enum { TYPE_VARINT = 0, TYPE_BYTES = 2, EVENTS = 11 /* of a WatchResponse */ };

/* ---- fields ---- */

static void append_varint(struct buf *out, uint64_t value)
{
    uint8_t bytes[VARINT_SIZE_MAX];

    (void)buf_append(out, bytes, put_varint(bytes, value)); /* unbounded, see the header */
}

void wire_number(struct buf *out, unsigned field, uint64_t value)
{
    append_varint(out, field << 3 | TYPE_VARINT);
    append_varint(out, value);
}

void wire_bytes(struct buf *out, unsigned field, struct slice bytes)
{
    append_varint(out, field << 3 | TYPE_BYTES);
    append_varint(out, bytes.len);
    (void)buf_append(out, bytes.data, bytes.len);
}

size_t wire_open(struct buf *out, unsigned field)
{
    append_varint(out, field << 3 | TYPE_BYTES);
    return out->len;
}

void wire_close(struct buf *out, size_t opened)
{
    size_t len = out->len - opened;
    size_t room = varint_size(len);
    static const uint8_t zeros[VARINT_SIZE_MAX];

    (void)buf_append(out, zeros, room);
    memmove(out->data + opened + room, out->data + opened, len);
    (void)put_varint(out->data + opened, len);
}

bool wire_next(struct reader *r, struct wire_field *out)
{
    uint64_t tag, value;

    if (r->rest.len == 0 || r->bad)
        return false;
    tag = read_varint(r);
    value = read_varint(r);
    out->number = (unsigned)(tag >> 3);
    out->is_bytes = (tag & 7) == TYPE_BYTES;
    out->value = value;
    out->bytes = slice_of(NULL, 0);
    if (out->is_bytes)
        out->bytes = read_bytes(r, value);
    else if ((tag & 7) != TYPE_VARINT)
        r->bad = true;
    return !r->bad;
}

/* ---- requests ---- */

/* Left out when 0, as protobuf 3 does. */
static void number_unless_0(struct buf *out, unsigned field, uint64_t value)
{
    if (value != 0)
        wire_number(out, field, value);
}

void wire_put(struct buf *out, struct slice key, struct slice value, int64_t lease)
{
    wire_bytes(out, 1, key);
    wire_bytes(out, 2, value);
    number_unless_0(out, 3, (uint64_t)lease);
}

void wire_range(struct buf *out, const struct wire_range *range)
{
    wire_bytes(out, 1, range->key);
    if (range->end.len != 0)
        wire_bytes(out, 2, range->end);
    number_unless_0(out, 3, range->limit);
    number_unless_0(out, 4, (uint64_t)range->revision);
    number_unless_0(out, 7, range->serializable);
    number_unless_0(out, 8, range->keys_only);
    number_unless_0(out, 9, range->count_only);
}

void wire_delete(struct buf *out, struct slice key)
{
    wire_bytes(out, 1, key);
}

void wire_txn_compare_mod(struct buf *out, struct slice key, enum wire_compare result,
                          int64_t revision)
{
    size_t at = wire_open(out, 1);

    number_unless_0(out, 1, result);
    wire_number(out, 2, 2); /* target MOD */
    wire_bytes(out, 3, key);
    wire_number(out, 6, (uint64_t)revision); /* in a oneof: written even if 0 */
    wire_close(out, at);
}

void wire_txn_put(struct buf *out, enum wire_branch branch, struct slice key, struct slice value,
                  int64_t lease)
{
    size_t op = wire_open(out, branch);
    size_t put = wire_open(out, 2);

    wire_put(out, key, value, lease);
    wire_close(out, put);
    wire_close(out, op);
}

void wire_txn_range(struct buf *out, enum wire_branch branch, struct slice key)
{
    size_t op = wire_open(out, branch);
    size_t range = wire_open(out, 1);

    wire_bytes(out, 1, key);
    wire_close(out, range);
    wire_close(out, op);
}

void wire_txn_delete(struct buf *out, enum wire_branch branch, struct slice key)
{
    size_t op = wire_open(out, branch);
    size_t range = wire_open(out, 3);

    wire_delete(out, key);
    wire_close(out, range);
    wire_close(out, op);
}

void wire_lease_grant(struct buf *out, int64_t ttl_s)
{
    wire_number(out, 1, (uint64_t)ttl_s);
}

void wire_lease_id(struct buf *out, int64_t id)
{
    wire_number(out, 1, (uint64_t)id);
}

void wire_authenticate(struct buf *out, struct slice name, struct slice password)
{
    wire_bytes(out, 1, name);
    wire_bytes(out, 2, password);
}

void wire_watch_create(struct buf *out, struct slice key, struct slice end, int64_t watch_id)
{
    size_t at = wire_open(out, 1);

    wire_bytes(out, 1, key);
    if (end.len != 0)
        wire_bytes(out, 2, end);
    number_unless_0(out, 7, (uint64_t)watch_id);
    wire_close(out, at);
}

/* ---- answers ---- */

bool wire_read_kv(struct slice bytes, struct wire_kv *out)
{
    struct reader r = reader_of(bytes);
    struct wire_field field;

    *out = (struct wire_kv){0};
    while (wire_next(&r, &field)) {
        if (field.number == 1)
            out->key = field.bytes;
        else if (field.number == 3)
            out->mod_revision = (int64_t)field.value;
        else if (field.number == 5)
            out->value = field.bytes;
    }
    return !r.bad;
}

static int64_t header_revision(struct slice header)
{
    struct reader r = reader_of(header);
    struct wire_field field;

    while (wire_next(&r, &field)) {
        if (field.number == 3)
            return (int64_t)field.value;
    }
    return r.bad ? -1 : 0;
}

int64_t wire_read_revision(struct slice answer)
{
    struct reader r = reader_of(answer);
    struct wire_field field;

    while (wire_next(&r, &field)) {
        if (field.number == 1 && field.is_bytes)
            return header_revision(field.bytes);
    }
    return -1;
}

/* Of hundreds of keys all must be in order, but only the first and the last are shown: the others'
 * first field is enough. */
static bool take_range_kv(struct slice bytes, struct wire_range_answer *out, struct slice *last)
{
    struct reader r = reader_of(bytes);
    struct wire_field field;
    struct wire_kv kv;

    if (!wire_next(&r, &field))
        return !r.bad; /* a key-value of nothing but defaults */
    if (field.number != 1) {
        if (!wire_read_kv(bytes, &kv))
            return false;
        field.bytes = kv.key;
    }
    if (out->kvs++ != 0 && slice_cmp(out->last.key, field.bytes) >= 0)
        out->ordered = false;
    out->last.key = field.bytes;
    *last = bytes;
    return out->kvs != 1 || wire_read_kv(bytes, &out->first);
}

bool wire_read_range(struct slice answer, struct wire_range_answer *out)
{
    struct reader r = reader_of(answer);
    struct slice last = slice_of(NULL, 0);
    struct wire_field field;

    *out = (struct wire_range_answer){.revision = -1, .ordered = true};
    while (wire_next(&r, &field)) {
        if (field.number == 1)
            out->revision = header_revision(field.bytes);
        else if (field.number == 2 && !take_range_kv(field.bytes, out, &last))
            return false;
        else if (field.number == 3)
            out->more = field.value != 0;
        else if (field.number == 4)
            out->count = field.value;
    }
    return !r.bad && (out->kvs == 0 || wire_read_kv(last, &out->last));
}

/* ResponseOp{response_range}: its first key-value. */
static bool take_txn_range(struct slice op, struct wire_txn_answer *out)
{
    struct reader r = reader_of(op);
    struct wire_field field;
    struct wire_range_answer range;

    if (!wire_next(&r, &field) || field.number != 1)
        return !r.bad;
    if (!wire_read_range(field.bytes, &range))
        return false;
    out->has_kv = range.kvs != 0;
    out->kv = range.first;
    return true;
}

bool wire_read_txn(struct slice answer, struct wire_txn_answer *out)
{
    struct reader r = reader_of(answer);
    struct wire_field field;

    *out = (struct wire_txn_answer){.revision = -1};
    while (wire_next(&r, &field)) {
        if (field.number == 1)
            out->revision = header_revision(field.bytes);
        else if (field.number == 2)
            out->succeeded = field.value != 0;
        else if (field.number == 3 && !out->has_kv && !take_txn_range(field.bytes, out))
            return false;
    }
    return !r.bad;
}

bool wire_read_lease(struct slice answer, struct wire_lease_answer *out)
{
    struct reader r = reader_of(answer);
    struct wire_field field;

    *out = (struct wire_lease_answer){0};
    while (wire_next(&r, &field)) {
        if (field.number == 2)
            out->id = (int64_t)field.value;
        else if (field.number == 3)
            out->ttl_s = (int64_t)field.value;
    }
    return !r.bad;
}

bool wire_read_token(struct slice answer, struct slice *out)
{
    struct reader r = reader_of(answer);
    struct wire_field field;

    *out = slice_of(NULL, 0);
    while (wire_next(&r, &field)) {
        if (field.number == 2)
            *out = field.bytes;
    }
    return !r.bad;
}

bool wire_read_status(struct slice answer, struct wire_status *out)
{
    struct reader r = reader_of(answer);
    struct wire_field field;

    *out = (struct wire_status){0};
    while (wire_next(&r, &field)) {
        struct reader header = reader_of(field.bytes);
        struct wire_field part;

        if (field.number == 1)
            while (wire_next(&header, &part))
                out->member_id = part.number == 2 ? part.value : out->member_id;
        else if (field.number == 3)
            out->db_bytes = field.value;
        else if (field.number == 4)
            out->leader = field.value;
        else if (field.number == 9)
            out->db_bytes_in_use = field.value;
    }
    return !r.bad;
}

static void take_watch_field(const struct wire_field *field, struct wire_watch_answer *out)
{
    switch (field->number) {
    case 2:
        out->watch_id = (int64_t)field->value;
        break;
    case 3:
        out->created = field->value != 0;
        break;
    case 4:
        out->canceled = field->value != 0;
        break;
    case 5:
        out->compact_revision = (int64_t)field->value;
        break;
    case 6:
        out->cancel_reason = field->bytes;
        break;
    default:
        break;
    }
}

/* The order of fields is the writer's choice, so all are looked at; events are read again, from the
 * first on. */
bool wire_read_watch(struct slice answer, struct wire_watch_answer *out)
{
    struct reader r = reader_of(answer), at = r;
    struct wire_field field;

    *out = (struct wire_watch_answer){.watch_id = 0};
    for (; wire_next(&r, &field); at = r) {
        if (field.number != EVENTS)
            take_watch_field(&field, out);
        else if (out->events.rest.len == 0)
            out->events = at;
    }
    return !r.bad;
}

static bool read_event(struct slice bytes, struct wire_event *out)
{
    struct reader r = reader_of(bytes);
    struct wire_field field;

    *out = (struct wire_event){0};
    while (wire_next(&r, &field)) {
        if (field.number == 1)
            out->is_delete = field.value == 1;
        else if (field.number == 2 && !wire_read_kv(field.bytes, &out->kv))
            return false;
    }
    return !r.bad;
}

bool wire_next_event(struct wire_watch_answer *answer, struct wire_event *out)
{
    struct wire_field field;

    while (wire_next(&answer->events, &field)) {
        if (field.number != EVENTS)
            continue;
        answer->events.bad = !read_event(field.bytes, out);
        return !answer->events.bad;
    }
    return false;
}
