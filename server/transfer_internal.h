/* For transfer.c (what is common, frames), transfer_send.c and transfer_receive.c. */
#ifndef KVD_SERVER_TRANSFER_INTERNAL_H
#define KVD_SERVER_TRANSFER_INTERNAL_H

#include "base/buf.h"
#include "base/list.h"
#include "server/transfer.h"
#include "snapshot/snapshot.h"

enum {
    CHUNK_SIZE = 256 << 10,
    WINDOW_CHUNKS = 4,  /* sent and not known to be written */
    STALLED_MS = 10000, /* without a word of the other a sender gives up: its file is held, and with
                           it the log behind */
    REFUSE_MS = 30000,  /* a receiver takes nothing after a failure */
    RECEIVE_STALLED_MS = 120000, /* what was received is thrown away */
    REST_MS = 2000,              /* after a failure, before it is told and ordered again */
};

/* Little-endian behind the kind (u8):
 *   OFFER index u64, term u64, size u64, id u32     CHUNK id u32, offset u64, CRC-32C u32, bytes
 *   WANT id u32, offset u64      HAVE id u32        NO id u32 */
enum transfer_kind {
    TRANSFER_OFFER = 1,
    TRANSFER_CHUNK = 2,
    TRANSFER_WANT = 3,
    TRANSFER_HAVE = 4,
    TRANSFER_NO = 5,
};

struct transfer_frame {
    enum transfer_kind kind;
    uint64_t index, term, size;
    uint32_t id; /* of the file: the checksum of its header */
    uint64_t offset;
    uint32_t crc;
    struct slice bytes;
};

struct sending;
struct receiving;

struct transfer {
    struct transfer_options options;
    char *dir;
    struct list sendings;
    struct receiving *receiving; /* NULL: none */
    uint64_t refuse_until_ms;    /* after a failure */
    /* A received one that is to be installed. */
    struct machine *ready; /* NULL: none */
    uint64_t ready_index, ready_term;
    uint32_t ready_id;
    struct list disposals; /* machines that a job is freeing */
    struct buf frame;      /* scratch */
};

int transfer__decode(struct slice bytes, struct transfer_frame *out, struct err *err);
void transfer__send(struct transfer *transfer, uint64_t peer, enum transfer_side from,
                    const struct transfer_frame *frame);

/* transfer_send.c */
void transfer__on_answer(struct transfer *transfer, uint64_t peer,
                         const struct transfer_frame *frame);
void transfer__tick_sending(struct transfer *transfer, uint64_t now_ms);
void transfer__free_sending(struct transfer *transfer);

/* transfer_receive.c */
void transfer__on_offer(struct transfer *transfer, uint64_t peer,
                        const struct transfer_frame *frame);
void transfer__on_chunk(struct transfer *transfer, uint64_t peer,
                        const struct transfer_frame *frame);
void transfer__tick_receiving(struct transfer *transfer, uint64_t now_ms);
void transfer__free_receiving(struct transfer *transfer);

#endif
