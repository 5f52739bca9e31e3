/* Defaults and preparation, kind by kind. Pods, Deployments, Jobs and Services are in
 * test_golden.c. */
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

static struct json *parsed(const char *text)
{
    struct json *value = NULL;
    struct json_error error;

    if (json_parse(&arena, slice_str(text), NULL, &value, &error) != 0)
        fail_msg("%s: %s", text, error.text);
    return value;
}

static const struct kube_resource *resource(const char *group, const char *version,
                                            const char *kind)
{
    const struct kube_resource *found =
        kube_resource_of_kind(slice_str(group), slice_str(version), slice_str(kind));

    assert_non_null(found);
    return found;
}

/* What path holds after defaults, or after defaults and preparation of a create. */
static const char *made(const struct kube_resource *of, const char *text, const char *path,
                        bool prepared)
{
    struct kube_status status = {0};
    struct json *object = NULL;

    if (kube_normalise(&arena, of, parsed(text), NULL, &object, &status) != 0)
        fail_msg("%s", status.message);
    kube_defaults(&arena, of, object);
    if (prepared)
        kube_prepare(&arena, of, NULL, object);
    assert_int_equal(kube_normalise(&arena, of, object, NULL, &object, &status), 0);
    return check__json(&arena, json_at(object, path));
}

struct defaulted {
    const char *group, *version, *kind, *in, *path, *out;
};

