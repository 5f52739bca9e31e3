/* Answers made in pieces (server/encode_range.h): cut anywhere, and with writes and compactions in
 * between, they are what encode_range() makes in one go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/prng.h"
#include "proto/rpc.pb-c.h"
#include "server/encode_range.h"

enum { KEYS = 800, ANSWERS = 150, BIG_VALUE = 20000, MEASURED_MAX = 100 };

struct store {
    struct mvcc *mvcc;
    struct prng prng;
};

static unsigned pick(struct store *s, unsigned low, unsigned high)
{
    return (unsigned)prng_between(&s->prng, low, high);
}

static void write_some(struct store *s, unsigned count)
{
    static const uint8_t big[BIG_VALUE] = "value";
    char key[32], end[32];

    for (unsigned i = 0; i < count; i++) {
        unsigned n = pick(s, 0, KEYS - 1), len = prng_chance(&s->prng, 20000) ? BIG_VALUE : 90;
        struct mvcc_txn txn;

        snprintf(key, sizeof key, "key/%u", n);
        snprintf(end, sizeof end, "key/%u0", n);
        mvcc_txn_begin(s->mvcc, &txn);
        if (prng_chance(&s->prng, 100000))
            (void)mvcc_txn_delete(&txn, (struct mvcc_span){slice_str(key), slice_str(end)}, NULL,
                                  NULL);
        else
            mvcc_txn_put(&txn, slice_str(key), slice_of(big, pick(s, 0, len)),
                         prng_chance(&s->prng, 300000) ? INT64_MIN : 0, NULL, NULL);
        (void)mvcc_txn_end(&txn);
    }
}

static struct mvcc_range choose_range(struct store *s)
{
    struct mvcc_range range = {.span = {slice_str("key/"), slice_str("key0")}};
    int64_t now = mvcc_revision(s->mvcc), oldest = MAX(mvcc_compact_revision(s->mvcc), 1);

    if (prng_chance(&s->prng, 200000))
        range.span = (struct mvcc_span){slice_of("", 1), slice_of("", 1)};
    if (prng_chance(&s->prng, 100000))
        range.span.end = slice_of(NULL, 0);
    if (prng_chance(&s->prng, 400000))
        range.limit = pick(s, 1, KEYS);
    if (prng_chance(&s->prng, 300000))
        range.revision = (int64_t)prng_between(&s->prng, (uint64_t)oldest, (uint64_t)now);
    if (prng_chance(&s->prng, 200000))
        range.flags |= MVCC_KEYS_ONLY;
    if (prng_chance(&s->prng, 100000))
        range.flags |= MVCC_COUNT_ONLY;
    if (prng_chance(&s->prng, 300000))
        range.order = (enum mvcc_order)pick(s, MVCC_ORDER_NONE, MVCC_ORDER_DESCEND);
    if (prng_chance(&s->prng, 300000))
        range.target = (enum mvcc_target)pick(s, MVCC_BY_KEY, MVCC_BY_VALUE);
    if (prng_chance(&s->prng, 200000))
        range.create_min = (int64_t)prng_between(&s->prng, 1, (uint64_t)now);
    return range;
}

static struct slice one_shot(struct store *s, const struct mvcc_range *range,
                             const struct encode_header *header, struct arena *arena)
{
    struct mvcc_range_result result;
    size_t size;
    uint8_t *out;

    assert_int_equal(mvcc_range(s->mvcc, range, arena, &result), 0);
    size = encode_range_size(header, &result);
    out = arena_alloc(arena, size);
    assert_ptr_equal(encode_range(out, header, &result), out + size);
    return slice_of(out, size);
}

/* What may happen between two pieces. Only a measured scan can make itself safe. */
static void disturb(struct store *s, struct mvcc_scan *scan, bool measured)
{
    int64_t now = mvcc_revision(s->mvcc);

    if (prng_chance(&s->prng, 300000))
        write_some(s, pick(s, 1, 40));
    if (prng_chance(&s->prng, 100000))
        (void)mvcc_compact(s->mvcc, now - (int64_t)pick(s, 0, 30));
    if (!mvcc_scan_is_safe(scan) && (!measured || !mvcc_scan_save(scan, pick(s, 1, 200))))
        return;
    (void)mvcc_compact_step(s->mvcc, pick(s, 1, 200));
}

static struct range_encoding measure(struct store *s, struct mvcc_scan *scan)
{
    struct range_encoding encoding = {.len = 0};
    struct mvcc_kv kvs[MEASURED_MAX];
    bool done = false;

    while (!mvcc_scan_prepare(scan, pick(s, 1, 200)))
        disturb(s, scan, false);
    while (!done) {
        size_t n = mvcc_scan_measure(scan, kvs, pick(s, 1, MEASURED_MAX), &done);

        encoding.len += n;
        encoding.kv_bytes += range_encoder_measure(kvs, n);
        if (!done)
            disturb(s, scan, false);
    }
    return encoding;
}

