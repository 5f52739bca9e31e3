/* The methods kvd serves, a typed blocking helper for each, and the meaning of a server's error. */
#include <string.h>

#include "client/internal.h"

/* protobuf-c spells a message in two ways, Etcdserverpb__RangeRequest and
 * etcdserverpb__range_request; the descriptors are listed here once so that the map need not. */
#define range_descriptor(end) etcdserverpb__range_##end##__descriptor
#define put_descriptor(end) etcdserverpb__put_##end##__descriptor
#define delete_range_descriptor(end) etcdserverpb__delete_range_##end##__descriptor
#define txn_descriptor(end) etcdserverpb__txn_##end##__descriptor
#define compaction_descriptor(end) etcdserverpb__compaction_##end##__descriptor
#define member_add_descriptor(end) etcdserverpb__member_add_##end##__descriptor
#define member_promote_descriptor(end) etcdserverpb__member_promote_##end##__descriptor
#define member_remove_descriptor(end) etcdserverpb__member_remove_##end##__descriptor
#define member_update_descriptor(end) etcdserverpb__member_update_##end##__descriptor
#define member_list_descriptor(end) etcdserverpb__member_list_##end##__descriptor
#define alarm_descriptor(end) etcdserverpb__alarm_##end##__descriptor
#define lease_grant_descriptor(end) etcdserverpb__lease_grant_##end##__descriptor
#define lease_revoke_descriptor(end) etcdserverpb__lease_revoke_##end##__descriptor
#define lease_time_to_live_descriptor(end) etcdserverpb__lease_time_to_live_##end##__descriptor
#define lease_leases_descriptor(end) etcdserverpb__lease_leases_##end##__descriptor
#define status_descriptor(end) etcdserverpb__status_##end##__descriptor
#define hash_descriptor(end) etcdserverpb__hash_##end##__descriptor
#define defragment_descriptor(end) etcdserverpb__defragment_##end##__descriptor
#define downgrade_descriptor(end) etcdserverpb__downgrade_##end##__descriptor
#define hash_kv_descriptor(end) etcdserverpb__hash_kv##end##__descriptor
#define move_leader_descriptor(end) etcdserverpb__move_leader_##end##__descriptor
#define authenticate_descriptor(end) etcdserverpb__authenticate_##end##__descriptor
#define auth_enable_descriptor(end) etcdserverpb__auth_enable_##end##__descriptor
#define auth_disable_descriptor(end) etcdserverpb__auth_disable_##end##__descriptor
#define auth_status_descriptor(end) etcdserverpb__auth_status_##end##__descriptor
#define auth_user_add_descriptor(end) etcdserverpb__auth_user_add_##end##__descriptor
#define auth_user_get_descriptor(end) etcdserverpb__auth_user_get_##end##__descriptor
#define auth_user_list_descriptor(end) etcdserverpb__auth_user_list_##end##__descriptor
#define auth_user_delete_descriptor(end) etcdserverpb__auth_user_delete_##end##__descriptor
#define auth_user_change_password_descriptor(end)                                                  \
    etcdserverpb__auth_user_change_password_##end##__descriptor
#define auth_user_grant_role_descriptor(end) etcdserverpb__auth_user_grant_role_##end##__descriptor
#define auth_user_revoke_role_descriptor(end)                                                      \
    etcdserverpb__auth_user_revoke_role_##end##__descriptor
#define auth_role_add_descriptor(end) etcdserverpb__auth_role_add_##end##__descriptor
#define auth_role_get_descriptor(end) etcdserverpb__auth_role_get_##end##__descriptor
#define auth_role_list_descriptor(end) etcdserverpb__auth_role_list_##end##__descriptor
#define auth_role_delete_descriptor(end) etcdserverpb__auth_role_delete_##end##__descriptor
#define auth_role_grant_permission_descriptor(end)                                                 \
    etcdserverpb__auth_role_grant_permission_##end##__descriptor
#define auth_role_revoke_permission_descriptor(end)                                                \
    etcdserverpb__auth_role_revoke_permission_##end##__descriptor

static int call_typed(struct kv_client *client, const struct kv_method *method,
                      const ProtobufCMessage *request, ProtobufCMessage **out, struct err *err)
{
    struct kv_result result;
    int rc;

    rc = kv_call(client, method, request, NULL, &result);
    *out = result.message; /* moved to the caller */
    if (err != NULL)
        *err = result.err;
    return rc;
}

