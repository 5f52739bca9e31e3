/* WebSocket on the server: the handshake, messages both ways, ends of all kinds, and clients that
 * do not read. The handler hands each message to the Bidi method, which echoes. */
#include "base/codec.h"
#include "net/websocket.h"
#include "tests/unit/net/server_fixture.h"

/* ---- the handler ---- */

static void on_echo(struct http_request *request, struct slice message)
{
    http_socket_send(request, message);
}

static void on_echo_end(struct http_request *request, enum grpc_status status, const char *message)
{
    http_socket_close(request, status == GRPC_OK ? WS_NORMAL : WS_INTERNAL, message);
}

static void on_text(struct http_request *request, struct slice text)
{
    (void)http_call_send(request, text); /* if it ended, the request is gone */
}

static void handler(void *ctx, struct http_request *request)
{
    static const struct http_socket_events socket_events = {.on_message = on_text};
    static const struct http_call_events call_events = {.on_message = on_echo,
                                                        .on_finish = on_echo_end};
    struct fixture *f = ctx;

    f->http_requests++;
    if (!http_wants_socket(request))
        http_reply(request, 200, "text/plain", slice_str("plain\n"));
    else if (http_socket_accept(request, &socket_events))
        assert_int_equal(http_call_open(request, "t.T", "Bidi", &call_events), 0);
}

static void on_cancel(void *ctx, struct http_request *request)
{
    struct fixture *f = ctx;

    assert_null(request->inner);
    f->http_cancels++;
}

static struct fixture *start(void **state)
{
    struct fixture *f = *state;

    f->options.on_http = handler;
    f->options.on_http_cancel = on_cancel;
    f->options.http_body_size_max = 100000;
    fixture_start(f);
    return f;
}

/* ---- the client ---- */

static const char good[] = "Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n"
                           "Sec-WebSocket-Version: 13\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

