#include "server/encode.h"

#include "base/codec.h"
#include "base/util.h"

/* Every field number here is below 16, so a tag is one byte. */
enum wire { WIRE_VARINT = 0, WIRE_BYTES = 2 };
#define TAG(field, wire) ((uint8_t)((field) << 3 | (wire)))

static size_t varint_field_size(uint64_t value)
{
    return value == 0 ? 0 : 1 + varint_size(value);
}

static uint8_t *put_varint_field(uint8_t *p, unsigned field, uint64_t value)
{
    if (value == 0)
        return p;
    *p++ = TAG(field, WIRE_VARINT);
    return p + put_varint(p, value);
}

static size_t bytes_field_size(size_t len)
{
    return len == 0 ? 0 : 1 + varint_size(len) + len;
}

static uint8_t *put_bytes_field(uint8_t *p, unsigned field, struct slice bytes)
{
    if (bytes.len == 0)
        return p;
    *p++ = TAG(field, WIRE_BYTES);
    p += put_varint(p, bytes.len);
    memcpy(p, bytes.data, bytes.len);
    return p + bytes.len;
}

/* A sub-message is there even if it is empty. */
static size_t message_field_size(size_t len)
{
    return 1 + varint_size(len) + len;
}

static uint8_t *put_message_head(uint8_t *p, unsigned field, size_t len)
{
    *p++ = TAG(field, WIRE_BYTES);
    return p + put_varint(p, len);
}

static size_t header_size(const struct encode_header *header)
{
    return varint_field_size(header->cluster_id) + varint_field_size(header->member_id) +
           varint_field_size((uint64_t)header->revision) + varint_field_size(header->raft_term);
}

static uint8_t *put_header(uint8_t *p, const struct encode_header *header)
{
    p = put_message_head(p, 1, header_size(header));
    p = put_varint_field(p, 1, header->cluster_id);
    p = put_varint_field(p, 2, header->member_id);
    p = put_varint_field(p, 3, (uint64_t)header->revision);
    return put_varint_field(p, 4, header->raft_term);
}

static size_t kv_size(const struct mvcc_kv *kv)
{
    return bytes_field_size(kv->key.len) + varint_field_size((uint64_t)kv->create_revision) +
           varint_field_size((uint64_t)kv->mod_revision) +
           varint_field_size((uint64_t)kv->version) + bytes_field_size(kv->value.len) +
           varint_field_size((uint64_t)kv->lease);
}

static uint8_t *put_kv(uint8_t *p, unsigned field, const struct mvcc_kv *kv)
{
    p = put_message_head(p, field, kv_size(kv));
    p = put_bytes_field(p, 1, kv->key);
    p = put_varint_field(p, 2, (uint64_t)kv->create_revision);
    p = put_varint_field(p, 3, (uint64_t)kv->mod_revision);
    p = put_varint_field(p, 4, (uint64_t)kv->version);
    p = put_bytes_field(p, 5, kv->value);
    return put_varint_field(p, 6, (uint64_t)kv->lease);
}

/* ---- range ---- */

size_t encode_range_kv_size(const struct mvcc_kv *kv)
{
    return message_field_size(kv_size(kv));
}

/* Bytes that lie one behind the other, of which a window is wanted. */
struct window {
    uint8_t *p;
    size_t skip, left;
};

static void show(struct window *window, struct slice bytes)
{
    size_t skipped = MIN(window->skip, bytes.len);
    size_t n = MIN(bytes.len - skipped, window->left);

    window->skip -= skipped;
    if (n > 0)
        memcpy(window->p, bytes.data + skipped, n);
    window->p += n;
    window->left -= n;
}

enum { SMALL_MAX = 64 }; /* numbers and tags between the bytes of a record */

static uint8_t *put_bytes_head(uint8_t *p, unsigned field, size_t len)
{
    return len == 0 ? p : put_message_head(p, field, len);
}

void encode_range_kv_part(uint8_t *p, const struct mvcc_kv *kv, size_t from, size_t len)
{
    struct window window = {.p = p, .skip = from, .left = len};
    uint8_t small[SMALL_MAX], *end;

    if (from == 0 && len == encode_range_kv_size(kv)) {
        (void)put_kv(p, 2, kv); /* writes the size it said */
        return;
    }
    end = put_message_head(small, 2, kv_size(kv));
    end = put_bytes_head(end, 1, kv->key.len);
    show(&window, slice_of(small, (size_t)(end - small)));
    show(&window, kv->key);
    end = put_varint_field(small, 2, (uint64_t)kv->create_revision);
    end = put_varint_field(end, 3, (uint64_t)kv->mod_revision);
    end = put_varint_field(end, 4, (uint64_t)kv->version);
    end = put_bytes_head(end, 5, kv->value.len);
    show(&window, slice_of(small, (size_t)(end - small)));
    show(&window, kv->value);
    end = put_varint_field(small, 6, (uint64_t)kv->lease);
    show(&window, slice_of(small, (size_t)(end - small)));
    ASSERT(window.left == 0);
}

uint8_t *encode_range_end(uint8_t *p, bool more, int64_t count)
{
    p = put_varint_field(p, 3, more);
    return put_varint_field(p, 4, (uint64_t)count);
}

uint8_t *encode_stream_head(uint8_t *p, size_t body_size)
{
    return put_message_head(p, 1, body_size);
}

size_t encode_range_size(const struct encode_header *header, const struct mvcc_range_result *result)
{
    size_t size = message_field_size(header_size(header)) + varint_field_size(result->more) +
                  varint_field_size((uint64_t)result->count);

    for (size_t i = 0; i < result->len; i++)
        size += message_field_size(kv_size(&result->kvs[i]));
    return size;
}

