/* endpoint health, status, hashkv: each asks every endpoint by itself, all at the same time. */
#include "client/ctl/ctl.h"
#include "client/ctl/fanout.h"
#include "client/ctl/gotext.h"

struct endpoint_options {
    bool cluster;
    int64_t rev;
};

#define CLUSTER_FLAG                                                                               \
    {                                                                                              \
        "cluster", 0, FLAG_BOOL, offsetof(struct endpoint_options, cluster), "false",              \
            "use all endpoints from the cluster member list"                                       \
    }

static const struct flag endpoint_flags[] = {CLUSTER_FLAG, {.name = NULL}};
static const struct flag hashkv_flags[] = {
    CLUSTER_FLAG,
    {"rev", 0, FLAG_INT, offsetof(struct endpoint_options, rev), "0",
     "maximum revision to hash (default: latest revision)"},
    {.name = NULL},
};

/* Opens a connection to each endpoint that is meant. */
static int open_endpoints(struct ctl *ctl, const struct endpoint_options *options,
                          enum endpoint_report_kind kind, struct fanout *out)
{
    struct flag_list endpoints = ctl->globals.endpoints;
    int code = 0;

    if (!output_knows_report(&ctl->output, kind))
        return ctl_fail(ctl, CTL_BAD_FEATURE, "%s not supported as output format",
                        ctl->output.format->name);
    if (options->cluster)
        code = fanout_cluster_endpoints(ctl, &endpoints);
    if (code != 0)
        return code;
    return fanout_open(ctl, endpoints.items, endpoints.len, out);
}

/* ---- health ---- */

static const char *keep(struct ctl *ctl, const char *text)
{
    return (const char *)arena_copy(&ctl->arena, slice_of(text, strlen(text) + 1)).data;
}

/* A refusal for lack of rights went through consensus as well: the member is healthy. */
static void judge_range(struct ctl *ctl, const struct fanout_target *target,
                        struct endpoint_report *report)
{
    const struct kv_result *result = &target->call.result;
    char took[GO_TEXT_MAX];

    go_format_duration((int64_t)target->took_ns, took);
    *report = (struct endpoint_report){
        .endpoint = target->endpoint,
        .healthy = result->err.code == 0 || result->status == GRPC_PERMISSION_DENIED,
        .took = keep(ctl, took),
        .error = "",
    };
    if (!report->healthy)
        report->error = keep(ctl, result->err.text);
}

static void judge_alarms(struct ctl *ctl, const struct kv_result *result,
                         struct endpoint_report *report)
{
    const Etcdserverpb__AlarmResponse *response = (const void *)result->message;
    char text[256] = "Active Alarm(s): ";
    size_t i, len = strlen(text);

    if (!report->healthy)
        return;
    if (response == NULL) {
        report->healthy = false;
        report->error = "Unable to fetch the alarm list";
        return;
    }
    for (i = 0; i < response->n_alarms && len < sizeof text; i++) {
        const ProtobufCEnumValue *name = protobuf_c_enum_descriptor_get_value(
            &etcdserverpb__alarm_type__descriptor, response->alarms[i]->alarm);

        len += (size_t)snprintf(text + len, sizeof text - len, "%s ",
                                name != NULL ? name->name : "UNKNOWN");
    }
    if (response->n_alarms == 0)
        return;
    report->healthy = false;
    report->error = keep(ctl, text);
}

static int run_health(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;
    struct endpoint_report *reports;
    struct fanout fanout;
    bool healthy = true;
    size_t i;
    int code;

    (void)argc;
    (void)argv;
    code = open_endpoints(ctl, options, REPORT_HEALTH, &fanout);
    if (code != 0)
        return code;
    reports = arena_alloc(&ctl->arena, (fanout.len + 1) * sizeof *reports);
    /* A linearizable read of any key: it takes a quorum. */
    range.key = (ProtobufCBinaryData){.data = (uint8_t *)"health", .len = 6};
    fanout_call(&fanout, &kv_method_range, &range.base, 0);
    for (i = 0; i < fanout.len; i++) {
        judge_range(ctl, &fanout.targets[i], &reports[i]);
        fanout.targets[i].skip = !reports[i].healthy;
    }
    fanout_call(&fanout, &kv_method_alarm, &alarm.base, KV_REPEATABLE);
    for (i = 0; i < fanout.len; i++) {
        judge_alarms(ctl, &fanout.targets[i].call.result, &reports[i]);
        healthy = healthy && reports[i].healthy;
    }
    output_report(&ctl->output, REPORT_HEALTH, reports, fanout.len);
    fanout_close(&fanout);
    return healthy ? CTL_OK : ctl_fail(ctl, CTL_ERROR, "unhealthy cluster");
}

