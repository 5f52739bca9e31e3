#include "server/claims.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "server/machine_internal.h"
#include "server/recipe.h"
#include "server/service.h"
#include "server/watches.h"

struct claims {
    struct member *member;
    struct queues *queues;
    struct list all;
    struct list ready;
    size_t count;
    size_t bytes;
    size_t waiting;
};

static struct claims *claims_of(const struct claim *claim)
{
    return claim->member->claims;
}

static struct slice prefix_of(const struct claim *claim)
{
    return slice_of(claim->key, claim->name_len + 1);
}

/* ---- begin and end ---- */

/* Its stage begins in the next claims_run(): here we may be inside an apply, where nothing may be
 * proposed. */
static void begin_later(struct claim *claim, enum claim_stage stage)
{
    claim->stage = stage;
    list_push_back(&claims_of(claim)->ready, &claim->ready);
}

static void drop_value(struct claim *claim)
{
    claims_of(claim)->bytes -= claim->value.len;
    free((void *)(uintptr_t)claim->value.data);
    claim->value = slice_of(NULL, 0);
}

static void free_claim(struct claim *claim)
{
    struct claims *claims = claims_of(claim);

    drop_value(claim);
    claims->bytes -= claim->bytes;
    claims->count--;
    list_remove(&claim->link);
    list_remove(&claim->ready);
    free(claim);
}

static struct grpc_call *take_call(struct claim *claim)
{
    struct grpc_call *call = claim->call;

    claim->call = NULL;
    if (call != NULL)
        grpc_call_set_data(call, NULL);
    return call;
}

/* The claim ends with it; the place, if it has one, stays. */
static void fail(struct claim *claim, enum status status)
{
    struct grpc_call *call = take_call(claim);

    if (call != NULL)
        recipe_fail(call, status);
    free_claim(claim);
}

static void fail_and_leave(struct claim *claim, enum status status)
{
    struct grpc_call *call = take_call(claim);

    if (call != NULL)
        recipe_fail(call, status);
    begin_later(claim, CLAIM_LEAVE);
}

static void answer(struct claim *claim, int64_t revision)
{
    claim->kind->reply(take_call(claim), claim, revision);
    free_claim(claim);
}

static void set_waiting(struct claim *claim, bool waiting)
{
    if (waiting)
        claims_of(claim)->waiting++;
    else
        claims_of(claim)->waiting--;
}

/* The call is about to go. What has left already goes on without it. */
static void cancel_claim(struct waiter *waiter)
{
    struct claim *claim = CONTAINER_OF(waiter, struct claim, waiter);

    claim->call = NULL;
    switch (claim->stage) {
    case CLAIM_WAIT:
        set_waiting(claim, false);
        queues_leave(&claim->wait);
        begin_later(claim, CLAIM_LEAVE);
        break;
    case CLAIM_CHECK:
        member_read_cancel(claim->member, &claim->read);
        begin_later(claim, CLAIM_LEAVE);
        break;
    default:
        if (!list_empty(&claim->ready)) /* nothing has left */
            free_claim(claim);
        break;
    }
}

/* ---- proposals ---- */

/* done gets the claim as its request. */
static void propose(struct claim *claim, enum command_kind kind, struct slice body, write_done done)
{
    enum status status = member__write_for(claim->member, claim->call, claim, kind, body, done);

    if (status != STATUS_OK)
        fail(claim, status);
}

static struct claim *claim_of(const void *request)
{
    return (struct claim *)(uintptr_t)request; /* it is ours */
}

static void put_key(struct claim *claim, int64_t create_revision, write_done done)
{
    struct arena arena = ARENA_INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;

    put.key = pb_of_slice(claim_key(claim));
    put.value = pb_of_slice(claim->value);
    put.lease = claim->lease;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    propose(claim, COMMAND_TXN, recipe_guarded(&arena, claim_key(claim), create_revision, &op),
            done);
    arena_release(&arena);
}

/* Only the key that was ours: another claim with the same lease may have made a new one. Nobody
 * waits for the outcome; if it fails the key goes with its lease. */
static void leave(struct claim *claim)
{
    struct arena arena = ARENA_INIT;

    (void)member__write(claim->member, NULL, NULL, COMMAND_TXN,
                        recipe_guarded_delete(&arena, claim_key(claim), claim->create_revision),
                        NULL);
    arena_release(&arena);
    free_claim(claim);
}

/* ---- the first in line ---- */

static void check(struct claim *claim);

static void on_checked(struct member_read *read, int status)
{
    struct claim *claim = CONTAINER_OF(read, struct claim, read);
    const struct mvcc *mvcc = claim->member->machine->mvcc;
    enum status ended = status_of_error(status);
    struct mvcc_kv kv;

    if (status == 0) /* it may have been taken away while it waited */
        ended = recipe_permit(claim->call, prefix_of(claim));
    if (status == KV_ELEADERCHANGED) /* the next leader will say */
        check(claim);
    else if (ended != STATUS_OK)
        fail_and_leave(claim, ended);
    else if (!mvcc_get(mvcc, claim_key(claim), &kv) || kv.create_revision != claim->create_revision)
        fail(claim, claim->kind->lost);
    else
        answer(claim, mvcc_revision(mvcc));
}

