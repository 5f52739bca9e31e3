/* The leader's half of leases: when they end, when what is left of them is written down, and which
 * checkpoints renewals want to be rid of. */
#include <stdlib.h>

#include "base/mem.h"
#include "mvcc/lease_internal.h"

enum {
    FIRST_SIXTEENTHS = 7, /* of the TTL are left at the first checkpoint */
    EIGHTHS = 8,          /* then every so much of the TTL ... */
    GAP_MIN_MS = 2000,    /* ... but not more often */
    LEFT_MIN_MS = 1000,   /* what is not worth writing down */
};

/* ---- the queues ---- */

static void place(struct lease_queue *queue, enum lease_event event, struct lease *lease, size_t at)
{
    queue->at[at] = lease;
    lease->place[event] = at;
}

/* To where it belongs, from a place that is free. */
static void sift(struct lease_queue *queue, enum lease_event event, struct lease *lease, size_t at)
{
    struct lease **heap = queue->at;
    uint64_t ms = lease->queue_ms[event];

    while (at > 0 && heap[(at - 1) / 2]->queue_ms[event] > ms) {
        place(queue, event, heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < queue->len &&
            heap[child + 1]->queue_ms[event] < heap[child]->queue_ms[event])
            child++;
        if (child >= queue->len || heap[child]->queue_ms[event] >= ms)
            break;
        place(queue, event, heap[child], at);
        at = child;
    }
    place(queue, event, lease, at);
}

static void enqueue(struct leases *leases, enum lease_event event, struct lease *lease,
                    uint64_t at_ms)
{
    struct lease_queue *queue = &leases->queues[event];

    lease->queue_ms[event] = at_ms;
    if (lease->place[event] != LEASE_NOT_QUEUED) {
        sift(queue, event, lease, lease->place[event]);
        return;
    }
    if (queue->len == queue->cap) {
        queue->cap = queue->cap == 0 ? 64 : 2 * queue->cap;
        queue->at = xrealloc(queue->at, queue->cap * sizeof(struct lease *));
    }
    queue->len++;
    sift(queue, event, lease, queue->len - 1);
}

static void dequeue(struct leases *leases, enum lease_event event, struct lease *lease)
{
    struct lease_queue *queue = &leases->queues[event];
    size_t at = lease->place[event];
    struct lease *last;

    if (at == LEASE_NOT_QUEUED)
        return;
    lease->place[event] = LEASE_NOT_QUEUED;
    last = queue->at[--queue->len];
    if (last != lease)
        sift(queue, event, last, at);
}

static uint64_t next_at(const struct leases *leases, enum lease_event event)
{
    const struct lease_queue *queue = &leases->queues[event];

    return queue->len > 0 ? queue->at[0]->queue_ms[event] : UINT64_MAX;
}

/* ---- one lease ---- */

static uint64_t ttl_ms(const struct lease *lease)
{
    return (uint64_t)lease->ttl * 1000; /* ttl <= LEASE_TTL_MAX: fits 43 bits */
}

/* What will be left of it when the next checkpoint is written; 0: there is none to come. */
static uint64_t next_left(const struct lease *lease)
{
    uint64_t gap_ms = MAX(ttl_ms(lease) / EIGHTHS, (uint64_t)GAP_MIN_MS);
    uint64_t left_ms;

    if (lease->mark == LEASE_CLEAN)
        left_ms = ttl_ms(lease) * FIRST_SIXTEENTHS / 16;
    else
        left_ms = lease->marked_ms > gap_ms ? lease->marked_ms - gap_ms : 0;
    return left_ms >= LEFT_MIN_MS ? left_ms : 0;
}

static bool awaits_clear(const struct lease *lease)
{
    return lease->mark == LEASE_UNWANTED || lease->mark == LEASE_CLEARING;
}

/* A lease of which somebody wants the checkpoint cleared gets no other meanwhile: so a clear is
 * behind all of them in the log. */
