/* Writes etcd's database file as a stream: no temporary file, no going back, and no memory but one
 * page per level of a tree and the largest item. All items pass twice: the first time only their
 * lengths count, which gives the layout and the size of the file; the second time pages come out in
 * order. Both passes must be the same, or we have made a mistake and the process ends.
 *
 * Knows nothing of what is in the buckets. Does no I/O: bytes go to a buf that the caller empties
 * as it likes. Any thread, one at a time. */
#ifndef KVD_SNAPSHOT_DBFILE_WRITE_H
#define KVD_SNAPSHOT_DBFILE_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "snapshot/dbfile.h"

struct dbfile_writer;

struct dbfile_writer *dbfile_writer_new(void);
/* Accepts NULL. */
void dbfile_writer_free(struct dbfile_writer *writer);

/* In each pass, for each bucket in ascending order of names (a static string): this, then its items
 * in strictly ascending order of keys. */
void dbfile_writer_bucket(struct dbfile_writer *writer, const char *name);
/* The next item. First pass: key.data is not looked at, returns NULL. Second pass: returns the
 * place for value_len bytes, to be filled before the next call; out may have grown. key has 1 to
 * DBFILE_KEY_SIZE_MAX bytes, the value at most DBFILE_VALUE_SIZE_MAX. */
uint8_t *dbfile_writer_add(struct dbfile_writer *writer, struct slice key, size_t value_len);

/* Ends the first pass: returns the size of the file. From now on bytes are appended to out
 * (borrowed until the end; its limit must not be met). */
uint64_t dbfile_writer_begin(struct dbfile_writer *writer, struct buf *out);
/* Ends the second pass: the rest of the file is in out. */
void dbfile_writer_end(struct dbfile_writer *writer);

#endif
