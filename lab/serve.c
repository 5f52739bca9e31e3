/* The lab's HTTP port, on loopback only: the page, the state as JSON, a stream of what happens, and
 * a door for commands. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "lab/internal.h"

enum { STREAM_QUEUED_MAX = 32 << 20 };

static const char JSON[] = "application/json", TEXT[] = "text/plain; charset=utf-8";
static const char HTML[] = "text/html; charset=utf-8";

static void reply_json(struct http_request *request, int status, struct json_object *object)
{
    size_t len;
    const char *text = json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN, &len);

    http_reply(request, status, JSON, slice_of(text, len));
    (void)json_object_put(object); /* frees the whole tree */
}

static void reply_error(struct http_request *request, int status, const char *text)
{
    struct json_object *object = json_object_new_object();

    (void)json_object_object_add(object, "error", json_object_new_string(text));
    reply_json(request, status, object);
}

/* ---- who may ask ---- */

/* Pages of elsewhere must not break our cluster through somebody's browser: their Origin is another
 * one, and a name of theirs that points here (DNS rebinding) is another Host. */
static bool is_welcome(const struct lab *lab, const struct http_request *request)
{
    struct slice host = http_header(request, "host"), origin = http_header(request, "origin");
    uint16_t port = net_server_port(lab->server, 0);
    char names[2][40], origins[2][100];
    bool known_host = false, known_origin = origin.data == NULL;

    (void)snprintf(names[0], sizeof names[0], "127.0.0.1:%u", port);
    (void)snprintf(names[1], sizeof names[1], "localhost:%u", port);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(origins[i], sizeof origins[i], "http://%s", names[i]);
        known_host = known_host || slice_eq(host, slice_str(names[i]));
        known_origin = known_origin || slice_eq(origin, slice_str(origins[i]));
    }
    return known_host && known_origin;
}

/* ---- streams ---- */

static void send_event(struct http_request *request, const char *name, struct json_object *object)
{
    const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
    char *chunk = xasprintf("event: %s\ndata: %s\n\n", name, text);

    http_reply_chunk(request, slice_str(chunk));
    free(chunk);
}

static void send_to_all(struct lab *lab, const char *name, struct json_object *object)
{
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        struct http_request *request = lab->streams[i];

        if (request == NULL)
            continue;
        if (http_reply_queued(request) > STREAM_QUEUED_MAX)
            http_reply_abort(request); /* it reads nothing: let it come again */
        else
            send_event(request, name, object);
    }
}

static bool anybody_looks(const struct lab *lab)
{
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        if (lab->streams[i] != NULL)
            return true;
    }
    return false;
}

static void open_stream(struct lab *lab, struct http_request *request)
{
    struct json_object *state;

    for (size_t i = 0; i < STREAMS_MAX; i++) {
        if (lab->streams[i] != NULL)
            continue;
        lab->streams[i] = request;
        http_add_header(request, "Cache-Control", "no-store");
        http_reply_begin(request, 200, "text/event-stream");
        state = lab__state_json(lab, true);
        send_event(request, "history", state);
        (void)json_object_put(state);
        return;
    }
    reply_error(request, 503, "too many pages look on already");
}

void lab__serve_event(struct lab *lab, const struct lab_event *event)
{
    struct json_object *object;

    if (lab->server == NULL || !anybody_looks(lab))
        return;
    object = lab__event_json(event);
    send_to_all(lab, "line", object);
    (void)json_object_put(object);
}

void lab__serve_state(struct lab *lab, const struct lab_sample *sample)
{
    struct json_object *state;

    if (lab->server == NULL || !anybody_looks(lab))
        return;
    state = lab__state_json(lab, false);
    (void)json_object_object_add(state, "sample", lab__sample_json(lab, sample));
    send_to_all(lab, "state", state);
    (void)json_object_put(state);
}

/* ---- commands ---- */

static void reply_done(struct http_request *request, const struct lab_command *command, bool waits)
{
    struct json_object *object = json_object_new_object();

    (void)json_object_object_add(object, "did", json_object_new_string(command->text));
    (void)json_object_object_add(object, "queued", json_object_new_boolean(waits));
    reply_json(request, 200, object);
}

