/* Shared by the files of the listener side: server.c (life cycle), h2_session.c, h2_recv.c,
 * h2_send.c, pieces.c, h2_mem.c (HTTP/2), http1.c, http.c (HTTP), inner.c, grpc.c, methods.c.
 *
 * Ownership: a server owns its connections, a connection its protocol state, that its calls or its
 * one request. Everything happens on the loop's thread. A connection is only ever freed at the top
 * of a callback of the loop: code below asks for it with conn__doom(). */
#ifndef KVD_NET_SERVER_INTERNAL_H
#define KVD_NET_SERVER_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "base/list.h"
#include "net/due.h"
#include "net/server.h"

enum {
    MESSAGE_SIZE_MAX = 2 * 1024 * 1024,
    LISTENERS_MAX = 64,
    HEADER_FIELDS_MAX = 128,
    HEADER_BYTES_MAX = 16 * 1024,
    GRPC_MESSAGE_MAX = 1024, /* of a status text, before escaping: clients cap header lists */

    SCRATCH_SIZE = 256 * 1024, /* output of one connection gathered for one write */
    FRAME_SIZE_MAX = 16 * 1024 + 9,
    SOCK_PENDING_HIGH = 512 * 1024, /* over it: take no more frames, read no more requests */

    CONN_WINDOW = 16 * 1024 * 1024,
    CALL_COST = 1024, /* a call's fixed memory: ours, nghttp2's stream */
    CONN_HELD_MAX = 128 * 1024 * 1024,
    CONN_UNSENT_MAX = 64 * 1024 * 1024,
    CONN_UNSENT_FAIR = 4 * 1024 * 1024,
    CONN_PIECES_MAX = 2 * 1024 * 1024, /* over it, streams wait with their next pieces */
    SERVER_UNSENT_MAX = 1024 * 1024 * 1024,
    SERVER_HELD_MAX = 512 * 1024 * 1024,

    STALL_BYTES = 256 * 1024, /* a client that reads nothing may hold this much for ever */
    LINGER_MS = 1000,

    CALL_POOL_MAX = 1024,
    CHUNK_POOL_MAX = 1024,
    CHUNK_SIZE = 2048 - 32,

    PING_STRIKES_MAX = 2,
    PING_IDLE_MIN_MS = 2 * 3600 * 1000, /* between pings without a call, as grpc-go has it */
};

/* ---- method table (methods.c) ---- */

struct method_slot {
    const struct grpc_method *method; /* NULL: free */
    char *path;                       /* "/service/name" */
    size_t path_len;
};

struct method_table {
    struct method_slot *slots;
    size_t mask;
};

void method_table__init(struct method_table *table, const struct grpc_method *methods,
                        size_t count);
void method_table__release(struct method_table *table);
const struct grpc_method *method_table__find(const struct method_table *table, struct slice path);
bool method_table__has_service(const struct method_table *table, struct slice service);

/* ---- memory of nghttp2 (h2_mem.c) ---- */

enum { H2_POOL_CLASSES = 8 };

struct h2_pool {
    nghttp2_mem mem;
    struct piece *free[H2_POOL_CLASSES];
    size_t count[H2_POOL_CLASSES];
};

void h2_pool__init(struct h2_pool *pool);
/* After the last session. */
void h2_pool__release(struct h2_pool *pool);

/* ---- server and connection (server.c) ---- */

enum due_kind { DUE_CALL, DUE_CONN };

struct timed {
    struct due due;
    enum due_kind kind;
};

struct net_server {
    struct net_server_options options; /* defaults filled in */
    struct method_table methods;
    nghttp2_session_callbacks *h2_callbacks;
    nghttp2_option *h2_option;
    struct h2_pool h2_pool;

    struct net_listener *listeners[LISTENERS_MAX];
    struct listen_ctx {
        struct net_server *server;
        bool tls;
    } listen_ctx[LISTENERS_MAX];
    uint16_t ports[LISTENERS_MAX];
    size_t listener_count;

    struct list conns;
    size_t conn_count;
    struct list dirty; /* connections that may have output */

    struct due_heap due;
    uv_timer_t timer;
    uint64_t timer_at_ms; /* UINT64_MAX: not armed */

