/* verify: is all of a stopped member's data good? Also of a snapshot file. */
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/stat.h>

#include "client/ctl/ctl.h"
#include "client/ctl/json.h"
#include "client/ctl/progress.h"
#include "offline/check_snapshot.h"
#include "offline/inspect.h"

struct flags {
    const char *wal_dir;
};

static const struct flag verify_flags[] = {
    {"wal-dir", 0, FLAG_STRING, offsetof(struct flags, wal_dir), "",
     "path to the log's directory, if it is not in the data directory"},
    {.name = NULL},
};

struct running {
    struct ctl *ctl;
    struct progress progress;
};

static int on_progress(void *ctx, const char *what, uint64_t done, uint64_t total, struct err *err)
{
    struct running *running = ctx;

    (void)err;
    if (running->progress.what == NULL || strcmp(running->progress.what, what) != 0) {
        progress_end(&running->progress);
        progress_begin(&running->progress, running->ctl->err, what);
    }
    if (total > 0)
        progress_show(&running->progress, done, total);
    return 0;
}

/* ---- a data dir, as text ---- */

static const char *kind_name(enum inspect_kind kind)
{
    static const char *const names[] = {"note", "damage", "unreadable"};

    return names[kind];
}

static void print_findings(struct ctl *ctl, const struct inspection *in)
{
    static const char *const heads[] = {"Note", "DAMAGED", "UNREADABLE"};

    for (size_t i = 0; i < in->finding_count; i++) {
        const struct inspect_finding *finding = &in->findings[i];

        fprintf(ctl->out, "%s: %s.\n", heads[finding->kind], finding->what);
        if (finding->advice != NULL)
            fprintf(ctl->out, "    %s.\n", finding->advice);
    }
}

static void print_log(struct ctl *ctl, const struct inspection *in)
{
    fprintf(ctl->out, "term:             %" PRIu64 "\nvote:             %" PRIx64 "\n",
            in->hard_state.term, in->hard_state.voted_for);
    fprintf(ctl->out, "log:              entries %" PRIu64 " to %" PRIu64 " (term %" PRIu64 ")\n",
            in->first_index, in->last_index, in->last_term);
}

static void print_checkpoints(struct ctl *ctl, const struct inspection *in)
{
    fputs("checkpoints:      ", ctl->out);
    for (size_t i = 0; i < in->checkpoint_count; i++)
        fprintf(ctl->out, "%s%" PRIu64 "%s", i == 0 ? "" : ", ", in->checkpoints[i].index,
                in->checkpoint_good[i] ? "" : " (bad)");
    fputs(in->checkpoint_count == 0 ? "none\n" : "\n", ctl->out);
}

static void print_state(struct ctl *ctl, const struct inspect_state *state)
{
    fprintf(ctl->out,
            "state after:      entry %" PRIu64 " (term %" PRIu64 ")\n"
            "revision:         %" PRId64 "\ncompact revision: %" PRId64 "\n"
            "keys:             %" PRIu64 "\nHashKV:           %" PRIu32 "\n",
            state->index, state->term, state->revision, state->compact_revision, state->keys,
            state->hash);
}

static void print_verdict(struct ctl *ctl, const struct inspection *in)
{
    if (in->unreadables > 0)
        fprintf(ctl->out, "%s can not be read in whole: nothing is known of the rest.\n",
                in->data_dir);
    if (in->damages > 0)
        fprintf(ctl->out, "%s is DAMAGED in %zu place%s.\n", in->data_dir, in->damages,
                in->damages == 1 ? "" : "s");
    else if (in->unreadables == 0)
        fprintf(ctl->out, "%s is good.\n", in->data_dir);
}

static void print_text(struct ctl *ctl, const struct inspection *in,
                       const struct inspect_state *state)
{
    print_findings(ctl, in);
    fprintf(ctl->out, "cluster:          %016" PRIx64 "\nmember:           %016" PRIx64 " (%s)\n",
            in->identity.cluster_id, in->identity.member_id,
            in->has_identity ? in->identity.name : "name not known");
    if (in->wal != NULL)
        print_log(ctl, in);
    print_checkpoints(ctl, in);
    if (state->machine != NULL)
        print_state(ctl, state);
    print_verdict(ctl, in);
}

