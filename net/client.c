/* One HTTP/2 connection to a gRPC server.
 *
 *    CONNECTING ──▶ GREETING ──▶ READY ──▶ DRAINING ──▶ DOWN ──▶ CLOSED
 *     TCP           our preface  SETTINGS  GOAWAY seen,
 *                   is out       seen      calls go on
 *
 * Any state goes to DOWN when the connection breaks, and to CLOSED by grpc_conn_close(). */
#include "net/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/mem.h"
#include "base/version.h"
#include "net/client_internal.h"

enum {
    CONNECT_TIMEOUT_MS = 2000,
    PING_TIMEOUT_MS = 6000,
    STREAM_WINDOW = 16 << 20,
    CONN_WINDOW = 64 << 20,
    WRITE_SIZE = 64 * 1024,     /* frames are joined into writes of about this size */
    PENDING_HIGH = 1024 * 1024, /* the kernel lags: let nghttp2 keep the rest */
    POOL_MAX = 128,             /* idle streams kept for the next calls */
    HEADERS_MAX = 8 + GRPC_METADATA_MAX,
};

enum conn_state { CONNECTING, GREETING, READY, DRAINING, DOWN, CLOSED };

struct grpc_conn {
    uv_loop_t *loop;
    struct net_sock *sock;
    nghttp2_session *session;
    enum conn_state state;
    struct grpc_conn_options options; /* defaults filled in */
    const struct grpc_conn_events *events;
    void *ctx;
    char authority[300];
    const char *scheme; /* of requests */

    struct list held;    /* opened before READY */
    struct list streams; /* nghttp2 has them */
    struct list ended;   /* failed while sending: on_done is owed */
    struct list dead;    /* gone, but perhaps still on the call stack */
    struct list pool;
    size_t pool_count;

    uv_idle_t turn_end; /* runs while something is to be done at the end of the turn */
    uv_timer_t timer;
    struct due_heap due;
    struct due greeting; /* until READY */
    struct due ping;
    bool ping_out; /* sent at pinged_ms; any byte since is an answer */
    uint64_t pinged_ms;
    uint64_t heard_ms;  /* when bytes last came in */
    uint64_t armed_ms;  /* for when timer is set; UINT64_MAX: not */
    int depth;          /* of our handlers on the stack: streams are not reused meanwhile */
    bool in_session;    /* nghttp2 is on the stack: it must not be entered again */
    struct buf out;     /* frames for one write */
    struct err goodbye; /* why it goes down, when known before it does */

    int closing; /* parts whose close callback is to come */
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

/* ---- the end of the turn, and time ---- */

static void on_turn_end(uv_idle_t *idle);
static void on_timer(uv_timer_t *timer);

/* An idle handle runs before the loop waits and keeps it from waiting, from whichever phase of the
 * turn it was started. */
static void want_turn_end(struct grpc_conn *conn)
{
    if (conn->state < DOWN)
        (void)uv_idle_start(&conn->turn_end, on_turn_end); /* cannot fail */
}

static void arm_timer(struct grpc_conn *conn)
{
    struct due *first = due_first(&conn->due);
    uint64_t now = uv_now(conn->loop);

    /* Set too early is harmless: it finds nothing due. So it moves only forward in haste. */
    if (first == NULL || first->at_ms >= conn->armed_ms)
        return;
    conn->armed_ms = first->at_ms;
    (void)uv_timer_start(&conn->timer, on_timer, first->at_ms > now ? first->at_ms - now : 0,
                         0); /* cannot fail */
}

static void set_due(struct grpc_conn *conn, struct due *node, uint64_t after_ms)
{
    uint64_t now = uv_now(conn->loop);

    due_set(&conn->due, node, after_ms < UINT64_MAX - now ? now + after_ms : UINT64_MAX);
    arm_timer(conn);
}

/* ---- streams ---- */

static struct grpc_stream *stream_new(struct grpc_conn *conn)
{
    struct grpc_stream *stream;

