/* kvbench: a closed-loop load generator for any etcd v3 endpoint. One thread, one loop,
 * hand-encoded messages, so that it costs little beside what it measures; every answer is checked.
 */
#ifndef KVD_BENCH_BENCH_H
#define KVD_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/prng.h"
#include "base/slice.h"

enum bench_op { BENCH_PUT, BENCH_GET, BENCH_SERIALIZABLE, BENCH_TXN, BENCH_MIXED };

struct bench_options {
    enum bench_op op;
    const char **endpoints; /* connections go round robin over them */
    size_t endpoint_count;
    unsigned clients; /* requests outstanding */
    unsigned connections;
    double warmup_s, seconds;
    unsigned key_size, value_size;
    uint64_t keys;
    uint64_t seed;
    int pids[16]; /* of the servers: their CPU time is counted */
    size_t pid_count;
    bool fill; /* write every key once first, so that gets find them */
    bool json;
};

/* Latencies in microseconds: 1 % resolution up to a minute. */
enum { HISTOGRAM_SLOTS = 2048 };

struct histogram {
    uint64_t slots[HISTOGRAM_SLOTS];
    uint64_t count;
    uint64_t max_us;
};

void histogram_add(struct histogram *histogram, uint64_t us);
/* Upper edge of the slot that holds the given share (0..1) of all values. */
uint64_t histogram_at(const struct histogram *histogram, double share);

struct bench_result {
    uint64_t requests, errors;
    char first_error[512];
    double seconds;
    double server_cpu_s, own_cpu_s;
    uint64_t server_rss_bytes;
    struct histogram latency;
};

/* Runs fill, warm-up and measurement. 0, or a KV_E... code if no server could be reached at all. */
int bench_run(const struct bench_options *options, struct bench_result *out, struct err *err);

void bench_report(const struct bench_options *options, const struct bench_result *result);
const char *bench_op_name(enum bench_op op);

/* ---- messages, encoded by hand (etcd-api.md section 3) ---- */

enum { BENCH_MESSAGE_MAX = 64 << 10 };

struct bench_message {
    const char *path;
    size_t len;
    uint8_t bytes[BENCH_MESSAGE_MAX];
};

void bench_encode(const struct bench_options *options, enum bench_op op, uint64_t key,
                  struct prng *prng, struct bench_message *out);
/* Whether an answer to op is what it must be: a get found its key, a txn took its branch. */
bool bench_check(enum bench_op op, struct slice answer);

#endif
