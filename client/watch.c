/* Watches on one stream, and how they go on when it breaks.
 *
 *          start            on_open, one at a time       created
 * (none) ───────▶ pending ─────────────────────▶ creating ─────▶ live
 *                    ▲                               │             │
 *                    └───────── stream broke ◀───────┴─────────────┘
 *
 * "created" answers name no watch of ours: they are matched by order, with one asked for at a
 * time, as etcd's own client does. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/internal.h"

struct kv_watcher {
    struct kv_client *client;
    struct kv__stream stream;
    struct list pending;       /* kv_watch.link, in the order they were started */
    struct list live;          /* kv_watch.link */
    struct kv_watch *creating; /* the next "created" is its answer; in no list */
    bool answer_unwanted;      /* the next "created" is for a watch that was cancelled meanwhile */
    bool progress_wanted;
    bool require_leader;
};

static struct kv_watcher *watcher_of(struct kv__stream *stream)
{
    return CONTAINER_OF(stream, struct kv_watcher, stream);
}

/* ---- requests ---- */

static ProtobufCBinaryData bytes_of(uint8_t *data, size_t len)
{
    return (ProtobufCBinaryData){.data = data, .len = len};
}

static void send_create(struct kv_watcher *watcher, const struct kv_watch *watch)
{
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest__FilterType filters[2];

    create.key = bytes_of(watch->keys, watch->key_len);
    create.range_end = bytes_of(watch->keys + watch->key_len, watch->range_end_len);
    create.start_revision = watch->next_revision;
    create.prev_kv = (watch->flags & KV_WATCH_PREV_KV) != 0;
    create.progress_notify = (watch->flags & KV_WATCH_PROGRESS) != 0;
    create.filters = filters;
    if ((watch->flags & KV_WATCH_NO_PUT) != 0)
        filters[create.n_filters++] = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT;
    if ((watch->flags & KV_WATCH_NO_DELETE) != 0)
        filters[create.n_filters++] = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    kv__stream_send(&watcher->stream, &request.base);
}

static void send_cancel(struct kv_watcher *watcher, int64_t id)
{
    Etcdserverpb__WatchCancelRequest cancel = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;

    cancel.watch_id = id;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    request.cancel_request = &cancel;
    kv__stream_send(&watcher->stream, &request.base);
}

static void send_progress(struct kv_watcher *watcher)
{
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;

    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    kv__stream_send(&watcher->stream, &request.base);
}

static void send_next(struct kv_watcher *watcher)
{
    if (watcher->stream.grpc == NULL || watcher->creating != NULL || watcher->answer_unwanted)
        return;
    if (!list_empty(&watcher->pending)) {
        watcher->creating = LIST_FIRST(&watcher->pending, struct kv_watch, link);
        list_remove(&watcher->creating->link);
        send_create(watcher, watcher->creating);
    } else if (watcher->progress_wanted && !list_empty(&watcher->live)) {
        watcher->progress_wanted = false;
        send_progress(watcher);
    }
}

/* ---- answers ---- */

static void finish(struct kv_watch *watch, const Etcdserverpb__WatchResponse *response,
                   const struct err *err)
{
    list_remove(&watch->link);
    free(watch->keys);
    watch->keys = NULL;
    watch->watcher = NULL;
    watch->cb(watch, response, err); /* last: watch may be gone after it */
}

/* etcd puts a whole gRPC error into the reason of some refusals. */
static const char *plain_reason(const char *reason)
{
    const char *at = strncmp(reason, "rpc error: ", 11) == 0 ? strstr(reason, " desc = ") : NULL;

    return at != NULL ? at + strlen(" desc = ") : reason;
}

static void finish_canceled(struct kv_watch *watch, const Etcdserverpb__WatchResponse *response)
{
    struct err err = ERR_INIT;
    const char *reason = plain_reason(response->cancel_reason);

    if (response->compact_revision != 0)
        reason = "etcdserver: mvcc: required revision has been compacted";
    if (reason[0] != '\0')
        (void)err_set(&err, kv__code_of(GRPC_FAILED_PRECONDITION, reason), "%s", reason);
    else
        (void)err_set(&err, KV_ECANCELED, "the server canceled the watch and gave no reason");
    finish(watch, response, &err);
}

static int64_t revision_of(const Etcdserverpb__WatchResponse *response)
{
    return response->header != NULL ? response->header->revision : 0;
}

