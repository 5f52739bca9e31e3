/* What client and server side of gRPC share: status codes, limits, the message frame. */
#ifndef KVD_NET_GRPC_H
#define KVD_NET_GRPC_H

/* google.rpc.Code. */
enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

enum {
    GRPC_STATUS_COUNT = 17,
    GRPC_FRAME_HEADER_SIZE = 5, /* compressed flag, big-endian length */
};

/* "OK", "NotFound", ...: the names gRPC-Go uses in metrics. */
const char *grpc_status_name(enum grpc_status status);

#endif
