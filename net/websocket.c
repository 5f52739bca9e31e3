#include "net/websocket.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/codec.h"

enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f, MASK_SIZE = 4 };

void ws_parser_init(struct ws_parser *parser, size_t message_max)
{
    *parser = (struct ws_parser){.code = WS_NO_CODE};
    buf_init(&parser->message, message_max);
}

void ws_parser_release(struct ws_parser *parser)
{
    buf_release(&parser->message);
}

static enum ws_event fail(struct ws_parser *parser, enum ws_code code, const char *reason)
{
    parser->is_over = true;
    parser->code = (uint16_t)code;
    parser->reason = reason;
    return WS_FAILED;
}

/* ---- heads (section 5.2) ---- */

static unsigned opcode_of(const struct ws_parser *parser)
{
    return parser->head[0] & OPCODE;
}

static bool is_control(unsigned opcode)
{
    return opcode & 8;
}

/* As far as it can be told from the bytes that are there. */
static size_t head_size(const struct ws_parser *parser)
{
    unsigned length;

    if (parser->head_len < 2)
        return 2;
    length = parser->head[1] & LENGTH;
    return 2 + MASK_SIZE + (length == 127 ? 8 : length == 126 ? 2 : 0);
}

static uint64_t be(const uint8_t *p, size_t len)
{
    uint64_t value = 0;

    while (len-- > 0)
        value = value << 8 | *p++;
    return value;
}

static uint64_t length_of(const struct ws_parser *parser)
{
    unsigned length = parser->head[1] & LENGTH;

    return length == 127   ? be(parser->head + 2, 8)
           : length == 126 ? be(parser->head + 2, 2)
                           : length;
}

/* What the first two bytes tell; NULL if all is well. */
static const char *trouble_early(const struct ws_parser *parser)
{
    unsigned opcode = opcode_of(parser);

    if (parser->head[0] & RESERVED)
        return "reserved bits are set";
    if (!(parser->head[1] & MASKED))
        return "bad MASK"; /* in etcd's words */
    if (opcode > WS_OP_PONG || (opcode > WS_OP_BINARY && opcode < WS_OP_CLOSE))
        return "unknown opcode";
    if (is_control(opcode)) {
        if (!(parser->head[0] & FIN) || (parser->head[1] & LENGTH) > WS_CONTROL_MAX)
            return "a control frame is in pieces or too long";
        return NULL;
    }
    if ((opcode == WS_OP_CONTINUATION) != parser->in_message)
        return parser->in_message ? "a message begins inside another" : "nothing to continue";
    return NULL;
}

static bool is_minimal(const struct ws_parser *parser, uint64_t length)
{
    unsigned first = parser->head[1] & LENGTH;

    return first < 126 || (first == 126 && length > 125) ||
           (first == 127 && length > UINT16_MAX && length >> 63 == 0);
}

/* False: more bytes are needed, or *event says that it failed. */
static bool take_head(struct ws_parser *parser, struct slice *bytes, enum ws_event *event)
{
    const char *trouble = NULL;

    *event = WS_MORE;
    while (parser->head_len < head_size(parser)) {
        if (bytes->len == 0)
            return false;
        parser->head[parser->head_len++] = *bytes->data++;
        bytes->len--;
        if (parser->head_len == 2 && (trouble = trouble_early(parser)) != NULL)
            break;
    }
    if (trouble == NULL && !is_minimal(parser, length_of(parser)))
        trouble = "a length is not in its shortest form";
    if (trouble != NULL) {
        *event = fail(parser, WS_PROTOCOL_ERROR, trouble);
        return false;
    }
    parser->owed = length_of(parser);
    if (!is_control(opcode_of(parser)) &&
        parser->owed > parser->message.size_max - parser->message.len) {
        *event = fail(parser, WS_TOO_BIG, "the message is too big");
        return false;
    }
    parser->in_frame = true;
    parser->mask_at = 0;
    parser->control_len = 0;
    return true;
}

/* ---- payloads ---- */

