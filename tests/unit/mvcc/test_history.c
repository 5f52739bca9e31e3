/* A store walked as a list of changes and made again from it (mvcc/history.c); pins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/prng.h"
#include "mvcc/mvcc.h"

enum { KEYS = 300 };

static void put(struct mvcc *mvcc, const char *key, const char *value, int64_t lease)
{
    struct mvcc_txn txn;

    mvcc_txn_begin(mvcc, &txn);
    mvcc_txn_put(&txn, slice_str(key), slice_str(value), lease, NULL, NULL);
    (void)mvcc_txn_end(&txn);
}

static void delete_range(struct mvcc *mvcc, const char *key, const char *end)
{
    struct mvcc_span span = {slice_str(key), slice_str(end)};
    struct arena arena;
    struct mvcc_txn txn;

    arena_init(&arena);
    mvcc_txn_begin(mvcc, &txn);
    (void)mvcc_txn_delete(&txn, span, &arena, NULL);
    (void)mvcc_txn_end(&txn);
    arena_release(&arena);
}

static void write_randomly(struct mvcc *mvcc, struct prng *prng, int count)
{
    char key[32], end[32], value[32];

    for (int i = 0; i < count; i++) {
        unsigned n = (unsigned)prng_between(prng, 0, KEYS - 1);

        snprintf(key, sizeof key, "key%03u", n);
        snprintf(end, sizeof end, "key%03u", n + (unsigned)prng_between(prng, 1, 5));
        snprintf(value, sizeof value, "%d", i);
        if (prng_chance(prng, 200000))
            delete_range(mvcc, key, end);
        else
            put(mvcc, key, value, prng_chance(prng, 300000) ? 7 : 0);
    }
}

static struct mvcc *copy_of(struct mvcc *mvcc)
{
    struct mvcc *copy = mvcc_new(2);
    struct mvcc_history history;
    struct mvcc_change change;

    mvcc_history_begin(mvcc, &history);
    while (mvcc_history_next(&history, &change))
        assert_int_equal(mvcc_load(copy, &change), 0);
    assert_int_equal(mvcc_load_end(copy, history.revision, history.compact_revision), 0);
    mvcc_history_end(&history);
    return copy;
}

static uint32_t hash_at(struct mvcc *mvcc, int64_t revision)
{
    int64_t compacted;
    uint32_t hash;

    assert_int_equal(mvcc_hash_kv(mvcc, revision, &hash, &compacted), 0);
    assert_int_equal(compacted, mvcc_compact_revision(mvcc));
    return hash;
}

/* All that a read at a revision can see. */
static uint32_t picture(struct mvcc *mvcc, int64_t revision)
{
    struct mvcc_range range = {.span = {slice_of("", 1), slice_of("", 1)}, .revision = revision};
    struct mvcc_range_result result;
    struct arena arena;
    uint32_t crc = 0;

    arena_init(&arena);
    assert_int_equal(mvcc_range(mvcc, &range, &arena, &result), 0);
    for (size_t i = 0; i < result.len; i++) {
        const struct mvcc_kv *kv = &result.kvs[i];

        crc = crc32c_extend(crc, kv->key.data, kv->key.len);
        crc = crc32c_extend(crc, kv->value.data, kv->value.len);
        crc = crc32c_extend(crc, &kv->create_revision, 4 * sizeof(int64_t)); /* and its fellows */
    }
    arena_release(&arena);
    return crc;
}

static void assert_same(struct mvcc *a, struct mvcc *b)
{
    assert_int_equal(mvcc_revision(a), mvcc_revision(b));
    assert_int_equal(mvcc_compact_revision(a), mvcc_compact_revision(b));
    assert_int_equal(mvcc_key_count(a), mvcc_key_count(b));
    assert_int_equal(mvcc_bytes_in_use(a), mvcc_bytes_in_use(b));
    for (int64_t r = MAX(mvcc_compact_revision(a), 1); r <= mvcc_revision(a); r += 97) {
        assert_int_equal(picture(a, r), picture(b, r));
        assert_int_equal(hash_at(a, r), hash_at(b, r));
    }
    assert_int_equal(hash_at(a, 0), hash_at(b, 0));
}

