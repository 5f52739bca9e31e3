/* Objects as bytes, and continue tokens. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kube/store/internal.h"

static struct arena arena = ARENA_INIT;

static int reset(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

/* ' for ". */
static struct slice quoted(const char *text)
{
    char *out = arena_calloc(&arena, strlen(text) + 1);

    for (size_t i = 0; text[i] != '\0'; i++)
        out[i] = text[i] == '\'' ? '"' : text[i];
    return slice_str(out);
}

static const struct kube_resource *resource(const char *group, const char *version,
                                            const char *plural)
{
    const struct kube_resource *found =
        kube_resource_find(slice_str(group), slice_str(version), slice_str(plural));

    assert_non_null(found);
    return found;
}

static struct kube_object *object(const struct kube_resource *of, const char *key, const char *text)
{
    struct kube_object *out = NULL;
    struct err err = ERR_INIT;

    if (kube__object_new(of, slice_str(key), quoted(text), 42, &arena, &out, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return out;
}

static void assert_text(struct slice got, const char *wanted)
{
    if (!slice_eq(got, slice_str(wanted)))
        fail_msg("got '%.*s', wanted '%s'", (int)got.len, (const char *)got.data, wanted);
}

static void assert_written(const struct kube_object *of, bool with_type, const char *wanted)
{
    uint8_t *out = malloc(kube_object_size(of, with_type)); /* its end is guarded */
    size_t len = kube_object_write(of, with_type, out);

    assert_int_equal(len, kube_object_size(of, with_type));
    assert_text(slice_of(out, len), (const char *)quoted(wanted).data);
    free(out);
}

static struct slice label(const struct kube_object *of, const char *key)
{
    return kube_selected_object.label(of, slice_str(key));
}

static struct slice field(const struct kube_object *of, const char *path)
{
    return kube_selected_object.field(of, slice_str(path));
}

/* ---- objects ---- */

static void revision_is_written_where_upstream_has_it(void **state)
{
    struct kube_object *of = object(resource("", "v1", "configmaps"), "default/c",
                                    "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'c',"
                                    "'namespace':'default','uid':'u','generation':3},'data':{}}");

    (void)state;
    assert_written(of, true,
                   "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'c',"
                   "'namespace':'default','uid':'u','resourceVersion':'42','generation':3},"
                   "'data':{}}");
    assert_written(of, false,
                   "{'metadata':{'name':'c','namespace':'default','uid':'u',"
                   "'resourceVersion':'42','generation':3},'data':{}}");
    assert_text(kube_object_name(of), "c");
    assert_text(kube_object_namespace(of), "default");
    kube_object_unref(of);
}

static void tree_of_an_object_is_what_is_written(void **state)
{
    struct kube_object *of = object(resource("", "v1", "nodes"), "n1",
                                    "{'kind':'Node','apiVersion':'v1','metadata':{'name':'n1'}}");
    struct buf text;

    (void)state;
    buf_init(&text, 1000);
    assert_int_equal(json_write(&text, kube_object_json(&arena, of)), 0);
    assert_text(buf_slice(&text), (const char *)quoted("{'kind':'Node','apiVersion':'v1','metadata'"
                                                       ":{'name':'n1','resourceVersion':'42'}}")
                                      .data);
    assert_text(kube_object_namespace(of), "");
    buf_release(&text);
    kube_object_unref(of);
}

static void labels_and_fields_are_found_in_the_bytes(void **state)
{
    struct kube_object *of =
        object(resource("", "v1", "pods"), "a/p",
               "{'kind':'Pod','apiVersion':'v1','metadata':{'name':'p','namespace':'a','labels':"
               "{'app':'web','empty':'','k\\u0041':'v\\n'}},'spec':{'nodeName':'n1'},"
               "'status':{'phase':'Run\\tning'}}");
    struct kube_object *copy = kube__object_at(of, 50);

    (void)state;
    kube_object_unref(of); /* the copy stands by itself */
    assert_text(label(copy, "app"), "web");
    assert_text(label(copy, "kA"), "v\n");
    assert_non_null(label(copy, "empty").data);
    assert_int_equal(label(copy, "empty").len, 0);
    assert_null(label(copy, "none").data);
    assert_text(field(copy, "metadata.name"), "p");
    assert_text(field(copy, "metadata.namespace"), "a");
    assert_text(field(copy, "spec.nodeName"), "n1");
    assert_text(field(copy, "status.phase"), "Run\tning");
    assert_text(field(copy, "spec.hostNetwork"), "false"); /* as upstream shows a missing one */
    assert_text(field(copy, "status.podIP"), "");
    assert_int_equal(kube_object_revision(copy), 50);
    kube_object_unref(copy);
}

static void fields_read_what_upstream_reads(void **state)
{
    struct kube_object *job = object(resource("batch", "v1", "jobs"), "a/j",
                                     "{'kind':'Job','apiVersion':'batch/v1','metadata':{'name':"
                                     "'j','namespace':'a'},'status':{'succeeded':3}}");
    struct kube_object *event =
        object(resource("", "v1", "events"), "a/e",
               "{'kind':'Event','apiVersion':'v1','metadata':{'name':'e','namespace':'a'},"
               "'involvedObject':{'kind':'Pod','name':'p'},'source':{'component':'kubelet'}}");

    (void)state;
    assert_text(field(job, "status.successful"), "3");
    assert_text(field(event, "involvedObject.kind"), "Pod");
    assert_text(field(event, "source"), "kubelet");
    assert_text(field(event, "reportingComponent"), "kubelet");
    kube_object_unref(job);
    kube_object_unref(event);
}

static void foreign_json_is_brought_into_canonical_form(void **state)
{
    struct kube_object *of =
        object(resource("", "v1", "configmaps"), "a/c",
               "{ 'data':{'k':'v'}, 'metadata':{'resourceVersion':'7','uid':'u','labels':null,"
               "'namespace':'a','name':'c'},'apiVersion':'v1','kind':'ConfigMap'}\n");

    (void)state;
    assert_written(of, true,
                   "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'c',"
                   "'namespace':'a','uid':'u','resourceVersion':'42'},'data':{'k':'v'}}");
    kube_object_unref(of);
}

static void protobuf_of_a_kube_apiserver_is_read(void **state)
{
    static const char stored[] =
        "k8s\000\012\017\012\002v1\022\011ConfigMap\022$\012\022\012\002c1\022\000\032\000\042\000*"
        "\0002\0008\000B\000\022\006\012\001a\022\001b\022\006\012\001c\022\001d\032\000\042\000";
    struct kube_object *of = NULL;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(kube__object_new(resource("", "v1", "configmaps"), slice_str("a/c1"),
                                      slice_of(stored, sizeof(stored) - 1), 42, &arena, &of, &err),
                     0);
    assert_written(of, true,
                   "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'c1',"
                   "'resourceVersion':'42'},'data':{'a':'b','c':'d'}}");
    kube_object_unref(of);
}

static void another_version_is_converted(void **state)
{
    struct kube_object *of =
        object(resource("autoscaling", "v2", "horizontalpodautoscalers"), "a/h",
               "{'kind':'HorizontalPodAutoscaler','apiVersion':'autoscaling/v1','metadata':{"
               "'name':'h','namespace':'a'},'spec':{'scaleTargetRef':{'kind':'Deployment','name':"
               "'d'},'maxReplicas':3,'targetCPUUtilizationPercentage':80},'status':{"
               "'currentReplicas':1,'desiredReplicas':1}}");
    struct json *tree = kube_object_json(&arena, of);

    (void)state;
    assert_text(json_text_at(tree, "apiVersion"), "autoscaling/v2");
    assert_text(json_text_at(json_at(tree, "spec.metrics")->first, "resource.name"), "cpu");
    kube_object_unref(of);
}

static void what_cannot_be_read_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "{",
                                        "[]",
                                        "7",
                                        "{'a':1}",
                                        "k8s",
                                        "k8s\x01",
                                        "{'metadata':[]}",
                                        "{'metadata':{'name':7}}",
                                        "{'metadata':{}}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct kube_object *out = NULL;
        struct err err = ERR_INIT;

        assert_int_equal(kube__object_new(resource("", "v1", "configmaps"), slice_str("a/c"),
                                          quoted(texts[i]), 1, &arena, &out, &err),
                         KV_ECORRUPT);
        assert_null(out);
        assert_int_not_equal(err.text[0], '\0');
    }
}

