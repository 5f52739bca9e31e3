#include "server/services.h"

#include <stdio.h>

#include "server/auth_calls.h"
#include "server/scan.h"
#include "server/service.h"

/* The last column: what the call needs while auth is on (server/auth_calls.h). */
#define METHOD(service_name, method_name, method_kind, handler, half_close, rule)                  \
    {                                                                                              \
        .service = (service_name), .name = (method_name), .kind = (method_kind),                   \
        .on_message = (handler), .on_half_close = (half_close), .on_cancel = service_on_cancel,    \
        .tag = (void *)(uintptr_t)(rule)                                                           \
    }
#define UNARY(service, name, handler, rule) METHOD(service, name, GRPC_UNARY, handler, NULL, rule)
#define SERVER_STREAM(service, name, handler, rule)                                                \
    METHOD(service, name, GRPC_SERVER_STREAM, handler, NULL, rule)
#define BIDI_STREAM(service, name, handler, half_close, rule)                                      \
    METHOD(service, name, GRPC_BIDI_STREAM, handler, half_close, rule)

static const struct grpc_method methods[] = {
    UNARY("etcdserverpb.KV", "Range", service_kv_range, CALL_REQUEST),
    SERVER_STREAM("etcdserverpb.KV", "RangeStream", service_kv_range_stream, CALL_REQUEST),
    UNARY("etcdserverpb.KV", "Put", service_kv_put, CALL_COMMAND),
    UNARY("etcdserverpb.KV", "DeleteRange", service_kv_delete, CALL_COMMAND),
    UNARY("etcdserverpb.KV", "Txn", service_kv_txn, CALL_REQUEST),
    UNARY("etcdserverpb.KV", "Compact", service_kv_compact, CALL_COMMAND),
    BIDI_STREAM("etcdserverpb.Watch", "Watch", service_watch_message, service_watch_half_close,
                CALL_REQUEST),
    UNARY("etcdserverpb.Lease", "LeaseGrant", service_lease_grant, CALL_COMMAND),
    UNARY("etcdserverpb.Lease", "LeaseRevoke", service_lease_revoke, CALL_COMMAND),
    UNARY("etcdserverpb.Lease", "LeaseLeases", service_lease_leases, CALL_REQUEST),
    UNARY("etcdserverpb.Lease", "LeaseTimeToLive", service_lease_time_to_live, CALL_REQUEST),
    BIDI_STREAM("etcdserverpb.Lease", "LeaseKeepAlive", service_lease_keep_alive,
                service_lease_keep_alive_end, CALL_REQUEST),
    UNARY("etcdserverpb.Cluster", "MemberAdd", service_cluster_member_add, CALL_ROOT),
    UNARY("etcdserverpb.Cluster", "MemberRemove", service_cluster_member_remove, CALL_ROOT),
    UNARY("etcdserverpb.Cluster", "MemberUpdate", service_cluster_member_update, CALL_ROOT),
    UNARY("etcdserverpb.Cluster", "MemberList", service_cluster_member_list, CALL_USER),
    UNARY("etcdserverpb.Cluster", "MemberPromote", service_cluster_member_promote, CALL_ROOT),
    UNARY("etcdserverpb.Maintenance", "Alarm", service_maintenance_alarm, CALL_USER),
    UNARY("etcdserverpb.Maintenance", "Status", service_maintenance_status, CALL_USER),
    UNARY("etcdserverpb.Maintenance", "Defragment", service_maintenance_defragment, CALL_ROOT),
    UNARY("etcdserverpb.Maintenance", "Hash", service_maintenance_hash, CALL_ROOT),
    UNARY("etcdserverpb.Maintenance", "HashKV", service_maintenance_hash_kv, CALL_ROOT),
    SERVER_STREAM("etcdserverpb.Maintenance", "Snapshot", service_maintenance_snapshot, CALL_ROOT),
    UNARY("etcdserverpb.Maintenance", "MoveLeader", service_maintenance_move_leader, CALL_ROOT),
    UNARY("etcdserverpb.Maintenance", "Downgrade", service_maintenance_downgrade, CALL_ROOT),
    UNARY("etcdserverpb.Auth", "AuthEnable", service_auth_enable, CALL_COMMAND),
    UNARY("etcdserverpb.Auth", "AuthDisable", service_auth_disable, CALL_COMMAND),
    UNARY("etcdserverpb.Auth", "AuthStatus", service_auth_status, CALL_REQUEST),
    UNARY("etcdserverpb.Auth", "Authenticate", service_auth_authenticate, CALL_OPEN),
    UNARY("etcdserverpb.Auth", "UserAdd", service_auth_user_add, CALL_COMMAND),
    UNARY("etcdserverpb.Auth", "UserGet", service_auth_user_get, CALL_REQUEST),
    UNARY("etcdserverpb.Auth", "UserList", service_auth_user_list, CALL_REQUEST),
    UNARY("etcdserverpb.Auth", "UserDelete", service_auth_user_delete, CALL_COMMAND),
    UNARY("etcdserverpb.Auth", "UserChangePassword", service_auth_user_change_password,
          CALL_COMMAND),
    UNARY("etcdserverpb.Auth", "UserGrantRole", service_auth_user_grant_role, CALL_COMMAND),
    UNARY("etcdserverpb.Auth", "UserRevokeRole", service_auth_user_revoke_role, CALL_COMMAND),
    UNARY("etcdserverpb.Auth", "RoleAdd", service_auth_role_add, CALL_COMMAND),
    UNARY("etcdserverpb.Auth", "RoleGet", service_auth_role_get, CALL_REQUEST),
    UNARY("etcdserverpb.Auth", "RoleList", service_auth_role_list, CALL_REQUEST),
    UNARY("etcdserverpb.Auth", "RoleDelete", service_auth_role_delete, CALL_COMMAND),
    UNARY("etcdserverpb.Auth", "RoleGrantPermission", service_auth_role_grant_permission,
          CALL_COMMAND),
    UNARY("etcdserverpb.Auth", "RoleRevokePermission", service_auth_role_revoke_permission,
          CALL_COMMAND),
    UNARY("v3lockpb.Lock", "Lock", service_lock_lock, CALL_COMMAND),
    UNARY("v3lockpb.Lock", "Unlock", service_lock_unlock, CALL_COMMAND),
    UNARY("v3electionpb.Election", "Campaign", service_election_campaign, CALL_COMMAND),
    UNARY("v3electionpb.Election", "Proclaim", service_election_proclaim, CALL_COMMAND),
    UNARY("v3electionpb.Election", "Leader", service_election_leader, CALL_REQUEST),
    SERVER_STREAM("v3electionpb.Election", "Observe", service_election_observe, CALL_REQUEST),
    UNARY("v3electionpb.Election", "Resign", service_election_resign, CALL_COMMAND),
    UNARY("grpc.health.v1.Health", "Check", service_health_check, CALL_OPEN),
    SERVER_STREAM("grpc.health.v1.Health", "Watch", service_health_watch, CALL_OPEN),
};

