#include "bench/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "bench/process.h"
#include "bench/workload.h"

enum kind { NUMBER, REAL, TEXT, FLAG, ENDPOINTS, PIDS, HELP };

struct row {
    const char *name;
    const char *value; /* as help writes it; NULL: none */
    enum kind kind;
    bool common; /* else only for workloads that take it */
    size_t offset;
    double low, high;
    const char *help;
};

#define AT(field) offsetof(struct bench_options, field)

/* clang-format off */
static const struct row rows[] = {
    {"endpoints", "LIST", ENDPOINTS, true, AT(side), 0, 0, "host:port,... (127.0.0.1:2379); connections go round robin"},
    {"pids", "LIST", PIDS, true, AT(side), 0, 0, "server processes, for their CPU time and memory"},
    {"vs", "LIST", ENDPOINTS, true, AT(versus), 0, 0, "a peer: measured alternately, ratios are printed"},
    {"vs-pid", "LIST", PIDS, true, AT(versus), 0, 0, "the peer's processes"},
    {"cacert", "FILE", TEXT, true, AT(cacert), 0, 0, "TLS: who may have signed the servers' certificates"},
    {"cert", "FILE", TEXT, true, AT(cert), 0, 0, "TLS: our certificate ..."},
    {"key", "FILE", TEXT, true, AT(key), 0, 0, "... and its key"},
    {"insecure-skip-tls-verify", NULL, FLAG, true, AT(skip_verify), 0, 0, "TLS: any certificate will do"},
    {"user", "NAME:PASS", TEXT, true, AT(user), 0, 0, "authentication: every call is in that name"},
    {"rounds", "N", NUMBER, true, AT(rounds), 1, 1000, "of both sides, with --vs (3)"},
    {"seconds", "S", REAL, true, AT(seconds), 0.01, 1e6, "measured time (5)"},
    {"requests", "N", NUMBER, false, AT(requests), 1, 1e15, "the measure ends after so many, if not by time before"},
    {"warmup", "S", REAL, true, AT(warmup_s), 0, 1e6, "before it (1)"},
    {"conns", "N", NUMBER, true, AT(connections), 1, 10000, "connections, at most one per client or stream"},
    {"seed", "N", NUMBER, true, AT(seed), 0, 1e18, "of everything random (1)"},
    {"plot", "FILE.svg", TEXT, true, AT(plot), 0, 0, "draws the latencies, of both sides with --vs"},
    {"json", NULL, FLAG, true, AT(json), 0, 0, "one line of JSON per run"},
    {"help", NULL, HELP, true, 0, 0, 0, "this"},
    {"clients", "N", NUMBER, false, AT(clients), 1, 100000, "requests outstanding"},
    {"keys", "N", NUMBER, false, AT(keys), 1, 1e9, "key space; every key is written first"},
    {"key-size", "B", NUMBER, false, AT(key_size), KEY_SIZE_MIN, KEY_SIZE_MAX, "bytes of each key"},
    {"value-size", "B", NUMBER, false, AT(value_size), 0, MESSAGE_SIZE_MAX, "bytes of each value"},
    {"no-fill", NULL, FLAG, false, AT(no_fill), 0, 0, "the keys are there, or need not be"},
    {"limit", "N", NUMBER, false, AT(limit), 1, 1e9, "keys per answer (500)"},
    {"count-only", NULL, FLAG, false, AT(count_only), 0, 0, "ask for the count alone"},
    {"keys-only", NULL, FLAG, false, AT(keys_only), 0, 0, "ask for keys without values"},
    {"streams", "N", NUMBER, false, AT(streams), 1, 100000, "streams of the watchers, or of keep-alives"},
    {"watchers", "N", NUMBER, false, AT(watchers), 1, 10000000, "spread evenly over the streams"},
    {"ahead", "N", NUMBER, false, AT(ahead), 1, 1000, "puts that the slowest watcher may be behind (1)"},
    {"rate", "N", NUMBER, false, AT(rate), 1, 1000, "puts per second of the one writer (200 beside lists or leases, else no limit)"},
    {"leases", "N", NUMBER, false, AT(leases), 1, 10000000, "that end together"},
    {"ttl", "S", NUMBER, false, AT(ttl_s), 2, 1e9, "of leases"},
    {"slow", "MB/s", REAL, false, AT(slow_mb_s), 0.001, 1e6, "each reader takes no more"},
    {"window", "B", NUMBER, false, AT(window), 65535, 2147483647, "HTTP/2 flow control window of each list (16 MiB)"},
    {"put", NULL, FLAG, false, AT(put), 0, 0, "a lone writer's latency with and without the lists"},
    {"stream", NULL, FLAG, false, AT(stream), 0, 0, "RangeStream (etcd 3.7) instead of Range"},
};
/* clang-format on */

