/* What kvd promises (faults.md section 1), checked while a run goes on and at its end.
 *
 * Writes carry their revision, so their order is known without a search: a write's revision is
 * above every revision acknowledged before its call, a read's is not below it, and the final
 * history must hold every acknowledged write at its revision and explain every read (I1, I2, I4).
 * Members must apply the same entries to the same state at the same index (I6, I7). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "tests/lib/watch_check.h"
#include "tests/sim/sim.h"

/* What the first member that applied an index saw there. */
struct oracle {
    uint64_t term;
    uint64_t digest; /* of all commands up to here */
    uint64_t state;  /* machine_digest(), at some indexes */
    uint32_t crc;
    bool known, state_known;
};

struct answer {
    bool is_read;
    unsigned key;
    int64_t revision; /* of the store, as answered */
    int64_t mod;      /* reads: of the key, 0 if absent */
    uint64_t serial;  /* writes: the value; reads: the value found */
};

struct sim_check {
    struct oracle *oracle;
    size_t oracle_cap;
    struct idmap leaders; /* term -> struct sim_member */
    struct idmap tickets; /* origin and ticket -> index + 1 */
    struct idmap never;   /* origin and ticket of writes that never left -> anything */
    struct answer *answers;
    size_t answer_len, answer_cap;
    int64_t floor;
};

enum { STATE_EVERY = 64 };

struct sim_check *sim_check_new(struct sim *sim)
{
    struct sim_check *check = xcalloc(1, sizeof *check);

    (void)sim;
    idmap_init(&check->leaders);
    idmap_init(&check->tickets);
    idmap_init(&check->never);
    return check;
}

void sim_check_free(struct sim_check *check)
{
    free(check->oracle);
    free(check->answers);
    idmap_release(&check->leaders);
    idmap_release(&check->tickets);
    idmap_release(&check->never);
    free(check);
}

void sim_check_leader(struct sim_member *m, uint64_t term)
{
    struct sim_member *old = idmap_put(&m->sim->check->leaders, term, m);

    if (old == NULL)
        m->sim->result->elections++;
    else if (old != m)
        sim_violation(m->sim, "I7: two leaders in term %llu: m%u and m%u", (unsigned long long)term,
                      old->n, m->n);
}

static struct oracle *oracle_at(struct sim_check *check, uint64_t index)
{
    if (index >= check->oracle_cap) {
        size_t cap = MAX(check->oracle_cap * 2, (size_t)index + 1024);

        check->oracle = xrealloc(check->oracle, cap * sizeof *check->oracle);
        memset(check->oracle + check->oracle_cap, 0,
               (cap - check->oracle_cap) * sizeof *check->oracle);
        check->oracle_cap = cap;
    }
    return &check->oracle[index];
}

void sim_check_entry(struct sim_member *m, const struct replica_entry *entry)
{
    struct oracle *o = oracle_at(m->sim->check, entry->index);
    uint32_t crc = crc32c_extend(0, entry->commands.data, entry->commands.len);
    unsigned long long index = entry->index;

    if (!o->known) {
        *o = (struct oracle){.term = entry->term, .crc = crc, .digest = m->digest, .known = true};
    } else if (o->term != entry->term || o->crc != crc) {
        sim_violation(m->sim, "I7: m%u applies another entry at %llu (term %llu, was %llu)", m->n,
                      index, (unsigned long long)entry->term, (unsigned long long)o->term);
    } else if (o->digest != m->digest) {
        sim_violation(m->sim, "I6: m%u has another result at %llu", m->n, index);
    }
    if (entry->index % STATE_EVERY == 0)
        sim_check_state(m, entry->index);
}

void sim_check_state(struct sim_member *m, uint64_t index)
{
    struct oracle *o = oracle_at(m->sim->check, index);
    uint64_t state = machine_digest(m->machine) ^ machine_history(m->machine);

    if (m->flipped)
        return; /* planted: that is for the members to find */
    if (!o->state_known) {
        o->state = state;
        o->state_known = true;
    } else if (o->state != state) {
        sim_violation(m->sim, "I6: m%u has another state at %llu", m->n, (unsigned long long)index);
    }
}

bool sim_check_is_right(struct sim_member *m, uint64_t index)
{
    const struct oracle *o = oracle_at(m->sim->check, index);

    return o->state_known && o->state == (machine_digest(m->machine) ^ machine_history(m->machine));
}

void sim_check_resumed(struct sim_member *m, uint64_t index)
{
    struct oracle *o = oracle_at(m->sim->check, index);

    m->applied = index;
    m->digest = o->digest;
    if (!o->known)
        sim_violation(m->sim, "I7: m%u has a checkpoint of %llu, which nobody has applied", m->n,
                      (unsigned long long)index);
    sim_check_state(m, index);
}

bool sim_check_is_first(const struct sim *sim, uint64_t index)
{
    return index >= sim->check->oracle_cap || !sim->check->oracle[index].known;
}

static uint64_t command_id(uint64_t origin, uint64_t ticket)
{
    return origin << 56 | ticket;
}

void sim_check_given_up(struct sim_member *m, uint64_t ticket,
                        const struct replica_proposal *proposal)
{
    struct sim_check *check = m->sim->check;
    uint64_t id = command_id(m->n, ticket);

    if (proposal->term != 0 && m->sim->options.bug != SIM_BUG_FALSE_REFUSAL)
        return;
    m->sim->result->never_left++;
    if (idmap_get(&check->tickets, id) != NULL)
        sim_violation(m->sim, "I10: a write through m%u that never left has been applied", m->n);
    (void)idmap_put(&check->never, id, check);
}

