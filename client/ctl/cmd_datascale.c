/* check datascale: how much memory does a server need for so many keys? etcdctl's workloads, words
 * and exit codes. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/prng.h"
#include "client/ctl/ctl.h"
#include "client/ctl/http_get.h"

enum { KEY_SIZE = 512, VALUE_SIZE = 512, METRICS_MAX = 16 << 20 };

struct datascale_options {
    const char *load, *prefix;
    bool auto_compact, auto_defrag;
};

#define AT(member) offsetof(struct datascale_options, member)
static const struct flag datascale_flags[] = {
    {"auto-compact", 0, FLAG_BOOL, AT(auto_compact), "false",
     "Compact storage with last revision after test is finished."},
    {"auto-defrag", 0, FLAG_BOOL, AT(auto_defrag), "false",
     "Defragment storage after test is finished."},
    {"load", 0, FLAG_STRING, AT(load), "s",
     "The datascale check's workload model. Accepted workloads: s(small), m(medium), l(large), "
     "xl(xLarge)"},
    {"prefix", 0, FLAG_STRING, AT(prefix), "/etcdctl-check-datascale/",
     "The prefix for writing the datascale check's keys."},
    {.name = NULL},
};
#undef AT

static const struct workload {
    const char *name, *long_name;
    size_t keys, clients;
} workloads[] = {
    {"s", "small", 10000, 50},
    {"m", "medium", 100000, 200},
    {"l", "large", 1000000, 500},
    {"xl", "xLarge", 3000000, 1000},
};

struct datascale {
    struct ctl *ctl;
    const struct datascale_options *options;
    const struct workload *workload;
    struct kv_client *client;
    ProtobufCBinaryData prefix, end, key;
    struct writer *idle; /* the first of those that have no call */
    size_t started, busy, failed;
    char error[512]; /* the first one */
};

struct writer {
    struct datascale *scale;
    struct writer *next; /* idle */
    struct kv_call call;
};

/* ---- load ---- */

static void count_error(struct datascale *scale, const char *text)
{
    if (scale->failed++ == 0)
        (void)snprintf(scale->error, sizeof scale->error, "%s", text);
}

static void on_put(struct kv_call *call)
{
    struct writer *writer = CONTAINER_OF(call, struct writer, call);
    struct datascale *scale = writer->scale;

    if (call->result.err.code != 0)
        count_error(scale, call->result.err.text);
    kv_result_release(&call->result);
    scale->busy--;
    writer->next = scale->idle;
    scale->idle = writer;
}

static void put(struct datascale *scale, struct prng *prng)
{
    static uint8_t value[VALUE_SIZE]; /* zeros, as etcdctl's */
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct writer *writer = scale->idle;
    uint64_t number = prng_next(prng);
    struct err err = ERR_INIT;

    scale->started++;
    memcpy(scale->key.data + scale->prefix.len, &number, sizeof number);
    request.key = scale->key;
    request.value = (ProtobufCBinaryData){.data = value, .len = VALUE_SIZE};
    if (kv_call_start(scale->client, &writer->call, &kv_method_put, &request.base, NULL, on_put,
                      &err) != 0) {
        count_error(scale, err.text);
        return;
    }
    scale->idle = writer->next;
    scale->busy++;
}

static void put_load(struct datascale *scale)
{
    struct writer *writers = xcalloc(scale->workload->clients, sizeof *writers);
    struct prng prng;

    prng_seed(&prng, uv_hrtime());
    for (size_t i = 0; i < scale->workload->clients; i++) {
        writers[i] = (struct writer){.scale = scale, .next = scale->idle};
        scale->idle = &writers[i];
    }
    while (scale->started < scale->workload->keys || scale->busy != 0) {
        while (scale->started < scale->workload->keys && scale->idle != NULL)
            put(scale, &prng);
        (void)uv_run(kv_client_loop(scale->client), UV_RUN_ONCE);
    }
    free(writers);
}

