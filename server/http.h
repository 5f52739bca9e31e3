/* The HTTP side of the client port: /health /livez /readyz /version /metrics as etcd answers them
 * (etcd-http-cli.md section 2), /v3/ (gateway.h), the status page (page.h), 404 for the rest. */
#ifndef KVD_SERVER_HTTP_H
#define KVD_SERVER_HTTP_H

#include "net/server.h"
#include "server/member.h"
#include "server/metrics.h"

struct http;

/* Both are borrowed; metrics may be NULL: nothing is counted, and there is no /metrics. */
struct http *http_new(struct member *member, struct metrics *metrics);
void http_free(struct http *http);
/* Lists are comma-separated; NULL, "" or one that has "*" allows all. hosts: names that a Host
 * header may have without TLS, against pages that have their own name point here (DNS rebinding).
 */
void http_configure(struct http *http, const char *cors, const char *hosts, bool gateway);
/* For net_server_options: the list of cors, as long as http lives. */
const char *const *http_cors_origins(const struct http *http);
/* For net_server_options: ctx of these two is the struct http. */
void http_on_request(struct http *http, struct http_request *request);
void http_on_cancel(struct http *http, struct http_request *request);

#endif
