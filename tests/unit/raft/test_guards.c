/* One directed test per guard of raft/guards.h, run twice: with the guard the fault does not
 * happen; without it (guards_off) it does, so that we know the test bites and see the day libraft
 * no longer needs the guard. Member 1 is real, the others are played by hand. */
#include "tests/unit/raft/cluster.h"

/* ---- member 1 among others that are played ---- */

static struct cluster *solo(size_t count, int guard_off)
{
    struct cluster *c = cluster_new(count, 1);

    c->guards_off = guard_off == 0 ? 0 : 1u << guard_off;
    node_open(c, 1);
    settle(c);
    return c;
}

static void fire_timer(struct cluster *c)
{
    struct node *node = node_of(c, 1);

    c->now_ms = MAX(c->now_ms + 1, node->timer_ms);
    node->timer_ms = 0;
    replica_on_timer(node->replica);
    settle(c);
}

static void grant(struct cluster *c, uint64_t from, bool pre_vote)
{
    struct wire_message vote;
    struct wire_message yes = {.type = WIRE_VOTE_RESULT};

    assert_true(take(c, 1, from, WIRE_VOTE, &vote));
    assert_int_equal(vote.vote.pre_vote, pre_vote);
    yes.vote_result.term = vote.vote.term;
    yes.vote_result.pre_vote = pre_vote;
    yes.vote_result.vote_granted = true;
    assert_int_equal(give(c, from, 1, &yes), 0);
    settle(c);
}

static struct raft *raft_of(struct cluster *c)
{
    return &node_of(c, 1)->replica->raft;
}

/* Member 1 wins an election by the votes of member 2. */
static void elect(struct cluster *c)
{
    fire_timer(c);
    grant(c, 2, true);
    grant(c, 2, false);
    assert_int_equal(node_of(c, 1)->role, REPLICA_LEADER);
}

static int result(struct cluster *c, uint64_t from, uint64_t rejected, uint64_t last)
{
    struct wire_message message = {.type = WIRE_APPEND_RESULT,
                                   .append_result = {.term = raft_current_term(raft_of(c)),
                                                     .rejected = rejected,
                                                     .last_log_index = last}};
    int rc = give(c, from, 1, &message);

    settle(c);
    return rc;
}

/* A played leader's AppendEntries. */
static void append(struct cluster *c, uint64_t from, uint64_t term, uint64_t prev,
                   uint64_t prev_term, uint64_t commit, struct wire_entry *entries, unsigned count)
{
    struct wire_message message = {.type = WIRE_APPEND,
                                   .append = {.term = term,
                                              .prev_index = prev,
                                              .prev_term = prev_term,
                                              .commit = commit,
                                              .entries = entries,
                                              .count = count}};

    assert_int_equal(give(c, from, 1, &message), 0);
    settle(c);
}

static struct wire_entry command(uint64_t term)
{
    return (struct wire_entry){.term = term, .type = RAFT_COMMAND, .data = slice_of("8 bytes.", 8)};
}

/* roles[i] is the one of member i + 1; -1: no member. The payload is the caller's to raft_free. */
static struct raft_buffer configuration(const int *roles, size_t count)
{
    struct raft_configuration conf;
    struct raft_buffer payload;

    raft_configuration_init(&conf);
    for (size_t i = 0; i < count; i++) {
        char address[24];

        snprintf(address, sizeof(address), "%zx", i + 1);
        if (roles[i] >= 0)
            assert_int_equal(raft_configuration_add(&conf, i + 1, address, roles[i]), 0);
    }
    assert_int_equal(raft_configuration_encode(&conf, &payload), 0);
    raft_configuration_close(&conf);
    return payload;
}

static struct wire_entry change(uint64_t term, struct raft_buffer payload)
{
    return (struct wire_entry){
        .term = term, .type = RAFT_CHANGE, .data = slice_of(payload.base, payload.len)};
}

