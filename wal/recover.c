/* Reading the log from start to end at start-up. Everything is looked at and decided here; only if
 * all is well does repair.c change anything. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"
#include "wal/internal.h"

#define REPAIR_HINT "; nothing was changed"

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

int wal__files_list(struct disk disk, const char *dir, struct wal__files *out, struct err *err)
{
    char **names = NULL;
    size_t len = 0;
    uint64_t number;
    int rc;

    *out = (struct wal__files){.tmp = false};
    rc = disk.ops->list(disk.ctx, dir, &names, &len, err);
    if (rc != 0)
        return rc;
    out->segments = xcalloc(len + 1, sizeof(*out->segments));
    out->spares = xcalloc(len + 1, sizeof(*out->spares));
    for (size_t i = 0; i < len; i++) {
        if (wal__name_parse(names[i], ".wal", &number))
            out->segments[out->segments_len++] = number;
        else if (wal__name_parse(names[i], ".spare", &number))
            out->spares[out->spares_len++] = number;
        else if (strcmp(names[i], WAL__TMP_NAME) == 0)
            out->tmp = true;
    }
    disk_free_names(names, len);
    qsort(out->segments, out->segments_len, sizeof(*out->segments), compare_numbers);
    return 0;
}

void wal__files_release(struct wal__files *files)
{
    free(files->segments);
    free(files->spares);
}

int wal__segment_open(struct wal__view *view, struct disk disk, const char *dir, uint64_t number,
                      struct wal__segment_header *out, struct err *err)
{
    char *path = wal__segment_path(dir, number);
    const char *what = NULL;
    struct slice bytes;
    int rc;

    rc = wal__view_open(view, disk, path, err);
    if (rc == 0)
        rc = wal__view_get(view, 0, WAL__BLOCK, &bytes, err);
    if (rc != 0)
        goto out;
    rc = wal__header_decode(bytes.data, bytes.len, out, &what);
    if (rc == 0 && out->segment.number != number) {
        what = "the header of another segment";
        rc = KV_ECORRUPT;
    }
    if (rc != 0)
        rc = err_set(err, rc, "%s: offset 0: %s%s", path, what,
                     rc == KV_ECORRUPT ? REPAIR_HINT : "");
    else
        view->segment = out->segment;
out:
    free(path);
    return rc;
}

static int check_ids(struct wal *wal, uint64_t number, const struct wal__segment_header *header,
                     struct err *err)
{
    struct wal__side *side = &wal->side;

    if (side->cluster_id == 0 && side->member_id == 0) {
        side->cluster_id = header->cluster_id;
        side->member_id = header->member_id;
    }
    if (side->cluster_id == header->cluster_id && side->member_id == header->member_id)
        return 0;
    return err_set(err, KV_EMISMATCH,
                   "%s: segment %" PRIu64 " belongs to cluster %016" PRIx64 " member %016" PRIx64
                   ", this is cluster %016" PRIx64 " member %016" PRIx64,
                   wal->dir, number, header->cluster_id, header->member_id, side->cluster_id,
                   side->member_id);
}

static int corrupt(const struct wal__replay *r, const char *what, struct err *err)
{
    char *path = wal__segment_path(r->wal->dir, wal__replay_number(r));

    (void)err_set(err, KV_ECORRUPT, "%s: offset %" PRIu64 ": %s" REPAIR_HINT, path, r->offset,
                  what);
    free(path);
    return KV_ECORRUPT;
}

static int missing(const struct wal__replay *r, uint64_t number, struct err *err)
{
    char *path = wal__segment_path(r->wal->dir, number);

    (void)err_set(err, KV_ECORRUPT, "%s: this segment is missing" REPAIR_HINT, path);
    free(path);
    return KV_ECORRUPT;
}

/* ---- applying one record; NULL, or what is wrong with it ---- */

static const char *apply_head(struct wal__replay *r, const struct wal__look *look)
{
    struct wal *wal = r->wal;
    struct wal__head head;

    wal__head_decode(look->payload, &head);
    r->pacer.force = true;
    if (!r->has_head) {
        r->has_head = true;
        wal->state = head.state;
        wal->last = head.last_index;
        r->pacer.last_index = head.last_index;
        r->oldest = head.oldest;
        return NULL;
    }
    if (head.prev_end != r->prev_end || head.prev_chain != r->prev_chain)
        return "does not continue the segment before it";
    if (head.state.term != wal->state.term || head.state.voted_for != wal->state.voted_for ||
        head.last_index != wal->last || head.oldest != r->oldest)
        return "disagrees with the segments before it";
    return NULL;
}

