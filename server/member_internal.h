/* The inside of a member, shared by member.c (start, stop), member_turn.c (the loop turn and
 * consensus' effects), member_write.c, member_read.c, member_job.c, member_snapshot.c,
 * member_space.c, member_compact.c, member_change.c and the services. Loop thread only.
 *
 *   client ── call ──▶ service ──▶ member__write() ──▶ replica ──▶ log, peers
 *                         │                              │ committed
 *                         │◀── done() ◀── machine_apply() ◀┘
 *                         └── member__read() ──▶ replica: read point ──▶ answer
 */
#ifndef KVD_SERVER_MEMBER_INTERNAL_H
#define KVD_SERVER_MEMBER_INTERNAL_H

#include "base/arena.h"
#include "base/disk.h"
#include "base/idmap.h"
#include "base/list.h"
#include "net/server.h"
#include "proto/command.pb-c.h"
#include "server/audit.h"
#include "server/auth_hash.h"
#include "server/autocompact.h"
#include "server/bootstrap.h"
#include "server/lessor.h"
#include "server/machine.h"
#include "server/member.h"
#include "server/member_snapshot.h"
#include "server/metrics.h"
#include "server/reconfig.h"
#include "server/space.h"
#include "server/status.h"
#include "server/tls.h"
#include "wal/writer.h"

struct claims;
struct http;
struct ranges;
struct watches;

enum {
    WRITES_PENDING_MAX = 65536,          /* of this member's clients; more: too many requests */
    WRITE_BYTES_PENDING_MAX = 256 << 20, /* and their bytes */
    APPLY_GAP_MAX = 5000,                /* entries committed and not applied, as etcd */
    WRITE_POOL_MAX = 4096,               /* forgotten writes kept for reuse */
    WRITE_POOL_BYTES_MAX = 4096,         /* command memory that one of them keeps */
};

/* Something that a call waits for. grpc_call_data() of a waiting call points to one. */
struct waiter {
    void (*cancel)(struct waiter *waiter); /* the call is about to go */
};

/* ---- writes ---- */

/* The outcome of a write. call is NULL for the member's own; otherwise it must be answered now.
 * result (NULL if status is not STATUS_OK) is borrowed, and so is its response; of a call it lives
 * as long as the call. It may come from inside member__apply(): then nothing may be proposed or
 * read from the replica. */
typedef void (*write_done)(struct member *member, struct grpc_call *call, const void *request,
                           enum status status, const struct machine_result *result);

/* A command on its way, found again by its ticket when it is applied. Outlives its call: once it
 * has left it may be in the log whatever the client does. */
struct write {
    struct replica_proposal proposal;
    struct waiter waiter;
    struct member *member;
    struct list link; /* in member->writes, by deadline; or in the pool */
    struct grpc_call *call;
    const void *request; /* for done; of the call's arena */
    write_done done;     /* NULL: the client has gone */
    struct buf command;
    uint64_t ticket;
    uint64_t started_ms;
};

/* Proposes a command. STATUS_OK: done will be called once (unless the call is cancelled before),
 * never from inside. Else nothing happened, and that is the answer. */
enum status member__write(struct member *member, struct grpc_call *call, const void *request,
                          enum command_kind kind, struct slice body, write_done done);
/* The same on behalf of a call that may go away meanwhile: done is called anyway, without it. */
enum status member__write_for(struct member *member, const struct grpc_call *by,
                              const void *request, enum command_kind kind, struct slice body,
                              write_done done);
/* env.apply of the replica. */
void member__apply(void *ctx, const struct replica_entry *entry);
/* Gives up what has waited too long; returns when the next one will have (UINT64_MAX: none). */
uint64_t member__expire_writes(struct member *member, uint64_t now_ms);
/* Ends all of them. */
void member__fail_writes(struct member *member, enum status status);
void member__free_writes(struct member *member);

/* ---- reads ---- */

