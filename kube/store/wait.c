/* Waiting until a cache is as new as a reader needs it.
 *
 * The newest: one read of a key that is not there tells kvd's revision (a probe: linearizable, and
 * shared by all who came before it was sent). A question about progress goes out with it: when
 * nothing was written in between its answer brings every cache to that revision at once; otherwise
 * it is asked again. */
#include <stdio.h>

#include "kube/store/internal.h"

const struct kube_status kube__late = {
    .code = 504,
    .reason = "Timeout",
    .message = "the store's changes did not come in time",
};

enum { STUCK_MAX = 3 }; /* answers in a row that say nothing new, before asking less often */

/* ---- waiters ---- */

static bool is_satisfied(const struct kube_waiter *waiter)
{
    const struct kube_cache *cache = waiter->cache;

    return cache->state == CACHE_READY && cache->revision >= waiter->wanted;
}

static void add(struct kube_waiter *waiter)
{
    struct kube_cache *cache = waiter->cache;

    list_push_back(&cache->waiters, &waiter->link);
    if (cache->state == CACHE_READY && cache->revision < waiter->wanted)
        cache->store->progress_wanted = true;
    if (waiter->wanted != 0)
        kube__tick_within(cache->store, KUBE__FAST_TICK_MS);
    kube__kick(cache->store);
}

void kube__wait(struct kube_waiter *waiter, struct kube_cache *cache, int64_t wanted,
                uint64_t deadline_ms)
{
    waiter->cache = cache;
    waiter->wanted = wanted;
    waiter->deadline_ms = deadline_ms;
    add(waiter);
}

void kube__wait_newest(struct kube_waiter *waiter, struct kube_cache *cache)
{
    waiter->cache = cache;
    list_push_back(&cache->store->next_probe, &waiter->link);
    kube__kick(cache->store);
}

void kube__wait_cancel(struct kube_waiter *waiter)
{
    if (waiter->link.next != NULL)
        list_remove(&waiter->link);
}

void kube__waiters_fail(struct list *waiters, const struct kube_status *status)
{
    struct list failed;

    list_init(&failed);
    list_splice(&failed, waiters);
    /* A callback may cancel others in this list: always take the first. */
    while (!list_empty(&failed)) {
        struct kube_waiter *waiter = LIST_FIRST(&failed, struct kube_waiter, link);

        list_remove(&waiter->link);
        waiter->ready(waiter, status);
    }
}

void kube__waiters_wake(struct kube_cache *cache)
{
    struct list done;

    list_init(&done);
    LIST_EACH_SAFE (node, &cache->waiters) {
        if (!is_satisfied(LIST_ENTRY(node, struct kube_waiter, link)))
            continue;
        list_remove(node);
        list_push_back(&done, node);
    }
    kube__waiters_fail(&done, NULL);
}

void kube__waiters_tick(struct kube_cache *cache, uint64_t now_ms)
{
    struct list late;

    list_init(&late);
    LIST_EACH_SAFE (node, &cache->waiters) {
        const struct kube_waiter *waiter = LIST_ENTRY(node, struct kube_waiter, link);

        if (waiter->wanted != 0)
            kube__tick_within(cache->store, KUBE__FAST_TICK_MS);
        if (cache->state != CACHE_READY)
            continue;
        cache->store->progress_wanted = true;
        if (waiter->deadline_ms == 0 || waiter->deadline_ms > now_ms)
            continue;
        list_remove(node);
        list_push_back(&late, node);
    }
    kube__waiters_fail(&late, &kube__late);
}

/* ---- questions about progress ---- */

static void ask_progress(struct kube_store *store)
{
    uint64_t now_ms = uv_now(store->loop);

    store->progress_wanted = false;
    /* One that was lost with its connection is asked again. */
    if (store->progress != PROGRESS_TRUSTED ||
        (store->asked_ms != 0 && now_ms - store->asked_ms < 2 * KUBE__FAST_TICK_MS))
        return;
    store->asked_ms = now_ms;
    kv_watcher_progress(store->watcher);
}

