/* Deployments, their relatives, jobs, and what scales them. */
#include "kube/codec/columns.h"
#include "kube/codec/table.h"

static const struct kube__column template_columns[] = {
    KUBE__NAME,
    KUBE__CONTAINERS("template.spec"),
    {"Pod Labels", "string", 0, kube__labels, "template.metadata.labels", NULL},
};

static const struct kube__column deployment_columns[] = {
    KUBE__NAME,
    {"Ready", "string", 0, kube__of, "status.readyReplicas", "spec.replicas"},
    {"Up-to-date", "string", 0, kube__integer, "status.updatedReplicas", NULL},
    {"Available", "string", 0, kube__integer, "status.availableReplicas", NULL},
    KUBE__AGE,
    KUBE__CONTAINERS("spec.template.spec"),
    {"Selector", "string", 1, kube__selector, "spec.selector", NULL},
};

static const struct kube__column replicaset_columns[] = {
    KUBE__NAME,
    {"Desired", "integer", 0, kube__integer, "spec.replicas", NULL},
    {"Current", "integer", 0, kube__integer, "status.replicas", NULL},
    {"Ready", "integer", 0, kube__integer, "status.readyReplicas", NULL},
    KUBE__AGE,
    KUBE__CONTAINERS("spec.template.spec"),
    {"Selector", "string", 1, kube__selector, "spec.selector", "<none>"},
};

/* As ReplicaSet, with a plain map for selector. */
static const struct kube__column replicationcontroller_columns[] = {
    KUBE__NAME,
    {"Desired", "integer", 0, kube__integer, "spec.replicas", NULL},
    {"Current", "integer", 0, kube__integer, "status.replicas", NULL},
    {"Ready", "integer", 0, kube__integer, "status.readyReplicas", NULL},
    KUBE__AGE,
    KUBE__CONTAINERS("spec.template.spec"),
    {"Selector", "string", 1, kube__labels, "spec.selector", NULL},
};

static const struct kube__column statefulset_columns[] = {
    KUBE__NAME,
    {"Ready", "string", 0, kube__of, "status.readyReplicas", "spec.replicas"},
    KUBE__AGE,
    KUBE__CONTAINERS("spec.template.spec"),
};

static const struct kube__column daemonset_columns[] = {
    KUBE__NAME,
    {"Desired", "integer", 0, kube__integer, "status.desiredNumberScheduled", NULL},
    {"Current", "integer", 0, kube__integer, "status.currentNumberScheduled", NULL},
    {"Ready", "integer", 0, kube__integer, "status.numberReady", NULL},
    {"Up-to-date", "integer", 0, kube__integer, "status.updatedNumberScheduled", NULL},
    {"Available", "integer", 0, kube__integer, "status.numberAvailable", NULL},
    {"Node Selector", "string", 0, kube__labels, "spec.template.spec.nodeSelector", NULL},
    KUBE__AGE,
    KUBE__CONTAINERS("spec.template.spec"),
    {"Selector", "string", 1, kube__selector, "spec.selector", "<none>"},
};

/* "daemonset.apps/web": the owner that controls it. */
static struct json *print_controller(struct kube__row *row, const struct kube__column *column)
{
    const struct json *owners = json_at(row->object, column->path);

    kube__begin(row);
    if (!json_is(owners, JSON_ARRAY))
        return kube__end(row, "<none>");
    json_each(owner, owners)
    {
        struct slice version = json_text_at(owner, "apiVersion");
        const uint8_t *slash = version.len == 0 ? NULL : memchr(version.data, '/', version.len);

        if (!kube__true_at(owner, "controller"))
            continue;
        kube__add_lower(row, json_text_at(owner, "kind"));
        if (slash != NULL) {
            kube__add(row, ".");
            kube__add_slice(row, slice_of(version.data, (size_t)(slash - version.data)));
        }
        kube__add(row, "/");
        kube__add_slice(row, json_text_at(owner, "name"));
        break;
    }
    return kube__end(row, "<none>");
}

static const struct kube__column controllerrevision_columns[] = {
    KUBE__NAME,
    {"Controller", "string", 0, print_controller, "metadata.ownerReferences", NULL},
    {"Revision", "string", 0, kube__integer, "revision", NULL},
    KUBE__AGE,
};

/* ---- jobs ---- */

