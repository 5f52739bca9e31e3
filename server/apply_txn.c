/* Txn: compares, checks, operations (etcd-api.md 5.5). Three passes, as etcd: which branches are
 * taken is decided by the state before the txn, nested compares included; then everything that can
 * fail is tried; then nothing can fail any more. */
#include "base/util.h"
#include "server/machine_internal.h"

/* ---- first pass: which branches ---- */

/* Taken branches of the outer txn and of the nested ones met on the way, in the order of walking.
 */
struct path {
    bool *taken;
    size_t len;
    size_t next; /* the reading passes count through */
};

/* "a compared to b" under the operator; an operator nobody knows holds. */
static bool order_holds(Etcdserverpb__Compare__CompareResult result, int order)
{
    switch (result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
        return order == 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
        return order > 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS:
        return order < 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL:
        return order != 0;
    default:
        return true;
    }
}

static int compare_i64(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

/* kv NULL: the key does not exist. The operand is the member of the union that the target names; if
 * another one is set it counts as zero. */
static bool compare_holds(const Etcdserverpb__Compare *compare, const struct mvcc_kv *kv)
{
    static const struct mvcc_kv absent;
    const struct mvcc_kv *actual = kv != NULL ? kv : &absent;
    struct slice value = slice_of(NULL, 0);
    int64_t operand = 0;
    int order = 0;

    switch (compare->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
        if (kv == NULL) /* no value, so nothing can be said of it, not even NOT_EQUAL */
            return false;
        if (compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE)
            value = slice_of_pb(compare->value);
        order = slice_cmp(actual->value, value);
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        if (compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION)
            operand = compare->version;
        order = compare_i64(actual->version, operand);
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        if (compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION)
            operand = compare->create_revision;
        order = compare_i64(actual->create_revision, operand);
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        if (compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION)
            operand = compare->mod_revision;
        order = compare_i64(actual->mod_revision, operand);
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        if (compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE)
            operand = compare->lease;
        order = compare_i64(actual->lease, operand);
        break;
    default: /* a target nobody knows compares as equal */
        break;
    }
    return order_holds(compare->result, order);
}

struct range_compare {
    const Etcdserverpb__Compare *compare;
    bool any;
    bool holds;
};

static bool visit_compare(void *ctx, const struct mvcc_kv *kv)
{
    struct range_compare *range = ctx;

    range->any = true;
    range->holds = compare_holds(range->compare, kv);
    return range->holds;
}

static bool evaluate_compare(const struct mvcc *mvcc, const Etcdserverpb__Compare *compare)
{
    struct range_compare range = {.compare = compare};
    struct mvcc_span span = {slice_of_pb(compare->key), slice_of_pb(compare->range_end)};
    struct mvcc_kv kv;

    if (span.end.len == 0)
        return compare_holds(compare, mvcc_get(mvcc, span.key, &kv) ? &kv : NULL);
    /* True if it is for every key; no key at all counts as one that does not exist. */
    (void)mvcc_each(mvcc, span, visit_compare, &range);
    return range.any ? range.holds : compare_holds(compare, NULL);
}

static bool evaluate_compares(const struct mvcc *mvcc, const Etcdserverpb__TxnRequest *request)
{
    for (size_t i = 0; i < request->n_compare; i++)
        if (!evaluate_compare(mvcc, request->compare[i]))
            return false;
    return true;
}

static size_t branch(const Etcdserverpb__TxnRequest *request, bool success,
                     Etcdserverpb__RequestOp ***ops)
{
    *ops = success ? request->success : request->failure;
    return success ? request->n_success : request->n_failure;
}

static size_t count_txns_of(Etcdserverpb__RequestOp **ops, size_t len);

/* This txn and all inside it, taken or not. */
static size_t count_txns(const Etcdserverpb__TxnRequest *request)
{
    return 1 + count_txns_of(request->success, request->n_success) +
           count_txns_of(request->failure, request->n_failure);
}

static size_t count_txns_of(Etcdserverpb__RequestOp **ops, size_t len)
{
    size_t count = 0;

    for (size_t i = 0; i < len; i++)
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            count += count_txns(ops[i]->request_txn);
    return count;
}

static void choose_path(const struct mvcc *mvcc, const Etcdserverpb__TxnRequest *request,
                        struct path *path)
{
    bool success = evaluate_compares(mvcc, request);
    Etcdserverpb__RequestOp **ops;
    size_t len = branch(request, success, &ops);

    path->taken[path->len++] = success;
    for (size_t i = 0; i < len; i++)
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            choose_path(mvcc, ops[i]->request_txn, path);
}

/* ---- second pass: what can fail ---- */

static int check_range(const struct machine *machine, const Etcdserverpb__RangeRequest *request)
{
    struct mvcc_range range;

    if (request->key.len == 0 || !machine__range_of(request, &range))
        return KV_EINVAL;
    if (range.revision > mvcc_revision(machine->mvcc))
        return KV_EFUTURE;
    /* Unlike a range by itself, one in a txn takes a negative revision for an old one. */
    if (range.revision != 0 && range.revision < mvcc_compact_revision(machine->mvcc))
        return KV_ECOMPACTED;
    return 0;
}

/* What can fail is looked for in two rounds, puts before ranges: with both kinds of fault in one
 * txn the answer names the put's, as etcd's does. */
enum round { ROUND_CHANGES, ROUND_RANGES };

static int check_round(const struct machine *machine, const Etcdserverpb__TxnRequest *request,
                       struct path *path, enum round round);

static int check_op(const struct machine *machine, const Etcdserverpb__RequestOp *op,
                    struct path *path, enum round round)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return round == ROUND_RANGES ? check_range(machine, op->request_range) : 0;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return round == ROUND_CHANGES ? machine__check_put(machine, op->request_put) : 0;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return op->request_delete_range->key.len == 0 ? KV_EINVAL : 0;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return check_round(machine, op->request_txn, path, round);
    default: /* the service refuses an operation without content; so does a member that gets one */
        return KV_EKEYNOTFOUND;
    }
}

