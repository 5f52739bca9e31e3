/* What a run found: named figures, so that text, JSON and the comparison of two servers need not
 * know the workloads. */
#ifndef KVD_BENCH_RESULT_H
#define KVD_BENCH_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/histogram.h"
#include "bench/options.h"

enum better { NEITHER, LOWER, HIGHER };

struct figure {
    char name[24];  /* JSON's */
    char label[64]; /* for people; empty: it is in one of the first lines */
    double value;
    int decimals;
    enum better better;
};

enum { FIGURES_MAX = 48 };

struct bench_result {
    uint64_t requests, errors;
    char first_error[512];
    bool partial; /* ended before its time */
    struct histogram latency;
    struct figure figures[FIGURES_MAX];
    size_t figure_count;
};

/* label NULL: none of its own. */
void result_add(struct bench_result *result, const char *name, const char *label, double value,
                int decimals, enum better better);
/* Number, p50, p99 and max of a histogram as figures prefix_count, prefix_p50_us, ... */
void result_add_latency(struct bench_result *result, const char *prefix, const char *label,
                        const struct histogram *histogram);
/* 0 if there is no such figure. */
double result_get(const struct bench_result *result, const char *name);

/* Text or one line of JSON. side: what to call the server there; NULL: only one is measured. */
void result_print(FILE *out, const struct bench_options *options, const struct bench_result *result,
                  const char *side, unsigned round);

/* Both sides' figures of all rounds, their medians and ratios with spread. */
void result_compare(FILE *out, const struct bench_options *options, const struct bench_result *ours,
                    const struct bench_result *peers, size_t rounds);

#endif
