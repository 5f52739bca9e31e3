/* Segments come and go. The one after the current is made ahead: filled with zeros (or taken from
 * the recycled ones), given its header, synced, and only then given its name. So under a segment's
 * name there is always a whole header, and rolling over needs no change to any folder. */
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/mem.h"
#include "wal/internal.h"

int wal__side_fail(struct wal__side *side, int rc, const struct err *err)
{
    if (side->failed == 0) {
        side->failed = rc;
        side->failure = *err;
    }
    return rc;
}

static void next_forget(struct wal__side *side)
{
    struct wal__next *next = &side->next;

    if (next->file != NULL)
        side->disk.ops->close(side->disk.ctx, next->file);
    free(next->path);
    *next = (struct wal__next){.state = WAL__NEXT_NONE};
}

void wal__side_release(struct wal__side *side)
{
    next_forget(side);
    if (side->file != NULL)
        side->disk.ops->close(side->disk.ctx, side->file);
    side->file = NULL;
    if (side->out.size_max != 0)
        buf_release(&side->out);
    free(side->dir);
}

/* A directory that could not be synced is as final as a file: the names in it are unknown now. */
static int sync_dir(struct wal__side *side, struct err *err)
{
    int rc = side->disk.ops->sync_dir(side->disk.ctx, side->dir, err);

    if (rc != 0)
        return wal__side_fail(side, rc, err);
    side->dir_dirty = false;
    return 0;
}

static int next_start(struct wal__side *side, struct err *err)
{
    const struct disk_ops *ops = side->disk.ops;
    struct wal__next *next = &side->next;
    char name[WAL__NAME_MAX] = WAL__TMP_NAME;
    int flags = DISK_WRITE | DISK_CREATE;
    int rc;

    /* The file must not be found under its old name with its new content. */
    if (side->spares_len > 0 && side->dir_dirty)
        return sync_dir(side, err);

    next->size = side->segment_size;
    if (side->spares_len > 0) {
        wal__spare_name(name, side->spares[--side->spares_len]);
        flags = DISK_WRITE;
        next->filled = next->size;
    }
    next->path = wal__path(side->dir, name);
    rc = ops->open(side->disk.ctx, next->path, flags, &next->file, err);
    if (rc == KV_EEXIST) { /* left over from a failed attempt */
        rc = ops->unlink(side->disk.ctx, next->path, err);
        if (rc == 0)
            rc = ops->open(side->disk.ctx, next->path, flags, &next->file, err);
    }
    if (rc != 0)
        next->file = NULL;
    else if (next->filled == 0)
        side->disk_bytes += next->size;
    next->state = next->filled == next->size ? WAL__NEXT_FILLED : WAL__NEXT_FILLING;
    return rc;
}

static int next_fill(struct wal__side *side, bool sync_each, struct err *err)
{
    static const uint8_t zeros[WAL__FILL_CHUNK];
    const struct disk_ops *ops = side->disk.ops;
    struct wal__next *next = &side->next;
    size_t n = (size_t)MIN((uint64_t)sizeof(zeros), next->size - next->filled);
    int rc;

    rc = ops->write(side->disk.ctx, next->file, next->filled, zeros, n, err);
    if (rc == 0 && sync_each)
        rc = ops->sync(side->disk.ctx, next->file, err);
    if (rc != 0)
        return rc;
    next->filled += n;
    if (next->filled == next->size)
        next->state = WAL__NEXT_FILLED;
    return 0;
}

/* Header, sync, name, directory: each durable before the next. */
static int next_name(struct wal__side *side, struct err *err)
{
    const struct disk_ops *ops = side->disk.ops;
    struct wal__next *next = &side->next;
    struct wal__segment_header header = {.cluster_id = side->cluster_id,
                                         .member_id = side->member_id};
    uint8_t block[WAL__BLOCK];
    char *path = NULL;
    int rc;

    header.segment.number = side->segment.number + 1;
    header.segment.nonce =
        wal__nonce(side->cluster_id, side->member_id, header.segment.number, side->chain);
    wal__header_encode(&header, block);
    FAILPOINT("wal-next-header");
    rc = ops->write(side->disk.ctx, next->file, 0, block, sizeof(block), err);
    if (rc == 0)
        rc = ops->sync(side->disk.ctx, next->file, err);
    if (rc != 0)
        return rc;
    path = wal__segment_path(side->dir, header.segment.number);
    FAILPOINT("wal-next-rename");
    rc = ops->rename(side->disk.ctx, next->path, path, err);
    FAILPOINT("wal-next-renamed");
    free(path);
    if (rc != 0)
        return rc;
    next->segment = header.segment;
    next->state = WAL__NEXT_READY;
    return sync_dir(side, err);
}

