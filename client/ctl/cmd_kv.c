/* get, put, del, compaction. */
#include <inttypes.h>
#include <unistd.h>

#include "base/buf.h"
#include "client/ctl/ctl.h"
#include "client/ctl/gotext.h"
#include "client/ctl/kvop.h"

/* ---- get --stream ---- */

struct parts {
    struct output *output;
    struct buf bytes; /* RangeResponses one behind the other: together they are one */
};

/* Simple output goes out as it comes; the other formats need all of it. */
static void on_part(void *ctx, const ProtobufCMessage *message)
{
    const Etcdserverpb__RangeStreamResponse *part = (const void *)message;
    const Etcdserverpb__RangeResponse *body = part->range_response;
    struct parts *parts = ctx;
    size_t len;

    if (body == NULL)
        return;
    if (parts->output->format == &output_simple) {
        output_message(parts->output, &body->base);
        return;
    }
    len = etcdserverpb__range_response__get_packed_size(body);
    (void)buf_reserve(&parts->bytes, len); /* has no bound */
    (void)etcdserverpb__range_response__pack(body, parts->bytes.data + parts->bytes.len);
    parts->bytes.len += len;
}

static int print_parts(struct ctl *ctl, const struct parts *parts)
{
    Etcdserverpb__RangeResponse *whole;

    if (ctl->output.format == &output_simple)
        return 0;
    whole = etcdserverpb__range_response__unpack(NULL, parts->bytes.len, parts->bytes.data);
    ASSERT(whole != NULL); /* packed above */
    output_message(&ctl->output, &whole->base);
    kv_free(whole);
    return 0;
}

/* Servers that do not know it, or not for such a range, say so at once. */
static int stream_and_print(struct ctl *ctl, const Etcdserverpb__RangeRequest *request)
{
    struct parts parts = {.output = &ctl->output};
    struct kv_call_options options = {.on_part = on_part, .part_ctx = &parts};
    struct kv_client *client = NULL;
    struct kv_result result;
    int code;

    code = ctl_connect(ctl, &etcdserverpb__range_response__descriptor, &client);
    if (code != 0)
        return code;
    buf_init(&parts.bytes, SIZE_MAX / 2);
    if (kv_call(client, &kv_method_range_stream, &request->base, &options, &result) == 0)
        code = print_parts(ctl, &parts);
    else if (result.status == GRPC_UNIMPLEMENTED)
        code = ctl_call_and_print(ctl, &kv_method_range, &request->base, 0);
    else
        code = ctl_fail_call(ctl, &result);
    buf_release(&parts.bytes);
    kv_result_release(&result);
    kv_client_free(client);
    return code;
}

static int run_get(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct get_options *options = options_;
    Etcdserverpb__RangeRequest request;
    struct err err = ERR_INIT;
    int code;

    code =
        kvop_get(options, ctl_slices(ctl, argc, argv), (size_t)argc, &ctl->arena, &request, &err);
    if (code != 0)
        return ctl_fail(ctl, code, "%s", err.text);
    if (options->print_value_only && ctl->output.format != &output_simple)
        return ctl_fail(ctl, CTL_BAD_ARGS, "print-value-only is only for `--write-out=simple`");
    ctl->output.value_only = options->print_value_only;
    ctl->output.count_only = options->count_only;
    if (options->stream)
        return stream_and_print(ctl, &request);
    return ctl_call_and_print(ctl, &kv_method_range, &request.base, 0);
}

const struct ctl_command ctl_cmd_get = {
    .name = "get",
    .usage = "get [options] <key> [range_end]",
    .brief = "Gets the key or a range of keys",
    .help = "With range_end: the keys from <key> on that are below range_end. A key that is not\n"
            "there is no error; nothing is printed then.\n\n"
            "  kvctl get foo\n"
            "  kvctl get --prefix --keys-only /registry/\n"
            "  kvctl get --prefix --count-only foo\n"
            "  kvctl get --prefix --stream /registry/\n",
    .flags = get_flags,
    .options_size = sizeof(struct get_options),
    .run = run_get,
};

