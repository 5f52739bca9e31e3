/* Operations on one object: how they begin and end, and reads. */
#include <string.h>

#include "kube/store/internal.h"

enum { HEALTH_MS = 2000 }; /* as upstream */

/* ---- beginning and ending ---- */

void kube__op_begin(struct kube_store *store, struct kube_op *op, struct arena *arena,
                    const struct kube_resource *resource, kube_op_cb cb, enum kube__op_kind kind)
{
    *op = (struct kube_op){
        .store = store,
        .resource = resource,
        .arena = arena,
        .cb = cb,
        .kind = (int)kind,
        .ns_revision = -1,
        .began = store->seen,
        .deadline_ms = uv_now(store->loop) + store->timeout_ms,
    };
    list_push_back(&store->ops, &op->link);
}

void kube__op_finish(struct kube_op *op)
{
    list_remove(&op->link);
    op->store = NULL;
    op->cb(op); /* last: op may be gone after it */
}

void kube_op_cancel(struct kube_op *op)
{
    if (op->store == NULL)
        return;
    kv_call_cancel(&op->call);
    kv_result_release(&op->call.result);
    kube__wait_cancel(&op->waiter);
    list_remove(&op->link);
    kube_object_unref(op->object);
    op->object = NULL;
    op->store = NULL;
}

static uint64_t time_left_ms(const struct kube_op *op)
{
    uint64_t now = uv_now(op->store->loop);

    return op->deadline_ms > now ? op->deadline_ms - now : 1;
}

/* Callbacks never fire from inside the call that began the operation. */
void kube__op_call(struct kube_op *op, const struct kv_method *method,
                   const ProtobufCMessage *request, kv_call_cb cb)
{
    struct kv_call_options options = {.timeout_ms = time_left_ms(op)};
    struct err err = ERR_INIT;

    if (kv_call_start(op->store->client, &op->call, method, request, &options, cb, &err) == 0)
        return;
    (void)kube__status_of(&op->status, op->arena, &err);
    kube__op_later(op);
}

void *kube__op_answer(struct kube_op *op)
{
    struct kv_result *result = &op->call.result;

    if (result->err.code != 0)
        (void)kube__status_of(&op->status, op->arena, &result->err);
    return result->message;
}

void kube__op_end(struct kube_op *op)
{
    kv_result_release(&op->call.result);
    kube__op_finish(op);
}

/* ---- reading ---- */

void kube__op_take(struct kube_op *op, const Mvccpb__KeyValue *kv)
{
    (void)kube__object_of(op->store, op->resource, kv, op->arena, &op->status, &op->object);
}

static void on_get(struct kv_call *call)
{
    struct kube_op *op = CONTAINER_OF(call, struct kube_op, call);
    const Etcdserverpb__RangeResponse *response = kube__op_answer(op);

    if (response != NULL) {
        op->revision = kube__seen(op->store, response->header);
        if (response->n_kvs != 0)
            kube__op_take(op, response->kvs[0]);
        else if (op->kind == OP_GET)
            (void)kube_status_not_found(&op->status, op->arena, op->resource, op->name);
        if (op->wanted > op->revision) {
            kube_object_unref(op->object);
            op->object = NULL;
            (void)kube__status_too_large(&op->status, op->arena, op->wanted, op->revision);
        }
    }
    kube__op_end(op);
}

static void range_key(struct kube_op *op)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;

    request.key = kube__bin(op->key);
    request.limit = 1;
    kube__op_call(op, &kv_method_range, &request.base, on_get);
}

void kube__op_address(struct kube_op *op, struct slice ns, struct slice name)
{
    op->ns = arena_copy(op->arena, ns);
    op->name = arena_copy(op->arena, name);
    op->key =
        kube__key(op->arena, op->store, op->resource, kube__tail(op->arena, op->ns, op->name));
}

/* ---- reading: the cache ---- */

static struct kube_object *find_cached(struct kube_op *op, const struct kube_cache *cache)
{
    return kube__index_find(&cache->index, kube__tail(op->arena, op->ns, op->name));
}

static void answer_from(struct kube_op *op, const struct kube_cache *cache)
{
    struct kube_object *object = find_cached(op, cache);

    op->revision = cache->revision;
    if (object == NULL)
        (void)kube_status_not_found(&op->status, op->arena, op->resource, op->name);
    else if (object->len == 0)
        (void)kube__status_unreadable(&op->status, op->arena, op->store, op->resource,
                                      kube__object_key(object), "");
    else
        op->object = kube_object_ref(object);
}

static void on_ready(struct kube_waiter *waiter, const struct kube_status *status)
{
    struct kube_op *op = CONTAINER_OF(waiter, struct kube_op, waiter);

    if (status == NULL) {
        answer_from(op, waiter->cache);
        kube__op_finish(op);
    } else {
        range_key(op); /* which finds out whether there is such a revision */
    }
}

void kube_get(struct kube_store *store, struct kube_op *op, struct arena *arena,
              const struct kube_resource *resource, struct slice ns, struct slice name,
              enum kube_freshness freshness, int64_t revision, kube_op_cb cb)
{
    struct kube_cache *cache;

    kube__op_begin(store, op, arena, resource->stored_as, cb, OP_GET);
    kube__op_address(op, ns, name);
    op->wanted = freshness == KUBE_NOT_OLDER ? revision : 0;
    op->waiter.ready = on_ready;
    cache = kube__cache_ready(store, op->resource);
    if (cache == NULL && freshness == KUBE_NOT_OLDER)
        cache = kube__cache(store, op->resource);
    if (cache == NULL || (freshness == KUBE_NEWEST && !kube__in_touch(cache)))
        range_key(op);
    else if (freshness == KUBE_NEWEST)
        kube__wait_newest(&op->waiter, cache);
    else
        kube__wait(&op->waiter, cache, op->wanted, uv_now(store->loop) + KUBE__LATE_MS);
}

struct kube_object *kube_cached(struct kube_store *store, const struct kube_resource *resource,
                                struct slice ns, struct slice name)
{
    const struct kube_cache *cache = kube__cache_ready(store, resource->stored_as);
    struct kube_object *object;

    if (cache == NULL)
        return NULL;
    object = kube__index_find(&cache->index, kube__tail(&store->scratch, ns, name));
    arena_reset(&store->scratch);
    return object != NULL && object->len != 0 ? object : NULL;
}

void kube_store_health(struct kube_store *store, struct kube_op *op, struct arena *arena,
                       kube_op_cb cb)
{
    static const char suffix[] = "/health";
    size_t len = strlen(store->prefix);
    uint8_t *key = arena_alloc(arena, len + sizeof(suffix));

    kube__op_begin(store, op, arena, NULL, cb, OP_HEALTH);
    op->deadline_ms = MIN(op->deadline_ms, uv_now(store->loop) + HEALTH_MS);
    memcpy(key, store->prefix, len);
    memcpy(key + len, suffix, sizeof(suffix));
    op->key = slice_of(key, len + sizeof(suffix) - 1);
    range_key(op);
}
