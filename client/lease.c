/* Keeping a lease alive: renew at a third of its life, over again on another connection, until it
 * is gone. */
#include "client/internal.h"

static struct kv_keepalive *keepalive_of(struct kv__stream *stream)
{
    return CONTAINER_OF(stream, struct kv_keepalive, stream);
}

static void finish(struct kv_keepalive *keepalive,
                   const Etcdserverpb__LeaseKeepAliveResponse *response, const struct err *err)
{
    kv_keepalive_stop(keepalive);
    keepalive->cb(keepalive, response, err); /* last: keepalive may be gone after it */
}

static void on_alarm(struct kv__alarm *alarm);

static void renew(struct kv_keepalive *keepalive)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;

    request.id = keepalive->lease;
    kv__stream_send(&keepalive->stream, &request.base);
    kv__alarm_set(keepalive->stream.client, &keepalive->alarm, keepalive->deadline_ms, on_alarm);
}

static void on_alarm(struct kv__alarm *alarm)
{
    struct kv_keepalive *keepalive = CONTAINER_OF(alarm, struct kv_keepalive, alarm);
    struct err err = ERR_INIT;

    if (kv__now(keepalive->stream.client) < keepalive->deadline_ms) {
        renew(keepalive);
        return;
    }
    (void)err_set(&err, KV_ELEASENOTFOUND,
                  "the lease ran out: no server could be reached to renew it");
    finish(keepalive, NULL, &err);
}

static void on_open(struct kv__stream *stream)
{
    renew(keepalive_of(stream));
}

/* The lease lives on without us for a while. */
static void on_down(struct kv__stream *stream)
{
    struct kv_keepalive *keepalive = keepalive_of(stream);

    kv__alarm_set(stream->client, &keepalive->alarm, keepalive->deadline_ms, on_alarm);
}

static void on_end(struct kv__stream *stream, const struct err *err)
{
    finish(keepalive_of(stream), NULL, err);
}

static void judge(struct kv_keepalive *keepalive,
                  const Etcdserverpb__LeaseKeepAliveResponse *response)
{
    struct kv_client *client = keepalive->stream.client;
    struct err err = ERR_INIT;
    uint64_t ttl_ms;

    if (response->ttl <= 0) {
        (void)err_set(&err, KV_ELEASENOTFOUND, "etcdserver: requested lease not found");
        finish(keepalive, response, &err);
        return;
    }
    ttl_ms = (uint64_t)response->ttl * 1000;
    keepalive->deadline_ms = kv__now(client) + ttl_ms;
    kv__alarm_set(client, &keepalive->alarm, kv__now(client) + ttl_ms / 3, on_alarm);
    keepalive->cb(keepalive, response, &err); /* last: it may stop us */
}

static void on_message(struct kv__stream *stream, struct slice message)
{
    struct kv_keepalive *keepalive = keepalive_of(stream);
    Etcdserverpb__LeaseKeepAliveResponse *response =
        etcdserverpb__lease_keep_alive_response__unpack(NULL, message.len, message.data);
    struct err err = ERR_INIT;

    if (response == NULL) {
        (void)err_set(&err, KV_EPROTO, "%s sent a keep-alive response that cannot be decoded",
                      stream->client->endpoints[stream->endpoint].text);
        finish(keepalive, NULL, &err);
        return;
    }
    judge(keepalive, response);
    etcdserverpb__lease_keep_alive_response__free_unpacked(response, NULL);
}

static const struct kv__stream_kind keepalive_kind = {
    .path = "/etcdserverpb.Lease/LeaseKeepAlive",
    .on_open = on_open,
    .on_message = on_message,
    .on_down = on_down,
    .on_end = on_end,
};

void kv_keepalive_start(struct kv_client *client, struct kv_keepalive *keepalive, int64_t lease,
                        kv_keepalive_cb cb)
{
    *keepalive = (struct kv_keepalive){.cb = cb, .lease = lease, .deadline_ms = UINT64_MAX};
    list_init(&keepalive->alarm.link);
    kv__stream_open(client, &keepalive->stream, &keepalive_kind);
}

void kv_keepalive_stop(struct kv_keepalive *keepalive)
{
    kv__alarm_cancel(&keepalive->alarm);
    kv__stream_close(&keepalive->stream);
}
