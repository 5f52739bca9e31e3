#include "offline/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "offline/tree.h"
#include "raft/replica.h"
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

int target_init(struct target *out, const struct target_flags *given, struct err *err)
{
    const char *const flags[][2] = {
        {"--name", given->name},
        {"--data-dir", given->data_dir},
        {"--wal-dir", given->wal_dir},
        {"--initial-cluster", given->initial_cluster},
        {"--initial-cluster-token", given->initial_cluster_token},
        {"--initial-advertise-peer-urls", given->initial_advertise_peer_urls},
    };
    const char *argv[1 + 2 * ARRAY_LEN(flags) + 1] = {"kvd"};
    int argc = 1;

    *out = (struct target){.disk = disk_posix()};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i][1] == NULL)
            continue;
        argv[argc++] = flags[i][0];
        argv[argc++] = flags[i][1];
    }
    /* argv is only read; the type is that of main(). */
    if (config_parse(argc, (char **)(uintptr_t)argv, NULL, &out->config, NULL, NULL, err) !=
        CONFIG_RUN)
        return KV_EINVAL;
    out->wal_dir = out->config.wal_dir != NULL ? xstrdup(out->config.wal_dir)
                                               : xasprintf("%s/wal", out->config.data_dir);
    out->snap_dir = xasprintf("%s/snap", out->config.data_dir);
    return bootstrap_from_config(&out->config, &out->boot, err);
}

void target_release(struct target *target)
{
    bootstrap_release(&target->boot);
    config_release(&target->config);
    free(target->wal_dir);
    free(target->snap_dir);
}

int target_check(const struct target *target, struct err *err)
{
    const char *data_dir = target->config.data_dir;

    if (!tree_is_empty(data_dir))
        return err_set(err, KV_EEXIST, "data-dir \"%s\" not empty or could not be read", data_dir);
    if (target->config.wal_dir != NULL && access(target->wal_dir, F_OK) == 0)
        return err_set(err, KV_EEXIST, "wal-dir \"%s\" exists", target->wal_dir);
    return 0;
}

/* An empty log that knows its term: that of the state. */
static int write_log(const struct target *target, struct err *err)
{
    const struct wal_options options = {.disk = target->disk,
                                        .dir = target->wal_dir,
                                        .cluster_id = target->boot.cluster_id,
                                        .member_id = target->boot.member_id};
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

static int write_state(const struct target *target, const struct machine *machine, struct err *err)
{
    const struct snapshot_write_options options = {.disk = target->disk, .dir = target->snap_dir};
    struct snapshot_meta meta = {.cluster_id = target->boot.cluster_id,
                                 .member_id = target->boot.member_id,
                                 .index = STATE_INDEX,
                                 .term = STATE_TERM,
                                 .configuration_index = CONFIGURATION_INDEX};
    char **addresses = bootstrap_addresses(&target->boot);
    struct snapshot_writer *writer = NULL;
    struct buf configuration;
    int rc;

    buf_init(&configuration, SNAPSHOT_CONFIGURATION_MAX);
    rc = replica_encode_voters(target->boot.voters, (const char *const *)addresses,
                               target->boot.member_count, &configuration, err);
    bootstrap_free_addresses(addresses, target->boot.member_count);
    meta.configuration = buf_slice(&configuration);
    if (rc == 0)
        rc = snapshot_prepare_dir(target->disk, target->snap_dir, err);
    if (rc == 0)
        rc = snapshot_writer_open(&options, &meta, &writer, err);
    if (rc == 0)
        rc = machine_save(machine, writer, err);
    if (rc == 0)
        rc = snapshot_writer_commit(writer, err);
    snapshot_writer_close(writer);
    buf_release(&configuration);
    return rc;
}

/* Last: from here on it is a member's. */
static int write_identity(const struct target *target, struct err *err)
{
    struct identity identity = {.cluster_id = target->boot.cluster_id,
                                .member_id = target->boot.member_id,
                                .log_begun = true};

    (void)snprintf(identity.name, sizeof identity.name, "%s", target->config.name);
    return identity_write(target->disk, target->config.data_dir, &identity, err);
}

static int write_all(const struct target *target, const struct machine *machine,
                     int (*between)(void *ctx, struct err *err), void *ctx, struct err *err)
{
    int rc = write_log(target, err);

    if (rc == 0)
        rc = between(ctx, err);
    if (rc == 0)
        rc = write_state(target, machine, err);
    if (rc == 0)
        rc = between(ctx, err); /* the last moment to change one's mind */
    if (rc == 0)
        rc = write_identity(target, err);
    return rc;
}

int target_write(const struct target *target, const struct machine *machine,
                 int (*between)(void *ctx, struct err *err), void *ctx, struct err *err)
{
    struct tree data_tree = {.path = NULL}, wal_tree = {.path = NULL};
    int rc;

    rc = tree_make(target->config.data_dir, &data_tree, err);
    if (rc == 0 && target->config.wal_dir != NULL)
        rc = tree_make(target->wal_dir, &wal_tree, err);
    if (rc == 0)
        rc = write_all(target, machine, between, ctx, err);
    if (rc != 0) {
        tree_undo(&wal_tree);
        tree_undo(&data_tree);
    }
    tree_release(&wal_tree);
    tree_release(&data_tree);
    return rc;
}
