#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kube/json/internal.h"

int json__fail(struct json_parser *p, const char *fmt, ...)
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

int json__fail_at(struct json_parser *p, const char *where)
{
    char text[16];

    if (p->at >= p->len)
        return json__fail(p, "unexpected end of JSON input");
    return json__fail(p, "invalid character %s %s", quote(p->text[p->at], text), where);
}

static void skip_space(struct json_parser *p)
{
    while (p->at < p->len && (p->text[p->at] == ' ' || p->text[p->at] == '\n' ||
                              p->text[p->at] == '\r' || p->text[p->at] == '\t'))
        p->at++;
}

/* ---- numbers and words ---- */

static size_t digits(struct json_parser *p)
{
    size_t began = p->at;

    while (p->at < p->len && p->text[p->at] >= '0' && p->text[p->at] <= '9')
        p->at++;
    return p->at - began;
}

static int read_number(struct json_parser *p, struct json *value)
{
    size_t began = p->at;

    if (p->text[p->at] == '-')
        p->at++;
    if (p->at < p->len && p->text[p->at] == '0')
        p->at++;
    else if (digits(p) == 0)
        return json__fail_at(p, "in numeric literal");
    if (p->at < p->len && p->text[p->at] == '.') {
        p->at++;
        if (digits(p) == 0)
            return json__fail_at(p, "after decimal point in numeric literal");
    }
    if (p->at < p->len && (p->text[p->at] | 0x20) == 'e') {
        p->at++;
        if (p->at < p->len && (p->text[p->at] == '+' || p->text[p->at] == '-'))
            p->at++;
        if (digits(p) == 0)
            return json__fail_at(p, "in exponent of numeric literal");
    }
    value->type = JSON_NUMBER;
    value->text = (const char *)p->text + began;
    value->len = p->at - began;
    return 0;
}

static int read_word(struct json_parser *p, const char *word)
{
    for (size_t i = 0; word[i] != '\0'; i++, p->at++) {
        char where[48];

        if (p->at < p->len && p->text[p->at] == (uint8_t)word[i])
            continue;
        (void)snprintf(where, sizeof(where), "in literal %s (expecting '%c')", word, word[i]);
        return json__fail_at(p, where);
    }
    return 0;
}

/* ---- duplicates ---- */

static size_t index_in(const struct json *array)
{
    return array->count == 0 ? 0 : array->count - 1;
}

/* The path to the open member, from the outside in. */
static void print_path(struct buf *buf, const struct json_level *level)
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

static void note_duplicate(struct json_parser *p)
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

/* ---- values ---- */

#define NODES_MAX 64 /* of a run: 3 KiB */

/* Nodes come from the arena by the run, since there are so many. Zeroed. */
static struct json *new_node(struct json_parser *p)
{
    if (p->nodes_left == 0) {
        p->nodes = arena_calloc(p->arena, p->nodes_next * sizeof(p->nodes[0]));
        p->nodes_left = p->nodes_next;
        p->nodes_next = MIN(p->nodes_next * 2, (size_t)NODES_MAX);
    }
    p->nodes_left--;
    return p->nodes++;
}

/* Opens value. */
static int push(struct json_parser *p, struct json *value, enum json_type type)
{
    struct json_level *level = p->level == NULL ? p->outermost : p->level->spare;

    if (++p->depth > JSON_DEPTH_MAX)
        return json__fail(p, "exceeded max depth");
    value->type = type;
    value->first = value->last = NULL;
    value->count = 0;
    if (level == NULL) {
        level = arena_calloc(p->arena, sizeof(*level));
        level->parent = p->level;
        if (p->level == NULL)
            p->outermost = level;
        else
            p->level->spare = level;
    }
    level->value = value;
    if (type == JSON_OBJECT)
        json_index_init(&level->index, p->arena, value);
    p->level = level;
    return 0;
}

static void pop(struct json_parser *p)
{
    p->level = p->level->parent;
    p->depth--;
}

/* NULL if there is none. Most objects are small: keys differ in length or in the first byte. */
static struct json *find_member(const struct json_level *level)
{
    struct slice key = level->key;

    if (level->index.size > 0)
        return json_index_get(&level->index, key);
    json_each(member, level->value)
    {
        if (member->key_len == key.len && (key.len == 0 || member->key[0] == (char)key.data[0]) &&
            slice_eq(json_key(member), key))
            return member;
    }
    return NULL;
}

/* The member with key; a new one if there is none. */
static struct json *member_for(struct json_parser *p, struct json_level *level)
{
    struct json *member = find_member(level);

