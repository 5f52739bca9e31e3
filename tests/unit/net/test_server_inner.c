/* Answers in pieces, and calls that HTTP requests open on the methods of their own server. The
 * handler here does what a gateway does: POST /METHOD hands the body, line by line, to the method
 * and answers each of its messages with a line. */
#include "tests/unit/net/server_fixture.h"

/* ---- the handler ---- */

static void on_line(struct http_request *request, struct slice message)
{
    char *line = xasprintf("%.*s\n", (int)message.len, (const char *)message.data);

    if (http_data(request) == NULL)
        http_reply_begin(request, 200, "text/plain");
    http_set_data(request, request);
    http_reply_chunk(request, slice_of(line, strlen(line)));
    free(line);
}

static void on_lines_end(struct http_request *request, enum grpc_status status, const char *message)
{
    char text[256];

    (void)snprintf(text, sizeof text, "%d %s\n", (int)status, message);
    if (http_data(request) == NULL) {
        http_reply(request, status == GRPC_OK ? 200 : 500, "text/plain", slice_str(text));
        return;
    }
    http_reply_chunk(request, slice_str(text));
    http_reply_end(request);
}

static const struct http_call_events events = {.on_message = on_line, .on_finish = on_lines_end};

/* The body is copied: it goes with the request, and the request with the call. */
static void send_lines(struct http_request *request)
{
    struct slice body = http_body(request);
    char *lines = xcalloc(1, body.len + 1), *line = lines, *end;
    bool half_close = strcmp(http_query(request), "open") != 0;

    if (body.len > 0)
        memcpy(lines, body.data, body.len);
    for (; (end = strchr(line, '\n')) != NULL; line = end + 1)
        if (!http_call_send(request, slice_of(line, (size_t)(end - line))))
            goto out;
    if (*line != '\0' && !http_call_send(request, slice_str(line)))
        goto out;
    if (half_close && strcmp(http_path(request), "/Bidi") == 0)
        http_call_half_close(request);
out:
    free(lines);
}

static void gateway(void *ctx, struct http_request *request)
{
    struct fixture *f = ctx;
    int rc;

    f->http_requests++;
    if (strcmp(http_method(request), "POST") != 0) { /* answered by the test */
        f->http_held = request;
        return;
    }
    rc = http_call_open(request, "t.T", http_path(request) + 1, &events);
    if (rc != 0) {
        http_reply(request, rc == KV_ENOTFOUND ? 404 : 400, "text/plain", slice_of(NULL, 0));
        return;
    }
    send_lines(request);
}

static void on_gateway_cancel(void *ctx, struct http_request *request)
{
    struct fixture *f = ctx;

    assert_null(request->inner);
    f->http_cancels++;
    if (f->http_held == request)
        f->http_held = NULL;
}

static struct fixture *gateway_start(void **state)
{
    struct fixture *f = *state;

    f->options.on_http = gateway;
    f->options.on_http_cancel = on_gateway_cancel;
    fixture_start(f);
    return f;
}

/* ---- the client ---- */

static void post(struct client *c, const char *path, const char *fields, const char *body)
{
    char *text = xasprintf("POST %s HTTP/1.1\r\nHost: h\r\n%sContent-Length: %zu\r\n\r\n%s", path,
                           fields, strlen(body), body);

    send_text(c, text);
    free(text);
}

/* Waits until the input ends with text. */
static void await_text(struct client *c, const char *text)
{
    size_t len = strlen(text);

    RUN_UNTIL(c->f, c->in.len >= len && memcmp(c->in.data + c->in.len - len, text, len) == 0);
}

static bool has(const struct client *c, const char *text)
{
    return c->in.len > 0 && memmem(c->in.data, c->in.len, text, strlen(text)) != NULL;
}

/* The whole input is one answer with this body. */
static void expect(struct client *c, const char *status, const char *body)
{
    char *end = xasprintf("\r\n\r\n%s", body);

    await_text(c, end);
    assert_true(has(c, status));
    buf_reset(&c->in);
    free(end);
}

/* ---- answers in pieces ---- */

