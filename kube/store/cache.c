/* One resource's objects, as they are in kvd.
 *
 *          first need            last page              watch ends: compacted
 *  EMPTY ─────────────▶ FILLING ───────────▶ READY ─────────────────────────▶ stale ─┐
 *    ▲                     │                  ▲  └── ends otherwise: watch again      │
 *    └──────── fails ──────┘                  └──────────── filled anew ◀─────────────┘
 *
 * A cache that is stale or out of touch still answers those who take any state. What is filled anew
 * has no history: its watches end, and their clients list again. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kube/store/internal.h"

enum {
    KEY_MAX = 1 << 16,
    BACKLOG_MAX = 1 << 16, /* events that live watches have not been told of */
    AGAIN_MS = 250,        /* first pause behind a failure; doubled up to */
    AGAIN_MAX_MS = 8000,
    COMPACTED_MAX = 3, /* fills in a row that ended so, before others are told */
};

/* ---- life ---- */

static void start_fill(struct kube_cache *cache);

static struct kube_cache *find(struct kube_store *store, const struct kube_resource *resource)
{
    LIST_EACH (node, &store->caches) {
        struct kube_cache *cache = LIST_ENTRY(node, struct kube_cache, link);

        if (cache->resource == resource)
            return cache;
    }
    return NULL;
}

static struct slice heap_copy(struct slice bytes)
{
    return slice_of(xmemdup(bytes.data, bytes.len), bytes.len);
}

static void set_span(struct kube_cache *cache)
{
    struct arena *arena = &cache->store->scratch;
    struct slice prefix = kube__key(arena, cache->store, cache->resource, slice_str(""));
    uint8_t *end = arena_alloc(arena, prefix.len);

    cache->prefix = heap_copy(prefix);
    cache->end = heap_copy(slice_of(end, kv_prefix_end(prefix, end)));
    arena_reset(arena);
}

struct kube_cache *kube__cache_new(struct kube_store *store, const struct kube_resource *resource)
{
    struct kube_cache *cache = xcalloc(1, sizeof(*cache));
    int node = kube__field_index(resource, slice_str("spec.nodeName"));

    cache->by_node.by = (size_t)(node + 1); /* 0: it is not used */
    cache->store = store;
    cache->resource = resource;
    set_span(cache);
    buf_init(&cache->fill_key, KEY_MAX);
    list_init(&cache->waiters);
    list_init(&cache->watches);
    list_init(&cache->catching);
    list_init(&cache->parked);
    list_init(&cache->bookmarks);
    list_init(&cache->todo);
    list_push_back(&store->caches, &cache->link);
    return cache;
}

struct kube_cache *kube__cache(struct kube_store *store, const struct kube_resource *resource)
{
    struct kube_cache *cache = find(store, resource);

    if (cache == NULL)
        cache = kube__cache_new(store, resource);
    if (cache->state == CACHE_EMPTY && !cache->filling)
        start_fill(cache);
    kube__find_out(store);
    kube__tick_within(store, KUBE__TICK_MS);
    return cache;
}

struct kube_cache *kube__cache_ready(struct kube_store *store, const struct kube_resource *resource)
{
    struct kube_cache *cache = find(store, resource);

    return cache != NULL && cache->state == CACHE_READY ? cache : NULL;
}

bool kube__in_touch(const struct kube_cache *cache)
{
    return cache->store->progress == PROGRESS_TRUSTED && cache->state == CACHE_READY &&
           cache->watching;
}

void kube__cache_free(struct kube_cache *cache)
{
    if (cache->filling)
        kv_call_cancel(&cache->call);
    if (cache->watching)
        kv_watch_cancel(&cache->watch);
    list_remove(&cache->link);
    kube__encoded_free(cache);
    kube__groups_release(&cache->groups);
    kube__history_release(&cache->history);
    kube__index_release(&cache->by_node);
    kube__index_release(&cache->index);
    kube__index_release(&cache->filled);
    buf_release(&cache->fill_key);
    free((void *)(uintptr_t)cache->prefix.data);
    free((void *)(uintptr_t)cache->end.data);
    free(cache);
}

static void pause_after_failure(struct kube_cache *cache)
{
    uint64_t pause_ms = (uint64_t)AGAIN_MS << MIN(cache->failures, 5u);

    cache->failures++;
    cache->again_at_ms = uv_now(cache->store->loop) + MIN(pause_ms, (uint64_t)AGAIN_MAX_MS);
}

/* ---- changes ---- */

/* The key of a record, relative to the resource; false: it lies elsewhere. */
static bool relative_key(const struct kube_cache *cache, const Mvccpb__KeyValue *kv,
                         struct slice *out)
{
    struct slice key = kube__slice(kv->key);

    if (key.len <= cache->prefix.len ||
        memcmp(key.data, cache->prefix.data, cache->prefix.len) != 0)
        return false;
    *out = slice_of(key.data + cache->prefix.len, key.len - cache->prefix.len);
    return true;
}

