/* etcdserverpb.Watch: many watchers on one stream; requests are handled in their order (etcd-api.md
 * section 6). What they see comes from the hub, see watches.h. */
#include "server/scan.h"
#include "server/service.h"
#include "server/watches.h"

enum { NO_WATCH_ID = -1 };

static int64_t store_revision(const struct watch_call *watch)
{
    return mvcc_revision(watch->watches->member->machine->mvcc);
}

static void refuse(struct watch_call *watch, const char *reason)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;

    response.watch_id = NO_WATCH_ID;
    response.created = true;
    response.canceled = true;
    response.cancel_reason = (char *)(uintptr_t)reason;            /* only read */
    (void)watches_answer(watch, store_revision(watch), &response); /* the last thing done */
}

static int flags_of(const Etcdserverpb__WatchCreateRequest *request)
{
    int flags = (request->prev_kv ? WATCH_PREV_KV : 0) | (request->fragment ? WATCH_FRAGMENT : 0) |
                (request->progress_notify ? WATCH_PROGRESS : 0);

    for (size_t i = 0; i < request->n_filters; i++) {
        if (request->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT)
            flags |= WATCH_NO_PUT;
        if (request->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE)
            flags |= WATCH_NO_DELETE;
    }
    return flags;
}

/* As etcd words an error inside a watch answer. */
static void refuse_status(struct watch_call *watch, enum status status)
{
    struct arena arena = ARENA_INIT;

    refuse(watch, watches_error_text(status, &arena));
    arena_release(&arena);
}

static void create(struct watch_call *watch, const Etcdserverpb__WatchCreateRequest *request)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    struct watch_create wanted = {
        .span = {.key = slice_of(request->key.data, request->key.len),
                 .end = slice_of(request->range_end.data, request->range_end.len)},
        .start = request->start_revision,
        .id = request->watch_id,
        .flags = flags_of(request)};
    enum status status;
    int rc;

    if (wanted.span.key.len == 0)
        wanted.span.key = slice_of("\0", 1); /* the smallest key */
    status = watches_permit(watch, wanted.span);
    if (status != STATUS_OK) {
        refuse_status(watch, status);
        return;
    }
    if (wanted.start < 0) {
        refuse(watch, status_line(STATUS_COMPACTED)->text);
        return;
    }
    rc = watch_create(watch->stream, &wanted, &response.watch_id);
    if (rc == KV_EINVAL) {
        refuse(watch, "mvcc: watcher range is empty");
        return;
    }
    if (rc == KV_EEXIST) {
        refuse(watch, "mvcc: duplicate watch ID provided on the WatchStream");
        return;
    }
    ASSERT(rc == 0); /* there is no other way to fail */
    if (request->progress_notify)
        watches_want_ticks(watch);
    response.created = true;
    (void)watches_answer(watch, store_revision(watch), &response); /* the last thing done */
}

static void cancel(struct watch_call *watch, const Etcdserverpb__WatchCancelRequest *request)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;

    if (!watch_cancel(watch->stream, request->watch_id))
        return; /* as etcd: an unknown id gets no answer */
    response.watch_id = request->watch_id;
    response.canceled = true;
    (void)watches_answer(watch, store_revision(watch), &response); /* the last thing done */
}

static void handle(struct watch_call *watch, const Etcdserverpb__WatchRequest *request)
{
    switch (request->request_union_case) {
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST:
        create(watch, request->create_request);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST:
        cancel(watch, request->cancel_request);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST:
        watches_ask_progress(watch);
        break;
    default: /* of a later version: ignored, as by etcd */
        break;
    }
}

static struct watch_call *watch_of(struct grpc_call *call)
{
    struct waiter *waiter = grpc_call_data(call);

    return waiter != NULL ? CONTAINER_OF(waiter, struct watch_call, waiter) : NULL;
}

/* The first message goes through the checks that every call gets. */
static void on_first(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__WatchRequest *request;
    struct watch_call *watch;

    request = service_begin(call, message, &etcdserverpb__watch_request__descriptor);
    if (request == NULL)
        return;
    if (!service_may_show(call)) {
        /* Started again, and not yet as far as it was: what it applies now is history. */
        service_fail(call, STATUS_NO_LEADER);
        return;
    }
    watch = arena_calloc(grpc_call_arena(call), sizeof *watch);
    watches_open(service_member(call)->watches, call, watch);
    handle(watch, request);
}

/* Later ones must not pile up in the call's arena: a stream may live for months. */
void service_watch_message(struct grpc_call *call, struct slice message)
{
    struct watch_call *watch = watch_of(call);
    struct arena *arena = &service_member(call)->scratch;
    ProtobufCMessage *request;

    if (watch == NULL) {
        on_first(call, message);
        return;
    }
    if (scan_unpack(&etcdserverpb__watch_request__descriptor, message, arena, &request) == 0) {
        handle(watch, (const Etcdserverpb__WatchRequest *)request);
    } else {
        watches_forget(watch);
        service_fail(call, STATUS_MALFORMED);
    }
    arena_reset(arena);
}

/* As in etcd, its watchers go on: a gateway's client has said all it will with its first request.
 * Without any there is nothing to wait for. */
void service_watch_half_close(struct grpc_call *call)
{
    if (watch_of(call) == NULL)
        grpc_call_finish(call, GRPC_OK, NULL);
}
