/* What the services of recipes share: locks and elections, which etcd builds of the public
 * operations (etcd-api.md section 11). Loop thread only. */
#ifndef KVD_SERVER_RECIPE_H
#define KVD_SERVER_RECIPE_H

#include "base/arena.h"
#include "net/server.h"
#include "proto/rpc.pb-c.h"
#include "server/status.h"

/* Ends the call with the code that etcd's recipes send: they are clients of the store inside the
 * server, and what the store refuses them is to gRPC an error of unknown kind. */
void recipe_fail(struct grpc_call *call, enum status status);

/* Whether who calls may read what is under a prefix (NAME/): what a recipe sees there decides. */
enum status recipe_permit(const struct grpc_call *call, struct slice prefix);

/* A TxnRequest, packed in the arena: op, if the key was created in that revision (0: if it is not
 * there), else nothing. */
struct slice recipe_guarded(struct arena *arena, struct slice key, int64_t create_revision,
                            Etcdserverpb__RequestOp *op);
/* With the deletion of that very key for op. */
struct slice recipe_guarded_delete(struct arena *arena, struct slice key, int64_t create_revision);

#endif
