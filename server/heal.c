#include "server/heal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/disk.h"
#include "base/mem.h"
#include "server/identity.h"
#include "server/join.h"
#include "server/tls.h"

enum {
    ASK_AGAIN_US = 300 * 1000,
    SILENCE_S = 10,   /* nobody answers: they may be starting too */
    PATIENCE_S = 120, /* they answer, and do not replace it: no quorum without it */
};

static time_t now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* always there */
    return t.tv_sec;
}

static int give_up(const struct err *damage, const char *why, struct err *err)
{
    return err_set(err, KV_ECORRUPT,
                   "%.300s; %.120s. 'kvctl verify' says more, 'kvctl recover' saves what is left",
                   damage->text, why);
}

/* ---- asking ---- */

static int await_replacement(const struct config *config, struct net_tls *tls,
                             const struct identity *lost, const struct err *damage,
                             uint64_t *new_id, struct err *err)
{
    time_t begun = now_s(), heard = begun;
    char text[128];

    for (;;) {
        struct err why = ERR_INIT;

        if (join_replaced(config, tls, lost->cluster_id, lost->member_id, new_id, &why) == 0) {
            heard = now_s();
            if (*new_id != 0)
                return 0;
        }
        if (now_s() - heard >= SILENCE_S) {
            (void)snprintf(text, sizeof text, "no other member answers to heal it (%.60s)",
                           why.text);
            return give_up(damage, text, err);
        }
        if (now_s() - begun >= PATIENCE_S)
            return give_up(damage, "the others have no quorum without it to heal it", err);
        (void)usleep(ASK_AGAIN_US);
    }
}

/* Whether that folder has such a name. */
static bool has_name(const char *folder, const char *part)
{
    struct disk disk = disk_posix();
    char **names;
    size_t count;
    bool found = false;

    if (disk.ops->list(disk.ctx, folder, &names, &count, NULL) != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        found = found || strstr(names[i], part) != NULL;
    disk_free_names(names, count);
    return found;
}

/* A log that is gone as a whole is more likely elsewhere; unless it was us who set it aside. */
static bool is_elsewhere(const struct config *config)
{
    char *wal =
        config->wal_dir != NULL ? xstrdup(config->wal_dir) : xasprintf("%s/wal", config->data_dir);
    bool gone = !has_name(wal, ".wal") && !has_name(wal, ".spare");

    free(wal);
    return gone && !has_name(config->data_dir, "damaged-");
}

/* ---- setting aside ---- */

static int move_if_there(struct disk disk, const char *from, const char *to, struct err *err)
{
    int rc = disk.ops->rename(disk.ctx, from, to, err);

    return rc == KV_ENOTFOUND || access(from, F_OK) != 0 ? 0 : rc;
}

/* A log that is on another disk stays there, under another name. */
static int set_aside(const struct config *config, char *const *aside, struct err *err)
{
    struct disk disk = disk_posix();
    char *snap = xasprintf("%s/snap", config->data_dir);
    char *snap_aside = xasprintf("%s/snap", *aside);
    char *wal =
        config->wal_dir != NULL ? xstrdup(config->wal_dir) : xasprintf("%s/wal", config->data_dir);
    char *wal_aside = config->wal_dir != NULL ? xasprintf("%s.%s", wal, strrchr(*aside, '/') + 1)
                                              : xasprintf("%s/wal", *aside);
    int rc = disk.ops->mkdir(disk.ctx, *aside, err);

    if (rc == 0)
        rc = move_if_there(disk, snap, snap_aside, err);
    if (rc == 0)
        rc = move_if_there(disk, wal, wal_aside, err);
    if (rc == 0)
        rc = disk.ops->sync_dir(disk.ctx, *aside, err);
    if (rc == 0)
        rc = disk.ops->sync_dir(disk.ctx, config->data_dir, err);
    free(snap);
    free(snap_aside);
    free(wal);
    free(wal_aside);
    return rc;
}

static int become(const struct config *config, struct log *log, const struct identity *lost,
                  uint64_t new_id, struct err *err)
{
    struct identity identity = *lost;
    char *aside = xasprintf("%s/damaged-%lld", config->data_dir, (long long)time(NULL));
    int rc = set_aside(config, &aside, err);

    identity.member_id = new_id;
    identity.joined = true;
    identity.log_begun = identity.distrusted = false;
    if (rc == 0)
        rc = identity_write(disk_posix(), config->data_dir, &identity, err);
    if (rc == 0)
        log_warn(log,
                 "this member comes back empty, under another id, and gets everything from the "
                 "others; what was damaged is set aside and can be deleted when all is well",
                 LOG_ID("old-id", lost->member_id), LOG_ID("new-id", new_id),
                 LOG_STR("set-aside", aside));
    free(aside);
    return rc;
}

int heal_member(const struct config *config, struct log *log, const struct err *damage,
                struct err *err)
{
    struct tls_set tls = {0};
    struct identity lost;
    char *path = xasprintf("%s/lock", config->data_dir);
    uint64_t new_id = 0;
    int lock_fd = -1, rc;

    if (identity_read(disk_posix(), config->data_dir, &lost, NULL) != 0) {
        rc = give_up(damage, "without its identity nobody can heal it", err);
        goto out;
    }
    if (is_elsewhere(config)) {
        rc = give_up(damage, "is --wal-dir right?", err);
        goto out;
    }
    if (config->force_new_cluster) {
        rc = give_up(damage, "with --force-new-cluster no other member is asked to heal it", err);
        goto out;
    }
    if (config->initial_cluster_len < 2) {
        rc = give_up(damage, "--initial-cluster names no other member that could heal it", err);
        goto out;
    }
    rc = disk_lock(path, &lock_fd, err);
    if (rc == 0)
        rc = tls_set_open(config, log, &tls, err);
    if (rc != 0)
        goto out;
    log_error(log, "what this member has stored is damaged; it asks the others to replace it",
              LOG_STR("damage", damage->text), LOG_ID("member-id", lost.member_id));
    rc = await_replacement(config, tls.peer_connect, &lost, damage, &new_id, err);
    if (rc == 0)
        rc = become(config, log, &lost, new_id, err);
out:
    tls_set_release(&tls);
    if (lock_fd >= 0)
        disk_unlock(lock_fd);
    free(path);
    return rc;
}
