/* Routes and calls of the gateway: for gateway.c (requests) and gateway_socket.c (WebSocket). */
#ifndef KVD_SERVER_GATEWAY_INTERNAL_H
#define KVD_SERVER_GATEWAY_INTERNAL_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "server/gateway.h"
#include "server/json_pb.h"

struct route {
    const char *path; /* behind "/v3/" */
    const char *service;
    const char *method;
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
    enum route_kind {
        ROUTE_UNARY,
        ROUTE_ANSWERS,  /* one request, a stream of answers */
        ROUTE_STREAM,   /* ends when the requests of the body are answered */
        ROUTE_FOLLOWING /* goes on until the client leaves: here the end of the body is not taken
                           for a wish to end, as with curl there is no other way to ask */
    } kind;
};

struct call {
    const struct route *route;
    struct buf answer;            /* of a unary call, or the part of it that is made */
    struct json_pb_stream stream; /* of an answer that comes in pieces */
    bool begun;                   /* the head is out; WebSocket: the first request was sent */
};

/* In the request's arena, and the request's data. */
struct call *gateway__call_new(struct http_request *request, const struct route *route);
/* Before the request goes. */
void gateway__call_release(struct call *call);
/* "{"code":...,"message":...": who goes on closes the brace. */
void gateway__print_error(struct buf *out, enum grpc_status status, const char *message);
/* An answer of the route's method as JSON. */
void gateway__print_message(const struct call *call, struct slice message, struct buf *out);

/* The client asks for an upgrade. */
void gateway__serve_socket(struct http_request *request, const struct route *route);

#endif
