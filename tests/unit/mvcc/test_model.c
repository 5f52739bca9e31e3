/* The store against a model so simple that it can be checked by reading it: the list of all
 * changes, and every question answered by going through it from the start, as etcd-api.md words
 * the answer (5.1 for ranges, 5.6 for compaction, 9 for HashKV). MVCC_TEST_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/prng.h"
#include "mvcc/internal.h"

/* ---- the model ---- */

struct event {
    int64_t main;
    int64_t sub;
    size_t key; /* place in the sorted universe */
    struct slice value;
    int64_t create, version, lease; /* all 0: a tombstone */
};

struct model {
    struct slice *universe; /* all keys there can be, sorted, distinct */
    size_t key_count;
    struct event *events;
    size_t len, cap;
    int64_t revision; /* what reads see as the newest, in a transaction too */
    int64_t compact_revision;
    const struct event **states; /* key_count long: for whoever needs it */
};

static void add_event(struct model *m, struct event event)
{
    if (m->len == m->cap) {
        m->cap = m->cap * 2 + 64;
        m->events = xrealloc(m->events, m->cap * sizeof *m->events);
    }
    m->events[m->len++] = event;
}

/* For each key the newest event up to the revision, tombstones included; NULL: none. */
static void newest_events(struct model *m, int64_t revision)
{
    memset(m->states, 0, m->key_count * sizeof *m->states);
    for (size_t i = 0; i < m->len; i++)
        if (m->events[i].main <= revision)
            m->states[m->events[i].key] = &m->events[i];
}

static bool is_alive(const struct event *event)
{
    return event != NULL && event->version > 0;
}

static bool in_span(struct slice key, struct mvcc_span span)
{
    if (span.end.len == 0)
        return slice_eq(key, span.key);
    if (slice_cmp(key, span.key) < 0)
        return false;
    return slice_eq(span.end, slice_of("", 1)) || slice_cmp(key, span.end) < 0;
}

static void model_put(struct model *m, int64_t main, int64_t sub, size_t key, struct slice value,
                      int64_t lease)
{
    struct event event = {main, sub, key, value, main, 1, lease};

    newest_events(m, INT64_MAX);
    if (is_alive(m->states[key])) {
        event.create = m->states[key]->create;
        event.version = m->states[key]->version + 1;
    }
    add_event(m, event);
}

static int model_compact(struct model *m, int64_t revision)
{
    size_t kept = 0;

    if (revision <= m->compact_revision)
        return KV_ECOMPACTED;
    if (revision > m->revision)
        return KV_EFUTURE;
    m->compact_revision = revision;
    newest_events(m, revision);
    for (size_t i = 0; i < m->len; i++) {
        struct event *event = &m->events[i];
        bool newest = event == m->states[event->key];

        /* An event that moves down to its own place or below is not looked at again. */
        if (event->main > revision || (newest && (is_alive(event) || event->main == revision)))
            m->events[kept++] = *event;
        else
            free((void *)event->value.data);
    }
    m->len = kept;
    return 0;
}

static int compare_events(const void *a, const void *b, void *arg)
{
    const struct event *x = *(const struct event *const *)a, *y = *(const struct event *const *)b;
    const struct mvcc_range *range = arg;
    int64_t d = 0;

    switch (range->target) {
    case MVCC_BY_KEY:
        d = (int64_t)x->key - (int64_t)y->key;
        break;
    case MVCC_BY_VERSION:
        d = x->version - y->version;
        break;
    case MVCC_BY_CREATE:
        d = x->create - y->create;
        break;
    case MVCC_BY_MOD:
        d = x->main - y->main;
        break;
    case MVCC_BY_VALUE:
        d = slice_cmp(x->value, y->value);
        break;
    }
    if (d == 0)
        return x->key < y->key ? -1 : 1;
    return (d < 0) == (range->order != MVCC_ORDER_DESCEND) ? -1 : 1;
}

struct expected {
    const struct event **events; /* key_count long */
    size_t len;
    int64_t count;
    bool more;
};

