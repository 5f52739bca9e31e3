/* A salted hash of bytes for tables in memory. Any thread. */
#ifndef KVD_BASE_HASH_H
#define KVD_BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

/* The salt is the table's secret, so that nobody can choose keys that meet in one chain. All 64
 * bits are good. Differs between byte orders: not for disk or wire. */
uint64_t hash_bytes(struct slice bytes, uint64_t salt);

/* A running value goes on with another number: the finaliser of splitmix64, so that every bit that
 * goes in reaches every bit that comes out. The same everywhere. */
static inline uint64_t hash_mix(uint64_t hash, uint64_t value)
{
    hash ^= value + 0x9e3779b97f4a7c15u;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
    return hash ^ (hash >> 31);
}

#endif
