/* A disk in memory that behaves as badly as a real one may: what was not synced survives a power
 * cut or not, sector by sector and name by name; the nth call fails; space runs out; a sync that
 * failed once says yes the next time without having written anything (faults.md D1 to D5). */
#ifndef KVD_TESTS_WAL_FAULT_DISK_H
#define KVD_TESTS_WAL_FAULT_DISK_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/disk.h"
#include "base/mem.h"
#include "base/prng.h"

enum { SECTOR = 512, FAULT_FILES = 4096, FAULT_OPS = 4096 };

struct fault_inode {
    uint8_t *now, *durable; /* same capacity, zero beyond the sizes */
    size_t cap;
    size_t size, durable_size;
    bool lying; /* a sync failed: later ones do nothing */
};

struct fault_name {
    char *path; /* NULL: free */
    struct fault_inode *inode;
};

/* A change of names that is not durable yet. */
struct fault_op {
    char *from; /* NULL: created */
    char *to;   /* NULL: removed */
    struct fault_inode *inode;
};

struct fault_disk {
    struct fault_inode *inodes[FAULT_FILES];
    size_t inodes_len;
    struct fault_name names[64], durable_names[64];
    struct fault_op ops[FAULT_OPS];
    size_t ops_len;
    struct prng prng;
    uint64_t calls;        /* that change something */
    uint64_t cut_at;       /* the call from which on all fail (power is gone); 0: never */
    uint64_t fail_sync_at; /* the sync that fails, counted by syncs; 0: never */
    uint64_t syncs;
    uint64_t capacity; /* bytes of all files; 0: no limit */
    bool frozen;       /* any change is the test's failure */
    uint64_t open_files;
};

struct disk_file {
    struct fault_inode *inode;
};

static inline struct fault_inode **fault_slot(struct fault_name *names, const char *path, bool make)
{
    struct fault_name *room = NULL;

    for (size_t i = 0; i < 64; i++) {
        if (names[i].path != NULL && strcmp(names[i].path, path) == 0)
            return &names[i].inode;
        if (names[i].path == NULL && room == NULL)
            room = &names[i];
    }
    if (!make)
        return NULL;
    ASSERT(room != NULL);
    room->path = xstrdup(path);
    return &room->inode;
}

static inline void fault_unname(struct fault_name *names, const char *path)
{
    for (size_t i = 0; i < 64; i++)
        if (names[i].path != NULL && strcmp(names[i].path, path) == 0) {
            free(names[i].path);
            names[i] = (struct fault_name){.path = NULL};
        }
}

/* One call that changes something: false if the power is gone. */
static inline bool fault_call(struct fault_disk *disk)
{
    ASSERT(!disk->frozen);
    disk->calls++;
    return disk->cut_at == 0 || disk->calls < disk->cut_at;
}

static inline int fault_dead(struct err *err)
{
    return err_set(err, KV_EIO, "fault disk: no power");
}

static inline void fault_note(struct fault_disk *disk, const char *from, const char *to,
                              struct fault_inode *inode)
{
    ASSERT(disk->ops_len < FAULT_OPS);
    disk->ops[disk->ops_len++] = (struct fault_op){
        .from = from == NULL ? NULL : xstrdup(from),
        .to = to == NULL ? NULL : xstrdup(to),
        .inode = inode,
    };
}

static inline void fault_apply(struct fault_disk *disk, const struct fault_op *op)
{
    struct fault_inode **slot;

    if (op->from != NULL) {
        slot = fault_slot(disk->durable_names, op->from, false);
        if (slot == NULL || *slot != op->inode)
            return; /* an earlier change of this name was lost */
        fault_unname(disk->durable_names, op->from);
    }
    if (op->to != NULL)
        *fault_slot(disk->durable_names, op->to, true) = op->inode;
}

static inline void fault_forget_ops(struct fault_disk *disk)
{
    for (size_t i = 0; i < disk->ops_len; i++) {
        free(disk->ops[i].from);
        free(disk->ops[i].to);
    }
    disk->ops_len = 0;
}

static inline int fault_open(void *ctx, const char *path, int flags, struct disk_file **out,
                             struct err *err)
{
    struct fault_disk *disk = ctx;
    struct fault_inode **slot = fault_slot(disk->names, path, false);

    if (flags & DISK_CREATE) {
        if (!fault_call(disk))
            return fault_dead(err);
        if (slot != NULL)
            return err_set(err, KV_EEXIST, "%s exists", path);
        ASSERT(disk->inodes_len < FAULT_FILES);
        slot = fault_slot(disk->names, path, true);
        *slot = disk->inodes[disk->inodes_len++] = xcalloc(1, sizeof(**slot));
        fault_note(disk, NULL, path, *slot);
    }
    if (slot == NULL)
        return err_set(err, KV_ENOTFOUND, "%s: not there", path);
    *out = xmalloc(sizeof(**out));
    (*out)->inode = *slot;
    disk->open_files++;
    return 0;
}

