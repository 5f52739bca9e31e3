/* The watch hub: tells watchers what the keyspace's revision log says. A watcher is a cursor on
 * that log, no queue: what has not been delivered yet is simply still in the log.
 *
 *     watch_create() ──▶ SYNCED ── its stream is blocked when an event comes ──▶ LAGGING
 *            │              ▲                                                      │
 *            │              └───────────── has read the log to its end ────────────┤
 *            └── starts in the past ──▶ LAGGING                                    │
 *                                          ENDED ◀── needs compacted revisions ────┘
 *
 * Synced watchers are found through an index by key (watch_index.h), all at once for a revision;
 * each lagging one reads the log by itself, a stretch at a time. The work is done by
 * watch_hub_step(), in pieces, between the turns of whoever changes the keyspace.
 *
 * Owns streams and watchers. Knows nothing of sockets and protobuf: the owner encodes events (once
 * each, whatever the number of watchers) and takes the bytes. Callbacks must not call back into the
 * hub, watch_stream_resume() excepted, or into the keyspace. One thread.
 *
 * Rules are etcd's (etcd-api.md section 6): all events of a revision in one batch, revisions
 * ascend, nothing is lost or repeated, progress never overtakes events. */
#ifndef KVD_MVCC_WATCH_H
#define KVD_MVCC_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "mvcc/mvcc.h"

struct watch_hub;
struct watch_stream;

enum {
    WATCH_BATCH_REVISIONS_MAX = 1000, /* of a catch-up batch, as etcd */
    WATCH_BATCH_BYTES = 64 * 1024,    /* a catch-up batch that has so much ends with its revision */
};

enum watch_flags {
    WATCH_NO_PUT = 1 << 0,
    WATCH_NO_DELETE = 1 << 1,
    WATCH_PREV_KV = 1 << 2,
    WATCH_PROGRESS = 1 << 3, /* watch_stream_tick() concerns it */
    WATCH_FRAGMENT = 1 << 4, /* of no concern here: handed through to deliver */
};

struct watch_event {
    bool is_delete;
    struct mvcc_kv kv;
    const struct mvcc_kv *prev; /* NULL: not asked for, a creation, or compacted */
};

/* What one watcher gets at once. Bytes are valid until deliver returns. */
struct watch_batch {
    int64_t id;
    int flags;
    int64_t revision;           /* for the header: that of live events; of catch-up the hub's */
    const struct slice *events; /* as encoded, in the order of the log */
    size_t count;
    size_t bytes; /* of all events */
};

struct watch_hub_options {
    const struct mvcc *mvcc; /* outlives the hub */
    uint64_t seed;           /* of the index's balance and hashes; never visible */
    /* Appends the event. */
    void (*encode)(const struct watch_event *event, struct buf *out);
    /* Takes a batch. False: this one was taken, but no more until watch_stream_resume(). */
    bool (*deliver)(void *stream_ctx, const struct watch_batch *batch);
    /* The watcher needs what has been compacted; it gets nothing more, its id stays in use. */
    void (*on_compacted)(void *stream_ctx, int64_t id, int64_t compact_revision);
};

/* Begins at the keyspace's present revision. */
struct watch_hub *watch_hub_new(const struct watch_hub_options *options);
/* All streams must be gone. */
void watch_hub_free(struct watch_hub *hub);

/* Does about `budget` records and deliveries worth of work, more only to finish a revision. True
 * while there is more to do. */
bool watch_hub_step(struct watch_hub *hub, size_t budget);
/* Every event of the keyspace up to this revision has been delivered to the synced watchers. */
int64_t watch_hub_revision(const struct watch_hub *hub);
/* It is the keyspace's. Otherwise mvcc_compact_step() must wait, for it frees records that are yet
 * to be delivered live. Lagging watchers hold up nothing. */
bool watch_hub_is_current(const struct watch_hub *hub);

/* The keyspace has been replaced by a later state of the same one, whose history in between was not
 * seen: a member that was behind got a checkpoint. It is not at a lower revision than the old one,
 * which may go after the call. Nobody is told anything twice, or from before what it has: who was
 * synced reads on from there like anybody who lags, and ends if that is compacted. */
void watch_hub_switch(struct watch_hub *hub, const struct mvcc *mvcc);

struct watch_stats {
    size_t streams;
    size_t watchers; /* without ended ones */
    size_t lagging;
    uint64_t events; /* delivered, since the hub was made */
};

void watch_hub_stats(const struct watch_hub *hub, struct watch_stats *out);

/* ---- streams: a namespace of watch ids, and one that can be blocked ---- */

struct watch_stream *watch_stream_new(struct watch_hub *hub, void *ctx);
/* With its watchers; nothing is told to it any more. Many are freed a few at a time, by
 * watch_hub_step(). */
void watch_stream_free(struct watch_stream *stream);
/* deliver may be called again. */
void watch_stream_resume(struct watch_stream *stream);
bool watch_stream_is_blocked(const struct watch_stream *stream);

struct watch_create {
    struct mvcc_span span; /* key not empty; copied */
    int64_t start;         /* first revision wanted, not negative; 0: what comes after now */
    int64_t id;            /* 0: the hub chooses, the smallest from 0 that was not used yet */
    int flags;
};

/* KV_EINVAL: the range is empty. KV_EEXIST: the id is in use. Nothing is delivered from inside; a
 * start that is compacted is told by on_compacted, later. */
int watch_create(struct watch_stream *stream, const struct watch_create *create, int64_t *id);
/* How many watchers the stream has, ended ones included, and their ids, in no order; ids has room
 * for all. */
size_t watch_stream_count(const struct watch_stream *stream);
void watch_stream_ids(const struct watch_stream *stream, int64_t *ids);
/* What a watcher watches, borrowed until it is cancelled. False: no such id. */
bool watch_watcher_span(const struct watch_stream *stream, int64_t id, struct mvcc_span *out);
/* False: no such id. */
bool watch_cancel(struct watch_stream *stream, int64_t id);

enum watch_progress {
    WATCH_PROGRESS_NONE,  /* no watchers, or one that starts in the future: nothing to say */
    WATCH_PROGRESS_LATER, /* something is still to be delivered */
    WATCH_PROGRESS_NOW,   /* all has been delivered up to watch_hub_revision() */
};

/* About all of the stream's watchers together. */
enum watch_progress watch_stream_progress(struct watch_stream *stream);
/* Calls notify for each watcher with WATCH_PROGRESS that has been sent nothing since the last tick
 * and has nothing outstanding up to watch_hub_revision(). */
void watch_stream_tick(struct watch_stream *stream,
                       void (*notify)(void *stream_ctx, int64_t id, int64_t revision));

#endif
