/* Election.Observe (etcd-api.md section 11): who leads, now and after each change.
 *
 *   RESOLVING ── somebody leads: send ──▶ FOLLOWING ── its puts: send ──┐
 *       ▲  │                                │   ▲  ▲                    │
 *       │  └── nobody ──▶ EMPTY             │   │  └────────────────────┘
 *       │                   │               │   │
 *       │                   └── a put: send ┼──▶ ADOPTING
 *       └────────────── the key is deleted ─┘
 *
 * EMPTY watches all keys under the name, FOLLOWING the leader's. A change of watch waits for a read
 * point, RESOLVING and ADOPTING: inside the hub's callbacks nothing may be watched. What happens
 * meanwhile is not missed, the new watch begins behind what was last seen.
 *
 * A client that reads slowly holds up its own stream only, as with Watch; if compaction overtakes
 * it, it gets the newest state and goes on. */
#include <stdlib.h>

#include "base/mem.h"
#include "proto/v3election.pb-c.h"
#include "server/machine_internal.h"
#include "server/queues.h"
#include "server/service.h"
#include "server/watches.h"

enum { NO_WATCH = -1 };

enum observer_state { OBSERVER_RESOLVING, OBSERVER_EMPTY, OBSERVER_ADOPTING, OBSERVER_FOLLOWING };

/* Lives in the call's arena. */
struct observer {
    struct watch_call watch;
    struct member_read read;
    enum observer_state state;
    struct slice prefix;
    struct slice leader; /* its key; ours */
    int64_t seen;        /* revision that was told last */
    int64_t watch_id;
};

static struct observer *observer_of(struct watch_sink *sink)
{
    return CONTAINER_OF(sink, struct observer, watch.sink);
}

static struct member *member_of(const struct observer *observer)
{
    return observer->watch.watches->member;
}

/* ---- watching ---- */

static void watch_span(struct observer *observer, struct mvcc_span span)
{
    struct watch_create create = {.span = span, .start = observer->seen + 1};
    int rc;

    if (observer->watch_id != NO_WATCH)
        (void)watch_cancel(observer->watch.stream, observer->watch_id); /* or it has ended */
    rc = watch_create(observer->watch.stream, &create, &observer->watch_id);
    ASSERT(rc == 0); /* the range is not empty, and the hub chooses the id */
}

static void set_leader(struct observer *observer, struct slice key)
{
    free((void *)(uintptr_t)observer->leader.data);
    observer->leader = slice_of(xmemdup(key.data, key.len), key.len);
}

static void follow(struct observer *observer)
{
    observer->state = OBSERVER_FOLLOWING;
    watch_span(observer, (struct mvcc_span){.key = observer->leader});
}

static void await(struct observer *observer, enum observer_state state);

/* ---- what the hub tells ---- */

static void send_event(struct observer *observer, const struct encoded_event *event,
                       int64_t revision)
{
    struct encode_header header = service_encode_header(member_of(observer), revision);
    struct grpc_call *call = observer->watch.call;

    (void)encode_leader(grpc_call_message(call, encode_leader_size(&header, event->kv)), &header,
                        event->kv); /* writes the size it said */
    grpc_call_send(call);
}

static void on_event(struct observer *observer, const struct encoded_event *event, int64_t revision)
{
    if (observer->state == OBSERVER_EMPTY && !event->is_delete) {
        send_event(observer, event, event->mod_revision);
        set_leader(observer, event->key);
        observer->seen = event->mod_revision;
        await(observer, OBSERVER_ADOPTING);
    } else if (observer->state == OBSERVER_FOLLOWING && event->is_delete) {
        await(observer, OBSERVER_RESOLVING);
    } else if (observer->state == OBSERVER_FOLLOWING) {
        send_event(observer, event, revision);
    }
}

static bool on_deliver(struct watch_sink *sink, const struct watch_batch *batch)
{
    struct observer *observer = observer_of(sink);
    struct encoded_event event;

    for (size_t i = 0; i < batch->count; i++) {
        decode_event(batch->events[i], &event);
        on_event(observer, &event, batch->revision);
    }
    return grpc_call_queued(observer->watch.call) < WATCH_QUEUE_HIGH;
}

static void on_compacted(struct watch_sink *sink, int64_t id, int64_t compact_revision)
{
    (void)id;
    (void)compact_revision;
    await(observer_of(sink), OBSERVER_RESOLVING);
}

/* ---- read points ---- */

static void resolve(struct observer *observer)
{
    const struct mvcc *mvcc = member_of(observer)->machine->mvcc;
    struct grpc_call *call = observer->watch.call;
    struct encode_header header;
    struct mvcc_kv kv;
    uint8_t *end;

    observer->seen = mvcc_revision(mvcc);
    if (queues_oldest(mvcc, observer->prefix, &kv)) {
        header = service_encode_header(member_of(observer), observer->seen);
        (void)encode_leader_kv(grpc_call_message(call, encode_leader_kv_size(&header, &kv)),
                               &header, &kv); /* writes the size it said */
        grpc_call_send(call);
        set_leader(observer, kv.key);
        follow(observer);
        return;
    }
    observer->state = OBSERVER_EMPTY;
    end = xmalloc(observer->prefix.len);
    watch_span(observer, queues_span(observer->prefix, end));
    free(end);
}

static void fail(struct watch_call *watch, enum status status)
{
    struct grpc_call *call = watch->call;

    watches_forget(watch);
    service_fail(call, status);
}

static enum status permit(struct observer *observer)
{
    uint8_t *end = xmalloc(observer->prefix.len);
    enum status status = watches_permit(&observer->watch, queues_span(observer->prefix, end));

    free(end);
    return status;
}

static void on_read(struct member_read *read, int status)
{
    struct observer *observer = CONTAINER_OF(read, struct observer, read);
    enum status denied = permit(observer);

    if (status == KV_ELEADERCHANGED) { /* the next leader will say */
        await(observer, observer->state);
    } else if (status != 0) {
        fail(&observer->watch, status_of_error(status));
    } else if (denied != STATUS_OK) {
        fail(&observer->watch, denied);
    } else if (observer->state == OBSERVER_ADOPTING) {
        follow(observer);
    } else {
        resolve(observer);
    }
}

static void await(struct observer *observer, enum observer_state state)
{
    observer->state = state;
    observer->read = (struct member_read){.cb = on_read};
    member_read_start(member_of(observer), &observer->read);
}

static void on_end(struct watch_call *watch)
{
    struct observer *observer = CONTAINER_OF(watch, struct observer, watch);

    if (observer->state == OBSERVER_RESOLVING || observer->state == OBSERVER_ADOPTING)
        member_read_cancel(member_of(observer), &observer->read);
    free((void *)(uintptr_t)observer->leader.data);
}

void service_election_observe(struct grpc_call *call, struct slice message)
{
    const V3electionpb__LeaderRequest *request;
    struct observer *observer;

    request = service_begin(call, message, &v3electionpb__leader_request__descriptor);
    if (request == NULL)
        return;
    observer = arena_calloc(grpc_call_arena(call), sizeof *observer);
    observer->watch.sink = (struct watch_sink){.deliver = on_deliver, .on_compacted = on_compacted};
    observer->watch.on_end = on_end;
    observer->watch.on_denied = fail;
    observer->prefix = queues_prefix(grpc_call_arena(call), slice_of_pb(request->name));
    observer->watch_id = NO_WATCH;
    watches_open(service_member(call)->watches, call, &observer->watch);
    await(observer, OBSERVER_RESOLVING);
}
