/* The checker bites: each kind of lie is found, and the truth is not taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lab/check.h"

enum { KEY = 9, OTHER = 17, END = 100 };

static int setup(void **state)
{
    *state = lab_check_new();
    return 0;
}

static int teardown(void **state)
{
    lab_check_free(*state);
    return 0;
}

/* Three writes, acknowledged at 100, 200 and 300 ms, all in the history. */
static void write_three(struct lab_check *check)
{
    for (int i = 1; i <= 3; i++) {
        assert_true(lab_check_acknowledged(check, 1, KEY, (uint64_t)i, 10 + i, 100 * i));
        lab_check_change(check, KEY, (uint64_t)i, 10 + i);
    }
}

static struct lab_findings run(struct lab_check *check)
{
    struct lab_findings findings;

    lab_check_run(check, END, &findings);
    return findings;
}

static void an_honest_history_has_no_fault(void **state)
{
    struct lab_check *check = *state;
    struct lab_findings findings;

    assert_true(lab_check_read(check, 2, KEY, 0, 0, 5, 0, 50)); /* before the first write */
    write_three(check);
    lab_check_change(check, OTHER, 77, 20); /* a write whose fate its client does not know */
    assert_true(lab_check_read(check, 2, KEY, 3, 13, 20, lab_check_floor(check), 400));
    assert_int_equal(lab_check_local_read(check, 3, KEY, 3, 13, 13, 13, 400), -1);
    findings = run(check);
    assert_int_equal(findings.lost + findings.wrong_reads + findings.invented, 0);
    assert_int_equal(findings.writes, 3);
    assert_int_equal(findings.reads, 2);
    assert_int_equal(findings.local_reads, 1);
    assert_string_equal(findings.example, "");
}

static void an_acknowledged_write_that_is_missing_is_lost(void **state)
{
    struct lab_check *check = *state;
    struct lab_findings findings;

    write_three(check);
    assert_true(lab_check_acknowledged(check, 2, KEY, 4, 14, 400));
    findings = run(check);
    assert_int_equal(findings.lost, 1);
    assert_non_null(strstr(findings.example,
                           "write 4 of kvlab/1/1 was acknowledged by m2 at 400 ms "
                           "with revision 14"));
    assert_non_null(strstr(findings.example, "has write 3 there, of revision 13"));
}

static void an_acknowledged_write_with_another_value_is_lost(void **state)
{
    struct lab_check *check = *state;

    write_three(check);
    assert_true(lab_check_acknowledged(check, 2, KEY, 4, 14, 400));
    lab_check_change(check, KEY, 5, 14);
    assert_int_equal(run(check).lost, 1);
}

static void a_linearizable_read_below_the_floor_is_wrong(void **state)
{
    struct lab_check *check = *state;
    struct lab_findings findings;

    write_three(check);
    assert_true(lab_check_read(check, 2, KEY, 2, 12, 12, lab_check_floor(check), 350));
    findings = run(check);
    assert_int_equal(findings.wrong_reads, 1);
    assert_non_null(strstr(findings.example, "revision 13 was acknowledged at 300 ms"));
}

static void a_read_of_what_never_was_is_found(void **state)
{
    struct lab_check *check = *state;

    write_three(check);
    assert_true(lab_check_read(check, 2, KEY, 9, 13, 13, 13, 350)); /* another value */
    assert_true(lab_check_read(check, 2, KEY, 0, 0, 13, 13, 350));  /* no such key */
    assert_int_equal(lab_check_local_read(check, 2, OTHER, 1, 11, 13, 13, 350), -1);
    assert_int_equal(run(check).wrong_reads, 2);
    assert_int_equal(run(check).invented, 1);
}

static void the_age_of_a_stale_read_is_since_the_first_write_it_misses(void **state)
{
    struct lab_check *check = *state;

    write_three(check);
    assert_int_equal(lab_check_local_read(check, 3, KEY, 1, 11, 11, 13, 450), 250);
    assert_int_equal(lab_check_local_read(check, 3, KEY, 2, 12, 12, 13, 450), 150);
    assert_int_equal(run(check).invented, 0); /* old, but true at its revision */
}

static void what_a_restore_gives_up_is_not_lost(void **state)
{
    struct lab_check *check = *state;
    struct lab_findings findings;

    write_three(check);
    assert_int_equal(lab_check_roll_back(check, 12), 1);
    assert_int_equal(lab_check_floor(check), 12);
    lab_check_forget_changes(check);
    lab_check_change(check, KEY, 1, 11);
    lab_check_change(check, KEY, 2, 12);
    assert_true(lab_check_acknowledged(check, 1, KEY, 50, 13, 900));
    lab_check_change(check, KEY, 50, 13);
    findings = run(check);
    assert_int_equal(findings.lost, 0);
    assert_int_equal(findings.writes, 3);
}

/* What is acknowledged while the history is read is not lost: it has its turn later. */
static void answers_behind_the_end_of_the_history_wait(void **state)
{
    struct lab_check *check = *state;
    struct lab_findings findings;

    write_three(check);
    assert_true(lab_check_acknowledged(check, 1, KEY, 4, 14, 400));
    assert_true(lab_check_read(check, 1, KEY, 4, 14, 14, 14, 410));
    lab_check_run(check, 13, &findings);
    assert_int_equal(findings.lost + findings.wrong_reads, 0);
    assert_int_equal(findings.writes, 3);
    assert_int_equal(findings.reads, 0);
    lab_check_run(check, 14, &findings);
    assert_int_equal(findings.lost, 1);
    assert_int_equal(findings.wrong_reads, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(an_honest_history_has_no_fault),
        TEST(an_acknowledged_write_that_is_missing_is_lost),
        TEST(an_acknowledged_write_with_another_value_is_lost),
        TEST(a_linearizable_read_below_the_floor_is_wrong),
        TEST(a_read_of_what_never_was_is_found),
        TEST(the_age_of_a_stale_read_is_since_the_first_write_it_misses),
        TEST(what_a_restore_gives_up_is_not_lost),
        TEST(answers_behind_the_end_of_the_history_wait),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
