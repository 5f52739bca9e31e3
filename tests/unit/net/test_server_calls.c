/* gRPC as well-behaved clients use it, and their mistakes (etcd-api.md section 1). */
#include "tests/unit/net/server_fixture.h"

/* ---- the ordinary ---- */

static void unary_call_gets_headers_message_and_trailers(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Echo", "hello");
    s = await_end(c, 1);
    assert_int_equal(s->status, 200);
    assert_string_equal(s->content_type, "application/grpc");
    assert_message(s, 0, "hello");
    assert_int_equal(s->frames, 1);
    assert_int_equal(s->grpc_status, GRPC_OK);
    assert_string_equal(s->grpc_message, "");
    assert_int_equal(s->reset, -1);
    assert_int_equal(c->setting[NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS], UINT32_MAX);
    client_free(c);
}

static void empty_message_is_a_message(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Echo", "");
    s = await_end(c, 1);
    assert_int_equal(s->grpc_status, GRPC_OK);
    assert_message(s, 0, "");
    client_free(c);
}

static void services_with_equal_method_names_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Echo", "a");
    send_call(c, 3, "/t.U/Echo", "b");
    assert_message(await_end(c, 1), 0, "a");
    assert_message(await_end(c, 3), 0, "b");
    client_free(c);
}

/* Each byte in a write and a turn of its own. */
static void request_in_single_bytes_is_understood(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct buf bytes;
    struct stream *s;

    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Echo", "byte by byte");
    bytes = c->out;
    buf_init(&c->out, SIZE_MAX / 2);
    c->h2 = false; /* no SETTINGS ACK in the midst of it */
    for (size_t i = 0; i < bytes.len; i++) {
        send_bytes(c, bytes.data + i, 1);
        RUN_UNTIL(f, c->out.len == 0);
    }
    c->h2 = true;
    client_parse(c);
    s = await_end(c, 1);
    assert_int_equal(s->grpc_status, GRPC_OK);
    assert_message(s, 0, "byte by byte");
    buf_release(&bytes);
    client_free(c);
}

static void message_split_over_frames_and_half_close_apart_is_whole(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Echo", NULL, false);
    send_data(c, 1, "\0\0", 2, false);
    send_data(c, 1, "\0\0\7abc", 6, false);
    send_data(c, 1, "defg", 4, false);
    RUN_UNTIL(f, c->settings_acks == 1 && c->out.len == 0);
    assert_false(stream_of(c, 1)->ended);
    send_data(c, 1, "", 0, true);
    s = await_end(c, 1);
    assert_int_equal(s->grpc_status, GRPC_OK);
    assert_message(s, 0, "abcdefg");
    client_free(c);
}

static void unary_message_waits_for_the_half_close(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Hold", NULL, false);
    send_message(c, 1, slice_str("kept while the buffer moves on"), false);
    assert_serves(c, 3);
    assert_int_equal(f->held_count, 0);
    send_data(c, 1, "", 0, true);
    RUN_UNTIL(f, f->held_count == 1);
    client_free(c);
}

static void answer_from_a_later_turn_arrives(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct grpc_call *call;
    struct stream *s;

    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Hold", "x");
    RUN_UNTIL(f, f->held_count == 1);
    call = f->held[0];
    assert_string_equal(grpc_call_method(call)->name, "Hold");
    assert_memory_equal(grpc_call_peer(call), "127.0.0.1:", 10);
    assert_true(grpc_call_deadline(call) == UINT64_MAX);
    unhold(f, call);
    reply_bytes(call, slice_str("late"));
    grpc_call_reply(call);
    s = await_end(c, 1);
    assert_int_equal(s->grpc_status, GRPC_OK);
    assert_message(s, 0, "late");
    assert_int_equal(f->cancels, 0);
    client_free(c);
    assert_int_equal(f->cancels, 0);
}

static void server_stream_sends_all_messages_then_trailers(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Count", "2000");
    s = await_end(c, 1);
    assert_int_equal(s->grpc_status, GRPC_OK);
    assert_message(s, 0, "0");
    assert_message(s, 1999, "1999");
    assert_null(message_of(s, 2000).data);
    client_free(c);
}

static void bidi_stream_answers_each_message_and_ends_with_half_close(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Bidi", NULL, false);
    send_message(c, 1, slice_str("one"), false);
    s = stream_of(c, 1);
    RUN_UNTIL(f, message_of(s, 0).data != NULL);
    send_message(c, 1, slice_str("two"), false);
    send_message(c, 1, slice_str("three"), false);
    RUN_UNTIL(f, message_of(s, 2).data != NULL);
    assert_message(s, 1, "two");
    assert_message(s, 2, "three");
    assert_int_equal(f->half_closes, 0);
    send_data(c, 1, "", 0, true);
    await_end(c, 1);
    assert_int_equal(s->grpc_status, GRPC_OK);
    assert_int_equal(f->half_closes, 1);
    assert_int_equal(f->cancels, 0);
    client_free(c);
}

