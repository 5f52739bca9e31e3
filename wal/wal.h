/* The log of one member: raft entries and hard states as checksummed records in preallocated,
 * recycled segments. Format: docs/format/wal.md.
 *
 * Knows nothing of consensus: an entry is (index, term, type, bytes); an entry whose index is not
 * beyond the last one replaces it and everything after it. The log never changes a byte it has
 * written; the newest record wins.
 *
 * Two sides. The owner's thread appends (memory only), reads and asks. Writing and syncing is a
 * flush: begun and ended on the owner's thread, run on any one other thread (wal/writer.h is that
 * thread, the simulator runs it in place). A flush that fails is final: the member must stop
 * (faults.md D4). */
#ifndef KVD_WAL_WAL_H
#define KVD_WAL_WAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/disk.h"
#include "base/err.h"
#include "base/slice.h"

struct wal;
struct wal_flush;

enum {
    WAL_ENTRY_SIZE_MAX = 16 << 20, /* data of one entry; larger is our own mistake */
};

struct wal_options {
    struct disk disk;
    const char *dir;       /* made if missing (its parent must exist) */
    uint64_t cluster_id;   /* a log with other ids is KV_EMISMATCH; 0 with member_id 0: take any */
    uint64_t member_id;    /*   (inspection only) */
    uint64_t segment_size; /* bytes; 0 means 8 MiB */
    bool read_only;        /* inspection: repairs nothing, appends nothing */
    bool salvage; /* with read_only: damage before the tail ends the log instead of being an error;
                     what stands before it is all there is */
};

struct wal_entry {
    uint64_t index; /* from 1, without holes */
    uint64_t term;
    uint8_t type; /* opaque; raft/ puts libraft's entry type here */
    struct slice data;
};

/* Raft's hard state (Raft figure 2, "persistent state"). */
struct wal_hard_state {
    uint64_t term;
    uint64_t voted_for; /* 0: none */
};

/* Opens the log in dir, reading it once from start to end and cutting a torn tail; an empty or
 * missing dir becomes a new log. Blocks: start-up only. On failure *out is untouched and nothing on
 * disk was changed. KV_ECORRUPT: damage before the tail; err names file, offset and what to do.
 * KV_EMISMATCH: the log of another cluster or member. KV_EIO, KV_ENOSPC. */
int wal_open(const struct wal_options *options, struct wal **out, struct err *err);
/* No flush may be running. Appends that were not flushed are lost. Accepts NULL. */
void wal_close(struct wal *wal);

/* Whose it is: what the options said, or if they did not, its segments. */
void wal_whose(const struct wal *wal, uint64_t *cluster_id, uint64_t *member_id);
/* True if this open made the log. */
bool wal_is_new(const struct wal *wal);
struct wal_hard_state wal_hard_state(const struct wal *wal);
/* 0 and 0 for an empty log. After wal_drop_before() the first may be above 1. Both count appended
 * entries, flushed or not. */
uint64_t wal_first_index(const struct wal *wal);
uint64_t wal_last_index(const struct wal *wal);
/* Bytes of all segment files, and bytes appended since open. */
uint64_t wal_disk_bytes(const struct wal *wal);
uint64_t wal_appended_bytes(const struct wal *wal);

/* Appending: copies into the pending batch and returns the sequence number that wal_flush_end()
 * reports once it is durable; numbers grow by one per record. index must be in
 * [first_index, last_index + 1] (any index for an empty log). */
uint64_t wal_append_entry(struct wal *wal, const struct wal_entry *entry);
uint64_t wal_append_hard_state(struct wal *wal, struct wal_hard_state state);

/* Takes all that is pending as one flush; NULL if nothing is, or one is under way. */
struct wal_flush *wal_flush_begin(struct wal *wal);
/* Writes and syncs; the only call for the other thread. Touches nothing the owner's side reads. */
int wal_flush_run(struct wal_flush *flush, struct err *err);
/* Back on the owner's thread, after a run that returned 0: frees flush and returns the highest
 * durable sequence number. */