static void check(struct claim *claim)
{
    claim->stage = CLAIM_CHECK;
    claim->read = (struct member_read){.cb = on_checked};
    member_read_start(claim->member, &claim->read);
}

static void on_queue(struct queue_wait *wait, enum queue_news news)
{
    struct claim *claim = CONTAINER_OF(wait, struct claim, wait);

    set_waiting(claim, false);
    if (news == QUEUE_FIRST)
        check(claim);
    else if (news == QUEUE_GONE)
        fail(claim, claim->kind->lost);
    else
        fail_and_leave(claim, STATUS_TOO_MANY_REQUESTS);
}

/* The key is there, as of the command that has just been applied. */
static void join_queue(struct claim *claim)
{
    enum status status = recipe_permit(claim->call, prefix_of(claim));
    enum queue_news news;

    if (status != STATUS_OK) {
        fail_and_leave(claim, status);
        return;
    }
    drop_value(claim);
    claim->stage = CLAIM_WAIT;
    claim->wait = (struct queue_wait){.prefix = prefix_of(claim),
                                      .key = claim_key(claim),
                                      .create_revision = claim->create_revision,
                                      .cb = on_queue};
    news = queues_join(claims_of(claim)->queues, &claim->wait);
    if (news == QUEUE_WAITING)
        set_waiting(claim, true);
    else if (news == QUEUE_FIRST)
        answer(claim, claim->revision);
    else
        fail_and_leave(claim, STATUS_TOO_MANY_REQUESTS);
}

/* ---- the steps before ---- */

static enum claim_stage first_stage(const struct claim *claim)
{
    return claim->kind->purpose == CLAIM_PROCLAIM ? CLAIM_ANNOUNCE : CLAIM_ENQUEUE;
}

static void on_announced(struct member *member, struct grpc_call *call, const void *request,
                         enum status status, const struct machine_result *result)
{
    struct claim *claim = claim_of(request);
    const Etcdserverpb__TxnResponse *response = result == NULL ? NULL : result->response;

    (void)member;
    (void)call; /* the claim's, if it is still there */
    if (claim->call == NULL)
        free_claim(claim);
    else if (status != STATUS_OK && claim->kind->purpose == CLAIM_CAMPAIGN)
        fail_and_leave(claim, status);
    else if (status != STATUS_OK)
        fail(claim, status);
    else if (!response->succeeded)
        fail(claim, STATUS_ELECTION_NOT_LEADER);
    else if (claim->kind->purpose == CLAIM_PROCLAIM)
        answer(claim, result->revision);
    else
        join_queue(claim);
}

static void on_enqueued(struct member *member, struct grpc_call *call, const void *request,
                        enum status status, const struct machine_result *result)
{
    struct claim *claim = claim_of(request);
    const Etcdserverpb__TxnResponse *response = result == NULL ? NULL : result->response;
    struct mvcc_kv kv = {0};

    (void)call; /* the claim's, if it is still there */
    if (status != STATUS_OK) {
        fail(claim, status);
        return;
    }
    (void)mvcc_get(member->machine->mvcc, claim_key(claim), &kv); /* it was there, or is now */
    claim->create_revision = kv.create_revision;
    claim->revision = result->revision;
    if (claim->call == NULL && response->succeeded)
        begin_later(claim, CLAIM_LEAVE);
    else if (claim->call == NULL) /* the place is another claim's of the same lease */
        free_claim(claim);
    else if (claim->kind->purpose == CLAIM_CAMPAIGN && !slice_eq(kv.value, claim->value))
        begin_later(claim, CLAIM_ANNOUNCE);
    else
        join_queue(claim);
}

static void on_granted(struct member *member, struct grpc_call *call, const void *request,
                       enum status status, const struct machine_result *result)
{
    struct claim *claim = claim_of(request);

    (void)member;
    (void)call; /* the claim's, if it is still there */
    (void)result;
    if (status != STATUS_OK || claim->call == NULL)
        fail(claim, status);
    else
        begin_later(claim, first_stage(claim));
}

static void grant(struct claim *claim)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    uint8_t body[64];

    request.id = claim->lease;
    request.ttl = MAX((int64_t)CLAIM_SESSION_TTL_S, lessor__ttl_min(&claim->member->lessor));
    ASSERT(etcdserverpb__lease_grant_request__get_packed_size(&request) <= sizeof body);
    propose(claim, COMMAND_LEASE_GRANT,
            slice_of(body, etcdserverpb__lease_grant_request__pack(&request, body)), on_granted);
}

static void begin(struct claim *claim)
{
    switch (claim->stage) {
    case CLAIM_GRANT:
        grant(claim);
        break;
    case CLAIM_ENQUEUE:
        put_key(claim, 0, on_enqueued);
        break;
    case CLAIM_ANNOUNCE:
        put_key(claim, claim->create_revision, on_announced);
        break;
    case CLAIM_LEAVE:
        leave(claim);
        break;
    case CLAIM_WAIT: /* these follow from what happens */
    case CLAIM_CHECK:
        ASSERT(false);
    }
}

