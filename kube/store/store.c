#include "kube/store/store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kube/store/internal.h"

enum { TIMEOUT_MS = 60000 }; /* as upstream */

/* ---- the next turn ---- */

static void finish_due(struct kube_store *store)
{
    struct list ops, lists;

    list_init(&ops);
    list_init(&lists);
    list_splice(&ops, &store->due_ops);
    list_splice(&lists, &store->due_lists);
    /* A callback may cancel others in these lists: always take the first. */
    while (!list_empty(&ops))
        kube__op_finish(LIST_FIRST(&ops, struct kube_op, link));
    while (!list_empty(&lists))
        kube__list_finish(LIST_FIRST(&lists, struct kube_list, link));
}

static void on_idle(uv_idle_t *idle)
{
    struct kube_store *store = CONTAINER_OF(idle, struct kube_store, idle);
    bool more = false;

    (void)uv_idle_stop(idle);
    finish_due(store);
    kube__wait_turn(store);
    LIST_EACH (node, &store->caches) {
        struct kube_cache *cache = LIST_ENTRY(node, struct kube_cache, link);

        kube__waiters_wake(cache);
        more = kube__dispatch(cache) || more;
    }
    if (more)
        kube__kick(store);
}

void kube__kick(struct kube_store *store)
{
    (void)uv_idle_start(&store->idle, on_idle); /* fails only without a callback */
}

void kube__op_later(struct kube_op *op)
{
    list_remove(&op->link);
    list_push_back(&op->store->due_ops, &op->link);
    kube__kick(op->store);
}

void kube__list_later(struct kube_list *list)
{
    list_remove(&list->link);
    list_push_back(&list->store->due_lists, &list->link);
    kube__kick(list->store);
}

/* ---- time ---- */

static void on_timer(uv_timer_t *timer)
{
    struct kube_store *store = CONTAINER_OF(timer, struct kube_store, timer);
    uint64_t now_ms = uv_now(store->loop);

    store->tick_ms = 0;
    if (!list_empty(&store->caches))
        kube__tick_within(store, KUBE__TICK_MS);
    kube__compaction_tick(store, now_ms);
    LIST_EACH (node, &store->caches) {
        kube__cache_tick(LIST_ENTRY(node, struct kube_cache, link), now_ms);
    }
}

void kube__tick_within(struct kube_store *store, uint64_t ms)
{
    if (store->tick_ms != 0 && store->tick_ms <= ms)
        return;
    store->tick_ms = ms;
    (void)uv_timer_start(&store->timer, on_timer, ms, 0); /* fails only without a callback */
}

/* ---- life ---- */

static bool prefix_is_good(const char *prefix)
{
    size_t len = prefix == NULL ? 0 : strlen(prefix);

    return len > 1 && prefix[0] == '/' && prefix[len - 1] != '/';
}

int kube_store_new(const struct kube_store_options *options, struct kube_store **out,
                   struct err *err)
{
    struct kube_store *store;

    if (!prefix_is_good(options->prefix))
        return err_set(err, KV_EINVAL,
                       "the prefix of keys must begin with a slash and end without one, as in "
                       "/registry: %s",
                       options->prefix == NULL ? "there is none" : options->prefix);
    store = xcalloc(1, sizeof(*store));
    store->loop = options->loop;
    store->client = options->client;
    store->prefix = xstrdup(options->prefix);
    store->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : TIMEOUT_MS;
    store->history_max = options->history_max;
    store->event_ttl_s = options->event_ttl_s != 0 ? options->event_ttl_s : 3600;
    list_init(&store->ops);
    list_init(&store->lists);
    list_init(&store->due_ops);
    list_init(&store->due_lists);
    list_init(&store->caches);
    list_init(&store->next_probe);
    list_init(&store->this_probe);
    arena_init(&store->scratch);
    store->salt = uv_hrtime();
    list_init(&store->lease.waiting);
    store->compaction.every_ms = options->compact_every_ms;
    store->compaction.last_ms = uv_now(store->loop);
    store->watcher = kv_watcher_new(store->client, KV_REQUIRE_LEADER);
    (void)uv_idle_init(store->loop, &store->idle);
    (void)uv_timer_init(store->loop, &store->timer);
    store->handles = 2;
    if (store->compaction.every_ms != 0)
        kube__tick_within(store, KUBE__TICK_MS);
    *out = store;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct kube_store *store = handle->data;

