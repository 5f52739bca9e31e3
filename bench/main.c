#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/util.h"
#include "bench/bench.h"

static const char usage[] =
    "kvbench put|get|get-serializable|txn|mixed [options]\n"
    "\n"
    "Loads an etcd v3 server (kvd, etcd) and prints requests/s, latency percentiles and, with\n"
    "--pids, the server's CPU time per request. Every answer is checked.\n"
    "\n"
    "  --endpoints LIST   host:port,... (127.0.0.1:2379); connections go round robin\n"
    "  --clients N        requests outstanding (64)\n"
    "  --conns M          connections (8, at most one per client)\n"
    "  --seconds S        measured time (5), after --warmup S (1)\n"
    "  --keys N           key space (10000), --key-size B (8), --value-size B (256)\n"
    "  --no-fill          do not write every key once first\n"
    "  --pids LIST        server processes\n"
    "  --seed N           of the random keys (1)\n"
    "  --json             one line of JSON\n"
    "\n"
    "mixed is 80 % get, 20 % put.\n";

static int bad(const char *what, const char *value)
{
    fprintf(stderr, "kvbench: %s: %s\nTry kvbench --help.\n", what, value);
    return 2;
}

static bool parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
    char *end;

    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && *out >= low && *out <= high;
}

static bool parse_op(const char *text, enum bench_op *out)
{
    for (enum bench_op op = BENCH_PUT; op <= BENCH_MIXED; op++) {
        if (strcmp(text, bench_op_name(op)) == 0) {
            *out = op;
            return true;
        }
    }
    return false;
}

/* Splits in place; the pieces point into text. */
static size_t split(char *text, const char **out, size_t max)
{
    size_t n = 0;
    char *save = NULL;

    for (char *p = strtok_r(text, ",", &save); p != NULL && n < max; p = strtok_r(NULL, ",", &save))
        out[n++] = p;
    return n;
}

static bool parse_option(int which, const char *arg, struct bench_options *o)
{
    static const char *endpoints[16];
    const char *pids[ARRAY_LEN(o->pids)];
    uint64_t n = 0;

    switch (which) {
    case 'e':
        o->endpoint_count = split(xstrdup(arg), endpoints, ARRAY_LEN(endpoints));
        o->endpoints = endpoints;
        return o->endpoint_count != 0;
    case 'c':
        return parse_number(arg, 1, 100000, &n) && (o->clients = (unsigned)n, true);
    case 'm':
        return parse_number(arg, 1, 10000, &n) && (o->connections = (unsigned)n, true);
    case 's':
        return (o->seconds = atof(arg)) > 0;
    case 'w':
        return (o->warmup_s = atof(arg)) >= 0;
    case 'k':
        return parse_number(arg, 1, 100000000, &o->keys);
    case 'K':
        return parse_number(arg, 8, 200, &n) && (o->key_size = (unsigned)n, true);
    case 'V':
        return parse_number(arg, 0, BENCH_MESSAGE_MAX / 4, &n) &&
               (o->value_size = (unsigned)n, true);
    case 'S':
        return parse_number(arg, 0, UINT64_MAX, &o->seed);
    case 'F':
        o->fill = false;
        return true;
    case 'j':
        o->json = true;
        return true;
    case 'p':
        o->pid_count = split(xstrdup(arg), pids, ARRAY_LEN(pids));
        for (size_t i = 0; i < o->pid_count; i++) {
            if (!parse_number(pids[i], 1, INT32_MAX, &n))
                return false;
            o->pids[i] = (int)n;
        }
        return o->pid_count != 0;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {{"endpoints", required_argument, NULL, 'e'},
                                                 {"clients", required_argument, NULL, 'c'},
                                                 {"conns", required_argument, NULL, 'm'},
                                                 {"seconds", required_argument, NULL, 's'},
                                                 {"warmup", required_argument, NULL, 'w'},
                                                 {"keys", required_argument, NULL, 'k'},
                                                 {"key-size", required_argument, NULL, 'K'},
                                                 {"value-size", required_argument, NULL, 'V'},
                                                 {"no-fill", no_argument, NULL, 'F'},
                                                 {"pids", required_argument, NULL, 'p'},
                                                 {"seed", required_argument, NULL, 'S'},
                                                 {"json", no_argument, NULL, 'j'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    static const char *default_endpoint[] = {"127.0.0.1:2379"};
    static struct bench_result result;
    struct bench_options options = {.endpoints = default_endpoint,
                                    .endpoint_count = 1,
                                    .clients = 64,
                                    .connections = 8,
                                    .warmup_s = 1,
                                    .seconds = 5,
                                    .key_size = 8,
                                    .value_size = 256,
                                    .keys = 10000,
                                    .seed = 1,
                                    .fill = true};
    struct err err = ERR_INIT;
    int which, at, rc;

    while ((which = getopt_long(argc, argv, "", long_options, &at)) != -1) {
        if (which == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (which == '?')
            return 2;
        if (!parse_option(which, optarg, &options))
            return bad("bad value for an option", optarg);
    }
    if (optind != argc - 1)
        return bad("what to measure?", "put, get, get-serializable, txn or mixed");
    if (!parse_op(argv[optind], &options.op))
        return bad("no such workload", argv[optind]);
    options.connections = MIN(options.connections, options.clients);

    rc = bench_run(&options, &result, &err);
    if (rc != 0) {
        fprintf(stderr, "kvbench: %s\n", err.code != 0 ? err.text : result.first_error);
        return 1;
    }
    bench_report(&options, &result);
    return result.errors == 0 ? 0 : 1;
}
