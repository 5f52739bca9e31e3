#include "kube/codec/yaml.h"

#include <openssl/evp.h>
#include <string.h>
#include <yaml.h>

#include "base/util.h"
#include "kube/codec/yaml_scalar.h"

/* What aliases may make of a small text: so many of them, and as much as they repeat. */
#define ANCHORS_MAX 1000
#define ALIASES_MAX 10000
#define ALIASED_MAX (4u << 20)
#define NODE_WEIGHT 16 /* of a value beside its text */
/* libyaml's scanner looks at every open bracket for each token, 13 ns a look: under a second. A
 * text of 3 MiB in ordinary nesting needs a quarter of it. */
#define SCAN_MAX 60000000u
#define DUPLICATES_MAX 100
#define DUPLICATE_PATH_MAX 4096

/* A value under construction. */
struct level {
    struct level *parent;
    struct json *value;
    struct json_index index; /* of an object */
    struct slice key;        /* of the member that comes next, or is being read */
    bool has_key;
    bool merge;    /* the key was << */
    bool anchored; /* the value has a name */
};

struct anchor {
    char *name;
    struct json *value;
    bool open; /* it is still being read: an alias here would contain itself */
};

struct reader {
    struct arena *arena;
    yaml_parser_t parser;
    yaml_event_t event;
    struct level *level;
    unsigned depth;
    struct json *root;
    struct anchor *anchors;
    size_t anchor_count;
    size_t alias_count;
    size_t aliased;
    size_t scanned;                     /* events, each times its depth */
    struct json_duplicate **duplicates; /* NULL: not wanted */
    struct err *err;
};

static int fail(struct reader *r, const char *what)
{
    return err_set(r->err, KV_EPROTO, "yaml: %s", what);
}

/* What libyaml found, in go-yaml's layout; both are the same parser. */
static int fail_parser(struct reader *r)
{
    const yaml_parser_t *parser = &r->parser;
    const char *problem =
        parser->problem == NULL ? "unknown problem parsing YAML content" : parser->problem;
    size_t line = parser->problem_mark.line + (parser->error == YAML_SCANNER_ERROR);

    if (parser->problem_mark.line == 0)
        line = parser->context_mark.line;
    if (line == 0)
        return err_set(r->err, KV_EPROTO, "yaml: %s", problem);
    return err_set(r->err, KV_EPROTO, "yaml: line %zu: %s", line, problem);
}

/* ---- duplicates ---- */

static void print_path(struct buf *buf, const struct level *level)
{
    if (level == NULL)
        return;
    print_path(buf, level->parent);
    if (level->value->type == JSON_ARRAY) {
        (void)buf_printf(buf, "[%zu]", level->value->count);
        return;
    }
    if (buf->len > 0)
        (void)buf_append_u8(buf, '.');
    (void)buf_append(buf, level->key.data, level->key.len);
}

static void note_duplicate(struct reader *r)
{
    struct json_duplicate **end = r->duplicates;
    struct json_duplicate *duplicate;
    struct buf path;
    unsigned count = 0;

    for (; *end != NULL; end = &(*end)->next)
        count++;
    if (count >= DUPLICATES_MAX)
        return;
    duplicate = arena_calloc(r->arena, sizeof(*duplicate));
    buf_init(&path, DUPLICATE_PATH_MAX);
    print_path(&path, r->level);
    duplicate->path = arena_copy(r->arena, buf_slice(&path));
    buf_release(&path);
    *end = duplicate;
}

/* ---- putting values where they belong ---- */

/* Sets a member of the open object; the last one with a key stays, as in JSON. */
static void set_member(struct level *level, struct slice key, struct json *value)
{
    struct json *member = json_index_get(&level->index, key);

    if (member != NULL) {
        json_become(member, value);
        return;
    }
    json_add(level->value, key, value);
    json_index_added(&level->index, value);
}

/* <<: members of a map come in here. */
static int merge_map(struct reader *r, struct level *level, const struct json *map)
{
    if (!json_is(map, JSON_OBJECT))
        return fail(r, "map merge requires map or sequence of maps as the value");
    json_each(member, map)
    {
        /* The bound on what aliases repeat covers this copy too. */
        set_member(level, json_key(member), json_clone(r->arena, member));
    }
    return 0;
}

/* Of a sequence the first map wins, so it comes in last. */
static int merge_sequence(struct reader *r, struct level *level, const struct json *sequence)
{
    const struct json **maps = arena_alloc(r->arena, sequence->count * sizeof(maps[0]));
    size_t count = 0;
    int rc = 0;

    json_each(item, sequence) maps[count++] = item;
    while (rc == 0 && count > 0)
        rc = merge_map(r, level, maps[--count]);
    return rc;
}

