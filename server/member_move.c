/* MoveLeader: the replica hands over; who asked waits here until the target leads. */
#include "server/member_internal.h"

static void forget(struct leader_move *move)
{
    list_remove(&move->link);
    grpc_call_set_data(move->call, NULL);
}

static void cancel(struct waiter *waiter)
{
    forget(CONTAINER_OF(waiter, struct leader_move, waiter));
}

static void finish(struct leader_move *move, enum status status)
{
    forget(move);
    move->done(move, status);
}

static enum status status_of_transfer(int code)
{
    switch (code) {
    case KV_ENOTLEADER:
        return STATUS_NOT_LEADER;
    case KV_EINVAL:
        return STATUS_BAD_TRANSFEREE;
    case KV_EBUSY: /* to somebody else: as in etcd, this one waits in vain or gets lucky */
        return STATUS_OK;
    default:
        return status_of_error(code);
    }
}

enum status member__move_leader(struct member *member, struct leader_move *move)
{
    enum status status;

    /* 0 would let the replica choose. */
    if (member->role == REPLICA_LEADER && move->target == 0)
        return STATUS_BAD_TRANSFEREE;
    status = status_of_transfer(replica_transfer(member->replica, move->target));
    if (status != STATUS_OK)
        return status;
    list_init(&move->link);
    if (member->leader == move->target) {
        move->done(move, STATUS_OK);
        return STATUS_OK;
    }
    move->waiter.cancel = cancel;
    move->deadline_ms = uv_now(member->loop) + member->timeout_ms;
    list_push_back(&member->leader_moves, &move->link);
    grpc_call_set_data(move->call, &move->waiter);
    member__arm_expiry(member);
    return STATUS_OK;
}

void member__check_moves(struct member *member)
{
    LIST_EACH_SAFE (node, &member->leader_moves) {
        struct leader_move *move = LIST_ENTRY(node, struct leader_move, link);

        if (move->target == member->leader)
            finish(move, STATUS_OK);
    }
}

uint64_t member__expire_moves(struct member *member, uint64_t now_ms)
{
    while (!list_empty(&member->leader_moves)) {
        struct leader_move *move = LIST_FIRST(&member->leader_moves, struct leader_move, link);

        if (move->deadline_ms > now_ms)
            return move->deadline_ms;
        finish(move, STATUS_TRANSFER_TIMEOUT);
    }
    return UINT64_MAX;
}

void member__fail_moves(struct member *member, enum status status)
{
    while (!list_empty(&member->leader_moves))
        finish(LIST_FIRST(&member->leader_moves, struct leader_move, link), status);
}
