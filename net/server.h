/* One port for gRPC (HTTP/2) and HTTP/1.1, told apart by the first bytes of a connection.
 *
 * Owns connections, streams, flow control, deadlines and limits. Knows no service: the methods come
 * in a table. Loop thread only. What calls write is collected and goes out by net_server_flush(),
 * once per loop turn. */
#ifndef KVD_NET_SERVER_H
#define KVD_NET_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "net/grpc.h"
#include "net/sock.h"

struct net_server;
struct grpc_call;
struct http_request;

/* Of a message, as the server sees it. */
enum grpc_way { GRPC_RECEIVED, GRPC_SENT };

enum grpc_kind { GRPC_UNARY, GRPC_SERVER_STREAM, GRPC_BIDI_STREAM };

/* One method. Callbacks get the ctx of the server (grpc_call_ctx()). */
struct grpc_method {
    const char *service; /* "etcdserverpb.KV" */
    const char *name;    /* "Range" */
    enum grpc_kind kind;
    /* A message; borrowed until return. Unary and server streams: exactly once, after the client's
     * half-close has been seen. */
    void (*on_message)(struct grpc_call *call, struct slice message);
    /* Streams: the client will send no more. May be NULL for unary. */
    void (*on_half_close)(struct grpc_call *call);
    /* The call has ended without grpc_call_finish(): client gone, reset, or deadline passed (net
     * has answered DEADLINE_EXCEEDED). After it returns the call is gone. Only for calls that the
     * method knows, from on_message or on_half_close. May be NULL if the method always finishes
     * inside on_message. */
    void (*on_cancel)(struct grpc_call *call);
    void *tag; /* the service's own */
};

enum { NET_SERVER_CONNECTIONS_MAX = 16384 };

struct net_server_options {
    uv_loop_t *loop;
    const struct grpc_method *methods;
    size_t method_count;
    void *ctx; /* for methods and on_http */
    /* An HTTP/1.1 request, body included; must be answered by http_reply() or http_reply_begin()
     * and http_reply_end(), now or later. */
    void (*on_http)(void *ctx, struct http_request *request);
    /* Its client went away before the answer had ended; the request is gone after return. */
    void (*on_http_cancel)(void *ctx, struct http_request *request);
    /* A TLS handshake failed. May be NULL. */
    void (*on_handshake_failed)(void *ctx, const char *peer, const char *why);
    /* For metrics: a call began, had a message, ended (any way) / bytes moved. All may be NULL. */
    void (*on_call_start)(void *ctx, const struct grpc_call *call);
    void (*on_call_message)(void *ctx, const struct grpc_method *method, enum grpc_way way);
    void (*on_call_end)(void *ctx, const struct grpc_method *method, enum grpc_status status,
                        uint64_t duration_us);
    void (*on_bytes)(void *ctx, size_t received, size_t sent);

    size_t message_size_max;         /* 0: 2 MiB */
    size_t http_body_size_max;       /* 0: message_size_max */
    uint32_t concurrent_streams_max; /* per connection; 0: 2^32 - 1 as etcd announces */
    size_t connections_max;          /* 0: NET_SERVER_CONNECTIONS_MAX */
    uint64_t ping_min_interval_ms;   /* 0: 5000 (--grpc-keepalive-min-time) */
    uint64_t ping_interval_ms;       /* 0: 7200000 */
    uint64_t ping_timeout_ms;        /* 0: 20000 */
    uint64_t preface_timeout_ms;     /* first bytes, headers, idle HTTP/1.1; 0: 10000 */
    /* A client that lets a quarter MiB of answers lie and takes none of it is cut; 0: 60000. */
    uint64_t stall_timeout_ms;
    /* --cors: NULL-terminated; an Origin that is listed is allowed by name. NULL: "*", all. */
    const char *const *cors_origins;
    /* Serve requests that are not gRPC over HTTP/2 without TLS too (with TLS they always are, since
     * ALPN lets browsers and curl choose HTTP/2). Off, they get 415 as from etcd. */
    bool http_over_h2;
    /* What a request with a body over the limit is answered with (413); NULL: a line of text. */
    const char *too_large_type, *too_large_body;
    /* The methods are for http_call_open() only: a gRPC call gets UNIMPLEMENTED. */
    bool no_grpc;
};

int net_server_new(const struct net_server_options *options, struct net_server **out,
                   struct err *err);
