/* What the files of wal/ share: the format in memory, the index of the log, the flush side.
 *
 * format.c   bytes of segment headers and records        recover.c  reading it all at start-up
 * view.c     looking at a segment through a window       flush.c    encoding, writing, syncing
 * tail.c     is it the end, a torn tail, or damage?      segment.c  making and recycling segments
 * index.c    where entries are, which terms they have    repair.c   what a crash left behind
 *                                                        wal.c read.c dump.c  the calls of wal.h */
#ifndef KVD_WAL_INTERNAL_H
#define KVD_WAL_INTERNAL_H

#include "base/buf.h"
#include "base/disk.h"
#include "wal/wal.h"

/* ---- format.c: docs/format/wal.md ---- */

enum {
    WAL__VERSION = 1,
    WAL__BLOCK = 4096,            /* unit of writing; what one flush shares with the next */
    WAL__HEADER_SIZE = 52,        /* of the first block; the rest of that block is zero */
    WAL__DATA_START = WAL__BLOCK, /* first record */
    WAL__RECORD_HEADER = 24,
    WAL__ENTRY_HEAD = 16, /* index and term, before the data */
    WAL__HEAD_SIZE = 48,
    WAL__SEGMENT_SIZE = 8 << 20,
    WAL__SEGMENT_SIZE_MIN = 4 * WAL__BLOCK,
    WAL__NAME_MAX = 32,
};

enum wal__type {
    WAL__HEAD = 1, /* first of every segment: what the segments before it left behind */
    WAL__ENTRY,
    WAL__STATE, /* hard state */
    WAL__TRIM,  /* oldest segment that is still needed */
    WAL__RESET, /* the log is empty from here on, the next entry may have any index */
    WAL__SEAL,  /* last of a segment: the next one exists */
    WAL__MARK,  /* nothing but proof that all before it was synced */
    WAL__TYPE_END,
};

struct wal__segment {
    uint64_t number; /* from 1, also in the file's name */
    uint64_t nonce;  /* in the checksum of each record header: binds the record to this segment */
    uint32_t seed;   /* chain value before the first record */
};

struct wal__segment_header {
    uint64_t cluster_id;
    uint64_t member_id;
    struct wal__segment segment;
};

struct wal__record {
    uint64_t offset; /* in its segment */
    /* Everything in this segment below this offset was synced before this record was written.
     * So damage below it is damage, not a torn write. Never above offset. */
    uint64_t synced;
    uint32_t len; /* of the payload */
    uint32_t chain;
    enum wal__type type;
    uint8_t entry_type;
};

/* Payload of WAL__HEAD. */
struct wal__head {
    uint64_t prev_end; /* end of the segment before, and its chain value there; 0 in the first */
    uint32_t prev_chain;
    struct wal_hard_state state;
    uint64_t last_index; /* 0: the log is empty */
    uint64_t oldest;     /* lowest segment still needed */
};

void wal__header_encode(struct wal__segment_header *header, uint8_t *block); /* sets the seed */
/* KV_ECORRUPT, or KV_EMISMATCH for another format version; *what says it. */
int wal__header_decode(const uint8_t *bytes, size_t len, struct wal__segment_header *out,
                       const char **what);
uint64_t wal__nonce(uint64_t cluster_id, uint64_t member_id, uint64_t number, uint32_t chain);

/* Bytes of a record with header and padding. */
static inline size_t wal__record_size(uint32_t len)
{
    return WAL__RECORD_HEADER + (((size_t)len + 7) & ~(size_t)7);
}

/* Appends a record with its length and types filled in; returns where the payload goes (padding is
 * zeroed). The rest of its header is filled in by wal__record_finish(), when its place is known. */
uint8_t *wal__record_begin(struct buf *buf, enum wal__type type, uint8_t entry_type, size_t len);
void wal__record_finish(uint8_t *bytes, const struct wal__segment *segment, uint64_t offset,
                        uint64_t synced, uint32_t *chain);
