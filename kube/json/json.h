/* JSON as kvapi needs it: a tree in a request's arena, read, changed and written.
 *
 * Numbers stay as they were written, strings without escapes are borrowed from the input, members
 * keep their order. Knows nothing of Kubernetes. Any thread; a tree belongs to one. */
#ifndef KVD_KUBE_JSON_JSON_H
#define KVD_KUBE_JSON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER, /* text as written, valid by RFC 8259 */
    JSON_STRING, /* text without escapes, valid UTF-8 */
    JSON_ARRAY,
    JSON_OBJECT
};

/* A value, and as member of an object or item of an array its place there. */
struct json {
    struct json *next; /* in the same array or object */
    const char *key;   /* of a member, not terminated; NULL for items */
    uint32_t key_len;
    enum json_type type;
    union {
        bool boolean;
        struct {
            const char *text; /* not terminated */
            size_t len;
        };
        struct {
            struct json *first, *last;
            size_t count;
        };
    };
};

/* Deepest nesting that is read, as in Go's decoder. */
#define JSON_DEPTH_MAX 10000

/* A member that came twice; the last one stays, as in Go. */
struct json_duplicate {
    struct json_duplicate *next;
    struct slice path; /* "data.a", "spec.containers[0].name" */
};

struct json_parse_options {
    /* Where duplicates are noted, in the order of the text; NULL: they are not looked for. */
    struct json_duplicate **duplicates;
};

/* Where and why a text is no JSON, in the words of Go's encoding/json, which reach users: "invalid
 * character 'b' looking for beginning of object key string", "unexpected end of JSON input",
 * "exceeded max depth". */
struct json_error {
    size_t offset;
    char text[128];
};

/* Reads one value and nothing behind it but white space. The tree lies in arena and borrows from
 * text, which must stay as long. options and error may be NULL. KV_EPROTO. Invalid UTF-8 and lone
 * surrogates become U+FFFD, as in Go. */
int json_parse(struct arena *arena, struct slice text, const struct json_parse_options *options,
               struct json **out, struct json_error *error);

/* text itself if it is valid UTF-8, else a copy in arena with U+FFFD for each byte that is not. */
struct slice json_valid_text(struct arena *arena, struct slice text);

/* Compact; order of members as in the tree. <, >, & and U+2028, U+2029 are escaped as Go does it
 * (\u003c), and bytes that are no UTF-8 become \ufffd, so that our bytes are what upstream writes.
 * KV_ETOOBIG. */
int json_write(struct buf *buf, const struct json *value);
/* A string with its quotes. */
int json_write_string(struct buf *buf, struct slice text);

/* ---- reading a tree; value may be NULL everywhere: a missing value has no members ---- */

/* A member; NULL if there is none or value is no object. */
struct json *json_get(const struct json *value, const char *key);
struct json *json_get_slice(const struct json *value, struct slice key);
/* "spec.template.metadata": objects only. */
struct json *json_at(const struct json *value, const char *path);
/* Text of a string or number member; data NULL if it is neither. */
struct slice json_text(const struct json *value);
struct slice json_text_at(const struct json *value, const char *path);
bool json_is(const struct json *value, enum json_type type);
/* Of a member. */
static inline struct slice json_key(const struct json *member)
{
    return slice_of(member->key, member->key_len);
}
/* A string with exactly this text. */
bool json_equals(const struct json *value, const char *text);
/* An integer within int64; false if value is no such number. */
bool json_int(const struct json *value, int64_t *out);
/* Same type and content; members in any order, numbers by their text. */
bool json_same(const struct json *a, const struct json *b);

#define json_each(item, parent)                                                                    \
    for (struct json *item = (parent) == NULL ? NULL : (parent)->first; item != NULL;              \
         item = item->next)

/* Finds the members of one object by their keys in constant time, for those who look for many: an
 * object can have a hundred thousand. Memory comes from arena, none for objects that are small.
 * Members may be added (say so), not removed. */
struct json_index {
    struct arena *arena;
    const struct json *object;
    struct json **slots;
    size_t size; /* a power of two; 0: the object is searched as it is */
    uint64_t salt;
};

/* Objects with fewer members are searched one by one. */
#define JSON_INDEX_MIN 16

/* object: an object, or NULL that has no members. */
void json_index_init(struct json_index *index, struct arena *arena, const struct json *object);
struct json *json_index_get(const struct json_index *index, struct slice key);
void json__index_added(struct json_index *index, struct json *member);
/* member was put at the end of the object. */
static inline void json_index_added(struct json_index *index, struct json *member)
{
    if (index->object->count >= JSON_INDEX_MIN)
        json__index_added(index, member);
}

/* ---- making and changing one; all memory comes from arena, keys and texts are borrowed ---- */

struct json *json_new(struct arena *arena, enum json_type type);
struct json *json_new_string(struct arena *arena, struct slice text);
struct json *json_new_cstring(struct arena *arena, const char *text);
struct json *json_new_int(struct arena *arena, int64_t value);
struct json *json_new_bool(struct arena *arena, bool value);
/* Everything below value, keys and texts included. */
struct json *json_copy(struct arena *arena, const struct json *value);
/* As json_copy(), keys and texts borrowed: for trees that live as long as value. */
struct json *json_clone(struct arena *arena, const struct json *value);

/* Sets a member, in place of one with this key or at the end. child must be in no other tree.
 * Returns child. Looks at every member: to make a wide object use json_add(), with a json_index if
 * keys may repeat. */
struct json *json_set(struct json *object, const char *key, struct json *child);
struct json *json_set_slice(struct json *object, struct slice key, struct json *child);
/* As json_set(), at the front if it is new. */
struct json *json_set_first(struct json *object, const char *key, struct json *child);
/* The object under key, made if it is missing or null. */
struct json *json_set_object(struct arena *arena, struct json *object, const char *key);
/* Appends a member without looking for one with its key. */
void json_add(struct json *object, struct slice key, struct json *child);
/* Appends to an array. */
void json_append(struct json *array, struct json *item);
/* True if it was there. */
bool json_remove(struct json *object, const char *key);
bool json_remove_slice(struct json *object, struct slice key);
/* Makes *value what other is (its children move); place and key of value stay. */
void json_become(struct json *value, const struct json *other);

#endif
