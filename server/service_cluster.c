/* etcdserverpb.Cluster (etcd-api.md section 8): the members, and changes of them. */
#include <stdlib.h>
#include <string.h>

#include "server/identity.h"
#include "server/service.h"

/* ---- answers ---- */

static void fill_member(Etcdserverpb__Member *out, const struct machine_member *member)
{
    etcdserverpb__member__init(out);
    out->id = member->id;
    out->name = member->name;
    out->peerurls = member->peer_urls;
    out->n_peerurls = member->peer_url_count;
    out->clienturls = member->client_urls;
    out->n_clienturls = member->client_url_count;
    out->islearner = member->learner;
}

/* The table as it is now. */
static Etcdserverpb__Member **list_members(struct grpc_call *call, size_t *count)
{
    const struct machine *machine = service_member(call)->machine;
    struct arena *arena = grpc_call_arena(call);
    Etcdserverpb__Member *each = arena_alloc(arena, (machine->member_count + 1) * sizeof *each);
    Etcdserverpb__Member **list = arena_alloc(arena, (machine->member_count + 1) * sizeof *list);

    for (size_t i = 0; i < machine->member_count; i++) {
        fill_member(&each[i], &machine->members[i]);
        list[i] = &each[i];
    }
    *count = machine->member_count;
    return list;
}

static void run_member_list(struct grpc_call *call, const void *request)
{
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;

    (void)request;
    response.header = service_header(call, 0); /* etcd leaves the revision out in this service */
    response.members = list_members(call, &response.n_members);
    service_reply(call, &response.base);
}

void service_cluster_member_list(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__MemberListRequest *request;

    request = service_begin(call, message, &etcdserverpb__member_list_request__descriptor);
    if (request == NULL)
        return;
    if (request->linearizable)
        service_read(call, request, run_member_list);
    else
        service_read_local(call, request, run_member_list);
}

static void reply_added(struct grpc_call *call, uint64_t id)
{
    Etcdserverpb__MemberAddResponse response = ETCDSERVERPB__MEMBER_ADD_RESPONSE__INIT;

    response.header = service_header(call, 0);
    response.members = list_members(call, &response.n_members);
    for (size_t i = 0; i < response.n_members; i++)
        if (response.members[i]->id == id)
            response.member = response.members[i];
    service_reply(call, &response.base);
}

/* What the answers to all other changes are, in form. */
_Static_assert(
    sizeof(Etcdserverpb__MemberRemoveResponse) == sizeof(Etcdserverpb__MemberListResponse) &&
        sizeof(Etcdserverpb__MemberUpdateResponse) == sizeof(Etcdserverpb__MemberListResponse) &&
        sizeof(Etcdserverpb__MemberPromoteResponse) == sizeof(Etcdserverpb__MemberListResponse),
    "a header and the members");

static void on_changed(struct member_change *change, enum status status)
{
    if (status != STATUS_OK)
        service_fail(change->call, status);
    else if (change->request.kind == KVDPB__MEMBER_CHANGE__KIND__ADD)
        reply_added(change->call, change->request.id);
    else
        run_member_list(change->call, NULL);
}

/* ---- requests ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* As etcd: at least one, each scheme://host:port without a path; blanks around them go. Sorted into
 * the arena. */
static bool take_urls(struct grpc_call *call, char *const *urls, size_t count,
                      Kvdpb__MemberChange *out)
{
    size_t size = 0;

    out->n_peerurls = count;
    out->peerurls = arena_alloc(grpc_call_arena(call), (count + 1) * sizeof *out->peerurls);
    for (size_t i = 0; i < count; i++) {
        struct slice url = slice_str(urls[i]);
        struct net_addr addr;
        char *copy;

        while (url.len > 0 && (url.data[0] == ' ' || url.data[0] == '\t'))
            url = slice_of(url.data + 1, url.len - 1);
        while (url.len > 0 && (url.data[url.len - 1] == ' ' || url.data[url.len - 1] == '\t'))
            url.len--;
        copy = arena_alloc(grpc_call_arena(call), url.len + 1);
        memcpy(copy, url.data, url.len);
        copy[url.len] = '\0';
        /* A comma would make two of it where they are joined. */
        if (strstr(copy, "://") == NULL || strchr(copy, ',') != NULL ||
            net_addr_parse(copy, &addr, NULL) != 0)
            return false;
        out->peerurls[i] = copy;
        size += url.len + 1;
    }
    if (count > 1)
        qsort(out->peerurls, count, sizeof *out->peerurls, by_text);
    return count > 0 && size <= REPLICA_ADDRESS_SIZE_MAX;
}

static struct member_change *new_change(struct grpc_call *call, Kvdpb__MemberChange__Kind kind,
                                        uint64_t id)
{
    struct member_change *change = arena_alloc(grpc_call_arena(call), sizeof *change);

    *change = (struct member_change){.call = call, .done = on_changed};
    kvdpb__member_change__init(&change->request);
    change->request.kind = kind;
    change->request.id = id;
    return change;
}

static void begin_change(struct member_change *change)
{
    enum status status = member__change(service_member(change->call), change);

    if (status != STATUS_OK)
        service_fail(change->call, status);
}

void service_cluster_member_add(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__MemberAddRequest *request;
    struct member_change *change;
    char seconds[24];
    long long now;

    request = service_begin(call, message, &etcdserverpb__member_add_request__descriptor);
    if (request == NULL)
        return;
    change = new_change(call, KVDPB__MEMBER_CHANGE__KIND__ADD, 0);
    if (!take_urls(call, request->peerurls, request->n_peerurls, &change->request)) {
        service_fail(call, STATUS_BAD_MEMBER_URLS);
        return;
    }
    now = (long long)time(NULL);
    do { /* where etcd refuses to take back URLs that were removed in the same second */
        (void)snprintf(seconds, sizeof seconds, "%lld", now++);
        change->request.id =
            identity_member_id(change->request.peerurls, change->request.n_peerurls, seconds);
    } while (machine_was_removed(service_member(call)->machine, change->request.id));
    change->request.learner = request->islearner;
    begin_change(change);
}

void service_cluster_member_remove(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__MemberRemoveRequest *request;

    request = service_begin(call, message, &etcdserverpb__member_remove_request__descriptor);
    if (request != NULL)
        begin_change(new_change(call, KVDPB__MEMBER_CHANGE__KIND__REMOVE, request->id));
}

void service_cluster_member_update(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__MemberUpdateRequest *request;
    struct member_change *change;

    request = service_begin(call, message, &etcdserverpb__member_update_request__descriptor);
    if (request == NULL)
        return;
    change = new_change(call, KVDPB__MEMBER_CHANGE__KIND__UPDATE, request->id);
    if (take_urls(call, request->peerurls, request->n_peerurls, &change->request))
        begin_change(change);
    else
        service_fail(call, STATUS_BAD_MEMBER_URLS);
}

void service_cluster_member_promote(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__MemberPromoteRequest *request;

    request = service_begin(call, message, &etcdserverpb__member_promote_request__descriptor);
    if (request != NULL)
        begin_change(new_change(call, KVDPB__MEMBER_CHANGE__KIND__PROMOTE, request->id));
}
