/* What a server sends on a stream: headers, messages, trailers. Messages lie in chunks that the
 * services write into; nghttp2 says how much of them the windows allow. */
#include <stdlib.h>

#include "base/mem.h"
#include "net/server_internal.h"

enum {
    BIG_ANSWER = 64 * 1024, /* from here on an answer takes turns with the others */
    STATIC_NV = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
};

#define NV(name_literal, value_literal)                                                            \
    {                                                                                              \
        (uint8_t *)(name_literal), (uint8_t *)(value_literal), sizeof(name_literal) - 1,           \
            sizeof(value_literal) - 1, STATIC_NV                                                   \
    }

static const nghttp2_nv content_type_nv = NV("content-type", "application/grpc");
static const nghttp2_nv content_type_proto_nv = NV("content-type", "application/grpc+proto");

static const nghttp2_nv grpc_status_nv[GRPC_STATUS_COUNT] = {
    NV("grpc-status", "0"),  NV("grpc-status", "1"),  NV("grpc-status", "2"),
    NV("grpc-status", "3"),  NV("grpc-status", "4"),  NV("grpc-status", "5"),
    NV("grpc-status", "6"),  NV("grpc-status", "7"),  NV("grpc-status", "8"),
    NV("grpc-status", "9"),  NV("grpc-status", "10"), NV("grpc-status", "11"),
    NV("grpc-status", "12"), NV("grpc-status", "13"), NV("grpc-status", "14"),
    NV("grpc-status", "15"), NV("grpc-status", "16")};

static nghttp2_nv http_status_nv(int status)
{
    static const struct {
        int status;
        nghttp2_nv nv;
    } known[] = {{400, NV(":status", "400")},
                 {405, NV(":status", "405")},
                 {415, NV(":status", "415")},
                 {431, NV(":status", "431")}};
    static const nghttp2_nv ok = NV(":status", "200");

    for (size_t i = 0; status != 200 && i < ARRAY_LEN(known); i++)
        if (known[i].status == status)
            return known[i].nv;
    return ok;
}

/* ---- chunks ---- */

static struct out_chunk *chunk_new(struct net_server *server, size_t size)
{
    struct out_chunk *chunk = server->chunk_pool;
    size_t cap = MAX(size, (size_t)CHUNK_SIZE);

    if (cap == CHUNK_SIZE && chunk != NULL) {
        server->chunk_pool = chunk->next;
        server->chunk_pool_count--;
    } else {
        chunk = xmalloc(sizeof *chunk + cap);
        chunk->cap = cap;
    }
    chunk->next = NULL;
    chunk->off = chunk->len = 0;
    return chunk;
}

static void chunk_free(struct net_server *server, struct out_chunk *chunk)
{
    if (chunk->cap != CHUNK_SIZE || server->chunk_pool_count == CHUNK_POOL_MAX) {
        free(chunk);
        return;
    }
    chunk->next = server->chunk_pool;
    server->chunk_pool = chunk;
    server->chunk_pool_count++;
}

/* Space behind what is queued: in the last chunk if it has room, so that many small messages of a
 * stream share one. */
uint8_t *call__open_space(struct grpc_call *call, size_t len)
{
    struct out_chunk *last = call->out_last;

    ASSERT(call->open_chunk == NULL);
    if (last == NULL || last->cap - last->len < len)
        last = chunk_new(call->conn->server, len);
    call->open_chunk = last;
    call->open_at = last->bytes + last->len;
    call->open_len = len;
    return call->open_at;
}

void call__forget_open(struct grpc_call *call)
{
    struct out_chunk *chunk = call->open_chunk;

    call->open_chunk = NULL;
    if (chunk != NULL && chunk != call->out_last)
        chunk_free(call->conn->server, chunk);
}

static void count_queued(struct grpc_call *call, ptrdiff_t delta)
{
    struct h2 *h2 = call->conn->h2;

    call->queued = (size_t)((ptrdiff_t)call->queued + delta);
    h2->unsent = (size_t)((ptrdiff_t)h2->unsent + delta);
    h2->conn->server->unsent = (size_t)((ptrdiff_t)h2->conn->server->unsent + delta);
}

void call__queue_open(struct grpc_call *call)
{
    struct out_chunk *chunk = call->open_chunk;

    call->open_chunk = NULL;
    if (chunk != call->out_last) {
        if (call->out_last != NULL)
            call->out_last->next = chunk;
        else
            call->out_first = chunk;
        call->out_last = chunk;
    }
    chunk->len += call->open_len;
    count_queued(call, (ptrdiff_t)call->open_len);
}

void call__drop_output(struct grpc_call *call)
{
    call__forget_open(call);
    call__forget_message(call);
    while (call->out_first != NULL) {
        struct out_chunk *chunk = call->out_first;

        call->out_first = chunk->next;
        chunk_free(call->conn->server, chunk);
    }
    call->out_last = NULL;
    count_queued(call, -(ptrdiff_t)call->queued);
}