/* clang-format off */
static const struct defaulted cases[] = {
    {"apps", "v1", "DaemonSet", "{\"spec\":{}}", "spec.updateStrategy",
     "{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxUnavailable\":1,\"maxSurge\":0}}"},
    {"apps", "v1", "DaemonSet", "{\"spec\":{\"updateStrategy\":{\"type\":\"OnDelete\"}}}",
     "spec.updateStrategy", "{\"type\":\"OnDelete\"}"},
    {"apps", "v1", "StatefulSet",
     "{\"spec\":{\"volumeClaimTemplates\":[{\"metadata\":{\"name\":\"d\"}}]}}",
     "spec.volumeClaimTemplates",
     "[{\"kind\":\"PersistentVolumeClaim\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"d\"},"
     "\"spec\":{\"resources\":{},\"volumeMode\":\"Filesystem\"},\"status\":{\"phase\":\"Pending\"}}]"},
    {"apps", "v1", "StatefulSet", "{}", "spec.persistentVolumeClaimRetentionPolicy",
     "{\"whenDeleted\":\"Retain\",\"whenScaled\":\"Retain\"}"},
    {"apps", "v1", "StatefulSet", "{}", "spec.updateStrategy",
     "{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"partition\":0}}"},
    {"apps", "v1", "ReplicaSet", "{}", "spec.replicas", "1"},
    {"apps", "v1", "ReplicaSet", "{\"spec\":{\"replicas\":0}}", "spec.replicas", "0"},
    {"apps", "v1", "Deployment", "{\"spec\":{\"strategy\":{\"type\":\"Recreate\"}}}",
     "spec.strategy", "{\"type\":\"Recreate\"}"},
    {"apps", "v1", "Deployment",
     "{\"spec\":{\"strategy\":{\"rollingUpdate\":{\"maxSurge\":0}}}}", "spec.strategy",
     "{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxUnavailable\":\"25%\",\"maxSurge\":0}}"},
    {"", "v1", "ReplicationController",
     "{\"spec\":{\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}}}}}", "spec.selector",
     "{\"a\":\"b\"}"},
    {"", "v1", "ReplicationController",
     "{\"spec\":{\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}}}}}", "metadata.labels",
     "{\"a\":\"b\"}"},
    {"batch", "v1", "CronJob", "{}", "spec",
     "{\"schedule\":\"\",\"concurrencyPolicy\":\"Allow\",\"suspend\":false,\"jobTemplate\":"
     "{\"metadata\":{},\"spec\":{\"template\":{\"metadata\":{},\"spec\":{\"containers\":null,"
     "\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":"
     "\"ClusterFirst\",\"securityContext\":{},\"schedulerName\":\"default-scheduler\"}}}},"
     "\"successfulJobsHistoryLimit\":3,\"failedJobsHistoryLimit\":1}"},
    {"batch", "v1", "Job", "{\"spec\":{\"parallelism\":3}}", "spec.completions", "null"},
    {"autoscaling", "v2", "HorizontalPodAutoscaler", "{}", "spec.metrics",
     "[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":"
     "\"Utilization\",\"averageUtilization\":80}}}]"},
    {"autoscaling", "v2", "HorizontalPodAutoscaler",
     "{\"spec\":{\"behavior\":{\"scaleDown\":{\"stabilizationWindowSeconds\":9}}}}",
     "spec.behavior",
     "{\"scaleUp\":{\"stabilizationWindowSeconds\":0,\"selectPolicy\":\"Max\",\"policies\":"
     "[{\"type\":\"Pods\",\"value\":4,\"periodSeconds\":15},{\"type\":\"Percent\",\"value\":100,"
     "\"periodSeconds\":15}]},\"scaleDown\":{\"stabilizationWindowSeconds\":9,\"selectPolicy\":"
     "\"Max\",\"policies\":[{\"type\":\"Percent\",\"value\":100,\"periodSeconds\":15}]}}"},
    {"autoscaling", "v1", "HorizontalPodAutoscaler", "{}", "spec.minReplicas", "1"},
    {"", "v1", "Service",
     "{\"spec\":{\"type\":\"LoadBalancer\",\"sessionAffinity\":\"ClientIP\",\"ports\":"
     "[{\"port\":80}]}}", "spec",
     "{\"ports\":[{\"protocol\":\"TCP\",\"port\":80,\"targetPort\":80}],\"type\":\"LoadBalancer\","
     "\"sessionAffinity\":\"ClientIP\",\"externalTrafficPolicy\":\"Cluster\","
     "\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":10800}},"
     "\"allocateLoadBalancerNodePorts\":true,\"internalTrafficPolicy\":\"Cluster\"}"},
    {"", "v1", "Service", "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"a.b\"}}",
     "spec", "{\"type\":\"ExternalName\",\"sessionAffinity\":\"None\",\"externalName\":\"a.b\"}"},
    {"", "v1", "Endpoints",
     "{\"subsets\":[{\"ports\":[{\"port\":1},{\"port\":2,\"protocol\":\"UDP\"}]}]}", "subsets",
     "[{\"ports\":[{\"port\":1,\"protocol\":\"TCP\"},{\"port\":2,\"protocol\":\"UDP\"}]}]"},
    {"discovery.k8s.io", "v1", "EndpointSlice", "{\"ports\":[{\"port\":1}]}", "ports",
     "[{\"name\":\"\",\"protocol\":\"TCP\",\"port\":1}]"},
    {"networking.k8s.io", "v1", "NetworkPolicy", "{\"spec\":{\"egress\":[{}]}}",
     "spec.policyTypes", "[\"Ingress\",\"Egress\"]"},
    {"rbac.authorization.k8s.io", "v1", "RoleBinding",
     "{\"roleRef\":{\"kind\":\"Role\",\"name\":\"r\"},\"subjects\":[{\"kind\":\"User\","
     "\"name\":\"u\"},{\"kind\":\"ServiceAccount\",\"name\":\"s\",\"namespace\":\"n\"}]}",
     "subjects",
     "[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"u\"},"
     "{\"kind\":\"ServiceAccount\",\"name\":\"s\",\"namespace\":\"n\"}]"},
    {"rbac.authorization.k8s.io", "v1", "RoleBinding",
     "{\"roleRef\":{\"kind\":\"Role\",\"name\":\"r\"}}", "roleRef.apiGroup",
     "\"rbac.authorization.k8s.io\""},
    {"storage.k8s.io", "v1", "StorageClass", "{\"provisioner\":\"p\"}", "volumeBindingMode",
     "\"Immediate\""},
    {"storage.k8s.io", "v1", "CSIDriver", "{}", "spec.volumeLifecycleModes", "[\"Persistent\"]"},
    {"", "v1", "LimitRange",
     "{\"spec\":{\"limits\":[{\"type\":\"Container\",\"max\":{\"cpu\":\"2\"},\"min\":"
     "{\"memory\":\"1Mi\"}}]}}", "spec.limits",
     "[{\"type\":\"Container\",\"max\":{\"cpu\":\"2\"},\"min\":{\"memory\":\"1Mi\"},\"default\":"
     "{\"cpu\":\"2\"},\"defaultRequest\":{\"cpu\":\"2\",\"memory\":\"1Mi\"}}]"},
    {"", "v1", "Node", "{\"status\":{\"capacity\":{\"cpu\":\"1\"}}}", "status.allocatable",
     "{\"cpu\":\"1\"}"},
    {"", "v1", "PersistentVolume", "{\"spec\":{\"hostPath\":{\"path\":\"/x\"}}}", "spec",
     "{\"hostPath\":{\"path\":\"/x\",\"type\":\"\"},\"persistentVolumeReclaimPolicy\":\"Retain\","
     "\"volumeMode\":\"Filesystem\"}"},
    {"apiextensions.k8s.io", "v1", "CustomResourceDefinition",
     "{\"spec\":{\"names\":{\"kind\":\"FooBar\",\"plural\":\"foobars\"}}}", "spec.names",
     "{\"plural\":\"foobars\",\"singular\":\"foobar\",\"kind\":\"FooBar\",\"listKind\":"
     "\"FooBarList\"}"},
    {"admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration",
     "{\"webhooks\":[{\"name\":\"a\",\"clientConfig\":{\"service\":{\"name\":\"s\","
     "\"namespace\":\"n\"}},\"rules\":[{\"operations\":[\"*\"]}]}]}", "webhooks",
     "[{\"name\":\"a\",\"clientConfig\":{\"service\":{\"namespace\":\"n\",\"name\":\"s\","
     "\"port\":443}},\"rules\":[{\"operations\":[\"*\"],\"scope\":\"*\"}],\"failurePolicy\":"
     "\"Fail\",\"matchPolicy\":\"Equivalent\",\"namespaceSelector\":{},\"objectSelector\":{},"
     "\"sideEffects\":null,\"timeoutSeconds\":10,\"admissionReviewVersions\":null,"
     "\"reinvocationPolicy\":\"Never\"}]"},
    {"flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "{}", "spec.matchingPrecedence", "1000"},
    /* containers */
    {"", "v1", "Pod",
     "{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"r:5000/a\",\"livenessProbe\":"
     "{\"httpGet\":{\"port\":80}},\"readinessProbe\":{\"grpc\":{\"port\":1}},\"lifecycle\":"
     "{\"preStop\":{\"httpGet\":{\"port\":\"p\"}}},\"env\":[{\"name\":\"E\",\"valueFrom\":"
     "{\"fieldRef\":{\"fieldPath\":\"a\"}}}]}]}}", "spec.containers",
     "[{\"name\":\"c\",\"image\":\"r:5000/a\",\"env\":[{\"name\":\"E\",\"valueFrom\":{\"fieldRef\":"
     "{\"apiVersion\":\"v1\",\"fieldPath\":\"a\"}}}],\"resources\":{},\"livenessProbe\":"
     "{\"httpGet\":{\"path\":\"/\",\"port\":80,\"scheme\":\"HTTP\"},\"timeoutSeconds\":1,"
     "\"periodSeconds\":10,\"successThreshold\":1,\"failureThreshold\":3},\"readinessProbe\":"
     "{\"grpc\":{\"port\":1,\"service\":\"\"},\"timeoutSeconds\":1,\"periodSeconds\":10,"
     "\"successThreshold\":1,\"failureThreshold\":3},\"lifecycle\":{\"preStop\":{\"httpGet\":"
     "{\"path\":\"/\",\"port\":\"p\",\"scheme\":\"HTTP\"}}},\"terminationMessagePath\":"
     "\"/dev/termination-log\",\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":"
     "\"Always\"}]"},
    {"", "v1", "Pod",
     "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},"
     "\"requests\":{\"cpu\":\"500m\"}}}]}}", "spec.containers",
     "[{\"name\":\"\",\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":"
     "{\"cpu\":\"500m\",\"memory\":\"1Gi\"}},\"terminationMessagePath\":\"/dev/termination-log\","
     "\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"Always\"}]"},
    {"", "v1", "Pod",
     "{\"spec\":{\"volumes\":[{\"name\":\"a\"},{\"name\":\"b\",\"secret\":{}},{\"name\":\"c\","
     "\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"t\"}}]}},{\"name\":\"d\","
     "\"hostPath\":{\"path\":\"/\"}}]}}", "spec.volumes",
     "[{\"name\":\"a\",\"emptyDir\":{}},{\"name\":\"b\",\"secret\":{\"defaultMode\":420}},"
     "{\"name\":\"c\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"expirationSeconds\":"
     "3600,\"path\":\"t\"}}],\"defaultMode\":420}},{\"name\":\"d\",\"hostPath\":{\"path\":\"/\","
     "\"type\":\"\"}}]"},
    {"", "v1", "Pod",
     "{\"spec\":{\"hostNetwork\":true,\"containers\":[{\"name\":\"c\",\"ports\":"
     "[{\"containerPort\":80}]}]}}", "spec.containers",
     "[{\"name\":\"c\",\"ports\":[{\"hostPort\":80,\"containerPort\":80,\"protocol\":\"TCP\"}],"
     "\"resources\":{},\"terminationMessagePath\":\"/dev/termination-log\","
     "\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"Always\"}]"},
    {"apps", "v1", "ReplicaSet",
     "{\"spec\":{\"template\":{\"spec\":{\"hostNetwork\":true,\"containers\":[{\"name\":\"c\","
     "\"image\":\"i:1\",\"ports\":[{\"containerPort\":80}]}]}}}}", "spec.template.spec.containers",
     "[{\"name\":\"c\",\"image\":\"i:1\",\"ports\":[{\"containerPort\":80,\"protocol\":\"TCP\"}],"
     "\"resources\":{},\"terminationMessagePath\":\"/dev/termination-log\","
     "\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"IfNotPresent\"}]"},
    {"", "v1", "Pod", "{\"spec\":{\"serviceAccount\":\"sa\"}}", "spec.serviceAccountName",
     "\"sa\""},
    {"", "v1", "Pod", "{\"status\":{\"podIP\":\"1.2.3.4\",\"podIPs\":[{\"ip\":\"::1\"}]}}",
     "status.podIPs", "[{\"ip\":\"1.2.3.4\"}]"},
};

