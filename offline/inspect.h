/* A stopped member's data dir, looked at from outside: identity, log, checkpoints, all bytes that
 * mean anything, and whether they fit together. Says what is damaged and what that means; works
 * with what is good. Nothing in the dir is changed or made, and no member can start on it
 * meanwhile. Bytes are untrusted. Blocks. */
#ifndef KVD_OFFLINE_INSPECT_H
#define KVD_OFFLINE_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "raft/replica.h"
#include "server/identity.h"
#include "server/machine.h"
#include "snapshot/snapshot.h"
#include "wal/wal.h"

enum inspect_kind {
    INSPECT_NOTE,      /* nothing is lost, and a member would start */
    INSPECT_DAMAGE,    /* not what was written; may have been acknowledged */
    INSPECT_UNREADABLE /* the disk or its permissions: nothing is known about it */
};

struct inspect_finding {
    enum inspect_kind kind;
    char *what;   /* file, offset, what is wrong */
    char *advice; /* what it means and what to do; NULL: nothing */
};

/* A state machine's state and its place in the log. */
struct inspect_state {
    struct machine *machine; /* NULL: not loaded */
    uint64_t index, term;    /* 0: that of an empty log */
    int64_t revision, compact_revision;
    uint64_t keys;
    uint32_t hash; /* HashKV at the revision */
};

struct inspection {
    char *data_dir, *wal_dir, *snap_dir;
    struct identity identity; /* ids 0: it can not be read; then those of the log, or 0 */
    bool has_identity;
    struct wal *wal; /* read-only; NULL: there is none, or it is damaged */
    struct wal_hard_state hard_state;
    uint64_t first_index, last_index, last_term; /* of the log, if it is good */
    struct snapshot_file *checkpoints;           /* newest first */
    bool *checkpoint_good;
    size_t checkpoint_count;
    /* Where a state can begin: the newest good checkpoint, or the beginning of a log that has all.
     * False: there is no such place, nothing can be saved from here. */
    bool usable;
    uint64_t base_index, base_term;      /* of that checkpoint; 0: none */
    uint64_t end_index, end_term;        /* as far as entries follow from there */
    uint64_t voters[REPLICA_VOTERS_MAX]; /* of the cluster, at the end */
    size_t voter_count;
    struct inspect_finding *findings;
    size_t finding_count, damages, unreadables;
    int lock_fd;
};

/* Called now and then; non-zero, with err of its own, ends it. */
typedef int (*inspect_progress)(void *ctx, const char *what, uint64_t done, uint64_t total,
                                struct err *err);

struct inspect_options {
    const char *data_dir;
    const char *wal_dir;       /* NULL: in the data dir */
    inspect_progress progress; /* may be NULL */
    void *ctx;
};

/* Damage is no failure but a finding. KV_EBUSY: a member uses it. KV_ENOTFOUND: nothing there that
 * is a member's of kvd. KV_EMISMATCH: etcd's. KV_EIO: can not be looked into. KV_ECANCELED. */
int inspect_open(const struct inspect_options *options, struct inspection **out, struct err *err);
/* Accepts NULL. */
void inspect_close(struct inspection *inspection);

/* The state after the entry at `until`, or after the last one before it that there is; the base at
 * least. The inspection is usable. *out is released by inspect_state_release(). Entries that make
 * no sense become findings, and end it: KV_ECORRUPT. */
int inspect_load(struct inspection *inspection, uint64_t until,
                 const struct inspect_options *options, struct inspect_state *out, struct err *err);
void inspect_state_release(struct inspect_state *state);

#endif
