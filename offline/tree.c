#include "offline/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { OPEN_FOLDERS_MAX = 16 };

bool tree_is_empty(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    bool empty = true;

    if (dir == NULL)
        return errno == ENOENT;
    while (empty && (entry = readdir(dir)) != NULL)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    (void)closedir(dir); /* only read */
    return empty;
}

static int sync_folder(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

    if (fd < 0 || fsync(fd) != 0)
        rc = err_set_errno(err, errno, "%s: syncing the folder", path);
    if (fd >= 0)
        (void)close(fd); /* only read */
    return rc;
}

/* One folder of the path: path up to end. */
static int make_one(struct tree *tree, size_t end, struct err *err)
{
    char *folder = xmemdup(tree->path, end + 1), *slash;
    int rc = 0;

    folder[end] = '\0';
    if (mkdir(folder, 0700) == 0) {
        if (tree->made == NULL)
            tree->made = xstrdup(folder);
        slash = strrchr(folder, '/');
        if (slash == folder)
            slash++;
        if (slash != NULL)
            *slash = '\0';
        rc = sync_folder(slash != NULL ? folder : ".", err);
    } else if (errno != EEXIST) {
        rc = err_set_errno(err, errno, "%s: making the folder", folder);
    }
    free(folder);
    return rc;
}

int tree_make(const char *path, struct tree *out, struct err *err)
{
    struct tree tree = {.path = xstrdup(path)};
    size_t len = strlen(path);
    int rc = 0;

    for (size_t i = 1; i <= len && rc == 0; i++)
        if (path[i] == '\0' || (path[i] == '/' && path[i - 1] != '/'))
            rc = make_one(&tree, i, err);
    if (rc == 0 && chmod(path, 0700) != 0)
        rc = err_set_errno(err, errno, "%s: setting mode 0700", path);
    if (rc != 0) {
        if (tree.made != NULL)
            tree_undo(&tree);
        tree_release(&tree);
        return rc;
    }
    *out = tree;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    if (at->level > 0)
        (void)remove(path); /* the others all the same */
    return 0;
}

void tree_undo(const struct tree *tree)
{
    if (tree->path == NULL)
        return;
    (void)nftw(tree->path, remove_entry, OPEN_FOLDERS_MAX, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (tree->made == NULL)
        return;
    /* From the folder up to the topmost one that was made; all of them are empty by now. */
    for (char *folder = xstrdup(tree->path), *slash;; *slash = '\0') {
        bool topmost = strcmp(folder, tree->made) == 0;

        (void)rmdir(folder);
        slash = strrchr(folder, '/');
        if (topmost || slash == NULL || strlen(folder) < strlen(tree->made)) {
            free(folder);
            return;
        }
    }
}

void tree_release(struct tree *tree)
{
    free(tree->path);
    free(tree->made);
    *tree = (struct tree){.path = NULL};
}