    struct list call_pool;
    size_t call_pool_count;
    struct out_chunk *chunk_pool;
    size_t chunk_pool_count;
    struct list inner_ended; /* calls of inner.c that wait to be freed */
    uint8_t *scratch;
    size_t scratch_len;

    size_t calls;                      /* gRPC calls and HTTP requests under way */
    size_t held;                       /* bytes of requests, with CALL_COST per call */
    size_t unsent;                     /* bytes of answers not yet given to a socket */
    size_t bytes_received, bytes_sent; /* of messages, since on_bytes() was told */

    char date[32]; /* of HTTP answers, good for one second */
    time_t date_at;

    bool draining;
    bool closing;
    size_t closing_handles; /* whose close callback is awaited */
    void (*on_closed)(void *ctx);
    void *on_closed_ctx;
};

/* unknown ──▶ http1 ──▶ linger: output goes out, input is thrown away, then close
 *        └──▶ http2 ──▶ linger */
enum conn_state { CONN_UNKNOWN, CONN_HTTP1, CONN_HTTP2, CONN_LINGER };

struct net_conn {
    struct net_server *server;
    struct net_sock *sock;
    struct list node;
    struct list dirty_node;
    struct timed timed;
    enum conn_state state;
    uint8_t preface_len; /* bytes of the HTTP/2 preface seen while unknown */
    bool tls;
    bool doomed;          /* is closed at the next chance; no callbacks into the session */
    bool close_when_sent; /* linger: unread input cannot destroy what we send */
    bool paused;          /* not reading: the client does not take its answers */
    bool read_since_resume;
    uint64_t last_read_ms;
    uint64_t progress_ms; /* when the client last took output; 0: not much waits */
    size_t pending_mark;  /* net_sock_pending() then */
    size_t promised;      /* bytes that messages under way are yet to get */
    struct h2 *h2;
    struct h1 *h1;
};

uint64_t server__now(const struct net_server *server);
void server__set_due(struct net_server *server, struct timed *timed, uint64_t at_ms);
void server__clear_due(struct net_server *server, struct timed *timed);
/* "Sun, 06 Nov 1994 08:49:37 GMT" */
const char *server__date(struct net_server *server);

/* Closes the connection in the next turn. */
void conn__doom(struct net_conn *conn);
/* Lets queued output go out, then closes. */
void conn__linger(struct net_conn *conn, bool input_unread);
void conn__mark_dirty(struct net_conn *conn);
/* After the protocol's next deadline has changed. */
void conn__rearm(struct net_conn *conn);
/* To the socket; false once the connection is of no use any more. */
bool conn__write(struct net_conn *conn, struct slice bytes);
/* Bytes that wait for this client, in all. */
size_t conn__unsent(const struct net_conn *conn);

/* ---- HTTP/2 (h2_session.c) ---- */

/* Tokens that come back with time: floods of cheap frames are counted with it. */
struct bucket {
    uint32_t tokens;
    uint32_t burst;
    uint32_t per_second;
    uint64_t at_ms;
};

struct h2 {
    nghttp2_session *session;
    struct net_conn *conn;
    struct list calls;
    size_t call_count;
    struct grpc_call *cur;        /* cache of the last stream looked up */
    struct list borrowed;         /* calls whose message still lies in the input buffer */
    struct list drained;          /* calls whose on_drain is due */
    struct list starved;          /* calls with pieces to send and no room for them */
    struct list waiting;          /* requests that come up once older answers are read */
    size_t held;                  /* as in net_server */
    size_t unsent;                /* as in net_server */
    size_t uncredited;            /* bytes to give back to the connection window */
    struct bucket resets, frames; /* streams reset by either side; frames that carried nothing */
    uint32_t message_frames;      /* such frames that the client may answer our messages with */
    const char *calm;             /* set: end the connection with ENHANCE_YOUR_CALM and this text */
    bool in_session;              /* inside nghttp2_session_mem_recv() or _mem_send() */
    bool settings_seen;
    uint32_t data_frames; /* sent in this flush */
    bool scratch_full;    /* output was cut, more is there */

