/* The command line of kvbench. One table says every option: parsing, bounds and help come from it.
 */
#ifndef KVD_BENCH_OPTIONS_H
#define KVD_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "bench/keys.h"

enum { ENDPOINTS_MAX = 16, ENDPOINT_SIZE_MAX = 288, MESSAGE_SIZE_MAX = 1400 << 10 };

struct workload;

/* Who is measured. Endpoints are host:port. */
struct bench_side {
    char endpoints[ENDPOINTS_MAX][ENDPOINT_SIZE_MAX]; /* connections go round robin over them */
    size_t endpoint_count;
    int pids[ENDPOINTS_MAX]; /* of the servers: CPU time and memory are theirs */
    size_t pid_count;
};

/* Numbers are given or the workload's defaults. */
struct bench_options {
    const struct workload *workload;
    struct bench_side side;
    struct bench_side versus; /* endpoint_count 0: nobody */
    uint64_t rounds;          /* with versus */
    double seconds, warmup_s;
    uint64_t requests; /* the measure ends after so many; 0: by time alone */
    uint64_t clients;  /* requests outstanding */
    uint64_t connections;
    uint64_t streams;
    uint64_t watchers;
    uint64_t ahead;
    uint64_t keys, key_size, value_size;
    uint64_t limit;
    uint64_t leases, ttl_s;
    uint64_t rate; /* of a lone writer, per second; 0: as fast as answers come */
    uint64_t window;
    uint64_t seed;
    double slow_mb_s; /* 0: as fast as they can */
    bool no_fill;
    bool count_only, keys_only;
    bool put, stream;
    /* Text is borrowed from the command line; NULL: not given. */
    const char *cacert, *cert, *key;
    bool skip_verify;
    const char *user; /* "name:password" */
    const char *plot; /* a file */
    bool json;

    struct key_space space; /* made of keys and key_size */
};

enum { OPTIONS_OK = 0, OPTIONS_HELP = 1 };

/* OPTIONS_OK, OPTIONS_HELP (somebody asks what there is), or
 * KV_EINVAL with a text that names the option. May reorder argv. */
int options_parse(int argc, char **argv, struct bench_options *out, struct err *err);
void options_help(FILE *out);

#endif
