#include "raft/guards.h"

#include <inttypes.h>

/* Indexes and terms above this can not be honest, and would overflow in libraft. */
static const uint64_t NUMBER_MAX = (uint64_t)1 << 62;

/* ---- G17: what a peer may say ---- */

static int bad(struct err *err, const char *what)
{
    return err_set(err, KV_EPROTO, "%s", what);
}

static bool position_ok(uint64_t index, uint64_t term, uint64_t term_max)
{
    return index <= NUMBER_MAX && term <= term_max && (index == 0) == (term == 0);
}

static int validate_append(const struct wire_append *append, struct err *err)
{
    uint64_t term = append->prev_term;

    if (append->term == 0 || append->term > NUMBER_MAX)
        return bad(err, "append: impossible term");
    if (!position_ok(append->prev_index, append->prev_term, append->term))
        return bad(err, "append: impossible previous entry");
    if (append->prev_index == 0 && append->count > 0 && append->entries[0].type != RAFT_CHANGE)
        return bad(err, "append: the first entry is no configuration");
    for (unsigned i = 0; i < append->count; i++) {
        const struct wire_entry *entry = &append->entries[i];

        if (entry->term == 0 || entry->term < term || entry->term > append->term)
            return bad(err, "append: terms of entries out of order");
        if (entry->type < RAFT_COMMAND || entry->type > RAFT_CHANGE)
            return bad(err, "append: unknown type of entry");
        term = entry->term;
    }
    return 0;
}

static int validate_vote(const struct peer *from, const struct raft_request_vote *vote,
                         struct err *err)
{
    if (vote->term == 0 || vote->term > NUMBER_MAX)
        return bad(err, "vote: impossible term");
    if (vote->candidate_id != from->id)
        return bad(err, "vote: asked for somebody else");
    if (!position_ok(vote->last_log_index, vote->last_log_term, vote->term))
        return bad(err, "vote: impossible last entry");
    return 0;
}

static int validate_install(const struct wire_install *install, struct err *err)
{
    if (install->term == 0 || install->term > NUMBER_MAX || install->index == 0 ||
        install->index_term == 0 ||
        !position_ok(install->index, install->index_term, install->term))
        return bad(err, "install: impossible position");
    if (install->configuration_index == 0 || install->configuration_index > install->index)
        return bad(err, "install: impossible configuration");
    return 0;
}

static int validate_ours(const struct wire_message *message, struct err *err)
{
    const struct wire_commit *commit = &message->commit;
    const struct wire_forward *forward = &message->forward;

    switch (message->type) {
    case WIRE_COMMIT:
        if (commit->term == 0 || commit->index == 0 ||
            !position_ok(commit->index, commit->index_term, commit->term))
            return bad(err, "commit: impossible position");
        return 0;
    case WIRE_FORWARD:
    case WIRE_FORWARD_ACK:
        if (forward->seq == 0 || forward->after >= forward->seq)
            return bad(err, "forward: impossible numbers");
        if (message->type == WIRE_FORWARD &&
            (forward->commands.len == 0 || forward->commands.len > COMMAND_SIZE_MAX))
            return bad(err, "forward: empty, or larger than an entry");
        return 0;
    default:
        return 0;
    }
}

int guard_validate(const struct replica *r, const struct peer *from,
                   const struct wire_message *message, struct err *err)
{
    const struct raft_append_entries_result *result = &message->append_result;
    const struct raft_timeout_now *now = &message->timeout_now;

    if (!guard_on(r, 17))
        return 0;
    switch (message->type) {
    case WIRE_APPEND:
        return validate_append(&message->append, err);
    case WIRE_APPEND_RESULT:
        if (result->term == 0 || result->term > NUMBER_MAX || result->last_log_index > NUMBER_MAX)
            return bad(err, "append result: impossible numbers");
        if (result->rejected > 0 && result->last_log_index >= result->rejected)
            return bad(err, "append result: rejects an entry it has");
        return 0;
    case WIRE_VOTE:
        return validate_vote(from, &message->vote, err);
    case WIRE_VOTE_RESULT:
        if (message->vote_result.term == 0 || message->vote_result.term > NUMBER_MAX)
            return bad(err, "vote result: impossible term");
        return 0;
    case WIRE_INSTALL:
        return validate_install(&message->install, err);
    case WIRE_TIMEOUT_NOW:
        if (now->term == 0 || now->term > NUMBER_MAX || now->last_log_index == 0 ||
            !position_ok(now->last_log_index, now->last_log_term, now->term))
            return bad(err, "timeout now: impossible position");
        return 0;
    default:
        return validate_ours(message, err);
    }
}

