/* Queues of keys under a prefix: their rules one by one, then random keys, waits and pauses of the
 * hub against what the keyspace itself says. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "server/encode.h"
#include "server/queues.h"
#include "server/watches.h"

enum { WAITS_MAX = 64, NAMES = 4, LEASES = 8 };

struct customer {
    struct queue_wait wait;
    char prefix[32], key[64];
    enum queue_news news; /* QUEUE_WAITING until cb */
    bool used;
};

/* A command, for a second keyspace that goes the same way. */
struct op {
    char key[64], end[8];
    enum { OP_PUT, OP_DELETE, OP_COMPACT } kind;
};

struct fixture {
    struct mvcc *mvcc;
    struct mvcc *retired; /* the one before the last switch: its records may still be looked at */
    struct op *log;
    size_t log_len, log_cap;
    struct watch_hub *hub;
    struct queues *queues;
    struct customer waits[WAITS_MAX];
};

/* ---- the hub's callbacks, as the member has them ---- */

static void on_encode(const struct watch_event *event, struct buf *out)
{
    size_t size = encode_event_size(event);

    assert_int_equal(buf_reserve(out, size), 0);
    assert_ptr_equal(encode_event(out->data + out->len, event), out->data + out->len + size);
    out->len += size;
}

static bool on_deliver(void *ctx, const struct watch_batch *batch)
{
    struct watch_sink *sink = ctx;

    return sink->deliver(sink, batch);
}

static void on_compacted(void *ctx, int64_t id, int64_t compact_revision)
{
    struct watch_sink *sink = ctx;

    sink->on_compacted(sink, id, compact_revision);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct watch_hub_options options = {
        .seed = 1, .encode = on_encode, .deliver = on_deliver, .on_compacted = on_compacted};

    f->mvcc = mvcc_new(1);
    options.mvcc = f->mvcc;
    f->hub = watch_hub_new(&options);
    f->queues = queues_new(f->hub, f->mvcc, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < WAITS_MAX; i++)
        if (f->waits[i].wait.cb != NULL)
            queues_leave(&f->waits[i].wait); /* of a test that failed */
    queues_free(f->queues);
    watch_hub_free(f->hub);
    mvcc_free(f->mvcc);
    mvcc_free(f->retired);
    free(f->log);
    free(f);
    return 0;
}

/* ---- verbs ---- */

static void apply(struct mvcc *mvcc, const struct op *op)
{
    struct mvcc_span span = {slice_str(op->key), slice_str(op->end)};
    struct arena arena = ARENA_INIT;
    struct mvcc_txn txn;

    if (op->kind == OP_COMPACT) {
        (void)mvcc_compact(mvcc, mvcc_revision(mvcc)); /* or it is that already */
        return;
    }
    mvcc_txn_begin(mvcc, &txn);
    if (op->kind == OP_PUT)
        mvcc_txn_put(&txn, span.key, slice_str("v"), 0, NULL, NULL);
    else
        (void)mvcc_txn_delete(&txn, span, &arena, NULL);
    (void)mvcc_txn_end(&txn);
    arena_release(&arena);
}

/* mvcc NULL: later, in a keyspace that replaces this one. */
static void run_op(struct fixture *f, struct mvcc *mvcc, int kind, const char *key, const char *end)
{
    struct op *op;

    if (f->log_len == f->log_cap) {
        f->log_cap = MAX(f->log_cap * 2, (size_t)64);
        f->log = xrealloc(f->log, f->log_cap * sizeof *f->log);
    }
    op = &f->log[f->log_len++];
    *op = (struct op){.kind = kind};
    snprintf(op->key, sizeof op->key, "%s", key);
    snprintf(op->end, sizeof op->end, "%s", end);
    if (mvcc != NULL)
        apply(mvcc, op);
}

static void put(struct fixture *f, const char *key)
{
    run_op(f, f->mvcc, OP_PUT, key, "");
}

static void del(struct fixture *f, const char *key, const char *end)
{
    run_op(f, f->mvcc, OP_DELETE, key, end);
}

/* Goes over to a keyspace that has run all of the log. */
static void switch_keyspace(struct fixture *f)
{
    mvcc_free(f->retired);
    f->retired = f->mvcc;
    f->mvcc = mvcc_new(2);
    for (size_t i = 0; i < f->log_len; i++)
        apply(f->mvcc, &f->log[i]);
    while (mvcc_compact_step(f->mvcc, 1000))
        continue;
    watch_hub_switch(f->hub, f->mvcc);
    queues_switch(f->queues, f->mvcc);
}

