/* What comes in with a write: options of the query, and the body as an object in normal form. */
#include <stdio.h>
#include <string.h>

#include "kube/codec/protobuf.h"
#include "kube/codec/yaml.h"
#include "kube/rest/internal.h"

/* ---- options ---- */

int rest_write_options(struct rest *rest, const char *kind, enum rest_validation *validation)
{
    struct slice dry_run = rest_query_get(&rest->query, "dryRun");
    struct slice value = rest_query_get(&rest->query, "fieldValidation");
    struct kube_issues issues = {0};

    *validation = REST_WARN;
    if (dry_run.len > 0 && !slice_eq(dry_run, slice_str("All")))
        kube_issues_add(&issues, rest->arena, "NotSupported", "dryRun",
                        "Unsupported value: [\"%.*s\"]: supported values: \"All\"",
                        REST_TEXT(dry_run));
    rest->dry_run = dry_run.len > 0;
    if (slice_eq(value, slice_str("Strict")))
        *validation = REST_STRICT;
    else if (slice_eq(value, slice_str("Ignore")))
        *validation = REST_IGNORE;
    else if (value.len > 0 && !slice_eq(value, slice_str("Warn")))
        kube_issues_add(&issues, rest->arena, "NotSupported", "fieldValidation",
                        "Unsupported value: \"%.*s\": supported values: \"\", \"Ignore\", "
                        "\"Strict\", \"Warn\"",
                        REST_TEXT(value));
    if (issues.count == 0)
        return 0;
    return kube_status_invalid(&rest->status, rest->arena, "meta.k8s.io", kind, slice_of("", 0),
                               &issues);
}

/* ---- bodies ---- */

/* What a body says of itself, and what is made of it. */
struct body {
    struct json *tree;
    struct json_duplicate *duplicates;
    struct slice api_version, kind; /* empty: not told */
};

static int unsupported(struct rest *rest)
{
    return kube_status_set(&rest->status, rest->arena, 415, "UnsupportedMediaType",
                           "the body of the request was in an unknown format - accepted media "
                           "types include: application/json, application/yaml, "
                           "application/vnd.kubernetes.protobuf");
}

/* apimachinery's summarizeData(): the first bytes of a body that cannot be read. */
static const char *summary(struct arena *arena, struct slice body)
{
    enum { SHOWN = 30 };
    size_t len = MIN(body.len, (size_t)SHOWN);
    const char *dots = body.len > SHOWN ? " ..." : "";
    char *hex;

    if (body.len == 0)
        return "<empty>";
    if (body.data[0] == '{')
        return rest_print(arena, "%.*s%s", (int)len, (const char *)body.data, dots);
    hex = arena_alloc(arena, 2 * len + 8);
    for (size_t i = 0; i < len; i++)
        (void)sprintf(hex + 2 * i, "%02x", body.data[i]);
    memcpy(hex + 2 * len, dots, strlen(dots) + 1);
    return hex;
}

static int unrecognized(struct rest *rest, const char *expected, const char *why)
{
    return kube_status_bad_request(
        &rest->status, rest->arena,
        "the object provided is unrecognized (must be of type %s): %s (%s)", expected, why,
        summary(rest->arena, http_body(rest->http)));
}

static int parse_json(struct rest *rest, struct slice text, const char *expected, struct body *out)
{
    struct json_parse_options options = {.duplicates = &out->duplicates};
    struct json_error error;

    if (json_parse(rest->arena, text, &options, &out->tree, &error) == 0)
        return 0;
    return unrecognized(
        rest, expected,
        rest_print(rest->arena, "couldn't get version/kind; json parse error: %s", error.text));
}

static int parse_yaml(struct rest *rest, struct slice text, const char *expected, struct body *out)
{
    struct err err = ERR_INIT;

    if (kube_yaml_parse(rest->arena, text, &out->duplicates, &out->tree, &err) == 0)
        return 0;
    return unrecognized(rest, expected, err.text);
}

/* The struct that a protobuf message is of: the expected one if it is that kind. */
static const struct kube_struct *message_type(const struct kube_struct *type, const char *kind,
                                              const struct kube_envelope *envelope)
{
    return envelope->kind.len == 0 || slice_eq(envelope->kind, slice_str(kind)) ? type : NULL;
}