static struct json *print_job_status(struct kube__row *row, const struct kube__column *column)
{
    static const char *const later[] = {"Suspended", "FailureTarget", "SuccessCriteriaMet"};
    const struct json *conditions = json_at(row->object, column->path);

    if (kube__condition_true(conditions, "Complete"))
        return kube__string(row, "Complete");
    if (kube__condition_true(conditions, "Failed"))
        return kube__string(row, "Failed");
    if (kube__is_deleted(row))
        return kube__string(row, "Terminating");
    for (size_t i = 0; i < ARRAY_LEN(later); i++) {
        if (kube__condition_true(conditions, later[i]))
            return kube__string(row, later[i]);
    }
    return kube__string(row, "Running");
}

static struct json *print_completions(struct kube__row *row, const struct kube__column *column)
{
    long long succeeded = kube__int_at(row->object, "status.succeeded");
    long long parallelism = kube__int_at(row->object, "spec.parallelism");
    int64_t wanted;

    kube__begin(row);
    if (json_int(json_at(row->object, column->path), &wanted))
        kube__add(row, "%lld/%lld", succeeded, (long long)wanted);
    else if (parallelism > 1)
        kube__add(row, "%lld/1 of %lld", succeeded, parallelism);
    else
        kube__add(row, "%lld/1", succeeded);
    return kube__end(row, NULL);
}

static struct json *print_job_duration(struct kube__row *row,
                                       const struct kube__column *column UNUSED)
{
    int64_t start_s;
    int64_t end_s = row->now_s;

    if (!kube__seconds_at(row->object, "status.startTime", &start_s))
        return kube__string(row, "");
    (void)kube__seconds_at(row->object, "status.completionTime", &end_s); /* else it goes on */
    return kube__string(row, kube_human_duration(row->arena, end_s - start_s));
}

static const struct kube__column job_columns[] = {
    KUBE__NAME,
    {"Status", "string", 0, print_job_status, "status.conditions", NULL},
    {"Completions", "string", 0, print_completions, "spec.completions", NULL},
    {"Duration", "string", 0, print_job_duration, NULL, NULL},
    KUBE__AGE,
    KUBE__CONTAINERS("spec.template.spec"),
    {"Selector", "string", 1, kube__selector, "spec.selector", "<none>"},
};

static const struct kube__column cronjob_columns[] = {
    KUBE__NAME,
    {"Schedule", "string", 0, kube__text, "spec.schedule", NULL},
    {"Timezone", "string", 0, kube__text, "spec.timeZone", "<none>"},
    {"Suspend", "boolean", 0, kube__boolean_text, "spec.suspend", NULL},
    {"Active", "integer", 0, kube__count, "status.active", NULL},
    {"Last Schedule", "string", 0, kube__age, "status.lastScheduleTime", "<none>"},
    KUBE__AGE,
    KUBE__CONTAINERS("spec.jobTemplate.spec.template.spec"),
    {"Selector", "string", 1, kube__selector, "spec.jobTemplate.spec.selector", "<none>"},
};

/* ---- autoscalers ---- */

/* Metrics that are shown; of others there is the number. */
#define METRICS_SHOWN 2

/* Where a source of metrics keeps its numbers, and whether it names the resource first. */
static const struct metric_source {
    const char *type, *member;
    bool named;
} metric_sources[] = {
    {"External", "external", false},
    {"Pods", "pods", false},
    {"Object", "object", false},
    {"Resource", "resource", true},
    {"ContainerResource", "containerResource", true},
};

static void add_number(struct kube__row *row, const struct json *numbers, const char *member,
                       const char *otherwise)
{
    struct slice text = json_text_at(numbers, member);

    kube__add_slice(row, text.data == NULL ? slice_str(otherwise) : text);
}

static void add_metric(struct kube__row *row, const struct metric_source *source,
                       const struct json *spec, const struct json *status)
{
    const struct json *wanted = json_get(spec, source->member);
    const struct json *target = json_get(wanted, "target");
    const struct json *current = json_get(json_get(status, source->member), "current");
    bool average = json_get(target, "averageValue") != NULL;
    bool percent = source->named && !average;
    const char *member = percent ? "averageUtilization" : average ? "averageValue" : "value";

    if (source->named) {
        kube__add_slice(row, json_text_at(wanted, "name"));
        kube__add(row, ": ");
    }
    add_number(row, current, member, "<unknown>");
    if (percent && json_get(current, member) != NULL)
        kube__add(row, "%%");
    kube__add(row, "/");
    add_number(row, target, member, "<auto>");
    if (percent && json_get(target, member) != NULL)
        kube__add(row, "%%");
    /* Pods are averages by nature. */
    if (average && !source->named && strcmp(source->type, "Pods") != 0)
        kube__add(row, " (avg)");
}

