#include "server/worker.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/util.h"

struct worker {
    uv_loop_t *loop;
    size_t away; /* handed over, and not back */
    struct job first;
    bool closing;
    uv_async_t close_async; /* the close callback must not fire from inside the call */
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

struct errand {
    uv_work_t work;
    struct worker *worker;
    struct job *job;
};

static void on_work(uv_work_t *work)
{
    struct job *job = CONTAINER_OF(work, struct errand, work)->job;

    job->work(job);
}

static void on_async_closed(uv_handle_t *handle)
{
    struct worker *worker = CONTAINER_OF((uv_async_t *)handle, struct worker, close_async);
    void (*cb)(void *ctx) = worker->close_cb;
    void *ctx = worker->close_ctx;

    free(worker);
    cb(ctx);
}

static void close_if_idle(struct worker *worker)
{
    if (worker->closing && worker->away == 0)
        uv_close((uv_handle_t *)&worker->close_async, on_async_closed);
}

static void on_worked(uv_work_t *work, int status)
{
    struct errand *errand = CONTAINER_OF(work, struct errand, work);
    struct worker *worker = errand->worker;
    struct job *job = errand->job;

    ASSERT(status == 0); /* never cancelled */
    free(errand);
    job->done(job);
    worker->away--;
    close_if_idle(worker);
}

static void run(void *ctx, struct job *job)
{
    struct worker *worker = ctx;
    struct errand *errand;
    int rc;

    if (worker->closing)
        return;
    errand = xcalloc(1, sizeof *errand);
    errand->worker = worker;
    errand->job = job;
    worker->away++;
    rc = uv_queue_work(worker->loop, &errand->work, on_work, on_worked);
    ASSERT(rc == 0); /* fails only without a callback */
}

static void do_nothing(uv_async_t *async)
{
    (void)async;
}

static void start_threads(struct job *job)
{
    (void)job;
}

struct worker *worker_new(uv_loop_t *loop)
{
    struct worker *worker = xcalloc(1, sizeof *worker);
    int rc;

    worker->loop = loop;
    rc = uv_async_init(loop, &worker->close_async, do_nothing);
    ASSERT(rc == 0); /* the loop has its own pipe since it was made */
    uv_unref((uv_handle_t *)&worker->close_async);
    /* libuv starts its threads with the first job, and aborts without a word if there is no memory
     * for them: better now than in a month. */
    worker->first = (struct job){.work = start_threads, .done = start_threads};
    run(worker, &worker->first);
    return worker;
}

struct job_runner worker_runner(struct worker *worker)
{
    return (struct job_runner){.ctx = worker, .run = run};
}

void worker_close(struct worker *worker, void (*cb)(void *ctx), void *ctx)
{
    worker->closing = true;
    worker->close_cb = cb;
    worker->close_ctx = ctx;
    close_if_idle(worker);
}
