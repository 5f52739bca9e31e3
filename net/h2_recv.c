/* What a client sends on a stream: headers, then messages, then its half-close. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/server_internal.h"

enum {
    IN_FIRST = 4096,            /* first buffer of a message that comes in pieces */
    STREAM_CREDIT = 256 * 1024, /* given back to a stream's window at once */
};

/* ---- life ---- */

void call__hold(struct grpc_call *call, ptrdiff_t delta)
{
    call->cost = (size_t)((ptrdiff_t)call->cost + delta);
    call->conn->h2->held = (size_t)((ptrdiff_t)call->conn->h2->held + delta);
    call->conn->server->held = (size_t)((ptrdiff_t)call->conn->server->held + delta);
}

struct grpc_call *call__new(struct h2 *h2, int32_t stream_id)
{
    struct net_server *server = h2->conn->server;
    struct grpc_call *call;

    if (list_empty(&server->call_pool)) {
        call = xcalloc(1, sizeof *call);
    } else {
        struct arena arena;

        call = LIST_FIRST(&server->call_pool, struct grpc_call, node);
        list_remove(&call->node);
        server->call_pool_count--;
        arena = call->arena;
        memset(call, 0, sizeof *call);
        call->arena = arena;
    }
    call->conn = h2->conn;
    call->stream_id = stream_id;
    call->timed.kind = DUE_CALL;
    call->deadline_ms = UINT64_MAX;
    call->headers = call->headers_inline;
    call->header_cap = CALL_HEADERS_INLINE;
    list_init(&call->borrowed_node);
    list_init(&call->drain_node);
    list_init(&call->wait_node);
    list_push_back(&h2->calls, &call->node);
    h2->call_count++;
    server->calls++;
    call__hold(call, CALL_COST);
    return call;
}

static void drop_input(struct grpc_call *call)
{
    free(call->in);
    call__hold(call, -(ptrdiff_t)call->in_cap);
    call->in = NULL;
    call->in_cap = call->in_len = 0;
    call->message = slice_of(NULL, 0);
    list_remove(&call->borrowed_node);
}

static void release_headers(struct grpc_call *call)
{
    for (size_t i = 0; i < call->header_count; i++) {
        nghttp2_rcbuf_decref(call->headers[i].name);
        nghttp2_rcbuf_decref(call->headers[i].value);
    }
    call->header_count = 0;
    if (call->path != NULL)
        nghttp2_rcbuf_decref(call->path);
    call->path = NULL;
}

static void call_free(struct grpc_call *call)
{
    struct h2 *h2 = call->conn->h2;
    struct net_server *server = call->conn->server;

    call__drop_output(call);
    drop_input(call);
    release_headers(call);
    server__clear_due(server, &call->timed);
    list_remove(&call->drain_node);
    list_remove(&call->node);
    h2->call_count--;
    server->calls--;
    call__hold(call, -(ptrdiff_t)call->cost);
    if (h2->cur == call)
        h2->cur = NULL;
    if (server->call_pool_count == CALL_POOL_MAX) {
        arena_release(&call->arena);
        free(call);
        return;
    }
    arena_reset(&call->arena);
    list_push_front(&server->call_pool, &call->node);
    server->call_pool_count++;
}

void call__mark_ended(struct grpc_call *call, enum grpc_status status)
{
    struct net_server *server = call->conn->server;

    ASSERT(!call->ended);
    list_remove(&call->wait_node);
    call->ended = true;
    call->ignore_input = true;
    server__clear_due(server, &call->timed);
    if (call->counted && server->options.on_call_end != NULL)
        server->options.on_call_end(server->options.ctx, call->method, status,
                                    (uv_hrtime() - call->started_ns) / 1000);
}

void call__count_message(struct grpc_call *call, enum grpc_way way, size_t len)
{
    struct net_server *server = call->conn->server;

    if (way == GRPC_SENT)
        server->bytes_sent += len;
    else
        server->bytes_received += len;
    if (call->counted && server->options.on_call_message != NULL)
        server->options.on_call_message(server->options.ctx, call->method, way);
}

/* Ends a call without its method, which is told if it knows of it. */
static void cut_off(struct grpc_call *call, enum grpc_status status)
{
    if (call->ended)
        return;
    call__mark_ended(call, status);
    if (call->seen && call->method->on_cancel != NULL)
        call->method->on_cancel(call);
}

