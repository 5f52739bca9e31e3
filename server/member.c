/* Start and stop of a member: in which order things are opened, and how they are closed. */
#include "server/member.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "server/auth_jwt.h"
#include "server/auth_tokens.h"
#include "server/claims.h"
#include "server/http.h"
#include "server/identity.h"
#include "server/join.h"
#include "server/member_internal.h"
#include "server/ranges.h"
#include "server/services.h"
#include "server/watches.h"

enum {
    MESSAGE_OVERHEAD = 512 << 10, /* a gRPC message may be so much larger than a request, as etcd */
    DRAIN_MS = 1000,              /* stop: what calls under way get to finish */
    FILES_RESERVED = 96,          /* descriptors for the log, checkpoints and other members */
};

/* ---- start ---- */

uint64_t member__random(void)
{
    uint64_t seed;
    ssize_t len = getrandom(&seed, sizeof seed, 0);

    ASSERT(len == (ssize_t)sizeof seed); /* never short or failing for 8 bytes once booted */
    return seed;
}

static int skip_sync(void *ctx, struct disk_file *file, struct err *err)
{
    (void)ctx;
    (void)file;
    (void)err;
    return 0;
}

static int skip_sync_dir(void *ctx, const char *path, struct err *err)
{
    (void)ctx;
    (void)path;
    (void)err;
    return 0;
}

/* --unsafe-no-fsync: the same disk, but nothing is waited for. */
static void make_disk_lazy(struct member *member)
{
    member->lazy_ops = *member->disk.ops;
    member->lazy_ops.sync = skip_sync;
    member->lazy_ops.sync_dir = skip_sync_dir;
    member->disk.ops = &member->lazy_ops;
    log_warn(member->log, "fsync is off: a power cut loses acknowledged writes");
}

/* The folder and its missing parents, private to this user even if it was there before. */
static int make_private_dir(struct disk disk, const char *path, struct err *err)
{
    char *copy = xstrdup(path);
    int rc = 0;

    for (char *slash = strchr(copy + 1, '/'); slash != NULL && rc == 0;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = disk.ops->mkdir(disk.ctx, copy, err);
        *slash = '/';
    }
    if (rc == 0)
        rc = disk.ops->mkdir(disk.ctx, path, err);
    if (rc == 0 && chmod(path, 0700) != 0)
        rc = err_set_errno(err, errno, "%s: setting mode 0700", path);
    free(copy);
    return rc;
}

static int lock_data_dir(struct member *member, struct err *err)
{
    char *path = xasprintf("%s/lock", member->config->data_dir);
    int rc;

    rc = disk_lock(path, &member->lock_fd, err);
    if (rc == KV_EBUSY)
        err_set(err, rc, "data dir %s is in use by another process", member->config->data_dir);
    free(path);
    return rc;
}

/* A member that has its data is who that says, in the cluster that it says, wherever the others are
 * now: as in etcd, flags about the cluster are for the first start. They still tell a data dir that
 * was mixed up by its name; and a first start that was cut short goes on as it began. */
static int recognise(struct member *member, const struct identity *known, struct err *err)
{
    const struct config *config = member->config;
    struct bootstrap *boot = &member->boot;
    int rc;

    if (strncmp(known->name, config->name, sizeof known->name - 1) != 0)
        return err_set(err, KV_EMISMATCH,
                       "%s belongs to member %llx (%s) of cluster %llx, but --name is %s: correct "
                       "--name, or give another --data-dir",
                       config->data_dir, (unsigned long long)known->member_id, known->name,
                       (unsigned long long)known->cluster_id, config->name);
    rc = bootstrap_from_config(config, boot, err);
    if (rc == 0 && !known->joined && boot->cluster_id == known->cluster_id &&
        boot->member_id == known->member_id)
        return 0;
    if (!known->log_begun && !known->joined)
        return rc; /* 0: identity_claim() says what differs */
    bootstrap_release(boot);
    boot->cluster_id = known->cluster_id;
    boot->member_id = known->member_id;
    return 0;
}

