#include "tests/lib/memdisk.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/prng.h"
#include "base/util.h"

enum { SECTOR = 512 };

/* The bytes of a file, whatever names it has. */
struct node {
    struct list link;
    uint8_t *now, *durable;
    uint64_t now_len, durable_len;
    uint8_t *dirty; /* one flag a sector of now */
    uint64_t dirty_cap;
    bool is_dir;
};

struct name {
    struct list link;
    char *path;
    struct node *now;     /* NULL: no such name */
    struct node *durable; /* what a power cut leaves */
};

struct disk_file {
    struct memdisk *memdisk;
    struct node *node;
    uint64_t epoch; /* dead if older than the disk's */
    char *path;
};

struct memdisk {
    struct list nodes, names;
    struct prng prng;
    uint64_t epoch;
    bool lie;
    uint64_t fail_write, fail_sync; /* countdowns */
    uint64_t power;                 /* operations until it goes; 0: it stays */
    bool dark;
    uint64_t limit;
    uint64_t syncs;
};

static struct name *find_name(struct memdisk *m, const char *path)
{
    LIST_EACH (link, &m->names) {
        struct name *name = LIST_ENTRY(link, struct name, link);

        if (strcmp(name->path, path) == 0)
            return name;
    }
    return NULL;
}

static struct name *make_name(struct memdisk *m, const char *path)
{
    struct name *name = find_name(m, path);

    if (name != NULL)
        return name;
    name = xcalloc(1, sizeof *name);
    name->path = xstrdup(path);
    list_push_back(&m->names, &name->link);
    return name;
}

static struct node *make_node(struct memdisk *m, bool is_dir)
{
    struct node *node = xcalloc(1, sizeof *node);

    node->is_dir = is_dir;
    list_push_back(&m->nodes, &node->link);
    return node;
}

static void resize(struct node *node, uint64_t len)
{
    uint64_t sectors = (len + SECTOR - 1) / SECTOR;

    node->now = xrealloc(node->now, len);
    if (len > node->now_len)
        memset(node->now + node->now_len, 0, len - node->now_len);
    if (sectors > node->dirty_cap) {
        node->dirty = xrealloc(node->dirty, sectors);
        memset(node->dirty + node->dirty_cap, 0, sectors - node->dirty_cap);
        node->dirty_cap = sectors;
    }
    node->now_len = len;
}

static uint64_t total(struct memdisk *m)
{
    uint64_t sum = 0;

    LIST_EACH (link, &m->names) {
        struct name *name = LIST_ENTRY(link, struct name, link);

        if (name->now != NULL)
            sum += name->now->now_len;
    }
    return sum;
}

static bool counted_down(uint64_t *count)
{
    return *count != 0 && --*count == 0;
}

/* Whether the power is there for one more operation. */
static bool powered(struct memdisk *m)
{
    m->dark = m->dark || counted_down(&m->power);
    return !m->dark;
}

static int power_is_cut(struct err *err, const char *what, const char *path)
{
    return err_set(err, KV_EIO, "%s %s: the power was cut", what, path);
}

static int mem_open(void *ctx, const char *path, int flags, struct disk_file **out, struct err *err)
{
    struct memdisk *m = ctx;
    struct name *name = find_name(m, path);
    bool there = name != NULL && name->now != NULL;

    if ((flags & DISK_CREATE) && !powered(m))
        return power_is_cut(err, "creating", path);
    if (!there && !(flags & DISK_CREATE))
        return err_set(err, KV_ENOTFOUND, "opening %s: no such file", path);
    if (there && (flags & DISK_CREATE))
        return err_set(err, KV_EEXIST, "creating %s: it exists", path);
    if (!there) {
        name = make_name(m, path);
        name->now = make_node(m, false);
    }
    *out = xmalloc(sizeof **out);
    **out = (struct disk_file){
        .memdisk = m, .node = name->now, .epoch = m->epoch, .path = xstrdup(path)};
    return 0;
}

static void mem_close(void *ctx, struct disk_file *file)
{
    (void)ctx;
    if (file == NULL)
        return;
    free(file->path);
    free(file);
}

static int mem_size(void *ctx, struct disk_file *file, uint64_t *out, struct err *err)
{
    (void)ctx;
    (void)err;
    *out = file->node->now_len;
    return 0;
}

static int mem_read(void *ctx, struct disk_file *file, uint64_t offset, void *data, size_t len,
                    size_t *out_len, struct err *err)
{
    struct node *node = file->node;
    size_t n = offset >= node->now_len ? 0 : MIN(len, (size_t)(node->now_len - offset));

    (void)ctx;
    (void)err;
    if (n != 0)
        memcpy(data, node->now + offset, n);
    *out_len = n;
    return 0;
}

