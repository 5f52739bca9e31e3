/* Before the first step: what the wal holds, behind the checkpoint if there is one, becomes the
 * START event. Everything read here comes from disk and is checked as if it came from a stranger; a
 * log that makes no sense is refused, not asserted.
 *
 * Without a checkpoint a log begins at entry 1, the configuration every initial member wrote by
 * itself, identical on all. A member that joins begins with nothing, and gets that entry or a
 * checkpoint from the leader. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "raft/guards.h"
#include "raft/internal.h"

enum { READ_SLICE = 1 << 20 };

struct loading {
    struct replica *r;
    const struct replica_snapshot *snapshot; /* NULL: none */
    uint64_t covered;                        /* its index: entries up to there are not looked at */
    uint64_t first;                          /* index of entries[0] */
    struct raft_entry *entries; /* as START takes them; only configurations keep their payload */
    uint64_t count;
    const struct raft_entry *last_change; /* the newest configuration in entries; NULL: none */
    uint64_t term;                        /* of the newest entry read */
    struct err *err;
};

static int bad_log(struct err *err, uint64_t index, const char *what)
{
    return err_set(err, KV_ECORRUPT, "log entry %" PRIu64 ": %s", index, what);
}

static int load_change(struct loading *loading, const struct wal_entry *from,
                       struct raft_entry *entry)
{
    struct err why = ERR_INIT;

    if (wire_check_configuration(from->data, &why) != 0)
        return bad_log(loading->err, from->index, why.text);
    entry->buf.len = from->data.len;
    entry->buf.base = raft_malloc(from->data.len);
    ASSERT(entry->buf.base != NULL);
    memcpy(entry->buf.base, from->data.data, from->data.len);
    entry->batch = entry->buf.base;
    loading->last_change = entry;
    return 0;
}

static int on_load_entry(void *ctx, const struct wal_entry *from)
{
    struct loading *loading = ctx;
    struct raft_entry *entry = &loading->entries[loading->count];

    if (from->index != loading->first + loading->count)
        return bad_log(loading->err, from->index, "is not where it belongs");
    if (from->type < RAFT_COMMAND || from->type > RAFT_CHANGE)
        return bad_log(loading->err, from->index, "has an unknown type");
    if (from->index == 1 && from->type != RAFT_CHANGE)
        return bad_log(loading->err, from->index, "is not the first configuration");
    if (from->term < loading->term || from->term == 0)
        return bad_log(loading->err, from->index, "has a lower term than the one before it");
    entry->term = from->term;
    entry->type = from->type;
    loading->term = from->term;
    loading->count++;
    return from->type == RAFT_CHANGE ? load_change(loading, from, entry) : 0;
}

/* Entries that the checkpoint covers count by their terms alone: they may be sent to members that
 * lag, and what they did is in the state, their configurations too. */
static int skip_covered(struct loading *loading)
{
    struct wal *wal = loading->r->wal;

    for (uint64_t i = loading->first; i <= MIN(loading->covered, wal_last_index(wal)); i++) {
        struct raft_entry *entry = &loading->entries[loading->count++];

        entry->term = wal_term(wal, i);
        entry->type = RAFT_COMMAND;
        if (entry->term < loading->term || entry->term == 0)
            return bad_log(loading->err, i, "has a lower term than the one before it");
        loading->term = entry->term;
    }
    return 0;
}

static int load_entries(struct loading *loading)
{
    struct wal *wal = loading->r->wal;
    uint64_t last = wal_last_index(wal);
    int rc;

    loading->first = last == 0 ? loading->covered + 1 : wal_first_index(wal);
    if (loading->first > loading->covered + 1)
        return err_set(loading->err, KV_ECORRUPT,
                       "the log begins at entry %" PRIu64
                       ", but the newest checkpoint that can be read ends at %" PRIu64
                       ": entries between are missing",
                       loading->first, loading->covered);
    if (last != 0 && last - loading->first >= UINT32_MAX)
        return err_set(loading->err, KV_ETOOBIG, "log of %" PRIu64 " entries", last);
    loading->entries =
        xcalloc(last == 0 ? 1 : last - loading->first + 1, sizeof(*loading->entries));
    rc = skip_covered(loading);
    while (rc == 0 && loading->first + loading->count <= last)
        rc = wal_read(wal, loading->first + loading->count, READ_SLICE, on_load_entry, loading,
                      loading->err);
    if (rc == 0 && loading->term > wal_hard_state(wal).term)
        rc = bad_log(loading->err, last, "has a higher term than this member ever saw");
    return rc;
}