/* Those that the flags of a new cluster name are in its first entry; a member that joins has heard
 * of others than its log may say for a while. */
static void new_peer_states(struct member *member)
{
    size_t count = member->boot.peer_count;

    member->peer_states = xcalloc(count + 1, sizeof *member->peer_states);
    for (size_t i = 0; i < count; i++)
        member->peer_states[i].guest = member->boot.member_count == 0;
}

/* The data dir, and which member of which cluster this is. */
static int identify(struct member *member, struct identity *self, struct err *err)
{
    const struct config *config = member->config;
    struct identity known;
    int rc;

    rc = make_private_dir(member->disk, config->data_dir, err);
    if (rc == 0)
        rc = lock_data_dir(member, err);
    if (rc == 0)
        rc = tls_set_open(config, member->log, &member->tls, err);
    if (rc != 0)
        return rc;
    rc = identity_read(member->disk, config->data_dir, &known, err);
    member->distrusted = rc == 0 && known.distrusted;
    if (rc == 0)
        rc = recognise(member, &known, err);
    else if (rc == KV_ENOTFOUND)
        rc = config->initial_cluster_existing
                 ? join_cluster(config, member->tls.peer_connect, &member->boot, err)
                 : bootstrap_from_config(config, &member->boot, err);
    *self = (struct identity){.cluster_id = member->boot.cluster_id,
                              .member_id = member->boot.member_id,
                              .joined = config->initial_cluster_existing};
    snprintf(self->name, sizeof self->name, "%s", config->name);
    new_peer_states(member);
    return rc;
}

/* Nothing has come of the cluster yet that this member joins, so where the others are is asked
 * again. */
static int join_again(struct member *member, struct err *err)
{
    struct bootstrap boot;
    int rc;

    if (wal_last_index(member->wal) != 0 || member->boot.peer_count != 0 ||
        member->boot.member_count != 0 || checkpoints_base(member->snapshots.checkpoints) != NULL)
        return 0;
    rc = join_as(member->config, member->tls.peer_connect, member->boot.cluster_id,
                 member->boot.member_id, &boot, err);
    if (rc != 0)
        return rc;
    bootstrap_release(&member->boot);
    member->boot = boot;
    free(member->peer_states);
    new_peer_states(member);
    return 0;
}

/* Whose data dir it is, before anything in it is used. */
static int open_log(struct member *member, const struct identity *self, struct err *err)
{
    const struct config *config = member->config;
    char *wal_dir =
        config->wal_dir != NULL ? xstrdup(config->wal_dir) : xasprintf("%s/wal", config->data_dir);
    struct wal_options options = {.disk = member->disk,
                                  .dir = wal_dir,
                                  .cluster_id = member->boot.cluster_id,
                                  .member_id = member->boot.member_id};
    int rc;

    rc = identity_claim(member->disk, config->data_dir, wal_dir, self, err);
    if (rc == 0 && config->wal_dir != NULL)
        rc = make_private_dir(member->disk, wal_dir, err);
    if (rc == 0) {
        rc = wal_open(&options, &member->wal, err);
        if (rc != 0)
            err_prefix(err, "opening the log");
    }
    free(wal_dir);
    return rc;
}

static void on_peer_trouble(void *ctx, uint64_t id, const char *text)
{
    struct member *member = ctx;

    log_warn(member->log, "trouble with a peer", LOG_ID("peer", id), LOG_STR("error", text));
}

/* As etcd: without names that are allowed, a certificate speaks for the host it is for. */
static bool checks_peer_host(const struct config *config)
{
    const struct config_tls *tls = &config->peer_tls;

    return tls->client_cert_auth && !tls->skip_san_check && !config_is_given(tls->allowed_cn) &&
           !config_is_given(tls->allowed_hostname);
}

