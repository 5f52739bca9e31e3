/* HTTP requests as services see them, whichever version of HTTP brought them. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/server_internal.h"

void http__init(struct http_request *request, struct net_conn *conn, struct arena *arena)
{
    request->conn = conn;
    request->call = NULL;
    request->fields = NULL;
    arena_init(&request->own_arena);
    request->arena = arena != NULL ? arena : &request->own_arena;
    buf_init(&request->body, conn->server->options.http_body_size_max);
    http__reset(request);
}

void http__reset(struct http_request *request)
{
    arena_reset(&request->own_arena);
    buf_reset(&request->body);
    request->data = NULL;
    request->method = request->path = request->query = "";
    request->field_count = request->extra_count = request->extra_cap = 0;
    request->extra = NULL;
    request->dispatched = request->begun = request->keep_alive = request->minor_0 = false;
    request->inner = NULL;
    request->sized = false;
    request->space = 0;
    request->on_drain = NULL;
}

void http__release(struct http_request *request)
{
    arena_release(&request->own_arena);
    buf_release(&request->body);
}

const char *http__reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {{200, "OK"},
                   {201, "Created"},
                   {202, "Accepted"},
                   {204, "No Content"},
                   {304, "Not Modified"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {406, "Not Acceptable"},
                   {408, "Request Timeout"},
                   {409, "Conflict"},
                   {410, "Gone"},
                   {412, "Precondition Failed"},
                   {413, "Request Entity Too Large"},
                   {415, "Unsupported Media Type"},
                   {417, "Expectation Failed"},
                   {421, "Misdirected Request"},
                   {422, "Unprocessable Entity"},
                   {426, "Upgrade Required"},
                   {429, "Too Many Requests"},
                   {431, "Request Header Fields Too Large"},
                   {499, "Client Closed Request"},
                   {500, "Internal Server Error"},
                   {501, "Not Implemented"},
                   {503, "Service Unavailable"},
                   {504, "Gateway Timeout"},
                   {505, "HTTP Version Not Supported"}};

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

static char *copy_text(struct arena *arena, const uint8_t *data, size_t len)
{
    char *text = arena_alloc(arena, len + 1);

    if (len > 0)
        memcpy(text, data, len);
    text[len] = '\0';
    return text;
}

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. A NUL would end the text early for some and not for others. */
static int percent_decode(char *text)
{
    const uint8_t *from = (const uint8_t *)text;
    uint8_t *to = (uint8_t *)text;

    while (*from != '\0') {
        if (*from != '%') {
            *to++ = *from++;
            continue;
        }
        if (hex(from[1]) < 0 || hex(from[2]) < 0)
            return KV_EPROTO;
        *to = (uint8_t)(hex(from[1]) << 4 | hex(from[2]));
        if (*to++ == '\0')
            return KV_EPROTO;
        from += 3;
    }
    *to = '\0';
    return 0;
}

int http__set_target(struct http_request *request, struct slice target)
{
    const uint8_t *p = target.data;
    size_t len = target.len;
    const uint8_t *mark;
    char *path;

    for (size_t i = 0; i < len; i++)
        if (p[i] <= 0x20 || p[i] == 0x7f)
            return KV_EPROTO;
    /* Absolute form (RFC 9112 section 3.2.2): the path begins behind the authority. */
    if (len > 7 && strncasecmp((const char *)p, "http://", 7) == 0) {
        mark = memchr(p + 7, '/', len - 7);
        len = mark != NULL ? len - (size_t)(mark - p) : 1;
        p = mark != NULL ? mark : (const uint8_t *)"/";
    }
    if (len == 0 || (p[0] != '/' && !(len == 1 && p[0] == '*')))
        return KV_EPROTO;
    mark = memchr(p, '?', len);
    request->query =
        mark != NULL ? copy_text(request->arena, mark + 1, len - (size_t)(mark - p) - 1) : "";
    path = copy_text(request->arena, p, mark != NULL ? (size_t)(mark - p) : len);
    request->path = path;
    return percent_decode(path);
}

