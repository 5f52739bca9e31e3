/* A file that is there whole or not at all: written as PATH.part, mode 0600, and given its name
 * when it is on the disk. Blocks. */
#ifndef KVD_CLIENT_CTL_PART_FILE_H
#define KVD_CLIENT_CTL_PART_FILE_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct part_file {
    char *path, *part;
    int fd;
    uint64_t len, started; /* bytes written; of them, on their way to the disk */
};

/* KV_EBUSY: another program writes it. On failure nothing is to be closed. What a program that was
 * killed left behind is overwritten. */
int part_file_open(struct part_file *file, const char *path, struct err *err);
int part_file_write(struct part_file *file, struct slice bytes, struct err *err);
/* Syncs, renames, syncs the folder. On failure the file is as it was before; close it all the same.
 */
int part_file_commit(struct part_file *file, struct err *err);
/* Removes the part unless it was committed. */
void part_file_close(struct part_file *file);

#endif
