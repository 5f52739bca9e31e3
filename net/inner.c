/* Calls that an HTTP request opens on the methods of its own server: what a gateway needs. Services
 * cannot tell them from calls that came as streams of HTTP/2; h2_send.c and h2_recv.c branch here
 * where a call without a stream has to differ.
 *
 * An ended call is freed by the next net_server_flush(): the method that ended it, or the caller of
 * http_call_send(), is still on the stack and may look at its arena. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/server_internal.h"

static const struct grpc_method *find_method(const struct net_server *server, const char *service,
                                             const char *name)
{
    char path[128];
    int len = snprintf(path, sizeof path, "/%s/%s", service, name);

    ASSERT(len > 0 && (size_t)len < sizeof path);
    return method_table__find(&server->methods, slice_of(path, (size_t)len));
}

bool http_has_method(const struct http_request *request, const char *service, const char *name)
{
    return find_method(request->conn->server, service, name) != NULL;
}

/* False: the timeout is no timeout. Takes effect here as it does for a stream. */
static bool set_timeout(struct grpc_call *call, struct slice timeout)
{
    struct net_server *server = call->conn->server;

    if (timeout.data == NULL)
        return true;
    if (grpc__timeout(timeout, &call->deadline_ms) != 0)
        return false;
    call->deadline_ms += server__now(server);
    server__set_due(server, &call->timed, call->deadline_ms);
    return true;
}

int http_call_open(struct http_request *request, const char *service, const char *name,
                   const struct http_call_events *events)
{
    struct net_server *server = request->conn->server;
    const struct grpc_method *method = find_method(server, service, name);
    struct grpc_call *call;

    ASSERT(request->dispatched);
    ASSERT(request->inner == NULL);
    if (method == NULL)
        return KV_ENOTFOUND;
    call = xcalloc(1, sizeof *call);
    arena_init(&call->arena);
    call->conn = request->conn;
    call->method = method;
    call->origin = request;
    call->origin_events = events;
    call->timed.kind = DUE_CALL;
    call->deadline_ms = UINT64_MAX;
    list_init(&call->borrowed_node);
    list_init(&call->drain_node);
    list_init(&call->wait_node);
    list_init(&call->node);
    if (!set_timeout(call, http_header(request, "grpc-timeout"))) {
        arena_release(&call->arena);
        free(call);
        return KV_EINVAL;
    }
    request->inner = call;
    if (server->options.on_call_start != NULL)
        server->options.on_call_start(server->options.ctx, call);
    call->started_ns = uv_hrtime();
    call->counted = true;
    return 0;
}

bool http_call_send(struct http_request *request, struct slice message)
{
    struct grpc_call *call = request->inner;

    ASSERT(call != NULL);
    call__count_message(call, GRPC_RECEIVED, message.len);
    call->seen = true;
    /* The method may answer, and with the answer the request and its arena are gone. */
    call->method->on_message(call, arena_copy(&call->arena, message));
    return !call->ended;
}

void http_call_half_close(struct http_request *request)
{
    struct grpc_call *call = request->inner;

    ASSERT(call != NULL);
    call->seen = true;
    call->remote_closed = true;
    if (call->method->on_half_close != NULL)
        call->method->on_half_close(call);
}

/* No callback, and no way from one to the other, from here on. */
static void detach(struct grpc_call *call, enum grpc_status status)
{
    struct net_server *server = call->conn->server;

    call__mark_ended(call, status);
    call__forget_message(call);
    call->origin->inner = NULL;
    list_push_back(&server->inner_ended, &call->node);
}

void http_call_cancel(struct http_request *request)
{
    struct grpc_call *call = request->inner;

    if (call == NULL)
        return;
    detach(call, GRPC_CANCELLED);
    if (call->seen && call->method->on_cancel != NULL)
        call->method->on_cancel(call);
    call__forget_open(call);
}

void inner__on_due(struct grpc_call *call)
{
    struct http_request *request = call->origin;
    const struct http_call_events *events = call->origin_events;

    detach(call, GRPC_DEADLINE_EXCEEDED);
    if (call->seen && call->method->on_cancel != NULL)
        call->method->on_cancel(call);
    call__forget_open(call);
    events->on_finish(request, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
}

void inner__send(struct grpc_call *call)
{
    struct slice message = slice_of(call->open_at, call->open_len);

    call__count_message(call, GRPC_SENT, message.len);
    call->origin_events->on_message(call->origin, message);
    call__forget_open(call);
}

void inner__message_begin(struct grpc_call *call, size_t len)
{
    if (call->origin_events->on_message_begin != NULL) {
        call->origin_events->on_message_begin(call->origin, len);
        return;
    }
    call->whole = xmalloc(len);
    call->whole_len = 0;
}

static void put_together(struct grpc_call *call, struct slice piece)
{
    memcpy(call->whole + call->whole_len, piece.data, piece.len);
    call->whole_len += piece.len;
    if (call->message_left > 0)
        return;
    call->origin_events->on_message(call->origin, slice_of(call->whole, call->whole_len));
    free(call->whole);
    call->whole = NULL;
}

void inner__piece(struct grpc_call *call, struct slice piece)
{
    if (call->whole != NULL)
        put_together(call, piece);
    else
        call->origin_events->on_piece(call->origin, piece);
    call__forget_open(call);
}

void inner__finish(struct grpc_call *call, enum grpc_status status, const char *message)
{
    struct http_request *request = call->origin;
    const struct http_call_events *events = call->origin_events;

    call__forget_open(call);
    detach(call, status);
    events->on_finish(request, status, message != NULL ? message : "");
}

void inner__on_drain(struct http_request *request)
{
    struct grpc_call *call = request->inner;

    if (call != NULL && call->on_drain != NULL)
        call->on_drain(call);
    else if (call == NULL && request->on_drain != NULL && request->begun)
        request->on_drain(request);
}

/* A field of the HTTP request becomes metadata under its own name if it is one of those that a
 * service asks for itself, or if it is marked as metadata; as grpc-gateway has it. */
struct slice inner__header(const struct grpc_call *call, const char *name)
{
    static const char prefix[] = "grpc-metadata-";
    char marked[128];
    int len;

    if (strcmp(name, "authorization") == 0)
        return http_header(call->origin, name);
    if (strncmp(name, "grpcgateway-", 12) == 0)
        return http_header(call->origin, name + 12);
    len = snprintf(marked, sizeof marked, "%s%s", prefix, name);
    ASSERT(len > 0 && (size_t)len < sizeof marked);
    return http_header(call->origin, marked);
}

void inner__free_ended(struct net_server *server)
{
    while (!list_empty(&server->inner_ended)) {
        struct grpc_call *call = LIST_FIRST(&server->inner_ended, struct grpc_call, node);

        list_remove(&call->node);
        arena_release(&call->arena);
        free(call->whole);
        free(call);
    }
}
