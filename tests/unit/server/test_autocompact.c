/* Auto-compaction on virtual time: an hour takes no time here. A revision is written every second
 * unless a test says otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/util.h"
#include "server/autocompact.h"

#define SECONDS(n) ((uint64_t)(n)*1000)
#define MINUTES(n) SECONDS(60 * (n))
#define HOURS(n) MINUTES(60 * (n))

enum { START_MS = 12345, FIRST_REVISION = 100 };

struct fixture {
    struct autocompact policy;
    uint64_t now_ms;
    bool still;   /* nobody writes */
    bool follows; /* this member does not lead */
    bool fails;   /* compactions do not succeed */
    struct {
        uint64_t at_ms; /* since the start */
        int64_t revision;
    } seen[64]; /* what was asked for */
    size_t count;
};

static int setup(void **state)
{
    *state = xcalloc(1, sizeof(struct fixture));
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    autocompact_release(&f->policy);
    free(f);
    return 0;
}

static int64_t revision_at(const struct fixture *f, uint64_t since_start_ms)
{
    return FIRST_REVISION + (f->still ? 0 : (int64_t)(since_start_ms / 1000));
}

static void begin(struct fixture *f, enum autocompact_mode mode, uint64_t retention)
{
    f->now_ms = START_MS;
    autocompact_init(&f->policy, mode, retention, f->now_ms, revision_at(f, 0));
}

/* Time goes on from step to step, not further than given, since the start. */
static void run_until(struct fixture *f, uint64_t until_ms)
{
    while (f->policy.next_ms <= START_MS + until_ms) {
        uint64_t since_ms = f->policy.next_ms - START_MS;
        int64_t target;

        f->now_ms = f->policy.next_ms;
        target = autocompact_step(&f->policy, f->now_ms, revision_at(f, since_ms), !f->follows);
        assert_true(f->policy.next_ms > f->now_ms);
        if (target == 0)
            continue;
        assert_true(f->count < ARRAY_LEN(f->seen));
        f->seen[f->count].at_ms = since_ms;
        f->seen[f->count++].revision = target;
        if (!f->fails)
            autocompact_done(&f->policy, f->now_ms, target);
    }
}

static void expect(const struct fixture *f, size_t n, uint64_t at_ms, int64_t revision)
{
    assert_true(f->count > n);
    assert_int_equal(f->seen[n].at_ms, at_ms);
    assert_int_equal(f->seen[n].revision, revision);
}

/* ---- periodic ---- */

static void an_hour_compacts_every_hour_to_an_hour_ago(void **state)
{
    struct fixture *f = *state;

    begin(f, AUTOCOMPACT_PERIODIC, HOURS(1));
    assert_int_equal(f->policy.next_ms - START_MS, MINUTES(6));
    run_until(f, HOURS(1) - 1);
    assert_int_equal(f->count, 0);
    run_until(f, HOURS(4));
    assert_int_equal(f->count, 4);
    expect(f, 0, HOURS(1), FIRST_REVISION);
    /* Later samples are taken behind the step: the oldest one is as old as the retention and an
     * interval, as in etcd. */
    expect(f, 1, HOURS(2), FIRST_REVISION + 54 * 60);
    expect(f, 2, HOURS(3), FIRST_REVISION + 114 * 60);
}

static void a_day_compacts_every_hour_after_the_first_day(void **state)
{
    struct fixture *f = *state;

    begin(f, AUTOCOMPACT_PERIODIC, HOURS(24));
    assert_int_equal(f->policy.next_ms - START_MS, MINUTES(6));
    run_until(f, HOURS(24) - 1);
    assert_int_equal(f->count, 0);
    run_until(f, HOURS(26));
    assert_int_equal(f->count, 3);
    expect(f, 0, HOURS(24), FIRST_REVISION);
    expect(f, 1, HOURS(25), FIRST_REVISION + 54 * 60);
    expect(f, 2, HOURS(26), FIRST_REVISION + 114 * 60);
}

static void five_minutes_compact_every_five_minutes(void **state)
{
    struct fixture *f = *state;

    begin(f, AUTOCOMPACT_PERIODIC, MINUTES(5));
    assert_int_equal(f->policy.next_ms - START_MS, SECONDS(30));
    run_until(f, MINUTES(15));
    assert_int_equal(f->count, 3);
    expect(f, 0, MINUTES(5), FIRST_REVISION);
    expect(f, 1, MINUTES(10), FIRST_REVISION + 270);
    expect(f, 2, MINUTES(15), FIRST_REVISION + 570);
}