static int open_peers(struct member *member, struct err *err)
{
    struct peers_options options = {.loop = member->loop,
                                    .cluster_id = member->boot.cluster_id,
                                    .self = member->boot.member_id,
                                    .listen = member->config->listen_peer.addr,
                                    .listen_count = member->config->listen_peer.len,
                                    .tls_accept = member->tls.peer_accept,
                                    .tls_connect = member->tls.peer_connect,
                                    .check_peer_host = checks_peer_host(member->config),
                                    .peers = member->boot.peers,
                                    .peer_count = member->boot.peer_count,
                                    .seed = member__random(),
                                    .ctx = member,
                                    .on_frame = member__on_frame,
                                    .on_bulk = member__on_bulk,
                                    .on_bulk_up = member__on_bulk_up,
                                    .on_peer = member__on_peer,
                                    .is_removed = member__is_removed,
                                    .on_stranger = member__on_stranger,
                                    .on_removed = member__on_removed,
                                    .on_lost = member__on_lost,
                                    .describe = member__describe,
                                    .on_trouble = on_peer_trouble};
    int rc = peers_new(&options, &member->peers, err);

    if (rc != 0)
        err_prefix(err, "listening for peers");
    return rc;
}

static void on_flushed(void *ctx, uint64_t duration_us, uint64_t bytes)
{
    struct member *member = ctx;

    metrics_observe(&member->metrics->wal_fsync, (double)duration_us / 1e6);
    member->metrics->wal_written_bytes += bytes;
}

static int open_consensus(struct member *member, struct err *err)
{
    struct replica_options options = {.id = member->boot.member_id,
                                      .voters = member->boot.voters,
                                      .voter_count = member->boot.member_count,
                                      .wal = member->wal,
                                      .snapshot = checkpoints_base(member->snapshots.checkpoints),
                                      .reserve_bytes =
                                          member->config->checkpoint_log_bytes / LOG_RESERVE_SHARE,
                                      .alone = member->config->force_new_cluster,
                                      .hold = member->distrusted,
                                      .seed = member__random(),
                                      .heartbeat_ms = member->config->heartbeat_ms,
                                      .election_ms = member->config->election_ms,
                                      .no_pre_vote = !member->config->pre_vote};
    char **addresses;
    int rc;

    if (member->config->force_new_cluster && member->distrusted)
        return err_set(err, KV_EINVAL,
                       "--force-new-cluster: this member's state is not what the others had "
                       "('kvctl verify'), and there would be nobody to get theirs from: use "
                       "another member's data, or a snapshot ('kvctl snapshot restore')");
    if (member->config->force_new_cluster && !wal_is_new(member->wal))
        log_warn(member->log,
                 "--force-new-cluster: THIS MEMBER GOES ON ALONE with what it has stored. The "
                 "other members are removed and must not be started again with their data; what "
                 "only they had is lost. Add new members when it runs, and leave the flag out "
                 "from the next start on",
                 LOG_ID("member-id", member->boot.member_id),
                 LOG_ID("cluster-id", member->boot.cluster_id),
                 LOG_UINT("last-index", wal_last_index(member->wal)));
    addresses = bootstrap_addresses(&member->boot);
    options.addresses = (const char *const *)addresses;
    uv_update_time(member->loop); /* reading the log has taken its time */
    member__changes_open(member);
    member__env(member, &options.env);
    member__start_snapshots(member);
    rc = replica_open(&options, &member->replica, err);
    bootstrap_free_addresses(addresses, member->boot.member_count);
    if (rc != 0)
        return rc;
    if (member->failed) {
        *err = member->fatal_err;
        return err->code;
    }
    rc = identity_log_begun(member->disk, member->config->data_dir, err);
    if (rc != 0)
        return rc;
    rc = wal_writer_start(member->loop, member->wal, member__on_durable, member, &member->writer,
                          err);
    if (rc == 0 && member->metrics != NULL)
        wal_writer_observe(member->writer, on_flushed, member);
    return rc;
}

static void on_http(void *ctx, struct http_request *request)
{
    struct member *member = ctx;

    http_on_request(member->http, request);
}

