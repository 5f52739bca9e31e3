#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kube/json/json.h"
#include "kube/rest/discovery.h"
#include "kube/rest/openapi.h"
#include "kube/types/kinds.h"

static struct arena arena = ARENA_INIT;
static struct kube_discovery *discovery;

static int open_discovery(void **state)
{
    (void)state;
    discovery = kube_discovery_new("127.0.0.1:6443");
    return 0;
}

static int close_discovery(void **state)
{
    (void)state;
    kube_discovery_free(discovery);
    arena_release(&arena);
    return 0;
}

static const struct kube_accept v2 = {.view = KUBE_VIEW_GROUP_DISCOVERY, .version = "v2"};
static const struct kube_accept v2beta1 = {.view = KUBE_VIEW_GROUP_DISCOVERY, .version = "v2beta1"};

static struct json *get(const char *path, const struct kube_accept *accept)
{
    struct kube_document document;
    struct json *value = NULL;

    assert_true(kube_discovery_find(discovery, path, NULL, accept, &document));
    assert_int_equal(json_parse(&arena, document.body, NULL, &value, NULL), 0);
    return value;
}

/* The item of a list whose member is text. */
static struct json *item(struct json *list, const char *member, const char *text)
{
    json_each(value, list)
    {
        if (json_equals(json_at(value, member), text))
            return value;
    }
    return NULL;
}

static const char *text_of(const struct json *value)
{
    struct buf buf;
    char *out;

    buf_init(&buf, 1 << 20);
    assert_int_equal(json_write(&buf, value), 0);
    out = arena_calloc(&arena, buf.len + 1);
    memcpy(out, buf.data, buf.len);
    buf_release(&buf);
    return out;
}

static void core_and_groups_are_listed(void **state)
{
    struct json *groups = json_get(get("/apis", NULL), "groups");

    (void)state;
    assert_string_equal(text_of(get("/api", NULL)),
                        "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],"
                        "\"serverAddressByClientCIDRs\":[{\"clientCIDR\":\"0.0.0.0/0\","
                        "\"serverAddress\":\"127.0.0.1:6443\"}]}");
    assert_string_equal(
        text_of(item(groups, "name", "autoscaling")),
        "{\"name\":\"autoscaling\",\"versions\":[{\"groupVersion\":\"autoscaling/v2\",\"version\":"
        "\"v2\"},{\"groupVersion\":\"autoscaling/v1\",\"version\":\"v1\"}],\"preferredVersion\":"
        "{\"groupVersion\":\"autoscaling/v2\",\"version\":\"v2\"}}");
    assert_null(item(groups, "name", ""));
    assert_string_equal(text_of(get("/apis/apps/", NULL)),
                        "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",\"name\":\"apps\","
                        "\"versions\":[{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}],"
                        "\"preferredVersion\":{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}}");
}

static void resources_are_as_upstream_shows_them(void **state)
{
    struct json *core = get("/api/v1", NULL), *apps = get("/apis/apps/v1", NULL);

    (void)state;
    assert_null(json_get(core, "apiVersion"));
    assert_string_equal(
        text_of(item(json_get(core, "resources"), "name", "pods")),
        "{\"name\":\"pods\",\"singularName\":\"pod\",\"namespaced\":true,\"kind\":\"Pod\","
        "\"verbs\":[\"create\",\"delete\",\"deletecollection\",\"get\",\"list\",\"patch\","
        "\"update\",\"watch\"],\"shortNames\":[\"po\"],\"categories\":[\"all\"],"
        "\"storageVersionHash\":\"xPOwRZ+Yhw8=\"}");
    assert_string_equal(
        text_of(item(json_get(core, "resources"), "name", "namespaces/finalize")),
        "{\"name\":\"namespaces/finalize\",\"singularName\":\"\",\"namespaced\":false,"
        "\"kind\":\"Namespace\",\"verbs\":[\"update\"]}");
    assert_true(json_equals(json_get(apps, "apiVersion"), "v1"));
    assert_string_equal(text_of(item(json_get(apps, "resources"), "name", "deployments/scale")),
                        "{\"name\":\"deployments/scale\",\"singularName\":\"\",\"namespaced\":true,"
                        "\"group\":\"autoscaling\",\"version\":\"v1\",\"kind\":\"Scale\","
                        "\"verbs\":[\"get\",\"patch\",\"update\"]}");
}

