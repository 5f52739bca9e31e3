/* Messages written and read by hand, beside the same messages by protobuf-c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "base/util.h"
#include "bench/wire.h"
#include "proto/kv.pb-c.h"
#include "proto/rpc.pb-c.h"

#define BYTES(text) ((ProtobufCBinaryData){strlen(text), (uint8_t *)(text)})

static int setup(void **state)
{
    struct buf *out = xcalloc(1, sizeof *out);

    buf_init(out, SIZE_MAX / 2);
    *state = out;
    return 0;
}

static int teardown(void **state)
{
    buf_release(*state);
    free(*state);
    return 0;
}

static struct slice packed(struct buf *out, const void *message)
{
    buf_reset(out);
    (void)buf_reserve(out, protobuf_c_message_get_packed_size(message));
    out->len = protobuf_c_message_pack(message, out->data);
    return buf_slice(out);
}

static void is_text(ProtobufCBinaryData bytes, const char *text)
{
    assert_int_equal(bytes.len, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.len);
}

/* ---- requests: written by us, read by protobuf-c ---- */

static void a_put_says_what_it_should(void **state)
{
    struct buf *out = *state;
    Etcdserverpb__PutRequest *put;

    wire_put(out, slice_str("key"), slice_str("value"), 77);
    put = etcdserverpb__put_request__unpack(NULL, out->len, out->data);
    assert_non_null(put);
    is_text(put->key, "key");
    is_text(put->value, "value");
    assert_int_equal(put->lease, 77);
    etcdserverpb__put_request__free_unpacked(put, NULL);
}

static void a_range_says_what_it_should(void **state)
{
    const struct wire_range range = {.key = slice_str("a"),
                                     .end = slice_str("b"),
                                     .limit = 500,
                                     .revision = 9,
                                     .serializable = true,
                                     .keys_only = true,
                                     .count_only = true};
    struct buf *out = *state;
    Etcdserverpb__RangeRequest *got;

    wire_range(out, &range);
    got = etcdserverpb__range_request__unpack(NULL, out->len, out->data);
    assert_non_null(got);
    is_text(got->key, "a");
    is_text(got->range_end, "b");
    assert_int_equal(got->limit, 500);
    assert_int_equal(got->revision, 9);
    assert_true(got->serializable && got->keys_only && got->count_only);
    etcdserverpb__range_request__free_unpacked(got, NULL);
}

/* Values long enough that the lengths around them grow, each by a byte. */
static void a_txn_nests_at_every_size(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 120, 127, 128, 16380, 16400, 300000};
    uint8_t *value = xcalloc(1, 300000);

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf *out = *state;
        Etcdserverpb__TxnRequest *txn;

        buf_reset(out);
        wire_txn_compare_mod(out, slice_str("k"), WIRE_GREATER, -1);
        wire_txn_put(out, WIRE_SUCCESS, slice_str("k"), slice_of(value, sizes[i]), 5);
        wire_txn_range(out, WIRE_FAILURE, slice_str("k"));
        wire_txn_delete(out, WIRE_FAILURE, slice_str("d"));
        txn = etcdserverpb__txn_request__unpack(NULL, out->len, out->data);
        assert_non_null(txn);
        assert_int_equal(txn->n_compare, 1);
        assert_int_equal(txn->compare[0]->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER);
        assert_int_equal(txn->compare[0]->target, ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD);
        assert_int_equal(txn->compare[0]->mod_revision, -1);
        assert_int_equal(txn->n_success, 1);
        assert_int_equal(txn->success[0]->request_put->value.len, sizes[i]);
        assert_int_equal(txn->success[0]->request_put->lease, 5);
        assert_int_equal(txn->n_failure, 2);
        is_text(txn->failure[0]->request_range->key, "k");
        is_text(txn->failure[1]->request_delete_range->key, "d");
        etcdserverpb__txn_request__free_unpacked(txn, NULL);
    }
    free(value);
}

/* "MOD = 0" is how Kubernetes creates: the 0 is in a oneof and must be there. */
static void a_compare_with_revision_zero_names_its_target(void **state)
{
    struct buf *out = *state;
    Etcdserverpb__TxnRequest *txn;

    wire_txn_compare_mod(out, slice_str("k"), WIRE_EQUAL, 0);
    txn = etcdserverpb__txn_request__unpack(NULL, out->len, out->data);
    assert_non_null(txn);
    assert_int_equal(txn->compare[0]->target_union_case,
                     ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION);
    assert_int_equal(txn->compare[0]->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL);
    etcdserverpb__txn_request__free_unpacked(txn, NULL);
}