static const char *apply_entry(struct wal__replay *r, const struct wal__look *look)
{
    struct wal *wal = r->wal;
    uint64_t index = get_le64(look->payload);
    uint64_t term = get_le64(look->payload + 8);
    struct wal__point point = {
        .index = index,
        .segment = wal__replay_number(r),
        .offset = look->record.offset,
        .chain = r->chain,
    };

    if (index == 0 || (wal->last != 0 && index > wal->last + 1))
        return "an entry whose index does not follow";
    if (wal__pacer_entry(&r->pacer, index, point.offset))
        wal__points_put(&wal->index.points, &point);
    wal__runs_put(&wal->index, index, term);
    if (wal->first == 0 || index < wal->first)
        wal->first = index;
    wal->last = index;
    return NULL;
}

static const char *apply(struct wal__replay *r, const struct wal__look *look)
{
    struct wal *wal = r->wal;

    if ((look->record.type == WAL__HEAD) != (r->offset == WAL__DATA_START))
        return "the head of a segment is not where it belongs";
    switch (look->record.type) {
    case WAL__HEAD:
        return apply_head(r, look);
    case WAL__ENTRY:
        return apply_entry(r, look);
    case WAL__STATE:
        wal->state.term = get_le64(look->payload);
        wal->state.voted_for = get_le64(look->payload + 8);
        return NULL;
    case WAL__TRIM:
        r->oldest = get_le64(look->payload);
        return NULL;
    case WAL__RESET:
        wal->index.points.len = 0;
        wal__runs_clear(&wal->index);
        wal->first = wal->last = 0;
        r->pacer = (struct wal__pacer){.force = true};
        return NULL;
    case WAL__SEAL:
        r->sealed = true;
        return NULL;
    default:
        return NULL;
    }
}

/* ---- one segment ---- */

/* Looks behind a place that is not a good record, in its segment and in the next. */
static int search_later(struct wal__replay *r, enum wal__later *later, char *where,
                        size_t where_size, struct err *err)
{
    struct wal__view next = WAL__VIEW_INIT;
    struct wal__segment_header header;
    uint64_t number = wal__replay_number(r);
    uint64_t at = 0;
    int rc;

    rc = wal__tail_search(&r->view, r->offset, later, &at, err);
    if (rc == 0 && *later != WAL__LATER_SYNCED && r->at + 1 < r->files->segments_len) {
        enum wal__later beyond = WAL__LATER_NONE;

        number = r->files->segments[r->at + 1];
        rc = wal__segment_open(&next, r->wal->disk, r->wal->dir, number, &header, err);
        if (rc == 0)
            rc = check_ids(r->wal, number, &header, err);
        if (rc == 0)
            rc = wal__tail_search(&next, 0, &beyond, &at, err);
        if (beyond == WAL__LATER_SYNCED)
            *later = WAL__LATER_SYNCED;
    }
    (void)snprintf(where, where_size, "%012" PRIu64 ".wal offset %" PRIu64, number, at);
    wal__view_release(&next);
    return rc;
}

/* Decides about a place that is not a good record. 0: the log ends here. */
static int replay_stop(struct wal__replay *r, const struct wal__look *look, struct err *err)
{
    const struct wal__tail_row *row;
    enum wal__later later = WAL__LATER_NONE;
    char where[64];
    char text[192];
    int rc;

    rc = search_later(r, &later, where, sizeof(where), err);
    if (rc != 0)
        return rc;
    row = wal__tail_row(look, later);
    r->verdict = row->verdict;
    if (row->verdict != WAL__FAIL)
        return 0;
    (void)snprintf(text, sizeof(text),
                   "damaged (%s), and the record at %s proves that it had been stored", row->label,
                   where);
    return corrupt(r, text, err);
}

