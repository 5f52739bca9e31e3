/* HTTP/1.1 on the same port: what is served, what is refused (RFC 9112), and for how long the
 * server waits. */
#include "tests/unit/net/server_fixture.h"

/* The bytes of the first answer in c->in, head and body; 0 if it is not whole. */
static size_t answer_len(const struct client *c, bool head_only)
{
    const char *text = (const char *)c->in.data;
    const char *end = c->in.len > 0 ? memmem(text, c->in.len, "\r\n\r\n", 4) : NULL;
    const char *length;
    size_t len;

    if (end == NULL)
        return 0;
    len = (size_t)(end - text) + 4;
    length = memmem(text, len, "Content-Length: ", 16);
    if (length != NULL && !head_only)
        len += strtoul(length + 16, NULL, 10);
    return c->in.len >= len ? len : 0;
}

/* Waits for the next answer and takes it; the caller frees it. */
static char *take_answer_as(struct client *c, bool head_only)
{
    size_t len;
    char *text;

    while ((len = answer_len(c, head_only)) == 0) {
        assert_false(c->eof);
        turn(c->f);
    }
    text = xcalloc(1, len + 1);
    memcpy(text, c->in.data, len);
    buf_consume(&c->in, len);
    return text;
}

static char *take_answer(struct client *c)
{
    return take_answer_as(c, false);
}

static void expect(struct client *c, const char *status_line, const char *body)
{
    char *answer = take_answer(c);

    if (strncmp(answer, status_line, strlen(status_line)) != 0)
        fail_msg("wanted '%s', got '%s'", status_line, answer);
    if (body != NULL)
        assert_string_equal(strstr(answer, "\r\n\r\n") + 4, body);
    free(answer);
}

static void expect_close(struct client *c)
{
    RUN_UNTIL(c->f, c->eof);
    assert_int_equal(c->in.len, 0);
}

/* ---- served ---- */

static void get_is_answered_with_the_headers_of_etcd(void **state)
{
    const char *const wants[] = {
        "HTTP/1.1 200 OK\r\n",
        "Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\n",
        "Access-Control-Allow-Origin: *\r\n",
        "Access-Control-Allow-Headers: accept, content-type, authorization\r\n",
        "Content-Type: text/plain\r\n",
        "Content-Length: 19\r\n",
        "Date: ",
        " GMT\r\n",
    };
    struct fixture *f = *state;
    struct client *c;
    char *answer;

    fixture_start(f);
    c = client_new(f);
    send_text(c, "GET /a%20b?x=%20&y HTTP/1.1\r\nHost: h\r\n\r\n");
    answer = take_answer(c);
    for (size_t i = 0; i < ARRAY_LEN(wants); i++)
        assert_non_null(strstr(answer, wants[i]));
    assert_null(strstr(answer, "Connection:"));
    assert_string_equal(strstr(answer, "\r\n\r\n") + 4, "GET|/a b|x=%20&y||0");
    free(answer);
    client_free(c);
}

