/* Quorum arithmetic in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lab/lab.h"
#include "lab/words.h"

static void says(struct lab_headcount count, const char *expected)
{
    char text[200];

    assert_string_equal(lab_words_quorum(&count, text, sizeof text), expected);
}

static void a_quorum_bears_so_many_failures_more(void **state)
{
    (void)state;
    says((struct lab_headcount){.voters = 5, .alive = 3, .together = 3, .leader = 1},
         "3 of 5 alive: writes go on, one more failure stops them");
    says((struct lab_headcount){.voters = 5, .alive = 5, .together = 5, .leader = 1},
         "5 of 5 alive: writes go on, three more failures stop them");
    /* four members bear no more than three */
    says((struct lab_headcount){.voters = 4, .alive = 4, .together = 4, .leader = 2},
         "4 of 4 alive: writes go on, two more failures stop them");
    says((struct lab_headcount){.voters = 3, .alive = 3, .together = 3, .leader = 2},
         "3 of 3 alive: writes go on, two more failures stop them");
    says((struct lab_headcount){.voters = 1, .alive = 1, .together = 1, .leader = 1},
         "1 of 1 alive: writes go on, one more failure stops them");
}

static void without_a_quorum_members_must_come_back(void **state)
{
    (void)state;
    says((struct lab_headcount){.voters = 3, .alive = 1, .together = 1},
         "1 of 3 alive: no quorum of 2, writes stop until one more member comes back");
    says((struct lab_headcount){.voters = 5, .alive = 0, .together = 0},
         "0 of 5 alive: no quorum of 3, writes stop until three more members come back");
    says((struct lab_headcount){.voters = 4, .alive = 4, .together = 2},
         "4 of 4 alive, 2 in the largest part: no quorum of 3, writes stop until one more member "
         "comes back");
}

static void learners_and_a_missing_leader_are_told(void **state)
{
    (void)state;
    says((struct lab_headcount){.voters = 3, .alive = 2, .together = 2, .learners = 1},
         "2 of 3 alive: writes go on, one more failure stops them (as soon as there is a leader); "
         "one learner without a vote");
}

static void the_text_fits_any_space(void **state)
{
    struct lab_headcount count = {.voters = 5, .alive = 5, .together = 3, .learners = 2};
    char text[200];

    (void)state;
    for (size_t size = 1; size < sizeof text; size++) {
        memset(text, 'x', sizeof text);
        (void)lab_words_quorum(&count, text, size);
        assert_non_null(memchr(text, '\0', size));
        assert_int_equal(text[size], 'x');
    }
}

static void a_near_word_is_found_and_a_far_one_is_not(void **state)
{
    static const char *const names[] = {"kill", "heal", "partition"};

    (void)state;
    assert_string_equal(lab_words_nearest("kil", 3, names, 3), "kill");
    assert_string_equal(lab_words_nearest("partitoin", 9, names, 3), "partition");
    assert_null(lab_words_nearest("xy", 2, names, 3));
    assert_null(lab_words_nearest("", 0, names, 3));
}

/* Every lesson that is shipped is a script that would run. */
static void lessons_are_scripts(void **state)
{
    const struct lab_lesson *lesson;
    size_t n = 0;

    (void)state;
    for (; (lesson = lab_lesson_at(n)) != NULL; n++) {
        struct lab_script script;
        struct err err = ERR_INIT;

        if (lab_script_parse(lesson->name, lesson->text, &script, &err) != 0)
            fail_msg("%s", err.text);
        assert_true(strlen(script.title) > 10);
        assert_ptr_equal(lab_lesson_named(lesson->name), lesson);
        lab_script_release(&script);
    }
    assert_true(n >= 10);
    assert_null(lab_lesson_named("no such lesson"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quorum_bears_so_many_failures_more),
        cmocka_unit_test(without_a_quorum_members_must_come_back),
        cmocka_unit_test(learners_and_a_missing_leader_are_told),
        cmocka_unit_test(the_text_fits_any_space),
        cmocka_unit_test(a_near_word_is_found_and_a_far_one_is_not),
        cmocka_unit_test(lessons_are_scripts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
