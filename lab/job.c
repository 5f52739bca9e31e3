/* What the lab does with the cluster and has to wait for: reading the history, changing members,
 * snapshots. A job is a row of steps; each is looked at every tick, goes on when its call or its
 * child has ended, and is begun anew with another leader when the one it talked to has gone. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "lab/internal.h"

#define MARK_KEY LAB_PREFIX "mark"

static void finish(struct lab_job *job)
{
    job->done = true;
}

static void fail(struct lab_job *job, int code, const char *text)
{
    (void)err_set(&job->err, code, "%.480s", text);
    finish(job);
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
static bool dial(struct lab *lab)
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
            fail(job, KV_ENOLEADER, "there is no leader that a quorum follows");
        return false;
    }
    (void)snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", lab->members[leader].client_port);
    if (kv_client_open(&lab->loop, &options, &job->client, &job->err) != 0) {
        finish(job);
        return false;
    }
    return true;
}

static void on_called(struct kv_call *call)
{
    CONTAINER_OF(call, struct lab_job, call)->calling = false; /* the next tick looks at it */
}

static void call(struct lab *lab, struct kv_client *client, const struct kv_method *method,
                 const ProtobufCMessage *request)
{
    struct lab_job *job = &lab->job;
    struct kv_call_options options = {.flags = KV_REPEATABLE};

    kv_result_release(&job->call.result);
    job->calling =
        kv_call_start(client, &job->call, method, request, &options, on_called, &job->err) == 0;
    if (!job->calling)
        finish(job);
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
static bool call_went_well(struct lab *lab)
{
    struct lab_job *job = &lab->job;

    if (job->call.result.err.code == 0)
        return true;
    if (is_passing(&job->call.result) && lab__now(lab) < job->deadline_ms)
        job->step = 0;
    else
        fail(job, job->call.result.err.code, job->call.result.err.text);
    return false;
}

/* A write whose revision says how far the history goes at least. */
static void put_mark(struct lab *lab)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

    if (!dial(lab))
        return;
    put.key = (ProtobufCBinaryData){.data = (uint8_t *)MARK_KEY, .len = strlen(MARK_KEY)};
    call(lab, lab->job.client, &kv_method_put, &put.base);
    lab->job.step++;
}

static bool take_mark(struct lab *lab)
{
    const Etcdserverpb__PutResponse *put = (const void *)lab->job.call.result.message;

    if (!call_went_well(lab))
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

static void step_check(struct lab *lab)
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
            lab_check_run(lab->check, &lab->experiment.findings);
            lab->experiment.checked = true;
            finish(job);
        } else if (job->watch_err.code != 0 || lab__now(lab) >= job->deadline_ms) {
            if (lab__now(lab) < job->deadline_ms)
                job->step = 0;
            else
                fail(job, KV_ETIMEDOUT,
                     job->watch_err.code != 0 ? job->watch_err.text
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
    call(lab, lab->load.clients[job->n].client, &kv_method_hash_kv, &request.base);
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
            fail(job, KV_EMISMATCH, text);
        return;
    }
    if (job->hashed_by == 0) {
        job->hash = answer->hash;
        job->hashed_by = job->n;
    } else if (job->hash != answer->hash) {
        (void)snprintf(text, sizeof text, "m%u and m%u hold different data at revision %lld",
                       job->hashed_by, job->n, (long long)job->target);
        fail(job, KV_EMISMATCH, text);
        return;
    }
    job->n = next_running(lab, job->n + 1);
    job->step = 3;
    if (job->n == 0)
        finish(job);
}

static void step_same_data(struct lab *lab)
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

/* ---- members ---- */

static void admit(struct lab *lab)
{
    struct lab_job *job = &lab->job;
    struct lab_member *member = &lab->members[job->n];
    const Etcdserverpb__MemberAddResponse *added = (const void *)job->call.result.message;

    member->learner = job->kind == LAB_JOB_ADD_LEARNER;
    member->joins = true;
    member->id = added->member != NULL ? added->member->id : 0;
    if (lab__member_admit(member, &job->err) == 0)
        (void)lab__member_start(member, &job->err);
    lab_load_set_learner(&lab->load, job->n, member->learner);
    finish(job);
}

