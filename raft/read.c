/* Linearizable reads without log entries (Raft dissertation, section 6.4: read index).
 *
 * The leader fixes its commit index i, asks all voters "is this still your term?" and needs a
 * majority of yes; then whoever has applied i may read. Why that is right: a leader of a later term
 * needs the votes of a majority, and that shares a member with ours which said "still your term"
 * after the read began. So its vote, and every commit of that leader, came after the read began. i
 * itself is complete once the leader has committed up to lead_index: by then it knows of everything
 * that was committed before its term.
 *
 * One round is under way at a time, and all reads that come meanwhile join the next: a round
 * answers only reads that were there when it began. Numbers of rounds and requests are never used
 * twice (etcd's issue 20418), and requests carry the life of the member, so an answer to an earlier
 * life is no answer to this one. */
#include <inttypes.h>
#include <stdlib.h>

#include "raft/internal.h"

void read_init(struct replica *r)
{
    list_init(&r->reads_new);
    list_init(&r->reads_round);
    list_init(&r->reads_apply);
}

static struct replica_read *read_of(struct list *node)
{
    return LIST_ENTRY(node, struct replica_read, link);
}

static void release_all(struct list *reads)
{
    LIST_EACH_SAFE (node, reads) {
        read_of(node)->queued = false;
        list_remove(node);
    }
}

void read_release(struct replica *r)
{
    release_all(&r->reads_new);
    release_all(&r->reads_round);
    release_all(&r->reads_apply);
}

/* ---- from above ---- */

static bool may_begin(const struct replica *r)
{
    return replica__leads(r) && r->lead_term == raft_current_term(&r->raft) &&
           raft_commit_index(&r->raft) >= r->lead_index && r->transfer == TRANSFER_IDLE &&
           raft_transferee(&r->raft) == 0;
}

bool replica_read(struct replica *r, struct replica_read *read)
{
    if (!r->failed && !r->stateless && may_begin(r) && replica__voters(r) == 1 &&
        replica__is_voter(r, r->id) && r->applied == raft_commit_index(&r->raft)) {
        read->queued = false;
        return true;
    }
    read->queued = true;
    read->index = 0;
    list_push_back(&r->reads_new, &read->link);
    if (!r->failed)
        r->env.wake(r->env.ctx);
    return false;
}

void replica_read_cancel(struct replica *r, struct replica_read *read)
{
    (void)r; /* whichever list it is in */
    if (!read->queued)
        return;
    read->queued = false;
    list_remove(&read->link);
}

/* The index is known: they wait for apply now. */
static void round_answers(struct replica *r, uint64_t index)
{
    LIST_EACH (node, &r->reads_round)
        read_of(node)->index = index;
    list_splice(&r->reads_apply, &r->reads_round);
    r->read_retry_ms = 0;
}

/* Back to the start: whoever leads now is asked anew. */
void read_role_changed(struct replica *r)
{
    list_splice(&r->reads_round, &r->reads_new);
    list_splice(&r->reads_new, &r->reads_round);
    r->round_active = false;
    r->read_asked = 0;
    r->read_retry_ms = 0;
    for (size_t i = 0; i < r->peer_count; i++)
        r->peers[i]->read_waiting = r->peers[i]->read_in_round = 0;
}

/* ---- the leader's rounds ---- */

static bool confirmed(const struct replica *r)
{
    unsigned yes = replica__is_voter(r, r->id);

    for (size_t i = 0; i < r->peer_count; i++)
        if (r->peers[i]->probe_acked == r->round && replica__is_voter(r, r->peers[i]->id))
            yes++;
    return yes > replica__voters(r) / 2;
}

static void probe(struct replica *r)
{
    struct wire_message message = {
        .type = WIRE_PROBE, .round = {.term = raft_current_term(&r->raft), .round = r->round}};

    for (size_t i = 0; i < r->peer_count; i++)
        if (r->peers[i]->probe_acked != r->round && replica__is_voter(r, r->peers[i]->id))
            send_frame(r, r->peers[i]->id, &message);
    r->read_retry_ms = r->now + r->heartbeat_ms;
}