static int parse_protobuf(struct rest *rest, const struct kube_struct *type, const char *kind,
                          struct slice text, struct body *out)
{
    struct kube_envelope envelope;
    struct err err = ERR_INIT;

    if (!kube_is_protobuf(text) || kube_envelope_read(text, &envelope, &err) != 0)
        return unrecognized(rest, kind,
                            err.code != 0 ? err.text
                                          : "provided data does not appear to be a "
                                            "protobuf message, expected prefix [107 56 "
                                            "115 0]");
    out->api_version = envelope.api_version;
    out->kind = envelope.kind;
    if (slice_eq(envelope.content_type, slice_str("application/json")))
        return parse_json(rest, envelope.raw, kind, out);
    type = message_type(type, kind, &envelope);
    if (type == NULL) {
        out->tree = json_new(rest->arena, JSON_OBJECT); /* the wrong kind is refused by its name */
        return 0;
    }
    if (kube_protobuf_decode(rest->arena, type, envelope.raw, &out->tree, &err) != 0)
        return unrecognized(rest, kind, err.text);
    return 0;
}

static int read_body(struct rest *rest, const struct kube_struct *type, const char *kind,
                     struct body *out)
{
    struct slice text = http_body(rest->http);
    int code;

    *out = (struct body){.tree = NULL};
    switch (kube_body_type(http_header(rest->http, "content-type"))) {
    case KUBE_BODY_JSON:
        code = parse_json(rest, text, kind, out);
        break;
    case KUBE_BODY_YAML:
        code = parse_yaml(rest, text, kind, out);
        break;
    case KUBE_BODY_PROTOBUF:
        code = parse_protobuf(rest, type, kind, text, out);
        break;
    default:
        return unsupported(rest);
    }
    if (code != 0)
        return code;
    if (json_is(json_get(out->tree, "apiVersion"), JSON_STRING))
        out->api_version = json_text_at(out->tree, "apiVersion");
    if (json_is(json_get(out->tree, "kind"), JSON_STRING))
        out->kind = json_text_at(out->tree, "kind");
    return 0;
}

/* "apps/v1" into its two parts; of "v1" the group is empty. */
static void split_version(struct slice api_version, struct slice *group, struct slice *version)
{
    const uint8_t *slash =
        api_version.len == 0 ? NULL : memchr(api_version.data, '/', api_version.len);

    *group = slice_of("", 0);
    *version = api_version;
    if (slash == NULL)
        return;
    *group = slice_of(api_version.data, (size_t)(slash - api_version.data));
    *version = slice_of(slash + 1, api_version.len - group->len - 1);
}

/* The name of the Go package that a group's internal types are in. */
static const char *internal_package(struct arena *arena, const struct kube_resource *resource)
{
    size_t len = strcspn(resource->group, ".");

    return len == 0 ? "core" : rest_print(arena, "%.*s", (int)len, resource->group);
}

/* A body that says it is something else than what its path is for. */
static int check_kind(struct rest *rest, const struct kube_resource *resource,
                      const struct body *body)
{
    char expected[KUBE_API_VERSION_SIZE];
    struct slice kind = body->kind.len > 0 ? body->kind : slice_str(resource->kind);
    struct slice api_version = body->api_version.len > 0
                                   ? body->api_version
                                   : slice_str(kube_api_version(resource, expected));
    struct slice group, version;

    (void)kube_api_version(resource, expected);
    if (slice_eq(kind, slice_str(resource->kind)) && slice_eq(api_version, slice_str(expected)))
        return 0;
    split_version(api_version, &group, &version);
    if (kube_resource_of_kind(group, version, kind) == NULL)
        return kube_status_bad_request(
            &rest->status, rest->arena,
            "%.*s in version \"%.*s\" cannot be handled as a %s: no kind \"%.*s\" is registered "
            "for "
            "version \"%.*s\" in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"",
            REST_TEXT(kind), REST_TEXT(version), resource->kind, REST_TEXT(kind),
            REST_TEXT(api_version));
    if (slice_eq(kind, slice_str(resource->kind)) && slice_eq(group, slice_str(resource->group)))
        return kube_status_bad_request(&rest->status, rest->arena,
                                       "the API version in the data (%.*s) does not match the "
                                       "expected API version (%s)",
                                       REST_TEXT(api_version), expected);
    return kube_status_bad_request(
        &rest->status, rest->arena,
        "%.*s in version \"%.*s\" cannot be handled as a %s: converting (%.*s.%.*s) to (%s.%s): "
        "unknown conversion",
        REST_TEXT(kind), REST_TEXT(version), resource->kind, REST_TEXT(version), REST_TEXT(kind),
        internal_package(rest->arena, resource), resource->kind);
}

