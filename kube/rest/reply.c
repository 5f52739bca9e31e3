/* Answers: statuses, objects in all views, and the headers of them all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kube/codec/yaml.h"
#include "kube/rest/indent.h"
#include "kube/rest/internal.h"
#include "kube/rest/views.h"

enum { ANSWER_MAX = 256 << 20 };

static const char text_plain[] = "text/plain; charset=utf-8";

int64_t rest_now_s(void)
{
    return (int64_t)time(NULL);
}

const char *rest_content_type(const struct rest *rest)
{
    return rest->accept.format == KUBE_YAML ? "application/yaml" : "application/json";
}

/* ---- headers ---- */

void rest_warn(struct rest *rest, const char *text)
{
    struct buf line;

    if (++rest->warning_count > REST_WARNINGS_MAX)
        return;
    buf_init(&line, 1 << 16);
    (void)buf_append(&line, "299 - ", 6);
    if (json_write_string(&line, slice_str(text)) == 0 && buf_append_u8(&line, '\0') == 0)
        http_add_header(rest->http, "Warning", (const char *)line.data);
    buf_release(&line);
}

void rest_add_headers(struct rest *rest)
{
    http_add_header(rest->http, "Audit-Id", rest_new_uid(rest));
    http_add_header(rest->http, "Cache-Control", "no-cache, private");
}

static void reply(struct rest *rest, int code, const char *content_type, struct slice body)
{
    struct http_request *http = rest->http;

    rest_add_headers(rest);
    rest_end(rest, code);
    http_reply(http, code, content_type, body);
}

void rest_reply_text(struct rest *rest, int code, const char *content_type, struct slice body)
{
    reply(rest, code, content_type != NULL ? content_type : text_plain, body);
}

/* ---- trees ---- */

static int encode(struct rest *rest, const struct json *value, struct buf *out)
{
    struct rest_indent indent = {0};
    struct buf compact;
    int rc;

    if (rest->accept.format == KUBE_YAML)
        return kube_yaml_write(out, value);
    if (!rest->pretty)
        return json_write(out, value);
    buf_init(&compact, ANSWER_MAX);
    rc = json_write(&compact, value);
    if (rc == 0)
        rc = rest_indent(&indent, buf_slice(&compact), out);
    if (rc == 0)
        rc = buf_append_u8(out, '\n');
    buf_release(&compact);
    return rc;
}

void rest_reply_json(struct rest *rest, int code, struct json *value)
{
    struct buf body;

    buf_init(&body, ANSWER_MAX);
    if (encode(rest, value, &body) != 0) {
        buf_release(&body);
        rest_reply_text(rest, 500, NULL, slice_str("the answer is too large\n"));
        return;
    }
    reply(rest, code, rest_content_type(rest), buf_slice(&body));
    buf_release(&body);
}

void rest_fail_status(struct rest *rest, const struct kube_status *status)
{
    char seconds[16];

    if (status->retry_after_s > 0) {
        (void)snprintf(seconds, sizeof seconds, "%d", status->retry_after_s);
        http_add_header(rest->http, "Retry-After", seconds);
    }
    rest_reply_json(rest, status->code, kube_status_json(rest->arena, status));
}

void rest_fail(struct rest *rest)
{
    rest_fail_status(rest, &rest->status);
}

void rest_reply_not_allowed(struct rest *rest)
{
    (void)kube_status_set(&rest->status, rest->arena, 405, "MethodNotAllowed",
                          "the server does not allow this method on the requested resource");
    rest->status.has_details = true;
    rest_fail(rest);
}

void rest_reply_no_resource(struct rest *rest)
{
    (void)kube_status_set(&rest->status, rest->arena, 404, "NotFound",
                          "the server could not find the requested resource");
    rest->status.has_details = true;
    rest_fail(rest);
}

void rest_reply_no_page(struct rest *rest)
{
    rest_reply_text(rest, 404, NULL, slice_str("404 page not found\n"));
}

void rest_reply_deleted(struct rest *rest, struct slice uid)
{
    struct kube_status status = {.code = 200, .kind = rest->resource->plural};

    status.name = rest_print(rest->arena, "%.*s", REST_TEXT(rest->info.name));
    status.group = rest->resource->group[0] == '\0' ? NULL : rest->resource->group;
    if (uid.len > 0)
        status.uid = rest_print(rest->arena, "%.*s", REST_TEXT(uid));
    rest_reply_json(rest, 200, kube_status_json(rest->arena, &status));
}

/* ---- objects ---- */

static struct json *one_row_table(struct rest *rest, struct json *object)
{
    struct arena *arena = rest->arena;
    struct json *metadata = json_new(arena, JSON_OBJECT);
    struct json *rows = json_new(arena, JSON_ARRAY);
    struct slice version = rest_meta(object, "resourceVersion");

    if (version.len > 0)
        json_add(metadata, slice_str("resourceVersion"), json_new_string(arena, version));
    json_append(rows, kube_table_row(arena, rest->resource, object, rest_include(rest),
                                     rest->accept.version, rest_now_s()));
    return kube_table(arena, rest->accept.version, metadata,
                      kube_table_columns(arena, rest->resource), rows);
}

void rest_reply_tree(struct rest *rest, int code, struct json *object)
{
    struct json *shown = object;

    if (rest->accept.view == KUBE_VIEW_TABLE)
        shown = one_row_table(rest, object);
    else if (rest->accept.view == KUBE_VIEW_METADATA)
        shown = kube_partial_metadata(rest->arena, rest->accept.version, object);
    rest_reply_json(rest, code, shown);
}

void rest_reply_object(struct rest *rest, int code, struct kube_object *object)
{
    uint8_t *bytes;
    size_t len;

    if (rest->accept.view != KUBE_VIEW_OBJECT || rest->accept.format != KUBE_JSON || rest->pretty ||
        !rest_is_stored_form(rest->resource)) {
        rest_reply_tree(rest, code, rest_object_json(rest->arena, rest->resource, object));
        return;
    }
    bytes = arena_alloc(rest->arena, kube_object_size(object, true));
    len = kube_object_write(object, true, bytes);
    reply(rest, code, "application/json", slice_of(bytes, len));
}
