/* For test_server_*.c: a server with test methods, and a client that speaks raw bytes and frames,
 * both on one loop. Everything waits for a condition under one watchdog. */
#ifndef KVD_TESTS_SERVER_FIXTURE_H
#define KVD_TESTS_SERVER_FIXTURE_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/prng.h"
#include "net/server_internal.h"

enum { WATCHDOG_MS = 20000, TICK_MS = 20, STREAMS_MAX = 4096, HELD_MAX = 4096 };

/* ---- server side ---- */

struct fixture {
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_timer_t watchdog;
    struct net_server *server;
    struct net_server_options options;
    uint64_t late_ms;
    bool late;

    struct grpc_call *held[HELD_MAX]; /* calls of Hold and Bidi that are open */
    size_t held_count;
    int cancels, half_closes, drains, starts, ends;
    int end_status[GRPC_STATUS_COUNT];
    size_t bytes_received, bytes_sent;
    bool closed;

    struct http_request *http_held;
    int http_requests, http_cancels;
};

static inline void reply_bytes(struct grpc_call *call, struct slice bytes)
{
    uint8_t *out = grpc_call_message(call, bytes.len);

    if (bytes.len > 0)
        memcpy(out, bytes.data, bytes.len);
}

static inline void echo_on_message(struct grpc_call *call, struct slice message)
{
    reply_bytes(call, message);
    grpc_call_reply(call);
}

static inline void hold(struct fixture *f, struct grpc_call *call)
{
    assert_true(f->held_count < HELD_MAX);
    f->held[f->held_count++] = call;
}

static inline void unhold(struct fixture *f, struct grpc_call *call)
{
    for (size_t i = 0; i < f->held_count; i++) {
        if (f->held[i] == call) {
            f->held[i] = f->held[--f->held_count];
            return;
        }
    }
    fail_msg("a call ended that was not open");
}

static inline void hold_on_message(struct grpc_call *call, struct slice message)
{
    (void)message;
    hold(grpc_call_ctx(call), call);
}

static inline void count_cancel(struct grpc_call *call)
{
    struct fixture *f = grpc_call_ctx(call);

    f->cancels++;
    unhold(f, call);
}

/* The request is the status text. */
static inline void fail_on_message(struct grpc_call *call, struct slice message)
{
    char text[512];

    (void)snprintf(text, sizeof text, "%.*s", (int)message.len, (const char *)message.data);
    grpc_call_finish(call, GRPC_NOT_FOUND, text);
}

static inline uint64_t number(struct slice text)
{
    char copy[32];

    (void)snprintf(copy, sizeof copy, "%.*s", (int)text.len, (const char *)text.data);
    return strtoull(copy, NULL, 10);
}

/* The request is the size of the answer. */
static inline void big_on_message(struct grpc_call *call, struct slice message)
{
    size_t size = number(message);
    uint8_t *out = grpc_call_message(call, size);

    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(i * 31 >> 3);
    grpc_call_reply(call);
}

/* The request names a header. */
static inline void header_on_message(struct grpc_call *call, struct slice message)
{
    char name[64];
    struct slice value;

    (void)snprintf(name, sizeof name, "%.*s", (int)message.len, (const char *)message.data);
    value = grpc_call_header(call, name);
    reply_bytes(call, value.data != NULL ? value : slice_str("(absent)"));
    grpc_call_reply(call);
}

/* Answers with as many messages, "0", "1", ... */
static inline void count_on_message(struct grpc_call *call, struct slice message)
{
    uint64_t n = number(message);
    char text[24];

    for (uint64_t i = 0; i < n; i++) {
        (void)snprintf(text, sizeof text, "%u", (unsigned)i);
        reply_bytes(call, slice_str(text));
        grpc_call_send(call);
    }
    grpc_call_finish(call, GRPC_OK, NULL);
}

/* A source as long as the request says, in pieces of 64 KiB, as fast as the client takes them. */
static inline void flow(struct grpc_call *call)
{
    struct fixture *f = grpc_call_ctx(call);
    uintptr_t left = (uintptr_t)grpc_call_data(call);

    f->drains++;
    while (left > 0 && grpc_call_queued(call) < 128 * 1024) {
        uintptr_t n = MIN(left, (uintptr_t)65536);

        memset(grpc_call_message(call, n), 'f', n);
        grpc_call_send(call);
        left -= n;
    }
    grpc_call_set_data(call, (void *)left);
    if (left == 0) {
        unhold(f, call);
        grpc_call_finish(call, GRPC_OK, NULL);
    }
}

