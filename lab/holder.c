/* Clients A, B and C, which want the same lock: etcd's recipe (a key with a lease, the oldest one
 * holds the lock), and a resource that the lock protects. A client that is asleep does nothing, as
 * a process in a long pause; what it believes when it wakes up is what it believed before.
 *
 * Its fencing token is the create revision of its key: a guarded write is made in a transaction
 * that compares it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lab/internal.h"

#define QUEUE LAB_PREFIX "lock/"
#define QUEUE_END LAB_PREFIX "lock0"
#define RESOURCE LAB_PREFIX "protected"

enum { LEASE_TTL_S = 2 };

static ProtobufCBinaryData bytes_of(const char *text)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = strlen(text)};
}

struct lab_holder *lab__holder(struct lab *lab, char name)
{
    struct lab_holder *holder = &lab->holders[name - 'A'];

    holder->lab = lab;
    holder->name = name;
    return holder;
}

/* Through the member that leads, or any that runs. */
static struct kv_client *client_of(const struct lab_holder *holder)
{
    unsigned leader = lab__leader(holder->lab);

    for (unsigned n = 1; leader == 0 && n <= LAB_MEMBERS_MAX; n++) {
        if (lab__runs(&holder->lab->members[n]))
            leader = n;
    }
    return leader != 0 ? holder->lab->load.clients[leader].client : NULL;
}

static int start_call(struct lab_holder *holder, const struct kv_method *method,
                      const ProtobufCMessage *request, kv_call_cb cb, struct err *err)
{
    struct kv_call_options options = {.timeout_ms = 3000};
    struct kv_client *client = client_of(holder);
    int rc;

    if (client == NULL)
        return err_set(err, KV_ENOLEADER, "no member runs that client %c could ask", holder->name);
    rc = kv_call_start(client, &holder->call, method, request, &options, cb, err);
    holder->calling = rc == 0;
    return rc;
}

static void give_up(struct lab_holder *holder, const char *what)
{
    lab__say(holder->lab, LAB_WRONG, 0, 0, "client %c %s: %.150s", holder->name, what,
             holder->call.result.err.text);
    kv_result_release(&holder->call.result);
    holder->used = false;
}

static void on_keepalive(struct kv_keepalive *keepalive,
                         const Etcdserverpb__LeaseKeepAliveResponse *response,
                         const struct err *err)
{
    struct lab_holder *holder = CONTAINER_OF(keepalive, struct lab_holder, keepalive);

    (void)response;
    if (err->code == 0)
        return;
    holder->keeps_alive = false;
    lab__say(holder->lab, LAB_HAPPENS, 0, 0, "client %c learns that its lease is gone%s",
             holder->name, holder->holds ? ", and the lock with it" : "");
    holder->holds = holder->used = false;
}

static void keep_alive(struct lab_holder *holder)
{
    struct kv_client *client = client_of(holder);

    if (holder->keeps_alive || client == NULL)
        return;
    holder->keeps_alive = true;
    kv_keepalive_start(client, &holder->keepalive, holder->lease, on_keepalive);
}

/* ---- getting the lock ---- */

static void on_oldest(struct kv_call *call)
{
    struct lab_holder *holder = CONTAINER_OF(call, struct lab_holder, call);
    const Etcdserverpb__RangeResponse *range = (const void *)call->result.message;

    holder->calling = false;
    if (call->result.err.code == 0 && range->n_kvs == 1 &&
        range->kvs[0]->create_revision == holder->token && !holder->asleep) {
        holder->holds = true;
        lab__say(holder->lab, LAB_HAPPENS, 0, 0, "client %c holds the lock, fencing token %lld",
                 holder->name, (long long)holder->token);
    }
    kv_result_release(&call->result); /* a failure: asked again */
}

static void ask_oldest(struct lab_holder *holder)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;

    range.key = bytes_of(QUEUE);
    range.range_end = bytes_of(QUEUE_END);
    range.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    range.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    range.limit = 1;
    (void)start_call(holder, &kv_method_range, &range.base, on_oldest, NULL); /* asked again */
}

static void on_queued(struct kv_call *call)
{
    struct lab_holder *holder = CONTAINER_OF(call, struct lab_holder, call);
    const Etcdserverpb__PutResponse *put = (const void *)call->result.message;

    holder->calling = false;
    if (call->result.err.code != 0) {
        give_up(holder, "could not queue up for the lock");
        return;
    }
    holder->token = put->header != NULL ? put->header->revision : 0;
    kv_result_release(&call->result);
    keep_alive(holder);
}

static void on_granted(struct kv_call *call)
{
    struct lab_holder *holder = CONTAINER_OF(call, struct lab_holder, call);
    const Etcdserverpb__LeaseGrantResponse *grant = (const void *)call->result.message;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    char name[2] = {holder->name, '\0'};

    holder->calling = false;
    if (call->result.err.code != 0) {
        give_up(holder, "got no lease");
        return;
    }
    holder->lease = grant->id;
    kv_result_release(&call->result);
    (void)snprintf(holder->key, sizeof holder->key, QUEUE "%" PRIx64, (uint64_t)holder->lease);
    put.key = bytes_of(holder->key);
    put.value = bytes_of(name);
    put.lease = holder->lease;
    if (start_call(holder, &kv_method_put, &put.base, on_queued, NULL) != 0)
        holder->used = false;
}

