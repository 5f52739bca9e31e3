/* Members in one process: real replicas on real wals on disks in memory, a network of one list of
 * frames, a clock that only the test moves. What a test does not do does not happen.
 *
 * A member that is not open is played by the test: frames to it stay in the list to be looked at,
 * and frames from it are made with wire_encode(). Header only. */
#ifndef KVD_TESTS_RAFT_CLUSTER_H
#define KVD_TESTS_RAFT_CLUSTER_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/codec.h"
#include "base/mem.h"
#include "raft/guards.h"
#include "raft/internal.h"
#include "tests/lib/memdisk.h"

enum { NODES_MAX = 5, VALUES_MAX = 4096, ELECTION = 1000, HEARTBEAT = 100, LARGE = 64 << 10 };

struct cluster;

/* A state and what stands for it, as a file would hold it. */
struct checkpoint {
    struct replica_snapshot meta; /* index 0: none; its configuration is in conf */
    uint8_t conf[1024];
    uint64_t values[VALUES_MAX];
    size_t value_count, large_count;
};

struct node {
    struct cluster *cluster;
    uint64_t id; /* 1 .. */
    struct memdisk *disk;
    struct wal *wal; /* NULL: not open */
    struct replica *replica;
    uint64_t timer_ms; /* 0: not armed */
    bool woken, flush_wanted;
    bool disk_hangs;    /* flushes are not run */
    bool hold, alone;   /* of its next start */
    size_t send_queued; /* what env.send_queued says */
    enum replica_role role;
    uint64_t term, leader;
    unsigned leaderships;        /* times it became leader */
    struct err fatal;            /* code 0: well */
    uint64_t applied;            /* entries, in this life */
    uint64_t values[VALUES_MAX]; /* commands in the order applied, in this life */
    size_t value_count;
    size_t large_count;                 /* commands of more than LARGE bytes, not in values */
    struct checkpoint *durable;         /* what a restart begins with */
    struct checkpoint *writing;         /* the one being written */
    struct checkpoint *received;        /* has_snapshot says yes to it */
    unsigned losses;                    /* calls of on_lost */
    unsigned orders;                    /* calls of send_snapshot */
    uint64_t ordered_to, ordered_index; /* the last one */
};

struct frame {
    struct list link;
    uint64_t from, to;
    size_t len;
    uint8_t bytes[];
};

struct proposal {
    struct replica_proposal base;
    struct list link; /* of all that are not applied */
    uint8_t bytes[8];
    struct node *node;
};

struct cluster {
    struct node nodes[NODES_MAX];
    size_t count;
    size_t founders; /* the first of them make a new cluster, the others join; 0: all */
    uint64_t now_ms;
    uint64_t seed;
    bool no_pre_vote;
    unsigned guards_off;
    size_t cache_bytes;
    uint64_t reserve_bytes;
    struct list frames;                     /* sent, not yet delivered, oldest first */
    bool cut[NODES_MAX + 1][NODES_MAX + 1]; /* [from][to]: lost instead of delivered */
    /* True: this frame is lost. NULL: none is. */
    bool (*lose)(struct cluster *cluster, const struct frame *frame);
    void *ctx; /* of lose */
    struct list proposals;
    struct {
        uint64_t term, hash;
    } log[VALUES_MAX]; /* what the first member applied there (invariant I7) */
    uint64_t next_value;
    unsigned leaders_in_term[256]; /* id of who led it (invariant I7) */
};

/* ---- env ---- */

static inline uint64_t on_now(void *ctx)
{
    return ((struct node *)ctx)->cluster->now_ms;
}

static inline void on_arm(void *ctx, uint64_t at_ms)
{
    ((struct node *)ctx)->timer_ms = at_ms;
}

static inline void on_wake(void *ctx)
{
    ((struct node *)ctx)->woken = true;
}

static inline void on_flush(void *ctx)
{
    ((struct node *)ctx)->flush_wanted = true;
}

