/* Watches: what one is told first, how it ends.
 *
 *             the cache has what it needs      told all up to now        an event
 *  (waiter) ─────────────────────────▶ CATCHING ───────────────▶ in a group ─────▶ todo
 *                                         ▲                          ▲   │          │
 *                             resumed     │     queue is full        │   └──────────┤
 *                                      PARKED ◀──────────────────────┴──────────────┘
 *
 * A watch is in exactly one of these lists, by its link. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "kube/store/internal.h"

enum { BOOKMARK_MS = 60000 };

bool kube__watch_matches(const struct kube_watch *watch, const struct kube_object *object)
{
    if (object == NULL || object->len == 0)
        return false;
    if (watch->ns.len != 0 && !slice_eq(watch->ns, kube_object_namespace(object)))
        return false;
    return kube_selector_matches(&watch->selector, &kube_selected_object, object);
}

/* ---- ends ---- */

void kube__initial_free(struct kube__initial *initial)
{
    if (initial == NULL)
        return;
    for (; initial->at < initial->count; initial->at++)
        kube_object_unref(initial->objects[initial->at]);
    free(initial->objects);
    free(initial);
}

void kube_watch_stop(struct kube_watch *watch)
{
    if (watch->store == NULL)
        return;
    kube__wait_cancel(&watch->waiter);
    kube__group_leave(watch);
    list_remove(&watch->link);
    list_remove(&watch->bookmark_link);
    list_remove(&watch->all_link);
    kube__initial_free(watch->initial);
    watch->initial = NULL;
    free((void *)(uintptr_t)watch->ns.data);
    watch->store = NULL;
}

void kube__watch_end(struct kube_watch *watch, const struct kube_status *status)
{
    kube_watch_stop(watch);
    watch->callbacks->on_end(watch, status); /* last: watch may be gone after it */
}

void kube__watches_end(struct kube_cache *cache, const struct kube_status *status)
{
    struct list ended;

    list_init(&ended);
    LIST_EACH_SAFE (node, &cache->watches) {
        const struct kube_watch *watch = LIST_ENTRY(node, struct kube_watch, all_link);

        if (list_empty(&watch->waiter.link)) { /* those that wait have seen nothing yet */
            list_remove(node);
            list_push_back(&ended, node);
        }
    }
    while (!list_empty(&ended))
        kube__watch_end(LIST_FIRST(&ended, struct kube_watch, all_link), status);
}

/* ---- the beginning ---- */

void kube__watch_catch(struct kube_watch *watch)
{
    list_remove(&watch->link);
    list_push_back(&watch->cache->catching, &watch->link);
    kube__kick(watch->store);
}

static void add_initial(struct kube__initial *initial, struct kube_object *object, size_t *capacity)
{
    if (initial->count == *capacity) {
        *capacity = MAX((size_t)8, *capacity * 2);
        initial->objects = xrealloc(initial->objects, *capacity * sizeof(*initial->objects));
    }
    initial->objects[initial->count++] = kube_object_ref(object);
}

static struct slice initial_prefix(const struct kube_watch *watch, struct arena *arena)
{
    return watch->ns.len == 0 ? slice_str("") : kube__tail(arena, watch->ns, slice_str(""));
}

static void find_initial(struct kube_watch *watch)
{
    struct kube_cache *cache = watch->cache;
    struct kube__initial *initial = xcalloc(1, sizeof(*initial));
    struct slice name = kube_selector_pins(&watch->selector, "metadata.name");
    bool namespaced = (cache->resource->flags & KUBE_NAMESPACED) != 0;
    struct arena arena = ARENA_INIT;
    struct kube_object *object;
    struct kube__scan scan;
    size_t capacity = 0;

    initial->revision = cache->revision;
    if (name.len != 0 && (!namespaced || watch->ns.len != 0)) {
        object = kube__index_find(&cache->index, kube__tail(&arena, watch->ns, name));
        if (kube__watch_matches(watch, object))
            add_initial(initial, object, &capacity);
    } else {
        struct slice prefix = initial_prefix(watch, &arena);

        (void)kube__scan_begin(&scan, cache, &arena, &watch->selector, prefix, prefix,
                               cache->revision);
        while ((object = kube__scan_next(&scan)) != NULL)
            if (kube__watch_matches(watch, object))
                add_initial(initial, object, &capacity);
    }
    watch->initial = initial;
    arena_release(&arena);
}

static void end_too_old(struct kube_watch *watch)
{
    struct arena arena = ARENA_INIT;
    struct kube_status status = {0};

    (void)kube_status_set(&status, &arena, 410, "Expired",
                          "too old resource version: %" PRId64 " (%" PRId64 ")", watch->revision,
                          watch->cache->history.from);
    kube__watch_end(watch, &status);
    arena_release(&arena);
}

