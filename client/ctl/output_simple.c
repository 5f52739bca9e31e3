/* The format for people and shell scripts, and tables, which show the same cells. */
#include <inttypes.h>

#include "client/ctl/gotext.h"
#include "client/ctl/output.h"
#include "client/ctl/output_watch.h"
#include "client/ctl/table.h"

/* ---- keys ---- */

static void put_bytes(struct output *output, const ProtobufCBinaryData *bytes)
{
    size_t i;

    if (!output->hex) {
        if (bytes->len != 0)
            fwrite(bytes->data, 1, bytes->len, output->out);
    } else {
        for (i = 0; i < bytes->len; i++)
            fprintf(output->out, "\\x%02x", bytes->data[i]);
    }
    fputc('\n', output->out);
}

void output__simple_kv(struct output *output, const Mvccpb__KeyValue *kv)
{
    if (!output->value_only)
        put_bytes(output, &kv->key);
    put_bytes(output, &kv->value);
}

static void simple_get(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__RangeResponse *response = (const void *)message;
    size_t i;

    if (output->count_only)
        fprintf(output->out, "%" PRId64 "\n", response->count);
    for (i = 0; i < response->n_kvs; i++)
        output__simple_kv(output, response->kvs[i]);
}

static void simple_put(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__PutResponse *response = (const void *)message;

    fputs("OK\n", output->out);
    if (response->prev_kv != NULL)
        output__simple_kv(output, response->prev_kv);
}

static void simple_del(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__DeleteRangeResponse *response = (const void *)message;
    size_t i;

    fprintf(output->out, "%" PRId64 "\n", response->deleted);
    for (i = 0; i < response->n_prev_kvs; i++)
        output__simple_kv(output, response->prev_kvs[i]);
}

static void simple_txn(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__TxnResponse *response = (const void *)message;
    size_t i;

    fputs(response->succeeded ? "SUCCESS\n" : "FAILURE\n", output->out);
    for (i = 0; i < response->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = response->responses[i];

        fputc('\n', output->out);
        if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
            simple_get(output, &op->response_range->base);
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT)
            simple_put(output, &op->response_put->base);
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE)
            simple_del(output, &op->response_delete_range->base);
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN)
            simple_txn(output, &op->response_txn->base);
    }
}

/* ---- cluster ---- */

const char *output__alarm_name(struct output *output, Etcdserverpb__AlarmType alarm)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&etcdserverpb__alarm_type__descriptor, alarm);
    char *number;

    if (value != NULL)
        return value->name;
    number = arena_alloc(output->arena, 16);
    (void)snprintf(number, 16, "%d", alarm);
    return number;
}

/* Go's protobuf text format on one line, with its space at the end. */
static void simple_alarm(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__AlarmResponse *response = (const void *)message;
    size_t i;

    for (i = 0; i < response->n_alarms; i++) {
        const Etcdserverpb__AlarmMember *alarm = response->alarms[i];

        if (alarm->memberid != 0)
            fprintf(output->out, "memberID:%" PRIu64 " ", alarm->memberid);
        if (alarm->alarm != 0)
            fprintf(output->out, "alarm:%s ", output__alarm_name(output, alarm->alarm));
        fputc('\n', output->out);
    }
}

static const char *join(struct arena *arena, char **items, size_t len, const char *separator)
{
    size_t size = 1, i;
    char *text, *at;

    for (i = 0; i < len; i++)
        size += strlen(items[i]) + strlen(separator);
    text = arena_alloc(arena, size);
    at = text;
    *at = '\0';
    for (i = 0; i < len; i++) {
        at = stpcpy(at, i == 0 ? "" : separator);
        at = stpcpy(at, items[i]);
    }
    return text;
}

