/* Linearizable reads: never stale, one round for many, whoever is asked. */
#include "tests/unit/raft/cluster.h"

struct read {
    struct replica_read base;
    struct node *node;
    bool done;
    size_t seen; /* commands applied on the member when the read was answered */
};

static void on_read(struct replica_read *base, int status)
{
    struct read *read = CONTAINER_OF(base, struct read, base);

    assert_int_equal(status, 0);
    assert_false(read->done);
    read->done = true;
    read->seen = read->node->value_count;
}

static bool start_read(struct cluster *c, uint64_t id, struct read *read)
{
    memset(read, 0, sizeof(*read));
    read->node = node_of(c, id);
    read->base.cb = on_read;
    return replica_read(read->node->replica, &read->base);
}

static void write_one(struct cluster *c, uint64_t id)
{
    struct proposal p;

    propose(c, id, &p);
    settle(c);
    assert_int_equal(times_applied(node_of(c, id), value_of(&p)), 1);
}

static void read_on_any_member_sees_what_was_acknowledged_before_it(void **state)
{
    struct cluster *c = cluster_start(3, 1);
    struct read read;
    uint64_t lead = await_leader(c);

    (void)state;
    for (unsigned i = 1; i <= 30; i++) {
        uint64_t id = i % 3 + 1;

        write_one(c, lead);
        assert_false(start_read(c, id, &read));
        settle(c);
        assert_true(read.done);
        assert_true(read.seen >= i);
    }
    cluster_free(c);
}

static void lone_voter_is_read_at_once(void **state)
{
    struct cluster *c = cluster_start(1, 2);
    struct read read;

    (void)state;
    settle(c);
    write_one(c, 1);
    assert_true(start_read(c, 1, &read));
    settle(c);
    assert_false(read.done); /* its callback does not fire */
    cluster_free(c);
}

/* Counts probes, loses none. */
static bool count_probes(struct cluster *c, const struct frame *frame)
{
    *(unsigned *)c->ctx += frame->bytes[0] == WIRE_PROBE;
    return false;
}

static void many_reads_share_one_round_and_no_log_entry(void **state)
{
    struct cluster *c = cluster_start(3, 3);
    static struct read reads[300];
    uint64_t lead = await_leader(c);
    uint64_t last = status_of(c, lead).last_index;
    unsigned probes = 0;

    (void)state;
    c->lose = count_probes;
    c->ctx = &probes;
    for (size_t i = 0; i < ARRAY_LEN(reads); i++)
        assert_false(start_read(c, lead, &reads[i]));
    settle(c);
    for (size_t i = 0; i < ARRAY_LEN(reads); i++)
        assert_true(reads[i].done);
    assert_int_equal(probes, 2); /* one to each of the others */
    assert_int_equal(status_of(c, lead).last_index, last);
    cluster_free(c);
}

static bool lose_probe_acks(struct cluster *c, const struct frame *frame)
{
    (void)c;
    return frame->bytes[0] == WIRE_PROBE_ACK;
}

/* The first round hangs; a write is acknowledged; a second read comes. The answer of the first
 * round, when it arrives at last, is no answer to the second read. */
static void read_is_not_answered_by_a_round_that_began_before_it(void **state)
{
    struct cluster *c = cluster_start(3, 4);
    struct read first, second;
    uint64_t lead = await_leader(c);
    struct replica *r = node_of(c, lead)->replica;
    uint64_t round;

    (void)state;
    write_one(c, lead);
    c->lose = lose_probe_acks;
    assert_false(start_read(c, lead, &first));
    settle(c);
    round = r->round;
    assert_true(r->round_active);
    write_one(c, lead);
    assert_false(start_read(c, lead, &second));
    settle(c);
    assert_int_equal(r->round, round); /* one at a time */
    assert_true(first.base.queued && second.base.queued);

    c->lose = NULL;
    {
        struct wire_message yes = {.type = WIRE_PROBE_ACK,
                                   .round = {.term = status_of(c, lead).term, .round = round}};

        assert_int_equal(give(c, lead % 3 + 1, lead, &yes), 0);
    }
    assert_int_equal(first.base.index, status_of(c, lead).commit_index - 1);
    assert_int_equal(second.base.index, 0);
    settle(c);
    assert_true(first.done && second.done);
    assert_true(r->round > round);
    cluster_free(c);
}

