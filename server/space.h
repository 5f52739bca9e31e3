/* The space quota of one member as arithmetic: what a request costs, whether it fits, when space is
 * short and when it is back. Knows no state machine, loop or clock: what is used comes in with
 * every call. Costs and limit are etcd's (etcd-api.md section 15); warnings, and an alarm that ends
 * by itself, are ours. One thread. */
#ifndef KVD_SERVER_SPACE_H
#define KVD_SERVER_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/rpc.pb-c.h"

#define SPACE_QUOTA_DEFAULT (INT64_C(2) << 30)

enum { SPACE_LEASE_COST = 64 };

struct space {
    int64_t quota;   /* in force, bytes; negative: no limit */
    uint64_t wanted; /* the largest request that did not fit since space was last enough */
    unsigned warned; /* the highest line, in percent, that has been crossed upwards; 0: none */
};

/* configured: 0 is the default, negative no limit. */
void space_init(struct space *space, int64_t configured);

uint64_t space_put_cost(const Etcdserverpb__PutRequest *request);
/* Of the costlier branch, nested txns included. */
uint64_t space_txn_cost(const Etcdserverpb__TxnRequest *request);

/* Whether a request of that cost may be proposed; what costs nothing always may. One that may not
 * is remembered in wanted. */
bool space_fits(struct space *space, uint64_t used, uint64_t cost);
/* Whether nothing more should be put. */
bool space_is_short(const struct space *space, uint64_t used);
/* Whether an alarm may end: a tenth of the quota is free, and so much that what did not fit would
 * (but half of the quota is enough in any case: a request that can never fit must not keep others
 * out for ever). */
bool space_is_back(const struct space *space, uint64_t used);

/* The line at 70, 85 or 95 percent that use has crossed upwards since the last call, else 0. A line
 * counts again when use has been five points below it. */
unsigned space_crossed(struct space *space, uint64_t used);

#endif