static const struct defaulted created[] = {
    {"", "v1", "Pod",
     "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}]},"
     "\"status\":{\"phase\":\"Running\"}}", "status",
     "{\"phase\":\"Pending\",\"qosClass\":\"Guaranteed\"}"},
    {"", "v1", "Pod",
     "{\"spec\":{\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}",
     "status.qosClass", "\"Burstable\""},
    {"", "v1", "Pod", "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"x.io/gpu\":1}}}]}}",
     "status.qosClass", "\"BestEffort\""},
    {"", "v1", "Pod", "{\"spec\":{\"tolerations\":[{\"operator\":\"Exists\"}]}}",
     "spec.tolerations", "[{\"operator\":\"Exists\"}]"},
    {"", "v1", "Pod",
     "{\"spec\":{\"tolerations\":[{\"key\":\"node.kubernetes.io/not-ready\",\"effect\":"
     "\"NoExecute\"}]}}", "spec.tolerations",
     "[{\"key\":\"node.kubernetes.io/not-ready\",\"effect\":\"NoExecute\"},{\"key\":"
     "\"node.kubernetes.io/unreachable\",\"operator\":\"Exists\",\"effect\":\"NoExecute\","
     "\"tolerationSeconds\":300}]"},
    {"", "v1", "Pod", "{\"spec\":{\"priorityClassName\":\"system-node-critical\"}}",
     "spec.priority", "2000001000"},
    {"", "v1", "Pod", "{\"spec\":{\"priorityClassName\":\"mine\"}}", "spec.priority", "null"},
    {"apps", "v1", "Deployment", "{\"status\":{\"replicas\":3}}", "status", "{}"},
    {"", "v1", "Node", "{\"status\":{\"phase\":\"x\"}}", "status.phase", "\"x\""},
    {"", "v1", "PersistentVolumeClaim", "{\"status\":{\"phase\":\"Bound\"}}", "status",
     "{\"phase\":\"Pending\"}"},
    {"", "v1", "Secret", "{\"stringData\":{\"a\":\"me\"},\"data\":{\"a\":\"AAE=\",\"b\":\"AAE=\"}}",
     "data", "{\"a\":\"bWU=\",\"b\":\"AAE=\"}"},
    {"batch", "v1", "Job",
     "{\"metadata\":{\"name\":\"j\",\"uid\":\"u\"},\"spec\":{\"manualSelector\":true}}",
     "spec.selector", "null"},
    {"batch", "v1", "Job",
     "{\"metadata\":{\"name\":\"j\",\"uid\":\"u\",\"labels\":{\"a\":\"b\"}},\"spec\":{}}",
     "metadata.labels", "{\"a\":\"b\"}"},
    {"apiextensions.k8s.io", "v1", "CustomResourceDefinition",
     "{\"spec\":{\"versions\":[{\"name\":\"v1\"},{\"name\":\"v2\",\"storage\":true}]}}",
     "status.storedVersions", "[\"v2\"]"},
    {"", "v1", "Service", "{\"spec\":{\"clusterIP\":\"fd00::1\"}}", "spec.ipFamilies",
     "[\"IPv6\"]"},
};
/* clang-format on */

