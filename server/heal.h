/* A member whose log or checkpoints are damaged, before it starts: the rest of the cluster replaces
 * it by one of the same name at the same address, with another id and nothing stored, which then
 * gets everything from the leader. What is damaged is set aside, not deleted.
 *
 * Why another id. What the damaged member had acknowledged and whom it had voted for may be lost,
 * so as who it was it must never acknowledge or vote again: an entry that it had helped to commit
 * could be missing in a quorum, and a candidate that has its vote of a term could get the second
 * one of that term for another. Only the others could say when that is safe, and for the votes only
 * all of them. A new id asks nothing of the past: taking the old one out and a new one in are two
 * changes of the members by Raft's own rules (section 4.1), committed by a quorum of those that are
 * left; no vote or acknowledgement of the old one counts in the new configuration, and the new one
 * gets its vote only when it has the log (server/member_change.c). So an entry that only the
 * damaged member and some that are down had can not be forgotten either: then there is no quorum
 * without it, nothing is changed, and it waits.
 *
 *   damaged ──▶ asks the others (raft/hello.h, HELLO_LANE_LOST) ──▶ they replace it in the log
 *           ──▶ wal/ and snap/ go to DATA_DIR/damaged-TIME/ ──▶ identity of the new id ──▶ starts
 *
 * A crash anywhere leads here again: before the identity is written the log is gone, or damaged. */
#ifndef KVD_SERVER_HEAL_H
#define KVD_SERVER_HEAL_H

#include "base/err.h"
#include "server/config.h"
#include "server/log.h"

/* Blocks until the others have done it. damage: why the member can not start. 0: it may be started.
 * Else nothing was changed, unless the disk failed, and err says what is damaged and what to do. */
int heal_member(const struct config *config, struct log *log, const struct err *damage,
                struct err *err);

#endif
