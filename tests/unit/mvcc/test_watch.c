/* The watch hub: its rules one by one, then random writes, watchers, compactions and clients that
 * stop, against a model that keeps every event and knows what each watcher must have seen. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/codec.h"
#include "base/mem.h"
#include "base/prng.h"
#include "mvcc/watch.h"

/* An event as this test encodes it. */
struct told {
    int64_t revision;
    uint32_t key; /* its first four bytes */
    bool is_delete;
    int64_t prev; /* mod revision of prev_kv; 0: none */
};

enum { TOLD_SIZE = 21, STREAMS_MAX = 8, KEYS = 12 };

/* What a watcher was sent, and in the model test what it must be sent. */
struct seen {
    int64_t id;
    struct mvcc_span span;
    int64_t first; /* revision */
    int64_t past;  /* up to here it reads history: prev_kv may be compacted */
    int flags;
    struct told *told;
    size_t len, cap;
    size_t batches;
    int64_t compacted; /* told to have ended; 0: no */
    int64_t progress;
    struct seen *next;
};

struct fixture;

struct client {
    struct fixture *fixture;
    struct watch_stream *stream;
    struct seen *seen;
    size_t batches_until_block; /* SIZE_MAX: never */
};

struct fixture {
    struct mvcc *mvcc;
    struct watch_hub *hub;
    struct client clients[STREAMS_MAX];
    size_t client_count;
    struct told *log; /* all events ever, with the revision of their predecessor */
    size_t log_len, log_cap;
    size_t encodes;
    struct arena arena;
};

/* ---- callbacks ---- */

static uint32_t key_number(struct slice key)
{
    uint8_t bytes[4] = {0};

    memcpy(bytes, key.data, key.len < 4 ? key.len : 4);
    return get_be32(bytes);
}

static size_t *encode_count; /* encode has no context: tests run one after the other */

static void on_encode(const struct watch_event *event, struct buf *out)
{
    uint8_t *p;

    ++*encode_count;
    assert_int_equal(buf_reserve(out, TOLD_SIZE), 0);
    p = out->data + out->len;
    put_le64(p, (uint64_t)event->kv.mod_revision);
    put_le32(p + 8, key_number(event->kv.key));
    p[12] = event->is_delete;
    put_le64(p + 13, event->prev != NULL ? (uint64_t)event->prev->mod_revision : 0);
    out->len += TOLD_SIZE;
}

static struct seen *seen_of(struct client *client, int64_t id)
{
    for (struct seen *seen = client->seen; seen != NULL; seen = seen->next)
        if (seen->id == id)
            return seen;
    fail_msg("watcher %lld is unknown", (long long)id);
    return NULL;
}

static void add_told(struct told **rows, size_t *len, size_t *cap, struct told told)
{
    if (*len == *cap) {
        *cap = *cap == 0 ? 16 : *cap * 2;
        *rows = xrealloc(*rows, *cap * sizeof **rows);
    }
    (*rows)[(*len)++] = told;
}

/* Batches ascend, never split a revision, never exceed 1000 of them. */
static bool on_deliver(void *ctx, const struct watch_batch *batch)
{
    struct client *client = ctx;
    struct seen *seen = seen_of(client, batch->id);
    int64_t last = seen->len > 0 ? seen->told[seen->len - 1].revision : 0;
    size_t revisions = 0, bytes = 0;

    assert_true(client->batches_until_block > 0); /* a blocked stream gets nothing */
    assert_true(batch->count > 0);
    assert_int_equal(seen->compacted, 0);
    for (size_t i = 0; i < batch->count; i++) {
        const uint8_t *p = batch->events[i].data;
        struct told told = {.revision = (int64_t)get_le64(p),
                            .key = get_le32(p + 8),
                            .is_delete = p[12],
                            .prev = (int64_t)get_le64(p + 13)};

        assert_int_equal(batch->events[i].len, TOLD_SIZE);
        bytes += batch->events[i].len;
        if (i == 0)
            assert_true(told.revision > last);
        assert_true(told.revision >= last);
        assert_true(told.revision > seen->progress);
        revisions += told.revision != last;
        last = told.revision;
        add_told(&seen->told, &seen->len, &seen->cap, told);
    }
    assert_int_equal(bytes, batch->bytes);
    assert_true(revisions <= WATCH_BATCH_REVISIONS_MAX);
    assert_true(batch->revision >= last);
    seen->batches++;
    if (client->batches_until_block != SIZE_MAX)
        client->batches_until_block--;
    return client->batches_until_block > 0;
}

