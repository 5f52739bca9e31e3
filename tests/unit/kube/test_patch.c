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

static struct json *tree(const char *text)
{
    struct json *value = NULL;
    struct json_error error;

    if (json_parse(&arena, slice_str(text), NULL, &value, &error) != 0)
        fail_msg("%s: %s", text, error.text);
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

typedef int (*patch_fn)(struct arena *arena, const struct json *old, const struct json *patch,
                        struct json **out, struct kube_status *status);

/* result NULL: refused with code. */
static void expect(patch_fn apply, const char *old_text, const char *patch, const char *result,
                   int code)
{
    struct json *old = tree(old_text), *out = NULL;
    struct kube_status status;
    int rc = apply(&arena, old, tree(patch), &out, &status);

    if (rc != code || status.code != code)
        fail_msg("%s + %s: %d, %s", old_text, patch, rc, status.message);
    if (rc == 0 && strcmp(text_of(out), result) != 0)
        fail_msg("%s + %s: %s", old_text, patch, text_of(out));
    assert_string_equal(text_of(old), text_of(tree(old_text)));
}

static void merges(const char *old, const char *patch, const char *result)
{
    expect(kube_patch_merge, old, patch, result, 0);
}

static void merge_patch_follows_the_rfc(void **state)
{
    (void)state;
    merges("{\"a\":1,\"b\":{\"c\":2,\"d\":3}}", "{\"a\":9,\"b\":{\"c\":null,\"e\":4}}",
           "{\"a\":9,\"b\":{\"d\":3,\"e\":4}}");
    merges("{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}");
    merges("{\"a\":\"text\"}", "{\"a\":{\"b\":null,\"c\":{\"d\":null}}}", "{\"a\":{\"c\":{}}}");
    merges("{\"a\":{\"b\":1}}", "{\"a\":\"text\"}", "{\"a\":\"text\"}");
    merges("{\"a\":null}", "{\"b\":1}", "{\"a\":null,\"b\":1}");
    merges("{\"a\":1}", "{\"a\":null,\"zz\":null}", "{}");
    merges("{}", "{\"a\":[null,{\"b\":null,\"c\":1}]}", "{\"a\":[null,{\"c\":1}]}");
}

static void a_merge_patch_is_an_object(void **state)
{
    (void)state;
    expect(kube_patch_merge, "{}", "[]", NULL, 400);
    expect(kube_patch_merge, "{}", "\"a\"", NULL, 400);
    expect(kube_patch_merge, "{}", "null", NULL, 400);
}

static void does(const char *old, const char *operations, const char *result)
{
    expect(kube_patch_json, old, operations, result, 0);
}

static void fails(const char *old, const char *operations)
{
    expect(kube_patch_json, old, operations, NULL, 422);
}

static void json_patch_adds(void **state)
{
    (void)state;
    does("{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":{\"c\":2}}]",
         "{\"a\":1,\"b\":{\"c\":2}}");
    does("{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":2}]", "{\"a\":2}");
    does("{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/1\",\"value\":9}]", "{\"a\":[1,9,2]}");
    does("{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/0\",\"value\":9}]", "{\"a\":[9,1,2]}");
    does("{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/2\",\"value\":9}]", "{\"a\":[1,2,9]}");
    does("{\"a\":[]}",
         "[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":1},"
         "{\"op\":\"add\",\"path\":\"/a/-\",\"value\":2}]",
         "{\"a\":[1,2]}");
    does("{}", "[{\"op\":\"add\",\"path\":\"/\",\"value\":1}]", "{\"\":1}");
    fails("{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/3\",\"value\":9}]");
    fails("{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/x\",\"value\":9}]");
    fails("{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":9}]");
    fails("{}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":9}]");
    fails("{}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":9}]");
    fails("{}", "[{\"op\":\"add\",\"path\":\"\",\"value\":{}}]");
    fails("{}", "[{\"op\":\"add\",\"value\":9}]");
    fails("{}", "[{\"op\":\"add\",\"path\":7,\"value\":9}]");
}

