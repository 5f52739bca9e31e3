/* What the files of the lab share. One struct, one thread. */
#ifndef KVD_LAB_INTERNAL_H
#define KVD_LAB_INTERNAL_H

#include "base/buf.h"
#include "base/prng.h"
#include "client/kv.h"
#include "lab/check.h"
#include "lab/disk_fault.h"
#include "lab/lab.h"
#include "lab/load.h"
#include "lab/observe.h"
#include "lab/process.h"
#include "lab/relay.h"
#include "lab/words.h"
#include "net/server.h"

enum {
    TICK_MS = 50,
    SAMPLE_MS = 100,
    SAMPLES_MAX = 18000, /* half an hour; then the older half is forgotten */
    EVENTS_MAX = 4000,
    QUEUE_MAX = 1000, /* commands that wait for their turn */
    STREAMS_MAX = 32, /* pages that look on */
    PATIENCE_DEFAULT_MS = 30000,
};

struct lab;

struct lab_member {
    struct lab *lab;
    unsigned n;
    bool used;     /* there is such a member */
    bool learner;  /* it has no vote */
    bool joins;    /* it was added: its first start is into a cluster that runs */
    bool expected; /* its process should run: if it ends that is news */
    bool full;     /* its disk */
    uint16_t client_port, peer_port, door_port;
    struct lab_process process;
    struct lab_observer observer;
    struct lab_disk_fault *disk; /* mapped */
    char *data_dir, *log_path, *disk_path, *initial_cluster;
    uint64_t id;        /* 0: not known yet */
    uint64_t seen_term; /* for news */
    enum lab_role seen_role;
    int64_t resume_at_ms; /* -1: it is not paused, or for good */
};

enum lab_event_kind {
    LAB_SAYS,    /* the lab, or a script */
    LAB_TOLD,    /* a command was carried out */
    LAB_HAPPENS, /* something came of it */
    LAB_RIGHT,   /* an expectation held */
    LAB_WRONG,   /* an expectation failed, or the lab could not do it */
};

struct lab_event {
    int64_t at_ms;
    enum lab_event_kind kind;
    unsigned member; /* 0: none in particular */
    uint64_t term;   /* 0: no matter */
    char text[300];
};

struct lab_sample_member {
    uint64_t term, last_index, commit_index, applied_index;
    uint8_t state; /* enum lab_state */
};

struct lab_sample {
    int64_t at_ms;
    uint32_t acked, not_acked, reads, local_reads, stale;
    struct lab_sample_member members[LAB_MEMBERS_MAX + 1];
};

/* How a member stands, for people. */
#define LAB_STATE_MAP(X)                                                                           \
    X(ABSENT, "")                                                                                  \
    X(DOWN, "down")                                                                                \
    X(PAUSED, "paused")                                                                            \
    X(SILENT, "no answer")                                                                         \
    X(IS_FOLLOWER, "follower")                                                                     \
    X(IS_CANDIDATE, "candidate")                                                                   \
    X(IS_LEADER, "leader")                                                                         \
    X(IS_LEARNER, "learner")
enum lab_state {
#define X(id, name) LAB_##id,
    LAB_STATE_MAP(X)
#undef X
};

/* What is measured since the last verdict. */
struct lab_experiment {
    int64_t began_ms, fault_ms; /* fault: -1: there was none yet */
    char fault[LAB_TEXT_MAX];   /* the first one's text */
    uint64_t term_before;
    int64_t failover_ms; /* -1: no leader of a later term was seen */
    unsigned elections;
    int64_t write_at_ms, read_at_ms; /* when the last one ended well */
    int64_t write_gap_ms, read_gap_ms, stale_age_ms;
    struct lab_tally before[LAB_TOPICS];
    uint64_t rolled_back, fenced, slipped;
    struct lab_findings findings;
    bool checked; /* findings are of now */
    bool judged;  /* a script has said what it expects of them: then its word counts */
};

struct lab_verdict {
    int64_t began_ms, ended_ms;
    char fault[LAB_TEXT_MAX];
    bool checked, good;
    int64_t figures[LAB_FIGURE_COUNT];
    char trouble[400]; /* why it was not checked, or what is wrong; "" */
};

/* A client that uses a lock (holder.c). */
struct lab_holder {
    struct lab *lab;
    char name;
    bool used, asleep, holds, keeps_alive;
    bool calling, writes; /* a request has no answer yet; it is that of a write */
    int64_t lease, token; /* token: create revision of its key in the queue */
    char key[48];
    struct kv_call call;
    struct kv_keepalive keepalive;
};

