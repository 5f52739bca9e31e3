#include <stdlib.h>

#include "base/mem.h"
#include "kube/store/internal.h"

enum {
    COUNT_MIN = 1024,
    YOUNG_MS = 75000,          /* as upstream's caches keep events */
    YOUNG_BYTES_MIN = 8 << 20, /* of young events, however small the state is */
    BYTES_MIN = 64 << 20,      /* more than this is dropped even below the smallest number */
};

struct kube__event *kube__history_at(const struct kube__history *history, uint64_t seq)
{
    return &history->events[seq & (history->capacity - 1)];
}

static void grow(struct kube__history *history)
{
    struct kube__history old = *history;

    history->capacity = MAX((size_t)64, old.capacity * 2);
    history->events = xmalloc(history->capacity * sizeof(*history->events));
    for (uint64_t seq = old.first; seq < old.next; seq++)
        *kube__history_at(history, seq) = *kube__history_at(&old, seq);
    free(old.events);
}

static size_t event_bytes(const struct kube__event *event)
{
    size_t bytes = sizeof(*event);

    if (event->prev != NULL)
        bytes += event->prev->len;
    if (event->type == KUBE_DELETED)
        bytes += event->object->len;
    return bytes;
}

void kube__history_push(struct kube__history *history, const struct kube__event *event)
{
    if (history->next - history->first == history->capacity)
        grow(history);
    *kube__history_at(history, history->next++) = *event;
    history->bytes += event_bytes(event);
}

static void drop_first(struct kube__history *history)
{
    struct kube__event *event = kube__history_at(history, history->first++);

    history->bytes -= event_bytes(event);
    history->from = MAX(history->from, event->revision);
    kube_object_unref(event->object);
    kube_object_unref(event->prev);
    kube_object_unref(event->left);
}

static bool is_dispensable(const struct kube__history *history, size_t max, size_t live_bytes,
                           uint64_t now_ms)
{
    size_t count = (size_t)(history->next - history->first);
    bool young = now_ms - kube__history_at(history, history->first)->at_ms < YOUNG_MS &&
                 history->bytes < MAX(live_bytes / 4, (size_t)YOUNG_BYTES_MIN);

    if (max != 0)
        return count > max;
    return history->bytes > MAX(live_bytes / 2, (size_t)BYTES_MIN) || (count > COUNT_MIN && !young);
}

void kube__history_trim(struct kube__history *history, size_t max, size_t live_bytes,
                        uint64_t now_ms, uint64_t keep)
{
    while (history->first < history->next && history->first < keep &&
           is_dispensable(history, max, live_bytes, now_ms))
        drop_first(history);
}

uint64_t kube__history_seek(const struct kube__history *history, int64_t revision)
{
    uint64_t low = history->first, high = history->next;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (kube__history_at(history, middle)->revision <= revision)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void kube__history_reset(struct kube__history *history, int64_t revision)
{
    while (history->first < history->next)
        drop_first(history);
    history->from = revision;
}

void kube__history_release(struct kube__history *history)
{
    kube__history_reset(history, 0);
    free(history->events);
    *history = (struct kube__history){0};
}

struct kube_object *kube__event_left(struct kube__event *event)
{
    if (event->left == NULL)
        event->left = kube__object_at(event->prev, event->revision);
    return event->left;
}
