/* The history of what clients were told, and the check of it against what the cluster holds.
 *
 * Every write puts a value that no other write puts, so that a key and a serial say which write it
 * was. What was acknowledged is held against all changes that the cluster itself reports afterwards
 * (a watch from revision 1 on): an acknowledged write that is not there at its revision is lost.
 * Reads are held against it too, and against what had been acknowledged when they began. Sorting
 * and binary search: O(n log n).
 *
 * Knows no socket and no clock: times are the caller's milliseconds. */
#ifndef KVD_LAB_CHECK_H
#define KVD_LAB_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAB_PREFIX "kvlab/"

enum { LAB_SLOTS = 8 }; /* key member * LAB_SLOTS + slot is called PREFIX<member>/<slot> */

struct lab_check;

struct lab_check *lab_check_new(void);
void lab_check_free(struct lab_check *check);

/* ---- while clients run ---- */

/* The highest revision that was acknowledged to anybody so far; a read that begins now must not be
 * below it. */
int64_t lab_check_floor(const struct lab_check *check);
/* A write was acknowledged. member: through which. False: the history is full (4 million answers);
 * it was not taken, and the clients should stop. */
bool lab_check_acknowledged(struct lab_check *check, unsigned member, uint32_t key, uint64_t serial,
                            int64_t revision, int64_t now_ms);
/* The answer of a linearizable read: the key had that serial, of a write at mod (0: no such key).
 * floor: lab_check_floor() when it began. A stale one is counted as wrong at once. */
bool lab_check_read(struct lab_check *check, unsigned member, uint32_t key, uint64_t serial,
                    int64_t mod, int64_t revision, int64_t floor, int64_t now_ms);
/* The answer of a serializable read. How old its data were when it began at began_ms: milliseconds
 * since the first write that it does not know of was acknowledged; -1: it was not stale. */
int64_t lab_check_local_read(struct lab_check *check, unsigned member, uint32_t key,
                             uint64_t serial, int64_t mod, int64_t revision, int64_t floor,
                             int64_t began_ms);
/* The cluster was set back to that revision by its owner: later acknowledgements no longer count.
 * Returns how many there were. */
size_t lab_check_roll_back(struct lab_check *check, int64_t revision);

/* ---- afterwards ---- */

/* One change, as the cluster reports it; revisions do not fall. */
void lab_check_change(struct lab_check *check, uint32_t key, uint64_t serial, int64_t revision);
/* Forgets the changes, before they are reported anew. */
void lab_check_forget_changes(struct lab_check *check);

struct lab_findings {
    size_t writes, reads, local_reads; /* that were checked */
    size_t lost;                       /* acknowledged writes that are not there */
    size_t wrong_reads;                /* linearizable: stale, or of what never was */
    size_t invented;                   /* serializable, of what never was */
    char example[400];                 /* the smallest history that shows the first of these; "" */
};

/* Holds the answers against the changes, both up to that revision: of it and all before it the
 * changes are complete. Later answers have their turn in the next check. */
void lab_check_run(struct lab_check *check, int64_t until, struct lab_findings *out);

#endif