/* The command that is being carried out. */
struct lab_runner {
    struct lab_command current;
    bool busy;
    bool failed;        /* a script stops there */
    bool has_concluded; /* its last verdict was asked for */
    int64_t began_ms, deadline_ms;
    uint64_t mark[LAB_MEMBERS_MAX + 1];
    size_t at; /* of the script */
    struct lab_command queue[QUEUE_MAX];
    size_t queue_len;
};

enum lab_job_kind {
    LAB_NO_JOB,
    LAB_JOB_CHECK,     /* reads the whole history and holds the answers against it */
    LAB_JOB_SAME_DATA, /* all members that run have the same hash */
    LAB_JOB_ADD,
    LAB_JOB_ADD_LEARNER,
    LAB_JOB_PROMOTE,
    LAB_JOB_REMOVE,
    LAB_JOB_SNAPSHOT,
    LAB_JOB_RESTORE,
};

/* What takes several turns: at most one at a time (job.c). */
struct lab_job {
    enum lab_job_kind kind; /* LAB_NO_JOB: none runs */
    bool done;
    struct err err; /* why it failed; code 0: it did not */
    int64_t deadline_ms;
    int step;
    unsigned n;               /* the member it is about */
    struct kv_client *client; /* of the leader that was known when it was opened */
    struct kv_call call;
    bool calling;
    struct kv_watcher *watcher;
    struct kv_watch watch;
    struct err watch_err;
    int64_t target, seen;       /* revisions: up to which the history is wanted, and is known */
    struct lab_process process; /* kvctl */
    uint32_t hash, hashed_by;   /* of the first member that was asked */
    bool load_was_on;
};

struct lab {
    struct lab_options options;
    uv_loop_t loop;
    uv_timer_t timer;
    uv_signal_t signals[4];
    uv_poll_t input;
    bool input_open, input_used, input_is_terminal;
    struct buf input_bytes;
    uint64_t began_ms; /* uv_now() of 0 */
    char *dir, *kvd, *kvctl, *preload_path;
    int lock_fd;
    bool ready;    /* there was a leader once: commands are carried out */
    bool made_dir; /* the folder was not there before */
    bool stopping, is_terminal;
    struct err trouble; /* why the lab could not go on; code 0: it could */
    int exit_code;
    char token[32];
    unsigned generation; /* of the token: a restore makes another cluster */

    struct lab_member members[LAB_MEMBERS_MAX + 1];
    struct lab_relays *relays;
    struct lab_check *check;
    struct lab_load load;
    struct lab_holder holders[3];
    unsigned old_leader;
    uint64_t highest_term;

    struct lab_runner runner;
    struct lab_job job;
    struct lab_experiment experiment;
    struct lab_verdict *verdicts;
    size_t verdict_count;
    int64_t quiet_since_ms; /* all is well since then; -1: it is not */
    bool snapshot_taken;

    struct lab_event *events;
    size_t event_count;
    struct lab_sample *samples;
    size_t sample_count;
    int64_t sampled_ms;
    struct lab_tally sampled[LAB_TOPICS];

    struct net_server *server; /* NULL: no page */
    uv_prepare_t flush;
    struct http_request *streams[STREAMS_MAX]; /* pages that look on; NULL: free */
    unsigned panel_lines;                      /* of the terminal; 0: none */
    int64_t panel_ms;
};

/* ---- lab.c ---- */
int64_t lab__now(const struct lab *lab);
void lab__say(struct lab *lab, enum lab_event_kind kind, unsigned member, uint64_t term,
              const char *fmt, ...) PRINTF_LIKE(5, 6);
void lab__stop(struct lab *lab);
/* The lab cannot go on: the first reason counts. */
void lab__give_up(struct lab *lab, int code, const char *text);
unsigned lab__leader(const struct lab *lab); /* number; 0: none */
enum lab_state lab__state(const struct lab_member *member);
const char *lab__state_name(enum lab_state state);
/* Whether to hears from: bytes came lately, and both run. */
bool lab__hears(const struct lab *lab, unsigned to, unsigned from);
void lab__headcount(const struct lab *lab, struct lab_headcount *out);
bool lab__runs(const struct lab_member *member); /* and is not paused */

