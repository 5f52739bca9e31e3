/* Changes of the members: who asked waits here for the outcome; who leads makes them; and everyone
 * follows the configuration with connections. The rules are etcd's (etcd-api.md section 8). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "server/member_internal.h"

enum {
    HEALTH_MS = 5000,    /* a member counts as connected when it has been for so long, as etcd */
    VOTE_LAG_MAX = 1000, /* entries: a new voter that is no further behind gets its vote */
};

/* ---- who is there ---- */

static bool connected_for(const struct member *member, uint64_t id, uint64_t ms)
{
    uint64_t now_ms = uv_now(member->loop);

    if (id == member->boot.member_id)
        return true;
    for (size_t i = 0; i < member->boot.peer_count; i++)
        if (member->boot.peers[i].id == id)
            return member->peer_states[i].up && member->peer_states[i].since_ms + ms <= now_ms;
    return false;
}

struct voters {
    size_t count, started, connected;
};

/* Of those in the table, without one (0: all). */
static struct voters count_voters(const struct member *member, uint64_t without)
{
    const struct machine *machine = member->machine;
    struct voters voters = {0};

    for (size_t i = 0; i < machine->member_count; i++) {
        const struct machine_member *each = &machine->members[i];

        if (each->learner || each->id == without)
            continue;
        voters.count++;
        voters.started += each->name[0] != '\0';
        voters.connected += connected_for(member, each->id, HEALTH_MS);
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

static enum status may_add(const struct member *member, bool learner)
{
    struct voters now = count_voters(member, 0);

    if (!learner && too_few_started_to_add(&now))
        return STATUS_NOT_ENOUGH_STARTED;
    if (now.count > 1 && now.connected < quorum(now.count + 1))
        return STATUS_UNHEALTHY;
    return STATUS_OK;
}

static enum status may_remove(const struct member *member, uint64_t id)
{
    const struct machine_member *target = machine_member(member->machine, id);
    struct voters now = count_voters(member, 0), rest = count_voters(member, id);

    if (target != NULL && target->learner)
        return STATUS_OK;
    if (rest.started < quorum(rest.count))
        return STATUS_NOT_ENOUGH_STARTED;
    /* One that is down is no part of the quorum that works. */
    if (!connected_for(member, id, 0))
        return STATUS_OK;
    return now.connected - 1 < 1 + (now.count - 1) / 2 ? STATUS_UNHEALTHY : STATUS_OK;
}

static enum status may_change(const struct member *member, const Kvdpb__MemberChange *request)
{
    if (!member->config->strict_reconfig_check)
        return STATUS_OK;
    switch (request->kind) {
    case KVDPB__MEMBER_CHANGE__KIND__ADD:
        return may_add(member, request->learner);
    case KVDPB__MEMBER_CHANGE__KIND__REMOVE:
        return may_remove(member, request->id);
    default:
        return STATUS_OK;
    }
}

/* ---- who asked ---- */

static void forget(struct member_change *change)
{
    list_remove(&change->link);
    grpc_call_set_data(change->call, NULL);
}

static void cancel(struct waiter *waiter)
{
    forget(CONTAINER_OF(waiter, struct member_change, waiter));
}

static void finish(struct member_change *change, enum status status)
{
    forget(change);
    change->done(change, status);
}

/* It stands in the queue, or was refused. */
static void on_queued(struct member *member, struct grpc_call *call, const void *request,
                      enum status status, const struct machine_result *result)
{
    struct member_change *change = (struct member_change *)(uintptr_t)request; /* ours */

    (void)result;
    (void)call; /* change->call, which is there: else nobody would be told */
    if (status != STATUS_OK) {
        change->done(change, status);
        return;
    }
    change->waiter.cancel = cancel;
    change->deadline_ms = uv_now(member->loop) + member->timeout_ms;
    list_push_back(&member->changes.waits, &change->link);
    grpc_call_set_data(change->call, &change->waiter);
    member__arm_expiry(member);
}

enum status member__change(struct member *member, struct member_change *change)
{
    enum status status = may_change(member, &change->request);
    struct slice body;
    uint8_t *bytes;

    if (status != STATUS_OK)
        return status;
    list_init(&change->link);
    change->request.max_learners = member->config->max_learners;
    body.len = kvdpb__member_change__get_packed_size(&change->request);
    bytes = arena_alloc(grpc_call_arena(change->call), body.len + 1);
    (void)kvdpb__member_change__pack(&change->request, bytes); /* writes that much */
    body.data = bytes;
    change->ticket = member->next_ticket; /* the next write's */
    return member__write(member, change->call, change, COMMAND_MEMBER, body, on_queued);
}

uint64_t member__expire_changes(struct member *member, uint64_t now_ms)
{
    while (!list_empty(&member->changes.waits)) {
        struct member_change *change =
            LIST_FIRST(&member->changes.waits, struct member_change, link);

        if (change->deadline_ms > now_ms)
            return change->deadline_ms;
        finish(change, STATUS_TIMEOUT);
    }
    return UINT64_MAX;
}

void member__fail_changes(struct member *member, enum status status)
{
    while (!list_empty(&member->changes.waits))
        finish(LIST_FIRST(&member->changes.waits, struct member_change, link), status);
}

void member__change_ended(struct member *member)
{
    const struct machine_change_end *end = &member->machine->ended;

    if (end->origin != member->boot.member_id)
        return;
    LIST_EACH_SAFE (node, &member->changes.waits) {
        struct member_change *change = LIST_ENTRY(node, struct member_change, link);

        if (change->ticket == end->ticket)
            finish(change, status_of_error(end->code));
    }
}

/* ---- who leads ---- */

/* Takes the first change off the queue; until that is applied, or somebody else leads, nothing more
 * is done about it. */
static void drop(struct member *member, Kvdpb__MemberDrop__Reason reason)
{
    const struct machine_change *first = member->machine->changes;
    Kvdpb__MemberDrop message = KVDPB__MEMBER_DROP__INIT;
    uint8_t bytes[64];
    size_t len;

    message.term = member->term;
    message.origin = first->origin;
    message.ticket = first->ticket;
    message.reason = reason;
    len = kvdpb__member_drop__get_packed_size(&message);
    ASSERT(len <= sizeof bytes); /* four numbers */
    (void)kvdpb__member_drop__pack(&message, bytes);
    if (member__write(member, NULL, NULL, COMMAND_MEMBER_DROP, slice_of(bytes, len), NULL) ==
        STATUS_OK)
        member->changes.dropping = true;
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
static uint64_t lag_of(const struct member *member, uint64_t id,
                       const struct replica_status *status)
{
    uint64_t match;

    if (!replica_match(member->replica, id, &match) || match == 0)
        return UINT64_MAX;
    return status->last_index - MIN(match, status->last_index);
}

/* As etcd: nine tenths of the log. */
static bool learner_ready(const struct member *member, uint64_t id,
                          const struct replica_status *status)
{
    uint64_t lag = lag_of(member, id, status);

    return lag != UINT64_MAX && lag <= status->last_index / 10;
}

/* The configuration that the first change asks for, made in place: 0. KV_EBUSY: not now. Else it
 * was dropped. */
static int plan(struct member *member, struct replica_configuration *next, char *address,
                const struct replica_status *status)
{
    const struct machine_change *first = member->machine->changes;
    const struct machine_member *known = machine_member(member->machine, first->id);
    struct replica_member *target = find(next, first->id);
    struct voters now = count_voters(member, 0);
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
        } else if (first->id == member->boot.member_id) {
            (void)replica_transfer(member->replica, 0); /* the successor removes us (G2) */
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
        else if (!learner_ready(member, first->id, status))
            reason = KVDPB__MEMBER_DROP__REASON__NOT_READY;
        else if (member->config->strict_reconfig_check &&
                 now.started + (known->name[0] != '\0') < quorum(now.count + 1))
            reason = KVDPB__MEMBER_DROP__REASON__NOT_STARTED;
        else {
            target->voter = true;
            return 0;
        }
        break;
    }
    drop(member, reason);
    return KV_EINVAL;
}

static void make_first(struct member *member, struct replica_configuration *now,
                       const struct replica_status *status)
{
    struct changes *changes = &member->changes;
    const struct machine_change *first = member->machine->changes;
    char *address;
    int rc;

    if (changes->ticket != first->ticket || changes->term != member->term) {
        changes->ticket = first->ticket;
        changes->term = member->term;
        changes->since_ms = uv_now(member->loop);
        changes->dropping = false;
    }
    if (changes->dropping)
        return;
    address = join_urls(first);
    rc = plan(member, now, address, status);
    if (rc == 0)
        rc = replica_change(member->replica, now->members, now->count);
    else if (rc == KV_EINVAL)
        rc = 0; /* dropped */
    free(address);
    if (rc == 0)
        return;
    if (rc == KV_EINVAL || uv_now(member->loop) - changes->since_ms > member->timeout_ms)
        drop(member, KVDPB__MEMBER_DROP__REASON__UNHEALTHY);
}

/* New voters get their vote when they have the log, so that one that is not started yet does not
 * count for the quorum. etcd lets it count at once. */
static void give_votes(struct member *member, struct replica_configuration *now,
                       const struct replica_status *status)
{
    for (size_t i = 0; i < now->count; i++) {
        struct replica_member *each = &now->members[i];
        const struct machine_member *known = machine_member(member->machine, each->id);

        if (each->voter || known == NULL || known->learner || !connected_for(member, each->id, 0) ||
            lag_of(member, each->id, status) > VOTE_LAG_MAX)
            continue;
        each->voter = true;
        if (replica_change(member->replica, now->members, now->count) == 0)
            log_info(member->log, "a new member has caught up and gets its vote",
                     LOG_ID("member", each->id));
        return;
    }
}

static void lead(struct member *member)
{
    struct replica_configuration now;
    struct replica_status status;

    if (member->machine->change_count == 0 && !member->changes.voteless)
        return;
    replica_configuration(member->replica, &now);
    replica_status(member->replica, &status);
    /* One at a time, and the next when what the last one did is known. */
    if (!now.committed || status.applied_index < now.index)
        return;
    if (member->machine->change_count > 0)
        make_first(member, &now, &status);
    else
        give_votes(member, &now, &status);
}

/* ---- one that has lost what it had stored ---- */

void member__on_lost(void *ctx, uint64_t id)
{
    ((struct member *)ctx)->changes.lost = id;
}

static void on_replacing(struct member *member, struct grpc_call *call, const void *request,
                         enum status status, const struct machine_result *result)
{
    (void)call; /* none: it asks again, and sees what has come of it */
    (void)request;
    (void)status;
    (void)result;
    member->changes.replacing = false;
}

/* It must never vote or acknowledge again as who it was: who that is goes, and another one comes,
 * with an id of its own and an empty log. That is a change of the members like any other, decided
 * by a quorum without it (Raft section 4.1), so nothing has to be known about its lost votes. */
static void replace_lost(struct member *member)
{
    Kvdpb__MemberChange request = KVDPB__MEMBER_CHANGE__INIT;
    const struct machine_member *old = machine_member(member->machine, member->changes.lost);
    uint64_t id = member->changes.lost;
    uint8_t body[64];
    size_t len;

    member->changes.lost = 0;
    if (old == NULL || member->changes.replacing || member->leader == 0 ||
        member->machine->change_count > 0 || connected_for(member, id, 0))
        return; /* it asks again */
    request.kind = KVDPB__MEMBER_CHANGE__KIND__REPLACE;
    request.id = id;
    request.new_id = member__random() | 1;
    len = kvdpb__member_change__get_packed_size(&request);
    ASSERT(len <= sizeof body); /* three numbers */
    (void)kvdpb__member_change__pack(&request, body);
    log_warn(
        member->log,
        "a member says that its disk has lost what it had acknowledged: it is taken out of the "
        "cluster, and comes back under another id, empty",
        LOG_ID("member", id), LOG_STR("name", old->name), LOG_ID("new-id", request.new_id));
    member->changes.replacing = member__write(member, NULL, NULL, COMMAND_MEMBER,
                                              slice_of(body, len), on_replacing) == STATUS_OK;
}

/* ---- who follows: connections ---- */

static const struct peer_config *find_peer(const struct peer_config *peers, size_t count,
                                           uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (peers[i].id == id)
            return &peers[i];
    return NULL;
}

/* The first URL of the address. False: it has none (an id, in clusters made by older versions). */
static bool parse_address(const char *address, struct net_addr *out)
{
    char *copy = xstrdup(address);
    bool ok = strstr(address, "://") != NULL;

    copy[strcspn(copy, ",")] = '\0';
    ok = ok && net_addr_parse(copy, out, NULL) == 0;
    free(copy);
    return ok;
}

static bool may_stay(const struct member *member, struct replica_configuration *now, size_t n)
{
    uint64_t id = member->boot.peers[n].id;

    if (find(now, id) != NULL)
        return true;
    return member->peer_states[n].guest && !machine_was_removed(member->machine, id);
}

/* Keeps the place of those that stay: metrics count by it. */
static void drop_absent(struct member *member, struct replica_configuration *now)
{
    struct bootstrap *boot = &member->boot;

    for (size_t i = boot->peer_count; i-- > 0;) {
        size_t behind = boot->peer_count - i - 1;

        if (may_stay(member, now, i))
            continue;
        memmove(&boot->peers[i], &boot->peers[i + 1], behind * sizeof *boot->peers);
        memmove(&member->peer_states[i], &member->peer_states[i + 1],
                behind * sizeof *member->peer_states);
        if (member->metrics != NULL)
            metrics_forget_peer(member->metrics, i);
        boot->peer_count--;
    }
}

static void add_peer(struct member *member, uint64_t id, const struct net_addr *addr, bool guest)
{
    struct bootstrap *boot = &member->boot;

    boot->peers = xrealloc(boot->peers, (boot->peer_count + 1) * sizeof *boot->peers);
    member->peer_states =
        xrealloc(member->peer_states, (boot->peer_count + 2) * sizeof *member->peer_states);
    member->peer_states[boot->peer_count] =
        (struct member_peer_state){.since_ms = uv_now(member->loop), .guest = guest};
    boot->peers[boot->peer_count++] = (struct peer_config){.id = id, .addr = *addr};
}

static void add_new(struct member *member, const struct replica_configuration *now)
{
    struct bootstrap *boot = &member->boot;

    for (size_t i = 0; i < now->count; i++) {
        const struct replica_member *each = &now->members[i];
        struct peer_config *known =
            (struct peer_config *)find_peer(boot->peers, boot->peer_count, each->id);
        struct net_addr addr = {0};

        if (each->id == boot->member_id || !parse_address(each->address, &addr))
            continue;
        if (known != NULL) {
            known->addr = addr;
            member->peer_states[known - boot->peers].guest = false;
            continue;
        }
        add_peer(member, each->id, &addr, false);
    }
}

/* A member of ours that our log does not have yet: the leader, perhaps. */
void member__on_stranger(void *ctx, uint64_t id, const struct net_addr *addr)
{
    struct member *member = ctx;

    if (member->failed || member->boot.peer_count >= 2 * REPLICA_MEMBERS_MAX ||
        find_peer(member->boot.peers, member->boot.peer_count, id) != NULL)
        return;
    log_info(member->log, "a member that this one has not heard of yet", LOG_ID("peer", id));
    add_peer(member, id, addr, true);
    member->changes.new_configuration = true;
}

static void follow(struct member *member)
{
    struct replica_configuration now;

    replica_configuration(member->replica, &now);
    if (now.count == 0)
        return; /* joining: those that we were told of */
    member->changes.voteless = count_votes(&now) != now.count;
    member->voters = count_votes(&now);
    drop_absent(member, &now);
    add_new(member, &now);
    peers_set(member->peers, member->boot.peers, member->boot.peer_count);
}

void member__on_configuration(void *ctx)
{
    ((struct member *)ctx)->changes.new_configuration = true;
}

void member__changes_turn(struct member *member)
{
    if (member->changes.new_configuration) {
        member->changes.new_configuration = false;
        follow(member);
    }
    if (member->changes.lost != 0)
        replace_lost(member);
    if (member->role == REPLICA_LEADER && member->state < MEMBER_HANDING_OVER)
        lead(member);
}

/* ---- for those that come ---- */

bool member__is_removed(void *ctx, uint64_t id)
{
    const struct member *member = ctx;

    return machine_was_removed(member->machine, id);
}

void member__on_removed(void *ctx)
{
    ((struct member *)ctx)->changes.removed = true;
}

void member__describe(void *ctx, struct buf *out)
{
    const struct member *member = ctx;
    const struct machine *machine = member->machine;
    Kvdpb__ClusterMember *each = xcalloc(machine->member_count + 1, sizeof *each);
    Kvdpb__ClusterMember **list = xcalloc(machine->member_count + 1, sizeof *list);
    Kvdpb__ClusterView view = KVDPB__CLUSTER_VIEW__INIT;
    size_t len;

    for (size_t i = 0; i < machine->member_count && !member->distrusted; i++) {
        kvdpb__cluster_member__init(&each[i]);
        each[i].id = machine->members[i].id;
        each[i].name = machine->members[i].name;
        each[i].peerurls = machine->members[i].peer_urls;
        each[i].n_peerurls = machine->members[i].peer_url_count;
        list[i] = &each[i];
    }
    /* One without a state knows nobody. */
    view.n_members = member->distrusted ? 0 : machine->member_count;
    view.members = list;
    view.n_removed = member->distrusted ? 0 : machine->removed_count;
    view.removed = machine->removed;
    len = kvdpb__cluster_view__get_packed_size(&view);
    if (buf_reserve(out, len) == 0) { /* 64 members with 4 KiB of URLs each fit in any frame */
        (void)kvdpb__cluster_view__pack(&view, out->data + out->len);
        out->len += len;
    }
    free(list);
    free(each);
}
