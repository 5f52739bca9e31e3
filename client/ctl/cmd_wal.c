/* Looking at a member's log without a server. */
#include <sys/stat.h>

#include "base/disk.h"
#include "client/ctl/ctl.h"
#include "wal/wal.h"

struct dump {
    FILE *out;
    size_t lines;
};

static void print_line(void *ctx, const char *line)
{
    struct dump *dump = ctx;

    fputs(line, dump->out);
    fputc('\n', dump->out);
    dump->lines++;
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
    struct dump dump = {.out = ctl->out};
    struct err err = ERR_INIT;
    const char *dir;
    int rc;

    (void)options;
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "wal dump command needs one argument: a data dir or the log inside it");
    dir = log_dir(ctl, argv[0]);
    rc = wal_dump(disk_posix(), dir, print_line, &dump, &err);
    if (rc != 0)
        return ctl_fail(ctl, rc == KV_EIO ? CTL_IO : CTL_ERROR, "%s", err.text);
    if (dump.lines == 0)
        return ctl_fail(ctl, CTL_ERROR, "%s: there is no log; name a member's data dir", dir);
    return CTL_OK;
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
