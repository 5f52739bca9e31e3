/* What a deletion does to one object: it is removed, or marked, or stays as it is. */
#include <stdlib.h>
#include <string.h>

#include "kube/rest/delete.h"

enum { TRIES_MAX = 5, POD_GRACE_S = 30 };

enum act { ACT_FAIL, ACT_REMOVE, ACT_MARK, ACT_NOTHING };

static void attempt(struct rest_deletion *deletion);

/* ---- may it be deleted? ---- */

static int conflict(struct rest_deletion *deletion, const char *what, struct slice told,
                    struct slice there, const char *why)
{
    struct rest *rest = deletion->rest;
    struct kube_resource *by_kind = arena_alloc(rest->arena, sizeof *by_kind);

    *by_kind = *rest->resource; /* here upstream names the kind */
    by_kind->plural = rest->resource->kind;
    return kube_status_conflict(&rest->status, rest->arena, by_kind, deletion->name,
                                "the %s in the precondition (%.*s) does not match the %s in record "
                                "(%.*s). The object might have been %s",
                                what, REST_TEXT(told), what, REST_TEXT(there), why);
}

static int check_preconditions(struct rest_deletion *deletion)
{
    const struct rest_delete_options *options = &deletion->options;
    struct slice uid = rest_meta(deletion->old, "uid");
    struct slice version = rest_meta(deletion->old, "resourceVersion");

    if (options->uid.len > 0 && !slice_eq(options->uid, uid))
        return conflict(deletion, "UID", options->uid, uid, "deleted and then recreated");
    if (options->version.len > 0 && !slice_eq(options->version, version))
        return conflict(deletion, "ResourceVersion", options->version, version, "modified");
    return 0;
}

static int check_protected(struct rest_deletion *deletion)
{
    static const char *const names[] = {"default", "kube-system", "kube-public"};
    struct rest *rest = deletion->rest;

    if (!rest_is_core(rest->resource, "namespaces"))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq(deletion->name, slice_str(names[i])))
            return kube_status_forbidden(&rest->status, rest->arena, rest->resource, deletion->name,
                                         "this namespace may not be deleted");
    return 0;
}

/* ---- finalizers of the garbage collector ---- */

static bool has_item(const struct json *list, const char *text)
{
    json_each(item, list) if (json_equals(item, text)) return true;
    return false;
}

static enum rest_policy effective_policy(const struct rest_deletion *deletion)
{
    const struct json *list = json_at(deletion->old, "metadata.finalizers");

    if (deletion->options.policy != REST_POLICY_DEFAULT)
        return deletion->options.policy;
    if (has_item(list, "orphan"))
        return REST_ORPHAN;
    if (has_item(list, "foregroundDeletion"))
        return REST_FOREGROUND;
    return (deletion->rest->resource->flags & KUBE_ORPHAN_DEFAULT) != 0 ? REST_ORPHAN
                                                                        : REST_BACKGROUND;
}

/* The list as the policy wants it; each of the two replaces the other. */
static struct json *wanted_finalizers(const struct rest_deletion *deletion)
{
    struct arena *arena = deletion->rest->arena;
    struct json *out = json_new(arena, JSON_ARRAY);
    enum rest_policy policy = effective_policy(deletion);

    json_each(item, json_at(deletion->old, "metadata.finalizers"))
    {
        if (!json_equals(item, "orphan") && !json_equals(item, "foregroundDeletion"))
            json_append(out, json_new_string(arena, json_text(item)));
    }
    if (policy == REST_ORPHAN)
        json_append(out, json_new_cstring(arena, "orphan"));
    else if (policy == REST_FOREGROUND)
        json_append(out, json_new_cstring(arena, "foregroundDeletion"));
    return out;
}

/* ---- grace ---- */

static bool is_finished_or_unbound(const struct json *pod)
{
    const struct json *phase = json_at(pod, "status.phase");

    return json_text_at(pod, "spec.nodeName").len == 0 || json_equals(phase, "Succeeded") ||
           json_equals(phase, "Failed");
}

static int64_t grace_of(const struct rest_deletion *deletion)
{
    int64_t grace = POD_GRACE_S;

    if ((deletion->rest->resource->flags & KUBE_GRACEFUL) == 0)
        return 0;
    (void)json_int(json_at(deletion->old, "spec.terminationGracePeriodSeconds"), &grace);
    if (deletion->options.has_grace)
        grace = deletion->options.grace_s;
    return is_finished_or_unbound(deletion->old) || grace < 0 ? 0 : grace;
}

/* ---- the marked object ---- */

static bool is_terminating(const struct json *old, int64_t *grace)
{
    *grace = 0;
    (void)json_int(json_at(old, "metadata.deletionGracePeriodSeconds"), grace);
    return rest_is_deleting(old);
}

/* deletionTimestamp, grace and generation as they are once deletion was asked for. */
static struct json *marked(struct rest_deletion *deletion, int64_t grace, struct json *finalizers)
{
    struct rest *rest = deletion->rest;
    struct arena *arena = rest->arena;
    struct json *tree = json_copy(arena, deletion->old);
    struct json *metadata = rest_metadata(arena, tree);
    bool is_namespace = rest_is_core(rest->resource, "namespaces");
    int64_t before;
    bool again = is_terminating(deletion->old, &before);

