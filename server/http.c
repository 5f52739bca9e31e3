#include "server/http.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/version.h"
#include "server/access.h"
#include "server/gateway.h"
#include "server/page.h"
#include "server/status.h"

enum { METRICS_TEXT_MAX = 8 << 20 };

static const char TEXT[] = "text/plain; charset=utf-8";

struct http {
    struct member *member;
    struct metrics *metrics;
    struct access access;
    bool no_gateway;
};

struct http *http_new(struct member *member, struct metrics *metrics)
{
    struct http *http = xcalloc(1, sizeof *http);

    http->member = member;
    http->metrics = metrics;
    return http;
}

void http_free(struct http *http)
{
    access_release(&http->access);
    free(http);
}

void http_configure(struct http *http, const char *cors, const char *hosts, bool gateway)
{
    access_release(&http->access);
    access_init(&http->access, cors, hosts);
    http->no_gateway = !gateway;
}

const char *const *http_cors_origins(const struct http *http)
{
    return (const char *const *)http->access.origins.words;
}

/* ---- answers ---- */

/* As Go's http.Error: plain text, ended by one more newline, and not to be taken for anything else.
 */
static void reply_error(struct http_request *request, int status, struct slice text)
{
    uint8_t *body = arena_alloc(http_arena(request), text.len + 1);

    if (text.len != 0)
        memcpy(body, text.data, text.len);
    body[text.len] = '\n';
    http_add_header(request, "X-Content-Type-Options", "nosniff");
    http_reply(request, status, TEXT, slice_of(body, text.len + 1));
}

