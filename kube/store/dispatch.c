/* Events to watches: live ones by groups, one event after the other; those that are behind read the
 * history by themselves. In slices, so that ten thousand watches do not hold up the loop. */
#include <stdlib.h>

#include "base/mem.h"
#include "kube/store/internal.h"

enum {
    SLICE_NS = 2000000,
    LOOK_EVERY = 32,       /* deliveries between two looks at the clock */
    QUEUE_MAX = 128 << 10, /* bytes that a client has not taken: its watch waits */
    RUN_BYTES = 64 << 10,  /* of a watch that catches up, at once */
    RUN_EVENTS = 512,
    EVENT_MAX = 64 << 20, /* of one encoded event */
};

/* ---- encodings of the event that is being told ---- */

struct kube__encoded {
    struct kube__encoded *next;
    const struct kube_encoding *encoding;
    const struct kube_resource *resource;
    enum kube_event_type type;
    struct buf bytes;
};

void kube__encoded_free(struct kube_cache *cache)
{
    while (cache->encoded != NULL) {
        struct kube__encoded *first = cache->encoded;

        cache->encoded = first->next;
        buf_release(&first->bytes);
        free(first);
    }
}

static struct slice encode_shared(const struct kube_watch *watch, enum kube_event_type type,
                                  const struct kube_object *object)
{
    struct kube_cache *cache = watch->cache;
    struct kube__encoded *encoded = cache->encoded;

    while (encoded != NULL && (encoded->encoding != watch->encoding || encoded->type != type ||
                               encoded->resource != watch->resource))
        encoded = encoded->next;
    if (encoded == NULL) {
        encoded = xcalloc(1, sizeof(*encoded));
        *encoded = (struct kube__encoded){
            .next = cache->encoded,
            .encoding = watch->encoding,
            .resource = watch->resource,
            .type = type,
        };
        cache->encoded = encoded;
        buf_init(&encoded->bytes, EVENT_MAX);
        watch->encoding->write(watch->encoding, watch->resource, type, object, &encoded->bytes);
    }
    return buf_slice(&encoded->bytes);
}

/* ---- what an event is to a watch ---- */

/* False: nothing. An object that begins to match was added, one that ceases to was deleted. */
static bool seen_by(const struct kube_watch *watch, struct kube__event *event,
                    enum kube_event_type *type, const struct kube_object **object)
{
    bool is, was;

    if (event->revision <= watch->revision)
        return false;
    is = event->type != KUBE_DELETED && kube__watch_matches(watch, event->object);
    was = kube__watch_matches(watch, event->prev);
    if (!is && !was)
        return false;
    *object = event->object;
    if (is)
        *type = was ? KUBE_MODIFIED : KUBE_ADDED;
    else
        *type = KUBE_DELETED;
    if (!is && event->type != KUBE_DELETED)
        *object = kube__event_left(event);
    return true;
}

static bool is_full(struct kube_watch *watch)
{
    return watch->callbacks->queued(watch) >= QUEUE_MAX;
}

static void park(struct kube_watch *watch)
{
    watch->is_parked = true;
    list_remove(&watch->link);
    list_push_back(&watch->cache->parked, &watch->link);
}

/* ---- live watches ---- */

/* The watch is back in its group, and is told. */
static void tell(struct kube_watch *watch, struct kube__event *event)
{
    enum kube_event_type type;
    const struct kube_object *object;

    if (!seen_by(watch, event, &type, &object))
        return;
    if (is_full(watch)) {
        watch->next_seq = watch->cache->dispatched - 1;
        kube__group_leave(watch);
        park(watch);
        return;
    }
    watch->told = event->revision;
    watch->callbacks->on_bytes(watch, encode_shared(watch, type, object)); /* last */
}

static void tell_first(struct kube_cache *cache)
{
    struct kube_watch *watch = LIST_FIRST(&cache->todo, struct kube_watch, link);

    list_remove(&watch->link);
    list_push_back(&watch->group->watches, &watch->link);
    tell(watch, kube__history_at(&cache->history, cache->dispatched - 1));
}

