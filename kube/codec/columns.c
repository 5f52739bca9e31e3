#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "kube/check/normal.h"
#include "kube/codec/columns.h"
#include "kube/codec/table.h"

/* ---- putting text together ---- */

void kube__begin(struct kube__row *row)
{
    buf_reset(&row->text);
}

/* A cell that is longer than its buffer is cut; nobody reads so far. */
void kube__add(struct kube__row *row, const char *fmt, ...)
{
    char text[256];
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (len > 0)
        (void)buf_append(&row->text, text, MIN((size_t)len, sizeof(text) - 1));
}

void kube__add_slice(struct kube__row *row, struct slice text)
{
    (void)buf_append(&row->text, text.data, text.len);
}

void kube__add_lower(struct kube__row *row, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        bool upper = text.data[i] >= 'A' && text.data[i] <= 'Z';

        kube__add(row, "%c", text.data[i] | (upper ? 0x20 : 0));
    }
}

void kube__add_item(struct kube__row *row, const char *comma, struct slice text)
{
    if (row->text.len > 0)
        kube__add_slice(row, slice_str(comma));
    kube__add_slice(row, text);
}

struct json *kube__end(struct kube__row *row, const char *otherwise)
{
    if (row->text.len == 0)
        return kube__string(row, otherwise == NULL ? "" : otherwise);
    return json_new_string(row->arena, arena_copy(row->arena, buf_slice(&row->text)));
}

struct json *kube__string(struct kube__row *row, const char *text)
{
    return json_new_cstring(row->arena, text);
}

/* ---- reading objects ---- */

int64_t kube__int_at(const struct json *value, const char *path)
{
    int64_t number;

    return json_int(json_at(value, path), &number) ? number : 0;
}

bool kube__true_at(const struct json *value, const char *path)
{
    const struct json *member = json_at(value, path);

    return json_is(member, JSON_BOOL) && member->boolean;
}

bool kube__seconds_at(const struct json *value, const char *path, int64_t *out)
{
    struct slice text = json_text_at(value, path);

    return text.data != NULL && kube_time_seconds(text, out);
}

const char *kube__age_at(struct kube__row *row, const struct json *value, const char *path)
{
    int64_t then_s;

    if (!kube__seconds_at(value, path, &then_s))
        return "<unknown>";
    return kube_human_duration(row->arena, row->now_s - then_s);
}

struct slice kube__condition(const struct json *conditions, const char *type)
{
    if (json_is(conditions, JSON_ARRAY)) {
        json_each(condition, conditions)
        {
            if (json_equals(json_get(condition, "type"), type))
                return json_text_at(condition, "status");
        }
    }
    return slice_of(NULL, 0);
}

bool kube__condition_true(const struct json *conditions, const char *type)
{
    return slice_eq(kube__condition(conditions, type), slice_str("True"));
}

bool kube__is_deleted(const struct kube__row *row)
{
    return json_is(json_at(row->object, "metadata.deletionTimestamp"), JSON_STRING);
}

static int by_key(const void *a, const void *b)
{
    const struct json *left = *(const struct json *const *)a;
    const struct json *right = *(const struct json *const *)b;

    return slice_cmp(slice_of(left->key, left->key_len), slice_of(right->key, right->key_len));
}

const struct json **kube__sorted(struct arena *arena, const struct json *object)
{
    const struct json **members = arena_alloc(arena, (object->count + 1) * sizeof(*members));
    size_t count = 0;

    json_each(member, object) members[count++] = member;
    qsort(members, count, sizeof(*members), by_key);
    return members;
}

/* ---- label selectors ---- */

struct requirement {
    struct slice key;
    const struct json *value;  /* of matchLabels */
    const struct json *values; /* of an expression */
    struct slice op;
    size_t place; /* keeps the sort stable */
};

static int by_requirement(const void *a, const void *b)
{
    const struct requirement *left = a;
    const struct requirement *right = b;
    int order = slice_cmp(left->key, right->key);

    return order != 0 ? order : left->place < right->place ? -1 : 1;
}

static int by_text(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static void add_values(struct kube__row *row, const struct json *values)
{
    size_t count = 0;
    struct slice *texts;

    if (!json_is(values, JSON_ARRAY))
        return;
    texts = arena_alloc(row->arena, (values->count + 1) * sizeof(*texts));
    json_each(value, values) texts[count++] = json_text(value);
    qsort(texts, count, sizeof(*texts), by_text);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            kube__add(row, ",");
        kube__add_slice(row, texts[i]);
    }
}

static void add_requirement(struct kube__row *row, const struct requirement *wanted)
{
    bool in = slice_eq(wanted->op, slice_str("In"));

    if (slice_eq(wanted->op, slice_str("DoesNotExist")))
        kube__add(row, "!");
    kube__add_slice(row, wanted->key);
    if (wanted->value != NULL) {
        kube__add(row, "=");
        kube__add_slice(row, json_text(wanted->value));
    } else if (in || slice_eq(wanted->op, slice_str("NotIn"))) {
        kube__add(row, in ? " in (" : " notin (");
        add_values(row, wanted->values);
        kube__add(row, ")");
    }
}

static size_t members_of(const struct json *value, enum json_type type)
{
    return json_is(value, type) ? value->count : 0;
}

