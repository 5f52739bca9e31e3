/* Watch clients: each has a stream to some member, through the real hub, and a few watchers that
 * live on over streams. What the hub delivers waits in the stream as the bytes of the wire until
 * the client reads it, at once or much later; when the stream breaks, what was not read is lost and
 * the watchers go on elsewhere with watch_check_next(). tests/lib/watch_check.h says what must
 * hold.
 *
 * The history to compare with comes from reads: the first member to reach a revision is asked for
 * all keys there and at the revision before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proto/rpc.pb-c.h"
#include "server/encode.h"
#include "tests/lib/watch_check.h"
#include "tests/sim/sim.h"

enum { CLIENTS = 5, WATCHERS = 3, PROGRESS_ID = -1 };

/* One answer on its way to the client. */
struct message {
    struct list link;
    size_t len;
    uint8_t bytes[];
};

struct watcher {
    struct watch_check *check; /* NULL: none in this place */
    struct mvcc_span span;     /* its keys are constants */
    int flags;
    int64_t id;
    bool canceling; /* told when its cancel is answered */
};

struct client {
    struct sim *sim;
    unsigned n;
    struct sim_member *member; /* NULL: no stream */
    struct watch_stream *stream;
    uint64_t epoch; /* grows with every stream; reads of older ones are void */
    struct list queue;
    size_t queued, queue_max;
    bool asking;
    struct watcher watchers[WATCHERS];
};

struct sim_watch {
    struct watch_history history;
    struct arena arena;
    int64_t compacted;
    unsigned named;
    struct client clients[CLIENTS];
};

static const struct {
    const char *key, *end;
    size_t end_len;
} spans[] = {
    {"key1", "", 0}, {"key2", "", 0}, {"key", "kez", 3}, {"key3", "key7", 4}, {"key5", "\0", 1},
    {"\0", "\0", 1}, {"w1", "", 0},   {"w", "x", 1},     {"key9", "w2", 2},
};

static struct slice key_of(const char *text)
{
    return *text == 0 ? slice_of(text, 1) : slice_str(text);
}

static void check_problem(struct sim *sim, const struct watch_check *check)
{
    if (watch_check_problem(check)[0] != 0)
        sim_violation(sim, "I5: watcher %s", watch_check_problem(check));
}

/* ---- the history ---- */

static void range_at(struct sim_member *m, int64_t revision, struct mvcc_range_result *out)
{
    struct mvcc_range range = {.span = {.key = slice_of("\0", 1), .end = slice_of("\0", 1)},
                               .revision = revision};
    int rc = mvcc_range(m->machine->mvcc, &range, &m->sim->watch->arena, out);

    ASSERT(rc == 0); /* the newest revision and the one before: not compacted, or equal to it */
}

static const struct mvcc_kv *find(const struct mvcc_range_result *range, struct slice key)
{
    for (size_t i = 0; i < range->len; i++)
        if (slice_eq(range->kvs[i].key, key))
            return &range->kvs[i];
    return NULL;
}

static void add_change(struct sim_watch *watch, const struct mvcc_kv *kv,
                       const struct mvcc_kv *prev, int64_t revision)
{
    struct watch_change change = {.revision = revision,
                                  .key = kv != NULL ? kv->key : prev->key,
                                  .is_delete = kv == NULL,
                                  .value = watch_value(slice_of(NULL, 0))};

    if (kv != NULL) {
        change.create = kv->create_revision;
        change.version = kv->version;
        change.value = watch_value(kv->value);
    }
    if (prev != NULL) {
        change.prev = prev->mod_revision;
        change.prev_value = watch_value(prev->value);
    }
    watch_history_add(&watch->history, &change);
}

static void record_revision(struct sim_member *m)
{
    struct sim_watch *watch = m->sim->watch;
    int64_t revision = mvcc_revision(m->machine->mvcc);
    struct mvcc_range_result is, was;

    if (revision <= watch_history_last(&watch->history))
        return;
    range_at(m, revision, &is);
    range_at(m, revision - 1, &was);
    for (size_t i = 0; i < is.len; i++)
        if (is.kvs[i].mod_revision == revision)
            add_change(watch, &is.kvs[i], find(&was, is.kvs[i].key), revision);
    for (size_t i = 0; i < was.len; i++)
        if (find(&is, was.kvs[i].key) == NULL)
            add_change(watch, NULL, &was.kvs[i], revision);
    arena_reset(&watch->arena);
}

