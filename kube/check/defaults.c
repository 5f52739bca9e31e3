/* What a client may leave out (upstream's SetDefaults functions): tables of paths and values, C
 * where one field decides about another. */
#include <stdlib.h>
#include <string.h>

#include "kube/check/defaults.h"

/* Texts of defaults are ours: a string, number, word or {}. */
static struct json *value_of(struct arena *arena, const char *text)
{
    size_t len = strlen(text);
    struct json *value;

    if (text[0] == '"')
        return json_new_string(arena, slice_of(text + 1, len - 2));
    if (text[0] == '{')
        return json_new(arena, JSON_OBJECT);
    if (text[0] == 't' || text[0] == 'f')
        return json_new_bool(arena, text[0] == 't');
    value = json_new(arena, JSON_NUMBER);
    value->text = text;
    value->len = len;
    return value;
}

void check__set_default(struct arena *arena, struct json *object, const char *key, const char *text)
{
    if (check__missing(json_get(object, key)))
        (void)json_set(object, key, value_of(arena, text));
}

/* The struct that holds the last name of path; NULL if it is not there. */
static struct json *holder_of(struct json *value, const char *path, const char **name)
{
    const char *dot;

    while (value != NULL && (dot = strchr(path, '.')) != NULL) {
        value = json_get_slice(value, slice_of(path, (size_t)(dot - path)));
        path = dot + 1;
    }
    *name = path;
    return json_is(value, JSON_OBJECT) ? value : NULL;
}

static void run(struct arena *arena, const struct check__default *table, struct json *value)
{
    for (; table->path != NULL || table->call != NULL; table++) {
        const char *name = NULL;
        struct json *holder, *member;

        if (table->path == NULL) {
            table->call(arena, value);
            continue;
        }
        holder = holder_of(value, table->path, &name);
        if (holder == NULL)
            continue;
        member = json_get(holder, name);
        if (table->value != NULL) {
            if (check__missing(member) || (table->also_zero && check__zero(member)))
                (void)json_set(holder, name, value_of(arena, table->value));
        } else if (table->each != NULL) {
            if (json_is(member, JSON_ARRAY))
                json_each(item, member) run(arena, table->each, item);
        } else if (json_is(member, JSON_OBJECT)) {
            if (table->table != NULL)
                run(arena, table->table, member);
            else
                table->call(arena, member);
        }
    }
}

void check__copy_missing(struct arena *arena, struct json *object, const char *from, const char *to)
{
    const struct json *amounts = json_get(object, from);
    struct json_index there;
    struct json *target;

    if (amounts == NULL || amounts->count == 0)
        return;
    target = json_set_object(arena, object, to);
    json_index_init(&there, arena, target);
    json_each(amount, amounts)
    {
        struct json *copy;

        if (json_index_get(&there, json_key(amount)) != NULL)
            continue;
        copy = json_copy(arena, amount);
        json_add(target, json_key(amount), copy);
        json_index_added(&there, copy);
    }
}

/* ---- workloads ---- */

static const struct check__default pod_template[] = {IN("template.spec", check__pod_spec_defaults),
                                                     END};

static void copy_labels(struct arena *arena, struct json *object)
{
    const struct json *labels = json_at(object, "spec.template.metadata.labels");
    const struct json *own = json_at(object, "metadata.labels");

    if (labels != NULL && labels->count > 0 && (own == NULL || own->count == 0))
        (void)json_set(json_set_object(arena, object, "metadata"), "labels",
                       json_copy(arena, labels));
}

static void default_controller(struct arena *arena, struct json *object)
{
    const struct json *labels = json_at(object, "spec.template.metadata.labels");
    const struct json *selector = json_at(object, "spec.selector");

    copy_labels(arena, object);
    if (labels != NULL && labels->count > 0 && (selector == NULL || selector->count == 0))
        (void)json_set(json_get(object, "spec"), "selector", json_copy(arena, labels));
}

static void default_rolling(struct arena *arena, struct json *strategy, const char *first,
                            const char *first_value, const char *second, const char *second_value)
{
    struct json *rolling;

    if (!json_equals(json_get(strategy, "type"), "RollingUpdate"))
        return;
    rolling = json_set_object(arena, strategy, "rollingUpdate");
    check__set_default(arena, rolling, first, first_value);
    if (second != NULL)
        check__set_default(arena, rolling, second, second_value);
}

