/* Values in Go's spelling. Expectations were taken from Go's documentation and from etcdctl. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "client/ctl/gotext.h"
#include "tests/unit/client/capture.h"

static void text_is_quoted_as_go_quotes_it(void **state)
{
    static const struct {
        struct slice text;
        const char *quoted;
    } cases[] = {
        {{NULL, 0}, "\"\""},
        {{(const uint8_t *)"plain", 5}, "\"plain\""},
        {{(const uint8_t *)"a\"b\\c", 5}, "\"a\\\"b\\\\c\""},
        {{(const uint8_t *)"\a\b\f\n\r\t\v", 7}, "\"\\a\\b\\f\\n\\r\\t\\v\""},
        {{(const uint8_t *)"\0\x01\x7f", 3}, "\"\\x00\\x01\\x7f\""},
        {{(const uint8_t *)"\xff\xc3", 2}, "\"\\xff\\xc3\""},
        {{(const uint8_t *)"\xc3\xa4", 2}, "\"\xc3\xa4\""},
        {{(const uint8_t *)"\xc2\xa0", 2}, "\"\\u00a0\""},
        {{(const uint8_t *)"\xe2\x80\xa8", 3}, "\"\\u2028\""},
        {{(const uint8_t *)"\xf0\x9f\x98\x80", 4}, "\"\xf0\x9f\x98\x80\""},
        {{(const uint8_t *)"\xf3\xa0\x80\x81", 4}, "\"\\U000e0001\""},
        {{(const uint8_t *)"\xed\xa0\x80", 3}, "\"\\xed\\xa0\\x80\""}, /* a surrogate is none */
        {{(const uint8_t *)"\xc0\x80", 2}, "\"\\xc0\\x80\""},          /* too long a form */
    };
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        struct capture out;

        capture_open(&out);
        go_quote(out.file, cases[i].text);
        assert_string_equal(captured(&out), cases[i].quoted);
        capture_close(&out);
    }
}

static void a_quoted_string_is_read_up_to_its_end(void **state)
{
    static const struct {
        const char *text;
        struct slice value;
        const char *rest;
    } cases[] = {
        {"\"abc\") x", {(const uint8_t *)"abc", 3}, ") x"},
        {"\"\"", {NULL, 0}, ""},
        {"`a\\b` c", {(const uint8_t *)"a\\b", 3}, " c"},
        {"\"a\\\"b\"", {(const uint8_t *)"a\"b", 3}, ""},
        {"\"\\x00\\377\\n\"", {(const uint8_t *)"\0\xff\n", 3}, ""},
        {"\"\\u00e4\\U0001f600\"", {(const uint8_t *)"\xc3\xa4\xf0\x9f\x98\x80", 6}, ""},
    };
    struct arena arena = ARENA_INIT;
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice text = slice_str(cases[i].text), value;

        assert_true(go_unquote(&text, &arena, &value));
        assert_true(slice_eq(value, cases[i].value));
        assert_true(slice_eq(text, slice_str(cases[i].rest)));
    }
    arena_release(&arena);
}

static void what_is_no_quoted_string_is_left_alone(void **state)
{
    static const char *const cases[] = {
        "",         "\"",        "abc",         "\"abc",    "`abc", "\"\\q\"",
        "\"\\x0\"", "\"\\400\"", "\"\\ud800\"", "\"a\nb\"", "'a'",  "\"\\\"",
    };
    struct arena arena = ARENA_INIT;
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice text = slice_str(cases[i]), value;

        assert_false(go_unquote(&text, &arena, &value));
        assert_true(slice_eq(text, slice_str(cases[i])));
    }
    arena_release(&arena);
}

/* Any bytes at all: what go_quote() writes, go_unquote() reads. */
static void quoting_and_unquoting_are_inverse(void **state)
{
    const uint64_t seed = 4711;
    struct prng prng;
    int round;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (round = 0; round < 2000; round++) {
        struct arena arena = ARENA_INIT;
        struct capture out;
        struct slice text, value;
        uint8_t bytes[40];
        size_t len = prng_between(&prng, 0, sizeof bytes), i;

        for (i = 0; i < len; i++)
            bytes[i] = (uint8_t)prng_between(&prng, 0, prng_chance(&prng, 500000) ? 0x7f : 0xff);
        capture_open(&out);
        go_quote(out.file, slice_of(bytes, len));
        text = slice_str(captured(&out));
        assert_true(go_unquote(&text, &arena, &value));
        assert_int_equal(text.len, 0);
        assert_true(slice_eq(value, slice_of(bytes, len)));
        capture_close(&out);
        arena_release(&arena);
    }
}

