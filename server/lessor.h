/* Lease time of one member: the leader's clock for all leases, and everybody's questions to it.
 *
 *   keep-alive, time-to-live ──▶ lessor__ask() ──▶ follower: ASK frame ──▶ leader's lessor
 *                                     │                                        │
 *                                     └── leader: one read-index round ◀───────┘
 *                                         confirms that it still leads, for all that wait
 *
 * Only a leader that has been confirmed after the question came answers it, so one that was paused
 * while a successor took over renews nothing (faults.md R12). The same rounds go before proposals
 * to end leases whose time is over.
 *
 * What costs a log entry: the beginning of each leader's time, the end of a lease, and checkpoints:
 * what is left of a lease that was not renewed for more than half of its TTL (mvcc/lease.h says
 * when). A client that renews in time writes nothing.
 *
 * Why no lease ends before its TTL is over, counted from the last request to grant or renew it that
 * was acknowledged (faults.md I8), while leaders come and go:
 *
 * 1. One leader. It sets the end when it applies the grant or renews, so after the client asked.
 *    When its clock says that the time is over it proposes the end, and renews that grant no more.
 * 2. Ends and checkpoints carry term and grant number, and are void elsewhere: what a paused leader
 *    decided counts for nothing once another leads, and what was decided about a lease does not hit
 *    one that got its id later.
 * 3. A new leader starts its clock at a moment when it leads and has applied everything that its
 *    predecessors had committed. Renewals that they acknowledged were confirmed before that, so
 *    their requests are older than that moment; a lease without checkpoint gets its whole TTL. By
 *    then an entry of its own term is applied too: what a predecessor has in its log alone, an end
 *    or a checkpoint from before a renewal that this leader will acknowledge, can not come about
 *    any more. (A leader that is confirmed knows all that is committed even without such an entry,
 *    which is enough for reads. It does not keep a paused predecessor from leading again.)
 * 4. A checkpoint says what was left when its leader proposed it, which is before that moment too.
 *    Unless a renewal was acknowledged since, that much from that moment on is enough.
 * 5. And if one was: its leader first had the checkpoint cleared, by a command behind it in the log
 *    (commands of one leader within its term keep their order, raft/propose.c), and acknowledged
 *    after that was applied, so committed, so applied by every later leader before its clock
 *    starts. It was then renewed like one that never had a checkpoint. While a clear is awaited the
 *    lease gets no new checkpoint.
 *
 * An election timeout more at every change of leader is for clients that could reach nobody.
 *
 * Knows neither the loop nor sockets nor consensus: those come as struct lessor_env, so that the
 * same code runs in the simulator. One thread. */
#ifndef KVD_SERVER_LESSOR_H
#define KVD_SERVER_LESSOR_H

#include "base/buf.h"
#include "base/idmap.h"
#include "base/list.h"
#include "base/prng.h"
#include "mvcc/lease.h"
#include "raft/replica.h"
#include "server/machine.h"
#include "server/status.h"

struct lessor;
struct lessor_command; /* a command of the lessor on its way */

struct lessor_env {
    void *ctx;
    /* Monotonic milliseconds as they really are, not as the loop saw them when its turn began. */
    uint64_t (*now_ms)(void *ctx);
    /* There has to be a turn at (or soon after) this time; a later call replaces an earlier one. */
    void (*arm_timer)(void *ctx, uint64_t at_ms);
    /* Proposes a command; the body is borrowed until return. True: lessor__command_done() follows
     * once, not from inside. */
    bool (*propose)(void *ctx, enum command_kind kind, struct slice body,
                    struct lessor_command *handle);
    /* As replica_read(), replica_ask() and replica_answer(). */
    bool (*read)(void *ctx, struct replica_read *read);
    void (*ask)(void *ctx, struct slice questions);
    void (*answer)(void *ctx, uint64_t to, uint64_t session, struct slice answers);
    /* No leader was known for three election timeouts (and again after as many). NULL: nobody
     * cares.
     */
    void (*on_leaderless)(void *ctx);
};

/* Tests only: rules that can be switched off, so that the simulator can show that it sees it. */
enum lessor_guard {
    LESSOR_GUARD_CLEAR = 1 << 0,   /* renewals wait until their checkpoint is cleared */
    LESSOR_GUARD_CONFIRM = 1 << 1, /* only a confirmed leader answers */
};

struct lessor_options {
    struct lessor_env env;
    uint64_t seed; /* of lease ids */
    uint32_t heartbeat_ms, election_ms;
    uint32_t timeout_ms;     /* of questions */
    size_t command_size_max; /* of one proposal */
    unsigned guards_off;
};

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
    struct lessor_options options;
    /* Set by the owner before consensus starts, and when the state machine is exchanged for another
     * (never while this member leads). */
    struct leases *leases;
    struct prng prng;
    uint64_t armed_ms; /* 0: not */

    /* What consensus last said. */
    enum replica_role role;
    uint64_t term;
    uint64_t leader;        /* 0: none */
    uint64_t leaderless_ms; /* no leader is known since; 0: one is */

    uint64_t lead_term;    /* its clock runs, in this term; 0: it does not */
    uint64_t open_term;    /* an entry of this term is applied */
    uint64_t opening_term; /* one of this term is under way */
    uint64_t open_ms;      /* not before */
    bool confirming;
    struct replica_read confirm;
    uint64_t confirm_term, confirm_ms; /* when it was asked for */

    /* Commands of lead_term that are under way. */
    size_t expiring;
    bool checkpointing, clearing;
    uint64_t checkpoint_ms, clear_ms; /* not before */

    struct list fresh;  /* nobody has been asked yet */
    struct list round;  /* leading: for when leadership is confirmed */
    struct list parked; /* leading: its lease is due, the end is awaited */
    struct list held;   /* leading: renewed, its checkpoint is to be cleared; then asked anew */
    struct list asked;  /* following: sent to the leader, in that order */
    struct list own;    /* this member's questions, by deadline */
    size_t own_count;
    struct list answers; /* leading: for other members, to be sent */
    struct idmap sent;   /* `asked` by number */
    uint64_t next_number;
    size_t guests; /* other members' questions held */
    struct buf frame;

    uint64_t renewed, expired; /* leases, as the leader; never reset */
};

void lessor__init(struct lessor *lessor, const struct lessor_options *options);
/* Its own questions have been failed or cancelled; commands under way are freed by whoever still
 * calls lessor__command_done() for them, before this. */
void lessor__release(struct lessor *lessor);
uint64_t lessor__now_ms(const struct lessor *lessor);
/* From when a TTL counts that begins now: the clock is cut to whole milliseconds, and no lease may
 * end early for that. */
uint64_t lessor__begin_ms(const struct lessor *lessor);
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

/* Effects of consensus; may come from inside it. */
void lessor__role_changed(struct lessor *lessor, enum replica_role role, uint64_t term,
                          uint64_t leader);
void lessor__on_ask(struct lessor *lessor, uint64_t from, uint64_t session, struct slice questions);
void lessor__on_answer(struct lessor *lessor, struct slice answers);
/* A command of its own was applied with success; or it was not, or that is not known. */
void lessor__command_done(struct lessor *lessor, struct lessor_command *command, bool applied);

/* The time that was asked for by env.arm_timer has come: before the turn. */
void lessor__on_timer(struct lessor *lessor);
/* Every loop turn, before the replica's and after it. */
void lessor__turn(struct lessor *lessor);
void lessor__turn_end(struct lessor *lessor);

#endif