/* Frees the space of an attempt that failed: the disk may be full. */
static void next_abandon(struct wal__side *side)
{
    struct wal__next *next = &side->next;

    if (next->file != NULL) {
        side->disk.ops->close(side->disk.ctx, next->file);
        next->file = NULL;
        side->disk_bytes -= next->size;
        /* If this fails the file is in the way of nothing but the next attempt, which removes it.
         */
        (void)side->disk.ops->unlink(side->disk.ctx, next->path, NULL);
    }
    next_forget(side);
}

int wal__next_step(struct wal__side *side, bool sync_each, struct err *err)
{
    int rc = 0;

    switch (side->next.state) {
    case WAL__NEXT_NONE:
        rc = next_start(side, err);
        break;
    case WAL__NEXT_FILLING:
        rc = next_fill(side, sync_each, err);
        break;
    case WAL__NEXT_FILLED:
        rc = next_name(side, err);
        break;
    case WAL__NEXT_READY:
        return 0;
    }
    if (rc != 0 && side->failed == 0)
        next_abandon(side);
    if (rc != 0)
        return rc;
    return side->next.state == WAL__NEXT_READY ? 0 : 1;
}

int wal__next_finish(struct wal__side *side, struct err *err)
{
    int rc;

    do {
        rc = wal__next_step(side, false, err);
    } while (rc == 1);
    return rc;
}

static int file_size(struct wal__side *side, const char *path, uint64_t *out)
{
    const struct disk_ops *ops = side->disk.ops;
    struct disk_file *file;
    int rc;

    rc = ops->open(side->disk.ctx, path, DISK_READ, &file, NULL);
    if (rc != 0)
        return rc;
    rc = ops->size(side->disk.ctx, file, out, NULL);
    ops->close(side->disk.ctx, file);
    return rc;
}

static bool may_keep_spare(const struct wal__side *side)
{
    return side->spares_len < WAL__SPARES_ALWAYS ||
           (side->spares_len < WAL__SPARES_MAX && side->disk_bytes <= side->keep_bytes);
}

/* No failure here matters: what stays under its old name is below the oldest segment and is
 * recycled at the next start. */
void wal__segment_recycle(struct wal__side *side, uint64_t number)
{
    const struct disk_ops *ops = side->disk.ops;
    char *path = wal__segment_path(side->dir, number);
    char *spare = NULL;
    char name[WAL__NAME_MAX];
    uint64_t size = 0;

    FAILPOINT("wal-recycle");
    if (file_size(side, path, &size) != 0)
        goto out;
    if (size == side->segment_size && may_keep_spare(side)) {
        wal__spare_name(name, number);
        spare = wal__path(side->dir, name);
        if (ops->rename(side->disk.ctx, path, spare, NULL) == 0) {
            side->spares[side->spares_len++] = number;
            side->dir_dirty = true;
        }
    } else if (ops->unlink(side->disk.ctx, path, NULL) == 0) {
        side->disk_bytes -= size;
    }
out:
    FAILPOINT("wal-recycled");
    free(spare);
    free(path);
}

bool wal__spare_remove(struct wal__side *side)
{
    char name[WAL__NAME_MAX];
    char *path;

    if (side->spares_len <= WAL__SPARES_ALWAYS || side->disk_bytes <= side->keep_bytes)
        return false;
    wal__spare_name(name, side->spares[--side->spares_len]);
    path = wal__path(side->dir, name);
    /* If this fails it is found at the next start, and counts until then. */
    if (side->disk.ops->unlink(side->disk.ctx, path, NULL) == 0)
        side->disk_bytes -= side->segment_size;
    free(path);
    return true;
}