static void the_aggregated_form_has_its_media_type(void **state)
{
    struct kube_document document;
    struct json *groups = json_get(get("/apis", &v2), "items");
    struct json *apps = item(groups, "metadata.name", "apps");

    (void)state;
    assert_true(kube_discovery_find(discovery, "/apis", NULL, &v2, &document));
    assert_string_equal(document.content_type,
                        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    assert_true(kube_discovery_find(discovery, "/api", NULL, &v2beta1, &document));
    assert_string_equal(
        document.content_type,
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList");
    assert_true(kube_discovery_find(discovery, "/apis/apps/v1", NULL, &v2, &document));
    assert_string_equal(document.content_type, "application/json");
    assert_string_equal(
        text_of(item(json_get(json_get(apps, "versions")->first, "resources"), "resource",
                     "daemonsets")),
        "{\"resource\":\"daemonsets\",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":"
        "\"DaemonSet\"},\"scope\":\"Namespaced\",\"singularResource\":\"daemonset\",\"verbs\":["
        "\"create\",\"delete\",\"deletecollection\",\"get\",\"list\",\"patch\",\"update\","
        "\"watch\"],\"shortNames\":[\"ds\"],\"categories\":[\"all\"],\"subresources\":[{"
        "\"subresource\":\"status\",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":"
        "\"DaemonSet\"},\"verbs\":[\"get\",\"patch\",\"update\"]}]}");
}

/* Method: every resource of the table is looked for in both forms; it is there if and only if it
 * has verbs. */
static void only_what_works_is_declared(void **state)
{
    (void)state;
    for (size_t i = 0; i < kube_resource_count(); i++) {
        const struct kube_resource *resource = kube_resource_at(i);
        struct json *aggregated = get(resource->group[0] == '\0' ? "/api" : "/apis", &v2);
        struct json *group = json_get(aggregated, "items")->first;
        struct json *version, *shown, *plain = NULL;
        struct kube_document document;
        char path[256], name[KUBE_API_VERSION_SIZE];

        if (resource->group[0] != '\0')
            group = item(json_get(aggregated, "items"), "metadata.name", resource->group);
        version = item(json_get(group, "versions"), "version", resource->version);
        shown = item(json_get(version, "resources"), "resource", resource->plural);
        assert_int_equal(shown != NULL, kube_resource_served(resource));
        (void)snprintf(path, sizeof(path), "/%s/%s", resource->group[0] == '\0' ? "api" : "apis",
                       kube_api_version(resource, name));
        if (kube_discovery_find(discovery, path, NULL, NULL, &document))
            plain = item(json_get(get(path, NULL), "resources"), "name", resource->plural);
        assert_int_equal(plain != NULL, resource->verbs != 0);
    }
}

static void what_is_not_there_is_not_found(void **state)
{
    struct kube_document document;

    (void)state;
    assert_false(kube_discovery_find(discovery, "/", NULL, NULL, &document));
    assert_false(kube_discovery_find(discovery, "/apis/nope", NULL, NULL, &document));
    assert_false(kube_discovery_find(discovery, "/apis/apps/v2", NULL, NULL, &document));
    assert_false(kube_discovery_find(discovery, "/openapi/v3/apis/nope/v1", NULL, NULL, &document));
}

static void the_version_is_one_that_kubectl_trusts(void **state)
{
    (void)state;
    assert_string_equal(text_of(json_get(get("/version", NULL), "minor")), "\"32\"");
    assert_string_equal(text_of(json_get(get("/version", NULL), "gitVersion")),
                        "\"v1.32.0+kv." KVD_VERSION "\"");
}

static void openapi_is_found_by_its_hash(void **state)
{
    struct json *paths = json_get(get("/openapi/v3", NULL), "paths");
    struct slice url = json_text(json_at(json_get(paths, "apis/apps/v1"), "serverRelativeURL"));
    struct kube_document document;
    char path[64], query[128];

    (void)state;
    assert_int_equal(sscanf((const char *)arena_copy(&arena, slice_of(url.data, url.len)).data,
                            "%63[^?]?%127s", path, query),
                     2);
    query[strlen("hash=") + 64] = '\0';
    assert_true(kube_discovery_find(discovery, path, query, NULL, &document));
    assert_true(document.immutable);
    assert_memory_equal(document.etag + 1, query + strlen("hash="), 64);
    assert_true(kube_discovery_find(discovery, path, "hash=1234", NULL, &document));
    assert_false(document.immutable);
    assert_true(kube_discovery_find(discovery, path, NULL, NULL, &document));
    assert_false(document.immutable);
}

/* What kubectl looks for before it leaves the checking of fields to the server. */
static void openapi_says_that_fields_are_checked(void **state)
{
    struct json *document = get("/openapi/v3/apis/apps/v1", NULL);
    struct json *patch =
        json_get(json_get(json_get(document, "paths"),
                          "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"),
                 "patch");
    struct json *gvk = json_get(patch, "x-kubernetes-group-version-kind");

    (void)state;
    assert_string_equal(text_of(gvk),
                        "{\"group\":\"apps\",\"kind\":\"Deployment\",\"version\":\"v1\"}");
    assert_non_null(item(json_get(patch, "parameters"), "name", "fieldValidation"));
    assert_non_null(item(json_get(patch, "parameters"), "name", "dryRun"));
    assert_non_null(json_get(json_get(json_get(patch, "requestBody"), "content"),
                             "application/strategic-merge-patch+json"));
    assert_true(json_is(json_at(document, "components.schemas"), JSON_OBJECT));
    assert_non_null(
        json_get(json_get(get("/openapi/v3/api/v1", NULL), "paths"), "/api/v1/nodes/{name}"));
}

static void documents_differ_in_their_etags(void **state)
{
    struct kube_document plain, aggregated, beta, again;
    struct kube_discovery *other = kube_discovery_new("10.0.0.1:1");

    (void)state;
    assert_true(kube_discovery_find(discovery, "/apis", NULL, NULL, &plain));
    assert_true(kube_discovery_find(discovery, "/apis", NULL, &v2, &aggregated));
    assert_true(kube_discovery_find(discovery, "/apis", NULL, &v2beta1, &beta));
    assert_string_not_equal(plain.etag, aggregated.etag);
    assert_string_not_equal(beta.etag, aggregated.etag);
    assert_true(kube_discovery_find(other, "/apis", NULL, NULL, &again));
    assert_string_equal(plain.etag, again.etag); /* any server behind a balancer will do */
    assert_int_equal(strlen(plain.etag), 66);
    assert_int_equal(plain.etag[65], '"');
    kube_discovery_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(core_and_groups_are_listed),
        cmocka_unit_test(resources_are_as_upstream_shows_them),
        cmocka_unit_test(the_aggregated_form_has_its_media_type),
        cmocka_unit_test(only_what_works_is_declared),
        cmocka_unit_test(what_is_not_there_is_not_found),
        cmocka_unit_test(the_version_is_one_that_kubectl_trusts),
        cmocka_unit_test(openapi_is_found_by_its_hash),
        cmocka_unit_test(openapi_says_that_fields_are_checked),
        cmocka_unit_test(documents_differ_in_their_etags),
    };

    return cmocka_run_group_tests(tests, open_discovery, close_discovery);
}