static void default_deployment_strategy(struct arena *arena, struct json *strategy)
{
    default_rolling(arena, strategy, "maxUnavailable", "\"25%\"", "maxSurge", "\"25%\"");
}

static void default_daemon_strategy(struct arena *arena, struct json *strategy)
{
    default_rolling(arena, strategy, "maxUnavailable", "1", "maxSurge", "0");
}

static void default_stateful_strategy(struct arena *arena, struct json *strategy)
{
    default_rolling(arena, strategy, "partition", "0", NULL, NULL);
}

static void add_claim_type(struct arena *arena, struct json *claim)
{
    check__set_default(arena, claim, "kind", "\"PersistentVolumeClaim\"");
    check__set_default(arena, claim, "apiVersion", "\"v1\"");
    (void)json_set_object(arena, claim, "status");
}

static const struct check__default claim_template[] = {
    CALL(NULL, add_claim_type),
    VALUE("spec.volumeMode", "\"Filesystem\""),
    VALUE("status.phase", "\"Pending\""),
    END,
};

static void default_job(struct arena *arena, struct json *object)
{
    struct json *spec = json_get(object, "spec");
    const char *replacement =
        json_get(spec, "podFailurePolicy") != NULL ? "\"Failed\"" : "\"TerminatingOrFailed\"";

    if (spec == NULL)
        return;
    if (check__missing(json_get(spec, "completions")) &&
        check__missing(json_get(spec, "parallelism")))
        check__set_default(arena, spec, "completions", "1");
    check__set_default(arena, spec, "backoffLimit",
                       check__missing(json_get(spec, "backoffLimitPerIndex")) ? "6" : "2147483647");
    check__set_default(arena, spec, "podReplacementPolicy", replacement);
    copy_labels(arena, object);
}

static const struct check__default failure_condition[] = {VALUE("status", "\"True\""), END};
static const struct check__default failure_rule[] = {EACH("onPodConditions", failure_condition),
                                                     END};

static const struct check__default deployment[] = {
    VALUE("spec.replicas", "1"),
    VALUE("spec.strategy.type", "\"RollingUpdate\""),
    CALL("spec.strategy", default_deployment_strategy),
    VALUE("spec.revisionHistoryLimit", "10"),
    VALUE("spec.progressDeadlineSeconds", "600"),
    IN("spec.template", check__template_defaults),
    END,
};
static const struct check__default daemon_set[] = {
    VALUE("spec.updateStrategy.type", "\"RollingUpdate\""),
    CALL("spec.updateStrategy", default_daemon_strategy),
    VALUE("spec.revisionHistoryLimit", "10"),
    IN("spec.template", check__template_defaults),
    END,
};
static const struct check__default stateful_set[] = {
    VALUE("spec.podManagementPolicy", "\"OrderedReady\""),
    VALUE("spec.updateStrategy.type", "\"RollingUpdate\""),
    CALL("spec.updateStrategy", default_stateful_strategy),
    VALUE("spec.persistentVolumeClaimRetentionPolicy", "{}"),
    VALUE("spec.persistentVolumeClaimRetentionPolicy.whenDeleted", "\"Retain\""),
    VALUE("spec.persistentVolumeClaimRetentionPolicy.whenScaled", "\"Retain\""),
    VALUE("spec.replicas", "1"),
    VALUE("spec.revisionHistoryLimit", "10"),
    EACH("spec.volumeClaimTemplates", claim_template),
    IN("spec.template", check__template_defaults),
    END,
};
static const struct check__default replica_set[] = {
    VALUE("spec.replicas", "1"),
    IN("spec.template", check__template_defaults),
    END,
};
static const struct check__default replication_controller[] = {
    CALL(NULL, default_controller),
    VALUE("spec.replicas", "1"),
    IN("spec.template", check__template_defaults),
    END,
};
static const struct check__default job[] = {
    CALL(NULL, default_job),
    VALUE("spec.parallelism", "1"),
    VALUE("spec.completionMode", "\"NonIndexed\""),
    VALUE("spec.suspend", "false"),
    VALUE("spec.manualSelector", "false"),
    EACH("spec.podFailurePolicy.rules", failure_rule),
    IN("spec.template", check__template_defaults),
    END,
};
static const struct check__default cron_job[] = {
    VALUE("spec.concurrencyPolicy", "\"Allow\""),
    VALUE("spec.suspend", "false"),
    VALUE("spec.successfulJobsHistoryLimit", "3"),
    VALUE("spec.failedJobsHistoryLimit", "1"),
    EACH("spec.jobTemplate.spec.podFailurePolicy.rules", failure_rule),
    IN("spec.jobTemplate.spec.template", check__template_defaults),
    END,
};