const struct grpc_method *services_methods(size_t *count)
{
    *count = ARRAY_LEN(methods);
    return methods;
}

struct member *service_member(const struct grpc_call *call)
{
    return grpc_call_ctx(call);
}

void service_fail(struct grpc_call *call, enum status status)
{
    const struct status_line *line = status_line(status);

    grpc_call_finish(call, line->code, line->text);
}

/* RFC 3629, section 4. */
static bool is_utf8(struct slice text)
{
    size_t i = 0;

    while (i < text.len) {
        uint8_t lead = text.data[i++];
        size_t more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

        if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || more > text.len - i)
            return false;
        for (; more > 0; more--, low = 0x80, high = 0xbf)
            if (text.data[i] < low || text.data[i++] > high)
                return false;
    }
    return true;
}

/* A member without a state that it may show still says how it is. */
static bool tells_of_itself(const ProtobufCMessage *request)
{
    return request->descriptor == &etcdserverpb__status_request__descriptor ||
           (request->descriptor == &etcdserverpb__alarm_request__descriptor &&
            ((const Etcdserverpb__AlarmRequest *)request)->action ==
                ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET);
}

/* In the order of etcd's interceptor; a member that stops comes first. */
static enum status check_call(const struct member *member, const struct grpc_call *call,
                              const ProtobufCMessage *request)
{
    if (member->failed || member->state >= MEMBER_DRAINING)
        return STATUS_STOPPED;
    if (!is_utf8(grpc_call_header(call, "client-api-version")))
        return STATUS_INVALID_CLIENT_API;
    if (!tells_of_itself(request) && member->quarantine.on)
        return STATUS_CORRUPT;
    if (!tells_of_itself(request) && member->quarantine.unchecked)
        return STATUS_NO_LEADER; /* as one that has not heard of the cluster yet */
    if (member->leader == 0 && slice_eq(grpc_call_header(call, "hasleader"), slice_str("true")))
        return STATUS_NO_LEADER;
    return STATUS_OK;
}

