#include <string.h>

#include "base/util.h"
#include "kube/patch/strategic.h"

/* Objects of the API end at a dozen levels, schemas of custom resources at a few more. */
#define DEPTH_MAX 1000

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

struct json *merge__plain_value(struct arena *arena, const struct json *value)
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
        struct json *kept = skip ? NULL : merge__plain_value(arena, child);

        if (kept != NULL)
            json_append(plain, kept);
    }
    return plain;
}

/* ---- merging ---- */

static int merge_value(struct merger *m, const struct strategy *strategy, const struct json *old,
                       const struct json *patch, struct json **out)
{
    if (patch->type == JSON_NULL)
        return 0;
    if (old == NULL || old->type != patch->type ||
        (patch->type == JSON_OBJECT && strategy->replace)) {
        *out = merge__plain_value(m->arena, patch);
        return 0;
    }
    if (patch->type == JSON_OBJECT)
        return merge__objects(m, strategy->inner, old, patch, out);
    if (patch->type == JSON_ARRAY)
        return merge__lists(m, strategy, old, patch, out);
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
        rc = merge__ordered(m, &strategy, old, change, out);
    else if (change->value != NULL)
        rc = merge_value(m, &strategy, old, change->value, out);
    else if (old != NULL)
        *out = json_clone(m->arena, old);
    if (rc == 0 && change->deletions != NULL && json_is(*out, JSON_ARRAY) &&
        change->deletions->type == JSON_ARRAY)
        rc = merge__delete_scalars(m, change->deletions, *out, out);
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
        return merge__fail_format(m, "retainKeys");
    named = merge__items(m, p->retain);
    (void)merge__place_all(m, &p->retained, &named, NULL);
    json_each(member, p->patch)
    {
        if (member->type != JSON_NULL && !is_directive(json_key(member)) &&
            merge__place_of(&p->retained, json_key(member)) == NOWHERE)
            return merge__fail_format(m, "retainKeys");
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
            return merge__fail_format(m, "setElementOrder list");
        if (begins_with(key, DELETE_LIST) && !has_prefix(key, DELETE_LIST, &rest))
            return merge__fail_format(m, "primitive list");
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

        if (rc == 0 && (p->retain == NULL || merge__place_of(&p->retained, key) != NOWHERE))
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
        if (there != NULL && (p->retain == NULL || merge__place_of(&p->retained, key) != NOWHERE))
            continue; /* merged, and gone */
        rc = add_merged(m, schema, p, key, NULL, out);
        if (out->last != last)
            json_index_added(&done, out->last);
    }
    return rc;
}

int merge__objects(struct merger *m, struct schema schema, const struct json *old,
                   const struct json *patch, struct json **out)
{
    const struct json *directive = json_get(patch, DIRECTIVE);
    struct object_patch p;
    int rc;

    if (m->depth >= DEPTH_MAX)
        return merge__fail(m, "the patch is nested more than %d levels deep", DEPTH_MAX);
    *out = json_new(m->arena, JSON_OBJECT);
    if (json_equals(directive, "delete"))
        return 0;
    if (directive != NULL && !json_equals(directive, "replace"))
        return merge__fail_value(m, patch, "unknown patch type in map: ", "", "");
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
    return merge__objects(&m, (struct schema){.type = type}, old, patch, out);
}