/* ---- autoscalers ---- */

static struct json *scaling_policy(struct arena *arena, const char *type, int64_t value)
{
    struct json *policy = json_new(arena, JSON_OBJECT);

    (void)json_set(policy, "type", json_new_cstring(arena, type));
    (void)json_set(policy, "value", json_new_int(arena, value));
    (void)json_set(policy, "periodSeconds", json_new_int(arena, 15));
    return policy;
}

static void default_scaling(struct arena *arena, struct json *rules, bool up)
{
    struct json *policies = json_get(rules, "policies");

    check__set_default(arena, rules, "selectPolicy", "\"Max\"");
    if (up)
        check__set_default(arena, rules, "stabilizationWindowSeconds", "0");
    if (json_is(policies, JSON_ARRAY) && policies->count > 0)
        return;
    policies = json_new(arena, JSON_ARRAY);
    if (up)
        json_append(policies, scaling_policy(arena, "Pods", 4));
    json_append(policies, scaling_policy(arena, "Percent", 100));
    (void)json_set(rules, "policies", policies);
}

static void default_behavior(struct arena *arena, struct json *behavior)
{
    default_scaling(arena, json_set_object(arena, behavior, "scaleUp"), true);
    default_scaling(arena, json_set_object(arena, behavior, "scaleDown"), false);
}

static void default_metrics(struct arena *arena, struct json *spec)
{
    struct json *metrics = json_get(spec, "metrics"), *metric, *resource, *target;

    if (json_is(metrics, JSON_ARRAY) && metrics->count > 0)
        return;
    metrics = json_new(arena, JSON_ARRAY);
    metric = json_new(arena, JSON_OBJECT);
    (void)json_set(metric, "type", json_new_cstring(arena, "Resource"));
    resource = json_set_object(arena, metric, "resource");
    (void)json_set(resource, "name", json_new_cstring(arena, "cpu"));
    target = json_set_object(arena, resource, "target");
    (void)json_set(target, "type", json_new_cstring(arena, "Utilization"));
    (void)json_set(target, "averageUtilization", json_new_int(arena, 80));
    json_append(metrics, metric);
    (void)json_set(spec, "metrics", metrics);
}

static const struct check__default autoscaler_v1[] = {VALUE("spec.minReplicas", "1"), END};
static const struct check__default autoscaler_v2[] = {
    VALUE("spec.minReplicas", "1"),
    CALL("spec", default_metrics),
    CALL("spec.behavior", default_behavior),
    END,
};

/* ---- services and networks ---- */

static void default_target_port(struct arena *arena, struct json *port)
{
    const struct json *target = json_get(port, "targetPort"), *own = json_get(port, "port");

    if (own != NULL && (check__missing(target) || check__zero(target)))
        (void)json_set(port, "targetPort", json_copy(arena, own));
}

static void default_service(struct arena *arena, struct json *spec)
{
    const struct json *type = json_get(spec, "type");
    bool balanced = json_equals(type, "LoadBalancer");
    const struct json *external = json_get(spec, "externalIPs");

    if (json_equals(json_get(spec, "sessionAffinity"), "ClientIP"))
        check__set_default(arena,
                           json_set_object(arena,
                                           json_set_object(arena, spec, "sessionAffinityConfig"),
                                           "clientIP"),
                           "timeoutSeconds", "10800");
    if (balanced || json_equals(type, "NodePort") ||
        (json_equals(type, "ClusterIP") && external != NULL && external->count > 0))
        check__set_default(arena, spec, "externalTrafficPolicy", "\"Cluster\"");
    if (!json_equals(type, "ExternalName"))
        check__set_default(arena, spec, "internalTrafficPolicy", "\"Cluster\"");
    if (balanced)
        check__set_default(arena, spec, "allocateLoadBalancerNodePorts", "true");
}

static void default_ip_mode(struct arena *arena, struct json *ingress)
{
    if (!check__missing(json_get(ingress, "ip")))
        check__set_default(arena, ingress, "ipMode", "\"VIP\"");
}