/* Copies the first len queued bytes and drops them. */
static void take_queued(struct grpc_call *call, uint8_t *to, size_t len)
{
    size_t left = len;

    while (left > 0) {
        struct out_chunk *chunk = call->out_first;
        size_t n = MIN(left, chunk->len - chunk->off);

        memcpy(to, chunk->bytes + chunk->off, n);
        chunk->off += n;
        to += n;
        left -= n;
        if (chunk->off < chunk->len || chunk == call->open_chunk)
            continue;
        call->out_first = chunk->next;
        if (call->out_first == NULL)
            call->out_last = NULL;
        chunk_free(call->conn->server, chunk);
    }
    count_queued(call, -(ptrdiff_t)len);
}

/* ---- into nghttp2 ---- */

/* A session call that fails for want of memory only, or because the session is at its end. */
static void check(struct grpc_call *call, int rc)
{
    if (rc != 0)
        conn__doom(call->conn);
}

static size_t fill_trailers(struct grpc_call *call, nghttp2_nv *out)
{
    ASSERT((size_t)call->status < GRPC_STATUS_COUNT);
    out[0] = grpc_status_nv[call->status];
    if (call->status_text.len == 0)
        return 1;
    /* Texts differ from call to call: not worth a place in the table of either side. */
    out[1] = (nghttp2_nv){.name = (uint8_t *)"grpc-message",
                          .namelen = sizeof("grpc-message") - 1,
                          .value = (uint8_t *)(uintptr_t)call->status_text.data,
                          .valuelen = call->status_text.len,
                          .flags = STATIC_NV | NGHTTP2_NV_FLAG_NO_INDEX};
    return 2;
}

/* Messages of several streams take turns once one of them has much to say; nghttp2 would send one
 * after the other (RFC 9218 without "incremental"). */
static void take_turns(struct grpc_call *call)
{
    const nghttp2_extpri turns = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};

    call->incremental = true;
    (void)nghttp2_session_change_extpri_stream_priority(call->conn->h2->session, call->stream_id,
                                                        &turns, 1); /* a hint, no more */
}

static void resume(struct grpc_call *call)
{
    if (!call->incremental && call->queued > BIG_ANSWER)
        take_turns(call);
    if (call->deferred) {
        call->deferred = false;
        check(call, nghttp2_session_resume_data(call->conn->h2->session, call->stream_id));
    }
    conn__mark_dirty(call->conn);
}

static void begin_response(struct grpc_call *call)
{
    const nghttp2_data_provider provider = {.source = {.ptr = call},
                                            .read_callback = h2__on_read_data};
    const nghttp2_nv nv[] = {http_status_nv(200),
                             call->plus_proto ? content_type_proto_nv : content_type_nv};

    call->response_begun = true;
    call->conn->h2->ping_forgiven = true;
    check(call, nghttp2_submit_response(call->conn->h2->session, call->stream_id, nv, ARRAY_LEN(nv),
                                        &provider));
}

void call__resume(struct grpc_call *call)
{
    if (!call->response_begun)
        begin_response(call);
    resume(call);
}

void call__reset(struct grpc_call *call, uint32_t code)
{
    call__drop_output(call);
    (void)nghttp2_submit_rst_stream(
        call->conn->h2->session, NGHTTP2_FLAG_NONE, call->stream_id,
        code); /* fails for want of memory only: then the client waits */
    conn__mark_dirty(call->conn);
}

void call__end_response(struct grpc_call *call, int http_status)
{
    nghttp2_session *session = call->conn->h2->session;
    nghttp2_nv nv[4];

    call__forget_open(call);
    conn__mark_dirty(call->conn);
    if (call->response_begun) {
        call->trailers_due = true;
        resume(call);
        return;
    }
    call->response_begun = true;
    call->conn->h2->ping_forgiven = true;
    nv[0] = http_status_nv(http_status);
    nv[1] = call->plus_proto ? content_type_proto_nv : content_type_nv;
    check(call, nghttp2_submit_response(session, call->stream_id, nv,
                                        2 + fill_trailers(call, nv + 2), NULL));
}

ssize_t h2__on_read_data(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    struct grpc_call *call = source->ptr;
    struct h2 *h2 = user_data;
    size_t n = MIN(call->queued, length);
    nghttp2_nv trailers[2];

    (void)buf;
    h2->cur = call;
    h2->ping_forgiven = true;
    if (n == 0 && !call->trailers_due) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n > 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n < call->queued || !call->trailers_due)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (call->http != NULL) {
        return (ssize_t)n;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    check(call,
          nghttp2_submit_trailer(session, stream_id, trailers, fill_trailers(call, trailers)));
    return (ssize_t)n;
}

