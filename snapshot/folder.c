/* Names of checkpoints, and files on their way to one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/mem.h"
#include "base/pace.h"
#include "base/util.h"
#include "snapshot/internal.h"

#define SUFFIX ".ckpt"

enum { HEX = 16, NAME_LEN = HEX + 1 + HEX + sizeof SUFFIX - 1 };

_Static_assert((int)NAME_LEN < (int)SNAPSHOT_NAME_SIZE, "and its end");

void snapshot_name(char name[SNAPSHOT_NAME_SIZE], uint64_t index, uint64_t term)
{
    snprintf(name, SNAPSHOT_NAME_SIZE, "%016" PRIx64 "-%016" PRIx64 SUFFIX, index, term);
}

char *snapshot_path(const char *dir, uint64_t index, uint64_t term)
{
    char name[SNAPSHOT_NAME_SIZE];

    snapshot_name(name, index, term);
    return xasprintf("%s/%s", dir, name);
}

static bool parse_name(const char *name, struct snapshot_file *out)
{
    char again[SNAPSHOT_NAME_SIZE];

    if (strlen(name) != NAME_LEN || name[HEX] != '-')
        return false;
    out->index = strtoull(name, NULL, 16);
    out->term = strtoull(name + HEX + 1, NULL, 16);
    snapshot_name(again, out->index, out->term);
    return strcmp(again, name) == 0 && out->index != 0;
}

static int newest_first(const void *a, const void *b)
{
    const struct snapshot_file *x = a, *y = b;

    if (x->index != y->index)
        return x->index > y->index ? -1 : 1;
    return x->term > y->term ? -1 : x->term < y->term;
}

int snapshot_list(struct disk disk, const char *dir, struct snapshot_file **out, size_t *out_len,
                  struct err *err)
{
    struct snapshot_file *files;
    struct err local = ERR_INIT;
    char **names = NULL;
    size_t names_len = 0, len = 0;
    int rc = disk.ops->list(disk.ctx, dir, &names, &names_len, &local);

    if (rc != 0 && rc != KV_ENOTFOUND) {
        if (err != NULL)
            *err = local;
        return rc;
    }
    files = xcalloc(names_len + 1, sizeof *files);
    for (size_t i = 0; i < names_len; i++)
        if (parse_name(names[i], &files[len]))
            len++;
    qsort(files, len, sizeof *files, newest_first);
    if (rc == 0)
        disk_free_names(names, names_len);
    *out = files;
    *out_len = len;
    return 0;
}

/* The folder's own name must be durable too. */
static int make_dir(struct disk disk, const char *dir, struct err *err)
{
    char *parent = xstrdup(dir);
    char *slash = strrchr(parent, '/');
    int rc = disk.ops->mkdir(disk.ctx, dir, err);

    if (slash == parent)
        slash[1] = '\0';
    else if (slash != NULL)
        *slash = '\0';
    if (rc == 0)
        rc = disk.ops->sync_dir(disk.ctx, slash == NULL ? "." : parent, err);
    free(parent);
    return rc;
}

enum { REMOVE_SIZE = 8 << 20 };

static int remove_leftover(struct disk disk, const char *dir, const char *name, struct err *err)
{
    char *path = xasprintf("%s/%s", dir, name);
    struct err local = ERR_INIT;
    int rc = disk.ops->unlink(disk.ctx, path, &local);

    free(path);
    if (rc == 0 || rc == KV_ENOTFOUND)
        return 0;
    if (err != NULL)
        *err = local;
    return rc;
}

int snapshot_prepare_dir(struct disk disk, const char *dir, struct err *err)
{
    int rc = make_dir(disk, dir, err);

    if (rc == 0)
        rc = remove_leftover(disk, dir, SNAPSHOT__TMP_NAME, err);
    if (rc == 0)
        rc = remove_leftover(disk, dir, SNAPSHOT__INCOMING_NAME, err);
    if (rc == 0)
        rc = remove_leftover(disk, dir, SNAPSHOT__OLD_NAME, err);
    return rc;
}

static void shrink(struct disk disk, const char *path, struct pace *pace)
{
    struct disk_file *file;
    uint64_t size;

    if (disk.ops->open(disk.ctx, path, DISK_WRITE, &file, NULL) != 0)
        return;
    if (disk.ops->size(disk.ctx, file, &size, NULL) == 0) {
        while (size > 0) {
            uint64_t n = MIN(size, (uint64_t)REMOVE_SIZE);

            size -= n;
            FAILPOINT("checkpoint-shrink");
            if (disk.ops->truncate(disk.ctx, file, size, NULL) != 0)
                break;
            pace_wait(pace, n);
        }
    }
    disk.ops->close(disk.ctx, file);
}

