/* What a crash left behind is put in order, and the flush side gets the files it goes on with. */
#include <stdlib.h>

#include "base/mem.h"
#include "wal/internal.h"

/* Stale records behind the cut must not come back to life when new ones are written before them. */
static int zero_rest(struct wal__side *side, uint64_t offset, uint64_t size, struct err *err)
{
    static const uint8_t zeros[WAL__FILL_CHUNK];
    int rc = 0;

    while (rc == 0 && offset < size) {
        size_t n = (size_t)MIN((uint64_t)sizeof(zeros), size - offset);

        rc = side->disk.ops->write(side->disk.ctx, side->file, offset, zeros, n, err);
        offset += n;
    }
    return rc;
}

static int sync_segment(struct wal__side *side, uint64_t number, struct err *err)
{
    char *path = wal__segment_path(side->dir, number);
    struct disk_file *file;
    int rc;

    rc = side->disk.ops->open(side->disk.ctx, path, DISK_WRITE, &file, err);
    if (rc == 0) {
        rc = side->disk.ops->sync(side->disk.ctx, file, err);
        side->disk.ops->close(side->disk.ctx, file);
    }
    free(path);
    return rc;
}

/* What was read may still be only in the kernel's memory, when it was the process that crashed and
 * not the machine: all of it is made durable before anybody builds on it. */
static int repair_tail(struct wal__replay *r, struct err *err)
{
    struct wal__side *side = &r->wal->side;
    uint64_t block = r->offset & ~(uint64_t)(WAL__BLOCK - 1);
    char *path = NULL;
    struct slice bytes;
    int rc;

    rc = wal__view_get(&r->view, block, (size_t)(r->offset - block), &bytes, err);
    if (rc != 0)
        return rc;
    ASSERT(buf_append(&side->out, bytes.data, (size_t)(r->offset - block)) == 0);
    side->out_start = block;

    path = wal__segment_path(side->dir, wal__replay_number(r));
    rc = side->disk.ops->open(side->disk.ctx, path, DISK_WRITE, &side->file, err);
    free(path);
    if (rc != 0) {
        side->file = NULL;
        return rc;
    }
    if (r->verdict == WAL__CUT)
        rc = zero_rest(side, r->offset, r->view.size, err);
    if (rc == 0)
        rc = side->disk.ops->sync(side->disk.ctx, side->file, err);
    if (rc == 0 && r->offset == WAL__DATA_START && r->at > r->start)
        rc = sync_segment(side, r->files->segments[r->at - 1], err);
    if (rc == 0)
        rc = side->disk.ops->sync_dir(side->disk.ctx, side->dir, err);
    return rc;
}

/* The segment behind the tail, made ahead and never written to. */
static int adopt_next(struct wal__replay *r, struct err *err)
{
    struct wal__side *side = &r->wal->side;
    struct wal__segment_header header;
    char *path = NULL;
    int rc;

    if (r->at + 1 == r->files->segments_len)
        return 0;
    rc =
        wal__segment_open(&r->view, side->disk, side->dir, wal__replay_number(r) + 1, &header, err);
    if (rc != 0)
        return rc;
    path = wal__segment_path(side->dir, header.segment.number);
    rc = side->disk.ops->open(side->disk.ctx, path, DISK_WRITE, &side->next.file, err);
    free(path);
    if (rc != 0) {
        side->next.file = NULL;
        return rc;
    }
    side->next.state = WAL__NEXT_READY;
    side->next.segment = header.segment;
    side->next.size = r->view.size;
    return 0;
}

static int add_size(struct wal__side *side, const char *name, uint64_t *out, struct err *err)
{
    struct wal__view view = WAL__VIEW_INIT;
    char *path = wal__path(side->dir, name);
    int rc;

    rc = wal__view_open(&view, side->disk, path, err);
    if (rc == 0) {
        *out = view.size;
        side->disk_bytes += view.size;
    }
    wal__view_release(&view);
    free(path);
    return rc;
}

int wal__count_bytes(struct wal__replay *r, struct err *err)
{
    char name[WAL__NAME_MAX];
    uint64_t size;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < r->files->segments_len; i++) {
        wal__segment_name(name, r->files->segments[i]);
        rc = add_size(&r->wal->side, name, &size, err);
    }
    return rc;
}

static int adopt_spares(struct wal__replay *r, struct err *err)
{
    struct wal__side *side = &r->wal->side;
    char name[WAL__NAME_MAX];
    uint64_t size;
    char *path;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < r->files->spares_len; i++) {
        wal__spare_name(name, r->files->spares[i]);
        rc = add_size(side, name, &size, err);
        if (rc != 0)
            break;
        if (size == side->segment_size && side->spares_len < WAL__SPARES_MAX) {
            side->spares[side->spares_len++] = r->files->spares[i];
            continue;
        }
        path = wal__path(side->dir, name);
        rc = side->disk.ops->unlink(side->disk.ctx, path, err);
        side->disk_bytes -= size;
        free(path);
    }
    return rc;
}

int wal__repair(struct wal__replay *r, struct err *err)
{
    struct wal__side *side = &r->wal->side;
    char *path = NULL;
    int rc;

    rc = repair_tail(r, err);
    if (rc == 0)
        rc = adopt_spares(r, err);
    if (rc == 0 && r->files->tmp) {
        path = wal__path(side->dir, WAL__TMP_NAME);
        rc = side->disk.ops->unlink(side->disk.ctx, path, err);
        free(path);
    }
    for (size_t i = 0; rc == 0 && i < r->files->segments_len; i++)
        if (r->files->segments[i] < r->oldest)
            wal__segment_recycle(side, r->files->segments[i]);
    if (rc == 0)
        rc = adopt_next(r, err);
    return rc;
}
