/* Tables of defaults; shared by the files that hold them. */
#ifndef KVD_KUBE_CHECK_DEFAULTS_H
#define KVD_KUBE_CHECK_DEFAULTS_H

#include "kube/check/internal.h"

/* One field below a value. Tables end with a row of zeros. */
struct check__default {
    const char *path; /* members of structs, "spec.strategy"; NULL with call: the value itself */
    /* Its default, as JSON; given only if the structs on the way are there. NULL: one of these. */
    const char *value;
    const struct check__default *table; /* for the struct at path, if it is there */
    const struct check__default *each;  /* for every item of the list at path */
    void (*call)(struct arena *arena,
                 struct json *value); /* with what is at path, if it is there */
    bool also_zero; /* the value replaces a 0 as well, which Go writes for absent here */
};

/* clang-format off */
#define VALUE(at, json) {.path = (at), .value = (json)}
#define VALUE_FOR_ZERO(at, json) {.path = (at), .value = (json), .also_zero = true}
#define IN(at, rows) {.path = (at), .table = (rows)}
#define EACH(at, rows) {.path = (at), .each = (rows)}
#define CALL(at, function) {.path = (at), .call = (function)}
#define END {.path = NULL}
/* clang-format on */

/* Sets the member if it is missing; text is the value as JSON. */
void check__set_default(struct arena *arena, struct json *object, const char *key,
                        const char *text);
/* Amounts that only `from` has are copied to `to`. */
void check__copy_missing(struct arena *arena, struct json *object, const char *from,
                         const char *to);

extern const struct check__default check__pod_defaults[];
extern const struct check__default check__pod_spec_defaults[];
/* For {"spec": pod spec}. */
extern const struct check__default check__template_defaults[];
/* What PersistentVolumes share with the volumes of pods. */
extern const struct check__default check__volume_source_defaults[];

#endif
