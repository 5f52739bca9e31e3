/* The owner's side: opening, appending, asking. */
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"
#include "wal/internal.h"

/* ---- opening ---- */

static struct wal *wal_new(const struct wal_options *options)
{
    struct wal *wal = xcalloc(1, sizeof(*wal));
    uint64_t size = options->segment_size == 0 ? WAL__SEGMENT_SIZE : options->segment_size;

    size = (size + WAL__BLOCK - 1) & ~(uint64_t)(WAL__BLOCK - 1);
    wal->disk = options->disk;
    wal->dir = xstrdup(options->dir);
    wal->read_only = options->read_only;
    wal->salvage = options->read_only && options->salvage;
    wal->pending_min = UINT64_MAX;
    buf_init(&wal->pending, WAL__PENDING_MAX);
    buf_init(&wal->idle, WAL__PENDING_MAX);
    wal->side.disk = options->disk;
    wal->side.dir = xstrdup(options->dir);
    wal->side.cluster_id = options->cluster_id;
    wal->side.member_id = options->member_id;
    wal->side.segment_size = MAX(size, (uint64_t)WAL__SEGMENT_SIZE_MIN);
    buf_init(&wal->side.out, 2 * (size_t)WAL_ENTRY_SIZE_MAX);
    return wal;
}

/* The folder's own name must be durable too. */
static int make_dir(struct wal *wal, struct err *err)
{
    const struct disk_ops *ops = wal->disk.ops;
    char *parent = xstrdup(wal->dir);
    char *slash = strrchr(parent, '/');
    int rc;

    if (slash == parent)
        slash[1] = '\0';
    else if (slash != NULL)
        *slash = '\0';
    rc = ops->mkdir(wal->disk.ctx, wal->dir, err);
    if (rc == 0)
        rc = ops->sync_dir(wal->disk.ctx, slash == NULL ? "." : parent, err);
    free(parent);
    return rc;
}

/* Segment 1 is made like any other: it gets its name when it is whole. So if there is no segment,
 * nothing was ever stored here. */
static int create(struct wal *wal, struct err *err)
{
    struct wal__side *side = &wal->side;
    int rc;

    rc = make_dir(wal, err);
    if (rc == 0)
        rc = wal__next_finish(side, err);
    if (rc != 0)
        return rc;
    side->file = side->next.file;
    side->segment = side->next.segment;
    side->file_size = side->next.size;
    free(side->next.path);
    side->next = (struct wal__next){.state = WAL__NEXT_NONE};
    side->out_start = WAL__DATA_START;
    side->synced = WAL__DATA_START;
    side->chain = side->segment.seed;
    side->fresh = true;
    side->pacer.force = true;
    side->oldest = side->drop_next = 1;
    wal__segments_push(&wal->index.segments, &side->segment);
    wal->disk_bytes = side->disk_bytes;
    wal->is_new = true;
    return 0;
}

static int open_files(struct wal *wal, const struct wal__files *files, struct err *err)
{
    if (files->segments_len > 0)
        return wal__recover(wal, files, err);
    if (files->spares_len > 0)
        return err_set(err, KV_ECORRUPT,
                       "%s: all segments are missing, though there were some (spare files exist); "
                       "nothing was changed",
                       wal->dir);
    if (wal->read_only)
        return err_set(err, KV_ENOTFOUND, "%s: there is no log in this folder", wal->dir);
    return create(wal, err);
}

int wal_open(const struct wal_options *options, struct wal **out, struct err *err)
{
    struct wal *wal = wal_new(options);
    struct wal__files files = {.tmp = false};
    struct err local = ERR_INIT;
    int rc;

    rc = wal__files_list(wal->disk, wal->dir, &files, &local);
    if (rc == KV_ENOTFOUND && !wal->read_only)
        rc = 0;
    if (rc == 0)
        rc = open_files(wal, &files, &local);
    if (rc == 0) {
        *out = wal;
        wal = NULL; /* moved to the caller */
    } else if (err != NULL) {
        *err = local;
    }
    wal__files_release(&files);
    wal_close(wal);
    return rc;
}