static void a_watch_and_a_lease_say_what_they_should(void **state)
{
    struct buf *out = *state;
    Etcdserverpb__WatchRequest *watch;
    Etcdserverpb__LeaseGrantRequest *grant;

    wire_watch_create(out, slice_str("a"), slice_str("b"), 12);
    watch = etcdserverpb__watch_request__unpack(NULL, out->len, out->data);
    assert_non_null(watch);
    assert_int_equal(watch->request_union_case,
                     ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST);
    is_text(watch->create_request->key, "a");
    is_text(watch->create_request->range_end, "b");
    assert_int_equal(watch->create_request->watch_id, 12);
    etcdserverpb__watch_request__free_unpacked(watch, NULL);

    buf_reset(out);
    wire_lease_grant(out, 60);
    grant = etcdserverpb__lease_grant_request__unpack(NULL, out->len, out->data);
    assert_non_null(grant);
    assert_int_equal(grant->ttl, 60);
    assert_int_equal(grant->id, 0);
    etcdserverpb__lease_grant_request__free_unpacked(grant, NULL);
}

/* ---- answers: written by protobuf-c, read by us ---- */

static Etcdserverpb__ResponseHeader *header(int64_t revision)
{
    static Etcdserverpb__ResponseHeader h = ETCDSERVERPB__RESPONSE_HEADER__INIT;

    h.cluster_id = UINT64_MAX;
    h.member_id = 1;
    h.raft_term = 2;
    h.revision = revision;
    return &h;
}

static Mvccpb__KeyValue kv(const char *key, const char *value, int64_t mod_revision)
{
    Mvccpb__KeyValue out = MVCCPB__KEY_VALUE__INIT;

    out.key = BYTES(key);
    out.value = BYTES(value);
    out.create_revision = 1;
    out.mod_revision = mod_revision;
    out.version = 3;
    out.lease = 4;
    return out;
}

static void a_range_answer_is_read_whole(void **state)
{
    Mvccpb__KeyValue kvs[] = {kv("a", "1", 5), kv("b", "22", 6), kv("c", "", 7)};
    Mvccpb__KeyValue *list[] = {&kvs[0], &kvs[1], &kvs[2]};
    Etcdserverpb__RangeResponse answer = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    struct wire_range_answer got;

    answer.header = header(100);
    answer.n_kvs = 3;
    answer.kvs = list;
    answer.more = 1;
    answer.count = 1000;
    assert_true(wire_read_range(packed(*state, &answer), &got));
    assert_int_equal(got.revision, 100);
    assert_int_equal(got.kvs, 3);
    assert_int_equal(got.count, 1000);
    assert_true(got.more && got.ordered);
    assert_true(slice_eq(got.first.key, slice_str("a")));
    assert_true(slice_eq(got.last.key, slice_str("c")));
    assert_int_equal(got.last.mod_revision, 7);
    assert_true(slice_eq(got.first.value, slice_str("1")));

    list[0] = &kvs[1]; /* the same key twice is no order */
    assert_true(wire_read_range(packed(*state, &answer), &got));
    assert_false(got.ordered);
}

static void an_answer_without_a_header_has_no_revision(void **state)
{
    Etcdserverpb__RangeResponse answer = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    struct wire_range_answer got;

    answer.count = 1;
    assert_true(wire_read_range(packed(*state, &answer), &got));
    assert_int_equal(got.revision, -1);
    assert_int_equal(wire_read_revision(packed(*state, &answer)), -1);
    assert_int_equal(wire_read_revision(slice_of(NULL, 0)), -1);
}

static void a_txn_answer_shows_branch_and_key(void **state)
{
    Mvccpb__KeyValue one = kv("k", "v", 41), *list[] = {&one};
    Etcdserverpb__RangeResponse range = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Etcdserverpb__ResponseOp op = ETCDSERVERPB__RESPONSE_OP__INIT, *ops[] = {&op};
    Etcdserverpb__TxnResponse answer = ETCDSERVERPB__TXN_RESPONSE__INIT;
    struct wire_txn_answer got;

    range.n_kvs = 1;
    range.kvs = list;
    op.response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    op.response_range = &range;
    answer.header = header(50);
    answer.n_responses = 1;
    answer.responses = ops;
    assert_true(wire_read_txn(packed(*state, &answer), &got));
    assert_int_equal(got.revision, 50);
    assert_false(got.succeeded);
    assert_true(got.has_kv);
    assert_int_equal(got.kv.mod_revision, 41);
}