/* The client is told to stop sending as well: RST_STREAM with NO_ERROR behind the trailers. */
static void stream_ended_by_the_server_stops_the_client(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Bidi", NULL, false);
    send_message(c, 1, slice_str("quit"), false);
    send_message(c, 1, slice_str("not seen"), false);
    s = stream_of(c, 1);
    RUN_UNTIL(f, s->reset >= 0);
    assert_message(s, 0, "quit");
    assert_null(message_of(s, 1).data);
    assert_int_equal(s->grpc_status, GRPC_ABORTED);
    assert_string_equal(s->grpc_message, "told to quit");
    assert_int_equal(s->reset, NGHTTP2_NO_ERROR);
    assert_int_equal(f->cancels, 0);
    assert_serves(c, 3);
    client_free(c);
}

static void headers_are_found_by_name(void **state)
{
    const struct header extra[] = {{"token", "abc.1"}, {"hasleader", "true"}, {NULL, NULL}};
    const char *const wants[][2] = {{"token", "abc.1"},
                                    {"hasleader", "true"},
                                    {"authorization", "(absent)"},
                                    {"te", "(absent)"},
                                    {":authority", "localhost"}};
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (uint32_t i = 0; i < ARRAY_LEN(wants); i++) {
        send_headers(c, 2 * i + 1, "/t.T/Header", extra, false);
        send_message(c, 2 * i + 1, slice_str(wants[i][0]), true);
        assert_message(await_end(c, 2 * i + 1), 0, wants[i][1]);
    }
    client_free(c);
}

/* What etcd's clients put there is no authority: a URL, the path of a Unix socket, a list. */
static void any_authority_is_accepted(void **state)
{
    static const char *const texts[] = {"http://127.0.0.1:2379", "/run/kvd.sock", "",
                                        "#initially=[http://a:1;http://b:2]"};
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (uint32_t i = 0; i < ARRAY_LEN(texts); i++) {
        const struct header extra[] = {{":authority", texts[i]}, {NULL, NULL}};

        send_headers(c, 2 * i + 1, "/t.T/Header", extra, false);
        send_message(c, 2 * i + 1, slice_str(":authority"), true);
        assert_message(await_end(c, 2 * i + 1), 0, texts[i]);
    }
    client_free(c);
}

/* RFC 9113 sections 8.2 and 8.3: the stream is reset, the connection lives. */
static void header_fields_that_http2_forbids_reset_the_stream(void **state)
{
    static const struct header bad[] = {{"Upper", "case"},
                                        {"spa ce", "x"},
                                        {"control", "a\x01z"},
                                        {":after", "a field"},
                                        {":path", NULL},
                                        {":method", NULL},
                                        {":scheme", NULL},
                                        {"connection", "close"},
                                        {"te", "gzip"},
                                        {"upgrade", "h2c"},
                                        {"keep-alive", "1"},
                                        {"proxy-connection", "x"},
                                        {"transfer-encoding", "chunked"}};
    struct fixture *f = *state;
    struct client *c;
    uint32_t id = 1;

    fixture_start(f);
    c = client_h2(f);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++, id += 2) {
        const struct header extra[] = {bad[i], {NULL, NULL}};

        send_headers(c, id, "/t.T/Echo", extra, true);
        assert_int_equal(await_end(c, id)->reset, NGHTTP2_PROTOCOL_ERROR);
    }
    assert_serves(c, id);
    assert_int_equal(f->starts, 1);
    client_free(c);
}

static void a_hundred_headers_are_kept(void **state)
{
    struct header extra[101] = {{NULL, NULL}};
    char names[100][8];
    struct fixture *f = *state;
    struct client *c;

    for (size_t i = 0; i < 100; i++) {
        (void)snprintf(names[i], sizeof names[i], "h%u", (unsigned)i);
        extra[i] = (struct header){names[i], names[99 - i]};
        (void)snprintf(names[i], sizeof names[i], "h%u", (unsigned)i);
    }
    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Header", extra, false);
    send_message(c, 1, slice_str("h93"), true);
    assert_message(await_end(c, 1), 0, "h6");
    client_free(c);
}

static void content_type_with_subtype_is_answered_in_kind(void **state)
{
    const struct header extra[] = {{"content-type", "application/grpc+proto"}, {NULL, NULL}};
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Echo", extra, false);
    send_message(c, 1, slice_str("x"), true);
    assert_string_equal(await_end(c, 1)->content_type, "application/grpc+proto");
    client_free(c);
}

