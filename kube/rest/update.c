/* PUT and PATCH of an object and of its status. */
#include <string.h>

#include "kube/patch/patch.h"
#include "kube/rest/internal.h"

/* ---- PUT ---- */

static void reply_changed(struct rest *rest, struct rest_change *change)
{
    if (change->object != NULL)
        rest_reply_object(rest, 200, change->object);
    else
        rest_reply_tree(rest, 200, change->tree);
}

static int make_of_body(struct rest *rest, struct rest_change *change, const struct json *old,
                        struct json **out)
{
    (void)old;
    *out = json_copy(rest->arena, change->body);
    return 0;
}

static void create_missing(struct rest *rest, struct rest_change *change)
{
    if ((rest->resource->flags & KUBE_CREATE_ON_UPDATE) == 0 || change->part != REST_MAIN ||
        change->precondition)
        rest_fail(rest);
    else
        rest_create_named(rest, change->body);
}

static enum rest_part part_of(const struct rest *rest)
{
    if (rest->info.sub == NULL)
        return REST_MAIN;
    return strcmp(rest->info.sub->name, "finalize") == 0 ? REST_FINALIZE : REST_STATUS;
}

void rest_update(struct rest *rest)
{
    struct rest_change *change = arena_calloc(rest->arena, sizeof *change);

    change->part = part_of(rest);
    change->make = make_of_body;
    change->changed = reply_changed;
    change->missing = create_missing;
    if (rest_write_options(rest, "UpdateOptions", &change->validation) != 0 ||
        rest_read_object(rest, rest->resource, change->validation, &change->body) != 0 ||
        rest_check_name(rest, change->body) != 0)
        rest_fail(rest);
    else
        rest_change(rest, change);
}

/* ---- PATCH ---- */

int rest_read_patch(struct rest *rest, struct rest_change *change)
{
    struct json_error error;
    enum kube_body type = kube_body_type(http_header(rest->http, "content-type"));

    if (type != KUBE_BODY_JSON_PATCH && type != KUBE_BODY_MERGE_PATCH &&
        type != KUBE_BODY_STRATEGIC_PATCH) {
        (void)kube_status_set(&rest->status, rest->arena, 415, "UnsupportedMediaType",
                              "415: Unsupported Media Type");
        rest->status.has_details = true;
        return 415;
    }
    change->body_type = (int)type;
    if (json_parse(rest->arena, http_body(rest->http), NULL, &change->body, &error) != 0)
        return kube_status_bad_request(&rest->status, rest->arena, "error decoding patch: %s",
                                       error.text);
    return 0;
}

int rest_apply_patch(struct rest *rest, struct rest_change *change, const struct kube_struct *type,
                     const struct json *old, struct json **out)
{
    switch (change->body_type) {
    case KUBE_BODY_JSON_PATCH:
        return kube_patch_json(rest->arena, old, change->body, out, &rest->status);
    case KUBE_BODY_MERGE_PATCH:
        return kube_patch_merge(rest->arena, old, change->body, out, &rest->status);
    default:
        return kube_patch_strategic(rest->arena, type, old, change->body, out, &rest->status);
    }
}

static int make_of_patch(struct rest *rest, struct rest_change *change, const struct json *old,
                         struct json **out)
{
    struct json *patched;
    unsigned warned = rest->warning_count;
    enum rest_validation validation = change->validation;
    int code = rest_apply_patch(rest, change, rest->resource->type, old, &patched);

    if (validation == REST_WARN && change->warned)
        validation = REST_IGNORE; /* said the first time */
    if (code == 0)
        code = rest_accept_tree(rest, rest->resource, validation, patched, out);
    change->warned = change->warned || rest->warning_count > warned;
    return code;
}

void rest_patch(struct rest *rest)
{
    struct rest_change *change = arena_calloc(rest->arena, sizeof *change);

    change->part = part_of(rest);
    change->make = make_of_patch;
    change->changed = reply_changed;
    if (rest_read_patch(rest, change) != 0 ||
        rest_write_options(rest, "PatchOptions", &change->validation) != 0)
        rest_fail(rest);
    else
        rest_change(rest, change);
}
