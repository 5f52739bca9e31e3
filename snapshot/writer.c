#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "base/pace.h"
#include "snapshot/internal.h"

enum {
    WRITE_SIZE = 1 << 20,     /* collected before it is written */
    WRITEBACK_SIZE = 4 << 20, /* written before the disk is asked to take it */
};

struct snapshot_writer {
    struct disk disk;
    char *dir;
    char *path; /* as long as it has no name */
    struct disk_file *file;
    uint64_t index, term;
    uint32_t file_id;
    struct buf out;
    uint64_t written;    /* bytes of the file before out */
    uint64_t given_back; /* before here the disk has it already, most likely */
    struct snapshot__totals totals;
    struct pace pace;
    int failed;
    struct err failure;
    bool committed;
};

static int fail(struct snapshot_writer *writer, int rc, const struct err *local, struct err *err)
{
    if (writer->failed == 0) {
        writer->failed = rc;
        writer->failure = *local;
    }
    if (err != NULL)
        *err = writer->failure;
    return writer->failed;
}

/* ---- pace ---- */

/* Small pieces, one after the other: a sync of the log never finds much of ours in its way, and the
 * page cache keeps what others need. */
static void give_back(struct snapshot_writer *writer, bool all)
{
    uint64_t len = writer->written - writer->given_back;

    if (writer->disk.ops->writeback == NULL || len == 0 || (!all && len < WRITEBACK_SIZE))
        return;
    writer->disk.ops->writeback(writer->disk.ctx, writer->file, writer->given_back, len);
    writer->given_back = writer->written;
}

/* ---- writing ---- */

static int write_out(struct snapshot_writer *writer, struct err *err)
{
    int rc;

    if (writer->out.len == 0)
        return 0;
    FAILPOINT("checkpoint-write");
    rc = writer->disk.ops->write(writer->disk.ctx, writer->file, writer->written, writer->out.data,
                                 writer->out.len, err);
    if (rc != 0)
        return rc;
    writer->written += writer->out.len;
    give_back(writer, false);
    pace_wait(&writer->pace, writer->out.len);
    buf_reset(&writer->out);
    return 0;
}

uint32_t snapshot__block_crc(uint32_t file_id, uint64_t offset, const uint8_t *head,
                             struct slice payload)
{
    uint8_t place[12];
    uint32_t crc;

    put_le32(place, file_id);
    put_le64(place + 4, offset);
    crc = crc32c_extend(0, place, sizeof place);
    crc = crc32c_extend(crc, head, SNAPSHOT__BLOCK_HEADER - 4);
    return payload.len == 0 ? crc : crc32c_extend(crc, payload.data, payload.len);
}

void snapshot__count(struct snapshot__totals *totals, uint32_t items, uint32_t crc)
{
    uint8_t bytes[4];

    put_le32(bytes, crc);
    totals->checksum = crc32c_extend(totals->checksum, bytes, sizeof bytes);
    totals->blocks++;
    totals->items += items;
}

static uint32_t put_block(struct snapshot_writer *writer, uint8_t kind, struct slice payload,
                          uint32_t items)
{
    uint8_t head[SNAPSHOT__BLOCK_HEADER] = {0};
    uint32_t crc;

    put_le32(head, (uint32_t)payload.len);
    head[4] = kind;
    put_le32(head + 8, items);
    crc = snapshot__block_crc(writer->file_id, writer->written + writer->out.len, head, payload);
    put_le32(head + 12, crc);
    ASSERT(buf_append(&writer->out, head, sizeof head) == 0);
    if (payload.len > 0)
        ASSERT(buf_append(&writer->out, payload.data, payload.len) == 0);
    return crc;
}

int snapshot_writer_add(struct snapshot_writer *writer, uint8_t kind, struct slice payload,
                        uint32_t items, struct err *err)
{
    struct err local = ERR_INIT;
    int rc;

    ASSERT(kind <= SNAPSHOT_KIND_MAX);
    ASSERT(payload.len <= SNAPSHOT_BLOCK_SIZE_MAX);
    ASSERT(!writer->committed);
    if (writer->failed != 0)
        return fail(writer, writer->failed, &writer->failure, err);
    snapshot__count(&writer->totals, items, put_block(writer, kind, payload, items));
    if (writer->out.len < WRITE_SIZE)
        return 0;
    rc = write_out(writer, &local);
    return rc == 0 ? 0 : fail(writer, rc, &local, err);
}

/* ---- beginning ---- */

static int check_meta(const struct snapshot_meta *meta, struct err *err)
{
    if (meta->index == 0 || meta->term == 0 || meta->configuration_index == 0 ||
        meta->configuration_index > meta->index || meta->configuration.len == 0 ||
        meta->configuration.len > SNAPSHOT_CONFIGURATION_MAX)
        return err_set(err, KV_EINVAL, "checkpoint: index, term or configuration make no sense");
    return 0;
}

