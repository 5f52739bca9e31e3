/* kubeload: a load generator for any Kubernetes API server. One thread; prints one line of JSON.
 *
 *   kubeload fill|get|get-cached|create|list|watch --server HOST:PORT [--ca F --cert F --key F]
 *
 * Objects are ConfigMaps of one namespace; fill makes those that get and list read. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/prng.h"
#include "base/util.h"
#include "bench/histogram.h"
#include "bench/kubeload/conn.h"
#include "bench/process.h"

enum { BODY_SPACE = 128, PATH_SIZE = 256, WATCH_ROUNDS = 5, QUIET_MS = 30000 };

#define COLLECTION "/api/v1/namespaces/%s/configmaps"

struct load {
    const char *mode, *ns;
    struct loop_options to;
    uint64_t conns, clients, objects, size, watchers, seed;
    double seconds;
    int pid;

    struct loop *loop;
    struct conn **open;
    struct prng prng;
    struct histogram latency;
    uint64_t next, done, errors, bytes, under_way;
    bool stopping;
    char first_error[512];
};

struct client {
    struct request request;
    struct load *load;
    struct conn *conn;
    char path[PATH_SIZE];
    char *body;
    char error[256]; /* the beginning of the answer */
    size_t error_len;
};

static bool is(const struct load *load, const char *mode)
{
    return strcmp(load->mode, mode) == 0;
}

/* ---- closed loop ---- */

static void write_body(struct client *client, const char *prefix, uint64_t number)
{
    const struct load *load = client->load;
    int head = snprintf(client->body, BODY_SPACE,
                        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
                        "\"%s-%07llu\"},\"data\":{\"value\":\"",
                        prefix, (unsigned long long)number);

    memset(client->body + head, 'x', load->size);
    memcpy(client->body + (size_t)head + load->size, "\"}}", 3);
    client->request.body = slice_of(client->body, (size_t)head + load->size + 3);
}

static void send_next(struct client *client)
{
    struct load *load = client->load;
    struct request *request = &client->request;
    char *path = client->path;

    request->method = "GET";
    client->error_len = 0;
    if (is(load, "fill") || is(load, "create")) {
        char prefix[48];

        (void)snprintf(prefix, sizeof(prefix), "new%llx", (unsigned long long)load->seed);
        request->method = "POST";
        (void)snprintf(path, PATH_SIZE, COLLECTION, load->ns);
        write_body(client, is(load, "fill") ? "load" : prefix, load->next++);
    } else if (is(load, "list")) {
        (void)snprintf(path, PATH_SIZE, COLLECTION, load->ns);
    } else {
        (void)snprintf(path, PATH_SIZE, COLLECTION "/load-%07llu%s", load->ns,
                       (unsigned long long)prng_between(&load->prng, 0, load->objects - 1),
                       is(load, "get-cached") ? "?resourceVersion=0" : "");
    }
    request->path = path;
    load->under_way++;
    conn_send(client->conn, request);
}

static void note_error(struct load *load, int status, const char *text, size_t len)
{
    if (load->errors++ == 0)
        (void)snprintf(load->first_error, sizeof(load->first_error), "%d %.*s", status, (int)len,
                       text);
}

static void keep_error(struct request *request, struct slice data)
{
    struct client *client = CONTAINER_OF(request, struct client, request);
    size_t len = MIN(data.len, sizeof(client->error) - client->error_len);

    if (request->status < 300)
        return;
    memcpy(client->error + client->error_len, data.data, len);
    client->error_len += len;
}

static bool more_to_do(const struct load *load)
{
    return !load->stopping && (!is(load, "fill") || load->next < load->objects);
}

static void on_done(struct request *request)
{
    struct client *client = CONTAINER_OF(request, struct client, request);
    struct load *load = client->load;
    int want = request->method[0] == 'P' ? 201 : 200;

    load->under_way--;
    load->done++;
    load->bytes += request->bytes;
    histogram_add(&load->latency, (now_ns() - request->began_ns) / 1000);
    if (request->status != want)
        note_error(load, request->status, client->error, client->error_len);
    if (more_to_do(load))
        send_next(client);
}

