/* The closed loop: each client sends its next request when its last one is answered. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "net/client.h"

struct load;

struct client {
    struct load *load;
    struct grpc_conn *conn;
    enum bench_op op; /* of the request under way */
    uint64_t began_ns;
    uint64_t fill_key;
    bool answered;
};

enum phase { PHASE_FILL, PHASE_WARMUP, PHASE_MEASURE, PHASE_END };

struct load {
    const struct bench_options *options;
    struct bench_result *result;
    uv_loop_t loop;
    uv_timer_t timer;
    struct grpc_conn **conns;
    struct client *clients;
    struct prng prng;
    enum phase phase;
    uint64_t fill_next;
    unsigned active; /* clients with a request under way */
    uint64_t began_ns;
    double server_cpu, own_cpu;
    struct err *err;
};

static double own_cpu_seconds(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage); /* cannot fail for RUSAGE_SELF */
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* User + system time of a process in clock ticks of its stat file; 0 if it is gone. */
static double process_cpu_seconds(int pid)
{
    char path[64], text[1024];
    unsigned long user = 0, sys = 0;
    char *rest;
    size_t len;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    f = fopen(path, "r");
    if (f == NULL)
        return 0;
    len = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f); /* read only */
    text[len] = 0;
    rest = strrchr(text, ')');
    if (rest == NULL ||
        sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) != 2)
        return 0;
    return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

