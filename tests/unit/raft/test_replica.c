/* The replica as its owner sees it: elections, proposals, restarts, hand-over. */
#include "tests/unit/raft/cluster.h"

/* ---- start ---- */

static void new_cluster_elects_one_leader(void **state)
{
    struct cluster *c = cluster_start(3, 1);
    uint64_t lead;

    (void)state;
    lead = await_leader(c);
    advance(c, 3 * ELECTION);
    assert_int_equal(leader(c), lead);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(node_of(c, id)->leader, lead);
        assert_int_equal(status_of(c, id).term, status_of(c, lead).term);
    }
    cluster_free(c);
}

static void proposal_is_applied_once_on_every_member(void **state)
{
    struct cluster *c = cluster_start(3, 2);
    struct proposal p;
    uint64_t lead = await_leader(c);

    (void)state;
    propose(c, lead, &p);
    settle(c); /* no time passes: the commit index reaches followers at once */
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(times_applied(node_of(c, id), value_of(&p)), 1);
    assert_int_equal(status_of(c, lead).pending, 0);
    cluster_free(c);
}

static void proposals_of_one_turn_become_one_entry(void **state)
{
    struct cluster *c = cluster_start(3, 3);
    struct proposal p[50];
    uint64_t lead = await_leader(c);
    uint64_t last = status_of(c, lead).last_index;

    (void)state;
    for (size_t i = 0; i < 50; i++)
        propose(c, lead, &p[i]);
    settle(c);
    assert_int_equal(status_of(c, lead).last_index, last + 1);
    assert_int_equal(node_of(c, lead)->value_count, 50);
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(node_of(c, lead)->values[i], value_of(&p[i]));
    cluster_free(c);
}

static void follower_forwards_and_applies_without_waiting_for_time(void **state)
{
    struct cluster *c = cluster_start(3, 4);
    uint64_t lead = await_leader(c), follower = lead % 3 + 1;
    struct proposal p[20];

    (void)state;
    for (size_t i = 0; i < 20; i++)
        propose(c, follower, &p[i]);
    settle(c);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(times_applied(node_of(c, follower), value_of(&p[i])), 1);
    assert_int_equal(status_of(c, follower).pending, 0);
    cluster_free(c);
}

static void lone_voter_leads_at_once_and_in_a_new_term_after_each_restart(void **state)
{
    struct cluster *c = cluster_start(1, 5);
    struct proposal p;
    uint64_t term;

    (void)state;
    assert_int_equal(leader(c), 1);
    propose(c, 1, &p);
    settle(c);
    assert_int_equal(times_applied(node_of(c, 1), value_of(&p)), 1);
    term = status_of(c, 1).term;
    assert_int_equal(status_of(c, 1).voted_for, 1);

    node_crash(c, 1);
    node_open(c, 1);
    settle(c);
    assert_int_equal(leader(c), 1);
    assert_int_equal(status_of(c, 1).term, term + 1);
    assert_int_equal(times_applied(node_of(c, 1), value_of(&p)), 1);
    cluster_free(c);
}

static void r2_lone_voter_acknowledges_nothing_before_it_is_durable(void **state)
{
    struct cluster *c = cluster_start(1, 6);
    struct proposal p;

    (void)state;
    settle(c);
    node_of(c, 1)->disk_hangs = true;
    propose(c, 1, &p);
    settle(c);
    assert_int_equal(times_applied(node_of(c, 1), value_of(&p)), 0);
    node_of(c, 1)->disk_hangs = false;
    settle(c);
    assert_int_equal(times_applied(node_of(c, 1), value_of(&p)), 1);
    cluster_free(c);
}

/* ---- crashes ---- */

static void acknowledged_writes_survive_a_power_cut_of_all_members(void **state)
{
    struct cluster *c = cluster_start(3, 7);
    struct proposal p[30];

    (void)state;
    for (size_t i = 0; i < 30; i++) {
        propose(c, await_leader(c), &p[i]);
        settle(c);
    }
    for (uint64_t id = 1; id <= 3; id++)
        node_crash(c, id);
    for (uint64_t id = 1; id <= 3; id++)
        node_open(c, id);
    await_leader(c);
    advance(c, ELECTION);
    for (uint64_t id = 1; id <= 3; id++)
        for (size_t i = 0; i < 30; i++)
            assert_int_equal(times_applied(node_of(c, id), value_of(&p[i])), 1);
    cluster_free(c);
}