/* ---- time ---- */

static bool only_voter(const struct replica *r, const struct raft_configuration *configuration)
{
    bool ours = false;

    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].role != RAFT_VOTER)
            continue;
        if (configuration->servers[i].id != r->id)
            return false;
        ours = true;
    }
    return ours;
}

/* The only voter becomes leader inside START, without a new term. If it lost an unsynced tail that
 * a learner still holds, other entries would get the same (index, term): so it starts in a new one,
 * having voted for itself. */
struct wal_hard_state guard_start(const struct replica *r, struct wal_hard_state state,
                                  const struct raft_configuration *configuration)
{
    if (guard_on(r, 2) && only_voter(r, configuration)) {
        state.term++;
        state.voted_for = r->id;
    }
    return state;
}

/* G2c: as above, for a follower that became the only voter (the leader demoted itself) and whose
 * timer fires: both would lead in one term. A vote asked for by nobody raises the term by libraft's
 * own rules; it is refused, and the reply goes to nobody. */
static void raise_own_term(struct replica *r)
{
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE,
        .server_id = UINT64_MAX, /* no member's */
        .server_address = "nobody",
        .request_vote = {.version = 2,
                         .term = raft_current_term(&r->raft) + 1,
                         .candidate_id = UINT64_MAX,
                         .disrupt_leader = true},
    };
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {.message = &message}};

    (void)replica__step(r, &event); /* only fails fatally */
    if (r->failed)
        return;
    r->raft.voted_for = r->id;
    log_hard_state(r);
}

void guard_timeout(struct replica *r)
{
    struct raft *raft = &r->raft;

    if (guard_on(r, 2) && raft_state(raft) == RAFT_FOLLOWER && r->now >= raft_timeout(raft) &&
        only_voter(r, &raft->configuration))
        raise_own_term(r);
    /* G14: one that won the pre-vote and then heard nothing asks again before it raises its term
     * once more. */
    if (guard_on(r, 14) && raft_state(raft) == RAFT_CANDIDATE &&
        !raft->candidate_state.disrupt_leader)
        raft->candidate_state.in_pre_vote = raft->pre_vote;
}

/* ---- messages in ---- */

/* Every leader holds everything committed. One that does not has been elected by members that lost
 * it, or that never had it: started empty beside one that was restored from a snapshot. */
static bool contradicts(const struct replica *r, uint64_t index, uint64_t term)
{
    uint64_t ours = index == 0 ? 0 : log_term(r, index);

    return ours != 0 && ours != term;
}

static bool contradicts_committed(struct replica *r, const struct wire_append *append,
                                  uint64_t count)
{
    bool bad = contradicts(r, append->prev_index, append->prev_term);

    for (uint64_t i = 0; i < count && !bad; i++)
        bad = contradicts(r, append->prev_index + 1 + i, append->entries[i].term);
    if (bad)
        replica__contradiction(r);
    return bad;
}

/* G6: what lies at or below our commit index is not delivered; libraft would reject it, or append
 * it at the end, where its log is compacted. So libraft does not compare it either. */
static bool skip_committed(struct replica *r, struct wire_append *append)
{
    uint64_t commit = raft_commit_index(&r->raft);
    uint64_t skip;

    if (append->term < raft_current_term(&r->raft) || append->prev_index >= commit ||
        r->raft.snapshot.installing)
        return true;
    skip = MIN(append->count, commit - append->prev_index);
    if (contradicts_committed(r, append, skip))
        return false;
    if (skip == append->count)
        append->commit = MIN(append->commit, commit);
    append->entries += skip; /* the frame's release goes by the original */
    append->count -= (unsigned)skip;
    append->prev_index = commit;
    append->prev_term = log_term(r, commit);
    return true;
}

/* G3: libraft would treat our leader state as a follower's. Two leaders of one term can not be:
 * somebody's hard state is damaged. */
