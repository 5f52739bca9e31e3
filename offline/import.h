/* A database file of etcd as a machine: the other direction of server/db_export.h, for files that
 * anybody may have written. Blocks; any thread. */
#ifndef KVD_OFFLINE_IMPORT_H
#define KVD_OFFLINE_IMPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "server/machine.h"
#include "snapshot/dbfile_read.h"

struct import_options {
    const struct machine_member *members; /* of the new cluster; those in the file do not count */
    size_t member_count;
    /* Added to the file's revision, and all that was before marked compacted; 0: neither. */
    int64_t bump_revision;
    /* Called now and then; non-zero ends the import with that code and err of its own. May be NULL.
     */
    int (*progress)(void *ctx, uint64_t done, uint64_t total, struct err *err);
    void *ctx;
};

struct import_report {
    char storage_version[32];      /* "": it does not say, as before 3.6 */
    int64_t file_revision;         /* the store's, when the file was made */
    int64_t revision;              /* and now */
    int64_t compact_revision;      /* -1: never */
    uint64_t keys, leases, alarms; /* that are there now */
    uint64_t orphans; /* of the leases, those that keys hang on and the file does not have: they
                       * live as long as a lease can, so that the keys stay, as in etcd */
    uint64_t users;
    bool auth_enabled;
};

/* The machine is the caller's. KV_ECORRUPT: damage, or a state that contradicts itself.
 * KV_EMISMATCH: something that can not be taken over. */
int import_dbfile(struct dbfile *file, const struct import_options *options, struct machine **out,
                  struct import_report *report, struct err *err);

#endif