static bool is_filtered_out(const struct mvcc_range *r, const struct event *e)
{
    return (r->mod_max != 0 && e->main > r->mod_max) || (r->mod_min != 0 && e->main < r->mod_min) ||
           (r->create_max != 0 && e->create > r->create_max) ||
           (r->create_min != 0 && e->create < r->create_min);
}

static int model_range(struct model *m, const struct mvcc_range *r, struct expected *out)
{
    bool by_default =
        r->order == MVCC_ORDER_NONE || (r->order == MVCC_ORDER_ASCEND && r->target == MVCC_BY_KEY);
    bool filters = r->mod_max != 0 || r->mod_min != 0 || r->create_max != 0 || r->create_min != 0;
    size_t fetched = 0;

    out->len = 0;
    out->count = 0;
    out->more = false;
    if (r->revision > m->revision)
        return KV_EFUTURE;
    if (r->revision > 0 && r->revision < m->compact_revision)
        return KV_ECOMPACTED;
    newest_events(m, r->revision > 0 ? r->revision : m->revision);
    for (size_t i = 0; i < m->key_count; i++) {
        if (!is_alive(m->states[i]) || !in_span(m->universe[i], r->span))
            continue;
        out->count++;
        if (by_default && !filters && r->limit > 0 && fetched == (size_t)r->limit + 1)
            continue;
        fetched++;
        if (!is_filtered_out(r, m->states[i]))
            out->events[out->len++] = m->states[i];
    }
    if (r->flags & MVCC_COUNT_ONLY) {
        out->len = 0;
        return 0;
    }
    qsort_r(out->events, out->len, sizeof *out->events, compare_events, (void *)r);
    if (r->limit > 0 && out->len > (size_t)r->limit) {
        out->len = (size_t)r->limit;
        out->more = true;
    }
    return 0;
}

static void add_field(struct buf *buf, unsigned field, uint64_t value)
{
    if (value == 0)
        return;
    assert_int_equal(buf_append_varint(buf, field << 3), 0);
    assert_int_equal(buf_append_varint(buf, value), 0);
}

static void add_bytes(struct buf *buf, unsigned field, struct slice bytes)
{
    if (bytes.len == 0)
        return;
    assert_int_equal(buf_append_varint(buf, field << 3 | 2), 0);
    assert_int_equal(buf_append_varint(buf, bytes.len), 0);
    assert_int_equal(buf_append(buf, bytes.data, bytes.len), 0);
}

static void add_stored_form(const struct model *m, const struct event *e, struct buf *buf)
{
    uint8_t revision[18];

    put_be64(revision, (uint64_t)e->main);
    revision[8] = 0x5f;
    put_be64(revision + 9, (uint64_t)e->sub);
    revision[17] = 0x74;
    assert_int_equal(buf_append(buf, revision, is_alive(e) ? 17 : 18), 0);
    add_bytes(buf, 1, m->universe[e->key]);
    if (!is_alive(e))
        return;
    add_field(buf, 2, (uint64_t)e->create);
    add_field(buf, 3, (uint64_t)e->main);
    add_field(buf, 4, (uint64_t)e->version);
    add_bytes(buf, 5, e->value);
    add_field(buf, 6, (uint64_t)e->lease);
}

static uint32_t model_hash(struct model *m, int64_t revision)
{
    int64_t compacted = m->compact_revision;
    bool keeps = false;
    uint32_t hash;
    struct buf all;

    buf_init(&all, 64 << 20);
    assert_int_equal(buf_append(&all, "key", 3), 0);
    newest_events(m, revision);
    for (size_t i = 0; i < m->key_count; i++)
        keeps = keeps || is_alive(m->states[i]);
    for (size_t i = 0; i < m->len; i++) {
        const struct event *e = &m->events[i];
        bool in_keep = e == m->states[e->key] && is_alive(e);

        if (e->main > revision || (e->main <= compacted && keeps && !in_keep) ||
            (e->main == compacted && !is_alive(e)))
            continue;
        add_stored_form(m, e, &all);
    }
    hash = crc32c_extend_portable(0, all.data, all.len);
    buf_release(&all);
    return hash;
}

/* ---- both side by side ---- */

