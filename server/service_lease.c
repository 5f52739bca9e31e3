/* etcdserverpb.Lease (etcd-api.md section 7). Grant and revoke are commands; keep-alive and
 * time-to-live are questions to the leader's clock (server/lessor.h). */
#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"
#include "server/auth_calls.h"
#include "server/lessor.h"
#include "server/scan.h"
#include "server/service.h"

/* ---- grant and revoke ---- */

/* What goes into the log is final: all members must grant the same. */
void service_lease_grant(struct grpc_call *call, struct slice message)
{
    struct member *member = service_member(call);
    Etcdserverpb__LeaseGrantRequest *request;
    enum status status;
    uint8_t *body;

    request = service_begin(call, message, &etcdserverpb__lease_grant_request__descriptor);
    if (request == NULL)
        return;
    if (!member__space_admit(member, call, SPACE_LEASE_COST))
        return;
    if (request->ttl > LEASE_TTL_MAX) {
        service_fail(call, STATUS_TTL_TOO_LARGE);
        return;
    }
    request->ttl = MAX(request->ttl, lessor__ttl_min(&member->lessor));
    if (request->id == LEASE_NONE)
        request->id = lessor__new_id(&member->lessor);
    body = arena_alloc(grpc_call_arena(call), protobuf_c_message_get_packed_size(&request->base));
    status = member__write(member, call, request, COMMAND_LEASE_GRANT,
                           slice_of(body, protobuf_c_message_pack(&request->base, body)),
                           service_on_written);
    if (status != STATUS_OK)
        service_fail(call, status);
}

void service_lease_revoke(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__LeaseRevokeRequest *request;
    enum status status;

    request = service_begin(call, message, &etcdserverpb__lease_revoke_request__descriptor);
    if (request == NULL)
        return;
    status = member__write(service_member(call), call, request, COMMAND_LEASE_REVOKE, message,
                           service_on_written);
    if (status != STATUS_OK)
        service_fail(call, status);
}

/* ---- list ---- */

/* Who sees a lease could ask for its keys. */
static int permit_leases(const struct machine *machine, const struct author *author,
                         const int64_t *ids, size_t count)
{
    int code = permit_user(machine, author);

    for (size_t i = 0; i < count && code == 0 && machine->auth->enabled; i++)
        code = permit_lease(machine, author, AUTH_READ, ids[i]);
    return code;
}

void service_lease_leases(struct grpc_call *call, struct slice message)
{
    const struct machine *machine = service_member(call)->machine;
    Etcdserverpb__LeaseLeasesResponse response = ETCDSERVERPB__LEASE_LEASES_RESPONSE__INIT;
    struct arena *arena = grpc_call_arena(call);
    size_t count = leases_count(machine->leases);
    Etcdserverpb__LeaseStatus *each;
    struct author author;
    int64_t *ids;

    if (service_begin(call, message, &etcdserverpb__lease_leases_request__descriptor) == NULL ||
        !service_author(call, &author))
        return;
    ids = arena_alloc(arena, count * sizeof *ids);
    each = arena_alloc(arena, count * sizeof *each);
    response.leases = arena_alloc(arena, count * sizeof *response.leases);
    response.n_leases = count;
    leases_list(machine->leases, ids);
    if (!service_permit(call, permit_leases(machine, &author, ids, count)))
        return;
    for (size_t i = 0; i < count; i++) {
        etcdserverpb__lease_status__init(&each[i]);
        each[i].id = ids[i];
        response.leases[i] = &each[i];
    }
    response.header = service_header(call, mvcc_revision(machine->mvcc));
    service_reply(call, &response.base);
}

/* ---- time to live ---- */

/* Lives in the call's arena. */
struct time_to_live {
    struct waiter waiter;
    struct lease_question question;
    struct grpc_call *call;
    bool keys;
};

struct key_list {
    ProtobufCBinaryData *keys;
    size_t len;
};

static void list_key(void *ctx, struct slice key)
{
    struct key_list *list = ctx;

    list->keys[list->len++] =
        (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)key.data, .len = key.len};
}

/* The clock is the leader's, the keys are ours: whoever got this far has applied everything that
 * was acknowledged when the call came. */
