/* Other versions' views of what is stored: events.k8s.io/v1 of v1 events, autoscaling/v1 of v2
 * autoscalers. What the older form has no field for travels in annotations, as upstream does it.
 *
 * Any thread. */
#ifndef KVD_KUBE_CODEC_CONVERT_H
#define KVD_KUBE_CODEC_CONVERT_H

#include "base/arena.h"
#include "kube/json/json.h"
#include "kube/types/kinds.h"

/* object, in normal form as `from` has it, as `to` has it, in normal form and with to's apiVersion
 * if it has one; from and to have the same stored_as. A new tree in arena, but object itself if
 * from == to. NULL: object is not in normal form. */
struct json *kube_convert(struct arena *arena, const struct kube_resource *from,
                          const struct kube_resource *to, struct json *object);

/* What a selectable field of a view is called in what is stored: "regarding.name" is
 * "involvedObject.name". Any other path is returned as it is; texts lie in arena. */
struct slice kube_stored_field(struct arena *arena, const struct kube_resource *view,
                               struct slice path);

#endif