/* ---- as JSON ---- */

static void add_number(struct json_object *json, const char *name, uint64_t value)
{
    (void)json_object_object_add(json, name, json_object_new_uint64(value));
}

static struct json_object *json_of_findings(const struct inspection *in)
{
    struct json_object *array = json_object_new_array();

    for (size_t i = 0; i < in->finding_count; i++) {
        const struct inspect_finding *finding = &in->findings[i];
        struct json_object *json = json_object_new_object();

        (void)json_object_object_add(json, "kind", json_of_string(kind_name(finding->kind)));
        (void)json_object_object_add(json, "what", json_of_string(finding->what));
        if (finding->advice != NULL)
            (void)json_object_object_add(json, "advice", json_of_string(finding->advice));
        (void)json_object_array_add(array, json);
    }
    return array;
}

static struct json_object *json_of_checkpoints(const struct inspection *in)
{
    struct json_object *array = json_object_new_array();

    for (size_t i = 0; i < in->checkpoint_count; i++) {
        struct json_object *json = json_object_new_object();

        add_number(json, "index", in->checkpoints[i].index);
        add_number(json, "term", in->checkpoints[i].term);
        (void)json_object_object_add(json, "good", json_object_new_boolean(in->checkpoint_good[i]));
        (void)json_object_array_add(array, json);
    }
    return array;
}

static void add_state(struct json_object *json, const struct inspect_state *state)
{
    add_number(json, "state_index", state->index);
    add_number(json, "state_term", state->term);
    (void)json_object_object_add(json, "revision", json_object_new_int64(state->revision));
    (void)json_object_object_add(json, "compact_revision",
                                 json_object_new_int64(state->compact_revision));
    add_number(json, "keys", state->keys);
    add_number(json, "hash", state->hash);
}

static void print_json(struct ctl *ctl, const struct inspection *in,
                       const struct inspect_state *state)
{
    struct json_object *json = json_object_new_object();

    (void)json_object_object_add(json, "good",
                                 json_object_new_boolean(in->damages == 0 && in->unreadables == 0));
    add_number(json, "cluster_id", in->identity.cluster_id);
    add_number(json, "member_id", in->identity.member_id);
    (void)json_object_object_add(json, "name", json_of_string(in->identity.name));
    add_number(json, "term", in->hard_state.term);
    add_number(json, "vote", in->hard_state.voted_for);
    add_number(json, "first_index", in->first_index);
    add_number(json, "last_index", in->last_index);
    (void)json_object_object_add(json, "checkpoints", json_of_checkpoints(in));
    if (state->machine != NULL)
        add_state(json, state);
    (void)json_object_object_add(json, "findings", json_of_findings(in));
    json_print(ctl->out, json);
    (void)json_object_put(json);
}

/* ---- a data dir ---- */

static int exit_code(const struct inspection *in)
{
    return in->unreadables > 0 ? CTL_IO : in->damages > 0 ? CTL_ERROR : CTL_OK;
}

static int verify_dir(struct ctl *ctl, const struct inspect_options *options)
{
    struct running *running = options->ctx;
    struct inspect_state state = {.machine = NULL};
    struct inspection *in;
    struct err err = ERR_INIT;
    int rc = inspect_open(options, &in, &err), code;

    progress_end(&running->progress);
    if (rc != 0)
        return ctl_fail(ctl, CTL_IO, "%s", err.text);
    if (in->usable)
        rc = inspect_load(in, UINT64_MAX, options, &state, &err);
    progress_end(&running->progress);
    if (rc == 0) {
        if (ctl->output.format == &output_json)
            print_json(ctl, in, &state);
        else
            print_text(ctl, in, &state);
    }
    code = rc == 0 ? exit_code(in) : ctl_fail(ctl, CTL_IO, "%s", err.text);
    inspect_state_release(&state);
    inspect_close(in);
    return code;
}

