/* Messages out. Two things happen to them on the way.
 *
 * Nothing leaves while the term or vote it rests on is not durable: it is held, in order, until the
 * record is (Raft figure 2: persistent state is updated before answering). Appends of our own
 * entries are not waited for: a leader may count only what is stored, not send only that.
 *
 * Entries go out as a stream: libraft says "send prev+1 .. prev+n"; frames are made of that as the
 * peer's queue has room, so that a peer that lags by gigabytes costs a few megabytes of memory.
 * libraft already believes them sent; the peer's acknowledgements pull the rest. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "raft/guards.h"
#include "raft/internal.h"

void send_init(struct replica *r)
{
    buf_init(&r->frame, WIRE_FRAME_SIZE_MAX);
    buf_init(&r->append_frame, WIRE_FRAME_SIZE_MAX);
    list_init(&r->held);
}

void send_release(struct replica *r)
{
    LIST_EACH_SAFE (node, &r->held) {
        list_remove(node);
        free(LIST_ENTRY(node, struct held, link));
    }
    buf_release(&r->frame);
    buf_release(&r->append_frame);
}

/* One huge frame must not cost memory for ever. */
static void shrink(struct buf *buf)
{
    if (buf->cap <= FRAME_KEEP)
        return;
    buf_release(buf);
    buf_init(buf, WIRE_FRAME_SIZE_MAX);
}

/* ---- holding back ---- */

static void hold(struct replica *r, uint64_t to, struct slice bytes)
{
    struct held *held;

    if (r->held_bytes + bytes.len > HELD_SIZE_MAX)
        return; /* the disk hangs; any frame may be lost */
    held = xmalloc(sizeof(*held) + bytes.len);
    held->seq = r->hard_state_seq;
    held->to = to;
    held->len = bytes.len;
    memcpy(held->bytes, bytes.data, bytes.len);
    list_push_back(&r->held, &held->link);
    r->held_bytes += sizeof(*held) + bytes.len;
}

static void send_bytes(struct replica *r, uint64_t to, struct slice bytes)
{
    if (r->hard_state_seq > r->durable_seq)
        hold(r, to, bytes);
    else
        r->env.send(r->env.ctx, to, bytes);
}

void send_release_held(struct replica *r)
{
    while (!list_empty(&r->held)) {
        struct held *held = LIST_FIRST(&r->held, struct held, link);

        if (held->seq > r->durable_seq)
            return;
        list_remove(&held->link);
        r->held_bytes -= sizeof(*held) + held->len;
        if (replica__peer(r, held->to)->connected)
            r->env.send(r->env.ctx, held->to, slice_of(held->bytes, held->len));
        free(held);
    }
}

void send_frame(struct replica *r, uint64_t to, const struct wire_message *message)
{
    const struct peer *peer = replica__peer(r, to);

    if (peer == NULL || !peer->connected)
        return;
    shrink(&r->frame);
    wire_encode(&r->frame, message);
    send_bytes(r, to, buf_slice(&r->frame));
}

/* ---- entries ---- */

struct frame_fill {
    struct replica *r;
    unsigned count;
    size_t left; /* bytes; the first entry may be larger */
};

static int add_entry(void *ctx, const struct wal_entry *entry)
{
    struct frame_fill *fill = ctx;
    size_t size = wire_entry_size(entry->data);

    if (fill->count > 0 && size > fill->left)
        return 1;
    wire_append_entry(&fill->r->append_frame, entry->term, entry->type, entry->data);
    fill->left -= MIN(size, fill->left);
    return ++fill->count == WIRE_ENTRIES_MAX;
}

/* Fills r->append_frame with entries from next on, unless it holds exactly that already: in the
 * steady state all peers get the same frame. Returns the last index in it, or 0 after a failure. */
