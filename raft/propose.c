/* Commands on their way into the log.
 *
 * A leader packs everything that waits into one entry per turn; a follower packs it into FORWARD
 * frames. Nothing is ever in the committed log twice, though frames are lost, leaders die and
 * commands are proposed again. Two rules make it so.
 *
 * Within a term: a leader submits its own commands once. FORWARDs of a follower are numbered; the
 * leader takes each number once (it remembers, per follower, life of the follower and term, the
 * highest taken) and acknowledges; unacknowledged ones are sent again. The leader's memory is lost
 * only with its leadership: nobody leads twice in one term (G2 sees to it for a lone voter). What
 * it has taken but not yet submitted dies with the leadership too, never enters a later term.
 *
 * Across terms: a command submitted in term T, and not forgotten since, goes into term S > T only
 * after this member has applied everything up to lead_index(S), the last entry the leader of S had
 * when elected. Say two copies were in the committed log: e of term T, and later e' of term S
 * (terms never fall along a log). The log of the leader of S, when it appended e', was the
 * committed log up to there (log matching), e included. A leader appends entries of its own term
 * only, so e was there when it was elected: at or below lead_index(S). And this member, having
 * applied up to lead_index(S) before it let e' go, either applied e, whereupon the owner forgot the
 * command; or applied another log there, but then the leader of S lost that place to a later one,
 * and e' with it. Either way there are no two.
 *
 * A member that installs a checkpoint skips entries, and with them the knowledge whether they held
 * e: it gives up all that it has sent (propose_skipped), for their owners to find out.
 *
 * So a command with term 0 has provably never left; any other may be in a log, whatever happens. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "raft/internal.h"

/* A FORWARD taken and not yet submitted. */
struct chunk {
    struct list link;
    size_t len;
    uint8_t bytes[];
};

void propose_init(struct replica *r)
{
    list_init(&r->waiting);
    list_init(&r->sent);
    list_init(&r->forwarded);
}

static struct replica_proposal *proposal_of(struct list *node)
{
    return LIST_ENTRY(node, struct replica_proposal, link);
}

static void free_chunks(struct list *chunks)
{
    LIST_EACH_SAFE (node, chunks) {
        list_remove(node);
        free(LIST_ENTRY(node, struct chunk, link));
    }
}

void propose_release(struct replica *r)
{
    free_chunks(&r->forwarded);
    LIST_EACH_SAFE (node, &r->waiting) {
        proposal_of(node)->queued = false;
        list_remove(node);
    }
    LIST_EACH_SAFE (node, &r->sent) {
        proposal_of(node)->queued = false;
        list_remove(node);
    }
}

int replica_propose(struct replica *r, struct replica_proposal *proposal)
{
    ASSERT(proposal->command.len > 0);
    if (proposal->command.len > COMMAND_SIZE_MAX)
        return KV_ETOOBIG;
    proposal->term = 0;
    proposal->frame = 0;
    proposal->queued = true;
    list_push_back(&r->waiting, &proposal->link);
    r->pending++;
    if (!r->failed)
        r->env.wake(r->env.ctx);
    return 0;
}

void replica_forget(struct replica *r, struct replica_proposal *proposal)
{
    if (!proposal->queued)
        return;
    proposal->queued = false;
    list_remove(&proposal->link);
    r->pending--;
}

void propose_skipped(struct replica *r)
{
    LIST_EACH_SAFE (node, &r->sent)
        replica_forget(r, proposal_of(node));
}

/* ---- what goes next ---- */

/* The next command that may be submitted in this term, or NULL. */
static struct replica_proposal *next_proposal(const struct replica *r)
{
    uint64_t term = raft_current_term(&r->raft);
    bool safe_again = r->lead_term == term && r->applied >= r->lead_index;

    if (safe_again && !list_empty(&r->sent) && proposal_of(r->sent.next)->term < term)
        return proposal_of(r->sent.next);
    return list_empty(&r->waiting) ? NULL : proposal_of(r->waiting.next);
}

static void mark_sent(struct replica *r, struct replica_proposal *proposal, uint64_t frame)
{
    proposal->term = raft_current_term(&r->raft);
    proposal->frame = frame;
    list_remove(&proposal->link);
    list_push_back(&r->sent, &proposal->link);
}

static void mark_unsent(struct replica *r, struct list *batch)
{
    /* Those that were in a log before keep their place at the front of sent. */
    while (!list_empty(batch)) {
        struct replica_proposal *last = proposal_of(batch->prev);

        list_remove(&last->link);
        list_push_front(last->term == 0 ? &r->waiting : &r->sent, &last->link);
    }
}

