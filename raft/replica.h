/* One member's consensus: libraft's raft_step() with everything around it that it needs to be right
 * (reference: libraft.md). Events in, effects out: the replica does no I/O of its own, has no
 * clock, no thread and no randomness but its seed. The same code runs in kvd and, five times in one
 * process, in the simulator.
 *
 * Owns: the raft state, the cache of recent entries, proposals on their way, read-index rounds.
 * Uses: a wal (appends to it; its owner flushes it and reports what is durable).
 * Above it nobody knows libraft: terms, indexes and ids are uint64_t.
 *
 * One thread. Effects may fire from inside any call except where said; they must not call back into
 * the replica, except replica_forget(). */
#ifndef KVD_RAFT_REPLICA_H
#define KVD_RAFT_REPLICA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "wal/wal.h"

struct replica;

enum replica_role { REPLICA_FOLLOWER, REPLICA_CANDIDATE, REPLICA_LEADER };

enum { REPLICA_MEMBERS_MAX = 64, REPLICA_ADDRESS_SIZE_MAX = 4096 };

/* A member in a configuration. */
struct replica_member {
    uint64_t id;
    const char *address; /* unique and not empty; means something above only */
    bool voter;          /* false: it gets the log and has no vote */
};

struct replica_entry {
    uint64_t index;
    uint64_t term;
    struct slice commands; /* concatenated commands as they were proposed; empty for entries of
                              raft's own (barrier, configuration) */
    const struct replica_member *members; /* of a configuration; NULL: it is none. As commands
                                             borrowed until return */
    size_t member_count;
};

/* A state of the state machine and its place in the log. */
struct replica_snapshot {
    uint64_t index, term;
    uint64_t configuration_index;
    struct slice configuration; /* as the log has it; of checkpoints from disk or peers untrusted */
};

struct replica_env {
    void *ctx;
    /* Monotonic milliseconds, well above zero, never backwards. */
    uint64_t (*now_ms)(void *ctx);
    /* Call replica_on_timer() at (or soon after) this time; a later call replaces an earlier one.
     */
    void (*arm_timer)(void *ctx, uint64_t at_ms);
    /* There is work for replica_turn(): call it at the end of this loop turn. */
    void (*wake)(void *ctx);
    /* Records are pending in the wal: flush them soon and report replica_on_durable(). */
    void (*flush_wal)(void *ctx);
    /* Hand a frame to the peer's connection; it is borrowed until return. Losing it is allowed,
     * reordering frames of one connection is not. */
    void (*send)(void *ctx, uint64_t to, struct slice frame);
    /* Bytes queued for that peer and not yet sent; frames to a slow peer are thinned out by it. */
    size_t (*send_queued)(void *ctx, uint64_t to);
    /* A committed entry, in index order without holes, each exactly once per process life.
     * Deterministic state changes go here. Own proposals are recognised by the caller and ended by
     * replica_forget(). */
    void (*apply)(void *ctx, const struct replica_entry *entry);
    /* Role, term or known leader changed (leader 0: none known). */
    void (*on_role)(void *ctx, enum replica_role role, uint64_t term, uint64_t leader);
    /* The configuration in force is another one, or may be: replica_configuration() says which.
     * From inside replica_open() too. May be NULL. */
    void (*on_configuration)(void *ctx);
    /* Leader: a follower's questions, and who to send the answers to. Follower: answers of the
     * leader that it asked. Borrowed until return, untrusted. Either may be NULL: they are dropped.
     */
    void (*on_ask)(void *ctx, uint64_t from, uint64_t session, struct slice questions);
    void (*on_answer)(void *ctx, struct slice answers);
    /* Leader: that member's log ends with entry last, and it had acknowledged match, which is more,
     * in this term: its disk has lost what it said was durable. It is sent that again. Should as
     * many members as a quorum have done so, acknowledged writes may be lost. Once a term. May be
     * NULL. */
    void (*on_lost)(void *ctx, uint64_t id, uint64_t last, uint64_t match);
    /* Leader: that member needs entries that are dropped; send it a checkpoint at or above index,
     * by another way than frames, and say replica_snapshot_held() when it has it there, verified
     * and durable, or replica_snapshot_failed(). Once until then (guard G11). */
    void (*send_snapshot)(void *ctx, uint64_t to, uint64_t index);
    /* Follower: is that checkpoint here, durable, and ready to become the state machine's state? */
    bool (*has_snapshot)(void *ctx, uint64_t index, uint64_t term);
    /* It was, and now the state machine is that state; entries before it are never applied here. */
    void (*install)(void *ctx, uint64_t index, uint64_t term);
    /* The member must stop now: its state may be wrong from here on. Called once; every later call
     * into the replica does nothing. */
    void (*fatal)(void *ctx, const struct err *err);
};

