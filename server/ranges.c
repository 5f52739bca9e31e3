#include "server/ranges.h"

#include <stdlib.h>

#include "base/mem.h"
#include "server/encode_range.h"
#include "server/rest.h"
#include "server/service.h"

enum {
    STEP_RECORDS = 128, /* looked at between two looks at the clock */
    BUSY_MS = 10,       /* after consensus last had to do: short turns */
    OWN_BYTES_MAX = 256 << 20,
    CHUNK_FIRST = 10, /* records of a stream's first message; etcd-api.md 5.2 */
};

/* What one turn may cost, and so how much later a request is served. Bytes are sent in the same
 * turn, which takes longer than making them; so there is one piece in a turn. 16 KiB keep a put
 * some 25 us longer in the loop and 112 KiB some 150 us; but with those a list takes a third less
 * CPU time than with 64 KiB. */
struct slice_size {
    uint64_t ns;
    size_t piece;
};
static const struct slice_size when_busy = {30000, 16 * 1024}, when_idle = {100000, 112 * 1024};

/*  BEGIN ─▶ PREPARE ─▶ MEASURE ─▶ SEND ─▶ over
 *                         ▲         │ a stream's message is made
 *                         └─ REST ◀─┘                          */
enum phase {
    BEGIN,   /* waits until it may pin the store */
    PREPARE, /* collecting and sorting, if there is something to sort */
    MEASURE, /* a message's length comes before its bytes */
    SEND,
    REST, /* a stream between two messages: the next begins when the client has this one */
};

struct long_range {
    struct waiter waiter;
    struct list link; /* in ranges->all */
    struct list turn; /* in ranges->ready, or in none: waits for its client */
    struct ranges *ranges;
    struct grpc_call *call;
    enum ranges_kind kind;
    enum phase phase;
    struct mvcc_range range;
    struct mvcc_scan scan; /* nothing while phase is BEGIN */
    size_t scan_bytes;     /* as counted in ranges->bytes */
    struct encode_header header;
    struct range_encoder encoder;
    size_t len, kv_bytes; /* of the records measured for this message */
    bool last;            /* no message follows this one */
    uint64_t worked_ns;   /* in steps that have ended; waiting for the client is not work */
    size_t chunk_max;     /* records of this message; SIZE_MAX unless it is a stream's */
};

struct ranges {
    struct member *member;
    struct list all;
    struct list ready;
    struct long_range *running; /* its step began at step_ns; NULL: none, or it is gone */
    uint64_t step_ns;
    size_t bytes; /* of all scans */
    uint64_t busy_until_ms;
    struct rest rest;
    bool allow_removal;
    bool pinned; /* while compaction waits: by one of us */
};

/* ---- life ---- */

struct ranges *ranges_new(struct member *member)
{
    struct ranges *ranges = xcalloc(1, sizeof *ranges);

    ranges->member = member;
    ranges->allow_removal = true;
    list_init(&ranges->all);
    list_init(&ranges->ready);
    return ranges;
}

void ranges_free(struct ranges *ranges)
{
    if (ranges == NULL)
        return;
    ASSERT(list_empty(&ranges->all));
    ASSERT(ranges->bytes == 0);
    free(ranges);
}

static void count_bytes(struct long_range *job)
{
    size_t now = mvcc_scan_bytes(&job->scan);

    job->ranges->bytes += now - job->scan_bytes;
    job->scan_bytes = now;
}

/* As etcd, which makes an answer in one go, measures it. */
static void observe(const struct long_range *job, bool success)
{
    const struct ranges *ranges = job->ranges;
    struct metrics *metrics = ranges->member->metrics;
    uint64_t ns = job->worked_ns;

    if (ranges->running == job)
        ns += uv_hrtime() - ranges->step_ns;
    if (metrics != NULL)
        metrics_observe(success ? &metrics->range : &metrics->range_failed, (double)ns / 1e9);
}

static void forget(struct long_range *job)
{
    if (job->ranges->running == job)
        job->ranges->running = NULL;
    mvcc_scan_end(&job->scan);
    count_bytes(job);
    list_remove(&job->link);
    list_remove(&job->turn);
    grpc_call_set_data(job->call, NULL);
    grpc_call_on_drain(job->call, NULL);
}

static void fail(struct long_range *job, enum status status)
{
    struct grpc_call *call = job->call;

    observe(job, false);
    forget(job);
    service_fail(call, status);
}

static void on_cancel(struct waiter *waiter)
{
    forget(CONTAINER_OF(waiter, struct long_range, waiter));
}