/* Takes commands into batch while they fit; returns their size. */
static size_t take_own(struct replica *r, size_t room, bool first, struct list *batch)
{
    size_t size = 0;

    for (;;) {
        struct replica_proposal *next = next_proposal(r);

        if (next == NULL || (next->command.len > room - size && !(first && size == 0)))
            return size;
        size += next->command.len;
        list_remove(&next->link);
        list_push_back(batch, &next->link);
        if (size >= room)
            return size;
    }
}

/* ---- leader ---- */

static size_t take_forwarded(struct replica *r, size_t room, bool first, struct list *chunks)
{
    size_t size = 0;

    while (!list_empty(&r->forwarded)) {
        struct chunk *chunk = LIST_FIRST(&r->forwarded, struct chunk, link);

        if (chunk->len > room - size && !(first && size == 0))
            break;
        size += chunk->len;
        list_remove(&chunk->link);
        list_push_back(chunks, &chunk->link);
        if (size >= room)
            break;
    }
    return size;
}

static struct raft_buffer pack(size_t size, struct list *batch, struct list *chunks)
{
    struct raft_buffer payload = {.base = raft_malloc(size), .len = size};
    uint8_t *at = payload.base;

    ASSERT(at != NULL);
    LIST_EACH (node, batch) {
        struct slice command = proposal_of(node)->command;

        memcpy(at, command.data, command.len);
        at += command.len;
    }
    LIST_EACH (node, chunks) {
        struct chunk *chunk = LIST_ENTRY(node, struct chunk, link);

        memcpy(at, chunk->bytes, chunk->len);
        at += chunk->len;
    }
    return payload;
}

/* Submits one entry of what waits. False: nothing waits, or it was refused. */
static bool submit_one(struct replica *r)
{
    struct list batch, chunks;
    size_t own = 0, others = 0;
    struct raft_buffer payload;

    list_init(&batch);
    list_init(&chunks);
    r->own_first = !r->own_first; /* neither starves the other when entries are full */
    if (r->own_first)
        own = take_own(r, ENTRY_PACK_SIZE, true, &batch);
    if (own < ENTRY_PACK_SIZE)
        others = take_forwarded(r, ENTRY_PACK_SIZE - own, own == 0, &chunks);
    if (!r->own_first && others < ENTRY_PACK_SIZE)
        own = take_own(r, ENTRY_PACK_SIZE - others, others == 0, &batch);
    if (own + others == 0)
        return false;

    payload = pack(own + others, &batch, &chunks);
    if (replica__submit(r, RAFT_COMMAND, payload) != 0) {
        if (!r->failed)
            raft_free(payload.base);
        list_splice(&chunks, &r->forwarded);
        list_splice(&r->forwarded, &chunks);
        mark_unsent(r, &batch);
        return false;
    }
    r->forwarded_bytes -= others;
    while (!list_empty(&batch))
        mark_sent(r, proposal_of(batch.next), 0);
    free_chunks(&chunks);
    return true;
}

static bool may_submit(const struct replica *r)
{
    return !r->failed && replica__leads(r) && r->transfer == TRANSFER_IDLE &&
           raft_transferee(&r->raft) == 0 &&
           raft_last_index((struct raft *)&r->raft) - raft_commit_index(&r->raft) < UNCOMMITTED_MAX;
}

static void acknowledge(struct replica *r, const struct peer *to)
{
    struct wire_message ack = {.type = WIRE_FORWARD_ACK,
                               .forward = {.term = raft_current_term(&r->raft),
                                           .session = to->forward_session,
                                           .seq = to->forward_seen}};

    if (to->forward_seen > 0)
        send_frame(r, to->id, &ack);
}

void propose_on_forward(struct replica *r, struct peer *from, const struct wire_forward *forward)
{
    struct chunk *chunk;

    if (!replica__leads(r) || forward->term != raft_current_term(&r->raft))
        return; /* it will hear of the leader, and know what to do */
    if (from->forward_session != forward->session) {
        from->forward_session = forward->session;
        from->forward_seen = 0;
    }
    if (forward->seq > from->forward_seen) {
        if (forward->after > from->forward_seen ||
            r->forwarded_bytes + forward->commands.len > FORWARDED_SIZE_MAX)
            return; /* one before it is missing, or too much waits: it is sent again */
        chunk = xmalloc(sizeof(*chunk) + forward->commands.len);
        chunk->len = forward->commands.len;
        memcpy(chunk->bytes, forward->commands.data, chunk->len);
        list_push_back(&r->forwarded, &chunk->link);
        r->forwarded_bytes += chunk->len;
        from->forward_seen = forward->seq;
    }
    acknowledge(r, from);
}

/* ---- follower ---- */

/* FORWARDs are counted anew in each term. */
static void forward_begin(struct replica *r)
{
    if (r->forward_term == raft_current_term(&r->raft))
        return;
    r->forward_term = raft_current_term(&r->raft);
    r->forward_seq = r->forward_acked = r->forward_done = 0;
}

