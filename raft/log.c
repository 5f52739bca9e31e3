/* The log as the driver sees it: newest entries in the cache, all durable ones in the wal, and
 * between them the appends whose flush has not been reported yet. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "raft/internal.h"

void log_init(struct replica *r, size_t cache_bytes)
{
    cache_init(&r->cache, cache_bytes);
}

void log_release(struct replica *r)
{
    cache_release(&r->cache);
    free(r->appends);
}

/* ---- writing ---- */

static struct append *append_at(const struct replica *r, size_t n)
{
    return &r->appends[(r->append_head + n) & (r->append_cap - 1)];
}

static void appends_grow(struct replica *r)
{
    size_t cap = r->append_cap == 0 ? 16 : r->append_cap * 2;
    struct append *ring = xmalloc(cap * sizeof(*ring));

    for (size_t i = 0; i < r->append_count; i++)
        ring[i] = *append_at(r, i);
    free(r->appends);
    r->appends = ring;
    r->append_cap = cap;
    r->append_head = 0;
}

static void appends_push(struct replica *r, struct append append)
{
    if (r->append_count == r->append_cap)
        appends_grow(r);
    r->append_count++;
    *append_at(r, r->append_count - 1) = append;
    r->append_bytes += append.bytes;
}

/* The entries from index on are replaced. Unfinished appends must not report them when they
 * complete: comparing terms instead would not do, since (index, term) can be cut and sent again
 * while both writes are under way. */
static void log_cut(struct replica *r, uint64_t index)
{
    cache_cut(&r->cache, index);
    for (size_t i = 0; i < r->append_count; i++) {
        struct append *append = append_at(r, i);

        append->last = MIN(append->last, index - 1);
    }
    r->stored = MIN(r->stored, index - 1);
    r->append_key.last = 0;
}

uint64_t log_term(const struct replica *r, uint64_t index)
{
    if (index != 0 && index == r->snapshot_index)
        return r->snapshot_term;
    return wal_term(r->wal, index);
}

void log_restart(struct replica *r, uint64_t index, uint64_t term)
{
    log_cut(r, 1);
    /* The old log may still be there after a crash: then the checkpoint, which is durable, says
     * that it does not count. */
    r->queued_seq = wal_reset(r->wal);
    r->wal_dirty = true;
    r->stored = r->applied = index;
    log_checkpointed(r, index, term);
}

void log_checkpointed(struct replica *r, uint64_t index, uint64_t term)
{
    r->snapshot_index = index;
    r->snapshot_term = term;
}

void log_append(struct replica *r, uint64_t index, const struct raft_entry *entries, unsigned n)
{
    struct append append = {.first = index, .last = index + n - 1, .since_ms = r->now};
    struct cache_blob *blob = NULL;

    ASSERT(index > r->applied);
    log_cut(r, index);
    for (unsigned i = 0; i < n; i++) {
        const struct raft_entry *entry = &entries[i];
        struct slice data = slice_of(entry->buf.base, entry->buf.len);
        struct wal_entry record = {
            .index = index + i, .term = entry->term, .type = (uint8_t)entry->type, .data = data};

        if (i == 0 || entry->batch != entries[i - 1].batch) {
            cache_blob_unref(blob);
            blob = cache_blob_new(entry->batch);
        }
        append.seq = r->queued_seq = wal_append_entry(r->wal, &record);
        append.bytes += data.len;
        cache_push(&r->cache, record.index, record.term, record.type, data, blob);
    }
    cache_blob_unref(blob);
    appends_push(r, append);
    r->wal_dirty = true;
    cache_trim(&r->cache, r->stored);
}

void log_hard_state(struct replica *r)
{
    struct wal_hard_state state = {.term = raft_current_term(&r->raft),
                                   .voted_for = raft_voted_for(&r->raft)};

    if (state.term == r->hard_state.term && state.voted_for == r->hard_state.voted_for)
        return; /* voted again for the same: already queued, and waited for */
    ASSERT(state.term >= r->hard_state.term);
    r->hard_state = state;
    r->hard_state_seq = r->queued_seq = wal_append_hard_state(r->wal, state);
    r->wal_dirty = true;
}

uint64_t log_durable(struct replica *r, uint64_t seq)
{
    r->durable_seq = MAX(r->durable_seq, seq);
    r->wal_dirty = r->wal_dirty || r->queued_seq > r->durable_seq; /* queued during the flush */
    while (r->append_count > 0 && append_at(r, 0)->seq <= r->durable_seq) {
        const struct append *done = append_at(r, 0);

        if (done->last >= done->first)
            r->stored = MAX(r->stored, done->last);
        r->append_bytes -= done->bytes;
        r->append_head = (r->append_head + 1) & (r->append_cap - 1);
        r->append_count--;
    }
    cache_trim(&r->cache, r->stored);
    return r->stored > r->raft.last_stored ? r->stored : 0;
}

