/* An ordered set of keys: what is attached to one lease. Keys are copied. A treap: ascending walks
 * for free, and no input makes it slow, because its shape comes from its own random numbers. One
 * thread. Shared inside mvcc/ only. */
#ifndef KVD_MVCC_LEASE_KEYS_H
#define KVD_MVCC_LEASE_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/prng.h"
#include "base/slice.h"

struct lease_key;

struct lease_keys {
    struct lease_key *root;
    size_t count;
};

/* False: it was there. */
bool lease_keys__add(struct lease_keys *keys, struct prng *prng, struct slice key);
/* False: it was not there. */
bool lease_keys__remove(struct lease_keys *keys, struct slice key);
void lease_keys__release(struct lease_keys *keys);

/* In ascending order. The set must not change meanwhile; slices point into it. */
typedef void (*lease_keys_visit)(void *ctx, struct slice key);
void lease_keys__each(const struct lease_keys *keys, lease_keys_visit visit, void *ctx);

#endif
