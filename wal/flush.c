/* The flush side: gives each record its place and checksums, writes, syncs.
 *
 * Writes are whole blocks: the block that the last flush ended in is kept in memory and written
 * again with what follows, so that no write makes the kernel read first. Sectors that were durable
 * get the same bytes again. */
#include <stdlib.h>

#include "base/codec.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "wal/internal.h"

/* Writes the whole blocks of out, or with pad all of it, the last block filled up with zeros; keeps
 * the block that is not full. */
static int out_write(struct wal__side *side, bool pad, struct err *err)
{
    struct buf *out = &side->out;
    size_t whole = out->len & ~(size_t)(WAL__BLOCK - 1);
    size_t n = whole;
    int rc;

    if (pad && out->len > whole) {
        n = whole + WAL__BLOCK;
        ASSERT(buf_reserve(out, n - out->len) == 0);
        memset(out->data + out->len, 0, n - out->len);
    }
    if (n == 0)
        return 0;
    rc = side->disk.ops->write(side->disk.ctx, side->file, side->out_start, out->data, n, err);
    if (rc != 0)
        return rc;
    if (side->out_start + n > side->file_size) {
        side->disk_bytes += side->out_start + n - side->file_size;
        side->file_size = side->out_start + n;
    }
    buf_consume(out, whole);
    side->out_start += whole;
    return 0;
}

/* The disk has it when this returns 0. */
static int out_sync(struct wal__side *side, struct err *err)
{
    int rc;

    FAILPOINT("wal-write");
    rc = out_write(side, true, err);
    FAILPOINT("wal-sync");
    if (rc == 0)
        rc = side->disk.ops->sync(side->disk.ctx, side->file, err);
    FAILPOINT("wal-synced");
    if (rc == 0)
        side->synced = wal__side_tail(side);
    return rc;
}

/* Puts the record that starts at `at` in out (and is its last) in its place. */
static void finish_last(struct wal__side *side, size_t at)
{
    wal__record_finish(side->out.data + at, &side->segment, side->out_start + at, side->synced,
                       &side->chain);
}

static void put_head(struct wal__side *side)
{
    struct wal__head head = {
        .prev_end = side->prev_end,
        .prev_chain = side->prev_chain,
        .state = side->state,
        .last_index = side->pacer.last_index,
        .oldest = side->oldest,
    };
    size_t at = side->out.len;

    wal__head_encode(&head, wal__record_begin(&side->out, WAL__HEAD, 0, WAL__HEAD_SIZE));
    finish_last(side, at);
    side->fresh = false;
    side->pacer.force = true;
}

/* Ends this segment and goes on in the next. The old one is synced before anything is written to
 * the new one, so that a record there proves the old one whole. */
static int roll(struct wal_flush *flush, struct err *err)
{
    struct wal__side *side = flush->side;
    size_t at;
    int rc;

    rc = wal__next_finish(side, err);
    if (rc != 0)
        return rc;
    at = side->out.len;
    (void)wal__record_begin(&side->out, WAL__SEAL, 0, 0);
    finish_last(side, at);
    rc = out_sync(side, err);
    if (rc != 0)
        return rc;

    side->disk.ops->close(side->disk.ctx, side->file);
    side->prev_end = wal__side_tail(side);
    side->prev_chain = side->chain;
    side->file = side->next.file;
    side->segment = side->next.segment;
    side->file_size = side->next.size;
    side->chain = side->segment.seed;
    side->synced = WAL__DATA_START;
    side->out_start = WAL__DATA_START;
    side->fresh = true;
    buf_reset(&side->out);
    free(side->next.path);
    side->next = (struct wal__next){.state = WAL__NEXT_NONE};
    wal__segments_push(&flush->rolled, &side->segment);
    return 0;
}

/* Room is kept for the seal. A record too large for any segment makes its own one longer. */
static bool fits(const struct wal__side *side, size_t size)
{
    uint64_t tail = wal__side_tail(side);
    uint64_t first = WAL__DATA_START + wal__record_size(WAL__HEAD_SIZE);

    return tail <= first || tail + size + wal__record_size(0) <= side->segment_size;
}