static void pieces_go_out_as_they_come(void **state)
{
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    send_text(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(f, f->http_held != NULL);
    http_reply_begin(f->http_held, 200, "text/plain");
    await_text(c, "\r\n\r\n");
    assert_true(has(c, "Transfer-Encoding: chunked\r\n"));
    assert_true(has(c, "Content-Type: text/plain\r\n"));
    assert_false(has(c, "Content-Length"));
    http_reply_chunk(f->http_held, slice_str("0123456789abcdefg"));
    await_text(c, "\r\n\r\n11\r\n0123456789abcdefg\r\n");
    http_reply_chunk(f->http_held, slice_of(NULL, 0));
    http_reply_chunk(f->http_held, slice_str("x"));
    http_reply_end(f->http_held);
    await_text(c, "1\r\nx\r\n0\r\n\r\n");
    buf_reset(&c->in);
    post(c, "/Echo", "", "next");
    await_text(c, "5\r\nnext\n\r\n3\r\n0 \n\r\n0\r\n\r\n");
    client_free(c);
}

static void pipelined_request_waits_for_the_end_of_the_pieces(void **state)
{
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    send_text(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(f, f->http_held != NULL);
    http_reply_begin(f->http_held, 200, "text/plain");
    http_reply_chunk(f->http_held, slice_str("a"));
    await_text(c, "a\r\n");
    assert_int_equal(f->http_requests, 1);
    http_reply_end(f->http_held);
    RUN_UNTIL(f, f->http_requests == 2);
    http_reply(f->http_held, 200, "text/plain", slice_str("b"));
    await_text(c, "\r\n\r\nb");
    client_free(c);
}

static void http_1_0_gets_its_pieces_without_chunks(void **state)
{
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    send_text(c, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    RUN_UNTIL(f, f->http_held != NULL);
    http_reply_begin(f->http_held, 200, "text/plain");
    http_reply_chunk(f->http_held, slice_str("ab"));
    http_reply_chunk(f->http_held, slice_str("cd"));
    http_reply_end(f->http_held);
    RUN_UNTIL(f, c->eof);
    await_text(c, "\r\n\r\nabcd");
    assert_true(has(c, "Connection: close\r\n"));
    client_free(c);
}

static void client_that_leaves_between_pieces_cancels(void **state)
{
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    send_text(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(f, f->http_held != NULL);
    http_reply_begin(f->http_held, 200, "text/plain");
    http_reply_chunk(f->http_held, slice_str("x"));
    await_text(c, "x\r\n");
    client_free(c);
    RUN_UNTIL(f, f->http_cancels == 1);
}

static void pieces_go_over_http_2_too(void **state)
{
    const struct header get[] = {{":method", "GET"}, {"content-type", NULL}, {NULL, NULL}};
    const struct header json[] = {{"content-type", "application/json"}, {NULL, NULL}};
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    f->options.http_over_h2 = true;
    (void)gateway_start(state);
    c = client_h2(f);
    send_headers(c, 1, "/", get, true);
    RUN_UNTIL(f, f->http_held != NULL);
    http_reply_begin(f->http_held, 200, "text/plain");
    s = stream_of(c, 1);
    RUN_UNTIL(f, s->status == 200);
    assert_null(strstr(s->headers, "content-length"));
    http_reply_chunk(f->http_held, slice_str("ab"));
    RUN_UNTIL(f, s->data.len == 2);
    assert_false(s->ended);
    http_reply_chunk(f->http_held, slice_str("cd"));
    http_reply_end(f->http_held);
    s = await_end(c, 1);
    assert_memory_equal(s->data.data, "abcd", 4);

    send_headers(c, 3, "/Bidi", json, false);
    send_data(c, 3, "a\nb\n", 4, true);
    s = await_end(c, 3);
    assert_memory_equal(s->data.data, "a\nb\n0 \n", 7);

    send_headers(c, 5, "/Flow", json, false);
    send_data(c, 5, "1000000", 7, true);
    send_window(c, 0, 1 << 24);
    send_window(c, 5, 1 << 24);
    s = await_end(c, 5);
    assert_int_equal(s->data.len, 1000000 + 16 + 3);
    assert_true(f->drains > 2);

    send_headers(c, 7, "/Hold", json, false);
    send_data(c, 7, "x", 1, true);
    RUN_UNTIL(f, f->held_count == 1);
    send_reset(c, 7, NGHTTP2_CANCEL);
    RUN_UNTIL(f, f->cancels == 1 && f->http_cancels == 1);
    client_free(c);
}

static void a_port_without_grpc_lets_only_http_reach_the_methods(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    f->options.no_grpc = true;
    (void)gateway_start(state);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Echo", NULL, true);
    s = await_end(c, 1);
    assert_int_equal(s->status, 200);
    assert_int_equal(s->grpc_status, GRPC_UNIMPLEMENTED);
    assert_string_equal(s->grpc_message, "this port serves HTTP only, no gRPC");
    client_free(c);

    c = client_new(f);
    post(c, "/Echo", "", "hello");
    await_text(c, "6\r\nhello\n\r\n3\r\n0 \n\r\n0\r\n\r\n");
    client_free(c);
}

/* ---- calls ---- */

static void unary_call_is_answered_inside(void **state)
{
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    post(c, "/Echo", "", "hello");
    await_text(c, "6\r\nhello\n\r\n3\r\n0 \n\r\n0\r\n\r\n");
    buf_reset(&c->in);
    post(c, "/Fail", "", "it is gone");
    expect(c, "HTTP/1.1 500 ", "5 it is gone\n");
    post(c, "/Nothing", "", "");
    expect(c, "HTTP/1.1 404 ", "");
    assert_int_equal(f->starts, 2);
    assert_int_equal(f->ends, 2);
    assert_int_equal(f->end_status[GRPC_NOT_FOUND], 1);
    assert_int_equal(f->bytes_sent, 5);
    assert_int_equal(f->bytes_received, 15);
    client_free(c);
}

static void answer_may_come_later(void **state)
{
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    post(c, "/Hold", "", "x");
    RUN_UNTIL(f, f->held_count == 1);
    assert_int_equal(net_server_calls(f->server), 1);
    reply_bytes(f->held[0], slice_str("late"));
    grpc_call_reply(f->held[0]);
    f->held_count = 0;
    await_text(c, "late\n\r\n3\r\n0 \n\r\n0\r\n\r\n");
    assert_int_equal(net_server_calls(f->server), 0);
    client_free(c);
}

static void some_headers_become_metadata(void **state)
{
    static const struct {
        const char *name;
        const char *value;
    } rows[] = {{"authorization", "token"}, {"hasleader", "true"},  {"grpcgateway-accept", "*/*"},
                {"accept", "(absent)"},     {"cookie", "(absent)"}, {"token", "(absent)"}};
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *line = xasprintf("\r\n%s\n\r\n", rows[i].value);

        post(c, "/Header",
             "Authorization: token\r\nAccept: */*\r\nCookie: c\r\nToken: t\r\n"
             "Grpc-Metadata-HasLeader: true\r\n",
             rows[i].name);
        await_text(c, "0\r\n\r\n");
        assert_true(has(c, line));
        buf_reset(&c->in);
        free(line);
    }
    client_free(c);
}

static void timeout_of_the_client_holds(void **state)
{
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    post(c, "/Hold", "Grpc-Timeout: 20m\r\n", "x");
    expect(c, "HTTP/1.1 500 ", "4 context deadline exceeded\n");
    assert_int_equal(f->cancels, 1);
    assert_int_equal(f->end_status[GRPC_DEADLINE_EXCEEDED], 1);
    post(c, "/Hold", "Grpc-Timeout: soon\r\n", "x");
    expect(c, "HTTP/1.1 400 ", "");
    client_free(c);
}

static void client_that_leaves_cancels_its_call(void **state)
{
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    post(c, "/Hold", "", "x");
    RUN_UNTIL(f, f->held_count == 1);
    client_free(c);
    RUN_UNTIL(f, f->cancels == 1 && f->http_cancels == 1);
    assert_int_equal(f->end_status[GRPC_CANCELLED], 1);
    assert_int_equal(f->held_count, 0);
}

static void closing_the_server_cancels_calls(void **state)
{
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    post(c, "/Bidi?open", "", "a\n");
    await_text(c, "2\r\na\n\r\n");
    fixture_stop(f);
    assert_int_equal(f->cancels, 1);
    assert_int_equal(f->http_cancels, 1);
    client_free(c);
}

static void stream_takes_all_lines_and_its_end(void **state)
{
    struct fixture *f = gateway_start(state);
    struct client *c = client_new(f);

    post(c, "/Bidi", "", "a\nb\n");
    await_text(c, "2\r\na\n\r\n2\r\nb\n\r\n3\r\n0 \n\r\n0\r\n\r\n");
    assert_int_equal(f->half_closes, 1);
    buf_reset(&c->in);
    post(c, "/Bidi", "", "a\nquit\nnever seen\n");
    await_text(c, "5\r\nquit\n\r\n10\r\n10 told to quit\n\r\n0\r\n\r\n");
    buf_reset(&c->in);
    post(c, "/Count", "", "3");
    await_text(c, "2\r\n0\n\r\n2\r\n1\n\r\n2\r\n2\n\r\n3\r\n0 \n\r\n0\r\n\r\n");
    assert_int_equal(f->held_count, 0);
    client_free(c);
}

/* The method hears of the full queue and, when all is gone, of the empty one. */
static void slow_client_holds_back_its_stream_only(void **state)
{
    enum { TOTAL = 50000000 };
    struct fixture *f = gateway_start(state);
    struct client *slow = client_new(f), *other = client_new(f);

    client_stop_reading(slow);
    post(slow, "/Flow", "", "50000000");
    RUN_UNTIL(f, f->held_count == 1 && grpc_call_queued(f->held[0]) > 0 &&
                     net_sock_pending(f->held[0]->conn->sock) > 0);
    assert_true(grpc_call_queued(f->held[0]) < 4 << 20);
    post(other, "/Echo", "", "x");
    await_text(other, "0\r\n\r\n");
    assert_int_equal(f->held_count, 1);
    client_go_on_reading(slow);
    await_text(slow, "3\r\n0 \n\r\n0\r\n\r\n");
    assert_true(slow->in.len > TOTAL);
    assert_true(f->drains > 10);
    client_free(slow);
    client_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pieces_go_out_as_they_come),
        TEST(pipelined_request_waits_for_the_end_of_the_pieces),
        TEST(http_1_0_gets_its_pieces_without_chunks),
        TEST(client_that_leaves_between_pieces_cancels),
        TEST(pieces_go_over_http_2_too),
        TEST(a_port_without_grpc_lets_only_http_reach_the_methods),
        TEST(unary_call_is_answered_inside),
        TEST(answer_may_come_later),
        TEST(some_headers_become_metadata),
        TEST(timeout_of_the_client_holds),
        TEST(client_that_leaves_cancels_its_call),
        TEST(closing_the_server_cancels_calls),
        TEST(stream_takes_all_lines_and_its_end),
        TEST(slow_client_holds_back_its_stream_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
