#include "server/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/version.h"
#include "server/member.h"
#include "server/metrics_internal.h"

/* ---- counting ---- */

static void histogram_init(struct metrics_histogram *histogram, double first, size_t buckets)
{
    ASSERT(buckets <= METRICS_BUCKETS_MAX);
    *histogram = (struct metrics_histogram){.first = first, .buckets = buckets};
}

void metrics_observe(struct metrics_histogram *histogram, double seconds)
{
    double end = histogram->first;
    size_t n = 0;

    while (n < histogram->buckets && seconds > end) {
        end *= 2;
        n++;
    }
    histogram->count[n < histogram->buckets ? n : METRICS_BUCKETS_MAX]++;
    histogram->sum += seconds;
}

void metrics_init(struct metrics *metrics, const struct grpc_method *methods, size_t method_count,
                  bool extensive)
{
    *metrics = (struct metrics){.methods = methods, .method_count = method_count};
    metrics->started = xcalloc(method_count, sizeof *metrics->started);
    metrics->received = xcalloc(method_count, sizeof *metrics->received);
    metrics->sent = xcalloc(method_count, sizeof *metrics->sent);
    metrics->handled = xcalloc(method_count, sizeof *metrics->handled);
    if (extensive)
        metrics->handling = xcalloc(method_count, sizeof *metrics->handling);
    /* etcd's bucket bounds, so that its dashboards and alert rules fit. */
    histogram_init(&metrics->wal_fsync, 0.001, 14);
    histogram_init(&metrics->apply, 0.0001, 20);
    histogram_init(&metrics->range, 0.0001, 20);
    histogram_init(&metrics->range_failed, 0.0001, 20);
    histogram_init(&metrics->hash, 0.01, 15);
    histogram_init(&metrics->hash_rev, 0.01, 15);
    histogram_init(&metrics->lease_ttl, 1, 24);
    histogram_init(&metrics->snapshot_save, 0.001, 14);
    histogram_init(&metrics->snapshot_db_save, 0.1, 10);
    for (size_t i = 0; i < METRICS_PEERS_MAX; i++) {
        histogram_init(&metrics->snapshots[i].send, 0.1, 10);
        histogram_init(&metrics->snapshots[i].receive, 0.1, 10);
    }
    histogram_init(&metrics->backend_commit, 0.001, 14);
}

void metrics_forget_peer(struct metrics *metrics, size_t n)
{
    struct metrics_snapshots *last = &metrics->snapshots[METRICS_PEERS_MAX - 1];

    if (n >= METRICS_PEERS_MAX)
        return;
    memmove(&metrics->snapshots[n], &metrics->snapshots[n + 1],
            (METRICS_PEERS_MAX - n - 1) * sizeof *last);
    *last = (struct metrics_snapshots){0};
    histogram_init(&last->send, 0.1, 10);
    histogram_init(&last->receive, 0.1, 10);
}

void metrics_release(struct metrics *metrics)
{
    free(metrics->started);
    free(metrics->received);
    free(metrics->sent);
    free(metrics->handled);
    free(metrics->handling);
    *metrics = (struct metrics){.methods = NULL};
}

static const struct {
    const char *type, *text;
} checks[METRICS_CHECK_COUNT] = {
    [METRICS_LIVEZ_SERIALIZABLE_READ] = {"livez", "serializable_read"},
    [METRICS_READYZ_NON_LEARNER] = {"readyz", "non_learner"},
    [METRICS_READYZ_DATA_CORRUPTION] = {"readyz", "data_corruption"},
    [METRICS_READYZ_SERIALIZABLE_READ] = {"readyz", "serializable_read"},
    [METRICS_READYZ_LINEARIZABLE_READ] = {"readyz", "linearizable_read"},
};

const char *metrics_check_type(enum metrics_check_name check)
{
    return checks[check].type;
}

const char *metrics_check_text(enum metrics_check_name check)
{
    return checks[check].text;
}

/* ---- printing ----
 *
 * The buffer's bound is far above all of this together; a text that is cut all the same is the
 * caller's to notice. Label values are names of ours and hexadecimal ids: nothing to escape. */

