/* The driver: life cycle, and everything from outside as an event between event_begin() and
 * event_end(). */
#include "raft/replica.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "raft/guards.h"
#include "raft/internal.h"

enum {
    HEARTBEAT_MS = 100,
    ELECTION_MS = 1000,
    CACHE_BYTES = 4 << 20,
    RESERVE_BYTES = 64 << 20,
};

/* ---- small questions ---- */

struct peer *replica__peer(const struct replica *r, uint64_t id)
{
    for (size_t i = 0; i < r->peer_count; i++)
        if (r->peers[i]->id == id)
            return r->peers[i];
    return NULL;
}

struct peer *replica__add_peer(struct replica *r, uint64_t id)
{
    struct peer *peer = replica__peer(r, id);
    size_t at = r->peer_count;

    if (peer != NULL || id == r->id)
        return peer;
    peer = xcalloc(1, sizeof(*peer));
    peer->id = id;
    r->peers = xrealloc(r->peers, (r->peer_count + 1) * sizeof(struct peer *));
    for (; at > 0 && r->peers[at - 1]->id > id; at--)
        r->peers[at] = r->peers[at - 1];
    r->peers[at] = peer;
    r->peer_count++;
    return peer;
}

const struct raft_server *replica__server(const struct replica *r, uint64_t id)
{
    for (unsigned i = 0; i < r->raft.configuration.n; i++)
        if (r->raft.configuration.servers[i].id == id)
            return &r->raft.configuration.servers[i];
    return NULL;
}

bool replica__is_voter(const struct replica *r, uint64_t id)
{
    const struct raft_server *server = replica__server(r, id);

    return server != NULL && server->role == RAFT_VOTER;
}

unsigned replica__voters(const struct replica *r)
{
    unsigned count = 0;

    for (unsigned i = 0; i < r->raft.configuration.n; i++)
        count += r->raft.configuration.servers[i].role == RAFT_VOTER;
    return count;
}

bool replica__leads(const struct replica *r)
{
    return r->raft.state == RAFT_LEADER;
}

/* ---- around every event ---- */

static void event_begin(struct replica *r)
{
    r->now = r->env.now_ms(r->env.ctx);
}

static void arm(struct replica *r)
{
    uint64_t at = raft_timeout(&r->raft);
    const uint64_t others[] = {r->forward_retry_ms, r->read_retry_ms, transfer_wakes_ms(r)};

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (others[i] != 0)
            at = MIN(at, others[i]);
    at = MAX(at, r->now + 1);
    if (at == r->armed_ms)
        return;
    r->armed_ms = at;
    r->env.arm_timer(r->env.ctx, at);
}

static void event_end(struct replica *r)
{
    if (!r->failed)
        transfer_turn(r);
    if (r->failed)
        return;
    if (r->wal_dirty) {
        r->wal_dirty = false;
        r->env.flush_wal(r->env.ctx);
    }
    arm(r);
}

static void event_end_and_wake(struct replica *r)
{
    event_end(r);
    if (!r->failed)
        r->env.wake(r->env.ctx);
}

/* ---- life ---- */

static void replica_init(struct replica *r, const struct replica_options *options)
{
    r->env = options->env;
    r->wal = options->wal;
    r->id = options->id;
    r->heartbeat_ms = options->heartbeat_ms == 0 ? HEARTBEAT_MS : options->heartbeat_ms;
    r->election_ms = options->election_ms == 0 ? ELECTION_MS : options->election_ms;
    r->guards_off = options->guards_off;
    r->stateless = options->hold;
    r->reserve_bytes = options->reserve_bytes == 0 ? RESERVE_BYTES : options->reserve_bytes;
    prng_seed(&r->prng, options->seed);
    event_begin(r);
    /* Differs from earlier lives even if the seed does not. */
    r->session = prng_next(&r->prng) ^ (r->now << 20) ^ wal_last_index(r->wal);
    log_init(r, options->cache_bytes == 0 ? CACHE_BYTES : options->cache_bytes);
    send_init(r);
    propose_init(r);
    read_init(r);
}

static int raft_begin(struct replica *r, const struct replica_options *options, struct err *err)
{
    char address[24];

    snprintf(address, sizeof(address), "%" PRIx64, r->id);
    if (raft_init(&r->raft, NULL, NULL, r->id, address) != 0)
        return err_set(err, KV_EINVAL, "raft: out of memory");
    r->raft.tracer = NULL; /* it formats text into a static buffer in every step */
    raft_seed(&r->raft, (unsigned)prng_next(&r->prng));
    raft_set_pre_vote(&r->raft, !options->no_pre_vote);
    raft_set_election_timeout(&r->raft, r->election_ms);
    raft_set_heartbeat_timeout(&r->raft, r->heartbeat_ms);
    raft_set_install_snapshot_timeout(&r->raft, INT32_MAX);
    raft_set_max_inflight_entries(&r->raft, INFLIGHT_MAX);
    return 0;
}

/* ---- libraft's memory: as all of ours, it is there or the member ends ---- */

static void *heap_malloc(void *data, size_t size)
{
    (void)data;
    return xmalloc(size);
}

static void heap_free(void *data, void *ptr)
{
    (void)data;
    free(ptr);
}

static void *heap_calloc(void *data, size_t count, size_t size)
{
    (void)data;
    return xcalloc(count, size);
}

static void *heap_realloc(void *data, void *ptr, size_t size)
{
    (void)data;
    return xrealloc(ptr, size);
}

static void *heap_aligned_alloc(void *data, size_t alignment, size_t size)
{
    void *ptr = aligned_alloc(alignment, size);

    (void)data;
    if (ptr == NULL)
        out_of_memory();
    return ptr;
}

