#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/patch/strategic.h"

/* ---- failures ---- */

int merge__fail(struct merger *m, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return kube_status_set(m->status, m->arena, 422, "Invalid", "%s", text);
}

int merge__fail_value(struct merger *m, const struct json *value, const char *before,
                      const char *after, const char *name)
{
    struct buf buf;
    int rc;

    buf_init(&buf, 256);
    (void)json_write(&buf, value);
    rc = merge__fail(m, "%s%.*s%s%s", before, (int)buf.len, (const char *)buf.data, after, name);
    buf_release(&buf);
    return rc;
}

int merge__fail_format(struct merger *m, const char *what)
{
    return kube_status_bad_request(m->status, m->arena, "invalid patch format of %s", what);
}

int merge__fail_no_key(struct merger *m, const struct json *item, const char *key)
{
    return merge__fail_value(m, item, "map: ", " does not contain declared merge key: ", key);
}

/* ---- items and what tells them apart ---- */

struct items merge__items(struct merger *m, const struct json *array)
{
    struct items items = {NULL, 0};

    if (array == NULL)
        return items;
    items.at = arena_alloc(m->arena, array->count * sizeof(items.at[0]));
    json_each(item, array) items.at[items.count++] = item;
    return items;
}

bool merge__identity(struct merger *m, const struct json *item, const char *key, struct slice *out)
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

void merge__places_init(struct merger *m, struct places *places)
{
    places->object = json_new(m->arena, JSON_OBJECT);
    json_index_init(&places->index, m->arena, places->object);
}

bool merge__place(struct merger *m, struct places *places, struct slice identity_text, size_t at)
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

size_t merge__place_of(const struct places *places, struct slice identity_text)
{
    const struct json *member = json_index_get(&places->index, identity_text);

    return member == NULL ? NOWHERE : member->count;
}

int merge__place_all(struct merger *m, struct places *places, const struct items *items,
                     const char *key)
{
    merge__places_init(m, places);
    for (size_t i = 0; i < items->count; i++) {
        struct slice text;

        if (merge__identity(m, items->at[i], key, &text))
            (void)merge__place(m, places, text, i);
        else if (key != NULL)
            return merge__fail_no_key(m, items->at[i], key);
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

int merge__put_in_order(struct merger *m, const struct items *merged, const struct items *order,
                        const struct items *server, const char *key, struct json **out)
{
    struct placed *named = arena_alloc(m->arena, merged->count * sizeof(named[0]));
    struct placed *others = arena_alloc(m->arena, merged->count * sizeof(others[0]));
    size_t named_count = 0, others_count = 0, i = 0, j = 0;
    struct places in_order, on_server;
    int rc = merge__place_all(m, &in_order, order, key);

    if (rc == 0)
        rc = merge__place_all(m, &on_server, server, key);
    for (size_t k = 0; rc == 0 && k < merged->count; k++) {
        struct placed placed = {.item = merged->at[k], .index = k};
        struct slice text;

        if (!merge__identity(m, placed.item, key, &text))
            return merge__fail_no_key(m, placed.item, key == NULL ? "" : key);
        placed.server = merge__place_of(&on_server, text);
        placed.order = merge__place_of(&in_order, text);
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
