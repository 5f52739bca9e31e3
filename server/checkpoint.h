/* The checkpoints of one member: which there are, the newest one read at start, new ones written
 * while the member goes on, old ones removed.
 *
 * Writing (design.md section 6): checkpoints_begin() notes the state at one index, small things by
 * copy, keys by a pinned walk. Every turn checkpoints_step() walks some five hundred changes, which
 * costs a fraction of a millisecond, and hands references to them to a job that encodes, checksums
 * and writes. So the loop never waits, and memory is two batches of references.
 *
 *     IDLE ──begin──▶ OPENING ──▶ WALKING ⇄ a batch at a time ──▶ ENDING ──▶ on_done, IDLE
 *                                     └── error, or abandoned ──▶ ENDING ──▶ on_done, IDLE
 *
 * The end reads the file back from the disk; only then may an older one go.
 *
 * Files, threads and time are passed in: the simulator runs the same code. Loop thread only. */
#ifndef KVD_SERVER_CHECKPOINT_H
#define KVD_SERVER_CHECKPOINT_H

#include "base/disk.h"
#include "base/job.h"
#include "raft/replica.h"
#include "server/machine.h"

struct checkpoints;

struct checkpoint_done {
    int status;       /* 0, or why there is none; KV_ECANCELED: abandoned */
    const char *text; /* of the error */
    struct replica_snapshot snapshot;
    uint64_t bytes;
};

struct checkpoints_options {
    struct disk disk;
    const char *dir; /* made if missing (its parent must exist) */
    uint64_t cluster_id, member_id;
    struct job_runner runner;
    uint64_t interval_bytes;   /* of log between two, at least */
    uint64_t bytes_per_second; /* written at most; 0: no limit */
    size_t keep;               /* files kept, until checkpoints_keep(); 0: 2 */
    void *ctx;
    /* One that was begun has ended, well or not. */
    void (*on_done)(void *ctx, const struct checkpoint_done *done);
    /* A file that can not be used; the next older one is tried. May be NULL. */
    void (*on_damage)(void *ctx, const char *text);
};

/* Opens the folder and loads the newest checkpoint that is whole; *machine is the caller's, NULL if
 * there is none at all. Blocks: start-up. KV_ECORRUPT: there are some, and none is whole.
 * KV_EMISMATCH: of another cluster, or written by a newer kvd. */
int checkpoints_open(const struct checkpoints_options *options, uint64_t seed,
                     struct checkpoints **out, struct machine **machine, struct err *err);
/* What was being written is lost. No job of it is running any more. */
void checkpoints_free(struct checkpoints *checkpoints);
/* The one that was loaded; NULL: none. */
const struct replica_snapshot *checkpoints_base(const struct checkpoints *checkpoints);

/* So many files are kept from now on; what is too much goes. */
void checkpoints_keep(struct checkpoints *checkpoints, size_t keep);
/* Another is due with so many bytes of log since the last one: the interval, and no less than half
 * of what the last checkpoint had, so that what is written stays a small multiple of what clients
 * wrote. calm: little is written, and so it may be somewhat less. */
uint64_t checkpoints_interval(const struct checkpoints *checkpoints, bool calm);
/* And none is under way. */
bool checkpoints_due(const struct checkpoints *checkpoints, uint64_t log_bytes, bool calm);
/* The state has become so much smaller since the last one, at which it took `before` bytes, that
 * another is due for the disk's sake. */
bool checkpoints_shrunk(const struct checkpoints *checkpoints, uint64_t before, uint64_t now,
                        bool calm);
bool checkpoints_idle(const struct checkpoints *checkpoints);
/* The member is about to close and waits for the jobs: nobody else needs the disk any more. */
void checkpoints_hurry(struct checkpoints *checkpoints);
/* It is idle; the machine stands at the snapshot, which is copied. The keyspace is pinned and must
 * stay until on_done. */
void checkpoints_begin(struct checkpoints *checkpoints, const struct machine *machine,
                       const struct replica_snapshot *snapshot);
/* A slice of the walk, if there is one. True: another could follow at once. */
bool checkpoints_step(struct checkpoints *checkpoints);
/* The one under way is not wanted any more; on_done still comes. Harmless if there is none. */
void checkpoints_abandon(struct checkpoints *checkpoints);

/* ---- files, for sending and receiving ---- */

struct checkpoint_file {
    uint64_t index, term;
    unsigned holds; /* it is not removed while there are any */
    bool damaged;
};

/* The newest one, if it is at index or above; NULL: none is. */
struct checkpoint_file *checkpoints_hold(struct checkpoints *checkpoints, uint64_t index);
void checkpoints_release(struct checkpoints *checkpoints, struct checkpoint_file *file);
/* It can not be read any more: it will not be offered again. */
void checkpoints_mark_damaged(struct checkpoints *checkpoints, struct checkpoint_file *file);
/* A file of that index and term, and so many bytes, has been put into the folder. */
void checkpoints_add(struct checkpoints *checkpoints, uint64_t index, uint64_t term,
                     uint64_t bytes);
/* Those of a lower index are not to be used any more, and removed. Durable when it returns, which
 * takes a moment. */
void checkpoints_forget_below(struct checkpoints *checkpoints, uint64_t index);
/* The index of the newest one that is good; 0: none. */
uint64_t checkpoints_newest(const struct checkpoints *checkpoints);
/* The oldest index that a restart may have to begin from, or that another member will when it has
 * got the file that is on its way: the log behind it is still needed. 0: none. */
uint64_t checkpoints_oldest(const struct checkpoints *checkpoints);

#endif
