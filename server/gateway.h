/* The JSON gateway: etcd's API as HTTP requests with JSON bodies under /v3/ (etcd-http-cli.md
 * section 3). Knows routes, messages' descriptors and the mapping of errors; the services see its
 * calls as any other. Loop thread only. */
#ifndef KVD_SERVER_GATEWAY_H
#define KVD_SERVER_GATEWAY_H

#include <stdbool.h>

#include "net/server.h"

/* Whether the path is the gateway's to answer: below /v3/, or /v3beta/ as older clients have it. */
bool gateway_owns(const char *path);
/* Answers a request for such a path, now or later. */
void gateway_on_request(struct http_request *request);
/* Of net_server_options, for those requests. */
void gateway_on_cancel(struct http_request *request);

#endif