/* The log of a member whose first configuration has other roles than all voters. */
static void preload(struct cluster *c, uint64_t id, const int *roles, size_t count, uint64_t term)
{
    struct node *node = node_of(c, id);
    struct raft_buffer payload = configuration(roles, count);
    struct wal_entry entry = {
        .index = 1, .term = 1, .type = RAFT_CHANGE, .data = slice_of(payload.base, payload.len)};

    node_open_wal(node);
    wal_append_hard_state(node->wal, (struct wal_hard_state){.term = term});
    wal_append_entry(node->wal, &entry);
    assert_int_equal(wal_flush_sync(node->wal, NULL), 0);
    raft_free(payload.base);
}

static struct raft_configuration decoded(const int *roles, size_t count)
{
    struct raft_buffer payload = configuration(roles, count);
    struct raft_configuration conf;

    assert_int_equal(raft_configuration_decode(&payload, &conf), 0);
    raft_free(payload.base);
    return conf;
}

/* ---- G1 ---- */

/* The answer to an outdated message looks like a success with a random index. Member 2 was never
 * sent entry 2; does the leader believe it is there, and commit what only it has? */
static bool success_for_something_never_sent_commits(int off)
{
    struct cluster *c = solo(3, off);
    struct proposal p;
    bool committed;

    elect(c);
    propose(c, 1, &p);
    settle(c);
    assert_int_equal(status_of(c, 1).stored_index, 2);
    assert_int_equal(result(c, 2, 0, 2), 0);
    committed = status_of(c, 1).commit_index == 2;
    cluster_free(c);
    return committed;
}

static void g1_success_beyond_what_was_sent_does_not_count(void **state)
{
    (void)state;
    assert_false(success_for_something_never_sent_commits(0));
    assert_true(success_for_something_never_sent_commits(1));
}

static void g1_outdated_append_is_not_answered_with_a_random_index(void **state)
{
    struct cluster *c = solo(3, 0);
    struct wire_message reply;

    (void)state;
    append(c, 2, 5, 1, 1, 1, NULL, 0);
    drop_frames(c, 1, 0);
    append(c, 3, 3, 0, 0, 0, NULL, 0);
    assert_true(take(c, 1, 3, WIRE_APPEND_RESULT, &reply));
    assert_int_equal(reply.append_result.term, 5);
    assert_int_equal(reply.append_result.last_log_index, 0);
    cluster_free(c);
}

/* ---- G2 ---- */

/* A lone voter that restarts leads in the term it had: entries it lost and a learner kept would be
 * replaced by others of the same (index, term). */
static bool lone_voter_leads_twice_in_a_term(int off)
{
    struct cluster *c = solo(1, off);
    uint64_t term = status_of(c, 1).term;
    bool same;

    assert_int_equal(leader(c), 1);
    node_crash(c, 1);
    node_open(c, 1);
    settle(c);
    assert_int_equal(leader(c), 1);
    same = status_of(c, 1).term == term;
    cluster_free(c);
    return same;
}

static void g2a_lone_voter_starts_in_a_new_term(void **state)
{
    (void)state;
    assert_false(lone_voter_leads_twice_in_a_term(0));
    assert_true(lone_voter_leads_twice_in_a_term(2));
}

static void g2b_leader_does_not_demote_itself(void **state)
{
    static const int roles[] = {RAFT_STANDBY, RAFT_VOTER, RAFT_VOTER};
    struct raft_configuration without_us = decoded(roles, 3);

    (void)state;
    for (int off = 0; off <= 2; off += 2) {
        struct cluster *c = solo(3, off);

        elect(c);
        assert_int_equal(replica__change(node_of(c, 1)->replica, &without_us),
                         off == 0 ? KV_EINVAL : 0);
        assert_int_equal(status_of(c, 1).last_index, off == 0 ? 1 : 2);
        cluster_free(c);
    }
    raft_configuration_close(&without_us);
}

/* A leader (member 2) demotes itself; member 1 is the only voter now, hears nothing more, and its
 * timer fires: both lead, in one term. */
