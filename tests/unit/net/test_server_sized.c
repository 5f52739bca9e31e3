/* Answers whose length is told before they are written in pieces, and refusals of bodies in the
 * service's own words. */
#include "server_fixture.h"

enum { LENGTH = 3000000, PIECE = 100000, QUEUED_MAX = 256 * 1024 };

static size_t left;
static size_t queued_most;

static void write_pieces(struct http_request *request)
{
    while (left > 0 && http_reply_queued(request) < QUEUED_MAX) {
        size_t n = MIN(left, (size_t)PIECE);
        uint8_t *to = http_reply_space(request, n);

        for (size_t i = 0; i < n; i++)
            to[i] = (uint8_t)((LENGTH - left + i) % 251);
        http_reply_space_send(request);
        left -= n;
        queued_most = MAX(queued_most, http_reply_queued(request));
    }
    if (left == 0)
        http_reply_end(request);
}

static void on_http(void *ctx, struct http_request *request)
{
    (void)ctx;
    left = LENGTH;
    queued_most = 0;
    http_on_drain(request, write_pieces);
    http_reply_begin_sized(request, 200, "application/octet-stream", LENGTH);
    write_pieces(request);
}

static void check_bytes(const uint8_t *data, size_t len)
{
    assert_int_equal(len, LENGTH);
    for (size_t i = 0; i < len; i++)
        if (data[i] != i % 251)
            fail_msg("byte %zu is %u", i, data[i]);
}

static void sized_answer_is_framed_by_its_length_and_never_lies_there_whole(void **state)
{
    struct fixture *f = *state;
    const uint8_t *body;
    struct client *c;

    f->options.on_http = on_http;
    fixture_start(f);
    c = client_new(f);
    for (int i = 0; i < 2; i++) { /* the connection goes on */
        send_text(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        RUN_UNTIL(f, c->in.len > LENGTH);
        body = memmem(c->in.data, c->in.len, "\r\n\r\n", 4);
        assert_non_null(body);
        assert_non_null(memmem(c->in.data, (size_t)(body - c->in.data), "Content-Length: 3000000",
                               strlen("Content-Length: 3000000")));
        assert_null(memmem(c->in.data, (size_t)(body - c->in.data), "Transfer-Encoding",
                           strlen("Transfer-Encoding")));
        body += 4;
        RUN_UNTIL(f, c->in.len >= (size_t)(body - c->in.data) + LENGTH);
        check_bytes(body, c->in.len - (size_t)(body - c->in.data));
        assert_true(queued_most <= QUEUED_MAX + 2 * PIECE);
        buf_reset(&c->in);
    }
    client_free(c);
}

static void sized_answer_over_http_2_waits_for_the_window(void **state)
{
    const struct header get[] = {{":method", "GET"}, {"content-type", NULL}, {NULL, NULL}};
    struct fixture *f = *state;
    struct client *c;

    left = LENGTH;
    f->options.http_over_h2 = true;
    f->options.on_http = on_http;
    fixture_start(f);
    c = client_h2(f);
    RUN_UNTIL(f, c->settings == 1);
    send_headers(c, 1, "/", get, true);
    RUN_UNTIL(f, left < LENGTH);
    assert_true(left > 0); /* the client has opened no window for all of it */
    send_window(c, 0, 1 << 24);
    send_window(c, 1, 1 << 24);
    check_bytes(await_end(c, 1)->data.data, await_end(c, 1)->data.len);
    assert_true(queued_most <= QUEUED_MAX + 2 * PIECE);
    client_free(c);
}

static void body_over_the_limit_is_refused_in_the_words_of_the_service(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    f->options.too_large_type = "application/json";
    f->options.too_large_body = "{\"too\":\"large\"}";
    f->options.http_body_size_max = 1000;
    fixture_start(f);
    c = client_new(f);
    send_text(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n");
    RUN_UNTIL(f, c->eof);
    (void)buf_append_u8(&c->in, '\0');
    assert_non_null(strstr((char *)c->in.data, "HTTP/1.1 413 "));
    assert_non_null(strstr((char *)c->in.data, "Content-Type: application/json\r\n"));
    assert_non_null(strstr((char *)c->in.data, "\r\n\r\n{\"too\":\"large\"}"));
    client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sized_answer_is_framed_by_its_length_and_never_lies_there_whole),
        TEST(sized_answer_over_http_2_waits_for_the_window),
        TEST(body_over_the_limit_is_refused_in_the_words_of_the_service),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
