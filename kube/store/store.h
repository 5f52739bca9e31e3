/* Objects in kvd: keys as a kube-apiserver's, values canonical JSON without resourceVersion, one
 * transaction per write; and per resource a cache of their bytes, fed by one watch, that answers
 * lists and watches.
 *
 * Knows nothing of HTTP, defaults or rules: what is stored was made by kube/rest. Loop thread only.
 */
#ifndef KVD_KUBE_STORE_STORE_H
#define KVD_KUBE_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/slice.h"
#include "client/kv.h"
#include "kube/check/selector.h"
#include "kube/types/kinds.h"
#include "kube/types/status.h"

struct kube_store;

struct kube_store_options {
    uv_loop_t *loop;
    struct kv_client *client;  /* stays the caller's; open longer than the store */
    const char *prefix;        /* "/registry" */
    uint64_t timeout_ms;       /* of a request; 0: 60000 */
    size_t history_max;        /* events kept per resource for watches from the past; 0: 1024 at
                                * least, more while they are young */
    uint64_t event_ttl_s;      /* life of events; 0: 3600 */
    uint64_t compact_every_ms; /* history older than this is compacted, by one of the API servers
                                * that share the store; 0: never */
};

int kube_store_new(const struct kube_store_options *options, struct kube_store **out,
                   struct err *err);
/* Operations under way end without a callback; watches end without one. Its own handles close as
 * the loop runs on. Before the client is closed, never from inside one of the callbacks here.
 * Accepts NULL. */
void kube_store_free(struct kube_store *store);

/* ---- an object's bytes, shared by cache, answers and watchers ---- */

/* Refcounted, immutable: canonical JSON and where in it the revision goes. */
struct kube_object;
struct kube_object *kube_object_ref(struct kube_object *object);
void kube_object_unref(struct kube_object *object); /* accepts NULL */
int64_t kube_object_revision(const struct kube_object *object);
struct slice kube_object_namespace(const struct kube_object *object); /* empty: none */
struct slice kube_object_name(const struct kube_object *object);
/* Length of what kube_object_write() writes. with_type: kind and apiVersion too; items of a list go
 * without. */
size_t kube_object_size(const struct kube_object *object, bool with_type);
/* Writes it with its resourceVersion; out has room for kube_object_size(). Returns the length. */
size_t kube_object_write(const struct kube_object *object, bool with_type, uint8_t *out);
/* Its tree, metadata.resourceVersion set, kind and apiVersion included. Borrows from object: hold a
 * reference as long as arena. */
struct json *kube_object_json(struct arena *arena, const struct kube_object *object);
/* How kube_selector_matches() reads one. */
extern const struct kube_selected kube_selected_object;

/* ---- operations on one object ---- */

/* Private: somebody who waits until a cache has a revision. */
struct kube_waiter {
    struct list link; /* in a list of the store or of the cache, or in none */
    struct kube_cache *cache;
    int64_t wanted;
    uint64_t deadline_ms;
    /* The cache is there; or status says why not, or why not in time. */
    void (*ready)(struct kube_waiter *waiter, const struct kube_status *status);
};

struct kube_op;
/* op->status.code 0: done. The arena given at the start holds what status points to. */
typedef void (*kube_op_cb)(struct kube_op *op);

/* One operation. The caller owns the memory, embeds it, and reads what is not private in cb; cb
 * fires exactly once, later, never from inside the call, unless the operation is cancelled first.
 */
struct kube_op {
    struct kube_status status;
    struct kube_object *object; /* stored or read; NULL: none. The caller's to unref, also after a
                                 * conflict: then it is what is there now (NULL: gone) */
    int64_t revision;           /* of the store when it answered */

    /* private */
    struct kube_store *store; /* NULL: over */
    const struct kube_resource *resource;
    struct arena *arena;
    kube_op_cb cb;
    struct list link; /* in one of the store's lists */
    struct kv_call call;
    int kind; /* what it does, and how far it is */
    unsigned tries, repeats;
    bool uncertain; /* a try has ended without an answer */
    struct slice ns, name, key, bytes;
    int64_t began;       /* a revision of the store before it was sent; 0: not known */
    int64_t expected;    /* revision that must still be there */
    int64_t ns_revision; /* of the namespace, if it is known to take new objects */
    int64_t wanted;      /* the answer must be at least so new */
    int64_t lease;
    uint64_t deadline_ms;
    struct kube_waiter waiter;
};