static void free_entries(struct loading *loading)
{
    for (uint64_t i = 0; loading->entries != NULL && i < loading->count; i++)
        raft_free(loading->entries[i].batch);
    free(loading->entries);
}

/* ---- a new log ---- */

static int flush(struct replica *r, uint64_t seq, struct err *err)
{
    int rc = wal_flush_sync(r->wal, err);

    if (rc == 0)
        r->durable_seq = seq;
    return rc;
}

int replica_encode_voters(const uint64_t *voters, const char *const *addresses, size_t count,
                          struct buf *out, struct err *err)
{
    struct raft_configuration configuration;
    struct raft_buffer encoded = {0};
    int rc = 0;

    if (count == 0 || count > WIRE_SERVERS_MAX)
        return err_set(err, KV_EINVAL, "%zu initial members", count);
    raft_configuration_init(&configuration);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char hex[24];

        /* libraft wants a unique text; where members live is not its business. */
        snprintf(hex, sizeof(hex), "%" PRIx64, voters[i]);
        rc = raft_configuration_add(&configuration, voters[i],
                                    addresses != NULL ? addresses[i] : hex, RAFT_VOTER);
    }
    if (rc == 0)
        rc = raft_configuration_encode(&configuration, &encoded);
    raft_configuration_close(&configuration);
    if (rc != 0)
        return err_set(err, KV_EINVAL, "initial members: one of them stands there twice");
    rc = buf_append(out, encoded.base, encoded.len);
    raft_free(encoded.base);
    return rc;
}

_Static_assert((int)REPLICA_VOTERS_MAX == (int)WIRE_SERVERS_MAX, "all servers may be voters");

int replica_decode_voters(struct slice bytes, uint64_t voters[REPLICA_VOTERS_MAX], size_t *count,
                          struct err *err)
{
    struct raft_configuration configuration;
    int rc = snapshot_configuration(bytes, &configuration, err);

    if (rc != 0)
        return rc;
    *count = 0;
    for (unsigned i = 0; i < configuration.n; i++)
        if (configuration.servers[i].role == RAFT_VOTER && *count < REPLICA_VOTERS_MAX)
            voters[(*count)++] = configuration.servers[i].id;
    raft_configuration_close(&configuration);
    return 0;
}

enum replica_content replica_content(uint8_t wal_type)
{
    switch (wal_type) {
    case RAFT_COMMAND:
        return REPLICA_COMMANDS;
    case RAFT_BARRIER:
        return REPLICA_NOTHING;
    case RAFT_CHANGE:
        return REPLICA_CONFIGURATION;
    default:
        return REPLICA_UNKNOWN;
    }
}

static bool has_voter(const struct replica_options *options)
{
    for (size_t i = 0; i < options->voter_count; i++)
        if (options->voters[i] == options->id)
            return true;
    return false;
}

/* Raft is told that a log has a first entry, the same everywhere: every initial member writes it. A
 * crash in between leaves the hard state alone, and the next start comes here again. */
