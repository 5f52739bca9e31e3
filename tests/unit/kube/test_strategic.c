#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kube/patch/patch.h"

static struct arena arena = ARENA_INIT;

static int reset(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

/* JSON with ' for ". */
static struct json *tree(const char *text)
{
    char *json = arena_calloc(&arena, strlen(text) + 1);
    struct json_error error;
    struct json *value = NULL;

    for (size_t i = 0; text[i] != '\0'; i++)
        json[i] = text[i] == '\'' ? '"' : text[i];
    if (json_parse(&arena, slice_str(json), NULL, &value, &error) != 0)
        fail_msg("%s: %s", json, error.text);
    return value;
}

static const char *text_of(const struct json *value)
{
    struct buf buf;
    char *out;

    buf_init(&buf, 16u << 20);
    assert_int_equal(json_write(&buf, value), 0);
    out = arena_calloc(&arena, buf.len + 1);
    memcpy(out, buf.data, buf.len);
    buf_release(&buf);
    return out;
}

static const struct kube_struct *type_of(const char *package, const char *name)
{
    const struct kube_struct *type = kube_struct_find(package, name);

    if (type == NULL)
        fail_msg("no struct %s in %s", name, package);
    return type;
}

static void patched(const struct kube_struct *type, const char *old_text, const char *patch,
                    const char *result)
{
    struct json *old = tree(old_text), *out = NULL;
    struct kube_status status;

    if (kube_patch_strategic(&arena, type, old, tree(patch), &out, &status) != 0)
        fail_msg("%s + %s: %s", old_text, patch, status.message);
    if (strcmp(text_of(out), text_of(tree(result))) != 0)
        fail_msg("%s + %s: %s", old_text, patch, text_of(out));
    assert_string_equal(text_of(old), text_of(tree(old_text)));
}

static void refused(const struct kube_struct *type, const char *old, const char *patch, int code,
                    const char *message)
{
    struct json *out = NULL;
    struct kube_status status;

    if (kube_patch_strategic(&arena, type, tree(old), tree(patch), &out, &status) != code)
        fail_msg("%s + %s: %d", old, patch, status.code);
    assert_string_equal(status.message, message);
}

static void pod_spec(const char *old, const char *patch, const char *result)
{
    patched(type_of("core/v1", "PodSpec"), old, patch, result);
}

static void meta(const char *old, const char *patch, const char *result)
{
    patched(type_of("meta/v1", "ObjectMeta"), old, patch, result);
}

static void objects_merge_and_nulls_delete(void **state)
{
    (void)state;
    meta("{'labels':{'a':'1','b':'2'},'name':'x'}", "{'labels':{'a':null,'c':'3','d':null}}",
         "{'labels':{'b':'2','c':'3'},'name':'x'}");
    meta("{}", "{'labels':{'a':'1','b':null},'annotations':null}", "{'labels':{'a':'1'}}");
    meta("{'labels':{'a':'1'}}", "{'labels':null}", "{}");
}

static void lists_with_a_merge_key_merge_by_it(void **state)
{
    (void)state;
    pod_spec("{'containers':[{'name':'a','image':'1'},{'name':'b','image':'2'}]}",
             "{'containers':[{'name':'b','image':'3'},{'name':'c','image':'4'}]}",
             "{'containers':[{'name':'a','image':'1'},{'name':'b','image':'3'},"
             "{'name':'c','image':'4'}]}");
    pod_spec("{'containers':[{'name':'a','env':[{'name':'X','value':'1'}]}]}",
             "{'containers':[{'name':'a','env':[{'name':'Y','value':'2'}]}]}",
             "{'containers':[{'name':'a','env':[{'name':'Y','value':'2'},"
             "{'name':'X','value':'1'}]}]}");
    /* One key, though ports differ by protocol too: upstream's flaw. */
    pod_spec("{'containers':[{'name':'a','ports':[{'containerPort':53,'protocol':'TCP'}]}]}",
             "{'containers':[{'name':'a','ports':[{'containerPort':53,'protocol':'UDP'}]}]}",
             "{'containers':[{'name':'a','ports':[{'containerPort':53,'protocol':'UDP'}]}]}");
}

static void other_lists_are_replaced(void **state)
{
    (void)state;
    pod_spec("{'containers':[{'name':'a','args':['1','2']}],'tolerations':[{'key':'k'}]}",
             "{'containers':[{'name':'a','args':['3']}],'tolerations':[]}",
             "{'containers':[{'name':'a','args':['3']}],'tolerations':[]}");
}

static void lists_of_scalars_merge_as_sets(void **state)
{
    (void)state;
    /* What the server does not have cannot come after what only it has. */
    meta("{'finalizers':['a','b']}", "{'finalizers':['c','a']}", "{'finalizers':['c','a','b']}");
    meta("{'finalizers':['a','b','c']}", "{'$deleteFromPrimitiveList/finalizers':['b','x']}",
         "{'finalizers':['a','c']}");
    meta("{'finalizers':['a','b']}",
         "{'$deleteFromPrimitiveList/finalizers':['a'],"
         "'$setElementOrder/finalizers':['c','b'],'finalizers':['c']}",
         "{'finalizers':['c','b']}");
    meta("{}", "{'$deleteFromPrimitiveList/finalizers':['a']}", "{}");
}

static void patch_delete_takes_items_and_maps_away(void **state)
{
    (void)state;
    pod_spec("{'containers':[{'name':'a'},{'name':'b'},{'name':'c'}]}",
             "{'containers':[{'name':'b','$patch':'delete'},{'name':'zz','$patch':'delete'}]}",
             "{'containers':[{'name':'a'},{'name':'c'}]}");
    pod_spec("{'securityContext':{'runAsUser':1},'nodeName':'n'}",
             "{'securityContext':{'$patch':'delete'}}", "{'securityContext':{},'nodeName':'n'}");
    pod_spec("{}", "{'containers':[{'name':'b','$patch':'delete'},{'name':'c'}]}",
             "{'containers':[{'name':'c'}]}");
}

static void patch_replace_takes_the_patch_alone(void **state)
{
    (void)state;
    pod_spec("{'containers':[{'name':'a'},{'name':'b'}]}",
             "{'containers':[{'$patch':'replace'},{'name':'c'}]}", "{'containers':[{'name':'c'}]}");
    pod_spec("{'securityContext':{'runAsUser':1,'runAsGroup':2}}",
             "{'securityContext':{'$patch':'replace','runAsUser':3}}",
             "{'securityContext':{'runAsUser':3}}");
    meta("{'labels':{'a':'1'}}", "{'labels':{'$patch':'replace'}}", "{'labels':{}}");
}

static void retain_keys_drops_what_it_does_not_name(void **state)
{
    const struct kube_struct *type = type_of("apps/v1", "DeploymentSpec");

    (void)state;
    patched(type, "{'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1}}}",
            "{'strategy':{'$retainKeys':['type'],'type':'Recreate'}}",
            "{'strategy':{'type':'Recreate'}}");
    patched(type, "{'replicas':1}", "{'strategy':{'$retainKeys':['type'],'type':'Recreate'}}",
            "{'replicas':1,'strategy':{'type':'Recreate'}}");
    pod_spec("{'volumes':[{'name':'v','emptyDir':{}}]}",
             "{'volumes':[{'$retainKeys':['name','hostPath'],'name':'v',"
             "'hostPath':{'path':'/x'}}]}",
             "{'volumes':[{'name':'v','hostPath':{'path':'/x'}}]}");
    refused(type, "{'strategy':{}}", "{'strategy':{'$retainKeys':['type'],'rollingUpdate':{}}}",
            400, "invalid patch format of retainKeys");
    refused(type, "{'strategy':{}}", "{'strategy':{'$retainKeys':'type'}}", 400,
            "invalid patch format of retainKeys");
}

static void set_element_order_decides(void **state)
{
    (void)state;
    /* What only the server has keeps its place relative to its neighbours. */
    pod_spec("{'containers':[{'name':'a'},{'name':'s1'},{'name':'b'},{'name':'s2'}]}",
             "{'$setElementOrder/containers':[{'name':'b'},{'name':'n'},{'name':'a'}],"
             "'containers':[{'name':'n','image':'i'}]}",
             "{'containers':[{'name':'s1'},{'name':'b'},{'name':'n','image':'i'},{'name':'a'},"
             "{'name':'s2'}]}");
    pod_spec("{'containers':[{'name':'c','env':[{'name':'A'},{'name':'B'}]},{'name':'side'}]}",
             "{'$setElementOrder/containers':[{'name':'side'},{'name':'c'}],'containers':"
             "[{'name':'c','$setElementOrder/env':[{'name':'C'},{'name':'A'}],'env':"
             "[{'name':'C','value':'3'},{'name':'B','$patch':'delete'}]}]}",
             "{'containers':[{'name':'side'},{'name':'c','env':[{'name':'C','value':'3'},"
             "{'name':'A'}]}]}");
    pod_spec("{}", "{'$setElementOrder/containers':[{'name':'a'}]}", "{}");
    refused(type_of("core/v1", "PodSpec"), "{'containers':[{'name':'a'}]}",
            "{'$setElementOrder/containers':[{'name':'a'}],'containers':[{'name':'b'}]}", 422,
            "The order in patch list doesn't match $setElementOrder list");
    refused(type_of("core/v1", "PodSpec"), "{}", "{'$setElementOrder/containers':{}}", 400,
            "invalid patch format of setElementOrder list");
    refused(type_of("core/v1", "PodSpec"), "{}", "{'$setElementOrder':[]}", 400,
            "invalid patch format of setElementOrder list");
}

static void conditions_of_status_merge_by_type(void **state)
{
    (void)state;
    patched(type_of("core/v1", "Pod"),
            "{'status':{'conditions':[{'type':'Ready','status':'False'},{'type':'X'}]}}",
            "{'status':{'conditions':[{'type':'Ready','status':'True'}]},"
            "'metadata':{'ownerReferences':[{'uid':'u'}]}}",
            "{'status':{'conditions':[{'type':'Ready','status':'True'},{'type':'X'}]},"
            "'metadata':{'ownerReferences':[{'uid':'u'}]}}");
}

static void items_need_their_merge_key(void **state)
{
    (void)state;
    refused(type_of("core/v1", "PodSpec"), "{'containers':[{'name':'a'}]}",
            "{'containers':[{'image':'i'}]}", 422,
            "map: {\"image\":\"i\"} does not contain declared merge key: name");
    refused(type_of("core/v1", "PodSpec"), "{'containers':[{'name':'a'}]}", "{'containers':['x']}",
            422, "list element types are not identical: object and string");
    refused(type_of("core/v1", "PodSpec"), "{'containers':[{'name':'a'}]}", "{'containers':[[]]}",
            422, "lists of lists are not supported");
    refused(type_of("core/v1", "PodSpec"), "{'containers':[{'name':'a'}]}",
            "{'containers':[{'name':'a','$patch':'frob'}]}", 422,
            "unknown patch type in map: {\"name\":\"a\",\"$patch\":\"frob\"}");
    refused(type_of("core/v1", "PodSpec"), "{}", "[]", 400,
            "error decoding patch: json: cannot unmarshal array into Go value of type "
            "map[string]interface {}");
}

/* A hundred thousand items on both sides; a square of it would take minutes. */
static void long_lists_take_no_square(void **state)
{
    enum { COUNT = 100000 };
    struct json *old = tree("{'containers':[],'nodeSelector':{}}");
    struct json *patch = tree("{'containers':[],'nodeSelector':{}}"), *out = NULL;
    struct kube_status status;

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        char *name = arena_alloc(&arena, 16);
        struct json *item = json_new(&arena, JSON_OBJECT);

        (void)snprintf(name, 16, "n%d", i);
        json_add(item, slice_str("name"), json_new_cstring(&arena, name));
        json_append(json_get(old, "containers"), item);
        json_append(json_get(patch, "containers"), json_clone(&arena, item));
        json_add(json_get(old, "nodeSelector"), slice_str(name), json_new_int(&arena, i));
        json_add(json_get(patch, "nodeSelector"), slice_str(name), json_new(&arena, JSON_NULL));
    }
    assert_int_equal(
        kube_patch_strategic(&arena, type_of("core/v1", "PodSpec"), old, patch, &out, &status), 0);
    assert_int_equal(json_get(out, "containers")->count, COUNT);
    assert_int_equal(json_get(out, "nodeSelector")->count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(objects_merge_and_nulls_delete, reset),
        cmocka_unit_test_teardown(lists_with_a_merge_key_merge_by_it, reset),
        cmocka_unit_test_teardown(other_lists_are_replaced, reset),
        cmocka_unit_test_teardown(lists_of_scalars_merge_as_sets, reset),
        cmocka_unit_test_teardown(patch_delete_takes_items_and_maps_away, reset),
        cmocka_unit_test_teardown(patch_replace_takes_the_patch_alone, reset),
        cmocka_unit_test_teardown(retain_keys_drops_what_it_does_not_name, reset),
        cmocka_unit_test_teardown(set_element_order_decides, reset),
        cmocka_unit_test_teardown(conditions_of_status_merge_by_type, reset),
        cmocka_unit_test_teardown(items_need_their_merge_key, reset),
        cmocka_unit_test_teardown(long_lists_take_no_square, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
