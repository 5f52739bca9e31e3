/* Tables: what `kubectl get` prints, column by column as upstream's printers. */
#ifndef KVD_KUBE_CODEC_TABLE_H
#define KVD_KUBE_CODEC_TABLE_H

#include <stdint.h>

#include "base/arena.h"
#include "kube/json/json.h"
#include "kube/types/kinds.h"

enum kube_include { KUBE_INCLUDE_METADATA, KUBE_INCLUDE_OBJECT, KUBE_INCLUDE_NONE };

/* The array of column definitions of a resource: constant, made anew in arena. */
struct json *kube_table_columns(struct arena *arena, const struct kube_resource *resource);
/* One row, {"cells":[...],"object":...}, of an object with its resourceVersion. now_s: seconds
 * since 1970, for ages. version: "v1" or "v1beta1", of PartialObjectMetadata within. */
struct json *kube_table_row(struct arena *arena, const struct kube_resource *resource,
                            struct json *object, enum kube_include include, const char *version,
                            int64_t now_s);
/* {"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{...},"columnDefinitions":[...],
 * "rows":[...]}; metadata is the list's ({"resourceVersion":...,"continue":...}). columns NULL: an
 * empty array (later events of a watch). */
struct json *kube_table(struct arena *arena, const char *version, struct json *metadata,
                        struct json *columns, struct json *rows);
/* {"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":...}. */
struct json *kube_partial_metadata(struct arena *arena, const char *version,
                                   const struct json *object);

/* "5s", "3m20s", "2h5m", "4d3h", "12d": apimachinery's HumanDuration. */
const char *kube_human_duration(struct arena *arena, int64_t seconds);

#endif
