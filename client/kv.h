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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "net/grpc.h"
#include "net/tls.h"
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
    /* For https:// and unixs:// endpoints, and if given for those without a scheme. NULL: the
     * system's CAs, no certificate of our own. */
    const struct net_tls_options *tls;
    /* Logs in as this user, when the first call goes out and again when a server wants it; a
     * cluster that asks nobody who they are is used as it is. NULL or "": nobody. Calls that wait
     * for a login that is refused end with KV_EAUTHFAILED. */
    const char *user, *password;
    /* Instead: a token made elsewhere (JWT). */
    const char *token;
};

/* Connects nothing yet. loop NULL: the client has its own and only the blocking calls may be used.
 * KV_EINVAL: an endpoint that is none, TLS options that contradict each other. KV_ENOTFOUND,
 * KV_EIO: a certificate file that cannot be read. */
int kv_client_open(uv_loop_t *loop, const struct kv_options *options, struct kv_client **out,
                   struct err *err);
/* For a caller's loop. Calls in flight end with KV_ECANCELED, then cb (may be NULL) fires; the
 * memory is gone after it. */
void kv_client_close(struct kv_client *client, void (*cb)(void *ctx), void *ctx);
/* For a client with its own loop; blocks until its sockets are closed. Accepts NULL. */
void kv_client_free(struct kv_client *client);
/* The loop it lives on. On its own loop a caller may have handles too (signals, children), and run
 * it with uv_run(); they are closed before kv_client_free(), which runs the loop until it is empty.
 */
uv_loop_t *kv_client_loop(const struct kv_client *client);

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

/* A message of an answer in parts, of method->response; borrowed until return. Must not touch the
 * call or the client. */
typedef void (*kv_part_cb)(void *ctx, const ProtobufCMessage *part);

struct kv_call_options {
    uint64_t timeout_ms; /* the whole call with all its attempts; 0: the client's */
    int flags;           /* enum kv_call_flags */
    /* For methods that answer with a stream, and only for them: gets each message as it comes, and
     * result.message stays NULL. A call that has had a part is not repeated: what follows may be
     * KV_ECONN with some parts missing. */
    kv_part_cb on_part;
    void *part_ctx;
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
    unsigned login;            /* with which it was sent */
    int flags;
    kv_part_cb on_part;
    void *part_ctx;
    bool has_parts;
};

/* Encodes request (borrowed until return) and sends it when there is a connection. If this returns
 * 0, cb fires exactly once, later, never from inside the call. KV_ETOOBIG: the request is over the
 * limit; KV_ESTOPPED: the client is closing; then cb never fires and nothing needs releasing. */
int kv_call_start(struct kv_client *client, struct kv_call *call, const struct kv_method *method,
                  const ProtobufCMessage *request, const struct kv_call_options *options,
                  kv_call_cb cb, struct err *err);
/* No callback fires after this. The server may still carry a write out. Harmless for a call that is
 * over, and for one that was never begun and is zeroed. */
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
    X(member_add, MemberAdd, Cluster, MemberAdd, KV_WRITE)                                         \
    X(member_list, MemberList, Cluster, MemberList, KV_READ)                                       \
    X(member_promote, MemberPromote, Cluster, MemberPromote, KV_WRITE)                             \
    X(member_remove, MemberRemove, Cluster, MemberRemove, KV_WRITE)                                \
    X(member_update, MemberUpdate, Cluster, MemberUpdate, KV_WRITE)                                \
    X(alarm, Alarm, Maintenance, Alarm, KV_WRITE)                                                  \
    X(lease_grant, LeaseGrant, Lease, LeaseGrant, KV_WRITE)                                        \
    X(lease_revoke, LeaseRevoke, Lease, LeaseRevoke, KV_WRITE)                                     \
    X(lease_time_to_live, LeaseTimeToLive, Lease, LeaseTimeToLive, KV_READ)                        \
    X(lease_leases, LeaseLeases, Lease, LeaseLeases, KV_READ)                                      \
    X(status, Status, Maintenance, Status, KV_READ)                                                \
    X(hash, Hash, Maintenance, Hash, KV_READ)                                                      \
    X(hash_kv, HashKV, Maintenance, HashKV, KV_READ)                                               \
    X(move_leader, MoveLeader, Maintenance, MoveLeader, KV_WRITE)                                  \
    X(defragment, Defragment, Maintenance, Defragment, KV_WRITE)                                   \
    X(downgrade, Downgrade, Maintenance, Downgrade, KV_WRITE)                                      \
    X(auth_enable, AuthEnable, Auth, AuthEnable, KV_WRITE)                                         \
    X(auth_disable, AuthDisable, Auth, AuthDisable, KV_WRITE)                                      \
    X(auth_status, AuthStatus, Auth, AuthStatus, KV_READ)                                          \
    X(authenticate, Authenticate, Auth, Authenticate, KV_WRITE)                                    \
    X(auth_user_add, AuthUserAdd, Auth, UserAdd, KV_WRITE)                                         \
    X(auth_user_get, AuthUserGet, Auth, UserGet, KV_READ)                                          \
    X(auth_user_list, AuthUserList, Auth, UserList, KV_READ)                                       \
    X(auth_user_delete, AuthUserDelete, Auth, UserDelete, KV_WRITE)                                \
    X(auth_user_change_password, AuthUserChangePassword, Auth, UserChangePassword, KV_WRITE)       \
    X(auth_user_grant_role, AuthUserGrantRole, Auth, UserGrantRole, KV_WRITE)                      \
    X(auth_user_revoke_role, AuthUserRevokeRole, Auth, UserRevokeRole, KV_WRITE)                   \
    X(auth_role_add, AuthRoleAdd, Auth, RoleAdd, KV_WRITE)                                         \
    X(auth_role_get, AuthRoleGet, Auth, RoleGet, KV_READ)                                          \
    X(auth_role_list, AuthRoleList, Auth, RoleList, KV_READ)                                       \
    X(auth_role_delete, AuthRoleDelete, Auth, RoleDelete, KV_WRITE)                                \
    X(auth_role_grant_permission, AuthRoleGrantPermission, Auth, RoleGrantPermission, KV_WRITE)    \
    X(auth_role_revoke_permission, AuthRoleRevokePermission, Auth, RoleRevokePermission, KV_WRITE)

