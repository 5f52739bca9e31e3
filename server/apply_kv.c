/* Put, delete, range and compact against the keyspace (etcd-api.md 5.1, 5.3, 5.4, 5.6). */
#include "base/util.h"
#include "server/machine_internal.h"

bool machine__range_of(const Etcdserverpb__RangeRequest *request, struct mvcc_range *out)
{
    if ((unsigned)request->sort_order > MVCC_ORDER_DESCEND ||
        (unsigned)request->sort_target > MVCC_BY_VALUE)
        return false;
    *out = (struct mvcc_range){
        .span = {slice_of_pb(request->key), slice_of_pb(request->range_end)},
        .limit = request->limit,
        .revision = request->revision,
        .order = (enum mvcc_order)request->sort_order, /* the numbers are the same */
        .target = (enum mvcc_target)request->sort_target,
        .flags =
            (request->keys_only ? MVCC_KEYS_ONLY : 0) | (request->count_only ? MVCC_COUNT_ONLY : 0),
        .mod_min = request->min_mod_revision,
        .mod_max = request->max_mod_revision,
        .create_min = request->min_create_revision,
        .create_max = request->max_create_revision,
    };
    return true;
}

Etcdserverpb__ResponseHeader *machine__header(struct arena *arena, int64_t revision)
{
    Etcdserverpb__ResponseHeader *header = arena_alloc(arena, sizeof *header);

    etcdserverpb__response_header__init(header);
    header->revision = revision;
    return header;
}

static void fill_kv(Mvccpb__KeyValue *out, const struct mvcc_kv *kv)
{
    mvccpb__key_value__init(out);
    out->key = pb_of_slice(kv->key);
    out->value = pb_of_slice(kv->value);
    out->create_revision = kv->create_revision;
    out->mod_revision = kv->mod_revision;
    out->version = kv->version;
    out->lease = kv->lease;
}

Mvccpb__KeyValue *machine__kv(struct arena *arena, const struct mvcc_kv *kv)
{
    Mvccpb__KeyValue *out = arena_alloc(arena, sizeof *out);

    fill_kv(out, kv);
    return out;
}

Mvccpb__KeyValue **machine__kvs(struct arena *arena, const struct mvcc_kv *kvs, size_t len)
{
    Mvccpb__KeyValue **out = arena_alloc(arena, len * sizeof *out);
    Mvccpb__KeyValue *each = arena_alloc(arena, len * sizeof *each);

    for (size_t i = 0; i < len; i++) {
        fill_kv(&each[i], &kvs[i]);
        out[i] = &each[i];
    }
    return out;
}

Etcdserverpb__RangeResponse *machine__range_response(struct arena *arena,
                                                     const struct mvcc_range_result *result,
                                                     int64_t revision)
{
    Etcdserverpb__RangeResponse *response = arena_alloc(arena, sizeof *response);

    etcdserverpb__range_response__init(response);
    response->header = machine__header(arena, revision);
    response->kvs = machine__kvs(arena, result->kvs, result->len);
    response->n_kvs = result->len;
    response->count = result->count;
    response->more = result->more;
    return response;
}

static int check_lease(const struct machine *machine, const Etcdserverpb__PutRequest *request)
{
    return request->lease != LEASE_NONE && !leases_known(machine->leases, request->lease)
               ? KV_ELEASENOTFOUND
               : 0;
}

int machine__check_put(const struct machine *machine, const Etcdserverpb__PutRequest *request)
{
    struct mvcc_kv old;

    if (request->key.len == 0)
        return KV_EINVAL;
    if ((request->ignore_value || request->ignore_lease) &&
        !mvcc_get(machine->mvcc, slice_of_pb(request->key), &old))
        return KV_EKEYNOTFOUND;
    return check_lease(machine, request);
}

Etcdserverpb__PutResponse *machine__put(struct mvcc_txn *txn, struct leases *leases,
                                        const Etcdserverpb__PutRequest *request, bool want,
                                        struct arena *arena)
{
    struct slice key = slice_of_pb(request->key);
    struct slice value = slice_of_pb(request->value);
    int64_t lease = request->lease;
    Etcdserverpb__PutResponse *response;
    struct mvcc_kv prev;
    bool had;

