#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kube/codec/table.h"

/* 2026-01-01T00:10:00Z: ten minutes after the times in the objects below. */
#define NOW_S 1767226200

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

    assert_int_equal(json_parse(&arena, slice_str(text), NULL, &value, NULL), 0);
    return value;
}

static const char *written(const struct json *value)
{
    struct buf buf;
    char *out;

    buf_init(&buf, 1 << 20);
    assert_int_equal(json_write(&buf, value), 0);
    out = arena_calloc(&arena, buf.len + 1);
    memcpy(out, buf.data, buf.len);
    buf_release(&buf);
    /* As people read it. */
    for (char *at = strstr(out, "\\u003"); at != NULL; at = strstr(at, "\\u003")) {
        *at = at[5] == 'c' ? '<' : '>';
        memmove(at + 1, at + 6, strlen(at + 6) + 1);
    }
    return out;
}

static const char *cells(const char *kind, const char *object)
{
    const struct kube_resource resource = {.group = "", .version = "v1", .kind = kind};
    struct json *row =
        kube_table_row(&arena, &resource, parsed(object), KUBE_INCLUDE_NONE, "v1", NOW_S);
    struct json *columns = kube_table_columns(&arena, &resource);

    assert_int_equal(json_get(row, "cells")->count, columns->count);
    return written(json_get(row, "cells"));
}