static void on_http_cancel(void *ctx, struct http_request *request)
{
    struct member *member = ctx;

    http_on_cancel(member->http, request);
}

/* At the client URLs, when HTTP is elsewhere. */
static void on_http_elsewhere(void *ctx, struct http_request *request)
{
    const struct config *config = ((struct member *)ctx)->config;
    struct buf text;

    buf_init(&text, 4096);
    (void)buf_printf(&text, "this port serves gRPC only; HTTP is at %s\n",
                     config->listen_client_http.text[0]);
    http_reply(request, 404, "text/plain; charset=utf-8", buf_slice(&text));
    buf_release(&text);
}

static void count_call_start(void *ctx, const struct grpc_call *call)
{
    struct metrics *metrics = ((struct member *)ctx)->metrics;
    const struct grpc_method *method = grpc_call_method(call);
    size_t n = (size_t)(method - metrics->methods);

    metrics->started[n]++;
    metrics_count_request(metrics, method->kind != GRPC_UNARY,
                          grpc_call_header(call, "client-api-version"));
}

static void count_call_message(void *ctx, const struct grpc_method *method, enum grpc_way way)
{
    struct metrics *metrics = ((struct member *)ctx)->metrics;
    size_t n = (size_t)(method - metrics->methods);

    if (way == GRPC_SENT)
        metrics->sent[n]++;
    else
        metrics->received[n]++;
}

static void count_call_end(void *ctx, const struct grpc_method *method, enum grpc_status status,
                           uint64_t duration_us)
{
    struct metrics *metrics = ((struct member *)ctx)->metrics;
    size_t n = (size_t)(method - metrics->methods);

    metrics->handled[n][status]++;
    if (metrics->handling != NULL)
        metrics_observe_handling(&metrics->handling[n], (double)duration_us / 1e6);
}

static void count_bytes(void *ctx, size_t received, size_t sent)
{
    struct metrics *metrics = ((struct member *)ctx)->metrics;

    metrics->client_received_bytes += received;
    metrics->client_sent_bytes += sent;
}

static void on_handshake_failed(void *ctx, const char *peer, const char *why)
{
    struct member *member = ctx;

    log_warn(member->log, "rejected connection on client endpoint", LOG_STR("remote-addr", peer),
             LOG_STR("error", why));
}

/* What clients of each server may have of the descriptors: never the last ones, or an idle crowd
 * keeps the log from opening its next segment, which no member survives. */
static size_t connections_max(const struct config *config)
{
    size_t servers = 1 + (config->listen_metrics.len != 0) + (config->listen_client_http.len != 0);
    struct rlimit files;
    size_t rest;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY)
        return NET_SERVER_CONNECTIONS_MAX;
    rest =
        files.rlim_cur >= 2 * FILES_RESERVED ? files.rlim_cur - FILES_RESERVED : files.rlim_cur / 2;
    return MIN(MAX(rest / servers, (size_t)1), (size_t)NET_SERVER_CONNECTIONS_MAX);
}

static void server_options(struct member *member, struct net_server_options *out)
{
    const struct config *config = member->config;

    *out = (struct net_server_options){
        .loop = member->loop,
        .ctx = member,
        .on_http = on_http,
        .on_http_cancel = on_http_cancel,
        .on_handshake_failed = on_handshake_failed,
        .message_size_max = config->max_request_bytes + MESSAGE_OVERHEAD,
        /* base64 makes four bytes of three */
        .http_body_size_max = (config->max_request_bytes + MESSAGE_OVERHEAD) / 2 * 3,
        .cors_origins = http_cors_origins(member->http),
        .concurrent_streams_max = config->max_concurrent_streams,
        .connections_max = connections_max(config),
        .ping_min_interval_ms = config->keepalive_min_ms,
        .ping_interval_ms = config->keepalive_interval_ms,
        .ping_timeout_ms = config->keepalive_timeout_ms,
    };
}