static inline void flow_on_message(struct grpc_call *call, struct slice message)
{
    hold(grpc_call_ctx(call), call);
    grpc_call_set_data(call, (void *)(uintptr_t)number(message));
    grpc_call_on_drain(call, flow);
    flow(call);
}

/* Echoes; "quit" ends the call with an error. */
static inline void bidi_on_message(struct grpc_call *call, struct slice message)
{
    struct fixture *f = grpc_call_ctx(call);

    if (grpc_call_data(call) == NULL)
        hold(f, call);
    grpc_call_set_data(call, f);
    reply_bytes(call, message);
    grpc_call_send(call);
    if (slice_eq(message, slice_str("quit"))) {
        unhold(f, call);
        grpc_call_finish(call, GRPC_ABORTED, "told to quit");
    }
}

static inline void bidi_on_half_close(struct grpc_call *call)
{
    struct fixture *f = grpc_call_ctx(call);

    f->half_closes++;
    if (grpc_call_data(call) != NULL)
        unhold(f, call);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static inline const struct grpc_method *fixture_methods(size_t *count)
{
    static const struct grpc_method methods[] = {
        {"t.T", "Echo", GRPC_UNARY, echo_on_message, NULL, NULL, NULL},
        {"t.T", "Hold", GRPC_UNARY, hold_on_message, NULL, count_cancel, NULL},
        {"t.T", "Fail", GRPC_UNARY, fail_on_message, NULL, NULL, NULL},
        {"t.T", "Big", GRPC_UNARY, big_on_message, NULL, NULL, NULL},
        {"t.T", "Header", GRPC_UNARY, header_on_message, NULL, NULL, NULL},
        {"t.T", "Count", GRPC_SERVER_STREAM, count_on_message, NULL, NULL, NULL},
        {"t.T", "Flow", GRPC_SERVER_STREAM, flow_on_message, NULL, count_cancel, NULL},
        {"t.T", "Bidi", GRPC_BIDI_STREAM, bidi_on_message, bidi_on_half_close, count_cancel, NULL},
        {"t.U", "Echo", GRPC_UNARY, echo_on_message, NULL, NULL, NULL},
    };

    *count = ARRAY_LEN(methods);
    return methods;
}

static inline void fixture_on_http(void *ctx, struct http_request *request)
{
    struct fixture *f = ctx;
    struct slice body = http_body(request);
    char text[512];

    f->http_requests++;
    if (strcmp(http_path(request), "/hold") == 0) {
        assert_null(f->http_held);
        f->http_held = request;
        return;
    }
    if (strcmp(http_path(request), "/big") == 0) {
        size_t size = strtoull(http_query(request), NULL, 10);
        uint8_t *big = xcalloc(1, size);

        http_reply(request, 200, "application/octet-stream", slice_of(big, size));
        free(big);
        return;
    }
    if (strcmp(http_path(request), "/extra") == 0)
        http_add_header(request, "X-Extra", "one\r\nEvil: two");
    (void)snprintf(text, sizeof text, "%s|%s|%s|%.*s|%zu", http_method(request), http_path(request),
                   http_query(request), (int)MIN(body.len, (size_t)64),
                   body.len > 0 ? (const char *)body.data : "", body.len);
    http_reply(request, strcmp(http_path(request), "/none") == 0 ? 404 : 200, "text/plain",
               slice_str(text));
}

static inline void fixture_on_http_cancel(void *ctx, struct http_request *request)
{
    struct fixture *f = ctx;

    assert_ptr_equal(request, f->http_held);
    f->http_held = NULL;
    f->http_cancels++;
}

static inline void on_start(void *ctx, const struct grpc_call *call)
{
    struct fixture *f = ctx;

    assert_non_null(grpc_call_method(call));
    f->starts++;
}

static inline void on_end_of_call(void *ctx, const struct grpc_method *method,
                                  enum grpc_status status, uint64_t duration_us)
{
    struct fixture *f = ctx;

    assert_non_null(method);
    assert_true(duration_us < WATCHDOG_MS * 1000ull);
    f->ends++;
    f->end_status[status]++;
}

static inline void on_bytes(void *ctx, size_t received, size_t sent)
{
    struct fixture *f = ctx;

    f->bytes_received += received;
    f->bytes_sent += sent;
}

static inline void fixture_flush(uv_prepare_t *prepare)
{
    struct fixture *f = prepare->data;

    if (f->server != NULL)
        net_server_flush(f->server);
}

/* Also wakes the loop now and then: what a flush or a timer brings about before the loop waits is
 * no event, and the awaited condition is looked at between turns only. */
static inline void fixture_tick(uv_timer_t *timer)
{
    struct fixture *f = timer->data;

    f->late = uv_now(&f->loop) >= f->late_ms;
}

/* Options may be changed by the test before fixture_start(). */
static inline struct fixture *fixture_new(void)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->prepare.data = f->watchdog.data = f;
    (void)uv_prepare_init(&f->loop, &f->prepare);
    (void)uv_prepare_start(&f->prepare, fixture_flush);
    (void)uv_timer_init(&f->loop, &f->watchdog);
    f->late_ms = uv_now(&f->loop) + WATCHDOG_MS;
    (void)uv_timer_start(&f->watchdog, fixture_tick, TICK_MS, TICK_MS);
    f->options = (struct net_server_options){.loop = &f->loop,
                                             .ctx = f,
                                             .on_http = fixture_on_http,
                                             .on_http_cancel = fixture_on_http_cancel,
                                             .on_call_start = on_start,
                                             .on_call_end = on_end_of_call,
                                             .on_bytes = on_bytes};
    f->options.methods = fixture_methods(&f->options.method_count);
    return f;
}