    if (!again || grace < before)
        (void)json_set(metadata, "deletionTimestamp",
                       json_new_cstring(arena, rest_time_after(arena, grace)));
    if (!is_namespace && (!again || grace < before))
        (void)json_set(metadata, "deletionGracePeriodSeconds", json_new_int(arena, grace));
    if (!again)
        rest_raise_generation(arena, rest->resource, tree, deletion->old);
    if (finalizers->count > 0)
        (void)json_set(metadata, "finalizers", finalizers);
    else
        (void)json_remove(metadata, "finalizers");
    if (is_namespace)
        (void)json_set(json_set_object(arena, tree, "status"), "phase",
                       json_new_cstring(arena, "Terminating"));
    return tree;
}

static bool keeps_namespace(const struct rest_deletion *deletion)
{
    const struct json *list = json_at(deletion->old, "spec.finalizers");

    return rest_is_core(deletion->rest->resource, "namespaces") && list != NULL && list->count > 0;
}

static enum act decide(struct rest_deletion *deletion)
{
    struct rest *rest = deletion->rest;
    struct json *finalizers;
    int64_t before, grace;
    bool again;

    if (check_protected(deletion) != 0 || check_preconditions(deletion) != 0)
        return ACT_FAIL;
    finalizers = wanted_finalizers(deletion);
    grace = grace_of(deletion);
    again = is_terminating(deletion->old, &before);
    if (again && grace > before)
        grace = before; /* it is never made longer */
    if (finalizers->count == 0 && grace == 0 && !keeps_namespace(deletion)) {
        if ((rest->resource->flags & KUBE_GRACEFUL) != 0)
            deletion->tree = marked(deletion, 0, finalizers);
        return ACT_REMOVE;
    }
    deletion->tree = marked(deletion, grace, finalizers);
    return json_same(deletion->tree, deletion->old) ? ACT_NOTHING : ACT_MARK;
}

/* ---- the steps ---- */

static void on_read(struct kube_op *op)
{
    struct rest_deletion *deletion = CONTAINER_OF(op, struct rest_deletion, op);

    rest_hold(deletion->rest, op->object);
    if (op->status.code != 0) {
        deletion->rest->status = op->status;
        deletion->done(deletion);
        return;
    }
    deletion->object = op->object;
    deletion->fresh = true;
    attempt(deletion);
}

static void read_newest(struct rest_deletion *deletion)
{
    struct rest *rest = deletion->rest;

    rest->status = (struct kube_status){0};
    kube_get(rest->api->store, &deletion->op, rest->arena, rest->resource, deletion->ns,
             deletion->name, KUBE_NEWEST, 0, on_read);
}

/* The write met another state than the one it was decided on. */
static bool retry(struct rest_deletion *deletion)
{
    struct kube_op *op = &deletion->op;

    if (op->status.code != 409 || op->object == NULL || ++deletion->tries >= TRIES_MAX)
        return false;
    deletion->object = op->object;
    deletion->fresh = true;
    attempt(deletion);
    return true;
}

static void on_written(struct kube_op *op)
{
    struct rest_deletion *deletion = CONTAINER_OF(op, struct rest_deletion, op);

    rest_hold(deletion->rest, op->object);
    if (retry(deletion))
        return;
    deletion->rest->status = op->status;
    if (op->status.code == 0)
        deletion->object = op->object;
    if (op->status.code == 0 && !deletion->removed)
        deletion->tree = NULL; /* the object is what was written */
    deletion->done(deletion);
}

static void answer(struct rest_deletion *deletion)
{
    deletion->rest->status = (struct kube_status){0};
    deletion->done(deletion);
}

static void mark(struct rest_deletion *deletion)
{
    struct rest *rest = deletion->rest;

    deletion->removed = false;
    if (rest_encode(rest, rest->resource, deletion->tree, &deletion->tree, &deletion->bytes) != 0) {
        deletion->done(deletion);
        return;
    }
    if (rest->dry_run) {
        rest_set_version(rest->arena, deletion->tree, kube_object_revision(deletion->object));
        answer(deletion);
        return;
    }
    kube_update(rest->api->store, &deletion->op, rest->arena, rest->resource, deletion->ns,
                deletion->name, kube_object_revision(deletion->object), deletion->bytes,
                on_written);
}

static void take_away(struct rest_deletion *deletion)
{
    struct rest *rest = deletion->rest;

    deletion->removed = true;
    if (rest->dry_run)
        answer(deletion);
    else
        kube_delete(rest->api->store, &deletion->op, rest->arena, rest->resource, deletion->ns,
                    deletion->name, kube_object_revision(deletion->object), on_written);
}

static void attempt(struct rest_deletion *deletion)
{
    deletion->old =
        rest_object_json(deletion->rest->arena, deletion->rest->resource, deletion->object);
    deletion->tree = NULL;
    switch (decide(deletion)) {
    case ACT_REMOVE:
        take_away(deletion);
        break;
    case ACT_MARK:
        mark(deletion);
        break;
    case ACT_NOTHING:
    case ACT_FAIL:
        if (!deletion->fresh)
            read_newest(deletion); /* only the newest state may say so */
        else
            deletion->done(deletion);
        break;
    }
}

void rest_deletion_start(struct rest_deletion *deletion, struct kube_object *object)
{
    deletion->object = object;
    if (object == NULL)
        read_newest(deletion);
    else
        attempt(deletion);
}