static bool parse_number(const char *text, const struct row *row, uint64_t *out)
{
    char *end;

    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && (double)*out >= row->low &&
           (double)*out <= row->high;
}

static bool parse_real(const char *text, const struct row *row, double *out)
{
    char *end;

    *out = strtod(text, &end);
    return end != text && *end == 0 && *out >= row->low && *out <= row->high;
}

/* Next piece of a list with commas; false at its end. */
static bool next_piece(const char **list, struct slice *out)
{
    if (*list == NULL)
        return false;
    *out = slice_of(*list, strcspn(*list, ","));
    *list = (*list)[out->len] == 0 ? NULL : *list + out->len + 1;
    return true;
}

static bool parse_endpoints(const char *list, struct bench_side *side)
{
    struct slice piece;

    side->endpoint_count = 0;
    while (next_piece(&list, &piece)) {
        if (side->endpoint_count == ENDPOINTS_MAX || piece.len == 0 ||
            piece.len >= ENDPOINT_SIZE_MAX)
            return false;
        (void)snprintf(side->endpoints[side->endpoint_count++], ENDPOINT_SIZE_MAX, "%.*s",
                       (int)piece.len, (const char *)piece.data);
    }
    return true;
}

static bool parse_pids(const char *list, struct bench_side *side)
{
    static const struct row any = {.low = 1, .high = INT32_MAX};
    struct slice piece;
    char text[16];
    uint64_t pid;

    side->pid_count = 0;
    while (next_piece(&list, &piece)) {
        if (side->pid_count == ENDPOINTS_MAX || piece.len >= sizeof text)
            return false;
        (void)snprintf(text, sizeof text, "%.*s", (int)piece.len, (const char *)piece.data);
        if (!parse_number(text, &any, &pid))
            return false;
        side->pids[side->pid_count++] = (int)pid;
    }
    return true;
}

static bool parse_value(const struct row *row, const char *text, void *field)
{
    struct bench_side *side = field;

    switch (row->kind) {
    case NUMBER:
        return parse_number(text, row, field);
    case REAL:
        return parse_real(text, row, field);
    case TEXT:
        *(const char **)field = text;
        return *text != 0;
    case FLAG:
        *(bool *)field = true;
        return true;
    case ENDPOINTS:
        return parse_endpoints(text, side);
    case PIDS:
        return parse_pids(text, side);
    case HELP:
        break;
    }
    return false;
}

/* Whether name is a word of words. */
static bool has_word(const char *words, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = words; (p = strstr(p, name)) != NULL; p += len) {
        if ((p == words || p[-1] == ' ') && (p[len] == 0 || p[len] == ' '))
            return true;
    }
    return false;
}

static int set_option(const struct row *row, const char *text, struct bench_options *out,
                      struct err *err)
{
    if (!row->common && !has_word(out->workload->takes, row->name))
        return err_set(err, KV_EINVAL, "--%s means nothing to %s", row->name, out->workload->name);
    if (parse_value(row, text, (char *)out + row->offset))
        return 0;
    if (row->kind == NUMBER || row->kind == REAL)
        return err_set(err, KV_EINVAL, "--%s %s: a number from %.12g to %.12g, please", row->name,
                       text, row->low, row->high);
    if (row->kind == TEXT)
        return err_set(err, KV_EINVAL, "--%s is empty", row->name);
    return err_set(err, KV_EINVAL, "--%s %s: a list of at most %d with commas between them, please",
                   row->name, text, ENDPOINTS_MAX);
}

static int check_pids(const struct bench_side *side, struct err *err)
{
    for (size_t i = 0; i < side->pid_count; i++) {
        if (!process_alive(side->pids[i]))
            return err_set(err, KV_EINVAL, "there is no process %d to measure", side->pids[i]);
    }
    return 0;
}