static struct kube_object *read_object(struct kube_cache *cache, struct slice key,
                                       const Mvccpb__KeyValue *kv)
{
    struct arena *scratch = &cache->store->scratch;
    struct kube_object *object;
    struct err err = ERR_INIT;

    if (kube__object_new(cache->resource, key, kube__slice(kv->value), kv->mod_revision, scratch,
                         &object, &err) != 0)
        object = kube__object_unreadable(cache->resource, key, kv->mod_revision);
    arena_reset(scratch);
    return object;
}

static void push_event(struct kube_cache *cache, enum kube_event_type type,
                       struct kube_object *object, struct kube_object *prev)
{
    struct kube__event event = {
        .revision = object->revision,
        .at_ms = uv_now(cache->store->loop),
        .type = type,
        .object = kube_object_ref(object),
        .prev = prev,
    };

    kube__history_push(&cache->history, &event);
}

static void move_by_node(struct kube_cache *cache, struct kube_object *prev,
                         struct kube_object *object)
{
    struct kube__index *index = &cache->by_node;

    if (index->by == 0)
        return;
    if (prev != NULL)
        kube_object_unref(kube__index_remove(index, kube__index_place(index, prev)));
    if (object != NULL)
        kube_object_unref(kube__index_put(index, kube_object_ref(object)));
}

static void on_put(struct kube_cache *cache, struct slice key, const Mvccpb__KeyValue *kv)
{
    struct kube_object *object = read_object(cache, key, kv);
    struct kube_object *prev = kube__index_put(&cache->index, object);

    move_by_node(cache, prev, object);
    push_event(cache, prev != NULL ? KUBE_MODIFIED : KUBE_ADDED, object, prev);
}

static void on_delete(struct kube_cache *cache, struct slice key, const Mvccpb__KeyValue *kv)
{
    struct kube__place place = {.key = key};
    struct kube_object *prev = kube__index_remove(&cache->index, place), *last;

    if (prev == NULL)
        return;
    move_by_node(cache, prev, NULL);
    last = kube__object_at(prev, kv->mod_revision);
    push_event(cache, KUBE_DELETED, last, prev);
    kube_object_unref(last);
}

void kube__cache_change(struct kube_cache *cache, const Mvccpb__Event *event)
{
    struct slice key;

    if (event->kv == NULL || !relative_key(cache, event->kv, &key) || key.len > UINT16_MAX)
        return;
    if (event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE)
        on_delete(cache, key, event->kv);
    else
        on_put(cache, key, event->kv);
    cache->revision = MAX(cache->revision, event->kv->mod_revision);
}

static void trim(struct kube_cache *cache)
{
    static const struct kube_status slow = {.message = "changes come faster than watches are told"};

    if (cache->history.next - cache->dispatched > BACKLOG_MAX) {
        kube__watches_end(cache, &slow);
        cache->dispatched = cache->history.next;
    }
    kube__history_trim(&cache->history, cache->store->history_max, cache->index.bytes,
                       uv_now(cache->store->loop), kube__dispatch_first(cache));
}

static void on_changes(struct kv_watch *watch, const Etcdserverpb__WatchResponse *response,
                       const struct err *err)
{
    struct kube_cache *cache = CONTAINER_OF(watch, struct kube_cache, watch);
    int64_t revision;

    if (err->code != 0) {
        cache->watching = false;
        cache->stale = err->code == KV_ECOMPACTED;
        pause_after_failure(cache);
        if (cache->stale)
            cache->again_at_ms = 0;
        kube__tick_within(cache->store, KUBE__FAST_TICK_MS);
        return;
    }
    cache->failures = 0;
    for (size_t i = 0; i < response->n_events; i++)
        kube__cache_change(cache, response->events[i]);
    revision = kube__seen(cache->store, response->header);
    if (response->n_events == 0)
        cache->revision = MAX(cache->revision, revision);
    else
        trim(cache);
    if (response->watch_id == -1)
        kube__progressed(cache->store, revision);
    kube__kick(cache->store);
    kube__waiters_wake(cache); /* last: what it calls may do anything but free the store */
}

static void start_watch(struct kube_cache *cache, int64_t from)
{
    struct kv_watch_options options = {
        .key = cache->prefix,
        .range_end = cache->end,
        .start_revision = from,
        .flags = KV_WATCH_PROGRESS,
    };

    cache->watching = true;
    kv_watch_start(cache->store->watcher, &cache->watch, &options, on_changes);
}

/* ---- the fill ---- */

static void end_fill(struct kube_cache *cache)
{
    cache->filling = false;
    kube__index_release(&cache->filled);
    buf_reset(&cache->fill_key);
}