/* ---- the server's side of a stream ---- */

static void on_pump(struct sim *sim, void *data, uint64_t token);

static void pump_soon(struct sim_member *m)
{
    if (m->pump_queued)
        return;
    m->pump_queued = true;
    sim_at(m->sim, m->sim->now_us + prng_between(&m->sim->prng, 0, 2000), on_pump, m, m->life,
           NULL);
}

static void client_read(struct sim *sim, void *data, uint64_t token);

/* A reader is quick, slow, or (until the heal) stops for seconds. */
static void read_soon(struct client *c)
{
    struct prng *prng = &c->sim->prng;
    uint64_t delay_us = prng_between(prng, 100, 20000);

    if (!c->sim->healed && prng_chance(prng, 10000))
        delay_us += prng_between(prng, 0, 4000000);
    sim_at(c->sim, c->sim->now_us + delay_us, client_read, c, c->epoch, NULL);
}

static struct message *new_message(size_t len)
{
    struct message *message = xmalloc(sizeof *message + len);

    message->len = len;
    return message;
}

static void enqueue(struct client *c, struct message *message)
{
    list_push_back(&c->queue, &message->link);
    if (c->queued++ == 0)
        read_soon(c);
}

static void answer(struct client *c, int64_t revision, Etcdserverpb__WatchResponse *response)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    struct message *message;

    header.revision = revision;
    response->header = &header;
    message = new_message(etcdserverpb__watch_response__get_packed_size(response));
    (void)etcdserverpb__watch_response__pack(response, message->bytes); /* the size it said */
    enqueue(c, message);
}

static void on_encode(const struct watch_event *event, struct buf *out)
{
    size_t size = encode_event_size(event);
    int rc = buf_reserve(out, size);

    ASSERT(rc == 0); /* the hub's scratch has no bound that could be met */
    (void)encode_event(out->data + out->len, event);
    out->len += size;
}

static void send_events(struct client *c, const struct watch_batch *batch, size_t from, size_t to,
                        bool fragment)
{
    struct encode_header header = {.member_id = c->member->n, .revision = batch->revision};
    struct encode_watch watch = {.watch_id = batch->id,
                                 .fragment = fragment,
                                 .events = batch->events + from,
                                 .count = to - from};
    struct message *message;

    for (size_t i = 0; i < watch.count; i++)
        watch.bytes += watch.events[i].len;
    message = new_message(encode_watch_size(&header, &watch));
    (void)encode_watch(message->bytes, &header, &watch); /* the size it said */
    enqueue(c, message);
}

static bool on_deliver(void *ctx, const struct watch_batch *batch)
{
    struct client *c = ctx;
    struct prng *prng = &c->sim->prng;
    enum sim_bug bug = c->sim->options.bug;
    bool bad = prng_chance(prng, 20000);
    size_t cut = batch->count;

    if (bug == SIM_BUG_DROP_EVENT && bad)
        return true;
    if (batch->count > 1 && ((batch->flags & WATCH_FRAGMENT && prng_chance(prng, 300000)) ||
                             bug == SIM_BUG_SPLIT_REVISION))
        cut = prng_between(prng, 1, batch->count - 1);
    if (cut < batch->count)
        send_events(c, batch, 0, cut, bug != SIM_BUG_SPLIT_REVISION);
    send_events(c, batch, cut < batch->count ? cut : 0, batch->count, false);
    if (bug == SIM_BUG_REPEAT_EVENT && bad)
        send_events(c, batch, 0, batch->count, false);
    return c->queued < c->queue_max;
}

static void on_compacted(void *ctx, int64_t id, int64_t compact_revision)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;

    response.watch_id = id;
    response.canceled = true;
    response.compact_revision = compact_revision;
    answer(ctx, 0, &response);
}

static void send_progress(void *ctx, int64_t id, int64_t revision)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;

    response.watch_id = id;
    answer(ctx, revision, &response);
}

/* As server/watches.c does it. */
static void answer_progress(struct client *c)
{
    enum watch_progress progress = watch_stream_progress(c->stream);

    if (!c->asking)
        return;
    if (c->sim->options.bug == SIM_BUG_PROGRESS_AHEAD) {
        send_progress(c, PROGRESS_ID, mvcc_revision(c->member->machine->mvcc));
    } else if (progress == WATCH_PROGRESS_LATER || c->queued >= c->queue_max) {
        return;
    } else if (progress == WATCH_PROGRESS_NOW) {
        send_progress(c, PROGRESS_ID, watch_hub_revision(c->member->hub));
    }
    c->asking = false;
}

