/* The ordered index, the history of events, and scans of a cache at older revisions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/prng.h"
#include "kube/store/internal.h"

enum { KEYS = 1500, STEPS = 20000, REVISIONS = 300 };

static struct prng prng;

static int seed(void **state)
{
    uint64_t value = (uint64_t)time(NULL);

    (void)state;
    print_message("seed %llu\n", (unsigned long long)value);
    prng_seed(&prng, value);
    return 0;
}

static const struct kube_resource *pods(void)
{
    return kube_resource_find(slice_str(""), slice_str("v1"), slice_str("pods"));
}

/* A pod of namespace n0 ... n4 on one of five nodes, "" among them. */
static struct kube_object *pod(unsigned number, int64_t revision, unsigned node)
{
    struct arena arena = ARENA_INIT;
    struct kube_object *out = NULL;
    struct err err = ERR_INIT;
    char key[64], text[256];

    (void)snprintf(key, sizeof(key), "n%u/p%04u", number % 5, number);
    (void)snprintf(text, sizeof(text),
                   "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p%04u\","
                   "\"namespace\":\"n%u\"},\"spec\":{\"nodeName\":\"%.*s%u\"}}",
                   number, number % 5, node == 0 ? 0 : 4, "node", node);
    assert_int_equal(
        kube__object_new(pods(), slice_str(key), slice_str(text), revision, &arena, &out, &err), 0);
    arena_release(&arena);
    return out;
}

static size_t by_node(void)
{
    return (size_t)kube__field_index(pods(), slice_str("spec.nodeName")) + 1;
}

/* ---- the index ---- */

static int by_place(const void *left, const void *right)
{
    struct kube_object *const *a = left, *const *b = right;

    return slice_cmp(kube__object_key(*a), kube__object_key(*b));
}

/* The same objects as model, in order, and the ranks are right. */
static void assert_holds(const struct kube__index *index, struct kube_object **model)
{
    struct kube_object *sorted[KEYS], *object;
    struct kube__position at = {0};
    size_t count = 0, bytes = 0;

    for (size_t i = 0; i < KEYS; i++)
        if (model[i] != NULL)
            sorted[count++] = model[i];
    qsort(sorted, count, sizeof(*sorted), by_place);
    assert_int_equal(index->count, count);
    for (size_t i = 0; i < count; i++) {
        struct kube__place place = kube__index_place(index, sorted[i]);

        assert_int_equal(kube__index_rank(index, at), i);
        object = kube__index_next(index, &at);
        assert_ptr_equal(object, sorted[i]);
        assert_int_equal(kube__index_rank(index, kube__index_seek(index, place)), i);
        bytes += object->len;
    }
    assert_null(kube__index_next(index, &at));
    assert_int_equal(index->bytes, bytes);
}

static void index_holds_what_a_sorted_array_would(void **state)
{
    struct kube_object *model[KEYS] = {0};
    struct kube__index index = {0};

    (void)state;
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned number = (unsigned)prng_between(&prng, 0, KEYS - 1);
        struct kube_object *object = pod(number, step, 0), *old;
        struct kube__place place = {.key = kube__object_key(object)};

        assert_ptr_equal(kube__index_find(&index, place.key), model[number]);
        if (prng_chance(&prng, step < STEPS / 2 ? 300000 : 700000)) {
            old = kube__index_remove(&index, place);
            kube_object_unref(object);
            object = NULL;
        } else {
            old = kube__index_put(&index, object);
        }
        assert_ptr_equal(old, model[number]);
        kube_object_unref(old);
        model[number] = object;
        if (step % (STEPS / 10) == 0)
            assert_holds(&index, model);
    }
    assert_holds(&index, model);
    kube__index_release(&index);
}

static void index_filled_in_order_has_full_chunks(void **state)
{
    struct kube__index index = {0};

    (void)state;
    for (unsigned i = 0; i < KUBE__CHUNK * 4; i++)
        assert_null(kube__index_put(&index, pod(5 * i, 1, 0)));
    assert_int_equal(index.chunk_count, 4);
    kube__index_release(&index);
}

static void index_by_node_finds_the_pods_of_one(void **state)
{
    struct kube__index index = {.by = by_node()};
    struct kube__place first = {.value = slice_str("node3")};
    struct kube__position at;
    struct kube_object *object;
    unsigned found = 0;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_null(kube__index_put(&index, pod(i, 1, i % 7)));
    at = kube__index_seek(&index, first);
    while ((object = kube__index_next(&index, &at)) != NULL &&
           slice_eq(kube__object_field(object, by_node() - 1), first.value))
        found++;
    assert_int_equal(found, 143);
    assert_non_null(object); /* those of node4 follow */
    kube__index_release(&index);
}

/* ---- history ---- */

static void push(struct kube__history *history, int64_t revision, uint64_t at_ms)
{
    struct kube__event event = {
        .revision = revision,
        .at_ms = at_ms,
        .type = KUBE_ADDED,
        .object = pod(1, revision, 0),
    };

    kube__history_push(history, &event);
}