static void turn(struct fixture *f)
{
    while (watch_hub_step(f->hub, 1000))
        continue;
    queues_run(f->queues);
}

static void on_news(struct queue_wait *wait, enum queue_news news)
{
    CONTAINER_OF(wait, struct customer, wait)->news = news;
}

static enum queue_news join(struct fixture *f, int n, const char *prefix, const char *key)
{
    struct customer *waiter = &f->waits[n];
    struct mvcc_kv kv;

    assert_true(mvcc_get(f->mvcc, slice_str(key), &kv));
    snprintf(waiter->prefix, sizeof waiter->prefix, "%s", prefix);
    snprintf(waiter->key, sizeof waiter->key, "%s", key);
    waiter->wait = (struct queue_wait){.prefix = slice_str(waiter->prefix),
                                       .key = slice_str(waiter->key),
                                       .create_revision = kv.create_revision,
                                       .cb = on_news};
    waiter->news = QUEUE_WAITING;
    return queues_join(f->queues, &waiter->wait);
}

static enum queue_news enter(struct fixture *f, int n, const char *prefix, const char *key)
{
    put(f, key);
    return join(f, n, prefix, key);
}

#define EXPECT(f, ...)                                                                             \
    do {                                                                                           \
        static const enum queue_news expected[] = {__VA_ARGS__};                                   \
        turn(f);                                                                                   \
        for (size_t i_ = 0; i_ < ARRAY_LEN(expected); i_++)                                        \
            assert_int_equal((f)->waits[i_].news, expected[i_]);                                   \
    } while (0)

/* ---- rules ---- */

static void the_only_key_is_first_at_once(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(enter(f, 0, "a/", "a/1"), QUEUE_FIRST);
    assert_int_equal(join(f, 0, "a/", "a/1"), QUEUE_FIRST);
}

static void each_release_wakes_the_next_and_nobody_else(void **state)
{
    struct fixture *f = *state;

    put(f, "a/0");
    assert_int_equal(enter(f, 0, "a/", "a/9"), QUEUE_WAITING);
    assert_int_equal(enter(f, 1, "a/", "a/5"), QUEUE_WAITING);
    assert_int_equal(enter(f, 2, "a/", "a/7"), QUEUE_WAITING);
    EXPECT(f, QUEUE_WAITING, QUEUE_WAITING, QUEUE_WAITING);
    del(f, "a/0", "");
    EXPECT(f, QUEUE_FIRST, QUEUE_WAITING, QUEUE_WAITING);
    del(f, "a/9", "");
    EXPECT(f, QUEUE_FIRST, QUEUE_FIRST, QUEUE_WAITING);
    del(f, "a/5", "");
    EXPECT(f, QUEUE_FIRST, QUEUE_FIRST, QUEUE_FIRST);
}

static void who_leaves_in_the_middle_is_skipped(void **state)
{
    struct fixture *f = *state;

    put(f, "a/0");
    assert_int_equal(enter(f, 0, "a/", "a/1"), QUEUE_WAITING);
    assert_int_equal(enter(f, 1, "a/", "a/2"), QUEUE_WAITING);
    turn(f);
    queues_leave(&f->waits[0].wait);
    del(f, "a/1", "");
    EXPECT(f, QUEUE_WAITING, QUEUE_WAITING);
    del(f, "a/0", "");
    EXPECT(f, QUEUE_WAITING, QUEUE_FIRST);
}

static void a_waiter_whose_key_goes_is_told_so(void **state)
{
    struct fixture *f = *state;

    put(f, "a/0");
    assert_int_equal(enter(f, 0, "a/", "a/1"), QUEUE_WAITING);
    assert_int_equal(join(f, 1, "a/", "a/1"), QUEUE_WAITING);
    assert_int_equal(enter(f, 2, "a/", "a/2"), QUEUE_WAITING);
    del(f, "a/1", ""); /* before the hub has told of it, even */
    EXPECT(f, QUEUE_GONE, QUEUE_GONE, QUEUE_WAITING);
    queues_leave(&f->waits[2].wait);
}

