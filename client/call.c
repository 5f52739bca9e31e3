/* One call: encode, send, judge the answer, repeat what is safe, explain what failed. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/internal.h"

void kv_message_free(ProtobufCMessage *message)
{
    if (message != NULL)
        protobuf_c_message_free_unpacked(message, NULL);
}

ProtobufCMessage *kv_message_copy(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = xmalloc(len);
    ProtobufCMessage *copy;

    (void)protobuf_c_message_pack(message, bytes);
    copy = protobuf_c_message_unpack(message->descriptor, NULL, len, bytes);
    ASSERT(copy != NULL); /* packed a line above */
    free(bytes);
    return copy;
}

void kv_result_release(struct kv_result *result)
{
    kv_message_free(result->message);
    *result = (struct kv_result){.message = NULL};
}

static bool repeatable(const struct kv_call *call)
{
    return call->method->kind == KV_READ || (call->flags & KV_REPEATABLE) != 0;
}

static void forget(struct kv_call *call)
{
    list_remove(&call->link);
    free(call->request);
    call->request = NULL;
    call->stream = NULL;
}

static void finish(struct kv_call *call)
{
    if (call->result.err.code != 0) {
        kv_message_free(call->result.message);
        call->result.message = NULL;
    }
    forget(call);
    call->cb(call); /* last: call may be gone after it */
}

/* A call that never got a connection can still say why an earlier attempt failed. */
static void explain_timeout(struct kv_call *call)
{
    struct err *err = &call->result.err;

    call->result.status = GRPC_DEADLINE_EXCEEDED;
    if (call->result.attempts != 0) {
        if (err->code == 0)
            (void)err_set(err, KV_ETIMEDOUT, "%s did not answer", call->result.endpoint);
    } else {
        kv__endpoint_explain(call->client, err);
    }
    err_prefix(err, "context deadline exceeded");
    err->code = KV_ETIMEDOUT;
}

void kv__call_give_up(struct kv_call *call, int code)
{
    struct err *err = &call->result.err;

    if (code == KV_ETIMEDOUT) {
        explain_timeout(call);
    } else if (code == KV_ECONN) {
        call->result.status = GRPC_UNAVAILABLE;
        kv__endpoint_explain(call->client, err);
    } else {
        call->result.status = GRPC_CANCELLED;
        (void)err_set(err, code, "%s was canceled: the client was closed", call->method->name);
    }
    finish(call);
}

void kv__call_fail(struct kv_call *call, const struct kv_result *why)
{
    call->result.status = why->status;
    call->result.err = why->err;
    call->result.endpoint = why->endpoint;
    finish(call);
}

uint64_t kv__call_wait_until(const struct kv_call *call)
{
    uint64_t dial = MAX(call->waiting_since_ms, call->retry_at_ms);

    /* It is the login that waits for a connection, or has one. */
    if (call->client->auth.state == KV__AUTH_RUNNING && (call->flags & KV__NO_LOGIN) == 0)
        return call->deadline_ms;
    return MIN(call->deadline_ms, dial + call->client->options.dial_timeout_ms);
}

static void wait_again(struct kv_call *call, uint64_t retry_at_ms)
{
    struct kv_client *client = call->client;

    call->stream = NULL;
    call->waiting_since_ms = kv__now(client);
    call->retry_at_ms = retry_at_ms;
    list_remove(&call->link);
    list_push_back(&client->waiting, &call->link);
    kv__wake_at(client, retry_at_ms);
}

static void on_message(void *ctx, struct slice message)
{
    struct kv_call *call = ctx;
    ProtobufCMessage *part;

    part = protobuf_c_message_unpack(call->method->response, NULL, message.len, message.data);
    kv_message_free(call->result.message); /* a second one: on_done() sees only the last */
    call->result.message = part;
    if (part != NULL && call->on_part != NULL) {
        call->has_parts = true;
        call->on_part(call->part_ctx, part);
        kv_message_free(part);
        call->result.message = NULL;
    }
    if (part == NULL)
        (void)err_set(&call->result.err, KV_EPROTO,
                      "the answer of %s to %s cannot be decoded: is it an etcd v3 server?",
                      call->result.endpoint, call->method->name);
}

