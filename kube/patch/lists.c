#include <string.h>

#include "kube/patch/strategic.h"

static int fail_type(struct merger *m, const char *expected, const struct json *value)
{
    return merge__fail(m, "expected a %s, but received a %s", expected,
                       kube_patch__type_name(value));
}

/* Items of one list: all objects, or all scalars of one type. */
static int check_items(struct merger *m, const struct items *old, const struct items *patch,
                       enum json_type *type)
{
    const struct json *first = old->count > 0 ? old->at[0] : patch->at[0];

    for (size_t i = 0; i < old->count + patch->count; i++) {
        const struct json *item = i < old->count ? old->at[i] : patch->at[i - old->count];

        if (item->type == JSON_ARRAY)
            return merge__fail(m, "lists of lists are not supported");
        if (item->type != first->type || item->type == JSON_NULL)
            return merge__fail(m, "list element types are not identical: %s and %s",
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

    merge__places_init(m, &seen);
    for (size_t i = 0; i < count_max; i++) {
        const struct json *item = i < old->count ? old->at[i] : patch->at[i - old->count];
        struct slice text;

        if (merge__identity(m, item, NULL, &text) && merge__place(m, &seen, text, i))
            merged.at[merged.count++] = item;
    }
    return merge__put_in_order(m, &merged, patch, old, NULL, out);
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
        return merge__fail(m, "merging lists cannot yet be specified in the patch");
    if (!json_equals(directive, "delete"))
        return merge__fail_value(m, item, "unknown patch type in map: ", "", "");
    if (!merge__identity(m, item, key, &text))
        return merge__fail_no_key(m, item, key);
    (void)merge__place(m, &special->deleted, text, 0);
    return 0;
}

/* Takes items with $patch out of patch and carries them out on old. */
static int apply_specials(struct merger *m, struct items *old, struct items *patch, const char *key)
{
    struct special special = {.replace = false};
    size_t kept = 0;
    int rc = 0;

    merge__places_init(m, &special.deleted);
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

        if (!merge__identity(m, old->at[i], key, &text) ||
            merge__place_of(&special.deleted, text) == NOWHERE)
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
    merge__places_init(m, &places);
    for (size_t i = 0; i < old->count; i++) {
        struct slice text;

        if (merge__identity(m, old->at[i], strategy->key, &text))
            (void)merge__place(m, &places, text, i);
    }
    for (size_t i = 0; rc == 0 && i < patch->count; i++) {
        struct json *value = NULL;
        struct slice text;
        size_t at;

        if (!merge__identity(m, patch->at[i], strategy->key, &text))
            return merge__fail_no_key(m, patch->at[i], strategy->key);
        at = merge__place_of(&places, text);
        if (at == NOWHERE) {
            (void)merge__place(m, &places, text, merged.count);
            merged.at[merged.count++] = merge__plain_value(m->arena, patch->at[i]);
        } else {
            rc = merge__objects(m, strategy->inner, merged.at[at], patch->at[i], &value);
            merged.at[at] = value;
        }
    }
    return rc != 0 ? rc : merge__put_in_order(m, &merged, patch, old, strategy->key, out);
}

int merge__lists(struct merger *m, const struct strategy *strategy, const struct json *old,
                 const struct json *patch, struct json **out)
{
    struct items old_items = merge__items(m, old), patch_items = merge__items(m, patch);
    enum json_type type = JSON_NULL;
    int rc;

    if (!strategy->merge || old->count + patch->count == 0) {
        *out = merge__plain_value(m->arena, patch);
        return 0;
    }
    rc = check_items(m, &old_items, &patch_items, &type);
    if (rc != 0)
        return rc;
    if (type != JSON_OBJECT)
        return merge_scalars(m, &old_items, &patch_items, out);
    if (strategy->key == NULL)
        return merge__fail(m, "cannot merge lists without merge key for struct");
    return merge_maps(m, strategy, &old_items, &patch_items, out);
}

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
        if (!merge__identity(m, patch->at[i], key, &wanted))
            return merge__fail_no_key(m, patch->at[i], key == NULL ? "" : key);
        for (;; at++) {
            if (at == order->count)
                return merge__fail(m, "The order in patch list doesn't match " SET_ORDER " list");
            if (!merge__identity(m, order->at[at], key, &named))
                return merge__fail_no_key(m, order->at[at], key == NULL ? "" : key);
            if (slice_eq(named, wanted))
                break;
        }
        at++;
    }
    return 0;
}

int merge__ordered(struct merger *m, const struct strategy *strategy, const struct json *old,
                   const struct change *change, struct json **out)
{
    struct items order, patch, server, merged;
    struct json *list;
    int rc = 0;

    if (change->order->type != JSON_ARRAY)
        return merge__fail_format(m, "setElementOrder list");
    if (old != NULL && old->type != JSON_ARRAY)
        return fail_type(m, "[]interface {}", old);
    if (change->value != NULL && change->value->type != JSON_ARRAY)
        return fail_type(m, "[]interface {}", change->value);
    if (old == NULL && change->value == NULL)
        return 0;
    order = merge__items(m, change->order);
    patch = merge__items(m, change->value);
    rc = check_order(m, &patch, &order, strategy->key);
    if (rc != 0)
        return rc;
    if (change->value == NULL)
        list = json_clone(m->arena, old);
    else if (old == NULL)
        list = merge__plain_value(m->arena, change->value);
    else
        rc = merge__lists(m, strategy, old, change->value, &list);
    if (rc != 0)
        return rc;
    server = merge__items(m, old);
    merged = merge__items(m, list);
    return merge__put_in_order(m, &merged, &order, &server, strategy->key, out);
}

int merge__delete_scalars(struct merger *m, const struct json *deletions, struct json *list,
                          struct json **out)
{
    struct items named = merge__items(m, deletions);
    struct places places;
    int rc = merge__place_all(m, &places, &named, NULL);

    *out = json_new(m->arena, JSON_ARRAY);
    json_each(item, list)
    {
        struct slice text;

        if (!merge__identity(m, item, NULL, &text))
            return merge__fail_format(m, "primitive list");
        if (merge__place_of(&places, text) == NOWHERE)
            json_append(*out, json_clone(m->arena, item));
    }
    return rc;
}
