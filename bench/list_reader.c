#include "bench/list_reader.h"

#include <string.h>

#include "base/codec.h"
#include "base/util.h"

enum { TYPE_VARINT = 0, TYPE_BYTES = 2, FIELD_KVS = 2, FIELD_MORE = 3, FIELD_COUNT = 4 };

void list_reader_init(struct list_reader *reader, const struct key_space *keys, bool wrapped)
{
    *reader = (struct list_reader){.keys = keys, .wrapped = wrapped};
}

static void fault(struct list_reader *reader, const char *text)
{
    if (reader->wrong == NULL)
        reader->wrong = text;
}

/* The head of a KeyValue. */
static void take_kv(struct list_reader *reader, struct slice head)
{
    struct reader r = reader_of(head);
    struct slice key = slice_of(NULL, 0);

    if (read_varint(&r) == (1 << 3 | TYPE_BYTES))
        key = read_bytes(&r, read_varint(&r));
    if (r.bad || !key_is(reader->keys, key, reader->next++))
        fault(reader, "a list has other keys than it should");
}

/* A varint is complete: the value of a field, or the length of one. */
static void take_value(struct list_reader *reader)
{
    uint64_t field = reader->tag >> 3;

    reader->state = LIST_TAG;
    if ((reader->tag & 7) == TYPE_VARINT) {
        if (field == FIELD_MORE)
            reader->more = reader->varint != 0;
        else if (field == FIELD_COUNT)
            reader->count = reader->varint;
    } else if (reader->wrapped && !reader->inside && field == 1) {
        reader->inside = true; /* what follows is the RangeResponse */
    } else {
        reader->left = reader->varint;
        reader->head_len = 0;
        reader->head_size = field == FIELD_KVS ? MIN(reader->left, (uint64_t)LIST_HEAD_MAX) : 0;
        reader->state = LIST_BODY;
    }
}

static void take_varint_byte(struct list_reader *reader, uint8_t byte)
{
    if (reader->shift > 63) {
        fault(reader, "a list that is no protobuf");
        return;
    }
    reader->varint |= (uint64_t)(byte & 0x7f) << reader->shift;
    reader->shift += 7;
    if (byte >= 0x80)
        return;
    if (reader->state == LIST_TAG) {
        reader->tag = reader->varint;
        if ((reader->tag & 7) != TYPE_VARINT && (reader->tag & 7) != TYPE_BYTES)
            fault(reader, "a list that is no protobuf");
        reader->state = LIST_VALUE;
    } else {
        take_value(reader);
    }
    reader->varint = 0;
    reader->shift = 0;
}

/* As much of the body as there is; returns how much. */
static size_t take_body(struct list_reader *reader, struct slice bytes)
{
    size_t n = MIN(reader->left, (uint64_t)bytes.len);

    if (reader->head_len == 0 && reader->head_size > 0 && n >= reader->head_size) {
        take_kv(reader, slice_of(bytes.data, reader->head_size)); /* all here: no copy */
        reader->head_size = 0;
    } else if (reader->head_size > 0) {
        size_t part = MIN(n, reader->head_size - reader->head_len);

        memcpy(reader->head + reader->head_len, bytes.data, part);
        reader->head_len += part;
        if (reader->head_len == reader->head_size) {
            take_kv(reader, slice_of(reader->head, reader->head_len));
            reader->head_size = 0;
        }
    }
    reader->left -= n;
    return n;
}

void list_reader_feed(struct list_reader *reader, struct slice bytes, bool last)
{
    size_t at = 0;

    while (at < bytes.len && reader->wrong == NULL) {
        if (reader->state != LIST_BODY)
            take_varint_byte(reader, bytes.data[at++]);
        else
            at += take_body(reader, slice_of(bytes.data + at, bytes.len - at));
        if (reader->state == LIST_BODY && reader->left == 0) {
            if (reader->head_size != 0)
                take_kv(reader, slice_of(reader->head, reader->head_len)); /* an empty one */
            reader->state = LIST_TAG;
        }
    }
    if (last && (reader->state != LIST_TAG || reader->shift != 0))
        fault(reader, "a list that ends in the middle of a field");
    if (last)
        reader->inside = false;
}

const char *list_reader_verdict(const struct list_reader *reader)
{
    if (reader->wrong != NULL)
        return reader->wrong;
    if (reader->next != reader->keys->count)
        return "a list has fewer keys than there are";
    if (reader->count != reader->keys->count)
        return "the count of a list is not that of its keys";
    return reader->more ? "a list without a limit says that there is more" : NULL;
}
