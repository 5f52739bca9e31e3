#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/err.h"
#include "base/util.h"
#include "kube/codec/yaml.h"
#include "kube/codec/yaml_scalar.h"

struct writer {
    struct arena scratch; /* sorted members */
    struct buf *buf;
    yaml_emitter_t emitter;
};

static int append(void *context, unsigned char *bytes, size_t len)
{
    struct writer *writer = context;

    return buf_append(writer->buf, bytes, len) == 0;
}

/* ---- order of keys: go-yaml's, in which a2 comes before a10 ---- */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
    return (c | 0x20) >= 'a' ? (c | 0x20) <= 'z' || c >= 0x80 : false;
}

/* The number that begins at i, as far as it tells from which one is the greater. */
static uint64_t number_at(struct slice text, size_t i, uint64_t before, size_t *end)
{
    uint64_t number = before;

    for (; i < text.len && is_digit(text.data[i]); i++)
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    *end = i;
    return number;
}

/* Two keys that differ at i first. */
static int compare_from(struct slice a, struct slice b, size_t i)
{
    bool letter_a = is_letter(a.data[i]), letter_b = is_letter(b.data[i]);
    uint64_t before = 0, number_a, number_b;
    size_t end_a, end_b;

    if (letter_a != letter_b)
        return letter_b ? -1 : 1;
    if (!letter_a) {
        if (a.data[i] == '0' || b.data[i] == '0') {
            /* Zeros within a number count, leading ones do not. */
            for (size_t j = i; j > 0 && is_digit(a.data[j - 1]); j--)
                before = a.data[j - 1] != '0' ? 1 : before;
        }
        number_a = number_at(a, i, before, &end_a);
        number_b = number_at(b, i, before, &end_b);
        if (number_a != number_b)
            return number_a < number_b ? -1 : 1;
        if (end_a != end_b)
            return end_a < end_b ? -1 : 1;
    }
    return a.data[i] < b.data[i] ? -1 : 1;
}

static int compare_members(const void *left, const void *right)
{
    struct slice a = json_key(*(const struct json *const *)left);
    struct slice b = json_key(*(const struct json *const *)right);
    size_t shared = MIN(a.len, b.len);

    for (size_t i = 0; i < shared; i++) {
        if (a.data[i] != b.data[i])
            return compare_from(a, b, i);
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

/* ---- events ---- */

static bool emit(struct writer *writer, yaml_event_t *event)
{
    return yaml_emitter_emit(&writer->emitter, event) != 0;
}

static bool write_scalar(struct writer *writer, struct slice text, yaml_scalar_style_t style)
{
    yaml_event_t event;

    return yaml_scalar_event_initialize(&event, NULL, NULL, text.data, (int)text.len, 1, 1,
                                        style) != 0 &&
           emit(writer, &event);
}

static bool write_string(struct writer *writer, struct slice text)
{
    yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;

    if (text.data == NULL)
        text = slice_str("");
    if (memchr(text.data, '\n', text.len) != NULL)
        style = YAML_LITERAL_SCALAR_STYLE;
    else if (kube_scalar_resolve(text).kind != KUBE_SCALAR_STRING || kube_scalar_is_base60(text))
        style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    return write_scalar(writer, text, style);
}

/* Integers as they will be read: -0 is 0. */
static bool write_number(struct writer *writer, const struct json *number)
{
    struct kube_scalar scalar = kube_scalar_resolve(json_text(number));
    struct slice text = scalar.kind == KUBE_SCALAR_INT ? slice_str(scalar.text) : json_text(number);

    return write_scalar(writer, text, YAML_PLAIN_SCALAR_STYLE);
}

static bool write_value(struct writer *writer, const struct json *value);

static bool write_array(struct writer *writer, const struct json *array)
{
    yaml_event_t event;

    if (yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE) ==
            0 ||
        !emit(writer, &event))
        return false;
    json_each(item, array)
    {
        if (!write_value(writer, item))
            return false;
    }
    return yaml_sequence_end_event_initialize(&event) != 0 && emit(writer, &event);
}

static bool write_object(struct writer *writer, const struct json *object)
{
    const struct json **members = arena_alloc(&writer->scratch, object->count * sizeof(*members));
    yaml_event_t event;
    size_t count = 0;

    json_each(member, object) members[count++] = member;
    if (count > 1)
        qsort(members, count, sizeof(*members), compare_members);
    if (yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE) == 0 ||
        !emit(writer, &event))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!write_string(writer, json_key(members[i])) || !write_value(writer, members[i]))
            return false;
    }
    return yaml_mapping_end_event_initialize(&event) != 0 && emit(writer, &event);
}

static bool write_value(struct writer *writer, const struct json *value)
{
    switch (value->type) {
    case JSON_NULL:
        return write_scalar(writer, slice_str("null"), YAML_PLAIN_SCALAR_STYLE);
    case JSON_BOOL:
        return write_scalar(writer, slice_str(value->boolean ? "true" : "false"),
                            YAML_PLAIN_SCALAR_STYLE);
    case JSON_NUMBER:
        return write_number(writer, value);
    case JSON_STRING:
        return write_string(writer, json_text(value));
    case JSON_ARRAY:
        return write_array(writer, value);
    case JSON_OBJECT:
        return write_object(writer, value);
    }
    return false;
}

static bool write_document(struct writer *writer, const struct json *value)
{
    yaml_event_t event;

    if (yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) == 0 ||
        !emit(writer, &event) ||
        yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) == 0 ||
        !emit(writer, &event) || !write_value(writer, value))
        return false;
    writer->emitter.open_ended = 0; /* or "..." would end what ends in |+; go-yaml has none */
    return yaml_document_end_event_initialize(&event, 1) != 0 && emit(writer, &event) &&
           yaml_stream_end_event_initialize(&event) != 0 && emit(writer, &event);
}

int kube_yaml_write(struct buf *buf, const struct json *value)
{
    struct writer writer = {.scratch = ARENA_INIT, .buf = buf};
    int rc = KV_ETOOBIG;

    if (yaml_emitter_initialize(&writer.emitter) == 0)
        return rc;
    yaml_emitter_set_output(&writer.emitter, append, &writer);
    yaml_emitter_set_unicode(&writer.emitter, 1);
    if (write_document(&writer, value))
        rc = 0;
    yaml_emitter_delete(&writer.emitter);
    arena_release(&writer.scratch);
    return rc;
}
