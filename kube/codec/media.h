/* Content types: what a body is, and which of our representations an Accept header asks for. */
#ifndef KVD_KUBE_CODEC_MEDIA_H
#define KVD_KUBE_CODEC_MEDIA_H

#include <stdbool.h>

#include "base/slice.h"

enum kube_format { KUBE_JSON, KUBE_YAML };

enum kube_view {
    KUBE_VIEW_OBJECT,
    KUBE_VIEW_TABLE,           /* as=Table, v1 or v1beta1 */
    KUBE_VIEW_METADATA,        /* as=PartialObjectMetadata or ...List */
    KUBE_VIEW_GROUP_DISCOVERY, /* as=APIGroupDiscoveryList */
};

struct kube_accept {
    enum kube_format format;
    enum kube_view view;
    const char *version; /* "v1", "v1beta1", "v2", "v2beta1"; of the view */
};

/* views: a mask of 1 << enum kube_view of what this request could be answered as (KUBE_VIEW_OBJECT
 * always can). Picks the first clause that will do, quality values and wildcards included; an empty
 * header is JSON. False: nothing will do (406). */
bool kube_accept_parse(struct slice header, unsigned views, struct kube_accept *out);

enum kube_body {
    KUBE_BODY_JSON,
    KUBE_BODY_YAML,
    KUBE_BODY_PROTOBUF,
    KUBE_BODY_JSON_PATCH,
    KUBE_BODY_MERGE_PATCH,
    KUBE_BODY_STRATEGIC_PATCH,
    KUBE_BODY_APPLY_YAML,
    KUBE_BODY_UNKNOWN
};
/* Of a Content-Type header; an empty one is JSON. */
enum kube_body kube_body_type(struct slice content_type);

#endif