/* Fills the parts of *out that wal__record_begin() wrote. */
void wal__record_peek(const uint8_t *bytes, struct wal__record *out);
/* bytes: WAL__RECORD_HEADER of them. Says nothing about the payload. */
bool wal__record_header_ok(const uint8_t *bytes, const struct wal__segment *segment,
                           uint64_t offset, struct wal__record *out);
/* bytes: the whole record; chain: the value before it. */
bool wal__record_body_ok(const uint8_t *bytes, const struct wal__record *record, uint32_t chain);
const char *wal__type_name(enum wal__type type);

void wal__head_encode(const struct wal__head *head, uint8_t *payload);
void wal__head_decode(const uint8_t *payload, struct wal__head *out);

void wal__segment_name(char *name, uint64_t number); /* WAL__NAME_MAX bytes */
void wal__spare_name(char *name, uint64_t number);
bool wal__name_parse(const char *name, const char *suffix, uint64_t *out);
/* "dir/name", the caller's to free. */
char *wal__path(const char *dir, const char *name);
char *wal__segment_path(const char *dir, uint64_t number);

/* ---- view.c ---- */

/* A window on a segment file that moves forward in large reads. */
struct wal__view {
    struct disk disk;
    struct disk_file *file; /* owned */
    struct wal__segment segment;
    uint64_t size; /* of the file */
    size_t step;   /* bytes per read */
    uint8_t *data; /* owned */
    size_t cap;
    uint64_t start; /* offset of data[0] */
    size_t len;
};

#define WAL__VIEW_INIT                                                                             \
    {                                                                                              \
        .file = NULL                                                                               \
    }
enum { WAL__VIEW_STEP = 256 << 10 };

/* Opens path; segment must be set by the caller afterwards. */
int wal__view_open(struct wal__view *view, struct disk disk, const char *path, struct err *err);
/* Accepts one that is not open. Keeps the memory of the window for the next open. */
void wal__view_close(struct wal__view *view);
void wal__view_release(struct wal__view *view);
/* Bytes at offset, at least len of them unless the file ends; valid until the next call. */
int wal__view_get(struct wal__view *view, uint64_t offset, size_t len, struct slice *out,
                  struct err *err);

/* What stands at an offset where a record may begin. */
struct wal__look {
    bool zero;      /* from here to the end of the block there is nothing but zeros */
    bool header_ok; /* a record of this segment starts here */
    bool body_ok;   /* and it is whole, and follows the one before it */
    struct wal__record record;
    const uint8_t *payload; /* NULL unless all of it is there; valid until the view moves */
};

int wal__look_at(struct wal__view *view, uint64_t offset, uint32_t chain, struct wal__look *out,
                 struct err *err);

/* ---- tail.c ---- */

/* What is found behind a place that is not a good record. */
enum wal__later {
    WAL__LATER_NONE = 1,   /* no record of this segment */
    WAL__LATER_SAME = 2,   /* records, all of a flush that wrote this place too */
    WAL__LATER_SYNCED = 4, /* a record written after this place was synced */
};

enum wal__verdict { WAL__NEXT, WAL__END, WAL__CUT, WAL__FAIL };

struct wal__tail_row {
    const char *label;
    uint8_t zero, header_ok, body_ok; /* masks of 1 (no) and 2 (yes) */
    uint8_t later;                    /* mask of enum wal__later */
    enum wal__verdict verdict;
};

extern const struct wal__tail_row wal__tail_table[];
extern const size_t wal__tail_table_len;
const struct wal__tail_row *wal__tail_row(const struct wal__look *look, enum wal__later later);

/* First place at or after from where the header of a record of this segment stands. */
int wal__find_record(struct wal__view *view, uint64_t from, struct wal__record *out, bool *found,
                     struct err *err);
/* Searches behind place for records of this segment; *out_at is where one stands that proves *out.
 * place 0: any record at all counts as WAL__LATER_SYNCED. */
int wal__tail_search(struct wal__view *view, uint64_t place, enum wal__later *out, uint64_t *out_at,
                     struct err *err);

/* ---- index.c ---- */

