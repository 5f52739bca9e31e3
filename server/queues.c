#include "server/queues.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "server/encode.h"
#include "server/watches.h"

/* Keys that were created in the same revision are equally old. */
struct place {
    struct list link; /* in queue->places */
    struct list waits;
    int64_t create_revision;
    uint32_t keys; /* there now; 0: made, but the hub has not told of it yet */
};

struct queue {
    struct watch_sink sink;
    struct queues *queues;
    struct queue *next; /* of the same hash */
    uint64_t hash;
    struct watch_stream *stream;
    struct list places; /* ascending */
    struct list *told;  /* the last of them that the hub has told of, or the head */
    struct idmap by_revision;
    size_t waits;
    struct list link; /* in queues->idle, if nobody waits */
    size_t prefix_len;
    uint8_t prefix[];
};

struct queues {
    struct watch_hub *hub;
    const struct mvcc *mvcc;
    struct idmap table; /* by hash of the prefix */
    uint64_t salt;
    size_t places;
    struct list decided; /* waits that cb is due for */
    struct list idle;    /* queues without waits; may not be freed inside the hub */
};

/* ---- places ---- */

static struct place *new_place(struct queue *queue, int64_t create_revision, struct list *after)
{
    struct place *place = xcalloc(1, sizeof *place);

    place->create_revision = create_revision;
    list_init(&place->waits);
    list_push_front(after, &place->link);
    (void)idmap_put(&queue->by_revision, (uint64_t)create_revision, place); /* it had none */
    queue->queues->places++;
    return place;
}

static void free_place(struct queue *queue, struct place *place)
{
    ASSERT(list_empty(&place->waits));
    if (queue->told == &place->link)
        queue->told = place->link.prev;
    list_remove(&place->link);
    (void)idmap_remove(&queue->by_revision, (uint64_t)place->create_revision); /* it is that one */
    queue->queues->places--;
    free(place);
}

static struct place *place_at(const struct queue *queue, int64_t create_revision)
{
    return idmap_get(&queue->by_revision, (uint64_t)create_revision);
}

/* A key that the hub is about to tell of. It has just been made as a rule, and is the youngest. */
static struct place *announce_place(struct queue *queue, int64_t create_revision)
{
    struct list *after = queue->places.prev;

    while (after != queue->told &&
           LIST_ENTRY(after, struct place, link)->create_revision > create_revision)
        after = after->prev;
    return new_place(queue, create_revision, after);
}

static void decide(struct queue_wait *wait, enum queue_news news)
{
    struct queue *queue = wait->queue;
    struct queues *queues = queue->queues;

    wait->queue = NULL;
    wait->news = news;
    list_remove(&wait->link);
    list_push_back(&queues->decided, &wait->link);
    if (--queue->waits == 0)
        list_push_back(&queues->idle, &queue->link);
}

static void decide_all(struct place *place, enum queue_news news)
{
    while (!list_empty(&place->waits))
        decide(LIST_FIRST(&place->waits, struct queue_wait, link), news);
}

/* Without its mirror a queue can not go on. */
static void give_up(struct queue *queue)
{
    LIST_EACH (node, &queue->places)
        decide_all(LIST_ENTRY(node, struct place, link), QUEUE_FULL);
}

static bool is_first(const struct queue *queue, const struct place *place)
{
    return queue->places.next == &place->link && place->keys > 0;
}

/* ---- what the hub tells ---- */

/* Told in ascending order: between the last told and this one is nothing. */
static void key_created(struct queue *queue, int64_t create_revision)
{
    struct place *place = place_at(queue, create_revision);

    if (place == NULL)
        place = new_place(queue, create_revision, queue->told);
    place->keys++;
    queue->told = &place->link;
}

static void key_deleted(struct queue *queue, int64_t create_revision, struct slice key)
{
    struct place *place = place_at(queue, create_revision);

    if (place == NULL)
        return;
    LIST_EACH_SAFE (node, &place->waits) {
        struct queue_wait *wait = LIST_ENTRY(node, struct queue_wait, link);

        if (slice_eq(wait->key, key))
            decide(wait, QUEUE_GONE);
    }
    if (--place->keys == 0) {
        decide_all(place, QUEUE_GONE);
        free_place(queue, place);
    }
}

static void settle(struct queue *queue)
{
    struct place *first;

    if (queue->queues->places > QUEUE_PLACES_MAX) {
        give_up(queue);
        return;
    }
    if (list_empty(&queue->places))
        return;
    first = LIST_FIRST(&queue->places, struct place, link);
    if (is_first(queue, first))
        decide_all(first, QUEUE_FIRST);
}

static bool on_events(struct watch_sink *sink, const struct watch_batch *batch)
{
    struct queue *queue = CONTAINER_OF(sink, struct queue, sink);
    struct encoded_event event;

    for (size_t i = 0; i < batch->count; i++) {
        decode_event(batch->events[i], &event);
        if (event.is_delete)
            key_deleted(queue, event.prev_create_revision, event.key);
        else if (event.create_revision == event.mod_revision)
            key_created(queue, event.create_revision);
    }
    settle(queue);
    return true; /* nothing is queued here: the stream never falls behind */
}

