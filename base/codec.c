#include "base/codec.h"

void put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

void put_le32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

void put_le64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

void put_be32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * (3 - i)));
}

void put_be64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * (7 - i)));
}

uint16_t get_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t get_le32(const uint8_t *p)
{
    uint32_t v = 0;

    for (int i = 3; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

uint64_t get_le64(const uint8_t *p)
{
    uint64_t v = 0;

    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

uint32_t get_be32(const uint8_t *p)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++)
        v = v << 8 | p[i];
    return v;
}

uint64_t get_be64(const uint8_t *p)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

size_t put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;

    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

size_t varint_size(uint64_t v)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1);

    return (bits + 6) / 7;
}

struct reader reader_of(struct slice bytes)
{
    return (struct reader){.rest = bytes};
}

/* len bytes off the front, or NULL and a bad reader. */
static const uint8_t *take(struct reader *r, size_t len)
{
    const uint8_t *p = r->rest.data;

    if (r->bad || r->rest.len < len) {
        r->bad = true;
        return NULL;
    }
    if (len != 0)
        r->rest.data += len;
    r->rest.len -= len;
    return p;
}

uint8_t read_u8(struct reader *r)
{
    const uint8_t *p = take(r, 1);

    return p == NULL ? 0 : *p;
}

uint16_t read_le16(struct reader *r)
{
    const uint8_t *p = take(r, 2);

    return p == NULL ? 0 : get_le16(p);
}

uint32_t read_le32(struct reader *r)
{
    const uint8_t *p = take(r, 4);

    return p == NULL ? 0 : get_le32(p);
}

uint64_t read_le64(struct reader *r)
{
    const uint8_t *p = take(r, 8);

    return p == NULL ? 0 : get_le64(p);
}

uint64_t read_varint(struct reader *r)
{
    size_t len = r->rest.len < VARINT_SIZE_MAX ? r->rest.len : VARINT_SIZE_MAX;
    const uint8_t *p = r->rest.data;
    uint64_t v = 0;

    if (len > 0 && p[0] < 0x80 && !r->bad) { /* most are tags and lengths of one byte */
        r->rest = slice_of(p + 1, r->rest.len - 1);
        return p[0];
    }
    for (size_t i = 0; i < len && !r->bad; i++) {
        /* The tenth byte holds one bit; more would not fit and is no number of ours. */
        if (i == VARINT_SIZE_MAX - 1 && p[i] > 1)
            break;
        v |= (uint64_t)(p[i] & 0x7f) << (7 * i);
        if (p[i] < 0x80) {
            r->rest = slice_of(p + i + 1, r->rest.len - i - 1);
            return v;
        }
    }
    r->bad = true;
    return 0;
}

struct slice read_bytes(struct reader *r, size_t len)
{
    const uint8_t *p = take(r, len);

    return r->bad ? slice_of(NULL, 0) : slice_of(p, len);
}
