/* Leases: what is replicated, and the leader's clock over it. Time is a number here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/prng.h"
#include "mvcc/lease.h"

static int setup(void **state)
{
    *state = leases_new(1);
    return 0;
}

static int teardown(void **state)
{
    leases_free(*state);
    return 0;
}

static struct lease_time time_of(const struct leases *leases, int64_t id, uint64_t now_ms)
{
    struct lease_time time;

    leases_time(leases, id, now_ms, &time);
    return time;
}

static enum lease_state renew(struct leases *leases, int64_t id, uint64_t now_ms)
{
    struct lease_time time;

    leases_renew(leases, id, now_ms, &time);
    return time.state;
}

static bool take_due(struct leases *leases, uint64_t now_ms, int64_t *id)
{
    struct lease_checkpoint out;

    if (!leases_take_due(leases, now_ms, &out))
        return false;
    assert_int_equal(out.grant, leases_grant_number(leases, out.id));
    *id = out.id;
    return true;
}

static bool checkpoint(struct leases *leases, int64_t id, uint64_t remaining_ms)
{
    struct lease_checkpoint made = {
        .id = id, .grant = leases_grant_number(leases, id), .remaining_ms = remaining_ms};

    return leases_checkpoint(leases, &made);
}

/* The next checkpoint that is due: its time must be the one given. */
static struct lease_checkpoint take_checkpoint_at(struct leases *leases, uint64_t at_ms)
{
    struct lease_checkpoint out;

    assert_int_equal(leases_next_checkpoint(leases), at_ms);
    assert_false(leases_take_checkpoint(leases, at_ms - 1, &out));
    assert_true(leases_take_checkpoint(leases, at_ms, &out));
    assert_int_equal(out.grant, leases_grant_number(leases, out.id));
    return out;
}

static void append_key(void *ctx, struct slice key)
{
    strncat(ctx, (const char *)key.data, key.len);
    strcat(ctx, " ");
}

static void expect_keys(const struct leases *leases, int64_t id, const char *wanted)
{
    char text[256] = "";

    leases_each_key(leases, id, append_key, text);
    assert_string_equal(text, wanted);
}

static void move(struct leases *leases, const char *key, int64_t from, int64_t to)
{
    leases_move(leases, slice_str(key), from, to);
}

/* ---- replicated ---- */

static void an_id_is_granted_once(void **state)
{
    struct leases *leases = *state;

    assert_int_equal(leases_grant(leases, 7, 10, 0), 0);
    assert_int_equal(leases_grant(leases, 7, 99, 0), KV_EEXIST);
    assert_int_equal(leases_grant(leases, -7, LEASE_TTL_MAX, 0), 0);
    assert_int_equal(time_of(leases, 7, 0).ttl, 10);
    assert_int_equal(leases_count(leases), 2);
    assert_true(leases_revoke(leases, 7));
    assert_false(leases_revoke(leases, 7));
    assert_int_equal(leases_grant(leases, 7, 20, 0), 0);
}

static void grants_that_no_member_should_propose_are_refused(void **state)
{
    struct leases *leases = *state;

    assert_int_equal(leases_grant(leases, LEASE_NONE, 10, 0), KV_EINVAL);
    assert_int_equal(leases_grant(leases, 1, 0, 0), KV_EINVAL);
    assert_int_equal(leases_grant(leases, 1, INT64_MIN, 0), KV_EINVAL);
    assert_int_equal(leases_grant(leases, 1, LEASE_TTL_MAX + 1, 0), KV_EINVAL);
    assert_int_equal(leases_count(leases), 0);
}

