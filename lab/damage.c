/* What is done to the log of a member that is down. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/disk.h"
#include "base/mem.h"
#include "lab/internal.h"
#include "wal/wal.h"

/* Where the last entries of the newest segment that has some lie. */
struct tail {
    char file[64];
    unsigned long long begins[LAB_FORGET_MAX]; /* a ring; the nth entry at n % LAB_FORGET_MAX */
    unsigned long long last;                   /* where the last one begins */
    unsigned long long end;                    /* and where it ends; 0: not known yet */
    size_t count;
};

/* "FILE OFFSET entry ..."; the line behind an entry begins where that ends. */
static void on_dump_line(void *ctx, const char *line)
{
    struct tail *tail = ctx;
    char file[64], what[16];
    unsigned long long offset;

    if (sscanf(line, "%63s %llu %15s", file, &offset, what) != 3)
        return;
    if (tail->end == 0 && strcmp(tail->file, file) == 0)
        tail->end = offset;
    if (strcmp(what, "entry") != 0)
        return;
    if (strcmp(tail->file, file) != 0)
        tail->count = 0;
    (void)snprintf(tail->file, sizeof tail->file, "%s", file);
    tail->begins[tail->count++ % LAB_FORGET_MAX] = tail->last = offset;
    tail->end = 0;
}

/* Finds the end of the log of a member that is down; on success *path is the caller's. */
static int find_tail(const struct lab_member *member, struct tail *tail, char **path,
                     struct err *err)
{
    char *wal_dir;
    int rc;

    if (member->process.pid != 0)
        return err_set(err, KV_EBUSY,
                       "m%u runs: its log is touched while it is down only (kill %u comes first)",
                       member->n, member->n);
    wal_dir = xasprintf("%s/wal", member->data_dir);
    *tail = (struct tail){.count = 0};
    rc = wal_dump(disk_posix(), wal_dir, on_dump_line, tail, err);
    if (rc == 0 && tail->end <= tail->last)
        rc = err_set(err, KV_ENOTFOUND, "there is no record in m%u's log", member->n);
    if (rc == 0)
        *path = xasprintf("%s/%s", wal_dir, tail->file);
    free(wal_dir);
    return rc;
}

/* Writes the bytes at that offset. Frees path. */
static int overwrite(char *path, unsigned long long offset, const uint8_t *bytes, size_t len,
                     struct err *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

    if (fd < 0 || pwrite(fd, bytes, len, (off_t)offset) != (ssize_t)len)
        rc = err_set_errno(err, errno, "writing %s", path);
    if (fd >= 0 && close(fd) != 0 && rc == 0)
        rc = err_set_errno(err, errno, "writing %s", path);
    free(path);
    return rc;
}

static int read_bytes(const char *path, unsigned long long offset, uint8_t *out, size_t len,
                      struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;

    if (fd < 0 || pread(fd, out, len, (off_t)offset) != (ssize_t)len)
        rc = err_set_errno(err, errno, "reading %s", path);
    if (fd >= 0)
        (void)close(fd); /* only read */
    return rc;
}

/* Behind the last record comes the first half of another one: so it looks when the power went while
 * it was written, and so before anybody was told of it. */
int lab__tear_log(struct lab_member *member, struct err *err)
{
    struct tail tail;
    uint8_t *half;
    char *path;
    size_t len;
    int rc = find_tail(member, &tail, &path, err);

    if (rc != 0)
        return rc;
    len = (size_t)(tail.end - tail.last) / 2;
    half = xmalloc(len);
    rc = read_bytes(path, tail.last, half, len, err);
    if (rc == 0)
        rc = overwrite(path, tail.end, half, len, err);
    else
        free(path);
    free(half);
    if (rc == 0)
        lab__say(member->lab, LAB_HAPPENS, member->n, 0,
                 "half a record lies behind the end of m%u's log, at %llu in %s", member->n,
                 tail.end, tail.file);
    return rc;
}

/* As if the disk had said that they were written, and they were not. */
int lab__shorten_log(struct lab_member *member, size_t records, struct err *err)
{
    unsigned long long from;
    struct tail tail;
    uint8_t *zeroes;
    char *path;
    int rc = find_tail(member, &tail, &path, err);

    if (rc != 0)
        return rc;
    records = MIN(records, MIN(tail.count, (size_t)LAB_FORGET_MAX));
    from = tail.begins[(tail.count - records) % LAB_FORGET_MAX];
    zeroes = xcalloc(1, (size_t)(tail.end - from));
    rc = overwrite(path, from, zeroes, (size_t)(tail.end - from), err);
    free(zeroes);
    if (rc == 0)
        lab__say(member->lab, LAB_HAPPENS, member->n, 0,
                 "the last %zu records of m%u's log were never written", records, member->n);
    return rc;
}
