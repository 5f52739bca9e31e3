/* Every record, good or bad, for people. Goes on behind damage where it can find the next record.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "wal/internal.h"

struct dump {
    struct disk disk;
    const char *dir;
    wal_print print; /* NULL in the first pass, which only learns what is superseded */
    wal_found found; /* NULL: damage is only printed */
    void *ctx;
    const struct wal__files *files;
    size_t at;
    struct wal__view view;
    struct wal__index index;
    struct wal__pacer pacer;
    uint64_t last;
};

static void say(const struct dump *dump, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say(const struct dump *dump, const char *fmt, ...)
{
    char line[512];
    va_list args;
    int n;

    if (dump->print == NULL)
        return;
    n = snprintf(line, sizeof(line), "%012" PRIu64 ".wal ", dump->files->segments[dump->at]);
    ASSERT(n > 0);
    va_start(args, fmt);
    (void)vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, args); /* a cut line is good enough */
    va_end(args);
    dump->print(dump->ctx, line);
}

/* An entry is live unless a point at or below its index lies behind it. */
static bool superseded(const struct dump *dump, uint64_t index, uint64_t offset)
{
    size_t i = wal__points_floor(&dump->index.points, index);
    const struct wal__point *point;
    uint64_t segment = dump->files->segments[dump->at];

    if (index > dump->last || i == dump->index.points.len)
        return true;
    point = &dump->index.points.at[i];
    return point->segment > segment || (point->segment == segment && point->offset > offset);
}

static void learn(struct dump *dump, const struct wal__look *look)
{
    struct wal__point point = {.segment = dump->files->segments[dump->at],
                               .offset = look->record.offset};

    if (look->record.type == WAL__HEAD) {
        dump->pacer.force = true;
    } else if (look->record.type == WAL__RESET) {
        dump->index.points.len = 0;
        dump->last = 0;
        dump->pacer = (struct wal__pacer){.force = true};
    } else if (look->record.type == WAL__ENTRY) {
        point.index = get_le64(look->payload);
        if (wal__pacer_entry(&dump->pacer, point.index, point.offset))
            wal__points_put(&dump->index.points, &point);
        dump->last = point.index;
    }
}

static void say_record(const struct dump *dump, const struct wal__look *look, const char *crc)
{
    const uint8_t *payload = look->payload;
    const struct wal__record *record = &look->record;
    const char *name = wal__type_name(record->type);
    struct wal__head head;

    switch (record->type) {
    case WAL__ENTRY:
        say(dump,
            "%10" PRIu64 " entry index %" PRIu64 " term %" PRIu64 " type %u length %" PRIu32
            " crc %s%s",
            record->offset, get_le64(payload), get_le64(payload + 8), record->entry_type,
            record->len - WAL__ENTRY_HEAD, crc,
            superseded(dump, get_le64(payload), record->offset) ? " superseded" : "");
        break;
    case WAL__STATE:
        say(dump, "%10" PRIu64 " state term %" PRIu64 " vote %" PRIx64 " crc %s", record->offset,
            get_le64(payload), get_le64(payload + 8), crc);
        break;
    case WAL__HEAD:
        wal__head_decode(payload, &head);
        say(dump,
            "%10" PRIu64 " head term %" PRIu64 " vote %" PRIx64 " last %" PRIu64
            " oldest segment %" PRIu64 " crc %s",
            record->offset, head.state.term, head.state.voted_for, head.last_index, head.oldest,
            crc);
        break;
    case WAL__TRIM:
        say(dump, "%10" PRIu64 " trim oldest segment %" PRIu64 " crc %s", record->offset,
            get_le64(payload), crc);
        break;
    default:
        say(dump, "%10" PRIu64 " %s crc %s", record->offset, name, crc);
        break;
    }
}

/* Does anything behind offset prove that it was synced? */
static int later_than(struct dump *dump, uint64_t offset, enum wal__later *out, struct err *err)
{
    struct wal__view next = WAL__VIEW_INIT;
    struct wal__segment_header header;
    enum wal__later beyond = WAL__LATER_NONE;
    uint64_t at = 0;
    int rc;

    rc = wal__tail_search(&dump->view, offset, out, &at, err);
    if (rc == 0 && dump->at + 1 < dump->files->segments_len &&
        wal__segment_open(&next, dump->disk, dump->dir, dump->files->segments[dump->at + 1],
                          &header, NULL) == 0)
        rc = wal__tail_search(&next, 0, &beyond, &at, err);
    if (beyond == WAL__LATER_SYNCED)
        *out = beyond;
    wal__view_release(&next);
    return rc;
}

