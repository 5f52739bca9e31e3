/* recover: a new cluster from what is left of one that lost its quorum. */
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/ctl.h"
#include "client/ctl/interrupt.h"
#include "client/ctl/json.h"
#include "client/ctl/progress.h"
#include "client/ctl/table.h"
#include "offline/recover.h"

struct flags {
    const char *name, *data_dir, *wal_dir;
    const char *initial_cluster, *initial_cluster_token, *initial_advertise_peer_urls;
    const char *bump_revision; /* "": not given */
    bool mark_compacted, only_committed, yes;
};

static const struct flag recover_flags[] = {
    {"bump-revision", 0, FLAG_STRING, offsetof(struct flags, bump_revision), "",
     "how much to add to the revision (with --mark-compacted; 1000000000 unless given, 0: leave "
     "revisions as they are)"},
    {"data-dir", 0, FLAG_STRING, offsetof(struct flags, data_dir), "",
     "path to the new data directory to make (<name>.etcd unless given)"},
    {"initial-advertise-peer-urls", 0, FLAG_STRING,
     offsetof(struct flags, initial_advertise_peer_urls), "http://localhost:2380",
     "the new member's peer URLs"},
    {"initial-cluster", 0, FLAG_STRING, offsetof(struct flags, initial_cluster), "",
     "all members of the new cluster (<name>=http://localhost:2380 unless given)"},
    {"initial-cluster-token", 0, FLAG_STRING, offsetof(struct flags, initial_cluster_token),
     "recovered-cluster", "the new cluster's token: another than the old one's, for new ids"},
    {"mark-compacted", 0, FLAG_BOOL, offsetof(struct flags, mark_compacted), "false",
     "mark all revisions before the new one compacted (with --bump-revision)"},
    {"name", 0, FLAG_STRING, offsetof(struct flags, name), "default", "the new member's name"},
    {"only-committed", 0, FLAG_BOOL, offsetof(struct flags, only_committed), "false",
     "leave out what is not known to be committed, though it may have been acknowledged"},
    {"wal-dir", 0, FLAG_STRING, offsetof(struct flags, wal_dir), "",
     "path to the new log's directory, if it shall not be in the data directory"},
    {"yes", 'y', FLAG_BOOL, offsetof(struct flags, yes), "false",
     "make the new data directory (else it is only said what would be done)"},
    {.name = NULL},
};

static const char *or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

/* ---- what there is ---- */

static const char *const headings[] = {"data dir",   "name",      "id",         "term",
                                       "last index", "committed", "checkpoint", "revision",
                                       "hashkv",     "state"};

static const char *state_of(const struct recovery *recovery, size_t i)
{
    const struct inspection *in = recovery->sources[i].in;

    if (!in->usable)
        return in->damages + in->unreadables > 0 ? "lost" : "empty";
    if (in->unreadables > 0)
        return i == recovery->best ? "best, unreadable parts" : "unreadable parts";
    if (in->damages > 0)
        return i == recovery->best ? "best, damaged" : "damaged";
    return i == recovery->best ? "best" : "good";
}

static void print_table(struct ctl *ctl, const struct recovery *recovery)
{
    struct table table;

    table_init(&table, &ctl->arena, headings, ARRAY_LEN(headings));
    for (size_t i = 0; i < recovery->source_count; i++) {
        const struct inspection *in = recovery->sources[i].in;
        const struct inspect_state *state = &recovery->sources[i].state;

        table_cell(&table, "%s", in->data_dir);
        table_cell(&table, "%s", in->identity.name);
        table_cell(&table, "%" PRIx64, in->identity.member_id);
        table_cell(&table, "%" PRIu64, MAX(in->hard_state.term, in->end_term));
        table_cell(&table, "%" PRIu64, in->end_index);
        table_cell(&table, "%" PRIu64, MIN(recovery->committed, in->end_index));
        table_cell(&table, "%" PRIu64, in->base_index);
        table_cell(&table, "%" PRId64, state->revision);
        table_cell(&table, "%" PRIu32, state->hash);
        table_cell(&table, "%s", state_of(recovery, i));
    }
    table_print(&table, ctl->out);
}