static void on_compacted(void *ctx, int64_t id, int64_t compact_revision)
{
    struct seen *seen = seen_of(ctx, id);

    assert_int_equal(seen->compacted, 0);
    assert_true(seen->first < compact_revision);
    assert_true(seen->len == 0 || seen->told[seen->len - 1].revision < compact_revision);
    seen->compacted = compact_revision;
}

static void on_progress(void *ctx, int64_t id, int64_t revision)
{
    struct seen *seen = seen_of(ctx, id);

    assert_true(revision >= seen->progress);
    seen->progress = revision;
}

/* ---- fixture ---- */

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct watch_hub_options options = {
        .encode = on_encode, .deliver = on_deliver, .on_compacted = on_compacted, .seed = 7};

    f->mvcc = mvcc_new(1);
    options.mvcc = f->mvcc;
    f->hub = watch_hub_new(&options);
    encode_count = &f->encodes;
    arena_init(&f->arena);
    *state = f;
    return 0;
}

static void drop_seen(struct client *client)
{
    while (client->seen != NULL) {
        struct seen *next = client->seen->next;

        free(client->seen->told);
        free(client->seen);
        client->seen = next;
    }
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < f->client_count; i++) {
        watch_stream_free(f->clients[i].stream);
        drop_seen(&f->clients[i]);
    }
    watch_hub_free(f->hub);
    mvcc_free(f->mvcc);
    arena_release(&f->arena);
    free(f->log);
    free(f);
    return 0;
}

static struct client *open_client(struct fixture *f)
{
    struct client *client = &f->clients[f->client_count++];

    assert_true(f->client_count <= STREAMS_MAX);
    client->fixture = f;
    client->batches_until_block = SIZE_MAX;
    client->stream = watch_stream_new(f->hub, client);
    return client;
}

/* The revision of the key's value before the one being written; 0: none. */
static int64_t revision_before(const struct fixture *f, uint32_t key)
{
    for (size_t i = f->log_len; i-- > 0;)
        if (f->log[i].key == key && f->log[i].revision <= mvcc_revision(f->mvcc))
            return f->log[i].is_delete ? 0 : f->log[i].revision;
    return 0;
}

static void log_event(struct fixture *f, struct slice key, bool is_delete)
{
    struct told told = {.revision = mvcc_revision(f->mvcc) + 1,
                        .key = key_number(key),
                        .is_delete = is_delete,
                        .prev = revision_before(f, key_number(key))};

    add_told(&f->log, &f->log_len, &f->log_cap, told);
}

static void txn_put(struct fixture *f, struct mvcc_txn *txn, struct slice key)
{
    mvcc_txn_put(txn, key, slice_str("value"), 0, NULL, NULL);
    log_event(f, key, false);
}

static void txn_delete(struct fixture *f, struct mvcc_txn *txn, struct mvcc_span span)
{
    const struct mvcc_kv *prevs;
    size_t count = mvcc_txn_delete(txn, span, &f->arena, &prevs);

    for (size_t i = 0; i < count; i++)
        log_event(f, prevs[i].key, true);
    arena_reset(&f->arena);
}

static int64_t put(struct fixture *f, const char *key)
{
    struct mvcc_txn txn;

    mvcc_txn_begin(f->mvcc, &txn);
    txn_put(f, &txn, slice_str(key));
    return mvcc_txn_end(&txn);
}

static int64_t delete (struct fixture *f, const char *key)
{
    struct mvcc_txn txn;

    mvcc_txn_begin(f->mvcc, &txn);
    txn_delete(f, &txn, (struct mvcc_span){.key = slice_str(key)});
    return mvcc_txn_end(&txn);
}

static struct seen *watch_span(struct client *client, struct mvcc_span span, int64_t start,
                               int flags, int64_t wanted_id)
{
    struct mvcc *mvcc = client->fixture->mvcc;
    struct watch_create create = {.span = span, .start = start, .flags = flags, .id = wanted_id};
    struct seen *seen = xcalloc(1, sizeof *seen);

    assert_int_equal(watch_create(client->stream, &create, &seen->id), 0);
    seen->span = span;
    seen->first = start != 0 ? start : mvcc_revision(mvcc) + 1;
    seen->flags = flags;
    seen->next = client->seen;
    client->seen = seen;
    return seen;
}

static struct seen *watch(struct client *client, const char *key, const char *end, int64_t start)
{
    return watch_span(client, (struct mvcc_span){slice_str(key), slice_str(end)}, start, 0, 0);
}

static void run(struct fixture *f)
{
    while (watch_hub_step(f->hub, 64)) {
    }
}

static void resume(struct client *client, size_t batches)
{
    client->batches_until_block = batches;
    watch_stream_resume(client->stream);
}