static void durations_are_worded_as_upstream(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {-2, "<invalid>"},
        {-1, "0s"},
        {0, "0s"},
        {119, "119s"},
        {120, "2m"},
        {200, "3m20s"},
        {599, "9m59s"},
        {600, "10m"},
        {179 * 60 + 59, "179m"},
        {3 * 3600, "3h"},
        {2 * 3600 + 5 * 60, "125m"},
        {7 * 3600 + 5 * 60, "7h5m"},
        {8 * 3600 + 59, "8h"},
        {47 * 3600, "47h"},
        {48 * 3600, "2d"},
        {99 * 3600, "4d3h"},
        {8 * 86400 + 3600, "8d"},
        {729 * 86400, "729d"},
        {730 * 86400, "2y"},
        {800 * 86400, "2y70d"},
        {(int64_t)8 * 365 * 86400, "8y"},
        {(int64_t)9 * 365 * 86400 + 86400, "9y"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(kube_human_duration(&arena, cases[i].seconds), cases[i].text);
}

/* ---- pods ---- */

#define T0 "\"2026-01-01T00:00:00Z\""
#define TERMINATED(code, more) "{\"terminated\":{\"exitCode\":" #code more "}}"
#define RUNNING "{\"running\":{\"startedAt\":" T0 "}}"
#define WAITING(reason) "{\"waiting\":{\"reason\":\"" reason "\"}}"
#define STATUS(name, ready, restarts, state)                                                       \
    "{\"name\":\"" name "\",\"ready\":" #ready ",\"restartCount\":" #restarts ",\"state\":" state  \
    "}"
#define SPEC1 "{\"containers\":[{\"name\":\"a\"}]}"
#define SPEC2 "{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}"
#define SPEC_INIT                                                                                  \
    "{\"initContainers\":[{\"name\":\"i\"},{\"name\":\"j\"}],\"containers\":[{\"name\":\"a\"}]}"
#define SPEC_SIDECAR                                                                               \
    "{\"initContainers\":[{\"name\":\"s\",\"restartPolicy\":\"Always\"}],"                         \
    "\"containers\":[{\"name\":\"a\"}]}"

/* deleted: more members of metadata. wanted: "<ready> <status> <restarts>". */
static void expect_pod(const char *wanted, const char *spec, const char *deleted,
                       const char *status)
{
    const struct kube_resource resource = {.group = "", .version = "v1", .kind = "Pod"};
    char *text = arena_alloc(&arena, 4096);
    char got[256];
    struct json *row;
    struct json *cell;

    (void)snprintf(text, 4096, "{\"metadata\":{\"name\":\"p\"%s},\"spec\":%s,\"status\":%s}",
                   deleted, spec, status);
    row = kube_table_row(&arena, &resource, parsed(text), KUBE_INCLUDE_NONE, "v1", NOW_S);
    cell = json_get(row, "cells")->first->next;
    (void)snprintf(got, sizeof(got), "%.*s %.*s %.*s", (int)cell->len, cell->text,
                   (int)cell->next->len, cell->next->text, (int)cell->next->next->len,
                   cell->next->next->text);
    assert_string_equal(got, wanted);
}

static void a_pod_says_what_its_containers_wait_for_or_ended_with(void **state)
{
    (void)state;
    expect_pod("0/1 Pending 0", SPEC1, "", "{\"phase\":\"Pending\"}");
    expect_pod("0/1 Evicted 0", SPEC1, "", "{\"phase\":\"Failed\",\"reason\":\"Evicted\"}");
    expect_pod("0/1 SchedulingGated 0", SPEC1, "",
               "{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":"
               "\"False\",\"reason\":\"SchedulingGated\"}]}");
    expect_pod("1/1 Running 0", SPEC1, "",
               "{\"phase\":\"Running\",\"containerStatuses\":[" STATUS("a", true, 0, RUNNING) "]}");
    expect_pod(
        "0/1 Running 3", SPEC1, "",
        "{\"phase\":\"Running\",\"containerStatuses\":[" STATUS("a", false, 3, RUNNING) "]}");
    expect_pod("0/1 CrashLoopBackOff 5", SPEC1, "",
               "{\"phase\":\"Running\",\"containerStatuses\":[" STATUS(
                   "a", false, 5, WAITING("CrashLoopBackOff")) "]}");
    expect_pod("0/1 OOMKilled 0", SPEC1, "",
               "{\"phase\":\"Failed\",\"containerStatuses\":[" STATUS(
                   "a", false, 0, TERMINATED(137, ",\"reason\":\"OOMKilled\"")) "]}");
    expect_pod("0/1 ExitCode:7 0", SPEC1, "",
               "{\"phase\":\"Failed\",\"containerStatuses\":[" STATUS("a", false, 0,
                                                                      TERMINATED(7, "")) "]}");
    expect_pod("0/1 Signal:9 0", SPEC1, "",
               "{\"phase\":\"Failed\",\"containerStatuses\":[" STATUS(
                   "a", false, 0, TERMINATED(0, ",\"signal\":9")) "]}");
}

static void the_first_container_with_a_reason_speaks_for_the_pod(void **state)
{
    (void)state;
    expect_pod(
        "0/2 Error 3", SPEC2, "",
        "{\"phase\":\"Running\",\"containerStatuses\":[" STATUS(
            "a", false, 1,
            TERMINATED(1, ",\"reason\":\"Error\"")) "," STATUS("b", false, 2,
                                                               WAITING("CrashLoopBackOff")) "]}");
    expect_pod(
        "1/2 NotReady 0", SPEC2, "",
        "{\"phase\":\"Running\",\"containerStatuses\":[" STATUS(
            "a", false, 0, TERMINATED(0, ",\"reason\":\"Completed\"")) "," STATUS("b", true, 0,
                                                                                  RUNNING) "]}");
    expect_pod(
        "1/2 Running 0", SPEC2, "",
        "{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],"
        "\"containerStatuses\":[" STATUS(
            "a", false, 0, TERMINATED(0, ",\"reason\":\"Completed\"")) "," STATUS("b", true, 0,
                                                                                  RUNNING) "]}");
}

static void an_init_container_that_is_not_done_holds_the_pod_up(void **state)
{
    static const char initialized[] =
        "\"conditions\":[{\"type\":\"Initialized\",\"status\":\"True\"}],";
    char text[1024];

    (void)state;
    expect_pod("0/1 Init:0/2 0", SPEC_INIT, "",
               "{\"phase\":\"Pending\",\"initContainerStatuses\":[" STATUS(
                   "i", false, 0, WAITING("PodInitializing")) "]}");
    expect_pod("0/1 Init:1/2 1", SPEC_INIT, "",
               "{\"phase\":\"Pending\",\"initContainerStatuses\":[" STATUS(
                   "i", true, 1, TERMINATED(0, "")) "," STATUS("j", false, 0, RUNNING) "]}");
    expect_pod("0/1 Init:ErrImagePull 0", SPEC_INIT, "",
               "{\"phase\":\"Pending\",\"initContainerStatuses\":[" STATUS(
                   "i", false, 0, WAITING("ErrImagePull")) "]}");
    expect_pod("0/1 Init:ExitCode:2 0", SPEC_INIT, "",
               "{\"phase\":\"Pending\",\"initContainerStatuses\":[" STATUS("i", false, 0,
                                                                           TERMINATED(2, "")) "]}");
    expect_pod("0/1 Init:Signal:15 0", SPEC_INIT, "",
               "{\"phase\":\"Pending\",\"initContainerStatuses\":[" STATUS(
                   "i", false, 0, TERMINATED(1, ",\"signal\":15")) "]}");
    expect_pod("0/1 Init:Error 4", SPEC_INIT, "",
               "{\"phase\":\"Pending\",\"initContainerStatuses\":[" STATUS(
                   "i", false, 4, TERMINATED(1, ",\"reason\":\"Error\"")) "]}");
    /* Restarts of init containers that are done do not count. */
    expect_pod(
        "1/1 Running 2", SPEC_INIT, "",
        "{\"phase\":\"Running\",\"initContainerStatuses\":[" STATUS(
            "i", true, 7, TERMINATED(0, "")) "],\"containerStatuses\":[" STATUS("a", true, 2,
                                                                                RUNNING) "]}");
    (void)snprintf(text, sizeof(text),
                   "{\"phase\":\"Running\",%s\"initContainerStatuses\":[%s],"
                   "\"containerStatuses\":[%s]}",
                   initialized, STATUS("i", false, 0, WAITING("PodInitializing")),
                   STATUS("a", false, 0, WAITING("ImagePullBackOff")));
    expect_pod("0/1 ImagePullBackOff 0", SPEC_INIT, "", text);
}

static void a_sidecar_counts_as_a_container(void **state)
{
    (void)state;
    expect_pod("2/2 Running 3", SPEC_SIDECAR, "",
               "{\"phase\":\"Running\",\"initContainerStatuses\":[{\"name\":\"s\",\"ready\":true,"
               "\"started\":true,\"restartCount\":2,\"state\":" RUNNING
               "}],\"containerStatuses\":[" STATUS("a", true, 1, RUNNING) "]}");
    expect_pod("0/2 Init:0/1 0", SPEC_SIDECAR, "",
               "{\"phase\":\"Pending\",\"initContainerStatuses\":[{\"name\":\"s\",\"ready\":false,"
               "\"started\":false,\"restartCount\":0,\"state\":" RUNNING "}]}");
}

static void a_pod_that_is_deleted_terminates_unless_it_is_over_or_lost(void **state)
{
    static const char deleted[] = ",\"deletionTimestamp\":" T0;

    (void)state;
    expect_pod("0/1 Terminating 0", SPEC1, deleted, "{\"phase\":\"Running\"}");
    expect_pod("0/1 Succeeded 0", SPEC1, deleted, "{\"phase\":\"Succeeded\"}");
    expect_pod("0/1 Unknown 0", SPEC1, deleted, "{\"phase\":\"Running\",\"reason\":\"NodeLost\"}");
}

static void restarts_say_how_long_ago_the_last_was(void **state)
{
    static const char *const last = "\"lastState\":{\"terminated\":{\"exitCode\":1,"
                                    "\"finishedAt\":\"2026-01-01T00:0%d:00Z\"}},"
                                    "\"restartCount\":%d,\"state\":" RUNNING;
    char first[256], second[256], status[768];

    (void)state;
    (void)snprintf(first, sizeof(first), last, 7, 1);
    (void)snprintf(second, sizeof(second), last, 5, 2);
    (void)snprintf(status, sizeof(status),
                   "{\"phase\":\"Running\",\"containerStatuses\":[{%s},{%s}]}", first, second);
    expect_pod("0/2 Running 3 (3m ago)", SPEC2, "", status);
}

static void rows_of_pods_that_are_done_say_so(void **state)
{
    const struct kube_resource resource = {.group = "", .version = "v1", .kind = "Pod"};
    struct json *row =
        kube_table_row(&arena, &resource, parsed("{\"status\":{\"phase\":\"Failed\"}}"),
                       KUBE_INCLUDE_NONE, "v1", NOW_S);

    (void)state;
    assert_string_equal(written(json_get(row, "conditions")),
                        "[{\"type\":\"Completed\",\"status\":\"True\",\"reason\":\"Failed\","
                        "\"message\":\"The pod failed.\"}]");
    row = kube_table_row(&arena, &resource, parsed("{\"status\":{\"phase\":\"Running\"}}"),
                         KUBE_INCLUDE_NONE, "v1", NOW_S);
    assert_null(json_get(row, "conditions"));
}

/* ---- other kinds ---- */

#define META(name) "\"metadata\":{\"name\":\"" name "\",\"creationTimestamp\":" T0 "}"
#define TEMPLATE                                                                                   \
    "\"template\":{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"x:1\"},{\"name\":\"b\","  \
    "\"image\":\"y\"}]}}"

static void kinds_show_what_upstream_shows(void **state)
{
    static const struct {
        const char *kind, *object, *cells;
    } cases[] = {
        {"Deployment",
         "{" META("web") ",\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":{\"app\":\"w\"},"
                         "\"matchExpressions\":[{\"key\":\"aa\",\"operator\":\"In\",\"values\":"
                         "[\"y\",\"x\"]},{\"key\":\"z\",\"operator\":\"DoesNotExist\"},{\"key\":"
                         "\"b\",\"operator\":\"Exists\"},{\"key\":\"c\",\"operator\":\"NotIn\","
                         "\"values\":[\"q\"]}]}," TEMPLATE
                         "},\"status\":{\"readyReplicas\":1,\"updatedReplicas\":2}}",
         "[\"web\",\"1/3\",2,0,\"10m\",\"a,b\",\"x:1,y\",\"aa in (x,y),app=w,b,c notin (q),!z\"]"},
        {"DaemonSet",
         "{" META("d") ",\"spec\":{\"selector\":{}," TEMPLATE
                       "},\"status\":{\"desiredNumberScheduled\":2,\"numberReady\":1}}",
         "[\"d\",2,0,1,0,0,\"<none>\",\"10m\",\"a,b\",\"x:1,y\",\"<none>\"]"},
        {"Job",
         "{" META("j") ",\"spec\":{\"completions\":4," TEMPLATE
                       "},\"status\":{\"succeeded\":4,\"startTime\":\"2026-01-01T00:01:00Z\","
                       "\"completionTime\":\"2026-01-01T00:02:30Z\",\"conditions\":[{\"type\":"
                       "\"Complete\",\"status\":\"True\"}]}}",
         "[\"j\",\"Complete\",\"4/4\",\"90s\",\"10m\",\"a,b\",\"x:1,y\",\"<none>\"]"},
        {"Job", "{" META("j") ",\"spec\":{\"parallelism\":3},\"status\":{\"startTime\":" T0 "}}",
         "[\"j\",\"Running\",\"0/1 of 3\",\"10m\",\"10m\",\"\",\"\",\"<none>\"]"},
        {"CronJob",
         "{" META("c") ",\"spec\":{\"schedule\":\"* * * * *\",\"suspend\":false,\"jobTemplate\":{"
                       "\"spec\":{" TEMPLATE "}}},\"status\":{\"active\":[{},{}]}}",
         "[\"c\",\"* * * * *\",\"<none>\",\"False\",2,\"<none>\",\"10m\",\"a,b\",\"x:1,y\","
         "\"<none>\"]"},
        {"Service",
         "{" META("s") ",\"spec\":{\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.9\",\"clusterIPs\""
                       ":[\"10.96.0.9\"],\"ports\":[{\"port\":80,\"protocol\":\"TCP\",\"nodePort\":"
                       "30773},{\"port\":53,\"protocol\":\"UDP\"}],\"selector\":{\"b\":\"2\",\"a\":"
                       "\"1\"}}}",
         "[\"s\",\"NodePort\",\"10.96.0.9\",\"<none>\",\"80:30773/TCP,53/UDP\",\"10m\","
         "\"a=1,b=2\"]"},
        {"Service",
         "{" META("s") ",\"spec\":{\"type\":\"LoadBalancer\",\"externalIPs\":[\"9.9.9.9\"]},"
                       "\"status\":{\"loadBalancer\":{\"ingress\":[{\"hostname\":\"lb.x\"}]}}}",
         "[\"s\",\"LoadBalancer\",\"<none>\",\"lb.x,9.9.9.9\",\"<none>\",\"10m\",\"<none>\"]"},
        {"Service", "{" META("s") ",\"spec\":{\"type\":\"LoadBalancer\"}}",
         "[\"s\",\"LoadBalancer\",\"<none>\",\"<pending>\",\"<none>\",\"10m\",\"<none>\"]"},
        {"Endpoints",
         "{" META("e") ",\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"fd00::1\"}],"
                       "\"ports\":[{\"port\":80},{\"port\":81}]}]}",
         "[\"e\",\"10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 1 more...\",\"10m\"]"},
        {"EndpointSlice",
         "{" META("e") ",\"addressType\":\"IPv4\",\"ports\":[{\"port\":80}],\"endpoints\":[{"
                       "\"addresses\":[\"10.0.0.1\"]}]}",
         "[\"e\",\"IPv4\",\"80\",\"10.0.0.1\",\"10m\"]"},
        {"Ingress",
         "{" META("i") ",\"spec\":{\"tls\":[{}],\"rules\":[{\"host\":\"a\"},{\"host\":\"b\"},"
                       "{\"host\":\"c\"},{\"host\":\"d\"}]}}",
         "[\"i\",\"<none>\",\"a,b,c + 1 more...\",\"\",\"80, 443\",\"10m\"]"},
        {"Node",
         "{\"metadata\":{\"name\":\"n\",\"creationTimestamp\":" T0
         ",\"labels\":{\"node-role.kubernetes.io/worker\":\"\",\"kubernetes.io/role\":\"gpu\"}},"
         "\"spec\":{\"unschedulable\":true},\"status\":{\"conditions\":[{\"type\":\"Ready\","
         "\"status\":\"Unknown\"}],\"addresses\":[{\"type\":\"InternalIP\",\"address\":"
         "\"10.1.1.1\"}],\"nodeInfo\":{\"kubeletVersion\":\"v1.32.0\",\"osImage\":\"\"}}}",
         "[\"n\",\"NotReady,SchedulingDisabled\",\"gpu,worker\",\"10m\",\"v1.32.0\",\"10.1.1.1\","
         "\"<none>\",\"<unknown>\",\"<unknown>\",\"<unknown>\"]"},
        {"Event",
         "{" META("e") ",\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"p1\"},\"reason\":\"Started"
                       "\",\"message\":\" hello \\n\",\"type\":\"Normal\",\"lastTimestamp\":"
                       "\"2026-01-01T00:09:00Z\",\"firstTimestamp\":" T0
                       ",\"count\":3,\"source\":{\"component\":\"kubelet\",\"host\":\"n1\"}}",
         "[\"60s\",\"Normal\",\"Started\",\"pod/p1\",\"\",\"kubelet, n1\",\"hello\",\"10m\",3,"
         "\"e\"]"},
        {"Event",
         "{" META("e") ",\"regarding\":{\"kind\":\"Node\"},\"note\":\"x\",\"eventTime\":"
                       "\"2026-01-01T00:08:00.500000Z\",\"reportingController\":\"c\"}",
         "[\"2m\",\"\",\"\",\"node\",\"\",\"c\",\"x\",\"2m\",1,\"e\"]"},
        {"PersistentVolumeClaim",
         "{" META("c") ",\"spec\":{\"volumeName\":\"v\",\"storageClassName\":\"fast\"},\"status\":{"
                       "\"phase\":\"Bound\",\"capacity\":{\"storage\":\"1Gi\"},\"accessModes\":["
                       "\"ReadWriteMany\",\"ReadWriteOnce\"]}}",
         "[\"c\",\"Bound\",\"v\",\"1Gi\",\"RWO,RWX\",\"fast\",\"<unset>\",\"10m\",\"<unset>\"]"},
        {"HorizontalPodAutoscaler",
         "{" META("h") ",\"spec\":{\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"web\"},"
                       "\"minReplicas\":2,\"maxReplicas\":5,\"metrics\":[{\"type\":\"Resource\","
                       "\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\","
                       "\"averageUtilization\":80}}},{\"type\":\"Pods\",\"pods\":{\"target\":{"
                       "\"averageValue\":\"1k\"}}},{\"type\":\"Object\"}]},\"status\":{"
                       "\"currentReplicas\":2,\"currentMetrics\":[{\"type\":\"Resource\","
                       "\"resource\":{\"current\":{\"averageUtilization\":40}}}]}}",
         "[\"h\",\"Deployment/web\",\"cpu: 40%/80%, <unknown>/1k + 1 more...\",\"2\",5,2,\"10m\"]"},
        {"ResourceQuota",
         "{" META(
             "q") ",\"status\":{\"hard\":{\"pods\":\"9\",\"limits.cpu\":\"2\",\"requests.cpu\":"
                  "\"1\"},\"used\":{\"pods\":\"3\"}}}",
         "[\"q\",\"pods: 3/9, requests.cpu: 0/1\",\"limits.cpu: 0/2\",\"10m\"]"},
        {"RoleBinding",
         "{" META("b") ",\"roleRef\":{\"kind\":\"Role\",\"name\":\"r\"},\"subjects\":[{\"kind\":"
                       "\"User\",\"name\":\"alice\"},{\"kind\":\"ServiceAccount\",\"name\":\"d\","
                       "\"namespace\":\"ns\"},{\"kind\":\"User\",\"name\":\"bob\"}]}",
         "[\"b\",\"Role/r\",\"10m\",\"alice, bob\",\"\",\"ns/d\"]"},
        {"CertificateSigningRequest",
         "{" META("c") ",\"spec\":{\"signerName\":\"s\",\"username\":\"u\",\"expirationSeconds\":"
                       "600},\"status\":{\"conditions\":[{\"type\":\"Approved\",\"status\":"
                       "\"True\"}],\"certificate\":\"AAE=\"}}",
         "[\"c\",\"10m\",\"s\",\"u\",\"10m\",\"Approved,Issued\"]"},
        {"ControllerRevision",
         "{\"metadata\":{\"name\":\"r\",\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":"
         "\"DaemonSet\",\"name\":\"d\",\"controller\":true}]},\"revision\":4}",
         "[\"r\",\"daemonset.apps/d\",4,\"<unknown>\"]"},
        {"StorageClass",
         "{\"metadata\":{\"name\":\"s\",\"annotations\":{\"storageclass.kubernetes.io/"
         "is-default-class\":\"true\"}},\"provisioner\":\"p\",\"allowVolumeExpansion\":true}",
         "[\"s (default)\",\"p\",\"Delete\",\"Immediate\",true,\"<unknown>\"]"},
        {"Role", "{" META("r") "}", "[\"r\",\"2026-01-01T00:00:00Z\"]"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(cells(cases[i].kind, cases[i].object), cases[i].cells);
}

/* Objects come from disk and clients: nothing in them may be what a printer trusts. */
static void objects_of_the_wrong_shape_make_rows_too(void **state)
{
    static const char *const kinds[] = {"Pod",
                                        "Deployment",
                                        "Job",
                                        "CronJob",
                                        "Service",
                                        "Endpoints",
                                        "EndpointSlice",
                                        "Ingress",
                                        "IngressClass",
                                        "Node",
                                        "Event",
                                        "PersistentVolumeClaim",
                                        "HorizontalPodAutoscaler",
                                        "ResourceQuota",
                                        "RoleBinding",
                                        "CertificateSigningRequest",
                                        "ControllerRevision",
                                        "StorageClass",
                                        "APIService",
                                        "FlowSchema",
                                        "CSIDriver",
                                        "ResourceClaim",
                                        "ValidatingAdmissionPolicyBinding",
                                        "IPAddress",
                                        "ComponentStatus",
                                        "ConfigMap"};
    static const char *const objects[] = {
        "{}", "[]", "null", "{\"metadata\":7,\"spec\":[1],\"status\":\"x\"}",
        "{\"metadata\":{\"labels\":[],\"annotations\":1,\"ownerReferences\":{}},\"spec\":"
        "{\"ports\":{},\"rules\":[null],\"tls\":1,\"metrics\":[1],\"initContainers\":[2],"
        "\"containers\":{},\"selector\":[],\"externalIPs\":{}},\"status\":{\"conditions\":[1,null],"
        "\"containerStatuses\":[null],\"initContainerStatuses\":[3],\"hard\":[1],\"addresses\":"
        "[[]]},\"subsets\":[{\"addresses\":1,\"ports\":[null]}],\"subjects\":[0],\"endpoints\":[5],"
        "\"ports\":[6],\"series\":1,\"involvedObject\":[],\"conditions\":[9],\"data\":3}"};

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        for (size_t j = 0; j < sizeof(objects) / sizeof(objects[0]); j++)
            assert_true(strlen(cells(kinds[i], objects[j])) > 2);
    }
}

static void a_table_holds_metadata_or_objects_or_nothing(void **state)
{
    const struct kube_resource resource = {.group = "", .version = "v1", .kind = "ConfigMap"};
    static const char text[] =
        "{\"metadata\":{\"name\":\"c\",\"uid\":\"u\"},\"data\":{\"a\":\"b\"}}";
    struct json *object = parsed(text);

    (void)state;
    assert_string_equal(
        written(kube_table_row(&arena, &resource, object, KUBE_INCLUDE_METADATA, "v1beta1", NOW_S)),
        "{\"cells\":[\"c\",1,\"<unknown>\"],\"object\":{\"kind\":\"PartialObjectMetadata\","
        "\"apiVersion\":\"meta.k8s.io/v1beta1\",\"metadata\":{\"name\":\"c\",\"uid\":\"u\"}}}");
    assert_string_equal(
        written(kube_table_row(&arena, &resource, object, KUBE_INCLUDE_NONE, "v1", NOW_S)),
        "{\"cells\":[\"c\",1,\"<unknown>\"],\"object\":null}");
    assert_string_equal(written(object), text);
    assert_string_equal(
        written(json_get(
            kube_table_row(&arena, &resource, object, KUBE_INCLUDE_OBJECT, "v1", NOW_S), "object")),
        text);
    assert_string_equal(
        written(kube_table(&arena, "v1", parsed("{\"resourceVersion\":\"7\"}"),
                           kube_table_columns(&arena, &resource), json_new(&arena, JSON_ARRAY))),
        "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{\"resourceVersion\":"
        "\"7\"},\"columnDefinitions\":[{\"name\":\"Name\",\"type\":\"string\",\"format\":\"name\","
        "\"priority\":0},{\"name\":\"Data\",\"type\":\"string\",\"format\":\"\",\"priority\":0},"
        "{\"name\":\"Age\",\"type\":\"string\",\"format\":\"\",\"priority\":0}],\"rows\":[]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(durations_are_worded_as_upstream, reset),
        cmocka_unit_test_teardown(a_pod_says_what_its_containers_wait_for_or_ended_with, reset),
        cmocka_unit_test_teardown(the_first_container_with_a_reason_speaks_for_the_pod, reset),
        cmocka_unit_test_teardown(an_init_container_that_is_not_done_holds_the_pod_up, reset),
        cmocka_unit_test_teardown(a_sidecar_counts_as_a_container, reset),
        cmocka_unit_test_teardown(a_pod_that_is_deleted_terminates_unless_it_is_over_or_lost,
                                  reset),
        cmocka_unit_test_teardown(restarts_say_how_long_ago_the_last_was, reset),
        cmocka_unit_test_teardown(rows_of_pods_that_are_done_say_so, reset),
        cmocka_unit_test_teardown(kinds_show_what_upstream_shows, reset),
        cmocka_unit_test_teardown(objects_of_the_wrong_shape_make_rows_too, reset),
        cmocka_unit_test_teardown(a_table_holds_metadata_or_objects_or_nothing, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
