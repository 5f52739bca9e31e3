/* Reading the log from start to end at start-up. First everything is looked at and decided, then,
 * if all is well, what a crash left behind is put in order. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"
#include "wal/internal.h"

#define REPAIR_HINT                                                                                \
    "; nothing was changed. Set the data directory aside and let the member rejoin from the "      \
    "others"

struct replay {
    struct wal *wal;
    const struct wal__files *files;
    size_t start; /* first of files->segments that counts */
    size_t at;    /* the one being read */
    struct wal__view view;
    uint64_t offset;
    uint32_t chain;
    bool has_head; /* of the first segment: the state below is known */
    uint64_t prev_end;
    uint32_t prev_chain;
    struct wal__pacer pacer;
    uint64_t oldest;
    bool sealed;               /* the one being read goes on in the next */
    enum wal__verdict verdict; /* on the tail: END or CUT */
};

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

static uint64_t replay_number(const struct replay *r)
{
    return r->files->segments[r->at];
}

static int corrupt(const struct replay *r, const char *what, struct err *err)
{
    char *path = wal__segment_path(r->wal->dir, replay_number(r));

    (void)err_set(err, KV_ECORRUPT, "%s: offset %" PRIu64 ": %s" REPAIR_HINT, path, r->offset,
                  what);
    free(path);
    return KV_ECORRUPT;
}

static int missing(const struct replay *r, uint64_t number, struct err *err)
{
    char *path = wal__segment_path(r->wal->dir, number);

    (void)err_set(err, KV_ECORRUPT, "%s: this segment is missing" REPAIR_HINT, path);
    free(path);
    return KV_ECORRUPT;
}

/* ---- applying one record; NULL, or what is wrong with it ---- */

static const char *apply_head(struct replay *r, const struct wal__look *look)
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

static const char *apply_entry(struct replay *r, const struct wal__look *look)
{
    struct wal *wal = r->wal;
    uint64_t index = get_le64(look->payload);
    uint64_t term = get_le64(look->payload + 8);
    struct wal__point point = {
        .index = index,
        .segment = replay_number(r),
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

static const char *apply(struct replay *r, const struct wal__look *look)
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
static int search_later(struct replay *r, enum wal__later *later, char *where, size_t where_size,
                        struct err *err)
{
    struct wal__view next = WAL__VIEW_INIT;
    struct wal__segment_header header;
    uint64_t number = replay_number(r);
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
static int replay_stop(struct replay *r, const struct wal__look *look, struct err *err)
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

static int replay_segment(struct replay *r, struct err *err)
{
    struct wal__segment_header header;
    struct wal__look look;
    const char *wrong;
    int rc;

    rc = wal__segment_open(&r->view, r->wal->disk, r->wal->dir, replay_number(r), &header, err);
    if (rc == 0)
        rc = check_ids(r->wal, replay_number(r), &header, err);
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

static int check_whole(struct replay *r, struct err *err)
{
    struct wal *wal = r->wal;
    uint64_t lowest = r->files->segments[r->start];

    if (!r->has_head && lowest != 1)
        return missing(r, lowest - 1, err);
    if (r->has_head && r->oldest < lowest)
        return missing(r, lowest - 1, err);
    if (r->at + 2 < r->files->segments_len)
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

static int replay_all(struct replay *r, struct err *err)
{
    int rc;

    r->start = run_start(r->files);
    for (r->at = r->start;; r->at++) {
        rc = replay_segment(r, err);
        if (rc != 0)
            return rc;
        if (!r->sealed)
            break;
        if (r->at + 1 == r->files->segments_len)
            return missing(r, replay_number(r) + 1, err);
        r->prev_end = r->offset;
        r->prev_chain = r->chain;
    }
    return check_whole(r, err);
}

/* ---- putting in order ---- */

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
static int repair_tail(struct replay *r, struct err *err)
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

    path = wal__segment_path(side->dir, replay_number(r));
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
static int adopt_next(struct replay *r, struct err *err)
{
    struct wal__side *side = &r->wal->side;
    struct wal__segment_header header;
    char *path = NULL;
    int rc;

    if (r->at + 1 == r->files->segments_len)
        return 0;
    rc = wal__segment_open(&r->view, side->disk, side->dir, replay_number(r) + 1, &header, err);
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

static int count_bytes(struct replay *r, struct err *err)
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

static int adopt_spares(struct replay *r, struct err *err)
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

static int repair(struct replay *r, struct err *err)
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

/* The flush side goes on where the log ends. */
static void hand_over(struct replay *r)
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
    struct replay r = {.wal = wal, .files = files};
    int rc;

    rc = replay_all(&r, err);
    if (rc != 0)
        goto out;
    hand_over(&r);
    rc = count_bytes(&r, err);
    if (rc == 0 && !wal->read_only)
        rc = repair(&r, err);
    wal->disk_bytes = wal->side.disk_bytes;
out:
    wal__view_release(&r.view);
    return rc;
}
