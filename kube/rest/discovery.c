#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/util.h"
#include "kube/rest/discovery.h"
#include "kube/rest/openapi.h"
#include "kube/types/kinds.h"

#define DOCUMENT_SIZE_MAX (1 << 20)
#define DOCUMENTS_MAX 128
#define PATH_SIZE 256
#define HASH_SIZE 32
/* Two hex digits a byte, quotes, end. */
#define ETAG_SIZE (2 * HASH_SIZE + 3)

#define JSON_TYPE "application/json"
#define AGGREGATED_TYPE(version)                                                                   \
    JSON_TYPE ";g=apidiscovery.k8s.io;v=" version ";as=APIGroupDiscoveryList"

struct document {
    char path[PATH_SIZE];
    const char *view; /* version of the aggregated form, NULL: plain */
    const char *content_type;
    struct buf body;
    char etag[ETAG_SIZE];
};

struct documents {
    struct document *items; /* NULL until someone asks for one: a server that nobody talks to need
                             * not have them, nor take 2 ms of its start for them */
    size_t count;
};

struct kube_discovery {
    char server_address[PATH_SIZE];
    struct documents *documents;
};

/* Everything here is made of constants and one address of bounded length. */
#define MUST(call) ASSERT((call) == 0)

static struct document *begin(struct documents *documents, const char *path)
{
    struct document *document = &documents->items[documents->count++];

    ASSERT(documents->count <= DOCUMENTS_MAX && strlen(path) < PATH_SIZE);
    memcpy(document->path, path, strlen(path) + 1);
    document->content_type = JSON_TYPE;
    buf_init(&document->body, DOCUMENT_SIZE_MAX);
    return document;
}

static void end(struct document *document)
{
    uint8_t hash[HASH_SIZE];
    unsigned len = sizeof(hash);

    ASSERT(EVP_Digest(document->body.data, document->body.len, hash, &len, EVP_sha256(), NULL) ==
           1);
    document->etag[0] = '"';
    for (size_t i = 0; i < HASH_SIZE; i++)
        (void)snprintf(document->etag + 1 + 2 * i, 3, "%02X", hash[i]);
    memcpy(document->etag + ETAG_SIZE - 2, "\"", 2);
    document->body.data = xrealloc(document->body.data, document->body.len);
    document->body.cap = document->body.len;
}

/* ---- pieces ---- */

static const char *const verb_names[] = {"create", "delete", "deletecollection", "get",
                                         "list",   "patch",  "update",           "watch"};

static void put_verbs(struct buf *out, unsigned verbs)
{
    const char *comma = "";

    MUST(buf_printf(out, "\"verbs\":["));
    for (size_t i = 0; i < ARRAY_LEN(verb_names); i++) {
        if ((verbs & 1u << i) == 0)
            continue;
        MUST(buf_printf(out, "%s\"%s\"", comma, verb_names[i]));
        comma = ",";
    }
    MUST(buf_printf(out, "]"));
}

/* ,"shortNames":["a","b"] of "a,b"; nothing of "". */
static void put_words(struct buf *out, const char *name, const char *words)
{
    const char *comma = "";

    if (words[0] == '\0')
        return;
    MUST(buf_printf(out, ",\"%s\":[", name));
    while (*words != '\0') {
        int len = (int)strcspn(words, ",");

        MUST(buf_printf(out, "%s\"%.*s\"", comma, len, words));
        words += len + (words[len] == ',');
        comma = ",";
    }
    MUST(buf_printf(out, "]"));
}

static bool same_group(const struct kube_resource *a, const struct kube_resource *b)
{
    return strcmp(a->group, b->group) == 0;
}

/* The next resource behind index that is served and begins a group version; count: none. index
 * SIZE_MAX: the first. */
static size_t next_version(size_t index)
{
    const struct kube_resource *last = index == SIZE_MAX ? NULL : kube_resource_at(index);

    for (index++; index < kube_resource_count(); index++) {
        const struct kube_resource *resource = kube_resource_at(index);

        if (kube_group_version_begins(last, resource) && kube_resource_served(resource))
            break;
    }
    return index;
}