static void calls_and_bytes_are_counted(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Echo", "12345");
    send_call(c, 3, "/t.T/Fail", "why");
    send_call(c, 5, "/t.T/None", "unknown: not counted");
    await_end(c, 1);
    await_end(c, 3);
    await_end(c, 5);
    RUN_UNTIL(f, f->bytes_sent > 0);
    assert_int_equal(f->starts, 2);
    assert_int_equal(f->ends, 2);
    assert_int_equal(f->end_status[GRPC_OK], 1);
    assert_int_equal(f->end_status[GRPC_NOT_FOUND], 1);
    assert_int_equal(f->bytes_received, 8);
    assert_int_equal(f->bytes_sent, 5);
    assert_int_equal(net_server_calls(f->server), 0);
    client_free(c);
}

/* ---- refusals, with the texts of grpc-go ---- */

static const struct refusal {
    const char *label;
    const char *path;
    struct header extra[2];
    const char *data; /* with prefix */
    size_t data_len;
    int http_status;
    int status;
    const char *text;
} refusals[] = {
/* clang-format off */
#define DATA(bytes) bytes, sizeof(bytes) - 1
    {"unknown service", "/foo.Bar/Baz", {{0}}, DATA("\0\0\0\0\0"), 200, 12, "unknown service foo.Bar"},
    {"unknown method", "/t.T/Baz", {{0}}, DATA("\0\0\0\0\0"), 200, 12, "unknown method Baz for service t.T"},
    {"case matters", "/t.T/echo", {{0}}, DATA("\0\0\0\0\0"), 200, 12, "unknown method echo for service t.T"},
    {"no service", "/Echo", {{0}}, DATA("\0\0\0\0\0"), 200, 12, "malformed method name: \"/Echo\""},
    {"root", "/", {{0}}, DATA("\0\0\0\0\0"), 200, 12, "malformed method name: \"/\""},
    {"three parts", "/t.T/Echo/x", {{0}}, DATA("\0\0\0\0\0"), 200, 12, "unknown service t.T/Echo"},
    {"double slash", "//t.T/Echo", {{0}}, DATA("\0\0\0\0\0"), 200, 12, "unknown service /t.T"},
    {"query", "/t.T/Echo?x", {{0}}, DATA("\0\0\0\0\0"), 200, 12, "unknown method Echo?x for service t.T"},
    {"gzip", "/t.T/Echo", {{"grpc-encoding", "gzip"}}, DATA("\1\0\0\0\1x"), 200, 12,
     "grpc: Decompressor is not installed for grpc-encoding \"gzip\""},
    {"compressed flag alone", "/t.T/Echo", {{0}}, DATA("\1\0\0\0\1x"), 200, 13,
     "grpc: compressed flag set with identity or empty encoding"},
    {"flag 2", "/t.T/Echo", {{0}}, DATA("\2\0\0\0\1x"), 200, 13, "grpc: received unexpected payload format 2"},
    {"one byte too large", "/t.T/Echo", {{0}}, DATA("\0\0\x20\0\1"), 200, 8,
     "grpc: received message larger than max (2097153 vs. 2097152)"},
    {"4 GiB", "/t.T/Bidi", {{0}}, DATA("\0\xff\xff\xff\xff"), 200, 8,
     "grpc: received message larger than max (4294967295 vs. 2097152)"},
    {"no message", "/t.T/Echo", {{0}}, DATA(""), 200, 13,
     "cardinality violation: received no request message from non-client-streaming RPC"},
    {"no message to a stream", "/t.T/Count", {{0}}, DATA(""), 200, 13,
     "cardinality violation: received no request message from non-client-streaming RPC"},
    {"half a prefix", "/t.T/Echo", {{0}}, DATA("\0\0\0"), 200, 13, "unexpected EOF"},
    {"half a message", "/t.T/Echo", {{0}}, DATA("\0\0\0\0\3ab"), 200, 13, "unexpected EOF"},
    {"half a message in a stream", "/t.T/Bidi", {{0}}, DATA("\0\0\0\0\3ab"), 200, 13, "unexpected EOF"},
    {"two messages", "/t.T/Echo", {{0}}, DATA("\0\0\0\0\1a\0\0\0\0\1b"), 200, 13,
     "cardinality violation: received multiple request messages for non-client-streaming RPC"},
    {"timeout without unit", "/t.T/Echo", {{"grpc-timeout", "12"}}, DATA("\0\0\0\0\0"), 400, 13,
     "malformed grpc-timeout: \"12\""},
    {"timeout of 9 digits", "/t.T/Echo", {{"grpc-timeout", "123456789S"}}, DATA("\0\0\0\0\0"), 400, 13,
     "malformed grpc-timeout: \"123456789S\""},
    {"timeout without digits", "/t.T/Echo", {{"grpc-timeout", "S"}}, DATA("\0\0\0\0\0"), 400, 13,
     "malformed grpc-timeout: \"S\""},
    {"timeout over at once", "/t.T/Hold", {{"grpc-timeout", "0n"}}, DATA("\0\0\0\0\0"), 200, 4,
     "context deadline exceeded"},
    {"GET", "/t.T/Echo", {{":method", "GET"}}, DATA("\0\0\0\0\0"), 405, 13,
     "Received a HEADERS frame with :method \"GET\" which should be POST"},
    {"json", "/t.T/Echo", {{"content-type", "application/json"}}, DATA("\0\0\0\0\0"), 415, 3,
     "invalid gRPC request content-type \"application/json\""},
    {"grpc-web", "/t.T/Echo", {{"content-type", "application/grpc-web"}}, DATA("\0\0\0\0\0"), 415, 3,
     "invalid gRPC request content-type \"application/grpc-web\""},
    {"no content type", "/t.T/Echo", {{"content-type", NULL}}, DATA("\0\0\0\0\0"), 415, 3,
     "invalid gRPC request content-type \"\""},
    /* clang-format on */
};

