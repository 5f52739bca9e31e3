#include "server/gateway.h"

#include <string.h>

#include "base/buf.h"
#include "base/codec.h"
#include "proto/rpc.pb-c.h"
#include "proto/v3election.pb-c.h"
#include "proto/v3lock.pb-c.h"
#include "server/gateway_internal.h"
#include "server/json_pb.h"
#include "server/scan.h"

static const char JSON[] = "application/json";

/* ---- routes ---- */

#define ROUTE_OF(package, path, service, method, request_type, response_type, kind)                \
    {                                                                                              \
        path, #package "." service, method, &package##__##request_type##__descriptor,              \
            &package##__##response_type##__descriptor, kind                                        \
    }
#define STREAM(path, service, method, request_type, response_type, kind)                           \
    ROUTE_OF(etcdserverpb, path, service, method, request_type, response_type, kind)
#define ROUTE(path, service, method, request_type, response_type)                                  \
    STREAM(path, service, method, request_type, response_type, ROUTE_UNARY)
#define LOCK(path, method, request_type, response_type)                                            \
    ROUTE_OF(v3lockpb, "lock/" path, "Lock", method, request_type, response_type, ROUTE_UNARY)
#define ELECTION(path, method, request_type, response_type, kind)                                  \
    ROUTE_OF(v3electionpb, "election/" path, "Election", method, request_type, response_type, kind)

/* A route is open as soon as its method is in the table of services. */
/* clang-format off */
static const struct route routes[] = {
    ROUTE("kv/range", "KV", "Range", range_request, range_response),
    ROUTE("kv/put", "KV", "Put", put_request, put_response),
    ROUTE("kv/deleterange", "KV", "DeleteRange", delete_range_request, delete_range_response),
    ROUTE("kv/txn", "KV", "Txn", txn_request, txn_response),
    ROUTE("kv/compaction", "KV", "Compact", compaction_request, compaction_response),
    STREAM("watch", "Watch", "Watch", watch_request, watch_response, ROUTE_FOLLOWING),
    ROUTE("lease/grant", "Lease", "LeaseGrant", lease_grant_request, lease_grant_response),
    ROUTE("lease/revoke", "Lease", "LeaseRevoke", lease_revoke_request, lease_revoke_response),
    ROUTE("kv/lease/revoke", "Lease", "LeaseRevoke", lease_revoke_request, lease_revoke_response),
    STREAM("lease/keepalive", "Lease", "LeaseKeepAlive", lease_keep_alive_request,
           lease_keep_alive_response, ROUTE_STREAM),
    ROUTE("lease/timetolive", "Lease", "LeaseTimeToLive", lease_time_to_live_request,
          lease_time_to_live_response),
    ROUTE("kv/lease/timetolive", "Lease", "LeaseTimeToLive", lease_time_to_live_request,
          lease_time_to_live_response),
    ROUTE("lease/leases", "Lease", "LeaseLeases", lease_leases_request, lease_leases_response),
    ROUTE("kv/lease/leases", "Lease", "LeaseLeases", lease_leases_request, lease_leases_response),
    ROUTE("auth/enable", "Auth", "AuthEnable", auth_enable_request, auth_enable_response),
    ROUTE("auth/disable", "Auth", "AuthDisable", auth_disable_request, auth_disable_response),
    ROUTE("auth/status", "Auth", "AuthStatus", auth_status_request, auth_status_response),
    ROUTE("auth/authenticate", "Auth", "Authenticate", authenticate_request,
          authenticate_response),
    ROUTE("auth/user/add", "Auth", "UserAdd", auth_user_add_request, auth_user_add_response),
    ROUTE("auth/user/get", "Auth", "UserGet", auth_user_get_request, auth_user_get_response),
    ROUTE("auth/user/list", "Auth", "UserList", auth_user_list_request, auth_user_list_response),
    ROUTE("auth/user/delete", "Auth", "UserDelete", auth_user_delete_request,
          auth_user_delete_response),
    ROUTE("auth/user/changepw", "Auth", "UserChangePassword", auth_user_change_password_request,
          auth_user_change_password_response),
    ROUTE("auth/user/grant", "Auth", "UserGrantRole", auth_user_grant_role_request,
          auth_user_grant_role_response),
    ROUTE("auth/user/revoke", "Auth", "UserRevokeRole", auth_user_revoke_role_request,
          auth_user_revoke_role_response),
    ROUTE("auth/role/add", "Auth", "RoleAdd", auth_role_add_request, auth_role_add_response),
    ROUTE("auth/role/get", "Auth", "RoleGet", auth_role_get_request, auth_role_get_response),
    ROUTE("auth/role/list", "Auth", "RoleList", auth_role_list_request, auth_role_list_response),
    ROUTE("auth/role/delete", "Auth", "RoleDelete", auth_role_delete_request,
          auth_role_delete_response),
    ROUTE("auth/role/grant", "Auth", "RoleGrantPermission", auth_role_grant_permission_request,
          auth_role_grant_permission_response),
    ROUTE("auth/role/revoke", "Auth", "RoleRevokePermission", auth_role_revoke_permission_request,
          auth_role_revoke_permission_response),
    ROUTE("cluster/member/list", "Cluster", "MemberList", member_list_request,
          member_list_response),
    ROUTE("cluster/member/add", "Cluster", "MemberAdd", member_add_request, member_add_response),
    ROUTE("cluster/member/remove", "Cluster", "MemberRemove", member_remove_request,
          member_remove_response),
    ROUTE("cluster/member/update", "Cluster", "MemberUpdate", member_update_request,
          member_update_response),
    ROUTE("cluster/member/promote", "Cluster", "MemberPromote", member_promote_request,
          member_promote_response),
    ROUTE("maintenance/alarm", "Maintenance", "Alarm", alarm_request, alarm_response),
    ROUTE("maintenance/status", "Maintenance", "Status", status_request, status_response),
    ROUTE("maintenance/hash", "Maintenance", "Hash", hash_request, hash_response),
    ROUTE("maintenance/defragment", "Maintenance", "Defragment", defragment_request, defragment_response),
    ROUTE("maintenance/transfer-leadership", "Maintenance", "MoveLeader", move_leader_request, move_leader_response),
    ROUTE("maintenance/hashkv", "Maintenance", "HashKV", hash_kvrequest, hash_kvresponse),
    STREAM("maintenance/snapshot", "Maintenance", "Snapshot", snapshot_request, snapshot_response,
           ROUTE_STREAM),
    ROUTE("maintenance/downgrade", "Maintenance", "Downgrade", downgrade_request,
          downgrade_response),
    LOCK("lock", "Lock", lock_request, lock_response),
    LOCK("unlock", "Unlock", unlock_request, unlock_response),
    ELECTION("campaign", "Campaign", campaign_request, campaign_response, ROUTE_UNARY),
    ELECTION("proclaim", "Proclaim", proclaim_request, proclaim_response, ROUTE_UNARY),
    ELECTION("leader", "Leader", leader_request, leader_response, ROUTE_UNARY),
    ELECTION("observe", "Observe", leader_request, leader_response, ROUTE_ANSWERS),
    ELECTION("resign", "Resign", resign_request, resign_response, ROUTE_UNARY),
};
/* clang-format on */

