/* Messages in pieces: grpc_call_message_begin() and its fellows, over HTTP/2 and inside. */
#include "tests/unit/net/server_fixture.h"

enum { PIECE_MAX = 64 * 1024 };

/* ---- a method that answers in pieces: the request is "SIZE PIECE [STOP]", and with STOP the call
 * stays where it is when so many bytes are missing ---- */

struct job {
    size_t size, piece, stop;
    size_t sent;
};

static uint8_t byte_at(size_t n)
{
    return (uint8_t)(n * 31 >> 3);
}

static void send_piece(struct grpc_call *call, struct job *job)
{
    size_t n = MIN(job->piece, grpc_call_message_left(call));
    uint8_t *p = grpc_call_piece(call, n);

    for (size_t i = 0; i < n; i++)
        p[i] = byte_at(job->sent + i);
    job->sent += n;
    grpc_call_piece_send(call);
}

/* One piece for each time that the client has taken the one before. */
static void go_on(struct grpc_call *call)
{
    struct fixture *f = grpc_call_ctx(call);
    struct job *job = grpc_call_data(call);

    f->drains++;
    if (!grpc_call_has_room(call))
        return;
    do {
        if (grpc_call_message_left(call) <= job->stop)
            return;
        send_piece(call, job);
        if (grpc_call_message_left(call) == 0) {
            unhold(f, call);
            grpc_call_finish(call, GRPC_OK, NULL);
            return;
        }
    } while (grpc_call_queued(call) == 0);
}

static void pieces_on_message(struct grpc_call *call, struct slice message)
{
    struct job *job = arena_calloc(grpc_call_arena(call), sizeof *job);
    char text[64];

    (void)snprintf(text, sizeof text, "%.*s", (int)message.len, (const char *)message.data);
    assert_true(sscanf(text, "%zu %zu %zu", &job->size, &job->piece, &job->stop) >= 2);
    hold(grpc_call_ctx(call), call);
    grpc_call_set_data(call, job);
    grpc_call_on_drain(call, go_on);
    grpc_call_message_begin(call, job->size);
    go_on(call);
}

static const struct grpc_method methods[] = {
    {"t.T", "Pieces", GRPC_UNARY, pieces_on_message, NULL, count_cancel, NULL},
    {"t.T", "Echo", GRPC_UNARY, echo_on_message, NULL, NULL, NULL},
};

static struct fixture *start(void **state)
{
    struct fixture *f = *state;

    f->options.methods = methods;
    f->options.method_count = ARRAY_LEN(methods);
    fixture_start(f);
    return f;
}

static size_t promised(const struct fixture *f)
{
    size_t sum = 0;

    LIST_EACH (node, &f->server->conns)
        sum += LIST_ENTRY(node, struct net_conn, node)->promised;
    return sum;
}

static void assert_bytes(struct slice bytes, size_t size)
{
    assert_int_equal(bytes.len, size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(bytes.data[i], byte_at(i));
}

/* ---- over HTTP/2 ---- */

static void message_is_the_same_however_it_is_cut(void **state)
{
    static const struct {
        size_t size;
        const char *request;
    } rows[] = {{1, "1 1"},
                {2, "2 1"},
                {1000, "1000 1"},
                {70000, "70000 999"},
                {300000, "300000 65536"},
                {300000, "300000 300000"}};
    struct fixture *f = start(state);
    struct client *c = client_h2(f);
    size_t total = 0;

    send_window(c, 0, 1 << 24);
    send_setting(c, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20);
    for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stream *s;

        send_call(c, 2 * i + 1, "/t.T/Pieces", rows[i].request);
        s = await_end(c, 2 * i + 1);
        assert_int_equal(s->grpc_status, GRPC_OK);
        assert_bytes(message_of(s, 0), rows[i].size);
        assert_int_equal(s->data.len, rows[i].size + GRPC_FRAME_HEADER_SIZE);
        total += rows[i].size;
    }
    assert_int_equal(f->held_count, 0);
    RUN_UNTIL(f, f->bytes_sent == total);
    client_free(c);
}

