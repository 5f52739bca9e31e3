/* The Kubernetes API over HTTP: from a request to its answer.
 *
 * Owns what a request needs while it runs; store, authentication and discovery are lent by the
 * caller and live longer. Loop thread only. */
#ifndef KVD_KUBE_REST_API_H
#define KVD_KUBE_REST_API_H

#include <uv.h>

#include "kube/auth/auth.h"
#include "kube/rest/discovery.h"
#include "kube/store/store.h"
#include "net/server.h"

struct kube_api;

/* Largest body that is read, as upstream's. */
#define KUBE_BODY_MAX (3u << 20)
/* What net answers to a larger one. */
extern const char kube_api_too_large[];

struct kube_api_options {
    uv_loop_t *loop;
    struct kube_store *store;
    const char *prefix; /* of the store's keys: some messages name them */
    struct kube_auth *auth;
    const char *version; /* of kvapi, for metrics */
    /* Who comes without TLS, and without a token, is system:unsecured, in system:masters. */
    bool trust_plain;
    /* Called once per request when it has ended; NULL: nobody. For the log. */
    void (*on_end)(void *ctx, struct http_request *request, const char *user, int code,
                   uint64_t duration_us);
    void (*on_ready)(void *ctx); /* may be NULL */
    void *ctx;
};

struct kube_api *kube_api_new(const struct kube_api_options *options);
/* After the last request. */
void kube_api_free(struct kube_api *api);

/* on_http and on_http_cancel of net_server_options, with a struct kube_api as ctx. */
void kube_api_on_http(void *ctx, struct http_request *request);
void kube_api_on_cancel(void *ctx, struct http_request *request);
/* The process is about to stop: /readyz says so and watches end. */
void kube_api_stop(struct kube_api *api);
/* Before the first request: its documents name the address, which is known only by then. */
void kube_api_set_discovery(struct kube_api *api, const struct kube_discovery *discovery);
/* Makes the objects that must be there; then on_ready fires, and /readyz may say ok. */
void kube_api_start(struct kube_api *api);

#endif
