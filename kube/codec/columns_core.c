/* Nodes, events, namespaces, configuration and accounts. */
#include <stdlib.h>

#include "kube/codec/columns.h"
#include "kube/codec/table.h"

/* ---- nodes ---- */

static struct json *print_node_status(struct kube__row *row, const struct kube__column *column)
{
    struct slice ready = kube__condition(json_at(row->object, column->path), "Ready");

    kube__begin(row);
    if (ready.data == NULL)
        kube__add(row, "Unknown");
    else
        kube__add(row, slice_eq(ready, slice_str("True")) ? "Ready" : "NotReady");
    if (kube__true_at(row->object, "spec.unschedulable"))
        kube__add(row, ",SchedulingDisabled");
    return kube__end(row, NULL);
}

static int by_text(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* A role is the end of a label's name, or the value of the old label for it. */
static struct slice role_of(const struct json *label)
{
    static const char prefix[] = "node-role.kubernetes.io/";
    struct slice key = slice_of(label->key, label->key_len);
    size_t len = sizeof(prefix) - 1;

    if (key.len > len && memcmp(key.data, prefix, len) == 0)
        return slice_of(key.data + len, key.len - len);
    if (slice_eq(key, slice_str("kubernetes.io/role")))
        return json_text(label);
    return slice_of(NULL, 0);
}

static struct json *print_roles(struct kube__row *row, const struct kube__column *column)
{
    const struct json *labels = json_at(row->object, column->path);
    struct slice *roles;
    size_t count = 0;

    kube__begin(row);
    if (!json_is(labels, JSON_OBJECT))
        return kube__end(row, "<none>");
    roles = arena_alloc(row->arena, (labels->count + 1) * sizeof(*roles));
    json_each(label, labels)
    {
        roles[count] = role_of(label);
        count += roles[count].len > 0;
    }
    qsort(roles, count, sizeof(*roles), by_text);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !slice_eq(roles[i], roles[i - 1]))
            kube__add_item(row, ",", roles[i]);
    }
    return kube__end(row, "<none>");
}

/* path is the type of address that is wanted. */
static struct json *print_address(struct kube__row *row, const struct kube__column *column)
{
    const struct json *addresses = json_at(row->object, "status.addresses");

    if (json_is(addresses, JSON_ARRAY)) {
        json_each(address, addresses)
        {
            if (json_equals(json_get(address, "type"), column->path))
                return json_new_string(row->arena, json_text_at(address, "address"));
        }
    }
    return kube__string(row, "<none>");
}

static const struct kube__column node_columns[] = {
    KUBE__NAME,
    {"Status", "string", 0, print_node_status, "status.conditions", NULL},
    {"Roles", "string", 0, print_roles, "metadata.labels", NULL},
    KUBE__AGE,
    {"Version", "string", 0, kube__text, "status.nodeInfo.kubeletVersion", NULL},
    {"Internal-IP", "string", 1, print_address, "InternalIP", NULL},
    {"External-IP", "string", 1, print_address, "ExternalIP", NULL},
    {"OS-Image", "string", 1, kube__text, "status.nodeInfo.osImage", "<unknown>"},
    {"Kernel-Version", "string", 1, kube__text, "status.nodeInfo.kernelVersion", "<unknown>"},
    {"Container-Runtime", "string", 1, kube__text, "status.nodeInfo.containerRuntimeVersion",
     "<unknown>"},
};

/* ---- events: core/v1, and events.k8s.io/v1 with other names for the same ---- */

static const struct json *either(struct kube__row *row, const char *core, const char *newer)
{
    const struct json *found = json_at(row->object, core);

    return found != NULL ? found : json_at(row->object, newer);
}

static const char *age_either(struct kube__row *row, const char *core, const char *newer)
{
    int64_t then_s;
    const char *path = kube__seconds_at(row->object, core, &then_s) ? core : newer;

    return kube__age_at(row, row->object, path);
}

static bool is_known(const char *age)
{
    return age[0] != '<';
}

static const char *first_seen(struct kube__row *row)
{
    const char *age = age_either(row, "firstTimestamp", "deprecatedFirstTimestamp");

    return is_known(age) ? age : kube__age_at(row, row->object, "eventTime");
}

