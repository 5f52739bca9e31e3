#include "raft/hello.h"

#include <string.h>

#include "base/codec.h"
#include "base/util.h"

enum { MAGIC_SIZE = 8, KIND_SHIFT = 30 };
static const char magic[MAGIC_SIZE + 1] = "kvd-peer";

_Static_assert(MAGIC_SIZE + 2 * 4 + 5 * 8 == HELLO_SIZE, "the drawing in the header");

void hello_encode(const struct hello *hello, uint8_t out[HELLO_SIZE])
{
    memcpy(out, magic, MAGIC_SIZE);
    put_le32(out + 8, hello->version);
    put_le32(out + 12, hello->verdict | (uint32_t)hello->port << 16);
    put_le64(out + 16, hello->cluster_id);
    put_le64(out + 24, hello->from);
    put_le64(out + 32, hello->to);
    put_le64(out + 40, hello->incarnation);
    put_le64(out + 48, hello->attempt);
}

bool hello_decode(const uint8_t *bytes, struct hello *out)
{
    if (memcmp(bytes, magic, MAGIC_SIZE) != 0)
        return false;
    *out = (struct hello){
        .version = get_le32(bytes + 8),
        .verdict = (uint16_t)get_le32(bytes + 12),
        .port = (uint16_t)(get_le32(bytes + 12) >> 16),
        .cluster_id = get_le64(bytes + 16),
        .from = get_le64(bytes + 24),
        .to = get_le64(bytes + 32),
        .incarnation = get_le64(bytes + 40),
        .attempt = get_le64(bytes + 48),
    };
    return true;
}

const char *hello_verdict_text(uint32_t verdict)
{
    static const char *const texts[] = {
#define X(name, text) text,
        HELLO_VERDICT_MAP(X)
#undef X
    };

    return verdict < ARRAY_LEN(texts) ? texts[verdict] : "for a reason that we do not know";
}

void frame_header_encode(enum frame_kind kind, size_t len, uint8_t out[FRAME_HEADER_SIZE])
{
    ASSERT(len < (size_t)1 << KIND_SHIFT);
    put_le32(out, (uint32_t)kind << KIND_SHIFT | (uint32_t)len);
}

void frame_header_decode(const uint8_t *bytes, enum frame_kind *kind, size_t *len)
{
    uint32_t word = get_le32(bytes);

    *kind = (enum frame_kind)(word >> KIND_SHIFT);
    *len = word & (((uint32_t)1 << KIND_SHIFT) - 1);
}