/* ---- rules ---- */

static void live_events_reach_only_those_they_concern(void **state)
{
    struct fixture *f = *state;
    struct client *client = open_client(f);
    struct seen *point = watch(client, "b", "", 0);
    struct seen *range = watch(client, "a", "c", 0);
    struct seen *other = watch(client, "c", "", 0);
    struct seen *all =
        watch_span(client, (struct mvcc_span){slice_of("\0", 1), slice_of("\0", 1)}, 0, 0, 0);

    put(f, "b");
    put(f, "bb");
    put(f, "d");
    run(f);
    assert_int_equal(point->len, 1);
    assert_int_equal(range->len, 2);
    assert_int_equal(other->len, 0);
    assert_int_equal(all->len, 3);
}

static void events_of_one_revision_come_in_one_batch(void **state)
{
    struct fixture *f = *state;
    struct seen *seen = watch(open_client(f), "a", "z", 0);
    struct mvcc_txn txn;

    mvcc_txn_begin(f->mvcc, &txn);
    txn_put(f, &txn, slice_str("b"));
    txn_put(f, &txn, slice_str("a"));
    mvcc_txn_end(&txn);
    run(f);
    assert_int_equal(seen->batches, 1);
    assert_int_equal(seen->len, 2);
    assert_int_equal(seen->told[0].key, key_number(slice_str("b"))); /* in order of execution */
}

static void an_event_is_encoded_once_in_each_form(void **state)
{
    struct fixture *f = *state;
    struct client *client = open_client(f);
    struct mvcc_span span = {slice_str("a"), slice_str("b")};

    for (int i = 0; i < 100; i++)
        (void)watch_span(client, span, 0, i % 2 == 0 ? WATCH_PREV_KV : 0, 0);
    put(f, "a");
    run(f);
    assert_int_equal(f->encodes, 2);
}

static void filters_drop_events_and_empty_batches(void **state)
{
    struct fixture *f = *state;
    struct client *client = open_client(f);
    struct mvcc_span span = {slice_str("a"), slice_str("")};
    struct seen *deletes = watch_span(client, span, 0, WATCH_NO_PUT, 0);
    struct seen *puts = watch_span(client, span, 0, WATCH_NO_DELETE, 0);
    struct seen *nothing = watch_span(client, span, 0, WATCH_NO_DELETE | WATCH_NO_PUT, 0);

    put(f, "a");
    delete (f, "a");
    run(f);
    assert_int_equal(deletes->len, 1);
    assert_true(deletes->told[0].is_delete);
    assert_int_equal(puts->len, 1);
    assert_int_equal(nothing->batches, 0);
}

static void history_comes_in_batches_of_a_thousand_revisions(void **state)
{
    struct fixture *f = *state;
    struct seen *range, *point;

    for (int i = 0; i < 2500; i++)
        put(f, "a");
    range = watch(open_client(f), "a", "b", 2);
    point = watch(&f->clients[0], "a", "", 2);
    run(f);
    assert_int_equal(range->len, 2500);
    assert_true(range->batches >= 3); /* each checked as it came */
    assert_int_equal(point->len, 2500);
    assert_int_equal(point->told[2499].revision, mvcc_revision(f->mvcc));
}

/* Regression R16: reading far back is done in pieces, whoever asks for it. */
static void r16_one_step_reads_a_bounded_stretch(void **state)
{
    struct fixture *f = *state;
    struct client *client = open_client(f);
    struct seen *range, *live;
    size_t steps = 1;

    for (int i = 0; i < 50000; i++)
        put(f, "a");
    put(f, "x");
    live = watch(client, "x", "", 0);
    range = watch(client, "x", "y", 2);
    for (; watch_hub_step(f->hub, 1); steps++) {
        put(f, "x");
        (void)watch_hub_step(f->hub, 1);
        assert_int_equal(live->len, steps); /* live events do not wait for it */
    }
    assert_in_range(steps, 5, 50);
    run(f);
    assert_int_equal(range->len, steps);
}

/* Regression R10: nothing below the start, though the keyspace had to grow up to it first. */
static void r10_a_start_in_the_future_waits_for_it(void **state)
{
    struct fixture *f = *state;
    struct client *client = open_client(f);
    struct seen *seen = watch(client, "a", "", 4);

    put(f, "a");
    put(f, "a");
    run(f);
    assert_int_equal(watch_stream_progress(client->stream), WATCH_PROGRESS_NOW);
    assert_int_equal(seen->len, 0);
    put(f, "a");
    run(f);
    assert_int_equal(seen->len, 1);
    assert_int_equal(seen->told[0].revision, 4);
}