/* Where a live entry starts. Entries follow each other in the file from one point to the next. */
struct wal__point {
    uint64_t index; /* 0: not an entry, but a reset (only on the way from flush to owner) */
    uint64_t segment;
    uint64_t offset;
    uint32_t chain; /* value before the record, so that it can be verified from here */
};

struct wal__points {
    struct wal__point *at;
    size_t len, cap;
};

/* Entries from first up to the next run's first have this term. */
struct wal__run {
    uint64_t first;
    uint64_t term;
};

struct wal__segments {
    struct wal__segment *at;
    size_t len, cap;
};

/* Decides which entries get a point: about one per 64 KiB, and always the first of a segment, after
 * a reset and one that does not follow the entry before it. */
struct wal__pacer {
    uint64_t last_index;
    uint64_t offset; /* of the last point */
    bool force;
};

struct wal__index {
    struct wal__points points; /* ascending in index and in place */
    struct wal__segments segments;
    struct wal__run *runs; /* ascending */
    size_t runs_len, runs_cap;
};

enum { WAL__POINT_EVERY = 64 << 10 };

bool wal__pacer_entry(struct wal__pacer *pacer, uint64_t index, uint64_t offset);
void wal__points_push(struct wal__points *points, const struct wal__point *point);
/* Drops points at or above the new one's index, then appends it; a reset drops all. */
void wal__points_put(struct wal__points *points, const struct wal__point *point);
/* Last point at or below index, as a position in points; points->len if there is none. */
size_t wal__points_floor(const struct wal__points *points, uint64_t index);
void wal__segments_push(struct wal__segments *segments, const struct wal__segment *segment);
const struct wal__segment *wal__segments_find(const struct wal__segments *segments,
                                              uint64_t number);
void wal__runs_put(struct wal__index *index, uint64_t entry_index, uint64_t term);
void wal__runs_clear(struct wal__index *index);
uint64_t wal__runs_find(const struct wal__index *index, uint64_t entry_index);
/* Forgets segments below number with their points. */
void wal__index_drop_segments(struct wal__index *index, uint64_t number);
/* Forgets terms below first. */
void wal__index_drop_runs(struct wal__index *index, uint64_t first);
void wal__index_release(struct wal__index *index);

/* ---- segment.c, flush.c: the flush side ---- */

enum {
    WAL__SPARES_ALWAYS = 2, /* kept whatever wal_keep_spares() says */
    WAL__SPARES_MAX = 64,
    WAL__OUT_CHUNK = 1 << 20, /* a larger flush is written in several calls */
    WAL__FILL_CHUNK = 256 << 10,
};

enum wal__next_state { WAL__NEXT_NONE, WAL__NEXT_FILLING, WAL__NEXT_FILLED, WAL__NEXT_READY };

/* The segment after the one being written. READY: it has its name, and that is durable. */
struct wal__next {
    enum wal__next_state state;
    struct disk_file *file;
    char *path; /* before it gets its name */
    uint64_t filled;
    uint64_t size;
    struct wal__segment segment;
};

/* Everything the flush side owns. Only wal_flush_run() and wal_upkeep() touch it after opening. */
struct wal__side {
    struct disk disk;
    char *dir;
    uint64_t cluster_id, member_id;
    uint64_t segment_size;

    /* the segment being written */
    struct disk_file *file;
    struct wal__segment segment;
    uint64_t file_size;
    struct buf out;     /* what is not yet written, and before it the block it starts in */
    uint64_t out_start; /* offset of out.data[0]; a multiple of WAL__BLOCK */
    uint64_t synced;    /* everything below is durable */
    uint32_t chain;     /* after the last record */
    bool fresh;         /* it has no record yet, not even its head */
    uint64_t prev_end;  /* of the segment before; for the head */
    uint32_t prev_chain;

    /* the log as of the last record encoded; for the next head */
    struct wal_hard_state state;
    struct wal__pacer pacer; /* has the last index */
    uint64_t oldest;

    struct wal__next next;
    uint64_t spares[WAL__SPARES_MAX];
    size_t spares_len;
    uint64_t drop_next; /* segments from here to oldest are to be recycled */
    bool dir_dirty;     /* a name changed since the directory was synced */
    uint64_t disk_bytes;
    uint64_t keep_bytes; /* more is not kept for the sake of spares */

