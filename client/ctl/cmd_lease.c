/* lease grant, revoke, timetolive, list, keep-alive. */
#include <inttypes.h>

#include "client/ctl/ctl.h"
#include "client/ctl/gotext.h"

/* Ids are hexadecimal on the command line. */
static int parse_lease(struct ctl *ctl, const char *text, int64_t *out)
{
    if (go_parse_int(text, 16, out))
        return 0;
    return ctl_fail(ctl, CTL_BAD_ARGS,
                    "bad lease ID arg (\"%s\" is not a 64-bit hexadecimal number), expecting ID in "
                    "Hex",
                    text);
}

/* As ctl_call_and_print(), with etcdctl's words around a failure: "failed to <what> (...)". */
static int call_and_print(struct ctl *ctl, const struct kv_method *method,
                          const ProtobufCMessage *request, const char *what)
{
    struct kv_client *client = NULL;
    struct kv_result result = {.message = NULL};
    int code;

    code = ctl_connect(ctl, method->response, &client);
    if (code != 0)
        return code;
    if (kv_call(client, method, request, NULL, &result) == 0)
        output_message(&ctl->output, result.message);
    else
        code = ctl_fail(ctl, CTL_ERROR, "failed to %s (%s)", what, result.err.text);
    kv_result_release(&result);
    kv_client_free(client);
    return code;
}

static int run_grant(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;

    (void)options;
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "lease grant command needs TTL argument");
    if (!go_parse_int(argv[0], 10, &request.ttl))
        return ctl_fail(ctl, CTL_BAD_ARGS, "bad TTL (\"%s\" is not a whole number of seconds)",
                        argv[0]);
    return call_and_print(ctl, &kv_method_lease_grant, &request.base, "grant lease");
}

const struct ctl_command ctl_cmd_lease_grant = {
    .name = "lease grant",
    .usage = "lease grant <ttl>",
    .brief = "Creates leases",
    .help = "Prints the id of a lease that lasts <ttl> seconds unless it is kept alive. Keys that\n"
            "are put with --lease go with it.\n",
    .run = run_grant,
};

static int run_revoke(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    int code;

    (void)options;
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "lease revoke command needs 1 argument");
    code = parse_lease(ctl, argv[0], &request.id);
    if (code != 0)
        return code;
    ctl->output.lease = request.id;
    return call_and_print(ctl, &kv_method_lease_revoke, &request.base, "revoke lease");
}

const struct ctl_command ctl_cmd_lease_revoke = {
    .name = "lease revoke",
    .usage = "lease revoke <leaseID>",
    .brief = "Revokes leases",
    .help = "Ends the lease and deletes the keys attached to it.\n",
    .run = run_revoke,
};

struct timetolive_options {
    bool keys;
};

static const struct flag timetolive_flags[] = {
    {"keys", 0, FLAG_BOOL, offsetof(struct timetolive_options, keys), "false",
     "Get keys attached to this lease"},
    {.name = NULL},
};

static int run_timetolive(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct timetolive_options *options = options_;
    Etcdserverpb__LeaseTimeToLiveRequest request = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    int code;

    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "lease timetolive command needs lease ID as argument");
    code = parse_lease(ctl, argv[0], &request.id);
    if (code != 0)
        return code;
    request.keys = options->keys;
    ctl->output.lease_keys = options->keys;
    return ctl_call_and_print(ctl, &kv_method_lease_time_to_live, &request.base, 0);
}

const struct ctl_command ctl_cmd_lease_timetolive = {
    .name = "lease timetolive",
    .usage = "lease timetolive [options] <leaseID>",
    .brief = "Get lease information",
    .flags = timetolive_flags,
    .options_size = sizeof(struct timetolive_options),
    .run = run_timetolive,
};

static int run_list(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__LeaseLeasesRequest request = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;

    (void)options;
    (void)argc; /* etcdctl takes any arguments here */
    (void)argv;
    return ctl_call_and_print(ctl, &kv_method_lease_leases, &request.base, 0);
}

const struct ctl_command ctl_cmd_lease_list = {
    .name = "lease list",
    .usage = "lease list",
    .brief = "List all active leases",
    .run = run_list,
};

/* ---- keep-alive ---- */

struct keep_alive_options {
    bool once;
};

static const struct flag keep_alive_flags[] = {
    {"once", 0, FLAG_BOOL, offsetof(struct keep_alive_options, once), "false",
     "Resets the keep-alive time to its original value and exits"},
    {.name = NULL},
};

struct keeping {
    struct ctl *ctl;
    struct kv_keepalive keepalive;
    bool once, done;
    struct err err;
};

static void on_kept(struct kv_keepalive *keepalive,
                    const Etcdserverpb__LeaseKeepAliveResponse *response, const struct err *err)
{
    struct keeping *keeping = CONTAINER_OF(keepalive, struct keeping, keepalive);

    keeping->err = *err;
    keeping->done = keeping->once || err->code != 0;
    if (err->code != 0)
        return;
    output_message(&keeping->ctl->output, &response->base);
    if (fflush(keeping->ctl->out) != 0) /* whoever reads a pipe waits for it, or has had enough */
        keeping->done = true;
}

static int keep_alive_code(struct keeping *keeping)
{
    struct ctl *ctl = keeping->ctl;

    if (keeping->err.code == 0)
        return ferror(ctl->out) ? CTL_IO : CTL_OK;
    if (keeping->err.code == KV_ECONN)
        return ctl_fail(ctl, CTL_ERROR, "%s", keeping->err.text);
    if (keeping->once || keeping->err.code != KV_ELEASENOTFOUND)
        return ctl_fail(ctl, CTL_BAD_CONNECTION, "%s", keeping->err.text);
    if (ctl->output.format == &output_simple)
        fprintf(ctl->out, "lease %016" PRIx64 " expired or revoked.\n",
                (uint64_t)keeping->keepalive.lease);
    return CTL_OK;
}

static int run_keep_alive(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct keep_alive_options *options = options_;
    struct keeping keeping = {.ctl = ctl, .once = options->once};
    struct kv_client *client = NULL;
    int64_t lease;
    int code;

    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "lease keep-alive command needs lease ID as argument");
    code = parse_lease(ctl, argv[0], &lease);
    if (code == 0)
        code = ctl_connect(ctl, &etcdserverpb__lease_keep_alive_response__descriptor, &client);
    if (code != 0)
        return code;
    kv_keepalive_start(client, &keeping.keepalive, lease, on_kept);
    while (!keeping.done)
        (void)uv_run(kv_client_loop(client), UV_RUN_ONCE);
    kv_keepalive_stop(&keeping.keepalive);
    code = keep_alive_code(&keeping);
    kv_client_free(client);
    return code;
}

const struct ctl_command ctl_cmd_lease_keep_alive = {
    .name = "lease keep-alive",
    .usage = "lease keep-alive [options] <leaseID>",
    .brief = "Keeps leases alive (renew)",
    .help = "Renews the lease at a third of its life until it is gone or this is interrupted.\n",
    .flags = keep_alive_flags,
    .options_size = sizeof(struct keep_alive_options),
    .run = run_keep_alive,
};
