/* Protobuf bodies, decoded by the field tables: the envelope k8s\0 with runtime.Unknown (typeMeta,
 * raw) that client-go sends, and values that a kube-apiserver stored. */
#ifndef KVD_KUBE_CODEC_PROTOBUF_H
#define KVD_KUBE_CODEC_PROTOBUF_H

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "kube/json/json.h"
#include "kube/types/types.h"

struct kube_envelope {
    struct slice api_version, kind; /* may be empty */
    struct slice raw;               /* the message */
    struct slice content_type;      /* of raw: empty for protobuf */
};

bool kube_is_protobuf(struct slice body); /* begins with k8s\0 */
/* Borrows from body. KV_EPROTO: err says what is wrong at which byte. */
int kube_envelope_read(struct slice body, struct kube_envelope *out, struct err *err);
/* What the message has, as JSON with members in the order of the tables, without the zeros that Go
 * leaves out; kind and apiVersion are not in there. kube_normalise() makes of it what Go would
 * write (always-present fields added, quantities canonical). Texts may borrow from raw. Depth is
 * bounded. KV_EPROTO. */
int kube_protobuf_decode(struct arena *arena, const struct kube_struct *type, struct slice raw,
                         struct json **out, struct err *err);

#endif
