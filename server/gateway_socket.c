/* The gateway over WebSocket: each message of the client holds requests as JSON, each answer is a
 * message. Unlike with the body of a POST, requests of a stream may follow for as long as it lives;
 * that is what it is for. Unary calls can be had too, one a connection, as etcd's gateway gives
 * them. */
#include "net/websocket.h"
#include "proto/rpc.pb-c.h"
#include "server/gateway_internal.h"
#include "server/json_pb.h"

static void send_text(struct http_request *request, const struct buf *text)
{
    http_socket_send(request, buf_slice(text));
}

/* ---- answers ---- */

static void on_answer(struct http_request *request, struct slice message)
{
    const struct call *call = http_data(request);
    struct buf text;

    buf_init(&text, SIZE_MAX / 2);
    if (call->route->kind != ROUTE_UNARY)
        (void)buf_printf(&text, "{\"result\":");
    gateway__print_message(call, message, &text);
    if (call->route->kind != ROUTE_UNARY)
        (void)buf_append_u8(&text, '}');
    send_text(request, &text);
    buf_release(&text);
}

static void on_finish(struct http_request *request, enum grpc_status status, const char *message)
{
    struct call *call = http_data(request);
    struct buf text;

    if (status == GRPC_OK) {
        gateway__call_release(call);
        http_socket_close(request, WS_NORMAL, "");
        return;
    }
    buf_init(&text, SIZE_MAX / 2);
    if (call->route->kind != ROUTE_UNARY)
        (void)buf_printf(&text, "{\"error\":");
    gateway__print_error(&text, status, message);
    (void)buf_printf(&text, call->route->kind != ROUTE_UNARY ? ",\"details\":[]}}" : "}");
    send_text(request, &text);
    buf_release(&text);
    gateway__call_release(call);
    http_socket_close(request, WS_INTERNAL, message);
}

/* ---- requests ---- */

/* As etcd does, the error as JSON too, for those who cannot see close codes. */
static void refuse(struct http_request *request, const char *why)
{
    struct buf text;

    buf_init(&text, SIZE_MAX / 2);
    gateway__print_error(&text, GRPC_INVALID_ARGUMENT, why);
    (void)buf_append_u8(&text, '}');
    send_text(request, &text);
    buf_release(&text);
    http_call_cancel(request);
    gateway__call_release(http_data(request));
    http_socket_close(request, WS_BAD_DATA, why);
}

/* False: the stream has ended. */
static bool take_value(struct http_request *request, struct slice value)
{
    struct call *call = http_data(request);
    bool takes_one = call->route->kind == ROUTE_UNARY || call->route->kind == ROUTE_ANSWERS;
    bool goes_on = false;
    struct err err = ERR_INIT;
    struct buf message;

    if (takes_one && call->begun)
        return false; /* one request: the rest is not looked at */
    call->begun = true;
    buf_init(&message, SIZE_MAX / 2);
    if (json_pb_parse(call->route->request, value, &message, &err) != 0)
        refuse(request, err.text);
    else
        goes_on = http_call_send(request, buf_slice(&message)) && !takes_one;
    buf_release(&message);
    return goes_on;
}

static void on_message(struct http_request *request, struct slice text)
{
    struct slice value;
    struct err err = ERR_INIT;

    do {
        if (json_pb_split(&text, &value, &err) != 0) {
            refuse(request, err.text);
            return;
        }
    } while (value.len > 0 && take_value(request, value));
}

void gateway__serve_socket(struct http_request *request, const struct route *route)
{
    static const struct http_socket_events socket_events = {.on_message = on_message};
    static const struct http_call_events call_events = {.on_message = on_answer,
                                                        .on_finish = on_finish};

    if (!http_socket_accept(request, &socket_events))
        return;
    (void)gateway__call_new(request, route);
    if (http_call_open(request, route->service, route->method, &call_events) != 0)
        refuse(request, "invalid grpc-timeout");
}
