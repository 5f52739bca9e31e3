#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kube/json/json.h"

static struct arena arena = ARENA_INIT;

static int reset(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const char *rewritten(const char *text)
{
    struct json *value = NULL;
    struct buf buf;
    char *out;

    assert_int_equal(json_parse(&arena, slice_str(text), NULL, &value, NULL), 0);
    buf_init(&buf, 1 << 20);
    assert_int_equal(json_write(&buf, value), 0);
    out = arena_calloc(&arena, buf.len + 1);
    memcpy(out, buf.data, buf.len);
    buf_release(&buf);
    return out;
}

static const char *complaint(const char *text)
{
    struct json *value = NULL;
    struct json_error *error = arena_calloc(&arena, sizeof(*error));

    assert_int_equal(json_parse(&arena, slice_str(text), NULL, &value, error), KV_EPROTO);
    return error->text;
}

static void values_come_back_as_they_were(void **state)
{
    (void)state;
    assert_string_equal(rewritten(" {\"a\" : [1, -2.50e+3, true,false , null], \"b\":{}} "),
                        "{\"a\":[1,-2.50e+3,true,false,null],\"b\":{}}");
    assert_string_equal(rewritten("[]"), "[]");
    assert_string_equal(rewritten("\"\""), "\"\"");
}

static void strings_are_decoded_and_escaped_as_in_go(void **state)
{
    (void)state;
    assert_string_equal(rewritten("\"\\u0041\\n\\/<\\ud83d\\ude00\\ud800x\\u2028\""),
                        "\"A\\n/\\u003c\xf0\x9f\x98\x80\xef\xbf\xbdx\\u2028\"");
    assert_string_equal(rewritten("\"\xff\""), "\"\xef\xbf\xbd\"");
}

static void errors_are_worded_as_in_go(void **state)
{
    (void)state;
    assert_string_equal(complaint("{bad"),
                        "invalid character 'b' looking for beginning of object key string");
    assert_string_equal(complaint(""), "unexpected end of JSON input");
    assert_string_equal(complaint("{\"a\":1}x"), "invalid character 'x' after top-level value");
    assert_string_equal(complaint("[1 2]"), "invalid character '2' after array element");
    assert_string_equal(complaint("tru "), "invalid character ' ' in literal true (expecting 'e')");
    assert_string_equal(complaint("01"), "invalid character '1' after top-level value");
}

static void nesting_has_a_limit(void **state)
{
    size_t depth = JSON_DEPTH_MAX + 1;
    char *text = arena_alloc(&arena, depth + 1);

    (void)state;
    memset(text, '[', depth);
    text[depth] = '\0';
    assert_string_equal(complaint(text), "exceeded max depth");
}

static void duplicates_are_noted_with_their_path_and_the_last_one_stays(void **state)
{
    struct json_duplicate *duplicates = NULL;
    struct json_parse_options options = {.duplicates = &duplicates};
    struct json *value;

    (void)state;
    assert_int_equal(json_parse(&arena, slice_str("{\"a\":1,\"b\":[{},{\"c\":1,\"c\":2}],\"a\":3}"),
                                &options, &value, NULL),
                     0);
    assert_true(slice_eq(duplicates->path, slice_str("b[1].c")));
    assert_true(slice_eq(duplicates->next->path, slice_str("a")));
    assert_null(duplicates->next->next);
    assert_true(slice_eq(json_text_at(value, "a"), slice_str("3")));
    assert_int_equal(value->count, 2);
}

static void wide_objects_find_their_duplicates(void **state)
{
    struct json_duplicate *duplicates = NULL;
    struct json_parse_options options = {.duplicates = &duplicates};
    struct json *value;
    struct buf buf;

    (void)state;
    buf_init(&buf, 1 << 20);
    assert_int_equal(buf_printf(&buf, "{\"k\":0"), 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_printf(&buf, ",\"k%d\":%d", i, i), 0);
    assert_int_equal(buf_printf(&buf, ",\"k777\":1}"), 0);
    assert_int_equal(json_parse(&arena, buf_slice(&buf), &options, &value, NULL), 0);
    assert_int_equal(value->count, 1001);
    assert_true(slice_eq(duplicates->path, slice_str("k777")));
    assert_null(duplicates->next);
    buf_release(&buf);
}

static void members_are_set_in_place_and_removed(void **state)
{
    struct json *object = json_new(&arena, JSON_OBJECT);

    (void)state;
    json_set(object, "a", json_new_int(&arena, 1));
    json_set(object, "b", json_new_int(&arena, 2));
    json_set(object, "a", json_new_int(&arena, 3));
    json_set_first(object, "z", json_new_bool(&arena, true));
    assert_true(json_remove(object, "b"));
    assert_false(json_remove(object, "b"));
    json_set(object, "c", json_new_int(&arena, 4));
    assert_int_equal(object->count, 3);
    assert_string_equal(object->first->key, "z");
    assert_string_equal(object->last->key, "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(values_come_back_as_they_were, reset),
        cmocka_unit_test_teardown(strings_are_decoded_and_escaped_as_in_go, reset),
        cmocka_unit_test_teardown(errors_are_worded_as_in_go, reset),
        cmocka_unit_test_teardown(nesting_has_a_limit, reset),
        cmocka_unit_test_teardown(duplicates_are_noted_with_their_path_and_the_last_one_stays,
                                  reset),
        cmocka_unit_test_teardown(wide_objects_find_their_duplicates, reset),
        cmocka_unit_test_teardown(members_are_set_in_place_and_removed, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
