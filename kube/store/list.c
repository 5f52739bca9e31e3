/* Lists: what is asked for, and who answers: the cache, or kvd page by page. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kube/store/internal.h"

/* ---- results ---- */

/* Takes over the reference. */
static void add(struct kube_list *list, struct kube_object *object)
{
    if (list->count == list->capacity) {
        list->capacity = MAX((size_t)64, list->capacity * 2);
        list->objects = xrealloc(list->objects, list->capacity * sizeof(*list->objects));
    }
    list->objects[list->count++] = object;
}

void kube_list_release(struct kube_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        kube_object_unref(list->objects[i]);
    free(list->objects);
    list->objects = NULL;
    list->count = list->capacity = 0;
}

void kube__list_finish(struct kube_list *list)
{
    list_remove(&list->link);
    list->store = NULL;
    if (list->status.code != 0)
        kube_list_release(list);
    list->cb(list); /* last: list may be gone after it */
}

void kube_list_cancel(struct kube_list *list)
{
    if (list->store == NULL)
        return;
    kv_call_cancel(&list->call);
    kv_result_release(&list->call.result);
    kube__wait_cancel(&list->waiter);
    list_remove(&list->link);
    kube_list_release(list);
    list->store = NULL;
}

/* The list ends behind last (a key relative to the list's prefix), and there is more. */
static void continue_behind(struct kube_list *list, struct slice last)
{
    uint8_t *start = arena_alloc(list->arena, last.len + 1);

    memcpy(start, last.data, last.len);
    start[last.len] = '\0';
    list->continue_token =
        kube__token_write(list->arena, list->revision, slice_of(start, last.len + 1));
}

/* ---- what is asked for ---- */

static struct slice pinned_name(const struct kube_list *list)
{
    return kube_selector_pins(&list->options.selector, "metadata.name");
}

static struct slice concat(struct arena *arena, struct slice a, struct slice b)
{
    uint8_t *out = arena_alloc(arena, a.len + b.len + 1);

    if (a.len > 0)
        memcpy(out, a.data, a.len);
    if (b.len > 0)
        memcpy(out + a.len, b.data, b.len);
    return slice_of(out, a.len + b.len);
}

/* One key if the selector names it, otherwise all below the prefix from start on. */
static void set_span(struct kube_list *list, struct slice start)
{
    struct kube_list_options *options = &list->options;
    bool namespaced = (list->resource->flags & KUBE_NAMESPACED) != 0;
    struct slice ns = kube_selector_pins(&options->selector, "metadata.namespace");
    struct slice name = pinned_name(list);
    uint8_t *end;

    if (namespaced && options->ns.len == 0 && ns.len != 0)
        options->ns = ns;
    list->prefix = kube__key(list->arena, list->store, list->resource,
                             kube__tail(list->arena, options->ns, slice_str("")));
    if (name.len != 0 && start.len == 0 && (!namespaced || options->ns.len != 0)) {
        list->key = concat(list->arena, list->prefix, name);
        list->end = slice_of(NULL, 0);
        return;
    }
    end = arena_alloc(list->arena, list->prefix.len);
    list->key = concat(list->arena, list->prefix, start);
    list->end = slice_of(end, kv_prefix_end(list->prefix, end));
}

static int prepare(struct kube_list *list)
{
    const struct kube_list_options *options = &list->options;
    struct slice start = {0};

    if (options->continue_token.len != 0) {
        if (kube__token_read(list->arena, options->continue_token, &list->pinned, &start,
                             &list->status) != 0)
            return list->status.code;
        list->pinned = MAX(list->pinned, (int64_t)0);
    } else if (options->freshness == KUBE_EXACT) {
        list->pinned = options->revision;
    }
    list->revision = list->pinned;
    if (options->freshness == KUBE_ANY)
        list->options.limit = 0; /* as upstream: all that is there */
    set_span(list, start);
    return 0;
}

/* ---- pages of kvd ---- */

