/* Percentiles, and medians of rounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "base/util.h"
#include "bench/compare.h"
#include "bench/histogram.h"

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void small_latencies_are_exact(void **state)
{
    struct histogram *h = xcalloc(1, sizeof *h);

    (void)state;
    for (uint64_t us = 1; us <= 200; us++)
        histogram_add(h, us);
    assert_int_equal(histogram_at(h, 0.5), 100);
    assert_int_equal(histogram_at(h, 0.99), 198);
    assert_int_equal(histogram_at(h, 1), 200);
    assert_int_equal(histogram_at(h, 0), 1);
    assert_int_equal(h->max_us, 200);
    free(h);
}

static void a_share_that_is_no_binary_number_picks_the_right_value(void **state)
{
    struct histogram *h = xcalloc(1, sizeof *h);

    (void)state;
    for (uint64_t us = 1; us <= 100; us++)
        histogram_add(h, us);
    for (uint64_t i = 1; i <= 100; i++)
        assert_int_equal(histogram_at(h, (double)i / 100), i);
    free(h);
}

static void an_empty_histogram_has_only_zeros(void **state)
{
    struct histogram *h = xcalloc(1, sizeof *h);

    (void)state;
    assert_int_equal(histogram_at(h, 0.5), 0);
    assert_int_equal(histogram_at(h, 1), 0);
    free(h);
}

/* Beside the sorted values themselves, over nine decades. */
static void a_percentile_is_within_one_per_cent_above(void **state)
{
    enum { COUNT = 20000 };
    struct histogram *h = xcalloc(1, sizeof *h);
    uint64_t *values = xcalloc(COUNT, sizeof *values);
    uint64_t seed = (uint64_t)time(NULL);
    struct prng prng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = prng_next(&prng) >> prng_between(&prng, 34, 63);
        histogram_add(h, values[i]);
    }
    qsort(values, COUNT, sizeof *values, compare_u64);
    for (size_t i = 1; i <= 1000; i++) {
        uint64_t exact = values[i * COUNT / 1000 - 1], got = histogram_at(h, (double)i / 1000);

        assert_true(got >= exact);
        assert_true(got <= exact + exact / 100 + 1);
    }
    free(values);
    free(h);
}

static void what_is_beyond_the_last_slot_is_the_maximum(void **state)
{
    struct histogram *h = xcalloc(1, sizeof *h);

    (void)state;
    histogram_add(h, 5);
    histogram_add(h, UINT64_MAX / 2);
    assert_int_equal(histogram_at(h, 0.5), 5);
    assert_true(histogram_at(h, 0.99) == UINT64_MAX / 2);
    free(h);
}

static void merging_adds_up(void **state)
{
    struct histogram *a = xcalloc(1, sizeof *a), *b = xcalloc(1, sizeof *b);

    (void)state;
    histogram_add(a, 10);
    histogram_add(b, 20);
    histogram_add(b, 30);
    histogram_merge(a, b);
    assert_int_equal(a->count, 3);
    assert_int_equal(a->max_us, 30);
    assert_int_equal(histogram_at(a, 0.5), 20);
    free(a);
    free(b);
}

static void a_spread_is_median_lowest_and_highest(void **state)
{
    const double odd[] = {3, 9, 1}, even[] = {4, 1, 3, 2}, one[] = {7};
    struct spread s = spread_of(odd, ARRAY_LEN(odd));

    (void)state;
    assert_true(s.median == 3 && s.low == 1 && s.high == 9);
    s = spread_of(even, ARRAY_LEN(even));
    assert_true(s.median == 2.5 && s.low == 1 && s.high == 4);
    s = spread_of(one, 1);
    assert_true(s.median == 7 && s.low == 7 && s.high == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_latencies_are_exact),
        cmocka_unit_test(a_share_that_is_no_binary_number_picks_the_right_value),
        cmocka_unit_test(an_empty_histogram_has_only_zeros),
        cmocka_unit_test(a_percentile_is_within_one_per_cent_above),
        cmocka_unit_test(what_is_beyond_the_last_slot_is_the_maximum),
        cmocka_unit_test(merging_adds_up),
        cmocka_unit_test(a_spread_is_median_lowest_and_highest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
