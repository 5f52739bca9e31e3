/* Runs jobs on the loop's pool of threads (base/job.h). Loop thread only. */
#ifndef KVD_SERVER_WORKER_H
#define KVD_SERVER_WORKER_H

#include <uv.h>

#include "base/job.h"

struct worker;

struct worker *worker_new(uv_loop_t *loop);
struct job_runner worker_runner(struct worker *worker);
/* Waits for the jobs that are being run, then frees itself and calls cb. What is handed over from
 * here on is dropped: its owners are about to go. */
void worker_close(struct worker *worker, void (*cb)(void *ctx), void *ctx);

#endif
