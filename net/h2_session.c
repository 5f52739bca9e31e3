/* One nghttp2 session per connection: callbacks, limits against floods, keepalive, drain. */
#include <stdlib.h>

#include "base/mem.h"
#include "net/server_internal.h"

enum {
    RESETS_BURST = 1000, /* the client's and those that it makes us send */
    RESETS_PER_SECOND = 33,
    FRAMES_BURST = 2000,
    FRAMES_PER_SECOND = 200,
    FRAMES_PER_DATA = 3, /* what a client may fairly answer to a DATA frame: two WINDOW_UPDATEs and
                            a PING to measure the bandwidth */
    FRAMES_PER_MESSAGE = 2,
    MESSAGE_FRAMES_MAX = 1 << 20,
    FRAMES_PER_CALL = 2,
    DRAIN_NOTICE_MS = 1000,
    STREAM_WINDOW_SLACK = 64 * 1024,
};

static const uint8_t ping_alive[8] = "kvdalive";
static const uint8_t ping_drain[8] = "kvddrain";

/* ---- floods ---- */

static void bucket_init(struct bucket *bucket, uint32_t burst, uint32_t per_second, uint64_t now_ms)
{
    *bucket =
        (struct bucket){.tokens = burst, .burst = burst, .per_second = per_second, .at_ms = now_ms};
}

bool bucket__take(struct bucket *bucket, uint64_t now_ms)
{
    uint64_t fresh;

    if (bucket->tokens > 0) {
        bucket->tokens--;
        return true;
    }
    fresh = MIN((now_ms - bucket->at_ms) * bucket->per_second / 1000, (uint64_t)bucket->burst);
    if (fresh == 0)
        return false;
    bucket->at_ms = now_ms;
    bucket->tokens = (uint32_t)fresh - 1;
    return true;
}

void h2__calm(struct h2 *h2, const char *text)
{
    if (h2->calm == NULL)
        h2->calm = text;
}