/* The leader's own disk hangs: two followers suffice, and it may apply what it has not stored. */
static void commit_does_not_wait_for_the_leaders_own_disk(void **state)
{
    struct cluster *c = cluster_start(3, 8);
    struct proposal p;
    uint64_t lead = await_leader(c);

    (void)state;
    node_of(c, lead)->disk_hangs = true;
    propose(c, lead, &p);
    settle(c);
    assert_int_equal(times_applied(node_of(c, lead), value_of(&p)), 1);
    assert_true(status_of(c, lead).commit_index > status_of(c, lead).stored_index);

    node_crash(c, lead); /* loses its copy */
    node_open(c, lead);
    await_leader(c);
    advance(c, ELECTION);
    assert_int_equal(times_applied(node_of(c, lead), value_of(&p)), 1);
    cluster_free(c);
}

static void leader_whose_disk_hangs_hands_over(void **state)
{
    struct cluster *c = cluster_start(3, 9);
    struct proposal p;
    uint64_t lead = await_leader(c);

    (void)state;
    node_of(c, lead)->disk_hangs = true;
    propose(c, lead, &p);
    advance(c, 3 * ELECTION);
    assert_int_not_equal(leader(c), lead);
    assert_int_not_equal(leader(c), 0);
    cluster_free(c);
}

/* A vote that is not on disk is no vote: crash before the sync, and the member may vote again. */
static void vote_leaves_only_after_it_is_durable(void **state)
{
    struct cluster *c = cluster_new(3, 10);
    struct wire_message vote = {
        .type = WIRE_VOTE,
        .vote = {.term = 5, .candidate_id = 2, .last_log_index = 9, .last_log_term = 4}};
    struct wire_message reply;

    (void)state;
    node_open(c, 1);
    settle(c);
    node_of(c, 1)->disk_hangs = true;
    assert_int_equal(give(c, 2, 1, &vote), 0);
    settle(c);
    assert_false(take(c, 1, 2, WIRE_VOTE_RESULT, &reply));
    node_of(c, 1)->disk_hangs = false;
    settle(c);
    assert_true(take(c, 1, 2, WIRE_VOTE_RESULT, &reply));
    assert_true(reply.vote_result.vote_granted);

    node_crash(c, 1);
    node_open(c, 1);
    settle(c);
    vote.vote.candidate_id = 3;
    assert_int_equal(give(c, 3, 1, &vote), 0);
    settle(c);
    assert_true(take(c, 1, 3, WIRE_VOTE_RESULT, &reply));
    assert_false(reply.vote_result.vote_granted);
    cluster_free(c);
}

static void restart_refuses_a_log_without_its_entries(void **state)
{
    struct cluster *c = cluster_new(3, 11);
    struct err err = ERR_INIT;
    struct node *node = node_of(c, 1);

    (void)state;
    node_open_wal(node);
    wal_append_hard_state(node->wal, (struct wal_hard_state){.term = 4, .voted_for = 2});
    assert_int_equal(wal_flush_sync(node->wal, NULL), 0);
    assert_int_equal(node_try_open(node, &err), KV_ECORRUPT);
    assert_non_null(strstr(err.text, "term 4"));
    node->replica = NULL;
    cluster_free(c);
}

static void restart_refuses_entries_that_make_no_sense(void **state)
{
    static const struct wal_entry bad[] = {
        {.index = 1, .term = 1, .type = RAFT_COMMAND},                             /* no CHANGE */
        {.index = 1, .term = 1, .type = RAFT_CHANGE, .data = {(void *)"\1\1", 2}}, /* cut short */
        {.index = 1, .term = 1, .type = 77},
        {.index = 1, .term = 9, .type = RAFT_COMMAND}, /* above the hard state */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct cluster *c = cluster_new(1, 12);
        struct node *node = node_of(c, 1);
        struct err err = ERR_INIT;

        node_open_wal(node);
        wal_append_hard_state(node->wal, (struct wal_hard_state){.term = 1});
        wal_append_entry(node->wal, &bad[i]);
        assert_int_equal(wal_flush_sync(node->wal, NULL), 0);
        assert_int_equal(node_try_open(node, &err), KV_ECORRUPT);
        node->replica = NULL;
        cluster_free(c);
    }
}