void snapshot_remove(struct disk disk, const char *dir, uint64_t index, uint64_t term,
                     struct pace *pace)
{
    char *path = snapshot_path(dir, index, term), *old = xasprintf("%s/" SNAPSHOT__OLD_NAME, dir);

    FAILPOINT("checkpoint-remove");
    /* A file that has a checkpoint's name is whole: the name goes first. */
    if (disk.ops->rename(disk.ctx, path, old, NULL) == 0 &&
        disk.ops->sync_dir(disk.ctx, dir, NULL) == 0) {
        shrink(disk, old, pace);
        (void)disk.ops->unlink(disk.ctx, old, NULL);
    }
    free(path);
    free(old);
}

int snapshot__rename(struct disk disk, const char *dir, const char *from, uint64_t index,
                     uint64_t term, struct err *err)
{
    char *path = snapshot_path(dir, index, term);
    int rc;

    FAILPOINT("checkpoint-rename");
    rc = disk.ops->rename(disk.ctx, from, path, err);
    FAILPOINT("checkpoint-renamed");
    if (rc == 0)
        rc = disk.ops->sync_dir(disk.ctx, dir, err);
    free(path);
    return rc;
}

/* ---- from another member ---- */

struct snapshot_incoming {
    struct disk disk;
    struct disk_file *file;
    char *dir;
    char *path;
    uint64_t size;
    uint64_t given_back; /* before here the disk has it already, most likely */
    bool committed;
};

enum { WRITEBACK_SIZE = 4 << 20 };

static int create(struct snapshot_incoming *incoming, struct err *err)
{
    const struct disk_ops *ops = incoming->disk.ops;
    int rc = remove_leftover(incoming->disk, incoming->dir, SNAPSHOT__INCOMING_NAME, err);

    if (rc == 0)
        rc = ops->open(incoming->disk.ctx, incoming->path, DISK_WRITE | DISK_CREATE,
                       &incoming->file, err);
    if (rc != 0)
        incoming->file = NULL;
    return rc;
}

int snapshot_incoming_open(struct disk disk, const char *dir, struct snapshot_incoming **out,
                           struct err *err)
{
    struct snapshot_incoming *incoming = xcalloc(1, sizeof *incoming);
    int rc;

    incoming->disk = disk;
    incoming->dir = xstrdup(dir);
    incoming->path = xasprintf("%s/%s", dir, SNAPSHOT__INCOMING_NAME);
    rc = create(incoming, err);
    if (rc != 0) {
        snapshot_incoming_close(incoming);
        return rc;
    }
    *out = incoming;
    return 0;
}

int snapshot_incoming_write(struct snapshot_incoming *incoming, struct slice bytes, struct err *err)
{
    const struct disk_ops *ops = incoming->disk.ops;
    int rc;

    FAILPOINT("receive-write");
    rc = ops->write(incoming->disk.ctx, incoming->file, incoming->size, bytes.data, bytes.len, err);

    if (rc != 0)
        return rc;
    incoming->size += bytes.len;
    if (ops->writeback != NULL && incoming->size - incoming->given_back >= WRITEBACK_SIZE) {
        ops->writeback(incoming->disk.ctx, incoming->file, incoming->given_back,
                       incoming->size - incoming->given_back);
        incoming->given_back = incoming->size;
    }
    return 0;
}

uint64_t snapshot_incoming_size(const struct snapshot_incoming *incoming)
{
    return incoming->size;
}

int snapshot_incoming_sync(struct snapshot_incoming *incoming, struct err *err)
{
    FAILPOINT("receive-sync");
    return incoming->disk.ops->sync(incoming->disk.ctx, incoming->file, err);
}

const char *snapshot_incoming_path(const struct snapshot_incoming *incoming)
{
    return incoming->path;
}

int snapshot_incoming_commit(struct snapshot_incoming *incoming, uint64_t index, uint64_t term,
                             struct err *err)
{
    int rc;

    ASSERT(!incoming->committed);
    rc = snapshot__rename(incoming->disk, incoming->dir, incoming->path, index, term, err);
    incoming->committed = rc == 0;
    return rc;
}

void snapshot_incoming_close(struct snapshot_incoming *incoming)
{
    if (incoming == NULL)
        return;
    if (incoming->file != NULL) {
        incoming->disk.ops->close(incoming->disk.ctx, incoming->file);
        if (!incoming->committed) /* what stays is removed at the next start */
            (void)incoming->disk.ops->unlink(incoming->disk.ctx, incoming->path, NULL);
    }
    free(incoming->path);
    free(incoming->dir);
    free(incoming);
}