/* Random writes with compactions that are done, half done and not begun when the walk comes. */
static void a_store_made_from_its_changes_is_the_same_and_goes_on_the_same(void **state)
{
    uint64_t seed = (uint64_t)time(NULL);
    struct prng prng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (int round = 0; round < 12; round++) {
        struct mvcc *mvcc = mvcc_new(1), *copy;

        for (int i = 0; i < 3; i++) {
            write_randomly(mvcc, &prng, 1000);
            (void)mvcc_compact(mvcc, mvcc_revision(mvcc) - (int64_t)prng_between(&prng, 0, 900));
            for (uint64_t n = prng_between(&prng, 0, 20); n > 0; n--)
                (void)mvcc_compact_step(mvcc, 100);
        }
        copy = copy_of(mvcc);
        assert_same(mvcc, copy);

        for (int i = 0; i < 2; i++) {
            struct prng twin = prng;

            write_randomly(mvcc, &prng, 500);
            write_randomly(copy, &twin, 500);
            assert_int_equal(mvcc_compact(mvcc, mvcc_revision(mvcc) - 100), 0);
            assert_int_equal(mvcc_compact(copy, mvcc_revision(copy) - 100), 0);
            while (mvcc_compact_step(copy, 1000))
                continue;
            assert_same(mvcc, copy);
        }
        mvcc_free(copy);
        mvcc_free(mvcc);
    }
}

static void an_empty_store_has_no_changes(void **state)
{
    struct mvcc *mvcc = mvcc_new(1), *copy = copy_of(mvcc);

    (void)state;
    assert_int_equal(mvcc_revision(copy), 1);
    assert_same(mvcc, copy);
    mvcc_free(copy);
    mvcc_free(mvcc);
}

/* Writes, deletes and a compaction beside a walk: it shows the state at its begin. */
static void a_walk_shows_the_state_at_its_begin(void **state)
{
    struct mvcc *mvcc = mvcc_new(1), *before, *copy = mvcc_new(1);
    struct mvcc_history history;
    struct mvcc_change change;
    struct prng prng;
    int n = 0;

    (void)state;
    prng_seed(&prng, 3);
    write_randomly(mvcc, &prng, 2000);
    before = copy_of(mvcc);
    mvcc_history_begin(mvcc, &history);
    while (mvcc_history_next(&history, &change)) {
        assert_int_equal(mvcc_load(copy, &change), 0);
        if (++n % 50 == 0) {
            write_randomly(mvcc, &prng, 50);
            (void)mvcc_compact(mvcc, mvcc_revision(mvcc) - 10);
            (void)mvcc_compact_step(mvcc, 1000);
        }
    }
    assert_int_equal(mvcc_load_end(copy, history.revision, history.compact_revision), 0);
    mvcc_history_end(&history);
    mvcc_history_end(&history);
    assert_same(before, copy);
    mvcc_free(before);
    mvcc_free(copy);
    mvcc_free(mvcc);
}

static void what_was_handed_out_stays_while_pinned(void **state)
{
    struct mvcc *mvcc = mvcc_new(1);
    struct mvcc_kv old;
    size_t full;

    (void)state;
    put(mvcc, "key", "old", 0);
    assert_true(mvcc_get(mvcc, slice_str("key"), &old));
    mvcc_pin(mvcc);
    mvcc_pin(mvcc);
    put(mvcc, "key", "new", 0);
    assert_int_equal(mvcc_compact(mvcc, 3), 0);
    full = mvcc_bytes(mvcc);
    assert_true(mvcc_compact_step(mvcc, 1000));
    mvcc_unpin(mvcc);
    assert_true(mvcc_compact_step(mvcc, 1000));
    assert_true(slice_eq(old.value, slice_str("old")));
    assert_int_equal(mvcc_bytes(mvcc), full);
    mvcc_unpin(mvcc);
    while (mvcc_compact_step(mvcc, 1000))
        continue;
    assert_int_equal(mvcc_key_count(mvcc), 1);
    mvcc_free(mvcc);
}

static struct mvcc_change change_of(const char *key, int64_t revision, uint32_t sub, int64_t create,
                                    int64_t version)
{
    return (struct mvcc_change){.kv = {.key = slice_str(key),
                                       .value = slice_str("v"),
                                       .create_revision = create,
                                       .mod_revision = revision,
                                       .version = version},
                                .sub = sub,
                                .is_tombstone = version == 0};
}

