/* The rules of the keyspace, one by one (etcd-api.md sections 4, 5, 9 and 19). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/prng.h"
#include "mvcc/mvcc.h"

struct fixture {
    struct mvcc *mvcc;
    struct arena arena;
    struct mvcc_range_result result; /* of the last range */
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    f->mvcc = mvcc_new(1);
    arena_init(&f->arena);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    mvcc_free(f->mvcc);
    arena_release(&f->arena);
    free(f);
    return 0;
}

/* ---- verbs ---- */

static const struct slice NO_END = {NULL, 0};

static struct mvcc_span point(const char *key)
{
    return (struct mvcc_span){slice_str(key), NO_END};
}

static struct mvcc_span between(const char *key, const char *end)
{
    return (struct mvcc_span){slice_str(key), slice_str(end)};
}

static struct mvcc_span from(const char *key)
{
    return (struct mvcc_span){slice_str(key), slice_of("", 1)};
}

static struct mvcc_span everything(void)
{
    return (struct mvcc_span){slice_of("", 1), slice_of("", 1)};
}

static int64_t put_leased(struct fixture *f, const char *key, const char *value, int64_t lease)
{
    struct mvcc_txn txn;

    mvcc_txn_begin(f->mvcc, &txn);
    mvcc_txn_put(&txn, slice_str(key), slice_str(value), lease, NULL, NULL);
    return mvcc_txn_end(&txn);
}

static int64_t put(struct fixture *f, const char *key, const char *value)
{
    return put_leased(f, key, value, 0);
}

static int64_t delete_span(struct fixture *f, struct mvcc_span span)
{
    struct mvcc_txn txn;

    mvcc_txn_begin(f->mvcc, &txn);
    mvcc_txn_delete(&txn, span, &f->arena, NULL);
    return mvcc_txn_end(&txn);
}

static int64_t delete_key(struct fixture *f, const char *key)
{
    return delete_span(f, point(key));
}

static int range(struct fixture *f, struct mvcc_range range)
{
    return mvcc_range(f->mvcc, &range, &f->arena, &f->result);
}

static int range_at(struct fixture *f, struct mvcc_span span, int64_t revision)
{
    return range(f, (struct mvcc_range){.span = span, .revision = revision});
}

/* Keys of the last range, blank between them. */
static const char *keys(struct fixture *f)
{
    char *text = arena_calloc(&f->arena, 4096);
    size_t len = 0;

    for (size_t i = 0; i < f->result.len; i++)
        len += (size_t)snprintf(text + len, 4096 - len, "%s%.*s", i > 0 ? " " : "",
                                (int)f->result.kvs[i].key.len,
                                (const char *)f->result.kvs[i].key.data);
    return text;
}

static void assert_range(struct fixture *f, struct mvcc_range r, const char *want, int64_t count,
                         bool more)
{
    assert_int_equal(range(f, r), 0);
    assert_string_equal(keys(f), want);
    assert_int_equal(f->result.count, count);
    assert_int_equal(f->result.more, more);
}

static void assert_text(struct slice got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.data, want, got.len);
}

static struct mvcc_kv get(struct fixture *f, const char *key)
{
    struct mvcc_kv kv;

    assert_true(mvcc_get(f->mvcc, slice_str(key), &kv));
    return kv;
}

static void assert_record(struct mvcc_kv kv, int64_t create, int64_t mod, int64_t version)
{
    assert_int_equal(kv.create_revision, create);
    assert_int_equal(kv.mod_revision, mod);
    assert_int_equal(kv.version, version);
}

static void compact(struct fixture *f, int64_t revision)
{
    assert_int_equal(mvcc_compact(f->mvcc, revision), 0);
}

static void remove_compacted(struct fixture *f)
{
    while (mvcc_compact_step(f->mvcc, 100))
        continue;
}

static uint32_t hash_at(struct fixture *f, int64_t revision)
{
    int64_t compacted;
    uint32_t hash;

    assert_int_equal(mvcc_hash_kv(f->mvcc, revision, &hash, &compacted), 0);
    assert_int_equal(compacted, mvcc_compact_revision(f->mvcc));
    return hash;
}

static void put_a_to_e(struct fixture *f)
{
    put(f, "a", "5");
    put(f, "b", "4");
    put(f, "c", "3");
    put(f, "d", "2");
    put(f, "e", "1");
}

/* ---- revisions ---- */

/* Test vector 1. */
static void empty_store_is_at_revision_1_and_first_put_makes_2(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mvcc_revision(f->mvcc), 1);
    assert_range(f, (struct mvcc_range){.span = point("a")}, "", 0, false);
    assert_range(f, (struct mvcc_range){.span = everything()}, "", 0, false);
    assert_int_equal(mvcc_compact_revision(f->mvcc), -1);
    assert_int_equal(put(f, "a", ""), 2);
    assert_int_equal(mvcc_revision(f->mvcc), 2);
}

static void transaction_advances_the_revision_by_one_however_many_keys_it_changes(void **state)
{
    struct fixture *f = *state;
    struct mvcc_txn txn;

    mvcc_txn_begin(f->mvcc, &txn);
    mvcc_txn_put(&txn, slice_str("a"), slice_str("1"), 0, NULL, NULL);
    mvcc_txn_put(&txn, slice_str("b"), slice_str("1"), 0, NULL, NULL);
    assert_int_equal(txn.changes, 2);
    assert_int_equal(mvcc_txn_end(&txn), 2);
    assert_int_equal(get(f, "a").mod_revision, 2);
    assert_int_equal(get(f, "b").mod_revision, 2);
}

