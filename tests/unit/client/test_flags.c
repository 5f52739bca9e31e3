/* The flag parser, by pflag's rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "client/ctl/flags.h"
#include "tests/unit/client/capture.h"

struct options {
    bool prefix, quiet;
    const char *name;
    int64_t limit, timeout;
    struct flag_list hosts;
};

#define AT(member) offsetof(struct options, member)
static const struct flag flags[] = {
    {"hosts", 0, FLAG_LIST, AT(hosts), "one,two", "where"},
    {"limit", 0, FLAG_INT, AT(limit), "7", "how many"},
    {"name", 'n', FLAG_STRING, AT(name), "nobody", "who"},
    {"prefix", 'p', FLAG_BOOL, AT(prefix), "false", "all below"},
    {"quiet", 'q', FLAG_BOOL, AT(quiet), "false", "say nothing"},
    {"timeout", 't', FLAG_DURATION, AT(timeout), "5s", "how long"},
    {.name = NULL},
};

enum { ARGS_MAX = 16 };

struct fixture {
    struct arena arena;
    struct options options;
    struct flag_set set;
    char *args[ARGS_MAX];
    int args_len;
    bool help;
    struct err err;
};

static int set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){.arena = ARENA_INIT};
    f.set = (struct flag_set){.flags = flags, .options = &f.options};
    flags_init(&f.set, &f.arena);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    arena_release(&((struct fixture *)*state)->arena);
    return 0;
}

/* Words separated by blanks; "_" stands for an empty word. */
static int parse(struct fixture *f, const char *line)
{
    static char copy[256], empty[1];
    char *argv[ARGS_MAX], *word, *save = NULL;
    int argc = 0;

    (void)snprintf(copy, sizeof copy, "%s", line);
    for (word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
        argv[argc++] = strcmp(word, "_") == 0 ? empty : word;
    return flags_parse(&f->set, 1, argc, argv, &f->arena, f->args, &f->args_len, &f->help, &f->err);
}

static void without_flags_the_defaults_hold(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "a b"), 0);
    assert_int_equal(f->args_len, 2);
    assert_string_equal(f->args[0], "a");
    assert_string_equal(f->options.name, "nobody");
    assert_int_equal(f->options.limit, 7);
    assert_int_equal(f->options.timeout, 5000000000);
    assert_false(f->options.prefix);
    assert_int_equal(f->options.hosts.len, 2);
    assert_string_equal(f->options.hosts.items[1], "two");
    assert_int_equal(f->set.changed, 0);
}

static void values_follow_an_equals_sign_or_stand_alone(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "--name=x --limit -3 --timeout 1m"), 0);
    assert_string_equal(f->options.name, "x");
    assert_int_equal(f->options.limit, -3);
    assert_int_equal(f->options.timeout, 60000000000);
    assert_int_equal(f->args_len, 0);
    assert_int_equal(parse(f, "--name _"), 0);
    assert_string_equal(f->options.name, "");
    assert_int_equal(parse(f, "--name="), 0);
    assert_string_equal(f->options.name, "");
}

static void a_bool_takes_no_word_but_an_equals_sign(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "--prefix false"), 0);
    assert_true(f->options.prefix);
    assert_string_equal(f->args[0], "false");
    assert_int_equal(parse(f, "--prefix=false"), 0);
    assert_false(f->options.prefix);
}

static void letters_may_stand_together_and_before_their_value(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "-pq -n x"), 0);
    assert_true(f->options.prefix);
    assert_true(f->options.quiet);
    assert_string_equal(f->options.name, "x");
    assert_int_equal(parse(f, "-ny"), 0);
    assert_string_equal(f->options.name, "y");
    assert_int_equal(parse(f, "-n=z -p=false"), 0);
    assert_string_equal(f->options.name, "z");
    assert_false(f->options.prefix);
    assert_int_equal(parse(f, "-qnw"), 0);
    assert_string_equal(f->options.name, "w");
}

static void flags_and_arguments_mix_until_two_dashes(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "a --prefix b -- --limit -c"), 0);
    assert_int_equal(f->args_len, 4);
    assert_string_equal(f->args[1], "b");
    assert_string_equal(f->args[2], "--limit");
    assert_string_equal(f->args[3], "-c");
    assert_int_equal(f->options.limit, 7);
    assert_int_equal(parse(f, "- x"), 0); /* one dash alone is an argument */
    assert_string_equal(f->args[0], "-");
}

static void lists_add_up_and_forget_their_default(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "--hosts a,b --hosts c"), 0);
    assert_int_equal(f->options.hosts.len, 3);
    assert_string_equal(f->options.hosts.items[0], "a");
    assert_string_equal(f->options.hosts.items[1], "b");
    assert_string_equal(f->options.hosts.items[2], "c");
}

static void what_cannot_be_parsed_is_named(void **state)
{
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"--nam x", "unknown flag: --nam"},
        {"--nam=x", "unknown flag: --nam"},
        {"-x", "unknown shorthand flag: 'x' in -x"},
        {"-px", "unknown shorthand flag: 'x' in -px"},
        {"--name", "flag needs an argument: --name"},
        {"-n", "flag needs an argument: 'n' in -n"},
        {"--limit x", "invalid argument \"x\" for \"--limit\" flag: it is a whole number"},
        {"--prefix=x", "invalid argument \"x\" for \"--prefix\" flag: it is true or false"},
        {"--timeout 5",
         "invalid argument \"5\" for \"--timeout\" flag: it is a duration such as 500ms, 5s or "
         "1m30s"},
        {"--=x", "bad flag syntax: --=x"},
    };
    struct fixture *f = *state;
    size_t i;

    for (i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse(f, cases[i].line), KV_EINVAL);
        assert_string_equal(f->err.text, cases[i].text);
    }
}

static void help_is_asked_for_with_either_spelling(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "a --help"), 0);
    assert_true(f->help);
    f->help = false;
    assert_int_equal(parse(f, "-h"), 0);
    assert_true(f->help);
}

static void given_flags_are_remembered(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "--limit 7 -q"), 0); /* the default's value is a value too */
    assert_int_equal(f->set.changed, 1 << 1 | 1 << 4);
}

static void the_list_of_flags_is_aligned(void **state)
{
    struct capture out;

    (void)state;
    capture_open(&out);
    flags_print(out.file, flags);
    assert_string_equal(captured(&out), "      --hosts=[one,two]   where\n"
                                        "      --limit=7           how many\n"
                                        "  -n, --name=\"nobody\"     who\n"
                                        "  -p, --prefix[=false]    all below\n"
                                        "  -q, --quiet[=false]     say nothing\n"
                                        "  -t, --timeout=5s        how long\n");
    capture_close(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_flags_the_defaults_hold),
        TEST(values_follow_an_equals_sign_or_stand_alone),
        TEST(a_bool_takes_no_word_but_an_equals_sign),
        TEST(letters_may_stand_together_and_before_their_value),
        TEST(flags_and_arguments_mix_until_two_dashes),
        TEST(lists_add_up_and_forget_their_default),
        TEST(what_cannot_be_parsed_is_named),
        TEST(help_is_asked_for_with_either_spelling),
        TEST(given_flags_are_remembered),
        cmocka_unit_test(the_list_of_flags_is_aligned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
