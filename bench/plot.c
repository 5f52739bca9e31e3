#include "bench/plot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "bench/workload.h"

enum {
    WIDTH = 760,
    HEIGHT = 440,
    LEFT = 80,
    RIGHT = 40,
    TOP = 72,
    BOTTOM = 56,
    POINTS = 200,
};

/* Percentiles go by their distance from all: 90 %, 99 %, 99.9 % are equally far apart. */
static const double nines_max = 5;
static const char *const colors[PLOT_LINES_MAX] = {"#1f6feb", "#d1570a"};

struct axes {
    double low, high; /* decimal logarithms of microseconds */
    double nines;     /* how far the percentiles go: as far as there are values */
};

static double x_of(const struct axes *axes, double nines)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * nines / axes->nines;
}

static double y_of(const struct axes *axes, double us)
{
    double part = (log10(fmax(us, 1)) - axes->low) / (axes->high - axes->low);

    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part;
}

static struct axes axes_of(const struct plot_line *lines, size_t count)
{
    struct axes axes = {.low = 9, .high = 0, .nines = 1};

    for (size_t i = 0; i < count; i++) {
        const struct histogram *h = lines[i].latency;

        axes.low = fmin(axes.low, floor(log10(fmax((double)histogram_at(h, 0), 1))));
        axes.high = fmax(axes.high, ceil(log10(fmax((double)h->max_us, 10))));
        axes.nines = fmax(axes.nines, log10(fmax((double)h->count, 1)));
    }
    axes.low = fmin(axes.low, axes.high - 1);
    axes.nines = fmin(axes.nines, nines_max);
    return axes;
}

static void text(FILE *out, double x, double y, const char *how, const char *words)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, how, words);
}

static void line(FILE *out, double x1, double y1, double x2, double y2)
{
    fprintf(out, "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#d0d7de\"/>\n", x1, y1, x2, y2);
}

static void draw_grid(FILE *out, const struct axes *axes)
{
    static const char *const percents[] = {"0", "90", "99", "99.9", "99.99", "99.999"};
    char label[32];

    for (double at = axes->low; at <= axes->high; at++) {
        double us = pow(10, at), y = y_of(axes, us);

        line(out, LEFT, y, WIDTH - RIGHT, y);
        (void)snprintf(label, sizeof label,
                       us < 1000  ? "%.0f us"
                       : us < 1e6 ? "%.0f ms"
                                  : "%.0f s",
                       us < 1000  ? us
                       : us < 1e6 ? us / 1000
                                  : us / 1e6);
        text(out, LEFT - 8, y + 4, "text-anchor=\"end\"", label);
    }
    for (unsigned nines = 0; nines <= axes->nines && nines < ARRAY_LEN(percents); nines++) {
        double x = x_of(axes, nines);

        line(out, x, TOP, x, HEIGHT - BOTTOM);
        (void)snprintf(label, sizeof label, "%s %%", percents[nines]);
        text(out, x, HEIGHT - BOTTOM + 20, "text-anchor=\"middle\"", label);
    }
    text(out, LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 12, "text-anchor=\"middle\"",
         "so many of all requests took no longer");
}

static void draw_line(FILE *out, const struct axes *axes, const struct plot_line *l, size_t which)
{
    char label[160];

    fputs("<path d=\"", out);
    for (int i = 0; i <= POINTS; i++) {
        double nines = axes->nines * i / POINTS;

        fprintf(out, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(axes, nines),
                y_of(axes, (double)histogram_at(l->latency, 1 - pow(10, -nines))));
    }
    fprintf(out, "\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", colors[which]);
    (void)snprintf(label, sizeof label, "%s: %.0f requests/s, p50 %llu us, p99 %llu us", l->name,
                   l->req_s, (unsigned long long)histogram_at(l->latency, 0.5),
                   (unsigned long long)histogram_at(l->latency, 0.99));
    fprintf(out, "<rect x=\"%d\" y=\"%zu\" width=\"14\" height=\"3\" fill=\"%s\"/>\n", LEFT,
            40 + 18 * which, colors[which]);
    text(out, LEFT + 22, (double)(45 + 18 * which), "", label);
}

static void draw(FILE *out, const struct bench_options *options, const struct plot_line *lines,
                 size_t count)
{
    struct axes axes = axes_of(lines, count);
    bool streams = options->streams != 0;
    char title[160];

    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d "
            "%d\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#1f2328\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    (void)snprintf(title, sizeof title, "kvbench %s, %llu %s", options->workload->name,
                   (unsigned long long)(streams ? options->streams : options->clients),
                   streams ? "streams" : "clients");
    text(out, LEFT, 24, "font-size=\"16\" font-weight=\"bold\"", title);
    draw_grid(out, &axes);
    for (size_t i = 0; i < count; i++)
        draw_line(out, &axes, &lines[i], i);
    fputs("</svg>\n", out);
}

int plot_write(const char *path, const struct bench_options *options, const struct plot_line *lines,
               size_t count, struct err *err)
{
    FILE *out = fopen(path, "w");
    bool failed;

    ASSERT(count <= PLOT_LINES_MAX);
    if (out == NULL)
        return err_set(err, KV_EIO, "--plot %s: %s", path, strerror(errno));
    draw(out, options, lines, count);
    failed = ferror(out) != 0;
    failed = fclose(out) != 0 || failed;
    return failed ? err_set(err, KV_EIO, "--plot %s can not be written", path) : 0;
}
