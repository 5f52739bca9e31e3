/* What is counted of the connections to and from each peer. */
#include "server/member.h"
#include "server/metrics_internal.h"

enum peer_metric {
    PEER_SENT_BYTES,
    PEER_RECEIVED_BYTES,
    PEER_SENT_FAILURES,
    PEER_RECEIVED_FAILURES,
    PEER_ACTIVE,
    PEER_KNOWN,
    PEER_ROUND_TRIP,
    PEER_METRIC_COUNT,
};

static void print_round_trips(struct buf *out, const char *name, unsigned long long id,
                              const struct peer_stats *stats)
{
    uint64_t end_us = PEER_ROUND_TRIP_FIRST_US, sum = 0;

    for (size_t n = 0; n < PEER_ROUND_TRIP_BUCKETS; n++, end_us *= 2) {
        sum += stats->round_trips[n];
        (void)buf_printf(out, "%s_bucket{To=\"%llx\",le=\"%.10g\"} %llu\n", name, id,
                         (double)end_us / 1e6, (unsigned long long)sum);
    }
    sum += stats->round_trips[PEER_ROUND_TRIP_BUCKETS];
    (void)buf_printf(out, "%s_bucket{To=\"%llx\",le=\"+Inf\"} %llu\n", name, id,
                     (unsigned long long)sum);
    (void)buf_printf(out, "%s_sum{To=\"%llx\"} %.10g\n%s_count{To=\"%llx\"} %llu\n", name, id,
                     (double)stats->round_trip_sum_us / 1e6, name, id, (unsigned long long)sum);
}

static void print_peer(struct buf *out, enum peer_metric metric, const char *name, uint64_t self,
                       uint64_t peer, const struct peer_stats *stats)
{
    unsigned long long id = peer;

    switch (metric) {
    case PEER_SENT_BYTES:
        (void)buf_printf(out, "%s{To=\"%llx\"} %llu\n", name, id,
                         (unsigned long long)stats->sent_bytes);
        return;
    case PEER_RECEIVED_BYTES:
        (void)buf_printf(out, "%s{From=\"%llx\"} %llu\n", name, id,
                         (unsigned long long)stats->received_bytes);
        return;
    case PEER_SENT_FAILURES:
        (void)buf_printf(out, "%s{To=\"%llx\"} %llu\n", name, id,
                         (unsigned long long)stats->sent_failures);
        return;
    case PEER_RECEIVED_FAILURES:
        (void)buf_printf(out, "%s{From=\"%llx\"} %llu\n", name, id,
                         (unsigned long long)stats->received_failures);
        return;
    case PEER_KNOWN:
        (void)buf_printf(out, "%s{Local=\"%llx\",Remote=\"%llx\"} 1\n", name,
                         (unsigned long long)self, id);
        return;
    case PEER_ACTIVE:
        (void)buf_printf(out, "%s{Local=\"%llx\",Remote=\"%llx\"} %d\n", name,
                         (unsigned long long)self, id, stats->connected);
        return;
    case PEER_ROUND_TRIP:
        print_round_trips(out, name, id, stats);
        return;
    case PEER_METRIC_COUNT:
        break;
    }
    ASSERT(false);
}

void metrics__print_peers(const struct member *member, uint64_t self, struct buf *out)
{
    static const struct {
        const char *name, *type, *help;
    } rows[PEER_METRIC_COUNT] = {
        [PEER_SENT_BYTES] = {"etcd_network_peer_sent_bytes_total", "counter",
                             "The total number of bytes sent to peers."},
        [PEER_RECEIVED_BYTES] = {"etcd_network_peer_received_bytes_total", "counter",
                                 "The total number of bytes received from peers."},
        [PEER_SENT_FAILURES] = {"etcd_network_peer_sent_failures_total", "counter",
                                "The total number of send failures to peers."},
        [PEER_ACTIVE] = {"etcd_network_active_peers", "gauge",
                         "The current number of active peer connections."},
        [PEER_RECEIVED_FAILURES] = {"etcd_network_peer_received_failures_total", "counter",
                                    "The total number of receive failures from peers."},
        [PEER_KNOWN] = {"etcd_network_known_peers", "gauge", "The current number of known peers."},
        [PEER_ROUND_TRIP] = {"etcd_network_peer_round_trip_time_seconds", "histogram",
                             "Round-Trip-Time histogram between peers."},
    };

    for (size_t i = 0; i < PEER_METRIC_COUNT; i++) {
        struct peer_stats stats;
        uint64_t id;

        metrics__head(out, rows[i].name, rows[i].type, rows[i].help);
        for (size_t n = 0; member_peer(member, n, &id, &stats); n++)
            print_peer(out, (enum peer_metric)i, rows[i].name, self, id, &stats);
    }
}
