#include "server/exports.h"

#include "base/codec.h"
#include "base/version.h"
#include "server/service.h"
#include "snapshot/dbfile.h"

enum {
    STEP_ITEMS = 256, /* between two looks at the clock */
    STEP_BYTES = 64 << 10,
    STEP_PIECES = 4, /* a large item goes out in several steps */
    PACE_LOOK_MS = 1000,

    /* SnapshotResponse */
    TAG_REMAINING = 2 << 3,
    TAG_BLOB = 3 << 3 | 2,
    TAG_VERSION = 4 << 3 | 2,
};

static const char version[] = ETCD_CLUSTER_VERSION;

/* ---- messages ---- */

/* As protobuf-c would, but the blob is copied once. */
static void send_blob(struct grpc_call *call, uint64_t remaining, struct slice blob)
{
    size_t size = 1 + varint_size(blob.len) + blob.len + 1 + 1 + sizeof version - 1;
    uint8_t *p;

    if (remaining > 0)
        size += 1 + varint_size(remaining);
    p = grpc_call_message(call, size);
    if (remaining > 0) {
        *p++ = TAG_REMAINING;
        p += put_varint(p, remaining);
    }
    *p++ = TAG_BLOB;
    p += put_varint(p, blob.len);
    memcpy(p, blob.data, blob.len);
    p += blob.len;
    *p++ = TAG_VERSION;
    *p++ = sizeof version - 1;
    memcpy(p, version, sizeof version - 1);
    grpc_call_send(call);
}

/* OpenSSL has SHA-256 or the member does not start: its identity needs it. */
static void digest(struct export_call *export, struct slice bytes)
{
    int ok = EVP_DigestUpdate(export->md, bytes.data, bytes.len);

    ASSERT(ok == 1);
}

static void send_piece(struct export_call *export, size_t len)
{
    struct slice piece = slice_of(export->out.data + export->out_at, len);

    digest(export, piece);
    export->sent += len;
    export->out_at += len;
    send_blob(export->call, export->total - export->sent, piece);
}

/* ---- one call ---- */

static void release(struct export_call *export)
{
    struct member *member = export->member;

    list_remove(&export->link);
    db_export_free(export->db);
    buf_release(&export->out);
    EVP_MD_CTX_free(export->md);
    grpc_call_set_data(export->call, NULL);
    if (list_empty(&member->exports))
        (void)uv_timer_stop(&member->export_timer); /* never fails */
}

static void on_cancel(struct waiter *waiter)
{
    struct export_call *export = CONTAINER_OF(waiter, struct export_call, waiter);

    log_warn(export->member->log, "a snapshot's client has gone before it had all of it",
             LOG_STR("client", grpc_call_peer(export->call)), LOG_UINT("sent", export->sent),
             LOG_UINT("size", export->total));
    release(export);
}

static void give_up(struct export_call *export)
{
    struct grpc_call *call = export->call;

    log_warn(export->member->log, "a snapshot's client is too slow: given up",
             LOG_STR("client", grpc_call_peer(call)), LOG_UINT("sent", export->sent),
             LOG_UINT("size", export->total));
    release(export);
    grpc_call_finish(
        call, GRPC_ABORTED,
        "kvd: snapshot given up: its reader took nothing for a minute, or less than 16 "
        "MiB while a compaction waited for it");
}

