#include "wal/writer.h"

#include <stdlib.h>

#include "base/mem.h"
#include "wal/internal.h"

/* Who has the flush: the loop hands it over as job, the thread gives it back as done. In between
 * upkeep may run, one piece at a time. */
struct wal_writer {
    struct wal *wal;
    wal_durable_cb on_durable;
    wal_flushed_cb on_flushed; /* may be NULL */
    void *ctx;
    void *flushed_ctx;
    wal_writer_close_cb on_close;
    void *close_ctx;

    uv_async_t done_async;
    uv_thread_t thread;
    uv_sem_t wake; /* posted for each job, and for the end */
    uv_mutex_t mutex;

    /* the loop's */
    bool running; /* a flush is with the thread */
    bool failed;
    bool closing;
    bool marked; /* the closing mark was appended */
    bool ended;  /* the thread was told to stop */

    /* for the thread; NULL: stop. The loop sets it before it posts wake. */
    struct wal_flush *job;

    /* from the thread, under mutex */
    struct wal_flush *done;
    int status;
    struct err err;
    uint64_t duration_us;

    /* the thread's */
    bool ran; /* a flush; before, somebody may still flush in place */
};

static void run_job(struct wal_writer *writer, struct wal_flush *flush)
{
    struct err err = ERR_INIT;
    uint64_t start = uv_hrtime();
    int status = wal_flush_run(flush, &err);
    uint64_t duration_us = (uv_hrtime() - start) / 1000;

    uv_mutex_lock(&writer->mutex);
    writer->done = flush;
    writer->status = status;
    writer->err = err;
    writer->duration_us = duration_us;
    uv_mutex_unlock(&writer->mutex);
    (void)uv_async_send(&writer->done_async); /* fails only for a handle that is closed */
}

/* Next flush to run; NULL at the end. Idle time goes to upkeep, which a failure ends until a flush
 * has brought a change (the disk may be full). */
static struct wal_flush *next_job(struct wal_writer *writer)
{
    bool idle = !writer->ran;

    while (!idle && uv_sem_trywait(&writer->wake) != 0)
        idle = wal_upkeep(writer->wal, NULL) != 1;
    if (idle)
        uv_sem_wait(&writer->wake);
    return writer->job;
}

static void writer_main(void *arg)
{
    struct wal_writer *writer = arg;
    struct wal_flush *flush;

    while ((flush = next_job(writer)) != NULL) {
        writer->ran = true;
        run_job(writer, flush);
    }
}

static void on_async_closed(uv_handle_t *handle)
{
    struct wal_writer *writer = CONTAINER_OF((uv_async_t *)handle, struct wal_writer, done_async);
    wal_writer_close_cb on_close = writer->on_close;
    void *ctx = writer->close_ctx;

    uv_mutex_destroy(&writer->mutex);
    uv_sem_destroy(&writer->wake);
    free(writer);
    on_close(ctx);
}

/* The thread has nothing to run, so joining it waits for one piece of upkeep at most. */
static void finish_close(struct wal_writer *writer)
{
    writer->ended = true;
    writer->job = NULL;
    uv_sem_post(&writer->wake);
    ASSERT(uv_thread_join(&writer->thread) == 0);
    uv_close((uv_handle_t *)&writer->done_async, on_async_closed);
}

/* What was pending goes first; then the mark, alone, so that it proves the rest. */
static void close_step(struct wal_writer *writer)
{
    if (writer->running || writer->ended)
        return;
    if (!writer->failed && !writer->marked) {
        if (writer->wal->pending.len == 0) {
            (void)wal_append_mark(writer->wal);
            writer->marked = true;
        }
        wal_writer_kick(writer);
        return;
    }
    finish_close(writer);
}

static void on_done(uv_async_t *async)
{
    struct wal_writer *writer = CONTAINER_OF(async, struct wal_writer, done_async);
    struct wal_flush *flush;
    struct err err;
    uint64_t duration_us, bytes, seq = 0;
    int status;

    uv_mutex_lock(&writer->mutex);
    flush = writer->done;
    writer->done = NULL;
    status = writer->status;
    err = writer->err;
    duration_us = writer->duration_us;
    uv_mutex_unlock(&writer->mutex);
    if (flush == NULL) /* two wake-ups for one flush */
        return;

    bytes = flush->bytes;
    writer->running = false;
    if (status == 0)
        seq = wal_flush_end(writer->wal, flush);
    else
        writer->failed = true;
    /* The disk first, then the callbacks: what they append waits for this one. */
    if (!writer->closing)
        wal_writer_kick(writer);
    if (writer->on_flushed != NULL && status == 0)
        writer->on_flushed(writer->flushed_ctx, duration_us, bytes);
    writer->on_durable(writer->ctx, status, seq, status == 0 ? NULL : &err);
    if (writer->closing)
        close_step(writer);
}

int wal_writer_start(uv_loop_t *loop, struct wal *wal, wal_durable_cb on_durable, void *ctx,
                     struct wal_writer **out, struct err *err)
{
    struct wal_writer *writer = xcalloc(1, sizeof(*writer));
    int rc;

    writer->wal = wal;
    writer->on_durable = on_durable;
    writer->ctx = ctx;
    if (uv_sem_init(&writer->wake, 0) != 0)
        goto fail;
    if (uv_mutex_init(&writer->mutex) != 0)
        goto fail_sem;
    rc = uv_async_init(loop, &writer->done_async, on_done);
    if (rc != 0)
        goto fail_mutex;
    /* A thread that can not be made leaves the handle in the loop, which can only be closed by
     * turning the loop; so it is made last and its failure is the process's. */
    ASSERT(uv_thread_create(&writer->thread, writer_main, writer) == 0);
    *out = writer;
    return 0;

fail_mutex:
    uv_mutex_destroy(&writer->mutex);
fail_sem:
    uv_sem_destroy(&writer->wake);
fail:
    free(writer);
    return err_set(err, KV_EIO, "starting the log thread failed");
}

bool wal_writer_is_busy(const struct wal_writer *writer)
{
    return writer->running;
}

void wal_writer_kick(struct wal_writer *writer)
{
    struct wal_flush *flush;

    if (writer->running || writer->failed)
        return;
    flush = wal_flush_begin(writer->wal);
    if (flush == NULL)
        return;
    writer->running = true;
    writer->job = flush;
    uv_sem_post(&writer->wake);
}

void wal_writer_observe(struct wal_writer *writer, wal_flushed_cb on_flushed, void *ctx)
{
    writer->on_flushed = on_flushed;
    writer->flushed_ctx = ctx;
}

void wal_writer_close(struct wal_writer *writer, wal_writer_close_cb cb, void *ctx)
{
    ASSERT(!writer->closing);
    writer->closing = true;
    writer->on_close = cb;
    writer->close_ctx = ctx;
    close_step(writer);
}
