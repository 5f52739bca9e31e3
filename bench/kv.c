/* put, get, get-serializable, txn, mixed; range and k8s-list. */
#include "base/util.h"
#include "bench/bench.h"
#include "bench/wire.h"

enum { KIND_GET, KIND_PUT };

static const char *const no_range = "the answer to a Range is no RangeResponse";

static void kv_defaults(struct bench_options *o)
{
    o->clients = 64;
}

/* ---- put ---- */

static const char *put_request(struct client *client, struct buf *out)
{
    struct bench *bench = client->call.bench;
    uint8_t space[KEY_SPACE_MAX];

    client->kind = KIND_PUT;
    wire_put(out, key_at(&bench->options->space, bench_random_key(bench), space),
             bench_value(bench), 0);
    return "/etcdserverpb.KV/Put";
}

static const char *put_answer(struct client *client, struct slice answer)
{
    if (wire_read_revision(answer) <= 0)
        return "a put's answer has no revision";
    bench_count_put(client->call.bench);
    return NULL;
}

/* ---- get ---- */

static const char *get_request_with(struct client *client, struct buf *out, bool serializable)
{
    struct bench *bench = client->call.bench;
    uint8_t space[KEY_SPACE_MAX];
    struct wire_range range = {.serializable = serializable};

    client->kind = KIND_GET;
    client->number = bench_random_key(bench);
    range.key = key_at(&bench->options->space, client->number, space);
    wire_range(out, &range);
    return "/etcdserverpb.KV/Range";
}

static const char *get_request(struct client *client, struct buf *out)
{
    return get_request_with(client, out, false);
}

static const char *get_serializable_request(struct client *client, struct buf *out)
{
    return get_request_with(client, out, true);
}

static const char *get_answer(struct client *client, struct slice answer)
{
    const struct bench_options *options = client->call.bench->options;
    struct wire_range_answer range;

    if (!wire_read_range(answer, &range))
        return no_range;
    if (range.kvs != 1 || range.count != 1)
        return "a get has not found its key";
    if (!key_is(&options->space, range.first.key, client->number))
        return "a get has found another key";
    return range.first.value.len == options->value_size ? NULL : "a value has another size";
}

/* ---- txn: the shape of a Kubernetes update, with a compare that always holds ---- */

static const char *txn_request(struct client *client, struct buf *out)
{
    struct bench *bench = client->call.bench;
    uint8_t space[KEY_SPACE_MAX];
    struct slice key = key_at(&bench->options->space, bench_random_key(bench), space);

    wire_txn_compare_mod(out, key, WIRE_GREATER, -1); /* also for absent keys */
    wire_txn_put(out, WIRE_SUCCESS, key, bench_value(bench), 0);
    wire_txn_range(out, WIRE_FAILURE, key);
    return "/etcdserverpb.KV/Txn";
}

static const char *txn_answer(struct client *client, struct slice answer)
{
    struct wire_txn_answer txn;

    if (!wire_read_txn(answer, &txn))
        return "the answer to a Txn is no TxnResponse";
    if (!txn.succeeded || txn.revision <= 0)
        return "a txn has not taken its branch";
    bench_count_put(client->call.bench);
    return NULL;
}

/* ---- 80 % get, 20 % put ---- */

static const char *mixed_request(struct client *client, struct buf *out)
{
    if (prng_chance(&client->call.bench->prng, 200000))
        return put_request(client, out);
    return get_request(client, out);
}

static const char *mixed_answer(struct client *client, struct slice answer)
{
    return client->kind == KIND_PUT ? put_answer(client, answer) : get_answer(client, answer);
}

/* ---- range: from a random key to the end of the space ---- */

static void range_defaults(struct bench_options *o)
{
    o->clients = 8;
    o->keys = 1000000;
    o->key_size = 32;
    o->limit = 500;
}

/* What a page from key number on must be. */
static const char *check_page(const struct bench_options *options, uint64_t number,
                              const struct wire_range_answer *range)
{
    uint64_t left = options->keys - number;
    uint64_t kvs = options->count_only ? 0 : MIN(left, options->limit);

    if (range->count != left)
        return "the count is not the number of keys from there to the end";
    if (range->kvs != kvs)
        return "a page has another number of keys";
    if (range->more != (!options->count_only && left > kvs))
        return "\"more\" is wrong";
    if (kvs == 0)
        return NULL;
    if (!range->ordered || !key_is(&options->space, range->first.key, number) ||
        !key_is(&options->space, range->last.key, number + kvs - 1))
        return "a page has other keys than it should";
    return range->last.value.len == (options->keys_only ? 0 : options->value_size)
               ? NULL
               : "a value has another size";
}

