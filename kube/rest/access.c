/* Access reviews: may somebody do something? Answered by the rules that requests are judged by. */
#include <string.h>

#include "kube/rest/internal.h"
#include "kube/rest/special.h"

static const char *terminated(struct rest *rest, const struct json *object, const char *name)
{
    return rest_print(rest->arena, "%.*s", REST_TEXT(json_text(json_get(object, name))));
}

static struct slice text_or_empty(const struct json *object, const char *name)
{
    struct slice text = json_text(json_get(object, name));

    return text.data != NULL ? text : slice_of("", 0);
}

static void read_attributes(struct rest *rest, const struct json *spec, struct kube_attributes *out)
{
    const struct json *resource = json_get(spec, "resourceAttributes");
    const struct json *page = json_get(spec, "nonResourceAttributes");

    *out = (struct kube_attributes){.is_resource = resource != NULL};
    out->verb = terminated(rest, resource != NULL ? resource : page, "verb");
    out->group = text_or_empty(resource, "group");
    out->resource = text_or_empty(resource, "resource");
    out->subresource = text_or_empty(resource, "subresource");
    out->ns = text_or_empty(resource, "namespace");
    out->name = text_or_empty(resource, "name");
    out->path = terminated(rest, page, "path");
}

/* Who is asked about: whoever asks, or the one that is named. */
static void read_user(struct rest *rest, const struct json *spec, struct kube_user *out)
{
    const struct json *groups = json_get(spec, "groups");

    if (strcmp(rest->resource->plural, "selfsubjectaccessreviews") == 0) {
        *out = rest->user;
        return;
    }
    *out =
        (struct kube_user){.name = text_or_empty(spec, "user"), .uid = text_or_empty(spec, "uid")};
    if (!json_is(groups, JSON_ARRAY))
        return;
    out->groups = arena_alloc(rest->arena, (groups->count + 1) * sizeof *out->groups);
    json_each(group, groups) out->groups[out->group_count++] = json_text(group);
}

static int check_spec(struct rest *rest, const struct json *spec)
{
    struct kube_issues issues = {0};
    bool resource = json_get(spec, "resourceAttributes") != NULL;
    bool page = json_get(spec, "nonResourceAttributes") != NULL;

    if (resource && page)
        kube_issues_add(&issues, rest->arena, "Invalid", "spec.nonResourceAttributes",
                        "Invalid value: null: cannot be specified in combination with "
                        "resourceAttributes");
    else if (!resource && !page)
        kube_issues_add(&issues, rest->arena, "Invalid", "spec.resourceAttributes",
                        "Invalid value: null: exactly one of nonResourceAttributes or "
                        "resourceAttributes must be specified");
    if (issues.count == 0)
        return 0;
    return kube_status_invalid(&rest->status, rest->arena, rest->resource->group,
                               rest->resource->kind, slice_of("", 0), &issues);
}

void rest_review_access(struct rest *rest)
{
    struct kube_attributes attributes;
    enum rest_validation validation;
    struct kube_user user;
    struct json *review, *status;
    bool allowed;

    if (rest_write_options(rest, "CreateOptions", &validation) != 0 ||
        rest_read_object(rest, rest->resource, validation, &review) != 0 ||
        check_spec(rest, json_get(review, "spec")) != 0) {
        rest_fail(rest);
        return;
    }
    read_attributes(rest, json_get(review, "spec"), &attributes);
    read_user(rest, json_get(review, "spec"), &user);
    allowed = kube_auth_allows(rest->api->options.auth, &user, &attributes);
    status = json_set_object(rest->arena, review, "status");
    (void)json_set(status, "allowed", json_new_bool(rest->arena, allowed));
    rest_reply_tree(rest, 201, review);
}
