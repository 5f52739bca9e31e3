#include "client/ctl/ctl.h"
#include "client/ctl/txn.h"

struct txn_options {
    bool interactive;
};

static const struct flag txn_flags[] = {
    {"interactive", 'i', FLAG_BOOL, offsetof(struct txn_options, interactive), "false",
     "Input transaction in interactive mode"},
    {.name = NULL},
};

static bool only_reads(Etcdserverpb__RequestOp **ops, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            return false;
    }
    return true;
}

static int run_txn(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct txn_options *options = options_;
    Etcdserverpb__TxnRequest request;
    struct err err = ERR_INIT;
    int flags = 0, code;

    (void)argv;
    if (argc != 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "txn command does not accept argument");
    code = txn_read(ctl->in, options->interactive ? ctl->out : NULL, &ctl->arena, &request, &err);
    if (code != 0)
        return ctl_fail(ctl, code, "%s", err.text);
    if (only_reads(request.success, request.n_success) &&
        only_reads(request.failure, request.n_failure))
        flags |= KV_REPEATABLE;
    return ctl_call_and_print(ctl, &kv_method_txn, &request.base, flags);
}

const struct ctl_command ctl_cmd_txn = {
    .name = "txn",
    .usage = "txn [options]",
    .brief = "Txn processes all the requests in one transaction",
    .help = "Reads three blocks from standard input, each ended by an empty line:\n"
            "  1) conditions: mod, create, version, value or lease of a key; = != < or >\n"
            "  2) requests if all of them are true: get, put, del with their flags\n"
            "  3) requests if any of them is false\n"
            "Words with blanks stand in quotes. Example:\n\n"
            "  mod(\"key1\") > \"0\"\n"
            "\n"
            "  put key1 \"overwrote key1\"\n"
            "\n"
            "  put key1 \"created key1\"\n"
            "  put key2 \"some extra key\"\n"
            "\n",
    .flags = txn_flags,
    .options_size = sizeof(struct txn_options),
    .run = run_txn,
};