struct replica_options {
    uint64_t id; /* this member */
    /* Initial members, ascending, this one included; used for a new log only. None: this member
     * joins others, and waits for what their leader sends it. */
    const uint64_t *voters;
    size_t voter_count;
    const char *const *addresses; /* of the voters; NULL: their ids in hex */
    struct wal *wal;              /* borrowed; opened */
    struct replica_env env;
    uint64_t seed;         /* of election timeouts */
    uint32_t heartbeat_ms; /* 0: 100 */
    uint32_t election_ms;  /* 0: 1000 */
    bool no_pre_vote;      /* stand for election without asking first (Raft 9.6 left out): who comes
                              back from behind a cut may then unseat a leader that is well */
    size_t cache_bytes;    /* recent entries kept in memory; 0: 4 MiB */
    /* What the state machine holds already; NULL: it is new. Durable, as everything else that the
     * log does not have any more must be. */
    const struct replica_snapshot *snapshot;
    uint64_t reserve_bytes; /* log kept behind a checkpoint for members that lag; 0: 64 MiB */
    unsigned guards_off;    /* tests only: bit n switches guard Gn off (raft/guards.h) */
    bool alone;             /* take all other members out, with what the log has: for a cluster that
                               has lost its quorum for good. What a quorum without this member had
                               committed and it has not is lost; what it has counts as committed.
                               Nothing happens in a new log. KV_EINVAL: it is no member itself */
    bool hold;              /* the state machine is not to be trusted: see replica_restate() */
};

/* A configuration of these voters, as the log and a snapshot have it; appended to out. addresses:
 * theirs, or NULL: their ids in hex. KV_EINVAL: too many, or one twice. */
int replica_encode_voters(const uint64_t *voters, const char *const *addresses, size_t count,
                          struct buf *out, struct err *err);

/* The other way, of bytes from disk: voters only, at most REPLICA_VOTERS_MAX. KV_ECORRUPT. */
enum { REPLICA_VOTERS_MAX = 64 };
int replica_decode_voters(struct slice configuration, uint64_t voters[REPLICA_VOTERS_MAX],
                          size_t *count, struct err *err);

/* What an entry of the wal holds, by its type; for who reads a log offline. */
enum replica_content {
    REPLICA_COMMANDS,
    REPLICA_CONFIGURATION,
    REPLICA_NOTHING, /* of raft's own */
    REPLICA_UNKNOWN, /* no such type: damage */
};
enum replica_content replica_content(uint8_t wal_type);

/* Starts from the wal and the snapshot: entries behind it are applied once they are known to be
 * committed. KV_ECORRUPT: they do not fit together, or one of them is damaged. A new wal without a
 * snapshot gets the first hard state and the configuration entry (and is
 * flushed in place). Effects fire from inside. */
int replica_open(const struct replica_options *options, struct replica **out, struct err *err);
/* Accepts NULL. Proposals and reads not done are dropped without callback. */
void replica_close(struct replica *replica);

/* ---- events ---- */

void replica_on_timer(struct replica *replica);
/* Everything in the wal up to seq is durable. */
void replica_on_durable(struct replica *replica, uint64_t seq);
/* A frame from a peer: untrusted bytes. A malformed one returns KV_EPROTO (text says what) and is
 * dropped; the caller should drop the connection. */
int replica_on_frame(struct replica *replica, uint64_t from, struct slice frame, struct err *err);
/* The connection to or from a peer came up, or both are down. A dead leader's closed connection is
 * a cue to campaign. */
void replica_on_peer(struct replica *replica, uint64_t peer, bool up);
/* End of a loop turn: all proposals since the last turn become one entry (or one frame to the
 * leader), committed entries are applied (in slices: env.wake asks for another turn), commit
 * indexes are pushed to followers, reads are answered. */
void replica_turn(struct replica *replica);

/* ---- proposals ---- */

/* A command on its way into the log: embedded in the caller's request; its bytes stay the caller's
 * and unchanged until it is forgotten.
 *
 * Exactly once: the replica submits it, or forwards it to the leader; when leadership changes and
 * the command provably can not be in the log any more it is submitted again by itself; while no
 * leader is known it waits. It never fails: the caller gives up by its own deadline
 * (replica_forget()), and then does not know the outcome unless term is 0: then it never left. */
struct replica_proposal {
    struct list link;
    struct slice command; /* self-delimiting: entries hold commands back to back */
    uint64_t term;        /* last submitted in this term; 0: never left */
    uint64_t frame;       /* internal: number of the frame it was forwarded in */
    bool queued;          /* in a list of the replica */
};

/* KV_ETOOBIG: command larger than an entry may be. Otherwise 0, and it is in flight until
 * forgotten. */
int replica_propose(struct replica *replica, struct replica_proposal *proposal);
/* Takes it back: applied, or given up. Harmless if already forgotten. May be called from env.apply.
 */
void replica_forget(struct replica *replica, struct replica_proposal *proposal);

/* ---- linearizable reads (Raft section 6.4, read index) ---- */

