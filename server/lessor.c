#include "server/lessor.h"

#include "base/mem.h"
#include "server/lessor_internal.h"

enum { LEADERLESS_TIMEOUTS = 3 }; /* after so many, streams that want a leader end */

void lessor__init(struct lessor *lessor, const struct lessor_options *options)
{
    *lessor = (struct lessor){.options = *options};
    prng_seed(&lessor->prng, options->seed);
    list_init(&lessor->confirm.link);
    lessor__ask_init(lessor, prng_next(&lessor->prng));
}

void lessor__release(struct lessor *lessor)
{
    lessor__ask_release(lessor);
}

uint64_t lessor__now_ms(const struct lessor *lessor)
{
    return lessor->options.env.now_ms(lessor->options.env.ctx);
}

uint64_t lessor__begin_ms(const struct lessor *lessor)
{
    return lessor__now_ms(lessor) + 1;
}

int64_t lessor__new_id(struct lessor *lessor)
{
    int64_t id;

    do
        id = (int64_t)(prng_next(&lessor->prng) & INT64_MAX);
    while (id == LEASE_NONE || leases_known(lessor->leases, id));
    return id;
}

int64_t lessor__ttl_min(const struct lessor *lessor)
{
    uint64_t ticks = lessor->options.election_ms / lessor->options.heartbeat_ms;

    return (int64_t)((3 * ticks / 2 * lessor->options.heartbeat_ms + 999) / 1000);
}

/* ---- leading: confirmed ---- */

/* Leadership was confirmed after everything in `round` had been asked. */
static void on_confirmed(struct lessor *lessor)
{
    uint64_t now_ms = lessor__now_ms(lessor);

    if (!lessor__leads(lessor)) {
        leases_lead(lessor->leases, now_ms, lessor->options.election_ms);
        lessor->lead_term = lessor->term;
    }
    lessor__answer_round(lessor, now_ms);
    lessor__write_clears(lessor, now_ms);
    lessor__end_due(lessor, now_ms);
}

static void on_confirm(struct replica_read *read, int status)
{
    struct lessor *lessor = CONTAINER_OF(read, struct lessor, confirm);

    (void)status; /* it only says yes, late or never */
    lessor->confirming = false;
    /* Another leader may have answered, or this process have slept since. */
    if (lessor->role == REPLICA_LEADER && lessor->term == lessor->confirm_term &&
        lessor__now_ms(lessor) - lessor->confirm_ms < lessor->options.election_ms)
        on_confirmed(lessor);
    else
        list_splice(&lessor->fresh, &lessor->round);
}

static void confirm(struct lessor *lessor, uint64_t now_ms)
{
    const struct lessor_env *env = &lessor->options.env;

    list_splice(&lessor->round, &lessor->fresh);
    lessor->confirming = true;
    lessor->confirm_term = lessor->term;
    lessor->confirm_ms = now_ms;
    lessor->confirm = (struct replica_read){.cb = on_confirm};
    list_init(&lessor->confirm.link);
    if ((lessor->options.guards_off & LESSOR_GUARD_CONFIRM) != 0 ||
        env->read(env->ctx, &lessor->confirm))
        on_confirm(&lessor->confirm, 0);
}

static bool due(const struct lessor *lessor, uint64_t now_ms)
{
    return lessor->expiring == 0 && leases_next_due(lessor->leases) <= now_ms;
}

static void confirm_if_needed(struct lessor *lessor, uint64_t now_ms)
{
    if (!lessor__is_open(lessor))
        lessor__open(lessor, now_ms);
    else if (!lessor->confirming &&
             (!list_empty(&lessor->fresh) || !lessor__leads(lessor) || due(lessor, now_ms)))
        confirm(lessor, now_ms);
}

/* ---- the turn ---- */

/* From inside consensus: questions only move. */
void lessor__role_changed(struct lessor *lessor, enum replica_role role, uint64_t term,
                          uint64_t leader)
{
    lessor->role = role;
    lessor->term = term;
    lessor->leader = leader;
    if (lessor__leads(lessor) && role == REPLICA_LEADER)
        return;
    if (leases_leading(lessor->leases))
        leases_follow(lessor->leases);
    lessor->lead_term = 0;
    lessor__command_follow(lessor);
    lessor__ask_follow(lessor);
}

static uint64_t patience_ends(const struct lessor *lessor)
{
    if (lessor->leaderless_ms == 0)
        return UINT64_MAX;
    return lessor->leaderless_ms + LEADERLESS_TIMEOUTS * (uint64_t)lessor->options.election_ms;
}

static void watch_leader(struct lessor *lessor, uint64_t now_ms)
{
    const struct lessor_env *env = &lessor->options.env;

    if (lessor->leader != 0)
        lessor->leaderless_ms = 0;
    else if (lessor->leaderless_ms == 0)
        lessor->leaderless_ms = now_ms;
    if (patience_ends(lessor) > now_ms)
        return;
    if (env->on_leaderless != NULL)
        env->on_leaderless(env->ctx);
    lessor->leaderless_ms = now_ms; /* those that came meanwhile: looked at again later */
}

static void arm(struct lessor *lessor)
{
    const struct lessor_env *env = &lessor->options.env;
    uint64_t at_ms = MIN(patience_ends(lessor), lessor__ask_next_ms(lessor));

    if (lessor->role == REPLICA_LEADER)
        at_ms = MIN(at_ms, lessor__command_next_ms(lessor));
    /* Running for something earlier: it looks for itself what comes next. */
    if (at_ms == UINT64_MAX || (lessor->armed_ms != 0 && lessor->armed_ms <= at_ms))
        return;
    lessor->armed_ms = at_ms;
    env->arm_timer(env->ctx, at_ms);
}

void lessor__on_timer(struct lessor *lessor)
{
    lessor->armed_ms = 0; /* the turn that follows does the work */
}

void lessor__turn(struct lessor *lessor)
{
    uint64_t now_ms = lessor__now_ms(lessor);

    watch_leader(lessor, now_ms);
    lessor__give_up_late(lessor, now_ms);
    lessor__ask_again(lessor, now_ms);
    if (lessor->role == REPLICA_LEADER) {
        confirm_if_needed(lessor, now_ms);
        if (lessor__leads(lessor))
            lessor__write_checkpoints(lessor, now_ms);
    } else if (lessor->role == REPLICA_FOLLOWER && lessor->leader != 0) {
        lessor__ask_leader(lessor, now_ms);
    }
}

/* Commands have been applied: what waited for them goes on. */
void lessor__turn_end(struct lessor *lessor)
{
    uint64_t now_ms = lessor__now_ms(lessor);

    lessor__answer_parked(lessor, now_ms);
    if (lessor__leads(lessor))
        lessor__write_clears(lessor, now_ms);
    if (lessor->role == REPLICA_LEADER && (!lessor__leads(lessor) || !list_empty(&lessor->fresh)))
        confirm_if_needed(lessor, now_ms);
    arm(lessor);
}