static void keys_hang_on_one_lease_in_ascending_order(void **state)
{
    struct leases *leases = *state;

    assert_int_equal(leases_grant(leases, 1, 10, 0), 0);
    assert_int_equal(leases_grant(leases, 2, 10, 0), 0);
    move(leases, "zz", LEASE_NONE, 1);
    move(leases, "aa", LEASE_NONE, 1);
    move(leases, "mm", LEASE_NONE, 1);
    move(leases, "mm", 1, 1);
    expect_keys(leases, 1, "aa mm zz ");
    move(leases, "mm", 1, 2);
    move(leases, "aa", 1, LEASE_NONE);
    expect_keys(leases, 1, "zz ");
    expect_keys(leases, 2, "mm ");
    assert_int_equal(leases_key_count(leases, 2), 1);
    assert_int_equal(leases_key_count(leases, 3), 0);
    expect_keys(leases, 3, "");
}

static void digest_tells_states_apart_and_not_the_way_to_them(void **state)
{
    struct leases *a = *state, *b = leases_new(99);

    assert_int_equal(leases_digest(a), leases_digest(b));
    assert_int_equal(leases_grant(a, 1, 10, 0), 0);
    assert_int_equal(leases_grant(a, 2, 10, 0), 0);
    assert_int_equal(leases_grant(b, 1, 10, 5), 0);
    assert_int_not_equal(leases_digest(a), leases_digest(b));
    assert_int_equal(leases_grant(b, 2, 10, 5), 0);
    assert_int_equal(leases_digest(a), leases_digest(b));
    move(a, "k", LEASE_NONE, 1);
    assert_int_not_equal(leases_digest(a), leases_digest(b));
    move(b, "k", LEASE_NONE, 2);
    assert_int_not_equal(leases_digest(a), leases_digest(b));
    move(b, "k", 2, 1);
    assert_true(checkpoint(a, 2, 700));
    assert_int_not_equal(leases_digest(a), leases_digest(b));
    assert_true(checkpoint(b, 2, 700));
    leases_lead(b, 1000, 0); /* the clock is nobody else's affair */
    assert_int_equal(leases_digest(a), leases_digest(b));
    leases_free(b);
}

/* ---- the leader's clock ---- */

static void leases_never_end_on_a_member_that_does_not_lead(void **state)
{
    struct leases *leases = *state;
    int64_t id;

    assert_int_equal(leases_grant(leases, 1, 2, 0), 0);
    assert_int_equal(time_of(leases, 1, UINT64_MAX / 2).state, LEASE_LIVE);
    assert_int_equal(time_of(leases, 1, UINT64_MAX / 2).remaining_ms, 2000);
    assert_false(take_due(leases, UINT64_MAX / 2, &id));
    assert_true(leases_next_due(leases) == UINT64_MAX);
}

static void a_new_leader_gives_the_whole_ttl_and_more(void **state)
{
    struct leases *leases = *state;
    int64_t id;

    assert_int_equal(leases_grant(leases, 1, 2, 0), 0);
    leases_lead(leases, 100000, 1000);
    assert_int_equal(time_of(leases, 1, 100000).remaining_ms, 3000);
    assert_int_equal(time_of(leases, 1, 102999).state, LEASE_LIVE);
    assert_false(take_due(leases, 102999, &id));
    assert_int_equal(time_of(leases, 1, 103000).state, LEASE_DUE);
    assert_true(take_due(leases, 103000, &id));
    assert_int_equal(id, 1);

    /* It leads no longer, then again: the count starts anew. */
    leases_follow(leases);
    assert_int_equal(time_of(leases, 1, 200000).state, LEASE_LIVE);
    leases_lead(leases, 200000, 0);
    assert_true(leases_next_due(leases) == 202000);
}

static void a_renewal_counts_from_itself(void **state)
{
    struct leases *leases = *state;

    leases_lead(leases, 0, 0);
    assert_int_equal(leases_grant(leases, 1, 10, 1000), 0);
    assert_true(leases_next_due(leases) == 11000);
    assert_int_equal(renew(leases, 1, 5000), LEASE_LIVE);
    assert_true(leases_next_due(leases) == 15000);
    assert_int_equal(time_of(leases, 1, 5001).remaining_ms, 9999);
    assert_int_equal(renew(leases, 2, 5000), LEASE_UNKNOWN);
}