enum kube_freshness {
    KUBE_NEWEST,    /* linearizable */
    KUBE_ANY,       /* whatever the cache has; waits only for the cache's first fill */
    KUBE_NOT_OLDER, /* at least revision: waits up to 3 s, then 504 */
    KUBE_EXACT      /* lists: exactly revision; 410 if compacted */
};

/* Reads one. Missing: 404. */
void kube_get(struct kube_store *store, struct kube_op *op, struct arena *arena,
              const struct kube_resource *resource, struct slice ns, struct slice name,
              enum kube_freshness freshness, int64_t revision, kube_op_cb cb);

/* bytes: canonical JSON, no resourceVersion; borrowed until cb. Namespaced: refused with 404 if the
 * namespace is not there, 403 (cause NamespaceTerminating) if it is being deleted; both are
 * compared in the same transaction. Exists: 409 AlreadyExists, op->object is what is there. */
void kube_create(struct kube_store *store, struct kube_op *op, struct arena *arena,
                 const struct kube_resource *resource, struct slice ns, struct slice name,
                 struct slice bytes, kube_op_cb cb);
/* Replaces the object if its revision still is expected. Otherwise status 409 Conflict, and
 * op->object what is there now; 404 if it is gone. */
void kube_update(struct kube_store *store, struct kube_op *op, struct arena *arena,
                 const struct kube_resource *resource, struct slice ns, struct slice name,
                 int64_t expected, struct slice bytes, kube_op_cb cb);
/* Removes it if its revision still is expected; object then is the last state with the revision of
 * the deletion. Conflict as kube_update(). */
void kube_delete(struct kube_store *store, struct kube_op *op, struct arena *arena,
                 const struct kube_resource *resource, struct slice ns, struct slice name,
                 int64_t expected, kube_op_cb cb);
/* No callback fires after this; the store may still carry a write out. Harmless when it is over. */
void kube_op_cancel(struct kube_op *op);

/* What the cache has of an object right now, without waiting; NULL: not there or no cache yet. For
 * the first try of a read-modify-write: kube_update() finds out if it was old. Borrowed until the
 * loop turns. */
struct kube_object *kube_cached(struct kube_store *store, const struct kube_resource *resource,
                                struct slice ns, struct slice name);

/* ---- lists ---- */

struct kube_list_options {
    struct slice ns;               /* empty: all namespaces */
    struct kube_selector selector; /* lives until cb */
    enum kube_freshness freshness;
    int64_t revision;            /* of KUBE_NOT_OLDER and KUBE_EXACT */
    uint64_t limit;              /* 0: none */
    struct slice continue_token; /* raw from the query; empty: none. Bad: 400; compacted: 410
                                  * with a token that goes on inconsistently */
};

struct kube_list {
    struct kube_status status;
    struct kube_object **objects; /* ordered by key; one reference each, released by
                                   * kube_list_release() */
    size_t count;
    int64_t revision;           /* of the snapshot */
    const char *continue_token; /* NULL: that was all */
    int64_t remaining;          /* behind this chunk; -1: not known (selectors) */

    /* private */
    struct kube_store *store; /* NULL: over */
    const struct kube_resource *resource;
    struct kube_list_options options;
    struct arena *arena;
    void (*cb)(struct kube_list *list);
    struct list link; /* in one of the store's lists */
    struct kv_call call;
    int state;
    size_t capacity;
    struct slice prefix, key, end; /* of what is asked for; what comes next */
    int64_t pinned;                /* revision of the pages to come; 0: the newest */
    uint64_t passed;               /* keys that were looked at */
    uint64_t deadline_ms;
    struct kube_waiter waiter;
};
typedef void (*kube_list_cb)(struct kube_list *list);

