/* Txn as etcd-api.md 5.5 says, and the vectors of section 19 that concern it; alarms and members
 * (section 9) because they decide what a txn may do. */
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
#define KEY_NOT_FOUND "etcdserver: key not found"
#define DUPLICATE "etcdserver: duplicate key given in txn request"
#define TOO_MANY "etcdserver: too many operations in txn request"
#define COMPACTED "etcdserver: mvcc: required revision has been compacted"
#define FUTURE "etcdserver: mvcc: required revision is a future revision"
#define NO_LEASE "etcdserver: requested lease not found"
#define NO_SPACE "etcdserver: mvcc: database space exceeded"
#define CORRUPT "etcdserver: corrupt cluster"

/* "txn [ then put k0 v then put k1 v ... ]" */
static char *many_puts(size_t count)
{
    struct buf text;

    buf_init(&text, 1 << 20);
    (void)buf_printf(&text, "txn [");
    for (size_t i = 0; i < count; i++)
        (void)buf_printf(&text, " then put k%zu v", i);
    (void)buf_printf(&text, " ]");
    (void)buf_append_u8(&text, 0);
    return (char *)text.data;
}

/* ---- before it is proposed ---- */

static void txn_of_max_ops_passes_and_one_more_is_too_many(void **state)
{
    char *text = many_puts(129);

    expect(state, text, TOO_MANY);
    free(text);
    text = many_puts(128);
    assert_non_null(strstr(machine_text_run(*state, text), "revision 2 succeeded"));
    free(text);
}

/* A nested txn gets what the widest list of its parent leaves. */
static void nested_txn_has_what_its_parent_leaves_of_the_budget(void **state)
{
    struct machine_text *t = *state;

    t->ops_max = 3;
    expect(state, "txn [ then txn [ then put a 1 then put b 1 ] ]",
           "revision 2 succeeded\n  txn revision 0 succeeded\n    put revision 2\n"
           "    put revision 2");
    expect(state, "txn [ then txn [ then put a 1 then put b 1 then put c 1 ] ]", TOO_MANY);
    expect(state, "txn [ if mod a = 1 if mod b = 1 then txn [ then put a 1 then put b 1 ] ]",
           TOO_MANY);
    expect(state, "txn [ then txn [ then txn [ then txn [ then put a 1 ] ] ] ]", TOO_MANY);
}

static void empty_keys_are_found_in_compares_before_operations(void **state)
{
    expect(state, "txn [ if version \"\" = 0 then nothing ]", EMPTY_KEY);
    expect(state, "txn [ then nothing else put \"\" 1 ]", KEY_NOT_FOUND);
    expect(state, "txn [ then put a 1 else put \"\" 1 ]", EMPTY_KEY);
    expect(state, "txn [ then range \"\" ]", EMPTY_KEY);
    expect(state, "txn [ then del \"\" ]", EMPTY_KEY);
    expect(state, "txn [ then txn [ then put \"\" 1 ] ]", EMPTY_KEY);
    expect(state, "txn [ then txn [ if mod \"\" = 1 ] ]", EMPTY_KEY);
}

static void operations_are_checked_like_their_own_requests(void **state)
{
    expect(state, "txn [ then put a 1 ignore_value ]", "etcdserver: value is provided");
    expect(state, "txn [ then put a \"\" lease=3 ignore_lease ]", "etcdserver: lease is provided");
    expect(state, "txn [ then range a order=3 ]", "etcdserver: invalid sort option");
}

static void operation_without_content_is_key_not_found(void **state)
{
    expect(state, "txn [ then nothing ]", KEY_NOT_FOUND);
}

static void two_puts_of_a_key_in_one_branch_are_duplicate(void **state)
{
    expect(state, "txn [ then put a 1 then put a 2 ]", DUPLICATE);
    expect(state, "txn [ else put a 1 else put a 2 ]", DUPLICATE);
    expect(state, "txn [ then put a 1 then txn [ then put a 2 ] ]", DUPLICATE);
    expect(state, "txn [ then txn [ then put a 1 ] then txn [ else put a 2 ] ]", DUPLICATE);
}

