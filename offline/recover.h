/* A new cluster from what is left of one that lost its quorum: looks at all data dirs that
 * survived, says which has most and what may be missing, and makes a new member's data dir of that
 * one. What `kvctl recover` does. The dirs it looks at are never changed. Blocks. */
#ifndef KVD_OFFLINE_RECOVER_H
#define KVD_OFFLINE_RECOVER_H

#include "offline/inspect.h"
#include "offline/target.h"

struct recover_dir {
    const char *data_dir;
    const char *wal_dir; /* NULL: in the data dir */
};

struct recover_options {
    const struct recover_dir *dirs;
    size_t dir_count;
    bool only_committed; /* leave out entries that are not known to be committed */
    struct target_flags target;
    int64_t bump_revision;     /* see import.h */
    inspect_progress progress; /* may be NULL */
    void *ctx;
};

struct recover_source {
    struct inspection *in;
    struct inspect_state state; /* its machine is gone, but for the best one's */
};

#define RECOVER_NONE SIZE_MAX

struct recovery {
    struct recover_source *sources; /* one per dir, in order */
    size_t source_count;
    size_t best; /* RECOVER_NONE: nothing in any of them can be used */
    size_t voter_count, quorum;
    /* The highest entry that the dirs prove to be committed: checkpoints hold nothing else; an
     * entry of the highest term that a quorum ever voted in, on a quorum, is for good (Raft
     * section 5.4); and of a single member all is. */
    uint64_t committed;
    /* So many good dirs that one of them has each write that was ever acknowledged; then the best
     * one has all of them (Raft's leader completeness). */
    bool complete;
};

/* KV_EINVAL: dirs of more than one cluster, or a member twice. Else as inspect_open(). */
int recover_inspect(const struct recover_options *options, struct recovery **out, struct err *err);
/* Accepts NULL. */
void recover_free(struct recovery *recovery);

struct recover_report {
    uint64_t cluster_id, member_id;
    size_t member_count;
    int64_t revision, compact_revision;
    char data_dir[512];
};

/* Makes the data dir of the best one's state, once. KV_EEXIST, KV_EINVAL, KV_ENOSPC, KV_EIO. */
int recover_make(struct recovery *recovery, const struct recover_options *options,
                 struct recover_report *report, struct err *err);

#endif