void metrics__head(struct buf *out, const char *name, const char *type, const char *help)
{
    (void)buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics__uint(struct buf *out, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    metrics__head(out, name, type, help);
    (void)buf_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

void metrics__double(struct buf *out, const char *name, const char *type, const char *help,
                     double value)
{
    metrics__head(out, name, type, help);
    (void)buf_printf(out, "%s %.15g\n", name, value);
}

void metrics__samples(struct buf *out, const char *name, const char *label,
                      const struct metrics_histogram *histogram)
{
    const char *braced = label == NULL ? "" : label;
    double end = histogram->first;
    uint64_t sum = 0;

    for (size_t n = 0; n < histogram->buckets; n++) {
        sum += histogram->count[n];
        (void)buf_printf(out, "%s_bucket{%s%sle=\"%.10g\"} %llu\n", name, braced,
                         label == NULL ? "" : ",", end, (unsigned long long)sum);
        end *= 2;
    }
    sum += histogram->count[METRICS_BUCKETS_MAX];
    (void)buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, braced,
                     label == NULL ? "" : ",", (unsigned long long)sum);
    (void)buf_printf(out, label == NULL ? "%s_sum%s %.15g\n" : "%s_sum{%s} %.15g\n", name, braced,
                     histogram->sum);
    (void)buf_printf(out, label == NULL ? "%s_count%s %llu\n" : "%s_count{%s} %llu\n", name, braced,
                     (unsigned long long)sum);
}

static void print_histogram(struct buf *out, const char *name, const char *help,
                            const struct metrics_histogram *histogram)
{
    metrics__head(out, name, "histogram", help);
    metrics__samples(out, name, NULL, histogram);
}

static void print_counters(const struct metrics *metrics, struct buf *out)
{
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"etcd_server_leader_changes_seen_total", "counter", "The number of leader changes seen.",
         metrics->leader_changes},
        {"etcd_server_proposals_failed_total", "counter",
         "The total number of failed proposals seen.", metrics->proposals_failed},
        {"etcd_server_slow_apply_total", "counter", "The total number of slow apply requests.",
         metrics->slow_applies},
        {"etcd_server_slow_read_indexes_total", "counter",
         "The total number of read indexes that took long to confirm.", metrics->slow_read_indexes},
        {"etcd_server_read_indexes_failed_total", "counter",
         "The total number of failed read indexes seen.", metrics->read_indexes_failed},
        {"etcd_server_health_success", "counter", "The total number of successful health checks.",
         metrics->health_success},
        {"etcd_server_health_failures", "counter", "The total number of failed health checks.",
         metrics->health_failures},
        {"etcd_mvcc_put_total", "counter", "Total number of puts seen by this member.",
         metrics->puts},
        {"etcd_mvcc_delete_total", "counter", "Total number of deletes seen by this member.",
         metrics->deletes},
        {"etcd_mvcc_range_total", "counter", "Total number of ranges seen by this member.",
         metrics->ranges},
        {"etcd_mvcc_txn_total", "counter", "Total number of txns seen by this member.",
         metrics->txns},
        {"etcd_network_client_grpc_received_bytes_total", "counter",
         "The total number of bytes received from clients.", metrics->client_received_bytes},
        {"etcd_network_client_grpc_sent_bytes_total", "counter",
         "The total number of bytes sent to clients.", metrics->client_sent_bytes},
        {"etcd_disk_wal_write_bytes_total", "gauge", "Total number of bytes written in WAL.",
         metrics->wal_written_bytes},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        metrics__uint(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
    print_histogram(out, "etcd_disk_wal_fsync_duration_seconds",
                    "The latency distributions of fsync called by WAL.", &metrics->wal_fsync);
    print_histogram(out, "etcd_disk_backend_commit_duration_seconds",
                    "The latency distributions of commit called by backend. None here: the "
                    "keyspace is in memory.",
                    &metrics->backend_commit);
    /* etcd's own apply metric has labels for operation and outcome that we do not keep. */
    print_histogram(out, "kvd_server_apply_duration_seconds",
                    "The latency distribution of applying committed entries.", &metrics->apply);
    print_histogram(out, "etcd_debugging_snap_save_total_duration_seconds",
                    "The total latency distributions of save called by snapshot.",
                    &metrics->snapshot_save);
    print_histogram(out, "etcd_snap_db_save_total_duration_seconds",
                    "The total latency distributions of v3 snapshot save",
                    &metrics->snapshot_db_save);
    metrics__uint(out, "kvd_snap_written_bytes_total", "counter",
                  "Total number of bytes written in checkpoints.", metrics->snapshot_written_bytes);
}

static void print_versions(struct buf *out)
{
    metrics__head(out, "etcd_server_version", "gauge",
                  "Which version is running. 1 for 'server_version' label with current version.");
    (void)buf_printf(out, "etcd_server_version{server_version=\"%s\"} 1\n", ETCD_API_VERSION);
    metrics__head(out, "etcd_cluster_version", "gauge",
                  "Which version is running. 1 for 'cluster_version' label with current cluster "
                  "version.");
    (void)buf_printf(out, "etcd_cluster_version{cluster_version=\"%s\"} 1\n", ETCD_API_LINE);
    metrics__head(out, "kvd_version", "gauge", "Version of kvd itself.");
    (void)buf_printf(out, "kvd_version{version=\"%s\"} 1\n", KVD_VERSION);
}

/* Only checks that have been made at least once have a last outcome. */
static void print_checks(const struct metrics *metrics, struct buf *out)
{
    metrics__head(out, "etcd_server_healthcheck", "gauge", "The result of each kind of check.");
    for (size_t i = 0; i < METRICS_CHECK_COUNT; i++) {
        if (metrics->checks[i].success + metrics->checks[i].error != 0)
            (void)buf_printf(out, "etcd_server_healthcheck{type=\"%s\",name=\"%s\"} %d\n",
                             checks[i].type, checks[i].text, metrics->checks[i].ok);
    }
    metrics__head(out, "etcd_server_healthchecks_total", "counter",
                  "The total number of each kind of check.");
    for (size_t i = 0; i < METRICS_CHECK_COUNT; i++) {
        const char *format = "etcd_server_healthchecks_total{type=\"%s\",name=\"%s\",status=\"%s\"}"
                             " %llu\n";

        (void)buf_printf(out, format, checks[i].type, checks[i].text, "success",
                         (unsigned long long)metrics->checks[i].success);
        (void)buf_printf(out, format, checks[i].type, checks[i].text, "error",
                         (unsigned long long)metrics->checks[i].error);
    }
}

/* As the handler of Go programs counts its own answers: this one has been good, or it would not be
 * read. */
static void print_scrapes(const struct metrics *metrics, struct buf *out)
{
    static const char name[] = "promhttp_metric_handler_requests_total";

    metrics__head(out, name, "counter", "Total number of scrapes by HTTP status code.");
    (void)buf_printf(out, "%s{code=\"200\"} %llu\n%s{code=\"500\"} 0\n%s{code=\"503\"} 0\n", name,
                     (unsigned long long)metrics->scrapes, name, name);
}

/* ---- what the member knows ---- */

static void print_member(const struct member_info *info, struct buf *out)
{
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.",
         info->raft.leader != 0},
        {"etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.",
         info->raft.role == REPLICA_LEADER},
        {"etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise.",
         info->is_learner},
        {"etcd_server_proposals_committed_total",
         "The total number of consensus proposals committed.", info->raft.commit_index},
        {"etcd_server_proposals_applied_total", "The total number of consensus proposals applied.",
         info->raft.applied_index},
        {"etcd_server_proposals_pending", "The current number of pending proposals to commit.",
         info->raft.pending},
        {"etcd_mvcc_db_total_size_in_bytes",
         "Total size of the keyspace in bytes: records, index and leases, in memory.",
         info->db_size},
        {"etcd_mvcc_db_total_size_in_use_in_bytes",
         "Share of the keyspace that its records need, history included: what the quota counts.",
         info->db_size_in_use},
        {"kvd_server_quota_warning_percent",
         "Share of the quota, in percent, whose crossing was last warned of: 70, 85, 95; 0 below.",
         info->quota_warned},
        {"etcd_debugging_mvcc_keys_total", "Total number of keys.", info->keys},
        {"etcd_debugging_mvcc_watcher_total", "Total number of watchers.", info->watchers},
        {"etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.",
         info->watch_streams},
        {"etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers.",
         info->slow_watchers},
        {"kvd_lock_waiters", "Number of calls that wait for a lock or to be elected.",
         info->lock_waiters},
        {"etcd_debugging_mvcc_pending_events_total",
         "Revisions whose events are yet to be sent to watchers that keep up.",
         info->pending_revisions},
        {"etcd_disk_defrag_inflight",
         "Whether or not defrag is active: never, memory comes back "
         "by itself.",
         0},
        {"etcd_debugging_mvcc_current_revision", "The current revision of store.",
         (uint64_t)info->revision},
        {"kvd_raft_term", "The current raft term.", info->raft.term},
        {"kvd_raft_log_first_index", "Index of the oldest entry in the log.",
         info->raft.first_index},
        {"kvd_raft_checkpoint_index", "Index of the newest checkpoint that the log starts from.",
         info->raft.snapshot_index},
        {"kvd_raft_entry_cache_bytes", "Size of the raft entries kept in memory.",
         info->raft.cache_bytes},
        {"kvd_disk_wal_size_bytes", "Size of the log's files.", info->wal_bytes},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        metrics__uint(out, rows[i].name, "gauge", rows[i].help, rows[i].value);

    metrics__uint(out, "etcd_debugging_mvcc_events_total", "counter",
                  "Total number of events sent by this member.", info->watch_events);
    /* Negative: no quota. */
    metrics__head(out, "etcd_server_quota_backend_bytes", "gauge",
                  "Current backend storage quota size in bytes.");
    (void)buf_printf(out, "etcd_server_quota_backend_bytes %lld\n", (long long)info->quota);
    /* -1 until the first compaction. */
    metrics__head(out, "etcd_debugging_mvcc_compact_revision", "gauge",
                  "The revision of the last compaction in store.");
    (void)buf_printf(out, "etcd_debugging_mvcc_compact_revision %lld\n",
                     (long long)info->compact_revision);
    metrics__head(out, "etcd_server_id", "gauge",
                  "Server or member ID in hexadecimal format. 1 for 'server_id' label with current "
                  "ID.");
    (void)buf_printf(out, "etcd_server_id{server_id=\"%llx\"} 1\n",
                     (unsigned long long)info->member_id);
    metrics__head(out, "kvd_server_alarm", "gauge", "Whether any member has raised the alarm.");
    (void)buf_printf(out, "kvd_server_alarm{alarm_type=\"NOSPACE\"} %d\n", info->alarm_nospace);
    (void)buf_printf(out, "kvd_server_alarm{alarm_type=\"CORRUPT\"} %d\n", info->alarm_corrupt);
}

