/* snapshot restore: a new cluster's data dir from a snapshot file. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/ctl.h"
#include "client/ctl/interrupt.h"
#include "client/ctl/progress.h"
#include "offline/restore.h"

struct flags {
    const char *name, *data_dir, *wal_dir;
    const char *initial_cluster, *initial_cluster_token, *initial_advertise_peer_urls;
    const char *bump_revision; /* "": not given */
    bool mark_compacted, skip_hash_check;
};

static const struct flag restore_flags[] = {
    {"bump-revision", 0, FLAG_STRING, offsetof(struct flags, bump_revision), "",
     "how much to add to the revision (with --mark-compacted; 1000000000 unless given, 0: leave "
     "revisions as they are)"},
    {"data-dir", 0, FLAG_STRING, offsetof(struct flags, data_dir), "",
     "path to the data directory to make (<name>.etcd unless given)"},
    {"initial-advertise-peer-urls", 0, FLAG_STRING,
     offsetof(struct flags, initial_advertise_peer_urls), "http://localhost:2380",
     "this member's peer URLs"},
    {"initial-cluster", 0, FLAG_STRING, offsetof(struct flags, initial_cluster), "",
     "all members of the new cluster (<name>=http://localhost:2380 unless given)"},
    {"initial-cluster-token", 0, FLAG_STRING, offsetof(struct flags, initial_cluster_token),
     "etcd-cluster", "the new cluster's token; another one gives other ids"},
    {"mark-compacted", 0, FLAG_BOOL, offsetof(struct flags, mark_compacted), "false",
     "mark all revisions before the new one compacted (with --bump-revision)"},
    {"name", 0, FLAG_STRING, offsetof(struct flags, name), "default", "this member's name"},
    {"skip-hash-check", 0, FLAG_BOOL, offsetof(struct flags, skip_hash_check), "false",
     "take a file without SHA-256 at its end, as one copied from a data dir"},
    {"wal-dir", 0, FLAG_STRING, offsetof(struct flags, wal_dir), "",
     "path to the log's directory, if it shall not be in the data directory"},
    {.name = NULL},
};

static const char *or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

/* ---- what was done ---- */

static void say_revisions(struct ctl *ctl, const struct import_report *report, int64_t bump)
{
    if (bump == 0) {
        fprintf(ctl->out,
                "Revisions are as they were: clients that saw later ones than %" PRId64
                " may take old data for new. Restart all of them.\n",
                report->file_revision);
        return;
    }
    fprintf(ctl->out,
            "The revision was raised by %" PRId64 ", from %" PRId64 " to %" PRId64
            ", and all before marked compacted: so watches and caches from before the restore "
            "begin anew instead of taking old data for new. (--bump-revision 0 leaves it.)\n",
            bump, report->file_revision, report->revision);
}

static void say_leases(struct ctl *ctl, const struct import_report *report)
{
    if (report->leases > 0)
        fprintf(ctl->out, "Leases begin anew with what the snapshot says is left of them.\n");
    if (report->orphans > 0)
        fprintf(ctl->out,
                "Warning: keys hang on %" PRIu64
                " leases that the snapshot does not have; they were made again and do not end. "
                "`kvctl lease list` shows them.\n",
                report->orphans);
    if (report->alarms > 0)
        fprintf(ctl->out, "Alarms are raised as they were; see `kvctl alarm list`.\n");
    if (report->users > 0)
        fprintf(ctl->out, "%" PRIu64 " users and their roles are there; authentication is %s.\n",
                report->users, report->auth_enabled ? "on" : "off");
}

static void say_what_was_done(struct ctl *ctl, const struct restore_report *report, int64_t bump)
{
    const struct import_report *import = &report->import;

    fprintf(ctl->out,
            "Restored %" PRIu64 " keys, %" PRIu64 " leases, %" PRIu64 " alarms of revision %" PRId64
            " into %s: member %" PRIx64 " of the new cluster %" PRIx64 ".\n",
            import->keys, import->leases, import->alarms, import->file_revision, report->data_dir,
            report->member_id, report->cluster_id);
    say_revisions(ctl, import, bump);
    say_leases(ctl, import);
    if (report->member_count > 1)
        fprintf(ctl->out,
                "Now restore the same file for the other members of --initial-cluster, %zu in all, "
                "with the same flags; then start them.\n",
                report->member_count);
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
        return err_set(err, KV_ECANCELED, "interrupted: nothing was restored");
    if (running->progress.what == NULL || strcmp(running->progress.what, what) != 0) {
        progress_end(&running->progress);
        progress_begin(&running->progress, running->ctl->err, what);
    }
    if (total > 0)
        progress_show(&running->progress, done, total);
    return 0;
}

static int run(struct ctl *ctl, struct restore_options *options)
{
    struct running running = {.ctl = ctl};
    struct restore_report report;
    struct err err = ERR_INIT;
    struct interrupt interrupt;
    int rc;

    options->progress = on_progress;
    options->ctx = &running;
    interrupt_begin(&interrupt);
    rc = restore_snapshot(options, &report, &err);
    progress_end(&running.progress);
    if (rc == 0)
        say_what_was_done(ctl, &report, options->bump_revision);
    interrupt_end(&interrupt); /* only now: what was done is also said */
    return rc == 0 ? CTL_OK : ctl_fail(ctl, CTL_ERROR, "%s", err.text);
}

static int run_restore(struct ctl *ctl, const void *options, int argc, char **argv)
{
    const struct flags *flags = options;
    struct restore_options restore = {
        .target = {.name = flags->name,
                   .data_dir = or_null(flags->data_dir),
                   .wal_dir = or_null(flags->wal_dir),
                   .initial_cluster = or_null(flags->initial_cluster),
                   .initial_cluster_token = flags->initial_cluster_token,
                   .initial_advertise_peer_urls = flags->initial_advertise_peer_urls},
        .skip_hash_check = flags->skip_hash_check,
    };
    int code;

    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "snapshot restore requires exactly one argument");
    restore.path = argv[0];
    code = ctl_take_bump(ctl, flags->bump_revision, flags->mark_compacted, &restore.bump_revision);
    return code != 0 ? code : run(ctl, &restore);
}

const struct ctl_command ctl_cmd_snapshot_restore = {
    .name = "snapshot restore",
    .usage = "snapshot restore <filename> [options]",
    .brief = "Makes a kvd data dir from a snapshot of kvd or etcd",
    .help = "Each member of the new cluster is restored from the same file with the same\n"
            "--initial-cluster and token; then all are started on what was made, with the same\n"
            "flags. The cluster and its members have new ids. Either all of the data dir is made\n"
            "or nothing. Unless --bump-revision says otherwise the revision is raised by\n"
            "1000000000 and all before it marked compacted, so that no watch or cache from\n"
            "before goes on as if nothing had happened.\n",
    .flags = restore_flags,
    .options_size = sizeof(struct flags),
    .offline = true,
    .run = run_restore,
};
