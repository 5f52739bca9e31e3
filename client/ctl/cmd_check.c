/* check perf: can this cluster carry a workload of that size? etcdctl's workloads and verdicts. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prng.h"
#include "client/ctl/ctl.h"
#include "client/ctl/gotext.h"

enum { KEY_SIZE = 256, VALUE_SIZE = 1024, ERRORS_MAX = 16 };

struct check_options {
    const char *load, *prefix;
    int64_t duration_ns;
    bool auto_compact;
};

#define AT(member) offsetof(struct check_options, member)
static const struct flag check_flags[] = {
    {"auto-compact", 0, FLAG_BOOL, AT(auto_compact), "false",
     "Compact storage with last revision after test is finished."},
    {"duration", 0, FLAG_DURATION, AT(duration_ns), "60s", "How long to put load on the cluster"},
    {"load", 0, FLAG_STRING, AT(load), "s",
     "The performance check's workload model. Accepted workloads: s(small), m(medium), l(large), "
     "xl(xLarge)"},
    {"prefix", 0, FLAG_STRING, AT(prefix), "/etcdctl-check-perf/",
     "The prefix for writing the performance check's keys."},
    {.name = NULL},
};
#undef AT

struct workload {
    const char *name, *long_name;
    size_t clients;
    int64_t writes_per_s;
};

static const struct workload workloads[] = {
    {"s", "small", 50, 150},
    {"m", "medium", 200, 1000},
    {"l", "large", 500, 8000},
    {"xl", "xLarge", 1000, 15000},
};

/* One of the clients: a put at a time. */
struct writer {
    struct perf *perf;
    struct kv_call call;
    uint64_t start_ns;
    bool busy;
};

struct error_count {
    char text[160];
    size_t count;
};

struct perf {
    struct ctl *ctl;
    const struct check_options *options;
    const struct workload *workload;
    struct kv_client *client;
    struct writer *writers;
    uv_timer_t tick;
    struct prng prng;
    uint8_t *key, value[VALUE_SIZE];
    size_t key_len;
    uint64_t start_ns, next_ns, end_ns, last_done_ns;
    size_t busy, done;
    double sum_s, sum_of_squares, slowest_s;
    struct error_count errors[ERRORS_MAX];
    size_t errors_len;
    unsigned percent_shown;
};

/* ---- load ---- */

static void count_error(struct perf *perf, const char *text)
{
    size_t i;

    for (i = 0; i < perf->errors_len; i++) {
        if (strncmp(perf->errors[i].text, text, sizeof perf->errors[i].text - 1) == 0)
            break;
    }
    if (i == ERRORS_MAX)
        i--; /* kinds beyond these count as the last */
    if (i == perf->errors_len) {
        (void)snprintf(perf->errors[i].text, sizeof perf->errors[i].text, "%s", text);
        perf->errors_len++;
    }
    perf->errors[i].count++;
}

static void on_put(struct kv_call *call)
{
    struct writer *writer = CONTAINER_OF(call, struct writer, call);
    struct perf *perf = writer->perf;
    uint64_t now = uv_hrtime();
    double took_s = (double)(now - writer->start_ns) / 1e9;

    writer->busy = false;
    perf->busy--;
    perf->last_done_ns = now;
    if (call->result.err.code != 0) {
        count_error(perf, call->result.err.text);
    } else {
        perf->done++;
        perf->sum_s += took_s;
        perf->sum_of_squares += took_s * took_s;
        perf->slowest_s = took_s > perf->slowest_s ? took_s : perf->slowest_s;
    }
    kv_result_release(&call->result);
}

static void fill_random(struct perf *perf, uint8_t *bytes, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        bytes[i] = (uint8_t)prng_next(&perf->prng);
}

static void put(struct perf *perf, struct writer *writer)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct err err = ERR_INIT;

    fill_random(perf, perf->key + perf->key_len - KEY_SIZE, KEY_SIZE);
    request.key = (ProtobufCBinaryData){.data = perf->key, .len = perf->key_len};
    request.value = (ProtobufCBinaryData){.data = perf->value, .len = VALUE_SIZE};
    writer->start_ns = uv_hrtime();
    if (kv_call_start(perf->client, &writer->call, &kv_method_put, &request.base, NULL, on_put,
                      &err) != 0) {
        count_error(perf, err.text);
        return;
    }
    writer->busy = true;
    perf->busy++;
}

static struct writer *idle_writer(struct perf *perf)
{
    size_t i;

