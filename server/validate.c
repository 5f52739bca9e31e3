#include "server/validate.h"

#include "base/util.h"
#include "mvcc/mvcc.h"

enum status validate_range(const Etcdserverpb__RangeRequest *request)
{
    if (request->key.len == 0)
        return STATUS_EMPTY_KEY;
    if ((unsigned)request->sort_order > MVCC_ORDER_DESCEND ||
        (unsigned)request->sort_target > MVCC_BY_VALUE)
        return STATUS_INVALID_SORT;
    return STATUS_OK;
}

enum status validate_range_stream(const Etcdserverpb__RangeRequest *request)
{
    enum status status = validate_range(request);
    bool ascends = request->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND &&
                   request->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY;

    if (status != STATUS_OK)
        return status;
    if (request->sort_order != ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE && !ascends)
        return STATUS_STREAM_SORT;
    if (request->min_mod_revision != 0 || request->max_mod_revision != 0 ||
        request->min_create_revision != 0 || request->max_create_revision != 0)
        return STATUS_STREAM_FILTER;
    return STATUS_OK;
}

enum status validate_put(const Etcdserverpb__PutRequest *request)
{
    if (request->key.len == 0)
        return STATUS_EMPTY_KEY;
    if (request->ignore_value && request->value.len != 0)
        return STATUS_VALUE_PROVIDED;
    if (request->ignore_lease && request->lease != 0)
        return STATUS_LEASE_PROVIDED;
    return STATUS_OK;
}

enum status validate_delete(const Etcdserverpb__DeleteRangeRequest *request)
{
    return request->key.len == 0 ? STATUS_EMPTY_KEY : STATUS_OK;
}

static enum status validate_ops(const Etcdserverpb__TxnRequest *request, size_t ops_max);

static enum status validate_op(const Etcdserverpb__RequestOp *op, size_t ops_left)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return validate_range(op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return validate_put(op->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return validate_delete(op->request_delete_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return validate_ops(op->request_txn, ops_left);
    default: /* etcd's answer to an operation without content */
        return STATUS_KEY_NOT_FOUND;
    }
}

/* A nested txn gets what its parent's widest list has left of the budget. */
static enum status validate_ops(const Etcdserverpb__TxnRequest *request, size_t ops_max)
{
    size_t widest = MAX(request->n_compare, MAX(request->n_success, request->n_failure));
    enum status status = STATUS_OK;

    if (widest > ops_max)
        return STATUS_TOO_MANY_OPS;
    for (size_t i = 0; i < request->n_compare; i++)
        if (request->compare[i]->key.len == 0)
            return STATUS_EMPTY_KEY;
    for (size_t i = 0; i < request->n_success && status == STATUS_OK; i++)
        status = validate_op(request->success[i], ops_max - widest);
    for (size_t i = 0; i < request->n_failure && status == STATUS_OK; i++)
        status = validate_op(request->failure[i], ops_max - widest);
    return status;
}

enum status validate_txn(const Etcdserverpb__TxnRequest *request, size_t ops_max,
                         struct arena *arena)
{
    enum status status = validate_ops(request, ops_max);

    if (status != STATUS_OK)
        return status;
    /* The two branches of one txn may do what they like to each other's keys: one of them runs. */
    if (validate__branch_overlaps(request->success, request->n_success, arena) ||
        validate__branch_overlaps(request->failure, request->n_failure, arena))
        return STATUS_DUPLICATE_KEY;
    return STATUS_OK;
}

static bool all_ranges(Etcdserverpb__RequestOp *const *ops, size_t len, bool serializable)
{
    for (size_t i = 0; i < len; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            return false;
        if (serializable && !ops[i]->request_range->serializable)
            return false;
    }
    return true;
}

bool txn_is_read_only(const Etcdserverpb__TxnRequest *request)
{
    return all_ranges(request->success, request->n_success, false) &&
           all_ranges(request->failure, request->n_failure, false);
}

bool txn_is_serializable(const Etcdserverpb__TxnRequest *request)
{
    return all_ranges(request->success, request->n_success, true) &&
           all_ranges(request->failure, request->n_failure, true);
}