static void unmask(struct ws_parser *parser, uint8_t *out, const uint8_t *in, size_t len)
{
    const uint8_t *mask = parser->head + head_size(parser) - MASK_SIZE;

    for (size_t i = 0; i < len; i++)
        out[i] = in[i] ^ mask[(parser->mask_at + i) % MASK_SIZE];
    parser->mask_at = (uint8_t)((parser->mask_at + len) % MASK_SIZE);
}

static void take_payload(struct ws_parser *parser, struct slice *bytes)
{
    size_t n = (size_t)MIN(parser->owed, (uint64_t)bytes->len);
    uint8_t *out;

    if (is_control(opcode_of(parser))) {
        out = parser->control + parser->control_len;
        parser->control_len = (uint8_t)(parser->control_len + n);
    } else {
        int rc = buf_reserve(&parser->message, n);

        ASSERT(rc == 0); /* checked with the head */
        out = parser->message.data + parser->message.len;
        parser->message.len += n;
    }
    unmask(parser, out, bytes->data, n);
    *bytes = slice_of(bytes->data + n, bytes->len - n);
    parser->owed -= n;
}

/* Section 7.4: what a client may give as its reason. */
static bool is_code(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static enum ws_event end_close(struct ws_parser *parser)
{
    if (parser->control_len == 1)
        return fail(parser, WS_PROTOCOL_ERROR, "half a close code");
    if (parser->control_len >= 2) {
        parser->code = (uint16_t)be(parser->control, 2);
        if (!is_code(parser->code))
            return fail(parser, WS_PROTOCOL_ERROR, "no such close code");
    }
    parser->is_over = true;
    return WS_CLOSE;
}

static enum ws_event end_frame(struct ws_parser *parser)
{
    unsigned opcode = opcode_of(parser);

    parser->in_frame = false;
    parser->head_len = 0;
    if (opcode == WS_OP_CLOSE)
        return end_close(parser);
    if (opcode == WS_OP_PING)
        return WS_PING;
    if (opcode == WS_OP_PONG)
        return WS_MORE; /* we asked for none, and it does no harm (section 5.5.3) */
    parser->in_message = !(parser->head[0] & FIN);
    if (parser->in_message)
        return WS_MORE;
    parser->is_delivered = true;
    return WS_MESSAGE;
}

enum ws_event ws_parse(struct ws_parser *parser, struct slice *bytes)
{
    enum ws_event event = WS_MORE;

    if (parser->is_over) {
        *bytes = slice_of(NULL, 0);
        return WS_MORE;
    }
    if (parser->is_delivered)
        buf_reset(&parser->message);
    parser->is_delivered = false;
    while (event == WS_MORE) {
        if (!parser->in_frame && !take_head(parser, bytes, &event))
            return event;
        take_payload(parser, bytes);
        if (parser->owed > 0)
            return WS_MORE;
        event = end_frame(parser);
    }
    return event;
}

/* ---- what is sent ---- */

size_t ws_head(uint8_t out[WS_HEAD_MAX], enum ws_opcode opcode, size_t len)
{
    out[0] = (uint8_t)(FIN | opcode);
    if (len < 126) {
        out[1] = (uint8_t)len;
        return 2;
    }
    if (len <= UINT16_MAX) {
        out[1] = 126;
        out[2] = (uint8_t)(len >> 8);
        out[3] = (uint8_t)len;
        return 4;
    }
    out[1] = 127;
    put_be64(out + 2, len);
    return WS_HEAD_MAX;
}

/* Section 4.2.2: the key is the base64 of 16 bytes. */
bool ws_accept(struct slice key, char out[WS_ACCEPT_SIZE])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    enum { KEY_LEN = 24 };
    uint8_t text[KEY_LEN + sizeof guid - 1], digest[SHA_DIGEST_LENGTH];
    uint8_t decoded[KEY_LEN];

    if (key.len != KEY_LEN || memcmp(key.data + KEY_LEN - 2, "==", 2) != 0 ||
        EVP_DecodeBlock(decoded, key.data, KEY_LEN) < 0)
        return false;
    memcpy(text, key.data, KEY_LEN);
    memcpy(text + KEY_LEN, guid, sizeof guid - 1);
    (void)SHA1(text, sizeof text, digest); /* returns digest */
    return EVP_EncodeBlock((uint8_t *)out, digest, sizeof digest) == WS_ACCEPT_SIZE - 1;
}
