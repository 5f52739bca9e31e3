#include "kube/rest/api.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "kube/rest/bootstrap.h"
#include "kube/rest/watch.h"

const char kube_api_too_large[] =
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
    "\"message\":\"Request entity too large: limit is 3145728\","
    "\"reason\":\"RequestEntityTooLarge\",\"code\":413}\n";

/* An object that a request holds on to. */
struct rest_held {
    struct rest_held *next;
    struct kube_object *object;
};

/* ---- life ---- */

struct kube_api *kube_api_new(const struct kube_api_options *options)
{
    struct kube_api *api = xcalloc(1, sizeof *api);
    uint64_t seed;

    api->options = *options;
    api->store = options->store;
    list_init(&api->watches);
    arena_init(&api->scratch);
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = uv_hrtime(); /* without a source of randomness, uids still differ */
    prng_seed(&api->prng, seed);
    (void)uv_timer_init(options->loop, &api->watch_timer); /* cannot fail */
    api->watch_timer.data = api;
    return api;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct kube_api *api = handle->data;

    rest_metrics_release(&api->metrics);
    rest_watch_release(api);
    arena_release(&api->scratch);
    free(api);
}

void kube_api_free(struct kube_api *api)
{
    if (api == NULL)
        return;
    ASSERT(list_empty(&api->watches));
    rest_bootstrap_end(api);
    uv_close((uv_handle_t *)&api->watch_timer, on_timer_closed);
}

void kube_api_stop(struct kube_api *api)
{
    api->stopping = true;
    rest_watches_end(api);
    rest_bootstrap_end(api);
}

void kube_api_set_discovery(struct kube_api *api, const struct kube_discovery *discovery)
{
    api->discovery = discovery;
}

void kube_api_start(struct kube_api *api)
{
    rest_bootstrap(api);
}

/* ---- the end of a request ---- */

void rest_hold(struct rest *rest, struct kube_object *object)
{
    struct rest_held *held;

    if (object == NULL)
        return;
    held = arena_alloc(rest->arena, sizeof *held);
    held->object = object;
    held->next = rest->held;
    rest->held = held;
}

struct slice rest_ns(const struct rest *rest)
{
    return (rest->resource->flags & KUBE_NAMESPACED) != 0 ? rest->info.ns : slice_of(NULL, 0);
}

static const char *metric_verb(const struct rest *rest)
{
    static const char *const verbs[] = {
        "POST", "DELETE", "DELETECOLLECTION", "GET", "LIST", "PATCH", "PUT", "WATCH"};
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"};

    if (rest->info.verb != REST_OTHER)
        return verbs[rest->info.verb];
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (strcmp(methods[i], http_method(rest->http)) == 0)
            return methods[i];
    return "OTHER";
}

static const char *metric_scope(const struct rest *rest)
{
    if (rest->resource == NULL)
        return "";
    if (rest->info.name.len > 0 || rest->info.verb == REST_CREATE)
        return "resource";
    return rest_ns(rest).len > 0 ? "namespace" : "cluster";
}

static bool is_reading(const struct rest *rest)
{
    return rest->info.verb == REST_GET || rest->info.verb == REST_LIST ||
           rest->info.verb == REST_OTHER;
}

static void count_inflight(struct rest *rest, int delta)
{
    struct rest_metrics *metrics = &rest->api->metrics;
    uint64_t *gauge = is_reading(rest) ? &metrics->inflight_reads : &metrics->inflight_writes;

    if (rest->info.verb != REST_WATCH)
        *gauge = (uint64_t)((int64_t)*gauge + delta);
}

void rest_end(struct rest *rest, int code)
{
    const struct kube_api_options *options = &rest->api->options;
    uint64_t duration_us = (uv_hrtime() - rest->started_ns) / 1000;

    count_inflight(rest, -1);
    if (rest->long_running)
        rest->api->metrics.watches--;
    rest_metrics_count(&rest->api->metrics, metric_verb(rest), rest->resource,
                       rest->info.sub != NULL ? rest->info.sub->name : "", metric_scope(rest), code,
                       duration_us);
    if (options->on_end != NULL)
        options->on_end(options->ctx, rest->http,
                        rest_print(rest->arena, "%.*s", REST_TEXT(rest->user.name)), code,
                        duration_us);
    while (rest->held != NULL) {
        kube_object_unref(rest->held->object);
        rest->held = rest->held->next;
    }
    kube_list_release(&rest->list);
    http_set_data(rest->http, NULL);
}