static inline void put_frame(struct cluster *cluster, uint64_t from, uint64_t to,
                             struct slice bytes)
{
    struct frame *frame = xmalloc(sizeof(*frame) + bytes.len);

    frame->from = from;
    frame->to = to;
    frame->len = bytes.len;
    memcpy(frame->bytes, bytes.data, bytes.len);
    list_push_back(&cluster->frames, &frame->link);
}

static inline void on_send(void *ctx, uint64_t to, struct slice bytes)
{
    struct node *node = ctx;

    put_frame(node->cluster, node->id, to, bytes);
}

static inline size_t on_queued(void *ctx, uint64_t to)
{
    (void)to;
    return ((struct node *)ctx)->send_queued;
}

static inline void end_proposal(struct node *node, const uint8_t *bytes)
{
    LIST_EACH_SAFE (at, &node->cluster->proposals) {
        struct proposal *proposal = LIST_ENTRY(at, struct proposal, link);

        if (proposal->node != node || memcmp(proposal->bytes, bytes, 8) != 0)
            continue;
        replica_forget(node->replica, &proposal->base);
        list_remove(&proposal->link);
    }
}

/* Every member applies the same at the same place. */
static inline void on_apply(void *ctx, const struct replica_entry *entry)
{
    struct node *node = ctx;
    struct cluster *cluster = node->cluster;
    uint64_t hash = 1469598103934665603u;

    assert_int_equal(entry->index, node->applied + 1);
    assert_true(entry->index < VALUES_MAX);
    node->applied = entry->index;
    for (size_t i = 0; i < entry->commands.len; i++)
        hash = (hash ^ entry->commands.data[i]) * 1099511628211u;
    if (cluster->log[entry->index].term == 0) {
        cluster->log[entry->index].term = entry->term;
        cluster->log[entry->index].hash = hash;
    }
    assert_int_equal(cluster->log[entry->index].term, entry->term);
    assert_int_equal(cluster->log[entry->index].hash, hash);
    if (entry->commands.len > LARGE) {
        node->large_count++;
        end_proposal(node, entry->commands.data);
        return;
    }
    for (size_t at = 0; at + 8 <= entry->commands.len; at += 8) {
        assert_true(node->value_count < VALUES_MAX);
        node->values[node->value_count++] = get_le64(entry->commands.data + at);
        end_proposal(node, entry->commands.data + at);
    }
}

static inline void on_role(void *ctx, enum replica_role role, uint64_t term, uint64_t leader)
{
    struct node *node = ctx;
    unsigned *led = &node->cluster->leaders_in_term[term % 256];

    if (role == REPLICA_LEADER && (node->role != REPLICA_LEADER || node->term != term)) {
        node->leaderships++;
        if (node->cluster->guards_off == 0)
            assert_true(*led == 0 || *led == node->id);
        *led = (unsigned)node->id;
    }
    node->role = role;
    node->term = term;
    node->leader = leader;
}

static inline void on_fatal(void *ctx, const struct err *err)
{
    ((struct node *)ctx)->fatal = *err;
}

/* ---- checkpoints ---- */

static inline void on_send_snapshot(void *ctx, uint64_t to, uint64_t index)
{
    struct node *node = ctx;

    node->orders++;
    node->ordered_to = to;
    node->ordered_index = index;
}

static inline void on_lost(void *ctx, uint64_t id, uint64_t last, uint64_t match)
{
    struct node *node = ctx;

    assert_int_not_equal(id, node->id);
    assert_true(last < match);
    node->losses++;
}

static inline bool on_has_snapshot(void *ctx, uint64_t index, uint64_t term)
{
    const struct checkpoint *received = ((struct node *)ctx)->received;

    return received->meta.index == index && received->meta.term == term;
}

