/* libkv's watches and keep-alives against a gRPC server on the same loop that says what the test
 * tells it: what is asked for again when a stream breaks, and what the owner hears of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/kv.h"
#include "net/server.h"

enum { CREATES_MAX = 16, SEEN_MAX = 32 };

struct fixture {
    uv_loop_t loop;
    struct net_server *net;
    char url[64];
    struct grpc_call *stream; /* the latest; NULL once it has ended */
    struct {
        char key[16];
        int64_t start_revision;
    } creates[CREATES_MAX];
    size_t creates_len;
    int64_t canceled_id; /* -1: none */
    size_t progress_len, renewals;
    struct kv_client *client;
    struct kv_watcher *watcher;
    bool closed, stopped;
};

/* ---- the server ---- */

static void on_watch_request(struct grpc_call *call, struct slice message)
{
    struct fixture *f = grpc_call_ctx(call);
    Etcdserverpb__WatchRequest *request =
        etcdserverpb__watch_request__unpack(NULL, message.len, message.data);

    assert_non_null(request);
    f->stream = call;
    if (request->request_union_case == ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST) {
        const Etcdserverpb__WatchCreateRequest *create = request->create_request;

        assert_true(f->creates_len < CREATES_MAX && create->key.len < 16);
        memcpy(f->creates[f->creates_len].key, create->key.data, create->key.len);
        f->creates[f->creates_len].key[create->key.len] = '\0';
        f->creates[f->creates_len++].start_revision = create->start_revision;
    } else if (request->request_union_case ==
               ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST) {
        f->canceled_id = request->cancel_request->watch_id;
    } else {
        f->progress_len++;
    }
    etcdserverpb__watch_request__free_unpacked(request, NULL);
}

static void on_renewal(struct grpc_call *call, struct slice message)
{
    struct fixture *f = grpc_call_ctx(call);

    (void)message;
    f->stream = call;
    f->renewals++;
}

static void on_gone(struct grpc_call *call)
{
    struct fixture *f = grpc_call_ctx(call);

    if (f->stream == call)
        f->stream = NULL;
}

static const struct grpc_method methods[] = {
    {"etcdserverpb.Watch", "Watch", GRPC_BIDI_STREAM, on_watch_request, on_gone, on_gone, NULL},
    {"etcdserverpb.Lease", "LeaseKeepAlive", GRPC_BIDI_STREAM, on_renewal, on_gone, on_gone, NULL},
};

static void send_message(struct fixture *f, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);

    assert_non_null(f->stream);
    (void)protobuf_c_message_pack(message, grpc_call_message(f->stream, len));
    grpc_call_send(f->stream);
}

enum answer_flags { CREATED = 1, CANCELED = 2 };

/* event_revision 0: no event. */
static void answer(struct fixture *f, int64_t id, int64_t header_revision, int64_t event_revision,
                   int flags, int64_t compact_revision)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Mvccpb__Event event = MVCCPB__EVENT__INIT, *events[] = {&event};
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;

    header.revision = header_revision;
    kv.mod_revision = event_revision;
    event.kv = &kv;
    response.header = &header;
    response.watch_id = id;
    response.created = (flags & CREATED) != 0;
    response.canceled = (flags & CANCELED) != 0;
    response.compact_revision = compact_revision;
    response.events = events;
    response.n_events = event_revision != 0;
    send_message(f, &response.base);
}

static void break_stream(struct fixture *f, enum grpc_status status, const char *message)
{
    struct grpc_call *stream = f->stream;

    f->stream = NULL;
    grpc_call_finish(stream, status, message);
}

/* ---- the loop ---- */

static void turn(struct fixture *f)
{
    if (f->net != NULL)
        net_server_flush(f->net);
    (void)uv_run(&f->loop, UV_RUN_ONCE);
}

static void wait_for_creates(struct fixture *f, size_t count)
{
    while (f->creates_len < count)
        turn(f);
}