#define X(name_, Message, service, rpc, kind_)                                                     \
    const struct kv_method kv_method_##name_ = {                                                   \
        .name = #rpc,                                                                              \
        .path = "/etcdserverpb." #service "/" #rpc,                                                \
        .request = &name_##_descriptor(request),                                                   \
        .response = &name_##_descriptor(response),                                                 \
        .kind = kind_,                                                                             \
    };                                                                                             \
    int kv_##name_(struct kv_client *client, const Etcdserverpb__##Message##Request *request,      \
                   Etcdserverpb__##Message##Response **out, struct err *err)                       \
    {                                                                                              \
        ProtobufCMessage *message = NULL;                                                          \
        int rc = call_typed(client, &kv_method_##name_, &request->base, &message, err);            \
                                                                                                   \
        *out = (Etcdserverpb__##Message##Response *)(void *)message;                               \
        return rc;                                                                                 \
    }
KV_METHOD_MAP(X)
#undef X

const struct kv_method kv_method_range_stream = {
    .name = "RangeStream",
    .path = "/etcdserverpb.KV/RangeStream",
    .request = &etcdserverpb__range_request__descriptor,
    .response = &etcdserverpb__range_stream_response__descriptor,
    .kind = KV_READ,
};

/* Texts that programs act on (etcd-api.md section 14); the rest goes by status. */
static const struct {
    const char *text;
    int code;
} known[] = {
    {"etcdserver: mvcc: required revision has been compacted", KV_ECOMPACTED},
    {"etcdserver: mvcc: required revision is a future revision", KV_EFUTURE},
    {"etcdserver: mvcc: database space exceeded", KV_ENOQUOTA},
    {"etcdserver: key not found", KV_EKEYNOTFOUND},
    {"etcdserver: requested lease not found", KV_ELEASENOTFOUND},
    {"etcdserver: no leader", KV_ENOLEADER},
    {"etcdserver: not leader", KV_ENOTLEADER},
    {"etcdserver: leader changed", KV_ELEADERCHANGED},
    {"etcdserver: server stopped", KV_ESTOPPED},
};

static const int by_status[GRPC_STATUS_COUNT] = {
    [GRPC_OK] = 0,
    [GRPC_CANCELLED] = KV_ECANCELED,
    [GRPC_UNKNOWN] = KV_EINVAL,
    [GRPC_INVALID_ARGUMENT] = KV_EINVAL,
    [GRPC_DEADLINE_EXCEEDED] = KV_ETIMEDOUT,
    [GRPC_NOT_FOUND] = KV_ENOTFOUND,
    [GRPC_ALREADY_EXISTS] = KV_EEXIST,
    [GRPC_PERMISSION_DENIED] = KV_EINVAL,
    [GRPC_RESOURCE_EXHAUSTED] = KV_ETOOBIG,
    [GRPC_FAILED_PRECONDITION] = KV_EINVAL,
    [GRPC_ABORTED] = KV_EINVAL,
    [GRPC_OUT_OF_RANGE] = KV_EINVAL,
    [GRPC_UNIMPLEMENTED] = KV_EPROTO,
    [GRPC_INTERNAL] = KV_EPROTO,
    [GRPC_UNAVAILABLE] = KV_ECONN,
    [GRPC_DATA_LOSS] = KV_ECORRUPT,
    [GRPC_UNAUTHENTICATED] = KV_EINVAL,
};

int kv__code_of(enum grpc_status status, const char *message)
{
    size_t i;

    if (status == GRPC_OK)
        return 0;
    for (i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(known[i].text, message) == 0)
            return known[i].code;
    }
    return (unsigned)status < GRPC_STATUS_COUNT ? by_status[status] : KV_EPROTO;
}

size_t kv_prefix_end(struct slice prefix, uint8_t *end)
{
    size_t len = prefix.len;

    while (len > 0 && prefix.data[len - 1] == 0xff)
        len--;
    if (len == 0) {
        end[0] = 0;
        return 1;
    }
    memcpy(end, prefix.data, len);
    end[len - 1]++;
    return len;
}
