/* Put, delete, range and compact as etcd-api.md sections 4, 5.1, 5.3, 5.4 and 5.6 say, and the
 * numbered test vectors of section 19 that concern them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/machine_text.h"

static int setup(void **state)
{
    struct machine_text *t = xcalloc(1, sizeof *t);

    machine_text_init(t);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    machine_text_release(*state);
    free(*state);
    return 0;
}

static void expect(void **state, const char *request, const char *answer)
{
    assert_string_equal(machine_text_run(*state, request), answer);
}

#define EMPTY_KEY "etcdserver: key is not provided"
#define COMPACTED "etcdserver: mvcc: required revision has been compacted"
#define FUTURE "etcdserver: mvcc: required revision is a future revision"

static void put_abcde(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "put b 2", "revision 3");
    expect(state, "put c 3", "revision 4");
    expect(state, "put d 4", "revision 5");
    expect(state, "put e 5", "revision 6");
}

/* ---- put ---- */

/* Vector 1. */
static void empty_store_is_at_revision_1_and_first_put_makes_2(void **state)
{
    expect(state, "range a", "revision 1 count 0");
    expect(state, "put a 1", "revision 2");
}

static void same_value_put_again_counts_as_a_change(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "put a 1", "revision 3");
    expect(state, "range a", "revision 3 count 1\n  a=1 c2 m3 v2");
}

static void version_starts_again_after_a_delete(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "put a 2", "revision 3");
    expect(state, "del a", "revision 4 deleted 1");
    expect(state, "put a 3", "revision 5");
    expect(state, "range a", "revision 5 count 1\n  a=3 c5 m5 v1");
}

static void put_without_key_is_refused_before_all_else(void **state)
{
    expect(state, "put \"\" x ignore_value lease=1 ignore_lease", EMPTY_KEY);
}

static void ignore_value_with_a_value_is_refused_before_ignore_lease_with_a_lease(void **state)
{
    expect(state, "put a x ignore_value lease=1 ignore_lease", "etcdserver: value is provided");
    expect(state, "put a \"\" ignore_value lease=1 ignore_lease", "etcdserver: lease is provided");
}

static void prev_kv_is_the_whole_previous_record_or_absent(void **state)
{
    expect(state, "put a 1 prev", "revision 2");
    expect(state, "put a 2 prev", "revision 3\n  prev a=1 c2 m2 v1");
    expect(state, "del a", "revision 4 deleted 1");
    expect(state, "put a 3 prev", "revision 5");
}

static void ignore_value_keeps_the_value_and_counts_as_a_change(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "put a \"\" ignore_value", "revision 3");
    expect(state, "range a", "revision 3 count 1\n  a=1 c2 m3 v2");
}

static void ignoring_value_or_lease_of_an_absent_key_is_key_not_found(void **state)
{
    expect(state, "put a \"\" ignore_value", "etcdserver: key not found");
    expect(state, "put a 1 ignore_lease", "etcdserver: key not found");
    expect(state, "state",
           "revision 1 compacted -1 keys 0\n  member 1 \"\" http://127.0.0.1:1\n"
           "  member 2 \"\" http://127.0.0.1:2");
}

static void put_with_an_unknown_lease_fails_and_changes_nothing(void **state)
{
    expect(state, "put a 1 lease=5", "etcdserver: requested lease not found");
    expect(state, "put a \"\" lease=5 ignore_value", "etcdserver: requested lease not found");
    expect(state, "range a", "revision 1 count 0");
}

/* ---- delete ---- */

static void delete_without_key_is_refused(void **state)
{
    expect(state, "del \"\"", EMPTY_KEY);
}

static void delete_that_matches_nothing_makes_no_revision(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "del b", "revision 2 deleted 0");
    expect(state, "del b \\x00 prev", "revision 2 deleted 0");
    expect(state, "del z a", "revision 2 deleted 0");
}

static void delete_of_a_range_is_one_revision_and_lists_keys_in_order(void **state)
{
    put_abcde(state);
    expect(state, "del b d prev", "revision 7 deleted 2\n  prev b=2 c3 m3 v1\n  prev c=3 c4 m4 v1");
    expect(state, "range \\x00 \\x00 keys_only",
           "revision 7 count 3\n  a=\"\" c2 m2 v1\n  d=\"\" c5 m5 v1\n  e=\"\" c6 m6 v1");
}

static void single_zero_byte_end_deletes_all_from_the_key_on(void **state)
{
    put_abcde(state);
    expect(state, "del c \\x00", "revision 7 deleted 3");
    expect(state, "range \\x00 \\x00 count_only", "revision 7 count 2");
}

/* ---- range ---- */

static void range_without_key_is_refused(void **state)
{
    expect(state, "range \"\" by=5", EMPTY_KEY);
}

static void sort_options_outside_the_enum_are_refused(void **state)
{
    expect(state, "range a order=3", "etcdserver: invalid sort option");
    expect(state, "range a by=5", "etcdserver: invalid sort option");
}

/* Vector 2. */
static void limit_cuts_and_says_more_and_count_is_of_the_whole_range(void **state)
{
    put_abcde(state);
    expect(state, "range \\x00 \\x00 limit=2",
           "revision 6 count 5 more\n  a=1 c2 m2 v1\n  b=2 c3 m3 v1");
    expect(state, "range \\x00 \\x00 limit=5 keys_only",
           "revision 6 count 5\n  a=\"\" c2 m2 v1\n  b=\"\" c3 m3 v1\n  c=\"\" c4 m4 v1\n"
           "  d=\"\" c5 m5 v1\n  e=\"\" c6 m6 v1");
    expect(state, "range a c limit=-1", "revision 6 count 2\n  a=1 c2 m2 v1\n  b=2 c3 m3 v1");
}

