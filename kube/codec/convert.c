#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "kube/check/normal.h"
#include "kube/codec/convert.h"
#include "kube/types/tables.h"

/* An object's annotations together: upstream's limit is 256 KiB. */
#define ANNOTATION_SIZE_MAX (1 << 20)

/* A member that has another name or place in the other version. */
struct renamed {
    const char *old, *new;
};

/* ---- moving members; all trees are copies of our own ---- */

/* From path ("metric.name": at most two names) in one object to to_path in another. */
static void move(struct arena *arena, struct json *from, const char *path, struct json *to,
                 const char *to_path)
{
    const char *dot = strchr(path, '.'), *to_dot = strchr(to_path, '.');
    struct json *member;

    if (dot != NULL)
        from = json_get_slice(from, slice_of(path, (size_t)(dot - path)));
    path = dot == NULL ? path : dot + 1;
    member = json_get(from, path);
    if (member == NULL)
        return;
    (void)json_remove(from, path);
    if (to_dot != NULL) {
        struct slice outer = slice_of(to_path, (size_t)(to_dot - to_path));
        struct json *inner = json_get_slice(to, outer);

        to = inner != NULL ? inner : json_set_slice(to, outer, json_new(arena, JSON_OBJECT));
    }
    (void)json_set(to, to_dot == NULL ? to_path : to_dot + 1, member);
}

static void move_all(struct arena *arena, const struct renamed *names, size_t count, bool forward,
                     struct json *from, struct json *to)
{
    for (size_t i = 0; i < count; i++)
        move(arena, from, forward ? names[i].old : names[i].new, to,
             forward ? names[i].new : names[i].old);
}

/* ---- events: the same fields by other names ---- */

static const struct renamed event_names[] = {
    {"involvedObject", "regarding"},
    {"message", "note"},
    {"source", "deprecatedSource"},
    {"firstTimestamp", "deprecatedFirstTimestamp"},
    {"lastTimestamp", "deprecatedLastTimestamp"},
    {"count", "deprecatedCount"},
    {"reportingComponent", "reportingController"},
};

static bool is_event_view(const struct kube_resource *resource)
{
    return strcmp(resource->group, "events.k8s.io") == 0;
}

struct slice kube_stored_field(struct arena *arena, const struct kube_resource *view,
                               struct slice path)
{
    for (size_t i = 0; is_event_view(view) && i < ARRAY_LEN(event_names); i++) {
        const char *new = event_names[i].new, *old = event_names[i].old;
        size_t len = strlen(new), old_len = strlen(old);
        uint8_t *text;

        if (path.len < len || memcmp(path.data, new, len) != 0 ||
            (path.len > len && path.data[len] != '.'))
            continue;
        text = arena_alloc(arena, old_len + path.len - len);
        memcpy(text, old, old_len);
        memcpy(text + old_len, path.data + len, path.len - len);
        return slice_of(text, old_len + path.len - len);
    }
    return path;
}

/* ---- autoscalers: v1 knows one CPU target, the rest travels in annotations ---- */

#define METRICS "autoscaling.alpha.kubernetes.io/metrics"
#define CURRENT_METRICS "autoscaling.alpha.kubernetes.io/current-metrics"
#define CONDITIONS "autoscaling.alpha.kubernetes.io/conditions"
#define BEHAVIOR "autoscaling.alpha.kubernetes.io/behavior"

#define CPU_TARGET_DEFAULT 80 /* per cent */

#define V1 "autoscaling/v1"
#define V2 "autoscaling/v2"

static const char *const annotations[] = {METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR};

/* What one type of metric is called in v1 and in v2. */
struct metric_form {
    const char *member; /* "resource" */
    struct renamed names[5];
    size_t count;
};

#define FORM(member, ...)                                                                          \
    {                                                                                              \
        member, {__VA_ARGS__}, sizeof((struct renamed[]){__VA_ARGS__}) / sizeof(struct renamed)    \
    }