static void transaction_that_changes_nothing_leaves_the_revision(void **state)
{
    struct fixture *f = *state;
    struct mvcc_txn txn;

    put(f, "a", "1");
    assert_int_equal(delete_key(f, "absent"), 2);
    mvcc_txn_begin(f->mvcc, &txn);
    assert_int_equal(mvcc_txn_end(&txn), 2);
}

static void create_stays_and_mod_and_version_move_on_with_each_put(void **state)
{
    struct fixture *f = *state;

    put(f, "a", "1");
    put(f, "b", "1");
    put(f, "a", "1"); /* the identical value counts, too */
    assert_record(get(f, "a"), 2, 4, 2);
    put(f, "a", "2");
    assert_record(get(f, "a"), 2, 5, 3);
    assert_record(get(f, "b"), 3, 3, 1);
}

static void put_after_a_delete_begins_a_new_life(void **state)
{
    struct fixture *f = *state;
    struct mvcc_kv kv;

    put(f, "a", "1");
    put(f, "a", "2");
    assert_int_equal(delete_key(f, "a"), 4);
    assert_false(mvcc_get(f->mvcc, slice_str("a"), &kv));
    assert_int_equal(mvcc_key_count(f->mvcc), 0);
    put(f, "a", "3");
    assert_record(get(f, "a"), 5, 5, 1);
}

static void put_without_lease_detaches_and_prev_gives_the_whole_record_before(void **state)
{
    struct fixture *f = *state;
    struct mvcc_kv prev;
    struct mvcc_txn txn;
    bool had;

    put_leased(f, "a", "1", -7);
    assert_int_equal(get(f, "a").lease, -7);
    mvcc_txn_begin(f->mvcc, &txn);
    mvcc_txn_put(&txn, slice_str("a"), slice_str("2"), 0, &had, &prev);
    assert_true(had);
    assert_int_equal(prev.lease, -7);
    assert_text(prev.value, "1");
    assert_record(prev, 2, 2, 1);
    mvcc_txn_put(&txn, slice_str("b"), slice_str("2"), 0, &had, &prev);
    assert_false(had);
    mvcc_txn_end(&txn);
    assert_int_equal(get(f, "a").lease, 0);
}

static void put_over_a_deleted_key_reports_no_record_before(void **state)
{
    struct fixture *f = *state;
    struct mvcc_txn txn;
    bool had = true;

    put(f, "a", "1");
    delete_key(f, "a");
    mvcc_txn_begin(f->mvcc, &txn);
    mvcc_txn_put(&txn, slice_str("a"), slice_str("2"), 0, &had, NULL);
    assert_false(had);
    mvcc_txn_end(&txn);
}

static void delete_gives_the_deleted_records_in_key_order(void **state)
{
    struct fixture *f = *state;
    const struct mvcc_kv *prevs;
    struct mvcc_txn txn;

    put(f, "c", "3");
    put(f, "a", "1");
    put_leased(f, "b", "2", 9);
    put(f, "d", "4");
    mvcc_txn_begin(f->mvcc, &txn);
    assert_int_equal(mvcc_txn_delete(&txn, between("a", "d"), &f->arena, &prevs), 3);
    mvcc_txn_end(&txn);
    assert_text(prevs[0].key, "a");
    assert_text(prevs[1].key, "b");
    assert_text(prevs[1].value, "2");
    assert_int_equal(prevs[1].lease, 9);
    assert_text(prevs[2].key, "c");
    assert_int_equal(txn.changes, 3);
    assert_int_equal(mvcc_key_count(f->mvcc), 1);
}

/* Test vector 4. */
static void ranges_in_a_transaction_see_its_changes_at_its_revision(void **state)
{
    struct fixture *f = *state;
    struct mvcc_txn txn;

    put_a_to_e(f);
    mvcc_txn_begin(f->mvcc, &txn);
    assert_int_equal(mvcc_txn_delete(&txn, point("q"), &f->arena, NULL), 0);
    assert_int_equal(mvcc_txn_revision(&txn), 6);
    assert_int_equal(mvcc_txn_delete(&txn, between("a", "e"), &f->arena, NULL), 4);
    assert_int_equal(mvcc_txn_revision(&txn), 7);
    assert_range(f, (struct mvcc_range){.span = everything()}, "e", 1, false);
    mvcc_txn_put(&txn, slice_str("b"), slice_str("new"), 0, NULL, NULL);
    assert_range(f, (struct mvcc_range){.span = everything()}, "b e", 2, false);
    assert_record(get(f, "b"), 7, 7, 1);
    assert_range(f, (struct mvcc_range){.span = everything(), .revision = 6}, "a b c d e", 5,
                 false);
    assert_int_equal(mvcc_txn_end(&txn), 7);
}

/* ---- ranges ---- */

/* Test vector 2. */
static void limit_cuts_and_count_goes_on(void **state)
{
    struct fixture *f = *state;

    put_a_to_e(f);
    assert_range(f, (struct mvcc_range){.span = everything(), .limit = 2}, "a b", 5, true);
    assert_range(f, (struct mvcc_range){.span = everything(), .limit = 5}, "a b c d e", 5, false);
    assert_range(f, (struct mvcc_range){.span = everything(), .limit = -1}, "a b c d e", 5, false);
    assert_range(f, (struct mvcc_range){.span = everything(), .limit = INT64_MAX}, "a b c d e", 5,
                 false);
}