static void a_window_of_one_byte_is_enough(void **state)
{
    struct fixture *f = start(state);
    struct client *c = client_h2(f);
    struct stream *s;

    send_setting(c, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1);
    RUN_UNTIL(f, c->settings_acks == 2);
    send_call(c, 1, "/t.T/Pieces", "200 7");
    s = stream_of(c, 1);
    for (size_t len = 1; len < 205; len++) {
        RUN_UNTIL(f, s->data.len == len);
        assert_true(f->server->unsent <= GRPC_FRAME_HEADER_SIZE + 7);
        send_window(c, 1, 1);
    }
    s = await_end(c, 1);
    assert_bytes(message_of(s, 0), 200);
    client_free(c);
}

static void only_a_piece_lies_in_memory(void **state)
{
    struct fixture *f = start(state);
    struct client *c = client_h2(f);

    send_call(c, 1, "/t.T/Pieces", "50000000 65536");
    RUN_UNTIL(f, stream_of(c, 1)->data.len == 65535);
    assert_true(f->server->unsent <= PIECE_MAX);
    assert_true(promised(f) > 49000000);
    send_window(c, 0, 200000);
    send_window(c, 1, 100000);
    RUN_UNTIL(f, stream_of(c, 1)->data.len == 165535);
    assert_true(f->server->unsent <= PIECE_MAX);
    assert_serves(c, 3); /* another stream of the connection is not held up */
    client_free(c);
    RUN_UNTIL(f, f->cancels == 1);
    assert_int_equal(f->server->unsent, 0);
}

static void streams_take_turns_piece_by_piece(void **state)
{
    struct fixture *f = start(state);
    struct client *c = client_h2(f);

    send_window(c, 0, 1 << 28);
    send_setting(c, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 28);
    for (uint32_t id = 1; id < 16; id += 2)
        send_call(c, id, "/t.T/Pieces", "3000000 65536");
    for (uint32_t id = 1; id < 16; id += 2)
        assert_bytes(message_of(await_end(c, id), 0), 3000000);
    client_free(c);
}