static int listen_all(const struct member *member, struct net_server *server,
                      const struct config_urls *urls, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < urls->len && rc == 0; i++) {
        rc = net_server_listen(server, &urls->addr[i], member->tls.client, err);
        if (rc != 0)
            err_prefix(err, "listening on %s", urls->text[i]);
    }
    return rc;
}

static void add_methods(struct member *member, struct net_server_options *options)
{
    options->methods = services_methods(&options->method_count);
    if (member->metrics != NULL) {
        options->on_call_start = count_call_start;
        options->on_call_message = count_call_message;
        options->on_call_end = count_call_end;
        options->on_bytes = count_bytes;
    }
}

/* HTTP with an address of its own; the gateway reaches the methods there too. */
static int open_http_server(struct member *member, const struct net_server_options *client,
                            struct err *err)
{
    struct net_server_options options = *client;
    int rc;

    options.no_grpc = true;
    rc = net_server_new(&options, &member->http_server, err);
    if (rc == 0)
        rc = listen_all(member, member->http_server, &member->config->listen_client_http, err);
    return rc;
}

/* gRPC and HTTP on the client URLs, or each on its own; HTTP alone on the metrics URLs. */
static int open_server(struct member *member, struct err *err)
{
    const struct config *config = member->config;
    struct net_server_options options;
    int rc;

    member->http = http_new(member, member->metrics);
    http_configure(member->http, config->cors, config->host_whitelist, config->grpc_gateway);
    server_options(member, &options);
    if (config->listen_metrics.len != 0) {
        rc = net_server_new(&options, &member->metrics_server, err);
        if (rc == 0)
            rc = listen_all(member, member->metrics_server, &config->listen_metrics, err);
        if (rc != 0)
            return rc;
    }
    add_methods(member, &options);
    if (config->listen_client_http.len != 0) {
        rc = open_http_server(member, &options, err);
        if (rc != 0)
            return rc;
        options.on_http = on_http_elsewhere;
        options.on_http_cancel = NULL; /* answered at once */
    }
    rc = net_server_new(&options, &member->server, err);
    if (rc == 0)
        rc = listen_all(member, member->server, &config->listen_client, err);
    return rc;
}

static void init_handles(struct member *member)
{
    uv_loop_t *loop = member->loop;

    /* These inits only link the handle into the loop. */
    (void)uv_prepare_init(loop, &member->turn);
    (void)uv_idle_init(loop, &member->again);
    (void)uv_timer_init(loop, &member->raft_timer);
    (void)uv_timer_init(loop, &member->expiry_timer);
    (void)uv_timer_init(loop, &member->stop_timer);
    (void)uv_timer_init(loop, &member->watch_timer);
    (void)uv_timer_init(loop, &member->lease_timer);
    (void)uv_timer_init(loop, &member->ranges_timer);
    (void)uv_timer_init(loop, &member->export_timer);
    member__compactor_init(member);
    (void)uv_timer_init(loop, &member->snapshots.timer);
    (void)uv_timer_init(loop, &member->quarantine.timer);
    member->handles = 12;
    member->snapshots.worker = worker_new(loop);
    auth_pool_init(&member->auth_pool, worker_runner(member->snapshots.worker));
}

static struct member *new_member(const struct member_options *options)
{
    struct member *member = xcalloc(1, sizeof *member);

    member->options = *options;
    member->loop = options->loop;
    member->config = options->config;
    member->log = options->log;
    member->metrics = options->metrics;
    member->disk = disk_posix();
    member->lock_fd = -1;
    member->timeout_ms = 5000 + 2 * member->config->election_ms;
    member->next_ticket = member__random();
    idmap_init(&member->pending);
    list_init(&member->writes);
    list_init(&member->pool);
    list_init(&member->reads);
    list_init(&member->ready_reads);
    list_init(&member->hashes);
    list_init(&member->compact_waits);
    list_init(&member->leader_moves);
    list_init(&member->exports);
    list_init(&member->changes.waits);
    list_init(&member->early);
    list_init(&member->streams);
    list_init(&member->snapshots.retired);
    list_init(&member->keep_alives);
    list_init(&member->ready_read.link);
    member__space_init(member);
    arena_init(&member->scratch);
    init_handles(member);
    member__init_lessor(member, member__random());
    if (member->config->unsafe_no_fsync)
        make_disk_lazy(member);
    return member;
}