static void a_failed_compaction_is_tried_again_at_the_sample_interval(void **state)
{
    struct fixture *f = *state;

    begin(f, AUTOCOMPACT_PERIODIC, HOURS(2));
    f->fails = true;
    run_until(f, HOURS(2) + MINUTES(13));
    assert_int_equal(f->count, 3);
    expect(f, 0, HOURS(2), FIRST_REVISION);
    expect(f, 1, HOURS(2) + MINUTES(6), FIRST_REVISION);
    expect(f, 2, HOURS(2) + MINUTES(12), FIRST_REVISION + 6 * 60);
    f->fails = false;
    run_until(f, HOURS(4));
    assert_int_equal(f->count, 5);
    expect(f, 3, HOURS(2) + MINUTES(18), FIRST_REVISION + 12 * 60);
    expect(f, 4, HOURS(3) + MINUTES(18), FIRST_REVISION + 72 * 60);
}

static void a_follower_looks_on_and_is_ready_when_it_leads(void **state)
{
    struct fixture *f = *state;

    begin(f, AUTOCOMPACT_PERIODIC, HOURS(1));
    f->follows = true;
    run_until(f, HOURS(5));
    assert_int_equal(f->count, 0);
    f->follows = false;
    run_until(f, HOURS(5) + MINUTES(6));
    assert_int_equal(f->count, 1);
    expect(f, 0, HOURS(5) + MINUTES(6), FIRST_REVISION + 4 * 3600);
}

static void an_idle_store_is_compacted_once(void **state)
{
    struct fixture *f = *state;

    begin(f, AUTOCOMPACT_PERIODIC, MINUTES(10));
    f->still = true;
    run_until(f, HOURS(3));
    assert_int_equal(f->count, 1);
    expect(f, 0, MINUTES(10), FIRST_REVISION);
}

static void a_process_that_slept_goes_on_from_now(void **state)
{
    struct fixture *f = *state;
    uint64_t late_ms = START_MS + HOURS(30);

    begin(f, AUTOCOMPACT_PERIODIC, HOURS(1));
    assert_int_equal(autocompact_step(&f->policy, late_ms, 5000, true), FIRST_REVISION);
    assert_true(f->policy.next_ms == late_ms + MINUTES(6));
}

static void the_shortest_retention_does_not_spin(void **state)
{
    struct fixture *f = *state;

    begin(f, AUTOCOMPACT_PERIODIC, 1);
    assert_int_equal(f->policy.interval_ms, 1);
    run_until(f, 50);
    assert_int_equal(f->count, 1); /* all within the same second: one revision */
}

/* ---- revisions ---- */

static void revisions_are_looked_at_every_five_minutes(void **state)
{
    struct fixture *f = *state;

    begin(f, AUTOCOMPACT_REVISION, 1000);
    assert_int_equal(f->policy.next_ms - START_MS, MINUTES(5));
    run_until(f, MINUTES(20) - 1);
    assert_int_equal(f->count, 0); /* there are no more than 1000 at 15 minutes */
    run_until(f, MINUTES(25));
    assert_int_equal(f->count, 2);
    expect(f, 0, MINUTES(20), FIRST_REVISION + 1200 - 1000);
    expect(f, 1, MINUTES(25), FIRST_REVISION + 1500 - 1000);
}

static void revisions_that_are_not_new_or_below_one_are_left_alone(void **state)
{
    struct fixture *f = *state;

    f->still = true;
    begin(f, AUTOCOMPACT_REVISION, FIRST_REVISION);
    run_until(f, HOURS(1));
    assert_int_equal(f->count, 0); /* it would be revision 0 */
    autocompact_release(&f->policy);
    begin(f, AUTOCOMPACT_REVISION, FIRST_REVISION - 1);
    run_until(f, HOURS(1));
    assert_int_equal(f->count, 1);
    expect(f, 0, MINUTES(5), 1);
    autocompact_release(&f->policy);
    begin(f, AUTOCOMPACT_REVISION, UINT64_MAX);
    run_until(f, HOURS(1));
    assert_int_equal(f->count, 1);
}

static void a_failed_compaction_of_revisions_is_tried_again(void **state)
{
    struct fixture *f = *state;

    f->still = f->fails = true;
    begin(f, AUTOCOMPACT_REVISION, 10);
    run_until(f, MINUTES(15));
    assert_int_equal(f->count, 3);
    expect(f, 2, MINUTES(15), 90);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_hour_compacts_every_hour_to_an_hour_ago),
        T(a_day_compacts_every_hour_after_the_first_day),
        T(five_minutes_compact_every_five_minutes),
        T(a_failed_compaction_is_tried_again_at_the_sample_interval),
        T(a_follower_looks_on_and_is_ready_when_it_leads),
        T(an_idle_store_is_compacted_once),
        T(a_process_that_slept_goes_on_from_now),
        T(the_shortest_retention_does_not_spin),
        T(revisions_are_looked_at_every_five_minutes),
        T(revisions_that_are_not_new_or_below_one_are_left_alone),
        T(a_failed_compaction_of_revisions_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