static uint64_t fill_append(struct replica *r, uint64_t next, uint64_t end)
{
    uint64_t commit = raft_commit_index(&r->raft);
    struct wire_append append = {.term = raft_current_term(&r->raft),
                                 .prev_index = next - 1,
                                 .prev_term = log_term(r, next - 1),
                                 .lead_index = r->lead_index};
    struct frame_fill fill = {.r = r, .left = APPEND_FRAME_SIZE};
    uint64_t last;

    if (r->append_key.last != 0 && r->append_key.term == append.term &&
        r->append_key.next == next && r->append_key.end == end && r->append_key.commit == commit)
        return r->append_key.last;

    r->append_key.last = 0;
    shrink(&r->append_frame);
    wire_append_begin(&r->append_frame, &append);
    if (log_read(r, next, end - 1, APPEND_FRAME_SIZE, add_entry, &fill) != 0)
        return 0;
    ASSERT(fill.count > 0);
    last = next + fill.count - 1;
    wire_append_end(&r->append_frame, fill.count, MIN(commit, last));
    r->append_key.term = append.term;
    r->append_key.next = next;
    r->append_key.end = end;
    r->append_key.commit = commit;
    r->append_key.last = last;
    return last;
}

/* The entry is there, and the term of the one before it is known. */
static bool can_send_from(const struct replica *r, uint64_t index)
{
    return index >= wal_first_index(r->wal) && (index == 1 || log_term(r, index - 1) != 0);
}

void send_stream(struct replica *r, struct peer *peer)
{
    /* Dropped while it waited: its next answer will make libraft think of something else. */
    if (peer->next < peer->end && !can_send_from(r, peer->next))
        peer->next = peer->end = 0;
    while (!r->failed && peer->next < peer->end) {
        uint64_t last;

        if (r->env.send_queued(r->env.ctx, peer->id) >= SEND_QUEUE_MAX)
            return; /* its acknowledgements or the next heartbeat bring us back here */
        last = fill_append(r, peer->next, peer->end);
        if (last == 0)
            return;
        peer->next = last + 1;
        peer->commit_sent = MAX(peer->commit_sent, MIN(raft_commit_index(&r->raft), last));
        send_bytes(r, peer->id, buf_slice(&r->append_frame));
    }
}

/* libraft never goes back behind what a peer has acknowledged (a rejection there would be an old
 * one, guard G7; on a connection frames keep their order, and are none of an older one). So a peer
 * that has lost such entries would stay without them until somebody else leads. They are sent past
 * libraft, which ignores that they are acknowledged once more. */
void send_lost(struct replica *r, struct peer *peer,
               const struct raft_append_entries_result *result)
{
    uint64_t first = result->last_log_index + 1;
    raft_index match = 0;

    if (!guard_on(r, 7) || raft_match_index(&r->raft, peer->id, &match) != 0 ||
        result->term != raft_current_term(&r->raft) || result->rejected == 0 ||
        result->rejected > match || first > match)
        return;
    if (!peer->loss_told && r->env.on_lost != NULL)
        r->env.on_lost(r->env.ctx, peer->id, result->last_log_index, match);
    peer->loss_told = true;
    if (!can_send_from(r, first)) {
        snapshot_order(r, peer, r->snapshot_index);
    } else if (peer->next >= peer->end) {
        peer->next = first;
        peer->end = match + 1;
        send_stream(r, peer);
    }
}

/* libraft orders a checkpoint once. It orders another when the other says that it lacks the very
 * index it was to get, in answer to a heartbeat. With a newer checkpoint the heartbeats name that
 * one, so if the order or its INSTALL has come to nothing by then nobody ever orders again. So who
 * lacks what the log has no more, a while after the last INSTALL, gets one past libraft; its
 * success ends libraft's waiting too. */
void send_missing(struct replica *r, struct peer *peer,
                  const struct raft_append_entries_result *result)
{
    if (!replica__leads(r) || result->term != raft_current_term(&r->raft) ||
        result->rejected == 0 || r->now < peer->install_ms + r->election_ms ||
        can_send_from(r, MIN(result->last_log_index + 1, result->rejected)))
        return;
    snapshot_order(r, peer, r->snapshot_index);
}

static void send_heartbeat(struct replica *r, struct peer *peer,
                           const struct raft_append_entries *append)
{
    struct wire_message message = {.type = WIRE_APPEND,
                                   .append = {.term = append->term,
                                              .prev_index = append->prev_log_index,
                                              .prev_term = append->prev_log_term,
                                              .lead_index = r->lead_index}};

    message.append.commit = MIN(append->leader_commit, append->prev_log_index);
    peer->commit_sent = MAX(peer->commit_sent, message.append.commit);
    send_frame(r, peer->id, &message);
}