static int mem_write(void *ctx, struct disk_file *file, uint64_t offset, const void *data,
                     size_t len, struct err *err)
{
    struct memdisk *m = ctx;
    struct node *node = file->node;
    uint64_t end = offset + len;

    if (file->epoch != m->epoch || !powered(m))
        return power_is_cut(err, "writing", file->path);
    if (counted_down(&m->fail_write))
        return err_set(err, KV_EIO, "writing %s: planted fault", file->path);
    if (m->limit != 0 && end > node->now_len && total(m) + end - node->now_len > m->limit)
        return err_set(err, KV_ENOSPC, "writing %s: no space left on device", file->path);
    if (end > node->now_len)
        resize(node, end);
    if (len == 0)
        return 0;
    memcpy(node->now + offset, data, len);
    for (uint64_t s = offset / SECTOR; s <= (end - 1) / SECTOR; s++)
        node->dirty[s] = 1;
    return 0;
}

static void settle(struct node *node)
{
    node->durable = xrealloc(node->durable, node->now_len);
    if (node->now_len != 0)
        memcpy(node->durable, node->now, node->now_len);
    node->durable_len = node->now_len;
    if (node->dirty_cap != 0)
        memset(node->dirty, 0, node->dirty_cap);
}

/* Copies only what changed: segments are large and syncs are many. */
static void settle_dirty(struct node *node)
{
    if (node->durable_len != node->now_len) {
        settle(node);
        return;
    }
    for (uint64_t s = 0; s * SECTOR < node->now_len; s++) {
        uint64_t at = s * SECTOR;

        if (!node->dirty[s])
            continue;
        memcpy(node->durable + at, node->now + at, MIN((uint64_t)SECTOR, node->now_len - at));
        node->dirty[s] = 0;
    }
}

static int mem_sync(void *ctx, struct disk_file *file, struct err *err)
{
    struct memdisk *m = ctx;

    if (file->epoch != m->epoch || !powered(m))
        return power_is_cut(err, "syncing", file->path);
    if (counted_down(&m->fail_sync))
        return err_set(err, KV_EIO, "syncing %s: planted fault", file->path);
    m->syncs++;
    if (!m->lie)
        settle_dirty(file->node);
    return 0;
}

static int mem_truncate(void *ctx, struct disk_file *file, uint64_t size, struct err *err)
{
    struct memdisk *m = ctx;

    if (file->epoch != m->epoch || !powered(m))
        return power_is_cut(err, "resizing", file->path);
    if (m->limit != 0 && size > file->node->now_len &&
        total(m) + size - file->node->now_len > m->limit)
        return err_set(err, KV_ENOSPC, "resizing %s: no space left on device", file->path);
    resize(file->node, size);
    return 0;
}

static int mem_rename(void *ctx, const char *from, const char *to, struct err *err)
{
    struct memdisk *m = ctx;
    struct name *old = find_name(m, from);

    if (!powered(m))
        return power_is_cut(err, "renaming", from);
    if (old == NULL || old->now == NULL)
        return err_set(err, KV_ENOTFOUND, "renaming %s: no such file", from);
    make_name(m, to)->now = old->now;
    old->now = NULL;
    return 0;
}

static int mem_unlink(void *ctx, const char *path, struct err *err)
{
    struct memdisk *m = ctx;
    struct name *name = find_name(m, path);

    if (!powered(m))
        return power_is_cut(err, "removing", path);
    if (name == NULL || name->now == NULL)
        return err_set(err, KV_ENOTFOUND, "removing %s: no such file", path);
    name->now = NULL;
    return 0;
}

static int mem_mkdir(void *ctx, const char *path, struct err *err)
{
    struct memdisk *m = ctx;
    struct name *name = make_name(m, path);

    (void)err;
    if (name->now == NULL)
        name->now = make_node(m, true);
    return 0;
}

/* The part of path after dir and a slash, if it is directly in dir; else NULL. */
static const char *inside(const char *dir, const char *path)
{
    size_t len = strlen(dir);

    if (strncmp(path, dir, len) != 0 || path[len] != '/' || strchr(path + len + 1, '/') != NULL)
        return NULL;
    return path + len + 1;
}

