/* The requests and answers of a real kube-apiserver (tests/compat/apiserver-golden.ndjson) against
 * what normal form, defaults, preparation and validation make of them, without store or HTTP.
 *
 * Run from the root of the repository. Each write is taken apart as kube/rest does it; objects that
 * patches build on come from the answers before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kube/check/internal.h"
#include "kube/patch/patch.h"

#define GOLDEN "tests/compat/apiserver-golden.ndjson"

static struct arena arena = ARENA_INIT;

/* Answered before or after what is tested here: media types, existence, conflicts, options, names
 * in the URL (kube/rest, kube/store). */
static const char *const others[] = {
    "create again",
    "create in missing namespace",
    "namespace mismatch",
    "wrong kind in body",
    "unknown version in body",
    "broken JSON",
    "empty body",
    "unknown body type",
    "bad fieldValidation value",
    "create with resourceVersion set",
    "replace stale resourceVersion",
    "replace wrong uid",
    "replace name mismatch",
    "replace missing object",
    "json patch failing test",
    "json patch missing path",
    "patch stale resourceVersion",
    "patch changes name",
    "patch missing object",
    "patch unknown type",
    "method not allowed",
    "create in terminating namespace",
    "evict",
    "bind",
    "bind twice",
    "finalize namespace",
    "patch scale",
    "put scale",
};

struct request {
    const struct json *golden;
    const struct kube_resource *resource;
    struct slice space, name, sub;
    const struct json *body, *wanted;
    struct json_duplicate *duplicates; /* of the body */
    int64_t status;
};

/* Objects as the answers had them. */
struct known {
    struct known *next;
    struct slice path;
    struct json *object;
};

static struct known *objects;

/* ---- reading the file ---- */

static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    char *text;
    long size;

    if (file == NULL)
        fail_msg("%s: not there; run this from the root of the repository", path);
    (void)fseek(file, 0, SEEK_END);
    size = ftell(file);
    assert_true(size > 0);
    rewind(file);
    text = arena_alloc(&arena, (size_t)size);
    *len = fread(text, 1, (size_t)size, file);
    (void)fclose(file);
    assert_int_equal(*len, size);
    return text;
}

#define SOME_TIME "2026-01-01T00:00:00Z"
#define SOME_UID "0ba47c34-ea18-476d-8e04-9f28b718e90a"

/* Times and uids are masked in the file; the objects that patches build on need some. */
static void unmask(struct json *value)
{
    const char *text = json_equals(value, "<time>")  ? SOME_TIME
                       : json_equals(value, "<uid>") ? SOME_UID
                                                     : NULL;

    if (text != NULL) {
        value->text = text;
        value->len = strlen(text);
    }
    if (value->type == JSON_ARRAY || value->type == JSON_OBJECT)
        json_each(child, value) unmask(child);
}

static struct slice next_segment(struct slice *path)
{
    struct slice out = {path->data, 0};

    while (out.len < path->len && path->data[out.len] != '/')
        out.len++;
    path->data += out.len;
    path->len -= out.len;
    if (path->len > 0) {
        path->data++;
        path->len--;
    }
    return out;
}

/* "/apis/apps/v1/namespaces/default/deployments/web/status?x=y" */
static bool parse_path(struct slice path, struct request *out)
{
    struct slice group = {NULL, 0}, version, plural;
    const uint8_t *query = memchr(path.data, '?', path.len);

    if (query != NULL)
        path.len = (size_t)(query - path.data);
    (void)next_segment(&path);
    if (slice_eq(next_segment(&path), slice_str("apis")))
        group = next_segment(&path);
    version = next_segment(&path);
    plural = next_segment(&path);
    if (slice_eq(plural, slice_str("namespaces")) && path.len > 0) {
        struct slice rest = path, space = next_segment(&rest);

        if (rest.len > 0 && !slice_eq(rest, slice_str("finalize"))) {
            out->space = space;
            path = rest;
            plural = next_segment(&path);
        }
    }
    out->resource = kube_resource_find(group, version, plural);
    out->name = next_segment(&path);
    out->sub = next_segment(&path);
    return out->resource != NULL;
}

static bool is_for_others(const struct json *golden)
{
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (json_equals(json_get(golden, "title"), others[i]))
            return true;
    }
    return false;
}

/* False: not a write of ours. */
static bool read_request(struct slice line, struct request *out)
{
    struct json_parse_options options = {.duplicates = &out->duplicates};
    struct json *golden = NULL, *body;

    *out = (struct request){.golden = NULL};
    assert_int_equal(json_parse(&arena, line, NULL, &golden, NULL), 0);
    out->golden = golden;
    out->body = json_get(golden, "body");
    /* A body with duplicates is kept as text; so is what is no JSON, for others. */
    if (json_is(out->body, JSON_STRING) &&
        json_parse(&arena, json_text(out->body), &options, &body, NULL) == 0)
        out->body = body;
    out->wanted = json_get(golden, "resp");
    assert_true(json_int(json_get(golden, "status"), &out->status));
    return parse_path(json_text_at(golden, "path"), out);
}