struct pair {
    struct prng prng;
    struct model model;
    struct mvcc *mvcc;
    struct mvcc_txn txn;
    struct arena arena;
    struct expected expected;
    bool in_txn;
    uint64_t seed;
    size_t ops;
};

static uint64_t pick(struct pair *p, uint64_t low, uint64_t high)
{
    return prng_between(&p->prng, low, high);
}

static bool one_in(struct pair *p, uint64_t n)
{
    return pick(p, 1, n) == 1;
}

static int compare_keys(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* Keys that are prefixes of others, with zero and 0xff bytes, short ones, and families with a long
 * common beginning. */
static struct slice random_key(struct pair *p)
{
    static const uint8_t alphabet[] = {0x00, 0x01, 'a', 'b', 'c', 0x7f, 0x80, 0xff};
    static const char *const families[] = {"", "", "/registry/pods/default/", "/registry/", "zz"};
    const char *family = families[pick(p, 0, ARRAY_LEN(families) - 1)];
    size_t head = strlen(family), tail = pick(p, 1, 6);
    uint8_t bytes[64];

    memcpy(bytes, family, head);
    for (size_t i = 0; i < tail; i++)
        bytes[head + i] = alphabet[pick(p, 0, ARRAY_LEN(alphabet) - 1)];
    return slice_of(xmemdup(bytes, head + tail), head + tail);
}

static void make_universe(struct pair *p, size_t count)
{
    struct slice *keys = xcalloc(count, sizeof *keys);
    size_t distinct = 0;

    for (size_t i = 0; i < count; i++)
        keys[i] = random_key(p);
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < count; i++) {
        if (distinct > 0 && slice_eq(keys[distinct - 1], keys[i]))
            free((void *)keys[i].data);
        else
            keys[distinct++] = keys[i];
    }
    p->model.universe = keys;
    p->model.key_count = distinct;
}

static void pair_init(struct pair *p, size_t key_count)
{
    const char *given = getenv("MVCC_TEST_SEED");

    *p = (struct pair){0};
    p->seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003 + key_count;
    print_message("MVCC_TEST_SEED=%llu\n", (unsigned long long)p->seed);
    prng_seed(&p->prng, p->seed);
    make_universe(p, key_count);
    p->model.revision = 1;
    p->model.compact_revision = -1;
    p->model.states = xcalloc(p->model.key_count, sizeof *p->model.states);
    p->expected.events = xcalloc(p->model.key_count, sizeof *p->expected.events);
    arena_init(&p->arena);
    p->mvcc = mvcc_new(p->seed);
}

static void pair_release(struct pair *p)
{
    mvcc_free(p->mvcc);
    arena_release(&p->arena);
    for (size_t i = 0; i < p->model.len; i++)
        free((void *)p->model.events[i].value.data);
    for (size_t i = 0; i < p->model.key_count; i++)
        free((void *)p->model.universe[i].data);
    free(p->model.universe);
    free(p->model.events);
    free(p->model.states);
    free(p->expected.events);
}

static void assert_slice(struct slice got, struct slice want)
{
    assert_int_equal(got.len, want.len);
    if (want.len > 0)
        assert_memory_equal(got.data, want.data, want.len);
}

static void assert_kv(const struct pair *p, const struct mvcc_kv *kv, const struct event *want,
                      bool keys_only)
{
    assert_slice(kv->key, p->model.universe[want->key]);
    assert_slice(kv->value, keys_only ? slice_of(NULL, 0) : want->value);
    assert_int_equal(kv->create_revision, want->create);
    assert_int_equal(kv->mod_revision, want->main);
    assert_int_equal(kv->version, want->version);
    assert_int_equal(kv->lease, want->lease);
}

/* ---- random questions ---- */

static struct slice random_bound(struct pair *p)
{
    size_t at = pick(p, 0, p->model.key_count - 1);
    struct slice key = p->model.universe[at];

    /* At times a key that is not there: the beginning of one. */
    return one_in(p, 4) ? slice_of(key.data, pick(p, 1, key.len)) : key;
}

static struct mvcc_span random_span(struct pair *p)
{
    struct mvcc_span span = {random_bound(p), slice_of(NULL, 0)};

