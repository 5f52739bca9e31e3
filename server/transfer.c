#include "server/transfer.h"

#include <stdlib.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "server/transfer_internal.h"

/* ---- frames ---- */

static void must(int rc)
{
    ASSERT(rc == 0); /* our own frames are bounded */
}

void transfer__send(struct transfer *t, uint64_t peer, enum transfer_side from,
                    const struct transfer_frame *frame)
{
    struct buf *out = &t->frame;

    buf_reset(out);
    must(buf_append_u8(out, (uint8_t)frame->kind));
    if (frame->kind == TRANSFER_OFFER) {
        must(buf_append_le64(out, frame->index));
        must(buf_append_le64(out, frame->term));
        must(buf_append_le64(out, frame->size));
    }
    must(buf_append_le32(out, frame->id));
    if (frame->kind == TRANSFER_CHUNK || frame->kind == TRANSFER_WANT)
        must(buf_append_le64(out, frame->offset));
    if (frame->kind == TRANSFER_CHUNK) {
        must(buf_append_le32(out, crc32c_extend(0, frame->bytes.data, frame->bytes.len)));
        must(buf_append(out, frame->bytes.data, frame->bytes.len));
    }
    t->options.send(t->options.ctx, peer, from, buf_slice(out));
}

static bool makes_sense(const struct transfer_frame *frame)
{
    switch (frame->kind) {
    case TRANSFER_OFFER:
        return frame->index > 0 && frame->term > 0 && frame->size > 0 && frame->size <= INT64_MAX &&
               frame->index <= INT64_MAX && frame->term <= INT64_MAX;
    case TRANSFER_CHUNK:
        return frame->bytes.len > 0 && frame->bytes.len <= CHUNK_SIZE && frame->offset <= INT64_MAX;
    case TRANSFER_WANT:
    case TRANSFER_HAVE:
    case TRANSFER_NO:
        return true;
    }
    return false;
}

int transfer__decode(struct slice bytes, struct transfer_frame *out, struct err *err)
{
    struct reader in = reader_of(bytes);

    *out = (struct transfer_frame){.kind = (enum transfer_kind)read_u8(&in)};
    if (out->kind == TRANSFER_OFFER) {
        out->index = read_le64(&in);
        out->term = read_le64(&in);
        out->size = read_le64(&in);
    }
    out->id = read_le32(&in);
    if (out->kind == TRANSFER_CHUNK || out->kind == TRANSFER_WANT)
        out->offset = read_le64(&in);
    if (out->kind == TRANSFER_CHUNK) {
        out->crc = read_le32(&in);
        out->bytes = read_bytes(&in, in.rest.len);
    }
    if (in.bad || in.rest.len > 0 || !makes_sense(out))
        return err_set(err, KV_EPROTO, "checkpoint transfer: malformed frame");
    if (out->kind == TRANSFER_CHUNK &&
        out->crc != crc32c_extend(0, out->bytes.data, out->bytes.len))
        return err_set(err, KV_EPROTO, "checkpoint transfer: bad checksum of a chunk");
    return 0;
}

int transfer_on_frame(struct transfer *t, uint64_t peer, enum transfer_side from,
                      struct slice bytes, struct err *err)
{
    struct transfer_frame frame;
    int rc = transfer__decode(bytes, &frame, err);
    bool of_sender = frame.kind == TRANSFER_OFFER || frame.kind == TRANSFER_CHUNK;

    if (rc != 0)
        return rc;
    if (of_sender != (from == TRANSFER_SENDER))
        return err_set(err, KV_EPROTO, "checkpoint transfer: a frame from the wrong side");
    if (frame.kind == TRANSFER_OFFER)
        transfer__on_offer(t, peer, &frame);
    else if (frame.kind == TRANSFER_CHUNK)
        transfer__on_chunk(t, peer, &frame);
    else
        transfer__on_answer(t, peer, &frame);
    return 0;
}

/* ---- the whole ---- */

struct transfer *transfer_new(const struct transfer_options *options)
{
    struct transfer *t = xcalloc(1, sizeof *t);

    t->options = *options;
    t->dir = xstrdup(options->dir);
    list_init(&t->sendings);
    list_init(&t->disposals);
    buf_init(&t->frame, TRANSFER_FRAME_MAX);
    return t;
}

void transfer_free(struct transfer *t)
{
    if (t == NULL)
        return;
    transfer__free_sending(t);
    transfer__free_receiving(t);
    buf_release(&t->frame);
    free(t->dir);
    free(t);
}

bool transfer_busy(const struct transfer *t)
{
    return !list_empty(&t->sendings) || t->receiving != NULL || t->ready != NULL;
}

void transfer_tick(struct transfer *t)
{
    uint64_t now_ms = t->options.now_ms(t->options.ctx);

    transfer__tick_sending(t, now_ms);
    transfer__tick_receiving(t, now_ms);
}
