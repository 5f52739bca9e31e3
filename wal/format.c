#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "wal/internal.h"

static const uint8_t magic[8] = {'K', 'V', 'D', 'W', 'A', 'L', '\r', '\n'};

/* Payload sizes, so that no length from disk is believed further than this. */
static const struct {
    const char *name;
    uint32_t len_min, len_max;
} types[WAL__TYPE_END] = {
    [WAL__HEAD] = {"head", WAL__HEAD_SIZE, WAL__HEAD_SIZE},
    [WAL__ENTRY] = {"entry", WAL__ENTRY_HEAD, WAL__ENTRY_HEAD + WAL_ENTRY_SIZE_MAX},
    [WAL__STATE] = {"state", 16, 16},
    [WAL__TRIM] = {"trim", 8, 8},
    [WAL__RESET] = {"reset", 0, 0},
    [WAL__SEAL] = {"seal", 0, 0},
    [WAL__MARK] = {"mark", 0, 0},
};

_Static_assert(WAL__DATA_START % 8 == 0, "records are 8-byte aligned");
_Static_assert(WAL__RECORD_HEADER % 8 == 0, "records are 8-byte aligned");
_Static_assert(WAL__HEADER_SIZE <= WAL__DATA_START, "the header has a block of its own");

void wal__header_encode(struct wal__segment_header *header, uint8_t *block)
{
    memset(block, 0, WAL__BLOCK);
    memcpy(block, magic, sizeof(magic));
    put_le32(block + 8, WAL__VERSION);
    put_le32(block + 12, 0); /* flags: none yet */
    put_le64(block + 16, header->cluster_id);
    put_le64(block + 24, header->member_id);
    put_le64(block + 32, header->segment.number);
    put_le64(block + 40, header->segment.nonce);
    header->segment.seed = crc32c_extend(0, block, 48);
    put_le32(block + 48, header->segment.seed);
}

int wal__header_decode(const uint8_t *bytes, size_t len, struct wal__segment_header *out,
                       const char **what)
{
    if (len < WAL__HEADER_SIZE || memcmp(bytes, magic, sizeof(magic)) != 0) {
        *what = "not a segment header";
        return KV_ECORRUPT;
    }
    if (get_le32(bytes + 48) != crc32c_extend(0, bytes, 48)) {
        *what = "bad checksum in the segment header";
        return KV_ECORRUPT;
    }
    if (get_le32(bytes + 8) != WAL__VERSION || get_le32(bytes + 12) != 0) {
        *what = "a format version this program does not know";
        return KV_EMISMATCH;
    }
    out->cluster_id = get_le64(bytes + 16);
    out->member_id = get_le64(bytes + 24);
    out->segment.number = get_le64(bytes + 32);
    out->segment.nonce = get_le64(bytes + 40);
    out->segment.seed = get_le32(bytes + 48);
    return 0;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9u;
    return h ^ (h >> 32);
}

/* Differs for each use of a recycled file, since numbers are never used twice. The chain makes it
 * unknown to clients, who could otherwise store bytes that look like records. */
uint64_t wal__nonce(uint64_t cluster_id, uint64_t member_id, uint64_t number, uint32_t chain)
{
    return mix(mix(mix(mix(0x6b766477616cu, cluster_id), member_id), number), chain);
}

uint8_t *wal__record_begin(struct buf *buf, enum wal__type type, uint8_t entry_type, size_t len)
{
    size_t size = wal__record_size((uint32_t)len);
    uint8_t *bytes;

    ASSERT(len >= types[type].len_min);
    ASSERT(len <= types[type].len_max);
    ASSERT(buf_reserve(buf, size) == 0);
    bytes = buf->data + buf->len;
    buf->len += size;
    memset(bytes, 0, WAL__RECORD_HEADER);
    put_le32(bytes + 8, (uint32_t)len);
    bytes[12] = (uint8_t)type;
    bytes[13] = entry_type;
    if (len % 8 != 0)
        memset(bytes + size - 8, 0, 8);
    return bytes + WAL__RECORD_HEADER;
}