static const struct check__default service_port[] = {
    VALUE("protocol", "\"TCP\""),
    CALL(NULL, default_target_port),
    END,
};
static const struct check__default load_balancer_ingress[] = {CALL(NULL, default_ip_mode), END};
static const struct check__default service[] = {
    VALUE("spec.sessionAffinity", "\"None\""),
    VALUE("spec.type", "\"ClusterIP\""),
    CALL("spec", default_service),
    EACH("spec.ports", service_port),
    EACH("status.loadBalancer.ingress", load_balancer_ingress),
    END,
};

static const struct check__default endpoint_port[] = {VALUE("protocol", "\"TCP\""), END};
static const struct check__default endpoint_subset[] = {EACH("ports", endpoint_port), END};
static const struct check__default endpoints[] = {EACH("subsets", endpoint_subset), END};

static void default_slice_port(struct arena *arena, struct json *port)
{
    if (json_get(port, "name") == NULL)
        (void)json_set(port, "name", json_new_cstring(arena, ""));
    check__set_default(arena, port, "protocol", "\"TCP\"");
}

static const struct check__default slice_port[] = {CALL(NULL, default_slice_port), END};
static const struct check__default endpoint_slice[] = {EACH("ports", slice_port), END};

static void default_policy_types(struct arena *arena, struct json *spec)
{
    struct json *types = json_get(spec, "policyTypes"), *egress = json_get(spec, "egress");

    if (json_is(types, JSON_ARRAY) && types->count > 0)
        return;
    types = json_new(arena, JSON_ARRAY);
    json_append(types, json_new_cstring(arena, "Ingress"));
    if (egress != NULL && egress->count > 0)
        json_append(types, json_new_cstring(arena, "Egress"));
    (void)json_set(spec, "policyTypes", types);
}

static const struct check__default policy_rule[] = {EACH("ports", endpoint_port), END};
static const struct check__default network_policy[] = {
    EACH("spec.ingress", policy_rule),
    EACH("spec.egress", policy_rule),
    CALL("spec", default_policy_types),
    END,
};
static const struct check__default ingress_class[] = {
    VALUE("spec.parameters.scope", "\"Cluster\""),
    END,
};

/* ---- access ---- */

#define RBAC "\"rbac.authorization.k8s.io\""

static void default_subject(struct arena *arena, struct json *subject)
{
    const struct json *kind = json_get(subject, "kind");

    if (json_equals(kind, "User") || json_equals(kind, "Group"))
        check__set_default(arena, subject, "apiGroup", RBAC);
}

static const struct check__default subject[] = {CALL(NULL, default_subject), END};
static const struct check__default role_binding[] = {
    VALUE("roleRef.apiGroup", RBAC),
    EACH("subjects", subject),
    END,
};
static const struct check__default token_request[] = {VALUE("spec.expirationSeconds", "3600"), END};

/* ---- storage ---- */

static void default_lifecycle_modes(struct arena *arena, struct json *spec)
{
    struct json *modes = json_get(spec, "volumeLifecycleModes");

    if (json_is(modes, JSON_ARRAY) && modes->count > 0)
        return;
    modes = json_new(arena, JSON_ARRAY);
    json_append(modes, json_new_cstring(arena, "Persistent"));
    (void)json_set(spec, "volumeLifecycleModes", modes);
}

static const struct check__default persistent_volume[] = {
    VALUE("spec.persistentVolumeReclaimPolicy", "\"Retain\""),
    VALUE("spec.volumeMode", "\"Filesystem\""),
    IN("spec", check__volume_source_defaults),
    VALUE("status.phase", "\"Pending\""),
    END,
};
static const struct check__default volume_claim[] = {
    VALUE("spec.volumeMode", "\"Filesystem\""),
    VALUE("status.phase", "\"Pending\""),
    END,
};
static const struct check__default storage_class[] = {
    VALUE("reclaimPolicy", "\"Delete\""),
    VALUE("volumeBindingMode", "\"Immediate\""),
    END,
};
static const struct check__default csi_driver[] = {
    VALUE("spec.attachRequired", "true"),
    VALUE("spec.podInfoOnMount", "false"),
    VALUE("spec.storageCapacity", "false"),
    VALUE("spec.fsGroupPolicy", "\"ReadWriteOnceWithFSType\""),
    VALUE("spec.requiresRepublish", "false"),
    VALUE("spec.seLinuxMount", "false"),
    CALL("spec", default_lifecycle_modes),
    END,
};

