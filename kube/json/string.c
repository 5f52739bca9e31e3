#include <string.h>

#include "kube/json/internal.h"

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static size_t put_utf8(uint8_t *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xe0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

size_t json__utf8_len(const uint8_t *s, size_t len)
{
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] < 0xe0)
        return len >= 2 && (s[1] & 0xc0) == 0x80 ? 2 : 0;
    if (s[0] >= 0xe0 && s[0] < 0xf0) {
        if (len < 3 || (s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80)
            return 0;
        if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0))
            return 0;
        return 3;
    }
    if (s[0] >= 0xf0 && s[0] < 0xf5) {
        if (len < 4 || (s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 || (s[3] & 0xc0) != 0x80)
            return 0;
        if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
            return 0;
        return 4;
    }
    return 0;
}

/* Finds the end of the string that begins at p->at. *plain: its bytes are its text. */
static int scan_string(struct json_parser *p, size_t *end, bool *plain)
{
    size_t i = p->at + 1;

    *plain = true;
    for (;;) {
        size_t run;

        i += json__plain_len(p->text + i, p->len - i);
        if (i >= p->len)
            break;
        if (p->text[i] == '"') {
            *end = i;
            return 0;
        }
        if (p->text[i] < 0x20) {
            p->at = i;
            return json__fail_at(p, "in string literal");
        }
        if (p->text[i] == '\\') {
            *plain = false;
            i += 2;
            if (i > p->len)
                break;
            continue;
        }
        run = json__utf8_len(p->text + i, p->len - i);
        *plain = *plain && run != 0;
        i += run == 0 ? 1 : run;
    }
    p->at = p->len;
    return json__fail(p, "unexpected end of JSON input");
}

/* The four digits at p->at of a \u escape. */
static int read_hex4(struct json_parser *p, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, p->at++) {
        int digit = p->at < p->len ? hex_digit(p->text[p->at]) : -1;

        if (digit < 0)
            return json__fail_at(p, "in \\u hexadecimal character escape");
        *out = *out << 4 | (uint32_t)digit;
    }
    return 0;
}

static int read_unicode(struct json_parser *p, uint8_t *out, size_t *len)
{
    uint32_t code, low;
    int rc = read_hex4(p, &code);

    if (rc != 0)
        return rc;
    if (code >= 0xd800 && code < 0xdc00 && p->at + 6 <= p->len && p->text[p->at] == '\\' &&
        p->text[p->at + 1] == 'u') {
        size_t back = p->at;

        p->at += 2;
        rc = read_hex4(p, &low);
        if (rc != 0)
            return rc;
        if (low >= 0xdc00 && low < 0xe000)
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        else
            p->at = back;
    }
    if (code >= 0xd800 && code < 0xe000)
        code = 0xfffd;
    *len += put_utf8(out + *len, code);
    return 0;
}

static int read_escape(struct json_parser *p, uint8_t *out, size_t *len)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *found;

    p->at++;
    if (p->text[p->at] == 'u') {
        p->at++;
        return read_unicode(p, out, len);
    }
    found = p->text[p->at] == '\0' ? NULL : strchr(from, p->text[p->at]);
    if (found == NULL)
        return json__fail_at(p, "in string escape code");
    out[(*len)++] = (uint8_t)to[found - from];
    p->at++;
    return 0;
}

/* A string with escapes or invalid UTF-8, up to end, into the arena. */
static int decode_string(struct json_parser *p, size_t end, struct slice *out)
{
    /* An invalid byte becomes three. */
    uint8_t *text = arena_alloc(p->arena, 3 * (end - p->at));
    size_t len = 0;
    int rc;

    p->at++;
    while (p->at < end) {
        size_t run;

        if (p->text[p->at] == '\\') {
            rc = read_escape(p, text, &len);
            if (rc != 0)
                return rc;
            continue;
        }
        run = json__utf8_len(p->text + p->at, end - p->at);
        if (run == 0) {
            len += put_utf8(text + len, 0xfffd);
            p->at++;
        } else {
            memcpy(text + len, p->text + p->at, run);
            len += run;
            p->at += run;
        }
    }
    *out = slice_of(text, len);
    return 0;
}

int json__read_string(struct json_parser *p, struct slice *out)
{
    size_t end = 0;
    bool plain;
    int rc = scan_string(p, &end, &plain);

    if (rc != 0)
        return rc;
    if (plain)
        *out = slice_of(p->text + p->at + 1, end - p->at - 1);
    else
        rc = decode_string(p, end, out);
    if (rc == 0)
        p->at = end + 1;
    return rc;
}

/* How much of text from its beginning on is valid, eight bytes of ASCII at a time. */
static size_t valid_len(struct slice text)
{
    size_t at = 0;

    while (at < text.len) {
        uint64_t word = UINT64_MAX;
        size_t run;

        if (text.len - at >= sizeof(word))
            memcpy(&word, text.data + at, sizeof(word));
        run = (word & 0x8080808080808080) == 0 ? sizeof(word)
                                               : json__utf8_len(text.data + at, text.len - at);
        if (run == 0)
            break;
        at += run;
    }
    return at;
}

struct slice json_valid_text(struct arena *arena, struct slice text)
{
    size_t at = valid_len(text), len = at;
    uint8_t *out;

    if (at == text.len)
        return text;
    out = arena_alloc(arena, text.len * 3); /* U+FFFD is three bytes */
    memcpy(out, text.data, len);
    while (at < text.len) {
        size_t run = valid_len(slice_of(text.data + at, text.len - at));

        memcpy(out + len, text.data + at, run);
        len += run;
        at += run;
        if (at < text.len) {
            len += put_utf8(out + len, 0xfffd);
            at++;
        }
    }
    return slice_of(out, len);
}