static void end_too_new(struct kube_watch *watch)
{
    struct arena arena = ARENA_INIT;
    struct kube_status status = {0};

    (void)kube__status_too_large(&status, &arena, watch->revision, watch->cache->revision);
    kube__watch_end(watch, &status);
    arena_release(&arena);
}

static void on_ready(struct kube_waiter *waiter, const struct kube_status *status)
{
    struct kube_watch *watch = CONTAINER_OF(waiter, struct kube_watch, waiter);
    struct kube_cache *cache = watch->cache;
    bool state_first = (watch->flags & WATCH_STATE_FIRST) != 0;

    if (status == &kube__late && watch->revision > cache->revision) {
        end_too_new(watch);
        return;
    }
    /* Late without a revision: what the store wrote has not come in three seconds, and nobody can
     * say if it will. The state there is will do, the changes come behind it. */
    if (status != NULL && status != &kube__late) {
        kube__watch_end(watch, status);
        return;
    }
    if (!state_first && watch->revision < cache->history.from) {
        end_too_old(watch);
        return;
    }
    if (state_first) {
        find_initial(watch);
        watch->revision = watch->initial->revision;
        watch->next_seq = cache->history.next;
    } else {
        watch->next_seq = kube__history_seek(&cache->history, watch->revision);
    }
    watch->told = watch->revision;
    kube__watch_catch(watch);
}

static void await_cache(struct kube_watch *watch, const struct kube_watch_options *options)
{
    uint64_t late_ms = uv_now(watch->store->loop) + KUBE__LATE_MS;

    if ((watch->flags & WATCH_STATE_FIRST) == 0)
        kube__wait(&watch->waiter, watch->cache, 0, 0);
    else if (options->revision > 0)
        kube__wait(&watch->waiter, watch->cache, options->revision, late_ms);
    else if (options->any_state)
        kube__wait(&watch->waiter, watch->cache, 0, 0);
    else
        kube__wait_newest(&watch->waiter, watch->cache);
}

void kube_watch_start(struct kube_store *store, struct kube_watch *watch,
                      const struct kube_resource *resource,
                      const struct kube_watch_options *options,
                      const struct kube_encoding *encoding,
                      const struct kube_watch_callbacks *callbacks)
{
    bool state_first = options->initial_events || options->revision == 0;

    *watch = (struct kube_watch){
        .callbacks = callbacks,
        .encoding = encoding,
        .store = store,
        .resource = resource,
        .cache = kube__cache(store, resource->stored_as),
        .waiter = {.ready = on_ready},
        .bookmark_ms = uv_now(store->loop) + BOOKMARK_MS,
        .selector = options->selector,
        .revision = options->revision,
        .flags = (options->initial_events ? WATCH_INITIAL_EVENTS : 0) |
                 (options->bookmarks ? WATCH_BOOKMARKS : 0) | (state_first ? WATCH_STATE_FIRST : 0),
    };
    if (options->ns.len != 0)
        watch->ns = slice_of(xmemdup(options->ns.data, options->ns.len), options->ns.len);
    list_init(&watch->link);
    list_init(&watch->bookmark_link);
    list_init(&watch->waiter.link);
    list_push_back(&watch->cache->watches, &watch->all_link);
    if (options->bookmarks)
        list_push_back(&watch->cache->bookmarks, &watch->bookmark_link);
    await_cache(watch, options);
}

void kube_watch_resume(struct kube_watch *watch)
{
    if (watch->store != NULL && watch->is_parked) {
        watch->is_parked = false;
        kube__watch_catch(watch);
    }
}

/* ---- bookmarks ---- */

void kube_watch_bookmark(struct kube_watch *watch)
{
    int64_t revision;

    if (watch->store == NULL || watch->group == NULL)
        return;
    revision = kube__dispatch_revision(watch->cache);
    if (revision <= watch->told)
        return;
    watch->told = revision;
    watch->callbacks->on_bookmark(watch, revision, false);
}

void kube__watches_tick(struct kube_cache *cache, uint64_t now_ms)
{
    while (!list_empty(&cache->bookmarks)) {
        struct kube_watch *watch = LIST_FIRST(&cache->bookmarks, struct kube_watch, bookmark_link);

        if (watch->bookmark_ms <= now_ms + 2 * KUBE__TICK_MS)
            cache->store->progress_wanted = true; /* so that they say something new */
        if (watch->bookmark_ms > now_ms)
            break;
        watch->bookmark_ms = now_ms + BOOKMARK_MS;
        list_remove(&watch->bookmark_link);
        list_push_back(&cache->bookmarks, &watch->bookmark_link);
        kube_watch_bookmark(watch); /* last: watch may be gone after it */
    }
    if (cache->store->progress_wanted)
        kube__kick(cache->store);
}