static void send_append(struct replica *r, const struct raft_event *cause,
                        const struct raft_append_entries *append, struct peer *peer)
{
    uint64_t prev = append->prev_log_index;
    bool streaming = peer->next < peer->end;
    size_t queued;

    peer->sent_high = MAX(peer->sent_high, prev + append->n_entries);
    if (!peer->connected) {
        peer->next = peer->end = 0; /* reading and encoding for nobody is waste */
        return;
    }
    if (append->n_entries > 0) {
        if (!streaming || prev + 1 != peer->end)
            peer->next = prev + 1; /* anew: libraft went back, or had nothing under way */
        peer->end = prev + append->n_entries + 1;
        send_stream(r, peer);
        return;
    }

    queued = r->env.send_queued(r->env.ctx, peer->id);
    if (streaming && prev + 1 == peer->end)
        return; /* would overtake the stream and be rejected; the stream is the sign of life */
    if (queued >= SEND_QUEUE_MAX || (cause->type == RAFT_SUBMIT && queued > 0))
        return; /* at the in-flight limit libraft makes an empty one for each SUBMIT */
    peer->next = peer->end = 0;
    send_heartbeat(r, peer, append);
}

/* ---- all messages ---- */

void send_message(struct replica *r, const struct raft_event *cause,
                  const struct raft_message *message)
{
    struct peer *peer = replica__peer(r, message->server_id);
    struct wire_message out = {.type = WIRE_INSTALL};

    if (peer == NULL)
        return; /* nobody: the leader unknown, or a candidate the guards made up */
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        send_append(r, cause, &message->append_entries, peer);
        return;
    case RAFT_APPEND_ENTRIES_RESULT:
        out.type = WIRE_APPEND_RESULT;
        out.append_result = message->append_entries_result;
        break;
    case RAFT_REQUEST_VOTE:
        out.type = WIRE_VOTE;
        out.vote = message->request_vote;
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        out.type = WIRE_VOTE_RESULT;
        out.vote_result = message->request_vote_result;
        if (cause->type == RAFT_RECEIVE && cause->receive.message->type == RAFT_REQUEST_VOTE)
            election_voted(r, &cause->receive.message->request_vote, out.vote_result.vote_granted);
        break;
    case RAFT_TIMEOUT_NOW:
        out.type = WIRE_TIMEOUT_NOW;
        out.timeout_now = message->timeout_now;
        break;
    case RAFT_INSTALL_SNAPSHOT:
        snapshot_order(r, peer, message->install_snapshot.last_index);
        return;
    }
    guard_reply(r, cause, &out);
    send_frame(r, peer->id, &out);
}

/* A commit triggers no message in libraft: followers would learn it with the next heartbeat, and
 * whoever forwarded a write through them would wait for that. */
void send_commits(struct replica *r)
{
    uint64_t commit = raft_commit_index(&r->raft);

    if (!replica__leads(r))
        return;
    for (size_t i = 0; i < r->peer_count; i++) {
        struct peer *peer = r->peers[i];
        raft_index match = 0;
        struct wire_message message = {.type = WIRE_COMMIT};

        if (!peer->connected || raft_match_index(&r->raft, peer->id, &match) != 0)
            continue;
        match = MIN(match, commit);
        message.commit.index_term = log_term(r, match);
        /* Term 0: it is so far behind that it will get a checkpoint. */
        if (match <= peer->commit_sent || message.commit.index_term == 0)
            continue;
        peer->commit_sent = match;
        message.commit.term = raft_current_term(&r->raft);
        message.commit.index = match;
        send_frame(r, peer->id, &message);
    }
}

void send_lead_changed(struct replica *r)
{
    for (size_t i = 0; i < r->peer_count; i++) {
        struct peer *peer = r->peers[i];

        peer->next = peer->end = 0;
        peer->sent_high = 0;
        peer->commit_sent = 0;
        peer->snapshot_ordered = false;
        peer->loss_told = false;
    }
    r->append_key.last = 0;
}
