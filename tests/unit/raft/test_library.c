/* The two runs in which libraft 0.15.0 lost acknowledged writes, against whatever library is linked
 * and through our driver. cluster.h checks that all members apply the same at every index. */
#include "tests/unit/raft/cluster.h"

/* A copy of an AppendEntries frame with other contents, in place of the original. */
static void put_append(struct cluster *c, const struct frame *frame, struct wire_append *append)
{
    struct buf buf;

    buf_init(&buf, WIRE_FRAME_SIZE_MAX);
    wire_append_begin(&buf, append);
    for (unsigned i = 0; i < append->count; i++)
        wire_append_entry(&buf, append->entries[i].term, append->entries[i].type,
                          append->entries[i].data);
    wire_append_end(&buf, append->count, append->commit);
    put_frame(c, frame->from, frame->to, buf_slice(&buf));
    buf_release(&buf);
}

/* ---- Raft figure 8 ---- */

/* Step (c): S1 brings entry 2 to S2 and S3, and nothing of its own new term. */
static bool only_up_to_entry_two(struct cluster *c, const struct frame *frame)
{
    struct wire_message message;
    bool lose = false;

    if (frame->from != 1 || frame->bytes[0] != WIRE_APPEND)
        return false;
    if (frame->to == 4)
        return true;
    assert_int_equal(wire_decode(slice_of(frame->bytes, frame->len), &message, NULL), 0);
    if (message.append.count > 0 && message.append.prev_index + message.append.count > 2) {
        message.append.count = message.append.prev_index >= 2 ? 0 : 1;
        put_append(c, frame, &message.append);
        lose = true;
    }
    wire_release(&message);
    return lose;
}

static void entry_of_an_earlier_term_is_not_committed_by_counting_copies(void **state)
{
    struct cluster *c = cluster_start(5, 8);
    struct proposal a, b;

    (void)state;
    /* (a) S1 leads and brings entry 2 to S2 only. */
    make_leader(c, 1);
    c->cut[1][3] = c->cut[1][4] = c->cut[1][5] = true;
    propose(c, 1, &a);
    settle(c);
    assert_int_equal(status_of(c, 1).last_index, 2);
    assert_int_equal(status_of(c, 2).last_index, 2);

    /* (b) S1 crashes; S5, elected by S3 and S4, puts another entry at 2, nobody else has it. */
    node_crash(c, 1);
    close_connections(c, 1);
    isolate(c, 2, true);
    make_leader(c, 5);
    isolate(c, 5, true);
    propose(c, 5, &b);
    settle(c);
    assert_int_equal(status_of(c, 5).last_index, 2);

    /* (c) S5 crashes; S1 comes back, is elected and brings its old entry 2 to S3: three copies. */
    node_crash(c, 5);
    close_connections(c, 5);
    memset(c->cut, 0, sizeof(c->cut));
    c->lose = only_up_to_entry_two;
    node_open(c, 1);
    settle(c);
    make_leader(c, 1);
    advance(c, 3 * HEARTBEAT);
    assert_int_equal(leader(c), 1);
    assert_int_equal(status_of(c, 3).last_index, 2);
    assert_true(replica__peer(node_of(c, 1)->replica, 3) != NULL);
    {
        uint64_t match = 0;

        assert_true(replica_match(node_of(c, 1)->replica, 2, &match) && match == 2);
        assert_true(replica_match(node_of(c, 1)->replica, 3, &match) && match == 2);
    }
    assert_int_equal(status_of(c, 1).commit_index, 1);

    /* (d) S1 crashes; S5 can still be elected, and its entry 2 replaces the other everywhere. */
    node_crash(c, 1);
    close_connections(c, 1);
    c->lose = NULL;
    node_open(c, 5);
    settle(c);
    make_leader(c, 5);
    node_open(c, 1);
    advance(c, ELECTION);
    for (uint64_t id = 1; id <= 5; id++) {
        assert_int_equal(times_applied(node_of(c, id), value_of(&a)), 0);
        assert_int_equal(times_applied(node_of(c, id), value_of(&b)), 1);
    }
    cluster_free(c);
}

