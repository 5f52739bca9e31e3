/* Connections between members: for every other member one outgoing connection for raft frames, and
 * the incoming ones that they open. Length-prefixed frames after a versioned hello with cluster id,
 * member id and protocol version; anything else is dropped with a reason. Reconnects by itself with
 * back-off. Loop thread only. */
#ifndef KVD_RAFT_PEERS_H
#define KVD_RAFT_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/slice.h"
#include "net/sock.h"

struct peers;

struct peer_config {
    uint64_t id;
    struct net_addr addr;
};

struct peers_options {
    uv_loop_t *loop;
    uint64_t cluster_id;
    uint64_t self;
    const struct net_addr *listen; /* where others reach us */
    size_t listen_count;
    const struct peer_config *peers; /* the others */
    size_t peer_count;
    uint64_t seed; /* of back-off jitter */
    void *ctx;
    /* A frame; non-zero return drops that connection. Frames of an older connection of the same
     * peer are never delivered after frames of a newer one (guard G16). */
    int (*on_frame)(void *ctx, uint64_t from, struct slice frame, struct err *err);
    /* First connection to or from the peer came up; last one went down. */
    void (*on_peer)(void *ctx, uint64_t id, bool up);
    /* For the log: wrong cluster, version, unknown member, malformed frame. May be NULL. */
    void (*on_trouble)(void *ctx, uint64_t id, const char *text);
};

struct peer_stats {
    bool connected;
    uint64_t sent_bytes, received_bytes;
    uint64_t sent_failures; /* frames dropped: not connected or queue full */
    uint64_t round_trip_us; /* last measured by our own ping on the connection; 0: never */
};

/* KV_EBUSY: a listen port is taken. */
int peers_new(const struct peers_options *options, struct peers **out, struct err *err);
/* Queues a copy; dropped if not connected or if the queue is full. Sent by peers_flush(). */
void peers_send(struct peers *peers, uint64_t to, struct slice frame);
void peers_flush(struct peers *peers);
size_t peers_queued(const struct peers *peers, uint64_t to);
bool peers_stats(const struct peers *peers, uint64_t id, struct peer_stats *out);
void peers_close(struct peers *peers, void (*cb)(void *ctx), void *ctx);

#endif