/* ---- core: the rest ---- */

static void default_namespace(struct arena *arena, struct json *object)
{
    struct json *metadata = json_set_object(arena, object, "metadata");
    struct slice name = json_text_at(metadata, "name");

    if (name.len > 0)
        (void)json_set(json_set_object(arena, metadata, "labels"), "kubernetes.io/metadata.name",
                       json_new_string(arena, name));
    check__set_default(arena, json_set_object(arena, object, "status"), "phase", "\"Active\"");
}

static void default_allocatable(struct arena *arena, struct json *status)
{
    const struct json *capacity = json_get(status, "capacity");
    const struct json *allocatable = json_get(status, "allocatable");

    if (capacity != NULL && capacity->count > 0 && (allocatable == NULL || allocatable->count == 0))
        (void)json_set(status, "allocatable", json_copy(arena, capacity));
}

static void default_limit(struct arena *arena, struct json *item)
{
    if (!json_equals(json_get(item, "type"), "Container"))
        return;
    check__copy_missing(arena, item, "max", "default");
    check__copy_missing(arena, item, "default", "defaultRequest");
    check__copy_missing(arena, item, "min", "defaultRequest");
}

static const struct check__default limit[] = {CALL(NULL, default_limit), END};
static const struct check__default limit_range[] = {EACH("spec.limits", limit), END};
static const struct check__default namespace_object[] = {CALL(NULL, default_namespace), END};
static const struct check__default node[] = {CALL("status", default_allocatable), END};
static const struct check__default secret[] = {VALUE("type", "\"Opaque\""), END};
static const struct check__default priority_class[] = {
    VALUE("preemptionPolicy", "\"PreemptLowerPriority\""),
    END,
};

/* ---- extensions ---- */

static const struct check__default webhook_rule[] = {VALUE("scope", "\"*\""), END};

#define WEBHOOK                                                                                    \
    VALUE("clientConfig.service.port", "443"), EACH("rules", webhook_rule),                        \
        VALUE("failurePolicy", "\"Fail\""), VALUE("matchPolicy", "\"Equivalent\""),                \
        VALUE("namespaceSelector", "{}"), VALUE("objectSelector", "{}"),                           \
        VALUE("timeoutSeconds", "10")

/* clang-format off */
static const struct check__default validating_webhook[] = {WEBHOOK, END};
static const struct check__default mutating_webhook[] = {
    WEBHOOK,
    VALUE("reinvocationPolicy", "\"Never\""),
    END,
};
/* clang-format on */
static const struct check__default validating_webhooks[] = {EACH("webhooks", validating_webhook),
                                                            END};
static const struct check__default mutating_webhooks[] = {EACH("webhooks", mutating_webhook), END};

static const struct check__default match_resources[] = {
    VALUE("matchPolicy", "\"Equivalent\""),
    VALUE("namespaceSelector", "{}"),
    VALUE("objectSelector", "{}"),
    EACH("resourceRules", webhook_rule),
    EACH("excludeResourceRules", webhook_rule),
    END,
};
static const struct check__default admission_policy[] = {
    VALUE("spec.failurePolicy", "\"Fail\""),
    IN("spec.matchConstraints", match_resources),
    END,
};
static const struct check__default admission_binding[] = {
    IN("spec.matchResources", match_resources),
    END,
};

static void default_names(struct arena *arena, struct json *names)
{
    struct slice kind = json_text_at(names, "kind");
    char *lower;

    if (kind.len == 0)
        return;
    lower = arena_alloc(arena, kind.len);
    for (size_t i = 0; i < kind.len; i++)
        lower[i] =
            (char)(kind.data[i] >= 'A' && kind.data[i] <= 'Z' ? kind.data[i] | 0x20 : kind.data[i]);
    if (check__missing(json_get(names, "singular")))
        (void)json_set(names, "singular", json_new_string(arena, slice_of(lower, kind.len)));
    if (check__missing(json_get(names, "listKind")))
        (void)json_set(names, "listKind",
                       json_new_cstring(arena, check__print(arena, "%.*sList", TEXT(kind))));
}

