/* Transcripts of the watch hub, see transcripts.h. Beside the requests of tests/lib/machine_text.h,
 * which change the keyspace, there are (S: a stream, made when first named; ID: a watcher's):
 *
 *   watch S KEY [END] [start=N] [id=N] [prev] [noput] [nodelete] [progress] [fragment=BYTES]
 *   cancel S ID          close S
 *   step [N]             work of so much, once;  run: until there is no more
 *   block S N            the stream takes N more batches, then no more
 *   resume S             it takes all again
 *   ask S                a progress request;     tick S: the timer
 *   stats
 *   times N REQUEST      a request of the machine, N times; shows the last answer
 *   sweep                waits for live events, as a member does
 *
 * What watchers are sent: "S/ID revision R: EVENT ..."; "+" behind a fragment that is not the last.
 * Long answers are shown by their ends. */
#include "server/encode.h"
#include "tests/golden/transcripts.h"
#include "tests/lib/machine_text.h"

enum { STREAMS = 8, SHOWN_MAX = 6 };

struct stream {
    struct hub_text *text;
    int n;
    struct watch_stream *stream;
    size_t batches_left; /* SIZE_MAX: no end */
    size_t fragment_max; /* of the watchers with WATCH_FRAGMENT */
};

struct hub_text {
    struct machine_text machine;
    struct watch_hub *hub;
    struct stream streams[STREAMS];
    struct buf out;
};

/* ---- what is sent ---- */

static void on_encode(const struct watch_event *event, struct buf *out)
{
    const struct mvcc_kv *kv = &event->kv;

    assert_int_equal(buf_printf(out, " %s %.*s", event->is_delete ? "del" : "put", (int)kv->key.len,
                                (const char *)kv->key.data),
                     0);
    if (!event->is_delete)
        assert_int_equal(buf_printf(out, "=%.*s c%lld v%lld", (int)kv->value.len,
                                    (const char *)kv->value.data, (long long)kv->create_revision,
                                    (long long)kv->version),
                         0);
    assert_int_equal(buf_printf(out, " m%lld", (long long)kv->mod_revision), 0);
    if (event->prev != NULL)
        assert_int_equal(buf_printf(out, " (was %.*s m%lld)", (int)event->prev->value.len,
                                    (const char *)event->prev->value.data,
                                    (long long)event->prev->mod_revision),
                         0);
}

