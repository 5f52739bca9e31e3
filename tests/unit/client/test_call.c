/* libkv's calls against real gRPC servers (net/server.h) on the same loop: what is repeated, where,
 * and what the caller is told. Servers answer by script; tests wait for events only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "client/kv.h"
#include "net/server.h"

enum { SERVERS_MAX = 3, SCRIPT_MAX = 8, SILENCE = -1, GARBAGE = -2 };

/* What a server says to its nth call; the last line of the script repeats. */
struct line {
    int status; /* enum grpc_status, or SILENCE: no answer; GARBAGE: bytes that are no message */
    const char *message;
};

struct server {
    struct net_server *net;
    char url[64];
    int number;
    struct line script[SCRIPT_MAX];
    size_t script_len;
    unsigned calls;
    bool closed;
};

struct fixture {
    uv_loop_t loop;
    struct server servers[SERVERS_MAX];
    size_t servers_len;
    struct kv_client *client;
    bool client_closed;
};

static void answer(struct grpc_call *call, struct server *server)
{
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;

    response.count = server->number; /* PutResponse skips it as an unknown field */
    protobuf_c_message_pack(
        &response.base,
        grpc_call_message(call, protobuf_c_message_get_packed_size(&response.base)));
    grpc_call_reply(call);
}

static void on_message(struct grpc_call *call, struct slice message)
{
    struct server *server = grpc_call_ctx(call);
    size_t at = MIN((size_t)server->calls, server->script_len - 1);
    struct line line = server->script[at];

    (void)message;
    server->calls++;
    if (line.status == GRPC_OK) {
        answer(call, server);
    } else if (line.status == GARBAGE) {
        *grpc_call_message(call, 1) = 0xff;
        grpc_call_reply(call);
    } else if (line.status != SILENCE) {
        grpc_call_finish(call, (enum grpc_status)line.status, line.message);
    }
}

enum { PARTS = 3 };

/* OK: all parts. Else a first part, unless the message is empty, and then the status. */
static void on_stream_message(struct grpc_call *call, struct slice message)
{
    Etcdserverpb__RangeStreamResponse part = ETCDSERVERPB__RANGE_STREAM_RESPONSE__INIT;
    Etcdserverpb__RangeResponse body = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    struct server *server = grpc_call_ctx(call);
    struct line line = server->script[MIN((size_t)server->calls, server->script_len - 1)];
    int parts = line.status == GRPC_OK ? PARTS : line.message[0] != '\0';

    (void)message;
    server->calls++;
    part.range_response = &body;
    for (int i = 0; i < parts; i++) {
        body.count = i + 1;
        protobuf_c_message_pack(
            &part.base, grpc_call_message(call, protobuf_c_message_get_packed_size(&part.base)));
        grpc_call_send(call);
    }
    grpc_call_finish(call, (enum grpc_status)line.status, line.message);
}

static void on_cancel(struct grpc_call *call)
{
    (void)call;
}

static const struct grpc_method methods[] = {
    {.service = "etcdserverpb.KV",
     .name = "Range",
     .on_message = on_message,
     .on_cancel = on_cancel},
    {.service = "etcdserverpb.KV", .name = "Put", .on_message = on_message, .on_cancel = on_cancel},
    {.service = "etcdserverpb.KV",
     .name = "RangeStream",
     .kind = GRPC_SERVER_STREAM,
     .on_message = on_stream_message,
     .on_cancel = on_cancel},
};

/* One turn of the loop; servers send what their calls have written. */
static void turn(struct fixture *f)
{
    size_t i;

    for (i = 0; i < f->servers_len; i++) {
        if (f->servers[i].net != NULL)
            net_server_flush(f->servers[i].net);
    }
    (void)uv_run(&f->loop, UV_RUN_ONCE);
}

static void wait_for(struct fixture *f, const bool *done)
{
    while (!*done)
        turn(f);
}

