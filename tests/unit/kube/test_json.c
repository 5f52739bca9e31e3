#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
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

static struct json *tree(const char *text)
{
    struct json *value = NULL;

    assert_int_equal(json_parse(&arena, slice_str(text), NULL, &value, NULL), 0);
    return value;
}

static const char *rewritten(const char *text)
{
    struct buf buf;
    char *out;

    buf_init(&buf, 1 << 20);
    assert_int_equal(json_write(&buf, tree(text)), 0);
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

static void what_is_no_text_is_written_as_in_go(void **state)
{
    struct json *value =
        json_new_string(&arena, slice_str("a\xff\xc3\xa9\xe2\x80\xa9\xe2\x80\xf0\x9f\x98\x80z"));
    struct buf buf;

    (void)state;
    buf_init(&buf, 1 << 10);
    assert_int_equal(json_write(&buf, value), 0);
    assert_true(slice_eq(buf_slice(&buf),
                         slice_str("\"a\\ufffd\xc3\xa9\\u2029\\ufffd\\ufffd\xf0\x9f\x98\x80z\"")));
    buf_release(&buf);
}

static void invalid_text_is_repaired_as_in_go(void **state)
{
    struct slice plain = slice_str("plain \xc3\xa9 \\ \"");
    struct slice broken = json_valid_text(&arena, slice_str("\xff"
                                                            "a\xe2\x80z\xc3"));

    (void)state;
    assert_ptr_equal(json_valid_text(&arena, plain).data, plain.data);
    assert_true(slice_eq(broken, slice_str("\xef\xbf\xbd"
                                           "a\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd")));
    assert_int_equal(json_valid_text(&arena, slice_of(NULL, 0)).len, 0);
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

/* After the public test suites' ideas: what each text is, and nothing else. */
static void texts_that_are_json_are_read(void **state)
{
    static const char *const texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "-1",
        "10",
        "0.5",
        "1E9",
        "1e+9",
        "1e-9",
        "0e0",
        "-0.0e-0",
        "123456789012345678901234567890",
        "1.7976931348623157e309",
        "\"\"",
        "\" \"",
        "\"\\u0000\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\x7f\"",
        "\"\xc2\x80\"",
        "\"\xed\x9f\xbf\"",
        "\"\xee\x80\x80\"",
        "\"\xf4\x8f\xbf\xbf\"",
        "[]",
        "[[]]",
        "[\n]",
        "[1 ,\t2\r\n]",
        "{}",
        "{\"\":0}",
        "{\"a\":{\"a\":[]}}",
        " \n\r\t[] \n",
        "[\"a\",5,null]",
        "[-1.0e+10]",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct json *value = NULL;
        struct json_error error = {0, ""};

        if (json_parse(&arena, slice_str(texts[i]), NULL, &value, &error) != 0)
            fail_msg("%s: %s", texts[i], error.text);
        assert_true(json_same(value, tree(rewritten(texts[i]))));
    }
}

static void texts_that_are_no_json_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "nul",
        "nulll",
        "True",
        "NaN",
        "Infinity",
        "-Infinity",
        "undefined",
        "+1",
        "01",
        "-01",
        "-",
        "--1",
        "-a",
        "1.",
        "1.e1",
        ".5",
        "-.5",
        "1e",
        "1e+",
        "1eE2",
        "1.2.3",
        "0x1",
        "1_000",
        "1 2",
        "'a'",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\",
        "\"\\x41\"",
        "\"\\u\"",
        "\"\\u12\"",
        "\"\\u123g\"",
        "\"\\U0041\"",
        "\"\n\"",
        "\"\t\"",
        "\"\x1f\"",
        "\"\\\n\"",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[,]",
        "[1,,2]",
        "[1;2]",
        "[1}",
        "[\"a\"",
        "[a]",
        "[1]]",
        "[]x",
        "{",
        "}",
        "{]",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{\"a\"}",
        "{\"a\",1}",
        "{\"a\"::1}",
        "{\"a\" 1}",
        "{a:1}",
        "{1:1}",
        "{'a':1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1}}",
        "{\"a\":1}{",
        "{null:1}",
        "{[]:1}",
        "// x\n1",
        "/**/1",
        "[1,/**/2]",
        "#",
        "\xef\xbb\xbf[]",
        "\xe2\x80\x83[]",
        "\f[]",
        "\v1",

        "\xff",
        "[1\xff]",
        "<x/>",
        "*",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct json *value = NULL;

        if (json_parse(&arena, slice_str(texts[i]), NULL, &value, NULL) != KV_EPROTO)
            fail_msg("accepted: %s", texts[i]);
    }
    assert_string_equal(complaint("\"a\nb\""), "invalid character '\\n' in string literal");
    assert_string_equal(complaint("\"\\x\""), "invalid character 'x' in string escape code");
    assert_string_equal(complaint("\"\\u12g4\""),
                        "invalid character 'g' in \\u hexadecimal character escape");
    assert_string_equal(complaint("-a"), "invalid character 'a' in numeric literal");
    assert_string_equal(complaint("1.x"),
                        "invalid character 'x' after decimal point in numeric literal");
    assert_string_equal(complaint("1ex"), "invalid character 'x' in exponent of numeric literal");
    assert_string_equal(complaint("{\"a\" 1}"), "invalid character '1' after object key");
    assert_string_equal(complaint("{\"a\":1 2}"),
                        "invalid character '2' after object key:value pair");
    assert_string_equal(complaint("[1,]"), "invalid character ']' looking for beginning of value");
    assert_string_equal(complaint("\xef\xbb\xbf[]"),
                        "invalid character '\xc3\xaf' looking for beginning of value");
}

