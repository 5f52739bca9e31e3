/* A stream to the cluster that comes back: on another connection, to another endpoint if need be.
 * What was under way on it is its owner's to say again. Also the few alarms that streams need. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/internal.h"

void kv__stream_open(struct kv_client *client, struct kv__stream *stream,
                     const struct kv__stream_kind *kind)
{
    uv_update_time(client->loop); /* the caller may have been away from the loop for long */
    *stream = (struct kv__stream){.client = client, .kind = kind};
    stream->give_up_at_ms = kv__now(client) + client->options.dial_timeout_ms;
    list_push_back(&client->streams_waiting, &stream->link);
    kv__wake_at(client, kv__now(client));
}

void kv__stream_close(struct kv__stream *stream)
{
    if (stream->client == NULL)
        return;
    if (stream->grpc != NULL)
        grpc_stream_cancel(stream->grpc);
    stream->grpc = NULL;
    list_remove(&stream->link);
    stream->client = NULL;
}

static void end(struct kv__stream *stream, const struct err *err)
{
    stream->grpc = NULL;
    kv__stream_close(stream);
    stream->kind->on_end(stream, err); /* last: stream may be gone after it */
}

void kv__stream_send(struct kv__stream *stream, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes;

    if (stream->grpc == NULL)
        return;
    bytes = xmalloc(len);
    (void)protobuf_c_message_pack(message, bytes);
    /* If it fails the connection is down, and on_done() is on its way. */
    (void)grpc_stream_send(stream->grpc, slice_of(bytes, len), 0);
    free(bytes);
}

void kv__stream_half_close(struct kv__stream *stream)
{
    if (stream->grpc != NULL)
        grpc_stream_half_close(stream->grpc);
}

static void on_message(void *ctx, struct slice message)
{
    struct kv__stream *stream = ctx;

    stream->failures = 0;
    stream->leaderless = 0;
    stream->client->endpoints[stream->endpoint].failures = 0;
    stream->kind->on_message(stream, message);
}

/* As etcd's clients: only these can be cured by another try. A server that stops may also end the
 * stream in good order. */
static bool curable(const struct kv__stream *stream, enum grpc_status status, enum grpc_sent sent)
{
    if (stream->kind->once)
        return status == GRPC_UNAVAILABLE && sent == GRPC_NOT_SENT;
    return status == GRPC_UNAVAILABLE || status == GRPC_INTERNAL || status == GRPC_OK;
}

static bool out_of_leaders(struct kv__stream *stream, int code)
{
    if (code != KV_ENOLEADER || !stream->kind->require_leader)
        return false;
    stream->leaderless++;
    return stream->leaderless >= stream->client->endpoints_len;
}

static void come_back(struct kv__stream *stream, enum grpc_status status, enum grpc_sent sent)
{
    struct kv_client *client = stream->client;
    uint64_t now = kv__now(client);
    uint64_t pause = kv__backoff(client, stream->failures);

    /* A connection that broke goes down by itself, right now; a server that speaks is avoided. */
    if (status == GRPC_UNAVAILABLE && sent == GRPC_MAYBE_SENT)
        kv__endpoint_avoid(&client->endpoints[stream->endpoint]);
    stream->retry_at_ms = stream->failures == 0 ? now : now + pause;
    stream->failures++;
    stream->grpc = NULL;
    list_remove(&stream->link);
    list_push_back(&client->streams_waiting, &stream->link);
    kv__wake_at(client, stream->retry_at_ms);
    stream->kind->on_down(stream);
}

/* Ours name the endpoint already. */
static bool names_its_source(const struct kv__stream *stream, const char *text)
{
    const char *endpoint = stream->client->endpoints[stream->endpoint].text;

    return strncmp(text, "etcdserver: ", 12) == 0 || strncmp(text, endpoint, strlen(endpoint)) == 0;
}

static void on_done(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent)
{
    struct kv__stream *stream = ctx;
    const char *text = message != NULL ? message : "";
    int code = kv__code_of(status, text);
    struct err err = ERR_INIT;

    if (kv__auth_refused(stream->client, text, stream->login)) {
        come_back(stream, GRPC_OK, sent);
        return;
    }
    if (curable(stream, status, sent) && !out_of_leaders(stream, code)) {
        come_back(stream, status, sent);
        return;
    }
    if (status == GRPC_OK)
        ; /* of those that run once */
    else if (names_its_source(stream, text))
        (void)err_set(&err, code, "%s", text);
    else
        (void)err_set(&err, code, "%s: %s", stream->client->endpoints[stream->endpoint].text, text);
    end(stream, &err);
}

