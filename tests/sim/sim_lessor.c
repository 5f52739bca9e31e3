/* The member's lessor on virtual time: its clock (another one on each member and after each start,
 * as monotonic clocks are), its timer, and the way of its commands into the log. */
#include <stdlib.h>

#include "base/mem.h"
#include "tests/sim/sim.h"

uint64_t sim_lessor_now_ms(const struct sim_member *m)
{
    uint64_t now_ms = m->sim->now_us / 1000;

    if (m->sim->options.bug == SIM_BUG_EARLY_EXPIRY)
        now_ms += now_ms / 5;
    return now_ms + m->clock_ms;
}

static uint64_t env_now_ms(void *ctx)
{
    return sim_lessor_now_ms(ctx);
}

static void on_timer(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = data;

    if (!m->up || token != m->lease_token || sim_member_asleep(m, on_timer, data, token, NULL))
        return;
    sim_trace(sim, sim->now_us);
    lessor__on_timer(&m->lessor);
    sim_member_wake(m);
}

static void env_arm_timer(void *ctx, uint64_t at_ms)
{
    struct sim_member *m = ctx;
    uint64_t now_ms = sim_lessor_now_ms(m);
    uint64_t wait_us = at_ms > now_ms ? (at_ms - now_ms) * 1000 : 1;

    /* A timer may fire late: other work was in the way. */
    sim_at(m->sim, m->sim->now_us + wait_us + prng_between(&m->sim->prng, 0, 3000), on_timer, m,
           ++m->lease_token, NULL);
}

/* ---- commands ---- */

static void finish(struct sim_write *write, const struct machine_result *result)
{
    struct sim_member *m = write->member;

    (void)idmap_remove(&m->write_of, write->ticket); /* it is that one */
    replica_forget(m->replica, &write->proposal);
    list_remove(&write->link);
    buf_release(&write->bytes);
    write->done(write, result);
}

/* As a member, it does not wait for ever; the command may come about all the same. */
static void give_up(struct sim *sim, void *data, uint64_t ticket)
{
    struct sim_member *m = data;
    struct sim_write *write;

    (void)sim;
    if (!m->up || (write = idmap_get(&m->write_of, ticket)) == NULL ||
        sim_member_asleep(m, give_up, data, ticket, NULL))
        return;
    finish(write, NULL);
    sim_member_wake(m);
}

void sim_write(struct sim_member *m, struct sim_write *write, enum command_kind kind,
               struct slice body)
{
    struct command command = {
        .origin = m->n, .ticket = m->ticket_next++, .kind = kind, .body = body};

    write->member = m;
    write->ticket = command.ticket;
    buf_init(&write->bytes, 1 << 20);
    if (command_encode(&command, &write->bytes) != 0)
        sim_violation(m->sim, "a small command does not fit");
    write->proposal = (struct replica_proposal){.command = buf_slice(&write->bytes)};
    list_init(&write->proposal.link);
    list_push_back(&m->writes, &write->link);
    (void)idmap_put(&m->write_of, write->ticket, write); /* tickets do not repeat */
    if (replica_propose(m->replica, &write->proposal) != 0)
        sim_violation(m->sim, "a small command is refused");
    sim_at(m->sim, m->sim->now_us + prng_between(&m->sim->prng, 2000000, 8000000), give_up, m,
           write->ticket, NULL);
}

bool sim_write_applied(struct sim_member *m, uint64_t ticket, const struct machine_result *result)
{
    struct sim_write *write = idmap_get(&m->write_of, ticket);

    if (write != NULL)
        finish(write, result);
    return write != NULL;
}

void sim_writes_lost(struct sim_member *m)
{
    while (!list_empty(&m->writes))
        finish(LIST_FIRST(&m->writes, struct sim_write, link), NULL);
}

/* ---- those of the lessor ---- */

struct lessor_write {
    struct sim_write write;
    struct lessor_command *handle;
};

static void on_done(struct sim_write *write, const struct machine_result *result)
{
    struct lessor_write *mine = CONTAINER_OF(write, struct lessor_write, write);

    lessor__command_done(&write->member->lessor, mine->handle, result != NULL && result->code == 0);
    free(mine);
}

static bool env_propose(void *ctx, enum command_kind kind, struct slice body,
                        struct lessor_command *handle)
{
    struct sim_member *m = ctx;
    struct lessor_write *mine;

    if (!m->sim->healed && prng_chance(&m->sim->prng, 10000)) /* too many requests */
        return false;
    mine = xcalloc(1, sizeof *mine);
    mine->handle = handle;
    mine->write.done = on_done;
    sim_write(m, &mine->write, kind, body);
    return true;
}

/* ---- consensus ---- */

static bool env_read(void *ctx, struct replica_read *read)
{
    struct sim_member *m = ctx;

    return replica_read(m->replica, read);
}

static void env_ask(void *ctx, struct slice questions)
{
    struct sim_member *m = ctx;

    (void)replica_ask(m->replica, questions); /* lost ones are asked again */
}

static void env_answer(void *ctx, uint64_t to, uint64_t session, struct slice answers)
{
    struct sim_member *m = ctx;

    replica_answer(m->replica, to, session, answers);
}

/* ---- life ---- */

void sim_lessor_start(struct sim_member *m)
{
    struct lessor_options options = {
        .env = {.ctx = m,
                .now_ms = env_now_ms,
                .arm_timer = env_arm_timer,
                .propose = env_propose,
                .read = env_read,
                .ask = env_ask,
                .answer = env_answer},
        .seed = prng_next(&m->sim->prng),
        .heartbeat_ms = 100,
        .election_ms = 1000, /* as the replica's default */
        .timeout_ms = 3000,
        .command_size_max = 1000, /* so that batches have parts */
    };

    if (m->sim->options.bug == SIM_BUG_STALE_CHECKPOINT)
        options.guards_off = LESSOR_GUARD_CLEAR;
    if (m->sim->options.bug == SIM_BUG_SLEEPY_RENEWAL)
        options.guards_off = LESSOR_GUARD_CONFIRM;
    m->clock_ms = prng_between(&m->sim->prng, 0, 1000000);
    m->lease_token++;
    list_init(&m->writes);
    list_init(&m->holder_ops);
    idmap_init(&m->write_of);
    lessor__init(&m->lessor, &options);
}

void sim_lessor_turned(struct sim_member *m)
{
    uint64_t term = m->lessor.lead_term;

    if (term == 0 || term == m->led_term)
        return;
    m->led_term = term;
    m->sim->led_us = m->sim->now_us;
}

void sim_lessor_stop(struct sim_member *m)
{
    sim_holders_lost(m);
    sim_writes_lost(m);
    lessor__release(&m->lessor);
    idmap_release(&m->write_of);
}
