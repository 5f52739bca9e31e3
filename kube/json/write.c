#include <string.h>

#include "kube/json/json.h"

static const char hex[] = "0123456789abcdef";

/* Bytes of text that can be written as they are. */
static size_t plain_run(const uint8_t *text, size_t len)
{
    size_t i = 0;

    while (i < len && text[i] >= 0x20 && text[i] != '"' && text[i] != '\\' && text[i] != '<' &&
           text[i] != '>' && text[i] != '&' && text[i] != 0xe2)
        i++;
    return i;
}

static int write_unicode(struct buf *buf, unsigned code)
{
    char text[6] = {'\\',          'u', hex[code >> 12], hex[code >> 8 & 15], hex[code >> 4 & 15],
                    hex[code & 15]};

    return buf_append(buf, text, sizeof(text));
}

/* Writes the character at text, which has no plain run; *used is its length. */
static int write_special(struct buf *buf, const uint8_t *text, size_t len, size_t *used)
{
    *used = 1;
    switch (text[0]) {
    case '"':
        return buf_append(buf, "\\\"", 2);
    case '\\':
        return buf_append(buf, "\\\\", 2);
    case '\n':
        return buf_append(buf, "\\n", 2);
    case '\r':
        return buf_append(buf, "\\r", 2);
    case '\t':
        return buf_append(buf, "\\t", 2);
    case '\b':
        return buf_append(buf, "\\b", 2);
    case '\f':
        return buf_append(buf, "\\f", 2);
    case 0xe2:
        if (len < 3 || text[1] != 0x80 || (text[2] & 0xfe) != 0xa8)
            return buf_append_u8(buf, text[0]);
        *used = 3;
        return write_unicode(buf, 0x2000u | (text[2] & 0x3f));
    default:
        return write_unicode(buf, text[0]);
    }
}

int json_write_string(struct buf *buf, struct slice text)
{
    size_t at = 0;
    int rc = buf_append_u8(buf, '"');

    while (rc == 0 && at < text.len) {
        size_t run = plain_run(text.data + at, text.len - at);

        if (run == 0)
            rc = write_special(buf, text.data + at, text.len - at, &run);
        else
            rc = buf_append(buf, text.data + at, run);
        at += run;
    }
    return rc != 0 ? rc : buf_append_u8(buf, '"');
}

static int write_children(struct buf *buf, const struct json *value)
{
    bool object = value->type == JSON_OBJECT;
    int rc = buf_append_u8(buf, object ? '{' : '[');

    json_each(child, value)
    {
        if (rc == 0 && child != value->first)
            rc = buf_append_u8(buf, ',');
        if (rc == 0 && object) {
            rc = json_write_string(buf, slice_of(child->key, child->key_len));
            if (rc == 0)
                rc = buf_append_u8(buf, ':');
        }
        if (rc == 0)
            rc = json_write(buf, child);
        if (rc != 0)
            return rc;
    }
    return rc != 0 ? rc : buf_append_u8(buf, object ? '}' : ']');
}

int json_write(struct buf *buf, const struct json *value)
{
    switch (value->type) {
    case JSON_NULL:
        return buf_append(buf, "null", 4);
    case JSON_BOOL:
        return value->boolean ? buf_append(buf, "true", 4) : buf_append(buf, "false", 5);
    case JSON_NUMBER:
        return buf_append(buf, value->text, value->len);
    case JSON_STRING:
        return json_write_string(buf, json_text(value));
    case JSON_ARRAY:
    case JSON_OBJECT:
        return write_children(buf, value);
    }
    return 0;
}