static void step_add(struct lab *lab)
{
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    struct lab_job *job = &lab->job;
    struct lab_member *member;
    char url[40], *urls[] = {url};

    if (job->step != 0) {
        if (call_went_well(lab))
            admit(lab);
        return;
    }
    if (job->n == 0) {
        for (job->n = 1; job->n <= LAB_MEMBERS_MAX && lab->members[job->n].lab != NULL; job->n++)
            ;
        if (job->n > LAB_MEMBERS_MAX) {
            fail(job, KV_ETOOBIG, "the lab has had nine members already");
            return;
        }
        if (lab__member_add(lab, job->n, &job->err) != 0) {
            finish(job);
            return;
        }
    }
    if (!dial(lab))
        return;
    member = &lab->members[job->n];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", member->door_port);
    request.peerurls = urls;
    request.n_peerurls = 1;
    request.islearner = job->kind == LAB_JOB_ADD_LEARNER;
    call(lab, job->client, &kv_method_member_add, &request.base);
    job->step++;
}

static void step_promote(struct lab *lab)
{
    Etcdserverpb__MemberPromoteRequest request = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    struct lab_job *job = &lab->job;

    if (job->step == 0 && dial(lab)) {
        request.id = lab->members[job->n].id;
        call(lab, job->client, &kv_method_member_promote, &request.base);
        job->step++;
    } else if (job->step == 1 && call_went_well(lab)) {
        lab->members[job->n].learner = false;
        lab_load_set_learner(&lab->load, job->n, false);
        finish(job);
    }
}

static void step_remove(struct lab *lab)
{
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    struct lab_job *job = &lab->job;

    if (job->step == 0 && dial(lab)) {
        request.id = lab->members[job->n].id;
        call(lab, job->client, &kv_method_member_remove, &request.base);
        job->step++;
    } else if (job->step == 1 && call_went_well(lab)) {
        lab__member_dismiss(&lab->members[job->n]);
        finish(job);
    }
}

/* ---- snapshots: what a person would do, with the program a person would use ---- */

static void start_kvctl(struct lab *lab, char *const *argv)
{
    char *log = xasprintf("%s/kvctl.log", lab->dir);

    if (lab_process_start(&lab->job.process, argv, lab->options.env, log, &lab->job.err) != 0)
        finish(&lab->job);
    free(log);
}

/* False: it has not ended, or failed. */
static bool kvctl_went_well(struct lab *lab)
{
    struct lab_job *job = &lab->job;
    char outcome[40], tail[200], *log;

    if (!lab_process_reap(&job->process)) {
        if (job->process.pid == 0)
            fail(job, KV_EIO, "kvctl did not start");
        return false;
    }
    if (job->process.wait_status == 0)
        return true;
    log = xasprintf("%s/kvctl.log", lab->dir);
    lab_process_log_tail(log, tail, sizeof tail);
    free(log);
    (void)err_set(&job->err, KV_EIO, "kvctl ended with %s: %s",
                  lab_process_outcome(&job->process, outcome, sizeof outcome), tail);
    finish(job);
    return false;
}

static void step_snapshot(struct lab *lab)
{
    struct lab_job *job = &lab->job;
    unsigned leader = lab__leader(lab);
    char endpoint[48], *file;

    if (job->step == 1) {
        if (kvctl_went_well(lab)) {
            lab->snapshot_taken = true;
            finish(job);
        }
        return;
    }
    if (leader == 0) {
        if (lab__now(lab) >= job->deadline_ms)
            fail(job, KV_ENOLEADER, "there is no leader to take a snapshot from");
        return;
    }
    (void)snprintf(endpoint, sizeof endpoint, "--endpoints=127.0.0.1:%u",
                   lab->members[leader].client_port);
    file = xasprintf("%s/snapshot.db", lab->dir);
    start_kvctl(lab, (char *[]){lab->kvctl, endpoint, "snapshot", "save", file, NULL});
    free(file);
    job->step = 1;
}

