/* What the lab understands, and what it says of what it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lab/command.h"

static struct lab_command parse(const char *line)
{
    struct lab_command command;
    struct err err = ERR_INIT;

    if (lab_command_parse(slice_str(line), &command, &err) != 0)
        fail_msg("%s: %s", line, err.text);
    return command;
}

/* The line is refused, and the text has the words. */
static void refuses(const char *line, const char *words)
{
    struct lab_command command;
    struct err err = ERR_INIT;

    assert_int_equal(lab_command_parse(slice_str(line), &command, &err), KV_EINVAL);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\": \"%s\" does not say \"%s\"", line, err.text, words);
}

static void links_are_one_way_or_both(void **state)
{
    struct lab_command command = parse("cut 1>2,3");

    (void)state;
    assert_int_equal(command.verb, LAB_CUT);
    assert_int_equal(command.groups[0].numbers, 1u << 1);
    assert_int_equal(command.groups[1].numbers, 1u << 2 | 1u << 3);
    assert_false(command.both_ways);
    command = parse("  cut leader - m4   # both");
    assert_int_equal(command.groups[0].who, LAB_WHO_LEADER);
    assert_int_equal(command.groups[1].numbers, 1u << 4);
    assert_true(command.both_ways);
    assert_string_equal(command.text, "cut leader - m4");
    command = parse("delay 1 > 2 200ms");
    assert_int_equal(command.ms, 200);
    command = parse("thin 1-2 8000");
    assert_int_equal(command.value, 8000);
    assert_true(command.both_ways);
    refuses("thin 1>2", "how many bytes per second");
    refuses("thin 1>2 64kbit", "how many bytes per second");
    assert_int_equal(parse("heal").group_count, 0);
    assert_int_equal(parse("heal 1>2").group_count, 2);
}

static void partitions_have_parts(void **state)
{
    struct lab_command command = parse("partition 1,2|3,4,5");

    (void)state;
    assert_int_equal(command.group_count, 2);
    assert_int_equal(command.groups[1].numbers, 1u << 3 | 1u << 4 | 1u << 5);
    command = parse("partition leader , follower | others");
    assert_int_equal(command.groups[0].who, LAB_WHO_LEADER | LAB_WHO_FOLLOWER);
    assert_int_equal(command.groups[1].who, LAB_WHO_OTHERS);
    refuses("partition 1,2,3", "has parts");
    refuses("partition 1|2|3|4|5", "more than 4 parts");
    refuses("partition 1||2", "a member is missing");
}

static void durations_have_units(void **state)
{
    int64_t ms = -1;
    char text[32];

    (void)state;
    assert_true(lab_duration_parse(slice_str("1.5s"), &ms));
    assert_int_equal(ms, 1500);
    assert_true(lab_duration_parse(slice_str("2m"), &ms));
    assert_int_equal(ms, 120000);
    assert_true(lab_duration_parse(slice_str("0"), &ms));
    assert_int_equal(ms, 0);
    assert_false(lab_duration_parse(slice_str("3"), &ms));
    assert_false(lab_duration_parse(slice_str("-3s"), &ms));
    assert_false(lab_duration_parse(slice_str("nans"), &ms));
    assert_false(lab_duration_parse(slice_str("0x10ms"), &ms));
    assert_false(lab_duration_parse(slice_str("1e9h"), &ms));
    assert_false(lab_duration_parse(slice_str(""), &ms));
    assert_string_equal(lab_duration_format(250, text, sizeof text), "250 ms");
    assert_string_equal(lab_duration_format(2500, text, sizeof text), "2.50 s");
    assert_string_equal(lab_duration_format(-1, text, sizeof text), "never");
}

static void expectations_compare_figures(void **state)
{
    struct lab_command command = parse("expect lost = 0");

    (void)state;
    assert_int_equal(command.figure, LAB_LOST);
    assert_true(lab_command_holds(&command, 0));
    assert_false(lab_command_holds(&command, 1));
    command = parse("expect failover<=2s");
    assert_int_equal(command.figure, LAB_FAILOVER);
    assert_true(lab_command_holds(&command, 2000));
    assert_false(lab_command_holds(&command, 2001));
    command = parse("expect stale reads != 3");
    assert_int_equal(command.figure, LAB_STALE_READS);
    assert_false(lab_command_holds(&command, 3));
    refuses("expect lost", "compared with");
    refuses("expect lost = many", "is a number");
    refuses("expect failover <= 2", "is a time");
    refuses("expect lots = 0", "did you mean \"lost\"");
}

