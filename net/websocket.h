/* Frames of WebSocket (RFC 6455), server side: a parser that takes any split of the bytes and gives
 * whole messages, and the heads of frames to send. Knows no sockets. One thread. */
#ifndef KVD_NET_WEBSOCKET_H
#define KVD_NET_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum ws_opcode {
    WS_OP_CONTINUATION = 0,
    WS_OP_TEXT = 1,
    WS_OP_BINARY = 2,
    WS_OP_CLOSE = 8,
    WS_OP_PING = 9,
    WS_OP_PONG = 10,
};

/* Section 7.4.1. */
enum ws_code {
    WS_NORMAL = 1000,
    WS_GOING_AWAY = 1001,
    WS_PROTOCOL_ERROR = 1002,
    WS_NO_CODE = 1005, /* never sent: the client gave none */
    WS_BAD_DATA = 1007,
    WS_TOO_BIG = 1009,
    WS_INTERNAL = 1011,
};

enum { WS_HEAD_MAX = 10, WS_CONTROL_MAX = 125, WS_CLIENT_HEAD_MAX = 14, WS_ACCEPT_SIZE = 29 };

enum ws_event {
    WS_MORE,    /* all bytes are used up */
    WS_MESSAGE, /* in message, until the next call; text and binary are not told apart */
    WS_PING,    /* its payload in control, until the next call */
    WS_CLOSE,   /* its code in code; nothing that follows counts */
    WS_FAILED,  /* the client breaks the rules: code and reason say how; nothing more is parsed */
};

struct ws_parser {
    struct buf message; /* data frames so far */
    bool in_message;    /* a data frame has come that was not the last of its message */
    bool is_over;       /* closed or failed */
    bool is_delivered;  /* message has been handed out */
    uint8_t head[WS_CLIENT_HEAD_MAX];
    uint8_t head_len;
    bool in_frame; /* the head is whole */
    uint64_t owed; /* bytes of the frame still to come */
    uint8_t mask_at;
    uint8_t control[WS_CONTROL_MAX];
    uint8_t control_len;
    uint16_t code;
    const char *reason;
};

/* message_max: a longer one fails with WS_TOO_BIG. */
void ws_parser_init(struct ws_parser *parser, size_t message_max);
void ws_parser_release(struct ws_parser *parser);
/* Takes bytes off *bytes up to the next event. */
enum ws_event ws_parse(struct ws_parser *parser, struct slice *bytes);

/* Writes the head of a whole, unmasked frame; returns its size. */
size_t ws_head(uint8_t out[WS_HEAD_MAX], enum ws_opcode opcode, size_t len);
/* The value of Sec-WebSocket-Accept for a key, NUL-terminated. False: it is no key. */
bool ws_accept(struct slice key, char out[WS_ACCEPT_SIZE]);

#endif
