/* The WebSocket parser: each rule of RFC 6455, and random messages in random pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "net/websocket.h"

enum { MESSAGE_MAX = 100000, NO_FIN = 0x100, PLAIN = 0x200 };

struct fixture {
    struct ws_parser parser;
    struct buf bytes;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    ws_parser_init(&f->parser, MESSAGE_MAX);
    buf_init(&f->bytes, 64 << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    ws_parser_release(&f->parser);
    buf_release(&f->bytes);
    free(f);
    return 0;
}

/* A client's frame; what: opcode and flags. */
static void add_frame(struct fixture *f, unsigned what, struct slice payload)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t head[WS_HEAD_MAX];
    size_t len = ws_head(head, (enum ws_opcode)(what & 15), payload.len);

    if (what & NO_FIN)
        head[0] &= 0x7f;
    if (!(what & PLAIN))
        head[1] |= 0x80;
    assert_int_equal(buf_append(&f->bytes, head, len), 0);
    if (!(what & PLAIN))
        assert_int_equal(buf_append(&f->bytes, mask, sizeof mask), 0);
    for (size_t i = 0; i < payload.len; i++)
        assert_int_equal(buf_append_u8(&f->bytes, what & PLAIN ? payload.data[i]
                                                               : payload.data[i] ^ mask[i % 4]),
                         0);
}

static void add_text(struct fixture *f, unsigned what, const char *text)
{
    add_frame(f, what, slice_str(text));
}

static enum ws_event parse_all(struct fixture *f)
{
    struct slice rest = buf_slice(&f->bytes);
    enum ws_event event = ws_parse(&f->parser, &rest);

    buf_consume(&f->bytes, f->bytes.len - rest.len);
    return event;
}

static void assert_message(struct fixture *f, const char *text)
{
    assert_int_equal(parse_all(f), WS_MESSAGE);
    assert_true(slice_eq(buf_slice(&f->parser.message), slice_str(text)));
}

static void assert_fails(struct fixture *f, enum ws_code code, const char *reason)
{
    assert_int_equal(parse_all(f), WS_FAILED);
    assert_int_equal(f->parser.code, code);
    assert_string_equal(f->parser.reason, reason);
    add_text(f, WS_OP_TEXT, "late");
    assert_int_equal(parse_all(f), WS_MORE); /* nothing counts any more */
}

/* ---- what is right ---- */

/* Section 1.3. */
static void the_key_of_the_rfc_gets_the_answer_of_the_rfc(void **state)
{
    static const char *const bad[] = {"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQAA",
                                      "dGhlIHNhbXBsZSBub25j!Q==", "dGhlIHNhbXBsZSBub25jZQ==="};
    char out[WS_ACCEPT_SIZE];

    (void)state;
    assert_true(ws_accept(slice_str("dGhlIHNhbXBsZSBub25jZQ=="), out));
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(ws_accept(slice_str(bad[i]), out));
}