/* A frame that moves no work forward. */
static int count_idle_frame(struct h2 *h2)
{
    if (h2->message_frames > 0) {
        h2->message_frames--;
        return 0;
    }
    if (bucket__take(&h2->frames, server__now(h2->conn->server)))
        return 0;
    h2__calm(h2, "too_many_frames");
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* gRPC clients credit message by message, however few DATA frames these came in, and all that fit
 * into their window may come at once: so there is no small maximum here. */
void h2__message_sent(struct h2 *h2)
{
    if (h2->message_frames < MESSAGE_FRAMES_MAX)
        h2->message_frames += FRAMES_PER_MESSAGE;
}

/* Something moved on, which the client may answer with so many. */
static void earn_frames(struct h2 *h2, size_t count)
{
    h2->frames.tokens += (uint32_t)MIN(count, (size_t)(h2->frames.burst - h2->frames.tokens));
}

static int count_reset(struct h2 *h2)
{
    if (bucket__take(&h2->resets, server__now(h2->conn->server)))
        return 0;
    h2__calm(h2, "too_many_resets");
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* As grpc-go enforces --grpc-keepalive-min-time: a ping is fine if we have sent something since
 * the last one, else it must keep its distance. */
static int on_ping(struct h2 *h2)
{
    const struct net_server_options *options = &h2->conn->server->options;
    uint64_t now = server__now(h2->conn->server);
    uint64_t distance = h2->call_count > 0
                            ? options->ping_min_interval_ms
                            : MAX(options->ping_min_interval_ms, (uint64_t)PING_IDLE_MIN_MS);
    bool early = h2->ping_last_ms != 0 && now - h2->ping_last_ms < distance;

    h2->ping_last_ms = MAX(now, (uint64_t)1);
    if (h2->ping_forgiven) {
        h2->ping_forgiven = false;
        h2->ping_strikes = 0;
    } else if (early && ++h2->ping_strikes > PING_STRIKES_MAX) {
        h2__calm(h2, "too_many_pings");
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return count_idle_frame(h2);
}

/* ---- callbacks ---- */

static struct grpc_call *find_call(struct h2 *h2, int32_t stream_id)
{
    struct grpc_call *call = h2->cur;

    if (call != NULL && call->stream_id == stream_id)
        return call;
    call = nghttp2_session_get_stream_user_data(h2->session, stream_id);
    if (call != NULL)
        h2->cur = call;
    return call;
}

static bool room_for_call(const struct h2 *h2)
{
    const struct net_server *server = h2->conn->server;

    return h2->held + CALL_COST <= CONN_HELD_MAX && server->held + CALL_COST <= SERVER_HELD_MAX;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct h2 *h2 = user_data;
    int32_t id = frame->hd.stream_id;

    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (!room_for_call(h2))
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    h2->cur = call__new(h2, id);
    return nghttp2_session_set_stream_user_data(session, id, h2->cur);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *user_data)
{
    struct grpc_call *call;

    (void)session;
    (void)flags;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers of a request say nothing in gRPC */
    call = find_call(user_data, frame->hd.stream_id);
    if (call != NULL)
        call__on_header(call, name, value);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                         const uint8_t *data, size_t len, void *user_data)
{
    struct h2 *h2 = user_data;
    struct grpc_call *call = find_call(h2, stream_id);

    (void)session;
    (void)flags;
    h2->uncredited += len;
    if (call != NULL)
        call__on_data(call, data, len);
    return h2->calm != NULL ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_ping_ack(struct h2 *h2, const nghttp2_frame *frame)
{
    if (memcmp(frame->ping.opaque_data, ping_drain, sizeof ping_drain) == 0 &&
        h2->goaway_final_ms != 0) {
        h2->goaway_final_ms = server__now(h2->conn->server);
        server__set_due(h2->conn->server, &h2->conn->timed, h2->goaway_final_ms);
    }
    return 0;
}

static int on_stream_frame(struct h2 *h2, const nghttp2_frame *frame)
{
    struct grpc_call *call = find_call(h2, frame->hd.stream_id);

    if (call == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        earn_frames(h2, FRAMES_PER_CALL); /* calls that wait for hours have a window, too */
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST &&
        !call__on_headers_end(call))
        return nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                         NGHTTP2_PROTOCOL_ERROR);
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        call__on_half_close(call);
    else if (frame->hd.type == NGHTTP2_DATA && frame->hd.length == 0)
        return count_idle_frame(h2);
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct h2 *h2 = user_data;

    (void)session;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        return on_stream_frame(h2, frame);
    case NGHTTP2_PING:
        return (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 ? on_ping_ack(h2, frame) : on_ping(h2);
    case NGHTTP2_SETTINGS:
        h2->settings_seen = true;
        return count_idle_frame(h2);
    case NGHTTP2_WINDOW_UPDATE:
    case NGHTTP2_PRIORITY:
        return count_idle_frame(h2);
    case NGHTTP2_RST_STREAM:
        return count_reset(h2);
    default:
        return 0;
    }
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *user_data)
{
    (void)session;
    (void)frame;
    (void)error;
    return count_reset(user_data);
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    const struct grpc_call *call;

    switch (frame->hd.type) {
    case NGHTTP2_RST_STREAM:
        /* "Made you reset": invalid frames make us end streams, past the limit of concurrent ones.
         * Inside a send: settle() acts on it. */
        if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
            (void)count_reset(user_data);
        return 0;
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
            return 0;
        /* The client may still be sending a request that nobody will read (RFC 9113 section 8.1).
         * Not earlier: nghttp2 drops what is queued for a stream that is to be reset. */
        call = find_call(user_data, frame->hd.stream_id);
        if (call != NULL && !call->remote_closed)
            return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                             NGHTTP2_NO_ERROR);
        return 0;
    default:
        return 0;
    }
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error,
                           void *user_data)
{
    struct grpc_call *call = find_call(user_data, stream_id);

    (void)session;
    (void)error;
    if (call != NULL)
        call__gone(call);
    return 0;
}

int h2__init_server(struct net_server *server)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    if (nghttp2_session_callbacks_new(&server->h2_callbacks) != 0 ||
        nghttp2_option_new(&server->h2_option) != 0)
        return KV_EINVAL;
    callbacks = server->h2_callbacks;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, h2__on_send_data);

    /* faults.md section 6. The limits of nghttp2 are set even where they are its defaults. */
    option = server->h2_option;
    nghttp2_option_set_no_http_messaging(option, 1); /* call__on_header() looks after it */
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, 1000);
    nghttp2_option_set_max_settings(option, 32);
    nghttp2_option_set_max_continuations(option, 8);
    /* Ours speaks first: it stops within the input at hand, nghttp2 only behind it. */
    nghttp2_option_set_stream_reset_rate_limit(option, RESETS_BURST + 1, RESETS_PER_SECOND);
    return 0;
}

/* ---- life ---- */