/* ---- comparing ---- */

static bool is_mask(const struct json *value)
{
    return json_is(value, JSON_STRING) && value->len > 1 && value->text[0] == '<';
}

static bool is_set_by_store(struct slice path)
{
    static const char *const fields[] = {"metadata.uid", "metadata.resourceVersion",
                                         "metadata.generation", "metadata.creationTimestamp"};

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (slice_eq(path, slice_str(fields[i])))
            return true;
    }
    return false;
}

/* What the real server adds by admission and by allocating addresses: kvapi does it elsewhere. */
static bool is_added_elsewhere(const char *kind, struct slice path)
{
    static const char *const pod[] = {"spec.volumes", "spec.containers.volumeMounts",
                                      "spec.serviceAccountName", "spec.serviceAccount"};
    static const char *const service[] = {"spec.clusterIP", "spec.clusterIPs"};

    for (size_t i = 0; strcmp(kind, "Pod") == 0 && i < ARRAY_LEN(pod); i++) {
        if (slice_eq(path, slice_str(pod[i])))
            return true;
    }
    for (size_t i = 0; strcmp(kind, "Service") == 0 && i < ARRAY_LEN(service); i++) {
        if (slice_eq(path, slice_str(service[i])))
            return true;
    }
    return false;
}

struct difference {
    const char *kind;
    const char *text; /* the first one; NULL: none */
};

static void compare(struct difference *d, struct slice path, const struct json *wanted,
                    const struct json *got);

/* In the same object. */
static bool comes_before(const struct json *a, const struct json *b)
{
    for (; a != NULL && b != NULL; a = a->next) {
        if (a == b)
            return true;
    }
    return false;
}

static void compare_members(struct difference *d, struct slice path, const struct json *wanted,
                            const struct json *got)
{
    const struct json *before = NULL;

    json_each(member, wanted)
    {
        struct slice key = slice_of(member->key, member->key_len);
        struct slice below = slice_str(
            check__print(&arena, "%.*s%s%.*s", TEXT(path), path.len > 0 ? "." : "", TEXT(key)));
        const struct json *other = json_get_slice(got, key);

        if (is_set_by_store(below) ||
            (other == NULL && (is_added_elsewhere(d->kind, below) || is_mask(member))))
            continue;
        compare(d, below, member, other);
        if (other != NULL && comes_before(other, before) && d->text == NULL)
            d->text = check__print(&arena, "%.*s: at another place", TEXT(below));
        before = other == NULL ? before : other;
    }
    json_each(member, got)
    {
        struct slice key = slice_of(member->key, member->key_len);

        if (json_get_slice(wanted, key) == NULL && d->text == NULL)
            d->text = check__print(&arena, "%.*s.%.*s: not in the answer: %s", TEXT(path),
                                   TEXT(key), check__json(&arena, member));
    }
}

static void compare(struct difference *d, struct slice path, const struct json *wanted,
                    const struct json *got)
{
    const struct json *other;

    if (d->text != NULL || (got != NULL && is_mask(wanted)))
        return;
    if (got == NULL || got->type != wanted->type) {
        d->text = check__print(&arena, "%.*s: %s instead of %s", TEXT(path),
                               check__json(&arena, got), check__json(&arena, wanted));
    } else if (wanted->type == JSON_OBJECT) {
        compare_members(d, path, wanted, got);
    } else if (wanted->type == JSON_ARRAY) {
        other = got->first;
        if (wanted->count != got->count)
            d->text = check__print(&arena, "%.*s: %s", TEXT(path), check__json(&arena, got));
        json_each(item, wanted)
        {
            if (d->text != NULL)
                return;
            compare(d, path, item, other);
            other = other->next;
        }
    } else if (!json_same(wanted, got)) {
        d->text = check__print(&arena, "%.*s: %s instead of %s", TEXT(path),
                               check__json(&arena, got), check__json(&arena, wanted));
    }
}

/* The diff of Go structs at the end of one text is upstream's own. */
static const char *without_go_diff(const char *text)
{
    const char *diff = strstr(text, "\n@@");

    return diff == NULL ? text : check__print(&arena, "%.*s", (int)(diff - text), text);
}