    uint64_t opened_ms;
    uint64_t ping_last_ms; /* from the client; 0: none yet */
    uint32_t ping_strikes;
    bool ping_forgiven;       /* we have sent something since the last one */
    uint64_t ping_sent_ms;    /* ours, unanswered; 0: none */
    uint64_t goaway_final_ms; /* drain: when the second GOAWAY goes out at the latest; 0: not */
};

int h2__init_server(struct net_server *server);
void h2__open(struct net_conn *conn);
void h2__close(struct net_conn *conn);
/* False: the connection has failed and is to be closed. */
void h2__read(struct net_conn *conn, struct slice bytes);
void h2__flush(struct net_conn *conn);
void h2__drain(struct net_conn *conn);
void h2__on_due(struct net_conn *conn);
uint64_t h2__next_due(const struct net_conn *conn);
bool bucket__take(struct bucket *bucket, uint64_t now_ms);
/* After this callback the connection is told to calm down. */
void h2__calm(struct h2 *h2, const char *text);
/* The client may answer a message with frames that carry nothing. */
void h2__message_sent(struct h2 *h2);

/* ---- HTTP/2 streams: calls (h2_recv.c) ---- */

struct call_header {
    nghttp2_rcbuf *name;
    nghttp2_rcbuf *value;
};

struct out_chunk {
    struct out_chunk *next;
    size_t off; /* sent so far */
    size_t len;
    size_t cap;
    uint8_t bytes[];
};

enum { CALL_HEADERS_INLINE = 8 };

struct grpc_call {
    struct net_conn *conn;
    struct list node;          /* in h2.calls, or in the pool */
    struct list borrowed_node; /* in h2.borrowed */
    struct list drain_node;    /* in h2.drained or h2.starved */
    struct list wait_node;     /* in h2.waiting */
    struct timed timed;
    const struct grpc_method *method;
    void *data;
    struct arena arena;
    uint64_t deadline_ms;
    uint64_t started_ns;
    int32_t stream_id;

    bool counted : 1;        /* on_call_start was told */
    bool seen : 1;           /* the method knows of the call */
    bool ended : 1;          /* finished, cancelled or refused: no callback any more */
    bool remote_closed : 1;  /* END_STREAM seen */
    bool ignore_input : 1;   /* what still comes is of no interest */
    bool response_begun : 1; /* HEADERS submitted */
    bool deferred : 1;       /* nghttp2 waits for nghttp2_session_resume_data() */
    bool trailers_due : 1;   /* finish when the queue is empty */
    bool has_message : 1;    /* a whole message waits for the half-close */
    bool headers_over : 1;   /* more header fields or bytes than allowed */
    bool malformed : 1;      /* header fields that HTTP/2 forbids */
    bool has_scheme : 1;     /* :scheme, :authority and an ordinary field were seen */
    bool has_authority : 1;
    bool has_field : 1;
    bool has_verb : 1; /* :method was seen */
    bool is_post : 1;
    bool is_grpc : 1;    /* by content-type */
    bool plus_proto : 1; /* content-type application/grpc+proto */
    bool has_timeout : 1;
    bool bad_timeout : 1;
    bool incremental : 1; /* shares the connection with other big answers */

    /* Request headers that nghttp2 keeps for us. */
    size_t header_count;
    struct call_header headers_inline[CALL_HEADERS_INLINE];
    struct call_header *headers; /* headers_inline or in the arena */
    size_t header_cap;
    size_t header_bytes;
    size_t header_fields;
    nghttp2_rcbuf *path;   /* until END_HEADERS */
    struct slice verb;     /* :method if not POST; in the arena, as the next two */
    struct slice encoding; /* grpc-encoding if not identity */
    struct slice timeout;  /* grpc-timeout if malformed */

    /* The message that is coming in. */
    uint8_t prefix[GRPC_FRAME_HEADER_SIZE];
    uint8_t prefix_len;
    size_t need; /* length of the message, once the prefix is whole */
    uint8_t *in;
    size_t in_len, in_cap;
    struct slice message; /* whole; in the input buffer or in `in` */
    size_t uncredited;    /* bytes to give back to the stream window */
    size_t cost;          /* counted in held */

