/* What is counted of calls, by method: the names and labels of go-grpc-prometheus, which etcd uses.
 */
#include "server/metrics_internal.h"

static const char *kind_name(enum grpc_kind kind)
{
    static const char *const names[] = {
        [GRPC_UNARY] = "unary",
        [GRPC_SERVER_STREAM] = "server_stream",
        [GRPC_BIDI_STREAM] = "bidi_stream",
    };

    return names[kind];
}

static void print_labels(struct buf *out, const char *name, const struct grpc_method *method)
{
    (void)buf_printf(out, "%s{grpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\"", name,
                     method->name, method->service, kind_name(method->kind));
}

static void print_by_method(const struct metrics *metrics, struct buf *out, const char *name,
                            const char *help, const uint64_t *values)
{
    metrics__head(out, name, "counter", help);
    for (size_t i = 0; i < metrics->method_count; i++) {
        print_labels(out, name, &metrics->methods[i]);
        (void)buf_printf(out, "} %llu\n", (unsigned long long)values[i]);
    }
}

/* All combinations are there from the start: a rate over a counter that begins with its first event
 * misses that event. */
static void print_handled(const struct metrics *metrics, struct buf *out)
{
    static const char name[] = "grpc_server_handled_total";

    metrics__head(out, name, "counter",
                  "Total number of RPCs completed on the server, regardless of success or "
                  "failure.");
    for (size_t i = 0; i < metrics->method_count; i++) {
        for (int code = 0; code < GRPC_STATUS_COUNT; code++) {
            print_labels(out, name, &metrics->methods[i]);
            (void)buf_printf(out, ",grpc_code=\"%s\"} %llu\n",
                             grpc_status_name((enum grpc_status)code),
                             (unsigned long long)metrics->handled[i][code]);
        }
    }
}

static const double handling_ends[METRICS_HANDLING_BUCKETS] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                               0.5,   1,    2.5,   5,    10};

void metrics_observe_handling(struct metrics_handling *handling, double seconds)
{
    size_t n = 0;

    while (n < METRICS_HANDLING_BUCKETS && seconds > handling_ends[n])
        n++;
    handling->count[n]++;
    handling->sum += seconds;
}

static void print_handling_of(const struct grpc_method *method,
                              const struct metrics_handling *handling, struct buf *out)
{
    uint64_t sum = 0;

    for (size_t n = 0; n < METRICS_HANDLING_BUCKETS; n++) {
        sum += handling->count[n];
        print_labels(out, "grpc_server_handling_seconds_bucket", method);
        (void)buf_printf(out, ",le=\"%.10g\"} %llu\n", handling_ends[n], (unsigned long long)sum);
    }
    sum += handling->count[METRICS_HANDLING_BUCKETS];
    print_labels(out, "grpc_server_handling_seconds_bucket", method);
    (void)buf_printf(out, ",le=\"+Inf\"} %llu\n", (unsigned long long)sum);
    print_labels(out, "grpc_server_handling_seconds_sum", method);
    (void)buf_printf(out, "} %.15g\n", handling->sum);
    print_labels(out, "grpc_server_handling_seconds_count", method);
    (void)buf_printf(out, "} %llu\n", (unsigned long long)sum);
}

static void print_handling(const struct metrics *metrics, struct buf *out)
{
    metrics__head(out, "grpc_server_handling_seconds", "histogram",
                  "Histogram of response latency (seconds) of gRPC that had been "
                  "application-level handled by the server.");
    for (size_t i = 0; i < metrics->method_count; i++)
        print_handling_of(&metrics->methods[i], &metrics->handling[i], out);
}

void metrics__print_methods(const struct metrics *metrics, struct buf *out)
{
    print_by_method(metrics, out, "grpc_server_started_total",
                    "Total number of RPCs started on the server.", metrics->started);
    print_by_method(metrics, out, "grpc_server_msg_received_total",
                    "Total number of RPC stream messages received on the server.",
                    metrics->received);
    print_by_method(metrics, out, "grpc_server_msg_sent_total",
                    "Total number of gRPC stream messages sent by the server.", metrics->sent);
    print_handled(metrics, out);
    if (metrics->handling != NULL)
        print_handling(metrics, out);
}