static void fail(struct kube_list *list, const struct err *err)
{
    static const char too_old[] =
        "The provided continue parameter is too old to display a consistent list result. You can "
        "start a new list without the continue parameter, or use the continue token in this "
        "response to retrieve the remainder of the results. Continuing with the provided token "
        "results in an inconsistent list - objects that were created, modified, or deleted between "
        "the time the first chunk was returned and now may show up in the list.";

    if (err->code == KV_EFUTURE) {
        (void)kube__status_too_large(&list->status, list->arena, list->pinned, list->store->seen);
    } else if (err->code == KV_ECOMPACTED && list->options.continue_token.len != 0) {
        (void)kube_status_set(&list->status, list->arena, 410, "Expired", "%s", too_old);
        list->status.continue_token = kube__token_write(
            list->arena, -1,
            slice_of(list->key.data + list->prefix.len, list->key.len - list->prefix.len));
    } else {
        (void)kube__status_of(&list->status, list->arena, err);
    }
}

static bool is_full(const struct kube_list *list)
{
    return list->options.limit != 0 && list->count >= list->options.limit;
}

/* False: the object cannot be read, and list has its status. */
static bool take(struct kube_list *list, const Mvccpb__KeyValue *kv)
{
    struct kube_object *object;

    if (kube__object_of(list->store, list->resource, kv, list->arena, &list->status, &object) != 0)
        return false;
    if (kube_selector_matches(&list->options.selector, &kube_selected_object, object))
        add(list, object);
    else
        kube_object_unref(object);
    return true;
}

static void on_page(struct kv_call *call);

static void ask_page(struct kube_list *list)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    uint64_t now = uv_now(list->store->loop);
    struct kv_call_options options = {
        .timeout_ms = list->deadline_ms > now ? list->deadline_ms - now : 1,
    };
    struct err err = ERR_INIT;

    request.key = kube__bin(list->key);
    request.range_end = kube__bin(list->end);
    request.revision = list->pinned;
    request.limit = KUBE__PAGE;
    if (list->options.limit != 0 && kube_selector_empty(&list->options.selector))
        request.limit = (int64_t)MIN((uint64_t)KUBE__PAGE, list->options.limit - list->count);
    if (kv_call_start(list->store->client, &list->call, &kv_method_range, &request.base, &options,
                      on_page, &err) == 0)
        return;
    fail(list, &err);
    kube__list_later(list);
}

/* Takes what is on the page. True: the next page is wanted. */
static bool take_page(struct kube_list *list, const Etcdserverpb__RangeResponse *page)
{
    struct slice last = {0};
    size_t taken = 0;
    bool more;

    while (taken < page->n_kvs && !is_full(list)) {
        if (!take(list, page->kvs[taken]))
            return false;
        last = kube__slice(page->kvs[taken++]->key);
    }
    more = page->more || taken < page->n_kvs;
    if (!more || last.len < list->prefix.len)
        return false;
    if (!is_full(list)) {
        list->key = concat(list->arena, last, slice_of("", 1));
        return true;
    }
    continue_behind(list, slice_of(last.data + list->prefix.len, last.len - list->prefix.len));
    if (kube_selector_empty(&list->options.selector))
        list->remaining = page->count - (int64_t)taken;
    return false;
}

static bool is_fresh(struct kube_list *list, int64_t current)
{
    const struct kube_list_options *options = &list->options;

    if (options->freshness != KUBE_NOT_OLDER || options->revision <= current)
        return true;
    (void)kube__status_too_large(&list->status, list->arena, options->revision, current);
    return false;
}

static void on_page(struct kv_call *call)
{
    struct kube_list *list = CONTAINER_OF(call, struct kube_list, call);
    const Etcdserverpb__RangeResponse *page = (const void *)call->result.message;
    bool more = false;

    if (page == NULL) {
        fail(list, &call->result.err);
    } else {
        int64_t current = kube__seen(list->store, page->header);

        if (list->pinned == 0)
            list->pinned = list->revision = current;
        if (is_fresh(list, current))
            more = take_page(list, page);
    }
    kv_result_release(&call->result);
    if (more)
        ask_page(list);
    else
        kube__list_finish(list);
}

/* ---- answers of the cache ---- */

static bool takes(const struct kube_list *list, const struct kube_object *object)
{
    return kube_selector_matches(&list->options.selector, &kube_selected_object, object);
}

/* False: list has its status. */
static bool add_cached(struct kube_list *list, struct kube_object *object)
{
    if (object->len == 0) {
        (void)kube__status_unreadable(&list->status, list->arena, list->store, list->resource,
                                      kube__object_key(object), "");
        return false;
    }
    if (takes(list, object))
        add(list, kube_object_ref(object));
    return true;
}