static void json_patch_removes_and_replaces(void **state)
{
    (void)state;
    does("{\"a\":1,\"b\":2}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", "{\"b\":2}");
    does("{\"a\":[1,2,3]}", "[{\"op\":\"remove\",\"path\":\"/a/1\"}]", "{\"a\":[1,3]}");
    does("{\"a\":[1,2]}",
         "[{\"op\":\"remove\",\"path\":\"/a/1\"},{\"op\":\"add\",\"path\":\"/a/-\",\"value\":5}]",
         "{\"a\":[1,5]}");
    does("{\"a\":[1,{\"b\":2}]}", "[{\"op\":\"replace\",\"path\":\"/a/1/b\",\"value\":[]}]",
         "{\"a\":[1,{\"b\":[]}]}");
    does("{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"b\":2}}]", "{\"b\":2}");
    fails("{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]");
    fails("{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/1\"}]");
    fails("{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/-\"}]");
    fails("{\"a\":[1]}", "[{\"op\":\"replace\",\"path\":\"/a/1\",\"value\":0}]");
    fails("{}", "[{\"op\":\"replace\",\"path\":\"/a/b\",\"value\":0}]");
}

/* What evanphx/json-patch, which upstream uses, takes beyond the RFC. */
static void json_patch_is_as_lenient_as_upstream(void **state)
{
    (void)state;
    does("{}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":1}]", "{\"a\":1}");
    does("{\"a\":[1,2]}", "[{\"op\":\"remove\",\"path\":\"/a/-1\"}]", "{\"a\":[1]}");
    does("{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/-1\",\"value\":9}]", "{\"a\":[1,2,9]}");
    does("{\"a\":[1,2]}", "[{\"op\":\"replace\",\"path\":\"/a/01\",\"value\":9}]", "{\"a\":[1,9]}");
    does("{\"a\":[1,2]}", "[{\"op\":\"replace\",\"path\":\"/a/+0\",\"value\":9}]", "{\"a\":[9,2]}");
    fails("{\"a\":[1,2]}", "[{\"op\":\"remove\",\"path\":\"/a/-3\"}]");
    fails("{\"a\":[1,2]}",
          "[{\"op\":\"remove\",\"path\":\"/a/99999999999999999999999999999999999\"}]");
}

static void json_patch_moves_and_copies(void **state)
{
    (void)state;
    does("{\"a\":{\"b\":1},\"c\":[2]}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/c/0\"}]",
         "{\"a\":{},\"c\":[1,2]}");
    does("{\"c\":[2,3]}", "[{\"op\":\"move\",\"from\":\"/c/0\",\"path\":\"/d\"}]",
         "{\"c\":[3],\"d\":2}");
    does("{\"a\":{\"b\":1}}",
         "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/c\"},"
         "{\"op\":\"replace\",\"path\":\"/c/b\",\"value\":2}]",
         "{\"a\":{\"b\":1},\"c\":{\"b\":2}}");
    does("{\"a\":[1,2,3]}", "[{\"op\":\"move\",\"from\":\"/a/2\",\"path\":\"/a/0\"}]",
         "{\"a\":[3,1,2]}");
    fails("{\"a\":{}}", "[{\"op\":\"move\",\"from\":\"/b\",\"path\":\"/c\"}]");
    fails("{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]");
    fails("{\"a\":1}", "[{\"op\":\"copy\",\"path\":\"/c\"}]");
}

static void json_patch_tests(void **state)
{
    (void)state;
    does("{\"a\":{\"x\":1,\"y\":[null]}}",
         "[{\"op\":\"test\",\"path\":\"/a\",\"value\":{\"y\":[null],\"x\":1}}]",
         "{\"a\":{\"x\":1,\"y\":[null]}}");
    does("{\"a\":null}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", "{\"a\":null}");
    does("{}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", "{}");
    does("{}", "[{\"op\":\"test\",\"path\":\"/a\"}]", "{}");
    fails("{}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]");
    fails("{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":\"1\"}]");
    fails("{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\"}]");
    fails("{\"a\":[1]}", "[{\"op\":\"test\",\"path\":\"/a/1\",\"value\":null}]");
}

static void json_pointers_are_unescaped_once(void **state)
{
    (void)state;
    does("{\"a/b\":1,\"m~n\":2,\"~1\":3}",
         "[{\"op\":\"remove\",\"path\":\"/a~1b\"},{\"op\":\"remove\",\"path\":\"/m~0n\"},"
         "{\"op\":\"remove\",\"path\":\"/~01\"}]",
         "{}");
    does("{\"~\":1}", "[{\"op\":\"remove\",\"path\":\"/~\"}]", "{}");
}

static void a_json_patch_is_an_array_of_objects(void **state)
{
    (void)state;
    expect(kube_patch_json, "{}", "{}", NULL, 400);
    expect(kube_patch_json, "{}", "[1]", NULL, 400);
    fails("{}", "[{}]");
    fails("{}", "[{\"op\":\"frob\",\"path\":\"/a\"}]");
    does("{\"a\":1}", "[]", "{\"a\":1}");
}