static void flush_free(struct wal_flush *flush)
{
    if (flush == NULL)
        return;
    buf_release(&flush->records);
    free(flush->points.at);
    free(flush->rolled.at);
    free(flush);
}

void wal_close(struct wal *wal)
{
    if (wal == NULL)
        return;
    flush_free(wal->flush); /* one that failed */
    wal__side_release(&wal->side);
    wal__view_release(&wal->view);
    wal__index_release(&wal->index);
    buf_release(&wal->pending);
    buf_release(&wal->idle);
    free(wal->dir);
    free(wal);
}

/* ---- asking ---- */

void wal_whose(const struct wal *wal, uint64_t *cluster_id, uint64_t *member_id)
{
    *cluster_id = wal->side.cluster_id;
    *member_id = wal->side.member_id;
}

bool wal_is_new(const struct wal *wal)
{
    return wal->is_new;
}

struct wal_hard_state wal_hard_state(const struct wal *wal)
{
    return wal->state;
}

uint64_t wal_first_index(const struct wal *wal)
{
    return wal->first;
}

uint64_t wal_last_index(const struct wal *wal)
{
    return wal->last;
}

uint64_t wal_disk_bytes(const struct wal *wal)
{
    return wal->disk_bytes;
}

uint64_t wal_appended_bytes(const struct wal *wal)
{
    return wal->appended_bytes;
}

uint64_t wal_term(const struct wal *wal, uint64_t index)
{
    if (index == 0 || index < wal->first || index > wal->last)
        return 0;
    return wal__runs_find(&wal->index, index);
}

/* ---- appending ---- */

static uint8_t *append(struct wal *wal, enum wal__type type, uint8_t entry_type, size_t len)
{
    ASSERT(!wal->read_only);
    wal->appended_bytes += wal__record_size((uint32_t)len);
    wal->seq++;
    return wal__record_begin(&wal->pending, type, entry_type, len);
}

uint64_t wal_append_entry(struct wal *wal, const struct wal_entry *entry)
{
    uint8_t *payload;

    ASSERT(entry->index > 0);
    ASSERT(wal->last == 0 || entry->index >= wal->first);
    ASSERT(wal->last == 0 || entry->index <= wal->last + 1);
    ASSERT(entry->data.len <= WAL_ENTRY_SIZE_MAX);

    payload = append(wal, WAL__ENTRY, entry->type, WAL__ENTRY_HEAD + entry->data.len);
    put_le64(payload, entry->index);
    put_le64(payload + 8, entry->term);
    if (entry->data.len > 0)
        memcpy(payload + WAL__ENTRY_HEAD, entry->data.data, entry->data.len);

    wal__runs_put(&wal->index, entry->index, entry->term);
    if (wal->last == 0)
        wal->first = entry->index;
    wal->last = entry->index;
    wal->pending_min = MIN(wal->pending_min, entry->index);
    return wal->seq;
}

uint64_t wal_append_hard_state(struct wal *wal, struct wal_hard_state state)
{
    uint8_t *payload = append(wal, WAL__STATE, 0, 16);

    put_le64(payload, state.term);
    put_le64(payload + 8, state.voted_for);
    wal->state = state;
    return wal->seq;
}

uint64_t wal_append_mark(struct wal *wal)
{
    (void)append(wal, WAL__MARK, 0, 0);
    return wal->seq;
}

uint64_t wal_reset(struct wal *wal)
{
    (void)append(wal, WAL__RESET, 0, 0);
    wal__runs_clear(&wal->index);
    wal->first = wal->last = 0;
    wal->pending_min = 0;
    return wal->seq;
}

/* ---- flushing ---- */

struct wal_flush *wal_flush_begin(struct wal *wal)
{
    struct wal_flush *flush;

    if (wal->flush != NULL || wal->pending.len == 0)
        return NULL;
    flush = xcalloc(1, sizeof(*flush));
    flush->side = &wal->side;
    flush->records = wal->pending;
    flush->bytes = wal->pending.len;
    flush->seq = wal->seq;
    flush->min_index = wal->pending_min;
    flush->keep_bytes = wal->keep_bytes;
    wal->pending = wal->idle;
    buf_init(&wal->idle, WAL__PENDING_MAX);
    wal->pending_min = UINT64_MAX;
    wal->flush = flush;
    return flush;
}