static void scan(struct kube_list *list, struct kube__scan *scan)
{
    struct kube_object *object, *last = NULL;
    size_t rest;

    while (!is_full(list) && (object = kube__scan_next(scan)) != NULL) {
        if (!add_cached(list, object))
            return;
        last = object;
    }
    rest = is_full(list) ? kube__scan_rest(scan, list->arena) : 0;
    if (rest != 0) {
        struct slice key = kube__object_key(last);

        continue_behind(list, slice_of(key.data + scan->prefix.len, key.len - scan->prefix.len));
        if (kube_selector_empty(&list->options.selector))
            list->remaining = (int64_t)rest;
    }
}

/* False: the cache does not have that revision. */
static bool answer_from(struct kube_list *list, const struct kube_cache *cache)
{
    size_t skip = cache->prefix.len;
    struct slice prefix = slice_of(list->prefix.data + skip, list->prefix.len - skip);
    struct slice key = slice_of(list->key.data + skip, list->key.len - skip);
    int64_t revision = list->pinned != 0 ? list->pinned : cache->revision;
    struct kube__scan at;
    bool one = list->end.len == 0;

    if (one) /* a key and nothing that begins with it */
        prefix = key;
    if (!kube__scan_begin(&at, cache, list->arena, &list->options.selector, prefix, key, revision))
        return false;
    list->revision = revision;
    if (one) {
        struct kube_object *object = kube__scan_next(&at);

        if (object != NULL && slice_eq(kube__object_key(object), key))
            (void)add_cached(list, object);
    } else {
        scan(list, &at);
    }
    return true;
}

static void on_ready(struct kube_waiter *waiter, const struct kube_status *status)
{
    struct kube_list *list = CONTAINER_OF(waiter, struct kube_list, waiter);
    const struct kube_cache *cache = waiter->cache;
    bool untrusted = list->store->progress != PROGRESS_TRUSTED;

    if (status == &kube__late && list->options.freshness == KUBE_NOT_OLDER && !untrusted) {
        (void)kube__status_too_large(&list->status, list->arena, list->options.revision,
                                     cache->revision);
    } else if (status == &kube__late) {
        ask_page(list);
        return;
    } else if (status != NULL) {
        kube__status_copy(&list->status, list->arena, status);
    } else if (!answer_from(list, cache)) {
        ask_page(list);
        return;
    }
    kube__list_finish(list);
}

/* ---- who answers ---- */

static void answer_pinned(struct kube_list *list)
{
    const struct kube_cache *cache = kube__cache_ready(list->store, list->resource);

    if (cache != NULL && answer_from(list, cache))
        kube__list_later(list);
    else
        ask_page(list);
}

/* A chunk is not worth the wait for the cache's first fill. */
static bool better_asked(const struct kube_list *list, const struct kube_cache *cache)
{
    if (list->store->progress != PROGRESS_TRUSTED)
        return true;
    if (cache->state == CACHE_READY)
        return !kube__in_touch(cache);
    return list->options.limit != 0 || list->end.len == 0;
}

static void route(struct kube_list *list)
{
    uint64_t late_ms = uv_now(list->store->loop) + KUBE__LATE_MS;
    struct kube_cache *cache;

    if (list->pinned != 0) {
        answer_pinned(list);
        return;
    }
    list->waiter.ready = on_ready;
    cache = kube__cache(list->store, list->resource);
    if (list->options.freshness == KUBE_ANY)
        kube__wait(&list->waiter, cache, 0, 0);
    else if (list->options.freshness == KUBE_NOT_OLDER)
        kube__wait(&list->waiter, cache, list->options.revision, late_ms);
    else if (better_asked(list, cache))
        ask_page(list);
    else
        kube__wait_newest(&list->waiter, cache);
}

void kube_list(struct kube_store *store, struct kube_list *list, struct arena *arena,
               const struct kube_resource *resource, const struct kube_list_options *options,
               kube_list_cb cb)
{
    *list = (struct kube_list){
        .store = store,
        .resource = resource->stored_as,
        .options = *options,
        .arena = arena,
        .cb = cb,
        .remaining = -1,
        .deadline_ms = uv_now(store->loop) + store->timeout_ms,
    };
    list_push_back(&store->lists, &list->link);
    if (prepare(list) != 0)
        kube__list_later(list);
    else
        route(list);
}