static bool is_set(const struct machine_alarm *alarms, size_t count, uint64_t member, uint32_t type)
{
    for (size_t i = 0; i < count; i++)
        if (alarms[i].member == member && alarms[i].type == type)
            return true;
    return false;
}

static bool is_member(const struct machine_member *members, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].id == id)
            return true;
    return false;
}

/* A line for both alarms of every member, set or not, so that a graph shows when one came; and for
 * any other that a client has activated. */
static void print_alarms(const struct member *member, struct buf *out)
{
    static const char name[] = "etcd_debugging_server_alarms";
    static const char format[] = "%s{alarm_type=\"%s\",server_id=\"%llx\"} %d\n";
    static const char *const types[] = {"NONE", "NOSPACE", "CORRUPT"};
    const struct machine_member *members;
    const struct machine_alarm *alarms;
    size_t member_count, alarm_count;

    members = member_table(member, &member_count);
    alarms = member_alarms(member, &alarm_count);
    metrics__head(out, name, "gauge",
                  "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 "
                  "for 'alarm_type' label with type of this alarm");
    for (size_t i = 0; i < member_count; i++)
        for (uint32_t type = 1; type < ARRAY_LEN(types); type++)
            (void)buf_printf(out, format, name, types[type], (unsigned long long)members[i].id,
                             is_set(alarms, alarm_count, members[i].id, type));
    for (size_t i = 0; i < alarm_count; i++)
        if (!is_member(members, member_count, alarms[i].member) &&
            alarms[i].type < ARRAY_LEN(types))
            (void)buf_printf(out, format, name, types[alarms[i].type],
                             (unsigned long long)alarms[i].member, 1);
}

