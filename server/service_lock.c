/* v3lockpb.Lock (etcd-api.md section 11): a lock is held by the oldest key under its name. */
#include "proto/v3lock.pb-c.h"
#include "server/claims.h"
#include "server/machine_internal.h"
#include "server/recipe.h"
#include "server/service.h"

static void reply_locked(struct grpc_call *call, const struct claim *claim, int64_t revision)
{
    V3lockpb__LockResponse response = V3LOCKPB__LOCK_RESPONSE__INIT;

    response.header = service_header(call, revision);
    response.key = pb_of_slice(claim_key(claim));
    service_reply(call, &response.base);
}

static const struct claim_kind lock = {
    .purpose = CLAIM_LOCK, .lost = STATUS_LOCK_EXPIRED, .reply = reply_locked};

void service_lock_lock(struct grpc_call *call, struct slice message)
{
    struct arena *scratch = &service_member(call)->scratch;
    const V3lockpb__LockRequest *request;

    /* A waiting call keeps nothing of its request but the claim. */
    request = service_begin_in(call, message, &v3lockpb__lock_request__descriptor, scratch);
    if (request != NULL)
        claims_enter(call, &lock, slice_of_pb(request->name), request->lease, slice_of(NULL, 0));
    arena_reset(scratch);
}

static void on_unlocked(struct member *member, struct grpc_call *call, const void *request,
                        enum status status, const struct machine_result *result)
{
    (void)member;
    (void)request;
    if (status != STATUS_OK)
        recipe_fail(call, status);
    else
        service_reply_empty(call, result->revision);
}

void service_lock_unlock(struct grpc_call *call, struct slice message)
{
    Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    const V3lockpb__UnlockRequest *request;
    enum status status = STATUS_EMPTY_KEY;
    uint8_t *body;

    request = service_begin(call, message, &v3lockpb__unlock_request__descriptor);
    if (request == NULL)
        return;
    if (request->key.len > 0) {
        delete.key = request->key;
        body = arena_alloc(grpc_call_arena(call), protobuf_c_message_get_packed_size(&delete.base));
        status =
            member__write(service_member(call), call, request, COMMAND_DELETE,
                          slice_of(body, protobuf_c_message_pack(&delete.base, body)), on_unlocked);
    }
    if (status != STATUS_OK)
        recipe_fail(call, status);
}