/* As next_version() for groups other than core. */
static size_t next_group(size_t index)
{
    const struct kube_resource *last = index == SIZE_MAX ? NULL : kube_resource_at(index);

    do {
        index = next_version(index);
    } while (index < kube_resource_count() &&
             (kube_resource_at(index)->group[0] == '\0' ||
              (last != NULL && same_group(last, kube_resource_at(index)))));
    return index;
}

/* ---- the plain form ---- */

static void put_storage_hash(struct buf *out, const struct kube_resource *resource)
{
    const struct kube_resource *stored = resource->stored_as;
    char text[PATH_SIZE];
    uint8_t hash[HASH_SIZE];
    unsigned char base64[16];
    unsigned size = sizeof(hash);
    int len =
        snprintf(text, sizeof(text), "%s/%s/%s", stored->group, stored->version, stored->kind);

    ASSERT(EVP_Digest(text, (size_t)len, hash, &size, EVP_sha256(), NULL) == 1);
    (void)EVP_EncodeBlock(base64, hash, 8);
    MUST(buf_printf(out, ",\"storageVersionHash\":\"%s\"", (const char *)base64));
}

static void put_resource(struct buf *out, const struct kube_resource *resource)
{
    MUST(buf_printf(out,
                    "{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":%s,\"kind\":\"%s\",",
                    resource->plural, resource->singular,
                    (resource->flags & KUBE_NAMESPACED) != 0 ? "true" : "false", resource->kind));
    put_verbs(out, resource->verbs);
    put_words(out, "shortNames", resource->short_names);
    put_words(out, "categories", resource->categories);
    if ((resource->flags & KUBE_NOT_STORED) == 0)
        put_storage_hash(out, resource);
    MUST(buf_printf(out, "}"));
}

static void put_subresource(struct buf *out, const struct kube_resource *resource,
                            const struct kube_subresource *sub)
{
    MUST(buf_printf(out, "{\"name\":\"%s/%s\",\"singularName\":\"\",\"namespaced\":%s,",
                    resource->plural, sub->name,
                    (resource->flags & KUBE_NAMESPACED) != 0 ? "true" : "false"));
    if (sub->version[0] != '\0')
        MUST(buf_printf(out, "\"group\":\"%s\",\"version\":\"%s\",", sub->group, sub->version));
    MUST(buf_printf(out, "\"kind\":\"%s\",", sub->kind));
    put_verbs(out, sub->verbs);
    MUST(buf_printf(out, "}"));
}

/* {"kind":"APIResourceList",...} of the version that begins at index. */
static void put_version(struct buf *out, size_t index)
{
    const struct kube_resource *first = kube_resource_at(index);
    const char *comma = "";
    char version[KUBE_API_VERSION_SIZE];

    MUST(buf_printf(out, "{\"kind\":\"APIResourceList\",%s\"groupVersion\":\"%s\",\"resources\":[",
                    first->group[0] == '\0' ? "" : "\"apiVersion\":\"v1\",",
                    kube_api_version(first, version)));
    for (; index < kube_resource_count(); index++) {
        const struct kube_resource *resource = kube_resource_at(index);

        if (kube_group_version_begins(first, resource))
            break;
        if (resource->verbs != 0) {
            MUST(buf_printf(out, "%s", comma));
            put_resource(out, resource);
            comma = ",";
        }
        for (size_t i = 0; i < resource->subresource_count; i++) {
            if (resource->subresources[i].verbs == 0)
                continue;
            MUST(buf_printf(out, "%s", comma));
            put_subresource(out, resource, &resource->subresources[i]);
            comma = ",";
        }
    }
    MUST(buf_printf(out, "]}"));
}