/* Test vector 3. */
static void filters_apply_before_the_limit_and_not_to_the_count(void **state)
{
    struct fixture *f = *state;

    put_a_to_e(f);
    assert_range(f, (struct mvcc_range){.span = everything(), .mod_min = 4, .limit = 2}, "c d", 5,
                 true);
    assert_range(f, (struct mvcc_range){.span = everything(), .mod_min = 3, .mod_max = 4}, "b c", 5,
                 false);
    assert_range(f, (struct mvcc_range){.span = everything(), .create_max = 2}, "a", 5, false);
    assert_range(f, (struct mvcc_range){.span = everything(), .create_min = 6}, "e", 5, false);
    assert_range(f, (struct mvcc_range){.span = point("a"), .mod_min = 3}, "", 1, false);
}

static void range_end_means_key_all_from_key_or_half_open_interval(void **state)
{
    struct fixture *f = *state;

    put(f, "a", "");
    put(f, "aa", "");
    put(f, "ab", "");
    put(f, "b", "");
    assert_range(f, (struct mvcc_range){.span = point("a")}, "a", 1, false);
    assert_range(f, (struct mvcc_range){.span = from("ab")}, "ab b", 2, false);
    assert_range(f, (struct mvcc_range){.span = between("a", "b")}, "a aa ab", 3, false);
    assert_range(f, (struct mvcc_range){.span = between("a", "a")}, "", 0, false);
    assert_range(f, (struct mvcc_range){.span = between("b", "a")}, "", 0, false);
    assert_range(f, (struct mvcc_range){.span = between("aaa", "aab")}, "", 0, false);
    assert_int_equal(delete_span(f, between("b", "a")), mvcc_revision(f->mvcc));
    assert_int_equal(mvcc_key_count(f->mvcc), 4);
}

static void count_only_gives_no_keys_and_ignores_the_rest(void **state)
{
    struct fixture *f = *state;

    put_a_to_e(f);
    assert_range(f,
                 (struct mvcc_range){.span = everything(),
                                     .flags = MVCC_COUNT_ONLY,
                                     .limit = 2,
                                     .mod_min = 100,
                                     .order = MVCC_ORDER_DESCEND},
                 "", 5, false);
    assert_range(f, (struct mvcc_range){.span = point("c"), .flags = MVCC_COUNT_ONLY}, "", 1,
                 false);
    assert_range(f,
                 (struct mvcc_range){.span = everything(), .flags = MVCC_COUNT_ONLY, .revision = 3},
                 "", 2, false);
}

static void keys_only_leaves_out_the_value_and_keeps_the_lease(void **state)
{
    struct fixture *f = *state;

    put_leased(f, "a", "value", 77);
    assert_int_equal(range(f, (struct mvcc_range){.span = from("a"), .flags = MVCC_KEYS_ONLY}), 0);
    assert_int_equal(f->result.kvs[0].value.len, 0);
    assert_int_equal(f->result.kvs[0].lease, 77);
    assert_record(f->result.kvs[0], 2, 2, 1);
}

static void sorts_by_each_target_in_both_directions(void **state)
{
    struct fixture *f = *state;
    struct mvcc_range r = {.span = everything()};

    put(f, "c", "1"); /* version 2, create 2, mod 5 */
    put(f, "a", "3"); /* version 1, create 3, mod 3 */
    put(f, "b", "2"); /* version 3, create 4, mod 7 */
    put(f, "c", "1");
    put(f, "b", "2");
    put(f, "b", "2");

    r.order = MVCC_ORDER_ASCEND;
    r.target = MVCC_BY_KEY;
    assert_range(f, r, "a b c", 3, false);
    r.target = MVCC_BY_VERSION;
    assert_range(f, r, "a c b", 3, false);
    r.target = MVCC_BY_CREATE;
    assert_range(f, r, "c a b", 3, false);
    r.target = MVCC_BY_MOD;
    assert_range(f, r, "a c b", 3, false);
    r.target = MVCC_BY_VALUE;
    assert_range(f, r, "c b a", 3, false);

    r.order = MVCC_ORDER_DESCEND;
    r.target = MVCC_BY_KEY;
    assert_range(f, r, "c b a", 3, false);
    r.target = MVCC_BY_VERSION;
    assert_range(f, r, "b c a", 3, false);
    r.target = MVCC_BY_CREATE;
    assert_range(f, r, "b a c", 3, false);
    r.target = MVCC_BY_MOD;
    assert_range(f, r, "b c a", 3, false);
    r.target = MVCC_BY_VALUE;
    assert_range(f, r, "a b c", 3, false);
}

static void limit_cuts_after_an_explicit_sort(void **state)
{
    struct fixture *f = *state;

    put_a_to_e(f);
    assert_range(
        f,
        (struct mvcc_range){
            .span = everything(), .limit = 2, .order = MVCC_ORDER_ASCEND, .target = MVCC_BY_VALUE},
        "e d", 5, true);
    assert_range(
        f, (struct mvcc_range){.span = between("b", "e"), .limit = 2, .order = MVCC_ORDER_DESCEND},
        "d c", 3, true);
    assert_range(f,
                 (struct mvcc_range){
                     .span = from("b"), .limit = 9, .revision = 4, .order = MVCC_ORDER_DESCEND},
                 "c b", 2, false);
}

static void ties_come_in_key_order_in_both_directions(void **state)
{
    struct fixture *f = *state;
    struct mvcc_range r = {.span = everything(), .target = MVCC_BY_VALUE};

    put(f, "c", "same");
    put(f, "a", "same");
    put(f, "b", "same");
    put(f, "d", "x");
    r.order = MVCC_ORDER_ASCEND;
    assert_range(f, r, "a b c d", 4, false);
    r.order = MVCC_ORDER_DESCEND;
    assert_range(f, r, "d a b c", 4, false);
}