static int replay_segment(struct wal__replay *r, struct err *err)
{
    struct wal__segment_header header;
    struct wal__look look;
    const char *wrong;
    int rc;

    rc =
        wal__segment_open(&r->view, r->wal->disk, r->wal->dir, wal__replay_number(r), &header, err);
    if (rc == 0)
        rc = check_ids(r->wal, wal__replay_number(r), &header, err);
    if (rc != 0)
        return rc;
    wal__segments_push(&r->wal->index.segments, &header.segment);
    r->sealed = false;
    r->offset = WAL__DATA_START;
    r->chain = header.segment.seed;

    while (!r->sealed) {
        rc = wal__look_at(&r->view, r->offset, r->chain, &look, err);
        if (rc != 0)
            return rc;
        if (wal__tail_row(&look, WAL__LATER_NONE)->verdict != WAL__NEXT)
            return replay_stop(r, &look, err);
        wrong = apply(r, &look);
        if (wrong != NULL)
            return corrupt(r, wrong, err);
        r->offset += wal__record_size(look.record.len);
        r->chain = look.record.chain;
    }
    return 0;
}

/* ---- the whole log ---- */

/* Segments below a gap were dropped before a crash and are only leftovers. That nothing else is
 * missing is checked against the log itself, which says what the oldest segment is. */
static size_t run_start(const struct wal__files *files)
{
    size_t i = files->segments_len - 1;

    while (i > 0 && files->segments[i - 1] + 1 == files->segments[i])
        i--;
    return i;
}

static int check_whole(struct wal__replay *r, struct err *err)
{
    struct wal *wal = r->wal;
    uint64_t lowest = r->files->segments[r->start];

    if (!r->has_head && lowest != 1)
        return missing(r, lowest - 1, err);
    if (r->has_head && r->oldest < lowest)
        return missing(r, lowest - 1, err);
    if (!r->has_head && wal->salvage)
        return corrupt(r, "nothing stands before the damage", err);
    if (r->at + 2 < r->files->segments_len && !wal->salvage)
        return corrupt(r, "the log ends, but more than one segment follows", err);
    if (!r->has_head) {
        /* Segment 1 without any record: made, but nothing was ever stored in it. */
        wal->is_new = true;
        r->oldest = 1;
    }
    wal__index_drop_segments(&wal->index, r->oldest);
    if (wal->last != 0 && wal->index.points.len == 0)
        return corrupt(r, "the log ends, but its last entry was not found", err);
    wal->first = wal->last == 0 ? 0 : wal->index.points.at[0].index;
    wal__index_drop_runs(&wal->index, wal->first);
    wal->flushed_last = wal->last;
    return 0;
}

static int replay_all(struct wal__replay *r, struct err *err)
{
    int rc;

    r->start = run_start(r->files);
    for (r->at = r->start;; r->at++) {
        rc = replay_segment(r, err);
        if (rc == KV_ECORRUPT && r->wal->salvage)
            break;
        if (rc != 0)
            return rc;
        if (!r->sealed)
            break;
        if (r->at + 1 == r->files->segments_len && r->wal->salvage)
            break;
        if (r->at + 1 == r->files->segments_len)
            return missing(r, wal__replay_number(r) + 1, err);
        r->prev_end = r->offset;
        r->prev_chain = r->chain;
    }
    return check_whole(r, err);
}

/* The flush side goes on where the log ends. */
static void hand_over(struct wal__replay *r)
{
    struct wal *wal = r->wal;
    struct wal__side *side = &wal->side;

    side->segment = wal->index.segments.at[wal->index.segments.len - 1];
    side->file_size = r->view.size;
    side->synced = r->offset;
    side->chain = r->chain;
    side->fresh = r->offset == WAL__DATA_START;
    side->prev_end = r->prev_end;
    side->prev_chain = r->prev_chain;
    side->state = wal->state;
    side->pacer = (struct wal__pacer){.last_index = wal->last, .force = true};
    side->oldest = r->oldest;
    side->drop_next = r->oldest;
}

int wal__recover(struct wal *wal, const struct wal__files *files, struct err *err)
{
    struct wal__replay r = {.wal = wal, .files = files};
    int rc;

    rc = replay_all(&r, err);
    if (rc != 0)
        goto out;
    hand_over(&r);
    rc = wal__count_bytes(&r, err);
    if (rc == 0 && !wal->read_only)
        rc = wal__repair(&r, err);
    wal->disk_bytes = wal->side.disk_bytes;
out:
    wal__view_release(&r.view);
    return rc;
}