/* Section 5.7. */
static void the_frames_of_the_rfc_are_understood(void **state)
{
    static const uint8_t hello[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d,
                                    0x7f, 0x9f, 0x4d, 0x51, 0x58};
    struct fixture *f = *state;
    uint8_t head[WS_HEAD_MAX];

    assert_int_equal(buf_append(&f->bytes, hello, sizeof hello), 0);
    assert_message(f, "Hello");
    assert_int_equal(ws_head(head, WS_OP_TEXT, 5), 2);
    assert_memory_equal(head, "\x81\x05", 2);
    assert_int_equal(ws_head(head, WS_OP_BINARY, 256), 4);
    assert_memory_equal(head, "\x82\x7e\x01\x00", 4);
    assert_int_equal(ws_head(head, WS_OP_BINARY, 65536), 10);
    assert_memory_equal(head, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
}

static void a_message_may_come_in_pieces_with_pings_between(void **state)
{
    struct fixture *f = *state;

    add_text(f, WS_OP_TEXT | NO_FIN, "one ");
    add_text(f, WS_OP_PING, "are you there");
    add_text(f, WS_OP_CONTINUATION | NO_FIN, "");
    add_text(f, WS_OP_PONG, "unasked");
    add_text(f, WS_OP_CONTINUATION, "message");
    add_text(f, WS_OP_BINARY, "");
    add_text(f, WS_OP_TEXT, "next");
    assert_int_equal(parse_all(f), WS_PING);
    assert_int_equal(f->parser.control_len, 13);
    assert_memory_equal(f->parser.control, "are you there", 13);
    assert_message(f, "one message");
    assert_message(f, "");
    assert_message(f, "next");
    assert_int_equal(parse_all(f), WS_MORE);
    assert_int_equal(f->bytes.len, 0);
}

static void a_close_is_the_last_word(void **state)
{
    struct fixture *f = *state;

    add_frame(f, WS_OP_CLOSE, slice_of("\x03\xe9going", 7));
    add_text(f, WS_OP_TEXT, "late");
    assert_int_equal(parse_all(f), WS_CLOSE);
    assert_int_equal(f->parser.code, WS_GOING_AWAY);
    assert_int_equal(parse_all(f), WS_MORE);
}

static void a_close_without_a_code_is_one_too(void **state)
{
    struct fixture *f = *state;

    add_text(f, WS_OP_CLOSE, "");
    assert_int_equal(parse_all(f), WS_CLOSE);
    assert_int_equal(f->parser.code, WS_NO_CODE);
}

/* ---- what is wrong ---- */

static void unmasked_frames_are_refused(void **state)
{
    add_text(*state, WS_OP_TEXT | PLAIN, "x");
    assert_fails(*state, WS_PROTOCOL_ERROR, "bad MASK");
}

static void unknown_opcodes_are_refused(void **state)
{
    add_text(*state, 3, "x");
    assert_fails(*state, WS_PROTOCOL_ERROR, "unknown opcode");
}

static void reserved_bits_are_refused(void **state)
{
    struct fixture *f = *state;

    add_text(f, WS_OP_TEXT, "x");
    f->bytes.data[0] |= 0x40;
    assert_fails(f, WS_PROTOCOL_ERROR, "reserved bits are set");
}

static void control_frames_in_pieces_are_refused(void **state)
{
    add_text(*state, WS_OP_PING | NO_FIN, "x");
    assert_fails(*state, WS_PROTOCOL_ERROR, "a control frame is in pieces or too long");
}

static void long_control_frames_are_refused(void **state)
{
    char text[200];

    memset(text, 'x', sizeof text);
    add_frame(*state, WS_OP_PING, slice_of(text, 126));
    assert_fails(*state, WS_PROTOCOL_ERROR, "a control frame is in pieces or too long");
}

static void pieces_out_of_place_are_refused(void **state)
{
    struct fixture *f = *state;

    add_text(f, WS_OP_CONTINUATION, "x");
    assert_fails(f, WS_PROTOCOL_ERROR, "nothing to continue");
}

static void a_message_inside_another_is_refused(void **state)
{
    struct fixture *f = *state;

    add_text(f, WS_OP_TEXT | NO_FIN, "x");
    add_text(f, WS_OP_TEXT, "y");
    assert_fails(f, WS_PROTOCOL_ERROR, "a message begins inside another");
}

static void lengths_in_a_longer_form_are_refused(void **state)
{
    static const uint8_t long_one[] = {0x81, 0xfe, 0x00, 0x01, 0, 0, 0, 0, 'x'};
    static const uint8_t longer[] = {0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'x'};
    struct fixture *f = *state;

    assert_int_equal(buf_append(&f->bytes, long_one, sizeof long_one), 0);
    assert_fails(f, WS_PROTOCOL_ERROR, "a length is not in its shortest form");
    ws_parser_release(&f->parser);
    ws_parser_init(&f->parser, MESSAGE_MAX);
    buf_reset(&f->bytes);
    assert_int_equal(buf_append(&f->bytes, longer, sizeof longer), 0);
    assert_fails(f, WS_PROTOCOL_ERROR, "a length is not in its shortest form");
}

/* Known from the head: nothing is kept of it. */
static void a_message_above_the_limit_is_refused_before_it_comes(void **state)
{
    static const uint8_t head[] = {0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0,    0,    0,    0};
    struct fixture *f = *state;

    assert_int_equal(buf_append(&f->bytes, head, sizeof head), 0);
    assert_fails(f, WS_TOO_BIG, "the message is too big");
    assert_int_equal(f->parser.message.cap, 0);
}

static void pieces_together_are_limited_too(void **state)
{
    struct fixture *f = *state;
    char *text = xcalloc(1, MESSAGE_MAX);

    add_frame(f, WS_OP_BINARY | NO_FIN, slice_of(text, MESSAGE_MAX - 1));
    add_frame(f, WS_OP_CONTINUATION, slice_of(text, 2));
    free(text);
    assert_fails(f, WS_TOO_BIG, "the message is too big");
}

static void bad_close_codes_are_refused(void **state)
{
    static const unsigned codes[] = {0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        uint8_t bytes[2] = {(uint8_t)(codes[i] >> 8), (uint8_t)codes[i]};

        ws_parser_release(&f->parser);
        ws_parser_init(&f->parser, MESSAGE_MAX);
        buf_reset(&f->bytes);
        add_frame(f, WS_OP_CLOSE, slice_of(bytes, 2));
        assert_fails(f, WS_PROTOCOL_ERROR, "no such close code");
    }
    ws_parser_release(&f->parser);
    ws_parser_init(&f->parser, MESSAGE_MAX);
    buf_reset(&f->bytes);
    add_text(f, WS_OP_CLOSE, "x");
    assert_fails(f, WS_PROTOCOL_ERROR, "half a close code");
}

/* ---- at random ---- */

static void start_random(struct prng *prng)
{
    const char *given = getenv("NET_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(prng, seed);
}

/* Messages of all lengths, in random frames with pings between, fed in random pieces, come out as
 * they went in. */
static void any_split_gives_the_same_messages(void **state)
{
    struct fixture *f = *state;
    struct prng prng;
    struct buf want;
    size_t next = 0;

    start_random(&prng);
    buf_init(&want, 64 << 20);
    for (int i = 0; i < 300; i++) {
        size_t len = prng_between(&prng, 0, prng_chance(&prng, 100000) ? 90000 : 300), at = 0;
        uint8_t *text = xmalloc(len + 1);
        bool begun = false;

        for (size_t k = 0; k < len; k++)
            text[k] = (uint8_t)prng_next(&prng);
        for (bool more = true; more; begun = true) {
            size_t part = prng_between(&prng, 0, len - at);

            more = prng_chance(&prng, 500000);
            if (!more)
                part = len - at;
            if (prng_chance(&prng, 300000))
                add_text(f, WS_OP_PING, "p");
            add_frame(f, (begun ? WS_OP_CONTINUATION : WS_OP_TEXT) | (more ? (unsigned)NO_FIN : 0),
                      slice_of(text + at, part));
            at += part;
        }
        assert_int_equal(buf_append_le32(&want, (uint32_t)len), 0);
        assert_int_equal(buf_append(&want, text, len), 0);
        free(text);
    }
    for (size_t at = 0; at < f->bytes.len;) {
        size_t most = prng_between(&prng, 1, 5000);
        size_t n = prng_between(&prng, 1, MIN(most, f->bytes.len - at));
        struct slice piece = slice_of(f->bytes.data + at, n);

        at += n;
        for (;;) {
            enum ws_event event = ws_parse(&f->parser, &piece);
            const struct buf *message = &f->parser.message;

            if (event == WS_MORE)
                break;
            if (event == WS_FAILED)
                fail_msg("%s", f->parser.reason);
            if (event != WS_MESSAGE)
                continue;
            assert_int_equal(message->len, want.data[next] | want.data[next + 1] << 8 |
                                               want.data[next + 2] << 16);
            assert_true(slice_eq(buf_slice(message), slice_of(want.data + next + 4, message->len)));
            next += 4 + message->len;
        }
        assert_int_equal(piece.len, 0);
    }
    assert_int_equal(next, want.len);
    buf_release(&want);
}

/* Whatever comes: no byte beyond the buffers (the sanitizers look), and an end of the parsing. */
static void any_bytes_are_survived(void **state)
{
    struct prng prng;

    (void)state;
    start_random(&prng);
    for (int i = 0; i < 20000; i++) {
        struct ws_parser parser;
        uint8_t bytes[64];
        struct slice rest = slice_of(bytes, prng_between(&prng, 1, sizeof bytes));
        int events = 0;

        for (size_t k = 0; k < rest.len; k++)
            bytes[k] = (uint8_t)prng_next(&prng);
        if (prng_chance(&prng, 900000)) {
            bytes[0] &= 0x8f;
            bytes[1] |= 0x80;
        }
        ws_parser_init(&parser, prng_between(&prng, 1, 200));
        while (rest.len > 0 && events++ < 100)
            (void)ws_parse(&parser, &rest);
        assert_true(events < 100);
        assert_true(parser.message.len <= 200);
        ws_parser_release(&parser);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_key_of_the_rfc_gets_the_answer_of_the_rfc),
        TEST(the_frames_of_the_rfc_are_understood),
        TEST(a_message_may_come_in_pieces_with_pings_between),
        TEST(a_close_is_the_last_word),
        TEST(a_close_without_a_code_is_one_too),
        TEST(unmasked_frames_are_refused),
        TEST(unknown_opcodes_are_refused),
        TEST(reserved_bits_are_refused),
        TEST(control_frames_in_pieces_are_refused),
        TEST(long_control_frames_are_refused),
        TEST(pieces_out_of_place_are_refused),
        TEST(a_message_inside_another_is_refused),
        TEST(lengths_in_a_longer_form_are_refused),
        TEST(a_message_above_the_limit_is_refused_before_it_comes),
        TEST(pieces_together_are_limited_too),
        TEST(bad_close_codes_are_refused),
        TEST(any_split_gives_the_same_messages),
        TEST(any_bytes_are_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