/* What the numbers must be to each other. */
static int check_together(struct bench_options *o, struct err *err)
{
    int rc = key_space_init(&o->space, o->workload->key_prefix, o->key_size, o->keys, err);

    if (rc == 0)
        rc = check_pids(&o->side, err);
    if (rc == 0)
        rc = check_pids(&o->versus, err);
    if (rc == 0 && o->versus.pid_count != 0 && o->versus.endpoint_count == 0)
        rc = err_set(err, KV_EINVAL, "--vs-pid without --vs");
    if (rc == 0 && o->user != NULL && strchr(o->user, ':') == NULL)
        rc = err_set(err, KV_EINVAL, "--user %s: name:password, please", o->user);
    if (rc == 0 && (o->cert == NULL) != (o->key == NULL))
        rc = err_set(err, KV_EINVAL, "--cert and --key go together");
    if (rc == 0 && o->count_only && o->keys_only)
        rc = err_set(err, KV_EINVAL, "--count-only and --keys-only are two different requests");
    if (rc == 0 && o->workload->check != NULL)
        rc = o->workload->check(o, err);
    if (o->streams != 0 && o->watchers != 0)
        o->streams = MIN(o->streams, o->watchers);
    o->connections = MIN(o->connections, o->streams != 0 ? o->streams : o->clients);
    return rc;
}

/* getopt's table of ours. */
static void long_options(struct option out[ARRAY_LEN(rows) + 1])
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        out[i] = (struct option){rows[i].name, rows[i].value != NULL, NULL, (int)i + 256};
    out[ARRAY_LEN(rows)] = (struct option){NULL, 0, NULL, 0};
}

static int find_workload(int argc, char **argv, const struct option *table,
                         struct bench_options *out, struct err *err)
{
    int which;

    optind = 0; /* begin anew, and forget what an earlier call has seen */
    while ((which = getopt_long(argc, argv, ":", table, NULL)) != -1) {
        if (which == '?')
            return err_set(err, KV_EINVAL, "%s: no such option", argv[optind - 1]);
        if (which == ':')
            return err_set(err, KV_EINVAL, "%s wants a value", argv[optind - 1]);
        if (rows[which - 256].kind == HELP)
            return OPTIONS_HELP;
    }
    if (optind != argc - 1)
        return err_set(err, KV_EINVAL, "name one workload, %s",
                       optind == argc ? "none is given" : "not several");
    out->workload = workload_find(argv[optind]);
    if (out->workload == NULL)
        return err_set(err, KV_EINVAL, "%s: no such workload", argv[optind]);
    return OPTIONS_OK;
}

int options_parse(int argc, char **argv, struct bench_options *out, struct err *err)
{
    struct option table[ARRAY_LEN(rows) + 1];
    int which, rc;

    *out = (struct bench_options){.side = {.endpoints = {"127.0.0.1:2379"}, .endpoint_count = 1},
                                  .rounds = 3,
                                  .seconds = 5,
                                  .warmup_s = 1,
                                  .connections = 8,
                                  .keys = 10000,
                                  .key_size = 8,
                                  .value_size = 256,
                                  .window = 16 << 20,
                                  .seed = 1};
    long_options(table);
    opterr = 0;
    rc = find_workload(argc, argv, table, out, err);
    if (rc != OPTIONS_OK)
        return rc;
    out->workload->defaults(out);
    optind = 0;
    while (rc == 0 && (which = getopt_long(argc, argv, ":", table, NULL)) != -1)
        rc = set_option(&rows[which - 256], optarg, out, err);
    return rc != 0 ? rc : check_together(out, err);
}

void options_help(FILE *out)
{
    fputs(
        "kvbench WORKLOAD [options]\n\n"
        "Loads an etcd v3 server (kvd, etcd) and prints requests/s, latency percentiles and, with\n"
        "--pids, the server's CPU time per request. Every answer is checked.\n"
        "Exit code: 0 good; 1 errors, or no result at all; 2 bad parameters; 3 a partial "
        "result.\n\n"
        "Workloads, and the options that each takes beside the common ones:\n",
        out);
    for (const struct workload *const *w = workloads; *w != NULL; w++)
        fprintf(out, "  %-18s %s\n  %-18s   %s\n", (*w)->name, (*w)->help, "", (*w)->takes);
    fputs("\nOptions (the workload's default where none is named):\n", out);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char left[40];

        (void)snprintf(left, sizeof left, "--%s %s", rows[i].name,
                       rows[i].value != NULL ? rows[i].value : "");
        fprintf(out, strlen(left) > 18 ? "  %s\n  %18s %s\n" : "  %-18s%s %s\n", left, "",
                rows[i].help);
    }
}
