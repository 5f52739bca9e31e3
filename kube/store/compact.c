/* History that nobody needs is compacted away, by one of all the API servers that share the store:
 * each puts into compact_rev_key, every so often, the revision that it saw the time before, if
 * nobody else has done so meanwhile (the key's version counts the rounds); who did it compacts.
 * kube-apiservers do the same with the same key. */
#include <inttypes.h>
#include <stdio.h>

#include "kube/store/internal.h"

#define ROUND_KEY "compact_rev_key"

static void note_round(struct kube__compaction *compaction,
                       const Etcdserverpb__TxnResponse *response)
{
    const Etcdserverpb__ResponseOp *op = response->n_responses != 0 ? response->responses[0] : NULL;

    if (response->succeeded)
        compaction->round++;
    else if (op != NULL &&
             op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE &&
             op->response_range->n_kvs != 0)
        compaction->round = op->response_range->kvs[0]->version;
    else
        compaction->round = 0;
}

/* If it fails somebody has compacted further, or the next round will. */
static void on_compacted(struct kv_call *call)
{
    struct kube_store *store = CONTAINER_OF(call, struct kube_store, compaction.call);

    kv_result_release(&call->result);
    store->compaction.running = false;
}

static void compact(struct kube_store *store, int64_t revision)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;

    request.revision = revision;
    store->compaction.running =
        kv_call_start(store->client, &store->compaction.call, &kv_method_compaction, &request.base,
                      NULL, on_compacted, NULL) == 0;
}

static void on_vote(struct kv_call *call)
{
    struct kube_store *store = CONTAINER_OF(call, struct kube_store, compaction.call);
    const Etcdserverpb__TxnResponse *response = (const void *)call->result.message;
    int64_t before = store->compaction.revision;
    bool won = false;

    store->compaction.running = false;
    if (response != NULL) {
        note_round(&store->compaction, response);
        store->compaction.revision = kube__seen(store, response->header);
        won = response->succeeded && before != 0;
    }
    kv_result_release(&call->result);
    if (won)
        compact(store, before);
}

static void vote(struct kube_store *store)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    Etcdserverpb__RequestOp then = ETCDSERVERPB__REQUEST_OP__INIT, *success[] = {&then};
    Etcdserverpb__RequestOp otherwise = ETCDSERVERPB__REQUEST_OP__INIT, *failure[] = {&otherwise};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    char value[24];

    (void)snprintf(value, sizeof(value), "%" PRId64, store->compaction.revision);
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
    compare.key = put.key = range.key = kube__bin(slice_str(ROUND_KEY));
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    compare.version = store->compaction.round;
    put.value = kube__bin(slice_str(value));
    then.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    then.request_put = &put;
    otherwise.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    otherwise.request_range = &range;
    txn.compare = compares;
    txn.success = success;
    txn.failure = failure;
    txn.n_compare = txn.n_success = txn.n_failure = 1;
    store->compaction.running = kv_call_start(store->client, &store->compaction.call,
                                              &kv_method_txn, &txn.base, NULL, on_vote, NULL) == 0;
}

void kube__compaction_tick(struct kube_store *store, uint64_t now_ms)
{
    struct kube__compaction *compaction = &store->compaction;

    if (compaction->every_ms == 0)
        return;
    kube__tick_within(store, KUBE__TICK_MS);
    if (compaction->running || now_ms - compaction->last_ms < compaction->every_ms)
        return;
    compaction->last_ms = now_ms;
    vote(store);
}

void kube__compaction_free(struct kube_store *store)
{
    if (store->compaction.running)
        kv_call_cancel(&store->compaction.call);
}
