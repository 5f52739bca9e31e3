/* The HTTP/1.1 side of the client port: /health /livez /readyz /version /metrics as etcd answers
 * them (etcd-http-cli.md section 2), 404 for the rest. */
#ifndef KVD_SERVER_HTTP_H
#define KVD_SERVER_HTTP_H

#include "net/server.h"
#include "server/member.h"
#include "server/metrics.h"

struct http;

/* Both are borrowed; metrics may be NULL: nothing is counted, and there is no /metrics. */
struct http *http_new(struct member *member, struct metrics *metrics);
void http_free(struct http *http);
/* For net_server_options: ctx of these two is the struct http. */
void http_on_request(struct http *http, struct http_request *request);
void http_on_cancel(struct http *http, struct http_request *request);

#endif
