/* What the files of the lessor share: lessor.c (role, rounds of confirmation, the turn),
 * lessor_ask.c (questions) and lessor_command.c (what goes into the log). */
#ifndef KVD_SERVER_LESSOR_INTERNAL_H
#define KVD_SERVER_LESSOR_INTERNAL_H

#include "server/lessor.h"

static inline struct lease_question *lessor__first(const struct list *list)
{
    return LIST_FIRST(list, struct lease_question, link);
}

static inline bool lessor__leads(const struct lessor *lessor)
{
    return lessor->lead_term != 0 && lessor->lead_term == lessor->term;
}

/* lessor_ask.c */
void lessor__ask_init(struct lessor *lessor, uint64_t first_number);
void lessor__ask_release(struct lessor *lessor);
void lessor__give_up_late(struct lessor *lessor, uint64_t now_ms);
void lessor__ask_leader(struct lessor *lessor, uint64_t now_ms);
void lessor__ask_again(struct lessor *lessor, uint64_t now_ms);
/* Leading: `round` is answered, parked or held; other members' answers are sent. */
void lessor__answer_round(struct lessor *lessor, uint64_t now_ms);
/* Renewals of leases that were due: the answer is how that ended. */
void lessor__answer_parked(struct lessor *lessor, uint64_t now_ms);
/* Held renewals whose lease has no checkpoint any more are asked anew. Leases are cleared in the
 * order in which they came, so those behind the first that still waits wait with it. */
void lessor__release_held(struct lessor *lessor);
/* Not leading any more: other members ask whoever does, this one's questions start anew. */
void lessor__ask_follow(struct lessor *lessor);
/* When the first of its questions wants something. */
uint64_t lessor__ask_next_ms(const struct lessor *lessor);

/* Nothing of an earlier term can come about any more. */
static inline bool lessor__is_open(const struct lessor *lessor)
{
    return lessor->open_term == lessor->term;
}

/* lessor_command.c: leading. */
/* Proposes the first entry of the term: a checkpoint of no lease. */
void lessor__open(struct lessor *lessor, uint64_t now_ms);
void lessor__end_due(struct lessor *lessor, uint64_t now_ms);
void lessor__write_checkpoints(struct lessor *lessor, uint64_t now_ms);
void lessor__write_clears(struct lessor *lessor, uint64_t now_ms);
void lessor__command_follow(struct lessor *lessor);
uint64_t lessor__command_next_ms(const struct lessor *lessor);

#endif
