/* A list as an answer: from the objects' bytes straight into the output, in pieces as the client
 * takes them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/codec/table.h"
#include "kube/codec/yaml.h"
#include "kube/rest/indent.h"
#include "kube/rest/internal.h"
#include "kube/rest/views.h"

enum {
    QUEUED_MAX = 256 * 1024, /* of the answer; more is written when this has gone out */
    GATHERED_MAX = 64 * 1024,
    HEAD_MAX = 1 << 20
};

struct list_writer {
    struct rest *rest;
    size_t next; /* object to be written */
    bool head_written;
    struct buf head;      /* up to the first item */
    const char *tail;     /* behind the last one */
    struct buf gathered;  /* of a view made from trees */
    struct arena scratch; /* of one item */
    struct rest_indent indent;
    struct buf indented;
};

/* ---- what stands before the items ---- */

static void write_list_meta(const struct kube_list *list, struct buf *out)
{
    (void)buf_printf(out, "\"metadata\":{\"resourceVersion\":\"%lld\"", (long long)list->revision);
    if (list->continue_token != NULL)
        (void)buf_printf(out, ",\"continue\":\"%s\"", list->continue_token);
    if (list->continue_token != NULL && list->remaining >= 0)
        (void)buf_printf(out, ",\"remainingItemCount\":%lld", (long long)list->remaining);
    (void)buf_append(out, "},", 2);
}

static void write_head(struct list_writer *writer)
{
    struct rest *rest = writer->rest;
    char api_version[KUBE_API_VERSION_SIZE];

    switch (rest->accept.view) {
    case KUBE_VIEW_TABLE:
        (void)buf_printf(&writer->head, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/%s\",",
                         rest->accept.version);
        write_list_meta(&rest->list, &writer->head);
        (void)buf_printf(&writer->head, "\"columnDefinitions\":");
        (void)json_write(&writer->head, kube_table_columns(rest->arena, rest->resource));
        (void)buf_printf(&writer->head, ",\"rows\":[");
        break;
    case KUBE_VIEW_METADATA:
        (void)buf_printf(&writer->head,
                         "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":"
                         "\"meta.k8s.io/%s\",",
                         rest->accept.version);
        write_list_meta(&rest->list, &writer->head);
        (void)buf_printf(&writer->head, "\"items\":[");
        break;
    default:
        (void)buf_printf(&writer->head, "{\"kind\":\"%sList\",\"apiVersion\":\"%s\",",
                         rest->resource->kind, kube_api_version(rest->resource, api_version));
        write_list_meta(&rest->list, &writer->head);
        (void)buf_printf(&writer->head, "\"items\":[");
        break;
    }
    writer->tail = "]}";
}

/* ---- the end ---- */

static void release(struct list_writer *writer)
{
    buf_release(&writer->head);
    buf_release(&writer->gathered);
    buf_release(&writer->indented);
    arena_release(&writer->scratch);
}

static void on_cancel(struct rest *rest)
{
    release(rest->state);
}

static void finish(struct list_writer *writer)
{
    struct rest *rest = writer->rest;
    struct http_request *http = rest->http;

    release(writer);
    rest->on_cancel = NULL;
    rest_end(rest, 200);
    http_reply_end(http);
}

/* ---- objects as they are stored: the length is known ---- */

static size_t total_length(const struct list_writer *writer)
{
    const struct kube_list *list = &writer->rest->list;
    size_t len = writer->head.len + strlen(writer->tail);

    for (size_t i = 0; i < list->count; i++)
        len += kube_object_size(list->objects[i], false) + (i > 0);
    return len;
}

static uint8_t *put(uint8_t *to, const void *from, size_t len)
{
    memcpy(to, from, len);
    return to + len;
}

/* As many objects as make a piece; *end is behind the last. */
static size_t measure(const struct list_writer *writer, size_t *end)
{
    const struct kube_list *list = &writer->rest->list;
    size_t len = writer->head_written ? 0 : writer->head.len;
    size_t i = writer->next;

    for (; i < list->count && len < REST_PIECE; i++)
        len += kube_object_size(list->objects[i], false) + (i > 0);
    *end = i;
    return i == list->count ? len + strlen(writer->tail) : len;
}

