#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kube/check/normal.h"
#include "kube/codec/convert.h"

static struct arena arena = ARENA_INIT;

static int reset(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const struct kube_resource *resource(const char *group, const char *version,
                                            const char *plural)
{
    const struct kube_resource *found =
        kube_resource_find(slice_str(group), slice_str(version), slice_str(plural));

    assert_non_null(found);
    return found;
}

static const char *text_of(const struct json *value)
{
    struct buf buf;
    char *out;

    buf_init(&buf, 1 << 20);
    assert_int_equal(json_write(&buf, value), 0);
    out = arena_calloc(&arena, buf.len + 1);
    memcpy(out, buf.data, buf.len);
    buf_release(&buf);
    return out;
}

static struct json *normal(const struct kube_resource *type, const char *text)
{
    struct json *value, *out;
    struct kube_status status;

    assert_int_equal(json_parse(&arena, slice_str(text), NULL, &value, NULL), 0);
    if (kube_normalise(&arena, type, value, NULL, &out, &status) != 0)
        fail_msg("%s", status.message);
    return out;
}

/* text with ' for ", so that it can be read; from is left as it was. */
static const char *converted(const struct kube_resource *from, const struct kube_resource *to,
                             const char *text)
{
    char *json = memcpy(arena_alloc(&arena, strlen(text) + 1), text, strlen(text) + 1);
    struct json *object, *out;
    const char *before;
    char *shown;

    for (char *c = json; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    object = normal(from, json);
    before = text_of(object);
    out = kube_convert(&arena, from, to, object);
    assert_non_null(out);
    assert_string_equal(text_of(object), before);
    assert_true(json_same(out, normal(to, text_of(out))));
    shown = memcpy(arena_alloc(&arena, strlen(text_of(out)) + 1), text_of(out),
                   strlen(text_of(out)) + 1);
    for (char *c = shown; *c != '\0'; c++)
        *c = *c == '"' ? '\'' : *c;
    return shown;
}

/* Golden cases 154 and 156. */
#define CORE_EVENT                                                                                 \
    "{'kind':'Event','apiVersion':'v1','metadata':{'name':'e1'},'involvedObject':{'kind':'Pod',"   \
    "'namespace':'default','name':'p1'},'reason':'Started','message':'hello','source':{},"         \
    "'firstTimestamp':'2026-01-01T00:00:00Z','lastTimestamp':'2026-01-01T00:00:00Z','count':1,"    \
    "'type':'Normal','eventTime':null,'reportingComponent':'','reportingInstance':''}"

static void events_have_other_names_in_their_own_group(void **state)
{
    const struct kube_resource *core = resource("", "v1", "events");
    const struct kube_resource *events = resource("events.k8s.io", "v1", "events");
    const char *view = converted(core, events, CORE_EVENT);

    (void)state;
    assert_string_equal(view,
                        "{'kind':'Event','apiVersion':'events.k8s.io/v1','metadata':{'name':'e1'},"
                        "'eventTime':null,'reason':'Started','regarding':{'kind':'Pod',"
                        "'namespace':'default','name':'p1'},'note':'hello','type':'Normal',"
                        "'deprecatedSource':{},'deprecatedFirstTimestamp':'2026-01-01T00:00:00Z',"
                        "'deprecatedLastTimestamp':'2026-01-01T00:00:00Z','deprecatedCount':1}");
    assert_string_equal(converted(events, core, view), CORE_EVENT);
}

static void fields_of_events_are_found_in_what_is_stored(void **state)
{
    const struct kube_resource *events = resource("events.k8s.io", "v1", "events");
    struct slice path = kube_stored_field(&arena, events, slice_str("regarding.name"));

    (void)state;
    assert_true(slice_eq(path, slice_str("involvedObject.name")));
    path = kube_stored_field(&arena, events, slice_str("reportingController"));
    assert_true(slice_eq(path, slice_str("reportingComponent")));
    path = kube_stored_field(&arena, events, slice_str("regardingx"));
    assert_true(slice_eq(path, slice_str("regardingx")));
    path = kube_stored_field(&arena, resource("", "v1", "events"), slice_str("regarding.name"));
    assert_true(slice_eq(path, slice_str("regarding.name")));
}

static const struct kube_resource *v1(void)
{
    return resource("autoscaling", "v1", "horizontalpodautoscalers");
}

static const struct kube_resource *v2(void)
{
    return resource("autoscaling", "v2", "horizontalpodautoscalers");
}

static void a_cpu_target_is_a_field_in_v1(void **state)
{
    const char *old = "{'kind':'HorizontalPodAutoscaler','apiVersion':'autoscaling/v1','metadata':{"
                      "'name':'h'},'spec':{'scaleTargetRef':{'kind':'Deployment','name':'web'},"
                      "'maxReplicas':5,'targetCPUUtilizationPercentage':70},'status':{"
                      "'currentReplicas':2,'desiredReplicas':3,"
                      "'currentCPUUtilizationPercentage':90}}";
    const char *new =
        "{'kind':'HorizontalPodAutoscaler','apiVersion':'autoscaling/v2','metadata':{'name':'h'},"
        "'spec':{'scaleTargetRef':{'kind':'Deployment','name':'web'},'maxReplicas':5,'metrics':[{"
        "'type':'Resource','resource':{'name':'cpu','target':{'type':'Utilization',"
        "'averageUtilization':70}}}]},'status':{'currentReplicas':2,'desiredReplicas':3,"
        "'currentMetrics':[{'type':'Resource','resource':{'name':'cpu','current':{"
        "'averageUtilization':90}}}]}}";

    (void)state;
    assert_string_equal(converted(v1(), v2(), old), new);
    /* the raw value of a status would be lost without the annotation */
    assert_string_equal(
        converted(v2(), v1(), new),
        "{'kind':'HorizontalPodAutoscaler','apiVersion':'autoscaling/v1','metadata':{'name':'h',"
        "'annotations':{'autoscaling.alpha.kubernetes.io/current-metrics':'[{\\'type\\':"
        "\\'Resource\\',\\'resource\\':{\\'name\\':\\'cpu\\',\\'currentAverageUtilization\\':90,"
        "\\'currentAverageValue\\':\\'0\\'}}]'}},'spec':{'scaleTargetRef':{'kind':'Deployment',"
        "'name':'web'},'maxReplicas':5,'targetCPUUtilizationPercentage':70},'status':{"
        "'currentReplicas':2,'desiredReplicas':3,'currentCPUUtilizationPercentage':90}}");
}

static void what_v1_lacks_travels_in_annotations(void **state)
{
    const char *new =
        "{'kind':'HorizontalPodAutoscaler','apiVersion':'autoscaling/v2','metadata':{'name':'h',"
        "'annotations':{'a':'b'}},'spec':{'scaleTargetRef':{'kind':'Deployment','name':'web'},"
        "'minReplicas':1,'maxReplicas':5,'metrics':["
        "{'type':'Object','object':{'describedObject':{'kind':'Service','name':'s'},'target':{"
        "'type':'Value','value':'2k'},'metric':{'name':'hits','selector':{'matchLabels':{'a':'b'}}"
        "}}},"
        "{'type':'Pods','pods':{'metric':{'name':'q'},'target':{'type':'AverageValue',"
        "'averageValue':'10'}}},"
        "{'type':'Resource','resource':{'name':'memory','target':{'type':'AverageValue',"
        "'averageValue':'1Gi'}}},"
        "{'type':'ContainerResource','containerResource':{'name':'cpu','target':{"
        "'type':'Utilization','averageUtilization':50},'container':'c'}},"
        "{'type':'External','external':{'metric':{'name':'e'},'target':{'type':'Value',"
        "'value':'3'}}},"
        "{'type':'Resource','resource':{'name':'cpu','target':{'type':'Utilization',"
        "'averageUtilization':70}}}],"
        "'behavior':{'scaleDown':{'stabilizationWindowSeconds':60,'selectPolicy':'Max',"
        "'policies':[{'type':'Pods','value':1,'periodSeconds':15}]}}},"
        "'status':{'desiredReplicas':3,'currentMetrics':[{'type':'Resource','resource':{"
        "'name':'cpu','current':{'averageValue':'200m','averageUtilization':90}}}],'conditions':[{"
        "'type':'AbleToScale','status':'True','lastTransitionTime':'2026-01-01T00:00:00Z'}]}}";
    const char *old = converted(v2(), v1(), new);

    (void)state;
    assert_non_null(strstr(old, "'targetCPUUtilizationPercentage':70"));
    assert_non_null(strstr(
        old, "'autoscaling.alpha.kubernetes.io/behavior':'{\\'ScaleDown\\':{"
             "\\'StabilizationWindowSeconds\\':60,\\'SelectPolicy\\':\\'Max\\',\\'Policies\\':[{"
             "\\'Type\\':\\'Pods\\',\\'Value\\':1,\\'PeriodSeconds\\':15}]}}'"));
    assert_non_null(strstr(old, "\\'targetAverageValue\\':\\'1Gi\\'"));
    assert_string_equal(converted(v1(), v2(), old), new);
}

static void annotations_that_cannot_be_read_leave_the_default(void **state)
{
    (void)state;
    assert_string_equal(
        converted(v1(), v2(),
                  "{'kind':'HorizontalPodAutoscaler','apiVersion':'autoscaling/v1','metadata':{"
                  "'annotations':{'autoscaling.alpha.kubernetes.io/metrics':'[{\\'type\\':1}]',"
                  "'autoscaling.alpha.kubernetes.io/behavior':'{\\'ScaleUp\\':[]}',"
                  "'autoscaling.alpha.kubernetes.io/conditions':'{',"
                  "'autoscaling.alpha.kubernetes.io/current-metrics':'{}'}},'spec':{"
                  "'scaleTargetRef':{'kind':'Deployment','name':'web'},'maxReplicas':5}}"),
        "{'kind':'HorizontalPodAutoscaler','apiVersion':'autoscaling/v2','metadata':{},'spec':{"
        "'scaleTargetRef':{'kind':'Deployment','name':'web'},'maxReplicas':5,'metrics':[{'type':'"
        "Resource',"
        "'resource':{'name':'cpu','target':{'type':'Utilization','averageUtilization':80}}}]},"
        "'status':{'desiredReplicas':0,'currentMetrics':null}}");
}

static void an_object_is_its_own_view(void **state)
{
    struct json *object = normal(v2(), "{}");

    (void)state;
    assert_ptr_equal(kube_convert(&arena, v2(), v2(), object), object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(events_have_other_names_in_their_own_group, reset),
        cmocka_unit_test_teardown(fields_of_events_are_found_in_what_is_stored, reset),
        cmocka_unit_test_teardown(a_cpu_target_is_a_field_in_v1, reset),
        cmocka_unit_test_teardown(what_v1_lacks_travels_in_annotations, reset),
        cmocka_unit_test_teardown(annotations_that_cannot_be_read_leave_the_default, reset),
        cmocka_unit_test_teardown(an_object_is_its_own_view, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
