#include "server/watches.h"

#include <stdlib.h>

#include "base/failpoint.h"
#include "base/mem.h"
#include "server/auth_store.h"
#include "server/service.h"

enum {
    HUB_BUDGET = 512,             /* work between two looks at the clock */
    SLICE_NS = 1000000,           /* per turn: what a request may have to wait for it */
    SLICE_GROWS_EVERY = 1000,     /* revisions behind; so that writers can not outrun it for ever */
    MESSAGE_OVERHEAD = 512 << 10, /* beyond --max-request-bytes, before it is cut up; as etcd */
    LEADERLESS_TIMEOUTS = 3,      /* election timeouts, then hasleader streams end; as etcd */
    PROGRESS_MIN_MS = 100,        /* as etcd */
    PROGRESS_DEFAULT_MS = 600000,
    RESPONSE_SIZE_MAX = 1 << 30, /* cut up unasked: clients take 2 GiB, a frame has 4 */
    PROGRESS_ID = -1,            /* of an answer that is about all watchers of the stream */
};

/* ---- answers ---- */

static void send_response(struct watch_call *watch, const Etcdserverpb__WatchResponse *response)
{
    uint8_t *out =
        grpc_call_message(watch->call, etcdserverpb__watch_response__get_packed_size(response));

    (void)etcdserverpb__watch_response__pack(response, out); /* writes the size it said */
    grpc_call_send(watch->call);
}

/* revision 0: the header has none. */
static void send_answer(struct watch_call *watch, int64_t revision,
                        Etcdserverpb__WatchResponse *response)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;

    service_fill_header(watch->watches->member, &header);
    header.revision = revision;
    response->header = &header;
    send_response(watch, response);
    response->header = NULL;
}

static void finish(struct watch_call *watch, enum status status)
{
    const struct status_line *line = status_line(status);
    struct grpc_call *call = watch->call;

    watches_forget(watch);
    grpc_call_finish(call, line->code, line->text);
}

bool watches_answer(struct watch_call *watch, int64_t revision,
                    Etcdserverpb__WatchResponse *response)
{
    send_answer(watch, revision, response);
    watch->answer_bytes += etcdserverpb__watch_response__get_packed_size(response);
    if (watch->answer_bytes <= WATCH_ANSWERS_MAX ||
        grpc_call_queued(watch->call) <= WATCH_ANSWERS_MAX)
        return true;
    finish(watch, STATUS_TOO_MANY_REQUESTS);
    return false;
}

/* ---- what the hub says ---- */

static void on_encode(const struct watch_event *event, struct buf *out)
{
    size_t size = encode_event_size(event);
    int rc = buf_reserve(out, size);

    ASSERT(rc == 0); /* the hub's scratch has no bound that could be met */
    (void)encode_event(out->data + out->len, event);
    out->len += size;
}

static void send_events(struct watch_call *watch, const struct encode_header *header,
                        const struct encode_watch *response)
{
    uint8_t *out = grpc_call_message(watch->call, encode_watch_size(header, response));

    (void)encode_watch(out, header, response);
    grpc_call_send(watch->call);
}

static void send_fragments(struct watch_call *watch, const struct encode_header *header,
                           const struct encode_watch *whole, size_t max)
{
    struct encode_watch rest = *whole, part;

    while (encode_watch_fragment(header, &rest, max, &part))
        send_events(watch, header, &part);
}

static bool deliver(struct watch_sink *sink, const struct watch_batch *batch)
{
    struct watch_call *watch = CONTAINER_OF(sink, struct watch_call, sink);
    struct member *member = watch->watches->member;
    struct encode_header header = service_encode_header(member, batch->revision);
    struct encode_watch response = {.watch_id = batch->id,
                                    .events = batch->events,
                                    .count = batch->count,
                                    .bytes = batch->bytes};
    size_t max = batch->flags & WATCH_FRAGMENT
                     ? member->config->max_request_bytes + MESSAGE_OVERHEAD
                     : RESPONSE_SIZE_MAX;

    send_fragments(watch, &header, &response, max);
    return grpc_call_queued(watch->call) < WATCH_QUEUE_HIGH;
}