void kube__add_selector(struct kube__row *row, const struct json *selector)
{
    const struct json *labels = json_get(selector, "matchLabels");
    const struct json *expressions = json_get(selector, "matchExpressions");
    size_t count = members_of(labels, JSON_OBJECT) + members_of(expressions, JSON_ARRAY);
    struct requirement *all;
    size_t n = 0;

    if (count == 0)
        return;
    all = arena_calloc(row->arena, count * sizeof(*all));
    if (json_is(labels, JSON_OBJECT)) {
        json_each(label, labels)
        {
            all[n] = (struct requirement){
                .key = slice_of(label->key, label->key_len), .value = label, .place = n};
            n++;
        }
    }
    if (json_is(expressions, JSON_ARRAY)) {
        json_each(expression, expressions)
        {
            all[n] = (struct requirement){.key = json_text_at(expression, "key"),
                                          .values = json_get(expression, "values"),
                                          .op = json_text_at(expression, "operator"),
                                          .place = n};
            n++;
        }
    }
    qsort(all, n, sizeof(*all), by_requirement);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            kube__add(row, ",");
        add_requirement(row, &all[i]);
    }
}

/* ---- printers ---- */

struct json *kube__text(struct kube__row *row, const struct kube__column *column)
{
    struct slice text = json_text_at(row->object, column->path);

    if (text.len == 0)
        return kube__string(row, column->otherwise == NULL ? "" : column->otherwise);
    return json_new_string(row->arena, text);
}

struct json *kube__integer(struct kube__row *row, const struct kube__column *column)
{
    return json_new_int(row->arena, kube__int_at(row->object, column->path));
}

struct json *kube__count(struct kube__row *row, const struct kube__column *column)
{
    const struct json *value = json_at(row->object, column->path);
    bool has = json_is(value, JSON_ARRAY) || json_is(value, JSON_OBJECT);

    return json_new_int(row->arena, has ? (int64_t)value->count : 0);
}

struct json *kube__boolean(struct kube__row *row, const struct kube__column *column)
{
    const struct json *value = json_at(row->object, column->path);

    if (json_is(value, JSON_BOOL))
        return json_new_bool(row->arena, value->boolean);
    return json_new_bool(row->arena, column->otherwise != NULL);
}

struct json *kube__boolean_text(struct kube__row *row, const struct kube__column *column)
{
    const struct json *value = json_at(row->object, column->path);

    if (!json_is(value, JSON_BOOL))
        return kube__string(row, "<unset>");
    return kube__string(row, value->boolean ? "True" : "False");
}

struct json *kube__age(struct kube__row *row, const struct kube__column *column)
{
    int64_t then_s;

    if (column->otherwise != NULL && !kube__seconds_at(row->object, column->path, &then_s))
        return kube__string(row, column->otherwise);
    return kube__string(row, kube__age_at(row, row->object, column->path));
}

struct json *kube__of(struct kube__row *row, const struct kube__column *column)
{
    kube__begin(row);
    kube__add(row, "%lld/%lld", (long long)kube__int_at(row->object, column->path),
              (long long)kube__int_at(row->object, column->otherwise));
    return kube__end(row, NULL);
}

struct json *kube__labels(struct kube__row *row, const struct kube__column *column)
{
    const struct json *labels = json_at(row->object, column->path);
    const struct json **sorted;

    kube__begin(row);
    if (json_is(labels, JSON_OBJECT)) {
        sorted = kube__sorted(row->arena, labels);
        for (size_t i = 0; i < labels->count; i++) {
            kube__add_item(row, ",", slice_of(sorted[i]->key, sorted[i]->key_len));
            kube__add(row, "=");
            kube__add_slice(row, json_text(sorted[i]));
        }
    }
    return kube__end(row, "<none>");
}

struct json *kube__selector(struct kube__row *row, const struct kube__column *column)
{
    kube__begin(row);
    kube__add_selector(row, json_at(row->object, column->path));
    return kube__end(row, column->otherwise);
}

struct json *kube__joined(struct kube__row *row, const struct kube__column *column)
{
    const struct json *texts = json_at(row->object, column->path);

    kube__begin(row);
    if (json_is(texts, JSON_ARRAY)) {
        json_each(text, texts) kube__add_item(row, ",", json_text(text));
    }
    return kube__end(row, column->otherwise);
}

static struct json *of_containers(struct kube__row *row, const char *path, const char *member)
{
    const struct json *containers = json_at(row->object, path);

    kube__begin(row);
    if (json_is(containers, JSON_ARRAY)) {
        json_each(container, containers) kube__add_item(row, ",", json_text_at(container, member));
    }
    return kube__end(row, NULL);
}

struct json *kube__container_names(struct kube__row *row, const struct kube__column *column)
{
    return of_containers(row, column->path, "name");
}

struct json *kube__container_images(struct kube__row *row, const struct kube__column *column)
{
    return of_containers(row, column->path, "image");
}

static struct json *pair(struct kube__row *row, const struct kube__column *column,
                         const char *first)
{
    const struct json *value = json_at(row->object, column->path);

    kube__begin(row);
    if (json_is(value, JSON_OBJECT)) {
        kube__add_slice(row, json_text_at(value, first));
        kube__add(row, "/");
        kube__add_slice(row, json_text_at(value, "name"));
    }
    return kube__end(row, column->otherwise);
}

struct json *kube__reference(struct kube__row *row, const struct kube__column *column)
{
    return pair(row, column, "kind");
}

struct json *kube__qualified(struct kube__row *row, const struct kube__column *column)
{
    return pair(row, column, "namespace");
}
