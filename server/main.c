/* kvd: one member of a cluster as a process. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/version.h"
#include "server/config.h"
#include "server/heal.h"
#include "server/log.h"
#include "server/member.h"
#include "server/metrics.h"
#include "server/notify.h"
#include "server/services.h"

enum { EXIT_STARTUP = 1, EXIT_FLAGS = 2 };

extern char **environ;

struct process {
    struct config config;
    struct log *log;
    struct metrics metrics;
    struct member *member;
    uv_loop_t loop;
    uv_signal_t signals[2]; /* SIGINT, SIGTERM */
    bool stopping;
    bool again;        /* the member is to be started once more */
    struct err damage; /* of what it has stored: why it does not start */
    char **warnings;   /* of the configuration, until there is a log */
    size_t warning_count;
};

/* The loop's thread makes nearly all allocations; the log thread and libuv's pool make few and
 * small ones. glibc would give each of them an arena of its own that is never given back: two
 * arenas do, and an idle member stays under 10 MiB. With a fixed mmap threshold the memory of large
 * buffers (frames, lists, log batches) returns to the kernel when they are freed instead of staying
 * in the heap because glibc has raised the threshold to their size. */
static void tune_malloc(void)
{
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 4 << 20);
}

/* One descriptor per client: take all that we may have. */
static void raise_file_limit(struct log *log)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn(log, "cannot raise the limit of open files", LOG_STR("error", strerror(errno)));
}

/* ---- the configuration ---- */

static void keep_warning(void *ctx, const char *text)
{
    struct process *process = ctx;

    process->warnings =
        xrealloc(process->warnings, (process->warning_count + 1) * sizeof *process->warnings);
    process->warnings[process->warning_count++] = xstrdup(text);
}

static void log_warnings(struct process *process)
{
    for (size_t i = 0; i < process->warning_count; i++) {
        log_warn(process->log, process->warnings[i]);
        free(process->warnings[i]);
    }
    free(process->warnings);
    process->warnings = NULL;
    process->warning_count = 0;
}

/* Before there is a configuration: a line as the log would have it by default. */
static struct log *early_log(void)
{
    char *outputs[] = {(char[]){"stderr"}};
    struct config config = {
        .log_level = CONFIG_INFO,
        .log_console = isatty(STDERR_FILENO) != 0,
        .log_outputs = outputs,
        .log_outputs_len = 1,
    };
    struct log *log = NULL;

    (void)log_open(&config, &log,
                   NULL); /* stderr needs no opening; without a log nothing is said */
    return log;
}

static int explain(struct process *process, const char *msg, const struct err *err)
{
    bool early = process->log == NULL;

    if (early) {
        process->log = early_log();
        log_warnings(process);
    }
    log_error(process->log, msg, LOG_STR("error", err->text));
    if (early) {
        log_close(process->log);
        process->log = NULL;
    }
    return EXIT_STARTUP;
}

/* True: go on with the configuration. False: *code is what to exit with. */
static bool configure(struct process *process, int argc, char **argv, int *code)
{
    struct err err = ERR_INIT;

    *code = EXIT_SUCCESS;
    switch (config_parse(argc, argv, environ, &process->config, keep_warning, process, &err)) {
    case CONFIG_RUN:
        break;
    case CONFIG_EXIT_OK:
        return false;
    case CONFIG_EXIT_BAD:
        fprintf(stderr, "%s\nSee 'kvd --help'.\n", err.text);
        *code = EXIT_FLAGS;
        return false;
    case CONFIG_EXIT_INVALID:
        *code = explain(process, "failed to verify flags", &err);
        return false;
    }
    if (log_open(&process->config, &process->log, &err) != 0) {
        *code = explain(process, "cannot open the log", &err);
        return false;
    }
    log_warnings(process);
    return true;
}

/* "http://a:1,http://b:1"; the caller frees it. */
static char *join(const struct config_urls *urls)
{
    struct buf text;

    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < urls->len; i++)
        (void)buf_printf(&text, "%s%s", i != 0 ? "," : "", urls->text[i]);
    (void)buf_append_u8(&text, '\0'); /* argv is far smaller than the bound */
    return (char *)text.data;
}

static bool is_local(const struct net_addr *addr)
{
    return addr->is_unix || strcmp(addr->host, "localhost") == 0 ||
           strncmp(addr->host, "127.", 4) == 0 || strcmp(addr->host, "::1") == 0;
}

/* The first address where what clients send can be read on the way, and anybody be a client; NULL
 * if there is none. */
static const char *first_in_the_open(const struct config_urls *urls)
{
    for (size_t i = 0; i < urls->len; i++) {
        if (!urls->addr[i].tls && !is_local(&urls->addr[i]))
            return urls->text[i];
    }
    return NULL;
}

static void warn_of_plain_text(const struct process *process)
{
    const struct config *config = &process->config;
    const char *address = first_in_the_open(&config->listen_client);
    const char *flag = "--listen-client-urls";

    if (address == NULL) {
        address = first_in_the_open(&config->listen_client_http);
        flag = "--listen-client-http-urls";
    }
    if (address == NULL)
        return;
    log_warn(process->log,
             "SERVING CLIENTS IN PLAIN TEXT BEYOND THIS MACHINE: anybody who reaches this address "
             "can read and change everything; use https:// there, with --cert-file and --key-file, "
             "and let in only clients whose certificate --trusted-ca-file signed by "
             "--client-cert-auth",
             LOG_STR("flag", flag), LOG_STR("address", address));
}

