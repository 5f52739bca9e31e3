/* Protobuf by the field tables: one reader for all types. Only what k8s.io's generated code writes
 * is understood (proto2, no groups); unknown numbers are skipped, as Go does it. */
#include <inttypes.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "kube/check/normal.h"
#include "kube/codec/protobuf.h"
#include "kube/types/tables.h"

#define DEPTH_MAX 200 /* messages within messages; a level of a schema is three of them */
#define NUMBER_MAX UINT16_MAX

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* One field as it lies in a message. */
struct wire {
    uint64_t number;
    unsigned type;      /* enum wire_type */
    uint64_t value;     /* of numbers */
    struct slice bytes; /* of WIRE_BYTES */
    const uint8_t *at;
};

struct decoder {
    struct arena *arena;
    const uint8_t *begin; /* for offsets in messages */
    struct err *err;
};

static int bad(const struct decoder *d, const uint8_t *at, const char *what)
{
    return err_set(d->err, KV_EPROTO, "protobuf: %s at byte %zu", what, (size_t)(at - d->begin));
}

static int bad_field(const struct decoder *d, const uint8_t *at, const struct kube_field *field,
                     const char *what)
{
    return err_set(d->err, KV_EPROTO, "protobuf: %s: %s at byte %zu", field->name, what,
                   (size_t)(at - d->begin));
}

/* ---- the wire ---- */

static int read_varint(const struct decoder *d, struct slice *rest, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < 10; i++) {
        if (i == rest->len)
            return bad(d, rest->data + i, "the message ends within a number");
        *out |= (uint64_t)(rest->data[i] & 0x7f) << (7 * i);
        if (rest->data[i] < 0x80) {
            *rest = slice_of(rest->data + i + 1, rest->len - i - 1);
            return 0;
        }
    }
    return bad(d, rest->data, "a number of more than ten bytes");
}

static int read_fixed(const struct decoder *d, struct slice *rest, size_t size, uint64_t *out)
{
    if (rest->len < size)
        return bad(d, rest->data, "the message ends within a number");
    *out = 0;
    for (size_t i = 0; i < size; i++)
        *out |= (uint64_t)rest->data[i] << (8 * i);
    *rest = slice_of(rest->data + size, rest->len - size);
    return 0;
}

static int read_bytes(const struct decoder *d, struct slice *rest, struct slice *out)
{
    uint64_t len;
    int rc = read_varint(d, rest, &len);

    if (rc != 0)
        return rc;
    if (len > rest->len)
        return bad(d, rest->data, "a length that leads beyond the message");
    *out = slice_of(rest->data, (size_t)len);
    *rest = slice_of(rest->data + len, rest->len - (size_t)len);
    return 0;
}

static int read_wire(const struct decoder *d, struct slice *rest, struct wire *out)
{
    uint64_t tag;
    int rc;

    *out = (struct wire){.at = rest->data};
    rc = read_varint(d, rest, &tag);
    if (rc != 0)
        return rc;
    out->number = tag >> 3;
    out->type = tag & 7;
    if (out->number == 0)
        return bad(d, out->at, "field number 0");
    switch (out->type) {
    case WIRE_VARINT:
        return read_varint(d, rest, &out->value);
    case WIRE_FIXED64:
        return read_fixed(d, rest, 8, &out->value);
    case WIRE_FIXED32:
        return read_fixed(d, rest, 4, &out->value);
    case WIRE_BYTES:
        return read_bytes(d, rest, &out->bytes);
    default:
        return bad(d, out->at, "an unknown wire type");
    }
}

/* The last field of that number in a small message; *found says if there was one. */
static int read_one(const struct decoder *d, struct slice message, uint64_t number,
                    struct wire *out, bool *found)
{
    struct wire wire;

    *found = false;
    while (message.len > 0) {
        int rc = read_wire(d, &message, &wire);

        if (rc != 0)
            return rc;
        if (wire.number == number) {
            *out = wire;
            *found = true;
        }
    }
    return 0;
}