static bool follower_takes_over_in_its_leaders_term(int off)
{
    static const int roles[] = {RAFT_VOTER, RAFT_STANDBY};
    struct cluster *c = solo(2, off);
    struct raft_buffer payload = configuration(roles, 2);
    struct wire_entry demotion = change(4, payload);
    bool same;

    append(c, 2, 4, 1, 1, 1, &demotion, 1);
    raft_free(payload.base);
    advance(c, 3 * ELECTION);
    assert_int_equal(node_of(c, 1)->role, REPLICA_LEADER);
    same = status_of(c, 1).term == 4;
    if (!same)
        assert_int_equal(status_of(c, 1).voted_for, 1);
    cluster_free(c);
    return same;
}

static void g2c_only_voter_left_takes_over_in_a_new_term(void **state)
{
    (void)state;
    assert_false(follower_takes_over_in_its_leaders_term(0));
    assert_true(follower_takes_over_in_its_leaders_term(2));
}

/* ---- G3 ---- */

/* Delivered, it would overwrite the leader's state in libraft's union: memory corruption, so the
 * inverse is only asked for, not run. */
static void g3_append_of_our_own_term_while_we_lead_stops_the_member(void **state)
{
    struct cluster *c = solo(3, 0);
    struct wire_append other = {0};

    (void)state;
    elect(c);
    other.term = status_of(c, 1).term;
    node_of(c, 1)->replica->guards_off = 1u << 3;
    assert_true(guard_append(node_of(c, 1)->replica, &other));
    node_of(c, 1)->replica->guards_off = 0;

    append(c, 2, other.term, 1, 1, 1, NULL, 0);
    assert_int_equal(node_of(c, 1)->fatal.code, KV_ECORRUPT);
    assert_non_null(strstr(node_of(c, 1)->fatal.text, "two leaders in term"));
    fire_timer(c); /* nothing happens any more */
    cluster_free(c);
}

/* ---- G4 ---- */

/* Member 1 is a learner to itself; member 2, the only voter, promoted it, crashed before telling,
 * and needs its vote now: 1 -> 2 voters. */
static bool learner_votes_for_the_leader_that_promoted_it(int off)
{
    static const int roles[] = {RAFT_STANDBY, RAFT_VOTER};
    struct cluster *c = cluster_new(2, 1);
    struct wire_message vote = {.type = WIRE_VOTE,
                                .vote = {.term = 2,
                                         .candidate_id = 2,
                                         .last_log_index = 2,
                                         .last_log_term = 1,
                                         .pre_vote = true}};
    struct wire_message reply;
    bool granted;

    c->guards_off = off == 0 ? 0 : 1u << off;
    preload(c, 1, roles, 2, 1);
    node_open(c, 1);
    append(c, 2, 1, 1, 1, 1, NULL, 0); /* member 2 led once */
    assert_int_equal(node_of(c, 1)->leader, 2);
    advance(c, 5 * ELECTION);
    drop_frames(c, 1, 0);

    assert_int_equal(give(c, 2, 1, &vote), 0);
    settle(c);
    assert_true(take(c, 1, 2, WIRE_VOTE_RESULT, &reply));
    granted = reply.vote_result.vote_granted;
    assert_int_equal(raft_role(raft_of(c)), RAFT_STANDBY); /* it stays what it was */
    cluster_free(c);
    return granted;
}

static void g4_learner_votes_and_forgets_a_dead_leader(void **state)
{
    (void)state;
    assert_true(learner_votes_for_the_leader_that_promoted_it(0));
    assert_false(learner_votes_for_the_leader_that_promoted_it(4));
}

/* ---- G5 ---- */

/* [command, configuration] arrive in one message, and a later leader cuts the configuration off:
 * the old one must be in force again. */