static inline void load_checkpoint(struct node *node, const struct checkpoint *from)
{
    node->applied = from->meta.index;
    node->value_count = from->value_count;
    node->large_count = from->large_count;
    memcpy(node->values, from->values, sizeof(node->values));
}

static inline void copy_checkpoint(struct checkpoint *to, const struct checkpoint *from)
{
    *to = *from;
    to->meta.configuration.data = to->conf;
}

static inline void on_install(void *ctx, uint64_t index, uint64_t term)
{
    struct node *node = ctx;

    assert_true(on_has_snapshot(node, index, term));
    assert_true(index > node->applied);
    load_checkpoint(node, node->received);
}

static inline bool checkpoint_begin(struct node *node)
{
    struct checkpoint *out = node->writing;
    struct replica_snapshot meta;

    if (!replica_checkpoint_begin(node->replica, &meta))
        return false;
    assert_int_equal(meta.index, node->applied);
    assert_true(meta.configuration.len <= sizeof(out->conf));
    out->meta = meta;
    memcpy(out->conf, meta.configuration.data, meta.configuration.len);
    out->meta.configuration.data = out->conf;
    memcpy(out->values, node->values, sizeof(out->values));
    out->value_count = node->value_count;
    out->large_count = node->large_count;
    return true;
}

static inline void checkpoint_end(struct node *node)
{
    if (node->writing->meta.index > node->durable->meta.index)
        copy_checkpoint(node->durable, node->writing);
    replica_checkpoint_done(node->replica, &node->writing->meta, 0);
}

static inline void take_checkpoint(struct node *node)
{
    assert_true(checkpoint_begin(node));
    checkpoint_end(node);
}

/* The file has gone from one to the other, and is durable there. */
static inline void carry_checkpoint(struct node *from, struct node *to)
{
    copy_checkpoint(to->received, from->durable);
    if (to->received->meta.index > to->durable->meta.index)
        copy_checkpoint(to->durable, to->received);
    replica_snapshot_held(from->replica, to->id, &from->durable->meta);
}

/* ---- life ---- */

static inline void node_open_wal(struct node *node)
{
    struct wal_options options = {.disk = memdisk_disk(node->disk),
                                  .dir = "/wal",
                                  .cluster_id = 7,
                                  .member_id = node->id,
                                  .segment_size = 64 << 10};
    struct err err = ERR_INIT;

    if (wal_open(&options, &node->wal, &err) != 0)
        fail_msg("wal of %" PRIu64 ": %s", node->id, err.text);
}

static inline int node_try_open(struct node *node, struct err *err)
{
    struct cluster *cluster = node->cluster;
    static const uint64_t ids[NODES_MAX] = {1, 2, 3, 4, 5};
    struct replica_options options = {
        .id = node->id,
        .voters = ids,
        .voter_count = cluster->founders == 0          ? cluster->count
                       : node->id <= cluster->founders ? cluster->founders
                                                       : 0,
        .env = {.ctx = node,
                .now_ms = on_now,
                .arm_timer = on_arm,
                .wake = on_wake,
                .flush_wal = on_flush,
                .send = on_send,
                .send_queued = on_queued,
                .apply = on_apply,
                .on_role = on_role,
                .on_lost = on_lost,
                .send_snapshot = on_send_snapshot,
                .has_snapshot = on_has_snapshot,
                .install = on_install,
                .fatal = on_fatal},
        .seed = cluster->seed * 100 + node->id,
        .heartbeat_ms = HEARTBEAT,
        .election_ms = ELECTION,
        .no_pre_vote = cluster->no_pre_vote,
        .cache_bytes = cluster->cache_bytes,
        .guards_off = cluster->guards_off,
        .reserve_bytes = cluster->reserve_bytes,
        .hold = node->hold,
        .alone = node->alone,
    };

    if (node->wal == NULL)
        node_open_wal(node);
    options.wal = node->wal;
    node->role = REPLICA_FOLLOWER;
    node->term = node->leader = 0;
    node->applied = 0;
    node->value_count = node->large_count = 0;
    memset(node->received, 0, sizeof(*node->received));
    if (node->durable->meta.index != 0) {
        options.snapshot = &node->durable->meta;
        load_checkpoint(node, node->durable);
    }
    node->timer_ms = 0;
    node->woken = node->flush_wanted = node->disk_hangs = false;
    memset(&node->fatal, 0, sizeof(node->fatal));
    return replica_open(&options, &node->replica, err);
}

