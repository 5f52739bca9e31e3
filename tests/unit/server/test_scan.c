/* Requests that are meant to hurt (faults.md section 6), and the hand-written encoder against
 * protobuf-c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/codec.h"
#include "base/mem.h"
#include "base/prng.h"
#include "proto/rpc.pb-c.h"
#include "server/encode.h"
#include "server/machine_internal.h"
#include "server/scan.h"

static const ProtobufCMessageDescriptor *txn_type = &etcdserverpb__txn_request__descriptor;

static uint64_t start_seed(void)
{
    const char *given = getenv("KVD_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

    print_message("KVD_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* Puts content into a message field: tag, length, content. */
static void wrap(struct buf *message, uint8_t tag)
{
    struct buf outer;

    buf_init(&outer, 1 << 20);
    assert_int_equal(buf_append_u8(&outer, tag), 0);
    assert_int_equal(buf_append_varint(&outer, message->len), 0);
    assert_int_equal(buf_append(&outer, message->data, message->len), 0);
    buf_release(message);
    *message = outer;
}

/* A txn in a txn in a txn: each level is two messages, RequestOp and TxnRequest. */
static struct buf nested_txn(int levels)
{
    struct buf message;

    buf_init(&message, 1 << 20);
    for (int i = 1; i < levels; i++) {
        wrap(&message, 0x22); /* RequestOp.request_txn */
        wrap(&message, 0x12); /* TxnRequest.success */
    }
    return message;
}

static void messages_nested_to_the_cap_pass_and_one_level_more_is_refused(void **state)
{
    struct buf deepest = nested_txn(SCAN_DEPTH_MAX / 2), deeper;

    (void)state;
    assert_int_equal(scan_check(txn_type, buf_slice(&deepest)), 0);
    deeper = nested_txn(SCAN_DEPTH_MAX / 2 + 1);
    assert_int_equal(scan_check(txn_type, buf_slice(&deeper)), KV_EPROTO);
    buf_release(&deepest);
    buf_release(&deeper);
}

static void messages_nested_10000_deep_are_refused(void **state)
{
    struct buf message = nested_txn(5000);
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *out;

    (void)state;
    assert_int_equal(scan_check(txn_type, buf_slice(&message)), KV_EPROTO);
    assert_int_equal(scan_unpack(txn_type, buf_slice(&message), &arena, &out), KV_EPROTO);
    assert_int_equal(arena.used, 0);
    arena_release(&arena);
    buf_release(&message);
}

/* 1.5 MB of empty sub-messages, which protobuf-c alone would turn into 54 MB. */
static void element_bomb_is_refused_before_it_takes_memory(void **state)
{
    const size_t len = 1536 << 10;
    struct arena arena = ARENA_INIT;
    uint8_t *bytes = xcalloc(1, len);
    ProtobufCMessage *out;

    (void)state;
    for (size_t i = 0; i < len; i += 2)
        bytes[i] = 0x12;
    assert_int_equal(scan_unpack(txn_type, slice_of(bytes, len), &arena, &out), KV_EPROTO);
    assert_int_equal(arena.used, 0);
    /* Spread over the levels it is no better. */
    assert_int_equal(scan_check(txn_type, slice_of(bytes, 2 * SCAN_ELEMENTS_MAX)), 0);
    assert_int_equal(scan_check(txn_type, slice_of(bytes, 2 * SCAN_ELEMENTS_MAX + 2)), KV_EPROTO);
    free(bytes);
    arena_release(&arena);
}

static void unknown_fields_are_ignored_and_count_as_elements(void **state)
{
    static const uint8_t put[] = {0x0a, 1, 'k', 0xa2, 0x1f, 2, 0xff, 0xff, 0xa8, 0x1f, 7};
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *out;

    (void)state;
    assert_int_equal(scan_unpack(&etcdserverpb__put_request__descriptor, slice_of(put, sizeof put),
                                 &arena, &out),
                     0);
    assert_int_equal(((Etcdserverpb__PutRequest *)out)->key.len, 1);
    arena_release(&arena);
}