void kube_api_on_cancel(void *ctx, struct http_request *request)
{
    struct rest *rest = http_data(request);

    (void)ctx;
    if (rest == NULL)
        return; /* the answer was given, only its bytes were under way */
    kube_op_cancel(&rest->op);
    kube_list_cancel(&rest->list);
    if (rest->on_cancel != NULL)
        rest->on_cancel(rest);
    rest_end(rest, 499);
}

/* ---- who and whether ---- */

enum { ORGANIZATIONS_MAX = 64 };

static bool authenticate(struct rest *rest)
{
    const struct kube_api_options *options = &rest->api->options;
    const struct slice masters = slice_str("system:masters");
    struct slice name = http_peer_name(rest->http);
    struct slice authorization = http_header(rest->http, "authorization");
    struct slice organizations[ORGANIZATIONS_MAX];
    size_t count = 0;

    if (options->trust_plain && !http_is_tls(rest->http) && authorization.data == NULL) {
        kube_auth_certificate(rest->arena, slice_str("system:unsecured"), &masters, 1, &rest->user);
        return true;
    }
    if (name.len == 0)
        return kube_auth_header(options->auth, rest->arena, authorization, &rest->user);
    while (count < ORGANIZATIONS_MAX) {
        organizations[count] = http_peer_organization(rest->http, count);
        if (organizations[count].len == 0)
            break;
        count++;
    }
    kube_auth_certificate(rest->arena, name, organizations, count, &rest->user);
    return true;
}

static bool authorize(struct rest *rest)
{
    const struct rest_info *info = &rest->info;
    struct kube_attributes attributes = {.verb = info->verb_text,
                                         .is_resource = info->is_resource,
                                         .group = info->group,
                                         .resource = info->plural,
                                         .subresource = info->subresource,
                                         .ns = info->ns,
                                         .name = info->name,
                                         .path = http_path(rest->http)};
    const char *refusal;

    if (kube_auth_allows(rest->api->options.auth, &rest->user, &attributes))
        return true;
    refusal = kube_auth_refusal(rest->arena, &rest->user, &attributes);
    if (info->is_resource) {
        struct kube_resource named = {
            .group = rest_print(rest->arena, "%.*s", REST_TEXT(info->group)),
            .plural = rest_print(rest->arena, "%.*s", REST_TEXT(info->plural))};

        (void)kube_status_forbidden(&rest->status, rest->arena, &named, info->name, "%s", refusal);
    } else {
        (void)kube_status_set(&rest->status, rest->arena, 403, "Forbidden", "forbidden: %s",
                              refusal);
        rest->status.has_details = true;
    }
    return false;
}

/* ---- what to do ---- */

static void run(struct rest *rest)
{
    switch (rest->info.verb) {
    case REST_GET:
        rest_get(rest);
        break;
    case REST_LIST:
        rest_list(rest);
        break;
    case REST_WATCH:
        rest_watch(rest);
        break;
    case REST_CREATE:
        rest_create(rest);
        break;
    case REST_UPDATE:
        rest_update(rest);
        break;
    case REST_PATCH:
        rest_patch(rest);
        break;
    case REST_DELETE:
        rest_delete(rest);
        break;
    case REST_DELETECOLLECTION:
        rest_delete_collection(rest);
        break;
    case REST_OTHER:
        rest_reply_not_allowed(rest);
        break;
    }
}

static unsigned verb_bit(enum rest_verb verb)
{
    static const unsigned bits[] = {KUBE_CREATE,    KUBE_DELETE, KUBE_DELETECOLLECTION, KUBE_GET,
                                    KUBE_LIST_VERB, KUBE_PATCH,  KUBE_UPDATE,           KUBE_WATCH};

    return verb == REST_OTHER ? 0 : bits[verb];
}

/* Whether the path with its method is one of ours: a namespaced object is created in a namespace,
 * one without a name cannot be replaced. */