static void schedule_checkpoint(struct leases *leases, struct lease *lease)
{
    uint64_t left_ms = next_left(lease);

    if (left_ms == 0 || awaits_clear(lease))
        dequeue(leases, LEASE_CHECKPOINT, lease);
    else
        enqueue(leases, LEASE_CHECKPOINT, lease, lease->end_ms - left_ms);
}

static void schedule(struct leases *leases, struct lease *lease)
{
    enqueue(leases, LEASE_END, lease, lease->end_ms);
    schedule_checkpoint(leases, lease);
}

static void set_mark(struct leases *leases, struct lease *lease, enum lease_mark mark)
{
    list_remove(&lease->link);
    lease->mark = mark;
    if (mark == LEASE_UNWANTED)
        list_push_back(&leases->unwanted, &lease->link);
}

static void forget_time(struct lease *lease)
{
    for (int event = 0; event < LEASE_EVENTS; event++)
        lease->place[event] = LEASE_NOT_QUEUED;
    lease->mark = LEASE_CLEAN;
    list_init(&lease->link);
}

/* ---- the replicated half tells ---- */

void leases__clock_granted(struct leases *leases, struct lease *lease, uint64_t now_ms)
{
    forget_time(lease);
    if (!leases->leading)
        return;
    lease->end_ms = now_ms + ttl_ms(lease);
    schedule(leases, lease);
}

void leases__clock_gone(struct leases *leases, struct lease *lease)
{
    for (int event = 0; event < LEASE_EVENTS; event++)
        dequeue(leases, (enum lease_event)event, lease);
    list_remove(&lease->link);
}

/* The commands of one leader are applied in the order in which it proposed them, each once, and no
 * checkpoint is handed out between a renewal's wish and its clear: so when that is applied, none is
 * still to come. */
void leases__clock_checkpoint(struct leases *leases, struct lease *lease)
{
    if (!leases->leading)
        return;
    if (lease->remaining_ms == 0 && awaits_clear(lease))
        set_mark(leases, lease, LEASE_CLEAN);
    else if (lease->remaining_ms != 0 && lease->mark == LEASE_CLEAN)
        set_mark(leases, lease, LEASE_MARKED); /* nobody handed it out here: believe the log */
    if (lease->place[LEASE_END] != LEASE_NOT_QUEUED)
        schedule_checkpoint(leases, lease);
}

void leases__clock_release(struct leases *leases)
{
    for (int event = 0; event < LEASE_EVENTS; event++)
        free(leases->queues[event].at);
}

/* ---- leading or not ---- */

void leases_lead(struct leases *leases, uint64_t now_ms, uint64_t extra_ms)
{
    struct lease *lease;
    size_t cursor = 0;

    leases_follow(leases);
    leases->leading = true;
    while ((lease = idmap_next(&leases->by_id, &cursor)) != NULL) {
        bool marked = lease->remaining_ms != 0;

        set_mark(leases, lease, marked ? LEASE_MARKED : LEASE_CLEAN);
        lease->marked_ms = lease->remaining_ms;
        lease->end_ms = now_ms + (marked ? lease->remaining_ms : ttl_ms(lease)) + extra_ms;
        schedule(leases, lease);
    }
}

void leases_follow(struct leases *leases)
{
    struct lease *lease;
    size_t cursor = 0;

    leases->leading = false;
    list_init(&leases->unwanted);
    for (int event = 0; event < LEASE_EVENTS; event++)
        leases->queues[event].len = 0;
    while ((lease = idmap_next(&leases->by_id, &cursor)) != NULL)
        forget_time(lease);
}

bool leases_leading(const struct leases *leases)
{
    return leases->leading;
}

/* ---- time and renewal ---- */

static void tell_time(const struct leases *leases, const struct lease *lease, uint64_t now_ms,
                      struct lease_time *out)
{
    *out = (struct lease_time){.state = LEASE_UNKNOWN};
    if (lease == NULL)
        return;
    out->ttl = lease->ttl;
    out->state = leases->leading && lease->end_ms <= now_ms ? LEASE_DUE : LEASE_LIVE;
    if (!leases->leading)
        out->remaining_ms = lease->ttl * 1000;
    else if (out->state == LEASE_LIVE)
        out->remaining_ms = (int64_t)(lease->end_ms - now_ms);
}

