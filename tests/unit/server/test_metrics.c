/* The metrics text, read by a small parser of the Prometheus format; the member behind it is a
 * fake. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/version.h"
#include "server/member.h"
#include "server/metrics.h"

/* ---- the member ---- */

struct member {
    struct member_info info;
    uint64_t peers[2];
    struct peer_stats stats[2];
    struct machine_member table[2];
    struct machine_alarm alarms[3];
};

void member_info(const struct member *member, struct member_info *out)
{
    *out = member->info;
}

bool member_peer(const struct member *member, size_t n, uint64_t *id, struct peer_stats *out)
{
    if (n >= ARRAY_LEN(member->peers))
        return false;
    *id = member->peers[n];
    *out = member->stats[n];
    return true;
}

const struct machine_member *member_table(const struct member *member, size_t *len)
{
    *len = ARRAY_LEN(member->table);
    return member->table;
}

const struct machine_alarm *member_alarms(const struct member *member, size_t *len)
{
    *len = ARRAY_LEN(member->alarms);
    return member->alarms;
}

static const struct member fake = {
    .info =
        {
            .cluster_id = 1,
            .member_id = 0x8e9e05c52164694d,
            .raft = {.role = REPLICA_LEADER,
                     .term = 4,
                     .leader = 0x8e9e05c52164694d,
                     .commit_index = 12,
                     .applied_index = 11,
                     .pending = 3,
                     .cache_bytes = 77},
            .revision = 9,
            .compact_revision = -1,
            .keys = 6,
            .db_size = 1000,
            .db_size_in_use = 900,
            .quota = -1,
            .quota_warned = 85,
            .leases_renewed = 21,
            .leases_expired = 22,
            .wal_bytes = 16777216,
            .alarm_nospace = true,
        },
    .peers = {0xab, 0xcd},
    .table = {{.id = 0xab}, {.id = 0x8e9e05c52164694d}},
    .alarms = {{.member = 0xab, .type = 1}, {.member = 0, .type = 2}, {.member = 9, .type = 77}},
    .stats =
        {
            {.connected = true,
             .sent_bytes = 10,
             .received_bytes = 20,
             .round_trips = {[0] = 2, [4] = 1, [PEER_ROUND_TRIP_BUCKETS] = 1},
             .round_trip_sum_us = 1500},
            {.connected = false, .sent_failures = 5, .received_failures = 2},
        },
};

/* ---- the methods ---- */

static const struct grpc_method methods[] = {
    {.service = "etcdserverpb.KV", .name = "Range", .kind = GRPC_UNARY},
    {.service = "etcdserverpb.Watch", .name = "Watch", .kind = GRPC_BIDI_STREAM},
    {.service = "etcdserverpb.Maintenance", .name = "Snapshot", .kind = GRPC_SERVER_STREAM},
};

/* ---- the parser ---- */