static void heap_aligned_free(void *data, size_t alignment, void *ptr)
{
    (void)data;
    (void)alignment;
    free(ptr);
}

static struct raft_heap heap = {.malloc = heap_malloc,
                                .free = heap_free,
                                .calloc = heap_calloc,
                                .realloc = heap_realloc,
                                .aligned_alloc = heap_aligned_alloc,
                                .aligned_free = heap_aligned_free};

int replica_open(const struct replica_options *options, struct replica **out, struct err *err)
{
    struct replica *r = xcalloc(1, sizeof(*r));
    int rc;

    raft_heap_set(&heap);
    replica_init(r, options);
    rc = raft_begin(r, options, err);
    if (rc != 0) {
        log_release(r);
        free(r);
        return rc;
    }
    rc = replica__load(r, options, err);
    if (rc != 0) {
        replica_close(r);
        return rc;
    }
    election_led(r, 0);
    event_end_and_wake(r);
    *out = r;
    return 0;
}

void replica_close(struct replica *r)
{
    if (r == NULL)
        return;
    raft_close(&r->raft, NULL); /* at once; without an io it calls nobody back */
    read_release(r);
    propose_release(r);
    send_release(r);
    log_release(r);
    for (size_t i = 0; i < r->peer_count; i++)
        free(r->peers[i]);
    free(r->peers);
    free(r);
}

/* ---- time ---- */

void replica_on_timer(struct replica *r)
{
    if (r->failed)
        return;
    event_begin(r);
    r->armed_ms = 0;
    if (r->stateless && r->raft.state == RAFT_FOLLOWER && r->now >= raft_timeout(&r->raft))
        r->raft.election_timer_start = r->now; /* it votes, but does not stand */
    if (r->now >= raft_timeout(&r->raft) && !election_waits_for_disk(r)) {
        struct raft_event event = {.type = RAFT_TIMEOUT};

        guard_timeout(r);
        if (!r->failed)
            (void)replica__step(r, &event); /* only fails fatally */
    }
    if (r->forward_retry_ms != 0 && r->now >= r->forward_retry_ms)
        propose_retry(r);
    if (r->read_retry_ms != 0 && r->now >= r->read_retry_ms)
        read_retry(r);
    for (size_t i = 0; i < r->peer_count && !r->failed; i++)
        send_stream(r, r->peers[i]);
    if (!r->failed)
        transfer_if_stalled(r);
    event_end_and_wake(r);
}

/* ---- disk ---- */

void replica_on_durable(struct replica *r, uint64_t seq)
{
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};

    if (r->failed)
        return;
    event_begin(r);
    event.persisted_entries.index = log_durable(r, seq);
    send_release_held(r);
    if (event.persisted_entries.index != 0)
        (void)replica__step(r, &event); /* only fails fatally */
    event_end_and_wake(r);
}

/* ---- peers ---- */

void replica_on_peer(struct replica *r, uint64_t id, bool up)
{
    struct peer *peer;

    if (r->failed || id == r->id)
        return;
    event_begin(r);
    peer = replica__add_peer(r, id);
    peer->connected = up;
    peer->next = peer->end = 0;
    if (!up)
        peer->snapshot_ordered = false; /* who carries it knows of that too */
    if (up && r->leader == id) {
        /* What was on its way may be lost. */
        propose_retry(r);
        read_retry(r);
    }
    if (!up && r->raft.state == RAFT_FOLLOWER && r->raft.follower_state.current_leader.id == id) {
        election_leader_gone(r);
        replica__note_role(r);
    }
    event_end_and_wake(r);
}

/* ---- frames ---- */

int replica_on_frame(struct replica *r, uint64_t from, struct slice frame, struct err *err)
{
    struct wire_message message;
    struct peer *peer;
    int rc;

    if (r->failed)
        return 0;
    peer = replica__peer(r, from);
    if (peer == NULL)
        return err_set(err, KV_EPROTO, "frame from %" PRIx64 ", which is no member", from);
    rc = wire_decode(frame, &message, err);
    if (rc != 0)
        return rc;
    rc = guard_validate(r, peer, &message, err);
    if (rc == 0) {
        event_begin(r);
        replica__receive(r, peer, &message);
        event_end_and_wake(r);
    }
    wire_release(&message);
    return rc;
}

/* ---- turn ---- */

void replica_turn(struct replica *r)
{
    if (r->failed)
        return;
    event_begin(r);
    propose_turn(r);
    if (!r->failed)
        send_commits(r);
    log_apply_slice(r);
    if (!r->failed)
        propose_turn(r); /* applying may have allowed to propose again, after a leader change */
    if (!r->failed)
        read_turn(r);
    event_end(r);
    if (!r->failed && !r->stateless && r->applied < raft_commit_index(&r->raft))
        r->env.wake(r->env.ctx);
}

/* ---- questions ---- */

void replica_status(const struct replica *r, struct replica_status *out)
{
    *out = (struct replica_status){
        .role = r->role,
        .term = r->term,
        .leader = r->leader,
        .voted_for = raft_voted_for(&r->raft),
        .last_index = raft_last_index((struct raft *)&r->raft),
        .stored_index = r->stored,
        .commit_index = raft_commit_index(&r->raft),
        .applied_index = r->applied,
        .snapshot_index = r->snapshot_index,
        .first_index = wal_first_index(r->wal),
        .pending = r->pending,
        .cache_bytes = r->cache.bytes,
        .elections = r->elections,
    };
}

bool replica_match(const struct replica *r, uint64_t id, uint64_t *out)
{
    raft_index match = 0;

    if (raft_match_index(&r->raft, id, &match) != 0)
        return false;
    *out = match;
    return true;
}