/* ---- failover ---- */

static void closed_connection_of_a_dead_leader_starts_an_election_at_once(void **state)
{
    struct cluster *c = cluster_start(3, 13);
    uint64_t lead = await_leader(c);
    uint64_t died;

    (void)state;
    advance(c, ELECTION);
    node_crash(c, lead);
    close_connections(c, lead);
    died = c->now_ms;
    while (leader(c) == 0 && c->now_ms < died + ELECTION)
        advance(c, 1);
    assert_int_not_equal(leader(c), 0);
    assert_true(c->now_ms - died <= 100); /* an election timeout would be ten times that */
    cluster_free(c);
}

static void closed_connection_does_not_unseat_a_leader_that_others_hear(void **state)
{
    struct cluster *c = cluster_start(3, 14);
    uint64_t lead = await_leader(c), other = lead % 3 + 1;
    uint64_t term = status_of(c, lead).term;

    (void)state;
    advance(c, ELECTION);
    replica_on_peer(node_of(c, other)->replica, lead, false);
    advance(c, 50);
    replica_on_peer(node_of(c, other)->replica, lead, true);
    advance(c, 3 * ELECTION);
    assert_int_equal(leader(c), lead);
    assert_int_equal(status_of(c, lead).term, term);
    assert_int_equal(node_of(c, other)->leader, lead);
    cluster_free(c);
}

static void leader_without_a_majority_steps_down(void **state)
{
    struct cluster *c = cluster_start(3, 15);
    uint64_t lead = await_leader(c);

    (void)state;
    isolate(c, lead, true);
    advance(c, 3 * ELECTION);
    assert_int_not_equal(node_of(c, lead)->role, REPLICA_LEADER);
    isolate(c, lead, false);
    advance(c, 3 * ELECTION);
    assert_int_not_equal(leader(c), 0);
    cluster_free(c);
}

/* ---- exactly once ---- */

/* The leader takes a command, tells nobody and is cut off; its successor never had it. */
static void command_lost_with_its_leader_is_proposed_again_and_applied_once(void **state)
{
    struct cluster *c = cluster_start(3, 16);
    uint64_t lead = await_leader(c);
    struct proposal own, forwarded;
    uint64_t follower = lead % 3 + 1;

    (void)state;
    advance(c, 100);
    for (uint64_t to = 1; to <= 3; to++)
        c->cut[lead][to] = true; /* hears, but is not heard */
    propose(c, lead, &own);
    propose(c, follower, &forwarded);
    advance(c, 5 * ELECTION);
    for (uint64_t to = 1; to <= 3; to++)
        c->cut[lead][to] = false;
    advance(c, 5 * ELECTION);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(times_applied(node_of(c, id), value_of(&own)), 1);
        assert_int_equal(times_applied(node_of(c, id), value_of(&forwarded)), 1);
    }
    cluster_free(c);
}

static bool lose_commits(struct cluster *c, const struct frame *frame)
{
    (void)c;
    return frame->bytes[0] == WIRE_COMMIT || frame->bytes[0] == WIRE_APPEND_RESULT;
}

/* It is in the logs but its leader does not know; the next leader commits it: not proposed again.
 */
static void command_that_survived_its_leader_is_not_proposed_again(void **state)
{
    struct cluster *c = cluster_start(3, 17);
    uint64_t lead = await_leader(c), follower = lead % 3 + 1;
    struct proposal p;

    (void)state;
    advance(c, 100);
    c->lose = lose_commits;
    propose(c, follower, &p);
    settle(c);
    assert_int_equal(times_applied(node_of(c, follower), value_of(&p)), 0);
    node_crash(c, lead);
    close_connections(c, lead);
    c->lose = NULL;
    await_leader(c);
    node_open(c, lead);
    advance(c, 3 * ELECTION);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(times_applied(node_of(c, id), value_of(&p)), 1);
    cluster_free(c);
}