    /* Answers. */
    struct out_chunk *out_first, *out_last;
    size_t queued;
    struct out_chunk *open_chunk; /* holds the message that is being written */
    uint8_t *open_at;
    size_t open_len;
    size_t message_left; /* of a message that comes in pieces; counted in conn->promised */
    uint8_t *whole;      /* inner: where its pieces are put together, if they are */
    size_t whole_len;
    enum grpc_status status;
    struct slice status_text; /* escaped; in the arena */
    void (*on_drain)(struct grpc_call *call);

    struct http_request *http; /* HTTP over HTTP/2 */

    /* Opened by http_call_open(), and then no stream; NULL for all others. */
    struct http_request *origin;
    const struct http_call_events *origin_events;
};

struct grpc_call *call__new(struct h2 *h2, int32_t stream_id);
/* The stream is gone: tells the method if it does not know, frees. */
void call__gone(struct grpc_call *call);
/* Refused by us before or instead of the method. */
void call__refuse(struct grpc_call *call, int http_status, enum grpc_status status,
                  const char *text);
/* The connection is lost: as call__gone() for the method, but the memory stays. */
void call__abandon(struct grpc_call *call);
void call__on_due(struct grpc_call *call);
/* Accounts for memory that the client makes us hold; negative to give back. */
void call__hold(struct grpc_call *call, ptrdiff_t delta);
void call__on_header(struct grpc_call *call, nghttp2_rcbuf *name, nghttp2_rcbuf *value);
/* False: the fields are not what HTTP/2 allows; the stream has to be reset. */
bool call__on_headers_end(struct grpc_call *call);
void call__on_data(struct grpc_call *call, const uint8_t *data, size_t len);
void call__on_half_close(struct grpc_call *call);
/* Hands over requests that had to wait, as far as there is room for their answers. */
bool call__can_serve_waiting(const struct h2 *h2);
void call__serve_waiting(struct h2 *h2);
/* The input buffer is about to go: keeps what is still needed of it. */
void call__keep_borrowed(struct h2 *h2);
struct slice call__header(const struct grpc_call *call, const char *name);

/* ---- answers (h2_send.c) ---- */

ssize_t h2__on_read_data(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *user_data);
int h2__on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                     size_t length, nghttp2_data_source *source, void *user_data);
/* An answer of HTTP over HTTP/2, whole. */
void call__http_response(struct grpc_call *call, const nghttp2_nv *nv, size_t count,
                         struct slice body);
/* Its head alone. */
void call__http_begin(struct grpc_call *call, const nghttp2_nv *nv, size_t count);
void call__drop_output(struct grpc_call *call);
/* Space for output behind what is queued, and its way into the queue. */
uint8_t *call__open_space(struct grpc_call *call, size_t len);
void call__queue_open(struct grpc_call *call);
/* Begins the response if that has not been done, and tells nghttp2. */
void call__resume(struct grpc_call *call);
/* The stream ends where it is, with an error code of HTTP/2. */
void call__reset(struct grpc_call *call, uint32_t code);
/* ---- messages in pieces (pieces.c) ---- */

/* The rest will not come. */
void call__forget_message(struct grpc_call *call);
/* Ends a call that has promised more. */
void call__break_message(struct grpc_call *call, enum grpc_status status);

/* The message that was being written, if any, will not be sent. */
void call__forget_open(struct grpc_call *call);
/* An answer of HTTP over HTTP/2 in pieces: a chunk, and the end. */
void call__http_chunk(struct grpc_call *call, struct slice bytes);
void call__http_end(struct grpc_call *call);
/* Trailers alone, or after what is queued. http_status counts only if nothing was sent yet. */
void call__end_response(struct grpc_call *call, int http_status);
void call__mark_ended(struct grpc_call *call, enum grpc_status status);
/* A message of so many bytes went this way; before its method sees it. */
void call__count_message(struct grpc_call *call, enum grpc_way way, size_t len);

/* ---- gRPC odds (grpc.c) ---- */

/* Never compressed; returns the end. */
static inline uint8_t *grpc__put_frame_header(uint8_t *p, size_t len)
{
    *p++ = 0;
    *p++ = (uint8_t)(len >> 24);
    *p++ = (uint8_t)(len >> 16);
    *p++ = (uint8_t)(len >> 8);
    *p++ = (uint8_t)len;
    return p;
}

