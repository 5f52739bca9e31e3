/* Log lines, read back from a file. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "server/log.h"

enum { TEXT_MAX = 4 << 20 };

struct fixture {
    char path[64];
    char second[64];
    char *outputs[2];
    struct config config;
    struct log *log;
    char *text;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    (void)snprintf(f->path, sizeof f->path, "/tmp/kvd-test-log-XXXXXX");
    (void)snprintf(f->second, sizeof f->second, "/tmp/kvd-test-log-XXXXXX");
    (void)close(mkstemp(f->path));
    (void)close(mkstemp(f->second));
    f->outputs[0] = f->path;
    f->outputs[1] = f->second;
    f->config.log_level = CONFIG_INFO;
    f->config.log_outputs = f->outputs;
    f->config.log_outputs_len = 1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    log_close(f->log);
    (void)unlink(f->path);
    (void)unlink(f->second);
    free(f->text);
    free(f);
    return 0;
}

static void open_log(struct fixture *f)
{
    struct err err = ERR_INIT;

    assert_int_equal(log_open(&f->config, &f->log, &err), 0);
}

static const char *read_back(struct fixture *f, const char *path)
{
    FILE *file = fopen(path, "r");
    size_t len;

    assert_non_null(file);
    free(f->text);
    f->text = malloc(TEXT_MAX);
    len = fread(f->text, 1, TEXT_MAX - 1, file);
    f->text[len] = '\0';
    assert_int_equal(fclose(file), 0);
    return f->text;
}

/* The only line of the log, as JSON; the caller puts it. */
static struct json_object *only_line(struct fixture *f)
{
    const char *text = read_back(f, f->path);
    struct json_object *line;

    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    line = json_tokener_parse(text);
    assert_non_null(line);
    return line;
}

static const char *string_of(struct json_object *line, const char *name)
{
    struct json_object *value;

    assert_true(json_object_object_get_ex(line, name, &value));
    assert_true(json_object_is_type(value, json_type_string));
    return json_object_get_string(value);
}

static void a_line_has_etcds_shape(void **state)
{
    struct fixture *f = *state;
    const char *text;
    int end = 0;

    open_log(f);
    log_write(f->log, CONFIG_INFO, "server/x.c:7", "it happened",
              (struct log_field[]){LOG_STR("name", "n1"), LOG_INT("delta", -5),
                                   LOG_UINT("count", UINT64_MAX),
                                   LOG_ID("local-member-id", 0x0a1bc), LOG_BOOL("learner", true)},
              5);
    text = read_back(f, f->path);
    assert_int_equal(sscanf(text,
                            "{\"level\":\"info\",\"ts\":\"20%*2d-%*2d-%*2dT%*2d:%*2d:%*2d.%*6dZ\","
                            "%n",
                            &end),
                     0);
    assert_int_equal(end, strlen("{\"level\":\"info\",\"ts\":\"2026-01-01T00:00:00.000000Z\","));
    assert_string_equal(text + end,
                        "\"caller\":\"server/x.c:7\",\"msg\":\"it happened\",\"name\":\"n1\","
                        "\"delta\":-5,\"count\":18446744073709551615,"
                        "\"local-member-id\":\"a1bc\",\"learner\":true}\n");
}

static void the_macros_name_the_place_they_stand_at(void **state)
{
    struct fixture *f = *state;
    struct json_object *line;
    char here[128];

    open_log(f);
    log_warn(f->log, "no fields"), (void)snprintf(here, sizeof here, "%s:%d", __FILE__, __LINE__);
    line = only_line(f);
    assert_string_equal(string_of(line, "caller"), here);
    assert_string_equal(string_of(line, "level"), "warn");
    assert_int_equal(json_object_object_length(line), 4);
    json_object_put(line);
}

static void lines_below_the_level_are_not_written(void **state)
{
    struct fixture *f = *state;
    const char *text;

    f->config.log_level = CONFIG_WARN;
    open_log(f);
    log_debug(f->log, "one");
    log_info(f->log, "two", LOG_BOOL("b", false));
    log_warn(f->log, "three");
    log_error(f->log, "four");
    text = read_back(f, f->path);
    assert_null(strstr(text, "one"));
    assert_null(strstr(text, "two"));
    assert_non_null(strstr(text, "three"));
    assert_non_null(strstr(text, "\"level\":\"error\""));
}

