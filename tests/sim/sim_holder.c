/* Clients that hold leases: each grants one, hangs two keys on it, renews it for a while (in time,
 * late, or too late), and then revokes it, revokes it and grants it again in one go, or just walks
 * away; through a member drawn anew for each request. What they were promised is kept, and checked,
 * by sim_fate.c. */
#include <stdlib.h>

#include "base/mem.h"
#include "proto/rpc.pb-c.h"
#include "tests/sim/sim.h"

enum { KEYS = SIM_LEASE_KEYS, BODY_SIZE = 256, LAST_TTL = 8 };

enum op_kind { OP_GRANT, OP_PUT, OP_RENEW, OP_CHECK, OP_REVOKE, OP_REGRANT };

struct holder_op {
    enum op_kind kind;
    struct list link;      /* in member->holder_ops, from its arrival on */
    struct holder *holder; /* NULL: it waits no longer */
    struct sim_member *member;
    uint64_t life;
    uint64_t called_us;
    int64_t id, ttl;
    unsigned key;
    struct sim_write write;
    struct replica_read read;
    struct lease_question question;
};

struct holder {
    struct sim *sim;
    unsigned n;
    int64_t id, ttl;
    struct sim_fate *fate;
    bool granted;
    bool has_key[KEYS];
    uint64_t pause_us; /* between renewals */
    unsigned renewals; /* still to come */
    struct holder_op *op;
    uint64_t serial; /* of the op */
    bool last, done; /* all is healed: one more lease that nobody renews, then it stops */
};

struct sim_holders {
    struct holder each[SIM_HOLDERS];
    int64_t next_id;
};

static void step(struct sim *sim, void *data, uint64_t token);

/* ---- the course of a holder ---- */

static void begin_anew(struct holder *h)
{
    static const unsigned paces[] = {20, 33, 50, 65, 85, 97, 105}; /* per cent of the TTL */
    struct prng *prng = &h->sim->prng;

    h->id = h->sim->holders->next_id++;
    h->ttl = (int64_t)prng_between(prng, 2, 7);
    h->fate = sim_fate_of(h->sim, h->id);
    h->granted = h->has_key[0] = h->has_key[1] = false;
    h->pause_us = (uint64_t)h->ttl * 10000 * paces[prng_between(prng, 0, ARRAY_LEN(paces) - 1)];
    h->renewals = (unsigned)prng_between(prng, 0, 8);
}

static void go_on(struct holder *h, uint64_t wait_us)
{
    sim_at(h->sim, h->sim->now_us + wait_us, step, h, 0, NULL);
}

static void op_end(struct holder_op *op)
{
    list_remove(&op->link);
    if (op->holder != NULL)
        op->holder->op = NULL;
    free(op);
}

/* No answer, and what came of it nobody knows. */
static void op_failed(struct holder_op *op)
{
    struct holder *h = op->holder;
    bool renewal = op->kind == OP_RENEW || op->kind == OP_CHECK;

    op_end(op);
    if (h == NULL)
        return;
    if (!renewal && (!h->granted || h->fate->revoked))
        begin_anew(h);
    go_on(h, prng_between(&h->sim->prng, 1000, 100000));
}

static void on_written(struct sim_write *write, const struct machine_result *result)
{
    struct holder_op *op = CONTAINER_OF(write, struct holder_op, write);
    struct holder *h = op->holder;
    struct sim *sim = write->member->sim;

    if (result == NULL || h == NULL) {
        op_failed(op);
        return;
    }
    sim_trace(sim, (uint64_t)result->code ^ (uint64_t)op->id);
    switch (op->kind) {
    case OP_GRANT:
    case OP_REGRANT:
        h->granted = result->code == 0;
        if (h->granted)
            sim_fate_promise(sim, op->id, op->called_us + (uint64_t)op->ttl * 1000000);
        else
            begin_anew(h);
        break;
    case OP_PUT:
        h->has_key[op->key] = result->code == 0;
        if (result->code != 0) {
            sim_fate_check_gone(sim, op->id, "a put");
            begin_anew(h);
        }
        break;
    default: /* it is gone */
        begin_anew(h);
        break;
    }
    op_end(op);
    go_on(h, prng_between(&sim->prng, 0, 200000));
}

