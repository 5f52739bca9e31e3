/* The few messages of etcd's API that the load needs (etcd-api.md section 3), written and read by
 * hand: a generator must cost less than what it measures. Writers append to a buffer that cannot
 * overflow (born with SIZE_MAX / 2). Nothing here is told about connections. */
#ifndef KVD_BENCH_WIRE_H
#define KVD_BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/slice.h"

/* ---- fields ---- */

void wire_number(struct buf *out, unsigned field, uint64_t value);
void wire_bytes(struct buf *out, unsigned field, struct slice bytes);
/* A message inside a message: what is appended between open and close is its content. */
size_t wire_open(struct buf *out, unsigned field);
void wire_close(struct buf *out, size_t opened);

struct wire_field {
    unsigned number;
    bool is_bytes;
    uint64_t value;     /* of a varint */
    struct slice bytes; /* lives as long as the message */
};

/* Next field of a message; false at its end or when it is no protobuf (then r->bad). Fixed-size
 * fields, which none of these messages have, count as bad. */
bool wire_next(struct reader *r, struct wire_field *out);

/* ---- requests ---- */

struct wire_range {
    struct slice key, end;
    uint64_t limit;
    int64_t revision;
    bool serializable, keys_only, count_only;
};

enum wire_compare { WIRE_EQUAL = 0, WIRE_GREATER = 1 };

void wire_put(struct buf *out, struct slice key, struct slice value, int64_t lease);
void wire_range(struct buf *out, const struct wire_range *range);
void wire_delete(struct buf *out, struct slice key);
/* Parts of a TxnRequest. */
void wire_txn_compare_mod(struct buf *out, struct slice key, enum wire_compare result,
                          int64_t revision);
enum wire_branch { WIRE_SUCCESS = 2, WIRE_FAILURE = 3 };
void wire_txn_put(struct buf *out, enum wire_branch branch, struct slice key, struct slice value,
                  int64_t lease);
void wire_txn_range(struct buf *out, enum wire_branch branch, struct slice key);
void wire_txn_delete(struct buf *out, enum wire_branch branch, struct slice key);

void wire_lease_grant(struct buf *out, int64_t ttl_s);
/* LeaseRevokeRequest, LeaseKeepAliveRequest. */
void wire_lease_id(struct buf *out, int64_t id);
/* AuthenticateRequest */
void wire_authenticate(struct buf *out, struct slice name, struct slice password);
/* WatchRequest{create_request}; end empty: one key. */
void wire_watch_create(struct buf *out, struct slice key, struct slice end, int64_t watch_id);

/* ---- answers: false if the bytes are no such message ---- */

struct wire_kv {
    struct slice key, value;
    int64_t mod_revision;
};

bool wire_read_kv(struct slice bytes, struct wire_kv *out);
/* header.revision of any answer that has a header; -1 without one. */
int64_t wire_read_revision(struct slice answer);

struct wire_range_answer {
    int64_t revision; /* -1: no header */
    uint64_t count, kvs;
    bool more;
    struct wire_kv first, last; /* of kvs */
    bool ordered;               /* keys ascend */
};

bool wire_read_range(struct slice answer, struct wire_range_answer *out);

struct wire_txn_answer {
    int64_t revision;
    bool succeeded;
    bool has_kv; /* of the first range answer */
    struct wire_kv kv;
};

bool wire_read_txn(struct slice answer, struct wire_txn_answer *out);

struct wire_lease_answer {
    int64_t id, ttl_s;
};

bool wire_read_lease(struct slice answer, struct wire_lease_answer *out);

/* The token of an AuthenticateResponse. */
bool wire_read_token(struct slice answer, struct slice *out);

struct wire_status {
    uint64_t member_id, leader;
    uint64_t db_bytes, db_bytes_in_use;
};

bool wire_read_status(struct slice answer, struct wire_status *out);

struct wire_watch_answer {
    int64_t watch_id, compact_revision;
    bool created, canceled;
    struct slice cancel_reason;
    struct reader events; /* for wire_next_event() */
};

struct wire_event {
    bool is_delete;
    struct wire_kv kv;
};

bool wire_read_watch(struct slice answer, struct wire_watch_answer *out);
/* false at the end, or with answer->events.bad. */
bool wire_next_event(struct wire_watch_answer *answer, struct wire_event *out);

#endif