static void ids_are_the_smallest_unused_or_as_wanted(void **state)
{
    struct fixture *f = *state;
    struct client *client = open_client(f);
    struct mvcc_span span = {slice_str("a"), slice_str("")};
    struct watch_create again = {.span = span, .id = 1};
    struct watch_create empty = {.span = {slice_str("b"), slice_str("a")}};
    int64_t id;

    assert_int_equal(watch_span(client, span, 0, 0, 0)->id, 0);
    assert_int_equal(watch_span(client, span, 0, 0, 1)->id, 1);
    assert_int_equal(watch_span(client, span, 0, 0, 0)->id, 2);
    assert_int_equal(watch_create(client->stream, &again, &id), KV_EEXIST);
    assert_int_equal(watch_create(client->stream, &empty, &id), KV_EINVAL);
    assert_true(watch_cancel(client->stream, 1));
    assert_false(watch_cancel(client->stream, 1));
    assert_int_equal(watch_create(client->stream, &again, &id), 0);
    assert_int_equal(watch_span(open_client(f), span, 0, 0, 0)->id, 0); /* per stream */
}

/* Regression R6: a stream that is blocked loses nothing, and holds up no other. */
static void r6_a_blocked_stream_catches_up_from_history(void **state)
{
    struct fixture *f = *state;
    struct client *slow = open_client(f), *quick = open_client(f);
    struct seen *a = watch(slow, "a", "", 0), *b = watch(slow, "a", "b", 0);
    struct seen *c = watch(quick, "a", "b", 0);
    struct watch_stats stats;

    slow->batches_until_block = 1;
    for (int i = 0; i < 10; i++)
        put(f, "a");
    run(f);
    assert_int_equal(a->len + b->len, 1);
    assert_int_equal(c->len, 10);
    watch_hub_stats(f->hub, &stats);
    assert_int_equal(stats.lagging, 2);
    assert_int_equal(watch_stream_progress(slow->stream), WATCH_PROGRESS_LATER);

    resume(slow, SIZE_MAX);
    run(f);
    assert_int_equal(a->len, 10);
    assert_int_equal(b->len, 10);
    assert_int_equal(watch_stream_progress(slow->stream), WATCH_PROGRESS_NOW);
    watch_hub_stats(f->hub, &stats);
    assert_int_equal(stats.lagging, 0);
}

/* A future start that was reached does not silence the stream, one that was canceled neither. */
static void progress_comes_when_no_start_is_in_the_future_any_more(void **state)
{
    struct fixture *f = *state;
    struct client *client = open_client(f);
    struct seen *near = watch(client, "a", "", 3), *far = watch(client, "a", "", 1000);

    assert_int_equal(watch_stream_progress(client->stream), WATCH_PROGRESS_NONE);
    put(f, "a");
    put(f, "a");
    run(f);
    assert_int_equal(near->len, 1);
    assert_int_equal(watch_stream_progress(client->stream), WATCH_PROGRESS_NONE);
    assert_true(watch_cancel(client->stream, far->id));
    assert_int_equal(watch_stream_progress(client->stream), WATCH_PROGRESS_NOW);
}

/* Those of a stream with many are freed a few at a time; meanwhile they are told nothing, live or
 * behind, and count for nothing. */
static void a_stream_that_is_gone_holds_nobody_up(void **state)
{
    enum { COUNT = 10000 };
    struct fixture *f = *state;
    struct client *gone = open_client(f), *other = open_client(f);
    struct seen *live = watch(other, "a", "b", 0);
    struct watch_create create = {.span = {slice_str("a"), slice_str("b")}};
    struct watch_stats stats;
    size_t steps = 0;
    int64_t id;

    put(f, "a");
    run(f);
    for (int i = 0; i < COUNT; i++) {
        create.start = i % 3 == 0 ? 2 : i % 3 == 1 ? 100 : 0; /* behind, in the future, now */
        assert_int_equal(watch_create(gone->stream, &create, &id), 0);
    }
    watch_stream_free(gone->stream);
    gone->stream = NULL;
    watch_hub_stats(f->hub, &stats);
    assert_int_equal(stats.streams, 1);
    assert_int_equal(stats.watchers, 1);
    assert_int_equal(stats.lagging, 0);
    for (put(f, "a"); watch_hub_step(f->hub, 400); put(f, "a"))
        steps++;
    assert_in_range(steps, COUNT / 200, COUNT / 50);
    assert_true(live->len >= steps); /* whoever is told for the one that is gone: unknown watcher */
}