void http__dispatch(struct http_request *request)
{
    const struct net_server_options *options = &request->conn->server->options;

    request->dispatched = true;
    if (strcmp(request->method, "OPTIONS") == 0) {
        http_reply(request, 200, NULL, slice_of(NULL, 0));
    } else if (options->on_http == NULL) {
        http_reply(request, 404, "text/plain; charset=utf-8", slice_str("404 page not found\n"));
    } else {
        options->on_http(options->ctx, request);
    }
}

void http__cancel(struct http_request *request)
{
    const struct net_server_options *options = &request->conn->server->options;

    if (!request->dispatched)
        return;
    http_call_cancel(request);
    request->dispatched = false;
    if (options->on_http_cancel != NULL)
        options->on_http_cancel(options->ctx, request);
}

/* The Origin that may read the answer, data NULL if none may. */
static struct slice allowed_origin(const struct http_request *request)
{
    const char *const *allowed = request->conn->server->options.cors_origins;
    struct slice origin;

    if (allowed == NULL)
        return slice_str("*");
    origin = http_header(request, "origin");
    for (; *allowed != NULL; allowed++) {
        if (strcmp(*allowed, "*") == 0)
            return slice_str("*");
        if (origin.len != 0 && slice_eq(origin, slice_str(*allowed)))
            return origin;
    }
    return slice_of(NULL, 0);
}

bool http__origin_is_allowed(const struct http_request *request)
{
    return http_header(request, "origin").data == NULL || allowed_origin(request).data != NULL;
}

size_t http__answer_fields(const struct http_request *request,
                           struct http_field out[HTTP_ANSWER_FIELDS_MAX])
{
    struct slice origin = allowed_origin(request);
    size_t count = 0;

    if (origin.data != NULL) {
        out[count++] = (struct http_field){slice_str("Access-Control-Allow-Methods"),
                                           slice_str("POST, GET, OPTIONS, PUT, DELETE")};
        out[count++] = (struct http_field){slice_str("Access-Control-Allow-Origin"), origin};
        out[count++] = (struct http_field){slice_str("Access-Control-Allow-Headers"),
                                           slice_str("accept, content-type, authorization")};
    }
    for (size_t i = 0; i < request->extra_count; i++)
        out[count++] = request->extra[i];
    return count;
}

/* ---- over HTTP/2 ---- */

void h2_http__begin(struct grpc_call *call)
{
    struct http_request *request = xmalloc(sizeof *request);
    nghttp2_vec path = nghttp2_rcbuf_get_buf(call->path);

    http__init(request, call->conn, &call->arena);
    request->call = call;
    call->http = request;
    call__hold(call, (ptrdiff_t)sizeof *request);
    request->method =
        call->is_post ? "POST" : copy_text(request->arena, call->verb.data, call->verb.len);
    if (http__set_target(request, slice_of(path.base, path.len)) != 0) {
        request->dispatched = true;
        http_reply(request, 400, "text/plain; charset=utf-8", slice_str("bad request target\n"));
    }
}

void http__reply_too_large(struct http_request *request)
{
    const struct net_server_options *options = &request->conn->server->options;

    if (options->too_large_body != NULL)
        http_reply(request, 413, options->too_large_type, slice_str(options->too_large_body));
    else
        http_reply(request, 413, "text/plain; charset=utf-8", slice_str("body is too large\n"));
}

void h2_http__on_data(struct grpc_call *call, const uint8_t *data, size_t len)
{
    struct http_request *request = call->http;

    if (call->ended)
        return;
    if (buf_append(&request->body, data, len) != 0) {
        request->dispatched = true;
        http__reply_too_large(request);
        return;
    }
    call__hold(call, (ptrdiff_t)len);
}

void h2_http__on_half_close(struct grpc_call *call)
{
    if (!call->ended)
        http__dispatch(call->http);
}

void h2_http__gone(struct grpc_call *call)
{
    struct http_request *request = call->http;

    http__cancel(request);
    http__release(request);
    free(request);
    call->http = NULL;
}

static nghttp2_nv field_nv(struct slice name, struct slice value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.data,
                        .namelen = name.len,
                        .value = (uint8_t *)(uintptr_t)value.data,
                        .valuelen = value.len,
                        .flags = NGHTTP2_NV_FLAG_NONE};
}