/* Cut and changed at every byte; the sanitizers look on. */
static void damaged_values_do_no_harm(void **state)
{
    struct slice good = quoted("{'kind':'Pod','apiVersion':'v1','metadata':{'name':'p','namespace':"
                               "'a','labels':{'app':'w\\u0041b'}},'spec':{'nodeName':'n'}}");

    (void)state;
    for (size_t i = 0; i < good.len * 4; i++) {
        size_t at = i % good.len, len = i < good.len ? at : good.len;
        uint8_t *bytes = malloc(len);
        struct kube_object *out = NULL;
        struct err err = ERR_INIT;

        memcpy(bytes, good.data, len);
        if (len == good.len)
            bytes[at] = (uint8_t) "\"{0"[i / good.len - 1];
        if (kube__object_new(resource("", "v1", "pods"), slice_str("a/p"), slice_of(bytes, len), 1,
                             &arena, &out, &err) == 0) {
            (void)label(out, "app");
            (void)field(out, "spec.nodeName");
            free(malloc(kube_object_size(out, true)));
            kube_object_unref(out);
        }
        free(bytes);
        arena_reset(&arena);
        good = quoted("{'kind':'Pod','apiVersion':'v1','metadata':{'name':'p','namespace':"
                      "'a','labels':{'app':'w\\u0041b'}},'spec':{'nodeName':'n'}}");
    }
}