static inline void fault_close(void *ctx, struct disk_file *file)
{
    ((struct fault_disk *)ctx)->open_files--;
    free(file);
}

static inline int fault_size(void *ctx, struct disk_file *file, uint64_t *out, struct err *err)
{
    (void)ctx;
    (void)err;
    *out = file->inode->size;
    return 0;
}

static inline int fault_read(void *ctx, struct disk_file *file, uint64_t offset, void *data,
                             size_t len, size_t *out_len, struct err *err)
{
    struct fault_inode *inode = file->inode;

    (void)ctx;
    (void)err;
    *out_len = offset >= inode->size ? 0 : MIN(len, inode->size - (size_t)offset);
    if (*out_len > 0)
        memcpy(data, inode->now + offset, *out_len);
    return 0;
}

static inline void fault_grow(struct fault_inode *inode, size_t size)
{
    size_t cap = (size + SECTOR - 1) / SECTOR * SECTOR;

    if (cap <= inode->cap)
        return;
    inode->now = xrealloc(inode->now, cap);
    inode->durable = xrealloc(inode->durable, cap);
    memset(inode->now + inode->cap, 0, cap - inode->cap);
    memset(inode->durable + inode->cap, 0, cap - inode->cap);
    inode->cap = cap;
}

static inline uint64_t fault_used(const struct fault_disk *disk)
{
    uint64_t used = 0;

    for (size_t i = 0; i < 64; i++)
        if (disk->names[i].path != NULL)
            used += disk->names[i].inode->size;
    return used;
}

static inline int fault_write(void *ctx, struct disk_file *file, uint64_t offset, const void *data,
                              size_t len, struct err *err)
{
    struct fault_disk *disk = ctx;
    struct fault_inode *inode = file->inode;
    size_t end = (size_t)offset + len;
    bool alive = fault_call(disk);

    if (disk->capacity != 0 && end > inode->size &&
        fault_used(disk) + (end - inode->size) > disk->capacity)
        return err_set(err, KV_ENOSPC, "fault disk: full");
    if (!alive && disk->calls > disk->cut_at)
        return fault_dead(err);
    fault_grow(inode, end); /* the write that the power failed in may still reach the disk */
    memcpy(inode->now + offset, data, len);
    inode->size = MAX(inode->size, end);
    return alive ? 0 : fault_dead(err);
}

static inline int fault_sync(void *ctx, struct disk_file *file, struct err *err)
{
    struct fault_disk *disk = ctx;
    struct fault_inode *inode = file->inode;

    if (!fault_call(disk))
        return fault_dead(err);
    if (++disk->syncs == disk->fail_sync_at) {
        inode->lying = true;
        return err_set(err, KV_EIO, "fault disk: sync failed");
    }
    if (inode->lying)
        return 0;
    memcpy(inode->durable, inode->now, inode->cap);
    inode->durable_size = inode->size;
    return 0;
}

static inline int fault_truncate(void *ctx, struct disk_file *file, uint64_t size, struct err *err)
{
    struct fault_inode *inode = file->inode;

    if (!fault_call(ctx))
        return fault_dead(err);
    fault_grow(inode, (size_t)size);
    memset(inode->now + size, 0, inode->cap - (size_t)size);
    inode->size = (size_t)size;
    return 0;
}

static inline int fault_rename(void *ctx, const char *from, const char *to, struct err *err)
{
    struct fault_disk *disk = ctx;
    struct fault_inode **slot = fault_slot(disk->names, from, false);
    struct fault_inode *inode;

    if (!fault_call(disk))
        return fault_dead(err);
    if (slot == NULL)
        return err_set(err, KV_ENOTFOUND, "%s: not there", from);
    inode = *slot;
    fault_unname(disk->names, from);
    *fault_slot(disk->names, to, true) = inode;
    fault_note(disk, from, to, inode);
    return 0;
}

static inline int fault_unlink(void *ctx, const char *path, struct err *err)
{
    struct fault_disk *disk = ctx;
    struct fault_inode **slot = fault_slot(disk->names, path, false);

    if (!fault_call(disk))
        return fault_dead(err);
    if (slot == NULL)
        return err_set(err, KV_ENOTFOUND, "%s: not there", path);
    fault_note(disk, path, NULL, *slot);
    fault_unname(disk->names, path);
    return 0;
}

static inline int fault_mkdir(void *ctx, const char *path, struct err *err)
{
    (void)path;
    return fault_call(ctx) ? 0 : fault_dead(err);
}