/* kv_method_range, ... and kv_range(), ...: *out is the caller's to kv_free(); on failure it is
 * NULL and err (may be NULL) says what happened. */
#define X(name, Message, service, rpc, kind)                                                       \
    extern const struct kv_method kv_method_##name;                                                \
    int kv_##name(struct kv_client *client, const Etcdserverpb__##Message##Request *request,       \
                  Etcdserverpb__##Message##Response **out, struct err *err);
KV_METHOD_MAP(X)
#undef X

/* RangeStream (etcd 3.7): with kv_call_options.on_part. What kvd or an older etcd does not stream
 * it refuses with UNIMPLEMENTED: then use kv_method_range. */
extern const struct kv_method kv_method_range_stream;

/* Frees an answer of any type; accepts NULL. */
#define kv_free(message) kv_message_free((message) == NULL ? NULL : &(message)->base)
void kv_message_free(ProtobufCMessage *message);
/* A copy, for what is only borrowed; the caller's to kv_message_free(). */
ProtobufCMessage *kv_message_copy(const ProtobufCMessage *message);

/* ---- watch ---- */

/* A watcher is one stream with any number of watches on it. When its connection breaks it makes
 * another one, to any endpoint, and each watch goes on behind the last revision it has seen: its
 * owner notices nothing, misses nothing and sees nothing twice. It gives up on its own only if it
 * was never connected at all within the client's dial timeout, or if a server refuses. */
struct kv_watcher;
struct kv_watch;

enum kv_watcher_flags {
    KV_REQUIRE_LEADER = 1 << 0, /* a server that has lost its leader ends the stream; when all
                                 * endpoints say so in turn, the watches end with KV_ENOLEADER */
};

/* The stream begins with the first watch. */
struct kv_watcher *kv_watcher_new(struct kv_client *client, int flags);
/* Its watches end without a callback. Before the client is closed; never from inside a callback of
 * one of its watches. Accepts NULL. */
void kv_watcher_free(struct kv_watcher *watcher);
/* Asks for a response that says how far all watches are; it comes to each of them, without events.
 * Sent once no watch waits to be created. A server that is not that far yet does not answer. */
void kv_watcher_progress(struct kv_watcher *watcher);

enum kv_watch_flags {
    KV_WATCH_PREV_KV = 1 << 0,
    KV_WATCH_PROGRESS = 1 << 1,  /* the server says now and then how far an idle watch is */
    KV_WATCH_NO_PUT = 1 << 2,    /* leave out puts */
    KV_WATCH_NO_DELETE = 1 << 3, /* leave out deletions */
    KV_WATCH_CREATED = 1 << 4,   /* the first "created" answer goes to cb as well */
};

struct kv_watch_options {
    struct slice key;
    struct slice range_end; /* empty: only key */
    int64_t start_revision; /* 0: what changes after the server has taken the watch */
    int flags;              /* enum kv_watch_flags */
};

/* err->code 0: response has the events of one or more whole revisions, or none: progress. Else the
 * watch is over and its memory free: KV_ECOMPACTED if revisions it still needed are gone (then
 * response->compact_revision says from where on there is history), otherwise what failed; response
 * is the server's last word or NULL. Both are borrowed until return. */
typedef void (*kv_watch_cb)(struct kv_watch *watch, const Etcdserverpb__WatchResponse *response,
                            const struct err *err);

/* The caller owns the memory and embeds it; all of it is private. */
struct kv_watch {
    struct kv_watcher *watcher;
    kv_watch_cb cb;
    struct list link; /* in one of the watcher's lists, or in none */
    uint8_t *keys;    /* key and range_end, one after the other */
    size_t key_len, range_end_len;
    int flags;
    bool known; /* a server has created it once */
    int64_t id; /* on this stream, while it is live */
    int64_t next_revision;
};

