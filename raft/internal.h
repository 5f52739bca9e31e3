/* Shared by the files of raft/: the state of one member and the seams between the parts.
 *
 *   replica.c  the driver: life cycle, events, the turn
 *   step.c     one raft_step() at a time, its update executed in order
 *   receive.c  frames in
 *   start.c    what is loaded from the wal before the first step
 *   log.c      entries: cache, wal, what is written and not yet durable
 *   election.c when this member stands for election
 *   send.c     messages out: frames, holding back, streams of entries to each peer
 *   guards.c   everything libraft must be kept from (libraft.md section 3)
 *   propose.c  commands on their way into the log
 *   read.c     read index rounds
 *   ask.c      questions to the leader that are not about the log
 *   transfer.c handing leadership over
 *   snapshot.c checkpoints: taken, ordered, installed
 *   members.c  configurations: the one in force, applied, proposed
 *   wire.c     frames to bytes and back */
#ifndef KVD_RAFT_INTERNAL_H
#define KVD_RAFT_INTERNAL_H

#include <raft.h>

#include "base/buf.h"
#include "base/prng.h"
#include "raft/cache.h"
#include "raft/replica.h"
#include "raft/wire.h"

enum {
    ENTRY_PACK_SIZE = 1 << 20,             /* commands packed into one entry or FORWARD */
    UNCOMMITTED_MAX = 64,                  /* entries under way before proposals wait and batch;
                                              libraft scans them at every acknowledgement */
    INFLIGHT_MAX = 256,                    /* entries libraft sends ahead of acknowledgements */
    FORWARDS_MAX = 16,                     /* FORWARD frames not yet acknowledged */
    FORWARDED_SIZE_MAX = 32 << 20,         /* of others' commands parked at the leader */
    SEND_QUEUE_MAX = 4 << 20,              /* a peer's queue above which entries wait here */
    APPEND_FRAME_SIZE = 1 << 20,           /* entries in one frame, if more than one */
    LOG_PENDING_MAX = 64 << 20,            /* received entries waiting for a stalled disk */
    HELD_SIZE_MAX = 8 << 20,               /* frames waiting for the hard state; more are lost */
    FRAME_KEEP = 4 << 20,                  /* a frame buffer larger than this is not kept */
    APPLY_SLICE = 256,                     /* entries applied per turn ... */
    APPLY_SLICE_SIZE = 1 << 20,            /* ... and bytes */
    COMMAND_SIZE_MAX = WIRE_ENTRY_SIZE_MAX /* one command must fit an entry */
};

/* libraft's RAFT_UPDATE_* are unparenthesised shifts. */
enum {
    UPDATE_HARD_STATE = (RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR),
    UPDATE_ENTRIES = (RAFT_UPDATE_ENTRIES),
    UPDATE_SNAPSHOT = (RAFT_UPDATE_SNAPSHOT),
    UPDATE_MESSAGES = (RAFT_UPDATE_MESSAGES),
    UPDATE_TIMEOUT = (RAFT_UPDATE_TIMEOUT),
};

/* Another member. Volatile; most of it means something only while we lead. */
struct peer {
    uint64_t id;
    bool connected;
    /* Leader: */
    uint64_t next, end;    /* entries [next, end) were ordered by libraft and are not sent yet */
    uint64_t sent_high;    /* highest index sent in this term: no success can be beyond it (G1) */
    uint64_t commit_sent;  /* highest commit index told in this term */
    bool snapshot_ordered; /* env.send_snapshot was called and has not ended (G11) */
    uint64_t install_ms;   /* when the last INSTALL was sent */
    bool loss_told;        /* env.on_lost was called in this term */
    uint64_t probe_acked;  /* newest read round confirmed */
    /* A follower asks for a read index with (session, seq). While one request is in the round
     * under way, a newer one waits for the next: its answer must come from a round that began
     * after it. */
    uint64_t read_session, read_waiting, read_in_round;
    /* FORWARDs taken from this life (session) of the peer in this term, up to: */
    uint64_t forward_session, forward_seen;
};

