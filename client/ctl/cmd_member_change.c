/* member add, remove, update, promote. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/ctl/ctl.h"

struct member_options {
    const char *peer_urls;
    bool learner;
};

#define PEER_URLS(text)                                                                            \
    {                                                                                              \
        "peer-urls", 0, FLAG_STRING, offsetof(struct member_options, peer_urls), "", text          \
    }

int ctl_member_id(struct ctl *ctl, const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 16);
    if (errno != 0 || end == text || *end != '\0' || *text == '-')
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "bad member ID arg (\"%s\" is not a 64-bit hexadecimal number), expecting "
                        "ID in Hex",
                        text);
    return 0;
}

char **ctl_split(struct ctl *ctl, const char *text, size_t *count)
{
    char *copy = arena_alloc(&ctl->arena, strlen(text) + 1), *word;
    char **words = arena_alloc(&ctl->arena, (strlen(text) + 1) * sizeof *words);

    memcpy(copy, text, strlen(text) + 1);
    *count = 0;
    while ((word = strsep(&copy, ",")) != NULL)
        words[(*count)++] = word;
    return words;
}

void ctl_print_new_member(struct ctl *ctl, const char *name, const char *peer_urls, uint64_t id,
                          Etcdserverpb__Member *const *members, size_t count)
{
    const char *comma = "";

    fprintf(ctl->out, "\nETCD_NAME=\"%s\"\nETCD_INITIAL_CLUSTER=\"", name);
    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__Member *member = members[i];

        for (size_t j = 0; j < member->n_peerurls; j++, comma = ",")
            fprintf(ctl->out, "%s%s=%s", comma, member->id == id ? name : member->name,
                    member->peerurls[j]);
    }
    fprintf(
        ctl->out,
        "\"\nETCD_INITIAL_ADVERTISE_PEER_URLS=\"%s\"\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
        peer_urls);
}

static bool is_simple(const struct ctl *ctl)
{
    return ctl->output.format == &output_simple;
}

/* The answer, which is the caller's to release, or an exit code. */
static int call(struct ctl *ctl, const struct kv_method *method, const ProtobufCMessage *request,
                struct kv_client **client, struct kv_result *result)
{
    int code = ctl_connect(ctl, is_simple(ctl) ? NULL : method->response, client);

    if (code != 0)
        return code;
    if (kv_call(*client, method, request, NULL, result) != 0)
        code = ctl_fail_call(ctl, result);
    else if (!is_simple(ctl))
        output_message(&ctl->output, result->message);
    return code;
}

/* ---- member add ---- */

static int check_add(struct ctl *ctl, const struct member_options *options, int argc, char **argv)
{
    if (argc < 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "member name not provided");
    for (int i = 0; argc > 1 && i < argc; i++)
        if (strncasecmp(argv[i], "http", 4) == 0)
            return ctl_fail(ctl, CTL_BAD_ARGS, "too many arguments, did you mean --peer-urls=%s",
                            argv[i]);
    if (argc > 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "too many arguments");
    if (options->peer_urls[0] == '\0')
        return ctl_fail(ctl, CTL_BAD_ARGS, "member peer urls not provided");
    return 0;
}

static void print_added(struct ctl *ctl, const struct member_options *options, const char *name,
                        const Etcdserverpb__MemberAddResponse *response)
{
    fprintf(ctl->out, "Member %16" PRIx64 " added %sto cluster %16" PRIx64 "\n",
            response->member->id, response->member->islearner ? "as learner " : "",
            response->header->cluster_id);
    ctl_print_new_member(ctl, name, options->peer_urls, response->member->id, response->members,
                         response->n_members);
}

static int run_add(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct member_options *options = options_;
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    struct kv_client *client = NULL;
    struct kv_result result = {.message = NULL};
    int code = check_add(ctl, options, argc, argv);

    if (code != 0)
        return code;
    request.peerurls = ctl_split(ctl, options->peer_urls, &request.n_peerurls);
    request.islearner = options->learner;
    code = call(ctl, &kv_method_member_add, &request.base, &client, &result);
    if (code == 0 && is_simple(ctl))
        print_added(ctl, options, argv[0], (const void *)result.message);
    kv_result_release(&result);
    kv_client_free(client);
    return code;
}

static const struct flag add_flags[] = {
    PEER_URLS("comma separated peer URLs for the new member."),
    {"learner", 0, FLAG_BOOL, offsetof(struct member_options, learner), "false",
     "indicates if the new member is raft learner"},
    {.name = NULL},
};

const struct ctl_command ctl_cmd_member_add = {
    .name = "member add",
    .usage = "member add <memberName> [options]",
    .brief = "Adds a member into the cluster",
    .help = "Prints what the new member is to be started with. A new voter of kvd has no vote\n"
            "until it has the log, so the cluster does not wait for it.\n",
    .flags = add_flags,
    .options_size = sizeof(struct member_options),
    .run = run_add,
};

/* ---- the others: an id, and an answer that is a list ---- */

static int change(struct ctl *ctl, int argc, char **argv, const struct kv_method *method,
                  ProtobufCMessage *request, uint64_t *id, const char *done)
{
    struct kv_client *client = NULL;
    struct kv_result result = {.message = NULL};
    int code;

    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "member ID is not provided");
    code = ctl_member_id(ctl, argv[0], id);
    if (code == 0)
        code = call(ctl, method, request, &client, &result);
    if (code == 0 && is_simple(ctl)) {
        const Etcdserverpb__MemberListResponse *response = (const void *)result.message;

        fprintf(ctl->out, "Member %16" PRIx64 " %s cluster %16" PRIx64 "\n", *id, done,
                response->header->cluster_id);
    }
    kv_result_release(&result);
    kv_client_free(client);
    return code;
}

static int run_remove(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;

    (void)options;
    return change(ctl, argc, argv, &kv_method_member_remove, &request.base, &request.id,
                  "removed from");
}

const struct ctl_command ctl_cmd_member_remove = {
    .name = "member remove",
    .usage = "member remove <memberID>",
    .brief = "Removes a member from the cluster",
    .help = "It stops by itself, and its id never comes back.\n",
    .run = run_remove,
};

static int run_promote(struct ctl *ctl, const void *options, int argc, char **argv)
{
    Etcdserverpb__MemberPromoteRequest request = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;

    (void)options;
    return change(ctl, argc, argv, &kv_method_member_promote, &request.base, &request.id,
                  "promoted in");
}

const struct ctl_command ctl_cmd_member_promote = {
    .name = "member promote",
    .usage = "member promote <memberID>",
    .brief = "Promotes a non-voting member in the cluster",
    .help = "A learner that has nearly all of the log becomes a voting member.\n",
    .run = run_promote,
};

static int run_update(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct member_options *options = options_;
    Etcdserverpb__MemberUpdateRequest request = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;

    if (argc == 1 && options->peer_urls[0] == '\0')
        return ctl_fail(ctl, CTL_BAD_ARGS, "member peer urls not provided");
    request.peerurls = ctl_split(ctl, options->peer_urls, &request.n_peerurls);
    return change(ctl, argc, argv, &kv_method_member_update, &request.base, &request.id,
                  "updated in");
}

static const struct flag update_flags[] = {
    PEER_URLS("comma separated peer URLs for the updated member."),
    {.name = NULL},
};

const struct ctl_command ctl_cmd_member_update = {
    .name = "member update",
    .usage = "member update <memberID> [options]",
    .brief = "Updates a member in the cluster",
    .help = "The others find it at the new peer URLs from then on; start it with them.\n",
    .flags = update_flags,
    .options_size = sizeof(struct member_options),
    .run = run_update,
};
