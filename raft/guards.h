/* What libraft 0.22.1 must be kept from, in one place (libraft.md section 3; the numbers are the
 * ones there). Each guard has a directed test in tests/unit/raft/test_guards.c that also shows the
 * fault with the guard switched off by bit n of replica_options.guards_off.
 *
 *   G1  an outdated message is answered with what looks like success
 *   G2  a lone voter leads without a new term: (a) at start, (b) after its own demotion, (c) when
 *       its timer fires
 *   G3  AppendEntries of our own term while we lead
 *   G4  members without a vote keep a dead leader for ever
 *   G5  a configuration entry must be the first of its message, and the one before it committed
 *   G6  AppendEntries below the commit index
 *   G7  a stale rejection at the match index
 *   G8  a configuration change is submitted alone, one at a time
 *   G9  a learner is promoted when its log is there, not by libraft's rounds
 *   G10 a checkpoint that was overtaken while it was written
 *   G11 a checkpoint is ordered again and again while it is on its way
 *   G12 a refused pre-vote hides our higher term
 *   G13 a late vote result reads another union member
 *   G14 a candidate that hears nothing raises its term for ever
 *   G15 a transfer to a member that is behind is lost
 *   G17 numbers in a peer's frame that make no sense
 *
 * G16 (frames of an older connection) is kept by raft/peers.h. */
#ifndef KVD_RAFT_GUARDS_H
#define KVD_RAFT_GUARDS_H

#include "raft/internal.h"

static inline bool guard_on(const struct replica *r, unsigned number)
{
    return (r->guards_off >> number & 1) == 0;
}

/* G17. KV_EPROTO, or 0. */
int guard_validate(const struct replica *r, const struct peer *from,
                   const struct wire_message *message, struct err *err);

/* G2a: the hard state to start with, given the newest configuration in the log. */
struct wal_hard_state guard_start(const struct replica *r, struct wal_hard_state state,
                                  const struct raft_configuration *configuration);
/* G2c, G14: before a TIMEOUT event. */
void guard_timeout(struct replica *r);

/* G3, G6: before AppendEntries is delivered; may shorten it. False: do not deliver. */
bool guard_append(struct replica *r, struct wire_append *append);
/* G5: how many entries from *append on may go into one message; before the piece is delivered. */
unsigned guard_piece(struct replica *r, const struct wire_append *append);
/* G3: before InstallSnapshot is delivered. False: do not deliver. */
bool guard_install(struct replica *r, const struct wire_install *install);
/* G10: may our own checkpoint be told to libraft? */
bool guard_snapshot(const struct replica *r, const struct replica_snapshot *snapshot);
/* G1, G7, G13: before another message is delivered; may rewrite it. False: do not deliver. */
bool guard_receive(const struct replica *r, const struct peer *from, struct raft_message *message);
/* G4: around a RequestVote. */
bool guard_vote_begin(struct replica *r);
void guard_vote_end(struct replica *r, bool changed);
/* G1, G12: a reply that the event caused, before it leaves. */
void guard_reply(const struct replica *r, const struct raft_event *cause, struct wire_message *out);

/* G2b, G8, G9: may this leader submit that configuration now? KV_EINVAL, KV_EBUSY or 0. */
int guard_change(const struct replica *r, const struct raft_configuration *next);
/* G15: may the transfer to target begin? */
bool guard_transfer(const struct replica *r, uint64_t target);

#endif
