/* Watchers, the index that finds those whom a key concerns, streams and the hub: for watch.c (the
 * hub and what it tells), watch_stream.c (streams, create, cancel, progress) and watch_index.c.
 * Shared inside mvcc/ only. */
#ifndef KVD_MVCC_WATCH_INTERNAL_H
#define KVD_MVCC_WATCH_INTERNAL_H

#include "base/idmap.h"
#include "base/list.h"
#include "base/prng.h"
#include "mvcc/watch.h"

struct record;

enum watcher_state { WATCHER_SYNCED, WATCHER_LAGGING, WATCHER_ENDED };

/* There may be 100,000 of them, idle: every field counts. */
struct watcher {
    union {
        struct { /* one key: in a hash chain */
            struct watcher *next, **link;
        } chain;
        struct { /* a range: in the tree */
            struct watcher *left, *right;
        } node;
    };
    struct watcher *furthest; /* range: who ends last among this one and those below it */
    struct watch_stream *stream;
    int64_t id;
    int64_t next; /* lagging: first revision not delivered; synced: nothing below it is wanted */
    struct list link; /* in hub->lagging, stream->parked or stream->future */
    uint32_t hash;    /* one key: of the key; range: the heap order of the tree */
    uint32_t slot;    /* its place among the hub's batches, if it is that batch's watcher */
    uint32_t key_len, end_len;
    uint8_t flags;
    uint8_t state;
    bool quiet;      /* nothing sent since the last tick */
    uint8_t bytes[]; /* key, end */
};

static inline struct slice watcher__key(const struct watcher *watcher)
{
    return slice_of(watcher->bytes, watcher->key_len);
}

static inline struct mvcc_span watcher__span(const struct watcher *watcher)
{
    return (struct mvcc_span){.key = watcher__key(watcher),
                              .end = slice_of(watcher->bytes + watcher->key_len, watcher->end_len)};
}

/* Watchers of one key in a hash table; ranges in a tree by their start that is a heap by random
 * numbers (a treap) and knows of each subtree how far it reaches: finding the k ranges that hold a
 * key costs O(log n + k log n) at the worst. */
struct watch_index {
    struct watcher **chains;
    size_t chain_count; /* a power of two */
    size_t points;
    struct watcher *root;
    struct prng prng;
    uint64_t salt;
};

void watch_index__init(struct watch_index *index, uint64_t seed);
void watch_index__release(struct watch_index *index);
void watch_index__add(struct watch_index *index, struct watcher *watcher);
void watch_index__remove(struct watch_index *index, struct watcher *watcher);
/* Calls visit for each watcher whose span holds the key. The index must not change meanwhile. */
typedef void (*watch_index_visit)(void *ctx, struct watcher *watcher);
void watch_index__match(const struct watch_index *index, struct slice key, watch_index_visit visit,
                        void *ctx);

/* All of them, in no order. */
void watch_index__each(const struct watch_index *index, watch_index_visit visit, void *ctx);

bool watch__span_holds(struct mvcc_span span, struct slice key);

/* ---- the hub ---- */

/* An event of the revision, or the stretch, being told. Both its forms are made when first wanted;
 * no bytes: not yet. */
struct watch_told {
    const struct record *record;
    size_t at[2], len[2]; /* in hub->bytes; [1]: with prev_kv */
};

/* Events of one watcher are chained, in order. */
struct watch_hit {
    uint32_t event;
    uint32_t next;
};

/* What one watcher gets of the revision. */
struct watch_gathered {
    struct watcher *watcher;
    uint32_t first, last; /* hits */
    uint32_t count;
};

/* A table that grows and is forgotten at once. */
#define TABLE(type)                                                                                \
    struct {                                                                                       \
        type *rows;                                                                                \
        size_t len, cap;                                                                           \
    }

struct watch_hub {
    struct watch_hub_options options;
    const struct mvcc *mvcc;
    int64_t done;             /* revision: all synced watchers have been told up to here */
    struct watch_index index; /* watchers that have not ended */
    struct list lagging;      /* whose stream was not blocked when last seen */
    struct list dead;         /* streams that are gone for their owner; in no count any more */
    struct watch_stats stats;

    /* Scratch of one revision or batch. */
    struct buf bytes;
    TABLE(struct watch_told) events;
    TABLE(struct watch_hit) hits;
    TABLE(struct watch_gathered) batches;
    TABLE(struct slice) slices;
};

struct watch_stream {
    struct watch_hub *hub;
    void *ctx;
    struct idmap watchers; /* by id, ended ones too */
    int64_t next_id; /* the hub chooses from here on; it does not go back to ids that were freed */
    struct list parked; /* lagging, until it resumes */
    struct list future; /* synced, and started in the future; perhaps that is the present by now */
    size_t live;        /* watchers that have not ended */
    size_t lagging;     /* of them */
    bool blocked;
    bool dead;             /* nothing may be told to it */
    struct list dead_link; /* in hub->dead */
    size_t dead_cursor;    /* watchers before it have been freed */
};

/* A synced watcher that has not got the revision goes and reads the log from there. */
void watch__set_lagging(struct watch_hub *hub, struct watcher *watcher, int64_t next);
/* Frees about so many watchers of streams that are dead. */
void watch__bury(struct watch_hub *hub, size_t count);
/* It is synced, or about to be freed. */
void watch__leave_lagging(struct watch_hub *hub, struct watcher *watcher);

#endif