/* A learner serves what it may serve stale, and says how it is. One that has just joined and not
 * heard of itself yet has nothing to serve. */
static enum status check_role(const struct member *member, const ProtobufCMessage *request)
{
    const struct machine_member *self = machine_member(member->machine, member->boot.member_id);

    if (self != NULL && !self->learner)
        return STATUS_OK;
    if (request->descriptor == &etcdserverpb__status_request__descriptor ||
        request->descriptor == &etcdserverpb__snapshot_request__descriptor)
        return STATUS_OK;
    if (self == NULL)
        return STATUS_NO_LEADER;
    if (request->descriptor == &etcdserverpb__range_request__descriptor &&
        ((const Etcdserverpb__RangeRequest *)request)->serializable)
        return STATUS_OK;
    return STATUS_NOT_FOR_LEARNER;
}

void *service_begin(struct grpc_call *call, struct slice message,
                    const ProtobufCMessageDescriptor *type)
{
    return service_begin_in(call, message, type, grpc_call_arena(call));
}

void *service_begin_in(struct grpc_call *call, struct slice message,
                       const ProtobufCMessageDescriptor *type, struct arena *arena)
{
    ProtobufCMessage *request;
    enum status status;

    if (auth_wait(service_member(call), call, message))
        return NULL;
    if (scan_unpack(type, message, arena, &request) != 0) {
        service_fail(call, STATUS_MALFORMED);
        return NULL;
    }
    status = check_call(service_member(call), call, request);
    if (status == STATUS_OK)
        status = check_role(service_member(call), request);
    if (status == STATUS_OK)
        status = auth_admit(service_member(call), call);
    if (status != STATUS_OK) {
        service_fail(call, status);
        return NULL;
    }
    return request;
}

void service_fail_too_large(struct grpc_call *call, size_t size)
{
    char text[96];

    (void)snprintf(text, sizeof text, "grpc: trying to send message larger than max (%zu vs. %d)",
                   size, SERVICE_ANSWER_MAX);
    grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, text);
}

bool service_author(struct grpc_call *call, struct author *out)
{
    enum status status = auth_author(service_member(call), call, out);

    if (status != STATUS_OK)
        service_fail(call, status);
    return status == STATUS_OK;
}

bool service_permit(struct grpc_call *call, int code)
{
    if (code != 0)
        service_fail(call, status_of_error(code));
    return code == 0;
}

void service_reply(struct grpc_call *call, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);

    if (size > SERVICE_ANSWER_MAX) { /* a txn of many long ranges */
        service_fail_too_large(call, size);
        return;
    }
    (void)protobuf_c_message_pack(message, grpc_call_message(call, size)); /* writes what it said */
    grpc_call_reply(call);
}

void service_reply_empty(struct grpc_call *call, int64_t revision)
{
    struct encode_header header = service_encode_header(service_member(call), revision);

    (void)encode_empty(grpc_call_message(call, encode_empty_size(&header)),
                       &header); /* writes the size it said */
    grpc_call_reply(call);
}

