/* How long a cluster is without a leader: many seeds in virtual time, over a network and disks that
 * take theirs. What is asserted is the distribution. Seeds are 1, 2, 3 ...; a failure names its
 * own. */
#include "tests/unit/raft/cluster.h"

#include "base/prng.h"

enum {
    RUNS = 100,
    PROPOSALS_MAX = 1000,
    PROPOSAL_EVERY_MS = 4,
    ARRIVES_PPM = 600000, /* of the frames under way on a connection, in each millisecond */
    SYNCED_PPM = 150000,  /* of the disks that sync: 6.7 ms in the mean */
    GIVEN_UP_MS = 20 * ELECTION,
};

enum fault { LEADER_DIES, LEADER_IS_CUT_OFF };

struct scene {
    size_t members;
    enum fault fault;
    bool writes;        /* clients write all the time */
    bool first_is_dead; /* one other member is down already */
    uint64_t apart_ms;  /* so late each member hears of the end, after the one before it */
};

struct run {
    struct cluster *cluster;
    struct prng prng;
    struct proposal *proposals;
    size_t proposal_count;
    bool writes;
};

/* ---- a millisecond ---- */

static void fire_timers(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++) {
        struct node *node = &c->nodes[i];

        if (node->replica == NULL || node->timer_ms == 0 || node->timer_ms > c->now_ms)
            continue;
        node->timer_ms = 0;
        replica_on_timer(node->replica);
    }
}

/* Each connection has its own delay, and keeps its order. What is sent meanwhile comes later. */
static void deliver_some(struct run *run)
{
    struct cluster *c = run->cluster;
    bool waits[NODES_MAX + 1][NODES_MAX + 1] = {{false}};
    struct list arrived;

    list_init(&arrived);
    LIST_EACH_SAFE (at, &c->frames) {
        struct frame *frame = LIST_ENTRY(at, struct frame, link);

        if (node_of(c, frame->to)->replica == NULL || waits[frame->from][frame->to])
            continue;
        if (!prng_chance(&run->prng, ARRIVES_PPM)) {
            waits[frame->from][frame->to] = true;
            continue;
        }
        list_remove(at);
        list_push_back(&arrived, at);
    }
    while (!list_empty(&arrived))
        deliver(c, LIST_FIRST(&arrived, struct frame, link));
}

static void work(struct run *run)
{
    struct cluster *c = run->cluster;

    for (size_t i = 0; i < c->count; i++) {
        struct node *node = &c->nodes[i];

        if (node->replica != NULL && node->flush_wanted && prng_chance(&run->prng, SYNCED_PPM))
            node_flush(node);
        while (node->replica != NULL && node->woken) {
            node->woken = false;
            replica_turn(node->replica);
        }
    }
}

static void write_some(struct run *run)
{
    struct cluster *c = run->cluster;
    uint64_t id = prng_between(&run->prng, 1, c->count);

    if (!run->writes || c->now_ms % PROPOSAL_EVERY_MS != 0 || node_of(c, id)->replica == NULL ||
        run->proposal_count == PROPOSALS_MAX)
        return;
    propose(c, id, &run->proposals[run->proposal_count++]);
}

static void pass(struct run *run, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        run->cluster->now_ms++;
        fire_timers(run->cluster);
        deliver_some(run);
        write_some(run);
        work(run);
    }
}

/* ---- a fault ---- */

/* The others do not see it at the same moment. */
static void kill_member(struct run *run, uint64_t id, uint64_t apart_ms)
{
    struct cluster *c = run->cluster;

    node_crash(c, id);
    for (uint64_t other = 1; other <= c->count; other++) {
        if (other == id || node_of(c, other)->replica == NULL)
            continue;
        pass(run, prng_between(&run->prng, 0, apart_ms));
        replica_on_peer(node_of(c, other)->replica, id, false);
    }
}

static uint64_t leader_after(const struct cluster *c, uint64_t term)
{
    uint64_t id = leader(c);

    return id != 0 && node_of((struct cluster *)c, id)->term > term ? id : 0;
}

static uint64_t time_without_leader(const struct scene *scene, uint64_t seed)
{
    struct run run = {.writes = scene->writes};
    struct cluster *c = cluster_start(scene->members, seed);
    uint64_t old, term, began;

    run.cluster = c;
    run.proposals = xcalloc(PROPOSALS_MAX, sizeof(*run.proposals));
    prng_seed(&run.prng, seed);
    old = await_leader(c);
    if (scene->first_is_dead)
        kill_member(&run, old % scene->members + 1, 1);
    pass(&run, ELECTION + prng_between(&run.prng, 0, HEARTBEAT));
    while (leader(c) == 0)
        pass(&run, 1);
    old = leader(c);
    term = node_of(c, old)->term;
    began = c->now_ms;
    if (scene->fault == LEADER_DIES)
        kill_member(&run, old, scene->apart_ms);
    else
        isolate(c, old, true);
    while (leader_after(c, term) == 0 && c->now_ms < began + GIVEN_UP_MS)
        pass(&run, 1);
    if (leader_after(c, term) == 0)
        fail_msg("seed %" PRIu64 ": no leader", seed);
    began = c->now_ms - began;
    cluster_free(c);
    free(run.proposals);
    return began;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void within(struct scene scene, uint64_t median, uint64_t longest)
{
    uint64_t times[RUNS];

    for (uint64_t i = 0; i < RUNS; i++)
        times[i] = time_without_leader(&scene, i + 1);
    qsort(times, RUNS, sizeof(times[0]), ascending);
    print_message("%zu members, %s: median %" PRIu64 " ms, 90 %% %" PRIu64 ", longest %" PRIu64
                  "\n",
                  scene.members, scene.writes ? "writing" : "idle", times[RUNS / 2],
                  times[RUNS * 9 / 10], times[RUNS - 1]);
    assert_true(times[RUNS / 2] <= median);
    assert_true(times[RUNS - 1] <= longest);
}

/* ---- the tests ---- */

static void killed_leader_is_replaced_at_once(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct scene scene = {
            .members = i < 2 ? 3 : 5, .fault = LEADER_DIES, .writes = i % 2 != 0, .apart_ms = 1};

        within(scene, 60, 200);
    }
}

