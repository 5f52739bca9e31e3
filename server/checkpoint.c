#include "server/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/mem.h"
#include "base/pace.h"
#include "server/state.h"
#include "snapshot/snapshot.h"

enum {
    KEEP = 2,
    /* Log between two is at least so many percent of the size of one. While much is written, what
     * goes to disk is then less than four times that; in calm times the disk is what counts. */
    LOG_PERCENT = 55,
    LOG_PERCENT_CALM = 40,
    SHRINK_PERCENT_CALM = 20, /* of what is there now */
    READ_SPEED = 4,           /* times that of writing: reading is in nobody's way for long */
    BATCH_CHANGES = 512,      /* walked in one turn ... */
    BATCH_BYTES = 1 << 18,    /* ... and what they hold */
    PRUNE_MAX = 16,           /* files removed in one go */
};

enum checkpoint_state { IDLE, OPENING, WALKING, ENDING };

/* References into the pinned keyspace. */
struct batch {
    struct mvcc_change *changes;
    size_t len;
    bool last;
};

/* Payloads of STATE_SMALL blocks, one behind the other. */
struct small_blocks {
    struct buf bytes;
    struct {
        size_t len;
        uint32_t items;
    } * blocks;
    size_t count;
};

struct checkpoints {
    struct checkpoints_options options;
    char *dir;
    struct checkpoint_file **files; /* the newest first */
    size_t file_count;
    uint64_t last_bytes; /* size of the newest */
    struct replica_snapshot base;
    uint8_t *base_configuration;

    /* The one being written. */
    enum checkpoint_state state;
    bool abandoned;
    bool working; /* a job of it is away */
    struct job job;
    struct replica_snapshot snapshot;
    uint8_t *configuration;
    struct small_blocks small;
    struct mvcc_history history;
    struct batch batches[2];
    unsigned filled; /* batches[filled % 2] is the next to fill */
    unsigned handed; /* batches[handed % 2] is the next to go, or away */
    bool walked;     /* the last change has been walked */
    /* The job's while it is away. */
    struct snapshot_writer *writer;
    struct state_block block;
    int status;
    struct pace read_pace;
    bool unreadable; /* it was written, and the disk gives back something else */
    struct err err;
    uint64_t bytes;

    /* Removing files. */
    struct job prune_job;
    struct pace prune_pace;
    bool pruning;
    struct snapshot_file prune[PRUNE_MAX];
    size_t prune_count;
};

/* ---- files ---- */

static void insert_file(struct checkpoints *c, uint64_t index, uint64_t term)
{
    struct checkpoint_file *file;
    size_t at = 0;

    while (at < c->file_count && c->files[at]->index > index)
        at++;
    if (at < c->file_count && c->files[at]->index == index && c->files[at]->term == term) {
        c->files[at]->damaged = false; /* written anew */
        return;
    }
    file = xcalloc(1, sizeof *file);
    file->index = index;
    file->term = term;
    c->files = xrealloc(c->files, (c->file_count + 1) * sizeof(struct checkpoint_file *));
    memmove(c->files + at + 1, c->files + at,
            (c->file_count - at) * sizeof(struct checkpoint_file *));
    c->files[at] = file;
    c->file_count++;
}

static void prune_work(struct job *job)
{
    struct checkpoints *c = CONTAINER_OF(job, struct checkpoints, prune_job);

    for (size_t i = 0; i < c->prune_count; i++)
        snapshot_remove(c->options.disk, c->dir, c->prune[i].index, c->prune[i].term,
                        &c->prune_pace);
}

static void prune(struct checkpoints *c);

static void prune_done(struct job *job)
{
    struct checkpoints *c = CONTAINER_OF(job, struct checkpoints, prune_job);

    c->prune_count = 0;
    c->pruning = false;
    prune(c); /* what has become old meanwhile */
}

static void forget_file(struct checkpoints *c, size_t at)
{
    c->prune[c->prune_count++] =
        (struct snapshot_file){.index = c->files[at]->index, .term = c->files[at]->term};
    free(c->files[at]);
    c->file_count--;
    memmove(c->files + at, c->files + at + 1,
            (c->file_count - at) * sizeof(struct checkpoint_file *));
}

/* One of that name was there before, and has been replaced. */
static void forget_index(struct checkpoints *c, uint64_t index, uint64_t term)
{
    for (size_t i = 0; i < c->file_count; i++)
        if (c->files[i]->index == index && c->files[i]->term == term)
            c->files[i]->damaged = true;
}

