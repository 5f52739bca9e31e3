#include "server/join.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "raft/hello.h"
#include "server/scan.h"

enum { ASK_MS = 3000, ANSWER_MAX = 1 << 20 };

/* ---- asking one member ---- */

struct ask {
    uv_loop_t loop;
    uv_timer_t timer;
    struct net_sock *sock;
    struct hello hello;
    struct buf got;
    bool done;
    struct err err;
};

static void end(struct ask *ask)
{
    ask->done = true;
    uv_stop(&ask->loop);
}

static void on_connect(void *ctx, int status, const struct err *err)
{
    struct ask *ask = ctx;
    uint8_t bytes[HELLO_SIZE];

    if (status != 0) {
        ask->err = *err;
        end(ask);
        return;
    }
    hello_encode(&ask->hello, bytes);
    (void)net_sock_write(ask->sock, slice_of(bytes, sizeof bytes)); /* broken: on_end follows */
}

/* Size of the answer, 0 while that is not known. */
static size_t answer_size(const struct ask *ask)
{
    enum frame_kind kind;
    size_t len;

    if (ask->got.len < HELLO_SIZE + FRAME_HEADER_SIZE)
        return 0;
    frame_header_decode(ask->got.data + HELLO_SIZE, &kind, &len);
    return HELLO_SIZE + FRAME_HEADER_SIZE + len;
}

static void on_read(void *ctx, struct slice bytes)
{
    struct ask *ask = ctx;
    size_t size;

    if (buf_append(&ask->got, bytes.data, bytes.len) != 0) {
        err_set(&ask->err, KV_EPROTO, "its answer is too long");
        end(ask);
        return;
    }
    size = answer_size(ask);
    if (size != 0 && ask->got.len >= size)
        end(ask);
}

static void on_end(void *ctx, int status)
{
    struct ask *ask = ctx;

    (void)status; /* an end is an end */
    if (net_sock_trouble(ask->sock)[0] != '\0')
        err_set(&ask->err, KV_ECONN, "%s", net_sock_trouble(ask->sock));
    else
        err_set(&ask->err, KV_ECONN, "it hung up before it had answered");
    end(ask);
}

static void on_timeout(uv_timer_t *timer)
{
    struct ask *ask = CONTAINER_OF(timer, struct ask, timer);

    err_set(&ask->err, KV_ETIMEDOUT, "no answer within %d ms", ASK_MS);
    end(ask);
}

static const struct net_sock_events events = {
    .on_connect = on_connect, .on_read = on_read, .on_end = on_end};

/* The answer, in ask->got. A loop of its own: the member's does not run yet. */
static int ask_one(const struct net_addr *addr, struct net_tls *tls, struct ask *ask)
{
    int rc = uv_loop_init(&ask->loop);

    ASSERT(rc == 0);
    buf_init(&ask->got, ANSWER_MAX);
    (void)uv_timer_init(&ask->loop, &ask->timer); /* these two cannot fail */
    (void)uv_timer_start(&ask->timer, on_timeout, ASK_MS, 0);
    if (net_sock_connect(&ask->loop, addr, tls, &events, ask, &ask->sock, &ask->err) == 0) {
        while (!ask->done)
            (void)uv_run(&ask->loop, UV_RUN_ONCE);
        net_sock_close(ask->sock, NULL, NULL);
    }
    uv_close((uv_handle_t *)&ask->timer, NULL);
    (void)uv_run(&ask->loop, UV_RUN_DEFAULT); /* until all is closed */
    rc = uv_loop_close(&ask->loop);
    ASSERT(rc == 0);
    return ask->err.code;
}

/* ---- understanding the answer ---- */

static const Kvdpb__ClusterView *unpack(const struct ask *ask, struct hello *hello,
                                        struct arena *arena)
{
    size_t size = answer_size(ask);
    ProtobufCMessage *message;

    if (size == 0 || ask->got.len < size || !hello_decode(ask->got.data, hello) ||
        hello->verdict != HELLO_WELCOME || hello->cluster_id == 0)
        return NULL;
    if (scan_unpack(&kvdpb__cluster_view__descriptor,
                    slice_of(ask->got.data + HELLO_SIZE + FRAME_HEADER_SIZE,
                             size - HELLO_SIZE - FRAME_HEADER_SIZE),
                    arena, &message) != 0)
        return NULL;
    return (const Kvdpb__ClusterView *)message;
}

