/* The simulator: three or five members (the real replica, wal, lessor and state machine), and in
 * some seeds others that come and go, in one process on virtual time from one seed, with a network
 * that delays, loses and cuts, disks that lose what was not synced, members that crash or sleep at
 * any moment, and clients that write, read and hold leases through all of them.
 *
 * One run is one seed; the same seed gives the same run, event for event (the trace hash shows it).
 */
#ifndef KVD_TESTS_SIM_SIM_H
#define KVD_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/idmap.h"
#include "base/list.h"
#include "base/prng.h"
#include "mvcc/watch.h"
#include "raft/replica.h"
#include "server/audit.h"
#include "server/checkpoint.h"
#include "server/lessor.h"
#include "server/machine.h"
#include "server/reconfig.h"
#include "server/transfer.h"
#include "tests/lib/memdisk.h"
#include "wal/wal.h"

enum {
    SIM_MEMBERS_MAX = 11, /* that ever are: an id is never used again */
    SIM_CLIENTS = 12,
    SIM_KEYS = 10,
    SIM_HOLDERS = 6, /* clients that hold leases */
    SIM_LEASE_KEYS = 2,
    SIM_FAULT_MS_MAX = 20000,
    SIM_FAULTS_MAX = 512, /* at least 50 ms apart */
};

/* Faults planted on purpose: the checks must see each of them (kvsim --bites). */
enum sim_bug {
    SIM_BUG_NONE,
    SIM_BUG_SKIP_SYNC,        /* disks say "synced" and did not */
    SIM_BUG_STALE_READ,       /* reads skip the read index */
    SIM_BUG_DOUBLE_APPLY,     /* an entry's commands are applied twice now and then */
    SIM_BUG_FORGET_VOTE,      /* hard state comes back empty after a restart */
    SIM_BUG_EARLY_EXPIRY,     /* the leader's clock for leases is a fifth too fast */
    SIM_BUG_STALE_CHECKPOINT, /* renewals do not wait until their checkpoint is cleared */
    SIM_BUG_SLEEPY_RENEWAL,   /* a leader renews without being confirmed */
    SIM_BUG_LOST_CHECKPOINT,  /* what is left of leases is forgotten */
    SIM_BUG_OLD_TERM,         /* ends and checkpoints of an earlier leader count */
    SIM_BUG_OLD_GRANT,        /* ends and checkpoints hit a later lease of the same id */
    SIM_BUG_EARLY_DROP,       /* the log is dropped before the checkpoint is durable */
    SIM_BUG_AHEAD,            /* a checkpoint says one entry more than it holds */
    SIM_BUG_UNNAMED_FILE,     /* the names of checkpoints are not made durable */
    SIM_BUG_DROP_EVENT,       /* a watcher misses a batch now and then */
    SIM_BUG_REPEAT_EVENT,     /* or gets one twice */
    SIM_BUG_SPLIT_REVISION,   /* or in pieces that are not marked as such */
    SIM_BUG_PROGRESS_AHEAD,   /* progress is told of what is yet to be delivered (R5) */
    SIM_BUG_FALSE_REFUSAL,    /* a write that was given up counts as one that never left */
    SIM_BUG_STATE_FLIP,       /* a member's state changes by itself, and nobody compares */
    SIM_BUG_EARLY_START, /* a start in the future of a lagging member begins there and then (R10) */
    SIM_BUG_OLD_CONFIGURATION, /* of a checkpoint the first configuration is taken, not its own */
    SIM_BUG_EARLY_VOTE,        /* a new member votes before it has the log */
    SIM_BUG_UNTOLD,            /* who was removed is not refused, and so goes on */
    SIM_BUG_ID_COMES_BACK,     /* which members were removed is forgotten */
    SIM_BUGS
};

/* What goes on beside the numbered faults, and can be left out of a run. */
enum sim_without {
    SIM_WITHOUT_LOSS = 1 << 0,
    SIM_WITHOUT_SLOW = 1 << 1,  /* frames that take long */
    SIM_WITHOUT_STALL = 1 << 2, /* disks that take long */
    SIM_WITHOUT_FLIPS = 1 << 3,
    SIM_WITHOUT_CHECKPOINTS = 1 << 4,
    SIM_WITHOUT_CHURN = 1 << 5, /* members that come and go */
    SIM_WITHOUTS = 6,
};

