/* Who works whenever there is time (long ranges) keeps a core busy, and where there are few cores
 * the log thread then waits for one: some milliseconds, the scheduler's slice, where its sync takes
 * a fraction of one. So that work rests while a flush is under way, and no longer than it has
 * worked before: flush upon flush, or a disk that takes seconds, halve it and never stop it.
 *
 * Times are passed in, in nanoseconds of any monotonic clock. */
#ifndef KVD_SERVER_REST_H
#define KVD_SERVER_REST_H

#include <stdbool.h>
#include <stdint.h>

enum { REST_NS_MAX = 3000000 }; /* at a time; the syncs of most disks end before */

/* Zeroed: nothing is earned yet. */
struct rest {
    uint64_t earned_ns;
    uint64_t since_ns; /* while resting, else 0 */
};

/* Asked before each piece of work. How long to rest, if nothing calls before that; 0: work now. */
uint64_t rest_for(struct rest *rest, uint64_t now_ns, bool flushing);
/* A piece of work took so long. */
void rest_earn(struct rest *rest, uint64_t worked_ns);

#endif
