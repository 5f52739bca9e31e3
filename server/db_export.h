/* The machine's state as a database file of etcd: which buckets, which items. Knows the machine and
 * the format; who sends it where is snapshots.h's. Loop thread only.
 *
 * What is small (members, leases, alarms, marks) is copied at the start; keys are read from the
 * keyspace, which is pinned meanwhile, in slices, twice: see dbfile_write.h. Writes may go on. */
#ifndef KVD_SERVER_DB_EXPORT_H
#define KVD_SERVER_DB_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "server/machine.h"

struct db_export;

/* index and term: of the last entry that was applied. */
struct db_export *db_export_new(const struct machine *machine, uint64_t index, uint64_t term);
/* At any point; unpins. Accepts NULL. */
void db_export_free(struct db_export *export);

/* Goes on by at most that many items, or until out has enough bytes (second pass). True: the pass
 * is over. */
bool db_export_step(struct db_export *export, size_t items, size_t enough);
/* Between the passes: returns the size of the file. From here on its bytes are appended to out,
 * which the caller may empty and must not bound. */
uint64_t db_export_begin(struct db_export *export, struct buf *out);
/* At what it was taken. */
int64_t db_export_revision(const struct db_export *export);

#endif
