/* "Name" : value, a line each; records end with an empty line. */
#include <inttypes.h>

#include "base/util.h"
#include "client/ctl/gotext.h"
#include "client/ctl/output.h"
#include "client/ctl/output_watch.h"

static void text_field(struct output *output, const char *name, struct slice text)
{
    fprintf(output->out, "\"%s\" : ", name);
    go_quote(output->out, text);
    fputc('\n', output->out);
}

static void int_field(struct output *output, const char *name, int64_t value)
{
    fprintf(output->out, "\"%s\" : %" PRId64 "\n", name, value);
}

static void uint_field(struct output *output, const char *name, uint64_t value)
{
    fprintf(output->out, "\"%s\" : %" PRIu64 "\n", name, value);
}

static void bool_field(struct output *output, const char *name, int value)
{
    fprintf(output->out, "\"%s\" : %s\n", name, value ? "true" : "false");
}

/* Not quoted. */
static void word_field(struct output *output, const char *name, const char *value)
{
    fprintf(output->out, "\"%s\" : %s\n", name, value);
}

static void id_field(struct output *output, const char *name, uint64_t id)
{
    fprintf(output->out, output->hex ? "\"%s\" : %" PRIx64 "\n" : "\"%s\" : %" PRIu64 "\n", name,
            id);
}

void output__fields_header(struct output *output, const Etcdserverpb__ResponseHeader *header)
{
    if (header == NULL)
        return;
    id_field(output, "ClusterID", header->cluster_id);
    id_field(output, "MemberID", header->member_id);
    if (header->revision > 0)
        int_field(output, "Revision", header->revision);
    uint_field(output, "RaftTerm", header->raft_term);
}

/* prev: "Prev" for a value from before the change, else "". */
void output__fields_kv(struct output *output, const char *prev, const Mvccpb__KeyValue *kv)
{
    char name[32];

#define PREV(suffix) ((void)snprintf(name, sizeof name, "%s" suffix, prev), name)
    text_field(output, PREV("Key"), slice_of(kv->key.data, kv->key.len));
    int_field(output, PREV("CreateRevision"), kv->create_revision);
    int_field(output, PREV("ModRevision"), kv->mod_revision);
    int_field(output, PREV("Version"), kv->version);
    text_field(output, PREV("Value"), slice_of(kv->value.data, kv->value.len));
#undef PREV
    if (output->hex)
        fprintf(output->out, "\"%sLease\" : %016" PRIx64 "\n", prev, (uint64_t)kv->lease);
    else
        fprintf(output->out, "\"%sLease\" : %" PRId64 "\n", prev, kv->lease);
}

static void fields_get(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__RangeResponse *response = (const void *)message;
    size_t i;

    output__fields_header(output, response->header);
    for (i = 0; i < response->n_kvs; i++)
        output__fields_kv(output, "", response->kvs[i]);
    bool_field(output, "More", response->more);
    int_field(output, "Count", response->count);
}

static void fields_put(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__PutResponse *response = (const void *)message;

    output__fields_header(output, response->header);
    if (response->prev_kv != NULL)
        output__fields_kv(output, "Prev", response->prev_kv);
}

static void fields_del(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__DeleteRangeResponse *response = (const void *)message;
    size_t i;

    output__fields_header(output, response->header);
    int_field(output, "Deleted", response->deleted);
    for (i = 0; i < response->n_prev_kvs; i++)
        output__fields_kv(output, "Prev", response->prev_kvs[i]);
}

static void fields_txn(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__TxnResponse *response = (const void *)message;
    size_t i;

    output__fields_header(output, response->header);
    bool_field(output, "Succeeded", response->succeeded);
    for (i = 0; i < response->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = response->responses[i];

        if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
            fields_get(output, &op->response_range->base);
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT)
            fields_put(output, &op->response_put->base);
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE)
            fields_del(output, &op->response_delete_range->base);
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN)
            fields_txn(output, &op->response_txn->base);
    }
}

static void fields_alarm(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__AlarmResponse *response = (const void *)message;
    size_t i;

    output__fields_header(output, response->header);
    for (i = 0; i < response->n_alarms; i++) {
        id_field(output, "MemberID", response->alarms[i]->memberid);
        word_field(output, "AlarmType", output__alarm_name(output, response->alarms[i]->alarm));
        fputc('\n', output->out);
    }
}

static void fields_member(struct output *output, const Etcdserverpb__Member *member)
{
    id_field(output, "ID", member->id);
    text_field(output, "Name", slice_str(member->name));
    for (size_t j = 0; j < member->n_peerurls; j++)
        text_field(output, "PeerURL", slice_str(member->peerurls[j]));
    for (size_t j = 0; j < member->n_clienturls; j++)
        text_field(output, "ClientURL", slice_str(member->clienturls[j]));
    bool_field(output, "IsLearner", member->islearner);
    fputc('\n', output->out);
}