static void get(struct client *c, const char *fields)
{
    char *text = xasprintf("GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);

    send_text(c, text);
    free(text);
}

/* With a mask of zeros, which masks nothing. */
static void send_ws(struct client *c, enum ws_opcode opcode, struct slice payload)
{
    uint8_t head[WS_HEAD_MAX + 4] = {0};
    size_t len = ws_head(head, opcode, payload.len);

    head[1] |= 0x80;
    memset(head + len, 0, 4);
    send_bytes(c, head, len + 4);
    send_bytes(c, payload.data, payload.len);
}

static void send_ws_text(struct client *c, const char *text)
{
    send_ws(c, WS_OP_TEXT, slice_str(text));
}

/* Waits for so many bytes and takes them off. */
static void expect(struct client *c, const void *bytes, size_t len)
{
    RUN_UNTIL(c->f, c->in.len >= len || c->eof);
    assert_true(c->in.len >= len);
    assert_memory_equal(c->in.data, bytes, len);
    buf_consume(&c->in, len);
}

static void expect_head(struct client *c, const char *status)
{
    const uint8_t *end;

    RUN_UNTIL(c->f, c->in.len > 0 && memmem(c->in.data, c->in.len, "\r\n\r\n", 4) != NULL);
    assert_memory_equal(c->in.data, status, strlen(status));
    end = memmem(c->in.data, c->in.len, "\r\n\r\n", 4);
    buf_consume(&c->in, (size_t)(end - c->in.data) + 4);
}

static struct client *upgraded(struct fixture *f)
{
    struct client *c = client_new(f);

    get(c, good);
    expect_head(c,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    return c;
}

/* ---- tests ---- */

static void messages_go_both_ways(void **state)
{
    struct fixture *f = start(state);
    struct client *c = upgraded(f);

    send_ws_text(c, "one");
    send_ws(c, WS_OP_PING, slice_str("?"));
    send_ws(c, WS_OP_BINARY, slice_str("two"));
    expect(c, "\x81\x03one\x8a\x01?\x81\x03two", 13);
    assert_int_equal(f->held_count, 1);
    client_free(c);
    RUN_UNTIL(f, f->held_count == 0);
    assert_int_equal(f->http_cancels, 1);
}

static void what_comes_with_the_handshake_is_taken(void **state)
{
    struct fixture *f = start(state);
    struct client *c = client_new(f);

    get(c, good);
    send_ws_text(c, "early");
    expect_head(c, "HTTP/1.1 101");
    expect(c,
           "\x81\x05"
           "early",
           7);
    client_free(c);
    RUN_UNTIL(f, f->held_count == 0);
}

/* Each has its answer, and the connection is one of HTTP as before. */
static void wrong_handshakes_are_answered(void **state)
{
    static const struct {
        const char *fields, *status;
    } rows[] = {
        {"Upgrade: websocket\r\n", "HTTP/1.1 200"},
        {"Upgrade: h2c\r\nConnection: Upgrade\r\n", "HTTP/1.1 200"},
        {"Upgrade: websocket\r\nConnection: Upgrade\r\n", "HTTP/1.1 426"},
        {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
         "HTTP/1.1 400"},
        {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: AAAA\r\n",
         "HTTP/1.1 400"},
    };
    struct fixture *f = start(state);
    struct client *c = client_new(f);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        get(c, rows[i].fields);
        expect_head(c, rows[i].status);
        RUN_UNTIL(f, c->in.len > 0 && c->in.data[c->in.len - 1] == '\n');
        buf_reset(&c->in);
    }
    assert_int_equal(f->http_requests, ARRAY_LEN(rows));
    client_free(c);
}

static void a_close_of_the_client_is_answered_and_ends_the_call(void **state)
{
    struct fixture *f = start(state);
    struct client *c = upgraded(f);

    send_ws_text(c, "x");
    send_ws(c, WS_OP_CLOSE, slice_of("\x03\xe9", 2));
    expect(c, "\x81\x01x\x88\x02\x03\xe9", 7);
    RUN_UNTIL(f, c->eof);
    assert_int_equal(f->held_count, 0);
    assert_int_equal(f->cancels, 1);
    assert_int_equal(f->http_cancels, 1);
    client_free(c);
}

static void the_end_of_the_call_closes_the_socket(void **state)
{
    struct fixture *f = start(state);
    struct client *c = upgraded(f);

    send_ws_text(c, "quit");
    send_ws_text(c, "never seen");
    expect(c, "\x81\x04quit\x88\x0e\x03\xf3told to quit", 22);
    RUN_UNTIL(f, c->eof);
    assert_int_equal(c->in.len, 0);
    assert_int_equal(f->http_cancels, 0);
    client_free(c);
}

static void whoever_breaks_the_rules_is_told_and_cut(void **state)
{
    struct fixture *f = start(state);
    struct client *c = upgraded(f);

    send_ws_text(c, "x");
    send_bytes(c, "\x81\x01x", 3);
    expect(c,
           "\x81\x01x\x88\x0a\x03\xea"
           "bad MASK",
           15);
    RUN_UNTIL(f, c->eof);
    assert_int_equal(f->cancels, 1);
    client_free(c);
}

static void a_message_above_the_limit_is_refused(void **state)
{
    struct fixture *f = start(state);
    struct client *c = upgraded(f);
    char *big = xcalloc(1, 100001);

    send_ws(c, WS_OP_TEXT, slice_of(big, 100000));
    expect(c, "\x81\x7f\0\0\0\0\0\x01\x86\xa0", 10);
    expect(c, big, 100000);
    send_ws(c, WS_OP_TEXT, slice_of(big, 100001));
    expect(c, "\x88\x18\x03\xf1the message is too big", 26);
    RUN_UNTIL(f, c->eof);
    free(big);
    client_free(c);
}

/* What it sends is not even read while its answers lie there; then nothing is missing. */
static void a_client_that_does_not_read_is_not_heard(void **state)
{
    enum { COUNT = 1000, SIZE = 30000 };
    struct fixture *f = start(state);
    struct client *c = upgraded(f), *other;
    char *text = xcalloc(1, SIZE);
    size_t left;

    client_stop_reading(c);
    for (int i = 0; i < COUNT; i++) {
        put_be32((uint8_t *)text, (uint32_t)i);
        send_ws(c, WS_OP_BINARY, slice_of(text, SIZE));
    }
    do { /* until the server takes no more */
        left = c->out.len;
        other = upgraded(f);
        send_ws_text(other, "hello");
        expect(other, "\x81\x05hello", 7);
        client_free(other);
        assert_true(f->held_count >= 1);
    } while (c->out.len < left || f->held_count > 1);
    assert_true(c->out.len > (size_t)COUNT * SIZE / 3);
    assert_true(conn__unsent(f->held[0]->conn) < 8 << 20);
    client_go_on_reading(c);
    for (int i = 0; i < COUNT; i++) {
        put_be32((uint8_t *)text, (uint32_t)i);
        expect(c, "\x81\x7e\x75\x30", 4);
        expect(c, text, SIZE);
    }
    free(text);
    client_free(c);
    RUN_UNTIL(f, f->held_count == 0);
}

static void closing_the_server_cancels_sockets(void **state)
{
    struct fixture *f = start(state);
    struct client *c = upgraded(f);

    send_ws_text(c, "x");
    expect(c, "\x81\x01x", 3);
    fixture_stop(f);
    assert_int_equal(f->cancels, 1);
    assert_int_equal(f->http_cancels, 1);
    client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(messages_go_both_ways),
        TEST(what_comes_with_the_handshake_is_taken),
        TEST(wrong_handshakes_are_answered),
        TEST(a_close_of_the_client_is_answered_and_ends_the_call),
        TEST(the_end_of_the_call_closes_the_socket),
        TEST(whoever_breaks_the_rules_is_told_and_cut),
        TEST(a_message_above_the_limit_is_refused),
        TEST(a_client_that_does_not_read_is_not_heard),
        TEST(closing_the_server_cancels_sockets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
