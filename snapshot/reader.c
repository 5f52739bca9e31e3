#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "snapshot/internal.h"

enum { READ_SIZE = 1 << 20 };

struct snapshot_reader {
    struct disk disk;
    struct disk_file *file;
    char *path;
    uint64_t size;
    struct snapshot_meta meta; /* its configuration lives in head */
    uint8_t *head;
    uint32_t file_id;
    uint64_t offset; /* of what comes next */
    struct snapshot__totals totals;
    bool ended;

    uint8_t *window; /* bytes of the file from window_start on */
    size_t window_len, window_cap;
    uint64_t window_start;
};

static int corrupt(const struct snapshot_reader *reader, uint64_t offset, const char *what,
                   struct err *err)
{
    return err_set(err, KV_ECORRUPT, "checkpoint %s: offset %" PRIu64 ": %s", reader->path, offset,
                   what);
}

/* len bytes at offset, valid until the next call; the file is that long. */
static int get(struct snapshot_reader *reader, uint64_t offset, size_t len, const uint8_t **out,
               struct err *err)
{
    size_t got = 0;
    int rc;

    if (offset < reader->window_start || offset + len > reader->window_start + reader->window_len) {
        size_t want = (size_t)MIN(MAX((uint64_t)len, (uint64_t)READ_SIZE), reader->size - offset);

        if (want > reader->window_cap) {
            free(reader->window);
            reader->window = xmalloc(want);
            reader->window_cap = want;
        }
        reader->window_len = 0;
        rc = reader->disk.ops->read(reader->disk.ctx, reader->file, offset, reader->window, want,
                                    &got, err);
        if (rc != 0)
            return rc;
        if (got < len)
            return corrupt(reader, offset + got, "it ends in the middle of a block", err);
        reader->window_start = offset;
        reader->window_len = got;
    }
    *out = reader->window + (offset - reader->window_start);
    return 0;
}

static bool has(const struct snapshot_reader *reader, uint64_t offset, uint64_t len)
{
    return offset <= reader->size && len <= reader->size - offset;
}

/* ---- header ---- */

static int check_head(struct snapshot_reader *reader, const uint8_t *head, struct err *err)
{
    uint32_t version = get_le32(head + 8);

    if (memcmp(head, SNAPSHOT__MAGIC, SNAPSHOT__MAGIC_SIZE) != 0)
        return corrupt(reader, 0, "this is no checkpoint: it begins with something else", err);
    if (version != SNAPSHOT__VERSION)
        return err_set(err, KV_EMISMATCH,
                       "checkpoint %s has format version %" PRIu32
                       ", this program knows %d: it was written by a newer kvd, use that",
                       reader->path, version, SNAPSHOT__VERSION);
    if (get_le32(head + 12) == 0 || get_le32(head + 12) > SNAPSHOT_CONFIGURATION_MAX)
        return corrupt(reader, 12, "the configuration has an impossible length", err);
    return 0;
}

static void take_meta(struct snapshot_reader *reader, size_t configuration_len)
{
    const uint8_t *head = reader->head;

    reader->meta = (struct snapshot_meta){
        .cluster_id = get_le64(head + 16),
        .member_id = get_le64(head + 24),
        .index = get_le64(head + 32),
        .term = get_le64(head + 40),
        .configuration_index = get_le64(head + 48),
        .configuration = slice_of(head + SNAPSHOT__HEADER_SIZE, configuration_len),
    };
}

static int read_header(struct snapshot_reader *reader, struct err *err)
{
    const struct snapshot_meta *meta = &reader->meta;
    const uint8_t *head;
    size_t len;
    int rc;

    if (!has(reader, 0, SNAPSHOT__HEADER_SIZE))
        return corrupt(reader, reader->size,
                       reader->size == 0 ? "it is empty" : "it ends in its header", err);
    rc = get(reader, 0, SNAPSHOT__HEADER_SIZE, &head, err);
    if (rc == 0)
        rc = check_head(reader, head, err);
    if (rc != 0)
        return rc;
    len = SNAPSHOT__HEADER_SIZE + get_le32(head + 12);
    if (!has(reader, 0, len + 4))
        return corrupt(reader, reader->size, "it ends in its header", err);
    rc = get(reader, 0, len + 4, &head, err);
    if (rc != 0)
        return rc;
    reader->file_id = crc32c_extend(0, head, len);
    if (get_le32(head + len) != reader->file_id)
        return corrupt(reader, 0, "bad checksum of the header", err);
    reader->head = xmemdup(head, len);
    take_meta(reader, len - SNAPSHOT__HEADER_SIZE);
    if (meta->index == 0 || meta->term == 0 || meta->configuration_index == 0 ||
        meta->configuration_index > meta->index)
        return corrupt(reader, 32, "index, term or configuration make no sense", err);
    reader->offset = len + 4;
    return 0;
}

