#include "base/crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

static uint32_t table[256];

__attribute__((constructor)) static void fill_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
        table[i] = crc;
    }
}

uint32_t crc32c_extend_portable(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    crc = ~crc;
    for (; len != 0; len--)
        crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t extend_by_cpu(uint32_t crc, const void *data,
                                                                size_t len)
{
    const uint8_t *p = data;
    uint64_t state = (uint32_t)~crc;

    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;

        memcpy(&word, p, 8);
        state = _mm_crc32_u64(state, word);
    }
    for (; len != 0; len--)
        state = _mm_crc32_u8((uint32_t)state, *p++);
    return ~(uint32_t)state;
}

static int cpu_has_crc(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#elif defined(__aarch64__)
__attribute__((target("+crc"))) static uint32_t extend_by_cpu(uint32_t crc, const void *data,
                                                              size_t len)
{
    const uint8_t *p = data;

    crc = ~crc;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;

        memcpy(&word, p, 8);
        crc = __crc32cd(crc, word);
    }
    for (; len != 0; len--)
        crc = __crc32cb(crc, *p++);
    return ~crc;
}

static int cpu_has_crc(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}
#else
#define extend_by_cpu crc32c_extend_portable
static int cpu_has_crc(void)
{
    return 0;
}
#endif

uint32_t crc32c_extend(uint32_t crc, const void *data, size_t len)
{
    return cpu_has_crc() ? extend_by_cpu(crc, data, len) : crc32c_extend_portable(crc, data, len);
}