/* A key that is made again is a new place, at the end. */
static void a_new_key_of_the_same_name_does_not_inherit_the_place(void **state)
{
    struct fixture *f = *state;

    put(f, "a/0");
    assert_int_equal(enter(f, 0, "a/", "a/1"), QUEUE_WAITING);
    assert_int_equal(enter(f, 1, "a/", "a/2"), QUEUE_WAITING);
    del(f, "a/1", "");
    assert_int_equal(enter(f, 2, "a/", "a/1"), QUEUE_WAITING);
    EXPECT(f, QUEUE_GONE, QUEUE_WAITING, QUEUE_WAITING);
    del(f, "a/0", "");
    EXPECT(f, QUEUE_GONE, QUEUE_FIRST, QUEUE_WAITING);
    queues_leave(&f->waits[2].wait);
}

/* Keys that one transaction makes have the same create revision, and nobody waits for his equal. */
static void equally_old_keys_are_first_together(void **state)
{
    struct fixture *f = *state;
    struct mvcc_txn txn;

    put(f, "a/0");
    mvcc_txn_begin(f->mvcc, &txn);
    mvcc_txn_put(&txn, slice_str("a/1"), slice_str(""), 0, NULL, NULL);
    mvcc_txn_put(&txn, slice_str("a/2"), slice_str(""), 0, NULL, NULL);
    (void)mvcc_txn_end(&txn);
    assert_int_equal(join(f, 0, "a/", "a/1"), QUEUE_WAITING);
    assert_int_equal(join(f, 1, "a/", "a/2"), QUEUE_WAITING);
    assert_int_equal(enter(f, 2, "a/", "a/3"), QUEUE_WAITING);
    del(f, "a/0", "");
    EXPECT(f, QUEUE_FIRST, QUEUE_FIRST, QUEUE_WAITING);
    del(f, "a/1", "");
    EXPECT(f, QUEUE_FIRST, QUEUE_FIRST, QUEUE_WAITING);
    del(f, "a/2", "");
    EXPECT(f, QUEUE_FIRST, QUEUE_FIRST, QUEUE_FIRST);
}

/* A prefix is a prefix: the queue "a/" waits for what lies below "a/b/" too. */
static void names_below_a_name_count(void **state)
{
    struct fixture *f = *state;

    put(f, "a/b/0");
    assert_int_equal(enter(f, 0, "a/", "a/1"), QUEUE_WAITING);
    assert_int_equal(enter(f, 1, "a/b/", "a/b/1"), QUEUE_WAITING);
    put(f, "a0"); /* just behind the range */
    del(f, "a/b/0", "");
    EXPECT(f, QUEUE_FIRST, QUEUE_FIRST);
}

static void changes_of_a_value_do_not_move_anybody(void **state)
{
    struct fixture *f = *state;

    put(f, "a/0");
    assert_int_equal(enter(f, 0, "a/", "a/1"), QUEUE_WAITING);
    turn(f);
    put(f, "a/0");
    put(f, "a/1");
    EXPECT(f, QUEUE_WAITING);
    del(f, "a/0", "");
    EXPECT(f, QUEUE_FIRST);
}

static void a_wait_that_was_left_is_not_called(void **state)
{
    struct fixture *f = *state;

    put(f, "a/0");
    assert_int_equal(enter(f, 0, "a/", "a/1"), QUEUE_WAITING);
    del(f, "a/0", "");
    while (watch_hub_step(f->hub, 1000)) /* decided, and not told yet */
        continue;
    queues_leave(&f->waits[0].wait);
    queues_leave(&f->waits[0].wait); /* harmless */
    EXPECT(f, QUEUE_WAITING);
}

/* A member that was behind gets the state of another one: what was deleted in between is seen,
 * though nobody tells of it. */
static void waits_go_on_in_a_keyspace_that_replaces_theirs(void **state)
{
    struct fixture *f = *state;

    put(f, "a/0");
    assert_int_equal(enter(f, 0, "a/", "a/1"), QUEUE_WAITING);
    assert_int_equal(enter(f, 1, "a/", "a/2"), QUEUE_WAITING);
    assert_int_equal(enter(f, 2, "a/", "a/3"), QUEUE_WAITING);
    turn(f);
    run_op(f, NULL, OP_DELETE, "a/0", "");
    run_op(f, NULL, OP_DELETE, "a/2", "");
    run_op(f, NULL, OP_PUT, "a/2", "");
    run_op(f, NULL, OP_COMPACT, "", "");
    switch_keyspace(f);
    EXPECT(f, QUEUE_FIRST, QUEUE_GONE, QUEUE_WAITING);
    del(f, "a/1", "");
    EXPECT(f, QUEUE_FIRST, QUEUE_GONE, QUEUE_FIRST);
}

