/* What is worth a test of how two servers are compared; result_compare() is in result.h. */
#ifndef KVD_BENCH_COMPARE_H
#define KVD_BENCH_COMPARE_H

#include <stddef.h>

#include "bench/result.h"

struct spread {
    double median, low, high;
};

/* count > 0; the median of an even number is the middle of the two in the middle. */
struct spread spread_of(const double *values, size_t count);

#endif
