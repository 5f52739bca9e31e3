/* Messages that come in pieces: their length is known before their bytes are made. */
#include "net/server_internal.h"

static void promise(struct grpc_call *call, ptrdiff_t delta)
{
    call->message_left = (size_t)((ptrdiff_t)call->message_left + delta);
    call->conn->promised = (size_t)((ptrdiff_t)call->conn->promised + delta);
}

void call__forget_message(struct grpc_call *call)
{
    promise(call, -(ptrdiff_t)call->message_left);
}

void call__break_message(struct grpc_call *call, enum grpc_status status)
{
    call__mark_ended(call, status);
    call__reset(call, status == GRPC_RESOURCE_EXHAUSTED ? NGHTTP2_ENHANCE_YOUR_CALM
                                                        : NGHTTP2_INTERNAL_ERROR);
}

void grpc_call_message_begin(struct grpc_call *call, size_t len)
{
    ASSERT(!call->ended);
    ASSERT(call->message_left == 0);
    ASSERT(len > 0);
    ASSERT(len <= UINT32_MAX);
    promise(call, (ptrdiff_t)len);
    call__count_message(call, GRPC_SENT, len);
    if (call->origin != NULL) {
        inner__message_begin(call, len);
        return;
    }
    (void)grpc__put_frame_header(call__open_space(call, GRPC_FRAME_HEADER_SIZE), len);
    call__queue_open(call);
    call__resume(call);
}

uint8_t *grpc_call_piece(struct grpc_call *call, size_t len)
{
    ASSERT(!call->ended);
    ASSERT(len > 0);
    ASSERT(len <= call->message_left);
    return call__open_space(call, len);
}

void grpc_call_piece_send(struct grpc_call *call)
{
    ASSERT(!call->ended);
    ASSERT(call->open_chunk != NULL);
    promise(call, -(ptrdiff_t)call->open_len);
    if (call->origin != NULL) {
        inner__piece(call, slice_of(call->open_at, call->open_len));
        return;
    }
    call__queue_open(call);
    call__resume(call);
}

bool grpc_call_has_room(struct grpc_call *call)
{
    struct h2 *h2 = call->conn->h2;

    if (call->origin != NULL || h2->unsent <= CONN_PIECES_MAX)
        return true;
    if (call->queued == 0 && list_empty(&call->drain_node)) /* else it drains by itself */
        list_push_back(&h2->starved, &call->drain_node);
    return false;
}

size_t grpc_call_message_left(const struct grpc_call *call)
{
    return call->message_left;
}