static void end_round(struct replica *r)
{
    r->round_active = false;
    round_answers(r, r->round_index);
    for (size_t i = 0; i < r->peer_count; i++) {
        struct peer *peer = r->peers[i];
        struct wire_message answer = {.type = WIRE_READ_OK,
                                      .read = {.session = peer->read_session,
                                               .seq = peer->read_in_round,
                                               .index = r->round_index}};

        if (peer->read_in_round != 0)
            send_frame(r, peer->id, &answer);
        peer->read_in_round = 0;
    }
}

static bool anybody_waits(const struct replica *r)
{
    for (size_t i = 0; i < r->peer_count; i++)
        if (r->peers[i]->read_waiting != 0)
            return true;
    return !list_empty(&r->reads_new);
}

static void begin_round(struct replica *r)
{
    r->round++;
    r->round_active = true;
    r->round_index = raft_commit_index(&r->raft);
    list_splice(&r->reads_round, &r->reads_new);
    for (size_t i = 0; i < r->peer_count; i++) {
        r->peers[i]->read_in_round = r->peers[i]->read_waiting;
        r->peers[i]->read_waiting = 0;
    }
    if (confirmed(r))
        end_round(r); /* a lone voter asks nobody */
    else
        probe(r);
}

void read_on_probe(struct replica *r, struct peer *from, const struct wire_round *asked)
{
    struct wire_message yes = {.type = WIRE_PROBE_ACK, .round = *asked};

    if (asked->term == raft_current_term(&r->raft))
        send_frame(r, from->id, &yes); /* a no would not help: the heartbeat's answer tells it */
}

void read_on_probe_ack(struct replica *r, struct peer *from, const struct wire_round *ack)
{
    if (!r->round_active || ack->term != raft_current_term(&r->raft) || ack->round != r->round)
        return;
    from->probe_acked = ack->round;
    if (confirmed(r))
        end_round(r);
}

void read_on_ask(struct replica *r, struct peer *from, const struct wire_read *ask)
{
    if (!replica__leads(r) || ask->seq == 0)
        return;
    if (from->read_session != ask->session) {
        from->read_session = ask->session;
        from->read_in_round = 0;
    }
    if (ask->seq != from->read_in_round) /* else: asked again, the round goes on */
        from->read_waiting = ask->seq;
}

/* ---- the follower's requests ---- */

static void ask_leader(struct replica *r)
{
    struct wire_message ask = {.type = WIRE_READ,
                               .read = {.session = r->session, .seq = r->read_asked}};

    send_frame(r, r->leader, &ask);
    r->read_retry_ms = r->now + r->heartbeat_ms;
}

void read_on_answer(struct replica *r, struct peer *from, const struct wire_read *answer)
{
    if (r->read_asked == 0 || answer->session != r->session || answer->seq != r->read_asked ||
        from->id != r->leader)
        return;
    r->read_asked = 0;
    round_answers(r, answer->index);
}

void read_retry(struct replica *r)
{
    r->read_retry_ms = 0;
    if (r->round_active && confirmed(r))
        end_round(r); /* those whose yes was missing are no members any more */
    else if (r->round_active)
        probe(r);
    else if (r->read_asked != 0)
        ask_leader(r);
}

/* ---- every turn ---- */

/* A callback may read again or cancel others: so one at a time, always from the front. */
static void answer_applied(struct replica *r)
{
    while (!r->failed && !r->stateless && !list_empty(&r->reads_apply)) {
        struct replica_read *read = read_of(r->reads_apply.next);

        if (read->index > r->applied)
            return;
        read->queued = false;
        list_remove(&read->link);
        read->cb(read, 0);
    }
}

void read_turn(struct replica *r)
{
    if (may_begin(r)) {
        if (!r->round_active && anybody_waits(r))
            begin_round(r);
    } else if (r->role == REPLICA_FOLLOWER && r->leader != 0 && r->read_asked == 0 &&
               !list_empty(&r->reads_new)) {
        list_splice(&r->reads_round, &r->reads_new);
        r->read_asked = ++r->read_seq;
        ask_leader(r);
    }
    answer_applied(r);
}