static bool same_urls(const struct config_urls *urls, const Kvdpb__ClusterMember *member)
{
    if (urls->len != member->n_peerurls)
        return false;
    for (size_t i = 0; i < urls->len; i++) {
        bool found = false;

        for (size_t j = 0; j < member->n_peerurls && !found; j++)
            found = strcmp(urls->text[i], member->peerurls[j]) == 0;
        if (!found)
            return false;
    }
    return true;
}

static const Kvdpb__ClusterMember *match(const Kvdpb__ClusterView *view,
                                         const struct config_peer *peer)
{
    for (size_t i = 0; i < view->n_members; i++)
        if (same_urls(&peer->urls, view->members[i]))
            return view->members[i];
    return NULL;
}

static int adopt(const struct config *config, const struct hello *hello,
                 const Kvdpb__ClusterView *view, struct bootstrap *out, struct err *err)
{
    out->cluster_id = hello->cluster_id;
    if (view->n_members != config->initial_cluster_len)
        return err_set(err, KV_EINVAL,
                       "error validating peerURLs: member count is unequal: the cluster has %zu "
                       "members, --initial-cluster has %zu; give what 'member add' printed",
                       view->n_members, config->initial_cluster_len);
    out->peers = xcalloc(config->initial_cluster_len, sizeof *out->peers);
    for (size_t i = 0; i < config->initial_cluster_len; i++) {
        const struct config_peer *peer = &config->initial_cluster[i];
        const Kvdpb__ClusterMember *member = match(view, peer);

        if (member == NULL)
            return err_set(err, KV_EINVAL,
                           "error validating peerURLs: unmatched member while checking PeerURLs: "
                           "no member of the cluster has the peer URLs of %s (%s%s)",
                           peer->name, peer->urls.text[0], peer->urls.len > 1 ? ", ..." : "");
        if (strcmp(peer->name, config->name) == 0)
            out->member_id = member->id;
        else
            out->peers[out->peer_count++] =
                (struct peer_config){.id = member->id, .addr = peer->urls.addr[0]};
    }
    return 0;
}

static int join_through(const struct config *config, const struct config_peer *peer,
                        struct net_tls *tls, struct bootstrap *out, struct err *err)
{
    struct ask ask = {.hello = {.version = HELLO_VERSION, .lane = HELLO_LANE_ASKS}};
    const Kvdpb__ClusterView *view;
    struct arena arena;
    struct hello hello;
    int rc = ask_one(&peer->urls.addr[0], tls, &ask);

    if (rc != 0) {
        rc = err_set(err, KV_ECONN,
                     "cannot fetch cluster info from peer urls: could not retrieve cluster "
                     "information from the given URLs: %s: %.200s",
                     peer->urls.text[0], ask.err.text);
        buf_release(&ask.got);
        return rc;
    }
    arena_init(&arena);
    view = unpack(&ask, &hello, &arena);
    if (view == NULL)
        rc = err_set(err, KV_ECONN,
                     "cannot fetch cluster info from peer urls: %s does not answer as a member of "
                     "kvd",
                     peer->urls.text[0]);
    else
        rc = adopt(config, &hello, view, out, err);
    arena_release(&arena);
    buf_release(&ask.got);
    return rc;
}

int join_cluster(const struct config *config, struct net_tls *tls, struct bootstrap *out,
                 struct err *err)
{
    struct bootstrap boot = {0};
    struct err why = ERR_INIT;
    int rc = err_set(&why, KV_EINVAL,
                     "--initial-cluster-state=existing, but --initial-cluster names nobody else to "
                     "ask");
    bool asked = false;

    /* One that lags may not know of us yet; the next one may. */
    for (size_t i = 0; rc != 0 && i < config->initial_cluster_len; i++) {
        struct err last = ERR_INIT;

        if (strcmp(config->initial_cluster[i].name, config->name) == 0 ||
            config->initial_cluster[i].urls.len == 0)
            continue;
        bootstrap_release(&boot);
        rc = join_through(config, &config->initial_cluster[i], tls, &boot, &last);
        /* Lists that differ say more than a member that is down. */
        if (!asked || rc == KV_EINVAL || why.code != KV_EINVAL)
            why = last;
        asked = true;
    }
    if (rc != 0)
        rc = err_set(err, why.code, "%s", why.text);
    if (rc == 0)
        *out = boot;
    else
        bootstrap_release(&boot);
    return rc;
}

/* ---- of one whose id is known ---- */

/* What one of the others says is of use: it may be behind. */
typedef bool (*accept_view)(const Kvdpb__ClusterView *view, const void *what);

/* Asks the others until one of that cluster says what is of use; the view is in the arena. 0 and
 * NULL: some answer, and none has it (yet). */
