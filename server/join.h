/* Joining a cluster that runs: who its members are is asked of them, and which of them this one is
 * follows from its peer URLs. Start-up only; blocks. */
#ifndef KVD_SERVER_JOIN_H
#define KVD_SERVER_JOIN_H

#include "base/err.h"
#include "net/tls.h"
#include "server/bootstrap.h"
#include "server/config.h"

/* Asks the other members of --initial-cluster, one after the other, until one says who the members
 * are and they are those of --initial-cluster (same number, same peer URLs). *out then has the ids,
 * the others as peers, and no voters: what they are the log says. tls: for https peer URLs.
 * KV_EINVAL: the lists differ; KV_ECONN: nobody answered; both in etcd's words. */
int join_cluster(const struct config *config, struct net_tls *tls, struct bootstrap *out,
                 struct err *err);

#endif