static const struct metric_form specs[] = {
    FORM("object", {"target", "describedObject"}, {"metricName", "metric.name"},
         {"selector", "metric.selector"}, {"targetValue", "target.value"},
         {"averageValue", "target.averageValue"}),
    FORM("pods", {"metricName", "metric.name"}, {"selector", "metric.selector"},
         {"targetAverageValue", "target.averageValue"}),
    FORM("resource", {"name", "name"}, {"targetAverageUtilization", "target.averageUtilization"},
         {"targetAverageValue", "target.averageValue"}),
    FORM("containerResource", {"name", "name"}, {"container", "container"},
         {"targetAverageUtilization", "target.averageUtilization"},
         {"targetAverageValue", "target.averageValue"}),
    FORM("external", {"metricName", "metric.name"}, {"metricSelector", "metric.selector"},
         {"targetValue", "target.value"}, {"targetAverageValue", "target.averageValue"}),
};

static const struct metric_form statuses[] = {
    FORM("object", {"target", "describedObject"}, {"metricName", "metric.name"},
         {"selector", "metric.selector"}, {"currentValue", "current.value"},
         {"averageValue", "current.averageValue"}),
    FORM("pods", {"metricName", "metric.name"}, {"selector", "metric.selector"},
         {"currentAverageValue", "current.averageValue"}),
    FORM("resource", {"name", "name"}, {"currentAverageUtilization", "current.averageUtilization"},
         {"currentAverageValue", "current.averageValue"}),
    FORM("containerResource", {"name", "name"}, {"container", "container"},
         {"currentAverageUtilization", "current.averageUtilization"},
         {"currentAverageValue", "current.averageValue"}),
    FORM("external", {"metricName", "metric.name"}, {"metricSelector", "metric.selector"},
         {"currentValue", "current.value"}, {"currentAverageValue", "current.averageValue"}),
};

/* The type of a target that v1 does not name, by what it has. */
static void set_target_type(struct arena *arena, const char *member, struct json *source)
{
    struct json *target = json_set_object(arena, source, "target");
    bool average = json_get(target, "averageValue") != NULL;
    const char *type = "Value";

    if (json_get(target, "averageUtilization") != NULL)
        type = "Utilization";
    else if (average && (strcmp(member, "external") != 0 || json_get(target, "value") == NULL))
        type = "AverageValue";
    (void)json_set_first(target, "type", json_new_cstring(arena, type));
}

/* Each metric of list in the other form; to_v2 of specs sets the target's type. */
static void convert_metrics(struct arena *arena, const struct metric_form *forms, bool to_v2,
                            struct json *list)
{
    json_each(metric, list)
    {
        for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
            struct json *source = json_get(metric, forms[i].member), *out;

            if (!json_is(source, JSON_OBJECT))
                continue;
            out = json_new(arena, JSON_OBJECT);
            /* "target" is a member of both forms with different meanings: move through out. */
            move_all(arena, forms[i].names, forms[i].count, to_v2, source, out);
            if (to_v2 && forms == specs)
                set_target_type(arena, forms[i].member, out);
            json_become(source, out);
        }
    }
}

/* A metric for CPU whose value is a share of what was requested: v1 has a field for it. */
static struct json *cpu_utilization(const struct json *metric, const char *path)
{
    const struct json *resource = json_get(metric, "resource");

    return json_equals(json_get(metric, "type"), "Resource") &&
                   json_equals(json_get(resource, "name"), "cpu")
               ? json_at(resource, path)
               : NULL;
}

static struct json *cpu_metric(struct arena *arena, const char *target, struct json *value)
{
    struct json *metric = json_new(arena, JSON_OBJECT), *resource, *inner;

    (void)json_set(metric, "type", json_new_cstring(arena, "Resource"));
    resource = json_set_object(arena, metric, "resource");
    (void)json_set(resource, "name", json_new_cstring(arena, "cpu"));
    inner = json_set_object(arena, resource, target);
    if (strcmp(target, "target") == 0)
        (void)json_set(inner, "type", json_new_cstring(arena, "Utilization"));
    (void)json_set(inner, "averageUtilization", value);
    return metric;
}

/* value in normal form as a type of autoscaling has it; NULL if it is none. */
static struct json *normal(struct arena *arena, const char *package, const char *name,
                           const struct json *value)
{
    struct kube_status status;
    struct json *out;

    return kube_normalise_struct(arena, kube_struct_find(package, name), name, value, NULL, &out,
                                 &status) == 0
               ? out
               : NULL;
}

