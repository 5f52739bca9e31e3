/* Ranges whose answers are long: Range beyond what service_kv.c answers at once, and RangeStream.
 * Their records are read in slices at the revision at which they began (mvcc/scan.h), and their
 * bytes are made only once the client has taken those before, so an answer costs a piece of some
 * 100 KiB whatever its size. All of them share one slice of each loop turn and take turns in it.
 *
 * They never hold up compaction for longer than they work themselves: what removal would take of an
 * answer that a slow client is reading is set aside first. All that is set aside, and all that is
 * sorted, is bounded; beyond that, whoever holds most is cut. Loop thread. */
#ifndef KVD_SERVER_RANGES_H
#define KVD_SERVER_RANGES_H

#include <stdbool.h>

#include "mvcc/mvcc.h"

struct grpc_call;
struct member;
struct ranges;

struct ranges *ranges_new(struct member *member);
/* After the last of its calls. Accepts NULL. */
void ranges_free(struct ranges *ranges);

enum ranges_kind { RANGES_WHOLE, RANGES_STREAM };

/* Answers the call, now (an error) or later. range was checked; its keys live as long as the call.
 */
void ranges_start(struct ranges *ranges, struct grpc_call *call, const struct mvcc_range *range,
                  enum ranges_kind kind);
/* Consensus has something to do; for some time the slices are shorter, so that it is not late. */
void ranges_make_way(struct ranges *ranges);
/* A slice of the work; true while there is more that does not wait for clients. */
bool ranges_run(struct ranges *ranges);
/* As ranges_run() left it: compaction may remove. */
bool ranges_allow_removal(const struct ranges *ranges);

#endif
