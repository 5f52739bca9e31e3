/* A cache's objects as they are, or as they were at an older revision: what has changed since then
 * is taken from the history, where each event has the state before it. */
#include <stdlib.h>
#include <string.h>

#include "kube/store/internal.h"

enum { PAST_EVENTS_MAX = 8192 }; /* to look through for a chunk; beyond it kvd is asked */

static bool has_prefix(struct slice key, struct slice prefix)
{
    return key.len >= prefix.len &&
           (prefix.len == 0 || memcmp(key.data, prefix.data, prefix.len) == 0);
}

static int by_key_then_time(const void *left, const void *right)
{
    const struct kube__past *a = left, *b = right;
    int order = slice_cmp(a->key, b->key);

    return order != 0 ? order : (a->seq > b->seq) - (a->seq < b->seq);
}

/* Of several events of a key the first one has what was there at the revision. */
static size_t keep_first(struct kube__past *past, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !slice_eq(past[kept - 1].key, past[i].key))
            past[kept++] = past[i];
    return kept;
}

static bool collect_past(struct kube__scan *scan, struct arena *arena, struct slice start,
                         int64_t revision)
{
    const struct kube__history *history = &scan->cache->history;
    uint64_t first = kube__history_seek(history, revision);
    size_t count = 0;

    if (revision < history->from || history->next - first > PAST_EVENTS_MAX)
        return false;
    scan->past = arena_alloc(arena, (size_t)(history->next - first) * sizeof(*scan->past));
    for (uint64_t seq = first; seq < history->next; seq++) {
        const struct kube__event *event = kube__history_at(history, seq);
        struct slice key = kube__object_key(event->object);

        if (has_prefix(key, scan->prefix) && slice_cmp(key, start) >= 0)
            scan->past[count++] =
                (struct kube__past){.key = key, .seq = seq, .object = event->prev};
    }
    if (count > 0)
        qsort(scan->past, count, sizeof(*scan->past), by_key_then_time);
    scan->past_count = keep_first(scan->past, count);
    return true;
}

static struct kube__place place_of(const struct kube__scan *scan, struct slice key)
{
    return (struct kube__place){.value = scan->node, .key = key};
}

bool kube__scan_begin(struct kube__scan *scan, const struct kube_cache *cache, struct arena *arena,
                      const struct kube_selector *selector, struct slice prefix, struct slice start,
                      int64_t revision)
{
    struct slice node = kube_selector_pins(selector, "spec.nodeName");

    *scan = (struct kube__scan){.cache = cache, .index = &cache->index, .prefix = prefix};
    if (revision > cache->revision)
        return false;
    if (revision == cache->revision && cache->by_node.by != 0 && node.len != 0) {
        scan->index = &cache->by_node;
        scan->node = node;
    }
    scan->at = kube__index_seek(scan->index, place_of(scan, start));
    return revision == cache->revision || collect_past(scan, arena, start, revision);
}

/* The present state's next object below the prefix, not taken yet. */
static struct kube_object *peek(const struct kube__scan *scan)
{
    struct kube__position at = scan->at;
    struct kube_object *object = kube__index_next(scan->index, &at);

    if (object == NULL || !has_prefix(kube__object_key(object), scan->prefix) ||
        !slice_eq(kube__index_place(scan->index, object).value, scan->node))
        return NULL;
    return object;
}

struct kube_object *kube__scan_next(struct kube__scan *scan)
{
    for (;;) {
        struct kube_object *now = peek(scan);
        const struct kube__past *then =
            scan->past_at < scan->past_count ? &scan->past[scan->past_at] : NULL;
        int order;

        if (now == NULL && then == NULL)
            return NULL;
        order = now == NULL ? 1 : then == NULL ? -1 : slice_cmp(kube__object_key(now), then->key);
        if (order <= 0)
            (void)kube__index_next(scan->index, &scan->at);
        if (order < 0)
            return now;
        scan->past_at++;
        if (then->object != NULL)
            return then->object;
    }
}

/* Where those wanted end. */
static struct kube__position end_of(const struct kube__scan *scan, struct arena *arena)
{
    struct kube__place end = {0};
    uint8_t *next = arena_alloc(arena, MAX(scan->prefix.len, scan->node.len + 1));

    if (scan->prefix.len != 0) {
        end = place_of(scan, slice_of(next, kv_prefix_end(scan->prefix, next)));
    } else if (scan->node.len != 0) { /* the value that comes next */
        memcpy(next, scan->node.data, scan->node.len);
        next[scan->node.len] = 0;
        end.value = slice_of(next, scan->node.len + 1);
    } else {
        return (struct kube__position){.chunk = scan->index->chunk_count};
    }
    return kube__index_seek(scan->index, end);
}

size_t kube__scan_rest(const struct kube__scan *scan, struct arena *arena)
{
    size_t rest = kube__index_rank(scan->index, end_of(scan, arena)) -
                  kube__index_rank(scan->index, scan->at);

    for (size_t i = scan->past_at; i < scan->past_count; i++) {
        rest += scan->past[i].object != NULL;
        rest -= kube__index_find(&scan->cache->index, scan->past[i].key) != NULL;
    }
    return rest;
}