static void compaction_ends_only_those_who_need_what_is_gone(void **state)
{
    struct fixture *f = *state;
    struct client *client = open_client(f);
    struct seen *live = watch(client, "a", "", 0), *old, *edge;

    for (int i = 0; i < 5; i++)
        put(f, "a"); /* revisions 2 to 6 */
    run(f);
    assert_int_equal(mvcc_compact(f->mvcc, 4), 0);
    old = watch(client, "a", "", 3);
    edge =
        watch_span(client, (struct mvcc_span){slice_str("a"), slice_str("")}, 4, WATCH_PREV_KV, 0);
    run(f);
    assert_int_equal(old->compacted, 4);
    assert_int_equal(old->len, 0);
    assert_int_equal(live->compacted, 0);
    assert_int_equal(edge->len, 3);
    assert_int_equal(edge->told[0].prev, 0); /* what was before is compacted */
    assert_int_equal(edge->told[1].prev, 4);

    assert_true(watch_cancel(client->stream, old->id)); /* its id was still in use */
}

/* What is to be delivered live is still there when compaction comes first. */
static void live_events_keep_prev_kv_over_a_compaction(void **state)
{
    struct fixture *f = *state;
    struct seen *seen = watch_span(
        open_client(f), (struct mvcc_span){slice_str("a"), slice_str("")}, 0, WATCH_PREV_KV, 0);

    put(f, "a");
    put(f, "a");
    assert_int_equal(mvcc_compact(f->mvcc, 3), 0);
    assert_false(watch_hub_is_current(f->hub)); /* so nothing is removed yet */
    run(f);
    assert_true(watch_hub_is_current(f->hub));
    assert_int_equal(seen->len, 2);
    assert_int_equal(seen->told[1].prev, 2);
}

static void a_tick_tells_only_the_quiet(void **state)
{
    struct fixture *f = *state;
    struct client *client = open_client(f);
    struct mvcc_span span = {slice_str("a"), slice_str("")};
    struct seen *wants = watch_span(client, span, 0, WATCH_PROGRESS, 0);
    struct seen *silent = watch_span(client, span, 0, 0, 0);
    struct seen *future = watch_span(client, span, 100, WATCH_PROGRESS, 0);

    watch_stream_tick(client->stream, on_progress);
    assert_int_equal(wants->progress, 1);
    put(f, "a");
    run(f);
    watch_stream_tick(client->stream, on_progress);
    assert_int_equal(wants->progress, 1); /* the event said as much */
    watch_stream_tick(client->stream, on_progress);
    assert_int_equal(wants->progress, 2);
    assert_int_equal(silent->progress, 0);
    assert_int_equal(future->progress, 0);
}

struct order {
    int64_t *ids;
    size_t len;
};

static bool note_order(void *ctx, const struct watch_batch *batch)
{
    struct order *order = ctx;

    order->ids[order->len++] = batch->id;
    return true;
}

static void an_idle_watcher_takes_at_most_200_bytes(void **state)
{
    struct fixture *f = *state;
    struct client *client = open_client(f);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, after;
    enum { COUNT = 100000 };

    for (int i = 0; i < COUNT; i++) {
        char key[32], end[32];
        struct watch_create create = {.span = {.key = slice_of(key, 0)}};
        int64_t id;

        snprintf(key, sizeof key, "/registry/pods/%08d/", i);
        snprintf(end, sizeof end, "/registry/pods/%08d0", i);
        create.span = (struct mvcc_span){slice_str(key), slice_str(i % 2 == 0 ? end : "")};
        assert_int_equal(watch_create(client->stream, &create, &id), 0);
    }
    after = mallinfo2().uordblks + mallinfo2().hblkhd;
    print_message("%zu bytes per idle watcher\n", (after - before) / COUNT);
    assert_true((after - before) / COUNT <= 200);
}

/* ---- another keyspace ---- */

/* The fixture's keyspace becomes a copy; the hub does not know yet. */
static struct mvcc *begin_switch(struct fixture *f)
{
    struct mvcc *old = f->mvcc;
    struct mvcc_history history;
    struct mvcc_change change;

    f->mvcc = mvcc_new(3);
    mvcc_history_begin(old, &history);
    while (mvcc_history_next(&history, &change))
        assert_int_equal(mvcc_load(f->mvcc, &change), 0);
    assert_int_equal(mvcc_load_end(f->mvcc, history.revision, history.compact_revision), 0);
    mvcc_history_end(&history);
    return old;
}

static void end_switch(struct fixture *f, struct mvcc *old)
{
    watch_hub_switch(f->hub, f->mvcc);
    mvcc_free(old);
}

