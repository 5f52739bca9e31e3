/* componentstatuses: the store's health as we see it, the others' by their leases. */
#include <string.h>

#include "kube/codec/table.h"
#include "kube/rest/special.h"
#include "kube/rest/views.h"

static const struct component {
    const char *name, *lease; /* NULL: the store */
} components[] = {{"controller-manager", "kube-controller-manager"},
                  {"etcd-0", NULL},
                  {"scheduler", "kube-scheduler"}};

struct statuses {
    size_t next;
    struct json *items;
    bool one; /* only the one named */
};

static void ask_next(struct rest *rest);

/* trouble NULL: healthy. */
static struct json *status_of(struct arena *arena, const char *name, const char *trouble)
{
    struct json *object = json_new(arena, JSON_OBJECT);
    struct json *conditions = json_new(arena, JSON_ARRAY);
    struct json *condition = json_new(arena, JSON_OBJECT);

    (void)json_set(object, "kind", json_new_cstring(arena, "ComponentStatus"));
    (void)json_set(object, "apiVersion", json_new_cstring(arena, "v1"));
    (void)json_set(rest_metadata(arena, object), "name", json_new_cstring(arena, name));
    (void)json_set(condition, "type", json_new_cstring(arena, "Healthy"));
    (void)json_set(condition, "status",
                   json_new_cstring(arena, trouble == NULL ? "True" : "False"));
    (void)json_set(condition, "message", json_new_cstring(arena, trouble == NULL ? "ok" : trouble));
    json_append(conditions, condition);
    (void)json_set(object, "conditions", conditions);
    return object;
}

/* Whether who holds a lease has renewed it in time; NULL: yes. */
static const char *lease_trouble(const struct json *lease)
{
    int64_t renewed, seconds = 0;

    if (!kube_time_seconds(json_text_at(lease, "spec.renewTime"), &renewed) ||
        !json_int(json_at(lease, "spec.leaseDurationSeconds"), &seconds))
        return "its lease says nothing";
    return renewed + seconds >= rest_now_s() ? NULL : "its lease has run out";
}

static struct json *table_of(struct rest *rest, const struct json *items)
{
    struct arena *arena = rest->arena;
    struct json *rows = json_new(arena, JSON_ARRAY);

    json_each(item, items)
        json_append(rows, kube_table_row(arena, rest->resource, item, rest_include(rest),
                                         rest->accept.version, rest_now_s()));
    return kube_table(arena, rest->accept.version, json_new(arena, JSON_OBJECT),
                      kube_table_columns(arena, rest->resource), rows);
}

static void answer(struct rest *rest)
{
    struct statuses *statuses = rest->state;
    struct json *list;

    rest_warn(rest, "v1 ComponentStatus is deprecated in v1.19+");
    if (statuses->one) {
        rest_reply_tree(rest, 200, statuses->items->first);
        return;
    }
    if (rest->accept.view == KUBE_VIEW_TABLE) {
        rest_reply_json(rest, 200, table_of(rest, statuses->items));
        return;
    }
    list = json_new(rest->arena, JSON_OBJECT);
    (void)json_set(list, "kind", json_new_cstring(rest->arena, "ComponentStatusList"));
    (void)json_set(list, "apiVersion", json_new_cstring(rest->arena, "v1"));
    (void)json_set_object(rest->arena, list, "metadata");
    (void)json_set(list, "items", statuses->items);
    rest_reply_json(rest, 200, list);
}

static void on_answer(struct kube_op *op)
{
    struct rest *rest = CONTAINER_OF(op, struct rest, op);
    struct statuses *statuses = rest->state;
    const struct component *component = &components[statuses->next++];
    const char *trouble = NULL;

    rest_hold(rest, op->object);
    if (op->status.code == 404)
        trouble = "it has no lease: it does not run, or has never led";
    else if (op->status.code != 0)
        trouble = op->status.message;
    else if (op->object != NULL)
        trouble = lease_trouble(kube_object_json(rest->arena, op->object));
    json_append(statuses->items, status_of(rest->arena, component->name, trouble));
    if (statuses->one)
        answer(rest);
    else
        ask_next(rest);
}

static void ask_next(struct rest *rest)
{
    const struct statuses *statuses = rest->state;
    const struct kube_resource *leases =
        kube_resource_find(slice_str("coordination.k8s.io"), slice_str("v1"), slice_str("leases"));

    if (statuses->next == ARRAY_LEN(components))
        answer(rest);
    else if (components[statuses->next].lease == NULL)
        kube_store_health(rest->api->store, &rest->op, rest->arena, on_answer);
    else
        kube_get(rest->api->store, &rest->op, rest->arena, leases, slice_str("kube-system"),
                 slice_str(components[statuses->next].lease), KUBE_NEWEST, 0, on_answer);
}

void rest_component_statuses(struct rest *rest)
{
    struct statuses *statuses = arena_calloc(rest->arena, sizeof *statuses);

    rest->state = statuses;
    statuses->items = json_new(rest->arena, JSON_ARRAY);
    statuses->one = rest->info.verb == REST_GET;
    while (statuses->one && statuses->next < ARRAY_LEN(components) &&
           !slice_eq(rest->info.name, slice_str(components[statuses->next].name)))
        statuses->next++;
    if (statuses->one && statuses->next == ARRAY_LEN(components)) {
        (void)kube_status_not_found(&rest->status, rest->arena, rest->resource, rest->info.name);
        rest_fail(rest);
    } else {
        ask_next(rest);
    }
}
