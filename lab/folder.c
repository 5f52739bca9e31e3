/* Where the members' data lie. A lab that dies takes its processes with it, but not its folder: the
 * next one that finds such a folder, without anybody who holds its lock, removes it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/disk.h"
#include "base/mem.h"
#include "lab/internal.h"

#define FOLDER_PREFIX "kvlab-"
#define LOCK_NAME "lab.lock" /* also says that the folder is a lab's */

static int remove_inside(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st;
    (void)flag;
    return at->level == 0 ? 0 : remove(path);
}

static int empty_tree(const char *path, struct err *err)
{
    if (nftw(path, remove_inside, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
        return 0;
    return err_set_errno(err, errno, "emptying %s", path);
}

int lab__remove_tree(const char *path, struct err *err)
{
    int rc = empty_tree(path, err);

    if (rc != 0 || rmdir(path) == 0 || errno == ENOENT)
        return rc;
    return err_set_errno(err, errno, "removing %s", path);
}

static bool has_lock_file(const char *path)
{
    char *lock = xasprintf("%s/" LOCK_NAME, path);
    struct stat st;
    bool found = lstat(lock, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid();

    free(lock);
    return found;
}

/* Takes the folder's lock; false: a lab that runs has it, or it is none. */
static bool take_lock(const char *path, int *fd, struct err *err)
{
    char *lock = xasprintf("%s/" LOCK_NAME, path);
    int rc = disk_lock(lock, fd, err);

    free(lock);
    return rc == 0;
}

/* Removes what labs that died have left. */
static void sweep(struct lab *lab, const char *parent)
{
    DIR *dir = opendir(parent);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char *path;
        int fd;

        if (strncmp(entry->d_name, FOLDER_PREFIX, strlen(FOLDER_PREFIX)) != 0)
            continue;
        path = xasprintf("%s/%s", parent, entry->d_name);
        if (has_lock_file(path) && take_lock(path, &fd, NULL)) {
            if (lab__remove_tree(path, NULL) == 0)
                lab__say(lab, LAB_SAYS, 0, 0, "removed %s, left by a lab that died", path);
            disk_unlock(fd);
        }
        free(path);
    }
    if (dir != NULL)
        (void)closedir(dir);
}

static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    bool empty = true;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    if (dir != NULL)
        (void)closedir(dir);
    return empty;
}

/* A folder that somebody named: only an empty one, or one of an earlier lab, which is emptied. */
static int take_named(struct lab *lab, const char *path, struct err *err)
{
    lab->made_dir = mkdir(path, 0700) == 0;
    if (!lab->made_dir && errno != EEXIST)
        return err_set_errno(err, errno, "making %s", path);
    if (!is_empty(path)) {
        if (!has_lock_file(path))
            return err_set(err, KV_EEXIST,
                           "%s holds something that is not of a lab: name another folder, or empty "
                           "it",
                           path);
        if (!take_lock(path, &lab->lock_fd, err)) {
            err_prefix(err, "another lab runs in %s", path);
            return KV_EBUSY;
        }
        lab__say(lab, LAB_SAYS, 0, 0, "%s is of an earlier lab: emptied", path);
        disk_unlock(lab->lock_fd);
        lab->lock_fd = -1;
        if (empty_tree(path, err) != 0)
            return KV_EIO;
    }
    lab->dir = realpath(path, NULL);
    return lab->dir != NULL ? 0 : err_set_errno(err, errno, "finding %s", path);
}

static int make_own(struct lab *lab, struct err *err)
{
    const char *parent = getenv("TMPDIR");
    char *path;

    if (parent == NULL || parent[0] == '\0')
        parent = "/tmp";
    sweep(lab, parent);
    path = xasprintf("%s/" FOLDER_PREFIX "XXXXXX", parent);
    if (mkdtemp(path) == NULL) {
        int rc = err_set_errno(err, errno, "making a folder in %s (--dir names another)", parent);

        free(path);
        return rc;
    }
    lab->made_dir = true;
    lab->dir = path;
    return 0;
}

static int write_preload(struct lab *lab, struct err *err);

int lab__folder_open(struct lab *lab, struct err *err)
{
    int rc = lab->options.dir != NULL ? take_named(lab, lab->options.dir, err) : make_own(lab, err);

    if (rc == 0 && !take_lock(lab->dir, &lab->lock_fd, err))
        rc = err->code;
    return rc != 0 ? rc : write_preload(lab, err);
}

void lab__folder_close(struct lab *lab)
{
    char *lock;

    if (lab->dir == NULL)
        return;
    if (!lab->options.keep) {
        /* what cannot go the next lab tries again */
        (void)(lab->made_dir ? lab__remove_tree(lab->dir, NULL) : empty_tree(lab->dir, NULL));
    } else if (lab->options.dir == NULL) {
        lock = xasprintf("%s/" LOCK_NAME, lab->dir);
        (void)unlink(lock); /* so that no later lab takes it for rubbish */
        free(lock);
    }
    if (lab->lock_fd >= 0)
        disk_unlock(lab->lock_fd);
    free(lab->dir);
    lab->dir = NULL;
}

/* ---- the library that is loaded into members ---- */

/* It is part of the program; the Makefile knows that this object depends on it. */
__asm__(".section .rodata\n"
        "lab__preload_start:\n"
        ".incbin \"" LAB_PRELOAD "\"\n"
        "lab__preload_end:\n"
        ".byte 0\n"
        ".previous\n");
extern const char lab__preload_start[], lab__preload_end[];

static int write_preload(struct lab *lab, struct err *err)
{
    size_t len = (size_t)(lab__preload_end - lab__preload_start), at = 0;
    int fd;

    lab->preload_path = xasprintf("%s/disk.so", lab->dir);
    fd = open(lab->preload_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    if (fd < 0)
        return err_set_errno(err, errno, "making %s", lab->preload_path);
    while (at < len) {
        ssize_t n = write(fd, lab__preload_start + at, len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int rc = err_set_errno(err, errno, "writing %s", lab->preload_path);

            (void)close(fd);
            return rc;
        }
        at += (size_t)n;
    }
    return close(fd) == 0 ? 0 : err_set_errno(err, errno, "writing %s", lab->preload_path);
}
