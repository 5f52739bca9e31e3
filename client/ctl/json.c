#include "client/ctl/json.h"

#include <inttypes.h>
#include <json-c/printbuf.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/util.h"
#include "client/ctl/gotext.h"
#include "proto/rpc.pb-c.h"

/* ---- strings ---- */

static void append(struct printbuf *pb, const char *text, size_t len)
{
    (void)printbuf_memappend(pb, text, (int)len); /* fails only without memory */
}

/* encoding/json with its default HTML escapes; bytes that are no UTF-8 become U+FFFD. */
static void append_rune(struct printbuf *pb, struct slice bytes, uint32_t rune)
{
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    const char *known = rune != 0 && rune < 0x80 ? strchr(from, (int)rune) : NULL;
    char text[8];

    if (known != NULL)
        (void)snprintf(text, sizeof text, "\\%c", to[known - from]);
    else if (rune < 0x20 || rune == '<' || rune == '>' || rune == '&' || rune == 0x2028 ||
             rune == 0x2029)
        (void)snprintf(text, sizeof text, "\\u%04x", rune);
    else {
        append(pb, (const char *)bytes.data, bytes.len);
        return;
    }
    append(pb, text, strlen(text));
}

static int print_string(struct json_object *json, struct printbuf *pb, int level, int flags)
{
    struct slice text =
        slice_of(json_object_get_string(json), (size_t)json_object_get_string_len(json));
    uint32_t rune = 0;

    (void)level;
    (void)flags;
    append(pb, "\"", 1);
    while (text.len != 0) {
        size_t len = utf8_decode(text, &rune);

        if (len == 0)
            append(pb, "\\ufffd", 6);
        else
            append_rune(pb, slice_of(text.data, len), rune);
        len = len != 0 ? len : 1;
        text = slice_of(text.data + len, text.len - len);
    }
    append(pb, "\"", 1);
    return 0;
}

struct json_object *json_of_string(const char *text)
{
    struct json_object *json = json_object_new_string(text);

    json_object_set_serializer(json, print_string, NULL, NULL);
    return json;
}

struct json_object *json_of_bytes(const ProtobufCBinaryData *bytes)
{
    char *text = xmalloc(bytes->len / 3 * 4 + 5);
    struct json_object *json;

    (void)EVP_EncodeBlock((unsigned char *)text, bytes->data, (int)bytes->len);
    json = json_object_new_string(text);
    free(text);
    return json;
}

static struct json_object *json_of_hex(uint64_t id)
{
    char text[20];

    (void)snprintf(text, sizeof text, "%" PRIx64, id);
    return json_object_new_string(text);
}

/* ---- fields ---- */

/* A Go struct keeps a oneof behind a member that has the oneof's name; the descriptor does not know
 * that name. */
static const struct {
    const ProtobufCMessageDescriptor *message;
    const char *member;
} oneofs[] = {
    {&etcdserverpb__response_op__descriptor, "Response"},
};

static const char *oneof_member(const ProtobufCMessageDescriptor *message)
{
    size_t i;

    for (i = 0; i < ARRAY_LEN(oneofs); i++) {
        if (oneofs[i].message == message)
            return oneofs[i].member;
    }
    return NULL;
}

static bool is_id(const ProtobufCFieldDescriptor *field)
{
    static const char *const names[] = {"cluster_id", "member_id", "ID", "memberID"};
    size_t i;

    for (i = 0; field->type == PROTOBUF_C_TYPE_UINT64 && i < ARRAY_LEN(names); i++) {
        if (strcmp(field->name, names[i]) == 0)
            return true;
    }
    return false;
}

static struct json_object *json_of_value(const ProtobufCFieldDescriptor *field, const void *at,
                                         bool hex_ids)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_ENUM:
        return json_object_new_int64(*(const int32_t *)at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_object_new_int64(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return json_object_new_int64(*(const int64_t *)at);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        if (hex_ids && is_id(field))
            return json_of_hex(*(const uint64_t *)at);
        return json_object_new_uint64(*(const uint64_t *)at);
    case PROTOBUF_C_TYPE_FLOAT:
        return json_object_new_double((double)*(const float *)at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_object_new_double(*(const double *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return json_object_new_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_STRING:
        return json_of_string(*(const char *const *)at);
    case PROTOBUF_C_TYPE_BYTES:
        return json_of_bytes(at);
    case PROTOBUF_C_TYPE_MESSAGE:
        return json_of_message(*(const ProtobufCMessage *const *)at, hex_ids);
    }
    return NULL;
}

static size_t size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

static bool is_zero(const ProtobufCFieldDescriptor *field, const void *at)
{
    static const uint8_t zero[8];

    if (field->type == PROTOBUF_C_TYPE_STRING)
        return *(const char *const *)at == NULL || **(const char *const *)at == '\0';
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)at)->len == 0;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(const ProtobufCMessage *const *)at == NULL;
    return memcmp(at, zero, size_of(field->type)) == 0;
}

static struct json_object *json_of_list(const ProtobufCFieldDescriptor *field, const char *items,
                                        size_t len, bool hex_ids)
{
    struct json_object *list = json_object_new_array();
    size_t i;

    for (i = 0; i < len; i++)
        (void)json_object_array_add(
            list, json_of_value(field, items + i * size_of(field->type), hex_ids));
    return list;
}

static void add_field(struct json_object *json, const ProtobufCFieldDescriptor *field,
                      const ProtobufCMessage *message, bool hex_ids)
{
    const char *base = (const char *)message;
    const void *at = base + field->offset;
    struct json_object *value;

    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t len = *(const size_t *)(const void *)(base + field->quantifier_offset);

        if (len == 0)
            return;
        value = json_of_list(field, *(const char *const *)at, len, hex_ids);
    } else {
        /* Go's hex shape of ids shows a zero as well */
        if (is_zero(field, at) && !(hex_ids && is_id(field)))
            return;
        value = json_of_value(field, at, hex_ids);
    }
    (void)json_object_object_add(json, field->name, value);
}

static bool is_chosen(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    const void *chosen = (const char *)message + field->quantifier_offset;

    return *(const uint32_t *)chosen == field->id;
}

/* {"Response":{"response_put":{...}}} */
static void add_oneof(struct json_object *json, const ProtobufCFieldDescriptor *field,
                      const ProtobufCMessage *message, bool hex_ids)
{
    const char *member = oneof_member(message->descriptor);
    struct json_object *inner = json;

    if (member != NULL) {
        inner = json_object_new_object();
        (void)json_object_object_add(json, member, inner);
    }
    add_field(inner, field, message, hex_ids);
}

struct json_object *json_of_message(const ProtobufCMessage *message, bool hex_ids)
{
    struct json_object *json;
    unsigned i;

    if (message == NULL)
        return NULL;
    json = json_object_new_object();
    for (i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
            add_field(json, field, message, hex_ids);
        else if (is_chosen(field, message))
            add_oneof(json, field, message, hex_ids);
    }
    return json;
}

void json_print(FILE *out, struct json_object *json)
{
    fputs(json_object_to_json_string_ext(json,
                                         JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
          out);
    fputc('\n', out);
}