/* Or there is one of the same name, which it is to replace. */
static bool is_being_written(const struct checkpoints *c, const struct checkpoint_file *file)
{
    return c->state != IDLE && file->index == c->snapshot.index && file->term == c->snapshot.term;
}

/* Keeps the newest good ones, what is being sent and what is being written. */
static void prune(struct checkpoints *c)
{
    size_t good = 0;

    if (c->pruning)
        return; /* its end looks again */
    for (size_t i = 0; i < c->file_count && c->prune_count < PRUNE_MAX;) {
        good += !c->files[i]->damaged;
        if (c->files[i]->holds > 0 || is_being_written(c, c->files[i]) ||
            (!c->files[i]->damaged && good <= c->options.keep) ||
            (c->files[i]->damaged && good == 0))
            i++;
        else
            forget_file(c, i);
    }
    if (c->prune_count == 0)
        return;
    c->pruning = true;
    c->prune_job = (struct job){.work = prune_work, .done = prune_done};
    job_run(c->options.runner, &c->prune_job);
}

void checkpoints_keep(struct checkpoints *c, size_t keep)
{
    if (keep == c->options.keep)
        return;
    c->options.keep = keep;
    prune(c);
}

void checkpoints_hurry(struct checkpoints *c)
{
    c->prune_pace.hurry = true;
    c->read_pace.hurry = true;
}

struct checkpoint_file *checkpoints_hold(struct checkpoints *c, uint64_t index)
{
    for (size_t i = 0; i < c->file_count && c->files[i]->index >= index; i++) {
        if (c->files[i]->damaged)
            continue;
        c->files[i]->holds++;
        return c->files[i];
    }
    return NULL;
}

void checkpoints_release(struct checkpoints *c, struct checkpoint_file *file)
{
    ASSERT(file->holds > 0);
    file->holds--;
    prune(c);
}

void checkpoints_mark_damaged(struct checkpoints *c, struct checkpoint_file *file)
{
    (void)c;
    file->damaged = true;
}

void checkpoints_add(struct checkpoints *c, uint64_t index, uint64_t term, uint64_t bytes)
{
    insert_file(c, index, term);
    c->last_bytes = bytes;
    prune(c);
}

void checkpoints_forget_below(struct checkpoints *c, uint64_t index)
{
    const struct disk *disk = &c->options.disk;
    size_t kept = 0;

    for (size_t i = 0; i < c->file_count; i++) {
        char *path;

        if (c->files[i]->index >= index || c->files[i]->holds > 0) {
            c->files[kept++] = c->files[i];
            continue;
        }
        path = snapshot_path(c->dir, c->files[i]->index, c->files[i]->term);
        (void)disk->ops->unlink(disk->ctx, path, NULL); /* stays: an older one than the good one */
        free(path);
        free(c->files[i]);
    }
    c->file_count = kept;
    (void)disk->ops->sync_dir(disk->ctx, c->dir, NULL);
}

uint64_t checkpoints_newest(const struct checkpoints *c)
{
    for (size_t i = 0; i < c->file_count; i++)
        if (!c->files[i]->damaged)
            return c->files[i]->index;
    return 0;
}

uint64_t checkpoints_oldest(const struct checkpoints *c)
{
    uint64_t oldest = 0;

    for (size_t i = 0, good = 0; i < c->file_count; i++) {
        good += !c->files[i]->damaged;
        if (c->files[i]->holds > 0 || (!c->files[i]->damaged && good <= c->options.keep))
            oldest = c->files[i]->index;
    }
    return oldest;
}

/* ---- start ---- */

static void take_base(struct checkpoints *c, const struct snapshot_meta *meta)
{
    c->base_configuration = xmemdup(meta->configuration.data, meta->configuration.len);
    c->base = (struct replica_snapshot){
        .index = meta->index,
        .term = meta->term,
        .configuration_index = meta->configuration_index,
        .configuration = slice_of(c->base_configuration, meta->configuration.len)};
}

static int check_whose(const struct checkpoints *c, const struct snapshot_meta *meta,
                       const char *path, struct err *err)
{
    if (meta->cluster_id == c->options.cluster_id)
        return 0;
    return err_set(err, KV_EMISMATCH, "checkpoint %s belongs to cluster %llx, not to %llx", path,
                   (unsigned long long)meta->cluster_id, (unsigned long long)c->options.cluster_id);
}

