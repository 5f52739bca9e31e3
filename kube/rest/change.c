/* A change of an object: it is read, changed and written if it still is what was read.
 *
 *   cached or read ──▶ make ──▶ nothing changed: answered
 *        ▲               └────▶ written ──▶ answered
 *        └── changed meanwhile ◀──┘
 *
 * The first try is from the cache. What fails there may only fail because the cache is behind: then
 * the newest state is read and asked again. */
#include <stdlib.h>
#include <string.h>

#include "kube/rest/internal.h"

enum { TRIES_MAX = 5 };

static void read_newest(struct rest *rest, struct rest_change *change);
static void attempt(struct rest *rest, struct rest_change *change);

/* ---- what must agree with the stored object ---- */

static const char *key_text(struct rest *rest)
{
    struct slice ns = rest_ns(rest);

    return rest_print(rest->arena, "%s/%s/%.*s%s%.*s", rest->api->options.prefix,
                      rest->resource->stored_as->prefix, REST_TEXT(ns), ns.len > 0 ? "/" : "",
                      REST_TEXT(rest->info.name));
}

static int check_uid(struct rest *rest, const struct json *old, const struct json *object)
{
    struct slice told = rest_meta(object, "uid");
    struct slice there = rest_meta(old, "uid");

    if (told.len == 0 || slice_eq(told, there))
        return 0;
    return kube_status_conflict(&rest->status, rest->arena, rest->resource, rest->info.name,
                                "StorageError: invalid object, Code: 4, Key: %s, ResourceVersion: "
                                "0, AdditionalErrorMsg: Precondition failed: UID in precondition: "
                                "%.*s, UID in object meta: %.*s",
                                key_text(rest), REST_TEXT(told), REST_TEXT(there));
}

static int require_version(struct rest *rest)
{
    struct kube_issues issues = {0};

    kube_issues_add(&issues, rest->arena, "Invalid", "metadata.resourceVersion",
                    "Invalid value: 0: must be specified for an update");
    return kube_status_invalid(&rest->status, rest->arena, rest->resource->group,
                               rest->resource->kind, rest->info.name, &issues);
}

static int check_version(struct rest *rest, struct rest_change *change, const struct json *old,
                         const struct json *object)
{
    struct slice told = rest_meta(object, "resourceVersion");

    change->precondition = told.len > 0 && !slice_eq(told, slice_str("0"));
    if (!change->precondition)
        return (rest->resource->flags & KUBE_RV_REQUIRED) != 0 && change->part == REST_MAIN
                   ? require_version(rest)
                   : 0;
    if (slice_eq(told, rest_meta(old, "resourceVersion")))
        return 0;
    return kube_status_conflict(&rest->status, rest->arena, rest->resource, rest->info.name, NULL);
}

/* upstream's checkName(). */
int rest_check_name(struct rest *rest, const struct json *object)
{
    struct slice name = rest_meta(object, "name");
    struct slice ns = rest_meta(object, "namespace");
    struct slice wanted_ns = rest_ns(rest);

    if (name.len == 0)
        return kube_status_bad_request(&rest->status, rest->arena,
                                       "the name of the object (%.*s based on URL) was "
                                       "undeterminable: name must be provided",
                                       REST_TEXT(rest->info.name));
    if (!slice_eq(name, rest->info.name))
        return kube_status_bad_request(&rest->status, rest->arena,
                                       "the name of the object (%.*s) does not match the name on "
                                       "the URL (%.*s)",
                                       REST_TEXT(name), REST_TEXT(rest->info.name));
    if (wanted_ns.len > 0 && ns.len > 0 && !slice_eq(ns, wanted_ns))
        return kube_status_bad_request(&rest->status, rest->arena,
                                       "the namespace of the object (%.*s) does not match the "
                                       "namespace on the request (%.*s)",
                                       REST_TEXT(ns), REST_TEXT(wanted_ns));
    return 0;
}

/* ---- who may change what ---- */

static void keep_member(struct arena *arena, struct json *object, const struct json *old,
                        const char *name)
{
    const struct json *kept = json_get(old, name);

    if (kept == NULL)
        (void)json_remove(object, name);
    else
        (void)json_set(object, name, json_copy(arena, kept));
}

