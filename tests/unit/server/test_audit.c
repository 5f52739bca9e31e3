/* Members that compare what they hold: three or more audits, each with a keyspace and a history of
 * its own, frames that arrive at once, a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/audit.h"

enum { WORLD_MAX = 5, DEEP_MS = 100000, SETTLE_MS = 3000 };

struct world;

struct peer {
    struct world *world;
    uint64_t id;
    struct audit *audit;
    struct mvcc *mvcc;
    uint64_t history, index, session;
    bool silent; /* nothing gets to it, or from it */
    unsigned verdicts[3];
    unsigned said; /* frames */
    uint64_t wanted_by, wanted;
};

struct world {
    struct peer peers[WORLD_MAX];
    size_t count;
    uint64_t leader, now_ms;
    uint64_t healing; /* a member */
};

static struct peer *peer_of(struct world *w, uint64_t id)
{
    return &w->peers[id - 1];
}

static uint64_t on_now(void *ctx)
{
    return ((struct peer *)ctx)->world->now_ms;
}

static struct mvcc *on_mvcc(void *ctx)
{
    return ((struct peer *)ctx)->mvcc;
}

static void on_configuration(void *ctx, struct replica_configuration *out)
{
    const struct world *w = ((struct peer *)ctx)->world;

    *out = (struct replica_configuration){.count = w->count, .committed = true};
    for (size_t i = 0; i < w->count; i++)
        out->members[i] = (struct replica_member){.id = i + 1, .address = "", .voter = true};
}

static bool on_is_healing(void *ctx, uint64_t member)
{
    return ((struct peer *)ctx)->world->healing == member;
}

static bool on_ask(void *ctx, struct slice frame)
{
    struct peer *from = ctx;
    struct peer *leader = peer_of(from->world, from->world->leader);

    assert_true(audit_is_frame(frame));
    from->said++;
    if (!from->silent && !leader->silent)
        audit_on_report(leader->audit, from->id, from->session, frame);
    return true;
}

static void on_answer(void *ctx, uint64_t to, uint64_t session, struct slice frame)
{
    struct peer *from = ctx;
    struct peer *peer = peer_of(from->world, to);

    assert_true(audit_is_frame(frame));
    from->said++;
    if (!from->silent && !peer->silent && session == peer->session)
        audit_on_round(peer->audit, frame);
}

static void on_verdict(void *ctx, uint64_t member, enum audit_verdict verdict, uint64_t index)
{
    struct peer *leader = ctx;

    assert_int_equal(leader->id, leader->world->leader);
    assert_true(index > 0 && index <= leader->index);
    peer_of(leader->world, member)->verdicts[verdict]++;
}

static void on_want(void *ctx, uint64_t member, uint64_t index)
{
    struct peer *leader = ctx;

    leader->wanted_by = member;
    leader->wanted = index;
}

static struct audit *new_audit(struct peer *peer)
{
    struct audit_options options = {
        .ctx = peer,
        .self = peer->id,
        .deep_ms = DEEP_MS,
        .settle_ms = SETTLE_MS,
        .now_ms = on_now,
        .mvcc = on_mvcc,
        .configuration = on_configuration,
        .is_healing = on_is_healing,
        .ask = on_ask,
        .answer = on_answer,
        .on_verdict = on_verdict,
        .on_want = on_want,
    };

    return audit_new(&options);
}

static void lead(struct world *w, uint64_t leader)
{
    w->leader = leader;
    for (size_t i = 0; i < w->count; i++)
        audit_role_changed(w->peers[i].audit, w->peers[i].id == leader);
}

static struct world *new_world(size_t count)
{
    struct world *w = xcalloc(1, sizeof *w);

    w->count = count;
    w->now_ms = 1000000;
    for (size_t i = 0; i < count; i++) {
        struct peer *peer = &w->peers[i];

        *peer = (struct peer){.world = w, .id = i + 1, .history = 1, .session = 70 + i};
        peer->mvcc = mvcc_new(1);
        peer->audit = new_audit(peer);
    }
    lead(w, 1);
    return w;
}

static void free_world(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        audit_free(w->peers[i].audit);
        mvcc_free(w->peers[i].mvcc);
    }
    free(w);
}

