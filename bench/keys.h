/* The keys of a load: numbers 0 .. count - 1, written so that their order is the order of the
 * numbers. Key spaces of different sizes do not mix: eight bytes are digits alone (the published
 * etcd tables use such keys), longer ones begin with their size. */
#ifndef KVD_BENCH_KEYS_H
#define KVD_BENCH_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum { KEY_SIZE_MIN = 8, KEY_SIZE_MAX = 200, KEY_SPACE_MAX = KEY_SIZE_MAX + 1 };

struct key_space {
    char prefix[64];
    unsigned prefix_len;
    unsigned size; /* of each key, prefix included */
    uint64_t count;
};

/* prefix NULL: by size. KV_EINVAL if the digits left cannot tell count keys apart. */
int key_space_init(struct key_space *keys, const char *prefix, uint64_t size, uint64_t count,
                   struct err *err);
/* Writes key number (0 .. count; count itself is the end of the range) to space. */
struct slice key_at(const struct key_space *keys, uint64_t number, uint8_t space[KEY_SPACE_MAX]);
/* Whether key is key number. */
bool key_is(const struct key_space *keys, struct slice key, uint64_t number);
/* The number of a key; false if it is not of this space. */
bool key_number(const struct key_space *keys, struct slice key, uint64_t *out);

#endif