/* What follows "/v3/", or NULL. */
static const char *below_v3(const char *path)
{
    static const char *const prefixes[] = {"/v3/", "/v3beta/"};

    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (strncmp(path, prefixes[i], strlen(prefixes[i])) == 0)
            return path + strlen(prefixes[i]);
    return NULL;
}

bool gateway_owns(const char *path)
{
    return below_v3(path) != NULL;
}

static const struct route *find_route(const struct http_request *request)
{
    const char *path = below_v3(http_path(request));

    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        if (strcmp(path, routes[i].path) == 0)
            return http_has_method(request, routes[i].service, routes[i].method) ? &routes[i]
                                                                                 : NULL;
    return NULL;
}

/* ---- errors ---- */

/* grpc-gateway's table. */
static int http_status(enum grpc_status status)
{
    static const int table[GRPC_STATUS_COUNT] = {
        [GRPC_OK] = 200,
        [GRPC_CANCELLED] = 499,
        [GRPC_UNKNOWN] = 500,
        [GRPC_INVALID_ARGUMENT] = 400,
        [GRPC_DEADLINE_EXCEEDED] = 504,
        [GRPC_NOT_FOUND] = 404,
        [GRPC_ALREADY_EXISTS] = 409,
        [GRPC_PERMISSION_DENIED] = 403,
        [GRPC_RESOURCE_EXHAUSTED] = 429,
        [GRPC_FAILED_PRECONDITION] = 400,
        [GRPC_ABORTED] = 409,
        [GRPC_OUT_OF_RANGE] = 400,
        [GRPC_UNIMPLEMENTED] = 501,
        [GRPC_INTERNAL] = 500,
        [GRPC_UNAVAILABLE] = 503,
        [GRPC_DATA_LOSS] = 500,
        [GRPC_UNAUTHENTICATED] = 401,
    };

    return table[status];
}

