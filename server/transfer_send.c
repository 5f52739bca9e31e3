/* The sender: reads a chunk, sends it, reads the next when there is room in the window.
 *
 *   OPENING ──▶ CONNECTING ──▶ OFFERED ──▶ STREAMING ──▶ (held)
 *                   ▲─── broken ──┴─────────────┘
 *   any ── failed ──▶ RESTING ──▶ (failed): so that a receiver that can not is not asked all the
 * time any ── not wanted ──▶ GONE: waits for its job alone */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/mem.h"
#include "base/pace.h"
#include "server/transfer_internal.h"

enum sending_state { OPENING, CONNECTING, OFFERED, STREAMING, RESTING, GONE };

struct sending {
    struct list link;
    struct transfer *transfer;
    uint64_t peer;
    struct checkpoint_file *file;
    enum sending_state state;
    bool connected;
    uint64_t started_ms;
    uint64_t progress_ms; /* when it last got on; RESTING: since */
    char why[200];        /* RESTING: what failed */

    struct replica_snapshot snapshot;
    uint8_t *configuration;
    uint64_t size;
    uint32_t id;
    uint64_t sent, acked;

    struct job job;
    bool working;
    /* The job's while it is away. */
    char *path;
    struct disk_file *handle;
    uint8_t *chunk;
    size_t chunk_len;
    uint64_t chunk_offset;
    struct pace pace;
    int status;
    struct err err;
};

static uint64_t now_ms(const struct transfer *t)
{
    return t->options.now_ms(t->options.ctx);
}

static struct sending *find(const struct transfer *t, uint64_t peer)
{
    LIST_EACH (node, &t->sendings) {
        struct sending *s = LIST_ENTRY(node, struct sending, link);

        if (s->peer == peer && s->state != GONE)
            return s;
    }
    return NULL;
}

static void free_sending(struct sending *s)
{
    struct transfer *t = s->transfer;

    list_remove(&s->link);
    if (s->handle != NULL)
        t->options.disk.ops->close(t->options.disk.ctx, s->handle);
    free(s->configuration);
    free(s->path);
    free(s->chunk);
    free(s);
}

/* Nobody waits for it any more. */
static void let_go(struct sending *s)
{
    struct transfer *t = s->transfer;

    if (s->state == GONE)
        return;
    s->state = GONE;
    t->options.close(t->options.ctx, s->peer);
    checkpoints_release(t->options.checkpoints, s->file);
    if (!s->working)
        free_sending(s);
}

static void rest(struct sending *s, const char *why)
{
    if (s->state == RESTING || s->state == GONE)
        return;
    snprintf(s->why, sizeof s->why, "%s", why);
    s->state = RESTING;
    s->progress_ms = now_ms(s->transfer);
    s->transfer->options.close(s->transfer->options.ctx, s->peer);
}

/* ---- jobs ---- */

static void hand_over(struct sending *s, void (*work)(struct job *), void (*done)(struct job *))
{
    ASSERT(!s->working);
    s->working = true;
    s->job = (struct job){.work = work, .done = done};
    job_run(s->transfer->options.runner, &s->job);
}

/* True: nothing more may be done with it. */
static bool job_ended(struct sending *s)
{
    s->working = false;
    if (s->state == GONE) {
        free_sending(s);
        return true;
    }
    if (s->status != 0)
        rest(s, s->err.text);
    return s->state == RESTING;
}

static void open_work(struct job *job)
{
    struct sending *s = CONTAINER_OF(job, struct sending, job);
    const struct disk *disk = &s->transfer->options.disk;
    const struct snapshot_meta *meta;
    struct snapshot_reader *reader;

    s->status = snapshot_open(*disk, s->path, &reader, &s->err);
    if (s->status != 0)
        return;
    meta = snapshot_meta(reader);
    s->configuration = xmemdup(meta->configuration.data, meta->configuration.len);
    s->snapshot = (struct replica_snapshot){
        .index = meta->index,
        .term = meta->term,
        .configuration_index = meta->configuration_index,
        .configuration = slice_of(s->configuration, meta->configuration.len)};
    s->size = snapshot_size(reader);
    s->id = snapshot_id(reader);
    snapshot_close(reader);
    s->status = disk->ops->open(disk->ctx, s->path, DISK_READ, &s->handle, &s->err);
    if (s->status != 0)
        s->handle = NULL;
}

static void read_work(struct job *job)
{
    struct sending *s = CONTAINER_OF(job, struct sending, job);
    const struct disk *disk = &s->transfer->options.disk;
    size_t want = (size_t)MIN(s->size - s->chunk_offset, (uint64_t)CHUNK_SIZE);

    s->status = disk->ops->read(disk->ctx, s->handle, s->chunk_offset, s->chunk, want,
                                &s->chunk_len, &s->err);
    if (s->status == 0 && s->chunk_len != want)
        s->status = err_set(&s->err, KV_ECORRUPT, "checkpoint %s has become shorter", s->path);
    pace_wait(&s->pace, s->chunk_len);
}

static void read_next(struct sending *s);

