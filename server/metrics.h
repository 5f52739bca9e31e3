/* Prometheus metrics with etcd's names and labels (etcd-http-cli.md section 4): those that this
 * member can fill truthfully. Counters are plain fields, written on the loop's thread. */
#ifndef KVD_SERVER_METRICS_H
#define KVD_SERVER_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/server.h"

struct member;

enum { METRICS_BUCKETS_MAX = 24 };

struct metrics_histogram {
    double first; /* seconds (of a TTL too); bucket n ends at first * 2^n */
    size_t buckets;
    uint64_t count[METRICS_BUCKETS_MAX + 1]; /* last: above all */
    double sum;
};

void metrics_observe(struct metrics_histogram *histogram, double seconds);

enum { METRICS_HANDLING_BUCKETS = 11 };

/* Durations of a method's calls, in the buckets that every Go program has. */
struct metrics_handling {
    uint64_t count[METRICS_HANDLING_BUCKETS + 1]; /* last: above all */
    double sum;                                   /* seconds */
};

void metrics_observe_handling(struct metrics_handling *handling, double seconds);

/* The single checks of /livez and /readyz, in the order in which they are made and listed. */
enum metrics_check_name {
    METRICS_LIVEZ_SERIALIZABLE_READ,
    METRICS_READYZ_NON_LEARNER,
    METRICS_READYZ_DATA_CORRUPTION,
    METRICS_READYZ_SERIALIZABLE_READ,
    METRICS_READYZ_LINEARIZABLE_READ,
    METRICS_CHECK_COUNT,
};

struct metrics_check {
    uint64_t success, error;
    bool ok; /* the last time */
};

/* "livez" or "readyz", and "serializable_read" and so on. */
const char *metrics_check_type(enum metrics_check_name check);
const char *metrics_check_text(enum metrics_check_name check);

enum { METRICS_PEERS_MAX = 16 };

/* Checkpoints to and from another member. */
struct metrics_snapshots {
    uint64_t sending, receiving; /* 1: one is on its way */
    uint64_t send_success, send_failures, receive_success, receive_failures;
    struct metrics_histogram send, receive;
};

/* A client's version is what it says: beyond so many different ones they are counted together. */
enum { METRICS_CLIENTS_MAX = 16, METRICS_VERSION_MAX = 31 };

struct metrics_client {
    char version[METRICS_VERSION_MAX + 1]; /* "": a free row, or the last one */
    uint64_t requests[2];                  /* unary, streams */
};

struct metrics {
    uint64_t leader_changes;
    uint64_t proposals_failed;
    uint64_t slow_applies;
    uint64_t slow_read_indexes, read_indexes_failed;
    uint64_t puts, deletes, ranges, txns;
    uint64_t leases_granted, leases_revoked;
    uint64_t client_received_bytes, client_sent_bytes;
    uint64_t wal_written_bytes;
    uint64_t health_success, health_failures;
    struct metrics_check checks[METRICS_CHECK_COUNT];
    struct metrics_client clients[METRICS_CLIENTS_MAX + 1]; /* last: all beyond */
    struct metrics_histogram lease_ttl, hash, hash_rev, range, range_failed;
    struct metrics_histogram wal_fsync, apply, backend_commit;
    /* Checkpoints written: the same, in the buckets of either name that etcd has for it. */
    struct metrics_histogram snapshot_save, snapshot_db_save;
    uint64_t snapshot_written_bytes;
    struct metrics_snapshots snapshots[METRICS_PEERS_MAX]; /* in the order of member_peer() */
    /* By method (index in the table given to metrics_init) and status. */
    const struct grpc_method *methods;
    size_t method_count;
    uint64_t *started, *received, *sent; /* [method] */
    uint64_t (*handled)[GRPC_STATUS_COUNT];
    struct metrics_handling *handling; /* [method]; NULL: not wanted */
    uint64_t scrapes;
};

/* extensive: how long calls take, by method. */
void metrics_init(struct metrics *metrics, const struct grpc_method *methods, size_t method_count,
                  bool extensive);
/* The nth other member has gone; those behind it move up. */
void metrics_forget_peer(struct metrics *metrics, size_t n);
/* version: what the client calls itself; data NULL if it does not. */
void metrics_count_request(struct metrics *metrics, bool stream, struct slice version);
void metrics_release(struct metrics *metrics);
/* Writes the text format 0.0.4. member may be NULL: what only it knows is left out. */
void metrics_print(const struct metrics *metrics, const struct member *member, struct buf *out);

#endif