static void set_true(void *ctx)
{
    *(bool *)ctx = true;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct net_server_options options = {
        .loop = &f->loop, .methods = methods, .method_count = ARRAY_LEN(methods), .ctx = f};
    struct net_addr addr = {.host = "127.0.0.1"};
    const char *endpoint = f->url;
    struct kv_options kv = {.endpoints = &endpoint, .endpoints_len = 1, .dial_timeout_ms = 30000};
    struct err err = ERR_INIT;

    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(net_server_new(&options, &f->net, &err), 0);
    assert_int_equal(net_server_listen(f->net, &addr, NULL, &err), 0);
    (void)snprintf(f->url, sizeof f->url, "127.0.0.1:%u", net_server_port(f->net, 0));
    assert_int_equal(kv_client_open(&f->loop, &kv, &f->client, &err), 0);
    f->canceled_id = -1;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    kv_watcher_free(f->watcher);
    kv_client_close(f->client, set_true, &f->closed);
    net_server_close(f->net, set_true, &f->stopped);
    f->net = NULL;
    while (!f->closed || !f->stopped)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

/* ---- the owner of a watch ---- */

/* Tests keep it in static memory: tear_down() still takes it off the watcher. */
struct owner {
    struct kv_watch watch;
    int64_t seen[SEEN_MAX]; /* revisions of events; 0: progress */
    size_t seen_len;
    int code; /* with which it ended */
    bool ended;
    int64_t compact_revision;
};

static void on_response(struct kv_watch *watch, const Etcdserverpb__WatchResponse *response,
                        const struct err *err)
{
    struct owner *owner = CONTAINER_OF(watch, struct owner, watch);
    size_t i;

    assert_false(owner->ended);
    if (err->code != 0) {
        owner->ended = true;
        owner->code = err->code;
        owner->compact_revision = response != NULL ? response->compact_revision : 0;
        return;
    }
    if (response->n_events == 0)
        owner->seen[owner->seen_len++] = 0;
    for (i = 0; i < response->n_events; i++)
        owner->seen[owner->seen_len++] = response->events[i]->kv->mod_revision;
}

static void watch(struct fixture *f, struct owner *owner, const char *key, int64_t start_revision)
{
    struct kv_watch_options options = {.key = slice_str(key), .start_revision = start_revision};

    if (f->watcher == NULL)
        f->watcher = kv_watcher_new(f->client, KV_REQUIRE_LEADER);
    *owner = (struct owner){.ended = false};
    kv_watch_start(f->watcher, &owner->watch, &options, on_response);
}

static void wait_for_seen(struct fixture *f, const struct owner *owner, size_t count)
{
    while (owner->seen_len < count && !owner->ended)
        turn(f);
    assert_int_equal(owner->seen_len, count);
}

static void wait_for_end(struct fixture *f, const struct owner *owner)
{
    while (!owner->ended)
        turn(f);
}

/* ---- watches ---- */

/* A batch of history comes with the store's revision in its header, which is ahead of it. */
static void a_watch_goes_on_behind_the_last_event_it_has_seen(void **state)
{
    struct fixture *f = *state;
    static struct owner owner;

    watch(f, &owner, "k", 3);
    wait_for_creates(f, 1);
    assert_int_equal(f->creates[0].start_revision, 3);
    answer(f, 0, 9, 0, CREATED, 0);
    answer(f, 0, 9, 5, 0, 0);
    wait_for_seen(f, &owner, 1);
    break_stream(f, GRPC_UNAVAILABLE, "going down");
    wait_for_creates(f, 2);
    assert_int_equal(f->creates[1].start_revision, 6);
    assert_false(owner.ended);
}

static void a_watch_from_now_on_goes_on_behind_the_revision_it_was_created_at(void **state)
{
    struct fixture *f = *state;
    static struct owner owner;

    watch(f, &owner, "k", 0);
    wait_for_creates(f, 1);
    assert_int_equal(f->creates[0].start_revision, 0);
    answer(f, 0, 7, 0, CREATED, 0);
    while (kv_watch_next_revision(&owner.watch) == 0)
        turn(f);
    break_stream(f, GRPC_UNAVAILABLE, "going down");
    wait_for_creates(f, 2);
    assert_int_equal(f->creates[1].start_revision, 8);
    assert_int_equal(owner.seen_len, 0);
}

/* The second "created" comes with a later revision, which must not count. */
static void a_second_break_before_any_event_changes_nothing(void **state)
{
    struct fixture *f = *state;
    static struct owner owner;

    watch(f, &owner, "k", 0);
    wait_for_creates(f, 1);
    answer(f, 0, 7, 0, CREATED, 0);
    while (kv_watch_next_revision(&owner.watch) == 0)
        turn(f);
    break_stream(f, GRPC_UNAVAILABLE, "going down");
    wait_for_creates(f, 2);
    answer(f, 0, 20, 0, CREATED, 0);
    turn(f);
    break_stream(f, GRPC_UNAVAILABLE, "going down");
    wait_for_creates(f, 3);
    assert_int_equal(f->creates[2].start_revision, 8);
}

static void progress_of_one_watch_moves_it(void **state)
{
    struct fixture *f = *state;
    static struct owner owner;

    watch(f, &owner, "k", 0);
    wait_for_creates(f, 1);
    answer(f, 0, 7, 0, CREATED, 0);
    answer(f, 0, 12, 0, 0, 0);
    wait_for_seen(f, &owner, 1);
    break_stream(f, GRPC_UNAVAILABLE, "going down");
    wait_for_creates(f, 2);
    assert_int_equal(f->creates[1].start_revision, 13);
}

/* Old servers send it before events of that revision. */
static void progress_of_all_watches_is_told_but_moves_none(void **state)
{
    struct fixture *f = *state;
    static struct owner one, two;

    watch(f, &one, "1", 0);
    watch(f, &two, "2", 0);
    kv_watcher_progress(f->watcher);
    wait_for_creates(f, 1);
    answer(f, 0, 7, 0, CREATED, 0);
    wait_for_creates(f, 2);
    assert_int_equal(f->progress_len, 0); /* only when all are created */
    answer(f, 1, 7, 0, CREATED, 0);
    while (f->progress_len == 0)
        turn(f);
    answer(f, -1, 12, 0, 0, 0);
    wait_for_seen(f, &one, 1);
    wait_for_seen(f, &two, 1);
    assert_int_equal(kv_watch_next_revision(&one.watch), 8);
    assert_int_equal(kv_watch_next_revision(&two.watch), 8);
}

static void watches_are_created_one_after_the_other_and_so_again(void **state)
{
    struct fixture *f = *state;
    static struct owner one, two;

    watch(f, &one, "1", 0);
    watch(f, &two, "2", 5);
    wait_for_creates(f, 1);
    turn(f);
    assert_int_equal(f->creates_len, 1);
    answer(f, 10, 7, 0, CREATED, 0);
    wait_for_creates(f, 2);
    answer(f, 11, 7, 0, CREATED, 0);
    answer(f, 11, 7, 6, 0, 0);
    answer(f, 10, 8, 8, 0, 0);
    wait_for_seen(f, &one, 1);
    wait_for_seen(f, &two, 1);
    break_stream(f, GRPC_INTERNAL, "reset");
    wait_for_creates(f, 3);
    answer(f, 0, 9, 0, CREATED, 0);
    wait_for_creates(f, 4);
    assert_string_equal(f->creates[2].key, "1");
    assert_int_equal(f->creates[2].start_revision, 9);
    assert_string_equal(f->creates[3].key, "2");
    assert_int_equal(f->creates[3].start_revision, 7);
}

static void a_compaction_ends_the_watch_and_says_from_where_on_there_is_history(void **state)
{
    struct fixture *f = *state;
    static struct owner owner;

    watch(f, &owner, "k", 3);
    wait_for_creates(f, 1);
    answer(f, 0, 20, 0, CREATED, 0);
    answer(f, 0, 0, 0, CANCELED, 15);
    wait_for_end(f, &owner);
    assert_int_equal(owner.code, KV_ECOMPACTED);
    assert_int_equal(owner.compact_revision, 15);
}

static void a_refused_watch_ends_and_the_next_is_created(void **state)
{
    struct fixture *f = *state;
    static struct owner one, two;

    watch(f, &one, "1", 0);
    watch(f, &two, "2", 0);
    wait_for_creates(f, 1);
    answer(f, -1, 7, 0, CREATED | CANCELED, 0);
    wait_for_end(f, &one);
    wait_for_creates(f, 2);
    assert_string_equal(f->creates[1].key, "2");
    assert_false(two.ended);
}

static void a_watch_cancelled_while_it_is_created_is_cancelled_at_the_server(void **state)
{
    struct fixture *f = *state;
    static struct owner one, two;

    watch(f, &one, "1", 0);
    wait_for_creates(f, 1);
    kv_watch_cancel(&one.watch);
    watch(f, &two, "2", 0);
    answer(f, 4, 7, 0, CREATED, 0);
    while (f->canceled_id == -1)
        turn(f);
    assert_int_equal(f->canceled_id, 4);
    wait_for_creates(f, 2);
    answer(f, 5, 7, 0, CREATED, 0);
    answer(f, 4, 8, 8, 0, 0); /* crossed the cancellation */
    answer(f, 5, 9, 9, 0, 0);
    wait_for_seen(f, &two, 1);
    assert_int_equal(two.seen[0], 9);
    assert_int_equal(one.seen_len, 0);
}

static void a_server_without_a_leader_ends_a_watch_that_has_no_other(void **state)
{
    struct fixture *f = *state;
    static struct owner owner;

    watch(f, &owner, "k", 0);
    wait_for_creates(f, 1);
    break_stream(f, GRPC_UNAVAILABLE, "etcdserver: no leader");
    wait_for_end(f, &owner);
    assert_int_equal(owner.code, KV_ENOLEADER);
}

static void a_refusal_of_the_stream_ends_its_watches(void **state)
{
    struct fixture *f = *state;
    static struct owner one, two;

    watch(f, &one, "1", 0);
    watch(f, &two, "2", 0);
    wait_for_creates(f, 1);
    break_stream(f, GRPC_PERMISSION_DENIED, "etcdserver: permission denied");
    wait_for_end(f, &one);
    wait_for_end(f, &two);
    assert_int_equal(f->creates_len, 1);
}

/* ---- keep-alives ---- */

struct keeper {
    struct kv_keepalive keepalive;
    unsigned kept;
    int code;
};

static void on_kept(struct kv_keepalive *keepalive,
                    const Etcdserverpb__LeaseKeepAliveResponse *response, const struct err *err)
{
    struct keeper *keeper = CONTAINER_OF(keepalive, struct keeper, keepalive);

    (void)response;
    keeper->kept += err->code == 0;
    keeper->code = err->code;
}

static void renew(struct fixture *f, int64_t ttl)
{
    Etcdserverpb__LeaseKeepAliveResponse response = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;

    response.id = 7;
    response.ttl = ttl;
    send_message(f, &response.base);
}

static void a_lease_is_renewed_over_a_broken_stream_until_it_is_gone(void **state)
{
    struct fixture *f = *state;
    struct keeper keeper = {.kept = 0};

    kv_keepalive_start(f->client, &keeper.keepalive, 7, on_kept);
    while (f->renewals < 1)
        turn(f);
    renew(f, 1); /* the next after a third of a second */
    while (f->renewals < 2)
        turn(f);
    assert_int_equal(keeper.kept, 1);
    break_stream(f, GRPC_UNAVAILABLE, "going down");
    while (f->renewals < 3)
        turn(f);
    renew(f, 60);
    while (keeper.kept < 2)
        turn(f);
    assert_int_equal(keeper.code, 0);
    renew(f, 0);
    while (keeper.code == 0)
        turn(f);
    assert_int_equal(keeper.code, KV_ELEASENOTFOUND);
    kv_keepalive_stop(&keeper.keepalive); /* harmless */
}

static void a_lease_that_nobody_renews_is_given_up_when_its_time_is_over(void **state)
{
    struct fixture *f = *state;
    struct keeper keeper = {.kept = 0};

    kv_keepalive_start(f->client, &keeper.keepalive, 7, on_kept);
    while (f->renewals < 1)
        turn(f);
    renew(f, 1);
    while (keeper.code == 0)
        turn(f);
    assert_int_equal(keeper.code, KV_ELEASENOTFOUND);
    assert_int_equal(keeper.kept, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_watch_goes_on_behind_the_last_event_it_has_seen),
        TEST(a_watch_from_now_on_goes_on_behind_the_revision_it_was_created_at),
        TEST(a_second_break_before_any_event_changes_nothing),
        TEST(progress_of_one_watch_moves_it),
        TEST(progress_of_all_watches_is_told_but_moves_none),
        TEST(watches_are_created_one_after_the_other_and_so_again),
        TEST(a_compaction_ends_the_watch_and_says_from_where_on_there_is_history),
        TEST(a_refused_watch_ends_and_the_next_is_created),
        TEST(a_watch_cancelled_while_it_is_created_is_cancelled_at_the_server),
        TEST(a_server_without_a_leader_ends_a_watch_that_has_no_other),
        TEST(a_refusal_of_the_stream_ends_its_watches),
        TEST(a_lease_is_renewed_over_a_broken_stream_until_it_is_gone),
        TEST(a_lease_that_nobody_renews_is_given_up_when_its_time_is_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