/* True if the call goes on: it failed in a way that may be repeated, and there is time. */
static bool try_again(struct kv_call *call, enum grpc_status status, enum grpc_sent sent)
{
    struct kv_client *client = call->client;
    struct kv__endpoint *endpoint = &client->endpoints[call->endpoint];
    uint64_t now = kv__now(client);
    uint64_t pause = kv__backoff(client, call->result.attempts - 1);

    if (status != GRPC_UNAVAILABLE || now >= call->deadline_ms || call->has_parts)
        return false;
    if (sent != GRPC_NOT_SENT && !repeatable(call))
        return false;
    /* With nothing sent only the connection is at fault: it goes down by itself, right now. A
     * server that refuses again and again gets its pause nevertheless. */
    if (sent == GRPC_NOT_SENT) {
        wait_again(call, call->result.attempts == 1 ? now : now + pause);
        return true;
    }
    if (now + pause >= call->deadline_ms)
        return false; /* the server's own words say more than a deadline that passed */
    kv__endpoint_avoid(endpoint);
    wait_again(call, client->endpoints_len > 1 ? now : now + pause);
    return true;
}

/* The server's own words as they are. Others (of a proxy, of this side's net/) say nothing without
 * the place where it happened. */
static void explain_status(struct kv_result *result, enum grpc_status status, const char *message)
{
    bool place = status == GRPC_UNAVAILABLE || status == GRPC_INTERNAL ||
                 status == GRPC_UNIMPLEMENTED || status == GRPC_UNKNOWN;

    if (strncmp(message, "etcdserver: ", 12) == 0 || strstr(message, result->endpoint) != NULL)
        place = false;
    (void)err_set(&result->err, kv__code_of(status, message), "%s%s%s",
                  place ? result->endpoint : "", place ? ": " : "", message);
}

static void judge(struct kv_call *call, enum grpc_status status, const char *message,
                  enum grpc_sent sent)
{
    struct kv_result *result = &call->result;
    bool late = kv__now(call->client) >= call->deadline_ms;

    result->status = status;
    if (status == GRPC_OK && result->err.code == KV_EPROTO) {
        result->status = GRPC_INTERNAL;
    } else if (status == GRPC_OK && result->message == NULL && !call->has_parts) {
        result->status = GRPC_INTERNAL;
        (void)err_set(&result->err, KV_EPROTO, "%s answered %s without a message", result->endpoint,
                      call->method->name);
    } else if (status == GRPC_OK) {
        result->err.code = 0;
    } else if (status == GRPC_DEADLINE_EXCEEDED && late) {
        (void)err_set(&result->err, KV_ETIMEDOUT,
                      "context deadline exceeded: %s did not answer %s in time", result->endpoint,
                      call->method->name);
    } else {
        explain_status(result, status, message);
    }
    /* These statuses do not tell whether the write was or will be carried out. */
    if (sent == GRPC_MAYBE_SENT && !repeatable(call) &&
        (status == GRPC_UNAVAILABLE || status == GRPC_DEADLINE_EXCEEDED ||
         status == GRPC_CANCELLED))
        result->err.code = KV_EUNKNOWN;
}

static void on_done(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent)
{
    struct kv_call *call = ctx;

    call->stream = NULL;
    if ((call->flags & KV__NO_LOGIN) == 0) {
        if (status == GRPC_OK) {
            call->client->auth.refusals = 0;
        } else if (message != NULL && kv__auth_refused(call->client, message, call->login)) {
            wait_again(call, kv__now(call->client));
            return;
        }
    }
    if (status != GRPC_UNAVAILABLE)
        call->client->endpoints[call->endpoint].failures = 0;
    judge(call, status, message != NULL ? message : "", sent);
    if (!try_again(call, status, sent))
        finish(call);
}