static void durations_are_read_as_go_reads_them(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"5s", 5000000000},
        {"2m", 120000000000},
        {"1m30s", 90000000000},
        {"500ms", 500000000},
        {"1.5h", 5400000000000},
        {"0", 0},
        {"-1s", -1000000000},
        {"+1s", 1000000000},
        {"3us", 3000},
        {"3\xc2\xb5s", 3000},
        {"7ns", 7},
        {"1h1m1s1ms", 3661001000000},
        {".5s", 500000000},
    };
    static const char *const bad[] = {"",     "5",    "s",     "5x",  "1e3s",   "0x1s",
                                      "- 1s", "--1s", "inf s", "1s ", "1.2.3s", "1000000000h"};
    int64_t ns;
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(go_parse_duration(good[i].text, &ns));
        assert_int_equal(ns, good[i].ns);
    }
    for (i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(go_parse_duration(bad[i], &ns));
}

static void durations_are_written_as_go_writes_them(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {1, "1ns"},
        {999, "999ns"},
        {1000, "1\xc2\xb5s"},
        {1500, "1.5\xc2\xb5s"},
        {3613583, "3.613583ms"},
        {1000000, "1ms"},
        {999999999, "999.999999ms"},
        {1000000000, "1s"},
        {2000010783, "2.000010783s"},
        {90000000000, "1m30s"},
        {3600000000000, "1h0m0s"},
        {3661500000000, "1h1m1.5s"},
        {-1500000, "-1.5ms"},
        {INT64_MAX, "2562047h47m16.854775807s"},
        {INT64_MIN, "-2562047h47m16.854775808s"},
    };
    char text[GO_TEXT_MAX];
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        go_format_duration(cases[i].ns, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void sizes_are_written_as_humanize_writes_them(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {9, "9 B"},
        {10, "10 B"},
        {999, "999 B"},
        {1000, "1.0 kB"},
        {20480, "20 kB"},
        {9949, "9.9 kB"},
        {82854982, "83 MB"},
        {2147483648, "2.1 GB"},
        {8589934592, "8.6 GB"},
        {UINT64_MAX, "18 EB"},
    };
    char text[GO_TEXT_MAX];
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        go_format_bytes(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void numbers_and_bools_are_read_whole_or_not_at_all(void **state)
{
    int64_t value;
    bool flag;

    (void)state;
    assert_true(go_parse_int("-9223372036854775808", 10, &value));
    assert_true(value == INT64_MIN);
    assert_true(go_parse_int("5843a20522a3e414", 16, &value));
    assert_true(value == 0x5843a20522a3e414);
    assert_false(go_parse_int("9223372036854775808", 10, &value));
    assert_false(go_parse_int("", 10, &value));
    assert_false(go_parse_int("-", 10, &value));
    assert_false(go_parse_int("1x", 10, &value));
    assert_false(go_parse_int(" 1", 10, &value));
    assert_false(go_parse_int("0x10", 16, &value));
    assert_true(go_parse_bool("T", &flag) && flag);
    assert_true(go_parse_bool("0", &flag) && !flag);
    assert_false(go_parse_bool("yes", &flag));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_quoted_as_go_quotes_it),
        cmocka_unit_test(a_quoted_string_is_read_up_to_its_end),
        cmocka_unit_test(what_is_no_quoted_string_is_left_alone),
        cmocka_unit_test(quoting_and_unquoting_are_inverse),
        cmocka_unit_test(durations_are_read_as_go_reads_them),
        cmocka_unit_test(durations_are_written_as_go_writes_them),
        cmocka_unit_test(sizes_are_written_as_humanize_writes_them),
        cmocka_unit_test(numbers_and_bools_are_read_whole_or_not_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
