/* Rules of what makes pods and watches over them. */
#include <string.h>

#include "kube/check/rows.h"

/* ---- workloads ---- */

static void check_template_labels(struct checker *checker, const struct check__place *template,
                                  const struct json *spec)
{
    const struct json *selector = json_get(spec, "selector");
    const struct json *labels = json_at(spec, "template.metadata.labels");

    if (!check__missing(selector) && !check__selects(checker->arena, selector, labels))
        check__invalid_text(checker, template, "metadata.labels",
                            labels == NULL ? "null" : check__json(checker->arena, labels),
                            "`selector` does not match template `labels`");
}

static void check_always_restarts(struct checker *checker, const struct check__place *template,
                                  const struct json *spec)
{
    const struct json *policy = json_at(spec, "template.spec.restartPolicy");

    if (!check__missing(policy) && !json_equals(policy, "Always"))
        check__unsupported(checker, template, "spec.restartPolicy", policy, "Always");
    if (json_at(spec, "template.spec.activeDeadlineSeconds") != NULL)
        check__forbidden(checker, template, "spec.activeDeadlineSeconds",
                         "activeDeadlineSeconds in ReplicaSet is not Supported");
}

/* Of pods that are to run for good. */
static void check_template(struct checker *checker, const struct check__place *place,
                           const struct json *spec)
{
    const struct check__place at = {.parent = place, .name = "template"};

    check_template_labels(checker, &at, spec);
    check__run(checker, check__pod_template, &at, json_get(spec, "template"), NULL);
    check_always_restarts(checker, &at, spec);
}

static void check_selector(struct checker *checker, const struct check__place *place,
                           const struct json *spec, const char *empty_text)
{
    const struct check__place at = {.parent = place, .name = "selector"};
    const struct json *selector = json_get(spec, "selector");

    if (!json_is(selector, JSON_OBJECT)) {
        check__required(checker, &at, NULL, NULL);
        return;
    }
    check__label_selector(checker, &at, selector);
    if (selector->count == 0)
        check__invalid(checker, &at, NULL, selector, empty_text);
}

static void check_deployment_spec(struct checker *checker, const struct check__place *place,
                                  const struct json *spec)
{
    check_selector(checker, place, spec, "empty selector is invalid for deployment");
    check_template(checker, place, spec);
}

static void check_daemon_spec(struct checker *checker, const struct check__place *place,
                              const struct json *spec)
{
    check_selector(checker, place, spec, "empty selector is invalid for daemonset");
    check_template(checker, place, spec);
}

/* The rest of the template is not looked at, nor is it upstream: its mounts name volumes that the
 * claims' templates will make. */
static void check_stateful_spec(struct checker *checker, const struct check__place *place,
                                const struct json *spec)
{
    const struct check__place at = {.parent = place, .name = "template"};
    const struct check__place labels = {.parent = &at, .name = "metadata.labels"};

    check_selector(checker, place, spec, "empty selector is invalid for statefulset");
    check_template_labels(checker, &at, spec);
    check__labels(checker, &labels, json_at(spec, "template.metadata.labels"));
    check_always_restarts(checker, &at, spec);
}

static bool is_nothing(const struct json *value)
{
    return check__zero(value) || json_equals(value, "0%");
}

static void check_int_or_percent(struct checker *checker, const struct check__place *place,
                                 const char *name, const struct json *value)
{
    struct slice text = json_text(value);
    int64_t number;

    if (json_is(value, JSON_STRING)) {
        size_t digits = 0;

        while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
            digits++;
        if (digits == 0 || digits + 1 != text.len || text.data[digits] != '%')
            check__invalid(checker, place, name, value,
                           "a valid percent string must be a numeric string followed by an ending "
                           "'%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')");
    } else if (json_int(value, &number) && number < 0) {
        check__invalid(checker, place, name, value, "must be greater than or equal to 0");
    }
}