int kv__call_send(struct kv_call *call, size_t endpoint)
{
    static const struct grpc_stream_events events = {.on_message = on_message, .on_done = on_done};
    struct kv_client *client = call->client;
    struct kv__endpoint *to = &client->endpoints[endpoint];
    uint64_t now = kv__now(client);
    uint64_t left = call->deadline_ms > now ? call->deadline_ms - now : 1;
    struct grpc_metadata token;
    size_t count = (call->flags & KV__NO_LOGIN) != 0 ? 0 : kv__auth_metadata(client, &token);
    int rc;

    rc = grpc_conn_call(to->conn->grpc, call->method->path, &token, count, left, &events, call,
                        &call->stream, NULL);
    if (rc != 0) {
        kv__endpoint_retire(to);
        return KV_ECONN;
    }
    rc = grpc_stream_send(call->stream, slice_of(call->request, call->request_len), 1);
    if (rc != 0) {
        grpc_stream_cancel(call->stream);
        call->stream = NULL;
        return KV_ECONN;
    }
    call->endpoint = endpoint;
    call->login = client->auth.generation;
    call->result.endpoint = to->text;
    call->result.attempts++;
    call->result.err.code = 0;
    list_remove(&call->link);
    list_push_back(&client->running, &call->link);
    return 0;
}

static int encode(struct kv_call *call, const ProtobufCMessage *request, struct err *err)
{
    size_t len = protobuf_c_message_get_packed_size(request);
    size_t max = call->client->options.request_size_max;

    if (len > max)
        return err_set(err, KV_ETOOBIG, "trying to send message larger than max (%zu vs. %zu)", len,
                       max);
    call->request = xmalloc(len);
    call->request_len = protobuf_c_message_pack(request, call->request);
    return 0;
}

int kv_call_start(struct kv_client *client, struct kv_call *call, const struct kv_method *method,
                  const ProtobufCMessage *request, const struct kv_call_options *options,
                  kv_call_cb cb, struct err *err)
{
    uint64_t timeout = options != NULL ? options->timeout_ms : 0;
    size_t endpoint;
    int rc;

    ASSERT(request->descriptor == method->request);
    if (client->closing)
        return err_set(err, KV_ESTOPPED, "the client is closing");
    uv_update_time(client->loop); /* the caller may have been away from the loop for long */
    *call = (struct kv_call){.client = client, .method = method, .cb = cb};
    call->flags = options != NULL ? options->flags : 0;
    call->on_part = options != NULL ? options->on_part : NULL;
    call->part_ctx = options != NULL ? options->part_ctx : NULL;
    call->waiting_since_ms = kv__now(client);
    call->deadline_ms =
        kv__now(client) + (timeout != 0 ? timeout : client->options.call_timeout_ms);
    list_init(&call->link);
    rc = encode(call, request, err);
    if (rc != 0)
        return rc;

    list_push_back(&client->waiting, &call->link);
    if ((call->flags & KV__NO_LOGIN) == 0 && !kv__auth_ready(client))
        return 0;
    endpoint = kv__endpoint_pick(client);
    if (endpoint == client->endpoints_len || kv__call_send(call, endpoint) != 0)
        kv__wake_at(client, kv__now(client));
    return 0;
}

void kv_call_cancel(struct kv_call *call)
{
    if (call->client == NULL)
        return; /* zeroed: never begun */
    if (call->stream != NULL)
        grpc_stream_cancel(call->stream);
    forget(call);
    kv_result_release(&call->result);
}

/* ---- blocking ---- */

struct blocking {
    struct kv_call call;
    bool done;
};

static void on_blocking_done(struct kv_call *call)
{
    CONTAINER_OF(call, struct blocking, call)->done = true;
}

int kv_call(struct kv_client *client, const struct kv_method *method,
            const ProtobufCMessage *request, const struct kv_call_options *options,
            struct kv_result *result)
{
    struct blocking blocking = {.done = false};
    int rc;

    ASSERT(client->loop == &client->own_loop);
    *result = (struct kv_result){.message = NULL};
    rc = kv_call_start(client, &blocking.call, method, request, options, on_blocking_done,
                       &result->err);
    if (rc != 0) {
        result->status = rc == KV_ETOOBIG ? GRPC_RESOURCE_EXHAUSTED : GRPC_CANCELLED;
        return rc;
    }
    while (!blocking.done)
        (void)uv_run(client->loop, UV_RUN_ONCE);
    *result = blocking.call.result; /* the answer moves */
    return result->err.code;
}