static void on_renewed(struct lease_question *question, enum status status,
                       const struct lease_answer *answer)
{
    struct holder_op *op = CONTAINER_OF(question, struct holder_op, question);
    struct holder *h = op->holder;
    struct sim *sim = op->member->sim;

    if (status != STATUS_OK || h == NULL) {
        op_failed(op);
        return;
    }
    sim_trace(sim, (uint64_t)answer->known ^ (uint64_t)op->id);
    if (answer->known) {
        sim->result->renewals++;
        if (answer->ttl != op->ttl)
            sim_violation(sim, "lease %lld has a TTL of %lld s, granted were %lld",
                          (long long)op->id, (long long)answer->ttl, (long long)op->ttl);
        sim_fate_promise(sim, op->id, op->called_us + (uint64_t)op->ttl * 1000000);
    } else {
        sim_fate_check_gone(sim, op->id, "a renewal");
        begin_anew(h);
    }
    op_end(op);
    go_on(h, h->granted ? h->pause_us : prng_between(&sim->prng, 0, 100000));
}

/* Its keys, as a linearizable read finds them: those put are there as long as was promised, and
 * they go together. */
static void answer_check(struct holder_op *op)
{
    const struct mvcc *mvcc = op->member->machine->mvcc;
    struct sim *sim = op->member->sim;
    struct holder *h = op->holder;
    bool there[KEYS];
    char space[48];
    struct mvcc_kv kv;

    for (unsigned key = 0; key < KEYS; key++) {
        there[key] = mvcc_get(mvcc, sim_lease_key(op->id, key, space, sizeof space), &kv);
        if (h != NULL && h->has_key[key] && !there[key])
            sim_fate_check_gone(sim, op->id, "a read");
    }
    if (h != NULL && h->has_key[0] && h->has_key[1] && there[0] != there[1])
        sim_violation(sim, "I8: one key of lease %lld is gone, the other is not",
                      (long long)op->id);
    op_end(op);
    if (h != NULL)
        go_on(h, prng_between(&sim->prng, 0, h->pause_us));
}

static void on_read(struct replica_read *read, int status)
{
    struct holder_op *op = CONTAINER_OF(read, struct holder_op, read);

    if (status == 0)
        answer_check(op);
    else
        op_failed(op);
}

/* ---- requests ---- */

static void write_grant(struct holder_op *op)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    uint8_t body[BODY_SIZE];

    request.id = op->id;
    request.ttl = op->ttl;
    sim_write(op->member, &op->write, COMMAND_LEASE_GRANT,
              slice_of(body, etcdserverpb__lease_grant_request__pack(&request, body)));
}

static void write_revoke(struct holder_op *op)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    uint8_t body[BODY_SIZE];

    request.id = op->id;
    sim_write(op->member, &op->write, COMMAND_LEASE_REVOKE,
              slice_of(body, etcdserverpb__lease_revoke_request__pack(&request, body)));
}

static void write_put(struct holder_op *op)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    uint8_t body[BODY_SIZE];
    char space[48];
    struct slice key = sim_lease_key(op->id, op->key, space, sizeof space);

    request.key = (ProtobufCBinaryData){.data = (uint8_t *)space, .len = key.len};
    request.lease = op->id;
    sim_write(op->member, &op->write, COMMAND_PUT,
              slice_of(body, etcdserverpb__put_request__pack(&request, body)));
}

/* Both on their way before either is applied; nobody waits for the first. */
static void write_revoke_and_grant(struct holder_op *op)
{
    struct holder_op *revoke = xcalloc(1, sizeof *revoke);

    *revoke =
        (struct holder_op){.kind = OP_REVOKE, .member = op->member, .life = op->life, .id = op->id};
    revoke->write.done = on_written;
    list_push_back(&op->member->holder_ops, &revoke->link);
    write_revoke(revoke);
    write_grant(op);
}

static void arrive(struct sim *sim, void *data, uint64_t token)
{
    struct holder_op *op = data;
    struct sim_member *m = op->member;

    (void)sim;
    if (m->up && m->life == op->life && sim_member_asleep(m, arrive, data, token, free))
        return;
    if (!m->up || m->life != op->life || op->holder == NULL) {
        op_failed(op);
        return;
    }
    list_push_back(&m->holder_ops, &op->link);
    switch (op->kind) {
    case OP_GRANT:
        write_grant(op);
        break;
    case OP_PUT:
        write_put(op);
        break;
    case OP_REVOKE:
        write_revoke(op);
        break;
    case OP_REGRANT:
        write_revoke_and_grant(op);
        break;
    case OP_RENEW:
        if (!lessor__ask(&m->lessor, &op->question))
            op_failed(op);
        break;
    case OP_CHECK:
        op->read.cb = on_read;
        if (replica_read(m->replica, &op->read))
            answer_check(op);
        break;
    }
    sim_member_wake(m);
    sim_member_settle(m);
}

