#include "mvcc/watch.h"

#include <stdlib.h>

#include "base/mem.h"
#include "mvcc/internal.h"
#include "mvcc/watch_internal.h"

enum {
    SLICE_RECORDS = 4096,        /* what a lagging watcher reads before it is another one's turn */
    BURY_WORK = 4,               /* to free a watcher, in units of the budget */
    CHAIN_MAX = 512,             /* changes of a key that are followed back without the log */
    SCRATCH_KEPT_MAX = 1 << 20,  /* encoded bytes kept for reuse */
    SCRATCH_ITEMS_MAX = 1 << 14, /* and entries of each table */
};

/* ---- scratch ---- */

#define TABLE_ADD(table)                                                                           \
    ((table)->len == (table)->cap                                                                  \
         ? (void)((table)->cap = MAX((table)->cap * 2, (size_t)64),                                \
                  (table)->rows = xrealloc((table)->rows, (table)->cap * sizeof *(table)->rows))   \
         : (void)0,                                                                                \
     &(table)->rows[(table)->len++])

/* A mass delete is not kept in mind for ever. */
#define TABLE_RESET(table)                                                                         \
    do {                                                                                           \
        (table)->len = 0;                                                                          \
        if ((table)->cap > SCRATCH_ITEMS_MAX) {                                                    \
            free((table)->rows);                                                                   \
            (table)->rows = NULL;                                                                  \
            (table)->cap = 0;                                                                      \
        }                                                                                          \
    } while (0)

static void reset_scratch(struct watch_hub *hub)
{
    if (hub->bytes.cap > SCRATCH_KEPT_MAX)
        buf_release(&hub->bytes);
    buf_reset(&hub->bytes);
    TABLE_RESET(&hub->events);
    TABLE_RESET(&hub->hits);
    TABLE_RESET(&hub->batches);
    TABLE_RESET(&hub->slices);
}

/* ---- the hub ---- */

struct watch_hub *watch_hub_new(const struct watch_hub_options *options)
{
    struct watch_hub *hub = xcalloc(1, sizeof *hub);

    hub->options = *options;
    hub->mvcc = options->mvcc;
    hub->done = mvcc_revision(hub->mvcc);
    watch_index__init(&hub->index, options->seed);
    list_init(&hub->lagging);
    list_init(&hub->dead);
    buf_init(&hub->bytes, SIZE_MAX / 2); /* as large as the records of one revision */
    return hub;
}

void watch_hub_free(struct watch_hub *hub)
{
    if (hub == NULL)
        return;
    ASSERT(hub->stats.streams == 0);
    watch__bury(hub, SIZE_MAX);
    watch_index__release(&hub->index);
    buf_release(&hub->bytes);
    free(hub->events.rows);
    free(hub->hits.rows);
    free(hub->batches.rows);
    free(hub->slices.rows);
    free(hub);
}

int64_t watch_hub_revision(const struct watch_hub *hub)
{
    return hub->done;
}

bool watch_hub_is_current(const struct watch_hub *hub)
{
    return hub->done == mvcc_revision(hub->mvcc) || hub->stats.watchers == 0;
}

/* What it has not been told between the hub's revision and the new one's, it reads. One that starts
 * in the future may find that future behind it. */
static void fall_behind(void *ctx, struct watcher *watcher)
{
    struct watch_hub *hub = ctx;
    int64_t next = MAX(watcher->next, hub->done + 1);

    if (watcher->state == WATCHER_SYNCED && !watcher->stream->dead &&
        next <= mvcc_revision(hub->mvcc))
        watch__set_lagging(hub, watcher, next);
}

void watch_hub_switch(struct watch_hub *hub, const struct mvcc *mvcc)
{
    ASSERT(mvcc_revision(mvcc) >= hub->done);
    hub->mvcc = hub->options.mvcc = mvcc;
    watch_index__each(&hub->index, fall_behind, hub);
    hub->done = mvcc_revision(mvcc);
}

void watch_hub_stats(const struct watch_hub *hub, struct watch_stats *out)
{
    *out = hub->stats;
}