static void on_compacted(struct watch_sink *sink, int64_t id, int64_t compact_revision)
{
    (void)id;
    (void)compact_revision;
    give_up(CONTAINER_OF(sink, struct queue, sink));
}

/* ---- queues ---- */

struct mvcc_span queues_span(struct slice prefix, uint8_t *end)
{
    ASSERT(prefix.len > 0);
    ASSERT(prefix.data[prefix.len - 1] == '/');
    memcpy(end, prefix.data, prefix.len);
    end[prefix.len - 1] = '/' + 1;
    return (struct mvcc_span){.key = prefix, .end = slice_of(end, prefix.len)};
}

struct slice queues_prefix(struct arena *arena, struct slice name)
{
    uint8_t *prefix = arena_alloc(arena, name.len + 1);

    if (name.len > 0)
        memcpy(prefix, name.data, name.len);
    prefix[name.len] = '/';
    return slice_of(prefix, name.len + 1);
}

static struct queue *find_queue(const struct queues *queues, struct slice prefix)
{
    struct queue *queue = idmap_get(&queues->table, hash_bytes(prefix, queues->salt));

    while (queue != NULL && !slice_eq(slice_of(queue->prefix, queue->prefix_len), prefix))
        queue = queue->next;
    return queue;
}

/* The keys that are there now; false: too many. */
static bool load(struct queue *queue, struct mvcc_span span)
{
    struct mvcc_range range = {.span = span,
                               .order = MVCC_ORDER_ASCEND,
                               .target = MVCC_BY_CREATE,
                               .flags = MVCC_COUNT_ONLY};
    struct arena arena = ARENA_INIT;
    struct mvcc_range_result result;
    int rc = mvcc_range(queue->queues->mvcc, &range, &arena, &result);

    ASSERT(rc == 0); /* the newest revision is always there */
    if (queue->queues->places + (size_t)result.count > QUEUE_PLACES_MAX) {
        arena_release(&arena);
        return false;
    }
    range.flags = MVCC_KEYS_ONLY;
    rc = mvcc_range(queue->queues->mvcc, &range, &arena, &result);
    ASSERT(rc == 0); /* as above */
    for (size_t i = 0; i < result.len; i++)
        key_created(queue, result.kvs[i].create_revision);
    arena_release(&arena);
    return true;
}

static void watch_span(struct queue *queue, struct mvcc_span span)
{
    struct watch_create create = {
        .span = span, .start = mvcc_revision(queue->queues->mvcc) + 1, .flags = WATCH_PREV_KV};
    int64_t id;
    int rc;

    queue->stream = watch_stream_new(queue->queues->hub, &queue->sink);
    rc = watch_create(queue->stream, &create, &id);
    ASSERT(rc == 0); /* the range is not empty, and the hub chooses the id */
}

static void free_queue(struct queue *queue)
{
    struct queue *head = idmap_remove(&queue->queues->table, queue->hash);

    if (head == queue) {
        head = queue->next;
    } else {
        struct queue *before = head;

        while (before->next != queue)
            before = before->next;
        before->next = queue->next;
    }
    if (head != NULL)
        (void)idmap_put(&queue->queues->table, queue->hash, head); /* just removed */
    while (!list_empty(&queue->places))
        free_place(queue, LIST_FIRST(&queue->places, struct place, link));
    idmap_release(&queue->by_revision);
    watch_stream_free(queue->stream);
    list_remove(&queue->link);
    free(queue);
}

/* NULL: too many keys. It is idle until somebody joins. */
static struct queue *new_queue(struct queues *queues, struct slice prefix)
{
    struct queue *queue = xcalloc(1, sizeof *queue + prefix.len);
    uint8_t *end = xmalloc(prefix.len);
    struct mvcc_span span = queues_span(prefix, end);
    bool loaded;

    queue->sink = (struct watch_sink){.deliver = on_events, .on_compacted = on_compacted};
    queue->queues = queues;
    queue->hash = hash_bytes(prefix, queues->salt);
    queue->prefix_len = prefix.len;
    memcpy(queue->prefix, prefix.data, prefix.len);
    list_init(&queue->places);
    queue->told = &queue->places;
    idmap_init(&queue->by_revision);
    queue->next = idmap_put(&queues->table, queue->hash, queue);
    list_push_back(&queues->idle, &queue->link);

    loaded = load(queue, span);
    if (loaded)
        watch_span(queue, span);
    else
        free_queue(queue);
    free(end);
    return loaded ? queue : NULL;
}

/* ---- another keyspace ---- */

static bool is_there(const struct queues *queues, const struct queue_wait *wait)
{
    struct mvcc_kv kv;

    return mvcc_get(queues->mvcc, wait->key, &kv) && kv.create_revision == wait->create_revision;
}

/* Takes all waits off their places, and the places away. */
static void unload(struct queue *queue, struct list *waits)
{
    while (!list_empty(&queue->places)) {
        struct place *place = LIST_FIRST(&queue->places, struct place, link);

        list_splice(waits, &place->waits);
        free_place(queue, place);
    }
    watch_stream_free(queue->stream);
    queue->stream = NULL;
}

