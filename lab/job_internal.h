/* What the kinds of jobs share (job.c). A step function looks at lab->job.step and does what comes
 * next; it is called every tick while no call of the job is open. */
#ifndef KVD_LAB_JOB_INTERNAL_H
#define KVD_LAB_JOB_INTERNAL_H

#include "lab/internal.h"

void lab__job_finish(struct lab_job *job);
void lab__job_fail(struct lab_job *job, int code, const char *text);
/* Opens job->client for the leader. False: there is none yet; the job has failed if it is too late.
 */
bool lab__job_dial(struct lab *lab);
/* Starts a call, which may be repeated. */
void lab__job_call(struct lab *lab, struct kv_client *client, const struct kv_method *method,
                   const ProtobufCMessage *request);
/* After it: true if it succeeded. Else the job has failed, or begins anew from its first step. */
bool lab__job_called(struct lab *lab);

void lab__step_check(struct lab *lab);
void lab__step_same_data(struct lab *lab);
void lab__step_add(struct lab *lab);
void lab__step_promote(struct lab *lab);
void lab__step_remove(struct lab *lab);
void lab__step_snapshot(struct lab *lab);
void lab__step_restore(struct lab *lab);

#endif