static void add_metric_of(struct kube__row *row, const struct json *spec, const struct json *status)
{
    for (size_t i = 0; i < ARRAY_LEN(metric_sources); i++) {
        if (json_equals(json_get(spec, "type"), metric_sources[i].type)) {
            add_metric(row, &metric_sources[i], spec, status);
            return;
        }
    }
    kube__add(row, "<unknown type>");
}

/* autoscaling/v1 knows the processor only. */
static void add_v1_target(struct kube__row *row)
{
    struct slice wanted = json_text_at(row->object, "spec.targetCPUUtilizationPercentage");
    struct slice current = json_text_at(row->object, "status.currentCPUUtilizationPercentage");

    if (wanted.len == 0)
        return;
    kube__add(row, "cpu: ");
    kube__add_slice(row, current.len == 0 ? slice_str("<unknown>") : current);
    kube__add(row, current.len == 0 ? "/" : "%%/");
    kube__add_slice(row, wanted);
    kube__add(row, "%%");
}

static struct json *print_targets(struct kube__row *row, const struct kube__column *column)
{
    const struct json *specs = json_at(row->object, column->path);
    const struct json *statuses = json_at(row->object, "status.currentMetrics");
    const struct json *status = json_is(statuses, JSON_ARRAY) ? statuses->first : NULL;
    size_t shown = 0;

    kube__begin(row);
    add_v1_target(row);
    if (!json_is(specs, JSON_ARRAY))
        return kube__end(row, "<none>");
    json_each(spec, specs)
    {
        if (shown == METRICS_SHOWN)
            break;
        if (shown++ > 0)
            kube__add(row, ", ");
        add_metric_of(row, spec, status);
        status = status == NULL ? NULL : status->next;
    }
    if (specs->count > shown)
        kube__add(row, " + %zu more...", specs->count - shown);
    return kube__end(row, "<none>");
}

static const struct kube__column autoscaler_columns[] = {
    KUBE__NAME,
    {"Reference", "string", 0, kube__reference, "spec.scaleTargetRef", NULL},
    {"Targets", "string", 0, print_targets, "spec.metrics", NULL},
    {"MinPods", "string", 0, kube__text, "spec.minReplicas", "<unset>"},
    {"MaxPods", "string", 0, kube__integer, "spec.maxReplicas", NULL},
    {"Replicas", "string", 0, kube__integer, "status.currentReplicas", NULL},
    KUBE__AGE,
};

static const struct kube__column budget_columns[] = {
    KUBE__NAME,
    {"Min Available", "string", 0, kube__text, "spec.minAvailable", "N/A"},
    {"Max Unavailable", "string", 0, kube__text, "spec.maxUnavailable", "N/A"},
    {"Allowed Disruptions", "integer", 0, kube__integer, "status.disruptionsAllowed", NULL},
    KUBE__AGE,
};

static const struct kube__column scale_columns[] = {
    KUBE__NAME,
    {"Desired", "integer", 0, kube__integer, "spec.replicas", NULL},
    {"Available", "integer", 0, kube__integer, "status.replicas", NULL},
    KUBE__AGE,
};

const struct kube__columns kube__workload_columns[] = {
    KUBE__COLUMNS("Deployment", deployment_columns),
    KUBE__COLUMNS("ReplicaSet", replicaset_columns),
    KUBE__COLUMNS("ReplicationController", replicationcontroller_columns),
    KUBE__COLUMNS("StatefulSet", statefulset_columns),
    KUBE__COLUMNS("DaemonSet", daemonset_columns),
    KUBE__COLUMNS("ControllerRevision", controllerrevision_columns),
    KUBE__COLUMNS("PodTemplate", template_columns),
    KUBE__COLUMNS("Job", job_columns),
    KUBE__COLUMNS("CronJob", cronjob_columns),
    KUBE__COLUMNS("HorizontalPodAutoscaler", autoscaler_columns),
    KUBE__COLUMNS("PodDisruptionBudget", budget_columns),
    KUBE__COLUMNS("Scale", scale_columns),
};
const size_t kube__workload_columns_count = ARRAY_LEN(kube__workload_columns);