static bool write_stored_piece(struct list_writer *writer)
{
    struct kube_list *list = &writer->rest->list;
    size_t end, len = measure(writer, &end);
    uint8_t *start = http_reply_space(writer->rest->http, len);
    uint8_t *to = start;

    if (!writer->head_written)
        to = put(to, writer->head.data, writer->head.len);
    writer->head_written = true;
    for (; writer->next < end; writer->next++) {
        if (writer->next > 0)
            *to++ = ',';
        to += kube_object_write(list->objects[writer->next], false, to);
    }
    if (end == list->count)
        to = put(to, writer->tail, strlen(writer->tail));
    ASSERT((size_t)(to - start) == len);
    http_reply_space_send(writer->rest->http);
    return end == list->count;
}

static void go_on_stored(struct list_writer *writer)
{
    while (http_reply_queued(writer->rest->http) < QUEUED_MAX) {
        if (write_stored_piece(writer)) {
            finish(writer);
            return;
        }
    }
}

static void on_stored_drain(struct http_request *http)
{
    go_on_stored(((struct rest *)http_data(http))->state);
}

/* ---- other views: item by item from a tree ---- */

static void write_tree_item(struct list_writer *writer, struct kube_object *object)
{
    arena_reset(&writer->scratch);
    rest_write_item(&writer->scratch, writer->rest, object, &writer->gathered);
}

static void send_gathered(struct list_writer *writer)
{
    struct rest *rest = writer->rest;

    if (rest->pretty) {
        buf_reset(&writer->indented);
        (void)rest_indent(&writer->indent, buf_slice(&writer->gathered), &writer->indented);
        http_reply_chunk(rest->http, buf_slice(&writer->indented));
    } else {
        http_reply_chunk(rest->http, buf_slice(&writer->gathered));
    }
    buf_reset(&writer->gathered);
}

static void go_on_trees(struct list_writer *writer)
{
    struct rest *rest = writer->rest;
    struct kube_list *list = &rest->list;

    while (http_reply_queued(rest->http) < QUEUED_MAX) {
        if (!writer->head_written)
            (void)buf_append(&writer->gathered, writer->head.data, writer->head.len);
        writer->head_written = true;
        while (writer->next < list->count && writer->gathered.len < GATHERED_MAX) {
            if (writer->next > 0)
                (void)buf_append_u8(&writer->gathered, ',');
            write_tree_item(writer, list->objects[writer->next++]);
        }
        if (writer->next == list->count)
            (void)buf_append(&writer->gathered, writer->tail, strlen(writer->tail));
        send_gathered(writer);
        if (writer->next == list->count) {
            if (rest->pretty)
                http_reply_chunk(rest->http, slice_str("\n"));
            finish(writer);
            return;
        }
    }
}

static void on_tree_drain(struct http_request *http)
{
    go_on_trees(((struct rest *)http_data(http))->state);
}

/* ---- YAML: sorted keys need the whole tree ---- */

static void reply_yaml(struct rest *rest, struct list_writer *writer)
{
    struct kube_list *list = &rest->list;
    struct json *whole = NULL;

    (void)buf_append(&writer->head, writer->tail, strlen(writer->tail));
    if (json_parse(rest->arena, arena_copy(rest->arena, buf_slice(&writer->head)), NULL, &whole,
                   NULL) == 0) {
        struct json *items = json_get(whole, "items");

        if (items == NULL)
            items = json_get(whole, "rows");
        for (size_t i = 0; i < list->count; i++)
            json_append(items, rest_item_json(rest->arena, rest, list->objects[i]));
    }
    release(writer);
    rest->on_cancel = NULL;
    rest_reply_json(rest, 200, whole);
}

void rest_reply_list(struct rest *rest)
{
    struct list_writer *writer = arena_calloc(rest->arena, sizeof *writer);
    bool stored = rest->accept.view == KUBE_VIEW_OBJECT && !rest->pretty &&
                  rest_is_stored_form(rest->resource);

    writer->rest = rest;
    buf_init(&writer->head, HEAD_MAX);
    buf_init(&writer->gathered, SIZE_MAX / 2); /* one item beyond GATHERED_MAX */
    buf_init(&writer->indented, SIZE_MAX / 2);
    arena_init(&writer->scratch);
    write_head(writer);
    rest->state = writer;
    rest->on_cancel = on_cancel;
    if (rest->accept.format == KUBE_YAML) {
        reply_yaml(rest, writer);
        return;
    }
    rest_add_headers(rest);
    http_on_drain(rest->http, stored ? on_stored_drain : on_tree_drain);
    if (stored) {
        http_reply_begin_sized(rest->http, 200, "application/json", total_length(writer));
        go_on_stored(writer);
    } else {
        http_reply_begin(rest->http, 200, "application/json");
        go_on_trees(writer);
    }
}