/* No part of a text, whatever it is cut to, reads past its end (ASan looks on). */
static void every_beginning_of_a_text_is_refused(void **state)
{
    static const char text[] =
        "[{\"a\\u0041\xc3\xa9\":[-1.5e+3,true,false,null,\"\\ud83d\\ude00\"]}]";

    (void)state;
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        char *part = malloc(MAX(len, (size_t)1)); /* exactly as long as it is */
        struct json *value;

        assert_non_null(part);
        memcpy(part, text, len);
        assert_int_equal(json_parse(&arena, slice_of(part, len), NULL, &value, NULL), KV_EPROTO);
        free(part);
    }
}

/* As deep as is read, arrays within objects: nothing that goes through a tree may need the stack
 * for it. */
static void deep_trees_are_handled(void **state)
{
    enum { PAIRS = JSON_DEPTH_MAX / 2 };
    struct json_duplicate *duplicates = NULL;
    struct json_parse_options options = {.duplicates = &duplicates};
    struct buf text, out;
    struct json *value, *copy, *clone;

    (void)state;
    buf_init(&text, 1 << 20);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < PAIRS; i++)
        assert_int_equal(buf_append(&text, "{\"a\":[", 6), 0);
    text.len--; /* in place of the innermost array */
    assert_int_equal(buf_append(&text, "{\"b\":1,\"b\":2}", 13), 0);
    for (int i = 0; i < PAIRS - 1; i++)
        assert_int_equal(buf_append(&text, "}]", 2), 0);
    assert_int_equal(buf_append(&text, "}", 1), 0);
    assert_int_equal(json_parse(&arena, buf_slice(&text), &options, &value, NULL), 0);
    assert_non_null(duplicates);
    copy = json_copy(&arena, value);
    clone = json_clone(&arena, copy);
    assert_true(json_same(value, clone));
    assert_int_equal(json_write(&out, clone), 0);
    assert_int_equal(out.len, text.len - 6);
    buf_release(&text);
    buf_release(&out);
}

static void long_strings_come_through(void **state)
{
    enum { LEN = 2 << 20 };
    char *text = arena_alloc(&arena, LEN + 2);
    struct json *value;
    struct buf out;

    (void)state;
    text[0] = text[LEN + 1] = '"';
    for (int i = 0; i < LEN; i++)
        text[i + 1] = (char)('0' + i % 10);
    buf_init(&out, 16 << 20);
    assert_int_equal(json_parse(&arena, slice_of(text, LEN + 2), NULL, &value, NULL), 0);
    assert_ptr_equal(value->text, text + 1); /* borrowed, not copied */
    assert_int_equal(json_write(&out, value), 0);
    assert_true(slice_eq(buf_slice(&out), slice_of(text, LEN + 2)));
    memset(text + 1, '<', LEN);
    buf_reset(&out);
    assert_int_equal(json_parse(&arena, slice_of(text, LEN + 2), NULL, &value, NULL), 0);
    assert_int_equal(json_write(&out, value), 0);
    assert_int_equal(out.len, 6 * LEN + 2);
    buf_release(&out);
    buf_init(&out, 6 * LEN + 1);
    assert_int_equal(json_write(&out, value), KV_ETOOBIG);
    buf_release(&out);
}

