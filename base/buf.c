#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"

void buf_init(struct buf *buf, size_t size_max)
{
    ASSERT(size_max != 0);
    *buf = (struct buf){.size_max = size_max};
}

void buf_release(struct buf *buf)
{
    free(buf->data);
    buf->data = NULL;
    buf->len = buf->cap = 0;
}

void buf_reset(struct buf *buf)
{
    buf->len = 0;
}

int buf_reserve(struct buf *buf, size_t extra)
{
    size_t need = buf->len + extra;
    size_t cap;

    ASSERT(buf->size_max != 0);
    if (extra > buf->size_max || need > buf->size_max)
        return KV_ETOOBIG;
    if (need <= buf->cap)
        return 0;
    cap = MAX(MAX(buf->cap * 2, need), (size_t)64);
    buf->cap = MIN(cap, buf->size_max);
    buf->data = xrealloc(buf->data, buf->cap);
    return 0;
}

int buf_append(struct buf *buf, const void *data, size_t len)
{
    int rc = buf_reserve(buf, len);

    if (rc != 0)
        return rc;
    if (len != 0)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return 0;
}

int buf_append_u8(struct buf *buf, uint8_t value)
{
    return buf_append(buf, &value, 1);
}

int buf_append_le32(struct buf *buf, uint32_t value)
{
    uint8_t bytes[4];

    put_le32(bytes, value);
    return buf_append(buf, bytes, sizeof bytes);
}

int buf_append_le64(struct buf *buf, uint64_t value)
{
    uint8_t bytes[8];

    put_le64(bytes, value);
    return buf_append(buf, bytes, sizeof bytes);
}

int buf_append_varint(struct buf *buf, uint64_t value)
{
    uint8_t bytes[VARINT_SIZE_MAX];

    return buf_append(buf, bytes, put_varint(bytes, value));
}

int buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args;
    int len, rc;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(len >= 0);
    rc = buf_reserve(buf, (size_t)len + 1); /* vsnprintf ends with a NUL that does not count */
    if (rc != 0)
        return rc;
    va_start(args, fmt);
    (void)vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, fmt, args);
    va_end(args);
    buf->len += (size_t)len;
    return 0;
}

void buf_consume(struct buf *buf, size_t n)
{
    ASSERT(n <= buf->len);
    buf->len -= n;
    if (buf->len != 0)
        memmove(buf->data, buf->data + n, buf->len);
}
