/* The client: its life, and the pump that brings waiting calls and endpoints together. */
#include <stdlib.h>

#include "base/mem.h"
#include "client/internal.h"

enum {
    DIAL_TIMEOUT_MS = 2000, /* etcdctl's defaults */
    CALL_TIMEOUT_MS = 5000,
    REQUEST_SIZE_MAX = 2 << 20,
};

uv_loop_t *kv_client_loop(const struct kv_client *client)
{
    return client->loop;
}

uint64_t kv__now(const struct kv_client *client)
{
    return uv_now(client->loop);
}

static void on_timer(uv_timer_t *timer)
{
    kv__pump(timer->data);
}

void kv__wake_at(struct kv_client *client, uint64_t at_ms)
{
    uint64_t now = kv__now(client);
    uint64_t delay = at_ms > now ? at_ms - now : 0;

    if (client->closing || at_ms == UINT64_MAX)
        return;
    if (uv_is_active((uv_handle_t *)&client->timer) && uv_timer_get_due_in(&client->timer) <= delay)
        return;
    (void)uv_timer_start(&client->timer, on_timer, delay, 0); /* cannot fail: not closing */
}

/* Everything is closed: the calls learn it, then the owner. */
static void finish_close(struct kv_client *client)
{
    void (*cb)(void *ctx) = client->close_cb;
    void *ctx = client->close_ctx;
    size_t i;

    while (!list_empty(&client->running))
        kv__call_give_up(LIST_FIRST(&client->running, struct kv_call, link), KV_ECANCELED);
    while (!list_empty(&client->waiting))
        kv__call_give_up(LIST_FIRST(&client->waiting, struct kv_call, link), KV_ECANCELED);
    for (i = 0; i < client->endpoints_len; i++)
        free(client->endpoints[i].text);
    net_tls_unref(client->tls);
    kv__auth_release(client);
    free(client->endpoints);
    if (client->loop != &client->own_loop)
        free(client);
    if (cb != NULL)
        cb(ctx);
}

static void give_up_late(struct kv_client *client)
{
    uint64_t now = kv__now(client);
    struct list late;

    list_init(&late);
    LIST_EACH_SAFE (node, &client->waiting) {
        struct kv_call *call = LIST_ENTRY(node, struct kv_call, link);

        if (kv__call_wait_until(call) > now)
            continue;
        list_remove(node);
        list_push_back(&late, node);
    }
    /* Callbacks may cancel calls that are in this list: always take the first. */
    while (!list_empty(&late)) {
        struct kv_call *call = LIST_FIRST(&late, struct kv_call, link);

        kv__call_give_up(call, call->deadline_ms <= now ? KV_ETIMEDOUT : KV_ECONN);
    }
}

/* Sends what can be sent; true if a call stays that only lacks a connection. */
static bool send_waiting(struct kv_client *client)
{
    uint64_t now = kv__now(client);
    bool ready = client->auth.state == KV__AUTH_DONE, lacking = false;

    LIST_EACH_SAFE (node, &client->waiting) {
        struct kv_call *call = LIST_ENTRY(node, struct kv_call, link);
        size_t endpoint;

        if (call->retry_at_ms > now || (!ready && (call->flags & KV__NO_LOGIN) == 0))
            continue;
        endpoint = kv__endpoint_pick(client);
        if (endpoint == client->endpoints_len || kv__call_send(call, endpoint) != 0)
            lacking = true;
    }
    return lacking;
}

/* A callback may cancel others in this list: always take the first. */
void kv__auth_failed(struct kv_client *client, const struct kv_result *why)
{
    struct list waiting;

    list_init(&waiting);
    list_splice(&waiting, &client->waiting);
    kv__streams_fail(client, &why->err);
    while (!list_empty(&waiting))
        kv__call_fail(LIST_FIRST(&waiting, struct kv_call, link), why);
}

void kv__pump(struct kv_client *client)
{
    uint64_t next = UINT64_MAX;
    bool lacking;

    if (client->closing) {
        if (client->handles == 0)
            finish_close(client);
        return;
    }
    if (!list_empty(&client->waiting) || !list_empty(&client->streams_waiting))
        (void)kv__auth_ready(client); /* a login that begins is sent with the others */
    lacking = send_waiting(client);
    lacking = kv__streams_open(client) || lacking;
    if (lacking) {
        kv__endpoint_connect_some(client);
        next = kv__endpoint_next_event(client);
    }
    next = MIN(next, kv__streams_next_event(client));
    LIST_EACH (node, &client->waiting) {
        const struct kv_call *call = LIST_ENTRY(node, struct kv_call, link);

        next = MIN(next, kv__call_wait_until(call));
        if (call->retry_at_ms > kv__now(client))
            next = MIN(next, call->retry_at_ms);
    }
    (void)uv_timer_stop(&client->timer);
    kv__wake_at(client, next);
    give_up_late(client);     /* last: the callbacks of these two may close the client, whose */
    kv__streams_ring(client); /* memory stays until its timer is closed, later */
}

