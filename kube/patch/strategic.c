#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "kube/patch/internal.h"

#define DIRECTIVE "$patch"
#define RETAIN_KEYS "$retainKeys"
#define SET_ORDER "$setElementOrder"
#define DELETE_LIST "$deleteFromPrimitiveList"

/* Objects of the API end at a dozen levels, schemas of custom resources at a few more. */
#define DEPTH_MAX 1000

struct merger {
    struct arena *arena;
    struct kube_status *status;
    unsigned depth;
};

/* What an object is: a struct, or a map of them. type NULL: nothing is known. */
struct schema {
    const struct kube_struct *type;
    bool is_map;
};

/* How a field is merged, and what is in it. */
struct strategy {
    bool merge, replace;
    const char *key; /* by which items of a list are told apart; NULL: they are scalars */
    struct schema inner;
};

static struct strategy strategy_of(struct schema schema, struct slice key)
{
    const struct kube_field *field;

    if (schema.is_map || schema.type == NULL)
        return (struct strategy){.inner = {.type = schema.type}};
    field = kube_field_find(schema.type, key);
    if (field == NULL)
        return (struct strategy){.merge = false};
    return (struct strategy){
        .merge = (field->flags & KUBE_MERGE) != 0,
        .replace = (field->flags & KUBE_REPLACE) != 0,
        .key = field->merge_key,
        .inner = {.type = field->kind == KUBE_STRUCT ? kube_struct(field->type) : NULL,
                  .is_map = field->shape == KUBE_MAP},
    };
}

/* ---- failures ---- */

/* A directive that is not written as it must be. */
static int fail_format(struct merger *m, const char *what)
{
    return kube_status_bad_request(m->status, m->arena, "invalid patch format of %s", what);
}