    if (list_empty(&conn->pool)) {
        stream = xcalloc(1, sizeof *stream);
    } else {
        stream = LIST_FIRST(&conn->pool, struct grpc_stream, link);
        list_remove(&stream->link);
        conn->pool_count--;
    }
    grpc__stream_reset(stream, conn->options.message_size_max);
    stream->conn = conn;
    return stream;
}

static void stream_free(struct grpc_stream *stream)
{
    list_remove(&stream->link);
    grpc__stream_release(stream);
    free(stream);
}

/* Streams that ended may be used again once no handler can still look at them. */
static void reap(struct grpc_conn *conn)
{
    if (conn->depth > 0)
        return;
    while (!list_empty(&conn->dead)) {
        struct grpc_stream *stream = LIST_FIRST(&conn->dead, struct grpc_stream, link);

        if (conn->pool_count >= POOL_MAX || stream->held != NULL) {
            stream_free(stream);
            continue;
        }
        list_remove(&stream->link);
        list_push_back(&conn->pool, &stream->link);
        conn->pool_count++;
    }
}

static bool has_calls(const struct grpc_conn *conn)
{
    return !list_empty(&conn->held) || !list_empty(&conn->streams) || !list_empty(&conn->ended);
}

/* Takes the stream out of everything; nothing calls back any more. */
static void stream_detach(struct grpc_stream *stream)
{
    struct grpc_conn *conn = stream->conn;

    stream->gone = true;
    due_clear(&conn->due, &stream->deadline);
    if (stream->id != 0) /* not found: nghttp2 has forgotten it, which is as good */
        (void)nghttp2_session_set_stream_user_data(conn->session, stream->id, NULL);
    list_remove(&stream->link);
    list_push_back(&conn->dead, &stream->link);
    if (!has_calls(conn))
        due_clear(&conn->due, &conn->ping);
}

/* Only from handlers, never from inside a call. */
static void stream_done(struct grpc_stream *stream, enum grpc_status status, const char *message)
{
    stream_detach(stream);
    stream->events->on_done(stream->ctx, status, message, stream->sent);
}

/* Tells the server that we have lost interest. */
static void stream_abort(struct grpc_stream *stream, uint32_t error)
{
    struct grpc_conn *conn = stream->conn;

    if (stream->id == 0 || conn->state >= DOWN)
        return;
    /* Only fails out of memory or for a stream id that we never had. */
    (void)nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE, stream->id, error);
    want_turn_end(conn);
}

/* ---- going down ---- */

static void fail_all(struct grpc_conn *conn, struct list *list, const char *text)
{
    while (conn->state != CLOSED && !list_empty(list)) {
        struct grpc_stream *stream = LIST_FIRST(list, struct grpc_stream, link);

        if (stream->status >= 0 && list == &conn->ended)
            stream_done(stream, (enum grpc_status)stream->status, (char *)stream->text.data);
        else
            stream_done(stream, GRPC_UNAVAILABLE, text);
    }
}

/* From handlers only. */
static void go_down(struct grpc_conn *conn, const struct err *err)
{
    struct err copy = *err;

    if (conn->state >= DOWN)
        return;
    conn->state = DOWN;
    (void)uv_idle_stop(&conn->turn_end);
    (void)uv_timer_stop(&conn->timer);
    conn->depth++;
    fail_all(conn, &conn->ended, copy.text);
    fail_all(conn, &conn->streams, copy.text);
    fail_all(conn, &conn->held, copy.text);
    if (conn->state != CLOSED)
        conn->events->on_down(conn->ctx, &copy);
    conn->depth--;
}

static void go_down_with(struct grpc_conn *conn, const char *what)
{
    struct err err = ERR_INIT;

    err_set(&err, KV_ECONN, "%s: %s", conn->authority, what);
    go_down(conn, &err);
}

/* ---- nghttp2's callbacks ---- */

static struct grpc_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct grpc_stream *stream = stream_of(session, frame->hd.stream_id);

    (void)flags;
    (void)user;
    if (stream != NULL)
        grpc__stream_header(stream, slice_of(name, name_len), slice_of(value, value_len));
    return 0;
}