static int finish(struct reader *r, struct json *value)
{
    struct level *level = r->level;

    if (level == NULL) {
        r->root = value;
        return 0;
    }
    if (level->value->type == JSON_ARRAY) {
        json_append(level->value, value);
        return 0;
    }
    level->has_key = false;
    if (!level->merge) {
        set_member(level, level->key, value);
        return 0;
    }
    level->merge = false;
    if (value->type == JSON_ARRAY)
        return merge_sequence(r, level, value);
    return merge_map(r, level, value);
}

static bool wants_key(const struct reader *r)
{
    return r->level != NULL && r->level->value->type == JSON_OBJECT && !r->level->has_key;
}

static void take_key(struct reader *r, struct slice key)
{
    r->level->key = key.data == NULL ? slice_str("") : key;
    r->level->has_key = true;
    if (r->duplicates != NULL && json_index_get(&r->level->index, key) != NULL)
        note_duplicate(r);
}

/* ---- anchors and aliases ---- */

/* What value is now, on its own: a duplicate of its key changes the member later. Children are
 * shared, and stay as they are once value is closed. */
static struct json *snapshot(struct arena *arena, const struct json *value)
{
    struct json *copy = arena_alloc(arena, sizeof(*copy));

    *copy = *value;
    copy->next = NULL;
    return copy;
}

static int set_anchor(struct reader *r, const yaml_char_t *name, struct json *value, bool open)
{
    struct anchor *anchor = NULL;

    if (name == NULL)
        return 0;
    if (r->anchors == NULL)
        r->anchors = arena_alloc(r->arena, ANCHORS_MAX * sizeof(r->anchors[0]));
    for (size_t i = 0; i < r->anchor_count && anchor == NULL; i++) {
        if (strcmp(r->anchors[i].name, (const char *)name) == 0)
            anchor = &r->anchors[i];
    }
    if (anchor == NULL) {
        struct slice copy = slice_of(name, strlen((const char *)name) + 1);

        if (r->anchor_count == ANCHORS_MAX)
            return fail(r, "document contains too many anchors");
        anchor = &r->anchors[r->anchor_count++];
        anchor->name = (char *)(uintptr_t)arena_copy(r->arena, copy).data;
    }
    anchor->value = open ? value : snapshot(r->arena, value);
    anchor->open = open;
    return 0;
}

static void close_anchors(struct reader *r, const struct json *value)
{
    for (size_t i = 0; i < r->anchor_count; i++) {
        if (r->anchors[i].value == value) {
            r->anchors[i].value = snapshot(r->arena, value);
            r->anchors[i].open = false;
        }
    }
}

static size_t weight(const struct json *value)
{
    size_t sum = NODE_WEIGHT + value->key_len;

    if (value->type == JSON_STRING || value->type == JSON_NUMBER)
        return sum + value->len;
    if (value->type == JSON_ARRAY || value->type == JSON_OBJECT) {
        json_each(child, value) sum += weight(child);
    }
    return sum;
}

static int key_of(struct reader *r, const struct json *value, struct slice *out);

static int read_alias(struct reader *r)
{
    const char *name = (const char *)r->event.data.alias.anchor;
    const struct anchor *anchor = NULL;

    for (size_t i = 0; i < r->anchor_count && anchor == NULL; i++) {
        if (strcmp(r->anchors[i].name, name) == 0)
            anchor = &r->anchors[i];
    }
    if (anchor == NULL)
        return err_set(r->err, KV_EPROTO, "yaml: unknown anchor '%.200s' referenced", name);
    if (anchor->open)
        return err_set(r->err, KV_EPROTO, "yaml: anchor '%.200s' value contains itself", name);
    r->aliased += weight(anchor->value);
    if (++r->alias_count > ALIASES_MAX || r->aliased > ALIASED_MAX)
        return fail(r, "document contains excessive aliasing");
    if (wants_key(r)) {
        struct slice key;
        int rc = key_of(r, anchor->value, &key);

        if (rc == 0)
            take_key(r, key);
        return rc;
    }
    return finish(r, json_clone(r->arena, anchor->value));
}

/* ---- scalars ---- */

static struct slice copy_cstring(struct arena *arena, const char *text)
{
    return arena_copy(arena, slice_str(text));
}

