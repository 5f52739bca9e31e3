#include "server/reconfig.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/util.h"

enum {
    HEALTH_MS = 5000,    /* a member counts as connected when it has been for so long, as etcd */
    VOTE_LAG_MAX = 1000, /* entries: a new voter that is no further behind gets its vote */
};

/* ---- who is there ---- */

static bool is_connected(const struct reconfig *rc, uint64_t id, uint64_t ms)
{
    return id == rc->self || rc->env.connected_for(rc->env.ctx, id, ms);
}

struct voters {
    size_t count, started, connected;
};

/* Of those in the table, without one (0: all). */
static struct voters count_voters(const struct reconfig *rc, const struct machine *machine,
                                  uint64_t without)
{
    struct voters voters = {0};

    for (size_t i = 0; i < machine->member_count; i++) {
        const struct machine_member *each = &machine->members[i];

        if (each->learner || each->id == without)
            continue;
        voters.count++;
        voters.started += each->name[0] != '\0';
        voters.connected += is_connected(rc, each->id, HEALTH_MS);
    }
    return voters;
}

static size_t quorum(size_t voters)
{
    return voters / 2 + 1;
}

/* The new one counts as not started, unless there is one voter so far: how else would it grow. */
static bool too_few_started_to_add(const struct voters *now)
{
    if (now->count == 1 && now->started == 1)
        return false;
    return now->started < quorum(now->count + 1);
}

static enum status may_add(const struct reconfig *rc, const struct machine *machine, bool learner)
{
    struct voters now = count_voters(rc, machine, 0);

    if (!learner && too_few_started_to_add(&now))
        return STATUS_NOT_ENOUGH_STARTED;
    if (now.count > 1 && now.connected < quorum(now.count + 1))
        return STATUS_UNHEALTHY;
    return STATUS_OK;
}

static enum status may_remove(const struct reconfig *rc, const struct machine *machine, uint64_t id)
{
    const struct machine_member *target = machine_member(machine, id);
    struct voters now = count_voters(rc, machine, 0), rest = count_voters(rc, machine, id);

    if (target != NULL && target->learner)
        return STATUS_OK;
    if (rest.started < quorum(rest.count))
        return STATUS_NOT_ENOUGH_STARTED;
    /* One that is down is no part of the quorum that works. */
    if (!is_connected(rc, id, 0))
        return STATUS_OK;
    return now.connected - 1 < 1 + (now.count - 1) / 2 ? STATUS_UNHEALTHY : STATUS_OK;
}

enum status reconfig_may(const struct reconfig *rc, const struct machine *machine,
                         const Kvdpb__MemberChange *request)
{
    if (!rc->strict)
        return STATUS_OK;
    switch (request->kind) {
    case KVDPB__MEMBER_CHANGE__KIND__ADD:
        return may_add(rc, machine, request->learner);
    case KVDPB__MEMBER_CHANGE__KIND__REMOVE:
        return may_remove(rc, machine, request->id);
    default:
        return STATUS_OK;
    }
}

/* ---- who leads ---- */

/* One turn of it. */
struct leading {
    struct reconfig *rc;
    const struct machine *machine;
    struct replica *replica;
    struct replica_configuration now;
    struct replica_status status;
};

/* Takes the first change off the queue; until that is applied, or somebody else leads, nothing more
 * is done about it. */
static void drop(const struct leading *l, Kvdpb__MemberDrop__Reason reason)
{
    const struct machine_change *first = l->machine->changes;
    Kvdpb__MemberDrop message = KVDPB__MEMBER_DROP__INIT;
    uint8_t bytes[64];
    size_t len;

    message.term = l->rc->term;
    message.origin = first->origin;
    message.ticket = first->ticket;
    message.reason = reason;
    len = kvdpb__member_drop__get_packed_size(&message);
    ASSERT(len <= sizeof bytes); /* four numbers */
    (void)kvdpb__member_drop__pack(&message, bytes);
    if (l->rc->env.propose_drop(l->rc->env.ctx, slice_of(bytes, len)))
        l->rc->dropping = true;
}

static struct replica_member *find(struct replica_configuration *now, uint64_t id)
{
    for (size_t i = 0; i < now->count; i++)
        if (now->members[i].id == id)
            return &now->members[i];
    return NULL;
}

static char *join_urls(const struct machine_change *change)
{
    struct buf text;

    buf_init(&text, REPLICA_ADDRESS_SIZE_MAX + 2);
    for (size_t i = 0; i < change->url_count; i++)
        (void)buf_printf(&text, "%s%s", i > 0 ? "," : "", change->urls[i]);
    (void)buf_append_u8(&text, '\0'); /* within the bound: checked when it was asked for */
    return (char *)text.data;
}

static size_t count_votes(const struct replica_configuration *now)
{
    size_t votes = 0;

    for (size_t i = 0; i < now->count; i++)
        votes += now->members[i].voter;
    return votes;
}

/* Entries that it lacks; UINT64_MAX: it has none at all. */
static uint64_t lag_of(const struct leading *l, uint64_t id)
{
    uint64_t match;

    if (!replica_match(l->replica, id, &match) || match == 0)
        return UINT64_MAX;
    return l->status.last_index - MIN(match, l->status.last_index);
}