/* True: the state may be read at once, cb will not fire. False: as member_read_start(). */
bool member__read(struct member *member, struct member_read *read);
uint64_t member__expire_reads(struct member *member, uint64_t now_ms);
void member__fail_reads(struct member *member, int code);
/* Those of member_read_start() that had not to wait. */
void member__finish_ready_reads(struct member *member);
/* There is something with a deadline now. */
void member__arm_expiry(struct member *member);

/* ---- leadership handed over on request ---- */

/* A MoveLeader call that waits for its target to lead; lives in the call's arena. */
struct leader_move {
    struct waiter waiter;
    struct list link; /* in member->leader_moves, by deadline */
    struct grpc_call *call;
    uint64_t target;
    uint64_t deadline_ms;
    void (*done)(struct leader_move *move, enum status status); /* must answer the call */
};

/* Begins; move->call, target and done are set. STATUS_OK: done will be called once, perhaps from
 * inside (the target leads already). Else nothing happened, and that is the answer. */
enum status member__move_leader(struct member *member, struct leader_move *move);
/* member->leader has changed. */
void member__check_moves(struct member *member);
uint64_t member__expire_moves(struct member *member, uint64_t now_ms);
void member__fail_moves(struct member *member, enum status status);

/* ---- changes of the members (member_change.c) ---- */

/* A call that waits for one; lives in the call's arena. */
struct member_change {
    struct waiter waiter;
    struct list link; /* in member->changes.waits, by deadline */
    struct grpc_call *call;
    Kvdpb__MemberChange request;
    uint64_t ticket;
    uint64_t deadline_ms;
    void (*done)(struct member_change *change, enum status status); /* must answer the call */
};

struct changes {
    struct list waits;
    bool new_configuration; /* env.on_configuration was called */
    bool voteless;          /* some member in the configuration has no vote */
    bool removed, removed_told;
    uint64_t lost;  /* that member says that it has lost what it had; 0: none does */
    bool replacing; /* a command that replaces it is on its way */
    struct reconfig making;
};

/* Before the replica is opened, when the member knows which one it is. */
void member__changes_open(struct member *member);

/* Begins; call, request and done are set. STATUS_OK: done will be called once, never from inside,
 * unless the call is cancelled. Else nothing happened, and that is the answer. */
enum status member__change(struct member *member, struct member_change *change);
/* The machine says that one has ended; inside apply. */
void member__change_ended(struct member *member);
uint64_t member__expire_changes(struct member *member, uint64_t now_ms);
void member__fail_changes(struct member *member, enum status status);
/* Every loop turn, before the replica's. */
void member__changes_turn(struct member *member);
void member__on_configuration(void *ctx);
/* For peers_options. */
bool member__is_removed(void *ctx, uint64_t id);
void member__on_stranger(void *ctx, uint64_t id, const struct net_addr *addr);
void member__on_removed(void *ctx);
void member__on_lost(void *ctx, uint64_t id);
void member__describe(void *ctx, struct buf *out);

/* ---- long work in slices: hashes, removal after compaction ---- */

/* A HashKV or Hash call; lives in the call's arena. */
struct hash_job {
    struct waiter waiter;
    struct member *member;
    struct list link; /* in member->hashes; the first one is under way */
    struct grpc_call *call;
    struct mvcc_hash hash;
    int64_t revision;
    uint64_t asked_ns; /* for who measures */
    bool begun;
    /* code: 0 and hash is valid, or as mvcc_hash_begin(). Must answer the call. */
    void (*done)(struct hash_job *job, int code);
};

void member__hash(struct member *member, struct hash_job *job);

/* A Compact call that waits for the removal; lives in the call's arena. */
struct compact_wait {
    struct waiter waiter;
    struct list link;
    struct grpc_call *call;
    void (*done)(struct compact_wait *wait);
};

void member__wait_compacted(struct member *member, struct compact_wait *wait);
/* Works for at most about a millisecond; true while there is more. */
bool member__run_jobs(struct member *member);