static void wipe_all(struct lab *lab)
{
    struct lab_job *job = &lab->job;

    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        struct lab_member *member = &lab->members[n];

        if (!member->used)
            continue;
        lab__member_kill(member);
        free(member->initial_cluster);
        member->initial_cluster = NULL;
        member->joins = member->learner = false;
        lab_load_set_learner(&lab->load, n, false);
        if (lab__remove_tree(member->data_dir, &job->err) != 0)
            finish(job);
    }
    /* another cluster, whose terms begin anew */
    lab->generation++;
    lab->highest_term = lab->experiment.term_before = 0;
    job->n = 1;
    job->step = 2;
}

/* One member's data dir; the next tick waits for it. False: all have one. */
static bool restore_next(struct lab *lab)
{
    struct lab_job *job = &lab->job;
    const struct lab_member *member;
    char *argv[12], *cluster;
    size_t len = 0;

    while (job->n <= LAB_MEMBERS_MAX && !lab->members[job->n].used)
        job->n++;
    if (job->n > LAB_MEMBERS_MAX)
        return false;
    member = &lab->members[job->n];
    cluster = lab__initial_cluster(lab);
    argv[len++] = xstrdup(lab->kvctl);
    argv[len++] = xstrdup("snapshot");
    argv[len++] = xstrdup("restore");
    argv[len++] = xasprintf("%s/snapshot.db", lab->dir);
    argv[len++] = xasprintf("--name=m%u", member->n);
    argv[len++] = xasprintf("--data-dir=%s", member->data_dir);
    argv[len++] = xasprintf("--initial-cluster=%s", cluster);
    argv[len++] = xasprintf("--initial-cluster-token=%s-%u", lab->token, lab->generation);
    argv[len++] = xasprintf("--initial-advertise-peer-urls=http://127.0.0.1:%u", member->door_port);
    /* the checker holds the old history against the restored one: revisions stay */
    argv[len++] = xstrdup("--bump-revision=0");
    argv[len] = NULL;
    start_kvctl(lab, argv);
    while (len-- != 0)
        free(argv[len]);
    free(cluster);
    job->step = 3;
    return true;
}

static void start_all(struct lab *lab)
{
    struct lab_job *job = &lab->job;

    for (unsigned n = 1; n <= LAB_MEMBERS_MAX && !job->done; n++) {
        if (lab->members[n].used && lab__member_start(&lab->members[n], &job->err) != 0)
            finish(job);
    }
    job->step = 4;
}

static void resume_clients(struct lab *lab)
{
    const struct lab_view *view = &lab->members[lab__leader(lab)].observer.view;
    size_t gone = lab_check_roll_back(lab->check, view->revision);

    lab->experiment.rolled_back += gone;
    lab__say(lab, LAB_HAPPENS, 0, 0,
             "restored at revision %lld: %zu writes acknowledged after the snapshot are given up",
             (long long)view->revision, gone);
    lab_load_set(&lab->load, lab->job.load_was_on);
    finish(&lab->job);
}

static void step_restore(struct lab *lab)
{
    struct lab_job *job = &lab->job;

    switch (job->step) {
    case 0:
        if (!lab->snapshot_taken) {
            fail(job, KV_ENOTFOUND, "there is no snapshot yet: snapshot makes one");
            return;
        }
        job->load_was_on = lab->load.on;
        lab_load_set(&lab->load, false);
        job->step = 1;
        break;
    case 1:
        if (!lab_load_is_calling(&lab->load))
            wipe_all(lab);
        break;
    case 2:
        if (!restore_next(lab))
            start_all(lab);
        break;
    case 3:
        if (kvctl_went_well(lab)) {
            job->n++;
            job->step = 2;
        }
        break;
    default:
        if (lab__leader(lab) != 0)
            resume_clients(lab);
        else if (lab__now(lab) >= job->deadline_ms)
            fail(job, KV_ENOLEADER, "the restored members have no leader");
    }
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
        [LAB_JOB_CHECK] = step_check,       [LAB_JOB_SAME_DATA] = step_same_data,
        [LAB_JOB_ADD] = step_add,           [LAB_JOB_ADD_LEARNER] = step_add,
        [LAB_JOB_PROMOTE] = step_promote,   [LAB_JOB_REMOVE] = step_remove,
        [LAB_JOB_SNAPSHOT] = step_snapshot, [LAB_JOB_RESTORE] = step_restore,
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