static void check_strategy(struct checker *checker, const struct check__place *place,
                           const struct json *strategy)
{
    const struct check__place rolling = {.parent = place, .name = "rollingUpdate"};
    const struct json *update = json_get(strategy, "rollingUpdate");
    const struct json *unavailable = json_get(update, "maxUnavailable");
    const struct json *surge = json_get(update, "maxSurge");

    if (json_equals(json_get(strategy, "type"), "Recreate")) {
        if (update != NULL)
            check__forbidden(checker, &rolling, NULL,
                             "may not be specified when strategy `type` is 'Recreate'");
        return;
    }
    check_int_or_percent(checker, &rolling, "maxUnavailable", unavailable);
    check_int_or_percent(checker, &rolling, "maxSurge", surge);
    if (is_nothing(unavailable) && is_nothing(surge))
        check__invalid(checker, &rolling, "maxUnavailable", unavailable,
                       "may not be 0 when `maxSurge` is 0");
}

static void check_deadline(struct checker *checker, const struct check__place *place,
                           const struct json *spec)
{
    const struct json *deadline = json_get(spec, "progressDeadlineSeconds");
    int64_t most, ready = 0;

    (void)json_int(json_get(spec, "minReadySeconds"), &ready);
    if (json_int(deadline, &most) && most <= ready)
        check__invalid(checker, place, "progressDeadlineSeconds", deadline,
                       "must be greater than minReadySeconds");
}

static const struct check__rule deployment[] = {
    NOT_NEGATIVE("spec.replicas"),
    CALL("spec", check_deployment_spec),
    ONE_OF("spec.strategy.type", "Recreate RollingUpdate"),
    CALL("spec.strategy", check_strategy),
    NOT_NEGATIVE("spec.minReadySeconds"),
    NOT_NEGATIVE("spec.revisionHistoryLimit"),
    NOT_NEGATIVE("spec.progressDeadlineSeconds"),
    CALL("spec", check_deadline),
    IMMUTABLE("spec.selector"),
    END,
};
static const struct check__rule replica_set[] = {
    NOT_NEGATIVE("spec.replicas"),
    NOT_NEGATIVE("spec.minReadySeconds"),
    CALL("spec", check_deployment_spec),
    IMMUTABLE("spec.selector"),
    END,
};
static const struct check__rule daemon_set[] = {
    CALL("spec", check_daemon_spec),
    NOT_NEGATIVE("spec.minReadySeconds"),
    ONE_OF("spec.updateStrategy.type", "RollingUpdate OnDelete"),
    NOT_NEGATIVE("spec.revisionHistoryLimit"),
    IMMUTABLE("spec.selector"),
    END,
};

static void check_stateful_update(struct checker *checker, const struct check__place *place,
                                  const struct json *spec)
{
    static const char *const fields[] = {"selector", "serviceName", "podManagementPolicy",
                                         "volumeClaimTemplates"};
    const struct json *old = json_get(checker->old, "spec");

    for (size_t i = 0; old != NULL && i < ARRAY_LEN(fields); i++) {
        if (!check__unchanged(json_get(old, fields[i]), json_get(spec, fields[i]))) {
            check__forbidden(checker, place, NULL,
                             "updates to statefulset spec for fields other than 'replicas', "
                             "'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
                             "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
                             "forbidden");
            return;
        }
    }
}

static const struct check__rule stateful_set[] = {
    ONE_OF("spec.podManagementPolicy", "OrderedReady Parallel"),
    ONE_OF("spec.updateStrategy.type", "OnDelete RollingUpdate"),
    NOT_NEGATIVE("spec.replicas"),
    NOT_NEGATIVE("spec.minReadySeconds"),
    CALL("spec", check_stateful_spec),
    CALL("spec", check_stateful_update),
    END,
};