static void fail_fill(struct kube_cache *cache, const struct err *err)
{
    struct kube_status status = {0};
    struct arena arena = ARENA_INIT;

    end_fill(cache);
    pause_after_failure(cache);
    if (err->code == KV_ECOMPACTED && cache->failures <= COMPACTED_MAX) {
        start_fill(cache); /* its pages took longer than history lasts: perhaps not again */
    } else if (cache->state != CACHE_READY) {
        cache->state = CACHE_EMPTY;
        (void)kube__status_of(&status, &arena, err);
        kube__waiters_fail(&cache->waiters, &status);
    }
    arena_release(&arena);
}

/* Clients of watches list again: what happened in between is not known. */
static void expire_watches(struct kube_cache *cache)
{
    static const struct kube_status expired = {
        .code = 410,
        .reason = "Expired",
        .message = "the changes behind what this watch has seen are gone: list again",
    };

    kube__watches_end(cache, &expired);
}

static void build_by_node(struct kube_cache *cache)
{
    struct kube__position at = {0};
    struct kube_object *object;

    kube__index_release(&cache->by_node);
    while (cache->by_node.by != 0 && (object = kube__index_next(&cache->index, &at)) != NULL)
        move_by_node(cache, NULL, object);
}

static void finish_fill(struct kube_cache *cache)
{
    if (cache->state == CACHE_READY)
        expire_watches(cache);
    kube__index_release(&cache->index);
    cache->index = cache->filled;
    cache->filled = (struct kube__index){0};
    build_by_node(cache);
    kube__history_reset(&cache->history, cache->fill_revision);
    cache->dispatched = cache->history.next;
    cache->revision = cache->fill_revision;
    cache->state = CACHE_READY;
    cache->stale = false;
    cache->failures = 0;
    end_fill(cache);
    start_watch(cache, cache->revision + 1);
    kube__kick(cache->store);
    kube__waiters_wake(cache);
}

static void on_fill_page(struct kv_call *call);

static void ask_fill_page(struct kube_cache *cache)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct kv_call_options options = {.timeout_ms = cache->store->timeout_ms};
    struct err err = ERR_INIT;

    request.key = kube__bin(buf_slice(&cache->fill_key));
    request.range_end = kube__bin(cache->end);
    request.limit = KUBE__PAGE;
    request.revision = cache->fill_revision;
    if (kv_call_start(cache->store->client, &cache->call, &kv_method_range, &request.base, &options,
                      on_fill_page, &err) != 0)
        fail_fill(cache, &err);
}

static void take_fill_page(struct kube_cache *cache, const Etcdserverpb__RangeResponse *page)
{
    struct slice key;

    for (size_t i = 0; i < page->n_kvs; i++)
        if (relative_key(cache, page->kvs[i], &key) && key.len <= UINT16_MAX)
            kube_object_unref(
                kube__index_put(&cache->filled, read_object(cache, key, page->kvs[i])));
    if (page->n_kvs != 0) {
        struct slice last = kube__slice(page->kvs[page->n_kvs - 1]->key);

        buf_reset(&cache->fill_key);
        (void)buf_append(&cache->fill_key, last.data, MIN(last.len, (size_t)KEY_MAX - 1));
        (void)buf_append_u8(&cache->fill_key, 0);
    }
}

static void on_fill_page(struct kv_call *call)
{
    struct kube_cache *cache = CONTAINER_OF(call, struct kube_cache, call);
    const Etcdserverpb__RangeResponse *page = (const void *)call->result.message;
    struct err err = call->result.err;
    bool more = false;

    if (page != NULL) {
        int64_t revision = kube__seen(cache->store, page->header);

        if (cache->fill_revision == 0)
            cache->fill_revision = revision;
        take_fill_page(cache, page);
        more = page->more && page->n_kvs != 0;
    }
    kv_result_release(&call->result);
    if (err.code != 0)
        fail_fill(cache, &err);
    else if (more)
        ask_fill_page(cache);
    else
        finish_fill(cache);
}

static void start_fill(struct kube_cache *cache)
{
    cache->filling = true;
    cache->fill_revision = 0;
    if (cache->state == CACHE_EMPTY)
        cache->state = CACHE_FILLING;
    buf_reset(&cache->fill_key);
    (void)buf_append(&cache->fill_key, cache->prefix.data, cache->prefix.len);
    ask_fill_page(cache);
}

void kube__cache_tick(struct kube_cache *cache, uint64_t now_ms)
{
    if (cache->state == CACHE_EMPTY && !cache->filling && !list_empty(&cache->waiters) &&
        cache->again_at_ms <= now_ms)
        start_fill(cache);
    if (cache->state == CACHE_READY && !cache->watching && !cache->filling &&
        cache->again_at_ms <= now_ms) {
        if (cache->stale)
            start_fill(cache);
        else
            start_watch(cache, kv_watch_next_revision(&cache->watch));
    }
    kube__waiters_tick(cache, now_ms);
    kube__watches_tick(cache, now_ms);
    trim(cache);
}