static void set_true(void *ctx)
{
    *(bool *)ctx = true;
}

static struct server *serve(struct fixture *f, struct line only)
{
    struct server *server = &f->servers[f->servers_len];
    struct net_server_options options = {
        .loop = &f->loop, .methods = methods, .method_count = ARRAY_LEN(methods), .ctx = server};
    struct net_addr addr = {.host = "127.0.0.1"};
    struct err err = ERR_INIT;

    server->number = (int)++f->servers_len;
    server->script[0] = only;
    server->script_len = 1;
    assert_int_equal(net_server_new(&options, &server->net, &err), 0);
    assert_int_equal(net_server_listen(server->net, &addr, NULL, &err), 0);
    (void)snprintf(server->url, sizeof server->url, "127.0.0.1:%u",
                   net_server_port(server->net, 0));
    return server;
}

static void script(struct server *server, size_t at, struct line line)
{
    server->script[at] = line;
    server->script_len = MAX(server->script_len, at + 1);
}

static void stop_serving(struct fixture *f, struct server *server)
{
    struct net_server *net = server->net;

    server->net = NULL;
    net_server_close(net, set_true, &server->closed);
    wait_for(f, &server->closed);
}

static const struct line ok = {GRPC_OK, ""},
                         unavailable = {GRPC_UNAVAILABLE, "etcdserver: no leader"},
                         silence = {SILENCE, ""};

static void open_client(struct fixture *f, struct kv_options options)
{
    const char *endpoints[SERVERS_MAX];
    struct err err = ERR_INIT;

    for (options.endpoints_len = 0; options.endpoints_len < f->servers_len; options.endpoints_len++)
        endpoints[options.endpoints_len] = f->servers[options.endpoints_len].url;
    options.endpoints = endpoints;
    assert_int_equal(kv_client_open(&f->loop, &options, &f->client, &err), 0);
}

struct pending {
    struct kv_call call;
    bool done;
    int count; /* of callbacks */
};

static void on_done(struct kv_call *call)
{
    struct pending *pending = CONTAINER_OF(call, struct pending, call);

    pending->done = true;
    pending->count++;
}

static void start_range(struct fixture *f, struct pending *pending, uint64_t timeout_ms)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct kv_call_options options = {.timeout_ms = timeout_ms};

    request.key = (ProtobufCBinaryData){.data = (uint8_t *)"k", .len = 1};
    *pending = (struct pending){.done = false};
    assert_int_equal(kv_call_start(f->client, &pending->call, &kv_method_range, &request.base,
                                   &options, on_done, NULL),
                     0);
    assert_false(pending->done); /* never from inside the call */
}

static void start_put(struct fixture *f, struct pending *pending, uint64_t timeout_ms, int flags)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct kv_call_options options = {.timeout_ms = timeout_ms, .flags = flags};

    request.key = (ProtobufCBinaryData){.data = (uint8_t *)"k", .len = 1};
    *pending = (struct pending){.done = false};
    assert_int_equal(kv_call_start(f->client, &pending->call, &kv_method_put, &request.base,
                                   &options, on_done, NULL),
                     0);
}

static void range(struct fixture *f, struct pending *pending)
{
    start_range(f, pending, 0);
    wait_for(f, &pending->done);
}

static void put(struct fixture *f, struct pending *pending)
{
    start_put(f, pending, 0, 0);
    wait_for(f, &pending->done);
}

static int64_t count_of(const struct pending *pending)
{
    assert_non_null(pending->call.result.message);
    return ((const Etcdserverpb__RangeResponse *)(const void *)pending->call.result.message)->count;
}

static void release(struct pending *pending)
{
    kv_result_release(&pending->call.result);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    assert_int_equal(uv_loop_init(&f->loop), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    size_t i;

    if (f->client != NULL) {
        kv_client_close(f->client, set_true, &f->client_closed);
        wait_for(f, &f->client_closed);
    }
    for (i = 0; i < f->servers_len; i++) {
        if (f->servers[i].net != NULL)
            stop_serving(f, &f->servers[i]);
    }
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0); /* nothing was left behind */
    free(f);
    return 0;
}

