/* The client side of gRPC: one HTTP/2 connection, any number of calls on it. No balancing, no
 * retries: those are libkv's. Loop thread only; callbacks never fire from inside a call here. */
#ifndef KVD_NET_CLIENT_H
#define KVD_NET_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/slice.h"
#include "net/grpc.h"
#include "net/sock.h"

struct grpc_conn;
struct grpc_stream;

struct grpc_conn_events {
    /* Ready for calls (HTTP/2 SETTINGS seen). */
    void (*on_ready)(void *ctx);
    /* Could not connect (also: no SETTINGS in time), or broke, or the server said GOAWAY and the
     * last call is done. All calls have had their on_done. The connection still has to be closed.
     */
    void (*on_down)(void *ctx, const struct err *err);
};

struct grpc_conn_options {
    uint64_t connect_timeout_ms; /* 0: 2000 */
    size_t message_size_max;     /* received; 0: 2^31 - 1 */
    uint64_t ping_interval_ms;   /* while calls are open; 0: never */
    uint64_t ping_timeout_ms;    /* 0: 6000 */
    struct net_tls *tls;         /* for an address that wants it; borrowed */
    int32_t stream_window;       /* what the server may send ahead on one call; 0: 16 MiB */
};

int grpc_conn_new(uv_loop_t *loop, const struct net_addr *addr,
                  const struct grpc_conn_options *options, const struct grpc_conn_events *events,
                  void *ctx, struct grpc_conn **out, struct err *err);
/* No callback fires after the call but cb (may be NULL); open calls get no on_done. */
void grpc_conn_close(struct grpc_conn *conn, void (*cb)(void *ctx), void *ctx);
/* Sends what this turn has queued now instead of at the end of the turn. Never needed for
 * correctness. */
void grpc_conn_flush(struct grpc_conn *conn);
/* Reads nothing from the server until resumed: back-pressure on all calls of the connection. What
 * was read already is still delivered. Deadlines and pings go on. */
void grpc_conn_pause(struct grpc_conn *conn);
void grpc_conn_resume(struct grpc_conn *conn);

/* Whether the server can have seen the request: a call that failed with GRPC_NOT_SENT may be
 * repeated elsewhere whatever it was. */
enum grpc_sent { GRPC_NOT_SENT, GRPC_MAYBE_SENT };

struct grpc_stream_events {
    /* A message; borrowed until return. */
    void (*on_message)(void *ctx, struct slice message);
    /* If set, on_message is not used: the bytes of each message as they come, never joined, for
     * messages larger than anybody wants to hold. left: bytes of it still to come, 0: its end. */
    void (*on_part)(void *ctx, struct slice part, uint64_t left);
    /* The end, exactly once; message is the server's grpc-message (decoded) or, for a status made
     * here (connection lost: UNAVAILABLE; deadline: DEADLINE_EXCEEDED), ours. The stream is gone
     * after it. */
    void (*on_done)(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent);
};

enum { GRPC_METADATA_MAX = 16 };

struct grpc_metadata {
    const char *name; /* lower case */
    const char *value;
};

/* Opens a call; path "/etcdserverpb.KV/Range". At most GRPC_METADATA_MAX metadata; path and
 * metadata are copied. timeout_ms 0: none. Works before on_ready: nothing is sent before the server
 * has answered, so that a call on a connection that never came up is GRPC_NOT_SENT. KV_ECONN once
 * the connection is down or going down. */
int grpc_conn_call(struct grpc_conn *conn, const char *path, const struct grpc_metadata *metadata,
                   size_t metadata_count, uint64_t timeout_ms,
                   const struct grpc_stream_events *events, void *ctx, struct grpc_stream **out,
                   struct err *err);
/* Copies message. end: this was the last. 0; KV_ECONN once the connection is down; KV_ETOOBIG if
 * more than 2^31 bytes would wait. */
int grpc_stream_send(struct grpc_stream *stream, struct slice message, int end);
void grpc_stream_half_close(struct grpc_stream *stream);
/* Resets the stream; no callback fires after it. */
void grpc_stream_cancel(struct grpc_stream *stream);

#endif