/* As etcd: no revision in the header, no reason; clients go by compact_revision. */
static void end_compacted(struct watch_sink *sink, int64_t id, int64_t compact_revision)
{
    struct watch_call *watch = CONTAINER_OF(sink, struct watch_call, sink);
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;

    response.watch_id = id;
    response.canceled = true;
    response.compact_revision = compact_revision;
    send_answer(watch, 0, &response);
}

static bool on_deliver(void *ctx, const struct watch_batch *batch)
{
    struct watch_sink *sink = ctx;

    return sink->deliver(sink, batch);
}

static void on_compacted(void *ctx, int64_t id, int64_t compact_revision)
{
    struct watch_sink *sink = ctx;

    sink->on_compacted(sink, id, compact_revision);
}

/* ---- progress ---- */

static void send_progress(void *ctx, int64_t id, int64_t revision)
{
    struct watch_sink *sink = ctx;
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;

    response.watch_id = id;
    send_answer(CONTAINER_OF(sink, struct watch_call, sink), revision, &response);
}

void watches_ask_progress(struct watch_call *watch)
{
    if (list_empty(&watch->asking_link))
        list_push_back(&watch->watches->asking, &watch->asking_link);
}

/* Many requests in one turn are one question, and those that must wait for a slow reader stay one:
 * so a flood of them costs nothing. */
static void answer_progress(struct watches *watches)
{
    LIST_EACH_SAFE (node, &watches->asking) {
        struct watch_call *watch = LIST_ENTRY(node, struct watch_call, asking_link);
        enum watch_progress progress = watch_stream_progress(watch->stream);

        if (progress == WATCH_PROGRESS_LATER || grpc_call_queued(watch->call) >= WATCH_QUEUE_HIGH)
            continue;
        list_remove(node);
        if (progress == WATCH_PROGRESS_NOW)
            send_progress(&watch->sink, PROGRESS_ID, watch_hub_revision(watches->hub));
    }
}

/* ---- the timer: progress unasked, and streams without a leader ---- */

static uint64_t interval_ms(struct watches *watches)
{
    uint64_t ms = watches->member->config->watch_progress_notify_ms;

    ms = ms == 0 ? PROGRESS_DEFAULT_MS : MAX(ms, (uint64_t)PROGRESS_MIN_MS);
    return ms + prng_between(&watches->prng, 0, ms / 10); /* so that streams do not march in step */
}

static uint64_t leaderless_due(const struct watches *watches)
{
    uint64_t patience_ms = LEADERLESS_TIMEOUTS * (uint64_t)watches->member->config->election_ms;

    return watches->leaderless_ms == UINT64_MAX ? UINT64_MAX : watches->leaderless_ms + patience_ms;
}

static void on_timer(uv_timer_t *timer);

