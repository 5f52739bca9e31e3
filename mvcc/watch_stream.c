/* Streams and their watchers: create, cancel, progress. */
#include <stdlib.h>

#include "base/mem.h"
#include "mvcc/keyindex.h"
#include "mvcc/watch_internal.h"

/* ---- streams ---- */

struct watch_stream *watch_stream_new(struct watch_hub *hub, void *ctx)
{
    struct watch_stream *stream = xcalloc(1, sizeof *stream);

    stream->hub = hub;
    stream->ctx = ctx;
    idmap_init(&stream->watchers);
    list_init(&stream->parked);
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
    free(watcher);
}

void watch_stream_free(struct watch_stream *stream)
{
    struct watcher *watcher;
    size_t cursor = 0;

    if (stream == NULL)
        return;
    while ((watcher = idmap_next(&stream->watchers, &cursor)) != NULL)
        free_watcher(stream->hub, watcher);
    idmap_release(&stream->watchers);
    stream->hub->stats.streams--;
    free(stream);
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
    stream->start_max = MAX(stream->start_max, watcher->next);
    if (watcher->next <= hub->done)
        watch__set_lagging(hub, watcher, watcher->next);
    return 0;
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

static bool has_future_start(const struct watch_stream *stream)
{
    const struct watcher *watcher;
    size_t cursor = 0;

    if (stream->start_max <= stream->hub->done + 1)
        return false;
    while ((watcher = idmap_next(&stream->watchers, &cursor)) != NULL)
        if (watcher->state == WATCHER_SYNCED && !is_up_to_date(watcher))
            return true;
    return false;
}

enum watch_progress watch_stream_progress(const struct watch_stream *stream)
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
