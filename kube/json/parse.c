#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "kube/json/json.h"

struct parser {
    struct arena *arena;
    const uint8_t *text;
    size_t len;
    size_t at;
    unsigned depth;
    struct json_duplicate **duplicates; /* NULL: not wanted */
    struct level *level;                /* the innermost object or array that is open */
    struct json_error *error;
};

/* An open object or array, for the paths of duplicates. */
struct level {
    struct level *parent;
    struct json *value;
    struct slice key; /* of the member that is being read */
};

static int fail(struct parser *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int fail(struct parser *p, const char *fmt, ...)
{
    va_list args;

    if (p->error != NULL) {
        p->error->offset = p->at;
        va_start(args, fmt);
        (void)vsnprintf(p->error->text, sizeof(p->error->text), fmt, args);
        va_end(args);
    }
    return KV_EPROTO;
}

/* How Go quotes a byte in its messages. */
static const char *quote(uint8_t byte, char *out)
{
    if (byte == '\'')
        return "'\\''";
    if (byte == '"')
        return "'\"'";
    if (byte == '\n')
        return "'\\n'";
    if (byte == '\r')
        return "'\\r'";
    if (byte == '\t')
        return "'\\t'";
    if (byte < 0x20 || byte == 0x7f)
        (void)snprintf(out, 16, "'\\x%02x'", byte);
    else if (byte < 0x80)
        (void)snprintf(out, 16, "'%c'", byte);
    else if (byte < 0xa0)
        (void)snprintf(out, 16, "'\\u%04x'", byte);
    else
        (void)snprintf(out, 16, "'%c%c'", 0xc0 | byte >> 6, 0x80 | (byte & 0x3f));
    return out;
}

static int fail_at(struct parser *p, const char *where)
{
    char text[16];

    if (p->at >= p->len)
        return fail(p, "unexpected end of JSON input");
    return fail(p, "invalid character %s %s", quote(p->text[p->at], text), where);
}

static void skip_space(struct parser *p)
{
    while (p->at < p->len && (p->text[p->at] == ' ' || p->text[p->at] == '\n' ||
                              p->text[p->at] == '\r' || p->text[p->at] == '\t'))
        p->at++;
}

/* ---- strings ---- */

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

/* Length of the valid UTF-8 sequence at s, 0 if there is none (RFC 3629). */
static size_t utf8_len(const uint8_t *s, size_t len)
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
static int scan_string(struct parser *p, size_t *end, bool *plain)
{
    size_t i = p->at + 1;

    *plain = true;
    while (i < p->len && p->text[i] != '"') {
        uint8_t c = p->text[i];

        if (c >= 0x20 && c < 0x80 && c != '\\') {
            i++;
        } else if (c < 0x20) {
            p->at = i;
            return fail_at(p, "in string literal");
        } else if (c == '\\') {
            *plain = false;
            i += 2;
        } else {
            size_t run = utf8_len(p->text + i, p->len - i);

            *plain = *plain && run != 0;
            i += run == 0 ? 1 : run;
        }
    }
    if (i >= p->len) {
        p->at = p->len;
        return fail(p, "unexpected end of JSON input");
    }
    *end = i;
    return 0;
}

/* The four digits at p->at of a \u escape. */
static int read_hex4(struct parser *p, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, p->at++) {
        int digit = p->at < p->len ? hex_digit(p->text[p->at]) : -1;

        if (digit < 0)
            return fail_at(p, "in \\u hexadecimal character escape");
        *out = *out << 4 | (uint32_t)digit;
    }
    return 0;
}

static int read_unicode(struct parser *p, uint8_t *out, size_t *len)
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

static int read_escape(struct parser *p, uint8_t *out, size_t *len)
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
        return fail_at(p, "in string escape code");
    out[(*len)++] = (uint8_t)to[found - from];
    p->at++;
    return 0;
}

/* A string with escapes or invalid UTF-8, up to end, into the arena. */
static int decode_string(struct parser *p, size_t end, struct slice *out)
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
        run = utf8_len(p->text + p->at, end - p->at);
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