int snapshot_open(struct disk disk, const char *path, struct snapshot_reader **out, struct err *err)
{
    struct snapshot_reader *reader = xcalloc(1, sizeof *reader);
    int rc;

    reader->disk = disk;
    reader->path = xstrdup(path);
    rc = disk.ops->open(disk.ctx, path, DISK_READ, &reader->file, err);
    if (rc != 0)
        reader->file = NULL;
    if (rc == 0)
        rc = disk.ops->size(disk.ctx, reader->file, &reader->size, err);
    if (rc == 0)
        rc = read_header(reader, err);
    if (rc != 0) {
        snapshot_close(reader);
        return rc;
    }
    *out = reader;
    return 0;
}

void snapshot_close(struct snapshot_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->file != NULL)
        reader->disk.ops->close(reader->disk.ctx, reader->file);
    free(reader->window);
    free(reader->head);
    free(reader->path);
    free(reader);
}

const struct snapshot_meta *snapshot_meta(const struct snapshot_reader *reader)
{
    return &reader->meta;
}

uint64_t snapshot_size(const struct snapshot_reader *reader)
{
    return reader->size;
}

uint32_t snapshot_id(const struct snapshot_reader *reader)
{
    return reader->file_id;
}

/* ---- blocks ---- */

static int check_footer(struct snapshot_reader *reader, const struct snapshot_block *block,
                        struct err *err)
{
    const uint8_t *footer = block->payload.data;

    if (block->payload.len != SNAPSHOT__FOOTER_SIZE)
        return corrupt(reader, reader->offset, "the footer has an impossible length", err);
    if (get_le64(footer) != reader->totals.blocks || get_le64(footer + 8) != reader->totals.items ||
        get_le32(footer + 24) != reader->totals.checksum)
        return corrupt(reader, reader->offset, "the footer contradicts the blocks before it", err);
    reader->offset += SNAPSHOT__BLOCK_HEADER + SNAPSHOT__FOOTER_SIZE;
    if (get_le64(footer + 16) != reader->size || reader->offset != reader->size)
        return corrupt(reader, reader->offset, "something follows the footer", err);
    reader->ended = true;
    return 0;
}

/* The block at reader->offset, verified. */
static int read_block(struct snapshot_reader *reader, struct snapshot_block *out, uint32_t *crc,
                      struct err *err)
{
    const uint8_t *bytes;
    size_t len;
    int rc;

    if (!has(reader, reader->offset, SNAPSHOT__BLOCK_HEADER))
        return corrupt(reader, reader->offset, "it ends without a footer", err);
    rc = get(reader, reader->offset, SNAPSHOT__BLOCK_HEADER, &bytes, err);
    if (rc != 0)
        return rc;
    len = get_le32(bytes);
    if (len > SNAPSHOT_BLOCK_SIZE_MAX)
        return corrupt(reader, reader->offset, "a block has an impossible length", err);
    if (!has(reader, reader->offset, SNAPSHOT__BLOCK_HEADER + len))
        return corrupt(reader, reader->offset, "it ends in the middle of a block", err);
    rc = get(reader, reader->offset, SNAPSHOT__BLOCK_HEADER + len, &bytes, err);
    if (rc != 0)
        return rc;
    out->kind = bytes[4];
    out->items = get_le32(bytes + 8);
    out->payload = slice_of(bytes + SNAPSHOT__BLOCK_HEADER, len);
    *crc = get_le32(bytes + 12);
    if (*crc != snapshot__block_crc(reader->file_id, reader->offset, bytes, out->payload))
        return corrupt(reader, reader->offset, "bad checksum of a block", err);
    return 0;
}

int snapshot_next(struct snapshot_reader *reader, struct snapshot_block *out, struct err *err)
{
    uint32_t crc = 0;
    int rc;

    if (reader->ended)
        return 0;
    rc = read_block(reader, out, &crc, err);
    if (rc != 0)
        return rc;
    if (out->kind == SNAPSHOT__FOOTER_KIND)
        return check_footer(reader, out, err);
    snapshot__count(&reader->totals, out->items, crc);
    reader->offset += SNAPSHOT__BLOCK_HEADER + out->payload.len;
    return 1;
}

int snapshot_verify(struct disk disk, const char *path, struct err *err)
{
    struct snapshot_reader *reader;
    struct snapshot_block block;
    int rc = snapshot_open(disk, path, &reader, err);

    if (rc != 0)
        return rc;
    while ((rc = snapshot_next(reader, &block, err)) == 1)
        ;
    snapshot_close(reader);
    return rc;
}
