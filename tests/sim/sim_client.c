/* Clients: one request at a time each, through a member drawn anew for each request. Writes are
 * unique values to a few keys, so that what happened can be told from the result. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proto/rpc.pb-c.h"
#include "tests/sim/sim.h"

static void finish(struct sim *sim, struct sim_op *op)
{
    struct sim_member *m = op->member;

    sim->ops[op->client] = NULL;
    if (m->up && m->life == op->life) {
        if (op->is_read)
            replica_read_cancel(m->replica, &op->read);
        else
            replica_forget(m->replica, &op->proposal);
        (void)idmap_remove(&m->waiting, op->ticket);
    }
    buf_release(&op->command);
    sim_client_next(sim, op->client);
    free(op);
}

static void give_up(struct sim *sim, struct sim_op *op)
{
    if (!op->is_read) {
        sim_check_given_up(op->member, op->ticket, &op->proposal);
        sim->result->unknown += op->proposal.term != 0;
    }
    finish(sim, op);
}

static void on_timeout(struct sim *sim, void *data, uint64_t token)
{
    unsigned client = (unsigned)(token & 15);
    struct sim_op *op = sim->ops[client];

    (void)data;
    if (op == NULL || op->serial != token >> 4)
        return;
    give_up(sim, op);
}

void sim_client_lost(struct sim_member *m)
{
    for (unsigned client = 0; client < SIM_CLIENTS; client++) {
        struct sim_op *op = m->sim->ops[client];

        if (op == NULL || op->member != m)
            continue;
        give_up(m->sim, op);
    }
}

bool sim_client_quiet(const struct sim *sim)
{
    for (unsigned client = 0; client < SIM_CLIENTS; client++) {
        if (sim->ops[client] != NULL)
            return false;
    }
    return sim->written_after_heal;
}

static struct slice key_text(unsigned key, char *space, size_t size)
{
    return slice_of(space, (size_t)snprintf(space, size, "key%u", key));
}

/* ---- reads ---- */

static void answer_read(struct sim *sim, struct sim_op *op)
{
    struct mvcc *mvcc = op->member->machine->mvcc;
    struct mvcc_kv kv;
    char space[16];
    bool there = mvcc_get(mvcc, key_text(op->key, space, sizeof space), &kv);

    sim->result->reads++;
    sim_check_read(sim, op, mvcc_revision(mvcc), there ? &kv : NULL);
    finish(sim, op);
}

static void on_read(struct replica_read *read, int status)
{
    struct sim_op *op = CONTAINER_OF(read, struct sim_op, read);

    if (status == 0)
        answer_read(op->member->sim, op);
    else
        finish(op->member->sim, op); /* no answer, no effect */
}

static void start_read(struct sim *sim, struct sim_op *op)
{
    op->read.cb = on_read;
    if (sim->options.bug == SIM_BUG_STALE_READ || replica_read(op->member->replica, &op->read))
        answer_read(sim, op);
}

/* ---- writes ---- */

void sim_client_applied(struct sim_member *m, uint64_t ticket, const struct machine_result *result)
{
    struct sim_op *op = idmap_get(&m->waiting, ticket);

    if (result->code != 0) {
        sim_violation(m->sim, "a write that can not fail failed with %s", err_name(result->code));
        return;
    }
    m->sim->result->acked++;
    m->sim->written_after_heal |= m->sim->healed;
    sim_check_write(m->sim, op, result->revision);
    finish(m->sim, op);
}

static void start_write(struct sim *sim, struct sim_op *op)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct sim_member *m = op->member;
    char key[16], value[32];
    uint8_t body[128];
    struct slice name = key_text(op->key, key, sizeof key);
    struct command command = {
        .origin = m->n, .ticket = op->ticket, .kind = COMMAND_PUT, .body = {.data = body}};

    put.key = (ProtobufCBinaryData){.data = (uint8_t *)key, .len = name.len};
    put.value.len = (size_t)snprintf(value, sizeof value, "%llu", (unsigned long long)op->serial);
    put.value.data = (uint8_t *)value;
    command.body.len = etcdserverpb__put_request__pack(&put, body);
    if (command_encode(&command, &op->command) != 0) {
        sim_violation(sim, "a small command does not fit");
        return;
    }
    op->proposal.command = buf_slice(&op->command);
    (void)idmap_put(&m->waiting, op->ticket, op);
    if (replica_propose(m->replica, &op->proposal) != 0)
        sim_violation(sim, "a small command is refused");
}

/* ---- one request after the other ---- */

static void start(struct sim *sim, void *data, uint64_t client)
{
    struct sim_member *m =
        data != NULL ? data : &sim->members[prng_between(&sim->prng, 1, sim->size)];
    struct sim_op *op;

    if (m->up && sim_member_asleep(m, start, m, client, NULL))
        return; /* the request waits in its socket */
    if (!m->up) {
        sim_at(sim, sim->now_us + 20000, start, NULL, client, NULL);
        return;
    }
    op = xcalloc(1, sizeof *op);
    op->client = (unsigned)client;
    op->member = m;
    op->life = m->life;
    op->key = (unsigned)prng_between(&sim->prng, 0, SIM_KEYS - 1);
    op->serial = ++sim->serial_next;
    op->called_us = sim->now_us;
    op->floor = sim_check_floor(sim);
    op->is_read = prng_chance(&sim->prng, 400000);
    op->ticket = m->ticket_next++;
    buf_init(&op->command, 4096);
    sim->ops[client] = op;
    sim_trace(sim, op->serial << 8 | op->key);
    sim_at(sim, sim->now_us + prng_between(&sim->prng, 500000, 4000000), on_timeout, NULL,
           op->serial << 4 | client, NULL);
    if (op->is_read)
        start_read(sim, op);
    else
        start_write(sim, op);
    sim_member_settle(m);
}

void sim_client_next(struct sim *sim, unsigned client)
{
    /* After healing the first client goes on until a write has shown that writes go on (I11). */
    if (sim->healed && (client != 0 || sim->written_after_heal))
        return;
    sim_at(sim, sim->now_us + prng_between(&sim->prng, 0, 30000), start, NULL, client, NULL);
}