static void expectations_look_at_what_goes_on(void **state)
{
    struct lab_command command = parse("expect writes go on at 2 within 3s");

    (void)state;
    assert_int_equal(command.expect, LAB_EXPECT_GOES_ON);
    assert_int_equal(command.topic, LAB_WRITES);
    assert_int_equal(command.groups[0].numbers, 1u << 2);
    assert_int_equal(command.ms, 3000);
    command = parse("expect serializable reads stop for 500ms");
    assert_int_equal(command.expect, LAB_EXPECT_STOPS);
    assert_int_equal(command.topic, LAB_LOCAL_READS);
    assert_int_equal(command.ms, 500);
    assert_int_equal(parse("expect no leader").expect, LAB_EXPECT_NO_LEADER);
    assert_int_equal(parse("expect leader = none").expect, LAB_EXPECT_NO_LEADER);
    assert_int_equal(parse("expect leader in others").expect, LAB_EXPECT_LEADER);
    assert_int_equal(parse("expect same data").expect, LAB_EXPECT_SAME_DATA);
    assert_int_equal(parse("expect holder = B").holder, 'B');
    command = parse("expect log 2 has went over to");
    assert_int_equal(command.expect, LAB_EXPECT_LOG);
    assert_string_equal(command.text + command.rest_at, "went over to");
    refuses("expect log 2 has", "log N has TEXT");
    refuses("expect writes go", "\"go on\" or \"stop\"");
}

static void sizes_and_counts_have_bounds(void **state)
{
    (void)state;
    assert_int_equal(parse("load on 4096").value, 4096);
    assert_true(parse("load on").on);
    assert_false(parse("load off").on);
    assert_int_equal(parse("forget 1").value, LAB_FORGET_DEFAULT);
    assert_int_equal(parse("forget 1,2 7").value, 7);
    refuses("forget 1 0", "is no number of records");
    refuses("load on 65537", "is no size");
    refuses("load on much", "is no size");
    refuses("load maybe", "load on or load off");
}

static void typos_are_told_with_what_is_near(void **state)
{
    (void)state;
    refuses("kil 1", "did you mean \"kill\"?");
    refuses("kill leder", "did you mean \"leader\"?");
    refuses("wait leadr", "did you mean \"wait leader\"?");
    refuses("frobnicate", "help lists");
    refuses("kill", "which member?");
    refuses("kill 0", "is no member");
    refuses("kill 1 2", "one word too many");
    refuses("pause 1 soon", "is no duration");
    refuses("cut 1", "is no link");
    refuses("lock D", "A, B and C");
    refuses("say\001hello", "no text");
}

static struct lab_script script_of(const char *text)
{
    struct lab_script script;
    struct err err = ERR_INIT;

    if (lab_script_parse("s", slice_str(text), &script, &err) != 0)
        fail_msg("%s", err.text);
    return script;
}

static void script_refuses(const char *text, const char *words)
{
    struct lab_script script;
    struct err err = ERR_INIT;

    assert_int_not_equal(lab_script_parse("s", slice_str(text), &script, &err), 0);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

static void a_script_is_understood_before_it_runs(void **state)
{
    struct lab_script script = script_of(
        "# A title\nup 3 election-timeout=500\n\n  # no command\nkill 1\nsay it is gone\n");

    (void)state;
    assert_string_equal(script.title, "A title");
    assert_int_equal(script.len, 3);
    assert_int_equal(script.commands[0].count, 3);
    assert_string_equal(script.commands[0].flags[0], "election-timeout=500");
    assert_int_equal(script.commands[1].line, 5);
    assert_string_equal(script.commands[2].text + script.commands[2].rest_at, "it is gone");
    lab_script_release(&script);
    script_refuses("up 3\nkil 1\n", "s, line 2: kil 1: \"kil\" is no command");
    script_refuses("kill 1\n", "begins with up");
    script_refuses("up 3\nup 3\n", "up already");
    script_refuses("# nothing\n", "no command in it");
    script_refuses("up 10\n", "how many members?");
}

static void a_script_cannot_name_members_that_are_never_there(void **state)
{
    struct lab_script script = script_of("up 3\nadd learner\npromote 4\n");

    (void)state;
    lab_script_release(&script);
    script_refuses("up 3\ncut 1>4\n", "line 2: cut 1>4: there is no member 4: they are 1 to 3");
    script_refuses("up 3\npromote 4\nadd\n", "there is no member 4");
    script_refuses("up 9\nadd\n", "more than 9 members");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_are_one_way_or_both),
        cmocka_unit_test(partitions_have_parts),
        cmocka_unit_test(durations_have_units),
        cmocka_unit_test(expectations_compare_figures),
        cmocka_unit_test(expectations_look_at_what_goes_on),
        cmocka_unit_test(sizes_and_counts_have_bounds),
        cmocka_unit_test(typos_are_told_with_what_is_near),
        cmocka_unit_test(a_script_is_understood_before_it_runs),
        cmocka_unit_test(a_script_cannot_name_members_that_are_never_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
