/* Checks that a watcher sees every put of one writer: once, in order, none missing. Puts are
 * numbered from 0; a value begins with the run's id and its number, 16 bytes. */
#ifndef KVD_BENCH_EVENTS_H
#define KVD_BENCH_EVENTS_H

#include <stdint.h>

#include "base/slice.h"

enum { EVENT_MARK_SIZE = 16 };

void event_mark(uint8_t value[EVENT_MARK_SIZE], uint64_t run, uint64_t number);

/* Of one watcher; zeroed at the beginning. */
struct event_check {
    uint64_t next;    /* number of the put that must come next */
    int64_t revision; /* of the last event */
};

/* NULL: it is the next event, its number in *number. Else what is wrong, a static string; the check
 * then goes on behind this event, so that one gap is one error. */
const char *event_check_next(struct event_check *check, uint64_t run, struct slice value,
                             int64_t revision, uint64_t *number);

#endif