static void on_pump(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = data;
    bool more;

    if (!m->up || m->life != token || sim_member_asleep(m, on_pump, m, token, NULL))
        return;
    m->pump_queued = false;
    more = watch_hub_step(m->hub, prng_between(&sim->prng, 1, 40));
    if (watch_hub_is_current(m->hub) && mvcc_compact_pending(m->machine->mvcc))
        more |= mvcc_compact_step(m->machine->mvcc, prng_between(&sim->prng, 1, 50));
    for (size_t i = 0; i < CLIENTS; i++)
        if (sim->watch->clients[i].member == m)
            answer_progress(&sim->watch->clients[i]);
    if (more)
        pump_soon(m);
}

/* ---- the client's side ---- */

static void create(struct client *c, struct watcher *w)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    int64_t now = mvcc_revision(c->member->machine->mvcc);
    struct watch_create wanted = {
        .span = w->span, .start = watch_check_next(w->check), .flags = w->flags};
    int rc;

    if (c->sim->options.bug == SIM_BUG_EARLY_START && wanted.start > now + 1)
        wanted.start = now + 1;
    rc = watch_create(c->stream, &wanted, &w->id);
    ASSERT(rc == 0); /* the hub chooses the id, and no span is empty */
    w->canceling = false;
    response.watch_id = w->id;
    response.created = true;
    answer(c, now, &response);
    c->sim->result->watch_creates++;
}

static void cancel(struct client *c, struct watcher *w)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;

    if (!watch_cancel(c->stream, w->id))
        sim_violation(c->sim, "I5: watcher %lld is unknown to its stream", (long long)w->id);
    w->canceling = true;
    response.watch_id = w->id;
    response.canceled = true;
    answer(c, mvcc_revision(c->member->machine->mvcc), &response);
}

/* A watcher of another kind; most start now, some in what was, some in what is still to come. */
static void new_watcher(struct client *c, struct watcher *w)
{
    struct prng *prng = &c->sim->prng;
    size_t kind = prng_between(prng, 0, ARRAY_LEN(spans) - 1);
    int64_t start = watch_history_last(&c->sim->watch->history) - 100;
    char name[32];
    struct watch_check_options options = {.name = name};

    (void)snprintf(name, sizeof name, "%u of client %u", ++c->sim->watch->named, c->n);
    w->span = (struct mvcc_span){.key = key_of(spans[kind].key),
                                 .end = slice_of(spans[kind].end, spans[kind].end_len)};
    w->flags = (int)prng_between(prng, 0, 31);
    if (!prng_chance(prng, 200000))
        w->flags &= ~(WATCH_NO_PUT | WATCH_NO_DELETE);
    start += (int64_t)prng_between(prng, 0, 120);
    if (prng_chance(prng, 500000))
        options.start = MAX(start, (int64_t)1);
    options.span = w->span;
    options.flags = w->flags;
    w->check = watch_check_new(&options);
}

/* Its life is over: all that it was told is held against the history. */
static void retire(struct client *c, struct watcher *w)
{
    watch_check_whole(w->check, &c->sim->watch->history, c->sim->watch->compacted);
    check_problem(c->sim, w->check);
    c->sim->result->watch_events += watch_check_seen(w->check);
    watch_check_free(w->check);
    w->check = NULL;
}

static void drop_queue(struct client *c)
{
    LIST_EACH_SAFE (node, &c->queue) {
        list_remove(node);
        free(LIST_ENTRY(node, struct message, link));
    }
    c->queued = 0;
}

static void disconnect(struct client *c)
{
    if (c->member == NULL)
        return;
    watch_stream_free(c->stream);
    c->stream = NULL;
    c->member = NULL;
    c->asking = false;
    c->epoch++;
    drop_queue(c);
    for (size_t i = 0; i < WATCHERS; i++) {
        struct watcher *w = &c->watchers[i];

        if (w->check == NULL)
            continue;
        watch_check_lost(w->check);
        if (w->canceling)
            retire(c, w);
    }
}

static void connect_to(struct client *c, struct sim_member *m)
{
    c->member = m;
    c->stream = watch_stream_new(m->hub, c);
    c->queue_max = prng_between(&c->sim->prng, 1, 8);
    for (size_t i = 0; i < WATCHERS; i++) {
        struct watcher *w = &c->watchers[i];

        if (w->check == NULL && !c->sim->healed && prng_chance(&c->sim->prng, 700000))
            new_watcher(c, w);
        if (w->check != NULL)
            create(c, w);
    }
    pump_soon(m);
}