static bool lose_half_of_the_forwards(struct cluster *c, const struct frame *frame)
{
    return (frame->bytes[0] == WIRE_FORWARD || frame->bytes[0] == WIRE_FORWARD_ACK) &&
           prng_chance(c->ctx, 500000);
}

static void lost_forwards_are_sent_again_and_taken_once(void **state)
{
    struct cluster *c = cluster_start(3, 18);
    uint64_t lead = await_leader(c), follower = lead % 3 + 1;
    struct proposal p[60];
    struct prng prng;

    (void)state;
    prng_seed(&prng, 18);
    c->lose = lose_half_of_the_forwards;
    c->ctx = &prng;
    for (size_t i = 0; i < 60; i++) {
        propose(c, follower, &p[i]);
        settle(c);
        if (i % 10 == 9)
            advance(c, 30);
    }
    advance(c, 5000);
    for (size_t i = 0; i < 60; i++)
        assert_int_equal(times_applied(node_of(c, lead), value_of(&p[i])), 1);
    assert_int_equal(leader(c), lead);
    assert_int_equal(status_of(c, follower).pending, 0);
    cluster_free(c);
}

static bool lose_forwards(struct cluster *c, const struct frame *frame)
{
    (void)c;
    return frame->bytes[0] == WIRE_FORWARD;
}

/* Clients gave up on everything that was under way; later commands still get through. */
static void forgotten_forwards_do_not_block_later_ones(void **state)
{
    struct cluster *c = cluster_start(3, 19);
    uint64_t follower = await_leader(c) % 3 + 1;
    struct proposal p[FORWARDS_MAX + 4], later;

    (void)state;
    c->lose = lose_forwards;
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        propose(c, follower, &p[i]);
        settle(c);
    }
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        forget(&p[i]);
    c->lose = NULL;
    propose(c, follower, &later);
    advance(c, 500);
    assert_int_equal(times_applied(node_of(c, follower), value_of(&later)), 1);
    cluster_free(c);
}

static void proposal_waits_while_there_is_no_leader(void **state)
{
    struct cluster *c = cluster_start(3, 20);
    struct proposal p;

    (void)state;
    propose(c, 1, &p);
    settle(c);
    assert_int_equal(p.base.term, 0); /* it never left */
    await_leader(c);
    advance(c, 200);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(times_applied(node_of(c, id), value_of(&p)), 1);
    cluster_free(c);
}

static void too_large_a_command_is_refused(void **state)
{
    struct cluster *c = cluster_start(1, 21);
    struct replica_proposal p = {0};
    uint8_t *bytes = xcalloc(1, COMMAND_SIZE_MAX + 1);

    (void)state;
    p.command = slice_of(bytes, COMMAND_SIZE_MAX + 1);
    assert_int_equal(replica_propose(node_of(c, 1)->replica, &p), KV_ETOOBIG);
    assert_false(p.queued);
    free(bytes);
    cluster_free(c);
}