/* All on one connection, which stays good. */
static void wrong_requests_are_refused_with_the_texts_of_etcd(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    uint32_t id = 1;

    fixture_start(f);
    c = client_h2(f);
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++, id += 2) {
        const struct refusal *r = &refusals[i];
        const struct header extra[] = {r->extra[0], {NULL, NULL}};
        struct stream *s;

        send_headers(c, id, r->path, extra[0].name != NULL ? extra : NULL, false);
        send_data(c, id, r->data, r->data_len, true);
        s = await_end(c, id);
        if (s->status != r->http_status || s->grpc_status != r->status ||
            strcmp(s->grpc_message, r->text) != 0)
            fail_msg("%s: got %d %d '%s'", r->label, s->status, s->grpc_status, s->grpc_message);
        assert_int_equal(s->data.len, 0);
    }
    assert_int_equal(f->held_count, 0);
    assert_serves(c, id);
    client_free(c);
}

/* Headers with END_STREAM and no DATA at all. */
static void unary_call_without_body_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Echo", NULL, true);
    assert_int_equal(await_end(c, 1)->grpc_status, GRPC_INTERNAL);
    client_free(c);
}

static void refusal_does_not_wait_for_the_body(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Echo", NULL, false);
    send_data(c, 1, "\0\x7f\0\0\0", 5, false);
    s = stream_of(c, 1);
    RUN_UNTIL(f, s->reset >= 0);
    assert_int_equal(s->grpc_status, GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(s->reset, NGHTTP2_NO_ERROR);
    /* What is on the way is swallowed. */
    send_data(c, 1, "more of it", 10, false);
    assert_serves(c, 3);
    client_free(c);
}

static void largest_message_passes_without_a_round_trip(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;
    struct slice got;
    uint8_t *big = xmalloc(2097152);

    for (size_t i = 0; i < 2097152; i++)
        big[i] = (uint8_t)(i >> 7);
    fixture_start(f);
    c = client_h2(f);
    send_window(c, 0, 1 << 28);
    RUN_UNTIL(f, c->settings == 1); /* else the default window would still hold */
    assert_true(c->setting[NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE] > 2097152 + 5);
    send_headers(c, 1, "/t.T/Echo", NULL, false);
    send_message(c, 1, slice_of(big, 2097152), true);
    send_window(c, 1, 1 << 28);
    s = await_end(c, 1);
    assert_int_equal(s->grpc_status, GRPC_OK);
    got = message_of(s, 0);
    assert_int_equal(got.len, 2097152);
    assert_memory_equal(got.data, big, got.len);
    free(big);
    client_free(c);
}

/* 64 MiB through one stream and a connection window of 16 MiB: credit must come back. */
static void upload_without_end_gets_its_windows_back(void **state)
{
    enum { MESSAGES = 64, SIZE = 1 << 20 };
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;
    uint8_t *big = xcalloc(1, SIZE);

    fixture_start(f);
    c = client_h2(f);
    send_setting(c, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INT32_MAX);
    send_window(c, 0, 1 << 30);
    RUN_UNTIL(f, c->settings_acks == 2);
    send_headers(c, 1, "/t.T/Bidi", NULL, false);
    s = stream_of(c, 1);
    for (int i = 0; i < MESSAGES; i++) {
        send_message(c, 1, slice_of(big, SIZE), false);
        RUN_UNTIL(f, s->data.len == (size_t)(i + 1) * (SIZE + 5) || s->reset >= 0 || c->goaway);
        assert_int_equal(s->reset, -1);
        assert_false(c->goaway);
    }
    /* Both kinds came: for connection and stream. */
    assert_true(c->window_updates > 2 * (MESSAGES * SIZE) / (16 << 20));
    free(big);
    client_free(c);
}

static void status_text_is_escaped_and_repaired(void **state)
{
    const char *const texts[][2] = {
        {"plain ~ text", "plain ~ text"},
        {"100%", "100%25"},
        {"two\nlines", "two%0Alines"},
        {"h\xc3\xa9", "h%C3%A9"},
        {"bad \xff byte", "bad %EF%BF%BD byte"},
        {"cut \xe2\x82", "cut %EF%BF%BD%EF%BF%BD"},
        {"surrogate \xed\xa0\x80", "surrogate %EF%BF%BD%EF%BF%BD%EF%BF%BD"},
        {"overlong \xc0\xaf", "overlong %EF%BF%BD%EF%BF%BD"},
        {"\xf0\x9f\x98\x80", "%F0%9F%98%80"},
    };
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (uint32_t i = 0; i < ARRAY_LEN(texts); i++) {
        send_call(c, 2 * i + 1, "/t.T/Fail", texts[i][0]);
        assert_string_equal(await_end(c, 2 * i + 1)->grpc_message, texts[i][1]);
        assert_int_equal(stream_of(c, 2 * i + 1)->grpc_status, GRPC_NOT_FOUND);
    }
    client_free(c);
}

static void status_names_are_those_of_grpc_go(void **state)
{
    (void)state;
    assert_string_equal(grpc_status_name(GRPC_OK), "OK");
    assert_string_equal(grpc_status_name(GRPC_CANCELLED), "Canceled");
    assert_string_equal(grpc_status_name(GRPC_DEADLINE_EXCEEDED), "DeadlineExceeded");
    assert_string_equal(grpc_status_name(GRPC_UNAUTHENTICATED), "Unauthenticated");
    assert_string_equal(grpc_status_name((enum grpc_status)99), "Unknown");
}

static void timeouts_are_read_in_all_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {{"1H", 3600000},     {"2M", 120000},   {"3S", 3000},
                {"4m", 4},           {"5000u", 5},     {"1u", 1},
                {"6000000n", 6},     {"0m", 0},        {"99999999H", 359999996400000},
                {"00000001S", 1000}, {"10000001n", 11}};
    const char *const bad[] = {"",    "1",    "S",   "1X",  "-1S",
                               "+1S", "1.5S", " 1S", "1 S", "123456789m"};
    uint64_t ms;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(grpc__timeout(slice_str(rows[i].text), &ms), 0);
        assert_int_equal(ms, rows[i].ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(grpc__timeout(slice_str(bad[i]), &ms), KV_EPROTO);
}

/* ---- ends ---- */

static void deadline_ends_a_call_and_its_method_hears_once(void **state)
{
    const struct header extra[] = {{"grpc-timeout", "30m"}, {NULL, NULL}};
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;
    uint64_t begun;

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Hold", extra, false);
    send_message(c, 1, slice_str("x"), true);
    RUN_UNTIL(f, f->held_count == 1);
    begun = uv_now(&f->loop);
    assert_true(grpc_call_deadline(f->held[0]) <= begun + 30);
    s = await_end(c, 1);
    assert_true(uv_now(&f->loop) >= begun + 20);
    assert_int_equal(s->grpc_status, GRPC_DEADLINE_EXCEEDED);
    assert_string_equal(s->grpc_message, "context deadline exceeded");
    assert_int_equal(f->cancels, 1);
    assert_int_equal(f->end_status[GRPC_DEADLINE_EXCEEDED], 1);
    client_free(c);
    assert_int_equal(f->cancels, 1);
}

static void deadlines_fire_in_their_order(void **state)
{
    const struct header lots[] = {{"grpc-timeout", "10S"}, {NULL, NULL}};
    const struct header some[] = {{"grpc-timeout", "40m"}, {NULL, NULL}};
    const struct header few[] = {{"grpc-timeout", "20000u"}, {NULL, NULL}};
    const struct header *const order[] = {lots, some, few};
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (uint32_t i = 0; i < 3; i++) {
        send_headers(c, 2 * i + 1, "/t.T/Hold", order[i], false);
        send_message(c, 2 * i + 1, slice_str("x"), true);
    }
    await_end(c, 5);
    assert_false(stream_of(c, 3)->ended);
    await_end(c, 3);
    assert_false(stream_of(c, 1)->ended);
    assert_int_equal(f->held_count, 1);
    client_free(c);
}

/* A call that waits for the rest of its request ends too, though no method knows of it. */
static void deadline_holds_before_the_message_is_whole(void **state)
{
    const struct header extra[] = {{"grpc-timeout", "10m"}, {NULL, NULL}};
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Hold", extra, false);
    assert_int_equal(await_end(c, 1)->grpc_status, GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(f->cancels, 0);
    client_free(c);
}

static void deadline_resets_a_stream_whose_output_is_stuck(void **state)
{
    const struct header extra[] = {{"grpc-timeout", "30m"}, {NULL, NULL}};
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    fixture_start(f);
    c = client_h2(f);
    send_headers(c, 1, "/t.T/Flow", extra, false);
    send_message(c, 1, slice_str("1000000"), true); /* the default window is 64 KiB */
    s = stream_of(c, 1);
    RUN_UNTIL(f, s->reset >= 0);
    assert_int_equal(s->reset, NGHTTP2_CANCEL);
    assert_int_equal(f->cancels, 1);
    assert_int_equal(f->server->unsent, 0);
    assert_int_equal(f->end_status[GRPC_DEADLINE_EXCEEDED], 1);
    client_free(c);
}

static void reset_by_the_client_cancels_once(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Hold", "x");
    send_headers(c, 3, "/t.T/Bidi", NULL, false);
    send_message(c, 3, slice_str("x"), false);
    send_headers(c, 5, "/t.T/Hold", NULL, false); /* its method never hears of it */
    RUN_UNTIL(f, f->held_count == 2);
    send_reset(c, 1, NGHTTP2_CANCEL);
    send_reset(c, 3, NGHTTP2_CANCEL);
    send_reset(c, 5, NGHTTP2_CANCEL);
    RUN_UNTIL(f, f->cancels == 2);
    assert_serves(c, 7);
    assert_int_equal(f->cancels, 2);
    assert_int_equal(f->end_status[GRPC_CANCELLED], 3);
    assert_int_equal(f->server->held, 0);
    client_free(c);
}

static void lost_connection_cancels_all_its_calls_once(void **state)
{
    enum { CALLS = 500 };
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    for (uint32_t i = 0; i < CALLS; i++)
        send_call(c, 2 * i + 1, "/t.T/Hold", "x");
    RUN_UNTIL(f, f->held_count == CALLS);
    assert_int_equal(net_server_calls(f->server), CALLS);
    client_free(c);
    RUN_UNTIL(f, f->cancels == CALLS);
    RUN_UNTIL(f, f->server->conn_count == 0);
    assert_int_equal(f->cancels, CALLS);
    assert_int_equal(net_server_calls(f->server), 0);
    assert_int_equal(f->server->held, 0);
}

/* One call's on_cancel ends another call of the same connection. */
static struct grpc_call *other;

static void cancel_other(struct grpc_call *call)
{
    struct fixture *f = grpc_call_ctx(call);

    f->cancels++;
    if (other != NULL && other != call) {
        grpc_call_finish(other, GRPC_OK, NULL);
        other = NULL;
    } else if (other == call) {
        other = NULL;
    }
}

static void keep_other(struct grpc_call *call, struct slice message)
{
    struct fixture *f = grpc_call_ctx(call);

    (void)message;
    other = call;
    f->held_count++;
}

static void cancel_may_end_other_calls(void **state)
{
    static const struct grpc_method methods[] = {
        {"t.X", "Pair", GRPC_UNARY, keep_other, NULL, cancel_other, NULL}};
    struct fixture *f = *state;
    struct client *c;

    f->options.methods = methods;
    f->options.method_count = 1;
    fixture_start(f);
    c = client_h2(f);
    for (uint32_t i = 0; i < 3; i++)
        send_call(c, 2 * i + 1, "/t.X/Pair", "x");
    RUN_UNTIL(f, f->held_count == 3);
    client_free(c);
    RUN_UNTIL(f, f->server->conn_count == 0);
    assert_int_equal(f->cancels, 2); /* the third was finished by the first */
    assert_int_equal(f->ends, 3);
    f->held_count = 0;
}

/* ---- flow control and back-pressure ---- */

static void big_answer_follows_the_windows(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;
    struct slice got;

    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Big", "3000000");
    s = stream_of(c, 1);
    RUN_UNTIL(f, s->data.len == 65535);
    send_window(c, 0, 100000);
    assert_serves(c, 3); /* the stream's own window is still shut */
    assert_int_equal(s->data.len, 65535);
    send_window(c, 1, 50000);
    RUN_UNTIL(f, s->data.len == 65535 + 50000);
    assert_true(f->server->unsent > 2800000);
    send_window(c, 0, 1 << 28);
    send_window(c, 1, 1 << 28);
    await_end(c, 1);
    got = message_of(s, 0);
    assert_int_equal(got.len, 3000000);
    for (size_t i = 0; i < got.len; i++)
        assert_true(got.data[i] == (uint8_t)(i * 31 >> 3));
    assert_int_equal(s->grpc_status, GRPC_OK);
    assert_int_equal(f->server->unsent, 0);
    client_free(c);
}

static void small_answers_overtake_a_big_one(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    size_t before;

    fixture_start(f);
    c = client_h2(f);
    send_setting(c, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INT32_MAX);
    send_window(c, 0, 1 << 30);
    RUN_UNTIL(f, c->settings_acks == 2);
    send_call(c, 1, "/t.T/Big", "50000000");
    RUN_UNTIL(f, stream_of(c, 1)->data.len > 0);
    send_call(c, 3, "/t.T/Echo", "small");
    await_end(c, 3);
    before = stream_of(c, 1)->data.len;
    assert_true(before < 40000000);
    await_end(c, 1);
    assert_int_equal(message_of(stream_of(c, 1), 0).len, 50000000);
    client_free(c);
}

static void drained_stream_asks_for_more(void **state)
{
    struct fixture *f = *state;
    struct client *c;
    struct stream *s;

    fixture_start(f);
    c = client_h2(f);
    send_setting(c, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INT32_MAX);
    send_window(c, 0, 1 << 30);
    send_call(c, 1, "/t.T/Flow", "30000000");
    s = await_end(c, 1);
    assert_int_equal(s->grpc_status, GRPC_OK);
    assert_int_equal(s->data.len, 30000000 + 5 * ((30000000 + 65535) / 65536));
    assert_true(f->drains > 30000000 / (256 * 1024));
    assert_int_equal(f->held_count, 0);
    client_free(c);
}

/* The queue of a well-behaved stream stays small however slow its client is. */
static void slow_reader_bounds_a_stream(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    send_setting(c, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INT32_MAX);
    send_window(c, 0, 1 << 30);
    RUN_UNTIL(f, c->settings_acks == 2);
    client_stop_reading(c);
    send_call(c, 1, "/t.T/Flow", "100000000");
    RUN_UNTIL(f, f->held_count == 1 && grpc_call_queued(f->held[0]) > 0 &&
                     net_sock_pending(f->held[0]->conn->sock) > 0);
    assert_true(grpc_call_queued(f->held[0]) < 4 << 20);
    client_go_on_reading(c);
    assert_int_equal(await_end(c, 1)->grpc_status, GRPC_OK);
    client_free(c);
}

/* ---- life ---- */

static void many_connections_are_served_at_once(void **state)
{
    enum { CLIENTS = 300 };
    struct fixture *f = *state;
    struct client *clients[CLIENTS];

    fixture_start(f);
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = client_h2(f);
    for (size_t i = 0; i < CLIENTS; i++)
        send_call(clients[i], 1, "/t.T/Hold", "x");
    RUN_UNTIL(f, f->held_count == CLIENTS);
    while (f->held_count > 0) {
        struct grpc_call *call = f->held[--f->held_count];

        reply_bytes(call, slice_str("y"));
        grpc_call_reply(call);
    }
    for (size_t i = 0; i < CLIENTS; i++)
        assert_message(await_end(clients[i], 1), 0, "y");
    for (size_t i = 0; i < CLIENTS; i++)
        client_free(clients[i]);
    RUN_UNTIL(f, f->server->conn_count == 0);
}

static void connections_over_the_limit_are_closed(void **state)
{
    struct fixture *f = *state;
    struct client *first, *second;

    f->options.connections_max = 1;
    fixture_start(f);
    first = client_h2(f);
    assert_serves(first, 1);
    second = client_h2(f);
    RUN_UNTIL(f, second->eof);
    assert_serves(first, 3);
    client_free(second);
    client_free(first);
    RUN_UNTIL(f, f->server->conn_count == 0);
    assert_server_serves(f);
}

static void drain_lets_calls_end_and_takes_no_more(void **state)
{
    struct fixture *f = *state;
    struct client *busy, *idle;
    struct grpc_call *call;

    fixture_start(f);
    busy = client_h2(f);
    idle = client_h2(f);
    assert_serves(idle, 1);
    send_call(busy, 1, "/t.T/Hold", "x");
    RUN_UNTIL(f, f->held_count == 1);
    net_server_drain(f->server);
    RUN_UNTIL(f, busy->goaway && idle->goaway);
    assert_int_equal(busy->goaway_code, NGHTTP2_NO_ERROR);
    assert_true(busy->goaway_last == INT32_MAX); /* the notice: what is under way still counts */
    assert_serves(busy, 3);
    /* The acknowledged ping shows that the notice has arrived: now the real one. */
    RUN_UNTIL(f, busy->pings == 1);
    send_frame(busy, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, busy->ping, 8);
    RUN_UNTIL(f, busy->goaways == 2);
    assert_int_equal(busy->goaway_last, 3);
    call = f->held[0];
    unhold(f, call);
    reply_bytes(call, slice_str("done"));
    grpc_call_reply(call);
    assert_message(await_end(busy, 1), 0, "done");
    RUN_UNTIL(f, busy->eof && idle->eof);
    assert_int_equal(net_server_calls(f->server), 0);
    assert_int_equal(f->cancels, 0);
    client_free(busy);
    client_free(idle);
}

static void close_cancels_what_is_open_and_then_tells(void **state)
{
    struct fixture *f = *state;
    struct client *c;

    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.T/Hold", "x");
    send_headers(c, 3, "/t.T/Bidi", NULL, false);
    send_message(c, 3, slice_str("x"), false);
    RUN_UNTIL(f, f->held_count == 2);
    net_server_close(f->server, fixture_on_closed, f);
    assert_int_equal(f->cancels, 0); /* not from inside the call */
    RUN_UNTIL(f, f->closed);
    assert_int_equal(f->cancels, 2);
    RUN_UNTIL(f, c->eof);
    client_free(c);
}

static void close_server_on_message(struct grpc_call *call, struct slice message)
{
    struct fixture *f = grpc_call_ctx(call);

    (void)message;
    hold(f, call);
    net_server_close(f->server, fixture_on_closed, f);
    f->server = NULL; /* no more flushes */
}

static void server_may_be_closed_from_a_method(void **state)
{
    static const struct grpc_method methods[] = {
        {"t.X", "Stop", GRPC_UNARY, close_server_on_message, NULL, count_cancel, NULL}};
    struct fixture *f = *state;
    struct client *c;

    f->options.methods = methods;
    f->options.method_count = 1;
    fixture_start(f);
    c = client_h2(f);
    send_call(c, 1, "/t.X/Stop", "x");
    RUN_UNTIL(f, f->closed);
    assert_int_equal(f->cancels, 1);
    client_free(c);
}

static void taken_port_is_reported(void **state)
{
    struct fixture *f = *state;
    struct net_addr addr = {.host = "127.0.0.1"};
    struct err err = ERR_INIT;

    fixture_start(f);
    addr.port = net_server_port(f->server, 0);
    assert_int_equal(net_server_listen(f->server, &addr, NULL, &err), KV_EBUSY);
    assert_string_not_equal(err.text, "");
    addr.port = 0;
    assert_int_equal(net_server_listen(f->server, &addr, NULL, &err), 0);
    assert_int_not_equal(net_server_port(f->server, 1), net_server_port(f->server, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unary_call_gets_headers_message_and_trailers),
        TEST(empty_message_is_a_message),
        TEST(services_with_equal_method_names_are_told_apart),
        TEST(request_in_single_bytes_is_understood),
        TEST(message_split_over_frames_and_half_close_apart_is_whole),
        TEST(unary_message_waits_for_the_half_close),
        TEST(answer_from_a_later_turn_arrives),
        TEST(server_stream_sends_all_messages_then_trailers),
        TEST(bidi_stream_answers_each_message_and_ends_with_half_close),
        TEST(stream_ended_by_the_server_stops_the_client),
        TEST(headers_are_found_by_name),
        TEST(any_authority_is_accepted),
        TEST(header_fields_that_http2_forbids_reset_the_stream),
        TEST(a_hundred_headers_are_kept),
        TEST(content_type_with_subtype_is_answered_in_kind),
        TEST(calls_and_bytes_are_counted),
        TEST(wrong_requests_are_refused_with_the_texts_of_etcd),
        TEST(unary_call_without_body_is_refused),
        TEST(refusal_does_not_wait_for_the_body),
        TEST(largest_message_passes_without_a_round_trip),
        TEST(upload_without_end_gets_its_windows_back),
        TEST(status_text_is_escaped_and_repaired),
        cmocka_unit_test(status_names_are_those_of_grpc_go),
        cmocka_unit_test(timeouts_are_read_in_all_units),
        TEST(deadline_ends_a_call_and_its_method_hears_once),
        TEST(deadlines_fire_in_their_order),
        TEST(deadline_holds_before_the_message_is_whole),
        TEST(deadline_resets_a_stream_whose_output_is_stuck),
        TEST(reset_by_the_client_cancels_once),
        TEST(lost_connection_cancels_all_its_calls_once),
        TEST(cancel_may_end_other_calls),
        TEST(big_answer_follows_the_windows),
        TEST(small_answers_overtake_a_big_one),
        TEST(drained_stream_asks_for_more),
        TEST(slow_reader_bounds_a_stream),
        TEST(many_connections_are_served_at_once),
        TEST(connections_over_the_limit_are_closed),
        TEST(drain_lets_calls_end_and_takes_no_more),
        TEST(close_cancels_what_is_open_and_then_tells),
        TEST(server_may_be_closed_from_a_method),
        TEST(taken_port_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
