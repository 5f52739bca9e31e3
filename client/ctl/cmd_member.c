/* member list, alarm list, alarm disarm. */
#include "base/mem.h"
#include "client/ctl/ctl.h"
#include "client/ctl/kvop.h"

struct member_list_options {
    const char *consistency;
};

static const struct flag member_list_flags[] = {
    {"consistency", 0, FLAG_STRING, offsetof(struct member_list_options, consistency), "l",
     "Linearizable(l) or Serializable(s)"},
    {.name = NULL},
};

static int run_member_list(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct member_list_options *options = options_;
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    struct err err = ERR_INIT;
    bool serializable;
    int code;

    (void)argc; /* etcdctl ignores arguments here */
    (void)argv;
    code = kvop_consistency(options->consistency, &serializable, &err);
    if (code != 0)
        return ctl_fail(ctl, code, "%s", err.text);
    request.linearizable = !serializable;
    return ctl_call_and_print(ctl, &kv_method_member_list, &request.base, 0);
}

const struct ctl_command ctl_cmd_member_list = {
    .name = "member list",
    .usage = "member list [options]",
    .brief = "Lists all members in the cluster",
    .help = "With --write-out=simple, a line per member: ID, started or unstarted, name, peer\n"
            "addresses, client addresses, whether it is a learner.\n",
    .flags = member_list_flags,
    .options_size = sizeof(struct member_list_options),
    .run = run_member_list,
};

static int run_alarm_list(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;

    (void)options;
    (void)argv;
    if (argc != 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "alarm list command accepts no arguments");
    request.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET;
    return ctl_call_and_print(ctl, &kv_method_alarm, &request.base, KV_REPEATABLE);
}

const struct ctl_command ctl_cmd_alarm_list = {
    .name = "alarm list",
    .usage = "alarm list",
    .brief = "Lists all alarms",
    .help = "Prints nothing if there are none.\n",
    .run = run_alarm_list,
};

/* Disarms one alarm; what the server says it disarmed is added to all, which owns it. */
static int disarm_one(struct ctl *ctl, struct kv_client *client,
                      const Etcdserverpb__AlarmMember *alarm, Etcdserverpb__AlarmResponse *all)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    struct kv_call_options options = {.flags = KV_REPEATABLE}; /* what is gone stays gone */
    Etcdserverpb__AlarmResponse *response;
    struct kv_result result;
    size_t i;
    int code = 0;

    request.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
    request.memberid = alarm->memberid;
    request.alarm = alarm->alarm;
    if (kv_call(client, &kv_method_alarm, &request.base, &options, &result) != 0) {
        code = ctl_fail_call(ctl, &result);
    } else {
        response = (void *)result.message;
        all->alarms =
            xrealloc(all->alarms, (all->n_alarms + response->n_alarms) * sizeof *all->alarms);
        for (i = 0; i < response->n_alarms; i++)
            all->alarms[all->n_alarms++] = response->alarms[i];
        response->n_alarms = 0; /* moved to all */
    }
    kv_result_release(&result);
    return code;
}

static int run_alarm_disarm(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    struct kv_call_options repeatable = {.flags = KV_REPEATABLE};
    Etcdserverpb__AlarmResponse *all = NULL, *listed;
    struct kv_client *client = NULL;
    struct kv_result result;
    size_t i;
    int code;

    (void)options;
    (void)argv;
    if (argc != 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "alarm disarm command accepts no arguments");
    code = ctl_connect(ctl, &etcdserverpb__alarm_response__descriptor, &client);
    if (code != 0)
        return code;
    if (kv_call(client, &kv_method_alarm, &request.base, &repeatable, &result) != 0) {
        code = ctl_fail_call(ctl, &result);
        goto out;
    }
    listed = (void *)result.message;
    all = xmalloc(sizeof *all);
    etcdserverpb__alarm_response__init(all); /* without a header, as etcdctl's sum of answers */
    for (i = 0; i < listed->n_alarms && code == 0; i++)
        code = disarm_one(ctl, client, listed->alarms[i], all);
    if (code == 0)
        output_message(&ctl->output, &all->base);
out:
    kv_free(all);
    kv_result_release(&result);
    kv_client_free(client);
    return code;
}

const struct ctl_command ctl_cmd_alarm_disarm = {
    .name = "alarm disarm",
    .usage = "alarm disarm",
    .brief = "Disarms all alarms",
    .help =
        "Prints the alarms that were disarmed. Remove the cause first: a member whose space is\n"
        "still used up raises its alarm again.\n",
    .run = run_alarm_disarm,
};
