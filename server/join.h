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

/* The same for a member that has its ids already and nothing else: whoever of --initial-cluster
 * answers says where the others are. KV_EINVAL: they do not know of it. */
int join_as(const struct config *config, struct net_tls *tls, uint64_t cluster_id,
            uint64_t member_id, struct bootstrap *out, struct err *err);

/* Says to the others that the member lost_id, which advertises our peer URLs, has lost what it had
 * stored and will not come back; it is then to be replaced. *new_id: who has come in its place, as
 * one says that has seen it go; or 0: not yet, ask again. KV_ECONN: nobody answers. */
int join_replaced(const struct config *config, struct net_tls *tls, uint64_t cluster_id,
                  uint64_t lost_id, uint64_t *new_id, struct err *err);

#endif