static void a_lease_that_is_due_is_there_but_not_renewed(void **state)
{
    struct leases *leases = *state;
    int64_t id;

    leases_lead(leases, 0, 0);
    assert_int_equal(leases_grant(leases, 1, 10, 0), 0);
    assert_int_equal(renew(leases, 1, 10000), LEASE_DUE);
    assert_true(take_due(leases, 10000, &id));
    assert_false(take_due(leases, 10000, &id)); /* handed out once */
    assert_int_equal(renew(leases, 1, 10001), LEASE_DUE);
    assert_true(leases_known(leases, 1));

    leases_put_back(leases, 1, 13000);
    assert_int_equal(renew(leases, 1, 12000), LEASE_DUE);
    assert_false(take_due(leases, 12999, &id));
    assert_true(take_due(leases, 13000, &id));
    assert_true(leases_revoke(leases, 1));
    leases_put_back(leases, 1, 14000); /* gone: harmless */
    assert_true(leases_next_due(leases) == UINT64_MAX);
    assert_int_equal(renew(leases, 1, 13000), LEASE_UNKNOWN);
}

static void the_longest_ttl_ends_in_the_far_future(void **state)
{
    struct leases *leases = *state;
    uint64_t now_ms = UINT64_C(1) << 45;

    leases_lead(leases, now_ms, 1000);
    assert_int_equal(leases_grant(leases, 1, LEASE_TTL_MAX, now_ms), 0);
    assert_int_equal(time_of(leases, 1, now_ms).remaining_ms, LEASE_TTL_MAX * 1000);
}

static void the_list_is_by_remaining_time_then_id(void **state)
{
    struct leases *leases = *state;
    int64_t ids[3];

    assert_int_equal(leases_grant(leases, 3, 10, 0), 0);
    assert_int_equal(leases_grant(leases, 1, 30, 0), 0);
    assert_int_equal(leases_grant(leases, -2, 20, 0), 0);
    leases_list(leases, ids);
    assert_true(ids[0] == -2 && ids[1] == 1 && ids[2] == 3);
    leases_lead(leases, 0, 0);
    leases_list(leases, ids);
    assert_true(ids[0] == 3 && ids[1] == -2 && ids[2] == 1);
}

/* ---- checkpoints ---- */

static void grants_are_numbered_and_numbers_do_not_come_back(void **state)
{
    struct leases *leases = *state;

    assert_int_equal(leases_grant_number(leases, 7), 0);
    assert_int_equal(leases_grant(leases, 7, 10, 0), 0);
    assert_int_equal(leases_grant_number(leases, 7), 1);
    assert_int_equal(leases_grant(leases, 7, 10, 0), KV_EEXIST);
    assert_true(leases_revoke(leases, 7));
    assert_int_equal(leases_grant(leases, 7, 10, 0), 0);
    assert_int_equal(leases_grant_number(leases, 7), 2);
}

/* The way to the same ids matters here: what is under way about an old grant must not look right.
 */
static void digest_tells_grants_apart(void **state)
{
    struct leases *leases = *state, *other = leases_new(1);

    assert_int_equal(leases_grant(leases, 1, 10, 0), 0);
    assert_int_equal(leases_grant(other, 1, 10, 0), 0);
    assert_int_equal(leases_digest(leases), leases_digest(other));
    assert_true(leases_revoke(other, 1));
    assert_int_equal(leases_grant(other, 1, 10, 0), 0);
    assert_int_not_equal(leases_digest(leases), leases_digest(other));
    leases_free(other);
}