int h2__on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                     size_t length, nghttp2_data_source *source, void *user_data)
{
    struct grpc_call *call = source->ptr;
    struct net_server *server = call->conn->server;
    struct h2 *h2 = user_data;
    uint8_t *to = server->scratch + server->scratch_len;

    (void)session;
    (void)frame;
    if (length > call->queued)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* dropped since the frame was begun */
    if (server->scratch_len >= SCRATCH_SIZE)
        return NGHTTP2_ERR_WOULDBLOCK;
    memcpy(to, header, 9);
    take_queued(call, to + 9, length);
    server->scratch_len += 9 + length;
    h2->data_frames++;
    if (call->queued == 0 && call->on_drain != NULL && !call->ended &&
        list_empty(&call->drain_node))
        list_push_back(&h2->drained, &call->drain_node);
    return 0;
}

void call__http_response(struct grpc_call *call, const nghttp2_nv *nv, size_t count,
                         struct slice body)
{
    const nghttp2_data_provider provider = {.source = {.ptr = call},
                                            .read_callback = h2__on_read_data};

    call->response_begun = true;
    call->trailers_due = true; /* here: nothing comes behind the body */
    if (body.len > 0) {
        memcpy(call__open_space(call, body.len), body.data, body.len);
        call__queue_open(call);
    }
    check(call, nghttp2_submit_response(call->conn->h2->session, call->stream_id, nv, count,
                                        body.len > 0 ? &provider : NULL));
    resume(call);
}

void call__http_begin(struct grpc_call *call, const nghttp2_nv *nv, size_t count)
{
    const nghttp2_data_provider provider = {.source = {.ptr = call},
                                            .read_callback = h2__on_read_data};

    call->response_begun = true;
    check(call,
          nghttp2_submit_response(call->conn->h2->session, call->stream_id, nv, count, &provider));
    resume(call);
}

void call__http_chunk(struct grpc_call *call, struct slice bytes)
{
    memcpy(call__open_space(call, bytes.len), bytes.data, bytes.len);
    call__queue_open(call);
    resume(call);
}

void call__http_end(struct grpc_call *call)
{
    call->trailers_due = true;
    resume(call);
}

/* ---- the interface of services ---- */

uint8_t *grpc_call_message(struct grpc_call *call, size_t len)
{
    uint8_t *frame;

    ASSERT(!call->ended);
    ASSERT(len <= UINT32_MAX);
    if (call->origin != NULL)
        return call__open_space(call, len);
    frame = call__open_space(call, GRPC_FRAME_HEADER_SIZE + len);
    return grpc__put_frame_header(frame, len);
}

void grpc_call_send(struct grpc_call *call)
{
    ASSERT(!call->ended);
    ASSERT(call->open_chunk != NULL);
    if (call->origin != NULL) {
        inner__send(call);
        return;
    }
    ASSERT(call->message_left == 0);
    call__count_message(call, GRPC_SENT, call->open_len - GRPC_FRAME_HEADER_SIZE);
    h2__message_sent(call->conn->h2);
    call__queue_open(call);
    call__resume(call);
}

size_t grpc_call_queued(const struct grpc_call *call)
{
    if (call->origin != NULL)
        return http_reply_queued(call->origin);
    return call->queued + net_sock_pending(call->conn->sock);
}

void grpc_call_on_drain(struct grpc_call *call, void (*cb)(struct grpc_call *call))
{
    call->on_drain = cb;
}

void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *message)
{
    if (call->origin != NULL) {
        inner__finish(call, status, message);
        return;
    }
    if (call->message_left > 0) {
        call__break_message(call, status);
        return;
    }
    call__mark_ended(call, status);
    call->status = status;
    if (status != GRPC_OK && message != NULL)
        call->status_text = grpc__escape(&call->arena, message);
    call__end_response(call, 200);
}

void grpc_call_reply(struct grpc_call *call)
{
    grpc_call_send(call);
    grpc_call_finish(call, GRPC_OK, NULL);
}

void *grpc_call_ctx(const struct grpc_call *call)
{
    return call->conn->server->options.ctx;
}

const struct grpc_method *grpc_call_method(const struct grpc_call *call)
{
    return call->method;
}

struct arena *grpc_call_arena(struct grpc_call *call)
{
    return &call->arena;
}

void grpc_call_set_data(struct grpc_call *call, void *data)
{
    call->data = data;
}

void *grpc_call_data(const struct grpc_call *call)
{
    return call->data;
}

struct slice grpc_call_header(const struct grpc_call *call, const char *name)
{
    return call__header(call, name);
}

uint64_t grpc_call_deadline(const struct grpc_call *call)
{
    return call->deadline_ms;
}

const char *grpc_call_peer(const struct grpc_call *call)
{
    return net_sock_peer(call->conn->sock);
}

bool grpc_call_common_name(const struct grpc_call *call, char *out, size_t size)
{
    return call->origin == NULL && net_sock_peer_common_name(call->conn->sock, out, size);
}
