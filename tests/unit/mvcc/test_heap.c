/* The records' memory alone: allocations of all sizes are filled with a pattern of their own, so
 * that two sharing a byte, or one lost in a move, would show. MVCC_TEST_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/util.h"
#include "mvcc/heap.h"

enum { BLOCKS = 20000 };

struct block {
    uint8_t *ptr; /* NULL: not there; begins with its own number, for victims */
    size_t size;
};

struct fixture {
    struct heap heap;
    struct prng prng;
    struct block blocks[BLOCKS];
    size_t moved, left;
};

static int setup(void **state)
{
    const char *given = getenv("MVCC_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    struct fixture *f = calloc(1, sizeof *f);

    print_message("MVCC_TEST_SEED=%llu\n", (unsigned long long)seed);
    prng_seed(&f->prng, seed);
    heap__init(&f->heap);
    *state = f;
    return 0;
}

static void fill(struct block *block, uint32_t number)
{
    memcpy(block->ptr, &number, sizeof number);
    memset(block->ptr + sizeof number, (int)(number * 31 % 251), block->size - sizeof number);
}

static void check(const struct block *block, uint32_t number)
{
    assert_memory_equal(block->ptr, &number, sizeof number);
    for (size_t i = sizeof number; i < block->size; i++)
        if (block->ptr[i] != number * 31 % 251)
            fail_msg("block %u of %zu bytes is damaged at %zu", number, block->size, i);
}

static void take(struct fixture *f, uint32_t number, size_t size)
{
    f->blocks[number] = (struct block){heap__alloc(&f->heap, size), size};
    fill(&f->blocks[number], number);
}

static void give(struct fixture *f, uint32_t number)
{
    struct block *block = &f->blocks[number];

    if (block->ptr == NULL)
        return;
    check(block, number);
    heap__free(&f->heap, block->ptr, block->size);
    block->ptr = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (uint32_t i = 0; i < BLOCKS; i++)
        give(f, i);
    assert_int_equal(f->heap.live, 0);
    assert_int_equal(f->heap.bytes, 0);
    heap__release(&f->heap);
    free(f);
    return 0;
}

/* Few sizes mostly, so that their classes have slabs enough. */
static size_t random_size(struct fixture *f)
{
    static const size_t usual[] = {60, 100, 340, 1000};

    if (prng_chance(&f->prng, 900000))
        return usual[prng_between(&f->prng, 0, ARRAY_LEN(usual) - 1)];
    return (size_t)prng_between(&f->prng, 8, prng_chance(&f->prng, 100000) ? 30000 : 4000);
}

/* Moves up to n victims; now and then one stays. */
static void evacuate(struct fixture *f, size_t n)
{
    uint8_t *ptr;

    while (n-- > 0 && (ptr = heap__victim(&f->heap)) != NULL) {
        struct block old;
        uint32_t number;

        memcpy(&number, ptr, sizeof number);
        old = f->blocks[number];
        assert_ptr_equal(old.ptr, ptr);
        if (prng_chance(&f->prng, 2000)) {
            f->left++;
            continue;
        }
        f->blocks[number].ptr = heap__alloc(&f->heap, old.size);
        memcpy(f->blocks[number].ptr, old.ptr, old.size);
        heap__free(&f->heap, old.ptr, old.size);
        f->moved++;
    }
}

static void evacuate_all(struct fixture *f)
{
    heap__evacuation_begin(&f->heap);
    while (heap__evacuation_pending(&f->heap))
        evacuate(f, 100);
}

static void blocks_keep_their_bytes_while_others_come_go_and_move(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 40; round++) {
        uint32_t share = (uint32_t)prng_between(&f->prng, 50000, 950000);

        for (uint32_t i = 0; i < BLOCKS; i++) {
            if (f->blocks[i].ptr == NULL && prng_chance(&f->prng, share))
                take(f, i, random_size(f));
            else if (f->blocks[i].ptr != NULL && prng_chance(&f->prng, 1000000 - share))
                give(f, i);
            if (prng_chance(&f->prng, 100000))
                evacuate(f, 3);
        }
        heap__evacuation_begin(&f->heap);
    }
    assert_true(f->moved > 1000);
    assert_true(f->left > 0);
}

static void holes_are_taken_before_new_memory(void **state)
{
    struct fixture *f = *state;
    size_t full;

    for (uint32_t i = 0; i < BLOCKS; i++)
        take(f, i, 340);
    full = f->heap.bytes;
    for (int round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < BLOCKS; i += 3)
            give(f, i);
        for (uint32_t i = 0; i < BLOCKS; i += 3)
            take(f, i, 340);
    }
    assert_int_equal(f->heap.bytes, full);
}

static void evacuation_leaves_few_holes(void **state)
{
    struct fixture *f = *state;
    size_t need;

    for (uint32_t i = 0; i < BLOCKS; i++)
        take(f, i, 340);
    need = f->heap.bytes / 4;
    for (uint32_t i = 0; i < BLOCKS; i++)
        if (i % 4 != 0)
            give(f, i);
    evacuate_all(f);
    assert_true(f->heap.bytes <= need * 36 / 35 + 2 * 65536);
    for (uint32_t i = 0; i < BLOCKS; i++)
        if (f->blocks[i].ptr != NULL)
            check(&f->blocks[i], i);
}

static void evacuation_moves_nothing_where_holes_are_few(void **state)
{
    struct fixture *f = *state;

    for (uint32_t i = 0; i < BLOCKS; i++)
        take(f, i, 340);
    for (uint32_t i = 0; i < BLOCKS; i += 40)
        give(f, i);
    evacuate_all(f);
    assert_int_equal(f->moved, 0);
}

/* Otherwise the same slab would be tried for ever. */
static void evacuation_ends_though_nothing_can_be_moved(void **state)
{
    struct fixture *f = *state;
    size_t named = 0;

    for (uint32_t i = 0; i < BLOCKS; i++)
        take(f, i, 340);
    for (uint32_t i = 0; i < BLOCKS; i++)
        if (i % 3 != 0)
            give(f, i);
    heap__evacuation_begin(&f->heap);
    while (heap__victim(&f->heap) != NULL)
        named++;
    assert_false(heap__evacuation_pending(&f->heap));
    assert_true(named > 0);
    assert_true(named <= f->heap.live);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(blocks_keep_their_bytes_while_others_come_go_and_move),
        T(holes_are_taken_before_new_memory),
        T(evacuation_leaves_few_holes),
        T(evacuation_moves_nothing_where_holes_are_few),
        T(evacuation_ends_though_nothing_can_be_moved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
