/* Checkpoint files: the whole state of a member at one index of the log, in checksummed blocks.
 * Format: docs/format/checkpoint.md.
 *
 * Knows files, blocks and checksums; what is in the blocks is for who writes and reads them
 * (server/state.h). A file is written under another name, synced, and only then gets its own: so
 * what has a checkpoint's name was whole once, and what is wrong with it now is damage. Everything
 * that is read is untrusted: it may come from a disk that rots or from another member.
 *
 * All calls block. Any thread, one at a time per writer or reader. */
#ifndef KVD_SNAPSHOT_SNAPSHOT_H
#define KVD_SNAPSHOT_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/disk.h"
#include "base/err.h"
#include "base/pace.h"
#include "base/slice.h"

enum {
    SNAPSHOT_BLOCK_SIZE = 256 << 10,    /* what a block should have; a large item makes it larger */
    SNAPSHOT_BLOCK_SIZE_MAX = 64 << 20, /* more is damage, or our own mistake */
    SNAPSHOT_CONFIGURATION_MAX = 64 << 10,
    SNAPSHOT_KIND_MAX = 254, /* of a block; 255 is the footer's */
};

/* Which state it is. */
struct snapshot_meta {
    uint64_t cluster_id;
    uint64_t member_id; /* who wrote the file; others may hold it too */
    uint64_t index;     /* of the log: all entries up to here are in it */
    uint64_t term;      /* of that entry */
    uint64_t configuration_index;
    struct slice configuration; /* of the cluster, committed at or below index; opaque */
};

/* ---- writing ---- */

struct snapshot_writer;

struct snapshot_write_options {
    struct disk disk;
    const char *dir;           /* is there */
    uint64_t bytes_per_second; /* sleeps so as not to write faster; 0: never */
};

/* Begins a file; meta is copied. The leftover of an earlier attempt is overwritten. KV_EINVAL: meta
 * is not one. KV_EIO, KV_ENOSPC. */
int snapshot_writer_open(const struct snapshot_write_options *options,
                         const struct snapshot_meta *meta, struct snapshot_writer **out,
                         struct err *err);
/* Appends a block. The first error is final: all later calls return it. */
int snapshot_writer_add(struct snapshot_writer *writer, uint8_t kind, struct slice payload,
                        uint32_t items, struct err *err);
/* Ends the file, makes it durable and gives it its name. A file of the same index and term is
 * replaced. Afterwards the writer can only be closed. */
int snapshot_writer_commit(struct snapshot_writer *writer, struct err *err);
/* So far; after commit the size of the file. */
uint64_t snapshot_writer_bytes(const struct snapshot_writer *writer);
/* Without a commit what was written is removed. Accepts NULL. */
void snapshot_writer_close(struct snapshot_writer *writer);

/* ---- reading ---- */

struct snapshot_reader;

struct snapshot_block {
    uint8_t kind;
    uint32_t items;
    struct slice payload; /* valid until the next call */
};

/* Reads and checks the header. KV_ECORRUPT: err names file, offset and what is wrong. KV_EMISMATCH:
 * a version of the format that we do not know. KV_ENOTFOUND, KV_EIO. */
int snapshot_open(struct disk disk, const char *path, struct snapshot_reader **out,
                  struct err *err);
const struct snapshot_meta *snapshot_meta(const struct snapshot_reader *reader);
uint64_t snapshot_size(const struct snapshot_reader *reader);
/* Changes with every byte of the header; of two files with the same index it tells which is which.
 */
uint32_t snapshot_id(const struct snapshot_reader *reader);
/* 1: a block, verified. 0: the end; the footer agrees with all blocks, and nothing follows it.
 * Only then is the whole file known to be good. Else an error, as of snapshot_open(). */
int snapshot_next(struct snapshot_reader *reader, struct snapshot_block *out, struct err *err);
void snapshot_close(struct snapshot_reader *reader);

/* Reads all of it. */
int snapshot_verify(struct disk disk, const char *path, struct err *err);

/* ---- the folder ---- */

struct snapshot_file {
    uint64_t index, term; /* by its name */
};

enum { SNAPSHOT_NAME_SIZE = 40 };

void snapshot_name(char name[SNAPSHOT_NAME_SIZE], uint64_t index, uint64_t term);
/* The caller's to free. */
char *snapshot_path(const char *dir, uint64_t index, uint64_t term);

/* Checkpoints by name, the newest first; *out is the caller's to free. A folder that is not there
 * is empty. */
int snapshot_list(struct disk disk, const char *dir, struct snapshot_file **out, size_t *out_len,
                  struct err *err);
/* Makes the folder if it is missing, durably, and removes unfinished files. Start-up. */
int snapshot_prepare_dir(struct disk disk, const char *dir, struct err *err);
/* Removes a checkpoint a piece at a time, sleeping between them as the pace says: freeing 300 MB at
 * once made the syncs of other files wait for 40 ms, pieces of 8 MiB for 3. If it fails the next
 * start finds what is left. */
void snapshot_remove(struct disk disk, const char *dir, uint64_t index, uint64_t term,
                     struct pace *pace);

/* ---- a file that comes from another member, in pieces ---- */

/* One at a time per folder. Bytes are written in order from 0; whoever got cut off goes on where it
 * was. */
struct snapshot_incoming;

int snapshot_incoming_open(struct disk disk, const char *dir, struct snapshot_incoming **out,
                           struct err *err);
int snapshot_incoming_write(struct snapshot_incoming *incoming, struct slice bytes,
                            struct err *err);
/* Bytes written. */
uint64_t snapshot_incoming_size(const struct snapshot_incoming *incoming);
/* Makes it durable as it is, under its temporary name; to be read from there and verified. */
int snapshot_incoming_sync(struct snapshot_incoming *incoming, struct err *err);
const char *snapshot_incoming_path(const struct snapshot_incoming *incoming);
/* Gives it the name of a checkpoint of that index and term: it was read to its end. */
int snapshot_incoming_commit(struct snapshot_incoming *incoming, uint64_t index, uint64_t term,
                             struct err *err);
/* Without a commit what was written is removed. Accepts NULL. */
void snapshot_incoming_close(struct snapshot_incoming *incoming);

#endif