/* Exactly once: a command stands at one index only (replica.h, "Proposals"). */
void sim_check_command(struct sim_member *m, const struct command *command, uint64_t index)
{
    uint64_t id = command_id(command->origin, command->ticket);
    void *here = (void *)(uintptr_t)(index + 1);
    void *old = idmap_put(&m->sim->check->tickets, id, here);

    if (old != NULL && old != here)
        sim_violation(m->sim, "I10: the same command is applied at %llu and at %llu",
                      (unsigned long long)(uintptr_t)old - 1, (unsigned long long)index);
    if (idmap_get(&m->sim->check->never, id) != NULL)
        sim_violation(m->sim, "I10: a write that never left is applied at %llu",
                      (unsigned long long)index);
}

int64_t sim_check_floor(const struct sim *sim)
{
    return sim->check->floor;
}

static void keep(struct sim *sim, struct answer answer)
{
    struct sim_check *check = sim->check;

    if (check->answer_len == check->answer_cap) {
        check->answer_cap = MAX(check->answer_cap * 2, (size_t)1024);
        check->answers = xrealloc(check->answers, check->answer_cap * sizeof *check->answers);
    }
    check->answers[check->answer_len++] = answer;
    check->floor = MAX(check->floor, answer.revision);
    sim_trace(sim, (uint64_t)answer.revision);
}

void sim_check_write(struct sim *sim, const struct sim_op *op, int64_t revision)
{
    if (revision <= op->floor)
        sim_violation(sim, "I1: a write got revision %lld although %lld was acknowledged before",
                      (long long)revision, (long long)op->floor);
    keep(sim, (struct answer){.key = op->key, .revision = revision, .serial = op->serial});
}

static uint64_t number_of(struct slice text)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.len; i++)
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    return value;
}

void sim_check_read(struct sim *sim, const struct sim_op *op, int64_t revision,
                    const struct mvcc_kv *kv)
{
    if (revision < op->floor)
        sim_violation(sim, "I1: stale read through m%u: revision %lld, %lld was acknowledged",
                      op->member->n, (long long)revision, (long long)op->floor);
    keep(sim, (struct answer){.is_read = true,
                              .key = op->key,
                              .revision = revision,
                              .mod = kv == NULL ? 0 : kv->mod_revision,
                              .serial = kv == NULL ? 0 : number_of(kv->value)});
}

/* The final state has forgotten that revision: what the first member that got there held. */
static void check_compacted_answer(struct sim *sim, const struct answer *a, struct slice key)
{
    const struct watch_change *change = watch_history_at(sim_watch_history(sim), key, a->revision);
    char text[24];
    struct slice value =
        slice_of(text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)a->serial));
    int64_t mod = change == NULL || change->is_delete ? 0 : change->revision;

    if (mod != (a->is_read ? a->mod : a->revision) ||
        (mod != 0 && change->value != watch_value(value)))
        sim_violation(sim, "I2: what was acknowledged of key%u at %lld is not in the history",
                      a->key, (long long)a->revision);
}

/* One answer against the final history: what the key was at the answer's revision. */
static void check_answer(struct sim *sim, const struct answer *a, struct arena *arena)
{
    const struct mvcc *mvcc = sim_churn_someone(sim)->machine->mvcc;
    struct mvcc_range range = {.revision = a->revision};
    struct mvcc_range_result found;
    char key[16];
    int64_t mod;
    uint64_t serial;

    range.span.key = slice_of(key, (size_t)snprintf(key, sizeof key, "key%u", a->key));
    if (a->revision < mvcc_compact_revision(mvcc)) {
        check_compacted_answer(sim, a, range.span.key);
        return;
    }
    if (mvcc_range(mvcc, &range, arena, &found) != 0) {
        sim_violation(sim, "I2: acknowledged revision %lld is not in the final history",
                      (long long)a->revision);
        return;
    }
    mod = found.len == 0 ? 0 : found.kvs[0].mod_revision;
    serial = found.len == 0 ? 0 : number_of(found.kvs[0].value);
    if (!a->is_read && (mod != a->revision || serial != a->serial))
        sim_violation(sim, "I2: write of %llu to key%u acknowledged at %lld is lost",
                      (unsigned long long)a->serial, a->key, (long long)a->revision);
    if (a->is_read && (mod != a->mod || serial != a->serial))
        sim_violation(sim, "I3: a read of key%u at %lld gave what the history does not hold",
                      a->key, (long long)a->revision);
}

void sim_check_final(struct sim *sim)
{
    struct sim_check *check = sim->check;
    const struct sim_member *first = sim_churn_someone(sim);
    uint64_t digest = machine_digest(first->machine);
    struct arena arena = ARENA_INIT;

    for (unsigned n = first->n + 1; n <= sim->size; n++) {
        if (sim_churn_is_member(sim, n) && machine_digest(sim->members[n].machine) != digest)
            sim_violation(sim, "I6: m%u and m%u differ at the end", n, first->n);
    }
    for (size_t i = 0; i < check->answer_len; i++) {
        check_answer(sim, &check->answers[i], &arena);
        arena_reset(&arena);
    }
    arena_release(&arena);
}
