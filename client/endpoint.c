/* One endpoint: its connection, and when to try it again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/internal.h"

enum {
    BACKOFF_FIRST_MS = 25, /* as etcd's clients */
    BACKOFF_DOUBLINGS = 6,
    OVERTAKE_MS = 300, /* a connection not made by then gets company */
};

uint64_t kv__backoff(struct kv_client *client, unsigned failures)
{
    uint64_t ms = (uint64_t)BACKOFF_FIRST_MS << MIN(failures, (unsigned)BACKOFF_DOUBLINGS);

    return prng_between(&client->prng, ms - ms / 10, ms + ms / 10);
}

static void on_conn_closed(void *ctx)
{
    struct kv__conn *conn = ctx;
    struct kv_client *client = conn->endpoint->client;

    free(conn);
    client->handles--;
    if (client->closing)
        kv__pump(client);
}

static void close_conn(struct kv__conn *conn)
{
    list_remove(&conn->link);
    grpc_conn_close(conn->grpc, on_conn_closed, conn);
}

void kv__conns_close(struct kv_client *client)
{
    while (!list_empty(&client->conns))
        close_conn(LIST_FIRST(&client->conns, struct kv__conn, link));
}

static void on_ready(void *ctx)
{
    const struct kv__conn *conn = ctx;
    struct kv__endpoint *endpoint = conn->endpoint;

    endpoint->state = ENDPOINT_READY;
    endpoint->not_before_ms = 0;
    kv__pump(endpoint->client);
}

static void went_down(struct kv__endpoint *endpoint, const struct err *err)
{
    endpoint->state = ENDPOINT_DOWN;
    endpoint->conn = NULL;
    endpoint->err = *err;
    endpoint->not_before_ms =
        kv__now(endpoint->client) + kv__backoff(endpoint->client, endpoint->failures);
    endpoint->failures++;
}

static void on_down(void *ctx, const struct err *err)
{
    struct kv__conn *conn = ctx;
    struct kv__endpoint *endpoint = conn->endpoint;

    if (endpoint->conn == conn)
        went_down(endpoint, err);
    close_conn(conn);
    kv__pump(endpoint->client);
}

void kv__endpoint_retire(struct kv__endpoint *endpoint)
{
    endpoint->conn = NULL;
    endpoint->state = ENDPOINT_DOWN;
    endpoint->not_before_ms = 0;
    (void)err_set(&endpoint->err, KV_ECONN, "%s: the server is going away", endpoint->text);
}

static void connect_now(struct kv__endpoint *endpoint)
{
    static const struct grpc_conn_events events = {.on_ready = on_ready, .on_down = on_down};
    struct kv_client *client = endpoint->client;
    struct grpc_conn_options options = {
        .connect_timeout_ms = client->options.dial_timeout_ms,
        .message_size_max = client->options.response_size_max,
        .ping_interval_ms = client->options.keepalive_interval_ms,
        .ping_timeout_ms = client->options.keepalive_timeout_ms,
        .tls = client->tls,
    };
    struct kv__conn *conn = xcalloc(1, sizeof *conn);
    struct err err = ERR_INIT;
    int rc;

    rc = grpc_conn_new(client->loop, &endpoint->addr, &options, &events, conn, &conn->grpc, &err);
    if (rc != 0) {
        free(conn);
        went_down(endpoint, &err);
        return;
    }
    conn->endpoint = endpoint;
    list_push_back(&client->conns, &conn->link);
    endpoint->conn = conn;
    client->handles++;
    endpoint->state = ENDPOINT_CONNECTING;
    endpoint->since_ms = kv__now(client);
}

static bool can_connect(const struct kv__endpoint *endpoint, uint64_t now)
{
    return endpoint->state == ENDPOINT_IDLE ||
           (endpoint->state == ENDPOINT_DOWN && endpoint->not_before_ms <= now);
}