/* What is drawn from the seed is drawn whether it is used or not, so that a run that does without
 * some of it begins as the whole one does. */
struct sim_options {
    uint64_t seed;
    unsigned members; /* 3 or 5; 0: drawn from the seed */
    enum sim_bug bug;
    unsigned guards_off;
    bool verbose;
    uint64_t fault_ms; /* virtual time with faults, at most SIM_FAULT_MS_MAX; 0: drawn */
    unsigned clients;  /* 0: SIM_CLIENTS */
    unsigned without;  /* SIM_WITHOUT_... */
    uint64_t skip[SIM_FAULTS_MAX / 64]; /* bits: faults, by number, that do not take place */
};

/* Invariants of faults.md that a run can break. */
enum { SIM_VIOLATION_SIZE = 512 };

struct sim_result {
    char violation[SIM_VIOLATION_SIZE]; /* "" if all held */
    uint64_t trace;                     /* hash of everything that happened */
    uint64_t faults;                    /* numbers that were given to faults */
    uint64_t virtual_ms;
    uint64_t acked, unknown, never_left, reads, elections, crashes, cuts, pauses, applied;
    uint64_t checkpoints, installs;
    uint64_t flips, restates;
    /* Of the members: configurations that differ in that way; requests refused; members that have
     * stopped because they were removed, and joined with a checkpoint. */
    uint64_t added, removed, voted, moved, refused, retired, joined_far;
    uint64_t grants, renewals, expired, lease_checkpoints, clears;
    uint64_t watch_creates, watch_events, watch_progress, watch_compacted;
};

void sim_run(const struct sim_options *options, struct sim_result *out);

/* ---- inside tests/sim ---- */

struct sim;

struct sim_member {
    struct sim *sim;
    unsigned n; /* 1.. */
    bool up;
    bool wrecked; /* must crash at the end of this event */
    enum {
        SIM_AWAITED, /* not started yet: it joins once the others know of it */
        SIM_PRESENT,
        SIM_RETIRED, /* it was removed, knows that, and has stopped */
        SIM_LOST,    /* its disk is gone: it must never be started again */
    } state;
    bool removed;  /* it knows that it was, and must stop at the end of this event */
    uint64_t life; /* grows with every start; events of older lives are void */
    struct memdisk *memdisk;
    struct wal *wal;
    struct replica *replica;
    struct machine *machine;
    struct wal_flush *flush;
    bool turn_queued, flush_wanted;
    uint64_t timer_token;
    uint64_t applied;
    uint64_t digest; /* rolling, over all applied commands */
    uint64_t ticket_next;
    struct idmap waiting; /* ticket -> struct sim_op of writes */
    struct arena arena;
    /* Checkpoints (sim_snapshot.c). */
    struct checkpoints *checkpoints;
    struct transfer *transfer;
    struct list jobs;            /* handed over, not run yet */
    uint64_t log_begun;          /* wal_appended_bytes() when the last checkpoint began */
    struct machine *old_machine; /* replaced by an install; a checkpoint may still read it */
    struct disk_ops hasty_ops;
    uint64_t asleep_until_us; /* paused: whatever happens to it happens then */

    struct lessor lessor;
    uint64_t led_term;      /* its lessor's clock runs, or ran, in this term */
    uint64_t lease_token;   /* of its timer */
    uint64_t clock_ms;      /* what its monotonic clock is ahead of virtual time */
    struct list writes;     /* struct sim_write */
    struct idmap write_of;  /* ticket -> struct sim_write */
    struct list holder_ops; /* of clients that hold leases (sim_holder.c) */
    struct watch_hub *hub;
    bool pump_queued;

    /* The members (sim_churn.c). */
    struct reconfig making;
    bool new_configuration, publishing;
    struct {
        bool up;
        uint64_t since_us;
    } peers[SIM_MEMBERS_MAX + 1]; /* connections, as it knows */