struct fixture {
    struct metrics metrics;
    struct buf text;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    metrics_init(&f->metrics, methods, ARRAY_LEN(methods), true);
    buf_init(&f->text, 1 << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    metrics_release(&f->metrics);
    buf_release(&f->text);
    free(f);
    return 0;
}

static const char *print(struct fixture *f, const struct member *member)
{
    buf_reset(&f->text);
    metrics_print(&f->metrics, member, &f->text);
    assert_int_equal(buf_append_u8(&f->text, '\0'), 0);
    return (const char *)f->text.data;
}

/* The line that starts with sample, or NULL. */
static const char *find(const struct fixture *f, const char *sample)
{
    const char *line = (const char *)f->text.data;
    size_t len = strlen(sample);

    while (line != NULL) {
        if (strncmp(line, sample, len) == 0 && line[len] == ' ')
            return line;
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return NULL;
}

/* Value of the sample with exactly this name and these labels. */
static double value(const struct fixture *f, const char *sample)
{
    const char *line = find(f, sample);

    if (line == NULL)
        print_error("no sample %s\n", sample);
    assert_non_null(line);
    return strtod(line + strlen(sample), NULL);
}

static void assert_value(const struct fixture *f, const char *sample, double expected)
{
    double got = value(f, sample);

    if (fabs(got - expected) > 1e-9)
        print_error("%s is %g\n", sample, got);
    assert_true(fabs(got - expected) <= 1e-9);
}

/* One sample line: name, optionally {label="value",...}, a blank, a number. Returns the length of
 * the name. */
static size_t check_sample(const char *line)
{
    size_t name = strspn(line, "abcdefghijklmnopqrstuvwxyz_");
    const char *at = line + name;
    char *end;

    assert_true(name > 0);
    if (*at == '{') {
        do {
            at++;
            at += strspn(at, "abcdefghijklmnopqrstuvwxyzLRTF_"); /* also Local, Remote, To, From */
            assert_memory_equal(at, "=\"", 2);
            at += 2;
            at += strcspn(at, "\"\\\n");
            assert_int_equal(*at, '"');
            at++;
        } while (*at == ',');
        assert_int_equal(*at++, '}');
    }
    assert_int_equal(*at++, ' ');
    (void)strtod(at, &end);
    assert_true(end > at);
    assert_int_equal(*end, '\0');
    return name;
}

static bool belongs(const char *line, size_t name, const char *family, const char *type)
{
    size_t len = strlen(family);

    if (strncmp(line, family, len) != 0)
        return false;
    if (strcmp(type, "histogram") != 0)
        return name == len;
    return strncmp(line + len, "_bucket", name - len) == 0 ||
           strncmp(line + len, "_sum", name - len) == 0 ||
           strncmp(line + len, "_count", name - len) == 0;
}

/* ---- tests ---- */

/* Every family has HELP, then TYPE, then its samples; no family and no sample comes twice. */
static void the_text_follows_the_format(void **state)
{
    struct fixture *f = *state;
    char *text = strdup(print(f, &fake));
    char *rest = text;
    char family[128] = "", type[32] = "";
    const char *seen[1024];
    size_t seen_len = 0;
    char *line;

    assert_int_equal(text[strlen(text) - 1], '\n');
    text[strlen(text) - 1] = '\0';
    while ((line = strsep(&rest, "\n")) != NULL) {
        size_t name;

        if (strncmp(line, "# HELP ", 7) == 0) {
            char next[sizeof family];

            assert_int_equal(sscanf(line, "# HELP %127s", next), 1);
            for (size_t i = 0; i < seen_len; i++)
                assert_string_not_equal(seen[i], line);
            seen[seen_len++] = line;
            line = strsep(&rest, "\n");
            assert_int_equal(sscanf(line, "# TYPE %127s %31s", family, type), 2);
            assert_string_equal(family, next);
            continue;
        }
        name = check_sample(line);
        assert_true(belongs(line, name, family, type));
        for (size_t i = 0; i < seen_len; i++)
            assert_string_not_equal(seen[i], line);
        assert_true(seen_len < ARRAY_LEN(seen));
        seen[seen_len++] = line;
    }
    free(text);
}

static void what_the_member_knows_is_told(void **state)
{
    struct fixture *f = *state;

    (void)print(f, &fake);
    assert_value(f, "etcd_server_has_leader", 1);
    assert_value(f, "etcd_server_is_leader", 1);
    assert_value(f, "etcd_server_is_learner", 0);
    assert_value(f, "etcd_server_proposals_committed_total", 12);
    assert_value(f, "etcd_server_proposals_applied_total", 11);
    assert_value(f, "etcd_server_proposals_pending", 3);
    assert_value(f, "etcd_mvcc_db_total_size_in_bytes", 1000);
    assert_value(f, "etcd_mvcc_db_total_size_in_use_in_bytes", 900);
    assert_value(f, "etcd_debugging_mvcc_keys_total", 6);
    assert_value(f, "etcd_debugging_mvcc_current_revision", 9);
    assert_value(f, "etcd_debugging_mvcc_compact_revision", -1);
    assert_value(f, "etcd_server_id{server_id=\"8e9e05c52164694d\"}", 1);
    assert_value(f, "kvd_server_alarm{alarm_type=\"NOSPACE\"}", 1);
    assert_value(f, "kvd_server_alarm{alarm_type=\"CORRUPT\"}", 0);
    assert_value(f, "etcd_server_quota_backend_bytes", -1);
    assert_value(f, "kvd_server_quota_warning_percent", 85);
    assert_value(f, "etcd_debugging_server_alarms{alarm_type=\"NOSPACE\",server_id=\"ab\"}", 1);
    assert_value(f, "etcd_debugging_server_alarms{alarm_type=\"CORRUPT\",server_id=\"ab\"}", 0);
    assert_value(
        f, "etcd_debugging_server_alarms{alarm_type=\"NOSPACE\",server_id=\"8e9e05c52164694d\"}",
        0);
    assert_value(f, "etcd_debugging_server_alarms{alarm_type=\"CORRUPT\",server_id=\"0\"}", 1);
    assert_null(strstr((const char *)f->text.data, "server_id=\"9\""));
}

static void peers_are_told_by_id(void **state)
{
    struct fixture *f = *state;

    (void)print(f, &fake);
    assert_value(f, "etcd_network_peer_sent_bytes_total{To=\"ab\"}", 10);
    assert_value(f, "etcd_network_peer_received_bytes_total{From=\"ab\"}", 20);
    assert_value(f, "etcd_network_peer_sent_failures_total{To=\"cd\"}", 5);
    assert_value(f, "etcd_network_active_peers{Local=\"8e9e05c52164694d\",Remote=\"ab\"}", 1);
    assert_value(f, "etcd_network_active_peers{Local=\"8e9e05c52164694d\",Remote=\"cd\"}", 0);
    assert_value(f, "etcd_network_peer_received_failures_total{From=\"cd\"}", 2);
    assert_value(f, "etcd_network_known_peers{Local=\"8e9e05c52164694d\",Remote=\"cd\"}", 1);
#define ROUND_TRIP "etcd_network_peer_round_trip_time_seconds"
    assert_value(f, ROUND_TRIP "_bucket{To=\"ab\",le=\"0.0001\"}", 2);
    assert_value(f, ROUND_TRIP "_bucket{To=\"ab\",le=\"0.0016\"}", 3);
    assert_value(f, ROUND_TRIP "_bucket{To=\"ab\",le=\"3.2768\"}", 3);
    assert_value(f, ROUND_TRIP "_bucket{To=\"ab\",le=\"+Inf\"}", 4);
    assert_value(f, ROUND_TRIP "_sum{To=\"ab\"}", 0.0015);
    assert_value(f, ROUND_TRIP "_count{To=\"cd\"}", 0);
}

/* --metrics=extensive; without it there is no such metric. */
static void durations_of_calls_are_told_if_wanted(void **state)
{
    struct fixture *f = *state;

    metrics_observe_handling(&f->metrics.handling[1], 0.005);
    metrics_observe_handling(&f->metrics.handling[1], 0.3);
    metrics_observe_handling(&f->metrics.handling[1], 11);
    (void)print(f, NULL);
#define LABELS "grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\""
#define HANDLING "grpc_server_handling_seconds"
    assert_value(f, HANDLING "_bucket{" LABELS ",le=\"0.005\"}", 1);
    assert_value(f, HANDLING "_bucket{" LABELS ",le=\"0.25\"}", 1);
    assert_value(f, HANDLING "_bucket{" LABELS ",le=\"0.5\"}", 2);
    assert_value(f, HANDLING "_bucket{" LABELS ",le=\"10\"}", 2);
    assert_value(f, HANDLING "_bucket{" LABELS ",le=\"+Inf\"}", 3);
    assert_value(f, HANDLING "_sum{" LABELS "}", 11.305);
    assert_value(f, HANDLING "_count{" LABELS "}", 3);
    free(f->metrics.handling);
    f->metrics.handling = NULL;
    assert_null(strstr(print(f, NULL), HANDLING));
}

static void requests_are_counted_by_the_version_of_the_client(void **state)
{
    struct fixture *f = *state;

    metrics_count_request(&f->metrics, false, slice_str("3.5"));
    metrics_count_request(&f->metrics, true, slice_str("3.5"));
    metrics_count_request(&f->metrics, false, slice_str("3.5"));
    metrics_count_request(&f->metrics, false, slice_of(NULL, 0));
    (void)print(f, NULL);
#define REQUESTS "etcd_server_client_requests_total"
    assert_value(f, REQUESTS "{client_api_version=\"3.5\",type=\"unary\"}", 2);
    assert_value(f, REQUESTS "{client_api_version=\"3.5\",type=\"stream\"}", 1);
    assert_value(f, REQUESTS "{client_api_version=\"unknown\",type=\"unary\"}", 1);
    assert_null(strstr((const char *)f->text.data, "version=\"unknown\",type=\"stream\""));
    assert_null(strstr((const char *)f->text.data, "\"other\""));
}

/* Whatever clients call themselves: the text stays small, and a text. */
static void versions_that_clients_make_up_are_counted_together(void **state)
{
    static const char *const bad[] = {
        "", "a b", "a\"b", "a\nb", "a\\", "\xc3\xa4", "other", "12345678901234567890123456789012"};
    struct fixture *f = *state;
    char version[32];
    size_t lines = 0;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        metrics_count_request(&f->metrics, false, slice_str(bad[i]));
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(version, sizeof version, "9.%d", i);
        metrics_count_request(&f->metrics, false, slice_str(version));
    }
    metrics_count_request(&f->metrics, false, slice_str("9.0"));
    (void)print(f, NULL);
    assert_value(f, REQUESTS "{client_api_version=\"9.0\",type=\"unary\"}", 2);
    assert_value(f, REQUESTS "{client_api_version=\"9.15\",type=\"unary\"}", 1);
    assert_value(f, REQUESTS "{client_api_version=\"other\",type=\"unary\"}",
                 ARRAY_LEN(bad) + 1000 - METRICS_CLIENTS_MAX);
    for (const char *at = (const char *)f->text.data; (at = strstr(at, REQUESTS "{")) != NULL; at++)
        lines++;
    assert_int_equal(lines, METRICS_CLIENTS_MAX + 1);
    the_text_follows_the_format(state);
}

static void leases_hashes_and_ranges_are_told_as_by_etcd(void **state)
{
    struct fixture *f = *state;

    f->metrics.leases_granted = 3;
    f->metrics.leases_revoked = 2;
    metrics_observe(&f->metrics.lease_ttl, 1);
    metrics_observe(&f->metrics.lease_ttl, 5);
    metrics_observe(&f->metrics.lease_ttl, 9e9);
    metrics_observe(&f->metrics.hash, 0.03);
    metrics_observe(&f->metrics.range, 0.0001);
    metrics_observe(&f->metrics.range_failed, 0.3);
    (void)print(f, &fake);
    assert_value(f, "etcd_debugging_lease_granted_total", 3);
    assert_value(f, "etcd_debugging_lease_revoked_total", 2);
    assert_value(f, "etcd_debugging_lease_renewed_total", 21);
    assert_value(f, "etcd_debugging_server_lease_expired_total", 22);
    assert_value(f, "etcd_debugging_lease_ttl_total_bucket{le=\"1\"}", 1);
    assert_value(f, "etcd_debugging_lease_ttl_total_bucket{le=\"4\"}", 1);
    assert_value(f, "etcd_debugging_lease_ttl_total_bucket{le=\"8\"}", 2);
    assert_value(f, "etcd_debugging_lease_ttl_total_bucket{le=\"8388608\"}", 2);
    assert_value(f, "etcd_debugging_lease_ttl_total_count", 3);
    assert_value(f, "etcd_debugging_lease_ttl_total_sum", 9000000006);
    assert_value(f, "etcd_mvcc_hash_duration_seconds_bucket{le=\"0.02\"}", 0);
    assert_value(f, "etcd_mvcc_hash_duration_seconds_bucket{le=\"0.04\"}", 1);
    assert_value(f, "etcd_mvcc_hash_rev_duration_seconds_bucket{le=\"163.84\"}", 0);
    assert_value(f, "etcd_server_range_duration_seconds_bucket{success=\"true\",le=\"0.0001\"}", 1);
    assert_value(f, "etcd_server_range_duration_seconds_sum{success=\"false\"}", 0.3);
    assert_value(f, "etcd_server_range_duration_seconds_bucket{success=\"false\",le=\"52.4288\"}",
                 1);
}

static void counters_are_told(void **state)
{
    struct fixture *f = *state;

    f->metrics.leader_changes = 1;
    f->metrics.proposals_failed = 2;
    f->metrics.puts = 3;
    f->metrics.deletes = 4;
    f->metrics.ranges = 5;
    f->metrics.txns = 6;
    f->metrics.client_received_bytes = 7;
    f->metrics.client_sent_bytes = 8;
    f->metrics.wal_written_bytes = 9;
    f->metrics.health_failures = 10;
    f->metrics.checks[METRICS_READYZ_LINEARIZABLE_READ].error = 11;
    (void)print(f, NULL);
    assert_value(f, "etcd_server_leader_changes_seen_total", 1);
    assert_value(f, "etcd_server_proposals_failed_total", 2);
    assert_value(f, "etcd_mvcc_put_total", 3);
    assert_value(f, "etcd_mvcc_delete_total", 4);
    assert_value(f, "etcd_mvcc_range_total", 5);
    assert_value(f, "etcd_mvcc_txn_total", 6);
    assert_value(f, "etcd_network_client_grpc_received_bytes_total", 7);
    assert_value(f, "etcd_network_client_grpc_sent_bytes_total", 8);
    assert_value(f, "etcd_disk_wal_write_bytes_total", 9);
    assert_value(f, "etcd_server_health_failures", 10);
    assert_value(f,
                 "etcd_server_healthchecks_total{type=\"readyz\",name=\"linearizable_read\","
                 "status=\"error\"}",
                 11);
    assert_value(f, "etcd_server_healthcheck{type=\"readyz\",name=\"linearizable_read\"}", 0);
    assert_null(find(f, "etcd_server_healthcheck{type=\"livez\",name=\"serializable_read\"}"));
    assert_value(f, "etcd_server_version{server_version=\"" ETCD_API_VERSION "\"}", 1);
    assert_value(f, "etcd_cluster_version{cluster_version=\"" ETCD_API_LINE "\"}", 1);
}

/* Bounds are inclusive, counts are cumulative, and what lies above all is in +Inf only. */
static void histograms_count_into_etcds_buckets(void **state)
{
    struct fixture *f = *state;

    metrics_observe(&f->metrics.wal_fsync, 0.0005);
    metrics_observe(&f->metrics.wal_fsync, 0.001);
    metrics_observe(&f->metrics.wal_fsync, 0.0011);
    metrics_observe(&f->metrics.wal_fsync, 8.192);
    metrics_observe(&f->metrics.wal_fsync, 9);
    metrics_observe(&f->metrics.apply, 0.0001);
    (void)print(f, NULL);
    assert_value(f, "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"}", 2);
    assert_value(f, "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.002\"}", 3);
    assert_value(f, "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"4.096\"}", 3);
    assert_value(f, "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"}", 4);
    assert_null(find(f, "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"16.384\"}"));
    assert_value(f, "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"}", 5);
    assert_value(f, "etcd_disk_wal_fsync_duration_seconds_count", 5);
    assert_value(f, "etcd_disk_wal_fsync_duration_seconds_sum", 17.1946);
    assert_value(f, "kvd_server_apply_duration_seconds_bucket{le=\"0.0001\"}", 1);
    assert_value(f, "kvd_server_apply_duration_seconds_bucket{le=\"52.4288\"}", 1);
}

static void every_method_and_code_is_there_from_the_start(void **state)
{
    static const char *const types[] = {"unary", "bidi_stream", "server_stream"};
    struct fixture *f = *state;

    (void)print(f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        char labels[256], sample[512];

        (void)snprintf(labels, sizeof labels,
                       "grpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\"", methods[i].name,
                       methods[i].service, types[i]);
        (void)snprintf(sample, sizeof sample, "grpc_server_started_total{%s}", labels);
        assert_value(f, sample, 0);
        for (int code = 0; code < GRPC_STATUS_COUNT; code++) {
            (void)snprintf(sample, sizeof sample, "grpc_server_handled_total{%s,grpc_code=\"%s\"}",
                           labels, grpc_status_name((enum grpc_status)code));
            assert_value(f, sample, 0);
        }
    }
}

static void calls_are_counted_by_method_and_code(void **state)
{
    struct fixture *f = *state;

    f->metrics.started[0] = 4;
    f->metrics.received[1] = 5;
    f->metrics.sent[2] = 6;
    f->metrics.handled[0][GRPC_OUT_OF_RANGE] = 7;
    (void)print(f, NULL);
    assert_value(f,
                 "grpc_server_started_total{grpc_method=\"Range\",grpc_service=\"etcdserverpb."
                 "KV\",grpc_type=\"unary\"}",
                 4);
    assert_value(f,
                 "grpc_server_msg_received_total{grpc_method=\"Watch\",grpc_service="
                 "\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"}",
                 5);
    assert_value(f,
                 "grpc_server_msg_sent_total{grpc_method=\"Snapshot\",grpc_service=\"etcdserverpb."
                 "Maintenance\",grpc_type=\"server_stream\"}",
                 6);
    assert_value(f,
                 "grpc_server_handled_total{grpc_method=\"Range\",grpc_service=\"etcdserverpb."
                 "KV\",grpc_type=\"unary\",grpc_code=\"OutOfRange\"}",
                 7);
}

