/* The log thread: runs the flushes of one wal (write + fdatasync), one after the other. While one
 * is running, appends collect; the next flush takes them all (group commit). */
#ifndef KVD_WAL_WRITER_H
#define KVD_WAL_WRITER_H

#include <stdint.h>
#include <uv.h>

#include "wal/wal.h"

struct wal_writer;

/* On the loop's thread: everything up to seq is durable (status 0), or the log failed for good (a
 * KV_E... code, err explains; nothing is reported after that). */
typedef void (*wal_durable_cb)(void *ctx, int status, uint64_t seq, const struct err *err);

/* wal stays the caller's and must outlive the writer; all calls on the loop's thread. From the
 * first kick until it is closed nobody else may flush the wal. */
int wal_writer_start(uv_loop_t *loop, struct wal *wal, wal_durable_cb on_durable, void *ctx,
                     struct wal_writer **out, struct err *err);
/* Starts a flush if records are pending and none is running; cheap otherwise. */
void wal_writer_kick(struct wal_writer *writer);
/* A flush is with the thread. */
bool wal_writer_is_busy(const struct wal_writer *writer);
/* Observes each flush: microseconds that write + fdatasync took, and bytes. May be NULL. */
typedef void (*wal_flushed_cb)(void *ctx, uint64_t duration_us, uint64_t bytes);
void wal_writer_observe(struct wal_writer *writer, wal_flushed_cb on_flushed, void *ctx);
/* Waits for the running flush, writes what is pending, ends the thread, then calls cb once from the
 * loop; the memory is gone after cb. */
typedef void (*wal_writer_close_cb)(void *ctx);
void wal_writer_close(struct wal_writer *writer, wal_writer_close_cb cb, void *ctx);

#endif
