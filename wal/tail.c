/* Where the good records of a segment stop, this decides why.
 *
 * A flush writes a run of bytes and then syncs it. A power cut before the sync is done leaves any
 * subset of its sectors on disk, in any order: a good record may follow a bad one. Nobody was told
 * that they were stored, so they may go: a torn tail. But whatever an earlier flush wrote had been
 * synced, and perhaps acknowledged: there a bad record means damage, and a member that went on
 * without it would break its promise to the others (faults.md D3, D6).
 *
 * Which of both it is, later records tell. Each says below which offset everything was synced
 * before it was written; its header has a checksum of its own, bound to segment and offset, so it
 * can be found without knowing what went before. */
#include "wal/internal.h"

enum {
    NO = 1,
    YES = 2,
    ANY = NO | YES,
    NONE = WAL__LATER_NONE,
    SAME = WAL__LATER_SAME,
    SYNCED = WAL__LATER_SYNCED,
    TORN = NONE | SAME,
    WHATEVER = TORN | SYNCED,
};

/* clang-format off */
const struct wal__tail_row wal__tail_table[] = {
    /* label         zero  hdr  body  later     verdict: each of the 24 inputs matches one row */
    {"intact",       NO,   YES, YES,  WHATEVER, WAL__NEXT},
    {"clean_end",    YES,  ANY, ANY,  NONE,     WAL__END},
    {"torn_start",   YES,  ANY, ANY,  SAME,     WAL__CUT},
    {"hole",         YES,  ANY, ANY,  SYNCED,   WAL__FAIL},
    {"torn_header",  NO,   NO,  ANY,  TORN,     WAL__CUT},
    {"rot_header",   NO,   NO,  ANY,  SYNCED,   WAL__FAIL},
    {"torn_body",    NO,   YES, NO,   TORN,     WAL__CUT},
    {"rot_body",     NO,   YES, NO,   SYNCED,   WAL__FAIL},
};
/* clang-format on */

const size_t wal__tail_table_len = ARRAY_LEN(wal__tail_table);

static bool matches(const struct wal__tail_row *row, const struct wal__look *look,
                    enum wal__later later)
{
    return (row->zero & (look->zero ? YES : NO)) != 0 &&
           (row->header_ok & (look->header_ok ? YES : NO)) != 0 &&
           (row->body_ok & (look->body_ok ? YES : NO)) != 0 && (row->later & later) != 0;
}

const struct wal__tail_row *wal__tail_row(const struct wal__look *look, enum wal__later later)
{
    for (size_t i = 0; i < wal__tail_table_len; i++)
        if (matches(&wal__tail_table[i], look, later))
            return &wal__tail_table[i];
    ASSERT(!"the table has a row for every input");
    return NULL;
}

int wal__find_record(struct wal__view *view, uint64_t from, struct wal__record *out, bool *found,
                     struct err *err)
{
    uint64_t offset = MAX((from + 7) & ~(uint64_t)7, (uint64_t)WAL__DATA_START);
    struct slice bytes;
    int rc;

    *found = false;
    while (offset + WAL__RECORD_HEADER <= view->size) {
        rc = wal__view_get(view, offset, WAL__RECORD_HEADER, &bytes, err);
        if (rc != 0)
            return rc;
        if (bytes.len < WAL__RECORD_HEADER)
            return 0;
        for (; bytes.len >= WAL__RECORD_HEADER; offset += 8) {
            *found = wal__record_header_ok(bytes.data, &view->segment, offset, out);
            if (*found)
                return 0;
            bytes = slice_of(bytes.data + 8, bytes.len - 8);
        }
    }
    return 0;
}

int wal__tail_search(struct wal__view *view, uint64_t place, enum wal__later *out, uint64_t *out_at,
                     struct err *err)
{
    struct wal__record record;
    uint64_t from = place + 8;
    bool found = false;
    int rc;

    *out = WAL__LATER_NONE;
    for (;;) {
        rc = wal__find_record(view, from, &record, &found, err);
        if (rc != 0 || !found)
            return rc;
        *out = record.synced > place ? WAL__LATER_SYNCED : WAL__LATER_SAME;
        *out_at = record.offset;
        if (*out == WAL__LATER_SYNCED)
            return 0;
        from = record.offset + 8;
    }
}