/* The same of each item; NULL if one is none or there are no items. */
static struct json *normal_list(struct arena *arena, const char *package, const char *name,
                                const struct json *list)
{
    struct json *out = json_new(arena, JSON_ARRAY);

    json_each(value, list)
    {
        struct json *item = normal(arena, package, name, value);

        if (item == NULL)
            return NULL;
        json_append(out, item);
    }
    return out->first == NULL ? NULL : out;
}

/* Go's field names: behavior is kept as upstream's internal type, which has no JSON names. */
static void recase(struct arena *arena, bool upper, struct json *value)
{
    json_each(child, value)
    {
        if (child->key != NULL && child->key_len > 0) {
            uint8_t *key = (uint8_t *)arena_copy(arena, slice_of(child->key, child->key_len)).data;

            if (upper && key[0] >= 'a' && key[0] <= 'z')
                key[0] = (uint8_t)(key[0] - 'a' + 'A');
            else if (!upper && key[0] >= 'A' && key[0] <= 'Z')
                key[0] = (uint8_t)(key[0] - 'A' + 'a');
            child->key = (const char *)key;
        }
        if (child->type == JSON_OBJECT || child->type == JSON_ARRAY)
            recase(arena, upper, child);
    }
}

/* value NULL: nothing to keep. */
static void annotate(struct arena *arena, struct json *object, const char *name,
                     const struct json *value)
{
    struct json *metadata = json_set_object(arena, object, "metadata");
    struct buf buf;

    if (value == NULL)
        return;
    buf_init(&buf, ANNOTATION_SIZE_MAX);
    if (json_write(&buf, value) == 0)
        (void)json_set(json_set_object(arena, metadata, "annotations"), name,
                       json_new_string(arena, arena_copy(arena, buf_slice(&buf))));
    buf_release(&buf);
}

/* The value in an annotation; NULL if there is none of that type. It is a client's text. */
static struct json *annotated(struct arena *arena, struct json *object, const char *name,
                              enum json_type type)
{
    struct json *value = NULL;
    struct slice text = json_text(json_get(json_at(object, "metadata.annotations"), name));

    if (text.data == NULL || json_parse(arena, text, NULL, &value, NULL) != 0)
        return NULL;
    return json_is(value, type) ? value : NULL;
}

/* The same for a list of a type of v1 (what cannot be read is ignored, as upstream does it). */
static struct json *annotated_list(struct arena *arena, struct json *object, const char *name,
                                   const char *type)
{
    return normal_list(arena, V1, type, annotated(arena, object, name, JSON_ARRAY));
}

static void drop_annotations(struct json *object)
{
    struct json *map = json_at(object, "metadata.annotations");

    for (size_t i = 0; json_is(map, JSON_OBJECT) && i < ARRAY_LEN(annotations); i++)
        (void)json_remove(map, annotations[i]);
}

/* spec.metrics: the CPU target into its field, all others into the annotation. */
static void hide_metrics(struct arena *arena, struct json *object, struct json *spec)
{
    struct json *metrics = json_get(spec, "metrics");
    struct json *others = json_new(arena, JSON_ARRAY), *percentage = NULL;
    struct json *next;

    for (struct json *metric = metrics == NULL ? NULL : metrics->first; metric != NULL;
         metric = next) {
        struct json *value = cpu_utilization(metric, "target.averageUtilization");

        next = metric->next;
        if (value == NULL)
            json_append(others, metric);
        else if (percentage == NULL)
            percentage = json_copy(arena, value);
    }
    if (percentage != NULL)
        (void)json_set(spec, "targetCPUUtilizationPercentage", percentage);
    (void)json_remove(spec, "metrics"); /* its items went to others */
    convert_metrics(arena, specs, false, others);
    annotate(arena, object, METRICS, normal_list(arena, V1, "MetricSpec", others));
}

static void hide_status(struct arena *arena, struct json *object, struct json *status)
{
    struct json *metrics = json_get(status, "currentMetrics");
    struct json *conditions = json_get(status, "conditions");

    json_each(metric, metrics)
    {
        struct json *value = cpu_utilization(metric, "current.averageUtilization");

        if (value == NULL)
            continue;
        (void)json_set(status, "currentCPUUtilizationPercentage", json_copy(arena, value));
        break;
    }
    convert_metrics(arena, statuses, false, metrics);
    annotate(arena, object, CURRENT_METRICS, normal_list(arena, V1, "MetricStatus", metrics));
    if (json_is(conditions, JSON_ARRAY) && conditions->first != NULL)
        annotate(arena, object, CONDITIONS, conditions);
}

