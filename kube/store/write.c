/* One object created, replaced or removed, each by one transaction of kvd.
 *
 * Compares are on the key's mod_revision, which never repeats: an update or a deletion whose fate
 * is not known can be sent again, and if the first one was carried out the second one finds that
 * out. A creation compares with "nothing there", which may be true again: it is sent again only
 * when the cache has shown that nothing happened to the key since it was sent first. */
#include "kube/store/internal.h"

enum {
    REPEATS_MAX = 3,     /* of a write whose fate is not known */
    CREATE_TRIES = 8,    /* while the namespace keeps changing */
    LEASE_TRIES_MAX = 3, /* of a write whose lease has gone meanwhile */
};

/* ---- the transaction ---- */

/* Room for what a transaction of ours can hold. */
struct txn {
    Etcdserverpb__TxnRequest request;
    Etcdserverpb__Compare compares[2], *compare_list[2];
    Etcdserverpb__RequestOp ops[3], *success[1], *failure[2];
    Etcdserverpb__PutRequest put;
    Etcdserverpb__DeleteRangeRequest delete;
    Etcdserverpb__RangeRequest ranges[2];
};

static void add_compare(struct txn *txn, struct slice key, int64_t revision)
{
    Etcdserverpb__Compare *compare = &txn->compares[txn->request.n_compare];

    etcdserverpb__compare__init(compare);
    compare->result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare->key = kube__bin(key);
    compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare->mod_revision = revision;
    txn->compare_list[txn->request.n_compare++] = compare;
}

static void add_range(struct txn *txn, struct slice key)
{
    size_t n = txn->request.n_failure++;
    Etcdserverpb__RequestOp *op = &txn->ops[1 + n];

    etcdserverpb__request_op__init(op);
    etcdserverpb__range_request__init(&txn->ranges[n]);
    txn->ranges[n].key = kube__bin(key);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = &txn->ranges[n];
    txn->failure[n] = op;
}

static void set_write(struct txn *txn, const struct kube_op *op)
{
    Etcdserverpb__RequestOp *write = &txn->ops[0];

    etcdserverpb__request_op__init(write);
    if (op->kind == OP_DELETE) {
        etcdserverpb__delete_range_request__init(&txn->delete);
        txn->delete.key = kube__bin(op->key);
        txn->delete.prev_kv = true;
        write->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        write->request_delete_range = &txn->delete;
    } else {
        etcdserverpb__put_request__init(&txn->put);
        txn->put.key = kube__bin(op->key);
        txn->put.value = kube__bin(op->bytes);
        txn->put.lease = op->lease;
        write->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        write->request_put = &txn->put;
    }
    txn->success[0] = write;
}

static bool needs_namespace(const struct kube_op *op)
{
    return op->kind == OP_CREATE && op->ns.len > 0;
}

static struct slice namespace_key(struct kube_op *op)
{
    return kube__key(op->arena, op->store, kube__namespaces(), op->ns);
}

static void on_txn(struct kv_call *call);

void kube__op_send(struct kube_op *op)
{
    struct txn txn;

    etcdserverpb__txn_request__init(&txn.request);
    txn.request.compare = txn.compare_list;
    txn.request.success = txn.success;
    txn.request.failure = txn.failure;
    add_compare(&txn, op->key, op->expected);
    set_write(&txn, op);
    txn.request.n_success = 1;
    add_range(&txn, op->key);
    if (needs_namespace(op)) {
        struct slice key = namespace_key(op);

        add_compare(&txn, key, op->ns_revision);
        add_range(&txn, key);
    }
    kube__op_call(op, &kv_method_txn, &txn.request.base, on_txn);
}

static void send_txn(struct kube_op *op)
{
    bool ends = op->kind != OP_DELETE && (op->resource->flags & KUBE_TTL_HOUR) != 0;

    op->tries++;
    if (!ends || op->lease != 0 || kube__lease_for(op))
        kube__op_send(op);
}

/* ---- the answer ---- */

/* What the failure branch has read; NULL: no such key. */
static const Mvccpb__KeyValue *read_by(const Etcdserverpb__TxnResponse *response, size_t index)
{
    const Etcdserverpb__ResponseOp *op =
        index < response->n_responses ? response->responses[index] : NULL;

    if (op == NULL || op->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE ||
        op->response_range->n_kvs == 0)
        return NULL;
    return op->response_range->kvs[0];
}

static const Mvccpb__KeyValue *deleted_by(const Etcdserverpb__TxnResponse *response)
{
    const Etcdserverpb__ResponseOp *op = response->n_responses != 0 ? response->responses[0] : NULL;

    if (op == NULL ||
        op->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE ||
        op->response_delete_range->n_prev_kvs == 0)
        return NULL;
    return op->response_delete_range->prev_kvs[0];
}

