/* The objects that must be there: four namespaces. Made when the server starts, again and again
 * until the store takes them; several servers may do it at once. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kube/rest/bootstrap.h"

enum { FIRST_PAUSE_MS = 5, PAUSE_MAX_MS = 1000 };

static const char *const names[] = {"default", "kube-system", "kube-public", "kube-node-lease"};

struct bootstrap {
    struct rest rest; /* as if somebody had asked for it; there is no request */
    struct arena arena;
    uv_timer_t timer;
    size_t next; /* of names */
    uint64_t pause_ms;
};

static void create_next(struct bootstrap *bootstrap);

static void on_timer_closed(uv_handle_t *handle)
{
    struct bootstrap *bootstrap = handle->data;

    arena_release(&bootstrap->arena);
    free(bootstrap);
}

void rest_bootstrap_end(struct kube_api *api)
{
    struct bootstrap *bootstrap = api->bootstrap;

    if (bootstrap == NULL)
        return;
    api->bootstrap = NULL;
    kube_op_cancel(&bootstrap->rest.op);
    uv_close((uv_handle_t *)&bootstrap->timer, on_timer_closed);
}

static void on_timer(uv_timer_t *timer)
{
    create_next(timer->data);
}

static void on_created(struct kube_op *op)
{
    struct rest *rest = CONTAINER_OF(op, struct rest, op);
    struct bootstrap *bootstrap = CONTAINER_OF(rest, struct bootstrap, rest);

    kube_object_unref(op->object);
    op->object = NULL;
    if (op->status.code == 0 || op->status.code == 409) {
        bootstrap->next++;
        create_next(bootstrap);
        return;
    }
    (void)uv_timer_start(&bootstrap->timer, on_timer, bootstrap->pause_ms, 0); /* initialised */
    bootstrap->pause_ms = MIN(2 * bootstrap->pause_ms, (uint64_t)PAUSE_MAX_MS);
}

static struct json *namespace_tree(struct rest *rest, const char *name)
{
    struct arena *arena = rest->arena;
    struct json *object = json_new(arena, JSON_OBJECT);
    struct json *metadata = rest_metadata(arena, object);

    (void)json_set(metadata, "name", json_new_cstring(arena, name));
    (void)json_set(metadata, "uid", json_new_cstring(arena, rest_new_uid(rest)));
    (void)json_set(metadata, "creationTimestamp", json_new_cstring(arena, rest_now(arena)));
    kube_defaults(arena, rest->resource, object);
    kube_prepare(arena, rest->resource, NULL, object);
    return object;
}

static void create_next(struct bootstrap *bootstrap)
{
    struct rest *rest = &bootstrap->rest;
    struct json *tree;
    struct slice bytes;

    if (bootstrap->next == ARRAY_LEN(names)) {
        rest->api->started = true;
        if (rest->api->options.on_ready != NULL)
            rest->api->options.on_ready(rest->api->options.ctx);
        rest_bootstrap_end(rest->api);
        return;
    }
    arena_reset(&bootstrap->arena);
    ASSERT(rest_encode(rest, rest->resource, namespace_tree(rest, names[bootstrap->next]), &tree,
                       &bytes) == 0); /* ours is well formed */
    kube_create(rest->api->store, &rest->op, rest->arena, rest->resource, slice_of(NULL, 0),
                slice_str(names[bootstrap->next]), bytes, on_created);
}

void rest_bootstrap(struct kube_api *api)
{
    struct bootstrap *bootstrap = xcalloc(1, sizeof *bootstrap);

    arena_init(&bootstrap->arena);
    bootstrap->rest.api = api;
    bootstrap->rest.arena = &bootstrap->arena;
    bootstrap->rest.resource =
        kube_resource_find(slice_of("", 0), slice_str("v1"), slice_str("namespaces"));
    bootstrap->pause_ms = FIRST_PAUSE_MS;
    (void)uv_timer_init(api->options.loop, &bootstrap->timer); /* cannot fail */
    bootstrap->timer.data = bootstrap;
    api->bootstrap = bootstrap;
    create_next(bootstrap);
}
