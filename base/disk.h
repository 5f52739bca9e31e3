/* The disk, as the log and the checkpoints see it. Passed in, so that the simulator can lose what
 * was not synced, tear a write or fill up. disk_posix() is the real one.
 *
 * All calls block. They may be made from any thread, one thread at a time per file. Paths are whole
 * paths. Every failure fills err (may be NULL) with the path, and returns KV_ENOSPC, KV_ENOTFOUND,
 * KV_EEXIST, KV_EBUSY or KV_EIO. */
#ifndef KVD_BASE_DISK_H
#define KVD_BASE_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct disk_file; /* opaque to everybody but the implementation */

enum disk_open {
    DISK_READ = 1 << 0,
    DISK_WRITE = 1 << 1,  /* implies read */
    DISK_CREATE = 1 << 2, /* made with mode 0600; fails with KV_EEXIST if there */
};

struct disk_ops {
    int (*open)(void *ctx, const char *path, int flags, struct disk_file **out, struct err *err);
    void (*close)(void *ctx, struct disk_file *file);
    int (*size)(void *ctx, struct disk_file *file, uint64_t *out, struct err *err);
    /* Whole or error, except that a read at the end of the file gives fewer bytes in *out_len. */
    int (*read)(void *ctx, struct disk_file *file, uint64_t offset, void *data, size_t len,
                size_t *out_len, struct err *err);
    int (*write)(void *ctx, struct disk_file *file, uint64_t offset, const void *data, size_t len,
                 struct err *err);
    /* Makes data and size durable (fdatasync). An error is final: the content of the file is then
     * unknown and the caller must not retry. */
    int (*sync)(void *ctx, struct disk_file *file, struct err *err);
    int (*truncate)(void *ctx, struct disk_file *file, uint64_t size, struct err *err);
    /* Sends written bytes on their way to the disk, waits for that, and lets the cache forget them:
     * for a large file that nobody reads soon, so that others' syncs do not find all of it in their
     * way. Promises nothing; sync is still needed. May be NULL. */
    void (*writeback)(void *ctx, struct disk_file *file, uint64_t offset, uint64_t len);
    /* A rename, creation or unlink is durable only after sync_dir of the folder. */
    int (*rename)(void *ctx, const char *from, const char *to, struct err *err);
    int (*unlink)(void *ctx, const char *path, struct err *err);
    /* Mode 0700; one that exists is no error. */
    int (*mkdir)(void *ctx, const char *path, struct err *err);
    int (*sync_dir)(void *ctx, const char *path, struct err *err);
    /* Names (not paths) in the folder without "." and "..", sorted bytewise; *out and each name are
     * the caller's to free (disk_free_names). */
    int (*list)(void *ctx, const char *path, char ***out, size_t *out_len, struct err *err);
};

struct disk {
    const struct disk_ops *ops;
    void *ctx;
};

/* The real file system. Needs no closing. */
struct disk disk_posix(void);

void disk_free_names(char **names, size_t len);

/* Takes path (created 0600 if missing) with an exclusive lock that ends with the process or with
 * disk_unlock(). KV_EBUSY if another process has it. Real file system only. */
int disk_lock(const char *path, int *out_fd, struct err *err);
/* For who only looks: keeps others from taking the lock, lets more of its kind in, makes nothing.
 * KV_ENOTFOUND: there is no such file, so nobody has it. */
int disk_lock_shared(const char *path, int *out_fd, struct err *err);
void disk_unlock(int fd);

#endif
