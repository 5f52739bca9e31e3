#include "bench/histogram.h"

#include <stddef.h>

#include "base/util.h"

/* Exact below 256 us, then 128 slots per doubling. */
static size_t slot_of(uint64_t us)
{
    unsigned shift = 0;
    size_t slot;

    while (us >> shift >= 256)
        shift++;
    slot = shift * 128 + (size_t)(us >> shift);
    return MIN(slot, (size_t)HISTOGRAM_SLOTS - 1);
}

/* The largest value of a slot. */
static uint64_t slot_end(size_t slot)
{
    size_t shift = slot < 256 ? 0 : (slot - 128) / 128;

    return (((uint64_t)(slot - shift * 128) + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t us)
{
    histogram->slots[slot_of(us)]++;
    histogram->count++;
    histogram->max_us = MAX(histogram->max_us, us);
}

void histogram_merge(struct histogram *into, const struct histogram *other)
{
    for (size_t i = 0; i < HISTOGRAM_SLOTS; i++)
        into->slots[i] += other->slots[i];
    into->count += other->count;
    into->max_us = MAX(into->max_us, other->max_us);
}

uint64_t histogram_at(const struct histogram *histogram, double share)
{
    /* 0.29 times 100 is a little more than 29 in binary: not the thirtieth value. */
    double wanted = share * (double)histogram->count * (1 - 1e-12);
    uint64_t seen = 0;

    for (size_t i = 0; i < HISTOGRAM_SLOTS - 1; i++) {
        seen += histogram->slots[i];
        if (seen != 0 && (double)seen >= wanted)
            return MIN(slot_end(i), histogram->max_us);
    }
    return histogram->max_us; /* also for what is beyond the last slot */
}