/* "name":"apps","versions":[...],"preferredVersion":{...} of the group that begins at index. */
static void put_group(struct buf *out, size_t index)
{
    const struct kube_resource *first = kube_resource_at(index);
    const char *comma = "";
    char version[KUBE_API_VERSION_SIZE];

    MUST(buf_printf(out, "\"name\":\"%s\",\"versions\":[", first->group));
    for (; index < kube_resource_count() && same_group(first, kube_resource_at(index));
         index = next_version(index)) {
        MUST(buf_printf(out, "%s{\"groupVersion\":\"%s\",\"version\":\"%s\"}", comma,
                        kube_api_version(kube_resource_at(index), version),
                        kube_resource_at(index)->version));
        comma = ",";
    }
    MUST(buf_printf(out, "],\"preferredVersion\":{\"groupVersion\":\"%s\",\"version\":\"%s\"}",
                    kube_api_version(first, version), first->version));
}

static void add_group(struct documents *documents, size_t index)
{
    char path[PATH_SIZE];
    struct document *document;

    (void)snprintf(path, sizeof(path), "/apis/%s", kube_resource_at(index)->group);
    document = begin(documents, path);
    MUST(buf_printf(&document->body, "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\","));
    put_group(&document->body, index);
    MUST(buf_printf(&document->body, "}"));
    end(document);
}

static void add_versions(struct documents *documents)
{
    for (size_t i = next_version(SIZE_MAX); i < kube_resource_count(); i = next_version(i)) {
        const struct kube_resource *resource = kube_resource_at(i);
        char path[PATH_SIZE], version[KUBE_API_VERSION_SIZE];
        struct document *document;

        (void)snprintf(path, sizeof(path), "/%s/%s", resource->group[0] == '\0' ? "api" : "apis",
                       kube_api_version(resource, version));
        document = begin(documents, path);
        put_version(&document->body, i);
        end(document);
    }
}

