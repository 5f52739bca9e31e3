/* OpenAPI as small as clients accept: which kinds can be patched and that the server checks fields
 * itself (fieldValidation); no schemas, so that kubectl computes patches with those built in.
 *
 * Any thread. */
#ifndef KVD_KUBE_REST_OPENAPI_H
#define KVD_KUBE_REST_OPENAPI_H

#include "base/buf.h"
#include "kube/types/kinds.h"

/* The v3 document of the group version that begins with the resource at index, appended to out. */
void kube_openapi_v3(struct buf *out, size_t index);

/* The v2 document (gnostic's openapi.v2.Document) of all, for kubectl 1.28 and older. */
#define KUBE_OPENAPI_V2_TYPE "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
void kube_openapi_v2(struct buf *out);

#endif