static inline struct node *node_of(struct cluster *cluster, uint64_t id)
{
    return &cluster->nodes[id - 1];
}

static inline void connect_all(struct cluster *cluster, uint64_t id)
{
    for (uint64_t other = 1; other <= cluster->count; other++) {
        if (other == id)
            continue;
        replica_on_peer(node_of(cluster, id)->replica, other, true);
        if (node_of(cluster, other)->replica != NULL)
            replica_on_peer(node_of(cluster, other)->replica, id, true);
    }
}

static inline void node_open(struct cluster *cluster, uint64_t id)
{
    struct err err = ERR_INIT;

    if (node_try_open(node_of(cluster, id), &err) != 0)
        fail_msg("member %" PRIu64 ": %s", id, err.text);
    connect_all(cluster, id);
}

static inline void drop_frames(struct cluster *cluster, uint64_t from, uint64_t to)
{
    LIST_EACH_SAFE (at, &cluster->frames) {
        struct frame *frame = LIST_ENTRY(at, struct frame, link);

        if ((from != 0 && frame->from != from) || (to != 0 && frame->to != to))
            continue;
        list_remove(at);
        free(frame);
    }
}

/* The process ends: what its wal did not sync is gone, and so is what it had sent or was sent. The
 * others notice only if told by close_connections(). */
static inline void node_crash(struct cluster *cluster, uint64_t id)
{
    struct node *node = node_of(cluster, id);

    LIST_EACH_SAFE (at, &cluster->proposals) {
        struct proposal *proposal = LIST_ENTRY(at, struct proposal, link);

        if (proposal->node == node)
            list_remove(at);
    }
    replica_close(node->replica);
    wal_close(node->wal);
    node->replica = NULL;
    node->wal = NULL;
    node->timer_ms = 0;
    node->woken = node->flush_wanted = false;
    memdisk_crash_to_synced(node->disk);
    drop_frames(cluster, id, 0);
    drop_frames(cluster, 0, id);
}

static inline void close_connections(struct cluster *cluster, uint64_t id)
{
    for (uint64_t other = 1; other <= cluster->count; other++)
        if (other != id && node_of(cluster, other)->replica != NULL)
            replica_on_peer(node_of(cluster, other)->replica, id, false);
}

static inline struct cluster *cluster_new(size_t count, uint64_t seed)
{
    struct cluster *cluster = xcalloc(1, sizeof(*cluster));

    cluster->count = count;
    cluster->seed = seed;
    cluster->now_ms = 1000000;
    list_init(&cluster->frames);
    list_init(&cluster->proposals);
    for (size_t i = 0; i < count; i++) {
        cluster->nodes[i].cluster = cluster;
        cluster->nodes[i].id = i + 1;
        cluster->nodes[i].disk = memdisk_new(seed + i);
        cluster->nodes[i].durable = xcalloc(1, sizeof(struct checkpoint));
        cluster->nodes[i].writing = xcalloc(1, sizeof(struct checkpoint));
        cluster->nodes[i].received = xcalloc(1, sizeof(struct checkpoint));
    }
    return cluster;
}

static inline struct cluster *cluster_start(size_t count, uint64_t seed)
{
    struct cluster *cluster = cluster_new(count, seed);

    for (uint64_t id = 1; id <= count; id++)
        node_open(cluster, id);
    return cluster;
}

