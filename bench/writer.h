/* A lone writer on a thread and a connection of its own: one put after the other, so that its
 * latency shows what others do to it and nothing that the generator's own loop does. */
#ifndef KVD_BENCH_WRITER_H
#define KVD_BENCH_WRITER_H

#include <stdint.h>

#include "base/err.h"
#include "bench/histogram.h"

/* Which of two histograms latencies go to. */
enum writer_segment { WRITER_QUIET, WRITER_LOADED, WRITER_NOWHERE };

struct writer;

/* Starts to put; endpoint must outlive it. Latencies count nowhere at first. */
struct writer *writer_start(const char *endpoint, uint64_t value_size, uint64_t seed);
/* From now on latencies count into this segment. Any thread. */
void writer_count_into(struct writer *writer, enum writer_segment segment);
/* Lets the last put be answered, ends the thread. 0 or KV_ECONN: a put failed, or the connection
 * did; the latencies until then stay. */
int writer_stop(struct writer *writer, struct err *err);
/* Only once stopped. */
const struct histogram *writer_latency(const struct writer *writer, enum writer_segment segment);
/* Stops it first if need be; NULL is fine. */
void writer_free(struct writer *writer);

#endif
