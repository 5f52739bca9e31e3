#include "offline/restore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "offline/tree.h"
#include "raft/replica.h"
#include "server/bootstrap.h"
#include "server/config.h"
#include "server/identity.h"
#include "server/state.h"
#include "snapshot/snapshot.h"
#include "wal/wal.h"

enum {
    /* The new cluster's log begins with its configuration, which all initial members have, as that
     * of a cluster that is not restored. The state stands for an entry behind it that no other log
     * can have, because a leader's first entry is of a later term: so a member that was started
     * empty by mistake is not taken for one that has the state. It gets it. */
    CONFIGURATION_INDEX = 1,
    STATE_INDEX = 2,
    STATE_TERM = 1,
};

struct restore {
    const struct restore_options *options;
    struct restore_report *report;
    struct disk disk;
    struct config config;
    struct bootstrap boot;
    char *wal_dir, *snap_dir;
    struct machine *machine;
    const char *what; /* being done, for progress */
};

/* ---- what is asked for ---- */

/* As kvd itself will read its flags, so that both compute the same ids and complain alike. */
static int read_flags(struct restore *restore, struct err *err)
{
    const struct restore_options *options = restore->options;
    const char *const flags[][2] = {
        {"--name", options->name},
        {"--data-dir", options->data_dir},
        {"--wal-dir", options->wal_dir},
        {"--initial-cluster", options->initial_cluster},
        {"--initial-cluster-token", options->initial_cluster_token},
        {"--initial-advertise-peer-urls", options->initial_advertise_peer_urls},
    };
    const char *argv[1 + 2 * ARRAY_LEN(flags) + 1] = {"kvd"};
    int argc = 1;

    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i][1] == NULL)
            continue;
        argv[argc++] = flags[i][0];
        argv[argc++] = flags[i][1];
    }
    /* argv is only read; the type is that of main(). */
    if (config_parse(argc, (char **)(uintptr_t)argv, NULL, &restore->config, NULL, NULL, err) !=
        CONFIG_RUN)
        return KV_EINVAL;
    restore->wal_dir = restore->config.wal_dir != NULL
                           ? xstrdup(restore->config.wal_dir)
                           : xasprintf("%s/wal", restore->config.data_dir);
    restore->snap_dir = xasprintf("%s/snap", restore->config.data_dir);
    return bootstrap_from_config(&restore->config, &restore->boot, err);
}

static int check_target(const struct restore *restore, struct err *err)
{
    const char *data_dir = restore->config.data_dir;

    if (!tree_is_empty(data_dir))
        return err_set(err, KV_EEXIST, "data-dir \"%s\" not empty or could not be read", data_dir);
    if (restore->config.wal_dir != NULL && access(restore->wal_dir, F_OK) == 0)
        return err_set(err, KV_EEXIST, "wal-dir \"%s\" exists", restore->wal_dir);
    return 0;
}

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
        .members = restore->boot.members,
        .member_count = restore->boot.member_count,
        .bump_revision = restore->options->bump_revision,
        .progress = on_import_progress,
        .ctx = restore,
    };
    struct dbfile *file = NULL;
    int rc;

    rc = dbfile_open(restore->disk, restore->options->path, &file, err);
    if (rc == 0)
        rc = check_digest(restore, file, err);
    restore->what = "reading";
    if (rc == 0)
        rc = import_dbfile(file, &options, &restore->machine, &restore->report->import, err);
    dbfile_close(file);
    return rc;
}

/* ---- the data dir ---- */

/* An empty log that knows its term: that of the state. */
static int write_log(struct restore *restore, struct err *err)
{
    const struct wal_options options = {.disk = restore->disk,
                                        .dir = restore->wal_dir,
                                        .cluster_id = restore->boot.cluster_id,
                                        .member_id = restore->boot.member_id};
    struct wal *wal = NULL;
    int rc;

    rc = wal_open(&options, &wal, err);
    if (rc != 0)
        return rc;
    (void)wal_append_hard_state(wal, (struct wal_hard_state){.term = STATE_TERM});
    rc = wal_flush_sync(wal, err);
    wal_close(wal);
    return rc;
}

