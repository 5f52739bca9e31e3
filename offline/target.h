/* The data dir of a new cluster's member, made of a state: the common end of restore and recover.
 * Blocks.
 *
 * Either the whole dir is there afterwards or nothing of it; and a dir that a killed process left
 * half made has a log and no identity, which kvd refuses. */
#ifndef KVD_OFFLINE_TARGET_H
#define KVD_OFFLINE_TARGET_H

#include "base/disk.h"
#include "base/err.h"
#include "server/bootstrap.h"
#include "server/config.h"
#include "server/machine.h"

/* As kvd's flags; NULL: the default, or none. */
struct target_flags {
    const char *name, *data_dir, *wal_dir;
    const char *initial_cluster, *initial_cluster_token, *initial_advertise_peer_urls;
};

struct target {
    struct disk disk;
    struct config config;
    struct bootstrap boot; /* the new cluster, its ids and members */
    char *wal_dir, *snap_dir;
};

/* Reads the flags as kvd itself will, so that both compute the same ids and complain alike.
 * KV_EINVAL. *out is to be released in any case. */
int target_init(struct target *out, const struct target_flags *flags, struct err *err);
void target_release(struct target *target);
/* KV_EEXIST: something is there already. */
int target_check(const struct target *target, struct err *err);
/* Makes it. between is called now and then; non-zero, with err of its own, ends it. */
int target_write(const struct target *target, const struct machine *machine,
                 int (*between)(void *ctx, struct err *err), void *ctx, struct err *err);

#endif
