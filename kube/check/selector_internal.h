/* What parsing and matching of selectors share. */
#ifndef KVD_KUBE_CHECK_SELECTOR_INTERNAL_H
#define KVD_KUBE_CHECK_SELECTOR_INTERNAL_H

#include "kube/check/selector.h"

/* A decimal number within int64, as Go's ParseInt takes it. */
bool selector__int64(struct slice text, int64_t *out);
/* Two struct slice, for qsort() and bsearch(). */
int selector__compare(const void *a, const void *b);

#endif
