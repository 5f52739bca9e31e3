/* Ranges in slices (mvcc/scan.h): whatever happens between two slices, they are what mvcc_range()
 * said when the scan began. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "mvcc/scan.h"

enum { SCANS = 4, ROUNDS = 300, MEASURED_MAX = 300 };

/* ---- a store that changes ---- */

struct store {
    struct mvcc *mvcc;
    struct prng prng;
    unsigned keys; /* how many there can be */
    size_t saved;  /* by scans, of what was to be removed */
};

static unsigned pick(struct store *s, unsigned low, unsigned high)
{
    return (unsigned)prng_between(&s->prng, low, high);
}

static void write_some(struct store *s, unsigned count)
{
    char key[32], end[32], value[64];
    struct arena arena;

    arena_init(&arena);
    for (unsigned i = 0; i < count; i++) {
        unsigned n = pick(s, 0, s->keys - 1);
        struct mvcc_txn txn;

        snprintf(key, sizeof key, "k%05u", n);
        snprintf(end, sizeof end, "k%05u", n + pick(s, 1, 20));
        snprintf(value, sizeof value, "%.*s%u", (int)pick(s, 0, 40),
                 "0123456789012345678901234567890123456789", i);
        mvcc_txn_begin(s->mvcc, &txn);
        if (prng_chance(&s->prng, 150000))
            (void)mvcc_txn_delete(&txn, (struct mvcc_span){slice_str(key), slice_str(end)}, &arena,
                                  NULL);
        else
            mvcc_txn_put(&txn, slice_str(key), slice_str(value),
                         prng_chance(&s->prng, 300000) ? 7 : 0, NULL, NULL);
        (void)mvcc_txn_end(&txn);
    }
    arena_release(&arena);
}

/* ---- a scan beside what it has to give ---- */

struct run {
    bool open;
    bool prepared, measured;
    struct mvcc_scan scan;
    struct mvcc_range range;
    char key[32], end[32];
    struct arena arena;
    struct mvcc_range_result want; /* its slices copied into the arena */
    size_t measured_len, taken_len;
};

static void assert_kv(const struct mvcc_kv *got, const struct mvcc_kv *want)
{
    assert_true(slice_eq(got->key, want->key));
    assert_true(slice_eq(got->value, want->value));
    assert_int_equal(got->create_revision, want->create_revision);
    assert_int_equal(got->mod_revision, want->mod_revision);
    assert_int_equal(got->version, want->version);
    assert_int_equal(got->lease, want->lease);
}

static void choose_range(struct store *s, struct run *run)
{
    int64_t now = mvcc_revision(s->mvcc), oldest = MAX(mvcc_compact_revision(s->mvcc), 1);
    struct mvcc_range *range = &run->range;

    snprintf(run->key, sizeof run->key, "k%05u", pick(s, 0, s->keys / 2));
    snprintf(run->end, sizeof run->end, "k%05u", pick(s, s->keys / 3, s->keys));
    *range = (struct mvcc_range){.span = {slice_str(run->key), slice_str(run->end)}};
    if (prng_chance(&s->prng, 300000))
        range->span = (struct mvcc_span){slice_of("", 1), slice_of("", 1)};
    if (prng_chance(&s->prng, 50000))
        range->span.end = slice_of(NULL, 0);
    if (prng_chance(&s->prng, 400000))
        range->limit = pick(s, 1, 2 * s->keys / 3);
    if (prng_chance(&s->prng, 300000))
        range->revision = (int64_t)prng_between(&s->prng, (uint64_t)oldest, (uint64_t)now);
    if (prng_chance(&s->prng, 200000))
        range->flags = MVCC_KEYS_ONLY;
    if (prng_chance(&s->prng, 50000))
        range->flags = MVCC_COUNT_ONLY;
    if (prng_chance(&s->prng, 400000)) {
        range->order = (enum mvcc_order)pick(s, MVCC_ORDER_NONE, MVCC_ORDER_DESCEND);
        range->target = (enum mvcc_target)pick(s, MVCC_BY_KEY, MVCC_BY_VALUE);
    }
    if (prng_chance(&s->prng, 200000))
        range->mod_min = (int64_t)prng_between(&s->prng, (uint64_t)oldest, (uint64_t)now);
    if (prng_chance(&s->prng, 100000))
        range->create_max = (int64_t)prng_between(&s->prng, (uint64_t)oldest, (uint64_t)now);
}

