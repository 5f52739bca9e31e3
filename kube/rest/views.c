#include "kube/rest/views.h"

#include "kube/codec/convert.h"

bool rest_is_stored_form(const struct kube_resource *resource)
{
    return (resource->flags & KUBE_ALIAS) == 0;
}

struct json *rest_object_json(struct arena *arena, const struct kube_resource *resource,
                              const struct kube_object *object)
{
    struct json *tree = kube_object_json(arena, object);
    struct json *shown;

    if (rest_is_stored_form(resource))
        return tree;
    shown = kube_convert(arena, resource->stored_as, resource, tree);
    return shown != NULL ? shown : tree; /* written by somebody with other rules: shown as it is */
}

enum kube_include rest_include(const struct rest *rest)
{
    struct slice text = rest_query_get(&rest->query, "includeObject");

    if (slice_eq(text, slice_str("Object")))
        return KUBE_INCLUDE_OBJECT;
    return slice_eq(text, slice_str("None")) ? KUBE_INCLUDE_NONE : KUBE_INCLUDE_METADATA;
}

struct json *rest_item_json(struct arena *arena, const struct rest *rest,
                            const struct kube_object *object)
{
    struct json *tree = rest_object_json(arena, rest->resource, object);

    switch (rest->accept.view) {
    case KUBE_VIEW_TABLE:
        return kube_table_row(arena, rest->resource, tree, rest_include(rest), rest->accept.version,
                              rest_now_s());
    case KUBE_VIEW_METADATA:
        return kube_partial_metadata(arena, rest->accept.version, tree);
    default:
        (void)json_remove(tree, "kind"); /* items go without; the list says what they are */
        (void)json_remove(tree, "apiVersion");
        return tree;
    }
}

void rest_write_item(struct arena *arena, const struct rest *rest, const struct kube_object *object,
                     struct buf *out)
{
    (void)json_write(out, rest_item_json(arena, rest, object)); /* out has room for any */
}
