#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kube/check/selector.h"

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
    struct json *value = NULL;

    for (size_t i = 0; text[i] != '\0'; i++)
        json[i] = text[i] == '\'' ? '"' : text[i];
    assert_int_equal(json_parse(&arena, slice_str(json), NULL, &value, NULL), 0);
    return value;
}

static struct kube_selector by_labels(const char *text)
{
    struct kube_selector selector = {NULL, NULL};
    struct kube_status status;

    if (kube_label_selector_parse(&arena, slice_str(text), &selector, &status) != 0)
        fail_msg("%s: %s", text, status.message);
    return selector;
}

/* labels: "'a':'1'" */
static void labels(const char *text, const char *labels_text, bool expected)
{
    struct kube_selector selector = by_labels(text);
    char object[256];

    (void)snprintf(object, sizeof(object), "{'metadata':{'labels':{%s}}}", labels_text);
    if (kube_selector_matches(&selector, &kube_selected_json, tree(object)) != expected)
        fail_msg("%s %s {%s}", text, expected ? "misses" : "matches", labels_text);
}

static void complains(const char *text, const char *message)
{
    struct kube_selector selector = {NULL, NULL};
    struct kube_status status;

    if (kube_label_selector_parse(&arena, slice_str(text), &selector, &status) != 400)
        fail_msg("accepted: %s", text);
    assert_string_equal(status.message, message);
    assert_string_equal(status.reason, "BadRequest");
}

static void equality_asks_for_one_value(void **state)
{
    (void)state;
    labels("a=1", "'a':'1'", true);
    labels("a==1", "'a':'1','b':'2'", true);
    labels(" a = 1 , b\t=\n2 ", "'a':'1','b':'2'", true);
    labels("a=1", "'a':'2'", false);
    labels("a=1", "", false);
    labels("a!=1", "'a':'2'", true);
    labels("a!=1", "'a':'1'", false);
    labels("a!=1", "", true);
    labels("a=", "'a':''", true);
    labels("a=", "", false);
    labels("a=,b=2", "'a':'','b':'2'", true);
    labels("a=in", "'a':'in'", true);
    labels("in=notin", "'in':'notin'", true);
}

static void sets_ask_for_one_of_many(void **state)
{
    (void)state;
    labels("a in (1,2)", "'a':'2'", true);
    labels("a in (1,2)", "'a':'3'", false);
    labels("a in (1,2)", "", false);
    labels("a notin (1,2)", "'a':'3'", true);
    labels("a notin (1,2)", "'a':'1'", false);
    labels("a notin (1,2)", "", true);
    labels("a in ()", "'a':''", true);
    labels("a in (,x)", "'a':''", true);
    labels("a in (x,)", "'a':''", true);
    labels("a in (x,,y)", "'a':''", true);
    labels("a in (x,y)", "'a':''", false);
    labels("a in (in,notin)", "'a':'notin'", true);
    labels("a in (c, b ,a,b),x", "'a':'b','x':'1'", true);
}

static void existence_and_numbers(void **state)
{
    (void)state;
    labels("a", "'a':'1'", true);
    labels("a", "", false);
    labels("!a", "", true);
    labels("! a,b", "'b':''", true);
    labels("!a", "'a':''", false);
    labels("a>3", "'a':'4'", true);
    labels("a>3", "'a':'3'", false);
    labels("a<3", "'a':'-4'", true);
    labels("a>3", "'a':'x'", false);
    labels("a>3", "", false);
    labels("example.com/gpu.count>0", "'example.com/gpu.count':'8'", true);
}

static void an_empty_selector_matches_everything(void **state)
{
    struct kube_selector empty = by_labels(" "), full = by_labels("a");

    (void)state;
    labels("", "", true);
    assert_true(kube_selector_empty(&empty));
    assert_false(kube_selector_empty(&full));
}

static void label_complaints_are_upstreams(void **state)
{
    (void)state;
    complains("l in", "unable to parse requirement: found '' expected: '('");
    complains("l in (a", "unable to parse requirement: found '', expected: ',' or ')'");
    complains("l in (a,", "unable to parse requirement: found '', expected: ',', or identifier");
    complains("l in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'");
    complains("l in (", "unable to parse requirement: found '', expected: ',', ')' or identifier");
    complains("l in a", "unable to parse requirement: found 'a' expected: '('");
    complains("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, "
                     "lt");
    complains("a=b c", "found 'c', expected: ',' or 'end of string'");
    complains("a=b,", "found '', expected: identifier after ','");
    complains("=b", "found '=', expected: !, identifier, or 'end of string'");
    complains("!", "unable to parse requirement: found '', expected: identifier");
    complains("a==!b", "unable to parse requirement: found '!', expected: identifier");
    complains("!a=b", "found '=', expected: ',' or 'end of string'");
    complains("a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' "
                     "operators, the value must be an integer");
}