/* The bufs of this file have no bound to hit: net takes answers of any size, and the client's
 * tempo is watched there. */
void gateway__print_error(struct buf *out, enum grpc_status status, const char *message)
{
    (void)buf_printf(out, "{\"code\":%d,\"message\":", (int)status);
    (void)json_pb_print_string(slice_str(message), out);
}

static void fail(struct http_request *request, enum grpc_status status, const char *message)
{
    struct buf body;

    buf_init(&body, SIZE_MAX / 2);
    gateway__print_error(&body, status, message);
    (void)buf_append_u8(&body, '}');
    http_reply(request, http_status(status), JSON, buf_slice(&body));
    buf_release(&body);
}

/* ---- messages ---- */

/* What the services have written is well-formed. */
void gateway__print_message(const struct call *call, struct slice message, struct buf *out)
{
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *unpacked;
    int rc = scan_unpack_own(call->route->response, message, &arena, &unpacked);

    ASSERT(rc == 0);
    (void)json_pb_print(unpacked, out);
    arena_release(&arena);
}

struct call *gateway__call_new(struct http_request *request, const struct route *route)
{
    struct call *call = arena_alloc(http_arena(request), sizeof *call);

    *call = (struct call){.route = route};
    buf_init(&call->answer, SIZE_MAX / 2);
    json_pb_stream_init(&call->stream, route->response);
    http_set_data(request, call);
    return call;
}

void gateway__call_release(struct call *call)
{
    buf_release(&call->answer);
    json_pb_stream_release(&call->stream);
}

void gateway_on_cancel(struct http_request *request)
{
    struct call *call = http_data(request);

    if (call != NULL)
        gateway__call_release(call);
}

/* Opens the call of the route; if that fails the request is answered. */
static bool open_call(struct http_request *request, const struct route *route,
                      const struct http_call_events *events)
{
    int rc = http_call_open(request, route->service, route->method, events);

    if (rc != 0)
        fail(request, GRPC_INVALID_ARGUMENT, "invalid grpc-timeout");
    return rc == 0;
}

/* ---- unary calls ---- */

static void on_answer(struct http_request *request, struct slice message)
{
    struct call *call = http_data(request);

    gateway__print_message(call, message, &call->answer);
}

/* A long answer goes out as it comes in: none of it is held here. Its status is 200 then, and what
 * fails later shows by an answer that does not end. */
static void on_answer_begin(struct http_request *request, size_t len)
{
    struct call *call = http_data(request);

    (void)len; /* the length as JSON is another */
    call->begun = true;
    http_reply_begin(request, 200, JSON);
}

static void on_answer_piece(struct http_request *request, struct slice piece)
{
    struct call *call = http_data(request);
    int rc = json_pb_stream_feed(&call->stream, piece, &call->answer);

    ASSERT(rc == 0); /* what the services have written is well-formed */
    http_reply_chunk(request, buf_slice(&call->answer));
    buf_reset(&call->answer);
}

static void end_pieces(struct http_request *request, enum grpc_status status)
{
    struct call *call = http_data(request);

    if (status != GRPC_OK) {
        http_reply_abort(request); /* gateway_on_cancel() follows */
        return;
    }
    (void)json_pb_stream_end(&call->stream, &call->answer); /* as above */
    http_reply_chunk(request, buf_slice(&call->answer));
    gateway__call_release(call);
    http_reply_end(request);
}

static void on_unary_finish(struct http_request *request, enum grpc_status status,
                            const char *message)
{
    struct call call = *(struct call *)http_data(request); /* the original goes with the request */

    if (call.begun) {
        end_pieces(request, status);
        return;
    }
    if (status == GRPC_OK)
        http_reply(request, 200, JSON, buf_slice(&call.answer));
    else
        fail(request, status, message);
    gateway__call_release(&call);
}

/* ---- streams ---- */

static void begin(struct http_request *request)
{
    struct call *call = http_data(request);

    if (!call->begun)
        http_reply_begin(request, 200, JSON);
    call->begun = true;
}

static void on_stream_message(struct http_request *request, struct slice message)
{
    struct buf line;

    begin(request);
    buf_init(&line, SIZE_MAX / 2);
    (void)buf_printf(&line, "{\"result\":");
    gateway__print_message(http_data(request), message, &line);
    (void)buf_append(&line, "}\n", 2);
    http_reply_chunk(request, buf_slice(&line));
    buf_release(&line);
}