/* ---- checkpoints between members ---- */

enum snapshot_metric {
    SNAPSHOT_SENDING,
    SNAPSHOT_SENT,
    SNAPSHOT_SEND_FAILURES,
    SNAPSHOT_RECEIVING,
    SNAPSHOT_RECEIVED,
    SNAPSHOT_RECEIVE_FAILURES,
    SNAPSHOT_METRIC_COUNT,
};

static uint64_t snapshot_value(const struct metrics_snapshots *s, enum snapshot_metric metric)
{
    switch (metric) {
    case SNAPSHOT_SENDING:
        return s->sending;
    case SNAPSHOT_SENT:
        return s->send_success;
    case SNAPSHOT_SEND_FAILURES:
        return s->send_failures;
    case SNAPSHOT_RECEIVING:
        return s->receiving;
    case SNAPSHOT_RECEIVED:
        return s->receive_success;
    default:
        return s->receive_failures;
    }
}

/* Both directions of one histogram. */
static void print_snapshot_times(const struct metrics *metrics, const struct member *member,
                                 struct buf *out, bool sent)
{
    const char *name = sent ? "etcd_network_snapshot_send_total_duration_seconds"
                            : "etcd_network_snapshot_receive_total_duration_seconds";
    struct peer_stats stats;
    char label[40];
    uint64_t id;