static void the_process_is_described_as_the_kernel_sees_it(void **state)
{
    struct fixture *f = *state;
    double now = (double)time(NULL);
    int extra;

    (void)print(f, NULL);
    assert_true(value(f, "process_resident_memory_bytes") > 100000);
    assert_true(value(f, "process_virtual_memory_bytes") >=
                value(f, "process_resident_memory_bytes"));
    assert_true(value(f, "process_cpu_seconds_total") >= 0);
    assert_true(value(f, "process_start_time_seconds") > now - 3600);
    assert_true(value(f, "process_start_time_seconds") < now + 5);
    assert_true(value(f, "process_max_fds") >= value(f, "process_open_fds"));
    assert_value(f, "os_fd_used", value(f, "process_open_fds"));
    now = value(f, "process_open_fds");
    extra = dup(STDOUT_FILENO);
    (void)print(f, NULL);
    assert_value(f, "process_open_fds", now + 1);
    assert_int_equal(close(extra), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_text_follows_the_format, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_member_knows_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(peers_are_told_by_id, setup, teardown),
        cmocka_unit_test_setup_teardown(durations_of_calls_are_told_if_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(counters_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(requests_are_counted_by_the_version_of_the_client, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(versions_that_clients_make_up_are_counted_together, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(leases_hashes_and_ranges_are_told_as_by_etcd, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(histograms_count_into_etcds_buckets, setup, teardown),
        cmocka_unit_test_setup_teardown(every_method_and_code_is_there_from_the_start, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(calls_are_counted_by_method_and_code, setup, teardown),
        cmocka_unit_test_setup_teardown(the_process_is_described_as_the_kernel_sees_it, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