static struct json *print_first_seen(struct kube__row *row,
                                     const struct kube__column *column UNUSED)
{
    return kube__string(row, first_seen(row));
}

static struct json *print_last_seen(struct kube__row *row, const struct kube__column *column UNUSED)
{
    const struct json *series = json_get(row->object, "series");
    const char *age;

    if (json_is(series, JSON_OBJECT))
        return kube__string(row, kube__age_at(row, series, "lastObservedTime"));
    age = age_either(row, "lastTimestamp", "deprecatedLastTimestamp");
    return kube__string(row, is_known(age) ? age : first_seen(row));
}

static struct json *print_event_object(struct kube__row *row,
                                       const struct kube__column *column UNUSED)
{
    const struct json *object = either(row, "involvedObject", "regarding");
    struct slice name = json_text_at(object, "name");

    kube__begin(row);
    kube__add_lower(row, json_text_at(object, "kind"));
    if (name.len > 0) {
        kube__add(row, "/");
        kube__add_slice(row, name);
    }
    return kube__end(row, NULL);
}

static struct json *print_subobject(struct kube__row *row, const struct kube__column *column UNUSED)
{
    const struct json *object = either(row, "involvedObject", "regarding");

    return json_new_string(row->arena, json_text_at(object, "fieldPath"));
}