/* To stop nghttp2 when a callback of the user has closed the connection. */
static int go_on(const struct grpc_conn *conn)
{
    return conn->state < DOWN ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *user)
{
    struct grpc_conn *conn = user;
    struct grpc_stream *stream = stream_of(session, id);
    enum grpc_status status;
    const char *why = "";

    (void)flags;
    if (stream == NULL)
        return 0;
    status = grpc__stream_body(stream, slice_of(data, len), &why);
    if (status != GRPC_OK) {
        stream_abort(stream, NGHTTP2_CANCEL);
        stream_done(stream, status, why);
    }
    return go_on(conn);
}

static void on_settings(struct grpc_conn *conn);

static void on_goaway(struct grpc_conn *conn, const nghttp2_goaway *goaway)
{
    if (conn->state == READY)
        conn->state = DRAINING;
    err_set(&conn->goodbye, KV_ECONN, "%s: the server says goodbye (error %u%s%.*s)",
            conn->authority, goaway->error_code, goaway->opaque_data_len > 0 ? ", " : "",
            (int)MIN(goaway->opaque_data_len, (size_t)100), (const char *)goaway->opaque_data);
}

/* The server is done with a stream. It may be done before we are, then we let go as well. */
static void on_stream_end(struct grpc_stream *stream)
{
    const char *message = "";
    enum grpc_status status = grpc__stream_outcome(stream, NGHTTP2_NO_ERROR, &message);

    if (!stream->end_given)
        stream_abort(stream, NGHTTP2_CANCEL);
    stream_done(stream, status, message);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct grpc_conn *conn = user;
    struct grpc_stream *stream;

    switch (frame->hd.type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        stream = stream_of(session, frame->hd.stream_id);
        if (stream != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
            on_stream_end(stream);
        break;
    case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0 && conn->state == GREETING)
            on_settings(conn);
        break;
    case NGHTTP2_GOAWAY:
        on_goaway(conn, &frame->goaway);
        break;
    default:
        break;
    }
    return go_on(conn);
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        struct grpc_stream *stream = stream_of(session, frame->hd.stream_id);

        if (stream != NULL)
            stream->sent = GRPC_MAYBE_SENT;
    }
    return 0;
}

/* Reset by the server, above the last stream of a GOAWAY, or given up by nghttp2. */
static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    struct grpc_conn *conn = user;
    struct grpc_stream *stream = stream_of(session, id);
    const char *message = "";
    enum grpc_status status;

    if (stream == NULL)
        return 0;
    /* RFC 9113 section 8.7: refused streams are safe to try again. */
    if (error == NGHTTP2_REFUSED_STREAM)
        stream->sent = GRPC_NOT_SENT;
    if (stream->sent == GRPC_NOT_SENT)
        error = NGHTTP2_REFUSED_STREAM; /* never left: the connection takes no new calls */
    status = grpc__stream_outcome(stream, error, &message);
    stream->id = 0; /* nghttp2 forgets it now */
    if (conn->depth > 0) {
        stream_done(stream, status, message);
        return go_on(conn);
    }
    /* While sending inside a call of the user: told at the end of the turn. */
    if (message != (const char *)stream->text.data) {
        buf_reset(&stream->text);
        (void)buf_append(&stream->text, message, strlen(message) + 1); /* short */
    }
    stream->status = (int)status;
    list_remove(&stream->link);
    list_push_back(&conn->ended, &stream->link);
    return 0;
}

static ssize_t read_request(nghttp2_session *session, int32_t id, uint8_t *out, size_t size,
                            uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct grpc_stream *stream = stream_of(session, id);
    size_t left;

    (void)source;
    (void)user;
    if (stream == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* cancelled; a reset is on its way */
    left = stream->out.len - stream->out_sent;
    if (left == 0 && !stream->half_closed) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size = MIN(size, left);
    if (size > 0)
        memcpy(out, stream->out.data + stream->out_sent, size);
    stream->out_sent += size;
    if (size == left) {
        stream->out_sent = 0;
        buf_reset(&stream->out);
        if (stream->half_closed) {
            *flags |= NGHTTP2_DATA_FLAG_EOF;
            stream->end_given = true;
        }
    }
    return (ssize_t)size;
}

static void session_start(struct grpc_conn *conn)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)conn->options.stream_window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 64 * 1024},
    };
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    /* All of these fail only out of memory, or for arguments that are constants here. */
    ASSERT(nghttp2_session_callbacks_new(&callbacks) == 0);
    ASSERT(nghttp2_option_new(&option) == 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_option_set_no_closed_streams(option, 1);
    ASSERT(nghttp2_session_client_new2(&conn->session, callbacks, conn, option) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    ASSERT(nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings,
                                   ARRAY_LEN(settings)) == 0);
    ASSERT(nghttp2_session_set_local_window_size(conn->session, NGHTTP2_FLAG_NONE, 0,
                                                 CONN_WINDOW) == 0);
}