static void too_many_keys_are_refused_and_end_who_waits(void **state)
{
    struct fixture *f = *state;
    struct mvcc_txn txn;
    char key[32];

    put(f, "a/0");
    assert_int_equal(enter(f, 0, "a/", "a/1"), QUEUE_WAITING);
    for (int i = 0; i <= QUEUE_PLACES_MAX; i++) {
        snprintf(key, sizeof key, "a/x%d", i);
        mvcc_txn_begin(f->mvcc, &txn);
        mvcc_txn_put(&txn, slice_str(key), slice_str(""), 0, NULL, NULL);
        (void)mvcc_txn_end(&txn);
    }
    EXPECT(f, QUEUE_FULL);
    assert_int_equal(join(f, 1, "a/", "a/1"), QUEUE_FULL);
    assert_int_equal(enter(f, 2, "b/", "b/1"), QUEUE_FIRST); /* others are not concerned */
    put(f, "b/2");
    assert_int_equal(join(f, 1, "b/", "b/2"), QUEUE_WAITING);
    queues_leave(&f->waits[1].wait);
}

/* ---- cost ---- */

static uint64_t cpu_ns(void)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* CPU time for one release and the next one's turn, with so many in line. */
static double release_ns(struct fixture *f, int waiters, size_t *bytes)
{
    struct customer *all = xcalloc((size_t)waiters, sizeof *all);
    size_t before;
    uint64_t start;
    int rounds = 500;

    put(f, "q/");
    for (int i = 0; i < waiters; i++) {
        snprintf(all[i].prefix, sizeof all[i].prefix, "q/");
        snprintf(all[i].key, sizeof all[i].key, "q/%08x", (unsigned)i * 2654435761u);
        put(f, all[i].key);
    }
    before = mallinfo2().uordblks;
    for (int i = 0; i < waiters; i++) {
        struct mvcc_kv kv;

        (void)mvcc_get(f->mvcc, slice_str(all[i].key), &kv);
        all[i].wait = (struct queue_wait){.prefix = slice_str(all[i].prefix),
                                          .key = slice_str(all[i].key),
                                          .create_revision = kv.create_revision,
                                          .cb = on_news};
        assert_int_equal(queues_join(f->queues, &all[i].wait), QUEUE_WAITING);
    }
    turn(f);
    *bytes = (mallinfo2().uordblks - before) / (size_t)waiters;
    start = cpu_ns();
    del(f, "q/", "");
    for (int i = 0; i < rounds; i++) {
        turn(f);
        assert_int_equal(all[i].news, QUEUE_FIRST);
        assert_int_equal(all[i + 1].news, QUEUE_WAITING);
        del(f, all[i].key, "");
    }
    start = cpu_ns() - start;
    for (int i = rounds; i < waiters; i++)
        queues_leave(&all[i].wait);
    del(f, "q/", "q0");
    turn(f);
    free(all);
    return (double)start / rounds;
}

/* What is judged is growth, over a ratio of 32: a walk over the waiters would show as 32, too. */
static void a_release_costs_the_same_however_many_wait(void **state)
{
    struct fixture *f = *state;
    size_t bytes_few, bytes_many;
    double few = release_ns(f, 1000, &bytes_few), many = release_ns(f, 32000, &bytes_many);

    printf("a release: %.0f ns with 1,000 in line, %.0f ns with 32,000; %zu bytes for each place\n",
           few, many, bytes_many);
    assert_true(many < few * 8);
    assert_true(bytes_many < 160);
}

/* ---- against the keyspace ---- */

static bool older_exists(struct fixture *f, const struct customer *waiter)
{
    struct mvcc_kv kv;

    return queues_oldest(f->mvcc, waiter->wait.prefix, &kv) &&
           kv.create_revision < waiter->wait.create_revision;
}

static bool own_exists(struct fixture *f, const struct customer *waiter)
{
    struct mvcc_kv kv;

    return mvcc_get(f->mvcc, waiter->wait.key, &kv) &&
           kv.create_revision == waiter->wait.create_revision;
}

