/* Writes on their way: from a client's call into the log and back. */
#include <stdlib.h>

#include "base/codec.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "server/auth_calls.h"
#include "server/member_internal.h"

enum {
    /* What etcd's InternalRaftRequest adds around a request: its header with a 10-byte id, and the
     * tag; --max-request-bytes counts it (etcd-api.md section 15). */
    REQUEST_ENVELOPE_SIZE = 15,
    COMMAND_ENVELOPE_SIZE = 32 + 1024, /* at most, around a body in our own log: a user's name */
};

static struct write *new_write(struct member *member)
{
    struct write *write;

    if (list_empty(&member->pool)) {
        write = xcalloc(1, sizeof *write);
        write->member = member;
        buf_init(&write->command, member->config->max_request_bytes + COMMAND_ENVELOPE_SIZE);
        list_init(&write->link);
        return write;
    }
    write = LIST_FIRST(&member->pool, struct write, link);
    list_remove(&write->link);
    member->pool_len--;
    return write;
}

static void free_write(struct write *write)
{
    struct member *member = write->member;

    if (member->pool_len >= WRITE_POOL_MAX) {
        buf_release(&write->command);
        free(write);
        return;
    }
    if (write->command.cap > WRITE_POOL_BYTES_MAX)
        buf_release(&write->command);
    buf_reset(&write->command);
    list_push_front(&member->pool, &write->link);
    member->pool_len++;
}

/* Out of all lists; from here on the command is somebody else's affair. */
static void forget_write(struct write *write)
{
    struct member *member = write->member;

    replica_forget(member->replica, &write->proposal);
    (void)idmap_remove(&member->pending, write->ticket); /* it is that one */
    member->pending_bytes -= write->command.len;
    list_remove(&write->link);
}

/* Its memory is free for the next write before done is called, which may make one. */
static void finish_write(struct write *write, enum status status,
                         const struct machine_result *result)
{
    struct member *member = write->member;
    struct grpc_call *call = write->call;
    const void *request = write->request;
    write_done done = write->done;

    forget_write(write);
    free_write(write);
    if (call != NULL)
        grpc_call_set_data(call, NULL);
    if (done != NULL)
        done(member, call, request, status, result);
}

/* A command that never left is taken back; one that left runs out. */
static void cancel_write(struct waiter *waiter)
{
    struct write *write = CONTAINER_OF(waiter, struct write, waiter);

    write->call = NULL;
    write->request = NULL;
    write->done = NULL;
    if (write->proposal.term != 0)
        return;
    forget_write(write);
    free_write(write);
}

static enum status admit(const struct member *member, struct slice body)
{
    if (member->failed || member->state >= MEMBER_DRAINING)
        return STATUS_STOPPED;
    if (body.len + varint_size(body.len) + REQUEST_ENVELOPE_SIZE >
        member->config->max_request_bytes)
        return STATUS_REQUEST_TOO_LARGE;
    if (member->apply_gap > APPLY_GAP_MAX || member->pending.count >= WRITES_PENDING_MAX ||
        member->pending_bytes > WRITE_BYTES_PENDING_MAX)
        return STATUS_TOO_MANY_REQUESTS;
    return STATUS_OK;
}

static int propose(struct write *write, enum command_kind kind, const struct author *author,
                   struct slice body)
{
    struct member *member = write->member;
    struct command command = {.origin = member->boot.member_id,
                              .ticket = write->ticket,
                              .kind = kind,
                              .author = *author,
                              .body = body};
    int rc;

    rc = command_encode(&command, &write->command);
    if (rc != 0)
        return rc;
    write->proposal = (struct replica_proposal){.command = buf_slice(&write->command)};
    list_init(&write->proposal.link);
    return replica_propose(member->replica, &write->proposal);
}

/* Somebody who does not say who it is must not even write to the log. What a user may is decided
 * when the command is applied: this member may not have heard of it yet. */
static enum status find_author(struct member *member, const struct grpc_call *call,
                               enum command_kind kind, struct author *out)
{
    enum status status;

    *out = (struct author){.kind = AUTHOR_MEMBER};
    if (call == NULL || kind == COMMAND_AUTHENTICATE)
        return STATUS_OK;
    status = auth_author(member, call, out);
    if (status == STATUS_OK && member->machine->auth->enabled && out->kind == AUTHOR_NOBODY)
        return STATUS_USER_EMPTY;
    return status;
}

/* by: whose client wants it. call: who gets the answer. */
static enum status begin_write(struct member *member, const struct grpc_call *by,
                               struct grpc_call *call, const void *request, enum command_kind kind,
                               struct slice body, write_done done)
{
    enum status status = admit(member, body);
    struct author author;
    struct write *write;
    int rc;

    if (status == STATUS_OK)
        status = find_author(member, by, kind, &author);
    if (status != STATUS_OK)
        return status;
    write = new_write(member);
    write->ticket = member->next_ticket++;
    rc = propose(write, kind, &author, body);
    if (rc != 0) {
        free_write(write);
        return status_of_error(rc);
    }
    write->waiter.cancel = cancel_write;
    write->call = call;
    write->request = request;
    write->done = done;
    write->started_ms = uv_now(member->loop);
    (void)idmap_put(&member->pending, write->ticket, write); /* tickets do not repeat */
    member->pending_bytes += write->command.len;
    list_push_back(&member->writes, &write->link);
    member__arm_expiry(member);
    if (call != NULL)
        grpc_call_set_data(call, &write->waiter);
    return STATUS_OK;
}

enum status member__write(struct member *member, struct grpc_call *call, const void *request,
                          enum command_kind kind, struct slice body, write_done done)
{
    return begin_write(member, call, call, request, kind, body, done);
}