/* A replication controller's selector is a plain map. */
static void check_controller_spec(struct checker *checker, const struct check__place *place,
                                  const struct json *spec)
{
    const struct check__place at = {.parent = place, .name = "template"};
    const struct json *template = json_get(spec, "template");
    const struct json *labels = json_at(template, "metadata.labels");
    const struct json *selector = json_get(spec, "selector");
    struct json_index index;

    json_index_init(&index, checker->arena, labels);
    if (check__missing(selector))
        check__required(checker, place, "selector", NULL);
    if (!json_is(template, JSON_OBJECT)) {
        check__required(checker, &at, NULL, NULL);
        return;
    }
    json_each(wanted, selector)
    {
        const struct json *label = json_index_get(&index, json_key(wanted));

        if (label != NULL && json_same(label, wanted))
            continue;
        check__invalid_text(checker, &at, "metadata.labels",
                            labels == NULL ? "null" : check__json(checker->arena, labels),
                            "`selector` does not match template `labels`");
        break;
    }
    check__run(checker, check__pod_template, &at, template, NULL);
}

static const struct check__rule replication_controller[] = {
    NOT_NEGATIVE("spec.replicas"),
    NOT_NEGATIVE("spec.minReadySeconds"),
    CALL("spec", check_controller_spec),
    END,
};

static const struct check__rule pod_template[] = {
    IN("template", check__pod_template),
    END,
};

static void check_job_policy(struct checker *checker, const struct check__place *place,
                             const struct json *spec)
{
    const struct json *policy = json_at(spec, "template.spec.restartPolicy");

    if (check__missing(policy) || json_equals(policy, "Always"))
        check__required(checker, place, "template.spec.restartPolicy",
                        "valid values: \"OnFailure\", \"Never\"");
}

#define JOB_NUMBERS                                                                                \
    NOT_NEGATIVE("parallelism"), NOT_NEGATIVE("completions"),                                      \
        NOT_NEGATIVE("activeDeadlineSeconds"), NOT_NEGATIVE("backoffLimit"),                       \
        NOT_NEGATIVE("ttlSecondsAfterFinished"), ONE_OF("completionMode", "Indexed NonIndexed")

static void check_job_template(struct checker *checker, const struct check__place *place,
                               const struct json *spec)
{
    const struct check__place at = {.parent = place, .name = "template"};

    if (json_get(spec, "selector") == NULL)
        check__required(checker, place, "selector", NULL);
    check_template_labels(checker, &at, spec);
    check__run(checker, check__pod_template, &at, json_get(spec, "template"), NULL);
}

/* Where the pods of a suspended job go may change until it starts. */
static void check_job_update(struct checker *checker, const struct check__place *place,
                             const struct json *spec)
{
    const struct json *old = json_get(checker->old, "spec");
    bool waits = check__true(json_get(old, "suspend")) &&
                 check__missing(json_at(checker->old, "status.startTime"));

    if (old == NULL)
        return;
    if (!check__unchanged(json_get(old, "completions"), json_get(spec, "completions")) &&
        !(json_equals(json_get(spec, "completionMode"), "Indexed") &&
          check__unchanged(json_get(spec, "completions"), json_get(spec, "parallelism"))))
        check__invalid(checker, place, "completions", json_get(spec, "completions"),
                       "field is immutable");
    if (!waits && !check__unchanged(json_get(old, "template"), json_get(spec, "template")))
        check__invalid(checker, place, "template", json_get(spec, "template"),
                       "field is immutable");
}

/* clang-format off */
static const struct check__rule job_spec[] = {
    JOB_NUMBERS,
    CALL(NULL, check_job_template),
    CALL(NULL, check_job_policy),
    IMMUTABLE("selector"),
    CALL(NULL, check_job_update),
    IMMUTABLE("completionMode"),
    IMMUTABLE("podFailurePolicy"),
    IMMUTABLE("backoffLimitPerIndex"),
    END,
};
static const struct check__rule job_template_spec[] = {
    JOB_NUMBERS,
    IN("template", check__pod_template),
    CALL(NULL, check_job_policy),
    END,
};
/* clang-format on */
static const struct check__rule job[] = {IN("spec", job_spec), END};