/* Stored and loaded again, in another order: the same state, and the same numbers from there on. */
static void what_is_stored_and_loaded_is_the_same(void **state)
{
    struct leases *leases = *state, *other = leases_new(2);
    struct lease_record record;

    for (int64_t id = 1; id <= 5; id++)
        assert_int_equal(leases_grant(leases, id, 10 * id, 0), 0);
    assert_true(leases_revoke(leases, 5));
    assert_true(leases_revoke(leases, 2));
    assert_true(checkpoint(leases, 3, 7000));
    move(leases, "k", LEASE_NONE, 3);
    for (int64_t id = 5; id >= 1; id--)
        if (leases_get(leases, id, &record))
            assert_int_equal(leases_load(other, &record), 0);
    assert_int_equal(leases_load_grants(other, leases_grants(leases)), 0);
    move(other, "k", LEASE_NONE, 3);
    assert_int_equal(leases_digest(other), leases_digest(leases));
    assert_int_equal(leases_grant(leases, 2, 10, 0), 0);
    assert_int_equal(leases_grant(other, 2, 10, 0), 0);
    assert_int_equal(leases_digest(other), leases_digest(leases));
    leases_free(other);
}

static void records_that_can_not_be_are_refused(void **state)
{
    struct lease_record good = {.id = 1, .ttl = 10, .grant = 9}, bad = good;
    struct leases *leases = *state;

    bad.grant = 0;
    assert_int_equal(leases_load(leases, &bad), KV_EINVAL);
    bad = good;
    bad.ttl = 0;
    assert_int_equal(leases_load(leases, &bad), KV_EINVAL);
    assert_int_equal(leases_load(leases, &good), 0);
    assert_int_equal(leases_load(leases, &good), KV_EEXIST);
    assert_int_equal(leases_load_grants(leases, 8), KV_EINVAL);
    assert_int_equal(leases_load_grants(leases, 9), 0);
}

static void a_new_leader_goes_on_from_the_checkpoint(void **state)
{
    struct leases *leases = *state;

    assert_int_equal(leases_grant(leases, 1, 100, 0), 0);
    assert_int_equal(leases_grant(leases, 2, 100, 0), 0);
    assert_int_equal(leases_grant(leases, 3, 100, 0), 0);
    assert_true(checkpoint(leases, 1, 30000));
    assert_true(checkpoint(leases, 2, 100001)); /* more than its TTL is nothing */
    assert_true(checkpoint(leases, 3, 30000));
    assert_true(checkpoint(leases, 3, 0)); /* taken back */
    assert_false(checkpoint(leases, 4, 5));
    leases_lead(leases, 500000, 1000);
    assert_int_equal(time_of(leases, 1, 500000).remaining_ms, 31000);
    assert_int_equal(time_of(leases, 2, 500000).remaining_ms, 101000);
    assert_int_equal(time_of(leases, 3, 500000).remaining_ms, 101000);
}

static void a_checkpoint_is_of_one_grant_only(void **state)
{
    struct lease_checkpoint old = {.id = 1, .grant = 1, .remaining_ms = 5000};
    struct leases *leases = *state;

    assert_int_equal(leases_grant(leases, 1, 100, 0), 0);
    assert_true(leases_revoke(leases, 1));
    assert_int_equal(leases_grant(leases, 1, 100, 0), 0);
    assert_false(leases_checkpoint(leases, &old));
    leases_lead(leases, 0, 0);
    assert_int_equal(time_of(leases, 1, 0).remaining_ms, 100000);
}

static void a_lease_renewed_at_half_time_has_no_checkpoint(void **state)
{
    struct leases *leases = *state;
    struct lease_checkpoint out;

    leases_lead(leases, 1000, 0);
    assert_int_equal(leases_grant(leases, 1, 60, 1000), 0);
    for (uint64_t now_ms = 1000; now_ms < 1000000; now_ms += 30000) {
        assert_false(leases_take_checkpoint(leases, now_ms, &out));
        assert_int_equal(renew(leases, 1, now_ms), LEASE_LIVE);
    }
}