static void killed_leader_is_replaced_at_once_if_its_successor_is_down_too(void **state)
{
    (void)state;
    within((struct scene){.members = 5,
                          .fault = LEADER_DIES,
                          .writes = true,
                          .first_is_dead = true,
                          .apart_ms = 1},
           150, 300);
}

static void killed_leader_is_replaced_soon_by_members_that_notice_late(void **state)
{
    struct scene scene = {.fault = LEADER_DIES, .writes = true, .apart_ms = 40};

    (void)state;
    for (scene.members = 3; scene.members <= 5; scene.members += 2)
        within(scene, 150, 400);
}

static void silent_leader_is_replaced_soon_after_an_election_timeout(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct scene scene = {
            .members = i < 2 ? 3 : 5, .fault = LEADER_IS_CUT_OFF, .writes = i % 2 != 0};

        within(scene, ELECTION * 11 / 10, ELECTION * 13 / 10);
    }
}

/* ---- without asking first ---- */

static struct cluster *cut_off_a_follower(bool no_pre_vote, uint64_t *lead, uint64_t *other)
{
    struct cluster *c = cluster_new(3, 31);

    c->no_pre_vote = no_pre_vote;
    for (uint64_t id = 1; id <= 3; id++)
        node_open(c, id);
    *lead = await_leader(c);
    *other = *lead % 3 + 1;
    advance(c, ELECTION);
    isolate(c, *other, true);
    advance(c, 10 * ELECTION);
    return c;
}

static void member_that_asks_first_comes_back_in_its_old_term(void **state)
{
    uint64_t lead, other;
    struct cluster *c = cut_off_a_follower(false, &lead, &other);
    uint64_t term = status_of(c, lead).term;

    (void)state;
    assert_int_equal(status_of(c, other).term, term);
    isolate(c, other, false);
    advance(c, 2 * ELECTION);
    assert_int_equal(leader(c), lead);
    assert_int_equal(status_of(c, lead).term, term);
    cluster_free(c);
}

/* As etcd's --pre-vote=false. */
static void member_without_pre_vote_raises_its_term_alone_and_unseats_the_leader(void **state)
{
    uint64_t lead, other;
    struct cluster *c = cut_off_a_follower(true, &lead, &other);
    uint64_t term = status_of(c, lead).term;

    (void)state;
    assert_true(status_of(c, other).term > term + 3);
    isolate(c, other, false);
    advance(c, 4 * ELECTION);
    assert_int_not_equal(leader(c), 0);
    assert_true(status_of(c, leader(c)).term > term + 3);
    cluster_free(c);
}

/* Its connection alone says nothing of a leader, and nobody else is asked. */
static void broken_connection_is_no_reason_to_stand_without_pre_vote(void **state)
{
    struct cluster *c = cluster_new(3, 32);
    uint64_t lead, other, term;

    (void)state;
    c->no_pre_vote = true;
    for (uint64_t id = 1; id <= 3; id++)
        node_open(c, id);
    lead = await_leader(c);
    other = lead % 3 + 1;
    term = status_of(c, lead).term;
    advance(c, ELECTION);
    replica_on_peer(node_of(c, other)->replica, lead, false);
    advance(c, 4 * HEARTBEAT);
    replica_on_peer(node_of(c, other)->replica, lead, true);
    advance(c, 3 * ELECTION);
    assert_int_equal(leader(c), lead);
    assert_int_equal(status_of(c, lead).term, term);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_leader_is_replaced_at_once),
        cmocka_unit_test(killed_leader_is_replaced_at_once_if_its_successor_is_down_too),
        cmocka_unit_test(killed_leader_is_replaced_soon_by_members_that_notice_late),
        cmocka_unit_test(silent_leader_is_replaced_soon_after_an_election_timeout),
        cmocka_unit_test(member_that_asks_first_comes_back_in_its_old_term),
        cmocka_unit_test(member_without_pre_vote_raises_its_term_alone_and_unseats_the_leader),
        cmocka_unit_test(broken_connection_is_no_reason_to_stand_without_pre_vote),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
