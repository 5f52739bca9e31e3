/* How a server is reached: in plain text or by TLS, and in whose name. One for each loop. */
#ifndef KVD_BENCH_REACH_H
#define KVD_BENCH_REACH_H

#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "bench/options.h"
#include "net/client.h"

struct reach {
    const struct bench_options *options; /* borrowed */
    char *token;                         /* what each call says of its user; NULL: nothing */
    struct net_tls *tls;                 /* made when the first endpoint wants it */
};

/* The same for another loop; to be released too. */
struct reach reach_copy(const struct reach *reach);
void reach_release(struct reach *reach);
/* grpc_conn_new(). An endpoint without a scheme is one for TLS if the options speak of TLS, as
 * etcdctl has it. */
int reach_connect(struct reach *reach, uv_loop_t *loop, const char *endpoint,
                  const struct grpc_conn_events *events, void *ctx, struct grpc_conn **out,
                  struct err *err);
/* grpc_conn_call(). */
int reach_call(const struct reach *reach, struct grpc_conn *conn, const char *path,
               uint64_t timeout_ms, const struct grpc_stream_events *events, void *ctx,
               struct grpc_stream **out);

#endif