/* As read_one() with a wire type; a missing field leaves *out zeroed. */
static int read_member(const struct decoder *d, struct slice message, uint64_t number,
                       enum wire_type type, struct wire *out)
{
    bool found;
    int rc;

    *out = (struct wire){.type = type, .at = message.data};
    rc = read_one(d, message, number, out, &found);
    if (rc == 0 && out->type != type)
        return bad(d, out->at, "a wire type that does not fit the field");
    return rc;
}

/* ---- scalars ---- */

static struct json *new_text(struct arena *arena, enum json_type type, const char *text, size_t len)
{
    struct json *value = json_new_string(arena, arena_copy(arena, slice_of(text, len)));

    value->type = type;
    return value;
}

/* As encoding/json writes a float64: the fewest digits that mean this number. */
static int decode_double(const struct decoder *d, const struct kube_field *field,
                         const struct wire *wire, struct json **out)
{
    char text[64];
    double number, size;
    bool plain;
    int len = 0;

    memcpy(&number, &wire->value, sizeof(number));
    if (!isfinite(number))
        return bad_field(d, wire->at, field, "a number that JSON does not have");
    size = fabs(number);
    plain = size == 0 || (size >= 1e-6 && size < 1e21);
    for (int precision = 0; precision <= 25; precision++) {
        len = snprintf(text, sizeof(text), plain ? "%.*f" : "%.*e", precision, number);
        if (strtod(text, NULL) == number)
            break;
    }
    if (!plain && text[len - 2] == '0') { /* Go writes e-7, C e-07 */
        text[len - 2] = text[len - 1];
        len--;
    }
    *out = new_text(d->arena, JSON_NUMBER, text, (size_t)len);
    return 0;
}

static int decode_bytes(const struct decoder *d, struct slice bytes, struct json **out)
{
    size_t size = (bytes.len + 2) / 3 * 4;
    unsigned char *text = arena_alloc(d->arena, size + 1);

    if (bytes.len > INT32_MAX)
        return bad(d, bytes.data, "a value of more than 2 GiB");
    (void)EVP_EncodeBlock(text, bytes.data, (int)bytes.len);
    *out = json_new_string(d->arena, slice_of(text, size));
    return 0;
}

/* google.protobuf.Timestamp. Go drops parts of a second from Time, since its JSON has none. */
static int decode_time(const struct decoder *d, const struct kube_field *field, struct slice bytes,
                       struct json **out)
{
    struct wire seconds, nanos;
    struct tm tm;
    time_t when;
    char text[64];
    int len, rc;

    if (bytes.len == 0) {
        *out = json_new(d->arena, JSON_NULL);
        return 0;
    }
    rc = read_member(d, bytes, 1, WIRE_VARINT, &seconds);
    if (rc == 0)
        rc = read_member(d, bytes, 2, WIRE_VARINT, &nanos);
    if (rc != 0)
        return rc;
    when = (time_t)seconds.value;
    if (nanos.value > 999999999 || gmtime_r(&when, &tm) == NULL || tm.tm_year < -1900 ||
        tm.tm_year > 9999 - 1900)
        return bad_field(d, bytes.data, field, "a time out of range");
    len = snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    len += field->kind == KUBE_MICROTIME ? snprintf(text + len, sizeof(text) - (size_t)len,
                                                    ".%06" PRIu64 "Z", nanos.value / 1000)
                                         : snprintf(text + len, sizeof(text) - (size_t)len, "Z");
    *out = new_text(d->arena, JSON_STRING, text, (size_t)len);
    return 0;
}

static int decode_duration(const struct decoder *d, const struct kube_field *field,
                           struct slice bytes, struct json **out)
{
    struct wire wire;
    struct slice canonical;
    char text[32];
    int rc = read_member(d, bytes, 1, WIRE_VARINT, &wire);