    metrics__head(out, name, "histogram",
                  sent ? "Total latency distributions of v3 snapshot sends"
                       : "Total latency distributions of v3 snapshot receives");
    for (size_t n = 0; n < METRICS_PEERS_MAX && member_peer(member, n, &id, &stats); n++) {
        (void)snprintf(label, sizeof label, "%s=\"%llx\"", sent ? "To" : "From",
                       (unsigned long long)id); /* 16 digits fit */
        metrics__samples(out, name, label,
                         sent ? &metrics->snapshots[n].send : &metrics->snapshots[n].receive);
    }
}

static void print_snapshots(const struct metrics *metrics, const struct member *member,
                            struct buf *out)
{
    static const struct {
        const char *name, *type, *label, *help;
    } rows[SNAPSHOT_METRIC_COUNT] = {
        {"etcd_network_snapshot_send_inflights_total", "gauge", "To",
         "Total number of inflight snapshot sends"},
        {"etcd_network_snapshot_send_success", "counter", "To",
         "Total number of successful snapshot sends"},
        {"etcd_network_snapshot_send_failures", "counter", "To",
         "Total number of snapshot send failures"},
        {"etcd_network_snapshot_receive_inflights_total", "gauge", "From",
         "Total number of inflight snapshot receives"},
        {"etcd_network_snapshot_receive_success", "counter", "From",
         "Total number of successful snapshot receives"},
        {"etcd_network_snapshot_receive_failures", "counter", "From",
         "Total number of snapshot receive failures"},
    };
    uint64_t id, applying = 0;
    struct peer_stats stats;

    for (int metric = 0; metric < SNAPSHOT_METRIC_COUNT; metric++) {
        metrics__head(out, rows[metric].name, rows[metric].type, rows[metric].help);
        for (size_t n = 0; n < METRICS_PEERS_MAX && member_peer(member, n, &id, &stats); n++)
            (void)buf_printf(out, "%s{%s=\"%llx\"} %llu\n", rows[metric].name, rows[metric].label,
                             (unsigned long long)id,
                             (unsigned long long)snapshot_value(&metrics->snapshots[n], metric));
    }
    print_snapshot_times(metrics, member, out, true);
    print_snapshot_times(metrics, member, out, false);
    for (size_t n = 0; n < METRICS_PEERS_MAX; n++)
        applying += metrics->snapshots[n].receiving;
    metrics__uint(out, "etcd_server_snapshot_apply_in_progress_total", "gauge",
                  "1 if the server is applying the incoming snapshot. 0 if none.", applying != 0);
}

void metrics_print(const struct metrics *metrics, const struct member *member, struct buf *out)
{
    print_versions(out);
    if (member != NULL) {
        struct member_info info;

        member_info(member, &info);
        print_member(&info, out);
        metrics__print_lease_time(&info, out);
        print_alarms(member, out);
        metrics__print_peers(member, info.member_id, out);
        print_snapshots(metrics, member, out);
    }
    print_counters(metrics, out);
    metrics__print_clients(metrics, out);
    print_checks(metrics, out);
    metrics__print_methods(metrics, out);
    print_scrapes(metrics, out);
    metrics__print_process(out);
}
