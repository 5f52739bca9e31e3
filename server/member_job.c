/* Work that grows with the store, in slices between the turns: HashKV, snapshots, and giving memory
 * back after a compaction. One at a time; hashes first, because they are short, and removal last,
 * because it waits for both anyway. */
#include "base/failpoint.h"
#include "server/exports.h"
#include "server/member_internal.h"
#include "server/ranges.h"
#include "server/watches.h"

enum {
    SLICE_NS = 100000,  /* per turn: what a request may have to wait for it */
    SLICE_RECORDS = 64, /* between two looks at the clock */
};

static struct hash_job *first_hash(struct member *member)
{
    return list_empty(&member->hashes) ? NULL : LIST_FIRST(&member->hashes, struct hash_job, link);
}

static void end_hash(struct hash_job *job)
{
    if (job->begun)
        mvcc_hash_end(&job->hash);
    job->begun = false;
    list_remove(&job->link);
}

static void cancel_hash(struct waiter *waiter)
{
    end_hash(CONTAINER_OF(waiter, struct hash_job, waiter));
}

void member__hash(struct member *member, struct hash_job *job)
{
    job->waiter.cancel = cancel_hash;
    job->member = member;
    job->begun = false;
    list_push_back(&member->hashes, &job->link);
    grpc_call_set_data(job->call, &job->waiter);
}

static void step_hash(struct member *member, struct hash_job *job)
{
    int rc;

    if (!job->begun) {
        rc = mvcc_hash_begin(member->machine->mvcc, job->revision, &job->hash);
        if (rc != 0) {
            list_remove(&job->link);
            job->done(job, rc);
            return;
        }
        job->begun = true;
    }
    if (!mvcc_hash_step(&job->hash, SLICE_RECORDS))
        return;
    end_hash(job);
    job->done(job, 0);
}

static void cancel_wait(struct waiter *waiter)
{
    struct compact_wait *wait = CONTAINER_OF(waiter, struct compact_wait, waiter);

    list_remove(&wait->link);
}

void member__wait_compacted(struct member *member, struct compact_wait *wait)
{
    wait->waiter.cancel = cancel_wait;
    list_push_back(&member->compact_waits, &wait->link);
    grpc_call_set_data(wait->call, &wait->waiter);
}

static void finish_waits(struct member *member)
{
    while (!list_empty(&member->compact_waits)) {
        struct compact_wait *wait = LIST_FIRST(&member->compact_waits, struct compact_wait, link);

        list_remove(&wait->link);
        wait->done(wait);
    }
}

/* One step of the most urgent work; false if there was none. */
static bool step(struct member *member)
{
    struct hash_job *hash = first_hash(member);

    if (hash != NULL) {
        step_hash(member, hash);
        return true;
    }
    if (exports_step(member))
        return true;
    if (mvcc_compact_pending(member->machine->mvcc)) {
        /* watches_run() or ranges_run() has more to do, and so there is a next turn. */
        if (!watches_allow_removal(member->watches) || !ranges_allow_removal(member->ranges))
            return false;
        if (mvcc_is_pinned(member->machine->mvcc))
            return false; /* nothing can be removed; when the pin goes there is a turn */
        FAILPOINT("compact");
        (void)mvcc_compact_step(member->machine->mvcc, SLICE_RECORDS); /* asked again next time */
        return true;
    }
    finish_waits(member);
    return false;
}

bool member__run_jobs(struct member *member)
{
    uint64_t end = 0;

    while (step(member)) {
        uint64_t now = uv_hrtime();

        if (end == 0)
            end = now + SLICE_NS;
        else if (now >= end)
            return true;
    }
    return false;
}
