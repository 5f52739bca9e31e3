/* Watches: a stream of lines, one event each, until the client has enough or its time is up. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kube/rest/views.h"
#include "kube/rest/watch.h"

enum {
    MIN_S = 1800, /* without timeoutSeconds: 30 to 60 minutes, so that many do not end at once */
    MAX_S = 3600,
    TICK_MS = 250
};

/* One of a fixed set, so that the store encodes an event once for all watchers that ask for it. */
struct event_encoding {
    struct kube_encoding base;
    enum kube_view view;
    const char *version;
    enum kube_include include;
    const struct kube_resource *shown; /* NULL: as it is stored */
};

struct watch {
    struct rest *rest;
    struct kube_watch watch;
    struct kube_watch_options options;
    const struct event_encoding *encoding;
    struct list link;
    uint64_t end_ms;
    bool columns_sent;
};

/* ---- events ---- */

static const char *type_text(enum kube_event_type type)
{
    static const char *const texts[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};

    return texts[type];
}

static void write_object(const struct kube_encoding *encoding, const struct kube_resource *resource,
                         enum kube_event_type type, const struct kube_object *object,
                         struct buf *out)
{
    size_t size = kube_object_size(object, true);

    (void)encoding;
    (void)resource;
    (void)buf_printf(out, "{\"type\":\"%s\",\"object\":", type_text(type));
    if (buf_reserve(out, size) == 0)
        out->len += kube_object_write(object, true, out->data + out->len);
    (void)buf_append(out, "}\n", 2);
}

/* What stands in the place of columns; the first event of a stream gets them (with_columns()). */
static const char no_columns[] = "\"columnDefinitions\":null";

static void write_table(const struct event_encoding *encoding, const struct kube_resource *resource,
                        struct arena *arena, struct json *tree, struct buf *out)
{
    (void)buf_printf(out, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/%s\",\"metadata\":{",
                     encoding->version);
    (void)buf_printf(out, "\"resourceVersion\":\"%.*s\"},%s,\"rows\":[",
                     REST_TEXT(rest_meta(tree, "resourceVersion")), no_columns);
    (void)json_write(out, kube_table_row(arena, resource, tree, encoding->include,
                                         encoding->version, rest_now_s()));
    (void)buf_append(out, "]}", 2);
}

static void write_view(const struct kube_encoding *base, const struct kube_resource *resource,
                       enum kube_event_type type, const struct kube_object *object, struct buf *out)
{
    const struct event_encoding *encoding = CONTAINER_OF(base, struct event_encoding, base);
    const struct kube_resource *shown = encoding->shown != NULL ? encoding->shown : resource;
    struct arena arena = ARENA_INIT;
    struct json *tree = rest_object_json(&arena, shown, object);

    (void)buf_printf(out, "{\"type\":\"%s\",\"object\":", type_text(type));
    if (encoding->view == KUBE_VIEW_TABLE)
        write_table(encoding, shown, &arena, tree, out);
    else if (encoding->view == KUBE_VIEW_METADATA)
        (void)json_write(out, kube_partial_metadata(&arena, encoding->version, tree));
    else
        (void)json_write(out, tree);
    (void)buf_append(out, "}\n", 2);
    arena_release(&arena);
}

#define VIEWS(version, shown)                                                                      \
    {{write_view}, KUBE_VIEW_METADATA, version, 0, shown},                                         \
        {{write_view}, KUBE_VIEW_TABLE, version, KUBE_INCLUDE_METADATA, shown},                    \
        {{write_view}, KUBE_VIEW_TABLE, version, KUBE_INCLUDE_OBJECT, shown},                      \
    {                                                                                              \
        {write_view}, KUBE_VIEW_TABLE, version, KUBE_INCLUDE_NONE, shown                           \
    }

static const struct event_encoding plain = {.base = {write_object}, .view = KUBE_VIEW_OBJECT};
static const struct event_encoding views[] = {VIEWS("v1", NULL), VIEWS("v1beta1", NULL)};

/* Of a resource that is another version's view: made when one is watched first. */
struct rest_alias_encodings {
    struct rest_alias_encodings *next;
    const struct kube_resource *resource;
    struct event_encoding plain, views[ARRAY_LEN(views)];
};

static struct rest_alias_encodings *alias_encodings(struct kube_api *api,
                                                    const struct kube_resource *resource)
{
    struct rest_alias_encodings *alias = api->aliases;

    while (alias != NULL && alias->resource != resource)
        alias = alias->next;
    if (alias != NULL)
        return alias;
    alias = xcalloc(1, sizeof *alias);
    alias->resource = resource;
    alias->plain =
        (struct event_encoding){.base = {write_view}, .view = KUBE_VIEW_OBJECT, .shown = resource};
    memcpy(alias->views, views, sizeof views);
    for (size_t i = 0; i < ARRAY_LEN(views); i++)
        alias->views[i].shown = resource;
    alias->next = api->aliases;
    api->aliases = alias;
    return alias;
}