/* Copies the keys. cb fires later, never from inside the call. */
void kv_watch_start(struct kv_watcher *watcher, struct kv_watch *watch,
                    const struct kv_watch_options *options, kv_watch_cb cb);
/* No callback fires after this. Harmless when the watch is over. */
void kv_watch_cancel(struct kv_watch *watch);
/* Where another watch would have to start to go on where this one is; also after its end. */
int64_t kv_watch_next_revision(const struct kv_watch *watch);

/* ---- leases ---- */

struct kv_keepalive;

/* err->code 0: renewed; response->ttl is its whole life from now on. Else it is over:
 * KV_ELEASENOTFOUND if the lease is gone, or ran out while no server could be reached. */
typedef void (*kv_keepalive_cb)(struct kv_keepalive *keepalive,
                                const Etcdserverpb__LeaseKeepAliveResponse *response,
                                const struct err *err);

/* A connection that breaks or a server that ends the stream is replaced by another, and the stream
 * begins anew. Private to libkv; here because callers embed what contains it. */
struct kv__stream {
    struct kv_client *client;
    const struct kv__stream_kind *kind;
    struct list link; /* in one of the client's lists, or in none */
    struct grpc_stream *grpc;
    size_t endpoint;        /* index while grpc is set */
    uint64_t retry_at_ms;   /* not before */
    uint64_t give_up_at_ms; /* until it was connected once */
    unsigned login;         /* with which it was opened */
    unsigned failures;      /* in a row; a message ends the row */
    unsigned leaderless;    /* endpoints in a row without a leader */
};
struct kv__alarm {
    struct list link;
    uint64_t at_ms;
    void (*cb)(struct kv__alarm *alarm);
};

/* Renews a lease at a third of its life, beginning now. The caller owns the memory; all of it is
 * private. */
struct kv_keepalive {
    struct kv__stream stream;
    struct kv__alarm alarm;
    kv_keepalive_cb cb;
    int64_t lease;
    uint64_t deadline_ms; /* the lease is gone then, if nobody renews it */
};

/* cb fires later, never from inside the call. */
void kv_keepalive_start(struct kv_client *client, struct kv_keepalive *keepalive, int64_t lease,
                        kv_keepalive_cb cb);
/* No callback fires after this; the lease lives on until its time is up. Harmless when repeated.
 * Before the client is closed. */
void kv_keepalive_stop(struct kv_keepalive *keepalive);

/* ---- snapshots ---- */

struct kv_snapshot;

/* piece: the next bytes (blob) of the server's state as a database file of etcd, of which
 * remaining_bytes follow; the last piece, alone with 0 remaining behind a piece with 0 remaining,
 * is the SHA-256 of all bytes before it. Borrowed until return. piece NULL: it is over; err->code 0
 * if all was sent, else what failed. It is not begun again by itself: another server, or a moment
 * later, would make another file. */
typedef void (*kv_snapshot_cb)(struct kv_snapshot *snapshot,
                               const Etcdserverpb__SnapshotResponse *piece, const struct err *err);

/* The caller owns the memory; all of it is private. */
struct kv_snapshot {
    struct kv__stream stream;
    kv_snapshot_cb cb;
};

/* Asks one server, the first that is reached, for all it has. cb fires later, never from inside the
 * call; the server sends no faster than cb returns. There is no deadline: pings (keepalive_*) find
 * a server that has gone. */
void kv_snapshot_start(struct kv_client *client, struct kv_snapshot *snapshot, kv_snapshot_cb cb);
/* No callback fires after this. Harmless when it is over. Before the client is closed. */
void kv_snapshot_stop(struct kv_snapshot *snapshot);

/* ---- locks and elections ---- */

/* A place in the queue under a name: the key NAME/LEASE. The oldest key holds the lock (has won the
 * election); the others wait. These are the keys of etcd's own recipe: etcdctl, the Go client and
 * this library queue up together. */
struct kv_lock {
    uint8_t *key;
    size_t key_len;
    int64_t create_revision; /* of key: grows from holder to holder, a fencing token */
    int64_t revision;        /* of the store when the lock was got */
};

/* Blocks until the place is the first; for a client with its own loop. The lease must be kept alive
 * by the caller. value is what others read of the holder. *stop, looked at whenever the loop has
 * turned, ends the waiting with KV_ECANCELED and takes the place out of the queue. On success
 * kv_lock_release() frees *out; on failure there is nothing to free. KV_ELEASENOTFOUND: the lease
 * has gone. */
int kv_lock(struct kv_client *client, struct slice name, int64_t lease, struct slice value,
            const bool *stop, struct kv_lock *out, struct err *err);
/* Gives the place up; 0 also if it was gone already. Blocks. */
int kv_unlock(struct kv_client *client, const struct kv_lock *lock, struct err *err);
void kv_lock_release(struct kv_lock *lock);

/* ---- keys ---- */

/* range_end of "all keys that begin with prefix", written to end, which has room for prefix.len
 * (at least 1) bytes; returns its length. The byte 0 (everything from the prefix on) if no key can
 * follow the prefix's own range: it is empty or all 0xff. */
size_t kv_prefix_end(struct slice prefix, uint8_t *end);

#endif
