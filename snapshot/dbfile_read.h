/* Reads etcd's database file, from etcd or from us, whole or refused: every page that is reached is
 * checked, and so is that no page is reached twice or left out. Whatever the bytes are, the answer
 * is what is in the file or a KV_ECORRUPT that names the place; memory is bounded by the depth of
 * the trees and the largest page, which the file holds. Nothing is ever written.
 *
 * Blocks on the disk; any thread, one at a time per file. */
#ifndef KVD_SNAPSHOT_DBFILE_READ_H
#define KVD_SNAPSHOT_DBFILE_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/disk.h"
#include "base/err.h"
#include "base/slice.h"
#include "snapshot/dbfile.h"

struct dbfile;

/* Takes plain files and snapshots (with their digest), of any page size. KV_ENOTFOUND, KV_EIO;
 * KV_ECORRUPT: no such file, or neither of its two heads is intact; KV_EMISMATCH: intact, but of a
 * kind that is not known here. On failure *out is untouched. */
int dbfile_open(struct disk disk, const char *path, struct dbfile **out, struct err *err);
/* Accepts NULL. */
void dbfile_close(struct dbfile *file);

/* Of the database: whole pages, without digest or what is preallocated. */
uint64_t dbfile_size(const struct dbfile *file);
uint32_t dbfile_page_size(const struct dbfile *file);
bool dbfile_has_digest(const struct dbfile *file);

/* Called now and then with bytes done and to be done; may be NULL. */
typedef void (*dbfile_progress)(void *ctx, uint64_t done, uint64_t total);
/* Compares the digest with the bytes before it. 0: they agree. KV_ECORRUPT: they do not, in etcd's
 * words. KV_ENOTFOUND: the file has none. */
int dbfile_check_digest(struct dbfile *file, dbfile_progress progress, void *ctx, struct err *err);

/* What is in the file, buckets by name and items by key, ascending. A non-zero return ends the walk
 * and is its result; err is then the visitor's to fill. Slices are valid until return. */
struct dbfile_visitor {
    int (*bucket)(void *ctx, struct slice name); /* its items follow; may be NULL */
    int (*item)(void *ctx, struct slice key, struct slice value);
    void *ctx;
};

/* KV_ECORRUPT: the file is damaged; err says where and how. */
int dbfile_walk(struct dbfile *file, const struct dbfile_visitor *visitor, struct err *err);

#endif
