/* A workload: what it takes, how it begins and ends. The core (bench.h) connects, fills, warms up,
 * measures and reports; the workload sends.
 *
 *    CONNECT ─▶ FILL ─▶ PREPARE ─▶ WARMUP ─▶ MEASURE ─▶ FINISH ─▶ END
 *              keys     prepare()  start()              finish()
 *
 * A workload with its own clock leaves WARMUP by bench_measure() and MEASURE by bench_measured(),
 * others are told by time. */
#ifndef KVD_BENCH_WORKLOAD_H
#define KVD_BENCH_WORKLOAD_H

#include "base/buf.h"
#include "bench/options.h"

struct bench;
struct client;

struct workload {
    const char *name;
    const char *help;
    const char *takes;      /* names of options beside the common ones, spaces between them */
    const char *key_prefix; /* NULL: by the size of the keys */
    bool fills;             /* needs its keys to be there */
    bool own_clock;
    size_t state_size; /* of bench->state, zeroed before prepare() */

    void (*defaults)(struct bench_options *options);
    /* What must hold between options; may be NULL. */
    int (*check)(const struct bench_options *options, struct err *err);
    /* Ends in bench_prepared(). NULL: nothing to prepare. */
    void (*prepare)(struct bench *bench);
    void (*start)(struct bench *bench);
    /* No more requests; what is under way is awaited and checked, then bench_finished(). */
    void (*finish)(struct bench *bench);
    /* Adds figures of its own to the result; may be NULL. */
    void (*report)(struct bench *bench);
    /* Frees what state holds and closes its handles (the state outlives them); nothing calls back
     * any more. Also after a run that failed anywhere. May be NULL. */
    void (*release)(struct bench *bench);

    /* For workloads whose start is calls_start(): the next request of a client, its path returned,
     * and what is wrong with the answer (NULL: nothing). */
    const char *(*request)(struct client *client, struct buf *out);
    const char *(*answer)(struct client *client, struct slice answer);
};

/* All of them, NULL at the end. */
extern const struct workload *const workloads[];
/* NULL: no such name. */
const struct workload *workload_find(const char *name);

#endif