enum { HTTP_NV_MAX = HTTP_ANSWER_FIELDS_MAX + 4, HTTP_STATUS_SIZE = 16 };

/* All but the length; one place of nv is left for it. Returns how many. */
static size_t fill_head(struct http_request *request, char status_text[HTTP_STATUS_SIZE],
                        int status, const char *content_type, nghttp2_nv nv[HTTP_NV_MAX])
{
    struct http_field fields[HTTP_ANSWER_FIELDS_MAX];
    size_t count = http__answer_fields(request, fields);
    size_t n = 0;

    (void)snprintf(status_text, HTTP_STATUS_SIZE, "%d", status);
    nv[n++] = field_nv(slice_str(":status"), slice_str(status_text));
    nv[n++] = field_nv(slice_str("date"), slice_str(server__date(request->conn->server)));
    if (content_type != NULL)
        nv[n++] = field_nv(slice_str("content-type"), slice_str(content_type));
    for (size_t i = 0; i < count; i++) {
        char *lower = copy_text(request->arena, fields[i].name.data, fields[i].name.len);

        for (char *c = lower; *c != '\0'; c++)
            *c = (char)tolower((unsigned char)*c);
        nv[n++] = field_nv(slice_str(lower), fields[i].value);
    }
    return n;
}

static void h2_http_reply(struct http_request *request, int status, const char *content_type,
                          struct slice body)
{
    struct grpc_call *call = request->call;
    char status_text[HTTP_STATUS_SIZE], length[24];
    nghttp2_nv nv[HTTP_NV_MAX];
    size_t n = fill_head(request, status_text, status, content_type, nv);

    (void)snprintf(length, sizeof length, "%zu", body.len);
    nv[n++] = field_nv(slice_str("content-length"), slice_str(length));
    if (strcmp(request->method, "HEAD") == 0)
        body.len = 0;
    call__mark_ended(call, GRPC_OK);
    call__http_response(call, nv, n, body);
}

static void on_stream_drain(struct grpc_call *call)
{
    inner__on_drain(call->http);
}

static void h2_http_begin_reply(struct http_request *request, int status, const char *content_type,
                                size_t len)
{
    char status_text[HTTP_STATUS_SIZE], length[24];
    nghttp2_nv nv[HTTP_NV_MAX];
    size_t n = fill_head(request, status_text, status, content_type, nv);

    if (len != SIZE_MAX) {
        (void)snprintf(length, sizeof length, "%zu", len);
        nv[n++] = field_nv(slice_str("content-length"), slice_str(length));
    }
    request->call->on_drain = on_stream_drain;
    call__http_begin(request->call, nv, n);
}

/* ---- the interface of services ---- */

const char *http_method(const struct http_request *request)
{
    return request->method;
}

const char *http_path(const struct http_request *request)
{
    return request->path;
}

const char *http_query(const struct http_request *request)
{
    return request->query;
}

struct slice http_header(const struct http_request *request, const char *name)
{
    struct slice key = slice_str(name);

    if (request->call != NULL)
        return call__header(request->call, strcmp(name, "host") == 0 ? ":authority" : name);
    for (size_t i = 0; i < request->field_count; i++)
        if (slice_eq(request->fields[i].name, key))
            return request->fields[i].value;
    return slice_of(NULL, 0);
}

struct slice http_body(const struct http_request *request)
{
    return buf_slice(&request->body);
}

bool http_is_tls(const struct http_request *request)
{
    return request->conn->tls;
}

struct arena *http_arena(struct http_request *request)
{
    return request->arena;
}

void http_set_data(struct http_request *request, void *data)
{
    request->data = data;
}

void *http_data(const struct http_request *request)
{
    return request->data;
}

/* A line break in a value would let whoever chose it write headers of his own. */
static struct slice one_line(struct arena *arena, const char *text)
{
    size_t len = strlen(text);
    char *copy = copy_text(arena, (const uint8_t *)text, len);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)copy[i] < 0x20 || copy[i] == 0x7f)
            copy[i] = ' ';
    return slice_of(copy, len);
}

struct slice http_peer_name(struct http_request *request)
{
    return net_sock_peer_name(request->conn->sock, request->arena);
}