static void open_next_event(struct kube_cache *cache)
{
    kube__encoded_free(cache);
    kube__groups_collect(cache, kube__history_at(&cache->history, cache->dispatched), &cache->todo);
    cache->dispatched++;
}

uint64_t kube__dispatch_first(const struct kube_cache *cache)
{
    return list_empty(&cache->todo) ? cache->dispatched : cache->dispatched - 1;
}

int64_t kube__dispatch_revision(const struct kube_cache *cache)
{
    uint64_t first = kube__dispatch_first(cache);

    return first == cache->history.next ? cache->revision
                                        : kube__history_at(&cache->history, first)->revision - 1;
}

/* ---- watches that catch up ---- */

/* Some of the first state; behind the last of it, that this was all. */
static void tell_initial(struct kube_watch *watch, struct buf *run)
{
    struct kube__initial *initial = watch->initial;

    if (initial->at == initial->count) {
        kube__initial_free(initial);
        watch->initial = NULL;
        if ((watch->flags & WATCH_INITIAL_EVENTS) != 0)
            watch->callbacks->on_bookmark(watch, watch->revision, true); /* last */
        return;
    }
    while (initial->at < initial->count && run->len < RUN_BYTES) {
        struct kube_object *object = initial->objects[initial->at++];

        watch->encoding->write(watch->encoding, watch->resource, KUBE_ADDED, object, run);
        kube_object_unref(object);
    }
    watch->callbacks->on_bytes(watch, buf_slice(run)); /* last */
}

/* Up to the event that is being told, which it is not told of again in its group. */
static void write_history(struct kube_watch *watch, struct buf *run)
{
    struct kube_cache *cache = watch->cache;

    for (size_t n = 0; watch->next_seq < cache->dispatched && n < RUN_EVENTS; n++) {
        struct kube__event *event = kube__history_at(&cache->history, watch->next_seq++);
        const struct kube_object *object;
        enum kube_event_type type;

        if (!seen_by(watch, event, &type, &object))
            continue;
        watch->told = event->revision;
        watch->encoding->write(watch->encoding, watch->resource, type, object, run);
        if (run->len >= RUN_BYTES)
            break;
    }
}

static void tell_history(struct kube_watch *watch, struct buf *run)
{
    write_history(watch, run);
    if (watch->next_seq >= watch->cache->dispatched)
        kube__group_join(watch);
    if (run->len != 0)
        watch->callbacks->on_bytes(watch, buf_slice(run)); /* last */
}

/* A step of it. */
static void catch_up(struct kube_watch *watch)
{
    static const struct kube_status slow = {.message = "the watch was slower than the changes"};
    struct kube_cache *cache = watch->cache;
    struct buf run;

    if (watch->initial == NULL && watch->next_seq < cache->history.first) {
        kube__watch_end(watch, &slow);
        return;
    }
    if (is_full(watch)) {
        park(watch);
        return;
    }
    list_remove(&watch->link);
    list_push_back(&cache->catching, &watch->link);
    buf_init(&run, EVENT_MAX + RUN_BYTES);
    if (watch->initial != NULL)
        tell_initial(watch, &run);
    else
        tell_history(watch, &run);
    buf_release(&run);
}

/* ---- a slice of work ---- */

bool kube__dispatch(struct kube_cache *cache)
{
    uint64_t until = uv_hrtime() + SLICE_NS;

    for (unsigned n = 1;; n++) {
        if (!list_empty(&cache->todo))
            tell_first(cache);
        else if (cache->dispatched < cache->history.next)
            open_next_event(cache);
        else
            break;
        if (n % LOOK_EVERY == 0 && uv_hrtime() >= until)
            break;
    }
    if (list_empty(&cache->todo))
        kube__encoded_free(cache);
    /* At least one each turn, whatever the others cost. */
    while (!list_empty(&cache->catching)) {
        catch_up(LIST_FIRST(&cache->catching, struct kube_watch, link));
        if (uv_hrtime() >= until)
            break;
    }
    return !list_empty(&cache->todo) || cache->dispatched < cache->history.next ||
           !list_empty(&cache->catching);
}
