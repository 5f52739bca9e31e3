/* Reading: JSON to protobuf bytes. Writing is in json_pb_print.c. */
#include "server/json_pb.h"

#include <ctype.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/mem.h"
#include "server/json_pb_internal.h"

/* ---- splitting ---- */

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct slice *text)
{
    while (text->len > 0 && is_space(text->data[0]))
        *text = slice_of(text->data + 1, text->len - 1);
}

/* Length of the string that starts with the quote at p; 0 if it does not end, or has a control
 * character in it (RFC 8259 section 7), which json-c lets through. */
static size_t string_len(const uint8_t *p, size_t len)
{
    for (size_t i = 1; i < len && p[i] >= 0x20; i++) {
        if (p[i] == '\\')
            i++;
        else if (p[i] == '"')
            return i + 1;
    }
    return 0;
}

/* Length of a number or literal; 0 if nothing like it stands there. json-c would take comments and
 * single quotes. */
static size_t word_len(const uint8_t *p, size_t len)
{
    size_t i = 0;

    while (i < len && (isalnum(p[i]) != 0 || p[i] == '+' || p[i] == '-' || p[i] == '.'))
        i++;
    return i;
}

/* Length of the value at the front of text. */
static int measure(struct slice text, size_t *out, struct err *err)
{
    size_t depth = 0, elements = 0;
    size_t i = 0;

    while (i < text.len) {
        uint8_t c = text.data[i];
        size_t n = 1;

        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth -= depth > 0;
        else if (c == '"')
            n = string_len(text.data + i, text.len - i);
        else if (!is_space(c) && c != ',' && c != ':')
            n = word_len(text.data + i, text.len - i);
        if (n == 0)
            return err_set(err, KV_EPROTO, "%s at byte %zu",
                           c == '"' ? "bad or unfinished string" : "invalid character", i);
        if (depth > JSON_PB_DEPTH_MAX)
            return err_set(err, KV_EPROTO, "nested more than %d levels deep", JSON_PB_DEPTH_MAX);
        elements += c == '{' || c == '[' || c == ',';
        if (elements > JSON_PB_ELEMENTS_MAX)
            return err_set(err, KV_EPROTO, "more than %d values in one message",
                           JSON_PB_ELEMENTS_MAX);
        i += n;
        if (depth == 0) {
            *out = i;
            return 0;
        }
    }
    return err_set(err, KV_EPROTO, "unexpected EOF");
}

int json_pb_split(struct slice *rest, struct slice *value, struct err *err)
{
    size_t len = 0;

    skip_space(rest);
    *value = slice_of(NULL, 0);
    if (rest->len == 0)
        return 0;
    if (measure(*rest, &len, err) != 0)
        return KV_EPROTO;
    *value = slice_of(rest->data, len);
    *rest = slice_of(rest->data + len, rest->len - len);
    skip_space(rest);
    return 0;
}

/* ---- scalars ---- */

static struct slice string_of(struct json_object *value)
{
    return slice_of(json_object_get_string(value), (size_t)json_object_get_string_len(value));
}

static int bad(const ProtobufCFieldDescriptor *field, struct err *err, const char *what)
{
    return err_set(err, KV_EPROTO, "invalid value for field %s: %s", field->name, what);
}

static uint32_t sextet(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)c - 'A';
    if (c >= 'a' && c <= 'z')
        return (uint32_t)c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return (uint32_t)c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : UINT32_MAX;
}

/* Either alphabet (RFC 4648 sections 4 and 5) but not both at once; padding may be missing, as
 * protojson has it, but may not be wrong. Bits behind the last byte are ignored, as Go does. */
static bool decode_base64(struct slice text, uint8_t *out, size_t *out_len)
{
    bool standard = false, url = false;
    uint32_t bits = 0;
    size_t digits = 0, pads = 0, n = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        uint32_t six = sextet(c);

        if (c == '\r' || c == '\n')
            continue; /* the base64 program breaks its lines */
        if (c == '=') {
            pads++;
            continue;
        }
        if (six == UINT32_MAX || pads > 0)
            return false;
        standard |= c == '+' || c == '/';
        url |= c == '-' || c == '_';
        bits = bits << 6 | six;
        if (++digits % 4 != 1)
            out[n++] = (uint8_t)(bits >> (6 - 2 * ((digits - 1) % 4)));
    }
    *out_len = n;
    return !(standard && url) && digits % 4 != 1 &&
           (pads == 0 || (digits % 4 != 0 && digits % 4 + pads == 4));
}

static int put_bytes(const ProtobufCFieldDescriptor *field, struct json_object *value,
                     struct buf *out, struct err *err)
{
    struct slice text;
    uint8_t *bytes;
    size_t len = 0;
    bool ok;
    int rc;

