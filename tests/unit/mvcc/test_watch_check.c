/* The watch checker bites: a stream that keeps every promise passes, and each promise that is
 * broken is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/watch_check.h"

enum { FLAGS = WATCH_PREV_KV | WATCH_FRAGMENT };

struct fixture {
    struct watch_history history;
    struct watch_check *check;
};

static struct watch_change change(int64_t revision, const char *key, int64_t create,
                                  int64_t version, int64_t prev)
{
    return (struct watch_change){.revision = revision,
                                 .key = slice_str(key),
                                 .is_delete = create == 0,
                                 .create = create,
                                 .version = version,
                                 .value = (uint64_t)version,
                                 .prev = prev,
                                 .prev_value = prev != 0 ? 1 : 0};
}

/* Revisions 2 to 6; revision 5 changes two keys. */
static const struct {
    int64_t revision;
    const char *key;
    int64_t create, version, prev;
} rows[] = {{2, "a", 2, 1, 0}, {3, "x", 3, 1, 0}, {4, "a", 2, 2, 2},
            {5, "a", 0, 0, 4}, {5, "b", 5, 1, 0}, {6, "b", 5, 2, 5}};

enum { ROWS = sizeof rows / sizeof rows[0], A2 = 0, X3, A4, A5, B5, B6 };

static struct watch_change row(int n)
{
    return change(rows[n].revision, rows[n].key, rows[n].create, rows[n].version, rows[n].prev);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct watch_check_options options = {
        .span = {slice_str("a"), slice_str("c")}, .start = 2, .flags = FLAGS, .name = "w"};

    assert_non_null(f);
    watch_history_init(&f->history);
    for (int i = 0; i < ROWS; i++) {
        struct watch_change one = row(i);

        watch_history_add(&f->history, &one);
    }
    f->check = watch_check_new(&options);
    watch_check_created(f->check, 6);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    watch_check_free(f->check);
    watch_history_release(&f->history);
    free(f);
    return 0;
}

static void tell(struct fixture *f, int64_t header, int first, int count)
{
    struct watch_change changes[ROWS];

    for (int i = 0; i < count; i++)
        changes[i] = row(first + i);
    watch_check_events(f->check, header, false, changes, (size_t)count);
}