uint64_t log_waiting_ms(const struct replica *r)
{
    return r->append_count == 0 ? 0 : r->now - append_at(r, 0)->since_ms;
}

/* ---- reading ---- */

struct disk_read {
    struct replica *r;
    log_visit visit;
    void *ctx;
    uint64_t next, last;
    size_t bytes, bytes_max;
    bool stopped; /* by the visitor or a bound */
};

/* Visits one entry; false: no more. */
static bool visit_one(struct disk_read *read, const struct wal_entry *entry)
{
    if (entry->index > read->last ||
        (read->bytes > 0 && read->bytes + entry->data.len > read->bytes_max))
        return false;
    read->bytes += entry->data.len + 1; /* empty entries count as well */
    read->next = entry->index + 1;
    return read->visit(read->ctx, entry) == 0;
}

static int on_disk_entry(void *ctx, const struct wal_entry *entry)
{
    struct disk_read *read = ctx;

    if (cache_get(&read->r->cache, entry->index) != NULL)
        return 1; /* the rest is in memory */
    read->stopped = !visit_one(read, entry);
    return read->stopped;
}

static int read_from_disk(struct disk_read *read)
{
    struct err err = ERR_INIT;
    uint64_t from = read->next;
    int rc = wal_read(read->r->wal, from, read->bytes_max, on_disk_entry, read, &err);

    if (rc < 0) {
        err_prefix(&err, "entry %" PRIu64 " of the log", from);
        replica__fatal(read->r, rc, "%s", err.text);
        return rc;
    }
    if (read->next == from && !read->stopped) {
        replica__fatal(read->r, KV_ECORRUPT, "entry %" PRIu64 " of the log is missing", from);
        return KV_ECORRUPT;
    }
    return 0;
}

int log_read(struct replica *r, uint64_t index, uint64_t last, size_t bytes_max, log_visit visit,
             void *ctx)
{
    struct disk_read read = {
        .r = r, .visit = visit, .ctx = ctx, .next = index, .last = last, .bytes_max = bytes_max};
    int rc = 0;

    while (rc == 0 && !read.stopped && read.next <= last && read.bytes < bytes_max) {
        const struct cache_entry *cached = cache_get(&r->cache, read.next);
        struct wal_entry entry;

        if (cached == NULL) {
            rc = read_from_disk(&read);
            continue;
        }
        entry = (struct wal_entry){
            .index = read.next, .term = cached->term, .type = cached->type, .data = cached->data};
        read.stopped = !visit_one(&read, &entry);
    }
    return rc;
}

/* ---- applying ---- */

struct apply_slice {
    struct replica *r;
    unsigned left;
};

static void apply_configuration(struct replica *r, struct replica_entry *entry, struct slice bytes)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    struct raft_configuration decoded;

    if (members_decode(bytes, &decoded, members, &entry->member_count) != 0) {
        replica__fatal(r, KV_ECORRUPT, "entry %" PRIu64 " of the log: malformed configuration",
                       entry->index);
        return;
    }
    entry->members = members;
    r->applied = entry->index;
    r->env.apply(r->env.ctx, entry);
    raft_configuration_close(&decoded);
}

static int on_apply_entry(void *ctx, const struct wal_entry *entry)
{
    struct apply_slice *slice = ctx;
    struct replica *r = slice->r;
    struct replica_entry applied = {.index = entry->index, .term = entry->term};

    ASSERT(entry->index == r->applied + 1);
    if (entry->type == RAFT_CHANGE) {
        apply_configuration(r, &applied, entry->data);
        return r->failed || --slice->left == 0;
    }
    if (entry->type == RAFT_COMMAND)
        applied.commands = entry->data;
    r->applied = entry->index;
    r->env.apply(r->env.ctx, &applied);
    return --slice->left == 0;
}

void log_apply_slice(struct replica *r)
{
    struct apply_slice slice = {.r = r, .left = APPLY_SLICE};
    uint64_t commit = raft_commit_index(&r->raft);

    if (r->applied < commit && !r->stateless)
        (void)log_read(r, r->applied + 1, commit, APPLY_SLICE_SIZE, on_apply_entry,
                       &slice); /* a failure is already fatal */
}