/* ---- sending ---- */

static void write_out(struct grpc_conn *conn)
{
    if (conn->out.len > 0) /* broken: on_sock_end comes; too big: cannot be, see send_frames() */
        (void)net_sock_write(conn->sock, buf_slice(&conn->out));
    buf_reset(&conn->out);
}

/* Hands to the socket what nghttp2 has, until the kernel lags. */
static void send_frames(struct grpc_conn *conn)
{
    if (conn->in_session || conn->state < GREETING || conn->state >= DOWN)
        return;
    conn->in_session = true;
    while (net_sock_pending(conn->sock) < PENDING_HIGH) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(conn->session, &data);

        if (n <= 0) /* errors end the session; settle() sees it */
            break;
        (void)buf_append(&conn->out, data, (size_t)n); /* unbounded, emptied below */
        if (conn->out.len >= WRITE_SIZE)
            write_out(conn);
    }
    write_out(conn);
    conn->in_session = false;
}

/* Whether the session has come to its end. From handlers only, last. */
static void settle(struct grpc_conn *conn)
{
    if (conn->state >= DOWN || conn->state < GREETING)
        return;
    if (conn->state == DRAINING && !has_calls(conn))
        go_down(conn, &conn->goodbye);
    else if (!nghttp2_session_want_read(conn->session) &&
             !nghttp2_session_want_write(conn->session))
        go_down_with(conn, "the server does not speak HTTP/2 correctly");
}

static void on_turn_end(uv_idle_t *idle)
{
    struct grpc_conn *conn = CONTAINER_OF(idle, struct grpc_conn, turn_end);

    (void)uv_idle_stop(idle); /* cannot fail */
    conn->depth++;
    send_frames(conn);
    fail_all(conn, &conn->ended, "");
    settle(conn);
    conn->depth--;
    reap(conn);
}

void grpc_conn_flush(struct grpc_conn *conn)
{
    if (conn->depth > 0) {
        want_turn_end(conn);
        return;
    }
    send_frames(conn);
    if (!list_empty(&conn->ended))
        want_turn_end(conn);
}

void grpc_conn_pause(struct grpc_conn *conn)
{
    net_sock_pause(conn->sock);
}

void grpc_conn_resume(struct grpc_conn *conn)
{
    if (conn->state < DOWN)
        net_sock_resume(conn->sock);
}

/* ---- calls ---- */

static nghttp2_nv header(const char *name, const char *value, uint8_t flags)
{
    return (nghttp2_nv){.name = (uint8_t *)name,
                        .value = (uint8_t *)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value),
                        .flags = flags};
}

/* Hands the request to nghttp2. */
static void submit(struct grpc_stream *stream, const char *path,
                   const struct grpc_metadata *metadata, size_t metadata_count)
{
    enum { KEEP = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE };
    struct grpc_conn *conn = stream->conn;
    const nghttp2_data_provider provider = {.read_callback = read_request};
    nghttp2_nv headers[HEADERS_MAX];
    char timeout[GRPC__TIMEOUT_SIZE];
    size_t count = 0;

    headers[count++] = header(":method", "POST", KEEP);
    headers[count++] = header(":scheme", conn->scheme, KEEP);
    headers[count++] = header(":path", path, NGHTTP2_NV_FLAG_NO_COPY_NAME);
    headers[count++] = header(":authority", conn->authority, KEEP);
    headers[count++] = header("content-type", "application/grpc", KEEP);
    headers[count++] = header("te", "trailers", KEEP);
    headers[count++] = header("user-agent", "grpc-c-kvd/" KVD_VERSION, KEEP);
    if (stream->deadline.place != DUE_UNSET) {
        uint64_t now = uv_now(conn->loop), at = stream->deadline.at_ms;

        grpc__timeout_format(at > now ? at - now : 1, timeout);
        /* Each is new: no place for it in the compression table. */
        headers[count++] = header("grpc-timeout", timeout,
                                  NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX);
    }
    for (size_t i = 0; i < metadata_count; i++)
        headers[count++] = header(metadata[i].name, metadata[i].value, NGHTTP2_NV_FLAG_NONE);
    stream->id = nghttp2_submit_request(conn->session, NULL, headers, count, &provider, stream);
    list_remove(&stream->link);
    if (stream->id > 0) {
        list_push_back(&conn->streams, &stream->link);
    } else { /* stream ids are used up, after 2^30 calls */
        stream->id = 0;
        conn->state = DRAINING;
        err_set(&conn->goodbye, KV_ECONN, "%s: the connection is used up", conn->authority);
        stream->status = GRPC_UNAVAILABLE;
        (void)buf_append(&stream->text, "the connection is used up", 26); /* short */
        list_push_back(&conn->ended, &stream->link);
    }
    want_turn_end(conn);
}