static void run_begin(struct store *s, struct run *run)
{
    struct mvcc_kv *copy;

    *run = (struct run){.open = true};
    arena_init(&run->arena);
    choose_range(s, run);
    assert_int_equal(mvcc_range(s->mvcc, &run->range, &run->arena, &run->want), 0);
    copy = arena_alloc(&run->arena, run->want.len * sizeof *copy);
    for (size_t i = 0; i < run->want.len; i++) {
        copy[i] = run->want.kvs[i];
        copy[i].key = arena_copy(&run->arena, copy[i].key);
        copy[i].value = arena_copy(&run->arena, copy[i].value);
    }
    run->want.kvs = copy;
    assert_int_equal(mvcc_scan_begin(s->mvcc, &run->range, &run->scan), 0);
    assert_int_equal(run->scan.count, run->want.count);
}

static void run_end(struct run *run)
{
    if (!run->open)
        return;
    mvcc_scan_end(&run->scan);
    mvcc_scan_end(&run->scan);
    arena_release(&run->arena);
    run->open = false;
}

static void run_prepare(struct store *s, struct run *run)
{
    run->prepared = mvcc_scan_prepare(&run->scan, pick(s, 1, 500));
}

static void run_measure(struct store *s, struct run *run)
{
    struct mvcc_kv kvs[MEASURED_MAX];
    size_t n = mvcc_scan_measure(&run->scan, kvs, pick(s, 1, MEASURED_MAX), &run->measured);

    assert_true(run->measured_len + n <= run->want.len);
    for (size_t i = 0; i < n; i++)
        assert_kv(&kvs[i], &run->want.kvs[run->measured_len + i]);
    run->measured_len += n;
    if (!run->measured)
        return;
    assert_int_equal(run->measured_len, run->want.len);
    assert_int_equal(run->scan.len, run->want.len);
    assert_int_equal(run->scan.more, run->want.more);
}

static void run_take(struct store *s, struct run *run)
{
    struct mvcc_kv kvs[MEASURED_MAX];
    size_t n = mvcc_scan_peek(&run->scan, kvs, pick(s, 1, MEASURED_MAX));

    if (n == 0) {
        assert_int_equal(run->taken_len, run->want.len);
        run_end(run);
        return;
    }
    for (size_t i = 0; i < n; i++)
        assert_kv(&kvs[i], &run->want.kvs[run->taken_len + i]);
    n = pick(s, 0, (unsigned)n);
    mvcc_scan_take(&run->scan, kvs, n);
    run->taken_len += n;
}

static void run_step(struct store *s, struct run *run)
{
    if (!run->open)
        run_begin(s, run);
    else if (!run->prepared)
        run_prepare(s, run);
    else if (!run->measured)
        run_measure(s, run);
    else
        run_take(s, run);
}

/* As whoever removes has to: nothing goes before every scan is safe. */
static bool remove_some(struct store *s, struct run *runs)
{
    for (int i = 0; i < SCANS; i++) {
        if (!runs[i].open || mvcc_scan_is_safe(&runs[i].scan))
            continue;
        if (!runs[i].prepared || !runs[i].measured)
            return false;
        if (!mvcc_scan_save(&runs[i].scan, pick(s, 1, 400)))
            return false;
        assert_true(mvcc_scan_is_safe(&runs[i].scan));
        s->saved += runs[i].scan.saved.len;
    }
    (void)mvcc_compact_step(s->mvcc, pick(s, 1, 200));
    return true;
}

static void compact_somewhere(struct store *s)
{
    int64_t now = mvcc_revision(s->mvcc), low = MAX(mvcc_compact_revision(s->mvcc), 1);

    if (prng_chance(&s->prng, 500000))
        low = MAX(low, now - 20);
    (void)mvcc_compact(s->mvcc, (int64_t)prng_between(&s->prng, (uint64_t)low, (uint64_t)now));
}

