/* What the files of kube/store share. */
#ifndef KVD_KUBE_STORE_INTERNAL_H
#define KVD_KUBE_STORE_INTERNAL_H

#include "kube/store/store.h"

enum { KUBE__PAGE = 1000 }; /* objects asked of kvd at once */

/* ---- object.c ---- */

/* A label: key and value lie in the text as key":"value. */
struct kube__label {
    uint32_t at;
    uint16_t key_len, value_len;
};
/* The value of a selectable field, in the order of kube_resource.selectable; len 0: "" or none. */
struct kube__field {
    uint32_t at, len;
};

/* One allocation: labels, fields, key, text, and behind it copies of what is escaped in the text.
 */
struct kube_object {
    uint32_t refs;
    uint32_t len; /* of the text; 0: what is stored cannot be read */
    int64_t revision;
    const struct kube_resource *resource;
    uint32_t metadata_at; /* where in the text "metadata" begins */
    uint32_t revision_at; /* where in the text resourceVersion belongs */
    uint16_t key_len;     /* key: namespace/name, or name */
    uint16_t ns_len;
    uint16_t label_count, field_count;
    uint8_t data[];
};

static inline const struct kube__label *kube__labels(const struct kube_object *object)
{
    return (const struct kube__label *)(const void *)object->data;
}

static inline const struct kube__field *kube__fields(const struct kube_object *object)
{
    return (const struct kube__field *)(const void *)(kube__labels(object) + object->label_count);
}

static inline struct slice kube__object_key(const struct kube_object *object)
{
    return slice_of(kube__fields(object) + object->field_count, object->key_len);
}

static inline const uint8_t *kube__object_text(const struct kube_object *object)
{
    return kube__object_key(object).data + object->key_len;
}

/* Makes an object of what is stored under key (ns/name or name): canonical JSON, or what
 * decode.c makes that of. scratch is used and not reset. KV_ECORRUPT: err says what is wrong with
 * it. */
int kube__object_new(const struct kube_resource *resource, struct slice key, struct slice value,
                     int64_t revision, struct arena *scratch, struct kube_object **out,
                     struct err *err);
/* Stands for a value that cannot be read. */
struct kube_object *kube__object_unreadable(const struct kube_resource *resource, struct slice key,
                                            int64_t revision);
/* The same at another revision: what a deletion leaves. */
struct kube_object *kube__object_at(const struct kube_object *object, int64_t revision);
/* Value of the selectable field number index. */
struct slice kube__object_field(const struct kube_object *object, size_t index);
/* Number of a path in resource->selectable; -1: it is none. */
int kube__field_index(const struct kube_resource *resource, struct slice path);
size_t kube__field_count(const struct kube_resource *resource);

/* ---- index.c: objects ordered by key ---- */

enum { KUBE__CHUNK = 256 };

struct kube__chunk {
    size_t count; /* never 0 in an index */
    struct kube_object *objects[KUBE__CHUNK];
};

/* A B-tree of two levels; zeroed: empty, by key. Owns one reference to each object. */
struct kube__index {
    size_t by; /* 0: by key; n: by the value of selectable field n - 1, then by key */
    struct kube__chunk **chunks;
    size_t chunk_count, chunk_capacity;
    size_t count;
    size_t bytes; /* of the objects' texts */
};

struct kube__position {
    size_t chunk, at;
};

/* Where an object belongs. */
struct kube__place {
    struct slice value; /* of the field; empty if the index is by key */
    struct slice key;
};

void kube__index_release(struct kube__index *index);
/* In an index by key. */
struct kube_object *kube__index_find(const struct kube__index *index, struct slice key);
/* Takes over the reference; returns the one that was in its place before, or NULL. */
struct kube_object *kube__index_put(struct kube__index *index, struct kube_object *object);
/* Returns the reference, or NULL. */
struct kube_object *kube__index_remove(struct kube__index *index, struct kube__place place);
struct kube__place kube__index_place(const struct kube__index *index,
                                     const struct kube_object *object);