/* An entry that puts a key. */
static void apply_at(struct peer *peer, const char *key)
{
    struct mvcc_txn txn;

    mvcc_txn_begin(peer->mvcc, &txn);
    mvcc_txn_put(&txn, slice_str(key), slice_str("value"), 0, NULL, NULL);
    (void)mvcc_txn_end(&txn);
    peer->history = peer->history * 31 + mvcc_take_effects(peer->mvcc);
    audit_applied(peer->audit, ++peer->index, peer->history, mvcc_revision(peer->mvcc));
}

static void apply(struct world *w, const char *key)
{
    for (size_t i = 0; i < w->count; i++)
        apply_at(&w->peers[i], key);
}

static void pass(struct world *w, uint64_t ms)
{
    for (uint64_t end = w->now_ms + ms; w->now_ms < end; w->now_ms += 50)
        for (size_t i = 0; i < w->count; i++)
            (void)audit_turn(w->peers[i].audit);
}

static unsigned verdicts(struct world *w, enum audit_verdict verdict)
{
    unsigned sum = 0;

    for (size_t i = 0; i < w->count; i++)
        sum += w->peers[i].verdicts[verdict];
    return sum;
}

/* ---- tests ---- */

static void members_that_hold_the_same_agree(void **state)
{
    struct world *w = new_world(3);

    (void)state;
    for (int i = 0; i < 20; i++) {
        apply(w, "a");
        pass(w, 1000);
    }
    assert_int_equal(verdicts(w, AUDIT_ODD) + verdicts(w, AUDIT_SPLIT), 0);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(peer_of(w, id)->verdicts[AUDIT_AGREES],
                         1); /* one deep round, after the start */
        assert_true(audit_has_agreed(peer_of(w, id)->audit));
    }
    free_world(w);
}

static void one_that_applies_otherwise_is_odd_within_a_second_or_two(void **state)
{
    struct world *w = new_world(5);

    (void)state;
    apply(w, "a");
    pass(w, 1500);
    peer_of(w, 4)->history ^= 1;
    apply(w, "a");
    pass(w, 2100);
    assert_true(peer_of(w, 4)->verdicts[AUDIT_ODD] > 0);
    assert_int_equal(verdicts(w, AUDIT_ODD), peer_of(w, 4)->verdicts[AUDIT_ODD]);
    assert_int_equal(verdicts(w, AUDIT_SPLIT), 0);
    free_world(w);
}

/* The turns of an idle member are its heartbeats, every 100 ms. */
static void rounds_and_reports_go_along_with_the_last_heartbeat_before_they_are_due(void **state)
{
    struct world *w = new_world(3);

    (void)state;
    apply(w, "a");
    pass(w, 2 * SETTLE_MS); /* the deep round after the start is over */
    for (uint64_t id = 1; id <= 2; id++) {
        struct peer *peer = peer_of(w, id);
        uint64_t due = audit_turn(peer->audit);
        unsigned said = peer->said;

        assert_true(due > w->now_ms + 200);
        w->now_ms = due - 200;
        assert_int_equal(audit_turn(peer->audit), due);
        assert_int_equal(peer->said, said);
        apply(w, "b");
        w->now_ms = due - 100;
        assert_int_equal(audit_turn(peer->audit), w->now_ms + 1000);
        assert_true(peer->said > said);
    }
    free_world(w);
}

static void a_leader_may_be_the_odd_one(void **state)
{
    struct world *w = new_world(3);

    (void)state;
    peer_of(w, 1)->history ^= 1;
    apply(w, "a");
    pass(w, 5000);
    assert_true(peer_of(w, 1)->verdicts[AUDIT_ODD] > 0);
    assert_int_equal(verdicts(w, AUDIT_ODD), peer_of(w, 1)->verdicts[AUDIT_ODD]);
    free_world(w);
}