/* The quirk that all versions of etcd keep. */
static void target_without_order_sorts_only_the_first_limit_plus_1_keys(void **state)
{
    struct fixture *f = *state;

    put_a_to_e(f); /* values fall as keys rise */
    assert_range(f, (struct mvcc_range){.span = everything(), .limit = 2, .target = MVCC_BY_VALUE},
                 "c b", 5, true);
    assert_range(f, (struct mvcc_range){.span = everything(), .target = MVCC_BY_VALUE}, "e d c b a",
                 5, false);
    /* With a filter all are fetched. */
    assert_range(f,
                 (struct mvcc_range){
                     .span = everything(), .limit = 2, .target = MVCC_BY_VALUE, .mod_min = 1},
                 "e d", 5, true);
}

static void old_revisions_read_as_they_were(void **state)
{
    struct fixture *f = *state;

    put(f, "a", "1");     /* 2 */
    put(f, "b", "1");     /* 3 */
    put(f, "a", "2");     /* 4 */
    delete_key(f, "b");   /* 5 */
    put(f, "b", "again"); /* 6 */

    assert_range(f, (struct mvcc_range){.span = everything(), .revision = 1}, "", 0, false);
    assert_range(f, (struct mvcc_range){.span = everything(), .revision = 2}, "a", 1, false);
    assert_range(f, (struct mvcc_range){.span = everything(), .revision = 3}, "a b", 2, false);
    assert_text(f->result.kvs[0].value, "1");
    assert_range(f, (struct mvcc_range){.span = everything(), .revision = 5}, "a", 1, false);
    assert_text(f->result.kvs[0].value, "2");
    assert_range(f, (struct mvcc_range){.span = point("b"), .revision = 5}, "", 0, false);
    assert_range(f, (struct mvcc_range){.span = point("b"), .revision = 3}, "b", 1, false);
    assert_int_equal(range_at(f, point("a"), 7), KV_EFUTURE);
}

struct visits {
    int seen;
    int stop;
};

static bool on_visit(void *ctx, const struct mvcc_kv *kv)
{
    struct visits *visits = ctx;

    assert_int_equal(kv->key.data[0], 'a' + visits->seen);
    return ++visits->seen < visits->stop;
}

static void each_stops_where_told_and_says_whether_it_got_through(void **state)
{
    struct fixture *f = *state;
    struct visits few = {.stop = 2}, all = {.stop = 100}, none = {.stop = 1};

    put_a_to_e(f);
    assert_false(mvcc_each(f->mvcc, everything(), on_visit, &few));
    assert_int_equal(few.seen, 2);
    assert_true(mvcc_each(f->mvcc, everything(), on_visit, &all));
    assert_int_equal(all.seen, 5);
    assert_true(mvcc_each(f->mvcc, point("x"), on_visit, &none));
    assert_int_equal(none.seen, 0);
}

static void keys_and_values_are_any_bytes(void **state)
{
    struct fixture *f = *state;
    struct mvcc_txn txn;
    struct mvcc_kv kv;

    mvcc_txn_begin(f->mvcc, &txn);
    mvcc_txn_put(&txn, slice_of("\0", 1), slice_of("\0\xff", 2), 0, NULL, NULL);
    mvcc_txn_put(&txn, slice_of("\0\0", 2), slice_of(NULL, 0), 0, NULL, NULL);
    mvcc_txn_put(&txn, slice_of("\xff\xff", 2), slice_of("x", 1), 0, NULL, NULL);
    mvcc_txn_put(&txn, slice_of("a\0b", 3), slice_of("y", 1), 0, NULL, NULL);
    mvcc_txn_put(&txn, slice_of("a", 1), slice_of("z", 1), 0, NULL, NULL);
    mvcc_txn_end(&txn);

    assert_int_equal(range_at(f, everything(), 0), 0);
    assert_int_equal(f->result.len, 5);
    assert_memory_equal(f->result.kvs[1].key.data, "\0\0", 2);
    assert_int_equal(f->result.kvs[1].value.len, 0);
    assert_memory_equal(f->result.kvs[3].key.data, "a\0b", 3);
    assert_memory_equal(f->result.kvs[4].key.data, "\xff\xff", 2);
    assert_true(mvcc_get(f->mvcc, slice_of("\0", 1), &kv));
    assert_memory_equal(kv.value.data, "\0\xff", 2);
    assert_false(mvcc_get(f->mvcc, slice_of("\0\0\0", 3), &kv));
    assert_int_equal(range_at(f, (struct mvcc_span){slice_of("a\0", 2), slice_of("b", 1)}, 0), 0);
    assert_int_equal(f->result.count, 1);
}

/* ---- compaction ---- */

static void compaction_below_the_last_or_above_the_newest_is_refused(void **state)
{
    struct fixture *f = *state;

    put_a_to_e(f);
    assert_int_equal(mvcc_compact(f->mvcc, 7), KV_EFUTURE);
    compact(f, 0); /* once, on a store never compacted */
    assert_int_equal(mvcc_compact(f->mvcc, 0), KV_ECOMPACTED);
    compact(f, 4);
    assert_int_equal(mvcc_compact(f->mvcc, 4), KV_ECOMPACTED);
    assert_int_equal(mvcc_compact(f->mvcc, 3), KV_ECOMPACTED);
    compact(f, 6);
    assert_int_equal(mvcc_compact_revision(f->mvcc), 6);
}

static void compaction_takes_effect_at_once_and_its_own_revision_stays_readable(void **state)
{
    struct fixture *f = *state;

    put(f, "a", "1");
    put(f, "a", "2");
    put(f, "a", "3");
    compact(f, 3);
    assert_true(mvcc_compact_pending(f->mvcc));
    for (int removed = 0; removed <= 1; removed++) {
        assert_int_equal(range_at(f, point("a"), 2), KV_ECOMPACTED);
        assert_int_equal(range_at(f, point("a"), 3), 0);
        assert_text(f->result.kvs[0].value, "2");
        assert_int_equal(range_at(f, point("a"), 0), 0);
        assert_text(f->result.kvs[0].value, "3");
        remove_compacted(f);
        assert_false(mvcc_compact_pending(f->mvcc));
    }
}

