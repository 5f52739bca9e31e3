/* All records in revision order: a vector in parts of fixed size, so that appending never copies,
 * removing a record anywhere is cheap and the memory of emptied stretches goes back. Does not own
 * the records it lists. Shared inside mvcc/ only. */
#ifndef KVD_MVCC_REVLOG_H
#define KVD_MVCC_REVLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mvcc/record.h"

enum { REVLOG_PART_SLOTS = 510 }; /* with the allocator's word: just under a page */

struct revlog_part {
    struct record **slots; /* NULL where a record was removed */
    int64_t first_main;    /* not above the first record's (main, sub), above all earlier ones */
    uint32_t first_sub;
    uint16_t len;  /* slots in use, removed ones included */
    uint16_t live; /* never 0 but for the last part */
};

struct revlog {
    struct revlog_part *parts;
    size_t len;
    size_t cap;
};

/* A place between records. Appending leaves it valid, removing moves records about: see below. */
struct revlog_pos {
    size_t part;
    size_t slot;
};

void revlog__init(struct revlog *log);
void revlog__release(struct revlog *log);
size_t revlog__bytes(const struct revlog *log);

/* Above all that are there. */
void revlog__append(struct revlog *log, struct record *record);

/* The first record that is not below (main, sub). */
struct revlog_pos revlog__seek(const struct revlog *log, int64_t main, uint32_t sub);
/* The next record at or after pos, pos moved to it; NULL: the end. */
struct record *revlog__next(const struct revlog *log, struct revlog_pos *pos);

/* Takes out a record that is there and below pos, or at it. pos stays at the same record; parts
 * before its own are merged where two fit into one. */
void revlog__remove(struct revlog *log, const struct record *record, struct revlog_pos *pos);
/* A record that is there has moved. */
void revlog__move(struct revlog *log, const struct record *from, struct record *to);
/* To be called when a walk that removes has left a part: gives it the chance to merge. */
void revlog__settle(struct revlog *log, struct revlog_pos *pos);

#endif