/* The first that is not before it. Valid until the index changes. */
struct kube__position kube__index_seek(const struct kube__index *index, struct kube__place place);
/* NULL at the end. */
struct kube_object *kube__index_next(const struct kube__index *index, struct kube__position *at);
/* How many lie before the position. */
size_t kube__index_rank(const struct kube__index *index, struct kube__position at);

/* ---- history.c: the last events of a resource ---- */

struct kube__event {
    int64_t revision;
    uint64_t at_ms;
    enum kube_event_type type;
    struct kube_object *object; /* new state; DELETED: the last one, at the deletion's revision */
    struct kube_object *prev;   /* what was there before; NULL: nothing */
    struct kube_object *left;   /* prev at this revision, for watches that it does not match any
                                 * more; made when it is needed */
};

/* A ring; events are numbered from 0 on. */
struct kube__history {
    struct kube__event *events;
    size_t capacity; /* a power of two, or 0 */
    uint64_t first, next;
    int64_t from; /* all events behind this revision are here */
    size_t bytes; /* of states that are nowhere else */
};

void kube__history_release(struct kube__history *history);
struct kube__event *kube__history_at(const struct kube__history *history, uint64_t seq);
/* Takes over event's references. */
void kube__history_push(struct kube__history *history, const struct kube__event *event);
/* Drops what is old, or more than fits. max: events that may stay; 0: a thousand, more while they
 * are young, less if they are large beside the resource's present state (live_bytes). keep: this
 * one and later ones stay in every case. */
void kube__history_trim(struct kube__history *history, size_t max, size_t live_bytes,
                        uint64_t now_ms, uint64_t keep);
/* Number of the first event behind revision. */
uint64_t kube__history_seek(const struct kube__history *history, int64_t revision);
/* Forgets all; what comes is behind revision. */
void kube__history_reset(struct kube__history *history, int64_t revision);
/* prev at the event's revision, borrowed from the event. */
struct kube_object *kube__event_left(struct kube__event *event);

/* ---- cache.c: one resource's state, and the watch that feeds it ---- */

enum kube__cache_state {
    CACHE_EMPTY,
    CACHE_FILLING, /* the first time */
    CACHE_READY,   /* may be behind, if the store is out of reach or it is being filled anew */
};

/* Watches that the same events concern: found by what all their objects have in common. */
enum kube__group_kind {
    GROUP_ALL,
    GROUP_NAMESPACE,
    GROUP_KEY,   /* namespace/name */
    GROUP_NAME,  /* in whatever namespace */
    GROUP_FIELD, /* value of a selectable field */
    GROUP_KINDS
};

struct kube__group {
    struct kube__group *next; /* in its bucket */
    uint64_t hash;
    enum kube__group_kind kind;
    size_t field;        /* number of GROUP_FIELD's */
    size_t count;        /* of its watches, with those in cache->todo */
    struct list watches; /* kube_watch.link */
    size_t len;
    uint8_t value[];
};

struct kube__groups {
    struct kube__group **buckets;
    size_t bucket_count, count;
    size_t of_kind[GROUP_KINDS];
};

struct kube_cache {
    struct kube_store *store;
    const struct kube_resource *resource;
    struct list link; /* store->caches */
    struct slice prefix, end;
    enum kube__cache_state state;
    struct kube__index index;
    struct kube__index by_node; /* pods by spec.nodeName: each kubelet asks for its own */
    struct kube__history history;
    int64_t revision; /* all up to it is here */

    /* the fill that runs */
    bool filling;
    struct kube__index filled;
    int64_t fill_revision;
    struct buf fill_key; /* where the next page begins */
    struct kv_call call;

    struct kv_watch watch;
    bool watching;
    bool stale;           /* what it lacks is compacted: it has to be filled anew */
    uint64_t again_at_ms; /* no fill and no watch before */
    unsigned failures;    /* in a row */

    struct list waiters; /* for the first fill, or for a revision */

