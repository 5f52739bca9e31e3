/* WebSocket on a connection of HTTP/1.1. The request stays with its service; its input becomes
 * messages, its output frames. What waits for the client is bounded as for answers in pieces: who
 * takes nothing is heard no more, so messages, pings and closes cannot pile up either. */
#include <stdlib.h>

#include "base/mem.h"
#include "net/http1_internal.h"
#include "net/websocket.h"

enum {
    UNSENT_HIGH = 256 * 1024, /* beyond it nothing more is taken from the client */
    REASON_MAX = WS_CONTROL_MAX - 2,
};

struct h1_socket {
    const struct http_socket_events *events;
    struct ws_parser parser;
};

static struct h1 *h1_of(struct http_request *request)
{
    return CONTAINER_OF(request, struct h1, request);
}

void h1_socket__free(struct h1_socket *socket)
{
    if (socket == NULL)
        return;
    ws_parser_release(&socket->parser);
    free(socket);
}

/* ---- output ---- */

static void write_frame(struct h1 *h1, enum ws_opcode opcode, struct slice payload)
{
    uint8_t head[WS_HEAD_MAX];
    size_t len = ws_head(head, opcode, payload.len);

    (void)buf_append(&h1->out, head, len); /* out has no bound to hit */
    (void)buf_append(&h1->out, payload.data, payload.len);
    h1->drain_due = true;
    conn__mark_dirty(h1->conn);
}

/* A code that a client did not give is not sent back either (section 7.4.1). */
static void write_close(struct h1 *h1, uint16_t code, const char *reason)
{
    uint8_t bytes[WS_CONTROL_MAX] = {(uint8_t)(code >> 8), (uint8_t)code};
    size_t len = reason != NULL ? strlen(reason) : 0;

    len = MIN(len, (size_t)REASON_MAX);
    if (len > 0)
        memcpy(bytes + 2, reason, len);
    write_frame(h1, WS_OP_CLOSE, slice_of(bytes, code == WS_NO_CODE ? 0 : 2 + len));
}

void http_socket_send(struct http_request *request, struct slice text)
{
    ASSERT(request->dispatched && h1_of(request)->socket != NULL);
    write_frame(h1_of(request), WS_OP_TEXT, text);
}

void http_socket_close(struct http_request *request, uint16_t code, const char *reason)
{
    struct h1 *h1 = h1_of(request);

    ASSERT(request->dispatched && h1->socket != NULL);
    ASSERT(request->inner == NULL);
    request->dispatched = false;
    write_close(h1, code, reason);
    h1__end_over(h1, true); /* at least the client's own close is to come */
}

/* ---- input ---- */

bool h1_socket__is_held_back(const struct h1 *h1)
{
    return h1__unsent(h1->conn) + net_sock_pending(h1->conn->sock) > UNSENT_HIGH;
}

/* By the client's wish or fault. */
static void end(struct h1 *h1, enum ws_event why)
{
    write_close(h1, h1->socket->parser.code, h1->socket->parser.reason);
    http__cancel(&h1->request);
    h1__end_over(h1, why == WS_FAILED);
}

bool h1_socket__step(struct h1 *h1)
{
    struct h1_socket *socket = h1->socket;
    struct slice rest = slice_of(h1__at(h1), h1__left(h1));
    enum ws_event event;

    if (rest.len == 0 || h1_socket__is_held_back(h1))
        return false;
    event = ws_parse(&socket->parser, &rest);
    h1->pos = h1->in.len - rest.len;
    switch (event) {
    case WS_MORE:
        return false;
    case WS_MESSAGE:
        socket->events->on_message(&h1->request, buf_slice(&socket->parser.message));
        return h1->state == H1_SERVICE;
    case WS_PING:
        write_frame(h1, WS_OP_PONG, slice_of(socket->parser.control, socket->parser.control_len));
        return true;
    case WS_CLOSE:
    case WS_FAILED:
        end(h1, event);
        break;
    }
    return false;
}

/* ---- the handshake (section 4.2) ---- */

bool http_wants_socket(const struct http_request *request)
{
    return request->call == NULL && !request->minor_0 &&
           h1__has_item(http_header(request, "upgrade"), "websocket") &&
           h1__has_item(http_header(request, "connection"), "upgrade");
}

static const char *const text_plain = "text/plain; charset=utf-8";

/* The answer to a handshake that is none; 0: it is one, and key is the answer to its key. */
static int trouble(const struct http_request *request, char accept[WS_ACCEPT_SIZE],
                   const char **text)
{
    *text = "a WebSocket handshake is a GET without a body\n";
    if (strcmp(request->method, "GET") != 0)
        return 405;
    if (request->body.len > 0)
        return 400;
    *text = "only version 13 of WebSocket is spoken here\n";
    if (!slice_eq(http_header(request, "sec-websocket-version"), slice_str("13")))
        return 426;
    *text = "Sec-WebSocket-Key is not the base64 of 16 bytes\n";
    if (!ws_accept(http_header(request, "sec-websocket-key"), accept))
        return 400;
    *text = "this Origin is not allowed, see --cors\n";
    return http__origin_is_allowed(request) ? 0 : 403;
}

/* Pages cannot set headers here, so etcd takes a token as "Sec-WebSocket-Protocol: Bearer, TOKEN",
 * as does whoever wrote clients for it. True: it was there and is the request's now. */
static bool take_token(struct http_request *request)
{
    struct slice protocol = http_header(request, "sec-websocket-protocol");
    static const char prefix[] = "Bearer,";
    size_t skip = sizeof prefix - 1;
    char *token;

    if (protocol.len <= skip || memcmp(protocol.data, prefix, skip) != 0 ||
        request->field_count == HEADER_FIELDS_MAX ||
        http_header(request, "authorization").data != NULL)
        return false;
    while (skip < protocol.len && protocol.data[skip] == ' ')
        skip++;
    token = arena_alloc(request->arena, sizeof "Bearer " - 1 + protocol.len - skip);
    memcpy(token, "Bearer ", sizeof "Bearer " - 1);
    memcpy(token + sizeof "Bearer " - 1, protocol.data + skip, protocol.len - skip);
    request->fields[request->field_count++] = (struct http_field){
        slice_str("authorization"), slice_of(token, sizeof "Bearer " - 1 + protocol.len - skip)};
    return true;
}

bool http_socket_accept(struct http_request *request, const struct http_socket_events *events)
{
    struct h1 *h1 = h1_of(request);
    char accept[WS_ACCEPT_SIZE];
    const char *text;
    int status;

    ASSERT(request->dispatched && request->call == NULL);
    ASSERT(h1->parsing); /* who comes later would have to look at what was read already */
    status = trouble(request, accept, &text);
    if (status != 0) {
        if (status == 426)
            http_add_header(request, "Sec-WebSocket-Version", "13");
        http_reply(request, status, text_plain, slice_str(text));
        return false;
    }
    (void)buf_printf(&h1->out,
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
                     accept, take_token(request) ? "Sec-WebSocket-Protocol: Bearer\r\n" : "");
    conn__mark_dirty(h1->conn);
    h1->socket = xcalloc(1, sizeof *h1->socket);
    h1->socket->events = events;
    ws_parser_init(&h1->socket->parser, request->body.size_max);
    return true;
}