static void assert_problem(struct fixture *f, const char *part)
{
    watch_check_whole(f->check, &f->history, -1);
    if (strstr(watch_check_problem(f->check), part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", watch_check_problem(f->check), part);
}

static void assert_fine(struct fixture *f, size_t seen)
{
    watch_check_whole(f->check, &f->history, -1);
    assert_string_equal(watch_check_problem(f->check), "");
    assert_int_equal(watch_check_seen(f->check), seen);
}

static void a_stream_that_keeps_all_promises_passes(void **state)
{
    struct fixture *f = *state;
    struct watch_change part = row(A5);

    tell(f, 6, A2, 1);
    watch_check_progress(f->check, 3);
    tell(f, 6, A4, 1);
    watch_check_lost(f->check);
    assert_int_equal(watch_check_next(f->check), 5);
    watch_check_created(f->check, 4); /* on a member that lags behind */
    watch_check_events(f->check, 6, true, &part, 1);
    watch_check_lost(f->check);
    assert_int_equal(watch_check_next(f->check), 5); /* half an answer is none */
    watch_check_created(f->check, 6);
    tell(f, 6, A5, 3);
    assert_fine(f, 5);
}

static void a_dropped_event_is_found(void **state)
{
    tell(*state, 6, A2, 1);
    tell(*state, 6, A5, 3);
    assert_problem(*state, "revision 4 never came");
}

static void an_event_that_progress_passed_over_is_found(void **state)
{
    struct fixture *f = *state;

    tell(f, 6, A2, 1);
    watch_check_progress(f->check, 5);
    tell(f, 6, A4, 1);
    assert_problem(f, "revision 4, but all below 6");
}

static void a_repeated_event_is_found(void **state)
{
    tell(*state, 6, A2, 1);
    tell(*state, 6, A2, 1);
    assert_problem(*state, "revision 2, but all below 3");
}

static void a_revision_in_two_answers_is_found(void **state)
{
    tell(*state, 6, A2, 1);
    tell(*state, 6, A4, 1);
    tell(*state, 6, A5, 1);
    tell(*state, 6, B5, 1);
    assert_problem(*state, "revision 5, but all below 6");
}

static void falling_revisions_are_found(void **state)
{
    struct watch_change wrong[] = {row(A4), row(A2)};

    watch_check_events(((struct fixture *)*state)->check, 6, false, wrong, 2);
    assert_problem(*state, "2 comes after 4");
}

static void what_was_not_asked_for_is_found(void **state)
{
    tell(*state, 6, A2, 2);
    assert_problem(*state, "not asked for");
}

static void progress_that_goes_back_is_found(void **state)
{
    struct fixture *f = *state;

    tell(f, 6, A2, 1);
    watch_check_progress(f->check, 5);
    watch_check_progress(f->check, 4);
    assert_problem(f, "progress at 4, but 5");
}

static void a_header_below_its_events_is_found(void **state)
{
    tell(*state, 1, A2, 1);
    assert_problem(*state, "header says 1");
}

static void a_wrong_value_and_a_wrong_prev_kv_are_found(void **state)
{
    struct fixture *f = *state;
    struct watch_change wrong = row(A2);

    wrong.version = 7;
    watch_check_events(f->check, 6, false, &wrong, 1);
    assert_problem(f, "revision 2 is told as put created 2 version 7");
}

static void a_missing_prev_kv_is_found_unless_it_is_compacted(void **state)
{
    struct fixture *f = *state;
    struct watch_change wrong = row(A4);

    wrong.prev = 0;
    tell(f, 6, A2, 1);
    watch_check_events(f->check, 6, false, &wrong, 1);
    watch_check_whole(f->check, &f->history, 4);
    assert_string_equal(watch_check_problem(f->check), "");
    assert_problem(f, "prev_kv of revision 4 is missing");
}

static void an_end_by_compaction_must_be_needed(void **state)
{
    struct fixture *f = *state;

    watch_check_compacted(f->check, 4);
    assert_int_equal(watch_check_next(f->check), 4);
    watch_check_lost(f->check);
    watch_check_created(f->check, 6);
    tell(f, 6, A4, 1);
    assert_fine(f, 1);
    watch_check_compacted(f->check, 5);
    assert_problem(f, "wants only 5 and later");
}

static void words_before_created_are_found(void **state)
{
    struct fixture *f = *state;

    watch_check_lost(f->check);
    tell(f, 6, A2, 1);
    assert_problem(f, "events before created");
}

static void a_start_of_zero_begins_behind_the_created_answer(void **state)
{
    struct fixture *f = *state;
    struct watch_check_options options = {
        .span = {slice_str("a"), slice_str("c")}, .flags = FLAGS, .name = "w"};

    watch_check_free(f->check);
    f->check = watch_check_new(&options);
    watch_check_created(f->check, 5);
    tell(f, 6, B6, 1);
    assert_fine(f, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_stream_that_keeps_all_promises_passes),
        TEST(a_dropped_event_is_found),
        TEST(an_event_that_progress_passed_over_is_found),
        TEST(a_repeated_event_is_found),
        TEST(a_revision_in_two_answers_is_found),
        TEST(falling_revisions_are_found),
        TEST(what_was_not_asked_for_is_found),
        TEST(progress_that_goes_back_is_found),
        TEST(a_header_below_its_events_is_found),
        TEST(a_wrong_value_and_a_wrong_prev_kv_are_found),
        TEST(a_missing_prev_kv_is_found_unless_it_is_compacted),
        TEST(an_end_by_compaction_must_be_needed),
        TEST(words_before_created_are_found),
        TEST(a_start_of_zero_begins_behind_the_created_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
