/* Discovery and OpenAPI: documents made from the kinds table when one is first asked for, with
 * their ETags. One thread. */
#ifndef KVD_KUBE_REST_DISCOVERY_H
#define KVD_KUBE_REST_DISCOVERY_H

#include <stdbool.h>

#include "base/slice.h"
#include "kube/codec/media.h"

struct kube_discovery;

struct kube_document {
    struct slice body; /* lives as long as the kube_discovery */
    const char *content_type;
    const char *etag; /* quoted */
    bool immutable;   /* OpenAPI asked for by its hash: may be cached for a year */
};

/* Documents of all resources. server_address (at most 255 bytes, copied): "127.0.0.1:6443", for
 * serverAddressByClientCIDRs. */
struct kube_discovery *kube_discovery_new(const char *server_address);
void kube_discovery_free(struct kube_discovery *discovery);

/* /api, /apis (plain or, if accept says so, aggregated), /api/v1, /apis/<group>,
 * /apis/<group>/<version>, /version, /openapi/v3, /openapi/v3/..., /openapi/v2 (protobuf whatever
 * accept says: ask for it without looking at the Accept header). query: raw, may be NULL; so may
 * accept: plain. False: no such document. */
bool kube_discovery_find(const struct kube_discovery *discovery, const char *path,
                         const char *query, const struct kube_accept *accept,
                         struct kube_document *out);

#endif