static void malformed_bytes_are_refused(void **state)
{
    static const char *const bad[] = {
        "\x0a",                                             /* no length */
        "\x0a\x05k",                                        /* longer than what is there */
        "\x0b",                                             /* a group */
        "\x06",                                             /* wire type 6 */
        "\x0d\x01\x02",                                     /* 4 bytes announced */
        "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", /* endless varint */
        "\x02\x01x",                                        /* field number 0 */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(scan_check(&etcdserverpb__put_request__descriptor, slice_str(bad[i])),
                         KV_EPROTO);
}

/* Whatever the scan lets pass, protobuf-c takes or refuses without harm (ASan watches). */
static void any_bytes_are_taken_or_refused_without_harm(void **state)
{
    struct arena arena = ARENA_INIT;
    struct prng prng;
    int taken = 0;

    (void)state;
    prng_seed(&prng, start_seed());
    for (int round = 0; round < 50000; round++) {
        size_t len = prng_between(&prng, 0, 40);
        uint8_t *bytes = xmalloc(len + 1);
        ProtobufCMessage *out;

        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)prng_between(&prng, 0, prng_chance(&prng, 800000) ? 0x22 : 255);
        taken += scan_unpack(txn_type, slice_of(bytes, len), &arena, &out) == 0;
        arena_reset(&arena);
        free(bytes);
    }
    assert_true(taken > 100);
    arena_release(&arena);
}

/* ---- the encoder ---- */

static int64_t random_number(struct prng *prng)
{
    return (int64_t)(prng_next(prng) >> prng_between(prng, 0, 63)) *
           (prng_chance(prng, 100000) ? -1 : 1);
}

static struct slice random_bytes(struct prng *prng, struct arena *arena)
{
    size_t len =
        prng_chance(prng, 200000) ? prng_between(prng, 100, 20000) : prng_between(prng, 0, 30);
    uint8_t *bytes = arena_alloc(arena, len);

    memset(bytes, (int)prng_between(prng, 0, 255), len);
    return slice_of(bytes, len);
}

/* Byte for byte what protobuf-c writes, and exactly the size announced. */
static void range_answer_is_encoded_as_protobuf_does(void **state)
{
    struct arena arena = ARENA_INIT;
    struct prng prng;

    (void)state;
    prng_seed(&prng, start_seed());
    for (int round = 0; round < 500; round++) {
        size_t len = prng_between(&prng, 0, 20);
        struct mvcc_kv *kvs = arena_alloc(&arena, len * sizeof *kvs);
        struct mvcc_range_result result = {.kvs = kvs, .len = len, .count = random_number(&prng)};
        struct encode_header header = {prng_next(&prng), prng_next(&prng), random_number(&prng),
                                       prng_between(&prng, 0, 300)};
        Etcdserverpb__RangeResponse *reference;
        size_t size, packed;
        uint8_t *ours, *theirs;

        result.more = prng_chance(&prng, 500000);
        for (size_t i = 0; i < len; i++)
            kvs[i] = (struct mvcc_kv){random_bytes(&prng, &arena), random_bytes(&prng, &arena),
                                      random_number(&prng),        random_number(&prng),
                                      random_number(&prng),        random_number(&prng)};
        reference = machine__range_response(&arena, &result, header.revision);
        reference->header->cluster_id = header.cluster_id;
        reference->header->member_id = header.member_id;
        reference->header->raft_term = header.raft_term;
        packed = etcdserverpb__range_response__get_packed_size(reference);
        size = encode_range_size(&header, &result);
        assert_int_equal(size, packed);
        ours = xmalloc(size);
        theirs = xmalloc(packed);
        assert_ptr_equal(encode_range(ours, &header, &result), ours + size);
        (void)etcdserverpb__range_response__pack(reference, theirs); /* its size is known */
        assert_memory_equal(ours, theirs, size);
        free(ours);
        free(theirs);
        arena_reset(&arena);
    }
    arena_release(&arena);
}

static void answer_of_a_header_alone_is_encoded_as_protobuf_does(void **state)
{
    struct encode_header header = {.cluster_id = 1, .member_id = UINT64_MAX, .revision = 300};
    Etcdserverpb__ResponseHeader message = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__PutResponse put = ETCDSERVERPB__PUT_RESPONSE__INIT;
    uint8_t ours[64], theirs[64];
    size_t size = encode_empty_size(&header);

    (void)state;
    message.cluster_id = 1;
    message.member_id = UINT64_MAX;
    message.revision = 300;
    put.header = &message;
    assert_int_equal(size, etcdserverpb__put_response__get_packed_size(&put));
    assert_ptr_equal(encode_empty(ours, &header), ours + size);
    (void)etcdserverpb__put_response__pack(&put, theirs); /* its size is known */
    assert_memory_equal(ours, theirs, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_nested_to_the_cap_pass_and_one_level_more_is_refused),
        cmocka_unit_test(messages_nested_10000_deep_are_refused),
        cmocka_unit_test(element_bomb_is_refused_before_it_takes_memory),
        cmocka_unit_test(unknown_fields_are_ignored_and_count_as_elements),
        cmocka_unit_test(malformed_bytes_are_refused),
        cmocka_unit_test(any_bytes_are_taken_or_refused_without_harm),
        cmocka_unit_test(range_answer_is_encoded_as_protobuf_does),
        cmocka_unit_test(answer_of_a_header_alone_is_encoded_as_protobuf_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
