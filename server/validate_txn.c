/* The overlap check of a txn branch. A branch is walked as a tree: nested txns first (both of their
 * branches count, since either may run), then the branch's own puts. What a nested txn puts is
 * compared with the deletes of its parent and of the siblings before it, as etcd does. */
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "mvcc/mvcc.h"
#include "server/validate.h"

/* Keys put so far, by open addressing; the owner tells two branches of one txn apart. */
struct put_slot {
    struct slice key; /* len 0: free, an empty key was refused before */
    const void *owner;
};

struct put_set {
    struct put_slot *slots;
    size_t cap; /* power of two, at least twice the number of puts */
};

/* Ranges deleted so far, sorted by start without overlaps once `sorted`. */
struct span_set {
    struct mvcc_span *spans;
    size_t len;
    bool sorted;
};

struct change_set {
    struct put_set puts;
    struct span_set dels;
};

static struct slice bytes_of(ProtobufCBinaryData data)
{
    return slice_of(data.data, data.len);
}

/* ---- puts ---- */

static struct put_slot *find_slot(const struct put_set *puts, struct slice key)
{
    size_t mask = puts->cap - 1;
    size_t at = crc32c_extend(0, key.data, key.len) & mask;

    while (puts->slots[at].key.len != 0 && !slice_eq(puts->slots[at].key, key))
        at = (at + 1) & mask;
    return &puts->slots[at];
}

/* ---- deletes ---- */

static int by_start(const void *a, const void *b)
{
    const struct mvcc_span *x = a, *y = b;

    return slice_cmp(x->key, y->key);
}

static void sort_spans(struct span_set *dels)
{
    size_t out = 0;

    if (dels->sorted || dels->len == 0)
        return;
    qsort(dels->spans, dels->len, sizeof *dels->spans, by_start);
    for (size_t i = 1; i < dels->len; i++) {
        if (slice_cmp(dels->spans[i].key, dels->spans[out].end) >= 0)
            dels->spans[++out] = dels->spans[i];
        else if (slice_cmp(dels->spans[i].end, dels->spans[out].end) > 0)
            dels->spans[out].end = dels->spans[i].end;
    }
    dels->len = out + 1;
    dels->sorted = true;
}

static bool is_deleted(struct span_set *dels, struct slice key)
{
    size_t low = 0, high;

    sort_spans(dels);
    high = dels->len;
    while (low < high) { /* low: first span that starts after key */
        size_t mid = low + (high - low) / 2;

        if (slice_cmp(dels->spans[mid].key, key) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 && slice_cmp(key, dels->spans[low - 1].end) < 0;
}

/* etcd takes the end literally here: one that says "to the last key" (a zero byte) is not above any
 * key, so such a delete overlaps with nothing. */
static void add_delete(struct span_set *dels, const Etcdserverpb__DeleteRangeRequest *request,
                       struct arena *arena)
{
    struct mvcc_span span = {bytes_of(request->key), bytes_of(request->range_end)};
    uint8_t *next;

    if (span.end.len == 0) { /* the single key k is [k, k + 0x00) */
        next = arena_alloc(arena, span.key.len + 1);
        memcpy(next, span.key.data, span.key.len);
        next[span.key.len] = 0;
        span.end = slice_of(next, span.key.len + 1);
    } else if (slice_cmp(span.end, span.key) <= 0) {
        return;
    }
    dels->spans[dels->len++] = span;
    dels->sorted = false;
}

/* ---- the walk ---- */

static size_t count_ops(Etcdserverpb__RequestOp *const *ops, size_t len)
{
    size_t count = len;

    for (size_t i = 0; i < len; i++) {
        const Etcdserverpb__TxnRequest *txn = ops[i]->request_txn;

        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            count +=
                count_ops(txn->success, txn->n_success) + count_ops(txn->failure, txn->n_failure);
    }
    return count;
}

static void init_set(struct change_set *set, size_t ops, struct arena *arena)
{
    size_t cap = 4;

    while (cap < 2 * ops)
        cap *= 2;
    set->puts.cap = cap;
    set->puts.slots = arena_calloc(arena, cap * sizeof *set->puts.slots);
    set->dels = (struct span_set){.spans = arena_alloc(arena, ops * sizeof *set->dels.spans)};
}

static bool branch_overlaps(Etcdserverpb__RequestOp *const *ops, size_t len, struct arena *arena,
                            struct change_set *out);

/* Adds what a nested branch puts. A key that the other branch of the same txn (owner) has put is
 * all right: only one of them runs. */
static bool merge_puts(struct change_set *to, const struct change_set *from, const void *owner)
{
    for (size_t i = 0; i < from->puts.cap; i++) {
        const struct put_slot *put = &from->puts.slots[i];
        struct put_slot *slot;

        if (put->key.len == 0)
            continue;
        slot = find_slot(&to->puts, put->key);
        if ((slot->key.len != 0 && slot->owner != owner) || is_deleted(&to->dels, put->key))
            return true;
        *slot = (struct put_slot){.key = put->key, .owner = owner};
    }
    return false;
}

static void merge_deletes(struct change_set *to, const struct change_set *from)
{
    for (size_t i = 0; i < from->dels.len; i++)
        to->dels.spans[to->dels.len++] = from->dels.spans[i];
    to->dels.sorted = to->dels.sorted && from->dels.len == 0;
}

static bool nested_overlaps(const Etcdserverpb__TxnRequest *txn, struct arena *arena,
                            struct change_set *set)
{
    struct change_set success, failure;

    if (branch_overlaps(txn->success, txn->n_success, arena, &success) ||
        branch_overlaps(txn->failure, txn->n_failure, arena, &failure))
        return true;
    if (merge_puts(set, &success, txn) || merge_puts(set, &failure, txn))
        return true;
    merge_deletes(set, &success);
    merge_deletes(set, &failure);
    return false;
}

static bool branch_overlaps(Etcdserverpb__RequestOp *const *ops, size_t len, struct arena *arena,
                            struct change_set *out)
{
    init_set(out, count_ops(ops, len), arena);
    for (size_t i = 0; i < len; i++)
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
            add_delete(&out->dels, ops[i]->request_delete_range, arena);
    for (size_t i = 0; i < len; i++)
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN &&
            nested_overlaps(ops[i]->request_txn, arena, out))
            return true;
    for (size_t i = 0; i < len; i++) {
        struct put_slot *slot;
        struct slice key;

        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            continue;
        key = bytes_of(ops[i]->request_put->key);
        slot = find_slot(&out->puts, key);
        if (slot->key.len != 0 || is_deleted(&out->dels, key))
            return true;
        *slot = (struct put_slot){.key = key, .owner = NULL};
    }
    return false;
}

bool validate__branch_overlaps(Etcdserverpb__RequestOp *const *ops, size_t len, struct arena *arena)
{
    struct change_set set;

    /* The common txn: nothing to overlap with. */
    if (len == 0 ||
        (len == 1 && ops[0]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN))
        return false;
    return branch_overlaps(ops, len, arena, &set);
}
