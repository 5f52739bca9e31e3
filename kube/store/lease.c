/* Objects that end by themselves: one lease of kvd serves those that are written within a while, so
 * that events do not cost a lease each. It lives that much longer than they shall. */

#include "kube/store/internal.h"

enum {
    SHARED_MS_MAX = 60000,
    SHARED_MAX = 1000, /* objects: the end of a lease is one change of kvd for each */
};

static uint64_t shared_ms(const struct kube_store *store)
{
    return MIN((uint64_t)SHARED_MS_MAX, store->event_ttl_s * 1000 / 20);
}

static bool is_usable(const struct kube_store *store)
{
    const struct kube__lease *lease = &store->lease;

    return lease->id != 0 && lease->used < SHARED_MAX &&
           uv_now(store->loop) - lease->granted_ms < shared_ms(store);
}

static void on_granted(struct kv_call *call)
{
    struct kube_store *store = CONTAINER_OF(call, struct kube_store, lease.call);
    const Etcdserverpb__LeaseGrantResponse *response = (const void *)call->result.message;
    struct err err = call->result.err;
    struct list waiting;

    store->lease.asking = false;
    if (response != NULL) {
        store->lease.id = response->id;
        store->lease.used = 0;
    }
    kv_result_release(&call->result);
    list_init(&waiting);
    list_splice(&waiting, &store->lease.waiting);
    while (!list_empty(&waiting)) {
        struct kube_op *op = LIST_FIRST(&waiting, struct kube_op, link);

        list_remove(&op->link);
        list_push_back(&store->ops, &op->link);
        if (err.code != 0) {
            (void)kube__status_of(&op->status, op->arena, &err);
            kube__op_later(op);
        } else {
            store->lease.used++;
            op->lease = store->lease.id;
            kube__op_send(op);
        }
    }
}

static void ask(struct kube_store *store)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    struct kv_call_options options = {.timeout_ms = store->timeout_ms};

    request.ttl = (int64_t)(store->event_ttl_s + shared_ms(store) / 1000);
    store->lease.granted_ms = uv_now(store->loop); /* not later than it is granted */
    store->lease.asking = kv_call_start(store->client, &store->lease.call, &kv_method_lease_grant,
                                        &request.base, &options, on_granted, NULL) == 0;
}

bool kube__lease_for(struct kube_op *op)
{
    struct kube_store *store = op->store;

    if (is_usable(store)) {
        store->lease.used++;
        op->lease = store->lease.id;
        return true;
    }
    list_remove(&op->link);
    list_push_back(&store->lease.waiting, &op->link);
    if (!store->lease.asking)
        ask(store);
    return false;
}

void kube__lease_forget(struct kube_store *store, int64_t id)
{
    if (store->lease.id == id)
        store->lease.id = 0;
}

void kube__lease_free(struct kube_store *store)
{
    if (store->lease.asking)
        kv_call_cancel(&store->lease.call);
}