/* A write of the status: the rest stays, but for annotations, and the labels of core kinds. */
static struct json *only_status(struct rest *rest, const struct json *old,
                                const struct json *wanted)
{
    struct arena *arena = rest->arena;
    struct json *object = json_copy(arena, old);
    const struct json *status = json_get(wanted, "status");

    if (status == NULL)
        (void)json_remove(object, "status");
    else
        (void)json_set(object, "status", json_copy(arena, status));
    rest_keep_meta(arena, object, wanted, "annotations");
    if (rest->resource->group[0] == '\0')
        rest_keep_meta(arena, object, wanted, "labels");
    rest_keep_meta(arena, object, wanted, "finalizers");
    return object;
}

static struct json *only_finalizers(struct rest *rest, const struct json *old,
                                    const struct json *wanted)
{
    struct arena *arena = rest->arena;
    struct json *object = json_copy(arena, old);
    const struct json *list = json_at(wanted, "spec.finalizers");
    struct json *spec = json_set_object(arena, object, "spec");

    if (list == NULL)
        (void)json_remove(spec, "finalizers");
    else
        (void)json_set(spec, "finalizers", json_copy(arena, list));
    return object;
}

static struct json *without_status(struct rest *rest, const struct json *old,
                                   const struct json *wanted)
{
    struct arena *arena = rest->arena;
    struct json *object = json_copy(arena, wanted);

    if ((rest->resource->flags & KUBE_HAS_STATUS) != 0)
        keep_member(arena, object, old, "status");
    if (rest_is_core(rest->resource, "namespaces")) {
        const struct json *list = json_at(old, "spec.finalizers");
        struct json *spec = json_set_object(arena, object, "spec");

        (void)json_remove(spec, "finalizers"); /* /finalize is for those */
        if (list != NULL)
            (void)json_set(spec, "finalizers", json_copy(arena, list));
    }
    return object;
}

static void keep_system_metadata(struct arena *arena, struct json *object, const struct json *old)
{
    static const char *const kept[] = {"namespace",         "uid",
                                       "creationTimestamp", "deletionTimestamp",
                                       "generation",        "deletionGracePeriodSeconds"};

    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        rest_keep_meta(arena, object, old, kept[i]);
    (void)json_remove(rest_metadata(arena, object), "selfLink");
    (void)json_remove(rest_metadata(arena, object), "managedFields");
}

static struct json *take_part(struct rest *rest, struct rest_change *change, const struct json *old,
                              const struct json *wanted)
{
    switch (change->part) {
    case REST_STATUS:
        return only_status(rest, old, wanted);
    case REST_FINALIZE:
        return only_finalizers(rest, old, wanted);
    case REST_MAIN:
        return without_status(rest, old, wanted);
    default:
        return json_copy(rest->arena, wanted);
    }
}

/* change->tree and bytes: what is to be stored. */
static int prepare(struct rest *rest, struct rest_change *change)
{
    struct arena *arena = rest->arena;
    struct json *wanted, *object, *stored = NULL;
    int code = change->make(rest, change, change->old, &wanted);

    if (code == 0)
        code = rest_check_name(rest, wanted);
    if (code == 0)
        code = check_uid(rest, change->old, wanted);
    if (code == 0)
        code = check_version(rest, change, change->old, wanted);
    if (code != 0)
        return code;
    object = take_part(rest, change, change->old, wanted);
    keep_system_metadata(arena, object, change->old);
    kube_prepare(arena, rest->resource, change->old, object);
    if (kube_normalise(arena, rest->resource, change->old, NULL, &stored, &rest->status) != 0)
        stored = change->old; /* written by somebody with other rules: then it has changed */
    code = rest_encode(rest, rest->resource, object, &change->tree, &change->bytes);
    if (code == 0 && change->part != REST_STATUS && change->part != REST_BINDING &&
        !rest_same_spec(change->tree, stored)) {
        rest_raise_generation(arena, rest->resource, change->tree, change->old);
        code = rest_encode(rest, rest->resource, change->tree, &change->tree, &change->bytes);
    }
    if (code != 0)
        return code;
    (void)json_remove(rest_metadata(arena, stored), "resourceVersion");
    change->unchanged = json_same(change->tree, stored);
    if (change->part == REST_BINDING)
        return 0; /* what nobody else may change */
    return kube_validate(arena, rest->resource, change->old, change->tree, &rest->status);
}

/* ---- the end of an object that was only waiting for its finalizers ---- */

