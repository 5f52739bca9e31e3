/* When to compact by itself, and to which revision (etcd-http-cli.md 5.5): the policy alone. Knows
 * no clock, loop or cluster: time and revision come in, a revision comes out. Every member looks
 * on, so that a new leader knows what it was long ago; only the leader compacts. One thread. */
#ifndef KVD_SERVER_AUTOCOMPACT_H
#define KVD_SERVER_AUTOCOMPACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum autocompact_mode {
    AUTOCOMPACT_PERIODIC, /* keep what is younger than the retention, in milliseconds */
    AUTOCOMPACT_REVISION, /* keep the last so many revisions */
};

struct autocompact {
    enum autocompact_mode mode;
    uint64_t retention; /* not 0 */
    uint64_t interval_ms;
    uint64_t next_ms;    /* when autocompact_step() is due */
    int64_t last;        /* compacted to by us; 0: nothing yet */
    uint64_t success_ms; /* periodic: when that was; at first, the start */
    uint64_t wait_ms;    /* periodic: from then until the next */
    /* Periodic: the revision at each step, from a retention ago until now; a ring. */
    int64_t *samples;
    size_t len, cap, first, len_max;
};

/* retention: milliseconds or revisions, not 0. now_ms is monotonic. */
void autocompact_init(struct autocompact *policy, enum autocompact_mode mode, uint64_t retention,
                      uint64_t now_ms, int64_t revision);
void autocompact_release(struct autocompact *policy);

/* At next_ms or later: looks at the current revision, and sets the next time. Returns the revision
 * to compact to, or 0: nothing to do, or may_compact is false. How it went is told by
 * autocompact_done(); if that does not come, the next step says the same again. */
int64_t autocompact_step(struct autocompact *policy, uint64_t now_ms, int64_t revision,
                         bool may_compact);
/* The store is compacted to that revision, by us or by somebody else. */
void autocompact_done(struct autocompact *policy, uint64_t now_ms, int64_t revision);

#endif
