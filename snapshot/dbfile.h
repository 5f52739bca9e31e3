/* etcd's database file, which is a bbolt file: what its writer (dbfile_write.h) and its reader
 * (dbfile_read.h) share. A snapshot is such a file and the SHA-256 of all its bytes behind it.
 * Integers in the container are little-endian, as on every machine that etcd supports. */
#ifndef KVD_SNAPSHOT_DBFILE_H
#define KVD_SNAPSHOT_DBFILE_H

#include <stdint.h>

#include "base/slice.h"

enum {
    DBFILE_PAGE_SIZE = 4096, /* of files we write */
    DBFILE_DIGEST_SIZE = 32, /* of a snapshot: SHA-256 */
    /* A bbolt file is made of whole pages: more than a multiple of this is a digest. */
    DBFILE_SECTOR_SIZE = 512,
    DBFILE_KEY_SIZE_MAX = 32768,
    DBFILE_META_COUNT = 2,
};
#define DBFILE_VALUE_SIZE_MAX (INT32_MAX - 1)

/* The buckets of etcd, in the order of their names, which is the order in the file. */
#define DBFILE_BUCKET_MAP(X)                                                                       \
    X(ALARM, "alarm")                                                                              \
    X(AUTH, "auth")                                                                                \
    X(AUTH_ROLES, "authRoles")                                                                     \
    X(AUTH_USERS, "authUsers")                                                                     \
    X(CLUSTER, "cluster")                                                                          \
    X(KEY, "key")                                                                                  \
    X(LEASE, "lease")                                                                              \
    X(MEMBERS, "members")                                                                          \
    X(MEMBERS_REMOVED, "members_removed")                                                          \
    X(META, "meta")

enum dbfile_bucket {
#define X(name, text) DBFILE_##name,
    DBFILE_BUCKET_MAP(X)
#undef X
        DBFILE_BUCKET_COUNT
};

/* The bucket of that name; DBFILE_BUCKET_COUNT: not one of etcd's. */
enum dbfile_bucket dbfile_bucket_named(struct slice name);
const char *dbfile_bucket_name(enum dbfile_bucket bucket);

/* ---- inside snapshot/ ---- */

enum {
    DBFILE__PAGE_HEADER = 16, /* id u64, flags u16, count u16, overflow u32 */
    DBFILE__ELEMENT = 16,  /* leaf: flags, pos, key size, value size; branch: pos, key size, id */
    DBFILE__BRANCH = 0x01, /* page flags, exactly one */
    DBFILE__LEAF = 0x02,
    DBFILE__META = 0x04,
    DBFILE__FREELIST = 0x10,
    DBFILE__IS_BUCKET = 0x01, /* element flag: the value is a bucket */
    DBFILE__BUCKET_SIZE = 16, /* root page u64, sequence u64 */

    DBFILE__META_SIZE = 64, /* behind the page header: */
    DBFILE__META_MAGIC = 0,
    DBFILE__META_VERSION = 4,
    DBFILE__META_PAGE_SIZE = 8,
    DBFILE__META_ROOT = 16,
    DBFILE__META_FREELIST = 32,
    DBFILE__META_PAGES = 40,
    DBFILE__META_TXID = 48,
    DBFILE__META_CHECKSUM = 56, /* of what is before it */

    DBFILE__VERSION = 2,
};
#define DBFILE__MAGIC UINT32_C(0xED0CDAED)
#define DBFILE__NO_FREELIST UINT64_MAX

/* FNV-1a, 64 bits, over the meta up to its checksum. */
uint64_t dbfile__meta_checksum(const uint8_t *meta);

#endif
