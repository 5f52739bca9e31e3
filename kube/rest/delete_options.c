/* metav1.DeleteOptions. */
#include <string.h>

#include "kube/rest/delete.h"

static int invalid(struct rest *rest, const struct kube_issues *issues)
{
    if (issues->count == 0)
        return 0;
    return kube_status_invalid(&rest->status, rest->arena, "meta.k8s.io", "DeleteOptions",
                               slice_of("", 0), issues);
}

static void read_policy(struct rest *rest, struct slice text, struct rest_delete_options *out,
                        struct kube_issues *issues)
{
    if (text.len == 0)
        return;
    if (slice_eq(text, slice_str("Orphan")))
        out->policy = REST_ORPHAN;
    else if (slice_eq(text, slice_str("Foreground")))
        out->policy = REST_FOREGROUND;
    else if (slice_eq(text, slice_str("Background")))
        out->policy = REST_BACKGROUND;
    else
        kube_issues_add(issues, rest->arena, "NotSupported", "propagationPolicy",
                        "Unsupported value: \"%.*s\": supported values: \"Foreground\", "
                        "\"Background\", \"Orphan\", \"nil\"",
                        REST_TEXT(text));
}

static void read_dry_run(struct rest *rest, struct slice text, struct kube_issues *issues)
{
    if (slice_eq(text, slice_str("All")))
        rest->dry_run = true;
    else
        kube_issues_add(issues, rest->arena, "NotSupported", "dryRun",
                        "Unsupported value: [\"%.*s\"]: supported values: \"All\"",
                        REST_TEXT(text));
}

/* The older way to say it; both at once contradict each other. */
static void read_orphan(struct rest *rest, bool orphan, struct rest_delete_options *out,
                        struct kube_issues *issues)
{
    if (out->policy != REST_POLICY_DEFAULT)
        kube_issues_add(issues, rest->arena, "Invalid", "propagationPolicy",
                        "Invalid value: \"%s\": orphanDependents and deletionPropagation cannot "
                        "be both set",
                        out->policy == REST_ORPHAN ? "Orphan" : "Background");
    out->policy = orphan ? REST_ORPHAN : REST_BACKGROUND;
}

int rest_delete_options_of(struct rest *rest, const struct json *body,
                           struct rest_delete_options *out)
{
    const struct json *orphan = json_get(body, "orphanDependents");
    const struct json *preconditions = json_get(body, "preconditions");
    struct kube_issues issues = {0};

    *out = (struct rest_delete_options){0};
    out->has_grace = json_int(json_get(body, "gracePeriodSeconds"), &out->grace_s);
    if (out->grace_s < 0)
        out->grace_s = 1; /* as upstream */
    out->uid = json_text(json_get(preconditions, "uid"));
    out->version = json_text(json_get(preconditions, "resourceVersion"));
    read_policy(rest, json_text(json_get(body, "propagationPolicy")), out, &issues);
    if (json_is(orphan, JSON_BOOL))
        read_orphan(rest, orphan->boolean, out, &issues);
    json_each(item, json_get(body, "dryRun")) read_dry_run(rest, json_text(item), &issues);
    return invalid(rest, &issues);
}

static int of_query(struct rest *rest, struct rest_delete_options *out)
{
    struct slice dry_run = rest_query_get(&rest->query, "dryRun");
    struct kube_issues issues = {0};
    int code = rest_number(rest, "gracePeriodSeconds", &out->grace_s);

    if (code != 0)
        return code;
    out->has_grace = rest_query_get(&rest->query, "gracePeriodSeconds").len > 0;
    if (out->grace_s < 0)
        out->grace_s = 1;
    read_policy(rest, rest_query_get(&rest->query, "propagationPolicy"), out, &issues);
    if (rest_query_get(&rest->query, "orphanDependents").len > 0)
        read_orphan(rest, rest_query_bool(&rest->query, "orphanDependents"), out, &issues);
    if (dry_run.len > 0)
        read_dry_run(rest, dry_run, &issues);
    return invalid(rest, &issues);
}

int rest_read_delete_options(struct rest *rest, struct rest_delete_options *out)
{
    struct json *body;
    int code = rest_read_struct(rest, "meta/v1", "DeleteOptions", &body);

    *out = (struct rest_delete_options){0};
    if (code == 0)
        code = body != NULL ? rest_delete_options_of(rest, body, out) : of_query(rest, out);
    return code;
}
