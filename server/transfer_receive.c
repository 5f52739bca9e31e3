/* The receiver: one file at a time, chunks written by a job in the order they came; at the end the
 * job reads it all back, which verifies it and makes the new machine. */
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/mem.h"
#include "server/state.h"
#include "server/transfer_internal.h"

struct chunk {
    struct list link;
    size_t len;
    uint8_t bytes[];
};

struct receiving {
    struct transfer *transfer;
    uint64_t peer;
    uint64_t index, term, size;
    uint32_t id;
    uint64_t started_ms, heard_ms;
    uint64_t expected;   /* offset of the next chunk */
    uint64_t written;    /* what jobs have brought to the disk */
    struct list arrived; /* chunks that no job has yet */
    bool finishing;      /* the last job is away */
    bool unwanted;       /* ends when its job comes back */

    struct job job;
    bool working;
    /* The job's while it is away. */
    struct snapshot_incoming *incoming;
    struct list writing;
    struct machine *machine;
    int status;
    struct err err;
};

/* A machine that nobody needs: freeing it takes a while. */
struct disposal {
    struct list link;
    struct job job;
    struct machine *machine;
};

static uint64_t now_ms(const struct transfer *t)
{
    return t->options.now_ms(t->options.ctx);
}

static void answer(const struct receiving *r, enum transfer_kind kind)
{
    struct transfer_frame frame = {.kind = kind, .id = r->id};

    transfer__send(r->transfer, r->peer, TRANSFER_RECEIVER, &frame);
}

/* To an offer: where to go on. Otherwise: so much is written, which lets the sender send more. */
static void want(const struct receiving *r, uint64_t offset)
{
    struct transfer_frame frame = {.kind = TRANSFER_WANT, .id = r->id, .offset = offset};

    transfer__send(r->transfer, r->peer, TRANSFER_RECEIVER, &frame);
}

static void free_chunks(struct list *chunks)
{
    LIST_EACH_SAFE (node, chunks) {
        list_remove(node);
        free(LIST_ENTRY(node, struct chunk, link));
    }
}

static void free_receiving(struct receiving *r)
{
    r->transfer->receiving = NULL;
    free_chunks(&r->arrived);
    free_chunks(&r->writing);
    machine_free(r->machine);
    snapshot_incoming_close(r->incoming);
    free(r);
}

/* ---- a machine that was made and is not wanted ---- */

static void dispose_work(struct job *job)
{
    struct disposal *disposal = CONTAINER_OF(job, struct disposal, job);

    machine_free(disposal->machine);
    disposal->machine = NULL;
}

static void dispose_done(struct job *job)
{
    struct disposal *disposal = CONTAINER_OF(job, struct disposal, job);

    list_remove(&disposal->link);
    free(disposal);
}

static void drop_ready(struct transfer *t)
{
    struct disposal *disposal;

    if (t->ready == NULL)
        return;
    disposal = xcalloc(1, sizeof *disposal);
    disposal->machine = t->ready;
    disposal->job = (struct job){.work = dispose_work, .done = dispose_done};
    list_push_back(&t->disposals, &disposal->link);
    t->ready = NULL;
    job_run(t->options.runner, &disposal->job);
}

bool transfer_is_ready(const struct transfer *t, uint64_t index, uint64_t term)
{
    return t->ready != NULL && t->ready_index == index && t->ready_term == term;
}

bool transfer_ready(const struct transfer *t, uint64_t *index, uint64_t *term)
{
    *index = t->ready_index;
    *term = t->ready_term;
    return t->ready != NULL;
}

struct machine *transfer_take(struct transfer *t)
{
    struct machine *machine = t->ready;

    t->ready = NULL;
    return machine;
}

/* ---- jobs ---- */

static void hand_over(struct receiving *r, void (*work)(struct job *), void (*done)(struct job *))
{
    ASSERT(!r->working);
    r->working = true;
    r->job = (struct job){.work = work, .done = done};
    job_run(r->transfer->options.runner, &r->job);
}