static void a_bit_that_flips_in_memory_shows_in_the_next_deep_round(void **state)
{
    struct world *w = new_world(3);

    (void)state;
    apply(w, "a");
    apply(w, "b");
    pass(w, 2 * SETTLE_MS);
    mvcc_plant_flip(peer_of(w, 2)->mvcc, slice_str("a"));
    apply(w, "b");
    pass(w, DEEP_MS / 2);
    assert_int_equal(verdicts(w, AUDIT_ODD), 0); /* the history knows nothing of it */
    pass(w, DEEP_MS);
    assert_true(peer_of(w, 2)->verdicts[AUDIT_ODD] > 0);
    assert_int_equal(verdicts(w, AUDIT_ODD), peer_of(w, 2)->verdicts[AUDIT_ODD]);
    free_world(w);
}

/* A member that was started again may have loaded something else. */
static void a_new_session_asks_for_a_deep_round(void **state)
{
    struct world *w = new_world(3);

    (void)state;
    apply(w, "a");
    pass(w, 2 * SETTLE_MS);
    assert_int_equal(peer_of(w, 3)->verdicts[AUDIT_AGREES], 1);
    peer_of(w, 3)->session++;
    pass(w, 3 * SETTLE_MS);
    assert_int_equal(peer_of(w, 3)->verdicts[AUDIT_AGREES], 2);
    free_world(w);
}

static void two_that_differ_are_a_split_and_nobody_is_odd(void **state)
{
    struct world *w = new_world(2);

    (void)state;
    peer_of(w, 2)->history ^= 1;
    apply(w, "a");
    pass(w, 1500);
    assert_int_equal(verdicts(w, AUDIT_SPLIT), 0); /* looked at twice */
    apply(w, "a");
    pass(w, 10000);
    assert_true(peer_of(w, 1)->verdicts[AUDIT_SPLIT] > 0);
    assert_true(peer_of(w, 2)->verdicts[AUDIT_SPLIT] > 0);
    assert_int_equal(verdicts(w, AUDIT_ODD) + verdicts(w, AUDIT_AGREES), 0);
    free_world(w);
}

static void a_majority_decides_without_one_that_is_silent(void **state)
{
    struct world *w = new_world(5);

    (void)state;
    peer_of(w, 5)->silent = true;
    peer_of(w, 4)->history ^= 1;
    apply(w, "a");
    pass(w, 12000);
    assert_true(peer_of(w, 4)->verdicts[AUDIT_ODD] > 0);
    assert_int_equal(verdicts(w, AUDIT_ODD), peer_of(w, 4)->verdicts[AUDIT_ODD]);
    free_world(w);
}

/* Two of three that say the same are right, two of five are not. */
static void a_minority_that_agrees_decides_nothing(void **state)
{
    struct world *w = new_world(5);

    (void)state;
    for (uint64_t id = 3; id <= 5; id++)
        peer_of(w, id)->history += id;
    apply(w, "a");
    pass(w, 20000);
    assert_int_equal(verdicts(w, AUDIT_ODD), 0);
    assert_true(verdicts(w, AUDIT_SPLIT) > 0);
    free_world(w);
}

/* Two of three differ while the third is started again: it knows who is right. Nobody knows, if it
 * does not come. */
static void one_that_is_away_for_a_moment_may_decide(void **state)
{
    struct world *w = new_world(3);

    (void)state;
    apply(w, "a");
    pass(w, 2000);
    peer_of(w, 3)->silent = true;
    peer_of(w, 2)->history ^= 1;
    for (int i = 0; i < 20; i++) {
        apply(w, "a");
        pass(w, 1000);
    }
    assert_int_equal(verdicts(w, AUDIT_SPLIT) + verdicts(w, AUDIT_ODD), 0);
    peer_of(w, 3)->silent = false;
    for (int i = 0; i < 10; i++) {
        apply(w, "a");
        pass(w, 1000);
    }
    assert_true(peer_of(w, 2)->verdicts[AUDIT_ODD] > 0);
    assert_int_equal(verdicts(w, AUDIT_ODD), peer_of(w, 2)->verdicts[AUDIT_ODD]);

    peer_of(w, 3)->silent = true;
    for (int i = 0; i < 80; i++) {
        apply(w, "a");
        pass(w, 1000);
    }
    assert_true(peer_of(w, 1)->verdicts[AUDIT_SPLIT] > 0);
    free_world(w);
}

