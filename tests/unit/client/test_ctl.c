/* kvctl's command line as a whole: which command a word means, help, the environment, exit codes.
 * No server: whatever would need one is stopped before, or asked for on a port where nobody is. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "client/ctl/ctl.h"
#include "tests/unit/client/capture.h"
#include "wal/wal.h"

struct fixture {
    struct capture out, err;
    char *env[4]; /* NULL-terminated */
    const char *in;
};

static int set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){.in = "\n"};
    capture_open(&f.out);
    capture_open(&f.err);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    capture_close(&f->out);
    capture_close(&f->err);
    return 0;
}

static void forget_output(struct fixture *f)
{
    capture_close(&f->out);
    capture_close(&f->err);
    capture_open(&f->out);
    capture_open(&f->err);
}

/* Words separated by blanks. What earlier runs printed is forgotten. */
static int run(struct fixture *f, const char *line)
{
    char *copy = xstrdup(line), *argv[24] = {"kvctl"}, *word, *save = NULL;
    FILE *in = fmemopen((void *)(uintptr_t)f->in, strlen(f->in), "r");
    int argc = 1, code;

    assert_non_null(in);
    forget_output(f);
    for (word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    code = ctl_run(argc, argv, f->env, in, f->out.file, f->err.file);
    (void)fclose(in);
    free(copy);
    return code;
}

static void prints(struct fixture *f, const char *out, const char *err)
{
    assert_string_equal(captured(&f->out), out);
    assert_string_equal(captured(&f->err), err);
}

/* ---- commands ---- */

static const struct ctl_command *find(const char *first, const char *second)
{
    char *words[2] = {(char *)(uintptr_t)first, (char *)(uintptr_t)second};
    const char *group;
    size_t used = 0;

    return ctl_find(words, second != NULL ? 2 : 1, &used, &group);
}

static void names_and_their_unique_beginnings_find_a_command(void **state)
{
    (void)state;
    assert_ptr_equal(find("get", NULL), &ctl_cmd_get);
    assert_ptr_equal(find("g", NULL), &ctl_cmd_get);
    assert_ptr_equal(find("g", "key"), &ctl_cmd_get);
    assert_ptr_equal(find("compa", NULL), &ctl_cmd_compaction);
    assert_null(find("comp", NULL)); /* as etcdctl: completion too */
    assert_ptr_equal(find("member", "list"), &ctl_cmd_member_list);
    assert_ptr_equal(find("me", "l"), &ctl_cmd_member_list);
    assert_ptr_equal(find("en", "st"), &ctl_cmd_endpoint_status);
    assert_ptr_equal(find("lea", "k"), &ctl_cmd_lease_keep_alive);
    assert_ptr_equal(find("mak", NULL), &ctl_cmd_make_mirror);
    assert_null(find("e", "st")); /* elect and endpoint */
    assert_ptr_equal(find("wal", "dump"), &ctl_cmd_wal_dump);
    assert_null(find("endpoint", "h")); /* health and hashkv */
    assert_null(find("gets", NULL));
    assert_null(find("GET", NULL));
    assert_null(find("member", NULL));
    assert_null(find("member list", NULL));
}

static void every_command_is_found_and_has_help(void **state)
{
    struct fixture *f = *state;
    char line[64];
    size_t i;

    for (i = 0; i < ctl_commands_len; i++) {
        (void)snprintf(line, sizeof line, "%s --help", ctl_commands[i]->name);
        assert_int_equal(run(f, line), CTL_OK);
        assert_non_null(strstr(captured(&f->out), ctl_commands[i]->brief));
        assert_non_null(strstr(captured(&f->out), ctl_commands[i]->usage));
        (void)snprintf(line, sizeof line, "help %s", ctl_commands[i]->name);
        assert_int_equal(run(f, line), CTL_OK);
        assert_non_null(strstr(captured(&f->out), ctl_commands[i]->usage));
        if (i > 0)
            assert_true(strcmp(ctl_commands[i - 1]->name, ctl_commands[i]->name) < 0);
    }
}

static void without_a_command_there_is_help(void **state)
{
    static const char *const lines[] = {"", "help", "--help", "-h", "--hex"};
    struct fixture *f = *state;
    size_t i;

    for (i = 0; i < ARRAY_LEN(lines); i++) {
        assert_int_equal(run(f, lines[i]), CTL_OK);
        assert_non_null(strstr(captured(&f->out), "\n  endpoint status         Prints"));
        assert_string_equal(captured(&f->err), "");
    }
    assert_int_equal(run(f, "member"), CTL_OK);
    assert_non_null(strstr(captured(&f->out), "member list"));
    assert_null(strstr(captured(&f->out), "endpoint status"));
}

static void a_wrong_word_gets_a_suggestion(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, "gett a"), CTL_ERROR);
    prints(f, "",
           "Error: unknown command \"gett\" for \"kvctl\"\n\nDid you mean this?\n\tget\n\n"
           "Run 'kvctl --help' for usage.\n");
    assert_int_equal(run(f, "member lits"), CTL_ERROR);
    prints(f, "",
           "Error: unknown command \"lits\" for \"kvctl member\"\n\nDid you mean this?\n\tmember "
           "list\n\nRun 'kvctl member --help' for usage.\n");
    assert_int_equal(run(f, "abracadabra"), CTL_ERROR);
    prints(f, "",
           "Error: unknown command \"abracadabra\" for \"kvctl\"\n\nRun 'kvctl --help' for "
           "usage.\n");
    assert_int_equal(run(f, "help nothing"), CTL_ERROR);
}

