/* Validation: what is refused, in upstream's words, and what is not. More of pods, Deployments,
 * Secrets and metadata is in test_golden.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kube/check/internal.h"

static struct arena arena = ARENA_INIT;

static int reset(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const struct kube_resource *resource(const char *kind)
{
    for (size_t i = 0; i < kube_resource_count(); i++) {
        const struct kube_resource *of = kube_resource_at(i);

        if (strcmp(of->kind, kind) == 0 && strcmp(of->group, "events.k8s.io") != 0)
            return of;
    }
    fail_msg("no kind %s", kind);
    return NULL;
}

/* The object with what every object has, its defaults set. */
static struct json *object_of(const struct kube_resource *of, const char *text, bool created)
{
    struct kube_status status = {0};
    struct json *object = NULL, *metadata;
    struct json_error error;

    if (json_parse(&arena, slice_str(text), NULL, &object, &error) != 0)
        fail_msg("%s: %s", text, error.text);
    metadata = json_set_object(&arena, object, "metadata");
    if (json_get(metadata, "name") == NULL)
        (void)json_set(metadata, "name", json_new_cstring(&arena, "n"));
    (void)json_set(metadata, "uid", json_new_cstring(&arena, "u-1"));
    if ((of->flags & KUBE_NAMESPACED) != 0)
        (void)json_set(metadata, "namespace", json_new_cstring(&arena, "default"));
    if (kube_normalise(&arena, of, object, NULL, &object, &status) != 0)
        fail_msg("%s: %s", text, status.message);
    kube_defaults(&arena, of, object);
    if (created)
        kube_prepare(&arena, of, NULL, object);
    return object;
}

/* What is said of the object behind "is invalid: ", "" if it is taken. old NULL: a create. */
static const char *verdict(const char *kind, const char *old, const char *text)
{
    const struct kube_resource *of = resource(kind);
    struct kube_status status = {0};
    const struct json *before = old == NULL ? NULL : object_of(of, old, false);
    const char *said;

    if (kube_validate(&arena, of, before, object_of(of, text, old == NULL), &status) == 0)
        return "";
    assert_int_equal(status.code, 422);
    assert_non_null(status.causes);
    said = strstr(status.message, "is invalid: ");
    assert_non_null(said);
    return said + strlen("is invalid: ");
}

struct judged {
    const char *kind, *old, *text, *said;
};

#define CONTAINER "{\"name\":\"c\",\"image\":\"i\""
#define TEMPLATE                                                                                   \
    "\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[" CONTAINER   \
    "}]}}"
#define SELECTOR "\"selector\":{\"matchLabels\":{\"a\":\"b\"}}"
#define LABEL_TEXT                                                                                 \
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "   \
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "     \
    "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
#define PERCENT_TEXT                                                                               \
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "   \
    "'93%', regex used for validation is '[0-9]+%')"

