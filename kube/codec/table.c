#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kube/codec/columns.h"
#include "kube/codec/table.h"

/* Of a cell that is put together of many parts. */
#define CELL_MAX ((size_t)64 << 10)

/* What resources without columns of their own show. */
static struct json *print_created(struct kube__row *row, const struct kube__column *column)
{
    return json_new_string(row->arena, json_text_at(row->object, column->path));
}

static const struct kube__column plain_columns[] = {
    KUBE__NAME,
    {"Created At", "date", 0, print_created, "metadata.creationTimestamp", NULL},
};
static const struct kube__columns plain = KUBE__COLUMNS("", plain_columns);

static const struct kube__columns *find_in(const struct kube__columns *all, size_t count,
                                           const char *kind)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(all[i].kind, kind) == 0)
            return &all[i];
    }
    return NULL;
}

static const struct kube__columns *find(const struct kube_resource *resource)
{
    const char *kind = resource->kind;
    const struct kube__columns *found = find_in(&kube__pod_columns, 1, kind);

    /* metrics.k8s.io has kinds of its own (PodMetrics); no two groups disagree on a kind. */
    if (found == NULL)
        found = find_in(kube__workload_columns, kube__workload_columns_count, kind);
    if (found == NULL)
        found = find_in(kube__core_columns, kube__core_columns_count, kind);
    if (found == NULL)
        found = find_in(kube__network_columns, kube__network_columns_count, kind);
    if (found == NULL)
        found = find_in(kube__storage_columns, kube__storage_columns_count, kind);
    if (found == NULL)
        found = find_in(kube__policy_columns, kube__policy_columns_count, kind);
    return found == NULL ? &plain : found;
}

struct json *kube_table_columns(struct arena *arena, const struct kube_resource *resource)
{
    const struct kube__columns *columns = find(resource);
    struct json *array = json_new(arena, JSON_ARRAY);

    for (size_t i = 0; i < columns->count; i++) {
        const struct kube__column *column = &columns->columns[i];
        struct json *definition = json_new(arena, JSON_OBJECT);
        bool is_name = strcmp(column->name, "Name") == 0;

        json_set(definition, "name", json_new_cstring(arena, column->name));
        json_set(definition, "type", json_new_cstring(arena, column->type));
        json_set(definition, "format", json_new_cstring(arena, is_name ? "name" : ""));
        json_set(definition, "priority", json_new_int(arena, column->priority));
        json_append(array, definition);
    }
    return array;
}

static struct json *row_object(struct arena *arena, struct json *object, enum kube_include include,
                               const char *version)
{
    switch (include) {
    case KUBE_INCLUDE_METADATA:
        return kube_partial_metadata(arena, version, object);
    case KUBE_INCLUDE_OBJECT:
        return object;
    case KUBE_INCLUDE_NONE:
        break;
    }
    return json_new(arena, JSON_NULL);
}

struct json *kube_table_row(struct arena *arena, const struct kube_resource *resource,
                            struct json *object, enum kube_include include, const char *version,
                            int64_t now_s)
{
    const struct kube__columns *columns = find(resource);
    struct kube__row row = {.arena = arena, .object = object, .now_s = now_s};
    struct json *cells = json_new(arena, JSON_ARRAY);
    struct json *out = json_new(arena, JSON_OBJECT);
    struct json *conditions;

    buf_init(&row.text, CELL_MAX);
    for (size_t i = 0; i < columns->count; i++)
        json_append(cells, columns->columns[i].print(&row, &columns->columns[i]));
    json_set(out, "cells", cells);
    conditions = columns->conditions == NULL ? NULL : columns->conditions(&row);
    if (conditions != NULL)
        json_set(out, "conditions", conditions);
    json_set(out, "object", row_object(arena, object, include, version));
    buf_release(&row.text);
    return out;
}

static struct json *meta_object(struct arena *arena, const char *kind, const char *version)
{
    struct json *object = json_new(arena, JSON_OBJECT);

    json_set(object, "kind", json_new_cstring(arena, kind));
    json_set(object, "apiVersion",
             json_new_cstring(arena, strcmp(version, "v1beta1") == 0 ? "meta.k8s.io/v1beta1"
                                                                     : "meta.k8s.io/v1"));
    return object;
}

struct json *kube_table(struct arena *arena, const char *version, struct json *metadata,
                        struct json *columns, struct json *rows)
{
    struct json *table = meta_object(arena, "Table", version);

    json_set(table, "metadata", metadata == NULL ? json_new(arena, JSON_OBJECT) : metadata);
    json_set(table, "columnDefinitions", columns == NULL ? json_new(arena, JSON_ARRAY) : columns);
    json_set(table, "rows", rows);
    return table;
}

struct json *kube_partial_metadata(struct arena *arena, const char *version,
                                   const struct json *object)
{
    struct json *partial = meta_object(arena, "PartialObjectMetadata", version);
    const struct json *metadata = json_get(object, "metadata");
    struct json *copy = json_new(arena, JSON_OBJECT);

    /* Members are shared; only the place in a parent is the copy's own. */
    if (json_is(metadata, JSON_OBJECT))
        json_become(copy, metadata);
    json_set(partial, "metadata", copy);
    return partial;
}

/* ---- durations ---- */

/* "<big><unit>", and "<small><unit>" if there is a rest. */
static const char *two(struct arena *arena, int64_t big, char unit, int64_t small, char small_unit)
{
    char *text = arena_alloc(arena, 48);

    if (small == 0)
        (void)snprintf(text, 48, "%lld%c", (long long)big, unit);
    else
        (void)snprintf(text, 48, "%lld%c%lld%c", (long long)big, unit, (long long)small,
                       small_unit);
    return text;
}

const char *kube_human_duration(struct arena *arena, int64_t seconds)
{
    int64_t minutes = seconds / 60;
    int64_t hours = seconds / 3600;
    int64_t days = hours / 24;

    if (seconds < -1) /* clocks differ a little */
        return "<invalid>";
    if (seconds < 0)
        return "0s";
    if (seconds < 120)
        return two(arena, seconds, 's', 0, 0);
    if (minutes < 10)
        return two(arena, minutes, 'm', seconds % 60, 's');
    if (minutes < 180)
        return two(arena, minutes, 'm', 0, 0);
    if (hours < 8)
        return two(arena, hours, 'h', minutes % 60, 'm');
    if (hours < 48)
        return two(arena, hours, 'h', 0, 0);
    if (hours < 24 * 8)
        return two(arena, days, 'd', hours % 24, 'h');
    if (hours < 24 * 365 * 2)
        return two(arena, days, 'd', 0, 0);
    if (hours < 24 * 365 * 8)
        return two(arena, days / 365, 'y', days % 365, 'd');
    return two(arena, days / 365, 'y', 0, 0);
}
