/* The space quota as arithmetic: costs, the limit, the end of an alarm, warnings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "server/space.h"

enum { MIB = 1 << 20 };

static struct space space_of(int64_t configured)
{
    struct space space;

    space_init(&space, configured);
    return space;
}

static void zero_is_two_gib_and_negative_no_limit(void **state)
{
    struct space space = space_of(0);

    (void)state;
    assert_true(space.quota == INT64_C(2147483648));
    assert_true(space_fits(&space, INT64_C(2147483648) - 301, 300));
    assert_false(space_fits(&space, INT64_C(2147483648) - 300, 300)); /* at the quota is too much */
    space = space_of(-1);
    assert_true(space_fits(&space, UINT64_MAX / 2, MIB));
    assert_false(space_is_short(&space, UINT64_MAX / 2));
    assert_true(space_is_back(&space, UINT64_MAX / 2));
    assert_int_equal(space_crossed(&space, UINT64_MAX / 2), 0);
    space = space_of(MIB);
    assert_false(space_is_short(&space, MIB - 1));
    assert_true(space_is_short(&space, MIB));
}

/* etcd-api.md section 15. */
static void costs_are_etcds(void **state)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__TxnRequest inner = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__RequestOp op_put = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__RequestOp op_del = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__RequestOp op_txn = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__RequestOp *success[] = {&op_put, &op_del, &op_txn};
    Etcdserverpb__RequestOp *failure[] = {&op_put, &op_put, &op_put};

    (void)state;
    put.key = (ProtobufCBinaryData){.data = (uint8_t *)"key", .len = 3};
    put.value = (ProtobufCBinaryData){.data = (uint8_t *)"value", .len = 5};
    assert_int_equal(space_put_cost(&put), 264);
    op_put.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op_put.request_put = &put;
    op_del.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op_del.request_delete_range = &del;
    op_txn.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    op_txn.request_txn = &inner;

    assert_int_equal(space_txn_cost(&txn), 0);
    txn.success = success;
    txn.n_success = ARRAY_LEN(success);
    assert_int_equal(space_txn_cost(&txn), 264);
    inner.failure = failure; /* nested puts count, in the branch that costs more */
    inner.n_failure = 2;
    assert_int_equal(space_txn_cost(&txn), 3 * 264);
    txn.failure = failure;
    txn.n_failure = 1;
    assert_int_equal(space_txn_cost(&txn), 3 * 264);
    inner.n_failure = 0;
    txn.n_failure = 3;
    assert_int_equal(space_txn_cost(&txn), 3 * 264);
    txn.n_failure = 0;
    txn.success = &success[1];
    txn.n_success = 1;
    assert_int_equal(space_txn_cost(&txn), 0); /* deletes cost nothing */
}

static void what_costs_nothing_always_fits(void **state)
{
    struct space space = space_of(100);

    (void)state;
    assert_true(space_fits(&space, 1000, 0));
    assert_int_equal(space.wanted, 0);
}

static void an_alarm_ends_when_a_tenth_is_free(void **state)
{
    struct space space = space_of(1000);

    (void)state;
    assert_false(space_fits(&space, 990, 10));
    assert_false(space_is_back(&space, 990));
    assert_false(space_is_back(&space, 900));
    assert_true(space_is_back(&space, 899));
}

/* Or the same request would raise it again at once. */
static void an_alarm_ends_when_the_refused_request_would_fit(void **state)
{
    struct space space = space_of(1000);

    (void)state;
    assert_false(space_fits(&space, 800, 300));
    assert_false(space_fits(&space, 999, 1)); /* a smaller one changes nothing */
    assert_false(space_is_back(&space, 800));
    assert_false(space_is_back(&space, 700));
    assert_true(space_is_back(&space, 699));
    assert_true(space_fits(&space, 699, 300));
}

static void a_request_that_never_fits_keeps_nobody_out_for_ever(void **state)
{
    struct space space = space_of(1000);

    (void)state;
    assert_false(space_fits(&space, 600, 5000));
    assert_false(space_is_back(&space, 500));
    assert_true(space_is_back(&space, 499));
}

static void each_line_is_warned_of_once_per_crossing(void **state)
{
    static const struct {
        uint64_t used;
        unsigned crossed, warned;
    } steps[] = {
        {0, 0, 0},     {699, 0, 0},   {700, 70, 70}, {701, 0, 70},  {690, 0, 70}, {700, 0, 70},
        {649, 0, 0},   {700, 70, 70}, {850, 85, 85}, {810, 0, 85},  {860, 0, 85}, {790, 0, 70},
        {850, 85, 85}, {950, 95, 95}, {999, 0, 95},  {1200, 0, 95}, {600, 0, 0},  {960, 95, 95},
        {900, 0, 95},  {899, 0, 85},  {799, 0, 70},  {949, 85, 85}, {100, 0, 0},  {950, 95, 95},
    };
    struct space space = space_of(1000);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        assert_int_equal(space_crossed(&space, steps[i].used), steps[i].crossed);
        assert_int_equal(space.warned, steps[i].warned);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_is_two_gib_and_negative_no_limit),
        cmocka_unit_test(costs_are_etcds),
        cmocka_unit_test(what_costs_nothing_always_fits),
        cmocka_unit_test(an_alarm_ends_when_a_tenth_is_free),
        cmocka_unit_test(an_alarm_ends_when_the_refused_request_would_fit),
        cmocka_unit_test(a_request_that_never_fits_keeps_nobody_out_for_ever),
        cmocka_unit_test(each_line_is_warned_of_once_per_crossing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