static int run_closed(struct load *load, struct err *err)
{
    struct client *clients = xcalloc(load->clients, sizeof(*clients));
    uint64_t began = now_ns();
    double own_cpu_s = process_own_cpu_s();
    double seconds = 0;
    int rc = 0;

    for (uint64_t i = 0; i < load->clients && more_to_do(load); i++) {
        clients[i] = (struct client){.load = load, .conn = load->open[i % load->conns]};
        clients[i].request.on_data = keep_error;
        clients[i].request.done = on_done;
        clients[i].body = xmalloc(BODY_SPACE + load->size + 4);
        send_next(&clients[i]);
    }
    while (rc == 0 && load->under_way > 0) {
        if (!loop_turn(load->loop, QUIET_MS, err))
            rc = KV_ECONN;
        seconds = (double)(now_ns() - began) / 1e9;
        load->stopping = !is(load, "fill") && seconds >= load->seconds;
    }
    printf("{\"mode\":\"%s\",\"requests\":%llu,\"errors\":%llu,\"seconds\":%.3f,\"req_s\":%.1f,"
           "\"mb_s\":%.1f,\"p50_us\":%llu,\"p99_us\":%llu,\"max_us\":%llu,\"own_cpu_us\":%.2f}\n",
           load->mode, (unsigned long long)load->done, (unsigned long long)load->errors, seconds,
           (double)load->done / seconds, (double)load->bytes / 1e6 / seconds,
           (unsigned long long)histogram_at(&load->latency, 0.5),
           (unsigned long long)histogram_at(&load->latency, 0.99),
           (unsigned long long)load->latency.max_us,
           (process_own_cpu_s() - own_cpu_s) * 1e6 / (double)MAX(load->done, 1));
    for (uint64_t i = 0; i < load->clients; i++)
        free(clients[i].body);
    free(clients);
    return rc;
}

/* ---- watches ---- */

struct watcher {
    struct request request;
    struct watches *watches;
    uint64_t round; /* of the last event it has seen */
};

struct watches {
    struct load *load;
    struct watcher *all;
    uint64_t opened; /* have been answered */
    uint64_t round, reached;
    char path[PATH_SIZE];
};

/* An event is one line and comes in few pieces: the first one counts. */
static void on_event(struct request *request, struct slice data)
{
    struct watcher *watcher = CONTAINER_OF(request, struct watcher, request);
    struct watches *watches = watcher->watches;

    (void)data;
    if (watcher->round == watches->round)
        return;
    watcher->round = watches->round;
    watches->reached++;
}

static void on_watch_end(struct request *request)
{
    note_error(CONTAINER_OF(request, struct watcher, request)->watches->load, request->status,
               "a watch has ended", 17);
}

/* Answers go through a client of their own, one at a time. */
static int ask(struct load *load, struct client *client, struct err *err)
{
    load->stopping = true; /* on_done() sends nothing after it */
    load->under_way++;
    conn_send(client->conn, &client->request);
    while (load->under_way > 0) {
        if (!loop_turn(load->loop, QUIET_MS, err))
            return KV_ECONN;
    }
    return 0;
}

static void keep_start(struct request *request, struct slice data)
{
    struct client *client = CONTAINER_OF(request, struct client, request);
    size_t len = MIN(data.len, sizeof(client->error) - 1 - client->error_len);

    memcpy(client->error + client->error_len, data.data, len);
    client->error_len += len;
    client->error[client->error_len] = '\0';
}