static void global_flags_may_stand_before_the_command(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, "--endpoints x -w json --hex version"), CTL_OK);
    prints(f, "kvctl version: 0.1.0\nAPI version: 3.6\n", "");
    assert_int_equal(run(f, "version --endpoints=x"), CTL_OK);
    assert_int_equal(run(f, "--endpoint x version"), CTL_ERROR);
}

static void wrong_arguments_end_with_128(void **state)
{
    static const struct {
        const char *line, *err;
    } cases[] = {
        {"get",
         "Error: get command needs one argument as key and an optional argument as range_end\n"},
        {"get a b --prefix", "Error: too many arguments, only accept one argument when `--prefix` "
                             "or `--from-key` is set\n"},
        {"get a --prefix --from-key",
         "Error: `--prefix` and `--from-key` cannot be set at the same "
         "time, choose one\n"},
        {"get a --print-value-only -w json",
         "Error: print-value-only is only for `--write-out=simple`\n"},
        {"put", "Error: put command needs 1 argument and input from stdin or 2 arguments\n"},
        {"put a b --ignore-value",
         "Error: put command needs only 1 argument when 'ignore-value' is set\n"},
        {"del", "Error: del command needs one argument as key and an optional argument as "
                "range_end\n"},
        {"del a b c", "Error: del command needs one argument as key and an optional argument as "
                      "range_end\n"},
        {"txn a", "Error: txn command does not accept argument\n"},
        {"compaction", "Error: compaction command needs 1 argument\n"},
        {"alarm list a", "Error: alarm list command accepts no arguments\n"},
        {"alarm disarm a", "Error: alarm disarm command accepts no arguments\n"},
        {"move-leader", "Error: move-leader command needs 1 argument\n"},
        {"downgrade validate", "Error: TARGET_VERSION not provided\n"},
        {"downgrade enable 3.5 3.4", "Error: too many arguments\n"},
        {"wal dump", "Error: wal dump command needs one argument: a data dir or the log inside "
                     "it\n"},
    };
    struct fixture *f = *state;
    size_t i;

    for (i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(run(f, cases[i].line), CTL_BAD_ARGS);
        prints(f, "", cases[i].err);
    }
}

static void values_that_are_not_supported_end_with_4(void **state)
{
    static const struct {
        const char *line, *err;
    } cases[] = {
        {"get a -w xml", "Error: unsupported output format\n"},
        {"get a -w table", "Error: table not supported as output format\n"},
        {"put a b -w table", "Error: table not supported as output format\n"},
        {"move-leader 1 -w table", "Error: table not supported as output format\n"},
        {"endpoint status -w protobuf", "Error: protobuf not supported as output format\n"},
        {"get a --order x", "Error: bad sort order x\n"},
        {"get a --consistency x", "Error: unknown consistency flag \"x\"\n"},
        {"member list --consistency x", "Error: unknown consistency flag \"x\"\n"},
        {"get a -d example.org",
         "Error: --discovery-srv is not supported yet: name the servers with --endpoints\n"},
    };
    struct fixture *f = *state;
    size_t i;

    for (i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(run(f, cases[i].line), CTL_BAD_FEATURE);
        prints(f, "", cases[i].err);
    }
}

static void a_transaction_that_is_none_ends_with_3(void **state)
{
    struct fixture *f = *state;

    f->in = "nonsense\n\n\n\n";
    assert_int_equal(run(f, "txn"), CTL_BAD_INPUT);
    prints(f, "", "Error: malformed comparison: nonsense\n");
    f->in = "\n";
    assert_int_equal(run(f, "txn -i"), CTL_BAD_INPUT);
    prints(f, "compares:\nsuccess requests (get, put, del):\n",
           "Error: EOF: the success requests (get, put, del) are not ended by an empty line\n");
}