static void a_lease_that_runs_down_has_four_checkpoints_at_most(void **state)
{
    struct leases *leases = *state;
    int64_t id;

    leases_lead(leases, 0, 0);
    assert_int_equal(leases_grant(leases, 1, 160, 0), 0);
    assert_int_equal(take_checkpoint_at(leases, 90000).remaining_ms, 70000);
    assert_int_equal(take_checkpoint_at(leases, 110000).remaining_ms, 50000);
    assert_int_equal(take_checkpoint_at(leases, 130000).remaining_ms, 30000);
    assert_int_equal(take_checkpoint_at(leases, 150000).remaining_ms, 10000);
    assert_true(leases_next_checkpoint(leases) == UINT64_MAX);
    assert_true(take_due(leases, 160000, &id));
}

static void short_leases_have_few_checkpoints_or_none(void **state)
{
    struct leases *leases = *state;

    leases_lead(leases, 0, 0);
    assert_int_equal(leases_grant(leases, 1, 2, 0), 0);
    assert_true(leases_next_checkpoint(leases) == UINT64_MAX);
    assert_int_equal(leases_grant(leases, 2, 8, 0), 0);
    assert_int_equal(take_checkpoint_at(leases, 4500).remaining_ms, 3500);
    assert_int_equal(take_checkpoint_at(leases, 6500).remaining_ms, 1500);
    assert_true(leases_next_checkpoint(leases) == UINT64_MAX);
}

/* After a change of leader the next one says less than the last, not the same again. */
static void checkpoints_go_on_under_the_next_leader(void **state)
{
    struct leases *leases = *state;

    assert_int_equal(leases_grant(leases, 1, 160, 0), 0);
    assert_true(checkpoint(leases, 1, 70000));
    leases_lead(leases, 1000000, 1000);
    assert_int_equal(take_checkpoint_at(leases, 1021000).remaining_ms, 50000);
}

static void a_renewal_is_held_until_its_checkpoint_is_cleared(void **state)
{
    struct leases *leases = *state;
    struct lease_checkpoint clear, out;

    leases_lead(leases, 0, 0);
    assert_int_equal(leases_grant(leases, 1, 160, 0), 0);
    (void)take_checkpoint_at(leases, 90000); /* under way: that is enough */
    assert_false(leases_take_clear(leases, &clear));
    assert_int_equal(renew(leases, 1, 100000), LEASE_HELD);
    assert_int_equal(time_of(leases, 1, 100000).remaining_ms, 160000); /* here it lives on */
    assert_true(leases_next_checkpoint(leases) == UINT64_MAX);         /* none behind the clear */
    assert_true(leases_take_clear(leases, &clear));
    assert_true(clear.id == 1 && clear.grant == 1 && clear.remaining_ms == 0);
    assert_false(leases_take_clear(leases, &out)); /* once */
    assert_int_equal(renew(leases, 1, 100001), LEASE_HELD);

    assert_true(leases_awaits_clear(leases, 1));
    assert_true(checkpoint(leases, 1, 70000)); /* applied at last */
    assert_int_equal(renew(leases, 1, 100002), LEASE_HELD);
    assert_true(leases_checkpoint(leases, &clear));
    assert_int_equal(renew(leases, 1, 100003), LEASE_LIVE);
    assert_false(leases_awaits_clear(leases, 1));
    assert_true(leases_next_checkpoint(leases) == 100003 + 90000);
}

static void a_clear_that_failed_is_handed_out_again(void **state)
{
    struct leases *leases = *state;
    struct lease_checkpoint clear;

    assert_int_equal(leases_grant(leases, 1, 160, 0), 0);
    assert_true(checkpoint(leases, 1, 70000));
    leases_lead(leases, 0, 0);
    assert_int_equal(renew(leases, 1, 10), LEASE_HELD);
    assert_true(leases_take_clear(leases, &clear));
    leases_put_back_clear(leases, &clear);
    assert_true(leases_take_clear(leases, &clear));
    assert_true(leases_checkpoint(leases, &clear));
    leases_put_back_clear(leases, &clear); /* it has come about: harmless */
    assert_false(leases_take_clear(leases, &clear));
    assert_int_equal(renew(leases, 1, 20), LEASE_LIVE);
}