static inline int fault_sync_dir(void *ctx, const char *path, struct err *err)
{
    struct fault_disk *disk = ctx;

    (void)path;
    if (!fault_call(disk))
        return fault_dead(err);
    if (++disk->syncs == disk->fail_sync_at)
        return err_set(err, KV_EIO, "fault disk: sync failed");
    for (size_t i = 0; i < disk->ops_len; i++)
        fault_apply(disk, &disk->ops[i]);
    fault_forget_ops(disk);
    return 0;
}

static inline int fault_by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline int fault_list(void *ctx, const char *path, char ***out, size_t *out_len,
                             struct err *err)
{
    struct fault_disk *disk = ctx;
    size_t skip = strlen(path) + 1;

    (void)err;
    *out = xcalloc(64, sizeof(**out));
    *out_len = 0;
    for (size_t i = 0; i < 64; i++)
        if (disk->names[i].path != NULL)
            (*out)[(*out_len)++] = xstrdup(disk->names[i].path + skip);
    qsort(*out, *out_len, sizeof(**out), fault_by_bytes);
    return 0;
}

static inline struct disk fault_disk_ops(struct fault_disk *disk)
{
    static const struct disk_ops ops = {
        .open = fault_open,
        .close = fault_close,
        .size = fault_size,
        .read = fault_read,
        .write = fault_write,
        .sync = fault_sync,
        .truncate = fault_truncate,
        .rename = fault_rename,
        .unlink = fault_unlink,
        .mkdir = fault_mkdir,
        .sync_dir = fault_sync_dir,
        .list = fault_list,
    };

    return (struct disk){.ops = &ops, .ctx = disk};
}

static inline struct fault_disk *fault_disk_new(uint64_t seed)
{
    struct fault_disk *disk = xcalloc(1, sizeof(*disk));

    prng_seed(&disk->prng, seed);
    return disk;
}

static inline void fault_copy_names(struct fault_name *to, const struct fault_name *from)
{
    for (size_t i = 0; i < 64; i++) {
        free(to[i].path);
        to[i] = from[i];
        if (from[i].path != NULL)
            to[i].path = xstrdup(from[i].path);
    }
}

/* Of each unsynced sector either the old or the new content stays, keep_ppm says how likely. */
static inline void fault_settle(struct fault_disk *disk, struct fault_inode *inode,
                                uint32_t keep_ppm)
{
    size_t size = prng_chance(&disk->prng, keep_ppm) ? inode->size : inode->durable_size;

    for (size_t at = 0; at < inode->cap; at += SECTOR)
        if (prng_chance(&disk->prng, keep_ppm))
            memcpy(inode->durable + at, inode->now + at, SECTOR);
    if (inode->cap > size)
        memset(inode->durable + size, 0, inode->cap - size);
    inode->durable_size = inode->size = size;
    if (inode->cap > 0)
        memcpy(inode->now, inode->durable, inode->cap);
    inode->lying = false;
}

/* The power is gone, and comes back. */
static inline void fault_power_cut(struct fault_disk *disk, uint32_t keep_ppm)
{
    for (size_t i = 0; i < disk->ops_len; i++)
        if (prng_chance(&disk->prng, keep_ppm))
            fault_apply(disk, &disk->ops[i]);
    fault_forget_ops(disk);
    fault_copy_names(disk->names, disk->durable_names);
    for (size_t i = 0; i < disk->inodes_len; i++)
        fault_settle(disk, disk->inodes[i], keep_ppm);
    disk->cut_at = 0;
    disk->fail_sync_at = 0;
}

static inline void fault_disk_free(struct fault_disk *disk)
{
    fault_forget_ops(disk);
    for (size_t i = 0; i < 64; i++) {
        free(disk->names[i].path);
        free(disk->durable_names[i].path);
    }
    for (size_t i = 0; i < disk->inodes_len; i++) {
        free(disk->inodes[i]->now);
        free(disk->inodes[i]->durable);
        free(disk->inodes[i]);
    }
    free(disk);
}

/* Sum over names and contents, to see that nothing changed. */
static inline uint64_t fault_fingerprint(const struct fault_disk *disk)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < 64; i++) {
        uint64_t h = 1469598103934665603u;

        if (disk->names[i].path == NULL)
            continue;
        for (const char *p = disk->names[i].path; *p != '\0'; p++)
            h = (h ^ (uint8_t)*p) * 1099511628211u;
        for (size_t at = 0; at < disk->names[i].inode->size; at++)
            h = (h ^ disk->names[i].inode->now[at]) * 1099511628211u;
        sum += h;
    }
    return sum;
}

/* Content of a file that is there, for tests that damage it. */
static inline struct fault_inode *fault_file(struct fault_disk *disk, const char *path)
{
    struct fault_inode **slot = fault_slot(disk->names, path, false);

    return slot == NULL ? NULL : *slot;
}

#endif
