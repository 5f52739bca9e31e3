/* What an experiment is measured by, and what is said of it in the end. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "lab/internal.h"

enum { VERDICTS_MAX = 200 };

void lab__experiment_begin(struct lab *lab)
{
    struct lab_experiment *e = &lab->experiment;
    int64_t now = lab__now(lab);

    *e = (struct lab_experiment){.began_ms = now,
                                 .fault_ms = -1,
                                 .term_before = lab->highest_term,
                                 .failover_ms = -1,
                                 .write_at_ms = now,
                                 .read_at_ms = now,
                                 .stale_age_ms = 0};
    for (size_t i = 0; i < LAB_TOPICS; i++)
        e->before[i] = lab_load_tally(&lab->load, 0, (enum lab_topic)i);
}

void lab__experiment_fault(struct lab *lab, const struct lab_command *command)
{
    struct lab_experiment *e = &lab->experiment;

    if (e->fault_ms >= 0)
        return;
    e->fault_ms = lab__now(lab);
    e->term_before = lab->highest_term;
    (void)snprintf(e->fault, sizeof e->fault, "%s", command->text);
}

void lab__experiment_leader(struct lab *lab, uint64_t term)
{
    struct lab_experiment *e = &lab->experiment;

    if (term <= e->term_before)
        return;
    e->elections++;
    if (e->fault_ms >= 0 && e->failover_ms < 0)
        e->failover_ms = lab__now(lab) - e->fault_ms;
}

void lab__experiment_answer(struct lab *lab, enum lab_topic topic, int64_t age_ms)
{
    struct lab_experiment *e = &lab->experiment;
    int64_t now = lab__now(lab);

    e->checked = false;
    switch (topic) {
    case LAB_WRITES:
        e->write_gap_ms = MAX(e->write_gap_ms, now - e->write_at_ms);
        e->write_at_ms = now;
        break;
    case LAB_READS:
        e->read_gap_ms = MAX(e->read_gap_ms, now - e->read_at_ms);
        e->read_at_ms = now;
        break;
    case LAB_LOCAL_READS:
        e->stale_age_ms = MAX(e->stale_age_ms, age_ms);
        break;
    }
}

static int64_t gap(const struct lab *lab, int64_t longest, int64_t last)
{
    return lab->load.on ? MAX(longest, lab__now(lab) - last) : longest;
}

int64_t lab__figure(const struct lab *lab, enum lab_figure figure)
{
    const struct lab_experiment *e = &lab->experiment;
    struct lab_tally writes = lab_load_tally(&lab->load, 0, LAB_WRITES);
    struct lab_tally local = lab_load_tally(&lab->load, 0, LAB_LOCAL_READS);
    struct lab_headcount count;

    switch (figure) {
    case LAB_LOST:
        return e->checked ? (int64_t)e->findings.lost : -1;
    case LAB_WRONG_READS:
        return e->checked ? (int64_t)(e->findings.wrong_reads + e->findings.invented) : -1;
    case LAB_STALE_READS:
        return (int64_t)(local.stale - e->before[LAB_LOCAL_READS].stale);
    case LAB_STALE_AGE:
        return e->stale_age_ms;
    case LAB_FAILOVER:
        return e->failover_ms;
    case LAB_WRITE_GAP:
        return gap(lab, e->write_gap_ms, e->write_at_ms);
    case LAB_READ_GAP:
        return gap(lab, e->read_gap_ms, e->read_at_ms);
    case LAB_ELECTIONS:
        return e->elections;
    case LAB_TERMS:
        return (int64_t)(lab->highest_term - e->term_before);
    case LAB_ACKNOWLEDGED:
        return (int64_t)(writes.ok - e->before[LAB_WRITES].ok);
    case LAB_FAILED:
        return (int64_t)(writes.failed - e->before[LAB_WRITES].failed);
    case LAB_UNKNOWN:
        return (int64_t)(writes.unknown - e->before[LAB_WRITES].unknown);
    case LAB_ALIVE:
        lab__headcount(lab, &count);
        return count.alive;
    case LAB_ROLLED_BACK:
        return (int64_t)e->rolled_back;
    case LAB_FENCED:
        return (int64_t)e->fenced;
    case LAB_SLIPPED:
        return (int64_t)e->slipped;
    case LAB_FIGURE_COUNT:
        break;
    }
    return -1;
}

void lab__verdict(struct lab *lab, const struct err *check)
{
    const struct lab_experiment *e = &lab->experiment;
    struct lab_verdict *verdict;

    if (lab->verdict_count == VERDICTS_MAX) {
        memmove(lab->verdicts, lab->verdicts + 1, (VERDICTS_MAX - 1) * sizeof *lab->verdicts);
        lab->verdict_count--;
    }
    lab->verdicts = xrealloc(lab->verdicts, (lab->verdict_count + 1) * sizeof *lab->verdicts);
    verdict = &lab->verdicts[lab->verdict_count++];
    *verdict = (struct lab_verdict){.began_ms = e->fault_ms >= 0 ? e->fault_ms : e->began_ms,
                                    .ended_ms = lab__now(lab),
                                    .checked = check->code == 0};
    (void)snprintf(verdict->fault, sizeof verdict->fault, "%s",
                   e->fault[0] != '\0' ? e->fault : "no fault");
    for (size_t i = 0; i < LAB_FIGURE_COUNT; i++)
        verdict->figures[i] = lab__figure(lab, (enum lab_figure)i);
    verdict->good = verdict->checked && verdict->figures[LAB_LOST] == 0 &&
                    verdict->figures[LAB_WRONG_READS] == 0;
    (void)snprintf(verdict->trouble, sizeof verdict->trouble, "%.390s",
                   check->code != 0 ? check->text : e->findings.example);
    if (verdict->checked && !verdict->good && !e->judged)
        lab->exit_code = 1;
    lab__console_verdict(lab, verdict);
    lab__experiment_begin(lab);
}