/* ---- one endpoint ---- */

static void a_call_brings_the_servers_answer(void **state)
{
    struct fixture *f = *state;
    struct server *server = serve(f, ok);
    struct pending call;

    open_client(f, (struct kv_options){0});
    range(f, &call);
    assert_int_equal(call.call.result.err.code, 0);
    assert_int_equal(call.call.result.status, GRPC_OK);
    assert_int_equal(count_of(&call), 1);
    assert_int_equal(call.call.result.attempts, 1);
    assert_string_equal(call.call.result.endpoint, server->url);
    release(&call);
}

static void a_read_that_finds_no_leader_is_repeated(void **state)
{
    struct fixture *f = *state;
    struct server *server = serve(f, unavailable);
    struct pending call;

    script(server, 1, unavailable);
    script(server, 2, ok);
    open_client(f, (struct kv_options){0});
    range(f, &call);
    assert_int_equal(call.call.result.err.code, 0);
    assert_int_equal(call.call.result.attempts, 3);
    assert_int_equal(server->calls, 3);
    release(&call);
}

static void a_read_that_finds_no_leader_until_its_deadline_says_so(void **state)
{
    struct fixture *f = *state;
    struct pending call;

    (void)serve(f, unavailable);
    open_client(f, (struct kv_options){0});
    start_range(f, &call, 200);
    wait_for(f, &call.done);
    assert_int_equal(call.call.result.err.code, KV_ENOLEADER);
    assert_string_equal(call.call.result.err.text, "etcdserver: no leader");
    assert_true(call.call.result.attempts > 1);
    assert_null(call.call.result.message);
    release(&call);
}

static void a_write_that_may_have_arrived_is_not_repeated(void **state)
{
    struct fixture *f = *state;
    struct server *server = serve(f, unavailable);
    struct pending call;

    script(server, 1, ok);
    open_client(f, (struct kv_options){0});
    put(f, &call);
    assert_int_equal(call.call.result.err.code, KV_EUNKNOWN);
    assert_string_equal(call.call.result.err.text, "etcdserver: no leader");
    assert_int_equal(server->calls, 1);
    release(&call);
}

static void a_write_that_is_said_to_be_repeatable_is_repeated(void **state)
{
    struct fixture *f = *state;
    struct server *server = serve(f, unavailable);
    struct pending call;

    script(server, 1, ok);
    open_client(f, (struct kv_options){0});
    start_put(f, &call, 0, KV_REPEATABLE);
    wait_for(f, &call.done);
    assert_int_equal(call.call.result.err.code, 0);
    assert_int_equal(server->calls, 2);
    release(&call);
}

