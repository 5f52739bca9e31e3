/* v3electionpb.Election (etcd-api.md section 11): the oldest key under a name leads, its value is
 * what the leader proclaims. Observe is in service_observe.c. */
#include "proto/v3election.pb-c.h"
#include "server/claims.h"
#include "server/machine_internal.h"
#include "server/recipe.h"
#include "server/service.h"

/* ---- campaign ---- */

static void reply_elected(struct grpc_call *call, const struct claim *claim, int64_t revision)
{
    V3electionpb__CampaignResponse response = V3ELECTIONPB__CAMPAIGN_RESPONSE__INIT;
    V3electionpb__LeaderKey leader = V3ELECTIONPB__LEADER_KEY__INIT;

    (void)revision; /* as etcd: that of the first step, however long it took */
    leader.name = pb_of_slice(claim_name(claim));
    leader.key = pb_of_slice(claim_key(claim));
    leader.rev = claim->create_revision;
    leader.lease = claim->lease;
    response.header = service_header(call, claim->revision);
    response.leader = &leader;
    service_reply(call, &response.base);
}

/* etcd tells a candidate whose key has gone that it leads. */
static const struct claim_kind campaign = {
    .purpose = CLAIM_CAMPAIGN, .lost = STATUS_ELECTION_EXPIRED, .reply = reply_elected};

void service_election_campaign(struct grpc_call *call, struct slice message)
{
    struct arena *scratch = &service_member(call)->scratch;
    const V3electionpb__CampaignRequest *request;

    /* A waiting call keeps nothing of its request but the claim. */
    request = service_begin_in(call, message, &v3electionpb__campaign_request__descriptor, scratch);
    if (request != NULL)
        claims_enter(call, &campaign, slice_of_pb(request->name), request->lease,
                     slice_of_pb(request->value));
    arena_reset(scratch);
}

/* ---- proclaim and resign ---- */

static void reply_proclaimed(struct grpc_call *call, const struct claim *claim, int64_t revision)
{
    (void)claim;
    service_reply_empty(call, revision);
}

static const struct claim_kind proclaim = {
    .purpose = CLAIM_PROCLAIM, .lost = STATUS_ELECTION_NOT_LEADER, .reply = reply_proclaimed};

static enum status check_leader(const V3electionpb__LeaderKey *leader)
{
    if (leader == NULL)
        return STATUS_NO_LEADER_FIELD;
    return leader->key.len == 0 ? STATUS_EMPTY_KEY : STATUS_OK;
}

void service_election_proclaim(struct grpc_call *call, struct slice message)
{
    const V3electionpb__ProclaimRequest *request;
    const V3electionpb__LeaderKey *leader;
    enum status status;

    request = service_begin(call, message, &v3electionpb__proclaim_request__descriptor);
    if (request == NULL)
        return;
    leader = request->leader;
    status = check_leader(leader);
    if (status != STATUS_OK)
        recipe_fail(call, status);
    else
        claims_announce(call, &proclaim, slice_of_pb(leader->key), leader->rev, leader->lease,
                        slice_of_pb(request->value));
}

static void on_resigned(struct member *member, struct grpc_call *call, const void *request,
                        enum status status, const struct machine_result *result)
{
    (void)member;
    (void)request;
    if (status != STATUS_OK)
        recipe_fail(call, status);
    else
        service_reply_empty(call, result->revision);
}

/* Whoever does not lead has nothing to resign from: fine, as in etcd. */
void service_election_resign(struct grpc_call *call, struct slice message)
{
    const V3electionpb__ResignRequest *request;
    enum status status;

    request = service_begin(call, message, &v3electionpb__resign_request__descriptor);
    if (request == NULL)
        return;
    status = check_leader(request->leader);
    if (status == STATUS_OK)
        status = member__write(service_member(call), call, request, COMMAND_TXN,
                               recipe_guarded_delete(grpc_call_arena(call),
                                                     slice_of_pb(request->leader->key),
                                                     request->leader->rev),
                               on_resigned);
    if (status != STATUS_OK)
        recipe_fail(call, status);
}

/* ---- leader ---- */

static void run_leader(struct grpc_call *call, const void *message)
{
    const V3electionpb__LeaderRequest *request = message;
    const struct member *member = service_member(call);
    const struct mvcc *mvcc = member->machine->mvcc;
    struct encode_header header = service_encode_header(member, mvcc_revision(mvcc));
    struct slice prefix = queues_prefix(grpc_call_arena(call), slice_of_pb(request->name));
    enum status status = recipe_permit(call, prefix);
    struct mvcc_kv kv;

    if (status != STATUS_OK) {
        recipe_fail(call, status);
        return;
    }
    if (!queues_oldest(mvcc, prefix, &kv)) {
        recipe_fail(call, STATUS_ELECTION_NO_LEADER);
        return;
    }
    (void)encode_leader_kv(grpc_call_message(call, encode_leader_kv_size(&header, &kv)), &header,
                           &kv); /* writes the size it said */
    grpc_call_reply(call);
}

void service_election_leader(struct grpc_call *call, struct slice message)
{
    const V3electionpb__LeaderRequest *request;

    request = service_begin(call, message, &v3electionpb__leader_request__descriptor);
    if (request != NULL)
        service_read_or(call, request, run_leader, recipe_fail);
}