static void read_done(struct job *job)
{
    struct sending *s = CONTAINER_OF(job, struct sending, job);
    struct transfer_frame chunk = {.kind = TRANSFER_CHUNK,
                                   .id = s->id,
                                   .offset = s->chunk_offset,
                                   .bytes = slice_of(s->chunk, s->chunk_len)};

    if (job_ended(s))
        return;
    /* Else the connection broke, or the receiver has said since where to go on. */
    if (s->state == STREAMING && s->chunk_offset == s->sent) {
        FAILPOINT("checkpoint-send");
        transfer__send(s->transfer, s->peer, TRANSFER_SENDER, &chunk);
        s->sent += s->chunk_len;
    }
    read_next(s);
}

static void read_next(struct sending *s)
{
    if (s->state != STREAMING || s->working || s->sent == s->size ||
        s->sent - s->acked >= (uint64_t)WINDOW_CHUNKS * CHUNK_SIZE)
        return;
    s->chunk_offset = s->sent;
    hand_over(s, read_work, read_done);
}

/* ---- the course ---- */

static void offer(struct sending *s)
{
    struct transfer_frame frame = {.kind = TRANSFER_OFFER,
                                   .index = s->snapshot.index,
                                   .term = s->snapshot.term,
                                   .size = s->size,
                                   .id = s->id};

    if (s->state != CONNECTING || !s->connected)
        return;
    s->state = OFFERED;
    transfer__send(s->transfer, s->peer, TRANSFER_SENDER, &frame);
}

static void open_done(struct job *job)
{
    struct sending *s = CONTAINER_OF(job, struct sending, job);
    struct transfer *t = s->transfer;

    if (s->status != 0 && s->state != GONE)
        checkpoints_mark_damaged(t->options.checkpoints, s->file);
    if (job_ended(s))
        return;
    s->state = CONNECTING;
    t->options.open(t->options.ctx, s->peer);
    offer(s);
}

void transfer_send(struct transfer *t, uint64_t peer, uint64_t index)
{
    struct checkpoint_file *file;
    struct sending *s = find(t, peer);

    if (s != NULL)
        return;
    file = checkpoints_hold(t->options.checkpoints, index);
    if (file == NULL) {
        t->options.on_failed(t->options.ctx, peer, "there is no checkpoint that is new enough");
        return;
    }
    s = xcalloc(1, sizeof *s);
    s->transfer = t;
    s->peer = peer;
    s->file = file;
    s->path = snapshot_path(t->dir, file->index, file->term);
    s->chunk = xmalloc(CHUNK_SIZE);
    s->started_ms = s->progress_ms = now_ms(t);
    pace_init(&s->pace, t->options.bytes_per_second);
    list_push_back(&t->sendings, &s->link);
    hand_over(s, open_work, open_done);
}

void transfer_stop_sending(struct transfer *t)
{
    LIST_EACH_SAFE (node, &t->sendings)
        let_go(LIST_ENTRY(node, struct sending, link));
}

void transfer_on_connection(struct transfer *t, uint64_t peer, bool up)
{
    struct sending *s = find(t, peer);

    if (s == NULL)
        return;
    s->connected = up;
    if (!up && (s->state == OFFERED || s->state == STREAMING))
        s->state = CONNECTING; /* it is opened again by itself */
    offer(s);
}

static void held(struct sending *s)
{
    struct transfer *t = s->transfer;
    struct replica_snapshot snapshot = s->snapshot;
    uint8_t *configuration = s->configuration;
    uint64_t peer = s->peer, size = s->size, took_ms = now_ms(t) - s->started_ms;

    s->configuration = NULL; /* ours until it is told */
    let_go(s);
    t->options.on_held(t->options.ctx, peer, &snapshot, size, took_ms);
    free(configuration);
}

/* The first WANT says where to begin, the others how much the receiver has written. */
static void wanted(struct sending *s, uint64_t offset)
{
    if (offset > s->size || (s->state == STREAMING && offset > s->sent)) {
        rest(s, "the receiver wants what was not sent");
        return;
    }
    if (s->state == OFFERED) {
        s->state = STREAMING;
        s->sent = offset;
    }
    s->acked = offset;
    read_next(s);
}

void transfer__on_answer(struct transfer *t, uint64_t peer, const struct transfer_frame *frame)
{
    struct sending *s = find(t, peer);

    if (s == NULL || frame->id != s->id || (s->state != OFFERED && s->state != STREAMING))
        return;
    s->progress_ms = now_ms(t);
    if (frame->kind == TRANSFER_HAVE)
        held(s);
    else if (frame->kind == TRANSFER_NO)
        rest(s, "the receiver can not take it now");
    else
        wanted(s, frame->offset);
}

void transfer__tick_sending(struct transfer *t, uint64_t now)
{
    LIST_EACH_SAFE (node, &t->sendings) {
        struct sending *s = LIST_ENTRY(node, struct sending, link);
        uint64_t peer = s->peer;
        char why[sizeof s->why];

        if (s->state != RESTING && s->state != GONE && now - s->progress_ms >= STALLED_MS)
            rest(s, "no word of the receiver for ten seconds");
        if (s->state != RESTING || now - s->progress_ms < REST_MS)
            continue;
        memcpy(why, s->why, sizeof why);
        let_go(s);
        t->options.on_failed(t->options.ctx, peer, why);
    }
}

void transfer__free_sending(struct transfer *t)
{
    LIST_EACH_SAFE (node, &t->sendings)
        free_sending(LIST_ENTRY(node, struct sending, link));
}