static void unknown_flags_end_with_1_and_point_to_help(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, "get --foo a"), CTL_ERROR);
    prints(f, "", "Error: unknown flag: --foo\nRun 'kvctl get --help' for usage.\n");
    assert_int_equal(run(f, "get a --command-timeout 0s"), CTL_ERROR);
    assert_int_equal(run(f, "compaction x"), CTL_ERROR);
    prints(f, "", "Error: \"x\" is not a revision: it is a whole number\n");
}

/* ---- environment ---- */

static void the_environment_sets_flags(void **state)
{
    struct fixture *f = *state;

    f->env[0] = "ETCDCTL_WRITE_OUT=table";
    assert_int_equal(run(f, "get a"), CTL_BAD_FEATURE);
    prints(f, "", "Error: table not supported as output format\n");
    f->env[0] = "KVCTL_WRITE_OUT=table";
    assert_int_equal(run(f, "get a"), CTL_BAD_FEATURE);
    f->env[1] = "ETCDCTL_WRITE_OUT=json"; /* our own name counts first */
    assert_int_equal(run(f, "get a"), CTL_BAD_FEATURE);
    prints(f, "", "Error: table not supported as output format\n");
}

static void a_flag_and_its_variable_together_are_refused(void **state)
{
    struct fixture *f = *state;

    f->env[0] = "ETCDCTL_WRITE_OUT=json";
    assert_int_equal(run(f, "get a -w json"), CTL_ERROR);
    prints(f, "",
           "Error: conflicting environment variable ETCDCTL_WRITE_OUT is shadowed by corresponding "
           "command-line flag --write-out (either unset environment variable or disable flag)\n");
    assert_int_equal(run(f, "version -w json"), CTL_OK); /* which asks no server */
}

static void a_variable_that_cannot_be_parsed_is_named(void **state)
{
    struct fixture *f = *state;

    f->env[0] = "ETCDCTL_DIAL_TIMEOUT=soon";
    assert_int_equal(run(f, "get a"), CTL_ERROR);
    prints(f, "",
           "Error: ETCDCTL_DIAL_TIMEOUT: invalid argument \"soon\" for \"--dial-timeout\" flag: it "
           "is a duration such as 500ms, 5s or 1m30s\n");
}

static void unknown_variables_draw_a_warning(void **state)
{
    struct fixture *f = *state;

    f->env[0] = "ETCDCTL_ENDPOINT=x";
    f->env[1] = "ETCDCTL_API=3"; /* everybody sets it */
    f->env[2] = "KVCTL_WRITE_OUT=table";
    assert_int_equal(run(f, "get a"), CTL_BAD_FEATURE);
    prints(f, "",
           "Warning: unrecognized environment variable ETCDCTL_ENDPOINT\n"
           "Error: table not supported as output format\n");
}

static void debug_shows_the_settings_without_the_password(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, "get a --debug --user root --password secret -w x"), CTL_BAD_FEATURE);
    assert_int_equal(run(f, "get a --debug --user root:secret -w x"), CTL_BAD_FEATURE);
    assert_non_null(strstr(captured(&f->err), "KVCTL_USER=root\n"));
    assert_null(strstr(captured(&f->err), "secret"));
    assert_int_equal(run(f, "get a --debug --auth-jwt-token secret -w x"), CTL_BAD_FEATURE);
    assert_non_null(strstr(captured(&f->err), "KVCTL_ENDPOINTS=[127.0.0.1:2379]\n"));
    assert_non_null(strstr(captured(&f->err), "KVCTL_DIAL_TIMEOUT=2s\n"));
    assert_null(strstr(captured(&f->err), "secret"));
}

/* ---- layers ---- */

/* Port 1 of the loopback: nobody listens there. */
static void a_missing_server_is_named_with_what_to_do(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, "get a --endpoints 127.0.0.1:1 --dial-timeout 50ms"), CTL_ERROR);
    prints(f, "", "Error: connecting to 127.0.0.1:1: Connection refused; is kvd running there?\n");
    assert_int_equal(
        run(f, "endpoint health --endpoints 127.0.0.1:1 --dial-timeout 50ms --write-out simple"),
        CTL_ERROR);
    prints(f, "",
           "127.0.0.1:1 is unhealthy: failed to commit proposal: connecting to 127.0.0.1:1: "
           "Connection refused; is kvd running there?\nError: unhealthy cluster\n");
    assert_int_equal(
        run(f, "endpoint status --endpoints 127.0.0.1:1 --dial-timeout 50ms --write-out json"),
        CTL_ERROR);
    prints(f, "null\n",
           "Failed to get the status of endpoint 127.0.0.1:1 (connecting to 127.0.0.1:1: "
           "Connection refused; is kvd running there?)\n");
}