static inline void fixture_start(struct fixture *f)
{
    struct net_addr addr = {.host = "127.0.0.1"};
    struct err err = ERR_INIT;

    assert_int_equal(net_server_new(&f->options, &f->server, &err), 0);
    assert_int_equal(net_server_listen(f->server, &addr, NULL, &err), 0);
}

/* One turn of the loop; fails the test when its time is over. */
static inline void turn(struct fixture *f)
{
    (void)uv_run(&f->loop, UV_RUN_ONCE);
    if (f->late)
        fail_msg("the awaited event did not come within %d ms", WATCHDOG_MS);
}

#define RUN_UNTIL(f, condition)                                                                    \
    do {                                                                                           \
        while (!(condition))                                                                       \
            turn(f);                                                                               \
    } while (0)

static inline void fixture_on_closed(void *ctx)
{
    struct fixture *f = ctx;

    f->closed = true;
    f->server = NULL;
}

static inline void fixture_stop(struct fixture *f)
{
    net_server_close(f->server, fixture_on_closed, f);
    RUN_UNTIL(f, f->closed);
}

static inline void fixture_free(struct fixture *f)
{
    if (!f->closed)
        fixture_stop(f);
    uv_close((uv_handle_t *)&f->prepare, NULL);
    uv_close((uv_handle_t *)&f->watchdog, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
}

/* ---- client side: bytes ---- */

struct stream {
    int status; /* :status */
    char content_type[64];
    int grpc_status; /* -1: none yet */
    char grpc_message[2048];
    char headers[1024]; /* all others, "name: value\n" */
    struct buf data;
    int frames;    /* of DATA */
    bool ended;    /* END_STREAM */
    int64_t reset; /* error code; -1: none */
};

struct client {
    struct fixture *f;
    int fd;
    uv_poll_t poll;
    bool poll_closed;
    bool reading;
    struct buf in; /* what was read and not yet parsed */
    struct buf out;
    bool eof;
    /* HTTP/2 */
    bool h2;
    nghttp2_hd_inflater *inflater;
    struct stream *streams[STREAMS_MAX]; /* by id / 2 */
    int settings, settings_acks, pings, ping_acks, window_updates;
    uint8_t ping[8];
    bool goaway;
    uint32_t goaway_code, goaway_last;
    int goaways;
    char goaway_text[64];
    uint32_t setting[16]; /* by id */
};

static inline void client_parse(struct client *c);
static inline void client_event(uv_poll_t *poll, int status, int events);

static inline void client_rearm(struct client *c)
{
    int want = (c->reading && !c->eof ? UV_READABLE : 0) | (c->out.len > 0 ? UV_WRITABLE : 0);

    if (want != 0)
        (void)uv_poll_start(&c->poll, want, client_event);
    else
        (void)uv_poll_stop(&c->poll);
}

static inline void client_event(uv_poll_t *poll, int status, int events)
{
    struct client *c = poll->data;
    uint8_t bytes[65536];
    ssize_t n;

    if (status < 0) {
        c->eof = true;
    } else if ((events & UV_READABLE) != 0) {
        n = recv(c->fd, bytes, sizeof bytes, 0);
        if (n > 0)
            assert_int_equal(buf_append(&c->in, bytes, (size_t)n), 0);
        else if (n == 0 || errno != EAGAIN)
            c->eof = true;
    }
    if (status == 0 && (events & UV_WRITABLE) != 0 && c->out.len > 0) {
        n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
        if (n > 0)
            buf_consume(&c->out, (size_t)n);
        else if (errno != EAGAIN)
            buf_reset(&c->out); /* the server has gone; eof will tell */
    }
    if (c->h2)
        client_parse(c);
    client_rearm(c);
}

static inline struct client *client_new(struct fixture *f)
{
    struct client *c = xcalloc(1, sizeof *c);
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(net_server_port(f->server, 0)),
                               .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int one = 1;

    c->f = f;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    buf_init(&c->in, SIZE_MAX / 2);
    buf_init(&c->out, SIZE_MAX / 2);
    (void)uv_poll_init(&f->loop, &c->poll, c->fd);
    c->poll.data = c;
    c->reading = true;
    assert_int_equal(nghttp2_hd_inflate_new(&c->inflater), 0);
    client_rearm(c);
    return c;
}

static inline void client_on_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;

    c->poll_closed = true;
}