static void on_written(struct kube_op *op, const Etcdserverpb__TxnResponse *response)
{
    const Mvccpb__KeyValue *deleted = deleted_by(response);
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;

    kv.key = kube__bin(op->key);
    kv.value = deleted != NULL ? deleted->value : kube__bin(op->bytes);
    kv.mod_revision = op->revision;
    if (op->kind != OP_DELETE || deleted != NULL)
        kube__op_take(op, &kv);
    else
        (void)kube_status_internal(&op->status, op->arena,
                                   "the store deleted something and did not say what");
}

/* The namespace as the failed transaction has seen it; true: it was looked at when it was in order,
 * and the transaction may be tried again. */
static bool namespace_allows(struct kube_op *op, const Mvccpb__KeyValue *kv)
{
    const struct kube_resource *namespaces = kube__namespaces();
    struct kube_object *ns = NULL;
    bool terminating;

    if (kv == NULL) {
        (void)kube_status_not_found(&op->status, op->arena, namespaces, op->ns);
        return false;
    }
    if (kube__object_of(op->store, namespaces, kv, op->arena, &op->status, &ns) != 0)
        return false;
    terminating = kube__is_terminating(ns);
    kube_object_unref(ns);
    if (terminating)
        (void)kube__status_terminating(&op->status, op->arena, op->resource, op->ns, op->name);
    op->ns_revision = kv->mod_revision;
    return !terminating;
}

static bool is_ours(const struct kube_op *op, const Mvccpb__KeyValue *kv)
{
    return slice_eq(kube__slice(kv->value), op->bytes) && kv->mod_revision > op->expected;
}

static void on_refused(struct kube_op *op, const Etcdserverpb__TxnResponse *response)
{
    const Mvccpb__KeyValue *kv = read_by(response, 0);

    if (kv != NULL)
        kube__op_take(op, kv);
    if (op->status.code != 0)
        return;
    if (op->kind == OP_CREATE)
        (void)kube_status_exists(&op->status, op->arena, op->resource, op->name);
    else if (kv == NULL)
        (void)kube_status_not_found(&op->status, op->arena, op->resource, op->name);
    else
        (void)kube_status_conflict(&op->status, op->arena, op->resource, op->name, NULL);
}

/* A try before this one has ended without an answer: this one tells how. True: it was carried out,
 * and op is what came of it. */
static bool was_carried_out(struct kube_op *op, const Etcdserverpb__TxnResponse *response)
{
    const Mvccpb__KeyValue *kv = read_by(response, 0);

    if (!op->uncertain || op->kind == OP_DELETE || kv == NULL || !is_ours(op, kv))
        return false;
    op->revision = kv->mod_revision;
    kube__op_take(op, kv);
    return true;
}

/* True: it was sent again. */
static bool judge(struct kube_op *op, const Etcdserverpb__TxnResponse *response)
{
    if (response->succeeded) {
        on_written(op, response);
        return false;
    }
    if (was_carried_out(op, response))
        return false;
    if (needs_namespace(op) && !namespace_allows(op, read_by(response, 1)))
        return false;
    if (op->kind == OP_CREATE && read_by(response, 0) == NULL) {
        if (op->tries < CREATE_TRIES)
            return true;
        (void)kube_status_conflict(&op->status, op->arena, op->resource, op->name,
                                   "its namespace keeps changing; please try again");
        return false;
    }
    on_refused(op, response);
    return false;
}

/* ---- when no answer has come ---- */

static bool may_repeat(const struct kube_op *op)
{
    return op->repeats < REPEATS_MAX && uv_now(op->store->loop) < op->deadline_ms;
}

static void repeat(struct kube_op *op)
{
    op->uncertain = true;
    op->repeats++;
    op->status = (struct kube_status){0};
    kv_result_release(&op->call.result);
    send_txn(op);
}

/* Nothing has happened to the key since before the creation was sent, as far as the cache is. */
static bool was_untouched(const struct kube_op *op, const struct kube_cache *cache)
{
    const struct kube__history *history = &cache->history;
    struct slice key = slice_of(op->key.data + cache->prefix.len, op->key.len - cache->prefix.len);

    if (op->began == 0 || history->from > op->began)
        return false;
    for (uint64_t seq = kube__history_seek(history, op->began); seq < history->next; seq++)
        if (slice_eq(kube__object_key(kube__history_at(history, seq)->object), key))
            return false;
    return true;
}