static void an_endpoint_that_is_none_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, "get a --endpoints https://h:1 --cert c"), CTL_BAD_ARGS);
    prints(f, "", "Error: TLS: certificate c is given without a key\n");
    assert_int_equal(run(f, "get a --cacert /nowhere/ca.pem"), CTL_BAD_ARGS);
    prints(f, "", "Error: TLS: CA certificates /nowhere/ca.pem: no such file\n");
    assert_int_equal(run(f, "get a --endpoints nonsense"), CTL_BAD_ARGS);
    assert_non_null(strstr(captured(&f->err), "nonsense"));
}

static void output_that_cannot_be_written_is_an_error(void **state)
{
    struct fixture *f = *state;
    char *argv[] = {"kvctl", "version"};
    FILE *full = fopen("/dev/full", "w");

    assert_non_null(full);
    assert_int_equal(ctl_run(2, argv, f->env, stdin, full, f->err.file), CTL_IO);
    prints(f, "", "Error: writing the output: No space left on device\n");
    (void)fclose(full);
}

/* "kvctl ... | head": no reader, no message. */
static void a_reader_that_went_away_needs_no_message(void **state)
{
    struct fixture *f = *state;
    char *argv[] = {"kvctl", "help"};
    int ends[2];
    FILE *out;

    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(ends), 0);
    (void)close(ends[0]);
    out = fdopen(ends[1], "w");
    assert_non_null(out);
    assert_int_equal(ctl_run(2, argv, f->env, stdin, out, f->err.file), CTL_IO);
    prints(f, "", "");
    (void)fclose(out);
}

static void wal_dump_of_nothing_says_what_is_missing(void **state)
{
    struct fixture *f = *state;
    char dir[] = "/tmp/kvctl-test-XXXXXX", line[64];

    assert_int_not_equal(run(f, "wal dump /nonexistent/kvd"), CTL_OK);
    assert_non_null(strstr(captured(&f->err), "/nonexistent/kvd"));

    assert_non_null(mkdtemp(dir));
    (void)snprintf(line, sizeof line, "wal dump %s", dir);
    assert_int_equal(run(f, line), CTL_ERROR);
    assert_non_null(strstr(captured(&f->err), "there is no log"));
    assert_int_equal(rmdir(dir), 0);
}

/* The log is found inside a data dir as well, and printed record by record. */
static void wal_dump_prints_the_records_of_a_data_dir(void **state)
{
    struct fixture *f = *state;
    char dir[] = "/tmp/kvctl-test-XXXXXX", path[64], line[128], first[4096];
    struct wal_options options = {.disk = disk_posix(), .dir = path, .segment_size = 1 << 20};
    const struct wal_entry entry = {.index = 1, .term = 7, .data = slice_of("abc", 3)};
    char **names;
    size_t len, i;
    struct wal *wal;

    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/wal", dir);
    options.cluster_id = options.member_id = 1;
    assert_int_equal(wal_open(&options, &wal, NULL), 0);
    (void)wal_append_entry(wal, &entry);
    assert_int_equal(wal_flush_sync(wal, NULL), 0);
    wal_close(wal);

    (void)snprintf(line, sizeof line, "wal dump %s", dir);
    assert_int_equal(run(f, line), CTL_OK);
    (void)snprintf(first, sizeof first, "%s", captured(&f->out));
    assert_non_null(strstr(first, "entry index 1 term 7"));
    (void)snprintf(line, sizeof line, "wal dump %s", path);
    assert_int_equal(run(f, line), CTL_OK);
    prints(f, first, "");

    assert_int_equal(options.disk.ops->list(options.disk.ctx, path, &names, &len, NULL), 0);
    for (i = 0; i < len; i++) {
        char file[128];

        (void)snprintf(file, sizeof file, "%s/%s", path, names[i]);
        assert_int_equal(unlink(file), 0);
    }
    disk_free_names(names, len);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_and_their_unique_beginnings_find_a_command),
        TEST(every_command_is_found_and_has_help),
        TEST(without_a_command_there_is_help),
        TEST(a_wrong_word_gets_a_suggestion),
        TEST(global_flags_may_stand_before_the_command),
        TEST(wrong_arguments_end_with_128),
        TEST(values_that_are_not_supported_end_with_4),
        TEST(a_transaction_that_is_none_ends_with_3),
        TEST(unknown_flags_end_with_1_and_point_to_help),
        TEST(the_environment_sets_flags),
        TEST(a_flag_and_its_variable_together_are_refused),
        TEST(a_variable_that_cannot_be_parsed_is_named),
        TEST(unknown_variables_draw_a_warning),
        TEST(debug_shows_the_settings_without_the_password),
        TEST(a_missing_server_is_named_with_what_to_do),
        TEST(an_endpoint_that_is_none_is_refused),
        TEST(output_that_cannot_be_written_is_an_error),
        TEST(a_reader_that_went_away_needs_no_message),
        TEST(wal_dump_prints_the_records_of_a_data_dir),
        TEST(wal_dump_of_nothing_says_what_is_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
