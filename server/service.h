/* What the services share: taking a request apart, answering it, waiting for a read point. */
#ifndef KVD_SERVER_SERVICE_H
#define KVD_SERVER_SERVICE_H

#include "proto/rpc.pb-c.h"
#include "server/encode.h"
#include "server/member_internal.h"
#include "server/permit.h"

/* The request, unpacked into the call's arena, after the checks that every call gets (malformed,
 * client-api-version, hasleader, stopping, who may). NULL: the call has been answered, or comes
 * again. */
void *service_begin(struct grpc_call *call, struct slice message,
                    const ProtobufCMessageDescriptor *type);

/* The same into an arena of the caller's: for calls that wait long and shall not keep their
 * request.
 */
void *service_begin_in(struct grpc_call *call, struct slice message,
                       const ProtobufCMessageDescriptor *type, struct arena *arena);
/* Who the call comes from (server/auth_calls.h); false: the call has been answered. */
bool service_author(struct grpc_call *call, struct author *out);
/* Takes what a permit_...() has said; false: the call has been answered with it. */
bool service_permit(struct grpc_call *call, int code);

struct member *service_member(const struct grpc_call *call);
void service_fail(struct grpc_call *call, enum status status);
/* What etcd's gRPC sends at most, and what it says of an answer that is longer. */
enum { SERVICE_ANSWER_MAX = INT32_MAX };
void service_fail_too_large(struct grpc_call *call, size_t size);
/* Packs the message into the output and ends the call with OK, or as above. */
void service_reply(struct grpc_call *call, const ProtobufCMessage *message);
/* An answer that is nothing but its header. */
void service_reply_empty(struct grpc_call *call, int64_t revision);
/* Cluster id, member id and term into a header; the revision is the caller's. */
void service_fill_header(const struct member *member, Etcdserverpb__ResponseHeader *header);
/* A header in the call's arena. */
Etcdserverpb__ResponseHeader *service_header(struct grpc_call *call, int64_t revision);
/* The end of a write (write_done): fills in the header of the answer, which every such message has
 * as its first field, and sends it; or the error. */
void service_on_written(struct member *member, struct grpc_call *call, const void *request,
                        enum status status, const struct machine_result *result);
struct encode_header service_encode_header(const struct member *member, int64_t revision);

/* Runs run(call, request), at once or later, when the state machine holds everything that was
 * acknowledged before; answers the call itself if that does not come about. */
typedef void (*service_run)(struct grpc_call *call, const void *request);
void service_read(struct grpc_call *call, const void *request, service_run run);
/* False for a member that has been started again and has not heard yet how far the cluster is: what
 * it has applied may be less than it has shown to clients before (faults.md I4). etcd answers
 * nothing at all so early. */
bool service_may_show(const struct grpc_call *call);
/* As service_read() for a read that may be stale: at once, if anything may be shown. */
void service_read_local(struct grpc_call *call, const void *request, service_run run);
/* The same with another way to answer that. */
typedef void (*service_refuse)(struct grpc_call *call, enum status status);
void service_read_or(struct grpc_call *call, const void *request, service_run run,
                     service_refuse refuse);

/* on_cancel of every method: tells the waiter, if the call has one. */
void service_on_cancel(struct grpc_call *call);

/* ---- the methods, for the table in services.c ---- */

void service_kv_range(struct grpc_call *call, struct slice message);
void service_kv_range_stream(struct grpc_call *call, struct slice message);
void service_kv_put(struct grpc_call *call, struct slice message);
void service_kv_delete(struct grpc_call *call, struct slice message);
void service_kv_txn(struct grpc_call *call, struct slice message);
void service_kv_compact(struct grpc_call *call, struct slice message);
void service_cluster_member_add(struct grpc_call *call, struct slice message);
void service_cluster_member_remove(struct grpc_call *call, struct slice message);
void service_cluster_member_update(struct grpc_call *call, struct slice message);
void service_cluster_member_promote(struct grpc_call *call, struct slice message);
void service_cluster_member_list(struct grpc_call *call, struct slice message);
void service_maintenance_alarm(struct grpc_call *call, struct slice message);
void service_maintenance_status(struct grpc_call *call, struct slice message);
void service_maintenance_defragment(struct grpc_call *call, struct slice message);
void service_maintenance_downgrade(struct grpc_call *call, struct slice message);
void service_maintenance_hash(struct grpc_call *call, struct slice message);
void service_maintenance_hash_kv(struct grpc_call *call, struct slice message);
void service_maintenance_move_leader(struct grpc_call *call, struct slice message);
void service_maintenance_snapshot(struct grpc_call *call, struct slice message);
void service_lease_grant(struct grpc_call *call, struct slice message);
void service_lease_revoke(struct grpc_call *call, struct slice message);
void service_lease_leases(struct grpc_call *call, struct slice message);
void service_lease_time_to_live(struct grpc_call *call, struct slice message);
void service_lease_keep_alive(struct grpc_call *call, struct slice message);
void service_lease_keep_alive_end(struct grpc_call *call);
void service_auth_enable(struct grpc_call *call, struct slice message);
void service_auth_disable(struct grpc_call *call, struct slice message);
void service_auth_status(struct grpc_call *call, struct slice message);
void service_auth_authenticate(struct grpc_call *call, struct slice message);
void service_auth_user_add(struct grpc_call *call, struct slice message);
void service_auth_user_get(struct grpc_call *call, struct slice message);
void service_auth_user_list(struct grpc_call *call, struct slice message);
void service_auth_user_delete(struct grpc_call *call, struct slice message);
void service_auth_user_change_password(struct grpc_call *call, struct slice message);
void service_auth_user_grant_role(struct grpc_call *call, struct slice message);
void service_auth_user_revoke_role(struct grpc_call *call, struct slice message);
void service_auth_role_add(struct grpc_call *call, struct slice message);
void service_auth_role_get(struct grpc_call *call, struct slice message);
void service_auth_role_list(struct grpc_call *call, struct slice message);
void service_auth_role_delete(struct grpc_call *call, struct slice message);
void service_auth_role_grant_permission(struct grpc_call *call, struct slice message);
void service_auth_role_revoke_permission(struct grpc_call *call, struct slice message);
void service_watch_message(struct grpc_call *call, struct slice message);
void service_watch_half_close(struct grpc_call *call);
void service_lock_lock(struct grpc_call *call, struct slice message);
void service_lock_unlock(struct grpc_call *call, struct slice message);
void service_election_campaign(struct grpc_call *call, struct slice message);
void service_election_proclaim(struct grpc_call *call, struct slice message);
void service_election_leader(struct grpc_call *call, struct slice message);
void service_election_observe(struct grpc_call *call, struct slice message);
void service_election_resign(struct grpc_call *call, struct slice message);
void service_health_check(struct grpc_call *call, struct slice message);
void service_health_watch(struct grpc_call *call, struct slice message);

#endif
