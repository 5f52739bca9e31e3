/* What is in a data dir beside what is read: who may read it, and what belongs to nobody. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/disk.h"
#include "base/mem.h"
#include "offline/inspect_internal.h"

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len > end_len && strcmp(text + len - end_len, end) == 0;
}

static bool is_ours(const char *name)
{
    static const char *const names[] = {"identity", "identity.tmp", "lock",        "wal",
                                        "snap",     "new.tmp",      "incoming.tmp"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return ends_with(name, ".wal") || ends_with(name, ".spare") || ends_with(name, ".ckpt");
}

static void check_mode(struct inspection *in, const char *path)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        inspect__add(in, INSPECT_UNREADABLE, xasprintf("%s: %s", path, strerror(errno)), NULL);
    else if ((st.st_mode & 077) != 0)
        inspect__add(in, INSPECT_NOTE,
                     xasprintf("%s: mode %04o lets others than its owner in", path,
                               (unsigned)st.st_mode & 07777),
                     xasprintf("chmod %s %s", S_ISDIR(st.st_mode) ? "700" : "600", path));
}

static void check_folder(struct inspection *in, const char *dir)
{
    struct disk disk = disk_posix();
    struct err err = ERR_INIT;
    char **names;
    size_t count;
    int rc = disk.ops->list(disk.ctx, dir, &names, &count, &err);

    if (rc == KV_ENOTFOUND)
        return;
    if (rc != 0) {
        inspect__add(in, INSPECT_UNREADABLE, xstrdup(err.text), NULL);
        return;
    }
    check_mode(in, dir);
    for (size_t i = 0; i < count; i++) {
        char *path = xasprintf("%s/%s", dir, names[i]);

        if (strncmp(names[i], "damaged-", 8) == 0)
            inspect__add(in, INSPECT_NOTE,
                         xasprintf("%s is what was set aside when this member was healed", path),
                         xstrdup("It is not looked at. Delete it when all is well"));
        else if (!is_ours(names[i]))
            inspect__add(in, INSPECT_NOTE, xasprintf("%s is no file of kvd", path),
                         xstrdup("It is ignored, here and by kvd"));
        else if (strcmp(names[i], "wal") != 0 && strcmp(names[i], "snap") != 0)
            check_mode(in, path);
        free(path);
    }
    disk_free_names(names, count);
}

void inspect__files(struct inspection *in)
{
    check_folder(in, in->data_dir);
    check_folder(in, in->wal_dir);
    check_folder(in, in->snap_dir);
}
