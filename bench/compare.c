/* Two servers beside each other: medians of the rounds, and how far the rounds' ratios spread. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/util.h"
#include "bench/compare.h"
#include "bench/workload.h"

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

struct spread spread_of(const double *values, size_t count)
{
    double *sorted = xmemdup(values, count * sizeof *values);
    struct spread spread;

    ASSERT(count > 0);
    qsort(sorted, count, sizeof *sorted, compare_doubles);
    spread.low = sorted[0];
    spread.high = sorted[count - 1];
    spread.median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
    free(sorted);
    return spread;
}

/* One figure over all rounds, and how many times better ours is than the peer's. */
struct row {
    const struct figure *figure;
    struct spread ours, peers, times;
    bool has_times;
};

static bool make_row(const struct figure *figure, const struct bench_result *ours,
                     const struct bench_result *peers, size_t rounds, struct row *out)
{
    double *values = xcalloc(3 * rounds, sizeof *values);
    double *a = values, *b = values + rounds, *times = b + rounds;

    out->figure = figure;
    out->has_times = figure->better != NEITHER;
    for (size_t i = 0; i < rounds; i++) {
        a[i] = result_get(&ours[i], figure->name);
        b[i] = result_get(&peers[i], figure->name);
        times[i] = figure->better == LOWER ? b[i] / a[i] : a[i] / b[i];
        if (a[i] <= 0 || b[i] <= 0)
            out->has_times = false; /* a ratio to nothing says nothing */
    }
    out->ours = spread_of(a, rounds);
    out->peers = spread_of(b, rounds);
    if (out->has_times)
        out->times = spread_of(times, rounds);
    free(values);
    return out->ours.high != 0 || out->peers.high != 0;
}

static void print_row_json(FILE *out, const struct row *row, bool first)
{
    int d = row->figure->decimals;

    fprintf(out, "%s\"%s\":{\"ours\":[%.*f,%.*f,%.*f],\"peer\":[%.*f,%.*f,%.*f]", first ? "" : ",",
            row->figure->name, d, row->ours.median, d, row->ours.low, d, row->ours.high, d,
            row->peers.median, d, row->peers.low, d, row->peers.high);
    if (row->has_times)
        fprintf(out, ",\"better\":[%.2f,%.2f,%.2f]", row->times.median, row->times.low,
                row->times.high);
    fputc('}', out);
}

static void print_row(FILE *out, const struct row *row)
{
    int d = row->figure->decimals;

    fprintf(out, "  %-20s %12.*f (%.*f .. %.*f) %12.*f (%.*f .. %.*f)", row->figure->name, d,
            row->ours.median, d, row->ours.low, d, row->ours.high, d, row->peers.median, d,
            row->peers.low, d, row->peers.high);
    if (row->has_times)
        fprintf(out, "   %.2f x (%.2f .. %.2f)", row->times.median, row->times.low,
                row->times.high);
    fputc('\n', out);
}

void result_compare(FILE *out, const struct bench_options *options, const struct bench_result *ours,
                    const struct bench_result *peers, size_t rounds)
{
    bool first = true;

    if (options->json)
        fprintf(out, "{\"op\":\"%s\",\"rounds\":%zu,\"compared\":{", options->workload->name,
                rounds);
    else
        fprintf(
            out,
            "%s, %zu rounds, alternately. Ours, the peer's (median, lowest .. highest), and how "
            "many times better ours is:\n",
            options->workload->name, rounds);
    for (size_t i = 0; i < ours[0].figure_count; i++) {
        struct row row;

        if (!make_row(&ours[0].figures[i], ours, peers, rounds, &row))
            continue;
        if (options->json)
            print_row_json(out, &row, first);
        else
            print_row(out, &row);
        first = false;
    }
    if (options->json)
        fputs("}}\n", out);
}