static void on_created(struct kv_watcher *watcher, const Etcdserverpb__WatchResponse *response)
{
    static const struct err ok = ERR_INIT;
    struct kv_watch *watch = watcher->creating;
    bool first;

    if (watch == NULL) {
        if (watcher->answer_unwanted && !response->canceled)
            send_cancel(watcher, response->watch_id);
        watcher->answer_unwanted = false;
        send_next(watcher);
        return;
    }
    if (response->canceled &&
        kv__auth_refused(watcher->client, plain_reason(response->cancel_reason),
                         watcher->stream.login)) {
        kv__stream_renew(&watcher->stream); /* which takes up the one being created, too */
        return;
    }
    watcher->creating = NULL;
    if (response->canceled) {
        send_next(watcher);
        finish_canceled(watch, response);
        return;
    }
    first = !watch->known;
    watch->known = true;
    watch->id = response->watch_id;
    /* From "now" on: the server sends all that is newer than this, and so must its successor. */
    if (watch->next_revision == 0)
        watch->next_revision = revision_of(response) + 1;
    list_push_back(&watcher->live, &watch->link);
    send_next(watcher);
    if (first && (watch->flags & KV_WATCH_CREATED) != 0)
        watch->cb(watch, response, &ok);
}

/* The header of a batch of events may be ahead of them: while a watch catches up it is the store's
 * revision. Only that of an empty answer tells how far the watch is. */
static void advance(struct kv_watch *watch, const Etcdserverpb__WatchResponse *response)
{
    int64_t seen = revision_of(response);

    if (response->n_events != 0 && response->events[response->n_events - 1]->kv != NULL)
        seen = response->events[response->n_events - 1]->kv->mod_revision;
    watch->next_revision = MAX(watch->next_revision, seen + 1);
}

/* Progress of all watches together. It moves none of them: etcd before 3.4.25 and 3.5.8 sends a
 * revision here whose events may still be on their way. */
static void broadcast(struct kv_watcher *watcher, const Etcdserverpb__WatchResponse *response)
{
    static const struct err ok = ERR_INIT;
    struct list moved;

    list_init(&moved);
    list_splice(&moved, &watcher->live);
    /* A callback may cancel others in this list: always take the first. */
    while (!list_empty(&moved)) {
        struct kv_watch *watch = LIST_FIRST(&moved, struct kv_watch, link);

        list_remove(&watch->link);
        list_push_back(&watcher->live, &watch->link);
        watch->cb(watch, response, &ok);
    }
}

static struct kv_watch *find_live(struct kv_watcher *watcher, int64_t id)
{
    LIST_EACH (node, &watcher->live) {
        struct kv_watch *watch = LIST_ENTRY(node, struct kv_watch, link);

        if (watch->id == id)
            return watch;
    }
    return NULL;
}

static void on_watch_response(struct kv_watcher *watcher,
                              const Etcdserverpb__WatchResponse *response)
{
    static const struct err ok = ERR_INIT;
    struct kv_watch *watch;

    if (response->created) {
        on_created(watcher, response);
        return;
    }
    if (response->watch_id == -1 && !response->canceled && response->n_events == 0) {
        broadcast(watcher, response);
        return;
    }
    watch = find_live(watcher, response->watch_id);
    if (watch == NULL)
        return; /* cancelled, and the server did not know yet */
    if (response->canceled &&
        kv__auth_refused(watcher->client, plain_reason(response->cancel_reason),
                         watcher->stream.login)) {
        kv__stream_renew(&watcher->stream); /* auth has been switched on meanwhile */
        return;
    }
    if (response->canceled) {
        finish_canceled(watch, response);
        return;
    }
    advance(watch, response);
    watch->cb(watch, response, &ok);
}

static void finish_all(struct kv_watcher *watcher, const struct err *err)
{
    struct list moved;

    if (watcher->creating != NULL)
        list_push_back(&watcher->live, &watcher->creating->link);
    watcher->creating = NULL;
    watcher->answer_unwanted = false;
    list_init(&moved);
    list_splice(&moved, &watcher->live);
    list_splice(&moved, &watcher->pending);
    while (!list_empty(&moved))
        finish(LIST_FIRST(&moved, struct kv_watch, link), NULL, err);
}

