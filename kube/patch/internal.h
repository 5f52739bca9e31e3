/* What the patches share. */
#ifndef KVD_KUBE_PATCH_INTERNAL_H
#define KVD_KUBE_PATCH_INTERNAL_H

#include "kube/patch/patch.h"

/* 400: a patch that should be an object is something else, in the words of Go's decoder. */
int kube_patch__not_a_map(struct arena *arena, const struct json *patch,
                          struct kube_status *status);
/* Go's word for a type: "array", "bool". */
const char *kube_patch__type_name(const struct json *value);

#endif
