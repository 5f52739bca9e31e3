/* What client.c (the connection) and client_stream.c (one call's answer) share. */
#ifndef KVD_NET_CLIENT_INTERNAL_H
#define KVD_NET_CLIENT_INTERNAL_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/list.h"
#include "net/client.h"
#include "net/due.h"

/* A request that waits for the connection. */
struct held_request {
    char *path;
    size_t metadata_count;
    struct grpc_metadata metadata[GRPC_METADATA_MAX]; /* both strings owned */
};

struct grpc_stream {
    struct list link;    /* in exactly one list of the connection */
    struct due deadline; /* unset: none */
    struct grpc_conn *conn;
    const struct grpc_stream_events *events;
    void *ctx;
    int32_t id; /* 0: held back, nghttp2 does not know it */
    enum grpc_sent sent;
    bool gone; /* ended or cancelled: no callback any more */

    /* The request. */
    struct held_request *held;
    struct buf out; /* framed messages, from out_sent on not yet given to nghttp2 */
    size_t out_sent;
    bool half_closed; /* nothing is added to out any more */
    bool deferred;    /* nghttp2 found nothing to send and waits to be told */
    bool end_given;   /* nghttp2 has our END_STREAM */

    /* The answer. */
    int http_status; /* 0: none yet */
    bool is_grpc;    /* by its content-type */
    int status;      /* grpc-status; -1: none yet */
    struct buf in;   /* an incomplete message with its frame header; with on_part only the header */
    uint64_t part_left; /* with on_part: bytes of the message that are to come */
    struct buf text;    /* grpc-message, decoded */
};

/* Prepares a new or used stream. */
void grpc__stream_reset(struct grpc_stream *stream, size_t message_size_max);
void grpc__stream_release(struct grpc_stream *stream);

/* A header or trailer of the answer. */
void grpc__stream_header(struct grpc_stream *stream, struct slice name, struct slice value);
/* Body bytes: calls on_message for every message that is complete. GRPC_OK, or why the call must
 * end, with *why. Stops early once the stream is gone. */
enum grpc_status grpc__stream_body(struct grpc_stream *stream, struct slice bytes,
                                   const char **why);
/* What the call came to when the other side ended it with this HTTP/2 error code (0: END_STREAM).
 * *message lives as long as the stream or for ever. */
enum grpc_status grpc__stream_outcome(const struct grpc_stream *stream, uint32_t http2_error,
                                      const char **message);

/* Header value for a timeout: at most 8 digits and a unit (gRPC over HTTP/2, "Timeout"). */
enum { GRPC__TIMEOUT_SIZE = 12 };
void grpc__timeout_format(uint64_t ms, char out[GRPC__TIMEOUT_SIZE]);

#endif