static void log_start(const struct process *process)
{
    const struct config *config = &process->config;
    char *peers = join(&config->listen_peer);
    char *clients = join(&config->listen_client);

    log_info(process->log, "starting kvd", LOG_STR("kvd-version", KVD_VERSION),
             LOG_STR("etcd-version", ETCD_API_VERSION), LOG_STR("name", config->name),
             LOG_STR("data-dir", config->data_dir), LOG_STR("listen-peer-urls", peers),
             LOG_STR("listen-client-urls", clients),
             LOG_UINT("members", config->initial_cluster_len),
             LOG_UINT("heartbeat-interval-ms", config->heartbeat_ms),
             LOG_UINT("election-timeout-ms", config->election_ms), LOG_INT("pid", getpid()));
    warn_of_plain_text(process);
    free(peers);
    free(clients);
}

/* ---- the run ---- */

static void log_ready(const struct process *process, const struct config_urls *urls)
{
    for (size_t i = 0; i < urls->len; i++)
        log_info(process->log, "ready to serve client requests", LOG_STR("address", urls->text[i]));
}

static void on_ready(void *ctx)
{
    struct process *process = ctx;

    log_ready(process, &process->config.listen_client);
    log_ready(process, &process->config.listen_client_http);
    if (!process->stopping)
        notify_manager("READY=1");
}

/* What this process holds may be wrong from here on: nothing is tidied up, nothing more is written.
 */
static void on_fatal(void *ctx, const struct err *err)
{
    struct process *process = ctx;

    log_error(process->log, "the member cannot go on", LOG_STR("error", err->text));
    _exit(EXIT_STARTUP);
}

/* The last handles of the loop: it ends with them. */
static void on_stopped(void *ctx)
{
    struct process *process = ctx;

    process->member = NULL;
    for (size_t i = 0; i < ARRAY_LEN(process->signals); i++)
        uv_close((uv_handle_t *)&process->signals[i], NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct process *process = handle->data;

    if (process->again) {
        process->again = false; /* it is stopping already, and stays so */
        return;
    }
    if (process->stopping) {
        log_warn(process->log, "second signal: exiting at once", LOG_INT("signal", number));
        _exit(128 + number); /* as a shell names a death by signal */
    }
    process->stopping = true;
    log_info(process->log, "received signal; shutting down", LOG_STR("signal", strsignal(number)));
    notify_manager("STOPPING=1");
    member_stop(process->member, on_stopped, process);
}

static void on_removed(void *ctx)
{
    struct process *process = ctx;

    if (process->stopping)
        return;
    process->stopping = true;
    notify_manager("STOPPING=1");
    member_stop(process->member, on_stopped, process);
}

/* It gets the others' state when it starts again. */
static void on_quarantine(void *ctx)
{
    struct process *process = ctx;

    if (process->stopping)
        return;
    process->stopping = process->again = true;
    member_stop(process->member, on_stopped, process);
}

static void catch_signals(struct process *process)
{
    static const int numbers[] = {SIGINT, SIGTERM};

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        int rc = uv_signal_init(&process->loop, &process->signals[i]);

        ASSERT(rc == 0);
        process->signals[i].data = process;
        rc = uv_signal_start(&process->signals[i], on_signal, numbers[i]);
        ASSERT(rc == 0);
    }
}

static int run(struct process *process)
{
    struct member_options options = {
        .loop = &process->loop,
        .config = &process->config,
        .log = process->log,
        .metrics = &process->metrics,
        .on_fatal = on_fatal,
        .on_ready = on_ready,
        .on_removed = on_removed,
        .on_quarantine = on_quarantine,
        .ctx = process,
    };
    struct err err = ERR_INIT;
    int code = EXIT_SUCCESS;
    int rc;

    process->again = process->stopping = false;
    rc = uv_loop_init(&process->loop);
    ASSERT(rc == 0);
    log_start(process);
    catch_signals(process); /* one that comes during the start waits for the loop */
    if (member_start(&options, &process->member, &err) != 0) {
        if (err.code == KV_ECORRUPT)
            process->damage = err;
        else
            code = explain(process, "cannot start the member", &err);
        on_stopped(process);
    }
    /* Until on_stopped(), and until what a failed start had opened is closed. */
    (void)uv_run(&process->loop, UV_RUN_DEFAULT);
    if (code == EXIT_SUCCESS && process->damage.code == 0)
        log_info(process->log, "stopped");
    rc = uv_loop_close(&process->loop);
    ASSERT(rc == 0);
    return code;
}

/* Once more after each healing; a second damage right behind it is not one that heals. */
static int run_and_heal(struct process *process)
{
    struct err err = ERR_INIT;
    bool healed = false;
    int code;

    do {
        process->damage.code = 0;
        code = run(process);
        if (process->damage.code == 0)
            continue;
        err = process->damage;
        if (healed || heal_member(&process->config, process->log, &process->damage, &err) != 0)
            return explain(process, "cannot start the member", &err);
        process->again = healed = true;
    } while (process->again);
    return code;
}

int main(int argc, char **argv)
{
    struct process process = {.log = NULL};
    const struct grpc_method *methods;
    size_t method_count;
    int code;

    tune_malloc();
    (void)signal(SIGPIPE, SIG_IGN); /* a client that has gone shows as EPIPE at its socket */
    (void)signal(SIGXFSZ,
                 SIG_IGN); /* a file at its size limit is a full disk: an error, not a death */
    if (configure(&process, argc, argv, &code)) {
        methods = services_methods(&method_count);
        metrics_init(&process.metrics, methods, method_count, process.config.metrics_extensive);
        raise_file_limit(process.log);
        code = run_and_heal(&process);
    }
    for (size_t i = 0; i < process.warning_count; i++)
        free(process.warnings[i]);
    free(process.warnings);
    metrics_release(&process.metrics);
    log_close(process.log);
    config_release(&process.config);
    return code;
}
