/* Integers on disk and on the wire: explicit byte order, bounds-checked reading. */
#ifndef KVD_BASE_CODEC_H
#define KVD_BASE_CODEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

void put_le16(uint8_t *p, uint16_t v);
void put_le32(uint8_t *p, uint32_t v);
void put_le64(uint8_t *p, uint64_t v);
void put_be32(uint8_t *p, uint32_t v);
void put_be64(uint8_t *p, uint64_t v);
uint16_t get_le16(const uint8_t *p);
uint32_t get_le32(const uint8_t *p);
uint64_t get_le64(const uint8_t *p);
uint32_t get_be32(const uint8_t *p);
uint64_t get_be64(const uint8_t *p);

enum { VARINT_SIZE_MAX = 10 };
/* Writes at most VARINT_SIZE_MAX bytes, returns how many. */
size_t put_varint(uint8_t *p, uint64_t v);
size_t varint_size(uint64_t v);

/* Reads from the front of a slice and moves it on. A reader that runs past the end turns bad and
 * stays bad; values read from then on are 0, so one check at the end is enough. */
struct reader {
    struct slice rest;
    bool bad;
};

struct reader reader_of(struct slice bytes);
uint8_t read_u8(struct reader *r);
uint16_t read_le16(struct reader *r);
uint32_t read_le32(struct reader *r);
uint64_t read_le64(struct reader *r);
uint64_t read_varint(struct reader *r);
struct slice read_bytes(struct reader *r, size_t len);

#endif
