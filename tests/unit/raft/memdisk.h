/* A disk in memory that forgets what was not synced: files and directory entries each have a live
 * and a durable side, and a crash leaves the durable one. Header only: every unit test is one
 * program of one source file. */
#ifndef KVD_TESTS_RAFT_MEMDISK_H
#define KVD_TESTS_RAFT_MEMDISK_H

#include <stdlib.h>
#include <string.h>

#include "base/disk.h"
#include "base/mem.h"
#include "base/util.h"

struct mem_bytes {
    uint8_t *data;
    size_t len;
};

struct mem_inode {
    struct mem_bytes live, synced;
    struct mem_inode *next; /* all inodes of the disk, freed at the end */
};

struct mem_name {
    char path[128];
    struct mem_inode *live, *durable; /* NULL: not there on that side */
};

struct memdisk {
    struct mem_name names[64];
    size_t name_count;
    struct mem_inode *inodes;
    bool keep_all; /* a crash loses nothing: power stayed on */
};

static inline void mem_resize(struct mem_bytes *bytes, size_t len)
{
    bytes->data = xrealloc(bytes->data, len == 0 ? 1 : len);
    if (len > bytes->len)
        memset(bytes->data + bytes->len, 0, len - bytes->len);
    bytes->len = len;
}

static inline void mem_assign(struct mem_bytes *to, const struct mem_bytes *from)
{
    mem_resize(to, from->len);
    if (from->len > 0)
        memcpy(to->data, from->data, from->len);
}

static inline struct mem_name *mem_find(struct memdisk *disk, const char *path)
{
    for (size_t i = 0; i < disk->name_count; i++)
        if (strcmp(disk->names[i].path, path) == 0)
            return &disk->names[i];
    return NULL;
}

static inline struct mem_name *mem_name(struct memdisk *disk, const char *path)
{
    struct mem_name *name = mem_find(disk, path);

    if (name != NULL)
        return name;
    for (size_t i = 0; i < disk->name_count && name == NULL; i++)
        if (disk->names[i].live == NULL && disk->names[i].durable == NULL)
            name = &disk->names[i];
    if (name == NULL) {
        ASSERT(disk->name_count < ARRAY_LEN(disk->names));
        name = &disk->names[disk->name_count++];
    }
    ASSERT(strlen(path) < sizeof(name->path));
    memset(name, 0, sizeof(*name));
    strcpy(name->path, path);
    return name;
}

static inline int mem_open(void *ctx, const char *path, int flags, struct disk_file **out,
                           struct err *err)
{
    struct memdisk *disk = ctx;
    struct mem_name *name = mem_find(disk, path);

    if (flags & DISK_CREATE) {
        if (name != NULL && name->live != NULL)
            return err_set(err, KV_EEXIST, "%s: exists", path);
        name = mem_name(disk, path);
        name->live = xcalloc(1, sizeof(*name->live));
        name->live->next = disk->inodes;
        disk->inodes = name->live;
    }
    if (name == NULL || name->live == NULL)
        return err_set(err, KV_ENOTFOUND, "%s: not found", path);
    *out = (struct disk_file *)name->live;
    return 0;
}

static inline void mem_close(void *ctx, struct disk_file *file)
{
    (void)ctx;
    (void)file;
}

static inline int mem_size(void *ctx, struct disk_file *file, uint64_t *out, struct err *err)
{
    (void)ctx;
    (void)err;
    *out = ((struct mem_inode *)file)->live.len;
    return 0;
}

static inline int mem_read(void *ctx, struct disk_file *file, uint64_t offset, void *data,
                           size_t len, size_t *out_len, struct err *err)
{
    const struct mem_bytes *live = &((struct mem_inode *)file)->live;

    (void)ctx;
    (void)err;
    *out_len = offset >= live->len ? 0 : MIN(len, live->len - offset);
    if (*out_len > 0)
        memcpy(data, live->data + offset, *out_len);
    return 0;
}