    if (!json_object_is_type(value, json_type_string))
        return bad(field, err, "not a string of base64");
    text = string_of(value);
    bytes = xmalloc(text.len / 4 * 3 + 3);
    ok = decode_base64(text, bytes, &len);
    rc = ok ? buf_append_varint(out, len) : bad(field, err, "illegal base64 data");
    if (rc == 0)
        rc = buf_append(out, bytes, len);
    free(bytes);
    return rc;
}

/* protobuf-c ends strings with a NUL, so one inside would hide what is behind it. */
static int put_string(const ProtobufCFieldDescriptor *field, struct json_object *value,
                      struct buf *out, struct err *err)
{
    struct slice text;
    int rc;

    if (!json_object_is_type(value, json_type_string))
        return bad(field, err, "not a string");
    text = string_of(value);
    if (memchr(text.data, '\0', text.len) != NULL)
        return bad(field, err, "NUL inside a string");
    for (size_t i = 0, n; i < text.len; i += n) {
        n = json_pb__utf8(slice_of(text.data + i, text.len - i));
        if (n == 0)
            return bad(field, err, "not UTF-8");
    }
    rc = buf_append_varint(out, text.len);
    return rc == 0 ? buf_append(out, text.data, text.len) : rc;
}

/* [-]digits[.0...]: what JSON calls a number, as far as it is an integer; no exponents. */
static bool parse_integer(const char *text, bool *negative, uint64_t *magnitude)
{
    const char *digits;

    *negative = text[0] == '-';
    digits = text + *negative;
    *magnitude = 0;
    if (digits[0] < '0' || digits[0] > '9' ||
        (digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9'))
        return false;
    for (; *digits >= '0' && *digits <= '9'; digits++)
        if (__builtin_mul_overflow(*magnitude, (uint64_t)10, magnitude) ||
            __builtin_add_overflow(*magnitude, (uint64_t)(*digits - '0'), magnitude))
            return false;
    if (digits[0] == '.' && digits[1] == '0')
        digits += 1 + strspn(digits + 1, "0");
    return *digits == '\0';
}

static int put_integer(const ProtobufCFieldDescriptor *field, struct json_object *value,
                       int64_t min, uint64_t max, struct buf *out, struct err *err)
{
    const char *text;
    uint64_t magnitude, lowest = 0 - (uint64_t)min;
    bool negative;

    if (!json_object_is_type(value, json_type_int) &&
        !json_object_is_type(value, json_type_double) &&
        !json_object_is_type(value, json_type_string))
        return bad(field, err, "not a number");
    text = json_object_get_string(value); /* a number's own text */
    if ((json_object_is_type(value, json_type_string) &&
         (size_t)json_object_get_string_len(value) != strlen(text)) ||
        !parse_integer(text, &negative, &magnitude))
        return bad(field, err, "not an integer");
    if (negative ? magnitude > lowest : magnitude > max)
        return bad(field, err, "out of range");
    return buf_append_varint(out, negative ? 0 - magnitude : magnitude);
}

static int put_enum(const ProtobufCFieldDescriptor *field, struct json_object *value,
                    struct buf *out, struct err *err)
{
    const ProtobufCEnumValue *known;

    if (!json_object_is_type(value, json_type_string))
        return put_integer(field, value, INT32_MIN, INT32_MAX, out, err);
    known = protobuf_c_enum_descriptor_get_value_by_name(field->descriptor,
                                                         json_object_get_string(value));
    if (known == NULL)
        return bad(field, err, "unknown name");
    return buf_append_varint(out, (uint64_t)(int64_t)known->value);
}

static int put_bool(const ProtobufCFieldDescriptor *field, struct json_object *value,
                    struct buf *out, struct err *err)
{
    if (!json_object_is_type(value, json_type_boolean))
        return bad(field, err, "neither true nor false");
    return buf_append_u8(out, json_object_get_boolean(value) ? 1 : 0);
}

/* ---- messages ---- */

static int put_message(const ProtobufCMessageDescriptor *type, struct json_object *value,
                       struct buf *out, struct err *err);

/* The length stands before the bytes and is known after them. */
static int put_submessage(const ProtobufCFieldDescriptor *field, struct json_object *value,
                          struct buf *out, struct err *err)
{
    uint8_t head[VARINT_SIZE_MAX];
    size_t start = out->len, len, n;
    int rc;

    if (!json_object_is_type(value, json_type_object))
        return bad(field, err, "not an object");
    rc = put_message(field->descriptor, value, out, err);
    if (rc != 0)
        return rc;
    len = out->len - start;
    n = put_varint(head, len);
    rc = buf_append(out, head, n);
    if (rc != 0)
        return rc;
    memmove(out->data + start + n, out->data + start, len);
    memcpy(out->data + start, head, n);
    return 0;
}

static int put_value(const ProtobufCFieldDescriptor *field, struct json_object *value,
                     struct buf *out, struct err *err)
{
    enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };
    bool lengthy = field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES ||
                   field->type == PROTOBUF_C_TYPE_MESSAGE;
    int rc =
        buf_append_varint(out, (uint64_t)field->id << 3 | (lengthy ? WIRE_BYTES : WIRE_VARINT));

    if (rc != 0)
        return rc;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
        return put_integer(field, value, INT32_MIN, INT32_MAX, out, err);
    case PROTOBUF_C_TYPE_UINT32:
        return put_integer(field, value, 0, UINT32_MAX, out, err);
    case PROTOBUF_C_TYPE_INT64:
        return put_integer(field, value, INT64_MIN, INT64_MAX, out, err);
    case PROTOBUF_C_TYPE_UINT64:
        return put_integer(field, value, 0, UINT64_MAX, out, err);
    case PROTOBUF_C_TYPE_BOOL:
        return put_bool(field, value, out, err);
    case PROTOBUF_C_TYPE_ENUM:
        return put_enum(field, value, out, err);
    case PROTOBUF_C_TYPE_STRING:
        return put_string(field, value, out, err);
    case PROTOBUF_C_TYPE_BYTES:
        return put_bytes(field, value, out, err);
    case PROTOBUF_C_TYPE_MESSAGE:
        return put_submessage(field, value, out, err);
    default:
        ASSERT(false); /* not in our protos: test_json_pb walks them all */
    }
}

