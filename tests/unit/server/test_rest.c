/* Long work beside the log: it gives way to a flush, and is never stopped by flushes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "server/rest.h"

enum { US = 1000, MS = 1000 * US };

static void it_works_while_nothing_is_flushed(void **state)
{
    struct rest rest = {0};

    (void)state;
    rest_earn(&rest, 5 * MS);
    assert_int_equal(rest_for(&rest, 1 * MS, false), 0);
    assert_int_equal(rest_for(&rest, 2 * MS, false), 0);
}

static void it_rests_for_a_flush_and_works_once_that_has_ended(void **state)
{
    struct rest rest = {0};

    (void)state;
    rest_earn(&rest, 2 * MS);
    assert_int_equal(rest_for(&rest, 10 * MS, true), 2 * MS);
    assert_int_equal(rest_for(&rest, 10 * MS + 300 * US, true),
                     1700 * US); /* another socket's turn */
    assert_int_equal(rest_for(&rest, 10 * MS + 400 * US, false), 0);
    assert_int_equal(rest_for(&rest, 20 * MS, true), 1600 * US); /* work is no rest */
}

static void a_flush_that_does_not_end_stops_it_for_three_milliseconds(void **state)
{
    struct rest rest = {0};

    (void)state;
    rest_earn(&rest, UINT64_C(1000) * MS);
    assert_int_equal(rest_for(&rest, 10 * MS, true), REST_NS_MAX);
    assert_int_equal(rest_for(&rest, 10 * MS + REST_NS_MAX, true), 0);
    assert_int_equal(rest_for(&rest, UINT64_C(900) * MS, true), 0); /* nothing earned since */
}

static void flush_upon_flush_leaves_it_half_of_the_time(void **state)
{
    struct rest rest = {0};
    uint64_t now = 1, worked = 0, rested = 0;

    (void)state;
    while (now < UINT64_C(100) * MS) {
        uint64_t ns = rest_for(&rest, now, true);

        if (ns == 0) {
            rest_earn(&rest, 100 * US);
            worked += ns = 100 * US;
        } else {
            rested += ns = MIN(ns, UINT64_C(70) * US);
        }
        now += ns;
    }
    assert_true(worked >= rested);
    assert_true(worked - rested <= 200 * US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_works_while_nothing_is_flushed),
        cmocka_unit_test(it_rests_for_a_flush_and_works_once_that_has_ended),
        cmocka_unit_test(a_flush_that_does_not_end_stops_it_for_three_milliseconds),
        cmocka_unit_test(flush_upon_flush_leaves_it_half_of_the_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
