#include "base/hash.h"

#include <string.h>

uint64_t hash_bytes(struct slice bytes, uint64_t salt)
{
    uint64_t hash = (salt ^ bytes.len) * 0x9e3779b97f4a7c15u, word;

    while (bytes.len >= sizeof word) {
        memcpy(&word, bytes.data, sizeof word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
        bytes = slice_of(bytes.data + sizeof word, bytes.len - sizeof word);
    }
    word = 0;
    if (bytes.len > 0)
        memcpy(&word, bytes.data, bytes.len);
    hash = (hash ^ word ^ salt) * 0xbf58476d1ce4e5b9u;
    return hash ^ hash >> 32;
}