static const char *range_request(struct client *client, struct buf *out)
{
    struct bench *bench = client->call.bench;
    const struct bench_options *o = bench->options;
    uint8_t first[KEY_SPACE_MAX], last[KEY_SPACE_MAX];
    struct wire_range range = {.end = key_at(&o->space, o->keys, last),
                               .limit = o->count_only ? 0 : o->limit,
                               .keys_only = o->keys_only,
                               .count_only = o->count_only};

    client->number = bench_random_key(bench);
    range.key = key_at(&o->space, client->number, first);
    wire_range(out, &range);
    return "/etcdserverpb.KV/Range";
}

static const char *range_answer(struct client *client, struct slice answer)
{
    struct wire_range_answer range;

    if (!wire_read_range(answer, &range))
        return no_range;
    return check_page(client->call.bench->options, client->number, &range);
}

/* ---- k8s-list: page after page at the revision of the first ---- */

struct list_state {
    struct closed_loop loop;
    uint64_t lists; /* read to their end while measuring */
};

static void k8s_list_defaults(struct bench_options *o)
{
    range_defaults(o);
    o->keys = 100000;
}

/* As kube-apiserver continues (kubernetes-needs.md section 2): from the last key and a 0 byte. */
static const char *page_request(struct client *client, struct buf *out)
{
    const struct bench_options *o = client->call.bench->options;
    uint8_t first[KEY_SPACE_MAX + 1], last[KEY_SPACE_MAX];
    struct wire_range range = {.end = key_at(&o->space, o->keys, last), .limit = o->limit};

    if (client->next == 0) {
        range.key = key_at(&o->space, 0, first);
    } else {
        range.key = key_at(&o->space, client->next - 1, first);
        first[range.key.len++] = 0;
        range.revision = client->revision;
    }
    wire_range(out, &range);
    return "/etcdserverpb.KV/Range";
}

static const char *page_answer(struct client *client, struct slice answer)
{
    struct bench *bench = client->call.bench;
    struct list_state *state = bench->state;
    struct wire_range_answer range;
    uint64_t number = client->next;

    if (!wire_read_range(answer, &range))
        return no_range;
    if (number == 0)
        client->revision = range.revision;
    else if (range.revision < client->revision)
        return "the store's revision has gone back between two pages";
    client->next = range.more ? number + range.kvs : 0;
    if (!range.more && bench->phase == PHASE_MEASURE)
        state->lists++;
    return check_page(bench->options, number, &range);
}

static void k8s_list_report(struct bench *bench)
{
    const struct list_state *state = bench->state;

    result_add(bench->result, "lists_s", "whole lists per second",
               (double)state->lists / result_get(bench->result, "seconds"), 2, HIGHER);
}

/* clang-format off */
#define CLOSED_LOOP .start = calls_start, .finish = calls_finish, .release = calls_release
#define KEYS_OPTIONS "clients keys key-size value-size no-fill requests"
#define KEYS .fills = true, .state_size = sizeof(struct closed_loop)

const struct workload workload_put = {
    .name = "put", .help = "Put of a random key", .takes = KEYS_OPTIONS, KEYS, CLOSED_LOOP,
    .defaults = kv_defaults, .request = put_request, .answer = put_answer};
const struct workload workload_get = {
    .name = "get", .help = "linearizable Range of one key", .takes = KEYS_OPTIONS, KEYS, CLOSED_LOOP,
    .defaults = kv_defaults, .request = get_request, .answer = get_answer};
const struct workload workload_get_serializable = {
    .name = "get-serializable", .help = "the same from one member's own state", .takes = KEYS_OPTIONS,
    KEYS, CLOSED_LOOP,
    .defaults = kv_defaults, .request = get_serializable_request, .answer = get_answer};
const struct workload workload_txn = {
    .name = "txn", .help = "Txn: compare mod_revision, put, else range", .takes = KEYS_OPTIONS, KEYS,
    CLOSED_LOOP, .defaults = kv_defaults, .request = txn_request, .answer = txn_answer};
const struct workload workload_mixed = {
    .name = "mixed", .help = "80 % get, 20 % put", .takes = KEYS_OPTIONS, KEYS, CLOSED_LOOP,
    .defaults = kv_defaults, .request = mixed_request, .answer = mixed_answer};
const struct workload workload_range = {
    .name = "range", .help = "Range with a limit from a random key out of 1,000,000 to the end",
    .takes = KEYS_OPTIONS " limit count-only keys-only", KEYS, CLOSED_LOOP,
    .defaults = range_defaults, .request = range_request, .answer = range_answer};
const struct workload workload_k8s_list = {
    .name = "k8s-list", .help = "a prefix of 100,000 keys, page by page at one revision",
    .takes = KEYS_OPTIONS " limit", .key_prefix = "/registry/list/",
    .fills = true, .state_size = sizeof(struct list_state), CLOSED_LOOP,
    .defaults = k8s_list_defaults, .request = page_request, .answer = page_answer,
    .report = k8s_list_report};
/* clang-format on */
