/* Streams and their watchers: create, cancel, progress. */
#include <stdlib.h>

#include "base/mem.h"
#include "mvcc/keyindex.h"
#include "mvcc/watch_internal.h"

enum { BURY_AT_ONCE = 64 };

/* ---- streams ---- */

struct watch_stream *watch_stream_new(struct watch_hub *hub, void *ctx)
{
    struct watch_stream *stream = xcalloc(1, sizeof *stream);

    stream->hub = hub;
    stream->ctx = ctx;
    idmap_init(&stream->watchers);
    list_init(&stream->parked);
    list_init(&stream->future);
    list_init(&stream->dead_link);
    hub->stats.streams++;
    return stream;
}

static void free_watcher(struct watch_hub *hub, struct watcher *watcher)
{
    if (watcher->state == WATCHER_LAGGING)
        watch__leave_lagging(hub, watcher);
    if (watcher->state != WATCHER_ENDED) {
        watch_index__remove(&hub->index, watcher);
        watcher->stream->live--;
        hub->stats.watchers--;
    }
    list_remove(&watcher->link);
    free(watcher);
}

/* A stream may have 100,000 watchers, and to free one takes about 2 us: all at once would hold up
 * whoever has nothing to do with them. So a stream leaves the counts, and the rest is done a few
 * watchers at a time. Until then they are in the index, and on_match() and catch_up() know. */
void watch_stream_free(struct watch_stream *stream)
{
    struct watch_hub *hub;

    if (stream == NULL)
        return;
    hub = stream->hub;
    hub->stats.streams--;
    hub->stats.watchers -= stream->live;
    hub->stats.lagging -= stream->lagging;
    stream->ctx = NULL;
    stream->dead = true;
    list_push_back(&hub->dead, &stream->dead_link);
    watch__bury(hub, BURY_AT_ONCE);
}

/* False: there is none left. */
static bool bury_one(struct watch_hub *hub, struct watch_stream *stream)
{
    struct watcher *watcher = idmap_next(&stream->watchers, &stream->dead_cursor);

    if (watcher == NULL)
        return false;
    list_remove(&watcher->link);
    if (watcher->state != WATCHER_ENDED)
        watch_index__remove(&hub->index, watcher);
    free(watcher);
    return true;
}

void watch__bury(struct watch_hub *hub, size_t count)
{
    while (count > 0 && !list_empty(&hub->dead)) {
        struct watch_stream *stream = LIST_FIRST(&hub->dead, struct watch_stream, dead_link);

        for (; count > 0 && bury_one(hub, stream); count--) {
        }
        if (count == 0)
            return;
        list_remove(&stream->dead_link);
        idmap_release(&stream->watchers);
        free(stream);
        count--;
    }
}

void watch_stream_resume(struct watch_stream *stream)
{
    stream->blocked = false;
    list_splice(&stream->hub->lagging, &stream->parked);
}

bool watch_stream_is_blocked(const struct watch_stream *stream)
{
    return stream->blocked;
}

/* ---- create, cancel ---- */

static bool span_is_empty(struct mvcc_span span)
{
    return !mvcc__span_is_point(span) && !mvcc__span_is_unbounded(span) &&
           slice_cmp(span.key, span.end) >= 0;
}

static int choose_id(struct watch_stream *stream, int64_t wanted, int64_t *out)
{
    if (wanted != 0) {
        *out = wanted;
        return idmap_get(&stream->watchers, (uint64_t)wanted) != NULL ? KV_EEXIST : 0;
    }
    while (idmap_get(&stream->watchers, (uint64_t)stream->next_id) != NULL)
        stream->next_id++;
    *out = stream->next_id++;
    return 0;
}

static struct watcher *new_watcher(struct watch_stream *stream, const struct watch_create *create,
                                   int64_t id)
{
    size_t key_len = create->span.key.len, end_len = create->span.end.len;
    struct watcher *watcher = xmalloc(offsetof(struct watcher, bytes) + key_len + end_len);

    memset(watcher, 0, offsetof(struct watcher, bytes));
    watcher->stream = stream;
    watcher->id = id;
    list_init(&watcher->link);
    watcher->key_len = (uint32_t)key_len;
    watcher->end_len = (uint32_t)end_len;
    watcher->flags = (uint8_t)create->flags;
    watcher->quiet = true;
    memcpy(watcher->bytes, create->span.key.data, key_len);
    if (end_len > 0)
        memcpy(watcher->bytes + key_len, create->span.end.data, end_len);
    return watcher;
}

