/* Linearizable reads: read points with a deadline, and the timer of everything that has one. All
 * waits are equally long, so the lists are in the order of deadlines and one timer serves them. */
#include "server/auth_calls.h"
#include "server/member_internal.h"

static void on_read_point(struct replica_read *point, int status)
{
    struct member_read *read = CONTAINER_OF(point, struct member_read, read);

    list_remove(&read->link);
    read->cb(read, status);
}

bool member__read(struct member *member, struct member_read *read)
{
    read->read = (struct replica_read){.cb = on_read_point};
    list_init(&read->read.link);
    list_init(&read->link);
    if (replica_read(member->replica, &read->read))
        return true;
    read->deadline_ms = uv_now(member->loop) + member->timeout_ms;
    list_push_back(&member->reads, &read->link);
    member__arm_expiry(member);
    return false;
}

void member_read_start(struct member *member, struct member_read *read)
{
    if (member__read(member, read))
        list_push_back(&member->ready_reads, &read->link);
}

void member_read_cancel(struct member *member, struct member_read *read)
{
    if (read->read.queued)
        replica_read_cancel(member->replica, &read->read);
    list_remove(&read->link);
}

void member__finish_ready_reads(struct member *member)
{
    struct list now;

    /* What is started meanwhile waits for the next turn. */
    list_init(&now);
    list_splice(&now, &member->ready_reads);
    while (!list_empty(&now)) {
        struct member_read *read = LIST_FIRST(&now, struct member_read, link);

        list_remove(&read->link);
        read->cb(read, 0);
    }
}

static void give_up(struct member *member, struct member_read *read, int code)
{
    member_read_cancel(member, read);
    if (member->metrics != NULL)
        member->metrics->read_indexes_failed++;
    read->cb(read, code);
}

uint64_t member__expire_reads(struct member *member, uint64_t now_ms)
{
    while (!list_empty(&member->reads)) {
        struct member_read *read = LIST_FIRST(&member->reads, struct member_read, link);

        if (read->deadline_ms > now_ms)
            return read->deadline_ms;
        give_up(member, read, KV_ETIMEDOUT);
    }
    return UINT64_MAX;
}

void member__fail_reads(struct member *member, int code)
{
    list_splice(&member->reads, &member->ready_reads);
    while (!list_empty(&member->reads))
        give_up(member, LIST_FIRST(&member->reads, struct member_read, link), code);
}

/* ---- the timer ---- */

static void on_expiry(uv_timer_t *timer)
{
    struct member *member = CONTAINER_OF(timer, struct member, expiry_timer);
    uint64_t now_ms = uv_now(member->loop);
    uint64_t writes_ms = member__expire_writes(member, now_ms);
    uint64_t reads_ms = member__expire_reads(member, now_ms);
    uint64_t moves_ms = member__expire_moves(member, now_ms);
    uint64_t changes_ms = member__expire_changes(member, now_ms);
    uint64_t early_ms = auth_wait_expire(member, now_ms);
    uint64_t next_ms = MIN(MIN(writes_ms, reads_ms), MIN(MIN(moves_ms, changes_ms), early_ms));
    int rc;

    if (next_ms == UINT64_MAX)
        return; /* the next request starts it again */
    rc = uv_timer_start(timer, on_expiry, next_ms - now_ms, 0);
    ASSERT(rc == 0); /* fails only without a callback or while closing */
}

void member__arm_expiry(struct member *member)
{
    int rc;

    /* Running: then for something older. It looks for itself what comes next. */
    if (uv_is_active((uv_handle_t *)&member->expiry_timer) || member->state == MEMBER_CLOSING)
        return;
    rc = uv_timer_start(&member->expiry_timer, on_expiry, member->timeout_ms, 0);
    ASSERT(rc == 0); /* fails only without a callback or while closing */
}
