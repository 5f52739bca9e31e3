/* Snapshots: what a person would do, with the program a person would use. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "lab/job_internal.h"

static void start_kvctl(struct lab *lab, char *const *argv)
{
    char *log = xasprintf("%s/kvctl.log", lab->dir);

    if (lab_process_start(&lab->job.process, argv, lab->options.env, log, &lab->job.err) != 0)
        lab__job_finish(&lab->job);
    free(log);
}

/* False: it has not ended, or failed. */
static bool kvctl_went_well(struct lab *lab)
{
    struct lab_job *job = &lab->job;
    char outcome[40], tail[200], *log;

    if (!lab_process_reap(&job->process)) {
        if (job->process.pid == 0)
            lab__job_fail(job, KV_EIO, "kvctl did not start");
        return false;
    }
    if (job->process.wait_status == 0)
        return true;
    log = xasprintf("%s/kvctl.log", lab->dir);
    lab_process_log_tail(log, tail, sizeof tail);
    free(log);
    (void)err_set(&job->err, KV_EIO, "kvctl ended with %s: %s",
                  lab_process_outcome(&job->process, outcome, sizeof outcome), tail);
    lab__job_finish(job);
    return false;
}

void lab__step_snapshot(struct lab *lab)
{
    struct lab_job *job = &lab->job;
    unsigned leader = lab__leader(lab);
    char endpoint[48], *file;

    if (job->step == 1) {
        if (kvctl_went_well(lab)) {
            lab->snapshot_taken = true;
            lab__job_finish(job);
        }
        return;
    }
    if (leader == 0) {
        if (lab__now(lab) >= job->deadline_ms)
            lab__job_fail(job, KV_ENOLEADER, "there is no leader to take a snapshot from");
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
            lab__job_finish(job);
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
            lab__job_finish(job);
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
    lab__job_finish(&lab->job);
}

void lab__step_restore(struct lab *lab)
{
    struct lab_job *job = &lab->job;

    switch (job->step) {
    case 0:
        if (!lab->snapshot_taken) {
            lab__job_fail(job, KV_ENOTFOUND, "there is no snapshot yet: snapshot makes one");
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
            lab__job_fail(job, KV_ENOLEADER, "the restored members have no leader");
    }
}
