/* member replace: one member for another, with every step that has not been taken yet. What has
 * been done is read off the members list, so the command can be run again after any interruption.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/ctl/ctl.h"

struct replace_options {
    const char *peer_urls;
    bool yes;
};

enum { PAUSE_MS = 500 };

struct replace {
    struct ctl *ctl;
    struct kv_client *client;
    struct kv_result list; /* the members as last read */
    uint64_t old_id, new_id;
    const char *name, *peer_urls;
    char **urls;
    size_t url_count;
};

/* ---- the members ---- */

static const Etcdserverpb__MemberListResponse *members_of(const struct replace *r)
{
    return (const void *)r->list.message;
}

static int read_members(struct replace *r)
{
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;

    kv_result_release(&r->list);
    request.linearizable = true;
    if (kv_call(r->client, &kv_method_member_list, &request.base, NULL, &r->list) != 0)
        return ctl_fail_call(r->ctl, &r->list);
    return 0;
}

static const Etcdserverpb__Member *member_with_id(const struct replace *r, uint64_t id)
{
    const Etcdserverpb__MemberListResponse *list = members_of(r);

    for (size_t i = 0; i < list->n_members; i++)
        if (list->members[i]->id == id)
            return list->members[i];
    return NULL;
}

static const Etcdserverpb__Member *member_with_urls(const struct replace *r)
{
    const Etcdserverpb__MemberListResponse *list = members_of(r);

    for (size_t i = 0; i < list->n_members; i++) {
        const Etcdserverpb__Member *member = list->members[i];
        size_t found = 0;

        for (size_t j = 0; j < member->n_peerurls; j++)
            for (size_t k = 0; k < r->url_count; k++)
                found += strcmp(member->peerurls[j], r->urls[k]) == 0;
        if (found > 0)
            return member;
    }
    return NULL;
}

static unsigned count_voters(const struct replace *r)
{
    const Etcdserverpb__MemberListResponse *list = members_of(r);
    unsigned voters = 0;

    for (size_t i = 0; i < list->n_members; i++)
        voters += !list->members[i]->islearner;
    return voters;
}

/* ---- in words ---- */

static void say_quorum(const struct replace *r, const char *when, unsigned voters)
{
    unsigned needed = voters / 2 + 1, spare = voters - needed;

    fprintf(r->ctl->out, "%s %u of %u needed, you will tolerate %u failure%s\n", when, needed,
            voters, spare, spare == 1 ? "" : "s");
}

static void preview(const struct replace *r, bool have_new, bool is_learner, bool have_old)
{
    unsigned voters = count_voters(r), steps = 0;
    bool old_votes = have_old && !member_with_id(r, r->old_id)->islearner;
    bool promotes = !have_new || is_learner;

    say_quorum(r, "Now:                  ", voters);
    if (!have_new)
        fprintf(r->ctl->out, "%u. add %s (%s) as a learner; nothing changes for the quorum\n",
                ++steps, r->name, r->peer_urls);
    if (promotes) {
        fprintf(r->ctl->out, "%u. wait until it has the log, and promote it\n", ++steps);
        say_quorum(r, "   with both of them: ", ++voters);
    }
    if (have_old) {
        fprintf(r->ctl->out, "%u. remove %" PRIx64 "\n", ++steps, r->old_id);
        say_quorum(r, "   in the end:        ", voters - old_votes);
    }
}

/* End of input is a no. */
static bool agreed(struct ctl *ctl)
{
    char line[16] = "";

    fputs("Go on? [y/N] ", ctl->out);
    fflush(ctl->out);
    if (fgets(line, sizeof line, ctl->in) == NULL)
        line[0] = '\0';
    return line[0] == 'y' || line[0] == 'Y';
}

/* ---- steps ---- */

static void pause_a_while(void)
{
    struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};

    (void)nanosleep(&pause, NULL); /* a signal ends the program, or shortens the wait */
}

/* What passes by itself: a learner that lags, members that were connected a moment ago, a leader
 * that is being chosen. */
static bool is_passing(const struct kv_result *result)
{
    return result->status == GRPC_UNAVAILABLE ||
           strstr(result->err.text, "in sync with leader") != NULL;
}

/* Calls until it is done, saying once what it waits for. */
static int call_until_done(struct replace *r, const struct kv_method *method,
                           const ProtobufCMessage *request, const char *waiting,
                           struct kv_result *result)
{
    bool said = false;

    for (;;) {
        if (kv_call(r->client, method, request, NULL, result) == 0)
            return 0;
        if (!is_passing(result))
            return ctl_fail_call(r->ctl, result);
        if (!said)
            fprintf(r->ctl->out, "%s (%s)\n", waiting, result->err.text);
        fflush(r->ctl->out);
        said = true;
        kv_result_release(result);
        pause_a_while();
    }
}