/* ---- events ---- */

static bool passes(int flags, const struct record *record)
{
    return !(flags & (record__is_tombstone(record) ? WATCH_NO_DELETE : WATCH_NO_PUT));
}

/* The key's value before the revision of this change, or NULL. oldest: below it revisions count as
 * compacted, whether their records are still there or not. */
static const struct record *before(const struct record *record, int64_t oldest)
{
    const struct record *older = record__older(record);

    if (record->main - 1 < oldest)
        return NULL;
    while (older != NULL && older->main == record->main)
        older = record__older(older);
    return older == NULL || record__is_tombstone(older) ? NULL : older;
}

/* The event's bytes in the form that the flags ask for: made once, whoever wants them. */
static void encode(struct watch_hub *hub, struct watch_told *event, int flags, int64_t oldest)
{
    int form = flags & WATCH_PREV_KV ? 1 : 0;
    struct watch_event out = {.is_delete = record__is_tombstone(event->record)};
    const struct record *older;
    struct mvcc_kv prev;

    if (event->len[form] != 0)
        return;
    older = form == 1 ? before(event->record, oldest) : NULL;
    record__to_kv(event->record, &out.kv);
    if (older != NULL) {
        record__to_kv(older, &prev);
        out.prev = &prev;
    }
    event->at[form] = hub->bytes.len;
    hub->options.encode(&out, &hub->bytes);
    event->len[form] = hub->bytes.len - event->at[form];
}

static struct watch_told *add_event(struct watch_hub *hub, const struct record *record)
{
    struct watch_told *event = TABLE_ADD(&hub->events);

    *event = (struct watch_told){.record = record};
    return event;
}

static void add_slice(struct watch_hub *hub, const struct watch_told *event, int flags)
{
    int form = flags & WATCH_PREV_KV ? 1 : 0;
    struct slice *slice = TABLE_ADD(&hub->slices);

    *slice = slice_of(hub->bytes.data + event->at[form], event->len[form]);
}

/* What has been gathered in hub->slices. */
static void deliver(struct watch_hub *hub, struct watcher *watcher, int64_t revision)
{
    struct watch_batch batch = {.id = watcher->id,
                                .flags = watcher->flags,
                                .revision = revision,
                                .events = hub->slices.rows,
                                .count = hub->slices.len};

    for (size_t i = 0; i < batch.count; i++)
        batch.bytes += batch.events[i].len;
    hub->stats.events += batch.count;
    watcher->quiet = false;
    if (!hub->options.deliver(watcher->stream->ctx, &batch))
        watcher->stream->blocked = true;
}

/* ---- lagging behind ---- */

void watch__set_lagging(struct watch_hub *hub, struct watcher *watcher, int64_t next)
{
    ASSERT(watcher->state == WATCHER_SYNCED);
    watcher->state = WATCHER_LAGGING;
    watcher->next = next;
    watcher->stream->lagging++;
    hub->stats.lagging++;
    list_remove(&watcher->link); /* its start may have been in the future */
    list_push_back(watcher->stream->blocked ? &watcher->stream->parked : &hub->lagging,
                   &watcher->link);
}

void watch__leave_lagging(struct watch_hub *hub, struct watcher *watcher)
{
    list_remove(&watcher->link);
    watcher->stream->lagging--;
    hub->stats.lagging--;
    watcher->state = WATCHER_SYNCED;
}

/* ---- live: all watchers of one revision ---- */

struct match {
    struct watch_hub *hub;
    uint32_t event;
    const struct record *record;
};

static struct watch_gathered *batch_of(struct watch_hub *hub, struct watcher *watcher)
{
    struct watch_gathered *batch;

    if (watcher->slot < hub->batches.len && hub->batches.rows[watcher->slot].watcher == watcher)
        return &hub->batches.rows[watcher->slot];
    watcher->slot = (uint32_t)hub->batches.len;
    batch = TABLE_ADD(&hub->batches);
    *batch = (struct watch_gathered){.watcher = watcher};
    return batch;
}