    for (i = 0; perf->busy < perf->workload->clients && i < perf->workload->clients; i++) {
        if (!perf->writers[i].busy)
            return &perf->writers[i];
    }
    return NULL;
}

/* On a terminal, where it does not mix with what scripts read. */
static void show_progress(struct perf *perf, uint64_t now)
{
    static const char bar[] = "##############################";
    uint64_t whole = perf->end_ns - perf->start_ns;
    unsigned percent = (unsigned)(MIN(now - perf->start_ns, whole) * 100 / whole);
    int filled = (int)(percent * (sizeof bar - 1) / 100);

    if (percent == perf->percent_shown || !isatty(fileno(perf->ctl->err)))
        return;
    perf->percent_shown = percent;
    fprintf(perf->ctl->err, "\r[%-30.*s] %3u%%  %zu writes", filled, bar, percent, perf->done);
    if (percent == 100)
        fputc('\n', perf->ctl->err);
    (void)fflush(perf->ctl->err);
}

/* A write that finds all clients busy is not made up for later, as with etcdctl's limiter: a
 * cluster that stalls must not look good by what it does afterwards. */
static void on_tick(uv_timer_t *timer)
{
    struct perf *perf = timer->data;
    uint64_t interval_ns = 1000000000ull / (uint64_t)perf->workload->writes_per_s;
    uint64_t now = uv_hrtime();

    show_progress(perf, now);
    for (; perf->next_ns <= now && perf->next_ns < perf->end_ns; perf->next_ns += interval_ns) {
        struct writer *writer = idle_writer(perf);

        if (writer == NULL) {
            perf->next_ns = now;
            break;
        }
        put(perf, writer);
    }
}

static void put_load(struct perf *perf)
{
    uv_loop_t *loop = kv_client_loop(perf->client);
    size_t i;

    perf->writers = xcalloc(perf->workload->clients, sizeof *perf->writers);
    for (i = 0; i < perf->workload->clients; i++)
        perf->writers[i].perf = perf;
    perf->start_ns = perf->next_ns = perf->last_done_ns = uv_hrtime();
    perf->end_ns = perf->start_ns + (uint64_t)perf->options->duration_ns;
    (void)uv_timer_init(loop, &perf->tick);
    perf->tick.data = perf;
    (void)uv_timer_start(&perf->tick, on_tick, 0, 1);
    while (uv_hrtime() < perf->end_ns || perf->busy != 0)
        (void)uv_run(loop, UV_RUN_ONCE);
    show_progress(perf, uv_hrtime());
    uv_close((uv_handle_t *)&perf->tick, NULL);
    free(perf->writers);
}

/* ---- before and after ---- */

static ProtobufCBinaryData bytes_of(struct slice text)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text.data, .len = text.len};
}

/* Keys that are there are somebody's: they would be deleted at the end. */
static int check_empty(struct perf *perf, struct slice prefix, struct slice end)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *response = NULL;
    struct err err = ERR_INIT;
    int code = 0;

    request.key = bytes_of(prefix);
    request.range_end = bytes_of(end);
    request.limit = 1;
    if (kv_range(perf->client, &request, &response, &err) != 0)
        return ctl_fail(perf->ctl, CTL_ERROR, "%s", err.text);
    if (response->n_kvs != 0)
        code = ctl_fail(perf->ctl, CTL_BAD_INPUT,
                        "prefix \"%s\" has keys. Delete with 'kvctl del --prefix %s' first",
                        perf->options->prefix, perf->options->prefix);
    kv_free(response);
    return code;
}

static int compact(struct perf *perf, int64_t revision)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    Etcdserverpb__CompactionResponse *response = NULL;
    struct err err = ERR_INIT;

    fprintf(perf->ctl->out, "Compacting with revision %" PRId64 "\n", revision);
    request.revision = revision;
    request.physical = true;
    if (kv_compaction(perf->client, &request, &response, &err) != 0)
        return ctl_fail(perf->ctl, CTL_ERROR, "%s", err.text);
    fprintf(perf->ctl->out, "Compacted with revision %" PRId64 "\n", revision);
    kv_free(response);
    return 0;
}

static int clean_up(struct perf *perf, struct slice prefix, struct slice end)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeResponse *response = NULL;
    struct err err = ERR_INIT;
    int code = 0;

    request.key = bytes_of(prefix);
    request.range_end = bytes_of(end);
    if (kv_delete_range(perf->client, &request, &response, &err) != 0)
        return ctl_fail(perf->ctl, CTL_ERROR, "%s", err.text);
    if (perf->options->auto_compact && response->header != NULL)
        code = compact(perf, response->header->revision);
    kv_free(response);
    return code;
}