static void a_new_keyspace_gives_what_was_missed_and_nothing_twice(void **state)
{
    struct fixture *f = *state;
    struct client *client = open_client(f);
    struct seen *point = watch(client, "a", "", 0);
    struct seen *range = watch(client, "a", "c", 0);
    struct seen *future = watch(client, "a", "c", 4), *later = watch(client, "a", "c", 7);
    struct mvcc *old;

    put(f, "a"); /* 2: told */
    run(f);
    put(f, "b"); /* 3: in the old keyspace, not told yet */
    old = begin_switch(f);
    put(f, "a"); /* 4 */
    put(f, "x");
    end_switch(f, old);
    assert_int_equal(watch_stream_progress(client->stream), WATCH_PROGRESS_LATER);
    run(f);
    assert_int_equal(point->len, 2);
    assert_int_equal(range->len, 3);
    assert_int_equal(range->told[1].revision, 3);
    assert_int_equal(future->len, 1);
    assert_int_equal(future->told[0].revision, 4);
    put(f, "a"); /* 6: live again */
    put(f, "a"); /* 7 */
    run(f);
    assert_int_equal(point->len, 4);
    assert_int_equal(later->len, 1);
    assert_int_equal(later->told[0].revision, 7);
}

/* Watchers of a stream that is gone, but not freed yet, are no concern of the new keyspace. */
static void a_new_keyspace_leaves_the_dead_alone(void **state)
{
    enum { COUNT = 1000 };
    struct fixture *f = *state;
    struct client *gone = open_client(f);
    struct seen *live = watch(open_client(f), "a", "b", 0);
    struct watch_create create = {.span = {slice_str("a"), slice_str("b")}};
    struct watch_stats stats;
    struct mvcc *old;
    int64_t id;

    for (int i = 0; i < COUNT; i++)
        assert_int_equal(watch_create(gone->stream, &create, &id), 0);
    watch_stream_free(gone->stream);
    gone->stream = NULL;
    old = begin_switch(f);
    put(f, "a");
    end_switch(f, old);
    watch_hub_stats(f->hub, &stats);
    assert_int_equal(stats.lagging, 1);
    run(f);
    watch_hub_stats(f->hub, &stats);
    assert_int_equal(stats.lagging, 0);
    assert_int_equal(stats.watchers, 1);
    assert_int_equal(live->len, 1);
}

static void a_new_keyspace_ends_those_whose_events_it_has_compacted(void **state)
{
    struct fixture *f = *state;
    struct client *client = open_client(f);
    struct seen *behind = watch(client, "a", "z", 0), *future = watch(client, "a", "z", 5);
    struct mvcc *old;

    put(f, "a"); /* 2 */
    run(f);
    old = begin_switch(f);
    put(f, "a"); /* 3 */
    put(f, "a"); /* 4 */
    put(f, "b"); /* 5 */
    assert_int_equal(mvcc_compact(f->mvcc, 5), 0);
    end_switch(f, old);
    run(f);
    assert_int_equal(behind->compacted, 5);
    assert_int_equal(behind->len, 1);
    assert_int_equal(future->compacted, 0);
    assert_int_equal(future->len, 1);
}

/* Where watchers lie in memory decides nothing: a simulation must run twice the same. The second
 * time the allocator hands out the same places in the other order. */
static void watchers_are_told_in_an_order_that_the_seed_decides(void **state)
{
    enum { COUNT = 6 };
    struct fixture *f = *state;
    struct mvcc_span span = {slice_str("a"), slice_str("b")};
    int64_t orders[2][COUNT];

    for (int turn = 0; turn < 2; turn++) {
        struct watch_hub_options options = {.mvcc = f->mvcc,
                                            .encode = on_encode,
                                            .deliver = note_order,
                                            .on_compacted = on_compacted,
                                            .seed = 7};
        struct watch_hub *hub = watch_hub_new(&options);
        struct order order = {.ids = orders[turn]};
        struct watch_stream *stream = watch_stream_new(hub, &order);
        struct watch_create create = {.span = span};
        int64_t id;

        for (int i = 0; i < COUNT; i++)
            assert_int_equal(watch_create(stream, &create, &id), 0);
        for (int i = 0; i < COUNT; i++)
            assert_true(watch_cancel(stream, turn == 0 ? i : COUNT - 1 - i));
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(watch_create(stream, &create, &id), 0);
        put(f, "a");
        while (watch_hub_step(hub, 64)) {
        }
        assert_int_equal(order.len, COUNT);
        watch_stream_free(stream);
        watch_hub_free(hub);
    }
    assert_memory_equal(orders[0], orders[1], sizeof orders[0]);
}

/* ---- the model ---- */