int watch_create(struct watch_stream *stream, const struct watch_create *create, int64_t *id)
{
    struct watch_hub *hub = stream->hub;
    int64_t now = mvcc_revision(hub->mvcc);
    struct watcher *watcher;
    int rc;

    ASSERT(create->span.key.len > 0);
    ASSERT(create->start >= 0);
    if (span_is_empty(create->span))
        return KV_EINVAL;
    rc = choose_id(stream, create->id, id);
    if (rc != 0)
        return rc;

    if (hub->stats.watchers == 0)
        hub->done = now; /* nobody has missed anything */
    watcher = new_watcher(stream, create, *id);
    watcher->next = create->start != 0 ? create->start : now + 1;
    (void)idmap_put(&stream->watchers, (uint64_t)*id, watcher); /* none had it */
    watch_index__add(&hub->index, watcher);
    stream->live++;
    hub->stats.watchers++;
    if (watcher->next <= hub->done)
        watch__set_lagging(hub, watcher, watcher->next);
    else if (watcher->next > hub->done + 1)
        list_push_back(&stream->future, &watcher->link);
    return 0;
}

size_t watch_stream_count(const struct watch_stream *stream)
{
    return stream->watchers.count;
}

void watch_stream_ids(const struct watch_stream *stream, int64_t *ids)
{
    const struct watcher *watcher;
    size_t cursor = 0;

    while ((watcher = idmap_next(&stream->watchers, &cursor)) != NULL)
        *ids++ = watcher->id;
}

bool watch_watcher_span(const struct watch_stream *stream, int64_t id, struct mvcc_span *out)
{
    const struct watcher *watcher = idmap_get(&stream->watchers, (uint64_t)id);

    if (watcher != NULL)
        *out = watcher__span(watcher);
    return watcher != NULL;
}

bool watch_cancel(struct watch_stream *stream, int64_t id)
{
    struct watcher *watcher = idmap_remove(&stream->watchers, (uint64_t)id);

    if (watcher == NULL)
        return false;
    free_watcher(stream->hub, watcher);
    return true;
}

/* ---- progress ---- */

/* Wants nothing at or below what has been told, and nothing that is still a while off. */
static bool is_up_to_date(const struct watcher *watcher)
{
    return watcher->state == WATCHER_SYNCED && watcher->next <= watcher->stream->hub->done + 1;
}

/* Each watcher is found to have been reached once, so a flood of requests costs nothing. */
static bool has_future_start(struct watch_stream *stream)
{
    while (!list_empty(&stream->future)) {
        struct watcher *watcher = LIST_FIRST(&stream->future, struct watcher, link);

        if (!is_up_to_date(watcher))
            return true;
        list_remove(&watcher->link);
    }
    return false;
}

enum watch_progress watch_stream_progress(struct watch_stream *stream)
{
    if (stream->live == 0)
        return WATCH_PROGRESS_NONE;
    if (stream->lagging > 0 || stream->blocked || !watch_hub_is_current(stream->hub))
        return WATCH_PROGRESS_LATER;
    return has_future_start(stream) ? WATCH_PROGRESS_NONE : WATCH_PROGRESS_NOW;
}

void watch_stream_tick(struct watch_stream *stream,
                       void (*notify)(void *stream_ctx, int64_t id, int64_t revision))
{
    struct watcher *watcher;
    size_t cursor = 0;

    while ((watcher = idmap_next(&stream->watchers, &cursor)) != NULL) {
        if (!(watcher->flags & WATCH_PROGRESS))
            continue;
        if (watcher->quiet && !stream->blocked && is_up_to_date(watcher))
            notify(stream->ctx, watcher->id, stream->hub->done);
        watcher->quiet = true;
    }
}