static bool is_allowed(const struct rest *rest)
{
    const struct rest_info *info = &rest->info;
    unsigned verbs = info->sub != NULL ? info->sub->verbs : info->resource->verbs;
    bool one = info->verb == REST_GET || info->verb == REST_UPDATE || info->verb == REST_PATCH ||
               info->verb == REST_DELETE || info->verb == REST_CREATE;

    if ((verbs & verb_bit(info->verb)) == 0)
        return false;
    if (info->verb == REST_CREATE && info->sub == NULL && info->name.len > 0)
        return false;
    if ((info->verb == REST_UPDATE || info->verb == REST_PATCH) && info->name.len == 0)
        return false;
    return !one || (info->resource->flags & KUBE_NAMESPACED) == 0 || info->ns.len > 0;
}

static bool is_served(const struct kube_resource *resource)
{
    unsigned verbs = resource->verbs;

    for (size_t i = 0; i < resource->subresource_count; i++)
        verbs |= resource->subresources[i].verbs;
    return verbs != 0;
}

static void serve_resource(struct rest *rest)
{
    const struct rest_info *info = &rest->info;

    if (!kube_group_version_known(info->group, info->version)) {
        rest_reply_no_page(rest);
        return;
    }
    if (info->resource == NULL || !is_served(info->resource) || info->too_long ||
        (info->subresource.len > 0 && (info->sub == NULL || info->sub->verbs == 0))) {
        rest_reply_no_resource(rest);
        return;
    }
    rest->resource = info->resource;
    if (!is_allowed(rest))
        rest_reply_not_allowed(rest);
    else if (!rest_special(rest))
        run(rest);
}

static int negotiate(struct rest *rest)
{
    unsigned views = 1u << KUBE_VIEW_OBJECT;

    if (rest->info.is_resource)
        views |= 1u << KUBE_VIEW_TABLE | 1u << KUBE_VIEW_METADATA;
    else
        views |= 1u << KUBE_VIEW_GROUP_DISCOVERY;
    if (kube_accept_parse(http_header(rest->http, "accept"), views, &rest->accept))
        return 0;
    if (!rest->info.is_resource)
        return 0; /* text pages do not ask, and discovery has one form for all */
    rest->accept = (struct kube_accept){.format = KUBE_JSON, .view = KUBE_VIEW_OBJECT};
    (void)kube_status_set(&rest->status, rest->arena, 406, "NotAcceptable",
                          "406: Not Acceptable\n\nAvailable representations: application/json, "
                          "application/yaml, application/vnd.kubernetes.protobuf");
    rest->status.has_details = true;
    return 406;
}

static bool begins_with(struct slice text, const char *prefix)
{
    return text.len >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

/* For people: asked for, or by the tools that people use. */
static bool wants_pretty(const struct rest *rest)
{
    struct slice agent = http_header(rest->http, "user-agent");

    if (rest_query_get(&rest->query, "pretty").data != NULL)
        return rest_query_bool(&rest->query, "pretty");
    return begins_with(agent, "curl") || begins_with(agent, "Wget") ||
           begins_with(agent, "Mozilla/5.0");
}

void kube_api_on_http(void *ctx, struct http_request *request)
{
    struct rest *rest = arena_calloc(http_arena(request), sizeof *rest);

    rest->api = ctx;
    rest->http = request;
    rest->arena = http_arena(request);
    rest->started_ns = uv_hrtime();
    http_set_data(request, rest);
    rest_query_parse(rest->arena, http_query(request), &rest->query);
    rest_info_parse(rest->arena, http_method(request), http_path(request), &rest->query,
                    &rest->info);
    rest->pretty = wants_pretty(rest);
    count_inflight(rest, 1);
    if (!authenticate(rest)) {
        (void)kube_status_set(&rest->status, rest->arena, 401, "Unauthorized", "Unauthorized");
        rest_fail(rest);
    } else if (!authorize(rest)) {
        rest_fail(rest);
    } else if (negotiate(rest) != 0) {
        rest_fail(rest);
    } else if (rest->info.is_resource) {
        serve_resource(rest);
    } else {
        rest_page(rest);
    }
}