static uint64_t process_rss_bytes(int pid)
{
    unsigned long pages = 0;
    char path[64];
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/statm", pid);
    f = fopen(path, "r");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%*u %lu", &pages) != 1)
        pages = 0;
    (void)fclose(f); /* read only */
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double servers_cpu_seconds(const struct bench_options *options)
{
    double sum = 0;

    for (size_t i = 0; i < options->pid_count; i++)
        sum += process_cpu_seconds(options->pids[i]);
    return sum;
}

static void send_next(struct client *client);
static void begin_phase(struct load *load, enum phase phase);

static void count_error(struct load *load, const char *text)
{
    if (load->result->errors++ == 0)
        (void)snprintf(load->result->first_error, sizeof load->result->first_error, "%s", text);
}

static void on_message(void *ctx, struct slice message)
{
    struct client *client = ctx;

    client->answered = bench_check(client->op, message);
}

static void on_done(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent)
{
    struct client *client = ctx;
    struct load *load = client->load;
    uint64_t us = (uv_hrtime() - client->began_ns) / 1000;

    (void)sent;
    load->active--;
    if (status != GRPC_OK)
        count_error(load, message);
    else if (!client->answered)
        count_error(load, "the answer is not what the request asks for");
    if (load->phase == PHASE_MEASURE) {
        load->result->requests++;
        histogram_add(&load->result->latency, us);
    }
    send_next(client);
}

static const struct grpc_stream_events stream_events = {.on_message = on_message,
                                                        .on_done = on_done};

static void send_next(struct client *client)
{
    static struct bench_message message;
    struct load *load = client->load;
    const struct bench_options *options = load->options;
    struct grpc_stream *stream;
    uint64_t key;

    if (load->phase == PHASE_FILL && load->fill_next == options->keys) {
        if (load->active == 0)
            begin_phase(load, PHASE_WARMUP);
        return;
    }
    if (load->phase == PHASE_END) {
        if (load->active == 0)
            uv_stop(&load->loop);
        return;
    }
    if (load->phase == PHASE_FILL) {
        client->op = BENCH_PUT;
        key = load->fill_next++;
    } else {
        client->op = options->op;
        if (client->op == BENCH_MIXED && prng_chance(&load->prng, 200000))
            client->op = BENCH_PUT;
        key = prng_between(&load->prng, 0, options->keys - 1);
    }
    bench_encode(options, client->op, key, &load->prng, &message);
    client->answered = false;
    client->began_ns = uv_hrtime();
    if (grpc_conn_call(client->conn, message.path, NULL, 0, 30000, &stream_events, client, &stream,
                       load->err) != 0 ||
        grpc_stream_send(stream, slice_of(message.bytes, message.len), 1) != 0) {
        count_error(load, "connection lost");
        return;
    }
    load->active++;
}

static void on_timer(uv_timer_t *timer)
{
    struct load *load = timer->data;

    begin_phase(load, load->phase == PHASE_WARMUP ? PHASE_MEASURE : PHASE_END);
}

static void start_clients(struct load *load)
{
    for (unsigned i = 0; i < load->options->clients; i++)
        send_next(&load->clients[i]);
}

static void begin_phase(struct load *load, enum phase phase)
{
    const struct bench_options *options = load->options;
    struct bench_result *result = load->result;

    load->phase = phase;
    switch (phase) {
    case PHASE_FILL:
        start_clients(load);
        break;
    case PHASE_WARMUP:
        (void)uv_timer_start(&load->timer, on_timer, (uint64_t)(options->warmup_s * 1000), 0);
        start_clients(load);
        break;
    case PHASE_MEASURE:
        load->began_ns = uv_hrtime();
        load->server_cpu = servers_cpu_seconds(options);
        load->own_cpu = own_cpu_seconds();
        (void)uv_timer_start(&load->timer, on_timer, (uint64_t)(options->seconds * 1000), 0);
        break;
    case PHASE_END:
        result->seconds = (double)(uv_hrtime() - load->began_ns) / 1e9;
        result->server_cpu_s = servers_cpu_seconds(options) - load->server_cpu;
        result->own_cpu_s = own_cpu_seconds() - load->own_cpu;
        for (size_t i = 0; i < options->pid_count; i++)
            result->server_rss_bytes += process_rss_bytes(options->pids[i]);
        if (load->active == 0)
            uv_stop(&load->loop);
        break;
    }
}

static void on_ready(void *ctx)
{
    (void)ctx;
}

static void on_down(void *ctx, const struct err *err)
{
    struct load *load = ctx;

    count_error(load, err->text);
    if (load->err != NULL && load->err->code == 0)
        *load->err = *err;
    /* Its clients have nothing to send on: end with what was measured, marked by the error. */
    if (load->phase == PHASE_MEASURE)
        begin_phase(load, PHASE_END);
    uv_stop(&load->loop);
}

static int connect_all(struct load *load)
{
    static const struct grpc_conn_events events = {.on_ready = on_ready, .on_down = on_down};
    const struct bench_options *options = load->options;
    const struct grpc_conn_options defaults = {0};

    for (unsigned i = 0; i < options->connections; i++) {
        struct net_addr addr;
        int rc = net_addr_parse(options->endpoints[i % options->endpoint_count], &addr, load->err);

        if (rc == 0)
            rc = grpc_conn_new(&load->loop, &addr, &defaults, &events, load, &load->conns[i],
                               load->err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int bench_run(const struct bench_options *options, struct bench_result *out, struct err *err)
{
    struct load load = {.options = options, .result = out, .err = err};
    int rc;

    *out = (struct bench_result){0};
    prng_seed(&load.prng, options->seed);
    (void)uv_loop_init(&load.loop);
    (void)uv_timer_init(&load.loop, &load.timer);
    load.timer.data = &load;
    load.conns = xcalloc(options->connections, sizeof *load.conns);
    load.clients = xcalloc(options->clients, sizeof *load.clients);
    rc = connect_all(&load);
    if (rc != 0)
        goto out;
    for (unsigned i = 0; i < options->clients; i++)
        load.clients[i] =
            (struct client){.load = &load, .conn = load.conns[i % options->connections]};
    begin_phase(&load, options->fill ? PHASE_FILL : PHASE_WARMUP);
    (void)uv_run(&load.loop, UV_RUN_DEFAULT); /* ends by uv_stop() */
    rc = load.phase == PHASE_END ? 0 : KV_ECONN;
out:
    for (unsigned i = 0; i < options->connections; i++) {
        if (load.conns[i] != NULL)
            grpc_conn_close(load.conns[i], NULL, NULL);
    }
    uv_close((uv_handle_t *)&load.timer, NULL);
    (void)uv_run(&load.loop, UV_RUN_DEFAULT); /* lets the close callbacks run */
    (void)uv_loop_close(&load.loop);
    free(load.conns);
    free(load.clients);
    return rc;
}