static const char *const KEY_TEXTS[KEYS] = {"a",  "aa", "ab", "b",  "b/",  "b/1",
                                            "b0", "c",  "ca", "zz", "zzz", "~"};

static struct slice random_key(struct prng *prng)
{
    return slice_str(KEY_TEXTS[prng_between(prng, 0, KEYS - 1)]);
}

static struct mvcc_span random_span(struct prng *prng)
{
    struct mvcc_span span = {.key = random_key(prng)};

    switch (prng_between(prng, 0, 3)) {
    case 0:
    case 1:
        do
            span.end = random_key(prng);
        while (slice_cmp(span.key, span.end) >= 0 && slice_cmp(span.key, slice_str("~")) != 0);
        if (slice_cmp(span.key, span.end) >= 0)
            span.end = slice_str("");
        break;
    case 2:
        span.end = slice_of("\0", 1);
        break;
    default:
        span.end = slice_str("");
        break;
    }
    return span;
}

static bool span_holds(struct mvcc_span span, uint32_t key)
{
    uint32_t start = key_number(span.key);

    if (span.end.len == 0)
        return key == start;
    if (span.end.len == 1 && span.end.data[0] == 0)
        return key >= start;
    return key >= start && key < key_number(span.end);
}

static bool concerns(const struct seen *seen, const struct told *event)
{
    return event->revision >= seen->first && span_holds(seen->span, event->key) &&
           !(seen->flags & (event->is_delete ? WATCH_NO_DELETE : WATCH_NO_PUT));
}

/* What it was sent is the beginning of what it must be sent; with whole, all up to the hub's
 * revision. prev_kv may be missing only where it can have been compacted. */
static void check_seen(const struct fixture *f, const struct seen *seen, bool whole)
{
    int64_t compacted = mvcc_compact_revision(f->mvcc);
    size_t n = 0;

    for (size_t i = 0; i < f->log_len; i++) {
        const struct told *want = &f->log[i], *got;

        if (!concerns(seen, want))
            continue;
        if (n == seen->len) {
            if (whole)
                assert_true(want->revision > watch_hub_revision(f->hub));
            return;
        }
        got = &seen->told[n++];
        assert_int_equal(got->revision, want->revision);
        assert_int_equal(got->key, want->key);
        assert_int_equal(got->is_delete, want->is_delete);
        if (!(seen->flags & WATCH_PREV_KV))
            assert_int_equal(got->prev, 0);
        else if (got->prev != want->prev)
            assert_true(got->prev == 0 && want->revision - 1 < compacted);
    }
    assert_int_equal(n, seen->len);
}

static void check_client(const struct fixture *f, const struct client *client, bool whole)
{
    for (const struct seen *seen = client->seen; seen != NULL; seen = seen->next)
        check_seen(f, seen, whole && seen->compacted == 0);
}

static void random_write(struct fixture *f, struct prng *prng)
{
    struct mvcc_txn txn;
    uint64_t changes = prng_chance(prng, 200000) ? prng_between(prng, 2, 6) : 1;

    mvcc_txn_begin(f->mvcc, &txn);
    for (uint64_t i = 0; i < changes; i++) {
        if (prng_chance(prng, 750000))
            txn_put(f, &txn, random_key(prng));
        else
            txn_delete(f, &txn, random_span(prng));
    }
    mvcc_txn_end(&txn);
}

static void random_create(struct fixture *f, struct client *client, struct prng *prng)
{
    int64_t now = mvcc_revision(f->mvcc), start = 0;
    int flags = (int)prng_between(prng, 0, 15);

    if (prng_chance(prng, 600000))
        start = (int64_t)prng_between(prng, now > 40 ? (uint64_t)now - 40 : 1, (uint64_t)now + 5);
    (void)watch_span(client, random_span(prng), start, flags, 0);
}

static void random_cancel(struct client *client, struct prng *prng)
{
    struct seen **link = &client->seen;
    struct seen *seen;

    while (*link != NULL && (*link)->next != NULL && prng_chance(prng, 700000))
        link = &(*link)->next;
    seen = *link;
    if (seen == NULL)
        return;
    assert_true(watch_cancel(client->stream, seen->id));
    check_seen(client->fixture, seen, false);
    *link = seen->next;
    free(seen->told);
    free(seen);
}

/* Some key changes twice in the revision (the API refuses such a txn): a compaction at exactly that
 * revision takes the first change out, though a watcher may still start there. */
static bool changes_a_key_twice(const struct fixture *f, int64_t revision)
{
    for (size_t i = 0; i < f->log_len; i++)
        for (size_t k = i + 1; k < f->log_len && f->log[i].revision == revision; k++)
            if (f->log[k].revision == revision && f->log[k].key == f->log[i].key)
                return true;
    return false;
}