static const char *compare_status(const struct json *wanted, const struct json *got)
{
    struct difference d = {"Status", NULL};
    struct json *cut = json_copy(&arena, wanted);
    struct json *message = json_get(cut, "message");

    (void)json_set(cut, "message",
                   json_new_cstring(&arena, without_go_diff(check__print(
                                                &arena, "%.*s", TEXT(json_text(message))))));
    json_each(cause, json_at(cut, "details.causes"))
    {
        message = json_get(cause, "message");
        (void)json_set(cause, "message",
                       json_new_cstring(&arena, without_go_diff(check__print(
                                                    &arena, "%.*s", TEXT(json_text(message))))));
    }
    compare(&d, slice_str(""), cut, got);
    return d.text;
}

/* ---- the way of a write ---- */

static struct known *find_object(struct slice path)
{
    const uint8_t *query = memchr(path.data, '?', path.len);

    if (query != NULL)
        path.len = (size_t)(query - path.data);
    for (struct known *known = objects; known != NULL; known = known->next) {
        if (slice_eq(known->path, path))
            return known;
    }
    return NULL;
}

static void remember(const struct request *request)
{
    struct json *object = json_copy(&arena, request->wanted);
    struct slice name = json_text_at(object, "metadata.name");
    struct slice path = json_text_at(request->golden, "path");
    const char *key;
    struct known *known;
    const uint8_t *query = memchr(path.data, '?', path.len);

    if (name.len == 0 || !json_equals(json_get(object, "kind"), request->resource->kind))
        return;
    if (query != NULL)
        path.len = (size_t)(query - path.data);
    if (request->sub.len > 0)
        path.len -= request->sub.len + 1;
    key = request->name.len > 0 ? check__print(&arena, "%.*s", TEXT(path))
                                : check__print(&arena, "%.*s/%.*s", TEXT(path), TEXT(name));
    unmask(object);
    known = find_object(slice_str(key));
    if (known == NULL) {
        known = arena_calloc(&arena, sizeof(*known));
        known->path = slice_str(key);
        known->next = objects;
        objects = known;
    }
    known->object = object;
}

static bool is_strict(const struct request *request)
{
    return strstr(check__print(&arena, "%.*s", TEXT(json_text_at(request->golden, "path"))),
                  "fieldValidation=Strict") != NULL;
}

static const char *all_complaints(const struct kube_complaints *complaints)
{
    const char *text = "";

    for (size_t i = 0; i < complaints->count; i++)
        text = check__print(&arena, "%s%s%s", text, i == 0 ? "" : ", ", complaints->texts[i]);
    return text;
}

/* What the server sets on create, as far as the rest looks at it. */
static void set_metadata(const struct request *request, const struct json *old, struct json *object)
{
    struct json *metadata = json_set_object(&arena, object, "metadata");

    if (request->space.len > 0)
        (void)json_set(metadata, "namespace", json_new_string(&arena, request->space));
    if (old != NULL) {
        static const char *const kept[] = {"uid",
                                           "resourceVersion",
                                           "generation",
                                           "creationTimestamp",
                                           "deletionTimestamp",
                                           "deletionGracePeriodSeconds"};

        for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
            const struct json *value = json_get(json_get(old, "metadata"), kept[i]);

            (void)json_remove(metadata, kept[i]);
            if (value != NULL && strcmp(kept[i], "resourceVersion") != 0)
                (void)json_set(metadata, kept[i], json_copy(&arena, value));
        }
        return;
    }
    (void)json_set(metadata, "uid", json_new_cstring(&arena, SOME_UID));
    if (json_text_at(metadata, "generateName").len > 0)
        (void)json_set(metadata, "name",
                       json_new_string(&arena, json_text_at(request->wanted, "metadata.name")));
}

static int patched(const struct request *request, const struct json *old, struct json **out,
                   struct kube_status *status)
{
    const struct json *type = json_get(request->golden, "contentType");

    if (json_equals(type, "application/json-patch+json"))
        return kube_patch_json(&arena, old, request->body, out, status);
    if (json_equals(type, "application/merge-patch+json"))
        return kube_patch_merge(&arena, old, request->body, out, status);
    return kube_patch_strategic(&arena, request->resource->type, old, request->body, out, status);
}

/* /status changes the status alone, the object itself all but it. */
static void keep_rest(const struct request *request, const struct json *old, struct json *object)
{
    bool status_only = slice_eq(request->sub, slice_str("status"));
    const char *const kept[] = {status_only ? "spec" : "status", "metadata"};

    for (size_t i = 0; i < (status_only ? 2 : 1); i++) {
        const struct json *value = json_get(old, kept[i]);

        if (value != NULL)
            (void)json_set(object, kept[i], json_copy(&arena, value));
    }
}

