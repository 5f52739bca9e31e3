/* etcdserverpb.Maintenance.MoveLeader (etcd-api.md section 9). */
#include "server/service.h"

static void on_moved(struct leader_move *move, enum status status)
{
    const Etcdserverpb__MoveLeaderResponse response = ETCDSERVERPB__MOVE_LEADER_RESPONSE__INIT;

    if (status == STATUS_OK)
        service_reply(move->call, &response.base); /* without a header, as etcd's */
    else
        service_fail(move->call, status);
}

void service_maintenance_move_leader(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__MoveLeaderRequest *request;
    struct leader_move *move;
    enum status status;

    request = service_begin(call, message, &etcdserverpb__move_leader_request__descriptor);
    if (request == NULL)
        return;
    move = arena_alloc(grpc_call_arena(call), sizeof *move);
    *move = (struct leader_move){.call = call, .target = request->targetid, .done = on_moved};
    status = member__move_leader(service_member(call), move);
    if (status != STATUS_OK)
        service_fail(call, status);
}