static bool is_released(const struct rest *rest, const struct rest_change *change)
{
    int64_t grace = 0;

    if (!rest_is_deleting(change->old) || rest_has_finalizers(change->tree))
        return false;
    if (rest_is_core(rest->resource, "namespaces")) {
        const struct json *list = json_at(change->tree, "spec.finalizers");

        return list == NULL || list->count == 0;
    }
    (void)json_int(json_get(json_get(change->old, "metadata"), "deletionGracePeriodSeconds"),
                   &grace);
    return grace == 0;
}

/* ---- the steps ---- */

static struct rest_change *change_of(struct kube_op *op, struct rest **rest)
{
    *rest = CONTAINER_OF(op, struct rest, op);
    return (*rest)->state;
}

/* The object is another one than the change was made for. */
static bool retry(struct rest *rest, struct rest_change *change, struct kube_op *op)
{
    if (op->status.code != 409 || op->object == NULL || change->precondition ||
        ++change->tries >= TRIES_MAX)
        return false;
    change->object = op->object;
    change->fresh = true;
    rest_hold(rest, op->object);
    attempt(rest, change);
    return true;
}

static void fail_missing(struct rest *rest, struct rest_change *change)
{
    if (change->missing != NULL)
        change->missing(rest, change);
    else
        rest_fail(rest);
}

static void on_written(struct kube_op *op)
{
    struct rest *rest;
    struct rest_change *change = change_of(op, &rest);

    if (op->status.code == 0) {
        rest_hold(rest, op->object);
        rest_set_version(rest->arena, change->tree, kube_object_revision(op->object));
        change->object = op->object;
        change->changed(rest, change);
        return;
    }
    if (retry(rest, change, op))
        return;
    rest_hold(rest, op->object);
    rest->status = op->status;
    if (op->status.code == 404)
        fail_missing(rest, change);
    else
        rest_fail(rest);
}

static void on_removed(struct kube_op *op)
{
    struct rest *rest;
    struct rest_change *change = change_of(op, &rest);

    if (op->status.code != 0 && retry(rest, change, op))
        return;
    rest_hold(rest, op->object);
    if (op->status.code != 0) {
        rest_fail_status(rest, &op->status);
        return;
    }
    rest_set_version(rest->arena, change->tree, kube_object_revision(change->object));
    change->object = NULL; /* the answer is what was never stored */
    change->changed(rest, change);
}

static void answer_unwritten(struct rest *rest, struct rest_change *change)
{
    rest_set_version(rest->arena, change->tree, kube_object_revision(change->object));
    if (!change->unchanged)
        change->object = NULL;
    change->changed(rest, change);
}

static void attempt(struct rest *rest, struct rest_change *change)
{
    int64_t expected = kube_object_revision(change->object);

    change->old = rest_object_json(rest->arena, rest->resource, change->object);
    if (prepare(rest, change) != 0) {
        if (change->fresh)
            rest_fail(rest);
        else
            read_newest(rest, change);
        return;
    }
    if (change->unchanged && !change->fresh)
        read_newest(rest, change); /* that it says nothing new must be true of the newest state */
    else if (change->unchanged || rest->dry_run)
        answer_unwritten(rest, change);
    else if (is_released(rest, change))
        kube_delete(rest->api->store, &rest->op, rest->arena, rest->resource, rest_ns(rest),
                    rest->info.name, expected, on_removed);
    else
        kube_update(rest->api->store, &rest->op, rest->arena, rest->resource, rest_ns(rest),
                    rest->info.name, expected, change->bytes, on_written);
}

static void on_read(struct kube_op *op)
{
    struct rest *rest;
    struct rest_change *change = change_of(op, &rest);

    rest_hold(rest, op->object);
    if (op->status.code != 0) {
        rest->status = op->status;
        if (op->status.code == 404)
            fail_missing(rest, change);
        else
            rest_fail(rest);
        return;
    }
    change->object = op->object;
    change->fresh = true;
    attempt(rest, change);
}

static void read_newest(struct rest *rest, struct rest_change *change)
{
    (void)change;
    rest->status = (struct kube_status){0};
    kube_get(rest->api->store, &rest->op, rest->arena, rest->resource, rest_ns(rest),
             rest->info.name, KUBE_NEWEST, 0, on_read);
}

void rest_change(struct rest *rest, struct rest_change *change)
{
    struct kube_object *cached =
        kube_cached(rest->api->store, rest->resource, rest_ns(rest), rest->info.name);

    rest->state = change;
    if (cached == NULL) {
        read_newest(rest, change);
        return;
    }
    change->object = kube_object_ref(cached);
    rest_hold(rest, cached);
    attempt(rest, change);
}