/* N1, P2 of faults.md: the old leader still believes, its clients still reach it. */
static void leader_cut_from_the_majority_answers_no_read(void **state)
{
    struct cluster *c = cluster_start(3, 5);
    struct read read;
    uint64_t old = await_leader(c), other = old % 3 + 1;

    (void)state;
    write_one(c, old);
    isolate(c, old, true);
    replica_on_peer(node_of(c, other)->replica, old, false);
    replica_on_peer(node_of(c, 6 - old - other)->replica, old, false);
    make_leader(c, other);
    write_one(c, other); /* acknowledged without the old leader */
    assert_int_equal(node_of(c, old)->role, REPLICA_LEADER);

    assert_false(start_read(c, old, &read));
    settle(c);
    assert_false(read.done);
    advance(c, 5 * ELECTION);
    assert_false(read.done);

    isolate(c, old, false);
    replica_on_peer(node_of(c, other)->replica, old, true);
    replica_on_peer(node_of(c, 6 - old - other)->replica, old, true);
    advance(c, 5 * ELECTION);
    assert_true(read.done);
    assert_true(read.seen >= 2);
    cluster_free(c);
}

/* Elected with an entry it does not know to be committed: it may be acknowledged already. */
static void new_leader_answers_no_read_before_it_knows_what_is_committed(void **state)
{
    struct cluster *c = cluster_start(3, 6);
    struct read read;
    uint64_t old = await_leader(c), next = old % 3 + 1;
    struct proposal p;

    (void)state;
    write_one(c, old);
    c->cut[next][old] = false;
    propose(c, old, &p);
    /* The entry reaches both others, but no word of its commit. */
    for (unsigned i = 0; i < 40; i++) {
        for (size_t n = 0; n < 3; n++)
            (void)node_work(&c->nodes[n]);
        LIST_EACH_SAFE (at, &c->frames) {
            struct frame *frame = LIST_ENTRY(at, struct frame, link);

            if (frame->bytes[0] == WIRE_APPEND || frame->bytes[0] == WIRE_APPEND_RESULT)
                deliver(c, frame);
        }
    }
    assert_int_equal(times_applied(node_of(c, old), value_of(&p)), 1); /* acknowledged */
    assert_int_equal(times_applied(node_of(c, next), value_of(&p)), 0);
    node_crash(c, old);
    close_connections(c, old);
    drop_frames(c, 0, 0);
    make_leader(c, next);
    assert_false(start_read(c, next, &read));
    settle(c);
    assert_true(read.done); /* after the barrier, which the other member acknowledged */
    assert_true(read.seen >= 2);
    cluster_free(c);
}

static void reads_wait_for_a_leader_and_can_be_cancelled(void **state)
{
    struct cluster *c = cluster_start(3, 7);
    struct read kept, cancelled;

    (void)state;
    assert_false(start_read(c, 1, &kept));
    assert_false(start_read(c, 1, &cancelled));
    settle(c);
    replica_read_cancel(node_of(c, 1)->replica, &cancelled.base);
    replica_read_cancel(node_of(c, 1)->replica, &cancelled.base); /* harmless */
    await_leader(c);
    advance(c, 3 * HEARTBEAT);
    assert_true(kept.done);
    assert_false(cancelled.done);
    cluster_free(c);
}

static bool lose_half(struct cluster *c, const struct frame *frame)
{
    return (frame->bytes[0] == WIRE_READ || frame->bytes[0] == WIRE_READ_OK ||
            frame->bytes[0] == WIRE_PROBE || frame->bytes[0] == WIRE_PROBE_ACK) &&
           prng_chance(c->ctx, 500000);
}

static void lost_requests_and_answers_are_repeated(void **state)
{
    struct cluster *c = cluster_start(3, 8);
    uint64_t lead = await_leader(c);
    struct prng prng;

    (void)state;
    prng_seed(&prng, 8);
    c->lose = lose_half;
    c->ctx = &prng;
    for (unsigned i = 0; i < 30; i++) {
        struct read at_leader, at_follower;

        write_one(c, lead);
        assert_false(start_read(c, lead, &at_leader));
        assert_false(start_read(c, lead % 3 + 1, &at_follower));
        advance(c, 5000);
        assert_true(at_leader.done && at_leader.seen >= i + 1);
        assert_true(at_follower.done && at_follower.seen >= i + 1);
    }
    assert_int_equal(leader(c), lead);
    cluster_free(c);
}

/* etcd 20418: the answer to a request of an earlier life, or of an earlier number. */
static void r11_answer_to_another_request_is_ignored(void **state)
{
    struct cluster *c = cluster_start(3, 9);
    struct read read;
    uint64_t lead = await_leader(c), follower = lead % 3 + 1;
    struct replica *r = node_of(c, follower)->replica;
    struct wire_message answer = {.type = WIRE_READ_OK, .read = {.index = 1}};

    (void)state;
    write_one(c, lead);
    isolate(c, follower, true);
    assert_false(start_read(c, follower, &read));
    settle(c);
    answer.read.session = r->session + 1;
    answer.read.seq = r->read_asked;
    assert_int_equal(give(c, lead, follower, &answer), 0);
    answer.read.session = r->session;
    answer.read.seq = r->read_asked + 1;
    assert_int_equal(give(c, lead, follower, &answer), 0);
    answer.read.seq = r->read_asked;
    assert_int_equal(give(c, 6 - lead - follower, follower, &answer), 0); /* was not asked */
    settle(c);
    assert_false(read.done);
    isolate(c, follower, false);
    advance(c, 2 * HEARTBEAT);
    assert_true(read.done);
    cluster_free(c);
}

