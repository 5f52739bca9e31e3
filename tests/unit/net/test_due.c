/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <time.h>

#include "base/prng.h"
#include "base/util.h"
#include "net/due.h"

enum { NODES = 300, STEPS = 20000 };

static struct due *earliest(struct due *nodes, size_t count)
{
    struct due *best = NULL;

    for (size_t i = 0; i < count; i++)
        if (nodes[i].place != DUE_UNSET && (best == NULL || nodes[i].at_ms < best->at_ms))
            best = &nodes[i];
    return best;
}

/* Random sets, moves and clears against a plain search for the minimum. */
static void the_first_is_always_the_earliest(void **state)
{
    static struct due nodes[NODES];
    struct due_heap heap;
    struct prng prng;
    uint64_t seed = (uint64_t)time(NULL);

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    due_heap_init(&heap);
    for (size_t i = 0; i < STEPS; i++) {
        struct due *node = &nodes[prng_between(&prng, 0, NODES - 1)];
        struct due *best;

        if (prng_chance(&prng, 700000))
            due_set(&heap, node, prng_between(&prng, 1, 1000));
        else
            due_clear(&heap, node);
        best = earliest(nodes, NODES);
        if (best == NULL)
            assert_null(due_first(&heap));
        else
            assert_int_equal(due_first(&heap)->at_ms, best->at_ms);
    }
    due_heap_release(&heap);
}

static void clearing_what_is_not_set_changes_nothing(void **state)
{
    struct due_heap heap;
    struct due a = {0}, b = {0};

    (void)state;
    due_heap_init(&heap);
    due_clear(&heap, &a);
    due_set(&heap, &b, 7);
    due_clear(&heap, &a);
    assert_ptr_equal(due_first(&heap), &b);
    due_clear(&heap, &b);
    due_clear(&heap, &b);
    assert_null(due_first(&heap));
    due_heap_release(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_always_the_earliest),
        cmocka_unit_test(clearing_what_is_not_set_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
