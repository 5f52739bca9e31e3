#include <stdlib.h>

#include "base/mem.h"
#include "wal/internal.h"

int wal__view_open(struct wal__view *view, struct disk disk, const char *path, struct err *err)
{
    int rc;

    wal__view_close(view);
    view->disk = disk;
    view->start = 0;
    view->len = 0;
    view->step = WAL__VIEW_STEP;
    rc = disk.ops->open(disk.ctx, path, DISK_READ, &view->file, err);
    if (rc != 0) {
        view->file = NULL;
        return rc;
    }
    rc = disk.ops->size(disk.ctx, view->file, &view->size, err);
    if (rc != 0)
        wal__view_close(view);
    return rc;
}

void wal__view_close(struct wal__view *view)
{
    if (view->file != NULL)
        view->disk.ops->close(view->disk.ctx, view->file);
    view->file = NULL;
    view->len = 0;
}

void wal__view_release(struct wal__view *view)
{
    wal__view_close(view);
    free(view->data);
    view->data = NULL;
    view->cap = 0;
}

static int fill(struct wal__view *view, uint64_t offset, size_t len, struct err *err)
{
    size_t want = MAX(view->step, len);
    int rc;

    if (view->cap < want) {
        free(view->data);
        view->data = xmalloc(want);
        view->cap = want;
    }
    view->start = offset;
    view->len = 0;
    rc =
        view->disk.ops->read(view->disk.ctx, view->file, offset, view->data, want, &view->len, err);
    if (rc != 0)
        view->len = 0;
    return rc;
}

int wal__view_get(struct wal__view *view, uint64_t offset, size_t len, struct slice *out,
                  struct err *err)
{
    uint64_t end = view->start + view->len;
    int rc;

    if (offset >= view->size)
        len = 0;
    else if (len > view->size - offset)
        len = (size_t)(view->size - offset);
    if (len > 0 && (offset < view->start || offset + len > end)) {
        rc = fill(view, offset, len, err);
        if (rc != 0)
            return rc;
        end = view->start + view->len;
    }
    if (len == 0 || offset >= end)
        *out = slice_of(NULL, 0);
    else
        *out = slice_of(view->data + (offset - view->start), (size_t)(end - offset));
    return 0;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

int wal__look_at(struct wal__view *view, uint64_t offset, uint32_t chain, struct wal__look *out,
                 struct err *err)
{
    size_t block_rest = WAL__BLOCK - (size_t)(offset % WAL__BLOCK);
    struct slice bytes;
    size_t size;
    int rc;

    *out = (struct wal__look){.zero = false};
    rc = wal__view_get(view, offset, WAL__RECORD_HEADER, &bytes, err);
    if (rc != 0)
        return rc;
    if (bytes.len < WAL__RECORD_HEADER ||
        !wal__record_header_ok(bytes.data, &view->segment, offset, &out->record)) {
        rc = wal__view_get(view, offset, block_rest, &bytes, err);
        out->zero = rc == 0 && all_zero(bytes.data, MIN(bytes.len, block_rest));
        return rc;
    }

    out->header_ok = true;
    size = wal__record_size(out->record.len);
    rc = wal__view_get(view, offset, size, &bytes, err);
    if (rc != 0 || bytes.len < size)
        return rc;
    out->body_ok = wal__record_body_ok(bytes.data, &out->record, chain);
    out->payload = bytes.data + WAL__RECORD_HEADER;
    return 0;
}