static inline void client_free(struct client *c)
{
    uv_close((uv_handle_t *)&c->poll, client_on_closed);
    (void)close(c->fd);
    RUN_UNTIL(c->f, c->poll_closed);
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        if (c->streams[i] == NULL)
            continue;
        buf_release(&c->streams[i]->data);
        free(c->streams[i]);
    }
    nghttp2_hd_inflate_del(c->inflater);
    buf_release(&c->in);
    buf_release(&c->out);
    free(c);
}

static inline void client_stop_reading(struct client *c)
{
    c->reading = false;
    client_rearm(c);
}

static inline void client_go_on_reading(struct client *c)
{
    c->reading = true;
    client_rearm(c);
}

static inline void send_bytes(struct client *c, const void *data, size_t len)
{
    assert_int_equal(buf_append(&c->out, data, len), 0);
    client_rearm(c);
}

static inline void send_text(struct client *c, const char *text)
{
    send_bytes(c, text, strlen(text));
}

/* ---- client side: HTTP/2 frames ---- */

static inline struct stream *stream_of(struct client *c, uint32_t id)
{
    struct stream **slot;

    assert_true(id / 2 < STREAMS_MAX);
    slot = &c->streams[id / 2];
    if (*slot == NULL) {
        *slot = xcalloc(1, sizeof **slot);
        (*slot)->grpc_status = -1;
        (*slot)->reset = -1;
        buf_init(&(*slot)->data, SIZE_MAX / 2);
    }
    return *slot;
}

static inline void note_header(struct stream *s, const nghttp2_nv *nv)
{
    const char *name = (const char *)nv->name, *value = (const char *)nv->value;
    int len = (int)nv->valuelen;

    if (strcmp(name, ":status") == 0)
        s->status = atoi(value);
    else if (strcmp(name, "content-type") == 0)
        (void)snprintf(s->content_type, sizeof s->content_type, "%.*s", len, value);
    else if (strcmp(name, "grpc-status") == 0)
        s->grpc_status = atoi(value);
    else if (strcmp(name, "grpc-message") == 0)
        (void)snprintf(s->grpc_message, sizeof s->grpc_message, "%.*s", len, value);
    else
        (void)snprintf(s->headers + strlen(s->headers), sizeof s->headers - strlen(s->headers),
                       "%s: %.*s\n", name, len, value);
}

static inline void note_headers(struct client *c, struct stream *s, const uint8_t *p, size_t len)
{
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(c->inflater, &nv, &flags, p, len, 1);

        assert_true(n >= 0);
        p += n;
        len -= (size_t)n;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            note_header(s, &nv);
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0)
            break;
    }
    (void)nghttp2_hd_inflate_end_headers(c->inflater);
}

