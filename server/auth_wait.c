/* A token names the log entry that assigned it; a member that has not applied that entry yet does
 * not know the token. Calls that come so early wait here, as in etcd, instead of being refused.
 * Streams do not: their clients try again by themselves. */
#include "server/auth_calls.h"
#include "server/auth_tokens.h"
#include "server/member_internal.h"

enum { EARLY_MAX = 4096 }; /* more are refused: anybody can make an index up */

/* Lives in the call's arena. */
struct early {
    struct waiter waiter;
    struct list link; /* member->early, in the order of the deadlines */
    struct grpc_call *call;
    struct slice message;
    uint64_t index, deadline_ms;
};

static void cancel_early(struct waiter *waiter)
{
    struct early *early = CONTAINER_OF(waiter, struct early, waiter);

    list_remove(&early->link);
    ((struct member *)grpc_call_ctx(early->call))->early_count--;
}

bool auth_wait(struct member *member, struct grpc_call *call, struct slice message)
{
    struct early *early;
    uint64_t index;

    if (!member->machine->auth->enabled || member->jwt != NULL ||
        grpc_call_method(call)->kind == GRPC_BIDI_STREAM ||
        !auth_token_index(auth_token_of(call), &index) || index <= member->applied_index ||
        member->early_count >= EARLY_MAX || member->early_over)
        return false;
    early = arena_alloc(grpc_call_arena(call), sizeof *early);
    *early = (struct early){.waiter.cancel = cancel_early,
                            .call = call,
                            .message = arena_copy(grpc_call_arena(call), message),
                            .index = index,
                            .deadline_ms = uv_now(member->loop) + member->timeout_ms};
    list_push_back(&member->early, &early->link);
    member->early_count++;
    member__arm_expiry(member); /* looks at them, too */
    grpc_call_set_data(call, &early->waiter);
    return true;
}

/* From the beginning, as if it came only now. */
static void go_on(struct member *member, struct early *early)
{
    list_remove(&early->link);
    member->early_count--;
    grpc_call_set_data(early->call, NULL);
    grpc_call_method(early->call)->on_message(early->call, early->message);
}

void auth_wait_applied(struct member *member)
{
    struct list now;

    /* None of these comes back: their indexes are applied. */
    list_init(&now);
    LIST_EACH_SAFE (node, &member->early) {
        if (LIST_ENTRY(node, struct early, link)->index > member->applied_index)
            continue;
        list_remove(node);
        list_push_back(&now, node);
    }
    while (!list_empty(&now))
        go_on(member, LIST_FIRST(&now, struct early, link));
}

uint64_t auth_wait_expire(struct member *member, uint64_t now_ms)
{
    while (!list_empty(&member->early)) {
        struct early *early = LIST_FIRST(&member->early, struct early, link);

        if (early->deadline_ms > now_ms)
            return early->deadline_ms;
        member->early_over = true; /* it is refused, not parked again */
        go_on(member, early);
        member->early_over = false;
    }
    return UINT64_MAX;
}