/* clang-format off */
static const struct judged cases[] = {
    /* metadata */
    {"ConfigMap", NULL, "{\"metadata\":{\"generateName\":\"Ab-\",\"name\":\"a\"}}",
     "metadata.generateName: Invalid value: \"Ab-\": a lowercase RFC 1123 subdomain must consist of "
     "lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
     "character (e.g. 'example.com', regex used for validation is "
     "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
    {"ConfigMap", NULL, "{\"metadata\":{\"generateName\":\"a-\",\"name\":\"a-x\"}}", ""},
    {"Namespace", NULL, "{\"metadata\":{\"name\":\"a.b\"}}",
     "metadata.name: Invalid value: \"a.b\": " LABEL_TEXT},
    {"Role", NULL, "{\"metadata\":{\"name\":\"system:a.B\"}}", ""},
    {"Role", NULL, "{\"metadata\":{\"name\":\"a%b\"}}",
     "metadata.name: Invalid value: \"a%b\": may not contain '%'"},
    {"ConfigMap", NULL, "{\"metadata\":{\"labels\":{\"a.b/c\":\"d\",\"e\":\"\"}}}", ""},
    {"ConfigMap", NULL, "{\"metadata\":{\"labels\":{\"/c\":\"d\"}}}",
     "metadata.labels: Invalid value: \"/c\": prefix part must be non-empty"},
    {"ConfigMap", NULL, "{\"metadata\":{\"annotations\":{\"A.b/C\":\"any thing\"}}}", ""},
    {"ConfigMap", NULL, "{\"metadata\":{\"finalizers\":[\"mine\"]}}",
     "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name "
     "nor is it fully qualified"},
    {"ConfigMap", NULL, "{\"metadata\":{\"finalizers\":[\"orphan\",\"foregroundDeletion\"]}}",
     "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and "
     "foregroundDeletion cannot be both set"},
    {"ConfigMap", NULL,
     "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\","
     "\"uid\":\"\"}]}}",
     "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty"},
    {"Node", NULL, "{\"metadata\":{\"namespace\":\"x\"}}",
     "metadata.namespace: Forbidden: not allowed on this type"},
    {"ConfigMap", "{\"metadata\":{\"creationTimestamp\":\"2026-01-01T00:00:00Z\"}}",
     "{\"metadata\":{\"creationTimestamp\":\"2026-01-01T00:00:01Z\"}}",
     "metadata.creationTimestamp: Invalid value: \"2026-01-01T00:00:01Z\": field is immutable"},

    /* what was stored by other rules can be labelled, and has to be right when it is changed */
    {"Deployment", "{\"spec\":{}}",
     "{\"metadata\":{\"labels\":{\"x\":\"y\"}},\"spec\":{},\"status\":{\"replicas\":1}}", ""},
    {"Deployment", "{\"spec\":{\"selector\":{}," TEMPLATE "}}",
     "{\"spec\":{\"replicas\":2,\"selector\":{}," TEMPLATE "}}",
     "spec.selector: Invalid value: {}: empty selector is invalid for deployment"},

    /* config maps and secrets */
    {"ConfigMap", NULL, "{\"data\":{\"a b\":\"\"}}",
     "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric "
     "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for "
     "validation is '[-._a-zA-Z0-9]+')"},
    {"ConfigMap", NULL, "{\"data\":{\"a\":\"\"},\"binaryData\":{\"a\":\"\"}}",
     "data[a]: Invalid value: \"a\": duplicate of key present in binaryData"},
    {"ConfigMap", "{\"immutable\":true}", "{}",
     "immutable: Forbidden: field is immutable when `immutable` is set"},
    {"ConfigMap", "{\"immutable\":true,\"data\":{\"a\":\"b\"}}",
     "{\"immutable\":true,\"data\":{\"a\":\"b\"},\"metadata\":{\"labels\":{\"x\":\"y\"}}}", ""},
    {"Secret", NULL, "{\"type\":\"kubernetes.io/tls\",\"data\":{\"tls.crt\":\"\"}}",
     "data[tls.key]: Required value"},

    /* pods */
    {"Pod", NULL, "{\"spec\":{\"containers\":[" CONTAINER "}," CONTAINER "}]}}",
     "spec.containers[1].name: Duplicate value: \"c\""},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER "}],\"initContainers\":[" CONTAINER "}]}}",
     "spec.initContainers[0].name: Duplicate value: \"c\""},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER ",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":"
     "\"/a\"}]}]}}",
     "spec.containers[0].volumeMounts[0].name: Not found: \"v\""},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER ",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":"
     "\"/a\"},{\"name\":\"v\",\"mountPath\":\"/a\"}]}],\"volumes\":[{\"name\":\"v\"}]}}",
     "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique"},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER "}],\"volumes\":[{\"name\":\"v\",\"emptyDir\":{},"
     "\"secret\":{\"secretName\":\"s\"}}]}}",
     "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type"},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER "}],\"volumes\":[{\"name\":\"v\",\"configMap\":{}}]}}",
     "spec.volumes[0].configMap.name: Required value"},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER ",\"ports\":[{\"containerPort\":0,\"name\":\"A_\"}]}]}}",
     "[spec.containers[0].ports[0].name: Invalid value: \"A_\": must contain only alphanumeric "
     "characters (a-z, 0-9), and hyphens (-), spec.containers[0].ports[0].name: Invalid value: "
     "\"A_\": must contain at least one letter (a-z), spec.containers[0].ports[0].containerPort: "
     "Required value]"},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER ",\"env\":[{\"name\":\"a=b\"}]}]}}",
     "spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name "
     "must consist only of printable ASCII characters other than '='"},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER ",\"env\":[{\"name\":\"a\",\"valueFrom\":{}}]}]}}",
     "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, "
     "`resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER ",\"resources\":{\"requests\":{\"x.io/gpu\":\"1\"}}}]}}",
     "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable "
     "resources"},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER ",\"resources\":{\"limits\":{\"x.io/gpu\":\"2\"},"
     "\"requests\":{\"x.io/gpu\":\"1\"}}}]}}",
     "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to x.io/gpu limit "
     "of 2"},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER ",\"resources\":{\"limits\":{\"cpu\":\"-1\"}}}]}}",
     "[spec.containers[0].resources.limits[cpu]: Invalid value: \"-1\": must be greater than or "
     "equal to 0, spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be "
     "greater than or equal to 0]"},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER ",\"livenessProbe\":{\"successThreshold\":2,\"exec\":"
     "{\"command\":[\"a\"]}}}]}}",
     "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"},
    {"Pod", NULL, "{\"spec\":{\"containers\":[" CONTAINER ",\"readinessProbe\":{}}]}}",
     "spec.containers[0].readinessProbe: Required value: must specify a handler type"},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER "}],\"tolerations\":[{\"key\":\"a\",\"operator\":"
     "\"Exists\",\"value\":\"x\"}]}}",
     "spec.tolerations[0].operator: Invalid value: {\"key\":\"a\",\"operator\":\"Exists\","
     "\"value\":\"x\"}: value must be empty when `operator` is 'Exists'"},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER "}],\"tolerations\":[{\"operator\":\"Exists\"},"
     "{\"key\":\"a\",\"tolerationSeconds\":5}]}}",
     "spec.tolerations[1].effect: Invalid value: \"\": effect must be 'NoExecute' when "
     "`tolerationSeconds` is set"},
    {"Pod", NULL,
     "{\"spec\":{\"containers\":[" CONTAINER "}],\"activeDeadlineSeconds\":0}}",
     "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"},
    {"Pod", "{\"spec\":{\"containers\":[" CONTAINER "}]}}",
     "{\"spec\":{\"containers\":[" CONTAINER "}],\"tolerations\":[{\"operator\":\"Exists\"}],"
     "\"activeDeadlineSeconds\":5}}", ""},
    {"Pod", "{\"spec\":{\"containers\":[" CONTAINER "}],\"activeDeadlineSeconds\":5}}",
     "{\"spec\":{\"containers\":[" CONTAINER "}],\"activeDeadlineSeconds\":6}}",
     "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"},

    /* workloads */
    {"Deployment", NULL, "{\"spec\":{" SELECTOR "," TEMPLATE "}}", ""},
    {"Deployment", NULL, "{\"spec\":{" TEMPLATE "}}", "spec.selector: Required value"},
    {"Deployment", NULL, "{\"spec\":{\"selector\":{}," TEMPLATE "}}",
     "spec.selector: Invalid value: {}: empty selector is invalid for deployment"},
    {"Deployment", NULL, "{\"spec\":{\"replicas\":-1," SELECTOR "," TEMPLATE "}}",
     "spec.replicas: Invalid value: -1: must be greater than or equal to 0"},
    {"Deployment", NULL,
     "{\"spec\":{\"strategy\":{\"rollingUpdate\":{\"maxSurge\":0,\"maxUnavailable\":\"0%\"}},"
     SELECTOR "," TEMPLATE "}}",
     "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when "
     "`maxSurge` is 0"},
    {"Deployment", NULL,
     "{\"spec\":{\"strategy\":{\"rollingUpdate\":{\"maxSurge\":\"x\"}}," SELECTOR "," TEMPLATE "}}",
     "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": " PERCENT_TEXT},
    {"Deployment", NULL, "{\"spec\":{\"minReadySeconds\":600," SELECTOR "," TEMPLATE "}}",
     "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"},
    {"Deployment", NULL,
     "{\"spec\":{\"selector\":{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]},"
     TEMPLATE "}}",
     "[spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` "
     "is 'In' or 'NotIn', spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` "
     "does not match template `labels`]"},
    {"StatefulSet",
     "{\"spec\":{\"serviceName\":\"a\"," SELECTOR "," TEMPLATE "}}",
     "{\"spec\":{\"serviceName\":\"b\"," SELECTOR "," TEMPLATE "}}",
     "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', "
     "'template', 'updateStrategy', 'revisionHistoryLimit', "
     "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"},
    {"StatefulSet", NULL,
     "{\"spec\":{" SELECTOR ",\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":"
     "{\"containers\":[" CONTAINER ",\"volumeMounts\":[{\"name\":\"claimed\",\"mountPath\":"
     "\"/a\"}]}]}}}}", ""},
    {"ReplicationController", NULL, "{\"spec\":{\"selector\":{\"x\":\"y\"}," TEMPLATE "}}",
     "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match "
     "template `labels`"},
    {"Job", NULL, "{\"spec\":{" TEMPLATE "}}",
     "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""},
    {"CronJob", NULL,
     "{\"spec\":{\"schedule\":\"* * *\",\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":"
     "{\"restartPolicy\":\"Never\",\"containers\":[" CONTAINER "}]}}}}}}",
     "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]"},
    {"HorizontalPodAutoscaler", NULL, "{\"spec\":{\"minReplicas\":3,\"maxReplicas\":2,"
     "\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\"}}}",
     "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`"},
    {"PodDisruptionBudget", NULL, "{\"spec\":{\"minAvailable\":1,\"maxUnavailable\":1}}",
     "spec: Invalid value: {\"minAvailable\":1,\"maxUnavailable\":1}: minAvailable and "
     "maxUnavailable cannot be both set"},

    /* services and networks */
    {"Service", NULL, "{\"spec\":{\"clusterIP\":\"None\"}}", ""},
    {"Service", NULL, "{\"spec\":{\"type\":\"ExternalName\"}}", "spec.externalName: Required value"},
    {"Service", NULL, "{\"spec\":{\"ports\":[{\"port\":1},{\"port\":2}]}}",
     "[spec.ports[0].name: Required value, spec.ports[1].name: Required value]"},
    {"Service", NULL, "{\"spec\":{\"type\":\"X\",\"ports\":[{\"port\":1}]}}",
     "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", "
     "\"LoadBalancer\", \"NodePort\""},
    {"Service", NULL, "{\"metadata\":{\"name\":\"1a\"},\"spec\":{\"ports\":[{\"port\":70000}]}}",
     "[metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist of lower case "
     "alphanumeric characters or '-', start with an alphabetic character, and end with an "
     "alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
     "'[a-z]([-a-z0-9]*[a-z0-9])?'), spec.ports[0].port: Invalid value: 70000: must be between 1 "
     "and 65535, inclusive, spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and "
     "65535, inclusive]"},
    {"Ingress", NULL, "{\"spec\":{}}",
     "spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified"},
    {"Ingress", NULL,
     "{\"spec\":{\"rules\":[{\"http\":{\"paths\":[{\"backend\":{\"service\":{\"name\":\"s\"}}}]}}]}}",
     "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"},
    {"EndpointSlice", "{\"addressType\":\"IPv4\"}", "{\"addressType\":\"IPv6\"}",
     "addressType: Invalid value: \"IPv6\": field is immutable"},

    /* access */
    {"Role", NULL, "{\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]}",
     "rules[0].verbs: Required value: verbs must contain at least one value"},
    {"ClusterRole", NULL, "{\"rules\":[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/x\"]}]}", ""},
    {"RoleBinding", NULL,
     "{\"roleRef\":{\"kind\":\"X\",\"name\":\"r\"},\"subjects\":[{\"kind\":\"ServiceAccount\","
     "\"name\":\"s\"}]}",
     "[roleRef.kind: Unsupported value: \"X\": supported values: \"ClusterRole\", \"Role\", "
     "subjects[0].namespace: Required value]"},
    {"RoleBinding", "{\"roleRef\":{\"kind\":\"Role\",\"name\":\"r\"}}",
     "{\"roleRef\":{\"kind\":\"Role\",\"name\":\"zz\"}}",
     "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\","
     "\"Name\":\"zz\"}: cannot change roleRef"},

    /* storage and the rest */
    {"PersistentVolumeClaim", NULL, "{\"spec\":{}}",
     "[spec.accessModes: Required value: at least 1 access mode is required, "
     "spec.resources[storage]: Required value]"},
    {"StorageClass", "{\"provisioner\":\"a\"}",
     "{\"provisioner\":\"a\",\"parameters\":{\"x\":\"y\"}}",
     "parameters: Forbidden: updates to parameters are forbidden."},
    {"Node", NULL,
     "{\"spec\":{\"taints\":[{\"key\":\"a\",\"effect\":\"NoSchedule\"},{\"key\":\"a\",\"effect\":"
     "\"NoSchedule\"}]}}",
     "spec.taints[1]: Duplicate value: {\"key\":\"a\",\"effect\":\"NoSchedule\"}"},
    {"Lease", NULL, "{\"spec\":{\"leaseDurationSeconds\":0}}",
     "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"},
    {"PriorityClass", NULL, "{\"value\":2000000000}",
     "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"},
    {"PriorityClass", "{\"value\":1}", "{\"value\":2}",
     "value: Forbidden: may not be changed in an update."},
    {"Event", NULL, "{\"involvedObject\":{\"namespace\":\"other\"}}",
     "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"},
    {"Event", NULL, "{}", ""},
    {"CustomResourceDefinition", NULL,
     "{\"metadata\":{\"name\":\"as.x.io\"},\"spec\":{\"group\":\"x.io\",\"scope\":\"Namespaced\","
     "\"names\":{\"plural\":\"as\",\"kind\":\"A\"},\"versions\":[{\"name\":\"v1\",\"served\":true,"
     "\"storage\":true}]}}",
     "spec.versions[0].schema.openAPIV3Schema: Required value"},
    {"CustomResourceDefinition", NULL,
     "{\"metadata\":{\"name\":\"foo\"},\"spec\":{\"group\":\"x.io\",\"scope\":\"Namespaced\","
     "\"names\":{\"plural\":\"as\",\"kind\":\"A\"},\"versions\":[{\"name\":\"v1\",\"served\":true,"
     "\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}}]}}",
     "metadata.name: Invalid value: \"foo\": must be spec.names.plural+\".\"+spec.group"},
};
/* clang-format on */

static void objects_are_judged_in_upstreams_words(void **state)
{
    unsigned failed = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *said = verdict(cases[i].kind, cases[i].old, cases[i].text);

        if (strcmp(said, cases[i].said) == 0)
            continue;
        print_message("%s %s:\n  %s\n  instead of\n  %s\n", cases[i].kind, cases[i].text, said,
                      cases[i].said);
        failed++;
    }
    assert_int_equal(failed, 0);
}

static void more_causes_than_anyone_reads_are_dropped(void **state)
{
    struct kube_issues issues = {NULL, NULL, 0};
    struct kube_status status = {0};

    (void)state;
    for (int i = 0; i < 3 * KUBE_ISSUES_MAX; i++)
        kube_issues_add(&issues, &arena, "Invalid", "f", "%d", i);
    assert_int_equal(issues.count, KUBE_ISSUES_MAX);
    assert_int_equal(kube_status_invalid(&status, &arena, "", "Pod", slice_str("p"), &issues), 422);
    assert_non_null(strstr(status.message, "f: 0, f: 1, "));
    assert_non_null(strstr(status.message, "f: 999]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(objects_are_judged_in_upstreams_words, reset),
        cmocka_unit_test_teardown(more_causes_than_anyone_reads_are_dropped, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
