/* defrag, and downgrade validate, enable, cancel. */
#include "client/ctl/ctl.h"
#include "client/ctl/fanout.h"
#include "client/ctl/gotext.h"

/* ---- defrag ---- */

struct defrag_options {
    bool cluster;
};

static const struct flag defrag_flags[] = {
    {"cluster", 0, FLAG_BOOL, offsetof(struct defrag_options, cluster), "false",
     "use all endpoints from the cluster member list"},
    {.name = NULL},
};

/* 0, 1 for a member that could not be defragmented, or an exit code. */
static int defragment(struct ctl *ctl, const char *endpoint, bool *failed)
{
    Etcdserverpb__DefragmentRequest request = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    struct fanout fanout;
    const struct kv_result *result;
    char took[GO_TEXT_MAX];
    int code;

    code = fanout_open(ctl, &endpoint, 1, &fanout);
    if (code != 0)
        return code;
    fanout_call(&fanout, &kv_method_defragment, &request.base, 0);
    result = &fanout.targets[0].call.result;
    go_format_duration((int64_t)fanout.targets[0].took_ns, took);
    *failed = result->message == NULL;
    if (*failed)
        fprintf(ctl->err, "Failed to defragment etcd member[%s]. took %s. (%s)\n", endpoint, took,
                result->err.text);
    else
        fprintf(ctl->out, "Finished defragmenting etcd member[%s]. took %s\n", endpoint, took);
    fanout_close(&fanout);
    return 0;
}

/* One after the other: a real etcd serves nothing meanwhile, and the others must. */
static int run_defrag(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct defrag_options *options = options_;
    struct flag_list endpoints = ctl->globals.endpoints;
    bool any_failed = false;
    int code = 0;

    (void)argc; /* etcdctl ignores arguments here */
    (void)argv;
    if (options->cluster)
        code = fanout_cluster_endpoints(ctl, &endpoints);
    for (size_t i = 0; i < endpoints.len && code == 0; i++) {
        bool failed = false;

        code = defragment(ctl, endpoints.items[i], &failed);
        any_failed = any_failed || failed;
    }
    return code == 0 && any_failed ? CTL_ERROR : code;
}

const struct ctl_command ctl_cmd_defrag = {
    .name = "defrag",
    .usage = "defrag [options]",
    .brief = "Defragments the storage of the etcd members with given endpoints",
    .help = "kvd answers at once: it gives space back by itself after a compaction. A real etcd\n"
            "serves nothing while it works, so members are asked one after the other.\n",
    .flags = defrag_flags,
    .options_size = sizeof(struct defrag_options),
    .run = run_defrag,
};

/* ---- downgrade ---- */

static int call_downgrade(struct ctl *ctl, Etcdserverpb__DowngradeRequest__DowngradeAction action,
                          const char *verb, char *version)
{
    Etcdserverpb__DowngradeRequest request = ETCDSERVERPB__DOWNGRADE_REQUEST__INIT;

    request.action = action;
    request.version = version;
    ctl->output.verb = verb;
    return ctl_call_and_print(ctl, &kv_method_downgrade, &request.base, 0);
}

static int check_target(struct ctl *ctl, int argc, char **argv)
{
    if (argc < 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "TARGET_VERSION not provided");
    if (argc > 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "too many arguments");
    if (argv[0][0] == '\0')
        return ctl_fail(ctl, CTL_BAD_ARGS, "target version not provided");
    return 0;
}

static int run_validate(struct ctl *ctl, const void *options, int argc, char **argv)
{
    int code = check_target(ctl, argc, argv);

    (void)options;
    return code != 0
               ? code
               : call_downgrade(ctl, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__VALIDATE,
                                "validate", argv[0]);
}

static int run_enable(struct ctl *ctl, const void *options, int argc, char **argv)
{
    int code = check_target(ctl, argc, argv);

    (void)options;
    return code != 0
               ? code
               : call_downgrade(ctl, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE,
                                "enable", argv[0]);
}

static int run_cancel(struct ctl *ctl, const void *options, int argc, char **argv)
{
    char none[] = "";

    (void)options;
    (void)argc; /* etcdctl ignores arguments here */
    (void)argv;
    return call_downgrade(ctl, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL, "cancel",
                          none);
}

const struct ctl_command ctl_cmd_downgrade_validate = {
    .name = "downgrade validate",
    .usage = "downgrade validate <TARGET_VERSION>",
    .brief = "Validate downgrade capability before starting downgrade",
    .run = run_validate,
};

const struct ctl_command ctl_cmd_downgrade_enable = {
    .name = "downgrade enable",
    .usage = "downgrade enable <TARGET_VERSION>",
    .brief = "Start a downgrade action to cluster",
    .help = "Only a real etcd can then be replaced by the older version, member by member.\n",
    .run = run_enable,
};

const struct ctl_command ctl_cmd_downgrade_cancel = {
    .name = "downgrade cancel",
    .usage = "downgrade cancel",
    .brief = "Cancel the ongoing downgrade action to cluster",
    .run = run_cancel,
};
