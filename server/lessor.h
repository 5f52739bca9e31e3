/* Lease time of one member: the leader's clock for all leases, and everybody's questions to it.
 *
 *   keep-alive, time-to-live ──▶ lessor__ask() ──▶ follower: ASK frame ──▶ leader's lessor
 *                                     │                                        │
 *                                     └── leader: one read-index round ◀───────┘
 *                                         confirms that it still leads, for all that wait
 *
 * Only a leader that has been confirmed after the question came answers it, so one that was paused
 * while a successor took over renews nothing (faults.md R12). The same rounds go before proposals
 * to end leases whose time is over; those are commands that count in the leader's own term only.
 * Nothing here costs a log entry but the end of a lease.
 *
 * A new leader's clock starts when it has applied everything that leaders before it may have
 * acknowledged; every lease then gets its whole TTL and an election timeout more: so none ends
 * early, however the last leader counted. Part of the member; loop thread only. */
#ifndef KVD_SERVER_LESSOR_H
#define KVD_SERVER_LESSOR_H

#include <uv.h>

#include "base/buf.h"
#include "base/idmap.h"
#include "base/list.h"
#include "base/prng.h"
#include "mvcc/lease.h"
#include "raft/replica.h"
#include "server/status.h"

struct member;

enum lease_question_kind { LEASE_RENEW = 1, LEASE_TIME = 2 };

/* Seconds, as clients get them. */
struct lease_answer {
    bool known;
    int64_t remaining; /* truncated */
    int64_t ttl;       /* granted */
};

/* Embedded by who asks. */
struct lease_question {
    enum lease_question_kind kind;
    int64_t lease;
    /* Once, never from inside lessor__ask(). Status: STATUS_OK, or no leader said anything in time
     * (STATUS_NO_LEADER), or the member ends (STATUS_STOPPED); then answer is NULL. */
    void (*cb)(struct lease_question *question, enum status status,
               const struct lease_answer *answer);
    /* internal */
    struct list link;     /* where it stands */
    struct list deadline; /* in lessor->own; not linked: another member's */
    uint64_t deadline_ms;
    uint64_t sent_ms;
    uint64_t number; /* names it in frames */
};

struct lessor {
    struct member *member;
    struct prng prng;
    uv_timer_t timer;
    uint64_t armed_ms; /* 0: not */

    uint64_t leaderless_ms; /* no leader is known since; 0: one is */
    uint64_t lead_term;     /* its clock runs, in this term; 0: it does not */
    bool confirming;
    struct replica_read confirm;
    uint64_t confirm_term, confirm_ms; /* when it was asked for */
    size_t expiring;                   /* commands to end leases that are under way */

    struct list fresh;  /* nobody has been asked yet */
    struct list round;  /* leading: for when leadership is confirmed */
    struct list parked; /* leading: its lease is due, the end is awaited */
    struct list asked;  /* following: sent to the leader, in that order */
    struct list own;    /* this member's questions, by deadline */
    size_t own_count;
    struct list answers; /* leading: for other members, to be sent */
    struct idmap sent;   /* `asked` by number */
    uint64_t next_number;
    size_t guests; /* other members' questions held */
    struct buf frame;

    struct list streams; /* open keep-alive streams (service_lease.c) */
};

/* Monotonic milliseconds as they really are, not as the loop saw them when its turn began. */
uint64_t lessor__now_ms(void);

void lessor__init(struct lessor *lessor, struct member *member, uint64_t seed);
void lessor__release(struct lessor *lessor);
/* A random id that no lease has. */
int64_t lessor__new_id(struct lessor *lessor);
/* The shortest TTL, in seconds. */
int64_t lessor__ttl_min(const struct lessor *lessor);

/* kind, lease and cb are set. False: too many. */
bool lessor__ask(struct lessor *lessor, struct lease_question *question);
/* cb will not fire. Harmless after it has. */
void lessor__cancel(struct lessor *lessor, struct lease_question *question);
/* Ends all of this member's questions. */
void lessor__fail(struct lessor *lessor, enum status status);

/* Effects of consensus. */
void lessor__role_changed(struct lessor *lessor);
void lessor__on_ask(void *ctx, uint64_t from, uint64_t session, struct slice questions);
void lessor__on_answer(void *ctx, struct slice answers);
/* Every loop turn, before the replica's and after it. */
void lessor__turn(struct lessor *lessor);
void lessor__turn_end(struct lessor *lessor);

/* Ends open keep-alive streams (service_lease.c). */
enum lessor_streams { LESSOR_ALL_STREAMS, LESSOR_STREAMS_WITH_LEADER };
void lessor__end_streams(struct lessor *lessor, enum lessor_streams which, enum status status);

#endif