static void fields_member_list(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__MemberListResponse *response = (const void *)message;

    output__fields_header(output, response->header);
    for (size_t i = 0; i < response->n_members; i++)
        fields_member(output, response->members[i]);
}

/* Additions: etcdctl does not know the next ones. Answers to other changes of the members are lists
 * in all but name. */
static void fields_member_add(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__MemberAddResponse *response = (const void *)message;

    output__fields_header(output, response->header);
    for (size_t i = 0; i < response->n_members; i++)
        fields_member(output, response->members[i]);
}

static void fields_downgrade(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__DowngradeResponse *response = (const void *)message;

    output__fields_header(output, response->header);
    text_field(output, "Version", slice_str(response->version));
}

static void fields_health(struct output *output, const struct endpoint_report *reports, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        text_field(output, "Endpoint", slice_str(reports[i].endpoint));
        bool_field(output, "Health", reports[i].healthy);
        word_field(output, "Took", reports[i].took);
        word_field(output, "Error", reports[i].error);
        fputc('\n', output->out);
    }
}

/* Go's %v of a list of strings. */
static void errors_field(struct output *output, char **errors, size_t len)
{
    size_t i;

    fputs("\"Errors\" : [", output->out);
    for (i = 0; i < len; i++)
        fprintf(output->out, "%s%s", i == 0 ? "" : " ", errors[i]);
    fputs("]\n", output->out);
}

static void fields_status(struct output *output, const struct endpoint_report *reports, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        const Etcdserverpb__StatusResponse *response = (const void *)reports[i].message;
        const Etcdserverpb__DowngradeInfo *downgrade = response->downgradeinfo;

        output__fields_header(output, response->header);
        text_field(output, "Version", slice_str(response->version));
        text_field(output, "StorageVersion", slice_str(response->storageversion));
        int_field(output, "DBSize", response->dbsize);
        int_field(output, "DBSizeInUse", response->dbsizeinuse);
        int_field(output, "DBSizeQuota", response->dbsizequota);
        uint_field(output, "Leader", response->leader);
        bool_field(output, "IsLearner", response->islearner);
        uint_field(output, "RaftIndex", response->raftindex);
        uint_field(output, "RaftTerm", response->raftterm);
        uint_field(output, "RaftAppliedIndex", response->raftappliedindex);
        errors_field(output, response->errors, response->n_errors);
        text_field(output, "Endpoint", slice_str(reports[i].endpoint));
        text_field(output, "DowngradeTargetVersion",
                   slice_str(downgrade != NULL ? downgrade->targetversion : ""));
        bool_field(output, "DowngradeEnabled", downgrade != NULL && downgrade->enabled);
        fputc('\n', output->out);
    }
}

static void fields_hash_kv(struct output *output, const struct endpoint_report *reports, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        const Etcdserverpb__HashKVResponse *response = (const void *)reports[i].message;

        output__fields_header(output, response->header);
        text_field(output, "Endpoint", slice_str(reports[i].endpoint));
        uint_field(output, "Hash", response->hash);
        int_field(output, "HashRevision", response->hash_revision);
        fputc('\n', output->out);
    }
}

static const struct output_printer fields_printers[] = {
    {&etcdserverpb__range_response__descriptor, fields_get},
    {&etcdserverpb__put_response__descriptor, fields_put},
    {&etcdserverpb__delete_range_response__descriptor, fields_del},
    {&etcdserverpb__txn_response__descriptor, fields_txn},
    {&etcdserverpb__alarm_response__descriptor, fields_alarm},
    {&etcdserverpb__member_list_response__descriptor, fields_member_list},
    {&etcdserverpb__member_add_response__descriptor, fields_member_add},
    {&etcdserverpb__member_promote_response__descriptor, fields_member_list},
    {&etcdserverpb__member_remove_response__descriptor, fields_member_list},
    {&etcdserverpb__member_update_response__descriptor, fields_member_list},
    {&etcdserverpb__downgrade_response__descriptor, fields_downgrade},
    OUTPUT_PRINTERS(OUTPUT_FIELDS_ROW) OUTPUT_AUTH_PRINTERS(OUTPUT_FIELDS_ROW)};

const struct output_format output_fields = {
    .name = "fields",
    .printers = fields_printers,
    .printers_len = ARRAY_LEN(fields_printers),
    .report = {[REPORT_HEALTH] = fields_health,
               [REPORT_STATUS] = fields_status,
               [REPORT_HASH_KV] = fields_hash_kv},
};
