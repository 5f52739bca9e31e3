#include "kube/rest/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"

/* upstream's buckets of apiserver_request_duration_seconds, in microseconds. */
static const uint64_t bounds_us[] = {5000,     25000,    50000,    100000,   200000,  400000,
                                     600000,   800000,   1000000,  1250000,  1500000, 2000000,
                                     3000000,  4000000,  5000000,  6000000,  8000000, 10000000,
                                     15000000, 20000000, 30000000, 45000000, 60000000};

enum { CODES_MAX = 24 };

/* Requests that differ in their code only. */
struct rest_series {
    struct rest_series *next;
    const char *verb;                     /* static */
    const struct kube_resource *resource; /* NULL: no resource */
    const char *subresource, *scope;      /* static, or of the kinds table */
    struct {
        int code;
        uint64_t count;
    } codes[CODES_MAX];
    uint64_t buckets[ARRAY_LEN(bounds_us) + 1];
    uint64_t count, sum_us;
};

static size_t slot_of(const char *verb, const struct kube_resource *resource,
                      const char *subresource, const char *scope)
{
    const void *const parts[] = {verb, resource, subresource, scope};

    return hash_bytes(slice_of(parts, sizeof parts), 0) % REST_SERIES_SLOTS;
}

static struct rest_series *find(struct rest_metrics *metrics, const char *verb,
                                const struct kube_resource *resource, const char *subresource,
                                const char *scope)
{
    struct rest_series **slot = &metrics->slots[slot_of(verb, resource, subresource, scope)];
    struct rest_series *series;

    for (series = *slot; series != NULL; series = series->next)
        if (series->verb == verb && series->resource == resource &&
            series->subresource == subresource && series->scope == scope)
            return series;
    if (metrics->count == REST_SERIES_MAX)
        return NULL;
    metrics->count++;
    series = xcalloc(1, sizeof *series);
    series->verb = verb;
    series->resource = resource;
    series->subresource = subresource;
    series->scope = scope;
    series->next = *slot;
    *slot = series;
    return series;
}

static void count_code(struct rest_series *series, int code)
{
    size_t i = 0;

    while (i < CODES_MAX - 1 && series->codes[i].code != 0 && series->codes[i].code != code)
        i++;
    series->codes[i].code = code;
    series->codes[i].count++;
}

void rest_metrics_count(struct rest_metrics *metrics, const char *verb,
                        const struct kube_resource *resource, const char *subresource,
                        const char *scope, int code, uint64_t duration_us)
{
    struct rest_series *series = find(metrics, verb, resource, subresource, scope);
    size_t i = 0;

    if (series == NULL)
        return;
    count_code(series, code);
    while (i < ARRAY_LEN(bounds_us) && duration_us > bounds_us[i])
        i++;
    series->buckets[i]++;
    series->count++;
    series->sum_us += duration_us;
}

void rest_metrics_release(struct rest_metrics *metrics)
{
    for (size_t i = 0; i < REST_SERIES_SLOTS; i++) {
        while (metrics->slots[i] != NULL) {
            struct rest_series *series = metrics->slots[i];

            metrics->slots[i] = series->next;
            free(series);
        }
    }
}

/* ---- as text ---- */

static void write_labels(const struct rest_series *series, struct buf *out)
{
    const struct kube_resource *resource = series->resource;

    (void)buf_printf(out,
                     "component=\"apiserver\",dry_run=\"\",group=\"%s\",resource=\"%s\","
                     "scope=\"%s\",subresource=\"%s\",verb=\"%s\",version=\"%s\"",
                     resource != NULL ? resource->group : "",
                     resource != NULL ? resource->plural : "", series->scope, series->subresource,
                     series->verb, resource != NULL ? resource->version : "");
}

static void write_counts(const struct rest_series *series, struct buf *out)
{
    for (size_t i = 0; i < CODES_MAX && series->codes[i].code != 0; i++) {
        (void)buf_printf(out, "apiserver_request_total{code=\"%d\",", series->codes[i].code);
        write_labels(series, out);
        (void)buf_printf(out, "} %llu\n", (unsigned long long)series->codes[i].count);
    }
}