    /* Comparison of states (sim_audit.c). */
    struct audit *audit;
    uint64_t audit_at_us; /* it is called then */
    bool quarantined;     /* its alarm stands, as it knows */
    bool distrusted;      /* durable: its state has to come from the others */
    bool wants, ordered;
    uint64_t log_end, log_end_us;
    uint64_t raised_index;
    bool flipped, ever_flipped; /* its state is wrong, or has been */
    bool flip_forgotten;     /* a restart has righted it; it may be told off for it all the same */
    uint64_t foreign_index;  /* of the last checkpoint that came from another member */
    uint64_t flip_stored_at; /* in checkpoints from this index on too; 0: in none */
    uint64_t written_index;  /* of the last checkpoint that was written */
};

/* A command that is not one of sim_client.c: of the lessor, or of a client that holds a lease. */
struct sim_write {
    struct list link;
    struct sim_member *member;
    struct replica_proposal proposal;
    struct buf bytes;
    uint64_t ticket;
    /* Applied; or (NULL) nobody knows. Once; not from inside sim_write(). */
    void (*done)(struct sim_write *write, const struct machine_result *result);
};

/* One client request. */
struct sim_op {
    unsigned client;
    struct sim_member *member;
    uint64_t life;
    bool is_read;
    struct replica_proposal proposal;
    struct replica_read read;
    struct buf command;
    uint64_t ticket;
    uint64_t called_us;
    int64_t floor; /* highest revision acknowledged to anybody before the call */
    unsigned key;
    uint64_t serial; /* written value */
};

struct sim_event;

struct sim_churn; /* who is a member, and who asks for changes of that (sim_churn.c) */

struct sim_check; /* what must hold, and what is known so far (sim_check.c) */

struct sim {
    struct sim_options options;
    struct sim_result *result;
    struct prng prng;
    struct prng fault_prng; /* of the fault under way: each has one of its own */
    uint64_t now_us;
    struct sim_event *heap;
    size_t heap_len, heap_cap;
    uint64_t sequence;
    unsigned founders; /* 3 or 5: the first members */
    unsigned size;     /* with those that have come since */
    struct sim_churn *churn;
    struct sim_member members[SIM_MEMBERS_MAX + 1];
    /* links[a][b]: from a to b. */
    struct {
        bool cut;
        uint64_t last_us; /* frames of one connection stay in order */
        uint64_t epoch;   /* grows when the connection breaks: what is on its way is lost */
        uint64_t queued;
    } links[SIM_MEMBERS_MAX + 1][SIM_MEMBERS_MAX + 1];
    /* bulk[a][b]: the connection that a opened to b, for checkpoints. */
    struct {
        bool wanted, up;
        uint64_t epoch;
        uint64_t last_us[2]; /* per direction */
    } bulk[SIM_MEMBERS_MAX + 1][SIM_MEMBERS_MAX + 1];
    uint64_t checkpoint_bytes; /* of log between two; 0: none are written */
    uint64_t reserve_bytes;
    size_t checkpoints_kept;
    bool healed;
    bool written_after_heal; /* a write called after healing was acknowledged */
    /* Swarm: each seed draws its own mix. */
    uint32_t loss_ppm, slow_ppm, stall_ppm;
    bool flips;                                   /* states change by themselves */
    uint32_t crash_share, cut_share, pause_share; /* of faults, per cent */
    struct sim_check *check;
    struct sim_op *ops[SIM_CLIENTS]; /* under way */
    struct sim_holders *holders;
    struct idmap fates; /* of leases: id -> struct sim_fate */
    uint64_t led_us;    /* a leader's clock for leases last began to run */
    uint64_t healed_us; /* all faults are over, but for members that sleep */
    uint64_t serial_next;
    struct sim_watch *watch;
    struct sim_writer *writer;
};

typedef void (*sim_action)(struct sim *sim, void *data, uint64_t token);
/* Runs action at a virtual time; drop frees data if the run ends before (may be NULL). */
void sim_at(struct sim *sim, uint64_t at_us, sim_action action, void *data, uint64_t token,
            void (*drop)(void *data));
