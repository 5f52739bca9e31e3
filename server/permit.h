/* Who may do what to the state machine (etcd-api.md section 10): the same rules for commands, which
 * are checked when they are applied, with the state that all members have at that point, and for
 * reads, which are checked when they read. Everything answers 0 or the code that etcd's error has:
 * KV_EUSEREMPTY, KV_EAUTHOLDREVISION, KV_EPERMISSIONDENIED. While auth is off, all is allowed; that
 * costs one branch. */
#ifndef KVD_SERVER_PERMIT_H
#define KVD_SERVER_PERMIT_H

#include "proto/rpc.pb-c.h"
#include "server/auth_store.h"
#include "server/machine.h"

/* Somebody who has said who it is, and is still that. */
int permit_user(const struct machine *machine, const struct author *author);
/* A user with the role root. Goes by what the user is now, not by when it logged in, as in etcd. */
int permit_root(const struct machine *machine, const struct author *author);

int permit_keys(const struct machine *machine, const struct author *author, enum auth_access access,
                struct slice key, struct slice range_end);
int permit_range(const struct machine *machine, const struct author *author,
                 const Etcdserverpb__RangeRequest *request);
/* Everything that stands in it, in both branches at any depth, taken or not. */
int permit_txn(const struct machine *machine, const struct author *author,
               const Etcdserverpb__TxnRequest *request);
/* All keys that hang on the lease; one that is not there is somebody else's error. */
int permit_lease(const struct machine *machine, const struct author *author,
                 enum auth_access access, int64_t lease);

/* body is command->body, unpacked. Deny by default: what is not named here is root's. */
int permit_command(const struct machine *machine, const struct command *command,
                   const ProtobufCMessage *body);

#endif