static void put_inside_a_deleted_range_is_duplicate(void **state)
{
    expect(state, "txn [ then put a 1 then del a ]", DUPLICATE);
    expect(state, "txn [ then del a then put a 1 ]", DUPLICATE);
    expect(state, "txn [ then del a c then put b 1 ]", DUPLICATE);
    expect(state, "txn [ then put bb 1 then del c d then del b e then del bc bd ]", DUPLICATE);
    expect(state, "txn [ then del c e then del a d then put dd 1 ]", DUPLICATE);
    expect(state, "txn [ then del a c then txn [ else put b 1 ] ]", DUPLICATE);
    expect(state, "txn [ then txn [ then del a c ] then put b 1 ]", DUPLICATE);
}

/* As observed on etcd, which takes the end of such a delete for a key below its start. */
static void put_beside_a_delete_that_is_open_at_the_end_is_allowed(void **state)
{
    expect(state, "txn [ then put b 1 then del a \\x00 ]",
           "revision 2 succeeded\n  put revision 2\n  del revision 2 deleted 1");
}

/* As observed on etcd: a nested put is compared with the deletes of its elder siblings only. */
static void nested_delete_before_a_nested_put_is_duplicate_and_after_it_is_not(void **state)
{
    expect(state, "txn [ then txn [ then del b ] then txn [ then put b 1 ] ]", DUPLICATE);
    expect(state, "txn [ then txn [ then put b 1 ] then txn [ then del b ] ]",
           "revision 2 succeeded\n  txn revision 0 succeeded\n    put revision 2\n"
           "  txn revision 0 succeeded\n    del revision 2 deleted 1");
}

static void what_does_not_overlap_is_allowed(void **state)
{
    expect(state, "txn [ then put a 1 else put a 2 ]", "revision 2 succeeded\n  put revision 2");
    expect(state, "txn [ then del a c then del b d ]",
           "revision 3 succeeded\n  del revision 3 deleted 1\n  del revision 3 deleted 0");
    expect(state, "txn [ then put a 1 then range a ]",
           "revision 4 succeeded\n  put revision 4\n"
           "  range revision 4 count 1\n    a=1 c4 m4 v1");
    expect(state, "txn [ then txn [ then put b 1 else put b 2 ] ]",
           "revision 5 succeeded\n  txn revision 0 succeeded\n    put revision 5");
    expect(state, "txn [ then del b c then put c 1 then put ab 1 ]",
           "revision 6 succeeded\n  del revision 6 deleted 1\n  put revision 6\n  put revision 6");
    expect(state, "txn [ then del b then put b\\x00 1 ]",
           "revision 7 succeeded\n  del revision 6 deleted 0\n  put revision 7");
    expect(state, "txn [ then del z a then put b 1 ]",
           "revision 8 succeeded\n  del revision 7 deleted 0\n  put revision 8");
}

/* ---- compares ---- */

static void compare_holds(void **state, const char *compare, bool holds)
{
    char text[256];

    snprintf(text, sizeof text, "txn [ if %s ]", compare);
    expect(state, text, holds ? "revision 3 succeeded" : "revision 3 failed");
}

/* Two puts of a key that no test looks at, so that every compare is made at revision 3. */
static void go_to_revision_3(void **state)
{
    expect(state, "put zzz 1", "revision 2");
    expect(state, "put zzz 1", "revision 3");
}

static void no_compares_take_the_success_branch(void **state)
{
    expect(state, "txn [ then range a else put a 1 ]",
           "revision 1 succeeded\n  range revision 1 count 0");
    expect(state, "txn [ ]", "revision 1 succeeded");
}

/* Vector 6. */
static void absent_key_compares_as_zero_and_its_value_never(void **state)
{
    go_to_revision_3(state);
    compare_holds(state, "version q = 0", true);
    compare_holds(state, "create q = 0", true);
    compare_holds(state, "mod q < 1", true);
    compare_holds(state, "lease q = 0", true);
    compare_holds(state, "version q > 0", false);
    compare_holds(state, "value q = \"\"", false);
    compare_holds(state, "value q != x", false);
    compare_holds(state, "value q op4 x", false);
}