static int check_round(const struct machine *machine, const Etcdserverpb__TxnRequest *request,
                       struct path *path, enum round round)
{
    Etcdserverpb__RequestOp **ops;
    size_t len = branch(request, path->taken[path->next++], &ops);
    int rc = 0;

    for (size_t i = 0; i < len && rc == 0; i++)
        rc = check_op(machine, ops[i], path, round);
    return rc;
}

static int check_txn(const struct machine *machine, const Etcdserverpb__TxnRequest *request,
                     struct path *path)
{
    int rc = check_round(machine, request, path, ROUND_CHANGES);

    path->next = 0;
    return rc != 0 ? rc : check_round(machine, request, path, ROUND_RANGES);
}

/* ---- third pass: do it ---- */

struct run {
    const struct mvcc *mvcc;
    struct mvcc_txn *txn; /* NULL: read only */
    struct leases *leases;
    struct path *path;
    struct arena *arena;
    bool want;
    size_t records; /* in the answer so far */
    bool too_large; /* more than it may have; the rest of it is not made */
};

static Etcdserverpb__TxnResponse *run_txn(struct run *run, const Etcdserverpb__TxnRequest *request,
                                          int64_t header_revision);

static Etcdserverpb__RangeResponse *run_range(struct run *run,
                                              const Etcdserverpb__RangeRequest *request)
{
    struct mvcc_range_result result;
    struct mvcc_range range;
    int rc;

    if (!run->want || run->too_large) /* changes nothing, and only the origin owes an answer */
        return NULL;
    (void)machine__range_of(request, &range); /* checked */
    range.visit_max = MACHINE_TXN_RECORDS_MAX - run->records + 1;
    rc = mvcc_range(run->mvcc, &range, run->arena, &result);
    if (rc == 0)
        run->records += result.len;
    run->too_large = rc == KV_ETOOBIG || run->records > MACHINE_TXN_RECORDS_MAX;
    if (run->too_large)
        return NULL;
    ASSERT(rc == 0); /* check_range() saw to it */
    return machine__range_response(run->arena, &result,
                                   run->txn != NULL ? mvcc_txn_revision(run->txn)
                                                    : mvcc_revision(run->mvcc));
}

