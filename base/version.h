/* The two versions we go by: our own, and that of the etcd API we speak. */
#ifndef KVD_BASE_VERSION_H
#define KVD_BASE_VERSION_H

#define KVD_VERSION "0.1.0"
/* What Status.version, /version and etcd's own tools see (etcd-api.md section 17). */
#define ETCD_API_VERSION "3.6.14"
#define ETCD_CLUSTER_VERSION "3.6.0"
#define ETCD_API_LINE "3.6"

#endif