/* Two hundred streams of one client that takes nothing, then everything. */
static void streams_of_one_client_share_a_bound(void **state)
{
    struct fixture *f = start(state);
    struct client *c = client_h2(f);

    send_setting(c, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    for (uint32_t id = 1; id < 400; id += 2)
        send_call(c, id, "/t.T/Pieces", "200000 65536");
    RUN_UNTIL(f, f->held_count == 200);
    for (int turns = 0; turns < 10; turns++)
        turn(f);
    assert_true(f->server->unsent > CONN_PIECES_MAX / 2);
    assert_true(f->server->unsent < CONN_PIECES_MAX + 2 * PIECE_MAX);
    send_reset(c, 1, NGHTTP2_CANCEL); /* one that has a piece, and one that waits for room */
    send_reset(c, 399, NGHTTP2_CANCEL);
    send_window(c, 0, 1 << 28);
    send_setting(c, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20);
    for (uint32_t id = 3; id < 399; id += 2)
        assert_bytes(message_of(await_end(c, id), 0), 200000);
    assert_int_equal(f->cancels, 2);
    client_free(c);
}

static void client_gone_in_the_middle_cancels(void **state)
{
    struct fixture *f = start(state);
    struct client *c = client_h2(f);

    send_window(c, 0, 1 << 20);
    send_call(c, 1, "/t.T/Pieces", "1000000 1000");
    RUN_UNTIL(f, stream_of(c, 1)->data.len > 10000);
    send_reset(c, 1, NGHTTP2_CANCEL);
    RUN_UNTIL(f, f->cancels == 1);
    assert_int_equal(promised(f), 0);
    assert_int_equal(f->server->unsent, 0);
    assert_serves(c, 3);
    send_call(c, 5, "/t.T/Pieces", "1000000 1000");
    RUN_UNTIL(f, stream_of(c, 5)->data.len > 10000);
    client_free(c);
    RUN_UNTIL(f, f->cancels == 2 && f->server->conn_count == 0);
    assert_int_equal(f->server->unsent, 0);
}

static void call_that_ends_in_the_middle_resets_its_stream(void **state)
{
    struct fixture *f = start(state);
    struct client *c = client_h2(f);

    send_call(c, 1, "/t.T/Pieces", "1000 10 500");
    RUN_UNTIL(f, stream_of(c, 1)->data.len >= 500);
    grpc_call_finish(f->held[0], GRPC_RESOURCE_EXHAUSTED, "no room");
    assert_int_equal(await_end(c, 1)->reset, NGHTTP2_ENHANCE_YOUR_CALM);
    f->held_count = 0;
    assert_int_equal(promised(f), 0);
    assert_int_equal(f->end_status[GRPC_RESOURCE_EXHAUSTED], 1);

    send_call(c, 3, "/t.T/Pieces", "1000 10 500");
    RUN_UNTIL(f, stream_of(c, 3)->data.len >= 500);
    grpc_call_finish(f->held[0], GRPC_UNAVAILABLE, "stopping");
    assert_int_equal(await_end(c, 3)->reset, NGHTTP2_INTERNAL_ERROR);
    f->held_count = 0;
    assert_serves(c, 5);
    client_free(c);
}

static void deadline_in_the_middle_resets_the_stream(void **state)
{
    const struct header soon[] = {{"grpc-timeout", "50m"}, {NULL, NULL}};
    struct fixture *f = start(state);
    struct client *c = client_h2(f);

    send_headers(c, 1, "/t.T/Pieces", soon, false);
    send_message(c, 1, slice_str("1000 10 500"), true);
    assert_int_equal(await_end(c, 1)->reset, NGHTTP2_CANCEL);
    assert_int_equal(f->cancels, 1);
    assert_int_equal(promised(f), 0);
    assert_serves(c, 3);
    client_free(c);
}

static void reader_that_stalls_is_cut_though_little_lies_in_memory(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    f->options.stall_timeout_ms = 100;
    (void)start(state);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Pieces", "10000000 1000");
    RUN_UNTIL(f, c->eof);
    assert_int_equal(f->cancels, 1);
    client_free(c);
}

/* ---- calls that HTTP requests open: POST hands the body to Pieces ---- */

static void begin_chunked(struct http_request *request, size_t len)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%zu", len);
    http_add_header(request, "X-Size", text);
    http_reply_begin(request, 200, "text/plain");
}

static void on_piece(struct http_request *request, struct slice piece)
{
    http_reply_chunk(request, piece);
}

static void on_piece_ignored(struct http_request *request, struct slice piece)
{
    (void)request;
    (void)piece;
}

static void on_whole(struct http_request *request, struct slice message)
{
    begin_chunked(request, message.len);
    http_reply_chunk(request, message);
}

static void on_finish(struct http_request *request, enum grpc_status status, const char *message)
{
    (void)message;
    if (status == GRPC_OK)
        http_reply_end(request);
    else
        http_reply_abort(request);
}

static const struct http_call_events in_pieces = {
    .on_message_begin = begin_chunked, .on_piece = on_piece, .on_finish = on_finish};
static const struct http_call_events not_passed_on = {
    .on_message_begin = begin_chunked, .on_piece = on_piece_ignored, .on_finish = on_finish};
static const struct http_call_events whole = {.on_message = on_whole, .on_finish = on_finish};

static void gateway(void *ctx, struct http_request *request)
{
    const struct http_call_events *events = strcmp(http_path(request), "/whole") == 0 ? &whole
                                            : strcmp(http_path(request), "/drop") == 0
                                                ? &not_passed_on
                                                : &in_pieces;

    (void)ctx;
    assert_int_equal(http_call_open(request, "t.T", "Pieces", events), 0);
    (void)http_call_send(request, http_body(request));
}

static void gateway_on_cancel(void *ctx, struct http_request *request)
{
    struct fixture *f = ctx;

    assert_null(request->inner);
    f->http_cancels++;
}

static struct fixture *gateway_start(void **state)
{
    struct fixture *f = *state;

    f->options.on_http = gateway;
    f->options.on_http_cancel = gateway_on_cancel;
    return start(state);
}

