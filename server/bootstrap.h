/* What the configuration says about the cluster: its members with their ids, which of them we are,
 * and where the others are. Start-up only. */
#ifndef KVD_SERVER_BOOTSTRAP_H
#define KVD_SERVER_BOOTSTRAP_H

#include "base/err.h"
#include "raft/peers.h"
#include "server/config.h"
#include "server/machine.h"

struct bootstrap {
    uint64_t cluster_id;
    uint64_t member_id;
    struct machine_member *members; /* ascending by id; URLs are the config's */
    uint64_t *voters;               /* their ids */
    size_t member_count;
    struct peer_config *peers; /* the others */
    size_t peer_count;
};

/* KV_EINVAL: the lists contradict each other; err says how, in etcd's words where it has some. */
int bootstrap_from_config(const struct config *config, struct bootstrap *out, struct err *err);
void bootstrap_release(struct bootstrap *bootstrap);

/* As the consensus log has them: where each member is, its peer URLs joined by commas. */
char **bootstrap_addresses(const struct bootstrap *bootstrap);
void bootstrap_free_addresses(char **addresses, size_t count);

#endif