/* ---- member.c ---- */
/* Ports, door, files; nothing is started. */
int lab__member_add(struct lab *lab, unsigned n, struct err *err);
/* It belongs to the cluster, and has clients. */
int lab__member_admit(struct lab_member *member, struct err *err);
/* It no longer does. */
void lab__member_dismiss(struct lab_member *member);
/* name=url of all members, as --initial-cluster wants it; the caller's. */
char *lab__initial_cluster(const struct lab *lab);
int lab__member_start(struct lab_member *member, struct err *err);
/* Told to stop, and not ended yet. */
bool lab__is_ending(const struct lab_member *member);
void lab__member_kill(struct lab_member *member);
void lab__member_release(struct lab_member *member);

/* ---- faults.c: what is done at once ---- */
int lab__do(struct lab *lab, const struct lab_command *command, struct err *err);
/* The members of the set: bit n. others: of all groups together. */
int lab__resolve(struct lab *lab, const struct lab_command *command, size_t group, uint32_t *out,
                 struct err *err);
void lab__heal_all(struct lab *lab);

/* ---- damage.c: to the log of a member that is down ---- */
int lab__tear_log(struct lab_member *member, struct err *err);
int lab__shorten_log(struct lab_member *member, size_t records, struct err *err);

/* ---- job.c: what takes several turns ---- */
/* n: the member that it is about, or 0. Over when job.done; then lab__job_end(). */
void lab__job_begin(struct lab *lab, enum lab_job_kind kind, unsigned n, int64_t patience_ms);
void lab__job_tick(struct lab *lab);
void lab__job_end(struct lab *lab);

/* ---- holder.c ---- */
struct lab_holder *lab__holder(struct lab *lab, char name);
int lab__holder_lock(struct lab_holder *holder, struct err *err);
int lab__holder_sleep(struct lab_holder *holder, struct err *err);
int lab__holder_wake(struct lab_holder *holder, struct err *err);
int lab__holder_write(struct lab_holder *holder, bool unguarded, struct err *err);
void lab__holder_tick(struct lab_holder *holder);
/* That client is about to be closed: the lease is renewed through another one from now on. */
void lab__holder_leave(struct lab_holder *holder, const struct kv_client *client);
void lab__holder_release(struct lab_holder *holder);

/* ---- runner.c: one command after the other ---- */
/* Takes a command that was typed or sent. KV_EBUSY: too many wait. */
int lab__run_command(struct lab *lab, const struct lab_command *command, struct err *err);
void lab__run_tick(struct lab *lab);

/* ---- verdict.c ---- */
void lab__experiment_begin(struct lab *lab);
void lab__experiment_fault(struct lab *lab, const struct lab_command *command);
void lab__experiment_leader(struct lab *lab, uint64_t term);
void lab__experiment_answer(struct lab *lab, enum lab_topic topic, int64_t age_ms);
int64_t lab__figure(const struct lab *lab, enum lab_figure figure); /* -1: not known */
/* Keeps and prints it; another experiment begins. */
void lab__verdict(struct lab *lab, const struct err *check);

/* ---- state.c ---- */
struct json_object;
/* history: with events and samples. The caller's. */
struct json_object *lab__state_json(struct lab *lab, bool history);
struct json_object *lab__event_json(const struct lab_event *event);
struct json_object *lab__sample_json(const struct lab *lab, const struct lab_sample *sample);

/* ---- serve.c ---- */
int lab__serve(struct lab *lab, struct err *err);
void lab__serve_event(struct lab *lab, const struct lab_event *event);
void lab__serve_state(struct lab *lab, const struct lab_sample *sample);
void lab__serve_close(struct lab *lab);

/* ---- console.c ---- */
void lab__console_open(struct lab *lab);
void lab__console_event(struct lab *lab, const struct lab_event *event);
void lab__console_tick(struct lab *lab);
void lab__console_status(struct lab *lab);
void lab__console_verdict(struct lab *lab, const struct lab_verdict *verdict);
void lab__console_close(struct lab *lab);
int lab__console_read(struct lab *lab, struct err *err);

/* ---- report.c ---- */
struct slice lab__page(void);
/* On success out is the caller's. */
int lab__report_make(struct lab *lab, struct buf *out, struct err *err);
int lab__report(struct lab *lab, const char *path, struct err *err);

/* ---- folder.c ---- */
/* Makes or takes the folder; sweeps away what labs that died have left. */
int lab__folder_open(struct lab *lab, struct err *err);
void lab__folder_close(struct lab *lab);
int lab__remove_tree(const char *path, struct err *err);

#endif
