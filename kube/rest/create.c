/* POST of a new object, and PUT of one that is not there. */
#include <stdlib.h>
#include <string.h>

#include "kube/rest/internal.h"

enum { NAME_TRIES = 8 };

struct create {
    enum rest_validation validation;
    struct json *body; /* normal form with defaults; NULL: it is to be read of the request */
    struct json *tree; /* what is written; valid while it is being made, and in a dry run */
    struct slice name;
    struct slice bytes;
    bool generated;
    unsigned tries;
};

static void attempt(struct rest *rest);

/* ---- the object ---- */

static int check_namespace(struct rest *rest, struct json *object)
{
    struct slice told = rest_meta(object, "namespace");
    struct slice wanted = rest_ns(rest);

    if (told.len > 0 && wanted.len > 0 && !slice_eq(told, wanted))
        return kube_status_bad_request(&rest->status, rest->arena,
                                       "the namespace of the provided object does not match the "
                                       "namespace sent on the request");
    if (wanted.len > 0)
        (void)json_set(rest_metadata(rest->arena, object), "namespace",
                       json_new_string(rest->arena, wanted));
    else
        (void)json_remove(rest_metadata(rest->arena, object), "namespace");
    return 0;
}

/* Kinds whose first status is the client's to give: a node tells what it has. */
static bool keeps_status(const struct kube_resource *resource)
{
    return rest_is_core(resource, "nodes");
}

static void set_metadata(struct rest *rest, struct json *object)
{
    static const char *const unset[] = {"deletionTimestamp", "deletionGracePeriodSeconds",
                                        "selfLink", "managedFields", "generation"};
    struct arena *arena = rest->arena;
    struct json *metadata = rest_metadata(arena, object);

    for (size_t i = 0; i < ARRAY_LEN(unset); i++)
        (void)json_remove(metadata, unset[i]);
    (void)json_set(metadata, "uid", json_new_cstring(arena, rest_new_uid(rest)));
    (void)json_set(metadata, "creationTimestamp", json_new_cstring(arena, rest_now(arena)));
    if ((rest->resource->flags & KUBE_HAS_GENERATION) != 0)
        (void)json_set(metadata, "generation", json_new_int(arena, 1));
}

static int read_object(struct rest *rest, struct create *create, struct json **out)
{
    int code = 0;

    if (create->body != NULL)
        *out = json_copy(rest->arena, create->body);
    else
        code = rest_read_object(rest, rest->resource, create->validation, out);
    create->validation = REST_IGNORE; /* it has been said; there may be another try */
    return code != 0 ? code : check_namespace(rest, *out);
}

static int make_object(struct rest *rest, struct create *create)
{
    struct arena *arena = rest->arena;
    struct json *object;
    struct slice base;
    int code = read_object(rest, create, &object);

    if (code != 0)
        return code;
    base = rest_meta(object, "generateName");
    set_metadata(rest, object);
    create->generated = rest_meta(object, "name").len == 0 && base.len > 0;
    if (create->generated)
        (void)json_set(rest_metadata(arena, object), "name",
                       json_new_cstring(arena, rest_generate_name(rest, base)));
    if ((rest->resource->flags & KUBE_HAS_STATUS) != 0 && !keeps_status(rest->resource))
        (void)json_remove(object, "status");
    kube_prepare(arena, rest->resource, NULL, object);
    code = kube_validate(arena, rest->resource, NULL, object, &rest->status);
    if (code == 0 && rest_meta(object, "resourceVersion").len > 0)
        code = kube_status_set(&rest->status, arena, 500, NULL,
                               "resourceVersion should not be set on objects to be created");
    if (code == 0)
        code = rest_encode(rest, rest->resource, object, &create->tree, &create->bytes);
    create->name = rest_meta(create->tree, "name");
    return code;
}

/* ---- the write ---- */

static void on_created(struct kube_op *op)
{
    struct rest *rest = CONTAINER_OF(op, struct rest, op);
    struct create *create = rest->state;

    rest_hold(rest, op->object);
    if (op->status.code == 0) {
        rest_reply_object(rest, 201, op->object);
        return;
    }
    if (op->status.code == 409 && create->generated && ++create->tries < NAME_TRIES) {
        attempt(rest);
        return;
    }
    rest->status = op->status;
    if (op->status.code == 409 && create->generated)
        rest->status.retry_after_s = 1;
    rest_fail(rest);
}

/* A dry run: it would be created if it is not there. */
static void on_absent(struct kube_op *op)
{
    struct rest *rest = CONTAINER_OF(op, struct rest, op);
    struct create *create = rest->state;

    rest_hold(rest, op->object);
    if (op->status.code == 404)
        rest_reply_tree(rest, 201, create->tree);
    else if (op->status.code != 0)
        rest_fail_status(rest, &op->status);
    else if (create->generated && ++create->tries < NAME_TRIES)
        attempt(rest);
    else {
        (void)kube_status_exists(&rest->status, rest->arena, rest->resource, create->name);
        rest_fail(rest);
    }
}

/* Trees are many times as large as the bytes that are made of them, and those bytes may wait long
 * for the store: so trees are made in memory that all requests share. False: the request has been
 * refused, and is gone. */
static bool make_bytes(struct rest *rest, struct create *create)
{
    struct arena *arena = rest->arena, *scratch = &rest->api->scratch;
    bool well;

    if (!rest->dry_run)
        rest->arena = scratch;
    well = make_object(rest, create) == 0;
    if (well) {
        create->bytes = arena_copy(arena, create->bytes);
        create->name = arena_copy(arena, create->name);
        rest->arena = arena;
    } else {
        rest_fail(rest);
    }
    arena_reset(scratch);
    return well;
}

static void attempt(struct rest *rest)
{
    struct create *create = rest->state;

    if (!make_bytes(rest, create))
        return;
    if (rest->dry_run)
        kube_get(rest->api->store, &rest->op, rest->arena, rest->resource, rest_ns(rest),
                 create->name, KUBE_NEWEST, 0, on_absent);
    else
        kube_create(rest->api->store, &rest->op, rest->arena, rest->resource, rest_ns(rest),
                    create->name, create->bytes, on_created);
}

void rest_create(struct rest *rest)
{
    struct create *create = arena_calloc(rest->arena, sizeof *create);

    rest->state = create;
    if (rest_write_options(rest, "CreateOptions", &create->validation) != 0)
        rest_fail(rest);
    else
        attempt(rest);
}

void rest_create_named(struct rest *rest, struct json *object)
{
    struct create *create = arena_calloc(rest->arena, sizeof *create);

    create->body = object;
    rest->state = create;
    attempt(rest);
}