/* A special byte at every place of a block of 16, and of what follows the last block. */
static void special_bytes_are_found_wherever_they_are(void **state)
{
    static const char *const escapes[] = {"\\n",     "\\\"",    "\\\\",    "\\u0001",  "\\u003c",
                                          "\\u003e", "\\u0026", "\\u2028", "\xc3\xa9", "\x7f"};

    (void)state;
    for (size_t place = 0; place < 40; place++) {
        for (size_t i = 0; i < ARRAY_LEN(escapes); i++) {
            char text[128];

            (void)snprintf(text, sizeof(text), "\"%.*s%s%.*s\"", (int)place,
                           "0123456789abcdefghijklmnopqrstuvwxyzABCD", escapes[i],
                           (int)(40 - place), "0123456789abcdefghijklmnopqrstuvwxyzABCD");
            assert_string_equal(rewritten(text), text);
        }
    }
}

/* A hundred thousand members, in another order; a square of it would take a minute. */
static void wide_objects_take_no_square(void **state)
{
    enum { COUNT = 100000 };
    struct json_duplicate *duplicates = NULL;
    struct json_parse_options options = {.duplicates = &duplicates};
    struct json *up, *down;
    struct buf text;

    (void)state;
    buf_init(&text, 16 << 20);
    assert_int_equal(buf_append(&text, "{", 1), 0);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(buf_printf(&text, "%s\"k%d\":%d", i == 0 ? "" : ",", i, i), 0);
    assert_int_equal(buf_append(&text, "}", 1), 0);
    assert_int_equal(json_parse(&arena, buf_slice(&text), &options, &up, NULL), 0);
    down = json_new(&arena, JSON_OBJECT);
    for (struct json *member = json_clone(&arena, up)->first, *next; member != NULL;
         member = next) {
        next = member->next;
        member->next = down->first;
        down->first = member;
        down->last = down->last == NULL ? member : down->last;
        down->count++;
    }
    assert_null(duplicates);
    assert_true(json_same(up, down));
    json_get(down, "k0")->text = "1";
    assert_false(json_same(up, down));
    buf_release(&text);
}

static void duplicates_that_nobody_reads_are_not_noted(void **state)
{
    struct json_duplicate *duplicates = NULL;
    struct json_parse_options options = {.duplicates = &duplicates};
    struct json *value;
    struct buf text;
    unsigned count = 0;

    (void)state;
    buf_init(&text, 16 << 20);
    assert_int_equal(buf_append(&text, "{\"a\":0", 6), 0);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buf_append(&text, ",\"a\":0", 6), 0);
    assert_int_equal(buf_append(&text, "}", 1), 0);
    assert_int_equal(json_parse(&arena, buf_slice(&text), &options, &value, NULL), 0);
    for (struct json_duplicate *at = duplicates; at != NULL; at = at->next)
        count++;
    assert_int_equal(count, 100);
    assert_int_equal(value->count, 1);
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(values_come_back_as_they_were, reset),
        cmocka_unit_test_teardown(strings_are_decoded_and_escaped_as_in_go, reset),
        cmocka_unit_test_teardown(what_is_no_text_is_written_as_in_go, reset),
        cmocka_unit_test_teardown(invalid_text_is_repaired_as_in_go, reset),
        cmocka_unit_test_teardown(errors_are_worded_as_in_go, reset),
        cmocka_unit_test_teardown(nesting_has_a_limit, reset),
        cmocka_unit_test_teardown(duplicates_are_noted_with_their_path_and_the_last_one_stays,
                                  reset),
        cmocka_unit_test_teardown(wide_objects_find_their_duplicates, reset),
        cmocka_unit_test_teardown(members_are_set_in_place_and_removed, reset),
        cmocka_unit_test_teardown(texts_that_are_json_are_read, reset),
        cmocka_unit_test_teardown(texts_that_are_no_json_are_refused, reset),
        cmocka_unit_test_teardown(every_beginning_of_a_text_is_refused, reset),
        cmocka_unit_test_teardown(deep_trees_are_handled, reset),
        cmocka_unit_test_teardown(long_strings_come_through, reset),
        cmocka_unit_test_teardown(special_bytes_are_found_wherever_they_are, reset),
        cmocka_unit_test_teardown(wide_objects_take_no_square, reset),
        cmocka_unit_test_teardown(duplicates_that_nobody_reads_are_not_noted, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
