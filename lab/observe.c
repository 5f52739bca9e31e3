#include "lab/observe.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum { PATIENCE_MS = 500, ANSWER_MAX = 256 << 10 };

void lab_observer_init(struct lab_observer *observer, uv_loop_t *loop, uint16_t port,
                       lab_observer_cb on_view, void *ctx)
{
    *observer = (struct lab_observer){.loop = loop, .port = port, .on_view = on_view, .ctx = ctx};
    buf_init(&observer->got, ANSWER_MAX);
}

static void drop(struct lab_observer *observer)
{
    if (observer->sock != NULL)
        net_sock_close(observer->sock, NULL, NULL);
    observer->sock = NULL;
    observer->asked = false;
    buf_reset(&observer->got);
}

/* ---- the answer ---- */

static uint64_t number(struct json_object *status, const char *name)
{
    struct json_object *value;

    return json_object_object_get_ex(status, name, &value) ? (uint64_t)json_object_get_int64(value)
                                                           : 0;
}

static const char *text(struct json_object *status, const char *name)
{
    struct json_object *value;

    return json_object_object_get_ex(status, name, &value) ? json_object_get_string(value) : "";
}

static enum lab_role role_of(const char *name)
{
    if (strcmp(name, "leader") == 0)
        return LAB_LEADER;
    return strcmp(name, "candidate") == 0 ? LAB_CANDIDATE : LAB_FOLLOWER;
}

static void read_view(struct lab_observer *observer, struct json_object *status)
{
    observer->view = (struct lab_view){
        .known = true,
        .answered_ms = uv_now(observer->loop),
        .role = role_of(text(status, "role")),
        .id = strtoull(text(status, "member_id"), NULL, 16),
        .leader = strtoull(text(status, "leader"), NULL, 16),
        .term = number(status, "term"),
        .last_index = number(status, "last_index"),
        .stored_index = number(status, "stored_index"),
        .commit_index = number(status, "commit_index"),
        .applied_index = number(status, "applied_index"),
        .revision = (int64_t)number(status, "revision"),
        .nospace = number(status, "alarm_nospace") != 0,
    };
}

/* Where the body begins, and the whole answer's length; false: not all of it is here. */
static bool find_body(const struct buf *got, size_t *at, size_t *len)
{
    static const char NAME[] = "content-length:";
    const char *head = (const char *)got->data;
    const char *end = memmem(got->data, got->len, "\r\n\r\n", 4);
    size_t left;

    if (end == NULL)
        return false;
    for (const char *line = head; line < end; line = (const char *)memchr(line, '\n', left) + 1) {
        left = (size_t)(end + 2 - line);
        if (left <= sizeof NAME || strncasecmp(line, NAME, sizeof NAME - 1) != 0)
            continue;
        *at = (size_t)(end - head) + 4;
        *len = strtoul(line + sizeof NAME - 1, NULL, 10);
        return got->len >= *at + *len;
    }
    return false;
}

static void on_read(void *ctx, struct slice bytes)
{
    struct lab_observer *observer = ctx;
    struct json_object *status;
    struct json_tokener *tokener;
    size_t at, len;

    if (buf_append(&observer->got, bytes.data, bytes.len) != 0) {
        drop(observer);
        return;
    }
    if (!find_body(&observer->got, &at, &len))
        return;
    tokener = json_tokener_new();
    status = json_tokener_parse_ex(tokener, (const char *)observer->got.data + at, (int)len);
    json_tokener_free(tokener);
    observer->asked = false;
    buf_reset(&observer->got);
    if (status == NULL || !json_object_is_type(status, json_type_object)) {
        (void)json_object_put(status);
        drop(observer);
        return;
    }
    read_view(observer, status);
    (void)json_object_put(status);
    observer->on_view(observer);
}

static void on_end(void *ctx, int status)
{
    (void)status;
    drop(ctx);
}

static void on_connect(void *ctx, int status, const struct err *err)
{
    (void)err; /* it is not up yet, or any more: asked again at the next tick */
    if (status != 0)
        drop(ctx);
}

static void ask(struct lab_observer *observer)
{
    static const struct net_sock_events events = {
        .on_connect = on_connect, .on_read = on_read, .on_end = on_end};
    static const char REQUEST[] = "GET /kvd/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    struct net_addr addr = {.host = "127.0.0.1", .port = observer->port};

    if (observer->sock == NULL && net_sock_connect(observer->loop, &addr, NULL, &events, observer,
                                                   &observer->sock, NULL) != 0) {
        observer->sock = NULL;
        return;
    }
    observer->asked = true;
    observer->asked_ms = uv_now(observer->loop);
    (void)net_sock_write(observer->sock, slice_str(REQUEST)); /* broken: on_end follows */
}

void lab_observer_tick(struct lab_observer *observer)
{
    uint64_t now = uv_now(observer->loop);

    if (observer->view.known && now - observer->view.answered_ms > PATIENCE_MS)
        observer->view.known = false;
    if (observer->asked && now - observer->asked_ms > PATIENCE_MS)
        drop(observer);
    if (!observer->asked)
        ask(observer);
}

void lab_observer_forget(struct lab_observer *observer)
{
    drop(observer);
    observer->view.known = false;
}

void lab_observer_release(struct lab_observer *observer)
{
    drop(observer);
    buf_release(&observer->got);
}