static void absent_fields_get_upstreams_defaults(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct defaulted *one = &cases[i];

        assert_string_equal(
            made(resource(one->group, one->version, one->kind), one->in, one->path, false),
            one->out);
    }
}

static void creates_are_prepared(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(created); i++) {
        const struct defaulted *one = &created[i];

        assert_string_equal(
            made(resource(one->group, one->version, one->kind), one->in, one->path, true),
            one->out);
    }
}

/* kubectl apply sends the tolerations of the manifest each time; the pod must not lose those that
 * admission added. A pod of a store that knew no such admission gets none. */
static void an_update_of_a_pod_gets_its_default_tolerations_again(void **state)
{
    static const char bare[] = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{"
                               "\"name\":\"c\",\"image\":\"i\"}]}}";
    const struct kube_resource *pod = resource("", "v1", "Pod");
    struct json *old = parsed(bare), *again = parsed(bare);

    (void)state;
    kube_prepare(&arena, pod, parsed(bare), again);
    assert_null(json_at(again, "spec.tolerations"));
    assert_null(json_at(again, "spec.priority"));
    kube_prepare(&arena, pod, NULL, old);
    kube_prepare(&arena, pod, old, again);
    assert_int_equal(json_at(again, "spec.tolerations")->count, 2);
    assert_true(json_same(json_get(again, "spec"), json_get(old, "spec")));
}

/* Method: defaults of what has its defaults, for every kind. */
static void defaults_of_defaulted_objects_change_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < kube_resource_count(); i++) {
        const struct kube_resource *of = kube_resource_at(i);
        struct kube_status status = {0};
        struct json *object = NULL, *again;

        assert_int_equal(kube_normalise(&arena, of, parsed("{\"metadata\":{\"name\":\"n\"}}"), NULL,
                                        &object, &status),
                         0);
        kube_defaults(&arena, of, object);
        again = json_copy(&arena, object);
        kube_defaults(&arena, of, again);
        assert_string_equal(check__json(&arena, object), check__json(&arena, again));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(absent_fields_get_upstreams_defaults, reset),
        cmocka_unit_test_teardown(creates_are_prepared, reset),
        cmocka_unit_test_teardown(an_update_of_a_pod_gets_its_default_tolerations_again, reset),
        cmocka_unit_test_teardown(defaults_of_defaulted_objects_change_nothing, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