/* Opens them all at the newest revision, so that they have nothing to show at first. */
static int open_watches(struct watches *watches, struct client *client, struct err *err)
{
    struct load *load = watches->load;
    const char *revision;
    uint64_t answered;

    (void)snprintf(client->path, PATH_SIZE, COLLECTION "?limit=1", load->ns);
    client->request.method = "GET";
    client->request.path = client->path;
    client->request.on_data = keep_start;
    if (ask(load, client, err) != 0)
        return KV_ECONN;
    revision = strstr(client->error, "\"resourceVersion\":\"");
    if (revision == NULL)
        return err_set(err, KV_EPROTO, "the list has no resourceVersion: %s", client->error);
    (void)snprintf(watches->path, PATH_SIZE,
                   COLLECTION "?watch=true&timeoutSeconds=600&resourceVersion=%llu", load->ns,
                   strtoull(revision + 19, NULL, 10));
    for (uint64_t i = 0; i < load->watchers; i++) {
        watches->all[i] = (struct watcher){.watches = watches};
        watches->all[i].request = (struct request){
            .method = "GET", .path = watches->path, .on_data = on_event, .done = on_watch_end};
        conn_send(load->open[i % load->conns], &watches->all[i].request);
    }
    do {
        if (!loop_turn(load->loop, QUIET_MS, err))
            return KV_ECONN;
        answered = 0;
        for (uint64_t i = 0; i < load->watchers; i++)
            answered += watches->all[i].request.status == 200;
    } while (answered < load->watchers && load->errors == 0);
    return load->errors == 0 ? 0 : err_set(err, KV_EPROTO, "%s", load->first_error);
}

/* Milliseconds from the request that makes an object until all watchers have the event. */
static int one_round(struct watches *watches, struct client *client, double *ms, struct err *err)
{
    struct load *load = watches->load;
    uint64_t began = now_ns();

    watches->round++;
    watches->reached = 0;
    write_body(client, "event", load->seed % 100000 * 10 + watches->round);
    client->request.method = "POST";
    (void)snprintf(client->path, PATH_SIZE, COLLECTION, load->ns);
    load->under_way++;
    conn_send(client->conn, &client->request);
    while (watches->reached < load->watchers || load->under_way > 0) {
        if (!loop_turn(load->loop, QUIET_MS, err))
            return KV_ECONN;
        if (load->errors != 0)
            return err_set(err, KV_EPROTO, "%s", load->first_error);
        if ((double)(now_ns() - began) / 1e6 > QUIET_MS)
            return err_set(err, KV_ETIMEDOUT, "%llu of %llu watchers have the event",
                           (unsigned long long)watches->reached,
                           (unsigned long long)load->watchers);
    }
    *ms = (double)(now_ns() - began) / 1e6;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return left < right ? -1 : left > right;
}

static int run_watches(struct load *load, struct err *err)
{
    struct watches watches = {.load = load};
    struct client client = {.load = load};
    struct process_sample before = process_sample(&load->pid, load->pid != 0);
    struct process_sample after;
    double ms[WATCH_ROUNDS] = {0};
    uint64_t began = now_ns();
    double open_s;
    int rc = loop_connect(load->loop, &client.conn, err);

    watches.all = xcalloc(load->watchers, sizeof(*watches.all));
    client.body = xmalloc(BODY_SPACE + load->size + 4);
    client.request.done = on_done;
    if (rc == 0)
        rc = open_watches(&watches, &client, err);
    client.request.on_data = keep_error;
    open_s = (double)(now_ns() - began) / 1e9;
    for (int i = 0; rc == 0 && i < WATCH_ROUNDS; i++)
        rc = one_round(&watches, &client, &ms[i], err);
    after = process_sample(&load->pid, load->pid != 0);
    qsort(ms, WATCH_ROUNDS, sizeof(ms[0]), by_number);
    if (rc == 0)
        printf("{\"mode\":\"watch\",\"watchers\":%llu,\"connections\":%llu,\"errors\":0,"
               "\"open_s\":%.3f,\"event_ms\":%.1f,\"event_max_ms\":%.1f,\"added_mib\":%.1f,"
               "\"rss_mib\":%.1f}\n",
               (unsigned long long)load->watchers, (unsigned long long)load->conns, open_s,
               ms[WATCH_ROUNDS / 2], ms[WATCH_ROUNDS - 1],
               ((double)after.rss_bytes - (double)before.rss_bytes) / 1048576,
               (double)after.rss_bytes / 1048576);
    free(client.body);
    loop_free(load->loop); /* before the requests that it still knows */
    load->loop = NULL;
    free(watches.all);
    return rc;
}

/* ---- command line ---- */

