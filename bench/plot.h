/* The latencies of runs as a picture: an SVG file that any browser shows. */
#ifndef KVD_BENCH_PLOT_H
#define KVD_BENCH_PLOT_H

#include <stddef.h>

#include "base/err.h"
#include "bench/histogram.h"
#include "bench/options.h"

struct plot_line {
    const char *name; /* of the server */
    const struct histogram *latency;
    double req_s;
};

enum { PLOT_LINES_MAX = 2 };

/* One line for each server, by percentile; both axes are logarithmic. At most PLOT_LINES_MAX.
 * KV_EIO: the file can not be written. */
int plot_write(const char *path, const struct bench_options *options, const struct plot_line *lines,
               size_t count, struct err *err);

#endif
