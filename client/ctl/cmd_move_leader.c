/* move-leader: finds the leader among the endpoints and asks it to hand over. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/ctl.h"
#include "client/ctl/fanout.h"

/* "[a b]", as Go prints a list. */
static const char *list_endpoints(struct ctl *ctl, const struct fanout *fanout)
{
    size_t size = 3, len = 0, i;
    char *out;

    for (i = 0; i < fanout->len; i++)
        size += strlen(fanout->targets[i].endpoint) + 1;
    out = arena_alloc(&ctl->arena, size);
    for (i = 0; i < fanout->len; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%s", i == 0 ? "[" : " ",
                                fanout->targets[i].endpoint);
    (void)snprintf(out + len, size - len, "]");
    return out;
}

/* All but the endpoint that leads will be skipped. 0 and its id, or an exit code. */
static int find_leader(struct ctl *ctl, struct fanout *fanout, uint64_t *leader)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    const struct kv_result *failed = NULL;

    *leader = 0;
    fanout_call(fanout, &kv_method_status, &request.base, 0);
    for (size_t i = 0; i < fanout->len; i++) {
        struct fanout_target *target = &fanout->targets[i];
        const Etcdserverpb__StatusResponse *status = (const void *)target->call.result.message;

        if (status == NULL)
            failed = &target->call.result;
        target->skip =
            status == NULL || *leader != 0 || status->header->member_id != status->leader;
        if (!target->skip)
            *leader = status->leader;
    }
    if (*leader != 0)
        return 0;
    if (failed != NULL)
        return ctl_fail_call(ctl, failed);
    return ctl_fail(ctl, CTL_BAD_ARGS,
                    "no leader endpoint given at %s; 'kvctl endpoint status --cluster' shows who "
                    "leads",
                    list_endpoints(ctl, fanout));
}

static int move(struct ctl *ctl, struct fanout *fanout, uint64_t target)
{
    Etcdserverpb__MoveLeaderRequest request = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    uint64_t leader;
    int code;

    code = find_leader(ctl, fanout, &leader);
    if (code != 0)
        return code;
    request.targetid = target;
    fanout_call(fanout, &kv_method_move_leader, &request.base, 0);
    for (size_t i = 0; i < fanout->len; i++) {
        const struct kv_result *result = &fanout->targets[i].call.result;

        if (fanout->targets[i].skip)
            continue;
        if (result->message == NULL)
            return ctl_fail_call(ctl, result);
        if (ctl->output.format == &output_simple)
            fprintf(ctl->out, "Leadership transferred from %" PRIx64 " to %" PRIx64 "\n", leader,
                    target);
        else
            output_message(&ctl->output, result->message);
    }
    return CTL_OK;
}

static int run_move_leader(struct ctl *ctl, const void *options, int argc, char **argv)
{
    const struct flag_list *endpoints = &ctl->globals.endpoints;
    struct fanout fanout;
    uint64_t target;
    int code;

    (void)options;
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "move-leader command needs 1 argument");
    code = ctl_member_id(ctl, argv[0], &target);
    if (code != 0)
        return code;
    if (ctl->output.format != &output_simple &&
        !output_knows_message(&ctl->output, &etcdserverpb__move_leader_response__descriptor))
        return ctl_fail(ctl, CTL_BAD_FEATURE, "%s not supported as output format",
                        ctl->output.format->name);
    code = fanout_open(ctl, endpoints->items, endpoints->len, &fanout);
    if (code != 0)
        return code;
    code = move(ctl, &fanout, target);
    fanout_close(&fanout);
    return code;
}

const struct ctl_command ctl_cmd_move_leader = {
    .name = "move-leader",
    .usage = "move-leader <transferee-member-id>",
    .brief = "Transfers leadership to another etcd cluster member.",
    .help = "The leader has to be among --endpoints. <transferee-member-id> is hexadecimal, as\n"
            "'kvctl member list' prints it.\n",
    .run = run_move_leader,
};
