/* When to stand for election. How is libraft's business, and so is who may win; here are only its
 * timers, and pre-votes that are not answered, which is as if they were lost.
 *
 * Left to chance two members that hear of a leader's end at once split the votes (a candidacy takes
 * as long as the syncs of those who vote), and the next attempt is an election timeout away. So:
 *
 * - Members take turns: the first behind the lost leader in the order of the configuration, which
 *   all know, at once, each next one a slot later.
 * - Who has granted a pre-vote gives that candidate time, and grants none to others meanwhile. This
 *   counts once per term: one that can not win holds nobody up for long.
 * - What a candidacy may fail from is tried again soon while it is only a pre-vote. */
#include "raft/guards.h"
#include "raft/internal.h"

/* Half of what etcd's tuning rule takes for a round trip: so long a word from one member to another
 * may be on its way. */
static uint64_t slot_ms(const struct replica *r)
{
    return MAX(r->heartbeat_ms / 2, 1u);
}

/* Voters between the last leader and that member. */
static unsigned rank_of(const struct replica *r, uint64_t id)
{
    const struct raft_configuration *all = &r->raft.configuration;
    unsigned first = 0, rank = 0;

    for (unsigned i = 0; i < all->n; i++)
        if (all->servers[i].id == r->led_by)
            first = i + 1;
    for (unsigned i = 0; i < all->n; i++) {
        const struct raft_server *server = &all->servers[(first + i) % all->n];

        if (server->id == id)
            break;
        rank += server->role == RAFT_VOTER;
    }
    return rank;
}

/* Of many members the last ones share a turn: nobody waits for more than an election timeout. */
static uint64_t turn_ms(struct replica *r)
{
    uint64_t slot = slot_ms(r);
    uint64_t wait = MIN(rank_of(r, r->id) * slot, (uint64_t)r->election_ms - r->election_ms / 4);

    return wait + slot / 10 + prng_between(&r->prng, 0, slot / 5);
}

static uint64_t retry_ms(struct replica *r)
{
    uint64_t pause = prng_between(&r->prng, r->heartbeat_ms, 2 * (uint64_t)r->heartbeat_ms);

    return MIN(pause << MIN(r->attempts, 3u), (uint64_t)r->election_ms);
}

static void expire_at(struct replica *r, uint64_t at_ms)
{
    r->raft.election_timer_start = at_ms - r->raft.follower_state.randomized_election_timeout;
}

void election_led(struct replica *r, uint64_t leader)
{
    r->led_by = leader;
    r->attempts = 0;
    r->patience_ms = (unsigned)(r->election_ms + turn_ms(r));
    if (raft_state(&r->raft) == RAFT_FOLLOWER)
        r->raft.follower_state.randomized_election_timeout = r->patience_ms;
}

void election_timer_drawn(struct replica *r)
{
    struct raft *raft = &r->raft;

    if (raft_state(raft) == RAFT_FOLLOWER) {
        raft->follower_state.randomized_election_timeout = r->patience_ms;
    } else if (raft_state(raft) == RAFT_CANDIDATE && raft->candidate_state.in_pre_vote) {
        raft->candidate_state.randomized_election_timeout = (unsigned)retry_ms(r);
        r->attempts++;
    }
}

void election_leader_gone(struct replica *r)
{
    r->raft.follower_state.current_leader.id = 0; /* so that we grant votes at once */
    /* Pre-vote protects a leader that is well: members that hear it refuse, and its next message
     * turns us back. Without it a broken connection would unseat it. */
    if (r->raft.pre_vote)
        expire_at(r, MIN(r->now + turn_ms(r), (uint64_t)raft_timeout(&r->raft)));
}

/* libraft would begin its time anew; but most syncs are over in a moment. */
bool election_waits_for_disk(struct replica *r)
{
    struct raft *raft = &r->raft;

    if (raft_state(raft) != RAFT_FOLLOWER || raft->last_stored >= raft_last_index(raft))
        return false;
    expire_at(r, r->now + MAX(slot_ms(r) / 4, 1u));
    return true;
}

/* Raft 5.4.1: has the one more of the log than who ends with that entry? */
static bool has_more(const struct raft_request_vote *vote, raft_term term, raft_index index)
{
    return vote->last_log_term > term ||
           (vote->last_log_term == term && vote->last_log_index > index);
}

static bool has_more_than_we(const struct replica *r, const struct raft_request_vote *vote)
{
    raft_index last = raft_last_index((struct raft *)&r->raft);

    return has_more(vote, log_term(r, last), last);
}

static bool promised(const struct replica *r)
{
    return r->promised_term == raft_current_term((struct raft *)&r->raft) &&
           r->now < r->promised_until_ms;
}

bool election_hears(const struct replica *r, uint64_t from, const struct raft_request_vote *vote)
{
    const struct raft *raft = &r->raft;
    const struct raft_request_vote *promise = &r->promise;

    if (!vote->pre_vote)
        return true;
    if (raft->state == RAFT_CANDIDATE && raft->candidate_state.in_pre_vote && r->attempts <= 1 &&
        r->now < raft->election_timer_start + slot_ms(r) && rank_of(r, r->id) < rank_of(r, from) &&
        !has_more_than_we(r, vote))
        return false; /* we both try for the first time, at once: it will hear us */
    return !promised(r) || promise->candidate_id == from ||
           has_more(vote, promise->last_log_term, promise->last_log_index);
}

/* Without a leader, and a voter, we refuse only who has less than we have: so it is our turn. */
static void refused(struct replica *r)
{
    const struct raft *raft = &r->raft;
    uint64_t soon = r->now + prng_between(&r->prng, 1, MAX(slot_ms(r) / 5, 1u));

    if (raft->state != RAFT_FOLLOWER || raft->follower_state.current_leader.id != 0 || promised(r))
        return;
    expire_at(r, MIN(soon, (uint64_t)raft_timeout(raft)));
}

/* The first in this term, or one that overrides it. */
static bool is_promise(const struct replica *r, const struct raft_request_vote *vote)
{
    return r->promised_term != raft_current_term((struct raft *)&r->raft) ||
           (promised(r) && vote->candidate_id != r->promise.candidate_id);
}

void election_voted(struct replica *r, const struct raft_request_vote *vote, bool granted)
{
    if (!vote->pre_vote)
        return;
    if (!granted) {
        refused(r);
        return;
    }
    if (!is_promise(r, vote))
        return;
    r->promise = *vote;
    r->promised_term = raft_current_term(&r->raft);
    r->promised_until_ms = r->now + 2 * (uint64_t)r->heartbeat_ms;
    /* Time for the syncs of an election. */
    if (raft_state(&r->raft) == RAFT_FOLLOWER)
        expire_at(r, r->now + r->election_ms / 2 + turn_ms(r));
}
