/* The queue under a name: etcd's recipe for locks and elections, out of keys, leases and watches.
 *
 * A place is a key NAME/LEASE; the order of creation is the order of the queue. Each waiter watches
 * only the key before its own, so that a release wakes one and not all. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/internal.h"

struct queue {
    struct kv_client *client;
    const bool *stop;
    struct slice prefix; /* NAME/ */
    uint8_t *prefix_end;
    size_t prefix_end_len;
    struct kv_lock *place;
    int64_t lease;
    struct err *err;
};

static ProtobufCBinaryData bytes_of(const void *data, size_t len)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)data, .len = len};
}

static ProtobufCBinaryData own_key(const struct queue *queue)
{
    return bytes_of(queue->place->key, queue->place->key_len);
}

static int canceled(struct queue *queue)
{
    return err_set(queue->err, KV_ECANCELED, "context canceled");
}

static int gone(struct queue *queue)
{
    return err_set(queue->err, KV_ELEASENOTFOUND, "mutex: session is expired");
}

/* One request that may be repeated: whatever became of the first one, a second changes nothing. */
static int repeatable(struct queue *queue, const struct kv_method *method,
                      const ProtobufCMessage *request, struct kv_result *result)
{
    struct kv_call_options options = {.flags = KV_REPEATABLE};
    int rc = kv_call(queue->client, method, request, &options, result);

    if (rc != 0 && queue->err != NULL)
        *queue->err = result->err;
    return rc;
}

/* ---- taking a place ---- */

static void take_place(struct queue *queue, const Etcdserverpb__TxnResponse *response, bool *first)
{
    const Etcdserverpb__RangeResponse *mine, *oldest;

    queue->place->revision = response->header->revision;
    queue->place->create_revision = response->header->revision;
    mine = response->responses[0]->response_range;
    if (!response->succeeded && mine->n_kvs != 0)
        queue->place->create_revision = mine->kvs[0]->create_revision;
    oldest = response->responses[1]->response_range;
    *first = oldest->n_kvs == 0 || oldest->kvs[0]->create_revision == queue->place->create_revision;
}

static bool well_formed(const Etcdserverpb__TxnResponse *response)
{
    if (response->header == NULL || response->n_responses != 2 ||
        response->responses[1]->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
        return false;
    return response->succeeded || response->responses[0]->response_case ==
                                      ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
}

/* Makes the key unless it is there, and asks who is the oldest, in one transaction. */
static int enqueue(struct queue *queue, struct slice value, bool *first)
{
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeRequest oldest = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp ops[] = {ETCDSERVERPB__REQUEST_OP__INIT, ETCDSERVERPB__REQUEST_OP__INIT,
                                     ETCDSERVERPB__REQUEST_OP__INIT};
    Etcdserverpb__RequestOp *success[] = {&ops[0], &ops[2]}, *failure[] = {&ops[1], &ops[2]};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    struct kv_result result;
    int rc;

    compare.key = put.key = get.key = own_key(queue);
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    put.value = bytes_of(value.data, value.len);
    put.lease = queue->lease;
    oldest.key = bytes_of(queue->prefix.data, queue->prefix.len);
    oldest.range_end = bytes_of(queue->prefix_end, queue->prefix_end_len);
    oldest.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    oldest.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    oldest.limit = 1;
    ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[0].request_put = &put;
    ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    ops[1].request_range = &get;
    ops[2].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    ops[2].request_range = &oldest;
    txn.compare = compares;
    txn.success = success;
    txn.failure = failure;
    txn.n_compare = 1;
    txn.n_success = txn.n_failure = 2;

    rc = repeatable(queue, &kv_method_txn, &txn.base, &result);
    if (rc == 0 && !well_formed((const void *)result.message))
        rc = err_set(queue->err, KV_EPROTO, "%s answered Txn with what was not asked",
                     result.endpoint);
    if (rc == 0)
        take_place(queue, (const void *)result.message, first);
    kv_result_release(&result);
    return rc;
}

/* ---- waiting ---- */

struct wait {
    struct kv_watch watch;
    bool done;
    int rc;
    struct err *err;
};

static void on_watch(struct kv_watch *watch, const Etcdserverpb__WatchResponse *response,
                     const struct err *err)
{
    struct wait *wait = CONTAINER_OF(watch, struct wait, watch);
    size_t i;

    /* Compacted: whether the key is still there is asked for anyway. */
    if (err->code != 0) {
        wait->done = true;
        wait->rc = err->code == KV_ECOMPACTED ? 0 : err->code;
        if (wait->rc != 0 && wait->err != NULL)
            *wait->err = *err;
        return;
    }
    for (i = 0; i < response->n_events; i++) {
        if (response->events[i]->type == MVCCPB__EVENT__EVENT_TYPE__DELETE)
            wait->done = true;
    }
}

static int wait_for_deletion(struct queue *queue, struct slice key, int64_t from)
{
    struct kv_watcher *watcher = kv_watcher_new(queue->client, KV_REQUIRE_LEADER);
    struct kv_watch_options options = {
        .key = key, .start_revision = from, .flags = KV_WATCH_NO_PUT};
    struct wait wait = {.err = queue->err};

    kv_watch_start(watcher, &wait.watch, &options, on_watch);
    while (!wait.done && !*queue->stop)
        (void)uv_run(queue->client->loop, UV_RUN_ONCE);
    kv_watcher_free(watcher);
    return wait.done ? wait.rc : canceled(queue);
}

/* The place right before ours; *waiting is false if there is none. */
static int wait_for_one(struct queue *queue, bool *waiting)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    const Etcdserverpb__RangeResponse *response;
    struct kv_result result;
    int rc;

    range.key = bytes_of(queue->prefix.data, queue->prefix.len);
    range.range_end = bytes_of(queue->prefix_end, queue->prefix_end_len);
    range.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    range.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    range.limit = 1;
    range.max_create_revision = queue->place->create_revision - 1;
    rc = repeatable(queue, &kv_method_range, &range.base, &result);
    response = (const void *)result.message;
    *waiting = rc == 0 && response->n_kvs != 0;
    if (*waiting && response->header != NULL)
        rc = wait_for_deletion(queue,
                               slice_of(response->kvs[0]->key.data, response->kvs[0]->key.len),
                               response->header->revision + 1);
    kv_result_release(&result);
    return rc;
}

