/* Not faster than so many bytes per second: for long work on a thread of its own, which sleeps. */
#ifndef KVD_BASE_PACE_H
#define KVD_BASE_PACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pace {
    uint64_t bytes_per_second; /* 0: as fast as it goes */
    atomic_bool hurry;         /* as if it were 0, from now on; any thread may say so */
    uint64_t started_ns;       /* 0: nothing was done yet */
    uint64_t bytes;            /* since then */
};

void pace_init(struct pace *pace, uint64_t bytes_per_second);
/* So many bytes more were done: waits until that is slow enough. What was saved up by being slower
 * before is forgotten after a second, so a pause is not followed by a rush. */
void pace_wait(struct pace *pace, uint64_t bytes);

#endif
