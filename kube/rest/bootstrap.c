/* The objects that must be there: four namespaces. Looked for when the server starts and made if
 * they are missing, again and again until the store takes them; several servers may do it at once.
 */
#include "kube/rest/bootstrap.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { FIRST_PAUSE_MS = 5, PAUSE_MAX_MS = 500 };

static const char *const names[] = {"default", "kube-system", "kube-public", "kube-node-lease"};

/* One of them; as if somebody had asked for it, but there is no request. */
struct seed {
    struct rest rest;
    struct arena arena;
    struct bootstrap *bootstrap;
    struct slice name;
    bool done, asking;
};

struct bootstrap {
    struct kube_api *api;
    struct seed seeds[ARRAY_LEN(names)];
    uv_timer_t timer; /* until the next try of those that failed */
    uint64_t pause_ms;
};

static void on_timer_closed(uv_handle_t *handle)
{
    struct bootstrap *bootstrap = handle->data;

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        arena_release(&bootstrap->seeds[i].arena);
    free(bootstrap);
}

void rest_bootstrap_end(struct kube_api *api)
{
    struct bootstrap *bootstrap = api->bootstrap;

    if (bootstrap == NULL)
        return;
    api->bootstrap = NULL;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        kube_op_cancel(&bootstrap->seeds[i].rest.op);
    uv_close((uv_handle_t *)&bootstrap->timer, on_timer_closed);
}

static bool all_done(const struct bootstrap *bootstrap)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!bootstrap->seeds[i].done)
            return false;
    return true;
}

static void settle(struct seed *seed)
{
    struct kube_api *api = seed->bootstrap->api;

    seed->done = true;
    if (!all_done(seed->bootstrap))
        return;
    api->started = true;
    rest_bootstrap_end(api);
    if (api->options.on_ready != NULL)
        api->options.on_ready(api->options.ctx);
}

static void ask_all(struct bootstrap *bootstrap);

static void on_timer(uv_timer_t *timer)
{
    ask_all(timer->data);
}

static void try_again(struct seed *seed)
{
    struct bootstrap *bootstrap = seed->bootstrap;

    if (uv_is_active((uv_handle_t *)&bootstrap->timer) != 0)
        return;
    (void)uv_timer_start(&bootstrap->timer, on_timer, bootstrap->pause_ms, 0); /* initialised */
    bootstrap->pause_ms = MIN(2 * bootstrap->pause_ms, (uint64_t)PAUSE_MAX_MS);
}

static struct seed *seed_of(struct kube_op *op)
{
    struct seed *seed = CONTAINER_OF(CONTAINER_OF(op, struct rest, op), struct seed, rest);

    kube_object_unref(op->object);
    op->object = NULL;
    seed->asking = false;
    return seed;
}

static void on_created(struct kube_op *op)
{
    struct seed *seed = seed_of(op);

    if (op->status.code == 0 || op->status.code == 409)
        settle(seed);
    else
        try_again(seed);
}

static struct json *namespace_tree(struct rest *rest, struct slice name)
{
    struct arena *arena = rest->arena;
    struct json *object = json_new(arena, JSON_OBJECT);
    struct json *metadata = rest_metadata(arena, object);

    (void)json_set(metadata, "name", json_new_string(arena, name));
    (void)json_set(metadata, "uid", json_new_cstring(arena, rest_new_uid(rest)));
    (void)json_set(metadata, "creationTimestamp", json_new_cstring(arena, rest_now(arena)));
    kube_defaults(arena, rest->resource, object);
    kube_prepare(arena, rest->resource, NULL, object);
    return object;
}

static void create(struct seed *seed)
{
    struct rest *rest = &seed->rest;
    struct json *tree;
    struct slice bytes;
    int code = rest_encode(rest, rest->resource, namespace_tree(rest, seed->name), &tree, &bytes);

    ASSERT(code == 0); /* ours is well formed */
    seed->asking = true;
    kube_create(rest->api->store, &rest->op, rest->arena, rest->resource, slice_of(NULL, 0),
                seed->name, bytes, on_created);
}

static void on_read(struct kube_op *op)
{
    struct seed *seed = seed_of(op);

    if (op->status.code == 0)
        settle(seed);
    else if (op->status.code == 404)
        create(seed);
    else
        try_again(seed);
}

static void ask(struct seed *seed)
{
    struct rest *rest = &seed->rest;

    arena_reset(&seed->arena);
    seed->asking = true;
    kube_get(rest->api->store, &rest->op, rest->arena, rest->resource, slice_of(NULL, 0),
             seed->name, KUBE_NEWEST, 0, on_read);
}

static void ask_all(struct bootstrap *bootstrap)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!bootstrap->seeds[i].done && !bootstrap->seeds[i].asking)
            ask(&bootstrap->seeds[i]);
}

void rest_bootstrap(struct kube_api *api)
{
    struct bootstrap *bootstrap = xcalloc(1, sizeof *bootstrap);

    bootstrap->api = api;
    bootstrap->pause_ms = FIRST_PAUSE_MS;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct seed *seed = &bootstrap->seeds[i];

        arena_init(&seed->arena);
        seed->bootstrap = bootstrap;
        seed->name = slice_str(names[i]);
        seed->rest.api = api;
        seed->rest.arena = &seed->arena;
        seed->rest.resource =
            kube_resource_find(slice_of("", 0), slice_str("v1"), slice_str("namespaces"));
    }
    (void)uv_timer_init(api->options.loop, &bootstrap->timer); /* cannot fail */
    bootstrap->timer.data = bootstrap;
    api->bootstrap = bootstrap;
    ask_all(bootstrap);
}
