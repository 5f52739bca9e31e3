/* Paths that are no resources: health, metrics, discovery. */
#include <stdio.h>
#include <string.h>

#include "kube/rest/internal.h"

static const char prometheus[] = "text/plain; version=0.0.4; charset=utf-8";

/* ---- health ---- */

static bool is_below(const char *path, const char *root)
{
    size_t len = strlen(root);

    return strncmp(path, root, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static void add_check(struct buf *text, const char *name, const char *trouble)
{
    if (trouble == NULL)
        (void)buf_printf(text, "[+]%s ok\n", name);
    else
        (void)buf_printf(text, "[-]%s failed: %s\n", name, trouble);
}

/* upstream's form: the list of checks if it was asked for or something is wrong. */
static void reply_health(struct rest *rest, const char *etcd, const char *shutdown,
                         const char *bootstrap)
{
    const char *name = http_path(rest->http) + 1;
    bool well = etcd == NULL && shutdown == NULL && bootstrap == NULL;
    struct buf text;

    if (well && rest_query_get(&rest->query, "verbose").data == NULL) {
        rest_reply_text(rest, 200, NULL, slice_str("ok"));
        return;
    }
    buf_init(&text, 1 << 16);
    add_check(&text, "ping", NULL);
    add_check(&text, "log", NULL);
    add_check(&text, "etcd", etcd);
    add_check(&text, "poststarthook/bootstrap-objects", bootstrap);
    add_check(&text, "shutdown", shutdown);
    (void)buf_printf(&text, "%.*s check %s\n", (int)strcspn(name, "/"), name,
                     well ? "passed" : "failed");
    rest_reply_text(rest, well ? 200 : 500, NULL, buf_slice(&text));
    buf_release(&text);
}

static void on_health(struct kube_op *op)
{
    struct rest *rest = CONTAINER_OF(op, struct rest, op);
    const struct kube_api *api = rest->api;
    bool ready = is_below(http_path(rest->http), "/readyz");

    reply_health(rest, op->status.code != 0 ? op->status.message : NULL,
                 ready && api->stopping ? "the server is stopping" : NULL,
                 ready && !api->started ? "the first objects are not there yet" : NULL);
}

static void show_health(struct rest *rest)
{
    /* Whether the process lives has nothing to do with its store. */
    if (is_below(http_path(rest->http), "/livez"))
        reply_health(rest, NULL, NULL, NULL);
    else
        kube_store_health(rest->api->store, &rest->op, rest->arena, on_health);
}

/* ---- the rest ---- */

static void show_metrics(struct rest *rest)
{
    struct buf text;

    buf_init(&text, 64 << 20);
    rest_metrics_write(&rest->api->metrics, rest->api->options.version, &text);
    rest_reply_text(rest, 200, prometheus, buf_slice(&text));
    buf_release(&text);
}

static void show_paths(struct rest *rest)
{
    static const char *const paths[] = {"/api",     "/api/v1",     "/apis",   "/healthz", "/livez",
                                        "/metrics", "/openapi/v3", "/readyz", "/version"};
    struct json *object = json_new(rest->arena, JSON_OBJECT);
    struct json *list = json_new(rest->arena, JSON_ARRAY);

    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        json_append(list, json_new_cstring(rest->arena, paths[i]));
    json_add(object, slice_str("paths"), list);
    rest_reply_json(rest, 200, object);
}

static bool has_etag(struct slice header, const char *etag)
{
    return header.len > 0 && memmem(header.data, header.len, etag, strlen(etag)) != NULL;
}

static void show_document(struct rest *rest, const struct kube_document *document)
{
    struct http_request *http = rest->http;
    bool known = has_etag(http_header(http, "if-none-match"), document->etag);
    int code = known ? 304 : 200;

    http_add_header(http, "Audit-Id", rest_new_uid(rest));
    http_add_header(http, "ETag", document->etag);
    http_add_header(http, "Vary", "Accept");
    http_add_header(http, "Cache-Control", document->immutable ? "public, immutable" : "public");
    if (document->immutable)
        http_add_header(http, "Expires", rest_http_date(rest->arena, 365 * 24 * 3600));
    rest_end(rest, code);
    http_reply(http, code, document->content_type, known ? slice_of(NULL, 0) : document->body);
}

static bool is_read(const struct rest *rest)
{
    const char *method = http_method(rest->http);

    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

void rest_page(struct rest *rest)
{
    const char *path = http_path(rest->http);
    struct kube_document document;

    if (!is_read(rest))
        rest_reply_no_page(rest);
    else if (is_below(path, "/livez") || is_below(path, "/readyz") || is_below(path, "/healthz"))
        show_health(rest);
    else if (strcmp(path, "/metrics") == 0)
        show_metrics(rest);
    else if (strcmp(path, "/") == 0)
        show_paths(rest);
    else if (kube_discovery_find(rest->api->discovery, path, http_query(rest->http), &rest->accept,
                                 &document))
        show_document(rest, &document);
    else
        rest_reply_no_page(rest);
}