void kv__stream_renew(struct kv__stream *stream)
{
    grpc_stream_cancel(stream->grpc);
    come_back(stream, GRPC_OK, GRPC_MAYBE_SENT);
}

static bool open_on(struct kv__stream *stream, size_t endpoint)
{
    static const struct grpc_stream_events events = {.on_message = on_message, .on_done = on_done};
    struct grpc_metadata fields[2] = {{"hasleader", "true"}};
    struct kv_client *client = stream->client;
    struct kv__endpoint *to = &client->endpoints[endpoint];
    size_t count = stream->kind->require_leader ? 1 : 0;

    count += kv__auth_metadata(client, &fields[count]);
    if (grpc_conn_call(to->conn->grpc, stream->kind->path, fields, count, 0, &events, stream,
                       &stream->grpc, NULL) != 0) {
        kv__endpoint_retire(to);
        return false;
    }
    stream->endpoint = endpoint;
    stream->login = client->auth.generation;
    stream->give_up_at_ms = UINT64_MAX;
    list_remove(&stream->link);
    list_push_back(&client->streams_running, &stream->link);
    stream->kind->on_open(stream);
    return true;
}

bool kv__streams_open(struct kv_client *client)
{
    uint64_t now = kv__now(client);
    bool lacking = false;

    if (client->auth.state != KV__AUTH_DONE)
        return false; /* the end of the login wakes the client */
    LIST_EACH_SAFE (node, &client->streams_waiting) {
        struct kv__stream *stream = LIST_ENTRY(node, struct kv__stream, link);
        size_t endpoint;

        if (stream->retry_at_ms > now)
            continue;
        endpoint = kv__endpoint_pick(client);
        if (endpoint == client->endpoints_len || !open_on(stream, endpoint))
            lacking = true;
    }
    return lacking;
}

uint64_t kv__streams_next_event(const struct kv_client *client)
{
    uint64_t now = kv__now(client), next = UINT64_MAX;

    LIST_EACH (node, &client->streams_waiting) {
        const struct kv__stream *stream = LIST_ENTRY(node, struct kv__stream, link);

        next = MIN(next, stream->give_up_at_ms);
        if (stream->retry_at_ms > now)
            next = MIN(next, stream->retry_at_ms);
    }
    LIST_EACH (node, &client->alarms) {
        next = MIN(next, LIST_ENTRY(node, struct kv__alarm, link)->at_ms);
    }
    return next;
}

static void ring_alarms(struct kv_client *client, uint64_t now)
{
    struct list due;

    list_init(&due);
    LIST_EACH_SAFE (node, &client->alarms) {
        if (LIST_ENTRY(node, struct kv__alarm, link)->at_ms > now)
            continue;
        list_remove(node);
        list_push_back(&due, node);
    }
    /* A callback may cancel others in this list: always take the first. */
    while (!list_empty(&due)) {
        struct kv__alarm *alarm = LIST_FIRST(&due, struct kv__alarm, link);

        list_remove(&alarm->link);
        alarm->cb(alarm);
    }
}

static void give_up(struct kv_client *client, uint64_t now)
{
    struct err err = ERR_INIT;
    struct list late;

    list_init(&late);
    LIST_EACH_SAFE (node, &client->streams_waiting) {
        if (LIST_ENTRY(node, struct kv__stream, link)->give_up_at_ms > now)
            continue;
        list_remove(node);
        list_push_back(&late, node);
    }
    if (!list_empty(&late))
        kv__endpoint_explain(client, &err);
    while (!list_empty(&late))
        end(LIST_FIRST(&late, struct kv__stream, link), &err);
}

void kv__streams_fail(struct kv_client *client, const struct err *err)
{
    struct list failed;

    list_init(&failed);
    list_splice(&failed, &client->streams_waiting);
    while (!list_empty(&failed))
        end(LIST_FIRST(&failed, struct kv__stream, link), err);
}

void kv__streams_ring(struct kv_client *client)
{
    uint64_t now = kv__now(client);

    give_up(client, now);
    ring_alarms(client, now);
}

void kv__alarm_set(struct kv_client *client, struct kv__alarm *alarm, uint64_t at_ms,
                   void (*cb)(struct kv__alarm *alarm))
{
    kv__alarm_cancel(alarm);
    alarm->at_ms = at_ms;
    alarm->cb = cb;
    if (at_ms == UINT64_MAX)
        return;
    list_push_back(&client->alarms, &alarm->link);
    kv__wake_at(client, at_ms);
}

void kv__alarm_cancel(struct kv__alarm *alarm)
{
    if (alarm->link.next != NULL)
        list_remove(&alarm->link);
    list_init(&alarm->link);
}
