/* HTTP/2 requests over TLS or plain, as few instructions as it takes: what kubeload loads an API
 * server with. One thread, epoll. */
#ifndef KVD_BENCH_KUBELOAD_CONN_H
#define KVD_BENCH_KUBELOAD_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct loop;
struct conn;

struct loop_options {
    const char *host, *port;
    /* PEM files; ca NULL: plain HTTP, with prior knowledge of HTTP/2. */
    const char *ca, *cert, *key;
};

/* The caller owns the memory until done has been called, or the loop is gone. */
struct request {
    const char *method;
    const char *path;
    struct slice body; /* borrowed until done; empty: none */
    /* Bytes of the answer as they come; may be NULL. */
    void (*on_data)(struct request *request, struct slice data);
    /* The answer is complete. status 0: the connection broke or the stream was reset. */
    void (*done)(struct request *request);
    void *ctx;

    int status;
    uint64_t began_ns;
    size_t bytes; /* of the answer so far */

    size_t body_sent; /* private */
};

int loop_new(const struct loop_options *options, struct loop **out, struct err *err);
void loop_free(struct loop *loop);
/* Connects and shakes hands; blocks. The loop owns it. */
int loop_connect(struct loop *loop, struct conn **out, struct err *err);
/* Sends at the next turn. */
void conn_send(struct conn *conn, struct request *request);
/* Does what is to be done, waiting timeout_ms at most (-1: for ever). False once a connection has
 * broken; err says why. */
bool loop_turn(struct loop *loop, int timeout_ms, struct err *err);

uint64_t now_ns(void);

#endif
