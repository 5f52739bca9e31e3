/* Do all members hold the same? Compared all the time, by what two hashes say at one index of the
 * log:
 *
 *   history  machine_history(): what applying has done, kept along with it. Some 60 ns a change, so
 *            it is compared once a second; a member that applied anything otherwise shows at once.
 *   keys     HashKV, computed from what stands in memory (deep rounds): a bit that flipped there,
 * or before in a checkpoint, shows at the next of them. A walk over all keys, in slices of a
 * fraction of a millisecond; every ten minutes, and soon after a member or a leader has started.
 *
 *   leader                                  each follower
 *   begins a round at its applied index ──▶ has applied that: its hashes
 *                                       ◀── REPORT, repeated until the next round
 *   all have reported, or time is up:
 *     a majority of the voters agrees ──▶ who differs is odd: on_verdict(AUDIT_ODD), the leader
 *                                         itself perhaps
 *     none does, twice in a row (and for a minute, if one that is not there may decide it)
 *                                     ──▶ AUDIT_SPLIT for each of those that reported
 *
 * Between peers and not in the log: an idle cluster writes nothing, and a round costs no entry;
 * what follows from a verdict goes through the log. Frames travel as questions to the leader
 * (raft/ask.c) beside the lessor's, are untrusted, and count within one term only. What was
 * compared once stays compared: the history never becomes equal again by itself.
 *
 * No I/O, no clock: the simulator runs the same code. Loop thread only. */
#ifndef KVD_SERVER_AUDIT_H
#define KVD_SERVER_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "mvcc/mvcc.h"
#include "raft/replica.h"

struct audit;

enum audit_verdict {
    AUDIT_AGREES, /* in a deep round: history and keys */
    AUDIT_ODD,    /* a majority agrees on something else */
    AUDIT_SPLIT,  /* there is no majority */
};

struct audit_options {
    void *ctx;
    uint64_t self;
    uint64_t interval_ms; /* between rounds; 0: 1 s */
    uint64_t deep_ms;     /* between deep rounds; 0: 10 min */
    uint64_t settle_ms;   /* before one that a start or a failure asks for; 0: 10 s */
    uint64_t (*now_ms)(void *ctx);
    /* The keyspace as it is now. */
    struct mvcc *(*mvcc)(void *ctx);
    /* The configuration in force. */
    void (*configuration)(void *ctx, struct replica_configuration *out);
    /* That member is healing: when it has a state again, a deep round is wanted soon. */
    bool (*is_healing)(void *ctx, uint64_t member);
    /* As replica_ask() and replica_answer(). */
    bool (*ask)(void *ctx, struct slice frame);
    void (*answer)(void *ctx, uint64_t to, uint64_t session, struct slice frame);
    /* Leader: what came of a round at that index; from inside audit_turn(). */
    void (*on_verdict)(void *ctx, uint64_t member, enum audit_verdict verdict, uint64_t index);
    /* Leader: that member wants a checkpoint at that index or above. */
    void (*on_want)(void *ctx, uint64_t member, uint64_t index);
};

struct audit *audit_new(const struct audit_options *options);
/* Accepts NULL. The keyspace that is being hashed must still be there. */
void audit_free(struct audit *audit);

/* The state stands at that index; after every entry. */
void audit_applied(struct audit *audit, uint64_t index, uint64_t history, int64_t revision);
/* The state is about to be replaced as a whole: what was begun on it ends. */
void audit_switch(struct audit *audit);
/* Who leads has changed, or the term has. */
void audit_role_changed(struct audit *audit, bool leads);
/* This member holds no state and wants one, at that index or above; UINT64_MAX: which is not known
 * yet; 0: it has one. */
void audit_want(struct audit *audit, uint64_t index);

/* Whether the bytes of a question or an answer are the audit's. */
bool audit_is_frame(struct slice bytes);
/* What the two of them bring. */
void audit_on_report(struct audit *audit, uint64_t from, uint64_t session, struct slice frame);
void audit_on_round(struct audit *audit, struct slice frame);

/* Does what is due, at most a slice of a hash. Returns when it wants to be called next. */
uint64_t audit_turn(struct audit *audit);
/* A deep round has found this member's state right since it started. */
bool audit_has_agreed(const struct audit *audit);

#endif