const struct ctl_command ctl_cmd_endpoint_health = {
    .name = "endpoint health",
    .usage = "endpoint health [options]",
    .brief = "Checks the healthiness of endpoints specified in `--endpoints` flag",
    .help =
        "Each endpoint is asked for a read that takes a quorum, and for alarms. The exit code is\n"
        "0 if all are healthy.\n",
    .flags = endpoint_flags,
    .options_size = sizeof(struct endpoint_options),
    .run = run_health,
};

/* ---- status and hashkv ---- */

/* Calls method on each endpoint and reports the answers; failures go to stderr as "Failed to get
 * the what of endpoint ...", and *last is one of them. */
static int report_all(struct ctl *ctl, const struct endpoint_options *options,
                      enum endpoint_report_kind kind, const struct kv_method *method,
                      const ProtobufCMessage *request, const char *what, struct err *last)
{
    struct endpoint_report *reports;
    struct fanout fanout;
    size_t len = 0, i;
    int code;

    code = open_endpoints(ctl, options, kind, &fanout);
    if (code != 0)
        return code;
    reports = arena_calloc(&ctl->arena, (fanout.len + 1) * sizeof *reports);
    fanout_call(&fanout, method, request, 0);
    for (i = 0; i < fanout.len; i++) {
        const struct kv_result *result = &fanout.targets[i].call.result;

        if (result->message == NULL) {
            fprintf(ctl->err, "Failed to get the %s of endpoint %s (%s)\n", what,
                    fanout.targets[i].endpoint, result->err.text);
            *last = result->err;
            code = CTL_ERROR;
            continue;
        }
        reports[len].endpoint = fanout.targets[i].endpoint;
        reports[len++].message = result->message;
    }
    output_report(&ctl->output, kind, reports, len);
    fanout_close(&fanout);
    return code;
}

static int run_status(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    struct err last = ERR_INIT;

    (void)argc;
    (void)argv;
    return report_all(ctl, options, REPORT_STATUS, &kv_method_status, &request.base, "status",
                      &last);
}

const struct ctl_command ctl_cmd_endpoint_status = {
    .name = "endpoint status",
    .usage = "endpoint status [options]",
    .brief = "Prints out the status of endpoints specified in `--endpoints` flag",
    .help =
        "With --write-out=simple, a line per endpoint: endpoint, ID, version, storage version,\n"
        "db size, in use, percentage not in use, quota, is leader, is learner, raft term, raft\n"
        "index, raft applied index, errors, downgrade target version, downgrade enabled.\n",
    .flags = endpoint_flags,
    .options_size = sizeof(struct endpoint_options),
    .run = run_status,
};

static int run_hashkv(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct endpoint_options *options = options_;
    Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    struct err last = ERR_INIT;
    int code;

    (void)argc;
    (void)argv;
    request.revision = options->rev;
    code =
        report_all(ctl, options, REPORT_HASH_KV, &kv_method_hash_kv, &request.base, "hash", &last);
    return last.code != 0 ? ctl_fail(ctl, code, "%s", last.text) : code;
}

const struct ctl_command ctl_cmd_endpoint_hashkv = {
    .name = "endpoint hashkv",
    .usage = "endpoint hashkv [options]",
    .brief = "Prints the KV history hash for each endpoint in --endpoints",
    .help = "With --write-out=simple, a line per endpoint: endpoint, hash, hash revision. Members\n"
            "that hold the same data at the same revision have the same hash.\n",
    .flags = hashkv_flags,
    .options_size = sizeof(struct endpoint_options),
    .run = run_hashkv,
};