static void a_refusal_comes_with_the_servers_words_and_a_code(void **state)
{
    static const struct {
        struct line line;
        int code;
    } cases[] = {
        {{GRPC_OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"},
         KV_ECOMPACTED},
        {{GRPC_OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"},
         KV_EFUTURE},
        {{GRPC_INVALID_ARGUMENT, "etcdserver: key is not provided"}, KV_EINVAL},
        {{GRPC_RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"}, KV_ENOQUOTA},
        {{GRPC_DATA_LOSS, "etcdserver: corrupt cluster"}, KV_ECORRUPT},
        {{GRPC_PERMISSION_DENIED, "etcdserver: permission denied"}, KV_EINVAL},
    };
    struct fixture *f = *state;
    struct server *server = serve(f, cases[0].line);
    struct pending call;
    size_t i;

    open_client(f, (struct kv_options){0});
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        server->script[0] = cases[i].line;
        put(f, &call);
        assert_int_equal(call.call.result.err.code, cases[i].code);
        assert_int_equal(call.call.result.status, cases[i].line.status);
        assert_string_equal(call.call.result.err.text, cases[i].line.message);
        assert_int_equal(call.call.result.attempts, 1);
        release(&call);
    }
}

static void a_server_that_does_not_answer_costs_the_deadline_and_no_more(void **state)
{
    struct fixture *f = *state;
    struct server *server = serve(f, silence);
    struct pending call;
    char text[128];

    open_client(f, (struct kv_options){0});
    start_range(f, &call, 50);
    wait_for(f, &call.done);
    assert_int_equal(call.call.result.err.code, KV_ETIMEDOUT);
    assert_int_equal(call.call.result.status, GRPC_DEADLINE_EXCEEDED);
    (void)snprintf(text, sizeof text, "context deadline exceeded: %s did not answer Range in time",
                   server->url);
    assert_string_equal(call.call.result.err.text, text);
    release(&call);

    start_put(f, &call, 50, 0);
    wait_for(f, &call.done);
    assert_int_equal(call.call.result.err.code, KV_EUNKNOWN); /* it may yet be carried out */
    assert_int_equal(call.call.result.status, GRPC_DEADLINE_EXCEEDED);
    release(&call);
}

static void an_answer_that_is_no_message_is_a_protocol_error(void **state)
{
    struct fixture *f = *state;
    struct pending call;

    (void)serve(f, (struct line){GARBAGE, ""});
    open_client(f, (struct kv_options){0});
    range(f, &call);
    assert_int_equal(call.call.result.err.code, KV_EPROTO);
    assert_null(call.call.result.message);
    release(&call);
}

static void a_request_over_the_limit_is_refused_before_it_is_sent(void **state)
{
    struct fixture *f = *state;
    struct server *server = serve(f, ok);
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    uint8_t value[2000] = {0};
    struct pending call = {.done = false};
    struct err err = ERR_INIT;

    open_client(f, (struct kv_options){.request_size_max = 1000});
    request.value = (ProtobufCBinaryData){.data = value, .len = sizeof value};
    assert_int_equal(
        kv_call_start(f->client, &call.call, &kv_method_put, &request.base, NULL, on_done, &err),
        KV_ETOOBIG);
    assert_string_equal(err.text, "trying to send message larger than max (2003 vs. 1000)");
    assert_int_equal(server->calls, 0);
}

/* ---- several endpoints ---- */

static void a_read_moves_on_to_a_server_that_can_serve(void **state)
{
    struct fixture *f = *state;
    struct server *sick = serve(f, unavailable);
    struct pending call;

    (void)serve(f, ok);
    open_client(f, (struct kv_options){0});
    range(f, &call);
    assert_int_equal(count_of(&call), 2);
    assert_int_equal(sick->calls, 1);
    release(&call);
}

static void a_sticky_client_stays_with_the_server_that_answered(void **state)
{
    struct fixture *f = *state;
    struct server *first = serve(f, ok), *second = serve(f, ok);
    struct pending call;
    int i;

    open_client(f, (struct kv_options){.balance = KV_STICKY});
    for (i = 0; i < 6; i++) {
        range(f, &call);
        release(&call);
    }
    assert_int_equal(first->calls, 6);
    assert_int_equal(second->calls, 0);
}

/* The second server is connected to only when it is needed: here, because the first is gone. */
static void a_client_whose_server_dies_goes_on_with_the_next(void **state)
{
    struct fixture *f = *state;
    struct server *first = serve(f, ok);
    struct pending call;

    (void)serve(f, ok);
    open_client(f, (struct kv_options){0});
    range(f, &call);
    assert_int_equal(count_of(&call), 1);
    release(&call);

    stop_serving(f, first);
    put(f, &call);
    assert_int_equal(call.call.result.err.code, 0);
    assert_int_equal(f->servers[1].calls, 1);
    release(&call);
}

static void a_write_goes_past_an_endpoint_where_nobody_listens(void **state)
{
    struct fixture *f = *state;
    struct server *first = serve(f, ok), *second = serve(f, ok);
    struct pending call;

    stop_serving(f, first); /* its port is free now */
    open_client(f, (struct kv_options){0});
    put(f, &call);
    assert_int_equal(call.call.result.err.code, 0);
    assert_int_equal(second->calls, 1);
    release(&call);
}

static void keep_open(void *ctx, struct net_sock *sock)
{
    *(struct net_sock **)ctx = sock;
}

/* A listener that accepts and says nothing, as a paused process does. */
static void an_endpoint_that_hangs_is_overtaken(void **state)
{
    struct fixture *f = *state;
    struct net_addr addr = {.host = "127.0.0.1"};
    struct net_listener *listener = NULL;
    struct net_sock *sock = NULL;
    struct pending call;
    uint64_t started;

    f->servers_len = 1; /* the first endpoint is the silent one */
    assert_int_equal(net_listen(&f->loop, &addr, NULL, keep_open, &sock, &listener, NULL), 0);
    (void)snprintf(f->servers[0].url, sizeof f->servers[0].url, "127.0.0.1:%u",
                   net_listener_port(listener));
    (void)serve(f, ok);
    open_client(f, (struct kv_options){.dial_timeout_ms = 60000, .call_timeout_ms = 60000});
    started = uv_hrtime();
    put(f, &call);
    assert_int_equal(call.call.result.err.code, 0);
    assert_int_equal(f->servers[1].calls, 1);
    assert_true(uv_hrtime() - started < 30000000000); /* far below the dial timeout */
    release(&call);
    net_listener_close(listener, NULL, NULL);
    if (sock != NULL)
        net_sock_close(sock, NULL, NULL);
}

/* From when all are connected: no call waits for that. */
static void a_round_robin_client_uses_all_servers_in_turn(void **state)
{
    struct fixture *f = *state;
    struct pending call;
    int i;

    for (i = 0; i < SERVERS_MAX; i++)
        (void)serve(f, ok);
    open_client(f, (struct kv_options){.balance = KV_ROUND_ROBIN});
    while (f->servers[0].calls == 0 || f->servers[1].calls == 0 || f->servers[2].calls == 0) {
        range(f, &call);
        release(&call);
    }
    for (i = 0; i < SERVERS_MAX; i++)
        f->servers[i].calls = 0;
    for (i = 0; i < 30; i++) {
        range(f, &call);
        release(&call);
    }
    for (i = 0; i < SERVERS_MAX; i++)
        assert_int_equal(f->servers[i].calls, 10);
}

/* GOAWAY: what is under way ends well on the old connection, new calls go elsewhere at once. */
static void calls_during_a_goodbye_go_to_another_server(void **state)
{
    struct fixture *f = *state;
    struct server *first = serve(f, ok);
    struct pending call;

    (void)serve(f, ok);
    open_client(f, (struct kv_options){0});
    range(f, &call);
    release(&call);
    net_server_drain(first->net);
    put(f, &call);
    assert_int_equal(call.call.result.err.code, 0);
    release(&call);
    range(f, &call);
    assert_int_equal(count_of(&call), 2);
    release(&call);
}

/* ---- nobody there ---- */

static void a_call_that_finds_nobody_names_layer_and_endpoint(void **state)
{
    struct fixture *f = *state;
    struct server *server = serve(f, ok);
    struct pending call;
    char text[160];

    stop_serving(f, server);
    open_client(f, (struct kv_options){.dial_timeout_ms = 100});
    put(f, &call);
    assert_int_equal(call.call.result.err.code, KV_ECONN); /* and not KV_EUNKNOWN */
    assert_int_equal(call.call.result.status, GRPC_UNAVAILABLE);
    assert_int_equal(call.call.result.attempts, 0);
    (void)snprintf(text, sizeof text, "connecting to %s: Connection refused; is kvd running there?",
                   server->url);
    assert_string_equal(call.call.result.err.text, text);
    release(&call);
}

static void a_call_waits_for_a_server_that_comes_back(void **state)
{
    struct fixture *f = *state;
    struct server *server = serve(f, ok);
    struct net_server_options options = {
        .loop = &f->loop, .methods = methods, .method_count = ARRAY_LEN(methods), .ctx = server};
    struct net_addr addr = {.host = "127.0.0.1", .port = net_server_port(server->net, 0)};
    struct pending call;

    stop_serving(f, server);
    open_client(f, (struct kv_options){.dial_timeout_ms = 20000, .call_timeout_ms = 20000});
    start_put(f, &call, 0, 0);
    turn(f); /* the first attempt is on its way to nobody */
    turn(f);
    assert_int_equal(net_server_new(&options, &server->net, NULL), 0);
    assert_int_equal(net_server_listen(server->net, &addr, NULL, NULL), 0);
    wait_for(f, &call.done);
    assert_int_equal(call.call.result.err.code, 0);
    release(&call);
}

static void endpoints_are_checked_before_anything_is_connected(void **state)
{
    static const char *const endpoints[] = {"127.0.0.1", "", "http://127.0.0.1:2379/path"};
    struct fixture *f = *state;
    size_t i;

    for (i = 0; i < ARRAY_LEN(endpoints); i++) {
        struct kv_options options = {.endpoints = &endpoints[i], .endpoints_len = 1};
        struct err err = ERR_INIT;

        assert_int_equal(kv_client_open(&f->loop, &options, &f->client, &err), KV_EINVAL);
        assert_null(f->client);
        assert_true(err.text[0] != '\0');
    }
}

/* Certificates make TLS of an endpoint that names no scheme, and are read before anything is sent.
 */
static void certificates_are_read_before_anything_is_connected(void **state)
{
    const char *endpoints[] = {"http://127.0.0.1:2379", "127.0.0.1:2379"};
    struct net_tls_options tls = {.ca_file = "/nowhere/ca.pem"};
    struct kv_options options = {.endpoints = endpoints, .endpoints_len = 1, .tls = &tls};
    struct fixture *f = *state;
    struct err err = ERR_INIT;

    assert_int_equal(kv_client_open(&f->loop, &options, &f->client, &err), 0);
    kv_client_close(f->client, NULL, NULL);
    f->client = NULL;
    options.endpoints_len = 2;
    assert_int_equal(kv_client_open(&f->loop, &options, &f->client, &err), KV_ENOTFOUND);
    assert_string_equal(err.text, "TLS: CA certificates /nowhere/ca.pem: no such file");
}

/* ---- ends ---- */

static void a_cancelled_call_does_not_call_back(void **state)
{
    struct fixture *f = *state;
    struct server *server = serve(f, silence);
    struct pending waiting, running, after;

    script(server, 1, ok);
    open_client(f, (struct kv_options){0});
    start_range(f, &running, 0);
    while (server->calls == 0)
        turn(f);
    kv_call_cancel(&running.call);
    start_range(f, &waiting, 0);
    kv_call_cancel(&waiting.call);
    range(f, &after);
    assert_int_equal(count_of(&after), 1);
    assert_int_equal(running.count, 0);
    assert_int_equal(waiting.count, 0);
    release(&after);
}

static void closing_ends_each_call_once_before_it_is_done(void **state)
{
    struct fixture *f = *state;
    struct server *server = serve(f, silence);
    struct pending running, waiting;

    open_client(f, (struct kv_options){0});
    start_range(f, &running, 0);
    while (server->calls == 0)
        turn(f);
    start_put(f, &waiting, 0, 0);
    kv_client_close(f->client, set_true, &f->client_closed);
    assert_int_equal(running.count, 0); /* never from inside the call */
    wait_for(f, &f->client_closed);
    f->client = NULL;
    assert_int_equal(running.count, 1);
    assert_int_equal(waiting.count, 1);
    assert_int_equal(running.call.result.err.code, KV_ECANCELED);
    assert_int_equal(waiting.call.result.err.code, KV_ECANCELED);
    release(&running);
    release(&waiting);
}

struct closing {
    struct pending pending;
    struct fixture *f;
};

static void close_in_callback(struct kv_call *call)
{
    struct closing *closing =
        CONTAINER_OF(CONTAINER_OF(call, struct pending, call), struct closing, pending);

    kv_client_close(closing->f->client, set_true, &closing->f->client_closed);
}

static void a_callback_may_close_the_client(void **state)
{
    struct fixture *f = *state;
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct closing closing = {.f = f};

    (void)serve(f, ok);
    open_client(f, (struct kv_options){0});
    assert_int_equal(kv_call_start(f->client, &closing.pending.call, &kv_method_range,
                                   &request.base, NULL, close_in_callback, NULL),
                     0);
    wait_for(f, &f->client_closed);
    f->client = NULL;
    release(&closing.pending);
}

/* ---- blocking ---- */

struct thread_server {
    struct fixture f;
    uv_async_t stop;
    bool stopping;
};

static void on_stop(uv_async_t *async)
{
    CONTAINER_OF(async, struct thread_server, stop)->stopping = true;
}

static void run_server(void *arg)
{
    struct thread_server *thread = arg;

    wait_for(&thread->f, &thread->stopping);
    stop_serving(&thread->f, &thread->f.servers[0]);
    uv_close((uv_handle_t *)&thread->stop, NULL);
    (void)uv_run(&thread->f.loop, UV_RUN_DEFAULT);
}

static void typed_helpers_block_until_the_answer_is_there(void **state)
{
    struct thread_server thread = {.stopping = false};
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *response = NULL;
    struct server *server;
    const char *endpoint;
    struct kv_options options = {.endpoints = &endpoint, .endpoints_len = 1};
    struct kv_client *client = NULL;
    struct err err = ERR_INIT;
    uv_thread_t id;

    (void)state;
    assert_int_equal(uv_loop_init(&thread.f.loop), 0);
    assert_int_equal(uv_async_init(&thread.f.loop, &thread.stop, on_stop), 0);
    server = serve(&thread.f, ok);
    script(
        server, 1,
        (struct line){GRPC_OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"});
    endpoint = server->url;
    assert_int_equal(uv_thread_create(&id, run_server, &thread), 0);

    assert_int_equal(kv_client_open(NULL, &options, &client, &err), 0);
    assert_int_equal(kv_range(client, &request, &response, &err), 0);
    assert_int_equal(response->count, 1);
    kv_free(response);
    assert_int_equal(kv_range(client, &request, &response, &err), KV_ECOMPACTED);
    assert_null(response);
    assert_string_equal(err.text, "etcdserver: mvcc: required revision has been compacted");
    kv_client_free(client);

    (void)uv_async_send(&thread.stop);
    assert_int_equal(uv_thread_join(&id), 0);
    assert_int_equal(uv_loop_close(&thread.f.loop), 0);
}

static void a_prefix_ends_before_the_next_key_that_does_not_begin_with_it(void **state)
{
    static const struct {
        const char *prefix, *end;
        size_t len, end_len;
    } cases[] = {
        {"a", "b", 1, 1},         {"foo", "fop", 3, 3},       {"a\xff", "b", 2, 1},
        {"a\xff\xff", "b", 3, 1}, {"\xff", "\0", 1, 1},       {"\xff\xff", "\0", 2, 1},
        {"a\0", "a\1", 2, 2},     {"\xfe\xff", "\xff", 2, 1},
    };
    uint8_t end[8];
    size_t i, len;

    (void)state;
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        len = kv_prefix_end(slice_of(cases[i].prefix, cases[i].len), end);
        assert_int_equal(len, cases[i].end_len);
        assert_memory_equal(end, cases[i].end, len);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- answers in parts ---- */

static void on_part(void *ctx, const ProtobufCMessage *message)
{
    const Etcdserverpb__RangeStreamResponse *part = (const void *)message;
    int *parts = ctx;

    assert_int_equal(part->range_response->count, ++*parts);
}

static int range_stream(struct fixture *f, struct pending *pending)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    int parts = 0;
    struct kv_call_options options = {.on_part = on_part, .part_ctx = &parts};

    *pending = (struct pending){.done = false};
    assert_int_equal(kv_call_start(f->client, &pending->call, &kv_method_range_stream,
                                   &request.base, &options, on_done, NULL),
                     0);
    wait_for(f, &pending->done);
    assert_null(pending->call.result.message);
    return parts;
}

static void parts_come_one_by_one(void **state)
{
    struct fixture *f = *state;
    struct pending pending;

    (void)serve(f, ok);
    open_client(f, (struct kv_options){.balance = KV_STICKY});
    assert_int_equal(range_stream(f, &pending), PARTS);
    assert_int_equal(pending.call.result.err.code, 0);
    assert_int_equal(pending.count, 1);
    kv_result_release(&pending.call.result);
}

/* The parts that follow might be of another revision. */
static void call_that_has_had_a_part_is_not_repeated(void **state)
{
    struct fixture *f = *state;
    struct server *server = serve(f, (struct line){GRPC_UNAVAILABLE, ""});
    struct pending pending;

    script(server, 1, (struct line){GRPC_UNAVAILABLE, "etcdserver: no leader"});
    script(server, 2, ok);
    open_client(f, (struct kv_options){.balance = KV_STICKY});
    assert_int_equal(range_stream(f, &pending), 1);
    assert_int_equal(pending.call.result.status, GRPC_UNAVAILABLE);
    assert_int_equal(pending.call.result.attempts, 2); /* the first had none */
    assert_int_equal(pending.call.result.err.code, KV_ENOLEADER);
    kv_result_release(&pending.call.result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_brings_the_servers_answer),
        TEST(a_read_that_finds_no_leader_is_repeated),
        TEST(a_read_that_finds_no_leader_until_its_deadline_says_so),
        TEST(a_write_that_may_have_arrived_is_not_repeated),
        TEST(a_write_that_is_said_to_be_repeatable_is_repeated),
        TEST(a_refusal_comes_with_the_servers_words_and_a_code),
        TEST(a_server_that_does_not_answer_costs_the_deadline_and_no_more),
        TEST(an_answer_that_is_no_message_is_a_protocol_error),
        TEST(a_request_over_the_limit_is_refused_before_it_is_sent),
        TEST(a_read_moves_on_to_a_server_that_can_serve),
        TEST(a_sticky_client_stays_with_the_server_that_answered),
        TEST(a_client_whose_server_dies_goes_on_with_the_next),
        TEST(a_write_goes_past_an_endpoint_where_nobody_listens),
        TEST(an_endpoint_that_hangs_is_overtaken),
        TEST(a_round_robin_client_uses_all_servers_in_turn),
        TEST(calls_during_a_goodbye_go_to_another_server),
        TEST(a_call_that_finds_nobody_names_layer_and_endpoint),
        TEST(a_call_waits_for_a_server_that_comes_back),
        TEST(endpoints_are_checked_before_anything_is_connected),
        TEST(certificates_are_read_before_anything_is_connected),
        TEST(a_cancelled_call_does_not_call_back),
        TEST(closing_ends_each_call_once_before_it_is_done),
        TEST(a_callback_may_close_the_client),
        TEST(parts_come_one_by_one),
        TEST(call_that_has_had_a_part_is_not_repeated),
        cmocka_unit_test(typed_helpers_block_until_the_answer_is_there),
        cmocka_unit_test(a_prefix_ends_before_the_next_key_that_does_not_begin_with_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