/* What all answers to writes begin with. */
struct written {
    ProtobufCMessage base;
    Etcdserverpb__ResponseHeader *header;
};

#define HEADER_COMES_FIRST(type)                                                                   \
    _Static_assert(offsetof(type, header) == offsetof(struct written, header), #type)
HEADER_COMES_FIRST(Etcdserverpb__PutResponse);
HEADER_COMES_FIRST(Etcdserverpb__DeleteRangeResponse);
HEADER_COMES_FIRST(Etcdserverpb__TxnResponse);
HEADER_COMES_FIRST(Etcdserverpb__AlarmResponse);
HEADER_COMES_FIRST(Etcdserverpb__LeaseGrantResponse);
HEADER_COMES_FIRST(Etcdserverpb__LeaseRevokeResponse);
HEADER_COMES_FIRST(Etcdserverpb__AuthEnableResponse); /* and so the others of Auth */

void service_on_written(struct member *member, struct grpc_call *call, const void *request,
                        enum status status, const struct machine_result *result)
{
    struct written *response;

    (void)request;
    if (status != STATUS_OK) {
        service_fail(call, status);
        return;
    }
    if (result->too_large) {
        service_fail(call, STATUS_TXN_TOO_LARGE);
        return;
    }
    response = result->response;
    service_fill_header(member, response->header);
    service_reply(call, &response->base);
}

void service_fill_header(const struct member *member, Etcdserverpb__ResponseHeader *header)
{
    header->cluster_id = member->boot.cluster_id;
    header->member_id = member->boot.member_id;
    header->raft_term = member->term;
}

Etcdserverpb__ResponseHeader *service_header(struct grpc_call *call, int64_t revision)
{
    Etcdserverpb__ResponseHeader *header = arena_alloc(grpc_call_arena(call), sizeof *header);

    etcdserverpb__response_header__init(header);
    service_fill_header(service_member(call), header);
    header->revision = revision;
    return header;
}

struct encode_header service_encode_header(const struct member *member, int64_t revision)
{
    return (struct encode_header){.cluster_id = member->boot.cluster_id,
                                  .member_id = member->boot.member_id,
                                  .revision = revision,
                                  .raft_term = member->term};
}

/* ---- waiting for a read point ---- */

struct call_read {
    struct waiter waiter;
    struct member_read read;
    struct grpc_call *call;
    const void *request;
    service_run run;
    service_refuse refuse;
};

static void on_read(struct member_read *read, int status)
{
    struct call_read *wait = CONTAINER_OF(read, struct call_read, read);

    grpc_call_set_data(wait->call, NULL);
    if (status == 0)
        wait->run(wait->call, wait->request);
    else
        wait->refuse(wait->call, status_of_error(status));
}

static void cancel_read(struct waiter *waiter)
{
    struct call_read *wait = CONTAINER_OF(waiter, struct call_read, waiter);

    member_read_cancel(service_member(wait->call), &wait->read);
}

void service_read(struct grpc_call *call, const void *request, service_run run)
{
    service_read_or(call, request, run, service_fail);
}

void service_read_or(struct grpc_call *call, const void *request, service_run run,
                     service_refuse refuse)
{
    struct call_read *wait = arena_alloc(grpc_call_arena(call), sizeof *wait);

    *wait = (struct call_read){.waiter.cancel = cancel_read,
                               .read.cb = on_read,
                               .call = call,
                               .request = request,
                               .run = run,
                               .refuse = refuse};
    if (member__read(service_member(call), &wait->read))
        run(call, request);
    else
        grpc_call_set_data(call, &wait->waiter);
}

bool service_may_show(const struct grpc_call *call)
{
    const struct member *member = service_member(call);

    return member->ready || wal_is_new(member->wal);
}

void service_read_local(struct grpc_call *call, const void *request, service_run run)
{
    if (service_may_show(call))
        run(call, request);
    else
        service_read(call, request, run);
}

void service_on_cancel(struct grpc_call *call)
{
    struct waiter *waiter = grpc_call_data(call);

    if (waiter != NULL)
        waiter->cancel(waiter);
}
