/* A snapshot file, of kvd or etcd, read as restore reads it: digest, every page, every item, and
 * whether the state that they make is one. Nothing is changed. Blocks. */
#ifndef KVD_OFFLINE_CHECK_SNAPSHOT_H
#define KVD_OFFLINE_CHECK_SNAPSHOT_H

#include "offline/import.h"

struct snapshot_check {
    struct import_report import;
    bool has_digest; /* false: a file copied from a data dir; damage to values would not show */
    uint32_t hash;   /* HashKV at the revision */
};

/* KV_ECORRUPT: damaged, err says where. KV_EMISMATCH: good, but nothing that restore would take.
 * progress as of import.h; may be NULL. */
int check_snapshot(const char *path,
                   int (*progress)(void *ctx, uint64_t done, uint64_t total, struct err *err),
                   void *ctx, struct snapshot_check *out, struct err *err);

#endif
