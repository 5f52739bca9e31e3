/* A server's state as a stream of pieces. */
#include "client/internal.h"

static struct kv_snapshot *snapshot_of(struct kv__stream *stream)
{
    return CONTAINER_OF(stream, struct kv_snapshot, stream);
}

static void on_open(struct kv__stream *stream)
{
    Etcdserverpb__SnapshotRequest request = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;

    kv__stream_send(stream, &request.base);
    kv__stream_half_close(stream);
}

static void on_message(struct kv__stream *stream, struct slice message)
{
    struct kv_snapshot *snapshot = snapshot_of(stream);
    Etcdserverpb__SnapshotResponse *piece =
        etcdserverpb__snapshot_response__unpack(NULL, message.len, message.data);
    struct err err = ERR_INIT;

    if (piece == NULL) {
        (void)err_set(&err, KV_EPROTO, "%s sent a snapshot response that cannot be decoded",
                      stream->client->endpoints[stream->endpoint].text);
        kv_snapshot_stop(snapshot);
    }
    snapshot->cb(snapshot, piece, &err); /* snapshot may be gone after it */
    if (piece != NULL)
        etcdserverpb__snapshot_response__free_unpacked(piece, NULL);
}

static void on_down(struct kv__stream *stream)
{
    (void)stream; /* nothing was sent: on_open() will send it */
}

static void on_end(struct kv__stream *stream, const struct err *err)
{
    struct kv_snapshot *snapshot = snapshot_of(stream);

    snapshot->cb(snapshot, NULL, err);
}

static const struct kv__stream_kind snapshot_kind = {
    .path = "/etcdserverpb.Maintenance/Snapshot",
    .once = true,
    .on_open = on_open,
    .on_message = on_message,
    .on_down = on_down,
    .on_end = on_end,
};

void kv_snapshot_start(struct kv_client *client, struct kv_snapshot *snapshot, kv_snapshot_cb cb)
{
    *snapshot = (struct kv_snapshot){.cb = cb};
    kv__stream_open(client, &snapshot->stream, &snapshot_kind);
}

void kv_snapshot_stop(struct kv_snapshot *snapshot)
{
    kv__stream_close(&snapshot->stream);
}