/* Of a value as a key: numbers and booleans become their text. */
static int key_of(struct reader *r, const struct json *value, struct slice *out)
{
    if (json_is(value, JSON_BOOL))
        *out = slice_str(value->boolean ? "true" : "false");
    else if (json_is(value, JSON_STRING) || json_is(value, JSON_NUMBER))
        *out = json_text(value);
    else
        return fail(r, value->type == JSON_NULL ? "unsupported map key: null"
                                                : "invalid map key: no scalar");
    return 0;
}

/* Line ends within are skipped, as in Go. */
static bool decode_base64(struct arena *arena, struct slice text, struct slice *out)
{
    uint8_t *digits = arena_alloc(arena, text.len + 1);
    uint8_t *bytes = arena_alloc(arena, text.len + 1);
    size_t count = 0, padding = 0;
    int len;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '\n' && text.data[i] != '\r')
            digits[count++] = text.data[i];
    }
    while (padding < 2 && padding < count && digits[count - 1 - padding] == '=')
        padding++;
    if (count % 4 != 0 || memchr(digits, '=', count - padding) != NULL)
        return false;
    len = EVP_DecodeBlock(bytes, digits, (int)count); /* counts what was padded */
    *out = slice_of(bytes, len < 0 ? 0 : (size_t)len - padding);
    return len >= 0;
}

/* The tag behind "tag:yaml.org,2002:"; "" for none or for one that is not YAML's. */
static const char *short_tag(const yaml_char_t *tag)
{
    static const char prefix[] = "tag:yaml.org,2002:";

    if (tag == NULL || strncmp((const char *)tag, prefix, sizeof(prefix) - 1) != 0)
        return "";
    return (const char *)tag + sizeof(prefix) - 1;
}

static int fail_tag(struct reader *r, struct slice text, enum kube_scalar_kind kind,
                    const char *tag)
{
    static const char *const names[] = {
        [KUBE_SCALAR_STRING] = "str",          [KUBE_SCALAR_NULL] = "null",
        [KUBE_SCALAR_BOOL] = "bool",           [KUBE_SCALAR_INT] = "int",
        [KUBE_SCALAR_FLOAT] = "float",         [KUBE_SCALAR_NOT_FINITE] = "float",
        [KUBE_SCALAR_TIMESTAMP] = "timestamp", [KUBE_SCALAR_MERGE] = "merge",
    };
    int len = (int)MIN(text.len, (size_t)300);

    while (len > 0 && (size_t)len < text.len && (text.data[len] & 0xc0) == 0x80)
        len--; /* not in the middle of a character */
    return err_set(r->err, KV_EPROTO, "yaml: cannot decode !!%s `%.*s` as a !!%.20s", names[kind],
                   len, (const char *)text.data, tag);
}

/* True if a scalar of this kind may bear the tag. */
static bool tag_fits(const char *tag, enum kube_scalar_kind kind)
{
    static const struct {
        const char *tag;
        unsigned kinds;
    } table[] = {
        {"int", 1u << KUBE_SCALAR_INT},
        {"float", 1u << KUBE_SCALAR_INT | 1u << KUBE_SCALAR_FLOAT | 1u << KUBE_SCALAR_NOT_FINITE},
        {"bool", 1u << KUBE_SCALAR_BOOL},
        {"null", 1u << KUBE_SCALAR_NULL},
        {"timestamp", 1u << KUBE_SCALAR_TIMESTAMP},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (strcmp(tag, table[i].tag) == 0)
            return (table[i].kinds & 1u << kind) != 0;
    }
    return true;
}

static struct json *value_of_scalar(struct reader *r, const struct kube_scalar *scalar,
                                    struct slice text)
{
    struct json *value;

    switch (scalar->kind) {
    case KUBE_SCALAR_NULL:
        return json_new(r->arena, JSON_NULL);
    case KUBE_SCALAR_BOOL:
        return json_new_bool(r->arena, scalar->boolean);
    case KUBE_SCALAR_INT:
    case KUBE_SCALAR_FLOAT:
        value = json_new_string(r->arena, copy_cstring(r->arena, scalar->text));
        value->type = JSON_NUMBER;
        return value;
    default:
        return json_new_string(r->arena, arena_copy(r->arena, text));
    }
}

/* As a key: << asks for a merge, floats are written in their own way. */
static int read_key(struct reader *r, const struct kube_scalar *scalar, struct json *value)
{
    char text[KUBE_SCALAR_SIZE];
    struct slice key;
    int rc;

    if (scalar->kind == KUBE_SCALAR_MERGE) {
        r->level->has_key = r->level->merge = true;
        return 0;
    }
    rc = key_of(r, value, &key);
    if (rc != 0)
        return rc;
    if (scalar->kind == KUBE_SCALAR_FLOAT) {
        kube_scalar_float_key(scalar->number, text);
        key = copy_cstring(r->arena, text);
    }
    take_key(r, key);
    return 0;
}