static int put_repeated(const ProtobufCFieldDescriptor *field, struct json_object *list,
                        struct buf *out, struct err *err)
{
    int rc = 0;

    if (!json_object_is_type(list, json_type_array))
        return bad(field, err, "not an array");
    for (size_t i = 0; i < json_object_array_length(list) && rc == 0; i++)
        rc = put_value(field, json_object_array_get_idx(list, i), out, err);
    return rc;
}

/* Whether key is what protojson calls the JSON name: "sortOrder" for "sort_order". */
static bool is_camel_of(const char *name, const char *key)
{
    for (; *name != '\0'; name++, key++) {
        bool upper = *name == '_';

        name += upper;
        if (*key != (upper && *name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name) ||
            *name == '\0')
            return false;
    }
    return *key == '\0';
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type,
                                                  const char *key)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(type, key);

    for (unsigned i = 0; i < type->n_fields && field == NULL; i++)
        if (is_camel_of(type->fields[i].name, key))
            field = &type->fields[i];
    return field;
}

/* A field may come once, under one of its names, and with it no other member of its oneof. */
static int mark_seen(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field,
                     uint64_t *seen, struct err *err)
{
    ASSERT(type->n_fields <= 64);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *other = &type->fields[i];

        if ((*seen >> i & 1) == 0)
            continue;
        if (other == field)
            return bad(field, err, "given twice");
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
            (other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
            other->quantifier_offset == field->quantifier_offset)
            return err_set(err, KV_EPROTO, "only one of the fields %s and %s can be set",
                           other->name, field->name);
    }
    *seen |= UINT64_C(1) << (field - type->fields);
    return 0;
}

static int put_message(const ProtobufCMessageDescriptor *type, struct json_object *value,
                       struct buf *out, struct err *err)
{
    uint64_t seen = 0;

    json_object_object_foreach(value, key, each)
    {
        const ProtobufCFieldDescriptor *field = find_field(type, key);
        int rc;

        if (field == NULL || each == NULL)
            continue;
        rc = mark_seen(type, field, &seen, err);
        if (rc == 0)
            rc = field->label == PROTOBUF_C_LABEL_REPEATED ? put_repeated(field, each, out, err)
                                                           : put_value(field, each, out, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int json_pb_parse(const ProtobufCMessageDescriptor *type, struct slice value, struct buf *out,
                  struct err *err)
{
    struct json_tokener *tokener;
    struct json_object *root;
    enum json_tokener_error error;
    int rc = 0;

    if (slice_eq(value, slice_str("null")))
        return 0;
    if (value.len == 0 || value.data[0] != '{' || value.len > INT_MAX)
        return err_set(err, KV_EPROTO, "a message has to be a JSON object");
    tokener = json_tokener_new_ex(JSON_PB_DEPTH_MAX + 2);
    ASSERT(tokener != NULL); /* fails for want of memory only */
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    root = json_tokener_parse_ex(tokener, (const char *)value.data, (int)value.len);
    error = json_tokener_get_error(tokener);
    if (error == json_tokener_success)
        rc = put_message(type, root, out, err);
    else
        rc = err_set(err, KV_EPROTO, "%s at byte %zu", json_tokener_error_desc(error),
                     json_tokener_get_parse_end(tokener));
    (void)json_object_put(root); /* the only reference */
    json_tokener_free(tokener);
    return rc;
}