static int load_file(struct checkpoints *c, const struct checkpoint_file *file, uint64_t seed,
                     struct machine **machine, struct err *err)
{
    char *path = snapshot_path(c->dir, file->index, file->term);
    struct snapshot_reader *reader = NULL;
    int rc = snapshot_open(c->options.disk, path, &reader, err);

    if (rc == 0)
        rc = check_whose(c, snapshot_meta(reader), path, err);
    if (rc == 0 &&
        (snapshot_meta(reader)->index != file->index || snapshot_meta(reader)->term != file->term))
        rc =
            err_set(err, KV_ECORRUPT, "checkpoint %s holds another index than its name says", path);
    if (rc == 0)
        rc = machine_load(reader, seed, machine, err);
    if (rc == 0) {
        take_base(c, snapshot_meta(reader));
        c->last_bytes = snapshot_size(reader);
    }
    if (rc == KV_ECORRUPT && reader != NULL && strstr(err->text, path) == NULL)
        err_prefix(err, "checkpoint %s", path);
    snapshot_close(reader);
    free(path);
    return rc;
}

/* A damaged one is passed over: the one before it and the log give the same state, if the log still
 * reaches; that is checked when they are put together. */
static int load_newest(struct checkpoints *c, uint64_t seed, struct machine **machine,
                       struct err *err)
{
    struct err local = ERR_INIT;
    int rc;

    *machine = NULL;
    for (size_t i = 0; i < c->file_count; i++) {
        rc = load_file(c, c->files[i], seed, machine, &local);
        if (rc == 0)
            return 0;
        if (rc != KV_ECORRUPT) {
            if (err != NULL)
                *err = local;
            return rc;
        }
        c->files[i]->damaged = true;
        if (c->options.on_damage != NULL)
            c->options.on_damage(c->options.ctx, local.text);
    }
    if (c->file_count == 0)
        return 0;
    return err_set(err, KV_ECORRUPT, "no checkpoint is whole: %.300s", local.text);
}

static int list_files(struct checkpoints *c, struct err *err)
{
    struct snapshot_file *files;
    size_t len;
    int rc = snapshot_list(c->options.disk, c->dir, &files, &len, err);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < len; i++)
        insert_file(c, files[i].index, files[i].term);
    free(files);
    return 0;
}

int checkpoints_open(const struct checkpoints_options *options, uint64_t seed,
                     struct checkpoints **out, struct machine **machine, struct err *err)
{
    struct checkpoints *c = xcalloc(1, sizeof *c);
    int rc;