    if (member != NULL) {
        if (p->duplicates != NULL)
            note_duplicate(p);
        return member;
    }
    member = new_node(p);
    json_add(level->value, level->key, member);
    json_index_added(&level->index, member);
    return member;
}

/* A key and its colon: *out is the member whose value comes next. */
static int read_key(struct json_parser *p, struct json **out)
{
    int rc;

    skip_space(p);
    if (p->at >= p->len || p->text[p->at] != '"')
        return json__fail_at(p, "looking for beginning of object key string");
    rc = json__read_string(p, &p->level->key);
    if (rc != 0)
        return rc;
    skip_space(p);
    if (p->at >= p->len || p->text[p->at] != ':')
        return json__fail_at(p, "after object key");
    p->at++;
    *out = member_for(p, p->level);
    return 0;
}

static struct json *new_item(struct json_parser *p)
{
    struct json *item = new_node(p);

    json_append(p->level->value, item);
    return item;
}

static int read_text(struct json_parser *p, struct json *value)
{
    struct slice text = slice_of(NULL, 0);
    int rc = json__read_string(p, &text);

    value->type = JSON_STRING;
    value->text = text.len == 0 ? "" : (const char *)text.data;
    value->len = text.len;
    return rc;
}

static int read_scalar(struct json_parser *p, struct json *value)
{
    switch (p->text[p->at]) {
    case '"':
        return read_text(p, value);
    case 't':
    case 'f':
        value->type = JSON_BOOL;
        value->boolean = p->text[p->at] == 't';
        return read_word(p, value->boolean ? "true" : "false");
    case 'n':
        value->type = JSON_NULL;
        return read_word(p, "null");
    default:
        if (p->text[p->at] == '-' || (p->text[p->at] >= '0' && p->text[p->at] <= '9'))
            return read_number(p, value);
        return json__fail_at(p, "looking for beginning of value");
    }
}

/* Opens an object or array. *next: the value that comes first in it; NULL if it was empty. */
static int read_opening(struct json_parser *p, struct json *value, struct json **next)
{
    bool object = p->text[p->at] == '{';
    int rc = push(p, value, object ? JSON_OBJECT : JSON_ARRAY);

    if (rc != 0)
        return rc;
    p->at++;
    skip_space(p);
    *next = NULL;
    if (p->at < p->len && p->text[p->at] == (object ? '}' : ']')) {
        p->at++;
        pop(p);
        return 0;
    }
    if (object)
        return read_key(p, next);
    *next = new_item(p);
    return 0;
}

/* What follows a value: *next is the one that comes after it; NULL: the text's value is complete.
 */
static int read_separator(struct json_parser *p, struct json **next)
{
    *next = NULL;
    while (p->level != NULL) {
        bool object = p->level->value->type == JSON_OBJECT;
        uint8_t c;

        skip_space(p);
        c = p->at < p->len ? p->text[p->at] : 0;
        if (c == ',') {
            p->at++;
            if (object)
                return read_key(p, next);
            *next = new_item(p);
            return 0;
        }
        if (c != (object ? '}' : ']'))
            return json__fail_at(p, object ? "after object key:value pair" : "after array element");
        p->at++;
        pop(p);
    }
    return 0;
}

/* Without recursion: nesting comes from clients. */
static int read_values(struct json_parser *p, struct json *value)
{
    while (value != NULL) {
        struct json *next = NULL;
        int rc;

        skip_space(p);
        if (p->at >= p->len)
            return json__fail_at(p, "");
        if (p->text[p->at] == '{' || p->text[p->at] == '[')
            rc = read_opening(p, value, &next);
        else
            rc = read_scalar(p, value);
        if (rc == 0 && next == NULL)
            rc = read_separator(p, &next);
        if (rc != 0)
            return rc;
        value = next;
    }
    return 0;
}

int json_parse(struct arena *arena, struct slice text, const struct json_parse_options *options,
               struct json **out, struct json_error *error)
{
    struct json_parser p = {.arena = arena,
                            .text = text.data,
                            .len = text.len,
                            .nodes_next = 4,
                            .duplicates = options == NULL ? NULL : options->duplicates,
                            .error = error};
    struct json *value = new_node(&p);
    int rc = read_values(&p, value);

    if (rc != 0)
        return rc;
    skip_space(&p);
    if (p.at < p.len)
        return json__fail_at(&p, "after top-level value");
    *out = value;
    return 0;
}
