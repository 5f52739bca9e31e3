#include "offline/inspect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/disk.h"
#include "base/mem.h"
#include "offline/inspect_internal.h"
#include "offline/tree.h"

void inspect__add(struct inspection *in, enum inspect_kind kind, char *what, char *advice)
{
    in->findings = xrealloc(in->findings, (in->finding_count + 1) * sizeof(struct inspect_finding));
    in->findings[in->finding_count++] =
        (struct inspect_finding){.kind = kind, .what = what, .advice = advice};
    in->damages += kind == INSPECT_DAMAGE;
    in->unreadables += kind == INSPECT_UNREADABLE;
}

int inspect__progress(const struct inspect_options *options, const char *what, uint64_t done,
                      uint64_t total, struct err *err)
{
    return options->progress == NULL ? 0 : options->progress(options->ctx, what, done, total, err);
}

/* ---- is it one at all ---- */

static bool is_there(const char *dir, const char *name)
{
    char *path = xasprintf("%s/%s", dir, name);
    struct stat st;
    bool found = stat(path, &st) == 0;

    free(path);
    return found;
}

static int check_folder(const char *dir, struct err *err)
{
    struct disk disk = disk_posix();
    char **names;
    size_t count;
    struct stat st;
    int rc;

    if (stat(dir, &st) != 0) {
        rc = errno == ENOENT ? KV_ENOTFOUND : KV_EIO;
        (void)err_set_errno(err, errno, "%s", dir);
        return rc;
    }
    if (!S_ISDIR(st.st_mode))
        return err_set(err, KV_ENOTFOUND, "%s is no folder: name a member's data dir", dir);
    rc = disk.ops->list(disk.ctx, dir, &names, &count, err);
    if (rc != 0)
        return rc;
    disk_free_names(names, count);
    if (count == 0)
        return err_set(err, KV_ENOTFOUND, "%s is empty: no member of kvd ever used it", dir);
    return 0;
}

static int check_kind(const struct inspection *in, struct err *err)
{
    if (is_there(in->data_dir, "identity") || is_there(in->data_dir, "snap") ||
        is_there(in->wal_dir, "."))
        return 0;
    if (is_there(in->data_dir, "member"))
        return err_set(err, KV_EMISMATCH,
                       "%s is a data dir of etcd: use etcdutl, or take a snapshot of it and "
                       "`kvctl snapshot restore` that",
                       in->data_dir);
    return err_set(err, KV_ENOTFOUND,
                   "%s is no data dir of kvd: there is no identity, no log (wal) and no folder of "
                   "checkpoints (snap)",
                   in->data_dir);
}

static int lock(struct inspection *in, struct err *err)
{
    char *path = xasprintf("%s/lock", in->data_dir);
    int rc = disk_lock_shared(path, &in->lock_fd, err);

    if (rc == KV_ENOTFOUND)
        rc = 0; /* no member has run on it since it was made or copied */
    if (rc == KV_EBUSY)
        err_set(err, rc, "data dir %s is in use by a running member: stop it first", in->data_dir);
    free(path);
    return rc;
}

/* ---- the identity ---- */

static void read_identity(struct inspection *in)
{
    struct err err = ERR_INIT;
    int rc = identity_read(disk_posix(), in->data_dir, &in->identity, &err);

    in->has_identity = rc == 0;
    if (rc == 0 && in->identity.distrusted)
        inspect__add(
            in, INSPECT_DAMAGE,
            xasprintf("%s: the state in its checkpoints is not what a majority had", in->data_dir),
            xstrdup("Its log is good, and a start gets the state from the others. Without "
                    "them, trust another member's data more than this"));
    if (rc == 0)
        return;
    in->identity = (struct identity){.cluster_id = 0};
    if (rc == KV_ENOTFOUND)
        inspect__add(in, INSPECT_DAMAGE, xasprintf("%s/identity is missing", in->data_dir),
                     xstrdup("It says whose the data is; the data itself is not touched by that. "
                             "Bring the file back from a copy of this data dir. If there is none "
                             "and the others have a quorum, replace the member; if not, "
                             "`kvctl recover` works without it"));
    else
        inspect__add(in, rc == KV_EIO ? INSPECT_UNREADABLE : INSPECT_DAMAGE, xstrdup(err.text),
                     rc == KV_EIO ? NULL
                                  : xstrdup("It says whose the data is; the data itself is not "
                                            "touched by that. Bring the file back from a copy of "
                                            "this data dir"));
}

/* A log that was begun and is gone took votes and acknowledged writes with it. */
static void check_log_is_there(struct inspection *in)
{
    if (in->has_identity && in->identity.log_begun && !is_there(in->wal_dir, "."))
        inspect__add(in, INSPECT_DAMAGE, xasprintf("%s: the log is gone", in->wal_dir),
                     xstrdup("With it went this member's votes and the writes since the last "
                             "checkpoint. Bring it back (is it elsewhere, with --wal-dir?), or "
                             "replace the member while the others have a quorum"));
}

static int look(struct inspection *in, const struct inspect_options *options, struct err *err)
{
    int rc = check_folder(in->data_dir, err);

    if (rc == 0)
        rc = check_kind(in, err);
    if (rc == 0)
        rc = lock(in, err);
    if (rc != 0)
        return rc;
    read_identity(in);
    check_log_is_there(in);
    if (is_there(in->wal_dir, "."))
        inspect__log(in);
    rc = inspect__progress(options, "checking", 0, 0, err);
    if (rc == 0)
        rc = inspect__checkpoints(in, options, err);
    if (rc != 0)
        return rc;
    inspect__fit(in);
    inspect__files(in);
    return 0;
}

int inspect_open(const struct inspect_options *options, struct inspection **out, struct err *err)
{
    struct inspection *in = xcalloc(1, sizeof *in);
    int rc;

    in->lock_fd = -1;
    in->data_dir = xstrdup(options->data_dir);
    in->wal_dir = options->wal_dir != NULL ? xstrdup(options->wal_dir)
                                           : xasprintf("%s/wal", options->data_dir);
    in->snap_dir = xasprintf("%s/snap", options->data_dir);
    rc = look(in, options, err);
    if (rc != 0) {
        inspect_close(in);
        return rc;
    }
    *out = in;
    return 0;
}

void inspect_close(struct inspection *in)
{
    if (in == NULL)
        return;
    for (size_t i = 0; i < in->finding_count; i++) {
        free(in->findings[i].what);
        free(in->findings[i].advice);
    }
    free(in->findings);
    free(in->checkpoints);
    free(in->checkpoint_good);
    wal_close(in->wal);
    if (in->lock_fd >= 0)
        disk_unlock(in->lock_fd);
    free(in->data_dir);
    free(in->wal_dir);
    free(in->snap_dir);
    free(in);
}
