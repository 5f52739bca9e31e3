/* DELETE of one object, and of all that match. */
#include <string.h>

#include "kube/rest/delete.h"

static void warn_of_orphans(struct rest *rest, const struct rest_delete_options *options)
{
    if (options->policy == REST_POLICY_DEFAULT && strcmp(rest->resource->plural, "jobs") == 0)
        rest_warn(rest, "child pods are preserved by default when jobs are deleted; set "
                        "propagationPolicy=Background to remove them or set "
                        "propagationPolicy=Orphan to suppress this warning");
}

static void on_cancel(struct rest *rest)
{
    struct rest_deletion *deletion = rest->state;

    kube_op_cancel(&deletion->op);
}

/* ---- one ---- */

static void on_deleted(struct rest_deletion *deletion)
{
    struct rest *rest = deletion->rest;

    rest->on_cancel = NULL;
    if (rest->status.code != 0)
        rest_fail(rest);
    else if (deletion->removed && (rest->resource->flags & KUBE_DELETE_ANSWERS_OBJECT) == 0)
        rest_reply_deleted(rest, rest_meta(deletion->old, "uid"));
    else if (deletion->tree != NULL)
        rest_reply_tree(rest, 200, deletion->tree);
    else
        rest_reply_object(rest, 200, deletion->object);
}

void rest_delete(struct rest *rest)
{
    struct rest_deletion *deletion = arena_calloc(rest->arena, sizeof *deletion);
    struct kube_object *cached;

    if (rest_read_delete_options(rest, &deletion->options) != 0) {
        rest_fail(rest);
        return;
    }
    warn_of_orphans(rest, &deletion->options);
    deletion->rest = rest;
    deletion->ns = rest_ns(rest);
    deletion->name = rest->info.name;
    deletion->done = on_deleted;
    rest->state = deletion;
    rest->on_cancel = on_cancel;
    cached = kube_cached(rest->api->store, rest->resource, deletion->ns, deletion->name);
    if (cached != NULL)
        rest_hold(rest, kube_object_ref(cached));
    rest_deletion_start(deletion, cached);
}

/* ---- all that match ---- */

struct collection {
    struct rest_deletion deletion; /* first: rest->state is both */
    size_t next;
    bool running; /* inside start_next(): a deletion that ends at once is gone on with there */
    bool ended;
};

static void start_next(struct collection *collection);

/* An object that is gone already was deleted by somebody who was faster. */
static bool has_failed(const struct rest *rest)
{
    return rest->status.code != 0 && rest->status.code != 404;
}

static void on_one_deleted(struct rest_deletion *deletion)
{
    struct collection *collection = CONTAINER_OF(deletion, struct collection, deletion);

    collection->ended = true;
    if (!collection->running)
        start_next(collection);
}

static void start_next(struct collection *collection)
{
    struct rest_deletion *deletion = &collection->deletion;
    struct rest *rest = deletion->rest;
    struct kube_list *list = &rest->list;

    collection->running = true;
    while (collection->next < list->count && !has_failed(rest)) {
        struct kube_object *object = list->objects[collection->next++];

        rest->status = (struct kube_status){0};
        deletion->ns = kube_object_namespace(object);
        deletion->name = kube_object_name(object);
        deletion->fresh = deletion->removed = false;
        deletion->tries = 0;
        collection->ended = false;
        rest_deletion_start(deletion, object);
        if (!collection->ended) {
            collection->running = false;
            return;
        }
    }
    rest->on_cancel = NULL;
    if (has_failed(rest))
        rest_fail(rest);
    else
        rest_reply_list(rest);
}

static void on_listed(struct kube_list *list)
{
    struct rest *rest = CONTAINER_OF(list, struct rest, list);

    if (list->status.code != 0)
        rest_fail_status(rest, &list->status);
    else
        start_next(rest->state);
}

void rest_delete_collection(struct rest *rest)
{
    struct collection *collection = arena_calloc(rest->arena, sizeof *collection);
    struct rest_deletion *deletion = &collection->deletion;
    struct kube_list_options options;

    if (rest_read_delete_options(rest, &deletion->options) != 0 ||
        rest_list_options(rest, &options) != 0) {
        rest_fail(rest);
        return;
    }
    warn_of_orphans(rest, &deletion->options);
    deletion->rest = rest;
    deletion->done = on_one_deleted;
    rest->state = collection;
    rest->on_cancel = on_cancel;
    kube_list(rest->api->store, &rest->list, rest->arena, rest->resource, &options, on_listed);
}
