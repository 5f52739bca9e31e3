#include "base/disk.h"
#include "base/failpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

struct disk_file {
    int fd;
    char *path; /* for error texts */
};

static int fail(struct err *err, const char *what, const char *path)
{
    int saved = errno;
    int rc = err_set_errno(err, saved, "%s %s", what, path);

    if (saved == ENOENT)
        rc = KV_ENOTFOUND;
    else if (saved == EEXIST)
        rc = KV_EEXIST;
    if (err != NULL)
        err->code = rc;
    return rc;
}

static int posix_open(void *ctx, const char *path, int flags, struct disk_file **out,
                      struct err *err)
{
    int mode = flags & (DISK_WRITE | DISK_CREATE) ? O_RDWR : O_RDONLY;
    int fd;

    (void)ctx;
    if (flags & DISK_CREATE)
        mode |= O_CREAT | O_EXCL;
    fd = open(path, mode | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(err, flags & DISK_CREATE ? "creating" : "opening", path);
    *out = xmalloc(sizeof **out);
    **out = (struct disk_file){.fd = fd, .path = xstrdup(path)};
    return 0;
}

static void posix_close(void *ctx, struct disk_file *file)
{
    (void)ctx;
    if (file == NULL)
        return;
    (void)close(file->fd); /* what must be durable was synced before */
    free(file->path);
    free(file);
}

static int posix_size(void *ctx, struct disk_file *file, uint64_t *out, struct err *err)
{
    struct stat st;

    (void)ctx;
    if (fstat(file->fd, &st) != 0)
        return fail(err, "asking the size of", file->path);
    *out = (uint64_t)st.st_size;
    return 0;
}

static int posix_read(void *ctx, struct disk_file *file, uint64_t offset, void *data, size_t len,
                      size_t *out_len, struct err *err)
{
    size_t done = 0;

    (void)ctx;
    while (done < len) {
        ssize_t n = pread(file->fd, (char *)data + done, len - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, "reading", file->path);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *out_len = done;
    return 0;
}

static int posix_write(void *ctx, struct disk_file *file, uint64_t offset, const void *data,
                       size_t len, struct err *err)
{
    size_t done = 0;

    (void)ctx;
    if (FAILPOINT_ERROR("disk-write", err) != 0)
        return KV_EIO;
    while (done < len) {
        ssize_t n = pwrite(file->fd, (const char *)data + done, len - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, "writing", file->path);
        done += (size_t)n;
    }
    return 0;
}

static int posix_sync(void *ctx, struct disk_file *file, struct err *err)
{
    (void)ctx;
    if (FAILPOINT_ERROR("disk-sync", err) != 0)
        return KV_EIO;
    return fdatasync(file->fd) == 0 ? 0 : fail(err, "syncing", file->path);
}

static int posix_truncate(void *ctx, struct disk_file *file, uint64_t size, struct err *err)
{
    (void)ctx;
    return ftruncate(file->fd, (off_t)size) == 0 ? 0 : fail(err, "resizing", file->path);
}

static void posix_writeback(void *ctx, struct disk_file *file, uint64_t offset, uint64_t len)
{
    (void)ctx;
    /* Advice, both: a failure shows in the sync that follows. */
    (void)sync_file_range(file->fd, (off_t)offset, (off_t)len,
                          SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                              SYNC_FILE_RANGE_WAIT_AFTER);
    (void)posix_fadvise(file->fd, (off_t)offset, (off_t)len, POSIX_FADV_DONTNEED);
}

static int posix_rename(void *ctx, const char *from, const char *to, struct err *err)
{
    (void)ctx;
    return rename(from, to) == 0 ? 0 : fail(err, "renaming", from);
}

static int posix_unlink(void *ctx, const char *path, struct err *err)
{
    (void)ctx;
    return unlink(path) == 0 ? 0 : fail(err, "removing", path);
}

static int posix_mkdir(void *ctx, const char *path, struct err *err)
{
    struct stat st;

    (void)ctx;
    if (mkdir(path, 0700) == 0)
        return 0;
    if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return fail(err, "making folder", path);
}

static int posix_sync_dir(void *ctx, const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    (void)ctx;
    if (fd < 0)
        return fail(err, "opening folder", path);
    rc = fsync(fd) == 0 ? 0 : fail(err, "syncing folder", path);
    (void)close(fd); /* nothing was written through it */
    return rc;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int posix_list(void *ctx, const char *path, char ***out, size_t *out_len, struct err *err)
{
    struct dirent *entry;
    char **names = NULL;
    size_t len = 0;
    DIR *dir = opendir(path);
    int rc = 0;

    (void)ctx;
    if (dir == NULL)
        return fail(err, "listing folder", path);
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        names = xrealloc(names, (len + 1) * sizeof *names);
        names[len++] = xstrdup(entry->d_name);
    }
    if (errno != 0) {
        rc = fail(err, "listing folder", path);
        disk_free_names(names, len);
        goto out;
    }
    if (len != 0)
        qsort(names, len, sizeof *names, by_bytes);
    *out = names;
    *out_len = len;
out:
    (void)closedir(dir);
    return rc;
}

struct disk disk_posix(void)
{
    static const struct disk_ops ops = {
        .open = posix_open,
        .close = posix_close,
        .size = posix_size,
        .read = posix_read,
        .write = posix_write,
        .sync = posix_sync,
        .truncate = posix_truncate,
        .writeback = posix_writeback,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .mkdir = posix_mkdir,
        .sync_dir = posix_sync_dir,
        .list = posix_list,
    };

    return (struct disk){.ops = &ops};
}

void disk_free_names(char **names, size_t len)
{
    for (size_t i = 0; i < len; i++)
        free(names[i]);
    free(names);
}

static int lock(const char *path, int mode, int how, int *out_fd, struct err *err)
{
    int fd = open(path, mode | O_CLOEXEC, 0600);
    int rc;

    if (fd < 0)
        return fail(err, "opening lock", path);
    if (flock(fd, how | LOCK_NB) == 0) {
        *out_fd = fd;
        return 0;
    }
    rc = errno == EWOULDBLOCK
             ? err_set(err, KV_EBUSY, "%s is locked: another process uses this folder", path)
             : fail(err, "locking", path);
    (void)close(fd); /* nothing was written through it */
    return rc;
}

int disk_lock(const char *path, int *out_fd, struct err *err)
{
    return lock(path, O_RDWR | O_CREAT, LOCK_EX, out_fd, err);
}

int disk_lock_shared(const char *path, int *out_fd, struct err *err)
{
    return lock(path, O_RDONLY, LOCK_SH, out_fd, err);
}

void disk_unlock(int fd)
{
    (void)close(fd); /* ends the lock */
}