static void who_lags_is_waited_for(void **state)
{
    struct world *w = new_world(3);

    (void)state;
    apply_at(peer_of(w, 1), "a");
    apply_at(peer_of(w, 2), "a");
    pass(w, 1500);
    apply_at(peer_of(w, 3), "a");
    pass(w, 500);
    assert_int_equal(verdicts(w, AUDIT_ODD) + verdicts(w, AUDIT_SPLIT), 0);
    pass(w, 2 * SETTLE_MS);
    assert_int_equal(verdicts(w, AUDIT_AGREES), 3);
    free_world(w);
}

/* Not even a deep round waits for one that has something to catch up with first. */
static void who_does_not_catch_up_hides_nobody(void **state)
{
    struct world *w = new_world(5);

    (void)state;
    apply(w, "a");
    pass(w, 2 * SETTLE_MS);
    peer_of(w, 2)->history ^= 1;
    for (uint64_t id = 1; id <= 4; id++) {
        peer_of(w, id)->session += 10; /* new sessions: a deep round */
        apply_at(peer_of(w, id), "b");
    }
    pass(w, 2 * SETTLE_MS + 12000);
    assert_true(peer_of(w, 2)->verdicts[AUDIT_ODD] > 0);
    assert_int_equal(verdicts(w, AUDIT_ODD), peer_of(w, 2)->verdicts[AUDIT_ODD]);
    assert_int_equal(verdicts(w, AUDIT_SPLIT), 0);
    free_world(w);
}

/* HashKV depends on what is compacted: after different compactions it says nothing. */
static void different_compactions_are_no_difference(void **state)
{
    struct world *w = new_world(3);

    (void)state;
    for (int i = 0; i < 5; i++)
        apply(w, "a");
    assert_int_equal(mvcc_compact(peer_of(w, 3)->mvcc, 3), 0); /* the others are about to */
    pass(w, 2 * SETTLE_MS);
    assert_int_equal(verdicts(w, AUDIT_ODD) + verdicts(w, AUDIT_SPLIT), 0);
    assert_int_equal(peer_of(w, 3)->verdicts[AUDIT_AGREES], 0);
    assert_true(peer_of(w, 1)->verdicts[AUDIT_AGREES] > 0);
    assert_int_equal(mvcc_compact(peer_of(w, 1)->mvcc, 3), 0);
    assert_int_equal(mvcc_compact(peer_of(w, 2)->mvcc, 3), 0);
    pass(w, DEEP_MS);
    assert_true(peer_of(w, 3)->verdicts[AUDIT_AGREES] > 0);
    free_world(w);
}

/* A cluster from before there were histories still compares its keys. */
static void without_histories_the_keys_are_compared(void **state)
{
    struct world *w = new_world(3);

    (void)state;
    for (uint64_t id = 1; id <= 3; id++) {
        struct peer *peer = peer_of(w, id);

        apply_at(peer, "a");
        apply_at(peer, "b");
        audit_applied(peer->audit, peer->index, 0, mvcc_revision(peer->mvcc));
    }
    pass(w, 2 * SETTLE_MS);
    assert_int_equal(verdicts(w, AUDIT_AGREES), 3);
    mvcc_plant_flip(peer_of(w, 1)->mvcc, slice_str("a"));
    pass(w, DEEP_MS + 2000);
    assert_true(peer_of(w, 1)->verdicts[AUDIT_ODD] > 0);
    assert_int_equal(verdicts(w, AUDIT_ODD), peer_of(w, 1)->verdicts[AUDIT_ODD]);
    free_world(w);
}

static void one_without_a_state_wants_one_and_is_not_compared(void **state)
{
    struct world *w = new_world(3);
    struct peer *peer = peer_of(w, 3);

    (void)state;
    apply(w, "a");
    audit_switch(peer->audit);
    audit_want(peer->audit, 17);
    peer->history ^= 1;
    w->healing = 3;
    apply(w, "a");
    pass(w, 30000);
    assert_int_equal(peer_of(w, 1)->wanted_by, 3);
    assert_int_equal(peer_of(w, 1)->wanted, 17);
    assert_int_equal(verdicts(w, AUDIT_ODD), 0);
    assert_true(peer_of(w, 1)->verdicts[AUDIT_AGREES] <= 3); /* nothing to hash for, all the time */

    /* It has got the leader's: compared at once, for somebody waits for that, though nothing is
     * applied. */
    audit_switch(peer->audit);
    audit_want(peer->audit, 0);
    peer->history = peer_of(w, 1)->history;
    audit_applied(peer->audit, peer->index, peer->history, mvcc_revision(peer->mvcc));
    pass(w, 4000);
    assert_true(peer->verdicts[AUDIT_AGREES] > 0);
    assert_int_equal(verdicts(w, AUDIT_ODD), 0);
    free_world(w);
}