/* (e) of the figure: with an entry of its own term on a majority, the old one is committed too. */
static void entry_of_the_own_term_commits_the_earlier_ones(void **state)
{
    struct cluster *c = cluster_start(5, 81);
    struct proposal a;

    (void)state;
    make_leader(c, 1);
    c->cut[1][3] = c->cut[1][4] = c->cut[1][5] = true;
    propose(c, 1, &a);
    settle(c);
    node_crash(c, 1);
    close_connections(c, 1);
    memset(c->cut, 0, sizeof(c->cut));
    node_open(c, 1);
    settle(c);
    make_leader(c, 1);
    advance(c, HEARTBEAT);
    for (uint64_t id = 1; id <= 5; id++)
        assert_int_equal(times_applied(node_of(c, id), value_of(&a)), 1);
    cluster_free(c);
}

/* ---- the acknowledged tail ---- */

/* B's messages reach A only as heartbeats at entry 1, below A's unverified tail. */
static bool only_heartbeats_at_one(struct cluster *c, const struct frame *frame)
{
    struct wire_append at_one = {.prev_index = 1, .prev_term = 1, .commit = 1};
    struct wire_message message;

    if (frame->from != 2 || frame->to != 1 || frame->bytes[0] != WIRE_APPEND)
        return false;
    assert_int_equal(wire_decode(slice_of(frame->bytes, frame->len), &message, NULL), 0);
    at_one.term = message.append.term;
    at_one.lead_index = message.append.lead_index;
    if (message.append.count == 0 && message.append.prev_index == 1) {
        wire_release(&message);
        return false;
    }
    wire_release(&message);
    put_append(c, frame, &at_one);
    return true;
}

static void follower_acknowledges_what_the_leader_verified_not_its_tail(void **state)
{
    struct cluster *c = cluster_start(3, 9);
    struct proposal lost[3], kept[3];

    (void)state;
    /* A leads and appends three entries that nobody gets. */
    make_leader(c, 1);
    isolate(c, 1, true);
    for (size_t i = 0; i < 3; i++) {
        propose(c, 1, &lost[i]);
        settle(c);
    }
    assert_int_equal(status_of(c, 1).last_index, 4);

    /* B leads and appends three others; C is cut off; A hears heartbeats only. */
    replica_on_peer(node_of(c, 2)->replica, 1, false);
    replica_on_peer(node_of(c, 3)->replica, 1, false);
    replica_on_peer(node_of(c, 2)->replica, 1, true);
    replica_on_peer(node_of(c, 3)->replica, 1, true);
    make_leader(c, 2);
    for (size_t i = 0; i < 3; i++) {
        isolate(c, 3, true);
        propose(c, 2, &kept[i]);
        settle(c);
    }
    for (size_t i = 0; i < 3; i++)
        forget(&lost[i]); /* else A would propose them again, rightly */
    c->cut[1][2] = c->cut[2][1] = false;
    c->lose = only_heartbeats_at_one;
    advance(c, 5 * HEARTBEAT);
    assert_int_equal(leader(c), 2);
    assert_int_equal(status_of(c, 1).term, status_of(c, 2).term);
    assert_int_equal(status_of(c, 1).last_index, 4);
    assert_int_equal(status_of(c, 2).commit_index, 1); /* only B has them */
    assert_int_equal(node_of(c, 2)->value_count, 0);

    /* B dies with the only copies: they were never acknowledged, and nobody diverges. */
    node_crash(c, 2);
    close_connections(c, 2);
    c->lose = NULL;
    memset(c->cut, 0, sizeof(c->cut));
    await_leader(c);
    node_open(c, 2);
    advance(c, 3 * ELECTION);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(status_of(c, id).commit_index, status_of(c, 1).commit_index);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entry_of_an_earlier_term_is_not_committed_by_counting_copies),
        cmocka_unit_test(entry_of_the_own_term_commits_the_earlier_ones),
        cmocka_unit_test(follower_acknowledges_what_the_leader_verified_not_its_tail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
