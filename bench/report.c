#include <stdio.h>

#include "base/util.h"
#include "bench/bench.h"

/* Slot of a value: exact below 128 us, then 128 slots per doubling. */
static size_t slot_of(uint64_t us)
{
    unsigned shift = 0;
    size_t slot;

    while (us >> shift >= 256)
        shift++;
    slot = shift * 128 + (size_t)(us >> shift);
    return MIN(slot, (size_t)HISTOGRAM_SLOTS - 1);
}

static uint64_t slot_end(size_t slot)
{
    size_t shift = slot < 256 ? 0 : (slot - 128) / 128;

    return ((uint64_t)(slot - shift * 128) + 1) << shift;
}

void histogram_add(struct histogram *histogram, uint64_t us)
{
    histogram->slots[slot_of(us)]++;
    histogram->count++;
    histogram->max_us = MAX(histogram->max_us, us);
}

uint64_t histogram_at(const struct histogram *histogram, double share)
{
    double wanted = share * (double)histogram->count;
    uint64_t seen = 0;

    for (size_t i = 0; i < HISTOGRAM_SLOTS; i++) {
        seen += histogram->slots[i];
        if (seen != 0 && (double)seen >= wanted)
            return MIN(slot_end(i), histogram->max_us);
    }
    return histogram->max_us;
}

const char *bench_op_name(enum bench_op op)
{
    static const char *const names[] = {"put", "get", "get-serializable", "txn", "mixed"};

    return names[op];
}

static double per_request_us(double seconds, uint64_t requests)
{
    return requests == 0 ? 0 : seconds * 1e6 / (double)requests;
}

static double load_average(void)
{
    double load = 0;
    FILE *f = fopen("/proc/loadavg", "r");

    if (f == NULL)
        return 0;
    if (fscanf(f, "%lf", &load) != 1)
        load = 0;
    (void)fclose(f); /* read only */
    return load;
}

void bench_report(const struct bench_options *options, const struct bench_result *r)
{
    const struct histogram *h = &r->latency;
    const char *format =
        options->json
            ? "{\"op\":\"%s\",\"clients\":%u,\"connections\":%u,\"requests\":%llu,\"errors\":%llu,"
              "\"req_s\":%.0f,\"p50_us\":%llu,\"p90_us\":%llu,\"p99_us\":%llu,\"p999_us\":%llu,"
              "\"max_us\":%llu,\"server_cpu_us\":%.2f,\"own_cpu_us\":%.2f,"
              "\"server_rss_mib\":%.1f,\"load\":%.2f}\n"
            : "%s, %u clients on %u connections: %llu requests, %llu errors, %.0f req/s\n"
              "  latency us: p50 %llu  p90 %llu  p99 %llu  p99.9 %llu  max %llu\n"
              "  CPU us per request: server %.2f, generator %.2f; server memory %.1f MiB; load "
              "average %.2f\n";

    printf(format, bench_op_name(options->op), options->clients, options->connections,
           (unsigned long long)r->requests, (unsigned long long)r->errors,
           r->seconds > 0 ? (double)r->requests / r->seconds : 0.0,
           (unsigned long long)histogram_at(h, 0.5), (unsigned long long)histogram_at(h, 0.9),
           (unsigned long long)histogram_at(h, 0.99), (unsigned long long)histogram_at(h, 0.999),
           (unsigned long long)h->max_us, per_request_us(r->server_cpu_s, r->requests),
           per_request_us(r->own_cpu_s, r->requests), (double)r->server_rss_bytes / 1048576.0,
           load_average());
    if (r->errors != 0)
        fprintf(stderr, "kvbench: %llu errors, the first: %s\n", (unsigned long long)r->errors,
                r->first_error);
}