static void on_time(struct lease_question *question, enum status status,
                    const struct lease_answer *answer)
{
    struct time_to_live *wait = CONTAINER_OF(question, struct time_to_live, question);
    const struct machine *machine = service_member(wait->call)->machine;
    Etcdserverpb__LeaseTimeToLiveResponse response =
        ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    struct key_list list = {0};
    struct author author;

    grpc_call_set_data(wait->call, NULL);
    if (status != STATUS_OK) {
        service_fail(wait->call, status);
        return;
    }
    if (!service_author(wait->call, &author) ||
        !service_permit(wait->call, wait->keys
                                        ? permit_lease(machine, &author, AUTH_READ, question->lease)
                                        : permit_user(machine, &author)))
        return;
    response.header = service_header(wait->call, mvcc_revision(machine->mvcc));
    response.id = question->lease;
    response.ttl = answer->known ? answer->remaining : -1;
    response.grantedttl = answer->known ? answer->ttl : 0;
    if (wait->keys && answer->known) {
        list.keys =
            arena_alloc(grpc_call_arena(wait->call),
                        leases_key_count(machine->leases, question->lease) * sizeof *list.keys);
        leases_each_key(machine->leases, question->lease, list_key, &list);
    }
    response.keys = list.keys;
    response.n_keys = list.len;
    service_reply(wait->call, &response.base);
}

static void cancel_time(struct waiter *waiter)
{
    struct time_to_live *wait = CONTAINER_OF(waiter, struct time_to_live, waiter);

    lessor__cancel(&service_member(wait->call)->lessor, &wait->question);
}

static void run_time_to_live(struct grpc_call *call, const void *message)
{
    const Etcdserverpb__LeaseTimeToLiveRequest *request = message;
    struct time_to_live *wait = arena_alloc(grpc_call_arena(call), sizeof *wait);

    *wait = (struct time_to_live){
        .waiter.cancel = cancel_time,
        .question = {.kind = LEASE_TIME, .lease = request->id, .cb = on_time},
        .call = call,
        .keys = request->keys,
    };
    if (lessor__ask(&service_member(call)->lessor, &wait->question))
        grpc_call_set_data(call, &wait->waiter);
    else
        service_fail(call, STATUS_TOO_MANY_REQUESTS);
}

void service_lease_time_to_live(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__LeaseTimeToLiveRequest *request;

    request = service_begin(call, message, &etcdserverpb__lease_time_to_live_request__descriptor);
    if (request != NULL)
        service_read(call, request, run_time_to_live);
}

/* ---- keep-alive ---- */

enum { RENEWALS_MAX = 65536 }; /* of one stream, unanswered: etcd reads one at a time */

struct renewal {
    struct lease_question question;
    struct list link;
    struct keep_alive *stream;
    int64_t revision; /* before it: a racing revoke has a higher one */
    int64_t ttl;
    bool answered;
};

/* One stream; lives in the call's arena. */
struct keep_alive {
    struct waiter waiter;
    struct list link; /* in member->keep_alives */
    struct member *member;
    struct grpc_call *call;
    struct list renewals; /* in the order of the requests */
    size_t count;
    struct renewal first; /* used while no other is: most clients wait for the answer */
    bool half_closed;
    bool has_leader; /* ends when there is none */
};

static struct renewal *new_renewal(struct keep_alive *stream)
{
    return stream->count == 0 ? &stream->first : xmalloc(sizeof(struct renewal));
}

static void free_renewal(struct keep_alive *stream, struct renewal *renewal)
{
    if (renewal != &stream->first)
        free(renewal);
}

static void forget_renewal(struct renewal *renewal)
{
    list_remove(&renewal->link);
    renewal->stream->count--;
    free_renewal(renewal->stream, renewal);
}

static void cancel_keep_alive(struct waiter *waiter)
{
    struct keep_alive *stream = CONTAINER_OF(waiter, struct keep_alive, waiter);

    while (!list_empty(&stream->renewals)) {
        struct renewal *renewal = LIST_FIRST(&stream->renewals, struct renewal, link);

        lessor__cancel(&stream->member->lessor, &renewal->question);
        forget_renewal(renewal);
    }
    list_remove(&stream->link);
}

static void end_stream(struct keep_alive *stream, enum status status)
{
    struct grpc_call *call = stream->call;

    cancel_keep_alive(&stream->waiter);
    grpc_call_set_data(call, NULL);
    if (status == STATUS_OK)
        grpc_call_finish(call, GRPC_OK, "");
    else
        service_fail(call, status);
}

static void send_renewal(struct keep_alive *stream, const struct renewal *renewal)
{
    struct encode_header header = service_encode_header(stream->member, renewal->revision);
    int64_t id = renewal->question.lease;
    size_t size = encode_keep_alive_size(&header, id, renewal->ttl);

    (void)encode_keep_alive(grpc_call_message(stream->call, size), &header, id, renewal->ttl);
    grpc_call_send(stream->call);
}

static void on_renewed(struct lease_question *question, enum status status,
                       const struct lease_answer *answer)
{
    struct renewal *renewal = CONTAINER_OF(question, struct renewal, question);
    struct keep_alive *stream = renewal->stream;

    if (status != STATUS_OK) {
        end_stream(stream, status);
        return;
    }
    renewal->answered = true;
    renewal->ttl = answer->known ? answer->ttl : 0;
    while (!list_empty(&stream->renewals)) {
        renewal = LIST_FIRST(&stream->renewals, struct renewal, link);
        if (!renewal->answered)
            return;
        send_renewal(stream, renewal);
        forget_renewal(renewal);
    }
    if (stream->half_closed)
        end_stream(stream, STATUS_OK);
}