static bool second_leader(struct replica *r, uint64_t term)
{
    if (!guard_on(r, 3) || term != raft_current_term(&r->raft) ||
        raft_state(&r->raft) != RAFT_LEADER)
        return false;
    replica__fatal(r, KV_ECORRUPT,
                   "two leaders in term %" PRIu64
                   ": a member has lost its vote; check the members' disks",
                   term);
    return true;
}

bool guard_append(struct replica *r, struct wire_append *append)
{
    if (second_leader(r, append->term))
        return false;
    return !guard_on(r, 6) || skip_committed(r, append);
}

/* A second one during an install would leak; and what is not here can not be installed. What is
 * committed here already is only to be acknowledged. */
bool guard_install(struct replica *r, const struct wire_install *install)
{
    if (second_leader(r, install->term) || r->raft.snapshot.installing)
        return false;
    return install->term < raft_current_term(&r->raft) ||
           install->index <= raft_commit_index(&r->raft) ||
           (r->env.has_snapshot != NULL &&
            r->env.has_snapshot(r->env.ctx, install->index, install->index_term));
}

/* An install may have overtaken it while it was written, or a newer one; libraft would break. */
bool guard_snapshot(const struct replica *r, const struct replica_snapshot *snapshot)
{
    const struct raft *raft = &r->raft;

    if (!guard_on(r, 10))
        return true;
    return !raft->snapshot.installing && snapshot->index > raft->trail.snapshot.index &&
           snapshot->index > raft->trail.offset && snapshot->index <= raft->commit_index &&
           snapshot->configuration_index <= raft->configuration_committed_index &&
           (raft->configuration_uncommitted_index == 0 ||
            raft->configuration_uncommitted_index > snapshot->index) &&
           log_term(r, snapshot->index) == snapshot->term;
}

static void commit_configuration(struct replica *r)
{
    struct raft_event event;

    replica__configuration_event(r, &event);
    (void)replica__step(r, &event); /* only fails fatally */
}

/* libraft notes every configuration of a message at the index of the message's first new entry;
 * then it would never be committed, or not be rolled back. And a configuration k exists only
 * because the one before it was committed, whatever our commit index says yet. */
unsigned guard_piece(struct replica *r, const struct wire_append *append)
{
    uint64_t uncommitted = r->raft.configuration_uncommitted_index;
    unsigned count = append->count;

    if (!guard_on(r, 5))
        return count;
    for (unsigned i = 1; i < count; i++) {
        if (append->entries[i].type == RAFT_CHANGE) {
            count = i;
            break;
        }
    }
    if (append->count > 0 && append->entries[0].type == RAFT_CHANGE && uncommitted != 0 &&
        uncommitted <= append->prev_index && log_term(r, append->prev_index) == append->prev_term)
        commit_configuration(r);
    return count;
}

static bool receive_result(const struct replica *r, const struct peer *from,
                           struct raft_append_entries_result *result)
{
    raft_index match = 0;

    if (raft_match_index(&r->raft, from->id, &match) != 0)
        return true; /* we do not lead: libraft ignores it */
    if (result->rejected == 0) {
        /* G1, our side: nobody stores what was never sent. */
        if (guard_on(r, 1))
            result->last_log_index = MIN(result->last_log_index, from->sent_high);
        return true;
    }
    if (!guard_on(r, 7))
        return true;
    /* G7: a rejection at or below what the peer is known to have would set next <= match, and the
     * count of entries in flight would wrap. It still is a sign of life. */
    if (result->rejected <= match) {
        result->rejected = 0;
        result->last_log_index = 0;
    } else {
        result->last_log_index = MAX(result->last_log_index, match);
    }
    return true;
}

bool guard_receive(const struct replica *r, const struct peer *from, struct raft_message *message)
{
    switch (message->type) {
    case RAFT_APPEND_ENTRIES_RESULT:
        return receive_result(r, from, &message->append_entries_result);
    case RAFT_REQUEST_VOTE_RESULT:
        /* G13: the handler reads candidate_state whatever the state is. */
        return !guard_on(r, 13) || raft_state((struct raft *)&r->raft) == RAFT_CANDIDATE;
    default:
        return true;
    }
}

/* G4: one that is not a voter (by an older configuration than the candidate's, perhaps) refuses
 * every vote and never forgets its last leader. A member's vote is safe to give whatever it
 * believes its role to be: it is counted only by those in whose configuration it is a voter. */
