#include "base/prng.h"

#include "base/util.h"

void prng_seed(struct prng *prng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        prng->s[i] = z ^ (z >> 31);
    }
}

static uint64_t rotate_left(uint64_t v, int bits)
{
    return v << bits | v >> (64 - bits);
}

uint64_t prng_next(struct prng *prng)
{
    uint64_t *s = prng->s;
    uint64_t out = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return out;
}

uint64_t prng_between(struct prng *prng, uint64_t low, uint64_t high)
{
    uint64_t span = high - low + 1;

    ASSERT(low <= high);
    /* span 0: the whole 64-bit range. The bias of the modulus is far below anything tested here. */
    return span == 0 ? prng_next(prng) : low + prng_next(prng) % span;
}

bool prng_chance(struct prng *prng, uint32_t ppm)
{
    return prng_between(prng, 0, 999999) < ppm;
}