uint64_t wal_flush_end(struct wal *wal, struct wal_flush *flush)
{
    uint64_t seq = flush->seq;

    ASSERT(flush == wal->flush);
    for (size_t i = 0; i < flush->rolled.len; i++)
        wal__segments_push(&wal->index.segments, &flush->rolled.at[i]);
    for (size_t i = 0; i < flush->points.len; i++)
        wal__points_put(&wal->index.points, &flush->points.at[i]);
    wal->flushed_last = flush->last_index;
    wal->disk_bytes = flush->disk_bytes;

    if (flush->records.cap <= WAL__KEEP_CAP) {
        wal->idle = flush->records; /* its memory serves the next batch but one */
        buf_reset(&wal->idle);
        buf_init(&flush->records, WAL__PENDING_MAX);
    }
    wal->flush = NULL;
    flush_free(flush);
    return seq;
}

int wal_flush_sync(struct wal *wal, struct err *err)
{
    struct wal_flush *flush;
    int rc;

    if (wal->flush != NULL && wal->side.failed != 0) {
        if (err != NULL)
            *err = wal->side.failure;
        return wal->side.failed;
    }
    ASSERT(wal->flush == NULL);
    while ((flush = wal_flush_begin(wal)) != NULL) {
        rc = wal_flush_run(flush, err);
        if (rc != 0)
            return rc;
        (void)wal_flush_end(wal, flush);
    }
    return 0;
}

/* ---- dropping ---- */

void wal_keep_spares(struct wal *wal, uint64_t bytes)
{
    wal->keep_bytes = bytes;
}

/* Lowest segment that must stay: entries of a segment are all below the first entry that lives in a
 * later one. 0 if there is nothing to drop. */
static uint64_t oldest_needed(const struct wal *wal, uint64_t index)
{
    const struct wal__points *points = &wal->index.points;
    uint64_t oldest = 0;

    for (size_t i = 0; i < points->len && points->at[i].index <= index; i++)
        oldest = points->at[i].segment;
    if (wal->index.segments.len == 0 || oldest <= wal->index.segments.at[0].number)
        return 0;
    return oldest;
}

void wal_drop_before(struct wal *wal, uint64_t index)
{
    uint64_t oldest;

    if (wal->last != 0 && index > wal->last + 1) {
        (void)wal_reset(wal);
        return;
    }
    oldest = wal->last == 0 ? 0 : oldest_needed(wal, index);
    if (oldest == 0)
        return;
    if (wal->view.file != NULL && wal->view.segment.number < oldest)
        wal__view_close(&wal->view);
    wal__index_drop_segments(&wal->index, oldest);
    /* Points of entries that a pending batch replaces may be lower than what is left. */
    wal->first = MAX(wal->first, wal->index.points.at[0].index);
    wal__index_drop_runs(&wal->index, wal->first);
    put_le64(append(wal, WAL__TRIM, 0, 8), oldest);
}

/* How far into all the segments' bytes a point lies. */
static uint64_t place_of(const struct wal *wal, const struct wal__point *point)
{
    uint64_t ahead = point->segment - wal->index.segments.at[0].number;

    return ahead * wal->side.segment_size + point->offset;
}

uint64_t wal_reserve_index(const struct wal *wal, uint64_t index, uint64_t bytes)
{
    const struct wal__points *points = &wal->index.points;
    size_t at = wal__points_floor(points, index);
    uint64_t end;

    if (at == points->len)
        return wal->first; /* not flushed yet: nothing to measure by */
    end = place_of(wal, &points->at[at]);
    while (at > 0 && end - place_of(wal, &points->at[at - 1]) <= bytes)
        at--;
    return points->at[at].index;
}

uint64_t wal_bytes_behind(const struct wal *wal, uint64_t index)
{
    const struct wal__points *points = &wal->index.points;
    size_t at = wal__points_floor(points, index + 1);

    if (points->len == 0 || index >= wal->last)
        return 0;
    return place_of(wal, &points->at[points->len - 1]) -
           place_of(wal, &points->at[at == points->len ? 0 : at]);
}
