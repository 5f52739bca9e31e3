/* Members that come and go. */
#include <string.h>

#include "lab/job_internal.h"

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
    lab__job_finish(job);
}

void lab__step_add(struct lab *lab)
{
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    struct lab_job *job = &lab->job;
    struct lab_member *member;
    char url[40], *urls[] = {url};

    if (job->step != 0) {
        if (lab__job_called(lab))
            admit(lab);
        return;
    }
    if (job->n == 0) {
        for (job->n = 1; job->n <= LAB_MEMBERS_MAX && lab->members[job->n].lab != NULL; job->n++)
            ;
        if (job->n > LAB_MEMBERS_MAX) {
            lab__job_fail(job, KV_ETOOBIG, "the lab has had nine members already");
            return;
        }
        if (lab__member_add(lab, job->n, &job->err) != 0) {
            lab__job_finish(job);
            return;
        }
    }
    if (!lab__job_dial(lab))
        return;
    member = &lab->members[job->n];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", member->door_port);
    request.peerurls = urls;
    request.n_peerurls = 1;
    request.islearner = job->kind == LAB_JOB_ADD_LEARNER;
    lab__job_call(lab, job->client, &kv_method_member_add, &request.base);
    job->step++;
}

void lab__step_promote(struct lab *lab)
{
    Etcdserverpb__MemberPromoteRequest request = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    struct lab_job *job = &lab->job;

    if (job->step == 0 && lab__job_dial(lab)) {
        request.id = lab->members[job->n].id;
        lab__job_call(lab, job->client, &kv_method_member_promote, &request.base);
        job->step++;
    } else if (job->step == 1 && lab__job_called(lab)) {
        lab->members[job->n].learner = false;
        lab_load_set_learner(&lab->load, job->n, false);
        lab__job_finish(job);
    }
}

void lab__step_remove(struct lab *lab)
{
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    struct lab_job *job = &lab->job;

    if (job->step == 0 && lab__job_dial(lab)) {
        request.id = lab->members[job->n].id;
        lab__job_call(lab, job->client, &kv_method_member_remove, &request.base);
        job->step++;
    } else if (job->step == 1 && lab__job_called(lab)) {
        lab__member_dismiss(&lab->members[job->n]);
        lab__job_finish(job);
    }
}