static uint32_t chain_over(const uint8_t *bytes, uint32_t len, uint32_t chain)
{
    return crc32c_extend(chain, bytes + 8, wal__record_size(len) - 8);
}

static uint32_t header_crc(const uint8_t *bytes, const struct wal__segment *segment,
                           uint64_t offset)
{
    uint8_t place[16];

    put_le64(place, segment->nonce);
    put_le64(place + 8, offset);
    return crc32c_extend(crc32c_extend(0, place, sizeof(place)), bytes + 4, WAL__RECORD_HEADER - 4);
}

void wal__record_finish(uint8_t *bytes, const struct wal__segment *segment, uint64_t offset,
                        uint64_t synced, uint32_t *chain)
{
    ASSERT(offset % 8 == 0);
    ASSERT(synced <= offset);
    put_le64(bytes + 16, synced);
    *chain = chain_over(bytes, get_le32(bytes + 8), *chain);
    put_le32(bytes + 4, *chain);
    put_le32(bytes, header_crc(bytes, segment, offset));
}

void wal__record_peek(const uint8_t *bytes, struct wal__record *out)
{
    out->len = get_le32(bytes + 8);
    out->type = (enum wal__type)bytes[12];
    out->entry_type = bytes[13];
}

bool wal__record_header_ok(const uint8_t *bytes, const struct wal__segment *segment,
                           uint64_t offset, struct wal__record *out)
{
    /* The cheap checks first: a search asks this for every eighth byte of a segment. */
    if (bytes[12] == 0 || bytes[12] >= WAL__TYPE_END || bytes[14] != 0 || bytes[15] != 0)
        return false;
    wal__record_peek(bytes, out);
    if (out->len < types[out->type].len_min || out->len > types[out->type].len_max)
        return false;
    out->offset = offset;
    out->synced = get_le64(bytes + 16);
    out->chain = get_le32(bytes + 4);
    if (out->synced > offset || out->synced < WAL__DATA_START)
        return false;
    return get_le32(bytes) == header_crc(bytes, segment, offset);
}

bool wal__record_body_ok(const uint8_t *bytes, const struct wal__record *record, uint32_t chain)
{
    return chain_over(bytes, record->len, chain) == record->chain;
}

const char *wal__type_name(enum wal__type type)
{
    return types[type].name;
}

void wal__head_encode(const struct wal__head *head, uint8_t *payload)
{
    put_le64(payload, head->prev_end);
    put_le32(payload + 8, head->prev_chain);
    put_le32(payload + 12, 0);
    put_le64(payload + 16, head->state.term);
    put_le64(payload + 24, head->state.voted_for);
    put_le64(payload + 32, head->last_index);
    put_le64(payload + 40, head->oldest);
}

void wal__head_decode(const uint8_t *payload, struct wal__head *out)
{
    out->prev_end = get_le64(payload);
    out->prev_chain = get_le32(payload + 8);
    out->state.term = get_le64(payload + 16);
    out->state.voted_for = get_le64(payload + 24);
    out->last_index = get_le64(payload + 32);
    out->oldest = get_le64(payload + 40);
}

void wal__segment_name(char *name, uint64_t number)
{
    (void)snprintf(name, WAL__NAME_MAX, "%012" PRIu64 ".wal", number); /* at most 24 characters */
}

void wal__spare_name(char *name, uint64_t number)
{
    (void)snprintf(name, WAL__NAME_MAX, "%012" PRIu64 ".spare", number);
}

bool wal__name_parse(const char *name, const char *suffix, uint64_t *out)
{
    size_t digits = strspn(name, "0123456789");

    if (digits < 12 || digits > 19 || strcmp(name + digits, suffix) != 0)
        return false;
    *out = strtoull(name, NULL, 10);
    return *out != 0;
}

char *wal__path(const char *dir, const char *name)
{
    return xasprintf("%s/%s", dir, name);
}

char *wal__segment_path(const char *dir, uint64_t number)
{
    char name[WAL__NAME_MAX];

    wal__segment_name(name, number);
    return wal__path(dir, name);
}