static void add_groups(struct documents *documents)
{
    struct document *document = begin(documents, "/apis");
    const char *comma = "";

    MUST(buf_printf(&document->body,
                    "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":["));
    for (size_t i = next_group(SIZE_MAX); i < kube_resource_count(); i = next_group(i)) {
        MUST(buf_printf(&document->body, "%s{", comma));
        put_group(&document->body, i);
        MUST(buf_printf(&document->body, "}"));
        comma = ",";
        add_group(documents, i);
    }
    MUST(buf_printf(&document->body, "]}"));
    end(document);
}

static void add_core(struct documents *documents, const char *server_address)
{
    struct document *document = begin(documents, "/api");

    MUST(buf_printf(&document->body,
                    "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],"
                    "\"serverAddressByClientCIDRs\":[{\"clientCIDR\":\"0.0.0.0/0\","
                    "\"serverAddress\":\"%s\"}]}",
                    server_address));
    end(document);
}

/* ---- the aggregated form ---- */

static void put_response_kind(struct buf *out, const char *group, const char *version,
                              const char *kind)
{
    MUST(buf_printf(out, "\"responseKind\":{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}",
                    group, version, kind));
}

static void put_aggregated_subresources(struct buf *out, const struct kube_resource *resource)
{
    const char *open = ",\"subresources\":[", *close = "";

    for (size_t i = 0; i < resource->subresource_count; i++) {
        const struct kube_subresource *sub = &resource->subresources[i];

        if (sub->verbs == 0)
            continue;
        MUST(buf_printf(out, "%s{\"subresource\":\"%s\",", open, sub->name));
        put_response_kind(out, sub->group, sub->version, sub->kind);
        MUST(buf_printf(out, ","));
        put_verbs(out, sub->verbs);
        MUST(buf_printf(out, "}"));
        open = ",";
        close = "]";
    }
    MUST(buf_printf(out, "%s", close));
}

static void put_aggregated_resource(struct buf *out, const struct kube_resource *resource)
{
    MUST(buf_printf(out, "{\"resource\":\"%s\",", resource->plural));
    put_response_kind(out, "", "", resource->kind);
    MUST(buf_printf(out, ",\"scope\":\"%s\",\"singularResource\":\"%s\",",
                    (resource->flags & KUBE_NAMESPACED) != 0 ? "Namespaced" : "Cluster",
                    resource->singular));
    put_verbs(out, resource->verbs);
    put_words(out, "shortNames", resource->short_names);
    put_words(out, "categories", resource->categories);
    put_aggregated_subresources(out, resource);
    MUST(buf_printf(out, "}"));
}

static void put_aggregated_version(struct buf *out, size_t index)
{
    const struct kube_resource *first = kube_resource_at(index);
    const char *comma = "";

    MUST(buf_printf(out, "{\"version\":\"%s\",\"resources\":[", first->version));
    for (; index < kube_resource_count(); index++) {
        const struct kube_resource *resource = kube_resource_at(index);

        if (kube_group_version_begins(first, resource))
            break;
        if (!kube_resource_served(resource))
            continue;
        MUST(buf_printf(out, "%s", comma));
        put_aggregated_resource(out, resource);
        comma = ",";
    }
    MUST(buf_printf(out, "],\"freshness\":\"Current\"}"));
}

static void put_aggregated_group(struct buf *out, size_t index)
{
    const struct kube_resource *first = kube_resource_at(index);
    const char *comma = "";

    MUST(buf_printf(out, "{\"metadata\":{%s%s%s\"creationTimestamp\":null},\"versions\":[",
                    first->group[0] == '\0' ? "" : "\"name\":\"", first->group,
                    first->group[0] == '\0' ? "" : "\","));
    for (; index < kube_resource_count() && same_group(first, kube_resource_at(index));
         index = next_version(index)) {
        MUST(buf_printf(out, "%s", comma));
        put_aggregated_version(out, index);
        comma = ",";
    }
    MUST(buf_printf(out, "]}"));
}

static void add_aggregated(struct documents *documents, bool core, const char *version,
                           const char *content_type)
{
    struct document *document = begin(documents, core ? "/api" : "/apis");
    const char *comma = "";

    document->view = version;
    document->content_type = content_type;
    MUST(buf_printf(&document->body,
                    "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/"
                    "%s\",\"metadata\":{},\"items\":[",
                    version));
    for (size_t i = core ? next_version(SIZE_MAX) : next_group(SIZE_MAX); i < kube_resource_count();
         i = core ? kube_resource_count() : next_group(i)) {
        MUST(buf_printf(&document->body, "%s", comma));
        put_aggregated_group(&document->body, i);
        comma = ",";
    }
    MUST(buf_printf(&document->body, "]}"));
    end(document);
}

/* ---- versions and OpenAPI ---- */

#if defined(__x86_64__)
#define PLATFORM "linux/amd64"
#elif defined(__aarch64__)
#define PLATFORM "linux/arm64"
#else
#define PLATFORM "linux/unknown"
#endif

static void add_server_version(struct documents *documents)
{
    struct document *document = begin(documents, "/version");

    MUST(buf_printf(&document->body,
                    "{\"major\":\"%s\",\"minor\":\"%s\",\"gitVersion\":\"%s\",\"gitCommit\":\"\","
                    "\"gitTreeState\":\"\",\"buildDate\":\"\",\"goVersion\":\"\","
                    "\"compiler\":\"%s\",\"platform\":\"%s\"}",
                    KUBE_MAJOR, KUBE_MINOR, KUBE_GIT_VERSION,
#ifdef __clang__
                    "clang",
#else
                    "gcc",
#endif
                    PLATFORM));
    end(document);
}

/* A document per group version, and the index of them with their hashes. */
static void add_openapi(struct documents *documents)
{
    struct document *index = begin(documents, "/openapi/v3"), *document;
    const char *comma = "";

    MUST(buf_printf(&index->body, "{\"paths\":{"));
    for (size_t i = next_version(SIZE_MAX); i < kube_resource_count(); i = next_version(i)) {
        const struct kube_resource *resource = kube_resource_at(i);
        char path[PATH_SIZE], version[KUBE_API_VERSION_SIZE];

        (void)snprintf(path, sizeof(path), "/openapi/v3/%s/%s",
                       resource->group[0] == '\0' ? "api" : "apis",
                       kube_api_version(resource, version));
        document = begin(documents, path);
        kube_openapi_v3(&document->body, i);
        end(document);
        MUST(buf_printf(&index->body, "%s\"%s\":{\"serverRelativeURL\":\"%s?hash=%.*s\"}", comma,
                        path + strlen("/openapi/v3/"), path, ETAG_SIZE - 3, document->etag + 1));
        comma = ",";
    }
    MUST(buf_printf(&index->body, "}}"));
    end(index);
    document = begin(documents, "/openapi/v2");
    document->content_type = KUBE_OPENAPI_V2_TYPE;
    kube_openapi_v2(&document->body);
    end(document);
}

/* ---- all of it ---- */

static void make(struct documents *documents, const char *server_address)
{
    documents->items = xcalloc(DOCUMENTS_MAX, sizeof(*documents->items));
    add_core(documents, server_address);
    add_groups(documents);
    for (int core = 0; core <= 1; core++) {
        add_aggregated(documents, core == 1, "v2", AGGREGATED_TYPE("v2"));
        add_aggregated(documents, core == 1, "v2beta1", AGGREGATED_TYPE("v2beta1"));
    }
    add_versions(documents);
    add_server_version(documents);
    add_openapi(documents);
}

struct kube_discovery *kube_discovery_new(const char *server_address)
{
    struct kube_discovery *discovery = xcalloc(1, sizeof(*discovery));

    (void)snprintf(discovery->server_address, PATH_SIZE, "%s", server_address);
    discovery->documents = xcalloc(1, sizeof(*discovery->documents));
    return discovery;
}

void kube_discovery_free(struct kube_discovery *discovery)
{
    if (discovery == NULL)
        return;
    for (size_t i = 0; i < discovery->documents->count; i++)
        buf_release(&discovery->documents->items[i].body);
    free(discovery->documents->items);
    free(discovery->documents);
    free(discovery);
}

/* The document, in the view if it has that one, else plain. */
static const struct document *find(const struct documents *documents, struct slice path,
                                   const char *view)
{
    const struct document *plain = NULL;

    for (size_t i = 0; i < documents->count; i++) {
        const struct document *document = &documents->items[i];

        if (!slice_eq(path, slice_str(document->path)))
            continue;
        if (document->view == NULL)
            plain = document;
        else if (view != NULL && strcmp(view, document->view) == 0)
            return document;
    }
    return plain;
}

/* The query asks for the content that document has: hash=<etag>. */
static bool asks_by_hash(const struct document *document, const char *query)
{
    const size_t len = ETAG_SIZE - 3;

    while (query != NULL && *query != '\0') {
        size_t size = strcspn(query, "&");

        if (size == 5 + len && strncmp(query, "hash=", 5) == 0 &&
            strncmp(query + 5, document->etag + 1, len) == 0)
            return true;
        query += size + (query[size] == '&');
    }
    return false;
}

bool kube_discovery_find(const struct kube_discovery *discovery, const char *path,
                         const char *query, const struct kube_accept *accept,
                         struct kube_document *out)
{
    struct slice name = slice_str(path);
    const struct document *document;
    bool aggregated = accept != NULL && accept->view == KUBE_VIEW_GROUP_DISCOVERY;

    if (name.len > 1 && name.data[name.len - 1] == '/')
        name.len--;
    if (discovery->documents->items == NULL)
        make(discovery->documents, discovery->server_address);
    document = find(discovery->documents, name, aggregated ? accept->version : NULL);
    if (document == NULL)
        return false;
    *out = (struct kube_document){.body = buf_slice(&document->body),
                                  .content_type = document->content_type,
                                  .etag = document->etag,
                                  .immutable = asks_by_hash(document, query)};
    return true;
}
