#include "offline/check_snapshot.h"

static int check_digest(struct dbfile *file, struct snapshot_check *out, struct err *err)
{
    out->has_digest = dbfile_has_digest(file);
    return out->has_digest ? dbfile_check_digest(file, NULL, NULL, err) : 0;
}

int check_snapshot(const char *path,
                   int (*progress)(void *ctx, uint64_t done, uint64_t total, struct err *err),
                   void *ctx, struct snapshot_check *out, struct err *err)
{
    const struct import_options options = {.progress = progress, .ctx = ctx};
    struct machine *machine = NULL;
    struct dbfile *file = NULL;
    int64_t compacted;
    int rc;

    *out = (struct snapshot_check){.hash = 0};
    rc = dbfile_open(disk_posix(), path, &file, err);
    if (rc != 0)
        return rc;
    rc = check_digest(file, out, err);
    if (rc == 0)
        rc = import_dbfile(file, &options, &machine, &out->import, err);
    if (rc == 0) {
        rc = mvcc_hash_kv(machine->mvcc, 0, &out->hash, &compacted);
        ASSERT(rc == 0); /* of the newest revision there always is one */
    }
    machine_free(machine);
    dbfile_close(file);
    return rc;
}
