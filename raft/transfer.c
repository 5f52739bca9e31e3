/* Handing leadership over (Raft dissertation, section 3.10), with the patience libraft lacks (G15):
 *
 *     IDLE --replica_transfer--> DRAIN --target has all--> SENT --target leads--> IDLE
 *                                  |                         |
 *                                  +------- too late --------+----> IDLE, still leader
 *
 * From DRAIN on proposals and reads wait here; TimeoutNow, once lost, is sent once more. */
#include "base/util.h"
#include "raft/guards.h"
#include "raft/internal.h"

void transfer_reset(struct replica *r)
{
    r->transfer = TRANSFER_IDLE;
    r->transfer_target = 0;
}

/* The voter that has most of the log, connected if any is. 0: there is none but us. */
static uint64_t best_target(const struct replica *r)
{
    const struct peer *best = NULL;
    uint64_t best_match = 0;

    for (size_t i = 0; i < r->peer_count; i++) {
        const struct peer *peer = r->peers[i];
        uint64_t match = 0;

        if (!replica__is_voter(r, peer->id) || !replica_match(r, peer->id, &match))
            continue;
        if (best == NULL || peer->connected > best->connected ||
            (peer->connected == best->connected && match > best_match)) {
            best = peer;
            best_match = match;
        }
    }
    return best == NULL ? 0 : best->id;
}

static int transfer_begin(struct replica *r, uint64_t target)
{
    if (!replica__leads(r))
        return KV_ENOTLEADER;
    if (target == r->id)
        return 0;
    if (target != 0 && !replica__is_voter(r, target))
        return KV_EINVAL;
    if (r->transfer != TRANSFER_IDLE)
        return target == 0 || target == r->transfer_target ? 0 : KV_EBUSY;
    if (target == 0)
        target = best_target(r);
    if (target == 0)
        return KV_ENOTFOUND;
    r->transfer = TRANSFER_DRAIN;
    r->transfer_target = target;
    r->transfer_deadline_ms = r->now + r->election_ms;
    r->transfer_again_ms = 0;
    return 0;
}

int replica_transfer(struct replica *r, uint64_t target)
{
    int rc;

    if (r->failed)
        return KV_ESTOPPED;
    r->now = r->env.now_ms(r->env.ctx);
    rc = transfer_begin(r, target);
    if (rc == 0)
        r->env.wake(r->env.ctx); /* the turn takes the first step */
    return rc;
}

void transfer_if_stalled(struct replica *r)
{
    if (!replica__leads(r) || r->transfer != TRANSFER_IDLE || r->now < r->transfer_rest_ms ||
        log_waiting_ms(r) < r->election_ms)
        return;
    r->transfer_rest_ms = r->now + 5 * r->election_ms; /* proposals wait during an attempt */
    (void)transfer_begin(r, 0);                        /* nobody to hand over to: go on as we are */
}

static void give_up(struct replica *r)
{
    transfer_reset(r);
    r->env.wake(r->env.ctx); /* for what waited */
}

static void send_timeout_now(struct replica *r)
{
    struct wire_message message = {.type = WIRE_TIMEOUT_NOW};

    message.timeout_now.term = raft_current_term(&r->raft);
    message.timeout_now.last_log_index = raft_last_index(&r->raft);
    message.timeout_now.last_log_term = log_term(r, message.timeout_now.last_log_index);
    send_frame(r, r->transfer_target, &message);
}

static void drain(struct replica *r)
{
    struct raft_event event = {.type = RAFT_TRANSFER,
                               .transfer = {.server_id = r->transfer_target}};

    if (r->now >= r->transfer_deadline_ms) {
        give_up(r);
        return;
    }
    if (!guard_transfer(r, r->transfer_target))
        return;
    r->transfer = TRANSFER_SENT;
    r->transfer_again_ms = guard_on(r, 15) ? r->now + 2 * r->heartbeat_ms : 0;
    if (replica__step(r, &event) != 0 && !r->failed)
        give_up(r);
}

void transfer_turn(struct replica *r)
{
    if (r->transfer == TRANSFER_DRAIN)
        drain(r);
    if (r->failed || r->transfer != TRANSFER_SENT)
        return;
    if (raft_transferee(&r->raft) == 0) {
        give_up(r); /* libraft's own timer, an election timeout */
    } else if (r->transfer_again_ms != 0 && r->now >= r->transfer_again_ms) {
        r->transfer_again_ms = 0;
        send_timeout_now(r);
    }
}

uint64_t transfer_wakes_ms(const struct replica *r)
{
    if (r->transfer == TRANSFER_DRAIN)
        return r->transfer_deadline_ms;
    return r->transfer == TRANSFER_SENT ? r->transfer_again_ms : 0;
}