    if (rc != 0)
        return rc;
    (void)snprintf(text, sizeof(text), "%" PRId64 "ns", (int64_t)wire.value);
    if (kube_duration(d->arena, slice_str(text), &canonical) != 0)
        return bad_field(d, bytes.data, field, "a duration out of range");
    *out = json_new_string(d->arena, arena_copy(d->arena, canonical));
    return 0;
}

static int decode_quantity(const struct decoder *d, struct slice bytes, struct json **out)
{
    struct wire wire;
    int rc = read_member(d, bytes, 1, WIRE_BYTES, &wire);

    if (rc == 0)
        *out = wire.bytes.len == 0
                   ? json_new_cstring(d->arena, "0")
                   : json_new_string(d->arena, json_valid_text(d->arena, wire.bytes));
    return rc;
}

static int decode_int_or_string(const struct decoder *d, struct slice bytes, struct json **out)
{
    struct wire type, number, text;
    int rc = read_member(d, bytes, 1, WIRE_VARINT, &type);

    if (rc == 0)
        rc = read_member(d, bytes, 2, WIRE_VARINT, &number);
    if (rc == 0)
        rc = read_member(d, bytes, 3, WIRE_BYTES, &text);
    if (rc == 0)
        *out = type.value == 0 ? json_new_int(d->arena, (int32_t)number.value)
                               : json_new_string(d->arena, json_valid_text(d->arena, text.bytes));
    return rc;
}

/* A message whose only field is JSON text. */
static int decode_raw(const struct decoder *d, const struct kube_field *field, struct slice bytes,
                      struct json **out)
{
    struct wire wire;
    struct json_error error;
    int rc = read_member(d, bytes, 1, WIRE_BYTES, &wire);

    if (rc != 0)
        return rc;
    if (wire.bytes.len == 0) {
        *out = json_new(d->arena, JSON_NULL);
        return 0;
    }
    if (json_parse(d->arena, wire.bytes, NULL, out, &error) != 0)
        return bad_field(d, wire.at, field, error.text);
    return 0;
}

static bool is_varint(const struct kube_field *field)
{
    return field->kind == KUBE_BOOL || field->kind == KUBE_INT32 || field->kind == KUBE_INT64;
}

static struct json *new_varint(const struct decoder *d, const struct kube_field *field,
                               uint64_t value)
{
    if (field->kind == KUBE_BOOL)
        return json_new_bool(d->arena, value != 0);
    return json_new_int(d->arena, field->kind == KUBE_INT32 ? (int32_t)value : (int64_t)value);
}

static int decode_message(const struct decoder *d, const struct kube_struct *type,
                          struct slice message, unsigned depth, struct json **out);

/* apiextensions' JSONSchemaPropsOrBool (allows 1, schema 2), -OrArray (schema 1, schemas 2) and
 * -OrStringArray (schema 1, strings 2; only in the map of dependencies). */
static int decode_schema_or(const struct decoder *d, const struct kube_field *field,
                            struct slice rest, unsigned depth, struct json **out)
{
    bool has_items = strcmp(field->name, "items") == 0, has_strings = field->shape == KUBE_MAP;
    struct json *list = json_new(d->arena, JSON_ARRAY), *schema = NULL, *part;
    bool allows = false;

    while (rest.len > 0) {
        struct wire wire;
        int rc = read_wire(d, &rest, &wire);

        if (rc != 0)
            return rc;
        if (wire.number == 1 && wire.type == WIRE_VARINT)
            allows = wire.value != 0;
        if (wire.number > 2 || wire.type != WIRE_BYTES)
            continue;
        if (wire.number == 2 && has_strings) {
            part = json_new_string(d->arena, json_valid_text(d->arena, wire.bytes));
        } else {
            rc = decode_message(d, kube_struct(field->type), wire.bytes, depth + 1, &part);
            if (rc != 0)
                return rc;
        }
        if (wire.number == 2 && (has_items || has_strings))
            json_append(list, part);
        else
            schema = part;
    }
    if (list->first != NULL)
        *out = list;
    else if (schema != NULL)
        *out = schema;
    else
        *out = has_items || has_strings ? json_new(d->arena, JSON_NULL)
                                        : json_new_bool(d->arena, allows);
    return 0;
}