static int open_tls(struct kv_client *client, const struct net_tls_options *given, struct err *err)
{
    struct net_tls_options options = {.alpn = NET_TLS_H2};

    if (client->tls != NULL)
        return 0;
    if (given != NULL)
        options = *given;
    options.alpn = NET_TLS_H2;
    return net_tls_new(&options, &client->tls, err);
}

static int add_endpoint(struct kv_client *client, const char *text,
                        const struct net_tls_options *tls, struct err *err)
{
    struct kv__endpoint *endpoint = &client->endpoints[client->endpoints_len];
    int rc;

    endpoint->client = client;
    rc = net_addr_parse(text, &endpoint->addr, err);
    if (rc != 0)
        return rc;
    /* As etcd's clients: whoever names no scheme and gives certificates means TLS. */
    if (tls != NULL && strstr(text, "://") == NULL)
        endpoint->addr.tls = true;
    if (endpoint->addr.tls) {
        rc = open_tls(client, tls, err);
        if (rc != 0)
            return rc;
    }
    endpoint->text = xstrdup(text);
    client->endpoints_len++;
    return 0;
}

static void set_defaults(struct kv_client *client)
{
    struct kv_options *options = &client->options;

    if (options->dial_timeout_ms == 0)
        options->dial_timeout_ms = DIAL_TIMEOUT_MS;
    if (options->call_timeout_ms == 0)
        options->call_timeout_ms = CALL_TIMEOUT_MS;
    if (options->request_size_max == 0)
        options->request_size_max = REQUEST_SIZE_MAX;
    options->endpoints = NULL; /* the caller's memory: not kept */
    options->endpoints_len = 0;
    options->tls = NULL;
}

int kv_client_open(uv_loop_t *loop, const struct kv_options *options, struct kv_client **out,
                   struct err *err)
{
    struct kv_client *client;
    size_t i;
    int rc = 0;

    if (options->endpoints_len == 0)
        return err_set(err, KV_EINVAL, "no endpoints given");

    client = xcalloc(1, sizeof *client);
    client->options = *options;
    set_defaults(client);
    kv__auth_init(client);
    list_init(&client->conns);
    list_init(&client->waiting);
    list_init(&client->running);
    list_init(&client->streams_waiting);
    list_init(&client->streams_running);
    list_init(&client->alarms);
    prng_seed(&client->prng, uv_hrtime() ^ (uintptr_t)client);
    client->endpoints = xcalloc(options->endpoints_len, sizeof *client->endpoints);
    for (i = 0; i < options->endpoints_len && rc == 0; i++)
        rc = add_endpoint(client, options->endpoints[i], options->tls, err);
    if (rc != 0)
        goto fail;

    client->loop = loop;
    if (loop == NULL) {
        client->loop = &client->own_loop;
        if (uv_loop_init(&client->own_loop) != 0) {
            rc = err_set(err, KV_EIO, "starting an event loop: out of file descriptors?");
            goto fail;
        }
    }
    (void)uv_timer_init(client->loop, &client->timer); /* cannot fail */
    client->timer.data = client;
    client->handles = 1;
    *out = client;
    return 0;
fail:
    for (i = 0; i < client->endpoints_len; i++)
        free(client->endpoints[i].text);
    free(client->endpoints);
    net_tls_unref(client->tls);
    kv__auth_release(client);
    free(client);
    return rc;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct kv_client *client = handle->data;

    client->handles--;
    kv__pump(client);
}

void kv_client_close(struct kv_client *client, void (*cb)(void *ctx), void *ctx)
{
    ASSERT(!client->closing);
    ASSERT(list_empty(&client->streams_waiting)); /* watchers and keep-alives end before */
    ASSERT(list_empty(&client->streams_running));
    ASSERT(list_empty(&client->alarms));
    client->closing = true;
    client->close_cb = cb;
    client->close_ctx = ctx;
    /* Closing a connection takes its streams with it and says nothing to them. */
    LIST_EACH (node, &client->running) {
        LIST_ENTRY(node, struct kv_call, link)->stream = NULL;
    }
    kv__conns_close(client);
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
}

void kv_client_free(struct kv_client *client)
{
    int rc;

    if (client == NULL)
        return;
    ASSERT(client->loop == &client->own_loop);
    kv_client_close(client, NULL, NULL);
    (void)uv_run(client->loop, UV_RUN_DEFAULT); /* ends when the last handle is closed */
    rc = uv_loop_close(client->loop);
    ASSERT(rc == 0);
    free(client);
}