/* Entries appended to the wal and not known durable. */
struct append {
    uint64_t first, last; /* last is trimmed when a later append replaces the tail; then it may be
                             below first: nothing of it is left */
    uint64_t seq;         /* of the wal record of the last entry */
    uint64_t since_ms;
    size_t bytes;
};

/* A frame waiting until the hard state before it is durable. */
struct held {
    struct list link;
    uint64_t seq;
    uint64_t to;
    size_t len;
    uint8_t bytes[];
};

enum transfer_state { TRANSFER_IDLE, TRANSFER_DRAIN, TRANSFER_SENT };

struct replica {
    struct replica_env env;
    struct wal *wal;
    uint64_t id;
    uint64_t session; /* names this life of the member in requests to others */
    uint32_t heartbeat_ms, election_ms;
    unsigned guards_off;
    struct prng prng;
    struct raft raft;
    bool stepping;  /* raft_step must not be entered twice */
    bool mute;      /* nobody waits for the messages of the step under way */
    bool failed;    /* env.fatal was called; nothing happens any more */
    bool stateless; /* the state machine waits for a state: replica_restate() */
    uint64_t now;   /* of the event being handled */
    uint64_t armed_ms;

    /* As last told by env.on_role. */
    enum replica_role role;
    uint64_t term, leader;
    uint64_t elections;
    /* Leader of lead_term had lead_index as its last entry when elected. 0: not known. */
    uint64_t lead_term, lead_index;
    uint64_t heard_ms; /* last word from a leader of our term */

    /* Elections. */
    uint64_t led_by;      /* the last leader known */
    unsigned attempts;    /* pre-votes asked for since then */
    unsigned patience_ms; /* a follower's election timeout */
    /* The pre-vote granted in promised_term; none is to others before that time, unless they have
     * more of the log. */
    struct raft_request_vote promise;
    uint64_t promised_term, promised_until_ms;

    uint64_t configuration_told[2]; /* committed and uncommitted index at env.on_configuration */

    struct peer **peers; /* ascending by id; peers never go away: there are few */
    size_t peer_count;

    /* Log. */
    struct cache cache;
    struct append *appends; /* ring */
    size_t append_head, append_count, append_cap;
    size_t append_bytes; /* sum over the ring */
    uint64_t stored;     /* entries up to here can be read back from the wal */
    uint64_t applied;
    /* The newest checkpoint, taken or installed; the wal may end or begin right behind it. */
    uint64_t snapshot_index, snapshot_term;
    uint64_t reserve_bytes;
    struct raft_snapshot_metadata installing; /* in the step under way; index 0: none */
    struct wal_hard_state hard_state;         /* newest queued */
    uint64_t hard_state_seq;                  /* its record */
    uint64_t queued_seq;                      /* newest record */
    uint64_t durable_seq;
    bool wal_dirty; /* records were queued since the last env.flush_wal */

    /* Send. */
    struct buf frame;        /* scratch */
    struct buf append_frame; /* newest entries frame: often goes to every peer */
    struct {
        uint64_t term, next, end, commit, last;
    } append_key; /* what is in it; last 0: nothing */
    struct list held;
    size_t held_bytes;

    /* Proposals. */
    struct list waiting;   /* never left */
    struct list sent;      /* may be in a log; by term, ascending */
    struct list forwarded; /* struct chunk: others' commands of this term, we lead */
    size_t forwarded_bytes;
    uint64_t pending;          /* in waiting and sent */
    bool own_first;            /* who fills the next entry first */
    uint64_t forward_term;     /* the numbers below count in this term */
    uint64_t forward_seq;      /* last FORWARD sent */
    uint64_t forward_acked;    /* leader has all up to here */
    uint64_t forward_done;     /* nobody here waits for one up to here any more */
    uint64_t forward_retry_ms; /* send again what is not acknowledged; 0: nothing is outstanding */

