/* Rules of every other kind, and which kind has which. */
#include <string.h>

#include "kube/check/rows.h"

#define KEY_TEXT                                                                                   \
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "           \
    "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "                    \
    "'[-._a-zA-Z0-9]+')"
#define FROZEN "field is immutable when `immutable` is set"
#define DATA_MAX (1024 * 1024)

static bool is_missing(const struct json *value)
{
    return value == NULL || value->type == JSON_NULL ||
           (value->type == JSON_STRING && value->len == 0) ||
           ((value->type == JSON_ARRAY || value->type == JSON_OBJECT) && value->count == 0);
}

static bool is_true(const struct json *value)
{
    return json_is(value, JSON_BOOL) && value->boolean;
}

static bool unchanged(const struct json *a, const struct json *b)
{
    return (is_missing(a) && is_missing(b)) || (a != NULL && b != NULL && json_same(a, b));
}

/* ---- config maps and secrets ---- */

static const char *data_key_fault(struct slice key)
{
    if (key.len > 253)
        return "must be no more than 253 bytes";
    if (key.len == 0)
        return KEY_TEXT;
    for (size_t i = 0; i < key.len; i++) {
        uint8_t c = key.data[i] | 0x20;

        if (!((c >= 'a' && c <= 'z') || (key.data[i] >= '0' && key.data[i] <= '9') ||
              key.data[i] == '-' || key.data[i] == '.' || key.data[i] == '_'))
            return KEY_TEXT;
    }
    if (slice_eq(key, slice_str(".")))
        return "must not be '.'";
    if (key.len >= 2 && key.data[0] == '.' && key.data[1] == '.')
        return key.len == 2 ? "must not be '..'" : "must not start with '..'";
    return NULL;
}

/* Keys of data; returns the size of all values. */
static size_t check_data(struct checker *checker, const char *field)
{
    const struct check__place place = {.name = field};
    size_t size = 0;

    json_each(member, json_get(checker->object, field))
    {
        const struct check__place at = {.parent = &place, .key = json_key(member)};
        const char *fault = data_key_fault(json_key(member));

        if (fault != NULL)
            check__invalid_text(checker, &at, NULL, check__quote(checker->arena, json_key(member)),
                                fault);
        size += json_text(member).len;
    }
    return size;
}

static void check_frozen(struct checker *checker, const char *const *fields, size_t count)
{
    if (!is_true(json_get(checker->old, "immutable")))
        return;
    if (!is_true(json_get(checker->object, "immutable")))
        check__forbidden(checker, NULL, "immutable", FROZEN);
    for (size_t i = 0; i < count; i++) {
        if (!unchanged(json_get(checker->old, fields[i]), json_get(checker->object, fields[i])))
            check__forbidden(checker, NULL, fields[i], FROZEN);
    }
}

static void too_long(struct checker *checker, const char *field)
{
    kube_issues_add(&checker->issues, checker->arena, "TooLong", field,
                    "Too long: may not be more than %d bytes", DATA_MAX);
}

static void check_config_map(struct checker *checker, const struct check__place *place,
                             const struct json *object)
{
    static const char *const fields[] = {"data", "binaryData"};
    static const struct check__place data = {.name = "data"};
    struct json_index binary;
    size_t size;

    (void)place;
    json_index_init(&binary, checker->arena, json_get(object, "binaryData"));
    check_frozen(checker, fields, ARRAY_LEN(fields));
    size = check_data(checker, "data") + check_data(checker, "binaryData") / 4 * 3;
    json_each(member, json_get(object, "data"))
    {
        const struct check__place at = {.parent = &data, .key = json_key(member)};

        if (json_index_get(&binary, json_key(member)) != NULL)
            check__invalid_text(checker, &at, NULL, check__quote(checker->arena, json_key(member)),
                                "duplicate of key present in binaryData");
    }
    if (size > DATA_MAX)
        too_long(checker, "");
}

struct secret_type {
    const char *type;
    const char *keys; /* that must be there */
};

