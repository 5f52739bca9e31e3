/* The same call to each of several endpoints, all at once: a dead one costs the others nothing. */
#ifndef KVD_CLIENT_CTL_FANOUT_H
#define KVD_CLIENT_CTL_FANOUT_H

#include "client/ctl/ctl.h"

struct fanout_target {
    const char *endpoint;
    struct kv_client *client;
    struct kv_call call;
    uint64_t started_ns, took_ns;
    bool running;
    bool skip; /* the caller's: leave this one out of the next call */
};

struct fanout {
    uv_loop_t loop;
    struct fanout_target *targets; /* in the order given; in ctl's arena */
    size_t len;
};

/* All client URLs of the cluster's members, for --cluster; in ctl's arena. 0 or an exit code,
 * having said why. */
int fanout_cluster_endpoints(struct ctl *ctl, struct flag_list *out);

/* 0 or an exit code, having said why. */
int fanout_open(struct ctl *ctl, const char *const *endpoints, size_t len, struct fanout *out);
/* Waits until each target that is not to be skipped has its call.result. Results of an earlier call
 * are released. */
void fanout_call(struct fanout *fanout, const struct kv_method *method,
                 const ProtobufCMessage *request, int flags);
void fanout_close(struct fanout *fanout);

#endif