static int decode_value(const struct decoder *d, const struct kube_field *field,
                        const struct wire *wire, unsigned depth, struct json **out)
{
    unsigned wanted = is_varint(field)             ? WIRE_VARINT
                      : field->kind == KUBE_DOUBLE ? WIRE_FIXED64
                                                   : WIRE_BYTES;

    if (wire->type != wanted)
        return bad_field(d, wire->at, field, "a wire type that does not fit the field");
    switch ((enum kube_kind)field->kind) {
    case KUBE_BOOL:
    case KUBE_INT32:
    case KUBE_INT64:
        *out = new_varint(d, field, wire->value);
        return 0;
    case KUBE_STRING:
        *out = json_new_string(d->arena, json_valid_text(d->arena, wire->bytes));
        return 0;
    case KUBE_DOUBLE:
        return decode_double(d, field, wire, out);
    case KUBE_BYTES:
        return decode_bytes(d, wire->bytes, out);
    case KUBE_TIME:
    case KUBE_MICROTIME:
        return decode_time(d, field, wire->bytes, out);
    case KUBE_DURATION:
        return decode_duration(d, field, wire->bytes, out);
    case KUBE_QUANTITY:
        return decode_quantity(d, wire->bytes, out);
    case KUBE_INT_OR_STRING:
        return decode_int_or_string(d, wire->bytes, out);
    case KUBE_RAW:
        if ((field->flags & KUBE_SCHEMA_OR) != 0)
            return decode_schema_or(d, field, wire->bytes, depth, out);
        return decode_raw(d, field, wire->bytes, out);
    case KUBE_FIELDS_V1:
        return decode_raw(d, field, wire->bytes, out);
    case KUBE_STRUCT:
        return decode_message(d, kube_struct(field->type), wire->bytes, depth + 1, out);
    }
    return bad_field(d, wire->at, field, "a kind without a form in protobuf");
}

/* ---- lists and maps ---- */

/* Numbers may come packed into one run of bytes. */
static int append_packed(const struct decoder *d, const struct kube_field *field,
                         struct slice bytes, struct json *list)
{
    while (bytes.len > 0) {
        uint64_t value;
        int rc = read_varint(d, &bytes, &value);

        if (rc != 0)
            return rc;
        json_append(list, new_varint(d, field, value));
    }
    return 0;
}

static int append_item(const struct decoder *d, const struct kube_field *field,
                       const struct wire *wire, unsigned depth, struct json *list)
{
    struct json *item;
    int rc;

    if (is_varint(field) && wire->type == WIRE_BYTES)
        return append_packed(d, field, wire->bytes, list);
    rc = decode_value(d, field, wire, depth, &item);
    if (rc == 0)
        json_append(list, item);
    return rc;
}