static void every_operator_compares_every_target(void **state)
{
    expect(state, "put a 5", "revision 2");
    expect(state, "put a 5", "revision 3");
    compare_holds(state, "version a = 2", true);
    compare_holds(state, "version a > 1", true);
    compare_holds(state, "version a > 2", false);
    compare_holds(state, "version a < 3", true);
    compare_holds(state, "version a != 2", false);
    compare_holds(state, "create a = 2", true);
    compare_holds(state, "create a = 3", false);
    compare_holds(state, "mod a = 3", true);
    compare_holds(state, "mod a != 2", true);
    compare_holds(state, "lease a = 0", true);
    compare_holds(state, "lease a > 0", false);
    compare_holds(state, "value a = 5", true);
    compare_holds(state, "value a > 49", true);
    compare_holds(state, "value a < 6", true);
    compare_holds(state, "value a != 5", false);
}

static void unknown_operator_holds_and_unknown_target_is_equal(void **state)
{
    go_to_revision_3(state);
    compare_holds(state, "mod a op4 9", true);
    compare_holds(state, "target5 a = 9", true);
    compare_holds(state, "target5 a > 0", false);
}

static void operand_of_another_kind_counts_as_zero(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "put b \"\"", "revision 3");
    compare_holds(state, "mod a > unset", true);
    compare_holds(state, "mod a = unset", false);
    compare_holds(state, "lease a = unset", true);
    compare_holds(state, "value a > unset", true);
    compare_holds(state, "value b = unset", true);
}

static void range_compare_holds_if_it_does_for_every_key(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "put b 1", "revision 3");
    compare_holds(state, "value a z = 1", true);
    compare_holds(state, "mod a z > 1", true);
    compare_holds(state, "mod a z = 2", false);
    compare_holds(state, "mod \\x00 \\x00 > 2", false);
}

static void empty_range_compares_as_one_absent_key(void **state)
{
    go_to_revision_3(state);
    compare_holds(state, "version x z = 0", true);
    compare_holds(state, "version x z > 0", false);
    compare_holds(state, "value x z != 1", false);
}

static void all_compares_must_hold(void **state)
{
    go_to_revision_3(state);
    compare_holds(state, "version a = 0 if version b = 0", true);
    compare_holds(state, "version a = 0 if version b = 1", false);
}

/* ---- effects ---- */

/* Vector 4. */
static void headers_of_operations_say_the_revision_they_ran_at(void **state)
{
    for (int i = 0; i < 4; i++) {
        static const char *const puts[] = {"put a0 1", "put a1 1", "put a2 1", "put a3 1"};
        (void)machine_text_run(*state, puts[i]); /* the state is checked below */
    }
    for (int i = 0; i < 5; i++)
        (void)machine_text_run(*state, "put b 1"); /* as above */
    expect(state, "range b count_only", "revision 10 count 1");
    expect(state, "txn [ then del q then del a0 z0 ]",
           "revision 11 succeeded\n  del revision 10 deleted 0\n  del revision 11 deleted 5");
}

/* Vector 5. */
static void nested_txn_writes_under_the_same_revision(void **state)
{
    expect(state, "put x1 1", "revision 2");
    expect(state,
           "txn [ then put x3 1 then txn [ if version x3 = 0 then put x4 1 ] "
           "then range x y count_only ]",
           "revision 3 succeeded\n  put revision 3\n  txn revision 0 succeeded\n"
           "    put revision 3\n  range revision 3 count 3");
}

static void nested_compares_see_the_state_before_the_txn(void **state)
{
    expect(state, "txn [ then put a 1 then txn [ if version a > 0 then put b 1 else put c 1 ] ]",
           "revision 2 succeeded\n  put revision 2\n  txn revision 0 failed\n    put revision 2");
    expect(state, "range a z keys_only",
           "revision 2 count 2\n  a=\"\" c2 m2 v1\n  c=\"\" c2 m2 v1");
}

static void later_operations_see_earlier_writes(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "txn [ then range a then put b 2 then range a c then del a then range a c ]",
           "revision 3 succeeded\n  range revision 2 count 1\n    a=1 c2 m2 v1\n  put revision 3\n"
           "  range revision 3 count 2\n    a=1 c2 m2 v1\n    b=2 c3 m3 v1\n"
           "  del revision 3 deleted 1\n  range revision 3 count 1\n    b=2 c3 m3 v1");
}

static void txn_that_changes_nothing_makes_no_revision(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "txn [ then del q prev ]", "revision 2 succeeded\n  del revision 2 deleted 0");
    expect(state, "txn [ if mod a = 9 then put a 2 ]", "revision 2 failed");
    expect(state, "put a 2", "revision 3");
}