void rest_watch_release(struct kube_api *api)
{
    while (api->aliases != NULL) {
        struct rest_alias_encodings *alias = api->aliases;

        api->aliases = alias->next;
        free(alias);
    }
}

static bool is_asked_for(const struct event_encoding *encoding, const struct rest *rest)
{
    return encoding->view == rest->accept.view &&
           strcmp(encoding->version, rest->accept.version) == 0 &&
           (encoding->view != KUBE_VIEW_TABLE || encoding->include == rest_include(rest));
}

static const struct event_encoding *find_encoding(const struct rest *rest)
{
    const struct rest_alias_encodings *alias =
        rest_is_stored_form(rest->resource) ? NULL : alias_encodings(rest->api, rest->resource);
    const struct event_encoding *list = alias != NULL ? alias->views : views;

    for (size_t i = 0; i < ARRAY_LEN(views); i++)
        if (rest->accept.view != KUBE_VIEW_OBJECT && is_asked_for(&list[i], rest))
            return &list[i];
    return alias != NULL ? &alias->plain : &plain;
}

/* ---- the stream ---- */

static struct watch *watch_of(struct kube_watch *watch)
{
    return CONTAINER_OF(watch, struct watch, watch);
}

static void stop(struct watch *watch)
{
    kube_watch_stop(&watch->watch);
    list_remove(&watch->link);
    watch->rest->on_cancel = NULL;
}

static void end(struct watch *watch)
{
    struct rest *rest = watch->rest;
    struct http_request *http = rest->http;

    stop(watch);
    rest_end(rest, 200);
    http_reply_end(http);
}

static void on_cancel(struct rest *rest)
{
    stop(rest->state);
}

/* The first event with its columns; returns how much of bytes that was. */
static size_t send_with_columns(struct watch *watch, struct slice bytes)
{
    struct rest *rest = watch->rest;
    const uint8_t *mark = memmem(bytes.data, bytes.len, no_columns, sizeof no_columns - 1);
    size_t before;
    struct buf text;

    watch->columns_sent = true;
    if (mark == NULL)
        return 0;
    before = (size_t)(mark - bytes.data) + sizeof no_columns - 1 - strlen("null");
    buf_init(&text, SIZE_MAX / 2); /* one resource's columns */
    (void)buf_append(&text, bytes.data, before);
    (void)json_write(&text, kube_table_columns(rest->arena, rest->resource));
    http_reply_chunk(rest->http, buf_slice(&text));
    buf_release(&text);
    return before + strlen("null");
}

static void on_bytes(struct kube_watch *base, struct slice bytes)
{
    struct watch *watch = watch_of(base);
    size_t sent = 0;

    if (watch->rest->accept.view == KUBE_VIEW_TABLE && !watch->columns_sent)
        sent = send_with_columns(watch, bytes);
    http_reply_chunk(watch->rest->http, slice_of(bytes.data + sent, bytes.len - sent));
}

static void write_bookmark_object(struct watch *watch, int64_t revision, bool initial_end,
                                  struct buf *out)
{
    const struct rest *rest = watch->rest;
    const char *notes =
        initial_end ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" : "";
    char api_version[KUBE_API_VERSION_SIZE];

    switch (rest->accept.view) {
    case KUBE_VIEW_TABLE:
        (void)buf_printf(out,
                         "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/%s\",\"metadata\":{"
                         "\"resourceVersion\":\"%lld\"},%s,\"rows\":[{\"cells\":[],\"object\":{"
                         "\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/%s\","
                         "\"metadata\":{\"resourceVersion\":\"%lld\"%s}}}]}",
                         rest->accept.version, (long long)revision, no_columns,
                         rest->accept.version, (long long)revision, notes);
        return;
    case KUBE_VIEW_METADATA:
        (void)buf_printf(out,
                         "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/%s\"",
                         rest->accept.version);
        break;
    default:
        (void)buf_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"%s\"", rest->resource->kind,
                         kube_api_version(rest->resource, api_version));
        break;
    }
    (void)buf_printf(out, ",\"metadata\":{\"resourceVersion\":\"%lld\"%s}}", (long long)revision,
                     notes);
}

static void on_bookmark(struct kube_watch *base, int64_t revision, bool initial_end)
{
    struct watch *watch = watch_of(base);
    struct buf line;

    buf_init(&line, 4096);
    (void)buf_printf(&line, "{\"type\":\"BOOKMARK\",\"object\":");
    write_bookmark_object(watch, revision, initial_end, &line);
    (void)buf_append(&line, "}\n", 2);
    http_reply_chunk(watch->rest->http, buf_slice(&line));
    buf_release(&line);
}

static void on_end(struct kube_watch *base, const struct kube_status *status)
{
    struct watch *watch = watch_of(base);
    struct buf line;

    if (status->code != 0) {
        buf_init(&line, 1 << 20);
        (void)buf_printf(&line, "{\"type\":\"ERROR\",\"object\":");
        (void)json_write(&line, kube_status_json(watch->rest->arena, status));
        (void)buf_append(&line, "}\n", 2);
        http_reply_chunk(watch->rest->http, buf_slice(&line));
        buf_release(&line);
    }
    end(watch);
}