static void on_timeout(struct sim *sim, void *data, uint64_t serial)
{
    struct holder *h = data;
    struct holder_op *op = h->op;

    if (op == NULL || h->serial != serial)
        return;
    /* It runs on without the client: what comes of it, is seen by others. */
    op->holder = NULL;
    h->op = NULL;
    if (!h->granted || h->fate->revoked)
        begin_anew(h);
    go_on(h, prng_between(&sim->prng, 0, 50000));
}

static enum op_kind draw_op(struct holder *h)
{
    struct prng *prng = &h->sim->prng;

    if (!h->granted)
        return OP_GRANT;
    if ((!h->has_key[0] || !h->has_key[1]) && prng_chance(prng, 700000))
        return OP_PUT;
    if (prng_chance(prng, 150000))
        return OP_CHECK;
    if (h->renewals > 0) {
        h->renewals--;
        return OP_RENEW;
    }
    if (prng_chance(prng, 400000)) { /* it walks away */
        begin_anew(h);
        return OP_GRANT;
    }
    return prng_chance(prng, 500000) ? OP_REVOKE : OP_REGRANT;
}

static void step(struct sim *sim, void *data, uint64_t token)
{
    struct holder *h = data;
    struct sim_member *m = &sim->members[prng_between(&sim->prng, 1, sim->size)];
    struct holder_op *op;

    (void)token;
    h->done = h->last;
    if (h->done)
        return;
    if (!m->up) {
        go_on(h, 20000);
        return;
    }
    if (sim->healed) {
        begin_anew(h);
        h->ttl = LAST_TTL;
        h->last = true;
    }
    op = xcalloc(1, sizeof *op);
    *op = (struct holder_op){.kind = draw_op(h), .holder = h, .member = m, .life = m->life};
    op->id = h->id;
    op->ttl = h->ttl;
    op->key = h->has_key[0];
    op->called_us = sim->now_us;
    list_init(&op->link);
    op->write.done = on_written;
    op->question = (struct lease_question){.kind = LEASE_RENEW, .lease = h->id, .cb = on_renewed};
    if (op->kind == OP_REVOKE || op->kind == OP_REGRANT)
        h->fate->revoked = true;
    if (op->kind == OP_REGRANT) {
        h->has_key[0] = h->has_key[1] = false;
        h->renewals = (unsigned)prng_between(&sim->prng, 0, 8);
    }
    h->op = op;
    h->serial++;
    sim_trace(sim, (uint64_t)op->id << 8 | (uint64_t)op->kind);
    sim_at(sim, sim->now_us + prng_between(&sim->prng, 300000, 3000000), on_timeout, h, h->serial,
           NULL);
    sim_at(sim, sim->now_us + prng_between(&sim->prng, 50, 2000), arrive, op, 0, free);
}

/* ---- life ---- */

void sim_holders_start(struct sim *sim)
{
    sim->holders = xcalloc(1, sizeof *sim->holders);
    sim->holders->next_id = 1;
    for (unsigned n = 0; n < SIM_HOLDERS; n++) {
        struct holder *h = &sim->holders->each[n];

        h->sim = sim;
        h->n = n;
        begin_anew(h);
        go_on(h, prng_between(&sim->prng, 0, 1000000));
    }
}

void sim_holders_free(struct sim *sim)
{
    free(sim->holders);
}

/* Commands are ended by sim_writes_lost(). */
void sim_holders_lost(struct sim_member *m)
{
    LIST_EACH_SAFE (node, &m->holder_ops) {
        struct holder_op *op = LIST_ENTRY(node, struct holder_op, link);

        if (op->kind == OP_RENEW)
            lessor__cancel(&m->lessor, &op->question);
        else if (op->kind == OP_CHECK)
            replica_read_cancel(m->replica, &op->read);
        else
            continue;
        op_failed(op);
    }
}

bool sim_holders_quiet(const struct sim *sim)
{
    for (unsigned n = 0; n < SIM_HOLDERS; n++)
        if (!sim->holders->each[n].done)
            return false;
    return true;
}