static void random_compact(struct fixture *f, struct prng *prng)
{
    int64_t now = mvcc_revision(f->mvcc), floor = mvcc_compact_revision(f->mvcc) + 1;
    int64_t low = now - 30 > floor ? now - 30 : floor, at;

    if (low < 1 || low > now)
        return;
    at = (int64_t)prng_between(prng, (uint64_t)low, (uint64_t)now);
    if (!changes_a_key_twice(f, at))
        assert_int_equal(mvcc_compact(f->mvcc, at), 0);
}

/* An answer to a progress request counts for every watcher of the stream. */
static void check_progress(struct fixture *f, struct client *client)
{
    if (watch_stream_progress(client->stream) != WATCH_PROGRESS_NOW)
        return;
    check_client(f, client, true);
    for (struct seen *seen = client->seen; seen != NULL; seen = seen->next)
        seen->progress = watch_hub_revision(f->hub);
}

/* A member that was away for some writes and perhaps a compaction. */
static void random_switch(struct fixture *f, struct prng *prng)
{
    struct mvcc *old = begin_switch(f);

    for (uint64_t i = prng_between(prng, 0, 20); i > 0; i--)
        random_write(f, prng);
    if (prng_chance(prng, 300000))
        random_compact(f, prng);
    if (prng_chance(prng, 500000))
        (void)mvcc_compact_step(f->mvcc, 1000);
    end_switch(f, old);
}

static void random_step(struct fixture *f, struct prng *prng)
{
    struct client *client = &f->clients[prng_between(prng, 0, f->client_count - 1)];

    switch (prng_between(prng, 0, 15)) {
    case 0:
        random_create(f, client, prng);
        break;
    case 1:
        random_cancel(client, prng);
        break;
    case 2:
        if (prng_chance(prng, 200000))
            random_compact(f, prng);
        else if (prng_chance(prng, 50000))
            random_switch(f, prng);
        break;
    case 3:
        if (watch_hub_is_current(f->hub))
            (void)mvcc_compact_step(f->mvcc, prng_between(prng, 1, 20));
        break;
    case 4:
        resume(client, prng_chance(prng, 500000) ? SIZE_MAX : prng_between(prng, 1, 5));
        break;
    case 5:
        watch_stream_tick(client->stream, on_progress);
        break;
    case 6:
    case 7:
    case 8:
        (void)watch_hub_step(f->hub, prng_between(prng, 1, 30));
        check_progress(f, client);
        break;
    default:
        random_write(f, prng);
        break;
    }
}

static void every_watcher_sees_what_the_model_says(void **state)
{
    struct fixture *f = *state;
    const char *given = getenv("MVCC_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    struct prng prng;

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (int i = 0; i < 4; i++)
        (void)open_client(f);
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < 1000; i++)
            random_step(f, &prng);
        for (size_t i = 0; i < f->client_count; i++)
            resume(&f->clients[i], SIZE_MAX);
        run(f);
        assert_int_equal(watch_hub_revision(f->hub), mvcc_revision(f->mvcc));
        for (size_t i = 0; i < f->client_count; i++)
            check_client(f, &f->clients[i], true);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(live_events_reach_only_those_they_concern),
        TEST(events_of_one_revision_come_in_one_batch),
        TEST(an_event_is_encoded_once_in_each_form),
        TEST(filters_drop_events_and_empty_batches),
        TEST(history_comes_in_batches_of_a_thousand_revisions),
        TEST(r16_one_step_reads_a_bounded_stretch),
        TEST(r10_a_start_in_the_future_waits_for_it),
        TEST(ids_are_the_smallest_unused_or_as_wanted),
        TEST(r6_a_blocked_stream_catches_up_from_history),
        TEST(progress_comes_when_no_start_is_in_the_future_any_more),
        TEST(a_stream_that_is_gone_holds_nobody_up),
        TEST(compaction_ends_only_those_who_need_what_is_gone),
        TEST(live_events_keep_prev_kv_over_a_compaction),
        TEST(a_tick_tells_only_the_quiet),
        TEST(an_idle_watcher_takes_at_most_200_bytes),
        TEST(a_new_keyspace_gives_what_was_missed_and_nothing_twice),
        TEST(a_new_keyspace_leaves_the_dead_alone),
        TEST(a_new_keyspace_ends_those_whose_events_it_has_compacted),
        TEST(watchers_are_told_in_an_order_that_the_seed_decides),
        TEST(every_watcher_sees_what_the_model_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