/* As operations: cb fires once, later, unless cancelled. */
void kube_list(struct kube_store *store, struct kube_list *list, struct arena *arena,
               const struct kube_resource *resource, const struct kube_list_options *options,
               kube_list_cb cb);
void kube_list_cancel(struct kube_list *list);
void kube_list_release(struct kube_list *list);

/* ---- watches ---- */

enum kube_event_type { KUBE_ADDED, KUBE_MODIFIED, KUBE_DELETED, KUBE_BOOKMARK };

struct kube_watch_options {
    struct slice ns;               /* copied */
    struct kube_selector selector; /* lives as long as the watch */
    int64_t revision;              /* changes after it; 0: state first, as ADDED */
    bool any_state;                /* with revision 0: the cache's state will do, else the newest */
    bool initial_events; /* sendInitialEvents: state as ADDED, a bookmark with the annotation, then
                          * changes; of a state at least as new as revision, or the newest for 0 */
    bool bookmarks;
};

/* How a watcher wants an event: encodings are made once per event and shared by all watchers that
 * ask for the same. Given by kube/rest: writes the whole line(s) to out. object has the state to
 * show; revision is the event's. */
struct kube_encoding {
    void (*write)(const struct kube_encoding *encoding, const struct kube_resource *resource,
                  enum kube_event_type type, const struct kube_object *object, struct buf *out);
};

struct kube_watch;
struct kube_watch_callbacks {
    /* A run of encoded events, in order; borrowed until return. */
    void (*on_bytes)(struct kube_watch *watch, struct slice bytes);
    /* A bookmark at revision; initial_end: the one that ends the initial events. */
    void (*on_bookmark)(struct kube_watch *watch, int64_t revision, bool initial_end);
    /* It is over and its memory the caller's: status says why (410 Expired: the revision is gone;
     * code 0: the watcher was too slow or the store lost touch, the client resumes). */
    void (*on_end)(struct kube_watch *watch, const struct kube_status *status);
    /* Bytes that the client has not taken yet; over queue_max the watch waits, over its history it
     * ends. */
    size_t (*queued)(struct kube_watch *watch);
};

/* The caller owns the memory. Callbacks fire later, never from inside the call. */
struct kube_watch {
    const struct kube_watch_callbacks *callbacks;
    const struct kube_encoding *encoding;

    /* private */
    struct kube_store *store; /* NULL: over */
    const struct kube_resource *resource;
    struct kube_cache *cache;
    struct kube_waiter waiter;
    struct kube__group *group; /* of watches that the same events concern; NULL: it is in none */
    struct list link;          /* in one of the group's or the cache's lists, or in none */
    struct list all_link;      /* in the cache's list of all */
    struct list bookmark_link; /* in the cache's list of those that want some, or in none */
    uint64_t bookmark_ms;
    struct slice ns; /* memory of the watch */
    struct kube_selector selector;
    int64_t revision;  /* events up to it do not concern it */
    int64_t told;      /* revision of the last thing that it was told */
    uint64_t next_seq; /* of the next event to look at, while it is in no group */
    int flags;
    bool is_parked;                /* until kube_watch_resume() */
    struct kube__initial *initial; /* state that is still to be sent; NULL: none */
};

void kube_watch_start(struct kube_store *store, struct kube_watch *watch,
                      const struct kube_resource *resource,
                      const struct kube_watch_options *options,
                      const struct kube_encoding *encoding,
                      const struct kube_watch_callbacks *callbacks);
/* No callback fires after this. Harmless when it is over. */
void kube_watch_stop(struct kube_watch *watch);
/* Calls on_bookmark at once, from inside, if it can be said how far the watch is and it has not
 * been said already: before the end of a watch whose time is up. */
void kube_watch_bookmark(struct kube_watch *watch);
/* The client has taken what was queued: go on if the watch waited. */
void kube_watch_resume(struct kube_watch *watch);

/* ---- health ---- */

/* Asks kvd whether it answers within two seconds (a linearizable read); status.code 0 or 5xx with
 * the reason. */
void kube_store_health(struct kube_store *store, struct kube_op *op, struct arena *arena,
                       kube_op_cb cb);

#endif
