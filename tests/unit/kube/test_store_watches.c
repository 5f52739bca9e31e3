/* What watches are told of a cache's changes, without a store behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "kube/store/internal.h"

/* A store with one cache of pods, which the test changes itself. */
struct fixture {
    uv_loop_t loop;
    struct kube_store store;
    struct kube_cache *cache;
    struct arena arena;
    unsigned encoded; /* calls of write_event() */
};

static struct fixture *fixture; /* of the test that runs: encodings have no context */

static const struct kube_resource *pods(void)
{
    return kube_resource_find(slice_str(""), slice_str("v1"), slice_str("pods"));
}

static int begin(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct kube_store *store = &f->store;

    (void)uv_loop_init(&f->loop);
    store->loop = &f->loop;
    store->prefix = xstrdup("/registry");
    store->progress = PROGRESS_UNTRUSTED; /* nobody is asked */
    list_init(&store->ops);
    list_init(&store->lists);
    list_init(&store->due_ops);
    list_init(&store->due_lists);
    list_init(&store->next_probe);
    list_init(&store->this_probe);
    list_init(&store->lease.waiting);
    list_init(&store->caches);
    (void)uv_idle_init(&f->loop, &store->idle);
    (void)uv_timer_init(&f->loop, &store->timer);
    f->cache = kube__cache_new(store, pods());
    f->cache->state = CACHE_READY;
    f->cache->revision = f->cache->history.from = 10;
    f->cache->watching = true;
    *state = fixture = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    while (!list_empty(&f->cache->watches))
        kube_watch_stop(LIST_FIRST(&f->cache->watches, struct kube_watch, all_link));
    f->cache->watching = false;
    kube__cache_free(f->cache);
    free(f->store.prefix);
    arena_release(&f->store.scratch);
    arena_release(&f->arena);
    uv_close((uv_handle_t *)&f->store.idle, NULL);
    uv_close((uv_handle_t *)&f->store.timer, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

/* ---- changes ---- */

/* A pod "ns/name" with a label and a node. */
static void put(struct fixture *f, const char *key, const char *label, const char *node)
{
    const char *name = strchr(key, '/') + 1;
    char text[512];
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    Mvccpb__Event event = MVCCPB__EVENT__INIT;

    (void)snprintf(text, sizeof(text),
                   "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\","
                   "\"labels\":{\"l\":\"%s\"}},\"spec\":{\"nodeName\":\"%s\"}}",
                   name, label, node);
    kv.key = kube__bin(kube__key(&f->arena, &f->store, pods(), slice_str(key)));
    kv.value = kube__bin(slice_str(text));
    kv.mod_revision = f->cache->revision + 1;
    event.kv = &kv;
    kube__cache_change(f->cache, &event);
}

static void delete (struct fixture *f, const char *key)
{
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    Mvccpb__Event event = MVCCPB__EVENT__INIT;

    kv.key = kube__bin(kube__key(&f->arena, &f->store, pods(), slice_str(key)));
    kv.mod_revision = f->cache->revision + 1;
    event.type = MVCCPB__EVENT__EVENT_TYPE__DELETE;
    event.kv = &kv;
    kube__cache_change(f->cache, &event);
}

/* Until nobody has anything to be told. */
static void run(struct fixture *f)
{
    kube__waiters_wake(f->cache);
    while (kube__dispatch(f->cache))
        ;
}

/* ---- watches ---- */

struct watch {
    struct kube_watch watch;
    struct buf told; /* "ADDED a/p 11;" */
    size_t queued;
    int ended; /* its status; -1: no */
};

static void write_event(const struct kube_encoding *encoding, const struct kube_resource *resource,
                        enum kube_event_type type, const struct kube_object *object,
                        struct buf *out)
{
    static const char *const names[] = {"ADDED", "MODIFIED", "DELETED"};
    struct slice ns = kube_object_namespace(object), name = kube_object_name(object);
    struct slice label = kube_selected_object.label(object, slice_str("l"));

    (void)encoding;
    (void)resource;
    fixture->encoded++;
    (void)buf_printf(out, "%s %.*s/%.*s=%.*s@%d;", names[type], (int)ns.len, (const char *)ns.data,
                     (int)name.len, (const char *)name.data, (int)label.len,
                     (const char *)label.data, (int)kube_object_revision(object));
}

static const struct kube_encoding encoding = {.write = write_event};

static struct watch *of(struct kube_watch *watch)
{
    return CONTAINER_OF(watch, struct watch, watch);
}

static void on_bytes(struct kube_watch *watch, struct slice bytes)
{
    assert_int_equal(buf_append(&of(watch)->told, bytes.data, bytes.len), 0);
}

static void on_bookmark(struct kube_watch *watch, int64_t revision, bool initial_end)
{
    (void)buf_printf(&of(watch)->told, "%s@%d;", initial_end ? "INITIAL" : "BOOKMARK",
                     (int)revision);
}

static void on_end(struct kube_watch *watch, const struct kube_status *status)
{
    of(watch)->ended = status->code;
}

static size_t queued(struct kube_watch *watch)
{
    return of(watch)->queued;
}

static const struct kube_watch_callbacks callbacks = {on_bytes, on_bookmark, on_end, queued};

static void start_full(struct fixture *f, struct watch *watch, const char *ns, const char *labels,
                       const char *fields, struct kube_watch_options options)
{
    struct kube_status status = {0};

    watch->ended = -1;
    watch->queued = 0;
    buf_init(&watch->told, 1 << 20);
    options.ns = slice_str(ns);
    assert_int_equal(
        kube_label_selector_parse(&f->arena, slice_str(labels), &options.selector, &status), 0);
    assert_int_equal(
        kube_field_selector_parse(&f->arena, pods(), slice_str(fields), &options.selector, &status),
        0);
    kube_watch_start(&f->store, &watch->watch, pods(), &options, &encoding, &callbacks);
}

static void start(struct fixture *f, struct watch *watch, const char *ns, const char *labels,
                  const char *fields, int64_t revision)
{
    struct kube_watch_options options = {.revision = revision, .any_state = true};

    start_full(f, watch, ns, labels, fields, options);
}

/* What it was told since the last call. */
static void assert_told(struct watch *watch, const char *wanted)
{
    if (!slice_eq(buf_slice(&watch->told), slice_str(wanted)))
        fail_msg("told   %.*s\nwanted %s", (int)watch->told.len, (const char *)watch->told.data,
                 wanted);
    buf_reset(&watch->told);
}

static void stop(struct watch *watch)
{
    kube_watch_stop(&watch->watch);
    buf_release(&watch->told);
}

/* ---- the tests ---- */

static void selected_objects_come_and_go_by_their_labels(void **state)
{
    struct fixture *f = *state;
    struct watch all, some;

    start(f, &all, "", "", "", 10);
    start(f, &some, "", "l=x", "", 10);
    run(f);
    put(f, "a/p", "y", "");
    put(f, "a/p", "x", "");
    put(f, "a/p", "x", "n");
    put(f, "a/p", "z", "");
    put(f, "a/p", "x", "");
    delete (f, "a/p");
    delete (f, "a/p"); /* there is nothing */
    run(f);
    assert_told(&all, "ADDED a/p=y@11;MODIFIED a/p=x@12;MODIFIED a/p=x@13;MODIFIED a/p=z@14;"
                      "MODIFIED a/p=x@15;DELETED a/p=x@16;");
    assert_told(&some, "ADDED a/p=x@12;MODIFIED a/p=x@13;DELETED a/p=x@14;ADDED a/p=x@15;"
                       "DELETED a/p=x@16;");
    stop(&all);
    stop(&some);
}

static void watches_pinned_to_a_value_are_told_when_it_is_left(void **state)
{
    struct fixture *f = *state;
    struct watch n1, n2, name, key, ns;

    start(f, &n1, "", "", "spec.nodeName=n1", 10);
    start(f, &n2, "", "", "spec.nodeName=n2", 10);
    start(f, &name, "", "", "metadata.name=p", 10);
    start(f, &key, "b", "", "metadata.name=p", 10);
    start(f, &ns, "b", "", "", 10);
    run(f);
    assert_int_equal(f->cache->groups.count, 5);
    put(f, "a/p", "", "n1");
    put(f, "a/p", "", "n2");
    put(f, "b/p", "", "n1");
    put(f, "b/q", "", "");
    delete (f, "a/p");
    run(f);
    assert_told(&n1, "ADDED a/p=@11;DELETED a/p=@12;ADDED b/p=@13;");
    assert_told(&n2, "ADDED a/p=@12;DELETED a/p=@15;");
    assert_told(&name, "ADDED a/p=@11;MODIFIED a/p=@12;ADDED b/p=@13;DELETED a/p=@15;");
    assert_told(&key, "ADDED b/p=@13;");
    assert_told(&ns, "ADDED b/p=@13;ADDED b/q=@14;");
    stop(&n1);
    stop(&n2);
    stop(&name);
    stop(&key);
    stop(&ns);
    assert_int_equal(f->cache->groups.count, 0);
}

static void event_is_encoded_once_for_all_who_want_the_same(void **state)
{
    struct fixture *f = *state;
    struct watch watches[50];

    for (size_t i = 0; i < ARRAY_LEN(watches); i++)
        start(f, &watches[i], "", "", "", 10);
    run(f);
    put(f, "a/p", "", "");
    put(f, "a/p", "", "");
    run(f);
    assert_int_equal(f->encoded, 2);
    for (size_t i = 0; i < ARRAY_LEN(watches); i++) {
        assert_told(&watches[i], "ADDED a/p=@11;MODIFIED a/p=@12;");
        stop(&watches[i]);
    }
}

static void state_comes_first_then_changes(void **state)
{
    struct fixture *f = *state;
    struct kube_watch_options options = {
        .any_state = true, .initial_events = true, .bookmarks = true};
    struct watch plain, streamed;

    put(f, "b/p", "x", "");
    put(f, "a/q", "x", "");
    put(f, "a/r", "y", "");
    start(f, &plain, "", "l=x", "", 0);
    start_full(f, &streamed, "a", "", "", options);
    run(f);
    put(f, "a/q", "z", "");
    run(f);
    assert_told(&plain, "ADDED a/q=x@12;ADDED b/p=x@11;DELETED a/q=x@14;");
    assert_told(&streamed, "ADDED a/q=x@12;ADDED a/r=y@13;INITIAL@13;MODIFIED a/q=z@14;");
    f->cache->revision = 20; /* by progress */
    kube_watch_bookmark(&streamed.watch);
    kube_watch_bookmark(&streamed.watch); /* nothing new to say */
    assert_told(&streamed, "BOOKMARK@20;");
    stop(&plain);
    stop(&streamed);
}

static void bookmark_comes_every_minute_and_never_overtakes(void **state)
{
    struct fixture *f = *state;
    struct kube_watch_options options = {.revision = 10, .bookmarks = true};
    uint64_t began = uv_now(&f->loop);
    struct watch watch, none;

    start_full(f, &watch, "", "l=x", "", options);
    start(f, &none, "", "l=x", "", 10);
    run(f);
    put(f, "a/p", "y", "");
    kube__watches_tick(f->cache, began + 59000);
    assert_told(&watch, "");
    kube__watches_tick(f->cache, began + 60000);
    assert_told(&watch, ""); /* it has not been looked at for the change yet */
    run(f);
    kube__watches_tick(f->cache, began + 120000);
    assert_told(&watch, "BOOKMARK@11;");
    kube__watches_tick(f->cache, began + 180000);
    assert_told(&watch, "");
    assert_told(&none, "");
    stop(&watch);
    stop(&none);
}

static void watch_from_the_past_reads_the_history(void **state)
{
    struct fixture *f = *state;
    struct watch past, gone, future;

    put(f, "a/p", "x", "");
    put(f, "a/q", "x", "");
    put(f, "a/p", "y", "");
    f->cache->history.from = 11; /* as if the first had been dropped */
    run(f);
    start(f, &past, "", "l=x", "", 12);
    start(f, &gone, "", "", "", 10);
    start(f, &future, "", "", "", 14);
    run(f);
    assert_told(&past, "DELETED a/p=x@13;");
    assert_int_equal(gone.ended, 410);
    put(f, "a/r", "x", "");
    put(f, "a/s", "x", "");
    run(f);
    assert_told(&past, "ADDED a/r=x@14;ADDED a/s=x@15;");
    assert_told(&future, "ADDED a/s=x@15;");
    stop(&past);
    stop(&gone);
    stop(&future);
}

static void slow_watch_waits_and_goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;
    struct watch slow, quick;

    start(f, &slow, "", "", "", 10);
    start(f, &quick, "", "", "", 10);
    run(f);
    slow.queued = 1 << 20;
    put(f, "a/p", "1", "");
    put(f, "a/p", "2", "");
    run(f);
    assert_told(&slow, "");
    assert_told(&quick, "ADDED a/p=1@11;MODIFIED a/p=2@12;");
    kube_watch_bookmark(&slow.watch); /* would be a lie */
    assert_told(&slow, "");
    slow.queued = 0;
    kube_watch_resume(&slow.watch);
    run(f);
    assert_told(&slow, "ADDED a/p=1@11;MODIFIED a/p=2@12;");
    put(f, "a/p", "3", "");
    run(f);
    assert_told(&slow, "MODIFIED a/p=3@13;");
    stop(&slow);
    stop(&quick);
}

static void watch_slower_than_the_history_ends(void **state)
{
    struct fixture *f = *state;
    struct watch slow;

    start(f, &slow, "", "", "", 10);
    run(f);
    slow.queued = 1 << 20;
    for (int i = 0; i < 20; i++)
        put(f, "a/p", "", "");
    run(f);
    kube__history_trim(&f->cache->history, 5, 0, 0, UINT64_MAX);
    slow.queued = 0;
    kube_watch_resume(&slow.watch);
    run(f);
    assert_int_equal(slow.ended, 0);
    assert_told(&slow, "");
    stop(&slow);
}

/* One watch joins while the others are being told of an event, some stop inside of it. */
static void nobody_is_told_twice_or_forgotten_between_slices(void **state)
{
    struct fixture *f = *state;
    struct watch watches[200], late;

    for (size_t i = 0; i < ARRAY_LEN(watches); i++)
        start(f, &watches[i], "", "", "", 10);
    run(f);
    put(f, "a/p", "1", "");
    kube__groups_collect(f->cache, kube__history_at(&f->cache->history, f->cache->dispatched++),
                         &f->cache->todo); /* the first slice ends here */
    start(f, &late, "", "", "", 10);
    kube__waiters_wake(f->cache);
    put(f, "a/p", "2", "");
    for (size_t i = 0; i < ARRAY_LEN(watches); i += 3)
        stop(&watches[i]);
    run(f);
    for (size_t i = 0; i < ARRAY_LEN(watches); i++) {
        if (i % 3 == 0)
            continue;
        assert_told(&watches[i], "ADDED a/p=1@11;MODIFIED a/p=2@12;");
        stop(&watches[i]);
    }
    assert_told(&late, "ADDED a/p=1@11;MODIFIED a/p=2@12;");
    stop(&late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(selected_objects_come_and_go_by_their_labels, begin, end),
        cmocka_unit_test_setup_teardown(watches_pinned_to_a_value_are_told_when_it_is_left, begin,
                                        end),
        cmocka_unit_test_setup_teardown(event_is_encoded_once_for_all_who_want_the_same, begin,
                                        end),
        cmocka_unit_test_setup_teardown(state_comes_first_then_changes, begin, end),
        cmocka_unit_test_setup_teardown(bookmark_comes_every_minute_and_never_overtakes, begin,
                                        end),
        cmocka_unit_test_setup_teardown(watch_from_the_past_reads_the_history, begin, end),
        cmocka_unit_test_setup_teardown(slow_watch_waits_and_goes_on_where_it_was, begin, end),
        cmocka_unit_test_setup_teardown(watch_slower_than_the_history_ends, begin, end),
        cmocka_unit_test_setup_teardown(nobody_is_told_twice_or_forgotten_between_slices, begin,
                                        end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
