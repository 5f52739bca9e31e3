#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/json/json.h"

static bool key_is(const struct json *member, struct slice key)
{
    return member->key_len == key.len && memcmp(member->key, key.data, key.len) == 0;
}

struct json *json_get_slice(const struct json *value, struct slice key)
{
    if (!json_is(value, JSON_OBJECT))
        return NULL;
    json_each(member, value)
    {
        if (key_is(member, key))
            return member;
    }
    return NULL;
}

struct json *json_get(const struct json *value, const char *key)
{
    return json_get_slice(value, slice_str(key));
}

struct json *json_at(const struct json *value, const char *path)
{
    struct json *found = (struct json *)value;

    while (found != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");

        found = json_get_slice(found, slice_of(path, len));
        path += len + (path[len] == '.');
    }
    return found;
}

struct slice json_text(const struct json *value)
{
    if (!json_is(value, JSON_STRING) && !json_is(value, JSON_NUMBER))
        return slice_of(NULL, 0);
    return slice_of(value->text, value->len);
}

struct slice json_text_at(const struct json *value, const char *path)
{
    return json_text(json_at(value, path));
}

bool json_is(const struct json *value, enum json_type type)
{
    return value != NULL && value->type == type;
}

bool json_equals(const struct json *value, const char *text)
{
    return json_is(value, JSON_STRING) && slice_eq(json_text(value), slice_str(text));
}

bool json_int(const struct json *value, int64_t *out)
{
    char digits[24];
    char *end;

    if (!json_is(value, JSON_NUMBER) || value->len >= sizeof(digits))
        return false;
    memcpy(digits, value->text, value->len);
    digits[value->len] = '\0';
    errno = 0;
    *out = strtoll(digits, &end, 10);
    return errno == 0 && *end == '\0';
}

/* Members mostly come in the same order; an index is made when they do not. */
static bool same_members(const struct json *a, const struct json *b)
{
    struct arena scratch = ARENA_INIT;
    struct json_index index = {.object = NULL};
    const struct json *next = b->first;
    bool same = true;

    json_each(member, a)
    {
        const struct json *other = next;

        if (next == NULL || !slice_eq(json_key(next), json_key(member))) {
            if (index.object == NULL)
                json_index_init(&index, &scratch, b);
            other = json_index_get(&index, json_key(member));
        }
        same = other != NULL && json_same(member, other);
        if (!same)
            break;
        next = other->next;
    }
    arena_release(&scratch);
    return same;
}

static bool same_items(const struct json *a, const struct json *b)
{
    const struct json *other = b->first;

    json_each(item, a)
    {
        if (!json_same(item, other))
            return false;
        other = other->next;
    }
    return true;
}

bool json_same(const struct json *a, const struct json *b)
{
    if (a == NULL || b == NULL || a->type != b->type)
        return a == b;
    switch (a->type) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return a->boolean == b->boolean;
    case JSON_NUMBER:
    case JSON_STRING:
        return slice_eq(json_text(a), json_text(b));
    case JSON_ARRAY:
        return a->count == b->count && same_items(a, b);
    case JSON_OBJECT:
        return a->count == b->count && same_members(a, b);
    }
    return false;
}

struct json *json_new(struct arena *arena, enum json_type type)
{
    struct json *value = arena_calloc(arena, sizeof(*value));

    value->type = type;
    return value;
}

struct json *json_new_string(struct arena *arena, struct slice text)
{
    struct json *value = json_new(arena, JSON_STRING);

    value->text = text.len == 0 ? "" : (const char *)text.data;
    value->len = text.len;
    return value;
}

struct json *json_new_cstring(struct arena *arena, const char *text)
{
    return json_new_string(arena, slice_str(text));
}

struct json *json_new_int(struct arena *arena, int64_t value)
{
    struct json *number = json_new(arena, JSON_NUMBER);
    char *text = arena_alloc(arena, 24);

    number->len = (size_t)snprintf(text, 24, "%lld", (long long)value);
    number->text = text;
    return number;
}

struct json *json_new_bool(struct arena *arena, bool value)
{
    struct json *boolean = json_new(arena, JSON_BOOL);