static inline void cluster_free(struct cluster *cluster)
{
    for (uint64_t id = 1; id <= cluster->count; id++) {
        struct node *node = node_of(cluster, id);

        replica_close(node->replica);
        wal_close(node->wal);
        memdisk_free(node->disk);
        free(node->durable);
        free(node->writing);
        free(node->received);
    }
    drop_frames(cluster, 0, 0);
    free(cluster);
}

/* ---- what moves ---- */

static inline void node_flush(struct node *node)
{
    struct wal_flush *flush = wal_flush_begin(node->wal);
    struct err err = ERR_INIT;

    node->flush_wanted = false;
    if (flush == NULL)
        return;
    if (wal_flush_run(flush, &err) != 0)
        fail_msg("flush: %s", err.text);
    replica_on_durable(node->replica, wal_flush_end(node->wal, flush));
}

static inline bool node_work(struct node *node)
{
    if (node->replica == NULL)
        return false;
    if (node->woken) {
        node->woken = false;
        replica_turn(node->replica);
        return true;
    }
    if (node->flush_wanted && !node->disk_hangs) {
        node_flush(node);
        return true;
    }
    return false;
}

static inline void deliver(struct cluster *cluster, struct frame *frame)
{
    struct node *to = node_of(cluster, frame->to);
    struct err err = ERR_INIT;

    list_remove(&frame->link);
    if (!cluster->cut[frame->from][frame->to] &&
        (cluster->lose == NULL || !cluster->lose(cluster, frame)) &&
        replica_on_frame(to->replica, frame->from, slice_of(frame->bytes, frame->len), &err) != 0)
        fail_msg("frame refused: %s", err.text);
    free(frame);
}

static inline bool deliver_next(struct cluster *cluster)
{
    LIST_EACH_SAFE (at, &cluster->frames) {
        struct frame *frame = LIST_ENTRY(at, struct frame, link);

        if (node_of(cluster, frame->to)->replica == NULL)
            continue; /* the test plays it */
        deliver(cluster, frame);
        return true;
    }
    return false;
}

/* Everything that can happen without time passing. */
static inline void settle(struct cluster *cluster)
{
    bool worked;
    unsigned rounds = 0;

    do {
        worked = false;
        for (size_t i = 0; i < cluster->count; i++)
            while (node_work(&cluster->nodes[i]))
                worked = true;
        worked = deliver_next(cluster) || worked;
        assert_true(++rounds < 2000000);
    } while (worked);
}

/* Time passes, timer by timer. */
static inline void advance(struct cluster *cluster, uint64_t ms)
{
    uint64_t end = cluster->now_ms + ms;

    settle(cluster);
    while (cluster->now_ms < end) {
        uint64_t next = end;

        for (size_t i = 0; i < cluster->count; i++)
            if (cluster->nodes[i].replica != NULL && cluster->nodes[i].timer_ms != 0)
                next = MIN(next, cluster->nodes[i].timer_ms);
        cluster->now_ms = MAX(cluster->now_ms, next);
        for (size_t i = 0; i < cluster->count; i++) {
            struct node *node = &cluster->nodes[i];

            if (node->replica == NULL || node->timer_ms == 0 || node->timer_ms > cluster->now_ms)
                continue;
            node->timer_ms = 0;
            replica_on_timer(node->replica);
        }
        settle(cluster);
    }
}

/* The open member that leads in the highest term; 0: none. */
static inline uint64_t leader(const struct cluster *cluster)
{
    const struct node *best = NULL;

    for (size_t i = 0; i < cluster->count; i++) {
        const struct node *node = &cluster->nodes[i];

        if (node->replica != NULL && node->fatal.code == 0 && node->role == REPLICA_LEADER &&
            (best == NULL || node->term > best->term))
            best = node;
    }
    return best == NULL ? 0 : best->id;
}

static inline uint64_t await_leader(struct cluster *cluster)
{
    for (unsigned i = 0; i < 1000 && leader(cluster) == 0; i++)
        advance(cluster, 10);
    assert_int_not_equal(leader(cluster), 0);
    settle(cluster);
    return leader(cluster);
}

