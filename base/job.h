/* Work that would take too long on the loop. Whoever wants it done embeds a job; who runs it is
 * passed in: a pool of threads in kvd, the simulator at a later moment of its virtual time.
 *
 * work() runs away from the loop and touches only what its owner does not touch meanwhile; done()
 * follows on the loop, never from inside job_run(). */
#ifndef KVD_BASE_JOB_H
#define KVD_BASE_JOB_H

#include "base/list.h"

struct job {
    void (*work)(struct job *job);
    void (*done)(struct job *job);
    struct list link; /* the runner's */
};

struct job_runner {
    void *ctx;
    void (*run)(void *ctx, struct job *job);
};

static inline void job_run(struct job_runner runner, struct job *job)
{
    runner.run(runner.ctx, job);
}

#endif
