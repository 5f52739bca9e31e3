/* The state of a data dir: checkpoints, and the log behind one. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "offline/inspect_internal.h"
#include "server/state.h"

enum { READ_SLICE = 1 << 20, COMPACT_SLICE = 1 << 16, STOP = 1 };

/* ---- checkpoints ---- */

struct voters {
    uint64_t ids[REPLICA_VOTERS_MAX];
    size_t count;
};

static int load_checkpoint(struct inspection *in, size_t at, struct machine **out,
                           struct voters *voters, struct err *err)
{
    const struct snapshot_file *file = &in->checkpoints[at];
    char *path = snapshot_path(in->snap_dir, file->index, file->term);
    struct snapshot_reader *reader = NULL;
    const struct snapshot_meta *meta;
    int rc = snapshot_open(disk_posix(), path, &reader, err);

    if (rc != 0)
        goto out;
    meta = snapshot_meta(reader);
    if (meta->index != file->index || meta->term != file->term)
        rc = err_set(err, KV_ECORRUPT, "%s: offset 32: holds another index than its name says",
                     path);
    else if (in->identity.cluster_id != 0 && meta->cluster_id != in->identity.cluster_id)
        rc = err_set(err, KV_EMISMATCH,
                     "%s: offset 16: is of cluster %016" PRIx64 ", the data dir of %016" PRIx64,
                     path, meta->cluster_id, in->identity.cluster_id);
    if (rc == 0) {
        rc = replica_decode_voters(meta->configuration, voters->ids, &voters->count, err);
        if (rc != 0)
            err_prefix(err, "%s: offset 64", path);
    }
    if (rc == 0 && in->identity.cluster_id == 0)
        in->identity.cluster_id = meta->cluster_id;
    if (rc == 0)
        rc =
            machine_load(reader, 1, out, err); /* the seed shapes the index in this process alone */
out:
    snapshot_close(reader);
    free(path);
    return rc;
}

static void add_bad_checkpoint(struct inspection *in, const struct err *err)
{
    bool unreadable = err->code == KV_EIO;

    inspect__add(in, unreadable ? INSPECT_UNREADABLE : INSPECT_DAMAGE, xstrdup(err->text),
                 unreadable ? NULL
                            : xstrdup("A checkpoint is a copy: with the one before it and the log "
                                      "behind that nothing is lost. kvd tries that by itself when "
                                      "it starts. If the rest is good, remove this file; a new one "
                                      "is written in time"));
}

int inspect__checkpoints(struct inspection *in, const struct inspect_options *options,
                         struct err *err)
{
    struct err why = ERR_INIT;
    int rc =
        snapshot_list(disk_posix(), in->snap_dir, &in->checkpoints, &in->checkpoint_count, &why);

    if (rc != 0) {
        in->checkpoint_count = 0;
        inspect__add(in, INSPECT_UNREADABLE, xstrdup(why.text), NULL);
    }
    in->checkpoint_good = xcalloc(in->checkpoint_count + 1, sizeof(bool));
    /* The newest last, so that what is noted on the way is its. */
    for (size_t i = in->checkpoint_count; i-- > 0;) {
        struct machine *machine = NULL;
        struct voters voters;

        rc = inspect__progress(options, "checking", in->checkpoint_count - i - 1,
                               in->checkpoint_count, err);
        if (rc != 0)
            return rc;
        why = (struct err)ERR_INIT;
        in->checkpoint_good[i] = load_checkpoint(in, i, &machine, &voters, &why) == 0;
        machine_free(machine);
        if (!in->checkpoint_good[i]) {
            add_bad_checkpoint(in, &why);
            continue;
        }
        memcpy(in->voters, voters.ids, sizeof voters.ids);
        in->voter_count = voters.count;
    }
    return 0;
}

/* ---- what follows from the newest good one ---- */

struct scan {
    struct inspection *in;
    uint64_t index, term; /* of the last good entry */
    struct err err;
};

