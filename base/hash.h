/* A salted hash of bytes for tables in memory. Any thread. */
#ifndef KVD_BASE_HASH_H
#define KVD_BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

/* The salt is the table's secret, so that nobody can choose keys that meet in one chain. All 64
 * bits are good. Differs between byte orders: not for disk or wire. */
uint64_t hash_bytes(struct slice bytes, uint64_t salt);

#endif
