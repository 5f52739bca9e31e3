/* The normal form of an object: what upstream's typed decoding and encoding would make of it, by
 * the field tables.
 *
 * Members in the order of the tables; nulls dropped, and empty values where the field is omitempty
 * and no pointer; always-present structs added ({} for fields that are structs without omitempty);
 * quantities, times and durations rewritten to their canonical text; base64 checked; unknown
 * members dropped and reported. Knows no defaults and no rules (check/rules.h).
 */
#ifndef KVD_KUBE_CHECK_NORMAL_H
#define KVD_KUBE_CHECK_NORMAL_H

#include "base/arena.h"
#include "kube/json/json.h"
#include "kube/types/kinds.h"
#include "kube/types/status.h"

/* What strict decoding complains about, in upstream's order: unknown fields as they are met, then
 * duplicates. */
struct kube_complaints {
    const char **texts; /* `unknown field "spec.foo"`, `duplicate field "data.a"` */
    size_t count;
};

/* Makes *out, a new tree in arena, from what a client sent or the store holds (which stays as it
 * is; leaves may be shared). complaints may be NULL. Returns 0, or 400 with status filled: a wrong
 * type ("json: cannot unmarshal number into Go struct field ConfigMap.data of type string" behind
 * `ConfigMap in version "v1" cannot be handled as a ConfigMap: `), bad base64, a quantity or time
 * that is none. */
int kube_normalise(struct arena *arena, const struct kube_resource *resource, const struct json *in,
                   struct kube_complaints *complaints, struct json **out,
                   struct kube_status *status);
/* The same for a type that is no resource: ("meta/v1", "DeleteOptions"). name is what messages call
 * it. */
int kube_normalise_struct(struct arena *arena, const struct kube_struct *type, const char *name,
                          const struct json *in, struct kube_complaints *complaints,
                          struct json **out, struct kube_status *status);
/* Adds what kube_normalise() would for duplicates the parser found. */
void kube_complain_of_duplicates(struct arena *arena, const struct json_duplicate *duplicates,
                                 struct kube_complaints *complaints);

/* ---- scalars with a canonical form; out lies in arena. 0 or KV_EINVAL ---- */

/* "0.5" -> "500m", "1024Mi" -> "1Gi", "2000m" -> "2": apimachinery's Quantity. */
int kube_quantity(struct arena *arena, struct slice text, struct slice *out);
/* RFC 3339 with any offset -> UTC, whole seconds, or with six digits. */
int kube_time(struct arena *arena, struct slice text, bool micro, struct slice *out);
/* Go's duration text: "90m" -> "1h30m0s". */
int kube_duration(struct arena *arena, struct slice text, struct slice *out);
/* Seconds since 1970 of a time in normal form; false if it is none. */
bool kube_time_seconds(struct slice text, int64_t *out);
/* For comparing quantities: value in thousandths, saturated; false if it is none. */
bool kube_quantity_milli(struct slice text, int64_t *out);

#endif
