/* GET of one object and of lists. */
#include <stdlib.h>
#include <string.h>

#include "kube/codec/convert.h"
#include "kube/rest/internal.h"

/* ---- versions ---- */

static bool parse_version(struct slice text, int64_t *out)
{
    int64_t value = 0;

    if (text.len == 0 || text.len > 18)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (text.data[i] - '0');
    }
    *out = value;
    return true;
}

int rest_freshness(struct rest *rest, enum kube_freshness *freshness, int64_t *revision)
{
    struct slice text = rest_query_get(&rest->query, "resourceVersion");

    *freshness = KUBE_NEWEST;
    *revision = 0;
    if (text.len == 0)
        return 0;
    if (!parse_version(text, revision))
        return kube_status_bad_request(&rest->status, rest->arena,
                                       "invalid resource version: resourceVersion: Invalid value: "
                                       "\"%.*s\": strconv.ParseUint: parsing \"%.*s\": invalid "
                                       "syntax",
                                       REST_TEXT(text), REST_TEXT(text));
    *freshness = *revision == 0 ? KUBE_ANY : KUBE_NOT_OLDER;
    return 0;
}

int rest_number(struct rest *rest, const char *name, int64_t *out)
{
    struct slice text = rest_query_get(&rest->query, name);
    bool negative = text.len > 0 && text.data[0] == '-';

    *out = 0;
    if (text.len == 0)
        return 0;
    if (!parse_version(slice_of(text.data + negative, text.len - negative), out))
        return kube_status_bad_request(&rest->status, rest->arena,
                                       "strconv.ParseInt: parsing \"%.*s\": invalid syntax",
                                       REST_TEXT(text));
    if (negative)
        *out = -*out;
    return 0;
}

int rest_selector(struct rest *rest, struct kube_selector *out)
{
    struct slice labels = rest_query_get(&rest->query, "labelSelector");
    struct slice fields = rest_query_get(&rest->query, "fieldSelector");
    int code = 0;

    *out = (struct kube_selector){0};
    if (labels.len > 0)
        code = kube_label_selector_parse(rest->arena, labels, out, &rest->status);
    if (code == 0 && fields.len > 0)
        code = kube_field_selector_parse(rest->arena, rest->resource, fields, out, &rest->status);
    for (struct kube_requirement *field = out->fields; code == 0 && field != NULL;
         field = field->next)
        field->key = kube_stored_field(rest->arena, rest->resource, field->key);
    return code;
}

/* ---- one object ---- */

static void on_got(struct kube_op *op)
{
    struct rest *rest = CONTAINER_OF(op, struct rest, op);

    if (op->status.code != 0) {
        rest_fail_status(rest, &op->status);
        return;
    }
    rest_hold(rest, op->object);
    rest_reply_object(rest, 200, op->object);
}

void rest_get(struct rest *rest)
{
    enum kube_freshness freshness;
    int64_t revision;

    if (rest_freshness(rest, &freshness, &revision) != 0) {
        rest_fail(rest);
        return;
    }
    kube_get(rest->api->store, &rest->op, rest->arena, rest->resource, rest_ns(rest),
             rest->info.name, freshness, revision, on_got);
}

/* ---- lists ---- */

int rest_forbid_option(struct rest *rest, const char *field, const char *why)
{
    struct kube_issues issues = {0};

    kube_issues_add(&issues, rest->arena, "Forbidden", field, "Forbidden: %s", why);
    return kube_status_invalid(&rest->status, rest->arena, "meta.k8s.io", "ListOptions",
                               slice_of("", 0), &issues);
}

static int unsupported_match(struct rest *rest, struct slice match)
{
    struct kube_issues issues = {0};

    kube_issues_add(&issues, rest->arena, "NotSupported", "resourceVersionMatch",
                    "Unsupported value: \"%.*s\": supported values: \"\", \"Exact\", "
                    "\"NotOlderThan\"",
                    REST_TEXT(match));
    return kube_status_invalid(&rest->status, rest->arena, "meta.k8s.io", "ListOptions",
                               slice_of("", 0), &issues);
}

/* resourceVersionMatch beside the rest of the options. */
static int apply_match(struct rest *rest, struct kube_list_options *options)
{
    struct slice match = rest_query_get(&rest->query, "resourceVersionMatch");
    struct slice version = rest_query_get(&rest->query, "resourceVersion");

    if (rest_query_get(&rest->query, "sendInitialEvents").len > 0)
        return rest_forbid_option(rest, "sendInitialEvents",
                                  "sendInitialEvents is forbidden for list");
    if (match.len == 0) {
        if (options->limit > 0 && options->freshness == KUBE_NOT_OLDER)
            options->freshness = KUBE_EXACT;
        return 0;
    }
    if (version.len == 0)
        return rest_forbid_option(
            rest, "resourceVersionMatch",
            "resourceVersionMatch is forbidden unless resourceVersion is provided");
    if (options->continue_token.len > 0)
        return rest_forbid_option(rest, "resourceVersionMatch",
                                  "resourceVersionMatch is forbidden when continue is provided");
    if (slice_eq(match, slice_str("NotOlderThan")))
        return 0;
    if (!slice_eq(match, slice_str("Exact")))
        return unsupported_match(rest, match);
    if (options->revision == 0)
        return rest_forbid_option(
            rest, "resourceVersionMatch",
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    options->freshness = KUBE_EXACT;
    return 0;
}

int rest_list_options(struct rest *rest, struct kube_list_options *out)
{
    int64_t limit;
    int code;

    *out = (struct kube_list_options){.ns = rest_ns(rest)};
    out->continue_token = rest_query_get(&rest->query, "continue");
    code = rest_selector(rest, &out->selector);
    if (code == 0)
        code = rest_number(rest, "limit", &limit);
    if (code == 0)
        code = rest_freshness(rest, &out->freshness, &out->revision);
    if (code != 0)
        return code;
    out->limit = limit > 0 ? (uint64_t)limit : 0;
    if (out->freshness == KUBE_ANY)
        out->limit = 0;
    code = apply_match(rest, out);
    if (code == 0 && out->continue_token.len > 0 &&
        (out->freshness == KUBE_NOT_OLDER || out->freshness == KUBE_EXACT))
        code = kube_status_bad_request(
            &rest->status, rest->arena,
            "specifying resource version is not allowed when using continue");
    return code;
}

static void on_listed(struct kube_list *list)
{
    struct rest *rest = CONTAINER_OF(list, struct rest, list);

    if (list->status.code != 0)
        rest_fail_status(rest, &list->status);
    else
        rest_reply_list(rest);
}

void rest_list(struct rest *rest)
{
    struct kube_list_options options;

    if (rest_list_options(rest, &options) != 0) {
        rest_fail(rest);
        return;
    }
    kube_list(rest->api->store, &rest->list, rest->arena, rest->resource, &options, on_listed);
}