static void run_op(struct run *run, const Etcdserverpb__RequestOp *op,
                   Etcdserverpb__ResponseOp *out)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        out->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
        out->response_range = run_range(run, op->request_range);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        ASSERT(run->txn != NULL);
        out->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
        out->response_put =
            machine__put(run->txn, run->leases, op->request_put, run->want, run->arena);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        ASSERT(run->txn != NULL);
        out->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE;
        out->response_delete_range =
            machine__delete(run->txn, run->leases, op->request_delete_range, run->want, run->arena);
        break;
    default:
        ASSERT(op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN);
        out->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN;
        out->response_txn = run_txn(run, op->request_txn, 0); /* etcd's header here is all zero */
        break;
    }
}

static Etcdserverpb__TxnResponse *new_txn_response(struct arena *arena, bool succeeded, size_t len,
                                                   int64_t revision)
{
    Etcdserverpb__TxnResponse *response = arena_alloc(arena, sizeof *response);
    Etcdserverpb__ResponseOp *each = arena_alloc(arena, len * sizeof *each);

    etcdserverpb__txn_response__init(response);
    response->header = machine__header(arena, revision);
    response->succeeded = succeeded;
    response->responses = arena_alloc(arena, len * sizeof *response->responses);
    response->n_responses = len;
    for (size_t i = 0; i < len; i++) {
        etcdserverpb__response_op__init(&each[i]);
        response->responses[i] = &each[i];
    }
    return response;
}

static Etcdserverpb__TxnResponse *run_txn(struct run *run, const Etcdserverpb__TxnRequest *request,
                                          int64_t header_revision)
{
    bool success = run->path->taken[run->path->next++];
    Etcdserverpb__TxnResponse *response = NULL;
    Etcdserverpb__ResponseOp unwanted;
    Etcdserverpb__RequestOp **ops;
    size_t len = branch(request, success, &ops);

    if (run->want)
        response = new_txn_response(run->arena, success, len, header_revision);
    for (size_t i = 0; i < len; i++)
        run_op(run, ops[i], run->want ? response->responses[i] : &unwanted);
    return response;
}

/* ---- whole txns ---- */

static bool ops_put(Etcdserverpb__RequestOp **ops, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            return true;
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN &&
            machine__txn_puts(ops[i]->request_txn))
            return true;
    }
    return false;
}

bool machine__txn_puts(const Etcdserverpb__TxnRequest *request)
{
    return ops_put(request->success, request->n_success) ||
           ops_put(request->failure, request->n_failure);
}

/* First and second pass. */
static int prepare(const struct machine *machine, const Etcdserverpb__TxnRequest *request,
                   struct arena *arena, struct path *path)
{
    int rc;

    *path = (struct path){.taken = arena_alloc(arena, count_txns(request) * sizeof(bool))};
    choose_path(machine->mvcc, request, path);
    rc = check_txn(machine, request, path);
    path->next = 0;
    return rc;
}

void machine__apply_txn(struct machine *machine, const Etcdserverpb__TxnRequest *request, bool want,
                        struct arena *arena, struct machine_result *out)
{
    Etcdserverpb__TxnResponse *response;
    struct mvcc_txn txn;
    struct path path;
    struct run run = {.mvcc = machine->mvcc,
                      .txn = &txn,
                      .leases = machine->leases,
                      .path = &path,
                      .arena = arena,
                      .want = want};

    out->code = prepare(machine, request, arena, &path);
    if (out->code != 0)
        return;
    mvcc_txn_begin(machine->mvcc, &txn);
    response = run_txn(&run, request, 0);
    (void)mvcc_txn_end(&txn); /* asked for below */
    if (response != NULL)
        response->header->revision = mvcc_revision(machine->mvcc);
    out->too_large = run.too_large;
    out->response = run.too_large ? NULL : response;
}

static bool reads_only(Etcdserverpb__RequestOp **ops, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            return false;
    return true;
}

void machine_read_txn(const struct machine *machine, const Etcdserverpb__TxnRequest *request,
                      struct arena *arena, struct machine_result *out)
{
    int64_t revision = mvcc_revision(machine->mvcc);
    struct path path;
    struct run run = {.mvcc = machine->mvcc, .path = &path, .arena = arena, .want = true};

    ASSERT(reads_only(request->success, request->n_success));
    ASSERT(reads_only(request->failure, request->n_failure));

    *out = (struct machine_result){.revision = revision};
    out->code = prepare(machine, request, arena, &path);
    if (out->code != 0)
        return;
    out->response = run_txn(&run, request, revision);
    out->too_large = run.too_large;
    if (run.too_large)
        out->response = NULL;
}
