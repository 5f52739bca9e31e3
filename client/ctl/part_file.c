#include "client/ctl/part_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { START_EVERY = 8 << 20 }; /* bytes that are sent to the disk together */

/* The lock keeps two saves to one path apart; it is taken before anything is cut. */
static int take(struct part_file *file, struct err *err)
{
    if (flock(file->fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK
                   ? err_set(err, KV_EBUSY, "%s is being written by another program", file->part)
                   : err_set_errno(err, errno, "could not lock %s", file->part);
    if (fchmod(file->fd, 0600) != 0 || ftruncate(file->fd, 0) != 0)
        return err_set_errno(err, errno, "could not empty %s", file->part);
    return 0;
}

int part_file_open(struct part_file *file, const char *path, struct err *err)
{
    struct stat st;
    int rc;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return err_set(err, KV_EEXIST, "%s is a directory; name a file in it", path);
    *file = (struct part_file){.path = xstrdup(path), .part = xasprintf("%s.part", path)};
    file->fd = open(file->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file->fd < 0)
        rc = err_set_errno(err, errno, "could not open %s", file->part);
    else
        rc = take(file, err);
    if (rc == 0)
        return 0;
    if (file->fd >= 0)
        (void)close(file->fd); /* nothing was written */
    free(file->path);
    free(file->part);
    return rc;
}

/* Has the disk work while more comes in, so that the sync at the end is short. */
static void start_writing_out(struct part_file *file)
{
    if (file->len - file->started < START_EVERY)
        return;
    /* Only a hint: the sync at the end is what counts. */
    (void)sync_file_range(file->fd, (off_t)file->started, (off_t)(file->len - file->started),
                          SYNC_FILE_RANGE_WRITE);
    file->started = file->len;
}

int part_file_write(struct part_file *file, struct slice bytes, struct err *err)
{
    while (bytes.len > 0) {
        ssize_t n = write(file->fd, bytes.data, bytes.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "could not write %s", file->part);
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
        file->len += (uint64_t)n;
    }
    start_writing_out(file);
    return 0;
}

static int sync_folder(const char *path, struct err *err)
{
    char *copy = xstrdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0 || fsync(fd) != 0)
        rc = err_set_errno(err, errno, "could not sync the folder of %s", path);
    if (fd >= 0)
        (void)close(fd); /* only read */
    free(copy);
    return rc;
}

int part_file_commit(struct part_file *file, struct err *err)
{
    if (fsync(file->fd) != 0)
        return err_set_errno(err, errno, "could not sync %s", file->part);
    if (rename(file->part, file->path) != 0)
        return err_set_errno(err, errno, "could not rename %s to %s", file->part, file->path);
    free(file->part);
    file->part = NULL; /* there is nothing to remove any more */
    return sync_folder(file->path, err);
}

void part_file_close(struct part_file *file)
{
    if (file->part != NULL)
        (void)unlink(file->part); /* best effort; its name says what it is */
    (void)close(file->fd);        /* synced, or of no use */
    free(file->path);
    free(file->part);
}