    switch (pick(p, 0, 5)) {
    case 0:
        break;
    case 1:
        span.end = slice_of("", 1);
        break;
    case 2:
        span = (struct mvcc_span){slice_of("", 1), slice_of("", 1)};
        break;
    default:
        span.end = random_bound(p); /* below the key at times: matches nothing */
    }
    return span;
}

static int64_t random_revision(struct pair *p)
{
    const struct model *m = &p->model;

    switch (pick(p, 0, 5)) {
    case 0:
        return (int64_t)pick(p, 0, (uint64_t)m->revision + 2) - 1;
    case 1:
        return MAX(m->compact_revision, 0);
    case 2:
        return m->revision;
    case 3:
        return m->revision - (int64_t)pick(p, 0, 20); /* not above 0 at times */
    default:
        return 0;
    }
}

static struct mvcc_range random_range(struct pair *p)
{
    struct mvcc_range r = {.span = random_span(p), .revision = random_revision(p)};
    uint64_t now = (uint64_t)p->model.revision;

    if (one_in(p, 2))
        r.limit = (int64_t)pick(p, 0, one_in(p, 2) ? 4 : p->model.key_count) - 1;
    if (one_in(p, 2)) {
        r.order = (enum mvcc_order)pick(p, 0, 2);
        r.target = (enum mvcc_target)pick(p, 0, 4);
    }
    r.flags = (one_in(p, 6) ? MVCC_KEYS_ONLY : 0) | (one_in(p, 6) ? MVCC_COUNT_ONLY : 0);
    if (one_in(p, 6))
        r.mod_min = (int64_t)pick(p, 1, now);
    if (one_in(p, 6))
        r.mod_max = (int64_t)pick(p, 1, now);
    if (one_in(p, 6))
        r.create_min = (int64_t)pick(p, 1, now);
    if (one_in(p, 6))
        r.create_max = (int64_t)pick(p, 1, now);
    return r;
}

static void compare_range(struct pair *p)
{
    struct mvcc_range r = random_range(p);
    struct mvcc_range_result got;
    int rc = model_range(&p->model, &r, &p->expected);

    assert_int_equal(mvcc_range(p->mvcc, &r, &p->arena, &got), rc);
    if (rc == 0) {
        assert_int_equal(got.count, p->expected.count);
        assert_int_equal(got.len, p->expected.len);
        assert_int_equal(got.more, p->expected.more);
        for (size_t i = 0; i < got.len; i++)
            assert_kv(p, &got.kvs[i], p->expected.events[i], r.flags & MVCC_KEYS_ONLY);
    }
    arena_reset(&p->arena);
}

static void compare_get(struct pair *p)
{
    size_t at = pick(p, 0, p->model.key_count - 1);
    struct mvcc_kv kv;
    bool found;

    newest_events(&p->model, INT64_MAX);
    found = mvcc_get(p->mvcc, p->model.universe[at], &kv);
    assert_int_equal(found, is_alive(p->model.states[at]));
    if (found)
        assert_kv(p, &kv, p->model.states[at], false);
}

struct walk {
    struct pair *pair;
    size_t seen;
    size_t stop;
};

static bool on_each(void *ctx, const struct mvcc_kv *kv)
{
    struct walk *walk = ctx;

    assert_kv(walk->pair, kv, walk->pair->expected.events[walk->seen], false);
    walk->seen++;
    return walk->seen != walk->stop;
}

static void compare_each(struct pair *p)
{
    struct mvcc_range r = {.span = random_span(p)};
    struct walk walk = {.pair = p, .stop = pick(p, 1, 20)};
    bool whole;

    assert_int_equal(model_range(&p->model, &r, &p->expected), 0);
    whole = mvcc_each(p->mvcc, r.span, on_each, &walk);
    assert_int_equal(walk.seen, MIN(walk.stop, p->expected.len));
    assert_int_equal(whole, p->expected.len < walk.stop);
}