static void say(struct hub_text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct hub_text *t, const char *fmt, ...)
{
    char line[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    assert_int_equal(buf_printf(&t->out, "%s%s", t->out.len > 0 ? "\n" : "", line), 0);
}

static void say_events(struct stream *s, const struct watch_batch *batch,
                       const struct encode_watch *part)
{
    struct hub_text *t = s->text;

    say(t, "%d/%lld revision %lld:", s->n, (long long)batch->id, (long long)batch->revision);
    for (size_t i = 0; i < part->count; i++) {
        if (part->count > SHOWN_MAX && i == 2) {
            i = part->count - 2;
            assert_int_equal(buf_printf(&t->out, ", ... %zu events ...", part->count - 4), 0);
        }
        assert_int_equal(buf_printf(&t->out, "%s%.*s", i > 0 ? "," : "", (int)part->events[i].len,
                                    (const char *)part->events[i].data),
                         0);
    }
    if (part->fragment)
        assert_int_equal(buf_printf(&t->out, " +"), 0);
}

static bool on_deliver(void *ctx, const struct watch_batch *batch)
{
    struct stream *s = ctx;
    struct encode_header header = {.revision = batch->revision};
    struct encode_watch part, rest = {.watch_id = batch->id,
                                      .events = batch->events,
                                      .count = batch->count,
                                      .bytes = batch->bytes};
    size_t size_max = batch->flags & WATCH_FRAGMENT ? s->fragment_max : SIZE_MAX;

    while (encode_watch_fragment(&header, &rest, size_max, &part))
        say_events(s, batch, &part);
    if (s->batches_left == SIZE_MAX)
        return true;
    return --s->batches_left > 0;
}

static void on_compacted(void *ctx, int64_t id, int64_t compact_revision)
{
    struct stream *s = ctx;

    say(s->text, "%d/%lld canceled, compacted at %lld", s->n, (long long)id,
        (long long)compact_revision);
}

static void on_progress(void *ctx, int64_t id, int64_t revision)
{
    struct stream *s = ctx;

    say(s->text, "%d/%lld progress %lld", s->n, (long long)id, (long long)revision);
}

/* ---- requests ---- */

static struct stream *stream_of(struct hub_text *t)
{
    int64_t n = mt__number(&t->machine);
    struct stream *s = &t->streams[n >= 1 && n <= STREAMS ? n - 1 : 0];

    if (s->stream == NULL) {
        *s = (struct stream){.text = t, .n = (int)n, .batches_left = SIZE_MAX};
        s->stream = watch_stream_new(t->hub, s);
    }
    return s;
}

static void create(struct hub_text *t)
{
    struct machine_text *m = &t->machine;
    struct stream *s = stream_of(t);
    struct watch_create create = {.span.key = mt__word(m)};
    int64_t id, fragment = 0;
    int rc;

    for (;;) {
        if (mt__option(m, "start", &create.start) || mt__option(m, "id", &create.id))
            continue;
        if (mt__option(m, "fragment", &fragment))
            create.flags |= WATCH_FRAGMENT;
        else if (mt__take(m, "prev"))
            create.flags |= WATCH_PREV_KV;
        else if (mt__take(m, "noput"))
            create.flags |= WATCH_NO_PUT;
        else if (mt__take(m, "nodelete"))
            create.flags |= WATCH_NO_DELETE;
        else if (mt__take(m, "progress"))
            create.flags |= WATCH_PROGRESS;
        else if (create.span.end.data == NULL && mt__plain_next(m))
            create.span.end = mt__word(m);
        else
            break;
    }
    if (fragment != 0)
        s->fragment_max = (size_t)fragment;
    rc = watch_create(s->stream, &create, &id);
    if (rc == 0)
        say(t, "%d/%lld created", s->n, (long long)id);
    else
        say(t, "refused: %s", err_name(rc));
}

static void cancel(struct hub_text *t)
{
    struct stream *s = stream_of(t);
    int64_t id = mt__number(&t->machine);

    if (watch_cancel(s->stream, id))
        say(t, "%d/%lld canceled", s->n, (long long)id);
    else
        say(t, "no such watcher");
}

static void close_stream(struct stream *s)
{
    watch_stream_free(s->stream);
    s->stream = NULL;
}

static void step(struct hub_text *t)
{
    size_t budget = t->machine.next < t->machine.word_count ? (size_t)mt__number(&t->machine) : 1;

    if (watch_hub_step(t->hub, budget))
        say(t, "more to do");
}

static void run_hub(struct hub_text *t)
{
    while (watch_hub_step(t->hub, 512)) {
    }
}

static void block(struct hub_text *t)
{
    struct stream *s = stream_of(t);

    s->batches_left = (size_t)mt__number(&t->machine);
}

static void resume(struct hub_text *t)
{
    struct stream *s = stream_of(t);

    s->batches_left = SIZE_MAX;
    watch_stream_resume(s->stream);
}

static void ask(struct hub_text *t)
{
    struct stream *s = stream_of(t);

    switch (watch_stream_progress(s->stream)) {
    case WATCH_PROGRESS_NONE:
        say(t, "nothing to say");
        break;
    case WATCH_PROGRESS_LATER:
        say(t, "later");
        break;
    case WATCH_PROGRESS_NOW:
        say(t, "progress %lld", (long long)watch_hub_revision(t->hub));
        break;
    }
}

static void stats(struct hub_text *t)
{
    struct watch_stats stats;

    watch_hub_stats(t->hub, &stats);
    say(t, "streams %zu watchers %zu lagging %zu events %llu", stats.streams, stats.watchers,
        stats.lagging, (unsigned long long)stats.events);
}

static void times(struct hub_text *t, const char *request)
{
    int64_t count = mt__number(&t->machine);
    const char *rest = strstr(request, "times") + strlen("times"), *answer = "";

    rest += strspn(rest, " ");
    rest += strspn(rest, "0123456789");
    for (int64_t i = 0; i < count; i++)
        answer = machine_text_run(&t->machine, rest);
    say(t, "%s", answer);
}

/* False: it is one of the machine's. */
static bool run_own(struct hub_text *t, const char *request)
{
    struct machine_text *m = &t->machine;

    if (mt__take(m, "watch"))
        create(t);
    else if (mt__take(m, "cancel"))
        cancel(t);
    else if (mt__take(m, "close"))
        close_stream(stream_of(t));
    else if (mt__take(m, "step"))
        step(t);
    else if (mt__take(m, "run"))
        run_hub(t);
    else if (mt__take(m, "block"))
        block(t);
    else if (mt__take(m, "resume"))
        resume(t);
    else if (mt__take(m, "ask"))
        ask(t);
    else if (mt__take(m, "tick"))
        watch_stream_tick(stream_of(t)->stream, on_progress);
    else if (mt__take(m, "stats"))
        stats(t);
    else if (mt__take(m, "times"))
        times(t, request);
    else if (mt__is(m->words[0], "sweep") && !watch_hub_is_current(t->hub))
        say(t, "live events are yet to be delivered");
    else
        return false;
    if (m->wrong)
        say(t, "NOT A REQUEST: %s", request);
    return true;
}

static const char *run(void *ctx, const char *request)
{
    struct hub_text *t = ctx;

    buf_reset(&t->out);
    arena_reset(&t->machine.arena);
    t->machine.wrong = false;
    mt__split(&t->machine, request);
    if (!run_own(t, request))
        return machine_text_run(&t->machine, request);
    assert_int_equal(buf_append_u8(&t->out, '\0'), 0);
    return (const char *)t->out.data;
}

static void *begin(void)
{
    struct hub_text *t = xcalloc(1, sizeof *t);
    struct watch_hub_options options = {
        .seed = 7, .encode = on_encode, .deliver = on_deliver, .on_compacted = on_compacted};

    machine_text_init(&t->machine);
    options.mvcc = t->machine.machine->mvcc;
    t->hub = watch_hub_new(&options);
    buf_init(&t->out, 16 << 20);
    return t;
}

static void end(void *ctx)
{
    struct hub_text *t = ctx;

    for (size_t i = 0; i < STREAMS; i++)
        close_stream(&t->streams[i]);
    watch_hub_free(t->hub);
    machine_text_release(&t->machine);
    buf_release(&t->out);
    free(t);
}

static void watchers_are_sent_what_the_transcripts_say(void **state)
{
    static const struct transcripts transcripts = {
        .folder = "watch", .count_min = 5, .begin = begin, .run = run, .end = end};

    (void)state;
    check_transcripts(&transcripts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watchers_are_sent_what_the_transcripts_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