static int run_put(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__PutRequest request;
    struct err err = ERR_INIT;
    int code;

    code = kvop_put(options, ctl_slices(ctl, argc, argv), (size_t)argc, ctl->in, &ctl->arena,
                    &request, &err);
    if (code != 0)
        return ctl_fail(ctl, code, "%s", err.text);
    return ctl_call_and_print(ctl, &kv_method_put, &request.base, 0);
}

const struct ctl_command ctl_cmd_put = {
    .name = "put",
    .usage = "put [options] <key> <value> (<value> can also be given from stdin)",
    .brief = "Puts the given key into the store",
    .help = "Without <value> and --ignore-value, the value is read from standard input.\n"
            "A value that begins with '-' looks like a flag; put '--' before it.\n\n"
            "  kvctl put foo bar\n"
            "  kvctl put foo -- -1\n"
            "  kvctl put foo < file\n",
    .flags = put_flags,
    .options_size = sizeof(struct put_options),
    .run = run_put,
};

enum { SECOND_THOUGHTS_S = 2 };

/* A forgotten pair of quotes turns one key into a range; etcdctl 3.6 leaves time to notice. */
static void warn_of_range(struct ctl *ctl, const struct slice *args)
{
    fputs("Warning: Keys between ", ctl->err);
    go_quote(ctl->err, args[0]);
    fputs(" and ", ctl->err);
    go_quote(ctl->err, args[1]);
    fprintf(ctl->err,
            " will be deleted. Please interrupt the command within next %d seconds to cancel. You "
            "can provide `--range` flag to avoid the delay.\n",
            SECOND_THOUGHTS_S);
    (void)fflush(ctl->err);
    (void)sleep(SECOND_THOUGHTS_S);
}

static int run_del(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct del_options *options = options_;
    const struct slice *args = ctl_slices(ctl, argc, argv);
    Etcdserverpb__DeleteRangeRequest request;
    struct err err = ERR_INIT;
    int code;

    code = kvop_del(options, args, (size_t)argc, &ctl->arena, &request, &err);
    if (code != 0)
        return ctl_fail(ctl, code, "%s", err.text);
    if (argc == 2 && !options->range)
        warn_of_range(ctl, args);
    return ctl_call_and_print(ctl, &kv_method_delete_range, &request.base, 0);
}

const struct ctl_command ctl_cmd_del = {
    .name = "del",
    .usage = "del [options] <key> [range_end]",
    .brief = "Removes the specified key or range of keys [key, range_end)",
    .help =
        "Prints how many keys were deleted. With range_end, give --range too; without it there\n"
        "is a warning and two seconds to think again.\n\n"
        "  kvctl del foo\n"
        "  kvctl del --prefix --prev-kv foo/\n"
        "  kvctl del --range a c\n",
    .flags = del_flags,
    .options_size = sizeof(struct del_options),
    .run = run_del,
};

struct compaction_options {
    bool physical;
};

static const struct flag compaction_flags[] = {
    {"physical", 0, FLAG_BOOL, offsetof(struct compaction_options, physical), "false",
     "'true' to wait for compaction to physically remove all old revisions"},
    {.name = NULL},
};

static int run_compaction(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct compaction_options *options = options_;
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    struct kv_client *client = NULL;
    struct kv_result result;
    int code;

    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "compaction command needs 1 argument");
    if (!go_parse_int(argv[0], 10, &request.revision))
        return ctl_fail(ctl, CTL_ERROR, "\"%s\" is not a revision: it is a whole number", argv[0]);
    request.physical = options->physical;
    code = ctl_connect(ctl, NULL, &client);
    if (code != 0)
        return code;
    /* In every output format, as etcdctl does. */
    if (kv_call(client, &kv_method_compaction, &request.base, NULL, &result) == 0)
        fprintf(ctl->out, "compacted revision %" PRId64 "\n", request.revision);
    else
        code = ctl_fail_call(ctl, &result);
    kv_result_release(&result);
    kv_client_free(client);
    return code;
}

const struct ctl_command ctl_cmd_compaction = {
    .name = "compaction",
    .usage = "compaction [options] <revision>",
    .brief = "Compacts the event history in etcd",
    .help =
        "Revisions below <revision> can no longer be read; the newest value of each key stays.\n",
    .flags = compaction_flags,
    .options_size = sizeof(struct compaction_options),
    .run = run_compaction,
};