static void deleted_keys_come_back_as_new_after_compaction(void **state)
{
    struct fixture *f = *state;

    put(f, "a", "1");
    delete_key(f, "a");
    put(f, "b", "1");
    compact(f, 4);
    remove_compacted(f);
    put(f, "a", "2");
    assert_record(get(f, "a"), 5, 5, 1);
    assert_range(f, (struct mvcc_range){.span = everything()}, "a b", 2, false);
    assert_range(f, (struct mvcc_range){.span = everything(), .revision = 4}, "b", 1, false);
}

static void store_emptied_by_compaction_takes_other_keys(void **state)
{
    struct fixture *f = *state;

    put(f, "/long/common/prefix/1", "");
    put(f, "/long/common/prefix/2", "");
    delete_span(f, everything());
    put(f, "/long/common/prefix/3", "");
    delete_span(f, everything());
    compact(f, mvcc_revision(f->mvcc));
    remove_compacted(f);
    compact(f, put(f, "b", ""));
    delete_span(f, everything());
    compact(f, put(f, "b", ""));
    remove_compacted(f);
    assert_range(f, (struct mvcc_range){.span = from("/x")}, "b", 1, false);
    delete_span(f, everything());
    compact(f, mvcc_revision(f->mvcc));
    remove_compacted(f);
    assert_range(f, (struct mvcc_range){.span = everything()}, "", 0, false);
    put(f, "a", "");
    put(f, "c", "");
    assert_range(f, (struct mvcc_range){.span = everything()}, "a c", 2, false);
}

/* The outcome of many compactions before any removal is that of doing each in turn. */
static void compactions_may_be_requested_before_the_first_is_done(void **state)
{
    struct fixture *f = *state;
    uint32_t hash;

    put(f, "a", "1");   /* 2 */
    delete_key(f, "a"); /* 3 */
    put(f, "b", "1");   /* 4 */
    put(f, "b", "2");   /* 5 */
    delete_key(f, "b"); /* 6 */
    put(f, "c", "1");   /* 7 */
    compact(f, 3);
    mvcc_compact_step(f->mvcc, 1);
    compact(f, 5);
    mvcc_compact_step(f->mvcc, 1);
    compact(f, 7);
    hash = hash_at(f, 7);
    remove_compacted(f);
    assert_int_equal(hash_at(f, 7), hash);
    assert_range(f, (struct mvcc_range){.span = everything(), .revision = 7}, "c", 1, false);
    assert_int_equal(mvcc_key_count(f->mvcc), 1);
}

static void slices_stay_valid_until_the_next_compact_step(void **state)
{
    struct fixture *f = *state;
    struct mvcc_kv before;
    char key[32];

    put(f, "key0", "first");
    before = get(f, "key0");
    put(f, "key0", "second");
    for (int i = 1; i < 5000; i++) {
        snprintf(key, sizeof key, "key%d", i);
        put(f, key, "filler");
    }
    delete_key(f, "key0");
    compact(f, mvcc_revision(f->mvcc));
    assert_text(before.key, "key0");
    assert_text(before.value, "first");
}

/* ---- memory ---- */

static void fill(struct fixture *f, int count, const char *value)
{
    char key[32];

    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "key%07d", (i * 7919) % count);
        put(f, key, value);
    }
}

static void compact_all(struct fixture *f)
{
    compact(f, mvcc_revision(f->mvcc));
    remove_compacted(f);
}

static void memory_does_not_grow_with_overwriting_and_compacting(void **state)
{
    struct fixture *f = *state;
    size_t first = 0;

    for (int round = 0; round < 20; round++) {
        fill(f, 3000, "some value of some length");
        compact_all(f);
        if (round == 1)
            first = mvcc_bytes(f->mvcc);
    }
    assert_true(mvcc_bytes(f->mvcc) <= first + first / 10);
    assert_int_equal(mvcc_key_count(f->mvcc), 3000);
}

static void memory_of_deleted_keys_returns_after_compaction(void **state)
{
    struct fixture *f = *state;
    size_t empty = mvcc_bytes(f->mvcc);

    fill(f, 20000, "some value of some length");
    assert_true(mvcc_bytes(f->mvcc) > 20000 * 36);
    delete_span(f, everything());
    put(f, "last", "");
    compact_all(f);
    assert_int_equal(mvcc_key_count(f->mvcc), 1);
    /* What may stay: a node, a part of the log with its directory, a slab. */
    assert_true(mvcc_bytes(f->mvcc) < empty + 98304);
}

/* A long-lived key now and then among churn must not hold the log's memory around it. */
static void memory_returns_where_few_keys_of_many_stay(void **state)
{
    struct fixture *f = *state;
    char key[32];

    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof key, "stays%07d", i);
        put(f, i % 1000 == 0 ? key : "churn", "v");
        if (i % 777 == 0)
            compact_all(f);
    }
    compact_all(f);
    assert_int_equal(mvcc_key_count(f->mvcc), 101);
    assert_true(mvcc_bytes(f->mvcc) < 196608); /* the log alone was twice that */
}

static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long total, resident;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* Overwriting all keys in random order doubles the store and leaves holes everywhere; compaction
 * gives it back, to the system and not only to the next put. */
