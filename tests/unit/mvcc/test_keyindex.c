/* The tree alone, deep enough to split and merge inner nodes: keyindex__check() proves order,
 * counts, heads and change marks after each stage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "mvcc/keyindex.h"

enum { KEYS = 150000 };

struct fixture {
    struct heap heap;
    struct keyindex index;
    struct record **records; /* the newest of each key, by number */
    int64_t main;
};

static struct slice key_of(char text[32], unsigned number)
{
    return slice_of(text, (size_t)snprintf(text, 32, "/registry/%08u", number));
}

static void drop(struct fixture *f, struct record *record)
{
    if (record != NULL)
        record__free(&f->heap, record);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->records = calloc(KEYS, sizeof *f->records);
    heap__init(&f->heap);
    keyindex__init(&f->index);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    keyindex__release(&f->index);
    for (unsigned i = 0; i < KEYS; i++)
        drop(f, f->records[i]);
    heap__release(&f->heap);
    free(f->records);
    free(f);
    return 0;
}

static void replace(struct fixture *f, unsigned number, struct record *record)
{
    struct record *old = keyindex__put(&f->index, record);

    assert_ptr_equal(old, f->records[number]);
    drop(f, old);
    f->records[number] = record;
}

static void put(struct fixture *f, unsigned number)
{
    char text[32];

    replace(f, number,
            record__put(&f->heap, ++f->main, 0, key_of(text, number), slice_of(NULL, 0), 0));
}

static void bury(struct fixture *f, unsigned number)
{
    char text[32];

    replace(f, number, record__tombstone(&f->heap, ++f->main, 0, key_of(text, number)));
}

static void take_out(struct fixture *f, unsigned number)
{
    char text[32];

    keyindex__remove(&f->index, key_of(text, number));
    drop(f, f->records[number]);
    f->records[number] = NULL;
}

/* A permutation of all numbers: 7919 is prime to KEYS. */
static unsigned shuffled(unsigned i)
{
    return (unsigned)((uint64_t)i * 7919 % KEYS);
}

static size_t count(const struct fixture *f, unsigned first, unsigned last)
{
    char from[32], to[32];
    struct mvcc_span span = {key_of(from, first), key_of(to, last)};

    return keyindex__count(&f->index, span, INT64_MAX);
}

static void keys_in_any_order_make_a_sound_tree(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < KEYS; i++)
        put(f, shuffled(i));
    keyindex__check(&f->index);
    assert_int_equal(f->index.live, KEYS);
    for (unsigned i = 0; i < KEYS; i += 1000)
        assert_int_equal(count(f, i, KEYS), KEYS - i);
}

static void ascending_keys_fill_nodes_nearly_whole(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < KEYS; i++)
        put(f, i);
    keyindex__check(&f->index);
    assert_true(f->index.bytes / KEYS <= 14); /* 12 is what an entry takes */
}

/* Full leaves share with their neighbours before they split. */
static void keys_in_random_order_fill_leaves_well(void **state)
{
    struct fixture *f = *state;
    unsigned *order = xcalloc(KEYS, sizeof *order);
    struct prng prng;

    prng_seed(&prng, 1);
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned at = (unsigned)prng_between(&prng, 0, i);

        order[i] = order[at];
        order[at] = i;
    }
    for (unsigned i = 0; i < KEYS; i++) {
        put(f, order[i]);
        if (i % 10000 == 0)
            keyindex__check(&f->index);
    }
    keyindex__check(&f->index);
    assert_true(f->index.bytes <= (size_t)KEYS * 17); /* 19.7 without */
    for (unsigned i = 0; i < KEYS; i += 1000)
        assert_int_equal(count(f, i, KEYS), KEYS - i);
    free(order);
}

static void descending_keys_make_a_sound_tree(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = KEYS; i-- > 0;)
        put(f, i);
    keyindex__check(&f->index);
    assert_int_equal(count(f, 0, KEYS), KEYS);
}