    boolean->boolean = value;
    return boolean;
}

static const char *copy_text(struct arena *arena, const char *text, size_t len)
{
    return len == 0 ? "" : (const char *)arena_copy(arena, slice_of(text, len)).data;
}

/* value as it is, without a place and without children. */
static struct json *clone_node(struct arena *arena, const struct json *value)
{
    struct json *clone = arena_alloc(arena, sizeof(*clone));

    *clone = *value;
    clone->next = NULL;
    if (value->type == JSON_ARRAY || value->type == JSON_OBJECT) {
        clone->first = clone->last = NULL;
        clone->count = 0;
    }
    return clone;
}

struct json *json_clone(struct arena *arena, const struct json *value)
{
    struct json *clone = clone_node(arena, value);

    if (value->type == JSON_ARRAY || value->type == JSON_OBJECT) {
        json_each(child, value) json_append(clone, json_clone(arena, child));
    }
    return clone;
}

struct json *json_copy(struct arena *arena, const struct json *value)
{
    struct json *copy = clone_node(arena, value);

    if (value->key != NULL)
        copy->key = copy_text(arena, value->key, value->key_len);
    if (value->type == JSON_STRING || value->type == JSON_NUMBER)
        copy->text = copy_text(arena, value->text, value->len);
    if (value->type == JSON_ARRAY || value->type == JSON_OBJECT) {
        json_each(child, value) json_append(copy, json_copy(arena, child));
    }
    return copy;
}

/* Appends to an array, or a child that has its key already to an object. */
void json_append(struct json *array, struct json *item)
{
    item->next = NULL;
    if (array->last == NULL)
        array->first = item;
    else
        array->last->next = item;
    array->last = item;
    array->count++;
}

void json_add(struct json *object, struct slice key, struct json *child)
{
    child->key = (const char *)key.data;
    child->key_len = (uint32_t)key.len;
    json_append(object, child);
}

/* Where the member with key hangs: the address of the pointer to it; of the end if there is none.
 */
static struct json **find_place(struct json *object, struct slice key, struct json **before)
{
    struct json **place = &object->first;

    *before = NULL;
    while (*place != NULL && !key_is(*place, key)) {
        *before = *place;
        place = &(*place)->next;
    }
    return place;
}

struct json *json_set_slice(struct json *object, struct slice key, struct json *child)
{
    struct json *before;
    struct json **place = find_place(object, key, &before);
    struct json *old = *place;

    if (old == NULL) {
        json_add(object, key, child);
        return child;
    }
    child->key = (const char *)key.data;
    child->key_len = (uint32_t)key.len;
    child->next = old->next;
    *place = child;
    if (object->last == old)
        object->last = child;
    return child;
}

struct json *json_set(struct json *object, const char *key, struct json *child)
{
    return json_set_slice(object, slice_str(key), child);
}

struct json *json_set_first(struct json *object, const char *key, struct json *child)
{
    if (json_get(object, key) != NULL || object->first == NULL)
        return json_set(object, key, child);
    child->key = key;
    child->key_len = (uint32_t)strlen(key);
    child->next = object->first;
    object->first = child;
    object->count++;
    return child;
}

struct json *json_set_object(struct arena *arena, struct json *object, const char *key)
{
    struct json *member = json_get(object, key);

    if (member != NULL && member->type != JSON_NULL)
        return member;
    return json_set(object, key, json_new(arena, JSON_OBJECT));
}

bool json_remove_slice(struct json *object, struct slice key)
{
    struct json *before;
    struct json **place;
    struct json *old;

    if (!json_is(object, JSON_OBJECT))
        return false;
    place = find_place(object, key, &before);
    old = *place;
    if (old == NULL)
        return false;
    *place = old->next;
    if (object->last == old)
        object->last = before;
    object->count--;
    return true;
}

bool json_remove(struct json *object, const char *key)
{
    return json_remove_slice(object, slice_str(key));
}

void json_become(struct json *value, const struct json *other)
{
    struct json *next = value->next;
    const char *key = value->key;
    uint32_t key_len = value->key_len;

    *value = *other;
    value->next = next;
    value->key = key;
    value->key_len = key_len;
}
