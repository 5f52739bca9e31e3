/* Quantities, times, durations and base64 against what Go makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kube/check/internal.h"

static struct arena arena = ARENA_INIT;

static int reset(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const char *terminated(struct slice text)
{
    return check__print(&arena, "%.*s", TEXT(text));
}

/* The canonical text, or the complaint behind a "!". */
static const char *quantity(const char *text)
{
    struct slice out;
    const char *why = check__quantity(&arena, slice_str(text), &out);

    return why != NULL ? check__print(&arena, "!%s", why) : terminated(out);
}

static const char *time_text(const char *text, bool micro)
{
    struct slice out;
    const char *why = check__time(&arena, slice_str(text), micro, &out);

    return why != NULL ? check__print(&arena, "!%s", why) : terminated(out);
}

static const char *duration(const char *text)
{
    struct slice out;
    const char *why = check__duration(&arena, slice_str(text), &out);

    return why != NULL ? check__print(&arena, "!%s", why) : terminated(out);
}

static const char *base64(const char *text)
{
    struct slice out;
    const char *why = check__base64(&arena, slice_str(text), &out);

    return why != NULL ? check__print(&arena, "!%s", why) : terminated(out);
}

struct pair {
    const char *in, *out;
};

static void quantities_become_canonical(void **state)
{
    static const struct pair pairs[] = {
        {"0", "0"},
        {"0.5", "500m"},
        {"1024Mi", "1Gi"},
        {"2000m", "2"},
        {"1000", "1k"},
        {"1500", "1500"},
        {"1.5Gi", "1536Mi"},
        {"0.5Ki", "512"},
        {"1.1Ki", "1126400m"},
        {"1023", "1023"},
        {"1024", "1024"},
        {"1Ki", "1Ki"},
        {"1048576Ki", "1Gi"},
        {"100m", "100m"},
        {"0.001", "1m"},
        {"0.0000000001", "1n"},
        {"1.0000000001", "1000000001n"},
        {"-1.0000000001", "-1000000001n"},
        {"9.9999999999", "10"},
        {"1e3", "1e3"},
        {"12E2", "1200"},
        {"100e1", "1e3"},
        {"1E", "1E"},
        {"1000E", "1e21"},
        {"+5", "5"},
        {"-5", "-5"},
        {"-0", "0"},
        {".5", "500m"},
        {"5.", "5"},
        {"007", "7"},
        {"00.50", "500m"},
        {"16Ei", "9223372036854775807"},
        {"7Ei", "7Ei"},
        {"123456789012345678901234567890", "123456789012345678901234567890"},
        {"110", "110"},
        {" 32Gi ", "32Gi"},
        {"m", "0"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        assert_string_equal(quantity(pairs[i].in), pairs[i].out);
}

static void what_is_no_quantity_says_why(void **state)
{
    const char *wrong = "!quantities must match the regular expression "
                        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

    (void)state;
    assert_string_equal(quantity(""), wrong);
    assert_string_equal(quantity("abc"), wrong);
    assert_string_equal(quantity("1.2.3"), wrong);
    assert_string_equal(quantity("1 Gi"), wrong);
    assert_string_equal(quantity("1mm"), "!unable to parse quantity's suffix");
    assert_string_equal(quantity("1ki"), "!unable to parse quantity's suffix");
    assert_string_equal(quantity("1e"), "!unable to parse quantity's suffix");
}

/* Random amounts: the canonical text has the same value and stays as it is. Binary amounts that are
 * no multiple of 1024 lose their suffix and with it their format, so they settle one step later. */
static void canonical_quantities_keep_their_value_and_settle(void **state)
{
    static const char *const ends[] = {"", "m", "u", "n", "k", "M", "G", "Ki", "Mi", "Gi", "e3"};
    unsigned seed = 4711;

    (void)state;
    print_message("seed %u\n", seed);
    for (int i = 0; i < 20000; i++) {
        int64_t before, after;
        const char *text = check__print(&arena, "%s%d.%d%s", rand_r(&seed) % 4 == 0 ? "-" : "",
                                        rand_r(&seed) % 5000, rand_r(&seed) % 1000,
                                        ends[(size_t)rand_r(&seed) % ARRAY_LEN(ends)]);
        const char *once = quantity(text), *twice = quantity(once);

        if (strchr(text, 'i') == NULL)
            assert_string_equal(twice, once);
        assert_string_equal(quantity(twice), twice);
        assert_true(kube_quantity_milli(slice_str(text), &before));
        assert_true(kube_quantity_milli(slice_str(once), &after));
        assert_true(before == after);
        if (i % 100 == 0)
            arena_reset(&arena);
    }
}

static void quantities_compare_in_thousandths(void **state)
{
    int64_t value;

    (void)state;
    assert_true(kube_quantity_milli(slice_str("2"), &value) && value == 2000);
    assert_true(kube_quantity_milli(slice_str("1n"), &value) && value == 1);
    assert_true(kube_quantity_milli(slice_str("-1n"), &value) && value == -1);
    assert_true(kube_quantity_milli(slice_str("1Ki"), &value) && value == 1024000);
    assert_true(kube_quantity_milli(slice_str("16Ei"), &value) && value == INT64_MAX);
    assert_true(kube_quantity_milli(slice_str("-16Ei"), &value) && value == -INT64_MAX);
    assert_false(kube_quantity_milli(slice_str("x"), &value));
}

static void times_become_utc(void **state)
{
    (void)state;
    assert_string_equal(time_text("2026-01-01T00:00:00Z", false), "2026-01-01T00:00:00Z");
    assert_string_equal(time_text("2026-01-01T01:30:00+02:00", false), "2025-12-31T23:30:00Z");
    assert_string_equal(time_text("2024-02-28T23:30:00-02:00", false), "2024-02-29T01:30:00Z");
    assert_string_equal(time_text("2026-01-01T00:00:00.999Z", false), "2026-01-01T00:00:00Z");
    assert_string_equal(time_text("2026-01-01T00:00:00.123456Z", true),
                        "2026-01-01T00:00:00.123456Z");
    assert_string_equal(time_text("2026-01-01T00:00:00.123456-01:00", true),
                        "2026-01-01T01:00:00.123456Z");
    assert_string_equal(time_text("1900-03-01T00:00:00+00:01", false), "1900-02-28T23:59:00Z");
}

static void what_is_no_time_says_why(void **state)
{
    (void)state;
    assert_string_equal(time_text("yesterday", false),
                        "!parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot "
                        "parse \"yesterday\" as \"2006\"");
    assert_string_equal(time_text("2026-13-01T00:00:00Z", false),
                        "!parsing time \"2026-13-01T00:00:00Z\": month out of range");
    assert_string_equal(time_text("2026-02-29T00:00:00Z", false),
                        "!parsing time \"2026-02-29T00:00:00Z\": day out of range");
    assert_string_equal(time_text("2026-02-01T00:00:00Zx", false),
                        "!parsing time \"2026-02-01T00:00:00Zx\": extra text: \"x\"");
    assert_string_equal(time_text("2026-02-01T00:00:00Z", true),
                        "!parsing time \"2026-02-01T00:00:00Z\" as "
                        "\"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"Z\" as \".000000\"");
    assert_string_equal(time_text("", false), "!parsing time \"\" as \"2006-01-02T15:04:05Z07:00\""
                                              ": cannot parse \"\" as \"2006\"");
}

static void seconds_count_from_1970(void **state)
{
    int64_t seconds;

    (void)state;
    assert_true(kube_time_seconds(slice_str("1970-01-01T00:00:00Z"), &seconds) && seconds == 0);
    assert_true(kube_time_seconds(slice_str("2026-11-22T21:14:32Z"), &seconds));
    assert_int_equal(seconds, 1795382072);
    assert_true(kube_time_seconds(slice_str("1969-12-31T23:59:59.500000Z"), &seconds));
    assert_int_equal(seconds, -1);
    assert_false(kube_time_seconds(slice_str("1970-01-01"), &seconds));
}

static void durations_become_hours_minutes_seconds(void **state)
{
    static const struct pair pairs[] = {
        {"90m", "1h30m0s"},
        {"0", "0s"},
        {"1.5h", "1h30m0s"},
        {"30s", "30s"},
        {"61s", "1m1s"},
        {"1500ms", "1.5s"},
        {"1.5ms", "1.5ms"},
        {"100us", "100\xc2\xb5s"},
        {"5ns", "5ns"},
        {"-1h", "-1h0m0s"},
        {"1h1ns", "1h0m0.000000001s"},
        {"5", "!time: missing unit in duration \"5\""},
        {"5d", "!time: unknown unit \"d\" in duration \"5d\""},
        {"", "!time: invalid duration \"\""},
        {"x", "!time: invalid duration \"x\""},
        {"9999999h", "!time: invalid duration \"9999999h\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        assert_string_equal(duration(pairs[i].in), pairs[i].out);
}

static void base64_is_checked_as_go_does(void **state)
{
    static const struct pair pairs[] = {
        {"", ""},
        {"AAE=", "AAE="},
        {"bWU=", "bWU="},
        {"bW\nU=\n", "bWU="},
        {"bWV=", "bWU="},
        {"QR==", "QQ=="},
        {"AAAA", "AAAA"},
        {"%%", "!illegal base64 data at input byte 0"},
        {"AA%A", "!illegal base64 data at input byte 2"},
        {"A", "!illegal base64 data at input byte 0"},
        {"AAAAA", "!illegal base64 data at input byte 4"},
        {"AAAAAA", "!illegal base64 data at input byte 4"},
        {"A===", "!illegal base64 data at input byte 1"},
        {"AA=", "!illegal base64 data at input byte 3"},
        {"AA=A", "!illegal base64 data at input byte 2"},
        {"AAE=AAAA", "!illegal base64 data at input byte 4"},
        {"=", "!illegal base64 data at input byte 0"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        assert_string_equal(base64(pairs[i].in), pairs[i].out);
    assert_string_equal(terminated(check__base64_encode(&arena, slice_str("me"))), "bWU=");
    assert_string_equal(terminated(check__base64_encode(&arena, slice_str("\xff\xfe\xfd\xfc"))),
                        "//79/A==");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(quantities_become_canonical, reset),
        cmocka_unit_test_teardown(what_is_no_quantity_says_why, reset),
        cmocka_unit_test_teardown(canonical_quantities_keep_their_value_and_settle, reset),
        cmocka_unit_test_teardown(quantities_compare_in_thousandths, reset),
        cmocka_unit_test_teardown(times_become_utc, reset),
        cmocka_unit_test_teardown(what_is_no_time_says_why, reset),
        cmocka_unit_test_teardown(seconds_count_from_1970, reset),
        cmocka_unit_test_teardown(durations_become_hours_minutes_seconds, reset),
        cmocka_unit_test_teardown(base64_is_checked_as_go_does, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
