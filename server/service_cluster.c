/* etcdserverpb.Cluster (etcd-api.md section 8): so far, the members and where they are. */
#include "server/service.h"

static void fill_member(Etcdserverpb__Member *out, const struct machine_member *member)
{
    etcdserverpb__member__init(out);
    out->id = member->id;
    out->name = member->name;
    out->peerurls = member->peer_urls;
    out->n_peerurls = member->peer_url_count;
    out->clienturls = member->client_urls;
    out->n_clienturls = member->client_url_count;
}

static void run_member_list(struct grpc_call *call, const void *request)
{
    const struct machine *machine = service_member(call)->machine;
    struct arena *arena = grpc_call_arena(call);
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    Etcdserverpb__Member *each = arena_alloc(arena, machine->member_count * sizeof *each);

    (void)request;
    response.header = service_header(call, 0); /* etcd leaves the revision out here */
    response.members = arena_alloc(arena, machine->member_count * sizeof *response.members);
    response.n_members = machine->member_count;
    for (size_t i = 0; i < machine->member_count; i++) {
        fill_member(&each[i], &machine->members[i]);
        response.members[i] = &each[i];
    }
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
