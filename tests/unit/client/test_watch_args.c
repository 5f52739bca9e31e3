/* What the words of a watch command, a line of interactive mode and the environment mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "client/ctl/ctl.h"
#include "client/ctl/watch_args.h"

struct fixture {
    struct arena arena;
    struct watch_spec spec;
    struct err err;
};

static int set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){.arena = ARENA_INIT};
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    arena_release(&((struct fixture *)*state)->arena);
    return 0;
}

static const struct watch_env nothing = {.key = NULL};

static bool is(struct slice have, const char *want)
{
    return slice_eq(have, slice_str(want));
}

static void words_before_the_dashes_are_keys_and_those_behind_a_command(void **state)
{
    struct fixture *f = *state;
    struct watch_options options = {.rev = 7, .prev_kv = true};
    char *args[] = {(char *)"a", (char *)"b", (char *)"echo", (char *)"x"};

    assert_int_equal(watch_parse_args(&options, args, 4, 2, &nothing, &f->arena, &f->spec, &f->err),
                     0);
    assert_true(is(f->spec.watch.key, "a") && is(f->spec.watch.range_end, "b"));
    assert_int_equal(f->spec.watch.start_revision, 7);
    assert_int_equal(f->spec.watch.flags, KV_WATCH_PREV_KV);
    assert_string_equal(f->spec.command[0], "echo");
    assert_string_equal(f->spec.command[1], "x");
    assert_null(f->spec.command[2]);

    assert_int_equal(
        watch_parse_args(&options, args, 1, -1, &nothing, &f->arena, &f->spec, &f->err), 0);
    assert_int_equal(f->spec.watch.range_end.len, 0);
    assert_null(f->spec.command);
}

static void a_prefix_becomes_a_range(void **state)
{
    struct fixture *f = *state;
    struct watch_options options = {.prefix = true, .progress_notify = true};
    char *args[] = {(char *)"a/"}, *all[] = {(char *)""};

    assert_int_equal(
        watch_parse_args(&options, args, 1, -1, &nothing, &f->arena, &f->spec, &f->err), 0);
    assert_true(is(f->spec.watch.key, "a/") && is(f->spec.watch.range_end, "a0"));
    assert_int_equal(f->spec.watch.flags, KV_WATCH_PROGRESS);
    assert_int_equal(watch_parse_args(&options, all, 1, -1, &nothing, &f->arena, &f->spec, &f->err),
                     0);
    assert_true(slice_eq(f->spec.watch.key, slice_of("", 1)));
    assert_true(slice_eq(f->spec.watch.range_end, slice_of("", 1)));
}

static void the_environment_names_a_key_that_is_not_given(void **state)
{
    struct fixture *f = *state;
    struct watch_options options = {.rev = 0};
    struct watch_env env = {.key = "k", .range_end = "m"};
    char *args[] = {(char *)"echo"};

    assert_int_equal(watch_parse_args(&options, args, 1, 0, &env, &f->arena, &f->spec, &f->err), 0);
    assert_true(is(f->spec.watch.key, "k") && is(f->spec.watch.range_end, "m"));
    assert_string_equal(f->spec.command[0], "echo");
}

static void a_wrong_number_of_words_is_refused_in_etcdctls_words(void **state)
{
    static const struct {
        int len, dash;
        bool prefix;
        struct watch_env env;
        const char *text;
    } cases[] = {
        {0, -1, false, {NULL, NULL}, "bad number of arguments"},
        {0, -1, false, {"", ""}, "bad number of arguments"},
        {3, -1, false, {NULL, NULL}, "bad number of arguments"},
        {1, 0, false, {NULL, NULL}, "bad number of arguments"},
        {1,
         1,
         false,
         {NULL, NULL},
         "bad number of arguments (found separator --, but no commands)"},
        {1, -1, false, {"k", NULL}, "bad number of arguments (found conflicting environment key)"},
        {1,
         -1,
         false,
         {NULL, "m"},
         "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"m\""},
        {2, -1, true, {NULL, NULL}, "`range_end` and `--prefix` are mutually exclusive"},
    };
    struct fixture *f = *state;
    char *args[] = {(char *)"a", (char *)"b", (char *)"c"};
    size_t i;

    for (i = 0; i < ARRAY_LEN(cases); i++) {
        struct watch_options options = {.prefix = cases[i].prefix};

        assert_int_equal(watch_parse_args(&options, args, cases[i].len, cases[i].dash,
                                          &cases[i].env, &f->arena, &f->spec, &f->err),
                         CTL_BAD_ARGS);
        assert_string_equal(f->err.text, cases[i].text);
    }
}

static int parse_line(struct fixture *f, const char *line, enum watch_verb *verb)
{
    return watch_parse_line(slice_str(line), &nothing, &f->arena, verb, &f->spec, &f->err);
}

static void a_line_is_a_command_line(void **state)
{
    struct fixture *f = *state;
    enum watch_verb verb = WATCH_VERB_WATCH;

    assert_int_equal(parse_line(f, "watch --rev 3 'a b' \"c\\td\" -- sh -c x", &verb), 0);
    assert_int_equal(verb, WATCH_VERB_WATCH);
    assert_true(is(f->spec.watch.key, "a b") && is(f->spec.watch.range_end, "c\td"));
    assert_int_equal(f->spec.watch.start_revision, 3);
    assert_string_equal(f->spec.command[2], "x");
    /* Flags of one line are not those of the next. */
    assert_int_equal(parse_line(f, "watch a", &verb), 0);
    assert_int_equal(f->spec.watch.start_revision, 0);
    assert_int_equal(parse_line(f, "progress", &verb), 0);
    assert_int_equal(verb, WATCH_VERB_PROGRESS);
}

