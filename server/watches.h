/* The watch side of a member: its hub, the Watch streams that are open, when they are told of
 * progress and when they end for want of a leader. The requests on a stream are service_watch.c's.
 * Loop thread only.
 *
 * Back-pressure: a stream that has WATCH_QUEUE_HIGH bytes to send is blocked in the hub and goes on
 * when all of it is gone. So an unread stream costs that much and one batch, nothing else waits for
 * it, and what it misses is still in the keyspace's log. */
#ifndef KVD_SERVER_WATCHES_H
#define KVD_SERVER_WATCHES_H

#include "base/list.h"
#include "base/prng.h"
#include "mvcc/watch.h"
#include "server/member_internal.h"

enum {
    WATCH_QUEUE_HIGH = 128 * 1024,
    /* Answers that lie there for a client that asks and does not read: its stream ends. */
    WATCH_ANSWERS_MAX = 16 << 20,
};

/* Who takes what the hub says on one of its streams: the ctx of that stream. Callbacks must not
 * call back into the hub, watch_stream_resume() excepted, or into the keyspace. */
struct watch_sink {
    bool (*deliver)(struct watch_sink *sink, const struct watch_batch *batch);
    void (*on_compacted)(struct watch_sink *sink, int64_t id, int64_t compact_revision);
};

/* A call that stays open and is told of changes; lives in the call's arena. */
struct watch_call {
    struct watch_sink sink;
    struct waiter waiter;
    void (*on_end)(struct watch_call *watch); /* it is being forgotten; may be NULL */
    /* What it watches was taken away from its user; it ends the call. NULL: the Watch service. */
    void (*on_denied)(struct watch_call *watch, enum status status);
    struct watches *watches;
    struct grpc_call *call;
    struct watch_stream *stream;
    struct list link;        /* watches->calls */
    struct list asking_link; /* watches->asking */
    uint64_t tick_ms;        /* next look for watchers that want progress; UINT64_MAX: none does */
    size_t answer_bytes;     /* since the queue was last empty */
    bool has_leader;         /* wants to end when there is no leader */
    char *user;              /* who watches, as last said; NULL: nobody said; of the call's arena */
    uint64_t checked;        /* rights.change that its watchers have been checked for */
};

/* What may be seen has changed: the watchers that are open are checked anew, in slices. */
struct watch_rights {
    bool enabled; /* of the auth store, as last seen */
    uint64_t revision;
    uint64_t change; /* counts the changes */
    bool pending;    /* some call has not been checked since the last of them */
    /* The call being checked, and its watchers. */
    struct watch_call *call;
    int64_t *ids;
    size_t count, at;
};

struct watches {
    struct member *member;
    struct watch_hub *hub;
    struct list calls;
    struct list asking; /* calls with a progress request that is not answered */
    struct prng prng;
    struct watch_rights rights;
    uint64_t timer_ms;      /* when member->watch_timer fires; UINT64_MAX: not armed */
    uint64_t leaderless_ms; /* since; UINT64_MAX: there is a leader */
};

/* Once the keyspace is there; member->watch_timer is initialised. */
struct watches *watches_new(struct member *member, uint64_t seed);
/* All calls are gone. */
void watches_free(struct watches *watches);

/* After an apply, once per turn: brings events to the streams for about a millisecond. True while
 * there is more to do. */
bool watches_run(struct watches *watches);
/* Compaction may remove records. */
bool watches_allow_removal(const struct watches *watches);
/* member->leader has changed. */
void watches_on_leader(struct watches *watches);
/* Ends all streams: the member stops. */
void watches_end(struct watches *watches, enum status status);

/* Ends the watchers that what they watch was taken away from, for about a millisecond. True while
 * there is more to do (watches_auth.c). */
bool watches_check_rights(struct watches *watches);
/* The call is about to go. */
void watches_uncheck(struct watch_call *watch);

/* ---- for service_watch.c and service_observe.c ---- */

/* Whether who calls may watch that. It is remembered who it is: rights may change. */
enum status watches_permit(struct watch_call *watch, struct mvcc_span span);
/* "rpc error: code = PermissionDenied desc = ...": as etcd gives a reason to a watcher. */
const char *watches_error_text(enum status status, struct arena *arena);
/* A stream begins; watch is zeroed. Without a sink of its own it gets that of the Watch service. It
 * ends by watches_forget(), when the member stops, or when its client wants a leader and there is
 * none. */
void watches_open(struct watches *watches, struct grpc_call *call, struct watch_call *watch);
/* It is gone; the call is not touched. */
void watches_forget(struct watch_call *watch);
/* It has a watcher that wants progress. */
void watches_want_ticks(struct watch_call *watch);
/* To be answered once everything has been delivered. */
void watches_ask_progress(struct watch_call *watch);
/* Packs and queues an answer; false: the client has let too many lie and the call has ended. */
struct Etcdserverpb__WatchResponse;
bool watches_answer(struct watch_call *watch, int64_t revision,
                    struct Etcdserverpb__WatchResponse *response);

#endif
