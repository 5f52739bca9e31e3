#include "server/space.h"

#include "base/util.h"

enum {
    KEY_COST = 256, /* etcd's estimate of what a key needs beside its bytes */
    WARN_AGAIN_BELOW = 5,
};

/* Ascending. */
static const unsigned lines[] = {70, 85, 95};

void space_init(struct space *space, int64_t configured)
{
    *space = (struct space){.quota = configured != 0 ? configured : SPACE_QUOTA_DEFAULT};
}

/* ---- costs ---- */

uint64_t space_put_cost(const Etcdserverpb__PutRequest *request)
{
    return KEY_COST + request->key.len + request->value.len;
}

static uint64_t ops_cost(Etcdserverpb__RequestOp **ops, size_t len)
{
    uint64_t cost = 0;

    for (size_t i = 0; i < len; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            cost += space_put_cost(ops[i]->request_put);
        else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            cost += space_txn_cost(ops[i]->request_txn);
    }
    return cost;
}

uint64_t space_txn_cost(const Etcdserverpb__TxnRequest *request)
{
    uint64_t success = ops_cost(request->success, request->n_success);
    uint64_t failure = ops_cost(request->failure, request->n_failure);

    return MAX(success, failure);
}

/* ---- the limit ---- */

bool space_is_short(const struct space *space, uint64_t used)
{
    return space->quota >= 0 && used >= (uint64_t)space->quota;
}

bool space_fits(struct space *space, uint64_t used, uint64_t cost)
{
    if (cost == 0 || !space_is_short(space, used + cost))
        return true;
    space->wanted = MAX(space->wanted, cost);
    return false;
}

bool space_is_back(const struct space *space, uint64_t used)
{
    uint64_t quota = (uint64_t)space->quota, margin;

    if (space->quota < 0)
        return true;
    margin = MAX(quota / 10, MIN(space->wanted, quota / 2));
    return used + margin < quota;
}

/* ---- warnings ---- */

static bool is_above(const struct space *space, uint64_t used, unsigned percent)
{
    return (double)used * 100 >= (double)space->quota * percent;
}

unsigned space_crossed(struct space *space, uint64_t used)
{
    unsigned above = 0, left = 0;

    if (space->quota < 0)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (is_above(space, used, lines[i]))
            above = lines[i];
        if (lines[i] <= space->warned && is_above(space, used, lines[i] - WARN_AGAIN_BELOW))
            left = lines[i];
    }
    if (above <= space->warned) {
        space->warned = left;
        return 0;
    }
    space->warned = above;
    return above;
}
