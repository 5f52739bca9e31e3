#include "server/recipe.h"

#include <stdlib.h>

#include "base/mem.h"
#include "server/auth_calls.h"
#include "server/machine_internal.h"
#include "server/queues.h"
#include "server/service.h"

void recipe_fail(struct grpc_call *call, enum status status)
{
    const struct status_line *line = status_line(status);
    bool is_refusal = strncmp(line->text, STATUS__ETCD, strlen(STATUS__ETCD)) == 0;

    /* A member that stops is no answer to the question: ask another one. */
    if (is_refusal && status != STATUS_STOPPED)
        grpc_call_finish(call, GRPC_UNKNOWN, line->text);
    else
        grpc_call_finish(call, line->code, line->text);
}

enum status recipe_permit(const struct grpc_call *call, struct slice prefix)
{
    struct member *member = service_member(call);
    struct mvcc_span span;
    struct author author;
    enum status status;
    uint8_t *end;

    if (!member->machine->auth->enabled)
        return STATUS_OK;
    status = auth_author(member, call, &author);
    if (status != STATUS_OK)
        return status;
    end = xmalloc(prefix.len);
    span = queues_span(prefix, end);
    status = status_of_error(permit_keys(member->machine, &author, AUTH_READ, span.key, span.end));
    free(end);
    return status;
}

struct slice recipe_guarded(struct arena *arena, struct slice key, int64_t create_revision,
                            Etcdserverpb__RequestOp *op)
{
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    uint8_t *body;

    compare.key = pb_of_slice(key);
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    compare.create_revision = create_revision;
    txn.compare = compares;
    txn.success = &op;
    txn.n_compare = txn.n_success = 1;
    body = arena_alloc(arena, etcdserverpb__txn_request__get_packed_size(&txn));
    return slice_of(body, etcdserverpb__txn_request__pack(&txn, body));
}

struct slice recipe_guarded_delete(struct arena *arena, struct slice key, int64_t create_revision)
{
    Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;

    delete.key = pb_of_slice(key);
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op.request_delete_range = &delete;
    return recipe_guarded(arena, key, create_revision, &op);
}
