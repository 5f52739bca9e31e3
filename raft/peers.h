/* Connections between members: for every other member one outgoing connection for raft frames, and
 * the incoming ones that they open. Length-prefixed frames after a versioned hello with cluster id,
 * member id and protocol version; anything else is dropped with a reason. Reconnects by itself with
 * back-off. A second connection carries what is long, on demand, so that frames never wait behind
 * it. Loop thread only. */
#ifndef KVD_RAFT_PEERS_H
#define KVD_RAFT_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "net/sock.h"

struct peers;

enum { PEER_FRAME_MAX = 24 * 1024 * 1024, PEER_ANSWER_MAX = 256 };

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
    /* For addresses that want TLS: what we show to who comes, and to whom we go. References are
     * taken. */
    struct net_tls *tls_accept, *tls_connect;
    /* Who comes must show a certificate for the address it comes from, or for the one that it is
     * known by, unless it names none at all (etcd: --peer-skip-client-san-verification is off). */
    bool check_peer_host;
    const struct peer_config *peers; /* the others */
    size_t peer_count;
    uint64_t seed;             /* of back-off jitter */
    uint32_t ping_interval_ms; /* 0: 1000 */
    uint32_t dead_after_ms;    /* without a byte from the other side; 0: 3000 */
    size_t queue_max;          /* bytes waiting per peer; 0: 64 MiB */
    void *ctx;
    /* A frame; non-zero return drops that connection. Frames of an older connection of the same
     * peer are never delivered after frames of a newer one (guard G16). */
    int (*on_frame)(void *ctx, uint64_t from, struct slice frame, struct err *err);
    /* Bulk: a frame, on a connection that we opened (then it is an answer) or they; as on_frame.
     * The one we opened came up, or went down and is tried again. Either may be NULL. */
    int (*on_bulk)(void *ctx, uint64_t from, bool ours, struct slice frame, struct err *err);
    void (*on_bulk_up)(void *ctx, uint64_t id, bool up);
    /* First connection to or from the peer came up; last one went down. */
    void (*on_peer)(void *ctx, uint64_t id, bool up);
    /* Whether that id, which is none of the peers, was a member once: it is told so when it comes.
     * May be NULL: no. */
    bool (*is_removed)(void *ctx, uint64_t id);
    /* One that is none of the peers, nor was removed, but says that it is of our cluster, and where
     * it listens: we may be behind and not know of it yet. It is refused, and tries again; it is
     * for peers_set() to let it in. Not from inside: later. May be NULL. */
    void (*on_stranger)(void *ctx, uint64_t id, const struct net_addr *addr);
    /* A peer says that we were removed from the cluster. May be NULL. */
    void (*on_removed)(void *ctx);
    /* That peer, which is not connected, says that its disk has lost what it had acknowledged, and
     * that it will not come back as what it was. Asked again and again. Not from inside: later. May
     * be NULL. */
    void (*on_lost)(void *ctx, uint64_t id);
    /* Appends who the members are, for one that asks before it joins (raft/hello.h). May be NULL:
     * nobody is told. */
    void (*describe)(void *ctx, struct buf *out);
    /* For the log: not reachable, wrong cluster, version, unknown member (id 0 if it did not say
     * who it is), malformed frame. The same trouble is told again only after a while or after the
     * peer was up. May be NULL. */
    void (*on_trouble)(void *ctx, uint64_t id, const char *text);
};

enum {
    PEER_ROUND_TRIP_FIRST_US = 100, /* the first bucket ends there, each next one at the double */
    PEER_ROUND_TRIP_BUCKETS = 16,
};

struct peer_stats {
    bool connected;
    uint64_t sent_bytes, received_bytes;
    uint64_t sent_failures;     /* frames dropped: not connected or queue full */
    uint64_t received_failures; /* connections that broke, or were dropped for what came on them */
    uint64_t round_trip_us;     /* last measured by our own ping on the connection; 0: never */
    uint64_t round_trips[PEER_ROUND_TRIP_BUCKETS + 1]; /* all of them; last: longer */
    uint64_t round_trip_sum_us;
};

/* KV_EBUSY: a listen port is taken. Arrays of options are copied. peers_close() may be called from
 * any callback, peers_send() and peers_flush() too. */
int peers_new(const struct peers_options *options, struct peers **out, struct err *err);
/* From now on these are the others: connections to and from those that are not among them end, to
 * those whose address is another one are made anew. The array is copied. As peers_close(). */
void peers_set(struct peers *peers, const struct peer_config *others, size_t count);
/* Queues a copy of at most PEER_FRAME_MAX bytes; dropped if not connected or if the queue is full.
 * Sent by peers_flush(), one write per peer. */
void peers_send(struct peers *peers, uint64_t to, struct slice frame);
void peers_flush(struct peers *peers);

/* The bulk connection to that peer is wanted, until closed; it is opened again when it breaks. */
void peers_bulk_open(struct peers *peers, uint64_t to);
void peers_bulk_close(struct peers *peers, uint64_t to);
/* As peers_send(), on the connection that we opened; on theirs, at once, PEER_ANSWER_MAX at most.
 * Lost if it is not up. */
void peers_bulk_send(struct peers *peers, uint64_t to, struct slice frame);
void peers_bulk_answer(struct peers *peers, uint64_t to, struct slice frame);

size_t peers_queued(const struct peers *peers, uint64_t to);
bool peers_stats(const struct peers *peers, uint64_t id, struct peer_stats *out);
/* Port of the nth listener. */
uint16_t peers_port(const struct peers *peers, size_t n);
/* No callback fires after the call but cb (may be NULL). */
void peers_close(struct peers *peers, void (*cb)(void *ctx), void *ctx);

#endif
