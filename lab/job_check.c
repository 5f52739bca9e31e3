/* What the cluster holds: the whole history, for the checker, and whether all members hold the
 * same. */
#include <string.h>

#include "lab/job_internal.h"

#define MARK_KEY LAB_PREFIX "mark"

/* A write whose revision says how far the history goes at least. */
static void put_mark(struct lab *lab)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

    if (!lab__job_dial(lab))
        return;
    put.key = (ProtobufCBinaryData){.data = (uint8_t *)MARK_KEY, .len = strlen(MARK_KEY)};
    lab__job_call(lab, lab->job.client, &kv_method_put, &put.base);
    lab->job.step++;
}

static bool take_mark(struct lab *lab)
{
    const Etcdserverpb__PutResponse *put = (const void *)lab->job.call.result.message;

    if (!lab__job_called(lab))
        return false;
    lab->job.target = put->header != NULL ? put->header->revision : 0;
    return true;
}

/* ---- the check ---- */

static void on_watch(struct kv_watch *watch, const Etcdserverpb__WatchResponse *response,
                     const struct err *err)
{
    struct lab_job *job = CONTAINER_OF(watch, struct lab_job, watch);
    struct lab *lab = CONTAINER_OF(job, struct lab, job);

    if (err->code != 0) {
        job->watch_err = *err;
        return;
    }
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__KeyValue *kv = response->events[i]->kv;
        uint64_t serial;
        uint32_t key;

        if (lab_load_decode(slice_of(kv->key.data, kv->key.len),
                            slice_of(kv->value.data, kv->value.len), &key, &serial))
            lab_check_change(lab->check, key, serial, kv->mod_revision);
        job->seen = MAX(job->seen, kv->mod_revision);
    }
}

static void watch_history(struct lab *lab)
{
    static const char end[] = "kvlab0"; /* behind all that begins with the prefix */
    struct lab_job *job = &lab->job;
    struct kv_watch_options options = {
        .key = slice_str(LAB_PREFIX), .range_end = slice_str(end), .start_revision = 1};

    lab_check_forget_changes(lab->check);
    job->seen = 0;
    job->watch_err.code = 0;
    job->watcher = kv_watcher_new(job->client, KV_REQUIRE_LEADER);
    kv_watch_start(job->watcher, &job->watch, &options, on_watch);
    job->step++;
}

void lab__step_check(struct lab *lab)
{
    struct lab_job *job = &lab->job;

    switch (job->step) {
    case 0:
        put_mark(lab);
        break;
    case 1:
        if (take_mark(lab))
            watch_history(lab);
        break;
    default:
        if (job->seen >= job->target) {
            lab_check_run(lab->check, job->target, &lab->experiment.findings);
            lab->experiment.checked = true;
            lab__job_finish(job);
        } else if (job->watch_err.code != 0 || lab__now(lab) >= job->deadline_ms) {
            if (lab__now(lab) < job->deadline_ms)
                job->step = 0;
            else
                lab__job_fail(job, KV_ETIMEDOUT,
                              job->watch_err.code != 0
                                  ? job->watch_err.text
                                  : "the history was not told to its end in time");
        }
    }
}

/* ---- the same data ---- */

/* The next member that runs, from n on; 0: there is none. */
static unsigned next_running(const struct lab *lab, unsigned n)
{
    for (; n <= LAB_MEMBERS_MAX; n++) {
        if (lab__runs(&lab->members[n]))
            return n;
    }
    return 0;
}

static void ask_hash(struct lab *lab)
{
    Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    struct lab_job *job = &lab->job;

    request.revision = job->target;
    lab__job_call(lab, lab->load.clients[job->n].client, &kv_method_hash_kv, &request.base);
    job->step = 2;
}

static void take_hash(struct lab *lab)
{
    const Etcdserverpb__HashKVResponse *answer = (const void *)lab->job.call.result.message;
    struct lab_job *job = &lab->job;
    char text[160];

    if (job->call.result.err.code != 0) {
        /* it may be behind yet */
        (void)snprintf(text, sizeof text, "m%u: %.120s", job->n, job->call.result.err.text);
        if (lab__now(lab) < job->deadline_ms)
            job->step = 3;
        else
            lab__job_fail(job, KV_EMISMATCH, text);
        return;
    }
    if (job->hashed_by == 0) {
        job->hash = answer->hash;
        job->hashed_by = job->n;
    } else if (job->hash != answer->hash) {
        (void)snprintf(text, sizeof text, "m%u and m%u hold different data at revision %lld",
                       job->hashed_by, job->n, (long long)job->target);
        lab__job_fail(job, KV_EMISMATCH, text);
        return;
    }
    job->n = next_running(lab, job->n + 1);
    job->step = 3;
    if (job->n == 0)
        lab__job_finish(job);
}

void lab__step_same_data(struct lab *lab)
{
    struct lab_job *job = &lab->job;

    switch (job->step) {
    case 0:
        job->hashed_by = 0;
        put_mark(lab);
        break;
    case 1:
        if (!take_mark(lab))
            break;
        job->n = next_running(lab, 1);
        job->step = 3;
        break;
    case 2:
        take_hash(lab);
        break;
    default:
        ask_hash(lab);
    }
}