static void print_damage(struct ctl *ctl, const struct recovery *recovery)
{
    for (size_t i = 0; i < recovery->source_count; i++) {
        const struct inspection *in = recovery->sources[i].in;

        for (size_t k = 0; k < in->finding_count; k++)
            if (in->findings[k].kind != INSPECT_NOTE)
                fprintf(ctl->out, "%s: %s.\n",
                        in->findings[k].kind == INSPECT_DAMAGE ? "DAMAGED" : "UNREADABLE",
                        in->findings[k].what);
    }
}

/* ---- what it means ---- */

static void say_loss(struct ctl *ctl, const struct recovery *recovery)
{
    const struct inspection *best = recovery->sources[recovery->best].in;

    if (recovery->voter_count == 0) {
        fputs("How many members the cluster had is not known, so neither is what may be lost.\n",
              ctl->out);
        return;
    }
    fprintf(ctl->out,
            "The cluster had %zu member%s, a write needed %zu of them to be acknowledged.\n",
            recovery->voter_count, recovery->voter_count == 1 ? "" : "s", recovery->quorum);
    if (recovery->complete)
        fputs(
            "So many undamaged data dirs are here that each acknowledged write is in one of them, "
            "and with it in the best one: no acknowledged write is lost.\n",
            ctl->out);
    else
        fprintf(ctl->out,
                "MAY BE LOST: writes that were acknowledged after entry %" PRIu64
                ", the last that is here, or whose entries were damaged. The members that have "
                "them are not among these. Give more data dirs if there are any.\n",
                best->end_index);
}

static void say_tail(struct ctl *ctl, const struct recovery *recovery,
                     const struct recover_options *options)
{
    const struct inspection *best = recovery->sources[recovery->best].in;
    uint64_t open = best->end_index - recovery->committed;

    if (open == 0) {
        fputs("All entries of the best one are known to be committed.\n", ctl->out);
        return;
    }
    fprintf(ctl->out, "Its entries up to %" PRIu64 " are known to be committed. ",
            recovery->committed);
    if (options->only_committed)
        fprintf(ctl->out,
                "The %" PRIu64 " behind are left out (--only-committed): MAY BE LOST are those of "
                "them that were acknowledged all the same.\n",
                open);
    else
        fprintf(ctl->out,
                "The %" PRIu64 " behind, to %" PRIu64
                ", are not, but may be, and are taken too: among them may be writes whose clients "
                "never got an answer. (--only-committed leaves them out.)\n",
                open, best->end_index);
}

static void say_all(struct ctl *ctl, const struct recovery *recovery,
                    const struct recover_options *options)
{
    const struct recover_source *best;

    print_table(ctl, recovery);
    print_damage(ctl, recovery);
    if (recovery->best == RECOVER_NONE)
        return;
    best = &recovery->sources[recovery->best];
    fprintf(ctl->out,
            "Best is %s: the state after entry %" PRIu64 ", revision %" PRId64 ", %" PRIu64
            " keys.\n",
            best->in->data_dir, best->state.index, best->state.revision, best->state.keys);
    say_loss(ctl, recovery);
    say_tail(ctl, recovery, options);
}

static void add_number(struct json_object *json, const char *name, uint64_t value)
{
    (void)json_object_object_add(json, name, json_object_new_uint64(value));
}

static struct json_object *json_of_source(const struct recovery *recovery, size_t i)
{
    const struct inspection *in = recovery->sources[i].in;
    const struct inspect_state *state = &recovery->sources[i].state;
    struct json_object *json = json_object_new_object();

    (void)json_object_object_add(json, "data_dir", json_of_string(in->data_dir));
    (void)json_object_object_add(json, "name", json_of_string(in->identity.name));
    add_number(json, "cluster_id", in->identity.cluster_id);
    add_number(json, "member_id", in->identity.member_id);
    add_number(json, "term", MAX(in->hard_state.term, in->end_term));
    add_number(json, "last_index", in->end_index);
    add_number(json, "checkpoint", in->base_index);
    (void)json_object_object_add(json, "revision", json_object_new_int64(state->revision));
    add_number(json, "keys", state->keys);
    add_number(json, "hash", state->hash);
    add_number(json, "damages", in->damages + in->unreadables);
    (void)json_object_object_add(json, "state", json_of_string(state_of(recovery, i)));
    return json;
}

