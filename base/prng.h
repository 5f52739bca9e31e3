/* Seeded pseudo-random numbers (splitmix64 seeding xoshiro256**): same seed, same sequence, on
 * every machine. Not for secrets. */
#ifndef KVD_BASE_PRNG_H
#define KVD_BASE_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
    uint64_t s[4];
};

void prng_seed(struct prng *prng, uint64_t seed);
uint64_t prng_next(struct prng *prng);
/* Uniform in [low, high], both included. */
uint64_t prng_between(struct prng *prng, uint64_t low, uint64_t high);
/* True with the given probability in millionths. */
bool prng_chance(struct prng *prng, uint32_t ppm);

#endif