    struct list watches;   /* all_link of all there are */
    struct list catching;  /* that read history, or the first state, by themselves */
    struct list parked;    /* whose client does not take what it was sent */
    struct list bookmarks; /* those that want some, by when */
    struct kube__groups groups;
    uint64_t dispatched;           /* number of the first event that nobody has been told of */
    struct list todo;              /* watches that are still to be told of the event before it */
    struct kube__encoded *encoded; /* that event, as it was asked for */
};

/* The resource's cache, being filled if it is not there yet. */
struct kube_cache *kube__cache(struct kube_store *store, const struct kube_resource *resource);
/* If it has been started and is filled; else NULL. */
struct kube_cache *kube__cache_ready(struct kube_store *store,
                                     const struct kube_resource *resource);
/* Whether it can be expected to reach the newest revision soon. */
bool kube__in_touch(const struct kube_cache *cache);
/* An empty one in store->caches; and a change of kvd put into it: for tests, too. */
struct kube_cache *kube__cache_new(struct kube_store *store, const struct kube_resource *resource);
void kube__cache_change(struct kube_cache *cache, const Mvccpb__Event *event);
void kube__cache_free(struct kube_cache *cache);
/* Time passes. */
void kube__cache_tick(struct kube_cache *cache, uint64_t now_ms);

/* ---- wait.c ---- */

enum {
    KUBE__LATE_MS = 3000,    /* wait for a revision that may never come; as upstream */
    KUBE__TICK_MS = 1000,    /* bookmarks and what has to be tried again */
    KUBE__FAST_TICK_MS = 50, /* while somebody waits for a revision */
};

/* Given to ready when the deadline has passed. */
extern const struct kube_status kube__late;

/* Calls ready when the cache has the revision (0: when it is filled), never from inside. */
void kube__wait(struct kube_waiter *waiter, struct kube_cache *cache, int64_t wanted,
                uint64_t deadline_ms);
/* The same for the newest revision that there is now, by one question to the store that all ask
 * together who come before it is sent. The deadline counts from its answer. */
void kube__wait_newest(struct kube_waiter *waiter, struct kube_cache *cache);
void kube__wait_cancel(struct kube_waiter *waiter);
/* The cache has changed: calls those whose time has come. */
void kube__waiters_wake(struct kube_cache *cache);
void kube__waiters_fail(struct list *waiters, const struct kube_status *status);
void kube__waiters_tick(struct kube_cache *cache, uint64_t now_ms);
/* A word of the store on how far all watches are has come; revision: how far. */
void kube__progressed(struct kube_store *store, int64_t revision);
/* Sends what has been asked for since the last turn. */
void kube__wait_turn(struct kube_store *store);
void kube__wait_free(struct kube_store *store);
/* Asks the store what it is, if that is not known. */
void kube__find_out(struct kube_store *store);

/* ---- scan.c: a cache's objects at a revision ---- */

/* What a key had at the revision although it has something else now. */
struct kube__past {
    struct slice key;
    uint64_t seq;
    struct kube_object *object; /* NULL: nothing */
};

struct kube__scan {
    const struct kube_cache *cache;
    const struct kube__index *index; /* the cache's, or that by node */
    struct slice node;
    struct slice prefix; /* of the keys wanted */
    struct kube__position at;
    struct kube__past *past;
    size_t past_count, past_at;
};

/* What selector may match from start on, below prefix; both relative to the resource. False: the
 * history does not reach so far. arena holds it. Borrowed until the loop turns. */
bool kube__scan_begin(struct kube__scan *scan, const struct kube_cache *cache, struct arena *arena,
                      const struct kube_selector *selector, struct slice prefix, struct slice start,
                      int64_t revision);
/* NULL at the end. */
struct kube_object *kube__scan_next(struct kube__scan *scan);
/* How many are still to come. */
size_t kube__scan_rest(const struct kube__scan *scan, struct arena *arena);

/* ---- watch.c ---- */