    /* Reads. */
    struct list reads_new;   /* join the next round or request */
    struct list reads_round; /* in the one under way */
    struct list reads_apply; /* index known; by index, ascending */
    uint64_t round;          /* leader: number of the newest round, never reused */
    bool round_active;
    uint64_t round_index;
    uint64_t read_seq;      /* follower: number of the newest READ, never reused */
    uint64_t read_asked;    /* the one outstanding; 0: none */
    uint64_t read_retry_ms; /* probe or ask once more; 0: nothing is outstanding */

    /* Transfer. */
    enum transfer_state transfer;
    uint64_t transfer_target;
    uint64_t transfer_deadline_ms;
    uint64_t transfer_again_ms; /* send TimeoutNow once more at this time; 0: done */
    uint64_t transfer_rest_ms;  /* our disk hangs, but no attempt to hand over before this time */
};

/* ---- step.c ---- */

/* Feeds one event, executes its update and what follows from it. Returns libraft's refusal of a
 * SUBMIT or TRANSFER; anything else that fails is fatal. */
int replica__step(struct replica *r, struct raft_event *event);
void replica__fatal(struct replica *r, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* A leader has other entries where ours are committed. Fatal. */
void replica__contradiction(struct replica *r);
/* "The configuration in force is committed", as an event with a copy of it. */
void replica__configuration_event(const struct replica *r, struct raft_event *event);
/* Submits one entry in the current term; payload memory (raft_malloc) passes if 0 is returned. */
int replica__submit(struct replica *r, enum raft_entry_type type, struct raft_buffer payload);
/* Leader: proposes a new configuration. KV_ENOTLEADER, KV_EINVAL, KV_EBUSY: guard_change() says
 * no. */
int replica__change(struct replica *r, const struct raft_configuration *next);
/* Tells env.on_role and the other parts if role, term or leader changed. */
void replica__note_role(struct replica *r);

/* ---- replica.c ---- */

/* NULL: unknown. */
struct peer *replica__peer(const struct replica *r, uint64_t id);
struct peer *replica__add_peer(struct replica *r, uint64_t id);
const struct raft_server *replica__server(const struct replica *r, uint64_t id);
bool replica__is_voter(const struct replica *r, uint64_t id);
unsigned replica__voters(const struct replica *r);
bool replica__leads(const struct replica *r);

/* ---- receive.c ---- */

/* A decoded and validated message. */
void replica__receive(struct replica *r, struct peer *from, const struct wire_message *in);

/* ---- start.c ---- */

int replica__load(struct replica *r, const struct replica_options *options, struct err *err);

/* ---- log.c ---- */

void log_init(struct replica *r, size_t cache_bytes);
void log_release(struct replica *r);
/* Executes UPDATE_ENTRIES: payload memory passes to the cache. */
void log_append(struct replica *r, uint64_t index, const struct raft_entry *entries, unsigned n);
void log_hard_state(struct replica *r);
/* Up to seq is durable; returns the index to report to libraft, or 0. */
uint64_t log_durable(struct replica *r, uint64_t seq);
typedef int (*log_visit)(void *ctx, const struct wal_entry *entry);
/* As wal_read(), of entries [index, last] whether in the cache or on disk. Failing to read an entry
 * that we must have is fatal: then non-zero and r->failed. */
int log_read(struct replica *r, uint64_t index, uint64_t last, size_t bytes_max, log_visit visit,
             void *ctx);
void log_apply_slice(struct replica *r);
/* Term of an entry that is in the log, or the last one in the newest checkpoint; 0: neither. */
uint64_t log_term(const struct replica *r, uint64_t index);
/* All entries are gone, the next one is index + 1. */
void log_restart(struct replica *r, uint64_t index, uint64_t term);
/* The newest checkpoint is one of entries that are in the log. */
void log_checkpointed(struct replica *r, uint64_t index, uint64_t term);
/* How long the oldest append has been waiting for the disk; 0: none is. */
uint64_t log_waiting_ms(const struct replica *r);

/* ---- election.c ---- */

/* A leader is known; or (leader 0) the member has started. */
void election_led(struct replica *r, uint64_t leader);
/* After a step in which libraft has set its timer. */
void election_timer_drawn(struct replica *r);
/* Our leader's connection closed. */
void election_leader_gone(struct replica *r);
/* The timer fires: true if this follower can not stand yet, because entries are on their way to its
 * disk; it will fire again soon. */
bool election_waits_for_disk(struct replica *r);
/* False: this request is to be dropped. */
bool election_hears(const struct replica *r, uint64_t from, const struct raft_request_vote *vote);
/* Our answer to a request is about to be sent. */
void election_voted(struct replica *r, const struct raft_request_vote *vote, bool granted);

/* ---- send.c ---- */

void send_init(struct replica *r);
void send_release(struct replica *r);
/* Encodes and sends, or holds back while the hard state is not durable. */
void send_frame(struct replica *r, uint64_t to, const struct wire_message *message);
void send_message(struct replica *r, const struct raft_event *cause,
                  const struct raft_message *message);
/* Sends waiting entries as far as the peer's queue has room. */
void send_stream(struct replica *r, struct peer *peer);
/* A peer's answer to entries, before libraft sees it: sends again what the peer has lost. */
void send_missing(struct replica *r, struct peer *peer,
                  const struct raft_append_entries_result *result);
void send_lost(struct replica *r, struct peer *peer,
               const struct raft_append_entries_result *result);
void send_commits(struct replica *r);
void send_release_held(struct replica *r);
void send_lead_changed(struct replica *r);

/* ---- propose.c ---- */

void propose_init(struct replica *r);
void propose_release(struct replica *r);
void propose_turn(struct replica *r);
void propose_role_changed(struct replica *r);
void propose_retry(struct replica *r);
void propose_on_forward(struct replica *r, struct peer *from, const struct wire_forward *forward);
void propose_on_ack(struct replica *r, const struct wire_forward *ack);

/* ---- read.c ---- */

void read_init(struct replica *r);
void read_release(struct replica *r);
void read_turn(struct replica *r);
void read_role_changed(struct replica *r);
void read_retry(struct replica *r);
void read_on_probe(struct replica *r, struct peer *from, const struct wire_round *probe);
void read_on_probe_ack(struct replica *r, struct peer *from, const struct wire_round *ack);
void read_on_ask(struct replica *r, struct peer *from, const struct wire_read *ask);
void read_on_answer(struct replica *r, struct peer *from, const struct wire_read *answer);

/* What was sent may have been applied in a range of the log that this member has skipped. */
void propose_skipped(struct replica *r);

/* ---- snapshot.c ---- */

/* Executes UPDATE_SNAPSHOT, and what must follow it as a step of its own. */
void snapshot_install(struct replica *r, const struct raft_update *update);
void snapshot_installed_event(struct replica *r, struct raft_event *event);
/* RAFT_INSTALL_SNAPSHOT out, and in. */
void snapshot_order(struct replica *r, struct peer *peer, uint64_t index);
void snapshot_receive(struct replica *r, struct peer *from, const struct wire_install *install);
/* Decodes after checking; the memory is the caller's. KV_ECORRUPT with text. */
int snapshot_configuration(struct slice bytes, struct raft_configuration *out, struct err *err);

/* ---- members.c ---- */

/* After a step: tells env.on_configuration if its update can have changed the one in force. */
void members_note(struct replica *r, const struct raft_update *update);
/* Decodes the payload of an entry into members (REPLICA_MEMBERS_MAX of them), borrowing from
 * *decoded, which is the caller's to close. KV_ECORRUPT. */
int members_decode(struct slice payload, struct raft_configuration *decoded,
                   struct replica_member *members, size_t *count);

/* ---- ask.c ---- */

void ask_on_question(struct replica *r, struct peer *from, const struct wire_ask *ask);
void ask_on_answer(struct replica *r, const struct wire_ask *answer);

/* ---- transfer.c ---- */

/* Moves the hand-over on; called after every event. */
void transfer_turn(struct replica *r);
void transfer_reset(struct replica *r);
/* A leader whose disk hangs goes on through its followers, but answers nobody: it hands over. */
void transfer_if_stalled(struct replica *r);
/* Next time transfer_turn() wants to be called; 0: none. */
uint64_t transfer_wakes_ms(const struct replica *r);

#endif