static int bootstrap(struct replica *r, const struct replica_options *options, struct err *err)
{
    struct wal_hard_state state = {.term = 1};
    struct wal_entry entry = {.index = 1, .term = 1, .type = RAFT_CHANGE};
    struct buf payload;
    uint64_t seq;
    int rc;

    if (wal_hard_state(r->wal).term > 1)
        return err_set(err, KV_ECORRUPT,
                       "the log is empty, but this member has voted in term %" PRIu64
                       ": its entries are lost; remove it and add it anew",
                       wal_hard_state(r->wal).term);
    if (!has_voter(options))
        return err_set(err, KV_EINVAL, "initial members: this one is not among them");
    buf_init(&payload, WAL_ENTRY_SIZE_MAX);
    rc = replica_encode_voters(options->voters, options->addresses, options->voter_count, &payload,
                               err);
    if (rc == 0) {
        entry.data = buf_slice(&payload);
        (void)wal_append_hard_state(r->wal, state); /* the entry's number comes after it */
        seq = wal_append_entry(r->wal, &entry);
        rc = flush(r, seq, err);
    }
    buf_release(&payload);
    return rc;
}

/* ---- the checkpoint ---- */

/* A log that ends before the checkpoint, or has another entry where that ends, is one that the
 * checkpoint has replaced: it was received, and the crash came before the log was emptied. What
 * such a log has beyond is of a branch that lost. */
static int drop_replaced_log(struct loading *loading)
{
    const struct replica_snapshot *snapshot = loading->snapshot;
    struct replica *r = loading->r;
    uint64_t first = wal_first_index(r->wal), last = wal_last_index(r->wal);

    if (last == 0 || first > snapshot->index + 1)
        return 0; /* nothing there, or a hole: see load_entries() */
    if (last >= snapshot->index &&
        (first == snapshot->index + 1 || wal_term(r->wal, snapshot->index) == snapshot->term))
        return 0;
    return flush(r, wal_reset(r->wal), loading->err);
}

static int check_snapshot(const struct replica_snapshot *snapshot, struct err *err)
{
    struct err why = ERR_INIT;

    if (snapshot->index == 0 || snapshot->term == 0 || snapshot->configuration_index == 0 ||
        snapshot->configuration_index > snapshot->index)
        return err_set(err, KV_ECORRUPT, "checkpoint: index and term make no sense");
    if (wire_check_configuration(snapshot->configuration, &why) != 0)
        return err_set(err, KV_ECORRUPT, "checkpoint at entry %" PRIu64 ": %s", snapshot->index,
                       why.text);
    return 0;
}

/* ---- START ---- */

static int newest_configuration(const struct loading *loading, struct raft_configuration *out)
{
    raft_configuration_init(out);
    if (loading->last_change == NULL && loading->snapshot == NULL) {
        if (loading->count == 0)
            return 0; /* joining, and nothing has come yet */
        return err_set(loading->err, KV_ECORRUPT, "the log holds no configuration");
    }
    if (loading->last_change == NULL)
        return snapshot_configuration(loading->snapshot->configuration, out, loading->err);
    if (raft_configuration_decode(&loading->last_change->buf, out) != 0)
        return err_set(loading->err, KV_ECORRUPT, "the newest configuration can not be decoded");
    return 0;
}

static int decide_hard_state(struct replica *r, const struct loading *loading, struct err *err)
{
    struct wal_hard_state now = wal_hard_state(r->wal), state = now;
    struct raft_configuration configuration;
    int rc = newest_configuration(loading, &configuration);

    if (rc != 0)
        return rc;
    /* A checkpoint may have come before word of its term did. */
    if (loading->snapshot != NULL && loading->snapshot->term > state.term)
        state = (struct wal_hard_state){.term = loading->snapshot->term};
    state = guard_start(r, state, &configuration);
    raft_configuration_close(&configuration);
    r->hard_state = state;
    if (state.term == now.term && state.voted_for == now.voted_for)
        return 0;
    r->hard_state_seq = wal_append_hard_state(r->wal, state);
    return flush(r, r->hard_state_seq, err);
}

