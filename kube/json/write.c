#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kube/json/internal.h"

static const char hex[] = "0123456789abcdef";

static int put(struct buf *buf, const void *bytes, size_t len)
{
    if (buf->cap - buf->len < len)
        return buf_append(buf, bytes, len);
    memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    return 0;
}

static int put_byte(struct buf *buf, uint8_t byte)
{
    if (buf->cap == buf->len)
        return buf_append_u8(buf, byte);
    buf->data[buf->len++] = byte;
    return 0;
}

/* ---- strings ---- */

/* ASCII that is written as it is: not controls, quote, backslash, <, > and &. */
/* clang-format off */
static const bool is_plain[256] = {
    [0x20] = 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    [0x30] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1,
    [0x40] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    [0x50] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1,
    [0x60] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    [0x70] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
};
/* clang-format on */

#ifdef __SSE2__
/* Which of 16 bytes are not is_plain. */
static unsigned special_mask(__m128i bytes)
{
    /* < and > differ in one bit; as signed bytes, all beyond ASCII are less than a space too. */
    __m128i angles = _mm_or_si128(bytes, _mm_set1_epi8('<' ^ '>'));
    __m128i special = _mm_cmplt_epi8(bytes, _mm_set1_epi8(' '));

    special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('&')));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(angles, _mm_set1_epi8('>')));
    return (unsigned)_mm_movemask_epi8(special);
}
#endif

/* Copies the beginning of text that is ASCII and written as it is; out has room for all of it.
 * Returns its length. */
static size_t copy_plain(uint8_t *out, const uint8_t *text, size_t len)
{
    size_t i = 0;

#ifdef __SSE2__
    for (; len - i >= 16; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + i));
        unsigned mask = special_mask(bytes);

        _mm_storeu_si128((__m128i *)(void *)(out + i), bytes);
        if (mask != 0)
            return i + (size_t)__builtin_ctz(mask);
    }
#endif
    for (; i < len && is_plain[text[i]]; i++)
        out[i] = text[i];
    return i;
}

static int write_unicode(struct buf *buf, unsigned code)
{
    char text[6] = {'\\',          'u', hex[code >> 12], hex[code >> 8 & 15], hex[code >> 4 & 15],
                    hex[code & 15]};

    return put(buf, text, sizeof(text));
}

/* Writes the characters beyond ASCII that text begins with; *used is their length. Bytes that are
 * no UTF-8 become U+FFFD: what we write is text, whatever a caller took for it. */
static int write_wide(struct buf *buf, const uint8_t *text, size_t len, size_t *used)
{
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && at < len && text[at] >= 0x80) {
        size_t run = json__utf8_len(text + at, len - at);

        if (run == 0)
            rc = write_unicode(buf, 0xfffd);
        else if (run == 3 && text[at] == 0xe2 && text[at + 1] == 0x80 &&
                 (text[at + 2] & 0xfe) == 0xa8)
            rc = write_unicode(buf, 0x2000u | (text[at + 2] & 0x3f));
        else
            rc = put(buf, text + at, run);
        at += run == 0 ? 1 : run;
    }
    *used = at;
    return rc;
}

/* Writes what text begins with and copy_plain() does not take; *used is its length. */
static int write_special(struct buf *buf, const uint8_t *text, size_t len, size_t *used)
{
    *used = 1;
    switch (text[0]) {
    case '"':
        return put(buf, "\\\"", 2);
    case '\\':
        return put(buf, "\\\\", 2);
    case '\n':
        return put(buf, "\\n", 2);
    case '\r':
        return put(buf, "\\r", 2);
    case '\t':
        return put(buf, "\\t", 2);
    case '\b':
        return put(buf, "\\b", 2);
    case '\f':
        return put(buf, "\\f", 2);
    default:
        return text[0] >= 0x80 ? write_wide(buf, text, len, used) : write_unicode(buf, text[0]);
    }
}

/* Room for all that is left of a string and its end, if nothing in it is special. */
static int make_room(struct buf *buf, size_t left)
{
    return buf->cap - buf->len > left ? 0 : buf_reserve(buf, left + 1);
}

int json_write_string(struct buf *buf, struct slice text)
{
    size_t at = 0;
    int rc = make_room(buf, text.len + 1);

    if (rc != 0)
        return rc;
    buf->data[buf->len++] = '"';
    for (;;) {
        size_t used = copy_plain(buf->data + buf->len, text.data + at, text.len - at);

        buf->len += used;
        at += used;
        if (at == text.len)
            break;
        rc = write_special(buf, text.data + at, text.len - at, &used);
        at += used;
        if (rc == 0)
            rc = make_room(buf, text.len - at);
        if (rc != 0)
            return rc;
    }
    buf->data[buf->len++] = '"';
    return 0;
}

/* ---- values ---- */

/* The objects and arrays that are open, outside in: on the heap, since nesting comes from clients.
 */
struct open_values {
    const struct json **at;
    size_t count, size;
};

static void push(struct open_values *open, const struct json *value)
{
    if (open->count == open->size) {
        open->size = open->size == 0 ? 32 : open->size * 2;
        open->at = xrealloc(open->at, open->size * sizeof(open->at[0]));
    }
    open->at[open->count++] = value;
}

/* A scalar, or an object or array that is empty. */
static int write_leaf(struct buf *buf, const struct json *value)
{
    switch (value->type) {
    case JSON_NULL:
        return put(buf, "null", 4);
    case JSON_BOOL:
        return value->boolean ? put(buf, "true", 4) : put(buf, "false", 5);
    case JSON_NUMBER:
        return put(buf, value->text, value->len);
    case JSON_STRING:
        return json_write_string(buf, json_text(value));
    case JSON_ARRAY:
        return put(buf, "[]", 2);
    case JSON_OBJECT:
        return put(buf, "{}", 2);
    }
    return 0;
}

static int write_values(struct buf *buf, struct open_values *open, const struct json *value)
{
    for (;;) {
        bool has_children =
            (value->type == JSON_OBJECT || value->type == JSON_ARRAY) && value->first != NULL;
        int rc = 0;

        if (open->count > 0 && open->at[open->count - 1]->type == JSON_OBJECT) {
            rc = json_write_string(buf, json_key(value));
            if (rc == 0)
                rc = put_byte(buf, ':');
        }
        if (rc == 0)
            rc = has_children ? put_byte(buf, value->type == JSON_OBJECT ? '{' : '[')
                              : write_leaf(buf, value);
        if (has_children) {
            push(open, value);
            value = value->first;
        } else {
            while (rc == 0 && open->count > 0 && value->next == NULL) {
                value = open->at[--open->count];
                rc = put_byte(buf, value->type == JSON_OBJECT ? '}' : ']');
            }
            if (open->count == 0 || rc != 0)
                return rc;
            rc = put_byte(buf, ',');
            value = value->next;
        }
        if (rc != 0)
            return rc;
    }
}

int json_write(struct buf *buf, const struct json *value)
{
    struct open_values open = {NULL, 0, 0};
    int rc = write_values(buf, &open, value);

    free(open.at);
    return rc;
}
