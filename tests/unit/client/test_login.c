/* A client with user and password, against a server that gives tokens and may forget them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "client/kv.h"
#include "net/server.h"

struct fixture {
    uv_loop_t loop;
    struct net_server *net;
    char url[64];
    struct kv_client *client;
    int logins, puts, puts_done;
    int token;           /* the one that is good; 0: none is */
    bool off;            /* auth is not enabled: calls come without a token */
    bool wrong_password; /* whatever it is */
    const char *refusal; /* of a call without the good token */
    bool closed;
};

static void reply(struct grpc_call *call, const ProtobufCMessage *message)
{
    uint8_t *out = grpc_call_message(call, protobuf_c_message_get_packed_size(message));

    (void)protobuf_c_message_pack(message, out);
    grpc_call_reply(call);
}

static void on_authenticate(struct grpc_call *call, struct slice bytes)
{
    struct fixture *f = grpc_call_ctx(call);
    Etcdserverpb__AuthenticateResponse response = ETCDSERVERPB__AUTHENTICATE_RESPONSE__INIT;
    Etcdserverpb__AuthenticateRequest *request =
        etcdserverpb__authenticate_request__unpack(NULL, bytes.len, bytes.data);
    char token[16];

    assert_string_equal(request->name, "ann");
    assert_string_equal(request->password, "pw");
    etcdserverpb__authenticate_request__free_unpacked(request, NULL);
    assert_null(grpc_call_header(call, "token").data);
    f->logins++;
    if (f->off) {
        grpc_call_finish(call, GRPC_FAILED_PRECONDITION,
                         "etcdserver: authentication is not enabled");
    } else if (f->wrong_password) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT,
                         "etcdserver: authentication failed, invalid user ID or password");
    } else {
        (void)snprintf(token, sizeof token, "t%d", f->logins);
        response.token = token;
        reply(call, &response.base);
    }
}

static bool is_good(const struct fixture *f, const struct grpc_call *call)
{
    struct slice token = grpc_call_header(call, "token");
    char good[16];

    (void)snprintf(good, sizeof good, "t%d", f->token);
    return f->off ? token.data == NULL : slice_eq(token, slice_str(good));
}

static void on_put(struct grpc_call *call, struct slice bytes)
{
    struct fixture *f = grpc_call_ctx(call);
    Etcdserverpb__PutResponse response = ETCDSERVERPB__PUT_RESPONSE__INIT;

    (void)bytes;
    f->puts++;
    if (is_good(f, call)) {
        f->puts_done++;
        reply(call, &response.base);
    } else {
        grpc_call_finish(call, GRPC_UNAUTHENTICATED, f->refusal);
    }
}

/* The first watch on it is refused if the token is not good, inside the stream. */
static void on_watch(struct grpc_call *call, struct slice bytes)
{
    struct fixture *f = grpc_call_ctx(call);
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    char reason[] = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
    uint8_t *out;

    (void)bytes;
    response.created = true;
    if (!is_good(f, call)) {
        response.canceled = true;
        response.watch_id = -1;
        response.cancel_reason = reason;
    }
    out = grpc_call_message(call, protobuf_c_message_get_packed_size(&response.base));
    (void)protobuf_c_message_pack(&response.base, out);
    grpc_call_send(call);
}

static void on_cancel(struct grpc_call *call)
{
    (void)call;
}

static void on_half_close(struct grpc_call *call)
{
    (void)call;
}

static const struct grpc_method methods[] = {
    {.service = "etcdserverpb.Auth",
     .name = "Authenticate",
     .on_message = on_authenticate,
     .on_cancel = on_cancel},
    {.service = "etcdserverpb.KV", .name = "Put", .on_message = on_put, .on_cancel = on_cancel},
    {.service = "etcdserverpb.Watch",
     .name = "Watch",
     .kind = GRPC_BIDI_STREAM,
     .on_message = on_watch,
     .on_half_close = on_half_close,
     .on_cancel = on_cancel},
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct net_server_options options = {
        .loop = &f->loop, .methods = methods, .method_count = ARRAY_LEN(methods), .ctx = f};
    struct net_addr addr = {.host = "127.0.0.1"};
    const char *endpoint = f->url;
    struct kv_options client = {
        .endpoints = &endpoint, .endpoints_len = 1, .user = "ann", .password = "pw"};

    f->token = 1;
    f->refusal = "etcdserver: invalid auth token";
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(net_server_new(&options, &f->net, NULL), 0);
    assert_int_equal(net_server_listen(f->net, &addr, NULL, NULL), 0);
    (void)snprintf(f->url, sizeof f->url, "127.0.0.1:%u", net_server_port(f->net, 0));
    assert_int_equal(kv_client_open(&f->loop, &client, &f->client, NULL), 0);
    *state = f;
    return 0;
}

static void turn(struct fixture *f)
{
    net_server_flush(f->net);
    (void)uv_run(&f->loop, UV_RUN_ONCE);
}