void sim_trace(struct sim *sim, uint64_t value);
void sim_say(struct sim *sim, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sim_violation(struct sim *sim, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* sim_member.c */
void sim_member_start(struct sim_member *member);
void sim_member_crash(struct sim_member *member, const char *why);
void sim_member_free(struct sim_member *member);
/* After every call into a member's replica: turns, flushes, wrecks. */
void sim_member_settle(struct sim_member *member);
/* There is work for a turn. */
void sim_member_wake(struct sim_member *member);
/* True: it sleeps; the event has been put off until it wakes, in order. */
bool sim_member_asleep(struct sim_member *member, sim_action action, void *data, uint64_t token,
                       void (*drop)(void *data));

/* sim_lessor.c: leases of a member, and commands of its own. */
void sim_lessor_start(struct sim_member *member);
void sim_lessor_stop(struct sim_member *member);
/* After a turn. */
void sim_lessor_turned(struct sim_member *member);
uint64_t sim_lessor_now_ms(const struct sim_member *member);
void sim_write(struct sim_member *member, struct sim_write *write, enum command_kind kind,
               struct slice body);
/* True: it was one of these. */
bool sim_write_applied(struct sim_member *member, uint64_t ticket,
                       const struct machine_result *result);
void sim_writes_lost(struct sim_member *member);

/* sim_holder.c: clients that hold leases. */
void sim_holders_start(struct sim *sim);
void sim_holders_free(struct sim *sim);
void sim_holders_lost(struct sim_member *member);
bool sim_holders_quiet(const struct sim *sim);

/* sim_fate.c: what clients were promised of the lease that has an id, and what became of it. */
struct sim_fate {
    uint64_t promised_us; /* it is there until then */
    uint64_t ended_us;    /* by time; 0: it did not */
    bool revoked;         /* somebody has asked for that: nothing is promised */
    uint64_t left_us;     /* as the log says; 0: nothing */
    uint64_t left_at_us;  /* since when */
};
struct sim_fate *sim_fate_of(struct sim *sim, int64_t id);
void sim_fates_free(struct sim *sim);
void sim_fate_promise(struct sim *sim, int64_t id, uint64_t until_us);
/* Somebody sees that the lease, or a key of it, is not there. */
void sim_fate_check_gone(struct sim *sim, int64_t id, const char *who);
struct slice sim_lease_key(int64_t id, unsigned key, char *space, size_t size);
/* Around every command that a member applies. */
struct sim_lease_watch {
    int64_t id; /* 0: none that could end a lease */
    uint64_t grant;
    int64_t revision;
    size_t keys;
};
void sim_lease_before(const struct sim_member *member, const struct command *command,
                      struct sim_lease_watch *out);
void sim_lease_after(struct sim_member *member, const struct command *command, uint64_t index,
                     const struct sim_lease_watch *before, const struct machine_result *result);

/* sim_net.c */
void sim_send(struct sim *sim, unsigned from, unsigned to, struct slice frame);
void sim_link_set(struct sim *sim, unsigned from, unsigned to, bool cut);
void sim_peer_changed(struct sim *sim, unsigned who, unsigned peer, bool up, uint64_t delay_us);

/* sim_client.c */
void sim_client_next(struct sim *sim, unsigned client);
/* The member applied a command of its own. */
void sim_client_applied(struct sim_member *member, uint64_t ticket,
                        const struct machine_result *result);
/* The member went down: fates of its requests are unknown. */
void sim_client_lost(struct sim_member *member);
/* No request is under way, and a write after healing has succeeded. */
bool sim_client_quiet(const struct sim *sim);

/* sim_snapshot.c */
int sim_snapshot_open(struct sim_member *member, struct err *err);
void sim_snapshot_close(struct sim_member *member);
/* The power goes: what jobs are about to do happens up to some step. */
void sim_snapshot_crash(struct sim_member *member);
void sim_snapshot_turn(struct sim_member *member);
void sim_bulk_broken(struct sim *sim, unsigned a, unsigned b);
void sim_snapshot_send(void *ctx, uint64_t to, uint64_t index);
bool sim_snapshot_has(void *ctx, uint64_t index, uint64_t term);
void sim_snapshot_install(void *ctx, uint64_t index, uint64_t term);

/* sim_churn.c: clients that change who is a member, and what must hold for that. */
struct sim_churn *sim_churn_new(struct sim *sim);
void sim_churn_free(struct sim_churn *churn);
/* Where the member is at first; valid as long as the simulation. */
const char *sim_churn_address(const struct sim *sim, unsigned n);
void sim_churn_start(struct sim_member *member);
/* Every turn, before the replica's. */
void sim_churn_turn(struct sim_member *member);
void sim_churn_configured(struct sim_member *member, const struct replica_entry *entry);
/* A checkpoint has become its state. */
void sim_churn_restated(struct sim_member *member);
/* The member hears that the connection is up. False: the other one refuses it. */
bool sim_churn_greets(struct sim_member *member, unsigned peer);
/* A frame of that one may be delivered: they have met, and it is not known to be removed. */
bool sim_churn_hears(const struct sim_member *member, unsigned from);
/* Whether the last configuration has it. */
bool sim_churn_is_member(const struct sim *sim, unsigned n);
/* Who is a member runs, who was removed does not, and no change is under way. */
bool sim_churn_quiet(const struct sim *sim, const struct sim_member *leader);
/* A member in the last configuration. */
struct sim_member *sim_churn_someone(struct sim *sim);

/* sim_audit.c */
/* The member has a machine, or its base at least; it is about to lose it. */
void sim_audit_start(struct sim_member *member);
void sim_audit_stop(struct sim_member *member);
void sim_audit_turn(struct sim_member *member);
void sim_audit_command(struct sim_member *member, const struct machine_result *result);
void sim_audit_applied(struct sim_member *member, uint64_t index);
/* A checkpoint of its state as it is now begins. */
void sim_audit_stored(struct sim_member *member, uint64_t index);
bool sim_audit_may_store(const struct sim_member *m, uint64_t index);
/* One of that index is on disk. */
void sim_audit_written(struct sim_member *member, uint64_t index);
/* It has another machine, of that index. */
void sim_audit_restated(struct sim_member *member, uint64_t index);
/* Now and then something changes in the state of one member. */
void sim_audit_plant(struct sim *sim);
/* No state is wrong, and no alarm stands. */
bool sim_audit_quiet(const struct sim *sim);

/* sim_check.c */
/* The member stands at index; all that ever do have the same state. */
void sim_check_state(struct sim_member *member, uint64_t index);
/* It has the state that others, who are right, have had at that index; false also if none was
 * there.
 */
bool sim_check_is_right(struct sim_member *member, uint64_t index);
/* It does without having applied what is before. */
void sim_check_resumed(struct sim_member *member, uint64_t index);
struct sim_check *sim_check_new(struct sim *sim);
void sim_check_free(struct sim_check *check);
void sim_check_leader(struct sim_member *member, uint64_t term);
void sim_check_entry(struct sim_member *member, const struct replica_entry *entry);
void sim_check_command(struct sim_member *member, const struct command *command, uint64_t index);
/* Nobody waits for it any more; if it never left, as the proposal says, it is never applied either:
 * that is what a client is told with certainty (I10). */
void sim_check_given_up(struct sim_member *member, uint64_t ticket,
                        const struct replica_proposal *proposal);
/* Nobody has applied this index yet. */
bool sim_check_is_first(const struct sim *sim, uint64_t index);
int64_t sim_check_floor(const struct sim *sim);
void sim_check_write(struct sim *sim, const struct sim_op *op, int64_t revision);
void sim_check_read(struct sim *sim, const struct sim_op *op, int64_t revision,
                    const struct mvcc_kv *kv);
/* At the end, all healed: every promise against the final state. */
void sim_check_final(struct sim *sim);

/* sim_watch.c */
struct watch_history;
struct sim_watch *sim_watch_new(struct sim *sim);
/* All members are down. */
void sim_watch_free(struct sim_watch *watch);
/* The member has a keyspace; it is about to lose it. */
void sim_watch_up(struct sim_member *member);
void sim_watch_down(struct sim_member *member);
/* It has another keyspace. */
void sim_watch_switched(struct sim_member *member);
/* The member applied a command. */
void sim_watch_applied(struct sim_member *member);
/* All changes so far, whatever was compacted since. */
const struct watch_history *sim_watch_history(const struct sim *sim);
/* All watchers have been told of everything. */
bool sim_watch_quiet(const struct sim *sim);
void sim_watch_final(struct sim *sim);

/* sim_writer.c */
struct sim_writer *sim_writer_new(struct sim *sim);
void sim_writer_free(struct sim_writer *writer);
void sim_writer_applied(struct sim_member *member, uint64_t ticket);
void sim_writer_lost(struct sim_member *member);

#endif