static int process(const struct request *request, const struct json *old, struct json **out,
                   struct kube_status *status)
{
    struct kube_complaints complaints = {NULL, 0};
    const struct json *in = request->body;
    struct json *object;
    int rc;

    if (json_equals(json_get(request->golden, "method"), "PATCH")) {
        rc = patched(request, old, &object, status);
        if (rc != 0)
            return rc;
        in = object;
    }
    rc = kube_normalise(&arena, request->resource, in, &complaints, &object, status);
    if (rc != 0)
        return rc;
    kube_complain_of_duplicates(&arena, request->duplicates, &complaints);
    if (is_strict(request) && complaints.count > 0)
        return kube_status_bad_request(
            status, &arena,
            "%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s",
            request->resource->kind, request->resource->version, request->resource->kind,
            all_complaints(&complaints));
    kube_defaults(&arena, request->resource, object);
    set_metadata(request, old, object);
    if (old != NULL && (request->resource->flags & KUBE_HAS_STATUS) != 0)
        keep_rest(request, old, object);
    kube_prepare(&arena, request->resource, old, object);
    rc = kube_normalise(&arena, request->resource, object, NULL, &object, status);
    if (rc != 0)
        return rc;
    *out = object;
    return kube_validate(&arena, request->resource, old, object, status);
}

static const char *run(const struct request *request)
{
    struct difference d = {request->resource->kind, NULL};
    struct kube_status status = {0};
    struct known *known = find_object(json_text_at(request->golden, "path"));
    const struct json *old = NULL;
    struct json *object = NULL;
    int rc;

    if (request->sub.len > 0) {
        struct slice path = json_text_at(request->golden, "path");

        known = find_object(slice_of(path.data, path.len - request->sub.len - 1));
    }
    if (request->name.len > 0) {
        if (known == NULL)
            return "the object was not seen before";
        old = known->object;
    }
    rc = process(request, old, &object, &status);
    if (request->status >= 400) {
        if (rc == 0)
            return "should have failed";
        return compare_status(request->wanted, kube_status_json(&arena, &status));
    }
    if (rc != 0)
        return check__print(&arena, "failed: %s", status.message);
    compare(&d, slice_str(""), request->wanted, object);
    return d.text;
}

/* A binding is written to the pod it is for. */
static void bind(const struct request *request)
{
    static const char condition[] =
        "[{\"type\":\"PodScheduled\",\"status\":\"True\","
        "\"lastProbeTime\":null,\"lastTransitionTime\":\"" SOME_TIME "\"}]";
    struct slice path = json_text_at(request->golden, "path");
    struct known *known = find_object(slice_of(path.data, path.len - strlen("/binding")));
    struct json *conditions;

    assert_non_null(known);
    assert_int_equal(json_parse(&arena, slice_str(condition), NULL, &conditions, NULL), 0);
    (void)json_set(json_get(known->object, "spec"), "nodeName",
                   json_copy(&arena, json_at(request->body, "target.name")));
    (void)json_set(json_get(known->object, "status"), "conditions", conditions);
}

static void scale(const struct request *request)
{
    struct slice path = json_text_at(request->golden, "path");
    struct known *known = find_object(slice_of(path.data, path.len - strlen("/scale")));

    assert_non_null(known);
    (void)json_set(json_get(known->object, "spec"), "replicas",
                   json_copy(&arena, json_at(request->body, "spec.replicas")));
}

static bool is_write(const struct json *golden)
{
    const struct json *method = json_get(golden, "method");

    return json_equals(method, "POST") || json_equals(method, "PUT") ||
           json_equals(method, "PATCH");
}

/* Method: all of stages 1 and 2, in their order, against status and answer. */
static void writes_become_what_upstream_makes_of_them(void **state)
{
    unsigned ran = 0, failed = 0;
    size_t len, at = 0;
    const char *text = read_file(GOLDEN, &len);

    (void)state;
    while (at < len) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line = end == NULL ? len - at : (size_t)(end - text) - at;
        struct request request;
        const char *why;

        if (read_request(slice_of(text + at, line), &request)) {
            if (is_write(request.golden) && !is_for_others(request.golden)) {
                why = run(&request);
                ran++;
                if (why != NULL) {
                    failed++;
                    print_message("%s: %s\n",
                                  check__json(&arena, json_get(request.golden, "title")), why);
                }
            }
            if (json_equals(json_get(request.golden, "title"), "bind"))
                bind(&request);
            else if (slice_eq(request.sub, slice_str("scale")) && is_write(request.golden))
                scale(&request);
            else if (request.status < 300)
                remember(&request);
        }
        at += line + 1;
    }
    print_message("%u cases\n", ran);
    assert_int_equal(failed, 0);
    assert_true(ran >= 50);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_become_what_upstream_makes_of_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
