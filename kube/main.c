/* kvapi: a Kubernetes-style API server as a process. */
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "base/version.h"
#include "client/kv.h"
#include "kube/dev.h"
#include "kube/flags.h"
#include "kube/rest/api.h"

enum { EXIT_STARTUP = 1, EXIT_FLAGS = 2, STOP_MAX_MS = 5000, LOG_REQUESTS = 3 };

struct process {
    struct flags flags;
    struct dev dev; /* of --dev */
    uv_loop_t loop;
    uv_signal_t signals[3]; /* SIGINT, SIGTERM, SIGCHLD */
    uv_prepare_t flush;
    uv_timer_t last_wait;
    struct net_tls *tls;
    struct kv_client *client;
    struct kube_store *store;
    struct kube_auth *auth;
    struct kube_discovery *discovery;
    struct kube_api *api;
    struct net_server *server;
    char address[300]; /* "127.0.0.1:6443" */
    bool stopping;
    uint64_t stop_by_ms; /* then requests under way are cut off */
    int code;
};

/* ---- the log: a line per event, on stderr ---- */

static void say(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void say(const char *fmt, ...)
{
    struct timespec now;
    struct tm parts;
    char when[40];
    va_list args;

    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
    (void)gmtime_r(&now.tv_sec, &parts);
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &parts);
    fprintf(stderr, "%s.%03ldZ ", when, now.tv_nsec / 1000000);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

static void on_request_end(void *ctx, struct http_request *request, const char *user, int code,
                           uint64_t duration_us)
{
    const struct process *process = ctx;

    if (process->flags.verbosity >= LOG_REQUESTS)
        say("%s %s%s%s %d %llu us, %s from %s", http_method(request), http_path(request),
            http_query(request)[0] != '\0' ? "?" : "", http_query(request), code,
            (unsigned long long)duration_us, user, http_peer(request));
}

/* ---- making the parts ---- */

/* As in server/main.c: memory of large buffers goes back to the kernel when they are freed. */
static void tune_malloc(void)
{
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 4 << 20);
}

static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* fewer watches fit then */
}

static int prepare_dev(struct process *process, struct err *err)
{
    struct flags *flags = &process->flags;
    int rc;

    if (flags->dev == NULL)
        return 0;
    rc = dev_open(flags->dev, flags->advertise_address, &process->dev, err);
    if (rc != 0)
        return rc;
    if (flags->tls_cert_file == NULL) {
        flags->tls_cert_file = process->dev.cert;
        flags->tls_private_key_file = process->dev.key;
    }
    if (flags->client_ca_file == NULL)
        flags->client_ca_file = process->dev.ca;
    if (flags->token_auth_file == NULL)
        flags->token_auth_file = process->dev.tokens;
    if (flags->bind_address == NULL)
        flags->bind_address = "127.0.0.1";
    if (flags->etcd_servers != NULL)
        return 0;
    flags->etcd_servers = process->dev.kvd_url;
    return dev_start_kvd(&process->dev, err);
}

/* Splits in place; returns how many. */
static size_t split_servers(char *text, const char *out[FLAGS_SERVERS_MAX])
{
    char *rest = NULL;
    size_t count = 0;

    for (char *one = strtok_r(text, ", ", &rest); one != NULL && count < FLAGS_SERVERS_MAX;
         one = strtok_r(NULL, ", ", &rest))
        out[count++] = one;
    return count;
}

static int open_store(struct process *process, struct err *err)
{
    const struct flags *flags = &process->flags;
    const struct net_tls_options tls = {.cert_file = flags->etcd_certfile,
                                        .key_file = flags->etcd_keyfile,
                                        .ca_file = flags->etcd_cafile};
    struct kv_options options = {.call_timeout_ms = (uint64_t)flags->request_timeout_s * 1000,
                                 .keepalive_interval_ms = 10000,
                                 .request_size_max = 8 << 20};
    struct kube_store_options store = {.loop = &process->loop,
                                       .prefix = flags->etcd_prefix,
                                       .timeout_ms = (uint64_t)flags->request_timeout_s * 1000,
                                       .event_ttl_s = (uint64_t)flags->event_ttl_s,
                                       .compact_every_ms =
                                           (uint64_t)flags->compaction_interval_s * 1000};
    const char *servers[FLAGS_SERVERS_MAX];
    char *text = xstrdup(flags->etcd_servers);
    int rc;

    if (flags->etcd_cafile != NULL || flags->etcd_certfile != NULL)
        options.tls = &tls; /* else those of the system, which cost memory, only if asked for */
    options.endpoints = servers;
    options.endpoints_len = split_servers(text, servers);
    rc = options.endpoints_len == 0
             ? err_set(err, KV_EINVAL, "--etcd-servers names no server")
             : kv_client_open(&process->loop, &options, &process->client, err);
    free(text);
    if (rc != 0)
        return rc;
    store.client = process->client;
    return kube_store_new(&store, &process->store, err);
}

static const char *tls_version(const char *text)
{
    if (text == NULL)
        return NULL;
    if (strcmp(text, "VersionTLS12") == 0)
        return "TLS1.2";
    return strcmp(text, "VersionTLS13") == 0 ? "TLS1.3" : text;
}