/* ---- memory ---- */

/* 0: not known, err says why. */
static double resident_bytes(struct datascale *scale, struct err *err)
{
    static const char name[] = "\nprocess_resident_memory_bytes ";
    const struct ctl_globals *globals = &scale->ctl->globals;
    const char *line;
    struct buf text;
    double bytes = 0;

    buf_init(&text, METRICS_MAX);
    if (http_get(globals->endpoints.items[0], "/metrics", scale->ctl->tls,
                 (uint64_t)globals->command_timeout_ns / 1000000, &text, err) == 0 &&
        buf_append_u8(&text, '\0') == 0) {
        line = strstr((const char *)text.data, name);
        if (line != NULL)
            bytes = strtod(line + strlen(name), NULL);
        else
            err_set(err, KV_ENOTFOUND, "/metrics does not have it");
    }
    buf_release(&text);
    return bytes;
}

static int fail_memory(struct datascale *scale, const char *when, const struct err *err)
{
    fprintf(scale->ctl->out,
            "FAIL: Could not read process_resident_memory_bytes %s the put operations.\n", when);
    return ctl_fail(scale->ctl, CTL_ERROR, "%s: %s", scale->ctl->globals.endpoints.items[0],
                    err->text);
}

/* ---- before and after ---- */

/* Keys that are there are somebody's: they would be deleted at the end. */
static int check_empty(struct datascale *scale)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *response = NULL;
    const char *prefix = scale->options->prefix;
    struct err err = ERR_INIT;
    int code = 0;

    request.key = scale->prefix;
    request.range_end = scale->end;
    request.limit = 1;
    if (kv_range(scale->client, &request, &response, &err) != 0)
        return ctl_fail(scale->ctl, CTL_ERROR, "%s", err.text);
    if (response->n_kvs != 0)
        code = ctl_fail(scale->ctl, CTL_BAD_INPUT,
                        "prefix \"%s\" has keys. Delete with 'kvctl del --prefix %s' first", prefix,
                        prefix);
    kv_free(response);
    return code;
}

static int compact(struct datascale *scale, int64_t revision)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    Etcdserverpb__CompactionResponse *response = NULL;
    struct err err = ERR_INIT;

    fprintf(scale->ctl->out, "Compacting with revision %" PRId64 "\n", revision);
    request.revision = revision;
    request.physical = true;
    if (kv_compaction(scale->client, &request, &response, &err) != 0)
        return ctl_fail(scale->ctl, CTL_ERROR, "%s", err.text);
    kv_free(response);
    fprintf(scale->ctl->out, "Compacted with revision %" PRId64 "\n", revision);
    return 0;
}

static int defragment(struct datascale *scale, const char *endpoint)
{
    Etcdserverpb__DefragmentRequest request = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    Etcdserverpb__DefragmentResponse *response = NULL;
    struct kv_options options = ctl_kv_options(scale->ctl);
    struct kv_client *client = NULL;
    struct err err = ERR_INIT;
    int code = 0;

    options.endpoints = &endpoint;
    options.endpoints_len = 1;
    fprintf(scale->ctl->out, "Defragmenting \"%s\"\n", endpoint);
    if (kv_client_open(NULL, &options, &client, &err) != 0 ||
        kv_defragment(client, &request, &response, &err) != 0)
        code = ctl_fail(scale->ctl, CTL_ERROR, "%s", err.text);
    else
        fprintf(scale->ctl->out, "Defragmented \"%s\"\n", endpoint);
    kv_free(response);
    kv_client_free(client);
    return code;
}