/* In slices, and with other work between them: the outcome is that of the moment it began. */
static void compare_hash(struct pair *p, void (*disturb)(struct pair *p))
{
    int64_t revision = random_revision(p);
    int64_t at = revision != 0 ? revision : p->model.revision; /* below 0: before all records */
    int64_t compacted = p->model.compact_revision;
    uint32_t want = model_hash(&p->model, at);
    struct mvcc_hash hash;
    int rc = mvcc_hash_begin(p->mvcc, revision, &hash);

    if (at > p->model.revision) {
        assert_int_equal(rc, KV_EFUTURE);
    } else if (at > 0 && at < compacted) {
        assert_int_equal(rc, KV_ECOMPACTED);
    } else {
        assert_int_equal(rc, 0);
        while (!mvcc_hash_step(&hash, pick(p, 1, 400)))
            if (one_in(p, 2))
                disturb(p);
        assert_int_equal(hash.hash, want);
        assert_int_equal(hash.compact_revision, compacted);
        assert_int_equal(hash.revision, at);
    }
    mvcc_hash_end(&hash);
}

static void compare_counters(struct pair *p)
{
    size_t alive = 0;

    newest_events(&p->model, INT64_MAX);
    for (size_t i = 0; i < p->model.key_count; i++)
        alive += is_alive(p->model.states[i]);
    assert_int_equal(mvcc_key_count(p->mvcc), alive);
    assert_int_equal(mvcc_compact_revision(p->mvcc), p->model.compact_revision);
    if (!p->in_txn)
        assert_int_equal(mvcc_revision(p->mvcc), p->model.revision);
    keyindex__check(&p->mvcc->index);
}

/* ---- random changes ---- */

static struct slice random_value(struct pair *p)
{
    size_t len = one_in(p, 5) ? 0 : pick(p, 1, one_in(p, 10) ? 300 : 8);
    uint8_t *bytes = xmalloc(len + 1);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)pick(p, 'a', 'd');
    return slice_of(bytes, len);
}

static void put_in_txn(struct pair *p)
{
    size_t key = pick(p, 0, p->model.key_count - 1);
    int64_t lease = one_in(p, 4) ? (int64_t)pick(p, 1, UINT64_MAX) : 0;
    struct slice value = random_value(p);
    struct event before = {0};
    struct mvcc_kv prev;
    bool had;

    newest_events(&p->model, INT64_MAX);
    if (is_alive(p->model.states[key]))
        before = *p->model.states[key];
    model_put(&p->model, p->txn.revision, p->txn.changes, key, value, lease);
    p->model.revision = p->txn.revision;
    mvcc_txn_put(&p->txn, p->model.universe[key], value, lease, &had, &prev);
    assert_int_equal(had, before.version > 0);
    if (had)
        assert_kv(p, &prev, &before, false);
}

static void delete_span_in_txn(struct pair *p, struct mvcc_span span)
{
    struct mvcc_range r = {.span = span};
    const struct mvcc_kv *prevs;
    int64_t sub = p->txn.changes;
    size_t deleted;

    assert_int_equal(model_range(&p->model, &r, &p->expected), 0);
    deleted = mvcc_txn_delete(&p->txn, r.span, &p->arena, one_in(p, 3) ? NULL : &prevs);
    assert_int_equal(deleted, p->expected.len);
    if (deleted > 0)
        p->model.revision = p->txn.revision;
    for (size_t i = 0; i < deleted; i++) {
        size_t key = p->expected.events[i]->key;

        p->expected.events[i] = (const struct event *)key; /* adding events may move them */
    }
    for (size_t i = 0; i < deleted; i++)
        add_event(&p->model, (struct event){.main = p->txn.revision,
                                            .sub = sub + (int64_t)i,
                                            .key = (size_t)p->expected.events[i]});
}

static void delete_in_txn(struct pair *p)
{
    struct mvcc_span span = random_span(p);

    /* The wide ones are rare, or nothing would be left to test with. */
    if (span.end.len > 0 && !one_in(p, 40))
        span.end = slice_of(NULL, 0);
    delete_span_in_txn(p, span);
}