static void tell(const struct dump *dump, uint64_t offset, bool torn, const char *what)
{
    const struct wal_damage damage = {
        .segment = dump->files->segments[dump->at], .offset = offset, .torn = torn, .what = what};

    if (dump->found != NULL)
        dump->found(dump->ctx, &damage);
}

/* At something that is not a good record: says what it is. */
static int say_stop(struct dump *dump, const struct wal__look *look, uint64_t offset,
                    struct err *err)
{
    const struct wal__tail_row *row;
    enum wal__later later;
    int rc;

    rc = later_than(dump, offset, &later, err);
    if (rc != 0)
        return rc;
    row = wal__tail_row(look, later);
    if (row->verdict == WAL__END) {
        say(dump, "%10" PRIu64 " end", offset);
        return 0;
    }
    tell(dump, offset, row->verdict == WAL__CUT, row->label);
    say(dump, "%10" PRIu64 " DAMAGED %s: %s", offset, row->label,
        row->verdict == WAL__CUT ? "never acknowledged, opening the log cuts it off"
                                 : "it had been stored, the log is corrupt");
    return 0;
}

static int dump_records(struct dump *dump, struct err *err)
{
    uint64_t offset = WAL__DATA_START;
    uint32_t chain = dump->view.segment.seed;
    bool chain_known = true;
    struct wal__record record;
    struct wal__look look;
    bool found;
    int rc;

    for (;;) {
        rc = wal__look_at(&dump->view, offset, chain, &look, err);
        if (rc != 0)
            return rc;
        if (look.header_ok && (look.body_ok || (!chain_known && look.payload != NULL))) {
            if (dump->print == NULL)
                learn(dump, &look);
            say_record(dump, &look, look.body_ok ? "ok" : "unknown");
            if (look.record.type == WAL__SEAL)
                return 0;
            offset += wal__record_size(look.record.len);
            chain = look.record.chain;
            chain_known = true;
            continue;
        }
        rc = say_stop(dump, &look, offset, err);
        if (rc == 0)
            rc = wal__find_record(&dump->view, offset + 8, &record, &found, err);
        if (rc != 0 || !found)
            return rc;
        chain_known = look.header_ok && record.offset == offset + wal__record_size(look.record.len);
        chain = look.record.chain;
        offset = record.offset;
    }
}

static int dump_pass(struct dump *dump, struct err *err)
{
    struct wal__segment_header header;
    struct err local = ERR_INIT;
    int rc = 0;

    for (dump->at = 0; rc == 0 && dump->at < dump->files->segments_len; dump->at++) {
        rc = wal__segment_open(&dump->view, dump->disk, dump->dir, dump->files->segments[dump->at],
                               &header, &local);
        if (rc == KV_ECORRUPT || rc == KV_EMISMATCH) {
            say(dump, "%10d DAMAGED header: %s", 0, local.text);
            tell(dump, 0, false, "header");
            rc = 0;
            continue;
        }
        if (rc != 0) {
            if (err != NULL)
                *err = local;
            break;
        }
        say(dump,
            "%10d segment %" PRIu64 " cluster %016" PRIx64 " member %016" PRIx64 " size %" PRIu64,
            0, header.segment.number, header.cluster_id, header.member_id, dump->view.size);
        dump->pacer.force = true;
        rc = dump_records(dump, err);
    }
    return rc;
}

int wal_dump(struct disk disk, const char *dir, wal_print print, void *ctx, struct err *err)
{
    struct wal__files files = {.tmp = false};
    struct dump dump = {.disk = disk, .dir = dir, .ctx = ctx, .files = &files};
    int rc;

    rc = wal__files_list(disk, dir, &files, err);
    if (rc != 0)
        goto out;
    rc = dump_pass(&dump, err);
    dump.print = print;
    if (rc == 0)
        rc = dump_pass(&dump, err);
out:
    wal__view_release(&dump.view);
    wal__index_release(&dump.index);
    wal__files_release(&files);
    return rc;
}

int wal_find_damage(struct disk disk, const char *dir, wal_found found, void *ctx, struct err *err)
{
    struct wal__files files = {.tmp = false};
    struct dump dump = {.disk = disk, .dir = dir, .found = found, .ctx = ctx, .files = &files};
    int rc;

    rc = wal__files_list(disk, dir, &files, err);
    if (rc == 0)
        rc = dump_pass(&dump, err);
    wal__view_release(&dump.view);
    wal__index_release(&dump.index);
    wal__files_release(&files);
    return rc;
}

char *wal_segment_file(const char *dir, uint64_t segment)
{
    return wal__segment_path(dir, segment);
}