/* Vector 3. */
static void filters_come_before_limit_and_leave_the_count_alone(void **state)
{
    put_abcde(state);
    expect(state, "range \\x00 \\x00 min_mod=4 limit=2",
           "revision 6 count 5 more\n  c=3 c4 m4 v1\n  d=4 c5 m5 v1");
    expect(state, "range \\x00 \\x00 max_create=3 min_create=3",
           "revision 6 count 5\n  b=2 c3 m3 v1");
    expect(state, "range \\x00 \\x00 max_mod=2", "revision 6 count 5\n  a=1 c2 m2 v1");
}

static void count_only_ignores_limit_and_says_no_more(void **state)
{
    put_abcde(state);
    expect(state, "range \\x00 \\x00 count_only limit=1", "revision 6 count 5");
}

static void sorting_by_each_target_works_in_both_directions(void **state)
{
    expect(state, "put a 3", "revision 2");
    expect(state, "put b 1", "revision 3");
    expect(state, "put c 2", "revision 4");
    expect(state, "put a 3", "revision 5");
    expect(state, "range a z by=value order=ascend limit=2",
           "revision 5 count 3 more\n  b=1 c3 m3 v1\n  c=2 c4 m4 v1");
    expect(state, "range a z by=mod order=descend limit=1",
           "revision 5 count 3 more\n  a=3 c2 m5 v2");
    expect(state, "range a z by=create order=descend limit=1",
           "revision 5 count 3 more\n  c=2 c4 m4 v1");
    expect(state, "range a z by=version order=descend limit=1",
           "revision 5 count 3 more\n  a=3 c2 m5 v2");
    expect(state, "range a z order=descend limit=1", "revision 5 count 3 more\n  c=2 c4 m4 v1");
}

/* The quirk that every version of etcd has: only limit + 1 keys in key order are considered. */
static void sort_target_without_order_sorts_only_the_first_limit_plus_1_keys(void **state)
{
    expect(state, "put a 3", "revision 2");
    expect(state, "put b 2", "revision 3");
    expect(state, "put c 1", "revision 4");
    expect(state, "range a z by=value limit=1", "revision 4 count 3 more\n  b=2 c3 m3 v1");
}

static void old_revisions_are_readable_and_the_header_says_the_current_one(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "put a 2", "revision 3");
    expect(state, "del a", "revision 4 deleted 1");
    expect(state, "range a rev=2", "revision 4 count 1\n  a=1 c2 m2 v1");
    expect(state, "range a rev=3", "revision 4 count 1\n  a=2 c2 m3 v2");
    expect(state, "range a rev=1", "revision 4 count 0");
    expect(state, "range a rev=4", "revision 4 count 0");
    expect(state, "range a rev=5", FUTURE);
    expect(state, "range a rev=-7", "revision 4 count 0");
}

static void end_not_above_the_key_matches_nothing(void **state)
{
    put_abcde(state);
    expect(state, "range c c", "revision 6 count 0");
    expect(state, "range c a", "revision 6 count 0");
}

/* ---- compact ---- */

static void compaction_hides_what_is_below_it_and_not_itself(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "put a 2", "revision 3");
    expect(state, "put a 3", "revision 4");
    expect(state, "compact 3", "revision 4");
    expect(state, "range a rev=2", COMPACTED);
    expect(state, "range a rev=3", "revision 4 count 1\n  a=2 c2 m3 v2");
    expect(state, "sweep", "");
    expect(state, "range a rev=3", "revision 4 count 1\n  a=2 c2 m3 v2");
}

static void compaction_must_be_above_the_last_and_not_in_the_future(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "compact 3", FUTURE);
    expect(state, "compact -1", COMPACTED);
    expect(state, "compact 0", "revision 2");
    expect(state, "compact 0", COMPACTED);
    expect(state, "compact 2", "revision 2");
    expect(state, "compact 2", COMPACTED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(empty_store_is_at_revision_1_and_first_put_makes_2),
        TEST(same_value_put_again_counts_as_a_change),
        TEST(version_starts_again_after_a_delete),
        TEST(put_without_key_is_refused_before_all_else),
        TEST(ignore_value_with_a_value_is_refused_before_ignore_lease_with_a_lease),
        TEST(prev_kv_is_the_whole_previous_record_or_absent),
        TEST(ignore_value_keeps_the_value_and_counts_as_a_change),
        TEST(ignoring_value_or_lease_of_an_absent_key_is_key_not_found),
        TEST(put_with_an_unknown_lease_fails_and_changes_nothing),
        TEST(delete_without_key_is_refused),
        TEST(delete_that_matches_nothing_makes_no_revision),
        TEST(delete_of_a_range_is_one_revision_and_lists_keys_in_order),
        TEST(single_zero_byte_end_deletes_all_from_the_key_on),
        TEST(range_without_key_is_refused),
        TEST(sort_options_outside_the_enum_are_refused),
        TEST(limit_cuts_and_says_more_and_count_is_of_the_whole_range),
        TEST(filters_come_before_limit_and_leave_the_count_alone),
        TEST(count_only_ignores_limit_and_says_no_more),
        TEST(sorting_by_each_target_works_in_both_directions),
        TEST(sort_target_without_order_sorts_only_the_first_limit_plus_1_keys),
        TEST(old_revisions_are_readable_and_the_header_says_the_current_one),
        TEST(end_not_above_the_key_matches_nothing),
        TEST(compaction_hides_what_is_below_it_and_not_itself),
        TEST(compaction_must_be_above_the_last_and_not_in_the_future),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
