/* Shared by the metrics_*.c files. */
#ifndef KVD_SERVER_METRICS_INTERNAL_H
#define KVD_SERVER_METRICS_INTERNAL_H

#include "server/metrics.h"

/* The two comment lines that come before the samples of a metric. */
void metrics__head(struct buf *out, const char *name, const char *type, const char *help);
/* A metric without labels, whole. */
void metrics__uint(struct buf *out, const char *name, const char *type, const char *help,
                   uint64_t value);
void metrics__double(struct buf *out, const char *name, const char *type, const char *help,
                     double value);

/* The samples of a histogram. label: NULL, or what stands in braces before the bound. */
void metrics__samples(struct buf *out, const char *name, const char *label,
                      const struct metrics_histogram *histogram);

struct member_info;
void metrics__print_clients(const struct metrics *metrics, struct buf *out);
void metrics__print_lease_time(const struct member_info *info, struct buf *out);
void metrics__print_methods(const struct metrics *metrics, struct buf *out);
void metrics__print_peers(const struct member *member, uint64_t self, struct buf *out);
/* What the kernel knows of this process: the standard process_* set and etcd's os_fd_*. */
void metrics__print_process(struct buf *out);

#endif
