/* version, help. */
#include "base/version.h"
#include "client/ctl/ctl.h"

static int run_version(struct ctl *ctl, const void *options, int argc, char **argv)
{
    (void)options;
    (void)argc;
    (void)argv;
    fputs("kvctl version: " KVD_VERSION "\nAPI version: " ETCD_API_LINE "\n", ctl->out);
    return CTL_OK;
}

const struct ctl_command ctl_cmd_version = {
    .name = "version",
    .usage = "version",
    .brief = "Prints the version of kvctl",
    .offline = true,
    .run = run_version,
};

static int run_help(struct ctl *ctl, const void *options, int argc, char **argv)
{
    const struct ctl_command *command;
    const char *group = NULL;
    size_t used = 0;

    (void)options;
    command = ctl_find(argv, (size_t)argc, &used, &group);
    if (command != NULL)
        ctl_help_command(ctl->out, command);
    else if (group != NULL && argc == 1)
        ctl_help_group(ctl->out, group);
    else if (argc == 0)
        ctl_help_all(ctl->out);
    else
        return ctl_fail(ctl, CTL_ERROR, "unknown help topic \"%s\"; 'kvctl help' lists all",
                        argv[argc - 1]);
    return CTL_OK;
}

const struct ctl_command ctl_cmd_help = {
    .name = "help",
    .usage = "help [command]",
    .brief = "Help about any command",
    .offline = true,
    .run = run_help,
};