static int clean_up(struct datascale *scale)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeResponse *response = NULL;
    const struct flag_list *endpoints = &scale->ctl->globals.endpoints;
    struct err err = ERR_INIT;
    int code = 0;

    request.key = scale->prefix;
    request.range_end = scale->end;
    if (kv_delete_range(scale->client, &request, &response, &err) != 0)
        return ctl_fail(scale->ctl, CTL_ERROR, "%s", err.text);
    if (scale->options->auto_compact && response->header != NULL)
        code = compact(scale, response->header->revision);
    kv_free(response);
    for (size_t i = 0; scale->options->auto_defrag && i < endpoints->len && code == 0; i++)
        code = defragment(scale, endpoints->items[i]);
    return code;
}

/* ---- the command ---- */

static int check(struct datascale *scale)
{
    FILE *out = scale->ctl->out;
    struct err err = ERR_INIT;
    double before, after;
    int code = check_empty(scale);

    if (code != 0)
        return code;
    before = resident_bytes(scale, &err);
    if (before == 0)
        return fail_memory(scale, "before", &err);
    fprintf(out,
            "Start data scale check for work load [%zu key-value pairs, %d bytes per key-value, "
            "%zu concurrent clients].\n",
            scale->workload->keys, KEY_SIZE + VALUE_SIZE, scale->workload->clients);
    (void)fflush(out);
    put_load(scale);
    after = resident_bytes(scale, &err);
    code = clean_up(scale); /* whatever was found out: the keys are ours */
    if (after == 0)
        return fail_memory(scale, "after", &err);
    if (code != 0)
        return code;
    if (scale->failed != 0) {
        fprintf(out, "FAIL: too many errors\nFAIL: ERROR(%s) -> %zu\n", scale->error,
                scale->failed);
        return CTL_ERROR;
    }
    fprintf(out, "PASS: Approximate system memory used : %.2f MB.\n",
            (after - before) / (1024 * 1024));
    return CTL_OK;
}

static void set_keys(struct datascale *scale)
{
    struct arena *arena = &scale->ctl->arena;
    struct slice prefix = slice_str(scale->options->prefix);
    uint8_t *end = arena_alloc(arena, prefix.len + 1);
    uint8_t *key = arena_calloc(arena, prefix.len + KEY_SIZE);

    memcpy(key, prefix.data, prefix.len);
    scale->key = (ProtobufCBinaryData){.data = key, .len = prefix.len + KEY_SIZE};
    scale->prefix = (ProtobufCBinaryData){.data = key, .len = prefix.len};
    scale->end = (ProtobufCBinaryData){.data = end, .len = kv_prefix_end(prefix, end)};
}

static int run_datascale(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    struct datascale scale = {.ctl = ctl, .options = options_};
    int code;

    (void)argc; /* etcdctl takes any arguments here */
    (void)argv;
    for (size_t i = 0; i < ARRAY_LEN(workloads); i++)
        if (strcmp(scale.options->load, workloads[i].name) == 0 ||
            strcmp(scale.options->load, workloads[i].long_name) == 0)
            scale.workload = &workloads[i];
    if (scale.workload == NULL)
        return ctl_fail(ctl, CTL_BAD_FEATURE, "unknown load option %s", scale.options->load);
    if (scale.options->prefix[0] == '\0')
        return ctl_fail(ctl, CTL_BAD_ARGS, "--prefix must not be empty");
    set_keys(&scale);
    code = ctl_connect(ctl, NULL, &scale.client);
    if (code != 0)
        return code;
    code = check(&scale);
    kv_client_free(scale.client);
    return code;
}

const struct ctl_command ctl_cmd_check_datascale = {
    .name = "check datascale",
    .usage = "check datascale [options]",
    .brief = "Check the memory usage of holding data for different workloads",
    .help = "Puts s 10000, m 100000, l 1000000 or xl 3000000 keys of 512 bytes with values of 512\n"
            "bytes and tells by how much the first endpoint's process has grown, as its /metrics\n"
            "say. Deletes the keys afterwards. Do not do this to a cluster in use.\n",
    .flags = datascale_flags,
    .options_size = sizeof(struct datascale_options),
    .run = run_datascale,
};