/* What happened in between was not seen, so the mirror begins anew. */
static void reload(struct queue *queue)
{
    struct slice prefix = slice_of(queue->prefix, queue->prefix_len);
    uint8_t *end = xmalloc(prefix.len);
    struct mvcc_span span = queues_span(prefix, end);
    struct list waits;
    bool loaded;

    list_init(&waits);
    unload(queue, &waits);
    loaded = load(queue, span);
    watch_span(queue, span);
    while (!list_empty(&waits)) {
        struct queue_wait *wait = LIST_FIRST(&waits, struct queue_wait, link);

        list_remove(&wait->link);
        if (!loaded)
            decide(wait, QUEUE_FULL);
        else if (!is_there(queue->queues, wait))
            decide(wait, QUEUE_GONE);
        else
            list_push_back(&place_at(queue, wait->create_revision)->waits, &wait->link);
    }
    settle(queue);
    free(end);
}

void queues_switch(struct queues *queues, const struct mvcc *mvcc)
{
    struct queue *queue;
    size_t cursor = 0;

    queues->mvcc = mvcc;
    while ((queue = idmap_next(&queues->table, &cursor)) != NULL)
        for (; queue != NULL; queue = queue->next)
            reload(queue);
}

/* ---- waiting ---- */

/* The usual case, a free lock, without a mirror. */
static bool is_alone(const struct queues *queues, struct slice prefix)
{
    struct arena arena = ARENA_INIT;
    uint8_t *end = arena_alloc(&arena, prefix.len);
    struct mvcc_range range = {.span = queues_span(prefix, end), .flags = MVCC_COUNT_ONLY};
    struct mvcc_range_result result;
    int rc = mvcc_range(queues->mvcc, &range, &arena, &result);

    ASSERT(rc == 0); /* the newest revision is always there */
    arena_release(&arena);
    return result.count == 1;
}

enum queue_news queues_join(struct queues *queues, struct queue_wait *wait)
{
    struct queue *queue;
    struct place *place;

    list_init(&wait->link);
    wait->queue = NULL;
    if (is_alone(queues, wait->prefix))
        return QUEUE_FIRST;
    queue = find_queue(queues, wait->prefix);
    if (queue == NULL)
        queue = new_queue(queues, wait->prefix);
    if (queue == NULL)
        return QUEUE_FULL;
    place = place_at(queue, wait->create_revision);
    if (place != NULL && is_first(queue, place))
        return QUEUE_FIRST;
    if (place == NULL && queues->places >= QUEUE_PLACES_MAX)
        return QUEUE_FULL;
    if (place == NULL)
        place = announce_place(queue, wait->create_revision);
    list_push_back(&place->waits, &wait->link);
    wait->queue = queue;
    if (queue->waits++ == 0)
        list_remove(&queue->link);
    return QUEUE_WAITING;
}

void queues_leave(struct queue_wait *wait)
{
    struct queue *queue = wait->queue;

    list_remove(&wait->link);
    wait->queue = NULL;
    if (queue != NULL && --queue->waits == 0)
        list_push_back(&queue->queues->idle, &queue->link);
}

void queues_run(struct queues *queues)
{
    while (!list_empty(&queues->decided)) {
        struct queue_wait *wait = LIST_FIRST(&queues->decided, struct queue_wait, link);

        list_remove(&wait->link);
        wait->cb(wait, wait->news);
    }
    while (!list_empty(&queues->idle))
        free_queue(LIST_FIRST(&queues->idle, struct queue, link));
}

/* ---- the whole ---- */

struct queues *queues_new(struct watch_hub *hub, const struct mvcc *mvcc, uint64_t seed)
{
    struct queues *queues = xcalloc(1, sizeof *queues);

    queues->hub = hub;
    queues->mvcc = mvcc;
    queues->salt = seed | 1;
    idmap_init(&queues->table);
    list_init(&queues->decided);
    list_init(&queues->idle);
    return queues;
}

void queues_free(struct queues *queues)
{
    if (queues == NULL)
        return;
    ASSERT(list_empty(&queues->decided));
    while (!list_empty(&queues->idle))
        free_queue(LIST_FIRST(&queues->idle, struct queue, link));
    ASSERT(queues->table.count == 0);
    idmap_release(&queues->table);
    free(queues);
}

struct oldest {
    bool found;
    struct mvcc_kv *kv;
};

static bool visit_oldest(void *ctx, const struct mvcc_kv *kv)
{
    struct oldest *oldest = ctx;

    if (!oldest->found || kv->create_revision < oldest->kv->create_revision)
        *oldest->kv = *kv;
    oldest->found = true;
    return true;
}

bool queues_oldest(const struct mvcc *mvcc, struct slice prefix, struct mvcc_kv *out)
{
    uint8_t *end = xmalloc(prefix.len);
    struct oldest oldest = {.kv = out};

    (void)mvcc_each(mvcc, queues_span(prefix, end), visit_oldest, &oldest); /* to its end */
    free(end);
    return oldest.found;
}
