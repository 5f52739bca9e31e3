/* Members that come, go and change while the cluster runs. */
#include "tests/unit/raft/cluster.h"

static const struct replica_member ALONE[] = {{1, "http://a:1", true}};
static const struct replica_member LEARNS[] = {{1, "http://a:1", true}, {2, "http://b:1", false}};
static const struct replica_member VOTES[] = {{1, "http://a:1", true}, {2, "http://b:1", true}};
static const struct replica_member MOVED[] = {{1, "http://a:1", true}, {2, "http://b:2", true}};
static const struct replica_member SWAPPED[] = {{2, "http://b:1", true}, {1, "http://a:1", true}};
static const struct replica_member OTHER[] = {{1, "http://a:1", true}, {3, "http://c:1", true}};
static const struct replica_member WITHOUT_1[] = {{2, "http://b:2", true}};

static struct cluster *founded_by_one(size_t count)
{
    struct cluster *c = cluster_new(count, 1);

    c->founders = 1;
    for (uint64_t id = 1; id <= count; id++)
        node_open(c, id);
    assert_int_equal(leader(c), 1);
    return c;
}

static int change(struct cluster *c, uint64_t id, const struct replica_member *to, size_t count)
{
    int rc = replica_change(node_of(c, id)->replica, to, count);

    settle(c);
    return rc;
}

/* Until the configuration is committed everywhere and the learner may vote. */
static void catch_up(struct cluster *c)
{
    for (int i = 0; i < 5; i++) {
        advance(c, HEARTBEAT);
        settle(c);
    }
}

static void in_force(struct cluster *c, uint64_t id, struct replica_configuration *out)
{
    replica_configuration(node_of(c, id)->replica, out);
}

static void grow_to_two(struct cluster *c)
{
    assert_int_equal(change(c, 1, LEARNS, 2), 0);
    catch_up(c);
    assert_int_equal(change(c, 1, VOTES, 2), 0);
    catch_up(c);
}

static void member_that_joins_waits_for_the_leader_and_gets_all(void **state)
{
    struct cluster *c = founded_by_one(2);
    struct replica_configuration now;
    struct proposal p[2];

    (void)state;
    in_force(c, 2, &now);
    assert_int_equal(now.count, 0);
    propose(c, 1, &p[0]);
    settle(c);
    for (int i = 0; i < 50; i++)
        advance(c, HEARTBEAT);
    assert_int_equal(status_of(c, 2).term, 0); /* it asks nobody for votes */
    assert_int_equal(status_of(c, 2).last_index, 0);

    grow_to_two(c);
    propose(c, 1, &p[1]);
    catch_up(c);
    assert_true(list_empty(&c->proposals));
    assert_int_equal(node_of(c, 2)->value_count, 2);
    in_force(c, 2, &now);
    assert_int_equal(now.count, 2);
    assert_true(now.committed && now.members[1].voter);
    assert_string_equal(now.members[1].address, "http://b:1");
    cluster_free(c);
}

/* Restarted before and after the first entry has come. */
static void member_that_joins_may_be_restarted_at_any_time(void **state)
{
    struct cluster *c = founded_by_one(2);
    struct proposal p;

    (void)state;
    node_crash(c, 2);
    node_open(c, 2);
    assert_int_equal(status_of(c, 2).last_index, 0);
    assert_int_equal(change(c, 1, LEARNS, 2), 0);
    catch_up(c);
    node_crash(c, 2);
    node_open(c, 2);
    assert_true(status_of(c, 2).last_index >= 2);
    assert_int_equal(change(c, 1, VOTES, 2), 0);
    catch_up(c);
    node_crash(c, 1);
    node_open(c, 1);
    for (int i = 0; i < 50; i++) {
        advance(c, HEARTBEAT);
        settle(c);
    }
    propose(c, 2, &p);
    catch_up(c);
    assert_true(list_empty(&c->proposals));
    cluster_free(c);
}