static int bad_entry(struct scan *scan, const struct wal_entry *entry, const char *what)
{
    return err_set(&scan->err, KV_ECORRUPT, "%s: log entry %" PRIu64 ": %s", scan->in->wal_dir,
                   entry->index, what);
}

/* As raft/start.c takes or refuses entries. */
static int on_scan(void *ctx, const struct wal_entry *entry)
{
    struct scan *scan = ctx;
    struct inspection *in = scan->in;
    enum replica_content content = replica_content(entry->type);

    if (entry->index != scan->index + 1)
        return bad_entry(scan, entry, "is not where it belongs");
    if (content == REPLICA_UNKNOWN)
        return bad_entry(scan, entry, "has an unknown type");
    if (entry->index == 1 && content != REPLICA_CONFIGURATION)
        return bad_entry(scan, entry, "is not the first configuration");
    if (entry->term < scan->term || entry->term == 0)
        return bad_entry(scan, entry, "has a lower term than the one before it");
    if (content == REPLICA_CONFIGURATION &&
        replica_decode_voters(entry->data, in->voters, &in->voter_count, &scan->err) != 0)
        return scan->err.code;
    scan->index = entry->index;
    scan->term = entry->term;
    return 0;
}

static void scan_log(struct inspection *in)
{
    struct scan scan = {.in = in, .index = in->base_index, .term = in->base_term};
    int rc = 0;

    while (rc == 0 && scan.index < in->last_index)
        rc = wal_read(in->wal, scan.index + 1, READ_SLICE, on_scan, &scan, &scan.err);
    in->end_index = scan.index;
    in->end_term = scan.term;
    if (rc != 0)
        inspect__add(in, rc == KV_EIO ? INSPECT_UNREADABLE : INSPECT_DAMAGE, xstrdup(scan.err.text),
                     xstrdup("Entries from there on can not be used; kvd refuses to start"));
    else if (in->last_term > in->hard_state.term && in->damages == 0)
        inspect__add(in, INSPECT_DAMAGE,
                     xasprintf("%s: entry %" PRIu64 " has term %" PRIu64
                               ", but the member never saw one above %" PRIu64,
                               in->wal_dir, in->last_index, in->last_term, in->hard_state.term),
                     xstrdup("Replace the member while the others have a quorum"));
}

static void add_gap(struct inspection *in)
{
    char *have =
        in->base_index == 0
            ? xstrdup("there is no checkpoint that can be read")
            : xasprintf("the newest checkpoint that can be read ends at %" PRIu64, in->base_index);

    inspect__add(in, INSPECT_DAMAGE,
                 xasprintf("%s: the log begins at entry %" PRIu64 ", but %s: entries between are "
                           "missing",
                           in->wal_dir, in->first_index, have),
                 xstrdup("kvd refuses to start. Replace the member while the others have a "
                         "quorum; if they do not, see what the others have: `kvctl recover`"));
    free(have);
}

static void find_base(struct inspection *in)
{
    for (size_t i = 0; i < in->checkpoint_count; i++) {
        const struct snapshot_file *file = &in->checkpoints[i];

        if (!in->checkpoint_good[i])
            continue;
        if (in->base_index == 0) {
            in->base_index = file->index;
            in->base_term = file->term;
        } else if (in->wal != NULL && in->first_index <= file->index &&
                   file->index <= in->last_index && in->last_index >= in->base_index &&
                   wal_term(in->wal, in->base_index) == in->base_term &&
                   wal_term(in->wal, file->index) != file->term) {
            inspect__add(in, INSPECT_DAMAGE,
                         xasprintf("%s: the checkpoint at entry %" PRIu64 " of term %" PRIu64
                                   " is not of the history that the log has",
                                   in->snap_dir, file->index, file->term),
                         xstrdup("It was put here from elsewhere. Remove it"));
        }
    }
}

/* A log that ends before the checkpoint, or has another entry there, was replaced by it (see
 * raft/start.c). */
static bool was_replaced(const struct inspection *in)
{
    return in->base_index != 0 && (in->last_index < in->base_index ||
                                   (in->first_index <= in->base_index &&
                                    wal_term(in->wal, in->base_index) != in->base_term));
}