static int open_tls(struct process *process, struct err *err)
{
    const struct flags *flags = &process->flags;
    struct net_tls_options options = {.cert_file = flags->tls_cert_file,
                                      .key_file = flags->tls_private_key_file,
                                      .ca_file = flags->client_ca_file,
                                      .version_min = tls_version(flags->tls_min_version),
                                      .cipher_suites = flags->tls_cipher_suites,
                                      .alpn = NET_TLS_H2_AND_HTTP1};

    if (flags->tls_cert_file == NULL)
        return 0;
    if (flags->client_ca_file != NULL)
        options.flags = NET_TLS_ASK_CERT;
    return net_tls_new(&options, &process->tls, err);
}

static int listen_at(struct process *process, const char *host, int64_t port, struct net_tls *tls,
                     struct err *err)
{
    struct net_addr addr = {.tls = tls != NULL, .port = (uint16_t)port};

    (void)snprintf(addr.host, sizeof addr.host, "%s", host);
    return net_server_listen(process->server, &addr, tls, err);
}

static int open_server(struct process *process, struct err *err)
{
    static const char *const no_origins[] = {NULL};
    const struct flags *flags = &process->flags;
    const char *host = flags->bind_address != NULL ? flags->bind_address : "0.0.0.0";
    const char *shown = flags->advertise_address != NULL ? flags->advertise_address
                        : strcmp(host, "0.0.0.0") == 0   ? "127.0.0.1"
                                                         : host;
    struct net_server_options options = {.loop = &process->loop,
                                         .ctx = process->api,
                                         .on_http = kube_api_on_http,
                                         .on_http_cancel = kube_api_on_cancel,
                                         .http_body_size_max = KUBE_BODY_MAX,
                                         .concurrent_streams_max = (uint32_t)flags->max_streams,
                                         .preface_timeout_ms = 30000,
                                         .ping_min_interval_ms = 1000,
                                         .cors_origins = no_origins,
                                         .http_over_h2 = true,
                                         .no_grpc = true,
                                         .too_large_type = "application/json",
                                         .too_large_body = kube_api_too_large};
    int rc = net_server_new(&options, &process->server, err);

    if (rc == 0 && process->tls != NULL)
        rc = listen_at(process, host, flags->secure_port < 0 ? 6443 : flags->secure_port,
                       process->tls, err);
    if (rc == 0 && flags->insecure_port > 0)
        rc = listen_at(process, flags->insecure_bind_address, flags->insecure_port, NULL, err);
    if (rc == 0)
        (void)snprintf(process->address, sizeof process->address, "%s:%u", shown,
                       net_server_port(process->server, 0));
    return rc;
}

/* Code and constants that only the start needed (most of OpenSSL) stop counting as ours; what is
 * used again comes back from the page cache. Segments that may be written are left alone. */
static int give_back_segments(struct dl_phdr_info *object, size_t size, void *unused)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    (void)size;
    (void)unused;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t from = object->dlpi_addr + segment->p_vaddr;
        uintptr_t to = from + segment->p_filesz;

        from = (from + page - 1) & ~(page - 1);
        to &= ~(page - 1);
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) == 0 && to > from)
            (void)madvise((void *)from, to - from, MADV_DONTNEED); /* then they just stay */
    }
    return 0;
}

static void on_ready(void *ctx)
{
    const struct process *process = ctx;

    (void)dl_iterate_phdr(give_back_segments, NULL);
    (void)malloc_trim(0);
    say("ready at %s", process->address);
    if (process->flags.dev == NULL)
        return;
    printf("kvapi is ready. Try it:\n\n  kubectl --kubeconfig %s get namespaces\n\n",
           process->dev.kubeconfig);
    (void)fflush(stdout); /* who reads this may be a pipe */
}

/* The first part of the way in that fails ends the start. */
static int open_api(struct process *process, struct err *err)
{
    const struct flags *flags = &process->flags;
    const struct kube_auth_options auth = {
        .token_file = flags->token_auth_file,
        .always_allow = strcmp(flags->authorization_mode, "AlwaysAllow") == 0,
        .no_anonymous = !flags->anonymous_auth};
    struct kube_api_options options = {.loop = &process->loop,
                                       .store = process->store,
                                       .prefix = flags->etcd_prefix,
                                       .version = KVD_VERSION,
                                       .trust_plain = flags->insecure_port > 0,
                                       .on_ready = on_ready,
                                       .on_end = on_request_end,
                                       .ctx = process};
    int rc = kube_auth_new(&auth, &process->auth, err);

    if (rc != 0)
        return rc;
    options.auth = process->auth;
    process->api = kube_api_new(&options);
    rc = open_server(process, err);
    if (rc != 0)
        return rc;
    process->discovery = kube_discovery_new(process->address);
    kube_api_set_discovery(process->api, process->discovery);
    return 0;
}

/* ---- the end ---- */