uint8_t *encode_range(uint8_t *p, const struct encode_header *header,
                      const struct mvcc_range_result *result)
{
    p = put_header(p, header);
    for (size_t i = 0; i < result->len; i++)
        p = put_kv(p, 2, &result->kvs[i]);
    return encode_range_end(p, result->more, result->count);
}

size_t encode_empty_size(const struct encode_header *header)
{
    return message_field_size(header_size(header));
}

uint8_t *encode_empty(uint8_t *p, const struct encode_header *header)
{
    return put_header(p, header);
}

size_t encode_keep_alive_size(const struct encode_header *header, int64_t id, int64_t ttl)
{
    return encode_empty_size(header) + varint_field_size((uint64_t)id) +
           varint_field_size((uint64_t)ttl);
}

uint8_t *encode_keep_alive(uint8_t *p, const struct encode_header *header, int64_t id, int64_t ttl)
{
    p = put_header(p, header);
    p = put_varint_field(p, 2, (uint64_t)id);
    return put_varint_field(p, 3, (uint64_t)ttl);
}

/* ---- watch ---- */

/* mvccpb.Event: type, kv, prev_kv. */
static size_t event_body_size(const struct watch_event *event)
{
    return varint_field_size(event->is_delete) + message_field_size(kv_size(&event->kv)) +
           (event->prev != NULL ? message_field_size(kv_size(event->prev)) : 0);
}

size_t encode_event_size(const struct watch_event *event)
{
    return message_field_size(event_body_size(event));
}

uint8_t *encode_event(uint8_t *p, const struct watch_event *event)
{
    p = put_message_head(p, 11, event_body_size(event));
    p = put_varint_field(p, 1, event->is_delete);
    p = put_kv(p, 2, &event->kv);
    return event->prev != NULL ? put_kv(p, 3, event->prev) : p;
}

/* One field of a message; number 0 at its end. Groups and fixed sizes do not occur. */
struct field {
    unsigned number;
    uint64_t value;
    struct slice bytes;
};

static struct field next_field(struct reader *r)
{
    struct field field = {0};
    uint64_t tag;

    if (r->rest.len == 0)
        return field;
    tag = read_varint(r);
    field.number = (unsigned)(tag >> 3);
    if ((tag & 7) == WIRE_VARINT)
        field.value = read_varint(r);
    else
        field.bytes = read_bytes(r, (size_t)read_varint(r));
    ASSERT(!r->bad); /* we have written it */
    return field;
}

static void decode_kv(struct slice bytes, struct encoded_event *out)
{
    struct reader r = reader_of(bytes);
    struct field field;

    out->kv = bytes;
    while ((field = next_field(&r)).number != 0) {
        if (field.number == 1)
            out->key = field.bytes;
        else if (field.number == 2)
            out->create_revision = (int64_t)field.value;
        else if (field.number == 3)
            out->mod_revision = (int64_t)field.value;
    }
}

void decode_event(struct slice bytes, struct encoded_event *out)
{
    struct encoded_event prev = {0};
    struct reader whole = reader_of(bytes), r = reader_of(next_field(&whole).bytes);
    struct field field;

    *out = (struct encoded_event){0};
    while ((field = next_field(&r)).number != 0) {
        if (field.number == 1)
            out->is_delete = field.value != 0;
        else if (field.number == 2)
            decode_kv(field.bytes, out);
        else if (field.number == 3)
            decode_kv(field.bytes, &prev);
    }
    out->prev_create_revision = prev.create_revision;
}

size_t encode_watch_size(const struct encode_header *header, const struct encode_watch *watch)
{
    return message_field_size(header_size(header)) + varint_field_size((uint64_t)watch->watch_id) +
           varint_field_size(watch->fragment) + watch->bytes;
}

bool encode_watch_fragment(const struct encode_header *header, struct encode_watch *rest,
                           size_t size_max, struct encode_watch *part)
{
    *part = *rest;
    if (rest->count == 0)
        return false;
    if (rest->count > 1 && encode_watch_size(header, rest) >= size_max) {
        part->fragment = true;
        part->count = 1;
        part->bytes = rest->events[0].len;
        for (; part->count < rest->count; part->count++) {
            part->bytes += rest->events[part->count].len;
            if (encode_watch_size(header, part) >= size_max)
                break;
        }
        if (part->count < rest->count)
            part->bytes -= rest->events[part->count].len;
        part->fragment = part->count < rest->count;
    }
    rest->events += part->count;
    rest->count -= part->count;
    rest->bytes -= part->bytes;
    return true;
}

uint8_t *encode_watch(uint8_t *p, const struct encode_header *header,
                      const struct encode_watch *watch)
{
    p = put_header(p, header);
    p = put_varint_field(p, 2, (uint64_t)watch->watch_id);
    p = put_varint_field(p, 7, watch->fragment);
    for (size_t i = 0; i < watch->count; i++) {
        memcpy(p, watch->events[i].data, watch->events[i].len);
        p += watch->events[i].len;
    }
    return p;
}

/* ---- elections ---- */

size_t encode_leader_size(const struct encode_header *header, struct slice kv)
{
    return message_field_size(header_size(header)) + message_field_size(kv.len);
}

uint8_t *encode_leader(uint8_t *p, const struct encode_header *header, struct slice kv)
{
    p = put_message_head(put_header(p, header), 2, kv.len);
    memcpy(p, kv.data, kv.len);
    return p + kv.len;
}

size_t encode_leader_kv_size(const struct encode_header *header, const struct mvcc_kv *kv)
{
    return message_field_size(header_size(header)) + message_field_size(kv_size(kv));
}

uint8_t *encode_leader_kv(uint8_t *p, const struct encode_header *header, const struct mvcc_kv *kv)
{
    return put_kv(put_header(p, header), 2, kv);
}