static void a_watch_answer_gives_its_events_in_order(void **state)
{
    Mvccpb__KeyValue kvs[] = {kv("a", "1", 5), kv("b", "", 6)};
    Mvccpb__Event events[] = {MVCCPB__EVENT__INIT, MVCCPB__EVENT__INIT};
    Mvccpb__Event *list[] = {&events[0], &events[1]};
    Etcdserverpb__WatchResponse answer = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    struct wire_watch_answer got;
    struct wire_event event;

    events[0].kv = &kvs[0];
    events[1].kv = &kvs[1];
    events[1].type = MVCCPB__EVENT__EVENT_TYPE__DELETE;
    answer.header = header(6);
    answer.watch_id = 3;
    answer.n_events = 2;
    answer.events = list;
    assert_true(wire_read_watch(packed(*state, &answer), &got));
    assert_int_equal(got.watch_id, 3);
    assert_false(got.created || got.canceled);
    assert_true(wire_next_event(&got, &event));
    assert_false(event.is_delete);
    assert_true(slice_eq(event.kv.value, slice_str("1")));
    assert_true(wire_next_event(&got, &event));
    assert_true(event.is_delete);
    assert_int_equal(event.kv.mod_revision, 6);
    assert_false(wire_next_event(&got, &event));
    assert_false(got.events.bad);
}

static void a_cancelled_watch_says_why(void **state)
{
    Etcdserverpb__WatchResponse answer = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    struct wire_watch_answer got;

    answer.created = answer.canceled = 1;
    answer.watch_id = -1;
    answer.compact_revision = 8;
    answer.cancel_reason = (char *)"no";
    assert_true(wire_read_watch(packed(*state, &answer), &got));
    assert_true(got.created && got.canceled);
    assert_int_equal(got.watch_id, -1);
    assert_int_equal(got.compact_revision, 8);
    assert_true(slice_eq(got.cancel_reason, slice_str("no")));
}

static void a_lease_answer_has_id_and_ttl(void **state)
{
    Etcdserverpb__LeaseGrantResponse answer = ETCDSERVERPB__LEASE_GRANT_RESPONSE__INIT;
    struct wire_lease_answer got;

    answer.header = header(1);
    answer.id = INT64_MIN;
    answer.ttl = 60;
    answer.error = (char *)"none";
    assert_true(wire_read_lease(packed(*state, &answer), &got));
    assert_true(got.id == INT64_MIN);
    assert_int_equal(got.ttl_s, 60);
}

/* Any cut and any changed byte is read or refused, never run past (ASan looks). */
static void damaged_answers_are_read_within_their_bounds(void **state)
{
    Mvccpb__KeyValue kvs[] = {kv("aaaa", "1111", 5), kv("bbbb", "2222", 6)};
    Mvccpb__KeyValue *list[] = {&kvs[0], &kvs[1]};
    Etcdserverpb__RangeResponse answer = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    struct slice whole;
    struct prng prng;

    prng_seed(&prng, 7);
    answer.header = header(100);
    answer.n_kvs = 2;
    answer.kvs = list;
    answer.count = 2;
    whole = packed(*state, &answer);
    for (int i = 0; i < 20000; i++) {
        size_t len = prng_between(&prng, 0, whole.len);
        uint8_t *copy = xmemdup(whole.data, MAX(len, 1)); /* its own block: ASan knows the end */
        struct wire_range_answer range;
        struct wire_watch_answer watch;
        struct wire_txn_answer txn;
        struct wire_event event;

        if (len > 0)
            copy[prng_between(&prng, 0, len - 1)] = (uint8_t)prng_next(&prng);
        (void)wire_read_range(slice_of(copy, len), &range);
        (void)wire_read_txn(slice_of(copy, len), &txn);
        if (wire_read_watch(slice_of(copy, len), &watch)) {
            while (wire_next_event(&watch, &event))
                continue;
        }
        free(copy);
    }
    assert_false(
        wire_read_range(slice_of(whole.data, whole.len - 1), &(struct wire_range_answer){0}));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_put_says_what_it_should),
        TEST(a_range_says_what_it_should),
        TEST(a_txn_nests_at_every_size),
        TEST(a_compare_with_revision_zero_names_its_target),
        TEST(a_watch_and_a_lease_say_what_they_should),
        TEST(a_range_answer_is_read_whole),
        TEST(an_answer_without_a_header_has_no_revision),
        TEST(a_txn_answer_shows_branch_and_key),
        TEST(a_watch_answer_gives_its_events_in_order),
        TEST(a_cancelled_watch_says_why),
        TEST(a_lease_answer_has_id_and_ttl),
        TEST(damaged_answers_are_read_within_their_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
