/* The three patches. All work on trees in one arena; the stored object is copied where it is
 * changed, so old stays as it was. */
#ifndef KVD_KUBE_PATCH_PATCH_H
#define KVD_KUBE_PATCH_PATCH_H

#include "base/arena.h"
#include "kube/json/json.h"
#include "kube/types/status.h"
#include "kube/types/types.h"

/* RFC 6902. At most 10,000 operations: 413. An operation that fails: 422 with upstream's text "the
 * server rejected our request due to an error in our request"; a document that is no patch: 400. */
int kube_patch_json(struct arena *arena, const struct json *old, const struct json *patch,
                    struct json **out, struct kube_status *status);
/* RFC 7386. */
int kube_patch_merge(struct arena *arena, const struct json *old, const struct json *patch,
                     struct json **out, struct kube_status *status);
/* Strategic merge by the field tables: directives $patch, $deleteFromPrimitiveList, $retainKeys,
 * $setElementOrder. 400 for a directive that makes no sense, 422 for one that cannot be applied. */
int kube_patch_strategic(struct arena *arena, const struct kube_struct *type,
                         const struct json *old, const struct json *patch, struct json **out,
                         struct kube_status *status);

#endif