static void a_lease_that_is_gone_wants_no_clear(void **state)
{
    struct leases *leases = *state;
    struct lease_checkpoint clear;

    assert_int_equal(leases_grant(leases, 1, 160, 0), 0);
    assert_true(checkpoint(leases, 1, 70000));
    leases_lead(leases, 0, 0);
    assert_int_equal(renew(leases, 1, 10), LEASE_HELD);
    assert_true(leases_revoke(leases, 1));
    assert_false(leases_take_clear(leases, &clear));
    assert_false(leases_awaits_clear(leases, 1));
    assert_int_equal(renew(leases, 1, 10), LEASE_UNKNOWN);
}

/* ---- against a plain table ---- */

enum { MODEL_LEASES = 40, MODEL_KEYS = 60, MODEL_STEPS = 60000 };

struct model {
    bool there[MODEL_LEASES];
    uint64_t end_ms[MODEL_LEASES];
    bool taken[MODEL_LEASES];
    int64_t ttl[MODEL_LEASES];
    unsigned lease_of[MODEL_KEYS]; /* 0: none */
};

struct walk {
    const struct model *model;
    unsigned lease, count;
    int last;
};

static void check_key(void *ctx, struct slice key)
{
    struct walk *walk = ctx;
    int number = (key.data[2] - '0') * 10 + key.data[3] - '0'; /* keys are k000, k001, ... */

    assert_true(number > walk->last);
    assert_int_equal(walk->model->lease_of[number], walk->lease);
    walk->last = number;
    walk->count++;
}

static void check_lease(const struct leases *leases, const struct model *m, unsigned n)
{
    struct walk walk = {.model = m, .lease = n, .last = -1};
    unsigned wanted = 0;

    for (unsigned k = 0; k < MODEL_KEYS; k++)
        wanted += m->lease_of[k] == n;
    leases_each_key(leases, n, check_key, &walk);
    assert_int_equal(walk.count, wanted);
    assert_int_equal(leases_known(leases, n), m->there[n]);
}

static void revoke_both(struct leases *leases, struct model *m, unsigned n)
{
    assert_int_equal(leases_revoke(leases, n), m->there[n]);
    m->there[n] = m->taken[n] = false;
    for (unsigned k = 0; k < MODEL_KEYS; k++)
        if (m->lease_of[k] == n)
            m->lease_of[k] = 0;
}

static void move_some_key(struct leases *leases, struct model *m, struct prng *prng)
{
    unsigned k = (unsigned)prng_between(prng, 0, MODEL_KEYS - 1);
    unsigned to = (unsigned)prng_between(prng, 0, MODEL_LEASES - 1);
    char key[8];

    snprintf(key, sizeof key, "k%03u", k % 1000);
    if (to != 0 && !m->there[to])
        to = 0;
    leases_move(leases, slice_str(key), m->lease_of[k], to);
    m->lease_of[k] = to;
}

/* Everything that is due comes out, earliest first, and nothing else. */
static void take_all_due(struct leases *leases, struct model *m, uint64_t now_ms)
{
    uint64_t last = 0;
    int64_t id;

    while (take_due(leases, now_ms, &id)) {
        assert_true(m->there[id] && !m->taken[id]);
        assert_true(m->end_ms[id] <= now_ms);
        assert_true(m->end_ms[id] >= last);
        last = m->end_ms[id];
        m->taken[id] = true;
    }
    for (unsigned n = 1; n < MODEL_LEASES; n++)
        assert_false(m->there[n] && !m->taken[n] && m->end_ms[n] <= now_ms);
}

