/* Queues of keys under a prefix, in the order of their creation: what locks and elections wait in
 * (etcd-api.md section 11). Whoever waits has a key of its own there and is told when no older one
 * is left, or when its own has gone.
 *
 * While somebody waits, the queue is mirrored in memory: one small place per create revision, kept
 * up to date by the watch hub. So a release wakes the next one in line and nobody else, and costs
 * the same whether ten or ten thousand wait; without waiters there is nothing. A mirror that is a
 * moment behind is never wrong: what it does not know yet is younger than what it knows.
 *
 * Knows nothing of calls, leases and consensus. Loop thread only. */
#ifndef KVD_SERVER_QUEUES_H
#define KVD_SERVER_QUEUES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "mvcc/watch.h"

struct queue;
struct place;
struct queues;

enum {
    QUEUE_PLACES_MAX = 262144, /* of all mirrors together: some 25 MB */
};

enum queue_news {
    QUEUE_WAITING,
    QUEUE_FIRST, /* there is no older key */
    QUEUE_GONE,  /* the own key is not there any more */
    QUEUE_FULL,  /* too many keys under the prefix, here and elsewhere */
};

/* Embedded by who waits. */
struct queue_wait {
    struct slice prefix; /* ends in '/'; this and the next: borrowed while waiting */
    struct slice key;
    int64_t create_revision;
    /* Once, from queues_run(), unless queues_leave() comes first; never QUEUE_WAITING. */
    void (*cb)(struct queue_wait *wait, enum queue_news news);
    /* internal */
    struct list link; /* in its place, or decided */
    struct queue *queue;
    enum queue_news news;
};

struct queues *queues_new(struct watch_hub *hub, const struct mvcc *mvcc, uint64_t seed);
/* Nobody waits. */
void queues_free(struct queues *queues);

/* The key has to be in the keyspace as it is now. Anything but QUEUE_WAITING: that is the answer
 * already, and cb will not fire. May be called while a command is being applied. */
enum queue_news queues_join(struct queues *queues, struct queue_wait *wait);
/* cb will not fire. Harmless when it has. */
void queues_leave(struct queue_wait *wait);
/* The keyspace has been replaced by a later state of the same one; the hub has been told. */
void queues_switch(struct queues *queues, const struct mvcc *mvcc);
/* Once per turn, after the hub's work. */
void queues_run(struct queues *queues);

/* NAME/, in the arena. */
struct arena;
struct slice queues_prefix(struct arena *arena, struct slice name);
/* The oldest key under a prefix; false: there is none. Walks all of them. */
bool queues_oldest(const struct mvcc *mvcc, struct slice prefix, struct mvcc_kv *out);
/* The range of its keys; end has room for prefix.len bytes and stays as long as the span. */
struct mvcc_span queues_span(struct slice prefix, uint8_t *end);

#endif