static size_t choose_piece(struct store *s, size_t left)
{
    size_t max = prng_chance(&s->prng, 300000) ? 3 : prng_chance(&s->prng, 500000) ? 200 : 20000;
    size_t n = pick(s, 1, (unsigned)max);

    return MIN(n, left);
}

static void any_cut_gives_the_same_bytes(void **state)
{
    uint64_t seed = (uint64_t)time(NULL) * 1000003 ^ (uint64_t)getpid();
    const struct encode_header header = {
        .cluster_id = UINT64_MAX, .member_id = 7, .revision = 1 << 20, .raft_term = 3};
    struct store s = {.mvcc = mvcc_new(1)};

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&s.prng, seed);
    write_some(&s, 2000);
    for (int i = 0; i < ANSWERS; i++) {
        struct mvcc_range range = choose_range(&s);
        struct range_encoding encoding;
        struct range_encoder encoder;
        struct mvcc_scan scan;
        struct arena arena;
        struct slice want;
        uint8_t *got;

        arena_init(&arena);
        want = one_shot(&s, &range, &header, &arena);
        assert_int_equal(mvcc_scan_begin(s.mvcc, &range, &scan), 0);
        encoding = measure(&s, &scan);
        encoding.header = &header;
        range_encoder_init(&encoder, &scan, &encoding);
        assert_int_equal(encoder.size, want.len);
        got = arena_alloc(&arena, want.len);
        while (encoder.made < encoder.size) {
            range_encoder_make(&encoder, got + encoder.made,
                               choose_piece(&s, encoder.size - encoder.made));
            disturb(&s, &scan, true);
        }
        assert_memory_equal(got, want.data, want.len);
        mvcc_scan_end(&scan);
        arena_release(&arena);
    }
    mvcc_free(s.mvcc);
}

/* Messages of a stream, as protobuf-c reads them: put together they are the whole answer. */
static void messages_of_a_stream_add_up(void **state)
{
    const struct encode_header header = {.cluster_id = 5, .revision = 9};
    struct mvcc_range range = {.span = {slice_of("", 1), slice_of("", 1)}, .limit = 95};
    struct store s = {.mvcc = mvcc_new(1)};
    struct mvcc_scan scan;
    struct arena arena;
    struct slice want;
    struct buf got;
    bool done = false;
    int messages = 0;

    (void)state;
    prng_seed(&s.prng, 1);
    write_some(&s, 1000);
    arena_init(&arena);
    buf_init(&got, SIZE_MAX / 2);
    want = one_shot(&s, &range, &header, &arena);
    assert_int_equal(mvcc_scan_begin(s.mvcc, &range, &scan), 0);
    assert_true(mvcc_scan_prepare(&scan, 1));
    for (; !done; messages++) {
        Etcdserverpb__RangeStreamResponse *message;
        Etcdserverpb__RangeResponse *body;
        struct range_encoding encoding = {.in_stream = true};
        struct range_encoder encoder;
        struct mvcc_kv kvs[10];
        uint8_t *bytes;
        size_t len;

        encoding.len = mvcc_scan_measure(&scan, kvs, 10, &done);
        encoding.kv_bytes = range_encoder_measure(kvs, encoding.len);
        encoding.header = done ? &header : NULL;
        range_encoder_init(&encoder, &scan, &encoding);
        bytes = arena_alloc(&arena, encoder.size);
        range_encoder_make(&encoder, bytes, encoder.size);
        message = etcdserverpb__range_stream_response__unpack(NULL, encoder.size, bytes);
        assert_non_null(message);
        body = message->range_response;
        assert_int_equal(body->n_kvs, done ? 5 : 10);
        assert_int_equal(body->header != NULL, done);
        assert_int_equal(body->count != 0, done);
        assert_int_equal(body->more, done);
        len = etcdserverpb__range_response__get_packed_size(body);
        assert_int_equal(buf_append(&got, bytes + encoder.size - len, len), 0);
        etcdserverpb__range_stream_response__free_unpacked(message, NULL);
    }
    assert_int_equal(messages, 10);
    /* The header comes last here and first there: as long, and equal once read. */
    assert_int_equal(got.len, want.len);
    {
        Etcdserverpb__RangeResponse *merged, *whole;
        uint8_t *a = arena_alloc(&arena, got.len);

        merged = etcdserverpb__range_response__unpack(NULL, got.len, got.data);
        whole = etcdserverpb__range_response__unpack(NULL, want.len, want.data);
        assert_non_null(merged);
        assert_non_null(whole);
        assert_int_equal(etcdserverpb__range_response__pack(merged, a), want.len);
        assert_memory_equal(a, want.data, want.len);
        etcdserverpb__range_response__free_unpacked(merged, NULL);
        etcdserverpb__range_response__free_unpacked(whole, NULL);
    }
    mvcc_scan_end(&scan);
    buf_release(&got);
    arena_release(&arena);
    mvcc_free(s.mvcc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut_gives_the_same_bytes),
        cmocka_unit_test(messages_of_a_stream_add_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
