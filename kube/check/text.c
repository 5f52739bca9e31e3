/* Texts in an arena, quoting and base64, as the rest of kube/check needs them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kube/check/internal.h"

static const char *vprint(struct arena *arena, const char *fmt, va_list args)
{
    va_list again;
    int len;
    char *out;

    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    out = arena_alloc(arena, (size_t)len + 1);
    (void)vsnprintf(out, (size_t)len + 1, fmt, args);
    return out;
}

const char *check__print(struct arena *arena, const char *fmt, ...)
{
    const char *text;
    va_list args;

    va_start(args, fmt);
    text = vprint(arena, fmt, args);
    va_end(args);
    return text;
}

/* Values are limited by the size of a request, escaping makes them six times as long at most. */
#define SHOWN_MAX (64u << 20)

static const char *take(struct arena *arena, struct buf *buf)
{
    char *out = arena_alloc(arena, buf->len + 1);

    if (buf->len > 0)
        memcpy(out, buf->data, buf->len);
    out[buf->len] = '\0';
    buf_release(buf);
    return out;
}

static void quote_byte(struct buf *buf, uint8_t c)
{
    static const char from[] = "\"\\\a\b\f\n\r\t\v", to[] = "\"\\abfnrtv";
    const char *found = c == '\0' ? NULL : strchr(from, c);

    if (found != NULL)
        (void)buf_printf(buf, "\\%c", to[found - from]);
    else if (c < 0x20 || c == 0x7f)
        (void)buf_printf(buf, "\\x%02x", c);
    else
        (void)buf_append_u8(buf, c);
}

const char *check__quote(struct arena *arena, struct slice text)
{
    struct buf buf;

    buf_init(&buf, SHOWN_MAX);
    (void)buf_append_u8(&buf, '"');
    for (size_t i = 0; i < text.len; i++)
        quote_byte(&buf, text.data[i]);
    (void)buf_append_u8(&buf, '"');
    return take(arena, &buf);
}

const char *check__json(struct arena *arena, const struct json *value)
{
    struct buf buf;

    if (value == NULL)
        return "null";
    buf_init(&buf, SHOWN_MAX);
    (void)json_write(&buf, value);
    return take(arena, &buf);
}

/* ---- base64 (RFC 4648 section 4, padded) ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int digit_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

static size_t skip_line_ends(struct slice text, size_t at)
{
    while (at < text.len && (text.data[at] == '\n' || text.data[at] == '\r'))
        at++;
    return at;
}

/* Behind the first '=' of a group that has count digits. Returns where the fault is, text.len + 1
 * if there is none. */
static size_t padding_fault(struct slice text, size_t at, unsigned count)
{
    size_t none = text.len + 1;

    if (count < 2)
        return at - 1;
    if (count == 2) {
        at = skip_line_ends(text, at);
        if (at == text.len)
            return text.len;
        if (text.data[at] != '=')
            return at - 1;
        at++;
    }
    at = skip_line_ends(text, at);
    return at < text.len ? at : none;
}

static const char *illegal(struct arena *arena, size_t at)
{
    return check__print(arena, "illegal base64 data at input byte %zu", at);
}

const char *check__base64(struct arena *arena, struct slice text, struct slice *out)
{
    uint8_t *kept = arena_alloc(arena, text.len + 4);
    size_t len = 0, fault;

    for (size_t at = skip_line_ends(text, 0); at < text.len; at = skip_line_ends(text, at + 1)) {
        uint8_t c = text.data[at];

        if (c == '=') {
            fault = padding_fault(text, at + 1, (unsigned)(len % 4));
            if (fault <= text.len)
                return illegal(arena, fault);
            /* What the bits beyond the last byte say does not matter to Go's decoder, and its
             * encoder writes zeros. */
            kept[len - 1] =
                (uint8_t)alphabet[digit_of(kept[len - 1]) & (len % 4 == 2 ? 0x30 : 0x3c)];
            while (len % 4 != 0)
                kept[len++] = '=';
            *out = slice_of(kept, len);
            return NULL;
        }
        if (digit_of(c) < 0)
            return illegal(arena, at);
        kept[len++] = c;
    }
    if (len % 4 != 0)
        return illegal(arena, text.len - len % 4);
    *out = slice_of(kept, len);
    return NULL;
}

struct slice check__base64_encode(struct arena *arena, struct slice raw)
{
    uint8_t *out = arena_alloc(arena, (raw.len + 2) / 3 * 4 + 1);
    size_t len = 0;

    for (size_t at = 0; at < raw.len; at += 3) {
        size_t left = raw.len - at;
        uint32_t bits = (uint32_t)raw.data[at] << 16;

        bits |= left > 1 ? (uint32_t)raw.data[at + 1] << 8 : 0;
        bits |= left > 2 ? raw.data[at + 2] : 0;
        out[len++] = (uint8_t)alphabet[bits >> 18];
        out[len++] = (uint8_t)alphabet[bits >> 12 & 63];
        out[len++] = left > 1 ? (uint8_t)alphabet[bits >> 6 & 63] : '=';
        out[len++] = left > 2 ? (uint8_t)alphabet[bits & 63] : '=';
    }
    return slice_of(out, len);
}