/* Only this member's timer fires, so it is the one to campaign. */
static inline void make_leader(struct cluster *cluster, uint64_t id)
{
    struct node *node = node_of(cluster, id);

    for (unsigned i = 0; i < 100 && node->role != REPLICA_LEADER; i++) {
        cluster->now_ms = MAX(cluster->now_ms + 1, node->timer_ms);
        node->timer_ms = 0;
        replica_on_timer(node->replica);
        settle(cluster);
    }
    assert_int_equal(node->role, REPLICA_LEADER);
}

static inline void isolate(struct cluster *cluster, uint64_t id, bool cut)
{
    for (uint64_t other = 1; other <= cluster->count; other++)
        if (other != id)
            cluster->cut[id][other] = cluster->cut[other][id] = cut;
}

/* ---- commands ---- */

static inline void propose(struct cluster *cluster, uint64_t id, struct proposal *proposal)
{
    struct node *node = node_of(cluster, id);

    memset(proposal, 0, sizeof(*proposal));
    put_le64(proposal->bytes, ++cluster->next_value);
    proposal->base.command = slice_of(proposal->bytes, 8);
    proposal->node = node;
    list_push_back(&cluster->proposals, &proposal->link);
    assert_int_equal(replica_propose(node->replica, &proposal->base), 0);
}

static inline uint64_t value_of(const struct proposal *proposal)
{
    return get_le64(proposal->bytes);
}

/* Given up by its client. */
static inline void forget(struct proposal *proposal)
{
    replica_forget(proposal->node->replica, &proposal->base);
    list_remove(&proposal->link);
}

static inline size_t times_applied(const struct node *node, uint64_t value)
{
    size_t times = 0;

    for (size_t i = 0; i < node->value_count; i++)
        times += node->values[i] == value;
    return times;
}

static inline struct replica_status status_of(const struct cluster *cluster, uint64_t id)
{
    struct replica_status status;

    replica_status(cluster->nodes[id - 1].replica, &status);
    return status;
}

/* ---- frames by hand ---- */

/* Gives message to member to as if from sent it. */
static inline int give(struct cluster *cluster, uint64_t from, uint64_t to,
                       const struct wire_message *message)
{
    struct buf buf;
    struct err err = ERR_INIT;
    int rc;

    buf_init(&buf, WIRE_FRAME_SIZE_MAX);
    if (message->type == WIRE_APPEND) {
        wire_append_begin(&buf, &message->append);
        for (unsigned i = 0; i < message->append.count; i++)
            wire_append_entry(&buf, message->append.entries[i].term,
                              message->append.entries[i].type, message->append.entries[i].data);
        wire_append_end(&buf, message->append.count, message->append.commit);
    } else {
        wire_encode(&buf, message);
    }
    rc = replica_on_frame(node_of(cluster, to)->replica, from, buf_slice(&buf), &err);
    buf_release(&buf);
    return rc;
}

/* Takes the oldest undelivered frame of that type between the two off the network. False: none.
 * The slices of *out live until the next call. */
static inline bool take(struct cluster *cluster, uint64_t from, uint64_t to, enum wire_type type,
                        struct wire_message *out)
{
    static struct wire_message last;
    static struct frame *kept;

    wire_release(&last);
    free(kept);
    memset(&last, 0, sizeof(last));
    *out = last;
    kept = NULL;
    LIST_EACH_SAFE (at, &cluster->frames) {
        struct frame *frame = LIST_ENTRY(at, struct frame, link);

        if (frame->from != from || frame->to != to || frame->bytes[0] != type)
            continue;
        list_remove(at);
        kept = frame;
        assert_int_equal(wire_decode(slice_of(frame->bytes, frame->len), &last, NULL), 0);
        *out = last;
        return true;
    }
    return false;
}

#endif