/* What a record means for the next head and for the owner's index; chain: before the record. */
static void note(struct wal_flush *flush, const uint8_t *bytes, uint64_t offset, uint32_t chain)
{
    struct wal__side *side = flush->side;
    const uint8_t *payload = bytes + WAL__RECORD_HEADER;
    struct wal__point point = {.segment = side->segment.number, .offset = offset, .chain = chain};
    struct wal__record record;

    wal__record_peek(bytes, &record);
    switch (record.type) {
    case WAL__ENTRY:
        point.index = get_le64(payload);
        if (wal__pacer_entry(&side->pacer, point.index, offset))
            wal__points_push(&flush->points, &point);
        break;
    case WAL__STATE:
        side->state.term = get_le64(payload);
        side->state.voted_for = get_le64(payload + 8);
        break;
    case WAL__TRIM:
        side->oldest = get_le64(payload);
        break;
    case WAL__RESET:
        side->pacer = (struct wal__pacer){.force = true};
        wal__points_push(&flush->points, &point);
        break;
    default:
        break;
    }
}

static int put_record(struct wal_flush *flush, const uint8_t *bytes, size_t size, struct err *err)
{
    struct wal__side *side = flush->side;
    uint32_t chain;
    size_t at;
    int rc;

    if (!fits(side, size)) {
        rc = roll(flush, err);
        if (rc != 0)
            return rc;
    }
    if (side->fresh)
        put_head(side);
    at = side->out.len;
    chain = side->chain;
    ASSERT(buf_append(&side->out, bytes, size) == 0);
    finish_last(side, at);
    note(flush, side->out.data + at, side->out_start + at, chain);
    if (side->out.len >= WAL__OUT_CHUNK)
        return out_write(side, false, err);
    return 0;
}

static int run(struct wal_flush *flush, struct err *err)
{
    struct slice rest = buf_slice(&flush->records);
    struct wal__record record;
    size_t size;
    int rc;

    while (rest.len > 0) {
        wal__record_peek(rest.data, &record);
        size = wal__record_size(record.len);
        rc = put_record(flush, rest.data, size, err);
        if (rc != 0)
            return rc;
        rest = slice_of(rest.data + size, rest.len - size);
    }
    return out_sync(flush->side, err);
}

/* At most one: the caller is waiting. */
static bool recycle_one(struct wal__side *side)
{
    if (side->drop_next >= side->oldest)
        return false;
    wal__segment_recycle(side, side->drop_next++);
    return true;
}

/* Memory that only a huge record needed. */
static void out_shrink(struct wal__side *side)
{
    struct buf small;

    if (side->out.cap <= 4 * WAL__OUT_CHUNK)
        return;
    buf_init(&small, side->out.size_max);
    ASSERT(buf_append(&small, side->out.data, side->out.len) == 0);
    buf_release(&side->out);
    side->out = small;
}

int wal_flush_run(struct wal_flush *flush, struct err *err)
{
    struct wal__side *side = flush->side;
    struct err local = ERR_INIT;
    int rc;

    if (side->failed != 0) {
        if (err != NULL)
            *err = side->failure;
        return side->failed;
    }
    side->keep_bytes = flush->keep_bytes;
    rc = run(flush, &local);
    if (rc != 0) {
        if (err != NULL)
            *err = local;
        return wal__side_fail(side, rc, &local);
    }
    out_shrink(side);
    (void)recycle_one(side);
    flush->last_index = side->pacer.last_index;
    flush->disk_bytes = side->disk_bytes;
    return 0;
}

int wal_upkeep(struct wal *wal, struct err *err)
{
    struct wal__side *side = &wal->side;
    struct err local = ERR_INIT;
    int rc;

    ASSERT(!wal->read_only);
    if (side->failed != 0) {
        if (err != NULL)
            *err = side->failure;
        return side->failed;
    }
    if (recycle_one(side) || wal__spare_remove(side))
        return 1;
    rc = wal__next_step(side, true, &local);
    if (rc < 0 && err != NULL)
        *err = local;
    return rc;
}
