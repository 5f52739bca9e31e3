/* The gRPC services of a member: one table of all methods, and what the files that implement them
 * share. Loop thread only. */
#ifndef KVD_SERVER_SERVICES_H
#define KVD_SERVER_SERVICES_H

#include <stddef.h>

#include "net/server.h"

/* Every method kvd answers; const and the same for all members. The ctx of a net_server that serves
 * it is the struct member. Also what metrics count by. */
const struct grpc_method *services_methods(size_t *count);

#endif