/* Where the watch is served: its history or first state. */
void kube__watch_catch(struct kube_watch *watch);
void kube__watch_end(struct kube_watch *watch, const struct kube_status *status);
/* All but those that still wait for the cache. */
void kube__watches_end(struct kube_cache *cache, const struct kube_status *status);
void kube__watches_tick(struct kube_cache *cache, uint64_t now_ms);
bool kube__watch_matches(const struct kube_watch *watch, const struct kube_object *object);
/* State that is still to be sent. */
struct kube__initial {
    struct kube_object **objects;
    size_t count, at;
    int64_t revision;
};
enum kube__watch_flags {
    WATCH_INITIAL_EVENTS = 1 << 0,
    WATCH_BOOKMARKS = 1 << 1,
    WATCH_STATE_FIRST = 1 << 2,
};
void kube__initial_free(struct kube__initial *initial);

/* ---- group.c ---- */

/* The watch joins those that it has most in common with. */
void kube__group_join(struct kube_watch *watch);
void kube__group_leave(struct kube_watch *watch); /* in none: does nothing */
/* Moves the watches that an event may concern to todo. */
void kube__groups_collect(struct kube_cache *cache, const struct kube__event *event,
                          struct list *todo);
void kube__groups_release(struct kube__groups *groups);

/* ---- dispatch.c ---- */

/* Works for about a millisecond. True while there is more to do. */
bool kube__dispatch(struct kube_cache *cache);
/* The first event that is still in use. */
uint64_t kube__dispatch_first(const struct kube_cache *cache);
/* All live watches have been told of what is up to this revision. */
int64_t kube__dispatch_revision(const struct kube_cache *cache);
void kube__encoded_free(struct kube_cache *cache);

/* ---- decode.c ---- */

/* Canonical JSON of a stored value that is not: protobuf of a kube-apiserver, JSON of another form
 * or version. *out lies in arena. KV_ECORRUPT. */
int kube__decode(struct arena *arena, const struct kube_resource *resource, struct slice value,
                 struct slice *out, struct err *err);

/* ---- store.c ---- */

/* Whether the store's word on progress can be trusted: etcd before 3.4.31 and 3.5.13 may send it
 * ahead of events (etcd 15220), or stuck behind a watch that lags. */
enum kube__progress { PROGRESS_UNKNOWN, PROGRESS_TRUSTED, PROGRESS_UNTRUSTED };

/* The lease of what is written now and ends by itself (lease.c). */
struct kube__lease {
    int64_t id; /* 0: none */
    uint64_t granted_ms;
    unsigned used;
    bool asking;
    struct list waiting; /* ops, for the next one */
    struct kv_call call;
};

struct kube__compaction {
    uint64_t every_ms, last_ms;
    int64_t round;    /* version of the key that all vote with */
    int64_t revision; /* of the store at the last vote */
    bool running;
    struct kv_call call;
};

struct kube_store {
    uv_loop_t *loop;
    struct kv_client *client;
    struct kv_watcher *watcher;
    char *prefix;
    uint64_t timeout_ms;
    size_t history_max;
    uint64_t event_ttl_s;
    uint64_t salt; /* of hashes */

    int64_t seen;                   /* highest revision that any answer had */
    struct list ops, lists;         /* waiting for kvd or a cache */
    struct list due_ops, due_lists; /* to be called back on the next turn */
    struct list caches;

    /* freshness (wait.c) */
    enum kube__progress progress;
    bool finding_out, probing;
    bool progress_wanted;   /* to be asked on the next turn */
    uint64_t asked_ms;      /* a question about progress is on its way since then; 0: none */
    int64_t reached;        /* the highest answer to one */
    unsigned stuck;         /* answers in a row that were no higher */
    struct list next_probe; /* waiters of the next one */
    struct list this_probe; /* of the one under way */
    struct kv_call status_call, probe_call;

    struct kube__lease lease;
    struct kube__compaction compaction;

    uv_idle_t idle;
    uv_timer_t timer;
    uint64_t tick_ms; /* the timer's period; 0: it does not run */
    unsigned handles; /* open ones; the memory goes with the last */
    struct arena scratch;
};

