/* Changes of the members: who asked waits here for the outcome; who leads makes them; and everyone
 * follows the configuration with connections. The rules are etcd's (etcd-api.md section 8). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "server/member_internal.h"

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
    enum status status = reconfig_may(&member->changes.making, member->machine, &change->request);
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

static bool env_connected_for(void *ctx, uint64_t id, uint64_t ms)
{
    return connected_for(ctx, id, ms);
}

static bool env_propose_drop(void *ctx, struct slice body)
{
    return member__write(ctx, NULL, NULL, COMMAND_MEMBER_DROP, body, NULL) == STATUS_OK;
}

static void env_on_vote(void *ctx, uint64_t id)
{
    const struct member *member = ctx;

    log_info(member->log, "a new member has caught up and gets its vote", LOG_ID("member", id));
}

void member__changes_open(struct member *member)
{
    member->changes.making = (struct reconfig){
        .env = {.ctx = member,
                .connected_for = env_connected_for,
                .propose_drop = env_propose_drop,
                .on_vote = env_on_vote},
        .self = member->boot.member_id,
        .strict = member->config->strict_reconfig_check,
        .timeout_ms = member->timeout_ms,
    };
}

static void lead(struct member *member)
{
    if (member->machine->change_count > 0 || member->changes.voteless)
        reconfig_lead(&member->changes.making, member->machine, member->replica, member->term,
                      uv_now(member->loop));
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

static bool is_in(const struct replica_configuration *now, uint64_t id)
{
    for (size_t i = 0; i < now->count; i++)
        if (now->members[i].id == id)
            return true;
    return false;
}

static bool may_stay(const struct member *member, struct replica_configuration *now, size_t n)
{
    uint64_t id = member->boot.peers[n].id;

    if (is_in(now, id))
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
    member->voters = 0;
    for (size_t i = 0; i < now.count; i++)
        member->voters += now.members[i].voter;
    member->changes.voteless = member->voters != now.count;
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