static void check_schedule(struct checker *checker, const struct check__place *place,
                           const struct json *value)
{
    struct slice text = json_text(value);
    unsigned fields = 0;

    if (text.len == 0 || text.data[0] == '@')
        return;
    for (size_t i = 0; i < text.len; i++)
        fields += text.data[i] != ' ' && (i == 0 || text.data[i - 1] == ' ');
    if (fields != 5)
        check__invalid(checker, place, NULL, value,
                       check__print(checker->arena, "expected exactly 5 fields, found %u: [%.*s]",
                                    fields, TEXT(text)));
}

static void check_cron_name(struct checker *checker, const struct check__place *place,
                            const struct json *name)
{
    if (checker->old == NULL && json_text(name).len > 52)
        check__invalid(checker, place, NULL, name, "must be no more than 52 bytes");
}

static const struct check__rule cron_job[] = {
    CALL("metadata.name", check_cron_name),
    IN("spec.jobTemplate.spec", job_template_spec),
    MUST("spec.schedule"),
    CALL("spec.schedule", check_schedule),
    NOT_NEGATIVE("spec.startingDeadlineSeconds"),
    ONE_OF("spec.concurrencyPolicy", "Allow Forbid Replace"),
    NOT_NEGATIVE("spec.successfulJobsHistoryLimit"),
    NOT_NEGATIVE("spec.failedJobsHistoryLimit"),
    END,
};

static void check_replica_range(struct checker *checker, const struct check__place *place,
                                const struct json *spec)
{
    int64_t least = 1, most = 0;

    (void)json_int(json_get(spec, "minReplicas"), &least);
    (void)json_int(json_get(spec, "maxReplicas"), &most);
    if (least < 1)
        check__invalid(checker, place, "minReplicas", json_get(spec, "minReplicas"),
                       "must be greater than or equal to 1");
    if (most < 1)
        check__invalid_text(checker, place, "maxReplicas",
                            check__print(checker->arena, "%lld", (long long)most),
                            "must be greater than 0");
    if (most < least)
        check__invalid_text(checker, place, "maxReplicas",
                            check__print(checker->arena, "%lld", (long long)most),
                            "must be greater than or equal to `minReplicas`");
}

static const struct check__rule autoscaler[] = {
    CALL("spec", check_replica_range),
    MUST("spec.scaleTargetRef.kind"),
    MUST("spec.scaleTargetRef.name"),
    END,
};

static void check_budget(struct checker *checker, const struct check__place *place,
                         const struct json *spec)
{
    const struct json *least = json_get(spec, "minAvailable");
    const struct json *most = json_get(spec, "maxUnavailable");

    if (least != NULL && most != NULL)
        check__invalid(checker, place, NULL, spec,
                       "minAvailable and maxUnavailable cannot be both set");
    check_int_or_percent(checker, place, "minAvailable", least);
    check_int_or_percent(checker, place, "maxUnavailable", most);
}

static const struct check__rule disruption_budget[] = {
    CALL("spec", check_budget),
    SELECTOR("spec.selector"),
    END,
};

/* ---- which kind has which ---- */

const struct check__kind_rules check__workload_kinds[] = {
    {"", "PodTemplate", pod_template},
    {"", "ReplicationController", replication_controller},
    {"apps", "DaemonSet", daemon_set},
    {"apps", "Deployment", deployment},
    {"apps", "ReplicaSet", replica_set},
    {"apps", "StatefulSet", stateful_set},
    {"autoscaling", "HorizontalPodAutoscaler", autoscaler},
    {"batch", "CronJob", cron_job},
    {"batch", "Job", job},
    {"policy", "PodDisruptionBudget", disruption_budget},
    {NULL, NULL, NULL},
};