static void post(struct client *c, const char *path, const char *body)
{
    char *text = xasprintf("POST %s HTTP/1.0\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s", path,
                           strlen(body), body);

    send_text(c, text);
    free(text);
}

/* HTTP/1.0: the body ends with the connection. */
static struct slice body_of(struct client *c)
{
    const uint8_t *end;

    RUN_UNTIL(c->f, c->eof);
    end = memmem(c->in.data, c->in.len, "\r\n\r\n", 4);
    assert_non_null(end);
    return slice_of(end + 4, c->in.len - (size_t)(end + 4 - c->in.data));
}

static void inner_call_passes_its_pieces_on(void **state)
{
    static const char *const paths[] = {"/pieces", "/whole"};
    struct fixture *f = gateway_start(state);

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct client *c = client_new(f);

        post(c, paths[i], "3000000 65536");
        assert_bytes(body_of(c), 3000000);
        client_free(c);
    }
    assert_int_equal(f->held_count, 0);
    assert_true(f->drains > 40); /* of the first: the second has no queue to wait for */
    assert_int_equal(f->bytes_sent, 6000000);
}

/* What the handler makes of a piece may be nothing; then no queue drains, and the method sees it.
 */
static void inner_call_goes_on_when_nothing_is_queued(void **state)
{
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    post(c, "/drop", "100000 100");
    assert_int_equal(body_of(c).len, 0);
    assert_int_equal(f->held_count, 0);
    client_free(c);
}

static void inner_call_waits_for_its_client(void **state)
{
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    client_stop_reading(c);
    post(c, "/pieces", "100000000 65536");
    RUN_UNTIL(f, f->held_count == 1 && grpc_call_queued(f->held[0]) > 0);
    for (int turns = 0; turns < 20; turns++)
        turn(f);
    assert_true(grpc_call_queued(f->held[0]) <= PIECE_MAX);
    assert_true(promised(f) > 80000000); /* the kernel's buffers hold some */
    client_free(c);
    RUN_UNTIL(f, f->cancels == 1 && f->http_cancels == 1);
}

static void inner_call_that_ends_in_the_middle_spoils_the_answer(void **state)
{
    const struct header json[] = {{"content-type", "application/json"}, {NULL, NULL}};
    struct fixture *f = *state;
    struct client *c;

    f->options.http_over_h2 = true;
    (void)gateway_start(state);
    c = client_new(f);
    send_text(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n1000 10 500");
    RUN_UNTIL(f, c->in.len > 500); /* head and half of the message */
    grpc_call_finish(f->held[0], GRPC_UNAVAILABLE, "stopping");
    f->held_count = 0;
    RUN_UNTIL(f, c->eof);
    assert_null(memmem(c->in.data, c->in.len, "\r\n0\r\n", 5)); /* not the end of the body */
    assert_int_equal(f->http_cancels, 1);
    client_free(c);

    c = client_h2(f);
    send_headers(c, 1, "/", json, false);
    send_data(c, 1, "1000 10 500", 11, true);
    RUN_UNTIL(f, f->held_count == 1);
    grpc_call_finish(f->held[0], GRPC_UNAVAILABLE, "stopping");
    f->held_count = 0;
    assert_int_equal(await_end(c, 1)->reset, NGHTTP2_INTERNAL_ERROR);
    RUN_UNTIL(f, f->http_cancels == 2);
    assert_serves(c, 3);
    client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(message_is_the_same_however_it_is_cut),
        TEST(a_window_of_one_byte_is_enough),
        TEST(only_a_piece_lies_in_memory),
        TEST(streams_take_turns_piece_by_piece),
        TEST(streams_of_one_client_share_a_bound),
        TEST(client_gone_in_the_middle_cancels),
        TEST(call_that_ends_in_the_middle_resets_its_stream),
        TEST(deadline_in_the_middle_resets_the_stream),
        TEST(reader_that_stalls_is_cut_though_little_lies_in_memory),
        TEST(inner_call_passes_its_pieces_on),
        TEST(inner_call_goes_on_when_nothing_is_queued),
        TEST(inner_call_waits_for_its_client),
        TEST(inner_call_that_ends_in_the_middle_spoils_the_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