/* ---- verdict ---- */

static bool judge_errors(const struct perf *perf)
{
    size_t i;

    if (perf->errors_len == 0)
        return true;
    fputs("FAIL: too many errors\n", perf->ctl->out);
    for (i = 0; i < perf->errors_len; i++)
        fprintf(perf->ctl->out, "FAIL: ERROR(%s) -> %zu\n", perf->errors[i].text,
                perf->errors[i].count);
    return false;
}

static int judge(const struct perf *perf)
{
    FILE *out = perf->ctl->out;
    double n = (double)MAX(perf->done, (size_t)1);
    double mean = perf->sum_s / n;
    double variance = perf->sum_of_squares / n - mean * mean;
    double stddev = variance > 0 ? sqrt(variance) : 0;
    uint64_t took_ns = MAX(perf->last_done_ns, perf->end_ns) - perf->start_ns;
    double rate = (double)perf->done / ((double)took_ns / 1e9);
    bool ok = judge_errors(perf);
    bool fast = rate / (double)perf->workload->writes_per_s > 0.9;

    fprintf(out,
            fast ? "PASS: Throughput is %d writes/s\n" : "FAIL: Throughput too low: %d writes/s\n",
            (int)rate + 1);
    fprintf(out,
            perf->slowest_s > 0.5 ? "Slowest request took too long: %fs\n"
                                  : "PASS: Slowest request took %fs\n",
            perf->slowest_s);
    fprintf(out, stddev > 0.1 ? "Stddev too high: %fs\n" : "PASS: Stddev is %fs\n", stddev);
    ok = ok && fast && perf->slowest_s <= 0.5 && stddev <= 0.1;
    fputs(ok ? "PASS\n" : "FAIL\n", out);
    return ok ? CTL_OK : CTL_ERROR;
}

/* ---- the command ---- */

static const struct workload *find_workload(const char *name)
{
    size_t i;

    for (i = 0; i < ARRAY_LEN(workloads); i++) {
        if (strcmp(name, workloads[i].name) == 0 || strcmp(name, workloads[i].long_name) == 0)
            return &workloads[i];
    }
    return NULL;
}

static int check(struct perf *perf)
{
    struct slice prefix = slice_str(perf->options->prefix), end;
    uint8_t *end_bytes = arena_alloc(&perf->ctl->arena, prefix.len + 1);
    int code;

    end = slice_of(end_bytes, kv_prefix_end(prefix, end_bytes));
    perf->key_len = prefix.len + KEY_SIZE;
    perf->key = arena_alloc(&perf->ctl->arena, perf->key_len);
    memcpy(perf->key, prefix.data, prefix.len);
    prng_seed(&perf->prng, uv_hrtime());
    fill_random(perf, perf->value, VALUE_SIZE);

    code = check_empty(perf, prefix, end);
    if (code != 0)
        return code;
    put_load(perf);
    code = clean_up(perf, prefix, end);
    return code != 0 ? code : judge(perf);
}

static int run_check(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct check_options *options = options_;
    struct perf *perf;
    int code;

    (void)argc; /* etcdctl takes any arguments here */
    (void)argv;
    if (find_workload(options->load) == NULL)
        return ctl_fail(ctl, CTL_BAD_FEATURE, "unknown load option %s", options->load);
    if (options->prefix[0] == '\0' || options->duration_ns <= 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "--prefix must not be empty, --duration above zero");
    perf = arena_calloc(&ctl->arena, sizeof *perf);
    perf->ctl = ctl;
    perf->options = options;
    perf->workload = find_workload(options->load);
    code = ctl_connect(ctl, NULL, &perf->client);
    if (code != 0)
        return code;
    code = check(perf);
    kv_client_free(perf->client);
    return code;
}

const struct ctl_command ctl_cmd_check_perf = {
    .name = "check perf",
    .usage = "check perf [options]",
    .brief = "Check the performance of the etcd cluster",
    .help =
        "Puts keys of 256 bytes with 1 KiB values for a minute: s 150/s from 50 clients,\n"
        "m 1000/s from 200, l 8000/s from 500, xl 15000/s from 1000. Passes if nine tenths of\n"
        "the rate are reached, no request takes more than 0.5 s, and the standard deviation is\n"
        "at most 0.1 s. Deletes the keys afterwards. Do not do this to a cluster in use.\n",
    .flags = check_flags,
    .options_size = sizeof(struct check_options),
    .run = run_check,
};