    int failed; /* first failure of a flush; all later ones return it (faults.md D4) */
    struct err failure;
};

struct wal_flush {
    struct wal__side *side;
    struct buf records;
    uint64_t seq;       /* of its last record */
    uint64_t min_index; /* lowest entry in it, 0 with a reset, UINT64_MAX without entries */
    uint64_t keep_bytes;
    /* results, for the owner */
    struct wal__points points;
    struct wal__segments rolled; /* new segments */
    uint64_t last_index;
    uint64_t disk_bytes;
    uint64_t bytes; /* written */
};

static inline uint64_t wal__side_tail(const struct wal__side *side)
{
    return side->out_start + side->out.len;
}

void wal__side_release(struct wal__side *side);
/* One bounded piece of work towards a ready next segment. 1: there is more; 0: it is ready. An
 * error leaves things so that it can be tried again, unless side->failed is set. sync_each keeps
 * the pieces short for the disk too. */
int wal__next_step(struct wal__side *side, bool sync_each, struct err *err);
int wal__next_finish(struct wal__side *side, struct err *err);
/* Recycles or removes segment number, which is not needed any more. */
void wal__segment_recycle(struct wal__side *side, uint64_t number);
/* One spare less, if there are more than should be kept. */
bool wal__spare_remove(struct wal__side *side);
/* Notes a failure that is final and returns its code. */
int wal__side_fail(struct wal__side *side, int rc, const struct err *err);

/* ---- wal.c ---- */

/* Where a reader stopped, so that the next read goes on there. */
struct wal__cursor {
    uint64_t index; /* of the next entry; 0: unused */
    uint64_t segment;
    uint64_t offset;
    uint32_t chain;
};

enum { WAL__CURSORS = 4, WAL__PENDING_MAX = 1 << 30, WAL__KEEP_CAP = 4 << 20 };

struct wal {
    struct wal__side side; /* while a flush runs the other thread's */

    struct disk disk;
    char *dir;
    bool read_only, salvage;
    bool is_new;
    struct wal_hard_state state;
    uint64_t first, last; /* appended */
    struct wal__index index;
    uint64_t flushed_last; /* last entry of the flushed log */

    struct buf pending;
    struct buf idle;         /* memory for the next batch */
    uint64_t pending_min;    /* as min_index of a flush */
    uint64_t seq;            /* of the last record appended */
    struct wal_flush *flush; /* under way, or failed */
    uint64_t disk_bytes, appended_bytes;
    uint64_t keep_bytes; /* for the next flush to pass on */

    struct wal__view view; /* of the segment read last */
    struct wal__cursor cursors[WAL__CURSORS];
    unsigned cursor_next;
};

/* ---- recover.c: reading it all at start-up ---- */

/* What the folder holds. */
struct wal__files {
    uint64_t *segments; /* ascending */
    size_t segments_len;
    uint64_t *spares;
    size_t spares_len;
    bool tmp; /* a segment in the making */
};

#define WAL__TMP_NAME "new.tmp"

int wal__files_list(struct disk disk, const char *dir, struct wal__files *out, struct err *err);
void wal__files_release(struct wal__files *files);
/* Opens a segment and checks its header. */
int wal__segment_open(struct wal__view *view, struct disk disk, const char *dir, uint64_t number,
                      struct wal__segment_header *out, struct err *err);
/* The log being read from start to end. */
struct wal__replay {
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

static inline uint64_t wal__replay_number(const struct wal__replay *r)
{
    return r->files->segments[r->at];
}

/* Fills wal from what is on disk; repairs what a crash left, unless it is read-only. */
int wal__recover(struct wal *wal, const struct wal__files *files, struct err *err);

/* ---- repair.c ---- */

/* Adds up the segments' sizes. */
int wal__count_bytes(struct wal__replay *r, struct err *err);
/* After a replay without errors: cuts the tail if it was torn, makes all of it durable, opens or
 * removes the other files. */
int wal__repair(struct wal__replay *r, struct err *err);

#endif
