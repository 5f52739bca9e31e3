/* Writing what has not all come yet: as many whole fields as there are make a message of their own,
 * which is printed as the next part of the object. */
#include "base/codec.h"
#include "server/json_pb.h"
#include "server/json_pb_internal.h"
#include "server/scan.h"

void json_pb_stream_init(struct json_pb_stream *stream, const ProtobufCMessageDescriptor *type)
{
    *stream = (struct json_pb_stream){.type = type, .first = true};
    buf_init(&stream->rest, SIZE_MAX / 2);
}

void json_pb_stream_release(struct json_pb_stream *stream)
{
    buf_release(&stream->rest);
}

/* Whether a whole field is at the front; r is behind it then. */
static bool skip_field(struct reader *r)
{
    enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

    switch (read_varint(r) & 7) {
    case WIRE_VARINT:
        (void)read_varint(r); /* only skipped */
        break;
    case WIRE_64:
        (void)read_bytes(r, 8); /* only skipped */
        break;
    case WIRE_BYTES:
        (void)read_bytes(r, (size_t)read_varint(r)); /* only skipped */
        break;
    case WIRE_32:
        (void)read_bytes(r, 4); /* only skipped */
        break;
    default:
        r->bad = true;
        break;
    }
    return !r->bad;
}

/* How many bytes at the front are whole fields. */
static size_t whole_fields(struct slice bytes)
{
    struct reader r = reader_of(bytes);
    size_t whole = 0;

    while (r.rest.len > 0 && skip_field(&r))
        whole = bytes.len - r.rest.len;
    return whole;
}

static int close_list(struct json_pb_stream *stream, struct buf *out)
{
    bool open = stream->list != NULL;

    stream->list = NULL;
    return open ? buf_append_u8(out, ']') : 0;
}

static int open_list(struct json_pb_stream *stream, const ProtobufCFieldDescriptor *field,
                     struct buf *out)
{
    int rc;

    if (stream->list == field)
        return buf_append_u8(out, ',');
    rc = close_list(stream, out);
    if (rc == 0)
        rc = buf_printf(out, "%s\"%s\":[", stream->first ? "" : ",", field->name);
    stream->first = false;
    stream->list = field;
    return rc;
}

static int print_list(struct json_pb_stream *stream, const ProtobufCFieldDescriptor *field,
                      const uint8_t *base, struct buf *out)
{
    size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);
    int rc;

    if (count == 0)
        return 0;
    rc = open_list(stream, field, out);
    if (rc != 0)
        return rc;
    return json_pb__put_values(field, *(void *const *)(const void *)(base + field->offset), count,
                               out);
}

static int print_single(struct json_pb_stream *stream, const ProtobufCFieldDescriptor *field,
                        const uint8_t *base, struct buf *out)
{
    struct buf text;
    bool first = stream->first;
    int rc;

    /* Whether the list before it has ended is known once it turns out to be there. */
    buf_init(&text, SIZE_MAX / 2);
    rc = json_pb__put_field(field, base, &first, &text);
    if (rc == 0 && text.len > 0) {
        rc = close_list(stream, out);
        if (rc == 0)
            rc = buf_append(out, text.data, text.len);
        stream->first = false;
    }
    buf_release(&text);
    return rc;
}

static int print_part(struct json_pb_stream *stream, const ProtobufCMessage *message,
                      struct buf *out)
{
    const uint8_t *base = (const uint8_t *)message;
    int rc = 0;

    for (unsigned i = 0; i < stream->type->n_fields && rc == 0; i++) {
        const ProtobufCFieldDescriptor *field = &stream->type->fields[i];

        rc = field->label == PROTOBUF_C_LABEL_REPEATED ? print_list(stream, field, base, out)
                                                       : print_single(stream, field, base, out);
    }
    return rc;
}

int json_pb_stream_feed(struct json_pb_stream *stream, struct slice piece, struct buf *out)
{
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *part;
    size_t whole;
    int rc;

    rc = buf_append(&stream->rest, piece.data, piece.len);
    if (rc != 0)
        return rc;
    whole = whole_fields(buf_slice(&stream->rest));
    if (whole == 0)
        return 0;
    rc = scan_unpack_own(stream->type, slice_of(stream->rest.data, whole), &arena, &part);
    if (rc == 0 && !stream->begun)
        rc = buf_append_u8(out, '{');
    stream->begun = true;
    if (rc == 0)
        rc = print_part(stream, part, out);
    arena_release(&arena);
    buf_consume(&stream->rest, whole);
    return rc;
}

int json_pb_stream_end(struct json_pb_stream *stream, struct buf *out)
{
    int rc;

    if (stream->rest.len > 0)
        return KV_EPROTO;
    rc = stream->begun ? 0 : buf_append_u8(out, '{');
    if (rc == 0)
        rc = close_list(stream, out);
    return rc == 0 ? buf_append_u8(out, '}') : rc;
}