/* With the hub at the newest revision, who waits has reason to. Who was told FIRST had nobody
 * before him from then on: older keys can not come. */
static void check_model(struct fixture *f)
{
    turn(f);
    for (int i = 0; i < WAITS_MAX; i++) {
        struct customer *waiter = &f->waits[i];

        if (!waiter->used)
            continue;
        if (waiter->news == QUEUE_WAITING) {
            assert_true(own_exists(f, waiter));
            assert_true(older_exists(f, waiter));
            continue;
        }
        if (waiter->news == QUEUE_FIRST)
            assert_false(older_exists(f, waiter));
        else
            assert_false(own_exists(f, waiter));
        waiter->used = false;
    }
}

static const char *random_key(struct prng *prng, char *prefix, char *key)
{
    static const char *const names[NAMES] = {"a/", "a/b/", "b/", "/"};
    const char *name = names[prng_between(prng, 0, NAMES - 1)];

    snprintf(prefix, 32, "%s", name);
    snprintf(key, 64, "%s%d", name, (int)prng_between(prng, 1, LEASES));
    return key;
}

static void random_join(struct fixture *f, struct prng *prng)
{
    char prefix[32], key[64];
    int n = (int)prng_between(prng, 0, WAITS_MAX - 1);
    enum queue_news news;

    if (f->waits[n].used)
        return;
    (void)random_key(prng, prefix, key);
    if (!mvcc_get(f->mvcc, slice_str(key), &(struct mvcc_kv){0}))
        put(f, key);
    news = join(f, n, prefix, key);
    if (news == QUEUE_FIRST)
        assert_false(older_exists(f, &f->waits[n]));
    f->waits[n].used = news == QUEUE_WAITING;
}

static void random_leave(struct fixture *f, struct prng *prng)
{
    struct customer *waiter = &f->waits[prng_between(prng, 0, WAITS_MAX - 1)];

    if (!waiter->used)
        return;
    queues_leave(&waiter->wait);
    waiter->used = false;
}

static void random_step(struct fixture *f, struct prng *prng)
{
    char prefix[32], key[64];

    switch (prng_between(prng, 0, 9)) {
    case 0:
    case 1:
    case 2:
        random_join(f, prng);
        break;
    case 3:
        random_leave(f, prng);
        break;
    case 4:
        put(f, random_key(prng, prefix, key));
        break;
    case 5:
    case 6:
    case 7:
        del(f, random_key(prng, prefix, key), "");
        break;
    case 8:
        (void)watch_hub_step(f->hub, prng_between(prng, 1, 3)); /* and no further */
        break;
    default:
        if (prng_chance(prng, 100000)) {
            run_op(f, f->mvcc, OP_COMPACT, "", "");
            while (watch_hub_is_current(f->hub) && mvcc_compact_step(f->mvcc, 100))
                continue;
        }
        if (prng_chance(prng, 5000)) {
            for (int i = 0; i < 20; i++)
                run_op(f, NULL, (int)prng_between(prng, OP_PUT, OP_DELETE),
                       random_key(prng, prefix, key), "");
            run_op(f, NULL, OP_COMPACT, "", "");
            switch_keyspace(f);
        }
        check_model(f);
        break;
    }
}

static void random_queues_agree_with_the_keyspace(void **state)
{
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    struct prng prng;
    struct fixture *f = *state;

    printf("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (int i = 0; i < 60000; i++)
        random_step(f, &prng);
    check_model(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_only_key_is_first_at_once),
        TEST(each_release_wakes_the_next_and_nobody_else),
        TEST(who_leaves_in_the_middle_is_skipped),
        TEST(a_waiter_whose_key_goes_is_told_so),
        TEST(a_new_key_of_the_same_name_does_not_inherit_the_place),
        TEST(equally_old_keys_are_first_together),
        TEST(names_below_a_name_count),
        TEST(changes_of_a_value_do_not_move_anybody),
        TEST(a_wait_that_was_left_is_not_called),
        TEST(waits_go_on_in_a_keyspace_that_replaces_theirs),
        TEST(too_many_keys_are_refused_and_end_who_waits),
        TEST(a_release_costs_the_same_however_many_wait),
        TEST(random_queues_agree_with_the_keyspace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