static void load_refuses_what_no_store_can_hold(void **state)
{
    struct mvcc *mvcc = mvcc_new(1);
    struct mvcc_change good[] = {
        change_of("a", 5, 0, 5, 1),
        change_of("b", 5, 3, 2, 4), /* what was before is compacted */
        change_of("a", 6, 0, 5, 2),
        change_of("a", 7, 0, 0, 0),
    };
    struct mvcc_change bad[] = {
        change_of("c", 6, 9, 6, 1),  /* a revision again */
        change_of("c", 7, 0, 7, 1),  /* a place in it again */
        change_of("", 8, 0, 8, 1),   /* no key */
        change_of("c", 8, 0, 9, 1),  /* created after it was changed */
        change_of("c", 8, 0, 0, 1),  /* never created */
        change_of("c", 8, 0, 8, -1), /* no such version */
    };
    struct mvcc_change contradictions[] = {
        change_of("b", 8, 0, 2, 6), /* a version was left out */
        change_of("b", 8, 0, 3, 5), /* created at another time */
        change_of("a", 8, 0, 5, 3), /* goes on after its deletion */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(mvcc_load(mvcc, &good[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(mvcc_load(mvcc, &bad[i]), KV_ECORRUPT);
    assert_int_equal(mvcc_load_end(mvcc, 6, -1), KV_ECORRUPT);
    assert_int_equal(mvcc_load_end(mvcc, 7, 8), KV_ECORRUPT);
    assert_int_equal(mvcc_load_end(mvcc, 7, -2), KV_ECORRUPT);
    assert_int_equal(mvcc_load_end(mvcc, 9, 4), 0);
    assert_int_equal(mvcc_revision(mvcc), 9);
    assert_int_equal(mvcc_key_count(mvcc), 1);
    mvcc_free(mvcc);

    for (size_t i = 0; i < ARRAY_LEN(contradictions); i++) {
        mvcc = mvcc_new(1);
        for (size_t k = 0; k < ARRAY_LEN(good); k++)
            assert_int_equal(mvcc_load(mvcc, &good[k]), 0);
        assert_int_equal(mvcc_load(mvcc, &contradictions[i]), 0);
        assert_int_equal(mvcc_load_end(mvcc, 9, 4), KV_ECORRUPT);
        mvcc_free(mvcc);
    }
}

/* Keys that share long beginnings, are beginnings of others, or end in zeros, many times over. */
static void keys_of_every_kind_are_put_in_order(void **state)
{
    static const char *const stems[] = {"", "/registry/pods/kube-system/", "/registry/pods/", "z"};
    uint64_t seed = (uint64_t)time(NULL);
    struct mvcc *mvcc = mvcc_new(1), *copy;
    struct prng prng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (int i = 0; i < 20000; i++) {
        const char *stem = stems[prng_between(&prng, 0, ARRAY_LEN(stems) - 1)];
        size_t len = strlen(stem), tail = (size_t)prng_between(&prng, 0, 20);
        struct mvcc_txn txn;
        uint8_t key[64];

        memcpy(key, stem, len);
        for (size_t k = 0; k < tail || len == 0; k++)
            key[len++] = (uint8_t)(prng_chance(&prng, 300000) ? 0 : prng_between(&prng, 97, 99));
        mvcc_txn_begin(mvcc, &txn);
        if (prng_chance(&prng, 200000))
            (void)mvcc_txn_delete(&txn, (struct mvcc_span){.key = slice_of(key, len)}, NULL, NULL);
        else
            mvcc_txn_put(&txn, slice_of(key, len), slice_str("value"), 0, NULL, NULL);
        (void)mvcc_txn_end(&txn);
    }
    copy = copy_of(mvcc);
    assert_same(mvcc, copy);
    mvcc_free(copy);
    mvcc_free(mvcc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_made_from_its_changes_is_the_same_and_goes_on_the_same),
        cmocka_unit_test(an_empty_store_has_no_changes),
        cmocka_unit_test(a_walk_shows_the_state_at_its_begin),
        cmocka_unit_test(what_was_handed_out_stays_while_pinned),
        cmocka_unit_test(load_refuses_what_no_store_can_hold),
        cmocka_unit_test(keys_of_every_kind_are_put_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