    c->options = *options;
    c->dir = xstrdup(options->dir);
    if (c->options.keep == 0)
        c->options.keep = KEEP;
    buf_init(&c->small.bytes, SIZE_MAX / 2); /* as large as there are leases */
    pace_init(&c->prune_pace, options->bytes_per_second);
    pace_init(&c->read_pace, READ_SPEED * options->bytes_per_second);
    state_block_init(&c->block);
    for (size_t i = 0; i < ARRAY_LEN(c->batches); i++)
        c->batches[i].changes = xcalloc(BATCH_CHANGES, sizeof(struct mvcc_change));
    rc = snapshot_prepare_dir(options->disk, c->dir, err);
    if (rc == 0)
        rc = list_files(c, err);
    if (rc == 0)
        rc = load_newest(c, seed, machine, err);
    if (rc != 0) {
        checkpoints_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

const struct replica_snapshot *checkpoints_base(const struct checkpoints *c)
{
    return c->base.index == 0 ? NULL : &c->base;
}

static void release_small(struct checkpoints *c)
{
    buf_release(&c->small.bytes);
    free(c->small.blocks);
    c->small.blocks = NULL;
    c->small.count = 0;
}

void checkpoints_free(struct checkpoints *c)
{
    if (c == NULL)
        return;
    mvcc_history_end(&c->history);
    snapshot_writer_close(c->writer);
    release_small(c);
    state_block_release(&c->block);
    for (size_t i = 0; i < ARRAY_LEN(c->batches); i++)
        free(c->batches[i].changes);
    for (size_t i = 0; i < c->file_count; i++)
        free(c->files[i]);
    free(c->files);
    free(c->configuration);
    free(c->base_configuration);
    free(c->dir);
    free(c);
}

/* ---- writing: the job's side ---- */

static int write_small(struct checkpoints *c)
{
    size_t at = 0;
    int rc = 0;

    for (size_t i = 0; i < c->small.count && rc == 0; i++) {
        rc = snapshot_writer_add(c->writer, STATE_SMALL,
                                 slice_of(c->small.bytes.data + at, c->small.blocks[i].len),
                                 c->small.blocks[i].items, &c->err);
        at += c->small.blocks[i].len;
    }
    return rc;
}

static void open_work(struct job *job)
{
    struct checkpoints *c = CONTAINER_OF(job, struct checkpoints, job);
    struct snapshot_write_options options = {
        .disk = c->options.disk, .dir = c->dir, .bytes_per_second = c->options.bytes_per_second};
    struct snapshot_meta meta = {.cluster_id = c->options.cluster_id,
                                 .member_id = c->options.member_id,
                                 .index = c->snapshot.index,
                                 .term = c->snapshot.term,
                                 .configuration_index = c->snapshot.configuration_index,
                                 .configuration = c->snapshot.configuration};

    c->status = snapshot_writer_open(&options, &meta, &c->writer, &c->err);
    if (c->status == 0)
        c->status = write_small(c);
}

static int flush_block(struct checkpoints *c)
{
    int rc = 0;

    if (c->block.items > 0)
        rc = snapshot_writer_add(c->writer, STATE_CHANGES, buf_slice(&c->block.out), c->block.items,
                                 &c->err);
    state_block_reset(&c->block);
    return rc;
}

static int write_batch(struct checkpoints *c, const struct batch *batch)
{
    int rc = 0;

    for (size_t i = 0; i < batch->len && rc == 0; i++) {
        if (state_block_add(&c->block, &batch->changes[i]))
            continue;
        rc = flush_block(c);
        (void)state_block_add(&c->block, &batch->changes[i]); /* the first of a block fits */
    }
    return rc;
}

static void batch_work(struct job *job)
{
    struct checkpoints *c = CONTAINER_OF(job, struct checkpoints, job);
    const struct batch *batch = &c->batches[c->handed % 2];

    c->status = write_batch(c, batch);
    if (c->status != 0 || !batch->last)
        return;
    c->status = flush_block(c);
    if (c->status == 0)
        c->status = snapshot_writer_commit(c->writer, &c->err);
    c->bytes = snapshot_writer_bytes(c->writer);
}

/* What the disk gives back, not the cache: that has forgotten the file (disk_ops.writeback). */
static int read_back(struct checkpoints *c, const char *path)
{
    struct snapshot_reader *reader;
    struct snapshot_block block;
    int rc;

    FAILPOINT("checkpoint-read-back");
    rc = snapshot_open(c->options.disk, path, &reader, &c->err);
    if (rc != 0)
        return rc;
    while ((rc = snapshot_next(reader, &block, &c->err)) == 1)
        pace_wait(&c->read_pace, block.payload.len);
    snapshot_close(reader);
    return rc;
}

/* Closes the file; without a commit it goes, and if it can not be read it goes too: those before it
 * stay in its place. */
static void end_work(struct job *job)
{
    struct checkpoints *c = CONTAINER_OF(job, struct checkpoints, job);
    char *path = snapshot_path(c->dir, c->snapshot.index, c->snapshot.term);

    snapshot_writer_close(c->writer);
    c->writer = NULL;
    if (c->status == 0) {
        c->status = read_back(c, path);
        c->unreadable = c->status != 0;
    }
    if (c->unreadable) {
        err_prefix(&c->err, "what was written can not be read back");
        (void)c->options.disk.ops->unlink(c->options.disk.ctx, path, NULL);
    }
    free(path);
}

/* ---- writing: the loop's side ---- */

static void hand_over(struct checkpoints *c, void (*work)(struct job *), void (*done)(struct job *))
{
    ASSERT(!c->working);
    c->working = true;
    c->job = (struct job){.work = work, .done = done};
    job_run(c->options.runner, &c->job);
}

static void end_done(struct job *job)
{
    struct checkpoints *c = CONTAINER_OF(job, struct checkpoints, job);
    struct checkpoint_done done = {.status = c->status,
                                   .text = c->status == 0 ? "" : c->err.text,
                                   .snapshot = c->snapshot,
                                   .bytes = c->bytes};

    c->working = false;
    c->state = IDLE;
    if (c->unreadable)
        forget_index(c, c->snapshot.index, c->snapshot.term);
    if (done.status == 0) {
        c->last_bytes = c->bytes;
        insert_file(c, c->snapshot.index, c->snapshot.term);
    }
    prune(c);
    c->options.on_done(c->options.ctx, &done);
}

static void end(struct checkpoints *c)
{
    c->state = ENDING;
    mvcc_history_end(&c->history);
    hand_over(c, end_work, end_done);
}

/* A job has come back. True: that was the end. */
static bool job_ended(struct checkpoints *c)
{
    c->working = false;
    if (c->status == 0 && c->abandoned)
        c->status = err_set(&c->err, KV_ECANCELED, "not wanted any more");
    if (c->status != 0)
        end(c);
    return c->status != 0;
}

static void batch_done(struct job *job);

static void hand_next(struct checkpoints *c)
{
    if (!c->working && c->handed != c->filled)
        hand_over(c, batch_work, batch_done);
}

static void batch_done(struct job *job)
{
    struct checkpoints *c = CONTAINER_OF(job, struct checkpoints, job);
    bool last = c->batches[c->handed % 2].last;

    if (last)
        c->abandoned = false; /* too late: it is there */
    if (job_ended(c))
        return;
    c->handed++;
    if (last)
        end(c);
    else
        hand_next(c);
}

static void open_done(struct job *job)
{
    struct checkpoints *c = CONTAINER_OF(job, struct checkpoints, job);

    release_small(c);
    if (job_ended(c))
        return;
    c->state = WALKING;
    hand_next(c);
}

static int keep_small(void *ctx, struct slice payload, uint32_t items, struct err *err)
{
    struct small_blocks *small = &((struct checkpoints *)ctx)->small;

    (void)err;
    small->blocks = xrealloc(small->blocks, (small->count + 1) * sizeof *small->blocks);
    small->blocks[small->count].len = payload.len;
    small->blocks[small->count].items = items;
    small->count++;
    return buf_append(&small->bytes, payload.data, payload.len);
}

bool checkpoints_idle(const struct checkpoints *c)
{
    return c->state == IDLE;
}

bool checkpoints_shrunk(const struct checkpoints *c, uint64_t before, uint64_t now, bool calm)
{
    uint64_t share = now / 100 * (calm ? SHRINK_PERCENT_CALM : LOG_PERCENT);

    return c->state == IDLE && before > now &&
           before - now >= MAX(c->options.interval_bytes, share);
}

uint64_t checkpoints_interval(const struct checkpoints *c, bool calm)
{
    return MAX(c->options.interval_bytes,
               c->last_bytes / 100 * (calm ? LOG_PERCENT_CALM : LOG_PERCENT));
}

bool checkpoints_due(const struct checkpoints *c, uint64_t log_bytes, bool calm)
{
    return c->state == IDLE && log_bytes >= checkpoints_interval(c, calm);
}

void checkpoints_begin(struct checkpoints *c, const struct machine *machine,
                       const struct replica_snapshot *snapshot)
{
    ASSERT(c->state == IDLE);
    free(c->configuration);
    c->configuration = xmemdup(snapshot->configuration.data, snapshot->configuration.len);
    c->snapshot = *snapshot;
    c->snapshot.configuration.data = c->configuration;
    c->status = 0;
    c->abandoned = c->walked = c->unreadable = false;
    c->filled = c->handed = 0;
    c->bytes = 0;
    state_block_reset(&c->block);
    ASSERT(machine_save_small(machine, keep_small, c, NULL) == 0); /* only collects */
    mvcc_history_begin(machine->mvcc, &c->history);
    c->state = OPENING;
    hand_over(c, open_work, open_done);
}

static void fill(struct checkpoints *c, struct batch *batch)
{
    size_t bytes = 0;

    batch->len = 0;
    batch->last = false;
    while (batch->len < BATCH_CHANGES && bytes < BATCH_BYTES) {
        struct mvcc_change *change = &batch->changes[batch->len];

        if (!mvcc_history_next(&c->history, change)) {
            batch->last = c->walked = true;
            return;
        }
        bytes += change->kv.key.len + change->kv.value.len;
        batch->len++;
    }
}

bool checkpoints_step(struct checkpoints *c)
{
    if ((c->state != OPENING && c->state != WALKING) || c->walked || c->abandoned ||
        c->filled - c->handed == ARRAY_LEN(c->batches))
        return false;
    fill(c, &c->batches[c->filled % 2]);
    c->filled++;
    if (c->state == WALKING)
        hand_next(c);
    return !c->walked && c->filled - c->handed < ARRAY_LEN(c->batches);
}

void checkpoints_abandon(struct checkpoints *c)
{
    if (c->state == IDLE)
        return;
    c->abandoned = true;
    if (c->state == WALKING && !c->working)
        (void)job_ended(c); /* as if one had */
}