static void any_failing_operation_undoes_the_whole_txn(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "put a 2", "revision 3");
    expect(state, "compact 3", "revision 3");
    expect(state, "txn [ then put b 1 then range a rev=4 ]", FUTURE);
    expect(state, "txn [ then put b 1 then range a rev=2 ]", COMPACTED);
    expect(state, "txn [ then put b 1 then put c 1 lease=9 ]", NO_LEASE);
    expect(state, "txn [ then put b 1 then put c \"\" ignore_value ]", KEY_NOT_FOUND);
    expect(state, "txn [ then put b 1 then txn [ then put c 1 ignore_lease ] ]", KEY_NOT_FOUND);
    expect(state, "range \\x00 \\x00", "revision 3 count 1\n  a=2 c2 m3 v2");
}

/* As observed on etcd: all puts first, and of a put its key before its lease. */
static void failures_are_found_in_puts_before_ranges_and_keys_before_leases(void **state)
{
    expect(state, "txn [ then range a rev=99 then put b \"\" ignore_value ]", KEY_NOT_FOUND);
    expect(state, "txn [ then range a rev=99 then txn [ then put b 1 lease=9 ] ]", NO_LEASE);
    expect(state, "txn [ then put b \"\" ignore_value lease=9 ]", KEY_NOT_FOUND);
}

static void operations_of_the_branch_not_taken_may_fail(void **state)
{
    expect(state, "txn [ then put a 1 else range a rev=99 ]",
           "revision 2 succeeded\n  put revision 2");
    expect(state, "txn [ then txn [ if mod a = 1 then put c 1 lease=9 else put d 1 ] ]",
           "revision 3 succeeded\n  txn revision 0 failed\n    put revision 3");
}

static void range_at_a_revision_inside_a_txn_reads_that_revision(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "txn [ then put a 2 then range a rev=2 then range a ]",
           "revision 3 succeeded\n  put revision 3\n  range revision 3 count 1\n    a=1 c2 m2 v1\n"
           "  range revision 3 count 1\n    a=2 c2 m3 v2");
}

static void prev_kvs_of_operations_are_given(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "txn [ then put a 2 prev then del b prev ]",
           "revision 3 succeeded\n  put revision 3\n    prev a=1 c2 m2 v1\n"
           "  del revision 3 deleted 0");
    expect(state, "txn [ then del a prev ]",
           "revision 4 succeeded\n  del revision 4 deleted 1\n    prev a=2 c2 m3 v2");
}

static void read_only_txn_reads_and_fails_like_a_range(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "txn [ if mod a = 2 then range a else range b ]",
           "revision 2 succeeded\n  range revision 2 count 1\n    a=1 c2 m2 v1");
    expect(state, "txn [ then range a rev=3 ]", FUTURE);
}

/* ---- alarms ---- */

static void nospace_forbids_what_puts_and_nothing_else(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "alarm activate 1 nospace", "revision 2 alarm 1 1");
    expect(state, "put a 2", NO_SPACE);
    expect(state, "txn [ then put a 2 ]", NO_SPACE);
    expect(state, "txn [ then del q else put a 2 ]", NO_SPACE);
    expect(state, "txn [ then txn [ else put a 2 ] ]", NO_SPACE);
    expect(state, "txn [ then del q ]", "revision 2 succeeded\n  del revision 2 deleted 0");
    expect(state, "txn [ then range a count_only ]",
           "revision 2 succeeded\n  range revision 2 count 1");
    expect(state, "del a", "revision 3 deleted 1");
    expect(state, "compact 3", "revision 3");
    expect(state, "alarm deactivate 1 nospace", "revision 3 alarm 1 1");
    expect(state, "put a 2", "revision 4");
}

static void corrupt_forbids_every_write_and_speaks_before_nospace(void **state)
{
    expect(state, "put a 1", "revision 2");
    expect(state, "alarm activate 2 nospace", "revision 2 alarm 2 1");
    expect(state, "alarm activate 0 corrupt", "revision 2 alarm 0 2");
    expect(state, "put a 2", CORRUPT);
    expect(state, "del a", CORRUPT);
    expect(state, "txn [ then del a ]", CORRUPT);
    expect(state, "compact 2", CORRUPT);
    expect(state, "txn [ then range a ]",
           "revision 2 succeeded\n  range revision 2 count 1\n    a=1 c2 m2 v1");
    expect(state, "alarm deactivate 0 corrupt", "revision 2 alarm 0 2");
    expect(state, "put a 2", NO_SPACE);
}

