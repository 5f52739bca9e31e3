/* What etcd refuses before it proposes or reads, in its order and with its texts (etcd-api.md 5.1
 * to 5.5). Pure functions over unpacked requests; any thread. */
#ifndef KVD_SERVER_VALIDATE_H
#define KVD_SERVER_VALIDATE_H

#include <stdbool.h>

#include "base/arena.h"
#include "proto/rpc.pb-c.h"
#include "server/status.h"

enum status validate_range(const Etcdserverpb__RangeRequest *request);
/* RangeStream gives keys in their order only, and all of them. */
enum status validate_range_stream(const Etcdserverpb__RangeRequest *request);
enum status validate_put(const Etcdserverpb__PutRequest *request);
enum status validate_delete(const Etcdserverpb__DeleteRangeRequest *request);
/* ops_max: --max-txn-ops. The arena takes what the overlap check needs. */
enum status validate_txn(const Etcdserverpb__TxnRequest *request, size_t ops_max,
                         struct arena *arena);

/* Every operation of both branches is a range: no raft entry (a nested txn makes it a write). */
bool txn_is_read_only(const Etcdserverpb__TxnRequest *request);
/* All ranges of both branches are serializable: no read index either. True without any. */
bool txn_is_serializable(const Etcdserverpb__TxnRequest *request);

/* --- the overlap check, in validate_txn.c --- */

/* Whether a branch changes one key twice: two puts of a key, or a put of a key inside a deleted
 * range, nested txns included. */
bool validate__branch_overlaps(Etcdserverpb__RequestOp *const *ops, size_t len,
                               struct arena *arena);

#endif