static int add_new(struct replace *r)
{
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    const Etcdserverpb__MemberAddResponse *response;
    struct kv_result result = {.message = NULL};
    int code;

    request.peerurls = r->urls;
    request.n_peerurls = r->url_count;
    request.islearner = true;
    code = call_until_done(r, &kv_method_member_add, &request.base,
                           "Waiting until the cluster can take a member", &result);
    if (code == 0) {
        response = (const void *)result.message;
        r->new_id = response->member->id;
        fprintf(r->ctl->out, "Member %" PRIx64 " added as learner. Start it now, with:\n",
                r->new_id);
        ctl_print_new_member(r->ctl, r->name, r->peer_urls, r->new_id, response->members,
                             response->n_members);
        fputc('\n', r->ctl->out);
    }
    kv_result_release(&result);
    return code;
}

static int promote_new(struct replace *r)
{
    Etcdserverpb__MemberPromoteRequest request = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    struct kv_result result = {.message = NULL};
    int code;

    request.id = r->new_id;
    code = call_until_done(r, &kv_method_member_promote, &request.base,
                           "Waiting until the new member has the log", &result);
    if (code == 0)
        fprintf(r->ctl->out, "Member %" PRIx64 " promoted\n", r->new_id);
    kv_result_release(&result);
    return code;
}

static int remove_old(struct replace *r)
{
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    struct kv_result result = {.message = NULL};
    int code;

    request.id = r->old_id;
    code = call_until_done(r, &kv_method_member_remove, &request.base,
                           "Waiting until enough members are connected", &result);
    if (code == 0)
        fprintf(r->ctl->out, "Member %" PRIx64 " removed\n", r->old_id);
    kv_result_release(&result);
    return code;
}

static int replace(struct replace *r, bool yes)
{
    const Etcdserverpb__Member *old = member_with_id(r, r->old_id);
    const Etcdserverpb__Member *fresh = member_with_urls(r);
    bool have_old = old != NULL, have_new = fresh != NULL;
    bool is_learner = have_new && fresh->islearner;
    int code = 0;

    if (have_old && old == fresh)
        return ctl_fail(r->ctl, CTL_BAD_ARGS,
                        "%s belongs to the member that is to go: the new one needs peer URLs of "
                        "its own",
                        r->peer_urls);
    if (!have_old && !have_new)
        return ctl_fail(r->ctl, CTL_ERROR,
                        "neither is %" PRIx64 " a member nor has one the peer URLs %s: see 'kvctl "
                        "member list'",
                        r->old_id, r->peer_urls);
    if (!have_old && !is_learner) {
        fprintf(r->ctl->out, "Member %" PRIx64 " has replaced %" PRIx64 " already\n", fresh->id,
                r->old_id);
        return 0;
    }
    preview(r, have_new, is_learner, have_old);
    if (!yes && !agreed(r->ctl))
        return ctl_fail(r->ctl, CTL_INTERRUPTED, "nothing was changed");
    if (have_new)
        r->new_id = fresh->id;
    else
        code = add_new(r);
    if (code == 0 && (!have_new || is_learner))
        code = promote_new(r);
    if (code == 0 && have_old)
        code = remove_old(r);
    if (code == 0)
        code = read_members(r);
    if (code == 0)
        say_quorum(r, "Done:", count_voters(r));
    return code;
}

static int run_replace(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct replace_options *options = options_;
    struct replace r = {.ctl = ctl, .peer_urls = options->peer_urls};
    int code;

    if (argc != 2)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "member replace needs the ID of the old member and the name of the new "
                        "one");
    if (options->peer_urls[0] == '\0')
        return ctl_fail(ctl, CTL_BAD_ARGS, "member peer urls not provided");
    if (ctl->output.format != &output_simple)
        return ctl_fail(ctl, CTL_BAD_FEATURE, "%s not supported as output format",
                        ctl->output.format->name);
    code = ctl_member_id(ctl, argv[0], &r.old_id);
    if (code != 0)
        return code;
    r.name = argv[1];
    r.urls = ctl_split(ctl, options->peer_urls, &r.url_count);
    code = ctl_connect(ctl, NULL, &r.client);
    if (code == 0)
        code = read_members(&r);
    if (code == 0)
        code = replace(&r, options->yes);
    kv_result_release(&r.list);
    kv_client_free(r.client);
    return code;
}

static const struct flag replace_flags[] = {
    {"peer-urls", 0, FLAG_STRING, offsetof(struct replace_options, peer_urls), "",
     "comma separated peer URLs for the new member."},
    {"yes", 0, FLAG_BOOL, offsetof(struct replace_options, yes), "false", "do not ask"},
    {.name = NULL},
};

const struct ctl_command ctl_cmd_member_replace = {
    .name = "member replace",
    .usage = "member replace <oldMemberID> <newMemberName> --peer-urls=<urls> [options]",
    .brief = "Replaces a member by a new one",
    .help =
        "Adds the new member as a learner, waits until it has the log, promotes it and removes\n"
        "the old one, after saying what each step means for the quorum. Run it again after an\n"
        "interruption: it goes on where it was.\n",
    .flags = replace_flags,
    .options_size = sizeof(struct replace_options),
    .run = run_replace,
};
