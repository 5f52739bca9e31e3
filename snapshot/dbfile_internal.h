/* What dbfile_read.c and dbfile_walk.c share. */
#ifndef KVD_SNAPSHOT_DBFILE_INTERNAL_H
#define KVD_SNAPSHOT_DBFILE_INTERNAL_H

#include "snapshot/dbfile_read.h"

struct dbfile {
    struct disk disk;
    char *path;
    struct disk_file *handle;
    uint64_t disk_size; /* of the file, digest and preallocated space included */
    uint32_t page_size;
    uint64_t root;     /* as the head says, not checked */
    uint64_t freelist; /* DBFILE__NO_FREELIST: not stored; not checked */
    uint64_t pages;    /* of the database; the file has at least so many */
};

int dbfile__read(struct dbfile *file, uint64_t offset, void *data, size_t len, struct err *err);

#endif