static void print_json(struct ctl *ctl, const struct recovery *recovery,
                       const struct recover_report *report)
{
    struct json_object *json = json_object_new_object(), *array = json_object_new_array();

    for (size_t i = 0; i < recovery->source_count; i++)
        (void)json_object_array_add(array, json_of_source(recovery, i));
    (void)json_object_object_add(json, "dirs", array);
    if (recovery->best != RECOVER_NONE) {
        add_number(json, "best", recovery->best);
        add_number(json, "members", recovery->voter_count);
        add_number(json, "committed", recovery->committed);
        (void)json_object_object_add(json, "complete", json_object_new_boolean(recovery->complete));
    }
    if (report != NULL) {
        (void)json_object_object_add(json, "made", json_of_string(report->data_dir));
        add_number(json, "new_cluster_id", report->cluster_id);
        add_number(json, "new_member_id", report->member_id);
        (void)json_object_object_add(json, "new_revision", json_object_new_int64(report->revision));
    }
    json_print(ctl->out, json);
    (void)json_object_put(json);
}

/* ---- doing it ---- */

struct running {
    struct ctl *ctl;
    struct progress progress;
};

static int on_progress(void *ctx, const char *what, uint64_t done, uint64_t total, struct err *err)
{
    struct running *running = ctx;

    if (interrupt_came())
        return err_set(err, KV_ECANCELED, "interrupted: nothing was made");
    if (running->progress.what == NULL || strcmp(running->progress.what, what) != 0) {
        progress_end(&running->progress);
        progress_begin(&running->progress, running->ctl->err, what);
    }
    if (total > 0)
        progress_show(&running->progress, done, total);
    return 0;
}

static void say_made(struct ctl *ctl, const struct recover_report *report, int64_t bump)
{
    fprintf(ctl->out, "Made %s: member %" PRIx64 " of the new cluster %" PRIx64 ".\n",
            report->data_dir, report->member_id, report->cluster_id);
    if (bump > 0)
        fprintf(ctl->out,
                "The revision was raised by %" PRId64 " to %" PRId64
                ", and all before marked compacted, so that no watch or cache takes old data for "
                "new.\n",
                bump, report->revision);
    else
        fputs("Revisions are as they were: clients that saw later ones may take old data for new. "
              "Restart all of them.\n",
              ctl->out);
    if (report->member_count > 1)
        fprintf(ctl->out,
                "Now do the same for the other members of --initial-cluster, %zu in all: the same "
                "data dirs and flags, but their --name and --initial-advertise-peer-urls; then "
                "start them.\n",
                report->member_count);
    else
        fputs(
            "Now start kvd on it, with the same flags (the --initial-cluster-token too). Keep the "
            "old data dirs until you have seen that all is there.\n",
            ctl->out);
}

/* Only a person at a terminal is asked. */
static bool confirmed(struct ctl *ctl, const struct flags *flags)
{
    char line[16] = "";

    if (flags->yes)
        return true;
    if (ctl->output.format != &output_json && isatty(fileno(ctl->in)) && isatty(fileno(ctl->out))) {
        fputs("Make the new data dir of it? The old ones stay as they are. [y/N] ", ctl->out);
        (void)fflush(ctl->out);
        if (fgets(line, sizeof line, ctl->in) != NULL && (line[0] == 'y' || line[0] == 'Y'))
            return true;
    }
    if (ctl->output.format != &output_json)
        fputs("Nothing was made. --yes makes a new data dir of the best one.\n", ctl->out);
    return false;
}

static int make(struct ctl *ctl, struct recovery *recovery, const struct recover_options *options,
                struct running *running)
{
    struct recover_report report;
    struct err err = ERR_INIT;
    int rc = recover_make(recovery, options, &report, &err);

    progress_end(&running->progress);
    if (rc != 0)
        return ctl_fail(ctl, CTL_ERROR, "%s", err.text);
    if (ctl->output.format == &output_json)
        print_json(ctl, recovery, &report);
    else
        say_made(ctl, &report, options->bump_revision);
    return CTL_OK;
}