static struct json *print_event_source(struct kube__row *row,
                                       const struct kube__column *column UNUSED)
{
    const struct json *source = either(row, "source", "deprecatedSource");
    struct slice component = json_text_at(source, "component");
    struct slice instance = json_text_at(source, "host");

    if (component.len == 0)
        component = json_text(either(row, "reportingComponent", "reportingController"));
    if (instance.len == 0)
        instance = json_text_at(row->object, "reportingInstance");
    kube__begin(row);
    kube__add_slice(row, component);
    if (instance.len > 0) {
        kube__add(row, ", ");
        kube__add_slice(row, instance);
    }
    return kube__end(row, NULL);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct json *print_message(struct kube__row *row, const struct kube__column *column UNUSED)
{
    struct slice text = json_text(either(row, "message", "note"));

    while (text.len > 0 && is_space(text.data[0]))
        text = slice_of(text.data + 1, text.len - 1);
    while (text.len > 0 && is_space(text.data[text.len - 1]))
        text.len--;
    return json_new_string(row->arena, text);
}

static struct json *print_event_count(struct kube__row *row,
                                      const struct kube__column *column UNUSED)
{
    const struct json *series = json_get(row->object, "series");
    int64_t count = 0;

    if (json_is(series, JSON_OBJECT))
        return json_new_int(row->arena, kube__int_at(series, "count"));
    (void)json_int(either(row, "count", "deprecatedCount"), &count);
    return json_new_int(row->arena, count == 0 ? 1 : count); /* the newer API does not count one */
}

static const struct kube__column event_columns[] = {
    {"Last Seen", "string", 0, print_last_seen, NULL, NULL},
    {"Type", "string", 0, kube__text, "type", NULL},
    {"Reason", "string", 0, kube__text, "reason", NULL},
    {"Object", "string", 0, print_event_object, NULL, NULL},
    {"Subobject", "string", 1, print_subobject, NULL, NULL},
    {"Source", "string", 1, print_event_source, NULL, NULL},
    {"Message", "string", 0, print_message, NULL, NULL},
    {"First Seen", "string", 1, print_first_seen, NULL, NULL},
    {"Count", "string", 1, print_event_count, NULL, NULL},
    {"Name", "string", 1, kube__text, "metadata.name", NULL},
};

/* ---- small ones ---- */

static const struct kube__column namespace_columns[] = {
    KUBE__NAME,
    {"Status", "string", 0, kube__text, "status.phase", NULL},
    KUBE__AGE,
};

static struct json *print_config_count(struct kube__row *row,
                                       const struct kube__column *column UNUSED)
{
    const struct json *data = json_get(row->object, "data");
    const struct json *binary = json_get(row->object, "binaryData");
    size_t count = json_is(data, JSON_OBJECT) ? data->count : 0;

    count += json_is(binary, JSON_OBJECT) ? binary->count : 0;
    return json_new_int(row->arena, (int64_t)count);
}

static const struct kube__column configmap_columns[] = {
    KUBE__NAME,
    {"Data", "string", 0, print_config_count, NULL, NULL},
    KUBE__AGE,
};

static const struct kube__column secret_columns[] = {
    KUBE__NAME,
    {"Type", "string", 0, kube__text, "type", NULL},
    {"Data", "string", 0, kube__count, "data", NULL},
    KUBE__AGE,
};

static const struct kube__column serviceaccount_columns[] = {
    KUBE__NAME,
    {"Secrets", "string", 0, kube__count, "secrets", NULL},
    KUBE__AGE,
};

static const struct kube__column lease_columns[] = {
    KUBE__NAME,
    {"Holder", "string", 0, kube__text, "spec.holderIdentity", NULL},
    KUBE__AGE,
};

static struct json *print_health(struct kube__row *row, const struct kube__column *column)
{
    struct slice healthy = kube__condition(json_at(row->object, column->path), "Healthy");

    if (healthy.data == NULL)
        return kube__string(row, "Unknown");
    return kube__string(row, slice_eq(healthy, slice_str("True")) ? "Healthy" : "Unhealthy");
}

/* otherwise is the member of the condition that is wanted. */
static struct json *print_of_health(struct kube__row *row, const struct kube__column *column)
{
    const struct json *conditions = json_at(row->object, column->path);

    if (json_is(conditions, JSON_ARRAY)) {
        json_each(condition, conditions)
        {
            if (json_equals(json_get(condition, "type"), "Healthy"))
                return json_new_string(row->arena, json_text_at(condition, column->otherwise));
        }
    }
    return kube__string(row, "");
}

static const struct kube__column componentstatus_columns[] = {
    KUBE__NAME,
    {"Status", "string", 0, print_health, "conditions", NULL},
    {"Message", "string", 0, print_of_health, "conditions", "message"},
    {"Error", "string", 0, print_of_health, "conditions", "error"},
};

/* ---- quotas ---- */

/* "cpu: 1/2, pods: 3/10". path: "limits" for those of limits, NULL for all others. */
static struct json *print_quota(struct kube__row *row, const struct kube__column *column)
{
    static const char prefix[] = "limits.";
    const struct json *hard = json_at(row->object, "status.hard");
    const struct json *used = json_at(row->object, "status.used");
    const struct json **sorted;

    kube__begin(row);
    if (!json_is(hard, JSON_OBJECT))
        return kube__end(row, NULL);
    sorted = kube__sorted(row->arena, hard);
    for (size_t i = 0; i < hard->count; i++) {
        struct slice name = slice_of(sorted[i]->key, sorted[i]->key_len);
        size_t len = sizeof(prefix) - 1;
        bool limit = name.len >= len && memcmp(name.data, prefix, len) == 0;
        struct slice have = json_text(json_get_slice(used, name));

        if (limit != (column->path != NULL))
            continue;
        kube__add_item(row, ", ", name);
        kube__add(row, ": ");
        kube__add_slice(row, have.len == 0 ? slice_str("0") : have);
        kube__add(row, "/");
        kube__add_slice(row, json_text(sorted[i]));
    }
    return kube__end(row, NULL);
}

static const struct kube__column quota_columns[] = {
    KUBE__NAME,
    {"Request", "string", 0, print_quota, NULL, NULL},
    {"Limit", "string", 0, print_quota, "limits", NULL},
    KUBE__AGE,
};

const struct kube__columns kube__core_columns[] = {
    KUBE__COLUMNS("Node", node_columns),
    KUBE__COLUMNS("Event", event_columns),
    KUBE__COLUMNS("Namespace", namespace_columns),
    KUBE__COLUMNS("ConfigMap", configmap_columns),
    KUBE__COLUMNS("Secret", secret_columns),
    KUBE__COLUMNS("ServiceAccount", serviceaccount_columns),
    KUBE__COLUMNS("Lease", lease_columns),
    KUBE__COLUMNS("ComponentStatus", componentstatus_columns),
    KUBE__COLUMNS("ResourceQuota", quota_columns),
};
const size_t kube__core_columns_count = ARRAY_LEN(kube__core_columns);