/* Tombstones replace live records and leave; the tree shrinks to one leaf and grows again. */
static void removing_all_keys_in_any_order_empties_the_tree(void **state)
{
    struct fixture *f = *state;
    struct mvcc_span all = {slice_of("", 1), slice_of("", 1)};
    size_t empty = f->index.bytes;

    for (unsigned i = 0; i < KEYS; i++)
        put(f, i);
    for (unsigned i = 0; i < KEYS; i++) {
        bury(f, shuffled(i));
        if (i % 3 > 0)
            take_out(f, shuffled(i));
        if (i % 10000 == 0)
            keyindex__check(&f->index);
    }
    keyindex__check(&f->index);
    assert_int_equal(f->index.live, 0);
    assert_int_equal(keyindex__count(&f->index, all, INT64_MAX), 0);
    for (unsigned i = 0; i < KEYS; i += 3)
        take_out(f, shuffled(i));
    assert_int_equal(f->index.bytes, empty);
    assert_int_equal(f->index.height, 0);
    put(f, 5);
    put(f, 3);
    keyindex__check(&f->index);
    assert_int_equal(count(f, 0, KEYS), 2);
}

/* Between two live keys lie a hundred thousand deleted ones: the walk steps over whole subtrees. */
static void walk_of_live_keys_steps_over_deleted_ones(void **state)
{
    struct fixture *f = *state;
    struct keyindex_cursor cursor;
    char text[32];

    for (unsigned i = 0; i < KEYS; i++)
        put(f, i);
    for (unsigned i = 1; i < KEYS - 1; i++)
        bury(f, i);
    keyindex__seek(&f->index, key_of(text, 0), INT64_MAX, &cursor);
    assert_ptr_equal(keyindex__next(&cursor), f->records[0]);
    assert_ptr_equal(keyindex__next(&cursor), f->records[KEYS - 1]);
    assert_null(keyindex__next(&cursor));
    assert_null(keyindex__next(&cursor));
    keyindex__seek_rank(&f->index, 1, &cursor);
    assert_ptr_equal(keyindex__next(&cursor), f->records[KEYS - 1]);

    /* At an old revision it must look at what changed since; here nothing keeps a history. */
    keyindex__seek(&f->index, key_of(text, 0), KEYS, &cursor);
    assert_ptr_equal(keyindex__next(&cursor), f->records[0]);
    assert_ptr_equal(keyindex__next(&cursor), f->records[KEYS - 1]);
    assert_null(keyindex__next(&cursor));
}

static void rank_and_place_of_a_key_agree(void **state)
{
    struct fixture *f = *state;
    char text[32];

    for (unsigned i = 0; i < KEYS; i++)
        put(f, shuffled(i));
    for (unsigned i = 0; i < KEYS; i += 2)
        bury(f, i);
    for (unsigned rank = 0; rank < KEYS / 2; rank += 97) {
        struct keyindex_cursor cursor;
        const struct record *record;

        keyindex__seek_rank(&f->index, rank, &cursor);
        record = keyindex__next(&cursor);
        assert_ptr_equal(record, f->records[2 * rank + 1]);
        assert_int_equal(keyindex__rank(&f->index, key_of(text, 2 * rank + 1)), rank);
    }
}

/* Keys that differ only far behind what a head holds. */
static void equal_heads_are_told_apart(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[40];
    unsigned n = 0;

    memset(bytes, 'x', sizeof bytes);
    for (size_t len = 1; len <= sizeof bytes; len++)
        for (unsigned last = 0; last < 3; last++) {
            struct record *record;

            bytes[len - 1] = (uint8_t)("\0xy"[last]);
            record =
                record__put(&f->heap, ++f->main, 0, slice_of(bytes, len), slice_of(NULL, 0), 0);
            replace(f, n++, record);
            bytes[len - 1] = 'x';
        }
    keyindex__check(&f->index);
    assert_int_equal(f->index.live, n);
    for (unsigned i = 0; i < n; i++)
        assert_ptr_equal(keyindex__get(&f->index, record__key(f->records[i])), f->records[i]);
    assert_null(keyindex__get(&f->index, slice_of("x\0\0", 3)));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(keys_in_any_order_make_a_sound_tree),
        T(ascending_keys_fill_nodes_nearly_whole),
        T(keys_in_random_order_fill_leaves_well),
        T(descending_keys_make_a_sound_tree),
        T(removing_all_keys_in_any_order_empties_the_tree),
        T(walk_of_live_keys_steps_over_deleted_ones),
        T(rank_and_place_of_a_key_agree),
        T(equal_heads_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