static void arm(struct watches *watches, uint64_t at_ms)
{
    struct member *member = watches->member;
    uint64_t now_ms = uv_now(member->loop);
    int rc;

    if (at_ms >= watches->timer_ms || member->state == MEMBER_CLOSING)
        return;
    watches->timer_ms = at_ms;
    rc = uv_timer_start(&member->watch_timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
    ASSERT(rc == 0); /* fails only without a callback or while closing */
}

static void end_leaderless(struct watches *watches)
{
    LIST_EACH_SAFE (node, &watches->calls) {
        struct watch_call *watch = LIST_ENTRY(node, struct watch_call, link);

        if (watch->has_leader)
            finish(watch, STATUS_NO_LEADER);
    }
}

static void tick(struct watches *watches, uint64_t now_ms)
{
    LIST_EACH (node, &watches->calls) {
        struct watch_call *watch = LIST_ENTRY(node, struct watch_call, link);

        if (watch->tick_ms <= now_ms) {
            watch_stream_tick(watch->stream, send_progress);
            watch->tick_ms = now_ms + interval_ms(watches);
        }
        arm(watches, watch->tick_ms);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct watches *watches = CONTAINER_OF(timer, struct member, watch_timer)->watches;
    uint64_t now_ms = uv_now(watches->member->loop);

    watches->timer_ms = UINT64_MAX;
    if (leaderless_due(watches) <= now_ms)
        end_leaderless(watches);
    else
        arm(watches, leaderless_due(watches));
    tick(watches, now_ms);
}

void watches_on_leader(struct watches *watches)
{
    if (watches->member->leader != 0) {
        watches->leaderless_ms = UINT64_MAX;
    } else if (watches->leaderless_ms == UINT64_MAX) {
        watches->leaderless_ms = uv_now(watches->member->loop);
        arm(watches, leaderless_due(watches));
    }
}

void watches_want_ticks(struct watch_call *watch)
{
    struct watches *watches = watch->watches;

    if (watch->tick_ms != UINT64_MAX)
        return;
    watch->tick_ms = uv_now(watches->member->loop) + interval_ms(watches);
    arm(watches, watch->tick_ms);
}

/* ---- streams ---- */

static void on_drain(struct grpc_call *call)
{
    struct watch_call *watch = CONTAINER_OF(grpc_call_data(call), struct watch_call, waiter);

    watch->answer_bytes = 0;
    watch_stream_resume(watch->stream);
}

static void on_cancel(struct waiter *waiter)
{
    watches_forget(CONTAINER_OF(waiter, struct watch_call, waiter));
}

void watches_open(struct watches *watches, struct grpc_call *call, struct watch_call *watch)
{
    if (watch->sink.deliver == NULL)
        watch->sink = (struct watch_sink){.deliver = deliver, .on_compacted = end_compacted};
    watch->waiter.cancel = on_cancel;
    watch->watches = watches;
    watch->call = call;
    watch->stream = watch_stream_new(watches->hub, &watch->sink);
    watch->tick_ms = UINT64_MAX;
    watch->checked = watches->rights.change; /* what it opens is checked at once */
    watch->has_leader = slice_eq(grpc_call_header(call, "hasleader"), slice_str("true"));
    list_push_back(&watches->calls, &watch->link);
    list_init(&watch->asking_link);
    grpc_call_set_data(call, &watch->waiter);
    grpc_call_on_drain(call, on_drain);
}

void watches_forget(struct watch_call *watch)
{
    watches_uncheck(watch);
    if (watch->on_end != NULL)
        watch->on_end(watch);
    grpc_call_set_data(watch->call, NULL);
    grpc_call_on_drain(watch->call, NULL);
    list_remove(&watch->link);
    list_remove(&watch->asking_link);
    watch_stream_free(watch->stream);
    watch->stream = NULL;
}

void watches_end(struct watches *watches, enum status status)
{
    while (!list_empty(&watches->calls))
        finish(LIST_FIRST(&watches->calls, struct watch_call, link), status);
}

/* ---- the whole ---- */

struct watches *watches_new(struct member *member, uint64_t seed)
{
    struct watch_hub_options options = {.mvcc = member->machine->mvcc,
                                        .seed = seed,
                                        .encode = on_encode,
                                        .deliver = on_deliver,
                                        .on_compacted = on_compacted};
    struct watches *watches = xcalloc(1, sizeof *watches);

    watches->member = member;
    watches->hub = watch_hub_new(&options);
    list_init(&watches->calls);
    list_init(&watches->asking);
    prng_seed(&watches->prng, seed);
    watches->timer_ms = UINT64_MAX;
    watches->rights.enabled = member->machine->auth->enabled;
    watches->rights.revision = member->machine->auth->revision;
    watches->leaderless_ms = uv_now(member->loop); /* none is known yet */
    return watches;
}

void watches_free(struct watches *watches)
{
    if (watches == NULL)
        return;
    ASSERT(list_empty(&watches->calls));
    watch_hub_free(watches->hub);
    free(watches);
}

bool watches_allow_removal(const struct watches *watches)
{
    return watch_hub_is_current(watches->hub);
}

/* The more revisions wait, the longer. */
static uint64_t slice_ns(const struct watches *watches)
{
    int64_t behind =
        mvcc_revision(watches->member->machine->mvcc) - watch_hub_revision(watches->hub);

    return SLICE_NS * (1 + (uint64_t)behind / SLICE_GROWS_EVERY);
}

bool watches_run(struct watches *watches)
{
    uint64_t allowed = slice_ns(watches), begin = 0;
    bool checking = watches_check_rights(watches), more;

    FAILPOINT("watch-send");
    while ((more = watch_hub_step(watches->hub, HUB_BUDGET))) {
        uint64_t now = uv_hrtime();

        if (begin == 0)
            begin = now;
        else if (now - begin >= allowed)
            break;
    }
    answer_progress(watches);
    return more || checking;
}
