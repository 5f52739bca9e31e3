/* Questions to the leader beside the log: they reach the leader of this term and nobody else, and
 * only its answers come back. */
#include "tests/unit/raft/cluster.h"

struct heard {
    unsigned asked, answered;
    uint64_t from, session;
    char bytes[32];
};

static struct heard heard[NODES_MAX + 1];

static void note(struct heard *to, struct slice bytes)
{
    assert_true(bytes.len < sizeof to->bytes);
    memcpy(to->bytes, bytes.data, bytes.len);
    to->bytes[bytes.len] = '\0';
}

static void on_ask(void *ctx, uint64_t from, uint64_t session, struct slice questions)
{
    struct heard *to = &heard[((struct node *)ctx)->id];

    to->asked++;
    to->from = from;
    to->session = session;
    note(to, questions);
}

static void on_answer(void *ctx, struct slice answers)
{
    struct heard *to = &heard[((struct node *)ctx)->id];

    to->answered++;
    note(to, answers);
}

static void listen_on(struct cluster *c, uint64_t id)
{
    node_of(c, id)->replica->env.on_ask = on_ask;
    node_of(c, id)->replica->env.on_answer = on_answer;
}

/* Three members, all listening; *lead leads. */
static struct cluster *start(uint64_t seed, uint64_t *lead)
{
    struct cluster *c = cluster_start(3, seed);

    memset(heard, 0, sizeof heard);
    *lead = await_leader(c);
    for (uint64_t id = 1; id <= 3; id++)
        listen_on(c, id);
    return c;
}

static uint64_t another(uint64_t id)
{
    return id % 3 + 1;
}

static bool ask(struct cluster *c, uint64_t id, const char *text)
{
    return replica_ask(node_of(c, id)->replica, slice_str(text));
}

static void question_of_a_follower_reaches_the_leader_and_its_answer_comes_back(void **state)
{
    uint64_t lead, follower;
    struct cluster *c = start(1, &lead);

    (void)state;
    follower = another(lead);
    assert_true(ask(c, follower, "how long?"));
    settle(c);
    assert_int_equal(heard[lead].asked, 1);
    assert_int_equal(heard[lead].from, follower);
    assert_string_equal(heard[lead].bytes, "how long?");
    assert_int_equal(heard[another(follower)].asked, 0);

    replica_answer(node_of(c, lead)->replica, follower, heard[lead].session, slice_str("long"));
    settle(c);
    assert_int_equal(heard[follower].answered, 1);
    assert_string_equal(heard[follower].bytes, "long");
    assert_int_equal(heard[another(follower)].answered, 0);
    cluster_free(c);
}

static void who_follows_nobody_can_not_ask(void **state)
{
    uint64_t lead;
    struct cluster *c = start(2, &lead);

    (void)state;
    assert_false(ask(c, lead, "me?"));
    cluster_free(c);
}

static void answer_to_another_life_of_the_asker_is_dropped(void **state)
{
    uint64_t lead, follower;
    struct cluster *c = start(3, &lead);

    (void)state;
    follower = another(lead);
    assert_true(ask(c, follower, "who am I?"));
    settle(c);
    replica_answer(node_of(c, lead)->replica, follower, heard[lead].session + 1,
                   slice_str("somebody else"));
    settle(c);
    assert_int_equal(heard[follower].answered, 0);
    cluster_free(c);
}

static void give_frame(struct cluster *c, uint64_t to, uint64_t from, enum wire_type type,
                       uint64_t term)
{
    struct wire_message message = {.type = type,
                                   .ask = {.term = term,
                                           .session = node_of(c, to)->replica->session,
                                           .bytes = slice_str("stale")}};
    struct buf frame;

    buf_init(&frame, WIRE_FRAME_SIZE_MAX);
    wire_encode(&frame, &message);
    assert_int_equal(replica_on_frame(node_of(c, to)->replica, from, buf_slice(&frame), NULL), 0);
    buf_release(&frame);
}

/* What a leader said in its term means nothing after it. */
static void frames_of_another_term_are_dropped(void **state)
{
    uint64_t lead, follower, term;
    struct cluster *c = start(4, &lead);

    (void)state;
    follower = another(lead);
    term = status_of(c, lead).term;
    give_frame(c, lead, follower, WIRE_ASK, term - 1);
    give_frame(c, lead, follower, WIRE_ASK, term + 1);
    give_frame(c, follower, lead, WIRE_ANSWER, term - 1);
    give_frame(c, another(follower), follower, WIRE_ASK, term); /* it does not lead */
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(heard[id].asked + heard[id].answered, 0);
    give_frame(c, lead, follower, WIRE_ASK, term);
    give_frame(c, follower, lead, WIRE_ANSWER, term);
    assert_int_equal(heard[lead].asked, 1);
    assert_int_equal(heard[follower].answered, 1);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(question_of_a_follower_reaches_the_leader_and_its_answer_comes_back),
        cmocka_unit_test(who_follows_nobody_can_not_ask),
        cmocka_unit_test(answer_to_another_life_of_the_asker_is_dropped),
        cmocka_unit_test(frames_of_another_term_are_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
