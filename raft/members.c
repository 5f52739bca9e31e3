/* Who is in the cluster, as the log says: the configuration in force, what is handed up when one is
 * applied, and proposing another. libraft knows of ids and roles alone; addresses are carried along
 * for those above. */
#include "base/util.h"
#include "raft/guards.h"
#include "raft/internal.h"

_Static_assert((int)REPLICA_MEMBERS_MAX == (int)WIRE_SERVERS_MAX, "a frame carries any");

static size_t list_members(const struct raft_configuration *from, struct replica_member *out)
{
    for (unsigned i = 0; i < from->n; i++)
        out[i] = (struct replica_member){.id = from->servers[i].id,
                                         .address = from->servers[i].address,
                                         .voter = from->servers[i].role == RAFT_VOTER};
    return from->n;
}

void replica_configuration(const struct replica *r, struct replica_configuration *out)
{
    uint64_t pending = r->raft.configuration_uncommitted_index;

    out->count = list_members(&r->raft.configuration, out->members);
    out->index = pending != 0 ? pending : r->raft.configuration_committed_index;
    out->committed = pending == 0;
}

static bool has_change(const struct raft_update *update)
{
    if (update->flags & UPDATE_ENTRIES)
        for (unsigned i = 0; i < update->entries.n; i++)
            if (update->entries.batch[i].type == RAFT_CHANGE)
                return true;
    return false;
}

/* One that replaces another at the same index shows in the entries alone. */
void members_note(struct replica *r, const struct raft_update *update)
{
    uint64_t committed = r->raft.configuration_committed_index;
    uint64_t pending = r->raft.configuration_uncommitted_index;

    if (r->configuration_told[0] == committed && r->configuration_told[1] == pending &&
        !has_change(update))
        return;
    r->configuration_told[0] = committed;
    r->configuration_told[1] = pending;
    if (r->env.on_configuration != NULL)
        r->env.on_configuration(r->env.ctx);
}

int members_decode(struct slice payload, struct raft_configuration *decoded,
                   struct replica_member *members, size_t *count)
{
    int rc = snapshot_configuration(payload, decoded, NULL);

    if (rc == 0)
        *count = list_members(decoded, members);
    return rc;
}

int replica_change(struct replica *r, const struct replica_member *members, size_t count)
{
    struct raft_configuration next;
    int rc = 0;

    if (r->failed)
        return KV_ESTOPPED;
    if (count > REPLICA_MEMBERS_MAX)
        return KV_EINVAL;
    r->now = r->env.now_ms(r->env.ctx);
    raft_configuration_init(&next);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = raft_configuration_add(&next, members[i].id, members[i].address,
                                    members[i].voter ? RAFT_VOTER : RAFT_STANDBY);
    /* It refuses an id or an address that is there twice. */
    rc = rc == 0 ? replica__change(r, &next) : KV_EINVAL;
    raft_configuration_close(&next);
    if (!r->failed)
        r->env.wake(r->env.ctx);
    return rc;
}