/* A stream that fails before it has said anything can still have a status of its own. */
static void on_stream_finish(struct http_request *request, enum grpc_status status,
                             const char *message)
{
    const struct call *call = http_data(request);
    struct buf line;

    buf_init(&line, SIZE_MAX / 2);
    if (status != GRPC_OK) {
        (void)buf_printf(&line, "{\"error\":");
        gateway__print_error(&line, status, message);
        (void)buf_printf(&line, ",\"details\":[]}}\n");
    }
    if (call->begun) {
        http_reply_chunk(request, buf_slice(&line));
        http_reply_end(request);
    } else {
        http_reply(request, http_status(status), JSON, buf_slice(&line));
    }
    buf_release(&line);
}

/* All values of the body. It is whole when we see it, so bad JSON anywhere refuses all of it: etcd,
 * which reads on as it arrives, only stops listening there and tells nobody. messages gets the
 * bytes, ends where each message ends in them. */
static int parse_all(const struct route *route, struct slice body, struct buf *messages,
                     struct buf *ends, struct err *err)
{
    struct slice value;
    int rc;

    for (;;) {
        rc = json_pb_split(&body, &value, err);
        if (rc != 0 || value.len == 0)
            return rc;
        if (ends->len / sizeof(uint64_t) == JSON_PB_ELEMENTS_MAX)
            return err_set(err, KV_EPROTO, "more than %d messages", JSON_PB_ELEMENTS_MAX);
        rc = json_pb_parse(route->request, value, messages, err);
        if (rc == 0)
            rc = buf_append_le64(ends, messages->len);
        if (rc != 0)
            return rc;
    }
}

static void send_all(struct http_request *request, const struct route *route,
                     const struct buf *messages, const struct buf *ends)
{
    size_t start = 0;

    for (size_t i = 0; i < ends->len; i += sizeof(uint64_t)) {
        size_t end = (size_t)get_le64(ends->data + i);

        if (!http_call_send(request, slice_of(messages->data + start, end - start)))
            return;
        start = end;
    }
    if (route->kind == ROUTE_STREAM)
        http_call_half_close(request);
}

/* The first value of the body; an empty body is an empty message, and what may follow is not looked
 * at: both as in etcd. */
static void serve_one(struct http_request *request, const struct route *route,
                      const struct http_call_events *events)
{
    struct slice rest = http_body(request), value;
    struct err err = ERR_INIT;
    struct buf message;
    int rc;

    buf_init(&message, SIZE_MAX / 2);
    rc = json_pb_split(&rest, &value, &err);
    if (rc == 0 && value.len > 0)
        rc = json_pb_parse(route->request, value, &message, &err);
    if (rc != 0) {
        fail(request, GRPC_INVALID_ARGUMENT, err.text);
    } else if (open_call(request, route, events)) {
        (void)gateway__call_new(request, route);
        (void)http_call_send(request, buf_slice(&message)); /* nothing is to be done if it ended */
    }
    buf_release(&message);
}

static void serve_all(struct http_request *request, const struct route *route,
                      const struct http_call_events *events)
{
    struct err err = ERR_INIT;
    struct buf messages, ends;

    buf_init(&messages, SIZE_MAX / 2);
    buf_init(&ends, SIZE_MAX / 2);
    if (parse_all(route, http_body(request), &messages, &ends, &err) != 0) {
        fail(request, GRPC_INVALID_ARGUMENT, err.text);
    } else if (open_call(request, route, events)) {
        (void)gateway__call_new(request, route);
        send_all(request, route, &messages, &ends);
    }
    buf_release(&messages);
    buf_release(&ends);
}

/* ---- requests ---- */

void gateway_on_request(struct http_request *request)
{
    static const struct http_call_events unary = {.on_message = on_answer,
                                                  .on_message_begin = on_answer_begin,
                                                  .on_piece = on_answer_piece,
                                                  .on_finish = on_unary_finish};
    static const struct http_call_events stream = {.on_message = on_stream_message,
                                                   .on_finish = on_stream_finish};
    const struct route *route = find_route(request);

    if (route == NULL)
        fail(request, GRPC_NOT_FOUND, "Not Found");
    else if (http_wants_socket(request))
        gateway__serve_socket(request, route);
    else if (strcmp(http_method(request), "POST") != 0)
        fail(request, GRPC_UNIMPLEMENTED, "Method Not Allowed");
    else if (route->kind == ROUTE_UNARY)
        serve_one(request, route, &unary);
    else if (route->kind == ROUTE_ANSWERS)
        serve_one(request, route, &stream);
    else
        serve_all(request, route, &stream);
}