static const struct secret_type secret_types[] = {
    {"kubernetes.io/dockercfg", ".dockercfg"},
    {"kubernetes.io/dockerconfigjson", ".dockerconfigjson"},
    {"kubernetes.io/ssh-auth", "ssh-privatekey"},
    {"kubernetes.io/tls", "tls.crt tls.key"},
};

static void check_secret_keys(struct checker *checker, const struct json *object, const char *keys)
{
    static const struct check__place data = {.name = "data"};

    while (*keys != '\0') {
        size_t len = strcspn(keys, " ");
        const struct check__place at = {.parent = &data, .key = slice_str(keys)};
        struct check__place one = at;

        one.key.len = len;
        if (json_get_slice(json_get(object, "data"), one.key) == NULL)
            check__required(checker, &one, NULL, NULL);
        keys += len + (keys[len] == ' ');
    }
}

static void check_secret(struct checker *checker, const struct check__place *place,
                         const struct json *object)
{
    static const char *const fields[] = {"data"};
    const struct json *data = json_get(object, "data"), *type = json_get(object, "type");

    (void)place;
    check_frozen(checker, fields, ARRAY_LEN(fields));
    if (check_data(checker, "data") / 4 * 3 > DATA_MAX)
        too_long(checker, "data");
    for (size_t i = 0; i < ARRAY_LEN(secret_types); i++) {
        if (json_equals(type, secret_types[i].type))
            check_secret_keys(checker, object, secret_types[i].keys);
    }
    if (json_equals(type, "kubernetes.io/basic-auth") && json_get(data, "username") == NULL &&
        json_get(data, "password") == NULL) {
        kube_issues_add(&checker->issues, checker->arena, "Required", "data[username]",
                        "Required value");
        kube_issues_add(&checker->issues, checker->arena, "Required", "data[password]",
                        "Required value");
    }
    if (json_equals(type, "kubernetes.io/service-account-token") &&
        is_missing(json_get(json_at(object, "metadata.annotations"),
                            "kubernetes.io/service-account.name")))
        kube_issues_add(&checker->issues, checker->arena, "Required",
                        "metadata.annotations[kubernetes.io/service-account.name]",
                        "Required value");
}

static const struct check__rule config_map[] = {CALL(NULL, check_config_map), END};
static const struct check__rule secret[] = {
    IMMUTABLE("type"),
    CALL(NULL, check_secret),
    END,
};

/* ---- workloads ---- */

static void check_template_labels(struct checker *checker, const struct check__place *template,
                                  const struct json *spec)
{
    const struct json *selector = json_get(spec, "selector");
    const struct json *labels = json_at(spec, "template.metadata.labels");

    if (!is_missing(selector) && !check__selects(checker->arena, selector, labels))
        check__invalid_text(checker, template, "metadata.labels",
                            labels == NULL ? "null" : check__json(checker->arena, labels),
                            "`selector` does not match template `labels`");
}

