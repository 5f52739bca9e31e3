/* libkv: calls to a kvd (or etcd v3) cluster from C.
 *
 * A client owns its connections and knows several endpoints. It connects lazily, to one endpoint at
 * a time, and stays with it until it fails (KV_STICKY), so that a program reads where it wrote; or
 * it walks over all endpoints call by call (KV_ROUND_ROBIN). A connection that hangs while it is
 * being made is overtaken by one to the next endpoint.
 *
 * What is repeated when a call fails: a read on UNAVAILABLE, with backoff, on another endpoint if
 * there is one, until its deadline; a write only if it certainly never reached a server. A write
 * whose fate is not known ends with KV_EUNKNOWN: the caller has to look.
 *
 * Knows nothing of HTTP/2 (net/client.h does). One thread: that of the loop. Either the caller's
 * loop and kv_call_start(), or no loop and the blocking calls. */
#ifndef KVD_CLIENT_KV_H
#define KVD_CLIENT_KV_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "net/grpc.h"
#include "proto/rpc.pb-c.h"

struct kv_client;
struct grpc_stream;

enum kv_balance { KV_STICKY, KV_ROUND_ROBIN };

struct kv_options {
    const char *const *endpoints; /* "host:port", http:// or unix://; tried in this order */
    size_t endpoints_len;         /* at least one */
    enum kv_balance balance;
    uint64_t dial_timeout_ms;       /* longest wait of a call for any connection; 0: 2000 */
    uint64_t call_timeout_ms;       /* deadline of a call that names none; 0: 5000 */
    size_t request_size_max;        /* 0: 2 MiB, as etcd's clients */
    size_t response_size_max;       /* 0: 2^31 - 1 */
    uint64_t keepalive_interval_ms; /* ping while calls are open; 0: never */
    uint64_t keepalive_timeout_ms;  /* 0: 6000 */
};

/* Connects nothing yet. loop NULL: the client has its own and only the blocking calls may be used.
 * KV_EINVAL: an endpoint that is none, or one that needs TLS (not supported yet). */
int kv_client_open(uv_loop_t *loop, const struct kv_options *options, struct kv_client **out,
                   struct err *err);
/* For a caller's loop. Calls in flight end with KV_ECANCELED, then cb (may be NULL) fires; the
 * memory is gone after it. */
void kv_client_close(struct kv_client *client, void (*cb)(void *ctx), void *ctx);
/* For a client with its own loop; blocks until its sockets are closed. Accepts NULL. */
void kv_client_free(struct kv_client *client);

/* ---- calls ---- */

enum kv_method_kind { KV_READ, KV_WRITE };

struct kv_method {
    const char *name; /* "Range" */
    const char *path; /* "/etcdserverpb.KV/Range" */
    const ProtobufCMessageDescriptor *request, *response;
    enum kv_method_kind kind;
};

enum kv_call_flags {
    KV_REPEATABLE = 1 << 0, /* treat as a read although the method is a write: a txn that only
                             * reads, an alarm listing */
};

struct kv_call_options {
    uint64_t timeout_ms; /* the whole call with all its attempts; 0: the client's */
    int flags;           /* enum kv_call_flags */
};

/* How a call ended. */
struct kv_result {
    ProtobufCMessage *message; /* the answer, of method->response; NULL if the call failed */
    enum grpc_status status;   /* the server's, or the closest to what happened here */
    struct err err;            /* code 0, or what failed: the server's own text, or for a failure on
                                * the way the layer and the endpoint */
    const char *endpoint;      /* that answered or failed last, as given; lives with the client;
                                * NULL if none was reached */
    unsigned attempts;         /* requests that were handed to a connection */
};

/* Frees the answer and forgets the rest. Harmless when repeated. */
void kv_result_release(struct kv_result *result);

struct kv_call;
typedef void (*kv_call_cb)(struct kv_call *call);

/* One call. The caller owns the memory, embeds it where it likes and reads only result; it must
 * stay until cb was called or the call was cancelled. */
struct kv_call {
    struct kv_result result; /* valid in cb and after it; the caller's to release */

    /* private */
    struct kv_client *client;
    const struct kv_method *method;
    kv_call_cb cb;
    struct list link; /* in one of the client's lists, or in none */
    struct grpc_stream *stream;
    size_t endpoint;  /* index while stream is set */
    uint8_t *request; /* encoded, kept for another attempt */
    size_t request_len;
    uint64_t deadline_ms;
    uint64_t waiting_since_ms; /* waits for a connection since then */
    uint64_t retry_at_ms;      /* not before */
    int flags;
};

/* Encodes request (borrowed until return) and sends it when there is a connection. If this returns
 * 0, cb fires exactly once, later, never from inside the call. KV_ETOOBIG: the request is over the
 * limit; KV_ESTOPPED: the client is closing; then cb never fires and nothing needs releasing. */
int kv_call_start(struct kv_client *client, struct kv_call *call, const struct kv_method *method,
                  const ProtobufCMessage *request, const struct kv_call_options *options,
                  kv_call_cb cb, struct err *err);
/* No callback fires after this. The server may still carry a write out. */
void kv_call_cancel(struct kv_call *call);

/* The same, blocking; for a client with its own loop. options may be NULL. Returns
 * result->err.code; the caller releases result in every case. */
int kv_call(struct kv_client *client, const struct kv_method *method,
            const ProtobufCMessage *request, const struct kv_call_options *options,
            struct kv_result *result);

/* ---- the methods, and for each a blocking helper with its types ---- */

#define KV_METHOD_MAP(X)                                                                           \
    X(range, Range, KV, Range, KV_READ)                                                            \
    X(put, Put, KV, Put, KV_WRITE)                                                                 \
    X(delete_range, DeleteRange, KV, DeleteRange, KV_WRITE)                                        \
    X(txn, Txn, KV, Txn, KV_WRITE)                                                                 \
    X(compaction, Compaction, KV, Compact, KV_WRITE)                                               \
    X(member_list, MemberList, Cluster, MemberList, KV_READ)                                       \
    X(alarm, Alarm, Maintenance, Alarm, KV_WRITE)                                                  \
    X(status, Status, Maintenance, Status, KV_READ)                                                \
    X(hash, Hash, Maintenance, Hash, KV_READ)                                                      \
    X(hash_kv, HashKV, Maintenance, HashKV, KV_READ)

/* kv_method_range, ... and kv_range(), ...: *out is the caller's to kv_free(); on failure it is
 * NULL and err (may be NULL) says what happened. */
#define X(name, Message, service, rpc, kind)                                                       \
    extern const struct kv_method kv_method_##name;                                                \
    int kv_##name(struct kv_client *client, const Etcdserverpb__##Message##Request *request,       \
                  Etcdserverpb__##Message##Response **out, struct err *err);
KV_METHOD_MAP(X)
#undef X

/* Frees an answer of any type; accepts NULL. */
#define kv_free(message) kv_message_free((message) == NULL ? NULL : &(message)->base)
void kv_message_free(ProtobufCMessage *message);

/* ---- keys ---- */

/* range_end of "all keys that begin with prefix", written to end, which has room for prefix.len
 * (at least 1) bytes; returns its length. The byte 0 (everything from the prefix on) if no key can
 * follow the prefix's own range: it is empty or all 0xff. */
size_t kv_prefix_end(struct slice prefix, uint8_t *end);

#endif
