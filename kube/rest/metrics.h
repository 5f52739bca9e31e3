/* What /metrics says, under upstream's names. */
#ifndef KVD_KUBE_REST_METRICS_H
#define KVD_KUBE_REST_METRICS_H

#include <stdint.h>

#include "base/buf.h"
#include "kube/types/kinds.h"

struct rest_series;

enum { REST_SERIES_MAX = 4096, REST_SERIES_SLOTS = 1024 };

struct rest_metrics {
    struct rest_series *slots[REST_SERIES_SLOTS];
    unsigned count; /* over REST_SERIES_MAX, requests are counted as others */
    uint64_t inflight_reads, inflight_writes;
    uint64_t watches;
};

/* verb: upstream's upper-case word (GET, LIST, POST, PUT, PATCH, DELETE, WATCH); resource NULL: of
 * a path that is none. */
void rest_metrics_count(struct rest_metrics *metrics, const char *verb,
                        const struct kube_resource *resource, const char *subresource,
                        const char *scope, int code, uint64_t duration_us);
void rest_metrics_release(struct rest_metrics *metrics);
/* Prometheus' text form. */
void rest_metrics_write(const struct rest_metrics *metrics, const char *version, struct buf *out);

#endif