struct slice grpc__escape(struct arena *arena, const char *message);
int grpc__timeout(struct slice value, uint64_t *out_ms);
bool grpc__content_type(struct slice value);

/* ---- HTTP requests (http.c) and HTTP/1.1 (http1.c) ---- */

enum { HTTP_EXTRA_MAX = 32, HTTP_ANSWER_FIELDS_MAX = HTTP_EXTRA_MAX + 3 };

struct http_field {
    struct slice name; /* lower case */
    struct slice value;
};

struct http_request {
    struct net_conn *conn;
    struct grpc_call *call;  /* over HTTP/2; NULL: HTTP/1.1 */
    struct grpc_call *inner; /* opened by http_call_open() */
    struct arena *arena;     /* own_arena, or over HTTP/2 the call's: a watch that is open for hours
                              * shall     not keep two blocks where one will do */
    struct arena own_arena;
    void *data;
    const char *method;
    const char *path;
    const char *query;
    struct http_field *fields; /* HTTP/1.1's, HEADER_FIELDS_MAX; HTTP/2 keeps them with the call */
    size_t field_count;
    struct http_field *extra; /* in the arena; HTTP_EXTRA_MAX at most */
    size_t extra_count, extra_cap;
    struct buf body;
    bool dispatched; /* on_http() was told and the answer, or the rest of it, is due */
    bool begun;      /* the answer comes in pieces */
    bool sized;      /* and its length was told */
    size_t space;    /* asked for by http_reply_space() and not filled yet */
    void (*on_drain)(struct http_request *request);
    bool keep_alive;
    bool minor_0; /* HTTP/1.0 */
};

/* arena NULL: one of its own. */
void http__init(struct http_request *request, struct net_conn *conn, struct arena *arena);
/* For the next one on the connection. */
void http__reset(struct http_request *request);
void http__release(struct http_request *request);
/* Splits and decodes a request target. KV_EPROTO. */
int http__set_target(struct http_request *request, struct slice target);
/* Hands it to the service, or answers what net answers itself (OPTIONS). */
void http__dispatch(struct http_request *request);
void http__cancel(struct http_request *request);
void http__reply_too_large(struct http_request *request);
const char *http__reason(int status);
/* As --cors has it; a request without an Origin is none of a page in a browser. */
bool http__origin_is_allowed(const struct http_request *request);
/* Headers of every answer and those of the service; returns how many. */
size_t http__answer_fields(const struct http_request *request,
                           struct http_field out[HTTP_ANSWER_FIELDS_MAX]);

void h1__open(struct net_conn *conn);
void h1__close(struct net_conn *conn);
void h1__read(struct net_conn *conn, struct slice bytes);
void h1__flush(struct net_conn *conn);
void h1__drain(struct net_conn *conn);
void h1__on_due(struct net_conn *conn);
uint64_t h1__next_due(const struct net_conn *conn);
/* So much is pipelined that no more should be read. */
bool h1__input_full(const struct net_conn *conn);
size_t h1__unsent(const struct net_conn *conn);
void h1__reply(struct http_request *request, int status, const char *content_type,
               struct slice body);
/* len SIZE_MAX: not known. */
void h1__reply_begin(struct http_request *request, int status, const char *content_type,
                     size_t len);
uint8_t *h1__reply_space(struct http_request *request, size_t len);
void h1__reply_space_send(struct http_request *request);
void h1__reply_chunk(struct http_request *request, struct slice bytes);
void h1__reply_end(struct http_request *request);

/* ---- calls that HTTP requests open (inner.c) ---- */

void inner__send(struct grpc_call *call);
void inner__message_begin(struct grpc_call *call, size_t len);
void inner__piece(struct grpc_call *call, struct slice piece);
void inner__finish(struct grpc_call *call, enum grpc_status status, const char *message);
void inner__on_due(struct grpc_call *call);
/* All of the answer that was there has gone out. */
void inner__on_drain(struct http_request *request);
struct slice inner__header(const struct grpc_call *call, const char *name);
void inner__free_ended(struct net_server *server);

void h2_http__begin(struct grpc_call *call);
void h2_http__on_data(struct grpc_call *call, const uint8_t *data, size_t len);
void h2_http__on_half_close(struct grpc_call *call);
void h2_http__gone(struct grpc_call *call);
#endif