void h2__open(struct net_conn *conn)
{
    const struct net_server_options *options = &conn->server->options;
    uint64_t now = server__now(conn->server);
    /* A whole message fits the window of its stream: no upload waits for a round trip. What
     * clients may leave lying is bounded by bytes held, not by windows. Priorities of RFC 7540
     * are switched off: they cost time and memory and gRPC has none. */
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options->concurrent_streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
         (uint32_t)options->message_size_max + STREAM_WINDOW_SLACK},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_BYTES_MAX},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    struct h2 *h2 = xcalloc(1, sizeof *h2);

    h2->conn = conn;
    h2->opened_ms = now;
    conn->h2 = h2;
    list_init(&h2->calls);
    list_init(&h2->borrowed);
    list_init(&h2->drained);
    list_init(&h2->starved);
    list_init(&h2->waiting);
    bucket_init(&h2->resets, RESETS_BURST, RESETS_PER_SECOND, now);
    bucket_init(&h2->frames, FRAMES_BURST, FRAMES_PER_SECOND, now);
    /* All three fail for want of memory only. */
    ASSERT(nghttp2_session_server_new3(&h2->session, conn->server->h2_callbacks, h2,
                                       conn->server->h2_option, &conn->server->h2_pool.mem) == 0);
    ASSERT(nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) ==
           0);
    ASSERT(nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW) ==
           0);
    conn__mark_dirty(conn);
    if (conn->server->draining)
        h2__drain(conn);
}

/* The calls first: their methods may still look at them in on_cancel. */
void h2__close(struct net_conn *conn)
{
    struct h2 *h2 = conn->h2;

    ASSERT(!h2->in_session);
    while (!list_empty(&h2->calls))
        call__gone(LIST_FIRST(&h2->calls, struct grpc_call, node));
    nghttp2_session_del(h2->session);
    ASSERT(h2->held == 0 && h2->unsent == 0);
    free(h2);
    conn->h2 = NULL;
}

/* Tells the methods that their clients are lost; the calls stay until the connection closes,
 * because nghttp2 still points at them. */
static void abandon_calls(struct h2 *h2)
{
    struct list all;

    list_init(&all);
    list_splice(&all, &h2->calls);
    while (!list_empty(&all)) {
        struct grpc_call *call = LIST_FIRST(&all, struct grpc_call, node);

        list_remove(&call->node);
        list_push_back(&h2->calls, &call->node);
        call__abandon(call);
    }
}

static void end_connection(struct h2 *h2, uint32_t code, const char *text)
{
    (void)nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(h2->session), code,
                                (const uint8_t *)text, strlen(text));
    abandon_calls(h2);
    conn__linger(h2->conn, true);
}

/* After each entry into the session: acts on what its callbacks have found. */
static void settle(struct h2 *h2)
{
    struct net_conn *conn = h2->conn;

    if (conn->state == CONN_LINGER || conn->doomed)
        return;
    if (h2->unsent <= CONN_PIECES_MAX / 2)
        list_splice(&h2->drained, &h2->starved);
    /* Both call methods, which may write again: not from inside a flush. */
    if (call__can_serve_waiting(h2) ||
        (!list_empty(&h2->drained) && net_sock_pending(conn->sock) == 0))
        server__set_due(conn->server, &conn->timed, server__now(conn->server));
    if (h2->calm != NULL)
        end_connection(h2, NGHTTP2_ENHANCE_YOUR_CALM, h2->calm);
    else if (nghttp2_session_want_write(h2->session) != 0)
        conn__mark_dirty(conn);
    else if (nghttp2_session_want_read(h2->session) == 0 && h2->goaway_final_ms == 0) {
        abandon_calls(h2);
        conn__linger(conn, true);
    }
}

static void on_recv_error(struct h2 *h2, ssize_t rc)
{
    if (h2->calm != NULL)
        return; /* settle() says it */
    switch (rc) {
    case NGHTTP2_ERR_FLOODED:
    case NGHTTP2_ERR_TOO_MANY_SETTINGS:
        h2__calm(h2, "too_many_frames");
        break;
    case NGHTTP2_ERR_NOMEM:
    case NGHTTP2_ERR_CALLBACK_FAILURE:
        conn__doom(h2->conn);
        break;
    default:
        end_connection(h2, NGHTTP2_PROTOCOL_ERROR, nghttp2_strerror((int)rc));
        break;
    }
}

void h2__read(struct net_conn *conn, struct slice bytes)
{
    struct h2 *h2 = conn->h2;
    ssize_t rc;

    h2->ping_sent_ms = 0; /* it is alive */
    h2->in_session = true;
    rc = nghttp2_session_mem_recv(h2->session, bytes.data, bytes.len);
    h2->in_session = false;
    call__keep_borrowed(h2);
    if (h2->uncredited > 0) {
        (void)nghttp2_session_consume_connection(h2->session, h2->uncredited);
        h2->uncredited = 0;
    }
    if (rc < 0)
        on_recv_error(h2, rc);
    settle(h2);
}