static int decide(struct ctl *ctl, struct recovery *recovery, const struct flags *flags,
                  const struct recover_options *options, struct running *running)
{
    bool json = ctl->output.format == &output_json;

    if (!json)
        say_all(ctl, recovery, options);
    if (recovery->best == RECOVER_NONE) {
        if (json)
            print_json(ctl, recovery, NULL);
        return ctl_fail(ctl, CTL_ERROR,
                        "none of these data dirs has a state that can be used: `kvctl verify` says "
                        "more of each; look for other copies, or restore a snapshot (`kvctl "
                        "snapshot restore`)");
    }
    if (confirmed(ctl, flags))
        return make(ctl, recovery, options, running);
    if (json)
        print_json(ctl, recovery, NULL);
    return CTL_OK;
}

static int run(struct ctl *ctl, const struct flags *flags, struct recover_options *options)
{
    struct running running = {.ctl = ctl};
    struct recovery *recovery = NULL;
    struct interrupt interrupt;
    struct err err = ERR_INIT;
    int code;

    options->progress = on_progress;
    options->ctx = &running;
    interrupt_begin(&interrupt);
    code = recover_inspect(options, &recovery, &err);
    progress_end(&running.progress);
    if (code != 0)
        code = ctl_fail(ctl, code == KV_EIO ? CTL_IO : CTL_ERROR, "%s", err.text);
    else
        code = decide(ctl, recovery, flags, options, &running);
    recover_free(recovery);
    interrupt_end(&interrupt);
    return code;
}

/* "dir", or "dir,wal-dir". */
static const struct recover_dir *take_dirs(struct ctl *ctl, int argc, char **argv)
{
    struct recover_dir *dirs = arena_calloc(&ctl->arena, (size_t)argc * sizeof *dirs);

    for (int i = 0; i < argc; i++) {
        char *comma = strchr(argv[i], ',');

        dirs[i].data_dir = argv[i];
        if (comma == NULL)
            continue;
        *comma = '\0';
        dirs[i].wal_dir = comma + 1;
    }
    return dirs;
}

static int run_recover(struct ctl *ctl, const void *data, int argc, char **argv)
{
    const struct flags *flags = data;
    struct recover_options options = {
        .dir_count = (size_t)argc,
        .only_committed = flags->only_committed,
        .target = {.name = flags->name,
                   .data_dir = or_null(flags->data_dir),
                   .wal_dir = or_null(flags->wal_dir),
                   .initial_cluster = or_null(flags->initial_cluster),
                   .initial_cluster_token = flags->initial_cluster_token,
                   .initial_advertise_peer_urls = flags->initial_advertise_peer_urls},
    };
    int code;

    if (argc == 0)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "recover needs the data dirs of all members that survived");
    if (ctl->output.format != &output_simple && ctl->output.format != &output_table &&
        ctl->output.format != &output_json)
        return ctl_fail(ctl, CTL_BAD_FEATURE, "%s not supported as output format",
                        ctl->output.format->name);
    code = ctl_take_bump(ctl, flags->bump_revision, flags->mark_compacted, &options.bump_revision);
    if (code != 0)
        return code;
    options.dirs = take_dirs(ctl, argc, argv);
    return run(ctl, flags, &options);
}

const struct ctl_command ctl_cmd_recover = {
    .name = "recover",
    .usage = "recover <data-dir>... [options]",
    .brief = "Makes a new cluster from what is left of one that lost its quorum",
    .help =
        "Give the data dirs of all members that survived, stopped and copied to this machine;\n"
        "\"<data-dir>,<wal-dir>\" if the log is elsewhere. Each is checked as by verify; then it\n"
        "says which is best, and what may be lost. With --yes, or asked on a terminal, the best\n"
        "one's state (its newest checkpoint and all of the log behind it) becomes the data dir\n"
        "of a new cluster's member, with new ids; a second run with the next member's --name\n"
        "makes that one's. Old dirs are never changed, and either all of the new one is made or\n"
        "nothing. Without --yes nothing is made.\n",
    .flags = recover_flags,
    .options_size = sizeof(struct flags),
    .run = run_recover,
};