static int ask_others(const struct config *config, struct net_tls *tls, const struct hello *hello,
                      accept_view accept, const void *what, struct arena *arena,
                      const Kvdpb__ClusterView **out, struct err *err)
{
    int rc = err_set(err, KV_ECONN, "--initial-cluster names nobody else to ask");
    bool answered = false;

    *out = NULL;
    for (size_t i = 0; *out == NULL && i < config->initial_cluster_len; i++) {
        const struct config_peer *peer = &config->initial_cluster[i];
        struct ask ask = {.hello = *hello};
        const Kvdpb__ClusterView *view = NULL;
        struct hello answer;

        if (strcmp(peer->name, config->name) == 0 || peer->urls.len == 0)
            continue;
        if (ask_one(&peer->urls.addr[0], tls, &ask) == 0)
            view = unpack(&ask, &answer, arena);
        if (ask.err.code != 0)
            rc = err_set(err, KV_ECONN, "%s: %.200s", peer->urls.text[0], ask.err.text);
        else if (view == NULL || answer.cluster_id != hello->cluster_id)
            rc = err_set(err, KV_ECONN, "%s does not answer as a member of this cluster",
                         peer->urls.text[0]);
        else if (view->n_members > 0) /* else it holds no state itself */
            answered = true;
        if (view != NULL && answer.cluster_id == hello->cluster_id && accept(view, what))
            *out = view;
        buf_release(&ask.got);
    }
    return answered ? 0 : rc;
}

static void adopt_peer(const Kvdpb__ClusterMember *member, struct bootstrap *out)
{
    struct peer_config *peer = &out->peers[out->peer_count];

    /* Where one is that can not be told from this, the leader's log says. */
    if (member->n_peerurls == 0 || net_addr_parse(member->peerurls[0], &peer->addr, NULL) != 0)
        return;
    peer->id = member->id;
    out->peer_count++;
}

static bool knows_member(const Kvdpb__ClusterView *view, const void *what)
{
    const uint64_t *id = what;

    for (size_t i = 0; i < view->n_members; i++)
        if (view->members[i]->id == *id)
            return true;
    return false;
}

int join_as(const struct config *config, struct net_tls *tls, uint64_t cluster_id,
            uint64_t member_id, struct bootstrap *out, struct err *err)
{
    struct hello hello = {
        .version = HELLO_VERSION, .lane = HELLO_LANE_ASKS, .cluster_id = cluster_id};
    struct bootstrap boot = {.cluster_id = cluster_id, .member_id = member_id};
    const Kvdpb__ClusterView *view;
    struct arena arena;
    int rc;

    arena_init(&arena);
    rc = ask_others(config, tls, &hello, knows_member, &member_id, &arena, &view, err);
    if (rc == 0 && view == NULL)
        rc = err_set(err, KV_EINVAL,
                     "the others do not know of member %llx, which this data dir is for",
                     (unsigned long long)member_id);
    if (rc == 0) {
        boot.peers = xcalloc(view->n_members + 1, sizeof *boot.peers);
        for (size_t i = 0; i < view->n_members; i++)
            if (view->members[i]->id != member_id)
                adopt_peer(view->members[i], &boot);
        *out = boot;
    }
    arena_release(&arena);
    return rc;
}

struct lost {
    uint64_t id;
    struct config_peer self;
};

/* Only one that has seen the lost one go can know who has come instead: one that is behind may show
 * whom the lost one had replaced itself, and that one must never come back. */
static bool knows_replacement(const Kvdpb__ClusterView *view, const void *what)
{
    const struct lost *lost = what;

    for (size_t i = 0; i < view->n_removed; i++)
        if (view->removed[i] == lost->id)
            return match(view, &lost->self) != NULL;
    return false;
}

int join_replaced(const struct config *config, struct net_tls *tls, uint64_t cluster_id,
                  uint64_t lost_id, uint64_t *new_id, struct err *err)
{
    struct hello hello = {.version = HELLO_VERSION,
                          .lane = HELLO_LANE_LOST,
                          .cluster_id = cluster_id,
                          .from = lost_id};
    const struct lost lost = {.id = lost_id, .self.urls = config->advertise_peer};
    const Kvdpb__ClusterView *view;
    struct arena arena;
    int rc;

    arena_init(&arena);
    rc = ask_others(config, tls, &hello, knows_replacement, &lost, &arena, &view, err);
    *new_id = rc == 0 && view != NULL ? match(view, &lost.self)->id : 0;
    arena_release(&arena);
    return rc;
}