void kube__progressed(struct kube_store *store, int64_t revision)
{
    store->asked_ms = 0;
    store->stuck = revision > store->reached ? 0 : store->stuck + 1;
    store->reached = MAX(store->reached, revision);
    if (store->stuck > STUCK_MAX)
        return; /* a member that lags: the clock asks it again */
    LIST_EACH (node, &store->caches) {
        const struct kube_cache *cache = LIST_ENTRY(node, struct kube_cache, link);

        LIST_EACH (waiting, &cache->waiters) {
            if (LIST_ENTRY(waiting, struct kube_waiter, link)->wanted > revision)
                store->progress_wanted = true;
        }
    }
    if (store->progress_wanted)
        kube__kick(store);
}

/* ---- probes ---- */

static void on_probe(struct kv_call *call)
{
    struct kube_store *store = CONTAINER_OF(call, struct kube_store, probe_call);
    const Etcdserverpb__RangeResponse *response = (const void *)call->result.message;
    uint64_t late_ms = uv_now(store->loop) + KUBE__LATE_MS;
    struct kube_status status = {0};
    struct arena arena = ARENA_INIT;
    int64_t revision = 0;

    store->probing = false;
    if (response != NULL)
        revision = kube__seen(store, response->header);
    else
        (void)kube__status_of(&status, &arena, &call->result.err);
    kv_result_release(&call->result);
    if (response == NULL) {
        kube__waiters_fail(&store->this_probe, &status);
    } else {
        while (!list_empty(&store->this_probe)) {
            struct kube_waiter *waiter = LIST_FIRST(&store->this_probe, struct kube_waiter, link);

            list_remove(&waiter->link);
            kube__wait(waiter, waiter->cache, revision, late_ms);
        }
        LIST_EACH_SAFE (node, &store->caches) {
            kube__waiters_wake(LIST_ENTRY(node, struct kube_cache, link));
        }
    }
    arena_release(&arena);
    kube__kick(store);
}

static void probe(struct kube_store *store)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct kv_call_options options = {.timeout_ms = store->timeout_ms};
    struct kube_status status = {0};
    struct arena arena = ARENA_INIT;
    struct err err = ERR_INIT;

    list_splice(&store->this_probe, &store->next_probe);
    request.key = kube__bin(slice_str(store->prefix));
    request.limit = 1;
    store->probing = true;
    if (kv_call_start(store->client, &store->probe_call, &kv_method_range, &request.base, &options,
                      on_probe, &err) == 0) {
        store->progress_wanted = true;
        return;
    }
    store->probing = false;
    (void)kube__status_of(&status, &arena, &err);
    kube__waiters_fail(&store->this_probe, &status);
    arena_release(&arena);
}

void kube__wait_turn(struct kube_store *store)
{
    if (!store->probing && !list_empty(&store->next_probe))
        probe(store);
    if (store->progress_wanted)
        ask_progress(store);
}

/* ---- what the store is ---- */

static enum kube__progress judge_version(const char *version)
{
    int major, minor, patch;

    if (sscanf(version, "%d.%d.%d", &major, &minor, &patch) != 3)
        return PROGRESS_UNTRUSTED;
    if (major != 3 || minor > 5)
        return major >= 3 ? PROGRESS_TRUSTED : PROGRESS_UNTRUSTED;
    if (minor == 5)
        return patch >= 13 ? PROGRESS_TRUSTED : PROGRESS_UNTRUSTED;
    return minor == 4 && patch >= 31 ? PROGRESS_TRUSTED : PROGRESS_UNTRUSTED;
}

static void on_status(struct kv_call *call)
{
    struct kube_store *store = CONTAINER_OF(call, struct kube_store, status_call);
    const Etcdserverpb__StatusResponse *response = (const void *)call->result.message;

    store->finding_out = false;
    if (response != NULL)
        store->progress = judge_version(response->version);
    kv_result_release(&call->result);
}

void kube__find_out(struct kube_store *store)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;

    if (store->finding_out || store->progress != PROGRESS_UNKNOWN)
        return;
    store->finding_out = kv_call_start(store->client, &store->status_call, &kv_method_status,
                                       &request.base, NULL, on_status, NULL) == 0;
}

void kube__wait_free(struct kube_store *store)
{
    if (store->probing)
        kv_call_cancel(&store->probe_call);
    if (store->finding_out)
        kv_call_cancel(&store->status_call);
}