enum status member__write_for(struct member *member, const struct grpc_call *by,
                              const void *request, enum command_kind kind, struct slice body,
                              write_done done)
{
    return begin_write(member, by, NULL, request, kind, body, done);
}

/* ---- applied ---- */

static void count(struct metrics *metrics, enum command_kind kind,
                  const struct machine_result *result)
{
    if (metrics == NULL || result->code != 0)
        return;
    switch (kind) {
    case COMMAND_PUT:
        metrics->puts++;
        break;
    case COMMAND_DELETE:
        metrics->deletes++;
        break;
    case COMMAND_TXN:
        metrics->txns++;
        break;
    case COMMAND_LEASE_GRANT:
        metrics->leases_granted++;
        metrics_observe(&metrics->lease_ttl, (double)result->ttl);
        break;
    case COMMAND_LEASE_REVOKE:
    case COMMAND_LEASE_EXPIRE:
        metrics->leases_revoked++;
        break;
    default:
        break;
    }
}

static void apply_command(struct member *member, const struct command *command)
{
    struct write *write = NULL;
    struct machine_result result;
    struct arena *arena = &member->scratch;
    bool want;

    if (command->origin == member->boot.member_id)
        write = idmap_get(&member->pending, command->ticket);
    if (write != NULL && write->call != NULL)
        arena = grpc_call_arena(write->call);

    want = write != NULL && write->done != NULL;
    machine_apply(member->machine, command, want, arena, &result);
    count(member->metrics, command->kind, &result);
    if (result.code == 0)
        member__space_applied(member, command);
    if (result.odd != 0)
        member__audit_command(member, &result);
    if (member->machine->ended.origin != 0)
        member__change_ended(member);
    if (write != NULL)
        finish_write(write, status_of_error(result.code), result.code == 0 ? &result : NULL);
    if (arena == &member->scratch)
        arena_reset(arena);
}

static void apply_configuration(struct member *member, const struct replica_entry *entry)
{
    machine_configure(member->machine, entry->members, entry->member_count);
    member->publish_due = true;
    member->changes.new_configuration = true; /* who was removed is known now */
    if (machine_was_removed(member->machine, member->boot.member_id))
        member->changes.removed = true;
    member__change_ended(member);
}

void member__apply(void *ctx, const struct replica_entry *entry)
{
    struct member *member = ctx;
    struct slice rest = entry->commands;
    struct command command;
    uint64_t start = member->metrics != NULL && rest.len != 0 ? uv_hrtime() : 0;
    double seconds;

    FAILPOINT("apply");
    if (entry->members != NULL)
        apply_configuration(member, entry);
    member->machine->lease_now_ms = lessor__begin_ms(&member->lessor);
    while (rest.len != 0) {
        /* The same bytes end here on every member, so states stay equal. */
        if (command_decode(&rest, &command) != 0) {
            log_error(member->log, "an entry holds bytes that are no command; they are skipped",
                      LOG_UINT("index", entry->index), LOG_UINT("bytes", rest.len));
            break;
        }
        command.term = entry->term;
        command.index = entry->index;
        apply_command(member, &command);
    }
    member__audit_applied(member, entry->index);
    if (start == 0)
        return;
    seconds = (double)(uv_hrtime() - start) / 1e9;
    metrics_observe(&member->metrics->apply, seconds);
    if (seconds > 0.1) /* etcd's threshold */
        member->metrics->slow_applies++;
}

/* ---- given up ---- */

static bool peer_up_since(const struct member *member, size_t n, uint64_t since_ms)
{
    return member->peer_states[n].up && member->peer_states[n].since_ms <= since_ms;
}

/* As leader: to a quorum. As follower: to the leader. */
static bool connected_since(const struct member *member, uint64_t since_ms)
{
    size_t connected = 1;

    for (size_t i = 0; i < member->boot.peer_count; i++) {
        bool up = peer_up_since(member, i, since_ms);

        if (member->boot.peers[i].id == member->leader)
            return up;
        connected += up;
    }
    return connected > member->voters / 2;
}

/* Which of etcd's texts a write gets that was not applied in time. */
static enum status timeout_status(const struct write *write)
{
    const struct member *member = write->member;
    uint64_t lost_ms = 2 * (uint64_t)member->config->election_ms;

    if (member->leader == 0)
        return write->proposal.term == 0 ? STATUS_DEADLINE : STATUS_TIMEOUT;
    /* Asked while the last leader was failing: up to two election timeouts before the new one. */
    if (write->started_ms + lost_ms > member->leader_since_ms &&
        write->started_ms < member->leader_since_ms)
        return STATUS_TIMEOUT_LEADER_FAIL;
    return connected_since(member, write->started_ms) ? STATUS_TIMEOUT : STATUS_TIMEOUT_CONNECTION;
}

uint64_t member__expire_writes(struct member *member, uint64_t now_ms)
{
    while (!list_empty(&member->writes)) {
        struct write *write = LIST_FIRST(&member->writes, struct write, link);
        uint64_t deadline_ms = write->started_ms + member->timeout_ms;

        if (deadline_ms > now_ms)
            return deadline_ms;
        if (member->metrics != NULL)
            member->metrics->proposals_failed++;
        finish_write(write, timeout_status(write), NULL);
    }
    return UINT64_MAX;
}

void member__fail_writes(struct member *member, enum status status)
{
    while (!list_empty(&member->writes))
        finish_write(LIST_FIRST(&member->writes, struct write, link), status, NULL);
}

void member__free_writes(struct member *member)
{
    ASSERT(list_empty(&member->writes));
    LIST_EACH_SAFE (node, &member->pool) {
        struct write *write = LIST_ENTRY(node, struct write, link);

        buf_release(&write->command);
        free(write);
    }
    idmap_release(&member->pending);
}