uint64_t wal_flush_end(struct wal *wal, struct wal_flush *flush);
/* begin, run and end in place until nothing is pending. Start-up, shutdown and tests. */
int wal_flush_sync(struct wal *wal, struct err *err);

typedef int (*wal_visit)(void *ctx, const struct wal_entry *entry);

/* Visits flushed entries from index on, in order, until the last flushed one, until the next would
 * make it more than bytes_max of data (at least one entry is visited), or until visit returns
 * non-zero, which is then returned. Entries live until visit returns. Reads the disk: blocks,
 * bounded by bytes_max. KV_ENOTFOUND: index is not in the flushed log. KV_ECORRUPT, KV_EIO. */
int wal_read(struct wal *wal, uint64_t index, uint64_t bytes_max, wal_visit visit, void *ctx,
             struct err *err);

/* Term of a flushed or pending entry; 0 if not there. O(log of the number of term changes). */
uint64_t wal_term(const struct wal *wal, uint64_t index);

/* Everything below index is no longer needed: whole segments below it may be recycled, and what the
 * rest still holds stays readable. The last entry stays, so that the log goes on after it. With
 * index beyond last_index + 1 (the state came from elsewhere) it is a wal_reset(). Appends a record
 * when something is dropped: it happens once that is flushed. */
void wal_drop_before(struct wal *wal, uint64_t index);

/* Segments that are not needed any more are kept to be used again, without being filled with zeros
 * anew, as long as all files of the log together take no more than that. Without it, two of them.
 */
void wal_keep_spares(struct wal *wal, uint64_t bytes);

/* The lowest index from which on to `index` (which is there) the log takes no more than about that
 * many bytes of disk. For wal_drop_before(). */
uint64_t wal_reserve_index(const struct wal *wal, uint64_t index, uint64_t bytes);

/* About how many bytes of disk the entries behind index take; all of the log if index is before it.
 */
uint64_t wal_bytes_behind(const struct wal *wal, uint64_t index);

/* The log becomes empty: the next entry may have any index. The hard state stays. Returns the
 * sequence number of the record that says so. */
uint64_t wal_reset(struct wal *wal);

/* Appends a record that says nothing. Once it is flushed, damage to anything before it can be told
 * from a torn write; without it, damage to the very last flush can not. For an orderly end. */
uint64_t wal_append_mark(struct wal *wal);

/* One bounded piece of work that would otherwise burden a later flush: making the next segment,
 * recycling dropped ones. Between flushes, on the thread that runs them; never needed. 1: there is
 * more, 0: nothing to do, else an error, which is the next flush's concern. */
int wal_upkeep(struct wal *wal, struct err *err);

/* Offline inspection: every record of the log in file order, superseded ones included, damaged ones
 * reported; nothing is changed. One text line per record goes to print. */
typedef void (*wal_print)(void *ctx, const char *line);
int wal_dump(struct disk disk, const char *dir, wal_print print, void *ctx, struct err *err);

/* A place in the log that is not what was written there. */
struct wal_damage {
    uint64_t segment, offset; /* file (wal_segment_file()) and place in it */
    bool torn; /* the end of a write that was never acknowledged: opening the log cuts it off,
                  and all that follows it in the segment with it. Else what was lost there may
                  have been acknowledged */
    const char *what; /* until return */
};
typedef void (*wal_found)(void *ctx, const struct wal_damage *damage);
/* Offline inspection: finds all damage, where wal_open() ends at the first; but not what is missing
 * between segments, which that does. Nothing is changed. */
int wal_find_damage(struct disk disk, const char *dir, wal_found found, void *ctx, struct err *err);
/* "dir/000000000001.wal", the caller's to free. */
char *wal_segment_file(const char *dir, uint64_t segment);

#endif