static void restarted_member_asks_under_a_new_name(void **state)
{
    struct cluster *c = cluster_start(3, 10);
    uint64_t session = node_of(c, 1)->replica->session;

    (void)state;
    advance(c, 1);
    node_crash(c, 1);
    node_open(c, 1); /* with the same seed */
    assert_int_not_equal(node_of(c, 1)->replica->session, session);
    cluster_free(c);
}

/* Reads wait through a hand-over and are answered by the new leader's word. */
static void reads_survive_a_transfer(void **state)
{
    struct cluster *c = cluster_start(3, 11);
    struct read reads[3];
    uint64_t lead = await_leader(c);

    (void)state;
    advance(c, 200);
    write_one(c, lead);
    assert_int_equal(replica_transfer(node_of(c, lead)->replica, 0), 0);
    for (uint64_t id = 1; id <= 3; id++)
        assert_false(start_read(c, id, &reads[id - 1]));
    advance(c, 500);
    assert_int_not_equal(leader(c), lead);
    for (size_t i = 0; i < 3; i++)
        assert_true(reads[i].done && reads[i].seen >= 1);
    cluster_free(c);
}

/* Clients write and read at random members under random cuts and crashes: every read sees at least
 * what any member had acknowledged when it began. */
static void reads_are_never_stale_under_random_faults(void **state)
{
    uint64_t seed_first = getenv("SEED") != NULL ? strtoull(getenv("SEED"), NULL, 10) : 1;
    uint64_t seed_last = getenv("SEED") != NULL ? seed_first : 8;

    (void)state;
    for (uint64_t seed = seed_first; seed <= seed_last; seed++) {
        struct cluster *c = cluster_start(3, seed);
        static struct proposal p[300];
        static struct read reads[300];
        size_t floor[ARRAY_LEN(reads)];
        size_t writes = 0, count = 0, answered = 0;
        struct prng prng;

        print_message("seed %" PRIu64 "\n", seed);
        prng_seed(&prng, seed);
        for (unsigned step = 0; step < 600; step++) {
            uint64_t id = prng_between(&prng, 1, 3), other = prng_between(&prng, 1, 3);
            size_t acknowledged = 0;

            for (uint64_t n = 1; n <= 3; n++)
                acknowledged = MAX(acknowledged, node_of(c, n)->value_count);
            switch (prng_between(&prng, 0, 7)) {
            case 0:
                c->cut[id][other] = true;
                break;
            case 1:
                memset(c->cut, 0, sizeof(c->cut));
                break;
            case 2:
                drop_frames(c, id, other);
                break;
            case 3:
            case 4:
                if (writes < ARRAY_LEN(p))
                    propose(c, id, &p[writes++]);
                break;
            default:
                if (count == ARRAY_LEN(reads))
                    break;
                floor[count] = acknowledged;
                assert_false(start_read(c, id, &reads[count]));
                count++;
                break;
            }
            if (prng_chance(&prng, 400000))
                advance(c, prng_between(&prng, 1, 300));
            else
                for (size_t i = 0; i < c->count; i++)
                    (void)node_work(&c->nodes[i]);
        }
        memset(c->cut, 0, sizeof(c->cut));
        advance(c, 10 * ELECTION);
        for (size_t i = 0; i < count; i++) {
            answered += reads[i].done;
            assert_true(reads[i].done);
            assert_true(reads[i].seen >= floor[i]);
        }
        assert_true(answered > 100);
        cluster_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_on_any_member_sees_what_was_acknowledged_before_it),
        cmocka_unit_test(lone_voter_is_read_at_once),
        cmocka_unit_test(many_reads_share_one_round_and_no_log_entry),
        cmocka_unit_test(read_is_not_answered_by_a_round_that_began_before_it),
        cmocka_unit_test(leader_cut_from_the_majority_answers_no_read),
        cmocka_unit_test(new_leader_answers_no_read_before_it_knows_what_is_committed),
        cmocka_unit_test(reads_wait_for_a_leader_and_can_be_cancelled),
        cmocka_unit_test(lost_requests_and_answers_are_repeated),
        cmocka_unit_test(r11_answer_to_another_request_is_ignored),
        cmocka_unit_test(restarted_member_asks_under_a_new_name),
        cmocka_unit_test(reads_survive_a_transfer),
        cmocka_unit_test(reads_are_never_stale_under_random_faults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
