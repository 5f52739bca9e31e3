#include "server/autocompact.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/util.h"

enum {
    HOUR_MS = 3600 * 1000,
    REVISION_INTERVAL_MS = 300 * 1000,
    LOOKS_PER_PERIOD = 10,
};

/* ---- samples ---- */

static void grow(struct autocompact *policy)
{
    size_t cap = MIN(MAX(policy->cap * 2, (size_t)16), policy->len_max);
    int64_t *samples = xcalloc(cap, sizeof *samples);

    for (size_t i = 0; i < policy->len; i++)
        samples[i] = policy->samples[(policy->first + i) % policy->cap];
    free(policy->samples);
    policy->samples = samples;
    policy->cap = cap;
    policy->first = 0;
}

static void add_sample(struct autocompact *policy, int64_t revision)
{
    if (policy->len == policy->len_max) {
        policy->first = (policy->first + 1) % policy->cap;
        policy->len--;
    }
    if (policy->len == policy->cap)
        grow(policy);
    policy->samples[(policy->first + policy->len) % policy->cap] = revision;
    policy->len++;
}

/* ---- life ---- */

static void init_periodic(struct autocompact *policy, uint64_t now_ms, int64_t revision)
{
    uint64_t period_ms = MIN(policy->retention, (uint64_t)HOUR_MS);

    policy->interval_ms = MAX(period_ms / LOOKS_PER_PERIOD, (uint64_t)1);
    policy->len_max = (size_t)(policy->retention / policy->interval_ms) + 1;
    policy->wait_ms = policy->retention; /* until the first; then every period */
    policy->success_ms = now_ms;
    add_sample(policy, revision);
}

void autocompact_init(struct autocompact *policy, enum autocompact_mode mode, uint64_t retention,
                      uint64_t now_ms, int64_t revision)
{
    ASSERT(retention != 0);
    *policy = (struct autocompact){
        .mode = mode, .retention = retention, .interval_ms = REVISION_INTERVAL_MS};
    if (mode == AUTOCOMPACT_PERIODIC)
        init_periodic(policy, now_ms, revision);
    policy->next_ms = now_ms + policy->interval_ms;
}

void autocompact_release(struct autocompact *policy)
{
    free(policy->samples);
    *policy = (struct autocompact){.samples = NULL};
}

/* ---- the policy ---- */

static int64_t step_periodic(struct autocompact *policy, uint64_t now_ms, bool may_compact)
{
    int64_t target = policy->samples[policy->first];

    if (!may_compact || now_ms - policy->success_ms < policy->wait_ms || target == policy->last)
        return 0;
    policy->wait_ms = MIN(policy->retention, (uint64_t)HOUR_MS);
    return target;
}

static int64_t step_revision(const struct autocompact *policy, int64_t revision, bool may_compact)
{
    if (!may_compact || (uint64_t)revision <= policy->retention)
        return 0;
    revision -= (int64_t)policy->retention;
    return revision != policy->last ? revision : 0;
}

int64_t autocompact_step(struct autocompact *policy, uint64_t now_ms, int64_t revision,
                         bool may_compact)
{
    int64_t target;

    policy->next_ms = now_ms + policy->interval_ms;
    if (policy->mode == AUTOCOMPACT_REVISION)
        return step_revision(policy, revision, may_compact);
    target = step_periodic(policy, now_ms, may_compact);
    add_sample(policy, revision);
    return target;
}

void autocompact_done(struct autocompact *policy, uint64_t now_ms, int64_t revision)
{
    policy->last = revision;
    policy->success_ms = now_ms;
}
