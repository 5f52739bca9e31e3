/* etcdserverpb.KV (etcd-api.md section 5). */
#include "server/machine_internal.h"
#include "server/ranges.h"
#include "server/service.h"
#include "server/validate.h"

/* ---- range ---- */

/* What is answered in one go; see ranges.h for the rest. */
enum { DIRECT_RECORDS = 1024, DIRECT_BYTES = 256 * 1024 };

static void count_range(struct member *member)
{
    if (member->metrics != NULL)
        member->metrics->ranges++;
}

static void observe_range(struct member *member, uint64_t begin_ns, bool success)
{
    struct metrics *metrics = member->metrics;

    if (metrics != NULL)
        metrics_observe(success ? &metrics->range : &metrics->range_failed,
                        (double)(uv_hrtime() - begin_ns) / 1e9);
}

static void run_long_range(struct grpc_call *call, struct mvcc_range *range, enum ranges_kind kind)
{
    range->visit_max = 0;
    ranges_start(service_member(call)->ranges, call, range, kind);
}

static void run_range(struct grpc_call *call, const void *message)
{
    const Etcdserverpb__RangeRequest *request = message;
    struct member *member = service_member(call);
    const struct mvcc *mvcc = member->machine->mvcc;
    struct mvcc_range_result result;
    struct encode_header header;
    struct mvcc_range range;
    struct author author;
    size_t size = SIZE_MAX;
    uint64_t begin_ns = uv_hrtime();
    int rc;

    if (!service_author(call, &author) ||
        !service_permit(call, permit_range(member->machine, &author, request)))
        return;
    (void)machine__range_of(request, &range); /* validated */
    range.visit_max = DIRECT_RECORDS;
    rc = mvcc_range(mvcc, &range, grpc_call_arena(call), &result);
    if (rc != 0 && rc != KV_ETOOBIG) {
        observe_range(member, begin_ns, false);
        service_fail(call, status_of_error(rc));
        return;
    }
    count_range(member);
    header = service_encode_header(member, mvcc_revision(mvcc));
    if (rc == 0)
        size = encode_range_size(&header, &result);
    if (size > DIRECT_BYTES) {
        run_long_range(call, &range, RANGES_WHOLE);
        return;
    }
    /* Keys and values go from the store straight into the output. */
    (void)encode_range(grpc_call_message(call, size), &header, &result); /* writes what it said */
    observe_range(member, begin_ns, true);
    grpc_call_reply(call);
}

void service_kv_range(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__RangeRequest *request;
    enum status status;

    request = service_begin(call, message, &etcdserverpb__range_request__descriptor);
    if (request == NULL)
        return;
    status = validate_range(request);
    if (status != STATUS_OK)
        service_fail(call, status);
    else if (request->serializable)
        service_read_local(call, request, run_range);
    else
        service_read(call, request, run_range);
}

static void run_range_stream(struct grpc_call *call, const void *message)
{
    struct mvcc_range range;
    struct author author;

    if (!service_author(call, &author) ||
        !service_permit(call, permit_range(service_member(call)->machine, &author, message)))
        return;
    (void)machine__range_of(message, &range); /* validated */
    range.target = MVCC_BY_KEY;               /* another one counts for nothing with order NONE */
    count_range(service_member(call));
    run_long_range(call, &range, RANGES_STREAM);
}

void service_kv_range_stream(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__RangeRequest *request;
    enum status status;

    request = service_begin(call, message, &etcdserverpb__range_request__descriptor);
    if (request == NULL)
        return;
    status = validate_range_stream(request);
    if (status != STATUS_OK)
        service_fail(call, status);
    else if (request->serializable)
        service_read_local(call, request, run_range_stream);
    else
        service_read(call, request, run_range_stream);
}

/* ---- writes: first of all the space quota, as in etcd, even for what is not valid ---- */

static void on_put(struct member *member, struct grpc_call *call, const void *request,
                   enum status status, const struct machine_result *result)
{
    const Etcdserverpb__PutResponse *response = result == NULL ? NULL : result->response;

    /* The common answer holds a header only and is encoded by hand. */
    if (status == STATUS_OK && response->prev_kv == NULL)
        service_reply_empty(call, result->revision);
    else
        service_on_written(member, call, request, status, result);
}

/* The end of every write: proposed, or answered. */
static void propose(struct grpc_call *call, const void *request, enum command_kind kind,
                    struct slice message, write_done done)
{
    enum status status = member__write(service_member(call), call, request, kind, message, done);

    if (status != STATUS_OK)
        service_fail(call, status);
}

void service_kv_put(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__PutRequest *request;
    enum status status;

    request = service_begin(call, message, &etcdserverpb__put_request__descriptor);
    if (request == NULL)
        return;
    if (!member__space_admit(service_member(call), call, space_put_cost(request)))
        return;
    status = validate_put(request);
    if (status != STATUS_OK)
        service_fail(call, status);
    else
        propose(call, request, COMMAND_PUT, message, on_put);
}

void service_kv_delete(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__DeleteRangeRequest *request;
    enum status status;

    request = service_begin(call, message, &etcdserverpb__delete_range_request__descriptor);
    if (request == NULL)
        return;
    status = validate_delete(request);
    if (status != STATUS_OK)
        service_fail(call, status);
    else
        propose(call, request, COMMAND_DELETE, message, service_on_written);
}

/* ---- txn ---- */

static void run_read_txn(struct grpc_call *call, const void *request)
{
    struct member *member = service_member(call);
    struct machine_result result;
    struct author author;

    if (!service_author(call, &author) ||
        !service_permit(call, permit_txn(member->machine, &author, request)))
        return;
    machine_read_txn(member->machine, request, grpc_call_arena(call), &result);
    service_on_written(member, call, request, status_of_error(result.code), &result);
}

void service_kv_txn(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__TxnRequest *request;
    enum status status;

    request = service_begin(call, message, &etcdserverpb__txn_request__descriptor);
    if (request == NULL)
        return;
    if (!member__space_admit(service_member(call), call, space_txn_cost(request)))
        return;
    status =
        validate_txn(request, service_member(call)->config->max_txn_ops, grpc_call_arena(call));
    if (status != STATUS_OK)
        service_fail(call, status);
    else if (!txn_is_read_only(request))
        propose(call, request, COMMAND_TXN, message, service_on_written);
    else if (txn_is_serializable(request))
        service_read_local(call, request, run_read_txn);
    else
        service_read(call, request, run_read_txn);
}

/* ---- compact ---- */

static void on_compacted(struct compact_wait *wait)
{
    service_reply_empty(wait->call, mvcc_revision(service_member(wait->call)->machine->mvcc));
}

static void on_compact(struct member *member, struct grpc_call *call, const void *message,
                       enum status status, const struct machine_result *result)
{
    const Etcdserverpb__CompactionRequest *request = message;
    struct compact_wait *wait;

    if (status != STATUS_OK) {
        service_fail(call, status);
        return;
    }
    if (!request->physical) {
        service_reply_empty(call, result->revision);
        return;
    }
    wait = arena_alloc(grpc_call_arena(call), sizeof *wait);
    *wait = (struct compact_wait){.call = call, .done = on_compacted};
    member__wait_compacted(member, wait);
}

void service_kv_compact(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__CompactionRequest *request;

    request = service_begin(call, message, &etcdserverpb__compaction_request__descriptor);
    if (request != NULL)
        propose(call, request, COMMAND_COMPACT, message, on_compact);
}
