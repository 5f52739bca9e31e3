/* Random histories with random crashes against a model (faults.md D1 to D3, I2): everything flushed
 * is there, nothing is invented, the hard state never goes back, and no crash is taken for damage.
 *
 * KVD_SEED=n repeats one run, KVD_WORLDS=n makes it longer. */
#include "tests/unit/wal/fixture.h"

#include <inttypes.h>
#include <time.h>

enum { ENTRIES_MAX = 4000, STEPS = 200 };

/* What the log should hold; entries are known by a number that their bytes are made from. */
struct content {
    uint64_t first, last;
    struct {
        uint64_t term, id;
    } at[ENTRIES_MAX];
    struct wal_hard_state state;
};

enum op_kind { OP_ENTRY, OP_STATE, OP_RESET };

struct op {
    enum op_kind kind;
    uint64_t index, term, id;
};

struct world {
    uint64_t seed;
    struct fixture *f;
    struct prng prng;
    struct content durable; /* as of the last flush that returned */
    struct op ops[512];     /* appended since */
    size_t ops_len;
    size_t begun;     /* ops that a flush was begun for */
    uint64_t dropped; /* entries below may be gone */
    uint64_t next_id, term;
    uint64_t crashes, cuts_of_some, entries;
};

static size_t data_of(uint64_t id, uint8_t *data)
{
    struct prng prng;
    size_t len;

    prng_seed(&prng, id);
    len = (size_t)prng_between(&prng, 0, 400);
    if (prng_chance(&prng, 80000))
        len = (size_t)prng_between(&prng, 300, 9000);
    if (prng_chance(&prng, 2000))
        len = (size_t)prng_between(&prng, 9000, 40000);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(prng.s[0] >> (i % 8 * 8)) ^ (uint8_t)i;
    return len;
}

static void apply(struct content *content, const struct op *op)
{
    switch (op->kind) {
    case OP_ENTRY:
        if (content->last == 0)
            content->first = op->index;
        content->last = op->index;
        content->at[op->index].term = op->term;
        content->at[op->index].id = op->id;
        break;
    case OP_STATE:
        content->state = (struct wal_hard_state){op->term, op->id};
        break;
    case OP_RESET:
        content->first = content->last = 0;
        break;
    }
}

static int check_entry(void *ctx, const struct wal_entry *entry)
{
    static uint8_t data[65536];
    const struct content *content = ctx;
    size_t len = data_of(content->at[entry->index].id, data);

    if (entry->term != content->at[entry->index].term || entry->data.len != len)
        return 1;
    return memcmp(entry->data.data, data, len) == 0 ? 0 : 1;
}

/* Is this exactly what the log holds, apart from what may have been dropped in front? */
static bool log_equals(struct world *w, struct content *content)
{
    struct wal *wal = w->f->wal;
    struct wal_hard_state state = wal_hard_state(wal);
    uint64_t first = wal_first_index(wal);

    if (state.term != content->state.term || state.voted_for != content->state.voted_for ||
        wal_last_index(wal) != content->last)
        return false;
    if (content->last == 0)
        return true;
    if (first > MAX(content->first, w->dropped))
        return false;
    if (first < content->first) /* never there, or above in the model because of a drop */
        return false;
    return wal_read(wal, first, UINT64_MAX, check_entry, content, &w->f->err) == 0;
}

static void take_ops(struct world *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        apply(&w->durable, &w->ops[i]);
    memmove(w->ops, w->ops + n, (w->ops_len - n) * sizeof(w->ops[0]));
    w->ops_len -= n;
    w->begun -= MIN(n, w->begun);
}

/* The log must be what it was after some number of the ops whose flush had begun. */
static void check_recovered(struct world *w)
{
    size_t n = 0;

    while (!log_equals(w, &w->durable)) {
        if (n == w->begun)
            fail_msg("seed %" PRIu64 ": what was recovered (%" PRIu64 " to %" PRIu64
                     ") is no state the log was in (%" PRIu64 " to %" PRIu64 ")",
                     w->seed, wal_first_index(w->f->wal), wal_last_index(w->f->wal),
                     w->durable.first, w->durable.last);
        apply(&w->durable, &w->ops[n++]);
    }
    w->cuts_of_some += n > 0 && n < w->begun;
    if (w->durable.last != 0)
        w->durable.first = wal_first_index(w->f->wal);
    w->ops_len = w->begun = 0;
    w->entries += w->durable.last;
}

/* Opens, perhaps with further crashes meanwhile. */
static void reopen(struct world *w)
{
    struct fixture *f = w->f;

    while (prng_chance(&w->prng, 300000)) {
        f->disk->cut_at = f->disk->calls + prng_between(&w->prng, 1, 8);
        if (try_open(f) != 0)
            assert_int_equal(f->err.code, KV_EIO);
        power_cut(f, (uint32_t)prng_between(&w->prng, 0, 1000000));
    }
    open_log(f);
    check_recovered(w);
}

static void crash(struct world *w)
{
    static const uint32_t keep[] = {0, 100000, 500000, 900000, 1000000};

    w->crashes++;
    if (prng_chance(&w->prng, 200000)) {
        wal_close(w->f->wal); /* only the process dies */
        w->f->wal = NULL;
        w->f->disk->cut_at = 0;
    } else {
        power_cut(w->f, keep[prng_between(&w->prng, 0, ARRAY_LEN(keep) - 1)]);
    }
    reopen(w);
}

static void push(struct world *w, const struct op *op)
{
    assert_true(w->ops_len < ARRAY_LEN(w->ops));
    w->ops[w->ops_len++] = *op;
}