static int fail_apply(struct merger *m, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int fail_apply(struct merger *m, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return kube_status_set(m->status, m->arena, 422, "Invalid", "%s", text);
}

/* The JSON of value, cut if it is long, between before and after. */
static int fail_value(struct merger *m, const struct json *value, const char *before,
                      const char *after, const char *name)
{
    struct buf buf;
    int rc;

    buf_init(&buf, 256);
    (void)json_write(&buf, value);
    rc = fail_apply(m, "%s%.*s%s%s", before, (int)buf.len, (const char *)buf.data, after, name);
    buf_release(&buf);
    return rc;
}

static int fail_no_key(struct merger *m, const struct json *item, const char *key)
{
    return fail_value(m, item, "map: ", " does not contain declared merge key: ", key);
}

static int fail_type(struct merger *m, const char *expected, const struct json *value)
{
    return fail_apply(m, "expected a %s, but received a %s", expected,
                      kube_patch__type_name(value));
}

/* ---- directives ---- */

/* "$setElementOrder/env" with the prefix: *rest "env". */
static bool has_prefix(struct slice key, const char *prefix, struct slice *rest)
{
    size_t len = strlen(prefix);

    if (key.len <= len || memcmp(key.data, prefix, len) != 0 || key.data[len] != '/')
        return false;
    *rest = slice_of(key.data + len + 1, key.len - len - 1);
    return true;
}

static bool is_directive(struct slice key)
{
    struct slice rest;

    return key.len > 0 && key.data[0] == '$' &&
           (slice_eq(key, slice_str(DIRECTIVE)) || slice_eq(key, slice_str(RETAIN_KEYS)) ||
            has_prefix(key, SET_ORDER, &rest) || has_prefix(key, DELETE_LIST, &rest));
}

/* A value that meets nothing to merge with: without nulls and directives. NULL: it was a directive
 * itself. */
static struct json *plain_value(struct arena *arena, const struct json *value)
{
    struct json *plain;

    if (json_get(value, DIRECTIVE) != NULL)
        return NULL;
    if (value->type != JSON_OBJECT && value->type != JSON_ARRAY)
        return json_clone(arena, value);
    plain = json_new(arena, value->type);
    plain->key = value->key;
    plain->key_len = value->key_len;
    json_each(child, value)
    {
        bool skip = value->type == JSON_OBJECT &&
                    (child->type == JSON_NULL || is_directive(json_key(child)));
        struct json *kept = skip ? NULL : plain_value(arena, child);

        if (kept != NULL)
            json_append(plain, kept);
    }
    return plain;
}

/* ---- lists as arrays of items ---- */

struct items {
    const struct json **at;
    size_t count;
};

static struct items items_of(struct merger *m, const struct json *array)
{
    struct items items = {NULL, 0};

    if (array == NULL)
        return items;
    items.at = arena_alloc(m->arena, array->count * sizeof(items.at[0]));
    json_each(item, array) items.at[items.count++] = item;
    return items;
}

/* What tells an item from others, as text: of its merge key, or of the item itself. The type is
 * part of it: "1" is not 1. False: it has none. */
static bool identity(struct merger *m, const struct json *item, const char *key, struct slice *out)
{
    const struct json *value = key == NULL ? item : json_get(item, key);
    uint8_t *text;

    if (json_is(value, JSON_STRING)) {
        *out = json_text(value);
        return true;
    }
    if (!json_is(value, JSON_NUMBER) && !json_is(value, JSON_BOOL))
        return false;
    if (value->type == JSON_BOOL) {
        *out = value->boolean ? slice_of("\0t", 2) : slice_of("\0f", 2);
        return true;
    }
    text = arena_alloc(m->arena, value->len + 1);
    text[0] = '\1';
    memcpy(text + 1, value->text, value->len);
    *out = slice_of(text, value->len + 1);
    return true;
}

/* From identities to the first place where each is. */
struct places {
    struct json *object; /* a member per identity, whose count is the place */
    struct json_index index;
};

static void places_init(struct merger *m, struct places *places)
{
    places->object = json_new(m->arena, JSON_OBJECT);
    json_index_init(&places->index, m->arena, places->object);
}

/* False if it has one. */
static bool place(struct merger *m, struct places *places, struct slice identity_text, size_t at)
{
    struct json *member;

    if (json_index_get(&places->index, identity_text) != NULL)
        return false;
    member = json_new(m->arena, JSON_ARRAY);
    member->count = at;
    json_add(places->object, identity_text, member);
    json_index_added(&places->index, member);
    return true;
}

#define NOWHERE SIZE_MAX

static size_t place_of(const struct places *places, struct slice identity_text)
{
    const struct json *member = json_index_get(&places->index, identity_text);

    return member == NULL ? NOWHERE : member->count;
}

/* 422 if an item has no merge key. */
static int place_all(struct merger *m, struct places *places, const struct items *items,
                     const char *key)
{
    places_init(m, places);
    for (size_t i = 0; i < items->count; i++) {
        struct slice text;

        if (identity(m, items->at[i], key, &text))
            (void)place(m, places, text, i);
        else if (key != NULL)
            return fail_no_key(m, items->at[i], key);
    }
    return 0;
}

/* ---- order of a merged list ---- */

struct placed {
    const struct json *item;
    size_t server; /* place on the server; NOWHERE */
    size_t order;  /* what it is sorted by */
    size_t index;  /* so that sorting is stable */
};

static int compare_placed(const void *a, const void *b)
{
    const struct placed *left = a, *right = b;

    if (left->order != right->order)
        return left->order < right->order ? -1 : 1;
    return left->index < right->index ? -1 : left->index > right->index;
}

/* Items that are in order take its order; the others that of the server. Then each of the others
 * goes before the first of the former that follows it on the server. */
static int put_in_order(struct merger *m, const struct items *merged, const struct items *order,
                        const struct items *server, const char *key, struct json **out)
{
    struct placed *named = arena_alloc(m->arena, merged->count * sizeof(named[0]));
    struct placed *others = arena_alloc(m->arena, merged->count * sizeof(others[0]));
    size_t named_count = 0, others_count = 0, i = 0, j = 0;
    struct places in_order, on_server;
    int rc = place_all(m, &in_order, order, key);

    if (rc == 0)
        rc = place_all(m, &on_server, server, key);
    for (size_t k = 0; rc == 0 && k < merged->count; k++) {
        struct placed placed = {.item = merged->at[k], .index = k};
        struct slice text;

        if (!identity(m, placed.item, key, &text))
            return fail_no_key(m, placed.item, key == NULL ? "" : key);
        placed.server = place_of(&on_server, text);
        placed.order = place_of(&in_order, text);
        if (placed.order != NOWHERE) {
            named[named_count++] = placed;
        } else {
            placed.order = placed.server;
            others[others_count++] = placed;
        }
    }
    if (rc != 0)
        return rc;
    qsort(named, named_count, sizeof(named[0]), compare_placed);
    qsort(others, others_count, sizeof(others[0]), compare_placed);
    *out = json_new(m->arena, JSON_ARRAY);
    while (i < others_count || j < named_count) {
        bool other =
            j >= named_count || (i < others_count && others[i].server != NOWHERE &&
                                 named[j].server != NOWHERE && others[i].server < named[j].server);
        const struct placed *next = other ? &others[i++] : &named[j++];

        json_append(*out, json_clone(m->arena, next->item));
    }
    return 0;
}

/* ---- merging ---- */

static int merge_objects(struct merger *m, struct schema schema, const struct json *old,
                         const struct json *patch, struct json **out);

/* Items of one list: all objects, or all scalars of one type. */
static int check_items(struct merger *m, const struct items *old, const struct items *patch,
                       enum json_type *type)
{
    const struct json *first = old->count > 0 ? old->at[0] : patch->at[0];

    for (size_t i = 0; i < old->count + patch->count; i++) {
        const struct json *item = i < old->count ? old->at[i] : patch->at[i - old->count];

        if (item->type == JSON_ARRAY)
            return fail_apply(m, "lists of lists are not supported");
        if (item->type != first->type || item->type == JSON_NULL)
            return fail_apply(m, "list element types are not identical: %s and %s",
                              kube_patch__type_name(first), kube_patch__type_name(item));
    }
    *type = first->type;
    return 0;
}

static int merge_scalars(struct merger *m, const struct items *old, const struct items *patch,
                         struct json **out)
{
    size_t count_max = old->count + patch->count;
    struct items merged = {.at = arena_alloc(m->arena, count_max * sizeof(merged.at[0]))};
    struct places seen;

    places_init(m, &seen);
    for (size_t i = 0; i < count_max; i++) {
        const struct json *item = i < old->count ? old->at[i] : patch->at[i - old->count];
        struct slice text;

        if (identity(m, item, NULL, &text) && place(m, &seen, text, i))
            merged.at[merged.count++] = item;
    }
    return put_in_order(m, &merged, patch, old, NULL, out);
}

/* What the items with $patch in them ask for. */
struct special {
    bool replace;
    struct places deleted; /* identities */
};

static int read_special(struct merger *m, const struct json *item, const char *key,
                        struct special *special)
{
    const struct json *directive = json_get(item, DIRECTIVE);
    struct slice text;

    if (json_equals(directive, "replace")) {
        special->replace = true;
        return 0;
    }
    if (json_equals(directive, "merge"))
        return fail_apply(m, "merging lists cannot yet be specified in the patch");
    if (!json_equals(directive, "delete"))
        return fail_value(m, item, "unknown patch type in map: ", "", "");
    if (!identity(m, item, key, &text))
        return fail_no_key(m, item, key);
    (void)place(m, &special->deleted, text, 0);
    return 0;
}

/* Takes items with $patch out of patch and carries them out on old. */
static int apply_specials(struct merger *m, struct items *old, struct items *patch, const char *key)
{
    struct special special = {.replace = false};
    size_t kept = 0;
    int rc = 0;

    places_init(m, &special.deleted);
    for (size_t i = 0; rc == 0 && i < patch->count; i++) {
        if (json_get(patch->at[i], DIRECTIVE) == NULL)
            patch->at[kept++] = patch->at[i];
        else
            rc = read_special(m, patch->at[i], key, &special);
    }
    patch->count = kept;
    if (rc != 0)
        return rc;
    if (special.replace) {
        old->count = 0;
        return 0;
    }
    kept = 0;
    for (size_t i = 0; i < old->count; i++) {
        struct slice text;

        if (!identity(m, old->at[i], key, &text) || place_of(&special.deleted, text) == NOWHERE)
            old->at[kept++] = old->at[i];
    }
    old->count = kept;
    return 0;
}

static int merge_maps(struct merger *m, const struct strategy *strategy, struct items *old,
                      struct items *patch, struct json **out)
{
    struct items merged;
    struct places places;
    int rc = apply_specials(m, old, patch, strategy->key);

    merged.at = arena_alloc(m->arena, (old->count + patch->count) * sizeof(merged.at[0]));
    merged.count = old->count;
    if (old->count > 0)
        memcpy(merged.at, old->at, old->count * sizeof(old->at[0]));
    places_init(m, &places);
    for (size_t i = 0; i < old->count; i++) {
        struct slice text;

        if (identity(m, old->at[i], strategy->key, &text))
            (void)place(m, &places, text, i);
    }
    for (size_t i = 0; rc == 0 && i < patch->count; i++) {
        struct json *value = NULL;
        struct slice text;
        size_t at;

        if (!identity(m, patch->at[i], strategy->key, &text))
            return fail_no_key(m, patch->at[i], strategy->key);
        at = place_of(&places, text);
        if (at == NOWHERE) {
            (void)place(m, &places, text, merged.count);
            merged.at[merged.count++] = plain_value(m->arena, patch->at[i]);
        } else {
            rc = merge_objects(m, strategy->inner, merged.at[at], patch->at[i], &value);
            merged.at[at] = value;
        }
    }
    return rc != 0 ? rc : put_in_order(m, &merged, patch, old, strategy->key, out);
}

/* Lists that are both there. */
static int merge_lists(struct merger *m, const struct strategy *strategy, const struct json *old,
                       const struct json *patch, struct json **out)
{
    struct items old_items = items_of(m, old), patch_items = items_of(m, patch);
    enum json_type type = JSON_NULL;
    int rc;

    if (!strategy->merge || old->count + patch->count == 0) {
        *out = plain_value(m->arena, patch);
        return 0;
    }
    rc = check_items(m, &old_items, &patch_items, &type);
    if (rc != 0)
        return rc;
    if (type != JSON_OBJECT)
        return merge_scalars(m, &old_items, &patch_items, out);
    if (strategy->key == NULL)
        return fail_apply(m, "cannot merge lists without merge key for struct");
    return merge_maps(m, strategy, &old_items, &patch_items, out);
}

/* All changes that a patch has for one member. */
struct change {
    const struct json *value, *order, *deletions; /* NULL: none */
};

/* Items of the patch must come in the order that $setElementOrder says, and all be named in it. */
static int check_order(struct merger *m, const struct items *patch, const struct items *order,
                       const char *key)
{
    size_t at = 0;

    if (order->count == 0)
        return 0;
    for (size_t i = 0; i < patch->count; i++) {
        struct slice wanted, named;

        if (json_get(patch->at[i], DIRECTIVE) != NULL)
            continue;
        if (!identity(m, patch->at[i], key, &wanted))
            return fail_no_key(m, patch->at[i], key == NULL ? "" : key);
        for (;; at++) {
            if (at == order->count)
                return fail_apply(m, "The order in patch list doesn't match " SET_ORDER " list");
            if (!identity(m, order->at[at], key, &named))
                return fail_no_key(m, order->at[at], key == NULL ? "" : key);
            if (slice_eq(named, wanted))
                break;
        }
        at++;
    }
    return 0;
}

static int merge_ordered(struct merger *m, const struct strategy *strategy, const struct json *old,
                         const struct change *change, struct json **out)
{
    struct items order, patch, server, merged;
    struct json *list;
    int rc = 0;

    if (change->order->type != JSON_ARRAY)
        return fail_format(m, "setElementOrder list");
    if (old != NULL && old->type != JSON_ARRAY)
        return fail_type(m, "[]interface {}", old);
    if (change->value != NULL && change->value->type != JSON_ARRAY)
        return fail_type(m, "[]interface {}", change->value);
    if (old == NULL && change->value == NULL)
        return 0;
    order = items_of(m, change->order);
    patch = items_of(m, change->value);
    rc = check_order(m, &patch, &order, strategy->key);
    if (rc != 0)
        return rc;
    if (change->value == NULL)
        list = json_clone(m->arena, old);
    else if (old == NULL)
        list = plain_value(m->arena, change->value);
    else
        rc = merge_lists(m, strategy, old, change->value, &list);
    if (rc != 0)
        return rc;
    server = items_of(m, old);
    merged = items_of(m, list);
    return put_in_order(m, &merged, &order, &server, strategy->key, out);
}

static int delete_scalars(struct merger *m, const struct json *deletions, struct json *list,
                          struct json **out)
{
    struct items named = items_of(m, deletions);
    struct places places;
    int rc = place_all(m, &places, &named, NULL);

    *out = json_new(m->arena, JSON_ARRAY);
    json_each(item, list)
    {
        struct slice text;

        if (!identity(m, item, NULL, &text))
            return fail_format(m, "primitive list");
        if (place_of(&places, text) == NOWHERE)
            json_append(*out, json_clone(m->arena, item));
    }
    return rc;
}

static int merge_value(struct merger *m, const struct strategy *strategy, const struct json *old,
                       const struct json *patch, struct json **out)
{
    if (patch->type == JSON_NULL)
        return 0;
    if (old == NULL || old->type != patch->type ||
        (patch->type == JSON_OBJECT && strategy->replace)) {
        *out = plain_value(m->arena, patch);
        return 0;
    }
    if (patch->type == JSON_OBJECT)
        return merge_objects(m, strategy->inner, old, patch, out);
    if (patch->type == JSON_ARRAY)
        return merge_lists(m, strategy, old, patch, out);
    *out = json_clone(m->arena, patch);
    return 0;
}

/* *out NULL: the member goes away. */
static int merge_member(struct merger *m, struct schema schema, struct slice key,
                        const struct json *old, const struct change *change, struct json **out)
{
    struct strategy strategy = strategy_of(schema, key);
    int rc = 0;

    *out = NULL;
    if (change->order != NULL)
        rc = merge_ordered(m, &strategy, old, change, out);
    else if (change->value != NULL)
        rc = merge_value(m, &strategy, old, change->value, out);
    else if (old != NULL)
        *out = json_clone(m->arena, old);
    if (rc == 0 && change->deletions != NULL && json_is(*out, JSON_ARRAY) &&
        change->deletions->type == JSON_ARRAY)
        rc = delete_scalars(m, change->deletions, *out, out);
    return rc;
}

/* The patch for one object, its members at hand. */
struct object_patch {
    const struct json *patch;
    struct json_index index;
    bool directives; /* there are some */
    const struct json *retain;
    struct places retained;
};

static const struct json *directive_for(struct merger *m, const struct object_patch *p,
                                        const char *prefix, struct slice key)
{
    size_t len = strlen(prefix);
    uint8_t *name = arena_alloc(m->arena, len + 1 + key.len);

    memcpy(name, prefix, len);
    name[len] = '/';
    if (key.len > 0)
        memcpy(name + len + 1, key.data, key.len);
    return json_index_get(&p->index, slice_of(name, len + 1 + key.len));
}

static struct change change_for(struct merger *m, const struct object_patch *p, struct slice key)
{
    struct change change = {.value = json_index_get(&p->index, key)};

    if (p->directives) {
        change.order = directive_for(m, p, SET_ORDER, key);
        change.deletions = directive_for(m, p, DELETE_LIST, key);
    }
    return change;
}

static bool begins_with(struct slice key, const char *prefix)
{
    return key.len >= strlen(prefix) && memcmp(key.data, prefix, strlen(prefix)) == 0;
}

/* $retainKeys names all members that stay, those of the patch among them. */
static int read_retained(struct merger *m, struct object_patch *p)
{
    struct items named;

    if (p->retain->type != JSON_ARRAY)
        return fail_format(m, "retainKeys");
    named = items_of(m, p->retain);
    (void)place_all(m, &p->retained, &named, NULL);
    json_each(member, p->patch)
    {
        if (member->type != JSON_NULL && !is_directive(json_key(member)) &&
            place_of(&p->retained, json_key(member)) == NOWHERE)
            return fail_format(m, "retainKeys");
    }
    return 0;
}

static int read_object_patch(struct merger *m, const struct json *patch, struct object_patch *p)
{
    *p = (struct object_patch){.patch = patch};
    json_index_init(&p->index, m->arena, patch);
    json_each(member, patch)
    {
        struct slice key = json_key(member), rest;

        if (key.len == 0 || key.data[0] != '$')
            continue;
        p->directives = true;
        if (begins_with(key, SET_ORDER) && !has_prefix(key, SET_ORDER, &rest))
            return fail_format(m, "setElementOrder list");
        if (begins_with(key, DELETE_LIST) && !has_prefix(key, DELETE_LIST, &rest))
            return fail_format(m, "primitive list");
    }
    p->retain = json_get(patch, RETAIN_KEYS);
    return p->retain == NULL ? 0 : read_retained(m, p);
}

/* The member of the object that a member of the patch is about. */
static struct slice subject_of(const struct json *member)
{
    struct slice key = json_key(member), rest;

    if (has_prefix(key, SET_ORDER, &rest) || has_prefix(key, DELETE_LIST, &rest))
        return rest;
    return key;
}

static int add_merged(struct merger *m, struct schema schema, const struct object_patch *p,
                      struct slice key, const struct json *old, struct json *out)
{
    struct change change = change_for(m, p, key);
    struct json *merged;
    int rc = merge_member(m, schema, key, old, &change, &merged);

    if (rc == 0 && merged != NULL)
        json_add(out, key, merged);
    return rc;
}

static int merge_members(struct merger *m, struct schema schema, const struct json *old,
                         const struct object_patch *p, struct json *out)
{
    struct json_index in_old, done;
    int rc = 0;

    json_index_init(&in_old, m->arena, old);
    json_each(member, old)
    {
        struct slice key = json_key(member);

        if (rc == 0 && (p->retain == NULL || place_of(&p->retained, key) != NOWHERE))
            rc = add_merged(m, schema, p, key, member, out);
    }
    json_index_init(&done, m->arena, out);
    json_each(member, p->patch)
    {
        struct slice key = subject_of(member);
        struct json *last = out->last;
        const struct json *there = json_index_get(&in_old, key);

        if (rc != 0 || is_directive(key) || json_index_get(&done, key) != NULL)
            continue;
        if (there != NULL && (p->retain == NULL || place_of(&p->retained, key) != NOWHERE))
            continue; /* merged, and gone */
        rc = add_merged(m, schema, p, key, NULL, out);
        if (out->last != last)
            json_index_added(&done, out->last);
    }
    return rc;
}

static int merge_objects(struct merger *m, struct schema schema, const struct json *old,
                         const struct json *patch, struct json **out)
{
    const struct json *directive = json_get(patch, DIRECTIVE);
    struct object_patch p;
    int rc;

    if (m->depth >= DEPTH_MAX)
        return fail_apply(m, "the patch is nested more than %d levels deep", DEPTH_MAX);
    *out = json_new(m->arena, JSON_OBJECT);
    if (json_equals(directive, "delete"))
        return 0;
    if (directive != NULL && !json_equals(directive, "replace"))
        return fail_value(m, patch, "unknown patch type in map: ", "", "");
    if (directive != NULL)
        old = NULL;
    rc = read_object_patch(m, patch, &p);
    if (rc != 0)
        return rc;
    m->depth++;
    rc = merge_members(m, schema, old, &p, *out);
    m->depth--;
    return rc;
}

int kube_patch_strategic(struct arena *arena, const struct kube_struct *type,
                         const struct json *old, const struct json *patch, struct json **out,
                         struct kube_status *status)
{
    struct merger m = {.arena = arena, .status = status};

    if (patch->type != JSON_OBJECT)
        return kube_patch__not_a_map(arena, patch, status);
    *status = (struct kube_status){0};
    return merge_objects(&m, (struct schema){.type = type}, old, patch, out);
}