static unsigned members_after_a_change_was_cut_off(int off)
{
    static const int four[] = {RAFT_VOTER, RAFT_VOTER, RAFT_VOTER, RAFT_STANDBY};
    struct cluster *c = solo(3, off);
    struct raft_buffer payload = configuration(four, 4);
    struct wire_entry entries[] = {command(2), change(2, payload)};
    struct wire_entry other = command(3);
    unsigned count;

    append(c, 2, 2, 1, 1, 1, entries, 2);
    raft_free(payload.base);
    assert_int_equal(raft_of(c)->configuration.n, 4);
    append(c, 3, 3, 2, 2, 1, &other, 1);
    count = raft_of(c)->configuration.n;
    cluster_free(c);
    return count;
}

static void g5_configuration_that_is_cut_off_is_rolled_back(void **state)
{
    (void)state;
    assert_int_equal(members_after_a_change_was_cut_off(0), 3);
    assert_int_equal(members_after_a_change_was_cut_off(5), 4);
}

/* A second configuration arrives before the commit of the first is known here: the first one was
 * committed, else there would be no second. When the second is cut off, the first is in force. */
static unsigned members_after_the_second_change_was_cut_off(int off)
{
    static const int five[] = {RAFT_VOTER, RAFT_VOTER, RAFT_VOTER, RAFT_STANDBY, RAFT_STANDBY};
    struct cluster *c = solo(3, off);
    struct raft_buffer first = configuration(five, 4), second = configuration(five, 5);
    struct wire_entry one = change(2, first), two = change(2, second), other = command(3);
    unsigned count;

    append(c, 2, 2, 1, 1, 1, &one, 1);
    append(c, 2, 2, 2, 2, 1, &two, 1);
    raft_free(first.base);
    raft_free(second.base);
    assert_int_equal(raft_of(c)->configuration.n, 5);
    append(c, 3, 3, 2, 2, 1, &other, 1);
    count = raft_of(c)->configuration.n;
    cluster_free(c);
    return count;
}

static void g5_configuration_before_a_new_one_counts_as_committed(void **state)
{
    (void)state;
    assert_int_equal(members_after_the_second_change_was_cut_off(0), 4);
    assert_int_equal(members_after_the_second_change_was_cut_off(5), 3);
}

/* ---- G6 ---- */

/* Without compaction libraft still has every term to compare, so the fault itself can not show yet;
 * what reaches libraft can. */
static void g6_nothing_at_or_below_the_commit_index_is_delivered(void **state)
{
    struct cluster *c = solo(3, 0);
    struct wire_entry entries[] = {command(2), command(2), command(2)};
    struct wire_append whole = {
        .term = 2, .prev_index = 1, .prev_term = 1, .commit = 9, .entries = entries, .count = 3};
    struct wire_append cut = whole, old = whole;
    struct replica *r = node_of(c, 1)->replica;

    (void)state;
    append(c, 2, 2, 1, 1, 3, entries, 3);
    assert_int_equal(status_of(c, 1).commit_index, 3);

    assert_true(guard_append(r, &cut));
    assert_int_equal(cut.prev_index, 3);
    assert_int_equal(cut.prev_term, 2);
    assert_int_equal(cut.count, 1);
    assert_ptr_equal(cut.entries, &entries[2]);
    old.count = 1;
    assert_true(guard_append(r, &old));
    assert_int_equal(old.count, 0);
    assert_int_equal(old.prev_index, 3);
    assert_int_equal(old.commit, 3);

    r->guards_off = 1u << 6;
    cut = whole;
    assert_true(guard_append(r, &cut));
    assert_int_equal(cut.prev_index, 1);
    assert_int_equal(cut.count, 3);
    cluster_free(c);
}

/* What libraft does not get to compare is compared all the same: a leader that lacks what is
 * committed here was elected by members that lost it. */