/* ---- complaints ---- */

static int refuse_complaints(struct rest *rest, const struct kube_resource *resource,
                             const struct kube_complaints *complaints)
{
    struct buf text;
    int code;

    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < complaints->count; i++) /* what does not fit is left out */
        (void)buf_printf(&text, "%s%s", i > 0 ? ", " : "", complaints->texts[i]);
    code = kube_status_bad_request(&rest->status, rest->arena,
                                   "%s in version \"%s\" cannot be handled as a %s: strict "
                                   "decoding error: %.*s",
                                   resource->kind, resource->version, resource->kind,
                                   REST_TEXT(buf_slice(&text)));
    buf_release(&text);
    return code;
}

static int act_on_complaints(struct rest *rest, const struct kube_resource *resource,
                             enum rest_validation validation,
                             const struct kube_complaints *complaints)
{
    if (complaints->count == 0 || validation == REST_IGNORE)
        return 0;
    if (validation == REST_STRICT)
        return refuse_complaints(rest, resource, complaints);
    for (size_t i = 0; i < complaints->count; i++)
        rest_warn(rest, complaints->texts[i]);
    return 0;
}

static int normalise(struct rest *rest, const struct kube_resource *resource,
                     enum rest_validation validation, const struct json *in,
                     const struct json_duplicate *duplicates, struct json **out)
{
    struct kube_complaints complaints = {0};
    int code = kube_normalise(rest->arena, resource, in, &complaints, out, &rest->status);

    if (code != 0)
        return code;
    kube_complain_of_duplicates(rest->arena, duplicates, &complaints);
    code = act_on_complaints(rest, resource, validation, &complaints);
    if (code == 0)
        kube_defaults(rest->arena, resource, *out);
    return code;
}

int rest_read_object(struct rest *rest, const struct kube_resource *resource,
                     enum rest_validation validation, struct json **out)
{
    struct body body;
    int code = read_body(rest, resource->type, resource->kind, &body);

    if (code == 0)
        code = check_kind(rest, resource, &body);
    if (code == 0)
        code = normalise(rest, resource, validation, body.tree, body.duplicates, out);
    return code;
}

int rest_accept_tree(struct rest *rest, const struct kube_resource *resource,
                     enum rest_validation validation, const struct json *in, struct json **out)
{
    struct body body = {.tree = NULL};
    int code;

    if (json_is(json_get(in, "apiVersion"), JSON_STRING))
        body.api_version = json_text_at(in, "apiVersion");
    if (json_is(json_get(in, "kind"), JSON_STRING))
        body.kind = json_text_at(in, "kind");
    code = check_kind(rest, resource, &body);
    return code != 0 ? code : normalise(rest, resource, validation, in, NULL, out);
}

int rest_read_struct(struct rest *rest, const char *package, const char *name, struct json **out)
{
    const struct kube_struct *type = kube_struct_find(package, name);
    struct body body;
    int code;

    *out = NULL;
    ASSERT(type != NULL);
    if (http_body(rest->http).len == 0)
        return 0;
    code = read_body(rest, type, name, &body);
    if (code == 0 && body.kind.len > 0 && !slice_eq(body.kind, slice_str(name)))
        code = kube_status_bad_request(&rest->status, rest->arena, "%.*s cannot be handled as a %s",
                                       REST_TEXT(body.kind), name);
    if (code == 0)
        code = kube_normalise_struct(rest->arena, type, name, body.tree, NULL, out, &rest->status);
    return code;
}
