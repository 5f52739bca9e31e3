/* Leases as commands (etcd-api.md section 7): granted, ended by their owner or by time, and what is
 * left of them. What a leader decides by its clock (the end, what is left) carries its term and the
 * number of the grant, and counts only for both. */
#include "server/machine_internal.h"

void machine__apply_lease_grant(struct machine *machine,
                                const Etcdserverpb__LeaseGrantRequest *request, bool want,
                                struct arena *arena, struct machine_result *out)
{
    Etcdserverpb__LeaseGrantResponse *response;

    out->code = leases_grant(machine->leases, request->id, request->ttl, machine->lease_now_ms);
    out->ttl = request->ttl;
    if (out->code != 0 || !want)
        return;
    response = arena_alloc(arena, sizeof *response);
    etcdserverpb__lease_grant_response__init(response);
    response->header = machine__header(arena, mvcc_revision(machine->mvcc));
    response->id = request->id;
    response->ttl = request->ttl;
    out->response = response;
}

struct doomed {
    struct mvcc_txn *txn;
    struct arena *arena;
};

static void delete_key(void *ctx, struct slice key)
{
    struct doomed *doomed = ctx;
    struct mvcc_span span = {key, slice_of(NULL, 0)};
    size_t deleted = mvcc_txn_delete(doomed->txn, span, doomed->arena, NULL);

    ASSERT(deleted == 1); /* what hangs on a lease is there */
}

/* Its keys go with it, in ascending order, in one revision; none if there are no keys. */
static int end_lease(struct machine *machine, int64_t id, struct arena *arena)
{
    struct doomed doomed = {.arena = arena};
    struct mvcc_txn txn;

    if (!leases_known(machine->leases, id))
        return KV_ELEASENOTFOUND;
    mvcc_txn_begin(machine->mvcc, &txn);
    doomed.txn = &txn;
    leases_each_key(machine->leases, id, delete_key, &doomed);
    (void)mvcc_txn_end(&txn);                 /* the caller asks for the revision in any case */
    (void)leases_revoke(machine->leases, id); /* known, as just seen */
    return 0;
}

void machine__apply_lease_revoke(struct machine *machine,
                                 const Etcdserverpb__LeaseRevokeRequest *request, bool want,
                                 struct arena *arena, struct machine_result *out)
{
    Etcdserverpb__LeaseRevokeResponse *response;

    out->code = end_lease(machine, request->id, arena);
    if (out->code != 0 || !want)
        return;
    response = arena_alloc(arena, sizeof *response);
    etcdserverpb__lease_revoke_response__init(response);
    response->header = machine__header(arena, mvcc_revision(machine->mvcc));
    out->response = response;
}

/* A leader that was paused may find its leases over that its successor has renewed since. Commands
 * of its own term can no longer get into the log then; the replica may hand this one to the
 * successor, and there it is void (faults.md R12). Within its term the leader that proposed it has
 * not renewed the lease since, and a successor renews nothing before it has applied this. A lease
 * that was revoked and granted again while this was under way is another one. */
void machine__apply_lease_expire(struct machine *machine, const Kvdpb__LeaseExpire *request,
                                 uint64_t term, struct arena *arena, struct machine_result *out)
{
    if (request->term != term)
        out->code = KV_ENOTLEADER;
    else if (leases_grant_number(machine->leases, request->id) != request->grant)
        out->code = KV_ELEASENOTFOUND;
    else
        out->code = end_lease(machine, request->id, arena);
}

/* Those that have ended since are left out. */
void machine__apply_lease_checkpoint(struct machine *machine, const Kvdpb__LeaseCheckpoint *request,
                                     uint64_t term, struct machine_result *out)
{
    out->code = request->term == term ? 0 : KV_ENOTLEADER;
    for (size_t i = 0; i < request->n_leases && out->code == 0; i++) {
        const Kvdpb__LeaseRemaining *each = request->leases[i];
        struct lease_checkpoint checkpoint = {
            .id = each->id, .grant = each->grant, .remaining_ms = each->remaining_ms};

        (void)leases_checkpoint(machine->leases, &checkpoint);
    }
}