static void on_client_closed(void *ctx)
{
    struct process *process = ctx;

    process->client = NULL;
    for (size_t i = 0; i < ARRAY_LEN(process->signals); i++)
        uv_close((uv_handle_t *)&process->signals[i], NULL);
    uv_close((uv_handle_t *)&process->flush, NULL);
    uv_close((uv_handle_t *)&process->last_wait, NULL);
}

static void on_server_closed(void *ctx)
{
    struct process *process = ctx;

    process->server = NULL;
    kube_api_free(process->api);
    kube_store_free(process->store);
    process->store = NULL;
    if (process->client != NULL)
        kv_client_close(process->client, on_client_closed, process);
    else
        on_client_closed(process);
}

static void close_server(struct process *process)
{
    if (process->server != NULL)
        net_server_close(process->server, on_server_closed, process);
    else
        on_server_closed(process);
}

static void on_last_wait(uv_timer_t *timer)
{
    struct process *process = timer->data;

    if (net_server_calls(process->server) == 0 || uv_now(&process->loop) >= process->stop_by_ms)
        close_server(process);
    else
        (void)uv_timer_start(timer, on_last_wait, 10, 0); /* initialised */
}

static void stop(struct process *process)
{
    if (process->stopping)
        return;
    process->stopping = true;
    if (process->server == NULL) {
        close_server(process);
        return;
    }
    kube_api_stop(process->api);
    net_server_drain(process->server);
    process->stop_by_ms = uv_now(&process->loop) + STOP_MAX_MS;
    (void)uv_timer_start(&process->last_wait, on_last_wait, 10, 0); /* initialised */
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct process *process = handle->loop->data;

    if (number == SIGCHLD) {
        int status;

        if (process->dev.kvd == 0 ||
            waitpid(process->dev.kvd, &status, WNOHANG) != process->dev.kvd)
            return;
        process->dev.kvd = 0;
        if (process->stopping)
            return;
        say("kvd has ended; its log is %s/kvd.log", process->dev.dir);
        process->code = EXIT_STARTUP;
        stop(process);
        return;
    }
    if (process->stopping)
        _exit(128 + number); /* as a shell names a death by signal */
    say("%s: stopping", strsignal(number));
    stop(process);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct process *process = handle->data;

    if (process->server != NULL)
        net_server_flush(process->server);
}

static void open_handles(struct process *process)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGCHLD};
    int rc = uv_loop_init(&process->loop);

    ASSERT(rc == 0);
    process->loop.data = process;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        rc = uv_signal_init(&process->loop, &process->signals[i]);
        ASSERT(rc == 0);
        rc = uv_signal_start(&process->signals[i], on_signal, numbers[i]);
        ASSERT(rc == 0);
    }
    (void)uv_prepare_init(&process->loop, &process->flush); /* these cannot fail */
    process->flush.data = process;
    (void)uv_prepare_start(&process->flush, on_prepare);
    (void)uv_timer_init(&process->loop, &process->last_wait);
    process->last_wait.data = process;
}

static void start(struct process *process)
{
    struct err err = ERR_INIT;
    char *url;
    int rc = prepare_dev(process, &err);

    if (rc == 0)
        rc = open_store(process, &err);
    if (rc == 0)
        rc = open_tls(process, &err);
    if (rc == 0)
        rc = open_api(process, &err);
    if (rc == 0 && process->flags.dev != NULL) {
        url = xasprintf("https://%s", process->address);
        rc = dev_write_kubeconfig(&process->dev, url, &err);
        free(url);
    }
    if (rc != 0) {
        say("cannot start: %s", err.text);
        process->code = EXIT_STARTUP;
        process->stopping = true;
        close_server(process);
        return;
    }
    say("kvapi %s serves %s from %s", KVD_VERSION, process->address, process->flags.etcd_servers);
    kube_api_start(process->api);
}

static void release(struct process *process)
{
    net_tls_unref(process->tls);
    kube_auth_free(process->auth);
    kube_discovery_free(process->discovery);
    dev_stop_kvd(&process->dev);
    if (process->dev.kvd > 0)
        (void)waitpid(process->dev.kvd, NULL, 0); /* it stops in order, and at once */
    dev_release(&process->dev);
}

int main(int argc, char **argv)
{
    struct process process = {.code = EXIT_SUCCESS};
    struct err err = ERR_INIT;
    int rc;

    tune_malloc();
    (void)signal(SIGPIPE, SIG_IGN); /* a client that has gone shows as EPIPE at its socket */
    switch (flags_parse(argc, argv, &process.flags, &err)) {
    case FLAGS_RUN:
        break;
    case FLAGS_EXIT_OK:
        return EXIT_SUCCESS;
    case FLAGS_EXIT_BAD:
        fprintf(stderr, "%s\nSee 'kvapi --help'.\n", err.text);
        return EXIT_FLAGS;
    }
    raise_file_limit();
    open_handles(&process);
    start(&process);
    (void)uv_run(&process.loop, UV_RUN_DEFAULT); /* until everything is closed */
    rc = uv_loop_close(&process.loop);
    ASSERT(rc == 0);
    release(&process);
    return process.code;
}