static void on_drain(struct grpc_call *call)
{
    struct long_range *job = CONTAINER_OF(grpc_call_data(call), struct long_range, waiter);

    if (list_empty(&job->turn))
        list_push_back(&job->ranges->ready, &job->turn);
}

/* ---- begin ---- */

/* Sorting needs a pin. Who comes while another one of ours keeps removal waiting waits too, or one
 * pin after the other would keep it waiting for ever. */
static bool may_begin(const struct long_range *job)
{
    const struct ranges *ranges = job->ranges;
    const struct mvcc *mvcc = ranges->member->machine->mvcc;

    return mvcc_range_is_walk(&job->range) || !mvcc_compact_pending(mvcc) ||
           (mvcc_is_pinned(mvcc) && !ranges->pinned);
}

static void begin(struct long_range *job)
{
    struct member *member = job->ranges->member;
    struct mvcc *mvcc = member->machine->mvcc;
    int rc;

    if (!may_begin(job))
        return;
    rc = mvcc_scan_begin(mvcc, &job->range, &job->scan);
    if (rc != 0) {
        fail(job, status_of_error(rc));
        return;
    }
    job->header = service_encode_header(member, mvcc_revision(mvcc));
    job->phase = PREPARE;
    count_bytes(job);
}

void ranges_start(struct ranges *ranges, struct grpc_call *call, const struct mvcc_range *range,
                  enum ranges_kind kind)
{
    struct long_range *job = arena_calloc(grpc_call_arena(call), sizeof *job);

    job->waiter.cancel = on_cancel;
    job->ranges = ranges;
    job->call = call;
    job->kind = kind;
    job->range = *range;
    job->phase = BEGIN;
    job->chunk_max = kind == RANGES_STREAM ? CHUNK_FIRST : SIZE_MAX;
    list_push_back(&ranges->all, &job->link);
    list_push_back(&ranges->ready, &job->turn);
    grpc_call_set_data(call, &job->waiter);
    grpc_call_on_drain(call, on_drain);
    begin(job);
}

static void prepare(struct long_range *job)
{
    if (mvcc_scan_prepare(&job->scan, STEP_RECORDS))
        job->phase = MEASURE;
    count_bytes(job);
}

/* ---- one message ---- */

static void begin_message(struct long_range *job)
{
    struct grpc_call *call = job->call;
    struct range_encoding encoding = {.len = job->len,
                                      .kv_bytes = job->kv_bytes,
                                      .header = job->last ? &job->header : NULL,
                                      .in_stream = job->kind == RANGES_STREAM};

    range_encoder_init(&job->encoder, &job->scan, &encoding);
    if (job->encoder.size > SERVICE_ANSWER_MAX) {
        size_t size = job->encoder.size;

        observe(job, false);
        forget(job);
        service_fail_too_large(call, size);
        return;
    }
    grpc_call_message_begin(call, job->encoder.size);
    job->phase = SEND;
}

static void measure(struct long_range *job)
{
    struct mvcc_kv kvs[STEP_RECORDS];
    size_t max = MIN((size_t)STEP_RECORDS, job->chunk_max - job->len);
    size_t n = mvcc_scan_measure(&job->scan, kvs, max, &job->last);

    job->len += n;
    job->kv_bytes += range_encoder_measure(kvs, n);
    if (job->last || job->len == job->chunk_max)
        begin_message(job);
}

/* etcd's: messages of about the size that a request may have. */
static size_t next_chunk(const struct long_range *job)
{
    size_t target = job->ranges->member->config->max_request_bytes;
    size_t max = job->chunk_max;

    if (job->kv_bytes < target / 2)
        return MIN(max, SIZE_MAX / 4) * 2;
    return job->kv_bytes > target * 2 ? MAX(max / 2, (size_t)1) : max;
}

static void end_message(struct long_range *job)
{
    struct grpc_call *call = job->call;

    if (job->last) {
        observe(job, true);
        forget(job);
        grpc_call_finish(call, GRPC_OK, NULL);
        return;
    }
    job->chunk_max = next_chunk(job);
    job->len = job->kv_bytes = 0;
    job->phase = REST;
}

/* Returns how many bytes it made. What goes inside may have no queue that could drain. */
static size_t send_piece(struct long_range *job, size_t max)
{
    size_t n = MIN(grpc_call_message_left(job->call), max);

    if (!grpc_call_has_room(job->call)) {
        list_remove(&job->turn);
        return 0;
    }
    range_encoder_make(&job->encoder, grpc_call_piece(job->call, n), n);
    grpc_call_piece_send(job->call);
    if (grpc_call_queued(job->call) > 0)
        list_remove(&job->turn);
    if (grpc_call_message_left(job->call) == 0)
        end_message(job);
    return n;
}