void output__member_table(struct table *table, struct output *output,
                          const Etcdserverpb__MemberListResponse *response)
{
    static const char *const headings[] = {"ID",         "Status",       "Name",
                                           "Peer Addrs", "Client Addrs", "Is Learner"};
    size_t i;

    table_init(table, output->arena, headings, ARRAY_LEN(headings));
    for (i = 0; i < response->n_members; i++) {
        const Etcdserverpb__Member *member = response->members[i];

        table_cell(table, "%" PRIx64, member->id);
        table_cell(table, "%s", member->name[0] == '\0' ? "unstarted" : "started");
        table_cell(table, "%s", member->name);
        table_cell(table, "%s", join(output->arena, member->peerurls, member->n_peerurls, ","));
        table_cell(table, "%s", join(output->arena, member->clienturls, member->n_clienturls, ","));
        table_cell(table, "%s", member->islearner ? "true" : "false");
    }
}

static void simple_member_list(struct output *output, const ProtobufCMessage *message)
{
    struct table table;

    output__member_table(&table, output, (const void *)message);
    table_print_csv(&table, output->out);
}

static void simple_downgrade(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__DowngradeResponse *response = (const void *)message;

    fprintf(output->out, "Downgrade %s success, cluster version %s\n", output->verb,
            response->version);
}

/* ---- endpoints ---- */

static const char *const health_headings[] = {"endpoint", "health", "took", "error"};
static const char *const hash_kv_headings[] = {"endpoint", "hash", "hash_revision"};
static const char *const status_headings[] = {
    "endpoint",
    "ID",
    "version",
    "storage version",
    "db size",
    "in use",
    "percentage not in use",
    "quota",
    "is leader",
    "is learner",
    "raft term",
    "raft index",
    "raft applied index",
    "errors",
    "downgrade target version",
    "downgrade enabled",
};

static void health_row(struct table *table, const struct endpoint_report *report)
{
    table_cell(table, "%s", report->endpoint);
    table_cell(table, "%s", report->healthy ? "true" : "false");
    table_cell(table, "%s", report->took);
    table_cell(table, "%s", report->error);
}

static void hash_kv_row(struct table *table, const struct endpoint_report *report)
{
    const Etcdserverpb__HashKVResponse *response = (const void *)report->message;

    table_cell(table, "%s", report->endpoint);
    table_cell(table, "%" PRIu32, response->hash);
    table_cell(table, "%" PRId64, response->hash_revision);
}

static void bytes_cell(struct table *table, int64_t bytes)
{
    char text[GO_TEXT_MAX];

    go_format_bytes((uint64_t)bytes, text);
    table_cell(table, "%s", text);
}

static void status_row(struct table *table, const struct endpoint_report *report)
{
    const Etcdserverpb__StatusResponse *response = (const void *)report->message;
    const Etcdserverpb__DowngradeInfo *downgrade = response->downgradeinfo;
    uint64_t id = response->header != NULL ? response->header->member_id : 0;
    int64_t used = response->dbsize > 0
                       ? (int64_t)((double)response->dbsizeinuse * 100 / (double)response->dbsize)
                       : 100;

    table_cell(table, "%s", report->endpoint);
    table_cell(table, "%" PRIx64, id);
    table_cell(table, "%s", response->version);
    table_cell(table, "%s", response->storageversion);
    bytes_cell(table, response->dbsize);
    bytes_cell(table, response->dbsizeinuse);
    table_cell(table, "%" PRId64 "%%", 100 - used);
    bytes_cell(table, response->dbsizequota);
    table_cell(table, "%s", response->leader == id ? "true" : "false");
    table_cell(table, "%s", response->islearner ? "true" : "false");
    table_cell(table, "%" PRIu64, response->raftterm);
    table_cell(table, "%" PRIu64, response->raftindex);
    table_cell(table, "%" PRIu64, response->raftappliedindex);
    table_cell(table, "%s", join(table->arena, response->errors, response->n_errors, ", "));
    table_cell(table, "%s", downgrade != NULL ? downgrade->targetversion : "");
    table_cell(table, "%s", downgrade != NULL && downgrade->enabled ? "true" : "false");
}

