/* What a failed call says: gRPC code and etcd's exact text (etcd-api.md section 14). Clients
 * compare the text and switch on the code, so both are part of the API. Const data; any thread. */
#ifndef KVD_SERVER_STATUS_H
#define KVD_SERVER_STATUS_H

#include "net/grpc.h"

#define STATUS__ETCD "etcdserver: "

/* One line per answer that exists in etcd, those of services to come included, so that a text is
 * written down once; and STATUS_RANGES_FULL and
 * STATUS_TXN_TOO_LARGE, which are ours. */
#define STATUS_MAP(X)                                                                              \
    X(STATUS_EMPTY_KEY, GRPC_INVALID_ARGUMENT, STATUS__ETCD "key is not provided")                 \
    X(STATUS_KEY_NOT_FOUND, GRPC_INVALID_ARGUMENT, STATUS__ETCD "key not found")                   \
    X(STATUS_VALUE_PROVIDED, GRPC_INVALID_ARGUMENT, STATUS__ETCD "value is provided")              \
    X(STATUS_LEASE_PROVIDED, GRPC_INVALID_ARGUMENT, STATUS__ETCD "lease is provided")              \
    X(STATUS_TOO_MANY_OPS, GRPC_INVALID_ARGUMENT,                                                  \
      STATUS__ETCD "too many operations in txn request")                                           \
    X(STATUS_DUPLICATE_KEY, GRPC_INVALID_ARGUMENT,                                                 \
      STATUS__ETCD "duplicate key given in txn request")                                           \
    X(STATUS_INVALID_SORT, GRPC_INVALID_ARGUMENT, STATUS__ETCD "invalid sort option")              \
    X(STATUS_INVALID_CLIENT_API, GRPC_INVALID_ARGUMENT, STATUS__ETCD "invalid client api version") \
    X(STATUS_BAD_MEMBER_URLS, GRPC_INVALID_ARGUMENT, STATUS__ETCD "given member URLs are invalid") \
    X(STATUS_REQUEST_TOO_LARGE, GRPC_INVALID_ARGUMENT, STATUS__ETCD "request is too large")        \
    X(STATUS_USER_EMPTY, GRPC_INVALID_ARGUMENT, STATUS__ETCD "user name is empty")                 \
    X(STATUS_ROLE_EMPTY, GRPC_INVALID_ARGUMENT, STATUS__ETCD "role name is empty")                 \
    X(STATUS_AUTH_FAILED, GRPC_INVALID_ARGUMENT,                                                   \
      STATUS__ETCD "authentication failed, invalid user ID or password")                           \
    X(STATUS_PERMISSION_NOT_GIVEN, GRPC_INVALID_ARGUMENT, STATUS__ETCD "permission not given")     \
    X(STATUS_INVALID_AUTH_MANAGEMENT, GRPC_INVALID_ARGUMENT,                                       \
      STATUS__ETCD "invalid auth management")                                                      \
    X(STATUS_AUTH_OLD_REVISION, GRPC_INVALID_ARGUMENT,                                             \
      STATUS__ETCD "revision of auth store is old")                                                \
    X(STATUS_WRONG_DOWNGRADE_FORMAT, GRPC_INVALID_ARGUMENT,                                        \
      STATUS__ETCD "wrong downgrade target version format")                                        \
    X(STATUS_INVALID_DOWNGRADE_TARGET, GRPC_INVALID_ARGUMENT,                                      \
      STATUS__ETCD "invalid downgrade target version")                                             \
    X(STATUS_LEASE_NOT_FOUND, GRPC_NOT_FOUND, STATUS__ETCD "requested lease not found")            \
    X(STATUS_MEMBER_NOT_FOUND, GRPC_NOT_FOUND, STATUS__ETCD "member not found")                    \
    X(STATUS_PERMISSION_DENIED, GRPC_PERMISSION_DENIED, STATUS__ETCD "permission denied")          \
    X(STATUS_NO_SPACE, GRPC_RESOURCE_EXHAUSTED, STATUS__ETCD "mvcc: database space exceeded")      \
    X(STATUS_LEASE_EXISTS, GRPC_FAILED_PRECONDITION, STATUS__ETCD "lease already exists")          \
    X(STATUS_MEMBER_EXISTS, GRPC_FAILED_PRECONDITION, STATUS__ETCD "member ID already exist")      \
    X(STATUS_PEER_URL_EXISTS, GRPC_FAILED_PRECONDITION, STATUS__ETCD "Peer URLs already exists")   \
    X(STATUS_MEMBER_NOT_LEARNER, GRPC_FAILED_PRECONDITION,                                         \
      STATUS__ETCD "can only promote a learner member")                                            \
    X(STATUS_LEARNER_NOT_READY, GRPC_FAILED_PRECONDITION,                                          \
      STATUS__ETCD "can only promote a learner member which is in sync with leader")               \
    X(STATUS_TOO_MANY_LEARNERS, GRPC_FAILED_PRECONDITION,                                          \
      STATUS__ETCD "too many learner members in cluster")                                          \
    X(STATUS_CLUSTER_ID_MISMATCH, GRPC_FAILED_PRECONDITION, STATUS__ETCD "cluster ID mismatch")    \
    X(STATUS_ROOT_USER_NOT_EXIST, GRPC_FAILED_PRECONDITION,                                        \
      STATUS__ETCD "root user does not exist")                                                     \
    X(STATUS_ROOT_ROLE_NOT_EXIST, GRPC_FAILED_PRECONDITION,                                        \
      STATUS__ETCD "root user does not have root role")                                            \
    X(STATUS_USER_EXISTS, GRPC_FAILED_PRECONDITION, STATUS__ETCD "user name already exists")       \
    X(STATUS_USER_NOT_FOUND, GRPC_FAILED_PRECONDITION, STATUS__ETCD "user name not found")         \
    X(STATUS_ROLE_EXISTS, GRPC_FAILED_PRECONDITION, STATUS__ETCD "role name already exists")       \
    X(STATUS_ROLE_NOT_FOUND, GRPC_FAILED_PRECONDITION, STATUS__ETCD "role name not found")         \
    X(STATUS_ROLE_NOT_GRANTED, GRPC_FAILED_PRECONDITION,                                           \
      STATUS__ETCD "role is not granted to the user")                                              \
    X(STATUS_PERMISSION_NOT_GRANTED, GRPC_FAILED_PRECONDITION,                                     \
      STATUS__ETCD "permission is not granted to the role")                                        \
    X(STATUS_AUTH_NOT_ENABLED, GRPC_FAILED_PRECONDITION,                                           \
      STATUS__ETCD "authentication is not enabled")                                                \
    X(STATUS_NOT_LEADER, GRPC_FAILED_PRECONDITION, STATUS__ETCD "not leader")                      \
    X(STATUS_BAD_TRANSFEREE, GRPC_FAILED_PRECONDITION, STATUS__ETCD "bad leader transferee")       \
    X(STATUS_DOWNGRADE_IN_PROGRESS, GRPC_FAILED_PRECONDITION,                                      \
      STATUS__ETCD "cluster has a downgrade job in progress")                                      \
    X(STATUS_NO_DOWNGRADE, GRPC_FAILED_PRECONDITION, STATUS__ETCD "no inflight downgrade job")     \
    X(STATUS_NOT_CAPABLE, GRPC_FAILED_PRECONDITION, STATUS__ETCD "not capable")                    \
    X(STATUS_NOT_FOR_LEARNER, GRPC_FAILED_PRECONDITION,                                            \
      STATUS__ETCD "rpc not supported for learner")                                                \
    X(STATUS_NO_CLUSTER_VERSION, GRPC_FAILED_PRECONDITION,                                         \
      STATUS__ETCD "cluster version not found during downgrade")                                   \
    X(STATUS_COMPACTED, GRPC_OUT_OF_RANGE,                                                         \
      STATUS__ETCD "mvcc: required revision has been compacted")                                   \
    X(STATUS_FUTURE_REVISION, GRPC_OUT_OF_RANGE,                                                   \
      STATUS__ETCD "mvcc: required revision is a future revision")                                 \
    X(STATUS_TTL_TOO_LARGE, GRPC_OUT_OF_RANGE, STATUS__ETCD "too large lease TTL")                 \
    X(STATUS_NO_LEADER, GRPC_UNAVAILABLE, STATUS__ETCD "no leader")                                \
    X(STATUS_LEADER_CHANGED, GRPC_UNAVAILABLE, STATUS__ETCD "leader changed")                      \
    X(STATUS_STOPPED, GRPC_UNAVAILABLE, STATUS__ETCD "server stopped")                             \
    X(STATUS_TIMEOUT, GRPC_UNAVAILABLE, STATUS__ETCD "request timed out")                          \
    X(STATUS_TIMEOUT_LEADER_FAIL, GRPC_UNAVAILABLE,                                                \
      STATUS__ETCD "request timed out, possibly due to previous leader failure")                   \
    X(STATUS_TIMEOUT_CONNECTION, GRPC_UNAVAILABLE,                                                 \
      STATUS__ETCD "request timed out, possibly due to connection lost")                           \
    X(STATUS_TIMEOUT_APPLY, GRPC_UNAVAILABLE,                                                      \
      STATUS__ETCD "request timed out, waiting for the applied index took too long")               \
    X(STATUS_UNHEALTHY, GRPC_UNAVAILABLE, STATUS__ETCD "unhealthy cluster")                        \
    X(STATUS_CORRUPT, GRPC_DATA_LOSS, STATUS__ETCD "corrupt cluster")                              \
    X(STATUS_INVALID_TOKEN, GRPC_UNAUTHENTICATED, STATUS__ETCD "invalid auth token")               \
    X(STATUS_WATCH_CANCELED, GRPC_CANCELLED, STATUS__ETCD "watch canceled")                        \
    X(STATUS_REQUEST_CANCELED, GRPC_CANCELLED, STATUS__ETCD "request canceled")                    \
    X(STATUS_CONTEXT_CANCELED, GRPC_CANCELLED, "context canceled")                                 \
    X(STATUS_DEADLINE, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded")                        \
    X(STATUS_TOO_MANY_REQUESTS, GRPC_UNKNOWN, STATUS__ETCD "too many requests")                    \
    X(STATUS_NOT_ENOUGH_STARTED, GRPC_UNKNOWN,                                                     \
      STATUS__ETCD "re-configuration failed due to not enough started members")                    \
    X(STATUS_TRANSFER_TIMEOUT, GRPC_UNKNOWN,                                                       \
      STATUS__ETCD "request timed out, leader transfer took too long")                             \
    X(STATUS_NO_PASSWORD_USER, GRPC_UNKNOWN,                                                       \
      "auth: authentication failed, password was given for no password user")                      \
    X(STATUS_VERIFY_ONLY, GRPC_UNKNOWN, "auth: token signing attempted with verify-only key")      \
    X(STATUS_PASSWORD_TOO_LONG, GRPC_UNKNOWN, "bcrypt: password length exceeds 72 bytes")          \
    X(STATUS_UNKNOWN_METHOD, GRPC_UNKNOWN, STATUS__ETCD "unknown method")                          \
    X(STATUS_LOCK_EXPIRED, GRPC_UNKNOWN, "mutex: session is expired")                              \
    X(STATUS_ELECTION_EXPIRED, GRPC_UNKNOWN, "election: session is expired")                       \
    X(STATUS_ELECTION_NOT_LEADER, GRPC_UNKNOWN, "election: not leader")                            \
    X(STATUS_ELECTION_NO_LEADER, GRPC_UNKNOWN, "election: no leader")                              \
    X(STATUS_NO_LEADER_FIELD, GRPC_UNKNOWN, "\"leader\" field must be provided")                   \
    X(STATUS_UNKNOWN_SERVICE, GRPC_NOT_FOUND, "unknown service")                                   \
    X(STATUS_MALFORMED, GRPC_INTERNAL, "grpc: error unmarshalling request: malformed message")     \
    X(STATUS_RANGES_FULL, GRPC_RESOURCE_EXHAUSTED,                                                 \
      STATUS__ETCD "long ranges under way take too much memory: ask for fewer keys at a time, "    \
                   "without sorting, or read faster")                                              \
    X(STATUS_TXN_TOO_LARGE, GRPC_RESOURCE_EXHAUSTED,                                               \
      STATUS__ETCD "the ranges of the txn give too many keys to answer: ask for fewer at a time")  \
    X(STATUS_STREAM_SORT, GRPC_UNIMPLEMENTED, "RangeStream does not support custom sort orders")   \
    X(STATUS_STREAM_FILTER, GRPC_UNIMPLEMENTED, "RangeStream does not support revision filters")   \
    X(STATUS_INTERNAL, GRPC_UNKNOWN, STATUS__ETCD "internal error")

enum status {
    STATUS_OK = 0,
#define X(name, code, text) name,
    STATUS_MAP(X)
#undef X
        STATUS_COUNT
};

struct status_line {
    enum grpc_status code;
    const char *text;
};

/* status is not STATUS_OK. */
const struct status_line *status_line(enum status status);

/* For a KV_E... code (or 0) as the machine, the keyspace and the replica return them. */
enum status status_of_error(int code);

#endif