/* ---- tokens ---- */

static int read_token(const char *token, int64_t *revision, struct slice *start,
                      struct kube_status *status)
{
    *status = (struct kube_status){0};
    return kube__token_read(&arena, slice_str(token), revision, start, status);
}

static void token_comes_back_as_it_was(void **state)
{
    static const char *const starts[] = {"a", "ns/name", "x/y-z.1"};
    struct kube_status status;
    struct slice start;
    int64_t revision;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        size_t len = strlen(starts[i]) + 1; /* with its NUL, as the next key has */
        const char *token = kube__token_write(&arena, -1 - (int64_t)i, slice_of(starts[i], len));

        if (i > 0)
            token = kube__token_write(&arena, (int64_t)i << 40, slice_of(starts[i], len));
        assert_int_equal(read_token(token, &revision, &start, &status), 0);
        assert_int_equal(revision, i == 0 ? -1 : (int64_t)i << 40);
        assert_true(slice_eq(start, slice_of(starts[i], len)));
        assert_null(strpbrk(token, "+/="));
    }
}

static void upstreams_token_is_read(void **state)
{
    struct kube_status status;
    struct slice start;
    int64_t revision;

    (void)state; /* {"v":"meta.k8s.io/v1","rv":7,"start":"c1\u0000"} */
    assert_int_equal(read_token("eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6Nywic3RhcnQiOiJjMVx1MDAwMCJ9",
                                &revision, &start, &status),
                     0);
    assert_int_equal(revision, 7);
    assert_true(slice_eq(start, slice_of("c1", 3)));
}

static const char *base64(const char *json)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct slice text = quoted(json);
    char *out = arena_calloc(&arena, 2 * text.len + 4);
    size_t at = 0;

    for (size_t i = 0; i < 8 * text.len; i += 6) {
        unsigned pair =
            (unsigned)text.data[i / 8] << 8 | (i / 8 + 1 < text.len ? text.data[i / 8 + 1] : 0u);

        out[at++] = alphabet[pair >> (10 - i % 8) & 63];
    }
    return out;
}

static void forged_token_is_refused(void **state)
{
    static const char *const tokens[] = {
        "{'v':'meta.k8s.io/v2','rv':1,'start':'a'}",
        "{'v':'meta.k8s.io/v1','rv':0,'start':'a'}",
        "{'v':'meta.k8s.io/v1','rv':-2,'start':'a'}",
        "{'v':'meta.k8s.io/v1','start':'a'}",
        "{'v':'meta.k8s.io/v1','rv':1}",
        "{'v':'meta.k8s.io/v1','rv':1,'start':''}",
        "{'v':'meta.k8s.io/v1','rv':1,'start':'/'}",
        "{'v':'meta.k8s.io/v1','rv':1,'start':'../secrets/a'}",
        "{'v':'meta.k8s.io/v1','rv':1,'start':'/a/../../secrets'}",
        "{'v':'meta.k8s.io/v1','rv':1,'start':'a//b'}",
        "{'v':'meta.k8s.io/v1','rv':1,'start':'./a'}",
        "{'v':'meta.k8s.io/v1','rv':'1','start':['a']}",
        "[]",
        "",
    };
    struct kube_status status;
    struct slice start;
    int64_t revision;

    (void)state;
    assert_int_equal(
        read_token(base64("{'v':'meta.k8s.io/v1','rv':1,'start':'a'}"), &revision, &start, &status),
        0);
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        assert_int_equal(read_token(base64(tokens[i]), &revision, &start, &status), 400);
        assert_string_equal(status.reason, "BadRequest");
        assert_int_equal(strncmp(status.message, "invalid continue token: ", 24), 0);
    }
    assert_int_equal(read_token("a!bc", &revision, &start, &status), 400);
    assert_int_equal(read_token("abc", &revision, &start, &status), 400);
    assert_string_equal(status.message,
                        "invalid continue token: continue key is not valid: invalid character "
                        "'i' looking for beginning of value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(revision_is_written_where_upstream_has_it, reset),
        cmocka_unit_test_teardown(tree_of_an_object_is_what_is_written, reset),
        cmocka_unit_test_teardown(labels_and_fields_are_found_in_the_bytes, reset),
        cmocka_unit_test_teardown(fields_read_what_upstream_reads, reset),
        cmocka_unit_test_teardown(foreign_json_is_brought_into_canonical_form, reset),
        cmocka_unit_test_teardown(protobuf_of_a_kube_apiserver_is_read, reset),
        cmocka_unit_test_teardown(another_version_is_converted, reset),
        cmocka_unit_test_teardown(what_cannot_be_read_is_refused, reset),
        cmocka_unit_test_teardown(damaged_values_do_no_harm, reset),
        cmocka_unit_test_teardown(token_comes_back_as_it_was, reset),
        cmocka_unit_test_teardown(upstreams_token_is_read, reset),
        cmocka_unit_test_teardown(forged_token_is_refused, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