static int write_state(struct restore *restore, struct err *err)
{
    const struct snapshot_write_options options = {.disk = restore->disk, .dir = restore->snap_dir};
    struct snapshot_meta meta = {.cluster_id = restore->boot.cluster_id,
                                 .member_id = restore->boot.member_id,
                                 .index = STATE_INDEX,
                                 .term = STATE_TERM,
                                 .configuration_index = CONFIGURATION_INDEX};
    char **addresses = bootstrap_addresses(&restore->boot);
    struct snapshot_writer *writer = NULL;
    struct buf configuration;
    int rc;

    buf_init(&configuration, SNAPSHOT_CONFIGURATION_MAX);
    rc = replica_encode_voters(restore->boot.voters, (const char *const *)addresses,
                               restore->boot.member_count, &configuration, err);
    bootstrap_free_addresses(addresses, restore->boot.member_count);
    meta.configuration = buf_slice(&configuration);
    if (rc == 0)
        rc = snapshot_prepare_dir(restore->disk, restore->snap_dir, err);
    if (rc == 0)
        rc = snapshot_writer_open(&options, &meta, &writer, err);
    if (rc == 0)
        rc = machine_save(restore->machine, writer, err);
    if (rc == 0)
        rc = snapshot_writer_commit(writer, err);
    snapshot_writer_close(writer);
    buf_release(&configuration);
    return rc;
}

/* Last: from here on it is a member's. */
static int write_identity(struct restore *restore, struct err *err)
{
    struct identity identity = {.cluster_id = restore->boot.cluster_id,
                                .member_id = restore->boot.member_id,
                                .log_begun = true};

    (void)snprintf(identity.name, sizeof identity.name, "%s", restore->config.name);
    return identity_write(restore->disk, restore->config.data_dir, &identity, err);
}

static int write_all(struct restore *restore, struct err *err)
{
    int rc = write_log(restore, err);

    restore->what = "writing";
    if (rc == 0)
        rc = progress(restore, 0, 0, err);
    if (rc == 0)
        rc = write_state(restore, err);
    if (rc == 0)
        rc = progress(restore, 0, 0, err); /* the last moment to change one's mind */
    if (rc == 0)
        rc = write_identity(restore, err);
    return rc;
}

static int write_data_dir(struct restore *restore, struct err *err)
{
    struct tree data_tree = {.path = NULL}, wal_tree = {.path = NULL};
    int rc;

    rc = tree_make(restore->config.data_dir, &data_tree, err);
    if (rc == 0 && restore->config.wal_dir != NULL)
        rc = tree_make(restore->wal_dir, &wal_tree, err);
    if (rc == 0)
        rc = write_all(restore, err);
    if (rc != 0) {
        tree_undo(&wal_tree);
        tree_undo(&data_tree);
    }
    tree_release(&wal_tree);
    tree_release(&data_tree);
    return rc;
}

int restore_snapshot(const struct restore_options *options, struct restore_report *report,
                     struct err *err)
{
    struct restore restore = {.options = options, .report = report, .disk = disk_posix()};
    int rc;

    rc = read_flags(&restore, err);
    if (rc == 0)
        rc = check_target(&restore, err);
    if (rc == 0)
        rc = read_snapshot(&restore, err);
    if (rc == 0)
        rc = write_data_dir(&restore, err);
    if (rc == 0) {
        report->cluster_id = restore.boot.cluster_id;
        report->member_id = restore.boot.member_id;
        report->member_count = restore.boot.member_count;
        (void)snprintf(report->data_dir, sizeof report->data_dir, "%s", restore.config.data_dir);
    }
    machine_free(restore.machine);
    bootstrap_release(&restore.boot);
    config_release(&restore.config);
    free(restore.wal_dir);
    free(restore.snap_dir);
    return rc;
}