/* Here op has the status of the call without an answer; it stays if nothing better is found out. */
static void on_looked_up(struct kube_waiter *waiter, const struct kube_status *status)
{
    struct kube_op *op = CONTAINER_OF(waiter, struct kube_op, waiter);

    if (status == NULL && may_repeat(op) && was_untouched(op, waiter->cache))
        repeat(op);
    else
        kube__op_finish(op);
}

static void on_lookup(struct kv_call *call)
{
    struct kube_op *op = CONTAINER_OF(call, struct kube_op, call);
    const Etcdserverpb__RangeResponse *response = (const void *)call->result.message;
    struct kube_cache *cache = kube__cache_ready(op->store, op->resource);
    uint64_t late_ms = uv_now(op->store->loop) + KUBE__LATE_MS;
    int64_t revision = response != NULL ? kube__seen(op->store, response->header) : 0;

    if (response != NULL && response->n_kvs != 0) {
        const Mvccpb__KeyValue *kv = response->kvs[0];

        op->status = (struct kube_status){0};
        op->revision = is_ours(op, kv) ? kv->mod_revision : revision;
        kube__op_take(op, kv);
        if (op->status.code == 0 && !is_ours(op, kv))
            (void)kube_status_exists(&op->status, op->arena, op->resource, op->name);
    } else if (response != NULL && cache != NULL && kube__in_touch(cache)) {
        kv_result_release(&call->result);
        op->waiter.ready = on_looked_up;
        kube__wait(&op->waiter, cache, revision, late_ms);
        return;
    }
    kube__op_end(op);
}

static void look_up(struct kube_op *op)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;

    kv_result_release(&op->call.result);
    request.key = kube__bin(op->key);
    kube__op_call(op, &kv_method_range, &request.base, on_lookup);
}

/* Ends the operation, or goes on with it. */
static void on_no_answer(struct kube_op *op)
{
    int code = op->call.result.err.code;

    if (code == KV_ELEASENOTFOUND && op->lease != 0 && op->tries < LEASE_TRIES_MAX) {
        kube__lease_forget(op->store, op->lease);
        op->lease = 0;
        kv_result_release(&op->call.result);
        send_txn(op);
        return;
    }
    (void)kube__op_answer(op);
    if (code == KV_EUNKNOWN && op->kind == OP_CREATE && may_repeat(op))
        look_up(op);
    else if (code == KV_EUNKNOWN && may_repeat(op))
        repeat(op);
    else
        kube__op_end(op);
}

static void on_txn(struct kv_call *call)
{
    struct kube_op *op = CONTAINER_OF(call, struct kube_op, call);
    const Etcdserverpb__TxnResponse *response = (const void *)call->result.message;

    if (response == NULL) {
        on_no_answer(op);
        return;
    }
    op->revision = kube__seen(op->store, response->header);
    if (!judge(op, response)) {
        kube__op_end(op);
        return;
    }
    kv_result_release(&call->result);
    send_txn(op);
}

/* ---- what is asked for ---- */

/* The revision at which the namespace is known to take new objects; -1, which none has, makes the
 * transaction look at it. */
static int64_t namespace_revision(struct kube_store *store, struct slice ns)
{
    const struct kube_resource *namespaces = kube__namespaces();
    const struct kube_object *object = kube_cached(store, namespaces, slice_str(""), ns);

    (void)kube__cache(store, namespaces);
    return object == NULL || kube__is_terminating(object) ? -1 : object->revision;
}

void kube_create(struct kube_store *store, struct kube_op *op, struct arena *arena,
                 const struct kube_resource *resource, struct slice ns, struct slice name,
                 struct slice bytes, kube_op_cb cb)
{
    kube__op_begin(store, op, arena, resource->stored_as, cb, OP_CREATE);
    kube__op_address(op, ns, name);
    op->bytes = bytes;
    if (needs_namespace(op))
        op->ns_revision = namespace_revision(store, op->ns);
    send_txn(op);
}

void kube_update(struct kube_store *store, struct kube_op *op, struct arena *arena,
                 const struct kube_resource *resource, struct slice ns, struct slice name,
                 int64_t expected, struct slice bytes, kube_op_cb cb)
{
    kube__op_begin(store, op, arena, resource->stored_as, cb, OP_UPDATE);
    kube__op_address(op, ns, name);
    op->expected = expected;
    op->bytes = bytes;
    send_txn(op);
}

void kube_delete(struct kube_store *store, struct kube_op *op, struct arena *arena,
                 const struct kube_resource *resource, struct slice ns, struct slice name,
                 int64_t expected, kube_op_cb cb)
{
    kube__op_begin(store, op, arena, resource->stored_as, cb, OP_DELETE);
    kube__op_address(op, ns, name);
    op->expected = expected;
    send_txn(op);
}