    if (--store->handles == 0)
        free(store);
}

static void cancel_all(struct kube_store *store)
{
    while (!list_empty(&store->ops))
        kube_op_cancel(LIST_FIRST(&store->ops, struct kube_op, link));
    while (!list_empty(&store->lease.waiting))
        kube_op_cancel(LIST_FIRST(&store->lease.waiting, struct kube_op, link));
    while (!list_empty(&store->due_ops))
        kube_op_cancel(LIST_FIRST(&store->due_ops, struct kube_op, link));
    while (!list_empty(&store->lists))
        kube_list_cancel(LIST_FIRST(&store->lists, struct kube_list, link));
    while (!list_empty(&store->due_lists))
        kube_list_cancel(LIST_FIRST(&store->due_lists, struct kube_list, link));
}

static void free_caches(struct kube_store *store)
{
    while (!list_empty(&store->caches)) {
        struct kube_cache *cache = LIST_FIRST(&store->caches, struct kube_cache, link);

        while (!list_empty(&cache->watches))
            kube_watch_stop(LIST_FIRST(&cache->watches, struct kube_watch, all_link));
        kube__cache_free(cache);
    }
}

void kube_store_free(struct kube_store *store)
{
    if (store == NULL)
        return;
    cancel_all(store);
    kube__wait_free(store);
    kube__lease_free(store);
    kube__compaction_free(store);
    free_caches(store);
    kv_watcher_free(store->watcher);
    free(store->prefix);
    arena_release(&store->scratch);
    store->idle.data = store->timer.data = store;
    uv_close((uv_handle_t *)&store->idle, on_closed);
    uv_close((uv_handle_t *)&store->timer, on_closed);
}

/* ---- what failed, as the API says it ---- */

int kube__status_of(struct kube_status *status, struct arena *arena, const struct err *err)
{
    switch (err->code) {
    case KV_ECOMPACTED:
        return kube_status_set(status, arena, 410, "Expired",
                               "The resourceVersion for the provided list is too old.");
    case KV_ETOOBIG:
        return kube_status_set(status, arena, 413, "RequestEntityTooLarge", "%s", err->text);
    case KV_ETIMEDOUT:
        return kube_status_set(status, arena, 504, "Timeout", "the store did not answer: %s",
                               err->text);
    case KV_EUNKNOWN:
        return kube_status_set(status, arena, 504, "Timeout",
                               "the store may or may not have carried it out: %s", err->text);
    case KV_ECONN:
    case KV_ENOLEADER:
    case KV_ELEADERCHANGED:
    case KV_ESTOPPED:
        return kube_status_set(status, arena, 503, "ServiceUnavailable",
                               "the store cannot be reached: %s", err->text);
    default:
        return kube_status_internal(status, arena, "%s", err->text);
    }
}

void kube__status_copy(struct kube_status *out, struct arena *arena,
                       const struct kube_status *status)
{
    (void)kube_status_set(out, arena, status->code, status->reason, "%s", status->message);
}

int kube__status_too_large(struct kube_status *status, struct arena *arena, int64_t wanted,
                           int64_t current)
{
    struct kube_cause *cause = arena_calloc(arena, sizeof(*cause));

    (void)kube_status_set(status, arena, 504, "Timeout",
                          "Timeout: Too large resource version: %" PRId64 ", current: %" PRId64,
                          wanted, current);
    cause->reason = "ResourceVersionTooLarge";
    cause->message = "Too large resource version";
    status->causes = cause;
    status->retry_after_s = 1;
    return status->code;
}

