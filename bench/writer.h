/* A lone writer on a thread and a connection of its own, so that its latency shows what others do
 * to it and nothing that the generator's own loop does.
 *
 * It puts at a fixed rate, one put after the other. While one is stalled the next ones fall due,
 * and their latency runs from then: a writer that only ever waited for its own answer would count a
 * stall of a second once among thousands of quick puts and call the 99th percentile good. */
#ifndef KVD_BENCH_WRITER_H
#define KVD_BENCH_WRITER_H

#include <stdint.h>

#include "base/err.h"
#include "bench/reach.h"
#include "bench/result.h"

/* Which of two histograms latencies go to. */
enum writer_segment { WRITER_QUIET, WRITER_LOADED, WRITER_NOWHERE };

struct writer;

enum { WRITER_RATE = 200 };

/* Starts to put, rate times a second (at most 1000); endpoint and reach->options must outlive it.
 * Latencies count nowhere at first. */
struct writer *writer_start(const struct reach *reach, const char *endpoint, uint64_t rate,
                            uint64_t seed);
/* Puts that fall due from now on count into this segment. At most 16 times. Any thread. */
void writer_count_into(struct writer *writer, enum writer_segment segment);
/* Lets the last put be answered, and those that fell due under load, then ends the thread. Blocks.
 * 0 or KV_ECONN: a put failed, or the connection did; the latencies until then stay. */
int writer_stop(struct writer *writer, struct err *err);
/* Only once stopped. Figures put_quiet_..., put_loaded_... and the ratios of their percentiles, as
 * far as there are any; the labels are for people. */
void writer_report(const struct writer *writer, const char *quiet, const char *loaded,
                   struct bench_result *out);
/* Stops it first if need be; NULL is fine. */
void writer_free(struct writer *writer);

#endif
