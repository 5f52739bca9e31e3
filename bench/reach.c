#include "bench/reach.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/tls.h"

enum { CONNECT_TIMEOUT_MS = 5000 };

struct reach reach_copy(const struct reach *reach)
{
    return (struct reach){.options = reach->options,
                          .token = reach->token != NULL ? xstrdup(reach->token) : NULL};
}

void reach_release(struct reach *reach)
{
    free(reach->token);
    net_tls_unref(reach->tls);
    *reach = (struct reach){.options = NULL};
}

static bool says_tls(const struct bench_options *o)
{
    return o->cacert != NULL || o->cert != NULL || o->skip_verify;
}

static int open_tls(struct reach *reach, struct err *err)
{
    const struct bench_options *o = reach->options;
    const struct net_tls_options options = {.ca_file = o->cacert,
                                            .cert_file = o->cert,
                                            .key_file = o->key,
                                            .alpn = NET_TLS_H2,
                                            .flags = o->skip_verify ? NET_TLS_SKIP_VERIFY : 0};

    return reach->tls != NULL ? 0 : net_tls_new(&options, &reach->tls, err);
}

int reach_connect(struct reach *reach, uv_loop_t *loop, const char *endpoint,
                  const struct grpc_conn_events *events, void *ctx, struct grpc_conn **out,
                  struct err *err)
{
    struct grpc_conn_options options = {.connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                        .stream_window = (int32_t)reach->options->window};
    struct net_addr addr;
    int rc = net_addr_parse(endpoint, &addr, err);

    if (rc == 0 && says_tls(reach->options) && strstr(endpoint, "://") == NULL)
        addr.tls = true;
    if (rc == 0 && addr.tls)
        rc = open_tls(reach, err);
    options.tls = reach->tls;
    return rc != 0 ? rc : grpc_conn_new(loop, &addr, &options, events, ctx, out, err);
}

int reach_call(const struct reach *reach, struct grpc_conn *conn, const char *path,
               uint64_t timeout_ms, const struct grpc_stream_events *events, void *ctx,
               struct grpc_stream **out)
{
    const struct grpc_metadata metadata = {.name = "token", .value = reach->token};

    return grpc_conn_call(conn, path, &metadata, reach->token != NULL, timeout_ms, events, ctx, out,
                          NULL);
}
