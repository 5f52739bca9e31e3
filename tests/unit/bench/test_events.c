/* What a watcher may see of one writer, and what not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/events.h"

enum { RUN = 4711 };

static const char *see(struct event_check *check, uint64_t run, uint64_t number, int64_t revision)
{
    uint8_t value[EVENT_MARK_SIZE + 100] = {0};
    uint64_t seen = UINT64_MAX;
    const char *wrong;

    event_mark(value, run, number);
    wrong = event_check_next(check, RUN, slice_of(value, sizeof value), revision, &seen);
    if (wrong == NULL)
        assert_int_equal(seen, number);
    return wrong;
}

static void events_in_order_are_right(void **state)
{
    struct event_check check = {0};

    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        assert_null(see(&check, RUN, i, 10 + 3 * (int64_t)i)); /* others write between them */
    assert_int_equal(check.next, 1000);
}

static void a_gap_is_seen_once(void **state)
{
    struct event_check check = {0};

    (void)state;
    assert_null(see(&check, RUN, 0, 10));
    assert_string_equal(see(&check, RUN, 3, 13), "events are missing");
    assert_null(see(&check, RUN, 4, 14));
}

static void the_first_event_may_not_be_missing_either(void **state)
{
    struct event_check check = {0};

    (void)state;
    assert_string_equal(see(&check, RUN, 1, 10), "events are missing");
}

static void an_event_twice_is_seen(void **state)
{
    struct event_check check = {0};

    (void)state;
    assert_null(see(&check, RUN, 0, 10));
    assert_null(see(&check, RUN, 1, 11));
    assert_string_equal(see(&check, RUN, 1, 11), "an event has come twice, or late");
    assert_string_equal(see(&check, RUN, 0, 12), "an event has come twice, or late");
    assert_null(see(&check, RUN, 2, 13)); /* it goes on where it was */
}

static void revisions_must_rise(void **state)
{
    struct event_check check = {0};

    (void)state;
    assert_null(see(&check, RUN, 0, 10));
    assert_string_equal(see(&check, RUN, 1, 10),
                        "the revision of an event is not above the last one's");
}

static void events_of_somebody_else_are_seen(void **state)
{
    struct event_check check = {0};
    uint64_t number;

    (void)state;
    assert_string_equal(see(&check, RUN + 1, 0, 10),
                        "an event that this run's writer has not made");
    assert_string_equal(event_check_next(&check, RUN, slice_str("short"), 10, &number),
                        "an event that this run's writer has not made");
    assert_null(see(&check, RUN, 0, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_in_order_are_right),
        cmocka_unit_test(a_gap_is_seen_once),
        cmocka_unit_test(the_first_event_may_not_be_missing_either),
        cmocka_unit_test(an_event_twice_is_seen),
        cmocka_unit_test(revisions_must_rise),
        cmocka_unit_test(events_of_somebody_else_are_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
