/* Looking at a member's log without a server. */
#include <sys/stat.h>

#include "base/disk.h"
#include "client/ctl/ctl.h"
#include "wal/wal.h"

static void print_line(void *ctx, const char *line)
{
    struct ctl *ctl = ctx;

    fputs(line, ctl->out);
    fputc('\n', ctl->out);
}

/* A data dir stands for the log inside it. */
static const char *log_dir(struct ctl *ctl, const char *dir)
{
    size_t size = strlen(dir) + sizeof "/wal";
    char *inner = arena_alloc(&ctl->arena, size);
    struct stat st;

    (void)snprintf(inner, size, "%s/wal", dir);
    return stat(inner, &st) == 0 && S_ISDIR(st.st_mode) ? inner : dir;
}

static int run_wal_dump(struct ctl *ctl, const void *options, int argc, char **argv)
{
    struct err err = ERR_INIT;
    int rc;

    (void)options;
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "wal dump command needs one argument: a data dir or the log inside it");
    rc = wal_dump(disk_posix(), log_dir(ctl, argv[0]), print_line, ctl, &err);
    if (rc == 0)
        return CTL_OK;
    return ctl_fail(ctl, rc == KV_EIO ? CTL_IO : CTL_ERROR, "%s", err.text);
}

const struct ctl_command ctl_cmd_wal_dump = {
    .name = "wal dump",
    .usage = "wal dump <dir>",
    .brief = "Prints every record of a member's log (kvd only)",
    .help =
        "<dir> is a member's data dir or the log inside it. One line per record in the order of\n"
        "the files; damaged ones are reported. Nothing is changed; the member should be down.\n",
    .offline = true,
    .run = run_wal_dump,
};