static void connection_is_kept_for_the_next_request(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_new(f);
    for (int i = 0; i < 3; i++) {
        send_text(c, "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
        expect(c, "HTTP/1.1 200 ", "POST|/p||body|4");
    }
    send_text(c, "GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    expect(c, "HTTP/1.1 404 ", NULL);
    expect_close(c);
    client_free(c);
}

static void http_1_0_closes_unless_asked_not_to(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    char *answer;

    fixture_start(f);
    c = client_new(f);
    send_text(c, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    answer = take_answer(c);
    assert_non_null(strstr(answer, "Connection: keep-alive\r\n"));
    free(answer);
    send_text(c, "GET / HTTP/1.0\r\n\r\n");
    expect(c, "HTTP/1.1 200 ", NULL);
    expect_close(c);
    client_free(c);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_new(f);
    send_text(c, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
                 "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
                 "GET /3 HTTP/1.1\r\nHost: h\r\n\r\nGET /4 HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(c, "HTTP/1.1 200 ", "GET|/1|||0");
    RUN_UNTIL(f, f->http_held != NULL);
    assert_int_equal(f->http_requests, 2); /* the third waits for the second */
    assert_int_equal(net_server_calls(f->server), 1);
    http_reply(f->http_held, 503, "text/plain", slice_str("later"));
    f->http_held = NULL;
    assert_int_equal(f->http_requests, 2);
    expect(c, "HTTP/1.1 503 Service Unavailable\r\n", "later");
    expect(c, "HTTP/1.1 200 ", "GET|/3|||0");
    expect(c, "HTTP/1.1 200 ", "GET|/4|||0");
    assert_int_equal(net_server_calls(f->server), 0);
    client_free(c);
}

/* A client that pipelines without end is not read from while its first request is under way. */
static void pipelining_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct net_conn *conn;
    char *much = xcalloc(1, 16 << 20);

    memset(much, 'x', 16 << 20);
    fixture_start(f);
    c = client_new(f);
    send_text(c, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(f, f->http_held != NULL);
    conn = f->http_held->conn;
    send_bytes(c, much, 16 << 20);
    RUN_UNTIL(f, conn->paused);
    for (int i = 0; i < 20; i++)
        assert_server_serves(f);
    assert_int_equal(f->http_cancels, 0); /* it would be, had the input run over */
    assert_true(c->out.len > 4 << 20);
    http_reply(f->http_held, 200, NULL, slice_of(NULL, 0));
    f->http_held = NULL;
    expect(c, "HTTP/1.1 200 ", "");
    expect(c, "HTTP/1.1 431 ", NULL); /* it was no request after all */
    free(much);
    client_free(c);
}

static void head_has_the_length_but_no_body(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    char *answer;

    fixture_start(f);
    c = client_new(f);
    send_text(c, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    answer = take_answer_as(c, true);
    assert_non_null(strstr(answer, "Content-Length: 10\r\n"));
    free(answer);
    expect(c, "HTTP/1.1 200 ", "GET|/|||0");
    client_free(c);
}

static void options_is_answered_on_any_path(void **state)
{
    const char *const targets[] = {"/", "/v3/kv/put", "*"};
    struct fixture *f = *state;
    struct client *c;
    char text[128];

    fixture_start(f);
    c = client_new(f);
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        char *answer;

        (void)snprintf(text, sizeof text, "OPTIONS %s HTTP/1.1\r\nHost: h\r\n\r\n", targets[i]);
        send_text(c, text);
        answer = take_answer(c);
        assert_memory_equal(answer, "HTTP/1.1 200 OK\r\n", 17);
        assert_non_null(strstr(answer, "Access-Control-Allow-Methods: "));
        assert_non_null(strstr(answer, "Content-Length: 0\r\n"));
        free(answer);
    }
    assert_int_equal(f->http_requests, 0);
    client_free(c);
}

static void only_listed_origins_are_allowed(void **state)
{
    static const char *const origins[] = {"http://a", "http://b", NULL};
    struct fixture *f = *state;
    struct client *c;
    char *answer;

    f->options.cors_origins = origins;
    fixture_start(f);
    c = client_new(f);
    send_text(c, "GET / HTTP/1.1\r\nHost: h\r\nOrigin: http://b\r\n\r\n");
    answer = take_answer(c);
    assert_non_null(strstr(answer, "Access-Control-Allow-Origin: http://b\r\n"));
    free(answer);
    send_text(c, "GET / HTTP/1.1\r\nHost: h\r\nOrigin: http://c\r\n\r\n");
    answer = take_answer(c);
    assert_null(strstr(answer, "Access-Control"));
    free(answer);
    client_free(c);
}

static void chunked_body_is_joined(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_new(f);
    send_text(c,
              "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
              "5\r\nhello\r\n1;ext=\"v\"\r\n \r\n005\r\nworld\r\n0\r\nTrailer: thrown away\r\n\r\n"
              "GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(c, "HTTP/1.1 200 ", "POST|/c||hello world|11");
    expect(c, "HTTP/1.1 200 ", "GET|/next|||0");
    client_free(c);
}

static void single_bytes_are_understood(void **state)
{
    static const char request[] =
        "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        "A\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_new(f);
    for (size_t i = 0; i < sizeof(request) - 1; i++) {
        send_bytes(c, request + i, 1);
        RUN_UNTIL(f, c->out.len == 0);
    }
    expect(c, "HTTP/1.1 200 ", "POST|/c||0123456789|10");
    expect(c, "HTTP/1.1 200 ", "GET|/|||0");
    client_free(c);
}

/* "P" and "PR" could still become the preface of HTTP/2. */
static void methods_that_begin_like_the_preface_are_http_1(void **state)
{
    const char *const methods[] = {"P", "PR", "PRI", "PUT", "POST", "PATCH"};
    struct fixture *f = *state;

    fixture_start(f);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct client *c = client_new(f);
        char text[64];

        send_text(c, methods[i]);
        RUN_UNTIL(f, c->out.len == 0 && f->server->conn_count == 1);
        send_text(c, " /m HTTP/1.1\r\nHost: h\r\n\r\n");
        (void)snprintf(text, sizeof text, "%s|/m|||0", methods[i]);
        expect(c, "HTTP/1.1 200 ", text);
        client_free(c);
        RUN_UNTIL(f, f->server->conn_count == 0);
    }
}

static void continue_is_said_to_who_waits_for_it(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_new(f);
    send_text(c, "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    expect(c, "HTTP/1.1 100 Continue\r\n\r\n", "");
    assert_int_equal(f->http_requests, 0);
    send_text(c, "ok");
    expect(c, "HTTP/1.1 200 ", "PUT|/||ok|2");
    send_text(c, "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n");
    expect(c, "HTTP/1.1 200 ", NULL);
    client_free(c);
}

static void absolute_target_names_the_same_path(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_new(f);
    send_text(c, "GET http://other:1/p?q HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(c, "HTTP/1.1 200 ", "GET|/p|q||0");
    send_text(c, "GET http://other HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(c, "HTTP/1.1 200 ", "GET|/|||0");
    client_free(c);
}

static void answer_headers_cannot_be_split(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    char *answer;

    fixture_start(f);
    c = client_new(f);
    send_text(c, "GET /extra HTTP/1.1\r\nHost: h\r\n\r\n");
    answer = take_answer(c);
    assert_non_null(strstr(answer, "X-Extra: one  Evil: two\r\n"));
    assert_null(strstr(answer, "\nEvil"));
    free(answer);
    client_free(c);
}

static void largest_body_passes_and_one_more_byte_does_not(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    uint8_t *big = xcalloc(1, 2097152);

    memset(big, 'b', 2097152);
    fixture_start(f);
    c = client_new(f);
    send_text(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2097152\r\n\r\n");
    send_bytes(c, big, 2097152);
    expect(c, "HTTP/1.1 200 ", NULL);
    send_text(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2097153\r\n\r\n");
    expect(c, "HTTP/1.1 413 ", NULL); /* before a byte of it is sent */
    expect_close(c);
    client_free(c);
    c = client_new(f);
    send_text(
        c, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n200000\r\n");
    expect(c, "HTTP/1.1 413 ", NULL);
    client_free(c);
    free(big);
}

static void big_answer_arrives_whole(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_new(f);
    send_text(c, "GET /big?20000000 HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(c, "HTTP/1.1 200 ", NULL);
    expect(c, "HTTP/1.1 200 ", "GET|/|||0");
    client_free(c);
}

static void lost_client_cancels_its_request_once(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_new(f);
    send_text(c, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(f, f->http_held != NULL);
    client_free(c);
    RUN_UNTIL(f, f->http_cancels == 1);
    RUN_UNTIL(f, f->server->conn_count == 0);
    assert_int_equal(net_server_calls(f->server), 0);
}

static void drain_closes_idle_connections_and_answers_the_rest(void **state)
{
    struct fixture *f = *state;
    struct client *idle, *busy;
    char *answer;

    fixture_start(f);
    idle = client_new(f);
    busy = client_new(f);
    send_text(idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(idle, "HTTP/1.1 200 ", NULL);
    send_text(busy, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(f, f->http_held != NULL);
    net_server_drain(f->server);
    expect_close(idle);
    http_reply(f->http_held, 200, "text/plain", slice_str("last"));
    f->http_held = NULL;
    answer = take_answer(busy);
    assert_non_null(strstr(answer, "Connection: close\r\n"));
    free(answer);
    expect_close(busy);
    client_free(idle);
    client_free(busy);
}

/* ---- refused ---- */

static const struct bad {
    const char *label;
    const char *request;
    const char *status_line;
} bads[] = {
/* clang-format off */
#define HOST "Host: h\r\n"
    {"length twice", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 400 "},
    {"two lengths in one", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\nx", "HTTP/1.1 400 "},
    {"length and chunked", "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 "},
    {"chunked twice", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 "},
    {"chunked, identity", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n", "HTTP/1.1 501 "},
    {"gzip, chunked", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", "HTTP/1.1 501 "},
    {"xchunked", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", "HTTP/1.1 501 "},
    {"chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 "},
    {"negative length", "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", "HTTP/1.1 400 "},
    {"signed length", "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\nx", "HTTP/1.1 400 "},
    {"hex length", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\nx", "HTTP/1.1 400 "},
    {"empty length", "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", "HTTP/1.1 400 "},
    {"length wraps", "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\nx", "HTTP/1.1 413 "},
    {"space before colon", "POST / HTTP/1.1\r\n" HOST "Content-Length : 1\r\n\r\nx", "HTTP/1.1 400 "},
    {"folded line", "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", "HTTP/1.1 400 "},
    {"bare LF", "GET / HTTP/1.1\n" HOST "\r\n", "HTTP/1.1 400 "},
    {"bare LF at the end", "GET / HTTP/1.1\r\n" HOST "\n", "HTTP/1.1 400 "},
    {"CR in a value", "GET / HTTP/1.1\r\n" HOST "X: a\rTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 400 "},
    {"no colon", "GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", "HTTP/1.1 400 "},
    {"empty name", "GET / HTTP/1.1\r\n" HOST ": x\r\n\r\n", "HTTP/1.1 400 "},
    {"no host", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
    {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 "},
    {"no version", "GET /\r\n\r\n", "HTTP/1.1 400 "},
    {"two spaces", "GET  / HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 "},
    {"space in target", "GET /a b HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 "},
    {"relative target", "GET a HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 "},
    {"star for GET", "GET * HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 "},
    {"CONNECT", "CONNECT h:1 HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 "},
    {"bad escape", "GET /%zz HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 "},
    {"cut escape", "GET /%4 HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 "},
    {"escaped NUL", "GET /a%00b HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 "},
    {"odd method", "G(T / HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 "},
    {"TLS hello", "\x16\x03\x01\x02", "HTTP/1.1 400 "},
    {"version 2.0", "GET / HTTP/2.0\r\n" HOST "\r\n", "HTTP/1.1 505 "},
    {"version 1.2", "GET / HTTP/1.2\r\n" HOST "\r\n", "HTTP/1.1 505 "},
    {"version 1.10", "GET / HTTP/1.10\r\n" HOST "\r\n", "HTTP/1.1 505 "},
    {"other protocol", "GET / ICY/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 "},
    {"expect more", "GET / HTTP/1.1\r\n" HOST "Expect: wonders\r\n\r\n", "HTTP/1.1 417 "},
    {"chunk size sign", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n", "HTTP/1.1 400 "},
    {"chunk size 0x", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n", "HTTP/1.1 400 "},
    {"chunk size empty", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n\r\n", "HTTP/1.1 400 "},
    {"chunk size space", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n", "HTTP/1.1 400 "},
    {"chunk size wraps", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n100000001\r\nx\r\n", "HTTP/1.1 413 "},
    {"chunk line with LF", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1;a\nx\r\nx\r\n", "HTTP/1.1 400 "},
    {"chunk without CRLF", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nxyz", "HTTP/1.1 400 "},
    {"bad trailer", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\nbad\r\n\r\n", "HTTP/1.1 400 "},
    /* clang-format on */
};

/* Behind each of them comes what could be taken for a second request: it must not be. */
static void malformed_requests_end_the_connection(void **state)
{
    struct fixture *f = *state;

    fixture_start(f);
    for (size_t i = 0; i < ARRAY_LEN(bads); i++) {
        struct client *c = client_new(f);
        char *answer;

        send_text(c, bads[i].request);
        send_text(c, "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
        answer = take_answer(c);
        if (strncmp(answer, bads[i].status_line, strlen(bads[i].status_line)) != 0)
            fail_msg("%s: '%s'", bads[i].label, answer);
        assert_non_null(strstr(answer, "Connection: close\r\n"));
        free(answer);
        if (i == 0) /* a second of lingering each: once is enough */
            expect_close(c);
        assert_int_equal(c->in.len, 0);
        client_free(c);
    }
    assert_int_equal(f->http_requests, 0);
}

static void nul_in_a_header_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_new(f);
    send_bytes(c, "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 29);
    expect(c, "HTTP/1.1 400 ", NULL);
    client_free(c);
}

static void too_many_and_too_long_headers_are_refused(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    char *line = xcalloc(1, 20001);

    fixture_start(f);
    c = client_new(f);
    send_text(c, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 127; i++)
        send_text(c, "a: b\r\n");
    send_text(c, "\r\n");
    expect(c, "HTTP/1.1 200 ", NULL);
    send_text(c, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 128; i++)
        send_text(c, "a: b\r\n");
    send_text(c, "\r\n");
    expect(c, "HTTP/1.1 431 ", NULL);
    client_free(c);

    memset(line, 'x', 20000);
    c = client_new(f);
    send_text(c, "GET /");
    send_text(c, line);
    expect(c, "HTTP/1.1 431 ", NULL); /* no need for its end */
    client_free(c);
    free(line);
}

/* ---- deadlines ---- */

static void slow_heads_and_bodies_are_answered_408(void **state)
{
    const char *const slow[] = {
        "G", "GET / HTTP/1.1\r\nHost: h\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5"};
    struct fixture *f = *state;

    f->options.preface_timeout_ms = 50;
    fixture_start(f);
    for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
        struct client *c = client_new(f);

        send_text(c, slow[i]);
        expect(c, "HTTP/1.1 408 Request Timeout\r\n", NULL);
        client_free(c);
    }
}

/* Dripping bytes does not help: the clock starts with the first of them. */
static void dripping_head_does_not_extend_its_deadline(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    uint64_t begun;
    int sent = 0;

    f->options.preface_timeout_ms = 100;
    fixture_start(f);
    c = client_new(f);
    send_text(c, "GET / HTTP/1.1\r\nX: ");
    begun = uv_now(&f->loop);
    while (answer_len(c, false) == 0) {
        if (c->out.len == 0 && uv_now(&f->loop) < begun + 10000 && sent++ < 8000)
            send_text(c, "x"); /* no more than a head may have */
        turn(f);
    }
    expect(c, "HTTP/1.1 408 ", NULL);
    assert_true(uv_now(&f->loop) < begun + 5000);
    client_free(c);
}

static void idle_connections_are_closed_in_silence(void **state)
{
    struct fixture *f = *state;
    struct client *fresh, *used;

    f->options.preface_timeout_ms = 50;
    fixture_start(f);
    fresh = client_new(f);
    used = client_new(f);
    send_text(used, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(used, "HTTP/1.1 200 ", NULL);
    expect_close(used);
    expect_close(fresh);
    client_free(fresh);
    client_free(used);
}

static void service_may_take_its_time(void **state)
{
    struct fixture *f = *state;
    struct client *busy, *idle;

    f->options.preface_timeout_ms = 30;
    fixture_start(f);
    busy = client_new(f);
    send_text(busy, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(f, f->http_held != NULL);
    idle = client_new(f);
    expect_close(idle); /* so long it took */
    assert_int_equal(f->http_cancels, 0);
    http_reply(f->http_held, 200, "text/plain", slice_str("slow"));
    f->http_held = NULL;
    expect(busy, "HTTP/1.1 200 ", "slow");
    client_free(idle);
    client_free(busy);
}

/* ---- HTTP over HTTP/2 ---- */

static void other_requests_over_http_2_reach_the_same_handler(void **state)
{
    const struct header get[] = {{":method", "GET"}, {"content-type", NULL}, {NULL, NULL}};
    const struct header put[] = {
        {":method", "PUT"}, {"content-type", "application/json"}, {NULL, NULL}};
    const struct header head[] = {{":method", "HEAD"}, {"content-type", NULL}, {NULL, NULL}};
    const struct header options[] = {{":method", "OPTIONS"}, {"content-type", NULL}, {NULL, NULL}};
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    f->options.http_over_h2 = true;
    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/health?serializable=1", get, true);
    s = await_end(c, 1);
    assert_int_equal(s->status, 200);
    assert_string_equal(s->content_type, "text/plain");
    assert_int_equal(s->data.len, strlen("GET|/health|serializable=1||0"));
    assert_memory_equal(s->data.data, "GET|/health|serializable=1||0", s->data.len);
    assert_non_null(strstr(s->headers, "access-control-allow-origin: *\n"));

    send_headers(c, 3, "/p", put, false);
    send_data(c, 3, "bo", 2, false);
    send_data(c, 3, "dy", 2, true);
    s = await_end(c, 3);
    assert_memory_equal(s->data.data, "PUT|/p||body|4", s->data.len);

    send_headers(c, 5, "/", head, true);
    s = await_end(c, 5);
    assert_int_equal(s->data.len, 0);
    assert_non_null(strstr(s->headers, "content-length: 10\n"));

    send_headers(c, 7, "/", options, true);
    assert_int_equal(await_end(c, 7)->status, 200);
    assert_serves(c, 9);
    client_free(c);
}

static void http_over_http_2_is_bounded_and_cancelled(void **state)
{
    const struct header post[] = {{"content-type", "application/json"}, {NULL, NULL}};
    const struct header get[] = {{":method", "GET"}, {"content-type", NULL}, {NULL, NULL}};
    struct fixture *f = *state;
    struct client *c;
    uint8_t *big = xcalloc(1, 2097153);

    f->options.http_over_h2 = true;
    fixture_start(f);
    c = client_h2(f);
    RUN_UNTIL(f, c->settings == 1);
    send_headers(c, 1, "/p", post, false);
    send_data(c, 1, big, 2097153, false);
    assert_int_equal(await_end(c, 1)->status, 413);
    send_headers(c, 3, "/%zz", get, true);
    assert_int_equal(await_end(c, 3)->status, 400);
    send_headers(c, 5, "/hold", get, true);
    RUN_UNTIL(f, f->http_held != NULL);
    send_reset(c, 5, NGHTTP2_CANCEL);
    RUN_UNTIL(f, f->http_cancels == 1);
    send_headers(c, 7, "/hold", get, true);
    RUN_UNTIL(f, f->http_held != NULL);
    http_reply(f->http_held, 200, "text/plain", slice_str("late"));
    f->http_held = NULL;
    assert_memory_equal(await_end(c, 7)->data.data, "late", 4);
    send_headers(c, 9, "/big?3000000", get, true);
    send_window(c, 0, 1 << 24);
    send_window(c, 9, 1 << 24);
    assert_int_equal(await_end(c, 9)->data.len, 3000000);
    assert_int_equal(f->http_cancels, 1);
    free(big);
    client_free(c);
    RUN_UNTIL(f, f->server->conn_count == 0);
    assert_int_equal(f->server->held, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(get_is_answered_with_the_headers_of_etcd),
        TEST(connection_is_kept_for_the_next_request),
        TEST(http_1_0_closes_unless_asked_not_to),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(pipelining_is_bounded),
        TEST(head_has_the_length_but_no_body),
        TEST(options_is_answered_on_any_path),
        TEST(only_listed_origins_are_allowed),
        TEST(chunked_body_is_joined),
        TEST(single_bytes_are_understood),
        TEST(methods_that_begin_like_the_preface_are_http_1),
        TEST(continue_is_said_to_who_waits_for_it),
        TEST(absolute_target_names_the_same_path),
        TEST(answer_headers_cannot_be_split),
        TEST(largest_body_passes_and_one_more_byte_does_not),
        TEST(big_answer_arrives_whole),
        TEST(lost_client_cancels_its_request_once),
        TEST(drain_closes_idle_connections_and_answers_the_rest),
        TEST(malformed_requests_end_the_connection),
        TEST(nul_in_a_header_is_refused),
        TEST(too_many_and_too_long_headers_are_refused),
        TEST(slow_heads_and_bodies_are_answered_408),
        TEST(dripping_head_does_not_extend_its_deadline),
        TEST(idle_connections_are_closed_in_silence),
        TEST(service_may_take_its_time),
        TEST(other_requests_over_http_2_reach_the_same_handler),
        TEST(http_over_http_2_is_bounded_and_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