/* Keeps a request until the server has answered. */
static void hold(struct grpc_stream *stream, const char *path, const struct grpc_metadata *metadata,
                 size_t metadata_count)
{
    struct held_request *held = xcalloc(1, sizeof *held);

    held->path = xstrdup(path);
    held->metadata_count = metadata_count;
    for (size_t i = 0; i < metadata_count; i++) {
        held->metadata[i].name = xstrdup(metadata[i].name);
        held->metadata[i].value = xstrdup(metadata[i].value);
    }
    stream->held = held;
    list_push_back(&stream->conn->held, &stream->link);
}

static void on_settings(struct grpc_conn *conn)
{
    conn->state = READY;
    due_clear(&conn->due, &conn->greeting);
    while (!list_empty(&conn->held)) {
        struct grpc_stream *stream = LIST_FIRST(&conn->held, struct grpc_stream, link);

        submit(stream, stream->held->path, stream->held->metadata, stream->held->metadata_count);
    }
    conn->events->on_ready(conn->ctx);
}

int grpc_conn_call(struct grpc_conn *conn, const char *path, const struct grpc_metadata *metadata,
                   size_t metadata_count, uint64_t timeout_ms,
                   const struct grpc_stream_events *events, void *ctx, struct grpc_stream **out,
                   struct err *err)
{
    struct grpc_stream *stream;

    ASSERT(metadata_count <= GRPC_METADATA_MAX);
    if (conn->state >= DRAINING)
        return err_set(err, KV_ECONN, "%s: the connection takes no new calls", conn->authority);
    if (conn->depth == 0)
        uv_update_time(conn->loop); /* the caller may have been away from the loop for long */
    stream = stream_new(conn);
    stream->events = events;
    stream->ctx = ctx;
    if (timeout_ms > 0)
        set_due(conn, &stream->deadline, timeout_ms);
    if (conn->options.ping_interval_ms > 0 && conn->ping.place == DUE_UNSET) {
        conn->ping_out = false;
        set_due(conn, &conn->ping, conn->options.ping_interval_ms);
    }
    if (conn->state == READY)
        submit(stream, path, metadata, metadata_count);
    else
        hold(stream, path, metadata, metadata_count);
    *out = stream;
    return 0;
}

static void resume(struct grpc_stream *stream)
{
    if (!stream->deferred)
        return;
    stream->deferred = false;
    /* Fails only if the stream is closing, and then there is nothing to send to. */
    (void)nghttp2_session_resume_data(stream->conn->session, stream->id);
    want_turn_end(stream->conn);
}

int grpc_stream_send(struct grpc_stream *stream, struct slice message, int end)
{
    uint8_t frame[GRPC_FRAME_HEADER_SIZE] = {0};

    ASSERT(!stream->half_closed);
    if (stream->gone || stream->conn->state >= DOWN)
        return KV_ECONN;
    if (message.len > UINT32_MAX || buf_reserve(&stream->out, sizeof frame + message.len) != 0)
        return KV_ETOOBIG;
    put_be32(frame + 1, (uint32_t)message.len);
    (void)buf_append(&stream->out, frame, sizeof frame); /* reserved */
    (void)buf_append(&stream->out, message.data, message.len);
    stream->half_closed = end != 0;
    resume(stream);
    return 0;
}