static void end(struct receiving *r)
{
    struct transfer *t = r->transfer;
    int code = r->status;
    struct err err = r->err;
    uint64_t peer = r->peer, size = r->size, took_ms = now_ms(t) - r->started_ms;

    if (code != 0 && code != KV_ECANCELED)
        t->refuse_until_ms = now_ms(t) + REFUSE_MS;
    answer(r, code == 0 ? TRANSFER_HAVE : TRANSFER_NO);
    free_receiving(r);
    t->options.on_received(t->options.ctx, peer, code, code == 0 ? "" : err.text, size, took_ms);
}

/* True: that was the end. */
static bool job_ended(struct receiving *r)
{
    r->working = false;
    if (r->status == 0 && r->unwanted && !r->finishing)
        r->status = err_set(&r->err, KV_ECANCELED, "not wanted any more");
    if (r->status == 0)
        return false;
    end(r);
    return true;
}

static void write_work(struct job *job)
{
    struct receiving *r = CONTAINER_OF(job, struct receiving, job);
    struct transfer *t = r->transfer;

    r->status = 0;
    if (r->incoming == NULL)
        r->status = snapshot_incoming_open(t->options.disk, t->dir, &r->incoming, &r->err);
    LIST_EACH (node, &r->writing) {
        struct chunk *chunk = LIST_ENTRY(node, struct chunk, link);

        if (r->status == 0)
            r->status =
                snapshot_incoming_write(r->incoming, slice_of(chunk->bytes, chunk->len), &r->err);
    }
}

static int check_header(const struct receiving *r, struct snapshot_reader *reader, struct err *err)
{
    const struct snapshot_meta *meta = snapshot_meta(reader);

    if (meta->cluster_id != r->transfer->options.cluster_id)
        return err_set(err, KV_EMISMATCH, "the checkpoint belongs to another cluster");
    if (meta->index != r->index || meta->term != r->term || snapshot_id(reader) != r->id)
        return err_set(err, KV_ECORRUPT, "the checkpoint is another one than was offered");
    return 0;
}

static int load(struct receiving *r, struct err *err)
{
    const struct transfer_options *options = &r->transfer->options;
    struct snapshot_reader *reader;
    int rc = snapshot_open(options->disk, snapshot_incoming_path(r->incoming), &reader, err);

    if (rc != 0)
        return rc;
    rc = check_header(r, reader, err);
    if (rc == 0)
        rc = machine_load(reader, options->seed, &r->machine, err);
    snapshot_close(reader);
    return rc;
}

/* Durable, then verified, then named: what has a checkpoint's name is whole. */
static void finish_work(struct job *job)
{
    struct receiving *r = CONTAINER_OF(job, struct receiving, job);

    r->status = snapshot_incoming_sync(r->incoming, &r->err);
    FAILPOINT("receive-load");
    if (r->status == 0)
        r->status = load(r, &r->err);
    if (r->status == 0)
        r->status = snapshot_incoming_commit(r->incoming, r->index, r->term, &r->err);
}

static void finish_done(struct job *job)
{
    struct receiving *r = CONTAINER_OF(job, struct receiving, job);
    struct transfer *t = r->transfer;

    if (job_ended(r))
        return;
    drop_ready(t);
    t->ready = r->machine;
    r->machine = NULL;
    t->ready_index = r->index;
    t->ready_term = r->term;
    t->ready_id = r->id;
    checkpoints_add(t->options.checkpoints, r->index, r->term, r->size);
    end(r);
}

static void write_next(struct receiving *r);

static void write_done(struct job *job)
{
    struct receiving *r = CONTAINER_OF(job, struct receiving, job);

    free_chunks(&r->writing);
    if (job_ended(r))
        return;
    r->written = snapshot_incoming_size(r->incoming);
    if (r->written == r->size) {
        r->finishing = true;
        hand_over(r, finish_work, finish_done);
        return;
    }
    want(r, r->written);
    write_next(r);
}

static void write_next(struct receiving *r)
{
    if (r->working || list_empty(&r->arrived))
        return;
    list_splice(&r->writing, &r->arrived);
    hand_over(r, write_work, write_done);
}

/* ---- frames ---- */