static void write_duration(const struct rest_series *series, struct buf *out)
{
    uint64_t count = 0;

    for (size_t i = 0; i <= ARRAY_LEN(bounds_us); i++) {
        count += series->buckets[i];
        (void)buf_printf(out, "apiserver_request_duration_seconds_bucket{");
        write_labels(series, out);
        if (i < ARRAY_LEN(bounds_us))
            (void)buf_printf(out, ",le=\"%g\"} %llu\n", (double)bounds_us[i] / 1e6,
                             (unsigned long long)count);
        else
            (void)buf_printf(out, ",le=\"+Inf\"} %llu\n", (unsigned long long)count);
    }
    (void)buf_printf(out, "apiserver_request_duration_seconds_sum{");
    write_labels(series, out);
    (void)buf_printf(out, "} %g\napiserver_request_duration_seconds_count{",
                     (double)series->sum_us / 1e6);
    write_labels(series, out);
    (void)buf_printf(out, "} %llu\n", (unsigned long long)series->count);
}

static void each_series(const struct rest_metrics *metrics, struct buf *out,
                        void (*write)(const struct rest_series *series, struct buf *out))
{
    for (size_t i = 0; i < REST_SERIES_SLOTS; i++)
        for (const struct rest_series *series = metrics->slots[i]; series != NULL;
             series = series->next)
            write(series, out);
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* Pages of resident memory: the second number of /proc/self/statm. */
static unsigned long long resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long long size = 0, resident = 0;

    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    (void)fclose(file); /* was only read */
    return resident * (unsigned long long)sysconf(_SC_PAGESIZE);
}

static void write_process(struct buf *out)
{
    struct rusage usage = {0};

    (void)getrusage(RUSAGE_SELF, &usage); /* cannot fail with these arguments */
    (void)buf_printf(out,
                     "# HELP process_cpu_seconds_total Total user and system CPU time spent in "
                     "seconds.\n"
                     "# TYPE process_cpu_seconds_total counter\n"
                     "process_cpu_seconds_total %.2f\n"
                     "# HELP process_resident_memory_bytes Resident memory size in bytes.\n"
                     "# TYPE process_resident_memory_bytes gauge\n"
                     "process_resident_memory_bytes %llu\n",
                     seconds(usage.ru_utime) + seconds(usage.ru_stime), resident_bytes());
}

void rest_metrics_write(const struct rest_metrics *metrics, const char *version, struct buf *out)
{
    (void)buf_printf(out, "# HELP apiserver_request_total Requests by verb, resource and code.\n"
                          "# TYPE apiserver_request_total counter\n");
    each_series(metrics, out, write_counts);
    (void)buf_printf(out,
                     "# HELP apiserver_request_duration_seconds Time from a request to the end of "
                     "its answer.\n"
                     "# TYPE apiserver_request_duration_seconds histogram\n");
    each_series(metrics, out, write_duration);
    (void)buf_printf(out,
                     "# HELP apiserver_current_inflight_requests Requests under way.\n"
                     "# TYPE apiserver_current_inflight_requests gauge\n"
                     "apiserver_current_inflight_requests{request_kind=\"readOnly\"} %llu\n"
                     "apiserver_current_inflight_requests{request_kind=\"mutating\"} %llu\n"
                     "# HELP apiserver_longrunning_requests Watches under way.\n"
                     "# TYPE apiserver_longrunning_requests gauge\n"
                     "apiserver_longrunning_requests{verb=\"WATCH\"} %llu\n"
                     "# HELP kubernetes_build_info What this server is.\n"
                     "# TYPE kubernetes_build_info gauge\n"
                     "kubernetes_build_info{git_version=\"%s\"} 1\n",
                     (unsigned long long)metrics->inflight_reads,
                     (unsigned long long)metrics->inflight_writes,
                     (unsigned long long)metrics->watches, version);
    write_process(out);
}