    if (request->ignore_value || request->ignore_lease) {
        /* Present when checked; an earlier operation of the same txn may have deleted it. */
        had = mvcc_get(txn->mvcc, key, &prev);
        if (had && request->ignore_value)
            value = prev.value;
        if (had && request->ignore_lease)
            lease = prev.lease;
    }
    mvcc_txn_put(txn, key, value, lease, &had, &prev);
    leases_move(leases, key, had ? prev.lease : LEASE_NONE, lease);
    if (!want)
        return NULL;

    response = arena_alloc(arena, sizeof *response);
    etcdserverpb__put_response__init(response);
    response->header = machine__header(arena, mvcc_txn_revision(txn));
    if (request->prev_kv && had)
        response->prev_kv = machine__kv(arena, &prev);
    return response;
}

Etcdserverpb__DeleteRangeResponse *machine__delete(struct mvcc_txn *txn, struct leases *leases,
                                                   const Etcdserverpb__DeleteRangeRequest *request,
                                                   bool want, struct arena *arena)
{
    struct mvcc_span span = {slice_of_pb(request->key), slice_of_pb(request->range_end)};
    bool want_prevs = want && request->prev_kv;
    bool leased = leases_count(leases) > 0; /* then some of the keys may be */
    Etcdserverpb__DeleteRangeResponse *response;
    const struct mvcc_kv *prevs = NULL;
    size_t deleted;

    deleted = mvcc_txn_delete(txn, span, arena, want_prevs || leased ? &prevs : NULL);
    for (size_t i = 0; leased && i < deleted; i++)
        leases_move(leases, prevs[i].key, prevs[i].lease, LEASE_NONE);
    if (!want)
        return NULL;

    response = arena_alloc(arena, sizeof *response);
    etcdserverpb__delete_range_response__init(response);
    response->header = machine__header(arena, mvcc_txn_revision(txn));
    response->deleted = (int64_t)deleted;
    if (want_prevs) {
        response->prev_kvs = machine__kvs(arena, prevs, deleted);
        response->n_prev_kvs = deleted;
    }
    return response;
}

void machine__apply_put(struct machine *machine, const Etcdserverpb__PutRequest *request, bool want,
                        struct arena *arena, struct machine_result *out)
{
    struct mvcc_txn txn;

    /* By itself a put names the missing lease first, inside a txn the missing key. */
    out->code = check_lease(machine, request);
    if (out->code == 0)
        out->code = machine__check_put(machine, request);
    if (out->code != 0)
        return;
    mvcc_txn_begin(machine->mvcc, &txn);
    out->response = machine__put(&txn, machine->leases, request, want, arena);
    (void)mvcc_txn_end(&txn); /* the caller asks for the revision in any case */
}

void machine__apply_delete(struct machine *machine, const Etcdserverpb__DeleteRangeRequest *request,
                           bool want, struct arena *arena, struct machine_result *out)
{
    struct mvcc_txn txn;

    if (request->key.len == 0) {
        out->code = KV_EINVAL;
        return;
    }
    mvcc_txn_begin(machine->mvcc, &txn);
    out->response = machine__delete(&txn, machine->leases, request, want, arena);
    (void)mvcc_txn_end(&txn); /* the caller asks for the revision in any case */
}

void machine__apply_compact(struct machine *machine, const Etcdserverpb__CompactionRequest *request,
                            bool want, struct arena *arena, struct machine_result *out)
{
    Etcdserverpb__CompactionResponse *response;

    out->code = mvcc_compact(machine->mvcc, request->revision);
    if (out->code != 0 || !want)
        return;
    response = arena_alloc(arena, sizeof *response);
    etcdserverpb__compaction_response__init(response);
    response->header = machine__header(arena, mvcc_revision(machine->mvcc));
    out->response = response;
}