static int mem_sync_dir(void *ctx, const char *path, struct err *err)
{
    struct memdisk *m = ctx;

    if (!powered(m))
        return power_is_cut(err, "syncing folder", path);
    if (counted_down(&m->fail_sync))
        return err_set(err, KV_EIO, "syncing folder %s: planted fault", path);
    m->syncs++;
    if (m->lie)
        return 0;
    LIST_EACH (link, &m->names) {
        struct name *name = LIST_ENTRY(link, struct name, link);

        if (inside(path, name->path) != NULL)
            name->durable = name->now;
    }
    return 0;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int mem_list(void *ctx, const char *path, char ***out, size_t *out_len, struct err *err)
{
    struct memdisk *m = ctx;
    struct name *dir = find_name(m, path);
    char **names = NULL;
    size_t len = 0;

    if (dir == NULL || dir->now == NULL)
        return err_set(err, KV_ENOTFOUND, "listing folder %s: no such folder", path);
    LIST_EACH (link, &m->names) {
        struct name *name = LIST_ENTRY(link, struct name, link);
        const char *last = inside(path, name->path);

        if (last == NULL || name->now == NULL)
            continue;
        names = xrealloc(names, (len + 1) * sizeof *names);
        names[len++] = xstrdup(last);
    }
    if (len != 0)
        qsort(names, len, sizeof *names, by_bytes);
    *out = names;
    *out_len = len;
    return 0;
}

struct memdisk *memdisk_new(uint64_t seed)
{
    struct memdisk *m = xcalloc(1, sizeof *m);

    list_init(&m->nodes);
    list_init(&m->names);
    prng_seed(&m->prng, seed);
    return m;
}

void memdisk_free(struct memdisk *m)
{
    if (m == NULL)
        return;
    LIST_EACH_SAFE (link, &m->names) {
        struct name *name = LIST_ENTRY(link, struct name, link);

        free(name->path);
        free(name);
    }
    LIST_EACH_SAFE (link, &m->nodes) {
        struct node *node = LIST_ENTRY(link, struct node, link);

        free(node->now);
        free(node->durable);
        free(node->dirty);
        free(node);
    }
    free(m);
}

struct disk memdisk_disk(struct memdisk *m)
{
    static const struct disk_ops ops = {
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

    return (struct disk){.ops = &ops, .ctx = m};
}

enum pattern { KEEP_NONE, KEEP_ALL, KEEP_PREFIX, KEEP_ANY, PATTERNS };

/* What stands in one dirty sector after the power cut. */
static void cut_sector(struct memdisk *m, struct node *node, uint64_t at, bool keep)
{
    uint64_t len = MIN((uint64_t)SECTOR, node->now_len - at);
    uint64_t from = keep ? len : 0;

    /* Now and then a sector is half-written: no drive promises otherwise. */
    if (keep && prng_chance(&m->prng, 50000))
        from = prng_between(&m->prng, 0, len);
    for (uint64_t i = from; i < len; i++)
        node->now[at + i] = at + i < node->durable_len ? node->durable[at + i] : 0;
}

/* The size that the file comes back with, then its sectors. */
static void cut_node(struct memdisk *m, struct node *node, enum pattern pattern, bool old_size)
{
    uint64_t dirty = 0, keep, seen = 0;

    if (node->now_len != node->durable_len && old_size)
        resize(node, node->durable_len);
    for (uint64_t s = 0; s * SECTOR < node->now_len; s++)
        dirty += node->dirty[s];
    keep = pattern == KEEP_PREFIX ? prng_between(&m->prng, 0, dirty) : 0;
    for (uint64_t s = 0; s * SECTOR < node->now_len; s++) {
        if (!node->dirty[s])
            continue;
        seen++;
        cut_sector(m, node, s * SECTOR,
                   pattern == KEEP_ALL || (pattern == KEEP_PREFIX && seen <= keep) ||
                       (pattern == KEEP_ANY && prng_chance(&m->prng, 500000)));
    }
    settle(node);
}

static void cut_names(struct memdisk *m, bool forget)
{
    m->epoch++;
    m->power = 0;
    m->dark = false;
    LIST_EACH (link, &m->names) {
        struct name *name = LIST_ENTRY(link, struct name, link);

        if (forget && !(name->now != NULL && name->now->is_dir))
            name->now = name->durable;
        name->durable = name->now;
    }
}

void memdisk_crash(struct memdisk *m)
{
    cut_names(m, prng_chance(&m->prng, 500000));
    LIST_EACH (link, &m->nodes) {
        enum pattern pattern = (enum pattern)prng_between(&m->prng, 0, PATTERNS - 1);

        cut_node(m, LIST_ENTRY(link, struct node, link), pattern, prng_chance(&m->prng, 500000));
    }
}

void memdisk_crash_to_synced(struct memdisk *m)
{
    cut_names(m, true);
    LIST_EACH (link, &m->nodes) {
        cut_node(m, LIST_ENTRY(link, struct node, link), KEEP_NONE, true);
    }
}

void memdisk_cut_power(struct memdisk *m, uint64_t nth)
{
    m->power = nth;
}

void memdisk_lie(struct memdisk *m, bool lie)
{
    m->lie = lie;
}

void memdisk_fail_write(struct memdisk *m, uint64_t nth)
{
    m->fail_write = nth;
}

void memdisk_fail_sync(struct memdisk *m, uint64_t nth)
{
    m->fail_sync = nth;
}

void memdisk_limit(struct memdisk *m, uint64_t bytes)
{
    m->limit = bytes;
}

uint8_t *memdisk_content(struct memdisk *m, const char *path, uint64_t *out_len)
{
    struct name *name = find_name(m, path);

    if (name == NULL || name->now == NULL)
        return NULL;
    *out_len = name->now->now_len;
    return name->now->now;
}

uint64_t memdisk_syncs(const struct memdisk *m)
{
    return m->syncs;
}