/* As etcd, a stream holds nothing between its messages, and so compaction can overtake it. */
static void go_on(struct long_range *job)
{
    if (job->scan.revision < mvcc_compact_revision(job->scan.mvcc))
        fail(job, STATUS_COMPACTED);
    else
        job->phase = MEASURE;
}

/* ---- turns ---- */

/* Whoever holds most goes first: it helps most, and it is who has most left to read. */
static void keep_bytes_bounded(struct ranges *ranges)
{
    while (ranges->bytes > OWN_BYTES_MAX) {
        struct long_range *worst = LIST_FIRST(&ranges->all, struct long_range, link);

        LIST_EACH (node, &ranges->all) {
            struct long_range *job = LIST_ENTRY(node, struct long_range, link);

            if (job->scan_bytes > worst->scan_bytes)
                worst = job;
        }
        fail(worst, STATUS_RANGES_FULL);
    }
}

/* Its own place in the row is for the job to give up. Returns how many bytes were made. */
static size_t step(struct long_range *job, size_t piece)
{
    switch (job->phase) {
    case BEGIN:
        begin(job);
        return 0;
    case PREPARE:
        prepare(job);
        return 0;
    case MEASURE:
        measure(job);
        return 0;
    case SEND:
        return send_piece(job, piece);
    case REST:
        go_on(job);
        return 0;
    }
    return 0;
}

static void take_turns(struct ranges *ranges, uint64_t begin_ns, const struct slice_size *slice)
{
    uint64_t now_ns = uv_hrtime();
    size_t made = 0;

    while (!list_empty(&ranges->ready) && made == 0) {
        struct long_range *job = LIST_FIRST(&ranges->ready, struct long_range, turn);

        list_remove(&job->turn);
        list_push_back(&ranges->ready, &job->turn);
        ranges->running = job;
        ranges->step_ns = now_ns;
        made = step(job, slice->piece);
        now_ns = uv_hrtime();
        if (ranges->running == job)
            job->worked_ns += now_ns - ranges->step_ns;
        ranges->running = NULL;
        keep_bytes_bounded(ranges);
        if (now_ns - begin_ns >= slice->ns)
            break;
    }
}

/* ---- compaction ---- */

/* False: not yet. Those that are not sending wait for nobody, and will soon. */
static bool make_safe(struct long_range *job)
{
    bool safe;

    if (job->phase == BEGIN || job->phase == REST || mvcc_scan_is_safe(&job->scan))
        return true;
    if (job->phase != SEND)
        return false;
    safe = mvcc_scan_save(&job->scan, STEP_RECORDS);
    count_bytes(job);
    return safe;
}

static void prepare_removal(struct ranges *ranges, uint64_t begin_ns, uint64_t ns)
{
    ranges->allow_removal = true;
    ranges->pinned = false;
    if (!mvcc_compact_pending(ranges->member->machine->mvcc))
        return;
    LIST_EACH (node, &ranges->all) {
        struct long_range *job = LIST_ENTRY(node, struct long_range, link);

        if (uv_hrtime() - begin_ns >= ns || !make_safe(job))
            ranges->allow_removal = false;
        ranges->pinned = ranges->pinned || job->scan.pinned;
    }
    keep_bytes_bounded(ranges);
}

bool ranges_allow_removal(const struct ranges *ranges)
{
    return ranges->allow_removal;
}

void ranges_make_way(struct ranges *ranges)
{
    ranges->busy_until_ms = uv_now(ranges->member->loop) + BUSY_MS;
}

static void do_nothing(uv_timer_t *timer)
{
    (void)timer; /* there is a turn, that is all */
}

static void wake_in(struct ranges *ranges, uint64_t ns)
{
    int rc = uv_timer_start(&ranges->member->ranges_timer, do_nothing, ns / 1000000 + 1, 0);

    ASSERT(rc == 0); /* fails only without a callback or while closing */
}

bool ranges_run(struct ranges *ranges)
{
    const struct slice_size *slice;
    uint64_t now, rest_ns;

    if (list_empty(&ranges->all)) {
        ranges->allow_removal = true;
        return false;
    }
    slice = uv_now(ranges->member->loop) < ranges->busy_until_ms ? &when_busy : &when_idle;
    now = uv_hrtime();
    rest_ns = rest_for(&ranges->rest, now, wal_writer_is_busy(ranges->member->writer));
    if (rest_ns > 0) {
        wake_in(ranges, rest_ns);
        return false;
    }
    prepare_removal(ranges, now, slice->ns / 2);
    take_turns(ranges, now, slice);
    rest_earn(&ranges->rest, uv_hrtime() - now);
    return !list_empty(&ranges->ready) || !ranges->allow_removal;
}