static void on_match(void *ctx, struct watcher *watcher)
{
    const struct match *match = ctx;
    struct watch_hub *hub = match->hub;
    struct watch_gathered *batch;
    struct watch_hit *hit;

    if (watcher->state != WATCHER_SYNCED || watcher->next > match->record->main ||
        !passes(watcher->flags, match->record) || watcher->stream->dead)
        return;
    batch = batch_of(hub, watcher);
    hit = TABLE_ADD(&hub->hits);
    *hit = (struct watch_hit){.event = match->event};
    if (batch->count++ > 0)
        hub->hits.rows[batch->last].next = (uint32_t)hub->hits.len - 1;
    else
        batch->first = (uint32_t)hub->hits.len - 1;
    batch->last = (uint32_t)hub->hits.len - 1;
}

/* Nothing counts as compacted here: the records are there, and whoever watches wants prev_kv. */
static void tell(struct watch_hub *hub, const struct watch_gathered *batch, int64_t revision)
{
    struct watcher *watcher = batch->watcher;
    uint32_t at;

    if (watcher->stream->blocked) {
        watch__set_lagging(hub, watcher, revision);
        return;
    }
    at = batch->first;
    for (uint32_t i = 0; i < batch->count; i++, at = hub->hits.rows[at].next)
        encode(hub, &hub->events.rows[hub->hits.rows[at].event], watcher->flags, INT64_MIN);
    hub->slices.len = 0; /* all bytes stay where they are from here on */
    at = batch->first;
    for (uint32_t i = 0; i < batch->count; i++, at = hub->hits.rows[at].next)
        add_slice(hub, &hub->events.rows[hub->hits.rows[at].event], watcher->flags);
    deliver(hub, watcher, revision);
}

/* Tells the revision that stands at pos; returns the work it was. */
static size_t tell_revision(struct watch_hub *hub, struct revlog_pos *pos)
{
    struct record *record = revlog__next(&hub->mvcc->log, pos);
    int64_t revision = record->main;
    size_t work;

    reset_scratch(hub);
    for (; record != NULL && record->main == revision;
         pos->slot++, record = revlog__next(&hub->mvcc->log, pos)) {
        struct match match = {.hub = hub, .event = (uint32_t)hub->events.len, .record = record};

        (void)add_event(hub, record);
        watch_index__match(&hub->index, record__key(record), on_match, &match);
    }
    work = hub->events.len + hub->hits.len;
    for (size_t i = 0; i < hub->batches.len; i++)
        tell(hub, &hub->batches.rows[i], revision);
    hub->done = revision;
    return work;
}

static void step_live(struct watch_hub *hub, size_t *budget)
{
    int64_t end = mvcc_revision(hub->mvcc);
    struct revlog_pos pos;

    if (hub->stats.watchers == 0)
        hub->done = end;
    if (hub->done == end)
        return;
    pos = revlog__seek(&hub->mvcc->log, hub->done + 1, 0);
    while (*budget > 0 && hub->done < end) {
        size_t work = tell_revision(hub, &pos);

        *budget -= MIN(*budget, work);
    }
}

/* ---- catching up: one watcher on a stretch of the log ---- */

struct stretch {
    struct watch_hub *hub;
    struct watcher *watcher;
    int64_t revision; /* of the last event */
    size_t revisions; /* that have events */
};

/* False: the batch is full, and the watcher goes on at this record. */
static bool take(struct stretch *stretch, const struct record *record)
{
    struct watch_hub *hub = stretch->hub;
    int flags = stretch->watcher->flags;
    struct watch_told *event;

    if (!passes(flags, record))
        return true;
    if (record->main != stretch->revision) {
        if (stretch->revisions == WATCH_BATCH_REVISIONS_MAX ||
            hub->bytes.len >= WATCH_BATCH_BYTES) {
            stretch->watcher->next = record->main;
            return false;
        }
        stretch->revisions++;
        stretch->revision = record->main;
    }
    event = add_event(hub, record);
    encode(hub, event, flags, hub->mvcc->compact_revision);
    return true;
}

