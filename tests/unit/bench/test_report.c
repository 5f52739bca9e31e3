/* What is printed of results, and which way a comparison goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "base/mem.h"
#include "bench/result.h"
#include "bench/workload.h"

struct fixture {
    struct bench_options options;
    struct bench_result ours[3], peers[3];
    FILE *out;
    char *text;
    size_t len;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    f->options.workload = workload_find("put");
    f->options.clients = 5;
    f->options.connections = 2;
    f->out = open_memstream(&f->text, &f->len);
    assert_non_null(f->out);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    fclose(f->out);
    free(f->text);
    free(f);
    return 0;
}

static struct json_object *member(struct json_object *object, const char *name)
{
    struct json_object *value;

    if (!json_object_object_get_ex(object, name, &value))
        fail_msg("no \"%s\" in %s", name, json_object_to_json_string(object));
    return value;
}

static double number(struct json_object *object, const char *name)
{
    return json_object_get_double(member(object, name));
}

static double item(struct json_object *object, const char *name, size_t i)
{
    return json_object_get_double(json_object_array_get_idx(member(object, name), i));
}

static void a_result_is_one_line_of_json(void **state)
{
    struct fixture *f = *state;
    struct json_object *got;

    f->options.json = true;
    f->ours[0].requests = 123;
    f->ours[0].errors = 2;
    f->ours[0].partial = true;
    (void)snprintf(f->ours[0].first_error, sizeof f->ours[0].first_error, "a \"b\" \\ \n\x01 \xff");
    result_add(&f->ours[0], "req_s", NULL, 1234.56, 1, HIGHER);
    result_print(f->out, &f->options, &f->ours[0], "ours", 2);
    assert_ptr_equal(strchr(f->text, '\n'), f->text + f->len - 1);
    got = json_tokener_parse(f->text);
    assert_non_null(got);
    assert_string_equal(json_object_get_string(member(got, "op")), "put");
    assert_string_equal(json_object_get_string(member(got, "side")), "ours");
    assert_string_equal(json_object_get_string(member(got, "first_error")),
                        "a \"b\" \\ \n\x01 \xc3\xbf");
    assert_true(json_object_get_boolean(member(got, "partial")));
    assert_int_equal(number(got, "round"), 2);
    assert_int_equal(number(got, "requests"), 123);
    assert_int_equal(number(got, "clients"), 5);
    assert_true(number(got, "req_s") == 1234.6);
    json_object_put(got);
}

static void text_says_what_was_measured_and_nothing_else(void **state)
{
    struct fixture *f = *state;

    f->ours[0].requests = 10;
    f->ours[0].partial = true;
    result_add(&f->ours[0], "seconds", NULL, 2, 2, NEITHER);
    result_add(&f->ours[0], "req_s", NULL, 5, 1, HIGHER);
    result_add(&f->ours[0], "puts_s", "puts per second", 7, 1, HIGHER);
    result_print(f->out, &f->options, &f->ours[0], NULL, 1);
    assert_non_null(strstr(f->text, "put, 5 clients on 2 connections: 10 requests in 2.00 s"));
    assert_non_null(strstr(f->text, "(PARTIAL)"));
    assert_non_null(strstr(f->text, "  puts per second: 7.0\n"));
    assert_null(strstr(f->text, "CPU")); /* no pids were given */
}

static void add_round(struct fixture *f, size_t i, double our_cpu, double our_rate,
                      double peers_cpu, double peers_rate)
{
    result_add(&f->ours[i], "cpu", NULL, our_cpu, 2, LOWER);
    result_add(&f->ours[i], "rate", NULL, our_rate, 0, HIGHER);
    result_add(&f->ours[i], "load", NULL, 1, 2, NEITHER);
    result_add(&f->peers[i], "cpu", NULL, peers_cpu, 2, LOWER);
    result_add(&f->peers[i], "rate", NULL, peers_rate, 0, HIGHER);
    result_add(&f->peers[i], "load", NULL, 2, 2, NEITHER);
}

/* A ratio above 1 means ours is better, for costs as for rates; each is of one round. */
static void a_comparison_says_how_many_times_better_ours_is(void **state)
{
    struct fixture *f = *state;
    struct json_object *got, *cpu, *rate, *load, *none;

    f->options.json = true;
    add_round(f, 0, 10, 100, 20, 50);
    add_round(f, 1, 10, 100, 40, 200);
    add_round(f, 2, 20, 300, 60, 100);
    result_compare(f->out, &f->options, f->ours, f->peers, 3);
    fflush(f->out);
    got = json_tokener_parse(f->text);
    assert_non_null(got);
    cpu = member(member(got, "compared"), "cpu");
    rate = member(member(got, "compared"), "rate");
    load = member(member(got, "compared"), "load");
    assert_true(item(cpu, "ours", 0) == 10 && item(cpu, "ours", 2) == 20);
    assert_true(item(cpu, "peer", 0) == 40);
    assert_true(item(cpu, "better", 0) == 3);
    assert_true(item(cpu, "better", 1) == 2 && item(cpu, "better", 2) == 4);
    assert_true(item(rate, "better", 0) == 2);
    assert_true(item(rate, "better", 1) == 0.5 && item(rate, "better", 2) == 3);
    assert_false(json_object_object_get_ex(load, "better", &none)); /* neither is better */
    json_object_put(got);
}

static void there_is_no_ratio_to_nothing(void **state)
{
    struct fixture *f = *state;

    add_round(f, 0, 0, 100, 20, 50);
    result_compare(f->out, &f->options, f->ours, f->peers, 1);
    fflush(f->out);
    assert_null(strstr(f->text, "inf"));
    assert_null(strstr(f->text, "nan"));
    assert_non_null(strstr(f->text, "2.00 x (2.00 .. 2.00)")); /* the rate's */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_result_is_one_line_of_json),
        TEST(text_says_what_was_measured_and_nothing_else),
        TEST(a_comparison_says_how_many_times_better_ours_is),
        TEST(there_is_no_ratio_to_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