static void write_txn(struct pair *p)
{
    size_t changes = one_in(p, 3) ? pick(p, 0, 10) : 1;
    int64_t before = p->model.revision;

    mvcc_txn_begin(p->mvcc, &p->txn);
    p->in_txn = true;
    for (size_t i = 0; i < changes; i++) {
        if (one_in(p, 4))
            delete_in_txn(p);
        else
            put_in_txn(p);
        assert_int_equal(mvcc_txn_revision(&p->txn), p->model.revision);
        if (one_in(p, 4))
            compare_range(p);
        arena_reset(&p->arena);
    }
    assert_int_equal(mvcc_txn_end(&p->txn), p->model.revision);
    assert_true(p->model.revision <= before + 1);
    p->in_txn = false;
}

static void compact(struct pair *p)
{
    int64_t revision = random_revision(p);
    int rc;

    if (one_in(p, 2))
        revision = p->model.revision - (int64_t)pick(p, 0, 500);
    rc = mvcc_compact(p->mvcc, revision);
    assert_int_equal(rc, model_compact(&p->model, revision));
}

static void write_or_compact(struct pair *p)
{
    if (one_in(p, 3)) {
        compact(p);
        mvcc_compact_step(p->mvcc, 100);
    } else {
        write_txn(p);
    }
}

/* Everything deleted above the last compaction: what HashKV then covers is a case of its own. */
static void delete_all(struct pair *p)
{
    struct mvcc_span all = {slice_of("", 1), slice_of("", 1)};

    mvcc_txn_begin(p->mvcc, &p->txn);
    delete_span_in_txn(p, all);
    mvcc_txn_end(&p->txn);
}

static void drain(struct pair *p)
{
    while (mvcc_compact_step(p->mvcc, pick(p, 1, 1000)))
        continue;
    assert_false(mvcc_compact_pending(p->mvcc));
}

/* Compacted at its newest revision, the store holds what lives, the deletes of that revision, and
 * not one record more. */
static void assert_nothing_left_over(struct pair *p)
{
    struct revlog_pos pos = {0, 0};
    size_t records = 0;

    write_txn(p);
    if (p->model.compact_revision < p->model.revision) {
        assert_int_equal(mvcc_compact(p->mvcc, p->model.revision), 0);
        assert_int_equal(model_compact(&p->model, p->model.revision), 0);
    }
    drain(p);
    for (; revlog__next(&p->mvcc->log, &pos) != NULL; pos.slot++)
        records++;
    assert_int_equal(records, p->model.len);
    compare_counters(p);
}

static void run(size_t key_count, size_t ops, uint64_t compact_every)
{
    struct pair p;

    pair_init(&p, key_count);
    for (p.ops = 0; p.ops < ops; p.ops++) {
        write_txn(&p);
        compare_range(&p);
        compare_range(&p);
        compare_get(&p);
        if (one_in(&p, 10))
            compare_each(&p);
        if (one_in(&p, compact_every))
            compact(&p);
        if (one_in(&p, 3))
            mvcc_compact_step(p.mvcc, pick(&p, 0, 60));
        if (one_in(&p, 100))
            delete_all(&p);
        if (one_in(&p, 50))
            compare_hash(&p, write_or_compact);
        if (one_in(&p, 100))
            compare_counters(&p);
        if (one_in(&p, 2000))
            assert_nothing_left_over(&p);
    }
    assert_nothing_left_over(&p);
    pair_release(&p);
}

static void few_keys_with_long_histories_match_the_model(void **state)
{
    (void)state;
    run(15, 12000, 300);
}

static void hundreds_of_keys_match_the_model(void **state)
{
    (void)state;
    run(400, 12000, 200);
}

static void thousands_of_keys_in_a_deep_tree_match_the_model(void **state)
{
    (void)state;
    run(9000, 5000, 1000);
}

static void keys_match_the_model_when_compaction_is_constant(void **state)
{
    (void)state;
    run(60, 12000, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_keys_with_long_histories_match_the_model),
        cmocka_unit_test(hundreds_of_keys_match_the_model),
        cmocka_unit_test(thousands_of_keys_in_a_deep_tree_match_the_model),
        cmocka_unit_test(keys_match_the_model_when_compaction_is_constant),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
