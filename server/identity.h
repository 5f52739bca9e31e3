/* Who a member is: ids as etcd computes them, and the file in the data dir that remembers them
 * (docs/format/identity.md). Start-up only; blocks. */
#ifndef KVD_SERVER_IDENTITY_H
#define KVD_SERVER_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/disk.h"
#include "base/err.h"
#include "base/slice.h"

/* First 8 bytes (big-endian) of SHA-1 over the peer URLs in sorted order and the token. */
uint64_t identity_member_id(char *const *peer_urls, size_t count, const char *token);
/* First 8 bytes (big-endian) of SHA-1 over the member ids in ascending order, 8 bytes each. */
uint64_t identity_cluster_id(const uint64_t *member_ids, size_t count);

struct identity {
    uint64_t cluster_id;
    uint64_t member_id;
    /* The log has been made: an empty one from now on means that it was lost, and with it the
     * member's votes. */
    bool log_begun;
    bool joined; /* added to a cluster that ran: what its first entry says comes from the others */
    /* What is stored of the state machine (checkpoints) is not what the others have: it has to come
     * from them. The log is good. */
    bool distrusted;
    char name[256]; /* for people; longer ones are cut */
};

/* The text of the file. */
int identity_encode(const struct identity *identity, struct buf *out);
/* KV_ECORRUPT: not such a file, or a bad checksum. */
int identity_decode(struct slice text, struct identity *out, struct err *err);

/* Reads data_dir/identity. KV_ENOTFOUND if there is none (*out untouched). */
int identity_read(struct disk disk, const char *data_dir, struct identity *out, struct err *err);
/* Replaces it: temporary file, sync, rename, sync of the folder. After a crash the file is the old
 * one or the new one. */
int identity_write(struct disk disk, const char *data_dir, const struct identity *identity,
                   struct err *err);

/* Decides whether this data dir may be used by that member (its ids from the configuration, or from
 * the file itself if the configuration may be older), and writes the identity of a new one. Has to
 * come before the log is touched. KV_EMISMATCH: another member's dir; KV_ECORRUPT: a part is
 * missing or damaged. wal_dir is where the log is or will be.
 */
int identity_claim(struct disk disk, const char *data_dir, const char *wal_dir,
                   const struct identity *self, struct err *err);
/* The log is there now. */
int identity_log_begun(struct disk disk, const char *data_dir, struct err *err);
/* Its state machine is not to be trusted, or is again. Durable when it returns. */
int identity_distrust(struct disk disk, const char *data_dir, bool distrusted, struct err *err);

#endif