void call__abandon(struct grpc_call *call)
{
    cut_off(call, GRPC_CANCELLED);
    if (call->http != NULL)
        h2_http__gone(call);
    call__drop_output(call);
    drop_input(call);
    call->trailers_due = false;
}

void call__gone(struct grpc_call *call)
{
    call__abandon(call);
    call_free(call);
}

void call__refuse(struct grpc_call *call, int http_status, enum grpc_status status,
                  const char *text)
{
    cut_off(call, status);
    drop_input(call);
    call->status = status;
    call->status_text = grpc__escape(&call->arena, text);
    call__end_response(call, http_status);
}

void call__on_due(struct grpc_call *call)
{
    if (call->ended)
        return;
    if (call->origin != NULL) {
        inner__on_due(call);
        return;
    }
    if (call->queued == 0 && call->message_left == 0) {
        call__refuse(call, 200, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
        return;
    }
    /* Messages wait for a window that may never open, and a part of one may be out: the status
     * could not be told apart from it. The client's own deadline has passed too. */
    cut_off(call, GRPC_DEADLINE_EXCEEDED);
    drop_input(call);
    call__reset(call, NGHTTP2_CANCEL);
}

/* ---- headers ---- */

static struct slice rcbuf_slice(nghttp2_rcbuf *rcbuf)
{
    nghttp2_vec vec = nghttp2_rcbuf_get_buf(rcbuf);

    return slice_of(vec.base, vec.len);
}

static bool is(struct slice value, const char *text, size_t len)
{
    return value.len == len && memcmp(value.data, text, len) == 0;
}

#define IS(value, literal) is((value), (literal), sizeof(literal) - 1)

static void keep_header(struct grpc_call *call, nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
    if (call->header_count == call->header_cap) {
        struct call_header *more;

        call->header_cap *= 2;
        more = arena_alloc(&call->arena, call->header_cap * sizeof *more);
        memcpy(more, call->headers, call->header_count * sizeof *more);
        call->headers = more;
    }
    nghttp2_rcbuf_incref(name);
    nghttp2_rcbuf_incref(value);
    call->headers[call->header_count++] = (struct call_header){.name = name, .value = value};
}

/* nghttp2's own check of header fields is off, since it refuses what etcd's clients put into
 * :authority (a whole URL, the path of a Unix socket, a list: kubernetes-needs.md section 1). So
 * RFC 9113 sections 8.2 and 8.3 are looked after here: pseudo fields first, known, once each. */
static void on_pseudo_header(struct grpc_call *call, struct slice name, nghttp2_rcbuf *value)
{
    struct slice text = rcbuf_slice(value);
    bool again = true; /* or unknown */

    if (IS(name, ":path")) {
        again = call->path != NULL;
        if (!again) {
            nghttp2_rcbuf_incref(value);
            call->path = value;
        }
    } else if (IS(name, ":method")) {
        again = call->has_verb;
        call->has_verb = true;
        call->is_post = IS(text, "POST");
        if (!call->is_post)
            call->verb = arena_copy(&call->arena, text);
    } else if (IS(name, ":scheme")) {
        again = call->has_scheme;
        call->has_scheme = true;
    } else if (IS(name, ":authority")) {
        again = call->has_authority;
        call->has_authority = true;
    }
    if (again || call->has_field)
        call->malformed = true;
}

/* Fields that belong to HTTP/1.1's connections (RFC 9113 section 8.2.2). */
static bool is_of_connection(struct slice name, struct slice value)
{
    switch (name.len) {
    case 2:
        return IS(name, "te") && !IS(value, "trailers");
    case 7:
        return IS(name, "upgrade");
    case 10:
        return IS(name, "connection") || IS(name, "keep-alive");
    case 16:
        return IS(name, "proxy-connection");
    case 17:
        return IS(name, "transfer-encoding");
    default:
        return false;
    }
}

/* True if the header is understood here and nobody else wants to see it. */
static bool on_grpc_header(struct grpc_call *call, struct slice name, struct slice value)
{
    switch (name.len) {
    case 2:
        return IS(name, "te");
    case 12:
        if (IS(name, "content-type")) {
            call->is_grpc = grpc__content_type(value);
            call->plus_proto = IS(value, "application/grpc+proto");
            return call->is_grpc;
        }
        if (!IS(name, "grpc-timeout"))
            return false;
        call->has_timeout = true;
        if (grpc__timeout(value, &call->deadline_ms) != 0) {
            call->bad_timeout = true;
            call->timeout = arena_copy(&call->arena, value);
        }
        return true;
    case 13:
        if (!IS(name, "grpc-encoding"))
            return false;
        if (value.len != 0 && !IS(value, "identity"))
            call->encoding = arena_copy(&call->arena, value);
        return true;
    case 20:
        return IS(name, "grpc-accept-encoding");
    default:
        return false;
    }
}

void call__on_header(struct grpc_call *call, nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
    struct slice key = rcbuf_slice(name);
    struct slice text = rcbuf_slice(value);

    /* A few bytes can name a long field again and again (HPACK bomb): count, then look. */
    call->header_fields++;
    call->header_bytes += key.len + text.len;
    if (call->header_fields > HEADER_FIELDS_MAX || call->header_bytes > HEADER_BYTES_MAX) {
        call->headers_over = true;
        return;
    }
    if (!nghttp2_check_header_name(key.data, key.len) ||
        !nghttp2_check_header_value(text.data, text.len)) {
        call->malformed = true;
        return;
    }
    if (key.data[0] == ':') {
        on_pseudo_header(call, key, value);
        if (!IS(key, ":authority"))
            return;
    } else {
        call->has_field = true;
        if (is_of_connection(key, text))
            call->malformed = true;
        if (on_grpc_header(call, key, text))
            return;
    }
    keep_header(call, name, value);
}

struct slice call__header(const struct grpc_call *call, const char *name)
{
    size_t len = strlen(name);

    if (call->origin != NULL)
        return inner__header(call, name);
    for (size_t i = 0; i < call->header_count; i++)
        if (is(rcbuf_slice(call->headers[i].name), name, len))
            return rcbuf_slice(call->headers[i].value);
    return slice_of(NULL, 0);
}

static void refuse_with(struct grpc_call *call, int http_status, enum grpc_status status,
                        const char *format, struct slice about)
{
    char text[GRPC_MESSAGE_MAX];

    (void)snprintf(text, sizeof text, format, (int)MIN(about.len, (size_t)256), about.data);
    call__refuse(call, http_status, status, text);
}

static void refuse_unknown(struct grpc_call *call, struct slice path)
{
    const uint8_t *slash =
        path.len > 1 && path.data[0] == '/' ? memrchr(path.data + 1, '/', path.len - 1) : NULL;
    struct slice service, method;
    char text[GRPC_MESSAGE_MAX];

    if (slash == NULL) {
        refuse_with(call, 200, GRPC_UNIMPLEMENTED, "malformed method name: \"%.*s\"", path);
        return;
    }
    service = slice_of(path.data + 1, (size_t)(slash - path.data) - 1);
    method = slice_of(slash + 1, path.len - service.len - 2);
    if (!method_table__has_service(&call->conn->server->methods, service)) {
        refuse_with(call, 200, GRPC_UNIMPLEMENTED, "unknown service %.*s", service);
        return;
    }
    (void)snprintf(text, sizeof text, "unknown method %.*s for service %.*s",
                   (int)MIN(method.len, (size_t)256), method.data,
                   (int)MIN(service.len, (size_t)256), service.data);
    call__refuse(call, 200, GRPC_UNIMPLEMENTED, text);
}

/* What grpc-go checks, in its order; false if the call was refused. */
static bool check_headers(struct grpc_call *call)
{
    struct slice path = rcbuf_slice(call->path);

    if (!call->is_post) {
        refuse_with(call, 405, GRPC_INTERNAL,
                    "Received a HEADERS frame with :method \"%.*s\" which should be POST",
                    call->verb);
        return false;
    }
    if (call->bad_timeout) {
        refuse_with(call, 400, GRPC_INTERNAL, "malformed grpc-timeout: \"%.*s\"", call->timeout);
        return false;
    }
    call->method = method_table__find(&call->conn->server->methods, path);
    if (call->method == NULL) {
        refuse_unknown(call, path);
        return false;
    }
    if (call->encoding.len != 0) {
        refuse_with(call, 200, GRPC_UNIMPLEMENTED,
                    "grpc: Decompressor is not installed for grpc-encoding \"%.*s\"",
                    call->encoding);
        return false;
    }
    return true;
}

static void accept_call(struct grpc_call *call)
{
    struct net_server *server = call->conn->server;

    if (server->options.on_call_start != NULL)
        server->options.on_call_start(server->options.ctx, call);
    if (server->options.on_call_end != NULL)
        call->started_ns = uv_hrtime();
    call->counted = true;
    if (call->has_timeout && call->deadline_ms == 0) {
        call__refuse(call, 200, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    } else if (call->has_timeout) {
        call->deadline_ms += server__now(server);
        server__set_due(server, &call->timed, call->deadline_ms);
    }
}

bool call__on_headers_end(struct grpc_call *call)
{
    const struct net_conn *conn = call->conn;
    bool is_connect = IS(call->verb, "CONNECT");

    call__hold(call, (ptrdiff_t)call->header_bytes);
    if (!call->headers_over &&
        (!call->has_verb || (!is_connect && (!call->has_scheme || call->path == NULL))))
        call->malformed = true;
    if (call->malformed) {
        call->ignore_input = true;
    } else if (call->headers_over) {
        call__refuse(call, 431, GRPC_RESOURCE_EXHAUSTED,
                     "request headers exceed 128 fields or 16384 bytes");
    } else if (call->path == NULL) { /* CONNECT */
        call__refuse(call, 400, GRPC_INTERNAL, "request has no :path");
    } else if (!call->is_grpc) {
        struct slice type = call__header(call, "content-type");

        if (conn->tls || conn->server->options.http_over_h2)
            h2_http__begin(call);
        else
            refuse_with(call, 415, GRPC_INVALID_ARGUMENT,
                        "invalid gRPC request content-type \"%.*s\"", type);
    } else if (conn->server->options.no_grpc) {
        call__refuse(call, 200, GRPC_UNIMPLEMENTED, "this port serves HTTP only, no gRPC");
    } else if (check_headers(call)) {
        accept_call(call);
    }
    if (call->path != NULL)
        nghttp2_rcbuf_decref(call->path);
    call->path = NULL;
    return !call->malformed;
}

/* ---- messages ---- */

/* True if the message may be looked for behind the prefix. */
static bool check_prefix(struct grpc_call *call)
{
    size_t max = call->conn->server->options.message_size_max;
    const uint8_t *p = call->prefix;
    char text[128];

    call->need = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | (size_t)p[4];
    if (p[0] == 1) {
        /* Whatever could be inflated was refused with its grpc-encoding. */
        call__refuse(call, 200, GRPC_INTERNAL,
                     "grpc: compressed flag set with identity or empty encoding");
        return false;
    }
    if (p[0] > 1) {
        (void)snprintf(text, sizeof text, "grpc: received unexpected payload format %d", p[0]);
        call__refuse(call, 200, GRPC_INTERNAL, text);
        return false;
    }
    if (call->need > max) {
        (void)snprintf(text, sizeof text, "grpc: received message larger than max (%zu vs. %zu)",
                       call->need, max);
        call__refuse(call, 200, GRPC_RESOURCE_EXHAUSTED, text);
        return false;
    }
    if (call->has_message) {
        call__refuse(call, 200, GRPC_INTERNAL,
                     "cardinality violation: received multiple request messages for "
                     "non-client-streaming RPC");
        return false;
    }
    return true;
}

/* Makes room for len bytes of the message; memory follows what has arrived, not what was
 * announced. */
static bool grow_input(struct grpc_call *call, size_t len)
{
    const struct net_server *server = call->conn->server;
    size_t cap = MAX(call->in_cap, (size_t)IN_FIRST);

    while (cap < len)
        cap *= 2;
    cap = MIN(cap, call->need);
    if (cap <= call->in_cap)
        return true;
    if (call->conn->h2->held + cap - call->in_cap > CONN_HELD_MAX ||
        server->held + cap - call->in_cap > SERVER_HELD_MAX) {
        call__refuse(call, 200, GRPC_RESOURCE_EXHAUSTED,
                     "too many bytes of unfinished requests, retry later");
        return false;
    }
    call->in = xrealloc(call->in, cap);
    call__hold(call, (ptrdiff_t)(cap - call->in_cap));
    call->in_cap = cap;
    return true;
}

/* So much waits for this client to read it that its next request has to wait too. Only requests:
 * a stream that is open already answers for its own queue. */
static bool output_full(const struct h2 *h2)
{
    return h2->unsent > CONN_UNSENT_MAX ||
           (h2->unsent > CONN_UNSENT_FAIR && h2->conn->server->unsent > (size_t)SERVER_UNSENT_MAX);
}

static void deliver(struct grpc_call *call)
{
    call__count_message(call, GRPC_RECEIVED, call->message.len);
    call->seen = true;
    call->method->on_message(call, call->message);
    drop_input(call);
}

/* A message is whole; it lies in the input buffer of the socket or in call->in. */
static void on_message(struct grpc_call *call, struct slice message, bool borrowed)
{
    call->message = message;
    call->prefix_len = 0;
    if (call->method->kind == GRPC_BIDI_STREAM) {
        deliver(call);
        return;
    }
    call->has_message = true;
    if (borrowed)
        list_push_back(&call->conn->h2->borrowed, &call->borrowed_node);
}

/* Takes a part of a message; returns how many bytes. */
static size_t take_body(struct grpc_call *call, const uint8_t *data, size_t len)
{
    size_t n = MIN(len, call->need - call->in_len);

    if (call->in_len == 0 && n == call->need) {
        on_message(call, slice_of(data, n), true);
        return n;
    }
    if (!grow_input(call, call->in_len + n))
        return n;
    memcpy(call->in + call->in_len, data, n);
    call->in_len += n;
    if (call->in_len == call->need)
        on_message(call, slice_of(call->in, call->in_len), false);
    return n;
}

static void credit_stream(struct grpc_call *call, size_t len)
{
    call->uncredited += len;
    if (call->uncredited < STREAM_CREDIT)
        return;
    (void)nghttp2_session_consume_stream(call->conn->h2->session, call->stream_id,
                                         call->uncredited);
    call->uncredited = 0;
}

void call__on_data(struct grpc_call *call, const uint8_t *data, size_t len)
{
    if (call->http != NULL) {
        credit_stream(call, len);
        h2_http__on_data(call, data, len);
        return;
    }
    if (!call->ignore_input)
        credit_stream(call, len);
    while (len > 0 && !call->ignore_input) {
        size_t n;

        if (call->prefix_len < GRPC_FRAME_HEADER_SIZE) {
            n = MIN(len, (size_t)GRPC_FRAME_HEADER_SIZE - call->prefix_len);
            memcpy(call->prefix + call->prefix_len, data, n);
            call->prefix_len = (uint8_t)(call->prefix_len + n);
            if (call->prefix_len == GRPC_FRAME_HEADER_SIZE && check_prefix(call) && call->need == 0)
                on_message(call, slice_of(NULL, 0), false);
        } else {
            n = take_body(call, data, len);
        }
        data += n;
        len -= n;
    }
}

void call__keep_borrowed(struct h2 *h2)
{
    while (!list_empty(&h2->borrowed)) {
        struct grpc_call *call = LIST_FIRST(&h2->borrowed, struct grpc_call, borrowed_node);

        list_remove(&call->borrowed_node);
        call->in = xmemdup(call->message.data, call->message.len);
        call->in_cap = call->in_len = call->message.len;
        call__hold(call, (ptrdiff_t)call->in_cap);
        call->message.data = call->in;
    }
}

static void serve_request(struct grpc_call *call)
{
    deliver(call);
    if (!call->ended && call->method->kind == GRPC_SERVER_STREAM &&
        call->method->on_half_close != NULL)
        call->method->on_half_close(call);
}

static void half_close_one_message(struct grpc_call *call)
{
    struct h2 *h2 = call->conn->h2;

    if (call->prefix_len > 0)
        call__refuse(call, 200, GRPC_INTERNAL, "unexpected EOF");
    else if (!call->has_message)
        call__refuse(call, 200, GRPC_INTERNAL,
                     "cardinality violation: received no request message from "
                     "non-client-streaming RPC");
    else if (output_full(h2) || !list_empty(&h2->waiting))
        list_push_back(&h2->waiting, &call->wait_node);
    else
        serve_request(call);
}

bool call__can_serve_waiting(const struct h2 *h2)
{
    return !list_empty(&h2->waiting) && !output_full(h2);
}

void call__serve_waiting(struct h2 *h2)
{
    while (call__can_serve_waiting(h2)) {
        struct grpc_call *call = LIST_FIRST(&h2->waiting, struct grpc_call, wait_node);

        list_remove(&call->wait_node);
        serve_request(call);
    }
}

void call__on_half_close(struct grpc_call *call)
{
    call->remote_closed = true;
    if (call->http != NULL) {
        h2_http__on_half_close(call);
        return;
    }
    if (call->ended)
        return;
    if (call->method->kind != GRPC_BIDI_STREAM) {
        half_close_one_message(call);
        return;
    }
    if (call->prefix_len > 0) {
        call__refuse(call, 200, GRPC_INTERNAL, "unexpected EOF");
        return;
    }
    call->seen = true;
    if (call->method->on_half_close != NULL)
        call->method->on_half_close(call);
}
