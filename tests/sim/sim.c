/* The event heap, the faults of a run and its course: faults, heal, convergence, final checks. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    START_US = 100 * 1000000, /* libraft wants a clock well above zero */
    CONVERGE_MS = 60 * 1000,  /* after healing: then everything must be equal (I11, generously) */
    CONVERGE_CHECK_US = 200 * 1000,
    FAULT_GAP_US_MIN = 50000,
};
_Static_assert(SIM_FAULT_MS_MAX * 1000 / FAULT_GAP_US_MIN < SIM_FAULTS_MAX, "each has a number");

struct sim_event {
    uint64_t at_us, sequence;
    sim_action action;
    void *data;
    uint64_t token;
    void (*drop)(void *data);
};

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->sequence < b->sequence);
}

void sim_at(struct sim *sim, uint64_t at_us, sim_action action, void *data, uint64_t token,
            void (*drop)(void *data))
{
    struct sim_event event = {.at_us = MAX(at_us, sim->now_us),
                              .sequence = sim->sequence++,
                              .action = action,
                              .data = data,
                              .token = token,
                              .drop = drop};
    size_t i = sim->heap_len++;

    if (sim->heap_len > sim->heap_cap) {
        sim->heap_cap = MAX(sim->heap_cap * 2, (size_t)1024);
        sim->heap = xrealloc(sim->heap, sim->heap_cap * sizeof *sim->heap);
    }
    while (i != 0 && earlier(&event, &sim->heap[(i - 1) / 2])) {
        sim->heap[i] = sim->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim->heap[i] = event;
}

static struct sim_event pop(struct sim *sim)
{
    struct sim_event first = sim->heap[0];
    struct sim_event last = sim->heap[--sim->heap_len];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= sim->heap_len)
            break;
        if (child + 1 < sim->heap_len && earlier(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!earlier(&sim->heap[child], &last))
            break;
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    sim->heap[i] = last;
    return first;
}

void sim_trace(struct sim *sim, uint64_t value)
{
    sim->result->trace = (sim->result->trace ^ value) * 0x100000001b3u;
}

void sim_say(struct sim *sim, const char *fmt, ...)
{
    va_list args;

    if (!sim->options.verbose)
        return;
    printf("%10.3f  ", (double)(sim->now_us - START_US) / 1000.0);
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

void sim_violation(struct sim *sim, const char *fmt, ...)
{
    va_list args;

    if (sim->result->violation[0] != 0)
        return; /* the first one is the cause */
    va_start(args, fmt);
    (void)vsnprintf(sim->result->violation, sizeof sim->result->violation, fmt, args);
    va_end(args);
    sim_say(sim, "VIOLATION %s", sim->result->violation);
}

/* ---- faults ---- */

static void restart(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *member = data;

    (void)sim;
    if (!member->up && member->life == token && member->state == SIM_PRESENT)
        sim_member_start(member);
}

static struct sim_member *leader_of(struct sim *sim)
{
    struct replica_status status;

    for (unsigned n = 1; n <= sim->size; n++) {
        if (!sim->members[n].up)
            continue;
        replica_status(sim->members[n].replica, &status);
        if (status.role == REPLICA_LEADER)
            return &sim->members[n];
    }
    return NULL;
}

/* Now and then long enough for the others' logs to leave it behind. */
static uint64_t outage_us(struct sim *sim)
{
    return prng_between(&sim->fault_prng, 1000,
                        prng_chance(&sim->fault_prng, 200000) ? 12000000 : 3000000);
}

static void crash_some(struct sim *sim)
{
    struct sim_member *victim = &sim->members[prng_between(&sim->fault_prng, 1, sim->size)];
    struct sim_member *leader = leader_of(sim);
    bool all = prng_chance(&sim->fault_prng, 100000);

    if (leader != NULL && prng_chance(&sim->fault_prng, 500000))
        victim = leader;
    for (unsigned n = 1; n <= sim->size; n++) {
        struct sim_member *member = &sim->members[n];

        if (!member->up || (!all && member != victim))
            continue;
        sim_member_crash(member, all ? "power cut for all" : "crash");
        sim_at(sim, sim->now_us + outage_us(sim), restart, member, member->life, NULL);
    }
}

static void cut_all_of(struct sim *sim, unsigned n, bool out, bool in)
{
    for (unsigned other = 1; other <= sim->size; other++) {
        if (other == n)
            continue;
        if (out)
            sim_link_set(sim, n, other, true);
        if (in)
            sim_link_set(sim, other, n, true);
    }
}

static void heal_links(struct sim *sim)
{
    for (unsigned a = 1; a <= sim->size; a++) {
        for (unsigned b = 1; b <= sim->size; b++) {
            if (a != b)
                sim_link_set(sim, a, b, false);
        }
    }
}

/* Groups, the leader alone, one member alone, one direction only, or single links (N1 to N4, N8).
 */
static void cut_some(struct sim *sim)
{
    struct sim_member *leader = leader_of(sim);
    unsigned someone = (unsigned)prng_between(&sim->fault_prng, 1, sim->size);
    uint64_t group = prng_next(&sim->fault_prng);

    heal_links(sim);
    sim->result->cuts++;
    switch (prng_between(&sim->fault_prng, 0, 4)) {
    case 0:
        sim_say(sim, "cut m%u off", leader != NULL ? leader->n : someone);
        cut_all_of(sim, leader != NULL ? leader->n : someone, true, true);
        break;
    case 1:
        sim_say(sim, "m%u can not send", someone);
        cut_all_of(sim, someone, true, false);
        break;
    case 2:
        sim_say(sim, "m%u can not hear", someone);
        cut_all_of(sim, someone, false, true);
        break;
    default:
        sim_say(sim, "partition %llx", (unsigned long long)(group & 31));
        for (unsigned a = 1; a <= sim->size; a++) {
            for (unsigned b = 1; b <= sim->size; b++) {
                if (a != b && (group >> a & 1) != (group >> b & 1))
                    sim_link_set(sim, a, b, true);
            }
        }
    }
}

/* SIGSTOP, or a host that hangs: nothing happens there, its connections stay, its clock goes on. */
static void pause_some(struct sim *sim)
{
    struct sim_member *victim = &sim->members[prng_between(&sim->fault_prng, 1, sim->size)];
    struct sim_member *leader = leader_of(sim);
    uint64_t pause_us = prng_between(&sim->fault_prng, 10000, 6000000);

    if (leader != NULL && prng_chance(&sim->fault_prng, 600000))
        victim = leader;
    if (!victim->up || victim->asleep_until_us > sim->now_us)
        return;
    sim_say(sim, "m%u sleeps for %.3f s", victim->n, (double)pause_us / 1e6);
    sim->result->pauses++;
    victim->asleep_until_us = sim->now_us + pause_us;
}

static void hand_over(struct sim *sim)
{
    struct sim_member *leader = leader_of(sim);

    if (leader == NULL || leader->asleep_until_us > sim->now_us)
        return;
    sim_say(sim, "m%u hands over", leader->n);
    /* Refusal is fine: nobody to hand over to, or it is under way. */
    (void)replica_transfer(leader->replica, 0);
    sim_member_settle(leader);
}

static void cause_fault(struct sim *sim)
{
    uint32_t what = (uint32_t)prng_between(&sim->fault_prng, 0, 99);

    if (what < sim->crash_share)
        crash_some(sim);
    else if (what < sim->crash_share + sim->cut_share)
        cut_some(sim);
    else if (what < sim->crash_share + sim->cut_share + sim->pause_share)
        pause_some(sim);
    else if (what < 95)
        heal_links(sim);
    else
        hand_over(sim);
}

/* Its number and the seed say when a fault is due and what it is, so that the others stay what they
 * are when the shrinker leaves one out. */
static void next_fault(struct sim *sim, void *data, uint64_t number)
{
    uint64_t delay_us;

    (void)data;
    if (sim->healed)
        return;
    ASSERT(number < SIM_FAULTS_MAX);
    prng_seed(&sim->fault_prng, sim->options.seed * SIM_FAULTS_MAX + number);
    delay_us = prng_between(&sim->fault_prng, FAULT_GAP_US_MIN, 1500000);
    sim->result->faults = number + 1;
    if ((sim->options.skip[number / 64] >> number % 64 & 1) == 0) {
        sim_say(sim, "fault %llu", (unsigned long long)number);
        cause_fault(sim);
    }
    sim_at(sim, sim->now_us + delay_us, next_fault, NULL, number + 1, NULL);
}

/* Leases that were left alone since healing have checkpoints by now: the next leader goes on from
 * there. */
static void last_hand_over(struct sim *sim, void *data, uint64_t token)
{
    (void)data;
    (void)token;
    hand_over(sim);
}

static void heal(struct sim *sim, void *data, uint64_t token)
{
    (void)data;
    (void)token;
    sim_say(sim, "everything is healed");
    sim->healed = true;
    sim->healed_us = sim->now_us;
    heal_links(sim);
    for (unsigned n = 1; n <= sim->size; n++) {
        if (!sim->members[n].up && sim->members[n].state == SIM_PRESENT)
            sim_member_start(&sim->members[n]);
    }
    sim_at(sim, sim->now_us + 6000000, last_hand_over, NULL, 0, NULL);
}

/* ---- the course of a run ---- */

/* All up, one leads, all applied the same, no request under way. A follower may still hold a tail
 * that nobody committed: an idle new leader cuts it with its next entry only. */
static bool converged(struct sim *sim)
{
    const struct sim_member *leader = leader_of(sim);
    struct replica_status first, status;

    if (!sim->healed || leader == NULL || !sim_client_quiet(sim) || !sim_holders_quiet(sim) ||
        !sim_watch_quiet(sim) || !sim_audit_quiet(sim) || !sim_churn_quiet(sim, leader))
        return false;
    replica_status(leader->replica, &first);
    for (unsigned n = 1; n <= sim->size; n++) {
        if (!sim_churn_is_member(sim, n))
            continue;
        replica_status(sim->members[n].replica, &status);
        if (leases_count(sim->members[n].machine->leases) > 0)
            return false; /* nobody renews them any more, so all have to end */
        if (status.applied_index != first.applied_index ||
            status.applied_index != status.commit_index)
            return false;
    }
    return true;
}

/* For who reads the run: where everybody stands. */
static void say_states(struct sim *sim)
{
    struct replica_status status;

    sim_say(sim, "quiet: clients %d, holders %d, watchers %d, states %d, members %d",
            sim_client_quiet(sim), sim_holders_quiet(sim), sim_watch_quiet(sim),
            sim_audit_quiet(sim), leader_of(sim) != NULL && sim_churn_quiet(sim, leader_of(sim)));
    for (unsigned n = 1; n <= sim->size; n++) {
        if (!sim->members[n].up)
            continue;
        replica_status(sim->members[n].replica, &status);
        sim_say(sim,
                "m%u: term %llu, leader m%llu, last %llu, commit %llu, applied %llu, leases %zu", n,
                (unsigned long long)status.term, (unsigned long long)status.leader,
                (unsigned long long)status.last_index, (unsigned long long)status.commit_index,
                (unsigned long long)status.applied_index,
                leases_count(sim->members[n].machine->leases));
    }
}

static void draw_mix(struct sim *sim)
{
    static const uint32_t losses[] = {0, 0, 5000, 20000, 100000};
    static const uint64_t intervals[] = {0, 1024, 4096, 16384, 65536};
    static const uint32_t slows[] = {0, 5000, 20000, 200000};
    struct prng *prng = &sim->prng;

    unsigned without = sim->options.without;
    uint64_t fault_ms;

    sim->size = prng_chance(prng, 600000) ? 3 : 5;
    if (sim->options.members != 0)
        sim->size = sim->options.members;
    sim->founders = sim->size;
    sim->loss_ppm = losses[prng_between(prng, 0, ARRAY_LEN(losses) - 1)];
    sim->slow_ppm = slows[prng_between(prng, 0, ARRAY_LEN(slows) - 1)];
    sim->stall_ppm = prng_chance(prng, 300000) ? 20000 : 1000;
    sim->checkpoint_bytes = intervals[prng_between(prng, 0, ARRAY_LEN(intervals) - 1)];
    sim->checkpoints_kept = prng_chance(prng, 500000) ? 2 : 1;
    sim->reserve_bytes = prng_between(prng, 1, 20000);
    sim->flips = prng_chance(prng, 400000) || sim->options.bug == SIM_BUG_STATE_FLIP;
    sim->crash_share = (uint32_t)prng_between(prng, 0, 40);
    sim->cut_share = (uint32_t)prng_between(prng, 0, 30);
    sim->pause_share = (uint32_t)prng_between(prng, 0, 20);
    fault_ms = prng_between(prng, 5000, SIM_FAULT_MS_MAX);
    if (sim->options.fault_ms == 0)
        sim->options.fault_ms = fault_ms;
    if (sim->options.clients == 0)
        sim->options.clients = SIM_CLIENTS;

    sim->loss_ppm = without & SIM_WITHOUT_LOSS ? 0 : sim->loss_ppm;
    sim->slow_ppm = without & SIM_WITHOUT_SLOW ? 0 : sim->slow_ppm;
    sim->stall_ppm = without & SIM_WITHOUT_STALL ? 0 : sim->stall_ppm;
    sim->checkpoint_bytes = without & SIM_WITHOUT_CHECKPOINTS ? 0 : sim->checkpoint_bytes;
    sim->flips = sim->flips && (without & SIM_WITHOUT_FLIPS) == 0;
}

static void set_up(struct sim *sim)
{
    draw_mix(sim);
    sim->check = sim_check_new(sim);
    sim->churn = sim_churn_new(sim);
    idmap_init(&sim->fates);
    sim->watch = sim_watch_new(sim);
    sim->writer = sim_writer_new(sim);
    for (unsigned n = 1; n <= sim->size; n++) {
        struct sim_member *member = &sim->members[n];

        member->sim = sim;
        member->n = n;
        member->state = SIM_PRESENT;
        member->memdisk = memdisk_new(prng_next(&sim->prng));
        sim_member_start(member);
    }
    for (unsigned client = 0; client < sim->options.clients; client++)
        sim_client_next(sim, client);
    sim_holders_start(sim);
    sim_audit_plant(sim);
    sim_at(sim, sim->now_us + 1500000, next_fault, NULL, 0, NULL);
    sim_at(sim, sim->now_us + sim->options.fault_ms * 1000, heal, NULL, 0, NULL);
}

static void tear_down(struct sim *sim)
{
    for (unsigned n = 1; n <= sim->size; n++)
        sim_member_free(&sim->members[n]);
    while (sim->heap_len != 0) {
        struct sim_event event = pop(sim);

        if (event.drop != NULL)
            event.drop(event.data);
    }
    free(sim->heap);
    sim_holders_free(sim);
    sim_fates_free(sim);
    sim_check_free(sim->check);
    sim_watch_free(sim->watch);
    sim_writer_free(sim->writer);
    sim_churn_free(sim->churn);
}

void sim_run(const struct sim_options *options, struct sim_result *out)
{
    struct sim *sim = xcalloc(1, sizeof *sim);
    uint64_t end_us, next_check_us = 0;

    *out = (struct sim_result){.trace = 0xcbf29ce484222325u};
    sim->options = *options;
    sim->result = out;
    sim->now_us = START_US;
    prng_seed(&sim->prng, options->seed);
    set_up(sim);
    end_us = sim->now_us + (sim->options.fault_ms + CONVERGE_MS) * 1000;

    while (sim->heap_len != 0 && out->violation[0] == 0) {
        struct sim_event event = pop(sim);

        sim->now_us = event.at_us;
        event.action(sim, event.data, event.token);
        if (sim->now_us > end_us) {
            say_states(sim);
            sim_violation(sim, "I11: not converged %d s after healing", CONVERGE_MS / 1000);
        } else if (sim->healed && out->violation[0] == 0 && sim->now_us >= next_check_us) {
            if (converged(sim)) /* (a member that could not start has no replica to ask) */
                break;
            next_check_us = sim->now_us + CONVERGE_CHECK_US;
        }
    }
    if (out->violation[0] == 0)
        sim_check_final(sim);
    if (out->violation[0] == 0)
        sim_watch_final(sim);
    out->virtual_ms = (sim->now_us - START_US) / 1000;
    tear_down(sim);
    free(sim);
}
