/* One HTTP GET to an endpoint, as scripts would do it with curl: for what a server tells over HTTP
 * only. Blocks, on a loop of its own. */
#ifndef KVD_CLIENT_CTL_HTTP_GET_H
#define KVD_CLIENT_CTL_HTTP_GET_H

#include "base/buf.h"
#include "base/err.h"
#include "net/tls.h"

/* The answer's body is appended to out, whose bound is the most that is taken. tls: as in struct
 * kv_options. KV_ECONN, KV_ETIMEDOUT, KV_ETOOBIG; KV_EPROTO: any status but 200, err has it. */
int http_get(const char *endpoint, const char *path, const struct net_tls_options *tls,
             uint64_t timeout_ms, struct buf *out, struct err *err);

#endif