/* Leaders come and go at random, frames are lost, members crash and lose what was not synced. */
static void nothing_is_applied_twice_under_random_faults(void **state)
{
    uint64_t seed_first = getenv("SEED") != NULL ? strtoull(getenv("SEED"), NULL, 10) : 1;
    uint64_t seed_last = getenv("SEED") != NULL ? seed_first : 12;

    (void)state;
    for (uint64_t seed = seed_first; seed <= seed_last; seed++) {
        struct cluster *c = cluster_start(3, seed);
        static struct proposal p[400];
        struct prng prng;
        size_t count = 0;

        print_message("seed %" PRIu64 " (SEED=%" PRIu64 " runs it alone)\n", seed, seed);
        prng_seed(&prng, seed);
        for (unsigned step = 0; step < 400; step++) {
            uint64_t id = prng_between(&prng, 1, 3), other = prng_between(&prng, 1, 3);

            switch (prng_between(&prng, 0, 11)) {
            case 0:
                c->cut[id][other] = true;
                break;
            case 1:
                memset(c->cut, 0, sizeof(c->cut));
                break;
            case 2:
                if (node_of(c, id)->replica != NULL && prng_chance(&prng, 300000)) {
                    node_crash(c, id);
                    close_connections(c, id);
                }
                break;
            case 3:
                if (node_of(c, id)->replica == NULL)
                    node_open(c, id);
                break;
            case 4:
                if (leader(c) != 0)
                    (void)replica_transfer(node_of(c, leader(c))->replica, 0);
                break;
            case 5:
                if (node_of(c, id)->replica != NULL)
                    node_of(c, id)->disk_hangs = !node_of(c, id)->disk_hangs;
                break;
            case 6:
                drop_frames(c, id, other);
                break;
            default:
                if (node_of(c, id)->replica != NULL && count < ARRAY_LEN(p))
                    propose(c, id, &p[count++]);
                break;
            }
            /* Half the steps happen with frames still under way. */
            if (prng_chance(&prng, 500000))
                advance(c, prng_between(&prng, 1, 400));
            else
                for (size_t i = 0; i < c->count; i++)
                    (void)node_work(&c->nodes[i]);
            for (uint64_t n = 1; n <= 3; n++)
                if (node_of(c, n)->fatal.code != 0)
                    fail_msg("member %" PRIu64 ": %s", n, node_of(c, n)->fatal.text);
        }
        memset(c->cut, 0, sizeof(c->cut));
        for (uint64_t id = 1; id <= 3; id++) {
            node_of(c, id)->disk_hangs = false;
            if (node_of(c, id)->replica == NULL)
                node_open(c, id);
        }
        advance(c, 10 * ELECTION);
        assert_int_not_equal(leader(c), 0);
        for (uint64_t id = 1; id <= 3; id++) {
            for (size_t i = 0; i < count; i++)
                assert_true(times_applied(node_of(c, id), value_of(&p[i])) <= 1);
            assert_int_equal(node_of(c, id)->applied, node_of(c, 1)->applied);
        }
        /* Nobody gave up, so whatever did not crash with its member is there. */
        assert_true(list_empty(&c->proposals));
        cluster_free(c);
    }
}

/* ---- hand-over ---- */

static void transfer_moves_leadership_and_loses_no_proposal(void **state)
{
    struct cluster *c = cluster_start(3, 22);
    uint64_t lead = await_leader(c), target = lead % 3 + 1;
    struct proposal p[10];

    (void)state;
    advance(c, 200);
    for (size_t i = 0; i < 5; i++)
        propose(c, lead, &p[i]);
    assert_int_equal(replica_transfer(node_of(c, lead)->replica, target), 0);
    for (size_t i = 5; i < 10; i++)
        propose(c, i % 2 == 0 ? lead : target, &p[i]);
    settle(c);
    assert_int_equal(leader(c), target);
    advance(c, 500);
    for (uint64_t id = 1; id <= 3; id++)
        for (size_t i = 0; i < 10; i++)
            assert_int_equal(times_applied(node_of(c, id), value_of(&p[i])), 1);
    cluster_free(c);
}

static void transfer_without_a_target_picks_the_member_that_has_most(void **state)
{
    struct cluster *c = cluster_start(3, 23);
    uint64_t lead = await_leader(c), behind = lead % 3 + 1;
    struct proposal p;

    (void)state;
    advance(c, 200);
    isolate(c, behind, true);
    propose(c, lead, &p);
    settle(c);
    assert_int_equal(replica_transfer(node_of(c, lead)->replica, 0), 0);
    settle(c);
    assert_int_equal(leader(c), 6 - lead - behind);
    cluster_free(c);
}