static void close_all(struct member *member);

static uint64_t now_ms(void *ctx)
{
    return uv_now(((struct member *)ctx)->loop);
}

static int open_jwt(struct member *member, struct err *err)
{
    const char *text = member->config->auth_token;

    if (text == NULL || text[0] == '\0' || strcmp(text, "simple") == 0)
        return 0;
    if (strncmp(text, "jwt,", 4) == 0)
        return auth_jwt_new(text + 4, &member->jwt, err);
    return err_set(err, KV_EINVAL, "--auth-token=%s is neither simple nor jwt,...", text);
}

static int start(struct member *member, struct err *err)
{
    struct identity self;
    int rc;

    member->ranges = ranges_new(member);
    rc = identify(member, &self, err);
    if (rc == 0)
        rc = open_log(member, &self, err);
    if (rc == 0)
        rc = member__open_snapshots(member, err);
    if (rc == 0)
        rc = join_again(member, err);
    if (rc != 0)
        return rc;
    member__init_audit(member);
    member__start_audit(member);
    member->voters = member->boot.member_count;
    member->lessor.leases = member->machine->leases;
    member->tokens =
        auth_tokens_new((uint64_t)member->config->auth_token_ttl_s * 1000, now_ms, member);
    member->machine->tokens = member->tokens;
    rc = open_jwt(member, err);
    if (rc != 0)
        return rc;
    member->watches = watches_new(member, member__random());
    member->claims = claims_new(member, member__random());
    rc = open_peers(member, err);
    if (rc == 0)
        rc = open_consensus(member, err);
    if (rc == 0)
        rc = open_server(member, err);
    if (rc != 0)
        return rc;
    rc = uv_prepare_start(&member->turn, member__on_turn);
    ASSERT(rc == 0); /* fails only without a callback */
    member->state = MEMBER_RUNNING;
    member__space_start(member);
    member__compactor_start(member);
    return 0;
}

int member_start(const struct member_options *options, struct member **out, struct err *err)
{
    struct member *member = new_member(options);
    int rc;

    rc = start(member, err);
    if (rc != 0) {
        close_all(member);
        return rc;
    }
    log_info(
        member->log, "member started", LOG_STR("name", member->config->name),
        LOG_ID("member-id", member->boot.member_id), LOG_ID("cluster-id", member->boot.cluster_id),
        LOG_STR("data-dir", member->config->data_dir), LOG_BOOL("new-log", wal_is_new(member->wal)),
        LOG_UINT("last-index", wal_last_index(member->wal)));
    *out = member;
    return 0;
}

/* ---- close: one thing after the other, each from the callback of the one before ---- */

static void finish(struct member *member)
{
    void (*cb)(void *ctx) = member->stop_cb;
    void *ctx = member->stop_ctx;

    replica_close(member->replica);
    wal_close(member->wal);
    member__release_audit(member);
    member__free_snapshots(member);
    claims_free(member->claims);
    watches_free(member->watches);
    ranges_free(member->ranges);
    lessor__release(&member->lessor);
    member__compactor_release(member);
    machine_free(member->machine);
    auth_tokens_free(member->tokens);
    auth_jwt_free(member->jwt);
    member__free_writes(member);
    arena_release(&member->scratch);
    bootstrap_release(&member->boot);
    tls_set_release(&member->tls);
    free(member->peer_states);
    if (member->lock_fd >= 0)
        disk_unlock(member->lock_fd);
    free(member);
    if (cb != NULL)
        cb(ctx);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct member *member = handle->data;

    if (--member->handles == 0)
        finish(member);
}