static void slices_give_what_the_range_was_when_it_began(void **state)
{
    struct store s = {.mvcc = mvcc_new(1), .keys = 1500};
    uint64_t seed = (uint64_t)time(NULL) * 1000003 ^ (uint64_t)getpid();
    struct run runs[SCANS] = {{.open = false}};
    int finished = 0, removals = 0;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&s.prng, seed);
    write_some(&s, 3000);
    for (int round = 0; round < ROUNDS || finished < 200; round++) {
        if (prng_chance(&s.prng, 700000))
            write_some(&s, pick(&s, 1, 150));
        if (prng_chance(&s.prng, 300000))
            compact_somewhere(&s);
        for (int i = 0; i < SCANS; i++) {
            bool was_open = runs[i].open;

            run_step(&s, &runs[i]);
            finished += was_open && !runs[i].open;
        }
        if (prng_chance(&s.prng, 20000))
            run_end(&runs[pick(&s, 0, SCANS - 1)]); /* given up in the middle */
        for (unsigned n = pick(&s, 0, 30); n > 0; n--)
            removals += remove_some(&s, runs);
    }
    print_message("%d scans, %d removals, %zu records set aside\n", finished, removals, s.saved);
    assert_true(removals > 0 && s.saved > 0);
    for (int i = 0; i < SCANS; i++)
        run_end(&runs[i]);
    assert_false(mvcc_is_pinned(s.mvcc));
    mvcc_free(s.mvcc);
}

/* ---- what is set aside ---- */

static void fill(struct mvcc *mvcc, unsigned count, const char *value)
{
    char key[32];

    for (unsigned i = 0; i < count; i++) {
        struct mvcc_txn txn;

        snprintf(key, sizeof key, "k%05u", i);
        mvcc_txn_begin(mvcc, &txn);
        mvcc_txn_put(&txn, slice_str(key), slice_str(value), 0, NULL, NULL);
        (void)mvcc_txn_end(&txn);
    }
}

static void measure_all(struct mvcc_scan *scan)
{
    struct mvcc_kv kvs[MEASURED_MAX];
    bool done = false;

    while (!mvcc_scan_prepare(scan, 100))
        ;
    while (!done)
        (void)mvcc_scan_measure(scan, kvs, MEASURED_MAX, &done);
}

static void make_safe(struct mvcc_scan *scan)
{
    while (!mvcc_scan_save(scan, 100))
        ;
}

/* 5,000 keys are being read, three of them are overwritten and one is deleted: four copies. */
static void only_what_was_overwritten_is_set_aside(void **state)
{
    struct mvcc *mvcc = mvcc_new(1);
    struct mvcc_range range = {.span = {slice_of("", 1), slice_of("", 1)}};
    struct mvcc_scan scan;
    struct mvcc_txn txn;

    (void)state;
    fill(mvcc, 5000, "value");
    assert_int_equal(mvcc_scan_begin(mvcc, &range, &scan), 0);
    measure_all(&scan);
    fill(mvcc, 3, "other");
    mvcc_txn_begin(mvcc, &txn);
    (void)mvcc_txn_delete(&txn, (struct mvcc_span){slice_str("k04000"), slice_of(NULL, 0)}, NULL,
                          NULL);
    (void)mvcc_txn_end(&txn);
    assert_true(mvcc_scan_is_safe(&scan)); /* nothing is to be removed yet */
    assert_int_equal(mvcc_compact(mvcc, mvcc_revision(mvcc)), 0);
    assert_false(mvcc_scan_is_safe(&scan));
    make_safe(&scan);
    assert_int_equal(scan.saved.len, 4);
    assert_false(mvcc_is_pinned(mvcc));
    assert_true(mvcc_is_in_use(mvcc)); /* it still reads the rest there */
    mvcc_scan_end(&scan);
    mvcc_scan_end(&scan);
    assert_false(mvcc_is_in_use(mvcc));
    mvcc_free(mvcc);
}