static void memory_goes_back_to_the_system_though_what_stays_lies_scattered(void **state)
{
    struct fixture *f = *state;
    char value[301], key[32];
    size_t filled, resident UNUSED;
    struct prng prng;

    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    fill(f, 100000, value);
    filled = mvcc_bytes(f->mvcc);
    resident = resident_bytes();
    prng_seed(&prng, 1);
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof key, "key%07u", (unsigned)prng_between(&prng, 0, 99999));
        put(f, key, value);
    }
    assert_true(mvcc_bytes(f->mvcc) > filled * 19 / 10);
    compact_all(f);
    assert_true(mvcc_bytes(f->mvcc) < filled * 115 / 100);
#ifndef __SANITIZE_ADDRESS__ /* its shadow memory counts, too */
    assert_true(resident_bytes() < resident + filled * 2 / 10);
#endif
    assert_int_equal(mvcc_key_count(f->mvcc), 100000);
}

/* One number for all that reads at a revision can see. */
static uint32_t picture(struct fixture *f, int64_t revision)
{
    uint32_t crc = 0;

    assert_int_equal(range_at(f, everything(), revision), 0);
    for (size_t i = 0; i < f->result.len; i++) {
        const struct mvcc_kv *kv = &f->result.kvs[i];

        crc = crc32c_extend(crc, kv->key.data, kv->key.len);
        crc = crc32c_extend(crc, kv->value.data, kv->value.len);
        crc = crc32c_extend(crc, &kv->create_revision, 4 * sizeof(int64_t)); /* and its fellows */
    }
    arena_reset(&f->arena);
    return crc;
}

static void write_randomly(struct fixture *f, struct prng *prng, int count)
{
    char key[32], value[301];

    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "key%u", (unsigned)prng_between(prng, 0, 2999));
        snprintf(value, 16, "%015lld", (long long)mvcc_revision(f->mvcc));
        if (prng_chance(prng, 200000))
            delete_key(f, key);
        else
            put_leased(f, key, value, prng_chance(prng, 500000) ? 5 : 0);
    }
}

/* Half the histories are compacted, the records left are moved together, and nobody can tell. */
static void records_that_compaction_moves_read_the_same(void **state)
{
    struct fixture *f = *state;
    struct prng prng;

    prng_seed(&prng, 7);
    for (int round = 0; round < 6; round++) {
        int64_t now, middle;
        uint32_t pictures[3], hashes[2];
        size_t before;

        write_randomly(f, &prng, 12000);
        now = mvcc_revision(f->mvcc);
        middle = now - 1500;
        before = mvcc_bytes(f->mvcc);
        pictures[0] = picture(f, middle);
        pictures[1] = picture(f, (middle + now) / 2);
        pictures[2] = picture(f, 0);
        compact(f, middle);
        hashes[0] = hash_at(f, middle);
        hashes[1] = hash_at(f, now);
        while (mvcc_compact_step(f->mvcc, 500))
            if (prng_chance(&prng, 100000))
                assert_int_equal(picture(f, middle), pictures[0]);
        assert_true(mvcc_bytes(f->mvcc) < before * 2 / 3);
        assert_int_equal(picture(f, middle), pictures[0]);
        assert_int_equal(picture(f, (middle + now) / 2), pictures[1]);
        assert_int_equal(picture(f, now), pictures[2]);
        assert_int_equal(hash_at(f, middle), hashes[0]);
        assert_int_equal(hash_at(f, now), hashes[1]);
    }
}

static void overhead_per_key_is_at_most_100_bytes(void **state)
{
    struct fixture *f = *state;
    size_t payload =
        100000 * (strlen("key0000000") + strlen("value of 64 bytes, value of 64 bytes,"));

    fill(f, 100000, "value of 64 bytes, value of 64 bytes,");
    assert_true(mvcc_bytes(f->mvcc) - payload <= 100 * 100000);
}

static void bytes_in_use_follow_the_live_records_only(void **state)
{
    struct fixture *f = *state;
    size_t one, two;

    assert_int_equal(mvcc_bytes_in_use(f->mvcc), 0);
    put(f, "a", "value");
    one = mvcc_bytes_in_use(f->mvcc);
    assert_true(one > strlen("a") + strlen("value"));
    put(f, "b", "value");
    two = mvcc_bytes_in_use(f->mvcc);
    assert_int_equal(two, 2 * one);
    put(f, "b", "other");
    put(f, "b", "value");
    assert_int_equal(mvcc_bytes_in_use(f->mvcc), two);
    delete_key(f, "b");
    assert_int_equal(mvcc_bytes_in_use(f->mvcc), one);
    compact_all(f);
    assert_int_equal(mvcc_bytes_in_use(f->mvcc), one);
    assert_true(mvcc_bytes(f->mvcc) >= one);
}

/* An overwritten value is history: it is held until it is compacted away. */
static void bytes_held_count_history_until_it_is_compacted(void **state)
{
    struct fixture *f = *state;
    size_t one, two;

    assert_int_equal(mvcc_bytes_held(f->mvcc), 0);
    put(f, "a", "value");
    one = mvcc_bytes_held(f->mvcc);
    assert_int_equal(one, mvcc_bytes_in_use(f->mvcc));
    put(f, "a", "other");
    two = mvcc_bytes_held(f->mvcc);
    for (int i = 0; i < 100; i++)
        put(f, "a", "value");
    assert_int_equal(mvcc_bytes_held(f->mvcc), two + 100 * (two - one));
    delete_key(f, "a");
    assert_true(mvcc_bytes_held(f->mvcc) > 100 * (two - one)); /* a tombstone needs space as well */
    assert_int_equal(mvcc_bytes_in_use(f->mvcc), 0);
    put(f, "b", "value");
    compact_all(f);
    assert_int_equal(mvcc_bytes_held(f->mvcc), one);
}