static int start(struct replica *r, struct loading *loading, struct err *err)
{
    const struct replica_snapshot *snapshot = loading->snapshot;
    struct raft_snapshot_metadata metadata = {0};
    struct raft_event event = {.type = RAFT_START,
                               .start = {.term = r->hard_state.term,
                                         .voted_for = r->hard_state.voted_for,
                                         .start_index = loading->first,
                                         .entries = loading->entries,
                                         .n_entries = (unsigned)loading->count}};
    int rc;

    if (snapshot != NULL) {
        metadata.index = snapshot->index;
        metadata.term = snapshot->term;
        metadata.configuration_index = snapshot->configuration_index;
        rc = snapshot_configuration(snapshot->configuration, &metadata.configuration, err);
        if (rc != 0)
            return rc;
        event.start.metadata = &metadata; /* its configuration's memory passes */
        r->applied = snapshot->index;
        log_checkpointed(r, snapshot->index, snapshot->term);
    }
    r->stored = MAX(loading->first + loading->count - 1, r->applied);
    if (replica__step(r, &event) != 0) {
        loading->count = 0; /* libraft has freed the payloads */
        return err_set(err, KV_ECORRUPT, "raft does not start from this log");
    }
    for (unsigned i = 0; i < r->raft.configuration.n; i++)
        (void)replica__add_peer(r, r->raft.configuration.servers[i].id);
    return 0;
}

/* ---- a cluster of this member alone ---- */

/* An entry like those that leaders propose, of a term of its own. As the only voter this member
 * commits it, and all before it, by itself. */
static int append_alone(struct replica *r, const char *address, uint64_t last, struct err *err)
{
    struct wal_hard_state state = {.term = wal_hard_state(r->wal).term + 1, .voted_for = r->id};
    struct wal_entry entry = {.index = last + 1, .term = state.term, .type = RAFT_CHANGE};
    struct buf payload;
    int rc;

    buf_init(&payload, WAL_ENTRY_SIZE_MAX);
    rc = replica_encode_voters(&r->id, &address, 1, &payload, err);
    if (rc == 0) {
        entry.data = buf_slice(&payload);
        (void)wal_append_hard_state(r->wal, state); /* the entry's number comes after it */
        rc = flush(r, wal_append_entry(r->wal, &entry), err);
    }
    buf_release(&payload);
    return rc;
}

/* 1: the log has one more entry, which is to be loaded. */
static int leave_others(struct loading *loading)
{
    struct replica *r = loading->r;
    struct raft_configuration now;
    const struct raft_server *self = NULL;
    int rc = newest_configuration(loading, &now);

    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < now.n; i++)
        if (now.servers[i].id == r->id)
            self = &now.servers[i];
    if (now.n == 0 || (now.n == 1 && self != NULL && self->role == RAFT_VOTER))
        rc = 0; /* joining, or alone already */
    else if (self == NULL)
        rc = err_set(loading->err, KV_EINVAL,
                     "this member is none of the %u of the cluster that its log knows, so it can "
                     "not be made its only one",
                     now.n);
    else
        rc = append_alone(r, self->address, loading->first + loading->count - 1, loading->err);
    if (rc == 0 && self != NULL && now.n > 1)
        rc = 1;
    raft_configuration_close(&now);
    return rc;
}

static int load_alone(struct loading *loading)
{
    int rc = leave_others(loading);

    if (rc != 1)
        return rc;
    free_entries(loading);
    *loading = (struct loading){.r = loading->r,
                                .snapshot = loading->snapshot,
                                .covered = loading->covered,
                                .err = loading->err};
    return load_entries(loading);
}

int replica__load(struct replica *r, const struct replica_options *options, struct err *err)
{
    struct loading loading = {.r = r, .snapshot = options->snapshot, .err = err};
    bool was_new = options->snapshot == NULL && wal_last_index(r->wal) == 0;
    int rc = 0;

    if (loading.snapshot != NULL) {
        loading.covered = loading.snapshot->index;
        rc = check_snapshot(loading.snapshot, err);
        if (rc == 0)
            rc = drop_replaced_log(&loading);
    } else if (wal_last_index(r->wal) == 0 && options->voter_count != 0) {
        rc = bootstrap(r, options, err);
    }
    if (rc == 0)
        rc = load_entries(&loading);
    if (rc == 0 && options->alone && !was_new)
        rc = load_alone(&loading);
    if (rc == 0)
        rc = decide_hard_state(r, &loading, err);
    if (rc == 0)
        rc = start(r, &loading, err);
    free_entries(&loading);
    return rc;
}