/* As etcd: nine tenths of the log. */
static bool learner_ready(const struct leading *l, uint64_t id)
{
    uint64_t lag = lag_of(l, id);

    return lag != UINT64_MAX && lag <= l->status.last_index / 10;
}

/* The configuration that the first change asks for, made in place: 0. KV_EBUSY: not now. Else it
 * was dropped. */
static int plan(struct leading *l, char *address)
{
    struct replica_configuration *next = &l->now;
    const struct machine_change *first = l->machine->changes;
    const struct machine_member *known = machine_member(l->machine, first->id);
    struct replica_member *target = find(next, first->id);
    struct voters now = count_voters(l->rc, l->machine, 0);
    Kvdpb__MemberDrop__Reason reason = KVDPB__MEMBER_DROP__REASON__NOTHING_TO_DO;

    switch (first->kind) {
    case KVDPB__MEMBER_CHANGE__KIND__ADD:
        if (target == NULL && next->count < REPLICA_MEMBERS_MAX) {
            next->members[next->count++] =
                (struct replica_member){.id = first->id, .address = address};
            return 0;
        }
        reason = target != NULL ? KVDPB__MEMBER_DROP__REASON__MEMBER_EXISTS
                                : KVDPB__MEMBER_DROP__REASON__UNHEALTHY;
        break;
    case KVDPB__MEMBER_CHANGE__KIND__REMOVE:
        if (target == NULL) {
            reason = KVDPB__MEMBER_DROP__REASON__MEMBER_NOT_FOUND;
        } else if (target->voter && count_votes(next) == 1) {
            reason = KVDPB__MEMBER_DROP__REASON__NOT_STARTED;
        } else if (first->id == l->rc->self) {
            (void)replica_transfer(l->replica, 0); /* the successor removes us (G2) */
            return KV_EBUSY;
        } else {
            next->count--;
            memmove(target, target + 1,
                    (size_t)(&next->members[next->count] - target) * sizeof *target);
            return 0;
        }
        break;
    case KVDPB__MEMBER_CHANGE__KIND__UPDATE:
        if (target != NULL && strcmp(target->address, address) != 0) {
            target->address = address;
            return 0;
        }
        if (target == NULL)
            reason = KVDPB__MEMBER_DROP__REASON__MEMBER_NOT_FOUND;
        break;
    default:
        if (target == NULL || known == NULL)
            reason = KVDPB__MEMBER_DROP__REASON__MEMBER_NOT_FOUND;
        else if (!known->learner)
            reason = KVDPB__MEMBER_DROP__REASON__NOT_LEARNER;
        else if (!learner_ready(l, first->id))
            reason = KVDPB__MEMBER_DROP__REASON__NOT_READY;
        else if (l->rc->strict && now.started + (known->name[0] != '\0') < quorum(now.count + 1))
            reason = KVDPB__MEMBER_DROP__REASON__NOT_STARTED;
        else {
            target->voter = true;
            return 0;
        }
        break;
    }
    drop(l, reason);
    return KV_EINVAL;
}

static void make_first(struct leading *l, uint64_t now_ms)
{
    struct reconfig *changes = l->rc;
    const struct machine_change *first = l->machine->changes;
    char *address;
    int rc;

    if (changes->ticket != first->ticket) {
        changes->ticket = first->ticket;
        changes->since_ms = now_ms;
        changes->dropping = false;
    }
    if (changes->dropping)
        return;
    address = join_urls(first);
    rc = plan(l, address);
    if (rc == 0)
        rc = replica_change(l->replica, l->now.members, l->now.count);
    else if (rc == KV_EINVAL)
        rc = 0; /* dropped */
    free(address);
    if (rc == 0)
        return;
    if (rc == KV_EINVAL || now_ms - changes->since_ms > changes->timeout_ms)
        drop(l, KVDPB__MEMBER_DROP__REASON__UNHEALTHY);
}

/* New voters get their vote when they have the log, so that one that is not started yet does not
 * count for the quorum. etcd lets it count at once. */
static void give_votes(struct leading *l)
{
    for (size_t i = 0; i < l->now.count; i++) {
        struct replica_member *each = &l->now.members[i];
        const struct machine_member *known = machine_member(l->machine, each->id);

        if (each->voter || known == NULL || known->learner || !is_connected(l->rc, each->id, 0) ||
            lag_of(l, each->id) > VOTE_LAG_MAX)
            continue;
        each->voter = true;
        if (replica_change(l->replica, l->now.members, l->now.count) == 0 &&
            l->rc->env.on_vote != NULL)
            l->rc->env.on_vote(l->rc->env.ctx, each->id);
        return;
    }
}

void reconfig_lead(struct reconfig *rc, const struct machine *machine, struct replica *replica,
                   uint64_t term, uint64_t now_ms)
{
    struct leading l = {.rc = rc, .machine = machine, .replica = replica};

    if (rc->term != term) {
        rc->term = term;
        rc->ticket = 0; /* what the first change has met counts within one term */
        rc->since_ms = now_ms;
        rc->dropping = false;
    }
    replica_configuration(replica, &l.now);
    replica_status(replica, &l.status);
    /* One at a time, and the next when what the last one did is known. */
    if (!l.now.committed || l.status.applied_index < l.now.index)
        return;
    if (machine->change_count > 0)
        make_first(&l, now_ms);
    else
        give_votes(&l);
}
