/* Latencies in microseconds: exact below 256 us, then within 1 % up to half an hour. */
#ifndef KVD_BENCH_HISTOGRAM_H
#define KVD_BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_SLOTS = 3200 };

struct histogram {
    uint64_t slots[HISTOGRAM_SLOTS];
    uint64_t count;
    uint64_t max_us;
};

void histogram_add(struct histogram *histogram, uint64_t us);
void histogram_merge(struct histogram *into, const struct histogram *other);
/* The value that the given share (0..1) of all values do not exceed, rounded up to its slot's end,
 * never above the maximum; 0 if there is none. */
uint64_t histogram_at(const struct histogram *histogram, double share);

#endif
