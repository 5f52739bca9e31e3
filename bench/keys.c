#include "bench/keys.h"

#include <stdio.h>
#include <string.h>

int key_space_init(struct key_space *keys, const char *prefix, uint64_t size, uint64_t count,
                   struct err *err)
{
    uint64_t room = 1;

    ASSERT(size >= KEY_SIZE_MIN && size <= KEY_SIZE_MAX);
    *keys = (struct key_space){.size = (unsigned)size, .count = count};
    if (prefix != NULL)
        (void)snprintf(keys->prefix, sizeof keys->prefix, "%s", prefix);
    else if (size > KEY_SIZE_MIN)
        (void)snprintf(keys->prefix, sizeof keys->prefix, "k%03u/", keys->size);
    keys->prefix_len = (unsigned)strlen(keys->prefix);
    for (unsigned i = keys->prefix_len; i < size && room <= count; i++)
        room *= 10;
    if (room <= count)
        return err_set(err, KV_EINVAL, "%llu keys do not fit into %u bytes beginning with \"%s\"",
                       (unsigned long long)count, keys->size, keys->prefix);
    return 0;
}

struct slice key_at(const struct key_space *keys, uint64_t number, uint8_t space[KEY_SPACE_MAX])
{
    uint8_t *p = space + keys->size;

    memcpy(space, keys->prefix, keys->prefix_len);
    for (; number != 0; number /= 10)
        *--p = (uint8_t)('0' + number % 10);
    memset(space + keys->prefix_len, '0', (size_t)(p - space) - keys->prefix_len);
    return slice_of(space, keys->size);
}

bool key_is(const struct key_space *keys, struct slice key, uint64_t number)
{
    uint8_t space[KEY_SPACE_MAX];

    return slice_eq(key, key_at(keys, number, space));
}

bool key_number(const struct key_space *keys, struct slice key, uint64_t *out)
{
    uint64_t number = 0;

    if (key.len != keys->size || memcmp(key.data, keys->prefix, keys->prefix_len) != 0)
        return false;
    for (size_t i = keys->prefix_len; i < key.len; i++) {
        if (key.data[i] < '0' || key.data[i] > '9' || number > keys->count)
            return false;
        number = number * 10 + (uint64_t)(key.data[i] - '0');
    }
    *out = number;
    return number < keys->count;
}