static void put_header(struct snapshot_writer *writer, const struct snapshot_meta *meta)
{
    uint8_t head[SNAPSHOT__HEADER_SIZE] = {0};
    uint8_t tail[4];

    memcpy(head, SNAPSHOT__MAGIC, SNAPSHOT__MAGIC_SIZE);
    put_le32(head + 8, SNAPSHOT__VERSION);
    put_le32(head + 12, (uint32_t)meta->configuration.len);
    put_le64(head + 16, meta->cluster_id);
    put_le64(head + 24, meta->member_id);
    put_le64(head + 32, meta->index);
    put_le64(head + 40, meta->term);
    put_le64(head + 48, meta->configuration_index);
    ASSERT(buf_append(&writer->out, head, sizeof head) == 0);
    ASSERT(buf_append(&writer->out, meta->configuration.data, meta->configuration.len) == 0);
    writer->file_id = crc32c_extend(0, writer->out.data, writer->out.len);
    put_le32(tail, writer->file_id);
    ASSERT(buf_append(&writer->out, tail, sizeof tail) == 0);
}

/* Its content is overwritten, and what it had beyond that cut off. */
static int create(struct snapshot_writer *writer, struct err *err)
{
    const struct disk_ops *ops = writer->disk.ops;
    int rc =
        ops->open(writer->disk.ctx, writer->path, DISK_WRITE | DISK_CREATE, &writer->file, err);

    if (rc != KV_EEXIST)
        return rc;
    rc = ops->unlink(writer->disk.ctx, writer->path, err);
    if (rc == 0)
        rc =
            ops->open(writer->disk.ctx, writer->path, DISK_WRITE | DISK_CREATE, &writer->file, err);
    return rc;
}

int snapshot_writer_open(const struct snapshot_write_options *options,
                         const struct snapshot_meta *meta, struct snapshot_writer **out,
                         struct err *err)
{
    struct snapshot_writer *writer;
    int rc = check_meta(meta, err);

    if (rc != 0)
        return rc;
    writer = xcalloc(1, sizeof *writer);
    writer->disk = options->disk;
    writer->dir = xstrdup(options->dir);
    writer->path = xasprintf("%s/%s", options->dir, SNAPSHOT__TMP_NAME);
    writer->index = meta->index;
    writer->term = meta->term;
    pace_init(&writer->pace, options->bytes_per_second);
    buf_init(&writer->out, 2 * (size_t)SNAPSHOT_BLOCK_SIZE_MAX);
    rc = create(writer, err);
    if (rc != 0) {
        writer->file = NULL;
        snapshot_writer_close(writer);
        return rc;
    }
    FAILPOINT("checkpoint-open");
    put_header(writer, meta);
    *out = writer;
    return 0;
}

/* ---- the end ---- */

static void put_footer(struct snapshot_writer *writer)
{
    uint8_t footer[SNAPSHOT__FOOTER_SIZE];

    put_le64(footer, writer->totals.blocks);
    put_le64(footer + 8, writer->totals.items);
    put_le64(footer + 16,
             writer->written + writer->out.len + SNAPSHOT__BLOCK_HEADER + SNAPSHOT__FOOTER_SIZE);
    put_le32(footer + 24, writer->totals.checksum);
    (void)put_block(writer, SNAPSHOT__FOOTER_KIND, slice_of(footer, sizeof footer), 0);
}

static int commit(struct snapshot_writer *writer, struct err *err)
{
    int rc;

    put_footer(writer);
    rc = write_out(writer, err);
    if (rc != 0)
        return rc;
    give_back(writer, true);
    FAILPOINT("checkpoint-sync");
    rc = writer->disk.ops->sync(writer->disk.ctx, writer->file, err);
    if (rc == 0)
        rc = snapshot__rename(writer->disk, writer->dir, writer->path, writer->index, writer->term,
                              err);
    writer->committed = rc == 0;
    return rc;
}

int snapshot_writer_commit(struct snapshot_writer *writer, struct err *err)
{
    struct err local = ERR_INIT;
    int rc;

    ASSERT(!writer->committed);
    if (writer->failed != 0)
        return fail(writer, writer->failed, &writer->failure, err);
    rc = commit(writer, &local);
    return rc == 0 ? 0 : fail(writer, rc, &local, err);
}

uint64_t snapshot_writer_bytes(const struct snapshot_writer *writer)
{
    return writer->written + writer->out.len;
}

void snapshot_writer_close(struct snapshot_writer *writer)
{
    if (writer == NULL)
        return;
    if (writer->file != NULL) {
        writer->disk.ops->close(writer->disk.ctx, writer->file);
        if (!writer->committed) /* what stays is overwritten by the next, or removed at start */
            (void)writer->disk.ops->unlink(writer->disk.ctx, writer->path, NULL);
    }
    buf_release(&writer->out);
    free(writer->path);
    free(writer->dir);
    free(writer);
}