/* One key, and not too many changes of it: back through its history, never mind the rest of the
 * log. False: too many; nothing has been done. */
static bool read_history(struct stretch *stretch, size_t *budget)
{
    struct watch_hub *hub = stretch->hub;
    struct watcher *watcher = stretch->watcher;
    const struct record *found[CHAIN_MAX];
    const struct record *record;
    size_t count = 0;

    record = keyindex__get(&hub->mvcc->index, watcher__key(watcher));
    for (; record != NULL && record->main >= watcher->next; record = record__older(record)) {
        if (record->main > hub->done)
            continue;
        if (count == CHAIN_MAX)
            return false;
        found[count++] = record;
    }
    *budget -= MIN(*budget, count + 1);
    while (count > 0)
        if (!take(stretch, found[--count]))
            return true;
    watcher->next = hub->done + 1;
    return true;
}

static void read_log(struct stretch *stretch, size_t *budget)
{
    struct watch_hub *hub = stretch->hub;
    struct watcher *watcher = stretch->watcher;
    struct mvcc_span span = watcher__span(watcher);
    struct revlog_pos pos = revlog__seek(&hub->mvcc->log, watcher->next, 0);
    const struct record *record;
    size_t seen = 0;

    for (; (record = revlog__next(&hub->mvcc->log, &pos)) != NULL; pos.slot++) {
        if (record->main > hub->done)
            break;
        if (seen++ >= SLICE_RECORDS && record->main != watcher->next) {
            watcher->next = record->main;
            break;
        }
        watcher->next = record->main; /* its records up to here are behind us */
        if (watch__span_holds(span, record__key(record)) && !take(stretch, record))
            break;
    }
    if (record == NULL || record->main > hub->done)
        watcher->next = hub->done + 1;
    *budget -= MIN(*budget, seen + 1);
}

static void send_stretch(struct stretch *stretch)
{
    struct watch_hub *hub = stretch->hub;

    for (size_t i = 0; i < hub->events.len; i++)
        add_slice(hub, &hub->events.rows[i], stretch->watcher->flags);
    if (hub->slices.len > 0)
        deliver(hub, stretch->watcher, hub->done);
}

static void end_compacted(struct watch_hub *hub, struct watcher *watcher)
{
    watch__leave_lagging(hub, watcher);
    watch_index__remove(&hub->index, watcher);
    watcher->state = WATCHER_ENDED;
    watcher->stream->live--;
    hub->stats.watchers--;
    hub->options.on_compacted(watcher->stream->ctx, watcher->id, hub->mvcc->compact_revision);
}

static void catch_up(struct watch_hub *hub, struct watcher *watcher, size_t *budget)
{
    struct stretch stretch = {.hub = hub, .watcher = watcher};

    list_remove(&watcher->link);
    if (watcher->stream->dead)
        return;
    if (watcher->stream->blocked) {
        list_push_back(&watcher->stream->parked, &watcher->link);
        return;
    }
    list_push_back(&hub->lagging, &watcher->link); /* behind the others */
    if (watcher->next < hub->mvcc->compact_revision) {
        end_compacted(hub, watcher);
        return;
    }
    reset_scratch(hub);
    if (!mvcc__span_is_point(watcher__span(watcher)) || !read_history(&stretch, budget))
        read_log(&stretch, budget);
    send_stretch(&stretch);
    if (watcher->next > hub->done)
        watch__leave_lagging(hub, watcher);
}

bool watch_hub_step(struct watch_hub *hub, size_t budget)
{
    size_t live = MAX(budget, 1), behind = MAX(budget, 1);

    step_live(hub, &live);
    while (behind > 0 && !list_empty(&hub->lagging)) {
        catch_up(hub, LIST_FIRST(&hub->lagging, struct watcher, link), &behind);
        behind -= MIN(behind, 1);
    }
    watch__bury(hub, MAX(budget / BURY_WORK, 1));
    return !watch_hub_is_current(hub) || !list_empty(&hub->lagging) || !list_empty(&hub->dead);
}