static void set_true(void *ctx)
{
    *(bool *)ctx = true;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    bool gone = false;

    kv_client_close(f->client, set_true, &gone);
    while (!gone)
        turn(f);
    net_server_close(f->net, set_true, &f->closed);
    while (!f->closed)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

struct put {
    struct kv_call call;
    bool done;
};

static void on_done(struct kv_call *call)
{
    CONTAINER_OF(call, struct put, call)->done = true;
}

static void start(struct fixture *f, struct put *put)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;

    request.key = (ProtobufCBinaryData){.data = (uint8_t *)"k", .len = 1};
    put->done = false;
    assert_int_equal(
        kv_call_start(f->client, &put->call, &kv_method_put, &request.base, NULL, on_done, NULL),
        0);
}

static int finish(struct fixture *f, struct put *put)
{
    int code;

    while (!put->done)
        turn(f);
    code = put->call.result.err.code;
    kv_result_release(&put->call.result);
    return code;
}

static void calls_wait_for_one_login(void **state)
{
    struct fixture *f = *state;
    struct put puts[3];

    for (size_t i = 0; i < ARRAY_LEN(puts); i++)
        start(f, &puts[i]);
    for (size_t i = 0; i < ARRAY_LEN(puts); i++)
        assert_int_equal(finish(f, &puts[i]), 0);
    assert_int_equal(f->logins, 1);
    assert_int_equal(f->puts, 3);
}

static void forgotten_token_is_replaced_and_the_write_repeated(void **state)
{
    static const char *const refusals[] = {"etcdserver: invalid auth token",
                                           "etcdserver: user name is empty",
                                           "etcdserver: revision of auth store is old"};
    struct fixture *f = *state;
    struct put put;

    for (int i = 0; i < 3; i++) {
        f->token = i + 1; /* what the next login gives; the one before is good no more */
        f->refusal = refusals[i];
        start(f, &put);
        assert_int_equal(finish(f, &put), 0);
        assert_int_equal(f->logins, i + 1);
        assert_int_equal(f->puts_done, i + 1);
    }
}

static void login_that_helps_nothing_is_not_repeated_for_ever(void **state)
{
    struct fixture *f = *state;
    struct put put;

    f->token = 1000;
    start(f, &put);
    assert_int_not_equal(finish(f, &put), 0);
    assert_in_range(f->logins, 2, 5);
}

static void refused_login_ends_the_calls_that_wait(void **state)
{
    struct fixture *f = *state;
    struct put puts[2];

    f->wrong_password = true;
    start(f, &puts[0]);
    start(f, &puts[1]);
    assert_int_equal(finish(f, &puts[0]), KV_EAUTHFAILED);
    assert_int_equal(finish(f, &puts[1]), KV_EAUTHFAILED);
    assert_int_equal(f->puts, 0);
    f->wrong_password = false;
    f->token = f->logins + 1;
    start(f, &puts[0]);
    assert_int_equal(finish(f, &puts[0]), 0);
}

static void cluster_without_auth_is_used_as_it_is_until_it_is_switched_on(void **state)
{
    struct fixture *f = *state;
    struct put put;

    f->off = true;
    start(f, &put);
    assert_int_equal(finish(f, &put), 0);
    start(f, &put);
    assert_int_equal(finish(f, &put), 0);
    assert_int_equal(f->logins, 1);
    f->off = false;
    f->token = 2;
    f->refusal = "etcdserver: user name is empty";
    start(f, &put);
    assert_int_equal(finish(f, &put), 0);
    assert_int_equal(f->logins, 2);
}

struct watching {
    struct kv_watch watch;
    bool created;
    int code;
};

static void on_watched(struct kv_watch *watch, const Etcdserverpb__WatchResponse *response,
                       const struct err *err)
{
    struct watching *watching = CONTAINER_OF(watch, struct watching, watch);

    (void)response;
    watching->created = true;
    watching->code = err->code;
}

static void watch_survives_a_forgotten_token(void **state)
{
    struct fixture *f = *state;
    struct kv_watcher *watcher = kv_watcher_new(f->client, 0);
    struct kv_watch_options options = {.key = slice_str("k"), .flags = KV_WATCH_CREATED};
    struct watching watching = {.created = false};

    f->token = 2;
    kv_watch_start(watcher, &watching.watch, &options, on_watched);
    while (!watching.created)
        turn(f);
    assert_int_equal(watching.code, 0);
    assert_int_equal(f->logins, 2);
    kv_watch_cancel(&watching.watch);
    kv_watcher_free(watcher);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(calls_wait_for_one_login),
        TEST(forgotten_token_is_replaced_and_the_write_repeated),
        TEST(login_that_helps_nothing_is_not_repeated_for_ever),
        TEST(refused_login_ends_the_calls_that_wait),
        TEST(cluster_without_auth_is_used_as_it_is_until_it_is_switched_on),
        TEST(watch_survives_a_forgotten_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