static void transfer_to_a_silent_member_is_given_up(void **state)
{
    struct cluster *c = cluster_start(3, 24);
    uint64_t lead = await_leader(c), silent = lead % 3 + 1;
    struct proposal p;

    (void)state;
    advance(c, 200);
    isolate(c, silent, true);
    propose(c, lead, &p);
    settle(c);
    assert_int_equal(replica_transfer(node_of(c, lead)->replica, silent), 0);
    propose(c, lead, &p);
    settle(c);
    assert_int_equal(times_applied(node_of(c, lead), value_of(&p)), 0);
    advance(c, ELECTION + HEARTBEAT);
    assert_int_equal(leader(c), lead);
    assert_int_equal(times_applied(node_of(c, lead), value_of(&p)), 1);
    cluster_free(c);
}

static void transfer_is_refused_where_it_makes_no_sense(void **state)
{
    struct cluster *c = cluster_start(3, 25);
    uint64_t lead = await_leader(c);
    struct cluster *lone = cluster_start(1, 25);

    (void)state;
    assert_int_equal(replica_transfer(node_of(c, lead % 3 + 1)->replica, 0), KV_ENOTLEADER);
    assert_int_equal(replica_transfer(node_of(c, lead)->replica, 99), KV_EINVAL);
    assert_int_equal(replica_transfer(node_of(lone, 1)->replica, 0), KV_ENOTFOUND);
    cluster_free(c);
    cluster_free(lone);
}

/* ---- memory ---- */

static void member_far_behind_catches_up_from_disk_in_bounded_memory(void **state)
{
    struct cluster *c = cluster_new(3, 26);
    struct proposal p[600];
    uint64_t lead, behind;

    (void)state;
    c->cache_bytes = 4096;
    for (uint64_t id = 1; id <= 3; id++)
        node_open(c, id);
    lead = await_leader(c);
    behind = lead % 3 + 1;
    isolate(c, behind, true);
    for (size_t i = 0; i < 600; i++) {
        propose(c, lead, &p[i]);
        settle(c);
    }
    assert_true(status_of(c, lead).cache_bytes <= 4096);
    isolate(c, behind, false);
    advance(c, 3 * ELECTION);
    assert_int_equal(node_of(c, behind)->value_count, 600);
    assert_true(status_of(c, behind).cache_bytes <= 4096);
    cluster_free(c);
}

/* ---- a disk that lies ---- */

/* A follower acknowledges 40 commands, and the power goes: the last 30 were never on its disk. */
static void follower_gets_again_what_its_disk_has_lost(void **state)
{
    struct cluster *c = cluster_start(3, 33);
    uint64_t lead = await_leader(c), liar = lead % 3 + 1;
    struct proposal p[40], more;

    (void)state;
    for (size_t i = 0; i < 40; i++) {
        memdisk_lie(node_of(c, liar)->disk, i >= 10);
        propose(c, lead, &p[i]);
        settle(c);
    }
    assert_int_equal(node_of(c, liar)->value_count, 40);
    node_crash(c, liar);
    close_connections(c, liar);
    memdisk_lie(node_of(c, liar)->disk, false);

    node_open(c, liar);
    assert_true(status_of(c, liar).last_index <= status_of(c, lead).last_index - 30);
    advance(c, 3 * HEARTBEAT);
    assert_int_equal(leader(c), lead);
    assert_int_equal(node_of(c, liar)->value_count, 40);
    assert_int_equal(node_of(c, lead)->losses, 1);
    propose(c, liar, &more);
    settle(c);
    assert_int_equal(node_of(c, liar)->value_count, 41);
    cluster_free(c);
}

static void restart_applies_a_long_log_in_slices(void **state)
{
    struct cluster *c = cluster_start(1, 28);
    struct node *node = node_of(c, 1);
    struct proposal p[1000];
    unsigned turns = 0;

    (void)state;
    settle(c);
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        propose(c, 1, &p[i]);
        settle(c);
    }
    node_crash(c, 1);
    node_open(c, 1);
    for (uint64_t before = 0; node->woken; before = node->applied, turns++) {
        (void)node_work(node);
        assert_true(node->applied - before <= APPLY_SLICE);
    }
    assert_int_equal(node->value_count, ARRAY_LEN(p));
    assert_true(turns >= ARRAY_LEN(p) / APPLY_SLICE);
    cluster_free(c);
}

