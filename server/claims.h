/* Calls that claim a place in a queue: Lock.Lock and Election.Campaign, and Election.Proclaim,
 * which shares two of their steps. They are etcd's recipes (etcd-api.md section 11) on the public
 * operations, run here:
 *
 *   lease 0 ──▶ GRANT ─┐                              ┌─ own value differs ─▶ ANNOUNCE ─┐
 *                      ├─▶ ENQUEUE ─▶ key NAME/LEASE ─┤                                 ├─▶ WAIT
 *   lease given ───────┘    (a txn)      is there     └─────────────────────────────────┘
 *
 *   WAIT ── it is the oldest at once ──────────────────────────────────────────▶ answer
 *     └──── nobody is older any more ──▶ CHECK (read point): it is still there ──▶ answer
 *
 * A claim outlives its call: what was proposed may be in the log whatever the client does. If the
 * call goes away before its answer, the place is given up (LEAVE). Not when the member stops: the
 * client may come again, to another one, with the same lease, and keeps its place. Loop thread
 * only.
 */
#ifndef KVD_SERVER_CLAIMS_H
#define KVD_SERVER_CLAIMS_H

#include "base/list.h"
#include "server/member_internal.h"
#include "server/queues.h"

enum {
    CLAIMS_MAX = 65536,           /* at a time; more: too many requests */
    CLAIM_BYTES_MAX = 64 << 20,   /* of their names, keys and values */
    CLAIM_SESSION_TTL_S = 60,     /* of the lease that a claim without one gets, as etcd */
    CLAIM_LEASE_TEXT_MAX = 1 + 16 /* "-" and hexadecimal digits */
};

struct claim;

enum claim_purpose { CLAIM_LOCK, CLAIM_CAMPAIGN, CLAIM_PROCLAIM };

struct claim_kind {
    enum claim_purpose purpose;
    enum status lost; /* the own key has gone while it waited */
    /* Answers; the call is gone then. revision: for the header. */
    void (*reply)(struct grpc_call *call, const struct claim *claim, int64_t revision);
};

enum claim_stage {
    CLAIM_GRANT,
    CLAIM_ENQUEUE,
    CLAIM_ANNOUNCE,
    CLAIM_WAIT,
    CLAIM_CHECK,
    CLAIM_LEAVE,
};

struct claim {
    struct waiter waiter;
    struct list link;  /* in claims->all */
    struct list ready; /* in claims->ready: its stage is to begin */
    struct member *member;
    struct grpc_call *call; /* NULL: it has gone */
    const struct claim_kind *kind;
    enum claim_stage stage;
    int64_t lease;
    int64_t create_revision;
    int64_t revision; /* of the store when the key was there first */
    union {
        struct queue_wait wait;
        struct member_read read;
    };
    struct slice value; /* ours; empty once it is written */
    size_t bytes;       /* counted in claims->bytes, the value's apart */
    size_t name_len;
    size_t key_len;
    uint8_t key[]; /* NAME/LEASE */
};

static inline struct slice claim_name(const struct claim *claim)
{
    return slice_of(claim->key, claim->name_len);
}

static inline struct slice claim_key(const struct claim *claim)
{
    return slice_of(claim->key, claim->key_len);
}

struct claims *claims_new(struct member *member, uint64_t seed);
/* All calls and writes are over. */
void claims_free(struct claims *claims);

/* Names and values are borrowed until return. The call is answered, now or later. */
void claims_enter(struct grpc_call *call, const struct claim_kind *kind, struct slice name,
                  int64_t lease, struct slice value);
/* Replaces the value of a key, not empty, that was created in that revision. */
void claims_announce(struct grpc_call *call, const struct claim_kind *kind, struct slice key,
                     int64_t create_revision, int64_t lease, struct slice value);
/* member->machine has been replaced by a later state; the hub of watchers has been told. */
void claims_switch(struct claims *claims);
/* Once per turn, after watches_run(). */
void claims_run(struct claims *claims);
/* Ends all calls. */
void claims_end(struct claims *claims, enum status status);
/* How many wait for their turn. */
size_t claims_waiting(const struct claims *claims);

#endif
