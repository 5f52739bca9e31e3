/* The loop turn, and what consensus makes the member do. */
#include "base/failpoint.h"
#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "server/auth_calls.h"
#include "server/auth_tokens.h"
#include "server/claims.h"
#include "server/member_internal.h"
#include "server/ranges.h"
#include "server/watches.h"

enum {
    /* A turn of the replica may wake it again (an entry became committed by its own append, a slice
     * of a long catch-up). After so many, the sockets get their turn. */
    REPLICA_TURNS_MAX = 8,
};

/* ---- effects of consensus: must not call back into it ---- */

static uint64_t env_now(void *ctx)
{
    const struct member *member = ctx;

    return uv_now(member->loop);
}

static void on_raft_timer(uv_timer_t *timer)
{
    struct member *member = CONTAINER_OF(timer, struct member, raft_timer);

    if (!member->failed)
        replica_on_timer(member->replica);
}

static void env_arm_timer(void *ctx, uint64_t at_ms)
{
    struct member *member = ctx;
    uint64_t now_ms = uv_now(member->loop);
    int rc;

    if (member->state == MEMBER_CLOSING)
        return;
    rc = uv_timer_start(&member->raft_timer, on_raft_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
    ASSERT(rc == 0); /* fails only without a callback or while closing */
}

static void env_wake(void *ctx)
{
    struct member *member = ctx;

    member->woken = true;
}

static void env_flush_wal(void *ctx)
{
    (void)ctx; /* every turn ends with wal_writer_kick() */
}

static void env_send(void *ctx, uint64_t to, struct slice frame)
{
    struct member *member = ctx;

    FAILPOINT("send");
    if (member->peers != NULL)
        peers_send(member->peers, to, frame);
}

static size_t env_send_queued(void *ctx, uint64_t to)
{
    const struct member *member = ctx;

    return member->peers != NULL ? peers_queued(member->peers, to) : 0;
}

static const char *role_name(enum replica_role role)
{
    switch (role) {
    case REPLICA_LEADER:
        return "leader";
    case REPLICA_CANDIDATE:
        return "candidate";
    default:
        return "follower";
    }
}

static void env_on_role(void *ctx, enum replica_role role, uint64_t term, uint64_t leader)
{
    struct member *member = ctx;
    bool leader_changed = leader != member->leader;

    if (leader_changed || role != member->role)
        log_info(member->log, "raft role", LOG_STR("role", role_name(role)), LOG_UINT("term", term),
                 LOG_ID("leader", leader));
    if (leader_changed && leader != 0) {
        member->leader_since_ms = uv_now(member->loop);
        if (member->metrics != NULL)
            member->metrics->leader_changes++;
    }
    member->role = role;
    member->term = term;
    member->leader = leader;
    lessor__role_changed(&member->lessor, role, term, leader);
    member__audit_role_changed(member);
    member__snapshots_role_changed(member);
    watches_on_leader(member->watches);
    member__check_moves(member);
}

static void env_on_ask(void *ctx, uint64_t from, uint64_t session, struct slice questions)
{
    struct member *member = ctx;

    if (audit_is_frame(questions)) {
        audit_on_report(member->quarantine.audit, from, session, questions);
        return;
    }
    lessor__on_ask(&member->lessor, from, session, questions);
}

static void env_on_answer(void *ctx, struct slice answers)
{
    struct member *member = ctx;

    if (audit_is_frame(answers)) {
        audit_on_round(member->quarantine.audit, answers);
        return;
    }
    lessor__on_answer(&member->lessor, answers);
}

void member__fatal(struct member *member, const struct err *err)
{
    if (member->failed)
        return;
    member->failed = true;
    member->fatal_err = *err;
    log_error(member->log, "the member must stop", LOG_STR("error", err->text));
}

static void env_fatal(void *ctx, const struct err *err)
{
    member__fatal(ctx, err);
}

static void env_on_lost(void *ctx, uint64_t id, uint64_t last, uint64_t match)
{
    struct member *member = ctx;

    log_error(member->log,
              "a member has lost entries that it had acknowledged as durable; they are sent again: "
              "check its disk (does it, or its controller, ignore flushes?), or replace it",
              LOG_ID("peer", id), LOG_UINT("last-index", last), LOG_UINT("acknowledged", match));
}

void member__env(struct member *member, struct replica_env *out)
{
    *out = (struct replica_env){
        .ctx = member,
        .now_ms = env_now,
        .arm_timer = env_arm_timer,
        .wake = env_wake,
        .flush_wal = env_flush_wal,
        .send = env_send,
        .send_queued = env_send_queued,
        .apply = member__apply,
        .on_role = env_on_role,
        .on_configuration = member__on_configuration,
        .on_ask = env_on_ask,
        .on_answer = env_on_answer,
        .on_lost = env_on_lost,
        .send_snapshot = member__send_snapshot,
        .has_snapshot = member__has_snapshot,
        .install = member__install,
        .fatal = env_fatal,
    };
}

/* ---- events for consensus ---- */

void member__on_durable(void *ctx, int status, uint64_t seq, const struct err *err)
{
    struct member *member = ctx;
    struct err fatal;

    if (status != 0) {
        fatal = *err;
        err_prefix(&fatal, "the log can not be written any more; after such an error nothing is "
                           "known of what is on the disk");
        member__fatal(member, &fatal);
    } else if (!member->failed) {
        replica_on_durable(member->replica, seq);
    }
}

int member__on_frame(void *ctx, uint64_t from, struct slice frame, struct err *err)
{
    struct member *member = ctx;

    return member->failed ? 0 : replica_on_frame(member->replica, from, frame, err);
}

void member__on_peer(void *ctx, uint64_t id, bool up)
{
    struct member *member = ctx;

    for (size_t i = 0; i < member->boot.peer_count; i++) {
        if (member->boot.peers[i].id != id)
            continue;
        member->peer_states[i].up = up;
        member->peer_states[i].since_ms = uv_now(member->loop);
    }
    log_info(member->log, up ? "peer became active" : "peer became inactive", LOG_ID("peer", id));
    if (!member->failed)
        replica_on_peer(member->replica, id, up);
}

/* ---- ready, and known to the others ---- */

static void publish(struct member *member);

/* Not applied in time: said again, until the members table has it. Otherwise this is inside apply,
 * where nothing may be proposed. */
static void on_published(struct member *member, struct grpc_call *call, const void *request,
                         enum status status, const struct machine_result *result)
{
    (void)call; /* none: nobody asked */
    (void)request;
    (void)result;
    if (status == STATUS_DEADLINE || status == STATUS_TIMEOUT ||
        status == STATUS_TIMEOUT_LEADER_FAIL || status == STATUS_TIMEOUT_CONNECTION)
        publish(member);
}

static bool is_published(const struct member *member)
{
    const struct machine_member *self = machine_member(member->machine, member->boot.member_id);
    const struct config *config = member->config;

    if (self == NULL)
        return true; /* not a member yet, or not any more: nobody to publish */
    if (strcmp(self->name, config->name) != 0 ||
        self->client_url_count != config->advertise_client.len)
        return false;
    for (size_t i = 0; i < self->client_url_count; i++)
        if (strcmp(self->client_urls[i], config->advertise_client.text[i]) != 0)
            return false;
    return true;
}

static void publish(struct member *member)
{
    const struct config *config = member->config;
    Kvdpb__Publish message = KVDPB__PUBLISH__INIT;
    enum status status;
    uint8_t *body;
    size_t len;

    if (is_published(member))
        return;
    message.member_id = member->boot.member_id;
    message.name = config->name;
    message.client_urls = config->advertise_client.text;
    message.n_client_urls = config->advertise_client.len;
    len = kvdpb__publish__get_packed_size(&message);
    body = arena_alloc(&member->scratch, len);
    (void)kvdpb__publish__pack(&message, body); /* writes len bytes */
    status = member__write(member, NULL, NULL, COMMAND_PUBLISH, slice_of(body, len), on_published);
    arena_reset(&member->scratch);
    if (status != STATUS_OK)
        log_warn(member->log, "could not publish this member's name and client URLs",
                 LOG_STR("error", status_line(status)->text));
}

static void on_ready(struct member *member)
{
    member->ready = true;
    auth_tokens_open(member->tokens);
    log_info(member->log, "joined the cluster", LOG_ID("member-id", member->boot.member_id),
             LOG_ID("cluster-id", member->boot.cluster_id), LOG_ID("leader", member->leader));
    publish(member);
    if (member->options.on_ready != NULL)
        member->options.on_ready(member->options.ctx);
}

static void await_ready(struct member *member);

static void on_ready_read(struct replica_read *read, int status)
{
    struct member *member = CONTAINER_OF(read, struct member, ready_read);

    if (status == 0)
        on_ready(member);
    else
        await_ready(member);
}

/* A first read point: a leader is known, and what was committed when it was asked is applied. */
static void await_ready(struct member *member)
{
    member->awaits_ready = true;
    member->ready_read = (struct replica_read){.cb = on_ready_read};
    list_init(&member->ready_read.link);
    if (replica_read(member->replica, &member->ready_read))
        on_ready(member);
}

/* ---- the turn ---- */

static void turn_replica(struct member *member)
{
    struct replica_status status;

    for (int i = 0; member->woken && i < REPLICA_TURNS_MAX && !member->failed; i++) {
        member->woken = false;
        replica_turn(member->replica);
    }
    if (member->failed)
        return;
    replica_status(member->replica, &status);
    member->apply_gap = status.commit_index - status.applied_index;
    if (status.applied_index > member->applied_index) {
        member->applied_index = status.applied_index;
        auth_wait_applied(member);
    }
}

static void tell_fatal(struct member *member)
{
    if (!member->failed || member->fatal_told)
        return;
    member->fatal_told = true;
    member__fail_writes(member, STATUS_STOPPED);
    member__fail_reads(member, KV_ESTOPPED);
    member__fail_moves(member, STATUS_STOPPED);
    member__fail_changes(member, STATUS_STOPPED);
    lessor__fail(&member->lessor, STATUS_STOPPED);
    claims_end(member->claims, STATUS_STOPPED);
    if (member->options.on_fatal != NULL)
        member->options.on_fatal(member->options.ctx, &member->fatal_err);
}

/* As etcd: it stops by itself, and that is no failure. */
static void tell_removed(struct member *member)
{
    if (!member->changes.removed || member->changes.removed_told || member->failed ||
        member->state != MEMBER_RUNNING)
        return;
    member->changes.removed_told = true;
    log_warn(member->log,
             "this member was removed from the cluster and stops; it can not come "
             "back with this data dir: add a new member instead",
             LOG_ID("member-id", member->boot.member_id));
    if (member->options.on_removed != NULL)
        member->options.on_removed(member->options.ctx);
}

static void do_nothing(uv_idle_t *handle)
{
    (void)handle; /* being active is all: the loop polls without waiting */
}

static void set_again(struct member *member, bool again)
{
    int rc;

    if (again == (bool)uv_is_active((uv_handle_t *)&member->again))
        return;
    rc = again ? uv_idle_start(&member->again, do_nothing) : uv_idle_stop(&member->again);
    ASSERT(rc == 0); /* fails only without a callback */
}

/* After callbacks of timers and sockets, before the loop sleeps: all of this turn's proposals are
 * one entry, all of its answers to one connection one write. */
void member__on_turn(uv_prepare_t *handle)
{
    struct member *member = CONTAINER_OF(handle, struct member, turn);
    bool again;

    if (member->state == MEMBER_CLOSING) {
        set_again(member, false);
        return;
    }
    member__finish_ready_reads(member);
    if (!member->failed) {
        if (!member->awaits_ready)
            await_ready(member);
        if (member->publish_due && member->ready) {
            member->publish_due = false;
            publish(member);
        }
        lessor__turn(&member->lessor);
        member__space_turn(member);
        member__changes_turn(member);
        member__audit_turn(member);
    }
    if (!member->failed) {
        if (member->woken) {
            ranges_make_way(member->ranges);
            turn_replica(member);
        }
        lessor__turn_end(&member->lessor);
        wal_writer_kick(member->writer);
    }
    again = watches_run(member->watches);
    again = ranges_run(member->ranges) || again;
    if (!member->failed)
        claims_run(member->claims);
    again = member__run_jobs(member) || again;
    again = member__snapshots_turn(member) || again;
    tell_fatal(member);
    tell_removed(member);
    peers_flush(member->peers);
    net_server_flush(member->server);
    if (member->http_server != NULL)
        net_server_flush(member->http_server);
    if (member->metrics_server != NULL)
        net_server_flush(member->metrics_server);
    if (member->state >= MEMBER_HANDING_OVER)
        member__stop_progress(member);
    if (member->state != MEMBER_CLOSING)
        set_again(member,
                  again || (member->woken && !member->failed) || !list_empty(&member->ready_reads));
}
