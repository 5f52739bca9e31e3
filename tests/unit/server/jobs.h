/* A runner for tests: jobs wait until they are told to run. Header only. */
#ifndef KVD_TESTS_SERVER_JOBS_H
#define KVD_TESTS_SERVER_JOBS_H

#include <stdbool.h>

#include "base/job.h"
#include "base/util.h"

static inline void jobs_run(void *ctx, struct job *job)
{
    list_init(&job->link);
    list_push_back(ctx, &job->link);
}

static inline struct job_runner jobs_runner(struct list *jobs)
{
    list_init(jobs);
    return (struct job_runner){.ctx = jobs, .run = jobs_run};
}

/* False: none waits. */
static inline UNUSED bool jobs_next(struct list *jobs)
{
    struct job *job;

    if (list_empty(jobs))
        return false;
    job = LIST_FIRST(jobs, struct job, link);
    list_remove(&job->link);
    job->work(job);
    job->done(job);
    return true;
}

#endif