static void close_handle(struct member *member, uv_handle_t *handle)
{
    handle->data = member;
    uv_close(handle, on_handle_closed);
}

static void close_handles(void *ctx)
{
    struct member *member = ctx;

    close_handle(member, (uv_handle_t *)&member->turn);
    close_handle(member, (uv_handle_t *)&member->again);
    close_handle(member, (uv_handle_t *)&member->raft_timer);
    close_handle(member, (uv_handle_t *)&member->expiry_timer);
    close_handle(member, (uv_handle_t *)&member->stop_timer);
    close_handle(member, (uv_handle_t *)&member->lease_timer);
    close_handle(member, (uv_handle_t *)&member->watch_timer);
    close_handle(member, (uv_handle_t *)&member->compactor.timer);
    close_handle(member, (uv_handle_t *)&member->snapshots.timer);
    close_handle(member, (uv_handle_t *)&member->ranges_timer);
    close_handle(member, (uv_handle_t *)&member->export_timer);
    close_handle(member, (uv_handle_t *)&member->quarantine.timer);
}

static void close_writer(void *ctx)
{
    struct member *member = ctx;

    if (member->writer != NULL)
        wal_writer_close(member->writer, close_handles, member);
    else
        close_handles(member);
}

static void close_worker(void *ctx)
{
    struct member *member = ctx;

    member->peers = NULL;
    auth_pool_release(&member->auth_pool); /* its calls are gone */
    if (member->snapshots.checkpoints != NULL)
        checkpoints_hurry(member->snapshots.checkpoints);
    worker_close(member->snapshots.worker, close_writer, member);
}

static void close_peers(void *ctx)
{
    struct member *member = ctx;

    if (member->http != NULL)
        http_free(member->http);
    member->http = NULL;
    if (member->peers != NULL)
        peers_close(member->peers, close_worker, member);
    else
        close_worker(member);
}

static void close_metrics_server(void *ctx)
{
    struct member *member = ctx;

    if (member->metrics_server != NULL)
        net_server_close(member->metrics_server, close_peers, member);
    else
        close_peers(member);
}

static void close_http_server(void *ctx)
{
    struct member *member = ctx;

    if (member->http_server != NULL)
        net_server_close(member->http_server, close_metrics_server, member);
    else
        close_metrics_server(member);
}

static void close_all(struct member *member)
{
    int rc = uv_timer_stop(&member->stop_timer); /* it would close all again */

    ASSERT(rc == 0);
    member->state = MEMBER_CLOSING;
    member__fail_writes(member, STATUS_STOPPED);
    member__fail_reads(member, KV_ESTOPPED);
    member__fail_moves(member, STATUS_STOPPED);
    member__fail_changes(member, STATUS_STOPPED);
    lessor__fail(&member->lessor, STATUS_STOPPED);
    if (member->server != NULL)
        net_server_close(member->server, close_http_server, member);
    else
        close_http_server(member);
}

/* ---- stop ---- */

static void end_streams(struct member *member)
{
    while (!list_empty(&member->streams)) {
        struct open_stream *stream = LIST_FIRST(&member->streams, struct open_stream, link);

        list_remove(&stream->link);
        grpc_call_finish(stream->call, status_line(STATUS_STOPPED)->code,
                         status_line(STATUS_STOPPED)->text);
    }
}

static void on_drain_timeout(uv_timer_t *timer)
{
    close_all(CONTAINER_OF(timer, struct member, stop_timer));
}

static void drain(struct member *member)
{
    int rc;

    member->state = MEMBER_DRAINING;
    end_streams(member);
    member__end_keep_alives(member, KEEP_ALIVE_ALL, STATUS_STOPPED);
    watches_end(member->watches, STATUS_STOPPED);
    claims_end(member->claims, STATUS_STOPPED);
    net_server_drain(member->server);
    if (member->http_server != NULL)
        net_server_drain(member->http_server);
    rc = uv_timer_start(&member->stop_timer, on_drain_timeout, DRAIN_MS, 0);
    ASSERT(rc == 0); /* fails only without a callback or while closing */
}

