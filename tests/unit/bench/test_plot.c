/* The picture of a run: a line for each server that rises with the percentiles, inside the frame.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "bench/plot.h"
#include "bench/workload.h"

static char *drawn(const struct plot_line *lines, size_t count)
{
    char path[] = "/tmp/kvd-test-plot-XXXXXX";
    struct bench_options options = {.workload = workload_find("put"), .clients = 64};
    char *text = xcalloc(1, 1 << 16);
    FILE *f;

    assert_true(close(mkstemp(path)) == 0);
    assert_int_equal(plot_write(path, &options, lines, count, NULL), 0);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, (1 << 16) - 1, f) > 0);
    (void)fclose(f);
    (void)unlink(path);
    return text;
}

/* Points of the nth line: none outside of the picture, none below the one before. */
static unsigned check_points(const char *svg, unsigned nth)
{
    double x, y, last_x = 0, last_y = 440;
    unsigned points = 0;
    int len;

    for (unsigned i = 0; i <= nth; i++) {
        svg = strstr(svg + 1, "<path d=\"M");
        assert_non_null(svg);
        while (strstr(svg, "fill=\"none\"") > strstr(svg, "/>"))
            svg = strstr(svg + 1, "<path d=\"M"); /* of the grid */
    }
    for (svg += strlen("<path d=\""); sscanf(svg, "%*c%lf %lf%n", &x, &y, &len) == 2; svg += len) {
        assert_true(x >= last_x && x <= 760);
        assert_true(y <= last_y && y >= 0);
        last_x = x;
        last_y = y;
        points++;
    }
    return points;
}

static void each_server_has_a_line_that_rises(void **state)
{
    static struct histogram fast, slow;
    const struct plot_line lines[] = {{.name = "ours", .latency = &fast, .req_s = 1000},
                                      {.name = "peer", .latency = &slow, .req_s = 10}};
    char *svg;

    (void)state;
    for (uint64_t i = 1; i <= 100000; i++) {
        histogram_add(&fast, 100 + i % 100);
        histogram_add(&slow, i * 10);
    }
    svg = drawn(lines, 2);
    assert_int_equal(check_points(svg, 0), 201);
    assert_int_equal(check_points(svg, 1), 201);
    assert_non_null(strstr(svg, ">kvbench put, 64 clients<"));
    assert_non_null(strstr(svg, ">ours: 1000 requests/s, p50 149 us, p99 198 us<"));
    assert_non_null(strstr(svg, ">1 s<"));
    assert_non_null(strstr(svg, "</svg>"));
    free(svg);
}

static void one_request_makes_a_picture_too(void **state)
{
    static struct histogram one;
    const struct plot_line line = {.name = "server", .latency = &one, .req_s = 1};
    char *svg;

    (void)state;
    histogram_add(&one, 0);
    svg = drawn(&line, 1);
    assert_int_equal(check_points(svg, 0), 201);
    assert_null(strstr(svg, "nan"));
    free(svg);
}

static void a_file_that_can_not_be_written_is_told(void **state)
{
    static struct histogram none;
    const struct plot_line line = {.name = "server", .latency = &none};
    struct bench_options options = {.workload = workload_find("put")};
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(plot_write("/nowhere/at/all.svg", &options, &line, 1, &err), KV_EIO);
    assert_string_equal(err.text, "--plot /nowhere/at/all.svg: No such file or directory");
    assert_int_equal(plot_write("/dev/full", &options, &line, 1, &err), KV_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_server_has_a_line_that_rises),
        cmocka_unit_test(one_request_makes_a_picture_too),
        cmocka_unit_test(a_file_that_can_not_be_written_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