/* ---- the space quota ---- */

struct space_guard {
    struct space quota;
    struct list refused; /* calls that hear of it when the alarm stands in the log */
    bool proposing;      /* a command that raises or clears the alarm is on its way */
    bool overrun;        /* what was on its way already has used the quota up */
    bool alarmed;        /* this member's alarm is set, as last said in the log */
};

void member__space_init(struct member *member);
/* Says what the quota is. */
void member__space_start(const struct member *member);
/* True: a request of that cost (server/space.h) fits. False: the call is answered, or will be. */
bool member__space_admit(struct member *member, struct grpc_call *call, uint64_t cost);
/* A command has been applied, with success; inside apply. */
void member__space_applied(struct member *member, const struct command *command);
/* Every loop turn, before the replica's. */
void member__space_turn(struct member *member);

/* ---- states that are compared, and one that differs (member_audit.c) ---- */

struct quarantine {
    struct audit *audit;
    uv_timer_t timer;
    /* This member's state is not what a majority has, or not there yet: it serves nothing, and
     * takes no checkpoint. */
    bool on;
    bool ordered; /* the log says so, of the state that it has now */
    bool told;    /* options.on_quarantine was called */
    bool wants;   /* without a state: it is said which one is wanted */
    uint64_t log_end,
        led_ms;            /* without a state: of the log at start; since when a leader is known */
    bool unchecked;        /* --initial-corrupt-check: not compared yet */
    uint64_t ready_ms;     /* since when it could serve; 0: not yet */
    size_t proposals;      /* of alarms, on their way */
    uint64_t raised_index; /* of the last command that called some member odd */
};

/* Before the member opens anything; then, when it is known whether its stored state is trusted. */
void member__init_audit(struct member *member);
void member__start_audit(struct member *member);
/* A command, or an entry, has been applied. */
void member__audit_command(struct member *member, const struct machine_result *result);
void member__audit_applied(struct member *member, uint64_t index);
/* The member's machine is another one now, of that index. */
void member__audit_restated(struct member *member, uint64_t index);
void member__audit_role_changed(struct member *member);
/* Every turn, before the replica's. */
void member__audit_turn(struct member *member);
void member__release_audit(struct member *member);

/* ---- auto-compaction ---- */

struct auto_compactor {
    struct autocompact policy;
    uv_timer_t timer;
    bool running; /* a compaction is on its way through the log */
    int64_t target;
    uint64_t started_ms;
};

void member__compactor_init(struct member *member);
/* Goes on until its timer is closed. */
void member__compactor_start(struct member *member);
void member__compactor_release(struct member *member);
/* ---- leases ---- */

/* What the lessor needs of the member (member_lease.c). */
void member__init_lessor(struct member *member, uint64_t seed);

/* Ends open keep-alive streams (service_lease.c). */
enum keep_alive_streams { KEEP_ALIVE_ALL, KEEP_ALIVE_WITH_LEADER };
void member__end_keep_alives(struct member *member, enum keep_alive_streams which,
                             enum status status);

/* ---- the member ---- */

/* A server stream that stays open until the member stops; lives in the call's arena. */
struct open_stream {
    struct waiter waiter;
    struct list link;
    struct grpc_call *call;
};

enum member_state {
    MEMBER_STARTING,
    MEMBER_RUNNING,
    MEMBER_HANDING_OVER, /* stop: leadership is on its way to another member */
    MEMBER_DRAINING,     /* stop: calls under way may finish */
    MEMBER_CLOSING,      /* stop: everything is being closed */
};

struct member_peer_state {
    bool up;
    uint64_t since_ms; /* up since, or down since */
    bool guest;        /* in no configuration that we know of so far: we may be behind */
};

struct member {
    struct member_options options;
    uv_loop_t *loop;
    const struct config *config;
    struct log *log;
    struct metrics *metrics;
    struct bootstrap boot;
    struct disk disk;
    struct disk_ops lazy_ops; /* with unsafe_no_fsync */
    int lock_fd;

