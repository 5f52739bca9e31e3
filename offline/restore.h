/* Makes a member's data dir from a snapshot file, of kvd or etcd: so that members started on such
 * dirs are a new cluster with the old data. What `kvctl snapshot restore` does. Blocks.
 * All or nothing, as target.h says. */
#ifndef KVD_OFFLINE_RESTORE_H
#define KVD_OFFLINE_RESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "offline/import.h"
#include "offline/target.h"

#define RESTORE_BUMP_DEFAULT INT64_C(1000000000)

struct restore_options {
    const char *path; /* of the snapshot */
    struct target_flags target;
    bool skip_hash_check;
    int64_t bump_revision; /* see import.h */
    /* what: "checking", "reading", "writing". As in import.h. */
    int (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total, struct err *err);
    void *ctx;
};

struct restore_report {
    struct import_report import;
    uint64_t cluster_id, member_id;
    size_t member_count;
    char data_dir[512];
};

int restore_snapshot(const struct restore_options *options, struct restore_report *report,
                     struct err *err);

#endif
