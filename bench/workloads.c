#include "bench/workload.h"

#include <string.h>

extern const struct workload workload_put, workload_get, workload_get_serializable, workload_txn,
    workload_mixed, workload_range, workload_k8s_list, workload_k8s_write, workload_lease,
    workload_keepalive, workload_lease_expiry, workload_watch_fanout, workload_watch_idle,
    workload_big_list, workload_size, workload_failover, workload_soak;

const struct workload *const workloads[] = {
    &workload_put,        &workload_get,          &workload_get_serializable,
    &workload_txn,        &workload_mixed,        &workload_range,
    &workload_k8s_list,   &workload_k8s_write,    &workload_lease,
    &workload_keepalive,  &workload_lease_expiry, &workload_watch_fanout,
    &workload_watch_idle, &workload_big_list,     &workload_size,
    &workload_failover,   &workload_soak,         NULL};

const struct workload *workload_find(const char *name)
{
    for (const struct workload *const *w = workloads; *w != NULL; w++) {
        if (strcmp((*w)->name, name) == 0)
            return *w;
    }
    return NULL;
}
