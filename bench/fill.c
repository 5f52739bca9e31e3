/* Every key is written once, in transactions of 128 puts (etcd's limit), several on their way: a
 * million keys in seconds. Skipped where exactly these keys are there already. */
#include "base/mem.h"
#include "bench/bench.h"
#include "bench/wire.h"

enum { PUTS_MAX = 128, BYTES_MAX = 256 << 10, IN_FLIGHT = 16 };

struct fill_call {
    struct call call;
    struct fill *fill;
    uint64_t puts;
};

struct fill {
    struct bench *bench;
    void (*filled)(struct bench *bench);
    uint64_t next; /* key to write */
    bool complete; /* found so by the look */
    struct fill_call calls[IN_FLIGHT];
};

static const char *check_txn(struct call *call, struct slice answer)
{
    struct wire_txn_answer txn;

    (void)call;
    return wire_read_txn(answer, &txn) && txn.succeeded ? NULL
                                                        : "a transaction without conditions failed";
}

static void send_txn(struct fill_call *fc)
{
    struct fill *fill = fc->fill;
    struct bench *bench = fill->bench;
    struct buf *out = &bench->message;
    uint8_t space[KEY_SPACE_MAX];

    buf_reset(out);
    for (fc->puts = 0;
         fc->puts < PUTS_MAX && out->len < BYTES_MAX && fill->next < bench->options->keys;
         fc->puts++)
        wire_txn_put(out, WIRE_SUCCESS, key_at(&bench->options->space, fill->next++, space),
                     bench_value(bench), 0);
    if (fc->puts != 0)
        call_send(&fc->call, "/etcdserverpb.KV/Txn", buf_slice(out));
}

static void on_txn_done(struct call *call, const char *error)
{
    struct fill_call *fc = CONTAINER_OF(call, struct fill_call, call);
    struct bench *bench = call->bench;

    bench->done += fc->puts;
    if (error != NULL)
        bench_fail(bench, "%s", error);
    else if (bench->done == bench->options->keys)
        fc->fill->filled(bench);
    else
        send_txn(fc);
}

static void write_all(struct fill *fill)
{
    struct bench *bench = fill->bench;

    bench->done = 0; /* without the look */
    bench->total = bench->options->keys;
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        fill->calls[i] = (struct fill_call){.call = {.bench = bench,
                                                     .conn = bench_conn(bench, i),
                                                     .check = check_txn,
                                                     .done = on_txn_done},
                                            .fill = fill};
        send_txn(&fill->calls[i]);
    }
}

static const char *check_look(struct call *call, struct slice answer)
{
    struct fill *fill = CONTAINER_OF(call, struct fill_call, call)->fill;
    const struct bench_options *options = call->bench->options;
    struct wire_range_answer range;

    if (!wire_read_range(answer, &range))
        return "the answer to a Range is no RangeResponse";
    fill->complete = range.count == options->keys && range.kvs == 1 &&
                     key_is(&options->space, range.first.key, 0) &&
                     range.first.value.len == options->value_size;
    return NULL;
}

static void on_looked(struct call *call, const char *error)
{
    struct fill *fill = CONTAINER_OF(call, struct fill_call, call)->fill;

    if (error != NULL)
        bench_fail(call->bench, "%s", error);
    else if (fill->complete)
        fill->filled(call->bench);
    else
        write_all(fill);
}

void fill_start(struct bench *bench, void (*filled)(struct bench *bench))
{
    uint8_t first[KEY_SPACE_MAX], last[KEY_SPACE_MAX];
    const struct key_space *keys = &bench->options->space;
    struct fill *fill = xcalloc(1, sizeof *fill);
    const struct wire_range range = {
        .key = key_at(keys, 0, first), .end = key_at(keys, keys->count, last), .limit = 1};

    bench->fill = fill; /* freed with the run */
    fill->bench = bench;
    fill->filled = filled;
    fill->calls[0] = (struct fill_call){.call = {.bench = bench,
                                                 .conn = bench_conn(bench, 0),
                                                 .check = check_look,
                                                 .done = on_looked},
                                        .fill = fill};
    buf_reset(&bench->message);
    wire_range(&bench->message, &range);
    call_send(&fill->calls[0].call, "/etcdserverpb.KV/Range", buf_slice(&bench->message));
}
