/* One raft_step() at a time, and its update executed in this order: hard state queued, entries
 * queued, messages sent (or held until the hard state is durable), role changes told,
 * configurations that are now committed fed back. Applying waits for replica_turn(). */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "raft/guards.h"
#include "raft/internal.h"

void replica__fatal(struct replica *r, int code, const char *fmt, ...)
{
    struct err err = {.code = code};
    va_list args;

    if (r->failed)
        return;
    r->failed = true;
    va_start(args, fmt);
    (void)vsnprintf(err.text, sizeof(err.text), fmt, args);
    va_end(args);
    r->env.fatal(r->env.ctx, &err);
}

static enum replica_role role_of(const struct replica *r)
{
    switch (r->raft.state) {
    case RAFT_LEADER:
        return REPLICA_LEADER;
    case RAFT_CANDIDATE:
        return REPLICA_CANDIDATE;
    default:
        return REPLICA_FOLLOWER;
    }
}

static uint64_t leader_of(const struct replica *r)
{
    if (r->raft.state == RAFT_LEADER)
        return r->id; /* raft_leader() says 0 during a transfer */
    return r->raft.state == RAFT_FOLLOWER ? r->raft.follower_state.current_leader.id : 0;
}

/* Before messages are encoded: the first ones of a new leader carry its lead_index. */
static void note_lead(struct replica *r)
{
    uint64_t term = raft_current_term(&r->raft);

    if (!replica__leads(r) || (r->role == REPLICA_LEADER && r->term == term))
        return;
    r->lead_term = term;
    r->lead_index = raft_last_index(&r->raft);
    send_lead_changed(r);
}

void replica__note_role(struct replica *r)
{
    enum replica_role role = role_of(r);
    uint64_t term = raft_current_term(&r->raft);
    uint64_t leader = leader_of(r);

    if (role == r->role && term == r->term && leader == r->leader)
        return;
    if (leader != 0 && (leader != r->leader || term != r->term))
        r->elections++;
    if (r->role == REPLICA_LEADER && role != REPLICA_LEADER)
        send_lead_changed(r);
    r->role = role;
    r->term = term;
    r->leader = leader;
    if (leader != 0)
        election_led(r, leader);
    transfer_reset(r);
    propose_role_changed(r);
    read_role_changed(r);
    r->env.on_role(r->env.ctx, role, term, leader);
}

/* New members in a configuration just appended. */
static void note_members(struct replica *r)
{
    for (unsigned i = 0; i < r->raft.configuration.n; i++)
        (void)replica__add_peer(r, r->raft.configuration.servers[i].id);
}

static void execute(struct replica *r, const struct raft_event *event,
                    const struct raft_update *update)
{
    if (update->flags & UPDATE_HARD_STATE)
        log_hard_state(r);
    if (update->flags & UPDATE_SNAPSHOT)
        snapshot_install(r, update);
    if (update->flags & UPDATE_ENTRIES) {
        log_append(r, update->entries.index, update->entries.batch, update->entries.n);
        note_members(r);
    }
    note_lead(r);
    if ((update->flags & UPDATE_MESSAGES) && !r->mute)
        for (unsigned i = 0; i < update->messages.n && !r->failed; i++)
            send_message(r, event, &update->messages.batch[i]);
    if (!r->failed)
        replica__note_role(r);
}

static const char *event_name(const struct raft_event *event)
{
    static const char *const names[] = {
        [RAFT_START] = "start",
        [RAFT_RECEIVE] = "a message",
        [RAFT_PERSISTED_ENTRIES] = "a completed write",
        [RAFT_CONFIGURATION] = "a committed configuration",
        [RAFT_PERSISTED_SNAPSHOT] = "an installed checkpoint",
        [RAFT_SNAPSHOT] = "a checkpoint",
        [RAFT_TIMEOUT] = "a timeout",
        [RAFT_SUBMIT] = "a proposal",
        [RAFT_TRANSFER] = "a transfer",
    };

    return event->type < (int)ARRAY_LEN(names) && names[event->type] != NULL ? names[event->type]
                                                                             : "an event";
}

void replica__contradiction(struct replica *r)
{
    replica__fatal(r, KV_ECORRUPT,
                   "the leader's log contradicts what is committed here (term %" PRIu64
                   ", commit %" PRIu64 "): a member has lost acknowledged data",
                   (uint64_t)raft_current_term(&r->raft), (uint64_t)raft_commit_index(&r->raft));
}

static int step_once(struct replica *r, struct raft_event *event)
{
    struct raft_update update;
    int rc;

    ASSERT(!r->stepping);
    memset(&update, 0, sizeof(update));
    event->time = r->now;
    r->stepping = true;
    rc = raft_step(&r->raft, event, &update);
    if (rc == 0 && (update.flags & UPDATE_TIMEOUT))
        election_timer_drawn(r);
    if (rc == 0)
        execute(r, event, &update);
    r->stepping = false;
    if (rc == 0) {
        members_note(r, &update);
        return 0;
    }

    if ((event->type == RAFT_SUBMIT || event->type == RAFT_TRANSFER) && rc != RAFT_NOMEM)
        return rc; /* refused, nothing changed */
    if (rc == RAFT_SHUTDOWN)
        replica__contradiction(r);
    else
        replica__fatal(r, KV_ECORRUPT, "raft can not go on after %s: %s", event_name(event),
                       raft_strerror(rc));
    return rc;
}

void replica__configuration_event(const struct replica *r, struct raft_event *event)
{
    const struct raft_configuration *now = &r->raft.configuration;

    *event = (struct raft_event){.type = RAFT_CONFIGURATION};
    event->configuration.index = r->raft.configuration_uncommitted_index;
    raft_configuration_init(&event->configuration.conf);
    for (unsigned i = 0; i < now->n; i++)
        ASSERT(raft_configuration_add(&event->configuration.conf, now->servers[i].id,
                                      now->servers[i].address, now->servers[i].role) == 0);
}

int replica__step(struct replica *r, struct raft_event *event)
{
    int rc = step_once(r, event);

    if (!r->failed && r->installing.index != 0) {
        struct raft_event installed;

        snapshot_installed_event(r, &installed);
        (void)step_once(r, &installed); /* only fails fatally */
        note_members(r);
    }
    /* At most one configuration is uncommitted, and it is the one in force. */
    while (!r->failed && r->raft.configuration_uncommitted_index != 0 &&
           r->raft.configuration_uncommitted_index <= raft_commit_index(&r->raft)) {
        struct raft_event committed;

        replica__configuration_event(r, &committed);
        (void)step_once(r, &committed); /* only fails fatally */
    }
    return rc;
}

int replica__submit(struct replica *r, enum raft_entry_type type, struct raft_buffer payload)
{
    struct raft_entry entry = {
        .term = raft_current_term(&r->raft), .type = type, .buf = payload, .batch = payload.base};
    struct raft_event event = {.type = RAFT_SUBMIT, .submit = {.entries = &entry, .n = 1}};

    return replica__step(r, &event);
}

int replica__change(struct replica *r, const struct raft_configuration *next)
{
    struct raft_buffer payload;
    int rc = guard_change(r, next);

    if (rc != 0)
        return rc;
    ASSERT(raft_configuration_encode(next, &payload) == 0);
    rc = replica__submit(r, RAFT_CHANGE, payload);
    if (rc != 0 && !r->failed)
        raft_free(payload.base);
    return rc == 0 ? 0 : KV_EBUSY;
}