static void largest_commands_pass_every_way(void **state)
{
    struct cluster *c = cluster_start(3, 29);
    uint64_t lead = await_leader(c), follower = lead % 3 + 1;
    uint8_t *bytes = xcalloc(1, COMMAND_SIZE_MAX);
    struct proposal small[2], large[2];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uint64_t id = i == 0 ? follower : lead;

        propose(c, id, &small[i]);
        propose(c, id, &large[i]);
        memcpy(bytes, large[i].bytes, 8);
        large[i].base.command = slice_of(bytes, COMMAND_SIZE_MAX);
        advance(c, HEARTBEAT);
    }
    assert_true(list_empty(&c->proposals));
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(node_of(c, id)->large_count, 2);
        assert_int_equal(node_of(c, id)->value_count, 2);
        assert_true(status_of(c, id).cache_bytes <= 4 << 20);
    }
    free(bytes);
    cluster_free(c);
}

/* The peer's queue is full: entries wait in the log, and go on when there is room. */
static void full_queue_to_a_peer_delays_entries_and_loses_none(void **state)
{
    struct cluster *c = cluster_start(3, 27);
    uint64_t lead = await_leader(c);
    struct proposal p[40];

    (void)state;
    advance(c, 200);
    node_of(c, lead)->send_queued = SEND_QUEUE_MAX;
    for (size_t i = 0; i < 40; i++) {
        propose(c, lead, &p[i]);
        settle(c);
    }
    assert_int_equal(node_of(c, lead)->value_count, 0);
    node_of(c, lead)->send_queued = 0;
    advance(c, 2 * HEARTBEAT);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(node_of(c, id)->value_count, 40);
    assert_int_equal(leader(c), lead);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_cluster_elects_one_leader),
        cmocka_unit_test(proposal_is_applied_once_on_every_member),
        cmocka_unit_test(proposals_of_one_turn_become_one_entry),
        cmocka_unit_test(follower_forwards_and_applies_without_waiting_for_time),
        cmocka_unit_test(lone_voter_leads_at_once_and_in_a_new_term_after_each_restart),
        cmocka_unit_test(r2_lone_voter_acknowledges_nothing_before_it_is_durable),
        cmocka_unit_test(acknowledged_writes_survive_a_power_cut_of_all_members),
        cmocka_unit_test(commit_does_not_wait_for_the_leaders_own_disk),
        cmocka_unit_test(leader_whose_disk_hangs_hands_over),
        cmocka_unit_test(vote_leaves_only_after_it_is_durable),
        cmocka_unit_test(restart_refuses_a_log_without_its_entries),
        cmocka_unit_test(restart_refuses_entries_that_make_no_sense),
        cmocka_unit_test(closed_connection_of_a_dead_leader_starts_an_election_at_once),
        cmocka_unit_test(closed_connection_does_not_unseat_a_leader_that_others_hear),
        cmocka_unit_test(leader_without_a_majority_steps_down),
        cmocka_unit_test(command_lost_with_its_leader_is_proposed_again_and_applied_once),
        cmocka_unit_test(command_that_survived_its_leader_is_not_proposed_again),
        cmocka_unit_test(lost_forwards_are_sent_again_and_taken_once),
        cmocka_unit_test(forgotten_forwards_do_not_block_later_ones),
        cmocka_unit_test(proposal_waits_while_there_is_no_leader),
        cmocka_unit_test(too_large_a_command_is_refused),
        cmocka_unit_test(nothing_is_applied_twice_under_random_faults),
        cmocka_unit_test(transfer_moves_leadership_and_loses_no_proposal),
        cmocka_unit_test(transfer_without_a_target_picks_the_member_that_has_most),
        cmocka_unit_test(transfer_to_a_silent_member_is_given_up),
        cmocka_unit_test(transfer_is_refused_where_it_makes_no_sense),
        cmocka_unit_test(member_far_behind_catches_up_from_disk_in_bounded_memory),
        cmocka_unit_test(follower_gets_again_what_its_disk_has_lost),
        cmocka_unit_test(restart_applies_a_long_log_in_slices),
        cmocka_unit_test(largest_commands_pass_every_way),
        cmocka_unit_test(full_queue_to_a_peer_delays_entries_and_loses_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
