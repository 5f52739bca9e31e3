/* The machine's whole state to and from a checkpoint (docs/format/checkpoint.md). What is
 * replicated and must survive a restart is written and read here and nowhere else:
 * machine_save_small() and the reader beside it for everything but the keys, state_block_add() and
 * its reader for those.
 *
 * Saving can be done at once, or in pieces beside a running machine: machine_save_small() and
 * mvcc_history_begin() at one point in the log, then the changes in slices on the loop, their
 * encoding (state_block_add()) on another thread. */
#ifndef KVD_SERVER_STATE_H
#define KVD_SERVER_STATE_H

#include "base/buf.h"
#include "server/machine.h"
#include "snapshot/snapshot.h"

/* Kinds of blocks. */
enum state_kind { STATE_SMALL = 1, STATE_CHANGES = 2 };

/* Gives everything but the keys to emit, as payloads of STATE_SMALL blocks. Stops at the first
 * non-zero return, which is returned. */
typedef int (*state_emit)(void *ctx, struct slice payload, uint32_t items, struct err *err);
int machine_save_small(const struct machine *machine, state_emit emit, void *ctx, struct err *err);

/* The payload of a STATE_CHANGES block in the making. */
struct state_block {
    struct buf out;
    int64_t revision; /* of the last change */
    uint32_t items;
};

void state_block_init(struct state_block *block);
void state_block_release(struct state_block *block);
void state_block_reset(struct state_block *block);
/* False: it would not fit any more (a block has at least one). Any thread. */
bool state_block_add(struct state_block *block, const struct mvcc_change *change);

/* All of it in one go; the writer is to be committed by the caller. Offline: blocks, and pins the
 * keyspace meanwhile. */
int machine_save(const struct machine *machine, struct snapshot_writer *writer, struct err *err);

/* Makes a machine of the rest of a checkpoint, which is read to its end and so verified. Any
 * thread. KV_ECORRUPT: damage, or a state that contradicts itself; KV_EMISMATCH: blocks of a kind
 * that this version does not know. */
int machine_load(struct snapshot_reader *reader, uint64_t seed, struct machine **out,
                 struct err *err);

#endif