static void keys_and_values_must_be_valid(void **state)
{
    struct kube_selector selector = {NULL, NULL};
    struct kube_status status;

    (void)state;
    assert_int_equal(kube_label_selector_parse(&arena, slice_str("a/b/c"), &selector, &status),
                     400);
    assert_non_null(
        strstr(status.message, "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": "));
    assert_int_equal(
        kube_label_selector_parse(&arena, slice_str("a in (b,_,-)"), &selector, &status), 400);
    assert_non_null(strstr(status.message,
                           "unable to parse requirement: [values[0][a]: Invalid value: \"-\": "));
    assert_non_null(strstr(status.message, ", values[1][a]: Invalid value: \"_\": "));
    assert_int_equal(kube_label_selector_parse(&arena, slice_str("/x_"), &selector, &status), 400);
    /* One value, its complaints joined. */
    assert_non_null(strstr(status.message, "; "));
    assert_null(strstr(strstr(status.message, "Invalid value") + 1, "Invalid value"));
}

static const struct kube_resource *resource(const char *group, const char *plural)
{
    const struct kube_resource *found =
        kube_resource_find(slice_str(group), slice_str("v1"), slice_str(plural));

    assert_non_null(found);
    return found;
}

static struct kube_selector by_fields(const char *plural, const char *text)
{
    struct kube_selector selector = {NULL, NULL};
    struct kube_status status;

    if (kube_field_selector_parse(&arena, resource("", plural), slice_str(text), &selector,
                                  &status) != 0)
        fail_msg("%s: %s", text, status.message);
    return selector;
}

static void fields(const char *plural, const char *text, const char *object, bool expected)
{
    struct kube_selector selector = by_fields(plural, text);

    if (kube_selector_matches(&selector, &kube_selected_json, tree(object)) != expected)
        fail_msg("%s %s %s", text, expected ? "misses" : "matches", object);
}

static void fields_are_compared(void **state)
{
    (void)state;
    fields("pods", "metadata.name=x", "{'metadata':{'name':'x'}}", true);
    fields("pods", "metadata.name==x,metadata.namespace!=y", "{'metadata':{'name':'x'}}", true);
    fields("pods", "spec.nodeName=", "{'spec':{}}", true);
    fields("pods", "spec.nodeName!=,", "{'spec':{'nodeName':'n'}}", true);
    fields("pods", "status.phase!=Failed,status.phase!=Succeeded", "{'status':{'phase':'Failed'}}",
           false);
    fields("pods", "metadata.name=a\\,b\\=c\\\\d", "{'metadata':{'name':'a,b=c\\\\d'}}", true);
}

static void missing_fields_compare_as_their_zero(void **state)
{
    (void)state;
    fields("nodes", "spec.unschedulable=false", "{'spec':{}}", true);
    fields("nodes", "spec.unschedulable=false", "{'spec':{'unschedulable':true}}", false);
    fields("nodes", "spec.unschedulable=true", "{'spec':{'unschedulable':true}}", true);
    fields("nodes", "spec.unschedulable!=true", "{}", true);
    fields("replicationcontrollers", "status.replicas=0", "{}", true);
    fields("replicationcontrollers", "status.replicas=0", "{'status':{'replicas':2}}", false);
}

static void a_name_can_be_pinned(void **state)
{
    struct kube_selector pinned = by_fields("pods", "metadata.name=x,status.phase!=Failed");
    struct kube_selector open = by_fields("pods", "metadata.name!=x");

    (void)state;
    assert_true(slice_eq(kube_selector_pins(&pinned, "metadata.name"), slice_str("x")));
    assert_null(kube_selector_pins(&pinned, "status.phase").data);
    assert_null(kube_selector_pins(&open, "metadata.name").data);
}

static void bad_field(const char *text, const char *message)
{
    struct kube_selector selector = {NULL, NULL};
    struct kube_status status;

    assert_int_equal(kube_field_selector_parse(&arena, resource("", "configmaps"), slice_str(text),
                                               &selector, &status),
                     400);
    assert_string_equal(status.message, message);
}

static void field_complaints_are_upstreams(void **state)
{
    (void)state;
    bad_field("data.a=b", "\"data.a\" is not a known field selector: only \"metadata.name\", "
                          "\"metadata.namespace\"");
    bad_field("metadata.name", "invalid selector: 'metadata.name'; can't understand "
                               "'metadata.name'");
    bad_field("metadata.name=a=b", "invalid field selector: unescaped character in value: 61");
    bad_field("metadata.name=a\\x", "invalid field selector: invalid escape sequence: \\x");
    bad_field("metadata.name=a\\\xc3\xa9z",
              "invalid field selector: invalid escape sequence: \\\xc3\xa9");
    bad_field("metadata.name=a\\", "invalid field selector: invalid escape sequence: \\");
    /* Terms are read in alphabetical order, and only then are fields looked at. */
    bad_field("y=1,a,b", "invalid selector: 'y=1,a,b'; can't understand 'a'");
    bad_field("z=1,y=1", "\"y\" is not a known field selector: only \"metadata.name\", "
                         "\"metadata.namespace\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(equality_asks_for_one_value, reset),
        cmocka_unit_test_teardown(sets_ask_for_one_of_many, reset),
        cmocka_unit_test_teardown(existence_and_numbers, reset),
        cmocka_unit_test_teardown(an_empty_selector_matches_everything, reset),
        cmocka_unit_test_teardown(label_complaints_are_upstreams, reset),
        cmocka_unit_test_teardown(keys_and_values_must_be_valid, reset),
        cmocka_unit_test_teardown(fields_are_compared, reset),
        cmocka_unit_test_teardown(missing_fields_compare_as_their_zero, reset),
        cmocka_unit_test_teardown(a_name_can_be_pinned, reset),
        cmocka_unit_test_teardown(field_complaints_are_upstreams, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