static void finish(struct export_call *export)
{
    struct grpc_call *call = export->call;
    uint8_t sum[EVP_MAX_MD_SIZE];
    int ok = EVP_DigestFinal_ex(export->md, sum, NULL);

    ASSERT(ok == 1);
    ASSERT(export->sent == export->total);
    send_blob(call, 0, slice_of(sum, DBFILE_DIGEST_SIZE));
    log_info(export->member->log, "snapshot sent", LOG_STR("client", grpc_call_peer(call)),
             LOG_INT("revision", db_export_revision(export->db)), LOG_UINT("size", export->total),
             LOG_UINT("ms", (uv_hrtime() - export->started_ns) / 1000000));
    release(export);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void on_drain(struct grpc_call *call)
{
    struct waiter *waiter = grpc_call_data(call);

    /* Sending again is the next turn's. */
    if (waiter != NULL)
        CONTAINER_OF(waiter, struct export_call, waiter)->is_blocked = false;
}

static size_t unsent(const struct export_call *export)
{
    return export->out.len - export->out_at;
}

static void make_more(struct export_call *export)
{
    buf_consume(&export->out, export->out_at);
    export->out_at = 0;
    export->is_made = db_export_step(export->db, STEP_ITEMS, STEP_BYTES);
}

/* Full pieces, and what is left once there is no more. */
static void send_some(struct export_call *export)
{
    for (int i = 0; i < STEP_PIECES && unsent(export) >= EXPORT_PIECE; i++)
        send_piece(export, EXPORT_PIECE);
    if (export->is_made && unsent(export) > 0 && unsent(export) < EXPORT_PIECE)
        send_piece(export, unsent(export));
    if (export->is_made && unsent(export) == 0)
        finish(export);
    else
        export->is_blocked = grpc_call_queued(export->call) >= EXPORT_QUEUE_HIGH;
}

static void step(struct export_call *export)
{
    if (export->total == 0) {
        if (db_export_step(export->db, STEP_ITEMS, STEP_BYTES))
            export->total = db_export_begin(export->db, &export->out);
        return;
    }
    if (!export->is_made && unsent(export) < EXPORT_PIECE)
        make_more(export);
    send_some(export);
}

/* ---- all calls ---- */

bool export_pace_fails(struct export_pace *pace, uint64_t now_ms, uint64_t sent,
                       bool compaction_waits)
{
    struct export_pace before = *pace;
    bool whole = before.since_ms != 0 && before.waits == compaction_waits;

    if (whole && now_ms - before.since_ms < EXPORT_PACE_MS)
        return false;
    *pace = (struct export_pace){.since_ms = now_ms, .sent = sent, .waits = compaction_waits};
    return whole && sent - before.sent < (compaction_waits ? (uint64_t)EXPORT_PACE_BYTES : 1);
}

static void on_pace_timer(uv_timer_t *timer)
{
    struct member *member = CONTAINER_OF(timer, struct member, export_timer);
    bool waits = mvcc_compact_pending(member->machine->mvcc);
    uint64_t now_ms = uv_now(member->loop);

    LIST_EACH_SAFE (node, &member->exports) {
        struct export_call *export = LIST_ENTRY(node, struct export_call, link);

        if (export_pace_fails(&export->pace, now_ms, export->sent, waits))
            give_up(export);
    }
}

void exports_open(struct member *member, struct grpc_call *call)
{
    struct export_call *export = arena_calloc(grpc_call_arena(call), sizeof *export);
    struct replica_status status;
    uint64_t term;
    int ok;

    replica_status(member->replica, &status);
    term = wal_term(member->wal, status.applied_index);
    export->waiter.cancel = on_cancel;
    export->member = member;
    export->call = call;
    export->started_ns = uv_hrtime();
    export->db =
        db_export_new(member->machine, status.applied_index, term != 0 ? term : status.term);
    buf_init(&export->out, SIZE_MAX / 2);
    export->md = EVP_MD_CTX_new();
    ASSERT(export->md != NULL);
    ok = EVP_DigestInit_ex(export->md, EVP_sha256(), NULL);
    ASSERT(ok == 1);
    if (list_empty(&member->exports)) {
        int rc = uv_timer_start(&member->export_timer, on_pace_timer, PACE_LOOK_MS, PACE_LOOK_MS);

        ASSERT(rc == 0); /* fails only without a callback or while closing */
    }
    list_push_back(&member->exports, &export->link);
    grpc_call_set_data(call, &export->waiter);
    grpc_call_on_drain(call, on_drain);
}

bool exports_step(struct member *member)
{
    bool any = false;

    LIST_EACH_SAFE (node, &member->exports) {
        struct export_call *export = LIST_ENTRY(node, struct export_call, link);

        if (export->is_blocked)
            continue;
        any = true;
        step(export);
    }
    return any;
}