static void learner_that_has_nothing_gets_no_vote(void **state)
{
    struct cluster *c = founded_by_one(2);

    (void)state;
    c->cut[1][2] = true;
    assert_int_equal(change(c, 1, LEARNS, 2), 0);
    assert_int_equal(change(c, 1, VOTES, 2), KV_EBUSY);
    c->cut[1][2] = false;
    catch_up(c);
    assert_int_equal(change(c, 1, VOTES, 2), 0);
    cluster_free(c);
}

static void one_member_differs_and_the_others_keep_their_place(void **state)
{
    struct cluster *c = founded_by_one(3);

    (void)state;
    grow_to_two(c);
    assert_int_equal(change(c, 1, SWAPPED, 2), KV_EINVAL);
    assert_int_equal(change(c, 1, OTHER, 2), KV_EINVAL);
    assert_int_equal(change(c, 1, VOTES, 0), KV_EINVAL);
    assert_int_equal(change(c, 2, MOVED, 2), KV_ENOTLEADER);
    assert_int_equal(change(c, 1, MOVED, 2), 0);
    catch_up(c);
    cluster_free(c);
}

/* Who is removed is heard no more; the leader first gives up leading. */
static void leader_is_removed_by_its_successor(void **state)
{
    struct cluster *c = founded_by_one(2);
    struct replica_configuration now;
    struct proposal p;

    (void)state;
    grow_to_two(c);
    assert_int_equal(change(c, 1, MOVED, 2), 0);
    catch_up(c);
    assert_int_equal(change(c, 1, WITHOUT_1, 1), KV_EINVAL);
    assert_int_equal(replica_transfer(node_of(c, 1)->replica, 2), 0);
    catch_up(c);
    assert_int_equal(node_of(c, 2)->role, REPLICA_LEADER);
    assert_int_equal(change(c, 2, WITHOUT_1, 1), 0);
    in_force(c, 2, &now);
    assert_int_equal(now.count, 1);
    c->cut[1][2] = c->cut[2][1] = true;
    propose(c, 2, &p);
    catch_up(c);
    assert_true(list_empty(&c->proposals)); /* alone, it is a quorum */
    cluster_free(c);
}

/* A removed member that was never told campaigns in vain, and nobody's term rises. */
static void member_removed_unknowingly_disturbs_nobody(void **state)
{
    struct cluster *c = founded_by_one(2);
    uint64_t term;

    (void)state;
    grow_to_two(c);
    c->cut[1][2] = true;
    assert_int_equal(change(c, 1, ALONE, 1), 0);
    c->cut[1][2] = false;
    catch_up(c);
    term = status_of(c, 1).term;
    for (int i = 0; i < 50; i++) {
        advance(c, HEARTBEAT);
        settle(c);
    }
    assert_int_equal(node_of(c, 1)->role, REPLICA_LEADER);
    assert_int_equal(status_of(c, 1).term, term);
    cluster_free(c);
}

static void on_read(struct replica_read *read, int status)
{
    assert_int_equal(status, 0);
    read->index = UINT64_MAX; /* ours from here on: it was answered */
}

/* The only yes that a read still waits for is one of a member that is none any more. */
static void read_is_answered_when_who_it_waits_for_is_removed(void **state)
{
    struct cluster *c = founded_by_one(2);
    struct replica_read read = {.cb = on_read};

    (void)state;
    grow_to_two(c);
    c->cut[2][1] = true;
    assert_false(replica_read(node_of(c, 1)->replica, &read));
    settle(c);
    assert_true(read.queued);
    assert_int_equal(change(c, 1, ALONE, 1), 0);
    catch_up(c);
    assert_false(read.queued);
    assert_true(read.index == UINT64_MAX);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(member_that_joins_waits_for_the_leader_and_gets_all),
        cmocka_unit_test(member_that_joins_may_be_restarted_at_any_time),
        cmocka_unit_test(learner_that_has_nothing_gets_no_vote),
        cmocka_unit_test(one_member_differs_and_the_others_keep_their_place),
        cmocka_unit_test(leader_is_removed_by_its_successor),
        cmocka_unit_test(member_removed_unknowingly_disturbs_nobody),
        cmocka_unit_test(read_is_answered_when_who_it_waits_for_is_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