static void begin(struct transfer *t, uint64_t peer, const struct transfer_frame *offer)
{
    struct receiving *r = xcalloc(1, sizeof *r);

    r->transfer = t;
    r->peer = peer;
    r->index = offer->index;
    r->term = offer->term;
    r->size = offer->size;
    r->id = offer->id;
    r->started_ms = r->heard_ms = now_ms(t);
    list_init(&r->arrived);
    list_init(&r->writing);
    t->receiving = r;
    t->options.on_receiving(t->options.ctx, peer);
    want(r, 0);
}

static void refuse(struct transfer *t, uint64_t peer, const struct transfer_frame *offer,
                   enum transfer_kind kind)
{
    struct transfer_frame frame = {.kind = kind, .id = offer->id};

    transfer__send(t, peer, TRANSFER_RECEIVER, &frame);
}

/* Another file than the one that is coming: if that is no older it goes on, if nobody has heard of
 * its sender for a while it does not matter any more. */
static bool gives_way(const struct receiving *r, uint64_t peer, const struct transfer_frame *offer)
{
    return peer == r->peer || offer->index > r->index ||
           now_ms(r->transfer) - r->heard_ms >= STALLED_MS;
}

void transfer__on_offer(struct transfer *t, uint64_t peer, const struct transfer_frame *offer)
{
    struct receiving *r = t->receiving;

    if (offer->index <= t->options.applied(t->options.ctx) ||
        (t->ready != NULL && t->ready_id == offer->id && t->ready_index == offer->index)) {
        refuse(t, peer, offer, TRANSFER_HAVE);
    } else if (r == NULL) {
        /* Whatever failed, a full disk most likely, is not better at once. */
        if (now_ms(t) < t->refuse_until_ms)
            refuse(t, peer, offer, TRANSFER_NO);
        else
            begin(t, peer, offer);
    } else if (r->id == offer->id && r->peer == peer && r->index == offer->index &&
               r->size == offer->size) {
        r->heard_ms = now_ms(t);
        if (!r->finishing) /* else the answer follows by itself */
            want(r, r->expected);
    } else if (!gives_way(r, peer, offer) || r->working) {
        r->unwanted = r->unwanted || gives_way(r, peer, offer);
        refuse(t, peer, offer, TRANSFER_NO); /* it comes again */
    } else {
        r->status = err_set(&r->err, KV_ECANCELED, "a newer one is offered");
        end(r);
        begin(t, peer, offer);
    }
}

void transfer__on_chunk(struct transfer *t, uint64_t peer, const struct transfer_frame *frame)
{
    struct receiving *r = t->receiving;
    struct chunk *chunk;

    if (r == NULL || r->peer != peer || r->id != frame->id || frame->offset != r->expected ||
        frame->bytes.len > r->size - r->expected || r->finishing)
        return; /* of a transfer that is over */
    chunk = xmalloc(sizeof *chunk + frame->bytes.len);
    chunk->len = frame->bytes.len;
    memcpy(chunk->bytes, frame->bytes.data, chunk->len);
    list_push_back(&r->arrived, &chunk->link);
    r->expected += chunk->len;
    r->heard_ms = now_ms(t);
    write_next(r);
}

void transfer__tick_receiving(struct transfer *t, uint64_t now)
{
    struct receiving *r = t->receiving;

    if (r != NULL && !r->working && now - r->heard_ms >= RECEIVE_STALLED_MS) {
        r->status = err_set(&r->err, KV_ETIMEDOUT, "the sender is silent");
        end(r);
    }
    if (t->receiving != NULL && t->receiving->working)
        want(t->receiving, t->receiving->written); /* it takes a while: a sign of life */
    if (t->ready != NULL && t->ready_index <= t->options.applied(t->options.ctx))
        drop_ready(t);
}

void transfer__free_receiving(struct transfer *t)
{
    if (t->receiving != NULL)
        free_receiving(t->receiving);
    machine_free(t->ready);
    LIST_EACH_SAFE (node, &t->disposals) {
        struct disposal *disposal = LIST_ENTRY(node, struct disposal, link);

        machine_free(disposal->machine);
        free(disposal);
    }
}