/* Every second of many records goes: its slot is free for the next one and not counted, although
 * its memory may stay until the holes are worth moving. In every state the three figures keep their
 * order. */
static void bytes_held_leave_out_the_holes(void **state)
{
    struct fixture *f = *state;
    char key[16];
    size_t full;

    fill(f, 20000, "value of 64 bytes, value of 64 bytes,");
    full = mvcc_bytes_held(f->mvcc);
    assert_int_equal(full, mvcc_bytes_in_use(f->mvcc));
    for (int i = 0; i < 20000; i += 2) {
        snprintf(key, sizeof key, "key%07d", i);
        delete_key(f, key);
        assert_true(mvcc_bytes_in_use(f->mvcc) <= mvcc_bytes_held(f->mvcc));
    }
    put(f, "last", "");
    assert_int_equal(mvcc_compact(f->mvcc, mvcc_revision(f->mvcc)), 0);
    while (mvcc_compact_step(f->mvcc, 100))
        assert_true(mvcc_bytes_in_use(f->mvcc) <= mvcc_bytes_held(f->mvcc));
    assert_int_equal(mvcc_bytes_held(f->mvcc), mvcc_bytes_in_use(f->mvcc));
    assert_true(mvcc_bytes_held(f->mvcc) < full / 2 + 200);
    assert_true(mvcc_bytes_held(f->mvcc) <= mvcc_bytes(f->mvcc));
}

/* ---- HashKV ---- */

/* Test vector 1. */
static void hash_of_the_empty_store_is_1084519789(void **state)
{
    struct fixture *f = *state;
    int64_t compacted;
    uint32_t hash;

    assert_int_equal(mvcc_hash_kv(f->mvcc, 0, &hash, &compacted), 0);
    assert_int_equal(hash, 1084519789);
    assert_int_equal(compacted, -1);
}

static void hash_refuses_future_and_compacted_revisions(void **state)
{
    struct fixture *f = *state;
    int64_t compacted;
    uint32_t hash;

    put_a_to_e(f);
    compact(f, 4);
    assert_int_equal(mvcc_hash_kv(f->mvcc, 7, &hash, &compacted), KV_EFUTURE);
    assert_int_equal(mvcc_hash_kv(f->mvcc, 3, &hash, &compacted), KV_ECOMPACTED);
    assert_int_equal(mvcc_hash_kv(f->mvcc, 4, &hash, &compacted), 0);
    assert_int_equal(compacted, 4);
}

/* etcd takes only 0 for the newest, and no record is older than a negative revision. */
static void hash_at_a_negative_revision_is_that_of_the_empty_store(void **state)
{
    struct fixture *f = *state;

    put_a_to_e(f);
    assert_int_equal(hash_at(f, -1), 1084519789);
    compact(f, 4);
    assert_int_equal(hash_at(f, -7), 1084519789);
}

static void hash_at_a_revision_ignores_what_came_later(void **state)
{
    struct fixture *f = *state;
    uint32_t before;

    put_a_to_e(f);
    before = hash_at(f, 0);
    put(f, "a", "other");
    delete_key(f, "b");
    assert_int_equal(hash_at(f, 6), before);
    assert_int_not_equal(hash_at(f, 0), before);
}

/* Removal must not show: a member may be ahead of another with it. */
static void hash_is_the_same_before_and_after_removal(void **state)
{
    struct fixture *f = *state;
    uint32_t at_compacted, newest;

    put_a_to_e(f);       /* 2-6 */
    put(f, "a", "new");  /* 7 */
    delete_key(f, "b");  /* 8 */
    delete_key(f, "c");  /* 9: a tombstone at exactly the compacted revision */
    put(f, "b", "back"); /* 10 */
    compact(f, 9);
    at_compacted = hash_at(f, 9);
    newest = hash_at(f, 0);
    remove_compacted(f);
    assert_int_equal(hash_at(f, 9), at_compacted);
    assert_int_equal(hash_at(f, 0), newest);
}

/* If no key lives at the revision, etcd's filter is off: what compaction left counts. */
static void hash_where_nothing_lives_covers_what_compaction_left(void **state)
{
    struct fixture *f = *state;
    uint32_t both;

    put(f, "a", "old"); /* 2 */
    put(f, "a", "1");   /* 3 */
    compact(f, 3);
    delete_span(f, everything()); /* 4 */
    both = hash_at(f, 4);
    remove_compacted(f);
    assert_int_equal(hash_at(f, 4), both);
    /* CRC-32C of "key", then record 3 and tombstone 4 as etcd stores them (computed apart). */
    assert_int_equal(both, 3323072893);
}

static void removal_waits_for_a_hash_under_way(void **state)
{
    struct fixture *f = *state;
    struct mvcc_hash hash;
    uint32_t want;

    put_a_to_e(f);
    put(f, "a", "new");
    want = hash_at(f, 0);
    assert_int_equal(mvcc_hash_begin(f->mvcc, 0, &hash), 0);
    assert_false(mvcc_hash_step(&hash, 1));
    compact(f, 7);
    assert_true(mvcc_compact_step(f->mvcc, 1000));
    assert_true(mvcc_compact_pending(f->mvcc));
    put(f, "z", "later");
    while (!mvcc_hash_step(&hash, 1))
        continue;
    assert_int_equal(hash.hash, want);
    assert_int_equal(hash.revision, 7);
    assert_int_equal(hash.compact_revision, -1);
    mvcc_hash_end(&hash);
    assert_false(mvcc_compact_step(f->mvcc, 1000));
}