static void check_always_restarts(struct checker *checker, const struct check__place *template,
                                  const struct json *spec)
{
    const struct json *policy = json_at(spec, "template.spec.restartPolicy");

    if (!is_missing(policy) && !json_equals(policy, "Always"))
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

static bool is_zero(const struct json *value)
{
    return (json_is(value, JSON_NUMBER) && value->len == 1 && value->text[0] == '0') ||
           json_equals(value, "0%");
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
    if (is_zero(unavailable) && is_zero(surge))
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
        if (!unchanged(json_get(old, fields[i]), json_get(spec, fields[i]))) {
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
    if (is_missing(selector))
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

    if (is_missing(policy) || json_equals(policy, "Always"))
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
    bool waits =
        is_true(json_get(old, "suspend")) && is_missing(json_at(checker->old, "status.startTime"));

    if (old == NULL)
        return;
    if (!unchanged(json_get(old, "completions"), json_get(spec, "completions")) &&
        !(json_equals(json_get(spec, "completionMode"), "Indexed") &&
          unchanged(json_get(spec, "completions"), json_get(spec, "parallelism"))))
        check__invalid(checker, place, "completions", json_get(spec, "completions"),
                       "field is immutable");
    if (!waits && !unchanged(json_get(old, "template"), json_get(spec, "template")))
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

/* ---- services and networks ---- */

static const struct check__rule service_port[] = {
    NAME("name", check__label_1123),
    PORT("port"),
    ONE_OF("protocol", "SCTP TCP UDP"),
    PORT("targetPort"),
    RANGE("nodePort", 0, 65535, "must be between 0 and 65535, inclusive"),
    END,
};

static void check_ports(struct checker *checker, const struct check__place *place,
                        const struct json *spec)
{
    const struct check__place at = {.parent = place, .name = "ports"};
    struct check__place item = {.parent = &at};
    const struct json *ports = json_get(spec, "ports");

    if (is_missing(ports) && !json_equals(json_get(spec, "clusterIP"), "None") &&
        !json_equals(json_get(spec, "type"), "ExternalName"))
        check__required(checker, &at, NULL, NULL);
    json_each(port, ports)
    {
        if (ports->count > 1 && is_missing(json_get(port, "name")))
            check__required(checker, &item, "name", NULL);
        item.index++;
    }
}

/* A service keeps the address it was given, unless it becomes one of another type. */
static void check_cluster_ip(struct checker *checker, const struct check__place *place,
                             const struct json *spec)
{
    const struct json *old = json_at(checker->old, "spec.clusterIPs");
    const struct json *ips = json_get(spec, "clusterIPs");

    if (is_missing(old) || is_missing(ips) || json_equals(json_get(spec, "type"), "ExternalName") ||
        json_equals(json_at(checker->old, "spec.type"), "ExternalName"))
        return;
    if (!json_same(old->first, ips->first))
        check__invalid(checker, place, "clusterIPs[0]", ips, "may not change once set");
}

static void check_external_name(struct checker *checker, const struct check__place *place,
                                const struct json *spec)
{
    const char *texts[CHECK_NAME_COMPLAINTS_MAX];
    const struct json *name = json_get(spec, "externalName");
    struct slice text = json_text(name);

    if (!json_equals(json_get(spec, "type"), "ExternalName"))
        return;
    if (text.len > 0 && text.data[text.len - 1] == '.')
        text.len--;
    if (text.len == 0)
        check__required(checker, place, "externalName", NULL);
    else if (check__subdomain(text, texts) > 0)
        check__invalid(checker, place, "externalName", name, texts[0]);
}

static const struct check__rule service[] = {
    CALL("spec", check_cluster_ip),
    CALL("spec", check_ports),
    EACH("spec.ports", service_port),
    UNIQUE("spec.ports", "name"),
    LABELS("spec.selector"),
    ONE_OF("spec.sessionAffinity", "ClientIP None"),
    ONE_OF("spec.type", "ClusterIP ExternalName LoadBalancer NodePort"),
    CALL("spec", check_external_name),
    ONE_OF("spec.externalTrafficPolicy", "Cluster Local"),
    ONE_OF("spec.internalTrafficPolicy", "Cluster Local"),
    END,
};

static const struct check__rule endpoint_slice[] = {
    MUST("addressType"),
    ONE_OF("addressType", "FQDN IPv4 IPv6"),
    IMMUTABLE("addressType"),
    END,
};

static void check_ingress_spec(struct checker *checker, const struct check__place *place,
                               const struct json *spec)
{
    if (is_missing(json_get(spec, "rules")) && json_get(spec, "defaultBackend") == NULL)
        check__invalid(checker, place, NULL, spec,
                       "either `defaultBackend` or `rules` must be specified");
}

static void check_ingress_path(struct checker *checker, const struct check__place *place,
                               const struct json *path)
{
    const struct json *type = json_get(path, "pathType");
    struct slice text = json_text_at(path, "path");

    if (is_missing(type)) {
        check__required(checker, place, "pathType", "pathType must be specified");
        return;
    }
    if (!json_equals(type, "ImplementationSpecific") && (text.len == 0 || text.data[0] != '/'))
        check__invalid(checker, place, "path", json_get(path, "path"), "must be an absolute path");
}

static const struct check__rule ingress_service[] = {MUST("name"), END};
static const struct check__rule ingress_path[] = {
    CALL(NULL, check_ingress_path),
    ONE_OF("pathType", "Exact ImplementationSpecific Prefix"),
    IN("backend.service", ingress_service),
    END,
};
static const struct check__rule ingress_http[] = {
    MUST("paths"),
    EACH("paths", ingress_path),
    END,
};
static const struct check__rule ingress_rule[] = {
    IN("http", ingress_http),
    END,
};
static const struct check__rule ingress[] = {
    CALL("spec", check_ingress_spec),
    EACH("spec.rules", ingress_rule),
    END,
};

static const struct check__rule network_policy[] = {
    SELECTOR("spec.podSelector"),
    END,
};
static const struct check__rule ingress_class[] = {
    MUST("spec.controller"),
    IMMUTABLE("spec.controller"),
    END,
};

/* ---- access ---- */

static const struct check__rule policy_rule[] = {
    MUST_SAYING("verbs", "verbs must contain at least one value"),
    END,
};

static void check_policy_rule(struct checker *checker, const struct check__place *place,
                              const struct json *rule)
{
    check__run(checker, policy_rule, place, rule, NULL);
    if (!is_missing(json_get(rule, "nonResourceURLs"))) {
        if ((checker->resource->flags & KUBE_NAMESPACED) != 0)
            check__invalid(checker, place, "nonResourceURLs", json_get(rule, "nonResourceURLs"),
                           "namespaced rules cannot apply to non-resource URLs");
        return;
    }
    if (is_missing(json_get(rule, "apiGroups")))
        check__required(checker, place, "apiGroups",
                        "resource rules must supply at least one api group");
    if (is_missing(json_get(rule, "resources")))
        check__required(checker, place, "resources",
                        "resource rules must supply at least one resource");
}

static const struct check__rule each_policy_rule[] = {
    CALL(NULL, check_policy_rule),
    END,
};
static const struct check__rule role[] = {
    EACH("rules", each_policy_rule),
    END,
};

static void check_subject(struct checker *checker, const struct check__place *place,
                          const struct json *subject)
{
    if (is_missing(json_get(subject, "name")))
        check__required(checker, place, "name", NULL);
    if (json_equals(json_get(subject, "kind"), "ServiceAccount") &&
        is_missing(json_get(subject, "namespace")))
        check__required(checker, place, "namespace", NULL);
}

static const struct check__rule subject[] = {
    CALL(NULL, check_subject),
    ONE_OF("kind", "Group ServiceAccount User"),
    END,
};

/* Upstream shows its internal type here, with capital names. */
static void check_role_ref(struct checker *checker, const struct check__place *place,
                           const struct json *ref)
{
    const struct json *old = json_get(checker->old, "roleRef");

    if (old == NULL || json_same(old, ref))
        return;
    check__invalid_text(checker, place, NULL,
                        check__print(checker->arena, "{\"APIGroup\":%s,\"Kind\":%s,\"Name\":%s}",
                                     check__json(checker->arena, json_get(ref, "apiGroup")),
                                     check__json(checker->arena, json_get(ref, "kind")),
                                     check__json(checker->arena, json_get(ref, "name"))),
                        "cannot change roleRef");
}

#define ROLE_BINDING(kinds)                                                                        \
    ONE_OF("roleRef.apiGroup", "rbac.authorization.k8s.io"), ONE_OF("roleRef.kind", kinds),        \
        MUST("roleRef.name"), EACH("subjects", subject), CALL("roleRef", check_role_ref)

/* clang-format off */
static const struct check__rule role_binding[] = {ROLE_BINDING("ClusterRole Role"), END};
static const struct check__rule cluster_role_binding[] = {ROLE_BINDING("ClusterRole"), END};
/* clang-format on */

/* ---- storage ---- */

static void check_claim_spec(struct checker *checker, const struct check__place *place,
                             const struct json *spec)
{
    static const char *const fields[] = {"accessModes", "selector",   "storageClassName",
                                         "volumeMode",  "dataSource", "dataSourceRef"};
    const struct check__place resources = {.parent = place, .name = "resources"};
    const struct check__place storage = {.parent = &resources, .key = slice_str("storage")};
    const struct json *old = json_get(checker->old, "spec");

    if (is_missing(json_get(spec, "accessModes")))
        check__required(checker, place, "accessModes", "at least 1 access mode is required");
    if (json_get(json_at(spec, "resources.requests"), "storage") == NULL)
        check__required(checker, &storage, NULL, NULL);
    for (size_t i = 0; old != NULL && i < ARRAY_LEN(fields); i++) {
        if (!unchanged(json_get(old, fields[i]), json_get(spec, fields[i]))) {
            check__forbidden(checker, place, NULL,
                             "spec is immutable after creation except resources.requests and "
                             "volumeAttributesClassName for bound claims");
            return;
        }
    }
}

static const struct check__rule volume_claim[] = {
    CALL("spec", check_claim_spec),
    SELECTOR("spec.selector"),
    ONE_OF("spec.volumeMode", "Block Filesystem"),
    END,
};
static const struct check__rule persistent_volume[] = {
    MUST("spec.accessModes"),
    MUST("spec.capacity"),
    ONE_OF("spec.persistentVolumeReclaimPolicy", "Delete Recycle Retain"),
    ONE_OF("spec.volumeMode", "Block Filesystem"),
    END,
};
static const struct check__rule storage_class[] = {
    MUST("provisioner"),
    ONE_OF("reclaimPolicy", "Delete Retain"),
    ONE_OF("volumeBindingMode", "Immediate WaitForFirstConsumer"),
    IMMUTABLE_SAYING("parameters", "updates to parameters are forbidden."),
    IMMUTABLE_SAYING("provisioner", "updates to provisioner are forbidden."),
    IMMUTABLE_SAYING("reclaimPolicy", "updates to reclaimPolicy are forbidden."),
    IMMUTABLE("volumeBindingMode"),
    END,
};

/* ---- nodes and the rest ---- */

static const struct check__rule taint[] = {
    MUST("key"),
    MUST("effect"),
    ONE_OF("effect", "NoSchedule PreferNoSchedule NoExecute"),
    END,
};

static void check_taints(struct checker *checker, const struct check__place *place,
                         const struct json *taints)
{
    struct check__place item = {.parent = place};
    struct check__set seen;

    check__set_init(&seen, checker->arena, taints == NULL ? 0 : taints->count);
    json_each(one, taints)
    {
        const char *text =
            check__print(checker->arena, "%.*s:%.*s", TEXT(json_text_at(one, "effect")),
                         TEXT(json_text_at(one, "key")));

        if (!check__set_add(&seen, slice_str(text)))
            check__duplicate(checker, &item, NULL, one);
        item.index++;
    }
}

static const struct check__rule node[] = {
    EACH("spec.taints", taint),
    CALL("spec.taints", check_taints),
    END,
};

static const struct check__rule lease[] = {
    RANGE("spec.leaseDurationSeconds", 1, INT64_MAX, "must be greater than 0"),
    NOT_NEGATIVE("spec.leaseTransitions"),
    END,
};

static void check_priority(struct checker *checker, const struct check__place *place,
                           const struct json *object)
{
    static const char *const fixed[] = {"value", "preemptionPolicy"};
    struct slice name = json_text_at(object, "metadata.name");
    bool system = name.len >= 7 && memcmp(name.data, "system-", 7) == 0;
    int64_t value = 0;

    (void)json_int(json_get(object, "value"), &value);
    if (checker->old == NULL && !system && value > 1000000000)
        check__forbidden(checker, place, "value",
                         "maximum allowed value of a user defined priority is 1000000000");
    for (size_t i = 0; checker->old != NULL && i < ARRAY_LEN(fixed); i++) {
        if (!unchanged(json_get(checker->old, fixed[i]), json_get(object, fixed[i])))
            check__forbidden(checker, place, fixed[i], "may not be changed in an update.");
    }
}

static const struct check__rule priority_class[] = {
    CALL(NULL, check_priority),
    ONE_OF("preemptionPolicy", "Never PreemptLowerPriority"),
    END,
};

static void check_event_namespace(struct checker *checker, const struct check__place *place,
                                  const struct json *space)
{
    struct slice own = json_text_at(checker->object, "metadata.namespace");

    if (is_missing(space) ? !slice_eq(own, slice_str("default")) : !slice_eq(own, json_text(space)))
        check__invalid(checker, place, NULL, space, "does not match event.namespace");
}

static const struct check__rule event[] = {
    CALL("involvedObject.namespace", check_event_namespace),
    END,
};
static const struct check__rule signing_request[] = {
    MUST("spec.request"),
    MUST("spec.signerName"),
    MUST_SAYING("spec.usages", "usages must be specified"),
    END,
};
static const struct check__rule runtime_class[] = {
    MUST("handler"),
    NAME("handler", check__label_1123),
    IMMUTABLE("handler"),
    END,
};

/* What may not change in a pod is said first and alone: it would be said again of the fields. */
static void check_pod(struct checker *checker, const struct check__place *place,
                      const struct json *object)
{
    if (checker->old != NULL)
        check__pod_update(checker);
    else
        check__run(checker, check__pod, place, object, NULL);
}

static const struct check__rule pod[] = {CALL(NULL, check_pod), END};

/* ---- which kind has which ---- */

struct kind_rules {
    const char *group, *kind;
    const struct check__rule *rules;
};

static const struct kind_rules kinds[] = {
    {"", "ConfigMap", config_map},
    {"", "Secret", secret},
    {"", "Event", event},
    {"", "Node", node},
    {"", "PersistentVolume", persistent_volume},
    {"", "PersistentVolumeClaim", volume_claim},
    {"", "Pod", pod},
    {"", "PodTemplate", pod_template},
    {"", "ReplicationController", replication_controller},
    {"", "Service", service},
    {"apps", "DaemonSet", daemon_set},
    {"apps", "Deployment", deployment},
    {"apps", "ReplicaSet", replica_set},
    {"apps", "StatefulSet", stateful_set},
    {"autoscaling", "HorizontalPodAutoscaler", autoscaler},
    {"batch", "CronJob", cron_job},
    {"batch", "Job", job},
    {"certificates.k8s.io", "CertificateSigningRequest", signing_request},
    {"coordination.k8s.io", "Lease", lease},
    {"discovery.k8s.io", "EndpointSlice", endpoint_slice},
    {"networking.k8s.io", "Ingress", ingress},
    {"networking.k8s.io", "IngressClass", ingress_class},
    {"networking.k8s.io", "NetworkPolicy", network_policy},
    {"node.k8s.io", "RuntimeClass", runtime_class},
    {"policy", "PodDisruptionBudget", disruption_budget},
    {"rbac.authorization.k8s.io", "ClusterRole", role},
    {"rbac.authorization.k8s.io", "ClusterRoleBinding", cluster_role_binding},
    {"rbac.authorization.k8s.io", "Role", role},
    {"rbac.authorization.k8s.io", "RoleBinding", role_binding},
    {"scheduling.k8s.io", "PriorityClass", priority_class},
    {"storage.k8s.io", "StorageClass", storage_class},
};

const struct check__rule *check__rules_of(const struct kube_resource *resource)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].kind, resource->kind) == 0 &&
            strcmp(kinds[i].group, resource->group) == 0)
            return kinds[i].rules;
    }
    return NULL;
}