static void a_keyspace_that_is_replaced_is_not_hashed_on(void **state)
{
    struct world *w = new_world(3);
    struct peer *peer = peer_of(w, 2);
    struct mvcc *old = peer->mvcc;

    (void)state;
    for (int i = 0; i < 5000; i++)
        apply(w, "a"); /* more than a slice */
    while (!mvcc_is_pinned(old))
        pass(w, 50);
    peer->mvcc = mvcc_new(1);
    audit_switch(peer->audit);
    assert_false(mvcc_is_in_use(old));
    mvcc_free(old);
    peer->index = 0;
    for (int i = 0; i < 5000; i++)
        apply_at(peer, "a");
    peer->history = peer_of(w, 1)->history;
    audit_applied(peer->audit, peer->index, peer->history, mvcc_revision(peer->mvcc));
    apply(w, "a");
    pass(w, 4 * SETTLE_MS);
    assert_true(peer->verdicts[AUDIT_AGREES] > 0);
    assert_int_equal(verdicts(w, AUDIT_ODD), 0);
    free_world(w);
}

/* Bytes of a peer: nothing happens, whatever they are. */
static void malformed_frames_change_nothing(void **state)
{
    struct world *w = new_world(3);
    uint8_t bytes[64];

    (void)state;
    apply(w, "a");
    pass(w, 1000);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        for (int kind = 0; kind < 4; kind++) {
            memset(bytes, 0xff, sizeof bytes);
            bytes[8] = (uint8_t)kind;
            audit_on_report(peer_of(w, 1)->audit, 2, 71, slice_of(bytes, MAX(len, (size_t)9)));
            audit_on_report(peer_of(w, 1)->audit, 9, 71, slice_of(bytes, MAX(len, (size_t)9)));
            audit_on_round(peer_of(w, 2)->audit, slice_of(bytes, MAX(len, (size_t)9)));
            assert_int_equal(audit_is_frame(slice_of(bytes, len)), len >= 9);
        }
    }
    apply(w, "a");
    pass(w, 3 * SETTLE_MS);
    assert_int_equal(verdicts(w, AUDIT_ODD) + verdicts(w, AUDIT_SPLIT), 0);
    assert_true(verdicts(w, AUDIT_AGREES) >= 3);
    free_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_that_hold_the_same_agree),
        cmocka_unit_test(one_that_applies_otherwise_is_odd_within_a_second_or_two),
        cmocka_unit_test(rounds_and_reports_go_along_with_the_last_heartbeat_before_they_are_due),
        cmocka_unit_test(a_leader_may_be_the_odd_one),
        cmocka_unit_test(a_bit_that_flips_in_memory_shows_in_the_next_deep_round),
        cmocka_unit_test(a_new_session_asks_for_a_deep_round),
        cmocka_unit_test(two_that_differ_are_a_split_and_nobody_is_odd),
        cmocka_unit_test(a_majority_decides_without_one_that_is_silent),
        cmocka_unit_test(a_minority_that_agrees_decides_nothing),
        cmocka_unit_test(one_that_is_away_for_a_moment_may_decide),
        cmocka_unit_test(who_lags_is_waited_for),
        cmocka_unit_test(who_does_not_catch_up_hides_nobody),
        cmocka_unit_test(different_compactions_are_no_difference),
        cmocka_unit_test(without_histories_the_keys_are_compared),
        cmocka_unit_test(one_without_a_state_wants_one_and_is_not_compared),
        cmocka_unit_test(a_keyspace_that_is_replaced_is_not_hashed_on),
        cmocka_unit_test(malformed_frames_change_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