static void on_handover_timeout(uv_timer_t *timer)
{
    struct member *member = CONTAINER_OF(timer, struct member, stop_timer);

    log_warn(member->log, "no other member took over leadership in time; stopping all the same");
    drain(member);
}

static size_t calls_under_way(const struct member *member)
{
    return net_server_calls(member->server) +
           (member->http_server != NULL ? net_server_calls(member->http_server) : 0);
}

void member__stop_progress(struct member *member)
{
    if (member->state == MEMBER_HANDING_OVER && member->leader != member->boot.member_id &&
        member->leader != 0)
        drain(member);
    if (member->state == MEMBER_DRAINING && calls_under_way(member) == 0)
        close_all(member);
}

void member_stop(struct member *member, void (*cb)(void *ctx), void *ctx)
{
    int rc;

    ASSERT(member->state == MEMBER_RUNNING);
    member->stop_cb = cb;
    member->stop_ctx = ctx;
    log_info(member->log, "stopping", LOG_ID("member-id", member->boot.member_id));
    if (member->failed || member->leader != member->boot.member_id ||
        replica_transfer(member->replica, 0) != 0) {
        drain(member);
        return;
    }
    member->state = MEMBER_HANDING_OVER;
    rc = uv_timer_start(&member->stop_timer, on_handover_timeout,
                        2 * (uint64_t)member->config->election_ms, 0);
    ASSERT(rc == 0); /* fails only without a callback or while closing */
}

/* ---- questions ---- */

void member_info(const struct member *member, struct member_info *out)
{
    const struct mvcc *mvcc = member->machine->mvcc;
    size_t used = machine_space(member->machine);
    size_t size = mvcc_bytes(mvcc) + leases_bytes(member->machine->leases);
    struct watch_stats watch;
    const struct machine_member *self = machine_member(member->machine, member->boot.member_id);

    watch_hub_stats(member->watches->hub, &watch);
    *out = (struct member_info){
        .cluster_id = member->boot.cluster_id,
        .member_id = member->boot.member_id,
        .revision = mvcc_revision(mvcc),
        .compact_revision = mvcc_compact_revision(mvcc),
        .keys = mvcc_key_count(mvcc),
        .db_size = MAX(size, used),
        .db_size_in_use = used,
        .quota = member->space.quota.quota,
        .quota_warned = member->space.quota.warned,
        .wal_bytes = wal_disk_bytes(member->wal),
        .watchers = watch.watchers,
        .pending_revisions =
            watch.watchers == 0
                ? 0
                : (uint64_t)(mvcc_revision(mvcc) - watch_hub_revision(member->watches->hub)),
        .watch_streams = watch.streams,
        .slow_watchers = watch.lagging,
        .watch_events = watch.events,
        .lock_waiters = claims_waiting(member->claims),
        .leases_renewed = member->lessor.renewed,
        .leases_expired = member->lessor.expired,
        .alarm_nospace = machine_has_alarm(member->machine, ETCDSERVERPB__ALARM_TYPE__NOSPACE),
        .is_learner = self != NULL && self->learner,
        .alarm_corrupt = member->quarantine.on ||
                         machine_has_alarm(member->machine, ETCDSERVERPB__ALARM_TYPE__CORRUPT),
    };
    replica_status(member->replica, &out->raft);
}

bool member_peer(const struct member *member, size_t n, uint64_t *id, struct peer_stats *out)
{
    if (n >= member->boot.peer_count)
        return false;
    *id = member->boot.peers[n].id;
    return peers_stats(member->peers, *id, out);
}

const struct machine_member *member_table(const struct member *member, size_t *len)
{
    *len = member->machine->member_count;
    return member->machine->members;
}

const struct machine_alarm *member_alarms(const struct member *member, size_t *len)
{
    *len = member->machine->alarm_count;
    return member->machine->alarms;
}

const char *member_name(const struct member *member)
{
    return member->config->name;
}