int kube__status_unreadable(struct kube_status *status, struct arena *arena,
                            const struct kube_store *store, const struct kube_resource *resource,
                            struct slice key, const char *why)
{
    return kube_status_internal(status, arena, "what is stored under %s/%s/%.*s cannot be read%s%s",
                                store->prefix, resource->prefix, (int)key.len,
                                (const char *)key.data, why[0] == '\0' ? "" : ": ", why);
}

int kube__status_terminating(struct kube_status *status, struct arena *arena,
                             const struct kube_resource *resource, struct slice ns,
                             struct slice name)
{
    struct kube_cause *cause = arena_calloc(arena, sizeof(*cause));
    struct kube_status about = {0};

    (void)kube_status_forbidden(
        status, arena, resource, name,
        "unable to create new content in namespace %.*s because it is being terminated",
        (int)ns.len, (const char *)ns.data);
    (void)kube_status_set(&about, arena, 403, "Forbidden", "namespace %.*s is being terminated",
                          (int)ns.len, (const char *)ns.data);
    cause->reason = "NamespaceTerminating";
    cause->message = about.message;
    cause->field = "metadata.namespace";
    status->causes = cause;
    return status->code;
}

/* ---- namespaces ---- */

const struct kube_resource *kube__namespaces(void)
{
    static const struct kube_resource *namespaces;

    if (namespaces == NULL)
        namespaces = kube_resource_find(slice_str(""), slice_str("v1"), slice_str("namespaces"));
    return namespaces;
}

bool kube__is_terminating(const struct kube_object *ns)
{
    return slice_eq(kube_selected_object.field(ns, slice_str("status.phase")),
                    slice_str("Terminating"));
}

/* ---- keys ---- */

int64_t kube__seen(struct kube_store *store, const Etcdserverpb__ResponseHeader *header)
{
    int64_t revision = header != NULL ? header->revision : 0;

    store->seen = MAX(store->seen, revision);
    return revision;
}

struct slice kube__tail(struct arena *arena, struct slice ns, struct slice name)
{
    uint8_t *out = arena_alloc(arena, ns.len + 1 + name.len);

    if (ns.len == 0)
        return name;
    memcpy(out, ns.data, ns.len);
    out[ns.len] = '/';
    if (name.len > 0)
        memcpy(out + ns.len + 1, name.data, name.len);
    return slice_of(out, ns.len + 1 + name.len);
}

struct slice kube__key(struct arena *arena, const struct kube_store *store,
                       const struct kube_resource *resource, struct slice tail)
{
    size_t prefix = strlen(store->prefix), middle = strlen(resource->prefix);
    uint8_t *out = arena_alloc(arena, prefix + middle + tail.len + 2);
    uint8_t *at = out;

    memcpy(at, store->prefix, prefix);
    at += prefix;
    *at++ = '/';
    memcpy(at, resource->prefix, middle);
    at += middle;
    *at++ = '/';
    if (tail.len > 0)
        memcpy(at, tail.data, tail.len);
    return slice_of(out, prefix + middle + tail.len + 2);
}

int kube__object_of(struct kube_store *store, const struct kube_resource *resource,
                    const Mvccpb__KeyValue *kv, struct arena *arena, struct kube_status *status,
                    struct kube_object **out)
{
    size_t skip = strlen(store->prefix) + strlen(resource->prefix) + 2;
    struct slice key = kube__slice(kv->key);
    struct err err = ERR_INIT;
    int rc;

    *out = NULL;
    if (key.len < skip)
        return kube_status_internal(status, arena,
                                    "the store answered with a key that nobody "
                                    "asked for");
    key = slice_of(key.data + skip, key.len - skip);
    rc = kube__object_new(resource, key, kube__slice(kv->value), kv->mod_revision, &store->scratch,
                          out, &err);
    if (rc != 0)
        (void)kube__status_unreadable(status, arena, store, resource, key, err.text);
    arena_reset(&store->scratch);
    return rc == 0 ? 0 : status->code;
}
