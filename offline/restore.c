#include "offline/restore.h"

#include <stdio.h>

struct restore {
    const struct restore_options *options;
    struct restore_report *report;
    struct target target;
    struct machine *machine;
    const char *what; /* being done, for progress */
};

/* ---- the snapshot ---- */

static int progress(struct restore *restore, uint64_t done, uint64_t total, struct err *err)
{
    const struct restore_options *options = restore->options;

    return options->progress == NULL
               ? 0
               : options->progress(options->ctx, restore->what, done, total, err);
}

static void on_digest_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct err ignored = ERR_INIT;

    (void)progress(ctx, done, total, &ignored); /* who wants it to end can wait for the next step */
}

static int check_digest(struct restore *restore, struct dbfile *file, struct err *err)
{
    if (restore->options->skip_hash_check)
        return 0;
    if (!dbfile_has_digest(file))
        return err_set(err, KV_ECORRUPT, "snapshot missing hash but --skip-hash-check=false");
    restore->what = "checking";
    return dbfile_check_digest(file, on_digest_progress, restore, err);
}

static int on_import_progress(void *ctx, uint64_t done, uint64_t total, struct err *err)
{
    return progress(ctx, done, total, err);
}

static int read_snapshot(struct restore *restore, struct err *err)
{
    const struct import_options options = {
        .members = restore->target.boot.members,
        .member_count = restore->target.boot.member_count,
        .bump_revision = restore->options->bump_revision,
        .progress = on_import_progress,
        .ctx = restore,
    };
    struct dbfile *file = NULL;
    int rc;

    rc = dbfile_open(restore->target.disk, restore->options->path, &file, err);
    if (rc == 0)
        rc = check_digest(restore, file, err);
    restore->what = "reading";
    if (rc == 0)
        rc = import_dbfile(file, &options, &restore->machine, &restore->report->import, err);
    dbfile_close(file);
    return rc;
}

/* ---- doing it ---- */

static int between(void *ctx, struct err *err)
{
    return progress(ctx, 0, 0, err);
}

int restore_snapshot(const struct restore_options *options, struct restore_report *report,
                     struct err *err)
{
    struct restore restore = {.options = options, .report = report};
    struct target *target = &restore.target;
    int rc;

    rc = target_init(target, &options->target, err);
    if (rc == 0)
        rc = target_check(target, err);
    if (rc == 0)
        rc = read_snapshot(&restore, err);
    restore.what = "writing";
    if (rc == 0)
        rc = target_write(target, restore.machine, between, &restore, err);
    if (rc == 0) {
        report->cluster_id = target->boot.cluster_id;
        report->member_id = target->boot.member_id;
        report->member_count = target->boot.member_count;
        (void)snprintf(report->data_dir, sizeof report->data_dir, "%s", target->config.data_dir);
    }
    machine_free(restore.machine);
    target_release(target);
    return rc;
}