/* There is something to do on the next turn. */
void kube__kick(struct kube_store *store);
/* Time shall be looked at at least every so often. */
void kube__tick_within(struct kube_store *store, uint64_t ms);
/* Ends them on the loop's next turn. */
void kube__op_later(struct kube_op *op);
void kube__list_later(struct kube_list *list);
/* Calls back. */
void kube__op_finish(struct kube_op *op);
void kube__list_finish(struct kube_list *list);

const struct kube_resource *kube__namespaces(void);
bool kube__is_terminating(const struct kube_object *ns);
int kube__status_terminating(struct kube_status *status, struct arena *arena,
                             const struct kube_resource *resource, struct slice ns,
                             struct slice name);
/* Revision of an answer's header; the store remembers the highest. */
int64_t kube__seen(struct kube_store *store, const Etcdserverpb__ResponseHeader *header);

/* What the API says of a failed call to kvd. */
int kube__status_of(struct kube_status *status, struct arena *arena, const struct err *err);
int kube__status_too_large(struct kube_status *status, struct arena *arena, int64_t wanted,
                           int64_t current);
void kube__status_copy(struct kube_status *out, struct arena *arena,
                       const struct kube_status *status);
/* 500 that names the key. */
int kube__status_unreadable(struct kube_status *status, struct arena *arena,
                            const struct kube_store *store, const struct kube_resource *resource,
                            struct slice key, const char *why);

/* "<prefix>/<resource>/" + tail, in arena. */
struct slice kube__key(struct arena *arena, const struct kube_store *store,
                       const struct kube_resource *resource, struct slice tail);
/* ns/name, or name. */
struct slice kube__tail(struct arena *arena, struct slice ns, struct slice name);
/* The object in a record of kvd. Unreadable: 500, and *out NULL. */
int kube__object_of(struct kube_store *store, const struct kube_resource *resource,
                    const Mvccpb__KeyValue *kv, struct arena *arena, struct kube_status *status,
                    struct kube_object **out);

static inline ProtobufCBinaryData kube__bin(struct slice bytes)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)bytes.data, .len = bytes.len};
}
static inline struct slice kube__slice(ProtobufCBinaryData data)
{
    return slice_of(data.data, data.len);
}

/* ---- op.c, write.c ---- */

enum kube__op_kind { OP_GET, OP_CREATE, OP_UPDATE, OP_DELETE, OP_HEALTH };

void kube__op_begin(struct kube_store *store, struct kube_op *op, struct arena *arena,
                    const struct kube_resource *resource, kube_op_cb cb, enum kube__op_kind kind);
/* Copies both and makes the key of them. */
void kube__op_address(struct kube_op *op, struct slice ns, struct slice name);
/* Calls kvd within the operation's time; op ends, later, if that is not possible. */
void kube__op_call(struct kube_op *op, const struct kv_method *method,
                   const ProtobufCMessage *request, kv_call_cb cb);
/* The answer, or NULL and op has its status. */
void *kube__op_answer(struct kube_op *op);
void kube__op_take(struct kube_op *op, const Mvccpb__KeyValue *kv);
/* Releases the answer and calls back. */
void kube__op_end(struct kube_op *op);
/* Sends the operation's transaction. */
void kube__op_send(struct kube_op *op);

/* ---- lease.c, compact.c ---- */

/* Gives op a lease: true; or when there is one, and sends it then. */
bool kube__lease_for(struct kube_op *op);
/* kvd does not know it any more. */
void kube__lease_forget(struct kube_store *store, int64_t id);
void kube__lease_free(struct kube_store *store);
void kube__compaction_tick(struct kube_store *store, uint64_t now_ms);
void kube__compaction_free(struct kube_store *store);

/* ---- token.c ---- */

/* Reads a continue token; *start is relative to the list's prefix, without a slash before it.
 * *revision -1: the newest. 0 or 400. */
int kube__token_read(struct arena *arena, struct slice token, int64_t *revision,
                     struct slice *start, struct kube_status *status);
/* start: the first key that is wanted, relative to the list's prefix. */
const char *kube__token_write(struct arena *arena, int64_t revision, struct slice start);

#endif