/* What takes no time is done at once, even while a script waits for something. */
static void do_command(struct lab *lab, struct http_request *request)
{
    struct lab_command command;
    struct err err = ERR_INIT;
    int rc = lab_command_parse(http_body(request), &command, &err);
    bool waits;

    if (rc == 0 && command.verb == LAB_NOTHING)
        rc = err_set(&err, KV_EINVAL, "the body is a command, such as kill leader");
    if (rc == 0 && !lab->ready)
        rc = err_set(&err, KV_EBUSY, "the members are still starting");
    if (rc != 0) {
        reply_error(request, 400, err.text);
        return;
    }
    waits = lab_command_waits(&command);
    rc = waits ? lab__run_command(lab, &command, &err) : lab__do(lab, &command, &err);
    if (rc == 0) {
        reply_done(request, &command, waits);
        return;
    }
    lab__say(lab, LAB_WRONG, 0, 0, "%s: %.200s", command.text, err.text);
    reply_error(request, 409, err.text);
}

/* ---- requests ---- */

static void reply_report(struct lab *lab, struct http_request *request)
{
    struct err err = ERR_INIT;
    struct buf text;

    if (lab__report_make(lab, &text, &err) != 0) {
        reply_error(request, 500, err.text);
        return;
    }
    http_add_header(request, "Content-Disposition", "attachment; filename=\"kvd-lab.html\"");
    http_reply(request, 200, HTML, buf_slice(&text));
    buf_release(&text);
}

static void on_http(void *ctx, struct http_request *request)
{
    struct lab *lab = ctx;
    const char *path = http_path(request), *method = http_method(request);
    bool get = strcmp(method, "GET") == 0;

    if (!is_welcome(lab, request))
        reply_error(request, 403, "this lab answers pages of its own only");
    else if (get && strcmp(path, "/") == 0)
        http_reply(request, 200, HTML, lab__page());
    else if (get && strcmp(path, "/report") == 0)
        reply_report(lab, request);
    else if (get && strcmp(path, "/state") == 0)
        reply_json(request, 200, lab__state_json(lab, true));
    else if (get && strcmp(path, "/events") == 0)
        open_stream(lab, request);
    else if (strcmp(path, "/do") == 0 && strcmp(method, "POST") == 0)
        do_command(lab, request);
    else if (strcmp(path, "/do") == 0)
        reply_error(request, 405, "POST a command, such as kill leader");
    else
        http_reply(request, 404, TEXT,
                   slice_str("there are /, /state, /events, /report and POST /do\n"));
}

static void on_http_cancel(void *ctx, struct http_request *request)
{
    struct lab *lab = ctx;

    for (size_t i = 0; i < STREAMS_MAX; i++) {
        if (lab->streams[i] == request)
            lab->streams[i] = NULL;
    }
}

static void on_flush(uv_prepare_t *prepare)
{
    struct lab *lab = prepare->data;

    if (lab->server != NULL)
        net_server_flush(lab->server);
}

int lab__serve(struct lab *lab, struct err *err)
{
    struct net_server_options options = {.loop = &lab->loop,
                                         .ctx = lab,
                                         .on_http = on_http,
                                         .on_http_cancel = on_http_cancel,
                                         .http_body_size_max = 4096,
                                         .connections_max = 256,
                                         .no_grpc = true};
    struct net_addr addr = {.host = "127.0.0.1", .port = lab->options.port};
    int rc = net_server_new(&options, &lab->server, err);

    if (rc != 0)
        return rc;
    (void)uv_prepare_init(&lab->loop, &lab->flush); /* these two cannot fail */
    lab->flush.data = lab;
    (void)uv_prepare_start(&lab->flush, on_flush);
    rc = net_server_listen(lab->server, &addr, NULL, err);
    if (rc == 0)
        lab__say(lab, LAB_SAYS, 0, 0, "page: http://127.0.0.1:%u/",
                 net_server_port(lab->server, 0));
    else
        err_prefix(err, "the page's port (--port names another, 0 takes any)");
    return rc;
}

void lab__serve_close(struct lab *lab)
{
    if (lab->server == NULL)
        return;
    uv_close((uv_handle_t *)&lab->flush, NULL);
    net_server_close(lab->server, NULL, NULL);
    lab->server = NULL;
}
