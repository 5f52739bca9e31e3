/* YAML bodies and answers (libyaml). */
#ifndef KVD_KUBE_CODEC_YAML_H
#define KVD_KUBE_CODEC_YAML_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "kube/json/json.h"

/* The first document as a tree, with the meanings of YAML 1.1 that sigs.k8s.io/yaml gives to plain
 * scalars; null if there is none. Aliases are expanded up to a bound (no bombs), duplicate keys
 * noted as json_parse() does. KV_EPROTO: err has upstream's "yaml: line N: ...". */
int kube_yaml_parse(struct arena *arena, struct slice text, struct json_duplicate **duplicates,
                    struct json **out, struct err *err);
/* As `kubectl get -o yaml` shows it: keys sorted, lines folded at 80 columns. KV_ETOOBIG. */
int kube_yaml_write(struct buf *buf, const struct json *value);

#endif