static struct watcher *watcher_of(struct client *c, int64_t id)
{
    for (size_t i = 0; i < WATCHERS; i++)
        if (c->watchers[i].check != NULL && c->watchers[i].id == id)
            return &c->watchers[i];
    sim_violation(c->sim, "I5: client %u is told of watcher %lld, which it has not", c->n,
                  (long long)id);
    return NULL;
}

static void take_events(struct watcher *w, const Etcdserverpb__WatchResponse *response)
{
    struct watch_change *changes = xcalloc(response->n_events, sizeof *changes);

    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];

        changes[i] = (struct watch_change){
            .revision = event->kv->mod_revision,
            .key = slice_of(event->kv->key.data, event->kv->key.len),
            .is_delete = event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE,
            .create = event->kv->create_revision,
            .version = event->kv->version & ~MVCC_PLANTED_FLIP, /* for members to find */
            .value = watch_value(slice_of(event->kv->value.data, event->kv->value.len))};
        if (event->prev_kv == NULL)
            continue;
        changes[i].prev = event->prev_kv->mod_revision;
        changes[i].prev_value =
            watch_value(slice_of(event->prev_kv->value.data, event->prev_kv->value.len));
    }
    watch_check_events(w->check, response->header->revision, response->fragment, changes,
                       response->n_events);
    free(changes);
}

static void take_progress(struct client *c, int64_t id, int64_t revision)
{
    c->sim->result->watch_progress++;
    for (size_t i = 0; i < WATCHERS; i++) {
        struct watcher *w = &c->watchers[i];

        if (w->check == NULL || w->canceling || (id != PROGRESS_ID && id != w->id) ||
            (id == PROGRESS_ID && !watch_check_is_created(w->check)))
            continue;
        watch_check_progress(w->check, revision);
        check_problem(c->sim, w->check);
    }
}

static void take_compacted(struct client *c, struct watcher *w, int64_t compact_revision)
{
    watch_check_compacted(w->check, compact_revision);
    check_problem(c->sim, w->check);
    c->sim->result->watch_compacted++;
    if (!watch_cancel(c->stream, w->id))
        sim_violation(c->sim, "I5: an id is free although its watcher was never canceled");
    watch_check_lost(w->check);
    create(c, w);
}

static void take(struct client *c, const Etcdserverpb__WatchResponse *response)
{
    struct watcher *w;

    sim_trace(c->sim, (uint64_t)response->header->revision << 8 | response->n_events);
    if (!response->created && !response->canceled && response->n_events == 0) {
        take_progress(c, response->watch_id, response->header->revision);
        return;
    }
    w = watcher_of(c, response->watch_id);
    if (w == NULL)
        return;
    if (response->canceled && response->compact_revision != 0) {
        if (!w->canceling)
            take_compacted(c, w, response->compact_revision);
        return;
    }
    if (response->created)
        watch_check_created(w->check, response->header->revision);
    else if (response->canceled)
        retire(c, w);
    else
        take_events(w, response);
    if (w->check != NULL)
        check_problem(c->sim, w->check);
}

static void client_read(struct sim *sim, void *data, uint64_t token)
{
    struct client *c = data;
    size_t count;

    if (c->epoch != token || c->queued == 0)
        return;
    for (count = prng_between(&sim->prng, 1, c->queued); count > 0; count--) {
        struct message *message = LIST_FIRST(&c->queue, struct message, link);
        Etcdserverpb__WatchResponse *response;

        list_remove(&message->link);
        c->queued--;
        response = etcdserverpb__watch_response__unpack(NULL, message->len, message->bytes);
        if (response == NULL)
            sim_violation(sim, "I5: an answer that is no WatchResponse");
        else
            take(c, response);
        etcdserverpb__watch_response__free_unpacked(response, NULL);
        free(message);
    }
    if (c->queued > 0) {
        read_soon(c);
        return;
    }
    watch_stream_resume(c->stream);
    pump_soon(c->member);
}

/* ---- what clients do ---- */

static void live(struct sim *sim, void *data, uint64_t token);

static void live_on(struct client *c)
{
    sim_at(c->sim, c->sim->now_us + prng_between(&c->sim->prng, 5000, 200000), live, c, 0, NULL);
}

