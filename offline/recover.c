#include "offline/recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "server/machine_internal.h"

enum { COMPACT_SLICE = 1 << 16 };

static struct inspect_options inspect_options_of(const struct recover_options *options, size_t i)
{
    return (struct inspect_options){.data_dir = options->dirs[i].data_dir,
                                    .wal_dir = options->dirs[i].wal_dir,
                                    .progress = options->progress,
                                    .ctx = options->ctx};
}

/* ---- what there is ---- */

static int check_pair(const struct inspection *a, const struct inspection *b, struct err *err)
{
    const struct identity *x = &a->identity, *y = &b->identity;

    if (x->cluster_id != 0 && y->cluster_id != 0 && x->cluster_id != y->cluster_id)
        return err_set(err, KV_EINVAL,
                       "%s is of cluster %" PRIx64 ", %s of cluster %" PRIx64
                       ": give the data dirs of one cluster",
                       a->data_dir, x->cluster_id, b->data_dir, y->cluster_id);
    if (x->member_id != 0 && x->member_id == y->member_id)
        return err_set(err, KV_EINVAL,
                       "%s and %s are of the same member, %" PRIx64
                       ": give one of them, the later one if you know it",
                       a->data_dir, b->data_dir, x->member_id);
    return 0;
}

static int open_all(struct recovery *recovery, const struct recover_options *options,
                    struct err *err)
{
    for (size_t i = 0; i < options->dir_count; i++) {
        const struct inspect_options how = inspect_options_of(options, i);
        int rc = inspect_open(&how, &recovery->sources[i].in, err);

        if (rc != 0)
            return rc;
        recovery->source_count++;
        for (size_t k = 0; k < i && rc == 0; k++)
            rc = check_pair(recovery->sources[k].in, recovery->sources[i].in, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- which is best ---- */

/* Raft's rule for votes (section 5.4.1). Of equal ones the one with less damage, then the first. */
static bool is_better(const struct inspection *a, const struct inspection *b)
{
    if (a->usable != b->usable)
        return a->usable;
    if (a->end_term != b->end_term)
        return a->end_term > b->end_term;
    if (a->end_index != b->end_index)
        return a->end_index > b->end_index;
    return a->damages + a->unreadables < b->damages + b->unreadables;
}

static void find_best(struct recovery *recovery)
{
    recovery->best = RECOVER_NONE;
    for (size_t i = 0; i < recovery->source_count; i++) {
        const struct inspection *in = recovery->sources[i].in;

        if (in->usable &&
            (recovery->best == RECOVER_NONE || is_better(in, recovery->sources[recovery->best].in)))
            recovery->best = i;
    }
}

/* ---- what is committed ---- */

static bool is_good(const struct inspection *in)
{
    return in->usable && in->damages == 0 && in->unreadables == 0;
}

static bool is_voter(const struct inspection *best, uint64_t id)
{
    for (size_t i = 0; i < best->voter_count; i++)
        if (best->voters[i] == id)
            return true;
    return false;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* A quorum voted in no term above `term`, so no leader of a later one can have overwritten an entry
 * of `term` that a quorum has. */
static uint64_t on_a_quorum(const struct recovery *recovery, const struct inspection *best,
                            size_t good)
{
    uint64_t *ends = xcalloc(recovery->source_count + 1, sizeof *ends), term = 0, index = 0;
    size_t count = 0;

    for (size_t i = 0; i < recovery->source_count; i++) {
        const struct inspection *in = recovery->sources[i].in;

        if (is_good(in) && is_voter(best, in->identity.member_id))
            term = MAX(term, MAX(in->hard_state.term, in->end_term));
    }
    for (size_t i = 0; i < recovery->source_count; i++) {
        const struct inspection *in = recovery->sources[i].in;

        if (is_good(in) && is_voter(best, in->identity.member_id) && in->end_term == term)
            ends[count++] = in->end_index;
    }
    qsort(ends, count, sizeof *ends, descending);
    if (good >= recovery->quorum && count >= recovery->quorum)
        index = ends[recovery->quorum - 1];
    free(ends);
    return index;
}

static void find_committed(struct recovery *recovery)
{
    const struct inspection *best = recovery->sources[recovery->best].in;
    size_t good = 0;

    recovery->voter_count = best->voter_count;
    recovery->quorum = best->voter_count / 2 + 1;
    for (size_t i = 0; i < recovery->source_count; i++) {
        const struct inspection *in = recovery->sources[i].in;

        good += is_good(in) && is_voter(best, in->identity.member_id);
        for (size_t k = 0; k < in->checkpoint_count; k++)
            if (in->checkpoint_good[k])
                recovery->committed = MAX(recovery->committed, in->checkpoints[k].index);
    }
    recovery->complete =
        recovery->voter_count > 0 && good > recovery->voter_count - recovery->quorum;
    if (recovery->voter_count == 1)
        recovery->committed = best->end_index; /* what it has on disk is on a quorum */
    else if (recovery->voter_count > 1)
        recovery->committed = MAX(recovery->committed, on_a_quorum(recovery, best, good));
    recovery->committed = MIN(recovery->committed, best->end_index);
}

/* ---- their states ---- */

static int load_all(struct recovery *recovery, const struct recover_options *options,
                    struct err *err)
{
    uint64_t until = options->only_committed ? recovery->committed : UINT64_MAX;

    for (size_t i = 0; i < recovery->source_count; i++) {
        struct recover_source *source = &recovery->sources[i];
        const struct inspect_options how = inspect_options_of(options, i);
        int rc;

        if (!source->in->usable)
            continue;
        rc = inspect_load(source->in, until, &how, &source->state, err);
        if (rc != 0)
            return rc;
        if (i != recovery->best)
            inspect_state_release(&source->state); /* one store in memory, not all */
    }
    return 0;
}

int recover_inspect(const struct recover_options *options, struct recovery **out, struct err *err)
{
    struct recovery *recovery = xcalloc(1, sizeof *recovery);
    int rc;

    recovery->sources = xcalloc(options->dir_count + 1, sizeof *recovery->sources);
    rc = open_all(recovery, options, err);
    if (rc == 0) {
        find_best(recovery);
        if (recovery->best != RECOVER_NONE) {
            find_committed(recovery);
            rc = load_all(recovery, options, err);
        }
    }
    if (rc != 0) {
        recover_free(recovery);
        return rc;
    }
    *out = recovery;
    return 0;
}

void recover_free(struct recovery *recovery)
{
    if (recovery == NULL)
        return;
    for (size_t i = 0; i < recovery->source_count; i++) {
        inspect_state_release(&recovery->sources[i].state);
        inspect_close(recovery->sources[i].in);
    }
    free(recovery->sources);
    free(recovery);
}

/* ---- the new one ---- */

/* What is the old cluster's goes, as when a snapshot is restored; the rest stays. */
static void move_to(struct machine *machine, const struct bootstrap *boot, int64_t bump)
{
    struct mvcc *mvcc = machine->mvcc;
    int64_t revision = mvcc_revision(mvcc) + bump;

    machine__set_members(machine, boot->members, boot->member_count);
    free(machine->downgrade_target);
    machine->downgrade_target = NULL;
    for (size_t i = 0; i < machine->alarm_count; i++)
        machine->alarms[i].by_quota = false; /* the member whose quota it was is no more */
    if (bump == 0)
        return;
    mvcc_raise(mvcc, revision);
    if (mvcc_compact(mvcc, revision) == 0)
        while (mvcc_compact_step(mvcc, COMPACT_SLICE))
            continue;
}

static int between(void *ctx, struct err *err)
{
    const struct recover_options *options = *(const struct recover_options *const *)ctx;

    return options->progress == NULL ? 0 : options->progress(options->ctx, "writing", 0, 0, err);
}

int recover_make(struct recovery *recovery, const struct recover_options *options,
                 struct recover_report *report, struct err *err)
{
    struct machine *machine = recovery->sources[recovery->best].state.machine;
    struct target target;
    int rc;

    rc = target_init(&target, &options->target, err);
    if (rc == 0)
        rc = target_check(&target, err);
    if (rc == 0 &&
        target.boot.cluster_id == recovery->sources[recovery->best].in->identity.cluster_id)
        rc = err_set(err, KV_EINVAL,
                     "these peer URLs and this token give the ids of the old cluster, %" PRIx64
                     ": members of it that come back would be taken for the new one's; choose "
                     "another --initial-cluster-token",
                     target.boot.cluster_id);
    if (rc == 0 && options->bump_revision > INT64_MAX / 2 - mvcc_revision(machine->mvcc))
        rc = err_set(err, KV_EINVAL, "revision %" PRId64 " can not be raised by %" PRId64,
                     mvcc_revision(machine->mvcc), options->bump_revision);
    if (rc != 0)
        goto out;
    move_to(machine, &target.boot, options->bump_revision);
    rc = target_write(&target, machine, between, &options, err);
    if (rc != 0)
        goto out;
    *report = (struct recover_report){.cluster_id = target.boot.cluster_id,
                                      .member_id = target.boot.member_id,
                                      .member_count = target.boot.member_count,
                                      .revision = mvcc_revision(machine->mvcc),
                                      .compact_revision = mvcc_compact_revision(machine->mvcc)};
    (void)snprintf(report->data_dir, sizeof report->data_dir, "%s", target.config.data_dir);
out:
    target_release(&target);
    return rc;
}