static void alarms_are_kept_once_per_member_and_type(void **state)
{
    expect(state, "alarm activate 2 corrupt", "revision 1 alarm 2 2");
    expect(state, "alarm activate 2 nospace", "revision 1 alarm 2 1");
    expect(state, "alarm activate 1 nospace", "revision 1 alarm 1 1");
    expect(state, "alarm activate 1 nospace", "revision 1 alarm 1 1");
    expect(state, "state",
           "revision 1 compacted -1 keys 0\n  alarm 1 1\n  alarm 2 1\n  alarm 2 2\n"
           "  member 1 \"\" http://127.0.0.1:1\n  member 2 \"\" http://127.0.0.1:2");
}

static void alarm_of_no_type_or_not_set_is_a_no_op(void **state)
{
    expect(state, "alarm activate 1 none", "revision 1");
    expect(state, "alarm deactivate 1 none", "revision 1");
    expect(state, "alarm deactivate 1 nospace", "revision 1");
    expect(state, "put a 1", "revision 2");
}

/* ---- members ---- */

static void published_member_has_name_and_client_urls(void **state)
{
    expect(state, "publish 2 n2 http://127.0.0.1:2379", "revision 1");
    expect(state, "publish 9 n9 http://127.0.0.1:2379", "etcdserver: member not found");
    expect(state, "state",
           "revision 1 compacted -1 keys 0\n  member 1 \"\" http://127.0.0.1:1\n"
           "  member 2 \"n2\" http://127.0.0.1:2 http://127.0.0.1:2379");
    expect(state, "publish 2 other", "revision 1");
    expect(state, "state",
           "revision 1 compacted -1 keys 0\n  member 1 \"\" http://127.0.0.1:1\n"
           "  member 2 \"other\" http://127.0.0.1:2");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(txn_of_max_ops_passes_and_one_more_is_too_many),
        TEST(nested_txn_has_what_its_parent_leaves_of_the_budget),
        TEST(empty_keys_are_found_in_compares_before_operations),
        TEST(operations_are_checked_like_their_own_requests),
        TEST(operation_without_content_is_key_not_found),
        TEST(two_puts_of_a_key_in_one_branch_are_duplicate),
        TEST(put_inside_a_deleted_range_is_duplicate),
        TEST(put_beside_a_delete_that_is_open_at_the_end_is_allowed),
        TEST(nested_delete_before_a_nested_put_is_duplicate_and_after_it_is_not),
        TEST(what_does_not_overlap_is_allowed),
        TEST(no_compares_take_the_success_branch),
        TEST(absent_key_compares_as_zero_and_its_value_never),
        TEST(every_operator_compares_every_target),
        TEST(unknown_operator_holds_and_unknown_target_is_equal),
        TEST(operand_of_another_kind_counts_as_zero),
        TEST(range_compare_holds_if_it_does_for_every_key),
        TEST(empty_range_compares_as_one_absent_key),
        TEST(all_compares_must_hold),
        TEST(headers_of_operations_say_the_revision_they_ran_at),
        TEST(nested_txn_writes_under_the_same_revision),
        TEST(nested_compares_see_the_state_before_the_txn),
        TEST(later_operations_see_earlier_writes),
        TEST(txn_that_changes_nothing_makes_no_revision),
        TEST(any_failing_operation_undoes_the_whole_txn),
        TEST(failures_are_found_in_puts_before_ranges_and_keys_before_leases),
        TEST(operations_of_the_branch_not_taken_may_fail),
        TEST(range_at_a_revision_inside_a_txn_reads_that_revision),
        TEST(prev_kvs_of_operations_are_given),
        TEST(read_only_txn_reads_and_fails_like_a_range),
        TEST(nospace_forbids_what_puts_and_nothing_else),
        TEST(corrupt_forbids_every_write_and_speaks_before_nospace),
        TEST(alarms_are_kept_once_per_member_and_type),
        TEST(alarm_of_no_type_or_not_set_is_a_no_op),
        TEST(published_member_has_name_and_client_urls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