static void change_watcher(struct client *c)
{
    struct watcher *w = &c->watchers[prng_between(&c->sim->prng, 0, WATCHERS - 1)];

    if (w->check == NULL) {
        new_watcher(c, w);
        create(c, w);
    } else if (!w->canceling) {
        cancel(c, w);
    }
}

/* After healing only what can come is waited for. */
static void drop_future_starts(struct client *c)
{
    for (size_t i = 0; i < WATCHERS; i++) {
        struct watcher *w = &c->watchers[i];

        if (w->check != NULL && !w->canceling &&
            watch_check_next(w->check) > watch_history_last(&c->sim->watch->history) + 1)
            cancel(c, w);
    }
}

static void live(struct sim *sim, void *data, uint64_t token)
{
    struct client *c = data;
    struct sim_member *m = &sim->members[prng_between(&sim->prng, 1, sim->size)];
    uint64_t what = prng_between(&sim->prng, 0, 99);

    (void)token;
    live_on(c);
    if (c->member == NULL) {
        if (m->up)
            connect_to(c, m);
        return;
    }
    if (sim->healed)
        drop_future_starts(c);
    else if (what < 4)
        disconnect(c);
    else if (what < 14)
        change_watcher(c);
    else if (what < 24)
        watch_stream_tick(c->stream, send_progress);
    if (c->member != NULL && (sim->healed || what >= 50)) {
        c->asking = true;
        pump_soon(c->member);
    }
}

/* ---- for the others ---- */

struct sim_watch *sim_watch_new(struct sim *sim)
{
    struct sim_watch *watch = xcalloc(1, sizeof *watch);

    watch_history_init(&watch->history);
    arena_init(&watch->arena);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *c = &watch->clients[i];

        c->sim = sim;
        c->n = i + 1;
        list_init(&c->queue);
        live_on(c);
    }
    return watch;
}

void sim_watch_free(struct sim_watch *watch)
{
    for (size_t i = 0; i < CLIENTS; i++)
        for (size_t k = 0; k < WATCHERS; k++)
            watch_check_free(watch->clients[i].watchers[k].check);
    watch_history_release(&watch->history);
    arena_release(&watch->arena);
    free(watch);
}

void sim_watch_up(struct sim_member *m)
{
    struct watch_hub_options options = {.mvcc = m->machine->mvcc,
                                        .seed = prng_next(&m->sim->prng),
                                        .encode = on_encode,
                                        .deliver = on_deliver,
                                        .on_compacted = on_compacted};

    m->hub = watch_hub_new(&options);
    m->pump_queued = false;
}

void sim_watch_down(struct sim_member *m)
{
    for (size_t i = 0; i < CLIENTS; i++)
        if (m->sim->watch->clients[i].member == m)
            disconnect(&m->sim->watch->clients[i]);
    watch_hub_free(m->hub);
    m->hub = NULL;
}

void sim_watch_switched(struct sim_member *m)
{
    struct sim_watch *watch = m->sim->watch;

    watch_hub_switch(m->hub, m->machine->mvcc);
    watch->compacted = MAX(watch->compacted, mvcc_compact_revision(m->machine->mvcc));
    pump_soon(m);
}

void sim_watch_applied(struct sim_member *m)
{
    struct sim_watch *watch = m->sim->watch;

    record_revision(m);
    watch->compacted = MAX(watch->compacted, mvcc_compact_revision(m->machine->mvcc));
    pump_soon(m);
}

const struct watch_history *sim_watch_history(const struct sim *sim)
{
    return &sim->watch->history;
}

bool sim_watch_quiet(const struct sim *sim)
{
    int64_t last = watch_history_last(&sim->watch->history);

    for (size_t i = 0; i < CLIENTS; i++) {
        const struct client *c = &sim->watch->clients[i];

        if (c->member == NULL)
            return false;
        for (size_t k = 0; k < WATCHERS; k++)
            if (c->watchers[k].check != NULL && watch_check_next(c->watchers[k].check) != last + 1)
                return false;
    }
    return true;
}

void sim_watch_final(struct sim *sim)
{
    for (size_t i = 0; i < CLIENTS; i++)
        for (size_t k = 0; k < WATCHERS; k++)
            if (sim->watch->clients[i].watchers[k].check != NULL)
                retire(&sim->watch->clients[i], &sim->watch->clients[i].watchers[k]);
}