static void g6_a_leader_that_lacks_what_is_committed_here_is_not_followed(void **state)
{
    struct wire_entry ours[] = {command(2), command(2)};
    const struct {
        uint64_t prev, prev_term;
        struct wire_entry entries[3];
        unsigned count;
    } theirs[] = {
        {1, 1, {command(3), command(3)}, 2},             /* entry 2 */
        {1, 1, {command(2), command(3), command(3)}, 3}, /* entry 3 */
        {2, 1, {command(2), command(3)}, 2},             /* the one before the first */
        {2, 1, {command(2)}, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(theirs); i++) {
        struct cluster *c = solo(3, 0);
        struct wire_entry entries[3];

        append(c, 2, 2, 1, 1, 3, ours, 2);
        assert_int_equal(status_of(c, 1).commit_index, 3);
        memcpy(entries, theirs[i].entries, sizeof entries);
        append(c, 3, 3, theirs[i].prev, theirs[i].prev_term, 3, entries, theirs[i].count);
        assert_int_equal(node_of(c, 1)->fatal.code, KV_ECORRUPT);
        assert_non_null(strstr(node_of(c, 1)->fatal.text, "contradicts what is committed here"));
        cluster_free(c);
    }
}

/* ---- G7 ---- */

/* Member 2 falls silent for a window while member 3 is heard, so libraft probes it from its match;
 * then a rejection of long ago arrives twice. Does member 2 ever get entries again? */
static bool peer_gets_entries_after_a_stale_rejection(int off)
{
    struct cluster *c = solo(3, off);
    struct proposal p[12];
    bool got = false;

    elect(c);
    propose(c, 1, &p[0]);
    advance(c, HEARTBEAT);
    assert_int_equal(result(c, 2, 0, 2), 0);
    for (unsigned i = 0; i < 3; i++) {
        advance(c, HEARTBEAT);
        assert_int_equal(result(c, 3, 0, 2), 0);
    }
    assert_int_equal(result(c, 2, 2, 1), 0); /* match is 2 already */
    drop_frames(c, 1, 0);
    for (size_t i = 1; i < 11; i++) {
        struct wire_message message;

        propose(c, 1, &p[i]);
        advance(c, HEARTBEAT);
        assert_int_equal(result(c, 3, 0, status_of(c, 1).last_index), 0);
        while (take(c, 1, 2, WIRE_APPEND, &message)) {
            uint64_t last = message.append.prev_index + message.append.count;

            got = got || message.append.count > 0;
            assert_int_equal(result(c, 2, 0, last), 0);
        }
    }
    cluster_free(c);
    return got;
}

static void g7_stale_rejection_does_not_silence_a_peer(void **state)
{
    (void)state;
    assert_true(peer_gets_entries_after_a_stale_rejection(0));
    assert_false(peer_gets_entries_after_a_stale_rejection(7));
}

/* ---- G8, G9 ---- */

static void g8_one_configuration_change_at_a_time(void **state)
{
    static const int four[] = {RAFT_VOTER, RAFT_VOTER, RAFT_VOTER, RAFT_STANDBY};
    struct raft_configuration first = decoded(four, 4), second = decoded(four, 3);
    struct cluster *c = solo(3, 0);
    struct replica *r = node_of(c, 1)->replica;

    (void)state;
    elect(c);
    assert_int_equal(replica__change(r, &first), 0);
    assert_int_equal(replica__change(r, &second), KV_EBUSY);
    assert_int_equal(status_of(c, 1).last_index, 2);
    r->guards_off = 1u << 8;
    assert_int_equal(guard_change(r, &second), 0);
    r->guards_off = 0;
    raft_configuration_close(&first);
    raft_configuration_close(&second);
    cluster_free(c);
}

static void g9_learner_becomes_voter_when_it_has_the_log(void **state)
{
    static const int before[] = {RAFT_VOTER, RAFT_STANDBY};
    static const int after[] = {RAFT_VOTER, RAFT_VOTER};
    struct raft_configuration promoted = decoded(after, 2);
    struct cluster *c = cluster_new(2, 1);
    struct proposal p[20];
    struct replica *r;

    (void)state;
    preload(c, 1, before, 2, 1);
    node_open(c, 1);
    r = node_of(c, 1)->replica;
    assert_int_equal(leader(c), 1);
    for (size_t i = 0; i < 20; i++) {
        propose(c, 1, &p[i]);
        settle(c);
    }
    assert_int_equal(replica__change(r, &promoted), KV_EBUSY);
    r->guards_off = 1u << 9;
    assert_int_equal(guard_change(r, &promoted), 0);
    r->guards_off = 0;
    advance(c, HEARTBEAT);
    assert_int_equal(result(c, 2, 0, 1), 0);
    assert_int_equal(result(c, 2, 0, status_of(c, 1).last_index), 0);
    assert_int_equal(replica__change(r, &promoted), 0);
    raft_configuration_close(&promoted);
    cluster_free(c);
}

/* ---- G12, G13, G14 ---- */

/* Member 2 has the longer log and a low term; nobody tells it ours, so it asks in vain for ever. */
static uint64_t term_told_to_a_refused_pre_vote(int off)
{
    static const int roles[] = {RAFT_VOTER, RAFT_VOTER, RAFT_VOTER};
    struct cluster *c = cluster_new(3, 1);
    struct wire_message vote = {.type = WIRE_VOTE,
                                .vote = {.term = 5,
                                         .candidate_id = 2,
                                         .last_log_index = 9,
                                         .last_log_term = 4,
                                         .pre_vote = true}};
    struct wire_message reply;
    uint64_t term;

    c->guards_off = off == 0 ? 0 : 1u << off;
    preload(c, 1, roles, 3, 7);
    node_open(c, 1);
    assert_int_equal(give(c, 2, 1, &vote), 0);
    settle(c);
    assert_true(take(c, 1, 2, WIRE_VOTE_RESULT, &reply));
    assert_false(reply.vote_result.vote_granted);
    term = reply.vote_result.term;
    cluster_free(c);
    return term;
}

static void g12_refused_pre_vote_tells_our_term(void **state)
{
    (void)state;
    assert_int_equal(term_told_to_a_refused_pre_vote(0), 7);
    assert_int_equal(term_told_to_a_refused_pre_vote(12), 5);
}

static bool late_pre_vote_result_unseats_a_leader(int off)
{
    struct cluster *c = solo(3, off);
    struct wire_message late = {.type = WIRE_VOTE_RESULT,
                                .vote_result = {.pre_vote = true, .vote_granted = true}};
    bool unseated;

    elect(c);
    late.vote_result.term = status_of(c, 1).term + 1;
    assert_int_equal(give(c, 3, 1, &late), 0);
    settle(c);
    unseated = node_of(c, 1)->role != REPLICA_LEADER;
    cluster_free(c);
    return unseated;
}

static void g13_late_pre_vote_result_changes_nothing(void **state)
{
    (void)state;
    assert_false(late_pre_vote_result_unseats_a_leader(0));
    assert_true(late_pre_vote_result_unseats_a_leader(13));
}

/* It won the pre-vote, then the network went away. */
static uint64_t terms_raised_by_a_candidate_nobody_hears(int off)
{
    struct cluster *c = solo(3, off);
    uint64_t term = status_of(c, 1).term;

    fire_timer(c);
    grant(c, 2, true);
    for (unsigned i = 0; i < 10; i++)
        fire_timer(c);
    term = status_of(c, 1).term - term;
    cluster_free(c);
    return term;
}

static void g14_unheard_candidate_raises_its_term_once(void **state)
{
    (void)state;
    assert_int_equal(terms_raised_by_a_candidate_nobody_hears(0), 1);
    assert_int_equal(terms_raised_by_a_candidate_nobody_hears(14), 11);
}

/* ---- G15 ---- */

/* Target 2 has all but the last entry: TimeoutNow now would be ignored there, and never repeated.
 */
static bool timeout_now_goes_to_a_target_that_is_behind(int off)
{
    struct cluster *c = solo(3, off);
    struct proposal p[2];
    struct wire_message now;
    bool early;

    elect(c);
    for (size_t i = 0; i < 2; i++) {
        propose(c, 1, &p[i]);
        advance(c, HEARTBEAT);
        assert_int_equal(result(c, 3, 0, status_of(c, 1).last_index), 0);
    }
    assert_int_equal(status_of(c, 1).commit_index, 3);
    assert_int_equal(replica_transfer(node_of(c, 1)->replica, 2), 0);
    settle(c);
    assert_int_equal(result(c, 2, 0, 2), 0);
    early = take(c, 1, 2, WIRE_TIMEOUT_NOW, &now);
    if (!early) {
        assert_int_equal(result(c, 2, 0, 3), 0);
        assert_true(take(c, 1, 2, WIRE_TIMEOUT_NOW, &now));
        assert_int_equal(now.timeout_now.last_log_index, 3);
        /* Lost? It comes once more. */
        advance(c, 2 * HEARTBEAT);
        assert_true(take(c, 1, 2, WIRE_TIMEOUT_NOW, &now));
        assert_int_equal(now.timeout_now.last_log_index, 3);
    }
    cluster_free(c);
    return early;
}

static void g15_timeout_now_waits_until_the_target_has_everything(void **state)
{
    (void)state;
    assert_false(timeout_now_goes_to_a_target_that_is_behind(0));
    assert_true(timeout_now_goes_to_a_target_that_is_behind(15));
}

/* ---- G17 ---- */

static void g17_impossible_numbers_are_refused(void **state)
{
    static struct wire_entry falling[] = {{.term = 3, .type = RAFT_COMMAND},
                                          {.term = 2, .type = RAFT_COMMAND}};
    static struct wire_entry ahead[] = {{.term = 9, .type = RAFT_COMMAND}};
    static struct wire_entry odd[] = {{.term = 3, .type = 7}};
    static struct wire_entry first[] = {{.term = 1, .type = RAFT_COMMAND}};
    const uint64_t huge = UINT64_MAX - 1;
    const struct wire_message bad[] = {
        {.type = WIRE_APPEND, .append = {.term = 0}},
        {.type = WIRE_APPEND, .append = {.term = huge}},
        {.type = WIRE_APPEND, .append = {.term = 3, .prev_index = 1, .prev_term = 0}},
        {.type = WIRE_APPEND, .append = {.term = 3, .prev_index = 0, .prev_term = 1}},
        {.type = WIRE_APPEND, .append = {.term = 3, .prev_index = 1, .prev_term = 4}},
        {.type = WIRE_APPEND, .append = {.term = 3, .prev_index = huge, .prev_term = 1}},
        {.type = WIRE_APPEND,
         .append = {.term = 3, .prev_index = 1, .prev_term = 1, .entries = falling, .count = 2}},
        {.type = WIRE_APPEND,
         .append = {.term = 3, .prev_index = 1, .prev_term = 1, .entries = ahead, .count = 1}},
        {.type = WIRE_APPEND,
         .append = {.term = 3, .prev_index = 1, .prev_term = 1, .entries = odd, .count = 1}},
        {.type = WIRE_APPEND, .append = {.term = 3, .entries = first, .count = 1}},
        {.type = WIRE_APPEND_RESULT, .append_result = {.term = 0}},
        {.type = WIRE_APPEND_RESULT,
         .append_result = {.term = 3, .rejected = 4, .last_log_index = 4}},
        {.type = WIRE_APPEND_RESULT, .append_result = {.term = 3, .last_log_index = huge}},
        {.type = WIRE_VOTE, .vote = {.term = 0, .candidate_id = 2}},
        {.type = WIRE_VOTE, .vote = {.term = huge, .candidate_id = 2}},
        {.type = WIRE_VOTE, .vote = {.term = 3, .candidate_id = 3}},
        {.type = WIRE_VOTE, .vote = {.term = 3, .candidate_id = 2, .last_log_index = 1}},
        {.type = WIRE_VOTE_RESULT, .vote_result = {.term = 0}},
        {.type = WIRE_VOTE_RESULT, .vote_result = {.term = huge}},
        {.type = WIRE_TIMEOUT_NOW, .timeout_now = {.term = 3}},
        {.type = WIRE_COMMIT, .commit = {.term = 3}},
        {.type = WIRE_COMMIT, .commit = {.term = 3, .index = 2, .index_term = 4}},
        {.type = WIRE_FORWARD, .forward = {.term = 3, .seq = 0}},
        {.type = WIRE_FORWARD, .forward = {.term = 3, .seq = 2, .after = 2}},
        {.type = WIRE_FORWARD, .forward = {.term = 3, .seq = 2}},
    };
    struct cluster *c = solo(3, 0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (give(c, 2, 1, &bad[i]) != KV_EPROTO)
            fail_msg("case %zu of type %d was taken", i, (int)bad[i].type);
    assert_int_equal(status_of(c, 1).term, 1);
    cluster_free(c);
}

/* Without it, member 2 gets a vote of ours for member 3. */
static void g17_nobody_asks_for_votes_in_anothers_name(void **state)
{
    const struct wire_message vote = {
        .type = WIRE_VOTE,
        .vote = {.term = 3, .candidate_id = 3, .last_log_index = 9, .last_log_term = 2}};
    struct cluster *c = solo(3, 17);

    (void)state;
    assert_int_equal(give(c, 2, 1, &vote), 0);
    settle(c);
    assert_int_equal(status_of(c, 1).voted_for, 3);
    node_of(c, 1)->replica->guards_off = 0;
    assert_int_equal(give(c, 2, 1, &vote), KV_EPROTO);
    cluster_free(c);
}

static void g17_unknown_sender_is_refused(void **state)
{
    const struct wire_message probe = {.type = WIRE_PROBE, .round = {.term = 1, .round = 1}};
    struct cluster *c = solo(3, 0);

    (void)state;
    assert_int_equal(give(c, 99, 1, &probe), KV_EPROTO);
    assert_int_equal(give(c, 1, 1, &probe), KV_EPROTO); /* nor ourselves */
    assert_int_equal(give(c, 2, 1, &probe), 0);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(g1_success_beyond_what_was_sent_does_not_count),
        cmocka_unit_test(g1_outdated_append_is_not_answered_with_a_random_index),
        cmocka_unit_test(g2a_lone_voter_starts_in_a_new_term),
        cmocka_unit_test(g2b_leader_does_not_demote_itself),
        cmocka_unit_test(g2c_only_voter_left_takes_over_in_a_new_term),
        cmocka_unit_test(g3_append_of_our_own_term_while_we_lead_stops_the_member),
        cmocka_unit_test(g4_learner_votes_and_forgets_a_dead_leader),
        cmocka_unit_test(g5_configuration_that_is_cut_off_is_rolled_back),
        cmocka_unit_test(g5_configuration_before_a_new_one_counts_as_committed),
        cmocka_unit_test(g6_nothing_at_or_below_the_commit_index_is_delivered),
        cmocka_unit_test(g6_a_leader_that_lacks_what_is_committed_here_is_not_followed),
        cmocka_unit_test(g7_stale_rejection_does_not_silence_a_peer),
        cmocka_unit_test(g8_one_configuration_change_at_a_time),
        cmocka_unit_test(g9_learner_becomes_voter_when_it_has_the_log),
        cmocka_unit_test(g12_refused_pre_vote_tells_our_term),
        cmocka_unit_test(g13_late_pre_vote_result_changes_nothing),
        cmocka_unit_test(g14_unheard_candidate_raises_its_term_once),
        cmocka_unit_test(g15_timeout_now_waits_until_the_target_has_everything),
        cmocka_unit_test(g17_impossible_numbers_are_refused),
        cmocka_unit_test(g17_nobody_asks_for_votes_in_anothers_name),
        cmocka_unit_test(g17_unknown_sender_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