static void step_append(struct world *w)
{
    static uint8_t data[65536];
    struct wal *wal = w->f->wal;
    uint64_t last = wal_last_index(wal);
    struct op op = {.kind = OP_ENTRY, .term = w->term, .id = w->next_id++};

    op.index = last == 0 ? prng_between(&w->prng, 1, 50) : last + 1;
    if (last != 0 && prng_chance(&w->prng, 100000)) {
        op.index = prng_between(&w->prng, wal_first_index(wal), last);
        op.term = ++w->term;
    }
    if (op.index >= ENTRIES_MAX)
        return;
    append_bytes(w->f, op.index, op.term, data, data_of(op.id, data));
    push(w, &op);
}

static void step_state(struct world *w)
{
    struct op op = {.kind = OP_STATE, .term = w->term, .id = prng_between(&w->prng, 0, 5)};

    vote(w->f, op.term, op.id);
    push(w, &op);
}

static void step_reset(struct world *w)
{
    (void)wal_reset(w->f->wal);
    push(w, &(struct op){.kind = OP_RESET});
}

static void step_drop(struct world *w)
{
    struct wal *wal = w->f->wal;
    uint64_t index;

    if (wal_last_index(wal) == 0)
        return;
    index = prng_between(&w->prng, wal_first_index(wal), wal_last_index(wal));
    w->dropped = MAX(w->dropped, index);
    wal_drop_before(wal, index);
}

static void step_flush(struct world *w)
{
    struct fixture *f = w->f;
    struct wal_flush *flush = wal_flush_begin(f->wal);
    bool power_fails = prng_chance(&w->prng, 300000);

    if (flush == NULL)
        return;
    w->begun = w->ops_len;
    if (prng_chance(&w->prng, 300000))
        step_append(w); /* while it runs */
    if (power_fails)
        f->disk->cut_at =
            f->disk->calls + prng_between(&w->prng, 1, prng_chance(&w->prng, 500000) ? 2 : 14);
    if (wal_flush_run(flush, &f->err) != 0) {
        assert_true(power_fails);
        crash(w);
        return;
    }
    f->disk->cut_at = 0;
    (void)wal_flush_end(f->wal, flush);
    take_ops(w, w->begun);
}

static void step_upkeep(struct world *w)
{
    struct fixture *f = w->f;
    bool power_fails = prng_chance(&w->prng, 100000);

    if (power_fails)
        f->disk->cut_at = f->disk->calls + prng_between(&w->prng, 1, 4);
    if (wal_upkeep(f->wal, &f->err) < 0) {
        assert_true(power_fails);
        crash(w);
    }
    f->disk->cut_at = 0;
}

/* Flushed entries are readable and right at any time. */
static void step_read(struct world *w)
{
    struct wal *wal = w->f->wal;
    uint64_t high = w->durable.last;

    for (size_t i = 0; i < w->ops_len; i++) {
        if (w->ops[i].kind == OP_RESET)
            return;
        if (w->ops[i].kind == OP_ENTRY)
            high = MIN(high, w->ops[i].index - 1);
    }
    if (high == 0 || wal_first_index(wal) > high)
        return;
    assert_int_equal(wal_read(wal, prng_between(&w->prng, wal_first_index(wal), high),
                              prng_between(&w->prng, 1, 5000), check_entry, &w->durable,
                              &w->f->err),
                     0);
}

static void step(struct world *w)
{
    uint64_t dice = prng_between(&w->prng, 0, 99);

    if (dice < 50)
        step_append(w);
    else if (dice < 56)
        step_state(w);
    else if (dice < 68)
        step_flush(w);
    else if (dice < 78)
        step_read(w);
    else if (dice < 84)
        step_drop(w);
    else if (dice < 95)
        step_upkeep(w);
    else if (dice < 99)
        crash(w);
    else if (prng_chance(&w->prng, 200000))
        step_reset(w);
}

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void run_world(void **state, uint64_t seed, struct world *w)
{
    uint64_t crashes = w->crashes, cuts = w->cuts_of_some, entries = w->entries;

    *w = (struct world){.seed = seed,
                        .next_id = 1,
                        .term = 1,
                        .crashes = crashes,
                        .cuts_of_some = cuts,
                        .entries = entries};
    prng_seed(&w->prng, seed);
    setup(state);
    w->f = *state;
    prng_seed(&w->f->disk->prng, seed + 1);
    w->f->options.segment_size = WAL__SEGMENT_SIZE_MIN << prng_between(&w->prng, 0, 2);
    reopen(w);
    for (unsigned i = 0; i < STEPS; i++)
        step(w);
    crash(w);
    teardown(state);
}

static void no_crash_loses_what_was_flushed_or_invents_anything(void **state)
{
    static struct world w;
    uint64_t seed = number_from_env("KVD_SEED", (uint64_t)time(NULL) * 1000);
    uint64_t worlds = number_from_env("KVD_WORLDS", 3000);

    (void)fprintf(stderr, "first seed %" PRIu64 "\n", seed);
    for (uint64_t i = 0; i < worlds; i++)
        run_world(state, seed + i, &w);
    (void)fprintf(stderr,
                  "%" PRIu64 " worlds, %" PRIu64 " crashes, %" PRIu64
                  " of them left part of a flush, %" PRIu64 " entries recovered\n",
                  worlds, w.crashes, w.cuts_of_some, w.entries);
    if (worlds >= 100) { /* or the test does not test what it says */
        assert_true(w.crashes > worlds * 3);
        assert_true(w.cuts_of_some > worlds / 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_crash_loses_what_was_flushed_or_invents_anything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