static void whatever_a_field_holds_it_stays_one_field_of_one_line(void **state)
{
    static const struct {
        const char *value, *escaped;
    } rows[] = {
        {"plain", "\"plain\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"x\",\"level\":\"error", "\"x\\\",\\\"level\\\":\\\"error\""},
        {"line\nline\r\t", "\"line\\nline\\r\\t\""},
        {"\x01\x1b[31mred\x7f", "\"\\u0001\\u001b[31mred\\u007f\""},
        {"gr\xC3\xBC\xC3\x9F"
         "e \xE2\x82\xAC \xF0\x9F\x98\x80",
         "\"gr\xC3\xBC\xC3\x9F"
         "e \xE2\x82\xAC \xF0\x9F\x98\x80\""},
        {"\xC2\x9b\x33\x31m", "\"\\u009b31m\""}, /* the C1 form of ESC [ */
        {"\xE2\x80\xA8", "\"\\u2028\""},         /* line separator */
        {"\xff"
         "a",
         "\"\\ufffda\""},                                         /* never a first byte */
        {"\xC0\x80", "\"\\ufffd\\ufffd\""},                       /* overlong NUL */
        {"\xE0\x80\xAF", "\"\\ufffd\\ufffd\\ufffd\""},            /* overlong slash */
        {"\xED\xA0\x80", "\"\\ufffd\\ufffd\\ufffd\""},            /* surrogate */
        {"\xF4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* above U+10FFFF */
        {"cut \xE2\x82", "\"cut \\ufffd\\ufffd\""},
        {"cut \xC3\"", "\"cut \\ufffd\\\"\""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture *f;
        struct json_object *line;

        assert_int_equal(setup((void **)&f), 0);
        open_log(f);
        log_info(f->log, "m", LOG_STR("before", "b"), LOG_STR("v", rows[i].value),
                 LOG_STR("after", "a"));
        line = only_line(f);
        assert_int_equal(json_object_object_length(line), 7);
        assert_string_equal(string_of(line, "level"), "info");
        assert_string_equal(string_of(line, "after"), "a");
        assert_non_null(strstr(f->text, rows[i].escaped));
        json_object_put(line);
        assert_int_equal(teardown((void **)&f), 0);
    }
    (void)state;
}

static void a_null_string_is_an_empty_one(void **state)
{
    struct fixture *f = *state;
    struct json_object *line;

    open_log(f);
    log_info(f->log, "m", LOG_STR("v", NULL));
    line = only_line(f);
    assert_string_equal(string_of(line, "v"), "");
    json_object_put(line);
}

static void a_huge_line_keeps_its_first_fields_and_stays_json(void **state)
{
    struct fixture *f = *state;
    char *huge = malloc(200001);
    struct json_object *line, *value;

    memset(huge, '"', 200000);
    huge[200000] = '\0';
    open_log(f);
    log_info(f->log, "m", LOG_INT("first", 1), LOG_STR("huge", huge), LOG_INT("last", 2));
    line = only_line(f);
    assert_true(json_object_object_get_ex(line, "first", &value));
    assert_true(json_object_object_get_ex(line, "truncated", &value));
    assert_false(json_object_object_get_ex(line, "huge", &value));
    json_object_put(line);
    free(huge);
}

static void console_lines_have_columns_and_stay_one_line(void **state)
{
    struct fixture *f = *state;
    const char *text;

    f->config.log_console = true;
    open_log(f);
    log_write(f->log, CONFIG_WARN, "server/x.c:7", "two\nlines\x1b",
              (struct log_field[]){LOG_STR("v", "a\nb"), LOG_INT("n", 3)}, 2);
    log_write(f->log, CONFIG_INFO, "server/x.c:8", "bare", NULL, 0);
    text = read_back(f, f->path);
    assert_non_null(strstr(text, "Z\twarn\tserver/x.c:7\ttwo\\nlines\\u001b\t"
                                 "{\"v\":\"a\\nb\",\"n\":3}\n20"));
    assert_string_equal(strchr(text, '\n') + 1 + strlen("2026-01-01T00:00:00.000000Z"),
                        "\tinfo\tserver/x.c:8\tbare\n");
}

static void every_output_gets_the_line_and_files_are_appended_to(void **state)
{
    struct fixture *f = *state;

    f->config.log_outputs_len = 2;
    open_log(f);
    log_info(f->log, "first");
    log_close(f->log);
    open_log(f);
    log_info(f->log, "second");
    assert_non_null(strstr(read_back(f, f->path), "first"));
    assert_non_null(strstr(f->text, "second"));
    assert_non_null(strstr(read_back(f, f->second), "first"));
    assert_non_null(strstr(f->text, "second"));
}

static void an_output_that_cannot_be_opened_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    char bad[] = "/nonexistent/log";

    f->outputs[1] = bad;
    f->config.log_outputs_len = 2;
    assert_int_equal(log_open(&f->config, &f->log, &err), KV_EIO);
    assert_string_equal(err.text,
                        "cannot open the log output /nonexistent/log: No such file or directory");
    assert_null(f->log);
}

static void without_a_log_nothing_happens(void **state)
{
    (void)state;
    log_error(NULL, "nobody listens", LOG_STR("a", "b"));
    log_close(NULL);
}

enum { THREADS = 4, LINES = 500 };

static void *write_lines(void *arg)
{
    struct fixture *f = arg;
    char filler[300];

    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    for (int i = 0; i < LINES; i++)
        log_info(f->log, "m", LOG_INT("i", i), LOG_STR("filler", filler));
    return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];
    char *text, *line;
    int lines = 0;

    open_log(f);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, f), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    (void)read_back(f, f->path);
    text = f->text;
    while ((line = strsep(&text, "\n")) != NULL && line[0] != '\0') {
        struct json_object *parsed = json_tokener_parse(line);

        assert_non_null(parsed);
        json_object_put(parsed);
        lines++;
    }
    assert_int_equal(lines, THREADS * LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_etcds_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(the_macros_name_the_place_they_stand_at, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_below_the_level_are_not_written, setup, teardown),
        cmocka_unit_test(whatever_a_field_holds_it_stays_one_field_of_one_line),
        cmocka_unit_test_setup_teardown(a_null_string_is_an_empty_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_huge_line_keeps_its_first_fields_and_stays_json, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(console_lines_have_columns_and_stay_one_line, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(every_output_gets_the_line_and_files_are_appended_to, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_output_that_cannot_be_opened_is_an_error, setup,
                                        teardown),
        cmocka_unit_test(without_a_log_nothing_happens),
        cmocka_unit_test_setup_teardown(threads_do_not_mix_their_lines, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
