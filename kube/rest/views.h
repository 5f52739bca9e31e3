/* One object of a list or an event in the view that a request asks for. */
#ifndef KVD_KUBE_REST_VIEWS_H
#define KVD_KUBE_REST_VIEWS_H

#include "kube/codec/table.h"
#include "kube/rest/internal.h"

enum kube_include rest_include(const struct rest *rest);
/* As an item of a list in rest's view: without kind and apiVersion if it is the object itself. In
 * arena; borrows from object. */
struct json *rest_item_json(struct arena *arena, const struct rest *rest,
                            const struct kube_object *object);
void rest_write_item(struct arena *arena, const struct rest *rest, const struct kube_object *object,
                     struct buf *out);

#endif
