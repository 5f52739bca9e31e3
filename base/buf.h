/* A growable byte buffer that is born with its maximum. Not thread safe; the owner frees it. */
#ifndef KVD_BASE_BUF_H
#define KVD_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/util.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t size_max; /* over it the append is refused with KV_ETOOBIG; never 0 */
};

void buf_init(struct buf *buf, size_t size_max);
void buf_release(struct buf *buf);
/* Keeps the memory, forgets the content. */
void buf_reset(struct buf *buf);

/* Room for extra more bytes. 0 or KV_ETOOBIG; buf is unchanged on error. */
int buf_reserve(struct buf *buf, size_t extra);
int buf_append(struct buf *buf, const void *data, size_t len);
int buf_append_u8(struct buf *buf, uint8_t value);
int buf_append_le32(struct buf *buf, uint32_t value);
int buf_append_le64(struct buf *buf, uint64_t value);
/* Base-128 varint as in protobuf. */
int buf_append_varint(struct buf *buf, uint64_t value);
int buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Drops the first n bytes (n <= len), moving the rest to the front. */
void buf_consume(struct buf *buf, size_t n);

static inline struct slice buf_slice(const struct buf *buf)
{
    return slice_of(buf->data, buf->len);
}

#endif