static void a_bad_line_is_refused_with_a_reason(void **state)
{
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"", "(watch and progress supported)"},
        {"get a", "(only support watch)"},
        {"watch", "(command type or key is not provided)"},
        {"watch a --", "(bad number of arguments (found separator --, but no commands))"},
        {"watch a b --prefix", "(`range_end` and `--prefix` are mutually exclusive)"},
        {"watch --nonsense a", "(unknown flag: --nonsense)"},
    };
    struct fixture *f = *state;
    enum watch_verb verb;
    size_t i;

    for (i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_not_equal(parse_line(f, cases[i].line, &verb), 0);
        assert_string_equal(f->err.text, cases[i].text);
    }
}

/* Whatever is typed is parsed or refused; the sanitizers watch. */
static void any_line_is_parsed_or_refused(void **state)
{
    static const char *const words[] = {"watch ", "progress ", "--",  " -- ", "--rev ",
                                        "7 ",     "\"a",       "\" ", "'b' ", "a ",
                                        "-i",     "--prefix ", "\\",  "\xff", "--rev=x "};
    const uint64_t seed = 20240608;
    struct fixture *f = *state;
    enum watch_verb verb;
    struct prng prng;
    int round, parsed = 0;

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (round = 0; round < 20000; round++) {
        char line[128] = "watch ";
        size_t count = prng_between(&prng, 0, 8);

        while (count-- != 0)
            strcat(line, words[prng_between(&prng, 0, ARRAY_LEN(words) - 1)]);
        parsed += parse_line(f, line, &verb) == 0;
        arena_reset(&f->arena);
    }
    assert_true(parsed > 100 && parsed < 19900);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(words_before_the_dashes_are_keys_and_those_behind_a_command),
        TEST(a_prefix_becomes_a_range),
        TEST(the_environment_names_a_key_that_is_not_given),
        TEST(a_wrong_number_of_words_is_refused_in_etcdctls_words),
        TEST(a_line_is_a_command_line),
        TEST(a_bad_line_is_refused_with_a_reason),
        TEST(any_line_is_parsed_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