static int read_string(struct parser *p, struct slice *out)
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

/* ---- numbers and words ---- */

static size_t digits(struct parser *p)
{
    size_t began = p->at;

    while (p->at < p->len && p->text[p->at] >= '0' && p->text[p->at] <= '9')
        p->at++;
    return p->at - began;
}

static int read_number(struct parser *p, struct json *value)
{
    size_t began = p->at;

    if (p->text[p->at] == '-')
        p->at++;
    if (p->at < p->len && p->text[p->at] == '0')
        p->at++;
    else if (digits(p) == 0)
        return fail_at(p, "in numeric literal");
    if (p->at < p->len && p->text[p->at] == '.') {
        p->at++;
        if (digits(p) == 0)
            return fail_at(p, "after decimal point in numeric literal");
    }
    if (p->at < p->len && (p->text[p->at] | 0x20) == 'e') {
        p->at++;
        if (p->at < p->len && (p->text[p->at] == '+' || p->text[p->at] == '-'))
            p->at++;
        if (digits(p) == 0)
            return fail_at(p, "in exponent of numeric literal");
    }
    value->type = JSON_NUMBER;
    value->text = (const char *)p->text + began;
    value->len = p->at - began;
    return 0;
}

static int read_word(struct parser *p, const char *word)
{
    for (size_t i = 0; word[i] != '\0'; i++, p->at++) {
        char where[48];

        if (p->at < p->len && p->text[p->at] == (uint8_t)word[i])
            continue;
        (void)snprintf(where, sizeof(where), "in literal %s (expecting '%c')", word, word[i]);
        return fail_at(p, where);
    }
    return 0;
}

/* ---- duplicates ---- */

static size_t index_in(const struct json *array)
{
    return array->count == 0 ? 0 : array->count - 1;
}

/* The path to the open member, from the outside in. */
static void print_path(struct buf *buf, const struct level *level)
{
    if (level == NULL)
        return;
    print_path(buf, level->parent);
    if (level->value->type == JSON_ARRAY) {
        (void)buf_printf(buf, "[%zu]", index_in(level->value));
        return;
    }
    if (buf->len > 0)
        (void)buf_append_u8(buf, '.');
    (void)buf_append(buf, level->key.data, level->key.len);
}

#define DUPLICATE_PATH_MAX 4096
#define DUPLICATES_MAX 100 /* more help nobody */

static void note_duplicate(struct parser *p)
{
    struct json_duplicate **end = p->duplicates;
    struct json_duplicate *duplicate;
    struct buf path;
    unsigned count = 0;

    for (; *end != NULL; end = &(*end)->next)
        count++;
    if (count >= DUPLICATES_MAX)
        return;
    duplicate = arena_calloc(p->arena, sizeof(*duplicate));
    buf_init(&path, DUPLICATE_PATH_MAX); /* a longer one is cut */
    print_path(&path, p->level);
    duplicate->path = arena_copy(p->arena, buf_slice(&path));
    buf_release(&path);
    *end = duplicate;
}

/* The member with key; a new one if there is none. */
static struct json *member_for(struct parser *p, struct json *object, struct json_index *index,
                               struct slice key)
{
    struct json *member = json_index_get(index, key);

    if (member != NULL) {
        if (p->duplicates != NULL)
            note_duplicate(p);
        return member;
    }
    member = json_new(p->arena, JSON_NULL);
    json_add(object, key, member);
    json_index_added(index, member);
    return member;
}

/* ---- values ---- */

static int read_value(struct parser *p, struct json *value);