/* Any number of times. tls: for an address that wants it; a reference is taken. KV_EBUSY: port
 * taken. */
int net_server_listen(struct net_server *server, const struct net_addr *addr, struct net_tls *tls,
                      struct err *err);
/* Port of the nth listener. */
uint16_t net_server_port(const struct net_server *server, size_t n);
/* Sends what the calls of this turn have written, one write per connection. */
void net_server_flush(struct net_server *server);
/* Stops listening, says GOAWAY, lets calls finish until net_server_close(). */
void net_server_drain(struct net_server *server);
size_t net_server_calls(const struct net_server *server); /* under way */
/* Ends everything (on_cancel fires for what is open), then cb; memory is gone after it. */
void net_server_close(struct net_server *server, void (*cb)(void *ctx), void *ctx);

/* ---- a gRPC call: valid until grpc_call_finish()/grpc_call_reply() or until on_cancel returns
 * ---- */

void *grpc_call_ctx(const struct grpc_call *call);
const struct grpc_method *grpc_call_method(const struct grpc_call *call);
/* Freed with the call. */
struct arena *grpc_call_arena(struct grpc_call *call);
/* The service's own state. */
void grpc_call_set_data(struct grpc_call *call, void *data);
void *grpc_call_data(const struct grpc_call *call);
/* A request header by lower-case name; data NULL if absent. Lives as long as the call. */
struct slice grpc_call_header(const struct grpc_call *call, const char *name);
/* uv_now() based deadline in ms; UINT64_MAX if none. */
uint64_t grpc_call_deadline(const struct grpc_call *call);
const char *grpc_call_peer(const struct grpc_call *call);
/* Common name of the certificate that the client has shown. False: there is none, it does not fit,
 * or the call was opened by an HTTP request (http_call_open()): then the certificate is a gateway
 * client's, and has not been asked for this. */
bool grpc_call_common_name(const struct grpc_call *call, char *out, size_t size);

/* Space for a message of len bytes, to be filled before grpc_call_send() (or _reply()) queues it;
 * so an encoder writes straight into the output. One at a time. */
uint8_t *grpc_call_message(struct grpc_call *call, size_t len);
void grpc_call_send(struct grpc_call *call);

/* A message in pieces, for what shall not lie in memory whole: first its length, then pieces whose
 * lengths add up to it, each filled before grpc_call_piece_send() queues it. The call can send
 * nothing else before the last piece. If it ends with a part missing, the client is told by a reset
 * of the stream (RESOURCE_EXHAUSTED as ENHANCE_YOUR_CALM, all else as INTERNAL_ERROR), for it could
 * take trailers for a part of the message. A client that takes nothing is cut after
 * stall_timeout_ms as if all of the message lay there. Where nothing follows, finish the call at
 * once behind the last piece: status and data then need the client's window only once. */
void grpc_call_message_begin(struct grpc_call *call, size_t len);
uint8_t *grpc_call_piece(struct grpc_call *call, size_t len); /* at least 1 */
void grpc_call_piece_send(struct grpc_call *call);
/* Before each piece: whether there is room for it. False: so much waits for this client on other
 * streams that it should be taken first; on_drain fires when there is room again. */
bool grpc_call_has_room(struct grpc_call *call);
/* What is missing of the message; 0 also if none was begun. */
size_t grpc_call_message_left(const struct grpc_call *call);

/* Bytes of messages not yet taken by the client's window and the kernel: for back-pressure. */
size_t grpc_call_queued(const struct grpc_call *call);
/* Called when the queue of a stream has fallen to nothing after having been non-empty. */
void grpc_call_on_drain(struct grpc_call *call, void (*cb)(struct grpc_call *call));
/* Ends the call: trailers with status and message (any bytes; net escapes them). For streams also
 * after messages. The call is gone. */
void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *message);
/* Unary: sends the message from grpc_call_message() and finishes with OK. */
void grpc_call_reply(struct grpc_call *call);

/* ---- an HTTP/1.1 request: valid until http_reply() or http_reply_end() ---- */

const char *http_method(const struct http_request *request);
const char *http_path(const struct http_request *request);  /* without the query; percent-decoded */
const char *http_query(const struct http_request *request); /* raw, "" if none */
/* By lower-case name; data NULL if absent. */
struct slice http_header(const struct http_request *request, const char *name);
struct slice http_body(const struct http_request *request);
bool http_is_tls(const struct http_request *request);
struct arena *http_arena(struct http_request *request);
void http_set_data(struct http_request *request, void *data);
void *http_data(const struct http_request *request);
/* Who the client's certificate says it is, in the request's arena; data NULL: it has none (or no
 * nth organization). */