/* A patch of operations, each made by fmt with its number. */
static struct json *many(unsigned count, const char *fmt) __attribute__((format(printf, 2, 0)));
static struct json *many(unsigned count, const char *fmt)
{
    struct json *patch = json_new(&arena, JSON_ARRAY);

    for (unsigned i = 0; i < count; i++) {
        char *text = arena_alloc(&arena, 128);

        (void)snprintf(text, 128, fmt, i);
        json_append(patch, tree(text));
    }
    return patch;
}

static void a_json_patch_has_limits(void **state)
{
    struct kube_status status;
    struct json *old, *out;

    (void)state;
    assert_int_equal(kube_patch_json(&arena, tree("{}"),
                                     many(10001, "{\"op\":\"add\",\"path\":\"/a\",\"value\":%u}"),
                                     &out, &status),
                     413);
    assert_string_equal(status.message, "Request entity too large: The allowed maximum operations "
                                        "in a JSON patch is 10000, got 10001");
    /* Each copy doubles what the next one copies. */
    assert_int_equal(
        kube_patch_json(&arena, tree("{\"a0\":{\"x\":\"0123456789\"}}"),
                        many(60, "{\"op\":\"copy\",\"from\":\"/a0\",\"path\":\"/a0/b%u\"}"), &out,
                        &status),
        422);
    assert_true(arena.used < 64u << 20);
    /* Each replacement walks along a hundred thousand items. */
    old = tree("{\"a\":[]}");
    for (int i = 0; i < 100000; i++)
        json_append(json_get(old, "a"), json_new(&arena, JSON_NULL));
    assert_int_equal(
        kube_patch_json(&arena, old,
                        many(10000, "{\"op\":\"replace\",\"path\":\"/a/99999\",\"value\":%u}"),
                        &out, &status),
        422);
}

/* {"a":{"a":...}} as deep as is read, 1 in the middle. */
static struct json *deep(void)
{
    struct buf buf;
    struct json *value;

    buf_init(&buf, 1u << 20);
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        assert_int_equal(buf_append(&buf, "{\"a\":", 5), 0);
    assert_int_equal(buf_append(&buf, "1", 1), 0);
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        assert_int_equal(buf_append(&buf, "}", 1), 0);
    value = tree(memcpy(arena_calloc(&arena, buf.len + 1), buf.data, buf.len));
    buf_release(&buf);
    return value;
}

static void deep_documents_are_patched(void **state)
{
    struct json *old = deep(), *out = NULL;
    struct kube_status status;

    (void)state;
    assert_int_equal(kube_patch_merge(&arena, old, deep(), &out, &status), 0);
    assert_true(json_same(old, out));
    assert_int_equal(kube_patch_merge(&arena, tree("{}"), old, &out, &status), 0);
    assert_true(json_same(old, out));
    assert_int_equal(kube_patch_json(&arena, old,
                                     tree("[{\"op\":\"copy\",\"from\":\"/a/a\",\"path\":\"/a/b\"},"
                                          "{\"op\":\"test\",\"path\":\"/a/b/a\",\"value\":1}]"),
                                     &out, &status),
                     422);
    assert_int_equal(kube_patch_strategic(&arena, kube_struct_find("core/v1", "Pod"), tree("{}"),
                                          old, &out, &status),
                     0);
    assert_true(json_same(old, out));
    assert_int_equal(kube_patch_strategic(&arena, kube_struct_find("core/v1", "Pod"), old, deep(),
                                          &out, &status),
                     422);
    assert_string_equal(status.message, "the patch is nested more than 1000 levels deep");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(merge_patch_follows_the_rfc, reset),
        cmocka_unit_test_teardown(a_merge_patch_is_an_object, reset),
        cmocka_unit_test_teardown(json_patch_adds, reset),
        cmocka_unit_test_teardown(json_patch_removes_and_replaces, reset),
        cmocka_unit_test_teardown(json_patch_is_as_lenient_as_upstream, reset),
        cmocka_unit_test_teardown(json_patch_moves_and_copies, reset),
        cmocka_unit_test_teardown(json_patch_tests, reset),
        cmocka_unit_test_teardown(json_pointers_are_unescaped_once, reset),
        cmocka_unit_test_teardown(a_json_patch_is_an_array_of_objects, reset),
        cmocka_unit_test_teardown(a_json_patch_has_limits, reset),
        cmocka_unit_test_teardown(deep_documents_are_patched, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