/* Our key goes with its lease, and then the place was lost while we waited for it. */
static int check_place(struct queue *queue)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    const Etcdserverpb__RangeResponse *response;
    struct kv_result result;
    int rc;

    range.key = own_key(queue);
    rc = repeatable(queue, &kv_method_range, &range.base, &result);
    response = (const void *)result.message;
    if (rc == 0 && response->n_kvs == 0)
        rc = gone(queue);
    else if (rc == 0 && response->header != NULL)
        queue->place->revision = response->header->revision;
    kv_result_release(&result);
    return rc;
}

static int wait_for_turn(struct queue *queue)
{
    bool waiting = true;
    int rc = 0;

    while (rc == 0 && waiting)
        rc = *queue->stop ? canceled(queue) : wait_for_one(queue, &waiting);
    return rc != 0 ? rc : check_place(queue);
}

/* ---- the caller's side ---- */

static void name_place(struct queue *queue, struct slice name)
{
    char suffix[24];
    int len = snprintf(suffix, sizeof suffix, "/%" PRIx64, (uint64_t)queue->lease);

    queue->place->key_len = name.len + (size_t)len;
    queue->place->key = xmalloc(queue->place->key_len);
    if (name.len != 0)
        memcpy(queue->place->key, name.data, name.len);
    memcpy(queue->place->key + name.len, suffix, (size_t)len);
    queue->prefix = slice_of(queue->place->key, name.len + 1);
    queue->prefix_end = xmalloc(queue->prefix.len);
    queue->prefix_end_len = kv_prefix_end(queue->prefix, queue->prefix_end);
}

int kv_unlock(struct kv_client *client, const struct kv_lock *lock, struct err *err)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    struct queue queue = {.client = client, .err = err};
    struct kv_result result;
    int rc;

    request.key = bytes_of(lock->key, lock->key_len);
    rc = repeatable(&queue, &kv_method_delete_range, &request.base, &result);
    kv_result_release(&result);
    return rc;
}

int kv_lock(struct kv_client *client, struct slice name, int64_t lease, struct slice value,
            const bool *stop, struct kv_lock *out, struct err *err)
{
    static const bool never = false;
    struct queue queue = {.client = client,
                          .stop = stop != NULL ? stop : &never,
                          .place = out,
                          .lease = lease,
                          .err = err};
    bool first = false;
    int rc;

    *out = (struct kv_lock){.key = NULL};
    name_place(&queue, name);
    rc = enqueue(&queue, value, &first);
    if (rc == 0 && !first)
        rc = wait_for_turn(&queue);
    if (rc != 0 && rc != KV_ELEASENOTFOUND)
        (void)kv_unlock(client, out, NULL); /* what failed first says more */
    if (rc != 0)
        kv_lock_release(out);
    free(queue.prefix_end);
    return rc;
}

void kv_lock_release(struct kv_lock *lock)
{
    free(lock->key);
    lock->key = NULL;
}