static const struct option long_options[] = {
    {"server", 1, NULL, 's'},  {"ca", 1, NULL, 'a'},       {"cert", 1, NULL, 'c'},
    {"key", 1, NULL, 'k'},     {"conns", 1, NULL, 'n'},    {"clients", 1, NULL, 'i'},
    {"objects", 1, NULL, 'o'}, {"size", 1, NULL, 'z'},     {"seconds", 1, NULL, 't'},
    {"pid", 1, NULL, 'p'},     {"watchers", 1, NULL, 'w'}, {"namespace", 1, NULL, 'N'},
    {"seed", 1, NULL, 'e'},    {NULL, 0, NULL, 0},
};

static int usage(void)
{
    fprintf(stderr,
            "kubeload fill|get|get-cached|create|list|watch --server HOST:PORT\n"
            "  --ca FILE --cert FILE --key FILE   TLS and who we are; without --ca: plain HTTP/2\n"
            "  --conns 4 --clients 32             connections, requests in flight\n"
            "  --objects 4000 --size 1024         ConfigMaps that fill makes, bytes in each\n"
            "  --seconds 3 --watchers 10000 --pid PID --namespace default --seed N\n");
    return 2;
}

static bool take_option(struct load *load, int option, char *value)
{
    char *colon;

    switch (option) {
    case 's':
        colon = strrchr(value, ':');
        if (colon == NULL)
            return false;
        *colon = '\0';
        load->to.host = value;
        load->to.port = colon + 1;
        return true;
    case 'a':
        load->to.ca = value;
        return true;
    case 'c':
        load->to.cert = value;
        return true;
    case 'k':
        load->to.key = value;
        return true;
    case 'n':
        load->conns = strtoull(value, NULL, 10);
        return load->conns > 0;
    case 'i':
        load->clients = strtoull(value, NULL, 10);
        return load->clients > 0;
    case 'o':
        load->objects = strtoull(value, NULL, 10);
        return load->objects > 0;
    case 'z':
        load->size = strtoull(value, NULL, 10);
        return load->size <= 1 << 20;
    case 't':
        load->seconds = strtod(value, NULL);
        return true;
    case 'p':
        load->pid = atoi(value);
        return true;
    case 'w':
        load->watchers = strtoull(value, NULL, 10);
        return load->watchers > 0;
    case 'N':
        load->ns = value;
        return true;
    case 'e':
        load->seed = strtoull(value, NULL, 10);
        return true;
    default:
        return false;
    }
}

static bool known_mode(const char *mode)
{
    static const char *const modes[] = {"fill", "get", "get-cached", "create", "list", "watch"};

    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (strcmp(modes[i], mode) == 0)
            return true;
    }
    return false;
}

static int run(struct load *load, struct err *err)
{
    int rc = loop_new(&load->to, &load->loop, err);

    load->open = xcalloc(load->conns, sizeof(struct conn *));
    for (uint64_t i = 0; rc == 0 && i < load->conns; i++)
        rc = loop_connect(load->loop, &load->open[i], err);
    if (rc == 0)
        rc = is(load, "watch") ? run_watches(load, err) : run_closed(load, err);
    free(load->open);
    loop_free(load->loop);
    return rc;
}

int main(int argc, char **argv)
{
    static struct load load = {.ns = "default",
                               .conns = 4,
                               .clients = 32,
                               .objects = 4000,
                               .size = 1024,
                               .watchers = 10000,
                               .seconds = 3};
    struct rlimit files;
    struct err err = ERR_INIT;
    int option;
    int rc;

    load.seed = now_ns();
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (!take_option(&load, option, optarg))
            return usage();
    }
    if (optind + 1 != argc || load.to.host == NULL || !known_mode(argv[optind]))
        return usage();
    load.mode = argv[optind];
    prng_seed(&load.prng, load.seed);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    rc = run(&load, &err);
    if (rc != 0)
        fprintf(stderr, "kubeload: %s\n", err.text);
    if (load.errors != 0)
        fprintf(stderr, "kubeload: %llu errors, the first: %s\n", (unsigned long long)load.errors,
                load.first_error);
    return rc == 0 && load.errors == 0 ? 0 : 1;
}