static void history_is_found_by_revision(void **state)
{
    struct kube__history history = {0};

    (void)state;
    for (int64_t revision = 10; revision < 1000; revision += 10)
        push(&history, revision, 0);
    assert_int_equal(kube__history_seek(&history, 0), 0);
    assert_int_equal(kube__history_seek(&history, 9), 0);
    assert_int_equal(kube__history_seek(&history, 10), 1);
    assert_int_equal(kube__history_seek(&history, 505), 50);
    assert_int_equal(kube__history_seek(&history, 990), history.next);
    kube__history_release(&history);
}

static void history_keeps_what_is_young_or_in_use(void **state)
{
    struct kube__history history = {0};

    (void)state;
    for (int64_t revision = 1; revision <= 2000; revision++)
        push(&history, revision, (uint64_t)revision);
    kube__history_trim(&history, 0, 0, 3000, UINT64_MAX); /* all are young */
    assert_int_equal(history.first, 0);
    kube__history_trim(&history, 0, 0, 1000000, 500); /* number 500 is in use */
    assert_int_equal(history.first, 500);
    assert_int_equal(history.from, 500);
    kube__history_trim(&history, 0, 0, 1000000, UINT64_MAX); /* a thousand stay, however old */
    assert_int_equal(history.next - history.first, 1024);
    kube__history_trim(&history, 100, 0, 1000000, UINT64_MAX); /* as many as are allowed */
    assert_int_equal(history.next - history.first, 100);
    assert_int_equal(history.from, 1900);
    kube__history_reset(&history, 5000);
    assert_int_equal(history.from, 5000);
    assert_int_equal(history.bytes, 0);
    kube__history_release(&history);
}

/* ---- scans ---- */

struct fixture {
    struct kube_cache cache;
    struct kube_object *states[REVISIONS + 1][50]; /* borrowed from index and history */
};

/* One random change a revision. */
static void change(struct fixture *f, int64_t revision)
{
    unsigned number = (unsigned)prng_between(&prng, 0, 49);
    struct kube_object *object = pod(number, revision, number % 4);
    struct kube__place place = {.key = kube__object_key(object)};
    struct kube__event event = {.revision = revision, .type = KUBE_MODIFIED};

    memcpy(f->states[revision], f->states[revision - 1], sizeof(f->states[0]));
    if (prng_chance(&prng, 400000)) {
        event.prev = kube__index_remove(&f->cache.index, place);
        event.type = KUBE_DELETED;
        event.object = object;
        object = NULL;
    } else {
        event.prev = kube__index_put(&f->cache.index, object);
        event.object = kube_object_ref(object);
    }
    f->states[revision][number] = object;
    if (event.prev == NULL && event.type == KUBE_DELETED)
        kube_object_unref(event.object);
    else
        kube__history_push(&f->cache.history, &event);
    f->cache.revision = revision;
}

static void assert_scan(struct fixture *f, const char *prefix, const char *start, int64_t revision)
{
    struct kube_selector none = {0};
    struct arena arena = ARENA_INIT;
    struct kube_object *sorted[50], *object;
    struct kube__scan scan;
    size_t count = 0;

    for (size_t i = 0; i < 50; i++) {
        object = f->states[revision][i];
        if (object != NULL && slice_cmp(kube__object_key(object), slice_str(start)) >= 0 &&
            memcmp(kube__object_key(object).data, prefix, strlen(prefix)) == 0)
            sorted[count++] = object;
    }
    qsort(sorted, count, sizeof(*sorted), by_place);
    assert_true(kube__scan_begin(&scan, &f->cache, &arena, &none, slice_str(prefix),
                                 slice_str(start), revision));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(kube__scan_rest(&scan, &arena), count - i);
        assert_ptr_equal(kube__scan_next(&scan), sorted[i]);
    }
    assert_int_equal(kube__scan_rest(&scan, &arena), 0);
    assert_null(kube__scan_next(&scan));
    arena_release(&arena);
}

static void scan_shows_every_revision_in_the_history(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct kube_selector none = {0};
    struct arena arena = ARENA_INIT;
    struct kube__scan scan;

    (void)state;
    for (int64_t revision = 1; revision <= REVISIONS; revision++)
        change(f, revision);
    for (int64_t revision = 0; revision <= REVISIONS; revision++) {
        assert_scan(f, "", "", revision);
        assert_scan(f, "n2/", "n2/", revision);
        assert_scan(f, "n2/", "n2/p0023", revision);
        assert_scan(f, "", "n3/p", revision);
    }
    assert_false(kube__scan_begin(&scan, &f->cache, &arena, &none, slice_str(""), slice_str(""),
                                  REVISIONS + 1));
    f->cache.history.from = 10;
    assert_false(
        kube__scan_begin(&scan, &f->cache, &arena, &none, slice_str(""), slice_str(""), 9));
    arena_release(&arena);
    kube__history_release(&f->cache.history);
    kube__index_release(&f->cache.index);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_holds_what_a_sorted_array_would),
        cmocka_unit_test(index_filled_in_order_has_full_chunks),
        cmocka_unit_test(index_by_node_finds_the_pods_of_one),
        cmocka_unit_test(history_is_found_by_revision),
        cmocka_unit_test(history_keeps_what_is_young_or_in_use),
        cmocka_unit_test(scan_shows_every_revision_in_the_history),
    };

    return cmocka_run_group_tests(tests, seed, NULL);
}