/* ---- the query ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Whether the encoded text of len bytes stands for word. */
static bool decodes_to(const char *text, size_t len, const char *word)
{
    size_t i = 0;

    for (; i < len && *word != '\0'; i++, word++) {
        char c = text[i] == '+' ? ' ' : text[i];

        if (c == '%') {
            int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < len ? hex_digit(text[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c != *word)
            return false;
    }
    return i == len && *word == '\0';
}

/* Whether the query has name=value, or name with any value or none if value is NULL. */
static bool query_has(const struct http_request *request, const char *name, const char *value)
{
    const char *at = http_query(request);

    while (*at != '\0') {
        size_t len = strcspn(at, "&");
        const char *equals = memchr(at, '=', len);
        size_t name_len = equals != NULL ? (size_t)(equals - at) : len;

        if (decodes_to(at, name_len, name) &&
            (value == NULL ||
             (equals != NULL && decodes_to(equals + 1, len - name_len - 1, value))))
            return true;
        at += len + (at[len] == '&');
    }
    return false;
}

/* ---- probes ---- */

/* A probe that waits for a linearizable read point; and, for /livez and /readyz, what it has found
 * out so far. */
struct probe {
    struct member_read read;
    struct http *http;
    struct http_request *request;
    struct buf text; /* one line per check */
    bool failed;
    bool verbose;
};

static void probe_free(struct probe *probe)
{
    buf_release(&probe->text);
    free(probe);
}

static struct probe *probe_start(struct http *http, struct http_request *request,
                                 void (*cb)(struct member_read *read, int status))
{
    struct probe *probe = xcalloc(1, sizeof *probe);

    probe->http = http;
    probe->request = request;
    probe->read.cb = cb;
    buf_init(&probe->text, 4096);
    return probe;
}

static void probe_wait(struct probe *probe)
{
    http_set_data(probe->request, probe);
    member_read_start(probe->http->member, &probe->read);
}

/* The client went away while the read point was being found. */
void http_on_cancel(struct http *http, struct http_request *request)
{
    struct probe *probe = http_data(request);

    if (!http->no_gateway && gateway_owns(http_path(request))) {
        gateway_on_cancel(request);
        return;
    }
    if (probe == NULL)
        return;
    member_read_cancel(http->member, &probe->read);
    probe_free(probe);
}

static const char *error_text(int code)
{
    return status_line(status_of_error(code))->text;
}

/* ---- /health ---- */

static void health_ok(struct http *http, struct http_request *request)
{
    if (http->metrics != NULL)
        http->metrics->health_success++;
    http_reply(request, 200, TEXT, slice_str("{\"health\":\"true\",\"reason\":\"\"}"));
}

static void health_failed(struct http *http, struct http_request *request, const char *reason,
                          const char *detail)
{
    struct buf body;

    if (http->metrics != NULL)
        http->metrics->health_failures++;
    buf_init(&body, 4096);
    (void)buf_printf(&body, "{\"health\":\"false\",\"reason\":\"%s%s\"}", reason, detail);
    reply_error(request, 503, buf_slice(&body));
    buf_release(&body);
}

static void on_health_read(struct member_read *read, int status)
{
    struct probe *probe = CONTAINER_OF(read, struct probe, read);

    if (status == 0)
        health_ok(probe->http, probe->request);
    else
        health_failed(probe->http, probe->request, "RANGE ERROR:", error_text(status));
    probe_free(probe);
}

static void serve_health(struct http *http, struct http_request *request)
{
    bool serializable = query_has(request, "serializable", "true");
    struct member_info info;

    member_info(http->member, &info);
    if (info.alarm_nospace && !query_has(request, "exclude", "NOSPACE"))
        health_failed(http, request, "ALARM NOSPACE", "");
    else if (info.alarm_corrupt && !query_has(request, "exclude", "CORRUPT"))
        health_failed(http, request, "ALARM CORRUPT", "");
    else if (!serializable && info.raft.leader == 0)
        health_failed(http, request, "RAFT NO LEADER", "");
    else if (serializable)
        health_ok(http, request); /* our own keyspace can always be read */
    else
        probe_wait(probe_start(http, request, on_health_read));
}

/* ---- /livez, /readyz ---- */

static void record_check(struct probe *probe, enum metrics_check_name name, const char *failure)
{
    struct metrics *metrics = probe->http->metrics;

    if (metrics != NULL) {
        metrics->checks[name].ok = failure == NULL;
        metrics->checks[name].success += failure == NULL;
        metrics->checks[name].error += failure != NULL;
    }
    if (failure == NULL) {
        (void)buf_printf(&probe->text, "[+]%s ok\n", metrics_check_text(name));
    } else {
        probe->failed = true;
        (void)buf_printf(&probe->text, "[-]%s failed: %s\n", metrics_check_text(name), failure);
    }
}

static void finish_checks(struct probe *probe)
{
    if (probe->failed) {
        reply_error(probe->request, 503, buf_slice(&probe->text));
    } else {
        if (!probe->verbose)
            buf_reset(&probe->text);
        (void)buf_append(&probe->text, "ok\n", 3);
        http_add_header(probe->request, "X-Content-Type-Options", "nosniff");
        http_reply(probe->request, 200, TEXT, buf_slice(&probe->text));
    }
    probe_free(probe);
}

static void on_check_read(struct member_read *read, int status)
{
    struct probe *probe = CONTAINER_OF(read, struct probe, read);

    record_check(probe, METRICS_READYZ_LINEARIZABLE_READ, status == 0 ? NULL : error_text(status));
    finish_checks(probe);
}

static const char *failure_of(enum metrics_check_name name, const struct member_info *info)
{
    switch (name) {
    case METRICS_READYZ_NON_LEARNER:
        return info->is_learner ? "not supported for learner" : NULL;
    case METRICS_READYZ_DATA_CORRUPTION:
        return info->alarm_corrupt ? "alarm activated: CORRUPT" : NULL;
    case METRICS_LIVEZ_SERIALIZABLE_READ:
    case METRICS_READYZ_SERIALIZABLE_READ:
        return NULL; /* our own keyspace can always be read: to answer at all is the proof */
    case METRICS_READYZ_LINEARIZABLE_READ: /* takes a round through the cluster */
    case METRICS_CHECK_COUNT:
        break;
    }
    ASSERT(false);
}

/* type is "livez" or "readyz"; single the name of one check, or NULL for all but the excluded. */
static void serve_checks(struct http *http, struct http_request *request, const char *type,
                         const char *single)
{
    struct probe *probe = probe_start(http, request, on_check_read);
    struct member_info info;
    bool linearizable = false;

    member_info(http->member, &info);
    probe->verbose = query_has(request, "verbose", NULL);
    for (enum metrics_check_name name = 0; name < METRICS_CHECK_COUNT; name++) {
        const char *text = metrics_check_text(name);

        if (strcmp(metrics_check_type(name), type) != 0 ||
            (single != NULL ? strcmp(single, text) != 0 : query_has(request, "exclude", text)))
            continue;
        if (name == METRICS_READYZ_LINEARIZABLE_READ)
            linearizable = true;
        else
            record_check(probe, name, failure_of(name, &info));
    }
    if (linearizable)
        probe_wait(probe);
    else
        finish_checks(probe);
}

static void serve_livez(struct http *http, struct http_request *request)
{
    serve_checks(http, request, "livez", NULL);
}

static void serve_readyz(struct http *http, struct http_request *request)
{
    serve_checks(http, request, "readyz", NULL);
}

/* ---- the rest ---- */

static void serve_version(struct http *http, struct http_request *request)
{
    (void)http;
    http_reply(
        request, 200, "application/json",
        slice_str("{\"etcdserver\":\"" ETCD_API_VERSION "\",\"etcdcluster\":\"" ETCD_CLUSTER_VERSION
                  "\",\"storage\":\"" ETCD_CLUSTER_VERSION "\",\"kvd\":\"" KVD_VERSION "\"}"));
}

static void not_found(struct http_request *request)
{
    reply_error(request, 404, slice_str("404 page not found"));
}

static void serve_metrics(struct http *http, struct http_request *request)
{
    struct buf text;

    if (http->metrics == NULL) {
        not_found(request);
        return;
    }
    buf_init(&text, METRICS_TEXT_MAX);
    http->metrics->scrapes++;
    metrics_print(http->metrics, http->member, &text);
    http_reply(request, 200, "text/plain; version=0.0.4; charset=utf-8", buf_slice(&text));
    buf_release(&text);
}

static bool wants_html(const struct http_request *request)
{
    struct slice accept = http_header(request, "accept");

    return accept.len != 0 && memmem(accept.data, accept.len, "text/html", 9) != NULL;
}

static void serve_status(struct http *http, struct http_request *request)
{
    page_reply_status(http->member, request);
}

/* A browser gets the status page, curl and its like a few lines of text. */
static void serve_root(struct http *http, struct http_request *request)
{
    (void)http;
    if (wants_html(request)) {
        http_reply(request, 200, "text/html; charset=utf-8", page_html());
        return;
    }
    http_reply(
        request, 200, TEXT,
        slice_str("kvd " KVD_VERSION ", a key-value store that speaks etcd's API "
                  "(etcd " ETCD_API_VERSION ", gRPC on this port)\n\n"
                  "/health   is this member healthy, and can the cluster be read through it\n"
                  "/livez    does this process work (?verbose, /livez/CHECK)\n"
                  "/readyz   should this member get traffic (?verbose, /readyz/CHECK)\n"
                  "/version  versions as JSON\n"
                  "/metrics  for Prometheus\n"
                  "/v3/...  the API as JSON, for those without gRPC\n"
                  "/kvd/status  this member's view of the cluster, as JSON\n"
                  "A browser gets a status page here.\n"));
}

static const struct route {
    const char *path;
    void (*serve)(struct http *http, struct http_request *request);
} routes[] = {
    {"/", serve_root},
    {"/health", serve_health},
    {"/livez", serve_livez},
    {"/readyz", serve_readyz},
    {"/version", serve_version},
    {"/metrics", serve_metrics},
    {"/kvd/status", serve_status},
};

static bool only_get(struct http_request *request)
{
    if (strcmp(http_method(request), "GET") == 0)
        return true;
    http_add_header(request, "Allow", "GET");
    reply_error(request, 405, slice_str("Method Not Allowed"));
    return false;
}

/* /readyz/linearizable_read and its like. */
static bool serve_single_check(struct http *http, struct http_request *request, const char *path)
{
    for (enum metrics_check_name name = 0; name < METRICS_CHECK_COUNT; name++) {
        const char *type = metrics_check_type(name);
        const char *text = metrics_check_text(name);
        size_t len = strlen(type);

        if (strncmp(path + 1, type, len) == 0 && path[1 + len] == '/' &&
            strcmp(path + 1 + len + 1, text) == 0) {
            if (only_get(request))
                serve_checks(http, request, type, text);
            return true;
        }
    }
    return false;
}

void http_on_request(struct http *http, struct http_request *request)
{
    const char *path = http_path(request);

    if (strcmp(http_method(request), "OPTIONS") == 0) {
        http_reply(request, 200, TEXT, slice_of(NULL, 0));
        return;
    }
    if (!http_is_tls(request) && !access_allows_host(&http->access, http_header(request, "host"))) {
        reply_error(request, 421, slice_str("this Host is not in --host-whitelist"));
        return;
    }
    if (!http->no_gateway && gateway_owns(path)) {
        gateway_on_request(request);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (strcmp(path, routes[i].path) == 0) {
            if (only_get(request))
                routes[i].serve(http, request);
            return;
        }
    }
    if (path[0] == '/' && serve_single_check(http, request, path))
        return;
    not_found(request);
}
