/* Questions to the leader that need no log entry: what only it knows. Bytes are passed through, and
 * nothing is remembered here; who asks repeats. A frame of another term is dropped on both sides,
 * so that an answer is always one of the leader that the asker follows. */
#include "raft/internal.h"

bool replica_ask(struct replica *r, struct slice questions)
{
    struct wire_message message = {
        .type = WIRE_ASK,
        .ask = {.term = raft_current_term(&r->raft), .session = r->session, .bytes = questions}};

    ASSERT(questions.len <= REPLICA_ASK_SIZE_MAX);
    if (r->failed || r->role != REPLICA_FOLLOWER || r->leader == 0)
        return false;
    send_frame(r, r->leader, &message);
    return true;
}

void replica_answer(struct replica *r, uint64_t to, uint64_t session, struct slice answers)
{
    struct wire_message message = {
        .type = WIRE_ANSWER,
        .ask = {.term = raft_current_term(&r->raft), .session = session, .bytes = answers}};

    ASSERT(answers.len <= REPLICA_ASK_SIZE_MAX);
    if (!r->failed && replica__leads(r))
        send_frame(r, to, &message);
}

void ask_on_question(struct replica *r, struct peer *from, const struct wire_ask *ask)
{
    if (replica__leads(r) && ask->term == raft_current_term(&r->raft) && r->env.on_ask != NULL)
        r->env.on_ask(r->env.ctx, from->id, ask->session, ask->bytes);
}

void ask_on_answer(struct replica *r, const struct wire_ask *answer)
{
    if (answer->session == r->session && answer->term == raft_current_term(&r->raft) &&
        r->env.on_answer != NULL)
        r->env.on_answer(r->env.ctx, answer->bytes);
}