static int read_scalar(struct reader *r)
{
    struct slice text = slice_of(r->event.data.scalar.value, r->event.data.scalar.length);
    const yaml_char_t *full_tag = r->event.data.scalar.tag;
    const char *tag = short_tag(full_tag);
    struct kube_scalar scalar = {.kind = KUBE_SCALAR_STRING};
    struct json *value;
    int rc;

    if (strcmp(tag, "binary") == 0) {
        if (!decode_base64(r->arena, text, &text))
            return fail(r, "!!binary value contains invalid base64 data");
        text = json_valid_text(r->arena, text); /* bytes of any kind, and JSON has text only */
    } else if ((*tag != '\0' && strcmp(tag, "str") != 0) ||
               (full_tag == NULL && r->event.data.scalar.plain_implicit)) {
        scalar = kube_scalar_resolve(text);
    }
    if (!tag_fits(tag, scalar.kind))
        return fail_tag(r, text, scalar.kind, tag);
    value = value_of_scalar(r, &scalar, text);
    rc = set_anchor(r, r->event.data.scalar.anchor, value, false);
    if (rc != 0)
        return rc;
    if (wants_key(r))
        return read_key(r, &scalar, value);
    if (scalar.kind == KUBE_SCALAR_NOT_FINITE)
        return err_set(r->err, KV_EPROTO, "json: unsupported value: %s",
                       memchr(text.data, 'a', text.len) || memchr(text.data, 'A', text.len) ? "NaN"
                       : text.data[0] == '-'                                                ? "-Inf"
                                             : "+Inf");
    return finish(r, value);
}

/* ---- maps and sequences ---- */

static int open_value(struct reader *r, enum json_type type, const yaml_char_t *anchor)
{
    struct level *level;

    if (wants_key(r))
        return fail(r, "invalid map key: no scalar");
    if (++r->depth > JSON_DEPTH_MAX)
        return fail(r, "exceeded max depth of 10000");
    level = arena_calloc(r->arena, sizeof(*level));
    level->parent = r->level;
    level->value = json_new(r->arena, type);
    if (type == JSON_OBJECT)
        json_index_init(&level->index, r->arena, level->value);
    level->anchored = anchor != NULL;
    r->level = level;
    return set_anchor(r, anchor, level->value, true);
}

static int close_value(struct reader *r)
{
    struct level *level = r->level;

    r->level = level->parent;
    r->depth--;
    if (level->anchored)
        close_anchors(r, level->value);
    return finish(r, level->value);
}

static int read_event(struct reader *r)
{
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(r);
    case YAML_ALIAS_EVENT:
        return read_alias(r);
    case YAML_MAPPING_START_EVENT:
        return open_value(r, JSON_OBJECT, r->event.data.mapping_start.anchor);
    case YAML_SEQUENCE_START_EVENT:
        return open_value(r, JSON_ARRAY, r->event.data.sequence_start.anchor);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return close_value(r);
    default:
        return 0;
    }
}

/* Up to the end of the first document. */
static int read_document(struct reader *r)
{
    bool done = false;
    int rc = 0;

    while (rc == 0 && !done) {
        if (yaml_parser_parse(&r->parser, &r->event) == 0)
            return fail_parser(r);
        r->scanned += r->depth;
        done = r->event.type == YAML_DOCUMENT_END_EVENT || r->event.type == YAML_STREAM_END_EVENT;
        rc = read_event(r);
        yaml_event_delete(&r->event);
        if (rc == 0 && r->scanned > SCAN_MAX)
            rc = fail(r, "document is nested too deeply for its size");
    }
    return rc;
}

int kube_yaml_parse(struct arena *arena, struct slice text, struct json_duplicate **duplicates,
                    struct json **out, struct err *err)
{
    struct reader reader = {.arena = arena, .duplicates = duplicates, .err = err};
    int rc;

    if (yaml_parser_initialize(&reader.parser) == 0)
        return err_set(err, KV_EPROTO, "yaml: no memory");
    yaml_parser_set_input_string(&reader.parser, text.data, text.len);
    rc = read_document(&reader);
    yaml_parser_delete(&reader.parser);
    if (rc != 0)
        return rc;
    *out = reader.root != NULL ? reader.root : json_new(arena, JSON_NULL);
    return 0;
}
