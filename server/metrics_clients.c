/* What clients ask for, and how long the work for it takes: requests by the version of the client,
 * leases, hashes and ranges. */
#include <string.h>

#include "base/arena.h"
#include "server/member.h"
#include "server/metrics_internal.h"

/* ---- requests ---- */

/* The version of those that say none that makes sense, or one of too many. */
#define OTHER "other"

/* A label that is made of what a client sent: nothing to escape, and short. */
static bool is_version(struct slice text)
{
    if (text.len == 0 || text.len > METRICS_VERSION_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] > '~' || text.data[i] == '"' ||
            text.data[i] == '\\')
            return false;
    return !slice_eq(text, slice_str(OTHER));
}

/* Its row, a new one while there is room; the last row is for all others. */
static struct metrics_client *client_of(struct metrics *metrics, struct slice version)
{
    struct metrics_client *client = metrics->clients;

    if (version.data == NULL)
        version = slice_str("unknown"); /* as etcd */
    if (!is_version(version))
        return &metrics->clients[METRICS_CLIENTS_MAX];
    for (size_t i = 0; i < METRICS_CLIENTS_MAX; i++, client++) {
        if (client->version[0] == '\0')
            memcpy(client->version, version.data, version.len);
        if (slice_eq(slice_str(client->version), version))
            return client;
    }
    return client;
}

void metrics_count_request(struct metrics *metrics, bool stream, struct slice version)
{
    client_of(metrics, version)->requests[stream]++;
}

static void print_requests(const struct metrics *metrics, struct buf *out)
{
    static const char name[] = "etcd_server_client_requests_total";
    static const char *const types[] = {"unary", "stream"};

    metrics__head(out, name, "counter", "The total number of client requests per client version.");
    for (size_t i = 0; i <= METRICS_CLIENTS_MAX; i++) {
        const struct metrics_client *client = &metrics->clients[i];

        for (size_t stream = 0; stream < 2; stream++)
            if (client->requests[stream] != 0)
                (void)buf_printf(out, "%s{client_api_version=\"%s\",type=\"%s\"} %llu\n", name,
                                 i < METRICS_CLIENTS_MAX ? client->version : OTHER, types[stream],
                                 (unsigned long long)client->requests[stream]);
    }
}

/* ---- work ---- */

static void print_whole(struct buf *out, const char *name, const char *help,
                        const struct metrics_histogram *histogram)
{
    metrics__head(out, name, "histogram", help);
    metrics__samples(out, name, NULL, histogram);
}

static void print_work(const struct metrics *metrics, struct buf *out)
{
    static const char ranges[] = "etcd_server_range_duration_seconds";

    print_whole(out, "etcd_mvcc_hash_duration_seconds",
                "The latency distribution of storage hash operation.", &metrics->hash);
    print_whole(out, "etcd_mvcc_hash_rev_duration_seconds",
                "The latency distribution of storage hash by revision operation.",
                &metrics->hash_rev);
    metrics__head(out, ranges, "histogram", "The latency distributions of txn.Range");
    metrics__samples(out, ranges, "success=\"false\"", &metrics->range_failed);
    metrics__samples(out, ranges, "success=\"true\"", &metrics->range);
}

/* ---- leases ---- */

static void print_leases(const struct metrics *metrics, struct buf *out)
{
    metrics__uint(out, "etcd_debugging_lease_granted_total", "counter",
                  "The total number of granted leases.", metrics->leases_granted);
    metrics__uint(out, "etcd_debugging_lease_revoked_total", "counter",
                  "The total number of revoked leases.", metrics->leases_revoked);
    print_whole(out, "etcd_debugging_lease_ttl_total", "Bucketed histogram of lease TTLs.",
                &metrics->lease_ttl);
}

void metrics__print_lease_time(const struct member_info *info, struct buf *out)
{
    metrics__uint(out, "etcd_debugging_lease_renewed_total", "counter",
                  "The number of renewed leases seen by the leader.", info->leases_renewed);
    metrics__uint(out, "etcd_debugging_server_lease_expired_total", "counter",
                  "The total number of expired leases.", info->leases_expired);
}

void metrics__print_clients(const struct metrics *metrics, struct buf *out)
{
    print_requests(metrics, out);
    print_work(metrics, out);
    print_leases(metrics, out);
}