    struct machine *machine;
    struct wal *wal;
    struct wal_writer *writer;
    struct replica *replica;
    struct peers *peers;
    struct tls_set tls;
    struct net_server *server;
    struct net_server *http_server;    /* NULL without listen_client_http */
    struct net_server *metrics_server; /* NULL without listen_metrics */
    struct http *http;
    struct watches *watches;
    struct ranges *ranges;
    struct claims *claims;

    uv_prepare_t turn; /* end of a loop turn: after timers, before the loop sleeps */
    uv_idle_t again;   /* active: the loop does not sleep, there is more to do */
    uv_timer_t raft_timer;
    uv_timer_t expiry_timer;
    uv_timer_t stop_timer;
    uv_timer_t watch_timer;
    uv_timer_t lease_timer;
    uv_timer_t ranges_timer; /* while long ranges rest */
    uv_timer_t export_timer; /* active while there are snapshots */
    struct lessor lessor;
    struct list keep_alives; /* open keep-alive streams (service_lease.c) */
    struct snapshots snapshots;
    unsigned handles; /* initialised and not yet closed */

    enum member_state state;
    bool woken;  /* the replica wants a turn */
    bool failed; /* fatal_err is set; the replica and the log are not touched any more */
    bool fatal_told;
    struct err fatal_err;
    void (*stop_cb)(void *ctx);
    void *stop_ctx;

    /* What consensus last said (env.on_role), and the gap after the last turn. */
    enum replica_role role;
    uint64_t term;
    uint64_t leader; /* 0: none */
    uint64_t leader_since_ms;
    uint64_t apply_gap;
    bool publish_due;                      /* the members table has changed */
    struct member_peer_state *peer_states; /* as boot.peers */
    struct replica_read ready_read;
    bool awaits_ready; /* from the first turn on */
    bool ready;

    uint32_t timeout_ms; /* of requests: 5 s + 2 election timeouts */
    uint64_t next_ticket;
    struct idmap pending; /* ticket to write */
    size_t pending_bytes;
    struct list writes; /* in the order of their deadlines */
    struct list pool;   /* forgotten writes */
    size_t pool_len;
    struct list reads; /* in the order of their deadlines */
    struct list ready_reads;
    struct list hashes;
    struct list compact_waits;
    struct list leader_moves;
    struct list exports; /* exports.h */
    struct list streams;
    struct changes changes;
    size_t voters; /* in the configuration in force */
    struct space_guard space;
    struct auto_compactor compactor;
    bool distrusted; /* at start: the stored state is not to be used (server/identity.h) */
    struct quarantine quarantine;
    struct auth_tokens *tokens;
    struct auth_jwt *jwt; /* NULL: tokens are simple */
    struct list early;    /* calls whose token is not known yet (auth_wait.c) */
    size_t early_count;
    bool early_over;        /* inside: one of them has waited long enough */
    uint64_t applied_index; /* as of the last turn */
    char common_name[256];  /* the user a certificate names; RFC 5280 has it end at 64 */
    struct auth_pool auth_pool;
    struct arena scratch; /* of commands that nobody here waits for */
};

/* For seeds. */
uint64_t member__random(void);

/* The turn (member_turn.c). */
void member__env(struct member *member, struct replica_env *out);
void member__on_turn(uv_prepare_t *handle);
void member__on_durable(void *ctx, int status, uint64_t seq, const struct err *err);
/* Stops using log and consensus; options.on_fatal is told at the end of the turn. */
void member__fatal(struct member *member, const struct err *err);
int member__on_frame(void *ctx, uint64_t from, struct slice frame, struct err *err);
void member__on_peer(void *ctx, uint64_t id, bool up);
/* The stop goes on (member.c): leadership has moved, or a turn has passed. */
void member__stop_progress(struct member *member);

#endif