void inspect__fit(struct inspection *in)
{
    find_base(in);
    in->end_index = in->base_index;
    in->end_term = in->base_term;
    in->usable = in->base_index != 0;
    if (in->wal == NULL || in->last_index == 0)
        return;
    if (in->first_index > in->base_index + 1) {
        add_gap(in);
        return;
    }
    if (!was_replaced(in)) {
        in->usable = true;
        scan_log(in);
    } else if (in->damages == 0) {
        inspect__add(in, INSPECT_NOTE,
                     xasprintf("%s: the log is older than the newest checkpoint", in->wal_dir),
                     xstrdup("The checkpoint came from another member and replaces it; kvd empties "
                             "the log when it starts"));
    }
}

/* ---- loading ---- */

struct replay {
    struct machine *machine;
    struct arena arena;
    uint64_t until, index, term;
};

static void compact_all(struct mvcc *mvcc)
{
    while (mvcc_compact_step(mvcc, COMPACT_SLICE))
        continue;
}

/* As server/member_write.c applies it. */
static int on_entry(void *ctx, const struct wal_entry *entry)
{
    struct replay *replay = ctx;
    struct slice rest = entry->data;
    struct command command;
    struct machine_result result;

    if (entry->index > replay->until)
        return STOP;
    replay->index = entry->index;
    replay->term = entry->term;
    if (replica_content(entry->type) != REPLICA_COMMANDS)
        return 0;
    while (rest.len != 0 && command_decode(&rest, &command) == 0) {
        command.term = entry->term;
        machine_apply(replay->machine, &command, false, &replay->arena, &result);
        arena_reset(&replay->arena);
    }
    return 0;
}

static int replay_log(struct inspection *in, const struct inspect_options *options,
                      struct replay *replay, struct err *err)
{
    uint64_t last = MIN(replay->until, in->end_index);
    int rc = 0;

    while (rc == 0 && replay->index < last) {
        rc = wal_read(in->wal, replay->index + 1, READ_SLICE, on_entry, replay, err);
        compact_all(replay->machine->mvcc);
        if (rc == STOP)
            rc = 0;
        if (rc == 0)
            rc = inspect__progress(options, "replaying", replay->index, last, err);
    }
    return rc;
}

/* Members known by their ids, as every initial member began. */
static struct machine *empty_machine(const struct inspection *in)
{
    struct machine_member members[REPLICA_VOTERS_MAX] = {{.id = 0}};

    for (size_t i = 0; i < in->voter_count; i++)
        members[i].id = in->voters[i];
    return machine_new(1, members, in->voter_count);
}

static int load_base(struct inspection *in, struct machine **out, struct err *err)
{
    struct voters voters;

    for (size_t i = 0; i < in->checkpoint_count; i++)
        if (in->checkpoint_good[i])
            return load_checkpoint(in, i, out, &voters, err);
    *out = empty_machine(in);
    return 0;
}

int inspect_load(struct inspection *in, uint64_t until, const struct inspect_options *options,
                 struct inspect_state *out, struct err *err)
{
    struct replay replay = {
        .until = MIN(until, in->end_index), .index = in->base_index, .term = in->base_term};
    int rc = load_base(in, &replay.machine, err);

    if (rc != 0)
        return rc;
    arena_init(&replay.arena);
    rc = replay_log(in, options, &replay, err);
    arena_release(&replay.arena);
    if (rc != 0) {
        machine_free(replay.machine);
        return rc;
    }
    *out = (struct inspect_state){.machine = replay.machine,
                                  .index = replay.index,
                                  .term = replay.term,
                                  .revision = mvcc_revision(replay.machine->mvcc),
                                  .keys = mvcc_key_count(replay.machine->mvcc)};
    rc = mvcc_hash_kv(replay.machine->mvcc, 0, &out->hash, &out->compact_revision);
    ASSERT(rc == 0); /* of the newest revision there always is one */
    return 0;
}

void inspect_state_release(struct inspect_state *state)
{
    machine_free(state->machine);
    state->machine = NULL;
}