static void random_use_is_as_in_a_plain_table(void **state)
{
    struct leases *leases = *state;
    struct model model = {0}, *m = &model;
    uint64_t seed = (uint64_t)time(NULL), now_ms = 1000;
    struct prng prng;

    printf("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    leases_lead(leases, now_ms, 0);
    for (int step = 0; step < MODEL_STEPS; step++) {
        unsigned n = (unsigned)prng_between(&prng, 1, MODEL_LEASES - 1);
        int64_t ttl = (int64_t)prng_between(&prng, 1, 20);
        enum lease_state wanted = LEASE_UNKNOWN;

        now_ms += prng_between(&prng, 0, 300);
        switch (prng_between(&prng, 0, 9)) {
        case 0:
        case 1:
            assert_int_equal(leases_grant(leases, n, ttl, now_ms), m->there[n] ? KV_EEXIST : 0);
            if (!m->there[n]) {
                m->there[n] = true;
                m->ttl[n] = ttl;
                m->end_ms[n] = now_ms + (uint64_t)ttl * 1000;
            }
            break;
        case 2:
            revoke_both(leases, m, n);
            break;
        case 3:
        case 4:
            if (m->there[n])
                wanted = m->end_ms[n] <= now_ms ? LEASE_DUE : LEASE_LIVE;
            assert_int_equal(renew(leases, n, now_ms), wanted);
            if (wanted == LEASE_LIVE)
                m->end_ms[n] = now_ms + (uint64_t)m->ttl[n] * 1000;
            break;
        case 5:
            take_all_due(leases, m, now_ms);
            break;
        default:
            move_some_key(leases, m, &prng);
            break;
        }
        check_lease(leases, m, n);
    }
    take_all_due(leases, m, UINT64_MAX);
}

/* Leases that are granted for ever must show somewhere. */
static void bytes_follow_the_number_of_leases(void **state)
{
    struct leases *leases = *state;
    size_t one;

    assert_int_equal(leases_bytes(leases), 0);
    assert_int_equal(leases_grant(leases, 1, 60, 0), 0);
    one = leases_bytes(leases);
    assert_true(one >= 64);
    for (int64_t id = 2; id <= 1000; id++)
        assert_int_equal(leases_grant(leases, id, 60, 0), 0);
    assert_int_equal(leases_bytes(leases), 1000 * one);
    for (int64_t id = 1; id <= 1000; id++)
        assert_true(leases_revoke(leases, id));
    assert_int_equal(leases_bytes(leases), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(an_id_is_granted_once),
        TEST(grants_that_no_member_should_propose_are_refused),
        TEST(keys_hang_on_one_lease_in_ascending_order),
        TEST(digest_tells_states_apart_and_not_the_way_to_them),
        TEST(leases_never_end_on_a_member_that_does_not_lead),
        TEST(a_new_leader_gives_the_whole_ttl_and_more),
        TEST(a_renewal_counts_from_itself),
        TEST(a_lease_that_is_due_is_there_but_not_renewed),
        TEST(the_longest_ttl_ends_in_the_far_future),
        TEST(the_list_is_by_remaining_time_then_id),
        TEST(bytes_follow_the_number_of_leases),
        TEST(grants_are_numbered_and_numbers_do_not_come_back),
        TEST(digest_tells_grants_apart),
        TEST(what_is_stored_and_loaded_is_the_same),
        TEST(records_that_can_not_be_are_refused),
        TEST(a_new_leader_goes_on_from_the_checkpoint),
        TEST(a_checkpoint_is_of_one_grant_only),
        TEST(a_lease_renewed_at_half_time_has_no_checkpoint),
        TEST(a_lease_that_runs_down_has_four_checkpoints_at_most),
        TEST(short_leases_have_few_checkpoints_or_none),
        TEST(checkpoints_go_on_under_the_next_leader),
        TEST(a_renewal_is_held_until_its_checkpoint_is_cleared),
        TEST(a_clear_that_failed_is_handed_out_again),
        TEST(a_lease_that_is_gone_wants_no_clear),
        TEST(random_use_is_as_in_a_plain_table),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
