/* Checkpoints on their way from one member to another, over a connection of their own beside raft's
 * messages.
 *
 *     sender                                     receiver
 *     OFFER index term size id       ──▶
 *                                    ◀──   WANT offset (where it was cut off)  | HAVE | NO
 *     CHUNK offset checksum bytes    ──▶   written by a job
 *                                    ◀──   WANT offset (so much is written)
 *     ...                                  whole: synced, read back and verified block by block
 * while the new state is made of it, then renamed: only now ◀──   HAVE
 *
 * A few chunks are under way at most, so neither side's memory grows with the store. A connection
 * that breaks is opened again and the receiver says where to go on. One transfer per peer, one
 * received at a time; the file being sent is not removed meanwhile. Everything received is
 * untrusted: chunks have checksums, and the file its own.
 *
 * The receiver makes the new machine beside the old one, on the job's thread; changing over is then
 * a matter of a pointer, when raft says so (raft/snapshot.c). Disk, jobs, connections and time are
 * passed in. Loop thread only. */
#ifndef KVD_SERVER_TRANSFER_H
#define KVD_SERVER_TRANSFER_H

#include "server/checkpoint.h"

struct transfer;

enum { TRANSFER_FRAME_MAX = 300 << 10 };

/* Which side of the transfer the frame is from, or for: each pair of members has a connection in
 * each direction, opened by the one that sends. */
enum transfer_side { TRANSFER_SENDER, TRANSFER_RECEIVER };

struct transfer_options {
    void *ctx;
    struct disk disk;
    const char *dir;
    uint64_t cluster_id;
    uint64_t seed; /* of machines that are made */
    struct job_runner runner;
    struct checkpoints *checkpoints;
    uint64_t bytes_per_second; /* sent at most, to each; 0: no limit */
    uint64_t (*now_ms)(void *ctx);
    /* The connection to that peer is wanted, or not any more. transfer_on_connection() says when it
     * is there. */
    void (*open)(void *ctx, uint64_t peer);
    void (*close)(void *ctx, uint64_t peer);
    /* Hands a frame to the connection that we (TRANSFER_SENDER) or they opened; it may get lost
     * with the connection. */
    void (*send)(void *ctx, uint64_t peer, enum transfer_side from, struct slice frame);
    /* Sender: the peer has it; or does not, and here is why. It is over in both cases. */
    void (*on_held)(void *ctx, uint64_t peer, const struct replica_snapshot *snapshot,
                    uint64_t bytes, uint64_t duration_ms);
    void (*on_failed)(void *ctx, uint64_t peer, const char *why);
    /* Receiver: one has begun, or ended: well (code 0, and transfer_is_ready()), or not. */
    void (*on_receiving)(void *ctx, uint64_t peer);
    void (*on_received)(void *ctx, uint64_t peer, int code, const char *text, uint64_t bytes,
                        uint64_t duration_ms);
    /* What the state machine holds already. */
    uint64_t (*applied)(void *ctx);
};

struct transfer *transfer_new(const struct transfer_options *options);
/* No job of it is running any more. */
void transfer_free(struct transfer *transfer);
/* Something is under way: transfer_tick() is wanted every quarter of a second or so. */
bool transfer_busy(const struct transfer *transfer);
void transfer_tick(struct transfer *transfer);

/* Sender: that peer is to get the newest checkpoint, at index or above. on_held or on_failed
 * follows, once; harmless if it is on its way. */
void transfer_send(struct transfer *transfer, uint64_t peer, uint64_t index);
/* We do not lead any more: what is on its way ends, without callbacks. */
void transfer_stop_sending(struct transfer *transfer);

/* The connection that we opened to the peer is up, or down. */
void transfer_on_connection(struct transfer *transfer, uint64_t peer, bool up);
/* KV_EPROTO: malformed; the caller should drop the connection. */
int transfer_on_frame(struct transfer *transfer, uint64_t peer, enum transfer_side from,
                      struct slice frame, struct err *err);

/* Receiver: that checkpoint is here, durable, and a machine is made of it. */
bool transfer_is_ready(const struct transfer *transfer, uint64_t index, uint64_t term);
/* Whether one is, and which. */
bool transfer_ready(const struct transfer *transfer, uint64_t *index, uint64_t *term);
/* It is: the machine is the caller's now. */
struct machine *transfer_take(struct transfer *transfer);

#endif
