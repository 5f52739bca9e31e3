/* The cache of recent entries: one run without holes, bounded by bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <raft.h>
#include <string.h>

#include "base/util.h"
#include "raft/cache.h"

/* One allocation holding count entries of the byte fill, pushed from index on. */
static void push(struct cache *cache, uint64_t index, unsigned count, size_t len, uint8_t fill)
{
    uint8_t *memory = raft_malloc(count * len + 1);
    struct cache_blob *blob = cache_blob_new(memory);

    memset(memory, fill, count * len + 1);
    for (unsigned i = 0; i < count; i++)
        cache_push(cache, index + i, 1, RAFT_COMMAND, slice_of(memory + i * len, len), blob);
    cache_blob_unref(blob);
}

static void oldest_entries_go_when_the_limit_is_reached(void **state)
{
    struct cache cache;

    (void)state;
    cache_init(&cache, 4000);
    for (uint64_t index = 1; index <= 1000; index++) {
        push(&cache, index, 1, 100, (uint8_t)index);
        cache_trim(&cache, index);
        assert_true(cache.bytes <= 4000);
    }
    assert_null(cache_get(&cache, 1));
    assert_null(cache_get(&cache, 1001));
    assert_int_equal(cache_get(&cache, 1000)->data.data[99], (uint8_t)1000);
    cache_release(&cache);
}

static void nothing_above_what_is_on_disk_goes(void **state)
{
    struct cache cache;

    (void)state;
    cache_init(&cache, 100);
    push(&cache, 5, 50, 100, 7);
    cache_trim(&cache, 20);
    assert_null(cache_get(&cache, 20));
    assert_non_null(cache_get(&cache, 21));
    assert_int_equal(cache.count, 34);
    cache_release(&cache);
}

static void memory_shared_by_entries_lives_until_the_last_of_them(void **state)
{
    struct cache cache;

    (void)state;
    cache_init(&cache, 0);
    push(&cache, 1, 3, 10, 9);
    cache_trim(&cache, 1);
    cache_cut(&cache, 3);
    assert_int_equal(cache.count, 1);
    assert_int_equal(cache_get(&cache, 2)->data.data[9], 9); /* ASan watches */
    cache_release(&cache);
}

static void cut_below_the_oldest_empties_it_and_it_starts_anew(void **state)
{
    struct cache cache;

    (void)state;
    cache_init(&cache, 1 << 20);
    push(&cache, 100, 10, 10, 1);
    cache_cut(&cache, 50);
    assert_int_equal(cache.count, 0);
    assert_int_equal(cache.bytes, 0);
    push(&cache, 50, 100, 10, 2);
    assert_int_equal(cache_get(&cache, 149)->data.data[0], 2);
    cache_release(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oldest_entries_go_when_the_limit_is_reached),
        cmocka_unit_test(nothing_above_what_is_on_disk_goes),
        cmocka_unit_test(memory_shared_by_entries_lives_until_the_last_of_them),
        cmocka_unit_test(cut_below_the_oldest_empties_it_and_it_starts_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