void leases_time(const struct leases *leases, int64_t id, uint64_t now_ms, struct lease_time *out)
{
    tell_time(leases, leases__find(leases, id), now_ms, out);
}

void leases_renew(struct leases *leases, int64_t id, uint64_t now_ms, struct lease_time *out)
{
    struct lease *lease = leases__find(leases, id);

    tell_time(leases, lease, now_ms, out);
    if (out->state != LEASE_LIVE || !leases->leading)
        return;
    /* Longer than anybody was told is always right, so it need not wait for a clear. */
    lease->end_ms = now_ms + ttl_ms(lease);
    out->remaining_ms = lease->ttl * 1000;
    if (lease->mark == LEASE_MARKED)
        set_mark(leases, lease, LEASE_UNWANTED);
    if (lease->mark != LEASE_CLEAN)
        out->state = LEASE_HELD;
    schedule(leases, lease);
}

/* ---- the end ---- */

uint64_t leases_next_due(const struct leases *leases)
{
    return next_at(leases, LEASE_END);
}

bool leases_take_due(struct leases *leases, uint64_t now_ms, struct lease_checkpoint *out)
{
    struct lease *lease;

    if (leases->queues[LEASE_END].len == 0 || leases_next_due(leases) > now_ms)
        return false;
    lease = leases->queues[LEASE_END].at[0];
    *out = (struct lease_checkpoint){.id = lease->id, .grant = lease->grant};
    dequeue(leases, LEASE_END, lease);
    dequeue(leases, LEASE_CHECKPOINT, lease);
    return true;
}

void leases_put_back(struct leases *leases, int64_t id, uint64_t at_ms)
{
    struct lease *lease = leases__find(leases, id);

    if (leases->leading && lease != NULL && lease->place[LEASE_END] == LEASE_NOT_QUEUED)
        enqueue(leases, LEASE_END, lease, at_ms);
}

/* ---- checkpoints ---- */

uint64_t leases_next_checkpoint(const struct leases *leases)
{
    return next_at(leases, LEASE_CHECKPOINT);
}

bool leases_take_checkpoint(struct leases *leases, uint64_t now_ms, struct lease_checkpoint *out)
{
    struct lease *lease;

    while (leases->queues[LEASE_CHECKPOINT].len > 0 && leases_next_checkpoint(leases) <= now_ms) {
        lease = leases->queues[LEASE_CHECKPOINT].at[0];
        if (lease->end_ms <= now_ms) { /* it waited for so long that its end is next */
            dequeue(leases, LEASE_CHECKPOINT, lease);
            continue;
        }
        set_mark(leases, lease, LEASE_MARKED);
        lease->marked_ms = lease->end_ms - now_ms;
        *out = (struct lease_checkpoint){
            .id = lease->id, .grant = lease->grant, .remaining_ms = lease->marked_ms};
        schedule(leases, lease);
        return true;
    }
    return false;
}

bool leases_take_clear(struct leases *leases, struct lease_checkpoint *out)
{
    struct lease *lease;

    if (list_empty(&leases->unwanted))
        return false;
    lease = LIST_FIRST(&leases->unwanted, struct lease, link);
    set_mark(leases, lease, LEASE_CLEARING);
    *out = (struct lease_checkpoint){.id = lease->id, .grant = lease->grant};
    return true;
}

void leases_put_back_clear(struct leases *leases, const struct lease_checkpoint *clear)
{
    struct lease *lease = leases__find(leases, clear->id);

    if (lease != NULL && lease->grant == clear->grant && lease->mark == LEASE_CLEARING)
        set_mark(leases, lease, LEASE_UNWANTED);
}

bool leases_awaits_clear(const struct leases *leases, int64_t id)
{
    const struct lease *lease = leases__find(leases, id);

    return lease != NULL && awaits_clear(lease);
}
