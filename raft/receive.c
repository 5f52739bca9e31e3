/* Frames in: decoded, validated, and handed to libraft in the form its guards ask for, or to the
 * part of ours that they are for. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "raft/guards.h"
#include "raft/internal.h"

/* Entries of one piece in memory that libraft may keep: one allocation, shared. */
static struct raft_entry *copy_entries(const struct wire_entry *entries, unsigned count)
{
    struct raft_entry *out;
    size_t size = 1; /* an allocation there must be, even for nothing but empty entries */
    uint8_t *batch;

    if (count == 0)
        return NULL;
    for (unsigned i = 0; i < count; i++)
        size += entries[i].data.len;
    batch = raft_malloc(size);
    ASSERT(batch != NULL);
    out = xcalloc(count, sizeof(*out));
    for (unsigned i = 0, at = 0; i < count; i++) {
        struct slice data = entries[i].data;

        if (data.len > 0)
            memcpy(batch + at, data.data, data.len);
        out[i] = (struct raft_entry){.term = entries[i].term,
                                     .type = entries[i].type,
                                     .buf = {.base = batch + at, .len = data.len},
                                     .batch = batch};
        at += (unsigned)data.len;
    }
    return out;
}

static void deliver_piece(struct replica *r, const struct peer *from,
                          const struct wire_append *append, unsigned count)
{
    struct raft_message message = {
        .type = RAFT_APPEND_ENTRIES,
        .server_id = from->id,
        .server_address = "peer", /* not used for anything */
        .append_entries = {.term = append->term,
                           .prev_log_index = append->prev_index,
                           .prev_log_term = append->prev_term,
                           .leader_commit = append->commit,
                           .entries = copy_entries(append->entries, count),
                           .n_entries = count},
    };
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {.message = &message}};

    (void)replica__step(r, &event); /* only fails fatally */
    free(message.append_entries.entries);
}

static void receive_append(struct replica *r, const struct peer *from,
                           const struct wire_append *append)
{
    struct wire_append rest = *append;
    bool current = append->term >= raft_current_term(&r->raft);

    if (!guard_append(r, &rest))
        return;
    if (!current || r->append_bytes > LOG_PENDING_MAX)
        rest.count = 0; /* outdated, or our disk hangs: answer, take nothing */
    do {
        unsigned count = guard_piece(r, &rest);

        if (r->failed)
            return;
        deliver_piece(r, from, &rest, count);
        if (count > 0)
            rest.prev_term = rest.entries[count - 1].term;
        rest.prev_index += count;
        rest.entries += count;
        rest.count -= count;
    } while (rest.count > 0 && !r->failed);

    if (!r->failed && current && r->leader == from->id && r->term == append->term) {
        r->heard_ms = r->now;
        r->lead_term = append->term;
        r->lead_index = append->lead_index;
    }
}

/* A commit index on its own: an AppendEntries without entries, whose answer nobody waits for. */
static void receive_commit(struct replica *r, const struct peer *from,
                           const struct wire_commit *commit)
{
    struct raft_message message = {
        .type = RAFT_APPEND_ENTRIES,
        .server_id = from->id,
        .server_address = "peer",
        .append_entries = {.term = commit->term,
                           .prev_log_index = commit->index,
                           .prev_log_term = commit->index_term,
                           .leader_commit = commit->index},
    };
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {.message = &message}};

    if (commit->term != raft_current_term(&r->raft) || r->leader != from->id ||
        commit->index <= raft_commit_index(&r->raft) ||
        log_term(r, commit->index) != commit->index_term)
        return;
    r->heard_ms = r->now;
    r->mute = true;
    (void)replica__step(r, &event); /* only fails fatally */
    r->mute = false;
}

static void receive_message(struct replica *r, struct peer *from, struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {.message = message}};
    bool granting = false;

    message->server_id = from->id;
    message->server_address = "peer";
    if (r->stateless && message->type == RAFT_TIMEOUT_NOW)
        return;
    if (message->type == RAFT_APPEND_ENTRIES_RESULT)
        send_lost(r, from, &message->append_entries_result);
    if (message->type == RAFT_APPEND_ENTRIES_RESULT)
        send_missing(r, from, &message->append_entries_result);
    if (r->failed || !guard_receive(r, from, message))
        return;
    if (message->type == RAFT_REQUEST_VOTE && !election_hears(r, from->id, &message->request_vote))
        return;
    if (message->type == RAFT_REQUEST_VOTE)
        granting = guard_vote_begin(r);
    (void)replica__step(r, &event); /* only fails fatally */
    guard_vote_end(r, granting);
    if (message->type == RAFT_APPEND_ENTRIES_RESULT)
        send_stream(r, from);
}

void replica__receive(struct replica *r, struct peer *from, const struct wire_message *in)
{
    struct raft_message message = {0};

    switch (in->type) {
    case WIRE_APPEND:
        receive_append(r, from, &in->append);
        return;
    case WIRE_APPEND_RESULT:
        message.type = RAFT_APPEND_ENTRIES_RESULT;
        message.append_entries_result = in->append_result;
        break;
    case WIRE_VOTE:
        message.type = RAFT_REQUEST_VOTE;
        message.request_vote = in->vote;
        break;
    case WIRE_VOTE_RESULT:
        message.type = RAFT_REQUEST_VOTE_RESULT;
        message.request_vote_result = in->vote_result;
        break;
    case WIRE_TIMEOUT_NOW:
        message.type = RAFT_TIMEOUT_NOW;
        message.timeout_now = in->timeout_now;
        break;
    case WIRE_COMMIT:
        receive_commit(r, from, &in->commit);
        return;
    case WIRE_PROBE:
        read_on_probe(r, from, &in->round);
        return;
    case WIRE_PROBE_ACK:
        read_on_probe_ack(r, from, &in->round);
        return;
    case WIRE_FORWARD:
        propose_on_forward(r, from, &in->forward);
        return;
    case WIRE_FORWARD_ACK:
        propose_on_ack(r, &in->forward);
        return;
    case WIRE_READ:
        read_on_ask(r, from, &in->read);
        return;
    case WIRE_READ_OK:
        read_on_answer(r, from, &in->read);
        return;
    case WIRE_ASK:
        ask_on_question(r, from, &in->ask);
        return;
    case WIRE_ANSWER:
        ask_on_answer(r, &in->ask);
        return;
    case WIRE_INSTALL:
        snapshot_receive(r, from, &in->install);
        return;
    }
    receive_message(r, from, &message);
}