int lab__holder_lock(struct lab_holder *holder, struct err *err)
{
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    int rc;

    if (holder->used || holder->calling)
        return err_set(err, KV_EBUSY, "client %c waits for the lock already, or holds it",
                       holder->name);
    holder->asleep = holder->holds = false;
    holder->token = 0;
    grant.ttl = LEASE_TTL_S;
    rc = start_call(holder, &kv_method_lease_grant, &grant.base, on_granted, err);
    holder->used = rc == 0;
    return rc;
}

void lab__holder_tick(struct lab_holder *holder)
{
    if (!holder->used || holder->asleep || holder->calling || holder->token == 0)
        return;
    if (!holder->holds)
        ask_oldest(holder);
    keep_alive(holder);
}

/* ---- pausing ---- */

int lab__holder_sleep(struct lab_holder *holder, struct err *err)
{
    if (!holder->used)
        return err_set(err, KV_ENOTFOUND, "client %c has no lock and waits for none: lock %c",
                       holder->name, holder->name);
    holder->asleep = true;
    if (holder->keeps_alive)
        kv_keepalive_stop(&holder->keepalive);
    holder->keeps_alive = false;
    return 0;
}

int lab__holder_wake(struct lab_holder *holder, struct err *err)
{
    if (!holder->asleep)
        return err_set(err, KV_EINVAL, "client %c is awake", holder->name);
    holder->asleep = false; /* the next tick renews the lease, and may learn that it is gone */
    return 0;
}

/* ---- writing what the lock protects ---- */

/* The transaction also tells who is the oldest in the queue: the true holder. */
static void on_written(struct kv_call *call)
{
    struct lab_holder *holder = CONTAINER_OF(call, struct lab_holder, call);
    struct lab *lab = holder->lab;
    const Etcdserverpb__TxnResponse *txn = (const void *)call->result.message;
    const Etcdserverpb__RangeResponse *oldest;
    bool is_holder;

    holder->calling = holder->writes = false;
    if (call->result.err.code != 0) {
        lab__say(lab, LAB_WRONG, 0, 0, "client %c's write: %.150s", holder->name,
                 call->result.err.text);
        kv_result_release(&call->result);
        return;
    }
    oldest = txn->n_responses != 0 ? txn->responses[0]->response_range : NULL;
    is_holder =
        oldest != NULL && oldest->n_kvs == 1 && oldest->kvs[0]->create_revision == holder->token;
    if (!txn->succeeded) {
        lab->experiment.fenced++;
        lab__say(lab, LAB_HAPPENS, 0, 0, "client %c's write is refused: its token %lld is void",
                 holder->name, (long long)holder->token);
    } else if (is_holder) {
        lab__say(lab, LAB_HAPPENS, 0, 0, "client %c writes, holding the lock", holder->name);
    } else {
        lab->experiment.slipped++;
        lab__say(lab, LAB_HAPPENS, 0, 0,
                 "client %c writes although the lock is no longer its own: nobody stopped it",
                 holder->name);
    }
    kv_result_release(&call->result);
}

int lab__holder_write(struct lab_holder *holder, bool unguarded, struct err *err)
{
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest oldest = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp ops[] = {ETCDSERVERPB__REQUEST_OP__INIT,
                                     ETCDSERVERPB__REQUEST_OP__INIT};
    Etcdserverpb__RequestOp *success[] = {&ops[0], &ops[1]}, *failure[] = {&ops[0]};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    char name[2] = {holder->name, '\0'};

    if (holder->token == 0)
        return err_set(err, KV_EINVAL, "client %c has never queued up for the lock", holder->name);
    if (holder->calling || holder->asleep)
        return err_set(err, KV_EBUSY, "client %c is %s", holder->name,
                       holder->asleep ? "asleep" : "busy");
    compare.key = bytes_of(holder->key);
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    compare.create_revision = holder->token;
    oldest.key = bytes_of(QUEUE);
    oldest.range_end = bytes_of(QUEUE_END);
    oldest.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    oldest.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    oldest.limit = 1;
    ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    ops[0].request_range = &oldest;
    put.key = bytes_of(RESOURCE);
    put.value = bytes_of(name);
    ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[1].request_put = &put;
    txn.compare = compares;
    txn.n_compare = unguarded ? 0 : 1;
    txn.success = success;
    txn.n_success = 2;
    txn.failure = failure;
    txn.n_failure = 1;
    holder->writes = start_call(holder, &kv_method_txn, &txn.base, on_written, err) == 0;
    return holder->writes ? 0 : KV_ENOLEADER;
}

void lab__holder_leave(struct lab_holder *holder, const struct kv_client *client)
{
    if (!holder->keeps_alive || holder->keepalive.stream.client != client)
        return;
    kv_keepalive_stop(&holder->keepalive);
    holder->keeps_alive = false;
}

void lab__holder_release(struct lab_holder *holder)
{
    if (holder->calling)
        kv_call_cancel(&holder->call);
    if (holder->keeps_alive)
        kv_keepalive_stop(&holder->keepalive);
    holder->calling = holder->keeps_alive = holder->used = false;
}