struct slice http_peer_organization(struct http_request *request, size_t n)
{
    return net_sock_peer_organization(request->conn->sock, n, request->arena);
}

const char *http_peer(const struct http_request *request)
{
    return net_sock_peer(request->conn->sock);
}

static void grow_extra(struct http_request *request)
{
    size_t cap = request->extra_cap == 0 ? HTTP_EXTRA_MAX / 4 : request->extra_cap * 2;
    struct http_field *more = arena_alloc(request->arena, cap * sizeof *more);

    if (request->extra_count > 0)
        memcpy(more, request->extra, request->extra_count * sizeof *more);
    request->extra = more;
    request->extra_cap = cap;
}

void http_add_header(struct http_request *request, const char *name, const char *value)
{
    ASSERT(request->extra_count < HTTP_EXTRA_MAX);
    if (request->extra_count == request->extra_cap)
        grow_extra(request);
    request->extra[request->extra_count++] = (struct http_field){
        .name = one_line(request->arena, name), .value = one_line(request->arena, value)};
}

void http_reply(struct http_request *request, int status, const char *content_type,
                struct slice body)
{
    ASSERT(request->dispatched && !request->begun);
    ASSERT(request->inner == NULL);
    request->dispatched = false;
    if (request->call != NULL)
        h2_http_reply(request, status, content_type, body);
    else
        h1__reply(request, status, content_type, body);
}

static void begin_reply(struct http_request *request, int status, const char *content_type,
                        size_t len)
{
    ASSERT(request->dispatched && !request->begun);
    request->begun = true;
    request->sized = len != SIZE_MAX;
    if (request->call != NULL)
        h2_http_begin_reply(request, status, content_type, len);
    else
        h1__reply_begin(request, status, content_type, len);
}

void http_reply_begin(struct http_request *request, int status, const char *content_type)
{
    begin_reply(request, status, content_type, SIZE_MAX);
}

void http_reply_begin_sized(struct http_request *request, int status, const char *content_type,
                            size_t len)
{
    ASSERT(len < SIZE_MAX);
    begin_reply(request, status, content_type, len);
}

uint8_t *http_reply_space(struct http_request *request, size_t len)
{
    ASSERT(request->dispatched && request->sized);
    ASSERT(len > 0 && request->space == 0);
    request->space = len;
    return request->call != NULL ? call__open_space(request->call, len)
                                 : h1__reply_space(request, len);
}

void http_reply_space_send(struct http_request *request)
{
    ASSERT(request->space > 0);
    if (request->call != NULL) {
        call__queue_open(request->call);
        call__resume(request->call);
    } else {
        h1__reply_space_send(request);
    }
    request->space = 0;
}

void http_on_drain(struct http_request *request, void (*cb)(struct http_request *request))
{
    request->on_drain = cb;
}

void http_reply_chunk(struct http_request *request, struct slice bytes)
{
    ASSERT(request->dispatched && request->begun);
    if (bytes.len == 0)
        return; /* on the wire it would mean the end */
    if (request->call != NULL)
        call__http_chunk(request->call, bytes);
    else
        h1__reply_chunk(request, bytes);
}

void http_reply_end(struct http_request *request)
{
    ASSERT(request->dispatched && request->begun);
    ASSERT(request->inner == NULL);
    request->dispatched = false;
    if (request->call != NULL) {
        call__mark_ended(request->call, GRPC_OK);
        call__http_end(request->call);
    } else {
        h1__reply_end(request);
    }
}

void http_reply_abort(struct http_request *request)
{
    ASSERT(request->dispatched && request->begun);
    ASSERT(request->inner == NULL);
    if (request->call != NULL)
        call__reset(request->call, NGHTTP2_INTERNAL_ERROR);
    else
        conn__doom(request->conn);
}

size_t http_reply_queued(const struct http_request *request)
{
    size_t held = net_sock_pending(request->conn->sock);

    if (request->call == NULL)
        return held + h1__unsent(request->conn);
    /* What the kernel has not taken may be other streams': only one's own queue tells when it has
     * drained. */
    return request->call->queued > 0 ? held + request->call->queued : 0;
}