static bool unacknowledged(const struct replica *r, const struct replica_proposal *proposal)
{
    return proposal->term == r->forward_term && proposal->frame > r->forward_acked;
}

static void send_forward(struct replica *r, uint64_t seq, uint64_t after, struct buf *commands)
{
    struct wire_message message = {.type = WIRE_FORWARD,
                                   .forward = {.term = r->forward_term,
                                               .session = r->session,
                                               .seq = seq,
                                               .after = after,
                                               .commands = buf_slice(commands)}};

    send_frame(r, r->leader, &message);
    if (r->forward_retry_ms == 0)
        r->forward_retry_ms = r->now + r->heartbeat_ms;
}

static void add_command(struct buf *commands, const struct replica_proposal *proposal)
{
    ASSERT(buf_append(commands, proposal->command.data, proposal->command.len) == 0);
}

static bool forward_one(struct replica *r)
{
    struct list batch;
    uint64_t after = r->forward_acked;
    struct buf commands;

    if (!list_empty(&r->sent) && unacknowledged(r, proposal_of(r->sent.prev)))
        after = proposal_of(r->sent.prev)->frame;
    list_init(&batch);
    if (take_own(r, ENTRY_PACK_SIZE, true, &batch) == 0)
        return false;

    buf_init(&commands, COMMAND_SIZE_MAX + ENTRY_PACK_SIZE);
    r->forward_seq++;
    while (!list_empty(&batch)) {
        add_command(&commands, proposal_of(batch.next));
        mark_sent(r, proposal_of(batch.next), r->forward_seq);
    }
    send_forward(r, r->forward_seq, after, &commands);
    buf_release(&commands);
    return true;
}

static bool may_forward(const struct replica *r)
{
    const struct peer *leader;

    if (r->failed || r->role != REPLICA_FOLLOWER || r->leader == 0)
        return false;
    leader = replica__peer(r, r->leader);
    return leader != NULL && leader->connected &&
           r->env.send_queued(r->env.ctx, r->leader) < SEND_QUEUE_MAX &&
           r->forward_seq - MAX(r->forward_acked, r->forward_done) < FORWARDS_MAX;
}

static bool outstanding(const struct replica *r)
{
    return r->role == REPLICA_FOLLOWER && r->forward_term == r->term &&
           r->forward_seq > MAX(r->forward_acked, r->forward_done);
}

void propose_role_changed(struct replica *r)
{
    free_chunks(&r->forwarded);
    r->forwarded_bytes = 0;
    for (size_t i = 0; i < r->peer_count; i++)
        r->peers[i]->forward_seen = 0;
    /* The leader of this term may only have been out of sight: go on asking it. */
    r->forward_retry_ms = outstanding(r) && r->leader != 0 ? r->now : 0;
}

/* Sends what was not acknowledged again, each frame under its number. Commands given up meanwhile
 * are left out: if the leader has taken the frame it takes no second; if not, they never arrive. */
void propose_retry(struct replica *r)
{
    uint64_t after = r->forward_acked;
    uint64_t lowest = r->forward_seq + 1;
    struct buf commands;

    r->forward_retry_ms = 0;
    if (!outstanding(r) || r->leader == 0)
        return;
    if (r->env.send_queued(r->env.ctx, r->leader) >= SEND_QUEUE_MAX) {
        r->forward_retry_ms = r->now + r->heartbeat_ms; /* slow, not lost */
        return;
    }
    buf_init(&commands, COMMAND_SIZE_MAX + ENTRY_PACK_SIZE);
    LIST_EACH (node, &r->sent) {
        const struct replica_proposal *proposal = proposal_of(node);
        const struct replica_proposal *next = proposal_of(node->next);

        if (!unacknowledged(r, proposal))
            continue;
        lowest = MIN(lowest, proposal->frame);
        add_command(&commands, proposal);
        if (node->next != &r->sent && next->frame == proposal->frame)
            continue;
        send_forward(r, proposal->frame, after, &commands);
        after = proposal->frame;
        buf_reset(&commands);
    }
    r->forward_done = lowest - 1;
    buf_release(&commands);
}

void propose_on_ack(struct replica *r, const struct wire_forward *ack)
{
    if (ack->session != r->session || ack->term != r->forward_term || ack->seq > r->forward_seq)
        return;
    if (ack->seq <= r->forward_acked)
        return;
    r->forward_acked = ack->seq;
    r->forward_retry_ms = outstanding(r) ? r->now + r->heartbeat_ms : 0;
}

void propose_turn(struct replica *r)
{
    if (replica__leads(r)) {
        while (may_submit(r) && submit_one(r))
            ;
        return;
    }
    forward_begin(r);
    while (may_forward(r) && forward_one(r))
        ;
}