static void autoscaler_to_v1(struct arena *arena, struct json *object)
{
    struct json *spec = json_get(object, "spec"), *behavior = json_get(spec, "behavior");

    drop_annotations(object);
    if (spec != NULL)
        hide_metrics(arena, object, spec);
    if (json_get(object, "status") != NULL)
        hide_status(arena, object, json_get(object, "status"));
    if (json_is(behavior, JSON_OBJECT)) {
        recase(arena, true, behavior);
        annotate(arena, object, BEHAVIOR, behavior);
    }
}

static void show_metrics(struct arena *arena, struct json *object)
{
    struct json *spec = json_set_object(arena, object, "spec");
    struct json *percentage = json_get(spec, "targetCPUUtilizationPercentage");
    struct json *metrics = annotated_list(arena, object, METRICS, "MetricSpec");

    convert_metrics(arena, specs, true, metrics);
    if (metrics == NULL)
        metrics = json_new(arena, JSON_ARRAY);
    if (percentage != NULL && percentage->type != JSON_NULL)
        json_append(metrics, cpu_metric(arena, "target", json_copy(arena, percentage)));
    /* v2's default, which cannot be set before: an annotation may have had metrics. */
    if (metrics->first == NULL)
        json_append(metrics, cpu_metric(arena, "target", json_new_int(arena, CPU_TARGET_DEFAULT)));
    (void)json_set(spec, "metrics", metrics);
}

static void show_status(struct arena *arena, struct json *object)
{
    struct json *status = json_set_object(arena, object, "status");
    struct json *percentage = json_get(status, "currentCPUUtilizationPercentage");
    struct json *metrics = annotated_list(arena, object, CURRENT_METRICS, "MetricStatus");
    struct json *conditions = normal_list(arena, V2, "HorizontalPodAutoscalerCondition",
                                          annotated(arena, object, CONDITIONS, JSON_ARRAY));

    convert_metrics(arena, statuses, true, metrics);
    if (metrics == NULL && percentage != NULL && percentage->type != JSON_NULL) {
        metrics = json_new(arena, JSON_ARRAY);
        json_append(metrics, cpu_metric(arena, "current", json_copy(arena, percentage)));
    }
    if (metrics != NULL)
        (void)json_set(status, "currentMetrics", metrics);
    if (conditions != NULL)
        (void)json_set(status, "conditions", conditions);
}

static void autoscaler_to_v2(struct arena *arena, struct json *object)
{
    struct json *behavior = annotated(arena, object, BEHAVIOR, JSON_OBJECT);

    show_metrics(arena, object);
    show_status(arena, object);
    if (behavior != NULL) {
        recase(arena, false, behavior);
        behavior = normal(arena, V2, "HorizontalPodAutoscalerBehavior", behavior);
    }
    if (behavior != NULL)
        (void)json_set(json_get(object, "spec"), "behavior", behavior);
    drop_annotations(object);
}

/* ---- all ---- */

struct json *kube_convert(struct arena *arena, const struct kube_resource *from,
                          const struct kube_resource *to, struct json *object)
{
    char version[KUBE_API_VERSION_SIZE];
    struct kube_status status;
    struct json *copy, *out;

    ASSERT(from->stored_as == to->stored_as);
    if (from == to)
        return object;
    copy = json_copy(arena, object);
    if (is_event_view(from) || is_event_view(to))
        move_all(arena, event_names, ARRAY_LEN(event_names), is_event_view(to), copy, copy);
    else if (strcmp(to->version, "v1") == 0)
        autoscaler_to_v1(arena, copy);
    else
        autoscaler_to_v2(arena, copy);
    if (json_get(copy, "apiVersion") != NULL)
        (void)json_set(
            copy, "apiVersion",
            json_new_string(arena, arena_copy(arena, slice_str(kube_api_version(to, version)))));
    return kube_normalise(arena, to, copy, NULL, &out, &status) == 0 ? out : NULL;
}
