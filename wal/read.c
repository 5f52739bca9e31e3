#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "wal/internal.h"

struct walk {
    struct wal *wal;
    size_t point; /* the one we are behind */
    struct wal__cursor at;
    size_t step; /* bytes per read of the disk */
};

/* Flushed entries that an append since then replaces are not there any more. */
static uint64_t readable_last(const struct wal *wal)
{
    uint64_t min = wal->pending_min;

    if (wal->flush != NULL)
        min = MIN(min, wal->flush->min_index);
    if (min == 0)
        return 0;
    return MIN(wal->flushed_last, min - 1);
}

/* Starts at the last point before index, or where an earlier read stopped if that is nearer. A
 * cursor behind the point, in its segment, and not beyond index lies on the same run of entries. */
static void walk_start(struct walk *walk, uint64_t index)
{
    const struct wal *wal = walk->wal;
    const struct wal__point *point;

    walk->point = wal__points_floor(&wal->index.points, index);
    ASSERT(walk->point < wal->index.points.len);
    point = &wal->index.points.at[walk->point];
    walk->at = (struct wal__cursor){.index = point->index,
                                    .segment = point->segment,
                                    .offset = point->offset,
                                    .chain = point->chain};
    for (size_t i = 0; i < WAL__CURSORS; i++) {
        const struct wal__cursor *cursor = &wal->cursors[i];

        if (cursor->index > walk->at.index && cursor->index <= index &&
            cursor->segment == point->segment && cursor->offset > walk->at.offset)
            walk->at = *cursor;
    }
}

static void walk_save(struct walk *walk, uint64_t start)
{
    struct wal *wal = walk->wal;

    /* A sequential reader moves its own cursor on. */
    for (size_t i = 0; i < WAL__CURSORS; i++)
        if (wal->cursors[i].index == start) {
            wal->cursors[i] = walk->at;
            return;
        }
    wal->cursors[wal->cursor_next++ % WAL__CURSORS] = walk->at;
}

static int walk_corrupt(const struct walk *walk, const char *what, struct err *err)
{
    char *path = wal__segment_path(walk->wal->dir, walk->at.segment);

    (void)err_set(err, KV_ECORRUPT,
                  "%s: offset %" PRIu64 ": %s where entry %" PRIu64
                  " should be found; the next start heals this member from the others, if it can",
                  path, walk->at.offset, what, walk->at.index);
    free(path);
    return KV_ECORRUPT;
}

static int view_segment(struct walk *walk, struct err *err)
{
    struct wal *wal = walk->wal;
    const struct wal__segment *segment;
    char *path;
    int rc;

    if (wal->view.file != NULL && wal->view.segment.number == walk->at.segment)
        return 0;
    segment = wal__segments_find(&wal->index.segments, walk->at.segment);
    ASSERT(segment != NULL);
    path = wal__segment_path(wal->dir, walk->at.segment);
    rc = wal__view_open(&wal->view, wal->disk, path, err);
    free(path);
    if (rc != 0)
        return rc;
    wal->view.segment = *segment;
    wal->view.size = INT64_MAX; /* it may still grow; reads stop at the end by themselves */
    wal->view.step = walk->step;
    return 0;
}

/* Moves to the next entry. On 0, entry (which lives in the view) is the one at walk->at.index - 1.
 */
static int walk_next(struct walk *walk, struct wal_entry *entry, struct err *err)
{
    const struct wal__points *points = &walk->wal->index.points;
    struct wal__look look;
    int rc;

    if (walk->point + 1 < points->len && points->at[walk->point + 1].index == walk->at.index) {
        const struct wal__point *point = &points->at[++walk->point];

        walk->at.segment = point->segment;
        walk->at.offset = point->offset;
        walk->at.chain = point->chain;
    }
    rc = view_segment(walk, err);
    if (rc != 0)
        return rc;
    for (;;) {
        rc = wal__look_at(&walk->wal->view, walk->at.offset, walk->at.chain, &look, err);
        if (rc != 0)
            return rc;
        if (!look.header_ok || !look.body_ok)
            return walk_corrupt(walk, "damage", err);
        if (look.record.type == WAL__ENTRY)
            break;
        if (look.record.type == WAL__SEAL)
            return walk_corrupt(walk, "the end of the segment", err);
        walk->at.offset += wal__record_size(look.record.len);
        walk->at.chain = look.record.chain;
    }
    entry->index = get_le64(look.payload);
    entry->term = get_le64(look.payload + 8);
    entry->type = look.record.entry_type;
    entry->data =
        slice_of(look.payload + WAL__ENTRY_HEAD, look.record.len - (size_t)WAL__ENTRY_HEAD);
    if (entry->index != walk->at.index)
        return walk_corrupt(walk, "another entry", err);
    walk->at.index++;
    walk->at.offset += wal__record_size(look.record.len);
    walk->at.chain = look.record.chain;
    return 0;
}

int wal_read(struct wal *wal, uint64_t index, uint64_t bytes_max, wal_visit visit, void *ctx,
             struct err *err)
{
    struct walk walk = {.wal = wal};
    struct wal__cursor before;
    struct wal_entry entry;
    uint64_t last = readable_last(wal);
    uint64_t visited = 0;
    int rc = 0;

    if (index == 0 || index < wal->first || index > last)
        return err_set(err, KV_ENOTFOUND, "entry %" PRIu64 " is not in the log", index);
    /* From a point to the first entry it may be some way. */
    walk.step = (size_t)MIN(MIN(bytes_max, WAL__VIEW_STEP) + WAL__POINT_EVERY, WAL__VIEW_STEP);
    wal->view.step = walk.step;
    wal->view.len = 0; /* what was read then may have changed since */
    walk_start(&walk, index);
    while (rc == 0 && walk.at.index <= last) {
        before = walk.at;
        rc = walk_next(&walk, &entry, err);
        if (rc != 0)
            return rc;
        if (entry.index < index)
            continue;
        if (entry.index > index && entry.data.len > bytes_max - visited) {
            walk.at = before;
            break;
        }
        rc = visit(ctx, &entry);
        visited += MIN(entry.data.len, bytes_max - visited);
    }
    walk_save(&walk, index);
    return rc;
}