/* Fills scratch with frames. False if the session is broken. */
static bool gather(struct h2 *h2)
{
    struct net_server *server = h2->conn->server;
    const uint8_t *frame;
    ssize_t n = 0;

    server->scratch_len = 0;
    h2->scratch_full = false;
    h2->in_session = true;
    while (server->scratch_len < SCRATCH_SIZE) {
        n = nghttp2_session_mem_send(h2->session, &frame);
        if (n <= 0)
            break;
        ASSERT((size_t)n <= 2 * FRAME_SIZE_MAX);
        memcpy(server->scratch + server->scratch_len, frame, (size_t)n);
        server->scratch_len += (size_t)n;
    }
    h2->in_session = false;
    if (server->scratch_len >= SCRATCH_SIZE)
        h2->scratch_full = true;
    return n >= 0;
}

void h2__flush(struct net_conn *conn)
{
    struct h2 *h2 = conn->h2;
    struct net_server *server = conn->server;

    do {
        bool ok = gather(h2);

        if (!conn__write(conn, slice_of(server->scratch, server->scratch_len)))
            return;
        if (!ok) {
            conn__doom(conn);
            return;
        }
    } while (h2->scratch_full && net_sock_pending(conn->sock) <= SOCK_PENDING_HIGH);
    if (h2->data_frames > 0) {
        earn_frames(h2, h2->data_frames * FRAMES_PER_DATA);
        h2->data_frames = 0;
        if (conn->progress_ms != 0)
            conn->progress_ms = server__now(server);
    }
    settle(h2);
}

/* ---- keepalive, drain ---- */

void h2__drain(struct net_conn *conn)
{
    struct h2 *h2 = conn->h2;

    if (h2->goaway_final_ms != 0)
        return;
    /* RFC 9113 section 6.8: first say that the end is near and let what is under way arrive. */
    (void)nghttp2_submit_shutdown_notice(h2->session);
    (void)nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, ping_drain);
    h2->goaway_final_ms = server__now(conn->server) + DRAIN_NOTICE_MS;
    server__set_due(conn->server, &conn->timed, h2->goaway_final_ms);
    conn__mark_dirty(conn);
}

static void say_final_goaway(struct h2 *h2)
{
    h2->goaway_final_ms = 0;
    (void)nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(h2->session),
                                NGHTTP2_NO_ERROR, NULL, 0);
    conn__mark_dirty(h2->conn);
}

static void call_drained(struct h2 *h2)
{
    struct list drained;

    if (list_empty(&h2->drained) || net_sock_pending(h2->conn->sock) != 0)
        return;
    list_init(&drained);
    list_splice(&drained, &h2->drained);
    while (!list_empty(&drained)) {
        struct grpc_call *call = LIST_FIRST(&drained, struct grpc_call, drain_node);

        list_remove(&call->drain_node);
        if (call->on_drain != NULL && !call->ended && call->queued == 0)
            call->on_drain(call);
    }
}

void h2__on_due(struct net_conn *conn)
{
    struct h2 *h2 = conn->h2;
    const struct net_server_options *options = &conn->server->options;
    uint64_t now = server__now(conn->server);

    call_drained(h2);
    call__serve_waiting(h2);
    if (!h2->settings_seen && now >= h2->opened_ms + options->preface_timeout_ms) {
        conn__doom(conn);
        return;
    }
    if (h2->ping_sent_ms != 0) {
        if (now >= h2->ping_sent_ms + options->ping_timeout_ms)
            conn__doom(conn);
    } else if (now >= conn->last_read_ms + options->ping_interval_ms) {
        h2->ping_sent_ms = MAX(now, (uint64_t)1);
        (void)nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, ping_alive);
        conn__mark_dirty(conn);
    }
    if (h2->goaway_final_ms != 0 && now >= h2->goaway_final_ms)
        say_final_goaway(h2);
}

uint64_t h2__next_due(const struct net_conn *conn)
{
    const struct h2 *h2 = conn->h2;
    const struct net_server_options *options = &conn->server->options;
    uint64_t at = h2->ping_sent_ms != 0 ? h2->ping_sent_ms + options->ping_timeout_ms
                                        : conn->last_read_ms + options->ping_interval_ms;

    if (!h2->settings_seen)
        at = MIN(at, h2->opened_ms + options->preface_timeout_ms);
    if (h2->goaway_final_ms != 0)
        at = MIN(at, h2->goaway_final_ms);
    return at;
}
