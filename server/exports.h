/* Maintenance.Snapshot streams: the state at one moment as a database file of etcd, and its SHA-256
 * (etcd-api.md section 9). Loop thread only.
 *
 * Made in slices between the turns, no faster than the client takes it: what waits for a client is
 * EXPORT_QUEUE_HIGH and a page, however large the store is. Until all of it is made the keyspace
 * is pinned: compaction takes effect, but gives no memory back. So a client that is in no hurry is
 * given up once it keeps a compaction waiting, and one that takes nothing in any case: net's stall
 * timeout lets what is left of a queue lie if it is little. */
#ifndef KVD_SERVER_EXPORTS_H
#define KVD_SERVER_EXPORTS_H

#include <openssl/evp.h>

#include "server/db_export.h"
#include "server/member_internal.h"

enum {
    EXPORT_QUEUE_HIGH = 1 << 20,
    EXPORT_PIECE = 32 << 10, /* bytes of the file in a message, as etcd */
    EXPORT_PACE_MS = 60000,
    EXPORT_PACE_BYTES = 16 << 20, /* in so long, if a compaction waits all the while */
};

/* How fast a client takes it. */
struct export_pace {
    uint64_t since_ms; /* the minute that is looked at; 0: not begun */
    uint64_t sent;     /* bytes, when it began */
    bool waits;        /* a compaction does, all the while */
};

/* Looked at every now and then; true: it is too slow. */
bool export_pace_fails(struct export_pace *pace, uint64_t now_ms, uint64_t sent,
                       bool compaction_waits);

/* A Snapshot call; lives in the call's arena. */
struct export_call {
    struct waiter waiter;
    struct member *member;
    struct grpc_call *call;
    struct list link; /* in member->exports */
    struct db_export *db;
    struct buf out;  /* made; a large item and what was before it at most */
    size_t out_at;   /* bytes of out that are sent */
    uint64_t total;  /* of the file; 0: it is still being measured */
    uint64_t sent;   /* bytes of it */
    EVP_MD_CTX *md;  /* of the bytes sent */
    bool is_blocked; /* the client has enough to take */
    bool is_made;    /* all pages are in out or sent */
    struct export_pace pace;
    uint64_t started_ns;
};

/* Begins one: the state is that of now. */
void exports_open(struct member *member, struct grpc_call *call);
/* Makes a bit of each that is not blocked; false: there is nothing to do. */
bool exports_step(struct member *member);

#endif