struct slice http_peer_name(struct http_request *request);
struct slice http_peer_organization(struct http_request *request, size_t n);
/* "127.0.0.1:4711". */
const char *http_peer(const struct http_request *request);
/* One extra answer header (name and value are copied); at most 32. */
void http_add_header(struct http_request *request, const char *name, const char *value);
void http_reply(struct http_request *request, int status, const char *content_type,
                struct slice body);

/* An answer in pieces instead: the head now, then any number of chunks (copied; an empty one is
 * nothing), then the end, after which the request is gone. */
void http_reply_begin(struct http_request *request, int status, const char *content_type);
void http_reply_chunk(struct http_request *request, struct slice bytes);
void http_reply_end(struct http_request *request);
/* The same with its length known: Content-Length is sent, and pieces must add up to len. */
void http_reply_begin_sized(struct http_request *request, int status, const char *content_type,
                            size_t len);
/* Room for a piece of such an answer, to be filled before http_reply_space_send(); so an encoder
 * writes straight into the output. len at least 1; one at a time. */
uint8_t *http_reply_space(struct http_request *request, size_t len);
void http_reply_space_send(struct http_request *request);
/* Called whenever all that was written of an answer in pieces has been taken. Before the first
 * piece; not for a request that has a call. */
void http_on_drain(struct http_request *request, void (*cb)(struct http_request *request));
/* Gives the answer up, so that the client sees it has not got all of it: the connection closes, the
 * stream is reset. on_http_cancel follows. */
void http_reply_abort(struct http_request *request);
/* Bytes of the answer not yet taken by the client and the kernel. */
size_t http_reply_queued(const struct http_request *request);

/* ---- WebSocket (RFC 6455): a request of HTTP/1.1 becomes a connection of messages, both ways. It
 * is still a request: it may have a call, its client may go away, its queue is bounded ---- */

struct http_socket_events {
    /* A whole message, text or binary; borrowed until return. */
    void (*on_message)(struct http_request *request, struct slice message);
};

/* The client asks for it (and gets an answer like any other if that is not wanted). */
bool http_wants_socket(const struct http_request *request);
/* Upgrades the request, which is being handed over by on_http() right now. False: the client asks
 * wrongly, or its Origin is none that --cors allows; it has its answer, and the request is gone. A
 * client that closes the socket, or breaks the rules, is gone as one that went away. */
bool http_socket_accept(struct http_request *request, const struct http_socket_events *events);
/* A text message. */
void http_socket_send(struct http_request *request, struct slice text);
/* Says goodbye with a code of section 7.4 (1000: all is well) and a reason of at most 123 bytes;
 * the request is gone. Its call has ended. */
void http_socket_close(struct http_request *request, uint16_t code, const char *reason);

/* ---- a call that an HTTP request opens on a method of its own server: for gateways. The method
 * cannot tell it from one that came over HTTP/2. One per request at a time; if the request's client
 * goes away it is cancelled before on_http_cancel() fires ---- */

struct http_call_events {
    /* A message of the method; borrowed until return. */
    void (*on_message)(struct http_request *request, struct slice message);
    /* One that the method sends in pieces: its length, then the pieces, each borrowed until return.
     * Both NULL: it is put together, and on_message gets it. */
    void (*on_message_begin)(struct http_request *request, size_t len);
    void (*on_piece)(struct http_request *request, struct slice piece);
    /* The call has ended and is gone: by the method, or by its deadline. */
    void (*on_finish)(struct http_request *request, enum grpc_status status, const char *message);
};

bool http_has_method(const struct http_request *request, const char *service, const char *name);
/* KV_ENOTFOUND: no such method; KV_EINVAL: the Grpc-Timeout header is malformed. */
int http_call_open(struct http_request *request, const char *service, const char *name,
                   const struct http_call_events *events);
/* A message for the method; unary: exactly one. False: the call has ended inside, and with it, as
 * on_finish chose, perhaps the request. */
bool http_call_send(struct http_request *request, struct slice message);
/* Streams: no more messages. The call may end inside. */
void http_call_half_close(struct http_request *request);
/* No event follows. Nothing happens if no call is open. */
void http_call_cancel(struct http_request *request);

#endif