void output__report_table(struct table *table, struct output *output,
                          enum endpoint_report_kind kind, const struct endpoint_report *reports,
                          size_t len)
{
    static const struct {
        const char *const *headings;
        size_t columns;
        void (*row)(struct table *table, const struct endpoint_report *report);
    } kinds[] = {
        [REPORT_HEALTH] = {health_headings, ARRAY_LEN(health_headings), health_row},
        [REPORT_STATUS] = {status_headings, ARRAY_LEN(status_headings), status_row},
        [REPORT_HASH_KV] = {hash_kv_headings, ARRAY_LEN(hash_kv_headings), hash_kv_row},
    };
    size_t i;

    table_init(table, output->arena, kinds[kind].headings, kinds[kind].columns);
    for (i = 0; i < len; i++)
        kinds[kind].row(table, &reports[i]);
}

static void simple_health(struct output *output, const struct endpoint_report *reports, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (reports[i].error[0] == '\0')
            fprintf(output->out, "%s is healthy: successfully committed proposal: took = %s\n",
                    reports[i].endpoint, reports[i].took);
        else
            fprintf(output->err, "%s is unhealthy: failed to commit proposal: %s\n",
                    reports[i].endpoint, reports[i].error);
    }
}

static void simple_status(struct output *output, const struct endpoint_report *reports, size_t len)
{
    struct table table;

    output__report_table(&table, output, REPORT_STATUS, reports, len);
    table_print_csv(&table, output->out);
}

static void simple_hash_kv(struct output *output, const struct endpoint_report *reports, size_t len)
{
    struct table table;

    output__report_table(&table, output, REPORT_HASH_KV, reports, len);
    table_print_csv(&table, output->out);
}

static const struct output_printer simple_printers[] = {
    {&etcdserverpb__range_response__descriptor, simple_get},
    {&etcdserverpb__put_response__descriptor, simple_put},
    {&etcdserverpb__delete_range_response__descriptor, simple_del},
    {&etcdserverpb__txn_response__descriptor, simple_txn},
    {&etcdserverpb__alarm_response__descriptor, simple_alarm},
    {&etcdserverpb__member_list_response__descriptor, simple_member_list},
    {&etcdserverpb__downgrade_response__descriptor, simple_downgrade},
    OUTPUT_PRINTERS(OUTPUT_SIMPLE_ROW) OUTPUT_AUTH_PRINTERS(OUTPUT_SIMPLE_ROW)};

const struct output_format output_simple = {
    .name = "simple",
    .printers = simple_printers,
    .printers_len = ARRAY_LEN(simple_printers),
    .report = {[REPORT_HEALTH] = simple_health,
               [REPORT_STATUS] = simple_status,
               [REPORT_HASH_KV] = simple_hash_kv},
};

/* ---- tables ---- */

static void table_member_list(struct output *output, const ProtobufCMessage *message)
{
    struct table table;

    output__member_table(&table, output, (const void *)message);
    table_print(&table, output->out);
}

static void table_health(struct output *output, const struct endpoint_report *reports, size_t len)
{
    struct table table;

    output__report_table(&table, output, REPORT_HEALTH, reports, len);
    table_print(&table, output->out);
}

static void table_status(struct output *output, const struct endpoint_report *reports, size_t len)
{
    struct table table;

    output__report_table(&table, output, REPORT_STATUS, reports, len);
    table_print(&table, output->out);
}

static void table_hash_kv(struct output *output, const struct endpoint_report *reports, size_t len)
{
    struct table table;

    output__report_table(&table, output, REPORT_HASH_KV, reports, len);
    table_print(&table, output->out);
}

static const struct output_printer table_printers[] = {
    {&etcdserverpb__member_list_response__descriptor, table_member_list},
};

const struct output_format output_table = {
    .name = "table",
    .printers = table_printers,
    .printers_len = ARRAY_LEN(table_printers),
    .report = {[REPORT_HEALTH] = table_health,
               [REPORT_STATUS] = table_status,
               [REPORT_HASH_KV] = table_hash_kv},
};