static size_t queued(struct kube_watch *base)
{
    return http_reply_queued(watch_of(base)->rest->http);
}

static void on_drain(struct http_request *http)
{
    struct watch *watch = ((struct rest *)http_data(http))->state;

    kube_watch_resume(&watch->watch);
}

/* ---- the beginning ---- */

static int read_initial_events(struct rest *rest, struct kube_watch_options *out)
{
    struct slice match = rest_query_get(&rest->query, "resourceVersionMatch");

    if (rest_query_get(&rest->query, "sendInitialEvents").len == 0) {
        if (match.len == 0)
            return 0;
        return rest_forbid_option(rest, "resourceVersionMatch",
                                  "resourceVersionMatch is forbidden for watch unless "
                                  "sendInitialEvents is provided");
    }
    if (!slice_eq(match, slice_str("NotOlderThan")))
        return rest_forbid_option(rest, "resourceVersionMatch",
                                  "sendInitialEvents requires setting resourceVersionMatch to "
                                  "NotOlderThan");
    out->initial_events = rest_query_bool(&rest->query, "sendInitialEvents");
    return 0;
}

/* A watch of one name is one with a field selector. */
static int pin_name(struct rest *rest, struct kube_selector *selector)
{
    const char *text = rest_print(rest->arena, "metadata.name=%.*s", REST_TEXT(rest->info.name));

    if (kube_selector_pins(selector, "metadata.name").data != NULL)
        return 0; /* the name came from there */
    return kube_field_selector_parse(rest->arena, rest->resource, slice_str(text), selector,
                                     &rest->status);
}

static int read_options(struct rest *rest, struct kube_watch_options *out, int64_t *timeout_s)
{
    enum kube_freshness freshness;
    int code;

    *out = (struct kube_watch_options){.ns = rest_ns(rest)};
    code = rest_selector(rest, &out->selector);
    if (code == 0 && rest->info.name.len > 0)
        code = pin_name(rest, &out->selector);
    if (code == 0)
        code = rest_freshness(rest, &freshness, &out->revision);
    if (code == 0)
        code = rest_number(rest, "timeoutSeconds", timeout_s);
    if (code == 0)
        code = read_initial_events(rest, out);
    if (code != 0)
        return code;
    out->any_state = freshness == KUBE_ANY;
    out->bookmarks = rest_query_bool(&rest->query, "allowWatchBookmarks");
    if (*timeout_s <= 0)
        *timeout_s = (int64_t)prng_between(&rest->api->prng, MIN_S, MAX_S);
    return 0;
}

void rest_watch(struct rest *rest)
{
    static const struct kube_watch_callbacks callbacks = {on_bytes, on_bookmark, on_end, queued};
    struct watch *watch = arena_calloc(rest->arena, sizeof *watch);
    int64_t timeout_s;

    if (read_options(rest, &watch->options, &timeout_s) != 0) {
        rest_fail(rest);
        return;
    }
    watch->rest = rest;
    watch->encoding = find_encoding(rest);
    watch->end_ms = uv_now(rest->api->options.loop) + (uint64_t)timeout_s * 1000;
    list_push_back(&rest->api->watches, &watch->link);
    rest->state = watch;
    rest->on_cancel = on_cancel;
    rest->long_running = true;
    rest->api->metrics.watches++;
    rest_watch_timer(rest->api);
    rest_add_headers(rest);
    http_on_drain(rest->http, on_drain);
    http_reply_begin(rest->http, 200, "application/json");
    kube_watch_start(rest->api->store, &watch->watch, rest->resource, &watch->options,
                     &watch->encoding->base, &callbacks);
}

/* ---- time ---- */

static void end_in_order(struct watch *watch)
{
    if (watch->options.bookmarks)
        kube_watch_bookmark(&watch->watch);
    end(watch);
}

static void on_tick(uv_timer_t *timer)
{
    struct kube_api *api = timer->data;
    uint64_t now = uv_now(api->options.loop);

    LIST_EACH_SAFE (node, &api->watches) {
        struct watch *watch = LIST_ENTRY(node, struct watch, link);

        if (now >= watch->end_ms)
            end_in_order(watch);
    }
    if (list_empty(&api->watches))
        (void)uv_timer_stop(timer);
}

void rest_watch_timer(struct kube_api *api)
{
    if (uv_is_active((uv_handle_t *)&api->watch_timer) == 0)
        (void)uv_timer_start(&api->watch_timer, on_tick, TICK_MS, TICK_MS); /* it is initialised */
}

void rest_watches_end(struct kube_api *api)
{
    while (!list_empty(&api->watches))
        end_in_order(LIST_FIRST(&api->watches, struct watch, link));
}