static inline uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void send_frame(struct client *c, uint8_t type, uint8_t flags, uint32_t id,
                              const void *payload, size_t len)
{
    const uint8_t head[9] = {
        (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,       type,       flags,
        (uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};

    send_bytes(c, head, sizeof head);
    send_bytes(c, payload, len);
}

static inline void note_frame(struct client *c, uint8_t type, uint8_t flags, uint32_t id,
                              const uint8_t *p, size_t len)
{
    switch (type) {
    case NGHTTP2_DATA:
        assert_int_equal(buf_append(&stream_of(c, id)->data, p, len), 0);
        stream_of(c, id)->frames++;
        stream_of(c, id)->ended = (flags & NGHTTP2_FLAG_END_STREAM) != 0;
        break;
    case NGHTTP2_HEADERS:
        assert_true((flags & NGHTTP2_FLAG_END_HEADERS) != 0);
        note_headers(c, stream_of(c, id), p, len);
        stream_of(c, id)->ended = (flags & NGHTTP2_FLAG_END_STREAM) != 0;
        break;
    case NGHTTP2_RST_STREAM:
        stream_of(c, id)->reset = be32(p);
        break;
    case NGHTTP2_SETTINGS:
        if ((flags & NGHTTP2_FLAG_ACK) != 0)
            c->settings_acks++;
        else {
            c->settings++;
            send_frame(c, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "", 0);
        }
        for (size_t i = 0; i + 6 <= len; i += 6)
            if (p[i + 1] < ARRAY_LEN(c->setting))
                c->setting[p[i + 1]] = be32(p + i + 2);
        break;
    case NGHTTP2_PING:
        if ((flags & NGHTTP2_FLAG_ACK) != 0)
            c->ping_acks++;
        else
            c->pings++;
        memcpy(c->ping, p, 8);
        break;
    case NGHTTP2_GOAWAY:
        c->goaway = true;
        c->goaways++;
        c->goaway_last = be32(p);
        c->goaway_code = be32(p + 4);
        (void)snprintf(c->goaway_text, sizeof c->goaway_text, "%.*s", (int)(len - 8), p + 8);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        c->window_updates++;
        break;
    default:
        fail_msg("unexpected frame type %d", type);
    }
}

static inline void client_parse(struct client *c)
{
    size_t at = 0;

    while (c->in.len - at >= 9) {
        const uint8_t *p = c->in.data + at;
        size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];

        if (c->in.len - at < 9 + len)
            break;
        note_frame(c, p[3], p[4], be32(p + 5), p + 9, len);
        at += 9 + len;
    }
    buf_consume(&c->in, at);
}

static inline void send_window(struct client *c, uint32_t id, uint32_t add)
{
    const uint8_t p[4] = {(uint8_t)(add >> 24), (uint8_t)(add >> 16), (uint8_t)(add >> 8),
                          (uint8_t)add};

    send_frame(c, NGHTTP2_WINDOW_UPDATE, 0, id, p, sizeof p);
}

static inline void send_setting(struct client *c, uint16_t id, uint32_t value)
{
    const uint8_t p[6] = {(uint8_t)(id >> 8),     (uint8_t)id,           (uint8_t)(value >> 24),
                          (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};

    send_frame(c, NGHTTP2_SETTINGS, 0, 0, p, sizeof p);
}

static inline void send_reset(struct client *c, uint32_t id, uint32_t code)
{
    const uint8_t p[4] = {(uint8_t)(code >> 24), (uint8_t)(code >> 16), (uint8_t)(code >> 8),
                          (uint8_t)code};

    send_frame(c, NGHTTP2_RST_STREAM, 0, id, p, sizeof p);
}

/* HPACK: literal without indexing, new name. */
static inline void add_literal(struct buf *block, const char *name, const char *value)
{
    size_t lens[2] = {strlen(name), strlen(value)};
    const char *texts[2] = {name, value};

    (void)buf_append_u8(block, 0);
    for (int i = 0; i < 2; i++) {
        if (lens[i] < 127) {
            (void)buf_append_u8(block, (uint8_t)lens[i]);
        } else {
            (void)buf_append_u8(block, 127);
            (void)buf_append_varint(block, lens[i] - 127);
        }
        (void)buf_append(block, texts[i], lens[i]);
    }
}

struct header {
    const char *name; /* NULL ends the list; the usual name replaces the usual header */
    const char *value;
};

static inline void request_block(struct buf *block, const char *path, const struct header *extra)
{
    const struct header usual[] = {{":method", "POST"},
                                   {":scheme", "http"},
                                   {":path", path},
                                   {":authority", "localhost"},
                                   {"content-type", "application/grpc"},
                                   {"te", "trailers"}};

    buf_init(block, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        const char *value = usual[i].value;

        for (const struct header *h = extra; h != NULL && h->name != NULL; h++)
            if (strcmp(h->name, usual[i].name) == 0)
                value = h->value;
        if (value != NULL)
            add_literal(block, usual[i].name, value);
    }
    for (const struct header *h = extra; h != NULL && h->name != NULL; h++) {
        bool replaces = false;

        for (size_t i = 0; i < ARRAY_LEN(usual); i++)
            replaces = replaces || strcmp(h->name, usual[i].name) == 0;
        if (!replaces)
            add_literal(block, h->name, h->value);
    }
}

static inline void send_headers(struct client *c, uint32_t id, const char *path,
                                const struct header *extra, bool end)
{
    struct buf block;

    request_block(&block, path, extra);
    assert_true(block.len <= 16384);
    send_frame(c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | (end ? NGHTTP2_FLAG_END_STREAM : 0),
               id, block.data, block.len);
    buf_release(&block);
}

/* DATA frames of at most 16 KiB; does not look at windows. */
static inline void send_data(struct client *c, uint32_t id, const void *data, size_t len, bool end)
{
    const uint8_t *p = data;

    do {
        size_t n = MIN(len, (size_t)16384);

        send_frame(c, NGHTTP2_DATA, 0, id, p, n);
        if (n == len && end)
            c->out.data[c->out.len - n - 9 + 4] |= NGHTTP2_FLAG_END_STREAM;
        p += n;
        len -= n;
    } while (len > 0);
}

/* A message with its prefix; the caller frees *out. */
static inline size_t frame_message(uint8_t flag, struct slice message, uint8_t **out)
{
    *out = xmalloc(message.len + 5);
    (*out)[0] = flag;
    (*out)[1] = (uint8_t)(message.len >> 24);
    (*out)[2] = (uint8_t)(message.len >> 16);
    (*out)[3] = (uint8_t)(message.len >> 8);
    (*out)[4] = (uint8_t)message.len;
    if (message.len > 0)
        memcpy(*out + 5, message.data, message.len);
    return message.len + 5;
}

static inline void send_message(struct client *c, uint32_t id, struct slice message, bool end)
{
    uint8_t *bytes;
    size_t len = frame_message(0, message, &bytes);

    send_data(c, id, bytes, len, end);
    free(bytes);
}

static inline void send_call(struct client *c, uint32_t id, const char *path, const char *message)
{
    send_headers(c, id, path, NULL, false);
    send_message(c, id, slice_str(message), true);
}

static inline struct client *client_h2(struct fixture *f)
{
    struct client *c = client_new(f);

    c->h2 = true;
    send_text(c, NGHTTP2_CLIENT_MAGIC);
    send_frame(c, NGHTTP2_SETTINGS, 0, 0, "", 0);
    return c;
}

static inline struct stream *await_end(struct client *c, uint32_t id)
{
    struct stream *s = stream_of(c, id);

    while (!s->ended && s->reset < 0) {
        assert_false(c->eof);
        turn(c->f);
    }
    return s;
}

/* The nth message of an answer; data NULL if there is none. */
static inline struct slice message_of(const struct stream *s, size_t n)
{
    size_t at = 0;

    for (;; n--) {
        size_t len;

        if (s->data.len - at < 5)
            return slice_of(NULL, 0);
        assert_int_equal(s->data.data[at], 0);
        len = be32(s->data.data + at + 1);
        if (s->data.len - at - 5 < len)
            return slice_of(NULL, 0);
        if (n == 0)
            return slice_of(s->data.data + at + 5, len);
        at += 5 + len;
    }
}

static inline void assert_message(const struct stream *s, size_t n, const char *text)
{
    struct slice message = message_of(s, n);

    assert_non_null(message.data);
    assert_int_equal(message.len, strlen(text));
    assert_memory_equal(message.data, text, message.len);
}

/* A whole good call, to show that a connection or the server is well. */
static inline void assert_serves(struct client *c, uint32_t id)
{
    struct stream *s;

    send_call(c, id, "/t.T/Echo", "well?");
    s = await_end(c, id);
    assert_int_equal(s->grpc_status, GRPC_OK);
    assert_message(s, 0, "well?");
}

static inline void assert_server_serves(struct fixture *f)
{
    struct client *c = client_h2(f);

    assert_serves(c, 1);
    client_free(c);
}

static inline int setup(void **state)
{
    *state = fixture_new();
    return 0;
}

static inline int teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
