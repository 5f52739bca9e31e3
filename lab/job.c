/* What the lab does with the cluster and has to wait for: reading the history, changing members,
 * snapshots. A job is a row of steps; each is looked at every tick, goes on when its call or its
 * child has ended, and is begun anew with another leader when the one it talked to has gone. */
#include <string.h>

#include "lab/job_internal.h"

void lab__job_finish(struct lab_job *job)
{
    job->done = true;
}

void lab__job_fail(struct lab_job *job, int code, const char *text)
{
    (void)err_set(&job->err, code, "%.480s", text);
    lab__job_finish(job);
}

/* ---- talking to the leader ---- */

static void hang_up(struct lab *lab)
{
    struct lab_job *job = &lab->job;

    if (job->calling)
        kv_call_cancel(&job->call);
    job->calling = false;
    kv_watcher_free(job->watcher);
    job->watcher = NULL;
    if (job->client != NULL)
        kv_client_close(job->client, NULL, NULL);
    job->client = NULL;
}

/* False: there is no leader (yet); the job has failed if it is too late. */
bool lab__job_dial(struct lab *lab)
{
    struct lab_job *job = &lab->job;
    unsigned leader = lab__leader(lab);
    char endpoint[32];
    const char *endpoints[] = {endpoint};
    struct kv_options options = {
        .endpoints = endpoints, .endpoints_len = 1, .call_timeout_ms = 3000};

    hang_up(lab);
    if (leader == 0) {
        if (lab__now(lab) >= job->deadline_ms)
            lab__job_fail(job, KV_ENOLEADER, "there is no leader that a quorum follows");
        return false;
    }
    (void)snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", lab->members[leader].client_port);
    if (kv_client_open(&lab->loop, &options, &job->client, &job->err) != 0) {
        lab__job_finish(job);
        return false;
    }
    return true;
}

static void on_called(struct kv_call *call)
{
    CONTAINER_OF(call, struct lab_job, call)->calling = false; /* the next tick looks at it */
}

void lab__job_call(struct lab *lab, struct kv_client *client, const struct kv_method *method,
                   const ProtobufCMessage *request)
{
    struct lab_job *job = &lab->job;
    struct kv_call_options options = {.flags = KV_REPEATABLE};

    kv_result_release(&job->call.result);
    job->calling =
        kv_call_start(client, &job->call, method, request, &options, on_called, &job->err) == 0;
    if (!job->calling)
        lab__job_finish(job);
}

/* What passes by itself. */
static bool is_passing(const struct kv_result *result)
{
    return result->err.code != 0 &&
           (result->status == GRPC_UNAVAILABLE || result->status == GRPC_DEADLINE_EXCEEDED ||
            result->status == GRPC_UNKNOWN ||
            strstr(result->err.text, "in sync with leader") != NULL ||
            strstr(result->err.text, "unhealthy") != NULL);
}

/* After a call: true if it succeeded. Else the job fails, or begins anew from its first step. */
bool lab__job_called(struct lab *lab)
{
    struct lab_job *job = &lab->job;

    if (job->call.result.err.code == 0)
        return true;
    if (is_passing(&job->call.result) && lab__now(lab) < job->deadline_ms)
        job->step = 0;
    else
        lab__job_fail(job, job->call.result.err.code, job->call.result.err.text);
    return false;
}

/* ---- one job ---- */

void lab__job_begin(struct lab *lab, enum lab_job_kind kind, unsigned n, int64_t patience_ms)
{
    ASSERT(lab->job.kind == LAB_NO_JOB);
    lab->job = (struct lab_job){.kind = kind, .n = n, .deadline_ms = lab__now(lab) + patience_ms};
    lab__job_tick(lab);
}

void lab__job_tick(struct lab *lab)
{
    static void (*const steps[])(struct lab * lab) = {
        [LAB_JOB_CHECK] = lab__step_check,       [LAB_JOB_SAME_DATA] = lab__step_same_data,
        [LAB_JOB_ADD] = lab__step_add,           [LAB_JOB_ADD_LEARNER] = lab__step_add,
        [LAB_JOB_PROMOTE] = lab__step_promote,   [LAB_JOB_REMOVE] = lab__step_remove,
        [LAB_JOB_SNAPSHOT] = lab__step_snapshot, [LAB_JOB_RESTORE] = lab__step_restore,
    };

    if (lab->job.kind != LAB_NO_JOB && !lab->job.done && !lab->job.calling)
        steps[lab->job.kind](lab);
}

void lab__job_end(struct lab *lab)
{
    hang_up(lab);
    kv_result_release(&lab->job.call.result);
    lab_process_kill(&lab->job.process);
    lab->job.kind = LAB_NO_JOB;
}
