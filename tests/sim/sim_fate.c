/* What became of leases, against what clients were promised (faults.md I8), by the virtual clock:
 * after a grant or a renewal that was acknowledged the lease is there until its TTL after the
 * request went out. Checked where the end of a lease is first applied, at every answer, and in what
 * clients read. The keys of a lease go in one revision. What the log says is left of a lease does
 * not grow unless a renewal took it back; and in the end, when nobody renews any more, leases end
 * no later than that says under the leader of then. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "proto/rpc.pb-c.h"
#include "tests/sim/sim.h"

enum {
    KEYS = SIM_LEASE_KEYS,
    EXTRA_US = 1000000, /* what a new leader gives: an election timeout */
    LATE_US = 1500000,
    RETRY_US = 3000000, /* when an end that was refused is proposed again */
};

struct sim_fate *sim_fate_of(struct sim *sim, int64_t id)
{
    struct sim_fate *fate = idmap_get(&sim->fates, (uint64_t)id);

    if (fate == NULL) {
        fate = xcalloc(1, sizeof *fate);
        (void)idmap_put(&sim->fates, (uint64_t)id, fate); /* it was not there */
    }
    return fate;
}

void sim_fates_free(struct sim *sim)
{
    size_t cursor = 0;
    void *fate;

    while ((fate = idmap_next(&sim->fates, &cursor)) != NULL)
        free(fate);
    idmap_release(&sim->fates);
}

static double seconds(uint64_t us)
{
    return (double)us / 1e6;
}

void sim_fate_promise(struct sim *sim, int64_t id, uint64_t until_us)
{
    struct sim_fate *fate = sim_fate_of(sim, id);

    fate->promised_us = MAX(fate->promised_us, until_us);
    if (fate->ended_us != 0 && fate->ended_us < until_us && !fate->revoked)
        sim_violation(sim, "I8: lease %lld was acknowledged and had ended %.3f s before its time",
                      (long long)id, seconds(until_us - fate->ended_us));
}

void sim_fate_check_gone(struct sim *sim, int64_t id, const char *who)
{
    const struct sim_fate *fate = sim_fate_of(sim, id);

    if (!fate->revoked && sim->now_us < fate->promised_us)
        sim_violation(sim, "I8: lease %lld is gone for %s %.3f s before its time", (long long)id,
                      who, seconds(fate->promised_us - sim->now_us));
}

struct slice sim_lease_key(int64_t id, unsigned key, char *space, size_t size)
{
    return slice_of(space, (size_t)snprintf(space, size, "lease/%lld/%u", (long long)id, key));
}

/* ---- what members apply ---- */

static int64_t lease_that_ends(const struct command *command)
{
    Etcdserverpb__LeaseRevokeRequest *revoke;
    Kvdpb__LeaseExpire *expire;
    int64_t id = 0;

    if (command->kind == COMMAND_LEASE_REVOKE) {
        revoke =
            etcdserverpb__lease_revoke_request__unpack(NULL, command->body.len, command->body.data);
        id = revoke->id;
        etcdserverpb__lease_revoke_request__free_unpacked(revoke, NULL);
    } else if (command->kind == COMMAND_LEASE_EXPIRE) {
        expire = kvdpb__lease_expire__unpack(NULL, command->body.len, command->body.data);
        id = expire->id;
        kvdpb__lease_expire__free_unpacked(expire, NULL);
    }
    return id;
}

void sim_lease_before(const struct sim_member *m, const struct command *command,
                      struct sim_lease_watch *out)
{
    const struct leases *leases = m->machine->leases;

    *out = (struct sim_lease_watch){.id = lease_that_ends(command)};
    if (out->id == 0)
        return;
    out->grant = leases_grant_number(leases, out->id);
    out->keys = leases_key_count(leases, out->id);
    out->revision = mvcc_revision(m->machine->mvcc);
}

