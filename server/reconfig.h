/* What changes of the members may be asked for, and how the leader makes those that are queued
 * (server/apply_member.c): one difference at a time, votes for who has the log, and never its own
 * removal. Knows nothing of connections, clients and loops: a member and the simulator's member
 * both drive it. The rules are etcd's (etcd-api.md section 8).
 *
 * One thread, the loop's. */
#ifndef KVD_SERVER_RECONFIG_H
#define KVD_SERVER_RECONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "proto/command.pb-c.h"
#include "raft/replica.h"
#include "server/machine.h"
#include "server/status.h"

struct reconfig_env {
    void *ctx;
    /* Has that member been connected for so long? */
    bool (*connected_for)(void *ctx, uint64_t id, uint64_t ms);
    /* Proposes COMMAND_MEMBER_DROP with this body, borrowed until return. False: not now. */
    bool (*propose_drop)(void *ctx, struct slice body);
    /* A new member has caught up and gets its vote. May be NULL. */
    void (*on_vote)(void *ctx, uint64_t id);
};

struct reconfig {
    struct reconfig_env env;
    uint64_t self;
    bool strict;         /* --strict-reconfig-check */
    uint64_t timeout_ms; /* for which a change may be impossible before it is given up */
    /* Inside: what is being done about the first in the queue, of that ticket in that term. */
    uint64_t ticket, term, since_ms;
    bool dropping;
};

/* STATUS_OK: the request may become a command. With strict off all may. */
enum status reconfig_may(const struct reconfig *reconfig, const struct machine *machine,
                         const Kvdpb__MemberChange *request);
/* Every loop turn of the leader of that term, before the replica's: makes the first change of the
 * queue, or gives a vote. Nothing while a change is under way or not applied here. */
void reconfig_lead(struct reconfig *reconfig, const struct machine *machine,
                   struct replica *replica, uint64_t term, uint64_t now_ms);

#endif
