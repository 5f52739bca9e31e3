/* Writing: messages to JSON, straight into the output. A tree of json-c would cost some hundred
 * bytes per value, and a range of the whole keyspace has many. */
#include <inttypes.h>
#include <string.h>

#include "server/json_pb.h"
#include "server/json_pb_internal.h"

static int put_text(struct buf *out, const char *text)
{
    return buf_append(out, text, strlen(text));
}

/* ---- strings and bytes ---- */

size_t json_pb__utf8(struct slice text)
{
    uint8_t lead = text.data[0];
    size_t len = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

    if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || len > text.len)
        return 0;
    for (size_t i = 1; i < len; i++, low = 0x80, high = 0xbf)
        if (text.data[i] < low || text.data[i] > high)
            return 0;
    return len;
}

/* One character at the front of text; *len is how many bytes it took. */
static int put_char(struct slice text, struct buf *out, size_t *len)
{
    uint8_t c = text.data[0];

    *len = json_pb__utf8(text);
    if (*len == 0) {
        *len = 1;
        return put_text(out, "\\ufffd");
    }
    if (c == '"' || c == '\\')
        return buf_printf(out, "\\%c", c);
    if (c == '\n')
        return put_text(out, "\\n");
    if (c < 0x20 || c == 0x7f)
        return buf_printf(out, "\\u%04x", c);
    return buf_append(out, text.data, *len);
}

int json_pb_print_string(struct slice text, struct buf *out)
{
    int rc = put_text(out, "\"");

    for (size_t i = 0, n; i < text.len && rc == 0; i += n)
        rc = put_char(slice_of(text.data + i, text.len - i), out, &n);
    return rc == 0 ? put_text(out, "\"") : rc;
}

static int put_base64(const ProtobufCBinaryData *bytes, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = (bytes->len + 2) / 3 * 4;
    int rc = buf_reserve(out, len + 2);
    uint8_t *to;

    if (rc != 0)
        return rc;
    to = out->data + out->len;
    *to++ = '"';
    for (size_t i = 0; i < bytes->len; i += 3) {
        size_t left = bytes->len - i;
        uint32_t bits = (uint32_t)bytes->data[i] << 16 |
                        (left > 1 ? (uint32_t)bytes->data[i + 1] << 8 : 0) |
                        (left > 2 ? bytes->data[i + 2] : 0);

        *to++ = (uint8_t)digits[bits >> 18];
        *to++ = (uint8_t)digits[bits >> 12 & 63];
        *to++ = left > 1 ? (uint8_t)digits[bits >> 6 & 63] : '=';
        *to++ = left > 2 ? (uint8_t)digits[bits & 63] : '=';
    }
    *to = '"';
    out->len += len + 2;
    return 0;
}

static int put_enum(const ProtobufCEnumDescriptor *type, int value, struct buf *out)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);

    if (known == NULL)
        return buf_printf(out, "%d", value);
    return buf_printf(out, "\"%s\"", known->name);
}

/* ---- fields ---- */

/* at points to one value of the field's C type. */
static int put_value(const ProtobufCFieldDescriptor *field, const void *at, struct buf *out)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
        return buf_printf(out, "%" PRId32, *(const int32_t *)at);
    case PROTOBUF_C_TYPE_UINT32:
        return buf_printf(out, "%" PRIu32, *(const uint32_t *)at);
    case PROTOBUF_C_TYPE_INT64:
        return buf_printf(out, "\"%" PRId64 "\"", *(const int64_t *)at);
    case PROTOBUF_C_TYPE_UINT64:
        return buf_printf(out, "\"%" PRIu64 "\"", *(const uint64_t *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return put_text(out, *(const protobuf_c_boolean *)at ? "true" : "false");
    case PROTOBUF_C_TYPE_ENUM:
        return put_enum(field->descriptor, *(const int *)at, out);
    case PROTOBUF_C_TYPE_STRING:
        return json_pb_print_string(slice_str(*(char *const *)at), out);
    case PROTOBUF_C_TYPE_BYTES:
        return put_base64(at, out);
    case PROTOBUF_C_TYPE_MESSAGE:
        return json_pb_print(*(ProtobufCMessage *const *)at, out);
    default:
        ASSERT(false); /* not in our protos: test_json_pb walks them all */
    }
}

static size_t size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int32_t);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        return sizeof(int64_t);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    default:
        ASSERT(false); /* as above */
    }
}

int json_pb__put_values(const ProtobufCFieldDescriptor *field, const void *at, size_t count,
                        struct buf *out)
{
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        if (i > 0)
            rc = put_text(out, ",");
        if (rc == 0)
            rc = put_value(field, (const uint8_t *)at + i * size_of(field->type), out);
    }
    return rc;
}

static int put_list(const ProtobufCFieldDescriptor *field, const void *list, size_t count,
                    struct buf *out)
{
    int rc = put_text(out, "[");

    if (rc == 0)
        rc = json_pb__put_values(field, list, count, out);
    return rc == 0 ? put_text(out, "]") : rc;
}

/* proto3: a field that has its zero value is not there, unless it says which member of a oneof is.
 */
static bool is_present(const ProtobufCFieldDescriptor *field, const uint8_t *base)
{
    const void *at = base + field->offset;

    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        return *(const uint32_t *)(const void *)(base + field->quantifier_offset) == field->id;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        return *(const uint64_t *)at != 0;
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)at)->len != 0;
    case PROTOBUF_C_TYPE_STRING:
        return *(char *const *)at != NULL && (*(char *const *)at)[0] != '\0';
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(void *const *)at != NULL;
    default:
        return *(const uint32_t *)at != 0; /* int32, uint32, enum and bool alike */
    }
}

_Static_assert(sizeof(protobuf_c_boolean) == sizeof(uint32_t), "is_present() reads it as one");

int json_pb__put_field(const ProtobufCFieldDescriptor *field, const uint8_t *base, bool *first,
                       struct buf *out)
{
    const void *at = base + field->offset;
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    size_t count = repeated ? *(const size_t *)(const void *)(base + field->quantifier_offset) : 0;
    int rc;

    if (repeated ? count == 0 : !is_present(field, base))
        return 0;
    rc = buf_printf(out, "%s\"%s\":", *first ? "" : ",", field->name);
    *first = false;
    if (rc != 0)
        return rc;
    return repeated ? put_list(field, *(void *const *)at, count, out) : put_value(field, at, out);
}

int json_pb_print(const ProtobufCMessage *message, struct buf *out)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    bool first = true;
    int rc = put_text(out, "{");

    for (unsigned i = 0; i < type->n_fields && rc == 0; i++)
        rc = json_pb__put_field(&type->fields[i], (const uint8_t *)message, &first, out);
    return rc == 0 ? put_text(out, "}") : rc;
}