static enum status renew(struct keep_alive *stream, int64_t lease)
{
    struct renewal *renewal;
    struct author author;
    enum status status;

    if (stream->count >= RENEWALS_MAX)
        return STATUS_TOO_MANY_REQUESTS;
    /* Asked anew each time: a stream outlives what its user may. */
    status = auth_author(stream->member, stream->call, &author);
    if (status == STATUS_OK)
        status = status_of_error(permit_lease(stream->member->machine, &author, AUTH_WRITE, lease));
    if (status != STATUS_OK)
        return status;
    renewal = new_renewal(stream);
    *renewal = (struct renewal){
        .question = {.kind = LEASE_RENEW, .lease = lease, .cb = on_renewed},
        .stream = stream,
        .revision = mvcc_revision(stream->member->machine->mvcc),
    };
    if (!lessor__ask(&stream->member->lessor, &renewal->question)) {
        free_renewal(stream, renewal);
        return STATUS_TOO_MANY_REQUESTS;
    }
    list_push_back(&stream->renewals, &renewal->link);
    stream->count++;
    return STATUS_OK;
}

static struct keep_alive *open_stream(struct grpc_call *call)
{
    struct member *member = service_member(call);
    struct keep_alive *stream = arena_alloc(grpc_call_arena(call), sizeof *stream);

    *stream = (struct keep_alive){
        .waiter.cancel = cancel_keep_alive,
        .member = member,
        .call = call,
        .has_leader = slice_eq(grpc_call_header(call, "hasleader"), slice_str("true")),
    };
    list_init(&stream->renewals);
    list_push_back(&member->keep_alives, &stream->link);
    grpc_call_set_data(call, &stream->waiter);
    return stream;
}

/* What clients send is one number (absent: 0); anything else takes the long way. */
static int read_request(struct slice message, struct arena *scratch, int64_t *id)
{
    const ProtobufCMessageDescriptor *type = &etcdserverpb__lease_keep_alive_request__descriptor;
    struct reader in = reader_of(message);
    ProtobufCMessage *unpacked;
    int rc;

    *id = read_u8(&in) == (1 << 3 | PROTOBUF_C_WIRE_TYPE_VARINT) ? (int64_t)read_varint(&in) : 0;
    if (*id != 0 && !in.bad && in.rest.len == 0)
        return 0;
    rc = scan_unpack(type, message, scratch, &unpacked);
    if (rc == 0)
        *id = ((Etcdserverpb__LeaseKeepAliveRequest *)unpacked)->id;
    arena_reset(scratch);
    return rc;
}

/* The first message opens the stream, with the checks that every call gets. Later ones leave
 * nothing in the call's arena, which lives as long as the stream. */
void service_lease_keep_alive(struct grpc_call *call, struct slice message)
{
    const ProtobufCMessageDescriptor *type = &etcdserverpb__lease_keep_alive_request__descriptor;
    struct waiter *waiter = grpc_call_data(call);
    const Etcdserverpb__LeaseKeepAliveRequest *request;
    enum status status = STATUS_MALFORMED;
    struct keep_alive *stream;
    int64_t id;

    if (waiter == NULL) {
        request = service_begin(call, message, type);
        if (request == NULL)
            return;
        stream = open_stream(call);
        status = renew(stream, request->id);
    } else {
        stream = CONTAINER_OF(waiter, struct keep_alive, waiter);
        if (read_request(message, &service_member(call)->scratch, &id) == 0)
            status = renew(stream, id);
    }
    if (status != STATUS_OK)
        end_stream(stream, status);
}

/* What was asked is answered first. */
void service_lease_keep_alive_end(struct grpc_call *call)
{
    struct waiter *waiter = grpc_call_data(call);
    struct keep_alive *stream;

    if (waiter == NULL) {
        grpc_call_finish(call, GRPC_OK, "");
        return;
    }
    stream = CONTAINER_OF(waiter, struct keep_alive, waiter);
    stream->half_closed = true;
    if (list_empty(&stream->renewals))
        end_stream(stream, STATUS_OK);
}

void member__end_keep_alives(struct member *member, enum keep_alive_streams which,
                             enum status status)
{
    LIST_EACH_SAFE (node, &member->keep_alives) {
        struct keep_alive *stream = LIST_ENTRY(node, struct keep_alive, link);

        if (which == KEEP_ALIVE_ALL || stream->has_leader)
            end_stream(stream, status);
    }
}