static void on_message(struct kv__stream *stream, struct slice message)
{
    struct kv_watcher *watcher = watcher_of(stream);
    Etcdserverpb__WatchResponse *response =
        etcdserverpb__watch_response__unpack(NULL, message.len, message.data);
    struct err err = ERR_INIT;

    if (response == NULL) {
        (void)err_set(&err, KV_EPROTO, "%s sent a watch response that cannot be decoded",
                      watcher->client->endpoints[stream->endpoint].text);
        kv__stream_close(stream);
        finish_all(watcher, &err);
        return;
    }
    on_watch_response(watcher, response);
    etcdserverpb__watch_response__free_unpacked(response, NULL);
}

static void on_open(struct kv__stream *stream)
{
    send_next(watcher_of(stream));
}

static void on_down(struct kv__stream *stream)
{
    struct kv_watcher *watcher = watcher_of(stream);
    struct list again;

    list_init(&again);
    list_splice(&again, &watcher->live);
    if (watcher->creating != NULL)
        list_push_back(&again, &watcher->creating->link);
    watcher->creating = NULL;
    watcher->answer_unwanted = false;
    list_splice(&again, &watcher->pending);
    list_splice(&watcher->pending, &again);
}

static void on_end(struct kv__stream *stream, const struct err *err)
{
    finish_all(watcher_of(stream), err);
}

/* ---- the owner's side ---- */

struct kv_watcher *kv_watcher_new(struct kv_client *client, int flags)
{
    struct kv_watcher *watcher = xcalloc(1, sizeof *watcher);

    watcher->client = client;
    watcher->require_leader = (flags & KV_REQUIRE_LEADER) != 0;
    list_init(&watcher->pending);
    list_init(&watcher->live);
    return watcher;
}

void kv_watcher_free(struct kv_watcher *watcher)
{
    if (watcher == NULL)
        return;
    kv__stream_close(&watcher->stream);
    if (watcher->creating != NULL)
        kv_watch_cancel(watcher->creating);
    while (!list_empty(&watcher->live))
        kv_watch_cancel(LIST_FIRST(&watcher->live, struct kv_watch, link));
    while (!list_empty(&watcher->pending))
        kv_watch_cancel(LIST_FIRST(&watcher->pending, struct kv_watch, link));
    free(watcher);
}

void kv_watcher_progress(struct kv_watcher *watcher)
{
    watcher->progress_wanted = true;
    send_next(watcher);
}

#define WATCH_KIND                                                                                 \
    .path = "/etcdserverpb.Watch/Watch", .on_open = on_open, .on_message = on_message,             \
    .on_down = on_down, .on_end = on_end
static const struct kv__stream_kind any_server = {WATCH_KIND};
static const struct kv__stream_kind server_with_leader = {WATCH_KIND, .require_leader = true};

void kv_watch_start(struct kv_watcher *watcher, struct kv_watch *watch,
                    const struct kv_watch_options *options, kv_watch_cb cb)
{
    *watch = (struct kv_watch){
        .watcher = watcher,
        .cb = cb,
        .key_len = options->key.len,
        .range_end_len = options->range_end.len,
        .flags = options->flags,
        .next_revision = options->start_revision,
    };
    watch->keys = xmalloc(options->key.len + options->range_end.len + 1);
    if (options->key.len != 0)
        memcpy(watch->keys, options->key.data, options->key.len);
    if (options->range_end.len != 0)
        memcpy(watch->keys + options->key.len, options->range_end.data, options->range_end.len);
    list_push_back(&watcher->pending, &watch->link);
    if (watcher->stream.client == NULL)
        kv__stream_open(watcher->client, &watcher->stream,
                        watcher->require_leader ? &server_with_leader : &any_server);
    send_next(watcher);
}

void kv_watch_cancel(struct kv_watch *watch)
{
    struct kv_watcher *watcher = watch->watcher;

    if (watcher == NULL)
        return;
    if (watcher->creating == watch) {
        watcher->creating = NULL;
        watcher->answer_unwanted = watcher->stream.grpc != NULL;
    } else if (watch->known && find_live(watcher, watch->id) == watch) {
        send_cancel(watcher, watch->id);
    }
    list_remove(&watch->link);
    free(watch->keys);
    watch->keys = NULL;
    watch->watcher = NULL;
}

int64_t kv_watch_next_revision(const struct kv_watch *watch)
{
    return watch->next_revision;
}