void grpc_stream_half_close(struct grpc_stream *stream)
{
    stream->half_closed = true;
    if (!stream->gone && stream->conn->state < DOWN)
        resume(stream);
}

void grpc_stream_cancel(struct grpc_stream *stream)
{
    struct grpc_conn *conn = stream->conn;

    if (stream->gone)
        return;
    stream_abort(stream, NGHTTP2_CANCEL);
    stream_detach(stream);
    if (conn->state == DRAINING && !has_calls(conn))
        want_turn_end(conn); /* the last one: time to go down */
    reap(conn);
}

/* ---- time ---- */

static void on_ping_due(struct grpc_conn *conn)
{
    uint64_t now = uv_now(conn->loop);
    uint64_t silent_ms = now - conn->heard_ms;

    if (conn->ping_out && conn->heard_ms < conn->pinged_ms) {
        go_down_with(conn, "the server does not answer any more");
        return;
    }
    conn->ping_out = false;
    if (silent_ms < conn->options.ping_interval_ms) {
        set_due(conn, &conn->ping, conn->options.ping_interval_ms - silent_ms);
        return;
    }
    conn->ping_out = true;
    conn->pinged_ms = now;
    (void)nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL); /* out of memory only */
    want_turn_end(conn);
    set_due(conn, &conn->ping, conn->options.ping_timeout_ms);
}

static void on_deadline(struct grpc_stream *stream)
{
    stream_abort(stream, NGHTTP2_CANCEL);
    stream_done(stream, GRPC_DEADLINE_EXCEEDED, "the deadline of the call has passed");
}

static void on_timer(uv_timer_t *timer)
{
    struct grpc_conn *conn = CONTAINER_OF(timer, struct grpc_conn, timer);
    struct due *first;

    conn->armed_ms = UINT64_MAX;
    conn->depth++;
    while (conn->state < DOWN && (first = due_first(&conn->due)) != NULL &&
           first->at_ms <= uv_now(conn->loop)) {
        due_clear(&conn->due, first);
        if (first == &conn->greeting)
            go_down_with(conn, "no answer in time; is it there, and does it speak gRPC?");
        else if (first == &conn->ping)
            on_ping_due(conn);
        else
            on_deadline(CONTAINER_OF(first, struct grpc_stream, deadline));
    }
    settle(conn);
    conn->depth--;
    reap(conn);
    if (conn->state < DOWN)
        arm_timer(conn);
}

/* ---- the socket ---- */

static void on_sock_connect(void *ctx, int status, const struct err *err)
{
    struct grpc_conn *conn = ctx;

    if (status != 0) {
        go_down(conn, err);
        reap(conn);
        return;
    }
    conn->state = GREETING;
    conn->heard_ms = uv_now(conn->loop);
    want_turn_end(conn);
}

static void on_sock_read(void *ctx, struct slice bytes)
{
    struct grpc_conn *conn = ctx;
    ssize_t n;

    if (conn->state >= DOWN)
        return;
    conn->heard_ms = uv_now(conn->loop);
    conn->depth++;
    conn->in_session = true;
    n = nghttp2_session_mem_recv(conn->session, bytes.data, bytes.len);
    conn->in_session = false;
    if (n < 0 && conn->state < DOWN)
        go_down_with(conn, nghttp2_strerror((int)n));
    if (conn->state < DOWN && nghttp2_session_want_write(conn->session))
        want_turn_end(conn);
    settle(conn);
    conn->depth--;
    reap(conn);
}

static void on_sock_end(void *ctx, int status)
{
    struct grpc_conn *conn = ctx;

    if (conn->goodbye.code != 0)
        go_down(conn, &conn->goodbye);
    else if (net_sock_trouble(conn->sock)[0] != '\0')
        go_down_with(conn, net_sock_trouble(conn->sock));
    else
        go_down_with(conn, status == 0 ? "the server closed the connection"
                                       : "the connection to the server broke");
    reap(conn);
}

static void on_sock_drain(void *ctx)
{
    want_turn_end(ctx);
}

