#include "kube/rest/special.h"

#include <string.h>

#include "kube/rest/delete.h"
#include "kube/rest/internal.h"

void rest_reply_success(struct rest *rest, int code)
{
    struct json *status = json_new(rest->arena, JSON_OBJECT);

    (void)json_set(status, "kind", json_new_cstring(rest->arena, "Status"));
    (void)json_set(status, "apiVersion", json_new_cstring(rest->arena, "v1"));
    (void)json_set_object(rest->arena, status, "metadata");
    (void)json_set(status, "status", json_new_cstring(rest->arena, "Success"));
    (void)json_set(status, "code", json_new_int(rest->arena, code));
    rest_reply_json(rest, code, status);
}

/* ---- pods/binding ---- */

static int refuse_binding(struct rest *rest, const char *why)
{
    struct kube_resource named = *rest->resource;

    named.plural = "pods/binding";
    return kube_status_conflict(&rest->status, rest->arena, &named, rest->info.name, "%s", why);
}

static void set_scheduled(struct arena *arena, struct json *pod)
{
    struct json *status = json_set_object(arena, pod, "status");
    struct json *list = json_get(status, "conditions");
    struct json *condition = json_new(arena, JSON_OBJECT);

    (void)json_set(condition, "type", json_new_cstring(arena, "PodScheduled"));
    (void)json_set(condition, "status", json_new_cstring(arena, "True"));
    (void)json_set(condition, "lastTransitionTime", json_new_cstring(arena, rest_now(arena)));
    if (!json_is(list, JSON_ARRAY))
        list = json_set(status, "conditions", json_new(arena, JSON_ARRAY));
    json_each(item, list)
    {
        if (json_equals(json_get(item, "type"), "PodScheduled")) {
            json_become(item, condition);
            return;
        }
    }
    json_append(list, condition);
}

static int make_bound(struct rest *rest, struct rest_change *change, const struct json *old,
                      struct json **out)
{
    struct arena *arena = rest->arena;
    struct slice node = json_text_at(change->body, "target.name");
    struct slice bound = json_text_at(old, "spec.nodeName");
    struct json *annotations = json_at(change->body, "metadata.annotations");

    if (rest_is_deleting(old))
        return refuse_binding(rest, rest_print(arena,
                                               "pod %.*s is being deleted, cannot be assigned to a "
                                               "host",
                                               REST_TEXT(rest->info.name)));
    if (bound.len > 0)
        return refuse_binding(rest,
                              rest_print(arena, "pod %.*s is already assigned to node \"%.*s\"",
                                         REST_TEXT(rest->info.name), REST_TEXT(bound)));
    *out = json_copy(arena, old);
    (void)json_remove(rest_metadata(arena, *out), "resourceVersion"); /* not the client's */
    rest_keep_meta(arena, *out, change->body, "uid");
    (void)json_set(json_set_object(arena, *out, "spec"), "nodeName", json_new_string(arena, node));
    json_each(item, annotations)(void)
        json_set_slice(json_set_object(arena, rest_metadata(arena, *out), "annotations"),
                       slice_of(item->key, item->key_len), json_copy(arena, item));
    set_scheduled(arena, *out);
    return 0;
}

static void bound(struct rest *rest, struct rest_change *change)
{
    (void)change;
    rest_reply_success(rest, 201);
}

void rest_bind(struct rest *rest)
{
    struct rest_change *change = arena_calloc(rest->arena, sizeof *change);
    int code = rest_write_options(rest, "CreateOptions", &change->validation);

    change->part = REST_BINDING;
    change->make = make_bound;
    change->changed = bound;
    if (code == 0)
        code = rest_read_struct(rest, "core/v1", "Binding", &change->body);
    if (code == 0 && json_text_at(change->body, "target.name").len == 0)
        code = kube_status_bad_request(&rest->status, rest->arena,
                                       "target.name: Required value: a node to bind to");
    if (code != 0)
        rest_fail(rest);
    else
        rest_change(rest, change);
}

/* ---- selfsubjectreviews: kubectl auth whoami ---- */

static struct json *user_info(const struct rest *rest)
{
    struct arena *arena = rest->arena;
    struct json *info = json_new(arena, JSON_OBJECT);
    struct json *groups = json_new(arena, JSON_ARRAY);

    (void)json_set(info, "username", json_new_string(arena, rest->user.name));
    if (rest->user.uid.len > 0)
        (void)json_set(info, "uid", json_new_string(arena, rest->user.uid));
    for (size_t i = 0; i < rest->user.group_count; i++)
        json_append(groups, json_new_string(arena, rest->user.groups[i]));
    (void)json_set(info, "groups", groups);
    return info;
}

void rest_who_am_i(struct rest *rest)
{
    enum rest_validation validation;
    struct json *review;

    if (rest_write_options(rest, "CreateOptions", &validation) != 0 ||
        rest_read_object(rest, rest->resource, validation, &review) != 0) {
        rest_fail(rest);
        return;
    }
    (void)json_set(rest_metadata(rest->arena, review), "creationTimestamp",
                   json_new_cstring(rest->arena, rest_now(rest->arena)));
    (void)json_set(json_set_object(rest->arena, review, "status"), "userInfo", user_info(rest));
    rest_reply_tree(rest, 201, review);
}

bool rest_special(struct rest *rest)
{
    const struct kube_resource *resource = rest->resource;
    const char *sub = rest->info.sub != NULL ? rest->info.sub->name : "";

    if (strcmp(sub, "scale") == 0)
        rest_scale(rest);
    else if (strcmp(sub, "binding") == 0)
        rest_bind(rest);
    else if (strcmp(sub, "eviction") == 0)
        rest_evict(rest);
    else if (strcmp(resource->plural, "componentstatuses") == 0)
        rest_component_statuses(rest);
    else if (strcmp(resource->plural, "selfsubjectreviews") == 0)
        rest_who_am_i(rest);
    else if (strstr(resource->plural, "subjectaccessreviews") != NULL)
        rest_review_access(rest);
    else
        return false;
    return true;
}