struct replica_read {
    struct list link;
    uint64_t index; /* internal */
    bool queued;
    /* Fires once from a later event or turn: the state machine now holds everything that was
     * acknowledged before replica_read() was called. status is 0: when the leader changes the read
     * asks the next one by itself, and while none is known it waits; the caller gives up by
     * replica_read_cancel(). May call into the replica. */
    void (*cb)(struct replica_read *read, int status);
};

/* True: the state machine may be read right now (a lone voter that leads and has applied
 * everything); cb will not fire. False: queued. */
bool replica_read(struct replica *replica, struct replica_read *read);
void replica_read_cancel(struct replica *replica, struct replica_read *read);

/* ---- questions to the leader that are not about the log ---- */

enum { REPLICA_ASK_SIZE_MAX = 1 << 20 };

/* Sends bytes to the leader's env.on_ask. They may get lost, and so may the answer: who asks, asks
 * again, and names its questions so that it knows their answers. Both count within one term only.
 * False: this member does not follow a leader. Not from inside an effect. */
bool replica_ask(struct replica *replica, struct slice questions);
/* The leader's answer, any time within its term; later it is dropped. */
void replica_answer(struct replica *replica, uint64_t to, uint64_t session, struct slice answers);

/* ---- leadership ---- */

/* Leader only: hand over to target (0: the best one) once it has everything; proposals wait
 * meanwhile. KV_ENOTLEADER, KV_EINVAL (target unknown or no voter), KV_ENOTFOUND (no other voter),
 * KV_EBUSY (a transfer to somebody else is under way). To ourselves: 0 at once.
 * Success is seen by env.on_role; given up after an election timeout. */
int replica_transfer(struct replica *replica, uint64_t target);

/* ---- the configuration ---- */

struct replica_configuration {
    struct replica_member members[REPLICA_MEMBERS_MAX]; /* valid until the next call or event */
    size_t count; /* 0: none yet, the member joins and has heard of nobody */
    uint64_t index;
    bool committed;
};

/* The one in force: the newest in the log, committed or not (Raft section 6). */
void replica_configuration(const struct replica *replica, struct replica_configuration *out);
/* Leader: proposes another one, in which one member is added (at the end), is gone, or has another
 * role; members that stay keep their order. KV_ENOTLEADER; KV_EBUSY: one is under way, or a
 * transfer, or a member that gets a vote has not caught up; KV_EINVAL: not such a change, or one
 * that takes our own vote (hand over first). Its outcome is seen by env.apply. Not from inside an
 * effect. */
int replica_change(struct replica *replica, const struct replica_member *members, size_t count);

/* ---- checkpoints ---- */

/* What a checkpoint of the state machine as it is now stands for. False: it can not be taken now,
 * because our own disk has not all that is applied, or a configuration is committed that is not
 * applied yet. The configuration is valid until the next call into the replica. */
bool replica_checkpoint_begin(const struct replica *replica, struct replica_snapshot *out);
/* It is durable. Entries before it are dropped, but for the reserve and for those from keep_from on
 * (0: no wish; the index of another checkpoint: who has that can go on from there, for which its
 * last entry must still be known). May come late or out of order; then it changes nothing (guard
 * G10). */
void replica_checkpoint_done(struct replica *replica, const struct replica_snapshot *snapshot,
                             uint64_t keep_from);
/* Leader: the member has that checkpoint now, and will be told to install it. */
void replica_snapshot_held(struct replica *replica, uint64_t peer,
                           const struct replica_snapshot *snapshot);
/* It did not get there; it will be ordered again if still needed. May be called from
 * env.send_snapshot. */
void replica_snapshot_failed(struct replica *replica, uint64_t peer);

/* A member whose state machine is wrong, but whose log and vote are not, is opened with
 * options.hold: nothing is applied and it does not campaign, nor takes leadership over; it stores
 * entries, acknowledges and votes as ever, for all that depends on the log alone (options.snapshot
 * says where it begins; only its place is used). Until the state after that entry has come from
 * another member: true, it is the state machine's now, and applying goes on behind it; false: that
 * entry is not known to be committed here (yet). An install (env.install) ends it too. */
bool replica_restate(struct replica *replica, uint64_t index, uint64_t term);
bool replica_is_held(const struct replica *replica);

/* ---- questions ---- */

struct replica_status {
    enum replica_role role;
    uint64_t term;
    uint64_t leader; /* 0: none known */
    uint64_t voted_for;
    uint64_t last_index;
    uint64_t stored_index;
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t snapshot_index; /* newest checkpoint that the log starts from; 0: none */
    uint64_t first_index;    /* oldest entry in the log; 0: it is empty */
    uint64_t pending;        /* proposals under way here */
    uint64_t cache_bytes;    /* of entries in memory */
    uint64_t elections;      /* leader changes seen */
};

void replica_status(const struct replica *replica, struct replica_status *out);
/* Leader only: highest index known to be stored on that peer. False if not leader or unknown. */
bool replica_match(const struct replica *replica, uint64_t peer, uint64_t *out);

#endif