static void default_conversion(struct arena *arena, struct json *spec)
{
    check__set_default(arena, json_set_object(arena, spec, "conversion"), "strategy", "\"None\"");
}

static const struct check__default custom_resource_definition[] = {
    CALL("spec.names", default_names),
    CALL("spec", default_conversion),
    VALUE("spec.conversion.webhook.clientConfig.service.port", "443"),
    END,
};
static const struct check__default api_service[] = {VALUE("spec.service.port", "443"), END};

static const struct check__default flow_schema[] = {
    VALUE_FOR_ZERO("spec.matchingPrecedence", "1000"), END};
static const struct check__default priority_level[] = {
    VALUE("spec.limited.nominalConcurrencyShares", "30"),
    VALUE("spec.limited.lendablePercent", "0"),
    VALUE_FOR_ZERO("spec.limited.limitResponse.queuing.queues", "64"),
    VALUE_FOR_ZERO("spec.limited.limitResponse.queuing.handSize", "8"),
    VALUE_FOR_ZERO("spec.limited.limitResponse.queuing.queueLengthLimit", "50"),
    VALUE("spec.exempt.nominalConcurrencyShares", "0"),
    VALUE("spec.exempt.lendablePercent", "0"),
    END,
};

/* ---- which kind has which ---- */

struct kind_defaults {
    const char *group, *version, *kind;
    const struct check__default *table;
};

#define ADMISSION "admissionregistration.k8s.io"

static const struct kind_defaults kinds[] = {
    {"", "v1", "Endpoints", endpoints},
    {"", "v1", "LimitRange", limit_range},
    {"", "v1", "Namespace", namespace_object},
    {"", "v1", "Node", node},
    {"", "v1", "PersistentVolume", persistent_volume},
    {"", "v1", "PersistentVolumeClaim", volume_claim},
    {"", "v1", "Pod", check__pod_defaults},
    {"", "v1", "PodTemplate", pod_template},
    {"", "v1", "ReplicationController", replication_controller},
    {"", "v1", "Secret", secret},
    {"", "v1", "Service", service},
    {ADMISSION, "v1", "MutatingAdmissionPolicy", admission_policy},
    {ADMISSION, "v1", "MutatingAdmissionPolicyBinding", admission_binding},
    {ADMISSION, "v1", "MutatingWebhookConfiguration", mutating_webhooks},
    {ADMISSION, "v1", "ValidatingAdmissionPolicy", admission_policy},
    {ADMISSION, "v1", "ValidatingAdmissionPolicyBinding", admission_binding},
    {ADMISSION, "v1", "ValidatingWebhookConfiguration", validating_webhooks},
    {"apiextensions.k8s.io", "v1", "CustomResourceDefinition", custom_resource_definition},
    {"apiregistration.k8s.io", "v1", "APIService", api_service},
    {"apps", "v1", "DaemonSet", daemon_set},
    {"apps", "v1", "Deployment", deployment},
    {"apps", "v1", "ReplicaSet", replica_set},
    {"apps", "v1", "StatefulSet", stateful_set},
    {"authentication.k8s.io", "v1", "TokenRequest", token_request},
    {"autoscaling", "v1", "HorizontalPodAutoscaler", autoscaler_v1},
    {"autoscaling", "v2", "HorizontalPodAutoscaler", autoscaler_v2},
    {"batch", "v1", "CronJob", cron_job},
    {"batch", "v1", "Job", job},
    {"discovery.k8s.io", "v1", "EndpointSlice", endpoint_slice},
    {"flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", flow_schema},
    {"flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration", priority_level},
    {"networking.k8s.io", "v1", "IngressClass", ingress_class},
    {"networking.k8s.io", "v1", "NetworkPolicy", network_policy},
    {"rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", role_binding},
    {"rbac.authorization.k8s.io", "v1", "RoleBinding", role_binding},
    {"scheduling.k8s.io", "v1", "PriorityClass", priority_class},
    {"storage.k8s.io", "v1", "CSIDriver", csi_driver},
    {"storage.k8s.io", "v1", "StorageClass", storage_class},
};

void kube_defaults(struct arena *arena, const struct kube_resource *resource, struct json *object)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].kind, resource->kind) == 0 &&
            strcmp(kinds[i].group, resource->group) == 0 &&
            strcmp(kinds[i].version, resource->version) == 0) {
            run(arena, kinds[i].table, object);
            return;
        }
    }
}