bool guard_vote_begin(struct replica *r)
{
    struct raft_server *self = (struct raft_server *)replica__server(r, r->id);

    if (!guard_on(r, 4) || raft_state(&r->raft) != RAFT_FOLLOWER)
        return false;
    if (r->now - r->heard_ms >= r->election_ms)
        r->raft.follower_state.current_leader.id = 0;
    if (self == NULL || self->role != RAFT_STANDBY)
        return false;
    self->role = RAFT_VOTER;
    return true;
}

void guard_vote_end(struct replica *r, bool changed)
{
    struct raft_server *self = (struct raft_server *)replica__server(r, r->id);

    if (changed)
        self->role = RAFT_STANDBY;
}

/* ---- messages out ---- */

void guard_reply(const struct replica *r, const struct raft_event *cause, struct wire_message *out)
{
    uint64_t term = raft_current_term(&r->raft);
    const struct raft_message *in = cause->receive.message;

    if (cause->type != RAFT_RECEIVE)
        return;
    /* G1: "rejected" is the previous index, 0 perhaps, and last_log_index was never written. */
    if (guard_on(r, 1) && out->type == WIRE_APPEND_RESULT &&
        ((in->type == RAFT_APPEND_ENTRIES && in->append_entries.term < term) ||
         (in->type == RAFT_INSTALL_SNAPSHOT && in->install_snapshot.term < term)))
        out->append_result.last_log_index = 0;
    /* G12: it echoes the term asked for; the asker would never learn ours. */
    if (guard_on(r, 12) && out->type == WIRE_VOTE_RESULT && in->type == RAFT_REQUEST_VOTE &&
        in->request_vote.pre_vote && !out->vote_result.vote_granted && in->request_vote.term < term)
        out->vote_result.term = term;
}

/* ---- configurations and hand-over ---- */

static const struct raft_server *find(const struct raft_configuration *configuration, uint64_t id)
{
    for (unsigned i = 0; i < configuration->n; i++)
        if (configuration->servers[i].id == id)
            return &configuration->servers[i];
    return NULL;
}

/* G9: etcd's measure: nine tenths of the log. */
static bool learner_ready(const struct replica *r, uint64_t id)
{
    raft_index match = 0;

    return raft_match_index(&r->raft, id, &match) == 0 && match > 0 &&
           match >= raft_last_index((struct raft *)&r->raft) / 10 * 9;
}

/* One at a time (Raft section 6), and in the form libraft can take: it rebuilds what it knows of
 * the others by their number, so who stays must keep its place. Addresses are nothing to it. */
static bool is_single_change(const struct raft_configuration *now,
                             const struct raft_configuration *next)
{
    unsigned gone = 0, roles = 0, kept = 0;

    for (unsigned i = 0; i < now->n; i++) {
        const struct raft_server *after = find(next, now->servers[i].id);

        if (after == NULL) {
            gone++;
            continue;
        }
        if (after != &next->servers[kept++])
            return false;
        roles += after->role != now->servers[i].role;
    }
    return next->n >= kept && gone + roles + (next->n - kept) <= 1;
}

int guard_change(const struct replica *r, const struct raft_configuration *next)
{
    const struct raft_configuration *now = &r->raft.configuration;
    const struct raft_server *self = find(next, r->id);

    if (!replica__leads(r))
        return KV_ENOTLEADER;
    if (guard_on(r, 2) && (self == NULL || self->role != RAFT_VOTER))
        return KV_EINVAL; /* G2b: hand over first, the successor removes us */
    if (guard_on(r, 8) &&
        (r->raft.configuration_uncommitted_index != 0 || r->transfer != TRANSFER_IDLE))
        return KV_EBUSY;
    if (!is_single_change(now, next))
        return KV_EINVAL;
    for (unsigned i = 0; guard_on(r, 9) && i < now->n; i++) {
        const struct raft_server *before = &now->servers[i];
        const struct raft_server *after = find(next, before->id);

        if (after != NULL && after->role == RAFT_VOTER && before->role != RAFT_VOTER &&
            !learner_ready(r, before->id))
            return KV_EBUSY;
    }
    return 0;
}

bool guard_transfer(const struct replica *r, uint64_t target)
{
    raft_index match = 0;

    if (!guard_on(r, 15))
        return true;
    return raft_match_index(&r->raft, target, &match) == 0 &&
           match == raft_last_index((struct raft *)&r->raft);
}