static void hash_given_up_lets_removal_go_on(void **state)
{
    struct fixture *f = *state;
    struct mvcc_hash hash;

    put_a_to_e(f);
    compact(f, 6);
    assert_int_equal(mvcc_hash_begin(f->mvcc, 100, &hash), KV_EFUTURE);
    mvcc_hash_end(&hash);
    assert_int_equal(mvcc_hash_begin(f->mvcc, 0, &hash), 0);
    mvcc_hash_end(&hash);
    mvcc_hash_end(&hash); /* harmless */
    assert_false(mvcc_compact_step(f->mvcc, 1000));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* What was done since the last time it was asked, and nothing else. */
static void effects_tell_changes_apart(void **state)
{
    struct fixture *f = *state;
    struct mvcc *other = mvcc_new(2);
    struct mvcc *stores[] = {f->mvcc, other};
    uint64_t seen[8] = {0};
    static const struct {
        const char *key, *value;
        int64_t lease;
    } rows[] = {{"a", "1", 0}, {"a", "2", 0}, {"b", "2", 0},
                {"b", "2", 9}, {"", "", 0},   {"b", "2", 9}};

    assert_true(mvcc_take_effects(f->mvcc) == 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t k = 0; k < 2; k++) {
            struct mvcc_txn txn;

            mvcc_txn_begin(stores[k], &txn);
            if (rows[i].key[0] == '\0')
                (void)mvcc_txn_delete(&txn, point("b"), &f->arena, NULL);
            else
                mvcc_txn_put(&txn, slice_str(rows[i].key), slice_str(rows[i].value), rows[i].lease,
                             NULL, NULL);
            (void)mvcc_txn_end(&txn);
        }
        seen[i] = mvcc_take_effects(f->mvcc);
        assert_true(seen[i] != 0);
        for (size_t k = 0; k < i; k++)
            assert_true(seen[i] != seen[k]);
        assert_true(mvcc_take_effects(other) == seen[i]);
        assert_true(mvcc_take_effects(f->mvcc) == 0);
    }
    mvcc_free(other);
}

/* What the effects can not know, the hash of the keys shows. */
static void a_flipped_bit_shows_in_the_hash(void **state)
{
    struct fixture *f = *state;
    uint32_t before, after, again;
    int64_t compacted;
    struct mvcc_txn txn;

    mvcc_txn_begin(f->mvcc, &txn);
    mvcc_txn_put(&txn, slice_str("a"), slice_str("1"), 0, NULL, NULL);
    (void)mvcc_txn_end(&txn);
    assert_int_equal(mvcc_hash_kv(f->mvcc, 0, &before, &compacted), 0);
    mvcc_plant_flip(f->mvcc, slice_str("a"));
    assert_int_equal(mvcc_hash_kv(f->mvcc, 0, &after, &compacted), 0);
    mvcc_plant_flip(f->mvcc, slice_str("a"));
    assert_int_equal(mvcc_hash_kv(f->mvcc, 0, &again, &compacted), 0);
    assert_true(before != after && before == again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(empty_store_is_at_revision_1_and_first_put_makes_2),
        T(transaction_advances_the_revision_by_one_however_many_keys_it_changes),
        T(transaction_that_changes_nothing_leaves_the_revision),
        T(create_stays_and_mod_and_version_move_on_with_each_put),
        T(put_after_a_delete_begins_a_new_life),
        T(put_without_lease_detaches_and_prev_gives_the_whole_record_before),
        T(put_over_a_deleted_key_reports_no_record_before),
        T(delete_gives_the_deleted_records_in_key_order),
        T(ranges_in_a_transaction_see_its_changes_at_its_revision),
        T(limit_cuts_and_count_goes_on),
        T(filters_apply_before_the_limit_and_not_to_the_count),
        T(range_end_means_key_all_from_key_or_half_open_interval),
        T(count_only_gives_no_keys_and_ignores_the_rest),
        T(keys_only_leaves_out_the_value_and_keeps_the_lease),
        T(sorts_by_each_target_in_both_directions),
        T(limit_cuts_after_an_explicit_sort),
        T(ties_come_in_key_order_in_both_directions),
        T(target_without_order_sorts_only_the_first_limit_plus_1_keys),
        T(old_revisions_read_as_they_were),
        T(each_stops_where_told_and_says_whether_it_got_through),
        T(keys_and_values_are_any_bytes),
        T(compaction_below_the_last_or_above_the_newest_is_refused),
        T(compaction_takes_effect_at_once_and_its_own_revision_stays_readable),
        T(deleted_keys_come_back_as_new_after_compaction),
        T(store_emptied_by_compaction_takes_other_keys),
        T(compactions_may_be_requested_before_the_first_is_done),
        T(slices_stay_valid_until_the_next_compact_step),
        T(memory_does_not_grow_with_overwriting_and_compacting),
        T(memory_of_deleted_keys_returns_after_compaction),
        T(memory_returns_where_few_keys_of_many_stay),
        T(memory_goes_back_to_the_system_though_what_stays_lies_scattered),
        T(records_that_compaction_moves_read_the_same),
        T(overhead_per_key_is_at_most_100_bytes),
        T(bytes_in_use_follow_the_live_records_only),
        T(bytes_held_count_history_until_it_is_compacted),
        T(bytes_held_leave_out_the_holes),
        T(hash_of_the_empty_store_is_1084519789),
        T(hash_refuses_future_and_compacted_revisions),
        T(hash_at_a_negative_revision_is_that_of_the_empty_store),
        T(hash_at_a_revision_ignores_what_came_later),
        T(hash_is_the_same_before_and_after_removal),
        T(hash_where_nothing_lives_covers_what_compaction_left),
        T(removal_waits_for_a_hash_under_way),
        T(hash_given_up_lets_removal_go_on),
        T(effects_tell_changes_apart),
        T(a_flipped_bit_shows_in_the_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