static inline int mem_write(void *ctx, struct disk_file *file, uint64_t offset, const void *data,
                            size_t len, struct err *err)
{
    struct mem_bytes *live = &((struct mem_inode *)file)->live;

    (void)ctx;
    (void)err;
    if (offset + len > live->len)
        mem_resize(live, offset + len);
    memcpy(live->data + offset, data, len);
    return 0;
}

static inline int mem_sync(void *ctx, struct disk_file *file, struct err *err)
{
    struct mem_inode *inode = (struct mem_inode *)file;

    (void)ctx;
    (void)err;
    mem_assign(&inode->synced, &inode->live);
    return 0;
}

static inline int mem_truncate(void *ctx, struct disk_file *file, uint64_t size, struct err *err)
{
    (void)ctx;
    (void)err;
    mem_resize(&((struct mem_inode *)file)->live, size);
    return 0;
}

static inline int mem_rename(void *ctx, const char *from, const char *to, struct err *err)
{
    struct memdisk *disk = ctx;
    struct mem_name *source = mem_find(disk, from);

    if (source == NULL || source->live == NULL)
        return err_set(err, KV_ENOTFOUND, "%s: not found", from);
    mem_name(disk, to)->live = source->live;
    mem_find(disk, from)->live = NULL;
    return 0;
}

static inline int mem_unlink(void *ctx, const char *path, struct err *err)
{
    struct mem_name *name = mem_find(ctx, path);

    if (name == NULL || name->live == NULL)
        return err_set(err, KV_ENOTFOUND, "%s: not found", path);
    name->live = NULL;
    return 0;
}

static inline int mem_mkdir(void *ctx, const char *path, struct err *err)
{
    (void)ctx;
    (void)path;
    (void)err;
    return 0;
}

/* The rest of path if it lies directly in dir. */
static inline const char *mem_in(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    if (strncmp(path, dir, len) != 0 || path[len] != '/' || strchr(path + len + 1, '/') != NULL)
        return NULL;
    return path + len + 1;
}

static inline int mem_sync_dir(void *ctx, const char *path, struct err *err)
{
    struct memdisk *disk = ctx;

    (void)err;
    for (size_t i = 0; i < disk->name_count; i++)
        if (mem_in(disk->names[i].path, path) != NULL)
            disk->names[i].durable = disk->names[i].live;
    return 0;
}

static inline int mem_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline int mem_list(void *ctx, const char *path, char ***out, size_t *out_len,
                           struct err *err)
{
    struct memdisk *disk = ctx;
    char **names = xcalloc(disk->name_count + 1, sizeof(*names));
    size_t count = 0;

    (void)err;
    for (size_t i = 0; i < disk->name_count; i++) {
        const char *name = mem_in(disk->names[i].path, path);

        if (name != NULL && disk->names[i].live != NULL)
            names[count++] = xstrdup(name);
    }
    qsort(names, count, sizeof(*names), mem_compare);
    *out = names;
    *out_len = count;
    return 0;
}

static const struct disk_ops mem_ops = {
    .open = mem_open,
    .close = mem_close,
    .size = mem_size,
    .read = mem_read,
    .write = mem_write,
    .sync = mem_sync,
    .truncate = mem_truncate,
    .rename = mem_rename,
    .unlink = mem_unlink,
    .mkdir = mem_mkdir,
    .sync_dir = mem_sync_dir,
    .list = mem_list,
};

static inline struct disk memdisk_of(struct memdisk *disk)
{
    return (struct disk){.ops = &mem_ops, .ctx = disk};
}

/* Power off: only what was synced is there again. */
static inline void memdisk_crash(struct memdisk *disk)
{
    if (disk->keep_all)
        return;
    for (size_t i = 0; i < disk->name_count; i++)
        disk->names[i].live = disk->names[i].durable;
    for (struct mem_inode *inode = disk->inodes; inode != NULL; inode = inode->next)
        mem_assign(&inode->live, &inode->synced);
}

static inline void memdisk_release(struct memdisk *disk)
{
    while (disk->inodes != NULL) {
        struct mem_inode *inode = disk->inodes;

        disk->inodes = inode->next;
        free(inode->live.data);
        free(inode->synced.data);
        free(inode);
    }
    memset(disk, 0, sizeof(*disk));
}

#endif