/* ---- from the services ---- */

static struct claim *new_claim(struct grpc_call *call, const struct claim_kind *kind,
                               size_t key_max, struct slice value)
{
    struct member *member = service_member(call);
    struct claims *claims = member->claims;
    struct claim *claim;

    if (claims->count >= CLAIMS_MAX || key_max + value.len > CLAIM_BYTES_MAX - claims->bytes) {
        recipe_fail(call, STATUS_TOO_MANY_REQUESTS);
        return NULL;
    }
    claim = xmalloc(sizeof *claim + key_max);
    *claim = (struct claim){.waiter.cancel = cancel_claim,
                            .member = member,
                            .call = call,
                            .kind = kind,
                            .bytes = key_max};
    if (value.len > 0)
        claim->value = slice_of(xmemdup(value.data, value.len), value.len);
    list_init(&claim->ready);
    list_push_back(&claims->all, &claim->link);
    claims->count++;
    claims->bytes += key_max + value.len;
    grpc_call_set_data(call, &claim->waiter);
    return claim;
}

/* As Go prints a lease in hexadecimal: a negative one has a sign. */
static void name_key(struct claim *claim, struct slice name)
{
    uint64_t magnitude = claim->lease < 0 ? 0 - (uint64_t)claim->lease : (uint64_t)claim->lease;
    char text[CLAIM_LEASE_TEXT_MAX + 1];
    int len = snprintf(text, sizeof text, "%s%" PRIx64, claim->lease < 0 ? "-" : "", magnitude);

    if (name.len > 0)
        memcpy(claim->key, name.data, name.len);
    claim->key[name.len] = '/';
    memcpy(claim->key + name.len + 1, text, (size_t)len);
    claim->name_len = name.len;
    claim->key_len = name.len + 1 + (size_t)len;
}

static void begin_with_lease(struct claim *claim, int64_t lease)
{
    claim->lease = lease != LEASE_NONE ? lease : lessor__new_id(&claim->member->lessor);
    claim->stage = lease != LEASE_NONE ? first_stage(claim) : CLAIM_GRANT;
}

void claims_enter(struct grpc_call *call, const struct claim_kind *kind, struct slice name,
                  int64_t lease, struct slice value)
{
    struct claim *claim = new_claim(call, kind, name.len + 1 + CLAIM_LEASE_TEXT_MAX, value);

    if (claim == NULL)
        return;
    begin_with_lease(claim, lease);
    name_key(claim, name);
    begin(claim);
}

void claims_announce(struct grpc_call *call, const struct claim_kind *kind, struct slice key,
                     int64_t create_revision, int64_t lease, struct slice value)
{
    struct claim *claim = new_claim(call, kind, key.len, value);

    if (claim == NULL)
        return;
    begin_with_lease(claim, lease);
    memcpy(claim->key, key.data, key.len);
    claim->key_len = key.len;
    claim->create_revision = create_revision;
    begin(claim);
}

/* ---- the whole ---- */

void claims_switch(struct claims *claims)
{
    queues_switch(claims->queues, claims->member->machine->mvcc);
}

void claims_run(struct claims *claims)
{
    struct list now;

    queues_run(claims->queues);
    list_init(&now);
    list_splice(&now, &claims->ready);
    while (!list_empty(&now)) {
        struct claim *claim = LIST_FIRST(&now, struct claim, ready);

        list_remove(&claim->ready);
        begin(claim);
    }
}

/* Those whose writes are under way end with them. */
static void end_claim(struct claim *claim, enum status status)
{
    struct grpc_call *call = take_call(claim);

    if (call == NULL)
        return;
    recipe_fail(call, status);
    if (claim->stage == CLAIM_WAIT) {
        set_waiting(claim, false);
        queues_leave(&claim->wait);
    }
    if (claim->stage == CLAIM_CHECK)
        member_read_cancel(claim->member, &claim->read);
    if (claim->stage == CLAIM_WAIT || claim->stage == CLAIM_CHECK || !list_empty(&claim->ready))
        free_claim(claim);
}

void claims_end(struct claims *claims, enum status status)
{
    LIST_EACH_SAFE (node, &claims->all)
        end_claim(LIST_ENTRY(node, struct claim, link), status);
}

size_t claims_waiting(const struct claims *claims)
{
    return claims->waiting;
}

struct claims *claims_new(struct member *member, uint64_t seed)
{
    struct claims *claims = xcalloc(1, sizeof *claims);

    claims->member = member;
    claims->queues = queues_new(member->watches->hub, member->machine->mvcc, seed);
    list_init(&claims->all);
    list_init(&claims->ready);
    return claims;
}

void claims_free(struct claims *claims)
{
    if (claims == NULL)
        return;
    while (!list_empty(&claims->ready)) {
        struct claim *claim = LIST_FIRST(&claims->ready, struct claim, ready);

        ASSERT(claim->call == NULL);
        free_claim(claim);
    }
    ASSERT(claims->count == 0);
    queues_free(claims->queues);
    free(claims);
}
