/* The command line, and the keys that come of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "bench/options.h"
#include "bench/workload.h"

enum { WORDS_MAX = 24 };

/* Splits line at its spaces and parses it. */
static int parse(const char *line, struct bench_options *out, struct err *err)
{
    static char text[512];
    char *argv[WORDS_MAX + 2] = {"kvbench"};
    int argc = 1;

    (void)snprintf(text, sizeof text, "%s", line);
    for (char *p = strtok(text, " "); p != NULL; p = strtok(NULL, " ")) {
        assert_true(argc < WORDS_MAX);
        argv[argc++] = p;
    }
    *err = (struct err)ERR_INIT;
    return options_parse(argc, argv, out, err);
}

static struct bench_options good(const char *line)
{
    struct bench_options options;
    struct err err;

    if (parse(line, &options, &err) != OPTIONS_OK)
        fail_msg("%s: %s", line, err.text);
    return options;
}

static void refused(const char *line, const char *text)
{
    struct bench_options options;
    struct err err;

    assert_int_equal(parse(line, &options, &err), KV_EINVAL);
    if (strstr(err.text, text) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", line, err.text, text);
}

static void every_workload_has_defaults_that_parse(void **state)
{
    char line[160];

    (void)state;
    for (const struct workload *const *w = workloads; *w != NULL; w++) {
        struct bench_options options;

        /* Some want to know all members: these are always there. */
        (void)snprintf(line, sizeof line, "%s --endpoints a:1,b:2,c:3 --pids %d,%d,%d", (*w)->name,
                       getpid(), getpid(), getpid());
        options = good(line);
        assert_ptr_equal(options.workload, *w);
        assert_true(options.connections > 0);
        assert_true((options.clients != 0) != (options.streams != 0));
        assert_true(!(*w)->fills || options.keys > 0);
    }
}

static void members_are_named_where_they_have_to_be(void **state)
{
    (void)state;
    refused("size", "--pids of the members");
    refused("failover", "at least 3");
    refused("failover --endpoints a:1,b:2,c:3", "in the order of --endpoints");
    refused("failover --endpoints a:1,b:2,c:3 --vs d:1", "no --vs");
}

static void who_asks_is_said_as_etcdctl_has_it(void **state)
{
    struct bench_options options = good("get --user root:a:b --cacert ca.crt --cert c --key k");

    (void)state;
    assert_string_equal(options.user, "root:a:b");
    assert_string_equal(options.cacert, "ca.crt");
    refused("get --user root", "name:password");
    refused("get --cert c", "go together");
    refused("get --plot=", "--plot is empty");
    refused("lease --requests 5", "--requests means nothing to lease");
}

/* An option that no row has would be accepted by nobody. */
static void every_option_that_a_workload_takes_exists(void **state)
{
    (void)state;
    for (const struct workload *const *w = workloads; *w != NULL; w++) {
        char takes[256], line[320];

        (void)snprintf(takes, sizeof takes, "%s", (*w)->takes);
        for (char *save, *name = strtok_r(takes, " ", &save); name != NULL;
             name = strtok_r(NULL, " ", &save)) {
            (void)snprintf(line, sizeof line, "%s --%s=x", (*w)->name, name);
            struct bench_options options;
            struct err err;

            assert_int_equal(parse(line, &options, &err), KV_EINVAL);
            assert_null(strstr(err.text, "means nothing"));
            if (strcmp(name, "no-fill") != 0 && strcmp(name, "count-only") != 0 &&
                strcmp(name, "keys-only") != 0 && strcmp(name, "put") != 0 &&
                strcmp(name, "stream") != 0)
                assert_non_null(strstr(err.text, "a number from"));
        }
    }
}

static void options_and_workload_come_in_any_order(void **state)
{
    char line[128];
    struct bench_options o;

    (void)state;
    (void)snprintf(line, sizeof line, "--clients 7 put --pids %d --seconds=0.5 --endpoints a:1,b:2",
                   (int)getpid());
    o = good(line);
    assert_string_equal(o.workload->name, "put");
    assert_int_equal(o.clients, 7);
    assert_int_equal(o.connections, 7); /* no more than clients */
    assert_true(o.seconds == 0.5);
    assert_int_equal(o.side.endpoint_count, 2);
    assert_string_equal(o.side.endpoints[1], "b:2");
    assert_int_equal(o.side.pid_count, 1);
    assert_int_equal(o.side.pids[0], getpid());
    assert_int_equal(o.versus.endpoint_count, 0);
}

static void defaults_are_the_workloads(void **state)
{
    struct bench_options o = good("range --vs c:3");

    (void)state;
    assert_int_equal(o.keys, 1000000);
    assert_int_equal(o.limit, 500);
    assert_int_equal(o.space.size, 32);
    assert_int_equal(o.versus.endpoint_count, 1);
    assert_int_equal(good("put").limit, 0);
}

static void what_is_absurd_is_refused_by_name(void **state)
{
    (void)state;
    refused("", "none is given");
    refused("put get", "not several");
    refused("fly", "fly: no such workload");
    refused("put --fly", "--fly: no such option");
    refused("put --clients", "--clients wants a value");
    refused("put --clients 0", "--clients 0: a number from 1");
    refused("put --clients -1", "a number");
    refused("put --clients 7x", "a number");
    refused("put --clients 100001", "a number from 1 to 100000");
    refused("put --seconds nan", "--seconds nan");
    refused("put --seconds 0", "--seconds 0");
    refused("put --value-size 10000000", "--value-size");
    refused("put --key-size 7", "--key-size 7");
    refused("put --watchers 3", "--watchers means nothing to put");
    refused("put --endpoints a:1,,b:2", "--endpoints a:1,,b:2: a list");
    refused("put --pids 1,x", "--pids 1,x");
    refused("put --pids 2147483647", "there is no process 2147483647");
    refused("put --vs-pid 1", "--vs-pid without --vs");
    refused("put --keys 100000000", "100000000 keys do not fit into 8 bytes");
    refused("put --key-size 9 --keys 10000", "do not fit into 9 bytes");
    refused("range --count-only --keys-only", "two different requests");
    refused("k8s-write --keys 5", "--keys 5 is too few");
    refused("watch-fanout --value-size 8", "the number of each event needs 16 bytes");
    refused("watch-idle --key-size 15 --watchers 1000", "do not fit");
    refused("big-list --slow 1 --conns 2", "--slow holds back a connection");
}

static void help_is_asked_for_anywhere(void **state)
{
    struct bench_options options;
    struct err err;

    (void)state;
    assert_int_equal(parse("--help", &options, &err), OPTIONS_HELP);
    assert_int_equal(parse("put --clients 3 --help", &options, &err), OPTIONS_HELP);
}

static void keys_sort_as_their_numbers_and_read_back(void **state)
{
    const uint64_t sizes[] = {8, 13, 32, 200};
    uint8_t a[KEY_SPACE_MAX], b[KEY_SPACE_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct key_space keys;
        uint64_t number;

        assert_int_equal(key_space_init(&keys, NULL, sizes[i], 12345, NULL), 0);
        for (uint64_t n = 0; n < 12345; n += n < 20 ? 1 : 97) {
            struct slice key = key_at(&keys, n, a);

            assert_int_equal(key.len, sizes[i]);
            assert_true(slice_cmp(key, key_at(&keys, n + 1, b)) < 0);
            assert_true(key_is(&keys, key, n));
            assert_false(key_is(&keys, key, n + 1));
            assert_true(key_number(&keys, key, &number));
            assert_int_equal(number, n);
        }
        assert_false(key_number(&keys, key_at(&keys, 12345, a), &number)); /* the end, no key */
    }
}

static void keys_of_eight_bytes_are_digits_alone(void **state)
{
    struct key_space keys;
    uint8_t space[KEY_SPACE_MAX];

    (void)state;
    assert_int_equal(key_space_init(&keys, NULL, 8, 10000, NULL), 0);
    assert_memory_equal(key_at(&keys, 42, space).data, "00000042", 8);
    assert_int_equal(key_space_init(&keys, "/registry/pods/", 24, 10000, NULL), 0);
    assert_memory_equal(key_at(&keys, 42, space).data, "/registry/pods/000000042", 24);
}

static void a_strange_key_has_no_number(void **state)
{
    const char *const strange[] = {"",
                                   "k016/0000000000",
                                   "k016/000000000000",
                                   "k016/0000000000x",
                                   "x016/00000000000",
                                   "k016/99999999999"};
    struct key_space keys;
    uint64_t number;

    (void)state;
    assert_int_equal(key_space_init(&keys, NULL, 16, 100, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(strange); i++)
        assert_false(key_number(&keys, slice_str(strange[i]), &number));
    assert_true(key_number(&keys, slice_str("k016/00000000099"), &number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_workload_has_defaults_that_parse),
        cmocka_unit_test(members_are_named_where_they_have_to_be),
        cmocka_unit_test(who_asks_is_said_as_etcdctl_has_it),
        cmocka_unit_test(every_option_that_a_workload_takes_exists),
        cmocka_unit_test(options_and_workload_come_in_any_order),
        cmocka_unit_test(defaults_are_the_workloads),
        cmocka_unit_test(what_is_absurd_is_refused_by_name),
        cmocka_unit_test(help_is_asked_for_anywhere),
        cmocka_unit_test(keys_sort_as_their_numbers_and_read_back),
        cmocka_unit_test(keys_of_eight_bytes_are_digits_alone),
        cmocka_unit_test(a_strange_key_has_no_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
