#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "base/version.h"
#include "kube/rest/openapi.h"

#define PATH_SIZE 256

/* Everything here is made of constants. */
#define MUST(call) ASSERT((call) == 0)

static bool can_patch(const struct kube_resource *resource)
{
    return (resource->verbs & KUBE_PATCH) != 0;
}

static const char *path_of(const struct kube_resource *resource, char *out)
{
    char version[KUBE_API_VERSION_SIZE];

    (void)snprintf(out, PATH_SIZE, "/%s/%s/%s%s/{name}",
                   resource->group[0] == '\0' ? "api" : "apis", kube_api_version(resource, version),
                   (resource->flags & KUBE_NAMESPACED) != 0 ? "namespaces/{namespace}/" : "",
                   resource->plural);
    return out;
}

/* What a PATCH can be asked in its query, as far as clients look for it here: before they leave the
 * checking of fields to the server, and kubectl of 1.20 before a dry run. */
static const char *const parameters[] = {"dryRun", "fieldManager", "fieldValidation"};

static void put_path(struct buf *out, const struct kube_resource *resource)
{
    char path[PATH_SIZE];

    MUST(buf_printf(out, "\"%s\":{\"patch\":{\"parameters\":[", path_of(resource, path)));
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++)
        MUST(buf_printf(out,
                        "%s{\"name\":\"%s\",\"in\":\"query\",\"schema\":{\"type\":\"string\"}}",
                        i == 0 ? "" : ",", parameters[i]));
    MUST(buf_printf(out,
                    "],\"requestBody\":{\"content\":{\"application/json-patch+json\":{},"
                    "\"application/merge-patch+json\":{},"
                    "\"application/strategic-merge-patch+json\":{}}},\"responses\":{},"
                    "\"x-kubernetes-action\":\"patch\",\"x-kubernetes-group-version-kind\":{"
                    "\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}}}",
                    resource->group, resource->kind, resource->version));
}

void kube_openapi_v3(struct buf *out, size_t index)
{
    const struct kube_resource *first = kube_resource_at(index);
    const char *comma = "";

    MUST(buf_printf(out,
                    "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\","
                    "\"version\":\"%s\"},\"paths\":{",
                    KUBE_GIT_VERSION));
    for (; index < kube_resource_count(); index++) {
        const struct kube_resource *resource = kube_resource_at(index);

        if (kube_group_version_begins(first, resource))
            break;
        if (!can_patch(resource))
            continue;
        MUST(buf_printf(out, "%s", comma));
        put_path(out, resource);
        comma = ",";
    }
    MUST(buf_printf(out, "},\"components\":{\"schemas\":{}}}"));
}

/* ---- v2: protobuf, numbers as in gnostic's OpenAPIv2.proto ---- */

enum {
    DOCUMENT_SWAGGER = 1,
    DOCUMENT_INFO = 2,
    DOCUMENT_PATHS = 8,
    INFO_TITLE = 1,
    INFO_VERSION = 2,
    PATHS_PATH = 2,
    NAMED_NAME = 1,
    NAMED_VALUE = 2,
    PATH_ITEM_PATCH = 8,
    OPERATION_PARAMETERS = 8,
    OPERATION_RESPONSES = 9,
    OPERATION_EXTENSION = 13,
    ANY_YAML = 2,
    PARAMETERS_ITEM_PARAMETER = 1,
    PARAMETER_NON_BODY = 2,
    NON_BODY_QUERY = 3,
    QUERY_IN = 2,
    QUERY_NAME = 4,
    QUERY_TYPE = 6
};

#define PART_SIZE_MAX 4096

static void put_bytes(struct buf *out, unsigned number, struct slice bytes)
{
    MUST(buf_append_varint(out, (uint64_t)number << 3 | 2));
    MUST(buf_append_varint(out, bytes.len));
    MUST(buf_append(out, bytes.data, bytes.len));
}

static void put_text(struct buf *out, unsigned number, const char *text)
{
    put_bytes(out, number, slice_str(text));
}

/* What part holds becomes one field of part. */
static void wrap(struct buf *part, unsigned number)
{
    struct buf outer;

    buf_init(&outer, PART_SIZE_MAX);
    put_bytes(&outer, number, buf_slice(part));
    buf_release(part);
    *part = outer;
}

static void put_parameter(struct buf *operation, const char *name)
{
    struct buf part;

    buf_init(&part, PART_SIZE_MAX);
    put_text(&part, QUERY_IN, "query");
    put_text(&part, QUERY_NAME, name);
    put_text(&part, QUERY_TYPE, "string");
    wrap(&part, NON_BODY_QUERY);
    wrap(&part, PARAMETER_NON_BODY);
    wrap(&part, PARAMETERS_ITEM_PARAMETER);
    put_bytes(operation, OPERATION_PARAMETERS, buf_slice(&part));
    buf_release(&part);
}

static void put_extension(struct buf *operation, const struct kube_resource *resource)
{
    struct buf part, named;

    buf_init(&part, PART_SIZE_MAX);
    buf_init(&named, PART_SIZE_MAX);
    MUST(buf_printf(&part, "group: \"%s\"\nkind: %s\nversion: %s\n", resource->group,
                    resource->kind, resource->version));
    wrap(&part, ANY_YAML);
    put_text(&named, NAMED_NAME, "x-kubernetes-group-version-kind");
    put_bytes(&named, NAMED_VALUE, buf_slice(&part));
    put_bytes(operation, OPERATION_EXTENSION, buf_slice(&named));
    buf_release(&named);
    buf_release(&part);
}

static void put_named_path(struct buf *paths, const struct kube_resource *resource)
{
    struct buf operation, named;
    char path[PATH_SIZE];

    buf_init(&operation, PART_SIZE_MAX);
    buf_init(&named, PART_SIZE_MAX);
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++)
        put_parameter(&operation, parameters[i]);
    put_text(&operation, OPERATION_RESPONSES, "");
    put_extension(&operation, resource);
    wrap(&operation, PATH_ITEM_PATCH);
    put_text(&named, NAMED_NAME, path_of(resource, path));
    put_bytes(&named, NAMED_VALUE, buf_slice(&operation));
    put_bytes(paths, PATHS_PATH, buf_slice(&named));
    buf_release(&named);
    buf_release(&operation);
}

void kube_openapi_v2(struct buf *out)
{
    struct buf info, paths;

    buf_init(&info, PART_SIZE_MAX);
    buf_init(&paths, out->size_max);
    put_text(&info, INFO_TITLE, "Kubernetes");
    put_text(&info, INFO_VERSION, KUBE_GIT_VERSION);
    for (size_t i = 0; i < kube_resource_count(); i++) {
        if (can_patch(kube_resource_at(i)))
            put_named_path(&paths, kube_resource_at(i));
    }
    put_text(out, DOCUMENT_SWAGGER, "2.0");
    put_bytes(out, DOCUMENT_INFO, buf_slice(&info));
    put_bytes(out, DOCUMENT_PATHS, buf_slice(&paths));
    buf_release(&paths);
    buf_release(&info);
}