/* All at once, or nothing. */
static void check_keys_gone(struct sim_member *m, const struct sim_lease_watch *before)
{
    const struct mvcc *mvcc = m->machine->mvcc;
    char space[48];
    struct mvcc_kv kv;

    if (mvcc_revision(mvcc) != before->revision + (before->keys > 0))
        sim_violation(m->sim, "I8: m%u: %zu keys of lease %lld went from revision %lld to %lld",
                      m->n, before->keys, (long long)before->id, (long long)before->revision,
                      (long long)mvcc_revision(mvcc));
    for (unsigned key = 0; key < KEYS; key++)
        if (mvcc_get(mvcc, sim_lease_key(before->id, key, space, sizeof space), &kv))
            sim_violation(m->sim, "I8: m%u: lease %lld ended without its key %u", m->n,
                          (long long)before->id, key);
}

/* When nothing keeps the leader from ending leases any more: what was refused is tried again after
 * 3 s. */
static uint64_t calm_since(const struct sim *sim)
{
    uint64_t since_us = sim->healed_us + RETRY_US;

    for (unsigned n = 1; n <= sim->size; n++)
        since_us = MAX(since_us, sim->members[n].asleep_until_us);
    return since_us;
}

/* The leader began with what was in the log by then, and gives an election timeout more. */
static void check_not_late(struct sim *sim, int64_t id, const struct sim_fate *fate)
{
    uint64_t end_us = MAX(sim->led_us + fate->left_us + EXTRA_US, calm_since(sim)) + LATE_US;

    if (sim->healed && fate->left_us != 0 && fate->left_at_us < sim->led_us && sim->now_us > end_us)
        sim_violation(sim,
                      "lease %lld ends %.3f s late: %.3f s were left when its last leader began, "
                      "%.3f s ago",
                      (long long)id, seconds(sim->now_us - end_us + LATE_US),
                      seconds(fate->left_us), seconds(sim->now_us - sim->led_us));
}

static void on_end(struct sim *sim, const struct sim_lease_watch *before)
{
    struct sim_fate *fate = sim_fate_of(sim, before->id);

    sim->result->expired++;
    fate->ended_us = sim->now_us;
    sim_fate_check_gone(sim, before->id, "all, ended by time,");
    check_not_late(sim, before->id, fate);
}

/* Without a clear, no leader has more than the last one wrote down and what it gives at first. */
static void on_checkpoint(struct sim_member *m, const Kvdpb__LeaseRemaining *remaining)
{
    struct sim_fate *fate = sim_fate_of(m->sim, remaining->id);

    if (remaining->remaining_ms == 0)
        m->sim->result->clears++;
    else
        m->sim->result->lease_checkpoints++;
    if (leases_grant_number(m->machine->leases, remaining->id) != remaining->grant)
        return;
    if (fate->left_us != 0 && remaining->remaining_ms * 1000 > fate->left_us + EXTRA_US)
        sim_violation(m->sim, "%.3f s are left of lease %lld, after %.3f s",
                      (double)remaining->remaining_ms / 1e3, (long long)remaining->id,
                      seconds(fate->left_us));
    fate->left_us = remaining->remaining_ms * 1000;
    fate->left_at_us = m->sim->now_us;
}

static void on_checkpoints(struct sim_member *m, const struct command *command)
{
    Kvdpb__LeaseCheckpoint *all =
        kvdpb__lease_checkpoint__unpack(NULL, command->body.len, command->body.data);

    for (size_t i = 0; i < all->n_leases; i++)
        on_checkpoint(m, all->leases[i]);
    kvdpb__lease_checkpoint__free_unpacked(all, NULL);
}

void sim_lease_after(struct sim_member *m, const struct command *command, uint64_t index,
                     const struct sim_lease_watch *before, const struct machine_result *result)
{
    struct sim *sim = m->sim;
    Etcdserverpb__LeaseGrantRequest *grant;

    if (result->code != 0)
        return;
    if (before->grant != 0)
        check_keys_gone(m, before);
    if (!sim_check_is_first(sim, index))
        return;
    if (command->kind == COMMAND_LEASE_EXPIRE)
        on_end(sim, before);
    if (command->kind == COMMAND_LEASE_CHECKPOINT)
        on_checkpoints(m, command);
    if (command->kind == COMMAND_LEASE_GRANT) {
        grant =
            etcdserverpb__lease_grant_request__unpack(NULL, command->body.len, command->body.data);
        *sim_fate_of(sim, grant->id) = (struct sim_fate){0};
        sim->result->grants++;
        etcdserverpb__lease_grant_request__free_unpacked(grant, NULL);
    }
}