void kv__endpoint_connect_some(struct kv_client *client)
{
    uint64_t now = kv__now(client);
    size_t i;

    for (i = 0; i < client->endpoints_len; i++) {
        const struct kv__endpoint *endpoint = &client->endpoints[i];

        if (endpoint->state == ENDPOINT_CONNECTING && now < endpoint->since_ms + OVERTAKE_MS)
            return; /* give it its time */
    }
    for (i = 0; i < client->endpoints_len; i++) {
        struct kv__endpoint *endpoint =
            &client->endpoints[(client->current + i) % client->endpoints_len];

        if (!can_connect(endpoint, now))
            continue;
        connect_now(endpoint);
        if (endpoint->state == ENDPOINT_CONNECTING)
            return;
    }
}

size_t kv__endpoint_pick(struct kv_client *client)
{
    uint64_t now = kv__now(client);
    size_t i, at;

    for (i = 0; i < client->endpoints_len; i++) {
        at = (client->current + i) % client->endpoints_len;
        /* Taking turns needs them all; the others' calls do not wait for this connection. */
        if (client->options.balance == KV_ROUND_ROBIN && can_connect(&client->endpoints[at], now))
            connect_now(&client->endpoints[at]);
        if (client->endpoints[at].state != ENDPOINT_READY ||
            client->endpoints[at].not_before_ms > now)
            continue;
        client->current = at;
        if (client->options.balance == KV_ROUND_ROBIN)
            client->current = (at + 1) % client->endpoints_len;
        return at;
    }
    return client->endpoints_len;
}

uint64_t kv__endpoint_next_event(const struct kv_client *client)
{
    uint64_t now = kv__now(client);
    uint64_t next = UINT64_MAX, at;
    size_t i;

    for (i = 0; i < client->endpoints_len; i++) {
        const struct kv__endpoint *endpoint = &client->endpoints[i];

        at = endpoint->state == ENDPOINT_CONNECTING ? endpoint->since_ms + OVERTAKE_MS
                                                    : endpoint->not_before_ms;
        if (at > now) /* what is past waits for another endpoint's event */
            next = MIN(next, at);
    }
    return next;
}

void kv__endpoint_avoid(struct kv__endpoint *endpoint)
{
    struct kv_client *client = endpoint->client;
    size_t at = (size_t)(endpoint - client->endpoints);

    if (endpoint->not_before_ms > kv__now(client))
        return; /* many calls failed together: that is one failure */
    endpoint->not_before_ms = kv__now(client) + kv__backoff(client, endpoint->failures);
    endpoint->failures++;
    if (client->current == at)
        client->current = (at + 1) % client->endpoints_len;
}

/* net/ names the address in its own texts ("cannot connect to 127.0.0.1:1: Connection refused");
 * once is enough. */
static int explain_one(const struct kv__endpoint *endpoint, char *text, size_t size)
{
    const char *why = endpoint->err.code != 0 ? endpoint->err.text : "no answer";
    char address[sizeof endpoint->addr.host + 16];
    const char *at;

    (void)snprintf(address, sizeof address, "%s:%u: ", endpoint->addr.host, endpoint->addr.port);
    at = strstr(why, address);
    if (at != NULL)
        why = at + strlen(address);
    return snprintf(text, size, "connecting to %s: %s; ", endpoint->text, why);
}

void kv__endpoint_explain(const struct kv_client *client, struct err *err)
{
    size_t used = 0, i;
    int len;

    for (i = 0; i < client->endpoints_len && used + 1 < sizeof err->text; i++) {
        len = explain_one(&client->endpoints[i], err->text + used, sizeof err->text - used);
        used += len > 0 ? (size_t)len : 0;
    }
    used = MIN(used, sizeof err->text - 1);
    if (used > 3 && err->text[used - 3] == '?')
        err->text[used - 2] = '\0'; /* one question is enough */
    else
        (void)snprintf(err->text + used, sizeof err->text - used, "is kvd running there?");
    err->code = KV_ECONN;
}