static void a_sorted_scan_holds_removal_until_it_has_copies(void **state)
{
    struct mvcc *mvcc = mvcc_new(1);
    struct mvcc_range range = {.span = {slice_of("", 1), slice_of("", 1)},
                               .order = MVCC_ORDER_DESCEND,
                               .target = MVCC_BY_MOD,
                               .limit = 10};
    struct mvcc_scan scan;
    struct mvcc_kv kvs[20];

    (void)state;
    fill(mvcc, 1000, "one");
    assert_int_equal(mvcc_scan_begin(mvcc, &range, &scan), 0);
    measure_all(&scan);
    fill(mvcc, 1000, "two");
    assert_int_equal(mvcc_compact(mvcc, mvcc_revision(mvcc)), 0);
    assert_true(mvcc_compact_step(mvcc, 10000));
    assert_true(mvcc_compact_pending(mvcc)); /* the pin */
    make_safe(&scan);
    assert_false(mvcc_is_pinned(mvcc));
    while (mvcc_compact_step(mvcc, 10000))
        ;
    assert_int_equal(mvcc_scan_peek(&scan, kvs, 20), 10);
    assert_true(slice_eq(kvs[0].key, slice_str("k00999")));
    assert_true(slice_eq(kvs[9].value, slice_str("one")));
    assert_true(mvcc_scan_bytes(&scan) < 20000); /* ten copies and a thousand pointers */
    mvcc_scan_end(&scan);
    mvcc_free(mvcc);
}

static void revisions_that_cannot_be_read_begin_no_scan(void **state)
{
    struct mvcc *mvcc = mvcc_new(1);
    struct mvcc_range range = {.span = {slice_of("", 1), slice_of("", 1)}, .revision = 100};
    struct mvcc_scan scan;

    (void)state;
    fill(mvcc, 50, "v");
    assert_int_equal(mvcc_scan_begin(mvcc, &range, &scan), KV_EFUTURE);
    assert_int_equal(mvcc_compact(mvcc, 40), 0);
    range.revision = 39;
    assert_int_equal(mvcc_scan_begin(mvcc, &range, &scan), KV_ECOMPACTED);
    range.order = MVCC_ORDER_DESCEND;
    assert_int_equal(mvcc_scan_begin(mvcc, &range, &scan), KV_ECOMPACTED);
    assert_false(mvcc_is_pinned(mvcc));
    mvcc_free(mvcc);
}

/* ---- the bound of mvcc_range() ---- */

static int range_within(struct mvcc *mvcc, struct mvcc_range range, size_t visit_max)
{
    struct mvcc_range_result result;
    struct arena arena;
    int rc;

    range.span = (struct mvcc_span){slice_of("", 1), slice_of("", 1)};
    range.visit_max = visit_max;
    arena_init(&arena);
    rc = mvcc_range(mvcc, &range, &arena, &result);
    arena_release(&arena);
    return rc;
}

static void a_bounded_range_refuses_what_would_look_at_more(void **state)
{
    struct mvcc *mvcc = mvcc_new(1);
    int64_t now;

    (void)state;
    fill(mvcc, 100, "v");
    now = mvcc_revision(mvcc);
    assert_int_equal(range_within(mvcc, (struct mvcc_range){.limit = 0}, 99), KV_ETOOBIG);
    assert_int_equal(range_within(mvcc, (struct mvcc_range){.limit = 0}, 100), 0);
    assert_int_equal(range_within(mvcc, (struct mvcc_range){.limit = 10}, 10), 0);
    assert_int_equal(range_within(mvcc, (struct mvcc_range){.flags = MVCC_COUNT_ONLY}, 1), 0);
    assert_int_equal(
        range_within(mvcc, (struct mvcc_range){.limit = 10, .order = MVCC_ORDER_DESCEND}, 10), 0);
    fill(mvcc, 1, "v");
    assert_int_equal(
        range_within(mvcc,
                     (struct mvcc_range){.limit = 10, .order = MVCC_ORDER_DESCEND, .revision = now},
                     10),
        KV_ETOOBIG); /* an old revision is not read backwards */
    assert_int_equal(range_within(mvcc, (struct mvcc_range){.limit = 10, .mod_min = 1}, 99),
                     KV_ETOOBIG);
    assert_int_equal(
        range_within(mvcc, (struct mvcc_range){.limit = 10, .target = MVCC_BY_MOD}, 11), 0);
    mvcc_free(mvcc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_give_what_the_range_was_when_it_began),
        cmocka_unit_test(only_what_was_overwritten_is_set_aside),
        cmocka_unit_test(a_sorted_scan_holds_removal_until_it_has_copies),
        cmocka_unit_test(revisions_that_cannot_be_read_begin_no_scan),
        cmocka_unit_test(a_bounded_range_refuses_what_would_look_at_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
