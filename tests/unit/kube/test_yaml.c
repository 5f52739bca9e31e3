#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kube/codec/yaml.h"

static struct arena arena = ARENA_INIT;

static int reset(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const char *buf_text(struct buf *buf)
{
    char *out = arena_calloc(&arena, buf->len + 1);

    if (buf->len > 0)
        memcpy(out, buf->data, buf->len);
    buf_release(buf);
    return out;
}

/* YAML in, compact JSON or the complaint out. */
static const char *read_text(struct slice text)
{
    struct json *value;
    struct err *err = arena_calloc(&arena, sizeof(*err));
    struct buf buf;

    if (kube_yaml_parse(&arena, text, NULL, &value, err) != 0)
        return err->text;
    buf_init(&buf, 16u << 20);
    assert_int_equal(json_write(&buf, value), 0);
    return buf_text(&buf);
}

static void reads(const char *yaml, const char *expected)
{
    const char *got = read_text(slice_str(yaml));

    if (strcmp(got, expected) != 0)
        fail_msg("%s\nis read as %s\ninstead of %s", yaml, got, expected);
}

static void writes(const char *json, const char *expected)
{
    struct json *value;
    struct buf buf;
    const char *got;

    assert_int_equal(json_parse(&arena, slice_str(json), NULL, &value, NULL), 0);
    buf_init(&buf, 1u << 20);
    assert_int_equal(kube_yaml_write(&buf, value), 0);
    got = buf_text(&buf);
    if (strcmp(got, expected) != 0)
        fail_msg("%s\nis written as\n%s\ninstead of\n%s", json, got, expected);
    reads(expected, json);
}

static void manifests_become_json(void **state)
{
    (void)state;
    reads("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: c\n    args: [a, \"b\"]\n"
          "    command:\n    - >-\n      one\n      two\n    - |\n      x\n      y\n",
          "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"name\":\"c\","
          "\"args\":[\"a\",\"b\"],\"command\":[\"one two\",\"x\\ny\\n\"]}]}}");
    reads("", "null");
    reads("# nothing\n", "null");
    reads("a: 1\n---\nb: 2\n", "{\"a\":1}");
    reads("{\"a\": [1, true, null, \"x\\u0041\"]}", "{\"a\":[1,true,null,\"xA\"]}");
}

static void plain_scalars_mean_what_go_yaml_says(void **state)
{
    (void)state;
    reads("[y, Yes, on, TRUE, n, No, OFF, False]", "[true,true,true,true,false,false,false,false]");
    reads("[~, null, Null, nUll, '']", "[null,null,null,\"nUll\",\"\"]");
    reads("[1, +2, -3, 1_000, 0x1F, 0b11, 0o17, 017, 08, -0]", "[1,2,-3,1000,31,3,15,15,8,0]");
    reads("[18446744073709551615, -9223372036854775808, 18446744073709551616]",
          "[18446744073709551615,-9223372036854775808,18446744073709552000]");
    reads("[1.50, .5, -.5, 5., 1e3, 1e21, 1e-6, 1e-7, 1e400, -0.0]",
          "[1.5,0.5,-0.5,5,1000,1e+21,0.000001,1e-7,\"1e400\",-0]");
    reads("[2001-01-01, 1:30, 1.2.3, 0x, ., +, \"1\", '2']",
          "[\"2001-01-01\",\"1:30\",\"1.2.3\",\"0x\",\".\",\"+\",\"1\",\"2\"]");
}

static void tags_are_obeyed(void **state)
{
    (void)state;
    reads("[!!str 1, !!int \"3\", !!float 2, !!bool yes, !!binary aGk=, ! 4]",
          "[\"1\",3,2,true,\"hi\",\"4\"]");
    reads("!!int x", "yaml: cannot decode !!str `x` as a !!int");
    reads("!!binary /w==", "\"\xef\xbf\xbd\"");
    reads("[!!binary \"aGkK\\naGk=\", !!binary '', !!binary YQ==]", "[\"hi\\nhi\",\"\",\"a\"]");
    reads("!!binary YQ=", "yaml: !!binary value contains invalid base64 data");
    reads("!!binary Y=Q=", "yaml: !!binary value contains invalid base64 data");
    reads("!!binary '====' ", "yaml: !!binary value contains invalid base64 data");
    reads("!!binary '*'", "yaml: !!binary value contains invalid base64 data");
}

static void keys_become_strings(void **state)
{
    (void)state;
    reads("1: a\nyes: b\n1.50: c\n1e6: d\n",
          "{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\",\"1e+06\":\"d\"}");
    reads("? [a]\n: 1\n", "yaml: invalid map key: no scalar");
    reads("~: 1\n", "yaml: unsupported map key: null");
}

static void anchors_and_merges_are_expanded(void **state)
{
    (void)state;
    reads("a: &x {k: 1, l: [2]}\nb: *x\n", "{\"a\":{\"k\":1,\"l\":[2]},\"b\":{\"k\":1,\"l\":[2]}}");
    reads("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  l: 3\n",
          "{\"a\":{\"k\":1,\"l\":2},\"b\":{\"k\":1,\"l\":3}}");
    reads("<<: [{a: 1}, {a: 2, b: 3}]\n", "{\"a\":1,\"b\":3}");
    reads("a: &x 1\na: 2\nb: *x\n", "{\"a\":2,\"b\":1}");
    reads("a: &x [1]\na: 2\nb: *x\n", "{\"a\":2,\"b\":[1]}");
    reads("&k key: *k\n", "{\"key\":\"key\"}");
    reads("a: *nobody\n", "yaml: unknown anchor 'nobody' referenced");
    reads("a: &x [*x]\n", "yaml: anchor 'x' value contains itself");
    reads("<<: 1\n", "yaml: map merge requires map or sequence of maps as the value");
}

/* Nine lists of nine aliases each: 387 million strings if expanded. */
static void bombs_do_not_explode(void **state)
{
    struct buf buf;
    const char *got;

    (void)state;
    buf_init(&buf, 1u << 16);
    assert_int_equal(buf_printf(&buf, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"), 0);
    for (int i = 1; i < 9; i++) {
        assert_int_equal(buf_printf(&buf, "a%d: &a%d [", i, i), 0);
        for (int j = 0; j < 9; j++)
            assert_int_equal(buf_printf(&buf, "*a%d%s", i - 1, j < 8 ? "," : "]\n"), 0);
    }
    got = read_text(buf_slice(&buf));
    buf_release(&buf);
    assert_string_equal(got, "yaml: document contains excessive aliasing");
    assert_true(arena.used < 64u << 20);
}

static void errors_name_the_line_as_upstream(void **state)
{
    (void)state;
    reads("a: b: c\n", "yaml: mapping values are not allowed in this context");
    reads("a:\n  b: c: d\n", "yaml: line 2: mapping values are not allowed in this context");
    reads("a: 1\n\tb: 2\n", "yaml: line 2: found a tab character that violates indentation");
    reads("a: [1\nb: 2\n", "yaml: line 1: did not find expected ',' or ']'");
    reads("{", "yaml: line 1: did not find expected node content");
    reads("a: .inf\n", "json: unsupported value: +Inf");
    assert_string_equal(read_text(slice_of("a\0b", 3)), "yaml: control characters are not allowed");
}

static void duplicates_are_noted_with_their_path(void **state)
{
    struct json_duplicate *duplicates = NULL;
    struct json *value;

    (void)state;
    assert_int_equal(kube_yaml_parse(&arena, slice_str("a: [{}, {c: 1, c: 2}]\nb: 1\nb: 2\n"),
                                     &duplicates, &value, NULL),
                     0);
    assert_true(slice_eq(duplicates->path, slice_str("a[1].c")));
    assert_true(slice_eq(duplicates->next->path, slice_str("b")));
    assert_null(duplicates->next->next);
    assert_true(slice_eq(json_text_at(value, "b"), slice_str("2")));
}

static void objects_are_written_as_kubectl_shows_them(void **state)
{
    (void)state;
    writes("{\"a\":{},\"a2\":[],\"a10\":null,\"b\":[{\"c\":1,\"d\":[true]}]}",
           "a: {}\na2: []\na10: null\nb:\n- c: 1\n  d:\n  - true\n");
    writes("{\"s\":[\"y\",\"1\",\"\",\"2026-11-22T21:14:32Z\",\"1:30\",\"a b\",\"a: b\",\"- x\"]}",
           "s:\n- \"y\"\n- \"1\"\n- \"\"\n- \"2026-11-22T21:14:32Z\"\n- \"1:30\"\n- a b\n"
           "- 'a: b'\n- '- x'\n");
    writes("{\"s\":[\"a\\nb\\n\",\"a\\nb\",\"a\\n\\n\"]}",
           "s:\n- |\n  a\n  b\n- |-\n  a\n  b\n- |+\n  a\n\n");
    writes("\"x\"", "x\n");
}

static void numbers_are_written_as_they_will_be_read(void **state)
{
    struct json *value;
    struct buf buf;

    (void)state;
    assert_int_equal(
        json_parse(&arena, slice_str("[-0,1.50,18446744073709551615]"), NULL, &value, NULL), 0);
    buf_init(&buf, 1u << 10);
    assert_int_equal(kube_yaml_write(&buf, value), 0);
    assert_string_equal(buf_text(&buf), "- 0\n- 1.50\n- 18446744073709551615\n");
}

static void nesting_has_a_limit(void **state)
{
    char *text = arena_calloc(&arena, JSON_DEPTH_MAX + 2);
    struct err err = ERR_INIT;
    struct json *value;

    (void)state;
    memset(text, '[', JSON_DEPTH_MAX + 1);
    assert_int_equal(kube_yaml_parse(&arena, slice_str(text), NULL, &value, &err), KV_EPROTO);
    assert_string_equal(err.text, "yaml: exceeded max depth of 10000");
}

/* Each token costs libyaml a look at every bracket that is open. */
static void deep_and_long_documents_are_given_up(void **state)
{
    enum { DEPTH = 9000, ITEMS = 100000 };
    char *text = arena_calloc(&arena, DEPTH + 2 * ITEMS + 1);

    (void)state;
    memset(text, '[', DEPTH);
    for (size_t i = 0; i < ITEMS; i++)
        memcpy(text + DEPTH + 2 * i, "1,", 2);
    reads(text, "yaml: document is nested too deeply for its size");
}

/* A square of it would take minutes. */
static void long_merges_take_no_square(void **state)
{
    enum { MAPS = 200000 };
    char *text = arena_calloc(&arena, 3 * MAPS + 8);

    (void)state;
    memcpy(text, "<<: [", 5);
    for (size_t i = 0; i < MAPS; i++)
        memcpy(text + 5 + 3 * i, "{},", 3);
    text[5 + 3 * MAPS - 1] = ']';
    reads(text, "{}");
}

static void output_stops_at_its_maximum(void **state)
{
    struct json *value;
    struct buf buf;

    (void)state;
    assert_int_equal(json_parse(&arena, slice_str("{\"a\":\"0123456789\"}"), NULL, &value, NULL),
                     0);
    buf_init(&buf, 8);
    assert_int_equal(kube_yaml_write(&buf, value), KV_ETOOBIG);
    buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(manifests_become_json, reset),
        cmocka_unit_test_teardown(plain_scalars_mean_what_go_yaml_says, reset),
        cmocka_unit_test_teardown(tags_are_obeyed, reset),
        cmocka_unit_test_teardown(keys_become_strings, reset),
        cmocka_unit_test_teardown(anchors_and_merges_are_expanded, reset),
        cmocka_unit_test_teardown(bombs_do_not_explode, reset),
        cmocka_unit_test_teardown(errors_name_the_line_as_upstream, reset),
        cmocka_unit_test_teardown(duplicates_are_noted_with_their_path, reset),
        cmocka_unit_test_teardown(objects_are_written_as_kubectl_shows_them, reset),
        cmocka_unit_test_teardown(numbers_are_written_as_they_will_be_read, reset),
        cmocka_unit_test_teardown(nesting_has_a_limit, reset),
        cmocka_unit_test_teardown(deep_and_long_documents_are_given_up, reset),
        cmocka_unit_test_teardown(long_merges_take_no_square, reset),
        cmocka_unit_test_teardown(output_stops_at_its_maximum, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