static int read_members(struct parser *p, struct json *object, struct level *level)
{
    struct json_index index;

    json_index_init(&index, p->arena, object);
    for (;;) {
        struct json read = {0};
        struct json *member;
        int rc;

        skip_space(p);
        if (p->at >= p->len || p->text[p->at] != '"')
            return fail_at(p, "looking for beginning of object key string");
        rc = read_string(p, &level->key);
        if (rc != 0)
            return rc;
        skip_space(p);
        if (p->at >= p->len || p->text[p->at] != ':')
            return fail_at(p, "after object key");
        p->at++;
        member = member_for(p, object, &index, level->key);
        rc = read_value(p, &read);
        if (rc != 0)
            return rc;
        json_become(member, &read);
        skip_space(p);
        if (p->at < p->len && p->text[p->at] == ',') {
            p->at++;
            continue;
        }
        if (p->at >= p->len || p->text[p->at] != '}')
            return fail_at(p, "after object key:value pair");
        p->at++;
        return 0;
    }
}

static int read_items(struct parser *p, struct json *array)
{
    for (;;) {
        struct json *item = json_new(p->arena, JSON_NULL);
        int rc;

        json_append(array, item);
        rc = read_value(p, item);
        if (rc != 0)
            return rc;
        skip_space(p);
        if (p->at < p->len && p->text[p->at] == ',') {
            p->at++;
            continue;
        }
        if (p->at >= p->len || p->text[p->at] != ']')
            return fail_at(p, "after array element");
        p->at++;
        return 0;
    }
}

static int read_children(struct parser *p, struct json *value, enum json_type type)
{
    struct level level = {.parent = p->level, .value = value};
    uint8_t close = type == JSON_OBJECT ? '}' : ']';
    int rc;

    if (++p->depth > JSON_DEPTH_MAX)
        return fail(p, "exceeded max depth");
    value->type = type;
    p->level = &level;
    p->at++;
    skip_space(p);
    if (p->at < p->len && p->text[p->at] == close) {
        p->at++;
        rc = 0;
    } else {
        rc = type == JSON_OBJECT ? read_members(p, value, &level) : read_items(p, value);
    }
    p->level = level.parent;
    p->depth--;
    return rc;
}

static int read_value(struct parser *p, struct json *value)
{
    struct slice text;
    int rc;

    skip_space(p);
    if (p->at >= p->len)
        return fail_at(p, "");
    switch (p->text[p->at]) {
    case '{':
        return read_children(p, value, JSON_OBJECT);
    case '[':
        return read_children(p, value, JSON_ARRAY);
    case '"':
        rc = read_string(p, &text);
        value->type = JSON_STRING;
        value->text = text.len == 0 ? "" : (const char *)text.data;
        value->len = text.len;
        return rc;
    case 't':
    case 'f':
        value->type = JSON_BOOL;
        value->boolean = p->text[p->at] == 't';
        return read_word(p, value->boolean ? "true" : "false");
    case 'n':
        return read_word(p, "null");
    default:
        if (p->text[p->at] == '-' || (p->text[p->at] >= '0' && p->text[p->at] <= '9'))
            return read_number(p, value);
        return fail_at(p, "looking for beginning of value");
    }
}

int json_parse(struct arena *arena, struct slice text, const struct json_parse_options *options,
               struct json **out, struct json_error *error)
{
    struct parser p = {.arena = arena,
                       .text = text.data,
                       .len = text.len,
                       .duplicates = options == NULL ? NULL : options->duplicates,
                       .error = error};
    struct json *value = json_new(arena, JSON_NULL);
    int rc = read_value(&p, value);

    if (rc != 0)
        return rc;
    skip_space(&p);
    if (p.at < p.len)
        return fail_at(&p, "after top-level value");
    *out = value;
    return 0;
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
                                               : utf8_len(text.data + at, text.len - at);
        if (run == 0)
            break;
        at += run;
    }
    return at;
}

struct slice json_valid_text(struct arena *arena, struct slice text)
{
    size_t at = 0, len = 0;
    uint8_t *out;

    if (valid_len(text) == text.len)
        return text;
    out = arena_alloc(arena, text.len * 3); /* U+FFFD is three bytes */
    for (at = 0; at < text.len;) {
        size_t run = utf8_len(text.data + at, text.len - at);

        if (run == 0)
            len += put_utf8(out + len, 0xfffd);
        else
            memcpy(out + len, text.data + at, run);
        len += run;
        at += run == 0 ? 1 : run;
    }
    return slice_of(out, len);
}
