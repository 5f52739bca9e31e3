/* kvbench: a load generator for any etcd v3 endpoint. One thread, one loop, hand-written messages,
 * so that it costs little beside what it measures; every answer is checked. This is the core that
 * workloads use (workload.h says in which order). Loop thread only. */
#ifndef KVD_BENCH_BENCH_H
#define KVD_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/prng.h"
#include "base/slice.h"
#include "bench/histogram.h"
#include "bench/options.h"
#include "bench/process.h"
#include "bench/reach.h"
#include "bench/result.h"
#include "bench/workload.h"
#include "net/client.h"

enum phase {
    PHASE_CONNECT,
    PHASE_LOGIN,
    PHASE_FILL,
    PHASE_PREPARE,
    PHASE_WARMUP,
    PHASE_MEASURE,
    PHASE_FINISH,
    PHASE_END
};

struct bench {
    const struct bench_options *options;
    const struct workload *workload;
    const struct bench_side *side;
    struct bench_result *result;
    void *state; /* the workload's */
    void *fill;  /* fill.c's */
    void *login; /* login.c's */
    struct reach reach;
    uv_loop_t loop;
    uv_timer_t phase_timer;
    uv_timer_t tick; /* progress, and whether there is any */
    uv_signal_t interrupt;
    struct grpc_conn **conns;
    size_t conn_count, conns_ready;
    struct prng prng;
    struct buf message; /* the request being written */
    uint8_t *value;     /* space for one value */
    enum phase phase;
    uint64_t outstanding; /* calls under way */
    uint64_t put_bytes;   /* keys and values put while measuring, acknowledged */
    uint64_t done, total; /* of the phase, for the progress line; total 0: unknown */
    uint64_t done_seen;   /* at the last tick */
    unsigned still_ticks; /* in which nothing was done */
    uint64_t began_ns, ended_ns;
    double own_cpu_s;                   /* at the beginning of the measure, then used by it */
    struct process_sample before;       /* connected, nothing done yet */
    struct process_sample began, ended; /* the measure */
    uint64_t pause_ns;                  /* of the measure, in which nothing was asked */
    bool no_cpu_per_request;            /* the server does other things as well */
    bool expects_loss;                  /* of a connection: the run goes on without */
    bool waits;                         /* the workload lets time go by: no progress is no fault */
    struct err *err;
    int rc;
};

/* One run: connect, fill, measure. 0, also with errors or a partial result (out says so); a
 * KV_E... code if nothing was measured. fill false: the keys are there. Blocks. */
int bench_run(const struct bench_options *options, const struct bench_side *side, bool fill,
              struct bench_result *out, struct err *err);

void bench_prepared(struct bench *bench);
void bench_measure(struct bench *bench);
void bench_measured(struct bench *bench);
void bench_finished(struct bench *bench);
/* A wrong answer or a failed call: counted, the first is told. */
void bench_error(struct bench *bench, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The run cannot go on. */
void bench_fail(struct bench *bench, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* One request more, answered us microseconds after it was sent; counts while measuring only. */
void bench_count(struct bench *bench, uint64_t us);
/* A key and a value of it were put; counts while measuring only. */
void bench_count_put(struct bench *bench);
/* Connection i modulo their number. */
struct grpc_conn *bench_conn(const struct bench *bench, uint64_t i);
/* Whether requests are still to be sent. */
bool bench_sending(const struct bench *bench);
/* value_size new bytes in bench->value, different each time, so that no server gains by comparing
 * with the old value. */
struct slice bench_value(struct bench *bench);

/* ---- one unary call ---- */

struct call {
    struct bench *bench;
    struct grpc_conn *conn;
    uint64_t timeout_ms; /* 0: 30 s */
    /* What is wrong with the answer, NULL: nothing. Strings are static. */
    const char *(*check)(struct call *call, struct slice answer);
    /* Once per call_send() unless the run ends before. error NULL: all was right. */
    void (*done)(struct call *call, const char *error);
    /* The call's own. */
    uint64_t began_ns;
    bool answered;
    const char *wrong;
};

/* message is copied. */
void call_send(struct call *call, const char *path, struct slice message);
/* Since it was sent. */
uint64_t call_us(const struct call *call);

/* ---- closed loop: each client sends its next request when its last one is answered ---- */

struct client {
    struct call call;
    uint64_t index;
    uint64_t number;  /* of the key, or what request() likes */
    int64_t revision; /* likewise, as are the next two */
    uint64_t next;
    int kind;
};

/* First member of the state of every workload that uses this. */
struct closed_loop {
    struct client *clients;
};

void calls_start(struct bench *bench);
void calls_finish(struct bench *bench);
void calls_release(struct bench *bench);
/* A random key of the space. */
uint64_t bench_random_key(struct bench *bench);

/* ---- login ---- */

/* Asks for a token; bench->reach has it when logged_in is called. */
void login_start(struct bench *bench, void (*logged_in)(struct bench *bench));

/* ---- fill ---- */

/* Writes every key once unless all are there; then PREPARE begins. */
void fill_start(struct bench *bench, void (*filled)(struct bench *bench));

#endif