/* A message of `items`. */
static int append_items(const struct decoder *d, const struct kube_field *field,
                        const struct wire *wire, unsigned depth, struct json *list)
{
    struct slice rest = wire->bytes;

    if (wire->type != WIRE_BYTES)
        return bad_field(d, wire->at, field, "a wire type that does not fit the field");
    while (rest.len > 0) {
        struct wire item;
        int rc = read_wire(d, &rest, &item);

        if (rc == 0 && item.number == 1)
            rc = append_item(d, field, &item, depth, list);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* What a map has if an entry comes without its value. */
static struct wire zero_of(const struct kube_field *field, const uint8_t *at)
{
    struct wire wire = {.type = WIRE_BYTES, .at = at, .bytes = slice_of(at, 0)};

    if (is_varint(field))
        wire.type = WIRE_VARINT;
    else if (field->kind == KUBE_DOUBLE)
        wire.type = WIRE_FIXED64;
    return wire;
}

static int add_entry(const struct decoder *d, const struct kube_field *field,
                     const struct wire *wire, unsigned depth, struct json *map)
{
    struct wire key, value;
    struct json *item = NULL;
    bool found;
    int rc;

    if (wire->type != WIRE_BYTES)
        return bad_field(d, wire->at, field, "a wire type that does not fit the field");
    rc = read_member(d, wire->bytes, 1, WIRE_BYTES, &key);
    if (rc == 0)
        rc = read_one(d, wire->bytes, 2, &value, &found);
    if (rc != 0)
        return rc;
    if (!found)
        value = zero_of(field, wire->at);
    if ((field->flags & KUBE_LIST_ITEMS) != 0) {
        item = json_new(d->arena, JSON_ARRAY);
        rc = append_items(d, field, &value, depth, item);
    } else {
        rc = decode_value(d, field, &value, depth, &item);
    }
    if (rc == 0)
        json_add(map, json_valid_text(d->arena, key.bytes), item);
    return rc;
}

struct entry {
    struct json *value;
    size_t at;
};

static int entry_order(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    int order = slice_cmp(slice_of(left->value->key, left->value->key_len),
                          slice_of(right->value->key, right->value->key_len));

    return order != 0 ? order : left->at < right->at ? -1 : 1;
}

/* By key, as Go writes maps; of those with the same key the last stays. */
static void sort_map(struct arena *arena, struct json *map)
{
    struct entry *entries = arena_alloc(arena, map->count * sizeof(*entries));
    size_t count = 0;

    json_each(value, map)
    {
        entries[count] = (struct entry){value, count};
        count++;
    }
    qsort(entries, count, sizeof(*entries), entry_order);
    map->first = map->last = NULL;
    map->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct json *value = entries[i].value;
        struct slice key = slice_of(value->key, value->key_len);

        if (i + 1 < count &&
            slice_eq(key, slice_of(entries[i + 1].value->key, entries[i + 1].value->key_len)))
            continue;
        value->next = NULL;
        json_add(map, key, value);
    }
}

/* ---- messages ---- */

static int take(const struct decoder *d, const struct kube_field *field, const struct wire *wire,
                unsigned depth, struct json **slot)
{
    if (field->shape == KUBE_ONE)
        return decode_value(d, field, wire, depth, slot);
    if (*slot == NULL)
        *slot = json_new(d->arena, field->shape == KUBE_MAP ? JSON_OBJECT : JSON_ARRAY);
    if (field->shape == KUBE_MAP)
        return add_entry(d, field, wire, depth, *slot);
    if ((field->flags & KUBE_LIST_ITEMS) != 0)
        return append_items(d, field, wire, depth, *slot);
    return append_item(d, field, wire, depth, *slot);
}

/* An embedded message has this path: fields lie in it, or in one that lies in it. */
static bool is_embedded(const struct kube_struct *type, uint64_t path)
{
    for (uint16_t i = 0; path <= NUMBER_MAX && i < type->field_count; i++) {
        if (type->fields[i].inlined_in == path || type->fields[i].inlined_in >> 8 == path)
            return true;
    }
    return false;
}

static int decode_fields(const struct decoder *d, const struct kube_struct *type, uint16_t path,
                         struct slice message, unsigned depth, struct json **slots)
{
    if (depth > DEPTH_MAX)
        return bad(d, message.data, "messages nested too deep");
    while (message.len > 0) {
        const struct kube_field *field = NULL;
        struct wire wire;
        int rc = read_wire(d, &message, &wire);

        if (rc != 0)
            return rc;
        if (wire.number <= NUMBER_MAX)
            field = kube_field_numbered(type, path, (uint16_t)wire.number);
        if (field != NULL)
            rc = take(d, field, &wire, depth, &slots[field - type->fields]);
        else if (wire.type == WIRE_BYTES && wire.number <= 0xff &&
                 is_embedded(type, (uint64_t)path << 8 | wire.number))
            rc = decode_fields(d, type, (uint16_t)(path << 8 | wire.number), wire.bytes, depth + 1,
                               slots);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Go sends zeros, too, and leaves them out of its JSON where the tag says so. */
static bool is_left_out(const struct kube_field *field, const struct json *value)
{
    if ((field->flags & (KUBE_OMITEMPTY | KUBE_POINTER)) != KUBE_OMITEMPTY)
        return false;
    if (field->shape != KUBE_ONE)
        return value->first == NULL;
    switch ((enum kube_kind)field->kind) {
    case KUBE_STRING:
    case KUBE_BYTES:
        return value->len == 0;
    case KUBE_BOOL:
        return !value->boolean;
    case KUBE_INT32:
    case KUBE_INT64:
    case KUBE_DOUBLE:
        return value->len == 1 && value->text[0] == '0';
    default:
        return false; /* structs are never empty to Go */
    }
}

static int decode_message(const struct decoder *d, const struct kube_struct *type,
                          struct slice message, unsigned depth, struct json **out)
{
    struct json *slots[KUBE_FIELDS_MAX];
    struct json *object = json_new(d->arena, JSON_OBJECT);
    int rc;

    memset(slots, 0, type->field_count * sizeof(slots[0]));
    rc = decode_fields(d, type, 0, message, depth, slots);
    if (rc != 0)
        return rc;
    for (uint16_t i = 0; i < type->field_count; i++) {
        const struct kube_field *field = &type->fields[i];

        if (slots[i] == NULL || is_left_out(field, slots[i]))
            continue;
        if (field->shape == KUBE_MAP)
            sort_map(d->arena, slots[i]);
        json_add(object, slice_of(field->name, field->name_len), slots[i]);
    }
    *out = object;
    return 0;
}

int kube_protobuf_decode(struct arena *arena, const struct kube_struct *type, struct slice raw,
                         struct json **out, struct err *err)
{
    const struct decoder d = {.arena = arena, .begin = raw.data, .err = err};

    return decode_message(&d, type, raw, 0, out);
}

/* ---- the envelope ---- */

static const uint8_t magic[4] = {'k', '8', 's', 0};

bool kube_is_protobuf(struct slice body)
{
    return body.len >= sizeof(magic) && memcmp(body.data, magic, sizeof(magic)) == 0;
}

int kube_envelope_read(struct slice body, struct kube_envelope *out, struct err *err)
{
    const struct decoder d = {.begin = body.data, .err = err};
    struct slice rest;
    struct wire type, raw, encoding, content_type, api_version, kind;
    int rc;

    if (!kube_is_protobuf(body))
        return err_set(err, KV_EPROTO, "protobuf: the body does not begin with k8s\\0");
    rest = slice_of(body.data + sizeof(magic), body.len - sizeof(magic));
    rc = read_member(&d, rest, 1, WIRE_BYTES, &type);
    if (rc == 0)
        rc = read_member(&d, type.bytes, 1, WIRE_BYTES, &api_version);
    if (rc == 0)
        rc = read_member(&d, type.bytes, 2, WIRE_BYTES, &kind);
    if (rc == 0)
        rc = read_member(&d, rest, 2, WIRE_BYTES, &raw);
    if (rc == 0)
        rc = read_member(&d, rest, 3, WIRE_BYTES, &encoding);
    if (rc == 0)
        rc = read_member(&d, rest, 4, WIRE_BYTES, &content_type);
    if (rc != 0)
        return rc;
    if (encoding.bytes.len > 0)
        return err_set(err, KV_EPROTO, "protobuf: the content encoding %.*s is not supported",
                       (int)MIN(encoding.bytes.len, 32), (const char *)encoding.bytes.data);
    *out = (struct kube_envelope){.api_version = api_version.bytes,
                                  .kind = kind.bytes,
                                  .raw = raw.bytes,
                                  .content_type = content_type.bytes};
    return 0;
}