static const struct net_sock_events sock_events = {
    .on_connect = on_sock_connect,
    .on_read = on_sock_read,
    .on_end = on_sock_end,
    .on_drain = on_sock_drain,
};

/* ---- open and close ---- */

int grpc_conn_new(uv_loop_t *loop, const struct net_addr *addr,
                  const struct grpc_conn_options *options, const struct grpc_conn_events *events,
                  void *ctx, struct grpc_conn **out, struct err *err)
{
    struct grpc_conn *conn = xcalloc(1, sizeof *conn);
    int rc;

    rc = net_sock_connect(loop, addr, options != NULL ? options->tls : NULL, &sock_events, conn,
                          &conn->sock, err);
    if (rc != 0) {
        free(conn);
        return rc;
    }
    conn->loop = loop;
    conn->events = events;
    conn->ctx = ctx;
    if (options != NULL)
        conn->options = *options;
    if (conn->options.connect_timeout_ms == 0)
        conn->options.connect_timeout_ms = CONNECT_TIMEOUT_MS;
    if (conn->options.message_size_max == 0)
        conn->options.message_size_max = INT32_MAX;
    if (conn->options.ping_timeout_ms == 0)
        conn->options.ping_timeout_ms = PING_TIMEOUT_MS;
    conn->scheme = addr->tls ? "https" : "http";
    if (conn->options.stream_window == 0)
        conn->options.stream_window = STREAM_WINDOW;
    if (addr->is_unix) /* gRPC over Unix sockets has no host to name */
        (void)snprintf(conn->authority, sizeof conn->authority, "localhost");
    else
        net_addr_format(addr, conn->authority, sizeof conn->authority);
    list_init(&conn->held);
    list_init(&conn->streams);
    list_init(&conn->ended);
    list_init(&conn->dead);
    list_init(&conn->pool);
    buf_init(&conn->out, SIZE_MAX / 2); /* emptied at WRITE_SIZE plus a frame */
    due_heap_init(&conn->due);
    (void)uv_idle_init(loop, &conn->turn_end); /* these two cannot fail */
    (void)uv_timer_init(loop, &conn->timer);
    conn->armed_ms = UINT64_MAX;
    session_start(conn);
    uv_update_time(loop);
    set_due(conn, &conn->greeting, conn->options.connect_timeout_ms);
    *out = conn;
    return 0;
}

static void free_streams(struct list *list)
{
    while (!list_empty(list))
        stream_free(LIST_FIRST(list, struct grpc_stream, link));
}

static void on_part_closed(struct grpc_conn *conn)
{
    void (*cb)(void *ctx) = conn->close_cb;
    void *ctx = conn->close_ctx;

    if (--conn->closing > 0)
        return;
    nghttp2_session_del(conn->session);
    free_streams(&conn->dead);
    free_streams(&conn->pool);
    due_heap_release(&conn->due);
    buf_release(&conn->out);
    free(conn);
    if (cb != NULL)
        cb(ctx);
}

static void on_sock_closed(void *ctx)
{
    on_part_closed(ctx);
}

static void on_idle_closed(uv_handle_t *handle)
{
    on_part_closed(CONTAINER_OF(handle, struct grpc_conn, turn_end));
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_part_closed(CONTAINER_OF(handle, struct grpc_conn, timer));
}

static void detach_all(struct list *list)
{
    while (!list_empty(list))
        stream_detach(LIST_FIRST(list, struct grpc_stream, link));
}

void grpc_conn_close(struct grpc_conn *conn, void (*cb)(void *ctx), void *ctx)
{
    ASSERT(conn->state != CLOSED);
    /* What was queued in this turn, cancellations above all, should still go out. */
    if (conn->depth == 0)
        send_frames(conn);
    conn->state = CLOSED;
    conn->close_cb = cb;
    conn->close_ctx = ctx;
    detach_all(&conn->held);
    detach_all(&conn->streams);
    detach_all(&conn->ended);
    conn->closing = 3;
    uv_close((uv_handle_t *)&conn->turn_end, on_idle_closed);
    uv_close((uv_handle_t *)&conn->timer, on_timer_closed);
    net_sock_close(conn->sock, on_sock_closed, conn);
}