/* ---- a snapshot file ---- */

static void print_snapshot_json(struct ctl *ctl, const struct snapshot_check *check)
{
    struct json_object *json = json_object_new_object();

    (void)json_object_object_add(json, "good", json_object_new_boolean(true));
    (void)json_object_object_add(json, "digest", json_object_new_boolean(check->has_digest));
    (void)json_object_object_add(json, "revision", json_object_new_int64(check->import.revision));
    (void)json_object_object_add(json, "compact_revision",
                                 json_object_new_int64(check->import.compact_revision));
    add_number(json, "keys", check->import.keys);
    add_number(json, "leases", check->import.leases);
    add_number(json, "hash", check->hash);
    json_print(ctl->out, json);
    (void)json_object_put(json);
}

static void print_snapshot_text(struct ctl *ctl, const char *path,
                                const struct snapshot_check *check)
{
    if (!check->has_digest)
        fputs("Note: the file has no SHA-256 at its end, as one that was copied from a data dir: "
              "damage to values would not show.\n    Restore it with --skip-hash-check.\n",
              ctl->out);
    fprintf(ctl->out,
            "revision:         %" PRId64 "\ncompact revision: %" PRId64 "\n"
            "keys:             %" PRIu64 "\nleases:           %" PRIu64
            "\nHashKV:           %" PRIu32 "\n%s is a good snapshot.\n",
            check->import.revision, check->import.compact_revision, check->import.keys,
            check->import.leases, check->hash, path);
}

static int on_snapshot_progress(void *ctx, uint64_t done, uint64_t total, struct err *err)
{
    return on_progress(ctx, "checking", done, total, err);
}

static int verify_snapshot(struct ctl *ctl, const char *path)
{
    struct running running = {.ctl = ctl};
    struct snapshot_check check;
    struct err err = ERR_INIT;
    int rc = check_snapshot(path, on_snapshot_progress, &running, &check, &err);

    progress_end(&running.progress);
    if (rc == KV_EIO || rc == KV_ENOTFOUND)
        return ctl_fail(ctl, CTL_IO, "%s", err.text);
    if (rc != 0)
        return ctl_fail(ctl, CTL_ERROR,
                        "%s: DAMAGED: %s. A snapshot can not be repaired: save another, or take an "
                        "older one",
                        path, err.text);
    if (ctl->output.format == &output_json)
        print_snapshot_json(ctl, &check);
    else
        print_snapshot_text(ctl, path, &check);
    return CTL_OK;
}

static int run_verify(struct ctl *ctl, const void *options, int argc, char **argv)
{
    const struct flags *flags = options;
    struct running running = {.ctl = ctl};
    struct inspect_options inspect = {.progress = on_progress, .ctx = &running};
    struct stat st;

    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "verify needs one argument: a data dir, or a snapshot file");
    if (ctl->output.format != &output_simple && ctl->output.format != &output_json)
        return ctl_fail(ctl, CTL_BAD_FEATURE, "%s not supported as output format",
                        ctl->output.format->name);
    if (stat(argv[0], &st) == 0 && S_ISREG(st.st_mode))
        return verify_snapshot(ctl, argv[0]);
    inspect.data_dir = argv[0];
    inspect.wal_dir = flags->wal_dir[0] != '\0' ? flags->wal_dir : NULL;
    return verify_dir(ctl, &inspect);
}

const struct ctl_command ctl_cmd_verify = {
    .name = "verify",
    .usage = "verify <data-dir | snapshot file> [options]",
    .brief = "Checks every byte of a stopped member's data, or of a snapshot",
    .help =
        "Reads identity, log and checkpoints, checks all that has a meaning and whether it fits\n"
        "together, and says what is damaged, what that means, and what to do. Nothing is\n"
        "changed; a dir that a member uses is refused. Exit code 0: good; 1: damaged; 6: it can\n"
        "not be read, or there is nothing of kvd there.\n",
    .flags = verify_flags,
    .options_size = sizeof(struct flags),
    .run = run_verify,
};
